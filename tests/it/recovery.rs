//! What a kill, a power cut or a hand in the files leaves behind, and what opening makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use daemon::durable::Disk;
use daemon::store::journal::{FILE_ENTRIES_MAX, Journal, Record, Scanned, Spare};
use daemon::store::{Entries, Records, Store, StoreError};
use tempfile::TempDir;

use crate::store_contract::{
    Opened, check_log, commit, create_model, create_user, leaves, note, open, reopen, runtime,
};

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("data/log/journal-00000000000000000000.log")
}

fn open_journal(dir: &Path) -> Result<Journal, StoreError> {
    Journal::open(&Disk::default(), dir, FILE_ENTRIES_MAX)
}

/// Where the records of a journal end: behind the last octet that is not zero.
pub(crate) fn end_of(octets: &[u8]) -> usize {
    octets.iter().rposition(|&octet| octet != 0).unwrap() + 1
}

/// A closed store of some entries.
fn filled(entries: usize) -> TempDir {
    let Opened { dir, store, .. } = open();
    let runtime = runtime();
    for n in 0..entries {
        let decide = match n % 3 {
            0 => create_user(&format!("user{n}")),
            1 => create_model(n as u128 + 1, &format!("model{n}"), Some(("n", "1"))),
            _ => note(&format!("m{}", n % 5)),
        };
        commit(&runtime, &store, decide);
    }
    runtime.block_on(store.close());
    dir
}

/// A batch that a crash cut short at any octet is removed; what was acknowledged before is there.
#[test]
fn torn_tail_at_every_octet() {
    let dir = TempDir::new().unwrap();
    let record = |text: &str| Record { leaf: text.as_bytes().into(), change: b"change".to_vec() };
    let mut journal = open_journal(dir.path()).unwrap();
    for n in 0..5 {
        journal.append(&[record(&format!("leaf {n}"))], Spare::Keep).unwrap();
    }
    let path = dir.path().join("journal-00000000000000000000.log");
    let start = end_of(&fs::read(&path).unwrap());
    journal.append(&[record("torn one"), record("torn two")], Spare::Keep).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let end = end_of(&whole);
    for cut in start..=end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let mut journal = open_journal(dir.path()).unwrap();
        assert_eq!(journal.next_index(), if cut == end { 7 } else { 5 }, "cut at {cut}");
        journal.cut_tail().unwrap();
        // The place of the torn batch can be written again, and read.
        journal.append(&[record("after")], Spare::Keep).unwrap();
        let mut leaves = Vec::new();
        let mut collect = |record: Scanned<'_>| {
            leaves.push(String::from_utf8(record.leaf.to_vec()).unwrap());
            Ok(())
        };
        journal.scan_from(0, &mut collect).unwrap();
        assert_eq!(leaves.last().map(String::as_str), Some("after"));
        assert_eq!(leaves[4], "leaf 4");
    }
}

/// A file whose header never became durable is made anew; one that has held batches never is, for they are in it still.
#[test]
fn a_damaged_header_is_not_an_empty_file() {
    let dir = TempDir::new().unwrap();
    let record = Record { leaf: b"leaf".as_slice().into(), change: Vec::new() };
    let first = dir.path().join("journal-00000000000000000000.log");
    fs::write(&first, b"mreg").unwrap();
    let mut journal = open_journal(dir.path()).unwrap();
    journal.append(&vec![record.clone(); 65_536], Spare::Keep).unwrap();
    journal.append(std::slice::from_ref(&record), Spare::Keep).unwrap();
    drop(journal);
    let second = dir.path().join("journal-00000000000000065536.log");
    let mut octets = fs::read(&second).unwrap();
    octets[20] ^= 1;
    fs::write(&second, &octets).unwrap();
    let error = open_journal(dir.path()).unwrap_err();
    assert!(error.to_string().contains("has no valid header"), "{error}");
    assert!(fs::read(&second).unwrap() == octets, "the file was changed");
    fs::write(&second, &octets[..30]).unwrap();
    assert_eq!(open_journal(dir.path()).unwrap().next_index(), 65_536);
}

/// A last batch that can't be read although a checkpoint covers it is damaged, not torn: its octets stay as they are.
#[test]
fn a_damaged_last_batch_is_left_alone() {
    let dir = filled(4);
    let path = journal(dir.path());
    let mut octets = fs::read(&path).unwrap();
    let end = end_of(&octets);
    octets[end - 40] ^= 1;
    fs::write(&path, &octets).unwrap();
    let Err(error) = daemon::store::sled::SledStore::open(&crate::store_contract::options(dir.path())) else {
        panic!("an acknowledged entry was cut")
    };
    assert!(error.to_string().contains("acknowledged entries are missing"), "{error}");
    assert!(fs::read(&path).unwrap() == octets, "the journal was changed");
}

/// A store whose last batch is torn opens with all that was acknowledged and goes on.
#[test]
fn torn_tail_of_a_store() {
    let before = filled(4);
    let after = TempDir::new().unwrap();
    copy_dir(before.path(), after.path());
    let runtime = runtime();
    let store = reopen(after.path()).unwrap();
    commit(&runtime, &store, create_user("torn"));
    runtime.block_on(store.close());
    drop(store);
    let old = fs::read(journal(before.path())).unwrap();
    let new = fs::read(journal(after.path())).unwrap();
    let (start, end) = (end_of(&old), end_of(&new));
    for cut in [start, start + 1, start + 28, end - 100, end - 1, end] {
        let dir = TempDir::new().unwrap();
        copy_dir(before.path(), dir.path());
        let mut torn = new.clone();
        torn[cut..].fill(0);
        fs::write(journal(dir.path()), &torn).unwrap();
        let store = reopen(dir.path()).unwrap();
        assert_eq!(store.view().size(), if cut == end { 6 } else { 5 }, "cut at {cut}");
        check_log(store.view(), store.checkpoints().borrow().root);
        commit(&runtime, &store, note("after"));
        runtime.block_on(store.close());
    }
}

/// The tail of a batch may arrive before its head: still one torn batch, not corruption.
#[test]
fn torn_head_of_the_last_batch() {
    let before = filled(4);
    let after = TempDir::new().unwrap();
    copy_dir(before.path(), after.path());
    let runtime = runtime();
    let store = reopen(after.path()).unwrap();
    commit(&runtime, &store, create_user("torn"));
    runtime.block_on(store.close());
    drop(store);
    let start = end_of(&fs::read(journal(before.path())).unwrap());
    let mut torn = fs::read(journal(after.path())).unwrap();
    torn[start..start + 100].fill(0);
    fs::write(journal(before.path()), torn).unwrap();
    let store = reopen(before.path()).unwrap();
    assert_eq!(store.view().size(), 5);
}

/// One flipped octet anywhere in what was acknowledged is refused at the start, with a message that names it.
#[test]
fn flipped_octets_are_named() {
    let dir = filled(6);
    let good = fs::read(journal(dir.path())).unwrap();
    let end = end_of(&good);
    // Every octet of the headers and of one record, and a sample of the rest.
    for at in (0..200).chain((200..end).step_by(37)).chain(end - 40..end) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(journal(dir.path()), &bad).unwrap();
        // Bytes 32..60 of the file's header are zeros without a meaning, but its checksum covers them.
        let Err(error) = reopen(dir.path()) else { panic!("octet {at} was not noticed") };
        let text = error.to_string();
        assert!(text.contains("journal") || text.contains("entry"), "octet {at}: {text}");
    }
    fs::write(journal(dir.path()), &good).unwrap();
    reopen(dir.path()).unwrap();
}

/// Without the view, with a broken one, and with another registry's, the same answers come back.
#[test]
fn the_view_is_rebuilt() {
    let dir = filled(30);
    let other = filled(3);
    let view_dir = dir.path().join("data/view");
    let expected = {
        let store = reopen(dir.path()).unwrap();
        (store.view().users(None, 100).unwrap(), store.view().counters().unwrap(), leaves(store.view()))
    };
    let damage: [(&str, &dyn Fn()); 4] = [
        ("removed", &|| fs::remove_dir_all(&view_dir).unwrap()),
        ("cut", &|| {
            let db = fs::OpenOptions::new().write(true).open(view_dir.join("db")).unwrap();
            db.set_len(1000).unwrap();
        }),
        ("garbage", &|| fs::write(view_dir.join("conf"), b"not a sled database at all").unwrap()),
        ("foreign", &|| {
            fs::remove_dir_all(&view_dir).unwrap();
            copy_dir(&other.path().join("data/view"), &view_dir);
        }),
    ];
    for (what, damage) in damage {
        damage();
        let store = reopen(dir.path()).unwrap();
        assert_eq!(store.view().users(None, 100).unwrap(), expected.0, "{what}");
        assert_eq!(store.view().counters().unwrap(), expected.1, "{what}");
        assert_eq!(leaves(store.view())[..expected.2.len()], expected.2, "{what}");
        check_log(store.view(), store.checkpoints().borrow().root);
    }
}

/// A view that failed while it was open is not trusted again, though it opens.
#[test]
fn a_doubtful_view_is_made_anew() {
    let dir = filled(12);
    let doubt = dir.path().join("data/log/view-doubtful");
    let before = {
        let store = reopen(dir.path()).unwrap();
        (store.view().counters().unwrap(), leaves(store.view()))
    };
    fs::write(&doubt, b"").unwrap();
    let store = reopen(dir.path()).unwrap();
    assert!(!doubt.exists(), "the doubt is laid down");
    assert_eq!(store.view().counters().unwrap(), before.0);
    let now = leaves(store.view());
    assert_eq!(now[..before.1.len()], before.1);
    assert!(String::from_utf8_lossy(now.last().unwrap()).contains("store.rebuild"));
}

/// Every derived file can be removed, emptied or filled with nonsense: it is made again.
#[test]
fn derived_files_are_made_again() {
    let dir = filled(30);
    let log = dir.path().join("data/log");
    let expected = leaves(reopen(dir.path()).unwrap().view());
    for name in ["hash.0", "hash.1", "hash.3", "entries", "derived", "checkpoint"] {
        for content in [None, Some(Vec::new()), Some(vec![0xa5; 4096])] {
            match &content {
                None => fs::remove_file(log.join(name)).unwrap(),
                Some(octets) => fs::write(log.join(name), octets).unwrap(),
            }
            let store = reopen(dir.path()).unwrap();
            let now = leaves(store.view());
            assert_eq!(now[..expected.len()], expected, "{name} {content:?}");
            check_log(store.view(), store.checkpoints().borrow().root);
        }
    }
}

/// Older data under a newer mark is a rollback and is refused; so is another registry's data, or a lost key.
#[test]
fn rollback_and_replacement_are_refused() {
    let dir = filled(5);
    let older = TempDir::new().unwrap();
    copy_dir(&dir.path().join("data"), &older.path().join("data"));
    let runtime = runtime();
    let store = reopen(dir.path()).unwrap();
    commit(&runtime, &store, create_user("newer"));
    runtime.block_on(store.close());
    drop(store);
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    copy_dir(&older.path().join("data"), &dir.path().join("data"));
    let Err(error) = reopen(dir.path()) else { panic!("a rollback was accepted") };
    assert!(error.to_string().contains("rolled back"), "{error}");

    let other = filled(9);
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    copy_dir(&other.path().join("data"), &dir.path().join("data"));
    let Err(error) = reopen(dir.path()) else { panic!("another log was accepted") };
    assert!(error.to_string().contains("signing key"), "{error}");

    fs::remove_file(other.path().join("keys/log.key")).unwrap();
    let Err(error) = reopen(other.path()) else { panic!("a log without its key was accepted") };
    assert!(error.to_string().contains("missing"), "{error}");
}

/// An empty data directory beside an advanced mark is a lost registry, not a new one.
#[test]
fn lost_data_is_not_a_new_registry() {
    let dir = filled(5);
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let Err(error) = reopen(dir.path()) else { panic!("a lost registry was begun anew") };
    assert!(error.to_string().contains("high-water mark"), "{error}");
}

/// A journal that is taken away under the running store stops it: nothing more is acknowledged.
#[test]
fn a_vanished_journal_is_noticed() {
    let opened = open();
    let runtime = runtime();
    commit(&runtime, &opened.store, note("x"));
    fs::remove_file(journal(opened.dir.path())).unwrap();
    assert!(runtime.block_on(opened.store.commit(note("y"))).is_err());
    assert!(matches!(&*opened.store.health().borrow(), daemon::store::Health::Failed(_)));
}
