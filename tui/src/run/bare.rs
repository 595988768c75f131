//! The machine without a screen, for commands and for the plain console: whoever runs it takes the events, looks at them,
//! and feeds them. Nothing is asked to fill a screen, and there is nothing to be drawn: what a question says counts as
//! read when whoever runs the machine has written it down.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use common::client::ClientError;

use crate::action::{Action, Answer, Call, RequestId};
use crate::config::Opening;
use crate::event::{Code, EventKind, Key, Size};
use crate::lanes::{Receiver, Sender, lanes};
use crate::run::engine::Engine;
use crate::state::{Note, Settings};

/// Messages that wait to be told.
const HEARD_MAX: usize = 50;
/// Events taken at once.
const BATCH_MAX: usize = 256;
/// What is laid out for nobody's eyes is laid out for this.
const SIZE: Size = Size { width: 100, height: 30 };

/// The key that gives up.
pub(crate) const GIVE_UP: Key = Key { code: Code::Char('c'), ctrl: true };
/// The key that ends what is typed.
pub(crate) const ESC: Key = Key { code: Code::Esc, ctrl: false };
/// What ends a line.
pub(crate) const ENTER: Key = Key { code: Code::Enter, ctrl: false };

/// The machine and its events.
pub(crate) struct Bare {
    pub(crate) engine: Engine,
    events: Receiver,
    frames: u64,
    /// What was typed while something else was waited for.
    pub(crate) typed: VecDeque<EventKind>,
    /// The profile that is to be opened next.
    pub(crate) switch_to: Option<String>,
    /// The machine wants to end.
    pub(crate) quit: bool,
    /// What it said and nobody was told yet: each message, however soon the next one takes its place.
    pub(crate) heard: VecDeque<Note>,
    last: Option<Note>,
}

impl Bare {
    /// A machine, and where events can be sent to it. `follows` says whether the log is followed.
    pub(crate) fn new(settings: Settings) -> (Self, Sender) {
        let (sender, events) = lanes();
        let engine = Engine::new(bare(settings), SIZE, sender.clone());
        (
            Self {
                engine,
                events,
                frames: 0,
                typed: VecDeque::new(),
                switch_to: None,
                quit: false,
                heard: VecDeque::new(),
                last: None,
            },
            sender,
        )
    }

    /// Speaks to a daemon from now on; signing in begins.
    ///
    /// # Errors
    /// What the system says where no thread can be started.
    pub(crate) fn open(&mut self, mut opening: Opening, follows: bool) -> io::Result<()> {
        opening.settings = bare(opening.settings);
        opening.settings.log.live &= follows;
        let actions = self.engine.open(opening)?;
        self.act(actions);
        Ok(())
    }

    /// What has happened, waited for until `until` or a timer; in its order.
    pub(crate) fn take(&mut self, until: Option<Instant>) -> Vec<EventKind> {
        let next = self.engine.next_due().into_iter().chain(until).min();
        let mut taken = self.events.take(next, BATCH_MAX);
        taken.extend(self.engine.due().into_iter().map(EventKind::Timer));
        taken
    }

    /// Lets it happen.
    pub(crate) fn feed(&mut self, kind: EventKind) {
        let actions = self.engine.happen(kind);
        self.act(actions);
    }

    /// What was said in another session is told nobody any more.
    pub(crate) fn forget_heard(&mut self) {
        (self.last, self.heard) = (None, VecDeque::new());
    }

    fn hear(&mut self) {
        let Some(note) = self.engine.state.message.as_ref().filter(|note| self.last.as_ref() != Some(*note)) else {
            return;
        };
        if self.heard.len() == HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(note.clone());
        self.last = Some(note.clone());
    }

    /// Performs what was decided outside of an event.
    pub(crate) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match self.engine.perform(action) {
                Some(Action::Switch(profile)) => self.switch_to = Some(profile),
                Some(Action::Quit) => self.quit = true,
                // There is no screen, no clipboard and no mouse, and the terminal suspends by itself.
                Some(_) | None => {}
            }
        }
        self.hear();
    }

    /// What the machine says is written down: what follows may answer it.
    pub(crate) fn shown(&mut self) {
        self.frames += 1;
        self.feed(EventKind::Drawn(self.frames));
    }

    /// Text as if pasted, then Enter.
    pub(crate) fn answer(&mut self, text: &str) {
        self.feed(EventKind::Paste(text.to_owned()));
        self.feed(EventKind::Key(ENTER));
    }

    /// Waits for one turn of events and lets them happen; what is typed meanwhile waits.
    pub(crate) fn turn(&mut self, until: Option<Instant>) {
        for kind in self.take(until) {
            self.feed_or_keep(kind);
        }
    }

    /// Lets an event happen, unless it was typed: that waits.
    pub(crate) fn feed_or_keep(&mut self, kind: EventKind) {
        if kind.is_input() {
            self.typed.push_back(kind);
        } else {
            self.feed(kind);
        }
    }

    /// Seconds that the daemon's clock is ahead of this machine's.
    pub(crate) fn skew_seconds(&self) -> Option<i64> {
        self.engine.state.skew_seconds
    }

    /// Asks the daemon something the state does not wait for.
    ///
    /// # Errors
    /// As the call; [`ClientError::Address`] where it was given up by `C-c`.
    pub(crate) fn request(&mut self, call: Call) -> Result<Answer, ClientError> {
        let id = RequestId(self.engine.state.next_id);
        self.engine.state.next_id += 1;
        self.engine.perform(Action::Request { id, call });
        let mut answer = None;
        loop {
            for kind in self.take(None) {
                match kind {
                    EventKind::Reply { id: of, result } if of == id => answer = Some(*result),
                    EventKind::Key(GIVE_UP) => {
                        self.engine.perform(Action::Cancel(id));
                        answer = answer.or_else(|| Some(Err(ClientError::Address("given up".to_owned()))));
                    }
                    other => self.feed_or_keep(other),
                }
            }
            if let Some(answer) = answer {
                return answer;
            }
        }
    }
}

fn bare(settings: Settings) -> Settings {
    Settings { bare: true, mouse: false, ..settings }
}
