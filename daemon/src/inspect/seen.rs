//! Which names were seen already, where a format allows each but once. Of a name a digest is kept, so that a million long ones
//! cost little; 128 bits are too many to collide, even for one who tries.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

/// Names seen.
#[derive(Default)]
pub(super) struct Seen(HashSet<[u8; 16]>);

impl Seen {
    /// Notes a name; whether it is new.
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        let digest = Sha256::digest(name);
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        self.0.insert(short)
    }
}
