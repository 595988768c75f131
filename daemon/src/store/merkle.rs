//! The hashes of the log on disk: one flat file per binary level, each 32 octets a node (audit-log.md §8, `hash.<L>`).
//! Level 0 holds the leaf hashes, level k the roots of complete subtrees of 2^k leaves; a tile of level L is an octet
//! range of level 8·L. Derived from the journal: what is missing is computed again, so nothing here is synced per batch.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use common::audit::{Frontier, HASH_LEN, Hash, Nodes};

use crate::durable::{Disk, DiskFile};
use crate::store::StoreError;

/// Octets of a hash.
const OCTETS: u64 = 32;
/// Levels of a tree of up to 2^63 leaves.
const LEVELS: usize = 64;

/// The files. Shared by the writer and all readers: what is below the published size never changes.
#[derive(Debug)]
pub struct HashFiles {
    disk: Disk,
    dir: PathBuf,
    levels: [OnceLock<Growing>; LEVELS],
}

impl HashFiles {
    /// The files of a directory; each is opened when it is first needed.
    pub fn new(disk: &Disk, dir: &Path) -> Arc<Self> {
        Arc::new(Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            levels: std::array::from_fn(|_level| OnceLock::new()),
        })
    }

    fn level(&self, level: u8) -> Result<&Growing, StoreError> {
        let slot = self
            .levels
            .get(usize::from(level))
            .ok_or_else(|| StoreError::Corrupt(format!("there is no level {level} in the tree")))?;
        if let Some(file) = slot.get() {
            return Ok(file);
        }
        let file = self.disk.open_or_create(&self.dir.join(format!("hash.{level}")))?;
        Ok(slot.get_or_init(|| Growing::new(file)))
    }

    /// The frontier of the first `size` leaves, from the complete subtrees that make it up.
    pub fn frontier(&self, size: u64) -> Result<Frontier, StoreError> {
        Ok(Frontier::load(size, self)?)
    }

    /// Consecutive nodes of a level, in one read.
    pub fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, StoreError> {
        let count = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_wide| StoreError::Corrupt(format!("too many nodes of level {level} were asked for")))?;
        let mut hashes = vec![0; count * HASH_LEN];
        self.level(level)?.file.read_exact_at(&mut hashes, range.start * OCTETS)?;
        let (hashes, _none_left) = hashes.as_chunks::<HASH_LEN>();
        Ok(hashes.iter().copied().map(Hash).collect())
    }

    /// Writes hashes one after another into a level, from an index on.
    fn write(&self, level: u8, index: u64, hashes: &[u8]) -> Result<(), StoreError> {
        Ok(self.level(level)?.file.write_all_at(hashes, index * OCTETS)?)
    }

    /// Makes room for `more` leaves behind `size`, so that a full disk is met before the commit point.
    pub fn reserve(&self, size: u64, more: u64) -> Result<(), StoreError> {
        // A level k gains at most more / 2^k + 1 nodes.
        for level in 0..=u8::try_from((size + more).checked_ilog2().unwrap_or(0)).unwrap_or(0) {
            let end = ((size + more) >> level) * OCTETS;
            self.level(level)?.reserve(end)?;
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        for level in self.levels.iter().filter_map(OnceLock::get) {
            level.file.sync_data()?;
        }
        Ok(())
    }
}

impl Nodes for HashFiles {
    type Error = StoreError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, StoreError> {
        let mut octets = [0; 32];
        self.level(level)?.file.read_exact_at(&mut octets, index * OCTETS)?;
        Ok(Hash(octets))
    }
}

/// A file that only ever grows.
#[derive(Debug)]
pub struct Growing {
    /// The file.
    pub file: DiskFile,
    /// Octets it is known to have, so that a batch that fits asks the system for nothing.
    known: AtomicU64,
}

impl Growing {
    /// Of a file of any length.
    pub fn new(file: DiskFile) -> Self {
        Self { file, known: AtomicU64::new(0) }
    }

    /// Extends the file by writing zeros, in steps of at least 64 KiB, so that `end` lies within it. `Ok` means that
    /// writing there can't fail for want of space.
    pub fn reserve(&self, end: u64) -> Result<(), StoreError> {
        const STEP: u64 = 64 * 1024;
        if end <= self.known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut at = self.file.metadata()?.len();
        let target = end.div_ceil(STEP) * STEP;
        let zeros = [0; 16 * 1024];
        while at < target {
            let octets = usize::try_from((target - at).min(zeros.len() as u64)).unwrap_or(zeros.len());
            self.file.write_all_at(&zeros[..octets], at)?;
            at += octets as u64;
        }
        self.known.store(at, Ordering::Relaxed);
        Ok(())
    }
}

/// The writing half: a frontier, and the nodes it completes, gathered per batch.
pub struct HashWriter {
    files: Arc<HashFiles>,
    frontier: Frontier,
    /// Per level: index of the first gathered node, and the hashes.
    gathered: Vec<(u64, Vec<u8>)>,
}

impl HashWriter {
    /// Goes on behind the first `size` leaves.
    pub fn new(files: Arc<HashFiles>, size: u64) -> Result<Self, StoreError> {
        let frontier = files.frontier(size)?;
        Ok(Self { files, frontier, gathered: vec![(0, Vec::new()); LEVELS] })
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let gathered = &mut self.gathered;
        self.frontier.append(leaf, |level, index, hash| {
            if let Some((first, hashes)) = gathered.get_mut(usize::from(level)) {
                if hashes.is_empty() {
                    *first = index;
                }
                hashes.extend_from_slice(&hash.0);
            }
        });
    }

    /// The edge of the tree as it is.
    pub fn frontier(&self) -> Frontier {
        self.frontier.clone()
    }

    /// The root with these leaves behind those there are; none of them is added.
    pub fn root_with(&self, leaves: impl IntoIterator<Item = Hash>) -> Hash {
        let mut frontier = self.frontier.clone();
        for leaf in leaves {
            frontier.append(leaf, |_level, _index, _hash| {});
        }
        frontier.root()
    }

    /// Writes what was gathered; one write per level.
    pub fn write(&mut self) -> Result<(), StoreError> {
        for (level, (first, hashes)) in (0..).zip(&mut self.gathered) {
            if !hashes.is_empty() {
                self.files.write(level, *first, hashes)?;
                hashes.clear();
            }
        }
        Ok(())
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root of the leaves so far.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }
}
