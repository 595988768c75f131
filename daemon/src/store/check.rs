//! What a check of a store tells, and to whom. How a backend checks itself is the backend's.

use common::audit::Hash;
use common::digest::Digest;

use crate::store::records::DamageRecord;

/// Whoever listens to a check.
pub trait Listener: Send {
    /// How much of a step is done.
    fn progress(&mut self, step: &'static str, done: u64, of: u64);
    /// Something is wrong: where, in words that lead there, and what.
    fn failure(&mut self, place: String, what: String);
    /// Something worth knowing that is not wrong.
    fn remark(&mut self, what: String);
    /// A blob that the state points to, its size, what is known to be wrong with it, and what finds out which versions need
    /// it. Blobs come in the order of their digests.
    fn blob(&mut self, digest: Digest, size: u64, damage: Option<DamageRecord>, needed_by: &dyn Fn() -> Vec<String>);
    /// Whether the check shall go on.
    fn goes_on(&self) -> bool;
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Entries read.
    pub size: u64,
    /// Root over them, as computed from the entries alone.
    pub root: Hash,
    /// Keys of the state that were compared.
    pub keys: u64,
    /// Artifacts of versions.
    pub artifacts: u64,
}
