//! Every member of the vectors, which were checked against Go's x/mod/sumdb.

use common::audit::{
    BundlePath, Checkpoint, Cosigner, Ed25519Signer, Entry, Hash, KeyType, Receipt, Signer, TilePath, TileResource,
    TlogProof, Verifier, consistency_proof, cut_bundle, format_hashes, inclusion_proof, leaf_hash, parse_hashes,
    push_leaf, read_bundle, root_at, root_of, verify_consistency, verify_inclusion,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::memory::{Memory, hashes, text, vectors};

const ORIGIN: &str = "registry.example/log";

fn seed(value: &Value) -> [u8; 32] {
    hex::decode(text(value)).unwrap().try_into().unwrap()
}

fn leaves(vectors: &Value) -> Vec<&[u8]> {
    vectors["entries_utf8"].as_array().unwrap().iter().map(|leaf| text(leaf).as_bytes()).collect()
}

fn small_tree(vectors: &Value) -> Memory {
    let mut tree = Memory::default();
    leaves(vectors).into_iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    tree
}

fn pinned(vectors: &Value) -> Verifier {
    text(&vectors["key"]["vkey"]).parse().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The vectors are a closed set: a member nobody checks would be a promise nobody keeps.
#[test]
fn no_member_is_left_out() {
    let members: Vec<String> = vectors().as_object().unwrap().keys().cloned().collect();
    let mut checked = vec![
        "key",
        "witness",
        "entries_utf8",
        "leaf_hashes_hex",
        "roots_b64",
        "checkpoints",
        "inclusion",
        "consistency",
        "tlog_proof_index2_size5",
        "receipt_index2_size5",
        "bundle_size5_hex",
        "tile0_size5_hex",
        "big",
        "paths",
    ];
    checked.sort_unstable();
    let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, checked);
}

#[test]
fn keys_have_the_forms_of_go() {
    let vectors = vectors();
    let key = &vectors["key"];
    assert_eq!(text(&key["origin"]), ORIGIN);
    let signer = Ed25519Signer::from_seed(ORIGIN, &seed(&key["seed_hex"])).unwrap();
    assert_eq!(signer.verifier().to_string(), text(&key["vkey"]));
    assert_eq!(*signer.to_secret(), text(&key["skey_go_note"]));
    let read = Ed25519Signer::parse(text(&key["skey_go_note"])).unwrap();
    assert_eq!(read.verifier(), &pinned(&vectors));
    assert!(!format!("{read:?}").contains("AQABAg"), "the secret is never displayed");
}

#[test]
fn witness_cosigns_and_is_verified() {
    let vectors = vectors();
    let witness = &vectors["witness"];
    let line = text(&witness["cosignature_line_of_size5_at_time_1790000000"]);
    let note = text(&vectors["checkpoints"]["5"]);
    let (body, _) = note.split_once("\n\n").unwrap();

    let cosigner = Cosigner::from_seed("witness.example/w1", &seed(&witness["seed_hex"])).unwrap();
    assert_eq!(cosigner.verifier().to_string(), text(&witness["vkey"]));
    assert_eq!(cosigner.cosign(&format!("{body}\n"), 1_790_000_000), line);
    let again = Cosigner::parse(&cosigner.to_secret()).unwrap();
    assert_eq!(again.verifier(), cosigner.verifier());

    let cosigned = format!("{note}{line}");
    let keys = [pinned(&vectors), text(&witness["vkey"]).parse().unwrap()];
    let signed = Checkpoint::open(cosigned.as_bytes(), &keys).unwrap();
    assert_eq!(signed.signatures.len(), 2);
    assert_eq!(signed.signatures[1].kind, KeyType::CosignatureV1);
    assert_eq!(signed.signatures[1].cosigned_at, Some(1_790_000_000));
    assert!(Checkpoint::open(cosigned.as_bytes(), &keys[1..]).is_err(), "a witness alone does not make a checkpoint");
    assert!(Checkpoint::open(cosigned.as_bytes(), &keys[..1]).is_ok(), "lines of unknown keys are passed over");
}

#[test]
fn entries_are_canonical_and_hash_as_stated() {
    let vectors = vectors();
    for (i, leaf) in leaves(&vectors).into_iter().enumerate() {
        let entry = Entry::parse(leaf).unwrap();
        assert_eq!(entry.seq, i as u64);
        assert_eq!(entry.to_leaf().unwrap(), leaf);
        assert_eq!(leaf_hash(leaf).to_hex(), text(&vectors["leaf_hashes_hex"][i]));
    }
}

#[test]
fn checkpoints_are_reproduced_octet_for_octet() {
    let vectors = vectors();
    let tree = small_tree(&vectors);
    let signer = Ed25519Signer::parse(text(&vectors["key"]["skey_go_note"])).unwrap();
    for (size, root) in vectors["roots_b64"].as_object().unwrap() {
        let size = size.parse().unwrap();
        let root: Hash = text(root).parse().unwrap();
        assert_eq!(root_at(size, &tree).unwrap(), root, "size {size}");
        let Some(note) = vectors["checkpoints"].get(size.to_string()) else {
            assert_eq!(size, 0);
            continue;
        };
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        assert_eq!(checkpoint.sign(&[&signer]).unwrap(), text(note));
        let signed = Checkpoint::open(text(note).as_bytes(), &[pinned(&vectors)]).unwrap();
        assert_eq!(signed.checkpoint, checkpoint);
    }
}

#[test]
fn small_proofs_are_made_and_verified() {
    let vectors = vectors();
    let tree = small_tree(&vectors);
    let leaves = leaves(&vectors);
    for case in vectors["inclusion"].as_array().unwrap() {
        let (index, size, path) = (number(&case["index"]), number(&case["size"]), hashes(&case["path_b64"]));
        assert_eq!(inclusion_proof(index, size, &tree).unwrap(), path);
        let leaf = leaf_hash(leaves[usize::try_from(index).unwrap()]);
        verify_inclusion(&leaf, index, size, &path, &root_at(size, &tree).unwrap()).unwrap();
    }
    for case in vectors["consistency"].as_array().unwrap() {
        let (old, new, proof) = (number(&case["old"]), number(&case["new"]), hashes(&case["proof_b64"]));
        assert_eq!(consistency_proof(old, new, &tree).unwrap(), proof);
        assert_eq!(parse_hashes(&format_hashes(&proof)).unwrap(), proof);
        let root = |size| root_at(size, &tree).unwrap();
        verify_consistency(old, &root(old), new, &root(new), &proof).unwrap();
    }
}

#[test]
fn receipt_is_made_and_verified() {
    let vectors = vectors();
    let tree = small_tree(&vectors);
    let proof = TlogProof {
        index: 2,
        path: inclusion_proof(2, 5, &tree).unwrap(),
        checkpoint: text(&vectors["checkpoints"]["5"]).to_owned(),
    };
    let stated = text(&vectors["tlog_proof_index2_size5"]);
    assert_eq!(proof.to_text(), stated);
    assert_eq!(TlogProof::parse(stated).unwrap(), proof);

    let receipt = Receipt::new(ORIGIN, leaves(&vectors)[2], &proof);
    assert_eq!(json!(receipt), vectors["receipt_index2_size5"]);
    let verified = receipt.verify(&[pinned(&vectors)]).unwrap();
    assert_eq!(verified.leaf, leaves(&vectors)[2]);
    assert_eq!(verified.leaf_hash.to_hex(), text(&vectors["leaf_hashes_hex"][2]));
    assert_eq!(verified.signed.checkpoint.size, 5);
}

#[test]
fn bundle_and_tile_of_the_small_tree() {
    let vectors = vectors();
    let leaves = leaves(&vectors);
    let stated = hex::decode(text(&vectors["bundle_size5_hex"])).unwrap();
    let mut bundle = Vec::new();
    leaves.iter().for_each(|leaf| push_leaf(&mut bundle, leaf).unwrap());
    assert_eq!(bundle, stated);
    assert_eq!(read_bundle(&stated, 5).unwrap(), leaves);
    assert_eq!(read_bundle(cut_bundle(&stated, 3).unwrap(), 3).unwrap(), leaves[..3]);
    assert!(read_bundle(&stated, 4).is_err() && read_bundle(&stated, 6).is_err() && cut_bundle(&stated, 6).is_err());

    let tile: String = leaves.iter().map(|leaf| leaf_hash(leaf).to_hex()).collect();
    assert_eq!(tile, text(&vectors["tile0_size5_hex"]));
}

#[test]
fn big_tree() {
    let vectors = vectors();
    let big = &vectors["big"];
    assert_eq!(text(&big["leaf_i"]), "the ASCII text leaf-<i>");
    let leaf = |i: u64| leaf_hash(format!("leaf-{i}").as_bytes());
    let mut tree = Memory::default();
    (0..70_000).for_each(|i| tree.push(leaf(i)));

    let root = |size| root_at(size, &tree).unwrap();
    for (size, stated) in big["roots_b64"].as_object().unwrap() {
        assert_eq!(root(size.parse().unwrap()).to_string(), text(stated), "size {size}");
    }
    assert_eq!(tree.frontier.root(), root(70_000));

    let path = hashes(&big["inclusion_66001_of_70000"]);
    assert_eq!(inclusion_proof(66_001, 70_000, &tree).unwrap(), path);
    verify_inclusion(&leaf(66_001), 66_001, 70_000, &path, &root(70_000)).unwrap();
    let proof = hashes(&big["consistency_65537_70000"]);
    assert_eq!(consistency_proof(65_537, 70_000, &tree).unwrap(), proof);
    verify_consistency(65_537, &root(65_537), 70_000, &root(70_000), &proof).unwrap();

    big_tiles(&tree, &big["tiles_of_70000"]);
}

fn big_tiles(tree: &Memory, stated: &Value) {
    use common::audit::Nodes as _;

    let tile = |path: &TilePath| -> Vec<Hash> {
        let nodes = path.nodes();
        (0..u64::from(nodes.count)).map(|i| tree.node(nodes.level, nodes.start + i).unwrap()).collect()
    };
    let all: Vec<TilePath> = TilePath::all_of(70_000).collect();
    let full_leaf_tiles = all.iter().filter(|path| path.level() == 0 && path.is_full()).count();
    assert_eq!(full_leaf_tiles as u64, number(&stated["tile/0 full"]));
    for (path, sha256) in stated.as_object().unwrap() {
        let Ok(TileResource::Hashes(path)) = path.parse() else {
            assert!(path == "note" || path == "tile/0 full", "{path}");
            continue;
        };
        assert!(all.contains(&path), "{path} is listed");
        let octets: Vec<u8> = tile(&path).iter().flat_map(|hash| hash.0).collect();
        assert_eq!(hex::encode(Sha256::digest(octets)), text(sha256), "{path}");
    }
    assert_eq!(all.len(), 274 + 2 + 1);
    assert_eq!(BundlePath::all_of(70_000).count(), 274);

    // Nodes within tiles: what a reader of tiles computes is what the store has.
    for (level, index) in [(0, 69_999), (3, 8_749), (7, 545), (8, 272), (11, 33), (16, 0)] {
        let (path, range) = TilePath::of_node(level, index, 70_000).unwrap();
        assert_eq!(root_of(&tile(&path)[range]), tree.node(level, index).unwrap(), "({level}, {index})");
    }
    for (level, index) in [(0, 70_000), (3, 8_750), (7, 546), (17, 0), (64, 0), (255, 1), (63, u64::MAX)] {
        assert_eq!(TilePath::of_node(level, index, 70_000), None, "({level}, {index})");
    }
}

#[test]
fn paths_of_the_vectors() {
    for (number, path) in vectors()["paths"].as_object().unwrap() {
        let number = number.parse().unwrap();
        let tile = TilePath::new(0, number, 256).unwrap();
        assert_eq!(tile.to_string(), format!("tile/0/{}", text(path)));
        assert_eq!(tile.to_string().parse(), Ok(TileResource::Hashes(tile)));
        let bundle = BundlePath::new(number, 17).unwrap();
        assert_eq!(bundle.to_string(), format!("tile/entries/{}.p/17", text(path)));
        assert_eq!(bundle.to_string().parse(), Ok(TileResource::Entries(bundle)));
    }
}
