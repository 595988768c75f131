//! The loop: events in, actions out, and when a frame is due. It decides nothing. What of it needs no terminal is `engine`;
//! `bare` runs that alone.

pub(crate) mod bare;
pub(crate) mod engine;
pub mod pace;

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::time::Instant;

use ratatui::Terminal;

use crate::action::Action;
use crate::config::{Opening, Profiles};
use crate::event::EventKind;
use crate::lanes::{Receiver, Sender, lanes};
use crate::run::engine::Engine;
use crate::run::pace::Pace;
use crate::state::Settings;
use crate::terminal::lean::Lean;
use crate::terminal::{Guard, Screen, clipboard, input, signals, suspend, watchdog};
use crate::update::{choose, complain};
use crate::view::draw;

/// Events taken before a frame is drawn.
const BATCH_MAX: usize = 256;
/// Names of events that a report about a defect has.
const RECENT_MAX: usize = 50;

static RECENT: Mutex<VecDeque<&'static str>> = Mutex::new(VecDeque::new());

/// What the console opens with.
pub struct Begin {
    /// The profiles there are.
    pub profiles: Profiles,
    /// The daemon to open; none to let a person choose.
    pub opening: Option<Opening>,
    /// What is drawn with until a profile is chosen.
    pub settings: Settings,
    /// What is wrong with the configuration file, to be told on the first frame.
    pub complaint: Option<String>,
    /// The line to the terminal is slow.
    pub slow: bool,
    /// How text reaches the clipboard.
    pub clipboard: clipboard::Way,
    /// The first key is a defect; for the test of the report.
    pub defect: bool,
}

struct Loop {
    guard: &'static Guard,
    terminal: Terminal<Lean<Screen>>,
    engine: Engine,
    pace: Pace,
    /// Something changed since the last frame, and whether somebody asked for it.
    dirty: Option<bool>,
    frames: u64,
    quit: bool,
    /// The next SIGCONT is the one that ends our own stop.
    continues_stop: bool,
    profiles: Profiles,
    clipboard: clipboard::Way,
    defect: bool,
}

/// Runs the console until it is left. A session that was opened here is ended at the daemon then, unless it is kept; a
/// token that was given is not.
///
/// # Errors
/// What the terminal or the system says. The terminal is given back in every case.
pub fn run(guard: &'static Guard, begin: Begin) -> io::Result<()> {
    let (sender, events) = lanes();
    signals::start(Some(sender.clone()))?;
    watchdog::start(guard.tty())?;
    guard.take_screen()?;
    let result = run_taken(guard, begin, sender, &events);
    guard.give_back();
    result
}

fn run_taken(guard: &'static Guard, begin: Begin, sender: Sender, events: &Receiver) -> io::Result<()> {
    let Begin { profiles, opening, settings, complaint, slow, clipboard, defect } = begin;
    let mouse = settings.mouse;
    let mut console = Loop {
        guard,
        terminal: Terminal::new(Lean::new(Screen::new(guard)))?,
        engine: Engine::new(settings, guard.size(), sender.clone()),
        pace: Pace::new(slow),
        dirty: None,
        frames: 0,
        quit: false,
        continues_stop: false,
        profiles,
        clipboard,
        defect,
    };
    if mouse {
        guard.report_mouse(true)?;
    }
    let mut first = match opening {
        Some(opening) => console.engine.open(opening)?,
        None => choose(&mut console.engine.state),
    };
    if let Some(why) = complaint {
        first.extend(complain(&mut console.engine.state, why));
    }
    console.paint()?;
    input::start(sender)?;
    console.act(first)?;
    while !console.quit {
        console.turn(events)?;
    }
    // Away first, then the daemon: nobody waits in front of a frozen screen.
    guard.give_back();
    console.engine.leave();
    Ok(())
}

impl Loop {
    /// One turn: the events that wait, the timers that are due, then a frame if one is.
    fn turn(&mut self, events: &Receiver) -> io::Result<()> {
        let frame_due = self.frame_due();
        let next = self.engine.next_due().into_iter().chain(frame_due).min();
        for event in events.take(next, BATCH_MAX) {
            self.feed(event)?;
        }
        for id in self.engine.due() {
            self.feed(EventKind::Timer(id))?;
        }
        if self.frame_due().is_some_and(|due| due <= Instant::now()) && !self.quit {
            self.paint()?;
        }
        Ok(())
    }

    fn frame_due(&self) -> Option<Instant> {
        let due = self.pace.due(self.engine.moment().ms, self.dirty?);
        Some(self.engine.instant(due))
    }

    fn feed(&mut self, kind: EventKind) -> io::Result<()> {
        if self.quit {
            return Ok(());
        }
        remember(kind.name());
        if self.defect && kind.is_input() {
            panic!("asked for by --defect");
        }
        let asked = kind.is_asked();
        if let EventKind::Continued = kind {
            return self.continued();
        }
        if !matches!(kind, EventKind::Drawn(_)) {
            self.dirty = Some(self.dirty.unwrap_or(false) || asked);
        }
        let actions = self.engine.happen(kind);
        self.act(actions)
    }

    fn act(&mut self, actions: Vec<Action>) -> io::Result<()> {
        for action in actions {
            match self.engine.perform(action) {
                Some(Action::Repaint) => self.terminal.clear()?,
                Some(Action::Suspend) => {
                    self.continues_stop = true;
                    suspend(self.guard)?;
                    self.reclaimed()?;
                }
                Some(Action::Copy(text)) => {
                    // Too long a text was refused before; the terminal itself never answers.
                    if let Some(octets) = clipboard::sequence(&text, self.clipboard) {
                        self.guard.put(&octets)?;
                    }
                }
                Some(Action::Mouse(on)) => self.guard.report_mouse(on)?,
                Some(Action::Bell) => self.guard.ring()?,
                Some(Action::Title(title)) => self.guard.entitle(title.as_deref())?,
                Some(Action::Switch(profile)) => self.switch(&profile)?,
                Some(Action::Quit) => self.quit = true,
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    // ---- daemons ----------------------------------------------------------------------------------------------------

    /// Another daemon: nothing of the one before stays on the screen.
    fn switch(&mut self, profile: &str) -> io::Result<()> {
        let actions = match self.profiles.open(profile) {
            Ok(opening) => self.engine.open(opening)?,
            Err(why) => complain(&mut self.engine.state, why),
        };
        self.act(actions)
    }

    // ---- the terminal -----------------------------------------------------------------------------------------------

    /// Somebody else stopped and continued us: the terminal may be in any state.
    fn continued(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.continues_stop) {
            return Ok(());
        }
        self.guard.take_screen()?;
        self.reclaimed()
    }

    fn reclaimed(&mut self) -> io::Result<()> {
        self.guard.report_mouse(self.engine.state.settings.mouse)?;
        self.terminal.backend_mut().forget();
        self.feed(EventKind::Resumed(self.guard.size()))
    }

    fn paint(&mut self) -> io::Result<()> {
        let state = &self.engine.state;
        let before = self.terminal.backend().written();
        self.terminal.draw(|frame| draw(state, frame))?;
        let octets = self.terminal.backend().written() - before;
        self.pace.drawn(self.engine.moment().ms, octets, self.dirty.unwrap_or(true));
        self.dirty = None;
        self.frames += 1;
        self.feed(EventKind::Drawn(self.frames))
    }
}

// ---- for the report about a defect ----------------------------------------------------------------------------------

fn remember(name: &'static str) {
    if let Ok(mut recent) = RECENT.try_lock() {
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(name);
    }
}

/// Names of the last events, oldest first; nothing that was typed or answered.
pub fn recent_events() -> Vec<&'static str> {
    RECENT.try_lock().map(|recent| recent.iter().copied().collect()).unwrap_or_default()
}
