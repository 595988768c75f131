//! A filled registry with a daemon on it. Knows where it is and how it is asked; refuses to know what.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use serde_json::Value;
use tempfile::TempDir;

use crate::child::{Daemon, PASSWORD};
use crate::figures::scratch;
use crate::wire::{ask, request};

/// One registry.
pub(crate) struct Registry {
    daemon: Daemon,
    line: TcpStream,
    dir: PathBuf,
    how: &'static str,
    password: String,
    /// Removed with it.
    made: Option<TempDir>,
}

#[expect(clippy::disallowed_methods, reason = "how a bench is run is no setting of the daemon")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Registry {
    /// A daemon on the directory that a variable names, or on one that is filled with so many models.
    pub(crate) fn open(name: &str, models: u64) -> Self {
        let named = variable(name).map(PathBuf::from);
        let made = named.is_none().then(|| fill(models));
        let (dir, how) = match (&named, &made) {
            (Some(dir), _) => (dir.clone(), "as it was found"),
            (None, made) => (made.as_ref().unwrap().path().join("filled"), "filled for this run"),
        };
        let password = match variable("MREG_BENCH_PASSWORD_FILE").filter(|_| named.is_some()) {
            Some(file) => std::fs::read_to_string(file).unwrap().trim_end().to_owned(),
            None => PASSWORD.to_owned(),
        };
        Self::start(dir, how, password, made)
    }

    fn start(dir: PathBuf, how: &'static str, password: String, made: Option<TempDir>) -> Self {
        let place = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let settings = [
            ("MREG_DATA_DIR", place("data")),
            ("MREG_KEY_DIR", place("keys")),
            ("MREG_LOG_LEVEL", "warn".to_owned()),
            ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "600".to_owned()),
        ];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let daemon = Daemon::start_as(&settings, &password);
        let line = TcpStream::connect(daemon.address).unwrap();
        line.set_nodelay(true).unwrap();
        line.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        Self { daemon, line, dir, how, password, made }
    }

    /// Ends the daemon, in order or not, and starts another; seconds from then until it says that it is ready, and has let
    /// its admin sign in.
    pub(crate) fn again(self, killed: bool) -> (Self, f64) {
        let Self { daemon, dir, how, password, made, .. } = self;
        if killed {
            daemon.kill();
        } else {
            drop(daemon);
        }
        let began = Instant::now();
        let again = Self::start(dir, how, password, made);
        let ready = ask(again.daemon.address, &request("GET", "/readyz", None, &[], &[]));
        let took = began.elapsed().as_secs_f64();
        assert_eq!(ready.status, 200, "{}", String::from_utf8_lossy(&ready.body));
        (again, took)
    }

    /// A figure of the daemon's memory, in MiB.
    pub(crate) fn memory_mib(&self, name: &str) -> f64 {
        self.daemon.memory_kib(name) as f64 / 1024.0
    }

    /// Changes a model's description, so often.
    pub(crate) fn change(&self, times: usize) {
        let id = self.json("/models?limit=1")["items"][0]["id"].as_str().unwrap().to_owned();
        for time in 0..times {
            let body = format!("{{\"description\": \"changed for the {time}. time\"}}");
            let headers = ["Content-Type: application/json"];
            let octets =
                request("PATCH", &format!("/models/{id}"), Some(&self.daemon.token), &headers, body.as_bytes());
            ask(self.daemon.address, &octets).json();
        }
    }

    /// How large it is.
    pub(crate) fn size(&self) -> String {
        format!("{} models, {} entries", self.json("/models?limit=1")["total"], self.entries())
    }

    /// How large it is, and where it came from.
    pub(crate) fn describe(&self) -> String {
        format!("{}, {}, {:.0} MiB resident", self.size(), self.how, self.memory_mib("VmRSS"))
    }

    /// Entries of its log.
    pub(crate) fn entries(&self) -> u64 {
        self.json("/audit-logs?limit=1")["items"][0]["index"].as_u64().unwrap() + 1
    }

    /// An answer.
    pub(crate) fn json(&self, target: &str) -> Value {
        ask(self.daemon.address, &self.request(target)).json()
    }

    /// The octets that ask for something.
    pub(crate) fn request(&self, target: &str) -> Vec<u8> {
        request("GET", target, Some(&self.daemon.token), &["Accept: application/json"], &[])
    }

    /// The connection that is kept.
    pub(crate) fn line(&mut self) -> &mut TcpStream {
        &mut self.line
    }

    /// Processor time that the daemon has taken, microseconds; to the nanosecond, other than that of `/proc/<pid>/stat`.
    pub(crate) fn processor_us(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.daemon.pid())).unwrap();
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default()
        };
        tasks.map(of_task).sum::<f64>() / 1000.0
    }

    /// Has the kernel forget what it keeps of the files.
    pub(crate) fn forget_files(&self) {
        forget(&self.dir.join("data"));
    }
}

fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            forget(&entry.path());
        } else if kind.is_file()
            && let Ok(file) = std::fs::File::open(entry.path())
        {
            // Dirty pages stay; nothing depends on it.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}

/// Fills a directory as the example does, three versions and ten entries a model.
fn fill(models: u64) -> TempDir {
    use std::os::unix::fs::OpenOptionsExt;
    let dir = scratch();
    let password = dir.path().join("password");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&password).unwrap();
    std::io::Write::write_all(&mut file, PASSWORD.as_bytes()).unwrap();
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["run", "--release", "-p", "tests", "--example", "fill", "--"])
        .arg(dir.path().join("filled"))
        .args(["--models", &models.to_string(), "--versions", &(3 * models).to_string()])
        .args(["--entries", &(10 * models).to_string(), "--password-file"])
        .arg(&password)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the example `fill` failed");
    dir
}
