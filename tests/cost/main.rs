//! What a small request and a commit cost, in things that can be counted and are the same on every machine: allocations,
//! octets, writes and syncs. No time is measured here; `cargo bench` does that.
//!
//! Every bound is about twice what is needed now, so that a change of some library or compiler passes, and a copy of all
//! headers for each request, a sync for each entry or a record that became three times as large does not. **When a test
//! fails**: it says what it counted. Find out what was added (`perf record -g` on the way that is named, or the test again
//! at an earlier commit); take it out, or, where it is worth its price, write the new bound down and say in the commit what
//! is had for it. A figure far below its bound is a reason to lower the bound.
//!
//! Its own program, as the allocator that counts is the whole process's. One test at a time for the same reason.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "what was counted is shown where a test fails")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use common::api::{ModelRow, Page};
use common::audit::{Action, Actor, Entry, Outcome, Target, leaf_hash};
use daemon::config::{Config, Options};
use daemon::durable::{Disk, Operation, Verdict, Watch};
use daemon::http::respond;
use daemon::http::server::Stop;
use daemon::http::server::listen::Listener;
use daemon::store::records::{UserRecord, Write};
use daemon::store::sled::{SledOptions, SledStore};
use daemon::store::{Decide, Decision, Draft, Store as _};
use http::StatusCode;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tests::fill::made::user_record;
use tests::fill::{Size, fill, places};
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted is divided by so many.
const TIMES: u64 = 500;
/// So often.
const ROUNDS: usize = 5;
const PASSWORD: &str = "saddle-orbit-lantern-42";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocations of this process, those that grew one included, while something is done, for each of [`TIMES`]. A daemon has work of
/// its own beside it now and then, which only adds: the least of some rounds is what is looked for.
fn allocations(mut work: impl FnMut()) -> f64 {
    // What is allocated once and kept is not.
    (0..10).for_each(|_| work());
    let counted = (0..ROUNDS).map(|_| {
        let region = Region::new(ALLOCATOR);
        (0..TIMES).for_each(|_| work());
        let counted = region.change();
        u64::try_from(counted.allocations + counted.reallocations).unwrap()
    });
    per_time(counted.min().unwrap())
}

fn per_time(counted: u64) -> f64 {
    let thousandths = u32::try_from(counted * 1000 / TIMES).unwrap();
    f64::from(thousandths) / 1000.0
}

#[track_caller]
fn at_most(what: &str, counted: f64, bound: f64) {
    println!("{what}: {counted:.1} (at most {bound})");
    assert!(
        counted <= bound,
        "{what}: {counted:.1}, which is more than {bound}; see the head of this file for what to do"
    );
}

// ---- requests -------------------------------------------------------------------------------------------------------

/// A registry that is served by a thread of this process.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Served {
    /// With some models.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), &Size { models: 100, versions: 300, entries: 400, seed: 1 }, PASSWORD, &|_done, _of| {})
            .unwrap();
        let (data, keys) = places(dir.path());
        let loaded = Config::load(
            &Options::default(),
            [("MREG_DATA_DIR", data), ("MREG_KEY_DIR", keys)].map(|(name, path)| (OsString::from(name), path.into())),
            dir.path(),
        );
        let config = loaded.unwrap().config;
        let (stop, begun) = watch::channel(false);
        let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        bound.set_nonblocking(true).unwrap();
        let address = bound.local_addr().unwrap();
        let (served, is_served) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let opened = daemon::open(&config).await.unwrap();
                let listener = tokio::net::TcpListener::from_std(bound).unwrap();
                let (_never, at_once) = watch::channel(false);
                let (_hangups, reload) = watch::channel(0);
                let front = daemon::Front {
                    listeners: vec![Listener::Tcp(listener)],
                    tls: None,
                    options: Options::default(),
                    reload,
                };
                let announce = move || served.send(()).unwrap();
                let stop = Stop { begun, at_once };
                daemon::run(&config, opened.registry, None, None, front, stop, announce).await.unwrap();
            });
        });
        is_served.recv().unwrap();
        Self { address, stop, thread: Some(thread), _dir: dir }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

/// A connection that allocates nothing for what it asks again and again.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    /// Asks; how many octets the answer has, and where its body begins.
    fn ask(&mut self, request: &[u8]) -> (usize, usize) {
        self.stream.write_all(request).unwrap();
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the connection ended");
            filled += read;
            let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 20"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let total = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if filled >= total {
                return (total, end + 4);
            }
        }
    }

    fn ask_again(&mut self, request: &[u8]) {
        let (total, body) = self.ask(request);
        assert!(total >= body);
    }

    fn value(&mut self, request: &[u8]) -> Value {
        let (total, body) = self.ask(request);
        serde_json::from_slice(&self.buffer[body..total]).unwrap()
    }
}

fn request(method: &str, target: &str, token: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = format!("Host: cost\r\nAuthorization: Bearer {token}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n");
    let headers = format!("{headers}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    format!("{method} {target} HTTP/1.1\r\n{headers}\r\n{body}").into_bytes()
}

/// Requests through the daemon as it is, over a connection that is kept.
#[test]
fn allocations_of_requests() {
    let _alone = alone();
    let served = Served::start();
    let mut line = Line::open(served.address);
    let signed_in = line.value(&request("POST", "/login", "-", &json!({ "username": "admin", "password": PASSWORD })));
    let token = signed_in["access_token"].as_str().unwrap().to_owned();
    let made = line.value(&request("POST", "/tokens", &token, &json!({ "label": "cost" })));
    let api_token = made["token"].as_str().unwrap().to_owned();
    let models = line.value(&request("GET", "/models?limit=1", &token, &Value::Null));
    let target = format!("/models/{}", models["items"][0]["id"].as_str().unwrap());

    let get = |token: &str, target: &str| request("GET", target, token, &Value::Null);
    let asked = get(&token, "/livez");
    at_most("allocations of GET /livez", allocations(|| line.ask_again(&asked)), LIVE_MAX);
    let asked = get(&token, &target);
    at_most("allocations of GET /models/{id}", allocations(|| line.ask_again(&asked)), MODEL_MAX);
    let asked = get(&api_token, &target);
    at_most("the same with an API token", allocations(|| line.ask_again(&asked)), MODEL_BY_TOKEN_MAX);
    let asked = get(&token, "/models?limit=50");
    at_most("allocations of a page of 50 models", allocations(|| line.ask_again(&asked)), PAGE_MAX);
    let asked = request("PATCH", &target, &token, &json!({ "description": "as ever" }));
    at_most("allocations of PATCH /models/{id}", allocations(|| line.ask_again(&asked)), CHANGE_MAX);
}

/// A page of models is one buffer, that grows some times, and its headers.
#[test]
fn allocations_of_rendering() {
    let _alone = alone();
    let row = |number: u64| -> ModelRow {
        serde_json::from_value(json!({
            "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": format!("team/model-{number}"), "description": "What it is for. ",
            "tags": { "stage": "dev" }, "owner": "ana", "aliases": [], "state": "available", "latest_version": 1,
            "format": "safetensors", "size": 1_u64 << 30, "uploader": "ana", "verdict": "clean", "parameters": 7,
            "dtypes": ["BF16"], "versions": 3, "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:04:05.678Z",
        }))
        .unwrap()
    };
    let page = Page { items: (0..100).map(row).collect::<Vec<_>>(), total: None, next_cursor: None, prev_cursor: None };
    at_most(
        "allocations of rendering 100 models",
        allocations(|| drop(respond::json(StatusCode::OK, &page))),
        RENDERING_MAX,
    );
}

/// Hashing a leaf needs no memory; writing one, a buffer and what names are put into.
#[test]
fn allocations_of_leaves() {
    let _alone = alone();
    let entry = entry();
    let leaf = entry.to_leaf().unwrap();
    at_most("allocations of hashing a leaf", allocations(|| assert_ne!(leaf_hash(&leaf).0, [0; 32])), 0.1);
    at_most("allocations of writing a leaf", allocations(|| drop(entry.to_leaf().unwrap())), LEAF_MAX);
}

fn entry() -> Entry {
    let Draft { action, outcome, actor, target, request, data } = draft();
    Entry {
        seq: 7,
        id: "01900000-0000-7000-8000-000000000000".to_owned(),
        ts: 1_750_000_000_000,
        node: "node-1".to_owned(),
        salt: [7; 32],
        action,
        outcome,
        actor,
        change: Some([8; 32]),
        prev: Some(3),
        target: Some(target),
        req: request,
        data,
    }
}

fn draft() -> Draft {
    Draft {
        action: Action::UserUpdate,
        outcome: Outcome::Ok,
        actor: Actor::system(),
        target: Target::new("user", "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        request: None,
        data: BTreeMap::new(),
    }
}

// ---- commits --------------------------------------------------------------------------------------------------------

/// Counts what is done to the store's files.
#[derive(Default)]
struct Counted {
    journal_octets: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

impl Counted {
    /// What there was, and from now on nothing.
    fn take(&self) -> [u64; 3] {
        [&self.journal_octets, &self.writes, &self.syncs].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

impl Watch for Counted {
    fn watch(&self, operation: Operation<'_>) -> Verdict {
        match operation {
            // The zeros that make room ahead are written once in a while.
            Operation::Write(path, _at, octets) => {
                self.writes.fetch_add(1, Ordering::Relaxed);
                if is_journal(path) && octets.iter().any(|&octet| octet != 0) {
                    self.journal_octets.fetch_add(octets.len() as u64, Ordering::Relaxed);
                }
            }
            Operation::SyncData(_) | Operation::SyncAll(_) | Operation::SyncDir(_) => {
                self.syncs.fetch_add(1, Ordering::Relaxed);
            }
            _reads_and_names => {}
        }
        Verdict::Do
    }
}

fn is_journal(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-"))
}

/// A command that changes a user's record.
fn change(number: i64) -> Decide {
    Box::new(move |records, moment| {
        let user = records.user(&"admin".parse().unwrap())?.unwrap_or_else(|| user_record(0, "-".to_owned(), moment));
        let user = UserRecord { last_login_at_ms: Some(number), revision: moment.index, ..user };
        Ok(Decision { draft: draft(), writes: vec![Write::PutUser(user)] })
    })
}

/// One after another, so that each commit is a batch of its own: one sync, a handful of writes, and a record of the
/// entry's and the change's own octets.
#[test]
fn commits() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let counted = Arc::new(Counted::default());
    let watched: Arc<dyn Watch> = Arc::clone(&counted) as Arc<dyn Watch>;
    let options = SledOptions {
        disk: Disk::watched(watched),
        ..SledOptions::new(&dir.path().join("data"), &dir.path().join("keys"), "cost.example/log")
    };
    let store = SledStore::open(&options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut number = 0;
    let mut commit = || {
        number += 1;
        drop(runtime.block_on(store.commit(change(number))).unwrap());
    };
    let counts = allocations(&mut commit);
    counted.take();
    let before = store.stats();
    (0..TIMES).for_each(|_| commit());
    let [octets, writes, syncs] = counted.take();
    assert_eq!(store.stats().batches - before.batches, TIMES, "each is a batch");
    at_most("allocations of a commit", counts, COMMIT_MAX);
    at_most("octets of the journal for a commit", per_time(octets), COMMIT_OCTETS_MAX);
    at_most("writes to the store's files for a batch", per_time(writes), BATCH_WRITES_MAX);
    // One a batch; now and then the keeper makes what is derived durable, too.
    at_most("syncs for a batch", per_time(syncs), 1.2);

    // Those that come together share a batch, whatever the machine does meanwhile: they are queued before the first is taken
    // up, or while it is synced.
    const TOGETHER: i64 = 200;
    let commits = (0..TOGETHER).map(|number| store.commit(change(number)));
    counted.take();
    let batches = store.stats().batches;
    runtime.block_on(async { futures_util::future::join_all(commits).await }).into_iter().for_each(|done| {
        drop(done.unwrap());
    });
    let batches = store.stats().batches - batches;
    let [_octets, _writes, syncs] = counted.take();
    println!("{TOGETHER} commits together: {batches} batches, {syncs} syncs");
    assert!(syncs <= batches + 20, "{syncs} syncs for {batches} batches");
    runtime.block_on(store.close());
}

// Twice what is needed now.
const LIVE_MAX: f64 = 32.0;
const MODEL_MAX: f64 = 500.0;
const MODEL_BY_TOKEN_MAX: f64 = 520.0;
const PAGE_MAX: f64 = 4000.0;
const CHANGE_MAX: f64 = 650.0;
const RENDERING_MAX: f64 = 20.0;
const LEAF_MAX: f64 = 3.0;
const COMMIT_MAX: f64 = 265.0;
const COMMIT_OCTETS_MAX: f64 = 1100.0;
const BATCH_WRITES_MAX: f64 = 10.0;
