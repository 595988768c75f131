//! The README's commands run: its `sh` blocks, in order, in an empty directory, against the daemon that the first of them
//! starts. Only what stands for the reader's own values is filled in: address, password, token, and where the programs
//! are. Blocks of another kind are for reading.

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
        .env("MREG_BIND", "127.0.0.1:0")
        .env("MREG_MIN_FREE_BYTES", "0");
    shell
}

struct Served {
    child: Child,
    address: String,
    password: String,
}

impl Served {
    /// Starts what the README says first; reads the address and the generated password as its reader would.
    fn start(dir: &Path) -> Self {
        let mut child = shell(dir, "exec mregd").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().unwrap().trim_start_matches("http://").to_owned();
        let password = lines.find_map(|line| {
            let (_before, after) = line.split_once("password")?;
            after.split_whitespace().find(|word| word.len() > 12 && !word.starts_with('(')).map(str::to_owned)
        });
        // The rest is read, so that the daemon can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, password: password.expect("the password is shown") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every `sh` block of the README succeeds, in order.
#[test]
fn commands_run() {
    let blocks = blocks(&fs::read_to_string(workspace().join("README.md")).unwrap());
    assert_eq!(blocks[..2], [SERVE, TEST], "the two commands come first");
    let dir = TempDir::with_prefix("mreg-readme-").unwrap();
    fs::create_dir_all(dir.path().join("bin")).unwrap();
    fs::create_dir_all(dir.path().join("target/release")).unwrap();
    symlink(binary(), dir.path().join("bin/mregd")).unwrap();
    symlink(binary(), dir.path().join("target/release/mregd")).unwrap();
    let curl = dir.path().join("bin/curl");
    fs::write(&curl, "#!/bin/sh\nexec /usr/bin/curl --silent --show-error --fail-with-body \"$@\"\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("model.safetensors"), samples::safetensors(1)).unwrap();
    fs::write(dir.path().join("model.pkl"), samples::harmless_pickle(1)).unwrap();

    let served = Served::start(dir.path());
    let mut password = served.password.clone();
    let mut token = String::new();
    for block in &blocks[2..] {
        let script = block
            .replace("127.0.0.1:8000", &served.address)
            .replace(r#"password":"...""#, &format!(r#"password":"{password}""#))
            .replace("<token>", &token);
        let output = shell(dir.path(), &script).output().unwrap();
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
