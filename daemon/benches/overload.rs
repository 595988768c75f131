//! Overload: what is offered at one, two and four times what a real `mregd` can do, and what becomes of it: how much is
//! answered, how much turned away, how long those that are answered take, and those that must get through whatever is going
//! on; how soon all is as before. And the memory that attacks cost, beside what bounds it.
//!
//! Loads are offered at a steady rate over many connections, whatever comes back. All figures stand beside those of
//! the same daemon unloaded in the same run. Parts: `loads`, `attacks`; together about two minutes. `MREG_BENCH_SECONDS` sets
//! how long each load lasts.

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

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::child::Daemon;
use crate::figures::{Sample, heading, micros, setting};
use crate::wire::{Line, Load, ask, closed_loop, request};

/// Connections of the offered load, and of the one that finds out what can be done.
const CONNECTIONS: usize = 160;
const FINDING: usize = 4;
/// Models that pages are of.
const MODELS: usize = 400;
/// Requests in a row that must be as fast as before for all to be as before.
const CALM_AGAIN: usize = 20;
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if figures::wanted("loads") {
        loads(&runtime);
    }
    if figures::wanted("attacks") {
        attacks();
    }
}

// ---- loads ----------------------------------------------------------------------------------------------------------

fn loads(runtime: &Runtime) {
    let seconds = setting("MREG_BENCH_SECONDS", 4) as f64;
    let daemon = Daemon::start(&[("MREG_LOG_LEVEL", "warn")]);
    let token = Some(daemon.token.as_str());
    for model in 0..MODELS {
        let target = format!("/models/team%2Fmodel-{model}/artifact?filename=a.txt");
        let body = format!("model {model}");
        let reply = ask(daemon.address, &request("PUT", &target, token, &[OCTETS], body.as_bytes()));
        assert_eq!(reply.status, 201);
    }
    let one = "/models/team%2Fmodel-1";
    let change = request("PATCH", one, token, &["Content-Type: application/json"], br#"{"description":"changed"}"#);
    let kinds = [
        ("pages: 200 of 400 models", request("GET", "/models?q=model&limit=200", token, &[], &[])),
        ("pages: 100 entries", request("GET", "/audit-logs?limit=100&not=actor:nobody", token, &[], &[])),
        ("changes, each durable", change.clone()),
        ("GET model", request("GET", one, token, &[], &[])),
    ];
    let others = [
        ("GET model", request("GET", one, token, &[], &[])),
        ("change", change),
        ("GET livez", request("GET", "/livez", None, &[], &[])),
    ];
    let alone: Vec<Sample> = others.iter().map(|(_, octets)| steadily(daemon.address, octets, 1.0)).collect();
    for (name, octets) in &kinds {
        let at_once = octets.clone();
        let found =
            runtime.block_on(closed_loop(daemon.address, FINDING, 2.0, move |_connection, _turn| at_once.clone()));
        let can = found.sample.rate();
        heading(format_args!("{name}: {can:.0}/s can be done, p99 {:.1} ms then", found.sample.percentile_ms(0.99)));
        println!(
            "{:>8} {:>9} {:>9} {:>9} {:>17} {:>17} {:>17} {:>17} {:>9}",
            "offered",
            "sent/s",
            "answered",
            "turned",
            "p50/p99 of them",
            others[0].0,
            others[1].0,
            others[2].0,
            "again"
        );
        for times in [1, 2, 4] {
            let (offered, seen) = offer(runtime, daemon.address, can * f64::from(times), seconds, octets, &others);
            let recovery = recovery(daemon.address, &others[0].1, alone[0].percentile_ms(0.99));
            let answered: u64 = offered.statuses.iter().filter(|(status, _)| **status < 300).map(|(_, n)| *n).sum();
            let turned: u64 = offered.statuses.iter().filter(|(status, _)| **status >= 300).map(|(_, n)| *n).sum();
            let beside = |at: usize| {
                let (now, before) = (&seen[at], &alone[at]);
                format!(
                    "{:.1}/{:.1} ms {:.1}x",
                    now.percentile_ms(0.5),
                    now.percentile_ms(0.99),
                    now.percentile_ms(0.5) / before.percentile_ms(0.5).max(0.001)
                )
            };
            println!(
                "{:>7}x {:>9.0} {:>8.0}/s {:>8.0}/s {:>14.1}/{:.0} ms {:>17} {:>17} {:>17} {:>6.0} ms",
                times,
                (answered + turned) as f64 / offered.sample.seconds,
                answered as f64 / offered.sample.seconds,
                turned as f64 / offered.sample.seconds,
                offered.sample.percentile_ms(0.5),
                offered.sample.percentile_ms(0.99),
                beside(0),
                beside(1),
                beside(2),
                recovery.as_secs_f64() * 1000.0
            );
        }
    }
    println!(
        "\nalone: {}",
        alone
            .iter()
            .zip(&others)
            .map(|(sample, (name, _))| {
                format!("{name} {:.2}/{:.2} ms", sample.percentile_ms(0.5), sample.percentile_ms(0.99))
            })
            .collect::<Vec<_>>()
            .join(", ")
    );
    println!("memory of the daemon at its most: {:.0} MiB", daemon.memory_kib("VmHWM") as f64 / 1024.0);
}

const OCTETS: &str = "Content-Type: application/octet-stream";

/// One request after the other, with a pause between.
fn steadily(address: SocketAddr, octets: &[u8], seconds: f64) -> Sample {
    steadily_until(address, octets, seconds, &AtomicBool::new(false))
}

fn steadily_until(address: SocketAddr, octets: &[u8], seconds: f64, over: &AtomicBool) -> Sample {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut took_us = Vec::new();
    while began.elapsed().as_secs_f64() < seconds && !over.load(Ordering::Relaxed) {
        let at = Instant::now();
        stream.write_all(octets).unwrap();
        let reply = wire::read_reply(&mut stream);
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        took_us.push(micros(at.elapsed()));
        std::thread::sleep(Duration::from_millis(2));
    }
    Sample { took_us, seconds: began.elapsed().as_secs_f64() }
}

/// Offers a load, while others ask for little. Of the load only those that were answered are in the sample.
fn offer(
    runtime: &Runtime,
    address: SocketAddr,
    per_second: f64,
    seconds: f64,
    octets: &[u8],
    others: &[(&str, Vec<u8>)],
) -> (Load, Vec<Sample>) {
    let over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = others
        .iter()
        .map(|(_, octets)| {
            let (octets, over) = (octets.clone(), Arc::clone(&over));
            std::thread::spawn(move || steadily_until(address, &octets, f64::MAX, &over))
        })
        .collect();
    let load = runtime.block_on(paced(address, per_second, seconds, octets.to_vec()));
    over.store(true, Ordering::Relaxed);
    (load, asking.into_iter().map(|one| one.join().unwrap()).collect())
}

/// Requests at a steady rate over many connections. One whose answer is late sends its next when that has come: what is
/// missing then was not offered.
async fn paced(address: SocketAddr, per_second: f64, seconds: f64, octets: Vec<u8>) -> Load {
    let period = Duration::from_secs_f64(CONNECTIONS as f64 / per_second);
    let began = tokio::time::Instant::now();
    let octets: Arc<[u8]> = octets.into();
    let mut running = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let octets = Arc::clone(&octets);
        running.spawn(async move {
            let mut line = Line::open(address).await;
            let mut load = Load::default();
            let mut due = began + period * connection as u32 / CONNECTIONS as u32;
            while due.duration_since(began).as_secs_f64() < seconds {
                tokio::time::sleep_until(due).await;
                let at = Instant::now();
                let status = line.ask(&octets).await;
                if status < 300 {
                    load.sample.took_us.push(micros(at.elapsed()));
                }
                *load.statuses.entry(status).or_default() += 1;
                due = (due + period).max(tokio::time::Instant::now());
            }
            load
        });
    }
    let mut all = Load::default();
    for load in running.join_all().await {
        all.sample.took_us.extend(load.sample.took_us);
        for (status, count) in load.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    all.sample.seconds = began.elapsed().as_secs_f64();
    all
}

/// How long it takes until some requests in a row are as fast as before the load.
fn recovery(address: SocketAddr, octets: &[u8], before_ms: f64) -> Duration {
    const GIVEN_UP: Duration = Duration::from_secs(10);
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    let (mut calm, mut since) = (0, Duration::ZERO);
    while calm < CALM_AGAIN && began.elapsed() < GIVEN_UP {
        let at = Instant::now();
        stream.write_all(octets).unwrap();
        assert!(wire::read_reply(&mut stream).status < 600);
        if at.elapsed().as_secs_f64() * 1000.0 > before_ms * 2.0 {
            (calm, since) = (0, began.elapsed());
        } else {
            calm += 1;
        }
    }
    since
}

// ---- attacks --------------------------------------------------------------------------------------------------------

/// Settings of the attacked daemon: short patience, so that its end is seen.
const SETTINGS: &[(&str, &str)] = &[
    ("MREG_LOG_LEVEL", "error"),
    ("MREG_MAX_CONNECTIONS_PER_ADDRESS", "1000"),
    ("MREG_MAX_REQUESTS_PER_CLIENT", "1000"),
    ("MREG_BODY_IDLE_SECONDS", "5"),
    ("MREG_HEADER_TIMEOUT_SECONDS", "5"),
];

fn attacks() {
    heading("memory under attacks, of the daemon's own");
    println!("{:<52} {:>9} {:>10}  bound", "attack", "peak MiB", "after MiB");
    let large = 16 * 1024 * 1024;
    for (name, bound, attack) in [
        (
            "900 connections that ask nothing",
            "a task and two buffers each",
            Box::new(|address: SocketAddr, _token: &str| hold(address, 900, b"", &[])) as Box<dyn Fn(SocketAddr, &str)>,
        ),
        (
            "900 heads of 60 KiB that never end",
            "64 KiB each",
            Box::new(|address, _token| {
                let head = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: {}", "x".repeat(60_000));
                hold(address, 900, head.as_bytes(), &[]);
            }),
        ),
        (
            "900 downloads that nobody reads",
            "32 MiB in shares, and hyper's buffers",
            Box::new(|address, token| {
                hold(address, 900, &request("GET", "/models/large/download", Some(token), &[], &[]), &[]);
            }),
        ),
        (
            "32 connections of HTTP/2, 64 downloads each, no window",
            "1000 requests of a client, 32 MiB in shares",
            Box::new(|address, token| hold(address, 32, &preface(0), &streams("/models/large/download", token))),
        ),
        (
            "200 uploads that send 64 KiB and stop",
            "64 at once, 1 MiB each, 24 MiB in all",
            Box::new(|address, token| {
                let mut octets =
                    request("PUT", "/models/x/artifact", Some(token), &[OCTETS, "Content-Length: 9999999"], &[]);
                octets.resize(octets.len() + 64 * 1024, b'x');
                hold(address, 200, &octets, &[]);
            }),
        ),
    ] {
        let daemon = Daemon::start(SETTINGS);
        let reply = ask(
            daemon.address,
            &request(
                "PUT",
                "/models/large/artifact?filename=a.bin",
                Some(&daemon.token),
                &[OCTETS],
                &vec![b'x'; large],
            ),
        );
        assert_eq!(reply.status, 201);
        let before = daemon.memory_kib("RssAnon");
        let (_all, own) = daemon.peak_of(|| attack(daemon.address, &daemon.token));
        let after = daemon.memory_kib("RssAnon");
        let mib = |kib: u64| kib.saturating_sub(before) as f64 * 1024.0 / MIB;
        println!("{name:<52} {:>9.1} {:>10.1}  {bound}", mib(own), mib(after));
        let well = ask(daemon.address, &request("GET", "/models/large", Some(&daemon.token), &[], &[]));
        assert_eq!(well.status, 200, "after {name}");
    }
}

/// Connects so often, sends this on each and then that, and holds them until the daemon has had time to end them.
fn hold(address: SocketAddr, connections: usize, first: &[u8], then: &[u8]) {
    let mut held = Vec::new();
    for _ in 0..connections {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // It may be refused at once.
        let _ = stream.write_all(first).and_then(|()| stream.write_all(then));
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    // A little is read of each, so that what is sent first has come.
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        let _ = stream.read(&mut [0; 16]);
    }
    drop(held);
    std::thread::sleep(Duration::from_millis(500));
}

/// What a client of HTTP/2 says first, with this window for each stream.
fn preface(window: u32) -> Vec<u8> {
    let setting = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &setting)[..]].concat()
}

/// As many streams as there may be, each of which asks for this.
fn streams(path: &str, token: &str) -> Vec<u8> {
    let mut head = Vec::new();
    let bearer = format!("Bearer {token}");
    for (name, value) in
        [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x"), ("authorization", &bearer)]
    {
        head.push(0);
        for text in [name, value] {
            // RFC 7541 §5.1, prefix of seven bits.
            let mut length = text.len();
            if length < 127 {
                head.push(length as u8);
            } else {
                head.push(127);
                length -= 127;
                while length >= 128 {
                    head.push((length % 128 + 128) as u8);
                    length /= 128;
                }
                head.push(length as u8);
            }
            head.extend_from_slice(text.as_bytes());
        }
    }
    (0..64).flat_map(|stream| frame(1, 5, stream * 2 + 1, &head)).collect()
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
