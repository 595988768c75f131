//! The documents' commands run: the `sh` blocks of README.md, then of docs/inspection.md, and those of docs/audit.md,
//! docs/console.md, docs/drop-folder.md, docs/operations.md and docs/webhooks.md, in order, in an empty directory, against the daemon that the
//! first one starts, or a later one in its place. Only what stands for the reader's own values is filled in: address,
//! password, token, and where the programs are. Blocks of another kind are for reading.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use tests::daemon::{binary, workspace};
use tests::samples;

const SERVE: &str = "cargo run --release --bin mregd\n";
const TEST: &str = "./tests/run\n";
const BUILD_CONSOLE: &str = "cargo build --release --bin mreg\n";

/// The text of each block fenced as `sh`.
fn blocks(readme: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<String>);
    for line in readme.lines() {
        match &mut open {
            None if line.trim() == "```sh" => open = Some(String::new()),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// A shell that finds this build's programs, and a `curl` that fails where the answer is an error.
fn shell(dir: &Path, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", script])
        .current_dir(dir)
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", dir.join("bin").display()))
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir.join("run"))
        .env("MREG_BIND", "127.0.0.1:0")
        .env("MREG_MIN_FREE_BYTES", "0");
    shell
}

/// An empty directory with what the documents take for granted: the programs, a `curl` that fails, and two models.
fn prepared() -> TempDir {
    let dir = TempDir::with_prefix("mreg-readme-").unwrap();
    fs::create_dir_all(dir.path().join("bin")).unwrap();
    fs::create_dir_all(dir.path().join("target/release")).unwrap();
    symlink(binary(), dir.path().join("bin/mregd")).unwrap();
    symlink(binary(), dir.path().join("target/release/mregd")).unwrap();
    symlink(tests::pty::binary(), dir.path().join("bin/mreg")).unwrap();
    symlink(tests::pty::binary(), dir.path().join("target/release/mreg")).unwrap();
    // As a login makes it: for its user alone.
    fs::create_dir(dir.path().join("run")).unwrap();
    fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    let curl = dir.path().join("bin/curl");
    fs::write(&curl, "#!/bin/sh\nexec /usr/bin/curl --silent --show-error --fail-with-body \"$@\"\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("model.safetensors"), samples::safetensors(1)).unwrap();
    fs::write(dir.path().join("model.pkl"), samples::harmless_pickle(1)).unwrap();
    dir
}

/// What the administrator's password is changed to.
const PASSWORD: &str = "a new sentence that nobody guesses";

struct Served {
    child: Child,
    address: String,
    key: String,
    password: String,
}

impl Served {
    /// Starts what the README says first; reads the address and the generated password as its reader would.
    fn start(dir: &Path) -> Self {
        Self::start_as(dir, "mregd")
    }

    /// The same by another command.
    fn start_as(dir: &Path, command: &str) -> Self {
        let mut child =
            shell(dir, &format!("exec env {command}")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.next().unwrap();
        let address = url.split_once("://").unwrap().1.to_owned();
        let key = lines.find_map(|line| Some(line.split_once("log key")?.1.trim().to_owned()));
        // Shown at the first start only.
        let is_first = !dir.join("stopped-once").exists();
        let password = is_first.then(|| {
            lines.find_map(|line| {
                let (_before, after) = line.split_once("password")?;
                after.split_whitespace().find(|word| word.len() > 12 && !word.starts_with('(')).map(str::to_owned)
            })
        });
        // The rest is read, so that the daemon can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        let password = password.map(|shown| shown.expect("the password is shown")).unwrap_or_default();
        Self { child, address, key: key.expect("the log's key is shown"), password }
    }

    /// A block as it is run: with this daemon's address, and with the password where somebody would type it.
    fn filled_in(&self, block: &str, password: &str) -> String {
        let port = self.address.rsplit(':').next().unwrap();
        // Where no address is said it is that of the documents, which this daemon hasn't got.
        let here =
            if block.contains("mreg") { format!("export MREG_URL=http://{}\n", self.address) } else { String::new() };
        let typed = format!(" --password-stdin login <<'END'\n{password}\nEND\n");
        here + &block
            .replace("127.0.0.1:8000", &self.address)
            .replace("localhost:8000", &format!("localhost:{port}"))
            .replace(" login\n", &typed)
    }

    /// Ends it in order.
    fn stop(mut self, dir: &Path) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        assert!(self.child.wait().unwrap().success());
        fs::write(dir.join("stopped-once"), "").unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Neither fails where it was stopped.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every `sh` block of the README succeeds, in order, and after them those of docs/inspection.md.
#[test]
fn commands_run() {
    let blocks =
        ["README.md", "docs/inspection.md"].map(|name| blocks(&fs::read_to_string(workspace().join(name)).unwrap()));
    let blocks = blocks.concat();
    assert_eq!(blocks[..2], [SERVE, TEST], "the two commands come first");
    let sign_in = blocks.iter().flat_map(|block| block.lines()).find(|line| line.ends_with(" login")).unwrap();
    let dir = prepared();

    let mut served = Served::start(dir.path());
    let mut password = served.password.clone();
    let mut token = String::new();
    for block in &blocks[2..] {
        if block.starts_with("MREG_DROP_DIR=") {
            served.stop(dir.path());
            served = Served::start_as(dir.path(), block);
            // The console's session is with a daemon at an address, and this one got another.
            run(dir.path(), &served.filled_in(&format!("{sign_in}\n"), &password));
            continue;
        } else if block == BUILD_CONSOLE {
            continue;
        }
        let script = served
            .filled_in(block, &password)
            .replace(r#"password":"...""#, &format!(r#"password":"{password}""#))
            .replace("<token>", &token);
        fs::write(dir.path().join("block"), script).unwrap();
        // What is waited for comes within seconds, or never.
        let output = shell(dir.path(), "timeout 300 sh -eu block").output().unwrap();
        assert!(output.status.success(), "{block}{}", told(&output));
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some((_before, rest)) = answer.split_once(r#""access_token":""#) {
            token = rest.split('"').next().unwrap().to_owned();
        }
        if let Some((_before, rest)) = block.split_once(r#""new_password":""#) {
            password = rest.split('"').next().unwrap().to_owned();
        }
    }
    assert_eq!(fs::read(dir.path().join("fetched.pkl")).unwrap(), samples::harmless_pickle(1));
}

/// Whether a program is there; says so loudly where it isn't.
fn has(dir: &Path, program: &str) -> bool {
    let is_there = shell(dir, &format!("command -v {program}")).output().unwrap().status.success();
    if !is_there {
        eprintln!("NOT CHECKED: a block of the documents that needs {program}, which is not installed");
    }
    is_there
}

fn run(dir: &Path, script: &str) -> String {
    let output = shell(dir, script).output().unwrap();
    assert!(output.status.success(), "{script}{}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Signs in with the generated password, changes it as is asked, and signs in again: a token that may do all.
fn administrator(dir: &Path, served: &Served) -> String {
    let url = format!("http://{}", served.address);
    let (password, second) = (&served.password, PASSWORD);
    let sign_in = |password: &str| {
        let body = format!(r#"{{"username":"admin","password":"{password}"}}"#);
        let answer = run(dir, &format!("curl {url}/login -H 'Content-Type: application/json' -d '{body}'"));
        answer.split_once(r#""access_token":""#).unwrap().1.split('"').next().unwrap().to_owned()
    };
    let first = sign_in(password);
    let bodies = format!(r#"{{"old_password":"{password}","new_password":"{second}"}}"#);
    let change = format!("curl {url}/me/password -H 'Authorization: Bearer {first}'");
    run(dir, &format!("{change} -H 'Content-Type: application/json' -d '{bodies}'"));
    sign_in(second)
}

/// Every `sh` block of docs/drop-folder.md does what is said around it, in order: files become versions and leave receipts.
#[test]
fn drop_folder_commands_run() {
    let blocks = blocks(&fs::read_to_string(workspace().join("docs/drop-folder.md")).unwrap());
    let (serve, blocks) = blocks.split_first().unwrap();
    assert!(serve.starts_with("MREG_DROP_DIR=") && serve.ends_with(" mregd\n"), "{serve}");
    let dir = prepared();
    let dir = dir.path();
    let served = Served::start_as(dir, serve);
    fs::write(dir.join("log.vkey"), &served.key).unwrap();
    let token = administrator(dir, &served);
    for block in blocks {
        fs::write(dir.join("block"), block.replace("127.0.0.1:8000", &served.address).replace("<token>", &token))
            .unwrap();
        // What is waited for comes within seconds, or never.
        let said = run(dir, "timeout 120 sh -eu block");
        assert!(!block.contains("until find drop/done") || said.contains(".receipt.json"), "{block}{said}");
        if block.contains("/discard") {
            assert!(said.contains(r#""reason":"a link, not a model""#) || said.contains(r#""receipt":"#), "{said}");
        }
    }
    let listing = run(dir, "ls drop/incoming drop/processing");
    assert!(!listing.contains("safetensors"), "{listing}");
}

/// Every `sh` block of docs/webhooks.md does what is said around it, in order: the receiver that is shown there verifies what
/// arrives.
#[test]
fn webhook_commands_run() {
    let blocks = blocks(&fs::read_to_string(workspace().join("docs/webhooks.md")).unwrap());
    let (serve, blocks) = blocks.split_first().unwrap();
    assert!(serve.starts_with("MREG_WEBHOOK_ALLOW=") && serve.ends_with(" mregd\n"), "{serve}");
    let dir = prepared();
    let dir = dir.path();
    if !has(dir, "python3") {
        return;
    }
    let served = Served::start_as(dir, serve);
    let token = administrator(dir, &served);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let receiver = Ended(dir.join("receiver.pid"));
    for block in blocks {
        let script = block.replace("127.0.0.1:8000", &served.address).replace("8090", &free).replace("<token>", &token);
        fs::write(dir.join("block"), script).unwrap();
        // What is waited for comes within seconds, or never.
        run(dir, "timeout 120 sh -eu block");
    }
    drop(receiver);
    let received = fs::read_to_string(dir.join("received.log")).unwrap();
    let kinds: Vec<&str> = received.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kinds, ["webhook.test", "model.upload"], "each once, also after the replay: {received}");
    assert_eq!(fs::read_to_string(dir.join("hook.secret")).unwrap().matches("whsec_").count(), 2);
}

/// A process that a document starts and ends, known by the file with its number; ended at the latest with this.
struct Ended(std::path::PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(&self.0) {
            // It fails where the document ended it.
            let _gone = Command::new("kill").arg(pid.trim()).stderr(Stdio::null()).status();
        }
    }
}

/// Every `sh` block of docs/console.md does what is said around it, in order.
#[test]
fn console_commands_run() {
    let manual = fs::read_to_string(workspace().join("docs/console.md")).unwrap();
    let dir = prepared();
    let dir = dir.path();
    let served = Served::start(dir);
    administrator(dir, &served);
    for block in blocks(&manual) {
        fs::write(dir.join("block"), served.filled_in(&block, PASSWORD)).unwrap();
        run(dir, "timeout 120 sh -eu block");
    }
    assert_eq!(fs::read(dir.join("fetched.safetensors")).unwrap(), samples::safetensors(1));

    // The configuration that is shown is one, once the files that it names are there.
    let file = manual.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    fs::create_dir_all(dir.join(".config/mreg")).unwrap();
    fs::copy(dir.join("log.vkey"), dir.join("prod.vkey")).unwrap();
    let file = file.replace("/etc/mreg/", &format!("{}/", dir.display()));
    fs::write(dir.join(".config/mreg/config.toml"), file).unwrap();
    run(dir, "mreg config check");
}

/// Every `sh` block of docs/operations.md does what is said around it, in order: some start the daemon anew.
#[test]
fn operations_commands_run() {
    let blocks = blocks(&fs::read_to_string(workspace().join("docs/operations.md")).unwrap());
    let dir = prepared();
    let dir = dir.path();
    let first = Served::start(dir);
    administrator(dir, &first);
    let mut served = Some(first);
    let mut started = 0;
    for block in blocks {
        if block.starts_with("openssl") && !has(dir, "openssl") {
            return;
        }
        if block.starts_with("MREG_") && block.ends_with(" mregd\n") {
            served.take().unwrap().stop(dir);
            served = Some(Served::start_as(dir, &block));
            started += 1;
            continue;
        }
        fs::write(dir.join("block"), served.as_ref().unwrap().filled_in(&block, PASSWORD)).unwrap();
        run(dir, "timeout 120 sh -eu block");
    }
    assert_eq!(started, 2, "with a certificate, and with a socket");
}

/// Every `sh` block of docs/audit.md does what is said around it, in order.
#[test]
fn audit_commands_run() {
    let blocks = blocks(&fs::read_to_string(workspace().join("docs/audit.md")).unwrap());
    let dir = prepared();
    let dir = dir.path();
    fs::create_dir_all(dir.join("docs")).unwrap();
    fs::copy(workspace().join("docs/verify.go"), dir.join("docs/verify.go")).unwrap();
    let served = Served::start(dir);
    let url = format!("http://{}", served.address);
    let token = administrator(dir, &served);
    fs::write(dir.join("token"), &token).unwrap();
    fs::set_permissions(dir.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join("log.vkey"), &served.key).unwrap();
    run(dir, &format!("curl -o checkpoint.may {url}/log/checkpoint"));
    let upload = format!("curl -o upload.json {url}/models -H 'Authorization: Bearer {token}' -F file=@model.pkl");
    run(dir, &upload);

    let mut served = Some(served);
    let mut witness = None;
    for block in &blocks {
        let script = block.replace("http://127.0.0.1:8000", &url);
        if block.contains("go run") && !has(dir, "go") || block.contains("openssl") && !has(dir, "openssl") {
            continue;
        } else if block.contains("go run") {
            let said = run(dir, &format!("export GOCACHE=$HOME/cache GOFLAGS=-mod=mod; {script}"));
            assert!(said.contains("all verified"), "{said}");
        } else if block.contains("openssl") {
            assert!(run(dir, &script).contains("Signature Verified Successfully"));
        } else if block.contains("witness --state") {
            let script = format!("exec {}", script.replace("0.0.0.0:8100", "127.0.0.1:0"));
            witness = Some(Running(shell(dir, &script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()));
            let mut line = String::new();
            let running = witness.as_mut().unwrap();
            BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(run(dir, &format!("curl {line}")).contains("log mreg.local/log nothing yet"));
        } else if block.contains("accept-rollback") {
            // Older data under a newer mark, with the daemon stopped, and an answer to the question.
            served.take().unwrap().stop(dir);
            run(dir, "cp -r mreg-data older");
            Served::start(dir).stop(dir);
            run(dir, "rm -r mreg-data; mv older mreg-data");
            // The rotation before gave it another name.
            let name = "mreg.local/log/3";
            assert!(run(dir, &format!("echo {name} | {script}")).contains(name));
        } else {
            run(dir, &script);
        }
    }
    drop(witness);
    let served = Served::start(dir);
    assert!(served.key.starts_with("mreg.local/log/3+"), "{}", served.key);
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}
