//! The README's commands run. Blocks fenced as `sh` are run in order, in one shell in an empty directory, with the daemon
//! of this build in the path; blocks of another kind are for reading.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tests::daemon::{binary, workspace};
use tests::samples;

/// What the README says to a person, and what that is to a shell that must not meet the person's own daemon. Order
/// matters.
const SUBSTITUTIONS: &[(&str, &str)] = &[
    ("cargo run --release --bin mregd", "serve"),
    ("./target/release/mregd", "serve"),
    ("./tests/run", "true # this is it"),
    ("127.0.0.1:8000", "127.0.0.1:$PORT"),
    ("localhost:8000", "127.0.0.1:$PORT"),
    ("password\":\"...\"", "password\":\"'\"$PASSWORD\"'\""),
    ("<password>", "$PASSWORD"),
    ("<token>", "$TOKEN"),
    ("curl ", "curl -sS --fail-with-body "),
];

/// Starts the daemon beside the shell, and takes from its greeting what a person would read there.
const PRELUDE: &str = r#"set -eu
PORT=''
PASSWORD=''
TOKEN=''
DAEMON=''
trap '[ -z "$DAEMON" ] || kill "$DAEMON"' EXIT
serve() {
    mregd >greeting 2>diagnostics &
    DAEMON=$!
    tries=0
    until grep -q 'log key' greeting; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] && kill -0 "$DAEMON"
        sleep 0.05
    done
    PORT=$(sed -n '1s/.*://p' greeting)
    PASSWORD=$(sed -n 's/^ *password  *\([^ ]*\) .*/\1/p' greeting)
}
"#;

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
    let readme = fs::read_to_string(workspace().join("README.md")).expect("there is a README.md");
    let blocks = blocks(&readme);
    assert!(!blocks.is_empty(), "README.md has no block fenced as `sh`");
    let dir = tempfile::TempDir::with_prefix("mreg-readme-").unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("mregd")).unwrap();
    fs::write(dir.path().join("model.safetensors"), samples::safetensors(1)).unwrap();
    fs::write(dir.path().join("model.pkl"), samples::harmless_pickle(1)).unwrap();

    let mut script = PRELUDE.to_owned();
    for (at, block) in blocks.iter().enumerate() {
        let block = SUBSTITUTIONS.iter().fold(block.clone(), |text, (from, to)| text.replace(from, to));
        script.push_str(&format!(
            "echo '--- block {at}'\n{{\n{block}}} >answer\ncat answer\n\
             found=$(sed -n 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/p' answer)\nTOKEN=${{found:-$TOKEN}}\n"
        ));
    }
    let mut shell = Command::new("sh")
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .env("MREG_BIND", "127.0.0.1:0")
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
    let diagnostics = fs::read_to_string(dir.path().join("diagnostics")).unwrap_or_default();
    let told = format!(
        "{}\n{}\n{diagnostics}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
}
