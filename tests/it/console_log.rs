//! The console and the log beyond the live tail: a stream that can't be had, keys that were rotated while nobody looked, alarms
//! that are acknowledged, exports with proofs, checks of everything. Real console, real daemon, a proxy between them; what is
//! exported is verified by a library that shares no code with us.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::oracle;
use tests::pty::{Console, Setup};
use tests::tamper::{Proxy, Tamper};
use tests::wait::{until, until_true};

fn busy(entries: u64) -> (Daemon, Client) {
    let daemon = Daemon::with(&[("MREG_AUDIT_READS", "all")]);
    let admin = daemon.admin();
    for _ in 0..entries {
        act(&admin);
    }
    (daemon, admin)
}

/// An entry of the log.
fn act(admin: &Client) -> u64 {
    let answer = admin.get("/models/nothing");
    answer.problem("not-found");
    answer.log_index()
}

fn key(daemon: &Daemon) -> String {
    daemon.ledger().vkey().to_string()
}

/// A console on its audit screen.
fn console(url: &str, key: &str, setup: Setup) -> Console {
    let mut console = setup.size(120, 40).args(&["--url", url, "--user", ADMIN, "--log-key", key]).start();
    console.wait_for("Password");
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.press("2");
    console.wait_for("[2 Audit]");
    console
}

fn mreg(url: &str, home: &Arc<TempDir>, arguments: &[&str]) -> Output {
    let setup = Setup::at(Arc::clone(home)).args(&["--url", url, "--user", ADMIN, "--password-stdin"]);
    setup.output(arguments, &format!("{ADMIN_PASSWORD}\n"))
}

fn told(output: &Output) -> String {
    format!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Where the stream is refused or held up, pages are read: the screen says NOT LIVE, new entries come and are verified, and
/// nothing is called broken. When the stream is there again, it is live.
#[test]
fn not_live() {
    let (daemon, admin) = busy(20);
    let key = key(&daemon);
    for tamper in [Tamper::NoStream(403), Tamper::NoStream(404), Tamper::NoStream(501), Tamper::Mute] {
        let proxy = Proxy::start(daemon.address());
        proxy.set(tamper.clone());
        let mut console = console(&proxy.url(), &key, Setup::new());
        console.wait_for("NOT LIVE");
        assert!(!console.shows("* live"), "{}", console.screen());
        for _ in 0..2 {
            let index = act(&admin);
            console.press("<C-r>");
            console.wait_for(&index.to_string());
        }
        console.wait_for("admin admin  v ");
        assert!(console.shows("NOT LIVE") && !console.shows("BROKEN"), "{tamper:?}: {}", console.screen());
        proxy.set(Tamper::Nothing);
        proxy.cut();
        console.press("<C-r>");
        console.wait_for("* live");
        let index = act(&admin);
        console.wait_for(&index.to_string());
        assert!(!console.shows("NOT LIVE"), "{}", console.screen());
        console.quit();
    }
}

/// The daemon's keys now.
fn vkeys(daemon: &Daemon) -> Value {
    daemon.admin().value("/status")["log"]["vkeys"].clone()
}

fn rotate(daemon: &Daemon, overlap: &str) -> String {
    let output = daemon.run(&["log", "rotate-key", "--overlap", overlap], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().find_map(|line| line.strip_prefix("log key: ")).expect("the new key is told").to_owned()
}

/// The key is rotated twice while no console runs, and the old keys are gone: a console that holds the first one follows the
/// chain, says so, and goes on to the next session with it. While both keys sign, it follows too. Another key that no entry
/// names is broken.
#[test]
fn rotated_while_away() {
    let (daemon, admin) = busy(5);
    let first = key(&daemon);
    let home = Arc::new(TempDir::new().unwrap());
    let proxy = Proxy::start(daemon.address());
    let mut console_one = console(&proxy.url(), &first, Setup::at(Arc::clone(&home)));
    console_one.wait_for("admin admin  v ");
    console_one.settle();
    console_one.quit();
    let mut newest = String::new();
    for _ in 0..2 {
        newest = rotate(&daemon, "1s");
        let alone = json!([newest]);
        until_true("the old key to be retired", || vkeys(&daemon) == alone);
        daemon.ledger().set_vkey(newest.parse().unwrap());
        act(&admin);
    }
    let id = |vkey: &str| vkey.split('+').nth(1).unwrap().to_owned();
    for session in 0..2 {
        let mut console = console(&proxy.url(), &first, Setup::at(Arc::clone(&home)));
        console.wait_for("admin admin  v ");
        console.press("!");
        console.wait_for("Messages");
        // The first session learns it; the second knows it.
        let says = console.shows(&format!("was followed by {}", id(&newest)));
        assert_eq!(says, session == 0, "{}", console.screen());
        console.press("<Esc>");
        console.wait_gone("Messages");
        console.press("V");
        console.wait_for("PINNED");
        assert!(console.shows(&id(&first)) && console.shows(&id(&newest)), "{}", console.screen());
        console.press("<Esc>");
        console.wait_gone("PINNED");
        console.quit();
    }
    // Both sign for an hour: whoever comes now learns the new one from the entry.
    let last = rotate(&daemon, "1h");
    act(&admin);
    let mut overlap = console(&proxy.url(), &first, Setup::at(Arc::clone(&home)));
    overlap.wait_for("admin admin  v ");
    overlap.press("V");
    overlap.wait_for(&id(&last));
    overlap.press("<Esc>");
    overlap.wait_gone("PINNED");
    // A key that nothing links.
    proxy.set(Tamper::OtherKey);
    act(&admin);
    overlap.wait_for("X BROKEN");
    overlap.wait_for("no entry in a tree that the known key signed names it");
    overlap.press("<Esc>");
    overlap.wait_gone("no entry in a tree");
    overlap.quit();
    // A stranger to the whole chain is told so by `mreg tail`, too.
    let tail = mreg(&proxy.url(), &home, &["--log-key", &first, "tail", "--from", "0", "--until", "3"]);
    assert_eq!(tail.status.code(), Some(0), "{}", told(&tail));
}

fn acknowledgements(admin: &Client) -> Vec<Value> {
    admin.value("/audit-logs?action=audit.acknowledge")["items"].as_array().unwrap().clone()
}

/// Why an alarm may go becomes an entry of the log. Where the daemon is away it waits, also for the next session, and is
/// recorded once.
#[test]
fn acknowledged_at_the_daemon() {
    let (daemon, admin) = busy(5);
    let key = key(&daemon);
    let proxy = Proxy::start(daemon.address());
    let home = Arc::new(TempDir::new().unwrap());
    let mut first = console(&proxy.url(), &key, Setup::at(Arc::clone(&home)));
    first.wait_for("admin admin  v ");
    proxy.set(Tamper::Leaf);
    act(&admin);
    first.wait_for("AUDIT LOG VERIFICATION FAILED");
    proxy.set(Tamper::Cut);
    proxy.cut();
    first.wait_for("OFFLINE");
    first.press("A");
    first.wait_for("why may this be?");
    first.press("<Enter>");
    first.wait_for("say why, in 3 to 500 characters");
    first.press("the proxy was tested<Enter>");
    first.wait_gone("BROKEN");
    first.press("V");
    first.wait_for("1 acknowledgements wait");
    first.press("<Esc>");
    first.wait_gone("PINNED");
    first.quit();
    assert!(acknowledgements(&admin).is_empty());
    proxy.set(Tamper::Nothing);
    for _ in 0..2 {
        let mut again = console(&proxy.url(), &key, Setup::at(Arc::clone(&home)));
        again.wait_for("admin admin  v ");
        until_true("the acknowledgement to be recorded", || acknowledgements(&admin).len() == 1);
        again.press("V");
        again.wait_for("PINNED");
        again.wait_gone("acknowledgements wait");
        again.press("<Esc>");
        again.wait_gone("PINNED");
        again.quit();
    }
    let entries = acknowledgements(&admin);
    let entry = &entries[0]["entry"];
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entry["actor"]["name"], &entry["data"]["reason_given"]),
        (&json!(ADMIN), &json!("the proxy was tested"))
    );
    assert_eq!(entry["data"]["kind"], "entry");
}

/// What is known of an exported line without our code: the leaf is in the tree that the key signed, at its index, and says
/// what the line says.
fn proved(line: &str, key: &str) -> (u64, u64) {
    let line: Value = serde_json::from_str(line).unwrap();
    let receipt = &line["receipt"];
    let index = receipt["index"].as_u64().unwrap();
    let leaf = STANDARD.decode(receipt["leaf"].as_str().unwrap()).unwrap();
    let (head, note) = receipt["proof"].as_str().unwrap().split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(lines.next(), Some(format!("index {index}").as_str()));
    let path: Vec<tlog_tiles::Hash> =
        lines.map(|hash| tlog_tiles::Hash(STANDARD.decode(hash).unwrap().try_into().unwrap())).collect();
    let (size, root) = oracle::open_note(note, key);
    let size = u64::try_from(size).unwrap();
    tlog_tiles::check_record(&path, size, tlog_tiles::Hash(root), index, tlog_tiles::record_hash(&leaf)).unwrap();
    assert_eq!((line["index"].as_u64(), line["entry"]["seq"].as_u64()), (Some(index), Some(index)));
    assert_eq!(serde_json::from_slice::<Value>(&leaf).unwrap(), line["entry"]);
    assert_eq!(line["leaf_hash"], STANDARD.encode(oracle::leaf_hash(&leaf)));
    (index, size)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// `mreg export entries`: every entry there was, each proved to a library that is not ours; filters and ranges; as CSV and JSON
/// lines; never over a file, and nothing is left of what failed.
#[test]
fn exported_with_proofs() {
    let (daemon, admin) = busy(600);
    let (key, proxy) = (key(&daemon), Proxy::start(daemon.address()));
    let home = Arc::new(TempDir::new().unwrap());
    let file = |name: &str| home.path().join(name);
    let export = |arguments: &[&str]| {
        mreg(&proxy.url(), &home, &[&["--log-key", &key, "export", "entries"], arguments].concat())
    };
    let output = export(&["--out", "all.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = fs::read_to_string(file("all.jsonl")).unwrap();
    let indices: Vec<(u64, u64)> = text.lines().map(|line| proved(line, &key)).collect();
    let size = indices[0].1;
    assert!(size > 600, "{size}");
    assert_eq!(indices, (0..size).rev().map(|index| (index, size)).collect::<Vec<_>>());
    assert_eq!(mode(&file("all.jsonl")), 0o600);
    // An auditor needs the file and the key.
    let verified =
        daemon.run(&["log", "verify", "--vkey", &key, "--receipt", &file("all.jsonl").display().to_string()], "");
    assert!(verified.status.success(), "{}", told(&verified));
    assert!(told(&verified).contains("all.jsonl:1: entry "), "{}", told(&verified));
    let changed = text.replacen("\"leaf\":\"e", "\"leaf\":\"f", 1);
    assert_ne!(changed, text);
    fs::write(file("changed.jsonl"), changed).unwrap();
    let verified =
        daemon.run(&["log", "verify", "--vkey", &key, "--receipt", &file("changed.jsonl").display().to_string()], "");
    assert_eq!(verified.status.code(), Some(65), "{}", told(&verified));
    // What people read beside the proof is what was proved.
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut moved = first.clone();
    moved["index"] = Value::from(first["index"].as_u64().unwrap() + 1);
    for changed in [text.replacen("\"outcome\":\"ok\"", "\"outcome\":\"no\"", 1), format!("{moved}\n")] {
        assert_ne!(changed, text);
        fs::write(file("changed.jsonl"), changed).unwrap();
        let changed = file("changed.jsonl").display().to_string();
        let verified = daemon.run(&["log", "verify", "--vkey", &key, "--receipt", &changed], "");
        assert_eq!(verified.status.code(), Some(65), "{}", told(&verified));
        assert!(told(&verified).contains("stands beside it"), "{}", told(&verified));
    }

    let output = export(&["--out", "all.jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(fs::read_to_string(file("all.jsonl")).unwrap(), text, "nothing is overwritten");
    let output = export(&["--from", "10", "--to", "300", "--filter", "action:model.read", "--out", "part.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let part = fs::read_to_string(file("part.jsonl")).unwrap();
    let wanted: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"action\":\"model.read\""))
        .filter(|line| (10..300).contains(&serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap()))
        .collect();
    assert!(wanted.len() > 200);
    assert_eq!(
        part.lines().map(|line| proved(line, &key).0).collect::<Vec<_>>(),
        wanted.iter().map(|line| proved(line, &key).0).collect::<Vec<_>>()
    );
    for (format, name) in [("csv", "rows.csv"), ("jsonl", "rows.jsonl")] {
        let output = export(&["--to", "300", "--format", format, "--out", name]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let rows = fs::read_to_string(file(name)).unwrap();
        assert_eq!(rows.lines().count(), 300 + usize::from(format == "csv"));
        let theirs =
            admin.get(&format!("/audit-logs?before=300&format={}", if format == "csv" { "csv" } else { "ndjson" }));
        let theirs = String::from_utf8(theirs.expect(200).body).unwrap();
        // Of a JSON document the order of members says nothing.
        let same = |ours: &str, theirs: &str| match format {
            "csv" => ours == theirs,
            _ => serde_json::from_str::<Value>(ours).unwrap() == serde_json::from_str::<Value>(theirs).unwrap(),
        };
        let different = rows.lines().zip(theirs.lines()).find(|(ours, theirs)| !same(ours, theirs));
        assert_eq!((different, rows.len()), (None, theirs.len()), "as the daemon's own");
    }
    // An export is one entry, however long.
    let exports = admin.value("/audit-logs?action=audit.export")["items"].as_array().unwrap().len();
    assert_eq!(exports, 6);
    for (tamper, why) in
        [(Tamper::Tile, "committed to"), (Tamper::Page, "committed to"), (Tamper::OtherKey, "not accepted")]
    {
        proxy.set(tamper.clone());
        let output = export(&["--out", "bad.jsonl"]);
        assert_eq!(output.status.code(), Some(6), "{tamper:?}: {}", told(&output));
        assert!(told(&output).contains(why), "{tamper:?}: {}", told(&output));
        assert!(!file("bad.jsonl").exists() && !file("bad.jsonl.part").exists(), "{tamper:?}");
    }
}

/// On the screen: what is marked is exported with proofs, in the background; a mark holds the rows still; what is looked for by
/// time is found without a filter.
#[test]
fn exported_from_the_screen() {
    let (daemon, admin) = busy(300);
    let key = key(&daemon);
    let url = format!("http://{}", daemon.address());
    let home = Arc::new(TempDir::new().unwrap());
    let mut console = console(&url, &key, Setup::at(Arc::clone(&home)));
    console.wait_for("admin admin  v ");
    let middle =
        admin.value("/audit-logs?after=149&before=151")["items"][0]["entry"]["ts"].as_str().unwrap().to_owned();
    console.press(&format!("t{middle}<Enter>"));
    console.wait_for("is the first that is not before");
    console.wait_for(" 149  ");
    console.wait_for("PAUSED");
    assert!(console.shows("filter: none"), "{}", console.screen());
    console.press("<Space>");
    console.wait_for("1 marked");
    console.press("jjjv");
    console.wait_for("4 marked");
    console.press("x");
    console.wait_for("export proofs marked entries-");
    console.press("<C-u>export proofs marked marked.jsonl<Enter>");
    console.wait_for("4 entries in marked.jsonl, each proved");
    let text = fs::read_to_string(home.path().join("marked.jsonl")).unwrap();
    let indices: Vec<u64> = text.lines().map(|line| proved(line, &key).0).collect();
    assert!(indices.len() == 4 && indices.windows(2).all(|pair| pair[0] == pair[1] + 1), "{indices:?}");
    assert!(indices.contains(&150) || indices.iter().any(|index| (140..=153).contains(index)), "{indices:?}");
    console.press("<Esc>");
    console.wait_gone("4 marked");
    console.press(":export proofs all all.jsonl<Enter>");
    console.wait_for("entries in all.jsonl, each proved");
    let text = fs::read_to_string(home.path().join("all.jsonl")).unwrap();
    assert!(text.lines().count() > 300 && proved(text.lines().next_back().unwrap(), &key).0 == 0);
    assert_eq!(mode(&home.path().join("all.jsonl")), 0o600);
    // An entry is copied with its proof.
    console.settle();
    let before = console.count();
    console.press("Y");
    console.wait_for("with its proof");
    console.settle();
    let sent = String::from_utf8_lossy(&console.octets_from(before)).into_owned();
    let copied = sent.split("\x1b]52;c;").nth(1).and_then(|rest| rest.split('\x07').next()).unwrap();
    proved(&String::from_utf8(STANDARD.decode(copied).unwrap()).unwrap(), &key);
    console.quit();
}

/// `V`, then `c`: every entry is checked, or some; what was found is kept, and what is wrong is broken.
#[test]
fn checked_from_the_panel() {
    let (daemon, admin) = busy(300);
    let key = key(&daemon);
    let proxy = Proxy::start(daemon.address());
    let home = Arc::new(TempDir::new().unwrap());
    let mut first = console(&proxy.url(), &key, Setup::at(Arc::clone(&home)));
    first.wait_for("admin admin  v ");
    first.press("V");
    first.wait_for("none yet; c checks every entry");
    first.press("c");
    first.wait_for("check entries");
    first.press("<Enter>");
    first.wait_for("entries: no fault");
    first.press("c");
    first.wait_for("check entries");
    first.press("9-7<Enter>");
    first.wait_for("100-199");
    first.press("<C-u>10-280<Enter>");
    first.wait_for("entries 10 to 280: no fault");
    first.press("<Esc>");
    first.wait_gone("PINNED");
    first.settle();
    first.quit();
    let mut second = console(&proxy.url(), &key, Setup::at(Arc::clone(&home)));
    second.wait_for("admin admin  v ");
    second.press("V");
    second.wait_for("entries: no fault");
    proxy.set(Tamper::Tile);
    second.press("c");
    second.wait_for("check entries");
    second.press("0-255<Enter>");
    second.wait_for("X BROKEN");
    second.wait_for("entries 0 to 255: 1 fault: checkpoint");
    let folder = home.path().join("state/mreg");
    until("evidence", || {
        let mut files =
            fs::read_dir(&folder).ok()?.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        files.find(|name| name.starts_with("evidence-"))
    });
    proxy.set(Tamper::Nothing);
    second.press("<Esc>");
    second.wait_for("AUDIT LOG VERIFICATION FAILED");
    second.press("<Esc>");
    second.wait_gone("AUDIT LOG VERIFICATION FAILED");
    second.quit();
    act(&admin);
}

/// What people read out to each other stands still while it is shown, though the log goes on; how far that is, is told.
#[test]
fn what_is_compared_stands_still() {
    let (daemon, admin) = busy(3);
    let mut console = console(&format!("http://{}", daemon.address()), &key(&daemon), Setup::new());
    console.wait_for("admin admin  v ");
    console.press("V");
    console.wait_for("PINNED");
    let root = |console: &Console| {
        let screen = console.screen();
        screen.lines().find(|line| line.split_whitespace().next() == Some("root")).map(str::to_owned).unwrap()
    };
    let shown = root(&console);
    act(&admin);
    console.wait_for("since, C-r shows them");
    assert_eq!(root(&console), shown);
    console.press("<C-r>");
    console.wait_gone("since, C-r shows them");
    assert_ne!(root(&console), shown);
    console.press("<Esc>");
    console.wait_gone("PINNED");
    console.quit();
}
