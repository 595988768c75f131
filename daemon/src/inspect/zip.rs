//! Telling what kind of zip archive a file is, by the names its central directory lists.
//!
//! Only names are read: no member is inflated, and that local headers agree with the directory is not checked here.

use std::io;

use super::cursor::{Cursor, Stop};
use super::rules::{self, Rule};
use super::scan::{Place, Scan};
use super::{Format, ReadAt, read_up_to};

/// Octets of the central directory that are read.
const DIRECTORY_BYTES_MAX: u64 = 1 << 20;

/// Members of which the name is looked at.
const MEMBERS_MAX: u32 = 16_384;

/// The end record without its comment (APPNOTE 4.3.16).
const END_BYTES: usize = 22;

/// The zip64 locator, which stands right before the end record (APPNOTE 4.3.15).
const LOCATOR_BYTES: usize = 20;

/// What kind of archive `source` is: `None` if no end record closes the file.
///
/// # Errors
/// Those of the source.
pub(super) fn examine(source: &dyn ReadAt) -> io::Result<Option<Format>> {
    let Some((start, end)) = directory(source)? else { return Ok(None) };
    let mut names = Names::default();
    let mut cursor = Cursor::new(source, start, end, DIRECTORY_BYTES_MAX);
    for _ in 0..MEMBERS_MAX {
        match member(&mut cursor) {
            Ok(Some(name)) => names.see(&name),
            // At the budget too it is judged by what was seen: writers put the telling names first.
            Ok(None) | Err(Stop::End | Stop::Budget | Stop::Limit) => break,
            Err(Stop::Io(error)) => return Err(error),
        }
    }
    Ok(Some(names.format()))
}

/// Where the central directory starts and ends.
///
/// The end record is the last one whose comment reaches exactly to the end of the file. The directory is looked for right
/// before it, as Python's reader does, and not where its offset field points: so octets put in front of an archive do not
/// hide it.
fn directory(source: &dyn ReadAt) -> io::Result<Option<(u64, u64)>> {
    let tail_bytes = ((END_BYTES + LOCATOR_BYTES + usize::from(u16::MAX)) as u64).min(source.len());
    let tail_at = source.len() - tail_bytes;
    let tail = read_up_to(source, tail_at, tail_bytes)?;
    let Some(last) = tail.len().checked_sub(END_BYTES) else { return Ok(None) };
    let closes = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(b"PK\x05\x06") && record.len() - END_BYTES == usize::from(u16_at(record, 20))
    };
    let Some(at) = (0..=last).rev().find(closes) else { return Ok(None) };

    let mut end = tail_at + at as u64;
    let mut bytes = u64::from(u32_at(&tail[at..], 12));
    if let Some(locator) = at.checked_sub(LOCATOR_BYTES)
        && tail[locator..].starts_with(b"PK\x06\x07")
    {
        // The zip64 end record stands right before its locator; an extensible part of other length than none is not
        // written by anyone.
        let record_at = (tail_at + locator as u64).saturating_sub(ZIP64_END_BYTES);
        let record = read_up_to(source, record_at, ZIP64_END_BYTES)?;
        if record.len() as u64 == ZIP64_END_BYTES && record.starts_with(b"PK\x06\x06") {
            end = record_at;
            bytes = u64_at(&record, 40);
        }
    }
    Ok(Some((end.saturating_sub(bytes), end)))
}

/// The zip64 end record (APPNOTE 4.3.14).
const ZIP64_END_BYTES: u64 = 56;

/// The name of the next member in the directory; `None` if there is no header where one should be.
fn member(cursor: &mut Cursor<'_>) -> Result<Option<Vec<u8>>, Stop> {
    let header: [u8; 46] = cursor.array()?;
    if !header.starts_with(b"PK\x01\x02") {
        return Ok(None);
    }
    let mut name = Vec::new();
    for _ in 0..u16_at(&header, 28) {
        name.push(cursor.octet()?);
    }
    cursor.skip(u64::from(u16_at(&header, 30)) + u64::from(u16_at(&header, 32)))?;
    Ok(Some(name))
}

/// Which of the telling names have been seen.
#[derive(Default)]
struct Names {
    members: u32,
    arrays: u32,
    data_pickle: bool,
    constants_pickle: bool,
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
            _ => {}
        }
        match name {
            b"config.json" => self.config = true,
            b"metadata.json" => self.metadata = true,
            b"model.weights.h5" | b"model.weights.json" => self.weights = true,
            b"schema.json" => self.schema = true,
            _ => {}
        }
    }

    fn format(&self) -> Format {
        // torch.load decides in this order, by these two names.
        if self.constants_pickle {
            Format::Torchscript
        } else if self.data_pickle {
            Format::PytorchZip
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

fn u16_at(octets: &[u8], at: usize) -> u16 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |two| u16::from_le_bytes(*two))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[];

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, _source: &dyn ReadAt, place: &Place, _format: Format) -> Result<(), Stop> {
    scan.find(&rules::UNREAD, place, None, "not looked into");
    Ok(())
}
