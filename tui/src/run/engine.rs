//! The machine without a terminal: the state, its clock, its timers, and the daemon that is asked. It performs all actions
//! but those that need a screen or another profile, which come back to whoever runs it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::action::{Action, TimerId};
use crate::config::{Opening, state_folder};
use crate::event::{Event, EventKind, Moment, Size};
use crate::lanes::Sender;
use crate::state::{Settings, State};
use crate::time::rfc3339;
use crate::update::{start, update};
use crate::worker::Worker;

/// The daemon that is being asked.
struct Open {
    worker: Worker,
    /// The session ends at the daemon with the console: it was opened here and is not kept.
    ends_session: bool,
}

/// The state and what moves it.
pub(crate) struct Engine {
    pub(crate) state: State,
    timers: BTreeMap<TimerId, Instant>,
    began: Instant,
    sender: Sender,
    open: Option<Open>,
}

impl Engine {
    /// Before any daemon is asked.
    pub(crate) fn new(settings: Settings, size: Size, sender: Sender) -> Self {
        let state = State::new(settings, size);
        let mut engine = Self { state, timers: BTreeMap::new(), began: Instant::now(), sender, open: None };
        engine.state.now = engine.moment();
        engine
    }

    /// Lets an event happen; what is to be done.
    pub(crate) fn happen(&mut self, kind: EventKind) -> Vec<Action> {
        let event = Event { at: self.moment(), kind };
        update(&mut self.state, event)
    }

    /// Performs an action; gives it back where it needs a terminal, another profile, or the end.
    pub(crate) fn perform(&mut self, action: Action) -> Option<Action> {
        let worker = self.open.as_ref().map(|open| &open.worker);
        match (action, worker) {
            (Action::TimerSet { id, after_ms }, _) => {
                self.timers.insert(id, Instant::now() + Duration::from_millis(after_ms));
            }
            (Action::TimerDrop(id), _) => drop(self.timers.remove(&id)),
            (
                action @ (Action::Repaint
                | Action::Suspend
                | Action::Copy(_)
                | Action::Mouse(_)
                | Action::Bell
                | Action::Title(_)
                | Action::Switch(_)
                | Action::Quit),
                _,
            ) => return Some(action),
            (_nobody_is_asked, None) => {}
            (Action::Request { id, call }, Some(worker)) => worker.ask(id, call),
            (Action::Cancel(id) | Action::JobStop(id), Some(worker)) => worker.cancel(id),
            (Action::Job { id, job }, Some(worker)) => worker.job(id, job),
            (Action::JobPause(id, on), Some(worker)) => worker.pause(id, on),
            (Action::TailOpen { epoch, after }, Some(worker)) => worker.tail_open(epoch, after),
            (Action::TailClose, Some(worker)) => worker.tail_close(),
            (Action::SavePin { kept, force }, Some(worker)) => worker.save_pin(kept, force),
            (Action::WriteFile { purpose, name, text }, Some(worker)) => {
                let stamp = rfc3339(self.moment().wall_seconds).replace(['-', ':'], "");
                worker.write_file(purpose, name, stamp, text);
            }
            (Action::BringFile { from, name }, Some(worker)) => worker.bring_file(from, name),
            (Action::ListNames(typed), Some(worker)) => worker.list_names(typed),
            (Action::Remember(on), Some(worker)) => worker.remember(on),
            (Action::RememberNext(on), Some(worker)) => worker.intend(on),
            (Action::Lock, Some(worker)) => worker.lock(),
            (Action::Logout, Some(worker)) => worker.logout(),
        }
        None
    }

    /// When the next timer runs out.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.values().copied().min()
    }

    /// The timers that have run out; they are set no longer.
    pub(crate) fn due(&mut self) -> Vec<TimerId> {
        let now = Instant::now();
        let due: Vec<TimerId> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in &due {
            self.timers.remove(id);
        }
        due
    }

    // ---- daemons ----------------------------------------------------------------------------------------------------

    /// Speaks to a daemon from now on. Nothing of the one before stays, and nobody waits for its end.
    pub(crate) fn open(&mut self, opening: Opening) -> io::Result<Vec<Action>> {
        if let Some(Open { worker, ends_session }) = self.open.take() {
            worker.leave_alone(ends_session && !self.state.remember);
        }
        self.timers.clear();
        let Opening { client, mut settings, credential, cache, .. } = opening;
        let ends_session = !credential.is_given();
        // What was set by hand goes for the next daemon too.
        let set = &self.state.settings;
        settings.mouse = set.mouse;
        (settings.time, settings.title, settings.bell) = (set.time, set.title, set.bell);
        (settings.theme, settings.highlight, settings.ascii) = (set.theme, set.highlight, set.ascii);
        settings.cursor_on_selection = set.cursor_on_selection;
        let mut state = State::new(settings, self.state.size);
        state.now = self.moment();
        state.next_id = self.state.next_id;
        self.state = state;
        let worker = Worker::start(client, self.sender.next_profile(), cache, state_folder())?;
        self.open = Some(Open { worker, ends_session });
        Ok(start(&mut self.state, credential))
    }

    /// Ends the session that was opened here, unless it is kept.
    pub(crate) fn leave(&mut self) {
        if let Some(Open { worker, ends_session }) = self.open.take() {
            worker.leave(ends_session && !self.state.remember);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the console's only clock")]
    pub(crate) fn moment(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_seconds: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// The moment `ms` milliseconds after the beginning.
    pub(crate) fn instant(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }
}
