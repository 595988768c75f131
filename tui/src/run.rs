//! The loop: events in, actions out, and when a frame is due. It owns the clock and the timers; it decides nothing.

pub mod pace;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ratatui::Terminal;

use crate::action::{Action, TimerId};
use crate::config::{Opening, Profiles, state_folder};
use crate::event::{Event, EventKind, Moment};
use crate::lanes::{Receiver, Sender, lanes};
use crate::run::pace::Pace;
use crate::state::{Settings, State};
use crate::terminal::lean::Lean;
use crate::terminal::{Guard, Screen, clipboard, input, signals, suspend, watchdog};
use crate::time::rfc3339;
use crate::update::{choose, complain, start, update};
use crate::view::draw;
use crate::worker::Worker;

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
    state: State,
    timers: BTreeMap<TimerId, Instant>,
    began: Instant,
    pace: Pace,
    /// Something changed since the last frame, and whether somebody asked for it.
    dirty: Option<bool>,
    frames: u64,
    quit: bool,
    /// The next SIGCONT is the one that ends our own stop.
    continues_stop: bool,
    sender: Sender,
    profiles: Profiles,
    clipboard: clipboard::Way,
    defect: bool,
    worker: Option<Open>,
}

/// The daemon that is being asked.
struct Open {
    worker: Worker,
    /// The session ends at the daemon with the console: it was opened here and is not kept.
    ends_session: bool,
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
        state: State::new(settings, guard.size()),
        timers: BTreeMap::new(),
        began: Instant::now(),
        pace: Pace::new(slow),
        dirty: None,
        frames: 0,
        quit: false,
        continues_stop: false,
        sender: sender.clone(),
        profiles,
        clipboard,
        defect,
        worker: None,
    };
    console.state.now = console.moment();
    if mouse {
        guard.report_mouse(true)?;
    }
    let mut first = match opening {
        Some(opening) => console.open(opening)?,
        None => choose(&mut console.state),
    };
    if let Some(why) = complaint {
        first.extend(complain(&mut console.state, why));
    }
    console.paint()?;
    input::start(sender)?;
    console.act(first)?;
    while !console.quit {
        console.turn(events)?;
    }
    // Away first, then the daemon: nobody waits in front of a frozen screen.
    guard.give_back();
    if let Some(Open { worker, ends_session }) = console.worker.take() {
        worker.leave(ends_session && !console.state.remember);
    }
    Ok(())
}

impl Loop {
    /// One turn: the events that wait, the timers that are due, then a frame if one is.
    fn turn(&mut self, events: &Receiver) -> io::Result<()> {
        let frame_due = self.frame_due();
        let next = self.timers.values().copied().chain(frame_due).min();
        for event in events.take(next, BATCH_MAX) {
            self.feed(event)?;
        }
        let now = Instant::now();
        let due: Vec<TimerId> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.timers.remove(&id);
            self.feed(EventKind::Timer(id))?;
        }
        if self.frame_due().is_some_and(|due| due <= Instant::now()) && !self.quit {
            self.paint()?;
        }
        Ok(())
    }

    fn frame_due(&self) -> Option<Instant> {
        let due = self.pace.due(self.moment().ms, self.dirty?);
        Some(self.began + Duration::from_millis(due))
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
        let event = Event { at: self.moment(), kind };
        let actions = update(&mut self.state, event);
        self.act(actions)
    }

    fn act(&mut self, actions: Vec<Action>) -> io::Result<()> {
        for action in actions {
            match action {
                Action::Request { id, call } => {
                    if let Some(open) = &self.worker {
                        open.worker.ask(id, call);
                    }
                }
                Action::Cancel(id) => {
                    if let Some(open) = &self.worker {
                        open.worker.cancel(id);
                    }
                }
                Action::Job { id, job } => {
                    if let Some(open) = &self.worker {
                        open.worker.job(id, job);
                    }
                }
                Action::JobStop(id) => {
                    if let Some(open) = &self.worker {
                        open.worker.cancel(id);
                    }
                }
                Action::TimerSet { id, after_ms } => {
                    self.timers.insert(id, Instant::now() + Duration::from_millis(after_ms));
                }
                Action::TimerDrop(id) => drop(self.timers.remove(&id)),
                Action::TailOpen { epoch, after } => {
                    if let Some(open) = &self.worker {
                        open.worker.tail_open(epoch, after);
                    }
                }
                Action::TailClose => {
                    if let Some(open) = &self.worker {
                        open.worker.tail_close();
                    }
                }
                Action::SavePin { kept, force } => {
                    if let Some(open) = &self.worker {
                        open.worker.save_pin(kept, force);
                    }
                }
                Action::WriteFile { purpose, name, text } => {
                    let stamp = rfc3339(self.moment().wall_seconds).replace(['-', ':'], "");
                    if let Some(open) = &self.worker {
                        open.worker.write_file(purpose, name, stamp, text);
                    }
                }
                Action::Repaint => self.terminal.clear()?,
                Action::Suspend => {
                    self.continues_stop = true;
                    suspend(self.guard)?;
                    self.reclaimed()?;
                }
                Action::Copy(text) => {
                    // Too long a text was refused before; the terminal itself never answers.
                    if let Some(octets) = clipboard::sequence(&text, self.clipboard) {
                        self.guard.put(&octets)?;
                    }
                }
                Action::Mouse(on) => self.guard.report_mouse(on)?,
                Action::Bell => self.guard.ring()?,
                Action::Title(title) => self.guard.entitle(title.as_deref())?,
                Action::Remember(on) => {
                    if let Some(open) = &self.worker {
                        open.worker.remember(on);
                    }
                }
                Action::Lock => {
                    if let Some(open) = &self.worker {
                        open.worker.lock();
                    }
                }
                Action::Logout => {
                    if let Some(open) = &self.worker {
                        open.worker.logout();
                    }
                }
                Action::Switch(profile) => self.switch(&profile)?,
                Action::Quit => self.quit = true,
            }
        }
        Ok(())
    }

    // ---- daemons ----------------------------------------------------------------------------------------------------

    /// Another daemon: nothing of the one before stays on the screen.
    fn switch(&mut self, profile: &str) -> io::Result<()> {
        let opening = match self.profiles.open(profile) {
            Ok(opening) => opening,
            Err(why) => {
                let actions = complain(&mut self.state, why);
                return self.act(actions);
            }
        };
        if let Some(Open { worker, ends_session }) = self.worker.take() {
            worker.leave_alone(ends_session && !self.state.remember);
        }
        self.timers.clear();
        let actions = self.open(opening)?;
        self.act(actions)
    }

    fn open(&mut self, opening: Opening) -> io::Result<Vec<Action>> {
        let Opening { client, mut settings, credential, cache, .. } = opening;
        let ends_session = !credential.is_given();
        // What was set by hand goes for the next daemon too.
        let set = &self.state.settings;
        settings.mouse = set.mouse;
        (settings.time, settings.title, settings.bell) = (set.time, set.title, set.bell);
        let mut state = State::new(settings, self.guard.size());
        state.now = self.moment();
        state.next_id = self.state.next_id;
        self.state = state;
        let worker = Worker::start(client, self.sender.next_profile(), cache, state_folder())?;
        self.worker = Some(Open { worker, ends_session });
        Ok(start(&mut self.state, credential))
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
        self.guard.report_mouse(self.state.settings.mouse)?;
        self.terminal.backend_mut().forget();
        self.feed(EventKind::Resumed(self.guard.size()))
    }

    fn paint(&mut self) -> io::Result<()> {
        let state = &self.state;
        let before = self.terminal.backend().written();
        self.terminal.draw(|frame| draw(state, frame))?;
        let octets = self.terminal.backend().written() - before;
        self.pace.drawn(self.moment().ms, octets, self.dirty.unwrap_or(true));
        self.dirty = None;
        self.frames += 1;
        self.feed(EventKind::Drawn(self.frames))
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
