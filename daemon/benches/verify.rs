//! Verifying a whole export against the limit: how fast one core takes the SHA-256 of the same octets.
//!
//! Knows how to write a log as files, and starts the program as an auditor would. `MREG_BENCH_ENTRIES`,
//! `MREG_BENCH_ROUNDS` change the size.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures for people")]

#[path = "kit/figures.rs"]
mod figures;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::audit::{
    Action, Actor, ActorKind, BundlePath, Checkpoint, Ed25519Signer, Entry, Frontier, Hash, Outcome, RequestInfo,
    Signer, Target, TilePath, leaf_hash, push_leaf,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::figures::{at_least, heading, median, mregd, scratch, setting};

const ORIGIN: &str = "bench.example/log";

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let entries = setting("MREG_BENCH_ENTRIES", 200_000);
    let rounds = setting("MREG_BENCH_ROUNDS", 5).max(1);
    let dir = scratch();
    let signer = Ed25519Signer::from_seed(ORIGIN, &[7; 32]).unwrap();
    let octets = write(dir.path(), entries, &signer);
    heading(format_args!("verify {entries} entries, {} octets a leaf; limit = SHA-256 on one core", octets / entries));
    let mut ratios = Vec::new();
    let mut last = (0.0, 0.0);
    for _ in 0..rounds {
        let limit = octets as f64 / hashed(dir.path(), entries);
        let ours = octets as f64 / verified(dir.path(), &signer);
        ratios.push(ours / limit);
        last = (ours, limit);
    }
    let mib = f64::from(1 << 20);
    println!(
        "verify {:>7.0} MiB/s, {:>9.0} entries/s   SHA-256 {:>7.0} MiB/s   {}",
        last.0 / mib,
        last.0 / (octets / entries) as f64,
        last.1 / mib,
        at_least("verification of a log beside SHA-256 of it, one core", median(&ratios), "×", 0.5),
    );
}

fn entry(index: u64) -> Entry {
    Entry {
        seq: index,
        id: format!("01980000-0000-7000-8000-{index:012x}"),
        ts: 1_782_907_200_000 + index.cast_signed(),
        node: "nod_0123456789abcdef".to_owned(),
        salt: leaf_hash(&index.to_be_bytes()).0,
        action: if index == 0 { Action::LogGenesis } else { Action::ModelDownload },
        outcome: Outcome::Ok,
        actor: Actor {
            id: format!("usr_{:026}", index % 50),
            name: Some("contributor".to_owned()),
            kind: ActorKind::User,
            role: Some("contributor".to_owned()),
            cred: Some(format!("ses_{:016x}", index % 500)),
        },
        change: None,
        prev: index.checked_sub(1000),
        target: Some(Target::new("model", &format!("01J{:023}", index % 1000))),
        req: Some(RequestInfo {
            id: format!("01980000-0000-4000-8000-{index:012x}"),
            method: "GET".to_owned(),
            route: "/models/{id}/versions/{version}/files/{path}".to_owned(),
            status: 200,
            ip: Some("192.0.2.7".to_owned()),
            ua: Some("bench/1".to_owned()),
        }),
        data: BTreeMap::from([("origin".to_owned(), json!(ORIGIN)), ("octets".to_owned(), json!(index))]),
    }
}

/// Writes an export; the octets of its leaves.
fn write(dir: &Path, size: u64, signer: &Ed25519Signer) -> u64 {
    let mut levels: Vec<Vec<Hash>> = Vec::new();
    let mut frontier = Frontier::new();
    let mut octets = 0;
    let put = |path: String, octets: &[u8]| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, octets).unwrap();
    };
    for path in BundlePath::all_of(size) {
        let mut bundle = Vec::new();
        for index in path.leaves() {
            let leaf = entry(index).to_leaf().unwrap();
            octets += leaf.len() as u64;
            push_leaf(&mut bundle, &leaf).unwrap();
            frontier.append(leaf_hash(&leaf), |level, _, hash| {
                levels.resize_with(levels.len().max(usize::from(level) + 1), Vec::new);
                levels[usize::from(level)].push(hash);
            });
        }
        put(path.to_string(), &bundle);
    }
    for path in TilePath::all_of(size) {
        let nodes = path.nodes();
        let start = nodes.start as usize;
        let hashes = &levels[usize::from(nodes.level)][start..start + usize::from(nodes.count)];
        put(path.to_string(), &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: frontier.root() };
    put("checkpoint".to_owned(), checkpoint.sign(&[signer as &dyn Signer]).unwrap().as_bytes());
    octets
}

/// Seconds to read the bundles and take the SHA-256 of their octets.
fn hashed(dir: &Path, size: u64) -> f64 {
    let began = Instant::now();
    let mut hasher = Sha256::new();
    for path in BundlePath::all_of(size) {
        hasher.update(std::fs::read(dir.join(path.to_string())).unwrap());
    }
    std::hint::black_box(hasher.finalize());
    began.elapsed().as_secs_f64()
}

/// Seconds of the program.
fn verified(dir: &Path, signer: &Ed25519Signer) -> f64 {
    let began = Instant::now();
    let output = Command::new(mregd())
        .args(["log", "verify", "--vkey", &signer.verifier().to_string(), "--dir"])
        .arg(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    began.elapsed().as_secs_f64()
}
