//! The parts that requests and commits are made of, one by one, each beside a limit that is measured right before it: leaf
//! hashing, the journal, inspections of small files, JSON, tokens, names and routes. What a figure is good for: to see which
//! part grew when a whole path did.
//!
//! In one process on one core, but for the journal's disk. A row is the middle of some rounds of some milliseconds after a
//! warm-up, and the ratio is the middle of the rounds' ratios. Parts: `leaves`, `journal`, `inspect`, `json`, `tokens`, `names`.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures for people")]

#[path = "kit/figures.rs"]
mod figures;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::api::{AuditRow, ModelInfo, ModelRow, NewApiToken, Page};
use common::audit::{Action, Actor, ActorKind, Entry, Frontier, Outcome, RequestInfo, Target, leaf_hash};
use common::name::{ModelName, ModelRef};
use common::pattern::NamePattern;
use common::token::{SECRET_OCTETS, TokenId, TokenText};
use daemon::auth::token::TokenKeys;
use daemon::config::secret::Secret;
use daemon::config::{Config, Options};
use daemon::durable::Disk;
use daemon::http::{respond, route};
use daemon::inspect::{Limits, Ruleset, Verdict, inspect};
use daemon::inspection::LocalFile;
use daemon::registry::Registry;
use daemon::registry::access::{Actor as Who, Caller};
use daemon::store::codec::change_digest;
use daemon::store::journal::{FILE_ENTRIES_MAX, Journal, Record, Spare};
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::figures::{heading, median, scratch};

/// Rounds of a row, after one that warms up.
const ROUNDS: usize = 7;
/// Seconds of a round, about.
const SECONDS: f64 = 0.02;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let parts: [(&str, fn()); 6] = [
        ("leaves", leaves),
        ("journal", journal),
        ("inspect", inspections),
        ("json", answers),
        ("tokens", tokens),
        ("names", names),
    ];
    for (name, part) in parts {
        if figures::wanted(name) {
            part();
        }
    }
}

/// Nanoseconds of one, by so many.
fn round(times: u64, work: &mut dyn FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..times {
        work();
    }
    began.elapsed().as_nanos() as f64 / times as f64
}

/// Does nothing with a value that the compiler must not leave out.
fn used<T>(value: T) {
    drop(black_box(Some(value)));
}

/// How often something is done in a round.
fn times(work: &mut dyn FnMut()) -> u64 {
    let once = round(1, work).max(1.0);
    let more = (SECONDS * 1e8 / once).clamp(1.0, 1e6) as u64;
    ((SECONDS * 1e9 / round(more, work).max(1.0)) as u64).max(1)
}

/// Nanoseconds of ours and of the limit, a round of each in turn, and the middle of their ratios: how many times the limit
/// ours takes.
fn beside(ours: &mut dyn FnMut(), limit: &mut dyn FnMut()) -> (f64, f64, f64) {
    let (of_ours, of_limit) = (times(ours), times(limit));
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (round(of_limit, limit), round(of_ours, ours))).collect();
    let column = |figure: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(figure).collect::<Vec<f64>>());
    (column(|round| round.1), column(|round| round.0), column(|round| round.1 / round.0))
}

fn row(name: &str, mut ours: impl FnMut(), limit_name: &str, mut limit: impl FnMut()) -> f64 {
    let (took, least, ratio) = beside(&mut ours, &mut limit);
    println!("{name:44} {took:>10.0} ns   {limit_name:30} {least:>9.0} ns   {ratio:>6.2} ×");
    took
}

// ---- leaves ---------------------------------------------------------------------------------------------------------

/// The entry of a small change.
fn entry(number: u64) -> Entry {
    Entry {
        seq: number,
        id: "01900000-0000-7000-8000-000000000000".to_owned(),
        ts: 1_750_000_000_000,
        node: "node-1".to_owned(),
        salt: [7; 32],
        action: Action::ModelUpdate,
        outcome: Outcome::Ok,
        actor: Actor {
            id: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            name: Some("ana".to_owned()),
            kind: ActorKind::User,
            role: Some("contributor".to_owned()),
            cred: Some("0123456789abcdef0123456789abcdef".to_owned()),
        },
        change: Some([8; 32]),
        prev: Some(3),
        target: Some(Target::new("model", "01ARZ3NDEKTSV4RRFFQ69G5FAV")),
        req: Some(RequestInfo {
            id: "01900000-0000-7000-8000-000000000001".to_owned(),
            method: "PATCH".to_owned(),
            route: "/models/{id}".to_owned(),
            status: 200,
            ip: Some("192.0.2.1".to_owned()),
            ua: Some("curl/8.0".to_owned()),
        }),
        data: BTreeMap::from([("name".to_owned(), "team/model".into())]),
    }
}

fn leaves() {
    let leaf = entry(1).to_leaf().unwrap();
    let octets = leaf.len();
    heading(format_args!("leaves of {octets} octets, on one core"));
    let sha = || used(Sha256::digest(black_box(&leaf)));
    let named = "SHA-256 of the same octets";
    let hashed = row("leaf hash", || used(leaf_hash(black_box(&leaf))), named, sha);
    let mut frontier = Frontier::new();
    let appended = row(
        "leaf hash, appended to the tree",
        || {
            frontier.append(leaf_hash(black_box(&leaf)), |_level, _index, hash| used(hash));
        },
        named,
        sha,
    );
    let given = entry(1);
    row("entry to leaf", || used(black_box(&given).to_leaf().unwrap()), named, sha);
    row("leaf to entry", || used(Entry::parse(black_box(&leaf)).unwrap()), named, sha);
    let change = vec![5; 700];
    row(
        "digest of a change of 700 octets",
        || used(change_digest(black_box(&change))),
        "SHA-256 of the same octets",
        || used(Sha256::digest(black_box(&change))),
    );
    println!(
        "    {:.0} leaves/s hashed, {:.0} MB/s; {:.0}/s in the tree",
        1e9 / hashed,
        octets as f64 * 1e3 / hashed,
        1e9 / appended
    );
}

// ---- the journal ----------------------------------------------------------------------------------------------------

fn journal() {
    heading("the journal: batches of records of 600 + 700 octets, on the disk of the build");
    let dir = scratch();
    let leaf: Arc<[u8]> = vec![1; 600].into();
    for count in [1, 16, 128] {
        let records: Vec<Record> =
            (0..count).map(|_| Record { leaf: Arc::clone(&leaf), change: vec![2; 700] }).collect();
        let batch = vec![3; count * 1312 + 28];
        let within = dir.path().join(format!("of-{count}"));
        std::fs::create_dir(&within).unwrap();
        let mut journal = Journal::open(&Disk::default(), &within, FILE_ENTRIES_MAX).unwrap();
        let raw = raw_file(&dir.path().join(format!("raw-{count}")));
        let mut append = || drop(journal.append(&records, Spare::Keep).unwrap());
        let mut at = 0;
        let mut write = |sync: bool| {
            raw.write_all_at(&batch, at).unwrap();
            if sync {
                raw.sync_data().unwrap();
            }
            at = (at + batch.len() as u64) % (RAW_OCTETS - batch.len() as u64);
        };
        row(&format!("append {count}"), &mut append, "the same octets + fdatasync", || write(true));
        row(&format!("append {count}"), &mut append, "the same octets, not synced", || write(false));
        let mut framed = Vec::new();
        let frame = || {
            framed.clear();
            for record in &records {
                framed.extend_from_slice(&record.leaf);
                framed.extend_from_slice(&record.change);
            }
            black_box(crc32c::crc32c(black_box(&framed)));
        };
        let (took, ..) = beside(&mut { frame }, &mut || {});
        println!("    copying and CRC alone {took:.0} ns");
    }
}

const RAW_OCTETS: u64 = 32 << 20;

/// A file of zeros, so that neither side of a comparison makes its file grow.
fn raw_file(path: &Path) -> File {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    let zeros = vec![0; 1 << 20];
    for at in 0..RAW_OCTETS >> 20 {
        file.write_all_at(&zeros, at << 20).unwrap();
    }
    file.sync_all().unwrap();
    file
}

// ---- inspections ----------------------------------------------------------------------------------------------------

fn inspections() {
    heading("inspections of small files in this process, the file opened each time");
    let dir = scratch();
    let (ruleset, limits) = (Ruleset::default(), Limits::default());
    for (name, octets) in small_files() {
        let path = dir.path().join(name);
        std::fs::write(&path, &octets).unwrap();
        let look = || {
            let file = LocalFile::new(File::open(&path).unwrap()).unwrap();
            inspect(&file, name, &ruleset, &limits).unwrap()
        };
        assert_eq!(look().verdict(), Verdict::Clean, "{name}: {:?}", look());
        row(
            &format!("{name}, {} octets", octets.len()),
            || used(look()),
            "read, SHA-256",
            || used(Sha256::digest(std::fs::read(&path).unwrap())),
        );
    }
}

/// Harmless files as small as they come, by name.
fn small_files() -> Vec<(&'static str, Vec<u8>)> {
    let tensors: Vec<String> = (0..20)
        .map(|at| format!(r#""l.{at}":{{"dtype":"F32","shape":[4],"data_offsets":[{},{}]}}"#, at * 16, at * 16 + 16))
        .collect();
    let header = format!("{{{}}}", tensors.join(","));
    let mut safetensors = (header.len() as u64).to_le_bytes().to_vec();
    safetensors.extend(header.bytes());
    safetensors.extend([0; 320]);

    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let shape = format!("{:117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (64,), }");
    npy.extend((shape.len() as u16).to_le_bytes());
    npy.extend(shape.bytes());
    npy.extend([0; 256]);

    let mut gguf = b"GGUF".to_vec();
    gguf.extend(3_u32.to_le_bytes());
    gguf.extend([1_u64, 1].map(u64::to_le_bytes).concat());
    let text = |into: &mut Vec<u8>, text: &str| {
        into.extend((text.len() as u64).to_le_bytes());
        into.extend(text.bytes());
    };
    text(&mut gguf, "general.architecture");
    gguf.extend(8_u32.to_le_bytes());
    text(&mut gguf, "llama");
    text(&mut gguf, "weight");
    gguf.extend(1_u32.to_le_bytes());
    gguf.extend(64_u64.to_le_bytes());
    gguf.extend(0_u32.to_le_bytes());
    gguf.extend(0_u64.to_le_bytes());
    gguf.resize(gguf.len().next_multiple_of(32) + 256, 0);

    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "model_type": "llama", "num_hidden_layers": 32,
        "rope_scaling": { "factor": 8.0, "type": "linear" }, "torch_dtype": "bfloat16", "vocab_size": 128_256,
    });
    let card = format!("---\nlicense: apache-2.0\ntags:\n- text\n---\n# A model\n\n{}", "What it is for. ".repeat(120));
    vec![
        ("model.safetensors", safetensors),
        ("array.npy", npy),
        ("model.gguf", gguf),
        ("config.json", serde_json::to_vec_pretty(&config).unwrap()),
        ("README.md", card.into_bytes()),
        ("rows.pkl", pickle(60)),
    ]
}

/// A list of rows `(number, "text")` by protocol 4.
fn pickle(rows: u32) -> Vec<u8> {
    let mut octets = b"\x80\x04](".to_vec();
    for row in 0..rows {
        octets.push(b'J');
        octets.extend(row.to_le_bytes());
        let text = format!("row number {row} of a table");
        octets.extend([0x8c, text.len() as u8]);
        octets.extend(text.bytes());
        octets.push(0x86);
    }
    octets.extend(b"e.");
    octets
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

fn model_row(number: u64) -> Value {
    json!({
        "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": format!("team-{}/model-{number:05}", number % 7),
        "description": "What it is for, in a few sentences. ".repeat(5), "tags": { "stage": "dev", "project": "p1" },
        "owner": "ana", "aliases": [], "state": "available", "latest_version": number % 9 + 1, "format": "safetensors",
        "size": 1_u64 << 30, "uploader": "ana", "verdict": "clean", "parameters": 7_000_000_000_u64, "dtypes": ["BF16"],
        "versions": 3, "created_at": "2026-01-02T03:04:05.678Z", "updated_at": "2026-01-02T03:04:05.678Z",
    })
}

/// A model with some versions, as `GET /models/{id}` answers.
fn model_info(versions: u64) -> ModelInfo {
    let version = |number: u64| {
        json!({
            "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "team-1/model-00001", "version": number, "state": "available",
            "state_reason": null, "state_at": "2026-01-02T03:04:05.678Z", "description": "better",
            "artifacts": [{
                "path": "model.safetensors", "size": 1_u64 << 30, "format": "safetensors", "verdict": "clean",
                "digest": format!("sha256:{}", "ab".repeat(32)),
            }],
            "metadata": { "parameters": { "value": 7_000_000_000_u64, "origin": "measured" } }, "findings": [],
            "inspection": {
                "verdict": "clean", "ruleset": "0123456789abcdef", "at": "2026-01-02T03:04:05.678Z", "stale": false,
                "findings_total": 0, "policy": "default",
            },
            "review": null, "cleared": false, "source": "api", "aliases": [], "created_at": "2026-01-02T03:04:05.678Z",
            "created_by": "ana", "log_index": 7,
        })
    };
    let mut info = model_row(1);
    info["restorable_until"] = Value::Null;
    info["newest_versions"] = (0..versions).map(|number| version(number + 1)).collect();
    info["selected"] = version(versions);
    serde_json::from_value(info).unwrap()
}

fn answers() {
    heading("answers as JSON");
    rendered("a model with 1 version", &model_info(1));
    rendered("a model with 10 versions", &model_info(10));
    let page =
        |items: Vec<ModelRow>| Page { items, total: Some(1000), next_cursor: Some("a".repeat(90)), prev_cursor: None };
    rendered("a page of 100 models", &page((0..100).map(|n| serde_json::from_value(model_row(n)).unwrap()).collect()));

    let leaves: Vec<Vec<u8>> = (0..100).map(|number| entry(number).to_leaf().unwrap()).collect();
    let rows = || {
        let row = |(index, leaf): (u64, &Vec<u8>)| AuditRow {
            index,
            entry: serde_json::from_slice(leaf).unwrap(),
            leaf_hash: leaf_hash(leaf).to_string(),
        };
        Page { items: (0..).zip(&leaves).map(row).collect(), total: None, next_cursor: None, prev_cursor: None }
    };
    rendered("a page of 100 entries, read before", &rows());
    let octets = serde_json::to_vec(&rows()).unwrap();
    row(
        "a page of 100 entries, from their leaves",
        || used(respond::json(StatusCode::OK, &rows())),
        "memcpy",
        || used(octets.clone()),
    );
}

fn rendered<T: Serialize>(name: &str, answer: &T) {
    let value = serde_json::to_value(answer).unwrap();
    let octets = serde_json::to_vec(&value).unwrap();
    let name = format!("{name}, {} octets", octets.len());
    let ours = || used(respond::json(StatusCode::OK, black_box(answer)));
    row(&name, ours, "serde_json of a Value", || used(serde_json::to_vec(black_box(&value)).unwrap()));
    row(&name, ours, "memcpy", || used(octets.clone()));
}

// ---- tokens ---------------------------------------------------------------------------------------------------------

fn tokens() {
    heading("tokens");
    let secret = || Secret::new("k".repeat(48));
    let now_ms = 1_750_000_000_000;
    let signer = TokenKeys::new(&secret(), None).unwrap();
    let token = |number: u64| {
        let jti = format!("{number:032}");
        signer.sign("usr_01ARZ3NDEKTSV4RRFFQ69G5FAV", "0123456789abcdef0123456789abcdef", &jti, now_ms, now_ms + 60_000)
    };
    let some: Vec<String> = (0..1000).map(|number| token(number).unwrap()).collect();
    let one = &some[0];
    let hmac = || {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret_octets()).unwrap();
        mac.update(black_box(one).as_bytes());
        used(mac.finalize());
    };
    let named = "HMAC-SHA256 of a token";
    // Each round gets keys that know none of the tokens yet.
    let mut fresh = TokenKeys::new(&secret(), None).unwrap();
    let mut next = 0;
    row(
        "session token, never seen",
        || {
            if next == some.len() {
                fresh = TokenKeys::new(&secret(), None).unwrap();
                next = 0;
            }
            assert!(fresh.verify(&some[next], now_ms).is_some());
            next += 1;
        },
        named,
        hmac,
    );
    row("session token, known", || used(signer.verify(one, now_ms).unwrap()), named, hmac);
    let api = TokenText::new(TokenId::new(1, 2), &[3; SECRET_OCTETS]);
    let parse = || black_box(black_box(api.expose()).parse::<TokenText>().unwrap());
    row("API token, parsed and hashed", || used(parse().hash()), named, hmac);

    let dir = scratch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (registry, session, api) = runtime.block_on(signed_in(dir.path()));
    let authenticate = |token: &str| used(runtime.block_on(registry.authenticate(token)).unwrap());
    row("session token to actor, records read", || authenticate(&session), named, hmac);
    row("API token to actor, records read", || authenticate(&api), named, hmac);
    runtime.block_on(registry.close());
}

fn secret_octets() -> &'static [u8] {
    &[b'k'; 48]
}

/// A registry of its own, a session's token and an API token of its admin.
async fn signed_in(dir: &Path) -> (Arc<Registry>, String, String) {
    const PASSWORD: &str = "saddle-orbit-lantern-42";
    let at = |name: &str| dir.join(name).into_os_string();
    let environment: [(&str, OsString); 4] = [
        ("MREG_DATA_DIR", at("data")),
        ("MREG_KEY_DIR", at("keys")),
        ("ADMIN_USERNAME", "admin".into()),
        ("ADMIN_PASSWORD", PASSWORD.into()),
    ];
    let environment = environment.map(|(name, value)| (OsString::from(name), value));
    let loaded = Config::load(&Options::default(), environment, dir).unwrap();
    let registry = daemon::open(&loaded.config).await.unwrap().registry;
    let nobody = Caller { actor: Who::anonymous(), request: None };
    let login = registry.login(&nobody, "admin", Secret::new(PASSWORD.to_owned()), None).await;
    let session = login.map_err(|failure| failure.error).unwrap().value.access_token;
    let admin = Caller { actor: registry.authenticate(&session).await.unwrap(), request: None };
    let new = NewApiToken {
        label: "bench".to_owned(),
        user: None,
        permissions: None,
        names: None,
        expires_in: None,
        never_expires: false,
    };
    let made = registry.create_token(&admin, new).await.map_err(|failure| failure.error).unwrap();
    (registry, session, made.value.text.expose().to_owned())
}

// ---- names ----------------------------------------------------------------------------------------------------------

fn names() {
    heading("names and routes");
    let path = "/models/01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let copy = || used(black_box(path).to_owned());
    let named = "copy of a text";
    row("model name", || used(black_box("team/model-7b").parse::<ModelName>().unwrap()), named, copy);
    let reference = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    row("reference by id", || used(black_box(reference).parse::<ModelRef>().unwrap()), named, copy);
    row("reference by alias", || used(black_box("team/m@prod").parse::<ModelRef>().unwrap()), named, copy);
    row("pattern", || used(black_box("team/*").parse::<NamePattern>().unwrap()), named, copy);
    let (pattern, name) = ("team/*".parse::<NamePattern>().unwrap(), "team/model-7b".parse::<ModelName>().unwrap());
    row("pattern against a name", || used(pattern.matches(black_box(&name))), named, copy);
    let look = |path: &str| used(route::parse(&Method::GET, black_box(path)).unwrap());
    row("route, GET /models/{id}", || look(path), named, copy);
    row("route, the last of the table", || look("/log/checkpoint"), named, copy);
    let endpoint = route::parse(&Method::GET, path).unwrap();
    row("what a route means", || used(black_box(&endpoint).endpoint()), named, copy);
    row("address", || used(black_box(path).parse::<Uri>().unwrap()), named, copy);
}
