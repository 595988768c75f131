//! The loop: events in, actions out, and when a frame is due. It owns the clock and the timers; it decides nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::client::Client;
use ratatui::Terminal;

use crate::action::{Action, TimerId};
use crate::config::Credential;
use crate::event::{Event, EventKind, Moment};
use crate::state::{Settings, State};
use crate::terminal::screen::Screen;
use crate::terminal::{Guard, input, signals, suspend, watchdog};
use crate::update::{start, update};
use crate::view::draw;
use crate::worker::Worker;

/// Events that may wait.
const EVENTS_MAX: usize = 1024;
/// Events taken before a frame is drawn.
const BATCH_MAX: usize = 256;

struct Loop {
    guard: &'static Guard,
    terminal: Terminal<Screen>,
    state: State,
    timers: BTreeMap<TimerId, Instant>,
    began: Instant,
    frames: u64,
    quit: bool,
}

/// Runs the console until it is left. A session that was opened here is ended at the daemon then; a token that was given
/// is not.
///
/// # Errors
/// What the terminal or the system says. The terminal is given back in every case.
pub fn run(guard: &'static Guard, client: Client, settings: Settings, credential: Credential) -> io::Result<()> {
    let (sender, events) = sync_channel(EVENTS_MAX);
    signals::start(Some(sender.clone()))?;
    watchdog::start(guard.tty())?;
    // NO_COLOR is the theme's business: crossterm would honour it by resetting reverse and bold as well.
    crossterm::style::force_color_output(true);
    guard.take_screen()?;
    let result = run_taken(guard, client, settings, credential, sender, &events);
    guard.give_back();
    result
}

fn run_taken(
    guard: &'static Guard,
    client: Client,
    settings: Settings,
    credential: Credential,
    sender: SyncSender<EventKind>,
    events: &Receiver<EventKind>,
) -> io::Result<()> {
    let mut console = Loop {
        guard,
        terminal: Terminal::new(Screen::new(guard))?,
        state: State::new(settings, guard.size()),
        timers: BTreeMap::new(),
        began: Instant::now(),
        frames: 0,
        quit: false,
    };
    console.state.now = console.moment();
    let is_ours = credential != Credential::Token;
    let first = start(&mut console.state, credential);
    console.paint()?;
    let worker = Worker::start(client, sender.clone())?;
    input::start(sender)?;
    console.act(first, &worker)?;
    while !console.quit {
        console.turn(events, &worker)?;
    }
    // Away first, then the daemon: nobody waits in front of a frozen screen.
    guard.give_back();
    worker.leave(is_ours);
    Ok(())
}

impl Loop {
    /// One turn: all events that wait, then one frame.
    fn turn(&mut self, events: &Receiver<EventKind>, worker: &Worker) -> io::Result<()> {
        let next = self.timers.values().min().copied();
        let first = match next {
            Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_gone| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(event) => self.feed(event, worker)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the input has ended")),
        }
        for event in events.try_iter().take(BATCH_MAX) {
            self.feed(event, worker)?;
        }
        let now = Instant::now();
        let due: Vec<TimerId> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.timers.remove(&id);
            self.feed(EventKind::Timer(id), worker)?;
        }
        self.paint()?;
        self.frames += 1;
        self.feed(EventKind::Drawn(self.frames), worker)
    }

    fn feed(&mut self, kind: EventKind, worker: &Worker) -> io::Result<()> {
        if self.quit {
            return Ok(());
        }
        let event = Event { at: self.moment(), kind };
        let actions = update(&mut self.state, event);
        self.act(actions, worker)
    }

    fn act(&mut self, actions: Vec<Action>, worker: &Worker) -> io::Result<()> {
        for action in actions {
            match action {
                Action::Request { id, call } => worker.ask(id, call),
                Action::Cancel(id) => worker.cancel(id),
                Action::TimerSet { id, after_ms } => {
                    self.timers.insert(id, Instant::now() + Duration::from_millis(after_ms));
                }
                Action::TimerDrop(id) => drop(self.timers.remove(&id)),
                Action::Repaint => {
                    self.terminal = Terminal::new(Screen::new(self.guard))?;
                    self.guard.clear()?;
                }
                Action::Suspend => {
                    suspend(self.guard)?;
                    self.feed(EventKind::Resumed(self.guard.size()), worker)?;
                }
                Action::Copy(_text) => {}
                Action::Quit => self.quit = true,
            }
        }
        Ok(())
    }

    fn paint(&mut self) -> io::Result<()> {
        let state = &self.state;
        self.terminal.draw(|frame| draw(state, frame)).map(drop)
    }

    #[expect(clippy::disallowed_methods, reason = "the loop is the console's only clock")]
    fn moment(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_seconds: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
        }
    }
}
