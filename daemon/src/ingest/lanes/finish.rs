//! How an item ends: beside its receipt in `done/`, or beside a problem document in `rejected/`, and back from there. Knows
//! names and the order of the steps; refuses to know what the documents say, but for the item in them.
//!
//! The steps, each harmless when done again:
//!
//! 1. the folders of the day and of the namespace
//! 2. the document, whole and durable, under a name that was free: from here on the name is this item's, and whoever comes
//!    again finds it by the item's id in it
//! 3. what lay beside the item, then the item: moved, or removed where it is not kept
//! 4. the slot
//!
//! Nothing is removed so that it could be durable before 2 is, and the slot not before 3.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use common::name::ItemId;
use rustix::fs::{FileType, Mode, OFlags, Statx, fchmod, openat, renameat};
use rustix::io::Errno;
use serde::Deserialize;

use crate::ingest::lanes::beneath::{
    enter, find, make_folder, names, open_file, open_folder, remove_folder, rename_new, stat, stat_fd, sync, unlink,
};
use crate::ingest::lanes::look::{born_ns, is_gone, reopen, seen_of};
use crate::ingest::lanes::take::{plain, slot_name};
use crate::ingest::lanes::tree::{DEPTH_MAX, Stop, walk};
use crate::ingest::lanes::{
    DONE, Kind, Lanes, MODE_ASKED, MODE_DOCUMENT, MODE_ENDED, MODE_PROCESSING, REJECTED, TakeError, mark, set_mode,
    step,
};
use crate::ingest::names::{CHECKSUM_SUFFIX, NAMESPACE, NameKind, Place, SIDECAR_SUFFIX, kind_of, namespace_of};

/// The longest receipt or problem document, in octets: a version of 1000 files is told in half of one MiB.
pub const DOCUMENT_OCTETS_MAX: u64 = 4 * 1024 * 1024;
/// What a receipt's name ends in.
const RECEIPT: &str = ".receipt.json";
/// What a problem document's name ends in.
const PROBLEM: &str = ".rejected.json";
/// Octets that stay free in a name for what is written behind it: the longest of both, and of the sidecars' endings.
const SUFFIX_OCTETS_MAX: usize = PROBLEM.len();
/// Names that are tried for something in one folder, before that is an error: the second has the item's id in it.
const BASES_MAX: usize = 8;
/// A date, as `2026-11-29`.
const DATE_OCTETS: usize = 10;

/// Where items end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Done,
    Rejected,
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Done => DONE,
            Self::Rejected => REJECTED,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Done => RECEIPT,
            Self::Rejected => PROBLEM,
        }
    }
}

/// The names that something may get where its own may be taken: that, `<item>-<name>`, `<item>-2-<name>` and so on, cut so
/// that the file system takes them with every ending.
pub(super) struct Bases<'a> {
    item: ItemId,
    name: &'a OsStr,
    octets_max: usize,
}

impl<'a> Bases<'a> {
    pub(super) fn of(item: ItemId, name: &'a OsStr, octets_max: usize) -> Self {
        Self { item, name, octets_max }
    }

    /// Names that have room for an ending.
    fn with_suffix(&self) -> impl Iterator<Item = OsString> {
        let room = self.octets_max.saturating_sub(SUFFIX_OCTETS_MAX);
        (0..BASES_MAX).filter_map(move |number| self.number(number, room))
    }

    /// Names without.
    pub(super) fn all(&self) -> impl Iterator<Item = OsString> {
        (0..BASES_MAX).filter_map(|number| self.number(number, self.octets_max))
    }

    fn number(&self, number: usize, room: usize) -> Option<OsString> {
        let prefix = match number {
            0 => return (self.name.as_bytes().len() <= room).then(|| self.name.to_owned()),
            1 => format!("{}-", self.item),
            _ => format!("{}-{number}-", self.item),
        };
        let mut octets = prefix.into_bytes();
        let rest = cut(self.name.as_bytes(), room.saturating_sub(octets.len()));
        octets.extend_from_slice(rest);
        Some(OsString::from_vec(octets))
    }
}

/// The first octets of a name; of one in UTF-8, whole characters.
fn cut(name: &[u8], octets_max: usize) -> &[u8] {
    let Some(cut) = name.get(..octets_max) else { return name };
    match (std::str::from_utf8(name), std::str::from_utf8(cut)) {
        (Ok(_), Err(error)) => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

fn with(base: &OsStr, suffix: impl AsRef<OsStr>) -> OsString {
    let mut name = base.to_owned();
    name.push(suffix);
    name
}

/// What every document says of its item.
#[derive(Deserialize)]
struct Named {
    item: Option<String>,
}

fn names_item(document: &[u8], item: ItemId) -> bool {
    serde_json::from_slice::<Named>(document)
        .is_ok_and(|named| named.item.is_some_and(|named| named == item.to_string()))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}

/// A folder of a day, or of a namespace in it.
struct Ended {
    folder: OwnedFd,
    /// Its path below the drop folder.
    path: PathBuf,
}

impl Lanes {
    /// Whether the daemon made it.
    fn is_ours(&self, stat: &Statx) -> bool {
        stat.stx_uid == self.own_uid
    }

    fn is_marked(&self, folder: &OwnedFd) -> io::Result<bool> {
        Ok(find(folder, OsStr::new(NAMESPACE))?.is_some_and(|marker| self.is_ours(&marker)))
    }

    fn lane(&self, lane: Lane) -> &OwnedFd {
        match lane {
            Lane::Done => &self.done,
            Lane::Rejected => &self.rejected,
        }
    }

    pub(super) fn end(
        &self,
        lane: Lane,
        item: ItemId,
        place: &Place,
        document: &[u8],
        date: &str,
        keep: bool,
    ) -> io::Result<PathBuf> {
        if !names_item(document, item) || document.len() as u64 > DOCUMENT_OCTETS_MAX {
            return Err(invalid("the document is not of this item, or too long"));
        }
        let ended = self.folder_of_day(lane, item, date, place.namespace.as_deref())?;
        let to = &ended.folder;
        let bases = Bases::of(item, &place.name, self.name_octets_max);
        unlink(to, &draft_name(item))?;
        let slot = match open_folder(&self.processing, slot_name(item, place)) {
            Ok(slot) => Some(slot),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(error),
        };
        let base = match self.claimed(to, &bases, lane, item)? {
            Some(base) => base,
            None => claim(to, &bases, lane, item, document)?,
        };
        // In one journal, nothing below can be durable before the document is.
        if !self.ordered || slot.is_none() {
            sync(to)?;
        }
        step();
        let mut lies = None;
        if let Some(slot) = &slot {
            lies = self.empty_slot(item, place, slot, to, &base, keep)?;
            if !self.ordered {
                sync(to)?;
            }
            step();
            remove_folder(&self.processing, OsStr::new(&slot_name(item, place)))?;
            step();
            sync(&self.processing)?;
        }
        let lies = match lies {
            Some(name) => name,
            // It went in an earlier call, or was removed.
            None => {
                let mut names = std::iter::once(base.clone()).chain(bases.all().skip_while(|name| *name == place.name));
                let moved = names.find(|name| matches!(find(to, name), Ok(Some(_))));
                moved.filter(|_| keep).unwrap_or_else(|| with(&base, lane.suffix()))
            }
        };
        Ok(ended.path.join(lies))
    }

    /// Moves or removes all that is in a slot, the item last: until it has gone, the slot is whole for whoever finds it. Gives
    /// the item's new name, if it was moved.
    fn empty_slot(
        &self,
        item: ItemId,
        place: &Place,
        slot: &OwnedFd,
        to: &OwnedFd,
        base: &OsStr,
        keep: bool,
    ) -> io::Result<Option<OsString>> {
        let stays = match find(slot, &place.name)? {
            Some(stat) if !keep => {
                let seen = seen_of(&stat, self.home);
                match seen.kind {
                    Kind::Folder => self.changed_since_taken(slot, &place.name),
                    // Only who can't be noticed writes to it now: what was written is in no version. Renaming has set the
                    // time of its change, so that of its content tells.
                    _ => born_ns(&stat_fd(slot)?).is_some_and(|taken_ns| seen.modified_ns > taken_ns),
                }
            }
            Some(_) => true,
            None => false,
        };
        for name in names(reopen(slot)?)? {
            if name == place.name {
                continue;
            }
            let is_folder = seen_of(&stat(slot, &name)?, self.home).kind == Kind::Folder;
            if stays || is_folder || !matches!(kind_of(&name), NameKind::Sidecar(_) | NameKind::Checksum(_)) {
                let new = beside(&name, &place.name, base);
                match rename_new(slot, &name, to, &new) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => drop(self.move_beside(item, slot, &name, to)?),
                    Err(error) => return Err(error.into()),
                }
            } else {
                unlink(slot, &name)?;
            }
            step();
        }
        if find(slot, &place.name)?.is_none() {
            return Ok(None);
        }
        if !stays {
            match remove(slot, &place.name, 1) {
                Ok(()) => return Ok(None),
                // A folder in it that its owner didn't let us write to: what is left of it is kept.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::warn!(%error, %item, "a folder that is in the registry can't be removed: it is kept in done/");
                }
                Err(error) => return Err(error),
            }
        }
        let moved = match rename_new(slot, &place.name, to, base) {
            Ok(()) => base.to_owned(),
            Err(Errno::EXIST) => self.move_beside(item, slot, &place.name, to)?,
            Err(error) => return Err(error.into()),
        };
        step();
        Ok(Some(moved))
    }

    /// Whether a file in a taken folder is newer than its slot: somebody had it open, and went on. What can't be told has
    /// changed.
    fn changed_since_taken(&self, slot: &OwnedFd, name: &OsStr) -> bool {
        let changed = || -> Result<bool, Stop> {
            // The slot is made right before the folder is moved into it. Folders in it don't count: removing what is in them
            // changes them, and that may have been cut. A file that is written, linked or moved into one changes itself.
            let Some(taken_ns) = born_ns(&stat_fd(slot)?) else { return Ok(true) };
            let folder = open_folder(slot, name)?;
            let mut newest_ns = i128::MIN;
            walk(&folder, self.home, &mut |found| match found.seen.kind {
                Kind::File => {
                    newest_ns = newest_ns.max(found.seen.changed_ns);
                    Ok(())
                }
                Kind::Folder => Ok(()),
                Kind::Other(what) => Err(Stop::Hostile(what.to_owned())),
            })?;
            Ok(newest_ns > taken_ns)
        };
        changed().unwrap_or(true)
    }

    /// The folder for items that end on a day, made if it is not there.
    fn folder_of_day(&self, lane: Lane, item: ItemId, date: &str, namespace: Option<&str>) -> io::Result<Ended> {
        let plain = date.len() == DATE_OCTETS && date.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
        if !plain {
            return Err(invalid("that is not a date"));
        }
        let day = make_ended(self.lane(lane), OsStr::new(date))?;
        let path = Path::new(lane.name()).join(date);
        let Some(namespace) = namespace else { return Ok(Ended { folder: day, path }) };
        if namespace_of(OsStr::new(namespace)).is_none() {
            return Err(invalid("that is not a namespace"));
        }
        // A folder that ended here may have the namespace's name; only one with the marker is a namespace's.
        for name in Bases::of(item, OsStr::new(namespace), self.name_octets_max).all() {
            let folder = match make_ended(&day, &name) {
                Ok(folder) => folder,
                Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(error),
            };
            // One that ended here is still its owner's, who may have closed it to us.
            if !self.is_ours(&stat_fd(&folder)?) {
                continue;
            }
            if self.is_marked(&folder)? {
                return Ok(Ended { folder, path: path.join(name) });
            }
            if names(reopen(&folder)?)?.is_empty() {
                mark(&folder)?;
                step();
                return Ok(Ended { folder, path: path.join(name) });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Moves a sidecar of an item that lies in `rejected/` there, if it does: whether it did.
    pub(super) fn back_to_rejected(
        &self,
        item: ItemId,
        namespace: Option<&str>,
        slot: &OwnedFd,
        sidecar: &OsStr,
    ) -> io::Result<bool> {
        let (NameKind::Sidecar(name) | NameKind::Checksum(name)) = kind_of(sidecar) else { return Ok(false) };
        let bases = Bases::of(item, &name, self.name_octets_max);
        for day in names(reopen(&self.rejected)?)? {
            let Ok(day) = open_folder(&self.rejected, &day) else { continue };
            let folder = match namespace {
                None => day,
                Some(namespace) => match open_folder(&day, namespace) {
                    Ok(folder) if self.is_ours(&stat_fd(&folder)?) => folder,
                    Ok(_) | Err(_) => continue,
                },
            };
            if let Some(base) = self.claimed(&folder, &bases, Lane::Rejected, item)? {
                rename_new(slot, sidecar, &folder, &beside(sidecar, &name, &base))?;
                sync(&folder)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn bring_back(&self, item: ItemId, place: &Place, lies: &Path) -> Result<(), TakeError> {
        let refused = || TakeError::Refused("it doesn't lie in rejected/".to_owned());
        let segments: Vec<&OsStr> = lies
            .components()
            .map(|segment| if let Component::Normal(name) = segment { Some(name) } else { None })
            .collect::<Option<_>>()
            .ok_or_else(refused)?;
        let (Some(&first), Some(base), true) = (segments.first(), segments.last(), segments.len() >= 3) else {
            return Err(refused());
        };
        if first != REJECTED {
            return Err(refused());
        }
        let parent = lies.parent().unwrap_or(lies).strip_prefix(REJECTED).unwrap_or(lies);
        let from = open_folder(&self.rejected, parent).map_err(TakeError::of)?;
        let name = slot_name(item, place);
        let in_slot = match enter(&self.processing, &name) {
            Ok(slot) => find(&slot, &place.name).map_err(TakeError::Io)?.is_some(),
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(TakeError::Io(error)),
        };
        if !in_slot && find(&from, base).map_err(TakeError::Io)?.is_none() {
            return Err(TakeError::Changed);
        }
        self.bring_into(item, place, &from, base, in_slot).map_err(TakeError::Io)
    }

    fn bring_into(&self, item: ItemId, place: &Place, from: &OwnedFd, base: &OsStr, in_slot: bool) -> io::Result<()> {
        let name = slot_name(item, place);
        make_folder(&self.processing, OsStr::new(&name), MODE_PROCESSING)?;
        step();
        let slot = open_folder(&self.processing, &name)?;
        if !in_slot {
            // Sidecars first, as when it was taken.
            for suffix in [SIDECAR_SUFFIX, CHECKSUM_SUFFIX] {
                match rename_new(from, &with(base, suffix), &slot, &with(&place.name, suffix)) {
                    Ok(()) => step(),
                    Err(Errno::NOENT | Errno::EXIST | Errno::NAMETOOLONG) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            rename_new(from, base, &slot, &place.name)?;
            step();
        }
        sync(&slot)?;
        sync(&self.processing)?;
        let bases = Bases::of(item, &place.name, self.name_octets_max);
        if let Some(claimed) = self.claimed(from, &bases, Lane::Rejected, item)? {
            unlink(from, &with(&claimed, PROBLEM))?;
            step();
        }
        sync(from)
    }

    pub(super) fn note_document(
        &self,
        item: ItemId,
        place: &Place,
        document: &[u8],
        date: &str,
    ) -> io::Result<PathBuf> {
        if !names_item(document, item) || document.len() as u64 > DOCUMENT_OCTETS_MAX {
            return Err(invalid("the document is not of this item, or too long"));
        }
        let ended = self.folder_of_day(Lane::Rejected, item, date, place.namespace.as_deref())?;
        let to = &ended.folder;
        let bases = Bases::of(item, &place.name, self.name_octets_max);
        unlink(to, &draft_name(item))?;
        let base = match self.claimed(to, &bases, Lane::Rejected, item)? {
            Some(base) => {
                let draft = write_draft(to, item, document)?;
                renameat(to, &draft, to, with(&base, PROBLEM))?;
                step();
                base
            }
            None => claim(to, &bases, Lane::Rejected, item, document)?,
        };
        sync(to)?;
        Ok(ended.path.join(base))
    }

    pub(super) fn withdraw_document(&self, item: ItemId, place: &Place, lies: &Path) -> io::Result<()> {
        let Some(folder) = self.folder_of_document(lies)? else { return Ok(()) };
        let bases = Bases::of(item, &place.name, self.name_octets_max);
        let Some(base) = self.claimed(&folder, &bases, Lane::Rejected, item)? else { return Ok(()) };
        unlink(&folder, &with(&base, PROBLEM))?;
        step();
        sync(&folder)
    }

    /// The folder in `rejected/` that a refused item's document lies in; none: it is gone.
    fn folder_of_document(&self, lies: &Path) -> io::Result<Option<OwnedFd>> {
        let parent = lies.strip_prefix(REJECTED).ok().and_then(Path::parent).filter(|parent| plain(parent));
        let parent = parent.ok_or_else(|| invalid("that is no place in rejected/"))?;
        match open_folder(&self.rejected, parent) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn amend_document(
        &self,
        item: ItemId,
        place: &Place,
        lies: &Path,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> io::Result<()> {
        let Some(folder) = self.folder_of_document(lies)? else { return Ok(()) };
        let bases = Bases::of(item, &place.name, self.name_octets_max);
        let Some(base) = self.claimed(&folder, &bases, Lane::Rejected, item)? else { return Ok(()) };
        let name = with(&base, PROBLEM);
        let Some(document) = self.read_document(&folder, &name)?.and_then(|document| change(&document)) else {
            return Ok(());
        };
        if !names_item(&document, item) || document.len() as u64 > DOCUMENT_OCTETS_MAX {
            return Err(invalid("the document is not of this item, or too long"));
        }
        unlink(&folder, &draft_name(item))?;
        let draft = write_draft(&folder, item, &document)?;
        renameat(&folder, &draft, &folder, &name)?;
        step();
        sync(&folder)
    }

    pub(super) fn list_rejected(&self, limit: usize) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut found = Vec::new();
        for day in names(reopen(&self.rejected)?)?.into_iter().rev() {
            if found.len() >= limit {
                break;
            }
            let Ok(folder) = open_folder(&self.rejected, &day) else { continue };
            let path = Path::new(REJECTED).join(&day);
            for name in names(&folder)? {
                match open_folder(&folder, &name) {
                    Ok(below) if self.is_ours(&stat_fd(&below)?) && self.is_marked(&below)? => {
                        let below = Ended { folder: below, path: path.join(&name) };
                        for name in names(reopen(&below.folder)?)? {
                            below.add_document(self, &name, limit, &mut found)?;
                        }
                    }
                    // A folder that was refused.
                    Ok(_) => {}
                    Err(_) => Ended { folder: reopen(&folder)?, path: path.clone() }
                        .add_document(self, &name, limit, &mut found)?,
                }
            }
        }
        Ok(found)
    }

    /// The name under which an item's document lies in a folder already.
    fn claimed(&self, folder: &OwnedFd, bases: &Bases<'_>, lane: Lane, item: ItemId) -> io::Result<Option<OsString>> {
        for base in bases.with_suffix() {
            let document = self.read_document(folder, &with(&base, lane.suffix()))?;
            if document.is_some_and(|document| names_item(&document, item)) {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    /// A document that the daemon has written; none: there is none, or it is somebody else's.
    fn read_document(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        let ours = |stat: &Statx| {
            let regular = FileType::from_raw_mode(u32::from(stat.stx_mode)).is_file();
            regular && stat.stx_nlink == 1 && self.is_ours(stat)
        };
        if !find(folder, name)?.is_some_and(|stat| ours(&stat)) {
            return Ok(None);
        }
        let file = match open_file(folder, name) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !ours(&stat_fd(&file)?) {
            return Ok(None);
        }
        let mut document = Vec::new();
        file.take(DOCUMENT_OCTETS_MAX.saturating_add(1)).read_to_end(&mut document)?;
        Ok((document.len() as u64 <= DOCUMENT_OCTETS_MAX).then_some(document))
    }
}

impl Ended {
    /// The item of a problem document, if it is one.
    fn add_document(
        &self,
        lanes: &Lanes,
        name: &OsStr,
        limit: usize,
        found: &mut Vec<(PathBuf, Vec<u8>)>,
    ) -> io::Result<()> {
        let Some(base) = name.as_bytes().strip_suffix(PROBLEM.as_bytes()) else { return Ok(()) };
        if found.len() >= limit {
            return Ok(());
        }
        if let Some(document) = lanes.read_document(&self.folder, name)? {
            found.push((self.path.join(OsStr::from_bytes(base)), document));
        }
        Ok(())
    }
}

/// The name of a sidecar beside an item that got another name; its ending in lower case, for the way back.
fn beside(sidecar: &OsStr, name: &OsStr, base: &OsStr) -> OsString {
    match sidecar.as_bytes().strip_prefix(name.as_bytes()) {
        Some(suffix) => with(base, OsStr::from_bytes(&suffix.to_ascii_lowercase())),
        None => sidecar.to_owned(),
    }
}

/// The name of a document that is being written.
fn draft_name(item: ItemId) -> OsString {
    format!(".{item}.tmp").into()
}

/// A folder below `done/` or `rejected/`.
fn make_ended(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let made = make_folder(parent, name, MODE_ENDED & MODE_ASKED)?;
    step();
    let folder = open_folder(parent, name)?;
    if made {
        set_mode(&folder, MODE_ENDED)?;
        sync(parent)?;
    }
    Ok(folder)
}

/// Writes a document, durably, under a name that nobody takes for one.
fn write_draft(folder: &OwnedFd, item: ItemId, document: &[u8]) -> io::Result<OsString> {
    let draft = draft_name(item);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(MODE_DOCUMENT);
    let mut file = File::from(openat(folder, &draft, flags, mode)?);
    step();
    fchmod(&file, mode)?;
    file.write_all(document)?;
    file.sync_all()?;
    step();
    Ok(draft)
}

/// Writes the document, durably, under the first name that is free for it and the item.
fn claim(folder: &OwnedFd, bases: &Bases<'_>, lane: Lane, item: ItemId, document: &[u8]) -> io::Result<OsString> {
    let draft = write_draft(folder, item, document)?;
    for base in bases.with_suffix() {
        if find(folder, &base)?.is_some() {
            continue;
        }
        match rename_new(folder, &draft, folder, &with(&base, lane.suffix())) {
            Ok(()) => {
                step();
                return Ok(base);
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    unlink(folder, &draft)?;
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes something with all that is in it, bottom up, nothing followed.
fn remove(parent: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    match open_folder(parent, name) {
        Ok(folder) => {
            // What was taken in is not so deep; it is kept, as what may not be removed.
            if depth > DEPTH_MAX + 1 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            for name in names(reopen(&folder)?)? {
                remove(&folder, &name, depth + 1)?;
            }
            remove_folder(parent, name)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if is_gone(&error) => unlink(parent, name)?,
        Err(error) => return Err(error),
    }
    step();
    Ok(())
}
