//! Integrity at rest: damage is found on demand and by itself, what needs it is held back, and the same bytes once more
//! repair it.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::wait;

const FOUND: &str = "a stored blob is damaged";

fn blob(daemon: &Daemon, octets: &[u8]) -> PathBuf {
    let hex = sha256(octets);
    daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
}

/// Changes a stored blob behind the daemon's back, in place, as a failing disk would.
fn damage(daemon: &Daemon, octets: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let path = blob(daemon, octets);
    let mut changed = octets.to_vec();
    change(&mut changed);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Nothing is cut first: a pass that comes between would find another fault.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&changed, 0).unwrap();
    file.set_len(changed.len() as u64).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
}

fn flip(octets: &mut [u8]) {
    octets[100] ^= 1;
}

/// Runs the check; its exit code and what it said.
fn check(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.run(&[&["check", "--blobs"], arguments].concat(), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn version(client: &Client, model: &str) -> Value {
    client.value(&format!("/models/{model}/versions/1"))
}

fn scrub(client: &Client) -> Value {
    client.value("/status")["scrub"].clone()
}

fn wait_for_state(client: &Client, model: &str, state: &str) {
    wait::until_true(&format!("{model} to be {state}"), || version(client, model)["state"] == state);
}

fn wait_for_repair(client: &Client) {
    wait::until_true("the repair to be found", || scrub(client)["damaged"] == 0);
}

fn release(admin: &Client, model: &str) -> tests::http::Response {
    admin.post(&format!("/models/{model}/versions/1/release"), &json!({"reason": "the bytes are back"}))
}

fn entries(client: &Client, action: &str) -> Vec<Value> {
    client.value(&format!("/audit-logs?action={action}"))["items"].as_array().unwrap().clone()
}

/// An octet that changed on the disk is found by `mregd check --blobs`, and everything that follows from it.
#[test]
fn an_octet_changes() {
    let mut daemon = Daemon::start();
    daemon.expect_line(FOUND);
    let admin = daemon.admin();
    let user = daemon.user("carl", Role::Contributor);
    let (file, other) = (samples::safetensors(1), samples::safetensors(2));
    for model in ["m", "n"] {
        user.upload(model, "m.safetensors", &file);
    }
    user.upload("other", "m.safetensors", &other);
    assert_eq!(check(&daemon, &["--bytes-per-second", "1 MiB"]).0, Some(0));
    assert_eq!(scrub(&user)["damaged"], 0);

    damage(&daemon, &file, |octets| flip(octets));
    let (code, said) = check(&daemon, &[]);
    assert_eq!(code, Some(65), "{said}");
    let named =
        format!("failure: blob sha256:{} has octets of the digest sha256:", sha256(&file)).replace(" has", ": has");
    assert!(said.contains(&named) && said.contains("needed by m:1, n:1"), "{said}");
    assert!(said.contains("2 blobs (2 read): 1 failures"), "{said}");
    for model in ["m", "n"] {
        let version = version(&user, model);
        assert_eq!(version["state"], "quarantined");
        let refused = user.get(&format!("/models/{model}/download")).expect(403).problem("model-quarantined");
        assert!(
            refused.detail.contains("integrity: the stored file `m.safetensors` has octets of"),
            "{}",
            refused.detail
        );
    }
    assert_eq!(user.get("/models/other/download").expect(200).body, other);
    let status = scrub(&user);
    assert_eq!((&status["damaged"], &status["state"]), (&json!(1), &json!("waiting")), "{status}");
    assert_eq!((&status["last_full_pass"]["blobs"], &status["last_full_pass"]["damaged"]), (&json!(2), &json!(1)));
    let metrics = String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap();
    assert!(metrics.lines().any(|line| line == "mreg_blobs_damaged 1"), "{metrics}");
    let found = entries(&admin, "blob.damaged");
    assert_eq!(found.len(), 1);
    let entry = &found[0]["entry"];
    assert_eq!(entry["target"]["digest"], format!("sha256:{}", sha256(&file)));
    assert_eq!((&entry["data"]["kind"], &entry["data"]["versions"]), (&json!("content"), &json!(["m:1", "n:1"])));
    assert_eq!(entry["actor"]["id"], "system");

    // Not handed out again as it is; and said once.
    let refused = release(&admin, "m").expect(409).problem("conflict");
    assert!(refused.detail.contains("Upload the same bytes again"), "{}", refused.detail);
    assert_eq!(check(&daemon, &[]).0, Some(65));
    assert_eq!(entries(&admin, "blob.damaged").len(), 1);

    // The same bytes repair it, and an admin decides.
    let form = || Form::new().file("m.safetensors", &file).text("name", "m");
    assert_eq!(user.publish(form()).expect(200).json()["already_present"], true);
    wait_for_repair(&user);
    assert_eq!(fs::read(blob(&daemon, &file)).unwrap(), file);
    assert_eq!(version(&user, "m")["state"], "quarantined");
    release(&admin, "m").expect(200);
    assert_eq!(user.get("/models/m/download").expect(200).body, file);
    assert_eq!(version(&user, "n")["state"], "quarantined");
    assert_eq!(check(&daemon, &[]).0, Some(0));
    let log = daemon.log();
    let repaired = log.of("blob.repaired");
    assert_eq!(repaired.len(), 1);
    assert_eq!(repaired[0]["data"]["quarantined"], json!(["m:1", "n:1"]));
    let passes = log.of("blobs.scrub");
    assert_eq!(passes.len(), 4, "each check that read everything");
    assert_eq!((&passes[1]["data"]["damaged"], &passes[1]["actor"]["name"]), (&json!(1), &json!("operator")));
}

/// A look at what is damaged, which is there and of its size, neither declares it sound nor lets it out; it is told. What is
/// missing is read by the scrubber, which holds it back.
#[test]
fn a_look_clears_nothing() {
    let mut daemon = Daemon::start();
    daemon.expect_line(FOUND);
    let admin = daemon.admin();
    let (file, gone) = (samples::safetensors(1), samples::safetensors(2));
    admin.upload("m", "m.safetensors", &file);
    admin.upload("gone", "m.safetensors", &gone);
    damage(&daemon, &file, |octets| flip(octets));
    assert_eq!(check(&daemon, &[]).0, Some(65));
    wait_for_state(&admin, "m", "quarantined");
    let look = |daemon: &Daemon| {
        let output = daemon.run(&["check"], "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let told = format!("failure: blob sha256:{}: has octets of the digest", sha256(&file));
    let (code, said) = look(&daemon);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains(&told) && said.contains("as was found at") && said.contains("1 failures"), "{said}");
    release(&admin, "m").expect(409);
    assert_eq!(scrub(&admin)["damaged"], 1);
    let passes = entries(&admin, "blobs.scrub");
    let whole = file.len() + gone.len();
    assert_eq!(
        (passes.len(), &passes[0]["entry"]["data"]["octets"]),
        (1, &json!(whole)),
        "damaged ones were read, too"
    );

    fs::remove_file(blob(&daemon, &gone)).unwrap();
    assert_eq!(look(&daemon).0, Some(65));
    wait_for_state(&admin, "gone", "quarantined");
    fs::write(blob(&daemon, &gone), &gone).unwrap();
    assert_eq!(look(&daemon).0, Some(65));
    wait::until_true("the restored file to be read", || scrub(&admin)["damaged"] == 1);
    release(&admin, "gone").expect(200);
    daemon.stop();
    let (code, said) = look(&daemon);
    assert!(code == Some(65) && said.contains(&told), "{said}");
    assert_eq!(daemon.log().of("blob.repaired").len(), 1);
    damage(&daemon, &file, |_octets| {});
}

/// Where the volume of the blobs is gone, everything is told and nothing is quarantined.
#[test]
fn the_volume_is_gone() {
    let mut daemon = Daemon::start();
    daemon.expect_line("the volume of the blobs were not there");
    let admin = daemon.admin();
    let file = samples::safetensors(1);
    admin.upload("m", "m.safetensors", &file);
    let blobs = daemon.data_dir().join("blobs");
    fs::rename(blobs.join("sha256"), blobs.join("aside")).unwrap();
    let (code, said) = check(&daemon, &[]);
    assert!(code == Some(65) && said.contains("is missing; needed by m:1"), "{said}");
    assert_eq!(daemon.run(&["check"], "").status.code(), Some(65));
    assert_eq!(version(&admin, "m")["state"], "available");
    assert!(entries(&admin, "blobs.scrub").is_empty() && entries(&admin, "blob.damaged").is_empty());
    fs::rename(blobs.join("aside"), blobs.join("sha256")).unwrap();
    assert_eq!(check(&daemon, &[]).0, Some(0));
    assert_eq!(admin.get("/models/m/download").expect(200).body, file);
}

/// A download that meets a blob that is too short or not there has it looked at; nobody had to ask.
#[test]
fn a_download_meets_it() {
    let mut daemon = Daemon::with(&[("MREG_SCRUB_INTERVAL", "off")]);
    daemon.expect_line(FOUND);
    daemon.expect_line("is corrupt");
    daemon.expect_line("no blob");
    let admin = daemon.admin();
    let (short, gone) = (samples::safetensors(1), samples::safetensors(2));
    for (model, file, kind) in [("short", &short, "size"), ("gone", &gone, "missing")] {
        admin.upload(model, "m.safetensors", file);
        if kind == "size" {
            damage(&daemon, file, |octets| octets.truncate(50));
        } else {
            fs::remove_file(blob(&daemon, file)).unwrap();
        }
        admin.get(&format!("/models/{model}/download")).problem("internal");
        wait_for_state(&admin, model, "quarantined");
        assert_eq!(entries(&admin, "blob.damaged")[0]["entry"]["data"]["kind"], kind);
        assert_eq!(scrub(&admin)["state"], "off");
        release(&admin, model).expect(409);
        let form = Form::new().file("m.safetensors", file).text("name", model);
        admin.publish(form).expect(200);
        wait_for_repair(&admin);
        release(&admin, model).expect(200);
        assert_eq!(&admin.get(&format!("/models/{model}/download")).expect(200).body, file);
    }
}

/// The schedule finds it by itself, says it once, and goes on; a restored file is found sound.
#[test]
fn a_pass_finds_it() {
    let mut daemon = Daemon::with(&[("MREG_SCRUB_INTERVAL", "1s")]);
    daemon.expect_line(FOUND);
    let admin = daemon.admin();
    let file = samples::safetensors(1);
    admin.upload("m", "m.safetensors", &file);
    damage(&daemon, &file, |octets| flip(octets));
    wait_for_state(&admin, "m", "quarantined");
    let passes = |least: usize| {
        wait::until_true("passes", || entries(&admin, "blobs.scrub").len() >= least);
        entries(&admin, "blobs.scrub")
    };
    let before = passes(1).len();
    let after = passes(before + 2);
    assert_eq!(after[0]["entry"]["data"]["damaged"], 1);
    assert_eq!(entries(&admin, "blob.damaged").len(), 1);
    let last = scrub(&admin)["last_full_pass"].clone();
    assert_eq!((&last["blobs"], &last["damaged"]), (&json!(1), &json!(1)), "{last}");
    damage(&daemon, &file, |_octets| {});
    wait_for_repair(&admin);
    release(&admin, "m").expect(200);
}

/// kill -9 in the middle of a pass: the next start goes on with it. A position that can't be read only means reading again.
#[test]
fn killed_in_the_middle() {
    let mut daemon = Daemon::with(&[("MREG_SCRUB_INTERVAL", "1s"), ("MREG_SCRUB_BYTES_PER_SECOND", "8 KiB")]);
    let admin = daemon.admin();
    for at in 0..40 {
        admin.upload(&format!("m{at}"), "m.safetensors", &samples::safetensors(at));
    }
    let position = daemon.data_dir().join("scrub.json");
    // A pass that began while there was less may end first.
    wait::until_true("a pass to be under way", || {
        let status = scrub(&admin);
        status["state"] == "reading" && status["blobs_done"].as_u64().unwrap() < 20 && position.is_file()
    });
    daemon.kill();
    daemon.set("MREG_SCRUB_BYTES_PER_SECOND", "1 GiB");
    daemon.restart();
    let admin = daemon.admin().at(daemon.address());
    wait::until_true("the pass to end", || {
        entries(&admin, "blobs.scrub").iter().any(|row| row["entry"]["data"]["resumed"] == 1)
    });
    let whole = wait::until("a pass of all", || {
        let last = scrub(&admin)["last_full_pass"].clone();
        (last["blobs"] == 40).then_some(last)
    });
    assert_eq!((&whole["damaged"], &whole["missing"]), (&json!(0), &json!(0)), "{whole}");
    daemon.kill();
    fs::write(&position, b"{\"after\":").unwrap();
    daemon.restart();
    let admin = daemon.admin().at(daemon.address());
    let before = entries(&admin, "blobs.scrub").len();
    wait::until_true("another pass", || entries(&admin, "blobs.scrub").len() > before);
}

/// A stopped registry is only looked at: what is damaged, missing and unreferenced is named, and nothing is changed.
#[test]
fn a_stopped_registry() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let (flipped, gone, whole, orphan) =
        (samples::safetensors(1), samples::safetensors(2), samples::safetensors(3), samples::safetensors(4));
    for (model, file) in [("flipped", &flipped), ("gone", &gone), ("whole", &whole)] {
        admin.upload(model, "m.safetensors", file);
    }
    daemon.stop();
    damage(&daemon, &flipped, |octets| flip(octets));
    fs::remove_file(blob(&daemon, &gone)).unwrap();
    fs::create_dir_all(blob(&daemon, &orphan).parent().unwrap()).unwrap();
    fs::write(blob(&daemon, &orphan), &orphan).unwrap();
    let (code, said) = check(&daemon, &["--bytes-per-second", "64 MiB"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains(&format!("{}: has octets of the digest", sha256(&flipped))), "{said}");
    assert!(said.contains("needed by flipped:1") && said.contains("is missing; needed by gone:1"), "{said}");
    assert!(said.contains(&format!("note: blob sha256:{}", sha256(&orphan))), "{said}");
    assert!(
        said.contains("is unreferenced") && said.contains("3 blobs (2 read), 1 unreferenced: 2 failures"),
        "{said}"
    );
    let json: Value = serde_json::from_str(&check(&daemon, &["--json"]).1).unwrap();
    assert_eq!((&json["total"]["unreferenced"], &json["failures"].as_array().unwrap().len()), (&json!(1), &2));
    // Restored from a backup, all is well.
    for file in [&flipped, &gone] {
        let _gone = fs::remove_file(blob(&daemon, file));
        fs::write(blob(&daemon, file), file).unwrap();
    }
    assert_eq!(check(&daemon, &[]).0, Some(0));
}
