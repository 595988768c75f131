//! The processes that files are inspected in (scanning.md §2): that everything is inspected in them, that their deaths cost no
//! verdict, and that none outlives its use.

use std::fs;
use std::process::Output;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::{samples, wait};

/// A file with nothing in it that runs, and another one for each number.
fn clean(number: u32) -> Vec<u8> {
    format!("{{\"number\": {number}}}\n").into_bytes()
}

fn form(name: &str, file: &str, octets: &[u8]) -> Form {
    Form::new().text("name", name).file(file, octets)
}

fn verdict(client: &Client, name: &str, file: &str, octets: &[u8]) -> Value {
    client.publish(form(name, file, octets)).expect(201).json()["inspection"]["verdict"].clone()
}

/// A process as `/proc` has it.
struct Process {
    pid: Pid,
    parent: i32,
    is_zombie: bool,
}

fn processes() -> Vec<Process> {
    let read = |entry: fs::DirEntry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        // It may have ended meanwhile.
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Process { pid, parent: field("PPid:")?.parse().ok()?, is_zombie: field("State:")?.starts_with('Z') })
    };
    fs::read_dir("/proc").unwrap().map(Result::unwrap).filter_map(read).collect()
}

/// The daemon's workers that live.
fn workers(daemon: &Daemon) -> Vec<Pid> {
    let parent = daemon.pid().as_raw_pid();
    let of_it = |one: &Process| one.parent == parent && !one.is_zombie;
    let pids: Vec<Pid> = processes().into_iter().filter(of_it).map(|one| one.pid).collect();
    for pid in &pids {
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
        assert!(command.is_empty() || command.ends_with(b"\0scan-worker\0"), "{:?}", String::from_utf8_lossy(&command));
    }
    pids
}

/// The one that rests after a clean file.
fn the_worker(daemon: &Daemon) -> Pid {
    let workers = workers(daemon);
    assert_eq!(workers.len(), 1, "{workers:?}");
    workers[0]
}

fn kill_workers(daemon: &Daemon, signal: Signal) -> Vec<Pid> {
    let killed = workers(daemon);
    assert!(!killed.is_empty());
    killed.iter().for_each(|pid| kill_process(*pid, signal).unwrap());
    killed
}

/// What is stored is inspected in a worker too, not within the daemon.
#[test]
fn a_rescan_has_a_worker() {
    let daemon = Daemon::with(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    assert_eq!(verdict(&admin, "m", "a.json", &clean(1)), "clean");
    let killed = kill_workers(&daemon, Signal::KILL);
    wait::until_true("they are gone", || workers(&daemon).is_empty());
    admin.post_empty("/models/m/versions/1/rescan").expect(200);
    assert!(!killed.contains(&the_worker(&daemon)));
}

/// Workers that were ended while they rested cost no upload and no verdict, and leave no zombies.
#[test]
fn death_at_rest() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    assert_eq!(verdict(&admin, "m", "a.json", &clean(0)), "clean");
    for (number, signal) in (1..).zip([Signal::KILL, Signal::TERM, Signal::ABORT]) {
        let killed = kill_workers(&daemon, signal);
        assert_eq!(verdict(&admin, "m", "a.json", &clean(number)), "clean", "{signal:?}");
        assert!(!killed.contains(&the_worker(&daemon)));
        // One that was still dying when it was asked is waited for.
        let parent = daemon.pid().as_raw_pid();
        assert!(!processes().iter().any(|one| one.parent == parent && one.is_zombie));
    }
}

/// No file is inspected by what inspected a hostile one.
#[test]
fn none_is_shared_with_a_hostile_file() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    verdict(&admin, "m", "a.json", &clean(1));
    let first = the_worker(&daemon);
    verdict(&admin, "m", "a.json", &clean(2));
    assert_eq!(the_worker(&daemon), first, "a clean file's worker is used again");
    assert_eq!(verdict(&admin, "m", "m.pkl", &samples::hostile_pickle()), "malicious");
    assert_eq!(workers(&daemon), []);
}

/// A stop leaves requests their time and then waits for no inspection: no verdict is made up for it.
#[test]
fn a_stop_ends_inspections() {
    let mut daemon = Daemon::with(&[("MREG_SHUTDOWN_SECONDS", "1")]);
    let admin = daemon.admin();
    verdict(&admin, "m", "a.json", &clean(1));
    // It takes a file and never answers.
    kill_process(the_worker(&daemon), Signal::STOP).unwrap();
    let request = admin.request("POST", "/models").form(form("held", "b.json", &clean(2)));
    let asked = thread::spawn(move || request.try_send().map(|response| response.status));
    wait::until_true("it is being uploaded", || admin.value("/status")["open_uploads"] == 1);
    daemon.expect_line("connections were cut");
    daemon.expect_line("no verdict was reached");
    daemon.stop();
    let answer = asked.join().unwrap();
    assert!(answer.as_ref().map_or(true, |status| *status >= 500), "{answer:?}");
    assert!(!daemon.stderr().iter().any(|line| line.contains("an inspection ended without an answer")));
    let log = daemon.log();
    let kept: Vec<_> = log.of("model.upload").into_iter().filter(|entry| entry["outcome"] == "ok").collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

/// A worker ends with its daemon, whatever it is at.
#[test]
fn none_outlives_its_daemon() {
    let mut daemon = Daemon::start();
    verdict(&daemon.admin(), "m", "a.json", &clean(1));
    let worker = the_worker(&daemon);
    // So that it can't see that nobody asks any more.
    kill_process(worker, Signal::STOP).unwrap();
    daemon.kill();
    wait::until_true("it has ended", || processes().iter().all(|one| one.pid != worker || one.is_zombie));
}

fn scan(daemon: &Daemon, options: &[&str]) -> Output {
    daemon.run(&[&["scan"], options].concat(), "")
}

/// `mregd scan` takes what a registry's settings allow, comes to its verdict by its rules, and says what rules mean.
#[test]
fn scan_as_the_registry_does() {
    let mut daemon = Daemon::prepared(&[
        ("MREG_SCAN_ALLOW_GLOBALS", "mylib.nets.build"),
        ("MREG_SCAN_ALLOW_PREFIXES", "mylib.layers."),
    ]);
    let octets = b"\x80\x02cmylib.layers.conv\nNet\n0cmylib.nets\nbuild\n.";
    fs::write(daemon.work_dir().join("m.pkl"), octets).unwrap();
    let allowed = ["--allow-global", "mylib.nets.build", "--allow-prefix", "mylib.layers", "--json", "m.pkl"];
    let output = scan(&daemon, &allowed);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &line["verdict"]), (Some(0), &json!("clean")), "{line}");
    assert_eq!(line["findings"][0]["meaning"], Value::Null);
    let output = scan(&daemon, &["--json", "--explain", "m.pkl"]);
    assert_eq!(output.status.code(), Some(10));
    let unlike: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(unlike["findings"][0]["meaning"].as_str().unwrap().len() > 20, "{unlike}");
    for wrong in [["--allow-global", "os.system"], ["--allow-prefix", "torch."], ["--allow-global", "f"]] {
        let output = scan(&daemon, &[wrong[0], wrong[1], "m.pkl"]);
        assert_eq!(output.status.code(), Some(64), "{wrong:?}");
    }

    daemon.restart();
    let admin = daemon.admin();
    assert_eq!(verdict(&admin, "m", "m.pkl", octets), "clean");
    let ruleset = admin.value("/version")["ruleset"].clone();
    assert_eq!(ruleset, line["ruleset"]);
    assert_ne!(ruleset, unlike["ruleset"]);
}
