//! What is no file to take in, and names that can't be: refused with the reason, moved aside as it is, never followed and
//! never opened.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::SystemTime;

use common::api::{IngestKind, IngestState};
use tests::drop::{DropFolder, is_root};
use tests::{samples, wait};

/// Links, FIFOs, sockets and devices are refused, each with its reason: what they point to is not touched, nobody who waits
/// at them is let go on, and they lie in rejected/ as what they are.
#[test]
fn no_files() {
    let folder = DropFolder::start();
    let secret = folder.outside().join("secret.safetensors");
    fs::write(&secret, samples::safetensors(1)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH;
    fs::File::open(&secret).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
    let accessed = fs::metadata(&secret).unwrap().atime();
    let incoming = folder.incoming();
    symlink(&secret, incoming.join("link.safetensors")).unwrap();
    symlink("nowhere", incoming.join("dangling.safetensors")).unwrap();
    symlink("loop.safetensors", incoming.join("loop.safetensors")).unwrap();
    symlink(folder.outside(), incoming.join("linked-folder")).unwrap();
    folder.shell("mkfifo $IN/fifo.safetensors");
    let _socket = UnixListener::bind(incoming.join("socket.safetensors")).unwrap();
    let mut kinds = vec![
        ("link.safetensors", "link"),
        ("dangling.safetensors", "link"),
        ("loop.safetensors", "link"),
        ("linked-folder", "link"),
        ("fifo.safetensors", "fifo"),
        ("socket.safetensors", "socket"),
    ];
    if is_root() && folder.try_shell("mknod $IN/device.safetensors c 1 3").status.success() {
        kinds.push(("device.safetensors", "device"));
    } else {
        println!("SKIPPED: only root may make a device, so a device was NOT tested");
    }
    for (name, word) in kinds {
        let refused = folder.is_refused(name);
        assert!(refused.says(word), "{name} does not say {word:?}: {}", refused.document);
        let kind = fs::symlink_metadata(&refused.place).unwrap().file_type();
        let is_same = match word {
            "link" => kind.is_symlink(),
            "fifo" => kind.is_fifo(),
            "socket" => kind.is_socket(),
            _ => kind.is_char_device(),
        };
        assert!(is_same, "{name} is {kind:?} now");
        let item = folder.reaches(name, IngestState::Rejected);
        assert_eq!(item.kind, IngestKind::Other, "{name}");
        assert!(item.problem.is_some() && item.log_index.is_some(), "{item:?}");
        let read = item.history.iter().find(|step| step.state == IngestState::Hashing);
        assert_eq!(read, None, "{name}: nothing of it was read");
        assert!(fs::symlink_metadata(incoming.join(name)).is_err(), "{name} is still in incoming/");
    }
    assert_eq!(fs::metadata(&secret).unwrap().atime(), accessed, "the link was followed");
    assert_eq!(fs::read(&secret).unwrap(), samples::safetensors(1));
    assert_eq!(folder.admin().value("/models")["total"], 0);
    // It goes on with what is a file.
    folder.copy("m.safetensors", &samples::safetensors(2));
    folder.arrives("m.safetensors");
}

/// A file that has another name somewhere could be changed under it after it was checked: refused, and the other name keeps
/// its file. The same inside a folder.
#[test]
fn hard_links() {
    let folder = DropFolder::start();
    folder.shell(
        "echo '{}' > other && ln other $IN/linked.json && mkdir pair && echo '{}' > pair/a.json && ln pair/a.json kept",
    );
    folder.shell("mv pair $IN/");
    for name in ["linked.json", "pair"] {
        let refused = folder.is_refused(name);
        assert!(refused.says("link"), "{}", refused.document);
    }
    assert_eq!(fs::read(folder.outside().join("other")).unwrap(), b"{}\n");
    assert_eq!(fs::metadata(folder.outside().join("other")).unwrap().nlink(), 2);
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// Names that can be no model's or no file's are refused with what is wrong, whatever octets they have.
#[test]
fn names() {
    let folder = DropFolder::start();
    let hostile: Vec<(Vec<u8>, String)> = [
        b"new\nline.safetensors".to_vec(),
        b"not\xffutf-8.safetensors".to_vec(),
        "\u{202e}gpj.safetensors".as_bytes().to_vec(),
        b"bell\x07.safetensors".to_vec(),
        b"esc\x1b[2J.safetensors".to_vec(),
    ]
    .into_iter()
    .map(|name| {
        let shown = String::from_utf8_lossy(&name).into_owned();
        (name, shown)
    })
    .collect();
    for (at, (name, _)) in (0..).zip(&hostile) {
        fs::write(folder.incoming().join(OsStr::from_bytes(name)), samples::safetensors(at)).unwrap();
    }
    for (name, shown) in &hostile {
        let refused = folder.is_refused(shown);
        assert_eq!(refused.problem(), "invalid", "{}", refused.document);
        assert!(!folder.incoming().join(OsStr::from_bytes(name)).exists(), "{shown:?} is still in incoming/");
    }
    assert_eq!(folder.admin().value("/models")["total"], 0);
    let text = folder.daemon.stderr().join("\n");
    assert!(
        !text.contains('\u{202e}') && !text.contains('\x1b'),
        "a name that acts on a terminal is in the diagnostics"
    );
}

/// Odd names that can be a model's are taken, as an upload of them would be.
#[test]
fn odd_names() {
    let folder = DropFolder::start();
    // As long as a name can be: what is written behind it has to go elsewhere.
    let long = format!("{}.safetensors", "x".repeat(255 - ".safetensors".len()));
    let names = [
        "with space.safetensors",
        "UPPER.SAFETENSORS",
        "no-suffix",
        "a,b;c'd\"e$f.safetensors",
        "-rf.safetensors",
        &long,
    ];
    for (at, name) in (0..).zip(names) {
        folder.copy(name, &samples::safetensors(at));
    }
    for name in names {
        // Whatever name an upload of this file would give it, or refuse it for.
        let form = tests::multipart::Form::new().file(name, &samples::safetensors(1000));
        let uploaded = folder.admin().publish(form);
        if uploaded.status == 422 {
            folder.is_refused(name);
        } else {
            let name_there = uploaded.json()["name"].as_str().unwrap().to_owned();
            assert_eq!(folder.arrives(name).receipt.version.name.to_string(), name_there, "{name}");
        }
    }
}

/// What the daemon can't read is refused with the reason, moved aside, and not tried again and again.
#[test]
fn unreadable() {
    if !is_root() {
        return println!(
            "SKIPPED: only root may start the daemon as somebody else, so an unreadable file was NOT tested"
        );
    }
    let mut folder = DropFolder::prepared(&[]);
    folder.daemon.run_as(4300);
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    // Unreadable from the first moment on.
    let path = folder.outside().join("secret");
    fs::write(&path, samples::safetensors(1)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(path, folder.incoming().join("secret.safetensors")).unwrap();
    let refused = folder.is_refused("secret.safetensors");
    assert!(refused.says("read") || refused.says("permission"), "{}", refused.document);
    // Of others but readable: no lease can be had, so it rests longer, and is taken.
    folder.copy("open.safetensors", &samples::safetensors(2));
    assert_eq!(folder.arrives("open.safetensors").version(), "open:1");
    let made = folder.outside().join("closed");
    tests::drop::fill(
        &made,
        &[("a.safetensors", &samples::safetensors(3)), ("sub/b.safetensors", &samples::safetensors(4))],
    );
    fs::set_permissions(made.join("sub"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(made, folder.incoming().join("closed")).unwrap();
    folder.shows("closed", "to be refused", |item| item.state == IngestState::Rejected);
    assert_eq!(folder.admin().value("/models")["total"], 1);
}

/// What could not be moved is refused where it lies, and taken in once that is mended: the refusal was of what it was then.
#[test]
fn mended_where_it_lies() {
    if !is_root() {
        return println!("SKIPPED: only root may start the daemon as somebody else, so what is mended was NOT tested");
    }
    let mut folder = DropFolder::prepared(&[]);
    folder.daemon.run_as(4300);
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    folder.is_watched();
    let made = folder.folder_outside("model", &[("a.safetensors", &samples::safetensors(1)), (".mreg-complete", b"")]);
    let incoming = folder.incoming().join("model");
    fs::rename(made, &incoming).unwrap();
    let refused = folder.reaches("model", IngestState::Rejected);
    assert!(refused.reason.as_deref().is_some_and(|why| why.contains("chmod g+w")), "{refused:?}");
    assert!(incoming.exists(), "it stays where it is");
    wait::until_true("its document", || folder.documents().len() == 1);
    let document = fs::read(&folder.documents()[0]).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((&document["item"], &document["path"]), (&refused.id.clone().into(), &"model".into()));
    assert_eq!(document["stays"]["place"], "incoming/model");
    assert!(document["detail"].as_str().is_some_and(|why| why.contains("chmod g+w")), "{document}");

    folder.daemon.stop();
    folder.daemon.restart();
    let again = folder.reaches("model", IngestState::Rejected);
    assert_eq!((&again.id, again.log_index), (&refused.id, document["log_index"].as_u64()), "it is not recorded again");
    assert_eq!((again.place.as_str(), &again.problem), ("incoming/model", &Some("/problems/invalid".to_owned())));
    folder.admin().post(&format!("/ingest/{}/discard", again.id), &serde_json::json!({"reason": "seen"})).expect(200);
    folder.daemon.stop();
    folder.daemon.restart();
    fs::write(folder.incoming().join("other.safetensors"), samples::safetensors(2)).unwrap();
    folder.arrives("other.safetensors");
    assert!(folder.item("model").is_none(), "it was given up");

    fs::set_permissions(&incoming, fs::Permissions::from_mode(0o777)).unwrap();
    let arrived = folder.arrives("model");
    assert_eq!(arrived.version(), "model:1");
    assert_ne!(arrived.receipt.item, refused.id, "another item");
    assert_eq!(folder.documents().len(), 1);
}

/// A folder that its owner lets the daemon list and not enter, called as a namespace, does not keep what is in the namespace
/// from its end, nor the list of what was refused from a start.
#[test]
fn a_closed_folder_of_a_namespaces_name() {
    if !is_root() {
        return println!("SKIPPED: only root may start the daemon as somebody else, so closed folders were NOT tested");
    }
    let mut folder = DropFolder::prepared(&[("MREG_DROP_NAMESPACES", "team")]);
    folder.daemon.run_as(4300);
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    folder.is_watched();
    let closed = folder.folder_outside("team", &[("a.safetensors", &samples::safetensors(1))]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o706)).unwrap();
    fs::rename(closed, folder.dir().join("team")).unwrap();
    folder.is_refused("team");
    symlink("nowhere", folder.incoming().join("team/link.safetensors")).unwrap();
    folder.is_refused("team/link.safetensors");
    folder.is_at_rest();
    folder.daemon.stop();
    folder.daemon.restart();
    for path in ["team", "team/link.safetensors"] {
        folder.reaches(path, IngestState::Rejected);
    }
}

/// A namespace that its owner opens and closes all the time, or puts something else in its place, harms nothing else.
#[test]
fn a_namespace_that_comes_and_goes() {
    if !is_root() {
        return println!("SKIPPED: only root may start the daemon as somebody else, so closed folders were NOT tested");
    }
    let mut folder = DropFolder::prepared(&[("MREG_DROP_POLL", "1")]);
    folder.daemon.run_as(4300);
    folder.daemon.expect_line("\"level\":\"WARN\"");
    folder.daemon.restart();
    folder.is_watched();
    let evil = folder.incoming().join("evil");
    fs::create_dir(&evil).unwrap();
    fs::write(evil.join(".mreg-namespace"), "").unwrap();
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                for mode in [0, 0o777] {
                    fs::set_permissions(&evil, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        });
        for at in 0..30 {
            // Each of these makes a walk.
            fs::write(folder.incoming().join(".mreg-namespace"), "").unwrap();
            let name = format!("m{at}.safetensors");
            folder.place(&name, &samples::safetensors(at));
            folder.arrives(&name);
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let said = folder.daemon.stderr().join("\n");
    assert!(!said.contains("can't be used"), "{said}");
}
