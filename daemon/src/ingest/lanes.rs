//! The drop folder on disk. Every call goes by descriptors of the lanes (openat2 with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`,
//! `RESOLVE_NO_XDEV`), nothing is followed, and nothing but regular files and folders is ever opened. Knows files; refuses to
//! know models, users and clocks.
//!
//! ```text
//! <dir>/            watched, too
//!   incoming/       watched; <namespace>/ in either
//!   processing/     0700: <slot>/<name> and its sidecars, until they are decided
//!   done/<date>/    [<namespace>/]<name>, <name>.receipt.json
//!   rejected/<date>/ [<namespace>/]<name>, <name>.rejected.json
//! ```
//!
//! A slot is called by its item's id, and by where the item came from where that is not `incoming/` itself
//! (`<item>[.top][.sidecar][+<namespace>]`): a restart finds all of it in the name.
//!
//! All calls block; all may be made from any thread.

mod beneath;
mod finish;
pub mod lease;
mod look;
mod read;
mod take;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::name::{ArtifactPath, ItemId};
use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat, fstatfs, fstatvfs, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use self::finish::DOCUMENT_OCTETS_MAX;
pub use self::tree::{DEPTH_MAX, ENTRIES_MAX, FILES_MAX};

use self::beneath::{make_folder, names, open_folder, stat_fd};
use self::look::Home;
use self::take::Taken;
use crate::ingest::names::{NAMESPACE, NameKind, Place, Root, kind_of, namespace_of};
use crate::ingest::settle::Writer;

/// Watched: where things are dropped.
const INCOMING: &str = "incoming";
/// What was taken and is not yet decided.
const PROCESSING: &str = "processing";
/// What became versions.
pub(crate) const DONE: &str = "done";
/// What was refused.
const REJECTED: &str = "rejected";
/// The lock where the file system locks no folders (NFS); in `processing/`.
const LOCK: &str = ".lock";
/// Made and removed at a start, in `processing/`: whose it is, is what is the daemon's own.
const PROBE: &str = ".probe";

/// Mode of folders that people drop into, when made: their group writes, what is made in them has their group, and nobody but
/// its owner and the daemon moves or removes anything: neither another's file, nor a lane.
const MODE_DROP: u32 = 0o3770;
/// Mode of `done/`, `rejected/` and the folders in them, when made.
const MODE_ENDED: u32 = 0o2750;
/// What of a mode mkdir(2) takes: the set-group-ID bit comes from the parent.
const MODE_ASKED: u32 = 0o1777;
/// Mode of `processing/` and the folders in it: nobody else enters.
const MODE_PROCESSING: u32 = 0o700;
/// Mode of receipts, problem documents and markers.
const MODE_DOCUMENT: u32 = 0o640;

/// Longest name that a folder can hold, in octets, whatever the file system says (Linux, `NAME_MAX`).
const NAME_OCTETS_MAX: usize = 255;

/// File systems whose changes by others the kernel doesn't tell (statfs(2), linux/magic.h): 9P, AFS, BeeGFS, Ceph, CIFS, Coda,
/// FUSE (virtiofs, sshfs, GlusterFS), GFS2, GPFS, Lustre, NCP, NFS, OCFS2, SMB, SMB2, VirtualBox's, Parallels'.
const REMOTE: [u32; 17] = [
    0x0102_1997,
    0x5346_414f,
    0x1983_0326,
    0x00c3_6400,
    0xff53_4d42,
    0x7375_7245,
    0x6573_5546,
    0x0116_1970,
    0x4750_4653,
    0x0bd0_0bd0,
    0x0000_564c,
    0x0000_6969,
    0x7461_636f,
    0x0000_517b,
    0xfe53_4d42,
    0x786f_4256,
    0x7c7c_6673,
];

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, FIFO, socket or device: never followed, never opened. The word says which.
    Other(&'static str),
}

/// What a look shows of something, without opening it. Equal looks mean that nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Hard links to it.
    pub links: u64,
    /// The user it belongs to.
    pub owner_uid: u32,
    /// Octets; of all files in a folder.
    pub size: u64,
    /// When its content last changed, nanoseconds since the epoch.
    pub modified_ns: i128,
    /// When anything about it last changed, nanoseconds since the epoch.
    pub changed_ns: i128,
    /// Of a folder: what is in it.
    pub tree: Option<Tree>,
}

/// What is in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Regular files, markers left out.
    pub files: u64,
    /// Folders, however deep.
    pub folders: u64,
    /// SHA-256 over path, inode, size and times of everything in it.
    pub print: [u8; 32],
    /// Whether a marker says that it is complete.
    pub marked: bool,
    /// Whether a marker says that it is a namespace.
    pub namespace: bool,
    /// Whether a program set the times of it and of every folder in it, each when all files right in that were written.
    pub sealed: bool,
    /// Something unfinished in it, if there is.
    pub unfinished: Option<String>,
    /// Something in it that can't be taken in, with the reason, if there is.
    pub hostile: Option<String>,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub seen: Seen,
}

/// A file of a taken item, open for reading.
pub struct TakenFile {
    /// Its path in the version.
    pub path: Result<ArtifactPath, (String, String)>,
    /// The file.
    pub file: File,
    /// What it was when it was opened.
    pub seen: Seen,
}

/// Why something was not taken.
#[derive(Debug)]
pub enum TakeError {
    /// It is no longer there, or has changed since it was looked at.
    Changed,
    /// It can't be taken at all; the sentence says why and what to do.
    Refused(String),
    /// The file system failed.
    Io(io::Error),
}

/// File systems with one journal, in which a change of names is never durable before an earlier one (statfs(2)): ext4 and XFS. A
/// sync of a folder there makes all durable that was renamed before its last change, so that one sync does for many.
const ORDERED: [u32; 2] = [0x0000_ef53, 0x5846_5342];

/// The folder's lanes, locked for this process.
pub struct Lanes {
    dir: PathBuf,
    top: OwnedFd,
    incoming: OwnedFd,
    /// Carries the lock where folders can be locked.
    processing: OwnedFd,
    done: OwnedFd,
    rejected: OwnedFd,
    /// Carries the lock where they can't.
    _lock: Option<OwnedFd>,
    home: Home,
    /// Whose is what the daemon makes here. Some file systems give all to one user (CIFS), or root's to nobody (NFS).
    own_uid: u32,
    name_octets_max: usize,
    /// Whether the file system is one of [`ORDERED`].
    ordered: bool,
    /// Whether a lease that is granted says that nobody writes: not where others may write on another machine. FUSE grants
    /// leases from Linux 6.18 on, and knows of local writers only.
    leases_tell: bool,
    /// What `sync_taken` has to make durable. Held only to add and to take away.
    taken: Mutex<Taken>,
}

/// Whether lanes that are missing are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Refuse,
}

impl Lanes {
    /// Opens them, makes what is missing, and locks the folder.
    ///
    /// # Errors
    /// `WouldBlock`: another daemon has it. Else what the file system says, with the path.
    pub fn open(dir: &Path) -> io::Result<Self> {
        if !dir.is_dir() {
            DirBuilder::new().mode(MODE_DROP & MODE_ASKED).create(dir).map_err(told(dir))?;
            set_mode(&open_dir(dir).map_err(told(dir))?, MODE_DROP).map_err(told(dir))?;
        }
        Self::open_as(dir, Missing::Make)
    }

    /// The same for a folder that has gone and come back while the daemon ran: makes nothing, so that nothing is dropped into
    /// the empty folder below a mount that is away.
    ///
    /// # Errors
    /// As [`Self::open`], and `NotFound` while a lane is missing.
    pub fn open_again(dir: &Path) -> io::Result<Self> {
        Self::open_as(dir, Missing::Refuse)
    }

    fn open_as(dir: &Path, missing: Missing) -> io::Result<Self> {
        let top = open_dir(dir).map_err(told(dir))?;
        let stat = stat_fd(&top).map_err(told(dir))?;
        let home = Home::of(&stat);
        let lane = |name: &str, mode: u32| {
            let open = || {
                if missing == Missing::Make && make_folder(&top, OsStr::new(name), mode & MODE_ASKED)? {
                    set_mode(&open_folder(&top, name)?, mode)?;
                }
                open_folder(&top, name)
            };
            open().map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::XDEV) => io::Error::other(format!(
                    "{}: lies on another file system than the drop folder, so that nothing could be renamed into it",
                    dir.join(name).display()
                )),
                _ => told(&dir.join(name))(error),
            })
        };
        let incoming = lane(INCOMING, MODE_DROP)?;
        let processing = lane(PROCESSING, MODE_PROCESSING)?;
        let done = lane(DONE, MODE_ENDED)?;
        let rejected = lane(REJECTED, MODE_ENDED)?;
        let at_processing = dir.join(PROCESSING);
        let lock = lock(&processing).map_err(told(&at_processing))?;
        let mode = u32::from(stat_fd(&processing).map_err(told(&at_processing))?.stx_mode) & 0o7777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                path = %at_processing.display(),
                mode = %format_args!("{mode:04o}"),
                "others could enter the folder of what is being taken in: its mode is made 0700"
            );
            set_mode(&processing, MODE_PROCESSING).map_err(told(&at_processing))?;
        }
        let remote = is_of(&processing, &REMOTE).unwrap_or(true);
        for (name, lane) in [(PROCESSING, &processing), (DONE, &done), (REJECTED, &rejected)] {
            owned(lane, remote).map_err(told(&dir.join(name)))?;
        }
        let own_uid = own_uid(&processing).map_err(told(&at_processing))?;
        let system = fstatvfs(&top).map_err(io::Error::from).map_err(told(dir))?;
        let name_octets_max = usize::try_from(system.f_namemax).unwrap_or(NAME_OCTETS_MAX).min(NAME_OCTETS_MAX);
        let ordered = is_of(&processing, &ORDERED).unwrap_or(false);
        beneath::sync(&top).map_err(told(dir))?;
        let leases_tell = !is_of(&incoming, &REMOTE).unwrap_or(true);
        Ok(Self {
            dir: dir.to_owned(),
            top,
            incoming,
            processing,
            done,
            rejected,
            _lock: lock,
            home,
            own_uid,
            name_octets_max,
            ordered,
            leases_tell,
            taken: Mutex::default(),
        })
    }

    /// The device that they lie on.
    pub fn device(&self) -> u64 {
        self.home.device()
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the path still leads to the folder that was opened, and the lanes still lie in it: not so when it was unmounted,
    /// mounted over, moved or removed.
    ///
    /// # Errors
    /// Says what is not there.
    pub fn check(&self) -> io::Result<()> {
        let same = |fd: &OwnedFd, path: &Path| {
            let there = open_dir(path).and_then(|there| stat_fd(&there)).map_err(told(path))?;
            let ours = stat_fd(fd)?;
            let is = |stat: &rustix::fs::Statx| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
            if is(&there) == is(&ours) && Home::of(&ours).has(&there) {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{}: is no longer the folder that it was", path.display()),
            ))
        };
        same(&self.top, &self.dir)?;
        let lanes = [&self.incoming, &self.processing, &self.done, &self.rejected];
        [INCOMING, PROCESSING, DONE, REJECTED]
            .iter()
            .zip(lanes)
            .try_for_each(|(name, fd)| same(fd, &self.dir.join(name)))
    }

    /// The path of a watched folder or a namespace in it, for the kernel's watch.
    pub fn path_of(&self, root: Root, namespace: Option<&str>) -> PathBuf {
        let root = match root {
            Root::Top => self.dir.clone(),
            Root::Incoming => self.dir.join(INCOMING),
        };
        match namespace {
            Some(namespace) => root.join(namespace),
            None => root,
        }
    }

    /// Whether the file system is one whose changes by others the kernel doesn't tell (NFS, CIFS, FUSE, 9P).
    pub fn is_remote(&self) -> bool {
        // Where the kernel doesn't answer, walks are the safe guess.
        is_of(&self.incoming, &REMOTE).unwrap_or(true)
    }

    /// Says that others may write on other machines, whatever the file system is called: a lease is no proof then.
    #[must_use]
    pub fn written_elsewhere(self) -> Self {
        Self { leases_tell: false, ..self }
    }

    /// What is in a watched folder or a namespace, lanes and ignored names left out; folders with their trees.
    ///
    /// # Errors
    /// `NotFound`: the namespace's folder is gone. `InvalidInput`: it can't be one. Else what the file system says.
    pub fn list(&self, root: Root, namespace: Option<&str>) -> io::Result<Vec<Entry>> {
        self.list_in(root, namespace)
    }

    /// One of them.
    ///
    /// # Errors
    /// `InvalidInput`: no item can be called so. Else what the file system says.
    pub fn look(&self, place: &Place) -> io::Result<Option<Seen>> {
        self.look_in(place)
    }

    /// Whether somebody has it open for writing: of a folder, any file in it. Takes a read lease and gives it back
    /// (fcntl(2), `F_SETLEASE`); unknown until [`lease::ignore_breaks`] was called.
    pub fn writer(&self, place: &Place) -> Writer {
        self.folder_of(place).map_or(Writer::Unknown, |folder| self.writer_at(&folder, &place.name))
    }

    /// Says in a folder that it is a namespace, for good.
    ///
    /// # Errors
    /// `DirectoryNotEmpty`: something has come into it since. `InvalidInput`: its name can't be a namespace's. Else what the
    /// file system says.
    pub fn mark_namespace(&self, place: &Place) -> io::Result<()> {
        if place.namespace.is_some() || namespace_of(&place.name).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{}` can't be a namespace", look::shown(&place.name)),
            ));
        }
        let folder = open_folder(self.folder_of(place)?, &place.name)?;
        if names(&folder)?.iter().any(|name| name != NAMESPACE) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        mark(&folder)
    }

    /// Makes the folder of a namespace, marked, if it is not there.
    ///
    /// # Errors
    /// `InvalidInput`: it can't be a namespace. Else what the file system says.
    pub fn make_namespace(&self, namespace: &str) -> io::Result<()> {
        self.namespace_at(Root::Incoming, namespace)
    }

    fn namespace_at(&self, root: Root, namespace: &str) -> io::Result<()> {
        let name = Self::namespace_name(root, namespace)?;
        let made = make_folder(self.root(root), name, MODE_DROP & MODE_ASKED)?;
        let folder = open_folder(self.root(root), name)?;
        if made {
            set_mode(&folder, MODE_DROP)?;
            beneath::sync(self.root(root))?;
        }
        mark(&folder)
    }

    /// Renames an item and its sidecars into `processing/<item>/`. `seen` is what was decided upon: if the item is no
    /// longer that, it stays. Durable only after `sync_taken`. What is not a file or a folder is taken in the same way: to be
    /// refused, unopened.
    ///
    /// # Errors
    /// Whatever it is, everything is where it was: but for a name that came into its place meanwhile; then what was taken lies
    /// beside it, as `<item>-<name>`.
    pub fn take(&self, item: ItemId, place: &Place, seen: &Seen, sidecars: &[OsString]) -> Result<(), TakeError> {
        self.take_in(item, place, seen, sidecars)
    }

    /// Makes all takes so far durable.
    ///
    /// # Errors
    /// What the file system says; the next call tries the same again.
    pub fn sync_taken(&self) -> io::Result<()> {
        self.sync_slots()
    }

    /// The items in `processing/`, with where they came from, in the order of their ids. What a crash left half taken (a
    /// sidecar without its item, an empty folder) is put back or removed. To be called before anything is taken.
    ///
    /// # Errors
    /// What the file system says.
    pub fn taken(&self) -> io::Result<Vec<(ItemId, Place)>> {
        self.slots()
    }

    /// What a taken item is now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn look_taken(&self, item: ItemId, place: &Place) -> io::Result<Option<Seen>> {
        self.look_in_slot(item, place)
    }

    /// The same as `writer`, of a taken item.
    pub fn writer_taken(&self, item: ItemId, place: &Place) -> Writer {
        self.slot(item, place).map_or(Writer::Unknown, |slot| self.writer_at(&slot, &place.name))
    }

    /// The files of a taken item, in the order of their paths: of a file its own name, of a folder all that are artifacts.
    ///
    /// # Errors
    /// `Refused`: something in it is not a regular file with one name, or can't be read. `Changed`: it is gone, or something
    /// unfinished is in it.
    pub fn files(&self, item: ItemId, place: &Place) -> Result<Vec<PathBuf>, TakeError> {
        self.files_of(item, place)
    }

    /// Opens one of them.
    ///
    /// # Errors
    /// As [`Self::files`]; `Changed` also if it was swapped while it was opened.
    pub fn open_file(&self, item: ItemId, place: &Place, path: &Path) -> Result<TakenFile, TakeError> {
        self.open_taken(item, place, path)
    }

    /// The names of what was taken along with an item, whatever the case of their endings.
    ///
    /// # Errors
    /// What the file system says.
    pub fn taken_along(&self, item: ItemId, place: &Place) -> io::Result<Vec<OsString>> {
        let of = |name: &OsString| match kind_of(name) {
            NameKind::Sidecar(of) | NameKind::Checksum(of) => of == place.name,
            _ => false,
        };
        let mut all = names(open_folder(&self.processing, take::slot_name(item, place))?)?;
        all.retain(of);
        Ok(all)
    }

    /// A sidecar that was taken along, at most so many octets of it; none if there is no such sidecar.
    ///
    /// # Errors
    /// `Refused`: it is longer, not a regular file with one name, or can't be read.
    pub fn sidecar(
        &self,
        item: ItemId,
        place: &Place,
        name: &OsString,
        octets_max: u64,
    ) -> Result<Option<(Vec<u8>, Seen)>, TakeError> {
        self.read_sidecar(item, place, name, octets_max)
    }

    /// Ends an item that became a version: writes the receipt, moves the item to `done/<date>/` or removes it, and removes its
    /// place in `processing/`; all durable on return. May be repeated after a crash anywhere in it. Gives where the item
    /// lies now, below the drop folder; without `keep`, where its receipt lies.
    ///
    /// Without `keep`, what changed after it was taken is kept all the same, as far as that can be told: only what was committed
    /// is removed.
    ///
    /// # Errors
    /// `InvalidInput`: the receipt doesn't name the item as its `item`, or the date is none. Else what the file system says.
    pub fn finish(&self, item: ItemId, place: &Place, receipt: &[u8], date: &str, keep: bool) -> io::Result<PathBuf> {
        self.end(finish::Lane::Done, item, place, receipt, date, keep)
    }

    /// Ends an item that was refused: writes the document, moves the item to `rejected/<date>/`. As `finish` otherwise.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn reject(&self, item: ItemId, place: &Place, document: &[u8], date: &str) -> io::Result<PathBuf> {
        self.end(finish::Lane::Rejected, item, place, document, date, true)
    }

    /// Brings a refused item back into `processing/<item>/`, from where `reject` left it; its document goes. May be repeated
    /// after a crash anywhere in it.
    ///
    /// # Errors
    /// `Changed`: it is no longer there. `Refused`: `lies` is no such place.
    pub fn readmit(&self, item: ItemId, place: &Place, lies: &Path) -> Result<(), TakeError> {
        self.bring_back(item, place, lies)
    }

    /// Puts another document in the place of a refused item's, durably; `change` makes it of the one that is there, or none. Where
    /// there is no document any more nothing is done.
    ///
    /// # Errors
    /// `InvalidInput`: `lies` is no place in `rejected/`, or the document is too long. Else what the file system says.
    pub fn amend(
        &self,
        item: ItemId,
        place: &Place,
        lies: &Path,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> io::Result<()> {
        self.amend_document(item, place, lies, change)
    }

    /// Writes the document of an item that is refused and can't be moved, durably, to where it would lie beside it. One of the same
    /// item is replaced, so that it may be repeated. Gives the item's path there, at which nothing lies.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn note(&self, item: ItemId, place: &Place, document: &[u8], date: &str) -> io::Result<PathBuf> {
        self.note_document(item, place, document, date)
    }

    /// Removes the document that `note` wrote, if it is there: the item was moved after all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn withdraw(&self, item: ItemId, place: &Place, lies: &Path) -> io::Result<()> {
        self.withdraw_document(item, place, lies)
    }

    /// The refused items that lie there, newest day first, at most so many: each with its document.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rejected(&self, limit: usize) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        self.list_rejected(limit)
    }

    /// Octets free on the folder's file system.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&self.processing)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

/// Whether a folder's file system is one of these, by its number.
fn is_of(folder: &OwnedFd, magics: &[u32]) -> io::Result<bool> {
    // The numbers are of 32 bits, whatever the field is.
    let kind = i128::from(fstatfs(folder)?.f_type) & 0xffff_ffff;
    Ok(magics.iter().any(|magic| kind == i128::from(*magic)))
}

/// Says which path an error is of.
fn told(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A folder by its path, links in it followed: what leads to the drop folder is the operator's.
fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(rustix::fs::CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Gives a folder its mode, unless it has it: where nobody may ask for the set-group-ID bit (systemd's
/// `RestrictSUIDSGID=`), the folder has it from its parent.
fn set_mode(folder: &OwnedFd, mode: u32) -> io::Result<()> {
    if Mode::from_raw_mode(fstat(folder)?.st_mode) == Mode::from_raw_mode(mode) {
        return Ok(());
    }
    Ok(fchmod(folder, Mode::from_raw_mode(mode))?)
}

/// Puts the marker of a namespace into a folder, if it is not there.
fn mark(folder: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, NAMESPACE, flags, Mode::from_raw_mode(MODE_DOCUMENT)) {
        Ok(_) => beneath::sync(folder),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a lane that somebody else made: its owner may change all that lies in it. Where owners are what a server says, they
/// say nothing.
fn owned(lane: &OwnedFd, remote: bool) -> io::Result<()> {
    let (owner, own) = (stat_fd(lane)?.stx_uid, geteuid().as_raw());
    if remote || owner == own || owner == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("belongs to the user {owner}, who could change what lies in it: give it to the user {own} (chown)"),
    ))
}

/// Whose it is what the daemon makes in a folder.
fn own_uid(folder: &OwnedFd) -> io::Result<u32> {
    make_folder(folder, OsStr::new(PROBE), MODE_PROCESSING)?;
    let probe = beneath::stat(folder, OsStr::new(PROBE))?;
    beneath::remove_folder(folder, OsStr::new(PROBE))?;
    Ok(probe.stx_uid)
}

/// Locks the folder of what was taken, for as long as its descriptor (or the one given back) is open.
fn lock(processing: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let taken = || io::Error::new(io::ErrorKind::WouldBlock, "another daemon takes in from this drop folder");
    match flock(processing, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => return Err(taken()),
        // NFS locks only what is open for writing, which no folder is.
        Err(_) => {}
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(processing, LOCK, flags, Mode::from_raw_mode(0o600))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Err(taken()),
        Err(error) => Err(error.into()),
    }
}

/// Between two steps of a sequence that a crash may cut: tests cut it here.
fn step() {
    #[cfg(test)]
    tests::step();
}

#[cfg(test)]
mod tests;
