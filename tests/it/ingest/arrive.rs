//! Ways a file comes: each tool in its own way, slow writers, writers in two goes, names of what is not finished.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::api::{IngestKind, IngestState};
use tests::drop::{DropFolder, SETTLE_TIME, Sshd, has};
use tests::samples::{self, sha256};

/// A dropped file becomes a version of the model named by its stem, with a receipt that proves its entry; and nothing is
/// left where it came from.
#[test]
fn a_file() {
    let folder = DropFolder::start();
    let file = samples::safetensors(1);
    folder.copy("bert-base_v2.safetensors", &file);
    let arrived = folder.arrives("bert-base_v2.safetensors");
    assert_eq!(arrived.version(), "bert-base_v2:1");
    assert_eq!(arrived.artifacts(), ["bert-base_v2.safetensors"]);
    assert_eq!(arrived.digest(), sha256(&file));
    assert_eq!(arrived.by(), "watcher");
    assert_eq!(arrived.entry["actor"]["id"], "watcher");
    assert!(!arrived.receipt.already_present);
    assert_eq!(fs::read(&arrived.place).unwrap(), file, "it is kept in done/");
    assert!(!folder.incoming().join("bert-base_v2.safetensors").exists());
    folder.is_at_rest();
    let item = folder.reaches("bert-base_v2.safetensors", IngestState::Done);
    assert_eq!((item.kind, item.size, item.files), (IngestKind::File.into(), file.len() as u64, 1));
    assert_eq!(item.bytes_done, item.size);
    assert_eq!(item.log_index, Some(arrived.receipt.log_index));
    assert_eq!(item.name.as_deref(), Some("bert-base_v2"));
    assert_eq!(item.id, arrived.receipt.item);
    assert_eq!(folder.dir().join(&item.place), arrived.place);
    let model = folder.admin().value("/models/bert-base_v2/versions/1");
    assert_eq!((&model["source"], &model["state"]), (&"drop".into(), &"available".into()));
    let octets = folder.admin().get("/models/bert-base_v2/download").expect(200).body;
    assert_eq!(octets, file);
}

/// The folder itself is watched like its lane, and what lay there before the daemon started is found.
#[test]
fn at_the_top_and_before_the_start() {
    let mut folder = DropFolder::prepared(&[]);
    fs::create_dir_all(folder.incoming()).unwrap();
    fs::write(folder.dir().join("early-top.safetensors"), samples::safetensors(1)).unwrap();
    folder.copy("early.safetensors", &samples::safetensors(2));
    folder.daemon.restart();
    fs::write(folder.dir().join("late-top.safetensors"), samples::safetensors(3)).unwrap();
    for name in ["early-top", "early", "late-top"] {
        assert_eq!(folder.arrives(&format!("{name}.safetensors")).version(), format!("{name}:1"));
    }
}

/// Scripts that bring `$OUT/src` to `$IN/NAME`.
const WAYS: &[(&str, &str)] = &[
    ("cp", "cp src $IN/NAME"),
    ("cp-a", "cp -a src $IN/NAME"),
    ("cp-old", "touch -d 2001-02-03 cp-old && cat src > cp-old && touch -d 2001-02-03 cp-old && cp -p cp-old $IN/NAME"),
    ("mv", "cp src mv.tmp && mv mv.tmp $IN/NAME"),
    ("mv-other-disk", "d=$(mktemp -d -p /dev/shm) && cp src $d/f && mv $d/f $IN/NAME && rmdir $d"),
    ("mv-inside", "cp src $IN/.NAME.unfinished && mv $IN/.NAME.unfinished $IN/NAME"),
    ("link-unlink", "cp src $IN/.NAME.up && ln $IN/.NAME.up $IN/NAME && rm $IN/.NAME.up"),
    ("install", "install -m 640 src $IN/NAME"),
    ("cat", "cat src > $IN/NAME"),
    ("dd", "dd if=src of=$IN/NAME bs=100 conv=fsync 2>/dev/null"),
    ("tar", "cp src NAME && tar -cf ball.tar NAME && tar -xf ball.tar -C $IN"),
    ("truncate", "truncate -s 1M $IN/NAME && cat src > $IN/NAME"),
    ("curl", "curl -s -o $IN/NAME file://$OUT/src"),
    ("read-only", "cp src ro && chmod 400 ro && cp -p ro $IN/NAME"),
];
/// The same for rsync.
const RSYNC_WAYS: &[(&str, &str)] = &[
    ("rsync", "rsync src $IN/NAME"),
    ("rsync-a", "cp src NAME && rsync -a NAME $IN/"),
    ("rsync-inplace", "rsync --inplace src $IN/NAME"),
    ("rsync-partial", "cp src NAME && rsync -a --partial-dir=.rsync-partial NAME $IN/"),
    ("rsync-delayed", "cp src NAME && rsync -a --delay-updates NAME $IN/"),
    ("rsync-append", "head -c 50 src > $IN/NAME && rsync --append src $IN/NAME"),
    ("rsync-move", "cp src NAME && rsync -a --remove-source-files NAME $IN/"),
];

fn arrives_by(folder: &DropFolder, ways: &[(&str, &str)]) {
    let file = samples::large_safetensors(50_000, 7);
    fs::write(folder.outside().join("src"), &file).unwrap();
    for (way, script) in ways {
        folder.shell(&script.replace("NAME", &format!("{way}.safetensors")));
    }
    for (way, _) in ways {
        let arrived = folder.arrives(&format!("{way}.safetensors"));
        assert_eq!(arrived.version(), format!("{way}:1"));
        assert_eq!(arrived.digest(), sha256(&file), "{way}");
    }
    let models = folder.admin().value("/models?limit=1000");
    assert_eq!(models["total"], ways.len(), "each once, and nothing else: {models}");
    folder.is_at_rest();
    assert_eq!(folder.items_of("&state=rejected"), []);
}

/// Each tool of the machine brings a file in its own way; each file is there once and whole.
#[test]
fn every_tool() {
    arrives_by(&DropFolder::start(), WAYS);
}

/// rsync in all its ways: temporary names, in place, partial folders, all at the end.
#[test]
fn rsync() {
    if has("rsync", "what rsync brings") {
        arrives_by(&DropFolder::start(), RSYNC_WAYS);
    }
}

/// scp, sftp (put, resumed, renamed in both ways that the protocol has) and rsync over ssh, through a real sshd.
#[test]
fn over_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let folder = DropFolder::start();
    let file = samples::large_safetensors(300_000, 3);
    let source = folder.outside().join("src");
    fs::write(&source, &file).unwrap();
    let to = |name: &str| folder.incoming().join(name);
    let show = |path: &Path| path.display().to_string();
    sshd.run(sshd.client("scp").arg(&source).arg(sshd.remote(&to("scp.safetensors"))));
    // The protocol before sftp.
    sshd.run(sshd.client("scp").arg("-O").arg(&source).arg(sshd.remote(&to("scp-old.safetensors"))));
    let mut names = vec!["scp", "scp-old"];
    let (from, put, posix, linked) =
        (show(&source), show(&to("put.safetensors")), show(&to("posix.safetensors")), show(&to("linked.safetensors")));
    sshd.sftp(&format!(
        "put {from} {put}\nput {from} {posix}.filepart\nrename {posix}.filepart {posix}\nput {from} {linked}.part\n\
         rename -l {linked}.part {linked}\n"
    ));
    names.extend(["put", "posix", "linked"]);
    if has("rsync", "rsync over ssh") {
        let mut rsync = Command::new("rsync");
        sshd.run(rsync.args(["-a", "-e", &sshd.shell()]).arg(&source).arg(sshd.remote(&to("rsync.safetensors"))));
        names.push("rsync");
    }
    for name in &names {
        let arrived = folder.arrives(&format!("{name}.safetensors"));
        assert_eq!((arrived.version(), arrived.digest()), (format!("{name}:1"), sha256(&file)));
    }
    assert_eq!(folder.admin().value("/models")["total"], names.len());
    assert_eq!(folder.items_of("&state=rejected"), []);
}

/// While somebody has a file open for writing it is never taken, however long it rests; when it is closed, it is taken whole.
#[test]
fn a_writer_that_takes_its_time() {
    let folder = DropFolder::start();
    let file = samples::large_safetensors(40_000, 9);
    let path = folder.incoming().join("slow.safetensors");
    let mut writer = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    for chunk in file.chunks(10_000) {
        writer.write_all(chunk).unwrap();
        // Longer than it would have to rest.
        std::thread::sleep(SETTLE_TIME * 2);
        assert!(path.exists(), "it was taken while it was written");
    }
    let waits = folder.shows("slow.safetensors", "a wait for its writer", |item| {
        item.reason.as_deref().is_some_and(|reason| reason.contains("writ") || reason.contains("open"))
    });
    assert!(matches!(waits.state.known(), Some(IngestState::Seen | IngestState::Waiting)), "{waits:?}");
    assert_eq!(waits.size, file.len() as u64);
    drop(writer);
    assert_eq!(folder.arrives("slow.safetensors").digest(), sha256(&file));
    assert_eq!(folder.admin().value("/models/slow/versions")["items"].as_array().unwrap().len(), 1);
}

/// A program that closes its file and opens it again soon after, as some do, is waited for: one whole version.
#[test]
fn two_goes() {
    let rest = Duration::from_secs(2);
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "2")]);
    let file = samples::large_safetensors(40_000, 11);
    let (first, second) = file.split_at(15_000);
    // A machine too busy to come back in time shows nothing: then again.
    let name = (0..20).find_map(|attempt| {
        let name = format!("goes-{attempt}.safetensors");
        let path = folder.incoming().join(&name);
        let began = Instant::now();
        fs::write(&path, first).unwrap();
        std::thread::sleep(rest / 4);
        let mut writer = OpenOptions::new().append(true).open(&path).ok()?;
        writer.write_all(second).unwrap();
        (began.elapsed() < rest).then_some(name)
    });
    let name = name.expect("the machine is too busy for this test");
    assert_eq!(folder.arrives(&name).digest(), sha256(&file));
}

/// The rest is counted from the last change, and nothing is taken before it is over.
#[test]
fn rests() {
    let rest = Duration::from_secs(4);
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "4")]);
    let began = Instant::now();
    folder.copy("m.safetensors", &samples::safetensors(1));
    let item = folder.shows("m.safetensors", "to be waiting", |item| item.reason.is_some());
    assert!(matches!(item.state.known(), Some(IngestState::Seen | IngestState::Waiting)), "{item:?}");
    assert_eq!(item.place, "incoming/m.safetensors");
    folder.arrives("m.safetensors");
    assert!(began.elapsed() >= rest, "taken after {:?}", began.elapsed());
}

/// A file that is written through a mapping is waited for though nobody has it open.
#[test]
fn a_mapped_writer() {
    if !has("python3", "a writer through a mapping") {
        return;
    }
    let folder = DropFolder::start();
    let file = samples::large_safetensors(40_000, 13);
    fs::write(folder.outside().join("src"), &file).unwrap();
    let script = "import mmap, os, sys, time\n\
        data = open(sys.argv[1], 'rb').read()\n\
        fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)\n\
        os.ftruncate(fd, len(data))\n\
        m = mmap.mmap(fd, len(data))\n\
        os.close(fd)\n\
        open(sys.argv[3], 'w').close()\n\
        time.sleep(1.5)\n\
        m[:] = data\n\
        m.flush()\n\
        m.close()\n";
    let path = folder.incoming().join("mapped.safetensors");
    let mapped = folder.outside().join("mapped");
    let mut writer = Command::new("python3")
        .args(["-c", script])
        .args([&folder.outside().join("src"), &path, &mapped])
        .spawn()
        .unwrap();
    tests::wait::until_true("the mapping", || mapped.exists());
    assert!(writer.wait().unwrap().success());
    assert_eq!(folder.arrives("mapped.safetensors").digest(), sha256(&file));
    assert_eq!(folder.admin().value("/models")["total"], 1);
}

/// What has the name of something unfinished waits, whatever program gives it; under its real name it is taken at once.
#[test]
fn temporary_names() {
    let folder = DropFolder::start();
    let names = [
        "a.safetensors.part",
        "b.safetensors.filepart",
        "c.safetensors.tmp",
        "d.safetensors.crdownload",
        ".e.safetensors.X7gQ2z",
        "f.safetensors~",
        "#g.safetensors#",
        "H.SAFETENSORS.PART",
        ".i.safetensors.swp",
        "j.safetensors.upload",
    ];
    let ignored = [".DS_Store", "Thumbs.db", ".nfs0000000000000001", "desktop.ini"];
    for (at, name) in (0..).zip(names) {
        folder.copy(name, &samples::safetensors(at));
    }
    for name in ignored {
        folder.copy(name, b"nothing to anybody");
    }
    // Came last and was taken: whatever would be taken of those before it has been, too.
    std::thread::sleep(SETTLE_TIME * 3);
    folder.copy("last.safetensors", &samples::safetensors(99));
    folder.arrives("last.safetensors");
    assert_eq!(folder.admin().value("/models")["total"], 1);
    for name in names.iter().chain(&ignored) {
        assert!(folder.incoming().join(name).exists(), "{name} was taken");
    }
    folder.shell("mv $IN/a.safetensors.part $IN/a.safetensors; mv $IN/.e.safetensors.X7gQ2z $IN/e.safetensors");
    assert_eq!(folder.arrives("a.safetensors").digest(), sha256(&samples::safetensors(0)));
    assert_eq!(folder.arrives("e.safetensors").digest(), sha256(&samples::safetensors(4)));
}

/// The same name again and again, while the one before it is still on its way: each becomes a version, in order.
#[test]
fn the_same_name_again() {
    let folder = DropFolder::start();
    for seed in 0..8 {
        folder.place("again.safetensors", &samples::safetensors(seed));
        tests::wait::until_true("it to be taken", || !folder.incoming().join("again.safetensors").exists());
    }
    tests::wait::until_true("eight versions", || {
        let versions = folder.admin().get("/models/again/versions?limit=100");
        versions.status == 200 && versions.json()["items"].as_array().unwrap().len() == 8
    });
    for seed in 0..8_u32 {
        let shown = folder.admin().value(&format!("/models/again/versions/{}", seed + 1));
        let digest = format!("sha256:{}", sha256(&samples::safetensors(seed)));
        assert_eq!(shown["artifacts"][0]["digest"], digest, "version {}", seed + 1);
    }
    folder.is_at_rest();
    let kept = tests::drop::tree(&folder.dir().join("done"));
    let receipts = kept.iter().filter(|path| path.ends_with(".receipt.json")).count();
    let files = kept.iter().filter(|path| path.ends_with(".safetensors")).count();
    assert_eq!((receipts, files), (8, 8), "none has overwritten another: {kept:?}");
}

/// A file replaced by another under its name before it was taken: only what is there in the end becomes a version.
#[test]
fn replaced_before_it_was_taken() {
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "3")]);
    folder.place("m.safetensors", &samples::safetensors(1));
    folder.shows("m.safetensors", "to be seen", |_| true);
    folder.place("m.safetensors", &samples::safetensors(2));
    assert_eq!(folder.arrives("m.safetensors").digest(), sha256(&samples::safetensors(2)));
    assert_eq!(folder.admin().value("/models/m/versions")["items"].as_array().unwrap().len(), 1);
}

/// What goes away again before it is taken leaves the list, and nothing becomes of it.
#[test]
fn gone_again() {
    let folder = DropFolder::with(&[("MREG_DROP_SETTLE", "3"), ("MREG_DROP_POLL", "1")]);
    folder.copy("m.safetensors", &samples::safetensors(1));
    folder.shows("m.safetensors", "to be seen", |_| true);
    fs::remove_file(folder.incoming().join("m.safetensors")).unwrap();
    tests::wait::until_true("it to leave the list", || folder.item("m.safetensors").is_none());
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// An empty file is refused with the reason, as an upload of it would be.
#[test]
fn an_empty_file() {
    let folder = DropFolder::start();
    folder.copy("empty.safetensors", b"");
    let refused = folder.is_refused("empty.safetensors");
    assert_eq!(refused.problem(), "invalid");
    assert!(refused.says("empty"), "{}", refused.document);
}

/// Without keeping, the file goes once it is a version, and its receipt stays.
#[test]
fn not_kept() {
    let folder = DropFolder::with(&[("MREG_DROP_DONE", "remove")]);
    folder.copy("m.safetensors", &samples::safetensors(1));
    folder.place("n.safetensors", &samples::safetensors(2));
    let arrived = folder.arrives("m.safetensors");
    folder.arrives("n.safetensors");
    folder.is_at_rest();
    assert!(!arrived.place.exists());
    assert_eq!(folder.admin().get("/models/m/download").expect(200).body, samples::safetensors(1));
    let left = tests::drop::tree(folder.dir());
    assert_eq!(left.iter().filter(|path| path.ends_with(".safetensors")).count(), 0, "{left:?}");
}
