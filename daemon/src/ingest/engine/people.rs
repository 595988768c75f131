//! What people do with items, once it is recorded: claims, another try, giving up, pauses. Knows which item may be touched;
//! refuses to know who may.

use std::path::PathBuf;

use common::api::{IngestKind, IngestState};
use common::name::ItemId;
use tokio::sync::oneshot;

use crate::clock;
use crate::ingest::documents;
use crate::ingest::engine::pending::{Phase, kind_now};
use crate::ingest::engine::taken::TakenStage;
use crate::ingest::engine::{Ended, Engine, OF_DISCARDED};
use crate::ingest::lanes::TakeError;
use crate::ingest::names::Place;
use crate::ingest::process;
use crate::ingest::queue::{Claimed, Command, Purpose, not_found};
use crate::registry::error::RegistryError;
use crate::registry::ingest::Item;
use crate::store::records::{IngestOutcome, IngestRecord, IntakeRecord};

/// A refused item in `rejected/`.
pub(super) struct Refused {
    pub(super) place: Place,
    pub(super) lies: PathBuf,
    pub(super) item: Item,
    pub(super) claimed: bool,
}

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Claim { id, purpose, reply } => {
                let claimed = self.claim(id, purpose);
                if let Err(Ok(_unclaimed)) = reply.send(claimed) {
                    self.release(id);
                }
            }
            Command::Release { id } => self.release(id),
            Command::Retry { id, by, reply } => self.retry(id, &by, reply),
            Command::Discard { id, record, reply } => self.discard(id, &record, reply),
            Command::Intake(record) => self.intake(&record),
        }
    }

    pub(super) fn claim(&mut self, id: ItemId, purpose: Purpose) -> Result<Claimed, RegistryError> {
        let state = self.shared.table().item(id).map(|item| item.state).ok_or_else(|| not_found(id))?;
        let was = state.as_str().to_owned();
        let conflict = |text: &str| Err(RegistryError::Conflict(text.to_owned()));
        if let Some(refused) = self.refused.get_mut(&id) {
            if std::mem::replace(&mut refused.claimed, true) {
                return conflict("somebody else does something with the item");
            }
            return Ok(Claimed { item: refused.item.clone(), was });
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            if pending.claimed || pending.discarded || pending.phase == Phase::Taking {
                return conflict("the item is under way");
            }
            if purpose == Purpose::Retry && pending.phase != Phase::Stuck {
                return conflict("the item is neither failed nor refused; it is taken in when it is complete");
            }
            let Some(seen) = &pending.last else { return conflict("the item has not yet been looked at") };
            pending.claimed = true;
            let item = process::item(id, &pending.place, kind_now(seen), seen, None, None);
            return Ok(Claimed { item, was });
        }
        let Some(taken) = self.taken.get_mut(&id) else {
            return conflict("the item is a version already");
        };
        let is_at_work =
            self.schedule.is_active(id) || matches!(taken.stage, TakenStage::Preparing | TakenStage::Finishing);
        if is_at_work || taken.claimed {
            return conflict("the item is under way");
        }
        if taken.decided.is_some() || taken.may_be_decided {
            let is_retry = purpose == Purpose::Retry && state == IngestState::Failed;
            if !is_retry {
                return conflict("the item is decided already, and is only to be moved");
            }
        }
        // What waits for room need not wait for the next look.
        let may_go_on = state == IngestState::Failed || taken.stage == TakenStage::Waiting;
        if purpose == Purpose::Retry && !may_go_on {
            return conflict("the item is neither failed nor refused; it goes on by itself");
        }
        taken.claimed = true;
        let item = match &taken.prepared {
            Some(prepared) => process::item(id, &taken.place, prepared.kind, &prepared.seen, None, None),
            // It could not even be looked at since the start.
            None => Item {
                id,
                path: taken.place.shown(),
                kind: IngestKind::File,
                device: 0,
                inode: 0,
                owner_uid: 0,
                size: 0,
                digest: None,
                stage: None,
            },
        };
        Ok(Claimed { item, was })
    }

    pub(super) fn release(&mut self, id: ItemId) {
        if let Some(refused) = self.refused.get_mut(&id) {
            refused.claimed = false;
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.claimed = false;
        }
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.claimed = false;
        }
    }

    pub(super) fn retry(&mut self, id: ItemId, by: &str, reply: oneshot::Sender<Result<(), RegistryError>>) {
        self.release(id);
        let text = format!("tried again by `{by}`");
        if let (Some(refused), Some(lanes)) = (self.refused.get_mut(&id), self.lanes.clone()) {
            refused.claimed = true;
            let (place, lies) = (refused.place.clone(), refused.lies.clone());
            self.shared.table().change(id, |row| row.step(IngestState::Waiting, text, clock::now_ms()));
            self.retries.insert(id, reply);
            self.jobs.spawn_blocking(move || Ended::Readmitted(id, lanes.readmit(id, &place, &lies)));
            return;
        }
        let came = if let Some(pending) = self.pending.get_mut(&id) {
            pending.phase = Phase::Settling;
            let place = pending.place.clone();
            self.look(place);
            Ok(())
        } else if let Some(taken) = self.taken.get_mut(&id) {
            taken.attempts = 0;
            (taken.may_be_decided, taken.is_recorded) = (true, false);
            self.set_due(id, None);
            self.prepare_again(id);
            Ok(())
        } else {
            Err(not_found(id))
        };
        if came.is_ok() {
            self.shared.table().change(id, |row| {
                row.attempts = 0;
                row.problem = None;
                row.come_to(IngestState::Waiting, Some(text), clock::now_ms());
            });
        }
        // Nobody may wait any more.
        let _ = reply.send(came);
    }

    pub(super) fn readmitted(&mut self, id: ItemId, readmitted: Result<(), TakeError>) {
        let reply = self.retries.remove(&id);
        let came = match readmitted {
            Ok(()) => {
                if let Some(refused) = self.refused.remove(&id) {
                    self.insert_taken(id, refused.place, None, false);
                    self.to_prepare.push_back(id);
                    self.shared.table().change(id, |row| {
                        row.attempts = 0;
                        (row.problem, row.log_index) = (None, None);
                        row.place = format!("processing/{id}");
                        let reason = "it is tried again".to_owned();
                        row.come_to(IngestState::Waiting, Some(reason), clock::now_ms());
                    });
                }
                Ok(())
            }
            Err(error) => {
                self.release(id);
                match error {
                    TakeError::Changed => {
                        self.refused.remove(&id);
                        self.shared.table().remove(id);
                        Err(RegistryError::Conflict("it no longer lies in `rejected/`; drop it again".to_owned()))
                    }
                    TakeError::Refused(why) => Err(RegistryError::Conflict(why)),
                    TakeError::Io(error) => Err(RegistryError::Internal(error.into())),
                }
            }
        };
        if let Some(reply) = reply {
            // Nobody may wait any more.
            let _ = reply.send(came);
        }
    }

    pub(super) fn discard(&mut self, id: ItemId, record: &IngestRecord, reply: oneshot::Sender<()>) {
        self.release(id);
        if let Some(refused) = self.refused.remove(&id) {
            self.shared.table().remove(id);
            return self.dismiss(refused.place, refused.lies, record.clone(), Some(reply));
        }
        let given_up = match &record.outcome {
            IngestOutcome::Discarded { by, reason } => format!("given up by `{by}`: {reason}"),
            IngestOutcome::Published { .. } | IngestOutcome::Rejected { .. } => OF_DISCARDED.to_owned(),
        };
        self.shared.table().change(id, |row| row.step(IngestState::Waiting, given_up, clock::now_ms()));
        if let Some(pending) = self.pending.get_mut(&id) {
            if pending.phase == Phase::Stuck {
                // It stays where it is, and is not tried again until it changes.
                self.shared.table().remove(id);
                if let Some(noted) = pending.noted.clone() {
                    let place = pending.place.clone();
                    return self.dismiss(place, noted, record.clone(), Some(reply));
                }
                self.shared.registry.forget_ingests(vec![id]);
                let _ = reply.send(());
                return;
            }
            pending.discarded = true;
            let place = pending.place.clone();
            self.waiters.entry(id).or_default().push(reply);
            self.look(place);
        } else if let Some(taken) = self.taken.get_mut(&id) {
            (taken.may_be_decided, taken.is_recorded) = (true, true);
            taken.attempts = 0;
            self.waiters.entry(id).or_default().push(reply);
            self.set_due(id, None);
            self.prepare_again(id);
        }
    }

    /// Says in its document that a refused item was taken off the list, so that no later start lists it again.
    pub(super) fn dismiss(
        &mut self,
        place: Place,
        lies: PathBuf,
        record: IngestRecord,
        reply: Option<oneshot::Sender<()>>,
    ) {
        let Some(lanes) = self.lanes.clone() else { return };
        self.jobs.spawn_blocking(move || {
            let amended = lanes.amend(record.item, &place, &lies, |document| documents::dismissed(document, &record));
            Ended::Dismissed(record.item, reply, amended)
        });
    }

    pub(super) fn dismissed(&mut self, id: ItemId, reply: Option<oneshot::Sender<()>>, dismissed: std::io::Result<()>) {
        match dismissed {
            Ok(()) => self.shared.registry.forget_ingests(vec![id]),
            // Its record stays: the next start tries the same.
            Err(error) => tracing::warn!(item = %id, %error, "the document of a refused item can't be amended"),
        }
        if let Some(reply) = reply {
            // Nobody may wait any more.
            let _ = reply.send(());
        }
    }

    pub(super) fn intake(&mut self, record: &IntakeRecord) {
        self.paused = record.paused;
        tracing::info!(paused = record.paused, by = record.by, "the drop folder was told");
        let reason = self.reason_to_wait();
        let mut table = self.shared.table();
        let waiting = self.taken.iter().filter(|(_, taken)| taken.stage == TakenStage::Scheduled).map(|(id, _)| id);
        for id in self.ready.iter().chain(waiting) {
            table.change(*id, |row| {
                if row.state == IngestState::Waiting {
                    row.reason = Some(reason.clone());
                }
            });
        }
    }
}
