//! What happens at the same time: whoever wins, what is promised holds.

use std::sync::atomic::{AtomicBool, Ordering};

use common::role::Role;
use serde_json::json;
use tests::daemon::Daemon;
use tests::http::Response;
use tests::multipart::Form;
use tests::samples;

/// Both at once, by two threads.
fn both(one: impl FnOnce() -> Response + Send, other: impl FnOnce() -> Response + Send) -> [Response; 2] {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = scope.spawn(other);
        [one.join().unwrap(), other.join().unwrap()]
    })
}

/// Two admins who demote each other don't leave the registry without one.
#[test]
fn admins_demote_each_other() {
    let daemon = Daemon::start();
    let first = daemon.user("first", Role::Admin);
    let second = daemon.user("second", Role::Admin);
    daemon.admin().delete("/users/admin").expect(200);
    let role = json!({"role": "viewer"});
    let answers = both(|| first.patch("/users/second", &role), || second.patch("/users/first", &role));
    let mut statuses = answers.map(|response| response.status);
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200, "{statuses:?}");
    assert!(matches!(statuses[1], 401 | 409), "{statuses:?}");
    let login = |name: &str| daemon.client().login(name, &Daemon::password_of(name)).expect(200).json()["role"].clone();
    assert_eq!([login("first"), login("second")].iter().filter(|role| **role == "admin").count(), 1);
}

/// The same Idempotency-Key twice at once makes one thing.
#[test]
fn one_key_twice() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    for round in 0..8 {
        let send = || {
            let form =
                Form::new().file("m.safetensors", &samples::safetensors(round)).text("force_new_version", "true");
            user.request("POST", "/models").header("Idempotency-Key", &format!("key-{round}")).form(form).send()
        };
        let answers = both(send, send);
        let versions = answers.each_ref().map(|answer| answer.json()["version"].clone());
        assert_eq!(versions[0], versions[1], "{}", answers[1].text());
        assert_eq!(versions[0], round + 1);
    }
    // The keys are in the log's state, not in memory.
    daemon.stop();
    daemon.restart();
    let user = user.at(daemon.address());
    let form = Form::new().file("m.safetensors", &samples::safetensors(3)).text("force_new_version", "true");
    let again = user.request("POST", "/models").header("Idempotency-Key", "key-3").form(form).send();
    assert_eq!(again.json()["version"], 4, "{}", again.text());
    assert_eq!(user.value("/models/m")["latest_version"], 8);
}

/// Bytes that are purged here and uploaded there at the same time are there afterwards.
#[test]
fn purge_against_upload() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let file = samples::safetensors(1);
    for round in 0..25 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        admin.upload(&old, "m.safetensors", &file);
        let target = format!("/models/{old}?purge=true&reason=test");
        let [purged, uploaded] = both(
            || admin.delete(&target),
            || admin.publish(Form::new().file("m.safetensors", &file).text("name", &new)),
        );
        purged.expect(200);
        uploaded.expect(201);
        let fetched = admin.get(&format!("/models/{new}/download")).expect(200);
        assert!(fetched.body == file, "round {round}");
        admin.delete(&format!("/models/{new}?purge=true&reason=test")).expect(200);
    }
}

/// A download that has begun ends whole, whatever is done to the model meanwhile.
#[test]
fn purge_against_download() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let file = samples::large_safetensors(20_000_000, 1);
    admin.upload("m", "m.safetensors", &file);
    let mut connection = admin.connect();
    connection.write(&admin.request("GET", "/models/m/download").head_octets()).unwrap();
    assert_eq!(connection.read_head().unwrap().0, 200);
    admin.delete("/models/m?purge=true&reason=test").expect(200);
    assert!(connection.read_exact(file.len()).unwrap() == file, "other bytes");
    admin.get("/models/m/download").problem("not-found");
    drop(connection);
    tests::wait::until_true("the bytes to go", || {
        admin.value("/status")["store"]["blobs"] == 0 && tests::oracle::blobs(&daemon.data_dir()).is_empty()
    });
}

/// Whoever reads while others write sees whole answers: an alias always leads to a version that is there.
#[test]
fn alias_moves_under_readers() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let files: Vec<Vec<u8>> = (1..=3).map(samples::safetensors).collect();
    for file in &files {
        user.upload("m", "m.safetensors", file);
    }
    user.put("/models/m/aliases/live", &json!({"version": 1})).expect(200);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let body = user.get("/models/m@live/download").expect(200).body;
                    assert!(files.contains(&body), "half of one and half of another");
                    let shown = user.value("/models/m@live");
                    let version = shown["selected"]["version"].as_u64().unwrap();
                    assert_eq!(shown["selected"]["aliases"], json!(["live"]), "version {version}");
                }
            });
        }
        for turn in 0..60 {
            user.put("/models/m/aliases/live", &json!({"version": turn % 3 + 1})).expect(200);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let history = user.value("/models/m/aliases/live/history?limit=1000");
    assert!(history["items"].as_array().unwrap().len() <= 61);
}

/// A user of one name is created once, however many ask.
#[test]
fn one_name_twice() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let body = json!({"username": "new", "password": "a-perfectly-fine-one"});
    let mut statuses = both(|| admin.post("/register", &body), || admin.post("/register", &body)).map(|it| it.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}
