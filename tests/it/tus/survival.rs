//! What was acknowledged is there: over kill -9 in the middle of parts, restarts, a full disk.

use std::fs;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};

use common::role::Role;
use tests::daemon::Daemon;
use tests::http::Client;
use tests::samples::{self, sha256};
use tests::small_disk::{SmallDisk, UNMOUNTED};
use tests::{oracle, wait};

use super::{create, id, model, offset, patch, publish, request, sample};

/// Kills of the daemon.
const ROUNDS: usize = 6;
/// Octets of the file, which goes in hundreds of parts.
const OCTETS: usize = 3_000_000;

/// Sends parts of odd sizes until the daemon is gone, the file is whole, or it is told to stop; the last acknowledged offset.
fn send_parts(carl: &Client, path: &str, file: &[u8], mut at: usize, stop: &AtomicBool) -> usize {
    while at < file.len() && !stop.load(Ordering::Relaxed) {
        let octets = 1 + at * 7 % 23_456;
        let end = file.len().min(at + octets);
        match patch(carl, path, at, &file[at..end]).try_send() {
            Ok(answer) => {
                let answer = answer.expect(204);
                assert_eq!(answer.need("upload-offset"), end.to_string());
                at = end;
            }
            Err(_gone) => break,
        }
    }
    at
}

/// Killed at any moment, hundreds of parts long: no acknowledged octet is lost, and the digest is that of the file.
#[test]
fn killed_while_it_takes() {
    let mut daemon = Daemon::start();
    daemon.expect_line("view");
    let mut carl = daemon.user("carl", Role::Contributor);
    let file = model(OCTETS, 5);
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    let mut at = 0;
    for round in 0..ROUNDS {
        let until = file.len() / (ROUNDS + 1) * (round + 1);
        let stop = AtomicBool::new(false);
        at = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send_parts(&carl, &path, &file, at, &stop));
            let partial = daemon.data_dir().join("blobs/partial").join(id(&path));
            wait::until_true("some parts to arrive", || {
                partial.metadata().is_ok_and(|about| about.len() >= until as u64)
            });
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        daemon.restart();
        carl = carl.at(daemon.address());
        let known = offset(&carl, &path);
        assert!(known >= at, "{at} octets were acknowledged, {known} are known");
        assert_eq!(carl.value("/uploads")["items"][0]["id"], id(&path));
        at = known;
    }
    assert_eq!(send_parts(&carl, &path, &file, at, &AtomicBool::new(false)), file.len());
    let published = publish(&carl, &[&path], "m").expect(201).json();
    assert_eq!(published["sha256"], sha256(&file));
    // Killed right behind it, the upload is over all the same, and its bytes are the version's.
    daemon.kill();
    daemon.restart();
    let carl = carl.at(daemon.address());
    assert_eq!(carl.get("/models/m/download").expect(200).body, file);
    publish(&carl, &[&path], "m").problem("upload-gone");
}

/// A stop in order keeps what came so far; another session of the same user goes on, and others' uploads stay theirs.
#[test]
fn restarted() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = sample(800_000, 6);
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    let ended = create(&carl, 5, &[]);
    request(&carl, "DELETE", &ended).send().expect(204);
    let mut standing = carl.connect();
    let request = patch(&carl, &path, 0, &file);
    standing.write(&request.head_octets()).unwrap();
    standing.write(&request.body_octets()[..500_000]).unwrap();
    let partial = daemon.data_dir().join("blobs/partial").join(id(&path));
    wait::until_true("what was sent to arrive", || partial.metadata().unwrap().len() >= 500_000);
    daemon.stop();
    if let Ok(answer) = standing.read_response("PATCH") {
        answer.problem("unavailable");
    }
    // What a crash may leave: octets that nobody counted, a record half written, octets of nobody.
    fs::OpenOptions::new()
        .append(true)
        .open(&partial)
        .map(|mut file| {
            std::io::Write::write_all(&mut file, b"what was not acknowledged").unwrap();
        })
        .unwrap();
    fs::write(daemon.data_dir().join("uploads/.01K7Z0000000000000000000AB.json.x.tmp"), "{").unwrap();
    fs::write(daemon.data_dir().join("blobs/partial/01K7Z0000000000000000000AB"), "nobody's").unwrap();
    daemon.restart();
    assert_eq!(fs::read_dir(daemon.data_dir().join("blobs/partial")).unwrap().count(), 1);
    let carl = daemon.client().signed_in("carl", &Daemon::password_of("carl"));
    assert_eq!(offset(&carl, &path), 500_000);
    assert_eq!(super::request(&carl, "HEAD", &ended).send().status, 410, "that it is over is known");
    patch(&carl, &path, 500_000, &file[500_000..]).send().expect(204);
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(&file));
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
}

/// A record that can't be read, and octets that are gone: told, and nothing else suffers.
#[test]
fn damaged_records() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let paths: Vec<String> = (0..3).map(|_| create(&carl, 10, &[])).collect();
    for path in &paths {
        patch(&carl, path, 0, b"hello").send().expect(204);
    }
    daemon.stop();
    let of = |path: &str, what: &str| daemon.data_dir().join(what.replace("ID", id(path)));
    fs::write(of(&paths[0], "uploads/ID.json"), "{").unwrap();
    fs::write(of(&paths[1], "blobs/partial/ID"), "hel").unwrap();
    daemon.expect_line("the record of a resumable upload can't be read");
    daemon.expect_line("a resumable upload has lost octets");
    daemon.restart();
    let carl = carl.at(daemon.address());
    for path in &paths[..2] {
        assert_eq!(request(&carl, "HEAD", path).send().status, 404);
    }
    assert_eq!(offset(&carl, &paths[2]), 5);
    assert!(daemon.data_dir().join("blobs/partial").join(id(&paths[0])).exists(), "its octets may be wanted");
}

/// On a full disk an upload stands still, and goes on when there is room; room that others announced is not promised twice.
#[test]
fn full_disk() {
    let mut daemon = Daemon::prepared(&[("MREG_MIN_FREE_BYTES", "16 MiB")]);
    let Some(disk) = SmallDisk::mount(&daemon.data_dir(), "120m") else {
        return println!("{UNMOUNTED}");
    };
    daemon.expect_line("not enough free space");
    daemon.restart();
    let carl = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(40_000_000, 1);
    let path = create(&carl, file.len(), &[("filename", "m.safetensors")]);
    let other = super::request(&carl, "POST", "/uploads").header("Upload-Length", "75000000").send();
    other.problem("storage-full");
    patch(&carl, &path, 0, &file[..10_000_000]).send().expect(204);
    let filler = daemon.data_dir().join("filler");
    fs::write(&filler, vec![7; 64 << 20]).unwrap();
    patch(&carl, &path, 10_000_000, &file[10_000_000..]).send().problem("storage-full");
    assert_eq!(offset(&carl, &path), 10_000_000);
    fs::remove_file(&filler).unwrap();
    patch(&carl, &path, 10_000_000, &file[10_000_000..]).send().expect(204);
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(&file));
    daemon.stop();
    // Its directory is read at the end: before the disk goes.
    drop(daemon);
    drop(disk);
}

/// The disk fills up under a part, without a watermark that would have seen it come: what is whole is kept.
#[test]
fn disk_full_in_the_middle() {
    let mut daemon = Daemon::prepared(&[]);
    let partials = daemon.data_dir().join("blobs/partial");
    let Some(disk) = SmallDisk::mount(&partials, "8m") else {
        return println!("{UNMOUNTED}");
    };
    // Bytes on another file system than the blobs can't be linked to them: only what comes before is looked at here.
    daemon.expect_line("not enough free space");
    daemon.restart();
    let carl = daemon.user("carl", Role::Contributor);
    let file = sample(20_000_000, 7);
    let path = create(&carl, file.len(), &[]);
    patch(&carl, &path, 0, &file).send().problem("storage-full");
    let kept = offset(&carl, &path);
    assert!(kept > 4_000_000 && kept < file.len(), "{kept}");
    patch(&carl, &path, kept, &file[kept..]).send().problem("storage-full");
    assert!(offset(&carl, &path) >= kept);
    request(&carl, "DELETE", &path).send().expect(204);
    assert_eq!(fs::read_dir(&partials).unwrap().count(), 0);
    let mut connection = carl.connect();
    connection.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    connection.stream().shutdown(Shutdown::Both).unwrap();
    daemon.stop();
    drop(daemon);
    drop(disk);
}
