//! The next octets of a resumable upload: hashed and written by a thread of their own, durable before they are acknowledged.
//! However it ends, by the end of the octets, a lost connection, a full disk or a request that takes over, what came is kept
//! and counted; but for octets with a checksum, which are kept only if all came and fit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::audit::Action;
use common::name::UploadId;
use common::role::Permission;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::UploadState;
use super::record::{HashState, Record};
use super::table::Slot;
use crate::blobs::{BlobError, Partial};
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::pipe::{Frames, Pipe};
use crate::registry::upload::{Place, WATERMARK_EVERY_OCTETS, target};
use crate::registry::{Inner, Registry};

/// After so many octets they are made durable while more come: what a kill or a power cut can cost a client at most.
const DURABLE_EVERY_OCTETS: u64 = 64 << 20;

/// What is said of octets before they come.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// Where they belong.
    pub offset: u64,
    /// The length of the whole, where it is said only now.
    pub length: Option<u64>,
    /// How many they are, where that is known.
    pub declared: Option<u64>,
    /// What they must be.
    pub checksum: Option<Checksum>,
}

/// What octets must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-1, which every tus server must know. It finds what a line damages, and proves nothing else.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// A checksum being made.
enum Sum {
    Sha1(Sha1, [u8; 20]),
    Sha256(Sha256, [u8; 32]),
}

impl Sum {
    fn new(wanted: Checksum) -> Self {
        match wanted {
            Checksum::Sha1(wanted) => Self::Sha1(Sha1::new(), wanted),
            Checksum::Sha256(wanted) => Self::Sha256(Sha256::new(), wanted),
        }
    }

    fn update(&mut self, octets: &[u8]) {
        match self {
            Self::Sha1(hasher, _) => hasher.update(octets),
            Self::Sha256(hasher, _) => hasher.update(octets),
        }
    }

    fn fits(self) -> bool {
        match self {
            Self::Sha1(hasher, wanted) => <[u8; 20]>::from(hasher.finalize()) == wanted,
            Self::Sha256(hasher, wanted) => <[u8; 32]>::from(hasher.finalize()) == wanted,
        }
    }
}

/// Octets on their way to an upload. Dropped, it ends like one that was cut.
pub struct Appending {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    pipe: Pipe<Kept>,
    complete: Arc<AtomicBool>,
    asked: watch::Receiver<()>,
    /// Where the octets begin.
    from: u64,
    /// Octets that still fit.
    room: u64,
    received: u64,
    next_look: u64,
    _place: Place,
}

/// What became of the octets.
enum Kept {
    /// All are counted, as many as came.
    Counted,
    /// They had a checksum and didn't fit it, or not all came.
    Discarded,
}

impl Registry {
    /// Begins to append. Whoever else is appending is asked to let go first; what that one got is kept.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `UploadGone`; `Conflict`: it goes on elsewhere; `UploadBusy`; `Invalid`: another
    /// length was said before; `TooLarge`: more than the whole; `Busy`, `StorageFull`, `QuotaExceeded`.
    pub async fn begin_append(&self, caller: &Caller, id: UploadId, append: Append) -> Result<Appending, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelUpload, target(None)).with("upload", id.to_string());
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        Ok(inner.begin_append(caller, id, append).await?)
    }
}

impl Inner {
    async fn begin_append(
        self: &Arc<Self>,
        caller: &Caller,
        id: UploadId,
        append: Append,
    ) -> Result<Appending, RegistryError> {
        let (slot, known) = self.open_upload(caller, id)?;
        if let Some(model) = &known.model {
            // May be days after it was created.
            caller.require_on(Permission::ModelWrite, model)?;
        }
        if append.offset < known.offset {
            // Whoever is at it is not disturbed by a request that can't succeed.
            return Err(elsewhere(&known));
        }
        let turn = slot.turn().await?;
        let mut record = slot.record();
        self.check_open(&record)?;
        if append.offset != record.offset {
            return Err(elsewhere(&record));
        }
        if let Some(length) = append.length {
            self.settle_length(&mut record, length)?;
        }
        let limit = self.settings().upload_bytes_max;
        let room = record.length.unwrap_or(limit).saturating_sub(record.offset);
        let declared = append.declared.unwrap_or(0);
        slot.claim().asked_by(caller);
        if declared > room {
            return Err(RegistryError::TooLarge { limit: room });
        }
        if record.length.is_none() {
            let grown = record.offset.saturating_add(declared);
            self.resumables.check_growth(&record, grown, &self.settings().resumable)?;
            self.cover(slot.claim(), grown, false).await?;
        } else {
            // Said only now, maybe.
            self.cover(slot.claim(), record.announced(), false).await?;
        }
        self.check_watermark(declared).await?;
        let place = self.intake.place(&caller.actor.id).await?;
        let (asked, from) = (slot.asked(), record.offset);
        let complete = Arc::new(AtomicBool::new(false));
        let work = Work {
            inner: Arc::clone(self),
            slot: Arc::clone(&slot),
            record,
            checksum: append.checksum,
            complete: Arc::clone(&complete),
            _turn: turn,
        };
        let counted = self.tasks.hold();
        let pipe = Pipe::new(&self.intake.queues, move |frames| {
            let _counted = counted;
            work.run(frames)
        });
        Ok(Appending {
            inner: Arc::clone(self),
            slot,
            pipe,
            complete,
            asked,
            from,
            room,
            received: 0,
            next_look: WATERMARK_EVERY_OCTETS,
            _place: place,
        })
    }

    /// Takes the length that was deferred. Once known it stays.
    fn settle_length(&self, record: &mut Record, length: u64) -> Result<(), RegistryError> {
        let place = "header.upload-length";
        match record.length {
            Some(known) if known == length => return Ok(()),
            Some(known) => {
                return Err(RegistryError::invalid(place, format!("is {known} already, and can't be changed")));
            }
            None => {}
        }
        if length < record.offset {
            let why = format!("is less than the {} octets that are there", record.offset);
            return Err(RegistryError::invalid(place, why));
        }
        if length > self.settings().upload_bytes_max {
            return Err(RegistryError::TooLarge { limit: self.settings().upload_bytes_max });
        }
        self.resumables.check_growth(record, length, &self.settings().resumable)?;
        record.length = Some(length);
        Ok(())
    }
}

fn elsewhere(record: &Record) -> RegistryError {
    RegistryError::Conflict(format!("the upload has {} octets; go on there", record.offset))
}

impl Appending {
    /// Octets that still fit: more are refused.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Resolves when somebody else wants to go on with the upload: time to let go.
    pub async fn asked(&mut self) {
        // The sender lives in the slot, which is ours.
        let _changed = self.asked.changed().await;
    }

    /// Takes the next octets; waits while the disk is behind.
    ///
    /// # Errors
    /// `TooLarge`, `StorageFull`, `QuotaExceeded`, and what the disk says. What came before is kept.
    pub async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> {
        if octets.is_empty() {
            return Ok(());
        }
        self.received = self.received.saturating_add(octets.len() as u64);
        if self.received > self.room {
            return Err(RegistryError::TooLarge { limit: self.room });
        }
        if self.received >= self.next_look {
            self.next_look = self.received.saturating_add(WATERMARK_EVERY_OCTETS);
            self.inner.check_watermark(0).await?;
            self.check_share()?;
        }
        // Of one whose length is known all is reserved.
        self.inner.cover_growth(self.slot.claim(), self.from.saturating_add(self.received)).await?;
        self.pipe.write(octets).await
    }

    /// One of no known length must not go beyond its owner's share on the way.
    fn check_share(&self) -> Result<(), RegistryError> {
        let record = self.slot.record();
        if record.length.is_some() {
            return Ok(());
        }
        let resumables = &self.inner.resumables;
        // Some of what was received is durable by now, and in the record.
        resumables.check_growth(&record, self.from.saturating_add(self.received), &self.inner.settings().resumable)
    }

    /// Nothing more comes; `complete` where all came that was to come. The upload as it is then, durably.
    ///
    /// # Errors
    /// `ChecksumMismatch`; `StorageFull` and what the disk says: then as much is kept as could be made durable.
    pub async fn finish(self, complete: bool) -> Result<UploadState, RegistryError> {
        let Self { inner, slot, pipe, complete: told, .. } = self;
        told.store(complete, Ordering::Release);
        match pipe.finish().await? {
            Kept::Counted => Ok(inner.state_of(&slot.record())),
            Kept::Discarded => Err(RegistryError::ChecksumMismatch),
        }
    }
}

/// What the thread works with. It has the turn until it ends, whatever becomes of the request.
struct Work {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    /// As it is when all that came is durable.
    record: Record,
    checksum: Option<Checksum>,
    complete: Arc<AtomicBool>,
    _turn: OwnedSemaphorePermit,
}

impl Work {
    fn run(mut self, mut frames: Frames) -> Result<Kept, BlobError> {
        let mut partial = self.inner.blobs.partial(&self.record.id.to_string())?;
        if self.slot.is_in_doubt() {
            // A crash in what follows must not leave a record that counts octets, and hashes of octets, that are replaced here.
            self.keep_record()?;
        }
        // Behind that lies what came since the last acknowledgement, before a crash or a failed sync.
        partial.cut(self.record.offset)?;
        let mut hasher = self.record.hash.hasher()?;
        let mut sum = self.checksum.map(Sum::new);
        let mut failed = None;
        let mut unsaved = 0;
        while let Some(frame) = frames.blocking_recv() {
            if let Err(error) = partial.write(&frame.octets) {
                failed = Some(error);
                break;
            }
            hasher.update(&frame.octets);
            unsaved += frame.octets.len() as u64;
            match &mut sum {
                Some(sum) => sum.update(&frame.octets),
                None if unsaved >= DURABLE_EVERY_OCTETS => {
                    self.save(&mut *partial, &hasher)?;
                    unsaved = 0;
                }
                None => {}
            }
        }
        // Nobody can hand over more than is lost with the queue.
        drop(frames);
        if let Some(sum) = sum {
            let is_whole = failed.is_none() && self.complete.load(Ordering::Acquire);
            if !is_whole || !sum.fits() {
                partial.cut(self.record.offset)?;
                return failed.map_or(Ok(Kept::Discarded), Err);
            }
        }
        self.save(&mut *partial, &hasher)?;
        failed.map_or(Ok(Kept::Counted), Err)
    }

    /// Makes what came durable, first the octets, then the record that counts them.
    fn save(&mut self, partial: &mut dyn Partial, hasher: &Sha256) -> Result<(), BlobError> {
        partial.sync()?;
        self.record.offset = partial.len();
        self.record.hash = HashState::of(hasher);
        self.record.touched_at_ms = clock::now_ms();
        self.keep_record()?;
        self.slot.set(self.record.clone());
        Ok(())
    }

    fn keep_record(&self) -> io::Result<()> {
        let saved = self.record.save(&self.inner.settings().resumable.dir);
        self.slot.doubt(saved.is_err());
        saved
    }
}
