//! The Merkle tree of RFC 6962 §2.1: hashes, the growing edge, proofs and their verification.
//!
//! Knows how leaves hash to a root and how to prove and check membership and growth. Refuses to know what a leaf means,
//! where nodes are stored, and who signed a root.
//!
//! Nodes are named by *binary level* and index: `(0, i)` is the hash of leaf `i`; `(l, i)` is the root of the complete
//! subtree over leaves `i·2^l .. (i+1)·2^l`. Only complete subtrees have a name, so a node, once known, never changes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Octets of a hash.
pub const HASH_LEN: usize = 32;

/// The largest tree this log may grow to: leaf indices are JSON integers (audit-log spec §1).
pub const TREE_SIZE_MAX: u64 = (1 << 53) - 1;

/// The most hashes a proof over a tree of any `u64` size can have: 63 on the way up, and one more for consistency.
pub const PROOF_HASHES_MAX: usize = 64;

/// A SHA-256 hash of a leaf or a node. Displays as standard base64, as checkpoints and proofs write it; `{:x}` is hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_LEN]);

impl Hash {
    /// The 32 octets.
    pub fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// [`HashError`] where `text` is anything else.
    pub fn from_hex(text: &str) -> Result<Self, HashError> {
        let mut hash = [0; HASH_LEN];
        hex::decode_to_slice(text, &mut hash).map(|()| Self(hash)).ok().ok_or(HashError)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self:x})")
    }
}

impl fmt::LowerHex for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads padded standard base64 of exactly 32 octets. Each hash has one spelling only.
    fn from_str(text: &str) -> Result<Self, HashError> {
        // 44 characters decode into at most 33 octets; the estimate of the decoder wants room for them.
        let mut octets = [0; 36];
        match STANDARD.decode_slice(text, &mut octets) {
            Ok(HASH_LEN) => Ok(Self(octets[..HASH_LEN].try_into().ok().ok_or(HashError)?)),
            _ => Err(HashError),
        }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not the base64 (or hex) of 32 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a hash: 32 octets were expected")]
pub struct HashError;

/// SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(leaf);
    Hash(hasher.finalize().into())
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0x01; 1 + 2 * HASH_LEN];
    input[1..=HASH_LEN].copy_from_slice(&left.0);
    input[1 + HASH_LEN..].copy_from_slice(&right.0);
    Hash(Sha256::digest(input).into())
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The root of the tree over these leaf hashes; of a complete subtree, where they are the nodes of one level below it.
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    for hash in hashes {
        frontier.append(*hash, |_, _, _| {});
    }
    frontier.root()
}

/// The right edge of a growing tree: the roots of its complete subtrees, one for each bit set in the size.
///
/// Enough to append leaves and to know the root, in constant space and without reading a node back.
#[derive(Clone)]
pub struct Frontier {
    size: u64,
    /// Invariant: `peaks[level]` is the root of a complete subtree where bit `level` of `size` is set; else meaningless.
    peaks: [Hash; 64],
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self { size: 0, peaks: [Hash([0; HASH_LEN]); 64] }
    }

    /// The edge of the stored tree at `size`, by reading its peaks: at most 53 reads.
    ///
    /// # Errors
    /// [`ProveError::TooLarge`], or what reading a node failed with.
    pub fn load<N: Nodes + ?Sized>(size: u64, nodes: &N) -> Result<Self, ProveError<N::Error>> {
        check_size(size)?;
        let mut frontier = Self { size, ..Self::new() };
        for level in frontier.peak_levels() {
            // The peak stands left of all lower bits of the size.
            frontier.peaks[usize::from(level)] = nodes.node(level, (size >> level) - 1).map_err(ProveError::Nodes)?;
        }
        Ok(frontier)
    }

    /// How many leaves the tree has, which is the index of the next one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash and gives its index. `sink(level, index, hash)` is called for the leaf itself and then for each
    /// node it completes, lowest first: what a store must append, one array per level.
    pub fn append(&mut self, leaf: Hash, mut sink: impl FnMut(u8, u64, Hash)) -> u64 {
        let index = self.size;
        let mut hash = leaf;
        let mut level: u8 = 0;
        sink(level, index, hash);
        while index >> level & 1 == 1 {
            hash = node_hash(&self.peaks[usize::from(level)], &hash);
            level += 1;
            sink(level, index >> level, hash);
        }
        self.peaks[usize::from(level)] = hash;
        self.size += 1;
        index
    }

    /// The root over all leaves appended so far.
    pub fn root(&self) -> Hash {
        self.peak_levels()
            .map(|level| self.peaks[usize::from(level)])
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(empty_root)
    }

    /// The edge as octets: the size in 8 octets, big endian, then the peaks, largest subtree first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + HASH_LEN * self.peak_levels().count());
        out.extend_from_slice(&self.size.to_be_bytes());
        for level in self.peak_levels().rev() {
            out.extend_from_slice(&self.peaks[usize::from(level)].0);
        }
        out
    }

    /// Reads what [`Frontier::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`FrontierError`] where the length does not fit the size, or the size is above [`TREE_SIZE_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, peaks) = bytes.split_first_chunk().ok_or(FrontierError)?;
        let size = u64::from_be_bytes(*size);
        let mut frontier = Self { size, ..Self::new() };
        let (hashes, rest) = peaks.as_chunks::<HASH_LEN>();
        if size > TREE_SIZE_MAX || !rest.is_empty() || hashes.len() != frontier.peak_levels().count() {
            return Err(FrontierError);
        }
        for (level, hash) in frontier.peak_levels().rev().zip(hashes) {
            frontier.peaks[usize::from(level)] = Hash(*hash);
        }
        Ok(frontier)
    }

    /// The levels that have a peak, lowest (rightmost) first.
    fn peak_levels(&self) -> impl DoubleEndedIterator<Item = u8> + use<> {
        let size = self.size;
        (0..64).filter(move |level| size >> level & 1 == 1)
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frontier").field("size", &self.size).field("root", &self.root()).finish()
    }
}

/// Octets that are not a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a frontier: its length does not fit the tree size it states")]
pub struct FrontierError;

/// Where proofs read nodes from.
///
/// `node(level, index)` gives the root of the complete subtree over leaves `index·2^level .. (index+1)·2^level`. It is
/// only asked for subtrees within the size that a proof was asked for. The answer is trusted: who reads from elsewhere
/// than its own store verifies the root it arrives at.
pub trait Nodes {
    /// Why a node could not be read.
    type Error;

    /// Reads one node.
    ///
    /// # Errors
    /// Whatever the store says; a proof is given up at the first.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a root or a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// The size is above [`TREE_SIZE_MAX`].
    #[error("no tree has {0} leaves")]
    TooLarge(u64),
    /// A proof was asked for a leaf that the tree does not have.
    #[error("index {index} is not in a tree of {size} leaves")]
    NotInTree {
        /// The leaf asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// Growth was to be proved from a larger tree to a smaller.
    #[error("a tree of {new} leaves does not extend one of {old}")]
    Shrinks {
        /// The size to prove from.
        old: u64,
        /// The size to prove to.
        new: u64,
    },
    /// A node could not be read.
    #[error("tree node could not be read")]
    Nodes(#[source] E),
}

/// The root of the stored tree at `size`: at most 53 reads.
///
/// # Errors
/// [`ProveError::TooLarge`], or what reading a node failed with.
pub fn root_at<N: Nodes + ?Sized>(size: u64, nodes: &N) -> Result<Hash, ProveError<N::Error>> {
    Frontier::load(size, nodes).map(|frontier| frontier.root())
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves: RFC 6962 §2.1.1, `PATH(index, D[size])`, lowest
/// sibling first. Reads O(log size) nodes.
///
/// # Errors
/// [`ProveError::NotInTree`], [`ProveError::TooLarge`], or what reading a node failed with.
pub fn inclusion_proof<N: Nodes + ?Sized>(index: u64, size: u64, nodes: &N) -> Result<Vec<Hash>, ProveError<N::Error>> {
    check_size(size)?;
    if index >= size {
        return Err(ProveError::NotInTree { index, size });
    }
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_root(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range_root(low, middle, nodes)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves: RFC 6962 §2.1.2, `PROOF(old, D[new])`.
/// Empty where `old` is 0 or `new`. Reads O(log new) nodes.
///
/// # Errors
/// [`ProveError::Shrinks`], [`ProveError::TooLarge`], or what reading a node failed with.
pub fn consistency_proof<N: Nodes + ?Sized>(old: u64, new: u64, nodes: &N) -> Result<Vec<Hash>, ProveError<N::Error>> {
    check_size(new)?;
    if old > new {
        return Err(ProveError::Shrinks { old, new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, new);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_root(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range_root(low, middle, nodes)?);
            low = middle;
        }
    }
    // The verifier holds the old root: it needs no hash where the old tree is a node of the new one on the left edge.
    if low > 0 {
        proof.push(range_root(low, high, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root over leaves `low..high`, where `low` is a multiple of the power of two at or above `high - low`.
fn range_root<N: Nodes + ?Sized>(low: u64, high: u64, nodes: &N) -> Result<Hash, ProveError<N::Error>> {
    // Complete subtrees from right to left: each is as large as the lowest bit set in what is left of the width.
    let mut end = high;
    let mut root = None;
    while end > low {
        let level = (end - low).trailing_zeros();
        end -= 1 << level;
        let level = u8::try_from(level).expect("a u64 has 64 bits");
        let left = nodes.node(level, end >> level).map_err(ProveError::Nodes)?;
        root = Some(root.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(root.unwrap_or_else(empty_root))
}

/// The largest power of two below `width`, for a width of at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

fn check_size<E>(size: u64) -> Result<(), ProveError<E>> {
    if size > TREE_SIZE_MAX { Err(ProveError::TooLarge(size)) } else { Ok(()) }
}

/// Why a proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The proof is about a leaf that a tree of that size does not have.
    #[error("index {index} is not in a tree of {size} leaves")]
    NotInTree {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The newer tree has fewer leaves: the log was cut back.
    #[error("the tree shrank from {old} to {new} leaves")]
    Shrinks {
        /// The size known before.
        old: u64,
        /// The size shown now.
        new: u64,
    },
    /// The proof has more or fewer hashes than its sizes ask for.
    #[error("the proof has a wrong number of hashes")]
    Length,
    /// The proof does not lead to the root: another leaf, another index, or another tree.
    #[error("the proof does not lead to the root of the tree")]
    Root,
    /// The proof does not lead to the root known before: the log was rewritten.
    #[error("the proof does not lead to the root of the older tree")]
    OldRoot,
}

/// Checks that the leaf with hash `leaf` is at `index` in the tree of `size` leaves with `root` (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] says what does not fit; nothing may then be concluded.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NotInTree { index, size });
    }
    // `position` is where the path runs on its level, `last` the last position of that level.
    let (mut position, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            // A last node without a right sibling rises unchanged until it is a right child.
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with `old_root`
/// (RFC 9162 §2.1.4.2). From the empty tree everything grows: the proof is then empty, and `old_root` the empty root.
///
/// # Errors
/// [`ProofError`] says what does not fit. [`ProofError::Shrinks`] and two roots at one size are proof of misbehaviour;
/// the others may also be a damaged proof.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrinks { old, new });
    }
    if old == 0 && *old_root != empty_root() {
        return Err(ProofError::OldRoot);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::Root);
    }
    if old == 0 || old == new {
        return if proof.is_empty() { Ok(()) } else { Err(ProofError::Length) };
    }
    // A complete old tree is itself the node the path starts from, so the proof leaves it out.
    let (first, rest) =
        if old.is_power_of_two() { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let complete = (old - 1).trailing_ones();
    let (mut position, mut last) = ((old - 1) >> complete, (new - 1) >> complete);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if position & 1 == 1 || position == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot);
    }
    if new_hash == *new_root { Ok(()) } else { Err(ProofError::Root) }
}
