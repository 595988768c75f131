//! Taking bytes in: staged, hashed and bounded while they come. Knows octets, limits and the staging area; refuses to know
//! what becomes of the files.
//!
//! One file is one pipeline: frames go through a queue that is bounded in octets to one blocking thread, which hashes and
//! writes them (limits.md §3). A frame keeps its whole read buffer alive, so octets are what is counted, for each upload and
//! for all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{ArtifactPath, ModelName};
use common::role::Permission;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::blobs::{BlobError, Staged};
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::ingest::Item;
use crate::registry::resolve::UNTOLD;
use crate::registry::{Inner, Registry};

/// Files of one version.
pub const FILES_MAX: usize = 1000;
/// Uploads at once; others wait before their first octet is asked for.
const UPLOADS_MAX: usize = 64;
/// Octets that may wait for an upload's thread.
const QUEUE_OCTETS: usize = 1024 * 1024;
/// Octets that may wait for all threads together.
const QUEUES_OCTETS: usize = 24 * 1024 * 1024;
/// What a frame counts at least: the smallest ones cost more than their octets.
const FRAME_OCTETS_MIN: usize = 4096;
/// The watermark is looked at again after so many octets.
const WATERMARK_EVERY_OCTETS: u64 = 64 * 1024 * 1024;

/// What bounds uploads.
pub(crate) struct Intake {
    uploads: Arc<Semaphore>,
    queues: Arc<Semaphore>,
    /// Uploads under way.
    open: Arc<AtomicU64>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            queues: Arc::new(Semaphore::new(QUEUES_OCTETS)),
            open: Arc::default(),
        }
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// Counts an upload while it exists.
struct Open(Arc<AtomicU64>);

impl Open {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An upload under way. Dropped without `publish` or `fail`, everything staged vanishes and the attempt is recorded as
/// interrupted.
pub struct Upload {
    inner: Arc<Inner>,
    caller: Caller,
    /// The model's name, once it was said: for the entry of an attempt that fails.
    name: Option<ModelName>,
    files: Vec<StagedFile>,
    /// What the first file is called, arrived or not.
    first_path: Option<ArtifactPath>,
    /// Octets of all its files so far.
    received: Arc<AtomicU64>,
    /// The item of the drop folder it is, as an entry names it.
    item: Option<Value>,
    /// Whether somebody else writes the entry.
    recorded: bool,
    _open: Open,
    _place: OwnedSemaphorePermit,
}

/// One file on its way to the staging area.
pub struct FileSink {
    inner: Arc<Inner>,
    path: ArtifactPath,
    received: Arc<AtomicU64>,
    /// When the watermark is looked at again, in octets received.
    next_look: u64,
    queue: mpsc::UnboundedSender<Frame>,
    room: Arc<Semaphore>,
    thread: JoinHandle<Result<Hashed, BlobError>>,
}

/// Octets and the room they take in the queues.
struct Frame {
    octets: Bytes,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// What the thread comes to.
struct Hashed {
    staged: Box<dyn Staged>,
    digest: Digest,
}

/// A file that has arrived and vanishes if nothing is made of it.
pub struct StagedFile {
    pub(crate) path: ArtifactPath,
    pub(crate) staged: Box<dyn Staged>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl StagedFile {
    /// SHA-256 of what arrived.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Octets that arrived.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Registry {
    /// Begins an upload: permission, size and room, before any octet of the body is asked for. Waits where too many are
    /// under way. `name` is the model's, where it is known by now; `declared_bytes` are the octets of files that are announced: the Content-Length of a raw body.
    ///
    /// # Errors
    /// What `require` says; `TooLarge`; `StorageFull`; `BlobsUnreachable`.
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        name: Option<&ModelName>,
        declared_bytes: Option<u64>,
    ) -> Result<Upload, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelUpload, target(name));
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        let declared = declared_bytes.unwrap_or(0);
        let limit = inner.settings.upload_bytes_max;
        let ready = if declared > limit {
            Err(RegistryError::TooLarge { limit })
        } else if let Err(why) = inner.blobs.reachable() {
            // Sooner than after the last octet.
            Err(RegistryError::BlobsUnreachable { cause: why.as_str().into(), why })
        } else {
            inner.check_watermark(declared).await
        };
        if let Err(error) = ready {
            return Err(inner.refuse(caller, note.with("octets_declared", declared), error).await);
        }
        let place = Arc::clone(&inner.intake.uploads).acquire_owned().await;
        Ok(Upload {
            inner: Arc::clone(inner),
            caller: caller.clone(),
            name: name.cloned(),
            files: Vec::new(),
            first_path: None,
            received: Arc::default(),
            item: None,
            recorded: false,
            _open: Open::new(&inner.intake.open),
            _place: place.map_err(|error| RegistryError::Internal(error.into()))?,
        })
    }
}

/// What an attempt is about.
fn target(name: Option<&ModelName>) -> Target {
    Target::new("model", name.map_or(UNTOLD, ModelName::as_str))
}

impl Inner {
    /// Whether so many more octets leave enough room free.
    async fn check_watermark(self: &Arc<Self>, more: u64) -> Result<(), RegistryError> {
        let needed = self.settings.min_free_bytes.saturating_add(more);
        if self.space().await?.free_bytes < needed { Err(RegistryError::StorageFull) } else { Ok(()) }
    }
}

/// Whether `path` lies in a folder of the other's name. No file system, so no archive, can hold both.
fn is_within(path: &ArtifactPath, folder: &ArtifactPath) -> bool {
    path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

impl Upload {
    /// Begins the next file. One at a time. The name may have folders.
    ///
    /// # Errors
    /// `Invalid` for a name that can't be used, a name that came before, or one file too many.
    pub async fn file(&mut self, filename: &str) -> Result<FileSink, RegistryError> {
        let path: ArtifactPath = filename
            .parse()
            .map_err(|error: common::name::NameError| RegistryError::invalid("part.file", error.to_string()))?;
        if self.files.len() == FILES_MAX {
            return Err(RegistryError::invalid("part.file", format!("a version has at most {FILES_MAX} files")));
        }
        if self.files.iter().any(|file| file.path == path) {
            return Err(RegistryError::invalid("part.file", format!("the file `{path}` comes twice")));
        }
        if let Some(other) = self.files.iter().find(|file| is_within(&file.path, &path) || is_within(&path, &file.path))
        {
            let other = &other.path;
            let msg = format!("`{path}` and `{other}` can't both be there: one is a file and the other's folder");
            return Err(RegistryError::invalid("part.file", msg));
        }
        self.first_path.get_or_insert_with(|| path.clone());
        let (queue, frames) = mpsc::unbounded_channel();
        let blobs = Arc::clone(&self.inner.blobs);
        let thread = tokio::task::spawn_blocking(move || stage(&*blobs, frames));
        Ok(FileSink {
            inner: Arc::clone(&self.inner),
            path,
            received: Arc::clone(&self.received),
            next_look: self.received.load(Ordering::Relaxed).saturating_add(WATERMARK_EVERY_OCTETS),
            queue,
            room: Arc::new(Semaphore::new(QUEUE_OCTETS)),
            thread,
        })
    }

    /// Says which model it is for, where that came after the beginning.
    pub fn about(&mut self, name: ModelName) {
        self.name = Some(name);
    }

    /// Says which item of the drop folder it is: for the entry of an attempt that fails.
    pub fn of_item(&mut self, item: &Item) {
        self.item = Some(item.said());
    }

    /// A file that has arrived joins the upload.
    pub fn add(&mut self, file: StagedFile) {
        self.files.push(file);
    }

    /// Ends the upload with an error: what was staged vanishes, the attempt is recorded, and the failure to answer with
    /// carries its entry.
    pub async fn fail(mut self, error: RegistryError) -> Failure {
        self.recorded = true;
        let note = self.note();
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        drop(self);
        inner.refuse(&caller, note, error).await
    }

    /// Ends the upload without a word: what was staged vanishes, and there is no entry. For what the daemon itself leaves off
    /// and takes up again.
    pub(crate) fn leave(mut self) {
        self.recorded = true;
    }

    /// The files, for `publish`, which writes the entry from here on.
    pub(crate) fn take_files(&mut self) -> Vec<StagedFile> {
        self.recorded = true;
        std::mem::take(&mut self.files)
    }

    /// Octets of all files so far.
    pub(crate) fn octets_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn note(&self) -> Note {
        let mut note = Note::event(Action::ModelUpload, target(self.name.as_ref()));
        note.say("octets_received", self.octets_received());
        if let Some(path) = &self.first_path {
            note.say("first_file", path.as_str());
        }
        if let Some(item) = &self.item {
            note.say("drop", item.clone());
        }
        note
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        let (inner, caller, note) = (Arc::clone(&self.inner), self.caller.clone(), self.note());
        self.inner.tasks.spawn_if_running(async move {
            let failure = inner.record_error(&caller, note, RegistryError::Interrupted).await;
            if failure.logged.is_none() {
                tracing::warn!(error = crate::error_chain(&failure.error), "an interrupted upload can't be recorded");
            }
        });
    }
}

impl FileSink {
    /// Takes the next octets; waits while the disk is behind.
    ///
    /// # Errors
    /// `TooLarge`, `StorageFull`, and what the staging area says. Nothing can be written after an error.
    pub async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> {
        let count = octets.len();
        if count == 0 {
            return Ok(());
        }
        let received = self.received.fetch_add(count as u64, Ordering::Relaxed).saturating_add(count as u64);
        let limit = self.inner.settings.upload_bytes_max;
        if received > limit {
            return Err(RegistryError::TooLarge { limit });
        }
        if received >= self.next_look {
            self.next_look = received.saturating_add(WATERMARK_EVERY_OCTETS);
            self.inner.check_watermark(0).await?;
        }
        let cost = u32::try_from(count.clamp(FRAME_OCTETS_MIN, QUEUE_OCTETS)).unwrap_or(u32::MAX);
        let closed = |error: tokio::sync::AcquireError| RegistryError::Internal(error.into());
        let own = Arc::clone(&self.room).acquire_many_owned(cost).await.map_err(closed)?;
        let shared = Arc::clone(&self.inner.intake.queues).acquire_many_owned(cost).await.map_err(closed)?;
        if self.queue.send(Frame { octets, _room: (own, shared) }).is_ok() {
            return Ok(());
        }
        // The thread has ended early, so it has an error to tell.
        match (&mut self.thread).await {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_hashed)) => Err(RegistryError::internal("an upload's thread ended before its file")),
            Err(error) => Err(RegistryError::Internal(error.into())),
        }
    }

    /// The file is complete.
    ///
    /// # Errors
    /// What the staging area says.
    pub async fn finish(self) -> Result<StagedFile, RegistryError> {
        // The thread takes the end of the queue for the end of the file; if nobody asks for what it comes to, as when this
        // sink is dropped, that vanishes.
        drop(self.queue);
        let hashed = self.thread.await.map_err(|error| RegistryError::Internal(error.into()))??;
        let size = hashed.staged.len();
        Ok(StagedFile { path: self.path, staged: hashed.staged, digest: hashed.digest, size })
    }
}

/// The thread of one file.
fn stage(blobs: &dyn crate::blobs::Blobs, mut frames: mpsc::UnboundedReceiver<Frame>) -> Result<Hashed, BlobError> {
    let mut staged = blobs.stage()?;
    let mut hasher = Sha256::new();
    while let Some(frame) = frames.blocking_recv() {
        hasher.update(&frame.octets);
        staged.write(&frame.octets)?;
    }
    Ok(Hashed { staged, digest: Digest::from_bytes(hasher.finalize().into()) })
}
