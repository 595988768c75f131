//! The records of a zip archive as they stand in the file (APPNOTE 4.3): end records, directory entries, local headers. Reads
//! them and says what is in them; what it means that two of them disagree is not known here.

use std::io;

use crate::inspect::cursor::{Cursor, Stop};
use crate::inspect::{ReadAt, read_up_to};

/// The end record without its comment (4.3.16), the zip64 end record (4.3.14) and its locator (4.3.15).
const END_BYTES: usize = 22;
const ZIP64_END_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;

/// A local header without name and extra field (4.3.7).
pub(super) const LOCAL_BYTES: u64 = 30;

/// End records that are looked at: more than one only where a comment pretends to be one.
const ENDS_MAX: usize = 4;

/// Encrypted; patch data; strong encryption; masked headers (4.4.4).
const SEALED: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;

/// An end record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where it stands.
    pub(super) at: u64,
    /// Where its comment ends, by its own words.
    pub(super) end: u64,
}

/// Where a central directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    /// Its first octet.
    pub(super) start: u64,
    /// Behind its last octet.
    pub(super) end: u64,
    /// What is to be added to the offsets in it: octets that stand before the archive.
    pub(super) shift: u64,
    /// Entries that it should have.
    pub(super) count: u64,
}

/// The end records that readers may choose, the one whose comment reaches exactly to the end of the file first. Readers that
/// go by the last signature alone see another one if the comment contains it. `lenient`: also one behind which octets stand.
pub(super) fn ends(source: &dyn ReadAt, lenient: bool) -> io::Result<Vec<End>> {
    let tail_bytes = ((END_BYTES + usize::from(u16::MAX)) as u64).min(source.len());
    let tail_at = source.len() - tail_bytes;
    let tail = read_up_to(source, tail_at, tail_bytes)?;
    let Some(last) = tail.len().checked_sub(END_BYTES) else { return Ok(Vec::new()) };
    let all = (0..=last).rev().filter(|at| tail[*at..].starts_with(b"PK\x05\x06"));
    let all = all.map(|at| {
        let end = at + END_BYTES + usize::from(u16_at(&tail[at..], 20));
        End { at: tail_at + at as u64, end: tail_at + end as u64 }
    });
    let (mut ends, mut latest) = (Vec::new(), None);
    for end in all {
        latest = latest.or(Some(end));
        if end.end == source.len() && ends.len() < ENDS_MAX {
            ends.push(end);
        }
    }
    if let Some(latest) = latest
        && !ends.contains(&latest)
        && (lenient || !ends.is_empty())
    {
        ends.push(latest);
    }
    Ok(ends)
}

/// The central directories that readers may find from an end record: right before it, as Python does, or where the offset
/// field says, as PyTorch does; by the zip64 record or without it. The first is Python's. There is one in every sound file.
pub(super) fn directories(source: &dyn ReadAt, end: End) -> io::Result<Vec<Directory>> {
    let record = read_up_to(source, end.at, END_BYTES as u64)?;
    // (end, bytes, offset, count) as the records say.
    let mut said = Vec::new();
    let locator_at = end.at.checked_sub(LOCATOR_BYTES);
    if let Some(locator_at) = locator_at {
        let locator = read_up_to(source, locator_at, LOCATOR_BYTES)?;
        if locator.starts_with(b"PK\x06\x07") {
            let places = [locator_at.checked_sub(ZIP64_END_BYTES), Some(u64_at(&locator, 8))];
            for at in places.into_iter().flatten() {
                let record = read_up_to(source, at, ZIP64_END_BYTES)?;
                if record.len() as u64 == ZIP64_END_BYTES && record.starts_with(b"PK\x06\x06") {
                    said.push((at, u64_at(&record, 40), u64_at(&record, 48), u64_at(&record, 32)));
                }
            }
        }
    }
    let (count, bytes, offset) = (u16_at(&record, 10), u32_at(&record, 12), u32_at(&record, 16));
    if count != u16::MAX && bytes != u32::MAX && offset != u32::MAX {
        // With a zip64 record before it, the directory ends there for whoever ignores it too.
        let ends_at = said.first().map_or(end.at, |(at, ..)| *at);
        said.push((ends_at, u64::from(bytes), u64::from(offset), u64::from(count)));
    }
    let mut directories: Vec<Directory> = Vec::new();
    for (ends_at, bytes, offset, count) in said {
        let before = ends_at.checked_sub(bytes).map(|start| (start, ends_at, start.saturating_sub(offset)));
        let stated = offset.checked_add(bytes).filter(|end| *end <= ends_at).map(|end| (offset, end, 0));
        for (start, end, shift) in before.into_iter().chain(stated) {
            let is_one = (start == end && count == 0) || read_up_to(source, start, 4)? == b"PK\x01\x02";
            if is_one && !directories.iter().any(|known| known.start == start) {
                directories.push(Directory { start, end, shift, count });
            }
        }
    }
    Ok(directories)
}

/// What a header, in the directory or before the data, says of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    /// The name by the extra field for names in UTF-8, which some readers prefer.
    pub(super) other_name: Option<Vec<u8>>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    /// Where the local header is, by the directory; where the data begins, by the local header.
    pub(super) offset: u64,
    /// Unix mode, by the directory.
    pub(super) mode: u16,
}

impl Header {
    /// Whether sizes and CRC stand behind the data.
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & 1 << 3 != 0
    }

    /// Whether it says that the data can't be read without a key or a patch.
    pub(super) fn is_sealed(&self) -> bool {
        self.flags & SEALED != 0
    }

    /// The flags that decide how the data is read.
    pub(super) fn reading_flags(&self) -> u16 {
        self.flags & SEALED
    }
}

/// The next entry of a directory; `None` if there is no header where one should be.
pub(super) fn entry(cursor: &mut Cursor<'_>) -> Result<Option<Header>, Stop> {
    let header: [u8; 46] = cursor.array()?;
    if !header.starts_with(b"PK\x01\x02") {
        return Ok(None);
    }
    let name = cursor.take(u64::from(u16_at(&header, 28)))?;
    let extra = cursor.take(u64::from(u16_at(&header, 30)))?;
    cursor.skip(u64::from(u16_at(&header, 32)))?;
    let mut entry = Header {
        name,
        other_name: field(&extra, 0x7075).and_then(|field| field.get(5..)).map(<[u8]>::to_vec),
        flags: u16_at(&header, 8),
        method: u16_at(&header, 10),
        crc: u32_at(&header, 16),
        packed: u64::from(u32_at(&header, 20)),
        unpacked: u64::from(u32_at(&header, 24)),
        offset: u64::from(u32_at(&header, 42)),
        mode: u16_at(&header, 40),
    };
    zip64(&extra, &mut [&mut entry.unpacked, &mut entry.packed, &mut entry.offset]);
    Ok(Some(entry))
}

/// The local header at `at`; `None` if there is none, or not whole.
pub(super) fn local(source: &dyn ReadAt, at: u64) -> io::Result<Option<Header>> {
    let header = read_up_to(source, at, LOCAL_BYTES)?;
    if header.len() as u64 != LOCAL_BYTES || !header.starts_with(b"PK\x03\x04") {
        return Ok(None);
    }
    let (name, extra) = (u64::from(u16_at(&header, 26)), u64::from(u16_at(&header, 28)));
    let rest = read_up_to(source, at + LOCAL_BYTES, name + extra)?;
    if rest.len() as u64 != name + extra {
        return Ok(None);
    }
    let (name, extra) = rest.split_at(usize::from(u16_at(&header, 26)));
    let mut local = Header {
        name: name.to_vec(),
        other_name: field(extra, 0x7075).and_then(|field| field.get(5..)).map(<[u8]>::to_vec),
        flags: u16_at(&header, 6),
        method: u16_at(&header, 8),
        crc: u32_at(&header, 14),
        packed: u64::from(u32_at(&header, 18)),
        unpacked: u64::from(u32_at(&header, 22)),
        offset: at + LOCAL_BYTES + rest.len() as u64,
        mode: 0,
    };
    zip64(extra, &mut [&mut local.unpacked, &mut local.packed]);
    Ok(Some(local))
}

/// Takes the numbers that did not fit from the zip64 extra field, which has only those, in this order (4.5.3).
fn zip64(extra: &[u8], numbers: &mut [&mut u64]) {
    let mut values = field(extra, 1).unwrap_or_default().chunks_exact(8);
    for number in numbers.iter_mut().filter(|number| ***number == u64::from(u32::MAX)) {
        if let Some(value) = values.next() {
            **number = u64_at(value, 0);
        }
    }
}

/// The first extra field of a kind (4.5.1).
fn field(extra: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = extra;
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let (field, after) = after.split_at_checked(usize::from(u16_at(head, 2)))?;
        if u16_at(head, 0) == kind {
            return Some(field);
        }
        rest = after;
    }
    None
}

/// Octets of the data descriptor behind the data that ends at `at`: with or without signature, of either width (4.3.9). It is
/// told by the size in it, and by what follows.
pub(super) fn descriptor_bytes(source: &dyn ReadAt, at: u64, packed: u64) -> io::Result<u64> {
    let octets = read_up_to(source, at, 4 + 20 + 2)?;
    let mut fallback = 0;
    for signature in [4, 0] {
        if signature == 4 && !octets.starts_with(b"PK\x07\x08") {
            continue;
        }
        let rest = &octets[signature..];
        let narrow = (rest.len() >= 12 && u64::from(u32_at(rest, 4)) == packed).then_some(12);
        let wide = (rest.len() >= 20 && u64_at(rest, 4) == packed).then_some(20);
        for bytes in narrow.into_iter().chain(wide) {
            if rest[bytes..].starts_with(b"PK") {
                return Ok((signature + bytes) as u64);
            }
            fallback = fallback.max((signature + bytes) as u64);
        }
    }
    Ok(fallback)
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
