//! Resumable uploads: octets that come in parts, over days and restarts, until they are published as a file of a version.
//! Knows whose they are, how far they are and how many there may be; refuses to know the protocol, and what a version is.
//!
//! | module | what it does |
//! |---|---|
//! | `record` | what is kept of an upload in a file |
//! | `table` | all of them, in memory; who is at which |
//! | `append` | the next octets, durable before they are acknowledged |
//! | `end` | publishing, ending, expiring |
//!
//! Invariant: an offset that was told to anybody is durable, and so are all octets before it. Octets are synced first, then
//! the record that counts them is replaced; what lies behind the record's offset is cut off before anything is appended.
//!
//! Creating and filling an upload changes nothing that anybody else can see, so it is no entry of the log; a refusal is one,
//! and so is the end: `model.upload` where it is published, or with the outcome `error` where it is given up or expires.

mod append;
mod end;
pub(crate) mod record;
mod table;

use std::sync::Arc;

use common::audit::Action;
use common::digest::Digest;
use common::name::{ArtifactPath, ModelName, UploadId};
use common::role::Permission;

pub use self::append::{Append, Appending, Checksum};
pub(crate) use self::end::Held;
use self::record::{Ended, HashState, Record};
pub(crate) use self::table::Resumables;
use self::table::Slot;
use crate::blobs::BlobError;
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::upload::target;
use crate::registry::{Inner, Registry};

/// Octets of the longest `metadata` of an upload.
pub const METADATA_OCTETS_MAX: usize = 8 * 1024;

/// What is said of an upload before its first octet.
#[derive(Debug, Clone, Default)]
pub struct NewUpload {
    /// Octets of the whole; none where that is said later.
    pub length: Option<u64>,
    /// The artifact's path.
    pub path: Option<ArtifactPath>,
    /// The model it is for.
    pub model: Option<ModelName>,
    /// The digest that the whole must have.
    pub sha256: Option<Digest>,
    /// All that was said, as it was written: given back as it came. At most [`METADATA_OCTETS_MAX`].
    pub metadata: String,
}

/// How an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadState {
    /// Its id.
    pub id: UploadId,
    /// The artifact's path.
    pub path: Option<ArtifactPath>,
    /// The model it is for.
    pub model: Option<ModelName>,
    /// What was said when it was created, as it was written.
    pub metadata: String,
    /// Octets of the whole; none where that is not known yet.
    pub length: Option<u64>,
    /// Octets that are durable.
    pub offset: u64,
    /// When it was created, milliseconds since the epoch.
    pub created_at_ms: i64,
    /// When it expires, milliseconds since the epoch.
    pub expires_at_ms: i64,
}

/// All of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Those that are not over.
    pub open: u64,
    /// Octets that those have.
    pub bytes: u64,
    /// Octets that those have announced and not yet got.
    pub outstanding_bytes: u64,
    /// Those that have expired since the start.
    pub expired: u64,
}

impl Registry {
    /// Creates an upload: permission, size, room and the user's share are judged before any octet is asked for.
    ///
    /// # Errors
    /// What `require` says; `TooLarge`; `Invalid`; `Conflict`: a deleted model has the name; `StorageFull`; `QuotaExceeded`;
    /// `Busy`: the user has as much open as one may. Each with its entry.
    pub async fn create_upload(&self, caller: &Caller, new: NewUpload) -> Result<UploadState, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelUpload, target(new.model.as_ref()));
        inner.permit_on(caller, Permission::ModelWrite, new.model.as_ref(), &note).await?;
        let note = note.with("octets_declared", new.length.unwrap_or(0));
        match inner.create_upload(caller, new).await {
            Ok(state) => Ok(state),
            Err(error) => Err(inner.refuse(caller, note, error).await),
        }
    }

    /// How an upload of the caller's stands.
    ///
    /// # Errors
    /// What `require` says; `NotFound`: it isn't there, or somebody else's; `UploadGone`.
    pub async fn upload_state(&self, caller: &Caller, id: UploadId) -> Result<UploadState, RegistryError> {
        caller.require(Permission::ModelWrite)?;
        let (_slot, record) = self.inner.open_upload(caller, id)?;
        Ok(self.inner.state_of(&record))
    }

    /// The caller's uploads that are not over, oldest first.
    ///
    /// # Errors
    /// What `require` says.
    pub async fn upload_states(&self, caller: &Caller) -> Result<Vec<UploadState>, RegistryError> {
        caller.require(Permission::ModelWrite)?;
        let records = self.inner.resumables.records_of(&caller.actor.id);
        let mut states: Vec<UploadState> = records.iter().map(|record| self.inner.state_of(record)).collect();
        let now_ms = clock::now_ms();
        states.retain(|state| state.expires_at_ms > now_ms);
        Ok(states)
    }

    /// How many there are, and how full.
    pub fn resumable_totals(&self) -> Totals {
        self.inner.resumables.totals()
    }
}

impl Inner {
    async fn create_upload(self: &Arc<Self>, caller: &Caller, new: NewUpload) -> Result<UploadState, RegistryError> {
        let settings = &self.settings();
        if new.metadata.len() > METADATA_OCTETS_MAX {
            let why = format!("has more than {METADATA_OCTETS_MAX} octets");
            return Err(RegistryError::invalid("header.upload-metadata", why));
        }
        if new.length.is_some_and(|length| length > settings.upload_bytes_max) {
            return Err(RegistryError::TooLarge { limit: settings.upload_bytes_max });
        }
        if let Some(name) = &new.model {
            self.check_name_is_free(name).await?;
        }
        self.check_room_to_announce(&caller.actor.id, new.length.unwrap_or(0)).await?;

        let now_ms = clock::now_ms();
        let record = Record {
            form: record::FORM,
            id: fresh_id(now_ms)?,
            owner: caller.actor.id.clone(),
            owner_name: caller.actor.name.clone(),
            path: new.path,
            model: new.model,
            sha256: new.sha256,
            metadata: new.metadata,
            length: new.length,
            offset: 0,
            hash: HashState::default(),
            created_at_ms: now_ms,
            touched_at_ms: now_ms,
            ended: None,
        };
        let claim = record.claim(&self.quotas);
        claim.asked_by(caller);
        self.cover(&claim, record.announced(), true).await?;
        let slot = self.resumables.reserve(record.clone(), claim, &settings.resumable)?;
        let (inner, made) = (Arc::clone(self), record.clone());
        let making = self.tasks.hold();
        let made = tokio::task::spawn_blocking(move || {
            let _making = making;
            inner.blobs.partial(&made.id.to_string())?.sync()?;
            // From here on it is there after a crash: an empty one, that the client has not heard of and that expires.
            Ok::<_, BlobError>(made.save(&inner.settings().resumable.dir)?)
        });
        let made = made.await.map_err(|error| RegistryError::Internal(error.into())).and_then(|made| Ok(made?));
        if let Err(error) = made {
            self.forget_upload(record.id).await;
            return Err(error);
        }
        drop(slot);
        Ok(self.state_of(&record))
    }

    /// Whether there is room for what a user announces. What the same user has announced before counts in full: else all
    /// would be let in, and none could end. What others have announced counts up to half of the room: whoever announces more
    /// than that, and sends nothing, keeps nobody from sending less.
    async fn check_room_to_announce(self: &Arc<Self>, owner: &str, length: u64) -> Result<(), RegistryError> {
        let room = self.space().await?.free_bytes.saturating_sub(self.settings().min_free_bytes);
        let (own, others) = self.resumables.outstanding(owner);
        let held_back = others.min(room / 2);
        let needed = length.saturating_add(own).saturating_add(held_back);
        if needed > room { Err(RegistryError::StorageFull) } else { Ok(()) }
    }

    /// Whether a version can get this name: it can't where a deleted model has it. Better said before the octets come.
    async fn check_name_is_free(&self, name: &ModelName) -> Result<(), RegistryError> {
        let name = name.clone();
        let is_deleted = self.read(|view| {
            let id = view.model_named(&name)?;
            let model = id.map(|id| view.model(id)).transpose()?.flatten();
            Ok(model.is_some_and(|model| model.deleted.is_some()))
        });
        if is_deleted.await? {
            let what = format!("a deleted model has the name `{name}`; restore it, or purge it to free the name");
            return Err(RegistryError::Conflict(what));
        }
        Ok(())
    }

    /// An upload of the caller's that is not over, and its record as it is now.
    fn open_upload(&self, caller: &Caller, id: UploadId) -> Result<(Arc<Slot>, Record), RegistryError> {
        let slot = self.resumables.slot(id).filter(|slot| slot.record().owner == caller.actor.id);
        let slot = slot.ok_or_else(|| RegistryError::not_found(format!("upload {id}")))?;
        let record = slot.record();
        self.check_open(&record)?;
        Ok((slot, record))
    }

    fn check_open(&self, record: &Record) -> Result<(), RegistryError> {
        match &record.ended {
            Some(ended) => Err(RegistryError::UploadGone(ended.to_string())),
            None if self.expires_at_ms(record) <= clock::now_ms() => {
                Err(RegistryError::UploadGone(Ended::Expired.to_string()))
            }
            None => Ok(()),
        }
    }

    fn expires_at_ms(&self, record: &Record) -> i64 {
        let expiry_ms = i64::try_from(self.settings().resumable.expiry.as_millis()).unwrap_or(i64::MAX);
        record.touched_at_ms.saturating_add(expiry_ms)
    }

    fn state_of(&self, record: &Record) -> UploadState {
        UploadState {
            id: record.id,
            path: record.path.clone(),
            model: record.model.clone(),
            metadata: record.metadata.clone(),
            length: record.length,
            offset: record.offset,
            created_at_ms: record.created_at_ms,
            expires_at_ms: self.expires_at_ms(record),
        }
    }
}

/// A ULID of now.
fn fresh_id(now_ms: i64) -> Result<UploadId, RegistryError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| RegistryError::Internal(error.into()))?;
    let random = random.iter().fold(0, |bits: u128, octet| bits << 8 | u128::from(*octet));
    Ok(UploadId::from_u128(u128::from(now_ms.unsigned_abs()) << 80 | random))
}
