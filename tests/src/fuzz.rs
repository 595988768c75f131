//! What must hold of every parser of outside octets around the audit log, in inspections and in the drop folder, as functions
//! of any octets: they panic where it doesn't. cargo-fuzz feeds them (`fuzz/`), and so does the suite (`it/fuzz.rs`). Keys, roots and leaves are those of the
//! published vectors, so that most inputs mean something. Refuses to know where inputs come from.

pub mod ingest;
pub mod inspect;
pub mod journal;
pub mod mutate;
pub mod network;
pub mod seeds;

pub use ingest::{checksum, drop_name, sidecar};
pub use inspect::{
    inspect, inspect_compressed, inspect_gguf, inspect_hdf5, inspect_jinja, inspect_json, inspect_keras,
    inspect_lightgbm, inspect_media, inspect_msgpack, inspect_npy, inspect_onnx, inspect_pickle, inspect_safetensors,
    inspect_saved_model, inspect_sentencepiece, inspect_tar, inspect_text, inspect_tflite, inspect_ubjson, inspect_xml,
    inspect_yaml, inspect_zip,
};

pub use network::{certificate, forwarded};

use std::cell::RefCell;
use std::convert::Infallible;
use std::hash::RandomState;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::verify::{EntryCheck, FaultKind, Spill};
use common::audit::{
    BundlePath, Checkpoint, Cosigner, Ed25519Signer, Entry, Frontier, Hash, KeyType, LEAF_LEN_MAX, NOTE_LEN_MAX, Nodes,
    Note, POLICY_ITEMS_MAX, POLICY_LEN_MAX, PROOF_HASHES_MAX, Policy, Receipt, SIGNATURES_MAX, Signer as _,
    TILE_NUMBER_MAX, TILE_WIDTH, TileResource, TlogProof, Verifier, canonical_json, consistency_proof, cut_bundle,
    format_hashes, format_timestamp, parse_hashes, push_leaf, read_bundle, root_at, verify_consistency,
};
use common::client::{EVENT_OCTETS_MAX, Event, LINE_OCTETS_MAX, Parser, SseError};
use daemon::http::route::{self, RouteError};
use daemon::http::tus::fields;
use daemon::registry::resumable::{Checksum, METADATA_OCTETS_MAX};
use daemon::store::codec::{decode_change, encode_change};
use daemon::witness::{Verdict, Witness};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

/// Holds octets to what must be true of them.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 40] = [
    ("certificate", network::certificate),
    ("checksum", ingest::checksum),
    ("consistency", consistency),
    ("drop_name", ingest::drop_name),
    ("forwarded", network::forwarded),
    ("inspect", inspect),
    ("inspect_compressed", inspect_compressed),
    ("inspect_gguf", inspect_gguf),
    ("inspect_hdf5", inspect_hdf5),
    ("inspect_jinja", inspect_jinja),
    ("inspect_json", inspect_json),
    ("inspect_keras", inspect_keras),
    ("inspect_lightgbm", inspect_lightgbm),
    ("inspect_media", inspect_media),
    ("inspect_msgpack", inspect_msgpack),
    ("inspect_npy", inspect_npy),
    ("inspect_onnx", inspect_onnx),
    ("inspect_pickle", inspect_pickle),
    ("inspect_safetensors", inspect_safetensors),
    ("inspect_saved_model", inspect_saved_model),
    ("inspect_sentencepiece", inspect_sentencepiece),
    ("inspect_tar", inspect_tar),
    ("inspect_text", inspect_text),
    ("inspect_tflite", inspect_tflite),
    ("inspect_ubjson", inspect_ubjson),
    ("inspect_xml", inspect_xml),
    ("inspect_yaml", inspect_yaml),
    ("inspect_zip", inspect_zip),
    ("journal", journal::journal),
    ("leaf", leaf),
    ("note", note),
    ("policy", policy),
    ("proof", proof),
    ("record", record),
    ("route", route),
    ("sidecar", ingest::sidecar),
    ("sse", sse),
    ("tile", tile),
    ("tus", tus),
    ("witness", witness),
];

/// The published vectors, with the secret halves of their keys.
pub(crate) struct Vectors {
    pub(crate) json: Value,
    pub(crate) log: Ed25519Signer,
    pub(crate) witness: Cosigner,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) tree: Tree,
}

pub(crate) static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    let json: Value = serde_json::from_str(include_str!("../../common/testdata/audit-log-vectors.json")).unwrap();
    let seed = |of: &str| -> [u8; 32] {
        hex::decode(json[of]["seed_hex"].as_str().unwrap()).unwrap().try_into().expect("32 octets")
    };
    let log = Ed25519Signer::from_seed(json["key"]["origin"].as_str().unwrap(), &seed("key")).unwrap();
    let name = json["witness"]["vkey"].as_str().unwrap().split('+').next().unwrap();
    let witness = Cosigner::from_seed(name, &seed("witness")).unwrap();
    let entries = json["entries_utf8"].as_array().unwrap();
    let leaves: Vec<Vec<u8>> = entries.iter().map(|leaf| leaf.as_str().unwrap().as_bytes().to_vec()).collect();
    let mut tree = Tree::default();
    for leaf in &leaves {
        tree.push(common::audit::leaf_hash(leaf));
    }
    Vectors { json, log, witness, leaves, tree }
});

impl Vectors {
    /// The vectors' log at a size, signed.
    pub(crate) fn note(&self, size: u64) -> String {
        self.checkpoint(size).sign(&[&self.log]).unwrap()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint { origin: self.log.verifier().name().to_owned(), size, root: root_at(size, &self.tree).unwrap() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn pinned(&self) -> [Verifier; 2] {
        [self.log.verifier().clone(), self.witness.verifier().clone()]
    }

    /// The signature line that a verified signature over this text must be: both keys sign deterministically, so that there
    /// is one line for each text and time.
    fn line(&self, text: &str, cosigned_at: Option<u64>) -> String {
        match cosigned_at {
            None => self.log.sign(text).unwrap(),
            Some(at_s) => self.witness.cosign(text, at_s),
        }
    }
}

/// A tree in memory, one array a level.
#[derive(Default)]
pub(crate) struct Tree {
    levels: Vec<Vec<Hash>>,
    frontier: Frontier,
}

impl Tree {
    pub(crate) fn push(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, _index, hash| {
            levels.resize(levels.len().max(usize::from(level) + 1), Vec::new());
            levels[usize::from(level)].push(hash);
        });
    }
}

impl Nodes for Tree {
    type Error = String;

    fn node(&self, level: u8, index: u64) -> Result<Hash, String> {
        let found = self.levels.get(usize::from(level)).and_then(|level| level.get(usize::try_from(index).ok()?));
        found.copied().ok_or_else(|| format!("no node {index} of level {level}"))
    }
}

/// Signed notes, checkpoints, cosignatures, and keys: one spelling each, and nothing counts that was not signed.
pub fn note(octets: &[u8]) {
    if let Ok(note) = Note::parse(octets) {
        assert!(octets.len() <= NOTE_LEN_MAX);
        let whole = str::from_utf8(octets).expect("notes are UTF-8");
        let signatures = whole.strip_prefix(note.text()).expect("the text comes first");
        assert!(note.text().ends_with('\n') && signatures.starts_with('\n') && signatures.ends_with('\n'));
        assert!(signatures.lines().count() <= SIGNATURES_MAX + 1);
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.to_text(), note.text());
        }
        if let Ok(verified) = note.verify(&VECTORS.pinned()) {
            assert!((1..=2).contains(&verified.len()), "each key counts once");
            for one in &verified {
                assert_eq!(one.cosigned_at.is_some(), one.kind == KeyType::CosignatureV1);
                assert!(signatures.contains(&VECTORS.line(note.text(), one.cosigned_at)), "another spelling counts");
            }
        }
        if let Ok(signed) = Checkpoint::open(octets, &VECTORS.pinned()) {
            assert!(signatures.contains(&VECTORS.line(&signed.checkpoint.to_text(), None)));
        }
    }
    let Ok(text) = str::from_utf8(octets) else { return };
    if let Ok(vkey) = text.parse::<Verifier>() {
        assert_eq!(vkey.to_string(), text);
    }
    if let Ok(key) = Ed25519Signer::parse(text) {
        assert_eq!(*key.to_secret(), text);
        assert_eq!(key.verifier().kind(), KeyType::Ed25519);
    }
    if let Ok(key) = Cosigner::parse(text) {
        assert_eq!(*key.to_secret(), text);
        assert_eq!(key.verifier().kind(), KeyType::CosignatureV1);
    }
}

/// Fields of the tus protocol: keys once each and without what separates them, values that are written again the same, and
/// checksums of two kinds.
pub fn tus(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else { return };
    if let Ok(pairs) = fields::metadata(text) {
        let written: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
        let written = written.join(",");
        if written.len() <= METADATA_OCTETS_MAX {
            assert_eq!(fields::metadata(&written).expect("what is written is read"), pairs);
        }
        for (at, (key, _value)) in pairs.iter().enumerate() {
            assert!(!key.is_empty() && !key.contains([' ', ',']), "{key:?} is no key");
            assert!(pairs[..at].iter().all(|(other, _)| other != key), "{key:?} is there twice");
        }
    }
    if let Ok(checksum) = fields::checksum(text) {
        let (name, value) = match &checksum {
            Checksum::Sha1(value) => ("sha1", &value[..]),
            Checksum::Sha256(value) => ("sha256", &value[..]),
        };
        assert_eq!(fields::checksum(&format!("{name} {}", STANDARD.encode(value))), Ok(checksum));
    }
}

/// Inclusion proofs and receipts: one spelling, and none proves what is not in the log.
pub fn proof(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else { return };
    if let Ok(proof) = TlogProof::parse(text) {
        assert_eq!(proof.to_text(), text);
        assert!(proof.path.len() <= PROOF_HASHES_MAX);
        for (index, leaf) in (0..).zip(&VECTORS.leaves) {
            if proof.verify(&common::audit::leaf_hash(leaf), &VECTORS.pinned()).is_ok() {
                assert_eq!(proof.index, index, "a leaf is proved to stand where it does not");
            }
        }
    }
    let Ok(receipt) = serde_json::from_str::<Receipt>(text) else { return };
    let again: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
    assert_eq!(again, receipt);
    if let Ok(verified) = receipt.verify(&VECTORS.pinned()) {
        assert_eq!(VECTORS.leaves.get(usize::try_from(receipt.index).unwrap()), Some(&verified.leaf));
        assert_eq!(STANDARD.encode(&verified.leaf), receipt.leaf, "another spelling of the leaf");
        assert_eq!((verified.entry.seq, verified.signed.checkpoint.origin), (receipt.index, receipt.log));
    }
}

/// Consistency proofs: one spelling, and between two sizes one proof. Two octets choose the sizes.
pub fn consistency(octets: &[u8]) {
    let [old, new, text @ ..] = octets else { return };
    let Ok(proof) = str::from_utf8(text).map_err(drop).and_then(|text| parse_hashes(text).map_err(drop)) else {
        return;
    };
    assert_eq!(format_hashes(&proof).as_bytes(), text);
    assert!(proof.len() <= PROOF_HASHES_MAX);
    let sizes = VECTORS.size() + 1;
    let (old, new) = (u64::from(*old) % sizes, u64::from(*new) % sizes);
    let root = |size| root_at(size, &VECTORS.tree).unwrap();
    if verify_consistency(old, &root(old), new, &root(new), &proof).is_ok() {
        assert!(old <= new);
        let only = if old == 0 { Vec::new() } else { consistency_proof(old, new, &VECTORS.tree).unwrap() };
        assert_eq!(proof, only);
    }
    // No root of another log is proved, whatever the sizes.
    let other = Hash([7; 32]);
    if old > 0 {
        assert!(verify_consistency(old, &other, new, &root(new), &proof).is_err());
    }
}

/// Paths of tiles and bundles: one spelling. Bundles, whose first two octets here give the width: cut in one way only.
pub fn tile(octets: &[u8]) {
    if let Ok(text) = str::from_utf8(octets)
        && let Ok(resource) = text.parse::<TileResource>()
    {
        assert_eq!(resource.to_string(), text);
        let (number, width) = match resource {
            TileResource::Hashes(tile) => {
                let nodes = tile.nodes();
                assert_eq!((nodes.level, nodes.count), (tile.level() * 8, tile.width()));
                (tile.number(), tile.width())
            }
            TileResource::Entries(bundle) => {
                let leaves = bundle.leaves();
                assert_eq!(leaves.end - leaves.start, u64::from(bundle.width()));
                (bundle.number(), bundle.width())
            }
        };
        assert!(number <= TILE_NUMBER_MAX && (1..=TILE_WIDTH).contains(&width));
    }
    let Some((width, bundle)) = octets.split_first_chunk() else { return };
    let width = u16::from_le_bytes(*width) % (TILE_WIDTH + 1);
    let Ok(leaves) = read_bundle(bundle, width) else { return };
    assert_eq!(leaves.len(), usize::from(width));
    let mut again = Vec::new();
    for (index, leaf) in (0..).zip(&leaves) {
        assert_eq!(cut_bundle(bundle, index), Ok(again.as_slice()));
        push_leaf(&mut again, leaf).unwrap();
    }
    assert_eq!(again, bundle);
    assert!(cut_bundle(bundle, width + 1).is_err());
}

/// Scratch space in memory.
struct Scratch(Vec<u8>);

impl Spill for Scratch {
    type Error = Infallible;

    fn append(&mut self, octets: &[u8]) -> Result<u64, Infallible> {
        let at = self.0.len() as u64;
        self.0.extend_from_slice(octets);
        Ok(at)
    }

    fn read(&mut self, at: u64, octets: &mut [u8]) -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap();
        octets.copy_from_slice(&self.0[at..at + octets.len()]);
        Ok(())
    }
}

/// Leaves: one spelling, and the verifier's reader without allocations accepts exactly what the parser does.
pub fn leaf(octets: &[u8]) {
    let parsed = Entry::parse(octets);
    if let Ok(entry) = &parsed {
        assert!(octets.len() <= LEAF_LEN_MAX);
        assert_eq!(entry.to_leaf().expect("what was read can be written"), octets);
    }
    if let Ok(value) = serde_json::from_slice::<Value>(octets)
        && let Ok(canonical) = canonical_json(&value)
    {
        let again: Value = serde_json::from_slice(&canonical).expect("canonical JSON is JSON");
        assert_eq!(canonical_json(&again).unwrap(), canonical);
    }

    let mut bundle = Vec::new();
    if push_leaf(&mut bundle, octets).is_err() {
        return;
    }
    let mut kinds = Vec::new();
    let mut check = EntryCheck::new(1, "fuzz.test/log", [RandomState::new(), RandomState::new()]);
    let path = BundlePath::new(0, 1).unwrap();
    let mut scratch = Scratch(Vec::new());
    let Ok(()) = check.bundle(path, Some(&bundle), &mut scratch, &mut |fault| kinds.push(fault.kind));
    match parsed {
        Err(_) => assert_eq!(kinds, [FaultKind::Entry], "the verifier accepts what the parser refuses"),
        Ok(entry) => {
            assert!(!kinds.contains(&FaultKind::Entry), "the verifier refuses what the parser accepts");
            assert!(entry.seq == 0 || kinds.contains(&FaultKind::Order));
            assert!(entry.prev.is_none() || kinds.contains(&FaultKind::Order));
            let Ok(facts) = check.finish(true, &mut scratch, &mut |_fault| {});
            assert_eq!((facts.entries, facts.newest), (1, Some(format_timestamp(entry.ts).unwrap())));
        }
    }
}

/// Streams of events: however the octets are cut, the same events, the same end, within the limits.
pub fn sse(octets: &[u8]) {
    type Read = (Vec<Event>, Result<(), SseError>, Option<std::time::Duration>);
    let read = |pieces: &[&[u8]]| -> Read {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        let done = pieces.iter().try_for_each(|piece| parser.push(piece, |event| events.push(event)));
        (events, done, parser.retry())
    };
    let whole = read(&[octets]);
    for event in &whole.0 {
        assert!(!event.name.is_empty() && event.data.len() <= EVENT_OCTETS_MAX);
        // U+FFFD has three octets for each that is no UTF-8.
        assert!(event.name.len().max(event.last_id.len()) <= LINE_OCTETS_MAX * 3);
        assert!(!event.last_id.contains(['\0', '\n', '\r']));
    }
    assert_eq!(read(&octets.chunks(1).collect::<Vec<_>>()), whole, "octet by octet");
    let mut random = mutate::Random::of(octets);
    for _ in 0..3 {
        let (mut rest, mut pieces) = (octets, Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.below(rest.len()) + 1);
            pieces.push(piece);
            rest = after;
        }
        assert_eq!(read(&pieces), whole, "in pieces");
    }
}

/// Trust policies: bounds; all witnesses are a quorum, none is only where nobody is asked, one more never spoils it; every
/// mistake names a line.
pub fn policy(octets: &[u8]) {
    let lines = octets.split(|octet| *octet == b'\n').count();
    let policy = match Policy::parse(octets) {
        Ok(policy) => policy,
        Err(mistakes) => {
            assert!((1..=20).contains(&mistakes.iter().count()));
            assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
            assert!(mistakes.to_string().len() <= 20 * 1024, "the words are bounded");
            return;
        }
    };
    assert!(octets.len() <= POLICY_LEN_MAX && octets.ends_with(b"\n"));
    assert!(policy.logs().len().max(policy.witnesses().len()) <= POLICY_ITEMS_MAX);
    assert!(policy.logs().iter().all(|log| log.key.kind() == KeyType::Ed25519));
    for witness in policy.witnesses() {
        assert_eq!(witness.key.kind(), KeyType::CosignatureV1);
        assert!((1..lines).contains(&witness.line) && !witness.name().is_empty());
    }
    assert!(policy.is_quorum(|_| true));
    assert_eq!(policy.is_quorum(|_| false), policy.asks_nobody());
    let mut had = policy.asks_nobody();
    for count in 0..=policy.witnesses().len() {
        let has = policy.is_quorum(|index| index < count);
        assert!(has || !had, "one more witness spoils a quorum");
        had = has;
    }
    if octets.len() + 10 <= POLICY_LEN_MAX {
        assert_eq!(Policy::parse(&[octets, b"# comment\n"].concat()), Ok(policy.clone()));
    }
    let note = VECTORS.note(VECTORS.size());
    let cosigned = note.clone() + &VECTORS.witness.cosign(&VECTORS.checkpoint(VECTORS.size()).to_text(), 1_790_000_000);
    let log = [VECTORS.log.verifier().clone()];
    for (note, has_witness) in [(&note, false), (&cosigned, true)] {
        if let Ok(witnessed) = policy.satisfied_by(note.as_bytes(), &log) {
            let mine = |index: usize| policy.witnesses()[index].key == *VECTORS.witness.verifier();
            assert!(policy.is_quorum(|index| has_witness && mine(index)));
            assert!(witnessed.cosigned.iter().all(|(index, _at)| has_witness && mine(*index)));
        }
    }
}

/// Stored records: what is read can be written, as the same. Run with `-malloc_limit_mb`, it also holds the codec to the
/// memory it may ask for.
pub fn record(octets: &[u8]) {
    let Ok(writes) = decode_change(octets) else { return };
    let again = encode_change(&writes).expect("what was read can be written");
    // A number may have been given more octets than it needs, and a map its keys twice or in another order. What 0.1.0 wrote
    // gains fields.
    assert!(again.len() <= octets.len() || octets[0] == 0, "{} octets became {}", octets.len(), again.len());
    assert_eq!(decode_change(&again).expect("what was written can be read"), writes);
}

/// Routes: HEAD is GET, `Allow` tells the truth, one trailing slash changes nothing, and what goes into the log is bounded.
/// The first octet chooses the method.
pub fn route(octets: &[u8]) {
    const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let Some((method, path)) = octets.split_first() else { return };
    let Ok(path) = str::from_utf8(path) else { return };
    let method = &METHODS[usize::from(*method) % METHODS.len()];
    let answer = route::parse(method, path);
    match &answer {
        Ok(found) => {
            let named = found.endpoint().method;
            assert_eq!(named, if *method == Method::HEAD { "GET" } else { method.as_str() });
            let target = found.target();
            assert!(target.id.len() <= 256 && target.version.is_none_or(|version| version.len() <= 256));
            if !path.ends_with('/') && !path.starts_with("/log/tile/") {
                assert_eq!(route::parse(method, &format!("{path}/")).as_ref(), Ok(found));
            }
        }
        Err(RouteError::MethodNotAllowed { allow }) => {
            for allowed in METHODS {
                let is_listed = allow.split(", ").any(|one| one == allowed.as_str());
                assert_eq!(route::parse(&allowed, path).is_ok(), is_listed, "{allowed} {path:?}: {allow}");
            }
        }
        Err(error) => {
            for other in METHODS {
                assert_eq!(route::parse(&other, path).as_ref(), Err(error), "{other} {path:?}");
            }
        }
    }
    if *method == Method::GET {
        assert_eq!(route::parse(&Method::HEAD, path), answer);
    }
}

/// Where files of the targets go: memory, where the system has such a place.
fn temporary() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::with_prefix_in("mreg-fuzz-", memory).unwrap() } else { TempDir::new().unwrap() }
}

/// The size that the witness of the target has cosigned.
const WITNESSED: u64 = 3;

/// A request to a witness that has cosigned a log's third checkpoint: only what the log signed and what is proved to extend
/// that is cosigned, once. The first octet says whether the log signs the checkpoint of the request, whatever it says: a
/// fuzzer has no key.
pub fn witness(octets: &[u8]) {
    thread_local! {
        /// Kept until it has cosigned something else.
        static OPEN: RefCell<Option<(Witness, TempDir)>> = const { RefCell::new(None) };
    }
    let Some((mode, body)) = octets.split_first() else { return };
    let signed;
    let body = match (mode & 1, str::from_utf8(body).ok().and_then(|text| text.rsplit_once("\n\n"))) {
        (1, Some((head, _signatures))) => {
            let text = head.split_once("\n\n").map_or("", |(_proof, text)| text);
            signed = format!("{head}\n\n{}", VECTORS.log.sign(&format!("{text}\n")).unwrap());
            signed.as_bytes()
        }
        _ => body,
    };
    let seed: [u8; 32] =
        hex::decode(VECTORS.json["witness"]["seed_hex"].as_str().unwrap()).unwrap().try_into().unwrap();
    let (witness, dir) = OPEN.take().unwrap_or_else(|| {
        let dir = temporary();
        let cosigner = Cosigner::from_seed(VECTORS.witness.verifier().name(), &seed).unwrap();
        let keys = vec![VECTORS.log.verifier().clone()];
        let witness = Witness::open(&dir.path().join("state"), keys, cosigner).unwrap();
        let first = format!("old 0\n\n{}", VECTORS.note(WITNESSED));
        assert!(matches!(witness.add_checkpoint(first.as_bytes()), Verdict::Cosigned(_)));
        (witness, dir)
    });
    let size = || witness.logs()[0].recorded.expect("a checkpoint was cosigned").0;
    match witness.add_checkpoint(body) {
        Verdict::Cosigned(line) => {
            let (_proof, note) = str::from_utf8(body).unwrap().split_once("\n\n").unwrap();
            let whole = format!("{note}{line}");
            let opened = Checkpoint::open(whole.as_bytes(), &VECTORS.pinned()).expect("what is cosigned is whole");
            let at_s = opened.signatures.iter().find_map(|one| one.cosigned_at).expect("its time");
            assert_eq!(line, VECTORS.witness.cosign(&opened.checkpoint.to_text(), at_s));
            assert_eq!(opened.checkpoint.size, size());
            assert!(size() >= WITNESSED);
            if size() == WITNESSED {
                assert_eq!(opened.checkpoint, VECTORS.checkpoint(WITNESSED), "a fork was cosigned");
                assert!(matches!(witness.add_checkpoint(body), Verdict::Cosigned(_)), "the same again");
            } else {
                assert_eq!(witness.add_checkpoint(body), Verdict::Conflict(size()), "the state moved on");
            }
        }
        // Evidence was kept: of that there is a bound.
        Verdict::Conflict(said) => assert_eq!((said, size()), (WITNESSED, WITNESSED)),
        Verdict::Inconsistent => assert_eq!(size(), WITNESSED),
        Verdict::Malformed(why) => {
            assert_eq!(witness.add_checkpoint(body), Verdict::Malformed(why));
            OPEN.set(Some((witness, dir)));
        }
        Verdict::UnknownKey | Verdict::UnknownLog => OPEN.set(Some((witness, dir))),
        Verdict::NotRecorded => panic!("the state could not be written"),
        Verdict::ClockBehind => panic!("the clock is the one that the state was made with"),
    }
}
