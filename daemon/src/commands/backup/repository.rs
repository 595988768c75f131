//! The directory of backups: many generations that share what they have in common. Knows its files, how each becomes durable,
//! and what may be removed; refuses to know where records and bytes come from.
//!
//! ```text
//! mreg-backups.json                  what the directory is, and of which log
//! lock                               held while somebody adds or removes; shared while somebody reads
//! journal/<from>-<to>-<digest>.seg   parts of the journal
//! blobs/<2 digits>/<62 digits>       bytes by digest
//! generations/<id>/manifest.json     written last: a generation without it is none
//! generations/<id>/blobs             the list of the blobs it needs
//! generations/<id>/checkpoint, settings.env, keys/…
//! tmp/                               in the making
//! ```
//!
//! A directory of backups may come from anybody: only regular files are read, which a link, a pipe or a device is not, and nothing
//! is removed by way of a link.
//!
//! All is durable before the manifest is, and nothing that stands under a name is ever written to again. So whatever a crash
//! leaves is either as it was before, or whole; files that no manifest names are used again or removed by [`Repository::sweep`].

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::digest::Digest;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, OCTETS_MAX, Part};
use super::needed::{Blob, List};
use super::{Exit, Failed};
use crate::durable::{self, MODE_DIR, MODE_FILE};

const MARKER: &str = "mreg-backups.json";
const MANIFEST: &str = "manifest.json";
/// The list of blobs of a generation.
pub(super) const LIST: &str = "blobs";
/// The directories in it.
const BELOW: [&str; 4] = ["journal", "blobs", "generations", "tmp"];
/// Octets of the marker, with room to spare.
const MARKER_OCTETS_MAX: usize = 4096;
/// Mode of bytes that are never written to again.
const MODE_KEPT: u32 = 0o400;

/// What the marker says.
#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    log: String,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Something is added or removed: nobody else may be at it.
    Write,
    /// It is read: nobody may write.
    Read,
}

/// A directory of backups.
#[derive(Debug)]
pub(super) struct Repository {
    dir: PathBuf,
    /// Leaf hash of the log's entry 0, in hexadecimal.
    log: String,
    /// Held for its lock; none where the directory can only be read.
    _lock: Option<File>,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Blobs.
    pub(super) blobs: u64,
    /// Their octets, and those of parts of the journal.
    pub(super) octets: u64,
}

/// What an error of the system means, with where it happened.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Failed + '_ {
    move |error| {
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NoInput,
            ErrorKind::PermissionDenied => Exit::NoPermission,
            ErrorKind::InvalidData => Exit::Data,
            _ => Exit::Io,
        };
        Failed::new(exit, format_args!("{}: {error}", path.display()))
    }
}

impl Repository {
    /// Opens one, or makes one of a log in a directory that is empty or not there.
    pub(super) fn create(dir: &Path, log: &str) -> Result<Self, Failed> {
        let marker = dir.join(MARKER);
        if !marker.exists() {
            durable::create_dir_all(dir, MODE_DIR).map_err(at(dir))?;
            let is_ours =
                |name: &std::ffi::OsStr| name == "lock" || name.to_string_lossy().starts_with(&format!(".{MARKER}."));
            for entry in fs::read_dir(dir).map_err(at(dir))? {
                if !is_ours(&entry.map_err(at(dir))?.file_name()) {
                    let why =
                        format_args!("{} is not empty, and no directory of backups; name an empty one", dir.display());
                    return Err(Failed::new(Exit::Usage, why));
                }
            }
            let _lock = lock(dir, Access::Write)?;
            let said = Marker { format: Manifest::FORMAT, log: log.to_owned() };
            let octets = serde_json::to_vec(&said).map_err(|error| Failed::new(Exit::Internal, error))?;
            durable::write_file(&marker, &octets, MODE_FILE).map_err(at(&marker))?;
        }
        let repository = Self::open(dir, Access::Write)?;
        if repository.log != log {
            let why = format_args!("{} holds backups of another registry; name a directory of its own", dir.display());
            return Err(Failed::new(Exit::Usage, why));
        }
        for below in BELOW {
            durable::create_dir_all(&dir.join(below), MODE_DIR).map_err(at(dir))?;
        }
        repository.clean()?;
        Ok(repository)
    }

    /// Opens one that is there.
    pub(super) fn open(dir: &Path, access: Access) -> Result<Self, Failed> {
        let path = dir.join(MARKER);
        let octets = read_bounded(&path, MARKER_OCTETS_MAX).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::new(
                Exit::NoInput,
                format_args!("{} is no directory of backups: it has no {MARKER}", dir.display()),
            ),
            _ => at(&path)(error),
        })?;
        let Marker { format, log } = serde_json::from_slice(&octets)
            .map_err(|error| Failed::new(Exit::Data, format_args!("{}: {error}", path.display())))?;
        if format != Manifest::FORMAT {
            let why = format_args!("{} holds backups of form {format}, which this mregd doesn't know", dir.display());
            return Err(Failed::new(Exit::Data, why));
        }
        if access == Access::Write {
            for below in BELOW {
                require_dir(&dir.join(below))?;
            }
        }
        let lock = match lock(dir, access) {
            Ok(lock) => Some(lock),
            // A copy on a medium that can't be written to.
            Err(failed) if access == Access::Read && failed.exit == Exit::NoPermission => None,
            Err(failed) => return Err(failed),
        };
        Ok(Self { dir: dir.to_owned(), log, _lock: lock })
    }

    /// The log whose backups it has.
    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where unfinished files are.
    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Where a blob's bytes are, or would be.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let digits = digest.to_hex();
        let (shard, rest) = digits.split_at(2);
        self.dir.join("blobs").join(shard).join(rest)
    }

    /// Where a part of the journal is, or would be.
    pub(super) fn part(&self, part: &Part) -> PathBuf {
        self.dir.join("journal").join(part.file())
    }

    /// The directory of a generation.
    pub(super) fn generation(&self, id: &str) -> PathBuf {
        self.dir.join("generations").join(id)
    }

    /// Removes what an interrupted run left unfinished: temporary files, and generations without a manifest.
    fn clean(&self) -> Result<(), Failed> {
        let tmp = self.tmp();
        for entry in fs::read_dir(&tmp).map_err(at(&tmp))? {
            let path = entry.map_err(at(&tmp))?.path();
            fs::remove_file(&path).map_err(at(&path))?;
        }
        for id in self.names()? {
            let dir = self.generation(&id);
            if !dir.join(MANIFEST).exists() {
                fs::remove_dir_all(&dir).map_err(at(&dir))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, Failed> {
        let dir = self.dir.join("generations");
        let mut names = Vec::new();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(at(&dir)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(at(&dir))?;
            // One that is a link is none.
            if entry.file_type().map_err(at(&dir))?.is_dir() {
                names.extend(entry.file_name().into_string().ok().filter(|name| is_id(name)));
            }
        }
        names.sort_unstable_by_key(|name| age_of(name));
        Ok(names)
    }

    /// The ids of all generations, oldest first.
    pub(super) fn generations(&self) -> Result<Vec<String>, Failed> {
        let mut names = self.names()?;
        names.retain(|id| self.generation(id).join(MANIFEST).exists());
        Ok(names)
    }

    /// A generation's manifest.
    pub(super) fn manifest(&self, id: &str) -> Result<Manifest, Failed> {
        if !is_id(id) {
            return Err(Failed::new(
                Exit::Usage,
                format_args!("{id:?} is no generation's id; `mregd backup list` names them"),
            ));
        }
        let path = self.generation(id).join(MANIFEST);
        let octets = read_bounded(&path, OCTETS_MAX).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::new(
                Exit::NoInput,
                format_args!("there is no generation {id} in {}; `mregd backup list` names them", self.dir.display()),
            ),
            _ => at(&path)(error),
        })?;
        let wrong = |why: &str| Failed::new(Exit::Data, format_args!("{}: {why}", path.display()));
        let manifest = Manifest::open(&octets).map_err(|why| wrong(&format!("the manifest {why}")))?;
        if manifest.generation != id || manifest.log != self.log {
            return Err(wrong("the manifest is another generation's"));
        }
        Ok(manifest)
    }

    /// A generation's list of blobs, whose digest is held against the manifest's first.
    pub(super) fn list(&self, manifest: &Manifest) -> Result<List<BufReader<File>>, Failed> {
        let path = self.generation(&manifest.generation).join(LIST);
        if digest_of(&path).map_err(at(&path))? != manifest.blobs.sha256 {
            let why = format_args!("{}: its SHA-256 is another than the manifest's", path.display());
            return Err(Failed::new(Exit::Data, why));
        }
        List::open(&path).map_err(at(&path))
    }

    /// A new file in the making.
    pub(super) fn begin(&self) -> Result<Unfinished, Failed> {
        let path = self.tmp().join(uuid::Uuid::new_v4().simple().to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(MODE_FILE)
            .open(&path)
            .map_err(at(&path))?;
        Ok(Unfinished { path, file, is_kept: false })
    }

    /// Gives a finished file its name. The content is durable; the name is once [`Repository::sync`] returns.
    pub(super) fn keep(&self, mut unfinished: Unfinished, path: &Path) -> Result<(), Failed> {
        unfinished.file.sync_all().map_err(at(path))?;
        unfinished.file.set_permissions(fs::Permissions::from_mode(MODE_KEPT)).map_err(at(path))?;
        self.make_shard(path)?;
        fs::rename(&unfinished.path, path).map_err(at(path))?;
        unfinished.is_kept = true;
        Ok(())
    }

    /// Makes the directory that a file will be in.
    pub(super) fn make_shard(&self, path: &Path) -> Result<(), Failed> {
        match path.parent() {
            Some(parent) => {
                require_dir(parent)?;
                durable::create_dir_all(parent, MODE_DIR).map_err(at(parent))
            }
            None => Ok(()),
        }
    }

    /// Makes the names of all parts and blobs durable, those included that a run before gave and was cut off.
    pub(super) fn sync(&self) -> Result<(), Failed> {
        let blobs = self.dir.join("blobs");
        for shard in sorted(&blobs)? {
            let dir = blobs.join(shard);
            durable::sync_dir(&dir).map_err(at(&dir))?;
        }
        let journal = self.dir.join("journal");
        durable::sync_dir(&journal).map_err(at(&journal))
    }

    /// Writes a generation's manifest: from here on it is one.
    pub(super) fn finish(&self, manifest: Manifest) -> Result<(), Failed> {
        let path = self.generation(&manifest.generation).join(MANIFEST);
        let octets = manifest.seal().map_err(|why| Failed::new(Exit::Internal, why))?;
        durable::write_file(&path, &octets, MODE_FILE).map_err(at(&path))
    }

    /// Removes a generation: its manifest first, so that half of one is none.
    pub(super) fn remove(&self, id: &str) -> Result<(), Failed> {
        let dir = self.generation(id);
        durable::remove(&dir.join(MANIFEST)).map_err(at(&dir))?;
        fs::remove_dir_all(&dir).map_err(at(&dir))
    }

    /// Removes the parts of the journal and the blobs that no generation needs. Reads all lists beside one another, in the
    /// order of digests; if one can't be read, nothing is removed.
    pub(super) fn sweep(&self) -> Result<Swept, Failed> {
        let mut parts = BTreeSet::new();
        let mut lists = Vec::new();
        for id in self.generations()? {
            let manifest = self.manifest(&id)?;
            lists.push(Cursor::new(self.list(&manifest)?)?);
            parts.extend(manifest.journal.iter().map(Part::file));
        }
        let mut swept = Swept::default();
        let journal = self.dir.join("journal");
        for entry in fs::read_dir(&journal).map_err(at(&journal))? {
            let entry = entry.map_err(at(&journal))?;
            if !parts.contains(&*entry.file_name().to_string_lossy()) {
                swept.octets += remove(&entry.path())?;
            }
        }
        let blobs = self.dir.join("blobs");
        for shard in sorted(&blobs)? {
            let dir = blobs.join(&shard);
            require_dir(&dir)?;
            for rest in sorted(&dir)? {
                let Ok(digest) = Digest::from_hex(&format!("{shard}{rest}")) else { continue };
                let mut is_needed = false;
                for list in &mut lists {
                    is_needed |= list.has(&digest)?;
                }
                if !is_needed {
                    swept.blobs += 1;
                    swept.octets += remove(&dir.join(rest))?;
                }
            }
        }
        Ok(swept)
    }
}

/// A list that is read on.
struct Cursor {
    list: List<BufReader<File>>,
    next: Option<Blob>,
}

impl Cursor {
    fn new(mut list: List<BufReader<File>>) -> Result<Self, Failed> {
        let next = list.next().transpose().map_err(list_failed)?;
        Ok(Self { list, next })
    }

    /// Whether it has a blob; asked in the order of digests.
    fn has(&mut self, digest: &Digest) -> Result<bool, Failed> {
        while self.next.is_some_and(|blob| blob.digest < *digest) {
            self.next = self.list.next().transpose().map_err(list_failed)?;
        }
        Ok(self.next.is_some_and(|blob| blob.digest == *digest))
    }
}

/// A list of blobs that can't be read.
pub(super) fn list_failed(error: io::Error) -> Failed {
    Failed::new(if error.kind() == ErrorKind::InvalidData { Exit::Data } else { Exit::Io }, error)
}

fn remove(path: &Path) -> Result<u64, Failed> {
    let octets = fs::symlink_metadata(path).map_err(at(path))?.len();
    fs::remove_file(path).map_err(at(path))?;
    Ok(octets)
}

fn sorted(dir: &Path) -> Result<BTreeSet<String>, Failed> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        names.extend(entry.map_err(at(dir))?.file_name().into_string().ok());
    }
    Ok(names)
}

/// A file in the making; removed when dropped before it is kept.
pub(super) struct Unfinished {
    path: PathBuf,
    /// Opened for reading and writing.
    pub(super) file: File,
    is_kept: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays is removed by the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `20260102T030405Z-1234`: when it was made, and how many entries it has. Ids sort by time.
pub(super) fn id_of(at: &str, size: u64) -> String {
    let digits: String = at.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("{day}T{time}Z-{size}")
}

/// By what ids are sorted: time, and of one second the number of entries.
fn age_of(id: &str) -> (String, u64) {
    let (time, size) = id.split_once('-').unwrap_or((id, ""));
    (time.to_owned(), size.parse().unwrap_or(u64::MAX))
}

fn is_id(name: &str) -> bool {
    let octets = name.as_bytes();
    let digits = |range: std::ops::Range<usize>| octets.get(range).is_some_and(|it| it.iter().all(u8::is_ascii_digit));
    octets.len() > 17
        && octets.len() < 40
        && digits(0..8)
        && octets[8] == b'T'
        && digits(9..15)
        && &octets[15..17] == b"Z-"
        && digits(17..octets.len())
}

/// Refuses what is there and is no directory of its own: what is removed by way of a link is somebody else's.
fn require_dir(path: &Path) -> Result<(), Failed> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
        Ok(_other) => Err(Failed::new(
            Exit::Usage,
            format_args!(
                "{} is a link or a file, and no directory; nothing is added or removed there. Mount another file system instead",
                path.display()
            ),
        )),
    }
}

/// Opens a regular file to read it. A link is not followed, and opening never waits, as for the other end of a pipe.
///
/// # Errors
/// `InvalidData` where it is none; what the system says.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let none = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("it is {what}, and no regular file"));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(none("a link")),
        // A socket.
        Err(Errno::NXIO) => return Err(none("a socket")),
        Err(error) => return Err(error.into()),
    };
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(none("a directory")),
        kind if kind.is_fifo() => Err(none("a pipe")),
        _device => Err(none("a device")),
    }
}

/// A small file.
pub(super) fn read_bounded(path: &Path, octets_max: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    open_file(path)?.take(octets_max as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > octets_max {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too large"));
    }
    Ok(octets)
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = open_file(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

/// Takes the directory's lock.
fn lock(dir: &Path, access: Access) -> Result<File, Failed> {
    let path = dir.join("lock");
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE_FILE)
        .custom_flags(flags)
        .open(&path);
    let file = match file {
        Ok(file) => file,
        Err(error) if access == Access::Read && error.kind() == ErrorKind::ReadOnlyFilesystem => {
            return Err(Failed::new(Exit::NoPermission, error));
        }
        Err(error) => return Err(at(&path)(error)),
    };
    let operation = match access {
        Access::Write => FlockOperation::NonBlockingLockExclusive,
        Access::Read => FlockOperation::NonBlockingLockShared,
    };
    match rustix::fs::flock(&file, operation) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Failed::new(
            Exit::TempFail,
            format_args!(
                "{} is in use by another backup, prune or restore; try again when it has ended",
                dir.display()
            ),
        )),
        Err(error) => Err(at(&path)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{age_of, id_of, is_id};

    /// Ids are told from other names.
    #[test]
    fn ids() {
        let id = id_of("2026-01-02T03:04:05.678Z", 1234);
        assert_eq!(id, "20260102T030405Z-1234");
        assert!(is_id(&id));
        assert!(age_of("20260102T030405Z-9") < age_of(&id) && age_of(&id) < age_of("20260102T030406Z-1"));
        for name in
            ["", "20260102T030405Z-", "20260102T030405Z-x", "../20260102T030405Z-1", "20260102X030405Z-1", "tmp"]
        {
            assert!(!is_id(name), "{name}");
        }
    }
}
