//! A state that is derived from records beside everything, in a temporary directory, to be compared with another. Knows how
//! records are applied; refuses to know where they come from.

use std::path::Path;

use common::audit::{Frontier, Hash, leaf_hash};
use common::digest::Digest;
use tempfile::TempDir;

use super::OpenError;
use super::recover::{TREE, read_record};
use super::replica::digest;
use crate::store::journal::{Place, Record, Scanned};
use crate::store::overlay::Overlay;
use crate::store::packed::PackedTree;
use crate::store::records::{Counters, LogKeysRecord, Write};
use crate::store::sequencer::apply_record;
use crate::store::sled::first_keys;
use crate::store::view::{Applied, KvRecords, set_applied};
use crate::store::{Moment, Records as _, StoreError};

/// sled's cache, octets; it uses about twice as much.
const CACHE: u64 = 16 * 1024 * 1024;
/// Blobs that are read from the state at once.
const BLOBS_A_PAGE: usize = 1024;

/// The state after the records that were applied, and the tree over their leaves.
pub(crate) struct Derived {
    tree: PackedTree,
    frontier: Frontier,
    genesis: Hash,
    keys: Option<LogKeysRecord>,
    /// Removed with it; after the tree.
    _dir: TempDir,
}

impl Derived {
    /// Nothing yet, in a directory where there is room for it.
    pub(crate) fn in_dir(dir: &Path) -> Result<Self, OpenError> {
        let temporary = TempDir::with_prefix_in("check-", dir).map_err(OpenError::path(dir))?;
        let db = ::sled::Config::new().path(temporary.path().join("view")).cache_capacity(CACHE).open();
        let tree = db.and_then(|db| PackedTree::open(&db, TREE)).map_err(StoreError::from)?;
        Ok(Self { tree, frontier: Frontier::new(), genesis: Hash([0; 32]), keys: None, _dir: temporary })
    }

    /// Applies the records that come next.
    pub(crate) fn apply(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let tree = self.tree.clone();
        let mut overlay = Overlay::new(&tree);
        for record in records {
            let index = self.frontier.size();
            let scanned =
                Scanned { index, place: Place { offset: 0, octets: 0 }, leaf: &record.leaf, change: &record.change };
            let (entry, writes) = read_record(&scanned)?;
            if index == 0 {
                self.genesis = leaf_hash(&record.leaf);
                self.keys = Some(first_keys(&record.leaf).map_err(|error| StoreError::Corrupt(error.to_string()))?);
            }
            apply_record(&mut overlay, &entry, &writes, Moment { index, at_ms: entry.ts }, &mut Vec::new())?;
            for write in writes {
                if let Write::PutLogKeys(keys) = write {
                    self.keys = Some(keys);
                }
            }
            self.frontier.append(leaf_hash(&record.leaf), |_level, _index, _hash| {});
        }
        set_applied(&mut overlay, &Applied { size: self.frontier.size(), genesis: self.genesis.0 })?;
        tree.apply(overlay.into_changes())
    }

    /// How many records were applied, and the root over their leaves.
    pub(crate) fn head(&self) -> (u64, Hash) {
        (self.frontier.size(), self.frontier.root())
    }

    /// Leaf hash of entry 0, which is the log's id.
    pub(crate) fn genesis(&self) -> Hash {
        self.genesis
    }

    /// The log's name and keys after the records; none before the first.
    pub(crate) fn keys(&self) -> Option<&LogKeysRecord> {
        self.keys.as_ref()
    }

    /// The totals of the state.
    pub(crate) fn counters(&self) -> Result<Counters, StoreError> {
        KvRecords(&self.tree).counters()
    }

    /// Visits the blobs that the state points to, with their sizes, in the order of their digests.
    pub(crate) fn blobs(&self, visit: &mut dyn FnMut(Digest, u64) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = KvRecords(&self.tree).blobs(after.as_ref(), BLOBS_A_PAGE)?;
            let Some((last, _record)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (digest, record) in page {
                visit(digest, record.size)?;
            }
        }
    }

    /// Root and state; the log's name and keys.
    pub(crate) fn finish(self) -> Result<(Hash, [u8; 32], LogKeysRecord), StoreError> {
        let keys = self.keys.clone().ok_or_else(|| StoreError::Corrupt("there is no entry 0".to_owned()))?;
        Ok((self.frontier.root(), digest(&self.tree)?, keys))
    }
}
