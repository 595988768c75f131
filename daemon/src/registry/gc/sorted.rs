//! Rows in the order of their digests, more than memory holds: pieces are sorted in memory, written one behind the other to a
//! file without a name, and merged as they are read back. Knows rows; refuses to know what they say.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use common::digest::Digest;

/// Rows that are sorted in memory: 5 MiB of them.
const PIECE_ROWS: usize = 1 << 17;
/// Rows of each piece that are read back at once: ten million rows are 80 pieces, of some MiB in all.
const READ_ROWS: usize = 512;
/// Octets of a row in the file.
const ROW_OCTETS: usize = 32 + 8;

/// A digest, and a number that goes with it.
pub(super) type Row = (Digest, u64);

/// Takes rows in any order.
pub(super) struct Sorter {
    file: File,
    end: u64,
    rows: Vec<Row>,
    pieces: Vec<Piece>,
    piece_rows: usize,
}

/// Rows of the file that are in order.
struct Piece {
    at: u64,
    rows: u64,
    read: VecDeque<Row>,
}

impl Sorter {
    /// Nothing yet; `dir` is where there is room.
    pub(super) fn in_dir(dir: &Path) -> io::Result<Self> {
        Self::with_pieces(dir, PIECE_ROWS)
    }

    fn with_pieces(dir: &Path, piece_rows: usize) -> io::Result<Self> {
        let file = tempfile::tempfile_in(dir)?;
        Ok(Self { file, end: 0, rows: Vec::new(), pieces: Vec::new(), piece_rows })
    }

    /// Takes a row.
    pub(super) fn push(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() >= self.piece_rows { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_unstable();
        let mut octets = Vec::with_capacity(self.rows.len().min(READ_ROWS) * ROW_OCTETS);
        let (at, rows) = (self.end, self.rows.len() as u64);
        for some in self.rows.chunks(READ_ROWS) {
            octets.clear();
            for (digest, number) in some {
                octets.extend_from_slice(digest.as_bytes());
                octets.extend_from_slice(&number.to_le_bytes());
            }
            self.file.write_all_at(&octets, self.end)?;
            self.end += octets.len() as u64;
        }
        self.rows.clear();
        self.pieces.push(Piece { at, rows, read: VecDeque::new() });
        Ok(())
    }

    /// All rows, in order.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if !self.rows.is_empty() {
            self.spill()?;
        }
        let mut sorted = Sorted { file: self.file, pieces: self.pieces, heap: BinaryHeap::new() };
        for which in 0..sorted.pieces.len() {
            sorted.refill(which)?;
        }
        Ok(sorted)
    }
}

/// Gives rows in order.
pub(super) struct Sorted {
    file: File,
    pieces: Vec<Piece>,
    /// The first row of each piece that has any left.
    heap: BinaryHeap<Reverse<(Row, usize)>>,
}

impl Sorted {
    /// The next row; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let Some(Reverse((row, which))) = self.heap.pop() else { return Ok(None) };
        self.refill(which)?;
        Ok(Some(row))
    }

    /// The next row without taking it.
    pub(super) fn peek(&self) -> Option<Row> {
        self.heap.peek().map(|Reverse((row, _which))| *row)
    }

    fn refill(&mut self, which: usize) -> io::Result<()> {
        let Some(piece) = self.pieces.get_mut(which) else { return Ok(()) };
        if piece.read.is_empty() && piece.rows > 0 {
            let count = piece.rows.min(READ_ROWS as u64);
            let mut octets = vec![0; usize::try_from(count).map_err(io::Error::other)? * ROW_OCTETS];
            self.file.read_exact_at(&mut octets, piece.at)?;
            piece.at += octets.len() as u64;
            piece.rows -= count;
            for row in octets.chunks_exact(ROW_OCTETS) {
                let (mut digest, mut number) = ([0; 32], [0; 8]);
                digest.copy_from_slice(&row[..32]);
                number.copy_from_slice(&row[32..]);
                piece.read.push_back((Digest::from_bytes(digest), u64::from_le_bytes(number)));
            }
        }
        self.heap.extend(piece.read.pop_front().map(|row| Reverse((row, which))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::digest::Digest;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::Sorter;

    proptest! {
        /// What comes out is what went in, in order, however many pieces it took.
        #[test]
        fn sorts(rows in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>()), 0..200), piece in 1_usize..40) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::with_pieces(dir.path(), piece).unwrap();
            let mut expected: Vec<_> = rows.iter().map(|(digest, n)| (Digest::from_bytes(*digest), *n)).collect();
            for row in &expected {
                sorter.push(*row).unwrap();
            }
            let mut sorted = sorter.finish().unwrap();
            expected.sort_unstable();
            for row in expected {
                prop_assert_eq!(sorted.peek(), Some(row));
                prop_assert_eq!(sorted.next().unwrap(), Some(row));
            }
            prop_assert_eq!((sorted.peek(), sorted.next().unwrap()), (None, None));
        }
    }
}
