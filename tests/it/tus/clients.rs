//! Clients that resume: tuspy, which is not ours, from a venv that `tests/run` makes; `mreg upload`; the console.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::role::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon, variable, workspace};
use tests::http::Client;
use tests::pty::Setup;
use tests::relay::Relay;
use tests::samples::sha256;
use tests::wait;

use super::{create, id, model, offset, patch, publish, sample};

/// What a stock client does: create, send in parts with checksums, stop, go on from where the server says.
const TUSPY: &str = r#"
import sys
from tusclient.client import TusClient
url, token, path, stop = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
client = TusClient(url + "/uploads", headers={"Authorization": "Bearer " + token})
first = client.uploader(path, chunk_size=100_000, metadata={"filename": "m.bin"}, upload_checksum=True)
first.upload(stop_at=stop)
again = client.uploader(path, chunk_size=70_001, url=first.url)
assert again.offset == first.offset >= stop, (again.offset, first.offset, stop)
again.upload()
print(again.url)
"#;

/// The venv with tuspy: `MREG_TUSPY`, or where `tests/run` makes it.
fn python() -> PathBuf {
    let venv = variable("MREG_TUSPY").map_or_else(|| workspace().join("target/tuspy"), PathBuf::from);
    let python = venv.join("bin/python");
    let why = "tuspy is missing: `tests/run --prepare` makes its venv, for which it needs PyPI or a mirror of it";
    assert!(python.exists(), "{why} ({})", python.display());
    python
}

#[test]
fn tuspy() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = sample(1_000_000, 8);
    let path = daemon.work_dir().join("m.bin");
    fs::write(&path, &file).unwrap();
    let url = format!("http://{}", daemon.address());
    let stop = "430000";
    let ended = Command::new(python())
        .args(["-c", TUSPY, &url, carl.token()])
        .arg(&path)
        .arg(stop)
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{told}{}", String::from_utf8_lossy(&ended.stderr));
    let path = told.trim().strip_prefix(&url).expect("the upload's address").to_owned();
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(&file));
}

/// Octets that go through before the line becomes narrow.
const NARROW: u64 = 12 << 20;
/// A file that is sent by a resumable upload.
const LARGE: usize = 24 << 20;

fn mreg(home: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(tests::pty::binary());
    command
        .args(["--url", url])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .env("MREG_TOKEN_FILE", home.join("token"))
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn home_of(client: &Client) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs::write(&token, client.token()).unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    home
}

/// The only open upload of a user, and how far it is.
fn only_upload(client: &Client) -> Option<(String, u64)> {
    let uploads = client.value("/uploads");
    let [upload] = uploads["items"].as_array().unwrap().as_slice() else { return None };
    Some((upload["id"].as_str().unwrap().to_owned(), upload["offset"].as_u64().unwrap()))
}

/// `mreg upload`: a version with all that was said of it, as one JSON document; statuses and refusals as of every command.
#[test]
fn command() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let home = home_of(&carl);
    let (one, two) = (tests::samples::safetensors(1), tests::samples::safetensors(2));
    fs::write(home.path().join("one.safetensors"), &one).unwrap();
    fs::write(home.path().join("two.safetensors"), &two).unwrap();
    let url = format!("http://{}", daemon.address());
    let run = |arguments: &[&str]| mreg(home.path(), &url, arguments).output().unwrap();
    let said = ["--tag", "stage:test", "--alias", "candidate", "--description", "what it is", "--json"];
    let ended = run(&[&["upload", "one.safetensors", "two.safetensors", "--model", "team/m"][..], &said].concat());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let published: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&published["name"], published["version"].as_u64()), (&"team/m".into(), Some(1)));
    assert!(published["receipt"]["index"].is_u64() && published["artifacts"].as_array().unwrap().len() == 2);
    let model = carl.value("/models/team%2Fm");
    assert_eq!((&model["tags"]["stage"], &model["aliases"][0]["alias"]), (&"test".into(), &"candidate".into()));

    let again = run(&["upload", "one.safetensors", "two.safetensors", "--model", "team/m"]);
    let told = String::from_utf8(again.stdout).unwrap();
    assert!(again.status.success() && told.contains("was there already"), "{told}");
    assert_eq!(run(&["upload", "one.safetensors"]).status.code(), Some(0), "the name is the file's");
    assert_eq!(carl.get("/models/one").status, 200);
    for (arguments, status) in [
        (&["upload", "missing.bin"][..], 1),
        (&["upload", "one.safetensors", "two.safetensors"], 2),
        (&["upload", "one.safetensors", "--model", "../x"], 1),
        (&["upload", "one.safetensors", "--model", "m", "--alias", "7"], 1),
        (&["upload", "two.safetensors", "--model", "one", "--version", "1"], 7),
        (&["upload", "two.safetensors", "--readonly"], 2),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stdout.is_empty(), "{arguments:?}");
    }
    let nobody =
        mreg(home.path(), "http://127.0.0.1:9", &["upload", "one.safetensors", "--patience", "0"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(5));
    let viewer = home_of(&daemon.user("vera", Role::Viewer));
    fs::write(viewer.path().join("m.bin"), "x").unwrap();
    assert_eq!(mreg(viewer.path(), &url, &["upload", "m.bin"]).output().unwrap().status.code(), Some(4));
    // What was refused at the end is still its owner's, and the state folder knows it.
    let kept = fs::read_dir(home.path().join(".local/state/mreg/uploads")).unwrap().count();
    assert_eq!(carl.value("/uploads")["total"].as_u64(), Some(kept as u64));
}

/// Ended in the middle of it, the same command goes on: nothing that came is sent again. A lost line it survives itself.
#[test]
fn command_goes_on() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let home = home_of(&carl);
    let file = sample(LARGE, 9);
    fs::write(home.path().join("m.bin"), &file).unwrap();
    let relay = Relay::to(daemon.address());
    let url = format!("http://{}", relay.address());
    let arguments = ["upload", "m.bin", "--model", "m", "--json"];

    relay.allow(NARROW);
    let mut first = mreg(home.path(), &url, &arguments).spawn().unwrap();
    wait::until_true("the line to be narrow", || relay.is_narrow());
    // A cut line: the daemon keeps what came, and the command waits for it.
    relay.lead_to(None);
    relay.cut();
    wait::until_true("what came to be kept", || only_upload(&carl).is_some_and(|(_, offset)| offset > 0));
    kill_process(Pid::from_child(&first), Signal::KILL).unwrap();
    first.wait().unwrap();
    let (upload, sent) = only_upload(&carl).unwrap();
    assert!(sent > NARROW / 2 && sent <= NARROW, "{sent}");

    // Less than all goes through from here on: it can't have begun anew.
    relay.lead_to(Some(daemon.address()));
    relay.allow(LARGE as u64 - sent + 200_000);
    let second = mreg(home.path(), &url, &arguments).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success(), "{told}");
    let published: Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(published["sha256"], sha256(&file));
    let index = published["receipt"]["index"].as_u64().unwrap();
    let entry = daemon.admin().value(&format!("/audit-logs/{index}"))["entry"].clone();
    assert_eq!(entry["data"]["uploads"], serde_json::json!([upload]));
    assert_eq!(fs::read_dir(home.path().join(".local/state/mreg/uploads")).unwrap().count(), 0);

    // The line breaks and comes back while it runs.
    relay.allow(NARROW);
    fs::write(home.path().join("n.bin"), sample(LARGE, 10)).unwrap();
    let mut third = mreg(home.path(), &url, &["upload", "n.bin", "--model", "n"]).spawn().unwrap();
    wait::until_true("the line to be narrow", || relay.is_narrow());
    relay.cut();
    relay.allow(u64::MAX);
    let mut told = String::new();
    third.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(third.wait().unwrap().success(), "{told}");
    assert!(told.contains("trying again") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(carl.value("/models/n")["latest_version"], 1);
}

/// A download that is cut goes on, by itself and by the same command; the digest is checked at the end.
#[test]
fn fetch_goes_on() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let home = home_of(&carl);
    let file = model(3_000_000, 11);
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    patch(&carl, &path, 0, &file).send().expect(204);
    publish(&carl, &[&path], "m").expect(201);
    fs::write(home.path().join("m.bin.part"), &file[..1_234_567]).unwrap();
    let url = format!("http://{}", daemon.address());
    let ended = mreg(home.path(), &url, &["fetch", "m"]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(fs::read(home.path().join("m.bin")).unwrap(), file);
    let admin = daemon.admin();
    let handed_out = admin.value("/audit-logs?action=model.download_end&limit=1")["items"][0]["entry"].clone();
    assert_eq!(handed_out["data"]["octets_sent"].as_u64(), Some((file.len() - 1_234_567) as u64), "{handed_out}");
    // Other octets before the cut are found out, and not gone on with.
    fs::remove_file(home.path().join("m.bin")).unwrap();
    fs::write(home.path().join("m.bin.part"), sample(1_000, 12)).unwrap();
    let wrong = mreg(home.path(), &url, &["fetch", "m"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(6));
    assert!(!home.path().join("m.bin").exists() && !home.path().join("m.bin.part").exists());
}

/// The console's upload: paused and gone on with by a key, over a daemon that is killed and comes back elsewhere.
#[test]
fn console() {
    let mut daemon = Daemon::start();
    daemon.expect_line("view");
    let admin = daemon.admin();
    let relay = Relay::to(daemon.address());
    let setup = Setup::new();
    let file = sample(LARGE, 13);
    fs::write(setup.home().path().join("m.bin"), &file).unwrap();
    let url = format!("http://{}", relay.address());
    let mut console = setup.args(&["--url", &url, "--user", ADMIN]).start();
    console.wait_for("Password");
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.settle();
    relay.allow(NARROW);
    console.press(":upload m.bin team/m<Enter>");
    wait::until_true("the line to be narrow", || relay.is_narrow());
    console.press("J");
    console.wait_for("upload of m.bin as team/m");
    console.wait_for("of 24 MiB");
    // Gone without a word, and nobody there.
    relay.lead_to(None);
    relay.cut();
    wait::until_true("what came to be kept", || only_upload(&admin).is_some_and(|(_, offset)| offset > 0));
    let (upload, sent) = only_upload(&admin).unwrap();
    console.wait_for("trying again");
    daemon.kill();
    daemon.restart();
    let admin = admin.at(daemon.address());
    assert_eq!(offset(&admin, &format!("/uploads/{upload}")) as u64, sent);
    console.press("p");
    console.wait_for("paused (p goes on)");
    relay.allow(u64::MAX);
    relay.lead_to(Some(daemon.address()));
    console.press("p");
    console.wait_gone("paused (p goes on)");
    console.wait_for("team/m v1");
    let log = admin.value("/audit-logs?action=model.upload&outcome=ok&limit=1")["items"][0]["entry"].clone();
    assert_eq!(log["data"]["uploads"], serde_json::json!([upload]));
    assert_eq!(log["target"]["digest"], format!("sha256:{}", sha256(&file)));
    assert_eq!(id(&format!("/uploads/{upload}")), upload);
    console.press("<Esc>");
    // An escape with a letter right behind it is another key.
    console.wait_gone("Esc close");
    console.quit();
}
