//! Reading the journal without trusting it: every file, batch and record in order, and going on behind what is damaged, so
//! that all of the damage is named. Only ever reads, also beside a daemon that appends. Knows the layout that
//! `store/journal.rs` describes, from that text and not by its code; refuses to know what is in the records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::audit::TREE_SIZE_MAX;

use crate::store::journal::Place;

const MAGIC: &[u8; 8] = b"mregjnl1";
const FILE_HEADER: u64 = 64;
const BATCH_HEADER: usize = 28;
const RECORD_HEADER: usize = 12;
/// More than any batch has: a batch is closed at 32 MiB of records, and one record may be as large.
const BODY_OCTETS_MAX: u32 = 128 * 1024 * 1024;
/// Octets that are searched at once for a batch behind damage.
const WINDOW: usize = 1024 * 1024;

/// The end for who wants all there is: where no batch follows, the journal ends.
pub(super) const TO_ITS_END: u64 = u64::MAX;

/// Damage: where, and what.
pub(super) type Fault = (String, String);

/// One record: where it stands, and its leaf and change, if it is whole.
pub(super) struct Found<'b> {
    pub(super) index: u64,
    pub(super) place: Place,
    pub(super) content: Option<(&'b [u8], &'b [u8])>,
}

/// A file of the journal, open.
struct Segment {
    name: String,
    file: File,
    nonce: [u8; 16],
    at: u64,
}

/// The reader.
pub(super) struct Frames {
    dir: PathBuf,
    segment: Option<Segment>,
    /// Index of the next record.
    next: u64,
    body: Vec<u8>,
}

impl Frames {
    /// At the beginning of a directory's journal.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), segment: None, next: 0, body: Vec::new() }
    }

    /// Index of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads the next batch that begins before `end`, and visits its records. False where there is none.
    pub(super) fn batch<E: From<io::Error>>(
        &mut self,
        end: u64,
        faults: &mut Vec<Fault>,
        mut visit: impl FnMut(Found<'_>, &mut Vec<Fault>) -> Result<(), E>,
    ) -> Result<bool, E> {
        while self.next < end {
            if !self.enter(end, faults)? {
                return Ok(false);
            }
            let Some(segment) = &mut self.segment else { return Ok(false) };
            let Some((count, octets)) = segment.header_at(segment.at, self.next)? else {
                if self.skip(end, faults)? {
                    continue;
                }
                return Ok(false);
            };
            self.body.resize(octets, 0);
            segment.file.read_exact_at(&mut self.body, segment.at + BATCH_HEADER as u64)?;
            // A broken batch with nothing behind it is what a crash leaves: nobody was answered. Below `end` none may be.
            let is_last = end == TO_ITS_END && !is_whole(&self.body, count);
            if is_last && segment.find(self.next)?.is_none() && self.first_file_after(self.next)?.is_none() {
                return Ok(false);
            }
            let Some(segment) = &mut self.segment else { return Ok(false) };
            let mut within = 0;
            for position in 0..u64::from(count) {
                let index = self.next + position;
                let offset = segment.at + BATCH_HEADER as u64 + within as u64;
                let rest = self.body.get(within..).unwrap_or_default();
                let Some(len) = record_octets(rest) else {
                    faults.push((
                        format!("entry {index}"),
                        format!("{}, octet {offset}: the record's length is damaged, and those behind it in the batch can't be told apart", segment.name),
                    ));
                    for index in index..self.next + u64::from(count) {
                        let place = Place { offset, octets: 0 };
                        visit(Found { index, place, content: None }, faults)?;
                    }
                    break;
                };
                let content = parse(&rest[..len]);
                if content.is_none() {
                    let what = format!(
                        "{}, octets {offset} to {}: the record's CRC doesn't match",
                        segment.name,
                        offset + len as u64
                    );
                    faults.push((format!("entry {index}"), what));
                }
                let place = Place { offset, octets: u32::try_from(len).unwrap_or(u32::MAX) };
                visit(Found { index, place, content }, faults)?;
                within += len;
            }
            segment.at += BATCH_HEADER as u64 + octets as u64;
            self.next += u64::from(count);
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether anything but zeros follows the last batch that was read.
    pub(super) fn has_remains(&self) -> io::Result<bool> {
        let Some(segment) = &self.segment else { return Ok(false) };
        let mut at = segment.at;
        let size = segment.file.metadata()?.len();
        let mut window = vec![0; WINDOW];
        while at < size {
            let octets = usize::try_from(size - at).unwrap_or(WINDOW).min(WINDOW);
            segment.file.read_exact_at(&mut window[..octets], at)?;
            if window[..octets].iter().any(|octet| *octet != 0) {
                return Ok(true);
            }
            at += octets as u64;
        }
        Ok(false)
    }

    /// Enters the file that begins with the next record, where there is one. False where no file can hold it.
    fn enter(&mut self, end: u64, faults: &mut Vec<Fault>) -> io::Result<bool> {
        loop {
            match Segment::open(&self.dir, self.next) {
                Ok(Ok(segment)) => {
                    // It is the one we are in already, unless its name says otherwise.
                    if self.segment.as_ref().is_none_or(|current| current.name != segment.name) {
                        self.segment = Some(segment);
                    }
                    return Ok(true);
                }
                Ok(Err(fault)) => {
                    faults.push(fault);
                    self.segment = None;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if self.segment.is_some() {
                return Ok(true);
            }
            // The file is missing or can't be read: the next one, if there is any, says what is lost.
            let Some(later) = self.first_file_after(self.next)?.filter(|later| *later < end) else {
                if end == TO_ITS_END {
                    return Ok(false);
                }
                faults.push(missing(self.next, end));
                return Ok(false);
            };
            faults.push(missing(self.next, later));
            self.next = later;
        }
    }

    /// Goes on behind a batch that can't be read: at the next one in the file, or at the next file. False at the end.
    fn skip(&mut self, end: u64, faults: &mut Vec<Fault>) -> io::Result<bool> {
        let Some(segment) = &self.segment else { return Ok(false) };
        let within = segment.find(self.next)?;
        let later = match within {
            Some((_at, first)) => Some(first),
            None => self.first_file_after(self.next)?,
        };
        let later = later.filter(|later| *later < end);
        if later.is_none() && end == TO_ITS_END {
            return Ok(false);
        }
        let what = format!("{}, octet {}: no whole batch begins here", segment.name, segment.at);
        faults.push((format!("entry {}", self.next), what));
        let later = later.unwrap_or(end);
        faults.push(missing(self.next, later));
        self.next = later;
        match (within, &mut self.segment) {
            (Some((at, _first)), Some(segment)) => segment.at = at,
            _ => self.segment = None,
        }
        Ok(true)
    }

    fn first_file_after(&self, index: u64) -> io::Result<Option<u64>> {
        let mut found = None;
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".log"));
            let first = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse::<u64>().ok());
            let is_later = |first: &u64| (index + 1..=TREE_SIZE_MAX).contains(first);
            found = found.into_iter().chain(first.filter(is_later)).min();
        }
        Ok(found)
    }
}

fn missing(from: u64, to: u64) -> Fault {
    let place = if to == from + 1 { format!("entry {from}") } else { format!("entries {from} to {}", to - 1) };
    (place, "missing from the journal".to_owned())
}

impl Segment {
    /// Opens the file that begins with an entry.
    fn open(dir: &Path, first: u64) -> io::Result<Result<Self, Fault>> {
        let name = format!("journal-{first:020}.log");
        let file = File::open(dir.join(&name))?;
        let mut header = [0; 64];
        let read = file.read_exact_at(&mut header, 0);
        let whole = read.is_ok()
            && &header[..8] == MAGIC
            && u32_at(&header, 60) == Some(crc32c::crc32c(&header[..60]))
            && u64_at(&header, 24) == Some(first);
        if !whole {
            return Ok(Err((name, "the file's header is damaged, so nothing in it can be told".to_owned())));
        }
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&header[8..24]);
        Ok(Ok(Self { name, file, nonce, at: FILE_HEADER }))
    }

    /// Records and octets of the body of the batch at an offset, if a whole header of these records stands there.
    fn header_at(&self, at: u64, first: u64) -> io::Result<Option<(u32, usize)>> {
        let size = self.file.metadata()?.len();
        if at + BATCH_HEADER as u64 > size {
            return Ok(None);
        }
        let mut header = [0; BATCH_HEADER];
        self.file.read_exact_at(&mut header, at)?;
        let header = self.header(&header).filter(|(_, _, named)| *named == first);
        Ok(header.and_then(|(count, octets, _)| {
            let fits = at + BATCH_HEADER as u64 + u64::from(octets) <= size && octets <= BODY_OCTETS_MAX;
            fits.then_some((count, usize::try_from(octets).ok()?))
        }))
    }

    /// Count, octets and first index of a batch's header. One that no batch can have is none, whatever its CRC: no
    /// records, more than fit into its octets, or entries that no log can reach.
    fn header(&self, octets: &[u8]) -> Option<(u32, u32, u64)> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.nonce), octets.get(..24)?);
        let whole = octets[..8] == self.nonce[..8] && u32_at(octets, 24)? == crc;
        let (count, body, first) = (u32_at(octets, 12)?, u32_at(octets, 8)?, u64_at(octets, 16)?);
        let fits = count > 0
            && u64::from(count) * RECORD_HEADER as u64 <= u64::from(body)
            && first.checked_add(count.into()).is_some_and(|next| next <= TREE_SIZE_MAX);
        (whole && fits).then_some((count, body, first))
    }

    /// The next batch's header behind where we are, of entries above an index: its offset and first index.
    fn find(&self, above: u64) -> io::Result<Option<(u64, u64)>> {
        let size = self.file.metadata()?.len();
        let mut window = vec![0; WINDOW];
        let mut at = self.at + 1;
        while at + BATCH_HEADER as u64 <= size {
            let octets = usize::try_from(size - at).unwrap_or(WINDOW).min(WINDOW);
            self.file.read_exact_at(&mut window[..octets], at)?;
            for (position, candidate) in window[..octets].windows(BATCH_HEADER).enumerate() {
                if candidate[..8] == self.nonce[..8]
                    && let Some((_count, _octets, first)) =
                        self.header(candidate).filter(|(_, _, first)| *first > above)
                {
                    return Ok(Some((at + position as u64, first)));
                }
            }
            at += octets.saturating_sub(BATCH_HEADER - 1).max(1) as u64;
        }
        Ok(None)
    }
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(octets.get(at..at + 8)?.try_into().ok()?))
}

/// Octets of the record at the beginning, header included, if as many are there.
fn record_octets(octets: &[u8]) -> Option<usize> {
    let total = usize::try_from(u32_at(octets, 0)?).ok()?.checked_add(8)?;
    (total >= RECORD_HEADER && total <= octets.len()).then_some(total)
}

/// Whether a body is exactly so many records.
fn is_whole(body: &[u8], count: u32) -> bool {
    let mut rest = body;
    for _ in 0..count {
        let Some((record, after)) = record_octets(rest).and_then(|len| rest.split_at_checked(len)) else {
            return false;
        };
        if parse(record).is_none() {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Leaf and change of a record, if its CRC matches.
fn parse(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = record.get(8..)?;
    if u32_at(record, 4)? != crc32c::crc32c(body) {
        return None;
    }
    body.get(4..)?.split_at_checked(usize::try_from(u32_at(body, 0)?).ok()?)
}
