//! Items in `processing/`: looked at, worked on, tried again, and done. Knows what work came to; refuses to know how it is
//! done.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::api::{IngestKind, IngestState};
use common::name::ItemId;
use common::shown::shown;

use crate::clock;
use crate::ingest::engine::pending::by_of;
use crate::ingest::engine::people::Refused;
use crate::ingest::engine::{Engine, FOLDER_LOOK, HINTS_PAUSE, OF_DISCARDED};
use crate::ingest::jobs::Shown;
use crate::ingest::names::Place;
use crate::ingest::process;
use crate::ingest::process::{CameTo, Decided, Prepared, Unprepared, Worked};
use crate::ingest::schedule::{BIG_OCTETS, Job};
use crate::ingest::settle::{Look, Settling, Verdict, Writer};
use crate::ingest::table::ATTEMPTS_MAX;
use crate::registry::ingest::Item;

/// The first wait after a failure, doubled with each …
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Characters of a reason that the log shows.
const REASON_SHOWN_MAX: usize = 500;
/// An item that waits for room looks for it so often.
const ROOM_LOOK: Duration = Duration::from_secs(30);

/// An item in `processing/`.
pub(super) struct Taken {
    pub(super) place: Place,
    /// What was taken along, where that is known.
    pub(super) beside: Option<Vec<OsString>>,
    pub(super) prepared: Option<Arc<Prepared>>,
    pub(super) decided: Option<Arc<Decided>>,
    pub(super) may_be_decided: bool,
    /// There is a record of what it came to: nothing is left but to move it.
    pub(super) is_recorded: bool,
    pub(super) attempts: u32,
    pub(super) stage: TakenStage,
    pub(super) settling: Option<Settling>,
    pub(super) due: Option<Instant>,
    pub(super) claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakenStage {
    /// It is to be looked at, or is.
    Preparing,
    /// It has its turn in the schedule, or is at work.
    Scheduled,
    /// It is decided, and is moved or about to be.
    Finishing,
    /// It waits for its time.
    Waiting,
    /// Somebody still wrote it: it settles again.
    Settling,
    /// Only a person can help, or a start.
    GivenUp,
}

impl Engine {
    pub(super) fn prepare_again(&mut self, id: ItemId) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.stage = TakenStage::Preparing;
        if !self.to_prepare.contains(&id) {
            self.to_prepare.push_back(id);
        }
    }

    pub(super) fn prepared(&mut self, id: ItemId, prepared: Result<Prepared, Unprepared>) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Unprepared::Gone) => return self.gone(id),
            Err(Unprepared::Changed) => return self.settle_again(id, "it changed while it was looked at".to_owned()),
            Err(Unprepared::Io(error)) => {
                self.next_check = Instant::now();
                return self.failed(id, format!("it can't be looked at: {error}"));
            }
        };
        let is_decided = taken.may_be_decided || taken.decided.is_some();
        let is_written = prepared.writer == Writer::Some && !is_decided;
        let by = by_of(&self.settings, prepared.seen.owner_uid);
        let (name, reason) = (prepared.name.clone(), self.reason_to_wait());
        self.shared.table().change(id, |row| {
            row.kind = prepared.kind;
            row.size = prepared.seen.size;
            row.files = prepared.seen.tree.as_ref().map_or(1, |tree| tree.files);
            row.owner_uid = prepared.seen.owner_uid;
            row.by = by;
            row.name = name.as_ref().map(ToString::to_string).or_else(|| row.name.take());
            row.come_to(IngestState::Waiting, Some(reason), clock::now_ms());
        });
        let job = Job { item: id, size: prepared.seen.size, model: name.map(|name| name.folded()) };
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.prepared = Some(Arc::new(prepared));
        if taken.decided.is_some() {
            return self.will_be_moved(id);
        }
        if is_written {
            return self.settle_again(id, "a program still has it open for writing".to_owned());
        }
        taken.stage = TakenStage::Scheduled;
        if self.schedule.has(id) { self.schedule.resume(id) } else { self.schedule.add(job) }
    }

    fn will_be_moved(&mut self, id: ItemId) {
        self.schedule.remove(id);
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.stage = TakenStage::Finishing;
            self.to_finish.push_back(id);
        }
    }

    /// It must rest again, where it is now. Nobody waits for it.
    pub(super) fn settle_again(&mut self, id: ItemId, reason: String) {
        self.schedule.remove(id);
        let Some(taken) = self.taken.get_mut(&id) else { return };
        (taken.stage, taken.settling) = (TakenStage::Settling, Some(Settling::taken(taken.place.clone())));
        self.wait(id, IngestState::Waiting, reason);
        self.set_due(id, Some(Instant::now() + HINTS_PAUSE));
    }

    pub(super) fn taken_looked(&mut self, id: ItemId, shown: Shown) {
        let Some(taken) = self.taken.get_mut(&id).filter(|taken| taken.stage == TakenStage::Settling) else { return };
        let Some(seen) = shown.seen else { return self.gone(id) };
        let now = Instant::now();
        let look = Look { seen, beside: Vec::new(), writer: shown.writer, moved_in: false };
        let Some(settling) = &mut taken.settling else { return self.prepare_again(id) };
        match settling.look(look, now, self.rest) {
            Verdict::Ready | Verdict::Namespace { .. } => self.prepare_again(id),
            Verdict::Wait { until, reason } => {
                self.wait(id, IngestState::Waiting, reason);
                self.set_due(id, Some(until));
            }
            // Never of what was taken; it is looked at again.
            Verdict::Ask { reason, .. } => {
                self.wait(id, IngestState::Waiting, reason);
                self.set_due(id, Some(now + FOLDER_LOOK));
            }
        }
    }

    /// Somebody took it out of `processing/`.
    pub(super) fn gone(&mut self, id: ItemId) {
        self.schedule.remove(id);
        self.set_due(id, None);
        if let Some(taken) = self.taken.remove(&id) {
            tracing::warn!(path = process::shown(&taken.place), item = %id, "an item is no longer in `processing/`");
        }
        self.shared.table().remove(id);
        self.shared.registry.forget_ingests(vec![id]);
        self.answer(id);
    }

    /// It is tried again, later; after some times only by hand.
    pub(super) fn failed(&mut self, id: ItemId, reason: String) {
        let Some(taken) = self.taken.get_mut(&id) else { return };
        taken.attempts += 1;
        // What is decided is moved at last, however long it takes.
        let is_over = taken.attempts >= ATTEMPTS_MAX && taken.decided.is_none();
        taken.stage = if is_over { TakenStage::GivenUp } else { TakenStage::Waiting };
        let (attempts, now_ms) = (taken.attempts, clock::now_ms());
        let wait = backoff(attempts);
        let is_decided = taken.decided.is_some();
        if is_over || is_decided {
            self.schedule.remove(id)
        } else {
            self.schedule.hold(id)
        }
        self.set_due(id, (!is_over).then(|| Instant::now() + wait));
        self.shared.table().change(id, |row| {
            row.step(IngestState::Failed, reason.clone(), now_ms);
            row.state_since_ms = now_ms;
            row.state = IngestState::Failed;
            row.come_to(IngestState::Failed, Some(reason), now_ms);
            row.attempts = attempts;
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            row.next_try_at_ms = (!is_over).then(|| now_ms.saturating_add(wait_ms));
        });
        if is_over {
            tracing::warn!(item = %id, attempts, "an item of the drop folder waits for a person: retry or discard it");
        }
        self.answer(id);
    }

    pub(super) fn worked(&mut self, id: ItemId, worked: Worked) {
        if !self.taken.contains_key(&id) {
            // The folder was gone in between. If it came to something, the records know.
            return;
        }
        match worked {
            Worked::Decided(decided) => {
                if let Some(taken) = self.taken.get_mut(&id) {
                    taken.decided = Some(decided);
                }
                self.will_be_moved(id);
            }
            Worked::Changed(why) => self.settle_again(id, why),
            Worked::Full(why) => {
                // Nobody knows for how long: smaller ones of its model do not wait for it.
                self.schedule.remove(id);
                if let Some(taken) = self.taken.get_mut(&id) {
                    taken.stage = TakenStage::Waiting;
                }
                self.wait(id, IngestState::Waiting, why);
                self.set_due(id, Some(Instant::now() + ROOM_LOOK));
                self.answer(id);
            }
            Worked::Failed(why) => self.failed(id, why),
            Worked::Left => self.schedule.remove(id),
        }
    }

    /// A decided item was moved, or could not be.
    pub(super) fn moved(&mut self, id: ItemId, moved: io::Result<PathBuf>) {
        // The folder was gone in between: the next start finds where it lies.
        let Some(decided) = self.taken.get(&id).and_then(|taken| taken.decided.clone()) else { return };
        match moved {
            Ok(lies) => self.finished(id, &decided, lies),
            Err(error) => {
                tracing::warn!(item = %id, %error, "a decided item can't be moved; it is tried again");
                self.next_check = Instant::now();
                self.failed(id, format!("it is decided, and can't be moved out of `processing/`: {error}"));
            }
        }
    }

    fn finished(&mut self, id: ItemId, decided: &Decided, lies: PathBuf) {
        self.schedule.remove(id);
        self.set_due(id, None);
        let Some(taken) = self.taken.remove(&id) else { return };
        let (path, now_ms) = (process::shown(&taken.place), clock::now_ms());
        let record = &decided.record;
        let mut table = self.shared.table();
        match &decided.came_to {
            CameTo::Version { name, model, version, quarantined, already_present } => {
                let model_name = name.as_deref().unwrap_or_default();
                let state = if *quarantined { "quarantined" } else { "available" };
                tracing::info!(
                    path,
                    version = format!("{model_name}:{version}"),
                    state,
                    already_present,
                    item = %id,
                    "taken in"
                );
                table.change(id, |row| {
                    row.come_to(if *quarantined { IngestState::Quarantined } else { IngestState::Done }, None, now_ms);
                    row.name = name.clone().or_else(|| row.name.take());
                    (row.model, row.version) = (Some(*model), Some(*version));
                });
                table.count_done(id, record.size, now_ms, true);
            }
            CameTo::Refused { problem, detail } => {
                let problem_shown = problem.as_deref().unwrap_or(OF_DISCARDED);
                let (why, owner_uid) = (shown(detail, REASON_SHOWN_MAX), record.owner_uid);
                tracing::warn!(path, problem = problem_shown, why, owner_uid, item = %id, "refused");
                table.change(id, |row| {
                    row.come_to(IngestState::Rejected, Some(detail.clone()), now_ms);
                    row.problem.clone_from(problem);
                });
                table.count_rejected(id, true);
                let kind = taken.prepared.as_ref().map_or(IngestKind::File, |prepared| prepared.kind);
                let item = Item {
                    id,
                    path: record.path.clone(),
                    kind,
                    device: record.device,
                    inode: record.inode,
                    owner_uid: record.owner_uid,
                    size: record.size,
                    digest: record.digest,
                    stage: None,
                };
                self.refused.insert(id, Refused { place: taken.place, lies: lies.clone(), item, claimed: false });
            }
        }
        table.change(id, |row| {
            row.octets_done = if matches!(decided.came_to, CameTo::Version { .. }) { row.size } else { 0 };
            row.digest = record.digest;
            row.log_index = Some(record.index);
            row.place = lies.display().to_string();
            if taken.prepared.is_none() {
                (row.size, row.owner_uid) = (record.size, record.owner_uid);
            }
            if row.by.is_none() {
                row.by = Some(decided.by.clone());
            }
        });
        // The list keeps the newest; what left it needs no keeping here.
        if self.refused.len() > 2 * crate::ingest::table::REJECTED_MAX {
            self.refused.retain(|id, _| table.get(*id).is_some());
        }
        drop(table);
        self.answer(id);
    }

    pub(super) fn answer(&mut self, id: ItemId) {
        for waiter in self.waiters.remove(&id).unwrap_or_default() {
            // Nobody may wait any more.
            let _ = waiter.send(());
        }
    }
}

impl Taken {
    /// Whether it goes on only when somebody else does something.
    pub(super) fn is_parked(&self) -> bool {
        match self.stage {
            TakenStage::Settling | TakenStage::GivenUp => true,
            // Without a failure it waits for room.
            TakenStage::Waiting => self.attempts == 0,
            TakenStage::Preparing | TakenStage::Scheduled | TakenStage::Finishing => false,
        }
    }

    pub(super) fn is_big(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.seen.size >= BIG_OCTETS)
    }
}

/// How long an item waits after so many failures.
fn backoff(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RETRY_MAX, backoff};

    /// The waits double up to their end.
    #[test]
    fn waits() {
        let waits: Vec<u64> = (1..=9).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff(u32::MAX), RETRY_MAX);
        assert_eq!(backoff(0), Duration::from_secs(5));
    }
}
