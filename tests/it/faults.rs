//! Files that go missing under a running daemon: nothing is promised that can't be kept, and the operator is told.

use std::fs;
use std::path::PathBuf;

use common::role::Role;
use rustix::process::Signal;
use serde_json::json;
use tests::daemon::Daemon;
use tests::multipart::Form;
use tests::samples::{self, sha256};

fn journal(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join(format!("log/journal-{:020}.log", 0))
}

/// A journal that is removed, cut or replaced is noticed at the next entry: 503, and the daemon ends.
#[test]
fn journal_lost() {
    type Damage = fn(&PathBuf);
    let damages: [(&str, Damage); 3] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("cut", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(64).unwrap()),
        ("replaced", |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).unwrap();
            fs::rename(&copy, path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let mut daemon = Daemon::start();
        daemon.expect_line("\"level\":\"ERROR\"");
        daemon.expect_line("\"level\":\"WARN\"");
        daemon.expect_line("error: ");
        let admin = daemon.admin();
        admin.upload("m", "m.safetensors", &samples::safetensors(1));
        let path = journal(&daemon);
        let whole = fs::read(&path).unwrap();
        damage(&path);
        let form = Form::new().file("n.safetensors", &samples::safetensors(2));
        // The daemon may be gone before it can answer; what it may not do is say yes.
        if let Ok(response) = admin.request("POST", "/models").form(form).try_send() {
            response.problem("audit-unavailable");
        }
        let status = daemon.wait();
        assert!(!status.success(), "{what}: it ended with {status}");

        // With the journal back, all is as it was, and the refused upload is not there.
        fs::remove_file(&path).ok();
        fs::write(&path, whole).unwrap();
        daemon.restart();
        let admin = admin.at(daemon.address());
        assert_eq!(admin.value("/models")["total"], 1, "{what}");
        assert_eq!(admin.get("/models/m/download").expect(200).body, samples::safetensors(1));
    }
}

/// A blob that is gone is a fault that is told, never an empty or short file.
#[test]
fn blob_lost() {
    let mut daemon = Daemon::start();
    daemon.expect_line("\"level\":\"ERROR\"");
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    user.upload("m", "m.safetensors", &file);
    let hex = sha256(&file);
    fs::remove_file(daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])).unwrap();
    user.get("/models/m/download").problem("internal");
    user.get("/models/m").expect(200);
    tests::wait::until_true("the operator to be told", || {
        daemon.stderr().iter().any(|line| line.contains("\"level\":\"ERROR\""))
    });
    // The same bytes again make it whole.
    let again = user.publish(Form::new().file("m.safetensors", &file));
    assert!(matches!(again.status, 200 | 201), "{}", again.text());
    assert_eq!(user.get("/models/m/download").expect(200).body, file);
}

/// A closed terminal does not end the daemon.
#[test]
fn hangup() {
    let daemon = Daemon::start();
    daemon.signal(Signal::HUP);
    let admin = daemon.admin();
    admin.post("/register", &json!({"username": "x1", "password": "a-perfectly-fine-one"})).expect(201);
    tests::wait::until_true("the signal to be told", || daemon.stderr().iter().any(|line| line.contains("SIGHUP")));
    admin.get("/models").expect(200);
}
