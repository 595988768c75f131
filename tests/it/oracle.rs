//! The RFC 6962 definitions, written down as they stand, for checking against; shares no code with `common::audit`.

use sha2::{Digest, Sha256};

/// MTH of RFC 6962 §2.1 over leaf hashes.
pub(crate) fn root(leaf_hashes: &[[u8; 32]]) -> [u8; 32] {
    match leaf_hashes {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let mut split = 1;
            while split * 2 < many.len() {
                split *= 2;
            }
            let (left, right) = many.split_at(split);
            Sha256::new().chain_update([1]).chain_update(root(left)).chain_update(root(right)).finalize().into()
        }
    }
}
