//! The drop folder on disk. Every call goes by descriptors of the lanes (openat2 with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`,
//! `RESOLVE_NO_XDEV`), nothing is followed, and nothing but regular files and folders is ever opened. Knows files; refuses to
//! know models, users and clocks.
//!
//! ```text
//! <dir>/            watched, too
//!   incoming/       watched; <namespace>/ in either
//!   processing/     0700: <item>/[<namespace>/]<name> and its sidecars, until they are decided
//!   done/<date>/    [<namespace>/]<name>, <name>.receipt.json
//!   rejected/<date>/ [<namespace>/]<name>, <name>.rejected.json
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use common::name::{ArtifactPath, ItemId};

use crate::ingest::names::{Place, Root};
use crate::ingest::settle::Writer;

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
    /// SHA-256 over path, inode, size and times of everything in it.
    pub print: [u8; 32],
    /// Whether a marker says that it is complete.
    pub marked: bool,
    /// Whether a marker says that it is a namespace.
    pub namespace: bool,
    /// Whether the folder's own attributes changed after everything in it: it was renamed, or a program set its times when
    /// all was written.
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

/// The folder's lanes, locked for this process.
pub struct Lanes {
    dir: PathBuf,
}

impl Lanes {
    /// Opens them, makes what is missing, and locks the folder.
    ///
    /// # Errors
    /// `WouldBlock`: another daemon has it. Else what the file system says, with the path.
    pub fn open(dir: &Path) -> io::Result<Self> {
        todo!("{dir:?}")
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of a watched folder or a namespace in it, for the kernel's watch.
    pub fn path_of(&self, root: Root, namespace: Option<&str>) -> PathBuf {
        todo!("{root:?} {namespace:?}")
    }

    /// Whether the file system is one whose changes by others the kernel doesn't tell (NFS, CIFS, FUSE, 9P).
    pub fn is_remote(&self) -> bool {
        todo!()
    }

    /// What is in a watched folder or a namespace, lanes and ignored names left out; folders with their trees.
    pub fn list(&self, root: Root, namespace: Option<&str>) -> io::Result<Vec<Entry>> {
        todo!("{root:?} {namespace:?}")
    }

    /// One of them.
    pub fn look(&self, place: &Place) -> io::Result<Option<Seen>> {
        todo!("{place:?}")
    }

    /// Whether somebody has it open for writing: of a folder, any file in it. Takes a read lease and gives it back
    /// (fcntl(2), `F_SETLEASE`).
    pub fn writer(&self, place: &Place) -> Writer {
        todo!("{place:?}")
    }

    /// Says in a folder that it is a namespace, for good.
    pub fn mark_namespace(&self, place: &Place) -> io::Result<()> {
        todo!("{place:?}")
    }

    /// Makes the folder of a namespace, marked, if it is not there.
    pub fn make_namespace(&self, namespace: &str) -> io::Result<()> {
        todo!("{namespace}")
    }

    /// Renames an item and its sidecars into `processing/<item>/`. `seen` is what was decided upon: if the item is no
    /// longer that, it stays. Durable only after `sync_taken`.
    pub fn take(&self, item: ItemId, place: &Place, seen: &Seen, sidecars: &[OsString]) -> Result<(), TakeError> {
        todo!("{item} {place:?} {seen:?} {sidecars:?}")
    }

    /// Makes all takes so far durable.
    pub fn sync_taken(&self) -> io::Result<()> {
        todo!()
    }

    /// The items in `processing/`, with where they came from. What a crash left half taken (a sidecar without its item, an
    /// empty folder) is put back or removed.
    pub fn taken(&self) -> io::Result<Vec<(ItemId, Place)>> {
        todo!()
    }

    /// What a taken item is now.
    pub fn look_taken(&self, item: ItemId, place: &Place) -> io::Result<Option<Seen>> {
        todo!("{item} {place:?}")
    }

    /// The same as `writer`, of a taken item.
    pub fn writer_taken(&self, item: ItemId, place: &Place) -> Writer {
        todo!("{item} {place:?}")
    }

    /// The files of a taken item, in the order of their paths, each opened when it is asked for.
    ///
    /// # Errors
    /// `Refused`: something in it is not a regular file with one name, or can't be read.
    pub fn files(&self, item: ItemId, place: &Place) -> Result<Vec<PathBuf>, TakeError> {
        todo!("{item} {place:?}")
    }

    /// Opens one of them.
    pub fn open_file(&self, item: ItemId, place: &Place, path: &Path) -> Result<TakenFile, TakeError> {
        todo!("{item} {place:?} {path:?}")
    }

    /// A sidecar that was taken along, at most so many octets of it.
    pub fn sidecar(
        &self,
        item: ItemId,
        place: &Place,
        name: &OsString,
        octets_max: u64,
    ) -> Result<Option<(Vec<u8>, Seen)>, TakeError> {
        todo!("{item} {place:?} {name:?} {octets_max}")
    }

    /// Ends an item that became a version: writes the receipt, moves the item to `done/<date>/` or removes it, and removes its
    /// place in `processing/`; all durable on return. May be repeated after a crash anywhere in it. Gives where the item
    /// lies now, below the drop folder; without `keep`, where its receipt lies.
    pub fn finish(&self, item: ItemId, place: &Place, receipt: &[u8], date: &str, keep: bool) -> io::Result<PathBuf> {
        todo!("{item} {place:?} {receipt:?} {date} {keep}")
    }

    /// Ends an item that was refused: writes the document, moves the item to `rejected/<date>/`. As `finish` otherwise.
    pub fn reject(&self, item: ItemId, place: &Place, document: &[u8], date: &str) -> io::Result<PathBuf> {
        todo!("{item} {place:?} {document:?} {date}")
    }

    /// Brings a refused item back into `processing/<item>/`, from where `reject` left it; its document goes.
    pub fn readmit(&self, item: ItemId, place: &Place, lies: &Path) -> Result<(), TakeError> {
        todo!("{item} {place:?} {lies:?}")
    }

    /// The refused items that lie there, newest day first, at most so many: each with its document.
    pub fn rejected(&self, limit: usize) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        todo!("{limit}")
    }

    /// Octets free on the folder's file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        todo!()
    }
}
