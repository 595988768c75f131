//! Reads a stopped registry's data directory and checks all that can be checked from outside. Shares no code with the
//! daemon: it knows the journal's layout from the text that describes it, RFC 6962 from its definitions, signed notes from
//! C2SP, and JSON from serde_json.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// MTH of RFC 6962 §2.1 over leaf hashes.
pub fn root(leaf_hashes: &[Hash]) -> Hash {
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

/// Leaf hash of RFC 6962 §2.1.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// A log as it was read from disk, all of it checked.
#[derive(Debug, Clone)]
pub struct Log {
    /// The exact octets of each leaf.
    pub leaves: Vec<Vec<u8>>,
    /// The same as JSON.
    pub entries: Vec<Value>,
    /// RFC 6962 hash of each leaf.
    pub hashes: Vec<Hash>,
    /// The verifier keys that sign at its end, the newest first.
    pub vkeys: Vec<String>,
}

impl Log {
    /// Entries of an action.
    pub fn of(&self, action: &str) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["action"] == action).collect()
    }

    /// Checks that the daemon's word holds: an entry it named to a client is there, with the hash it said.
    pub fn has(&self, index: u64, leaf_hash_base64: &str) {
        let hash = self.hashes.get(usize::try_from(index).unwrap());
        let hash =
            hash.unwrap_or_else(|| panic!("entry {index} was acknowledged, but the log has {}", self.hashes.len()));
        assert_eq!(STANDARD.encode(hash), leaf_hash_base64, "entry {index} is another one than was acknowledged");
    }
}

/// Reads the log of a data directory whose daemon ended in order, and checks everything.
pub fn read(data_dir: &Path) -> Log {
    let records = journal(&data_dir.join("log"));
    let mut ids = BTreeSet::new();
    let mut salts = BTreeSet::new();
    let mut subjects: BTreeMap<String, u64> = BTreeMap::new();
    let (mut leaves, mut entries, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (seq, (leaf, change)) in (0_u64..).zip(records) {
        let entry: Value =
            serde_json::from_slice(&leaf).unwrap_or_else(|error| panic!("leaf {seq} is no JSON: {error}"));
        // serde_json's maps are sorted by octet and its writer escapes as little as JCS: equality is canonical form.
        assert_eq!(serde_json::to_vec(&entry).unwrap(), leaf, "leaf {seq} is not canonical");
        assert!(no_floats(&entry), "leaf {seq} has a float");
        assert!(leaf.len() <= 32_768, "leaf {seq} has {} octets", leaf.len());
        assert_eq!(entry["v"], 1, "leaf {seq}");
        assert_eq!(entry["seq"], seq, "leaf {seq}");
        let text =
            |field: &str| entry[field].as_str().unwrap_or_else(|| panic!("leaf {seq} has no {field}")).to_owned();
        assert!(ids.insert(text("id")), "leaf {seq} has an id that was there before");
        let salt = text("salt");
        assert!(salt.len() == 64 && hex::decode(&salt).is_ok(), "leaf {seq}: salt {salt}");
        assert!(salts.insert(salt), "leaf {seq} has a salt that was there before");
        assert!(is_time(&text("ts")), "leaf {seq}: ts {}", text("ts"));
        assert!(matches!(text("outcome").as_str(), "ok" | "denied" | "error"), "leaf {seq}");
        assert!(text("action").contains('.') && !text("node").is_empty(), "leaf {seq}");
        for (object, fields) in [("actor", &["id", "kind"][..]), ("target", &["kind", "id"][..])] {
            for field in fields {
                assert!(entry[object][*field].is_string(), "leaf {seq} has no {object}.{field}: {entry}");
            }
        }
        if let Some(req) = entry.get("req") {
            let route = req["route"].as_str().unwrap_or_default();
            assert!(route.starts_with('/') && !route.contains('?'), "leaf {seq}: route {route}");
            assert!(req["id"].is_string() && req["method"].is_string(), "leaf {seq}: {req}");
            assert!((100..600).contains(&req["status"].as_u64().unwrap()), "leaf {seq}: {req}");
        }
        let change_hash = (!change.is_empty()).then(|| hex::encode(Sha256::digest(&change)));
        assert_eq!(entry.get("change").and_then(Value::as_str), change_hash.as_deref(), "leaf {seq}: change");
        let prev = subjects.insert(subject(&entry["target"]), seq);
        assert_eq!(entry.get("prev").and_then(Value::as_u64), prev, "leaf {seq}: prev of {}", entry["target"]);
        hashes.push(leaf_hash(&leaf));
        entries.push(entry);
        leaves.push(leaf);
    }
    let genesis = entries.first().expect("a log has entry 0");
    assert_eq!(genesis["action"], "log.genesis");
    let vkeys = vkeys(&entries);
    let log = Log { leaves, entries, hashes, vkeys };
    let note = checkpoint(data_dir);
    for vkey in &log.vkeys {
        let (size, signed_root) = open_note(&note, vkey);
        assert_eq!(size, log.hashes.len(), "the last checkpoint of a stopped daemon covers all");
        assert_eq!(signed_root, root(&log.hashes), "the last checkpoint's root");
    }
    assert_eq!(signatures(&note), log.vkeys.len(), "no other key signs: {note}");
    log
}

/// The keys that sign after these entries, the newest first (audit-log.md §10).
fn vkeys(entries: &[Value]) -> Vec<String> {
    let mut keys = Vec::new();
    for entry in entries.iter().filter(|entry| entry["outcome"] == "ok") {
        let data = &entry["data"];
        let vkey = || data["vkey"].as_str().expect("the entry has the key").to_owned();
        match entry["action"].as_str().unwrap() {
            "log.genesis" | "log.rollback_accepted" => keys = vec![vkey()],
            "log.key_rotate" if data["leaving"].is_string() => {
                assert_eq!(keys, [data["leaving"].as_str().unwrap()], "the key before it stays for a while");
                keys.insert(0, vkey());
            }
            "log.key_rotate" if data["retired"].is_string() => {
                assert_eq!(keys.pop().as_deref(), data["retired"].as_str(), "the leaving key is retired");
                assert_eq!(keys, [vkey()]);
            }
            "log.key_rotate" => keys = vec![vkey()],
            _ => {}
        }
    }
    keys
}

/// How many signature lines a note has.
pub fn signatures(note: &str) -> usize {
    note.lines().filter(|line| line.starts_with('\u{2014}')).count()
}

/// The note in the checkpoint's file, without the zeros behind it.
pub fn checkpoint(data_dir: &Path) -> String {
    let octets = fs::read(data_dir.join("log/checkpoint")).expect("the last checkpoint");
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    assert!(octets[end..].iter().all(|octet| *octet == 0), "the checkpoint's file has something behind its note");
    String::from_utf8(octets[..end].to_vec()).expect("a note in UTF-8")
}

/// Blobs on disk: each must have the digest that names it. Nothing may be left in staging, nor in that of an object store,
/// where blobs are kept in one.
pub fn blobs(data_dir: &Path) -> BTreeSet<String> {
    let staged_for_s3 = fs::read_dir(data_dir.join("s3/staging")).map_or(0, Iterator::count);
    assert_eq!(staged_for_s3, 0, "files in the staging of the object store");
    if data_dir.join("s3").is_dir() && !data_dir.join("blobs").is_dir() {
        return BTreeSet::new();
    }
    blobs_below(&data_dir.join("blobs/sha256"), staged(data_dir))
}

/// The same of a bucket's directory, or of blobs anywhere else.
pub fn blobs_below(dir: &Path, staged: usize) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    for shard in fs::read_dir(dir).unwrap() {
        let shard = shard.unwrap();
        for blob in fs::read_dir(shard.path()).unwrap() {
            let blob = blob.unwrap();
            let name = format!("{}{}", shard.file_name().to_str().unwrap(), blob.file_name().to_str().unwrap());
            let octets = match fs::read(blob.path()) {
                Ok(octets) => octets,
                // Removed since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", blob.path().display()),
            };
            assert_eq!(hex::encode(Sha256::digest(&octets)), name, "a blob has another digest than its name");
            digests.insert(name);
        }
    }
    assert_eq!(staged, 0, "files in staging");
    digests
}

/// How many files are in staging: in the one directory, and in this daemon's own of a directory that several share.
pub fn staged(data_dir: &Path) -> usize {
    let staging = data_dir.join("blobs/staging");
    let node = fs::read_to_string(data_dir.join("node")).unwrap_or_default();
    let files = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).count()
    };
    let own = if node.trim().is_empty() { 0 } else { files(&staging.join(node.trim())) };
    files(&staging) + own
}

/// Versions, files and aliases count as their model (audit-log.md §1, `prev`).
fn subject(target: &Value) -> String {
    let kind = match target["kind"].as_str().unwrap() {
        "version" | "file" | "alias" => "model",
        other => other,
    };
    format!("{kind} {}", target["id"].as_str().unwrap())
}

fn no_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() < 1 << 53),
        Value::Array(values) => values.iter().all(no_floats),
        Value::Object(members) => members.values().all(no_floats),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ`
pub fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

// ---- the journal's layout -------------------------------------------------------------------------------------------

const FILE_HEADER: usize = 64;
const BATCH_HEADER: usize = 28;
const RECORD_HEADER: usize = 12;

/// Leaf and change of every record, oldest first.
pub fn journal(log_dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names: Vec<String> = fs::read_dir(log_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("journal-"))
        .collect();
    names.sort();
    let mut records = Vec::new();
    for name in names {
        let file = fs::read(log_dir.join(&name)).unwrap();
        assert_eq!(&file[..8], b"mregjnl1", "{name}");
        let (nonce, first) = (&file[8..24], u64_at(&file, 24));
        assert_eq!(u32_at(&file, 60), crc32c(&[&file[..60]]), "{name}: header");
        assert_eq!(first, u64::try_from(records.len()).unwrap(), "{name} begins elsewhere");
        assert_eq!(name, format!("journal-{first:020}.log"));
        let mut at = FILE_HEADER;
        while at + BATCH_HEADER <= file.len() && file[at..at + 8] == nonce[..8] {
            let header = &file[at..at + BATCH_HEADER];
            assert_eq!(u32_at(header, 24), crc32c(&[nonce, &header[..24]]), "{name}: batch header at {at}");
            assert_eq!(u64_at(header, 16), u64::try_from(records.len()).unwrap(), "{name}: batch at {at}");
            let (body_octets, count) = (usize_at(header, 8), usize_at(header, 12));
            let body = &file[at + BATCH_HEADER..at + BATCH_HEADER + body_octets];
            let mut from = 0;
            for _ in 0..count {
                let len = usize_at(body, from);
                let record = &body[from..from + 8 + len];
                assert_eq!(u32_at(record, 4), crc32c(&[&record[8..]]), "{name}: record {}", records.len());
                let leaf_octets = usize_at(record, 8);
                let (leaf, change) = record[RECORD_HEADER..].split_at(leaf_octets);
                records.push((leaf.to_vec(), change.to_vec()));
                from += 8 + len;
            }
            assert_eq!(from, body_octets, "{name}: batch at {at} is not whole");
            at += BATCH_HEADER + body_octets;
        }
        assert!(file[at..].iter().all(|octet| *octet == 0), "{name} has octets behind its last batch");
    }
    records
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

fn usize_at(octets: &[u8], at: usize) -> usize {
    usize::try_from(u32_at(octets, at)).unwrap()
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets[at..at + 8].try_into().unwrap())
}

/// CRC-32C (Castagnoli, reflected), the table made from the polynomial.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    static TABLE: std::sync::LazyLock<Vec<u32>> = std::sync::LazyLock::new(|| {
        (0..256_u32)
            .map(|octet| (0..8).fold(octet, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }))
            .collect()
    });
    !parts.iter().copied().flatten().fold(!0, |crc: u32, octet| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLE[usize::from(low ^ octet)]
    })
}

// ---- signed notes ---------------------------------------------------------------------------------------------------

/// Checks a checkpoint's Ed25519 signature (C2SP signed-note, tlog-checkpoint); its size and root.
pub fn open_note(note: &str, vkey: &str) -> (usize, Hash) {
    let (name, rest) = vkey.split_once('+').expect("a vkey has three parts");
    let (key_id, key) = rest.split_once('+').expect("a vkey has three parts");
    let key = STANDARD.decode(key).unwrap();
    assert_eq!(key[0], 1, "Ed25519");
    let expected_id = &Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&key).finalize()[..4];
    assert_eq!(hex::encode(expected_id), key_id);

    let (text, signatures) = note.split_once("\n\n").expect("a note has an empty line");
    let text = format!("{text}\n");
    // Keys of one name are told apart by their ids.
    let blobs = signatures
        .lines()
        .filter(|line| line.starts_with(&format!("\u{2014} {name} ")))
        .map(|line| STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap());
    let blob = blobs.into_iter().find(|blob| blob[..4] == *expected_id).expect("our signature");
    let signature = &blob[4..];
    let key = ed25519_dalek::VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
    key.verify_strict(text.as_bytes(), &signature).expect("the checkpoint's signature");

    let lines: Vec<&str> = text.lines().collect();
    let [origin, size, root] = lines.as_slice() else { panic!("a checkpoint has three lines: {text:?}") };
    assert_eq!(*origin, name);
    (size.parse().unwrap(), STANDARD.decode(root).unwrap().try_into().unwrap())
}
