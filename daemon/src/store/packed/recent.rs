//! Changes of the last batches, which sled doesn't have yet: each of its batches costs much the same whatever its size, so
//! it is given several as one. Knows keys and values; refuses to know blocks.
//!
//! Who reads finds a change here or, once it is forgotten here, in sled. So a point is looked for here first. Who walks
//! reads blocks first, as it can't be told before what they hold, and may miss what went from here to sled in between:
//! therefore it is counted how often that was, and who finds that it has been reads the block again.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sled::IVec;

use super::Changes;

/// Octets of keys and values after which they are due to go to sled.
const OCTETS_MAX: usize = 512 * 1024;
/// Keys after which they are: each may be in a block of its own, and all blocks together must fit into the room that is made
/// sure of before a batch (`store/room.rs`).
const KEYS_MAX: usize = 1024;
/// Batches after which they are.
const BATCHES_MAX: usize = 64;

/// A key and its new value; none is a removal.
pub(super) type Change = (Vec<u8>, Option<IVec>);

/// One thread changes it. The lock is held for memory alone.
#[derive(Default)]
pub(super) struct Recent(RwLock<State>);

#[derive(Default)]
struct State {
    changes: Arc<Changes>,
    octets: usize,
    batches: usize,
    settled: u64,
}

impl Recent {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch, at once for all who read.
    pub(super) fn take(&self, changes: Changes) {
        let octets: usize =
            changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |it| it.len())).sum();
        let mut state = self.write();
        state.octets += octets;
        state.batches += 1;
        if state.changes.is_empty() {
            state.changes = Arc::new(changes);
        } else {
            Arc::make_mut(&mut state.changes).extend(changes);
        }
    }

    /// All of it.
    pub(super) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.read().changes)
    }

    /// Whether it is as much as it should be.
    pub(super) fn is_due(&self) -> bool {
        let state = self.read();
        state.octets >= OCTETS_MAX || state.changes.len() >= KEYS_MAX || state.batches >= BATCHES_MAX
    }

    /// How often all of it went to sled.
    pub(super) fn settled(&self) -> u64 {
        self.read().settled
    }

    /// Forgets all of it, which sled has.
    pub(super) fn settle(&self) {
        let mut state = self.write();
        let settled = state.settled + 1;
        let old = std::mem::replace(&mut *state, State { settled, ..State::default() });
        drop(state);
        // Thousands of keys are freed; nobody need wait for that.
        drop(old);
    }

    /// What a key was changed to.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<IVec>> {
        self.read().changes.get(key).cloned()
    }

    /// The changes between two bounds, unless what is here went to sled since the count `settled` was read.
    pub(super) fn within(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, settled: u64) -> Option<Vec<Change>> {
        let state = self.read();
        if state.settled != settled {
            return None;
        }
        // `range` panics where bounds cross.
        let is_crossed = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        if state.changes.is_empty() || is_crossed {
            return Some(Vec::new());
        }
        let changes = state.changes.range::<[u8], _>((from, to));
        Some(changes.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
