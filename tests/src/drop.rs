//! A daemon with a drop folder, ways to bring files there, and what must be true of each that was decided. What it checks
//! it checks with functions of `common` and by reading files: no code of the daemon's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::api::{IngestItem, IngestPage, IngestReceipt, IngestState};
use common::audit::Receipt;
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, wait_for};
use crate::http::Client;
use crate::samples::sha256;
use crate::wait;

/// How long a file rests here before it is taken, seconds.
pub const SETTLE: &str = "0.2";
/// The same. Nothing may be taken sooner after its last change.
pub const SETTLE_TIME: Duration = Duration::from_millis(200);

/// What the name of a receipt ends in.
const RECEIPT: &str = ".receipt.json";
/// What the name of a document about a refused item ends in.
const REJECTED: &str = ".rejected.json";

/// A daemon and its drop folder.
#[derive(Debug)]
pub struct DropFolder {
    /// The daemon.
    pub daemon: Daemon,
    dir: PathBuf,
}

/// What became of an item that is a version.
#[derive(Debug)]
pub struct Arrived {
    /// The receipt that was left beside it.
    pub receipt: IngestReceipt,
    /// Its entry.
    pub entry: Value,
    /// Where the item lies now.
    pub place: PathBuf,
}

impl Arrived {
    /// The model and its number, `name:1`.
    pub fn version(&self) -> String {
        format!("{}:{}", self.receipt.version.name, self.receipt.version.version)
    }

    /// Who published it.
    pub fn by(&self) -> &str {
        &self.receipt.version.created_by
    }

    /// The paths of its artifacts.
    pub fn artifacts(&self) -> Vec<String> {
        self.receipt.version.artifacts.iter().map(|artifact| artifact.path.to_string()).collect()
    }

    /// The digest of its only file, as hex.
    pub fn digest(&self) -> String {
        let [artifact] = self.receipt.version.artifacts.as_slice() else {
            panic!("{} has not one file: {:?}", self.version(), self.artifacts());
        };
        artifact.digest.to_string().strip_prefix("sha256:").unwrap().to_owned()
    }
}

/// What became of an item that was refused.
#[derive(Debug)]
pub struct Refused {
    /// The document that was left beside it.
    pub document: Value,
    /// Where the item lies now.
    pub place: PathBuf,
}

impl Refused {
    /// Slug of the problem type.
    pub fn problem(&self) -> &str {
        let kind = self.document["type"].as_str().expect("a problem document has a type");
        kind.strip_prefix("/problems/").expect("a problem type of ours")
    }

    /// What is wrong and what to do.
    pub fn detail(&self) -> &str {
        self.document["detail"].as_str().expect("a problem document has a detail")
    }

    /// All it says, for tests that look for a word.
    pub fn says(&self, part: &str) -> bool {
        self.document.to_string().to_lowercase().contains(&part.to_lowercase())
    }
}

impl DropFolder {
    /// A daemon with a drop folder and a short settle time.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut folder = Self::prepared(settings);
        folder.daemon.restart();
        folder.is_watched();
        folder
    }

    /// Settings, with nothing started.
    pub fn prepared(settings: &[(&str, &str)]) -> Self {
        let mut daemon = Daemon::prepared(&[("MREG_DROP_SETTLE", SETTLE)]);
        let dir = daemon.work_dir().join("drop");
        daemon.set("MREG_DROP_DIR", &dir.display().to_string());
        for (name, value) in settings {
            daemon.set(name, value);
        }
        // A refusal is a warning, and what most tests of the folder are about.
        daemon.expect_line(r#""message":"refused""#);
        fs::create_dir(daemon.work_dir().join("outside")).unwrap();
        Self { daemon, dir }
    }

    /// Waits for the first walk of the running daemon: from then on the kernel tells it of what comes.
    pub fn is_watched(&self) {
        wait::until_true("the first walk", || self.admin().value("/status")["ingest"]["walked_at"].is_string());
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its watched lane.
    pub fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    /// A folder on the same file system that nobody watches.
    pub fn outside(&self) -> PathBuf {
        self.daemon.work_dir().join("outside")
    }

    /// Writes a file where it is to be, in one go.
    pub fn copy(&self, path: &str, octets: &[u8]) {
        fs::write(self.incoming().join(path), octets).unwrap();
    }

    /// Writes a file elsewhere and renames it in.
    pub fn place(&self, path: &str, octets: &[u8]) {
        let outside = self.outside().join(path.replace('/', "-"));
        fs::write(&outside, octets).unwrap();
        fs::rename(outside, self.incoming().join(path)).unwrap();
    }

    /// Makes a folder elsewhere, with these files in it.
    pub fn folder_outside(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let folder = self.outside().join(name);
        fill(&folder, files);
        folder
    }

    /// An admin.
    pub fn admin(&self) -> Client {
        self.daemon.admin()
    }

    /// All items, page by page.
    pub fn items(&self) -> Vec<IngestItem> {
        self.items_of("")
    }

    /// Items of a query such as `&state=done`.
    pub fn items_of(&self, query: &str) -> Vec<IngestItem> {
        let admin = self.admin();
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let octets = admin.get(&format!("/ingest?limit=1000{query}{cursor}")).expect(200).body;
            let page: IngestPage = serde_json::from_slice(&octets).expect("a page of items");
            all.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// The newest item of this path, if there is one.
    pub fn item(&self, path: &str) -> Option<IngestItem> {
        self.items().into_iter().filter(|item| item.path == path).max_by(|one, two| one.id.cmp(&two.id))
    }

    /// Waits for an item to come to a state.
    #[track_caller]
    pub fn reaches(&self, path: &str, state: IngestState) -> IngestItem {
        self.shows(path, &format!("state {state:?}"), |item| item.state == state)
    }

    /// Waits for an item to be as it should.
    #[track_caller]
    pub fn shows(&self, path: &str, what: &str, is_so: impl Fn(&IngestItem) -> bool) -> IngestItem {
        let mut last = None;
        let began = std::time::Instant::now();
        loop {
            last = self.item(path).or(last);
            if let Some(item) = last.as_ref().filter(|item| is_so(item)) {
                return item.clone();
            }
            assert!(began.elapsed() < wait::DEADLINE, "{path} did not come to {what}; it is {last:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for an item's receipt, and checks all that must be true of it.
    #[track_caller]
    pub fn arrives(&self, path: &str) -> Arrived {
        let (file, receipt) = self.paper("done", RECEIPT, path);
        self.has_left(receipt["item"].as_str().expect("a receipt names its item"));
        self.checked(path, &file)
    }

    /// Waits for an item to have left `processing/`: what is written beside it comes before it.
    #[track_caller]
    fn has_left(&self, item: &str) {
        wait::until_true("the item to leave processing/", || {
            let slots = fs::read_dir(self.dir.join("processing")).into_iter().flatten().flatten();
            slots.map(|slot| slot.file_name()).all(|name| !name.to_string_lossy().starts_with(item))
        });
    }

    /// Reads a receipt in `done/` and checks all that must be true of it.
    #[track_caller]
    pub fn checked(&self, path: &str, file: &Path) -> Arrived {
        let octets = fs::read(file).unwrap();
        let receipt: IngestReceipt = serde_json::from_slice(&octets)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", file.display(), String::from_utf8_lossy(&octets)));
        assert_eq!(receipt.path, path);
        let entry = self.proven(&receipt.receipt);
        assert_eq!(receipt.log_index, receipt.receipt.index, "{path}");
        assert_eq!(entry["action"], "model.upload", "{path}: {entry}");
        assert_eq!(entry["outcome"], "ok", "{path}: {entry}");
        let dropped = &entry["data"]["drop"];
        assert_eq!(dropped["item"], receipt.item.as_str(), "{path}: {entry}");
        assert_eq!(dropped["path"], path, "{entry}");
        assert_eq!(receipt.version.source == "drop", !receipt.already_present, "{path}");
        assert_eq!(entry["target"]["id"], receipt.version.id.to_string(), "{path}: {entry}");
        let place = PathBuf::from(file.to_str().unwrap().strip_suffix(RECEIPT).unwrap());
        if let Ok(metadata) = fs::symlink_metadata(&place) {
            assert_eq!(dropped["inode"].as_u64(), Some(metadata.ino()), "{path}: {entry}");
            if metadata.is_file() {
                let [artifact] = receipt.version.artifacts.as_slice() else {
                    panic!("{path}: {:?}", receipt.version.artifacts)
                };
                let digest = format!("sha256:{}", sha256(&fs::read(&place).unwrap()));
                assert_eq!(artifact.digest.to_string(), digest, "{path}");
            }
        }
        Arrived { receipt, entry, place }
    }

    /// Waits for the document of a refused item, and checks all that must be true of it.
    #[track_caller]
    pub fn is_refused(&self, path: &str) -> Refused {
        let (file, document) = self.paper("rejected", REJECTED, path);
        assert_eq!(document["path"], path, "{document}");
        for member in ["type", "title", "detail", "instance", "item"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{path}: no {member}: {document}");
        }
        let status = document["status"].as_u64().expect("a status");
        assert!((400..600).contains(&status), "{path}: {document}");
        self.has_left(document["item"].as_str().unwrap());
        let name = file.file_name().unwrap().as_bytes().strip_suffix(REJECTED.as_bytes()).unwrap();
        let place = file.with_file_name(OsStr::from_bytes(name));
        assert!(fs::symlink_metadata(&place).is_ok(), "{path} is not in rejected/ beside its document");
        let receipt: Receipt = serde_json::from_value(document["receipt"].clone())
            .unwrap_or_else(|error| panic!("{path}: {error}: {document}"));
        let entry = self.proven(&receipt);
        assert_eq!(document["log_index"], receipt.index, "{path}");
        let said = (&entry["target"]["kind"], &entry["target"]["id"], &entry["data"]["path"]);
        assert_eq!(said, (&"item".into(), &document["item"], &document["path"]), "{entry}");
        Refused { document, place }
    }

    /// Waits for what is written beside an item: the file, and what is in it.
    #[track_caller]
    fn paper(&self, lane: &str, suffix: &str, path: &str) -> (PathBuf, Value) {
        let began = std::time::Instant::now();
        let of_path = |file: PathBuf| -> Option<(PathBuf, Value)> {
            let paper: Value = serde_json::from_slice(&fs::read(&file).ok()?).expect("JSON, and whole");
            (paper["path"] == path).then_some((file, paper))
        };
        loop {
            // Under its own name, unless that was taken, or is too long.
            let under_its_name = self.lies_in(lane, &format!("{path}{suffix}")).and_then(of_path);
            let found = under_its_name.or_else(|| self.papers(lane, suffix).into_iter().find_map(of_path));
            if let Some(found) = found {
                return found;
            }
            assert!(
                began.elapsed() < wait::DEADLINE,
                "{path} did not come to {lane}/; there is {:?}; the list has {:#?}",
                tree(&self.dir),
                self.item(path)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The documents in `rejected/`.
    pub fn documents(&self) -> Vec<PathBuf> {
        self.papers("rejected", REJECTED)
    }

    /// The receipts in `done/`, or the documents in `rejected/`.
    pub fn documents_in(&self, lane: &str) -> Vec<PathBuf> {
        self.papers(lane, if lane == "done" { RECEIPT } else { REJECTED })
    }

    fn papers(&self, lane: &str, suffix: &str) -> Vec<PathBuf> {
        let (mut found, mut open) = (Vec::new(), vec![self.dir.join(lane)]);
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                if entry.file_name().as_bytes().ends_with(suffix.as_bytes()) {
                    found.push(entry.path());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                }
            }
        }
        found
    }

    /// A file in a lane, below whichever day.
    pub fn lies_in(&self, lane: &str, path: &str) -> Option<PathBuf> {
        let days = fs::read_dir(self.dir.join(lane)).ok()?;
        let mut found =
            days.map(|day| day.unwrap().path().join(path)).filter(|file| fs::symlink_metadata(file).is_ok());
        found.next()
    }

    /// Checks a receipt with the log's key, and that its path leads to its root by code that is not ours; its entry.
    #[track_caller]
    pub fn proven(&self, receipt: &Receipt) -> Value {
        let ledger = self.daemon.ledger();
        let verified = receipt.verify(&[ledger.vkey()]).expect("the receipt proves its entry");
        assert_eq!(verified.entry.seq, receipt.index);
        let leaf = STANDARD.decode(&receipt.leaf).unwrap();
        ledger.acknowledge(receipt.index, &leaf);
        serde_json::from_slice(&leaf).expect("a leaf is JSON")
    }

    /// Waits until nothing is under way and nothing is left in `processing/`.
    #[track_caller]
    pub fn is_at_rest(&self) {
        wait::until_true("processing/ to be empty", || {
            fs::read_dir(self.dir.join("processing")).is_ok_and(|mut items| items.next().is_none())
        });
    }

    /// Runs a shell script with `$IN`, the watched lane, and `$OUT`, a folder beside; it must succeed.
    #[track_caller]
    pub fn shell(&self, script: &str) {
        let output = self.try_shell(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same, whatever comes of it.
    pub fn try_shell(&self, script: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-euc", script]).current_dir(self.outside());
        shell.env("IN", self.incoming()).env("OUT", self.outside()).env("DROP", &self.dir);
        shell.stdin(Stdio::null()).output().expect("sh runs")
    }
}

/// Makes a folder with these files in it.
pub fn fill(folder: &Path, files: &[(&str, &[u8])]) {
    fs::create_dir_all(folder).unwrap();
    for (path, octets) in files {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, octets).unwrap();
    }
}

/// Everything below a folder, for messages and comparisons.
pub fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            found.push(path.strip_prefix(folder).unwrap().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether the suite may do what only root may: give files away, make devices, mount.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is there; says aloud if not.
pub fn has(program: &str, for_what: &str) -> bool {
    let found = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let there = found.iter().any(|dir| Path::new(dir).join(program).exists());
    if !there {
        println!("SKIPPED: {program} is not installed, so {for_what} was NOT tested");
    }
    there
}

// ---- a server for scp and sftp --------------------------------------------------------------------------------------

/// A real sshd on loopback that lets one key in, as the user the suite runs as.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    port: u16,
    user: String,
    child: Child,
}

impl Sshd {
    /// Starts one; none, said aloud, where there is none installed.
    pub fn start() -> Option<Self> {
        for program in ["sshd", "ssh", "scp", "sftp", "ssh-keygen"] {
            if !has(program, "what comes over ssh") {
                return None;
            }
        }
        let dir = TempDir::with_prefix("mreg-ssh-").unwrap();
        for key in ["host", "client"] {
            let path = dir.path().join(key);
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path);
            assert!(keygen.stdin(Stdio::null()).status().unwrap().success(), "ssh-keygen made no key");
        }
        fs::copy(dir.path().join("client.pub"), dir.path().join("authorized")).unwrap();
        if is_root() {
            // Where sshd locks its unprivileged half in; a service manager would make it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        // A port that was free a moment ago may be taken now: then another.
        let (child, port) = wait::until("sshd to listen", || Self::try_start(dir.path()));
        Some(Self { dir, port, user: user.trim().to_owned(), child })
    }

    fn try_start(dir: &Path) -> Option<(Child, u16)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let of = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nUseDNS no\n\
             MaxStartups 100\nSubsystem sftp internal-sftp\n",
            of("host"),
            of("authorized")
        );
        fs::write(dir.join("config"), config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        for _ in 0..1000 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && child.try_wait().unwrap().is_none() {
                return Some((child, port));
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// A client's command (`scp`, `sftp`), with all it needs to be let in.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "none", "-P", &self.port.to_string(), "-i"]).arg(self.dir.path().join("client"));
        for option in
            ["IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]
        {
            command.args(["-o", option]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// A place on the server, for scp.
    pub fn remote(&self, path: &Path) -> String {
        format!("{}:{}", self.host(), path.display())
    }

    /// User and host.
    pub fn host(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// What `rsync -e` needs to come in.
    pub fn shell(&self) -> String {
        format!(
            "ssh -q -F none -p {} -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o BatchMode=yes",
            self.port,
            self.dir.path().join("client").display()
        )
    }

    /// Runs a client's command, which must succeed.
    #[track_caller]
    pub fn run(&self, command: &mut Command) {
        let output = command.output().expect("the client runs");
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "{command:?}: {}\n{log}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a batch of sftp commands, which must succeed.
    #[track_caller]
    pub fn sftp(&self, batch: &str) {
        let file = self.dir.path().join("batch");
        fs::write(&file, batch).unwrap();
        self.run(self.client("sftp").arg("-b").arg(&file).arg(self.host()));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = wait_for(&mut self.child);
    }
}
