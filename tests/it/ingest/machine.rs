//! The machine around it: disks that are full, folders that vanish, events that are lost or never come, a second daemon, and
//! the modes of what is made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::api::IngestState;
use rustix::process::Signal;
use serde_json::Value;
use tests::daemon::Daemon;
use tests::drop::{DropFolder, SETTLE, fill};
use tests::samples;
use tests::small_disk::{SmallDisk, UNMOUNTED};

/// What the folder and its lanes are when the daemon has made them.
#[test]
fn lanes() {
    let folder = DropFolder::start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(folder.dir()), 0o3770);
    for (lane, expected) in [("incoming", 0o3770), ("done", 0o2750), ("rejected", 0o2750)] {
        assert_eq!(mode(&folder.dir().join(lane)), expected, "{lane}");
    }
    assert_eq!(mode(&folder.dir().join("processing")) & 0o777, 0o700);
}

/// Lanes that are there already are left as they are; but into processing/ nobody else may go, and that is said.
#[test]
fn lanes_that_were_there() {
    let mut folder = DropFolder::prepared(&[]);
    for lane in ["incoming", "processing"] {
        fs::create_dir_all(folder.dir().join(lane)).unwrap();
        fs::set_permissions(folder.dir().join(lane), fs::Permissions::from_mode(0o777)).unwrap();
    }
    folder.daemon.expect_line("processing");
    folder.daemon.restart();
    let mode = |lane: &str| fs::metadata(folder.dir().join(lane)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("incoming"), mode("processing")), (0o777, 0o700));
    tests::wait::until_true("a warning", || {
        folder.daemon.stderr().iter().any(|line| line.contains("WARN") && line.contains("processing"))
    });
}

/// One folder, one daemon: a second one ends at once, says why, and touches nothing; when the first has gone, it may.
#[test]
fn a_second_daemon() {
    let mut folder = DropFolder::start();
    let mut second = Daemon::prepared(&[("MREG_DROP_SETTLE", SETTLE)]);
    second.set("MREG_DROP_DIR", &folder.dir().display().to_string());
    let output = second.run(&[] as &[&str], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("drop") && said.contains("another"), "{said}");
    folder.copy("m.safetensors", &samples::safetensors(1));
    folder.arrives("m.safetensors");
    folder.daemon.stop();
    second.restart();
    assert_eq!(second.admin().value("/models")["total"], 0, "what the first took in is its own");
}

/// A stop while files are at work: they end, or are left where they lie; the daemon ends as it should, and in the end each is
/// one version.
#[test]
fn a_stop_with_items_at_work() {
    const FILES: u8 = 6;
    let mut folder = DropFolder::with(&[("MREG_DROP_PARALLEL", "2"), ("MREG_SHUTDOWN_SECONDS", "1")]);
    for at in 0..FILES {
        folder.copy(&format!("m{at}.safetensors"), &samples::large_safetensors(12_000_000, at));
    }
    let mut stops = 0;
    loop {
        let (at_work, done) = tests::wait::until("something at work", || {
            let items = folder.items();
            let count = |states: &[IngestState]| {
                items.iter().filter(|item| states.iter().any(|state| item.state == *state)).count()
            };
            let at_work = count(&[IngestState::Hashing, IngestState::Scanning, IngestState::Storing]);
            let done = folder.documents_in("done").len();
            (at_work > 0 || done == usize::from(FILES)).then_some((at_work, done))
        });
        if done == usize::from(FILES) {
            break;
        }
        if at_work > 0 && stops < 2 {
            folder.daemon.stop();
            folder.daemon.restart();
            stops += 1;
        }
    }
    assert!(stops > 0, "nothing was at work when it was stopped: this shows nothing");
    for at in 0..FILES {
        assert_eq!(folder.arrives(&format!("m{at}.safetensors")).version(), format!("m{at}:1"));
    }
    folder.is_at_rest();
    assert_eq!(folder.admin().value("/models")["total"], FILES);
}

/// Where no events come, or are not wanted, the walks find all: files, folders, namespaces, and what grows.
#[test]
fn walks_only() {
    let folder = DropFolder::with(&[("MREG_DROP_EVENTS", "false"), ("MREG_DROP_POLL", "1")]);
    let status = folder.admin().value("/status")["ingest"].clone();
    assert_eq!((&status["events"], &status["poll_seconds"]), (&Value::Bool(false), &1.into()), "{status}");
    folder.copy("copied.safetensors", &samples::safetensors(1));
    folder.place("placed.safetensors", &samples::safetensors(2));
    let marked = folder.incoming().join("marked");
    fill(&marked, &[("a.safetensors", &samples::safetensors(3)), (".mreg-complete", b"")]);
    fill(&folder.incoming().join("ns"), &[("in.safetensors", &samples::safetensors(4)), (".mreg-namespace", b"")]);
    let moved = folder.folder_outside("moved", &[("a.safetensors", &samples::safetensors(5))]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::rename(moved, folder.incoming().join("moved")).unwrap();
    // Others may write on other machines, where no lease tells of them: they use a temporary name.
    let slow = folder.incoming().join("slow.safetensors.part");
    fs::write(&slow, samples::safetensors(6)).unwrap();
    for path in ["copied.safetensors", "placed.safetensors", "marked", "ns/in.safetensors"] {
        folder.arrives(path);
    }
    assert!(slow.exists());
    fs::rename(&slow, folder.incoming().join("slow.safetensors")).unwrap();
    folder.arrives("slow.safetensors");
    // Nobody told of the rename, and it leaves nothing that a change of mode would not.
    assert!(folder.incoming().join("moved").exists());
    fs::write(folder.incoming().join("moved/.mreg-complete"), b"").unwrap();
    folder.arrives("moved");
    assert_eq!(folder.admin().value("/models")["total"], 6);
}

/// The kernel loses events when too many come while the daemon is held up: a walk finds what they would have told of.
#[test]
fn lost_events() {
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let queue: u32 = queue.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(16_384);
    if queue > 200_000 {
        return println!("SKIPPED: the kernel queues {queue} events here, so their loss was NOT tested");
    }
    // Nothing walks by itself.
    let folder = DropFolder::with(&[("MREG_DROP_POLL", "3600")]);
    folder.copy("first.safetensors", &samples::safetensors(0));
    folder.arrives("first.safetensors");
    folder.daemon.signal(Signal::STOP);
    // Opened, closed and removed: at least three events each.
    for at in 0..queue / 3 + 500 {
        let path = folder.incoming().join(format!(".noise-{at}"));
        fs::File::create(&path).unwrap();
        fs::remove_file(path).unwrap();
    }
    for at in 0..5 {
        folder.copy(&format!("late-{at}.safetensors"), &samples::safetensors(at + 1));
    }
    folder.daemon.signal(Signal::CONT);
    for at in 0..5 {
        folder.arrives(&format!("late-{at}.safetensors"));
    }
    let status = folder.admin().value("/status")["ingest"].clone();
    assert!(status["overflows"].as_u64().unwrap() >= 1, "nothing was lost: this shows nothing: {status}");
}

/// Hundreds at once, by one copy: all there, each once.
#[test]
fn many_at_once() {
    const FILES: u32 = 300;
    let folder = DropFolder::start();
    let many = folder.outside().join("many");
    fs::create_dir(&many).unwrap();
    for at in 0..FILES {
        fs::write(many.join(format!("m{at:04}.safetensors")), samples::safetensors(at)).unwrap();
    }
    folder.shell("cp many/* $IN/");
    tests::wait::until_count("files that are done", u64::from(FILES), || {
        folder.admin().value("/status")["ingest"]["done_total"].as_u64().unwrap()
    });
    assert_eq!(folder.admin().value("/models")["total"], FILES);
    folder.is_at_rest();
    for at in 0..FILES {
        assert_eq!(folder.arrives(&format!("m{at:04}.safetensors")).version(), format!("m{at:04}:1"));
    }
}

/// A folder that is gone, as after an unmount, is told and never made anew; when it is back, all goes on.
#[test]
fn the_folder_vanishes() {
    let mut folder = DropFolder::with(&[("MREG_DROP_POLL", "1")]);
    folder.daemon.expect_line("drop");
    folder.copy("m.safetensors", &samples::safetensors(1));
    folder.arrives("m.safetensors");
    folder.is_at_rest();
    let away = folder.daemon.work_dir().join("away");
    fs::rename(folder.dir(), &away).unwrap();
    let problem = tests::wait::until("a problem in the status", || {
        folder.admin().value("/status")["ingest"]["problem"].as_str().map(str::to_owned)
    });
    assert!(problem.contains("drop"), "{problem}");
    // Whoever asks for models is served all the same.
    let ready = folder.daemon.client().get("/readyz").expect(200).json();
    let check = &ready["checks"]["ingest"];
    assert!(check["detail"].as_str().is_some_and(|detail| detail.contains("can't be worked with")), "{ready}");
    assert!(!folder.dir().exists(), "it was made anew");
    let errors = |folder: &DropFolder| folder.daemon.stderr().iter().filter(|line| line.contains("ERROR")).count();
    assert_eq!(errors(&folder), 1, "told once");
    fs::write(away.join("incoming/n.safetensors"), samples::safetensors(2)).unwrap();
    fs::rename(&away, folder.dir()).unwrap();
    folder.arrives("n.safetensors");
    tests::wait::until_true("the problem to be gone", || {
        folder.admin().value("/status")["ingest"]["problem"].is_null()
    });
    folder.daemon.client().get("/readyz").expect(200);
    // Another folder under the name, as when a mount is missing: empty, and not ours.
    fs::rename(folder.dir(), &away).unwrap();
    fs::create_dir(folder.dir()).unwrap();
    tests::wait::until_true("a problem again", || folder.admin().value("/status")["ingest"]["problem"].is_string());
    assert_eq!(tests::drop::tree(folder.dir()), Vec::<String>::new(), "lanes were made in it");
    fs::remove_dir(folder.dir()).unwrap();
    fs::rename(&away, folder.dir()).unwrap();
    tests::wait::until_true("the problem to be gone again", || {
        folder.admin().value("/status")["ingest"]["problem"].is_null()
    });
}

/// While there is no room for a file in the registry it waits and says so, smaller ones pass; with room again it is taken
/// in, and was never refused.
#[test]
fn no_room() {
    let mut folder = DropFolder::prepared(&[("MREG_MIN_FREE_BYTES", "20 MiB")]);
    let Some(disk) = SmallDisk::mount(&folder.daemon.data_dir(), "100m") else {
        return println!("{UNMOUNTED}");
    };
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    let filler = folder.daemon.data_dir().join("filler");
    fs::write(&filler, vec![7; 50 << 20]).unwrap();
    folder.copy("large.safetensors", &samples::large_safetensors(35_000_000, 1));
    let waits = folder.shows("large.safetensors", "a wait for room", |item| {
        item.state == IngestState::Waiting
            && item
                .reason
                .as_deref()
                .is_some_and(|reason| reason.contains("room") || reason.contains("space") || reason.contains("free"))
    });
    assert_eq!(waits.problem, None, "{waits:?}");
    folder.copy("small.safetensors", &samples::safetensors(1));
    folder.arrives("small.safetensors");
    fs::remove_file(filler).unwrap();
    // It is looked at again every half a minute; a person need not wait.
    let item = folder.item("large.safetensors").unwrap();
    folder.admin().post_empty(&format!("/ingest/{}/retry", item.id)).expect(200);
    folder.arrives("large.safetensors");
    assert_eq!(folder.items_of("&state=rejected"), []);
    // Its directory is read at the end: before the disk goes.
    drop(folder);
    drop(disk);
}

/// A drop folder on a full disk can't hold a receipt: its file is a version all the same, and one only; the receipt follows
/// when there is room.
#[test]
fn no_room_for_receipts() {
    let mut folder = DropFolder::prepared(&[]);
    let Some(disk) = SmallDisk::mount(folder.dir(), "4m") else {
        return println!("{UNMOUNTED}");
    };
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    fs::write(folder.dir().join(".m"), samples::large_safetensors(100_000, 1)).unwrap();
    let filler = folder.dir().join(".filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
    drop(file);
    fs::rename(folder.dir().join(".m"), folder.incoming().join("m.safetensors")).unwrap();
    let stuck = folder.shows("m.safetensors", "to be stuck", |item| {
        item.reason.as_deref().is_some_and(|reason| reason.contains("space") || reason.contains("room"))
    });
    assert!(matches!(stuck.state.known(), Some(IngestState::Failed | IngestState::Waiting)), "{stuck:?}");
    fs::remove_file(filler).unwrap();
    folder.admin().post_empty(&format!("/ingest/{}/retry", stuck.id)).expect(200);
    assert_eq!(folder.arrives("m.safetensors").version(), "m:1");
    assert_eq!(folder.admin().value("/models/m/versions")["items"].as_array().unwrap().len(), 1);
    folder.is_at_rest();
    drop(folder);
    drop(disk);
}

/// Files for which there never is room wait, however many and however large they say they are, and keep no other from being
/// taken in: neither one of the same model nor those of others.
#[test]
fn what_waits_for_room_is_in_nobodys_way() {
    let folder = DropFolder::with(&[("MREG_MAX_UPLOAD_BYTES", "8 TiB")]);
    // More than may be taken at once of those that are large.
    let names: Vec<String> = (0..20).map(|at| format!("huge{at}.safetensors")).collect();
    for name in &names {
        let huge = fs::File::create(folder.outside().join(name)).unwrap();
        if huge.set_len(4 << 40).is_err() {
            return println!("SKIPPED: this file system has no file of 4 TiB, so no room was NOT tested");
        }
        fs::rename(folder.outside().join(name), folder.incoming().join(name)).unwrap();
    }
    for name in &names {
        folder.shows(name, "a wait for room", |item| {
            item.place.starts_with("processing/") && item.reason.as_deref().is_some_and(|why| why.contains("no room"))
        });
    }
    folder.copy("huge0.json", b"{}");
    assert_eq!(folder.arrives("huge0.json").version(), "huge0:1");
}
