//! The tree against `tlog_tiles`, which shares no code with ours: every size, every leaf, every growth.

use common::audit::{
    Frontier, Hash, ProofError, ProveError, TREE_SIZE_MAX, consistency_proof, empty_root, inclusion_proof, leaf_hash,
    root_at, root_of, verify_consistency, verify_inclusion,
};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use tlog_tiles::{
    HashReader, check_record, check_tree, prove_record, prove_tree, stored_hashes_for_record_hash, tree_hash,
};

use crate::memory::Memory;

const SIZE_MAX: u64 = 600;

/// The oracle's nodes, in its own order.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[usize::try_from(*i).unwrap()]).collect())
    }
}

struct Pair {
    ours: Memory,
    theirs: Stored,
    roots: Vec<Hash>,
}

fn leaf(i: u64) -> Hash {
    leaf_hash(&i.to_be_bytes())
}

fn pair(size: u64) -> Pair {
    let mut pair = Pair { ours: Memory::default(), theirs: Stored(Vec::new()), roots: vec![empty_root()] };
    for i in 0..size {
        pair.ours.push(leaf(i));
        let hash = tlog_tiles::record_hash(&i.to_be_bytes());
        let new = stored_hashes_for_record_hash(i, hash, &pair.theirs).unwrap();
        pair.theirs.0.extend(new);
        pair.roots.push(pair.ours.frontier.root());
    }
    pair
}

fn ours(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(hash.0)).collect()
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
}

#[test]
fn roots_of_all_sizes() {
    let pair = pair(SIZE_MAX);
    for size in 1..=SIZE_MAX {
        let root = pair.roots[usize::try_from(size).unwrap()];
        assert_eq!(root, Hash(tree_hash(size, &pair.theirs).unwrap().0), "size {size}");
        assert_eq!(root_at(size, &pair.ours).unwrap(), root);
        let frontier = Frontier::load(size, &pair.ours).unwrap();
        let again = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
        assert_eq!((again.size(), again.root()), (size, root));
    }
    assert_eq!(root_at(0, &pair.ours).unwrap(), empty_root());
    assert_eq!(root_of(&(0..SIZE_MAX).map(leaf).collect::<Vec<_>>()), pair.ours.frontier.root());
}

#[test]
fn inclusion_of_all_leaves_in_all_sizes() {
    let pair = pair(SIZE_MAX);
    for size in 1..=SIZE_MAX {
        let root = pair.roots[usize::try_from(size).unwrap()];
        for index in 0..size {
            pair.ours.reads.set(0);
            let proof = inclusion_proof(index, size, &pair.ours).unwrap();
            assert!(pair.ours.reads.get() <= 2 * 10, "reads grow with the height, not with the size");
            assert_eq!(proof, ours(&prove_record(size, index, &pair.theirs).unwrap()), "{index} of {size}");
            assert_eq!(verify_inclusion(&leaf(index), index, size, &proof, &root), Ok(()), "{index} of {size}");
        }
    }
}

#[test]
fn consistency_of_all_growths() {
    let pair = pair(SIZE_MAX);
    let root = |size: u64| pair.roots[usize::try_from(size).unwrap()];
    for new in 1..=SIZE_MAX {
        for old in 1..=new {
            pair.ours.reads.set(0);
            let proof = consistency_proof(old, new, &pair.ours).unwrap();
            assert!(pair.ours.reads.get() <= 2 * 10, "reads grow with the height, not with the size");
            assert_eq!(proof, ours(&prove_tree(new, old, &pair.theirs).unwrap()), "{old} to {new}");
            assert_eq!(verify_consistency(old, &root(old), new, &root(new), &proof), Ok(()), "{old} to {new}");
        }
        assert_eq!(verify_consistency(0, &empty_root(), new, &root(new), &[]), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is done to a proof, ours accepts exactly what the oracle accepts.
    #[test]
    fn damaged_inclusion_proofs(
        size in 1..80_u64, index in 0..90_u64, proven in 0..80_u64, cut in 0..3_usize, extra in 0..2_usize,
        damage in any::<(bool, Index, u8)>(),
    ) {
        let pair = pair(80);
        let root = pair.roots[usize::try_from(size).unwrap()];
        let mut proof = inclusion_proof(proven % size, size, &pair.ours).unwrap();
        proof.truncate(proof.len().saturating_sub(cut));
        proof.extend(std::iter::repeat_n(root, extra));
        if let (true, at, bit) = damage && !proof.is_empty() {
            let at = at.index(proof.len());
            proof[at].0[usize::from(bit) % 32] ^= 1 << (bit % 8);
        }
        let accepted = verify_inclusion(&leaf(index), index, size, &proof, &root).is_ok();
        let oracle = index < size && check_record(
            &theirs(&proof), size, tlog_tiles::Hash(root.0), index, tlog_tiles::Hash(leaf(index).0)
        ).is_ok();
        prop_assert_eq!(accepted, oracle);
    }

    /// The same for proofs of growth, between sizes they were not made for, too.
    #[test]
    fn damaged_consistency_proofs(
        old in 1..80_u64, new in 1..80_u64, made in any::<(Index, Index)>(),
        cut in 0..3_usize, extra in 0..2_usize, damage in any::<(bool, Index, u8)>(),
    ) {
        let pair = pair(80);
        let root = |size: u64| pair.roots[usize::try_from(size).unwrap()];
        let (a, b) = if damage.0 { (old, new) } else { (made.0.index(79) as u64 + 1, made.1.index(79) as u64 + 1) };
        let mut proof = consistency_proof(a.min(b), a.max(b), &pair.ours).unwrap();
        proof.truncate(proof.len().saturating_sub(cut));
        proof.extend(std::iter::repeat_n(root(old), extra));
        if let (true, at, bit) = damage && !proof.is_empty() && bit < 128 {
            let at = at.index(proof.len());
            proof[at].0[usize::from(bit) % 32] ^= 1 << (bit % 8);
        }
        let accepted = verify_consistency(old, &root(old), new, &root(new), &proof).is_ok();
        let oracle = old <= new && check_tree(
            &theirs(&proof), new, tlog_tiles::Hash(root(new).0), old, tlog_tiles::Hash(root(old).0)
        ).is_ok();
        prop_assert_eq!(accepted, oracle);
    }

    /// Hostile sizes and proofs end in an answer.
    #[test]
    fn hostile_proofs(index: u64, size: u64, root: [u8; 32], proof: Vec<[u8; 32]>) {
        let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
        prop_assert!(verify_inclusion(&leaf(0), index, size, &proof, &Hash(root)).is_err());
        if index != 0 && index != size {
            prop_assert!(verify_consistency(index, &leaf(0), size, &Hash(root), &proof).is_err());
        }
    }
}

#[test]
fn sizes_at_the_edge() {
    let top = u64::MAX;
    let proof = vec![leaf(1); 64];
    assert_eq!(
        verify_inclusion(&leaf(0), top, top, &proof, &leaf(0)),
        Err(ProofError::NotInTree { index: top, size: top })
    );
    assert!(verify_inclusion(&leaf(0), top - 1, top, &proof, &leaf(0)).is_err());
    assert!(verify_consistency(top - 1, &leaf(0), top, &leaf(1), &proof).is_err());
    assert!(verify_consistency(1 << 63, &leaf(0), top, &leaf(1), &proof).is_err());
    assert_eq!(verify_consistency(5, &leaf(0), 4, &leaf(1), &[]), Err(ProofError::Shrinks { old: 5, new: 4 }));
    assert_eq!(verify_consistency(5, &leaf(0), 5, &leaf(1), &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(5, &leaf(0), 5, &leaf(0), &proof), Err(ProofError::Length));
    assert_eq!(verify_consistency(0, &leaf(0), 5, &leaf(1), &[]), Err(ProofError::OldRoot));
    assert_eq!(verify_inclusion(&leaf(0), 0, 0, &[], &empty_root()), Err(ProofError::NotInTree { index: 0, size: 0 }));

    let tree = Memory::default();
    assert_eq!(inclusion_proof(0, 0, &tree), Err(ProveError::NotInTree { index: 0, size: 0 }));
    assert_eq!(consistency_proof(2, 1, &tree), Err(ProveError::Shrinks { old: 2, new: 1 }));
    assert_eq!(root_at(top, &tree), Err(ProveError::TooLarge(top)));
    assert!(matches!(root_at(TREE_SIZE_MAX, &tree), Err(ProveError::Nodes(_))));
    assert!(matches!(inclusion_proof(1, TREE_SIZE_MAX, &tree), Err(ProveError::Nodes(_))));
}
