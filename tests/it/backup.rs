//! `mregd backup` and `mregd restore`, from outside: what comes back is what was there, whatever goes on meanwhile, and what is not
//! right is named.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::postgres::Postgres;
use tests::s3::S3Server;
use tests::{oracle, samples, wait};

use crate::pg;

const DATA: i32 = 65;
const USAGE: i32 = 64;
const TEMPFAIL: i32 = 75;

/// What a directory of backups is called here.
fn repository(daemon: &Daemon) -> PathBuf {
    daemon.work_dir().join("backups")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs it to its end: exit code, standard output, standard error.
fn run(daemon: &Daemon, arguments: &[&str]) -> (i32, String, String) {
    let output = daemon.run(arguments, "");
    let said = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code().unwrap_or(-1), said(output.stdout), said(output.stderr))
}

fn ok(daemon: &Daemon, arguments: &[&str]) -> String {
    let (exit, out, err) = run(daemon, arguments);
    assert_eq!(exit, 0, "{arguments:?}: {out}{err}");
    out
}

fn value(daemon: &Daemon, arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(daemon, &[arguments, &["--json"]].concat())).unwrap()
}

fn refused(daemon: &Daemon, arguments: &[&str], exit: i32) -> String {
    let (code, out, err) = run(daemon, arguments);
    assert_eq!(code, exit, "{arguments:?}: {out}{err}");
    format!("{out}{err}")
}

fn back_up(daemon: &Daemon, to: &Path) -> Value {
    value(daemon, &["backup", "--to", &text(to)])
}

fn verify(daemon: &Daemon, from: &Path) -> Value {
    value(daemon, &["restore", "--verify", "--from", &text(from), "--temp-dir", &text(&daemon.work_dir())])
}

fn generations(daemon: &Daemon, dir: &Path) -> Vec<String> {
    let listed = value(daemon, &["backup", "list", &text(dir)]);
    listed.as_array().unwrap().iter().map(|row| row["generation"].as_str().unwrap().to_owned()).collect()
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn octets_below(dir: &Path) -> u64 {
    files(dir).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A machine of its own, for a registry that is restored.
fn machine() -> Daemon {
    let mut daemon = Daemon::prepared(&[]);
    // The view of a restored registry is derived at its first start.
    daemon.expect_line("there is no high-water mark");
    daemon
}

fn restore(machine: &Daemon, from: &Path, more: &[&str]) -> Value {
    let (from, to) = (text(from), text(&machine.data_dir()));
    value(machine, &[&["restore", "--from", &from, "--to", &to], more].concat())
}

fn signed_in(daemon: &Daemon) -> Client {
    daemon.client().signed_in(ADMIN, ADMIN_PASSWORD)
}

/// The checkpoint that a generation has.
fn checkpoint(dir: &Path, generation: &str) -> PathBuf {
    dir.join("generations").join(generation).join("checkpoint")
}

/// The records of a restored journal come to the signed root, by a tree that shares no code with ours.
fn proved_by_others(machine: &Daemon, dir: &Path, generation: &str, vkey: &str) {
    let note = fs::read_to_string(checkpoint(dir, generation)).unwrap();
    let (size, root) = oracle::open_note(&note, vkey);
    let records = oracle::journal(&machine.data_dir().join("log"));
    let hashes: Vec<_> = records.iter().map(|(leaf, _change)| oracle::leaf_hash(leaf)).collect();
    assert_eq!((hashes.len(), oracle::root(&hashes)), (size, root));
}

/// `mregd log verify` of what a daemon serves, which must extend a checkpoint.
fn verify_served(daemon: &Daemon, admin: &Client, vkey: &str, saved: &Path) {
    let token = daemon.work_dir().join("token");
    fs::write(&token, admin.token()).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{}", daemon.address());
    let (token, saved) = (text(&token), text(saved));
    ok(daemon, &["log", "verify", "--url", &url, "--token-file", &token, "--vkey", vkey, "--saved", &saved]);
}

fn metrics(client: &Client) -> String {
    String::from_utf8(client.get("/metrics").expect(200).body).unwrap()
}

fn download(client: &Client, name: &str) -> Vec<u8> {
    client.get(&format!("/models/{name}/download")).expect(200).body
}

/// While others upload, delete and purge, backups are made, each of which is whole; what is restored from the last serves the
/// same octets under the same signed checkpoint.
#[test]
fn under_load() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    admin.upload("steady", "m.safetensors", &samples::large_safetensors(3 << 20, 1));
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for lane in 0..2_u32 {
            let (admin, ends) = (&admin, &ends);
            scope.spawn(move || {
                let mut number = 0;
                while !ends.load(Ordering::Relaxed) {
                    let name = format!("lane-{lane}-{number}");
                    let seed = u8::try_from((number * 2 + lane) % 251).unwrap();
                    admin.upload(&name, "m.safetensors", &samples::large_safetensors(50_000, seed));
                    if number % 2 == 0 {
                        admin.delete(&format!("/models/{name}?purge=true&reason=load")).expect(200);
                    }
                    number += 1;
                }
            });
        }
        for _ in 0..3 {
            let made = value(&daemon, &["backup", "--to", &text(&dir), "--rate", "8MiB"]);
            assert_eq!(made["lacking"], 0);
            let verified = verify(&daemon, &dir);
            assert_eq!((&verified["passed"], &verified["generation"]), (&json!(true), &made["generation"]));
            assert_eq!((&verified["size"], &verified["blobs"]), (&made["size"], &made["blobs"]));
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert_eq!(generations(&daemon, &dir).len(), 3);
    // Each of them, not the newest alone.
    for id in generations(&daemon, &dir) {
        ok(&daemon, &["restore", "--verify", "--from", &text(&dir), "--generation", &id, "--quiet"]);
    }

    let listed = admin.value("/models?limit=1000");
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    let expected: Vec<Vec<u8>> = names.iter().map(|name| download(&admin, name)).collect();
    let vkey = daemon.ledger().vkey().to_string();
    daemon.stop();
    // Of the stopped registry; its key directory is kept, and says that nothing was signed since.
    let made = back_up(&daemon, &dir);
    let id = made["generation"].as_str().unwrap();
    let mut machine = machine();
    let told = restore(&machine, &dir, &["--vkey", &vkey]);
    assert_eq!((&told["passed"], &told["is_pinned"]), (&json!(true), &json!(true)));
    proved_by_others(&machine, &dir, id, &vkey);
    copy_dir(&daemon.key_dir(), &machine.key_dir());
    // The report to the stopped registry was signed there: that one entry is lost, and the mark says so.
    let told = refused(&machine, &[], DATA);
    assert!(told.contains("accept-rollback"), "{told}");
    ok(&machine, &["log", "accept-rollback", "--reason", "a drill", "--yes"]);
    machine.restart();
    let restored = signed_in(&machine);
    for (name, octets) in names.iter().zip(&expected) {
        assert!(download(&restored, name) == *octets, "{name}");
    }
    let both = machine.work_dir().join("vkeys");
    fs::write(&both, format!("{vkey}\n{}\n", machine.ledger().vkey())).unwrap();
    verify_served(&machine, &restored, &text(&both), &checkpoint(&dir, id));
    assert!(ok(&machine, &["check", "--blobs"]).contains("all is well"));
    let log = machine.log();
    assert_eq!(log.of("backup.restore")[0]["data"]["generation"], *id);
    assert_eq!(log.of("log.rollback_accepted").len(), 1);
    assert_eq!(daemon.log().of("backup.create").len(), 4);
}

/// What is purged after the checkpoint was named is in the backup, and goes afterwards.
#[test]
fn purged_meanwhile() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    let octets: Vec<Vec<u8>> = (0..6).map(|seed| samples::large_safetensors(300_000, seed)).collect();
    for (number, octets) in octets.iter().enumerate() {
        admin.upload(&format!("m{number}"), "m.safetensors", octets);
    }
    let mut child = spawn(&daemon, &dir, "600KiB");
    wait::until_true("the first blob of the backup", || !files(&dir.join("blobs")).is_empty());
    for number in 0..octets.len() {
        admin.delete(&format!("/models/m{number}?purge=true&reason=gone")).expect(200);
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(verify(&daemon, &dir)["blobs"], 6);
    assert_eq!(oracle::blobs(&daemon.data_dir()).len(), 6, "they were kept as long as the backup was made");
    daemon.stop();
    daemon.restart();
    wait::until_true("the purged bytes to go", || oracle::blobs(&daemon.data_dir()).is_empty());

    let mut machine = machine();
    restore(&machine, &dir, &["--newest"]);
    pg::copy_keys(&daemon, &machine);
    machine.restart();
    let restored = signed_in(&machine);
    for (number, octets) in octets.iter().enumerate() {
        assert!(download(&restored, &format!("m{number}")) == *octets);
    }
    // Both signed under one name from here on: a claim that was false, which is why it must be made aloud.
    machine.stop();
}

fn spawn(daemon: &Daemon, dir: &Path, rate: &str) -> Child {
    let mut command = daemon.command(&["backup", "--to", &text(dir), "--rate", rate]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Killed at any point it leaves no backup that isn't one, and run again it makes one.
#[test]
fn killed() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    for seed in 0..8 {
        admin.upload(&format!("m{seed}"), "m.safetensors", &samples::large_safetensors(100_000, seed));
    }
    let has = |part: &str, count: usize| files(&dir.join(part)).len() >= count;
    let points: [(&str, &dyn Fn() -> bool); 7] = [
        ("at once", &|| true),
        ("its lock", &|| dir.join("lock").exists()),
        ("what it is", &|| dir.join("mreg-backups.json").exists()),
        ("a part of the journal", &|| has("journal", 1)),
        ("a file in the making", &|| has("blobs", 1) && has("tmp", 1)),
        ("some blobs", &|| has("blobs", 4)),
        ("most blobs", &|| has("blobs", 7)),
    ];
    for (what, reached) in points {
        let mut child = spawn(&daemon, &dir, "500KiB");
        wait::until_true(what, reached);
        child.kill().unwrap();
        child.wait().unwrap();
        if dir.join("mreg-backups.json").exists() {
            assert!(generations(&daemon, &dir).is_empty(), "{what}: it is no backup");
            let told = refused(&daemon, &["restore", "--verify", "--from", &text(&dir)], 66);
            assert!(told.contains("no backup was finished"), "{told}");
        }
    }
    let copied = files(&dir.join("blobs")).len();
    let made = back_up(&daemon, &dir);
    assert_eq!(made["added_blobs"], json!(8 - copied), "what was copied is not copied again");
    assert_eq!(verify(&daemon, &dir)["blobs"], 8);
    assert!(files(&dir.join("tmp")).is_empty());
    // Two at a time get into each other's way, and say so.
    admin.upload("more", "m.safetensors", &samples::large_safetensors(1_000_000, 9));
    let mut child = spawn(&daemon, &dir, "500KiB");
    wait::until_true("the other backup", || !files(&dir.join("tmp")).is_empty());
    assert!(refused(&daemon, &["backup", "--to", &text(&dir)], TEMPFAIL).contains("in use"));
    assert!(child.wait().unwrap().success());
    // What the killed ones left of the journal goes with the next prune.
    ok(&daemon, &["backup", "prune", &text(&dir), "--keep", "1"]);
    assert_eq!(files(&dir.join("journal")).len(), 2);
    assert_eq!(verify(&daemon, &dir)["blobs"], 9);
}

/// The second generation costs what changed; pruning never takes what a kept one needs.
#[test]
fn generations_share() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    for seed in 0..4 {
        admin.upload(&format!("m{seed}"), "m.safetensors", &samples::large_safetensors(200_000, seed));
    }
    let first = back_up(&daemon, &dir);
    let before = octets_below(&dir);
    assert_eq!((&first["added_blobs"], &first["blobs"]), (&json!(4), &json!(4)));
    admin.upload("m4", "m.safetensors", &samples::large_safetensors(50_000, 9));
    admin.delete("/models/m0?purge=true&reason=x").expect(200);
    let second = back_up(&daemon, &dir);
    assert_eq!((&second["added_blobs"], &second["blobs"]), (&json!(1), &json!(4)));
    let grown = octets_below(&dir) - before;
    println!("first generation {before} octets, second {grown} more");
    assert!((50_000..80_000).contains(&grown), "{grown}");

    let third = back_up(&daemon, &dir);
    assert_eq!((&third["added_blobs"], &third["lacking"]), (&json!(0), &json!(0)));
    let ids = generations(&daemon, &dir);
    assert_eq!(ids.len(), 3);
    assert!(ok(&daemon, &["backup", "prune", &text(&dir), "--keep", "5"]).contains("removed 0 generations"));
    ok(&daemon, &["backup", "prune", &text(&dir), "--keep", "2"]);
    assert_eq!(generations(&daemon, &dir), ids[1..]);
    assert_eq!(files(&dir.join("blobs")).len(), 4, "the purged one was needed by the first alone");
    for id in &ids[1..] {
        ok(&daemon, &["restore", "--verify", "--from", &text(&dir), "--generation", id]);
    }
    assert!(refused(&daemon, &["backup", "prune", &text(&dir), "--keep", "0"], USAGE).contains("--keep"));

    // A damaged list: nothing is removed.
    let list = dir.join("generations").join(&ids[2]).join("blobs");
    let octets = fs::read(&list).unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&list, &octets[..octets.len() / 2]).unwrap();
    refused(&daemon, &["backup", "prune", &text(&dir), "--keep", "2"], DATA);
    assert_eq!(files(&dir.join("blobs")).len(), 4);

    // Links share the registry's own files, and another directory takes over what is there.
    let linked = daemon.work_dir().join("linked");
    value(&daemon, &["backup", "--to", &text(&linked), "--blobs", "link"]);
    assert!(files(&linked.join("blobs")).iter().all(|path| fs::metadata(path).unwrap().nlink() == 2));
    let other = daemon.work_dir().join("other");
    value(&daemon, &["backup", "--to", &text(&other), "--since", &text(&linked)]);
    assert!(files(&other.join("blobs")).iter().all(|path| fs::metadata(path).unwrap().nlink() == 3));
    assert_eq!(verify(&daemon, &other)["blobs"], 4);
    daemon.stop();
}

/// One octet that is another, in any file, is found and named; what needs it is not restored.
#[test]
fn one_octet() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    admin.upload("m", "m.safetensors", &samples::large_safetensors(100_000, 1));
    admin.upload("n", "m.safetensors", &samples::large_safetensors(100_000, 2));
    let made = back_up(&daemon, &dir);
    let id = made["generation"].as_str().unwrap();
    let good = daemon.work_dir().join("good");
    copy_dir(&dir, &good);
    let generation = dir.join("generations").join(id);
    let segment = files(&dir.join("journal"))[0].clone();
    let blob = files(&dir.join("blobs"))[0].clone();
    let shown = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let digest = format!("{}{}", blob.parent().unwrap().file_name().unwrap().to_str().unwrap(), shown(&blob));
    for (path, named, restores) in [
        (&segment, shown(&segment), false),
        (&blob, digest, true),
        (&generation.join("manifest.json"), "manifest".to_owned(), false),
        (&generation.join("checkpoint"), "checkpoint".to_owned(), false),
        (&generation.join("blobs"), "blobs".to_owned(), false),
        (&generation.join("settings.env"), "settings.env".to_owned(), false),
    ] {
        let octets = fs::read(path).unwrap();
        for at in [0, octets.len() / 2, octets.len() - 1] {
            let mut flipped = octets.clone();
            flipped[at] ^= 0x01;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(path, &flipped).unwrap();
            let told = refused(&daemon, &["restore", "--verify", "--from", &text(&dir)], DATA);
            assert!(told.contains(&named), "{} at {at}: {told}", path.display());
            let target = daemon.work_dir().join("target");
            let told = refused(&daemon, &["restore", "--from", &text(&dir), "--to", &text(&target)], DATA);
            assert!(told.contains(&named), "{} at {at}: {told}", path.display());
            assert_eq!(target.join("log").exists(), restores, "{} at {at}", path.display());
            if restores {
                assert_eq!(oracle::blobs(&target).len(), 1, "the other one is there");
            }
            let _gone = fs::remove_dir_all(&target);
        }
        fs::write(path, &octets).unwrap();
    }
    // A file that is gone, one that is cut, and a key that never signed this.
    fs::remove_file(&blob).unwrap();
    assert!(refused(&daemon, &["restore", "--verify", "--from", &text(&dir)], DATA).contains("is missing"));
    let other = Daemon::start();
    let stranger = other.ledger().vkey().to_string();
    let told = refused(&daemon, &["restore", "--verify", "--from", &text(&good), "--vkey", &stranger], DATA);
    assert!(told.contains("checkpoint: by the keys that were given"), "{told}");
    // What was found is in the log, as an error; it doesn't count as verified.
    let verified = admin.value("/status")["backup"]["verified"].clone();
    assert_eq!(verified, Value::Null);
    verify(&daemon, &good);
    assert_eq!(admin.value("/status")["backup"]["verified"]["generation"], *id);
    let (exit, _out, err) = run(&other, &["restore", "--verify", "--from", &text(&good)]);
    assert!(exit == 0 && err.contains("another registry's"), "{err}");
    assert_eq!(refused(&other, &["backup", "--to", &text(&good)], USAGE).matches("another registry").count(), 1);
    let log = daemon.log();
    let outcomes: Vec<&str> = log.of("backup.verify").iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert!(outcomes.contains(&"error") && outcomes.last() == Some(&"ok"), "{outcomes:?}");
}

/// A file that the registry itself lost is no reason to have no backup: it is made without, and says so.
#[test]
fn lacking() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    admin.upload("m", "m.safetensors", &samples::large_safetensors(100_000, 1));
    admin.upload("n", "m.safetensors", &samples::large_safetensors(100_000, 2));
    let digest = samples::sha256(&samples::large_safetensors(100_000, 1));
    let path = daemon.data_dir().join("blobs/sha256").join(&digest[..2]).join(&digest[2..]);
    let octets = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let told = refused(&daemon, &["backup", "--to", &text(&dir)], DATA);
    assert!(told.contains(&digest) && told.contains("LACKING"), "{told}");
    assert_eq!(admin.value("/status")["backup"]["last"]["lacking"], 1);
    let verified = verify(&daemon, &dir);
    assert_eq!((&verified["passed"], &verified["blobs"], &verified["lacking"]), (&json!(true), &json!(1), &json!(1)));
    // The one that lacks nothing is spared, whatever is newer.
    fs::write(&path, &octets).unwrap();
    let whole = back_up(&daemon, &dir);
    assert_eq!((&whole["added_blobs"], &whole["lacking"]), (&json!(1), &json!(0)));
    fs::write(&path, [&octets[1..], b"x"].concat()).unwrap();
    let other = daemon.work_dir().join("other");
    assert!(refused(&daemon, &["backup", "--to", &text(&other)], DATA).contains("has octets of the digest"));
    fs::write(&path, &octets).unwrap();
    daemon.stop();
}

/// Keys kept, keys lost, keys in the backup; a backup that is not the newest, and a restore that was cut off: nothing is signed
/// twice under one name, and each way ends with a registry that serves.
#[test]
fn disaster() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    admin.upload("kept", "m.safetensors", &samples::large_safetensors(1_000_000, 1));
    let vkey = daemon.ledger().vkey().to_string();
    let (exit, _out, err) = run(&daemon, &["backup", "--to", &text(&dir), "--with-keys"]);
    assert!(exit == 0 && err.contains("can sign another history"), "{err}");
    let id = generations(&daemon, &dir).remove(0);
    let keys = dir.join("generations").join(&id).join("keys");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(files(&keys).len() == 4 && files(&keys).iter().all(|path| mode(path) == 0o600));
    assert!(files(&dir).iter().all(|path| mode(path) & 0o077 == 0), "nobody else reads any of it");
    admin.upload("lost", "m.safetensors", &samples::safetensors(2));
    daemon.stop();

    // A restore that was cut off is no registry, and is gone on with.
    let mut lost = machine();
    let to = text(&lost.data_dir());
    let arguments = ["restore", "--from", &text(&dir), "--to", &to, "--rate", "300KiB"];
    let mut child = lost.command(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait::until_true("the journal to be restored", || lost.data_dir().join("log.restoring/restored").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(refused(&lost, &[], DATA).contains("cut off"));
    restore(&lost, &dir, &[]);
    let again = refused(&lost, &["restore", "--from", &text(&dir), "--to", &to], USAGE);
    assert!(again.contains("not empty"), "{again}");

    // Keys lost: nothing tells what was signed since.
    let told = refused(&lost, &[], DATA);
    assert!(told.contains("accept-rollback") && told.contains(&id) && told.contains("--newest"), "{told}");
    assert!(refused(&lost, &["check"], DATA).contains("not started yet"));
    ok(&lost, &["log", "accept-rollback", "--reason", "the machine burnt, and its keys", "--yes"]);
    lost.restart();
    let restored = signed_in(&lost);
    assert!(download(&restored, "kept") == samples::large_safetensors(1_000_000, 1));
    restored.get("/models/lost").expect(404);
    let name = restored.value("/status")["log"]["origin"].as_str().unwrap().to_owned();
    assert!(name.ends_with("/2"), "{name}");
    let log = lost.log();
    assert_eq!(log.of("log.rollback_accepted")[0]["data"]["restored"]["generation"], *id);
    assert_eq!(log.of("backup.restore")[0]["data"]["generation"], *id);

    // Keys kept, with their mark: it says what is lost.
    let mut kept = machine();
    copy_dir(&daemon.key_dir(), &kept.key_dir());
    let told = restore(&kept, &dir, &["--vkey", &vkey]);
    assert!(told["next"].to_string().contains("high-water mark there decides"), "{told}");
    let told = refused(&kept, &[], DATA);
    assert!(told.contains("acknowledged entries are missing"), "{told}");
    ok(&kept, &["log", "accept-rollback", "--reason", "the disk burnt", "--yes"]);
    kept.restart();
    assert_eq!(signed_in(&kept).value("/status")["log"]["origin"], *name);
    let log = kept.log();
    assert!(!log.of("log.rollback_accepted")[0]["data"]["lost"].as_array().unwrap().is_empty());

    // A move: stopped for good, then backed up with its keys. It goes on under its name, for it is said that it may.
    let moved = daemon.work_dir().join("moved");
    ok(&daemon, &["backup", "--to", &text(&moved), "--with-keys"]);
    let mut new = machine();
    restore(&new, &moved, &["--with-keys", "--newest"]);
    assert!(files(&new.key_dir()).iter().all(|path| mode(path) == 0o600));
    // Receivers of webhooks know their secrets still, and so do authenticators: those follow from keys of their own.
    let keys = |daemon: &Daemon| ["webhook.key", "totp.key"].map(|name| fs::read(daemon.key_dir().join(name)).unwrap());
    let restored_keys = keys(&new);
    assert!(restored_keys == keys(&daemon), "the keys of webhooks and second factors move, too");
    new.restart();
    assert!(keys(&new) == restored_keys);
    let restored = signed_in(&new);
    assert_eq!(restored.value("/status")["log"]["vkey"], *vkey);
    assert!(download(&restored, "lost") == samples::safetensors(2));
    let newest = generations(&daemon, &moved).remove(0);
    verify_served(&new, &restored, &vkey, &checkpoint(&moved, &newest));
    assert_eq!(new.log().of("backup.restore")[0]["data"]["newest"], true);
    // Keys are not written over.
    let target = text(&new.work_dir().join("target"));
    new.set("MREG_KEY_DIR", &text(&lost.key_dir()));
    let told = refused(&new, &["restore", "--from", &text(&dir), "--to", &target, "--with-keys"], USAGE);
    assert!(told.contains("already: leave out --with-keys"), "{told}");
}

/// What a timer sees: one line, an exit code; and what the registry tells of it.
#[test]
fn told() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    assert!(!metrics(&admin).contains("mreg_backup_last"));
    assert_eq!(admin.value("/status")["backup"], json!({"last": null, "verified": null}));
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let (exit, out, err) = run(&daemon, &["backup", "--to", &text(&dir)]);
    assert!(exit == 0 && out.lines().count() == 1 && out.starts_with("backup 2"), "{out}{err}");
    let (exit, out, err) = run(&daemon, &["restore", "--verify", "--from", &text(&dir), "--quiet"]);
    assert!(exit == 0 && out.lines().count() == 1 && out.contains("0 failures"), "{out}{err}");
    let proved = ok(&daemon, &["restore", "--verify", "--from", &text(&dir)]);
    assert!(proved.contains("proved: ") && proved.contains("not proved: whose key that is"), "{proved}");
    let id = generations(&daemon, &dir).remove(0);
    let result = fs::read(dir.join("generations").join(&id).join("restore-verified.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert!(result["passed"] == true && oracle::is_time(result["verified_at"].as_str().unwrap()), "{result}");
    assert!(ok(&daemon, &["backup", "list", &text(&dir)]).contains("verified 2"));
    let backup = admin.value("/status")["backup"].clone();
    assert_eq!((&backup["last"]["generation"], &backup["verified"]["generation"]), (&json!(id), &json!(id)));
    let metrics = metrics(&admin);
    let number = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse::<f64>().unwrap()
    };
    let (made, read) = (number("mreg_backup_last_success_seconds"), number("mreg_backup_last_verified_seconds"));
    assert!(number("process_start_time_seconds") <= made && made <= read, "{made} {read}");
    assert!(number("mreg_backup_last_lacking_files") < 0.5);
    // Settings without their secrets.
    let settings = fs::read_to_string(dir.join("generations").join(&id).join("settings.env")).unwrap();
    assert!(settings.contains("MREG_DATA_DIR=") && settings.contains("# ADMIN_PASSWORD was set"), "{settings}");
    assert!(!settings.contains(ADMIN_PASSWORD));
    // Nobody but the operator of the machine holds or reports.
    for path in ["/backup/hold", "/backup/report"] {
        let status = admin.post(path, &json!({})).status;
        assert!(status == 403 || status == 404, "{path}: {status}");
    }
    let inside = text(&daemon.data_dir().join("backups"));
    assert!(refused(&daemon, &["backup", "--to", &inside], USAGE).contains("inside the data directory"));
    let empty = daemon.work_dir().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&daemon, &["backup", "list", &text(&empty)], 66).contains("no directory of backups"));
    fs::write(empty.join("file"), "x").unwrap();
    assert!(refused(&daemon, &["backup", "--to", &text(&empty)], USAGE).contains("not empty"));
    let log = daemon.log();
    let entry = log.of("backup.create")[0];
    assert_eq!((&entry["target"]["kind"], &entry["target"]["id"]), (&json!("backup"), &json!(id)));
    assert_eq!((&entry["actor"]["name"], entry["data"]["size"].as_u64()), (&json!("operator"), entry["seq"].as_u64()));
    assert_eq!(log.of("backup.verify").len(), 2);
}

/// A drill with figures.
#[test]
fn drill() {
    const FILES: u8 = 8;
    const OCTETS: usize = 8 << 20;
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let dir = repository(&daemon);
    for seed in 0..FILES {
        admin.upload(&format!("m{seed}"), "m.safetensors", &samples::large_safetensors(OCTETS, seed));
    }
    let rate = |what: &str, began: Instant| {
        let seconds = began.elapsed().as_secs_f64();
        let mib = f64::from(FILES) * OCTETS as f64 / f64::from(1 << 20);
        println!("{what}: {mib} MiB in {seconds:.2} s, {:.0} MiB/s", mib / seconds);
    };
    let began = Instant::now();
    back_up(&daemon, &dir);
    rate("backup", began);
    let began = Instant::now();
    let again = back_up(&daemon, &dir);
    rate("backup again", began);
    assert!(again["added_bytes"].as_u64().unwrap() < 10_000, "{again}");
    let began = Instant::now();
    verify(&daemon, &dir);
    rate("verify", began);
    daemon.stop();
    let mut machine = machine();
    let began = Instant::now();
    restore(&machine, &dir, &[]);
    rate("restore", began);
    ok(&machine, &["log", "accept-rollback", "--reason", "a drill", "--yes"]);
    machine.restart();
    rate("restore and start", began);
    let restored = signed_in(&machine);
    for seed in 0..FILES {
        assert!(download(&restored, &format!("m{seed}")) == samples::large_safetensors(OCTETS, seed));
    }
}

/// From a bucket: fetched, or only listed; and back to a disk, or to the bucket where they still are.
#[test]
fn bucket() {
    let server = S3Server::start();
    let settings = server.settings("p");
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut daemon = Daemon::with(&settings);
    let admin = daemon.admin();
    let dir = repository(&daemon);
    for seed in 0..3 {
        admin.upload(&format!("m{seed}"), "m.safetensors", &samples::large_safetensors(100_000, seed));
    }
    let made = back_up(&daemon, &dir);
    assert_eq!((&made["added_blobs"], &made["lacking"]), (&json!(3), &json!(0)));
    assert_eq!(verify(&daemon, &dir)["blobs"], 3);
    let linked = daemon.work_dir().join("linked");
    assert!(refused(&daemon, &["backup", "--to", &text(&linked), "--blobs", "link"], USAGE).contains("--blobs link"));
    let listed = daemon.work_dir().join("listed");
    let made = value(&daemon, &["backup", "--to", &text(&listed), "--blobs", "reference"]);
    assert_eq!((&made["blobs"], &made["added_blobs"]), (&json!(3), &json!(0)));
    assert!(files(&listed.join("blobs")).is_empty());
    assert_eq!(verify(&daemon, &listed)["blobs"], 3, "they are read where they are");
    daemon.expect_line("the object store can't be used");
    server.set_down(true);
    let (exit, _out, err) = run(&daemon, &["backup", "--to", &text(&daemon.work_dir().join("down"))]);
    assert!(exit == TEMPFAIL || exit == 73 || exit == 74, "{exit}: {err}");
    server.set_down(false);
    daemon.stop();

    let mut on_disk = machine();
    restore(&on_disk, &dir, &[]);
    ok(&on_disk, &["log", "accept-rollback", "--reason", "out of the cloud", "--yes"]);
    on_disk.restart();
    let restored = signed_in(&on_disk);
    for seed in 0..3 {
        assert!(download(&restored, &format!("m{seed}")) == samples::large_safetensors(100_000, seed));
    }

    let mut beside = Daemon::prepared(&settings);
    beside.expect_line("there is no high-water mark");
    let told = restore(&beside, &listed, &[]);
    assert_eq!((&told["blobs"], &told["passed"]), (&json!(3), &json!(true)));
    ok(&beside, &["log", "accept-rollback", "--reason", "a new machine", "--yes"]);
    beside.restart();
    assert!(download(&signed_in(&beside), "m1") == samples::large_safetensors(100_000, 1));
}

/// Two daemons on one log: whichever makes the next generation, it goes on with the one before; and the log comes back without a
/// database.
#[test]
fn shared_log() {
    let server = Postgres::start();
    let address = server.address();
    let blobs = server.dir().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let prepared = || {
        let daemon = Daemon::prepared(&pg::settings(&address, &[]));
        fs::create_dir_all(daemon.data_dir()).unwrap();
        std::os::unix::fs::symlink(&blobs, daemon.data_dir().join("blobs")).unwrap();
        daemon
    };
    let mut first = prepared();
    first.restart();
    let mut second = prepared();
    pg::copy_keys(&first, &second);
    second.restart();
    let admin = first.admin();
    let dir = repository(&first);
    for seed in 0..3 {
        admin.upload(&format!("m{seed}"), "m.safetensors", &samples::large_safetensors(50_000, seed));
    }
    let made = back_up(&first, &dir);
    assert_eq!(made["added_blobs"], 3);
    let there = second.client().signed_in(ADMIN, ADMIN_PASSWORD);
    there.upload("m3", "m.safetensors", &samples::large_safetensors(50_000, 3));
    let next = back_up(&second, &dir);
    assert_eq!((&next["added_blobs"], &next["remarks"]), (&json!(1), &json!([])));
    assert!(next["added_entries"].as_u64().unwrap() < next["size"].as_u64().unwrap());
    assert_eq!(verify(&second, &dir)["blobs"], 4);
    // What one was told both show.
    assert_eq!(admin.value("/status")["backup"]["verified"]["generation"], next["generation"]);
    first.stop();
    second.stop();

    let mut machine = Daemon::prepared(&[("MREG_LOG_ORIGIN", "pg.test/log")]);
    machine.expect_line("there is no high-water mark");
    restore(&machine, &dir, &[]);
    ok(&machine, &["log", "accept-rollback", "--reason", "the database is gone", "--yes"]);
    machine.restart();
    let restored = signed_in(&machine);
    for seed in 0..4 {
        assert!(download(&restored, &format!("m{seed}")) == samples::large_safetensors(50_000, seed));
    }
    assert!(ok(&machine, &["check", "--blobs"]).contains("all is well"));
}

/// Waits for no pipe, reads no device, and goes by no link: whatever stands in the place of a file of a backup is named and is
/// no file, and nothing outside is read, changed or removed.
#[test]
fn hostile_backup() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let whole = repository(&daemon);
    back_up(&daemon, &whole);
    let outside = daemon.work_dir().join("outside");
    fs::create_dir(&outside).unwrap();
    let kept = outside.join("kept");
    fs::write(&kept, "kept").unwrap();

    let generation = generations(&daemon, &whole).remove(0);
    let of = |part: &str| files(&whole.join(part)).remove(0).strip_prefix(&whole).unwrap().to_owned();
    let generation_dir = Path::new("generations").join(&generation);
    let places = [
        "mreg-backups.json".into(),
        of("journal"),
        of("blobs"),
        generation_dir.join("blobs"),
        generation_dir.join("manifest.json"),
    ];
    let temp = text(&daemon.work_dir());
    let hostile = daemon.work_dir().join("hostile");
    for (at, place) in places.iter().enumerate() {
        for what in ["link", "device", "pipe", "directory"] {
            let _ = fs::remove_dir_all(&hostile);
            copy_dir(&whole, &hostile);
            let path = hostile.join(place);
            // The same octets, outside: a link would be as good as the file.
            fs::rename(&path, outside.join("octets")).unwrap();
            match what {
                "link" => std::os::unix::fs::symlink(outside.join("octets"), &path).unwrap(),
                "device" if rustix::process::geteuid().is_root() => {
                    let zero = rustix::fs::makedev(1, 5);
                    rustix::fs::mknodat(
                        rustix::fs::CWD,
                        &path,
                        rustix::fs::FileType::CharacterDevice,
                        rustix::fs::Mode::from_raw_mode(0o644),
                        zero,
                    )
                    .unwrap();
                }
                "device" => continue,
                "pipe" => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o644)).unwrap(),
                _directory => fs::create_dir(&path).unwrap(),
            }
            let verify = ["restore", "--verify", "--from", &text(&hostile), "--temp-dir", &temp];
            let told = refused(&daemon, &verify, DATA);
            assert!(told.contains("and no regular file") && told.contains(what), "{place:?} {what}: {told}");
            let to = daemon.work_dir().join(format!("restored-{at}-{what}"));
            let told = refused(&daemon, &["restore", "--from", &text(&hostile), "--to", &text(&to)], DATA);
            assert!(told.contains("and no regular file"), "{place:?} {what}: {told}");
            assert_eq!(files(&to).iter().any(|path| path.starts_with(to.join("log"))), place.starts_with("blobs"));
        }
    }

    // Nothing is added or removed by way of a link.
    for below in ["tmp", "journal", "blobs", "generations"] {
        let _ = fs::remove_dir_all(&hostile);
        copy_dir(&whole, &hostile);
        let dir = hostile.join(below);
        let _ = fs::remove_dir_all(&dir);
        std::os::unix::fs::symlink(&outside, &dir).unwrap();
        let hostile = text(&hostile);
        for arguments in [&["backup", "--to", &hostile][..], &["backup", "prune", &hostile, "--keep", "1"]] {
            let told = refused(&daemon, arguments, USAGE);
            assert!(told.contains("is a link"), "{told}");
        }
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    }
    // A blob that is a link is made anew, beside it.
    let _ = fs::remove_dir_all(&hostile);
    copy_dir(&whole, &hostile);
    let blob = hostile.join(of("blobs"));
    fs::copy(&blob, outside.join("octets")).unwrap();
    fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink(outside.join("octets"), &blob).unwrap();
    admin.upload("m", "m.safetensors", &samples::safetensors(2));
    back_up(&daemon, &hostile);
    assert!(outside.join("octets").exists());

    // By whatever way, the data directory is no place for its own backups.
    let inside = daemon.work_dir().join("inside");
    std::os::unix::fs::symlink(daemon.data_dir(), &inside).unwrap();
    for to in [inside.join("backups"), inside.clone(), inside.join("x/../y"), daemon.data_dir().join("backups")] {
        let told = refused(&daemon, &["backup", "--to", &text(&to)], USAGE);
        assert!(told.contains("inside the data directory"), "{told}");
    }
}
