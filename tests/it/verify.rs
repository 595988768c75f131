//! `mregd log verify`, `export` and `tail` from outside: a log in order passes, by our command and by strangers' tools, and
//! whatever is changed in it is named (audit-log.md §9, §11).

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use common::audit::{
    Action, Actor, BundlePath, Checkpoint, Ed25519Signer, Entry, Frontier, Hash, Outcome, Signer, Target, TilePath,
    leaf_hash, push_leaf,
};
use common::role::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::{oracle, samples};
use tlog_tiles::{HashReader, record_hash, stored_hashes_for_record_hash, tree_hash};

/// EX_DATAERR, EX_TEMPFAIL, EX_NOPERM, EX_USAGE.
const DATA: i32 = 65;
const TEMP_FAIL: i32 = 75;
const NO_PERMISSION: i32 = 77;
const USAGE: i32 = 64;

/// A registry with more than a bundle of entries of many kinds, and the receipt of an upload.
fn busy() -> (Daemon, Value) {
    let daemon = Daemon::with(&[("MREG_AUDIT_READS", "all")]);
    let carl = daemon.user("carl", Role::Contributor);
    let receipt = carl.upload("m", "m.safetensors", &samples::safetensors(1))["receipt"].clone();
    carl.get("/models/m/download").expect(200);
    carl.delete("/models/m").problem("forbidden");
    daemon.client().get("/models").problem("unauthenticated");
    for _ in 0..260 {
        carl.get("/models/m").expect(200);
    }
    (daemon, receipt)
}

fn vkey(daemon: &Daemon) -> String {
    daemon.ledger().vkey().to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn passes(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// It fails as a fault of the log, and names this.
#[track_caller]
fn fails(output: &Output, named: &str) {
    assert_eq!(code(output), DATA, "{}", said(output));
    assert!(said(output).contains(named), "{named}: {}", said(output));
}

fn export(daemon: &Daemon, dir: &Path) -> Output {
    daemon.run(&["log", "export", "--dir", text(dir)], "")
}

fn verify(daemon: &Daemon, dir: &Path) -> Output {
    daemon.run(&["log", "verify", "--vkey", &vkey(daemon), "--dir", text(dir)], "")
}

/// Every file of an export, by its path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(text(path.strip_prefix(root).unwrap()).to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

/// An export, read by what shares no code with ours: C2SP's paths spelt out, the oracle's note, the stranger's tree.
fn strangers_agree(dir: &Path, vkey: &str) -> usize {
    struct Stored(Vec<tlog_tiles::Hash>);
    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
            Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
        }
    }
    let note = fs::read_to_string(dir.join("checkpoint")).unwrap();
    let (size, root) = oracle::open_note(&note, vkey);
    let mut stored = Stored(Vec::new());
    let mut hashes = Vec::new();
    for first in (0..size).step_by(256) {
        let width = (size - first).min(256);
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let bundle = fs::read(dir.join(format!("tile/entries/{:03}{partial}", first / 256))).unwrap();
        let mut rest = bundle.as_slice();
        while let [high, low, after @ ..] = rest {
            let (leaf, after) = after.split_at(usize::from(*high) << 8 | usize::from(*low));
            let index = u64::try_from(hashes.len()).unwrap();
            let new = stored_hashes_for_record_hash(index, record_hash(leaf), &stored).unwrap();
            stored.0.extend(new);
            hashes.push(oracle::leaf_hash(leaf));
            rest = after;
        }
        let tile = fs::read(dir.join(format!("tile/0/{:03}{partial}", first / 256))).unwrap();
        assert_eq!(tile, hashes[first..].concat());
    }
    assert_eq!(hashes.len(), size);
    assert_eq!(tree_hash(u64::try_from(size).unwrap(), &stored).unwrap().0, root);
    assert_eq!(oracle::root(&hashes), root);
    size
}

/// One log, verified in every way: as files, over HTTP with and without a token, locally while the daemon runs and while
/// it is stopped, with receipts and saved checkpoints.
#[test]
fn a_log_in_order_passes() {
    let (mut daemon, receipt) = busy();
    let key = vkey(&daemon);
    let work = daemon.work_dir();
    let (dir, key_file) = (work.join("export"), work.join("keys.txt"));
    fs::write(&key_file, format!("{key}\n")).unwrap();
    let saved = work.join("saved");
    fs::write(&saved, daemon.client().get("/log/checkpoint").expect(200).text()).unwrap();
    let receipt_file = work.join("receipt.json");
    fs::write(&receipt_file, receipt.to_string()).unwrap();
    let answer_file = work.join("answer.json");
    fs::write(&answer_file, json!({"id": "x", "receipt": receipt}).to_string()).unwrap();

    passes(&export(&daemon, &dir));
    let size = strangers_agree(&dir, &key);
    assert!(size > 256, "{size}");
    let told = passes(&daemon.run(
        &[
            "log",
            "verify",
            "--dir",
            text(&dir),
            "--vkey",
            text(&key_file),
            "--receipt",
            text(&receipt_file),
            "--receipt",
            text(&answer_file),
            "--saved",
            text(&saved),
            "--max-age",
            "1h",
        ],
        "",
    ));
    assert!(
        told.contains(&format!("{size} entries read"))
            && told.contains(" by carl on ")
            && told.contains("saved checkpoints: 1"),
        "{told}"
    );
    let read: Value = serde_json::from_str(&passes(
        &daemon.run(&["log", "verify", "--json", "--dir", text(&dir), "--vkey", &key], ""),
    ))
    .unwrap();
    assert_eq!((&read["ok"], &read["size"], &read["entries"]), (&json!(true), &json!(size), &json!(size)));
    // Receipts alone need no log.
    passes(&daemon.run(&["log", "verify", "--vkey", &key, "--receipt", text(&receipt_file)], ""));

    // Over HTTP: an outsider sees hashes, an auditor everything, and neither puts a token into an argument.
    let url = format!("http://{}", daemon.address());
    let told = passes(&daemon.run(&["log", "verify", "--vkey", &key, "--url", &url, "--saved", text(&saved)], ""));
    assert!(told.contains("no entries read"), "{told}");
    let auditor = daemon.user("olga", Role::Auditor);
    let token_file = work.join("token");
    fs::write(&token_file, auditor.token()).unwrap();
    let with_token = ["log", "verify", "--vkey", &key, "--url", &url, "--token-file", text(&token_file)];
    let exposed = daemon.run(&with_token, "");
    assert_eq!(code(&exposed), USAGE, "others may read the token: {}", said(&exposed));
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
    let readings = || {
        let rows = daemon.admin().value("/audit-logs?action=audit.read&actor=olga&limit=1000");
        rows["items"].as_array().unwrap().len()
    };
    let before = readings();
    let told = passes(&daemon.run(&with_token, ""));
    assert!(!told.contains("no entries read"), "{told}");
    assert!(readings() >= before + 2, "each bundle that was read is an entry");
    let viewer = daemon.user("vera", Role::Viewer);
    fs::write(&token_file, viewer.token()).unwrap();
    let refused = daemon.run(&with_token, "");
    assert_eq!(code(&refused), NO_PERMISSION, "{}", said(&refused));

    passes(&daemon.run(&["log", "verify", "--vkey", &key], ""));
    // The same directory again, with what was added; from the daemon, then from the stopped registry.
    let first = files(&dir);
    passes(&export(&daemon, &dir));
    daemon.stop();
    passes(&export(&daemon, &dir));
    let grown = strangers_agree(&dir, &key);
    assert!(grown > size, "reading the log makes it longer");
    for (path, octets) in first.iter().filter(|(path, _)| *path != "checkpoint") {
        assert_eq!(&files(&dir)[path], octets, "{path}");
    }
    passes(&daemon.run(&["log", "verify", "--vkey", &key, "--dir", text(&dir), "--saved", text(&saved)], ""));
    passes(&daemon.run(&["log", "verify", "--vkey", &key], ""));
}

/// One octet changed in each file: named. So are a cut bundle, a missing tile, a foreign key, and foreign checkpoints.
#[test]
fn damage_is_named() {
    let (daemon, receipt) = busy();
    let key = vkey(&daemon);
    let dir = daemon.work_dir().join("export");
    passes(&export(&daemon, &dir));
    let whole = files(&dir);
    assert!(whole.len() >= 6, "{:?}", whole.keys());
    for (path, octets) in &whole {
        // In the checkpoint an octet of its root: others are characters that a note can't have.
        for at in [octets.len() / 2, octets.len() - 5] {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            fs::write(dir.join(path), &changed).unwrap();
            fails(&verify(&daemon, &dir), path);
        }
        fs::write(dir.join(path), &octets[..octets.len() - 1]).unwrap();
        fails(&verify(&daemon, &dir), path);
        fs::remove_file(dir.join(path)).unwrap();
        let gone = verify(&daemon, &dir);
        fails(&gone, if path == "checkpoint" { "no checkpoint" } else { path });
        fs::write(dir.join(path), octets).unwrap();
    }
    // An entry is named by its index and its octets.
    let bundle = "tile/entries/000";
    let mut changed = whole[bundle].clone();
    let place = changed.windows(13).position(|octets| octets == b"\"auth.login\",").unwrap();
    changed[place + 1] = b'A';
    fs::write(dir.join(bundle), &changed).unwrap();
    let output = daemon.run(&["log", "verify", "--json", "--vkey", &key, "--dir", text(&dir)], "");
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &read["ok"], &read["faults_total"]), (DATA, &json!(false), &json!(1)), "{read}");
    let fault = &read["faults"][0];
    let octets = fault["octets"]["start"].as_u64().unwrap()..fault["octets"]["end"].as_u64().unwrap();
    assert!(octets.contains(&u64::try_from(place).unwrap()) && fault["entry"].is_u64(), "{fault}");
    // The next export says so, too, and writes no checkpoint over the old one.
    let refused = export(&daemon, &dir);
    fails(&refused, bundle);
    assert_eq!(fs::read(dir.join("checkpoint")).unwrap(), whole["checkpoint"]);
    fs::write(dir.join(bundle), &whole[bundle]).unwrap();
    passes(&verify(&daemon, &dir));

    let foreign = Forged::new(b"f", |index| entry(index, 0));
    let other = daemon.run(&["log", "verify", "--vkey", &foreign.vkey(), "--dir", text(&dir)], "");
    fails(&other, "not signed by a pinned key");
    let nonsense = daemon.run(&["log", "verify", "--vkey", "nonsense", "--dir", text(&dir)], "");
    assert_eq!(code(&nonsense), USAGE);

    // A checkpoint of another history with the same key: what root could make.
    let work = daemon.work_dir();
    let signer = files(&daemon.key_dir())
        .into_values()
        .find_map(|octets| Ed25519Signer::parse(String::from_utf8(octets).ok()?.trim()).ok())
        .expect("the log's key");
    let other = Checkpoint { origin: signer.verifier().name().to_owned(), size: 3, root: Hash([7; 32]) };
    let saved = work.join("saved");
    let with_saved = |checkpoint: &Checkpoint| {
        fs::write(&saved, checkpoint.sign(&[&signer as &dyn Signer]).unwrap()).unwrap();
        daemon.run(&["log", "verify", "--vkey", &key, "--dir", text(&dir), "--saved", text(&saved)], "")
    };
    fails(&with_saved(&other), "it was rewritten");
    fails(&with_saved(&Checkpoint { size: 1_000_000, ..other }), "it was cut");
    let forged = work.join("receipt");
    let mut changed = receipt;
    changed["index"] = json!(changed["index"].as_u64().unwrap() - 1);
    fs::write(&forged, changed.to_string()).unwrap();
    fails(&daemon.run(&["log", "verify", "--vkey", &key, "--receipt", text(&forged)], ""), text(&forged));
}

/// A log made by hand, with a key of its own: what a daemon under a stranger's control could serve.
struct Forged {
    signer: Ed25519Signer,
    entry: Box<dyn Fn(u64) -> Entry>,
}

const FORGED: &str = "forged.example/log";

fn entry(index: u64, history: u8) -> Entry {
    Entry {
        seq: index,
        id: format!("{history}-{index}"),
        ts: 1_782_907_200_000 + i64::try_from(index).unwrap(),
        node: "n".to_owned(),
        salt: leaf_hash(&[&index.to_be_bytes()[..], &[history]].concat()).0,
        action: if index == 0 { Action::LogGenesis } else { Action::ModelRead },
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: index.checked_sub(1),
        target: Some(Target::new("model", "m")),
        req: None,
        data: BTreeMap::from([("origin".to_owned(), json!(FORGED))]),
    }
}

impl Forged {
    fn new(seed: &[u8; 1], entry: impl Fn(u64) -> Entry + 'static) -> Self {
        Self { signer: Ed25519Signer::from_seed(FORGED, &[seed[0]; 32]).unwrap(), entry: Box::new(entry) }
    }

    fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// Writes the first entries as an export.
    fn write(&self, dir: &Path, size: u64) {
        let put = |path: String, octets: &[u8]| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, octets).unwrap();
        };
        let mut levels: Vec<Vec<Hash>> = Vec::new();
        let mut frontier = Frontier::new();
        for path in BundlePath::all_of(size) {
            let mut bundle = Vec::new();
            for index in path.leaves() {
                let leaf = (self.entry)(index).to_leaf().unwrap();
                push_leaf(&mut bundle, &leaf).unwrap();
                frontier.append(leaf_hash(&leaf), |level, _, hash| {
                    levels.resize_with(levels.len().max(usize::from(level) + 1), Vec::new);
                    levels[usize::from(level)].push(hash);
                });
            }
            put(path.to_string(), &bundle);
        }
        for path in TilePath::all_of(size) {
            let nodes = path.nodes();
            let start = usize::try_from(nodes.start).unwrap();
            let hashes = &levels[usize::from(nodes.level)][start..start + usize::from(nodes.count)];
            put(path.to_string(), &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>());
        }
        let checkpoint = Checkpoint { origin: FORGED.to_owned(), size, root: frontier.root() };
        put("checkpoint".to_owned(), checkpoint.sign(&[&self.signer as &dyn Signer]).unwrap().as_bytes());
    }
}

/// A log that hashes to what was signed, and is wrong in itself.
#[test]
fn a_daemon_that_writes_nonsense_is_found_out() {
    let daemon = Daemon::prepared(&[]);
    let dir = TempDir::new().unwrap();
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 6] = [
        ("its id is that of entry 3", |it| it.id = entry(3, 0).id),
        ("its salt is that of entry 3", |it| it.salt = entry(3, 0).salt),
        ("it says that it is entry 301", |it| it.seq = 301),
        ("is before", |it| it.ts -= 10),
        ("it names entry 7 before it", |it| it.prev = Some(7)),
        ("it names no entry before it", |it| it.prev = None),
    ];
    for (named, change) in changes {
        let forged = Forged::new(b"a", move |index| {
            let mut entry = entry(index, 0);
            if index == 300 {
                change(&mut entry);
            }
            entry
        });
        forged.write(dir.path(), 310);
        let output = daemon.run(&["log", "verify", "--vkey", &forged.vkey(), "--dir", text(dir.path())], "");
        fails(&output, named);
        assert!(said(&output).contains("entry 300") && said(&output).contains("1 fault"), "{}", said(&output));
        let hashes = ["log", "verify", "--hashes-only", "--vkey", &forged.vkey(), "--dir", text(dir.path())];
        passes(&daemon.run(&hashes, ""));
    }
    let renamed = Forged::new(b"a", |index| Entry { data: BTreeMap::new(), ..entry(index, 0) });
    renamed.write(dir.path(), 310);
    let output = daemon.run(&["log", "verify", "--vkey", &renamed.vkey(), "--dir", text(dir.path())], "");
    fails(&output, "which no entry of the log names");
    let old = Forged::new(b"a", |index| entry(index, 0));
    old.write(dir.path(), 310);
    let aged = ["log", "verify", "--max-age", "1s", "--vkey", &old.vkey(), "--dir", text(dir.path())];
    // Its entries are of a past that tests don't wait for.
    fails(&daemon.run(&aged, ""), "the newest entry is of 2026-07-01");
    passes(&daemon.run(&["log", "verify", "--vkey", &old.vkey(), "--dir", text(dir.path())], ""));
    // Where no entry can be read, an age that was asked for is never passed over.
    let hashes_only = ["--max-age", "1s", "--vkey", &old.vkey(), "--url", &Server::of(dir.path()).url()];
    let unread = daemon.run(&[&["log", "verify"][..], &hashes_only].concat(), "");
    assert_eq!(code(&unread), USAGE, "{}", said(&unread));
    let empty = TempDir::new().unwrap();
    old.write(empty.path(), 0);
    let aged = ["log", "verify", "--max-age", "1s", "--vkey", &old.vkey(), "--dir", text(empty.path())];
    fails(&daemon.run(&aged, ""), "no entry says how old");
    // What is no file is a fault, and never waited for.
    fs::remove_file(dir.path().join("tile/entries/000")).unwrap();
    let pipe = dir.path().join("tile/entries/000");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = daemon.run(&["log", "verify", "--vkey", &old.vkey(), "--dir", text(dir.path())], "");
    fails(&output, "tile/entries/000: it is not a file");
    fs::remove_file(&pipe).unwrap();
    // An entry says what it wants, but not in a line of its own.
    let loud = Forged::new(b"a", |index| {
        let action = if index == 5 { Action::LogKeyRotate } else { entry(index, 0).action };
        let data = BTreeMap::from([("origin".to_owned(), json!(FORGED)), ("x".to_owned(), json!("\u{2028}\u{9b}2J"))]);
        Entry { action, data, ..entry(index, 0) }
    });
    loud.write(dir.path(), 310);
    let told = passes(&daemon.run(&["log", "verify", "--vkey", &loud.vkey(), "--dir", text(dir.path())], ""));
    assert!(told.contains("note: entry 5") && told.contains("\\u{2028}\\u{9b}2J"), "{told}");
}

/// Serves a directory's files below `/log/`, and whatever directory it is told to next.
struct Server {
    address: SocketAddr,
    dir: Arc<Mutex<PathBuf>>,
}

impl Server {
    fn of(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dir = Arc::new(Mutex::new(dir.to_owned()));
        let served = Arc::clone(&dir);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { continue };
                let file = served.lock().unwrap().join(path.trim_start_matches("/log/"));
                let (status, body) = match fs::read(file) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { address, dir }
    }

    fn serve(&self, dir: &Path) {
        dir.clone_into(&mut self.dir.lock().unwrap());
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The monitor follows a log over restarts of its daemon, and says so when there is nothing to reach.
#[test]
fn tail_follows() {
    let mut daemon = Daemon::start();
    let state = daemon.work_dir().join("state");
    let key = vkey(&daemon);
    let tail = |daemon: &Daemon| {
        let url = format!("http://{}", daemon.address());
        daemon.run(&["log", "tail", "--once", "--state", text(&state), "--vkey", &key, &url], "")
    };
    assert!(passes(&tail(&daemon)).contains("first seen"));
    let seen = fs::read_to_string(&state).unwrap();
    assert!(passes(&tail(&daemon)).contains(" 0 more"));
    let gone = format!("http://{}", daemon.address());
    daemon.stop();
    daemon.restart();
    daemon.user("carl", Role::Contributor);
    assert!(passes(&tail(&daemon)).contains(" more"));
    assert_ne!(fs::read_to_string(&state).unwrap(), seen);
    daemon.stop();
    let now = fs::read_to_string(&state).unwrap();
    let lost = daemon.run(&["log", "tail", "--state", text(&state), "--vkey", &key, &gone], "");
    assert_eq!(code(&lost), TEMP_FAIL, "{}", said(&lost));
    assert_eq!(fs::read_to_string(&state).unwrap(), now);
}

/// A fork, a rollback, a proof that is refused, a wrong key: each is told, and both notes are kept.
#[test]
fn tail_catches_a_fork() {
    let daemon = Daemon::prepared(&[]);
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let honest = Forged::new(b"a", |index| entry(index, 0));
    let forged = Forged::new(b"a", |index| entry(index, u8::from(index == 250)));
    honest.write(&path("honest-300"), 300);
    honest.write(&path("honest-700"), 700);
    forged.write(&path("forged-300"), 300);
    forged.write(&path("forged-700"), 700);
    honest.write(&path("honest-200"), 200);
    honest.write(&path("silent-700"), 700);
    fs::remove_dir_all(path("silent-700/tile")).unwrap();
    Forged::new(b"b", |index| entry(index, 0)).write(&path("foreign"), 800);

    let server = Server::of(&path("honest-300"));
    let state = path("watch/state");
    let key = honest.vkey();
    let tail = || daemon.run(&["log", "tail", "--state", text(&state), "--vkey", &key, &server.url()], "");
    assert!(passes(&tail()).contains("300 entries"));
    let seen = fs::read(&state).unwrap();
    for (served, why) in [
        ("forged-300", "two roots of 300 entries"),
        ("forged-700", "the log forked"),
        ("honest-200", "rolled back"),
        ("silent-700", "does not show"),
        ("foreign", "not signed by a pinned key"),
    ] {
        server.serve(&path(served));
        fails(&tail(), why);
        fails(&tail(), why);
        assert_eq!(fs::read(&state).unwrap(), seen, "{served}: what was seen stays");
        let shown = fs::read(path(served).join("checkpoint")).unwrap();
        let kept: Vec<Vec<u8>> = files(&path("watch")).into_values().collect();
        assert!(kept.contains(&shown) && kept.iter().filter(|note| **note == seen).count() == 2, "{served}");
    }
    // What is no note at all says nothing about the log, and leaves nothing behind.
    fs::create_dir(path("portal")).unwrap();
    fs::write(path("portal/checkpoint"), "<html>please sign in</html>").unwrap();
    server.serve(&path("portal"));
    let portal = tail();
    assert_eq!(code(&portal), TEMP_FAIL, "{}", said(&portal));
    assert_eq!(files(&path("watch")).len(), 7, "the state, what was seen, and five that were shown, each once");
    // In step again it goes on.
    server.serve(&path("honest-700"));
    assert!(passes(&tail()).contains("400 more"));
    // A verifier with a checkpoint of the one history does not take the other.
    let with = |log: &str| {
        let saved = path("honest-300/checkpoint");
        daemon.run(&["log", "verify", "--vkey", &key, "--dir", text(&path(log)), "--saved", text(&saved)], "")
    };
    passes(&with("honest-700"));
    fails(&with("forged-700"), "it was rewritten");
    // Both signatures of a rotation: one pinned key is enough, and the state opens with either.
    let (old, new) = (&honest.signer, Ed25519Signer::from_seed(FORGED, &[9; 32]).unwrap());
    let note = fs::read_to_string(path("honest-700/checkpoint")).unwrap();
    let checkpoint = Checkpoint::parse(&format!("{}\n", note.split_once("\n\n").unwrap().0)).unwrap();
    fs::write(path("honest-700/checkpoint"), checkpoint.sign(&[old as &dyn Signer, &new]).unwrap()).unwrap();
    passes(&tail());
    let later =
        daemon.run(&["log", "tail", "--state", text(&state), "--vkey", &new.verifier().to_string(), &server.url()], "");
    passes(&later);
}
