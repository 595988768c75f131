//! Files that are still there after a power cut.
//!
//! Every durable write of a whole small file (keys, passwords, high-water marks, settings) and every durable change to a
//! directory goes through here, so that the order of the system calls is written, and can be checked, once. The module
//! knows octets, paths and modes; what a file means it does not know. Large streams have their own path
//! ([`crate::blobs`]), appends too (the journal), and both use the directory functions here. The store's files, appends
//! included, are reached through a [`Disk`], on which tests can watch and fail every call.
//!
//! Expected system calls, as `strace -f -e trace=file,desc` shows them:
//!
//! - [`write_file`]: `openat(DIR/.NAME.RANDOM.tmp, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, MODE)`, `fchmod(MODE)`, `write`…,
//!   `fsync`, `rename(tmp, NAME)`, `openat(DIR)`, `fsync(DIR)`
//! - [`create_dir_all`], per missing level: `mkdir(MODE)`, `openat(PARENT)`, `fsync(PARENT)`
//! - [`rename`]: `rename(FROM, TO)`, `openat(DIR of TO)`, `fsync`; the same again for the directory of FROM if it is another
//! - [`remove`]: `unlink`, `openat(DIR)`, `fsync(DIR)`
//!
//! Not covered, and said so that nobody counts on it:
//!
//! - A disk or controller that lies about a flush. The kernel is told; what the hardware does is its own word.
//! - A crash between creating the temporary file and the rename leaves `.NAME.RANDOM.tmp` behind. It is never read.
//! - Of two threads in [`create_dir_all`] for one path, the one that finds a level already made does not wait until the
//!   other has made it durable. Trees are made at start, before there are threads that could meet.
//! - After a failed `fsync` the old file stands untouched, but octets of the new one may be anything: the kernel drops
//!   pages that it could not write. So nothing here retries a sync; the caller starts again with its own copy.
//! - A failed directory sync after a rename or unlink is an error although the change is visible: it may or may not
//!   survive a power cut. Repeating the call is safe and settles it.

mod disk;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

pub use self::disk::{Disk, DiskFile, Operation, Space, Verdict, Watch};

/// Mode of a file that only the daemon reads and writes: secrets, and everything else by default.
pub const MODE_FILE: u32 = 0o600;

/// Mode of a directory that only the daemon enters.
pub const MODE_DIR: u32 = 0o700;

/// Replaces the file `path` by one with exactly `bytes` and exactly `mode`, atomically and durably.
///
/// A reader, also one after a crash at any point, sees the whole old file or the whole new one. Missing parent directories
/// are made with [`MODE_DIR`]. `mode` holds whatever the umask, and from the first octet on: a secret is never readable by
/// others for a moment.
///
/// # Errors
/// Any error of the system calls in the module's header. Unless the last one (the sync of the directory) failed, the old
/// file is unchanged and the temporary one is gone.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_file_on(&Disk::default(), path, bytes, mode)
}

/// [`write_file`] on a given disk.
///
/// # Errors
/// The same.
pub fn write_file_on(disk: &Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = parent(path)?;
    create_dir_all(dir, MODE_DIR)?;
    let temporary = Temporary::beside(disk, path)?;
    let file = disk.create_new(&temporary.path, mode)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    // A crash up to here: the old file. After the rename: the old or the new one, until the directory is synced.
    temporary.rename_to(path)?;
    disk.sync_dir(dir)
}

/// Makes the directory `path` and its missing parents with `mode`, each durable in its parent before the next one is made.
/// What exists is left as it is, mode included.
///
/// # Errors
/// Those of `mkdir` and `fsync`; `AlreadyExists` or `NotADirectory` if a file stands in the way.
pub fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    // "a/b" has the ancestors "a/b", "a" and "", of which the last stands for the working directory.
    let missing: Vec<&Path> =
        path.ancestors().take_while(|level| !level.as_os_str().is_empty() && !level.is_dir()).collect();
    for level in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(level) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && level.is_dir() => {}
            Err(error) => return Err(error),
        }
        sync_dir(parent(level)?)?;
    }
    Ok(())
}

/// Makes the entries of the directory `path` durable: names made, replaced and removed in it.
///
/// # Errors
/// Those of `open` and `fsync`.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    Disk::default().sync_dir(path)
}

/// Renames `from` to `to`, replacing it, and makes that durable. Both must be on one file system. The *content* of `from`
/// must have been synced before, else the new name may stand for an empty file after a crash.
///
/// # Errors
/// Those of `rename` and `fsync`.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let (from_dir, to_dir) = (parent(from)?, parent(to)?);
    // The new name first: a crash in between may then leave both names, never neither.
    sync_dir(to_dir)?;
    if from_dir != to_dir {
        sync_dir(from_dir)?;
    }
    Ok(())
}

/// Removes the file `path`, durably. A file that is not there is no error: whoever repeats a removal after a crash wants
/// it gone, and gone for good.
///
/// # Errors
/// Those of `unlink` and `fsync`.
pub fn remove(path: &Path) -> io::Result<()> {
    remove_on(&Disk::default(), path)
}

/// [`remove`] on a given disk.
///
/// # Errors
/// The same.
pub fn remove_on(disk: &Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Ok(()) => disk.sync_dir(parent(path)?),
        // An earlier call may have removed the name and failed before the sync.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match disk.sync_dir(parent(path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        },
        Err(error) => Err(error),
    }
}

/// Where a path leads: without links, as far as there is something, and the rest as it is written.
///
/// # Errors
/// What the system says of what is there.
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for level in path.ancestors() {
        match level.canonicalize() {
            Ok(mut found) => {
                for part in path.strip_prefix(level).unwrap_or(Path::new("")).components() {
                    match part {
                        Component::ParentDir => _ = found.pop(),
                        part => found.push(part),
                    }
                }
                return Ok(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path)
}

/// The directory that holds the entry `path`: "." for a bare name.
fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(dir) => Ok(dir),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' has no parent", path.display()))),
    }
}

/// The name of a file in the making; removed when dropped before the rename.
struct Temporary<'d> {
    disk: &'d Disk,
    path: PathBuf,
    renamed: bool,
}

impl<'d> Temporary<'d> {
    /// A fresh name in the directory of `path`, hidden, and recognisable by whoever cleans up by hand.
    fn beside(disk: &'d Disk, path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' names no file", path.display())));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        Ok(Self { disk, path: path.with_file_name(hidden), renamed: false })
    }

    fn rename_to(mut self, path: &Path) -> io::Result<()> {
        self.disk.rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that brought us here is the one to report; a leftover is never read.
            let _ = self.disk.remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::{MODE_DIR, MODE_FILE, create_dir_all, remove, rename, sync_dir, write_file};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_replaced_and_has_the_mode_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/er/secret");
        write_file(&path, b"one", MODE_FILE).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (b"one".as_slice(), 0o600));
        assert_eq!(mode(path.parent().unwrap()), MODE_DIR);
        write_file(&path, b"", 0o666).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (b"".as_slice(), 0o666));
        assert_eq!(names(path.parent().unwrap()), ["secret"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        // A directory cannot be replaced by a file, which is found out at the rename, after everything else went well.
        std::fs::create_dir(&path).unwrap();
        assert!(write_file(&path, b"x", MODE_FILE).is_err());
        assert!(path.is_dir());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn paths_that_name_no_file_are_errors() {
        for path in ["/", "", ".."] {
            let error = write_file(Path::new(path), b"x", MODE_FILE).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }

    #[test]
    fn directories_are_made_with_their_parents_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep, 0o750).unwrap();
        create_dir_all(&deep, MODE_DIR).unwrap();
        assert_eq!(mode(&deep), 0o750, "what exists keeps its mode");
        std::fs::write(dir.path().join("file"), b"").unwrap();
        assert!(create_dir_all(&dir.path().join("file"), MODE_DIR).is_err());
        assert!(create_dir_all(&dir.path().join("file/below"), MODE_DIR).is_err());
        create_dir_all(Path::new("."), MODE_DIR).unwrap();
    }

    #[test]
    fn removal_and_rename() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("below/to"));
        write_file(&from, b"x", MODE_FILE).unwrap();
        assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::NotFound);
        create_dir_all(to.parent().unwrap(), MODE_DIR).unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"x");
        remove(&to).unwrap();
        remove(&to).unwrap();
        assert!(!to.exists());
        remove(&dir.path().join("never/there")).unwrap();
        assert_eq!(sync_dir(&dir.path().join("never")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
