//! The real console in tmux, where that is installed: what is copied arrives in its buffer, its window can change its size, be left
//! and be come back to, and the shell in it gets its screen back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::pty::{Console, Setup};
use tests::wait::until_true;

const TMUX: &str = "/usr/bin/tmux";

/// Nothing of the machine's own settings; no line of tmux's own; what programs copy is taken.
const SETTINGS: &str = "\
set -g status off
set -s set-clipboard on
set -s escape-time 0
set -g default-terminal screen-256color
set -g default-command 'env PS1=\"shell-here$ \" bash --norc --noprofile -i'
";

/// A server of tmux that nobody else speaks to; it ends with this, however a test ends.
struct Tmux {
    home: Arc<TempDir>,
}

impl Tmux {
    fn socket(&self) -> PathBuf {
        self.home.path().join("tmux.sock")
    }

    /// A terminal in which it runs a command, such as `new-session`.
    fn terminal(&self, columns: u16, rows: u16, command: &str) -> Console {
        let (socket, settings) = (self.socket(), self.home.path().join("tmux.conf"));
        std::fs::write(&settings, SETTINGS).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Setup::at(Arc::clone(&self.home))
            .size(columns, rows)
            .program(&[TMUX, "-S", &text(&socket), "-f", &text(&settings), command])
            .start()
    }

    /// What it says.
    fn says(&self, arguments: &[&str]) -> String {
        let output = Command::new(TMUX).arg("-S").arg(self.socket()).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Where it has ended there is nothing to end.
        let _ = Command::new(TMUX).arg("-S").arg(self.socket()).arg("kill-server").output();
    }
}

#[test]
fn in_tmux() {
    if !Path::new(TMUX).exists() {
        eprintln!("NOT CHECKED: the console in tmux, which is not installed (tests/run installs it)");
        return;
    }
    let daemon = Daemon::start();
    daemon.admin().upload("team/router", "config.json", b"{\"labels\": 1}");
    let tmux = Tmux { home: Arc::new(TempDir::with_prefix("mreg-tmux-").unwrap()) };
    let mut terminal = tmux.terminal(80, 24, "new-session");
    terminal.wait_for("shell-here$");
    terminal.press("echo before-$((40+2))<Enter>");
    terminal.wait_for("before-42");
    terminal.press(&format!("\"$MREG\" --url http://{} --user {ADMIN}<Enter>", daemon.address()));
    terminal.wait_for("Password");
    terminal.press(ADMIN_PASSWORD);
    terminal.press("<Enter>");
    terminal.wait_for("▌ team/router");
    assert!(!terminal.shows("before-42"), "{}", terminal.screen());

    // What is copied.
    terminal.settle();
    terminal.press("y");
    terminal.wait_for("sent to the terminal");
    until_true("the name in tmux's buffer", || tmux.says(&["show-buffer"]) == "team/router");

    // Another size, and back.
    terminal.resize(120, 40);
    terminal.wait_for("[1 Models] 2 Audit");
    terminal.resize(80, 24);
    terminal.wait_for("[1]Models 2Aud");
    terminal.wait_for("▌ team/router");

    // Left, and come back to, in a terminal of another size.
    terminal.settle();
    terminal.press("<C-b>d");
    terminal.wait_end();
    let mut terminal = tmux.terminal(90, 26, "attach-session");
    terminal.wait_for("▌ team/router");
    terminal.wait_for("[1]Models 2Aud");
    terminal.wait_for(": ? more");

    // The shell's job control, and the way out.
    terminal.settle();
    terminal.press("<C-z>");
    terminal.wait_for("Stopped");
    assert!(terminal.shows("before-42") && !terminal.shows("team/router"), "{}", terminal.screen());
    terminal.settle();
    terminal.press("fg<Enter>");
    terminal.wait_for("▌ team/router");
    terminal.settle();
    terminal.press("q");
    terminal.wait_until("the prompt", |screen| {
        screen.contains("before-42") && screen.trim_end().ends_with("shell-here$") && !screen.contains("team/router")
    });
    let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_flag} #{keypad_cursor_flag}";
    until_true("the pane to be as it was", || tmux.says(&["display-message", "-p", modes]) == "0 1 0 0 0\n");
    terminal.settle();
    terminal.press("echo status-$?<Enter>");
    terminal.wait_for("status-0");
    terminal.press("exit<Enter>");
    terminal.wait_end();
}
