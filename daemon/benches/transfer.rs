//! Transfers: uploads and downloads of a real `mregd` beside what the machine can hash, write and sync, and the memory
//! that they take. Octets come from a pattern and go nowhere: the client holds a chunk of them.
//!
//! Parts: `rates`, `cold` (a download that is not in memory), `lines` (TLS and HTTP/2, by curl), `small` (64 KiB each),
//! `memory`. Sizes by the environment: `MREG_BENCH_TRANSFER_MIB` (2048) for rates, `MREG_BENCH_COLD_MIB` (1024),
//! `MREG_BENCH_LINE_MIB` (512) for each kind of line and `MREG_BENCH_LONG_MIB` (256) for each over a long one,
//! `MREG_BENCH_SECONDS` (3) for small ones, `MREG_BENCH_LARGE_MIB` (4096) for the memory of one transfer, `MREG_BENCH_MANY_MIB`
//! (32) for each of many, `MREG_BENCH_ROUNDS` (3). `MREG_BENCH_NGINX=address:port` adds nginx: it must take `PUT /dav/…` and
//! serve it back (`benches/run` sets one up). `MREGD_BIN` names another daemon than the one that was built.

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
#[path = "transfer/lines.rs"]
mod lines;
#[path = "transfer/small.rs"]
mod small;
#[path = "kit/wire.rs"]
mod wire;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use sha2::{Digest, Sha256};

use crate::child::Daemon;
use crate::figures::{at_least, at_most, cpu_us_of, heading, median, peer, scratch, setting};
use crate::wire::{Head, ask, read_reply, request};

/// Octets of a chunk of the pattern, as of a read.
const CHUNK: usize = 1 << 20;
const MIB: u64 = 1 << 20;
const GIB: f64 = (1_u64 << 30) as f64;
const BOUNDARY: &str = "bench-boundary-7f3a";

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 3).max(1) as usize;
    if figures::wanted("rates") {
        rates(setting("MREG_BENCH_TRANSFER_MIB", 2048) * MIB, rounds);
    }
    if figures::wanted("cold") {
        small::cold(setting("MREG_BENCH_COLD_MIB", 1024) * MIB, rounds);
    }
    if figures::wanted("lines") {
        let long = setting("MREG_BENCH_LONG_MIB", 256) * MIB;
        lines::lines(setting("MREG_BENCH_LINE_MIB", 512) * MIB, long, rounds);
    }
    if figures::wanted("small") {
        small::small(setting("MREG_BENCH_SECONDS", 3) as f64, rounds);
    }
    if figures::wanted("memory") {
        memory_of_one(setting("MREG_BENCH_LARGE_MIB", 4096) * MIB);
        for uploads in [32, 64] {
            memory_of_many(uploads, setting("MREG_BENCH_MANY_MIB", 32) * MIB);
        }
    }
}

// ---- octets ---------------------------------------------------------------------------------------------------------

/// A safetensors file of one tensor, whose octets follow from a number.
struct Pattern {
    head: Vec<u8>,
    chunk: Vec<u8>,
    /// Octets of the tensor.
    left: u64,
    serial: u64,
}

impl Pattern {
    /// A file of about so many octets, unlike every other of this run.
    fn new(octets: u64) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1 << 32, Ordering::Relaxed);
        let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
        let mut head = (header.len() as u64).to_le_bytes().to_vec();
        head.extend_from_slice(header.as_bytes());
        // Not zeros: some disks and file systems know those.
        let chunk = (0..CHUNK).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        Self { head, chunk, left: octets, serial }
    }

    fn octets(&self) -> u64 {
        self.head.len() as u64 + self.left
    }

    /// Gives all octets to something, in chunks.
    fn each(mut self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        take(&self.head)?;
        while self.left > 0 {
            self.serial += 1;
            self.chunk[..8].copy_from_slice(&self.serial.to_le_bytes());
            let octets = CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK));
            take(&self.chunk[..octets])?;
            self.left -= octets as u64;
        }
        Ok(())
    }
}

/// Sends a file as a request's body; the answer's body and the seconds it took.
fn send(address: SocketAddr, head: &[u8], before: &[u8], pattern: Pattern, after: &[u8]) -> (f64, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    stream.write_all(head).unwrap();
    stream.write_all(before).unwrap();
    let sent = pattern.each(|octets| stream.write_all(octets)).and_then(|()| stream.write_all(after));
    let reply = read_reply(&mut stream);
    let took = began.elapsed().as_secs_f64();
    assert!(
        sent.is_ok() && (200..300).contains(&reply.status),
        "{sent:?}, {}: {}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    (took, reply.body)
}

fn put(address: SocketAddr, target: &str, token: Option<&str>, octets: u64) -> (f64, Vec<u8>) {
    let pattern = Pattern::new(octets);
    let length = format!("Content-Length: {}", pattern.octets());
    let head = request("PUT", target, token, &[&length, "Content-Type: application/octet-stream"], b"");
    send(address, &head, b"", pattern, b"")
}

fn put_raw(daemon: &Daemon, name: &str, octets: u64) -> (f64, String) {
    let target = format!("/models/{name}/artifact?filename=model.safetensors");
    let (took, body) = put(daemon.address, &target, Some(&daemon.token), octets);
    (took, id_of(&body))
}

fn post_form(daemon: &Daemon, name: &str, octets: u64) -> (f64, String) {
    let pattern = Pattern::new(octets);
    let before = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}.safetensors\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let after = format!("\r\n--{BOUNDARY}--\r\n");
    let length = format!("Content-Length: {}", before.len() as u64 + pattern.octets() + after.len() as u64);
    let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let head = request("POST", "/models", Some(&daemon.token), &[&length, &kind], b"");
    let (took, body) = send(daemon.address, &head, before.as_bytes(), pattern, after.as_bytes());
    (took, id_of(&body))
}

fn id_of(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(answer["state"], "available", "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// Removes a model and its octets.
fn purge(daemon: &Daemon, id: &str) {
    let target = format!("/models/{id}?purge=true&reason=bench");
    let reply = ask(daemon.address, &request("DELETE", &target, Some(&daemon.token), &[], b""));
    assert!((200..300).contains(&reply.status), "{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
}

/// Fetches something and throws it away inside the kernel (`MSG_TRUNC`, tcp(7)), so that the client costs little.
fn fetch(address: SocketAddr, target: &str, token: Option<&str>) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request("GET", target, token, &[], b"")).unwrap();
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    let head = loop {
        filled += stream.read(&mut buffer[filled..]).unwrap();
        if let Some(head) = Head::parse(&buffer[..filled]) {
            break head;
        }
    };
    assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&buffer[..filled]));
    let mut left = head.length as u64 - (filled - head.octets) as u64;
    while left > 0 {
        let (_in_buffer, octets) = recv(&stream, &mut buffer[..], RecvFlags::TRUNC).unwrap();
        assert!(octets > 0, "{left} octets are missing");
        left -= octets as u64;
    }
    head.length as u64
}

/// Fetches the same thing on several connections at once; GiB a second in all.
fn fetch_rate(streams: usize, address: SocketAddr, target: &str, token: Option<&str>) -> f64 {
    let began = Instant::now();
    let octets: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..streams).map(|_stream| scope.spawn(|| fetch(address, target, token))).collect();
        running.into_iter().map(|stream| stream.join().unwrap()).sum()
    });
    octets as f64 / GIB / began.elapsed().as_secs_f64()
}

// ---- rates ----------------------------------------------------------------------------------------------------------

fn rates(octets: u64, rounds: usize) {
    let daemon = Daemon::start(&[]);
    let nginx = peer("nginx");
    let gib = octets as f64 / GIB;
    heading(format_args!("uploads of {gib:.2} GiB, hashed and durable; GiB/s"));
    let (mut raw, mut form, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let hash = gib / hash_seconds(octets);
        let write = gib / write_seconds(octets);
        let limit = hash.min(write);
        let cpu = cpu_us_of(daemon.pid());
        let (took, id) = put_raw(&daemon, &format!("raw-{round}"), octets);
        let cpu = (cpu_us_of(daemon.pid()) - cpu) as f64 / 1e6 / gib;
        let put_rate = gib / took;
        purge(&daemon, &id);
        let (took, id) = post_form(&daemon, &format!("form-{round}"), octets);
        let form_rate = gib / took;
        purge(&daemon, &id);
        raw.push(put_rate / limit);
        form.push(form_rate / limit);
        let peer = nginx.map(|address| {
            let rate = gib / put(address, &format!("/dav/upload-{round}"), None, octets).0;
            let gone = ask(address, &request("DELETE", &format!("/dav/upload-{round}"), None, &[], b""));
            assert!((200..300).contains(&gone.status), "{}", gone.status);
            beside.push(put_rate / rate);
            format!("   nginx PUT {rate:.2}")
        });
        println!(
            "hash alone {hash:.2}   write + fdatasync alone {write:.2}   PUT {put_rate:.2} ({cpu:.2} CPU s/GiB)   form {form_rate:.2}{}",
            peer.unwrap_or_default()
        );
    }
    println!(
        "PUT / the slower limit: {}",
        at_least("upload (PUT), beside the slower of hash and write + fdatasync", median(&raw), "×", 0.6)
    );
    println!(
        "form / the slower limit: {}",
        at_least("upload (form), beside the slower of hash and write + fdatasync", median(&form), "×", 0.6)
    );
    if !beside.is_empty() {
        println!(
            "PUT / nginx PUT (not hashed, not synced): {}",
            at_least("upload (PUT), beside nginx PUT", median(&beside), "×", 1.6)
        );
    }

    heading(format_args!("downloads of {gib:.2} GiB from the page cache; GiB/s"));
    let (_took, id) = put_raw(&daemon, "download", octets);
    let target = format!("/models/{id}/download");
    if let Some(address) = nginx {
        put(address, "/dav/download", None, octets);
    }
    for streams in [1, 8] {
        let mut beside = Vec::new();
        for _ in 0..rounds {
            let cpu = cpu_us_of(daemon.pid());
            let ours = fetch_rate(streams, daemon.address, &target, Some(&daemon.token));
            let cpu = (cpu_us_of(daemon.pid()) - cpu) as f64 / 1e6 / gib / streams as f64;
            let peer = nginx.map(|address| {
                let rate = fetch_rate(streams, address, "/dav/download", None);
                beside.push(ours / rate);
                format!("   nginx sendfile {rate:.2}")
            });
            println!("{streams} streams: {ours:.2} ({cpu:.2} CPU s/GiB){}", peer.unwrap_or_default());
        }
        if !beside.is_empty() {
            println!(
                "{streams} streams / nginx: {}",
                at_least(format_args!("download, {streams} streams, beside nginx sendfile"), median(&beside), "×", 1.3)
            );
        }
    }
}

/// A limit: the hash alone.
fn hash_seconds(octets: u64) -> f64 {
    let began = Instant::now();
    let mut hash = Sha256::new();
    Pattern::new(octets)
        .each(|octets| {
            hash.update(octets);
            Ok(())
        })
        .unwrap();
    std::hint::black_box(hash.finalize());
    began.elapsed().as_secs_f64()
}

/// A limit: one thread that writes, and syncs at the end.
fn write_seconds(octets: u64) -> f64 {
    let dir = scratch();
    let mut file = File::create(dir.path().join("written")).unwrap();
    let began = Instant::now();
    Pattern::new(octets).each(|octets| file.write_all(octets)).unwrap();
    file.sync_data().unwrap();
    began.elapsed().as_secs_f64()
}

// ---- memory ---------------------------------------------------------------------------------------------------------

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn memory_of_one(octets: u64) {
    heading(format_args!("memory of one transfer of {:.2} GiB; MiB", octets as f64 / GIB));
    let daemon = Daemon::start(&[]);
    // A sign-in's memory is kept for a while; a daemon that is idle has given it back.
    std::thread::sleep(Duration::from_secs(16));
    let idle = (daemon.memory_kib("VmRSS"), daemon.memory_kib("RssAnon"));
    println!("idle (own {:.1}): {}", mib(idle.1), at_most("memory, idle", mib(idle.0), "MiB", 32.0));
    let mut id = String::new();
    let upload = daemon.peak_of(|| id = put_raw(&daemon, "large", octets).1);
    let target = format!("/models/{id}/download");
    let download = daemon.peak_of(|| {
        fetch(daemon.address, &target, Some(&daemon.token));
    });
    for (name, peak) in [("upload", upload), ("download", download)] {
        println!(
            "{name}: most {:.1} (own {:.1}), over idle {}",
            mib(peak.0),
            mib(peak.1),
            at_most(format_args!("memory, one {name}, over idle"), mib(peak.0) - mib(idle.0), "MiB", 16.0)
        );
    }
    println!("after: {:.1} (own {:.1})", mib(daemon.memory_kib("VmRSS")), mib(daemon.memory_kib("RssAnon")));
}

fn memory_of_many(uploads: usize, octets: u64) {
    heading(format_args!("{uploads} uploads of {} MiB at once", octets / MIB));
    let daemon = Daemon::start(&[]);
    let idle = daemon.memory_kib("VmRSS");
    let began = Instant::now();
    let peak = daemon.peak_of(|| {
        std::thread::scope(|scope| {
            for upload in 0..uploads {
                let daemon = &daemon;
                scope.spawn(move || put_raw(daemon, &format!("one-of-many-{upload}"), octets));
            }
        });
    });
    let rate = octets as f64 * uploads as f64 / GIB / began.elapsed().as_secs_f64();
    println!(
        "idle {:.1} MiB, most (own {:.1}): {}; {rate:.2} GiB/s in all",
        mib(idle),
        mib(peak.1),
        at_most(format_args!("memory, {uploads} uploads at once"), mib(peak.0), "MiB", 200.0)
    );
}
