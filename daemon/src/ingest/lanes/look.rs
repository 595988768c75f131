//! What lies somewhere, without opening it. Knows attributes; refuses to know what is decided upon them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Statx, StatxFlags, StatxTimestamp, makedev};

use crate::ingest::lanes::beneath::{each_name, enter, find, is_segment, open_folder};
use crate::ingest::lanes::tree::{self, Reach};
use crate::ingest::lanes::{Entry, Kind, Lanes, Seen, Tree};
use crate::ingest::names::{LANES, NameKind, Place, Root, namespace_of};

/// Most characters of a name from outside in a sentence.
const SHOWN_CHARS_MAX: usize = 120;

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// The mount that the lanes lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    device: u64,
    /// Kernels from 5.8 on tell it. It is the better witness: on overlays, files have other devices than their folders.
    mount: Option<u64>,
}

impl Home {
    pub(super) fn device(self) -> u64 {
        self.device
    }

    pub(super) fn of(stat: &Statx) -> Self {
        let told = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self { device: device(stat), mount: told.then_some(stat.stx_mnt_id) }
    }

    /// Whether something lies on it.
    pub(super) fn has(self, stat: &Statx) -> bool {
        let other = Self::of(stat);
        match (self.mount, other.mount) {
            (Some(ours), Some(its)) => ours == its,
            _ => self.device == other.device,
        }
    }
}

fn device(stat: &Statx) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

fn nanos(time: StatxTimestamp) -> i128 {
    i128::from(time.tv_sec) * NANOS + i128::from(time.tv_nsec)
}

/// When it was made, where the file system tells.
pub(super) fn born_ns(stat: &Statx) -> Option<i128> {
    (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| nanos(stat.stx_btime))
}

/// What attributes say, but for a folder's tree.
pub(super) fn seen_of(stat: &Statx, home: Home) -> Seen {
    let kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile if home.has(stat) => Kind::File,
        FileType::RegularFile => Kind::Other("mount point"),
        FileType::Symlink => Kind::Other("symbolic link"),
        FileType::Fifo => Kind::Other("FIFO"),
        FileType::Socket => Kind::Other("socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Other("device"),
        FileType::Unknown => Kind::Other("something unknown"),
    };
    Seen {
        kind,
        device: device(stat),
        inode: stat.stx_ino,
        links: u64::from(stat.stx_nlink),
        owner_uid: stat.stx_uid,
        size: if kind == Kind::Folder { 0 } else { stat.stx_size },
        modified_ns: nanos(stat.stx_mtime),
        changed_ns: nanos(stat.stx_ctime),
        tree: None,
    }
}

/// What a name is, of a folder with its tree.
pub(super) fn look_at(parent: impl AsFd, name: &OsStr, home: Home, reach: Reach) -> io::Result<Option<Seen>> {
    let Some(stat) = find(&parent, name)? else { return Ok(None) };
    let mut seen = seen_of(&stat, home);
    if seen.kind == Kind::Folder {
        let (tree, size) = if home.has(&stat) {
            tree::of(&parent, name, &seen, home, reach)
        } else {
            (Tree::hostile(format!("`{}` is a mount point: it lies on another file system", shown(name))), 0)
        };
        seen.tree = Some(tree);
        seen.size = size;
    }
    Ok(Some(seen))
}

/// A name from outside, for a sentence.
pub(super) fn shown(name: impl AsRef<OsStr>) -> String {
    common::shown::shown(&name.as_ref().to_string_lossy(), SHOWN_CHARS_MAX)
}

/// Whether a name at the top of the drop folder is a lane's.
fn is_lane(root: Root, name: &OsStr) -> bool {
    root == Root::Top && LANES.iter().any(|lane| name == *lane)
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl Lanes {
    pub(super) fn root(&self, root: Root) -> &OwnedFd {
        match root {
            Root::Top => &self.top,
            Root::Incoming => &self.incoming,
        }
    }

    /// The name of a namespace's folder, if it can be one.
    pub(super) fn namespace_name(root: Root, namespace: &str) -> io::Result<&OsStr> {
        let name = OsStr::new(namespace);
        if is_lane(root, name) || namespace_of(name).is_none() {
            return Err(refused(format!("`{}` can't be a namespace", shown(name))));
        }
        Ok(name)
    }

    /// The folder that something lies in, to reach it by its name. Fails for what can't be a name there.
    pub(super) fn folder_of(&self, place: &Place) -> io::Result<OwnedFd> {
        let top = place.namespace.is_none();
        if !is_segment(&place.name) || (top && is_lane(place.root, &place.name)) {
            return Err(refused(format!("`{}` is not an item's name", shown(&place.name))));
        }
        match &place.namespace {
            Some(namespace) => enter(self.root(place.root), Self::namespace_name(place.root, namespace)?),
            None => Ok(self.root(place.root).try_clone()?),
        }
    }

    pub(super) fn list_in(&self, root: Root, namespace: Option<&str>) -> io::Result<Vec<Entry>> {
        let name = namespace.map(|namespace| Self::namespace_name(root, namespace)).transpose()?;
        // Opened anew each time: a descriptor has one position for all who list by it.
        let folder = match name {
            Some(name) => open_folder(self.root(root), name)?,
            None => reopen(self.root(root))?,
        };
        let mut names: Vec<OsString> = Vec::new();
        each_name(&folder, |name| {
            let place = Place { root, namespace: namespace.map(str::to_owned), name: name.to_owned() };
            if place.kind() != NameKind::Ignored {
                names.push(place.name);
            }
            true
        })?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            match look_at(&folder, &name, self.home, Reach::of(namespace)) {
                Ok(Some(seen)) => entries.push(Entry { name, seen }),
                // It has gone since.
                Ok(None) => {}
                // Nothing in the folder can be reached.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                // A network file system may lose one for a moment: it hides no others.
                Err(error) => {
                    tracing::debug!(%error, name = shown(&name), "a name in the drop folder can't be looked at")
                }
            }
        }
        Ok(entries)
    }

    pub(super) fn look_in(&self, place: &Place) -> io::Result<Option<Seen>> {
        let folder = match self.folder_of(place) {
            Ok(folder) => folder,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if place.name.as_bytes().len() > self.name_octets_max {
            return Ok(None);
        }
        look_at(&folder, &place.name, self.home, Reach::of(place.namespace.as_deref()))
    }
}

/// The same folder, with a position of its own.
pub(super) fn reopen(folder: &OwnedFd) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    Ok(openat(folder, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether an error says that a folder on the way is not there, or no longer a folder.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
