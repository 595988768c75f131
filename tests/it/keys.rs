//! The log's keys and the operator's commands on the log: rotation, the end of an overlap, compromise, kills in between;
//! rolled-back data; `mregd check` and `mregd log rebuild`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::audit::{Checkpoint, Receipt, Verifier};
use daemon::store::overlay::prefixed;
use daemon::store::packed::PackedTree;
use serde_json::{Value, json};
use tests::daemon::{Daemon, variable};
use tests::http::Client;
use tests::{oracle, samples, wait};

/// Kills in a rotation, each way, unless `MREG_CRASH_ROUNDS` says otherwise.
const ROUNDS: u32 = 6;

/// Runs a command that must succeed; its standard output.
fn ok(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.run(arguments, "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {told}{text}");
    text
}

/// Runs a command that must be refused with this exit code; what it says.
fn refused(daemon: &Daemon, arguments: &[&str], code: i32) -> String {
    let output = daemon.run(arguments, "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    told
}

/// The key a command printed.
fn vkey_in(text: &str) -> String {
    let line =
        text.lines().find_map(|line| line.strip_prefix("log key: ")).unwrap_or_else(|| panic!("no key in {text}"));
    line.to_owned()
}

fn log_status(client: &Client) -> Value {
    client.value("/status")["log"].clone()
}

fn verifier(vkey: &str) -> Verifier {
    vkey.parse().unwrap()
}

/// A receipt of an upload.
fn receipt(client: &Client, name: &str) -> Receipt {
    serde_json::from_value(client.upload(name, "m.safetensors", &samples::safetensors(1))["receipt"].clone()).unwrap()
}

/// The note verifies with each of these keys alone, by our code and without it, and with no other.
fn signed_by(note: &str, keys: &[&str], not_by: &[&str]) {
    for key in keys {
        let (size, _root) = oracle::open_note(note, key);
        let opened = Checkpoint::open(note.as_bytes(), &[verifier(key)]).unwrap();
        assert_eq!(opened.checkpoint.size, u64::try_from(size).unwrap());
    }
    for key in not_by {
        assert!(Checkpoint::open(note.as_bytes(), &[verifier(key)]).is_err(), "{key} signed {note}");
    }
    assert_eq!(oracle::signatures(note), keys.len(), "{note}");
}

fn key_files(daemon: &Daemon) -> Vec<String> {
    let names = fs::read_dir(daemon.key_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("log.") && name.contains(".key") || name == "log.key").collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// While uploads run, the key is rotated: checkpoints carry both signatures, receipts from before stay good with the old key,
/// those from after are good with either.
#[test]
fn rotation_while_uploads_run() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let old = log_status(&admin)["vkey"].as_str().unwrap().to_owned();
    let before = receipt(&admin, "before");
    signed_by(log_status(&admin)["checkpoint"].as_str().unwrap(), &[&old], &[]);
    let stop = AtomicBool::new(false);
    let new = std::thread::scope(|scope| {
        for worker in 0..3_u32 {
            let (admin, stop) = (&admin, &stop);
            scope.spawn(move || {
                for at in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    admin.upload(&format!("w{worker}"), "m.safetensors", &samples::safetensors(worker * 100_000 + at));
                }
            });
        }
        let new = vkey_in(&ok(&daemon, &["log", "rotate-key", "--overlap", "1h"]));
        let size = log_status(&admin)["size"].as_u64().unwrap();
        wait::until_true("uploads after the rotation", || log_status(&admin)["size"].as_u64().unwrap() > size + 5);
        // Everything is checked beside the uploads, at one checkpoint.
        assert!(ok(&daemon, &["check", "--blobs"]).contains("all is well"));
        stop.store(true, Ordering::Relaxed);
        new
    });
    assert_ne!(new, old);
    let after = receipt(&admin, "after");
    let status = log_status(&admin);
    assert_eq!(status["vkeys"], json!([new, old]));
    signed_by(status["checkpoint"].as_str().unwrap(), &[&new, &old], &[]);
    before.verify(&[verifier(&old)]).unwrap();
    assert!(before.verify(&[verifier(&new)]).is_err());
    for key in [&old, &new] {
        after.verify(&[verifier(key)]).unwrap();
    }
    assert!(refused(&daemon, &["log", "rotate-key"], 64).contains("under way"));
    daemon.stop();
    daemon.restart();
    assert_eq!(log_status(&admin.at(daemon.address()))["vkeys"], json!([new, old]));
    let log = daemon.log();
    let rotated = log.of("log.key_rotate");
    let ok: Vec<_> = rotated.iter().filter(|entry| entry["outcome"] == "ok").collect();
    assert_eq!((ok.len(), rotated.len()), (1, 2), "one was refused");
    assert_eq!((&ok[0]["data"]["vkey"], &ok[0]["data"]["from"]), (&json!(new), &ok[0]["seq"]));
    assert_eq!(ok[0]["data"]["operator"]["uid"], rustix::process::getuid().as_raw());
}

/// At the end of the overlap the daemon retires the old key by itself: it signs no more, and its file is gone.
#[test]
fn overlap_ends() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let old = log_status(&admin)["vkey"].as_str().unwrap().to_owned();
    let before = receipt(&admin, "before");
    let new = vkey_in(&ok(&daemon, &["log", "rotate-key", "--overlap", "1s"]));
    wait::until_true("one key", || log_status(&admin)["vkeys"] == json!([new]));
    wait::until_true("the old key's file is gone", || key_files(&daemon).len() == 1);
    assert!(!daemon.key_dir().join("log.key").exists());
    daemon.ledger().set_vkey(verifier(&new));
    let after = receipt(&admin, "after");
    signed_by(log_status(&admin)["checkpoint"].as_str().unwrap(), &[&new], &[&old]);
    before.verify(&[verifier(&old)]).unwrap();
    after.verify(&[verifier(&new)]).unwrap();
    assert!(after.verify(&[verifier(&old)]).is_err());

    // The overlap may end while nothing runs: then it ends with the next start.
    daemon.stop();
    let third = vkey_in(&ok(&daemon, &["log", "rotate-key", "--overlap", "1s"]));
    daemon.restart();
    let here = admin.at(daemon.address());
    wait::until_true("one key again", || log_status(&here)["vkeys"] == json!([third]));
    daemon.ledger().set_vkey(verifier(&third));
    let metrics = here.get("/metrics").expect(200).text();
    assert!(metrics.contains("log_keys 1") && metrics.contains("log_mark_entries "), "{metrics}");
    wait::until_true("the mark follows", || log_status(&here)["mark_size"] == log_status(&here)["size"]);
    assert!(oracle::is_time(log_status(&here)["mark_at"].as_str().unwrap()));
    assert_eq!(daemon.log().of("log.key_rotate").len(), 4);
}

/// A key in wrong hands: the log goes on under another name, whose first entry tells the old one's last head.
#[test]
fn compromised() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let status = log_status(&admin);
    let (old, origin) = (status["vkey"].as_str().unwrap().to_owned(), status["origin"].as_str().unwrap().to_owned());
    let before = receipt(&admin, "before");
    let new = vkey_in(&ok(&daemon, &["log", "rotate-key", "--compromised"]));
    daemon.ledger().set_vkey(verifier(&new));
    let after = receipt(&admin, "after");
    assert_eq!(after.log, format!("{origin}/2"));
    after.verify(&[verifier(&new)]).unwrap();
    assert!(after.verify(&[verifier(&old)]).is_err());
    before.verify(&[verifier(&old)]).unwrap();
    signed_by(log_status(&admin)["checkpoint"].as_str().unwrap(), &[&new], &[&old]);
    wait::until_true("the old key's file is gone", || !daemon.key_dir().join("log.key").exists());
    daemon.stop();
    // Again, on the stopped registry; the setting still says the first name.
    let third = vkey_in(&ok(&daemon, &["log", "rotate-key", "--compromised"]));
    daemon.restart();
    let status = log_status(&admin.at(daemon.address()));
    assert_eq!((&status["origin"], &status["vkey"]), (&json!(format!("{origin}/3")), &json!(third)));
    assert!(ok(&daemon, &["check"]).contains("all is well"));
    let log = daemon.log();
    for (entry, (name, key)) in
        log.of("log.key_rotate").iter().zip([(origin.clone(), &old), (format!("{origin}/2"), &new)])
    {
        let told = &entry["data"]["old"];
        let size = usize::try_from(told["size"].as_u64().unwrap()).unwrap();
        assert_eq!((&told["origin"], &entry["data"]["compromised"]), (&json!(name), &json!([key])));
        assert!(size <= usize::try_from(entry["seq"].as_u64().unwrap()).unwrap());
        let root =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, oracle::root(&log.hashes[..size]));
        assert_eq!(told["root"], root);
    }
}

/// Killed at any moment of a rotation, the daemon or the command, the log goes on with keys that its entries name.
#[test]
fn killed_while_rotating() {
    let rounds = variable("MREG_CRASH_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut daemon = Daemon::start();
    daemon.expect_line("view");
    let admin = daemon.admin();
    for round in 0..rounds * 2 {
        let arguments: &[&str] = match round % 3 {
            0 => &["log", "rotate-key", "--compromised"],
            _ => &["log", "rotate-key", "--overlap", "1s"],
        };
        let pause = Duration::from_micros(u64::from(round / 2) * 3_000);
        if round % 2 == 0 {
            // The daemon that is asked.
            let mut command = daemon.command(arguments).spawn().unwrap();
            std::thread::sleep(pause);
            daemon.kill();
            command.wait().unwrap();
        } else {
            // The command that works on the stopped registry.
            daemon.stop();
            let mut command = daemon.command(arguments).spawn().unwrap();
            std::thread::sleep(pause * 8);
            command.kill().unwrap();
            command.wait().unwrap();
        }
        daemon.restart();
        let here = admin.at(daemon.address());
        let status = log_status(&here);
        daemon.ledger().set_vkey(verifier(status["vkey"].as_str().unwrap()));
        let keys: Vec<&str> = status["vkeys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        if oracle::signatures(status["checkpoint"].as_str().unwrap()) == keys.len() {
            signed_by(status["checkpoint"].as_str().unwrap(), &keys, &[]);
        }
        receipt(&here, &format!("m{round}")).verify(&[verifier(keys[0])]).unwrap();
    }
    assert!(ok(&daemon, &["check"]).contains("all is well"));
    let _checked_by_the_oracle = daemon.log();
}

/// Data that was rolled back is refused; accepted, the log goes on under a new name, and again after the next time.
#[test]
fn rollback_accepted() {
    let mut daemon = Daemon::start();
    // What was acknowledged will be lost, on purpose.
    daemon.leave_unverified();
    let mut admin = daemon.admin();
    admin.upload("kept", "m.safetensors", &samples::safetensors(1));
    let origin = log_status(&admin)["origin"].as_str().unwrap().to_owned();
    let mut previous = log_status(&admin)["vkey"].as_str().unwrap().to_owned();
    let old = daemon.work_dir().join("old");
    for (round, name) in [(2, format!("{origin}/2")), (3, format!("{origin}/3"))] {
        daemon.stop();
        if round == 2 {
            copy(&daemon.data_dir(), &old);
        }
        // The second time the same old copy comes back, which has never heard of the first acceptance.
        daemon.restart();
        let here = admin.at(daemon.address());
        let lost = receipt(&here, "lost");
        assert!(refused(&daemon, &["log", "accept-rollback", "--reason", "x", "--yes"], 75).contains("in use"));
        daemon.stop();
        assert!(
            refused(&daemon, &["log", "accept-rollback", "--reason", "x", "--yes"], 65).contains("nothing to accept")
        );
        fs::remove_dir_all(daemon.data_dir()).unwrap();
        copy(&old, &daemon.data_dir());
        let told = refused(&daemon, &[], 65);
        assert!(told.contains("accept-rollback") && told.contains("rolled back"), "{told}");
        assert!(refused(&daemon, &["check"], 65).contains("high-water mark"));

        // Without the new name typed, nothing happens.
        let told = refused(&daemon, &["log", "accept-rollback", "--reason", "x"], 64);
        assert!(told.contains(&name) && told.contains("not confirmed"), "{told}");
        assert!(refused(&daemon, &[], 65).contains("accept-rollback"));
        let output = daemon.run(&["log", "accept-rollback", "--reason", "the disk died"], &format!("{name}\n"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let new = vkey_in(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(key_files(&daemon).len(), 1, "the old name's keys are out of use");
        let log = oracle::read(&daemon.data_dir());
        let entry = log.of("log.rollback_accepted")[0];
        assert_eq!((&entry["data"]["origin"], &entry["data"]["reason"]), (&json!(name), &json!("the disk died")));
        let size = lost.index + 2;
        let heads = entry["data"]["lost"].as_array().unwrap();
        assert!(heads.iter().any(|head| head["size"].as_u64().unwrap() >= size - 1), "{heads:?}");
        assert_eq!(entry["data"]["kept"]["size"], entry["seq"]);

        daemon.restart();
        let here = daemon.client().signed_in(tests::daemon::ADMIN, tests::daemon::ADMIN_PASSWORD);
        let status = log_status(&here);
        assert_eq!((&status["origin"], &status["vkey"]), (&json!(name), &json!(new)));
        let fresh = receipt(&here, "fresh");
        fresh.verify(&[verifier(&new)]).unwrap();
        assert!(fresh.verify(&[verifier(&previous)]).is_err());
        // The receipt of what was lost is still good by itself, and the log doesn't hold what it proves.
        lost.verify(&[verifier(&previous)]).unwrap();
        daemon.stop();
        let log = oracle::read(&daemon.data_dir());
        let leaf = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &lost.leaf).unwrap();
        assert_ne!(log.leaves.get(usize::try_from(lost.index).unwrap()), Some(&leaf));
        daemon.restart();
        admin = daemon.client().signed_in(tests::daemon::ADMIN, tests::daemon::ADMIN_PASSWORD);
        previous = new;
    }
    assert!(ok(&daemon, &["check", "--blobs"]).contains("all is well"));
}

/// Key files and marks that don't fit are refused, with what to do.
#[test]
fn unfit_keys() {
    let mut daemon = Daemon::start();
    let mut other = Daemon::with(&[("MREG_LOG_ORIGIN", "other.example/log")]);
    daemon.stop();
    other.stop();
    let (key, mark) = (daemon.key_dir().join("log.key"), daemon.key_dir().join("log.mark"));
    let (key_octets, mark_octets) = (fs::read(&key).unwrap(), fs::read(&mark).unwrap());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&daemon, &[], 65).contains("0644"));
    fs::remove_file(&key).unwrap();
    assert!(refused(&daemon, &[], 65).contains("put it back"));
    fs::write(&key, "PRIVATE+KEY+x").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(refused(&daemon, &[], 65).contains("damaged"));
    fs::write(&key, &key_octets).unwrap();

    fs::copy(other.key_dir().join("log.mark"), &mark).unwrap();
    assert!(refused(&daemon, &[], 65).contains("other.example/log"));
    fs::write(&mark, "no note").unwrap();
    assert!(refused(&daemon, &[], 65).contains("mark"));
    fs::write(&mark, &mark_octets).unwrap();
    daemon.restart();
    // A second registry with the same keys would sign a second history.
    let keys = daemon.key_dir().display().to_string();
    other.set("MREG_KEY_DIR", &keys);
    assert!(refused(&other, &[], 65).contains("in use"));
}

/// What the operator does while the daemon is stopped is recorded with the user of the machine.
#[test]
fn the_operator_is_named() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let _password = ok(&daemon, &["user", "add", "ada", "--role", "viewer"]);
    daemon.restart();
    let _password = ok(&daemon, &["user", "add", "bob", "--role", "viewer"]);
    let uid = rustix::process::getuid().as_raw();
    let log = daemon.log();
    let named: Vec<_> =
        log.of("user.create").into_iter().filter(|entry| entry["actor"]["name"] == "operator").collect();
    assert_eq!(named.len(), 2);
    for entry in named {
        assert_eq!((&entry["actor"]["id"], &entry["data"]["operator"]["uid"]), (&json!("system"), &json!(uid)));
    }
}

/// What a kill leaves is no damage: sled lacks the last batches, a check makes up for that in its copy, and compares all of it.
#[test]
fn checked_after_a_kill() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    daemon.stop();
    let keys = |daemon: &Daemon| {
        let told: Value = serde_json::from_str(&ok(daemon, &["check", "--json"])).unwrap();
        (told["total"]["keys"].as_u64().unwrap(), told.to_string())
    };
    let (before, told) = keys(&daemon);
    assert!(!told.contains("as after a crash"), "{told}");
    daemon.restart();
    let admin = admin.at(daemon.address());
    for number in 0..9 {
        admin.upload(&format!("m{number}"), "m.safetensors", &samples::safetensors(number));
    }
    daemon.kill();
    let (after, told) = keys(&daemon);
    assert!(told.contains("as after a crash") && after > before + 9, "{before}, then {told}");
    // Where more is missing than a crash takes, something else did.
    let derived = daemon.data_dir().join("log/derived");
    let text = fs::read_to_string(&derived).unwrap();
    let (_size, root) = text.split_once('\n').unwrap();
    fs::write(&derived, format!("999\n{root}")).unwrap();
    assert!(refused(&daemon, &["check"], 65).contains("but 999 were made durable"));
}

fn journal(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(format!("log/journal-{:020}.log", 0))
}

/// Changes a file, checks, and puts it back; what the check says.
fn damaged(daemon: &Daemon, path: &Path, arguments: &[&str], change: impl FnOnce(&mut Vec<u8>)) -> String {
    let whole = fs::read(path).unwrap();
    let mut octets = whole.clone();
    change(&mut octets);
    assert_ne!(octets, whole);
    fs::write(path, &octets).unwrap();
    let told = refused(daemon, arguments, 65);
    fs::write(path, &whole).unwrap();
    told
}

fn position(octets: &[u8], text: &str) -> usize {
    octets.windows(text.len()).position(|part| part == text.as_bytes()).unwrap_or_else(|| panic!("no {text}"))
}

/// Where the first change part of the journal is, and its record: begin and end of the record, begin of the change.
fn first_change(octets: &[u8]) -> (usize, usize, usize) {
    let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())).unwrap();
    let mut batch = 64;
    loop {
        let (body, count) = (u32_at(batch + 8), u32_at(batch + 12));
        let mut at = batch + 28;
        for _ in 0..count {
            let (end, change) = (at + 8 + u32_at(at), at + 12 + u32_at(at + 8));
            if change < end {
                return (at, end, change);
            }
            at = end;
        }
        batch += 28 + body;
    }
}

/// Every kind of damage is found and named; what is whole passes, running or stopped.
#[test]
fn check_names_damage() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    for at in 0..4 {
        admin.upload(&format!("m{at}"), "m.safetensors", &samples::safetensors(at));
    }
    let running: Value = serde_json::from_str(&ok(&daemon, &["check", "--json", "--blobs"])).unwrap();
    assert_eq!((&running["passed"], &running["total"]["blobs_read"]), (&json!(true), &json!(4)), "{running}");
    assert_eq!(running["total"]["artifacts"], 4);
    assert!(running["total"]["keys"].as_u64().unwrap() > 40, "{running}");
    daemon.stop();
    assert!(ok(&daemon, &["check", "--blobs"]).contains("4 blobs (4 read): all is well"));
    let data = daemon.data_dir();

    let upload = |octets: &mut Vec<u8>| {
        let at = position(octets, "\"action\":\"model.upload\"");
        octets[at + 12] ^= 1;
    };
    let told = damaged(&daemon, &journal(&daemon), &["check"], upload);
    assert!(told.contains("failure: entry ") && told.contains("CRC") && told.contains("octets "), "{told}");
    let header = |octets: &mut Vec<u8>| octets[20] ^= 1;
    let told = damaged(&daemon, &journal(&daemon), &["check"], header);
    assert!(told.contains("header") && told.contains("missing from the journal"), "{told}");
    let batch = |octets: &mut Vec<u8>| octets[64 + 20] ^= 1;
    let told = damaged(&daemon, &journal(&daemon), &["check"], batch);
    assert!(told.contains("entry 0: ") && told.contains("no whole batch"), "{told}");
    // A change with a CRC that fits: the leaf commits to another one.
    let change = |octets: &mut Vec<u8>| {
        let (begin, end, _change) = first_change(octets);
        octets[end - 1] ^= 1;
        let crc = oracle::crc32c(&[&octets[begin + 8..end]]);
        octets[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
    };
    let told = damaged(&daemon, &journal(&daemon), &["check"], change);
    assert!(told.contains("the change is not the one that the leaf commits to"), "{told}");
    // A leaf with a CRC that fits: the tree knows.
    let leaf = |octets: &mut Vec<u8>| {
        let (begin, end, change) = first_change(octets);
        let salt = position(&octets[begin..change], "\"salt\":\"") + begin + 8;
        octets[salt] = if octets[salt] == b'0' { b'1' } else { b'0' };
        let crc = oracle::crc32c(&[&octets[begin + 8..end]]);
        octets[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
    };
    let told = damaged(&daemon, &journal(&daemon), &["check"], leaf);
    assert!(told.contains("failure: hash.0, hash ") && told.contains("failure: checkpoint: "), "{told}");

    let told = damaged(&daemon, &data.join("log/hash.0"), &["check"], |octets| octets[40] ^= 1);
    assert!(told.contains("hash.0, hash 1 (octet 32)"), "{told}");
    let told = damaged(&daemon, &data.join("log/hash.2"), &["check"], |octets| octets[0] ^= 1);
    assert!(told.contains("hash.2, hash 0"), "{told}");
    let told = damaged(&daemon, &data.join("log/entries"), &["check"], |octets| octets[133] ^= 1);
    assert!(told.contains("entries, row 2 (octet 128)"), "{told}");
    let told = damaged(&daemon, &data.join("log/checkpoint"), &["check"], |octets| {
        let end = octets.iter().rposition(|octet| *octet == b'\n').unwrap();
        octets[end - 6] ^= 1;
    });
    assert!(told.contains("failure: checkpoint: "), "{told}");
    let told = damaged(&daemon, &daemon.key_dir().join("log.mark"), &["check"], |octets| {
        *octets = String::from_utf8(octets.clone()).unwrap().replacen("\n", "/else\n", 1).into_bytes();
    });
    assert!(told.contains("failure: high-water mark: "), "{told}");

    let digest = samples::sha256(&samples::safetensors(2));
    let blob = data.join("blobs/sha256").join(&digest[..2]).join(&digest[2..]);
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o600)).unwrap();
    let told = damaged(&daemon, &blob, &["check", "--blobs"], |octets| octets[9] ^= 1);
    assert!(told.contains(&format!("blob sha256:{digest}: has octets of the digest")), "{told}");
    let told = damaged(&daemon, &blob, &["check"], |octets| octets.push(0));
    assert!(told.contains(&format!("blob sha256:{digest}: has ")), "{told}");
    let aside = daemon.work_dir().join("blob");
    fs::copy(&blob, &aside).unwrap();
    fs::remove_file(&blob).unwrap();
    assert!(refused(&daemon, &["check"], 65).contains(&format!("blob sha256:{digest}: is missing")));
    fs::copy(&aside, &blob).unwrap();

    // The view, edited behind the daemon's back; also found while it runs.
    {
        let db = sled::Config::new().path(data.join("view")).open().unwrap();
        let tree = PackedTree::open(&db, b"view-6").unwrap();
        let first = |prefix: &[u8]| prefixed(&tree, prefix, false).next().unwrap().unwrap();
        let (key, value) = first(b"uadmin");
        let mut octets = value.to_vec();
        *octets.last_mut().unwrap() ^= 1;
        // Not a blob's record: the daemon finds that out at its start by itself, and doubts the view (`removal.rs`).
        let (lost, _) = first(b"d");
        let changes: [(Vec<u8>, Option<sled::IVec>); 3] =
            [(key.to_vec(), Some(octets.into())), (b"nstranger".to_vec(), Some(b"x".into())), (lost.to_vec(), None)];
        tree.apply(changes.into()).unwrap();
        db.flush().unwrap();
    }
    let named = |told: &str| {
        for line in [
            "view, user admin: has another value",
            "view, model name stranger: should not be there",
            "view, holder of digest ",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    };
    let told = refused(&daemon, &["check"], 65);
    named(&told);
    assert!(told.contains(": 3 failures"), "{told}");
    daemon.restart();
    named(&refused(&daemon, &["check"], 65));
    daemon.stop();

    // A rebuild puts it right, and proves it.
    let text = ok(&daemon, &["log", "rebuild"]);
    assert!(text.contains("rebuilt from") && text.contains("all is well"), "{text}");
    daemon.restart();
    assert!(ok(&daemon, &["check"]).contains("all is well"));
    let log = daemon.log();
    let rebuilt = log.of("store.rebuild");
    assert_eq!((rebuilt.len(), &rebuilt[0]["actor"]["name"]), (1, &json!("operator")));
}

/// A rebuild works with everything derived gone, is refused while the daemon runs, and survives being killed anywhere.
#[test]
fn rebuild() {
    let mut daemon = Daemon::start();
    daemon.expect_line("view");
    let admin = daemon.admin();
    for at in 0..20 {
        admin.upload(&format!("m{at}"), "m.safetensors", &samples::safetensors(at));
    }
    assert!(refused(&daemon, &["log", "rebuild"], 75).contains("in use"));
    daemon.stop();
    for round in 0..ROUNDS {
        let mut command = daemon.command(&["log", "rebuild"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round) * 4));
        command.kill().unwrap();
        command.wait().unwrap();
    }
    daemon.restart();
    assert_eq!(admin.at(daemon.address()).value("/models?limit=100")["total"], 20);
    assert!(ok(&daemon, &["check"]).contains("all is well"));
    daemon.stop();
    assert!(ok(&daemon, &["log", "rebuild"]).contains("all is well"));
    let leftovers: Vec<_> = fs::read_dir(daemon.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("check-") || name.starts_with("view."))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}
