//! kill -9 under load, and a view that is lost: what was acknowledged is there, nothing is half there, the log verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::{Daemon, variable};
use tests::http::Client;
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::{oracle, wait};

/// Kills, unless `MREG_CRASH_ROUNDS` says more.
const ROUNDS: u32 = 6;
/// Answers to wait for before each kill.
const ANSWERS: usize = 15;

/// What the daemon has said yes to.
#[derive(Debug, Default)]
struct Promised {
    /// Model name, version, digest.
    versions: Mutex<Vec<(String, u64, String)>>,
    users: Mutex<Vec<String>>,
    /// Models whose deletion was asked for: they may be there or not.
    asked_to_delete: Mutex<BTreeSet<String>>,
    /// Models whose deletion was confirmed.
    deleted: Mutex<BTreeSet<String>>,
}

impl Promised {
    fn answers(&self) -> usize {
        self.versions.lock().unwrap().len() + self.users.lock().unwrap().len() + self.deleted.lock().unwrap().len()
    }
}

/// Uploads, creates users and deletes models until told to stop or the daemon is gone.
fn work(admin: &Client, promised: &Promised, stop: &AtomicBool, serial: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let at = serial.fetch_add(1, Ordering::Relaxed);
        let done = match at % 6 {
            0 => {
                let name = format!("user{at}");
                let body = json!({"username": name, "password": "a-perfectly-fine-one", "role": "viewer"});
                admin.request("POST", "/register").json(&body).try_send().map(|response| {
                    assert_eq!(response.status, 201, "{}", response.text());
                    promised.users.lock().unwrap().push(name);
                })
            }
            1 => {
                let name =
                    promised.versions.lock().unwrap().iter().map(|(name, _, _)| name.clone()).nth(at as usize % 7);
                let Some(name) = name.filter(|name| name.starts_with("gone")) else { continue };
                promised.asked_to_delete.lock().unwrap().insert(name.clone());
                admin.request("DELETE", &format!("/models/{name}")).try_send().map(|response| {
                    if response.status == 200 {
                        promised.deleted.lock().unwrap().insert(name);
                    }
                })
            }
            kind => {
                let name = match kind {
                    2 => format!("gone{}", at % 5 + at / 40 * 10),
                    3 => "shared".to_owned(),
                    _ => format!("own{at}"),
                };
                let large = at.is_multiple_of(3);
                let file = if large {
                    samples::large_safetensors(200_000, u8::try_from(at % 251).unwrap())
                } else {
                    samples::safetensors(at)
                };
                let form =
                    Form::new().file("m.safetensors", &file).text("name", &name).text("force_new_version", "true");
                admin.request("POST", "/models").form(form).try_send().map(|response| {
                    // The model may have been deleted a moment ago.
                    assert!(matches!(response.status, 201 | 409), "{}", response.text());
                    if response.status == 201 {
                        let version = response.json()["version"].as_u64().unwrap();
                        promised.versions.lock().unwrap().push((name, version, sha256(&file)));
                    }
                })
            }
        };
        if done.is_err() {
            return;
        }
    }
}

/// Checks every promise against the restarted daemon.
fn check(admin: &Client, promised: &Promised) {
    let deleted = promised.deleted.lock().unwrap();
    let asked = promised.asked_to_delete.lock().unwrap();
    let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let versions = promised.versions.lock().unwrap();
    for (name, version, digest) in versions.iter() {
        assert!(numbers.entry(name).or_default().insert(*version), "{name}:{version} was given twice");
        if asked.contains(name) {
            continue;
        }
        let shown = admin.value(&format!("/models/{name}/versions/{version}"));
        assert_eq!(shown["artifacts"][0]["digest"], format!("sha256:{digest}"), "{name}:{version}");
    }
    for name in deleted.iter() {
        // Admins see what can be restored.
        assert_eq!(admin.value(&format!("/models/{name}"))["state"], "deleted");
    }
    for name in promised.users.lock().unwrap().iter() {
        assert_eq!(admin.value(&format!("/users/{name}"))["role"], "viewer");
    }
    // Whatever is visible is whole.
    for row in everything(admin, "/models") {
        let name = row["name"].as_str().unwrap();
        for version in everything(admin, &format!("/models/{name}/versions")) {
            let number = version["version"].as_u64().unwrap();
            let artifact = &version["artifacts"][0];
            let bytes = admin.get(&format!("/models/{name}/versions/{number}/download")).expect(200).body;
            assert_eq!(artifact["size"], bytes.len());
            assert_eq!(artifact["digest"], format!("sha256:{}", sha256(&bytes)));
        }
    }
}

fn everything(client: &Client, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.value(&format!("{path}?limit=1000{cursor}"));
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Killed again and again while it works, the daemon keeps every word it gave.
#[test]
fn killed_under_load() {
    let rounds = variable("MREG_CRASH_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut daemon = Daemon::start();
    daemon.ledger().add_secret("a-perfectly-fine-one");
    // After a kill the view may be behind or damaged: that it is rebuilt is said.
    daemon.expect_line("view");
    let admin = daemon.admin();
    let promised = Promised::default();
    let serial = AtomicU32::new(0);
    for round in 0..rounds {
        let here = admin.at(daemon.address());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let before = promised.answers();
            let workers: Vec<_> = (0..6).map(|_| scope.spawn(|| work(&here, &promised, &stop, &serial))).collect();
            wait::until_true("answers", || promised.answers() >= before + ANSWERS);
            // Another moment each round, so that the kill hits other steps.
            std::thread::sleep(Duration::from_micros(u64::from(round * 1_700)));
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().unwrap();
            }
        });
        daemon.restart();
        assert_eq!(oracle::staged(&daemon.data_dir()), 0, "staging is swept at start");
        check(&admin.at(daemon.address()), &promised);
    }
    let log = daemon.log();
    assert!(log.entries.len() > ANSWERS, "{}", log.entries.len());
    daemon.restart();
    check(&admin.at(daemon.address()), &promised);
}

/// Everything a GET shows, as octets.
fn answers(client: &Client) -> BTreeMap<String, Vec<u8>> {
    let mut targets =
        vec!["/models?state=deleted".to_owned(), "/users".to_owned(), "/models?sort=-updated_at".to_owned()];
    for row in everything(client, "/models") {
        let name = row["name"].as_str().unwrap();
        targets.push(format!("/models/{name}"));
        targets.push(format!("/models/{name}/versions"));
        targets.push(format!("/models/{name}/download"));
        targets.push(format!("/models/{name}/aliases/live/history"));
        targets.push(format!("/models/sha256:{}", &row_digest(client, name)));
    }
    for user in everything(client, "/users") {
        targets.push(format!("/users/{}", user["username"].as_str().unwrap()));
    }
    for filter in ["tag=k:v", "uploader=carl", "format=safetensors", "alias=live", "q=m1", "state=quarantined"] {
        targets.push(format!("/models?{filter}"));
    }
    let mut answers = BTreeMap::new();
    for target in targets {
        let body = client.get(&target).expect(200).body;
        answers.insert(target, body);
    }
    answers
}

fn row_digest(client: &Client, name: &str) -> String {
    let model = client.value(&format!("/models/{name}"));
    let digest = model["newest_versions"][0]["artifacts"][0]["digest"].as_str().unwrap();
    digest.strip_prefix("sha256:").unwrap().to_owned()
}

/// A registry with something of everything.
fn furnished() -> (Daemon, Client) {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    for at in 0..6 {
        let form = Form::new()
            .file("m.safetensors", &samples::safetensors(at))
            .text("name", &format!("m{at}"))
            .text("tags", "k:v")
            .text("alias", "live");
        carl.publish(form).expect(201);
        carl.upload(&format!("m{at}"), "m.safetensors", &samples::safetensors(at + 100));
    }
    carl.put("/models/m2/aliases/live", &json!({"version": 2})).expect(200);
    carl.patch("/models/m3", &json!({"description": "changed"})).expect(200);
    admin.post("/models/m4/versions/1/quarantine", &json!({"reason": "x"})).expect(200);
    admin.post("/models/m5/versions/2/deprecate", &json!({"reason": "x"})).expect(200);
    admin.delete("/models/m1").expect(200);
    carl.put("/models/m0/aliases/live", &json!({"version": 2})).expect(200);
    admin.delete("/models/m0/versions/1?purge=true&reason=x").expect(200);
    let _disabled = daemon.user("dora", Role::Auditor);
    admin.patch("/users/dora", &json!({"disabled": true})).expect(200);
    (daemon, admin)
}

/// Without its view the registry gives the same answers, octet for octet: the journal is the truth.
#[test]
fn view_deleted() {
    let (mut daemon, admin) = furnished();
    daemon.expect_line("rebuilt");
    daemon.expect_line("view");
    let before = answers(&admin);
    daemon.stop();
    fs::remove_dir_all(daemon.data_dir().join("view")).unwrap();
    daemon.restart();
    let after = answers(&admin.at(daemon.address()));
    compare(&before, &after);
    // Derived files are no truth either.
    daemon.stop();
    for entry in fs::read_dir(daemon.data_dir().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("hash.") || name == "entries" || name == "derived" {
            if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
    }
    daemon.restart();
    compare(&before, &answers(&admin.at(daemon.address())));
    let log = daemon.log();
    assert!(!log.of("store.rebuild").is_empty(), "a rebuild is an entry");
}

fn compare(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (target, body) in before {
        let now = &after[target];
        assert!(body == now, "{target}: {} is now {}", String::from_utf8_lossy(body), String::from_utf8_lossy(now));
    }
}

/// A view of another registry, or a damaged one, is not believed.
#[test]
fn foreign_view() {
    let (mut daemon, admin) = furnished();
    daemon.expect_line("view");
    let mut other = Daemon::start();
    let _else = other.user("somebody", Role::Viewer);
    other.stop();
    let before = answers(&admin);
    daemon.stop();
    let view = daemon.data_dir().join("view");
    fs::remove_dir_all(&view).unwrap();
    copy(&other.data_dir().join("view"), &view);
    daemon.restart();
    compare(&before, &answers(&admin.at(daemon.address())));
    daemon.stop();
    for entry in fs::read_dir(&view).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let octets = fs::read(&path).unwrap();
            fs::write(&path, &octets[..octets.len() / 2]).unwrap();
        }
    }
    daemon.restart();
    compare(&before, &answers(&admin.at(daemon.address())));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Older data than was signed for is refused: the mark beside the key remembers.
#[test]
fn rolled_back() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    daemon.stop();
    let (data, old) = (daemon.data_dir(), daemon.work_dir().join("old"));
    copy(&data, &old);
    daemon.restart();
    admin.at(daemon.address()).upload("n", "n.safetensors", &samples::safetensors(2));
    daemon.stop();
    let new = daemon.work_dir().join("new");
    fs::rename(&data, &new).unwrap();
    copy(&old, &data);
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "it serves rolled-back data");
    assert!(told.contains("mark") || told.contains("rolled back"), "{told}");
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&new, &data).unwrap();
    daemon.restart();
    assert_eq!(admin.at(daemon.address()).value("/models")["total"], 2);
}
