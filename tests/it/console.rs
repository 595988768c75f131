//! The real console in a terminal, against the real daemon: it comes up, works, and gives the terminal back whatever ends
//! it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::pty::{Console, Setup};
use tests::wait::until_true;

/// How soon a signal or a lost line ends the console (console.md §6), and what a busy machine adds.
const END_MAX: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(4);

/// A console for a daemon, at the login dialog.
fn opened(daemon: &Daemon, setup: Setup) -> Console {
    let url = format!("http://{}", daemon.address());
    let mut console = setup.args(&["--url", &url, "--user", ADMIN]).start();
    console.wait_for("Password");
    console
}

/// A console signed in as the first admin.
fn signed_in(daemon: &Daemon, setup: Setup) -> Console {
    let mut console = opened(daemon, setup);
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.settle();
    console
}

/// Signing in, looking round, leaving: the terminal is as it was found, and was asked nothing.
#[test]
fn comes_and_goes() {
    let daemon = Daemon::start();
    let mut console = signed_in(&daemon, Setup::new());
    console.press("?");
    console.wait_for("Moving");
    console.press("<Esc>");
    console.wait_gone("Moving");
    assert!(console.is_raw() && console.modes().alternate);
    console.quit();
    assert_eq!(console.queries(), Vec::<String>::new());
}

/// Nothing happens, so nothing is sent, hardly anything wakes up, and the log grows by nothing.
#[test]
fn idle() {
    let daemon = Daemon::start();
    let key = daemon.ledger().vkey().to_string();
    let admin = daemon.admin();
    let mut console = signed_in(&daemon, Setup::new().args(&["--log-key", &key]));
    let entries = || admin.get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse::<u64>().unwrap();
    // The entry that records the reading of the log is the last there is.
    console.wait_for("* live");
    console.wait_until("all to be verified", |screen| screen.contains(&format!("v {}  * live", entries() - 1)));
    let before = (console.settle(), console.wakeups(), entries());
    let began = Instant::now();
    // Not a wait for something: what is measured is that nothing comes.
    std::thread::sleep(Duration::from_secs(10));
    let seconds = began.elapsed().as_secs() + 1;
    let after = (console.count(), console.wakeups(), entries());
    assert_eq!(after.0 - before.0, 0, "{}", console.tail());
    println!("{} wakeups in {seconds} s", after.1 - before.1);
    assert!(before.1 > 0, "a console that never woke up is not counted right");
    assert!(after.1 - before.1 <= 2 * seconds, "{} wakeups in {seconds} s", after.1 - before.1);
    assert_eq!(after.2, before.2);
}

/// The first frame: small, before any answer, and in a release build within 50 ms. One `j` costs little.
#[test]
fn first_frame() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        // Nobody listens there, and the frame doesn't care.
        let mut console = Setup::new().args(&["--url", "http://127.0.0.1:9", "--user", "admin"]).start();
        console.wait_for("Password");
        best = best.min(console.began().elapsed());
        let octets = console.settle();
        assert!(octets <= 4_096, "{octets} octets");
        assert_eq!(console.queries(), Vec::<String>::new());
        console.press("<C-c>");
        assert_eq!(console.wait_end().0, 0);
        console.assert_given_back();
    }
    println!("first frame after {best:?}");
    assert!(best < Duration::from_millis(50) + BUSY, "{best:?}");
}

/// A line that takes no octet any more holds up neither a signal nor the way out.
#[test]
fn ended_on_a_line_that_hangs() {
    let daemon = Daemon::start();
    let mut console = signed_in(&daemon, Setup::new());
    console.hang(true);
    for _ in 0..60 {
        console.press("<C-l>");
    }
    // Far more than the line holds was asked for: it stands in a write when it writes no more.
    let mut newest = (console.written(), Instant::now());
    until_true("the console to stand in a write", || {
        let written = console.written();
        if written != newest.0 {
            newest = (written, Instant::now());
        }
        newest.1.elapsed() > Duration::from_millis(300)
    });
    console.signal(Signal::TERM);
    let (status, took) = console.wait_exit();
    assert_eq!(status, 143);
    assert!(took < END_MAX + BUSY, "{took:?}");
    console.hang(false);
    console.wait_end();
    console.assert_given_back();
}

/// A defect: the terminal first, then a report that only its owner can read, with what happened and nothing of what was
/// typed.
#[test]
fn a_defect_is_reported() {
    let setup = Setup::new().args(&["--url", "http://127.0.0.1:9", "--user", "admin", "--defect"]);
    let home = setup.home();
    let mut console = setup.start();
    console.wait_until("a beginning", |screen| screen.contains("Password") || screen.contains("unexpected argument"));
    if console.shows("unexpected argument") {
        println!("a release build has no defect to ask for");
        return;
    }
    console.press("z");
    let (status, _) = console.wait_end();
    assert_eq!(status, 70);
    console.assert_given_back();
    assert!(console.shows("a report is in"), "{}", console.screen());
    let folder = home.path().join("state/mreg");
    let report = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(report.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(report.path()).unwrap();
    for part in ["mreg 0.", "asked for by --defect", "terminal 100x30", "last events: Drawn", "Key"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Char('z')"));
}

/// In a shell with jobs: C-z gives the shell its terminal, `fg` gives it back to the console.
#[test]
fn a_job_of_a_shell() {
    let daemon = Daemon::start();
    let url = format!("http://{}", daemon.address());
    let setup = Setup::new().program(&["bash", "--norc", "--noprofile", "-i"]).env("PS1", "shell-here$ ");
    let mut shell = setup.start();
    shell.wait_for("shell-here$");
    shell.press(&format!("\"$MREG\" --url {url} --user admin<Enter>"));
    shell.wait_for("Password");
    for _ in 0..2 {
        shell.press("<C-z>");
        shell.wait_for("Stopped");
        shell.settle();
        assert!(!shell.modes().alternate && !shell.modes().cursor_hidden);
        shell.press("fg<Enter>");
        shell.wait_for("Password");
    }
    shell.press("<C-c>");
    // Not before the shell reads again: it drops what was typed while it takes the terminal back.
    shell.wait_until("the prompt", |screen| screen.trim_end().ends_with("shell-here$"));
    shell.settle();
    shell.press("echo status-$?<Enter>");
    shell.wait_for("status-0");
    shell.press("exit<Enter>");
    shell.wait_end();
}

/// Without colours there are none, and everything is still there.
#[test]
fn without_colours() {
    let daemon = Daemon::start();
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "vt100"), ("TERM", "dumb")] {
        let mut console = signed_in(&daemon, Setup::new().env(name, value));
        console.press("j");
        console.settle();
        assert_eq!(console.colours(), Vec::<String>::new(), "{name}={value}");
        console.quit();
    }
    let console = signed_in(&daemon, Setup::new());
    assert_ne!(console.colours(), Vec::<String>::new(), "with colours there are some");
}

/// With `--ascii`, or where the locale is not UTF-8, no octet is above 0x7f.
#[test]
fn ascii_only() {
    let daemon = Daemon::start();
    for setup in [Setup::new().args(&["--ascii"]), Setup::new().env("LANG", "C")] {
        let mut console = signed_in(&daemon, setup);
        for (keys, shown) in [
            ("?", "Moving"),
            ("<Esc>", "more"),
            ("2", "FOLLOWING"),
            ("6", "Health   OK"),
            ("!", "Messages"),
            ("<Esc>", "Health   OK"),
        ] {
            console.press(keys);
            console.wait_until(shown, |screen| screen.to_uppercase().contains(&shown.to_uppercase()));
        }
        assert!(console.octets_from(0).is_ascii());
        console.quit();
    }
}

/// Any size: no end, no text outside; the console comes back when there is room.
#[test]
fn resized() {
    let daemon = Daemon::start();
    let mut console = signed_in(&daemon, Setup::new());
    for (columns, rows) in [(20, 5), (2, 2), (1, 1), (40, 12), (300, 100), (19, 4), (80, 24)] {
        console.resize(columns, rows);
        console.settle();
    }
    console.wait_for("admin admin");
    assert!(console.row(23).contains("more"), "{}", console.screen());
    console.quit();
}

/// The mouse is reported where it is asked for, and no more afterwards; `y` reaches the clipboard of the terminal.
#[test]
fn mouse_and_clipboard() {
    let daemon = Daemon::start();
    let mut console = signed_in(&daemon, Setup::new().args(&["--mouse"]));
    assert!(console.modes().mouse && console.shows("Shift selects text"));
    console.press("5");
    console.wait_for("ROLE");
    console.settle();
    let before = console.count();
    console.press("y");
    console.wait_for("sent to the terminal: admin");
    let sent = String::from_utf8_lossy(&console.octets_from(before)).into_owned();
    assert!(sent.contains("\x1b]52;c;YWRtaW4=\x07"), "{sent:?}");
    // A click on the name of a screen.
    let column = console.row(0).find("Health").unwrap() + 1;
    console.send(format!("\x1b[<0;{column};1M\x1b[<0;{column};1m").as_bytes());
    console.wait_for("[6 Health]");
    console.quit();
    assert!(!signed_in(&daemon, Setup::new()).modes().mouse);
}

/// Two daemons: the list comes first, Enter opens one, `@` the other, and nothing of the one is shown under the other's
/// name. A key of one's own works, and `--profile` goes straight there.
#[test]
fn profiles() {
    let (first, second) = (Daemon::start(), Daemon::start());
    second.user("carol", common::role::Role::Viewer);
    let config = format!(
        "[ui]\ntheme = \"dark\"\n[keys]\n\"everywhere.daemons\" = [\"&\"]\n[profiles.one]\nurl = \"http://{}\"\nuser = \
         \"admin\"\naccent = \"red\"\n[profiles.two]\nurl = \"http://{}\"\nuser = \"admin\"\nreadonly = true\n",
        first.address(),
        second.address()
    );
    let setup = Setup::new().config(&config);
    let home = setup.home();
    let mut console = setup.start();
    console.wait_for("Daemons");
    console.press("<Enter>");
    console.wait_for("Password");
    console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
    console.wait_for("admin admin");
    console.wait_for("no model yet");
    assert!(console.row(0).starts_with(" one "), "{}", console.screen());
    console.press("&");
    console.wait_for("this one");
    console.press("j<Enter>");
    console.wait_for("Password");
    assert!(!console.shows("admin admin") && console.row(0).starts_with(" two "), "{}", console.screen());
    console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
    console.wait_for("admin admin");
    console.wait_for("read-only");
    console.press("5");
    console.wait_for("carol");
    console.quit();
    let mut console = Setup::at(home.clone()).args(&["--profile", "two"]).start();
    console.wait_for("two ");
    console.press("<C-c>");
    console.wait_end();
    let listed = Setup::at(home.clone()).output(&["profiles"], "");
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 2);
    let asked = Setup::at(home).output(&["get", "models"], "");
    assert_eq!(asked.status.code(), Some(2));
}

/// A session that is kept needs no password the next time, in a file that only its owner can read, until logout.
#[test]
fn a_kept_session() {
    let daemon = Daemon::start();
    let url = format!("http://{}", daemon.address());
    let setup = Setup::new().args(&["--url", &url, "--user", ADMIN]);
    let home = setup.home();
    let mut console = setup.start();
    console.wait_for("[ ] remember");
    console.press(ADMIN_PASSWORD);
    console.press("<Tab><Space>");
    console.wait_for("[x] remember");
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.quit();
    let folder = home.path().join("runtime/mreg");
    let kept = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(kept.path()).unwrap().contains(ADMIN_PASSWORD));
    let again = || Setup::at(home.clone()).args(&["--url", &url]);
    let mut console = again().start();
    console.wait_for("admin admin");
    console.quit();
    let who = again().output(&["whoami"], "");
    assert!(String::from_utf8(who.stdout).unwrap().starts_with("admin (admin)"));
    // Somebody else who ticks the box and unticks it takes nothing of it away.
    let mut console = Setup::at(home.clone()).args(&["--url", &url, "--user", "otto"]).start();
    console.wait_for("[ ] remember");
    console.press("<Tab><Space>");
    console.wait_for("in place of admin's session");
    console.press("<Space>");
    console.wait_for("[ ] remember");
    console.press("<C-c>");
    console.wait_end();
    assert!(kept.path().exists(), "a session of another user was removed");
    // Open to others it is not believed, and the words say what helps.
    std::fs::set_permissions(kept.path(), Permissions::from_mode(0o644)).unwrap();
    let refused = again().output(&["whoami"], "");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("chmod 600"));
    std::fs::set_permissions(kept.path(), Permissions::from_mode(0o600)).unwrap();
    let token = std::fs::read_to_string(kept.path()).unwrap();
    let token = serde_json::from_str::<serde_json::Value>(&token).unwrap()["token"].as_str().unwrap().to_owned();
    daemon.client().with_token(&token).get("/me").expect(200);
    let out = again().output(&["logout"], "");
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"logged out\n"[..]));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    daemon.client().with_token(&token).get("/me").expect(401);
    let mut console = again().start();
    console.wait_for("Password");
    // And the same without a screen.
    let logged = again().output(&["login", "--user", ADMIN, "--password-stdin"], &format!("{ADMIN_PASSWORD}\n"));
    assert_eq!(logged.status.code(), Some(0), "{}", String::from_utf8_lossy(&logged.stderr));
    let listed = again().output(&["get", "models"], "");
    assert_eq!(listed.status.code(), Some(0));
    assert_eq!(again().output(&["logout"], "").status.code(), Some(0));
}

/// A broken configuration: the console says so and starts as it comes; a script is refused; every mistake has its line.
#[test]
fn a_broken_configuration() {
    let setup = Setup::new().config("[ui]\nthme = \"dark\"\nmouse = 3\n").args(&["--user", ADMIN]);
    let home = setup.home();
    let mut console = setup.start();
    console.wait_for("the configuration is not used (mreg config check, 2 mistakes): line 2");
    console.press("<C-c>");
    console.wait_end();
    let checked = Setup::at(home.clone()).output(&["config", "check"], "");
    assert_eq!(checked.status.code(), Some(2));
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(
        text.contains("line 2: \"thme\" is not known in [ui]; did you mean theme?") && text.contains("line 3: "),
        "{text}"
    );
    assert_eq!(Setup::at(home.clone()).output(&["get", "models"], "").status.code(), Some(2));
    let mut console = Setup::at(home.clone()).args(&["--profile", "prod"]).start();
    assert_eq!(console.wait_end().0, 2);
    console.assert_given_back();
    // The mistakes are what is wrong, and not that the profile is not there.
    for arguments in [&[][..], &["--plain"]] {
        let mut console = Setup::at(home.clone()).env("MREG_PROFILE", "prod").args(arguments).start();
        assert_eq!(console.wait_end().0, 2);
        assert!(console.shows("2 mistakes") && !console.shows("there is no profile"), "{}", console.screen());
    }
}

/// Who must change the password can do nothing else first, and everything afterwards.
#[test]
fn a_password_that_must_be_changed() {
    let daemon = Daemon::start();
    let (first, second) = ("a-first-password-of-hers-7", "the-one-she-chose-herself-8");
    for password in [first, second] {
        daemon.ledger().add_secret(password);
    }
    daemon.user("carol", common::role::Role::Viewer);
    daemon.admin().post("/users/carol/password", &json!({"password": first})).expect(200);
    let url = format!("http://{}", daemon.address());
    let mut console = Setup::new().args(&["--url", &url, "--user", "carol"]).start();
    console.wait_for("Password");
    console.press(&format!("{first}<Enter>"));
    console.wait_for("change the password");
    console.press("short<Enter>short<Enter>");
    console.wait_until("the daemon's refusal", |screen| screen.contains("(400 ") || screen.contains("(422 "));
    // Both new ones are typed anew; the old one is still there.
    console.press(&format!("{second}<Enter>{second}<Enter>"));
    console.wait_for("carol viewer");
    console.wait_for("no model yet");
    console.quit();
}

/// A slow line: thirty steps of a held key are drawn together, and settle soon.
#[test]
fn a_slow_line() {
    let daemon = Daemon::start();
    for number in 0..40 {
        daemon.user(&format!("user-{number:02}"), common::role::Role::Viewer);
    }
    let mut console = signed_in(&daemon, Setup::new().args(&["--slow"]).line(1_200));
    console.press("5");
    console.wait_for("user-05");
    console.settle();
    let began = Instant::now();
    for _ in 0..30 {
        console.press("j");
        std::thread::sleep(Duration::from_millis(33));
    }
    console.wait_for("31 of 41");
    println!("settled {:?} after the first key", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5) + BUSY, "{:?}", began.elapsed());
}

/// Each signal that ends the console has its status, within a second, at the dialog and signed in.
#[test]
fn ended_by_a_signal() {
    let daemon = Daemon::start();
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131), (Signal::INT, 130)] {
        let mut console = opened(&daemon, Setup::new());
        console.signal(signal);
        let (ended, took) = console.wait_end();
        assert_eq!(ended, status, "{signal:?}");
        assert!(took < END_MAX + BUSY, "{signal:?}: {took:?}");
        console.assert_given_back();
    }
}

/// When the line goes, so does the console, also where somebody had SIGHUP ignored.
#[test]
fn ended_by_a_lost_line() {
    let daemon = Daemon::start();
    let url = format!("http://{}", daemon.address());
    let deaf = format!("trap '' HUP; exec \"$MREG\" --url {url} --user admin");
    for setup in [Setup::new().args(&["--url", &url, "--user", ADMIN]), Setup::new().program(&["sh", "-c", &deaf])] {
        let mut console = setup.start();
        console.wait_for("Password");
        console.close();
        let (status, took) = console.wait_end();
        assert_eq!(status, 129);
        assert!(took < END_MAX + BUSY, "{took:?}");
    }
}

/// Suspended, the terminal is as it was; continued, all is painted again, in the size of then.
#[test]
fn suspended_and_continued() {
    let daemon = Daemon::start();
    let mut console = signed_in(&daemon, Setup::new());
    for by_key in [true, false] {
        if by_key {
            console.press("<C-z>");
        } else {
            console.signal(Signal::TSTP);
        }
        until_true("the console to stop", || console.is_stopped());
        console.settle();
        console.assert_given_back();
        console.resize(80, 24);
        console.signal(Signal::CONT);
        console.wait_for("Models");
        until_true("the terminal to be claimed", || console.is_raw() && console.modes().alternate);
        console.press("?");
        console.wait_for("Moving");
        console.press("<Esc>");
        console.wait_gone("Moving");
    }
    console.quit();
}
