//! The Merkle tree of RFC 6962 §2.1: hashes, a frontier to append to, proofs and their verification. Where the hashes
//! are kept is not known here: proofs read them through [`Nodes`].

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 hash of the tree. Its text form is standard base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// A text that is not the base64 of 32 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash is the standard base64 of 32 octets")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        let octets = STANDARD.decode(text).ok().and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or(HashError)
    }
}

impl TryFrom<String> for Hash {
    type Error = HashError;
    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

/// SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// Hashes of complete subtrees: level 0 holds the leaf hashes, level k the roots of 2^k leaves, each numbered from 0.
pub trait Nodes {
    /// Why one can't be had.
    type Error;
    /// The root of the leaves from `index · 2^level` up to, not including, `(index + 1) · 2^level`.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// The complete subtrees that make up a tree of `size` leaves, left to right: one for each bit of the size.
fn peaks(size: u64) -> impl DoubleEndedIterator<Item = (u8, u64)> {
    (0..64_u8).rev().filter(move |level| size >> level & 1 == 1).map(move |level| (level, (size >> level) - 1))
}

/// The right edge of a growing tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The peaks, left to right.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the first `size` leaves.
    pub fn from_nodes<N: Nodes>(size: u64, nodes: &N) -> Result<Self, N::Error> {
        let peaks = peaks(size).map(|(level, index)| nodes.node(level, index)).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// Adds a leaf and tells `sink` the node it is and each node it completes: level, index, hash.
    pub fn append(&mut self, leaf: Hash, sink: &mut impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        let mut level = 0;
        sink(level, self.size, hash);
        while self.size >> level & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(left, hash);
            level += 1;
            sink(level, self.size >> level, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of them.
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }
}

/// The root of a tree whose complete subtrees these are, left to right.
fn fold(peaks: &[Hash]) -> Hash {
    let mut peaks = peaks.iter().rev();
    match peaks.next() {
        Some(&last) => peaks.fold(last, |right, &left| node_hash(left, right)),
        None => empty_root(),
    }
}

/// The root of the leaves from `first` up to, not including, `end`, where `first` is a multiple of the smallest power
/// of two that is not below the number of leaves, as in every subtree that RFC 6962 names.
fn subtree<N: Nodes>(first: u64, end: u64, nodes: &N) -> Result<Hash, N::Error> {
    let hashes: Result<Vec<Hash>, N::Error> =
        peaks(end - first).map(|(level, index)| nodes.node(level, index + (first >> level))).collect();
    // `index` counts subtrees of its level within the range; those before the range are `first >> level`, which is
    // exact because the range begins at a multiple of a larger power of two.
    Ok(fold(&hashes?))
}

/// The root of the first `size` leaves, in at most 64 reads.
pub fn root_at<N: Nodes>(size: u64, nodes: &N) -> Result<Hash, N::Error> {
    subtree(0, size, nodes)
}

/// The largest power of two below `n`, for `n` of at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// RFC 6962 §2.1.1: the audit path of a leaf in the tree of the first `size` leaves. Empty if the index is not below
/// the size.
pub fn inclusion_proof<N: Nodes>(index: u64, size: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    let (mut first, mut end) = (0, size);
    while index < size && end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            path.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            path.push(subtree(first, middle, nodes)?);
            first = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962 §2.1.2: proves that the tree of the first `old` leaves is a prefix of that of the first `new`. Empty where
/// there is nothing to prove (`old` is 0 or `new`, or above it).
pub fn consistency_proof<N: Nodes>(old: u64, new: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    let (mut first, mut end) = (0, new);
    let mut whole = true;
    if old == 0 || old >= new {
        return Ok(proof);
    }
    while old != end {
        let middle = first + split(end - first);
        if old <= middle {
            proof.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            proof.push(subtree(first, middle, nodes)?);
            first = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(subtree(first, end, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The index or the sizes can't be.
    #[error("the proof's index or sizes can't be")]
    Range,
    /// It has another number of hashes than it must have.
    #[error("the proof has a wrong number of hashes")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Checks that a leaf is at an index of a tree (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(index: u64, size: u64, leaf: Hash, path: &[Hash], root: Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    for &sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        (_, _) => Err(ProofError::Length),
    }
}

/// Checks that a tree is a prefix of another (RFC 9162 §2.1.4.2). A tree of no leaves is a prefix of every tree.
pub fn verify_consistency(old: u64, old_root: Hash, new: u64, new_root: Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range);
    }
    if old == 0 || old == new {
        let same = if old == 0 { old_root == empty_root() } else { old_root == new_root };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // A power of two is a node of the new tree itself, so the proof leaves it out.
    let mut hashes = proof.iter().copied();
    let first = if old.is_power_of_two() { old_root } else { hashes.next().ok_or(ProofError::Length)? };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, old_hash);
            new_hash = node_hash(sibling, new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, old_hash == old_root && new_hash == new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        (_, _) => Err(ProofError::Length),
    }
}
