//! What is begun next, and who is told when it has ended: one batch of each kind, and as many items at work as there are
//! places. Knows bounds; refuses to know what an item came to.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::api::IngestState;
use tokio::task::{Id, JoinError};

use crate::clock;
use crate::ingest::engine::pending::{Phase, kind_now};
use crate::ingest::engine::taken::TakenStage;
use crate::ingest::engine::{Ended, Engine};
use crate::ingest::jobs::{Target, ToLook, ToPrepare, ToTake};
use crate::ingest::process::{Context, Work, Worked};
use crate::ingest::schedule::BIG_OCTETS;
use crate::ingest::table::Progress;
use crate::ingest::{jobs, process};

/// Looks, takes or preparations of one batch.
const BATCH: usize = 256;
/// Items that are taken and wait for a place, at most: the others wait where they were dropped.
const TAKEN_MAX: usize = 256;
/// Items that are taken and get no place for now, at most: somebody writes them, they wait for room or for a person. They
/// don't keep others from being taken, or whoever holds a few files open would hold up everybody.
const TAKEN_PARKED_MAX: usize = 10_000;
/// The same of big ones.
const TAKEN_BIG_MAX: usize = 16;
/// The same of those that become versions of one model, for they go one after the other.
const TAKEN_OF_MODEL_MAX: usize = 32;
/// Decided items that are moved at once.
const FINISHING_MAX: usize = 16;
/// Where none of those that wait may be taken, they are gone through again after so long.
const TAKE_PAUSE: Duration = Duration::from_millis(50);

impl Engine {
    pub(super) fn dispatch(&mut self) {
        let (Some(lanes), Some(context)) = (self.lanes.clone(), self.context.clone()) else { return };
        if self.walk_wanted && !self.walking {
            (self.walk_wanted, self.walking) = (false, true);
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || Ended::Walked(jobs::walk(&lanes)));
        }
        if !self.to_look.is_empty() && !self.looking {
            self.looking = true;
            let count = self.to_look.len().min(BATCH);
            let now = Instant::now();
            let mut batch = Vec::with_capacity(count);
            for target in self.to_look.drain(..count) {
                self.queued.remove(&target);
                let mut known = BTreeSet::new();
                let settling = match &target {
                    Target::Place(place) => {
                        known = self.beside.remove(place).unwrap_or_default();
                        let pending = self.by_place.get(place).and_then(|id| self.pending.get(id));
                        if let Some(pending) = pending {
                            known.extend(pending.beside.keys().cloned());
                        }
                        pending.map(|pending| &pending.settling)
                    }
                    Target::Item(id, _) => self.taken.get(id).and_then(|taken| taken.settling.as_ref()),
                };
                let asks = settling.is_some_and(|settling| settling.asks_writer(now, self.rest));
                batch.push(ToLook { target, known, asks });
            }
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || {
                let look = |one: ToLook| {
                    let shown = jobs::look(&lanes, &one);
                    (one.target, shown)
                };
                let mut looked: Vec<_> = batch.into_iter().map(look).collect();
                // What is gone comes last: it may have come back under another name of the same batch.
                looked.sort_by_key(|(_, shown)| shown.as_ref().is_ok_and(|shown| shown.seen.is_none()));
                Ended::Looked(looked)
            });
        }
        if !self.to_prepare.is_empty() && !self.preparing {
            self.preparing = true;
            let count = self.to_prepare.len().min(BATCH);
            let batch: Vec<ToPrepare> = self
                .to_prepare
                .drain(..count)
                .filter_map(|id| self.taken.get(&id).map(|taken| (id, taken.place.clone(), taken.beside.clone())))
                .collect();
            let lanes = Arc::clone(&lanes);
            self.jobs.spawn_blocking(move || Ended::Prepared(jobs::prepare_batch(&lanes, batch)));
        }
        if !self.taking && !self.ready.is_empty() && Instant::now() >= self.take_after {
            let batch = self.choose();
            if batch.is_empty() {
                // Not at each event: there may be many that wait, and each was looked at.
                self.take_after = Instant::now() + TAKE_PAUSE;
            } else {
                self.taking = true;
                let lanes = Arc::clone(&lanes);
                self.jobs.spawn_blocking(move || Ended::Took(jobs::take(&lanes, batch)));
            }
        }
        self.begin_work(&context);
        self.begin_finishing(&context);
    }

    /// The ready items that are taken next, small ones first.
    pub(super) fn choose(&mut self) -> Vec<ToTake> {
        let (mut parked, mut big_taken) = (0, 0);
        for taken in self.taken.values() {
            parked += usize::from(taken.is_parked());
            big_taken += usize::from(taken.is_big() && !taken.is_parked());
        }
        let mut room = TAKEN_MAX.saturating_sub(self.taken.len().saturating_sub(parked)).min(BATCH);
        room = room.min(TAKEN_PARKED_MAX.saturating_sub(parked));
        let mut room_big = TAKEN_BIG_MAX.saturating_sub(big_taken);
        let mut of_model: HashMap<String, usize> = HashMap::new();
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        while let Some(id) = self.ready.pop_front() {
            let Some(pending) = self.pending.get_mut(&id).filter(|pending| pending.phase == Phase::Ready) else {
                continue;
            };
            let Some(seen) = pending.last.clone() else { continue };
            let is_big = seen.size >= BIG_OCTETS;
            let model = process::name_of(&pending.place, kind_now(&seen)).ok().map(|name| name.folded());
            let many = model
                .as_ref()
                .map_or(0, |model| self.schedule.of_model(model) + of_model.get(model).copied().unwrap_or_default());
            let fits = room > 0 && (!is_big || room_big > 0) && many < TAKEN_OF_MODEL_MAX;
            if !pending.discarded && (self.paused || pending.claimed || !fits) {
                left.push_back(id);
                if room == 0 {
                    break;
                }
                continue;
            }
            room = room.saturating_sub(1);
            room_big = room_big.saturating_sub(usize::from(is_big));
            if let Some(model) = model {
                *of_model.entry(model).or_default() += 1;
            }
            pending.phase = Phase::Taking;
            let sidecars = pending.beside.keys().cloned().collect();
            let noted = pending.noted.clone();
            batch.push(ToTake { id, place: pending.place.clone(), seen, sidecars, noted });
        }
        left.append(&mut self.ready);
        self.ready = left;
        batch.sort_by_key(|one| one.seen.size >= BIG_OCTETS);
        batch
    }

    pub(super) fn begin_work(&mut self, context: &Arc<Context>) {
        loop {
            let (paused, all) = (self.paused, &self.taken);
            let next = self
                .schedule
                .next(|id| all.get(&id).is_some_and(|taken| !taken.claimed && (!paused || taken.may_be_decided)));
            let Some(id) = next else { return };
            let Some((taken, prepared)) =
                self.taken.get(&id).and_then(|taken| Some((taken, Arc::clone(taken.prepared.as_ref()?))))
            else {
                self.schedule.remove(id);
                continue;
            };
            let progress = Progress::new();
            let (now, now_ms) = (Instant::now(), clock::now_ms());
            // Of what is refused as it is, or is decided, nothing is read.
            let aside = match (prepared.is_refused(), taken.is_recorded) {
                (_, true) => Some("it is decided, and is moved"),
                (true, false) => Some("it can't be taken in"),
                (false, false) => None,
            };
            self.shared.table().change(id, |row| {
                row.attempts = taken.attempts + 1;
                if let Some(aside) = aside {
                    return row.come_to(IngestState::Waiting, Some(aside.to_owned()), now_ms);
                }
                row.come_to(IngestState::Hashing, None, now_ms);
                row.progress = Some(Arc::clone(&progress));
                row.samples.push_back((now, 0));
            });
            let work = Work {
                id,
                place: taken.place.clone(),
                prepared,
                progress,
                may_be_decided: taken.may_be_decided || taken.attempts > 0,
            };
            let context = Arc::clone(context);
            let begun = self.jobs.spawn(async move {
                let (id, worked) = process::run(context, work).await;
                Ended::Worked(id, worked)
            });
            self.workers.insert(begun.id(), id);
        }
    }

    /// Moves what is decided. It holds no place any more: what is read next need not wait for the disk, and many that are
    /// made durable at once cost the disk little more than one.
    pub(super) fn begin_finishing(&mut self, context: &Arc<Context>) {
        while self.finishing.len() < FINISHING_MAX
            && let Some(id) = self.to_finish.pop_front()
        {
            let Some(taken) = self.taken.get(&id).filter(|taken| taken.stage == TakenStage::Finishing) else {
                continue;
            };
            let Some(decided) = taken.decided.clone() else { continue };
            let (context, place) = (Arc::clone(context), taken.place.clone());
            let begun =
                self.jobs.spawn_blocking(move || Ended::Finished(id, process::finish(&context, id, &place, &decided)));
            self.finishing.insert(begun.id(), id);
        }
    }

    /// Whether nothing is at work that a stop should wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.workers.is_empty() && self.finishing.is_empty() && self.to_finish.is_empty()
    }

    pub(super) fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let ended = match ended {
            Ok((task, ended)) => {
                self.workers.remove(&task);
                self.finishing.remove(&task);
                ended
            }
            Err(error) => match (self.workers.remove(&error.id()), self.finishing.remove(&error.id())) {
                (None, Some(id)) => Ended::Finished(id, Err(std::io::Error::other(error))),
                (Some(id), _) => {
                    tracing::error!(%error, "the work on an item of the drop folder failed");
                    Ended::Worked(
                        id,
                        Worked::Failed("a fault in the registry; the daemon's log has the cause".to_owned()),
                    )
                }
                (None, None) => {
                    (self.looking, self.walking, self.taking, self.preparing) = (false, false, false, false);
                    self.checking = false;
                    self.lost(format!("a fault: {error}"));
                    return;
                }
            },
        };
        match ended {
            Ended::Looked(looked) => {
                self.looking = false;
                if self.lanes.is_some() {
                    for (target, shown) in looked {
                        self.looked(target, shown);
                    }
                }
            }
            Ended::Walked(walked) => {
                self.walking = false;
                match walked {
                    Ok(listed) if self.lanes.is_some() => self.walked(listed),
                    Ok(_) => {}
                    Err(error) if self.lanes.is_some() => self.lost(format!("it can't be listed: {error}")),
                    Err(_) => {}
                }
            }
            Ended::Took(took) => {
                self.taking = false;
                for (id, took) in took {
                    self.took(id, took);
                }
            }
            Ended::Prepared(prepared) => {
                self.preparing = false;
                for (id, prepared) in prepared {
                    self.prepared(id, prepared);
                }
            }
            Ended::Marked(place, marked) => self.marked(place, marked),
            Ended::Worked(id, worked) => self.worked(id, worked),
            Ended::Finished(id, moved) => self.moved(id, moved),
            Ended::Dismissed(id, reply, dismissed) => self.dismissed(id, reply, dismissed),
            Ended::RefusedInPlace(id, recorded) => self.refused_in_place(id, recorded),
            Ended::Readmitted(id, readmitted) => self.readmitted(id, readmitted),
            Ended::Checked(checked) => {
                self.checking = false;
                self.checked(checked);
            }
        }
    }

    pub(super) fn checked(&mut self, checked: std::io::Result<()>) {
        if std::mem::take(&mut self.is_unanswered) {
            tracing::info!("the file system of the drop folder answers again");
            self.shared.table().folder.problem = None;
        }
        if let (Err(error), Some(_)) = (checked, &self.lanes) {
            self.lost(error.to_string());
        }
    }
}
