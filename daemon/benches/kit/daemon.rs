//! A real `mregd` as a child on a directory of its own, and its memory as the kernel counts it. Stopped in order when it
//! goes out of scope.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::figures::{mregd, scratch};
use crate::wire::{ask, request};

/// The first admin.
pub(crate) const ADMIN: &str = "admin";
/// The first admin's password.
pub(crate) const PASSWORD: &str = "saddle-orbit-lantern-42";

/// A running daemon.
pub(crate) struct Daemon {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it listens in TLS, where the settings say so.
    pub(crate) tls: Option<SocketAddr>,
    /// A token of its admin.
    pub(crate) token: String,
    child: Child,
    /// Held so that it can go on writing.
    _stdout: BufReader<ChildStdout>,
    dir: TempDir,
}

impl Daemon {
    /// Starts one with the release's settings but for some. In TLS it needs a place in clear, too.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_as(settings, PASSWORD)
    }

    /// The same where the admin has another password, as on a registry that is there already.
    pub(crate) fn start_as(settings: &[(&str, &str)], password: &str) -> Self {
        Self::start_on(scratch(), settings, password)
    }

    /// The same with a certificate and its key; the address where it listens in TLS stands beside.
    pub(crate) fn start_in_tls(cert: &str, key: &str) -> (Self, SocketAddr) {
        let dir = scratch();
        let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert_path, cert).unwrap();
        std::fs::write(&key_path, key).unwrap();
        std::fs::set_permissions(&key_path, Permissions::from_mode(0o600)).unwrap();
        let settings = [
            ("MREG_TLS_CERT", cert_path.to_str().unwrap()),
            ("MREG_TLS_KEY", key_path.to_str().unwrap()),
            ("MREG_LISTEN", "127.0.0.1:0"),
        ];
        let settings = settings.map(|(name, value)| (name, value.to_owned()));
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let daemon = Self::start_on(dir, &settings, PASSWORD);
        let tls = daemon.tls.unwrap();
        (daemon, tls)
    }

    fn start_on(dir: TempDir, settings: &[(&str, &str)], password: &str) -> Self {
        let log = std::fs::File::create(dir.path().join("stderr")).unwrap();
        let mut child = Command::new(mregd())
            .current_dir(dir.path())
            .env_clear()
            .env("MREG_DATA_DIR", dir.path().join("data"))
            .env("MREG_KEY_DIR", dir.path().join("keys"))
            .env("MREG_BIND", "127.0.0.1:0")
            .env("ADMIN_USERNAME", ADMIN)
            .env("ADMIN_PASSWORD", PASSWORD)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut tls, mut clear) = (None, None);
        while clear.is_none() {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                panic!("mregd did not start: {}", std::fs::read_to_string(dir.path().join("stderr")).unwrap());
            }
            let place = line.trim().trim_start_matches("also at").trim();
            tls = tls.or(place.strip_prefix("https://").map(|place| place.parse().unwrap()));
            clear = place.strip_prefix("http://").map(|place| place.parse().unwrap());
        }
        let address = clear.unwrap();
        let mut daemon = Self { address, tls, token: String::new(), child, _stdout: stdout, dir };
        let answer = ask(address, &login(ADMIN, password)).json();
        daemon.token = answer["access_token"].as_str().unwrap().to_owned();
        daemon
    }

    /// Ends it at once, as a lost process ends.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A figure of `/proc/<pid>/status`, in KiB.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        memory_kib(self.child.id(), name)
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs something; the most memory the daemon held meanwhile: all of it, and what is its own (not files), in KiB.
    pub(crate) fn peak_of(&self, work: impl FnOnce()) -> (u64, u64) {
        let pid = self.child.id();
        // Forgets the mark of earlier work (proc_pid_clear_refs(5)). Where that is not allowed, the mark is too high.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
        let ended = Arc::new(AtomicBool::new(false));
        let watch = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let mut most = 0;
                while !ended.load(Ordering::Relaxed) {
                    most = most.max(memory_kib(pid, "RssAnon"));
                    std::thread::sleep(Duration::from_millis(10));
                }
                most
            }
        });
        work();
        ended.store(true, Ordering::Relaxed);
        let own = watch.join().unwrap();
        (self.memory_kib("VmHWM"), own)
    }
}

fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.split(':').next() == Some(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The octets of a sign-in.
pub(crate) fn login(username: &str, password: &str) -> Vec<u8> {
    let body = serde_json::json!({ "username": username, "password": password }).to_string();
    request("POST", "/login", None, &["Content-Type: application/json"], body.as_bytes())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(15);
        let pid = Pid::from_child(&self.child);
        // If it ended by itself there is nothing to stop.
        let _ = kill_process(pid, Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            eprintln!("mregd said last:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}
