//! The embedded store's keys, step by step, with the store opened anew after each.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::audit::{Action, Actor, Checkpoint, Entry, Outcome, Target, Verifier};

use super::{Acceptance, OpenError, RolledBack, SledOptions, SledStore, check_stopped};
use crate::durable::{Disk, Operation, Space, Verdict, Watch};
use crate::store::check::{Checked, Listener};
use crate::store::journal::{FILE_ENTRIES_MAX, Journal, Record, Spare};
use crate::store::records::{LogKeysRecord, Write};
use crate::store::view::applied;
use crate::store::{Committed, Decision, Draft, Entries as _, Health, Store, StoreError};

const NAME: &str = "test.example/log";

fn options(root: &Path) -> SledOptions {
    SledOptions::new(&root.join("data"), &root.join("keys"), NAME)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap().block_on(future)
}

/// Commits an entry with these writes.
fn commit(
    store: &SledStore,
    writes: impl FnOnce(LogKeysRecord, u64, i64) -> Vec<Write> + Send + 'static,
) -> Result<Committed, StoreError> {
    let keys = store.log_keys().as_ref().clone();
    wait(store.commit(Box::new(move |records, moment| {
        let keys = records.log_keys()?.unwrap_or(keys);
        let draft = Draft {
            action: Action::LogKeyRotate,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            target: Target::new("log", NAME),
            request: None,
            data: BTreeMap::new(),
        };
        Ok(Decision { draft, writes: writes(keys, moment.index, moment.at_ms) })
    })))
}

fn reopen(store: SledStore, options: &SledOptions) -> SledStore {
    wait(store.close());
    drop(store);
    SledStore::open(options).unwrap()
}

fn opens_with(note: &str, vkey: &str) -> bool {
    Checkpoint::open(note.as_bytes(), &[vkey.parse::<Verifier>().unwrap()]).is_ok()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Every file below a directory and what is in it, but for the lock, which says who looked.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else if path.extension().is_none_or(|kind| kind != "lock") && !path.ends_with("lock") {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A disk that is full once its room was asked for so many times.
struct FillsUp(AtomicUsize);

impl Watch for FillsUp {
    fn watch(&self, _operation: Operation<'_>) -> Verdict {
        Verdict::Do
    }

    fn space(&self, _dir: &Path) -> Option<Space> {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        Some(Space { total: 1 << 40, free: if left > 0 { 1 << 30 } else { 3 << 20 } })
    }
}

/// A log is not begun on a full disk; where the disk fills up in that moment, it has its beginning all the same.
#[test]
fn the_first_start_on_a_full_disk() {
    for (enough_for, begins) in [(0, false), (1, true), (2, true)] {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::watched(Arc::new(FillsUp(AtomicUsize::new(enough_for))));
        let options = SledOptions { disk, ..options(root.path()) };
        let opened = SledStore::open(&options);
        assert_eq!(opened.is_ok(), begins, "{enough_for}");
        let Ok(store) = opened else { continue };
        let refused = commit(&store, |_keys, _index, _at_ms| Vec::new());
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        let store = reopen(store, &options);
        let first = store.view().leaf(0).unwrap().unwrap();
        assert_eq!(Entry::parse(&first).unwrap().action, Action::LogGenesis);
        wait(store.close());
    }
}

/// What can't be derived again is not removed.
#[test]
fn a_rebuild_of_a_damaged_journal_removes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let options = SledOptions { file_entries_max: 2, ..options(root.path()) };
    let store = SledStore::open(&options).unwrap();
    for _ in 0..6 {
        commit(&store, |_keys, _index, _at_ms| Vec::new()).unwrap();
    }
    wait(store.close());
    drop(store);
    let journal = options.data_dir.join("log/journal-00000000000000000002.log");
    let mut octets = fs::read(&journal).unwrap();
    octets[200] ^= 1;
    fs::write(&journal, octets).unwrap();
    let before = content(&options.data_dir);
    assert!(SledStore::rebuild(&options, BTreeMap::new(), &|_done, _of| {}).is_err());
    assert!(before == content(&options.data_dir), "something was removed");
}

/// Gathers what a check tells.
#[derive(Default)]
struct Heard(Vec<String>);

impl Listener for Heard {
    fn progress(&mut self, _step: &'static str, _done: u64, _of: u64) {}
    fn failure(&mut self, place: String, what: String) {
        self.0.push(format!("{place}: {what}"));
    }
    fn remark(&mut self, _what: String) {}
    fn blob(
        &mut self,
        _digest: common::digest::Digest,
        _size: u64,
        _damage: Option<crate::store::records::DamageRecord>,
        _needed_by: &dyn Fn() -> Vec<String>,
    ) {
    }
    fn goes_on(&self) -> bool {
        true
    }
}

fn checked(options: &SledOptions) -> (Checked, Vec<String>) {
    let mut heard = Heard::default();
    (check_stopped(options, &mut heard).unwrap(), heard.0)
}

/// A key is made, brought, and the one before it retired: each step survives a stop, and a half-done one is nothing.
#[test]
fn rotation_step_by_step() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = SledStore::open(&options).unwrap();
    let first = store.identity().vkey;

    // A key without an entry signs nothing.
    let second = wait(store.make_log_key(NAME.to_owned())).unwrap();
    let store = reopen(store, &options);
    assert_eq!(store.identity().vkeys, std::slice::from_ref(&first));

    // An entry without a key is refused, alone, and nothing else is.
    let refused =
        commit(&store, |keys, index, _at_ms| vec![Write::PutLogKeys(keys.rotated("nobody's", index, 0).unwrap())]);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(*store.health().borrow(), Health::Ok);

    let brought = second.clone();
    let committed = commit(&store, move |keys, index, at_ms| {
        vec![Write::PutLogKeys(keys.rotated(&brought, index, at_ms + 3_600_000).unwrap())]
    })
    .unwrap();
    for vkey in [&first, &second] {
        assert!(opens_with(&committed.checkpoint.note, vkey), "the very next checkpoint carries both");
    }
    let store = reopen(store, &options);
    assert_eq!(store.identity().vkeys, [second.clone(), first.clone()]);

    let committed =
        commit(&store, |keys, index, _at_ms| vec![Write::PutLogKeys(keys.retired(index, i64::MAX).unwrap().0)])
            .unwrap();
    assert!(opens_with(&committed.checkpoint.note, &second) && !opens_with(&committed.checkpoint.note, &first));
    let store = reopen(store, &options);
    assert_eq!(store.identity().vkeys, std::slice::from_ref(&second));
    assert!(!options.key_dir.join("log.key").exists(), "the retired key is destroyed");

    // All of it follows from the journal alone.
    wait(store.close());
    drop(store);
    fs::remove_dir_all(options.data_dir.join("view")).unwrap();
    let store = SledStore::open(&options).unwrap();
    assert_eq!(store.identity().vkeys, [second]);
    wait(store.close());
    drop(store);
    assert_eq!(checked(&options).1, Vec::<String>::new());
}

/// A rollback that is accepted: whatever of it was done when the process was killed, the next start goes on rightly.
#[test]
fn acceptance_step_by_step() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let (old, keys_before) = (root.path().join("old"), root.path().join("keys-before"));
    let store = SledStore::open(&options).unwrap();
    wait(store.close());
    drop(store);
    copy(&options.data_dir, &old);
    let store = SledStore::open(&options).unwrap();
    commit(&store, |_keys, _index, _at_ms| Vec::new()).unwrap();
    wait(store.close());
    drop(store);
    let ahead = root.path().join("ahead");
    copy(&options.data_dir.join("view"), &ahead);
    fs::remove_dir_all(&options.data_dir).unwrap();
    copy(&old, &options.data_dir);
    copy(&options.key_dir, &keys_before);
    assert!(matches!(SledStore::open(&options), Err(OpenError::Refused(_))));
    // What may be left of a lost batch, behind the last whole one, and a view that says more than the journal.
    let journal = options.data_dir.join("log/journal-00000000000000000000.log");
    let mut octets = fs::read(&journal).unwrap();
    let end = octets.iter().rposition(|&octet| octet != 0).unwrap() + 1;
    octets.resize(octets.len().max(end + 64), 0);
    octets[end + 8..end + 12].copy_from_slice(b"left");
    fs::write(&journal, octets).unwrap();
    fs::remove_dir_all(options.data_dir.join("view")).unwrap();
    copy(&ahead, &options.data_dir.join("view"));

    let before = (content(&options.data_dir), content(&options.key_dir));
    let rolled_back = RolledBack::open(&options).unwrap();
    assert_eq!((rolled_back.here().size, rolled_back.lost().len()), (1, 1));
    assert_eq!(rolled_back.lost()[0].head.size, 2);
    // Looking is not accepting.
    drop(rolled_back);
    assert!(
        before == (content(&options.data_dir), content(&options.key_dir)),
        "a declined acceptance changed something"
    );
    assert!(matches!(SledStore::open(&options), Err(OpenError::Refused(_))));

    let acceptance = Acceptance { reason: "x".to_owned(), operator: BTreeMap::new() };
    let store = RolledBack::open(&options).unwrap().accept(acceptance).unwrap();
    let identity = store.identity();
    assert_eq!(identity.origin, "test.example/log/2");
    let names = content(&options.data_dir);
    let kept = names.iter().find(|(path, _octets)| path.extension().is_some_and(|kind| kind == "kept")).unwrap();
    assert!(kept.1.ends_with(b"left"), "what stood behind the last batch is kept");
    assert!(names.keys().any(|path| path.to_string_lossy().contains("view.damaged-")), "the view was set aside");
    wait(store.close());
    drop(store);
    assert!(matches!(RolledBack::open(&options), Err(OpenError::Refused(_))), "there is nothing more to accept");

    // Killed after the entry, before the mark and the keys' destruction: the mark is still the lost head, and the old key
    // is still there.
    fs::copy(keys_before.join("log.mark"), options.key_dir.join("log.mark")).unwrap();
    fs::copy(keys_before.join("log.key"), options.key_dir.join("log.key")).unwrap();
    let store = SledStore::open(&options).unwrap();
    assert_eq!(store.identity().vkeys, identity.vkeys);
    assert!(!options.key_dir.join("log.key").exists(), "the old name's key is out of use");
    wait(store.close());
    drop(store);
    assert_eq!(checked(&options).1, Vec::<String>::new());
    // A mark of the old name that is neither what was lost nor part of what was kept is refused.
    let note = fs::read_to_string(keys_before.join("log.mark")).unwrap().replacen("\n2\n", "\n3\n", 1);
    fs::write(options.key_dir.join("log.mark"), note).unwrap();
    assert!(matches!(SledStore::open(&options), Err(OpenError::Refused(_))));
}

/// A mark that changes under a running daemon stops it: somebody else signs with its key.
#[test]
fn a_replaced_mark_stops_it() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = SledStore::open(&options).unwrap();
    let mark = options.key_dir.join("log.mark");
    let note = fs::read_to_string(&mark).unwrap().replacen("\n1\n", "\n9\n", 1);
    fs::write(&mark, note).unwrap();
    let mut health = store.health();
    wait(async {
        while !matches!(*health.borrow_and_update(), Health::Failed(_)) {
            // The mark is written when there is something new to mark.
            let _entry = store
                .commit(Box::new(|_records, _moment| {
                    let draft = Draft {
                        action: Action::LogHeartbeat,
                        outcome: Outcome::Ok,
                        actor: Actor::system(),
                        target: Target::new("log", NAME),
                        request: None,
                        data: BTreeMap::new(),
                    };
                    Ok(Decision { draft, writes: Vec::new() })
                }))
                .await;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        store.close().await;
    });
}

/// A batch that a crash cut short behind the last checkpoint is remarked by a check and no damage, also where all of it but
/// an octet arrived; damage with entries behind it is damage.
#[test]
fn torn_batch_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = SledStore::open(&options).unwrap();
    wait(store.close());
    drop(store);

    let path = options.log_dir().join(format!("journal-{:020}.log", 0));
    let disk = Disk::default();
    let append = || {
        let mut journal = Journal::open(&disk, &options.log_dir(), FILE_ENTRIES_MAX).unwrap();
        let record = Record { leaf: b"leaf".as_slice().into(), change: vec![7; 64] };
        journal.append(&[record], Spare::Use).unwrap()[0]
    };
    let place = append();
    let whole = fs::read(&path).unwrap();
    let last = usize::try_from(place.offset + u64::from(place.octets) - 1).unwrap();
    let mut torn = whole.clone();
    torn[last] ^= 1;
    fs::write(&path, &torn).unwrap();
    assert_eq!(checked(&options).1, Vec::<String>::new(), "a torn batch");

    fs::write(&path, &whole).unwrap();
    append();
    let mut damaged = fs::read(&path).unwrap();
    damaged[last] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let told = checked(&options).1;
    assert!(told.iter().any(|told| told.contains("CRC doesn't match")), "{told:?}");
}

/// A daemon whose view is doubted goes on until somebody restarts it: sled is given what it lacks all the same, or that would
/// pile up in memory.
#[test]
fn what_piles_up_in_memory_is_bounded() {
    const COMMITS: u64 = 200;
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = SledStore::open(&options).unwrap();
    fs::write(root.path().join("data/log/view-doubtful"), "").unwrap();
    for _ in 0..COMMITS {
        commit(&store, |_keys, _index, _at_ms| Vec::new()).unwrap();
    }
    let settled = applied(&store.view().tree.as_settled()).unwrap().unwrap().size;
    assert!(settled > COMMITS / 2, "{settled} of {COMMITS}");
    wait(store.close());
    let settled = applied(&store.view().tree.as_settled()).unwrap().unwrap().size;
    assert_eq!(settled, store.view().size());
}
