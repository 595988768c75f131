//! The embedded store against the disk and against itself: durable commits beside a bare append + fdatasync loop, pages
//! of a large registry beside those of a small one, and what a start costs.
//!
//! Knows the store's contract. Everything is measured in rounds, a limit right before what is compared with it, and the
//! middle of the rounds' ratios is told. Parts: `commits`, `pages`, `points`, `starts`. `MREG_BENCH_MODELS`, `MREG_BENCH_ENTRIES`,
//! `MREG_BENCH_ROUNDS` change the size. `MREG_BENCH_DIR` fills that directory and leaves it, for a daemon to be started on
//! its `data` and `keys` (origin `bench.example/log`).

#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::print_stdout, reason = "the figures are its result")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "kit/figures.rs"]
mod figures;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::api::State;
use common::audit::{Action, Actor, ActorKind, Outcome, RequestInfo, Target};
use common::name::{ModelId, Version};
use daemon::store::records::{LatestRecord, ModelRecord, Write};
use daemon::store::sled::{SledOptions, SledStore};
use daemon::store::{Decide, Decision, Draft, Entries, EntryQuery, ModelQuery, ModelSort, Records, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::figures::{Sample, at_least, at_most, cpu_us_of, heading, median, micros, scratch, setting};

/// Seconds of one measurement.
const SECONDS: f64 = 2.0;
/// Octets of one append of the bare loop: about an entry.
const APPEND_OCTETS: usize = 512;
/// Models of the small registry.
const SMALL_MODELS: u64 = 1_000;
/// Entries of the small registry.
const SMALL_ENTRIES: u64 = 1_000;
/// Rows of a page: the interface's default.
const PAGE: usize = 50;

fn main() {
    if !figures::asked() {
        return println!("run by cargo bench");
    }
    figures::machine();
    let rounds = setting("MREG_BENCH_ROUNDS", 3).max(1) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if figures::wanted("commits") {
        commits(&runtime, rounds);
    }
    if let Some(dir) = kept() {
        let bed = Bed::at(&dir);
        bed.fill(&runtime, setting("MREG_BENCH_MODELS", 100_000), setting("MREG_BENCH_ENTRIES", 200_000));
        return close(&runtime, bed.store);
    }
    if !["pages", "points", "starts"].into_iter().any(figures::wanted) {
        return;
    }
    let small = Bed::new();
    small.fill(&runtime, SMALL_MODELS, SMALL_ENTRIES);
    let large = Bed::new();
    large.fill(&runtime, setting("MREG_BENCH_MODELS", 100_000), setting("MREG_BENCH_ENTRIES", 200_000));
    if figures::wanted("pages") {
        pages(&small, &large, rounds);
    }
    if figures::wanted("points") {
        points(&small, &large, rounds);
    }
    if figures::wanted("starts") {
        starts(&runtime, small, large);
    }
}

/// The directory to fill and leave.
#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
fn kept() -> Option<PathBuf> {
    std::env::var_os("MREG_BENCH_DIR").map(PathBuf::from)
}

/// A store on a directory of its own.
struct Bed {
    store: Arc<SledStore>,
    options: SledOptions,
    _dir: Option<TempDir>,
}

impl Bed {
    fn new() -> Self {
        let dir = scratch();
        let bed = Self::at(dir.path());
        Self { _dir: Some(dir), ..bed }
    }

    fn at(dir: &Path) -> Self {
        let options = SledOptions::new(&dir.join("data"), &dir.join("keys"), "bench.example/log");
        Self { store: Arc::new(SledStore::open(&options).unwrap()), options, _dir: None }
    }

    /// Creates models, then entries without a change.
    fn fill(&self, runtime: &Runtime, models: u64, entries: u64) {
        const PER_COMMAND: u64 = 50;
        let began = Instant::now();
        let commands = models.div_ceil(PER_COMMAND);
        let create = move |number: u64| -> Decide {
            let numbers = number * PER_COMMAND..((number + 1) * PER_COMMAND).min(models);
            Box::new(move |_records, moment| {
                let writes = numbers.map(|number| Write::PutModel(model(number, moment.at_ms, moment.index))).collect();
                Ok(Decision { draft: draft(Action::ModelUpload, number), writes })
            })
        };
        self.commit_all(runtime, commands, create);
        let models_took = began.elapsed().as_secs_f64();
        let began = Instant::now();
        self.commit_all(runtime, entries, |number| record(ACTIONS[number as usize % ACTIONS.len()].clone(), number));
        println!(
            "\nfilled: {models} models in {models_took:.1} s, {entries} entries in {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }

    /// Commits many commands, up to 512 at once.
    fn commit_all(&self, runtime: &Runtime, count: u64, command: impl Fn(u64) -> Decide) {
        const AT_ONCE: usize = 512;
        runtime.block_on(async {
            let mut running = tokio::task::JoinSet::new();
            for number in 0..count {
                if running.len() == AT_ONCE {
                    running.join_next().await.unwrap().unwrap();
                }
                let (store, decide) = (Arc::clone(&self.store), command(number));
                running.spawn(async move { drop(store.commit(decide).await.unwrap()) });
            }
            while let Some(done) = running.join_next().await {
                done.unwrap();
            }
        });
    }
}

const ACTIONS: [Action; 4] = [Action::ModelRead, Action::ModelList, Action::ModelDownload, Action::AuthLogin];
const ACTORS: [&str; 5] = ["ana", "ben", "cleo", "dora", "emil"];

fn model_id(number: u64) -> ModelId {
    // Spread as ULIDs are: by time, then by chance.
    ModelId::from_u128(u128::from(number) << 80 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn model(number: u64, at_ms: i64, index: u64) -> ModelRecord {
    let stage = if number.is_multiple_of(2) { "dev" } else { "done" };
    ModelRecord {
        id: model_id(number),
        name: format!("team-{}/model-{number:07}", number % 7).parse().unwrap(),
        description: format!("Model number {number}. {}", "What it is for, in a few sentences. ".repeat(6)),
        tags: BTreeMap::from([
            ("stage".to_owned(), stage.to_owned()),
            ("project".to_owned(), format!("p{}", number % 10)),
        ]),
        owner: ACTORS[number as usize % ACTORS.len()].to_owned(),
        created_at_ms: at_ms,
        updated_at_ms: at_ms,
        last_number: 1,
        live_versions: 1,
        latest: Some(LatestRecord {
            version: Version::try_from(1).unwrap(),
            state: State::Available,
            format: "safetensors".to_owned(),
            size: 1 << 30,
            uploader: ACTORS[number as usize % ACTORS.len()].to_owned(),
            verdict: Some("clean".to_owned()),
            parameters: Some(7_000_000_000),
            dtypes: vec!["BF16".to_owned()],
        }),
        aliases: BTreeMap::new(),
        deleted: None,
        purged: false,
        revision: index,
    }
}

fn draft(action: Action, number: u64) -> Draft {
    let actor = number % ACTORS.len() as u64;
    Draft {
        action,
        outcome: if number % 10 == 7 { Outcome::Denied } else { Outcome::Ok },
        actor: Actor {
            id: format!("usr_{actor:026}"),
            name: Some(ACTORS[actor as usize].to_owned()),
            kind: ActorKind::User,
            role: Some("contributor".to_owned()),
            cred: Some(format!("ses_{number:016x}")),
        },
        target: Target::new("model", &model_id(number % 1000).to_string()),
        request: Some(RequestInfo {
            id: format!("{number:032x}"),
            method: "GET".to_owned(),
            route: "/models/{id}".to_owned(),
            status: 200,
            ip: Some(format!("192.0.2.{}", number % 16)),
            ua: Some("bench/1".to_owned()),
        }),
        data: BTreeMap::new(),
    }
}

/// A command that changes nothing: an entry alone.
fn record(action: Action, number: u64) -> Decide {
    Box::new(move |_records, _moment| Ok(Decision { draft: draft(action, number), writes: Vec::new() }))
}

/// A command that changes a model's description.
fn change(client: u64, number: u64) -> Decide {
    Box::new(move |records, moment| {
        let mut model = records.model(model_id(client))?.expect("the model was created");
        model.description = format!("Described for the {number}th time. {}", "In a few sentences. ".repeat(10));
        model.updated_at_ms = moment.at_ms;
        model.revision = moment.index;
        Ok(Decision { draft: draft(Action::ModelUpdate, client), writes: vec![Write::PutModel(model)] })
    })
}

// ---- commits --------------------------------------------------------------------------------------------------------

fn commits(runtime: &Runtime, rounds: usize) {
    heading(format_args!("durable commits; raw = {APPEND_OCTETS} octets + fdatasync, one thread, preallocated file"));
    let bed = Bed::new();
    bed.fill(runtime, SMALL_MODELS, 0);
    let raw_dir = scratch();
    let changes: fn(u64, u64) -> Decide = change;
    let entries: fn(u64, u64) -> Decide = |client, _number| record(Action::ModelRead, client);
    let rows = [
        ("change, 1 client", 1, changes, None),
        ("change, 16 clients", 16, changes, Some(2.5)),
        ("change, 128 clients", 128, changes, Some(5.0)),
        ("entry alone, 16 clients", 16, entries, None),
        ("entry alone, 128 clients", 128, entries, None),
    ];
    for (name, clients, command, target) in rows {
        let mut ratios = Vec::new();
        let mut last = (Sample::default(), Sample::default());
        let mut cpu_us = 0.0;
        for _ in 0..rounds {
            let raw = raw_loop(raw_dir.path());
            let before = cpu_us_of(std::process::id());
            let ours = run_clients(runtime, &bed.store, clients, command);
            cpu_us = (cpu_us_of(std::process::id()) - before) as f64 / ours.took_us.len() as f64;
            ratios.push(ours.rate() / raw.rate());
            last = (raw, ours);
        }
        let (raw, ours) = last;
        let ratio = median(&ratios);
        let ratio = target.map_or_else(
            || format!("{ratio:.2} ×"),
            |target| at_least(format_args!("durable {name}, beside raw append + fdatasync"), ratio, "×", target),
        );
        println!(
            "{name:26} {:>8.0}/s  p50 {:>6.2} ms  p99 {:>6.2} ms  cpu {cpu_us:>4.0} µs   raw {:>6.0}/s   {ratio}",
            ours.rate(),
            ours.percentile_ms(0.5),
            ours.percentile_ms(0.99),
            raw.rate(),
        );
    }
    runtime.block_on(bed.store.close());
}

/// The limit: what one thread can append and make durable, one after another.
fn raw_loop(dir: &Path) -> Sample {
    const FILE_OCTETS: u64 = 64 << 20;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("raw")).unwrap();
    if file.metadata().unwrap().len() < FILE_OCTETS {
        let zeros = vec![0; 1 << 20];
        for at in 0..FILE_OCTETS >> 20 {
            file.write_all_at(&zeros, at << 20).unwrap();
        }
        file.sync_all().unwrap();
    }
    let octets = [0x5a; APPEND_OCTETS];
    let mut at = 0;
    Sample::of(SECONDS / 2.0, || {
        file.write_all_at(&octets, at).unwrap();
        file.sync_data().unwrap();
        at = (at + APPEND_OCTETS as u64) % FILE_OCTETS;
    })
}

fn run_clients(runtime: &Runtime, store: &Arc<SledStore>, clients: u64, command: fn(u64, u64) -> Decide) -> Sample {
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(SECONDS);
    let took_us = runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for client in 0..clients {
            let store = Arc::clone(store);
            running.spawn(async move {
                let mut took_us = Vec::new();
                while Instant::now() < until {
                    let at = Instant::now();
                    store.commit(command(client, took_us.len() as u64)).await.unwrap();
                    took_us.push(micros(at.elapsed()));
                }
                took_us
            });
        }
        running.join_all().await.concat()
    });
    Sample { took_us, seconds: began.elapsed().as_secs_f64() }
}

// ---- pages ----------------------------------------------------------------------------------------------------------

fn pages(small: &Bed, large: &Bed, rounds: usize) {
    let view = (small.store.view(), large.store.view());
    let models = |bed: &Bed| bed.store.view().counters().unwrap().models;
    heading(format_args!("pages of {PAGE} models: {} models / {} models", models(large), models(small)));
    let list = ModelQuery { limit: PAGE, ..ModelQuery::default() };
    let tag = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let middle = |view: &daemon::store::sled::SledView| {
        let from = view.counters().unwrap().models / 2;
        view.models(&ModelQuery { limit: from as usize, ..ModelQuery::default() }).unwrap().next
    };
    let queries: [(&str, ModelQuery, Option<f64>); 7] = [
        ("list", list.clone(), Some(1.5)),
        ("list, newest change first", ModelQuery { sort: ModelSort::UpdatedDown, ..list.clone() }, Some(1.5)),
        ("tag of a tenth of the models", ModelQuery { tags: tag("project", "p7"), ..list.clone() }, Some(1.5)),
        ("tag of half of the models", ModelQuery { tags: tag("stage", "dev"), ..list.clone() }, Some(1.5)),
        (
            "tag, newest change first",
            ModelQuery { tags: tag("stage", "dev"), sort: ModelSort::UpdatedDown, ..list.clone() },
            Some(1.5),
        ),
        ("text that half of them have", ModelQuery { text: Some("4".to_owned()), ..list.clone() }, None),
        ("text that none has", ModelQuery { text: Some("nowhere".to_owned()), ..list.clone() }, None),
    ];
    for (name, query, target) in &queries {
        compare(name, *target, rounds, || drop(view.0.models(query).unwrap()), || drop(view.1.models(query).unwrap()));
    }
    let deep = (middle(view.0), middle(view.1));
    let from = |after: &Option<Vec<u8>>| ModelQuery { after: after.clone(), ..list.clone() };
    let deep = (from(&deep.0), from(&deep.1));
    compare(
        "list, from the middle on",
        Some(1.5),
        rounds,
        || drop(view.0.models(&deep.0).unwrap()),
        || {
            drop(view.1.models(&deep.1).unwrap());
        },
    );

    heading(format_args!("pages of {PAGE} entries: {} entries / {} entries", view.1.size(), view.0.size()));
    let all = EntryQuery { limit: PAGE, ..EntryQuery::default() };
    let queries: [(&str, EntryQuery); 8] = [
        ("newest", all.clone()),
        ("by actor", EntryQuery { actor: Some("cleo".to_owned()), ..all.clone() }),
        ("by action", EntryQuery { action: Some(Action::AuthLogin.as_str().to_owned()), ..all.clone() }),
        ("by action's prefix", EntryQuery { action: Some("auth.*".to_owned()), ..all.clone() }),
        ("by outcome (10 %)", EntryQuery { outcome: Some(Outcome::Denied), ..all.clone() }),
        ("by address", EntryQuery { ip: Some("192.0.2.7".to_owned()), ..all.clone() }),
        (
            "by actor and outcome",
            EntryQuery { actor: Some("cleo".to_owned()), outcome: Some(Outcome::Denied), ..all.clone() },
        ),
        ("by actor, from the middle", EntryQuery { actor: Some("cleo".to_owned()), ..all }),
    ];
    for (name, query) in &queries {
        let before = |size: u64| EntryQuery { before: name.ends_with("middle").then_some(size / 2), ..query.clone() };
        let query = (before(view.0.size()), before(view.1.size()));
        compare(
            name,
            Some(1.5),
            rounds,
            || drop(view.0.entries(&query.0).unwrap()),
            || {
                drop(view.1.entries(&query.1).unwrap());
            },
        );
    }
}

/// The time of one thing beside that of the same thing in a small registry.
fn compare(name: &str, target: Option<f64>, rounds: usize, mut small: impl FnMut(), mut large: impl FnMut()) {
    const SECONDS_EACH: f64 = 0.15;
    let mut ratios = Vec::new();
    let mut last = (0.0, 0.0);
    for _ in 0..rounds {
        let times = (Sample::of(SECONDS_EACH, &mut small), Sample::of(SECONDS_EACH, &mut large));
        last = (times.0.percentile_ms(0.5), times.1.percentile_ms(0.5));
        ratios.push(last.1 / last.0.max(0.001));
    }
    let ratio = median(&ratios);
    let ratio = target.map_or_else(
        || format!("{ratio:.2} ×"),
        |target| at_most(format_args!("in the store, large beside small: {name}"), ratio, "×", target),
    );
    println!("{name:30} {:>9.3} ms / {:>8.3} ms   {ratio}", last.1, last.0);
}

// ---- points ---------------------------------------------------------------------------------------------------------

/// Records by their keys: the time of a thousand reads, so that ms read as µs each.
fn points(small: &Bed, large: &Bed, rounds: usize) {
    const READS: u64 = 1000;
    heading("a thousand point reads");
    let models = |bed: &Bed| bed.store.view().counters().unwrap().models;
    let read = |bed: &Bed, among: u64| {
        let (view, models) = (bed.store.view(), models(bed).min(among));
        for number in 0..READS {
            let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % models;
            assert!(view.model(model_id(number)).unwrap().is_some());
        }
    };
    for (name, among) in
        [("models, of a hundred", 100), ("models, of ten thousand", 10_000), ("models, of all", u64::MAX)]
    {
        compare(name, None, rounds, || read(small, among), || read(large, among));
    }
    let unknown = |bed: &Bed| {
        for number in 0..READS {
            assert!(bed.store.view().model(model_id(number | 1 << 40)).unwrap().is_none());
        }
    };
    compare("models, none", None, rounds, || unknown(small), || unknown(large));
    let counters = |bed: &Bed| (0..READS).for_each(|_| _ = std::hint::black_box(bed.store.view().counters().unwrap()));
    compare("counters", None, rounds, || counters(small), || counters(large));
}

// ---- starts ---------------------------------------------------------------------------------------------------------

fn starts(runtime: &Runtime, small: Bed, large: Bed) {
    heading("starts");
    for bed in [small, large] {
        let (models, entries) = (bed.store.view().counters().unwrap().models, bed.store.view().size());
        // What a kill would leave: all that was written, nothing that was still in memory.
        let killed = scratch();
        copy(&bed.options.data_dir, &killed.path().join("data"));
        copy(&bed.options.key_dir, &killed.path().join("keys"));
        let Bed { store, options, _dir } = bed;
        close(runtime, store);
        let took = |options: &SledOptions| {
            let began = Instant::now();
            let store = Arc::new(SledStore::open(options).unwrap());
            let took = began.elapsed().as_secs_f64();
            assert!(store.view().size() >= entries);
            close(runtime, store);
            took
        };
        let after_stop = took(&options);
        let after_kill =
            took(&SledOptions::new(&killed.path().join("data"), &killed.path().join("keys"), &options.origin));
        std::fs::remove_dir_all(options.data_dir.join("view")).unwrap();
        let rebuilt = took(&options);
        println!(
            "{models} models, {entries} entries: after a stop {after_stop:.3} s, after a kill {after_kill:.3} s, \
             view rebuilt in {rebuilt:.3} s ({:.0} entries/s, {:.0} records/s)",
            entries as f64 / rebuilt,
            (entries + models) as f64 / rebuilt,
        );
        let (file, octets) = journal(&options.data_dir.join("log"));
        println!("    last journal file: {octets} octets; read and summed at {:.2} GiB/s", crc_rate(&file));
    }
}

/// Closes a store and waits for the threads that hold its files.
fn close(runtime: &Runtime, store: Arc<SledStore>) {
    const THREADS_END: Duration = Duration::from_millis(300);
    runtime.block_on(store.close());
    drop(store);
    std::thread::sleep(THREADS_END);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The newest journal file.
fn journal(dir: &Path) -> (File, u64) {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let newest = names.filter(|path| path.to_string_lossy().contains("journal-")).max().unwrap();
    let file = File::open(newest).unwrap();
    let octets = file.metadata().unwrap().len();
    (file, octets)
}

/// The limit of a start: how fast a file can be read and its checksum be taken.
fn crc_rate(file: &File) -> f64 {
    let mut chunk = vec![0; 1 << 20];
    let (mut at, mut sum) = (0, 0);
    let began = Instant::now();
    loop {
        let octets = file.read_at(&mut chunk, at).unwrap();
        if octets == 0 {
            break;
        }
        sum = crc32c::crc32c_append(sum, &chunk[..octets]);
        at += octets as u64;
    }
    std::hint::black_box(sum);
    at as f64 / f64::from(1 << 30) / began.elapsed().as_secs_f64()
}
