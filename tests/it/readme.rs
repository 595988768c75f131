//! The README's commands run. Blocks fenced as `sh` are run one after another, in order, in one shell in an empty
//! directory, with the daemon of this build in the path; blocks of another kind are for reading.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tests::daemon::{binary, workspace};
use tests::samples;

/// What the README says, and what the test makes of it: it must not meet the reader's own daemon or files.
const SUBSTITUTIONS: &[(&str, &str)] = &[
    ("cargo run --release --bin mregd", "mregd"),
    ("./target/release/mregd", "mregd"),
    ("127.0.0.1:8000", "127.0.0.1:$PORT"),
    ("localhost:8000", "127.0.0.1:$PORT"),
];

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

/// Every `sh` block of the README succeeds, in order.
#[test]
fn commands_run() {
    let Ok(readme) = fs::read_to_string(workspace().join("README.md")) else {
        panic!("there is no README.md");
    };
    let blocks = blocks(&readme);
    if blocks.is_empty() {
        println!("README.md has no block fenced as `sh`; nothing was run");
        return;
    }
    let dir = tempfile::TempDir::with_prefix("mreg-readme-").unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("mregd")).unwrap();
    fs::write(dir.path().join("model.safetensors"), samples::safetensors(1)).unwrap();
    fs::write(dir.path().join("model.pkl"), samples::harmless_pickle(1)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    // One shell for all, so that variables live on; whatever it started goes with its process group's leader.
    let mut script = String::from("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for (at, block) in blocks.iter().enumerate() {
        let block = SUBSTITUTIONS.iter().fold(block.clone(), |text, (from, to)| text.replace(from, to));
        script.push_str(&format!("echo \"--- block {at}\"\n{block}"));
    }
    let mut shell = Command::new("sh")
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .env("PORT", port.to_string())
        .env("MREG_BIND", format!("127.0.0.1:{port}"))
        .env("MREG_MIN_FREE_BYTES", "0")
        .env("HOME", dir.path())
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let told = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
}
