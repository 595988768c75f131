//! The real `mregd` as a child process on temporary directories and a free port, with a clean environment. When it goes,
//! it is stopped in order, its diagnostics must hold no warning the test did not expect, and the oracle must find its
//! data directory in order.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use common::role::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Client, Ledger};
use crate::oracle::{self, Log};
use crate::wait;

/// The first admin's name.
pub const ADMIN: &str = "admin";
/// The first admin's password.
pub const ADMIN_PASSWORD: &str = "saddle-orbit-lantern-42";

/// The program under test: `MREGD_BIN`, or built once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match variable("MREGD_BIN") {
        Some(path) => path.into(),
        None => build("daemon", "mregd"),
    })
}

/// A variable of the test's own environment.
#[expect(clippy::disallowed_methods, reason = "how the suite is run is no setting of the daemon")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite is a member of the workspace")
}

/// Builds a program of the workspace; where it is.
pub(crate) fn build(package: &str, name: &str) -> PathBuf {
    // What measures is built for release, and measures what is.
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let output = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace())
        .args(["build", "--locked", "-p", package, "--bin", name, "--message-format=json-render-diagnostics"])
        .args(profile)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{name} doesn't build");
    let lines = String::from_utf8(output.stdout).unwrap();
    let executable = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let is_ours = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    executable.expect("cargo names the program")
}

/// Lines of a stream, as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    seen: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                sink.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { seen, reader: Some(reader) }
    }

    pub(crate) fn so_far(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// All of them; the process has ended.
    pub(crate) fn all(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

#[derive(Debug)]
struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    /// Where it is spoken to in clear.
    address: SocketAddr,
    /// What it said first.
    url: String,
}

/// A daemon with directories of its own.
#[derive(Debug)]
pub struct Daemon {
    root: TempDir,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    /// What earlier runs said on standard error.
    said: Vec<String>,
    expected: Vec<String>,
    ledger: Arc<Ledger>,
    admin: Mutex<Option<String>>,
    verified: bool,
    /// The user of the machine it runs as, if not as the suite does.
    uid: Option<u32>,
    /// Sockets that are passed to it as a service manager would, with their names.
    passed: Vec<(String, OwnedFd)>,
}

impl Daemon {
    /// A daemon as it comes, but for directories, port and the admin's password.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A daemon with these settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut daemon = Self::prepared(settings);
        daemon.restart();
        daemon
    }

    /// Directories and settings, with nothing started.
    pub fn prepared(settings: &[(&str, &str)]) -> Self {
        let root = TempDir::with_prefix("mreg-").unwrap();
        std::fs::create_dir(root.path().join("work")).unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        let mut environment: Vec<(String, String)> = [
            ("MREG_DATA_DIR", path("data")),
            ("MREG_KEY_DIR", path("keys")),
            ("MREG_BIND", "127.0.0.1:0".to_owned()),
            ("ADMIN_PASSWORD", ADMIN_PASSWORD.to_owned()),
            ("MREG_LOG_FORMAT", "json".to_owned()),
            ("MREG_MIN_FREE_BYTES", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        for (name, value) in settings {
            environment.retain(|(set, _)| set != name);
            if !value.is_empty() {
                environment.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let ledger = Arc::new(Ledger::default());
        ledger.add_secret(ADMIN_PASSWORD);
        Self {
            root,
            environment,
            running: None,
            said: Vec::new(),
            // What every daemon says of a shared log whose artifacts are in a directory.
            expected: vec!["the bytes of what is purged are not removed from it".to_owned()],
            ledger,
            admin: Mutex::new(None),
            verified: true,
            uid: None,
            passed: Vec::new(),
        }
    }

    /// Passes a socket to each run from now on, as a service manager would (sd_listen_fds(3)). It stays open between them.
    pub fn pass(&mut self, name: &str, socket: impl Into<OwnedFd>) {
        self.passed.push((name.to_owned(), socket.into()));
    }

    /// The program, as it is told of sockets: they are moved to where the protocol says by a shell, which then becomes the
    /// program, so that the process is the one that is named.
    fn activated(&self) -> (Command, Vec<OwnedFd>) {
        // Above those that the shell sets, so that none is overwritten before it is moved.
        const ABOVE: i32 = 100;
        let lent: Vec<OwnedFd> = self
            .passed
            .iter()
            .map(|(_name, socket)| {
                let lent = rustix::io::fcntl_dupfd_cloexec(socket, ABOVE).unwrap();
                rustix::io::fcntl_setfd(&lent, rustix::io::FdFlags::empty()).unwrap();
                lent
            })
            .collect();
        let moves =
            lent.iter().enumerate().map(|(at, lent)| format!("exec {}<&{1} {1}<&-; ", at + 3, lent.as_raw_fd()));
        let names: Vec<&str> = self.passed.iter().map(|(name, _socket)| name.as_str()).collect();
        let script = format!(
            "{}export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}; exec \"$0\" \"$@\"",
            moves.collect::<String>(),
            lent.len(),
            names.join(":")
        );
        let mut command = Command::new("bash");
        command.args(["-ec", &script]).arg(binary());
        (command, lent)
    }

    /// Runs as another user of the machine from now on, without groups and capabilities; only root may. The directories so
    /// far become that user's.
    pub fn run_as(&mut self, uid: u32) {
        for dir in [self.root.path().to_owned(), self.work_dir()] {
            std::os::unix::fs::chown(dir, Some(uid), Some(uid)).expect("root gives away");
        }
        self.uid = Some(uid);
    }

    /// Sets or, with an empty value, unsets a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(set, _)| set != name);
        if !value.is_empty() {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Starts on the same directories, and waits until it says where it listens.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let mut child = if self.passed.is_empty() {
            self.command(&[] as &[&str]).stdin(Stdio::null()).spawn().expect("mregd starts")
        } else {
            let (mut command, lent) = self.activated();
            let child = self.in_place(&mut command).stdin(Stdio::null()).spawn().expect("mregd starts");
            drop(lent);
            child
        };
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let address = ([127, 0, 0, 1], 0).into();
        let mut running = Running { child, stdout, stderr, address, url: String::new() };
        let first = wait::until("the address on standard output", || {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("mregd ended with {status}: {}", running.stderr.all().join("\n"));
            }
            running.stdout.so_far().first().cloned()
        });
        let vkey = wait::until("the log's key on standard output", || {
            let lines = running.stdout.so_far();
            lines.iter().find_map(|line| line.trim_start().strip_prefix("log key").map(|key| key.trim().to_owned()))
        });
        self.ledger.set_vkey(vkey.parse().expect("a vkey"));
        // In TLS, the tests' own client goes to a further place, in clear: all of them are said before the key.
        let lines = running.stdout.so_far();
        let further = lines.iter().filter_map(|line| line.trim_start().strip_prefix("also at")).map(str::trim);
        let clear = std::iter::once(first.as_str()).chain(further).find_map(|place| place.strip_prefix("http://"));
        let place = clear.or(first.strip_prefix("https://"));
        // A daemon at sockets of this machine alone has no address.
        if let Some(place) = place {
            running.address = place.parse().expect("an address and port");
        } else {
            assert!(first.starts_with("unix:"), "the first line is {first:?}");
        }
        running.url = first;
        self.running = Some(running);
    }

    /// The program with these arguments, in this daemon's environment and nothing else of ours.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = match self.uid {
            None => Command::new(binary()),
            Some(uid) => {
                // The build may lie where that user may not look.
                let copy = self.root.path().join("mregd");
                if !copy.exists() {
                    std::fs::copy(binary(), &copy).unwrap();
                }
                let mut command = Command::new(copy);
                command.uid(uid).gid(uid);
                command
            }
        };
        self.in_place(command.args(arguments));
        command
    }

    /// Gives a command this daemon's environment, directory and streams.
    fn in_place<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.root.path().join("work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
    }

    /// Runs the program to its end with this on standard input.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().expect("mregd starts");
        let mut stdin = child.stdin.take().unwrap();
        // A program that refuses before it reads closes the pipe.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read = std::thread::spawn(move || {
            let mut octets = Vec::new();
            stderr.read_to_end(&mut octets).unwrap();
            octets
        });
        let out = std::thread::spawn(move || {
            let mut octets = Vec::new();
            stdout.read_to_end(&mut octets).unwrap();
            octets
        });
        let status = wait_for(&mut child);
        Output { status, stdout: out.join().unwrap(), stderr: read.join().unwrap() }
    }

    /// Runs the program with the sockets that are passed, until it ends by itself.
    pub fn run_activated(&self) -> Output {
        let (mut command, lent) = self.activated();
        let mut child = self.in_place(&mut command).stdin(Stdio::null()).spawn().expect("mregd starts");
        drop(lent);
        let status = wait_for(&mut child);
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        // A few lines, which the pipes hold.
        child.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
        child.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
        output
    }

    /// A line with this in it is no surprise on standard error.
    pub fn expect_line(&mut self, part: &str) {
        self.expected.push(part.to_owned());
    }

    /// The directory of data.
    pub fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The directory of keys.
    pub fn key_dir(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    /// The working directory.
    pub fn work_dir(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").address
    }

    /// Where it listens first, as it says.
    pub fn url(&self) -> &str {
        &self.running.as_ref().expect("it runs").url
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.running.as_ref().expect("it runs").child)
    }

    /// Everything on standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.running.as_ref().map(|running| running.stdout.so_far()).unwrap_or_default()
    }

    /// Everything on standard error so far, of all runs.
    pub fn stderr(&self) -> Vec<String> {
        let mut lines = self.said.clone();
        lines.extend(self.running.as_ref().map(|running| running.stderr.so_far()).unwrap_or_default());
        lines
    }

    /// What clients were promised and which secrets they used.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// A client without a token.
    pub fn client(&self) -> Client {
        Client::new(self.address(), Arc::clone(&self.ledger))
    }

    /// The first admin, signed in.
    pub fn admin(&self) -> Client {
        let mut token = self.admin.lock().unwrap();
        let client = self.client();
        match token.as_deref() {
            Some(token) => client.with_token(token),
            None => {
                let admin = client.signed_in(ADMIN, ADMIN_PASSWORD);
                *token = Some(admin.token().to_owned());
                admin
            }
        }
    }

    /// The password that [`Self::user`] gives.
    pub fn password_of(name: &str) -> String {
        format!("{name}-has-a-long-password-9")
    }

    /// A user of this role, created and signed in.
    pub fn user(&self, name: &str, role: Role) -> Client {
        let password = Self::password_of(name);
        self.ledger.add_secret(&password);
        let body = json!({"username": name, "password": password, "role": role});
        self.admin().post("/register", &body).expect(201);
        let answer = self.client().login(name, &password).expect(200).json();
        let client = self.client().with_token(answer["access_token"].as_str().unwrap());
        if answer["must_change_password"] == true {
            // The first password came from somebody else: take the final one by way of another.
            let interim = format!("{password}-interim");
            self.ledger.add_secret(&interim);
            change(&client, &password, &interim);
            let client = self.client().signed_in(name, &interim);
            change(&client, &interim, &password);
            return self.client().signed_in(name, &password);
        }
        client
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is there");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("it runs");
        let status = wait_for(&mut running.child);
        self.said.extend(running.stderr.all());
        status
    }

    /// Stops in order, which must succeed.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "mregd ended with {status}: {}", self.said.join("\n"));
    }

    /// Kills without warning. The next start may say what it met because of that.
    pub fn kill(&mut self) {
        self.expect_line("a batch that was cut short by a crash");
        self.expect_line("the view can't be used; it is set aside");
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        self.said.extend(running.stderr.all());
    }

    /// Stops if it runs, and reads the log with the oracle: all that was acknowledged must be there.
    pub fn log(&mut self) -> Log {
        if self.running.is_some() {
            self.stop();
        }
        let log = oracle::read(&self.data_dir());
        for (index, leaf_hash) in self.ledger.acknowledged() {
            log.has(index, &leaf_hash);
        }
        log
    }

    /// The test leaves a directory behind that the oracle can't read, on purpose.
    pub fn leave_unverified(&mut self) {
        self.verified = false;
    }

    fn verify(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
        for line in &self.said {
            let level =
                serde_json::from_str::<Value>(line).ok().and_then(|event| event["level"].as_str().map(str::to_owned));
            let is_fine = matches!(level.as_deref(), Some("INFO" | "DEBUG" | "TRACE"));
            let is_expected = self.expected.iter().any(|part| line.contains(part));
            assert!(is_fine || is_expected, "mregd said what the test did not expect: {line}");
        }
        let secrets = self.ledger.secrets();
        let leaked = |text: &str| secrets.iter().find(|secret| text.contains(secret.as_str())).cloned();
        for line in &self.said {
            assert_eq!(leaked(line), None, "a secret in the diagnostics: {line}");
        }
        if self.verified && self.data_dir().join("log").is_dir() {
            let log = self.log();
            for leaf in &log.leaves {
                let text = String::from_utf8_lossy(leaf);
                assert_eq!(leaked(&text), None, "a secret in the log: {text}");
            }
            oracle::blobs(&self.data_dir());
        }
    }
}

fn change(client: &Client, old: &str, new: &str) {
    let body = json!({"old_password": old, "new_password": new});
    client.post("/me/password", &body).expect(204);
}

pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    let began = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > wait::DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("mregd did not end within {:?}", wait::DEADLINE);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.verify();
        }
        if let Some(mut running) = self.running.take() {
            // A failed test, or a failed stop: the child is ours, and nobody else's.
            let _ = running.child.kill();
            let _ = running.child.wait();
            self.said.extend(running.stderr.all());
        }
        if std::thread::panicking() {
            let tail = self.said.len().saturating_sub(30);
            println!("mregd said at last:\n{}", self.said[tail..].join("\n"));
        }
    }
}
