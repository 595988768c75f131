//! What must be remembered of every entry, kept outside of memory: fingerprints in partitions, each small enough to be
//! sorted at once.
//!
//! Knows how rows are partitioned and gathered again. Refuses to know where the octets lie: that is the caller's
//! [`Spill`].

/// The most partitions of a table. Up to 2^27 entries each has at most about 2^18 rows; beyond, they grow.
const PARTITIONS_MAX: u64 = 512;

/// Rows of a partition that is not to be divided further: 8 MiB of them at most.
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

/// A row: a fingerprint in two halves, the index of its entry, and one number more. Its order is the fingerprint's, then
/// the index's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Gives the rows of each partition, sorted: equal fingerprints stand together.
    pub(super) fn for_each<S: Spill>(self, spill: &mut S, mut check: impl FnMut(&[Row])) -> Result<(), S::Error> {
        let chunk_len = CHUNK_ROWS * self.row_len();
        let (row_len, mut rows) = (self.row_len(), Vec::new());
        let mut chunk = vec![0; chunk_len + 8];
        for partition in self.partitions {
            rows.clear();
            rows.extend(partition.gathered.chunks_exact(row_len).map(row));
            let mut newest = partition.newest;
            while let Some(at) = newest {
                spill.read(at, &mut chunk)?;
                rows.extend(chunk[..chunk_len].chunks_exact(row_len).map(row));
                newest = Some(number(&chunk, chunk_len)).filter(|at| *at != NONE);
            }
            rows.sort_unstable();
            check(&rows);
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

    use super::{NONE, Row, Spill, Table};

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

    /// Every row comes back once, in order, whether it was spilled or not, in one partition or many.
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
                .for_each(&mut spill, |rows| {
                    assert!(rows.is_sorted());
                    found.extend_from_slice(rows);
                })
                .unwrap();
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            assert_eq!(found, sorted, "partitions follow each other in the fingerprint's order");
            assert_eq!(spill.0.is_empty(), expected == u64::MAX, "5000 rows in 512 partitions fill no chunk");
        }
    }
}
