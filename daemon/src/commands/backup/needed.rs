//! Which blobs a log's records point to at a checkpoint: the list of an earlier generation, and what the records since then
//! changed. Sorted by digest, in constant memory: changes beyond a limit go to unnamed files in sorted runs, and are merged.
//! Knows digests, sizes and lists; refuses to know whether the bytes are anywhere.
//!
//! A list is text, a line for each blob: digest in hexadecimal, a blank, octets, and ` lacking` where its bytes were missing or
//! damaged when the backup was made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use common::digest::Digest;

use super::repository::open_file;
use crate::store::records::Write as Change;

/// Changes that are held in memory; some 5 MiB.
const RUN_MAX: usize = 65_536;
/// Octets of a change in a run: digest, octets, whether it is needed.
const CHANGE_OCTETS: usize = 32 + 8 + 1;
/// Octets of the longest line of a list, with room to spare.
const LINE_OCTETS_MAX: u64 = 128;

/// A line of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    /// Which.
    pub(super) digest: Digest,
    /// Octets.
    pub(super) size: u64,
    /// Whether the backup has no bytes of it.
    pub(super) is_lacking: bool,
}

impl Blob {
    /// Its line.
    pub(super) fn line(&self) -> String {
        let lacking = if self.is_lacking { " lacking" } else { "" };
        format!("{} {}{lacking}\n", self.digest.to_hex(), self.size)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let digest = Digest::from_hex(words.next()?).ok()?;
        let size = words.next()?.parse().ok()?;
        let is_lacking = match words.next() {
            None => false,
            Some("lacking") => true,
            Some(_) => return None,
        };
        let blob = Self { digest, size, is_lacking };
        (words.next().is_none() && blob.line() == line).then_some(blob)
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

/// The blobs of a list, in order. An error is the last item.
pub(super) struct List<R> {
    input: R,
    before: Option<Digest>,
    ended: bool,
}

impl List<BufReader<File>> {
    /// Opens a list.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufReader::new(open_file(path)?)))
    }
}

impl<R: BufRead> List<R> {
    /// A list from somewhere else.
    pub(super) fn new(input: R) -> Self {
        Self { input, before: None, ended: false }
    }

    fn read(&mut self) -> io::Result<Option<Blob>> {
        let mut line = Vec::new();
        if self.input.by_ref().take(LINE_OCTETS_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let blob = std::str::from_utf8(&line).ok().and_then(Blob::parse);
        let blob = blob.ok_or_else(|| damaged("a line of the list of blobs is damaged"))?;
        if self.before.is_some_and(|before| before >= blob.digest) {
            return Err(damaged("the list of blobs is not in order"));
        }
        self.before = Some(blob.digest);
        Ok(Some(blob))
    }
}

impl<R: BufRead> Iterator for List<R> {
    type Item = io::Result<Blob>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// What the records changed.
pub(super) struct Changes {
    /// Where unnamed files are made.
    dir: PathBuf,
    /// The newest of each: octets, and whether it is needed.
    newest: BTreeMap<Digest, (u64, bool)>,
    runs: Vec<File>,
    run_max: usize,
}

impl Changes {
    /// None yet.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), newest: BTreeMap::new(), runs: Vec::new(), run_max: RUN_MAX }
    }

    /// Takes a record's change into account; each once, in the log's order.
    pub(super) fn take(&mut self, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            if let Change::SetBlob { digest, size, refs } = change {
                self.newest.insert(*digest, (*size, *refs > 0));
            }
        }
        if self.newest.len() >= self.run_max { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut out = BufWriter::new(tempfile::tempfile_in(&self.dir)?);
        for (digest, (size, needed)) in std::mem::take(&mut self.newest) {
            out.write_all(digest.as_bytes())?;
            out.write_all(&size.to_le_bytes())?;
            out.write_all(&[u8::from(needed)])?;
        }
        let mut file = out.into_inner().map_err(|error| error.into_error())?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }

    /// Calls `visit` with each blob that is needed now, in order, and whether it was in the list before.
    pub(super) fn merge(
        mut self,
        before: Option<List<BufReader<File>>>,
        visit: &mut dyn FnMut(Blob, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        self.spill()?;
        let mut runs: Vec<BufReader<File>> = self.runs.into_iter().map(BufReader::new).collect();
        let mut before = before.into_iter().flatten().peekable();
        // The smallest digest first, and of one digest the newest run.
        let mut heap = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heap.extend(
                next_change(run)?.map(|(digest, size, needed)| Reverse((digest, Reverse(number), size, needed))),
            );
        }
        loop {
            let changed = heap.peek().map(|Reverse((digest, ..))| *digest);
            // What comes before the next change is as it was.
            while let Some(blob) = before
                .next_if(|blob| blob.as_ref().is_ok_and(|blob| changed.is_none_or(|changed| blob.digest < changed)))
            {
                visit(Blob { is_lacking: false, ..blob? }, true)?;
            }
            let was_there = match before.next_if(|blob| blob.as_ref().map_or(true, |blob| Some(blob.digest) == changed))
            {
                Some(blob) => blob.map(|_there| true)?,
                None => false,
            };
            let Some(Reverse((digest, _run, size, needed))) = heap.peek().copied() else { return Ok(()) };
            while let Some(Reverse((_digest, Reverse(number), ..))) =
                heap.peek().copied().filter(|Reverse((other, ..))| *other == digest)
            {
                heap.pop();
                if let Some((digest, size, needed)) = next_change(&mut runs[number])? {
                    heap.push(Reverse((digest, Reverse(number), size, needed)));
                }
            }
            if needed {
                visit(Blob { digest, size, is_lacking: false }, was_there)?;
            }
        }
    }
}

fn next_change(run: &mut BufReader<File>) -> io::Result<Option<(Digest, u64, bool)>> {
    if run.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut octets = [0; CHANGE_OCTETS];
    run.read_exact(&mut octets)?;
    let (digest, rest) = octets.split_first_chunk::<32>().ok_or_else(|| damaged("a run is cut"))?;
    let (size, needed) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("a run is cut"))?;
    Ok(Some((Digest::from_bytes(*digest), u64::from_le_bytes(*size), needed == [1])))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;
    use std::io::Write as _;

    use common::digest::Digest;
    use proptest::prelude::{any, prop, proptest};

    use super::{Blob, Changes, List};
    use crate::store::records::Write as Change;

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    proptest! {
        /// Whatever is in the list and whatever changes, spilled or not: what is left is what a map would hold.
        #[test]
        fn as_a_map(
            before in prop::collection::btree_map(any::<u8>(), 1_u64..1000, 0..40),
            changes in prop::collection::vec((any::<u8>(), 1_u64..1000, 0_u64..2), 0..200),
            run_max in 1_usize..50,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("list");
            let mut file = std::fs::File::create(&path).unwrap();
            for (number, size) in &before {
                file.write_all(Blob { digest: digest(*number), size: *size, is_lacking: number % 7 == 0 }.line().as_bytes()).unwrap();
            }
            let mut expected: BTreeMap<u8, u64> = before.clone();
            let mut all = Changes { run_max, ..Changes::new(dir.path()) };
            for (number, size, refs) in changes {
                all.take(&[Change::SetBlob { digest: digest(number), size, refs }]).unwrap();
                if refs > 0 { expected.insert(number, size); } else { expected.remove(&number); }
            }
            let mut found = Vec::new();
            all.merge(Some(List::open(&path).unwrap()), &mut |blob, was_there| {
                found.push((blob, was_there));
                Ok(())
            }).unwrap();
            let expected: Vec<_> = expected.into_iter().map(|(number, size)| {
                (Blob { digest: digest(number), size, is_lacking: false }, before.contains_key(&number))
            }).collect();
            assert_eq!(found, expected);
        }

        /// No octets make it panic, and what it takes is what it would write.
        #[test]
        fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let blobs: Vec<_> = List::new(&octets[..]).collect();
            if let Ok(blobs) = blobs.into_iter().collect::<std::io::Result<Vec<Blob>>>() {
                let text: String = blobs.iter().map(Blob::line).collect();
                assert_eq!(text.as_bytes(), &octets[..]);
            }
        }
    }

    /// Lines that no list has.
    #[test]
    fn damaged_lists() {
        let good = Blob { digest: digest(1), size: 5, is_lacking: true }.line();
        let after = Blob { digest: digest(2), size: 5, is_lacking: false }.line();
        let is_good = |text: &str| List::new(text.as_bytes()).all(|blob| blob.is_ok());
        assert!(is_good("") && is_good(&good) && is_good(&format!("{good}{after}")));
        for bad in [
            format!("{after}{good}"),
            format!("{good}{good}"),
            good.trim_end().to_owned(),
            good.replace(" 5", " 05"),
            good.replace(" 5", " +5"),
            good.replace("lacking", "missing"),
            good.replace("lacking", "lacking x"),
            good.to_uppercase(),
        ] {
            assert!(!is_good(&bad), "{bad}");
        }
    }
}
