//! How resumable uploads end: published as a file of a version, ended by their owner, or expired. The record says so before
//! the octets go, so a crash in between leaves octets without an open record, which the next start removes.

use std::sync::Arc;

use common::audit::{Action, Outcome as EntryOutcome};
use common::name::UploadId;
use common::role::Permission;
use tokio::sync::OwnedSemaphorePermit;

use super::record::{Ended, Record};
use super::table::Slot;
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Done, Outcome, RegistryError};
use crate::registry::quota::Claim;
use crate::registry::upload::{StagedFile, target};
use crate::registry::{Inner, Registry};

/// An upload that nobody else does anything to, until this is dropped.
pub(crate) struct Held {
    slot: Arc<Slot>,
    _turn: OwnedSemaphorePermit,
}

impl Held {
    /// Which.
    pub(crate) fn id(&self) -> UploadId {
        self.slot.record().id
    }

    /// What it has reserved of quotas.
    pub(crate) fn claim(&self) -> Arc<Claim> {
        Arc::clone(self.slot.claim())
    }

    /// Reserves that again, unless it is over.
    pub(crate) fn reserve_again(&self) {
        let record = self.slot.record();
        if record.ended.is_none() {
            self.slot.claim().force(record.announced());
        }
    }
}

impl Registry {
    /// Ends an upload of the caller's: what came of it goes.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `UploadGone`, `UploadBusy`; `AuditUnavailable` and its kin: then it is still there.
    pub async fn end_upload(&self, caller: &Caller, id: UploadId) -> Outcome<()> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelUpload, target(None)).with("upload", id.to_string());
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        let (slot, _record) = inner.open_upload(caller, id)?;
        let turn = slot.turn().await?;
        inner.check_open(&slot.record())?;
        let done = inner.give_up(caller, Held { slot, _turn: turn }, Ended::Terminated).await?;
        Ok(done)
    }
}

impl Inner {
    /// Holds an upload for publishing, and stages what it has.
    pub(crate) async fn hold_upload(
        self: &Arc<Self>,
        caller: &Caller,
        id: UploadId,
        unnamed: Option<&str>,
    ) -> Result<(Held, StagedFile), RegistryError> {
        let (slot, _record) = self.open_upload(caller, id)?;
        let turn = slot.turn().await?;
        let record = slot.record();
        self.check_open(&record)?;
        if !record.is_complete() {
            let whole = record.length.map_or("an unknown number of".to_owned(), |length| length.to_string());
            let what = format!("upload {id} has {} of {whole} octets; send the rest first", record.offset);
            return Err(RegistryError::Conflict(what));
        }
        let path = match (record.path.clone(), unnamed) {
            (Some(path), _) => path,
            (None, Some(name)) => name.parse().map_err(|error: common::name::NameError| {
                RegistryError::invalid("part.upload_id", format!("{id} has no filename, and {error}"))
            })?,
            (None, None) => {
                let why = format!("{id} has no filename: give one in Upload-Metadata, or the model's name in the form");
                return Err(RegistryError::invalid("part.upload_id", why));
            }
        };
        let digest = record.hash.digest().map_err(|error| RegistryError::Internal(error.into()))?;
        if let Some(expected) = record.sha256.filter(|expected| *expected != digest) {
            return Err(RegistryError::DigestMismatch { expected, actual: digest });
        }
        let inner = Arc::clone(self);
        let staging = tokio::task::spawn_blocking(move || inner.blobs.stage_partial(&id.to_string()));
        let staged = staging.await.map_err(|error| RegistryError::Internal(error.into()))??;
        if staged.len() != record.offset {
            let what = format!("upload {id} has {} octets on disk, {} in its record", staged.len(), record.offset);
            return Err(RegistryError::Internal(what.into()));
        }
        let file = StagedFile { path, staged, digest, size: record.offset };
        Ok((Held { slot, _turn: turn }, file))
    }

    /// Writes down that an upload ended, and lets its octets go. What fails of that is done by the next start.
    pub(crate) async fn conclude_upload(self: &Arc<Self>, held: Held, ended: Ended) {
        let inner = Arc::clone(self);
        let counted = self.tasks.hold();
        let concluding = tokio::task::spawn_blocking(move || {
            let _counted = counted;
            let mut record = held.slot.record();
            (record.ended, record.touched_at_ms) = (Some(ended), clock::now_ms());
            // Asked for no more, and by far the largest part of what is remembered.
            record.metadata = String::new();
            let dir = &inner.settings().resumable.dir;
            // Over it is, written down or not: nothing of it is asked for again by this process.
            held.slot.set(record.clone());
            if let Err(error) = record.save(dir) {
                tracing::warn!(upload = %record.id, %error, "can't write down that an upload is over");
                return;
            }
            if let Err(error) = inner.blobs.remove_partial(&record.id.to_string()) {
                let error = crate::error_chain(&error);
                tracing::warn!(upload = %record.id, error, "can't remove what is left of an upload");
            }
            for id in inner.resumables.forgettable() {
                if let Err(error) = Record::remove(dir, id) {
                    tracing::warn!(upload = %id, %error, "can't forget an upload that is over");
                }
                inner.resumables.remove(id);
            }
        });
        if let Err(error) = concluding.await {
            tracing::warn!(%error, "can't conclude an upload");
        }
    }

    /// Forgets an upload that could not be created.
    pub(super) async fn forget_upload(self: &Arc<Self>, id: UploadId) {
        self.resumables.remove(id);
        let inner = Arc::clone(self);
        let forgetting = tokio::task::spawn_blocking(move || {
            let record = Record::remove(&inner.settings().resumable.dir, id);
            record.map_err(Into::into).and(inner.blobs.remove_partial(&id.to_string()))
        });
        if let Ok(Err(error)) = forgetting.await {
            // It has no record, or an empty one that expires.
            tracing::debug!(upload = %id, error = crate::error_chain(&error), "can't remove what was begun of an upload");
        }
    }

    /// Gives an upload up that did not become a version: first the entry, then the octets.
    async fn give_up(self: &Arc<Self>, caller: &Caller, held: Held, ended: Ended) -> Outcome<()> {
        let record = held.slot.record();
        let mut note = Note::event(Action::ModelUpload, target(record.model.as_ref()))
            .with("upload", record.id.to_string())
            .with("owner", record.owner_name.as_str())
            .with("octets_received", record.offset)
            .with("reason", if ended == Ended::Expired { "expired" } else { "terminated" });
        if let Some(path) = &record.path {
            note.say("first_file", path.as_str());
        }
        note.outcome = Some(EntryOutcome::Error);
        let done: Done<()> = self.record(caller, note).await?;
        self.conclude_upload(held, ended).await;
        Ok(done)
    }

    /// Ends what nobody went on with, and forgets what is over for as long again.
    pub(crate) async fn expire_uploads(self: &Arc<Self>) {
        for slot in self.resumables.slots() {
            let record = slot.record();
            if self.expires_at_ms(&record) > clock::now_ms() {
                continue;
            }
            if record.ended.is_some() {
                self.forget_upload(record.id).await;
                continue;
            }
            // Whoever is at it goes on with it, or just did.
            let Some(turn) = slot.try_turn() else { continue };
            if self.expires_at_ms(&slot.record()) > clock::now_ms() || slot.record().ended.is_some() {
                continue;
            }
            let (id, octets) = (record.id, record.offset);
            match self.give_up(&Caller::system(), Held { slot, _turn: turn }, Ended::Expired).await {
                Ok(_done) => {
                    self.resumables.count_expired();
                    tracing::info!(upload = %id, octets, owner = record.owner_name, "a resumable upload has expired");
                }
                Err(failure) => {
                    // Without its entry nothing goes; it comes again in the next round.
                    let error = crate::error_chain(&failure.error);
                    tracing::warn!(upload = %id, error, "that an upload has expired can't be recorded");
                    return;
                }
            }
        }
    }
}
