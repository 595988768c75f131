//! Inspection: what it adds to an upload, and how fast each kind of work in it is beside SHA-256 on one core, which every
//! upload needs anyway.
//!
//! Parts: `share` (2 GiB of safetensors: inspection in a worker beside hashing, writing and syncing them), `formats` (large
//! files whose structure is read), `pickle` (opcodes). `MREG_BENCH_ROUNDS` (5) rounds each; `MREG_BENCH_INSPECT_MIB` (2048) for
//! the first.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures for people")]

#[path = "kit/figures.rs"]
mod figures;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use daemon::inspect::{Inspection, Limits, Ruleset, Verdict};
use daemon::inspection::pool::Workers;
use daemon::inspection::{Inspector, LocalFile};
use sha2::{Digest, Sha256};

use crate::figures::{at_most, heading, median, mregd, scratch, setting};

const CHUNK: usize = 1 << 20;
const GIB: f64 = (1_u64 << 30) as f64;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 5).max(1) as usize;
    let program = mregd();
    let workers = Workers::of_program(program, Ruleset::default(), Limits::default());
    let dir = scratch();
    if figures::wanted("share") {
        share(&workers, dir.path(), setting("MREG_BENCH_INSPECT_MIB", 2048) << 20, rounds);
    }
    if figures::wanted("formats") {
        let tokens = gguf(&dir.path().join("model.gguf"), 2 << 30);
        cost(&workers, &format!("GGUF of 2 GiB, {tokens} tokens"), &dir.path().join("model.gguf"), rounds);
        tensors(&dir.path().join("many.safetensors"), 100_000);
        cost(&workers, "safetensors of 100 000 tensors", &dir.path().join("many.safetensors"), rounds);
    }
    if figures::wanted("pickle") {
        let octets = pickle(&dir.path().join("rows.pkl"), 400_000);
        let seconds = cost(&workers, "pickle of 400 000 rows", &dir.path().join("rows.pkl"), rounds);
        let rate = octets as f64 / seconds;
        println!(
            "    {:.0} MB/s; SHA-256 on one core {:.0} MB/s, ratio {:.3}",
            rate / 1e6,
            sha_rate() / 1e6,
            rate / sha_rate()
        );
    }
}

/// What inspection adds to storing a file: the share of the time that hashing, writing and syncing take.
fn share(workers: &Workers, dir: &Path, octets: u64, rounds: usize) {
    heading(format_args!(
        "inspection of {:.1} GiB of safetensors beside hashing, writing and syncing them",
        octets as f64 / GIB
    ));
    let mut shares = Vec::new();
    for round in 0..rounds {
        let path = dir.join(format!("share-{round}"));
        let began = Instant::now();
        store(&path, octets);
        let stored = began.elapsed().as_secs_f64();
        let (inspected, inspection) = timed(workers, &path);
        assert_eq!(inspection.verdict(), Verdict::Clean, "{inspection:?}");
        println!("    stored in {stored:.3} s, inspected in {:.2} ms", inspected * 1e3);
        shares.push(inspected / stored);
        std::fs::remove_file(&path).unwrap();
    }
    println!("    share: {}", at_most("inspection of safetensors beside storing it", median(&shares), "×", 0.1));
}

/// A file of one tensor, hashed as it is written, and synced.
fn store(path: &Path, octets: u64) {
    let mut file = File::create(path).unwrap();
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let mut hash = Sha256::new();
    let mut write = |part: &[u8]| {
        hash.update(part);
        file.write_all(part).unwrap();
    };
    write(&(header.len() as u64).to_le_bytes());
    write(header.as_bytes());
    let chunk: Vec<u8> = (0..CHUNK).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    for _ in 0..octets / CHUNK as u64 {
        write(&chunk);
    }
    file.sync_data().unwrap();
    std::hint::black_box(hash.finalize());
}

fn timed(workers: &Workers, path: &Path) -> (f64, Inspection) {
    let file = LocalFile::new(File::open(path).unwrap()).unwrap();
    let began = Instant::now();
    let inspection = workers.inspect(&file, path.file_name().unwrap().to_str().unwrap()).unwrap();
    (began.elapsed().as_secs_f64(), inspection)
}

/// Inspects a file several times and says how long the middle one took, in seconds.
fn cost(workers: &Workers, what: &str, path: &Path, rounds: usize) -> f64 {
    let mut took = Vec::new();
    for _ in 0..rounds {
        let (seconds, inspection) = timed(workers, path);
        assert_eq!(inspection.verdict(), Verdict::Clean, "{inspection:?}");
        took.push(seconds);
    }
    println!("{what}: {:.1} ms", median(&took) * 1e3);
    median(&took)
}

/// How fast one core hashes what is in memory, octets a second.
fn sha_rate() -> f64 {
    let octets = vec![7_u8; 256 << 20];
    let began = Instant::now();
    std::hint::black_box(Sha256::digest(&octets));
    octets.len() as f64 / began.elapsed().as_secs_f64()
}

/// A sparse GGUF with a vocabulary and one large tensor; how many tokens it has.
fn gguf(path: &Path, octets: u64) -> u64 {
    let tokens = 150_000_u64;
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend([1_u64, 2].map(u64::to_le_bytes).concat());
    let text = |head: &mut Vec<u8>, text: &str| {
        head.extend((text.len() as u64).to_le_bytes());
        head.extend(text.as_bytes());
    };
    text(&mut head, "general.architecture");
    head.extend(8_u32.to_le_bytes());
    text(&mut head, "llama");
    text(&mut head, "tokenizer.ggml.tokens");
    head.extend([9_u32, 8].map(u32::to_le_bytes).concat());
    head.extend(tokens.to_le_bytes());
    for token in 0..tokens {
        text(&mut head, &format!("token{token}"));
    }
    text(&mut head, "weight");
    head.extend(1_u32.to_le_bytes());
    head.extend((octets / 4).to_le_bytes());
    head.extend(0_u32.to_le_bytes());
    head.extend(0_u64.to_le_bytes());
    head.resize(head.len().next_multiple_of(32), 0);
    let mut file = File::create(path).unwrap();
    file.write_all(&head).unwrap();
    file.set_len(head.len() as u64 + octets).unwrap();
    tokens
}

/// A safetensors file of many tensors of one element.
fn tensors(path: &Path, count: u64) {
    let entries: Vec<String> = (0..count)
        .map(|at| {
            format!(r#""layer.{at}.weight":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, at * 4, at * 4 + 4)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + count * 4).unwrap();
}

/// A list of rows `(number, "text", 1.5)` by protocol 4; its octets.
fn pickle(path: &Path, rows: u32) -> u64 {
    let mut octets = b"\x80\x04](".to_vec();
    for row in 0..rows {
        octets.push(b'J');
        octets.extend(row.to_le_bytes());
        let text = format!("row number {row} of a table");
        octets.push(0x8c);
        octets.push(text.len() as u8);
        octets.extend(text.as_bytes());
        octets.push(b'G');
        octets.extend(1.5_f64.to_be_bytes());
        octets.push(0x87);
    }
    octets.extend(b"e.");
    std::fs::write(path, &octets).unwrap();
    octets.len() as u64
}
