//! Taking bytes in: staged, hashed and bounded while they come. Knows octets, limits and the staging area; refuses to know
//! what becomes of the files.
//!
//! One file is one pipeline (`pipe.rs`): one blocking thread hashes and writes it. Files that came by resumable uploads
//! (`resumable.rs`) join where they are. (Hashing on a thread of its own cost a tenth more processor time and was no faster
//! where client and daemon have two processors.)

use std::collections::HashMap;
use std::io::IoSlice;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{ArtifactPath, ModelName, UploadId};
use common::role::Permission;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};
use tracing::Span;

use crate::blobs::{BlobError, Blobs, Staged};
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::ingest::Item;
use crate::registry::pipe::{Frame, Frames, Pipe, shared_room};
use crate::registry::quota::Claim;
use crate::registry::resolve::UNTOLD;
use crate::registry::resumable::Held;
use crate::registry::{Inner, Registry};
use crate::traces;

/// Files of one version.
pub const FILES_MAX: usize = 1000;
/// Uploads at once; others wait before their first octet is asked for.
pub(crate) const UPLOADS_MAX: usize = 64;
/// One user has at most so many times as many of these as are free: 48 where nobody else uploads, the fewer the scarcer they
/// are. So whoever sends slowly, or doesn't at all, leaves room for others, and so do two of them.
const UPLOADS_PER_FREE: usize = 3;
/// An upload waits for its place for so long.
pub const PLACE_WAIT_MAX: Duration = Duration::from_secs(30);
/// The watermark is looked at again after so many octets.
pub(crate) const WATERMARK_EVERY_OCTETS: u64 = 64 * 1024 * 1024;

/// Octets that are written by one call, where they come in small frames: as those of HTTP/2 do. The rest of a queue may fill
/// meanwhile.
const BATCH_OCTETS: usize = 256 * 1024;

/// How long what was seen of free space is good for uploads that leave [`SPACE_TO_SPARE`] besides: no disk is filled with that
/// in this time.
const SPACE_SEEN_FOR: Duration = Duration::from_millis(250);
const SPACE_TO_SPARE: u64 = 4 << 30;

/// What bounds uploads.
pub(crate) struct Intake {
    places: Arc<Places>,
    pub(crate) queues: Arc<Semaphore>,
    /// Uploads under way.
    open: Arc<AtomicU64>,
    /// Uploads that found no place in time.
    turned_away: AtomicU64,
    /// The newest look at free space, in octets. Held to read or to replace it, not while one looks.
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::default(),
            queues: shared_room(),
            open: Arc::default(),
            turned_away: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A place among the uploads under way; waits where there is none, or where the user has as many as one may.
    ///
    /// # Errors
    /// `Overloaded`: none came free in time.
    pub(crate) async fn place(&self, user: &str) -> Result<Place, RegistryError> {
        tokio::time::timeout(PLACE_WAIT_MAX, self.wait_for_place(user)).await.map_err(|_elapsed| {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            RegistryError::Overloaded("as many uploads as may be are under way")
        })
    }

    async fn wait_for_place(&self, user: &str) -> Place {
        loop {
            let mut freed = pin!(self.places.freed.notified());
            // From now on none is missed.
            freed.as_mut().enable();
            if self.places.take(user) {
                return Place { _open: Open::new(&self.open), places: Arc::clone(&self.places), user: user.to_owned() };
            }
            freed.await;
        }
    }
}

/// Who has the places.
#[derive(Default)]
struct Places {
    /// Of each user who has one, by id. Held to count.
    of_users: Mutex<HashMap<String, usize>>,
    freed: Notify,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one for a user, where there is one for them.
    fn take(&self, user: &str) -> bool {
        let mut of_users = self.lock();
        let free = UPLOADS_MAX.saturating_sub(of_users.values().sum());
        let own = of_users.get(user).copied().unwrap_or(0);
        if own >= UPLOADS_PER_FREE * free {
            return false;
        }
        of_users.insert(user.to_owned(), own + 1);
        true
    }
}

/// A place among the uploads under way, counted while it is held.
pub(crate) struct Place {
    _open: Open,
    places: Arc<Places>,
    user: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_users = self.places.lock();
        if let Some(count) = of_users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                of_users.remove(&self.user);
            }
        }
        drop(of_users);
        self.places.freed.notify_waiters();
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
    /// The resumable uploads that some of them came by.
    resumed: Vec<Held>,
    /// What the first file is called, arrived or not.
    first_path: Option<ArtifactPath>,
    /// Octets of all its files so far.
    received: Arc<AtomicU64>,
    /// What it has reserved of quotas.
    claim: Arc<Claim>,
    /// The item of the drop folder it is, as an entry names it.
    item: Option<Value>,
    /// Whether somebody else writes the entry.
    recorded: bool,
    _place: Place,
}

/// One file on its way to the staging area.
pub struct FileSink {
    inner: Arc<Inner>,
    path: ArtifactPath,
    received: Arc<AtomicU64>,
    claim: Arc<Claim>,
    /// When the watermark is looked at again, in octets received.
    next_look: u64,
    pipe: Pipe<Hashed>,
    /// From its first octet until it is staged.
    _step: Span,
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
    /// under way. `name` is the model's, where it is known by now; `declared_bytes` are the octets of files that are announced:
    /// the Content-Length of a raw body, or of a form, where texts may be part of them and no name is known.
    ///
    /// # Errors
    /// What `require` says; `TooLarge`; `StorageFull`; `BlobsUnreachable`; `QuotaExceeded`.
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        name: Option<&ModelName>,
        declared_bytes: Option<u64>,
    ) -> Result<Upload, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelUpload, target(name));
        inner.permit_on(caller, Permission::ModelWrite, name, &note).await?;
        let declared = declared_bytes.unwrap_or(0);
        let limit = inner.settings().upload_bytes_max;
        let claim = Claim::new(&inner.quotas, &caller.actor.id, &caller.actor.name, name);
        claim.asked_by(caller);
        let ready = if declared > limit {
            Err(RegistryError::TooLarge { limit })
        } else if let Err(why) = inner.blobs.reachable() {
            // Sooner than after the last octet.
            Err(RegistryError::BlobsUnreachable { cause: why.as_str().into(), why })
        } else {
            match (inner.check_watermark(declared).await, name) {
                (Ok(()), Some(_)) => inner.cover(&claim, declared, true).await,
                (Ok(()), None) => inner.cover_form(&claim, declared).await,
                (full, _) => full,
            }
        };
        if let Err(error) = ready {
            return Err(inner.refuse(caller, note.with("octets_declared", declared), error).await);
        }
        let place = inner.intake.place(&caller.actor.id).await?;
        Ok(Upload {
            inner: Arc::clone(inner),
            caller: caller.clone(),
            name: name.cloned(),
            files: Vec::new(),
            resumed: Vec::new(),
            first_path: None,
            received: Arc::default(),
            claim,
            item: None,
            recorded: false,
            _place: place,
        })
    }
}

/// What an attempt is about.
pub(crate) fn target(name: Option<&ModelName>) -> Target {
    Target::new("model", name.map_or(UNTOLD, ModelName::as_str))
}

impl Inner {
    /// Whether so many more octets leave enough room free.
    pub(crate) async fn check_watermark(self: &Arc<Self>, more: u64) -> Result<(), RegistryError> {
        let needed = self.settings().min_free_bytes.saturating_add(more);
        let seen = *self.intake.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = seen
            && free.saturating_sub(SPACE_TO_SPARE) >= needed
            && at.elapsed() < SPACE_SEEN_FOR
        {
            return Ok(());
        }
        let free = self.space().await?.free_bytes;
        *self.intake.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), free));
        if free < needed { Err(RegistryError::StorageFull) } else { Ok(()) }
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
        self.check_path(&path)?;
        let blobs = Arc::clone(&self.inner.blobs);
        Ok(FileSink {
            inner: Arc::clone(&self.inner),
            path,
            received: Arc::clone(&self.received),
            claim: Arc::clone(&self.claim),
            next_look: self.received.load(Ordering::Relaxed).saturating_add(WATERMARK_EVERY_OCTETS),
            pipe: Pipe::gathering(&self.inner.intake.queues, move |frames| stage(&*blobs, frames)),
            _step: traces::step!("stage"),
        })
    }

    /// The file of a resumable upload of the caller's joins, where it is; until this is done or dropped nothing else is done
    /// to that upload. One without a name of its own is called `unnamed`.
    ///
    /// # Errors
    /// `NotFound`, `UploadGone`, `UploadBusy`; `Conflict`: it is not complete. As of [`Upload::file`]; `TooLarge`;
    /// `DigestMismatch` where another digest was promised when it was created.
    pub async fn resumed(&mut self, id: UploadId, unnamed: Option<&str>) -> Result<(), RegistryError> {
        let (held, file) = self.inner.hold_upload(&self.caller, id, unnamed).await?;
        self.check_path(&file.path)?;
        let received = self.received.fetch_add(file.size, Ordering::Relaxed).saturating_add(file.size);
        let limit = self.inner.settings().upload_bytes_max;
        if received > limit {
            return Err(RegistryError::TooLarge { limit });
        }
        self.files.push(file);
        self.resumed.push(held);
        Ok(())
    }

    /// The resumable uploads, for `publish`.
    pub(crate) fn take_resumed(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.resumed)
    }

    /// Whether another file of this path can join.
    fn check_path(&mut self, path: &ArtifactPath) -> Result<(), RegistryError> {
        if self.files.len() == FILES_MAX {
            return Err(RegistryError::invalid("part.file", format!("a version has at most {FILES_MAX} files")));
        }
        if self.files.iter().any(|file| file.path == *path) {
            return Err(RegistryError::invalid("part.file", format!("the file `{path}` comes twice")));
        }
        if let Some(other) = self.files.iter().find(|file| is_within(&file.path, path) || is_within(path, &file.path)) {
            let other = &other.path;
            let msg = format!("`{path}` and `{other}` can't both be there: one is a file and the other's folder");
            return Err(RegistryError::invalid("part.file", msg));
        }
        self.first_path.get_or_insert_with(|| path.clone());
        Ok(())
    }

    /// Says which model it is for, where that came after the beginning.
    ///
    /// # Errors
    /// `ForbiddenOn`: the caller may not publish under this name, so no more octets need come.
    pub fn about(&mut self, name: ModelName) -> Result<(), RegistryError> {
        let allowed = self.caller.require_on(Permission::ModelWrite, &name);
        self.claim.about(&name);
        self.name = Some(name);
        allowed
    }

    /// Says which item of the drop folder it is: for the entry of an attempt that fails.
    pub fn of_item(&mut self, item: &Item) {
        self.item = Some(item.said());
    }

    /// What it has reserved of quotas, for `publish`.
    pub(crate) fn claim(&self) -> Arc<Claim> {
        Arc::clone(&self.claim)
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
    /// `TooLarge`, `StorageFull`, `QuotaExceeded`, and what the staging area says. Nothing can be written after an error.
    pub async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> {
        let count = octets.len();
        if count == 0 {
            return Ok(());
        }
        let received = self.received.fetch_add(count as u64, Ordering::Relaxed).saturating_add(count as u64);
        let limit = self.inner.settings().upload_bytes_max;
        if received > limit {
            return Err(RegistryError::TooLarge { limit });
        }
        if received >= self.next_look {
            self.next_look = received.saturating_add(WATERMARK_EVERY_OCTETS);
            self.inner.check_watermark(0).await?;
        }
        self.inner.cover_growth(&self.claim, received).await?;
        self.pipe.write(octets).await
    }

    /// The file is complete.
    ///
    /// # Errors
    /// What the staging area says.
    pub async fn finish(self) -> Result<StagedFile, RegistryError> {
        // If nobody asks for what the thread comes to, as when this sink is dropped, that vanishes.
        let hashed = self.pipe.finish().await?;
        let size = hashed.staged.len();
        Ok(StagedFile { path: self.path, staged: hashed.staged, digest: hashed.digest, size })
    }
}

/// The thread of one file.
fn stage(blobs: &dyn Blobs, mut frames: Frames) -> Result<Hashed, BlobError> {
    let mut staged = blobs.stage()?;
    let mut hasher = Sha256::new();
    let mut batch = Vec::new();
    while next_batch(&mut frames, &mut batch) {
        for frame in &batch {
            hasher.update(&frame.octets);
        }
        write(&mut *staged, &batch)?;
    }
    Ok(Hashed { staged, digest: Digest::from_bytes(hasher.finalize().into()) })
}

/// Waits for a frame, and takes what waits behind it up to [`BATCH_OCTETS`]; the frames before it are done with. False where
/// nothing more comes.
fn next_batch(frames: &mut Frames, batch: &mut Vec<Frame>) -> bool {
    batch.clear();
    batch.extend(frames.blocking_recv());
    let mut octets = batch.iter().map(|frame| frame.octets.len()).sum::<usize>();
    while octets < BATCH_OCTETS && !batch.is_empty() {
        let Ok(frame) = frames.try_recv() else { break };
        octets += frame.octets.len();
        batch.push(frame);
    }
    !batch.is_empty()
}

fn write(staged: &mut dyn Staged, batch: &[Frame]) -> Result<(), BlobError> {
    let mut pieces: Vec<IoSlice<'_>> = batch.iter().map(|frame| IoSlice::new(&frame.octets)).collect();
    staged.write_pieces(&mut pieces)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use futures_util::FutureExt as _;

    use super::{Intake, UPLOADS_MAX};

    /// As many places as a user gets without a wait.
    async fn all(intake: &Intake, user: &str) -> Vec<super::Place> {
        let mut places = Vec::new();
        while let Some(place) = intake.place(user).now_or_never() {
            places.push(place.unwrap());
        }
        places
    }

    /// Neither one user nor two can have all places, and what is given back is there for the same one again.
    #[tokio::test]
    async fn users_leave_places_for_others() {
        let intake = Intake::new();
        let mut slow = all(&intake, "slow").await;
        assert_eq!((slow.len(), intake.open()), (UPLOADS_MAX * 3 / 4, UPLOADS_MAX as u64 * 3 / 4));
        let second = all(&intake, "second").await;
        let third = all(&intake, "third").await;
        let fourth = all(&intake, "fourth").await;
        assert_eq!((second.len(), third.len(), fourth.len()), (12, 3, 1));

        // Whoever has few of them is next, however long who has many waits.
        let mut again = Box::pin(intake.place("slow"));
        let mut fifth = Box::pin(intake.place("fifth"));
        assert!((&mut again).now_or_never().is_none() && (&mut fifth).now_or_never().is_none());
        drop(slow.pop());
        assert!((&mut again).now_or_never().is_none());
        let fifth = fifth.now_or_never().unwrap().unwrap();
        drop((second, third, fourth, fifth));
        let again = again.now_or_never().unwrap().unwrap();
        drop((slow, again));
        assert!(intake.places.lock().is_empty());
    }
}
