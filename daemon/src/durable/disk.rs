//! The door to the files that the log is written to: journal, hashes, rows, checkpoint, marks, reserve and new keys go
//! through a [`Disk`], so that a test can fail any of their calls, or write them down and replay what a power cut would have
//! left (audit-log.md §14). Not through it go locks, making directories, reading and destroying keys, the instance id, setting
//! aside and removing what is derived, and sled's own files. Names and meaning of the calls are std's. What a file means is
//! not known here.
//!
//! In the daemon nobody watches: a call costs one comparison with nothing more than the call it stands for.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// What is about to be done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A file that is there is opened.
    Open(&'a Path),
    /// A file is made; its name is durable once its directory is synced.
    Create(&'a Path),
    /// Octets are read from an offset on.
    Read(&'a Path, u64, usize),
    /// Octets are written from an offset on.
    Write(&'a Path, u64, &'a [u8]),
    /// A file's length is set.
    SetLen(&'a Path, u64),
    /// Blocks are allocated for so many octets of a file from an offset on. They read as zeros; the length of the file
    /// may stay as it is.
    Allocate(&'a Path, u64, u64),
    /// `fdatasync`: content and length of a file become durable.
    SyncData(&'a Path),
    /// `fsync`: content, length and mode of a file become durable.
    SyncAll(&'a Path),
    /// A name is given to what another name stands for.
    Rename(&'a Path, &'a Path),
    /// A name is removed.
    Remove(&'a Path),
    /// The names in a directory become durable.
    SyncDir(&'a Path),
    /// It is asked what a name or an open file is.
    Stat(&'a Path),
    /// The names in a directory are listed.
    List(&'a Path),
    /// A batch is applied to the view in a directory. Its files are sled's own business and not seen here.
    Apply(&'a Path),
}

/// What becomes of an operation.
#[derive(Debug)]
pub enum Verdict {
    /// It is done.
    Do,
    /// It fails, and nothing of it is done.
    Fail(io::Error),
    /// It is done and reported as failed.
    DoAndFail(io::Error),
    /// Of a write so many octets are done, then it fails. Other operations are not done.
    Cut(usize, io::Error),
}

/// Sees every operation before it is done, and may make it fail. Called from any thread.
pub trait Watch: Send + Sync {
    /// Decides on an operation.
    fn watch(&self, operation: Operation<'_>) -> Verdict;

    /// The room there is said to be; none to ask the system.
    fn space(&self, _dir: &Path) -> Option<Space> {
        None
    }
}

/// Room in a file system, octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total: u64,
    /// What is free to us.
    pub free: u64,
}

/// The way to the files.
#[derive(Clone, Default)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("watched", &self.watch.is_some()).finish()
    }
}

impl Disk {
    /// A disk on which every operation is first told to `watch`.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
    }

    fn perform<T>(&self, operation: Operation<'_>, real: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = &self.watch else { return real() };
        match watch.watch(operation) {
            Verdict::Do => real(),
            Verdict::Fail(error) | Verdict::Cut(_, error) => Err(error),
            Verdict::DoAndFail(error) => real().and(Err(error)),
        }
    }

    fn file(&self, path: &Path, create: bool, options: &OpenOptions) -> io::Result<DiskFile> {
        let creates = create && self.watch.is_some() && !path.exists();
        let operation = if creates { Operation::Create(path) } else { Operation::Open(path) };
        let file = self.perform(operation, || options.open(path))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// Those of `open`, as of all that follow: the errors of the system call that stands in the name.
    pub fn open(&self, path: &Path) -> io::Result<DiskFile> {
        self.file(path, false, OpenOptions::new().read(true).write(true))
    }

    /// Opens a file for reading and writing, making it with mode 0600 where there is none.
    pub fn open_or_create(&self, path: &Path) -> io::Result<DiskFile> {
        self.file(path, true, OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600))
    }

    /// Makes a file with a mode, whatever the umask; an error where there is one.
    pub fn create_new(&self, path: &Path, mode: u32) -> io::Result<DiskFile> {
        let file = self.file(path, true, OpenOptions::new().read(true).write(true).create_new(true).mode(mode))?;
        // The mode given at creation is cut by the umask, which may also leave the owner with less than was asked for.
        file.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(file)
    }

    /// Opens a directory or file for nothing but its sync.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(Operation::SyncDir(path), || File::open(path)?.sync_all())
    }

    /// Renames; not durable before the directory is synced.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Operation::Rename(from, to), || std::fs::rename(from, to))
    }

    /// Removes a file's name; not durable before the directory is synced.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.perform(Operation::Remove(path), || std::fs::remove_file(path))
    }

    /// What a name stands for.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.perform(Operation::Stat(path), || std::fs::metadata(path))
    }

    /// A whole small file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.perform(Operation::Read(path, 0, usize::MAX), || std::fs::read(path))
    }

    /// The names in a directory, in no order. Names that are no UTF-8 are not ours and left out.
    pub fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.perform(Operation::List(dir), || {
            let names = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
            names.filter_map(io::Result::transpose).collect()
        })
    }

    /// The room in the file system of a directory.
    pub fn space(&self, dir: &Path) -> io::Result<Space> {
        if let Some(space) = self.watch.as_ref().and_then(|watch| watch.space(dir)) {
            return Ok(space);
        }
        let system = rustix::fs::statvfs(dir)?;
        let octets = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Ok(Space { total: octets(system.f_blocks), free: octets(system.f_bavail) })
    }

    /// Applies a batch to the view in a directory.
    pub fn apply(&self, dir: &Path, apply: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.perform(Operation::Apply(dir), apply)
    }
}

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    /// Fills a buffer from an offset on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before; else those of `pread`. Of all that follow: the errors of the system
    /// call that stands in the name.
    pub fn read_exact_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        let operation = Operation::Read(&self.path, at, octets.len());
        self.disk.perform(operation, || self.file.read_exact_at(octets, at))
    }

    /// Says that octets will be read soon. Nothing depends on it.
    pub fn will_need(&self, at: u64, octets: u64) {
        if let Some(octets) = NonZeroU64::new(octets) {
            let _advised = rustix::fs::fadvise(&self.file, at, Some(octets), rustix::fs::Advice::WillNeed);
        }
    }

    /// Writes all octets from an offset on. After an error any of them may be there.
    pub fn write_all_at(&self, octets: &[u8], at: u64) -> io::Result<()> {
        let Some(watch) = &self.disk.watch else { return self.file.write_all_at(octets, at) };
        match watch.watch(Operation::Write(&self.path, at, octets)) {
            Verdict::Do => self.file.write_all_at(octets, at),
            Verdict::Fail(error) => Err(error),
            Verdict::DoAndFail(error) => self.file.write_all_at(octets, at).and(Err(error)),
            Verdict::Cut(done, error) => self.file.write_all_at(&octets[..done.min(octets.len())], at).and(Err(error)),
        }
    }

    /// Sets the length; what is new reads as zeros and has no blocks.
    pub fn set_len(&self, octets: u64) -> io::Result<()> {
        self.disk.perform(Operation::SetLen(&self.path, octets), || self.file.set_len(octets))
    }

    /// Makes content and length durable. Never to be tried again after an error: the kernel drops what it could not
    /// write, and then reports success.
    pub fn sync_data(&self) -> io::Result<()> {
        self.disk.perform(Operation::SyncData(&self.path), || self.file.sync_data())
    }

    /// Makes content, length and mode durable. The same holds after an error.
    pub fn sync_all(&self) -> io::Result<()> {
        self.disk.perform(Operation::SyncAll(&self.path), || self.file.sync_all())
    }

    /// What the open file is, whatever its name stands for by now.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.disk.perform(Operation::Stat(&self.path), || self.file.metadata())
    }

    /// Allocates blocks so that the file has this length and writing within it can't fail for want of space. What is new
    /// reads as zeros. Where the file system can't allocate, zeros are written.
    pub fn allocate(&self, octets: u64) -> io::Result<()> {
        let from = self.file.metadata()?.len().min(octets);
        self.disk.perform(Operation::Allocate(&self.path, from, octets - from), || {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, octets - from) {
                Err(Errno::OPNOTSUPP) => {
                    let zeros = [0; 16 * 1024];
                    let mut at = from;
                    while at < octets {
                        let some = usize::try_from(octets - at).map_or(zeros.len(), |left| left.min(zeros.len()));
                        self.file.write_all_at(&zeros[..some], at)?;
                        at += some as u64;
                    }
                    Ok(())
                }
                done => Ok(done?),
            }
        })
    }

    /// Allocates blocks for so many octets behind the end of the file, whose length stays as it is: what another library
    /// appends to it then finds its place. A file system that can't do that is left as it is.
    pub fn allocate_behind(&self, octets: u64) -> io::Result<()> {
        let from = self.file.metadata()?.len();
        self.disk.perform(Operation::Allocate(&self.path, from, octets), || {
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, octets) {
                Err(Errno::OPNOTSUPP) => Ok(()),
                done => Ok(done?),
            }
        })
    }
}
