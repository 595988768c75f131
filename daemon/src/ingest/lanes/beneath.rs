//! Names reached by descriptors: nothing is followed, nothing outside the folder or on another file system is reached, and no
//! call blocks on what somebody put there. Knows system calls; refuses to know lanes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, Statx, StatxFlags, fsync, mkdirat, openat, openat2,
    renameat, renameat_with, statx, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::ingest::lanes::look::Home;

/// Octets asked of the kernel at once when a folder is listed: some 800 names.
const LIST_OCTETS: usize = 32 * 1024;

/// What is known of a name: kind, links, owner, size, times, and the mount it lies on.
const STAT: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

/// How a path is resolved: below its start, over no symbolic link, over no mount.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Set once the kernel has answered that it has no openat2.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// A folder to list or to sync.
pub(super) fn open_folder(parent: impl AsFd, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    open(parent, path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// A folder to go through: needs no right to list it.
pub(super) fn enter(parent: impl AsFd, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    open(parent, path.as_ref(), OFlags::PATH | OFlags::DIRECTORY)
}

/// A file that a look said is regular, for reading. What it became since is for the caller to see (fstat): of a FIFO put in
/// its place, this doesn't wait for the other end.
///
/// # Errors
/// `WouldBlock`: somebody has a lease on it, which this would break.
pub(super) fn open_file(parent: impl AsFd, path: impl AsRef<Path>) -> io::Result<File> {
    open(parent, path.as_ref(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
}

fn open(parent: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match open_at_once(&parent, path, flags) {
            Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
            // A filter on system calls may say so, too.
            Err(Errno::PERM) => {}
            answer => return Ok(answer?),
        }
    }
    open_by_segment(parent, path, flags)
}

fn open_at_once(parent: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat2(&parent, path, flags, Mode::empty(), RESOLVE))
}

/// The same for kernels before 5.6 and filters on system calls: one segment after the other. A mount is told by the device
/// alone where the kernel gives no ids of mounts.
fn open_by_segment(parent: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let home = Home::of(&stat_fd(&parent)?);
    let mut segments = path.components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(segment) = segments.next() {
        let Component::Normal(name) = segment else { return Err(Errno::XDEV.into()) };
        let flags = if segments.peek().is_some() { through } else { flags };
        let next = match &at {
            Some(folder) => retry_on_intr(|| openat(folder, name, flags, Mode::empty()))?,
            None => retry_on_intr(|| openat(&parent, name, flags, Mode::empty()))?,
        };
        if !home.has(&stat_fd(&next)?) {
            return Err(Errno::XDEV.into());
        }
        at = Some(next);
    }
    at.ok_or_else(|| Errno::NOENT.into())
}

/// What a name is, without following or opening it.
pub(super) fn stat(parent: impl AsFd, name: &OsStr) -> io::Result<Statx> {
    // Network file systems are asked anew: what they remember of a file that somebody writes is up to a minute old.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
    Ok(statx(parent, name, flags, STAT)?)
}

/// The same; none: there is nothing of this name.
pub(super) fn find(parent: impl AsFd, name: &OsStr) -> io::Result<Option<Statx>> {
    match stat(parent, name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an open file is.
pub(super) fn stat_fd(file: impl AsFd) -> io::Result<Statx> {
    Ok(statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, STAT)?)
}

/// The names in a folder, in no order. `each` says whether it wants more.
pub(super) fn each_name(folder: impl AsFd, mut each: impl FnMut(&OsStr) -> bool) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); LIST_OCTETS];
    let mut entries = RawDir::new(folder.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::INTR) => continue,
            // The folder itself is gone.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." && !each(name) {
            break;
        }
    }
    Ok(())
}

/// All names in a folder, sorted.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    each_name(folder, |name| {
        names.push(name.to_owned());
        true
    })?;
    names.sort_unstable();
    Ok(names)
}

/// Renames, and never over something. Where the file system has no such rename (NFS), it is looked first: only the daemon
/// writes to the places that this goes to.
pub(super) fn rename_new(from: impl AsFd, name: &OsStr, to: impl AsFd, new: &OsStr) -> Result<(), Errno> {
    match renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match find(&to, new) {
            Ok(Some(_)) => Err(Errno::EXIST),
            Ok(None) => renameat(&from, name, &to, new),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        },
        answer => answer,
    }
}

/// Makes a folder if there is nothing of its name. Whether it did.
pub(super) fn make_folder(parent: impl AsFd, name: &OsStr, mode: u32) -> io::Result<bool> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes a name that is not a folder's, if it is there.
pub(super) fn unlink(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes an empty folder, if it is there.
pub(super) fn remove_folder(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| fsync(&folder))?)
}

/// Whether a name is one segment of a path and nothing else.
pub(super) fn is_segment(name: &OsStr) -> bool {
    let octets = name.as_bytes();
    !octets.is_empty() && octets != b"." && octets != b".." && !octets.contains(&b'/') && !octets.contains(&0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::{OFlags, Path, open_at_once, open_by_segment};

    /// Both ways to open reach what is below, and neither follows a link in the middle, at the end, or leaves the folder.
    #[test]
    fn neither_way_follows_or_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), b"in").unwrap();
        std::fs::write(dir.path().join("outside"), b"out").unwrap();
        symlink("a", top.join("link")).unwrap();
        symlink("file", top.join("a/b/alias")).unwrap();
        symlink("/proc/self", top.join("magic")).unwrap();
        let folder = std::fs::File::open(&top).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        for (path, there) in [
            ("a/b/file", true),
            ("a/b/alias", false),
            ("link/b/file", false),
            ("../outside", false),
            ("a/../../outside", false),
            ("/etc/passwd", false),
            ("magic/status", false),
            ("none", false),
        ] {
            let path = Path::new(path);
            let at_once = open_at_once(&folder, path, flags);
            assert!(
                at_once.is_ok() == there || at_once.as_ref().is_err_and(|e| *e == super::Errno::NOSYS),
                "{path:?}: {at_once:?}"
            );
            assert_eq!(open_by_segment(&folder, path, flags).is_ok(), there, "{path:?}");
        }
        // /proc is another file system, wherever it is reached from.
        let root = std::fs::File::open("/").unwrap();
        assert!(open_by_segment(&root, Path::new("proc/self"), OFlags::RDONLY).is_err());
    }
}
