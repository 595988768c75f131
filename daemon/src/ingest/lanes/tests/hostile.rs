//! What people, programs and attackers put there: kinds, names, numbers, swaps while it is looked at.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::{Drop, document, item, place, seen, tree};
use crate::ingest::lanes::{DEPTH_MAX, ENTRIES_MAX, FILES_MAX, Kind, Lanes, TakeError};
use crate::ingest::names::{NameKind, Place, kind_of};
use crate::ingest::settle::Writer;

const DATE: &str = "2026-11-29";

/// Makes one of each kind that is never opened, and gives its word.
fn odd_kinds(below: &Path) -> Vec<(PathBuf, &'static str)> {
    let at = |name: &str| below.join(name);
    fs::write(below.parent().unwrap().join("secret"), "secret").unwrap();
    symlink("../secret", at("link.bin")).unwrap();
    symlink("/dev/zero", at("zero.bin")).unwrap();
    symlink("nowhere", at("dangling.bin")).unwrap();
    mknodat(CWD, at("fifo.bin"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    drop(UnixListener::bind(at("socket.bin")).unwrap());
    let mut kinds = vec![
        (at("link.bin"), "symbolic link"),
        (at("zero.bin"), "symbolic link"),
        (at("dangling.bin"), "symbolic link"),
        (at("fifo.bin"), "FIFO"),
        (at("socket.bin"), "socket"),
    ];
    // Needs a right that few have.
    if mknodat(CWD, at("device.bin"), FileType::CharacterDevice, Mode::RWXU, makedev(1, 5)).is_ok() {
        kinds.push((at("device.bin"), "device"));
    }
    kinds
}

/// What is not a file is taken and refused by renames alone, is never opened, and says what it is.
#[test]
fn odd_kinds_are_moved_unopened() {
    let (drop, lanes) = Drop::new();
    for (number, (path, what)) in (1..).zip(odd_kinds(&drop.path("incoming"))) {
        let place = place(path.file_name().unwrap());
        let look = seen(&lanes, &place);
        assert_eq!(look.kind, Kind::Other(what));
        assert_eq!(lanes.writer(&place), Writer::None);
        lanes.take(item(number), &place, &look, &[]).unwrap();
        for answer in [
            lanes.files(item(number), &place).map(drop_all),
            lanes.open_file(item(number), &place, Path::new(&place.name)).map(drop_all),
            lanes.sidecar(item(number), &place, &place.name, 10).map(drop_all),
        ] {
            assert!(matches!(&answer, Err(TakeError::Refused(why)) if why.contains(what)), "{answer:?}");
        }
        let lies = drop.path(lanes.reject(item(number), &place, &document(item(number)), DATE).unwrap());
        assert_eq!(fs::symlink_metadata(&lies).unwrap().ino(), look.inode);
        assert!(!path.exists() && fs::symlink_metadata(&path).is_err());
    }
    assert_eq!(fs::read_to_string(drop.path("secret")).unwrap(), "secret");
}

fn drop_all<T>(_: T) {}

/// The same in a folder: it is hostile, and says by what.
#[test]
fn a_folder_with_odd_kinds_is_hostile() {
    let (drop, lanes) = Drop::new();
    fs::create_dir(drop.path("odd")).unwrap();
    for (path, what) in odd_kinds(&drop.path("odd")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        drop.write("incoming/folder/good.bin", "1");
        fs::create_dir(drop.path("incoming/folder/sub")).unwrap();
        fs::rename(&path, drop.path("incoming/folder/sub").join(name)).unwrap();
        let why = tree(&lanes, &place("folder")).hostile.unwrap();
        assert!(why.contains(what) && why.contains(&format!("sub/{name}")), "{why}");
        fs::remove_dir_all(drop.path("incoming/folder")).unwrap();
    }
}

/// A hard link is not a file of one name, neither alone nor in a folder; nor is one made after the look.
#[test]
fn hard_links_are_refused() {
    let (drop, lanes) = Drop::new();
    let file = drop.write("incoming/a.bin", "1");
    lanes.take(item(1), &place("a.bin"), &seen(&lanes, &place("a.bin")), &[]).unwrap();
    let taken = drop.path(format!("processing/{}/a.bin", item(1)));
    assert!(!file.exists());
    lanes.open_file(item(1), &place("a.bin"), Path::new("a.bin")).unwrap();
    fs::hard_link(&taken, drop.path("b.bin")).unwrap();
    let answer = lanes.open_file(item(1), &place("a.bin"), Path::new("a.bin")).map(drop_all);
    assert!(matches!(&answer, Err(TakeError::Refused(why)) if why.contains("2 hard links")), "{answer:?}");
    assert_eq!(seen(&lanes, &Place { root: crate::ingest::names::Root::Top, ..place("b.bin") }).links, 2);
    drop.write("incoming/folder/x.bin", "1");
    fs::hard_link(drop.path("b.bin"), drop.path("incoming/folder/y.bin")).unwrap();
    assert!(tree(&lanes, &place("folder")).hostile.unwrap().contains("3 hard links"));
}

/// A folder of all files, entries and depth that are allowed is taken in; one more of any is hostile.
#[test]
fn folders_have_bounds() {
    let (drop, lanes) = Drop::new();
    for number in 0..FILES_MAX {
        drop.write(format!("incoming/files/{number}"), "");
    }
    let whole = tree(&lanes, &place("files"));
    assert_eq!((whole.files, whole.hostile), (FILES_MAX, None));
    drop.write("incoming/files/more", "");
    assert!(tree(&lanes, &place("files")).hostile.unwrap().contains("more than 1000 files"));

    for number in 0..ENTRIES_MAX {
        fs::create_dir_all(drop.path(format!("incoming/entries/{}/{}", number % 40, number))).unwrap();
        if number == ENTRIES_MAX - 41 {
            assert_eq!(tree(&lanes, &place("entries")).hostile, None, "all of the bound");
        }
    }
    assert!(tree(&lanes, &place("entries")).hostile.unwrap().contains("more than 4000"));

    let deep: PathBuf = (1..DEPTH_MAX).map(|_| "d").collect();
    drop.write(Path::new("incoming/deep").join(&deep).join("file"), "");
    let whole = tree(&lanes, &place("deep"));
    assert_eq!((whole.files, whole.hostile), (1, None));
    drop.write(Path::new("incoming/deep").join(&deep).join("d/file"), "");
    assert!(tree(&lanes, &place("deep")).hostile.unwrap().contains("deeper than 32"));
}

/// Every name that the file system holds goes the whole way, and back: to done, to rejected, and with others of its name.
fn goes_all_the_way(name: &OsStr) {
    let (drop, lanes) = Drop::new();
    let place = place(name);
    let file = drop.path("incoming").join(name);
    let items: Vec<_> = (1..=3).map(item).collect();
    for &id in &items {
        fs::write(&file, id.to_string()).unwrap();
        let entries = lanes.list(crate::ingest::names::Root::Incoming, None).unwrap();
        assert_eq!(entries.len(), 1, "{name:?}");
        assert_eq!(entries[0].name, name);
        lanes.take(id, &place, &entries[0].seen, &[]).unwrap();
        assert_eq!(lanes.taken().unwrap(), [(id, place.clone())], "{name:?}");
        assert_eq!(lanes.files(id, &place).unwrap(), [PathBuf::from(name)]);
        let mut taken = lanes.open_file(id, &place, Path::new(name)).unwrap();
        let mut text = String::new();
        taken.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, id.to_string());
        assert_eq!(
            taken.path.is_ok(),
            name.to_str().is_some_and(|name| name.parse::<common::name::ArtifactPath>().is_ok())
        );
        let refused = lanes.reject(id, &place, &document(id), DATE).unwrap();
        assert_eq!(lanes.rejected(10).unwrap(), [(refused.clone(), document(id))], "{name:?}");
        lanes.readmit(id, &place, &refused).unwrap();
        assert_eq!(drop.all("rejected").len(), 0, "{name:?}");
        let path = lanes.finish(id, &place, &document(id), DATE, true).unwrap();
        assert_eq!(lanes.finish(id, &place, &document(id), DATE, true).unwrap(), path);
    }
    let folder = drop.path("done").join(DATE);
    let names: BTreeSet<OsString> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let receipts = names.iter().filter(|name| name.as_bytes().ends_with(b".receipt.json"));
    let told: BTreeSet<Vec<u8>> = receipts.map(|name| fs::read(folder.join(name)).unwrap()).collect();
    for id in items {
        assert!(told.contains(&document(id)), "{name:?}: each has its receipt");
    }
}

/// Names that break programs, one by one.
#[test]
fn names_that_break_programs() {
    let long = |end: &str| OsString::from(format!("{}{end}", "x".repeat(255 - end.len())));
    let names = [
        "a\nb.bin".into(),
        "\u{1b}[2J\u{7}.bin".into(),
        " ".into(),
        "-rf".into(),
        "...".into(),
        "incoming".into(),
        "a.bin.receipt.json".into(),
        "01ARZ3NDEKTSV4RRFFQ69G5FAV-a.bin".into(),
        "$(reboot)`id`;&|*?".into(),
        "C:\\a\\b".into(),
        "e\u{301}\u{202e}gpj.bin".into(),
        long(".bin"),
        long("é"),
        OsString::from_vec(b"\xff\xfe.bin".to_vec()),
        OsString::from_vec([b"\xf0".repeat(250), b".bin!".to_vec()].concat()),
    ];
    for name in names {
        goes_all_the_way(&name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// And any other that is an item's.
    #[test]
    fn any_name_goes_all_the_way(octets in vec(any::<u8>(), 1..=255)) {
        let octets: Vec<u8> = octets.into_iter().filter(|octet| ![0, b'/'].contains(octet)).collect();
        let name = OsString::from_vec(octets);
        if !name.is_empty() && kind_of(&name) == NameKind::Item && name != "." && name != ".." {
            goes_all_the_way(&name);
        }
    }
}

/// Runs something as a user without rights, if this one has them. Only this thread changes.
fn as_nobody(run: impl FnOnce() + Send) -> bool {
    if !geteuid().is_root() {
        return false;
    }
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| {
            let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            run();
        });
        ran.join().unwrap();
    });
    true
}

/// What the daemon has no right to is refused with what to do about it, and stays where it is.
#[test]
fn what_may_not_be_read_or_moved_says_what_to_do() {
    let (drop, lanes) = Drop::new();
    std::mem::drop(lanes);
    let mode = |path: &str, mode: u32| fs::set_permissions(drop.path(path), fs::Permissions::from_mode(mode)).unwrap();
    drop.write("incoming/folder/x.bin", "1");
    drop.write("incoming/closed/x.bin", "1");
    drop.write("incoming/below/closed/x.bin", "1");
    drop.write("incoming/secret.bin", "1");
    drop.write("incoming/ns/.mreg-namespace", "");
    drop.write("incoming/ns/a.bin", "1");
    for (path, bits) in [("", 0o755), ("incoming", 0o777), ("incoming/folder", 0o755), ("incoming/closed", 0o700)] {
        mode(path, bits);
    }
    for (path, bits) in [("incoming/below/closed", 0o700), ("incoming/secret.bin", 0o600), ("incoming/ns", 0o755)] {
        mode(path, bits);
    }
    drop.write("incoming/listed/x.bin", "1");
    mode("incoming/listed", 0o744);
    for lane in ["processing", "done", "rejected"] {
        std::os::unix::fs::chown(drop.path(lane), Some(65_534), Some(65_534)).unwrap();
    }
    let ran = as_nobody(|| {
        let lanes = Lanes::open(drop.dir.path()).unwrap();
        let refused = |place: &Place, words: &str| {
            let answer = lanes.take(item(1), place, &seen(&lanes, place), &[]);
            assert!(matches!(&answer, Err(TakeError::Refused(why)) if why.contains(words)), "{place:?}: {answer:?}");
            assert!(lanes.look(place).unwrap().is_some() && lanes.taken().unwrap().is_empty());
        };
        refused(&place("folder"), "the folder `folder`: let its group write to it (chmod g+w)");
        refused(&super::in_namespace("ns", "a.bin"), "out of `ns`: let its group write to that folder");
        assert!(tree(&lanes, &place("closed")).hostile.unwrap().contains("chmod g+rx"));
        assert!(tree(&lanes, &place("below")).hostile.unwrap().contains("`closed` in it"));
        assert!(tree(&lanes, &place("listed")).hostile.unwrap().contains("chmod g+rx"));
        assert_eq!(lanes.list(crate::ingest::names::Root::Incoming, None).unwrap().len(), 6, "none hides another");
        let secret = place("secret.bin");
        assert_eq!(lanes.writer(&secret), Writer::Unknown);
        lanes.take(item(2), &secret, &seen(&lanes, &secret), &[]).unwrap();
        let answer = lanes.open_file(item(2), &secret, Path::new("secret.bin")).map(drop_all);
        assert!(matches!(&answer, Err(TakeError::Refused(why)) if why.contains("chmod g+r")), "{answer:?}");
        lanes.reject(item(2), &secret, &document(item(2)), DATE).unwrap();
    });
    if !ran {
        println!("needs another user: not seen here");
    }
}

/// Does something again and again while a thread swaps a name for other things.
fn while_swapped(swap: impl Fn() + Sync, mut each: impl FnMut()) {
    struct Done<'a>(&'a AtomicBool);
    impl std::ops::Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                swap();
            }
        });
        let _done = Done(&ended);
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until {
            each();
        }
    });
}

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

/// A name that is now a file, now a link, a FIFO or a folder never leads outside and never makes anybody wait.
#[test]
fn a_name_that_is_swapped_leads_nowhere() {
    let (drop, lanes) = Drop::new();
    let secret = drop.write("outside/secret.bin", "secret");
    fs::create_dir(drop.path("pool")).unwrap();
    let x = drop.write("incoming/x.bin", "good");
    let others = ["link", "fifo", "folder", "into"].map(|name| drop.path("pool").join(name));
    symlink(&secret, &others[0]).unwrap();
    mknodat(CWD, &others[1], FileType::Fifo, Mode::RWXU, 0).unwrap();
    drop.write("pool/folder/in.bin", "good");
    symlink(drop.path("outside"), &others[3]).unwrap();
    // The same in a folder that is taken, and as the folder itself.
    let folder = place("folder");
    drop.write("incoming/folder/sub/secret.bin", "good");
    drop.write("incoming/folder/y.bin", "good");
    lanes.take(item(1), &folder, &seen(&lanes, &folder), &[]).unwrap();
    let taken = drop.path(format!("processing/{}/folder", item(1)));
    let (y, sub) = (taken.join("y.bin"), taken.join("sub"));
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let (mut opened, mut looked) = (0, 0);
    while_swapped(
        || {
            let other = &others[turn.fetch_add(1, Ordering::Relaxed) % 4];
            for name in [&x, &y, &sub] {
                exchange(name, other);
                exchange(name, other);
            }
        },
        || {
            looked += lanes.list(crate::ingest::names::Root::Incoming, None).unwrap().len();
            lanes.look(&place("x.bin")).unwrap();
            lanes.writer(&place("x.bin"));
            lanes.writer_taken(item(1), &folder);
            drop_all(lanes.files(item(1), &folder));
            for path in ["y.bin", "sub/secret.bin"] {
                if let Ok(mut file) = lanes.open_file(item(1), &folder, Path::new(path)) {
                    let mut text = String::new();
                    file.file.read_to_string(&mut text).unwrap();
                    assert_eq!(text, "good", "{path} led outside");
                    opened += 1;
                }
            }
        },
    );
    println!("{looked} looks, {opened} files read");
    assert!(opened > 0 && looked > 0, "something was seen");
}

/// Of two files that change places, the one that was decided upon is taken, or none; none is lost.
#[test]
fn the_file_that_was_seen_is_taken_or_none() {
    let (drop, lanes) = Drop::new();
    drop.write("incoming/a.bin", "one");
    drop.write("other.bin", "other");
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (a, other) = (drop.path("incoming/a.bin"), drop.path("other.bin"));
    let both = BTreeSet::from([inode(&a), inode(&other)]);
    let (mut taken, mut changed) = (0, 0);
    let number = std::cell::Cell::new(0);
    while_swapped(
        || drop_all(renameat_with(CWD, &a, CWD, &other, RenameFlags::EXCHANGE)),
        || {
            number.set(number.get() + 1);
            let id = item(number.get());
            let Some(look) = lanes.look(&place("a.bin")).unwrap() else { return };
            match lanes.take(id, &place("a.bin"), &look, &[]) {
                Ok(()) => {
                    taken += 1;
                    let slot = drop.path(format!("processing/{id}"));
                    assert_eq!(inode(&slot.join("a.bin")), look.inode);
                    fs::rename(slot.join("a.bin"), &a).unwrap();
                    fs::remove_dir(slot).unwrap();
                }
                Err(TakeError::Changed) => changed += 1,
                Err(error) => panic!("{error:?}"),
            }
        },
    );
    println!("{taken} taken, {changed} changed");
    let left: BTreeSet<u64> = drop.all("").iter().map(|name| inode(&drop.path(name))).collect();
    assert_eq!(left, both, "none is lost, none is doubled");
    assert_eq!(drop.all("processing").len(), 0);
    assert!(taken + changed > 0);
}

/// Lanes that somebody else made are refused: whoever made them could change what lies there.
#[test]
fn a_lane_of_another_is_refused() {
    if !geteuid().is_root() {
        return println!("only root can give a folder away: nothing to see");
    }
    for lane in ["processing", "done", "rejected"] {
        let (drop, lanes) = Drop::new();
        std::mem::drop(lanes);
        std::os::unix::fs::chown(drop.path(lane), Some(4301), None).unwrap();
        let error = Lanes::open(drop.dir.path()).err().unwrap();
        assert!(error.to_string().contains(lane) && error.to_string().contains("4301"), "{error}");
    }
}

/// What somebody writes to a file after it was taken is in no version: the file is kept, whatever is said of others.
#[test]
fn a_file_that_is_written_after_the_take_is_kept() {
    let (drop, lanes) = Drop::new();
    let path = drop.write("incoming/a.bin", "half");
    let mut late = fs::OpenOptions::new().append(true).open(path).unwrap();
    drop.write("incoming/b.bin", "whole");
    // The times of files have the step of the kernel's clock.
    std::thread::sleep(Duration::from_millis(20));
    for (number, name) in [(1, "a.bin"), (2, "b.bin")] {
        lanes.take(item(number), &place(name), &seen(&lanes, &place(name)), &[]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    std::io::Write::write_all(&mut late, b" and the rest").unwrap();
    for (number, name) in [(1, "a.bin"), (2, "b.bin")] {
        lanes.finish(item(number), &place(name), &document(item(number)), DATE, false).unwrap();
    }
    let lies = |name: &str| fs::read_to_string(drop.path(format!("done/{DATE}/{name}"))).ok();
    assert_eq!(lies("a.bin").as_deref(), Some("half and the rest"));
    assert_eq!(lies("b.bin"), None);
}

/// What was taken along is found again after a restart, whatever the case of its ending; what only lies there is not.
#[test]
fn what_was_taken_along_is_found_in_any_case() {
    let (drop, lanes) = Drop::new();
    for name in ["a.bin", "a.bin.Sha256", "a.bin.MREG.json"] {
        drop.write(Path::new("incoming").join(name), "x");
    }
    let beside: Vec<OsString> = vec!["a.bin.MREG.json".into(), "a.bin.Sha256".into()];
    lanes.take(item(1), &place("a.bin"), &seen(&lanes, &place("a.bin")), &beside).unwrap();
    let slot = drop.path("processing").join(item(1).to_string());
    fs::write(slot.join("b.bin.sha256"), "x").unwrap();
    assert_eq!(lanes.taken_along(item(1), &place("a.bin")).unwrap(), beside);
}
