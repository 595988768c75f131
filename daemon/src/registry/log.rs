//! The log as something to check: checkpoint, hashes, bundles of entries, proofs (audit-log.md §4, §5, §7). Knows who may
//! have what, and that nothing beyond the published checkpoint exists; refuses to know paths and formats.
//!
//! Hashes reveal nothing but how many entries there are and when they came, so handing them out is not recorded; nor is a
//! proof, which is made of hashes. Bundles are entries, and reading them is an entry, written before the first octet.

use std::ops::Range;
use std::sync::Arc;

use common::audit::{Action, BundlePath, Entry, Hash, INTEGER_MAX, Target, TilePath, TlogProof, push_leaf};
use common::role::Permission;

use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Done, Outcome, RegistryError};
use crate::registry::settings::HashAccess;
use crate::registry::{Inner, Registry};
use crate::store::{PublishedCheckpoint, View};

/// Octets of leaves that a bundle reads at once. Most bundles are one piece; the longest, 256 leaves of 32 768 octets, are
/// read in 32.
const PIECE_OCTETS: usize = 256 * 1024;

/// A bundle of entries on its way out, in constant memory.
pub struct Bundle {
    inner: Arc<Inner>,
    /// The octets that were read.
    piece: Vec<u8>,
    /// The leaves behind them.
    left: Range<u64>,
}

impl Bundle {
    /// All of it, where that is no more than one piece.
    ///
    /// # Errors
    /// The bundle itself: it comes in pieces.
    pub fn into_whole(self) -> Result<Vec<u8>, Self> {
        if self.left.is_empty() { Ok(self.piece) } else { Err(self) }
    }

    /// The next octets; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RegistryError> {
        if self.piece.is_empty() && !self.left.is_empty() {
            let range = self.left.clone();
            (self.piece, self.left) = self.inner.scan_on(move |view| piece(view, range)).await?;
        }
        Ok(Some(std::mem::take(&mut self.piece)).filter(|piece| !piece.is_empty()))
    }
}

impl Registry {
    /// The newest published checkpoint.
    ///
    /// # Errors
    /// What `require_hashes` says.
    pub fn log_checkpoint(&self, caller: &Caller) -> Result<Arc<PublishedCheckpoint>, RegistryError> {
        self.require_hashes(caller)?;
        Ok(self.inner.published())
    }

    /// The keys that checkpoints are signed with: a convenience, for whoever gives both log and keys proves nothing.
    ///
    /// # Errors
    /// What `require_hashes` says.
    pub fn log_vkeys(&self, caller: &Caller) -> Result<Vec<String>, RegistryError> {
        self.require_hashes(caller)?;
        Ok(self.inner.store.identity().vkeys)
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    /// What `require_hashes` says; `NotFound` for a tile, or a width of it, that the published tree doesn't have.
    pub async fn log_tile(&self, caller: &Caller, tile: TilePath) -> Result<Vec<Hash>, RegistryError> {
        self.require_hashes(caller)?;
        if tile.width_in(self.inner.published().size).is_none_or(|widest| widest < tile.width()) {
            return Err(RegistryError::not_found("such tile yet"));
        }
        self.inner.read(|view| Ok(view.nodes(tile.nodes().level, nodes(tile))?)).await
    }

    /// The proof that the log of `new` entries begins with that of `old`.
    ///
    /// # Errors
    /// What `require_hashes` says; `NotFound` unless `1 <= old <= new` and `new` is published.
    pub async fn log_consistency(&self, caller: &Caller, old: u64, new: u64) -> Result<Vec<Hash>, RegistryError> {
        self.require_hashes(caller)?;
        if old == 0 || old > new || new > self.inner.published().size {
            return Err(RegistryError::not_found("such pair of sizes"));
        }
        self.inner.read(|view| Ok(view.consistency(old, new)?)).await
    }

    /// The proof that an entry is in the log: for those who may read entries, and for whoever did what the entry says.
    /// Against the newest published checkpoint, or that of an earlier size.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`; `Forbidden` for another's entry; `NotFound` for an entry or a size that
    /// isn't published, or a size that doesn't cover the entry.
    pub async fn log_proof(&self, caller: &Caller, index: u64, size: Option<u64>) -> Outcome<TlogProof> {
        let inner = &self.inner;
        let note =
            Note::event(Action::AuditRead, Target::new("log", "entries")).with("proof_of", index.min(INTEGER_MAX));
        if let Err(error) = caller.require_signed_in() {
            return Err(inner.refuse(caller, note, error).await);
        }
        let missing = || RegistryError::not_found(format!("entry {index} in a published log of that size"));
        let published = inner.published();
        if index >= size.unwrap_or(published.size).min(published.size) {
            return Err(missing().into());
        }
        if !caller.may(Permission::AuditRead) {
            let actor = inner.read(|view| Ok(entry(view, index)?.actor.id)).await?;
            if actor != caller.actor.id {
                let error = RegistryError::Forbidden { permission: Permission::AuditRead };
                return Err(inner.refuse(caller, note, error).await);
            }
        }
        let checkpoint = match size {
            None => published,
            Some(size) => inner.store.checkpoint_at(size).await.map_err(RegistryError::from)?.ok_or_else(missing)?,
        };
        let path = inner.read(|view| Ok(view.inclusion(index, checkpoint.size)?)).await?;
        Ok(Done::unlogged(TlogProof { index, path, checkpoint: checkpoint.note.clone() }))
    }

    /// A bundle of entries.
    ///
    /// # Errors
    /// What `require` says; `NotFound` for a bundle, or a width of it, that isn't published; `AuditUnavailable`.
    pub async fn log_bundle(&self, caller: &Caller, bundle: BundlePath) -> Outcome<Bundle> {
        let inner = &self.inner;
        let range = bundle.leaves();
        let note = Note::event(Action::AuditRead, Target::new("log", "entries"))
            .with("first", range.start)
            .with("last", range.end - 1)
            .with("count", bundle.width());
        inner.permit(caller, Permission::AuditRead, &note).await?;
        if bundle.width_in(inner.published().size).is_none_or(|widest| widest < bundle.width()) {
            return Err(inner.refuse(caller, note, RegistryError::not_found("such bundle yet")).await);
        }
        let (piece, left) = match inner.scan_for(caller, move |view| piece(view, range)).await {
            Ok(begun) => begun,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let inner_of_bundle = Arc::clone(inner);
        let done = inner.record(caller, note).await?;
        Ok(done.map(|()| Bundle { inner: inner_of_bundle, piece, left }))
    }

    /// The check of everything that is hashes alone: open to anyone, or to whoever has a live token, as the operator
    /// decided. The control socket's operator has none and needs none.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`.
    pub fn require_hashes(&self, caller: &Caller) -> Result<(), RegistryError> {
        match self.inner.settings().hash_access {
            HashAccess::Public => Ok(()),
            HashAccess::Authenticated => caller.require_signed_in().map(drop),
        }
    }
}

impl Inner {
    /// The newest published checkpoint. Nothing beyond it is shown to anyone.
    pub(crate) fn published(&self) -> Arc<PublishedCheckpoint> {
        Arc::clone(&self.store.checkpoints().borrow())
    }
}

/// The nodes of a tile.
fn nodes(tile: TilePath) -> Range<u64> {
    let nodes = tile.nodes();
    nodes.start..nodes.start + u64::from(nodes.count)
}

/// An entry of the published log.
fn entry(view: &dyn View, index: u64) -> Result<Entry, RegistryError> {
    let damaged = |why: String| RegistryError::Corrupt(format!("entry {index} {why}").into());
    let leaf = view.leaf(index)?.ok_or_else(|| damaged("is missing from the log".to_owned()))?;
    Entry::parse(&leaf).map_err(|error| damaged(format!("can't be read: {error}")))
}

/// The next octets of a bundle, and which leaves are left.
fn piece(view: &dyn View, range: Range<u64>) -> Result<(Vec<u8>, Range<u64>), RegistryError> {
    let leaves = view.leaves(range.clone(), PIECE_OCTETS)?;
    let mut octets = Vec::with_capacity(leaves.iter().map(|leaf| 2 + leaf.len()).sum());
    for leaf in &leaves {
        push_leaf(&mut octets, leaf).map_err(|error| RegistryError::Corrupt(error.into()))?;
    }
    Ok((octets, range.start + leaves.len() as u64..range.end))
}
