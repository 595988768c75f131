//! The store on disks that fail: each step of a commit in each way, each state that a power cut may leave, hands in the
//! files, and disks that are full. After each, with a healthy disk: what was acknowledged is there exactly once, what was
//! refused is not, the log verifies from outside, and no state is without its entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use daemon::durable::{Disk, Operation, Space, Verdict, Watch};
use daemon::store::journal::Journal;
use daemon::store::sled::{OpenError, SledOptions, SledStore};
use daemon::store::{Committed, Decide, Entries, Health, Records, Store, StoreError, Urgency};
use rustix::io::Errno;
use tempfile::TempDir;
use tests::faults::{Fault, Faulty, Files, Recording, Step, Thoroughness};
use tests::oracle::{self, Log};
use tokio::runtime::Runtime;

use crate::recovery::{copy_dir, end_of};
use crate::store_contract::{create_user, note, runtime};

/// Entries of a journal file here.
const FILE_ENTRIES: u64 = 6;
const ORIGIN: &str = "disk.test/log";

/// A directory in memory where there is one: these tests make thousands of files, and sync them all.
fn temp() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::with_prefix_in("mreg-", memory) } else { TempDir::with_prefix("mreg-") };
    made.unwrap()
}

fn options(dir: &Path, disk: Disk) -> SledOptions {
    SledOptions {
        disk,
        file_entries_max: FILE_ENTRIES,
        ..SledOptions::new(&dir.join("data"), &dir.join("keys"), ORIGIN)
    }
}

/// Opens; waits for the lock, which a child that another test has just forked may hold until its exec.
fn open_on(dir: &Path, disk: &Disk) -> Result<SledStore, OpenError> {
    tests::wait::until("the lock to be free", || match SledStore::open(&options(dir, disk.clone())) {
        Err(OpenError::Locked { .. }) => None,
        opened => Some(opened),
    })
}

fn open(dir: &Path) -> Result<SledStore, OpenError> {
    open_on(dir, &Disk::default())
}

/// What is known of the commands of a run, by the name of the user each creates.
#[derive(Debug, Default)]
struct Ledger {
    /// Acknowledged, with index and leaf.
    done: BTreeMap<String, (u64, Vec<u8>)>,
    /// Refused: nothing happened.
    refused: BTreeSet<String>,
    /// It was not said.
    unknown: BTreeSet<String>,
}

impl Ledger {
    fn add(&mut self, name: String, result: Result<Committed, StoreError>) {
        match result {
            Ok(done) => drop(self.done.insert(name, (done.index, done.leaf.to_vec()))),
            Err(StoreError::Unknown(_)) => drop(self.unknown.insert(name)),
            Err(_) => drop(self.refused.insert(name)),
        }
    }

    fn commit(&mut self, runtime: &Runtime, store: &SledStore, name: &str) {
        let result = runtime.block_on(store.commit(create_user(name)));
        self.add(name.to_owned(), result);
    }

    /// Opens the directory with a healthy disk, which must go without help, and checks all that is promised.
    fn check(&self, runtime: &Runtime, dir: &Path, what: &str) -> Log {
        let store = open(dir).unwrap_or_else(|error| panic!("{what}: it does not open: {error}"));
        let view = store.view();
        for (name, (index, leaf)) in &self.done {
            let there = view.leaf(*index).unwrap();
            assert!(there.as_ref() == Some(leaf), "{what}: {name} was acknowledged as entry {index} and is not there");
            assert!(view.user(&name.parse().unwrap()).unwrap().is_some(), "{what}: {name} is not in the view");
        }
        for name in &self.refused {
            assert_eq!(view.user(&name.parse().unwrap()).unwrap(), None, "{what}: {name} was refused and is there");
        }
        let users = view.counters().unwrap().users;
        assert_eq!(usize::try_from(users).unwrap(), view.users(None, 1000).unwrap().len(), "{what}");
        // The log goes on.
        runtime.block_on(store.commit(note("after"))).unwrap_or_else(|error| panic!("{what}: it is closed: {error}"));
        runtime.block_on(store.close());
        drop(store);
        let log = oracle::read(&dir.join("data"));
        let about = |name: &str| {
            let id = format!("usr_{name}");
            log.of("user.create").iter().filter(|entry| entry["target"]["id"] == id.as_str()).count()
        };
        assert!(self.done.keys().all(|name| about(name) == 1), "{what}: an acknowledged entry is not there just once");
        assert!(self.refused.iter().all(|name| about(name) == 0), "{what}: a refused command has an entry");
        assert!(self.unknown.iter().all(|name| about(name) <= 1), "{what}: an entry is there twice");
        let changes = log.of("user.create").iter().filter(|entry| entry.get("change").is_some()).count();
        assert_eq!(
            changes,
            usize::try_from(users).unwrap(),
            "{what}: users without an entry, or entries without users"
        );
        log
    }
}

/// Commits enough for the journal to grow and to go on in a second file, alone and together.
fn work(runtime: &Runtime, store: &Arc<SledStore>, ledger: &mut Ledger) {
    for n in 0..7 {
        ledger.commit(runtime, store, &format!("single{n}"));
    }
    // One that waits on the writing thread until three others are queued, so that these make one batch, always.
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let gate: Decide = {
        let decide = create_user("gate");
        Box::new(move |records, moment| {
            begun.send(()).unwrap();
            released.recv().unwrap();
            decide(records, moment)
        })
    };
    let names = ["gate", "together0", "together1", "together2"];
    let results = runtime.block_on(async {
        // Joined futures are begun in this order.
        tokio::join!(
            store.commit(gate),
            async {
                // Without a gate that was let in there is nothing to wait for.
                let _closed = has_begun.recv_timeout(std::time::Duration::from_secs(10));
            },
            store.commit(create_user(names[1])),
            store.commit(create_user(names[2])),
            store.commit(create_user(names[3])),
            async {
                let _gone = release.send(());
            },
        )
    });
    let (gate, (), one, two, three, ()) = results;
    for (name, result) in names.into_iter().zip([gate, one, two, three]) {
        ledger.add(name.to_owned(), result);
    }
    ledger.commit(runtime, store, "last");
}

/// Which operations are worth failing: the first and the last of each run of equal steps, and of each kind at most three.
fn worth_failing(seen: &[Step]) -> Vec<usize> {
    let mut chosen: BTreeMap<&Step, Vec<usize>> = BTreeMap::new();
    for (n, step) in seen.iter().enumerate() {
        let is_edge = n.checked_sub(1).map(|before| &seen[before]) != Some(step) || seen.get(n + 1) != Some(step);
        if is_edge {
            chosen.entry(step).or_default().push(n);
        }
    }
    let some =
        |all: &Vec<usize>| [all.first(), all.get(all.len() / 2), all.last()].map(Option::unwrap).map(usize::to_owned);
    let picked: BTreeSet<usize> = chosen.values().flat_map(some).collect();
    picked.into_iter().collect()
}

const FAULTS: [Fault; 5] = [
    Fault::Nothing(Errno::IO),
    Fault::Done(Errno::IO),
    Fault::Nothing(Errno::NOSPC),
    Fault::Half(Errno::NOSPC),
    Fault::Half(Errno::IO),
];

/// Every step of a commit fails in every way. What failed before the commit point never happened, what failed after it is
/// there after the next start, and a sync that failed is never tried again.
#[test]
fn fault_matrix() {
    let runtime = runtime();
    let seen = {
        let dir = temp();
        let disk = Faulty::new(Some("mregd-sequence"), None);
        let store = Arc::new(open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))).unwrap());
        disk.arm();
        let mut ledger = Ledger::default();
        work(&runtime, &store, &mut ledger);
        assert_eq!(ledger.done.len(), 12);
        // What sled lacks yet is given to it at the end.
        runtime.block_on(store.close());
        disk.seen()
    };
    for step in [
        ("write", "journal-00000000000000000000.log"),
        ("sync_data", "journal-00000000000000000000.log"),
        ("create", "journal-00000000000000000006.log"),
        ("sync_all", "journal-00000000000000000006.log"),
        ("sync_dir", "log"),
        ("stat", "journal-00000000000000000006.log"),
        ("write", "hash.0"),
        ("write", "entries"),
        ("apply", "view"),
        ("write", "checkpoint"),
    ] {
        assert!(seen.contains(&(step.0, step.1.to_owned())), "{step:?} is not among {seen:?}");
    }
    let mut runs = 0;
    for at in worth_failing(&seen) {
        for fault in FAULTS {
            let (kind, file) = &seen[at];
            if matches!(fault, Fault::Half(_)) && *kind != "write" {
                continue;
            }
            runs += 1;
            let what = format!("operation {at}, {kind} of {file}, fails with {fault:?}");
            let dir = temp();
            let disk = Faulty::new(Some("mregd-sequence"), Some((at, fault)));
            let store = Arc::new(open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))).unwrap());
            disk.arm();
            let mut ledger = Ledger::default();
            work(&runtime, &store, &mut ledger);
            ledger.commit(&runtime, &store, "again");
            let health = store.health().borrow().clone();
            match *kind {
                "sync_data" | "sync_all" | "sync_dir" => {
                    assert!(matches!(health, Health::Failed(_)), "{what}: {health:?}")
                }
                _ => assert!(matches!(health, Health::Failed(_) | Health::Ok), "{what}: {health:?}"),
            }
            if !matches!(health, Health::Failed(_)) {
                assert!(ledger.unknown.is_empty(), "{what}: unknown, and yet it goes on");
                assert!(ledger.done.len() >= 9, "{what}: it did not recover by itself: {ledger:?}");
            }
            if *kind == "sync_data" {
                assert!(!ledger.unknown.is_empty(), "{what}: it was said that nothing happened");
            }
            // What readers see now must be there for good.
            let shown: Vec<Vec<u8>> =
                (0..store.view().size()).map(|index| store.view().leaf(index).unwrap().unwrap()).collect();
            let published = store.checkpoints().borrow().clone();
            runtime.block_on(store.close());
            drop(store);
            let log = ledger.check(&runtime, dir.path(), &what);
            assert!(log.leaves.starts_with(&shown), "{what}: something that was visible is gone");
            let size = usize::try_from(published.size).unwrap();
            assert_eq!(oracle::root(&log.hashes[..size]), published.root.0, "{what}: the published root");
        }
    }
    println!("{runs} runs");
}

/// sled fails when it is given what it lacks, between two batches: who was answered keeps what they were told, nothing more is
/// taken, and the next start has all of it.
#[test]
fn the_view_fails_between_batches() {
    const COMMITS: usize = 80;
    let runtime = runtime();
    let run = |fails: Option<(usize, Fault)>| {
        let dir = temp();
        let disk = Faulty::new(Some("mregd-sequence"), fails);
        let store = Arc::new(open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))).unwrap());
        disk.arm();
        let mut ledger = Ledger::default();
        for n in 0..COMMITS {
            ledger.commit(&runtime, &store, &format!("single{n}"));
        }
        let health = store.health().borrow().clone();
        runtime.block_on(store.close());
        drop(store);
        ledger.check(&runtime, dir.path(), &format!("{fails:?}"));
        (disk.seen(), health, ledger)
    };
    let (seen, health, ledger) = run(None);
    assert_eq!((health, ledger.done.len()), (Health::Ok, COMMITS));
    let at = seen.iter().position(|step| *step == ("apply", "view".to_owned())).expect("not before the end");
    for fault in [Fault::Nothing(Errno::IO), Fault::Done(Errno::IO)] {
        let (_seen, health, ledger) = run(Some((at, fault)));
        assert!(matches!(health, Health::Failed(_)), "{fault:?}: {health:?}");
        assert!(
            ledger.unknown.is_empty() && !ledger.refused.is_empty() && ledger.done.len() > COMMITS / 2,
            "{ledger:?}"
        );
    }
}

/// Every step of opening fails in every way: it is refused or served, and the next start on a healthy disk finds all.
#[test]
fn faults_while_opening() {
    let runtime = runtime();
    let before = temp();
    let mut ledger = Ledger::default();
    let store = Arc::new(open(before.path()).unwrap());
    work(&runtime, &store, &mut ledger);
    runtime.block_on(store.close());
    drop(store);
    // A torn batch at the end, for opening to cut, and no view, for opening to make.
    let last = journals(before.path()).pop().unwrap();
    let mut octets = fs::read(&last).unwrap();
    let end = end_of(&octets);
    octets[end] = 1;
    fs::write(&last, octets).unwrap();
    fs::remove_dir_all(before.path().join("data/view")).unwrap();
    fs::remove_file(before.path().join("data/log/derived")).unwrap();

    let copy = || {
        let dir = temp();
        copy_dir(before.path(), dir.path());
        dir
    };
    let seen = {
        let dir = copy();
        let disk = Faulty::new(None, None);
        disk.arm();
        let store = open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))).unwrap();
        runtime.block_on(store.close());
        disk.seen()
    };
    for at in worth_failing(&seen) {
        for fault in FAULTS {
            let (kind, file) = &seen[at];
            if matches!(fault, Fault::Half(_)) && *kind != "write" {
                continue;
            }
            let what = format!("operation {at} of opening, {kind} of {file}, fails with {fault:?}");
            let dir = copy();
            let disk = Faulty::new(None, Some((at, fault)));
            disk.arm();
            match open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))) {
                Ok(store) => runtime.block_on(store.close()),
                Err(error) => assert!(error.to_string().len() > 10, "{what}: {error}"),
            }
            ledger.check(&runtime, dir.path(), &what);
        }
    }
}

/// The mark and the note on derived data fail in every way: nothing is lost, and the next start goes without help.
#[test]
fn faults_of_the_keeper() {
    let runtime = runtime();
    let run = |fails: Option<(usize, Fault)>| {
        let dir = temp();
        let disk = Faulty::new(Some("mregd-keeper"), fails);
        let store = Arc::new(open_on(dir.path(), &Disk::watched(Arc::<Faulty>::clone(&disk))).unwrap());
        let mut ledger = Ledger::default();
        work(&runtime, &store, &mut ledger);
        assert_eq!(ledger.done.len(), 12);
        disk.arm();
        // It writes both when it stops.
        runtime.block_on(store.close());
        drop(store);
        ledger.check(&runtime, dir.path(), &format!("{fails:?} of {:?}", disk.seen()));
        disk.seen()
    };
    let seen = run(None);
    for step in [("rename", "log.mark.tmp"), ("sync_dir", "keys"), ("rename", "derived.tmp"), ("sync_data", "hash.0")] {
        assert!(seen.contains(&(step.0, step.1.to_owned())), "{step:?} is not among {seen:?}");
    }
    for at in 0..seen.len() {
        for fault in FAULTS {
            run(Some((at, fault)));
        }
    }
}

/// The states that a power cut may leave: each is opened without help, and holds all that was acknowledged before.
fn power_cuts(thorough: Thoroughness, rounds: usize) -> usize {
    let runtime = runtime();
    let origin = temp();
    let recording = Arc::new(Recording::default());
    let disk = Disk::watched(Arc::<Recording>::clone(&recording));
    // What had been acknowledged, by the number of operations before.
    let mut told: Vec<(usize, String, (u64, Vec<u8>))> = Vec::new();
    for round in 0..rounds {
        let store = Arc::new(open_on(origin.path(), &disk).unwrap());
        for n in 0..4 {
            let name = format!("round{round}n{n}");
            let done = runtime.block_on(store.commit(create_user(&name))).unwrap();
            told.push((recording.len(), name, (done.index, done.leaf.to_vec())));
            runtime.block_on(store.commit(note(&format!("m{n}")))).unwrap();
        }
        let together: Vec<_> = (0..3)
            .map(|n| {
                let store = Arc::clone(&store);
                let name = format!("round{round}t{n}");
                runtime.spawn(async move { (name.clone(), store.commit(create_user(&name)).await.unwrap()) })
            })
            .collect();
        for task in together {
            let (name, done) = runtime.block_on(task).unwrap();
            told.push((recording.len(), name, (done.index, done.leaf.to_vec())));
        }
        runtime.block_on(store.close());
    }
    assert!(journals(origin.path()).len() > 1, "the run goes over several journal files");

    let mut states: Vec<(usize, String, Files)> = Vec::new();
    recording.power_cuts(thorough, &mut |at, how, files| states.push((at, how.to_owned(), files)));
    let next = AtomicUsize::new(0);
    let (states, told) = (&states, &told);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((at, how, files)) = states.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let dir = temp();
                    files.lay_out(origin.path(), dir.path()).unwrap();
                    let mut ledger = Ledger::default();
                    for (_, name, done) in told.iter().filter(|(acknowledged_at, ..)| acknowledged_at <= at) {
                        ledger.done.insert(name.clone(), done.clone());
                    }
                    ledger.check(&runtime, dir.path(), &format!("power cut after {at} operations: {how}"));
                }
            });
        }
    });
    states.len()
}

/// The power is cut after every operation of a run, in several ways.
#[test]
fn power_loss() {
    let states = power_cuts(Thoroughness { singles: 1, tears: 3, zeros: false }, 1);
    println!("{states} states");
    assert!(states > 100, "{states} states are too few to mean anything");
}

/// The same over a longer run and with more of what was not synced arriving alone: `cargo test -- --ignored power_loss`.
#[test]
#[ignore = "takes minutes"]
fn power_loss_at_large() {
    println!("{} states", power_cuts(Thoroughness { singles: 16, tears: 64, zeros: true }, 3));
}

fn journals(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir.join("data/log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("journal-"));
    paths.sort();
    paths
}

/// A closed store of several journal files.
fn filled() -> (TempDir, Ledger) {
    let runtime = runtime();
    let dir = temp();
    let mut ledger = Ledger::default();
    let store = open(dir.path()).unwrap();
    for n in 0..20 {
        ledger.commit(&runtime, &store, &format!("user{n}"));
    }
    runtime.block_on(store.close());
    drop(store);
    assert!(journals(dir.path()).len() > 3);
    (dir, ledger)
}

fn refusal(dir: &Path) -> String {
    match open(dir) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// A journal file that is missing, wherever it belongs, is named at the start; derived data or none.
#[test]
fn a_missing_journal_file_is_named() {
    let (dir, ledger) = filled();
    let files = journals(dir.path());
    let aside = dir.path().join("aside");
    for without_derived in [false, true] {
        for (n, file) in files.iter().enumerate() {
            if without_derived {
                fs::remove_file(dir.path().join("data/log/entries")).ok();
            }
            fs::rename(file, &aside).unwrap();
            let text = refusal(dir.path());
            fs::rename(&aside, file).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap();
            if n + 1 < files.len() {
                assert!(text.contains(name) && text.contains("missing"), "{name}: {text}");
            } else {
                assert!(text.contains("acknowledged entries are missing"), "{name}: {text}");
            }
        }
    }
    ledger.check(&runtime(), dir.path(), "with all files back");
}

/// Two journal files that changed places are named.
#[test]
fn swapped_journal_files_are_named() {
    let (dir, ledger) = filled();
    let files = journals(dir.path());
    let swap = |one: &Path, other: &Path| {
        let aside = dir.path().join("aside");
        fs::rename(one, &aside).unwrap();
        fs::rename(other, one).unwrap();
        fs::rename(&aside, other).unwrap();
    };
    for (one, other) in [(0, 1), (1, 2), (2, files.len() - 1)] {
        swap(&files[one], &files[other]);
        let text = refusal(dir.path());
        assert!(text.contains("journal-") && text.contains("holds entries from"), "{text}");
        swap(&files[one], &files[other]);
    }
    ledger.check(&runtime(), dir.path(), "with all files in place");
}

/// Any flipped octet of a journal is noticed on opening it, or takes the last batch with it, which the checkpoint and the
/// mark then miss; it never reads as something else.
#[test]
fn a_flipped_octet_never_passes() {
    let (dir, _ledger) = filled();
    let log = dir.path().join("data/log");
    let whole = Journal::open(&Disk::default(), &log, FILE_ENTRIES).unwrap().next_index();
    let files = journals(dir.path());
    let last = files.last().unwrap();
    // Without most of the zeros behind it, which are searched for a later batch each time.
    let mut good = fs::read(last).unwrap();
    good.truncate(end_of(&good) + 200);
    for at in 0..end_of(&good) {
        for flip in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            fs::write(last, &bad).unwrap();
            match Journal::open(&Disk::default(), &log, FILE_ENTRIES) {
                Err(error) => assert!(error.to_string().contains("journal"), "octet {at}: {error}"),
                Ok(journal) => assert!(journal.next_index() < whole, "octet {at} was not noticed"),
            }
            assert!(fs::read(last).unwrap() == bad, "octet {at}: the damaged file was changed");
        }
    }
}

/// A change that was edited, its checksum made to fit, is not the one its entry commits to: named when the state is rebuilt.
#[test]
fn an_edited_change_is_named() {
    let (dir, _ledger) = filled();
    let first = journals(dir.path()).remove(0);
    let mut octets = fs::read(&first).unwrap();
    // The records of user1, by the layout of journal.rs: len, crc, leaf octets, leaf, change.
    let u32_at = |octets: &[u8], at: usize| u32::from_le_bytes(octets[at..at + 4].try_into().unwrap());
    let name = b"usr_user1";
    let in_leaf = octets.windows(name.len()).position(|window| window == name).unwrap();
    let starts = (0..in_leaf).rev();
    let record = starts
        .into_iter()
        .find(|&at| {
            let len = usize::try_from(u32_at(&octets, at)).unwrap();
            len < octets.len() - at - 8 && oracle::crc32c(&[&octets[at + 8..at + 8 + len]]) == u32_at(&octets, at + 4)
        })
        .unwrap();
    let len = usize::try_from(u32_at(&octets, record)).unwrap();
    let leaf = usize::try_from(u32_at(&octets, record + 8)).unwrap();
    let change = record + 12 + leaf;
    assert!(change < record + 8 + len, "it has a change");
    octets[record + 8 + len - 1] ^= 1;
    let crc = oracle::crc32c(&[&octets[record + 8..record + 8 + len]]);
    octets[record + 4..record + 8].copy_from_slice(&crc.to_le_bytes());
    fs::write(&first, octets).unwrap();
    fs::remove_dir_all(dir.path().join("data/view")).unwrap();
    let text = refusal(dir.path());
    assert!(text.contains("journal record 2") && text.contains("change is not the one"), "{text}");
}

/// A view from before is brought up to date; views that fail are set aside one at a time; an older copy of everything is
/// refused with a word on what to do.
#[test]
fn older_copies() {
    let runtime = runtime();
    let dir = temp();
    let mut ledger = Ledger::default();
    let store = open(dir.path()).unwrap();
    ledger.commit(&runtime, &store, "early");
    runtime.block_on(store.close());
    drop(store);
    let older = temp();
    copy_dir(dir.path(), older.path());
    let store = open(dir.path()).unwrap();
    for n in 0..10 {
        ledger.commit(&runtime, &store, &format!("later{n}"));
    }
    runtime.block_on(store.close());
    drop(store);

    let view = dir.path().join("data/view");
    fs::remove_dir_all(&view).unwrap();
    copy_dir(&older.path().join("data/view"), &view);
    ledger.check(&runtime, dir.path(), "with a view from before");

    for _ in 0..3 {
        fs::write(view.join("conf"), b"not a sled database at all").unwrap();
        ledger.check(&runtime, dir.path(), "with a damaged view");
    }
    let set_aside = fs::read_dir(dir.path().join("data")).unwrap();
    let set_aside = set_aside.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("damaged"));
    assert_eq!(set_aside.count(), 1, "only the newest is kept");

    fs::remove_dir_all(dir.path().join("data")).unwrap();
    copy_dir(&older.path().join("data"), &dir.path().join("data"));
    let text = refusal(dir.path());
    assert!(text.contains("high-water mark") && text.contains("Restore the newest copy"), "{text}");
}

/// A disk that has as much free as the test says; `full` makes allocations fail, too.
struct Filling {
    free: AtomicU64,
    full: Mutex<bool>,
}

impl Watch for Filling {
    fn watch(&self, operation: Operation<'_>) -> Verdict {
        let grows = match operation {
            Operation::Create(_) | Operation::Allocate(..) => true,
            // Within a block that the file has already, it can grow.
            Operation::Write(path, at, octets) => {
                fs::metadata(path).is_ok_and(|file| file.len().next_multiple_of(4096) < at + octets.len() as u64)
            }
            _ => false,
        };
        if grows && *self.full.lock().unwrap() { Verdict::Fail(Errno::NOSPC.into()) } else { Verdict::Do }
    }

    fn space(&self, _dir: &Path) -> Option<Space> {
        Some(Space { total: 100 << 30, free: self.free.load(Ordering::Relaxed) })
    }
}

/// On a full disk ordinary commands are refused and told why, urgent ones and the daemon's own are recorded even when no
/// file can grow any more; the log says when it began and when it ended.
#[test]
fn a_full_disk() {
    let runtime = runtime();
    let dir = temp();
    let filling = Arc::new(Filling { free: AtomicU64::new(1 << 30), full: Mutex::new(false) });
    let disk = Disk::watched(Arc::<Filling>::clone(&filling));
    let mut ledger = Ledger::default();
    let store = open_on(dir.path(), &disk).unwrap();
    ledger.commit(&runtime, &store, "before");
    let reserve = store.stats().reserve_bytes;
    assert!(reserve > 1 << 20, "{reserve}");
    assert_eq!(fs::metadata(dir.path().join("data/log/reserve")).unwrap().len(), reserve);

    filling.free.store(100 << 10, Ordering::Relaxed);
    *filling.full.lock().unwrap() = true;
    for n in 0..5 {
        match runtime.block_on(store.commit(create_user(&format!("refused{n}")))) {
            Err(StoreError::Full(why)) => {
                assert_eq!(
                    why,
                    "disk full: 0 MiB free, 64 MiB needed; free space or purge"
                        .replace("64", if n == 0 { "64" } else { "72" })
                );
                ledger.refused.insert(format!("refused{n}"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(&*store.health().borrow(), Health::Full(_)));
    // The free space does not grow as the reserve is given back: others take it at once. Then only the daemon speaks.
    let urgent = runtime.block_on(store.commit_as(Urgency::Urgent, create_user("urgent0")));
    assert!(matches!(urgent, Err(StoreError::Full(_))), "{urgent:?}");
    ledger.refused.insert("urgent0".to_owned());
    assert!(store.stats().reserve_bytes < reserve);
    // With what the reserve gives, urgent commands go through, over the journal file's end, too.
    filling.free.store(3 << 20, Ordering::Relaxed);
    for n in 1..20 {
        let name = format!("urgent{n}");
        let done = runtime.block_on(store.commit_as(Urgency::Urgent, create_user(&name)));
        assert!(done.is_ok(), "{name}: {done:?}");
        ledger.add(name, done);
    }
    filling.free.store(0, Ordering::Relaxed);
    let stop: Decide = note("stop");
    runtime.block_on(store.commit_as(Urgency::Lifecycle, stop)).unwrap();
    runtime.block_on(store.close());
    drop(store);
    // It starts on the full disk.
    let store = open_on(dir.path(), &disk).unwrap();
    runtime.block_on(store.commit_as(Urgency::Lifecycle, note("start"))).unwrap();
    ledger.commit(&runtime, &store, "refused9");
    assert!(ledger.refused.contains("refused9"));
    // And goes on when there is room, reserve included.
    filling.free.store(1 << 30, Ordering::Relaxed);
    *filling.full.lock().unwrap() = false;
    ledger.commit(&runtime, &store, "after");
    assert_eq!(*store.health().borrow(), Health::Ok);
    assert_eq!(store.stats().reserve_bytes, reserve);
    runtime.block_on(store.close());
    drop(store);
    let log = ledger.check(&runtime, dir.path(), "after a full disk");
    assert_eq!(log.of("log.refuse").len(), 2, "one entry each time it began");
    assert!(log.of("log.refuse")[0]["data"]["reason"].as_str().unwrap().contains("disk full"));
    assert_eq!(log.of("log.resume").len(), 1);
    assert_eq!(ledger.done.len(), 21);
}
