//! Blobs as files: `DIR/sha256/<2 hex>/<62 hex>`, uploads in the making in `DIR/staging/<random>`, and those that outlive
//! the process in `DIR/partial/<name>`; where several daemons share the directory, each has its own below these two.
//!
//! All are on one file system, so that a rename is all it takes to make an upload a blob, and a hard link to stage what is
//! partial. Files are made with mode 0400
//! and never opened for writing again: a blob does not change, and a slip of ours or of an operator's shell should not
//! change it either. Directories have mode 0700.
//!
//! System calls of an upload, in order:
//!
//! 1. `openat(staging/RANDOM, O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0400)`
//! 2. `write`…; each 64 MiB an `fdatasync` on another thread and file descriptor
//! 3. `fdatasync` — the octets are durable, under a name that means nothing
//! 4. `rename` to the digest — visible
//! 5. `open(shard)`, `fsync` — the name is durable: kept
//!
//! A crash before 4 leaves a staged file, which the next start removes. A crash between 4 and 5 leaves the blob or the
//! staged file, whole either way. The 256 shard directories are made when the store is opened, so no upload has to make
//! one durable.
//!
//! Not covered: [`crate::durable`] says what no order of calls can cover. After a failed `fdatasync` the pages that could
//! not be written are gone from memory, so the upload fails and must be sent again; nothing here syncs a second time and
//! believes it.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use common::digest::Digest;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::partial::Partials;
use super::{BlobError, BlobReader, Blobs, Partial, Space, Staged};
use crate::clock;
use crate::durable::{self, MODE_DIR};

/// Mode of a blob, from its first octet on. The descriptor that made the file may write to it all the same.
/// Where files are before they have a digest; with an own name, below that.
const STAGING: &str = "staging";
const MODE_BLOB: u32 = 0o400;

/// How many files may wait for the writeback thread. What finds no place waits in `keep` instead.
const WRITEBACKS_QUEUED_MAX: usize = 16;

/// Octets of one upload after which its dirty pages are sent to the disk, while it goes on.
///
/// Without this the kernel gathers pages until the end and `keep` waits for all of them: 0.33 s of 0.9 s for 1 GiB, where
/// with it 0.02 s of 0.4 s remain (two cores, ext4, page cache and disk at about 2.5 GiB/s). `sync_file_range` would do
/// the same without a thread, but has no safe wrapper; `posix_fadvise(DONTNEED)` starts writing too, but threw up to 20 % of
/// the pages out of memory that inspection and the first download want to find there.
const WRITEBACK_STRIDE: u64 = 64 << 20;

/// What can be set about a [`DiskBlobs`].
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// How many uploads may be synced and renamed at once; others wait their turn. 0 counts as 1. More than a few make a
    /// journalling file system no faster: 64 KiB blobs were kept at 1.1 to 1.4 thousand a second by 4 as by 64 threads.
    pub finalisers_max: usize,
    /// The name of this daemon, of a file's name's letters, where others keep blobs in the same directory: what is staged and
    /// what is partial is each one's own, in `staging/NAME` and `partial/NAME`.
    pub own: Option<String>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { finalisers_max: 8, own: None }
    }
}

/// Blobs in a directory of a file system. At most one process may have it open, unless each has a name ([`DiskOptions::own`]).
pub struct DiskBlobs {
    store: Arc<Store>,
}

/// What uploads share with the store.
struct Store {
    dir: PathBuf,
    staging: PathBuf,
    /// The file system of the blobs.
    device: u64,
    finalisers: Turnstile,
    writeback: SyncSender<File>,
    partials: Partials,
}

impl DiskBlobs {
    /// Opens the store in `dir`, making the directories that are missing.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Unavailable`] if they cannot be made, or if staging and blobs lie on different
    /// file systems.
    pub fn open(dir: &Path, options: DiskOptions) -> Result<Self, BlobError> {
        let of_ours = |name: &str| match &options.own {
            Some(own) => dir.join(name).join(own),
            None => dir.join(name),
        };
        let (staging, blobs) = (of_ours(STAGING), dir.join("sha256"));
        durable::create_dir_all(&staging, MODE_DIR)?;
        let partials = Partials::open(of_ours("partial"))?;
        durable::create_dir_all(&blobs, MODE_DIR)?;
        for shard in 0..=u8::MAX {
            match DirBuilder::new().mode(MODE_DIR).create(blobs.join(hex::encode([shard]))) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        // All of them at once, and also if none was missing: an earlier start may have been cut before this line.
        durable::sync_dir(&blobs)?;
        let device = std::fs::metadata(&blobs)?.dev();
        if std::fs::metadata(&staging)?.dev() != device {
            let why = format!("'{}' and '{}' must be on one file system", staging.display(), blobs.display());
            return Err(BlobError::Unavailable(io::Error::new(ErrorKind::CrossesDevices, why)));
        }
        let (writeback, files) = sync_channel(WRITEBACKS_QUEUED_MAX);
        // Ends when the store and the last upload drop the sender.
        std::thread::Builder::new().name("blob-writeback".into()).spawn(move || write_back(&files))?;
        let finalisers = Turnstile::new(options.finalisers_max);
        Ok(Self { store: Arc::new(Store { dir: dir.into(), staging, device, finalisers, writeback, partials }) })
    }
}

impl Blobs for DiskBlobs {
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError> {
        let path = self.store.staging.join(uuid::Uuid::new_v4().simple().to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE_BLOB).open(&path)?;
        let store = Arc::clone(&self.store);
        Ok(Box::new(DiskStaged { store, path, file, len: 0, behind: 0, kept: false }))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError> {
        let file = match File::open(self.store.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(BlobError::NotFound(*digest)),
            Err(error) => return Err(error.into()),
        };
        let len = file.metadata()?.len();
        Ok(Box::new(DiskReader { digest: *digest, file, len }))
    }

    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        size(&self.store.path(digest))
    }

    fn is_there(&self) -> Result<(), BlobError> {
        let blobs = self.store.dir.join("sha256");
        let shards = (0..=u8::MAX).map(|shard| blobs.join(hex::encode([shard])));
        for dir in std::iter::once(blobs.clone()).chain(shards) {
            let why = match std::fs::metadata(&dir) {
                Ok(found) if found.dev() == self.store.device => continue,
                Ok(_) => "is on another file system than it was when it was opened".to_owned(),
                Err(error) => format!("can't be found: {error}"),
            };
            return Err(BlobError::Unavailable(io::Error::other(format!("'{}' {why}", dir.display()))));
        }
        Ok(())
    }

    fn is_shared_with(&self, other: &str) -> Result<bool, BlobError> {
        Ok(self.store.dir.join(STAGING).join(other).try_exists()?)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        Ok(durable::remove(&self.store.path(digest))?)
    }

    /// Since its last octet was written, which for a resumable upload may be long before it was kept.
    fn age(&self, digest: &Digest) -> Result<Option<Duration>, BlobError> {
        match std::fs::symlink_metadata(self.store.path(digest)).and_then(|found| found.modified()) {
            Ok(written) => Ok(Some(clock::since(written))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError> {
        for shard in 0..=u8::MAX {
            let shard = hex::encode([shard]);
            for entry in std::fs::read_dir(self.store.dir.join("sha256").join(&shard))? {
                let entry = entry?;
                let Some(digest) = digest_of(&shard, &entry.file_name()) else { continue };
                // None: removed since the directory was read.
                if let Some(bytes) = size(&entry.path())? {
                    visit(digest, bytes);
                }
            }
        }
        Ok(())
    }

    fn space(&self) -> Result<Space, BlobError> {
        let stat = rustix::fs::statvfs(&self.store.dir).map_err(io::Error::from)?;
        // f_bavail, not f_bfree: the latter counts the blocks reserved for root.
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn partial(&self, name: &str) -> Result<Box<dyn Partial>, BlobError> {
        Ok(Box::new(self.store.partials.open_one(name, Some(self.store.writeback.clone()))?))
    }

    fn stage_partial(&self, name: &str) -> Result<Box<dyn Staged>, BlobError> {
        let path = self.store.staging.join(uuid::Uuid::new_v4().simple().to_string());
        let (file, len) = self.store.partials.stage(name, &path, MODE_BLOB)?;
        Ok(Box::new(DiskStaged { store: Arc::clone(&self.store), path, file, len, behind: 0, kept: false }))
    }

    fn partials(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError> {
        self.store.partials.visit(visit)
    }

    fn remove_partial(&self, name: &str) -> Result<(), BlobError> {
        self.store.partials.remove(name)
    }

    fn sweep_staging(&self) -> Result<u64, BlobError> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.store.staging)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue; // none of ours, or another daemon's
            }
            // Not synced: what comes back after a power cut is swept again.
            match std::fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }
}

impl Store {
    /// Asks for writeback of what is dirty in a file. A help, not a promise.
    ///
    /// The descriptor is another one on purpose. Linux reports a failed writeback once to every description that was open
    /// when it happened, so what the helper sees of an error does not hide it from the writer's.
    fn begin_writeback(&self, path: &Path) {
        if let Ok(file) = File::open(path) {
            let _ = self.writeback.try_send(file);
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(place(digest))
    }
}

/// Where a blob is below the directory.
fn place(digest: &Digest) -> String {
    let digits = digest.to_hex();
    let (shard, rest) = digits.split_at(2);
    format!("sha256/{shard}/{rest}")
}

/// The inverse of [`Store::path`].
fn digest_of(shard: &str, name: &OsStr) -> Option<Digest> {
    Digest::from_hex(&format!("{shard}{}", name.to_str()?)).ok()
}

/// Size of the file in octets, `None` if there is none.
fn size(path: &Path) -> Result<Option<u64>, BlobError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => {
            let why = format!("'{}' is no regular file", path.display());
            Err(BlobError::Unavailable(io::Error::new(ErrorKind::InvalidData, why)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An upload in the making. Invariant: `path` names this file until `kept`.
struct DiskStaged {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    len: u64,
    /// Octets written since writeback was last asked for.
    behind: u64,
    kept: bool,
}

impl DiskStaged {
    /// Counts what was written, and has it written back when it is much.
    fn wrote(&mut self, count: usize) {
        self.len += count as u64;
        self.behind += count as u64;
        if self.behind >= WRITEBACK_STRIDE {
            self.begin_writeback();
        }
    }

    /// Asks for writeback of what is dirty: if it cannot be had, `keep` has more to wait for.
    fn begin_writeback(&mut self) {
        self.store.begin_writeback(&self.path);
        self.behind = 0;
    }
}

impl Staged for DiskStaged {
    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(octets)?;
        self.wrote(octets.len());
        Ok(())
    }

    fn write_pieces(&mut self, mut pieces: &mut [IoSlice<'_>]) -> Result<(), BlobError> {
        // Pieces without octets would look like a disk that takes none.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match self.file.write_vectored(pieces) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => {
                    self.wrote(count);
                    IoSlice::advance_slices(&mut pieces, count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
        Ok(read_fully_at(&self.file, offset, buf)?)
    }

    fn file(&self) -> Option<io::Result<File>> {
        // Opened again: the descriptor that made it can write.
        Some(File::open(&self.path))
    }

    fn replace(mut self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        let store = Arc::clone(&self.store);
        let _turn = store.finalisers.enter();
        let path = store.path(digest);
        self.file.sync_data()?;
        std::fs::rename(&self.path, &path)?;
        self.kept = true;
        // Invariant: a blob's path has its shard directory above it.
        Ok(durable::sync_dir(path.parent().expect("a blob lies in a shard"))?)
    }

    fn keep(mut self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        let store = Arc::clone(&self.store);
        let _turn = store.finalisers.enter();
        let path = store.path(digest);
        match size(&path)? {
            Some(bytes) if bytes == self.len => {
                // Whoever brought it may be between rename and sync, or have crashed there.
                File::open(&path)?.sync_data()?;
            }
            Some(bytes) => {
                let detail = format!("{bytes} octets in the store, {} octets uploaded with the same digest", self.len);
                return Err(BlobError::Corrupt { digest: *digest, detail });
            }
            None => {
                self.file.sync_data()?;
                // If another upload of these octets has been renamed here since, it is replaced by its equal.
                std::fs::rename(&self.path, &path)?;
                self.kept = true;
            }
        }
        // Invariant: a blob's path has its shard directory above it.
        Ok(durable::sync_dir(path.parent().expect("a blob lies in a shard"))?)
    }
}

impl Drop for DiskStaged {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            // Nobody is left to be told, and the next start sweeps.
            tracing::warn!(path = %self.path.display(), %error, "staged upload could not be removed");
        }
    }
}

/// A blob opened for reading.
struct DiskReader {
    digest: Digest,
    file: File,
    len: u64,
}

impl BlobReader for DiskReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
        let wanted = clamp(buf.len(), self.len.saturating_sub(offset));
        let read = read_fully_at(&self.file, offset, &mut buf[..wanted])?;
        if read < wanted {
            let detail = format!("{} octets when opened, ended at {}", self.len, offset.saturating_add(read as u64));
            return Err(BlobError::Corrupt { digest: self.digest, detail });
        }
        Ok(read)
    }

    fn file(&self) -> Option<io::Result<File>> {
        Some(self.file.try_clone())
    }

    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Option<Result<usize, BlobError>> {
        let wanted = clamp(buf.len(), self.len.saturating_sub(offset));
        if wanted == 0 {
            return Some(Ok(0));
        }
        let mut slices = [IoSliceMut::new(&mut buf[..wanted])];
        match preadv2(&self.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            // Not the end, or `wanted` would be 0. Linux 5.9 said so for pages that it had to read first.
            Ok(0) => None,
            Ok(read) => Some(Ok(read)),
            // It would block, or this file system or kernel cannot tell.
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => None,
            Err(error) => Some(Err(io::Error::from(error).into())),
        }
    }

    fn place(&self) -> Option<String> {
        Some(place(&self.digest))
    }

    fn evict(&self) {
        // Pages that are dirty stay; a blob's are not, for it was synced. What the kernel makes of it is its own affair.
        let _advice = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// The smaller of the two.
fn clamp(len: usize, left: u64) -> usize {
    usize::try_from(left).map_or(len, |left| len.min(left))
}

/// Reads until `buf` is full or the file ends.
fn read_fully_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        // An offset that no file can have is behind the end of this one.
        let Some(at) = offset.checked_add(read as u64).filter(|at| i64::try_from(*at).is_ok()) else { break };
        match file.read_at(&mut buf[read..], at) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// The writeback thread: sends the dirty pages of each file to the disk. Errors are left to the upload's own sync, which
/// sees them too.
fn write_back(files: &Receiver<File>) {
    for file in files {
        let _ = file.sync_data();
    }
}

/// Lets a bounded number of threads through at a time.
struct Turnstile {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Turnstile {
    fn new(turns: usize) -> Self {
        Self { free: Mutex::new(turns.max(1)), freed: Condvar::new() }
    }

    /// Waits for a turn, which lasts until the guard is dropped.
    fn enter(&self) -> Turn<'_> {
        // Poison is ignored: no code that can panic runs under the lock, and a count has no half-written state.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }
}

struct Turn<'a>(&'a Turnstile);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::OpenOptions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use common::digest::Digest;

    use super::{DiskBlobs, DiskOptions, DiskStaged, Turnstile, WRITEBACK_STRIDE};
    use crate::blobs::contract::blob_contract;
    use crate::blobs::{BlobError, Blobs as _, Staged as _};

    const DIGEST: Digest = Digest::from_bytes([0xab; 32]);

    fn open(dir: &Path) -> DiskBlobs {
        DiskBlobs::open(dir, DiskOptions::default()).unwrap()
    }

    fn path_of_digest(dir: &Path) -> PathBuf {
        dir.join("sha256/ab").join("ab".repeat(31))
    }

    fn staged(dir: &Path) -> usize {
        std::fs::read_dir(dir.join("staging")).unwrap().count()
    }

    fn keep(blobs: &DiskBlobs, octets: &[u8]) -> Result<(), BlobError> {
        let mut staged = blobs.stage()?;
        staged.write(octets)?;
        staged.keep(&DIGEST)
    }

    #[test]
    fn keeps_the_contract() {
        let root = tempfile::tempdir().unwrap();
        let stores = AtomicUsize::new(0);
        blob_contract(|| {
            let number = stores.fetch_add(1, Ordering::Relaxed);
            Box::new(open(&root.path().join(number.to_string())))
        });
    }

    /// Several daemons in one directory: each keeps the promise, and what one stages and has in part is not the others'.
    #[test]
    fn several_daemons() {
        let root = tempfile::tempdir().unwrap();
        let of = |dir: &Path, name: &str| {
            DiskBlobs::open(dir, DiskOptions { own: Some(name.to_owned()), ..DiskOptions::default() }).unwrap()
        };
        let stores = AtomicUsize::new(0);
        blob_contract(|| {
            let number = stores.fetch_add(1, Ordering::Relaxed);
            Box::new(of(&root.path().join(number.to_string()), "node_a"))
        });
        let dir = root.path().join("shared");
        let one = of(&dir, "node_a");
        let mut staged = one.stage().unwrap();
        staged.write(b"octets").unwrap();
        one.partial("upload").unwrap().write(b"oct").unwrap();
        let other = of(&dir, "node_b");
        let names = |blobs: &DiskBlobs| {
            let mut names = Vec::new();
            blobs.partials(&mut |name, bytes| names.push((name.to_owned(), bytes))).unwrap();
            names
        };
        assert_eq!((other.sweep_staging().unwrap(), open(&dir).sweep_staging().unwrap()), (0, 0));
        assert_eq!((names(&other), names(&one)), (vec![], vec![("upload".to_owned(), 3)]));
        other.remove_partial("upload").unwrap();
        assert_eq!(names(&one).len(), 1);
        staged.keep(&DIGEST).unwrap();
        assert_eq!(other.contains(&DIGEST).unwrap(), Some(6));
    }

    #[test]
    fn the_layout_and_modes_are_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        keep(&blobs, b"octets").unwrap();
        let path = path_of_digest(dir.path());
        assert_eq!(std::fs::read(&path).unwrap(), b"octets");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(staged(dir.path()), 0);
    }

    #[test]
    fn a_blob_survives_reopening_and_a_crashed_upload_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        keep(&blobs, b"octets").unwrap();
        std::mem::forget(blobs.stage().unwrap());
        drop(blobs);
        assert_eq!(staged(dir.path()), 1);
        let blobs = open(dir.path());
        assert_eq!(blobs.sweep_staging().unwrap(), 1);
        assert_eq!((staged(dir.path()), blobs.contains(&DIGEST).unwrap()), (0, Some(6)));
    }

    #[test]
    fn the_same_digest_with_another_size_is_corruption_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        keep(&blobs, b"octets").unwrap();
        let error = keep(&blobs, b"other octets").unwrap_err();
        assert!(
            matches!(&error, BlobError::Corrupt { digest: DIGEST, detail } if detail.contains("12 octets uploaded"))
        );
        assert_eq!(
            (std::fs::read(path_of_digest(dir.path())).unwrap().as_slice(), staged(dir.path())),
            (&b"octets"[..], 0)
        );
    }

    #[test]
    fn what_is_damaged_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        keep(&blobs, b"octets").unwrap();
        let reader = blobs.open(&DIGEST).unwrap();
        reader.evict();
        for (damaged, again) in [(&b"OCTETS"[..], b"octets"), (b"oc", b"octets")] {
            std::fs::remove_file(path_of_digest(dir.path())).unwrap();
            std::fs::write(path_of_digest(dir.path()), damaged).unwrap();
            let mut staged = blobs.stage().unwrap();
            staged.write(again).unwrap();
            staged.replace(&DIGEST).unwrap();
            assert_eq!(std::fs::read(path_of_digest(dir.path())).unwrap(), again);
        }
        let mut read = [0; 6];
        assert_eq!((reader.read_at(0, &mut read).unwrap(), &read), (6, b"octets"), "an open reader reads on");
        assert_eq!(staged(dir.path()), 0);
    }

    #[test]
    fn a_blob_that_lost_octets_while_open_is_corruption() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        keep(&blobs, b"octets").unwrap();
        let reader = blobs.open(&DIGEST).unwrap();
        let path = path_of_digest(dir.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(2).unwrap();
        assert!(matches!(reader.read_at(0, &mut [0; 8]), Err(BlobError::Corrupt { digest: DIGEST, .. })));
        assert!(!matches!(reader.try_read_cached(2, &mut [0; 8]), Some(Ok(_))));
    }

    #[test]
    fn a_partial_blob_survives_reopening_and_its_name_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut partial = open(dir.path()).partial("01ABC").unwrap();
        partial.write(b"octets, and more").unwrap();
        partial.sync().unwrap();
        drop(partial);
        let blobs = open(dir.path());
        assert_eq!(blobs.sweep_staging().unwrap(), 0);
        let mut partial = blobs.partial("01ABC").unwrap();
        partial.cut(6).unwrap();
        assert!(matches!(partial.cut(7), Err(BlobError::Unavailable(_))));
        drop(partial);
        let staged = blobs.stage_partial("01ABC").unwrap();
        staged.keep(&DIGEST).unwrap();
        let path = path_of_digest(dir.path());
        assert_eq!(std::fs::read(&path).unwrap(), b"octets");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(staged_and_partial(dir.path()), (0, 1));
        blobs.remove_partial("01ABC").unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap().as_slice(), staged_and_partial(dir.path())),
            (&b"octets"[..], (0, 0))
        );
        for name in ["", "..", "a/b", "a.b"] {
            assert!(blobs.partial(name).is_err() && blobs.remove_partial(name).is_err(), "{name}");
        }
    }

    fn staged_and_partial(dir: &Path) -> (usize, usize) {
        (staged(dir), std::fs::read_dir(dir.join("partial")).unwrap().count())
    }

    #[test]
    fn a_full_disk_is_told_apart_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let path = dir.path().join("staging/full");
        std::fs::write(&path, b"").unwrap();
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut full =
            DiskStaged { store: Arc::clone(&blobs.store), path: path.clone(), file, len: 0, behind: 0, kept: false };
        assert!(matches!(full.write(b"x"), Err(BlobError::Full(_))));
        drop(full);
        assert!(!path.exists());
    }

    #[test]
    fn a_broken_directory_is_unavailable_and_not_an_empty_store() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        // Replaced by files, as the superuser can read any directory.
        for path in ["sha256/ab", "staging"] {
            std::fs::remove_dir(dir.path().join(path)).unwrap();
            std::fs::write(dir.path().join(path), b"").unwrap();
        }
        assert!(matches!(blobs.stage(), Err(BlobError::Unavailable(_))));
        assert!(matches!(blobs.open(&DIGEST), Err(BlobError::Unavailable(_))));
        assert!(matches!(blobs.contains(&DIGEST), Err(BlobError::Unavailable(_))));
        assert!(matches!(blobs.remove(&DIGEST), Err(BlobError::Unavailable(_))));
        assert!(matches!(blobs.list(&mut |_, _| ()), Err(BlobError::Unavailable(_))));
        assert!(matches!(blobs.sweep_staging(), Err(BlobError::Unavailable(_))));
        assert!(DiskBlobs::open(dir.path(), DiskOptions::default()).is_err());
    }

    #[test]
    fn a_store_that_is_not_there_is_told_from_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        blobs.is_there().unwrap();
        for part in ["sha256/ab", "sha256"] {
            std::fs::rename(dir.path().join(part), dir.path().join("aside")).unwrap();
            assert!(matches!(blobs.is_there(), Err(BlobError::Unavailable(_))), "{part}");
            std::fs::rename(dir.path().join("aside"), dir.path().join(part)).unwrap();
        }
        blobs.is_there().unwrap();
    }

    #[test]
    fn foreign_names_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        std::fs::write(dir.path().join("sha256/ab/README"), b"").unwrap();
        std::fs::write(dir.path().join("sha256/ab").join("AB".repeat(31)), b"").unwrap();
        std::fs::create_dir(dir.path().join("staging/lost+found")).unwrap();
        blobs.list(&mut |digest, _| panic!("{digest}")).unwrap();
        assert_eq!(blobs.sweep_staging().unwrap(), 0);
    }

    #[test]
    fn a_large_upload_is_written_back_on_the_way_and_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let mut staged = blobs.stage().unwrap();
        let chunk = vec![7; 4 << 20];
        for _ in 0..=WRITEBACK_STRIDE / (4 << 20) {
            staged.write(&chunk).unwrap();
        }
        staged.keep(&DIGEST).unwrap();
        let reader = blobs.open(&DIGEST).unwrap();
        assert_eq!(reader.len(), WRITEBACK_STRIDE + (4 << 20));
        let mut last = vec![0; 4 << 20];
        assert_eq!(reader.read_at(WRITEBACK_STRIDE, &mut last).unwrap(), last.len());
        assert_eq!(last, chunk);
    }

    #[test]
    fn no_more_than_the_stated_number_passes_the_turnstile() {
        let turnstile = Turnstile::new(2);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = turnstile.enter();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        drop(Turnstile::new(0).enter());
    }
}
