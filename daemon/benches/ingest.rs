//! The drop folder of a real `mregd`: many files copied in at once, beside copying the same files and making each durable
//! in the same run; with the kernel's events and by walks alone; how long one file takes from its closing to its version;
//! and what memory the daemon needs meanwhile.
//!
//! Parts: `burst`, `walked`, `latency`. `MREG_BENCH_FILES` and `MREG_BENCH_OCTETS` set the size of a burst,
//! `MREG_BENCH_SAMPLES` and `MREG_BENCH_RATE` (files a second) that of the latencies.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "kit/daemon.rs"]
mod child;
#[path = "kit/figures.rs"]
mod figures;
#[path = "kit/wire.rs"]
mod wire;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::client::Parser;
use serde_json::Value;
use tempfile::TempDir;

use crate::child::Daemon;
use crate::figures::{Sample, at_least, at_most, cpu_us_of, heading, micros, scratch, setting};
use crate::wire::{Head, ask, request};

/// How long files rest in the latencies; it is subtracted.
const SETTLE: Duration = Duration::from_millis(500);
/// From the end of the rest to the version, milliseconds (p99).
const TARGET_MS: f64 = 100.0;
/// Octets of a file of the latencies.
const ONE_OCTETS: usize = 1 << 20;
/// Nothing takes longer, or the bench ends with an error.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Threads of the copy that stands beside, at most: as many as the daemon has at work.
const THREADS: usize = 4;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    if figures::wanted("burst") {
        burst("with events", &[]);
    }
    if figures::wanted("walked") {
        burst("by walks alone", &[("MREG_DROP_EVENTS", "false")]);
    }
    if figures::wanted("latency") {
        latency();
    }
}

/// A safetensors file of about so many octets; no two alike.
fn file(octets: usize, seed: u64) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let mut file = Vec::with_capacity(octets + header.len() + 8);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while file.len() < octets + header.len() + 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.extend_from_slice(&state.to_le_bytes());
    }
    file.truncate(octets + header.len() + 8);
    file
}

/// A daemon whose drop folder lies on the disk of its data.
fn start(settings: &[(&str, &str)]) -> (Daemon, TempDir) {
    let dir = scratch();
    let drop_dir = dir.path().join("drop").display().to_string();
    let mut all = vec![("MREG_DROP_DIR", drop_dir.as_str()), ("MREG_LOG_LEVEL", "warn")];
    all.extend_from_slice(settings);
    let daemon = Daemon::start(&all);
    (daemon, dir)
}

fn intake(daemon: &Daemon) -> Value {
    let mut intake = ask(daemon.address, &request("GET", "/status", Some(&daemon.token), &[], b"")).json();
    intake["ingest"].take()
}

// ---- many at once ---------------------------------------------------------------------------------------------------

fn burst(how: &str, settings: &[(&str, &str)]) {
    let (files, octets) = (setting("MREG_BENCH_FILES", 10_000) as usize, setting("MREG_BENCH_OCTETS", 65_536) as usize);
    heading(format_args!("{files} files of {octets} octets at once, {how}"));
    let (daemon, dir) = start(settings);
    let sources = dir.path().join("sources");
    fs::create_dir(&sources).unwrap();
    let paths: Vec<PathBuf> = (0..files)
        .map(|at| {
            let path = sources.join(format!("m{at:06}.safetensors"));
            fs::write(&path, file(octets, at as u64)).unwrap();
            path
        })
        .collect();
    // Nothing of the preparation is written while anything is measured.
    rustix::fs::sync();

    let one = copied(&paths, &dir.path().join("one"), 1);
    println!("copy + fdatasync, one thread      {:8.2} s {:8.0} files/s", one, files as f64 / one);
    let many = copied(&paths, &dir.path().join("many"), THREADS);
    println!("copy + fdatasync, {THREADS} threads       {many:8.2} s {:8.0} files/s", files as f64 / many);

    let incoming = dir.path().join("drop/incoming");
    let (before, cpu_before) = (daemon.memory_kib("VmRSS"), cpu_us_of(daemon.pid()));
    let began = Instant::now();
    let (mut copying, mut all, mut most_taken) = (0.0, 0.0, 0);
    let (peak, own) = daemon.peak_of(|| {
        for path in &paths {
            fs::copy(path, incoming.join(path.file_name().unwrap())).unwrap();
        }
        copying = began.elapsed().as_secs_f64();
        loop {
            let intake = intake(&daemon);
            assert_eq!((&intake["rejected_total"], &intake["problem"]), (&0.into(), &Value::Null), "{intake}");
            most_taken = most_taken.max(fs::read_dir(dir.path().join("drop/processing")).unwrap().count());
            if intake["done_total"].as_u64().unwrap() >= files as u64 {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{intake}");
            std::thread::sleep(Duration::from_millis(100));
        }
        all = began.elapsed().as_secs_f64();
    });
    let cpu = (cpu_us_of(daemon.pid()) - cpu_before) as f64 / 1e6;
    println!("drop folder, from the first copy  {all:8.2} s {:8.0} files/s", files as f64 / all);
    println!(
        "  of which copying took {copying:.2} s; processor {cpu:.1} s; in processing/ at once at most {most_taken}; events lost {} times",
        intake(&daemon)["overflows"]
    );
    println!(
        "  rate beside one thread's copy: {}",
        at_least(format_args!("drop folder, {files} files at once, beside one thread's copy"), one / all, "×", 0.5)
    );
    println!("  memory: {} MiB at most, {} of its own; {} before", peak / 1024, own / 1024, before / 1024);
    each_once(&daemon, &dir.path().join("drop"), files);
}

/// Copies the files and makes each durable; seconds.
fn copied(paths: &[PathBuf], to: &Path, threads: usize) -> f64 {
    fs::create_dir(to).unwrap();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let target = to.join(path.file_name().unwrap());
                    fs::copy(path, &target).unwrap();
                    File::open(target).unwrap().sync_data().unwrap();
                }
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    fs::remove_dir_all(to).unwrap();
    took
}

/// Each file is a version, and one only; each has its receipt, and none is left on the way.
fn each_once(daemon: &Daemon, drop_dir: &Path, files: usize) {
    let page = ask(daemon.address, &request("GET", "/models?limit=1", Some(&daemon.token), &[], b"")).json();
    assert_eq!(page["total"], files);
    let began = Instant::now();
    while fs::read_dir(drop_dir.join("processing")).unwrap().next().is_some() {
        assert!(began.elapsed() < Duration::from_secs(60), "something is left in processing/");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::read_dir(drop_dir.join("incoming")).unwrap().count(), 0, "something is left in incoming/");
    let (mut receipts, mut kept) = (0, 0);
    for day in fs::read_dir(drop_dir.join("done")).unwrap() {
        for path in fs::read_dir(day.unwrap().path()).unwrap() {
            let path = path.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Some(name) = name.strip_suffix(".receipt.json") {
                let receipt: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let version = &receipt["version"];
                assert_eq!(version["version"], 1, "{name} is there twice");
                assert_eq!(format!("{}.safetensors", version["name"].as_str().unwrap()), name);
                receipts += 1;
            } else {
                kept += 1;
            }
        }
    }
    assert_eq!((receipts, kept), (files, files));
    println!("  {files} models of one version each, {receipts} receipts, {kept} files in done/: each once");
}

// ---- one --------------------------------------------------------------------------------------------------------------

fn latency() {
    let (samples, rate) = (setting("MREG_BENCH_SAMPLES", 300).max(1) as usize, setting("MREG_BENCH_RATE", 10).max(1));
    heading(format_args!("from closing a file of 1 MiB to its version, {samples} of them, {rate} a second"));
    let settle = format!("{}", SETTLE.as_secs_f64());
    let (daemon, dir) = start(&[("MREG_DROP_SETTLE", &settle)]);
    let contents: Vec<Vec<u8>> = (0..8).map(|seed| file(ONE_OCTETS, seed + 1_000_000)).collect();
    let of = |at: usize| {
        let mut octets = contents[at % contents.len()].clone();
        let end = octets.len();
        octets[end - 8..].copy_from_slice(&(at as u64).to_le_bytes());
        octets
    };

    // What the disk alone takes for it.
    let beside = dir.path().join("beside");
    fs::create_dir(&beside).unwrap();
    let mut disk = Sample::default();
    for at in 0..samples.min(100) {
        let octets = of(at + samples);
        let began = Instant::now();
        let mut file = File::create(beside.join(at.to_string())).unwrap();
        file.write_all(&octets).unwrap();
        file.sync_data().unwrap();
        disk.took_us.push(micros(began.elapsed()));
    }

    let closed = Mutex::new(vec![None::<Instant>; samples]);
    let incoming = dir.path().join("drop/incoming");
    let mut tail = Tail::open(&daemon);
    let mut took = Sample::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            for at in 0..samples {
                let octets = of(at);
                let due = Duration::from_micros(at as u64 * 1_000_000 / rate);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                let mut file = File::create(incoming.join(format!("m{at:06}.safetensors"))).unwrap();
                file.write_all(&octets).unwrap();
                // The lock first, so that the moment is that of the closing.
                let mut closed = closed.lock().unwrap();
                drop(file);
                closed[at] = Some(Instant::now());
            }
        });
        while took.took_us.len() < samples {
            for entry in tail.entries() {
                let now = Instant::now();
                let Some(path) = entry["data"]["drop"]["path"].as_str() else { continue };
                assert_eq!((&entry["action"], &entry["outcome"]), (&"model.upload".into(), &"ok".into()), "{entry}");
                let at: usize = path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
                let at = closed.lock().unwrap()[at].unwrap();
                took.took_us.push(micros((now - at).saturating_sub(SETTLE)));
            }
        }
    });
    println!(
        "write + fdatasync on the same disk   p50 {:7.2} ms   p99 {:7.2} ms",
        disk.percentile_ms(0.5),
        disk.percentile_ms(0.99)
    );
    let p99 = took.percentile_ms(0.99);
    println!(
        "rest over to version, in live tail   p50 {:7.2} ms   p99 {p99:7.2} ms   most {:.2} ms: {}",
        took.percentile_ms(0.5),
        took.percentile_ms(1.0),
        at_most("drop folder, 1 MiB: rest over to available, p99", p99, "ms", TARGET_MS)
    );
}

/// The live tail, read as it comes.
struct Tail {
    stream: TcpStream,
    ahead: Vec<u8>,
    parser: Parser,
}

impl Tail {
    fn open(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&request("GET", "/audit-logs/stream", Some(&daemon.token), &[], b"")).unwrap();
        let mut tail = Self { stream, ahead: Vec::new(), parser: Parser::default() };
        let head = loop {
            if let Some(head) = Head::parse(&tail.ahead) {
                break head;
            }
            tail.fill();
        };
        assert_eq!(head.status, 200);
        tail.ahead.drain(..head.octets);
        tail
    }

    fn fill(&mut self) {
        let mut chunk = [0; 64 * 1024];
        let read = self.stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the live tail ended");
        self.ahead.extend_from_slice(&chunk[..read]);
    }

    /// The next entries; waits for some.
    fn entries(&mut self) -> Vec<Value> {
        let mut entries = Vec::new();
        while entries.is_empty() {
            self.fill();
            // Chunks that are whole: size in hex, CR LF, octets, CR LF.
            while let Some(line) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let octets = usize::from_str_radix(std::str::from_utf8(&self.ahead[..line]).unwrap(), 16).unwrap();
                let end = line + 2 + octets;
                if self.ahead.len() < end + 2 {
                    break;
                }
                let chunk: Vec<u8> = self.ahead.drain(..end + 2).skip(line + 2).take(octets).collect();
                let mut take = |event: common::client::Event| {
                    if event.name == "entry" {
                        entries.push(serde_json::from_slice(&STANDARD.decode(event.data).unwrap()).unwrap());
                    }
                };
                self.parser.push(&chunk, &mut take).unwrap();
            }
        }
        entries
    }
}
