//! The real console in a terminal, against the real daemon: it comes up, works, and gives the terminal back whatever ends
//! it.

use std::time::Duration;

use rustix::process::Signal;
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
    console.wait_for("Everywhere");
    console.press("<Esc>");
    console.wait_gone("Everywhere");
    assert!(console.is_raw() && console.modes().alternate);
    console.quit();
    assert_eq!(console.queries(), Vec::<String>::new());
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
    let mut console = opened(&daemon, Setup::new());
    console.close();
    let (status, took) = console.wait_end();
    assert_eq!(status, 129);
    assert!(took < END_MAX + BUSY, "{took:?}");
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
        console.wait_for("Everywhere");
        console.press("<Esc>");
        console.wait_gone("Everywhere");
    }
    console.quit();
}
