//! The live tail of a real `mregd`: how long from an entry to its event at the client, with one reader and with many, beside
//! a bare hyper server that sends as many octets as often to as many; and that streams cut at many places and taken up again
//! bring each entry once.
//!
//! All run on the same cores as their clients. Times are from when the request that makes an entry is sent, so they hold
//! its commit too; what is left after its answer stands beside. Parts: `latency`, `cuts`. `MREG_BENCH_SECONDS`,
//! `MREG_BENCH_RATE` (entries a second), `MREG_BENCH_READERS` and `MREG_BENCH_CUTS` set the size.

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

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::Response;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::child::{Daemon, PASSWORD, login};
use crate::figures::{Sample, at_most, cpu_us_of, heading, setting};
use crate::wire::{ask, request};

/// The word that makes this program the bare server; the rate follows.
const BARE: &str = "--bare-broadcast=";
/// What the live tail is to keep to, milliseconds (p99).
const TARGET_MS: f64 = 20.0;
/// Readers of one user: the daemon allows 32.
const READERS_PER_USER: usize = 25;
/// Connections that write.
const WRITERS: u64 = 16;
/// Octets of an event of the bare server: about those of an entry.
const EVENT_OCTETS: usize = 1000;
/// Entries that can be timed.
const ENTRIES_MAX: usize = 1 << 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Some(rate) = std::env::args().find_map(|argument| argument.strip_prefix(BARE).map(str::to_owned)) {
        return runtime.block_on(serve_bare(rate.parse().unwrap()));
    }
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    if figures::wanted("latency") {
        latency(&runtime);
    }
    if figures::wanted("cuts") {
        cuts(&runtime);
    }
}

fn rate() -> u64 {
    setting("MREG_BENCH_RATE", 1000).max(1)
}

/// Nanoseconds of a clock that all processes share.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

// ---- how long -------------------------------------------------------------------------------------------------------

fn latency(runtime: &Runtime) {
    let seconds = setting("MREG_BENCH_SECONDS", 5).max(1);
    let many = setting("MREG_BENCH_READERS", 200).max(1) as usize;
    for readers in [1, many] {
        heading(format_args!("{readers} readers, {} entries a second for {seconds} s", rate()));
        let bare = Bare::start(rate());
        let before = cpu_us_of(bare.child.id());
        let limit = runtime.block_on(bare_latency(bare.address, readers, seconds));
        let taken = cpu_us_of(bare.child.id()) - before;
        say("bare broadcast", &limit, Some(taken), seconds);
        drop(bare);

        let daemon = Daemon::start(&[("MREG_LOG_LEVEL", "warn")]);
        let tokens = users(&daemon, readers.div_ceil(READERS_PER_USER));
        let before = cpu_us_of(daemon.pid());
        let memory = daemon.memory_kib("VmRSS");
        let (sent, answered) = runtime.block_on(tail_latency(&daemon, &tokens, readers, seconds));
        let taken = cpu_us_of(daemon.pid()) - before;
        say("live tail, from request", &sent, Some(taken), seconds);
        say("live tail, from answer", &answered, None, seconds);
        let p99 = sent.percentile_ms(0.99);
        println!(
            "p99 {}, {:.2} × the bare broadcast's; memory {} KiB, {} before",
            at_most(
                format_args!("live tail, {readers} readers, {} entries/s: commit to event, p99", rate()),
                p99,
                "ms",
                TARGET_MS
            ),
            p99 / limit.percentile_ms(0.99),
            daemon.memory_kib("VmHWM"),
            memory
        );
    }
}

fn say(name: &str, sample: &Sample, cpu_us: Option<u64>, seconds: u64) {
    let cpu = cpu_us.map(|us| format!("   cpu {:.2} cores", us as f64 / 1e6 / seconds as f64)).unwrap_or_default();
    println!(
        "{name:26} {:>9} events  p50 {:>7.2} ms  p99 {:>7.2} ms{cpu}",
        sample.took_us.len(),
        sample.percentile_ms(0.5),
        sample.percentile_ms(0.99)
    );
}

/// Users that may read the log; a token of each.
fn users(daemon: &Daemon, count: usize) -> Vec<String> {
    let headers = ["Content-Type: application/json"];
    let user = |number| {
        let name = format!("reader-{number}");
        let interim = format!("{PASSWORD}-interim");
        let body = format!(r#"{{"username":"{name}","password":"{interim}","role":"auditor"}}"#);
        ask(daemon.address, &request("POST", "/register", Some(&daemon.token), &headers, body.as_bytes())).json();
        let token = |password: &str| {
            let answer = ask(daemon.address, &login(&name, password)).json();
            answer["access_token"].as_str().unwrap().to_owned()
        };
        // A password that somebody else set must be changed first.
        let body = format!(r#"{{"old_password":"{interim}","new_password":"{PASSWORD}"}}"#);
        let change = request("POST", "/me/password", Some(&token(&interim)), &headers, body.as_bytes());
        assert_eq!(ask(daemon.address, &change).status, 204);
        token(PASSWORD)
    };
    (0..count).map(user).collect()
}

/// When each entry's request was sent and answered, nanoseconds after the start; 0 for not yet.
struct Times {
    began: u64,
    sent: Vec<AtomicU64>,
    answered: Vec<AtomicU64>,
}

impl Times {
    fn new() -> Self {
        let column = || (0..ENTRIES_MAX).map(|_| AtomicU64::new(0)).collect();
        Self { began: now_ns(), sent: column(), answered: column() }
    }

    fn now(&self) -> u64 {
        (now_ns() - self.began).max(1)
    }
}

/// Times from request and from answer to event, of all readers together.
async fn tail_latency(daemon: &Daemon, tokens: &[String], readers: usize, seconds: u64) -> (Sample, Sample) {
    let times = Arc::new(Times::new());
    let until = Arc::new(AtomicU64::new(u64::MAX));
    let mut reading = JoinSet::new();
    for number in 0..readers {
        let tail = Tail::open(daemon.address, &tokens[number % tokens.len()], None).await;
        let (times, until) = (Arc::clone(&times), Arc::clone(&until));
        reading.spawn(read_timed(tail, times, until));
    }
    let last =
        write(daemon.address, &daemon.token, rate(), Duration::from_secs(seconds), Some(Arc::clone(&times))).await;
    until.store(last, Ordering::Relaxed);
    // The last entry may have been read before it was known to be the last.
    write(daemon.address, &daemon.token, 100, Duration::from_millis(200), None).await;
    // An event may have come before the answer that tells which request made it: looked up now, when all are known.
    let (mut sent, mut answered) = (Sample::default(), Sample::default());
    for seen in reading.join_all().await {
        for (index, at) in seen {
            let of = |column: &[AtomicU64]| column[index as usize].load(Ordering::Relaxed);
            if of(&times.sent) > 0 {
                sent.took_us.push((at.saturating_sub(of(&times.sent)) / 1000) as u32);
                answered.took_us.push((at.saturating_sub(of(&times.answered)) / 1000) as u32);
            }
        }
    }
    sent.seconds = seconds as f64;
    answered.seconds = seconds as f64;
    (sent, answered)
}

async fn read_timed(mut tail: Tail, times: Arc<Times>, until: Arc<AtomicU64>) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    while tail.next <= until.load(Ordering::Relaxed) {
        let first = tail.next;
        tail.read().await;
        let at = times.now();
        seen.extend((first..tail.next).map(|index| (index, at)));
    }
    seen
}

/// Makes entries at a rate; the index of the last. Refusals cost least.
async fn write(address: SocketAddr, token: &str, rate: u64, time: Duration, times: Option<Arc<Times>>) -> u64 {
    let body = br#"{"description":"x"}"#;
    let octets = request("PATCH", "/models/nothing", Some(token), &["Content-Type: application/json"], body);
    let octets = Arc::new(octets);
    let began = tokio::time::Instant::now();
    let turn = Arc::new(AtomicU64::new(0));
    let mut writing = JoinSet::new();
    for _ in 0..WRITERS {
        let (octets, turn, times) = (Arc::clone(&octets), Arc::clone(&turn), times.clone());
        writing.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut last, mut buffer) = (0, vec![0; 16 * 1024]);
            loop {
                let due = Duration::from_nanos(turn.fetch_add(1, Ordering::Relaxed) * 1_000_000_000 / rate);
                if due >= time {
                    return last;
                }
                tokio::time::sleep_until(began + due).await;
                let sent = times.as_ref().map(|times| times.now());
                stream.write_all(&octets).await.unwrap();
                let mut filled = 0;
                let index = loop {
                    let read = stream.read(&mut buffer[filled..]).await.unwrap();
                    assert!(read > 0, "the daemon closed");
                    filled += read;
                    if let Some(head) = wire::Head::parse(&buffer[..filled])
                        && filled >= head.octets + head.length
                    {
                        break number_after(&buffer[..head.octets], b"\nmregd-log-index: ").unwrap();
                    }
                };
                if let (Some(times), Some(sent)) = (&times, sent) {
                    times.answered[index as usize].store(times.now(), Ordering::Relaxed);
                    times.sent[index as usize].store(sent, Ordering::Relaxed);
                }
                last = index;
            }
        });
    }
    writing.join_all().await.into_iter().max().unwrap()
}

fn number_after(octets: &[u8], word: &[u8]) -> Option<u64> {
    let at = octets.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))? + word.len();
    Some(
        octets[at..]
            .iter()
            .take_while(|octet| octet.is_ascii_digit())
            .fold(0, |number, octet| number * 10 + u64::from(octet - b'0')),
    )
}

/// A reader that looks at as little as it can: the frame's chunks are not undone, events are told by their first line.
struct Tail {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// The index that must come next.
    next: u64,
    /// Octets to read at most at once.
    most: usize,
}

const ENTRY: &[u8] = b"event: entry\nid: ";

impl Tail {
    /// Opens a stream and reads its head.
    async fn open(address: SocketAddr, token: &str, after: Option<u64>) -> Self {
        let target = match after {
            Some(index) => format!("/audit-logs/stream?after={index}"),
            None => "/audit-logs/stream".to_owned(),
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&request("GET", &target, Some(token), &[], b"")).await.unwrap();
        let mut tail = Self { stream, buffer: vec![0; 256 * 1024], filled: 0, next: 0, most: 256 * 1024 };
        let head = loop {
            tail.fill().await;
            if let Some(head) = wire::Head::parse(&tail.buffer[..tail.filled]) {
                break head;
            }
        };
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&tail.buffer[..tail.filled]));
        let index = number_after(&tail.buffer[..head.octets], b"\nmregd-log-index: ").unwrap();
        tail.next = after.unwrap_or(index) + 1;
        tail.buffer.copy_within(head.octets..tail.filled, 0);
        tail.filled -= head.octets;
        tail
    }

    async fn fill(&mut self) {
        let end = self.buffer.len().min(self.filled + self.most);
        let read = self.stream.read(&mut self.buffer[self.filled..end]).await.unwrap();
        assert!(read > 0, "the daemon closed before entry {}", self.next);
        self.filled += read;
    }

    /// Reads what there is; indices must be consecutive. An event counts when its first lines are there and the rest
    /// up to the next or to the end of what was read.
    async fn read(&mut self) {
        self.fill().await;
        let mut at = 0;
        loop {
            let octets = &self.buffer[at..self.filled];
            let Some(begin) = find_line(octets, ENTRY) else {
                // The beginning of an event may have come, and no more than this of it.
                let kept = octets.len().min(ENTRY.len());
                self.buffer.copy_within(self.filled - kept..self.filled, 0);
                self.filled = kept;
                return;
            };
            let rest = &octets[begin..];
            // The data is one line; its end is the event's.
            let end = rest[ENTRY.len()..].iter().position(|octet| *octet == b'\n').and_then(|line| {
                let data = ENTRY.len() + line + 1;
                rest[data..].iter().position(|octet| *octet == b'\n').map(|line| data + line)
            });
            let Some(end) = end else {
                self.buffer.copy_within(at + begin..self.filled, 0);
                self.filled -= at + begin;
                return;
            };
            let index = number_after(&rest[..end], b"\nid: ").unwrap();
            assert_eq!(index, self.next, "a gap or a double");
            self.next += 1;
            at += begin + end;
        }
    }
}

/// Where a line begins that begins so. Looks at ends of lines alone, for most of what there is has none.
fn find_line(octets: &[u8], word: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        if octets[at..].starts_with(word) {
            return Some(at);
        }
        at += octets[at..].iter().position(|octet| *octet == b'\n')? + 1;
    }
}

// ---- the limit ------------------------------------------------------------------------------------------------------

/// A server that sends an event to all who ask, so many times a second, in a process of its own.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(rate: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(format!("{BARE}{rate}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each event says when it was made; a channel brings it to all readers, hyper to the socket.
async fn serve_bare(rate: u64) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let (events, _nobody) = broadcast::channel::<Bytes>(4096);
    let made = events.clone();
    tokio::spawn(async move {
        let began = tokio::time::Instant::now();
        for number in 0_u64.. {
            tokio::time::sleep_until(began + Duration::from_nanos(number * 1_000_000_000 / rate)).await;
            let mut event = format!("event: entry\nid: {}\ndata: ", now_ns());
            event.push_str(&"A".repeat(EVENT_OCTETS - event.len()));
            event.push_str("\n\n");
            // Without readers there is nobody to tell.
            let _ = made.send(event.into());
        }
    });
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let events = events.clone();
        tokio::spawn(async move {
            let answer = |_request| {
                let frames = futures_util::stream::unfold(events.subscribe(), |mut events| async move {
                    let event = events.recv().await.ok()?;
                    Some((Ok::<_, Infallible>(Frame::data(event)), events))
                });
                async { Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(frames)))) }
            };
            // A reader that leaves is no error.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn bare_latency(address: SocketAddr, readers: usize, seconds: u64) -> Sample {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut reading = JoinSet::new();
    for _ in 0..readers {
        reading.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request("GET", "/", None, &[], b"")).await.unwrap();
            let (mut took_us, mut buffer, mut filled) = (Vec::new(), vec![0; 256 * 1024], 0);
            while Instant::now() < until {
                let read = stream.read(&mut buffer[filled..]).await.unwrap();
                assert!(read > 0, "the bare server closed");
                filled += read;
                let now = now_ns();
                let mut at = 0;
                while let Some(begin) = find_line(&buffer[at..filled], ENTRY) {
                    let event = at + begin;
                    if filled - event < EVENT_OCTETS + 2 {
                        break;
                    }
                    let made = number_after(&buffer[event..filled], b"\nid: ").unwrap();
                    took_us.push(((now - made) / 1000) as u32);
                    at = event + EVENT_OCTETS + 2;
                }
                let kept = (filled - at).min(2 * EVENT_OCTETS);
                buffer.copy_within(filled - kept..filled, 0);
                filled = kept;
            }
            took_us
        });
    }
    let took_us = reading.join_all().await.concat();
    Sample { took_us, seconds: seconds as f64 }
}

// ---- cuts -----------------------------------------------------------------------------------------------------------

fn cuts(runtime: &Runtime) {
    let rounds = setting("MREG_BENCH_CUTS", 200).max(1);
    heading(format_args!("{rounds} cuts at {} entries a second", rate()));
    let daemon = Daemon::start(&[("MREG_LOG_LEVEL", "error")]);
    let began = Instant::now();
    let (first, last) = runtime.block_on(async {
        let ended = Arc::new(AtomicBool::new(false));
        let newest = Arc::new(AtomicU64::new(0));
        let writing = tokio::spawn({
            let (ended, newest, address, token) =
                (Arc::clone(&ended), Arc::clone(&newest), daemon.address, daemon.token.clone());
            async move {
                while !ended.load(Ordering::Relaxed) {
                    let last = write(address, &token, rate(), Duration::from_millis(500), None).await;
                    newest.store(last, Ordering::Relaxed);
                }
            }
        });
        let mut tail = Tail::open(daemon.address, &daemon.token, Some(0)).await;
        let (first, random) = (tail.next, AtomicU32::new(1));
        for _ in 0..rounds {
            // A linear congruence is random enough to cut at any octet of any event.
            let number = random.load(Ordering::Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.store(number, Ordering::Relaxed);
            let (entries, most) = (u64::from(number >> 24), (number >> 8 & 0xfff) as usize + 1);
            let until = tail.next + entries;
            tail.most = most;
            while tail.next < until {
                tail.read().await;
            }
            let last = tail.next - 1;
            drop(tail);
            tail = Tail::open(daemon.address, &daemon.token, Some(last)).await;
        }
        ended.store(true, Ordering::Relaxed);
        writing.await.unwrap();
        let last = newest.load(Ordering::Relaxed);
        tail.most = 256 * 1024;
        while tail.next <= last {
            tail.read().await;
        }
        (first, tail.next - 1)
    });
    println!(
        "entries {first} to {last}: each once, over {} streams, in {:.1} s",
        rounds + 1,
        began.elapsed().as_secs_f64()
    );
}
