//! A real PostgreSQL in a directory of its own: begun once per test that needs one, reached by a socket in that directory
//! (and by a port for TLS alone), stopped hard and started again as a test likes. It is the machine's package; where that is
//! missing, tests fail and say so.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait;

/// A server.
#[derive(Debug)]
pub struct Postgres {
    root: TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    /// PostgreSQL refuses to run as root.
    user: Option<(u32, u32)>,
}

/// Where the package keeps its programs.
fn bin_dir() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: tests/run --prepare does that");
    let newest = versions
        .flatten()
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.expect("PostgreSQL is installed: tests/run --prepare does that").path().join("bin")
}

impl Postgres {
    /// A new server, with nothing in it.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with other settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepared(settings);
        server.restart();
        server
    }

    /// A new server that is not started.
    pub fn prepared(settings: &[(&str, &str)]) -> Self {
        let server = Self::empty(settings);
        let made = server
            .program("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(server.data_dir())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server
    }

    /// Settings of a server that has standbys, or may be one.
    pub const REPLICATED: &[(&str, &str)] = &[("wal_level", "replica"), ("max_wal_senders", "4")];

    /// A standby that follows another server (which is [`Postgres::REPLICATED`]) under a name, and is started.
    pub fn standby_of(primary: &Self, name: &str) -> Self {
        let mut standby = Self::empty(Self::REPLICATED);
        let from = format!(
            "host={} port={} user=postgres application_name={name}",
            primary.root.path().display(),
            primary.port()
        );
        let made = standby
            .program("pg_basebackup")
            .args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "-d", &from, "-D"])
            .arg(standby.data_dir())
            .output()
            .unwrap();
        assert!(made.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&made.stderr));
        standby.restart();
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let made = self.program("pg_ctl").args(["promote", "-w", "-D"]).arg(self.data_dir()).output().unwrap();
        assert!(made.status.success(), "pg_ctl promote: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Sets settings that are taken into use at once.
    pub fn reload(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            self.psql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        }
        self.psql("SELECT pg_reload_conf()");
        for (name, value) in settings {
            wait::until_true("the server to take a setting", || self.psql(&format!("SHOW {name}")) == *value);
        }
    }

    fn empty(settings: &[(&str, &str)]) -> Self {
        let root = TempDir::with_prefix("mreg-pg-").unwrap();
        let user = rustix::process::geteuid().is_root().then(|| {
            let known = fs::read_to_string("/etc/passwd").unwrap();
            let line = known.lines().find(|line| line.starts_with("postgres:")).expect("the package's user");
            let numbers: Vec<u32> = line.split(':').skip(2).take(2).map(|number| number.parse().unwrap()).collect();
            (numbers[0], numbers[1])
        });
        if let Some((uid, gid)) = user {
            chown(root.path(), Some(uid), Some(gid)).unwrap();
        }
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { root, settings, child: None, user }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(bin_dir().join(name));
        command.current_dir(self.root.path()).env_clear().stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The directory that holds it, for files that it is to read.
    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Gives it a file, as it wants its keys: its own, and nobody else's to read.
    pub fn give(&self, name: &str, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.root.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Sets a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(set, _value)| set != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// A port that was free a moment ago.
    pub fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Starts it, and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let pid_file = self.data_dir().join("postmaster.pid");
        if let Ok(said) = fs::read_to_string(&pid_file) {
            // It was killed, and is refused as long as children of then are still there: they share its memory.
            let key = said.lines().nth(6).unwrap_or_default().split_whitespace().last().unwrap_or_default().to_owned();
            wait::until_true("the children of the killed server to end", || {
                let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
                let attached = segments.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                attached.filter(|line| line.get(1) == Some(&&*key)).all(|line| line.get(6) == Some(&"0"))
            });
        }
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data_dir()).arg("-k").arg(self.root.path());
        let usual = [
            ("listen_addresses", ""),
            ("shared_buffers", "16MB"),
            ("max_connections", "40"),
            ("max_wal_senders", "0"),
            ("wal_level", "minimal"),
            ("autovacuum_naptime", "10s"),
        ];
        for (name, value) in usual {
            if self.settings.iter().all(|(set, _value)| set != name) {
                command.arg("-c").arg(format!("{name}={value}"));
            }
        }
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait::until_true("PostgreSQL to answer", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("PostgreSQL ended with {status}: {}", self.log());
            }
            self.try_psql("SELECT 1").is_some()
        });
        self.child = Some(child);
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut does: nothing is finished, nothing is said.
    pub fn crash(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Ends it with nothing that could catch it (SIGKILL); its children end when they notice.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Ends it in order; connections are cut.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), signal).unwrap();
        wait::until_true("PostgreSQL to end", || child.try_wait().unwrap().is_some());
    }

    /// The address of its database, and of the same at another server, by their sockets.
    pub fn address_with(&self, other: &Self) -> String {
        assert_eq!(self.port(), other.port());
        let (here, there) = (self.root.path().display(), other.root.path().display());
        format!("postgres://postgres@/postgres?host={here},{there}&target_session_attrs=read-write")
    }

    /// Takes a connection as a user, and keeps it; none where it is refused.
    pub fn hold(&self, user: &str) -> Option<Held> {
        let mut command = self.program("psql");
        command.args(["-p", self.port(), "-X", "-A", "-t", "-q", "-U", user, "-h"]).arg(self.root.path());
        command.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"SELECT 'here';\n").unwrap_or_default();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let held = Held(child);
        (said.trim() == "here").then_some(held)
    }

    /// The address of its database, by the socket.
    pub fn address(&self) -> String {
        format!("postgres://postgres@/postgres?host={}", self.root.path().display())
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.root.path().join(format!(".s.PGSQL.{}", self.port()))
    }

    /// The port, which also names the socket.
    fn port(&self) -> &str {
        self.settings.iter().find(|(name, _value)| name == "port").map_or("5432", |(_name, value)| value)
    }

    /// What a statement comes to, columns and rows as psql prints them.
    pub fn psql(&self, statement: &str) -> String {
        self.try_psql(statement).unwrap_or_else(|| panic!("psql: {statement}"))
    }

    /// The same; none where it fails.
    pub fn try_psql(&self, statement: &str) -> Option<String> {
        let mut command = self.program("psql");
        command.args(["-p", self.port()]);
        command.args(["-X", "-A", "-t", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.root.path());
        let output = command.args(["-c", statement, "postgres"]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// Keeps a copy of all it has, as a backup would; it is stopped.
    pub fn back_up(&self) {
        assert!(self.child.is_none(), "it runs");
        self.copy("data", "backup");
    }

    /// Puts the copy back.
    pub fn restore(&self) {
        assert!(self.child.is_none(), "it runs");
        fs::remove_dir_all(self.data_dir()).unwrap();
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let mut command = Command::new("cp");
        command.current_dir(self.root.path()).args(["-a", from, to]);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        assert!(command.status().unwrap().success());
    }
}

/// A connection that somebody else has; it ends when dropped.
#[derive(Debug)]
pub struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ours, and nobody else's. It ends its own children.
            let _ = kill_process(Pid::from_child(&child), Signal::QUIT);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(3000);
            println!("PostgreSQL said at last:\n{}", log.get(tail..).unwrap_or(&log));
        }
    }
}
