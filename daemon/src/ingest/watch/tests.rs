//! The kernel's hints, with real folders: what is told, and what is done when too much happens.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, Flag, ModifyKind, RemoveKind, RenameMode};
use notify::{Error, ErrorKind, Event, EventHandler, EventKind};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{Handler, Hinted, Hints, Watch, lock, said};

/// How long a test waits for the kernel and notify's thread on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A handler without a kernel.
fn handler(names_max: usize, folders: &[&str]) -> Handler {
    let folders = folders.iter().map(PathBuf::from).collect();
    let hinted = Hinted { hints: Hints::default(), folders, names_max };
    Handler { hinted: Arc::new(Mutex::new(hinted)), woken: Arc::new(Notify::new()) }
}

fn event(kind: EventKind, paths: &[&str]) -> Event {
    paths.iter().fold(Event::new(kind), |event, path| event.add_path(PathBuf::from(path)))
}

fn renamed(mode: RenameMode, paths: &[&str]) -> Event {
    event(EventKind::Modify(ModifyKind::Name(mode)), paths)
}

fn hint(folder: impl AsRef<Path>, name: &str) -> (PathBuf, OsString) {
    (folder.as_ref().to_owned(), name.into())
}

impl Handler {
    fn hints(&self) -> Hints {
        std::mem::take(&mut lock(&self.hinted).hints)
    }

    /// Whether a wake-up is pending; it is taken.
    fn is_woken(&self) -> bool {
        let woken = std::pin::pin!(self.woken.notified());
        woken.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }
}

/// Gathers hints until they are enough.
fn gather(watch: &Watch, is_enough: impl Fn(&Hints) -> bool) -> Hints {
    let (began, mut all) = (Instant::now(), Hints::default());
    loop {
        let Hints { names, moved_in, walk, overflows } = watch.take();
        all.names.extend(names);
        all.moved_in.extend(moved_in);
        (all.walk, all.overflows) = (all.walk || walk, overflows);
        if is_enough(&all) {
            return all;
        }
        assert!(began.elapsed() < DEADLINE, "not in time: {all:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Our own looks open things: nothing comes of it. Everything else is a name to look at, once.
#[test]
fn names_are_hinted_once() {
    let mut handler = handler(10, &["/d/incoming"]);
    for ours in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read] {
        handler.handle_event(Ok(event(EventKind::Access(ours), &["/d/incoming/a"])));
    }
    assert!(!handler.is_woken());
    assert_eq!(handler.hints(), Hints::default());
    for kind in [
        EventKind::Create(CreateKind::File),
        EventKind::Modify(ModifyKind::Any),
        EventKind::Access(AccessKind::Close(AccessMode::Write)),
        EventKind::Remove(RemoveKind::File),
    ] {
        handler.handle_event(Ok(event(kind, &["/d/incoming/a"])));
    }
    assert!(handler.is_woken());
    assert!(!handler.is_woken(), "one wake-up, however many events");
    let names = BTreeSet::from([hint("/d/incoming", "a")]);
    assert_eq!(handler.hints(), Hints { names, ..Hints::default() });
    handler.handle_event(Ok(event(EventKind::Modify(ModifyKind::Any), &["/d/incoming/a"])));
    assert!(handler.is_woken(), "after they were taken, the next one");
}

/// What was moved in is known as such until it goes, or another takes its name.
#[test]
fn what_is_moved_in_is_told() {
    let mut handler = handler(10, &[]);
    handler.handle_event(Ok(renamed(RenameMode::From, &["/d/.a.tmp"])));
    handler.handle_event(Ok(renamed(RenameMode::To, &["/d/a"])));
    handler.handle_event(Ok(renamed(RenameMode::Both, &["/d/.a.tmp", "/d/a"])));
    handler.handle_event(Ok(renamed(RenameMode::To, &["/d/b"])));
    let hints = handler.hints();
    assert_eq!(hints.names, BTreeSet::from([hint("/d", ".a.tmp"), hint("/d", "a"), hint("/d", "b")]));
    assert_eq!(hints.moved_in, BTreeSet::from([hint("/d", "a"), hint("/d", "b")]));
    for after in [
        event(EventKind::Remove(RemoveKind::Folder), &["/d/b"]),
        event(EventKind::Create(CreateKind::Folder), &["/d/b"]),
        renamed(RenameMode::From, &["/d/b"]),
        renamed(RenameMode::Both, &["/d/b", "/d/c"]),
    ] {
        handler.handle_event(Ok(renamed(RenameMode::To, &["/d/b"])));
        handler.handle_event(Ok(after));
        assert!(!handler.hints().moved_in.contains(&hint("/d", "b")));
    }
}

/// Lost events make a walk, are counted, and nothing is known to be moved in any more; counts outlive what is taken.
#[test]
fn lost_events_make_a_walk() {
    let watch = Watch::new().unwrap();
    let mut handler = Handler { hinted: Arc::clone(&watch.hinted), woken: Arc::clone(&watch.woken) };
    handler.handle_event(Ok(renamed(RenameMode::To, &["/d/b"])));
    for overflows in 1..=2 {
        handler.handle_event(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(handler.is_woken());
        assert_eq!(watch.take(), Hints { walk: true, overflows, ..Hints::default() });
        assert_eq!(watch.take(), Hints { overflows, ..Hints::default() });
    }
    handler.handle_event(Err(Error::generic("read")));
    assert_eq!(watch.take(), Hints { walk: true, overflows: 2, ..Hints::default() });
}

/// The set is bounded: more names than it takes are a walk, and what was moved in is still known.
#[test]
fn too_many_names_make_a_walk() {
    let mut handler = handler(3, &[]);
    handler.handle_event(Ok(renamed(RenameMode::To, &["/d/b"])));
    for n in 0..100 {
        handler.handle_event(Ok(event(EventKind::Create(CreateKind::File), &[&format!("/d/{n}")])));
    }
    let hints = handler.hints();
    assert!(hints.walk && hints.names.is_empty() && hints.overflows == 0, "{hints:?}");
    assert_eq!(hints.moved_in, BTreeSet::from([hint("/d", "b")]));
    for n in 0..100 {
        handler.handle_event(Ok(renamed(RenameMode::To, &[&format!("/d/{n}")])));
    }
    assert_eq!(handler.hints().moved_in.len(), 3);
}

/// A watched folder that goes or comes is a walk: its watch has gone with it.
#[test]
fn watched_folders_that_go_make_a_walk() {
    let mut handler = handler(10, &["/d/incoming"]);
    for gone in [
        event(EventKind::Remove(RemoveKind::Folder), &["/d/incoming"]),
        renamed(RenameMode::From, &["/d/incoming"]),
        renamed(RenameMode::To, &["/d/incoming"]),
        event(EventKind::Create(CreateKind::Folder), &["/d/incoming"]),
    ] {
        handler.handle_event(Ok(gone));
        assert!(handler.hints().walk);
    }
    handler.handle_event(Ok(event(EventKind::Modify(ModifyKind::Any), &["/d/incoming"])));
    assert!(!handler.hints().walk);
    handler.handle_event(Ok(event(EventKind::Modify(ModifyKind::Any), &["/"])));
    handler.handle_event(Ok(Event::new(EventKind::Any)));
    assert_eq!(handler.hints().names.len(), 0, "what has no name is nobody's hint");
}

/// Errors say which limit it is, and what to do.
#[test]
fn limits_are_told() {
    let raw = |errno: i32| Error::io(std::io::Error::from_raw_os_error(errno));
    assert!(said(&Error::new(ErrorKind::MaxFilesWatch)).contains("fs.inotify.max_user_watches"));
    assert!(said(&raw(24)).contains("fs.inotify.max_user_instances"));
    assert!(said(&raw(13)).contains("may not read"));
    assert!(said(&raw(5)).contains("can't be watched"));
    let dir = TempDir::new().unwrap();
    let gone = dir.path().join("gone");
    let error = Watch::new().unwrap().add(&gone).unwrap_err();
    assert_eq!(error, format!("{}: there is no such folder", gone.display()));
}

/// Real files: what is made, moved in, and what a program does in a folder that was added; not what lies deeper.
#[tokio::test]
async fn the_kernel_hints() {
    let dir = TempDir::new().unwrap();
    let (root, outside) = (dir.path().join("drop"), dir.path().join("outside"));
    fs::create_dir_all(root.join("ns")).unwrap();
    fs::create_dir_all(outside.join("bert")).unwrap();
    let mut watch = Watch::new().unwrap();
    watch.add(&root).unwrap();
    watch.add(&root.join("ns")).unwrap();
    watch.add(&root).unwrap();

    fs::write(root.join("m.bin"), b"x").unwrap();
    fs::write(root.join("ns/n.bin"), b"x").unwrap();
    fs::rename(outside.join("bert"), root.join("bert")).unwrap();
    fs::write(root.join("bert/deep"), b"x").unwrap();
    fs::write(root.join(".t.tmp"), b"x").unwrap();
    fs::rename(root.join(".t.tmp"), root.join("t")).unwrap();
    tokio::time::timeout(DEADLINE, watch.woken.notified()).await.unwrap();
    fs::write(root.join("last"), b"x").unwrap();
    let last = hint(&root, "last");
    let hints = gather(&watch, |hints| hints.names.contains(&last));
    for (folder, name) in
        [(&root, "m.bin"), (&root.join("ns"), "n.bin"), (&root, "bert"), (&root, "t"), (&root, ".t.tmp")]
    {
        assert!(hints.names.contains(&hint(folder, name)), "{name}: {hints:?}");
    }
    assert!(!hints.names.iter().any(|(_folder, name)| name == "deep"), "{hints:?}");
    assert_eq!(hints.moved_in, BTreeSet::from([hint(&root, "bert"), hint(&root, "t")]));
    assert!(!hints.walk && hints.overflows == 0);

    // A write to a file that is open, and reading, which is nothing.
    let mut open = fs::File::options().append(true).open(root.join("m.bin")).unwrap();
    fs::read(root.join("t")).unwrap();
    open.write_all(b"y").unwrap();
    let written = hint(&root, "m.bin");
    let hints = gather(&watch, |hints| hints.names.contains(&written));
    assert!(!hints.names.contains(&hint(&root, "t")), "{hints:?}");
}

/// A folder that is removed and made anew must be added again, and is said to be; nobody hears of one that was taken away.
#[test]
fn folders_come_back() {
    let dir = TempDir::new().unwrap();
    let (root, ns) = (dir.path().to_owned(), dir.path().join("ns"));
    fs::create_dir(&ns).unwrap();
    let mut watch = Watch::new().unwrap();
    watch.add(&root).unwrap();
    watch.add(&ns).unwrap();
    fs::remove_dir(&ns).unwrap();
    gather(&watch, |hints| hints.walk);
    fs::create_dir(&ns).unwrap();
    let came = hint(&root, "ns");
    gather(&watch, |hints| hints.walk || hints.names.contains(&came));
    watch.add(&ns).unwrap();
    fs::write(ns.join("n.bin"), b"x").unwrap();
    let made = hint(&ns, "n.bin");
    gather(&watch, |hints| hints.names.contains(&made));

    watch.remove(&ns);
    watch.remove(&ns);
    watch.take();
    fs::write(ns.join("unseen"), b"x").unwrap();
    fs::write(root.join("last"), b"x").unwrap();
    let last = hint(&root, "last");
    let hints = gather(&watch, |hints| hints.names.contains(&last));
    assert!(!hints.names.iter().any(|(_folder, name)| name == "unseen"), "{hints:?}");
}

/// More events than the kernel keeps, while the handler stands still: a walk, counted, and hints go on after it.
#[test]
fn an_overflow_makes_a_walk() {
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if queue > 200_000 {
        eprintln!("SKIPPED: the kernel keeps {queue} events");
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut watch = Watch::new().unwrap();
    watch.add(dir.path()).unwrap();
    let held = lock(&watch.hinted);
    // Made, opened and closed: three events each.
    for n in 0..queue / 3 + 1000 {
        fs::File::create(dir.path().join(n.to_string())).unwrap();
    }
    drop(held);
    let hints = gather(&watch, |hints| hints.walk);
    assert!(hints.overflows >= 1, "{}", hints.overflows);
    fs::write(dir.path().join("last"), b"x").unwrap();
    let last = hint(dir.path(), "last");
    gather(&watch, |hints| hints.names.contains(&last));
}
