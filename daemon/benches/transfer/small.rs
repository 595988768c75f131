//! Small uploads beside the machine's own limit, and the download of a file that is not in memory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::child::Daemon;
use crate::figures::{cpu_us_of, heading, median, scratch};
use crate::wire::{closed_loop, request};
use crate::{GIB, fetch, put_raw};

/// Octets of a small upload.
const SMALL: usize = 64 * 1024;
/// Files that are made durable at once by the loop beside: what the daemon does at most.
const FINALISERS: usize = 8;
/// Octets of a read beside the download.
const READ: usize = 256 * 1024;

/// A safetensors file that no other of this run is like.
fn small_file(serial: u64) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{SMALL}],"data_offsets":[0,{SMALL}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    let tensor = file.len();
    file.resize(tensor + SMALL, 0x5a);
    file[tensor..tensor + 8].copy_from_slice(&serial.to_le_bytes());
    file
}

/// Uploads of 64 KiB a second, each a model of its own, beside write + fdatasync + rename + fsync of the directory.
pub(crate) fn small(seconds: f64, rounds: usize) {
    heading(format_args!("uploads of 64 KiB, each durable; a second"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let daemon = Daemon::start(&[("MREG_LOG_LEVEL", "warn")]);
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    for connections in [1, 16, 64] {
        let mut beside = Vec::new();
        for _ in 0..rounds {
            let raw = raw_rate(connections.min(FINALISERS), seconds);
            let token = daemon.token.clone();
            let cpu = cpu_us_of(daemon.pid());
            let next = move |_connection: usize, _turn: u64| {
                let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
                let target = format!("/models/small-{serial}/artifact?filename=model.safetensors");
                request("PUT", &target, Some(&token), &[], &small_file(serial))
            };
            let load = runtime.block_on(closed_loop(daemon.address, connections, seconds, next));
            let cpu = (cpu_us_of(daemon.pid()) - cpu) as f64 / 1e6;
            let (done, count) = (load.statuses.get(&201).copied().unwrap_or_default(), load.sample.took_us.len());
            assert_eq!(done, count as u64, "{:?}", load.statuses);
            beside.push(load.sample.rate() / raw);
            println!(
                "{connections:3} connections: {:6.0} (p50 {:.2} ms, p99 {:.2} ms, {:.2} CPU ms each)   raw, {} threads: {raw:.0}",
                load.sample.rate(),
                load.sample.percentile_ms(0.5),
                load.sample.percentile_ms(0.99),
                cpu * 1e3 / count as f64,
                connections.min(FINALISERS)
            );
        }
        println!("{connections} connections / raw: {:.2} ×", median(&beside));
    }
}

/// A limit: files of that size made durable under their names by so many threads, a second.
fn raw_rate(threads: usize, seconds: f64) -> f64 {
    let dir = scratch();
    let (until, began) = (Duration::from_secs_f64(seconds), Instant::now());
    let files: u64 = std::thread::scope(|scope| {
        let one = |thread: usize| {
            let (from, to) = (dir.path().join(format!("staged-{thread}")), dir.path().join(format!("kept-{thread}")));
            std::fs::create_dir(&to).unwrap();
            let mut count = 0;
            while began.elapsed() < until {
                make_durable(&from, &to, count);
                count += 1;
            }
            count
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    files as f64 / began.elapsed().as_secs_f64()
}

fn make_durable(from: &Path, to: &Path, serial: u64) {
    let mut file = File::options().write(true).create_new(true).mode(0o400).open(from).unwrap();
    file.write_all(&small_file(serial)).unwrap();
    file.sync_data().unwrap();
    std::fs::rename(from, to.join(serial.to_string())).unwrap();
    File::open(to).unwrap().sync_all().unwrap();
}

/// A download from the disk beside a plain read of the same file, both after the kernel was told to forget it.
pub(crate) fn cold(octets: u64, rounds: usize) {
    let gib = octets as f64 / GIB;
    heading(format_args!("a download of {gib:.2} GiB that is not in memory; GiB/s"));
    let daemon = Daemon::start(&[]);
    let (_took, id) = put_raw(&daemon, "cold", octets);
    let blob = largest_below(&daemon.data());
    let target = format!("/models/{id}/download");
    let mut beside = Vec::new();
    for _ in 0..rounds {
        forget(&blob);
        let began = Instant::now();
        let (mut file, mut buffer) = (File::open(&blob).unwrap(), vec![0; READ]);
        while file.read(&mut buffer).unwrap() > 0 {}
        let read = gib / began.elapsed().as_secs_f64();
        forget(&blob);
        let (began, cpu) = (Instant::now(), cpu_us_of(daemon.pid()));
        fetch(daemon.address, &target, Some(&daemon.token));
        let rate = gib / began.elapsed().as_secs_f64();
        let cpu = (cpu_us_of(daemon.pid()) - cpu) as f64 / 1e6 / gib;
        beside.push(rate / read);
        println!("read alone {read:.2}   download {rate:.2} ({cpu:.2} CPU s/GiB)");
    }
    println!("download / read alone: {:.2} ×", median(&beside));
}

/// Tells the kernel that a file is not needed in memory: what is written back of it goes.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_data().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

/// The largest file of a directory, however deep.
fn largest_below(dir: &Path) -> std::path::PathBuf {
    let mut largest = (0, dir.to_owned());
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                dirs.push(entry.path());
            } else if about.len() > largest.0 {
                largest = (about.len(), entry.path());
            }
        }
    }
    largest.1
}
