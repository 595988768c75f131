//! Small requests: `GET /models/{id}` of a real `mregd` beside a bare hyper server, with reads in the audit log and
//! without, and what a flood of sign-ins does to everyone else.
//!
//! Both servers are children with a thread a core, unpinned, on the same cores as the client, and get the same octets.
//! The client is a lean one of our own; where wrk is installed, its figures stand beside, as it costs less still.
//! Parts: `reads`, `protocols` (HTTP/2 and TLS beside HTTP/1.1 in clear), `peers`, `logins`. `MREG_BENCH_ROUNDS` sets the
//! rounds; `MREG_BENCH_NGINX`, `MREG_BENCH_FASTAPI` and `MREG_BENCH_MLFLOW` (addresses with ports) name peers;
//! `benches/run` starts those that are installed.

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
#[path = "kit/protocols.rs"]
mod protocols;
#[path = "kit/wire.rs"]
mod wire;

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use daemon::auth::password;
use daemon::config::secret::Secret;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

use crate::child::{ADMIN, Daemon, PASSWORD, login};
use crate::figures::{Sample, at_least, at_most, cpu_us_of, heading, median, peer, setting};
use crate::protocols::{Asked, Certified, Protocol};
use crate::wire::{ask, closed_loop, paced, request};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Seconds of one measurement.
const SECONDS: u32 = 3;
/// The word that makes this program the bare server.
const BARE: &str = "--bare-hyper";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == BARE) {
        return runtime.block_on(serve_bare());
    }
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 3).max(1) as usize;
    if figures::wanted("reads") {
        reads(&runtime, rounds);
    }
    if figures::wanted("peers") {
        peers(&runtime, rounds);
    }
    if figures::wanted("protocols") {
        protocols(&runtime, rounds);
    }
    if figures::wanted("logins") {
        logins(&runtime, rounds);
    }
}

// ---- reads ----------------------------------------------------------------------------------------------------------

/// One server under load.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    target: String,
    token: String,
    goal: Option<f64>,
    /// Its process, where it is ours to look at.
    pid: Option<u32>,
}

fn reads(runtime: &Runtime, rounds: usize) {
    let bare = Bare::start();
    let content = Daemon::start(&[]);
    let silent = Daemon::start(&[("MREG_LOG_LEVEL", "warn")]);
    let all = Daemon::start(&[("MREG_AUDIT_READS", "all")]);
    let of = |name, daemon: &Daemon, goal| {
        let target = format!("/models/{}", publish(daemon));
        let (address, token, pid) = (daemon.address, daemon.token.clone(), Some(daemon.pid()));
        Subject { name, address, target, token, goal, pid }
    };
    let mut subjects = vec![
        of("GET model", &content, Some(0.65)),
        of("GET model, no request log", &silent, None),
        of("GET model, each read durable", &all, Some(0.36)),
    ];
    subjects.push(Subject { name: "GET livez", target: "/livez".into(), ..of("", &silent, None) });
    let token = content.token.clone();
    if let Some(address) = peer("nginx") {
        subjects.push(Subject {
            name: "nginx, a fixed reply",
            address,
            target: "/ping".into(),
            token,
            goal: None,
            pid: None,
        });
    }
    let hello = Subject {
        name: "bare hyper",
        address: bare.address,
        target: subjects[0].target.clone(),
        token: content.token.clone(),
        goal: None,
        pid: Some(bare.child.id()),
    };
    for client in [Client::Own, Client::Wrk] {
        if client == Client::Wrk && !has_wrk() {
            println!("\nSKIPPED: wrk is not installed (apt-get install wrk), so there are no figures by it");
            continue;
        }
        heading(format_args!("{CONNECTIONS} connections, client: {client:?}"));
        for subject in &subjects {
            let mut ratios = Vec::new();
            let (mut limit, mut last) = (Figures::default(), Figures::default());
            for _ in 0..rounds {
                limit = client.run(runtime, &hello);
                last = client.run(runtime, subject);
                ratios.push(last.rate / limit.rate);
            }
            let ratio = median(&ratios);
            let ratio = subject.goal.map_or_else(
                || format!("{ratio:.2} ×"),
                |goal| {
                    at_least(format_args!("{}, beside bare hyper, client {client:?}", subject.name), ratio, "×", goal)
                },
            );
            println!(
                "{:30} {:>7.0}/s  p50 {:>5.2} ms  p99 {:>5.2} ms  cpu {:>4.0} µs;  bare {:>7.0}/s  cpu {:>4.0} µs   {ratio}",
                subject.name, last.rate, last.p50_ms, last.p99_ms, last.cpu_us, limit.rate, limit.cpu_us
            );
        }
    }
}

// ---- peers ----------------------------------------------------------------------------------------------------------

/// The same question to a registry in Python, where a script started it: a model by its id, with a token.
fn peers(runtime: &Runtime, rounds: usize) {
    let daemon = Daemon::start(&[]);
    let of = |name, address, target, token| Subject { name, address, target, token, goal: None, pid: None };
    let ours = of("mregd", daemon.address, format!("/models/{}", publish(&daemon)), daemon.token.clone());
    let peers = [peer("fastapi").map(fastapi), peer("mlflow").map(mlflow)];
    for (name, address, target, token, goal) in peers.into_iter().flatten() {
        heading(format_args!("GET model, {CONNECTIONS} connections, beside {name}"));
        let theirs = of(name, address, target, token);
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let (theirs, ours) = (Client::Own.run(runtime, &theirs), Client::Own.run(runtime, &ours));
            println!(
                "mregd {:.0}/s   {name} {:.0}/s   p99 {:.2} ms, {:.2} ms",
                ours.rate, theirs.rate, ours.p99_ms, theirs.p99_ms
            );
            ratios.push(ours.rate / theirs.rate);
        }
        println!("{}", at_least(format_args!("GET model, beside {name}"), median(&ratios), "×", goal));
    }
}

/// Name, address, what to ask for, token, how many times as fast is wanted.
type Peer = (&'static str, SocketAddr, String, String, f64);

fn fastapi(address: SocketAddr) -> Peer {
    const BOUNDARY: &str = "between-the-parts";
    let token = ask(address, &login(ADMIN, PASSWORD)).json()["access_token"].as_str().unwrap().to_owned();
    let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"small.bin\"\r\n\r\nsmall\r\n--{BOUNDARY}--\r\n"
    );
    let id = ask(address, &request("POST", "/models?name=small", Some(&token), &[&kind], form.as_bytes())).json()["id"]
        .clone();
    ("FastAPI", address, format!("/models/{id}"), token, 100.0)
}

/// MLflow's own server, which asks nobody who they are.
fn mlflow(address: SocketAddr) -> Peer {
    let kind = ["Content-Type: application/json"];
    let made = request("POST", "/api/2.0/mlflow/registered-models/create", None, &kind, br#"{"name":"small"}"#);
    let made = ask(address, &made).json();
    assert_eq!(made["registered_model"]["name"], "small", "{made}");
    ("MLflow", address, "/api/2.0/mlflow/registered-models/get?name=small".to_owned(), String::new(), 400.0)
}

/// Publishes a small model; its id.
fn publish(daemon: &Daemon) -> String {
    let header = br#"{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#;
    let mut octets = (header.len() as u64).to_le_bytes().to_vec();
    octets.extend_from_slice(header);
    octets.extend_from_slice(&[7; 8]);
    let headers = ["Content-Type: application/octet-stream"];
    let target = "/models/small/artifact?filename=model.safetensors";
    let answer = ask(daemon.address, &request("PUT", target, Some(&daemon.token), &headers, &octets)).json();
    answer["id"].as_str().unwrap().to_owned()
}

#[derive(Debug, Default)]
struct Figures {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time of the server for a request: the one figure that neighbours on the machine hardly change.
    cpu_us: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Own,
    Wrk,
}

impl Client {
    fn run(self, runtime: &Runtime, subject: &Subject) -> Figures {
        let cpu_us = |pid: Option<u32>| pid.map_or(f64::NAN, |pid| cpu_us_of(pid) as f64);
        let before = cpu_us(subject.pid);
        let figures = self.load(runtime, subject);
        let taken = cpu_us(subject.pid) - before;
        Figures { cpu_us: taken / (figures.rate * f64::from(SECONDS)), ..figures }
    }

    fn load(self, runtime: &Runtime, subject: &Subject) -> Figures {
        match self {
            Self::Own => {
                let octets = Bytes::from(request("GET", &subject.target, Some(&subject.token), &[], b""));
                let load = closed_loop(subject.address, CONNECTIONS, f64::from(SECONDS), move |_connection, _turn| {
                    octets.clone()
                });
                let load = runtime.block_on(load);
                assert!(load.statuses.keys().all(|&status| status == 200), "{}: {:?}", subject.name, load.statuses);
                let sample = load.sample;
                Figures {
                    rate: sample.rate(),
                    p50_ms: sample.percentile_ms(0.5),
                    p99_ms: sample.percentile_ms(0.99),
                    ..Figures::default()
                }
            }
            Self::Wrk => wrk(subject),
        }
    }
}

fn has_wrk() -> bool {
    Command::new("wrk").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn wrk(subject: &Subject) -> Figures {
    let output = Command::new("wrk")
        .args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "--latency", "-H"])
        .arg(format!("Authorization: Bearer {}", subject.token))
        .arg(format!("http://{}{}", subject.address, subject.target))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("Non-2xx"), "{text}");
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let ms = |word: &str| {
        let text = after(word);
        let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
        number("us").map(|us| us / 1000.0).or_else(|| number("ms")).or_else(|| number("s").map(|s| s * 1000.0)).unwrap()
    };
    Figures {
        rate: after("Requests/sec:").parse().unwrap(),
        p50_ms: ms("50%"),
        p99_ms: ms("99%"),
        ..Figures::default()
    }
}

/// The limit: hyper and nothing else, in a process of its own.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(BARE)
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

/// Says hello to everyone until it is killed.
async fn serve_bare() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let hello =
                |_request| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello")))) };
            // A client that leaves is no error.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(hello))
                .await;
        });
    }
}

// ---- protocols ------------------------------------------------------------------------------------------------------

fn protocols(runtime: &Runtime, rounds: usize) {
    heading(format_args!("GET model by {CONNECTIONS} at once, HTTP/2 on few connections; client: hyper's"));
    let certified = Certified::new();
    let (daemon, tls_address) = Daemon::start_in_tls(&certified.cert, &certified.key);
    let clear = Asked {
        address: daemon.address,
        protocol: Protocol::H1,
        tls: None,
        target: format!("/models/{}", publish(&daemon)),
        token: daemon.token.clone(),
    };
    let in_tls = Asked { address: tls_address, tls: Some(certified.der), ..clear.clone() };
    let of = |asked: &Asked| {
        let before = cpu_us_of(daemon.pid());
        let sample = runtime.block_on(protocols::closed_loop(asked, f64::from(SECONDS)));
        let cpu_us = (cpu_us_of(daemon.pid()) - before) as f64 / sample.took_us.len() as f64;
        (sample, cpu_us)
    };
    for (name, asked) in [
        ("HTTP/1.1 in TLS", in_tls.clone()),
        ("HTTP/2 in clear", Asked { protocol: Protocol::H2, ..clear.clone() }),
        ("HTTP/2 in TLS", Asked { protocol: Protocol::H2, ..in_tls }),
    ] {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        let mut last = None;
        for _ in 0..rounds {
            let ((limit, limit_us), (sample, cpu_us)) = (of(&clear), of(&asked));
            rates.push(sample.rate() / limit.rate());
            costs.push(cpu_us / limit_us);
            last = Some((sample, cpu_us, limit, limit_us));
        }
        let Some((sample, cpu_us, limit, limit_us)) = last else { continue };
        println!(
            "{name:30} {:>7.0}/s  p99 {:>5.2} ms  cpu {cpu_us:>4.0} µs;  HTTP/1.1 in clear {:>7.0}/s  cpu {limit_us:>4.0} µs   \
             {:.2} × the rate, {:.2} × the processor time",
            sample.rate(),
            sample.percentile_ms(0.99),
            limit.rate(),
            median(&rates),
            median(&costs)
        );
    }
}

// ---- sign-ins -------------------------------------------------------------------------------------------------------

/// Requests a second of those who are not signing in.
const PACE: u32 = 200;
/// Clients that sign in as fast as they can.
const FLOOD: usize = 8;

fn logins(runtime: &Runtime, rounds: usize) {
    heading(format_args!("sign-ins; {PACE} GET model a second meanwhile"));
    let daemon = Daemon::start(&[]);
    let id = publish(&daemon);
    for number in 0..FLOOD {
        let body = format!(r#"{{"username":"bench-{number}","password":"{PASSWORD}","role":"viewer"}}"#);
        let headers = ["Content-Type: application/json"];
        ask(daemon.address, &request("POST", "/register", Some(&daemon.token), &headers, body.as_bytes())).json();
    }
    let address = daemon.address;
    let get = request("GET", &format!("/models/{id}"), Some(&daemon.token), &[], b"");
    let right = |client: usize, _turn: u64| login(&format!("bench-{client}"), PASSWORD);
    // Names that nobody has, so that no lockout spares the daemon the work.
    let wrong = |client: usize, turn: u64| login(&format!("nobody-{client}-{turn}"), "not-the-password-at-all");
    let mixed = move |client: usize, turn: u64| {
        if client.is_multiple_of(2) { right(client, turn) } else { wrong(client, turn) }
    };

    let mut alone = Vec::new();
    for _ in 0..rounds {
        let limit = verify_rate();
        let load = runtime.block_on(closed_loop(address, 4, f64::from(SECONDS), right));
        alone.push(load.statuses.get(&200).copied().unwrap_or_default() as f64 / load.sample.seconds / limit);
        println!(
            "4 clients, right passwords: {:?} in {:.1} s, p50 {:.0} ms, p99 {:.0} ms; one thread verifies {limit:.0}/s",
            load.statuses,
            load.sample.seconds,
            load.sample.percentile_ms(0.5),
            load.sample.percentile_ms(0.99)
        );
    }
    println!("sign-ins / verifications of one thread: {:.2} ×", median(&alone));

    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let idle = runtime.block_on(paced(address, PACE, f64::from(SECONDS), get.clone()));
        let (flooded, flood) = runtime.block_on(async {
            let flood = tokio::spawn(closed_loop(address, FLOOD, f64::from(SECONDS), mixed));
            let flooded = paced(address, PACE, f64::from(SECONDS), get.clone()).await;
            (flooded, flood.await.unwrap())
        });
        for load in [&idle, &flooded] {
            assert!(load.statuses.keys().all(|&status| status == 200), "{:?}", load.statuses);
        }
        let p99 = |sample: &Sample| sample.percentile_ms(0.99);
        ratios.push(p99(&flooded.sample) / p99(&idle.sample));
        println!(
            "idle p50 {:.2} ms, p99 {:.2} ms; flooded by {FLOOD} p50 {:.2} ms, p99 {:.2} ms; the flood: {:?} in {:.1} s",
            idle.sample.percentile_ms(0.5),
            p99(&idle.sample),
            flooded.sample.percentile_ms(0.5),
            p99(&flooded.sample),
            flood.statuses,
            flood.sample.seconds
        );
    }
    println!(
        "p99 flooded / idle: {}",
        at_most("flood of sign-ins: p99 of other requests, beside idle", median(&ratios), "×", 2.0)
    );
}

/// The limit: how many passwords one thread can verify in a second.
fn verify_rate() -> f64 {
    let secret = Secret::new(PASSWORD.to_owned());
    let phc = password::hash(&secret).unwrap();
    Sample::of(1.0, || assert!(password::verify(&secret, &phc).unwrap())).rate()
}
