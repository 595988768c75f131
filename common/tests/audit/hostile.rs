//! Damage and nonsense: nothing damaged verifies, and no input makes a parser panic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{
    BundlePath, Checkpoint, Cosigner, Ed25519Signer, Entry, Frontier, Hash, NOTE_LEN_MAX, Note, NoteError,
    PROOF_HASHES_MAX, Receipt, SIGNATURES_MAX, SignError, Signer, TILE_NUMBER_MAX, TREE_SIZE_MAX, TilePath,
    TileResource, TlogProof, Verifier, empty_root, leaf_hash, parse_hashes, parse_timestamp, read_bundle,
};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::memory::{text, vectors};

fn receipt() -> Receipt {
    serde_json::from_value(vectors()["receipt_index2_size5"].clone()).unwrap()
}

fn pinned() -> [Verifier; 1] {
    [text(&vectors()["key"]["vkey"]).parse().unwrap()]
}

/// Each octet of `text`, changed in each of a few ways; what is no longer UTF-8 cannot even be stated.
fn damaged(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..text.len()).flat_map(move |at| {
        [0x01, 0x04, 0x20, 0x80].map(|mask| {
            let mut damaged = text.to_vec();
            damaged[at] ^= mask;
            damaged
        })
    })
}

#[test]
fn no_octet_of_a_receipt_can_be_changed() {
    let (receipt, pinned) = (receipt(), pinned());
    receipt.verify(&pinned).unwrap();
    let verifies = |changed: Receipt| changed.verify(&pinned).is_ok();

    for leaf in damaged(&STANDARD.decode(&receipt.leaf).unwrap()) {
        assert!(!verifies(Receipt { leaf: STANDARD.encode(&leaf), ..receipt.clone() }), "{}", leaf.escape_ascii());
    }
    for leaf in damaged(receipt.leaf.as_bytes()).filter_map(|leaf| String::from_utf8(leaf).ok()) {
        assert!(!verifies(Receipt { leaf: leaf.clone(), ..receipt.clone() }), "{leaf}");
    }
    for proof in damaged(receipt.proof.as_bytes()).filter_map(|proof| String::from_utf8(proof).ok()) {
        assert!(!verifies(Receipt { proof: proof.clone(), ..receipt.clone() }), "{proof}");
    }
    for log in damaged(receipt.log.as_bytes()).filter_map(|log| String::from_utf8(log).ok()) {
        assert!(!verifies(Receipt { log, ..receipt.clone() }));
    }
    for index in [0, 1, 3, 4, 5, u64::MAX] {
        assert!(!verifies(Receipt { index, ..receipt.clone() }));
    }
    for end in 0..receipt.proof.len() {
        if let Some(proof) = receipt.proof.get(..end) {
            assert!(!verifies(Receipt { proof: proof.to_owned(), ..receipt.clone() }), "cut at {end}");
        }
    }
    assert!(!verifies(Receipt { leaf: "A".repeat(1 << 20), ..receipt.clone() }));
    assert!(receipt.verify(&[]).is_err());
}

/// A leaf that is in the tree at another index than it says is a log that contradicts itself.
#[test]
fn leaf_must_stand_where_it_says() {
    let leaf = text(&vectors()["entries_utf8"][1]).as_bytes().to_vec();
    let signer = Ed25519Signer::parse(text(&vectors()["key"]["skey_go_note"])).unwrap();
    let root = leaf_hash(&leaf);
    let origin = signer.verifier().name().to_owned();
    let note = Checkpoint { origin: origin.clone(), size: 1, root }.sign(&[&signer]).unwrap();
    let receipt = Receipt::new(&origin, &leaf, &TlogProof { index: 0, path: Vec::new(), checkpoint: note });
    assert_eq!(receipt.verify(&pinned()).unwrap_err().to_string(), "receipt is for index 0, but a part of it for 1");
}

#[test]
fn no_octet_of_a_checkpoint_can_be_changed() {
    let note = text(&vectors()["checkpoints"]["5"]).as_bytes().to_vec();
    Checkpoint::open(&note, &pinned()).unwrap();
    for note in damaged(&note) {
        assert!(Checkpoint::open(&note, &pinned()).is_err(), "{}", note.escape_ascii());
    }
}

#[test]
fn notes_have_limits_and_rules() {
    let vectors = vectors();
    let note = text(&vectors["checkpoints"]["5"]);
    let (body, line) = note.split_once("\n\n").unwrap();
    let open = |note: &str| Checkpoint::open(note.as_bytes(), &pinned());

    let other = Ed25519Signer::from_seed("other.example", &[7; 32]).unwrap();
    let foreign = other.sign(&format!("{body}\n")).unwrap();
    assert_eq!(open(&format!("{note}{}", foreign.repeat(SIGNATURES_MAX - 1))).unwrap().signatures.len(), 1);
    assert_eq!(open(&format!("{note}{}", foreign.repeat(SIGNATURES_MAX))), Err(NoteError::TooManySignatures));
    assert_eq!(open(&format!("{body}\n\n{foreign}")), Err(NoteError::NoKnownKey));
    assert_eq!(open(&format!("{note}{line}")).unwrap().signatures.len(), 1, "one key counts once");
    let bad = line.replace("xONr", "xONs");
    assert!(matches!(open(&format!("{note}{bad}")), Err(NoteError::BadSignature { .. })), "one bad line spoils all");
    assert_eq!(open(&format!("{note}\n")), Err(NoteError::Form));
    assert_eq!(open(&format!("{note}x\n")), Err(NoteError::SignatureLine));
    assert_eq!(open(&note.replace("\n5\n", "\n5\r\n")), Err(NoteError::Characters));
    assert_eq!(open(&"\n".repeat(NOTE_LEN_MAX + 1)), Err(NoteError::TooLong));
    assert_eq!(open(""), Err(NoteError::Form));

    // Another log's key signs another log's checkpoint: right signature, wrong origin.
    let stolen = format!("{body}\n\n{foreign}");
    let keys = [other.verifier().clone()];
    assert!(matches!(Checkpoint::open(stolen.as_bytes(), &keys), Err(NoteError::NoLogSignature { .. })));
    let checkpoint = Checkpoint::open(note.as_bytes(), &pinned()).unwrap().checkpoint;
    assert!(matches!(checkpoint.sign(&[&other]), Err(SignError::Origin { .. })));
    assert!(matches!(checkpoint.sign(&[]), Err(SignError::NoKey)));
}

#[test]
fn rotation_carries_two_lines() {
    let old = Ed25519Signer::from_seed("log.example", &[1; 32]).unwrap();
    let new = Ed25519Signer::from_seed("log.example", &[2; 32]).unwrap();
    let checkpoint = Checkpoint { origin: "log.example".to_owned(), size: 0, root: empty_root() };
    let note = checkpoint.sign(&[&old, &new]).unwrap();
    for keys in [vec![old.verifier().clone()], vec![new.verifier().clone()]] {
        assert_eq!(Checkpoint::open(note.as_bytes(), &keys).unwrap().signatures.len(), 1);
    }
    let both = [new.verifier().clone(), old.verifier().clone()];
    assert_eq!(Checkpoint::open(note.as_bytes(), &both).unwrap().signatures.len(), 2);
}

#[test]
fn checkpoint_texts_are_canonical() {
    let root = leaf_hash(b"");
    assert!(Checkpoint::parse(&format!("log\n1\n{root}\n")).is_ok());
    assert!(Checkpoint::parse(&format!("log\n0\n{}\n", empty_root())).is_ok());
    let bad = [
        format!("log\n1\n{root}"),
        format!("log\n1\n{root}\nextension\n"),
        format!("log\n01\n{root}\n"),
        format!("log\n+1\n{root}\n"),
        format!("log\n-1\n{root}\n"),
        format!("log\n\n{root}\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n0\n{root}\n"),
        format!("\n1\n{root}\n"),
        format!("l og\n1\n{root}\n"),
        format!("l+g\n1\n{root}\n"),
        format!("log\n1\n{root} \n"),
        format!("log\n1\n{}\n", root.to_hex()),
        "log\n1\nAAAA\n".to_owned(),
        format!("log\n1\n{}\n", "A".repeat(44)),
        "log\n1\n".to_owned(),
        String::new(),
    ];
    for text in bad {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn keys_are_checked_against_their_identifier() {
    let vectors = vectors();
    let (vkey, secret) = (text(&vectors["key"]["vkey"]), text(&vectors["key"]["skey_go_note"]));
    for bad in damaged(vkey.as_bytes()).filter_map(|bad| String::from_utf8(bad).ok()) {
        assert!(bad.parse::<Verifier>().is_err(), "{bad}");
    }
    for bad in damaged(secret.as_bytes()).filter_map(|bad| String::from_utf8(bad).ok()) {
        assert!(Ed25519Signer::parse(&bad).is_err(), "{bad}");
    }
    assert!(Cosigner::parse(secret).is_err(), "a log's key is no witness's key");
    assert!(Ed25519Signer::from_seed("a b", &[0; 32]).is_err());
    assert!(Ed25519Signer::parse(&format!("{secret}\n")).is_err());
}

#[test]
fn lists_of_hashes_are_strict_and_bounded() {
    let line = format!("{}\n", leaf_hash(b""));
    assert_eq!(parse_hashes("").unwrap(), []);
    assert_eq!(parse_hashes(&line.repeat(PROOF_HASHES_MAX)).unwrap().len(), PROOF_HASHES_MAX);
    for bad in [line.repeat(PROOF_HASHES_MAX + 1), "\n".to_owned(), line.trim_end().to_owned(), format!("{line}\n")] {
        assert!(parse_hashes(&bad).is_err(), "{bad:?}");
    }
    let proof = receipt().proof.replacen("index 2\n", &format!("index 2\n{}", line.repeat(62)), 1);
    assert!(TlogProof::parse(&proof).is_err());
    assert!(TlogProof::parse(&receipt().proof.replacen("index", "extra AAAA\nindex", 1)).is_err());
}

#[test]
fn only_canonical_tile_paths_parse() {
    let good = [
        "tile/0/000",
        "tile/0/999.p/255",
        "tile/7/x001/000",
        "tile/1/x001/x234/067.p/1",
        "tile/entries/000",
        "tile/entries/x001/000.p/9",
    ];
    for path in good {
        assert_eq!(path.parse::<TileResource>().unwrap().to_string(), path);
    }
    let bad = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0//000",
        "tile/0/000/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p/1/000",
        "tile/0/+00",
        "tile/0/-01",
        "tile/0/00\u{0660}",
        "tile/+1/000",
        "tile/-1/000",
        "tile/8/000",
        "tile/63/000",
        "tile/64/000",
        "tile/256/000",
        "tile/18446744073709551616/000",
        "tile/Entries/000",
        "tile/0/X001/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/8/0/000",
        "tile/0/000?x",
        "tile/0/000 ",
    ];
    for path in bad {
        assert!(path.parse::<TileResource>().is_err(), "{path}");
    }
    let last = TilePath::new(0, TILE_NUMBER_MAX, 256).unwrap();
    assert_eq!(last.to_string().parse(), Ok(TileResource::Hashes(last)));
    assert_eq!(last.nodes().start + u64::from(last.nodes().count), TREE_SIZE_MAX + 1);
    assert!(TilePath::new(0, TILE_NUMBER_MAX + 1, 1).is_err() && BundlePath::new(u64::MAX, 1).is_err());
    assert!(TilePath::new(8, 0, 1).is_err() && TilePath::new(0, 0, 0).is_err() && TilePath::new(0, 0, 257).is_err());
    assert_eq!(last.width_in(TREE_SIZE_MAX), Some(255));
    assert_eq!(last.width_in(u64::MAX), Some(256));
    assert_eq!(last.width_in(70_000), None);
}

proptest! {
    #[test]
    fn no_octets_make_a_parser_panic(octets in vec(any::<u8>(), 0..300), width in 0..300_u16) {
        prop_assert!(Entry::parse(&octets).is_err());
        prop_assert!(Checkpoint::open(&octets, &pinned()).is_err());
        let _ = Note::parse(&octets);
        let _ = Frontier::from_bytes(&octets);
        let _ = read_bundle(&octets, width);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,60}|[a-z0-9+/.=\n— ]{0,80}") {
        let _ = text.parse::<TileResource>();
        let _ = text.parse::<Verifier>();
        let _ = text.parse::<Hash>();
        let _ = Hash::from_hex(&text);
        let _ = Ed25519Signer::parse(&format!("PRIVATE+KEY+{text}"));
        let _ = Cosigner::parse(&text);
        let _ = parse_timestamp(&text);
        let _ = Checkpoint::parse(&text);
        let _ = TlogProof::parse(&text);
        let _ = TlogProof::parse(&format!("c2sp.org/tlog-proof@v1\nindex 0\n{text}\n\n{text}"));
        let receipt = Receipt { log: text.clone(), index: 0, leaf: text.clone(), proof: text };
        prop_assert!(receipt.verify(&pinned()).is_err());
    }

    #[test]
    fn tile_paths_survive_their_text(text in "tile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,7}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(resource) = text.parse::<TileResource>() {
            prop_assert_eq!(resource.to_string(), text);
        }
    }

    #[test]
    fn tiles_cover_each_level_once(size in 0..200_000_u64) {
        let mut next = [0_u64; 8];
        for tile in TilePath::all_of(size) {
            let nodes = tile.nodes();
            prop_assert_eq!(nodes.level, tile.level() * 8);
            let next = &mut next[usize::from(tile.level())];
            prop_assert_eq!(nodes.start, *next);
            prop_assert_eq!(tile.width_in(size), Some(tile.width()));
            *next += u64::from(nodes.count);
        }
        for (level, count) in next.into_iter().enumerate() {
            prop_assert_eq!(count, size >> (8 * level));
        }
    }
}
