//! Reading what was taken: its files and sidecars, opened without following and compared with the look before. Knows files;
//! refuses to know what is in them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use common::name::{ArtifactPath, ItemId};
use rustix::io::Errno;

use crate::ingest::lanes::beneath::{enter, find, is_segment, open_file, open_folder, stat_fd};
use crate::ingest::lanes::look::{look_at, seen_of, shown};
use crate::ingest::lanes::take::plain;
use crate::ingest::lanes::tree::{Reach, Stop, artifacts, walk};
use crate::ingest::lanes::{Kind, Lanes, Seen, TakeError, TakenFile, lease};
use crate::ingest::names::Place;
use crate::ingest::settle::Writer;

impl Lanes {
    pub(super) fn writer_at(&self, folder: &OwnedFd, name: &OsStr) -> Writer {
        let Ok(Some(stat)) = find(folder, name) else { return Writer::Unknown };
        match seen_of(&stat, self.home).kind {
            Kind::File => self.writer_of(folder, name),
            // Nothing is read of it.
            Kind::Other(_) => Writer::None,
            Kind::Folder => {
                let Ok(below) = open_folder(folder, name) else { return Writer::Unknown };
                let mut unknown = false;
                let mut some = false;
                let walked = walk(&below, self.home, &mut |found| {
                    if found.seen.kind == Kind::File && !some {
                        match self.writer_of(found.parent, found.name) {
                            Writer::None => {}
                            Writer::Some => some = true,
                            Writer::Unknown => unknown = true,
                        }
                    }
                    Ok(())
                });
                match (some, unknown || walked.is_err()) {
                    (true, _) => Writer::Some,
                    (false, true) => Writer::Unknown,
                    (false, false) => Writer::None,
                }
            }
        }
    }

    fn writer_of(&self, folder: &OwnedFd, name: &OsStr) -> Writer {
        match self.open_regular(folder, name) {
            Ok((file, _)) => match lease::writer(&file) {
                Writer::None if !self.leases_tell => Writer::Unknown,
                told => told,
            },
            // Somebody else's lease, which opening would break: they write, or are about to.
            Err(TakeError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Writer::Some,
            Err(_) => Writer::Unknown,
        }
    }

    /// Opens a regular file of one name; what it was swapped for meanwhile is closed again, unread.
    fn open_regular(&self, folder: &OwnedFd, name: &OsStr) -> Result<(File, Seen), TakeError> {
        let stat = find(folder, name).map_err(TakeError::Io)?.ok_or(TakeError::Changed)?;
        let before = seen_of(&stat, self.home);
        single(&before, name)?;
        let file = open_file(folder, name).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::ACCESS | Errno::PERM) => TakeError::Refused(format!(
                "the daemon may not read `{}`: let its group read it (chmod g+r)",
                shown(name)
            )),
            Some(Errno::XDEV) => TakeError::Refused(format!("`{}` lies on another file system", shown(name))),
            // A socket, or a device without a driver, in its place.
            Some(Errno::NXIO | Errno::NODEV) => TakeError::Changed,
            _ => TakeError::of(error),
        })?;
        let seen = seen_of(&stat_fd(&file).map_err(TakeError::Io)?, self.home);
        if (seen.kind, seen.device, seen.inode) != (before.kind, before.device, before.inode) {
            return Err(TakeError::Changed);
        }
        single(&seen, name)?;
        Ok((file, seen))
    }

    pub(super) fn files_of(&self, item: ItemId, place: &Place) -> Result<Vec<PathBuf>, TakeError> {
        let slot = self.slot(item, place).map_err(TakeError::of)?;
        let look = look_at(&slot, &place.name, self.home, Reach::Version).map_err(TakeError::Io)?;
        let seen = look.ok_or(TakeError::Changed)?;
        if seen.kind != Kind::Folder {
            single(&seen, &place.name)?;
            return Ok(vec![PathBuf::from(&place.name)]);
        }
        if let Some(tree) = &seen.tree {
            if let Some(why) = &tree.hostile {
                return Err(TakeError::Refused(why.clone()));
            }
            if tree.unfinished.is_some() {
                return Err(TakeError::Changed);
            }
        }
        let folder = open_folder(&slot, &place.name).map_err(TakeError::of)?;
        artifacts(&folder, &seen, self.home).map_err(|stop| match stop {
            Stop::Hostile(why) => TakeError::Refused(why),
            Stop::Io(error) => TakeError::of(error),
        })
    }

    pub(super) fn open_taken(&self, item: ItemId, place: &Place, path: &Path) -> Result<TakenFile, TakeError> {
        let name = path.file_name().filter(|_| plain(path)).ok_or(TakeError::Changed)?;
        let slot = self.slot(item, place).map_err(TakeError::of)?;
        let stat = find(&slot, &place.name).map_err(TakeError::Io)?.ok_or(TakeError::Changed)?;
        let (file, seen) = if seen_of(&stat, self.home).kind == Kind::Folder {
            let parent = path.parent().unwrap_or(Path::new(""));
            let folder = enter(&slot, Path::new(&place.name).join(parent)).map_err(TakeError::of)?;
            self.open_regular(&folder, name)?
        } else {
            if path != Path::new(&place.name) {
                return Err(TakeError::Changed);
            }
            self.open_regular(&slot, name)?
        };
        Ok(TakenFile { path: artifact_path(path), file, seen })
    }

    pub(super) fn read_sidecar(
        &self,
        item: ItemId,
        place: &Place,
        name: &OsString,
        octets_max: u64,
    ) -> Result<Option<(Vec<u8>, Seen)>, TakeError> {
        if !is_segment(name) {
            return Ok(None);
        }
        let slot = self.slot(item, place).map_err(TakeError::of)?;
        if find(&slot, name).map_err(TakeError::Io)?.is_none() {
            return Ok(None);
        }
        let (file, seen) = self.open_regular(&slot, name)?;
        let mut octets = Vec::new();
        file.take(octets_max.saturating_add(1)).read_to_end(&mut octets).map_err(TakeError::Io)?;
        if octets.len() as u64 > octets_max {
            return Err(TakeError::Refused(format!("`{}` is longer than {octets_max} octets", shown(name))));
        }
        Ok(Some((octets, seen)))
    }
}

/// Refuses what is not a regular file with one name.
fn single(seen: &Seen, name: &OsStr) -> Result<(), TakeError> {
    let name = shown(name);
    match seen.kind {
        Kind::File if seen.links == 1 => Ok(()),
        // Unlinked while it was open.
        Kind::File if seen.links == 0 => Err(TakeError::Changed),
        Kind::File => Err(TakeError::Refused(format!(
            "`{name}` has {} hard links: it could be changed under another name",
            seen.links
        ))),
        Kind::Folder => Err(TakeError::Changed),
        Kind::Other(what) => {
            Err(TakeError::Refused(format!("`{name}` is a {what}: only files and folders are taken in")))
        }
    }
}

fn artifact_path(path: &Path) -> Result<ArtifactPath, (String, String)> {
    let shown = || path.to_string_lossy().into_owned();
    let text = path.to_str().ok_or_else(|| (shown(), "the name is not UTF-8".to_owned()))?;
    text.parse().map_err(|error: common::name::NameError| (shown(), error.to_string()))
}
