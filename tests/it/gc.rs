//! Collecting bytes that nothing points to, beside a daemon that works: what would go is told before, what is young or needed
//! stays, what is missing is found, and a kill in the middle is made good.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::samples::{self, sha256};
use tests::wait;

fn blob(daemon: &Daemon, octets: &[u8]) -> PathBuf {
    let hex = sha256(octets);
    daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
}

/// Puts bytes where blobs are, behind the daemon's back, as a crash might leave them; stored so long ago.
fn leave(daemon: &Daemon, octets: &[u8], age: Duration) -> PathBuf {
    let path = blob(daemon, octets);
    fs::write(&path, octets).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a file's age is measured by the clock")]
    let stored_at = SystemTime::now() - age;
    File::options().write(true).open(&path).unwrap().set_modified(stored_at).unwrap();
    path
}

const DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

/// What `mregd gc` says in JSON, and its exit code.
fn gc(daemon: &Daemon, options: &[&str]) -> (Value, i32) {
    let arguments: Vec<&str> = ["gc", "--json"].into_iter().chain(options.iter().copied()).collect();
    let output = daemon.run(&arguments, "");
    let told = String::from_utf8(output.stdout).unwrap();
    let told = serde_json::from_str(&told);
    (told.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code().unwrap())
}

/// A dry run names what the next run removes: what nothing points to and is old enough. What versions need stays, and what is
/// deleted and can be restored is needed.
#[test]
fn orphans_go() {
    let mut daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let live: Vec<Vec<u8>> = (1..=3).map(samples::safetensors).collect();
    for octets in &live {
        carl.upload("m", "m.safetensors", octets);
    }
    admin.delete("/models/m/versions/1").expect(200);
    // The sweep of the start must not take them.
    wait::until_true("the start to be over", || admin.get("/readyz").status == 200);
    let orphan = samples::safetensors(100);
    let path = leave(&daemon, &orphan, DAYS);
    let young = leave(&daemon, &samples::safetensors(101), Duration::ZERO);

    let (told, code) = gc(&daemon, &["--dry-run"]);
    assert_eq!(code, 0, "{told}");
    let mut orphans: Vec<(String, bool)> = told["orphans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["digest"].as_str().unwrap().to_owned(), one["removed"].as_bool().unwrap()))
        .collect();
    orphans.sort();
    let digest = |octets: &[u8]| format!("sha256:{}", sha256(octets));
    let mut expected = vec![(digest(&orphan), true), (digest(&samples::safetensors(101)), false)];
    expected.sort();
    assert_eq!(orphans, expected);
    let total = &told["total"];
    assert_eq!((&total["stored"], &total["needed"], &total["orphans"]), (&json!(5), &json!(3), &json!(2)));
    assert_eq!((&total["removed"], &total["left"], &total["miscounted"]), (&json!(1), &json!(1), &json!(0)));
    assert!(path.exists(), "nothing was removed");
    assert!(admin.value("/status")["gc"]["last"].is_null(), "a dry run is none");

    let (told, code) = gc(&daemon, &[]);
    assert_eq!((code, &told["total"]["removed_bytes"]), (0, &json!(orphan.len())));
    assert!(!path.exists() && young.exists());
    let (told, _code) = gc(&daemon, &["--min-age", "1s"]);
    wait::until_true("it to be old enough", || {
        !young.exists() || gc(&daemon, &["--min-age", "1s"]).0["total"]["removed"] == 1
    });
    assert!(!young.exists(), "{told}");
    assert!(live.iter().all(|octets| blob(&daemon, octets).exists()));
    let status = admin.value("/status");
    assert!(status["gc"]["last_ended_at"].is_string() && status["gc"]["next_at"].is_string(), "{}", status["gc"]);
    let metrics = String::from_utf8(admin.get("/metrics").expect(200).body).unwrap();
    let of_gc: Vec<&str> = metrics.lines().filter(|line| line.starts_with("mreg_gc_")).collect();
    assert!(of_gc.contains(&"mreg_gc_removed_total 2"), "{of_gc:?}");
    let log = daemon.log();
    let entries = log.of("blobs.collect");
    assert!(entries.len() >= 3 && entries[0]["data"]["dry_run"] == true);
    assert_eq!(entries[1]["data"]["digests"], json!([digest(&orphan)]));
}

/// Bytes that are gone are told, the exit code says so, and the scrubber holds back what needs them.
#[test]
fn missing_bytes_are_found() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let octets = samples::safetensors(1);
    carl.upload("m", "m.safetensors", &octets);
    carl.upload("n", "n.safetensors", &samples::safetensors(2));
    let aside = daemon.work_dir().join("aside");
    fs::rename(blob(&daemon, &octets), &aside).unwrap();
    daemon.expect_line(&sha256(&octets));
    daemon.expect_line("missing");
    let (told, code) = gc(&daemon, &[]);
    assert_eq!((code, &told["total"]["missing"]), (65, &json!(1)), "{told}");
    assert!(told["failures"][0]["what"].as_str().unwrap().contains("is missing"), "{told}");
    wait::until_true("what needs it to be held back", || {
        carl.get("/models/m/versions/1").json()["state"] == "quarantined"
    });
    assert_eq!(carl.value("/models/n/versions/1")["state"], "available");
    fs::rename(&aside, blob(&daemon, &octets)).unwrap();
}

/// Killed in the middle, again and again, nothing that is needed goes, and in the end nothing else is left; also of a
/// registry that is stopped.
#[test]
fn killed_in_the_middle() {
    let mut daemon = Daemon::with(&[("MREG_GC_INTERVAL", "off")]);
    let carl = daemon.user("carl", Role::Contributor);
    let live: Vec<Vec<u8>> = (1..=5).map(samples::safetensors).collect();
    for octets in &live {
        carl.upload("m", "m.safetensors", octets);
    }
    for round in 0..3_u32 {
        for seed in 0..400 {
            leave(&daemon, &samples::safetensors(1000 + round * 1000 + seed), DAYS);
        }
        let before = tests::oracle::blobs(&daemon.data_dir()).len();
        // A line for each would fill a pipe that nobody reads.
        let mut collecting = daemon.command(&["gc"]).stdout(Stdio::null()).spawn().unwrap();
        wait::until_true("something to go", || tests::oracle::blobs(&daemon.data_dir()).len() < before);
        daemon.kill();
        let cut = collecting.wait().unwrap();
        assert!(matches!(cut.code(), Some(0 | 75)), "{cut}");
        daemon.restart();
        assert!(live.iter().all(|octets| blob(&daemon, octets).exists()));
    }
    let (told, code) = gc(&daemon, &[]);
    assert_eq!((code, &told["total"]["missing"], &told["total"]["needed"]), (0, &json!(0), &json!(5)), "{told}");
    wait::until_true("all orphans to be gone", || tests::oracle::blobs(&daemon.data_dir()).len() == 5);
    daemon.stop();
    leave(&daemon, &samples::safetensors(9), DAYS);
    let (told, code) = gc(&daemon, &[]);
    assert_eq!((code, &told["total"]["needed"]), (0, &json!(5)), "{told}");
}

/// By the clock it runs by itself, and its count is in the log.
#[test]
fn by_the_clock() {
    let mut daemon = Daemon::with(&[("MREG_GC_INTERVAL", "1s"), ("MREG_GC_MIN_AGE", "1h")]);
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    let path = leave(&daemon, &samples::safetensors(100), DAYS);
    wait::until_true("the orphan to go", || !path.exists());
    wait::until_true("it to be told", || carl.value("/status")["gc"]["last_ended_at"].is_string());
    let log = daemon.log();
    assert_eq!(log.of("blobs.collect")[0]["actor"]["name"], "system");
}
