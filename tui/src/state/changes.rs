//! Changes under way and just done: runs of one or many, what can be undone, what is not known.

use std::collections::BTreeMap;

use crate::action::RequestId;
use crate::event::Moment;
use crate::state::deeds::{Change, Seen};
use crate::state::dialog::Form;

/// Milliseconds for which `u` is offered.
pub const UNDO_MS: u64 = 8_000;
/// Changes of one run that are under way at once.
pub const AT_ONCE: usize = 2;
/// Runs that are remembered, with their failures.
pub const RUNS_MAX: usize = 20;

/// How one change of a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// Not sent yet.
    Waiting,
    /// Sent.
    Sent(RequestId),
    /// Done; index of its entry.
    Done(Option<u64>),
    /// Refused, or not sent any more.
    Failed(String),
    /// It was sent, and no answer came. Asked again after so many tries.
    Unknown {
        /// What went wrong.
        why: String,
        /// How often it was looked for.
        tries: u32,
        /// The question about it.
        asked: Option<RequestId>,
    },
    /// What it is now is being read before it is sent.
    Looking(RequestId),
    /// It had changed: what it is now, and then who did it, is being asked.
    Changed {
        /// The question.
        asked: RequestId,
        /// What is different, once that is known.
        found: Option<String>,
    },
}

/// One change of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The change.
    pub change: Change,
    /// What the thing was, and the entity tag of that.
    pub base: Option<Seen>,
    /// Number of its idempotency key; the same as long as it is the same change.
    pub key: u64,
    /// What must still be so for it to make sense: the change it takes back.
    pub guard: Option<Change>,
    /// It was refused because the thing had changed: what is done about that is for a person to say.
    pub was_changed: bool,
    /// What came of it is an approval only: others must approve too.
    pub only_approved: bool,
    /// How it stands.
    pub status: Status,
}

impl Item {
    /// The request it waits for.
    pub fn waits_for(&self) -> Option<RequestId> {
        match &self.status {
            Status::Sent(id) | Status::Looking(id) | Status::Changed { asked: id, .. } => Some(*id),
            Status::Unknown { asked, .. } => *asked,
            Status::Waiting | Status::Done(_) | Status::Failed(_) => None,
        }
    }
}

/// Changes that were asked for together.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The changes.
    pub items: Vec<Item>,
    /// Whether it takes something back.
    pub is_undo: bool,
    /// When it began.
    pub began: Moment,
    /// Whether its end was told.
    pub told: bool,
    /// The form it was typed in: shown again with what is wrong, should it be refused.
    pub form: Option<Box<Form>>,
}

impl Run {
    /// How many are done.
    pub fn done(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.status, Status::Done(_))).count()
    }

    /// How many were refused.
    pub fn failed(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.status, Status::Failed(_))).count()
    }

    /// Whether nothing is to be waited for.
    pub fn is_over(&self) -> bool {
        self.done() + self.failed() == self.items.len()
    }
}

/// What `u` would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Undo {
    /// What takes each change back, and the change itself.
    pub pairs: Vec<(Change, Change)>,
    /// Until when it is offered, in milliseconds since the start.
    pub until_ms: u64,
}

/// A job in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// What it does.
    pub title: String,
    /// Whether its numbers are octets.
    pub in_octets: bool,
    /// So many are done.
    pub done: u64,
    /// So many were done when it began to tell: by an earlier run.
    pub base: Option<u64>,
    /// Of so many.
    pub total: Option<u64>,
    /// What it waits for; empty while it goes on.
    pub standing: String,
    /// Whether it was told to stand still.
    pub paused: bool,
    /// Whether it can be told to.
    pub can_pause: bool,
    /// When it began.
    pub began: Moment,
    /// When it told something last.
    pub told: Moment,
    /// How it ended.
    pub outcome: Option<Result<String, String>>,
}

impl Running {
    /// Rows or octets a second so far, and the seconds that are left at that rate.
    pub fn rate(&self) -> Option<(u64, Option<u64>)> {
        let past_ms = self.told.ms.saturating_sub(self.began.ms);
        let done = self.done.saturating_sub(self.base.unwrap_or(0));
        let rate = done.checked_mul(1_000)?.checked_div(past_ms)?;
        let left = self.total.and_then(|total| total.saturating_sub(self.done).checked_div(rate));
        Some((rate, left))
    }
}

/// All changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Runs by number.
    pub runs: BTreeMap<u64, Run>,
    /// Jobs in the background, by their request.
    pub jobs: BTreeMap<RequestId, Running>,
    /// Whether leaving with work under way was asked about.
    pub leaving: bool,
    /// The next run's number. It goes on over sessions, as answers to an earlier one may still come.
    pub next_run: u64,
    /// The next idempotency key's number. It is never that of another change sent by the same worker, whose seed it goes with: the
    /// daemon would answer with what became of that one, and a one-time password would be the same.
    pub next_key: u64,
    /// What `u` would do.
    pub undo: Option<Undo>,
    /// When the last run was told, in milliseconds since the start.
    pub told_ms: Option<u64>,
    /// The last answer as JSON, with its request id, its index and its receipt.
    pub result: Option<String>,
}

/// One of what runs in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A job, by its request.
    Job(RequestId),
    /// A run of changes, by its number.
    Run(u64),
}

impl Changes {
    /// Forgets all that one user did and that another one is not to see. The numbers go on.
    pub fn forget(&mut self) {
        *self = Self { next_run: self.next_run, next_key: self.next_key, ..Self::default() };
    }

    /// All that runs or has run in the background, what began last first.
    pub fn newest_first(&self) -> Vec<Entry> {
        let jobs = self.jobs.iter().map(|(id, job)| (job.began.ms, Entry::Job(*id)));
        let runs = self.runs.iter().map(|(number, run)| (run.began.ms, Entry::Run(*number)));
        let mut all: Vec<(u64, Entry)> = jobs.chain(runs).collect();
        // Of one instant what comes later in its map began later.
        all.reverse();
        all.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
        all.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Whether the last result is still on the message line.
    pub fn is_told(&self, now_ms: u64) -> bool {
        self.told_ms.is_some_and(|at| now_ms.saturating_sub(at) <= UNDO_MS)
    }

    /// How many runs and jobs have an end to come.
    pub fn under_way(&self) -> usize {
        self.runs.values().filter(|run| !run.is_over()).count()
            + self.jobs.values().filter(|job| job.outcome.is_none()).count()
    }
}
