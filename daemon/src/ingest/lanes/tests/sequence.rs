//! Sequences cut after every step, as by kill -9, and done again: in the end each item is in one place, whole, with one document.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use common::name::ItemId;

use super::{Drop, cut_after, document, in_namespace, item, place, seen};
use crate::ingest::lanes::{Lanes, TakeError};
use crate::ingest::names::{Place, Root};

const DATE: &str = "2026-11-29";
/// More steps than any sequence here has.
const STEPS_MAX: usize = 200;

/// Items of every shape: a file, a file at the top, one in a namespace, a folder, a folder in a namespace. With two sidecars.
fn shapes() -> Vec<Place> {
    vec![
        place("a.bin"),
        Place { root: Root::Top, ..place("a.bin") },
        in_namespace("team", "a.bin"),
        place("folder"),
        in_namespace("team", "folder"),
        Place { root: Root::Top, ..in_namespace("team", "folder") },
    ]
}

fn sidecars(place: &Place) -> [OsString; 2] {
    ["mreg.json", "sha256"].map(|suffix| format!("{}.{suffix}", place.name.to_str().unwrap()).into())
}

/// Where a place is below the drop folder.
fn path(place: &Place) -> PathBuf {
    let root = if place.root == Root::Top { "" } else { "incoming" };
    Path::new(root).join(place.namespace.as_deref().unwrap_or("")).join(&place.name)
}

/// A drop folder with an item in it.
fn dropped(place: &Place) -> (Drop, Lanes) {
    let (drop, lanes) = Drop::new();
    if place.name == "folder" {
        drop.write(path(place).join("one.bin"), "payload");
        drop.write(path(place).join("sub/two.bin"), "payload");
    } else {
        drop.write(path(place), "payload");
    }
    for sidecar in sidecars(place) {
        drop.write(path(&place.beside(sidecar)), "beside");
    }
    (drop, lanes)
}

/// The same, taken.
fn taken(place: &Place) -> (Drop, Lanes) {
    let (drop, lanes) = dropped(place);
    // What is in the folder is older than its slot by more than the kernel's clock's step.
    std::thread::sleep(std::time::Duration::from_millis(20));
    lanes.take(item(1), place, &seen(&lanes, place), &sidecars(place)).unwrap();
    lanes.sync_taken().unwrap();
    (drop, lanes)
}

/// How a place's files are called where an item lies as `base`.
fn files(base: &str, place: &Place) -> Vec<String> {
    let mut files = if place.name == "folder" {
        vec![format!("{base}/one.bin"), format!("{base}/sub/two.bin")]
    } else {
        vec![base.to_owned()]
    };
    files.extend([format!("{base}.mreg.json"), format!("{base}.sha256")]);
    files
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// The files in the lane of a day, markers of namespaces left out.
fn lies(drop: &Drop, lane: &str, place: &Place) -> Vec<String> {
    let below = Path::new(lane).join(DATE).join(place.namespace.as_deref().unwrap_or(""));
    let mut all = drop.all(below.to_str().unwrap());
    all.retain(|name| name != ".mreg-namespace");
    all
}

fn reopen(drop: &Drop, lanes: Lanes) -> Lanes {
    std::mem::drop(lanes);
    Lanes::open(drop.dir.path()).unwrap()
}

/// Does something, cut after 0, 1, 2 … steps, each time from the start, and shows what is left after a restart.
fn cut_everywhere<T>(
    mut start: impl FnMut() -> (Drop, Lanes),
    mut run: impl FnMut(&Lanes) -> T,
    mut after: impl FnMut(&Drop, Lanes, Option<T>, usize),
) -> usize {
    for steps in 0..STEPS_MAX {
        let (drop, lanes) = start();
        let done = cut_after(steps, || run(&lanes));
        let last = done.is_some();
        after(&drop, reopen(&drop, lanes), done, steps);
        if last {
            return steps;
        }
    }
    panic!("it has no end");
}

/// A take that is cut anywhere leaves an item where it was, whole, or taken, whole; also if putting it back is cut.
#[test]
fn a_take_is_whole_or_not() {
    for place in shapes() {
        let whole = |drop: &Drop, lanes: &Lanes, done: bool| {
            let found = lanes.taken().unwrap();
            let all = sorted(files(path(&place).to_str().unwrap(), &place));
            let slots = drop.all("processing");
            let mut origin = drop.all("");
            origin.retain(|name| !name.starts_with("processing/"));
            if found.is_empty() {
                assert!(!done);
                assert_eq!((origin, slots.len()), (all, 0), "{place:?}");
                assert_eq!(fs::read_dir(drop.path("processing")).unwrap().count(), 0, "no empty slot is left");
            } else {
                assert_eq!(found, [(item(1), place.clone())]);
                assert_eq!((origin.len(), slots.len()), (0, all.len()), "{place:?}");
            }
        };
        let take = |lanes: &Lanes| lanes.take(item(1), &place, &seen(lanes, &place), &sidecars(&place)).unwrap();
        let steps = cut_everywhere(
            || dropped(&place),
            take,
            |drop, lanes, done, steps| {
                if done.is_none() {
                    // And the start after it, cut in turn.
                    cut_everywhere(
                        || {
                            let (drop, lanes) = dropped(&place);
                            assert!(cut_after(steps, || take(&lanes)).is_none());
                            let lanes = reopen(&drop, lanes);
                            (drop, lanes)
                        },
                        |lanes| lanes.taken().unwrap(),
                        |drop, lanes, _, _| whole(drop, &lanes, false),
                    );
                }
                whole(drop, &lanes, done.is_some());
            },
        );
        assert!(steps >= 4, "{steps} steps");
    }
}

/// What ended is there once, beside one document of its own, wherever the end was cut; with others of its name there before.
#[test]
fn an_end_that_is_cut_ends_when_repeated() {
    let other = item(7);
    for place in shapes() {
        for (lane, suffix) in [("done", ".receipt.json"), ("rejected", ".rejected.json")] {
            for others in [false, true] {
                let name = place.name.to_str().unwrap();
                let end = |lanes: &Lanes, item: ItemId, place: &Place| {
                    if lane == "done" {
                        lanes.finish(item, place, &document(item), DATE, true).unwrap()
                    } else {
                        lanes.reject(item, place, &document(item), DATE).unwrap()
                    }
                };
                let base = if others { format!("{}-{name}", item(1)) } else { name.to_owned() };
                let steps = cut_everywhere(
                    || {
                        let (drop, lanes) = taken(&place);
                        if others {
                            drop.write(path(&place), "another");
                            lanes.take(other, &place, &seen(&lanes, &place), &[]).unwrap();
                            end(&lanes, other, &place);
                        }
                        (drop, lanes)
                    },
                    |lanes| end(lanes, item(1), &place),
                    |drop, lanes, _, steps| {
                        lanes.taken().unwrap();
                        let path = end(&lanes, item(1), &place);
                        let mut expected = files(&base, &place);
                        expected.push(format!("{base}{suffix}"));
                        if others {
                            expected.extend([name.to_owned(), format!("{name}{suffix}")]);
                        }
                        assert_eq!(lies(drop, lane, &place), sorted(expected), "{place:?}, cut after {steps}");
                        assert!(drop.path(&path).ends_with(&base) && drop.path(&path).exists(), "{path:?}");
                        assert_eq!(
                            fs::read(drop.path(format!("{}{suffix}", path.display()))).unwrap(),
                            document(item(1))
                        );
                        assert_eq!(fs::read_dir(drop.path("processing")).unwrap().count(), 0);
                        assert_eq!(end(&lanes, item(1), &place), path, "once more says the same");
                    },
                );
                assert!(steps >= 6, "{steps} steps");
            }
        }
    }
}

/// What is not kept is gone in the end, but never before its receipt is there.
#[test]
fn what_is_not_kept_goes_after_its_receipt() {
    for place in shapes() {
        let receipt = format!("{}.receipt.json", place.name.to_str().unwrap());
        let end = |lanes: &Lanes| lanes.finish(item(1), &place, &document(item(1)), DATE, false).unwrap();
        let steps = cut_everywhere(
            || taken(&place),
            end,
            |drop, lanes, _, steps| {
                if drop.all("processing").len() < files("", &place).len() {
                    assert_eq!(lies(drop, "done", &place), [receipt.as_str()], "{place:?}, cut after {steps}");
                }
                lanes.taken().unwrap();
                let path = end(&lanes);
                assert!(path.ends_with(&receipt), "{path:?}");
                assert_eq!(lies(drop, "done", &place), [receipt.as_str()], "{place:?}, cut after {steps}");
                assert_eq!(fs::read_dir(drop.path("processing")).unwrap().count(), 0);
            },
        );
        assert!(steps >= 6, "{steps} steps");
    }
}

/// A refused item comes back whole, wherever the way back was cut, and its document goes.
#[test]
fn a_refused_item_comes_back() {
    for place in shapes() {
        let reject = |lanes: &Lanes| lanes.reject(item(1), &place, &document(item(1)), DATE).unwrap();
        let back = Path::new("rejected").join(DATE).join(place.namespace.as_deref().unwrap_or("")).join(&place.name);
        let steps = cut_everywhere(
            || {
                let (drop, lanes) = taken(&place);
                assert_eq!(reject(&lanes), back);
                let listed = lanes.rejected(10).unwrap();
                assert_eq!(listed, [(back.clone(), document(item(1)))]);
                assert!(lanes.rejected(0).unwrap().is_empty());
                (drop, lanes)
            },
            |lanes| lanes.readmit(item(1), &place, &back).unwrap(),
            |drop, lanes, _, steps| {
                let found = lanes.taken().unwrap();
                let whole = files("", &place).len();
                if found.is_empty() {
                    assert_eq!(lies(drop, "rejected", &place).len(), whole + 1, "{place:?}, cut after {steps}");
                } else {
                    assert_eq!(found, [(item(1), place.clone())]);
                }
                lanes.readmit(item(1), &place, &back).unwrap();
                assert_eq!(lies(drop, "rejected", &place), Vec::<String>::new(), "{place:?}, cut after {steps}");
                assert_eq!(drop.all("processing").len(), whole);
                assert!(
                    drop.all("incoming").iter().all(|name| name.ends_with(".mreg-namespace")),
                    "nothing went there"
                );
                assert_eq!(lanes.taken().unwrap(), [(item(1), place.clone())]);
                reject(&lanes);
            },
        );
        assert!(steps >= 4, "{steps} steps");
    }
}

/// Only what lies in `rejected/` comes back.
#[test]
fn nothing_comes_back_from_elsewhere() {
    let (drop, lanes) = Drop::new();
    drop.write("done/2026-11-29/x", "");
    for lies in ["done/2026-11-29/x", "rejected/../done/2026-11-29/x", "/etc/passwd", "rejected/x", ""] {
        let answer = lanes.readmit(item(1), &place("x"), Path::new(lies));
        assert!(matches!(answer, Err(TakeError::Refused(_))), "{lies}: {answer:?}");
    }
    let answer = lanes.readmit(item(1), &place("x"), Path::new("rejected/2026-11-29/x"));
    assert!(matches!(answer, Err(TakeError::Changed)), "{answer:?}");
}

/// Items of one name that end at once each get a name and a document of their own.
#[test]
fn ends_of_one_name_at_once_keep_apart() {
    const ITEMS: u128 = 16;
    let (drop, lanes) = Drop::new();
    let (lanes, place) = (&lanes, &place("a.bin"));
    for number in 0..ITEMS {
        drop.write("incoming/a.bin", &item(number).to_string());
        lanes.take(item(number), place, &seen(lanes, place), &[]).unwrap();
    }
    assert_eq!(lanes.taken().unwrap().len(), 16);
    std::thread::scope(|scope| {
        for number in 0..ITEMS {
            scope.spawn(move || lanes.finish(item(number), place, &document(item(number)), DATE, true).unwrap());
        }
    });
    assert_eq!(lies(&drop, "done", place).len(), 32);
    for number in 0..ITEMS {
        let path = drop.path(lanes.finish(item(number), place, &document(item(number)), DATE, true).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), item(number).to_string());
        let receipt = fs::read(format!("{}.receipt.json", path.display())).unwrap();
        assert_eq!(receipt, document(item(number)));
    }
}

/// A folder that ended with a namespace's name is not taken for the namespace, and one that has the name of the other lane's
/// receipt keeps apart, too.
#[test]
fn a_namespace_keeps_apart_from_a_folder_of_its_name() {
    let (drop, lanes) = Drop::new();
    let folder = place("team");
    drop.write("incoming/team/x.bin", "1");
    lanes.take(item(1), &folder, &seen(&lanes, &folder), &[]).unwrap();
    lanes.finish(item(1), &folder, &document(item(1)), DATE, true).unwrap();
    let inside = in_namespace("team", "a.bin");
    for number in [2, 3] {
        drop.write("incoming/team/a.bin", "2");
        lanes.take(item(number), &inside, &seen(&lanes, &inside), &[]).unwrap();
        let path = lanes.finish(item(number), &inside, &document(item(number)), DATE, true).unwrap();
        assert_eq!(path, Path::new("done").join(DATE).join(format!("{}-team/a.bin", item(number))));
    }
    assert_eq!(drop.all("done/2026-11-29/team"), ["x.bin"]);
}

/// A document that is not of the item, or a date that is none, is an error before anything is touched.
#[test]
fn a_document_is_of_its_item() {
    let (drop, lanes) = taken(&place("a.bin"));
    for (document, date) in [
        (document(item(2)), DATE),
        (b"{}".to_vec(), DATE),
        (document(item(1)), "../../etc"),
        (document(item(1)), "today"),
    ] {
        let error = lanes.finish(item(1), &place("a.bin"), &document, date, true).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!((drop.all("done").len(), drop.all("processing").len()), (0, 3));
}

/// A receipt has its mode and its group from the lane, whatever the item's.
#[test]
fn modes_of_what_ended() {
    use std::os::unix::fs::MetadataExt as _;
    let (drop, lanes) = taken(&place("a.bin"));
    lanes.finish(item(1), &place("a.bin"), &document(item(1)), DATE, true).unwrap();
    let mode = |path: &str| fs::metadata(drop.path(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("done/2026-11-29"), 0o2750);
    assert_eq!(mode("done/2026-11-29/a.bin.receipt.json"), 0o640);
}

/// What a process with the folder open puts into it after it was taken is kept, though the folder would go.
#[test]
fn what_was_not_committed_is_kept() {
    let folder = place("folder");
    let (drop, lanes) = taken(&folder);
    std::thread::sleep(std::time::Duration::from_millis(20));
    drop.write(format!("processing/{}/folder/sub/late.bin", item(1)), "late");
    let path = lanes.finish(item(1), &folder, &document(item(1)), DATE, false).unwrap();
    assert_eq!(path, Path::new("done/2026-11-29/folder"));
    assert!(drop.path(&path).join("sub/late.bin").exists());
}

/// What lies in `processing/` and is not the daemon's is left alone.
#[test]
fn foreign_things_in_processing_stay() {
    let (drop, lanes) = taken(&place("a.bin"));
    drop.write("processing/notes.txt", "x");
    drop.write("processing/folder/x", "x");
    drop.write(format!("processing/{}+../x", item(3)), "x");
    assert_eq!(lanes.taken().unwrap(), [(item(1), place("a.bin"))]);
    assert_eq!(drop.all("processing").len(), 6);
}

/// A sidecar that is refused for want of its file is an item like others, after a restart, too.
#[test]
fn a_sidecar_alone_is_an_item() {
    let (drop, lanes) = Drop::new();
    let alone = place("gone.bin.mreg.json");
    drop.write("incoming/gone.bin.mreg.json", "{}");
    lanes.take(item(1), &alone, &seen(&lanes, &alone), &[]).unwrap();
    let lanes = reopen(&drop, lanes);
    assert_eq!(lanes.taken().unwrap(), [(item(1), alone.clone())]);
    let path = lanes.reject(item(1), &alone, &document(item(1)), DATE).unwrap();
    assert_eq!(path, Path::new("rejected/2026-11-29/gone.bin.mreg.json"));
    lanes.readmit(item(1), &alone, &path).unwrap();
    assert_eq!(lanes.taken().unwrap(), [(item(1), alone)]);
}

/// An item that is no longer what was decided upon stays where it is, with its sidecars.
#[test]
fn what_has_changed_is_not_taken() {
    for place in shapes() {
        let (drop, lanes) = dropped(&place);
        let before = seen(&lanes, &place);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let inside = if place.name == "folder" { path(&place).join("sub/two.bin") } else { path(&place) };
        drop.write(inside, "PAYLOAD");
        let all = drop.all("");
        assert!(matches!(lanes.take(item(1), &place, &before, &sidecars(&place)), Err(TakeError::Changed)));
        assert_eq!(drop.all(""), all);
        let gone = vec![OsString::from("gone.sha256")];
        assert!(matches!(lanes.take(item(1), &place, &seen(&lanes, &place), &gone), Err(TakeError::Changed)));
        assert_eq!(drop.all(""), all);
        assert_eq!(fs::read_dir(drop.path("processing")).unwrap().count(), 0);
        lanes.sync_taken().unwrap();
    }
}

/// The document of what can't be moved has a name like any other's; one of the same item is replaced wherever writing it was
/// cut, and it goes when the item was moved after all.
#[test]
fn a_document_without_its_item() {
    for steps in 0.. {
        let (drop, lanes) = Drop::new();
        drop.write("incoming/x.bin", "1");
        let other = lanes.note(item(1), &place("x.bin"), &document(item(1)), DATE).unwrap();
        assert_eq!(other, Path::new("rejected").join(DATE).join("x.bin"));
        let whole = cut_after(steps, || lanes.note(item(2), &place("x.bin"), &document(item(2)), DATE)).is_some();
        for _ in 0..2 {
            let noted = lanes.note(item(2), &place("x.bin"), &document(item(2)), DATE).unwrap();
            assert_eq!(noted, Path::new("rejected").join(DATE).join(format!("{}-x.bin", item(2))));
            assert_eq!(lanes.rejected(9).unwrap().len(), 2);
            assert_eq!(fs::read_dir(drop.path("rejected").join(DATE)).unwrap().count(), 2);
        }
        lanes.withdraw(item(2), &place("x.bin"), &other).unwrap();
        lanes.withdraw(item(2), &place("x.bin"), &other).unwrap();
        assert_eq!(lanes.rejected(9).unwrap(), [(other, document(item(1)))]);
        assert_eq!(fs::read_to_string(drop.path("incoming/x.bin")).unwrap(), "1");
        if whole {
            return;
        }
    }
}
