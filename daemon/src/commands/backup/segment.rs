//! A part of the journal in a backup: records one after another, framed as the journal frames them, and nothing of the file
//! they came from. So parts of different daemons' journals fit together, and a restored journal is written anew.
//!
//! ```text
//! header   24 octets  "mregseg1" ‖ first index u64 ‖ index after the last u64
//! records  len u32 ‖ crc32c u32 of what follows ‖ leaf octets u32 ‖ leaf ‖ change
//! ```
//! Integers are little-endian. Knows this form and its SHA-256; refuses to know what is in the records.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::manifest::Part;
use super::repository::open_file;
use crate::store::journal::{RECORD_OCTETS_MAX, Record, parse_record, push_record};

const MAGIC: &[u8; 8] = b"mregseg1";
const HEADER: usize = 24;
/// Octets that are written or read at once.
const BUFFER: usize = 256 * 1024;

fn header(from: u64, to: u64) -> [u8; HEADER] {
    let mut octets = [0; HEADER];
    octets[..8].copy_from_slice(MAGIC);
    octets[8..16].copy_from_slice(&from.to_le_bytes());
    octets[16..].copy_from_slice(&to.to_le_bytes());
    octets
}

/// Hashes and counts what is written through it.
pub(super) struct Hashing<W> {
    to: W,
    hash: Sha256,
    octets: u64,
}

impl<W: Write> Hashing<W> {
    /// Nothing yet.
    pub(super) fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), octets: 0 }
    }

    /// What was written to, its SHA-256 in hexadecimal, and its octets.
    pub(super) fn finish(self) -> (W, String, u64) {
        (self.to, hex::encode(self.hash.finalize()), self.octets)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.to.write(octets)?;
        self.hash.update(&octets[..written]);
        self.octets += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A part in the making.
pub(super) struct Writer {
    out: BufWriter<Hashing<File>>,
    from: u64,
    to: u64,
    next: u64,
    record: Vec<u8>,
}

impl Writer {
    /// Begins a part of these records.
    pub(super) fn new(file: File, from: u64, to: u64) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER, Hashing::new(file));
        out.write_all(&header(from, to))?;
        Ok(Self { out, from, to, next: from, record: Vec::new() })
    }

    /// Appends the next record.
    pub(super) fn push(&mut self, leaf: &[u8], change: &[u8]) -> io::Result<()> {
        self.record.clear();
        if self.next >= self.to || push_record(&mut self.record, leaf, change).is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the record has no place in this part of the journal"));
        }
        self.next += 1;
        self.out.write_all(&self.record)
    }

    /// Whether all records are there.
    pub(super) fn is_full(&self) -> bool {
        self.next == self.to
    }

    /// Makes it durable.
    pub(super) fn finish(self) -> io::Result<Part> {
        if self.next != self.to {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("record {} is missing", self.next)));
        }
        let (file, sha256, octets) = self.out.into_inner().map_err(|error| error.into_error())?.finish();
        file.sync_all()?;
        Ok(Part { from: self.from, to: self.to, octets, sha256 })
    }
}

/// Why a part can't be read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is not what the manifest says.
    Damaged(String),
    /// The visitor's own error.
    Visitor(super::Failed),
}

/// Reads a whole part and hands on its records with their indexes. A record is handed on once it is whole, but the part's
/// digest is known at its end only: what was done with records counts when this returns.
pub(super) fn read(
    path: &Path,
    part: &Part,
    visit: &mut dyn FnMut(u64, Record) -> Result<(), super::Failed>,
) -> Result<(), Wrong> {
    let damaged = |why: &dyn std::fmt::Display| Wrong::Damaged(format!("journal/{}: {why}", part.file()));
    let file = open_file(path).map_err(|error| damaged(&error))?;
    let mut hash = Sha256::new();
    let mut octets = 0_u64;
    let mut input = BufReader::with_capacity(BUFFER, file);
    let mut take = |buffer: &mut Vec<u8>, len: usize| {
        let at = buffer.len();
        buffer.resize(at + len, 0);
        input.read_exact(&mut buffer[at..])?;
        hash.update(&buffer[at..]);
        octets += len as u64;
        Ok::<(), io::Error>(())
    };
    let mut buffer = Vec::new();
    take(&mut buffer, HEADER).map_err(|error| damaged(&error))?;
    if buffer != header(part.from, part.to) {
        return Err(damaged(&"its header is not that of this part"));
    }
    for index in part.from..part.to {
        let wrong = |why: &dyn std::fmt::Display| damaged(&format_args!("record {index}: {why}"));
        buffer.clear();
        take(&mut buffer, 4).map_err(|error| wrong(&error))?;
        let len = <[u8; 4]>::try_from(&buffer[..]).map(u32::from_le_bytes).unwrap_or(u32::MAX);
        let len = usize::try_from(len).ok().filter(|len| *len <= RECORD_OCTETS_MAX);
        let len = len.ok_or_else(|| wrong(&"its length is no record's"))?;
        take(&mut buffer, len + 4).map_err(|error| wrong(&error))?;
        let (leaf, change) = parse_record(&buffer).ok_or_else(|| wrong(&"its checksum is another"))?;
        visit(index, Record { leaf: Arc::from(leaf), change: change.to_vec() }).map_err(Wrong::Visitor)?;
    }
    let mut rest = [0; 1];
    if input.read(&mut rest).map_err(|error| damaged(&error))? != 0 || octets != part.octets {
        return Err(damaged(&"it has other octets than it should"));
    }
    if hex::encode(hash.finalize()) != part.sha256 {
        return Err(damaged(&"its SHA-256 is another than the manifest's"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::File;

    use super::{Writer, Wrong, read};

    /// Records come back as they were; any octet that is another is noticed, and so is a cut or a longer file.
    #[test]
    fn every_octet_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        let mut writer = Writer::new(File::create(&path).unwrap(), 7, 9).unwrap();
        writer.push(b"leaf", b"").unwrap();
        assert!(!writer.is_full());
        writer.push(b"other", b"change").unwrap();
        assert!(writer.push(b"third", b"").is_err());
        let part = writer.finish().unwrap();
        let read_all = || {
            let mut records = Vec::new();
            read(&path, &part, &mut |index, record| {
                records.push((index, record.leaf.to_vec(), record.change));
                Ok(())
            })
            .map(|()| records)
        };
        let expected = vec![(7, b"leaf".to_vec(), vec![]), (8, b"other".to_vec(), b"change".to_vec())];
        assert_eq!(read_all().unwrap(), expected);
        let octets = std::fs::read(&path).unwrap();
        assert_eq!(octets.len() as u64, part.octets);
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(read_all(), Err(Wrong::Damaged(_))), "octet {at}");
            std::fs::write(&path, &octets[..at]).unwrap();
            assert!(matches!(read_all(), Err(Wrong::Damaged(_))), "cut at {at}");
        }
        std::fs::write(&path, [&octets[..], b"x"].concat()).unwrap();
        assert!(matches!(read_all(), Err(Wrong::Damaged(_))));
    }

    /// A part that lacks a record is none.
    #[test]
    fn incomplete() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(File::create(dir.path().join("part")).unwrap(), 0, 2).unwrap();
        writer.push(b"leaf", b"").unwrap();
        assert!(writer.finish().is_err());
    }
}
