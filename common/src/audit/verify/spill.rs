//! What must be remembered of every entry, kept outside of memory: fingerprints in partitions, each with few enough
//! different ones to be held at once. How often each comes costs no memory.
//!
//! Knows how rows are partitioned and gathered again. Refuses to know where the octets lie: that is the caller's
//! [`Spill`].

use std::collections::HashMap;

/// The most partitions of a table. Up to 2^27 entries each has at most about 2^18 rows; beyond, they grow.
const PARTITIONS_MAX: u64 = 512;

/// Rows of a partition that is not to be divided further: what is held of them is 24 octets for each that differs.
const PARTITION_ROWS: u64 = 1 << 18;

/// Rows gathered in memory before they are written.
const CHUNK_ROWS: usize = 512;

/// Stands for "no chunk before this one" and for "no previous entry".
pub(super) const NONE: u64 = u64::MAX;

/// Scratch space that can be written at its end and read back anywhere, such as an unnamed temporary file. Nothing of it
/// need survive; nobody else may change it. Writes are of a few kilobytes.
pub trait Spill {
    /// Why writing or reading failed.
    type Error;

    /// Appends octets and says where they begin.
    ///
    /// # Errors
    /// Where there is no room; the check is then given up.
    fn append(&mut self, octets: &[u8]) -> Result<u64, Self::Error>;

    /// Reads octets that were appended.
    ///
    /// # Errors
    /// Where they cannot be read; the check is then given up.
    fn read(&mut self, at: u64, octets: &mut [u8]) -> Result<(), Self::Error>;
}

/// A row: a fingerprint in two halves, the index of its entry, and one number more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) high: u64,
    pub(super) low: u64,
    pub(super) index: u64,
    pub(super) more: u64,
}

/// Rows by fingerprint. With `wide` rows the last number is kept as well.
pub(super) struct Table {
    partitions: Vec<Partition>,
    /// The partition is the fingerprint's high half shifted down by so much.
    shift: u32,
    wide: bool,
}

#[derive(Default, Clone)]
struct Partition {
    /// Rows as octets, not yet a chunk.
    gathered: Vec<u8>,
    /// Where the newest chunk was written; each names the one before it.
    newest: Option<u64>,
}

impl Table {
    /// A table for about so many rows.
    pub(super) fn new(rows: u64, wide: bool) -> Self {
        let partitions = (rows / PARTITION_ROWS).clamp(1, PARTITIONS_MAX).next_power_of_two();
        let count = usize::try_from(partitions).expect("there are few partitions");
        Self { partitions: vec![Partition::default(); count], shift: 64 - partitions.trailing_zeros(), wide }
    }

    fn row_len(&self) -> usize {
        if self.wide { 32 } else { 24 }
    }

    pub(super) fn push<S: Spill>(&mut self, row: Row, spill: &mut S) -> Result<(), S::Error> {
        let chunk_len = CHUNK_ROWS * self.row_len();
        // A shift by all 64 bits stands for a single partition.
        let number = usize::try_from(row.high.checked_shr(self.shift).unwrap_or(0)).expect("there are few partitions");
        let partition = &mut self.partitions[number];
        partition.gathered.extend_from_slice(&row.high.to_le_bytes());
        partition.gathered.extend_from_slice(&row.low.to_le_bytes());
        partition.gathered.extend_from_slice(&row.index.to_le_bytes());
        if self.wide {
            partition.gathered.extend_from_slice(&row.more.to_le_bytes());
        }
        if partition.gathered.len() == chunk_len {
            partition.gathered.extend_from_slice(&partition.newest.unwrap_or(NONE).to_le_bytes());
            partition.newest = Some(spill.append(&partition.gathered)?);
            partition.gathered.clear();
        }
        Ok(())
    }

    /// Gives every row, with the number that the last row before it with the same fingerprint was pushed with as its index.
    /// Within a partition, and so for equal fingerprints, rows come in the order in which they were pushed.
    pub(super) fn for_each<S: Spill>(
        self,
        spill: &mut S,
        mut check: impl FnMut(&Row, Option<u64>),
    ) -> Result<(), S::Error> {
        let (row_len, chunk_len) = (self.row_len(), CHUNK_ROWS * self.row_len());
        let behind_rows = u64::try_from(chunk_len).expect("a chunk is short");
        let mut chunk = vec![0; chunk_len];
        let mut last = HashMap::new();
        let mut each = |rows: &[u8], last: &mut HashMap<(u64, u64), u64>| {
            for row in rows.chunks_exact(row_len).map(row) {
                check(&row, last.insert((row.high, row.low), row.index));
            }
        };
        for partition in self.partitions {
            last.clear();
            // Each chunk names the one before it: the way there and back.
            let (mut chunks, mut newest) = (Vec::new(), partition.newest);
            while let Some(at) = newest {
                chunks.push(at);
                let mut before = [0; 8];
                spill.read(at + behind_rows, &mut before)?;
                newest = Some(u64::from_le_bytes(before)).filter(|at| *at != NONE);
            }
            for at in chunks.into_iter().rev() {
                spill.read(at, &mut chunk)?;
                each(&chunk, &mut last);
            }
            each(&partition.gathered, &mut last);
        }
        Ok(())
    }
}

fn row(octets: &[u8]) -> Row {
    let more = if octets.len() == 32 { number(octets, 24) } else { NONE };
    Row { high: number(octets, 0), low: number(octets, 8), index: number(octets, 16), more }
}

fn number(octets: &[u8], at: usize) -> u64 {
    let number: [u8; 8] = octets[at..at + 8].try_into().expect("8 octets were taken");
    u64::from_le_bytes(number)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::convert::Infallible;

    use super::{CHUNK_ROWS, NONE, Row, Spill, Table};

    /// Scratch space in memory.
    #[derive(Default)]
    pub(in super::super) struct Memory(pub(in super::super) Vec<u8>);

    impl Spill for Memory {
        type Error = Infallible;

        fn append(&mut self, octets: &[u8]) -> Result<u64, Infallible> {
            let at = u64::try_from(self.0.len()).unwrap();
            self.0.extend_from_slice(octets);
            Ok(at)
        }

        fn read(&mut self, at: u64, octets: &mut [u8]) -> Result<(), Infallible> {
            let at = usize::try_from(at).unwrap();
            octets.copy_from_slice(&self.0[at..at + octets.len()]);
            Ok(())
        }
    }

    /// Every row comes back once, with the one before it, whether it was spilled or not, in one partition or many.
    #[test]
    fn rows_come_back() {
        for (expected, wide) in [(0, true), (1000, false), (1 << 20, true), (u64::MAX, false)] {
            let mut spill = Memory::default();
            let mut table = Table::new(expected, wide);
            let rows: Vec<Row> = (0..5000_u64)
                .map(|i| {
                    let high = (i % 1700).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    Row { high, low: 1, index: i, more: if wide { i / 2 } else { NONE } }
                })
                .collect();
            for row in &rows {
                table.push(*row, &mut spill).unwrap();
            }
            let mut found = Vec::new();
            table
                .for_each(&mut spill, |row, before| {
                    assert_eq!(before, row.index.checked_sub(1700));
                    found.push(*row);
                })
                .unwrap();
            found.sort_unstable_by_key(|row| row.index);
            assert_eq!(found, rows);
            assert_eq!(spill.0.is_empty(), expected == u64::MAX, "5000 rows in 512 partitions fill no chunk");
        }
    }

    /// Scratch space that says how much of it was read at once.
    struct Watched(Memory, usize);

    impl Spill for Watched {
        type Error = Infallible;

        fn append(&mut self, octets: &[u8]) -> Result<u64, Infallible> {
            self.0.append(octets)
        }

        fn read(&mut self, at: u64, octets: &mut [u8]) -> Result<(), Infallible> {
            self.1 = self.1.max(octets.len());
            self.0.read(at, octets)
        }
    }

    /// One fingerprint for all rows: they pass by, a chunk at a time, each with the one before it.
    #[test]
    fn one_subject_for_all() {
        let mut spill = Watched(Memory::default(), 0);
        let mut table = Table::new(1 << 20, true);
        for index in 0..100_000 {
            table.push(Row { high: 7, low: 7, index, more: NONE }, &mut spill).unwrap();
        }
        let mut next = 0;
        table
            .for_each(&mut spill, |row, before| {
                assert_eq!((row.index, before), (next, row.index.checked_sub(1)));
                next += 1;
            })
            .unwrap();
        assert_eq!(next, 100_000);
        assert_eq!(spill.1, CHUNK_ROWS * 32);
    }
}
