//! Files that go missing and disks that fill up under a running daemon: nothing is promised that can't be kept, and the
//! operator is told.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::role::Role;
use rustix::process::Signal;
use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
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
        assert_eq!(status.code(), Some(74), "{what}: it ended with {status}");

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
    tests::wait::until_true("it to be held back", || user.value("/models/m/versions/1")["state"] == "quarantined");
    // The same bytes again make it whole, and an admin hands it out again.
    let again = user.publish(Form::new().file("m.safetensors", &file));
    assert!(matches!(again.status, 200 | 201), "{}", again.text());
    tests::wait::until_true("the repair to be found", || user.value("/status")["scrub"]["damaged"] == 0);
    let reason = json!({"reason": "the bytes are back"});
    daemon.admin().post("/models/m/versions/1/release", &reason).expect(200);
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

/// A small file system in memory; gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting isn't permitted.
    fn mount(at: &Path, octets: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={octets},mode=0700"), "mreg-test"]).arg(at);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            // The daemon's directory could not be removed around it.
            let _left = self.0.parent().map(fs::remove_dir_all);
        }
    }
}

/// A full disk: what can't be recorded is refused with the reason, the daemon stops and starts in order, an admin signs in
/// and purges, and all is well again.
#[test]
fn full_disk() {
    let mut daemon = Daemon::prepared(&[]);
    let disk = SmallDisk::mount(&daemon.data_dir(), "64m");
    if disk.is_none() {
        println!("SKIPPED: mounting a tmpfs isn't permitted here, so a full disk was NOT tested");
        return;
    }
    daemon.restart();
    let admin = daemon.admin();
    admin.upload("small", "small.safetensors", &samples::safetensors(1));
    admin.upload("big", "big.safetensors", &samples::large_safetensors(20_000_000, 1));
    assert!(admin.value("/status")["log"]["reserve_bytes"].as_u64().unwrap() >= 2 << 20);

    let filler = daemon.data_dir().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    for _ in 0..10 {
        let problem = admin.post("/register", &json!({"username": "late", "password": "a-perfectly-fine-one"}));
        let detail = problem.problem("audit-unavailable").detail;
        assert!(detail.contains("disk full: 0 MiB free, ") && detail.contains("free space or purge"), "{detail}");
    }
    let ready = daemon.client().get("/readyz").expect(503).json();
    let told = ready["checks"]["log"]["detail"].as_str().unwrap();
    assert!(told.starts_with("refusing: disk full: 0 MiB free"), "{told}");
    assert!(admin.value("/status")["log"]["state"].as_str().unwrap().starts_with("refusing: disk full"));
    let metrics = String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap();
    assert!(metrics.contains("log_writable 0") && metrics.contains("log_reserve_bytes "), "{metrics}");
    let begun = "audited requests are refused until it can";
    let lines = daemon.stderr().iter().filter(|line| line.contains(begun)).count();
    assert_eq!(lines, 1, "told once, not with every request");
    daemon.stop();

    // On the full disk it starts again.
    for line in [begun, "only sign-ins, deletions and purges are accepted"] {
        daemon.expect_line(line);
    }
    daemon.restart();
    admin.at(daemon.address()).post("/register", &json!({})).problem("audit-unavailable");
    let admin = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
    admin.delete("/models/big?purge=true&reason=room").expect(200);
    wait_until_registered(&admin, "after");
    daemon.client().get("/readyz").expect(200);
    fs::remove_file(&filler).unwrap();
    wait_until("the reserve to be whole again", || {
        admin.value("/status")["log"]["reserve_bytes"].as_u64().unwrap() >= 2 << 20
    });
    assert_eq!(admin.get("/models/small/download").expect(200).body, samples::safetensors(1));
    let log = daemon.log();
    for (action, times) in [("log.start", 2), ("log.stop", 2), ("log.refuse", 2), ("log.resume", 1)] {
        assert_eq!(log.of(action).len(), times, "{action}");
    }
    assert!(log.of("user.create").iter().all(|entry| entry["data"]["name"] != "late"), "a refused request was done");
    drop(daemon);
    drop(disk);
}

fn wait_until(what: &str, look: impl FnMut() -> bool) {
    tests::wait::until_true(what, look);
}

/// Room is made in the background, after the purge was answered.
fn wait_until_registered(admin: &tests::http::Client, name: &str) {
    let body = json!({"username": name, "password": "a-perfectly-fine-one"});
    wait_until("there to be room", || admin.post("/register", &body).status == 201);
}

/// Too few open files are no damage: the view stays where it is, and the message says what is short.
#[test]
fn too_few_open_files() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let mut failed = 0;
    for limit in ["12", "16", "20", "24", "28", "32"] {
        let plain = daemon.command(&["init-db"]);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" init-db")]).arg(plain.get_program()).env_clear();
        limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = limited.current_dir(daemon.work_dir()).output().unwrap();
        if !output.status.success() {
            failed += 1;
        }
        let left: Vec<_> = fs::read_dir(daemon.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("damaged")), "{limit}: {left:?}");
    }
    assert!(failed > 0, "no limit was low enough to mean anything");
    daemon.restart();
    daemon.admin().get("/models").expect(200);
}
