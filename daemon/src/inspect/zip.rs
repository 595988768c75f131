//! Zip archives, and what is made of them: PyTorch, TorchScript, torch.package, TorchServe, Keras 3, npz, skops.
//!
//! Readers disagree about damaged and forged archives: some go by the directory at the end, some by the header before each
//! member; some find the directory by its offset, some by its end; some check a CRC, some don't. So both views are read
//! (`zip/records.rs`), every difference is a finding, and the content is looked at in every view of it. Knows which members
//! there are; what is in them is for their formats' readers.

mod content;
mod records;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;

use super::cursor::{Cursor, Stop};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Format, Level, ReadAt, archive, compressed, dispatch, read_up_to};
use content::{Member, View};
use records::{Directory, End, Header};

/// Octets of the central directory that are read to tell the kind of archive.
const DIRECTORY_BYTES_MAX: u64 = 1 << 20;

/// Members of which the name is looked at for that.
const MEMBERS_MAX: u32 = 16_384;

/// Octets of a gap between members in which local headers are looked for, from either end.
const GAP_BYTES: u64 = 1 << 20;

/// Octets in which they are looked for at once.
const STEP_BYTES: u64 = 4 << 10;

/// Two records that should say the same.
const MISMATCH: Rule = Rule {
    id: "zip.mismatch",
    level: Level::Suspicious,
    meaning: "Two records of a zip archive that should say the same do not: one tool reads another member, or other octets, \
              than the next. A different name or directory is evidence of an attack.",
};
/// One name twice.
const DUPLICATE: Rule = Rule {
    id: "zip.duplicate",
    level: Level::Suspicious,
    meaning: "Two members have one name: some tools read the first, some the last.",
};
/// Members that share octets.
const OVERLAP: Rule = Rule {
    id: "zip.overlap",
    level: Level::Malicious,
    meaning: "Members of a zip archive share octets, which no writer does: it multiplies content or hides one member in another.",
};
/// A member that the directory does not list.
const UNLISTED: Rule = Rule {
    id: "zip.unlisted",
    level: Level::Malicious,
    meaning: "A zip archive has a member that its directory does not list: tools that go by the directory do not see it, \
              loaders that read from the front do.",
};
/// Octets before the archive.
const PREFIX: Rule = Rule {
    id: "zip.prefix",
    level: Level::Suspicious,
    meaning: "Octets stand before a zip archive: what reads from the front takes the file for something else.",
};
/// A comment that looks like a record.
const COMMENT: Rule = Rule {
    id: "zip.comment",
    level: Level::Suspicious,
    meaning: "The comment of a zip archive contains the signature of its records: some tools take it for the real end.",
};
/// A wrong checksum.
const CRC: Rule = Rule {
    id: "zip.crc",
    level: Level::Suspicious,
    meaning: "A member's checksum is wrong: tools that check it stop there, and PyTorch, which does not, loads it.",
};
/// Encryption.
const SEALED: Rule = Rule {
    id: "zip.encrypted",
    level: Level::Unscannable,
    meaning: "A member is marked as encrypted or as a patch, so its content could not be looked at, or only as it stands.",
};
/// An unknown method.
const METHOD: Rule = Rule {
    id: "zip.method",
    level: Level::Unscannable,
    meaning: "A member is compressed by a method that is not known here, so its content could not be looked at.",
};
/// Damage.
const BROKEN: Rule = Rule {
    id: "zip.broken",
    level: Level::Unscannable,
    meaning: "A zip archive is damaged: there is no directory, or it points where no member is, or content ends early. What \
              could be found was looked at.",
};
/// Operators of TorchScript.
const OPERATOR: Rule = Rule {
    id: "torchscript.operator",
    level: Level::Suspicious,
    meaning: "TorchScript that reads or writes files when the model is used (torch.from_file, torch.save and their like).",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] =
    &[MISMATCH, DUPLICATE, OVERLAP, UNLISTED, PREFIX, COMMENT, CRC, SEALED, METHOD, BROKEN, OPERATOR];

/// What kind of archive `source` is: `None` if no end record closes the file. Of what begins as an archive, an end record with
/// something behind it is good enough.
///
/// # Errors
/// Those of the source.
pub(super) fn examine(source: &dyn ReadAt) -> io::Result<Option<Format>> {
    let begins_so = read_up_to(source, 0, 4)? == b"PK\x03\x04";
    let mut directory = None;
    for end in records::ends(source, begins_so)? {
        directory = records::directories(source, end)?.first().copied();
        if directory.is_some() {
            break;
        }
    }
    let Some(directory) = directory else { return Ok(None) };
    let mut names = Names::default();
    let mut cursor = Cursor::new(source, directory.start, directory.end, DIRECTORY_BYTES_MAX);
    for _ in 0..MEMBERS_MAX {
        match records::entry(&mut cursor) {
            Ok(Some(header)) => names.see(&header.name),
            // At the budget too it is judged by what was seen: writers put the telling names first.
            Ok(None) | Err(Stop::End | Stop::Budget | Stop::Limit) => break,
            Err(Stop::Io(error)) => return Err(error),
        }
    }
    Ok(Some(names.format()))
}

/// Which of the telling names have been seen.
#[derive(Default)]
struct Names {
    members: u32,
    arrays: u32,
    data_pickle: bool,
    constants_pickle: bool,
    package: bool,
    manifest: bool,
    config: bool,
    metadata: bool,
    weights: bool,
    schema: bool,
}

impl Names {
    fn see(&mut self, name: &[u8]) {
        self.members += 1;
        self.arrays += u32::from(name.ends_with(b".npy"));
        // PyTorch puts everything into one folder, of any name.
        match name.splitn(2, |octet| *octet == b'/').last() {
            Some(b"data.pkl") => self.data_pickle = true,
            Some(b"constants.pkl") => self.constants_pickle = true,
            Some(b".data/extern_modules") => self.package = true,
            _ => {}
        }
        match name {
            b"MAR-INF/MANIFEST.json" => self.manifest = true,
            b"config.json" => self.config = true,
            b"metadata.json" => self.metadata = true,
            b"model.weights.h5" | b"model.weights.json" => self.weights = true,
            b"schema.json" => self.schema = true,
            _ => {}
        }
    }

    fn format(&self) -> Format {
        // torch.load decides by the first two names, in this order; torch.package and TorchServe are told to load theirs.
        if self.constants_pickle {
            Format::Torchscript
        } else if self.data_pickle {
            Format::PytorchZip
        } else if self.package {
            Format::TorchPackage
        } else if self.manifest {
            Format::TorchserveMar
        } else if self.config && self.metadata && self.weights {
            Format::KerasV3
        } else if self.members > 0 && self.arrays == self.members {
            Format::Npz
        } else if self.schema {
            Format::Skops
        } else {
            Format::Zip
        }
    }
}

/// Looks into a source that is this kind of archive.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place, format: Format) -> Result<(), Stop> {
    if matches!(format, Format::PytorchZip | Format::Torchscript | Format::TorchPackage | Format::TorchserveMar) {
        scan.facts.set("framework", "torch");
    }
    if format == Format::Torchscript {
        scan.facts.set("torchscript", true);
    }
    let ends = records::ends(source, true)?;
    let mut directories: Vec<Directory> = Vec::new();
    for end in &ends {
        for directory in records::directories(source, *end)? {
            if !directories.iter().any(|known| known.start == directory.start) {
                directories.push(directory);
            }
        }
    }
    let mut walk = Walk::new(source, place);
    if let (Some(end), Some(directory)) = (ends.first(), directories.first()) {
        if let Some(other) = directories.get(1) {
            let detail =
                format_args!("readers find different directories, at {} and at {}", directory.start, other.start);
            scan.find_as(Level::Malicious, &MISMATCH, place, Some(directory.start), detail);
        }
        for directory in &directories {
            walk.directory(scan, *directory)?;
        }
        walk.extents(scan)?;
        walk.end(scan, *end, &directories)?;
    } else {
        scan.find(&BROKEN, place, None, "no directory is where the end of the archive should say it is");
        walk.gap(scan, 0, source.len(), Gap::Undirected)?;
    }
    let mut members = walk.members;
    members.sort_by_key(|member| member.views.first().map(|view| view.start));
    let mut seen = HashSet::new();
    for member in &members {
        content::scan(scan, source, place, format, member, &mut seen)?;
    }
    Ok(())
}

/// What octets that no member accounts for are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Before the first member.
    Prefix,
    /// Between members, or behind them.
    Between,
    /// All of an archive that has no directory.
    Undirected,
}

/// A walk over the records of an archive.
struct Walk<'a> {
    source: &'a dyn ReadAt,
    place: &'a Place,
    members: Vec<Member>,
    /// Hashes of names, with a key that no file can know.
    names: HashSet<u64>,
    hasher: RandomState,
    name_bytes: u64,
    /// What is accounted for: members with their headers, and directories.
    extents: Vec<(u64, u64)>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ReadAt, place: &'a Place) -> Self {
        Self {
            source,
            place,
            members: Vec::new(),
            names: HashSet::new(),
            hasher: RandomState::new(),
            name_bytes: 0,
            extents: Vec::new(),
        }
    }

    /// Reads a directory and the local headers it points to.
    fn directory(&mut self, scan: &mut Scan, directory: Directory) -> Result<(), Stop> {
        self.extents.push((directory.start, directory.end));
        // A second directory may list the same members.
        self.names.clear();
        let mut cursor = Cursor::new(self.source, directory.start, directory.end, u64::MAX);
        let mut count = 0_u64;
        while !cursor.at_end() {
            let at = cursor.position();
            match records::entry(&mut cursor) {
                Ok(Some(header)) => self.entry(scan, header, at, directory.shift)?,
                Ok(None) => {
                    dispatch::outside(scan, self.source, at, directory.end, self.place)?;
                    break;
                }
                Err(Stop::End) => {
                    scan.find(&BROKEN, self.place, Some(at), "the directory ends in the middle of an entry");
                    break;
                }
                Err(stop) => return Err(stop),
            }
            count += 1;
            self.check_room(scan)?;
            scan.tick(self.place)?;
        }
        // Where there is no zip64 record, the count wraps.
        if count != directory.count && count & 0xffff != directory.count {
            let said = directory.count;
            let detail = format_args!("the directory has {count} entries and its end record says {said}");
            scan.find(&MISMATCH, self.place, Some(directory.start), detail);
        }
        Ok(())
    }

    /// Judges an entry of the directory against the local header it points to, and notes where its data is.
    fn entry(&mut self, scan: &mut Scan, central: Header, at: u64, shift: u64) -> Result<(), Stop> {
        let place = self.place;
        let name = String::from_utf8_lossy(&central.name).into_owned();
        if archive::leads_out(&central.name) {
            scan.find(
                &archive::TRAVERSAL,
                place,
                Some(at),
                format_args!("the member {name:?} leads out of the archive"),
            );
        }
        if central.mode & 0xf000 == 0xa000 {
            scan.find(&archive::LINK, place, Some(at), format_args!("the member {name:?} is a symbolic link"));
        }
        if !self.names.insert(self.hasher.hash_one(&central.name)) {
            scan.find(&DUPLICATE, place, Some(at), format_args!("a second member is named {name:?}"));
        }
        self.name_bytes += central.name.len() as u64;
        let local_at = central.offset.saturating_add(shift);
        let Some(local) = records::local(self.source, local_at)? else {
            scan.find(&BROKEN, place, Some(at), format_args!("no member begins where {name:?} should, at {local_at}"));
            return Ok(());
        };
        let local_other = local.other_name.as_ref().filter(|other| central.other_name.as_ref() != Some(*other));
        let others = [Some(&local.name), local_other, central.other_name.as_ref()];
        for other in others.into_iter().flatten().filter(|other| **other != central.name) {
            let other_name = String::from_utf8_lossy(other);
            if archive::leads_out(other) {
                let detail =
                    format_args!("another name of the member {name:?}, {other_name:?}, leads out of the archive");
                scan.find(&archive::TRAVERSAL, place, Some(local_at), detail);
            }
            // Names that are not ASCII have the field for their sake.
            if *other != local.name && central.name.is_ascii() {
                let detail = format_args!("{name:?} is {other_name:?} in the field for other characters");
                scan.find(&MISMATCH, place, Some(local_at), detail);
            }
        }
        let is_sealed = central.is_sealed() || local.is_sealed();
        if is_sealed {
            scan.find(&SEALED, place, Some(local_at), format_args!("{name:?} is marked as encrypted or as a patch"));
        }
        self.compare(scan, &central, &local, local_at, &name);
        let start = local.offset;
        let mut views = vec![View::new(&central, start)];
        let sizes_stand_behind = local.has_descriptor() && local.packed == 0;
        let local_view = View::new(&local, start);
        if !sizes_stand_behind && (local_view.method, local_view.packed) != (central.method, central.packed) {
            views.push(local_view);
        } else if local.method != central.method {
            views.push(View { method: local.method, ..View::new(&central, start) });
        }
        let mut end = start.saturating_add(central.packed);
        if local.has_descriptor() || central.has_descriptor() {
            let bytes = records::descriptor_bytes(self.source, end, central.packed)?;
            if bytes == 0 {
                let detail = format_args!("sizes should stand behind the data of {name:?}, and do not");
                scan.find(&MISMATCH, place, Some(end), detail);
            }
            end = end.saturating_add(bytes);
        }
        self.extents.push((local_at, end));
        self.members.push(Member { name, views, is_sealed });
        Ok(())
    }

    /// Reports where the directory and a local header say different things.
    fn compare(&self, scan: &mut Scan, central: &Header, local: &Header, at: u64, name: &str) {
        if central.name != local.name {
            let other = String::from_utf8_lossy(&local.name);
            let detail = format_args!("{name:?} in the directory is {other:?} before its data");
            scan.find_as(Level::Malicious, &MISMATCH, self.place, Some(at), detail);
        }
        let mut differs = Vec::new();
        if central.method != local.method {
            differs.push("method");
        }
        if central.reading_flags() != local.reading_flags() {
            differs.push("flags");
        }
        let is_behind = |number: u64| number == 0 && local.has_descriptor();
        if central.packed != local.packed && !is_behind(local.packed)
            || central.unpacked != local.unpacked && !is_behind(local.unpacked)
        {
            differs.push("size");
        }
        if central.crc != local.crc && !is_behind(u64::from(local.crc)) {
            differs.push("checksum");
        }
        if !differs.is_empty() {
            let what = differs.join(" and ");
            let detail = format_args!("{name:?} has another {what} in the directory than before its data");
            scan.find(&MISMATCH, self.place, Some(at), detail);
        }
    }

    /// Looks for overlaps and gaps in what is accounted for.
    fn extents(&mut self, scan: &mut Scan) -> Result<(), Stop> {
        let mut extents = std::mem::take(&mut self.extents);
        extents.sort_unstable();
        let mut reach = 0;
        for (start, end) in extents {
            scan.tick(self.place)?;
            if start < reach {
                let detail = format_args!("what begins at {start} begins before the one before it ends, at {reach}");
                scan.find(&OVERLAP, self.place, Some(start), detail);
            } else if start > reach {
                let kind = if reach == 0 { Gap::Prefix } else { Gap::Between };
                self.gap(scan, reach, start, kind)?;
            }
            reach = reach.max(end);
        }
        Ok(())
    }

    /// Looks at octets that no member accounts for: for members that are not listed, else for whatever it may be.
    fn gap(&mut self, scan: &mut Scan, start: u64, end: u64, kind: Gap) -> Result<(), Stop> {
        if kind == Gap::Between && end - start <= GAP_BYTES && is_zero(self.source, start, end)? {
            return Ok(());
        }
        let mut at = start;
        let mut found_any = false;
        while let Some(found) = self.next_local(at, end)? {
            scan.tick(self.place)?;
            let Some(local) = records::local(self.source, found)? else {
                at = found + 1;
                continue;
            };
            found_any = true;
            let name = String::from_utf8_lossy(&local.name).into_owned();
            if kind != Gap::Undirected {
                scan.find(&UNLISTED, self.place, Some(found), format_args!("{name:?} is in no directory"));
            }
            if archive::leads_out(&local.name) {
                scan.find(
                    &archive::TRAVERSAL,
                    self.place,
                    Some(found),
                    format_args!("{name:?} leads out of the archive"),
                );
            }
            let mut view = View::new(&local, local.offset);
            let sizes_stand_behind = local.has_descriptor() && local.packed == 0;
            let mut ends_at = local.offset.saturating_add(local.packed);
            // Without a size that fits, it reaches to where the next one begins.
            if sizes_stand_behind || ends_at > end {
                view.is_exact = false;
                ends_at = self.next_local(local.offset.min(end), end)?.unwrap_or(end);
            }
            view.packed = ends_at.saturating_sub(local.offset);
            self.name_bytes += local.name.len() as u64;
            self.members.push(Member { name, views: vec![view], is_sealed: local.is_sealed() });
            self.check_room(scan)?;
            at = ends_at.max(found + records::LOCAL_BYTES);
        }
        match kind {
            Gap::Prefix => {
                let detail = format_args!("{} octets stand before the archive", end - start);
                scan.find(&PREFIX, self.place, Some(start), detail);
                if found_any { Ok(()) } else { dispatch::search(scan, self.source, start, end, self.place) }
            }
            Gap::Between if !found_any => dispatch::outside(scan, self.source, start, end, self.place),
            Gap::Between | Gap::Undirected => Ok(()),
        }
    }

    /// Whether so many members, and names, may be held.
    fn check_room(&self, scan: &mut Scan) -> Result<(), Stop> {
        if self.members.len() as u64 > scan.limits.members || self.name_bytes > scan.limits.held_bytes {
            return Err(scan.reached(self.place, "more members, or longer names of them, than are looked at"));
        }
        Ok(())
    }

    /// Where the next local header seems to begin in `start..end`; of a long range both ends are looked at.
    fn next_local(&self, start: u64, end: u64) -> io::Result<Option<u64>> {
        let near = end.min(start.saturating_add(GAP_BYTES));
        for (mut at, end) in [(start, near), (end.saturating_sub(GAP_BYTES).max(near), end)] {
            // In small steps, as the next one is mostly near.
            while at < end {
                let octets = read_up_to(self.source, at, STEP_BYTES.min(end - at))?;
                if let Some(found) = octets.windows(4).position(|four| four == b"PK\x03\x04") {
                    return Ok(Some(at + found as u64));
                }
                // A signature may lie across two steps.
                at += STEP_BYTES - 3;
            }
        }
        Ok(None)
    }

    /// Looks at what stands between and behind the records at the end.
    fn end(&self, scan: &mut Scan, end: End, directories: &[Directory]) -> Result<(), Stop> {
        let (source, place) = (self.source, self.place);
        let reach = directories.iter().map(|directory| directory.end).filter(|reach| *reach <= end.at).max();
        if let Some(reach) = reach
            && reach < end.at
        {
            // A zip64 record and its locator, and nothing else.
            let is_zip64 = end.at - reach == 76 && read_up_to(source, reach, 4)? == b"PK\x06\x06";
            if !is_zip64 {
                dispatch::outside(scan, source, reach, end.at, place)?;
            }
        }
        let comment = read_up_to(source, end.at + 22, end.end.saturating_sub(end.at + 22))?;
        if comment.windows(2).any(|two| two == b"PK") {
            scan.find(&COMMENT, place, Some(end.at + 22), "the comment contains the signature of a record");
        }
        if end.end > source.len() {
            scan.find(&BROKEN, place, Some(end.at), "the comment is cut short");
        } else if !compressed::is_padding(source, end.end)? {
            dispatch::outside(scan, source, end.end, source.len(), place)?;
        }
        Ok(())
    }
}

fn is_zero(source: &dyn ReadAt, start: u64, end: u64) -> io::Result<bool> {
    Ok(read_up_to(source, start, end - start)?.iter().all(|octet| *octet == 0))
}
