//! What is in a folder, within bounds. Knows files and the marks of names; refuses to know versions.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::ingest::lanes::beneath::{each_name, find, open_folder, stat_fd};
use crate::ingest::lanes::look::{Home, born_ns, is_gone, reopen, seen_of, shown};
use crate::ingest::lanes::{Kind, Seen, Tree};
use crate::ingest::names::{NAMESPACE, NameKind, kind_within, namespace_of};

/// Most files of a folder that is one version.
pub const FILES_MAX: u64 = 1000;
/// Most files and folders in it, whatever they are.
pub const ENTRIES_MAX: usize = 4000;
/// How deep a file may lie in it: one right in the folder has depth 1.
pub const DEPTH_MAX: usize = 32;

/// What a folder may be where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In a watched folder: a version or a namespace.
    Open,
    /// In a namespace, or taken: a version.
    Version,
}

impl Reach {
    pub(super) fn of(namespace: Option<&str>) -> Self {
        if namespace.is_some() { Self::Version } else { Self::Open }
    }
}

/// Something in a folder.
pub(super) struct Found<'a> {
    /// The folder right above it.
    pub(super) parent: &'a OwnedFd,
    /// Its path in the whole.
    pub(super) path: &'a Path,
    /// Its name.
    pub(super) name: &'a OsStr,
    /// What it is.
    pub(super) seen: &'a Seen,
    /// When it was made, nanoseconds since the epoch, where the file system tells.
    pub(super) born_ns: Option<i128>,
}

/// Why a walk ended early.
pub(super) enum Stop {
    /// The folder can't be taken in: the sentence says why.
    Hostile(String),
    /// The file system failed.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Shows all that is in a folder, each folder before what is in it, sorted within a folder. What goes or is swapped meanwhile
/// is left out: the next look shows it.
pub(super) fn walk(
    folder: &OwnedFd,
    home: Home,
    each: &mut dyn FnMut(&Found<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    walk_below(folder, Path::new(""), 1, home, &mut ENTRIES_MAX.clone(), each)
}

fn walk_below(
    folder: &OwnedFd,
    path: &Path,
    depth: usize,
    home: Home,
    left: &mut usize,
    each: &mut dyn FnMut(&Found<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut names: Vec<OsString> = Vec::new();
    each_name(folder, |name| {
        names.push(name.to_owned());
        names.len() <= *left
    })?;
    let Some(rest) = left.checked_sub(names.len()) else {
        return Err(Stop::Hostile(format!("there are more than {ENTRIES_MAX} files and folders in it")));
    };
    *left = rest;
    if depth > DEPTH_MAX && !names.is_empty() {
        return Err(Stop::Hostile(format!("its folders are nested deeper than {DEPTH_MAX}")));
    }
    names.sort_unstable();
    for name in names {
        let path = path.join(&name);
        let stat = match find(folder, &name) {
            Ok(Some(stat)) => stat,
            Ok(None) => continue,
            Err(error) => return Err(unreachable(path.parent().unwrap_or(Path::new("")), error)),
        };
        let seen = seen_of(&stat, home);
        each(&Found { parent: folder, path: &path, name: &name, seen: &seen, born_ns: born_ns(&stat) })?;
        if seen.kind != Kind::Folder {
            continue;
        }
        match open_folder(folder, &name) {
            Ok(below) => walk_below(&below, &path, depth + 1, home, left, each)?,
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(unreachable(&path, error)),
        }
    }
    Ok(())
}

/// Why a folder can't be walked; of the whole, the path is empty.
fn unreachable(path: &Path, error: io::Error) -> Stop {
    let below = if path == Path::new("") { String::new() } else { format!(" `{}` in it", shown(path)) };
    match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => Stop::Hostile(format!("the folder{below} lies on another file system")),
        Some(Errno::ACCESS | Errno::PERM) => Stop::Hostile(format!(
            "the daemon may not read the folder{below}: let its group read and enter it (chmod g+rx)"
        )),
        _ => Stop::Io(io::Error::new(error.kind(), format!("the folder{below}: {error}"))),
    }
}

impl Tree {
    /// Of a folder that can't be taken in, whatever is in it.
    pub(super) fn hostile(why: String) -> Self {
        Self { hostile: Some(why), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            files: 0,
            folders: 0,
            print: [0; 32],
            marked: false,
            namespace: false,
            sealed: false,
            unfinished: None,
            hostile: None,
        }
    }
}

/// The tree of a folder, and the octets of all files in it. What can't be read is hostile where its owner can mend it; where
/// the file system fails, it is unfinished: one folder does not hide those beside it.
pub(super) fn of(parent: impl AsFd, name: &OsStr, own: &Seen, home: Home, reach: Reach) -> (Tree, u64) {
    match gather(parent, name, own, home, reach) {
        Ok(found) => found,
        Err(Stop::Hostile(why)) => (Tree::hostile(why), 0),
        Err(Stop::Io(error)) => (Tree { unfinished: Some(error.to_string()), ..Tree::empty() }, 0),
    }
}

fn gather(parent: impl AsFd, name: &OsStr, own: &Seen, home: Home, reach: Reach) -> Result<(Tree, u64), Stop> {
    let folder = match open_folder(&parent, name) {
        Ok(folder) => folder,
        // Swapped since it was looked at: the next look shows what it is.
        Err(error) if is_gone(&error) => return Ok((Tree::empty(), 0)),
        Err(error) => return Err(unreachable(Path::new(""), error)),
    };
    let says_namespace = says_namespace(&folder, home).map_err(|error| unreachable(Path::new(""), error))?;
    if says_namespace && reach == Reach::Open {
        // What is in a namespace is listed for itself, and may be much.
        let hostile = namespace_of(name).is_none().then(|| {
            format!(
                "`{}` can't be a namespace: its name is to be of letters, digits, `.`, `_` and `-`, beginning with a \
                 letter or digit",
                shown(name)
            )
        });
        return Ok((Tree { namespace: true, hostile, ..Tree::empty() }, 0));
    }
    let born_ns = born_ns(&stat_fd(&folder).map_err(|error| unreachable(Path::new(""), error))?);
    let mut gathered = Gathered::of(own, born_ns);
    gathered.tree.namespace = says_namespace;
    match walk(&folder, home, &mut |found| gathered.add(found)) {
        Ok(()) => {}
        Err(Stop::Hostile(why)) => gathered.tree.hostile = Some(why),
        Err(Stop::Io(error)) => return Err(Stop::Io(error)),
    }
    if says_namespace && gathered.tree.hostile.is_none() {
        gathered.tree.hostile =
            Some(format!("`{NAMESPACE}` says that it is a namespace, but it lies in one: there are no deeper ones"));
    }
    Ok(gathered.end())
}

/// Whether a folder holds the marker of a namespace, in any case of its letters.
fn says_namespace(folder: &OwnedFd, home: Home) -> io::Result<bool> {
    let is_file = |name: &OsStr| -> io::Result<bool> {
        Ok(find(folder, name)?.is_some_and(|marker| seen_of(&marker, home).kind == Kind::File))
    };
    if is_file(OsStr::new(NAMESPACE))? {
        return Ok(true);
    }
    let (mut marker, mut seen) = (None, 0);
    each_name(reopen(folder)?, |name| {
        seen += 1;
        if kind_within(name) == NameKind::Namespace {
            marker = Some(name.to_owned());
        }
        marker.is_none() && seen <= ENTRIES_MAX
    })?;
    marker.map_or(Ok(false), |name| is_file(&name))
}

struct Gathered<'a> {
    own: &'a Seen,
    tree: Tree,
    size: u64,
    print: Sha256,
    /// The folder itself, under an empty path, and those in it.
    folders: BTreeMap<PathBuf, Times>,
}

/// When a folder changed, and what is right in it.
struct Times {
    modified_ns: i128,
    changed_ns: i128,
    /// When it was made, where the file system tells.
    born_ns: Option<i128>,
    /// When the newest of the files right in it changed.
    newest_file_ns: i128,
    is_empty: bool,
}

impl Times {
    fn of(folder: &Seen, born_ns: Option<i128>) -> Self {
        let Seen { modified_ns, changed_ns, .. } = *folder;
        Self { modified_ns, changed_ns, born_ns, newest_file_ns: i128::MIN, is_empty: true }
    }

    /// Whether a program set its time of modification after all files right in it were there. It did if that time lies before
    /// the folder was made: what is put into a folder sets it later, and a change of mode, owner or name leaves it alone.
    /// Nothing says it of an empty one: it may have been made so, to be filled.
    fn is_closed(&self) -> bool {
        let was_set = self.born_ns.is_some_and(|born_ns| self.modified_ns < born_ns);
        !self.is_empty && was_set && self.changed_ns >= self.newest_file_ns
    }
}

impl<'a> Gathered<'a> {
    fn of(own: &'a Seen, born_ns: Option<i128>) -> Self {
        let folders = BTreeMap::from([(PathBuf::new(), Times::of(own, born_ns))]);
        Self { own, tree: Tree::empty(), size: 0, print: Sha256::new(), folders }
    }

    fn add(&mut self, found: &Found<'_>) -> Result<(), Stop> {
        let Found { path, name, seen, born_ns, .. } = *found;
        let kind = kind_within(name);
        if kind == NameKind::Ignored && seen.kind == Kind::File {
            return Ok(());
        }
        let told = shown(path);
        let octets = path.as_os_str().as_bytes();
        self.print.update((octets.len() as u64).to_be_bytes());
        self.print.update(octets);
        self.print.update([match seen.kind {
            Kind::File => 0,
            Kind::Folder => 1,
            Kind::Other(_) => 2,
        }]);
        for number in [seen.device, seen.inode, seen.links, u64::from(seen.owner_uid), seen.size] {
            self.print.update(number.to_be_bytes());
        }
        for time in [seen.modified_ns, seen.changed_ns] {
            self.print.update(time.to_be_bytes());
        }
        if let Some(parent) = path.parent().and_then(|parent| self.folders.get_mut(parent)) {
            parent.is_empty = false;
            if seen.kind != Kind::Folder {
                parent.newest_file_ns = parent.newest_file_ns.max(seen.changed_ns);
            }
        }
        if seen.kind == Kind::Folder {
            self.folders.insert(path.to_owned(), Times::of(seen, born_ns));
        }
        if seen.owner_uid != self.own.owner_uid {
            return Err(Stop::Hostile(format!(
                "`{told}` in it belongs to uid {}, the folder to uid {}: one owner is to answer for all of it",
                seen.owner_uid, self.own.owner_uid
            )));
        }
        match seen.kind {
            Kind::Other(what) => {
                return Err(Stop::Hostile(format!("`{told}` in it is a {what}: only files and folders are taken in")));
            }
            Kind::File if seen.links > 1 => {
                return Err(Stop::Hostile(format!(
                    "`{told}` in it has {} hard links: it could be changed under another name",
                    seen.links
                )));
            }
            Kind::File | Kind::Folder => {}
        }
        match kind {
            NameKind::Complete | NameKind::Namespace if seen.kind == Kind::File => {
                self.tree.marked |= kind == NameKind::Complete && path.parent() == Some(Path::new(""));
            }
            NameKind::Temporary => {
                self.tree.unfinished.get_or_insert(told);
            }
            _ if seen.kind == Kind::File => {
                self.tree.files += 1;
                self.size = self.size.saturating_add(seen.size);
                if self.tree.files > FILES_MAX {
                    return Err(Stop::Hostile(format!("there are more than {FILES_MAX} files in it")));
                }
            }
            _ if seen.kind == Kind::Folder => self.tree.folders += 1,
            _ => {}
        }
        Ok(())
    }

    fn end(self) -> (Tree, u64) {
        // A program that sets a folder's time of modification does so when all is in it. rsync sets those of the folders in it
        // later than its own, but each after the files in that one, and has made them all by then.
        let sealed = self.folders.values().all(Times::is_closed);
        (Tree { print: self.print.finalize().into(), sealed, ..self.tree }, self.size)
    }
}

/// The files of a folder that are artifacts, by path; the error says what is in the way.
pub(super) fn artifacts(folder: &OwnedFd, own: &Seen, home: Home) -> Result<Vec<PathBuf>, Stop> {
    let mut gathered = Gathered::of(own, None);
    let mut files = Vec::new();
    walk(folder, home, &mut |found| {
        gathered.add(found)?;
        let not_artifact =
            matches!(kind_within(found.name), NameKind::Complete | NameKind::Namespace | NameKind::Ignored);
        if found.seen.kind == Kind::File && !not_artifact {
            files.push(found.path.to_owned());
        }
        Ok(())
    })?;
    files.sort_unstable();
    Ok(files)
}
