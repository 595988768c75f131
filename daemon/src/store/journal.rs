//! The journal: the one file format that decides what happened (audit-log.md §8). Append-only files of batches; each
//! batch is written by one `pwrite`, made durable by one `fdatasync`, and counts as a whole or not at all. What is in
//! the records is not known here.
//!
//! ```text
//! journal-<first index, 20 digits>.log
//!   header   64 octets  "mregjnl1" ‖ nonce[16] ‖ first index u64 ‖ zeros ‖ crc32c u32 of the 60 octets before
//!   batch    28 octets  marker[8] = nonce[..8] ‖ body octets u32 ‖ count u32 ‖ first index u64
//!                       ‖ crc32c u32 of (nonce ‖ the 24 octets before)
//!            records    len u32 ‖ crc32c u32 of what follows ‖ leaf octets u32 ‖ leaf ‖ change
//!   zeros    preallocated
//! ```
//! Integers are little-endian; `len` counts what follows the CRC. The nonce is random per file and never leaves it, so
//! no content that a client sends can look like a batch.
//!
//! A batch is only begun when the one before it is durable. So on recovery an incomplete batch with nothing valid behind
//! it is torn: nobody was answered, it is cut. A valid batch behind a broken one can't come from a crash: that is
//! corruption, and opening refuses and names the index.
//!
//! Durability: header and directory are fsynced when a file is made; `fdatasync` per batch covers data and, where the
//! preallocation grew the file, its size. Not covered: a disk that lies about flushes.

use std::cmp::Ordering;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use thiserror::Error;

use crate::durable::{self, Disk, DiskFile};
use crate::store::StoreError;

/// Version of the format, as told by `GET /version`.
pub const FORMAT: u32 = 1;
/// Entries after which a new file is begun, unless options say less.
pub const FILE_ENTRIES_MAX: u64 = 65_536;
/// The largest record, in octets, leaf and change together.
pub const RECORD_OCTETS_MAX: usize = 32 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"mregjnl1";
const FILE_HEADER: u64 = 64;
const BATCH_HEADER: usize = 28;
/// Octets of a record before its leaf.
pub(crate) const RECORD_HEADER: usize = 12;
/// Octets at the journal's end that are allocated beyond every ordinary batch, so that the daemon can record that it
/// refuses and that it stops when nothing more can be allocated.
pub const SPARE_OCTETS: u64 = 256 * 1024;
const GROW_MIN: u64 = SPARE_OCTETS;
const GROW_MAX: u64 = 8 * 1024 * 1024;

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Nothing of it counts; a later append may succeed (the disk was full, for one).
    #[error("the journal can't be written")]
    NotWritten(#[source] io::Error),
    /// Nothing of it counts, and nothing more can be written: the file was taken away or replaced under us, or a new one
    /// could not be made durable. The process must stop and recover.
    #[error("the journal failed: {0}")]
    Lost(String),
    /// Whether it counts will be known after the next start: the process must stop and recover from the file. A failed
    /// fdatasync is never tried again, for the kernel drops the dirty pages and then reports success.
    #[error("the journal failed: {0}")]
    Unknown(String),
}

/// What a batch may use of the room that is kept at the journal's end for the day the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// Nothing: it is there in full after the batch.
    Keep,
    /// The same, and nothing more than that is allocated: the disk is full.
    KeepTight,
    /// All of it.
    Use,
}

/// One record to append.
#[derive(Debug, Clone)]
pub struct Record {
    /// The leaf's exact octets.
    pub leaf: Arc<[u8]>,
    /// The change's octets; empty where nothing changes.
    pub change: Vec<u8>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Octets from the beginning of its file.
    pub offset: u64,
    /// Octets of the record, header included.
    pub octets: u32,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    file: DiskFile,
}

impl Segment {
    /// Its nonce and first index, read again.
    fn header(&self) -> Result<([u8; 16], u64), StoreError> {
        let mut header = [0; 64];
        self.file.read_exact_at(&mut header, 0)?;
        decode_file_header(&header)
            .ok_or_else(|| StoreError::Corrupt(format!("{} has no valid header", file_name(self.first))))
    }
}

/// A journal file and its nonce.
type Opened = (Arc<Segment>, [u8; 16]);

/// The reading half: shared by everyone.
#[derive(Debug, Default)]
pub struct JournalReader {
    segments: RwLock<Vec<Arc<Segment>>>,
}

/// Where a reader of the journal has got to: the beginning, at first; later the end of a whole batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Index of the next record.
    index: u64,
    /// First index of the file it is in.
    file: u64,
    /// Octets from the beginning of that file; 0 before anything was read.
    at: u64,
}

impl JournalReader {
    /// Opens the files of a directory for reading alone, beside whoever appends to them. Nothing is compared or changed; a
    /// last file whose header is not whole is being made, or was left so by a crash, and holds nothing yet.
    pub fn open(disk: &Disk, dir: &Path) -> Result<Self, StoreError> {
        let firsts = firsts(disk, dir)?;
        let reader = Self::default();
        for (position, &first) in firsts.iter().enumerate() {
            match open_segment(disk, dir, first)? {
                Some((segment, _nonce)) => push(&reader, segment)?,
                None if position + 1 == firsts.len() => {}
                None => return Err(StoreError::Corrupt(format!("{} has no valid header", file_name(first)))),
            }
        }
        Ok(reader)
    }

    /// Visits the records `from..to`, in order; `to` as of [`JournalReader::read_on`]. Reads the file that holds the first
    /// of them from its beginning.
    pub fn read_range(
        &self,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(Scanned<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let first = self.segment(from)?.first;
        let mut position = Position { index: first, file: first, at: 0 };
        self.read_on(&mut position, to, &mut |record| if record.index < from { Ok(()) } else { visit(record) })
    }

    /// Visits the records from a position on, up to an index at which a batch ends that is durable: a published size is one.
    /// Works beside the one who appends, and holds one batch in memory at a time. After an error the position is where it
    /// was, or at the end of a file behind that.
    pub fn read_on(
        &self,
        position: &mut Position,
        to: u64,
        visit: &mut dyn FnMut(Scanned<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let segments = self.segments()?;
        for (number, segment) in segments.iter().enumerate() {
            let end = segments.get(number + 1).map_or(to, |after| after.first.min(to));
            if end <= position.index {
                continue;
            }
            let begun = position.file == segment.first && position.at > 0;
            if !begun && position.index != segment.first {
                return Err(StoreError::Corrupt(format!("no journal file has entry {}", position.index)));
            }
            let at = if begun { position.at } else { FILE_HEADER };
            let (nonce, _first) = segment.header()?;
            let (index, at) = scan_file(&segment.file, &nonce, (position.index, at), end, visit)?;
            if index != end {
                return Err(StoreError::Corrupt(format!("journal record {index} is damaged or missing")));
            }
            *position = Position { index, file: segment.first, at };
        }
        if position.index < to {
            return Err(StoreError::Corrupt(format!("no journal file has entry {}", position.index)));
        }
        Ok(())
    }

    /// The leaf of entry 0; none where there is no file.
    pub fn first_leaf(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = || StoreError::Corrupt("journal record 0 is damaged".to_owned());
        let Some(segment) = self.segments()?.first().map(Arc::clone) else { return Ok(None) };
        let (nonce, _first) = segment.header()?;
        let mut header = [0; BATCH_HEADER];
        segment.file.read_exact_at(&mut header, FILE_HEADER)?;
        let batch = BatchHeader::decode(&header, &nonce).filter(|batch| batch.first == 0).ok_or_else(damaged)?;
        let within = FILE_HEADER + BATCH_HEADER as u64 + u64::from(batch.body) <= segment.file.metadata()?.len();
        let mut body = vec![0; usize::try_from(batch.body).ok().filter(|_octets| within).ok_or_else(damaged)?];
        segment.file.read_exact_at(&mut body, FILE_HEADER + BATCH_HEADER as u64)?;
        let (leaf, _change) = parse_record(&body).ok_or_else(damaged)?;
        Ok(Some(leaf.to_vec()))
    }

    fn segments(&self) -> Result<Vec<Arc<Segment>>, StoreError> {
        let segments = self.segments.read();
        Ok(segments.map_err(|_poisoned| StoreError::Corrupt("a writer panicked".to_owned()))?.clone())
    }

    fn segment(&self, index: u64) -> Result<Arc<Segment>, StoreError> {
        let segments = self.segments.read().map_err(|_poisoned| StoreError::Corrupt("a writer panicked".to_owned()))?;
        let after = segments.partition_point(|segment| segment.first <= index);
        let found = after.checked_sub(1).and_then(|position| segments.get(position));
        found.cloned().ok_or_else(|| StoreError::Corrupt(format!("no journal file has entry {index}")))
    }

    /// Says that records will be read soon, so that a disk fetches them side by side and not one after another.
    pub fn will_need(&self, places: &[(u64, Place)]) {
        for (index, place) in places {
            // What is wrong is told when it is read.
            if let Ok(segment) = self.segment(*index) {
                segment.file.will_need(place.offset, place.octets.into());
            }
        }
    }

    /// The leaf of a record, its CRC checked.
    pub fn leaf(&self, index: u64, place: Place) -> Result<Vec<u8>, StoreError> {
        let (mut record, leaf_octets) = self.record(index, place)?;
        record.truncate(RECORD_HEADER + leaf_octets);
        record.drain(..RECORD_HEADER);
        Ok(record)
    }

    fn record(&self, index: u64, place: Place) -> Result<(Vec<u8>, usize), StoreError> {
        let corrupt = || StoreError::Corrupt(format!("journal record {index} is damaged"));
        let octets = usize::try_from(place.octets).map_err(|_wide| corrupt())?;
        if !(RECORD_HEADER..=RECORD_OCTETS_MAX + RECORD_HEADER).contains(&octets) {
            return Err(corrupt());
        }
        let mut record = vec![0; octets];
        self.segment(index)?.file.read_exact_at(&mut record, place.offset)?;
        let (leaf, _change) =
            parse_record(&record).filter(|_whole| record_octets(&record) == Some(octets)).ok_or_else(corrupt)?;
        let leaf_octets = leaf.len();
        Ok((record, leaf_octets))
    }
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(octets.get(at..at + 8)?.try_into().ok()?))
}

/// How long the record at the beginning of `octets` says it is, header included.
pub(crate) fn record_octets(octets: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(octets, 0)?).ok()?.checked_add(8)
}

/// Leaf and change of the record at the beginning of `octets`, if it is whole.
pub(crate) fn parse_record(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let total = record_octets(octets)?;
    let body = octets.get(8..total)?;
    if crc32c::crc32c(body) != u32_at(octets, 4)? {
        return None;
    }
    let leaf_octets = usize::try_from(u32_at(body, 0)?).ok()?;
    body.get(4..)?.split_at_checked(leaf_octets)
}

/// Appends a record to `buffer`. Returns its octets; none, and nothing is appended, where it is larger than a record may be.
pub(crate) fn push_record(buffer: &mut Vec<u8>, leaf: &[u8], change: &[u8]) -> Option<u32> {
    let at = buffer.len();
    let len = u32::try_from(4 + leaf.len() + change.len()).ok()?;
    if usize::try_from(len).ok()? > RECORD_OCTETS_MAX {
        return None;
    }
    let leaf_len = u32::try_from(leaf.len()).ok()?;
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&leaf_len.to_le_bytes());
    buffer.extend_from_slice(leaf);
    buffer.extend_from_slice(change);
    let crc = crc32c::crc32c(&buffer[at + 8..]);
    buffer[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    Some(len + 8)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchHeader {
    body: u32,
    count: u32,
    first: u64,
}

impl BatchHeader {
    fn encode(self, nonce: &[u8; 16]) -> [u8; BATCH_HEADER] {
        let mut octets = [0; BATCH_HEADER];
        octets[..8].copy_from_slice(&nonce[..8]);
        octets[8..12].copy_from_slice(&self.body.to_le_bytes());
        octets[12..16].copy_from_slice(&self.count.to_le_bytes());
        octets[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(nonce), &octets[..24]);
        octets[24..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    fn decode(octets: &[u8], nonce: &[u8; 16]) -> Option<Self> {
        let header = Self { body: u32_at(octets, 8)?, count: u32_at(octets, 12)?, first: u64_at(octets, 16)? };
        // A batch without records is never written.
        (header.count > 0 && header.encode(nonce) == octets.get(..BATCH_HEADER)?).then_some(header)
    }
}

fn encode_file_header(nonce: &[u8; 16], first: u64) -> [u8; 64] {
    let mut octets = [0; 64];
    octets[..8].copy_from_slice(MAGIC);
    octets[8..24].copy_from_slice(nonce);
    octets[24..32].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&octets[..60]);
    octets[60..].copy_from_slice(&crc.to_le_bytes());
    octets
}

fn decode_file_header(octets: &[u8; 64]) -> Option<([u8; 16], u64)> {
    let nonce = octets[8..24].try_into().ok()?;
    let first = u64_at(octets, 24)?;
    (encode_file_header(&nonce, first) == *octets).then_some((nonce, first))
}

fn file_name(first: u64) -> String {
    format!("journal-{first:020}.log")
}

/// The writing half. One per process, under the directory's lock.
#[derive(Debug)]
pub struct Journal {
    disk: Disk,
    dir: PathBuf,
    /// Entries after which a new file is begun.
    file_entries_max: u64,
    reader: Arc<JournalReader>,
    current: Arc<Segment>,
    path: PathBuf,
    nonce: [u8; 16],
    /// Index of the next record.
    next: u64,
    /// Where the next batch goes.
    end: u64,
    /// Size of the file; what lies beyond `end` is zeros.
    allocated: u64,
    /// Octets of the files before the current one.
    earlier_octets: u64,
    buffer: Vec<u8>,
}

/// What a scan of the journal tells of one record.
#[derive(Debug)]
pub struct Scanned<'a> {
    /// Its index.
    pub index: u64,
    /// Where it stands.
    pub place: Place,
    /// Its leaf.
    pub leaf: &'a [u8],
    /// Its change.
    pub change: &'a [u8],
}

impl Journal {
    /// Opens the journal of a directory, making the first file where there is none. Reads the last file whole and refuses
    /// corruption. What a torn batch left at the end is not counted, and stays until [`Journal::cut_tail`].
    pub fn open(disk: &Disk, dir: &Path, file_entries_max: u64) -> Result<Self, StoreError> {
        let mut firsts = firsts(disk, dir)?;
        drop_unused(disk, dir, &mut firsts)?;
        let Some((&last, earlier)) = firsts.split_last() else { return Self::create(disk, dir, file_entries_max) };
        if firsts.first() != Some(&0) {
            return Err(StoreError::Corrupt(format!("the journal's first file, {}, is missing", file_name(0))));
        }
        let reader = Arc::new(JournalReader::default());
        let mut earlier_octets = 0;
        for &first in earlier {
            let (segment, _nonce) = open_segment(disk, dir, first)?
                .ok_or_else(|| StoreError::Corrupt(format!("{} has no valid header", file_name(first))))?;
            earlier_octets += segment.file.metadata()?.len();
            push(&reader, segment)?;
        }
        let opened = open_segment(disk, dir, last)?;
        let (current, nonce) = match opened {
            Some(opened) => opened,
            // A crash between making a file and its header becoming durable: no batch was begun in it. What is longer has
            // held batches, and is damaged; it must not be made anew.
            None if disk.metadata(&dir.join(file_name(last)))?.len() <= FILE_HEADER => {
                create_segment(disk, dir, last).map_err(Unmade::into_store)?
            }
            None => return Err(StoreError::Corrupt(format!("{} has no valid header", file_name(last)))),
        };
        push(&reader, Arc::clone(&current))?;
        let mut journal = Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file_entries_max,
            reader,
            path: dir.join(file_name(last)),
            nonce,
            next: last,
            end: FILE_HEADER,
            allocated: current.file.metadata()?.len(),
            current,
            earlier_octets,
            buffer: Vec::new(),
        };
        if let Some(&before) = earlier.last() {
            journal.check_end(before, last)?;
        }
        let (next, end) =
            scan_file(&journal.current.file, &journal.nonce, (last, FILE_HEADER), u64::MAX, &mut |_record| Ok(()))?;
        journal.next = next;
        journal.end = end;
        Ok(journal)
    }

    fn create(disk: &Disk, dir: &Path, file_entries_max: u64) -> Result<Self, StoreError> {
        let (current, nonce) = create_segment(disk, dir, 0).map_err(Unmade::into_store)?;
        let reader = Arc::new(JournalReader::default());
        push(&reader, Arc::clone(&current))?;
        Ok(Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file_entries_max,
            reader,
            current,
            path: dir.join(file_name(0)),
            nonce,
            next: 0,
            end: FILE_HEADER,
            allocated: FILE_HEADER,
            earlier_octets: 0,
            buffer: Vec::new(),
        })
    }

    /// A file must end exactly where the next one begins, else one in between is missing. Reads the file whole.
    fn check_end(&self, first: u64, next_first: u64) -> Result<(), StoreError> {
        let name = file_name(first);
        let (segment, nonce) = open_segment(&self.disk, &self.dir, first)?
            .ok_or_else(|| StoreError::Corrupt(format!("{name} has no valid header")))?;
        let (next, _end) = scan_file(&segment.file, &nonce, (first, FILE_HEADER), u64::MAX, &mut |_record| Ok(()))?;
        match next.cmp(&next_first) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(StoreError::Corrupt(format!(
                "the journal file {} is missing, or {name} was cut: it ends before entry {next}, but the file after it \
                 begins with entry {next_first}; restore it from the newest copy of the data directory",
                file_name(next)
            ))),
            Ordering::Greater => Err(StoreError::Corrupt(format!(
                "{name} goes on to entry {next}, but {} begins with entry {next_first}",
                file_name(next_first)
            ))),
        }
    }

    /// Checks that no file between the first and the last is missing. `ends_with` says of the entry before a file whether
    /// it is in the file before, where that can be told without reading the file; where it can't, or says no, the file is
    /// read. The last two files have been compared on opening.
    pub fn check_sequence(&self, ends_with: &mut dyn FnMut(u64) -> bool) -> Result<(), StoreError> {
        let firsts: Vec<u64> = self.reader.segments()?.iter().map(|segment| segment.first).collect();
        for pair in firsts.windows(2) {
            if let [first, next] = *pair
                && next != self.current.first
                && !ends_with(next - 1)
            {
                self.check_end(first, next)?;
            }
        }
        Ok(())
    }

    /// Zeroes what a torn batch left behind, so that it is gone for good before anything is written over it. To be called
    /// before the first append, and only once nothing contradicts that it is torn: if a checkpoint covers it, it is an
    /// acknowledged batch that was damaged, and its octets are what is left of it.
    pub fn cut_tail(&mut self) -> Result<(), StoreError> {
        let mut at = self.end;
        let mut chunk = vec![0; 64 * 1024];
        let mut torn = false;
        while at < self.allocated {
            let octets = usize::try_from((self.allocated - at).min(64 * 1024)).unwrap_or(chunk.len());
            self.current.file.read_exact_at(&mut chunk[..octets], at)?;
            if chunk[..octets].iter().any(|&octet| octet != 0) {
                torn = true;
                chunk[..octets].fill(0);
                self.current.file.write_all_at(&chunk[..octets], at)?;
            }
            at += octets as u64;
        }
        if torn {
            tracing::warn!(
                index = self.next,
                "a batch that was cut short by a crash was removed from the journal's end"
            );
            self.current.file.sync_data()?;
        }
        Ok(())
    }

    /// Copies what [`Journal::cut_tail`] would remove into a file of its own beside the journal, durable on return; nothing
    /// if there is nothing.
    pub fn keep_tail(&self) -> Result<(), StoreError> {
        let mut tail = vec![0; usize::try_from(self.allocated - self.end).unwrap_or(usize::MAX)];
        self.current.file.read_exact_at(&mut tail, self.end)?;
        let octets = tail.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        if octets > 0 {
            let path = self.dir.join(format!("tail-{:020}-{}.kept", self.next, uuid::Uuid::now_v7()));
            durable::write_file_on(&self.disk, &path, &tail[..octets], durable::MODE_FILE)?;
            tracing::warn!(path = %path.display(), "what stands behind the journal's last whole batch is kept aside");
        }
        Ok(())
    }

    /// The reading half.
    pub fn reader(&self) -> Arc<JournalReader> {
        Arc::clone(&self.reader)
    }

    /// Index of the next record, which is how many there are.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// Octets of all files.
    pub fn octets(&self) -> u64 {
        self.earlier_octets + self.allocated
    }

    /// Visits every record from an index on, in order.
    pub fn scan_from(
        &self,
        from: u64,
        visit: &mut dyn FnMut(Scanned<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let segments = self.reader.segments()?;
        for (position, segment) in segments.iter().enumerate() {
            let end = segments.get(position + 1).map_or(self.next, |after| after.first);
            if end <= from {
                continue;
            }
            let (nonce, first) = segment.header()?;
            let (next, _end) = scan_file(&segment.file, &nonce, (first, FILE_HEADER), u64::MAX, &mut |record| {
                if record.index >= from && record.index < end { visit(record) } else { Ok(()) }
            })?;
            if next < end {
                return Err(StoreError::Corrupt(format!("journal record {next} is damaged or missing")));
            }
        }
        Ok(())
    }

    /// The leaf of entry 0; none in an empty journal.
    pub fn first_leaf(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.next == 0 { Ok(None) } else { self.reader.first_leaf() }
    }

    /// Appends records as one batch and makes them durable: when this returns they survive a power cut. Returns where
    /// each stands.
    pub fn append(&mut self, records: &[Record], spare: Spare) -> Result<Vec<Place>, AppendError> {
        let held = self.next - self.current.first;
        if held > 0 && held + records.len() as u64 > self.file_entries_max {
            match self.roll() {
                // The file may grow longer than it should; that is better than to stop without a word.
                Err(AppendError::NotWritten(_)) if spare != Spare::Keep => {}
                rolled => rolled?,
            }
        }
        self.check_in_place()?;
        let places = self.fill_buffer(records).map_err(AppendError::NotWritten)?;
        let octets = self.buffer.len() as u64;
        self.reserve(octets, spare).map_err(AppendError::NotWritten)?;
        if let Err(error) = self.current.file.write_all_at(&self.buffer, self.end) {
            return Err(self.take_back(error));
        }
        // A crash before this line: the batch is torn or whole, nobody was answered. After it: it happened.
        self.current
            .file
            .sync_data()
            .map_err(|error| AppendError::Unknown(format!("fdatasync of {}: {error}", self.path.display())))?;
        self.end += octets;
        self.next += records.len() as u64;
        Ok(places)
    }

    /// After a write that failed: any of the batch may have arrived, even all of it. It is cleared, durably, before anybody
    /// is told that nothing happened; else a power cut could bring it back.
    fn take_back(&mut self, error: io::Error) -> AppendError {
        self.buffer.fill(0);
        let cleared =
            self.current.file.write_all_at(&self.buffer, self.end).and_then(|()| self.current.file.sync_data());
        match cleared {
            Ok(()) => AppendError::NotWritten(error),
            Err(second) => AppendError::Unknown(format!(
                "writing to {}: {error}; and what arrived of it could not be cleared: {second}",
                self.path.display()
            )),
        }
    }

    fn fill_buffer(&mut self, records: &[Record]) -> io::Result<Vec<Place>> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the batch is too large for the journal");
        self.buffer.clear();
        self.buffer.resize(BATCH_HEADER, 0);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = self.buffer.len();
            let octets = push_record(&mut self.buffer, &record.leaf, &record.change).ok_or_else(too_large)?;
            places.push(Place { offset: self.end + at as u64, octets });
        }
        let header = BatchHeader {
            body: u32::try_from(self.buffer.len() - BATCH_HEADER).map_err(|_wide| too_large())?,
            count: u32::try_from(records.len()).map_err(|_wide| too_large())?,
            first: self.next,
        };
        self.buffer[..BATCH_HEADER].copy_from_slice(&header.encode(&self.nonce));
        Ok(places)
    }

    /// Makes room by writing zeros ahead, so that a full disk is met here, before anything is decided, and so that the
    /// usual fdatasync has no metadata to write.
    fn reserve(&mut self, octets: u64, spare: Spare) -> io::Result<()> {
        let needed = self.end + octets;
        let (kept, ahead) = match spare {
            Spare::Keep => (SPARE_OCTETS, (self.allocated / 4).clamp(GROW_MIN, GROW_MAX)),
            Spare::KeepTight => (SPARE_OCTETS, 0),
            Spare::Use => (0, 0),
        };
        if needed + kept <= self.allocated {
            return Ok(());
        }
        let target = needed + kept + ahead;
        let zeros = vec![0; 64 * 1024];
        while self.allocated < target {
            let chunk = usize::try_from((target - self.allocated).min(64 * 1024)).unwrap_or(zeros.len());
            match self.current.file.write_all_at(&zeros[..chunk], self.allocated) {
                Ok(()) => self.allocated += chunk as u64,
                // What was asked for is there, though not the rest.
                Err(_) if needed + kept <= self.allocated => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The file at our path must still be ours and whole: a journal that was removed, replaced or cut is noticed before
    /// anything more is acknowledged.
    fn check_in_place(&self) -> Result<(), AppendError> {
        let lost = |why: String| AppendError::Lost(format!("{}: {why}", self.path.display()));
        let ours = self.current.file.metadata().map_err(|error| lost(error.to_string()))?;
        let there = self.disk.metadata(&self.path).map_err(|error| lost(error.to_string()))?;
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(lost("the file was replaced while the daemon was running".to_owned()));
        }
        if there.len() < self.allocated.min(self.end) {
            return Err(lost("the file was cut while the daemon was running".to_owned()));
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), AppendError> {
        let made = create_segment(&self.disk, &self.dir, self.next);
        let (current, nonce) = made.map_err(|unmade| match unmade {
            Unmade::NotWritten(error) => {
                // It must not stand behind a file that goes on. If it can't be removed, opening does.
                let _left = self.disk.remove_file(&self.dir.join(file_name(self.next)));
                AppendError::NotWritten(error)
            }
            Unmade::NotDurable(error) => AppendError::Lost(format!("a new journal file: fsync: {error}")),
        })?;
        push(&self.reader, Arc::clone(&current)).map_err(|error| AppendError::Lost(error.to_string()))?;
        self.earlier_octets += self.allocated;
        self.path = self.dir.join(file_name(self.next));
        self.current = current;
        self.nonce = nonce;
        self.end = FILE_HEADER;
        self.allocated = FILE_HEADER;
        Ok(())
    }
}

/// Why a journal file could not be made.
enum Unmade {
    /// It may be tried again.
    NotWritten(io::Error),
    /// A sync failed, which is never tried again.
    NotDurable(io::Error),
}

impl Unmade {
    fn into_store(self) -> StoreError {
        match self {
            Self::NotWritten(error) | Self::NotDurable(error) => error.into(),
        }
    }
}

/// The first indexes of a directory's files, in order.
fn firsts(disk: &Disk, dir: &Path) -> Result<Vec<u64>, StoreError> {
    let mut firsts = Vec::new();
    for name in disk.names(dir)? {
        let digits = name.strip_prefix("journal-").and_then(|name| name.strip_suffix(".log"));
        if let Some(first) = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Removes a last file that never held a batch, because making it failed or was cut off: the one before may have gone on.
fn drop_unused(disk: &Disk, dir: &Path, firsts: &mut Vec<u64>) -> Result<(), StoreError> {
    let Some((&last, earlier)) = firsts.split_last() else { return Ok(()) };
    let path = dir.join(file_name(last));
    if !earlier.is_empty() && disk.metadata(&path)?.len() <= FILE_HEADER {
        tracing::info!(file = %path.display(), "a journal file that was never used is removed");
        disk.remove_file(&path)?;
        disk.sync_dir(dir)?;
        firsts.pop();
    }
    Ok(())
}

fn push(reader: &JournalReader, segment: Arc<Segment>) -> Result<(), StoreError> {
    reader.segments.write().map_err(|_poisoned| StoreError::Corrupt("a writer panicked".to_owned()))?.push(segment);
    Ok(())
}

/// Makes a journal file. Durable on return: content, name, and size.
fn create_segment(disk: &Disk, dir: &Path, first: u64) -> Result<Opened, Unmade> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| Unmade::NotWritten(io::Error::other(error)))?;
    let written = || {
        let file = disk.open_or_create(&dir.join(file_name(first)))?;
        // What an interrupted making of it left.
        file.set_len(0)?;
        file.write_all_at(&encode_file_header(&nonce, first), 0)?;
        Ok(file)
    };
    let file = written().map_err(Unmade::NotWritten)?;
    file.sync_all().and_then(|()| disk.sync_dir(dir)).map_err(Unmade::NotDurable)?;
    Ok((Arc::new(Segment { first, file }), nonce))
}

/// Opens a journal file; none if its header is not whole.
fn open_segment(disk: &Disk, dir: &Path, first: u64) -> Result<Option<Opened>, StoreError> {
    let file = disk.open(&dir.join(file_name(first)))?;
    let mut header = [0; 64];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match decode_file_header(&header) {
        Some((nonce, named)) if named == first => Ok(Some((Arc::new(Segment { first, file }), nonce))),
        Some((_nonce, named)) => {
            Err(StoreError::Corrupt(format!("{} holds entries from {named} on", file_name(first))))
        }
        None => Ok(None),
    }
}

/// Visits the records of a file in order, from the batch that begins with an index at an offset. Returns the index after
/// the last whole batch and the offset behind it. What is at or behind `to` is not looked at: it may be being written.
///
/// An unreadable batch ends the scan if nothing valid follows; otherwise the file is corrupt.
fn scan_file(
    file: &DiskFile,
    nonce: &[u8; 16],
    (first, offset): (u64, u64),
    to: u64,
    visit: &mut dyn FnMut(Scanned<'_>) -> Result<(), StoreError>,
) -> Result<(u64, u64), StoreError> {
    let size = file.metadata()?.len();
    let mut index = first;
    let mut at = offset;
    let mut body = Vec::new();
    let mut header = [0; BATCH_HEADER];
    while index < to && at + BATCH_HEADER as u64 <= size {
        file.read_exact_at(&mut header, at)?;
        let batch = BatchHeader::decode(&header, nonce).filter(|batch| batch.first == index);
        let Some(batch) = batch.filter(|batch| at + BATCH_HEADER as u64 + u64::from(batch.body) <= size) else { break };
        body.resize(usize::try_from(batch.body).unwrap_or(usize::MAX), 0);
        file.read_exact_at(&mut body, at + BATCH_HEADER as u64)?;
        if !batch_is_whole(&body, batch.count) {
            break;
        }
        let mut within = 0;
        for position in 0..u64::from(batch.count) {
            let rest = &body[within..];
            let (Some((leaf, change)), Some(octets)) = (parse_record(rest), record_octets(rest)) else {
                return Err(StoreError::Corrupt(format!("journal record {} is damaged", index + position)));
            };
            let offset = at + BATCH_HEADER as u64 + within as u64;
            let place = Place { offset, octets: u32::try_from(octets).unwrap_or(u32::MAX) };
            visit(Scanned { index: index + position, place, leaf, change })?;
            within += octets;
        }
        index += u64::from(batch.count);
        at += BATCH_HEADER as u64 + u64::from(batch.body);
    }
    if index >= to {
        return Ok((index, at));
    }
    if let Some(later) = find_batch(file, nonce, at, size, index)? {
        return Err(StoreError::Corrupt(format!(
            "journal record {index} is damaged: it can't be read, but entry {later} behind it can"
        )));
    }
    Ok((index, at))
}

fn batch_is_whole(body: &[u8], count: u32) -> bool {
    let mut within = 0;
    for _ in 0..count {
        let Some(rest) = body.get(within..) else { return false };
        if parse_record(rest).is_none() {
            return false;
        }
        within += record_octets(rest).unwrap_or(body.len());
    }
    within == body.len()
}

/// Looks for a whole batch behind `from`, at any offset. Returns its first index.
fn find_batch(file: &DiskFile, nonce: &[u8; 16], from: u64, size: u64, above: u64) -> Result<Option<u64>, StoreError> {
    const WINDOW: u64 = 1024 * 1024;
    let mut at = from + 1;
    let mut window = Vec::new();
    while at + (BATCH_HEADER as u64) <= size {
        let octets = usize::try_from((size - at).min(WINDOW)).unwrap_or(usize::MAX);
        window.resize(octets, 0);
        file.read_exact_at(&mut window, at)?;
        for (position, candidate) in window.windows(BATCH_HEADER).enumerate() {
            if candidate[0] != nonce[0] || candidate[..8] != nonce[..8] {
                continue;
            }
            let Some(batch) = BatchHeader::decode(candidate, nonce).filter(|batch| batch.first > above) else {
                continue;
            };
            let start = at + position as u64 + BATCH_HEADER as u64;
            if start + u64::from(batch.body) > size {
                continue;
            }
            let mut body = vec![0; usize::try_from(batch.body).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut body, start)?;
            if batch_is_whole(&body, batch.count) {
                return Ok(Some(batch.first));
            }
        }
        at += octets.saturating_sub(BATCH_HEADER - 1).max(1) as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use super::{Journal, JournalReader, Record, Spare};
    use crate::durable::Disk;

    /// Any range up to the end of a batch is read beside the one who appends, from any record on, across files; and a file that
    /// is only just being made is passed over.
    #[test]
    fn ranges_beside_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut journal = Journal::open(&disk, dir.path(), 4).unwrap();
        assert!(JournalReader::open(&disk, dir.path()).unwrap().first_leaf().is_err(), "there is no record yet");
        for batch in [3_u8, 1, 2, 4, 2] {
            let first = u8::try_from(journal.next_index()).unwrap();
            let records: Vec<Record> = (first..first + batch)
                .map(|number| Record { leaf: Arc::from([number].as_slice()), change: vec![number; 3] })
                .collect();
            journal.append(&records, Spare::Keep).unwrap();
        }
        std::fs::write(dir.path().join(format!("journal-{:020}.log", 12)), b"").unwrap();
        let reader = JournalReader::open(&disk, dir.path()).unwrap();
        assert_eq!(reader.first_leaf().unwrap().unwrap(), [0]);
        for to in [3, 4, 6, 10, 12] {
            for from in 0..=to {
                let mut read = Vec::new();
                reader
                    .read_range(from, to, &mut |record| {
                        assert_eq!((record.leaf[0], record.change.len()), (u8::try_from(record.index).unwrap(), 3));
                        read.push(record.index);
                        Ok(())
                    })
                    .unwrap();
                // A batch that ends behind is not looked at, one that ends there is read whole.
                assert_eq!(read, (from..to).collect::<Vec<_>>(), "{from}..{to}");
            }
        }
        assert!(reader.read_range(3, 13, &mut |_record| Ok(())).is_err(), "there are no more");
    }
}
