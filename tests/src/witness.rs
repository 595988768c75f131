//! The real `mregd witness` as a child process with directories of its own. When it goes, its diagnostics must hold no
//! warning the test did not expect.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use common::audit::Verifier;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Lines, binary, wait_for};
use crate::http::{Connection, Ledger, Response};
use crate::tls::Pair;
use crate::wait;

#[derive(Debug)]
struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// A witness.
#[derive(Debug)]
pub struct Witness {
    root: TempDir,
    vkey: Verifier,
    logs: Vec<String>,
    /// The address it had first, which it keeps.
    address: Option<SocketAddr>,
    /// Files of the certificate that it speaks TLS with.
    tls: Option<(PathBuf, PathBuf)>,
    running: Option<Running>,
    said: Vec<String>,
    expected: Vec<String>,
}

impl Witness {
    /// A witness of these logs, with a new key of this name.
    pub fn start(name: &str, logs: &[Verifier]) -> Self {
        let mut witness = Self::prepared(name, logs);
        witness.restart();
        witness
    }

    /// The same, with nothing started.
    pub fn prepared(name: &str, logs: &[Verifier]) -> Self {
        let root = TempDir::with_prefix("mreg-witness-").unwrap();
        let output = run(root.path(), &["witness", "--new-key", "key", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let vkey = String::from_utf8(output.stdout).unwrap().trim_end().parse().expect("a vkey");
        Self {
            root,
            vkey,
            logs: logs.iter().map(ToString::to_string).collect(),
            address: None,
            tls: None,
            running: None,
            said: Vec::new(),
            expected: vec!["its first checkpoint is taken on trust".to_owned()],
        }
    }

    /// Watches a log with this key, too, from the next start.
    pub fn watch(&mut self, key: &Verifier) {
        self.logs.push(key.to_string());
    }

    /// Gives it a certificate: the first before it is started, and others while it runs.
    pub fn certify(&mut self, pair: &Pair) {
        self.tls = Some(pair.write(self.root.path()));
    }

    /// Starts on the same directories and the same address.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let bind = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut arguments =
            vec!["witness", "--state", "state", "--key", "key", "--log-format", "json", "--bind", &bind];
        for log in &self.logs {
            arguments.extend(["--log", log]);
        }
        let tls = self.tls.as_ref().map(|(cert, key)| [cert.display().to_string(), key.display().to_string()]);
        if let Some([cert, key]) = &tls {
            arguments.extend(["--tls-cert", cert, "--tls-key", key]);
        }
        let mut child = command(self.root.path(), &arguments).spawn().expect("mregd starts");
        let stdout = Lines::of(child.stdout.take().unwrap());
        let mut stderr = Lines::of(child.stderr.take().unwrap());
        let first = wait::until("the witness's address on standard output", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the witness ended with {status}: {}", stderr.all().join("\n"));
            }
            stdout.so_far().first().cloned()
        });
        let address = first.strip_prefix(self.scheme()).expect("an address").parse().expect("an address and port");
        self.address = Some(address);
        self.running = Some(Running { child, stdout, stderr });
    }

    /// Its vkey.
    pub fn vkey(&self) -> &Verifier {
        &self.vkey
    }

    /// Where it listens, or would again.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was started")
    }

    /// Its line in a policy.
    pub fn policy_line(&self, name: &str) -> String {
        format!("witness {name} {} {}{}\n", self.vkey, self.scheme(), self.address())
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https://" } else { "http://" }
    }

    /// Everything on standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.running.as_ref().map(|running| running.stderr.so_far()).unwrap_or_default()
    }

    /// What it remembers.
    pub fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// The file of its key.
    pub fn key_file(&self) -> PathBuf {
        self.root.path().join("key")
    }

    /// Names of the files of evidence, sorted.
    pub fn evidence(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.state_dir().join("evidence")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A line with this in it is no surprise on standard error.
    pub fn expect_line(&mut self, part: &str) {
        self.expected.push(part.to_owned());
    }

    /// Everything on standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.running.as_ref().map(|running| running.stdout.so_far()).unwrap_or_default()
    }

    /// Asks for something; the answer as it came, or why there is none.
    pub fn try_request(&self, method: &str, target: &str, body: &[u8]) -> std::io::Result<Response> {
        request(self.address(), method, target, body)
    }

    /// Asks for something.
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Response {
        self.try_request(method, target, body).expect("the witness answers")
    }

    /// `POST /add-checkpoint`; status and body.
    pub fn add_checkpoint(&self, body: &str) -> (u16, String) {
        let response = self.request("POST", "/add-checkpoint", body.as_bytes());
        (response.status, String::from_utf8(response.body).unwrap())
    }

    /// Runs the program in this witness's directory to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(self.root.path(), arguments)
    }

    /// Stops in order, which must succeed.
    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("it runs");
        kill_process(Pid::from_child(&running.child), Signal::TERM).expect("the child is there");
        let status: ExitStatus = wait_for(&mut running.child);
        self.said.extend(running.stderr.all());
        assert!(status.success(), "the witness ended with {status}: {}", self.said.join("\n"));
    }

    /// Kills without warning.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        self.said.extend(running.stderr.all());
    }

    fn verify(&self) {
        for line in &self.said {
            let level =
                serde_json::from_str::<Value>(line).ok().and_then(|event| event["level"].as_str().map(str::to_owned));
            let is_fine = matches!(level.as_deref(), Some("INFO" | "DEBUG" | "TRACE"));
            let is_expected = self.expected.iter().any(|part| line.contains(part));
            assert!(is_fine || is_expected, "the witness said what the test did not expect: {line}");
        }
        let secret = std::fs::read_to_string(self.key_file()).unwrap();
        // Behind the fourth `+`; base64 may have more of them.
        let secret = secret.trim_end().splitn(5, '+').nth(4).unwrap();
        assert!(self.said.iter().all(|line| !line.contains(secret)), "the key is in the diagnostics");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut running) = self.running.take() {
                // It is ours, and nobody else's.
                let _ = running.child.kill();
                let _ = running.child.wait();
                self.said.extend(running.stderr.all());
            }
            println!("the witness said:\n{}", self.said.join("\n"));
            return;
        }
        if self.running.is_some() {
            self.stop();
        }
        self.verify();
    }
}

/// One request on a connection of its own. A witness's answers need not have what a registry's have.
pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> std::io::Result<Response> {
    let mut connection = Connection::open(address, Arc::new(Ledger::default()))?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write(head.as_bytes())?;
    // A witness that has refused already may stop reading: then its answer says why.
    let written = connection.write(body);
    connection.read_unchecked(method).map_err(|error| written.err().unwrap_or(error))
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().expect("mregd starts")
}
