//! Tests of the drop folder on disk: what is seen, taken, ended, and what a crash at each step leaves.

mod hostile;
mod sequence;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::name::ItemId;
use tempfile::TempDir;

use super::{FILES_MAX, Kind, Lanes, Seen, TakeError, Tree, lease};
use crate::ingest::names::{Place, Root};
use crate::ingest::settle::Writer;

thread_local! {
    /// How many steps are left until the cut; none: no cut.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What a cut unwinds with.
struct Cut;

/// A step of a sequence: ends it where a test wants it cut, without a line of what would follow.
pub(super) fn step() {
    match LEFT.get() {
        Some(0) => {
            LEFT.set(None);
            resume_unwind(Box::new(Cut))
        }
        Some(left) => LEFT.set(Some(left - 1)),
        None => {}
    }
}

/// Runs something and cuts it after so many steps more than one; none: it came to its end before.
fn cut_after<T>(steps: usize, run: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(Some(steps));
    let ran = catch_unwind(AssertUnwindSafe(run));
    LEFT.set(None);
    match ran {
        Ok(done) => Some(done),
        Err(why) if why.is::<Cut>() => None,
        Err(why) => resume_unwind(why),
    }
}

/// A drop folder of its own.
struct Drop {
    dir: TempDir,
}

impl Drop {
    fn new() -> (Self, Lanes) {
        let dir = tempfile::tempdir().unwrap();
        let lanes = Lanes::open(dir.path()).unwrap();
        (Self { dir }, lanes)
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write(&self, below: impl AsRef<Path>, octets: &str) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, octets).unwrap();
        path
    }

    /// All files and links below a lane, by path.
    fn all(&self, below: &str) -> Vec<String> {
        fn walk(dir: &Path, top: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), top, found);
                } else {
                    found.push(entry.path().strip_prefix(top).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(below), &self.path(below), &mut found);
        found.sort();
        found
    }
}

fn item(number: u128) -> ItemId {
    ItemId::from_u128(0x0190_0000_0000_0000_0000_0000_0000_0000 | number)
}

fn place(name: impl AsRef<OsStr>) -> Place {
    Place { root: Root::Incoming, namespace: None, name: name.as_ref().to_owned() }
}

fn in_namespace(namespace: &str, name: &str) -> Place {
    Place { namespace: Some(namespace.to_owned()), ..place(name) }
}

fn seen(lanes: &Lanes, place: &Place) -> Seen {
    lanes.look(place).unwrap().unwrap()
}

fn tree(lanes: &Lanes, place: &Place) -> Tree {
    seen(lanes, place).tree.unwrap()
}

fn document(item: ItemId) -> Vec<u8> {
    format!(r#"{{"item":"{item}","path":"x"}}"#).into_bytes()
}

fn run(command: &str, arguments: &[&str]) {
    assert!(Command::new(command).args(arguments).status().unwrap().success(), "{command} {arguments:?}");
}

/// The lanes are made with the modes that let a group drop and nobody else in; a second daemon is told that there is one.
#[test]
fn lanes_are_made_and_locked() {
    let (drop, lanes) = Drop::new();
    let mode = |name: &str| fs::metadata(drop.path(name)).unwrap().mode() & 0o7777;
    assert_eq!(["incoming", "processing", "done", "rejected"].map(mode), [0o3770, 0o700, 0o2750, 0o2750]);
    let second = Lanes::open(drop.dir.path()).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock, "{second}");
    assert!(second.to_string().contains("another daemon"), "{second}");
    std::mem::drop(lanes);
    fs::set_permissions(drop.path("processing"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(drop.path("done"), fs::Permissions::from_mode(0o700)).unwrap();
    let lanes = Lanes::open(drop.dir.path()).unwrap();
    assert_eq!(["processing", "done"].map(mode), [0o700, 0o700], "what is there stays, but for processing/");
    assert!(lanes.free_bytes().unwrap() > 0 && !lanes.is_remote());
}

/// A folder that is made is made with its mode; one that has vanished is noticed and not made again.
#[test]
fn a_folder_that_vanishes_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drop");
    let lanes = Lanes::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o3770);
    lanes.check().unwrap();
    fs::rename(&path, dir.path().join("away")).unwrap();
    assert_eq!(lanes.check().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(Lanes::open_again(&path).is_err() && !path.exists());
    fs::create_dir(&path).unwrap();
    assert_eq!(lanes.check().unwrap_err().kind(), io::ErrorKind::NotFound, "an empty folder in its place");
    assert!(Lanes::open_again(&path).is_err());
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing is made in it");
    fs::remove_dir(&path).unwrap();
    fs::rename(dir.path().join("away"), &path).unwrap();
    lanes.check().unwrap();
    drop(lanes);
    Lanes::open_again(&path).unwrap();
}

/// A lane that is a link leads nowhere.
#[test]
fn a_lane_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", dir.path().join("done")).unwrap();
    let error = Lanes::open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("/done"), "{error}");
}

/// A list has items of every kind, and neither lanes nor what nobody means.
#[test]
fn a_list_shows_what_lies_there() {
    let (drop, lanes) = Drop::new();
    drop.write("a.bin", "four");
    drop.write(".nfs00000001", "");
    drop.write("incoming/done", "a lane's name, but not at the top");
    drop.write("incoming/.part.x1", "");
    drop.write("incoming/ns/.mreg-namespace", "");
    drop.write("incoming/ns/b.bin", "12");
    let names = |root, namespace| {
        let mut names: Vec<_> = lanes.list(root, namespace).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(Root::Top, None), ["a.bin"]);
    assert_eq!(names(Root::Incoming, None), [".part.x1", "done", "ns"]);
    assert_eq!(names(Root::Incoming, Some("ns")), [".mreg-namespace", "b.bin"]);
    assert_eq!(names(Root::Incoming, None).len(), 3, "a second list begins at the beginning");
    let look = seen(&lanes, &in_namespace("ns", "b.bin"));
    let meta = fs::metadata(drop.path("incoming/ns/b.bin")).unwrap();
    assert_eq!((look.kind, look.size, look.links), (Kind::File, 2, 1));
    assert_eq!((look.device, look.inode, look.owner_uid), (meta.dev(), meta.ino(), meta.uid()));
    let ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    assert_eq!(look.modified_ns, ns);
    assert!(lanes.look(&place("none")).unwrap().is_none() && lanes.look(&in_namespace("no", "x")).unwrap().is_none());
    assert_eq!(lanes.list(Root::Incoming, Some("no")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// Nothing that names a lane, a way out, or no name at all is an item.
#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (drop, lanes) = Drop::new();
    drop.write("processing/x/y", "");
    let top = |name: &str| Place { root: Root::Top, ..place(name) };
    for bad in [
        top("processing"),
        top("done"),
        top(".."),
        top(""),
        top("a/b"),
        place("."),
        place("x\0y"),
        in_namespace("..", "x"),
    ] {
        assert_eq!(lanes.look(&bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        let some = seen_of_nothing();
        assert!(matches!(lanes.take(item(1), &bad, &some, &[]), Err(TakeError::Io(_))), "{bad:?}");
    }
    let lane = Place { root: Root::Top, namespace: Some("processing".to_owned()), name: "x".into() };
    assert!(lanes.look(&lane).is_err() && lanes.list(Root::Top, Some("rejected")).is_err());
    assert_eq!(lanes.look(&place("x".repeat(300))).unwrap(), None);
}

fn seen_of_nothing() -> Seen {
    Seen {
        kind: Kind::File,
        device: 0,
        inode: 0,
        links: 1,
        owner_uid: 0,
        size: 0,
        modified_ns: 0,
        changed_ns: 0,
        tree: None,
    }
}

/// 10 000 files are listed whole.
#[test]
fn ten_thousand_are_listed() {
    let (drop, lanes) = Drop::new();
    for number in 0..10_000 {
        fs::write(drop.path(format!("incoming/file-{number:05}.bin")), b"x").unwrap();
    }
    let begun = Instant::now();
    let mut entries = lanes.list(Root::Incoming, None).unwrap();
    println!("10 000 entries in {:?}", begun.elapsed());
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries.dedup_by(|one, other| one.name == other.name);
    assert_eq!(entries.len(), 10_000);
    assert!(entries.iter().all(|entry| entry.seen.kind == Kind::File && entry.seen.size == 1));
}

/// A folder tells its files and octets, its markers, what is unfinished in it, and changes with all that is in it.
#[test]
fn a_tree_tells_what_is_in_a_folder() {
    let (drop, lanes) = Drop::new();
    let model = place("model");
    drop.write("incoming/model/a.bin", "123");
    drop.write("incoming/model/sub/b.bin", "4567");
    drop.write("incoming/model/sub/.DS_Store", "nothing to anybody");
    let first = seen(&lanes, &model);
    assert_eq!((first.kind, first.size), (Kind::Folder, 7));
    assert_eq!(first, seen(&lanes, &model), "nothing has changed");
    let told = first.tree.clone().unwrap();
    assert_eq!((told.files, told.marked, told.namespace, told.unfinished, told.hostile), (2, false, false, None, None));

    drop.write("incoming/model/sub/_SUCCESS", "");
    assert!(!tree(&lanes, &model).marked, "a marker counts in the folder itself");
    drop.write("incoming/model/.mreg-complete", "");
    let marked = tree(&lanes, &model);
    assert!(marked.marked && marked.files == 2 && marked.print != told.print, "{marked:?}");
    drop.write("incoming/model/sub/c.bin.part", "");
    assert_eq!(tree(&lanes, &model).unfinished.as_deref(), Some("sub/c.bin.part"));
    fs::rename(drop.path("incoming/model/sub/c.bin.part"), drop.path("incoming/model/sub/c.bin")).unwrap();
    let whole = tree(&lanes, &model);
    assert_eq!((whole.files, whole.unfinished), (3, None));
}

/// The document of a refused item is replaced whole, by one of the same item; where there is none, nothing is made.
#[test]
fn a_document_is_amended() {
    let (drop, lanes) = Drop::new();
    drop.write("incoming/a.bin", "1");
    let (item, place) = (ItemId::from_u128(1), place("a.bin"));
    lanes.take(item, &place, &seen(&lanes, &place), &[]).unwrap();
    let lies = lanes.reject(item, &place, &document(item), "2026-11-29").unwrap();
    let new = format!(r#"{{"item":"{item}","path":"x","given_up":true}}"#).into_bytes();
    lanes.amend(item, &place, &lies, |old| (old == document(item)).then(|| new.clone())).unwrap();
    assert_eq!(lanes.rejected(9).unwrap(), [(lies.clone(), new)]);
    let foreign = lanes.amend(item, &place, &lies, |_| Some(document(ItemId::from_u128(2)))).unwrap_err();
    assert_eq!(foreign.kind(), io::ErrorKind::InvalidInput);
    lanes.amend(ItemId::from_u128(2), &place, &lies, |_| panic!("it has no document")).unwrap();
    let astray = lanes.amend(item, &place, Path::new("done/2026-11-29/a.bin"), |_| None).unwrap_err();
    assert_eq!(astray.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fs::read_dir(drop.path("rejected/2026-11-29")).unwrap().count(), 2);
}

/// rsync sets a folder's times before it fills those in it: it is sealed when all of them have had theirs set, each after its
/// files; not while one is being filled, or is still empty.
#[test]
fn a_folder_is_sealed_when_all_in_it_are() {
    let (drop, lanes) = Drop::new();
    let set = |path: &str| {
        // The times of files have the step of the kernel's clock.
        std::thread::sleep(Duration::from_millis(20));
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::open(drop.path(path)).unwrap().set_modified(long_ago).unwrap();
    };
    drop.write("incoming/top/a.bin", "1");
    fs::create_dir_all(drop.path("incoming/top/sub")).unwrap();
    set("incoming/top/sub");
    set("incoming/top");
    fs::remove_dir(drop.path("incoming/top/sub")).unwrap();
    fs::create_dir(drop.path("incoming/top/sub")).unwrap();
    set("incoming/top");
    set("incoming/top/sub");
    assert!(!tree(&lanes, &place("top")).sealed, "a folder in it is still to be filled");
    drop.write("incoming/top/sub/b.bin", "2");
    assert!(!tree(&lanes, &place("top")).sealed, "a folder in it is being filled");
    set("incoming/top/sub");
    assert!(tree(&lanes, &place("top")).sealed, "all have had their times set");
    std::thread::sleep(Duration::from_millis(20));
    drop.write("incoming/top/a.bin", "changed in place");
    assert!(!tree(&lanes, &place("top")).sealed, "a file is younger than its folder");
}

/// A folder is sealed when its times were set after all in it was written; not while it is filled, nor by a change of mode.
#[test]
fn a_folder_is_sealed_by_what_comes_last() {
    let (drop, lanes) = Drop::new();
    fs::create_dir(drop.path("incoming/empty")).unwrap();
    assert!(!tree(&lanes, &place("empty")).sealed);
    fs::create_dir_all(drop.path("incoming/nested/deeper")).unwrap();
    let nested = tree(&lanes, &place("nested"));
    assert_eq!((nested.files, nested.folders), (0, 1));
    drop.write("filled/a.bin", "123");
    drop.write("incoming/filled/sub/a.bin", "123");
    assert!(!tree(&lanes, &place("filled")).sealed, "a folder that is being filled");
    // The times of files have the step of the kernel's clock.
    let wait = || std::thread::sleep(Duration::from_millis(20));
    wait();
    fs::rename(drop.path("filled"), drop.path("incoming/moved")).unwrap();
    assert!(!tree(&lanes, &place("moved")).sealed, "a rename alone leaves nothing that a change of mode would not");
    let [from, to] = [drop.path("incoming/moved"), drop.path("incoming/copied")];
    run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    assert!(tree(&lanes, &place("copied")).sealed, "cp -a sets the times last");
    wait();
    drop.write("incoming/copied/late.bin", "1");
    assert!(!tree(&lanes, &place("copied")).sealed, "filled again");
    fs::create_dir(drop.path("incoming/opened")).unwrap();
    drop.write("incoming/opened/first.bin", "1");
    wait();
    run("chmod", &["-R", "g+w", drop.path("incoming/opened").to_str().unwrap()]);
    assert!(!tree(&lanes, &place("opened")).sealed, "a change of mode says nothing");
}

/// A namespace is one by its marker, is not walked, and only where it can be one.
#[test]
fn namespaces_are_marked_and_not_walked() {
    let (drop, lanes) = Drop::new();
    lanes.make_namespace("bert").unwrap();
    lanes.make_namespace("bert").unwrap();
    assert_eq!(fs::metadata(drop.path("incoming/bert")).unwrap().mode() & 0o7777, 0o3770);
    for number in 0..=FILES_MAX {
        fs::write(drop.path(format!("incoming/bert/{number}")), b"").unwrap();
    }
    let told = tree(&lanes, &place("bert"));
    assert_eq!((told.namespace, told.files, told.hostile), (true, 0, None));
    assert_eq!(lanes.list(Root::Incoming, Some("bert")).unwrap().len() as u64, FILES_MAX + 2);

    fs::create_dir(drop.path("incoming/new")).unwrap();
    lanes.mark_namespace(&place("new")).unwrap();
    assert!(tree(&lanes, &place("new")).namespace);
    drop.write("incoming/full/x", "");
    assert_eq!(lanes.mark_namespace(&place("full")).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    fs::create_dir(drop.path("incoming/Ä b")).unwrap();
    assert_eq!(lanes.mark_namespace(&place("Ä b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert!(lanes.make_namespace("..").is_err() && lanes.make_namespace("a/b").is_err());
    drop.write("incoming/Ä b/.mreg-namespace", "");
    assert!(tree(&lanes, &place("Ä b")).hostile.unwrap().contains("can't be a namespace"));
    drop.write("incoming/shouted/.MREG-Namespace", "");
    assert!(tree(&lanes, &place("shouted")).namespace, "a file system may have changed its case");
    drop.write("incoming/bert/deep/.mreg-namespace", "");
    let deep = tree(&lanes, &in_namespace("bert", "deep"));
    assert!(deep.hostile.unwrap().contains("no deeper ones"));
}

/// A process that holds a file of ours.
struct Holder(Child);

impl Holder {
    /// Runs it and waits until it says so.
    fn start(program: &str, arguments: &[&str]) -> Option<Self> {
        use std::io::BufRead as _;
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Some(Self(child))
    }

    /// Lets it go.
    fn end(mut self) {
        std::mem::drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A lease tells another process that writes, or has it mapped writable, from one that reads; of a folder, in any file; and
/// somebody who opens a leased file meanwhile doesn't end this process.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_tells_a_writer() {
    let (drop, lanes) = Drop::new();
    lease::ignore_breaks().unwrap();
    let path = drop.write("incoming/f.bin", "0123456789");
    let inside = drop.write("incoming/folder/sub/g.bin", "0123456789");
    let (file, folder) = (place("f.bin"), place("folder"));
    if lanes.writer(&file) == Writer::Unknown {
        println!("this file system has no leases: nothing to see");
        return;
    }
    assert_eq!([lanes.writer(&file), lanes.writer(&folder)], [Writer::None, Writer::None]);
    let shell = |script: &str, path: &Path| Holder::start("sh", &["-c", script, "sh", path.to_str().unwrap()]).unwrap();
    let appends = shell("exec 3>>\"$1\"; echo held; read _ || :", &path);
    assert_eq!([lanes.writer(&file), lanes.writer(&folder)], [Writer::Some, Writer::None]);
    appends.end();
    assert_eq!(lanes.writer(&file), Writer::None);
    let reads = shell("exec 3<\"$1\"; echo held; read _ || :", &path);
    assert_eq!(lanes.writer(&file), Writer::None, "who reads does no harm");
    reads.end();
    let appends = shell("exec 3>>\"$1\"; echo held; read _ || :", &inside);
    assert_eq!(lanes.writer(&folder), Writer::Some);
    appends.end();
    let script = "import mmap,sys,os\nf=os.open(sys.argv[1],os.O_RDWR)\nm=mmap.mmap(f,0)\nos.close(f)\nprint('held',flush=True)\nsys.stdin.read()";
    if let Some(maps) = Holder::start("python3", &["-c", script, path.to_str().unwrap()]) {
        assert_eq!(lanes.writer(&file), Writer::Some, "mapped writable, its descriptor closed");
        maps.end();
    }
    assert_eq!(lanes.writer(&file), Writer::None);
    // Somebody opens it again and again while leases are taken and broken.
    let opens =
        shell("echo held; for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7 8 9; do : >>\"$1\"; done; done", &path);
    let mut child = opens.0;
    while child.try_wait().unwrap().is_none() {
        lanes.writer(&file);
    }
    assert_eq!(lanes.writer(&file), Writer::None);
    assert_eq!(lanes.writer(&place("none")), Writer::Unknown);
}
