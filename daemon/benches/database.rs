//! A log that daemons share in PostgreSQL: durable commits of one and of three daemons, each beside plain `INSERT`s of as many
//! connections into the same server right before, and what it costs to ask how far the log is.
//!
//! Knows the store's contract. The server is the machine's package, in a directory of its own. `MREG_BENCH_ROUNDS` changes
//! how often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures for people")]
#![allow(dead_code, unreachable_pub, reason = "the server is that of the tests, which ask more of it")]

#[path = "kit/figures.rs"]
mod figures;
#[path = "../../tests/src/postgres.rs"]
mod postgres;
#[path = "../../tests/src/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::audit::{Action, Actor, Outcome, Target};
use daemon::config::database::{DatabaseAddress, SharedDatabase};
use daemon::store::sled::{SledOptions, SledStore};
use daemon::store::{Decide, Decision, Draft, Store};
use tokio::runtime::Runtime;

use crate::figures::{median, scratch, setting};
use crate::postgres::Postgres;

/// Seconds of one measurement.
const SECONDS: f64 = 2.0;
/// Octets of an entry of the bare loop: about those of ours.
const ENTRY_OCTETS: usize = 512;
/// Daemons.
const DAEMONS_MAX: usize = 3;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 3).max(1) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = Postgres::with(&[("max_connections", "200"), ("shared_buffers", "128MB")]);
    server.psql("CREATE TABLE bare (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, leaf bytea NOT NULL)");
    let dir = scratch();
    let stores: Vec<Arc<SledStore>> = (0..DAEMONS_MAX).map(|n| Arc::new(open(&server, dir.path(), n))).collect();
    println!("{:<34} {:>9} {:>9} {:>7}", "durable commits a second", "INSERTs", "commits", "ratio");
    for count in [1, DAEMONS_MAX] {
        for clients in [1, 16, 128] {
            let figures: Vec<(f64, f64)> = (0..rounds)
                .map(|_round| {
                    let bare = runtime.block_on(inserts(&server, clients));
                    (bare, rate(&runtime, &stores[..count], clients, Ask::Commit))
                })
                .collect();
            let of = |figure: fn(&(f64, f64)) -> f64| median(&figures.iter().map(figure).collect::<Vec<_>>());
            let (bare, ours, ratio) = (of(|pair| pair.0), of(|pair| pair.1), of(|pair| pair.1 / pair.0));
            let what = format!("{count} daemons, {clients} clients");
            println!("{what:<34} {bare:>9.0} {ours:>9.0} {ratio:>7.2}");
        }
    }
    println!("{:<34} {:>9}", "asked how far the log is, a second", "");
    for clients in [1, 16, 128] {
        let asked = rate(&runtime, &stores[..1], clients, Ask::Refresh);
        println!("{:<34} {asked:>9.0}", format!("1 daemon, {clients} clients"));
    }
    for store in &stores {
        runtime.block_on(store.close());
    }
}

fn open(server: &Postgres, dir: &Path, number: usize) -> SledStore {
    let keys = |number: usize| dir.join(format!("keys{number}"));
    if number > 0 {
        fs::create_dir_all(keys(number)).unwrap();
        fs::copy(keys(0).join("log.key"), keys(number).join("log.key")).unwrap();
    }
    let address = DatabaseAddress::parse(&server.address()).unwrap();
    let options = SledOptions::new(&dir.join(format!("data{number}")), &keys(number), "bench.example/log");
    SledStore::open(&SledOptions { shared: Some(SharedDatabase { address, password: None }), ..options }).unwrap()
}

fn command() -> Decide {
    Box::new(|_records, _moment| {
        let draft = Draft {
            action: Action::ModelRead,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            target: Target::new("model", "bench"),
            request: None,
            data: BTreeMap::from([("padding".to_owned(), "x".repeat(120).into())]),
        };
        Ok(Decision { draft, writes: Vec::new() })
    })
}

#[derive(Clone, Copy)]
enum Ask {
    Commit,
    Refresh,
}

/// How often a second this is done by so many clients, spread over the stores.
fn rate(runtime: &Runtime, stores: &[Arc<SledStore>], clients: usize, ask: Ask) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|n| {
                let (store, done) = (Arc::clone(&stores[n % stores.len()]), Arc::clone(&done));
                tokio::spawn(async move {
                    while began.elapsed() < Duration::from_secs_f64(SECONDS) {
                        match ask {
                            Ask::Commit => drop(store.commit(command()).await.unwrap()),
                            Ask::Refresh => store.refresh().await.unwrap(),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Plain inserts a second, one connection each.
async fn inserts(server: &Postgres, clients: usize) -> f64 {
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").dbname("postgres").host_path(server.dir());
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let insert = client.prepare("INSERT INTO bare (leaf) VALUES ($1)").await.unwrap();
        connections.push((client, insert));
    }
    let began = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(client, insert)| {
            tokio::spawn(async move {
                let mut done = 0_u64;
                let leaf = vec![7_u8; ENTRY_OCTETS];
                while began.elapsed() < Duration::from_secs_f64(SECONDS) {
                    client.execute(&insert, &[&leaf]).await.unwrap();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    done as f64 / began.elapsed().as_secs_f64()
}
