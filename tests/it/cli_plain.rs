//! The console a line at a time, in a real terminal: what it asks and says, that it sends no escape sequence whatever the
//! terminal is, and that the terminal is as it was found, however it ends.

use std::time::Duration;

use common::role::Role;
use rustix::process::Signal;
use rustix::termios::LocalModes;
use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::pty::{Console, Setup};
use tests::tamper::{Proxy, Tamper};
use tests::wait;

/// How soon a signal ends it, and what a busy machine adds.
const END_MAX: Duration = Duration::from_secs(5);

fn opened(url: &str, setup: Setup) -> Console {
    let mut console = setup.args(&["--plain", "--url", url, "--user", ADMIN]).start();
    console.wait_for("password of admin");
    console
}

fn signed_in(url: &str, setup: Setup) -> Console {
    let mut console = opened(url, setup);
    console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
    console.wait_for("signed in as admin (admin)");
    console.wait_until("the prompt", |screen| screen.trim_end().ends_with('>'));
    console
}

fn url(daemon: &Daemon) -> String {
    format!("http://{}", daemon.address())
}

/// No escape sequence, and nothing that was typed in silence.
fn assert_plain(console: &Console) {
    let octets = console.octets_from(0);
    let text = String::from_utf8_lossy(&octets).into_owned();
    assert!(!octets.contains(&0x1b), "{text:?}");
    assert!(!text.contains(ADMIN_PASSWORD), "a password was shown");
}

fn quit(mut console: Console) {
    console.press("quit<Enter>");
    assert_eq!(console.wait_end().0, 0);
    assert_plain(&console);
    console.assert_given_back();
}

/// Signing in, lists with numbers, a closer look, more; on terminals that can do nothing.
#[test]
fn lists_and_looks() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for number in 0..23 {
        admin.upload(&format!("team/m{number:02}"), "config.json", format!("{{\"n\": {number}}}").as_bytes());
    }
    let setup = Setup::new().size(120, 60).env("TERM", "dumb").env("LANG", "C");
    let file = setup.home().path().join("out.csv").display().to_string();
    let mut console = signed_in(&url(&daemon), setup);
    console.press("models team<Enter>");
    console.wait_for("20 of 23; more goes on");
    assert!(console.shows("   1  team/m00") && console.shows("  20  team/m19"), "{}", console.screen());
    console.press("more<Enter>");
    console.wait_for("23 of 23, that is all");
    console.press("22<Enter>");
    console.wait_for("model        team/m21");
    console.press("versions #2<Enter>");
    console.wait_for("     v1  available");
    console.press("models alais:x<Enter>");
    console.wait_for("did you mean alias?");
    console.press("models m2 \"eam/m\" -state:deleted<Enter>");
    console.wait_for("3 of 3, that is all");
    console.press(&format!("export csv {file} --raw<Enter>check<Enter>"));
    console.wait_for("check of the whole log: begun");
    console.press("nonsense<Enter>");
    console.wait_for("nonsense is no command");
    console.press("goto today<Enter>");
    console.wait_for("leaf         ");
    console.press("goto whenever<Enter>");
    console.wait_for("an index, or a time: whenever");
    console.press("set time local<Enter>set nonsense on<Enter>");
    console.wait_for("nonsense is no setting");
    for told in ["3 rows in ", "are what was signed"] {
        jobs_until(&mut console, told);
    }
    assert!(console.shows("entries of "), "{}", console.screen());
    console.press("health<Enter>");
    console.wait_for("audit log");
    console.press("do<Enter>");
    console.wait_for("delete-user USER...");
    console.wait_for("0: done at once; 1: y does it;");
    console.press("audit action:model.upload<Enter>");
    console.wait_for("model.upload");
    console.press("help<Enter>");
    console.wait_for("Changes; do says which of them ask before they are done:");
    console.press("change-password<Enter>");
    console.wait_for("password so far:");
    console.press("<Enter>");
    console.wait_for("the password stays as it is");
    assert!(console.octets_from(0).is_ascii(), "the locale is not UTF-8");
    quit(console);
}

/// Asks for the jobs until that is said. What ends while nobody types is told before the next prompt.
fn jobs_until(console: &mut Console, told: &str) {
    wait::until_true(told, || {
        let before = console.count();
        console.press("jobs<Enter>");
        wait::until_true("a prompt", || console.count() > before && console.screen().trim_end().ends_with('>'));
        console.shows(told)
    });
}

/// On a terminal of 80 columns a row of the log says when, who, what, whether it was allowed and what it is about. A number is of
/// the list printed last: a command that takes other rows says so, and of a text it makes nothing.
#[test]
fn rows_and_their_numbers() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for name in ["fraud/toxicity-0283", "fraud/toxicity-0284"] {
        admin.upload(name, "config.json", b"{}");
    }
    daemon.user("eve", Role::Viewer);
    let mut console = signed_in(&url(&daemon), Setup::new().size(80, 60));
    console.press("open #1<Enter>");
    console.wait_for("#1 is row 1 of the list printed last, and none");
    console.press("audit action:model.upload<Enter>");
    console.wait_for("2 of 2, that is all");
    let screen = console.screen();
    let row = screen.lines().find(|line| line.contains("toxicity-0283")).unwrap();
    assert_eq!(row.get(22..), Some("admin     model.upload    ok      fraud/toxicity-0283 v1"), "{screen}");
    console.press("open #1<Enter>");
    console.wait_for("#1 is a row of entries, the list printed last; open takes one of models");
    console.press("models<Enter>");
    console.wait_for("   2  fraud/toxicity-0284");
    console.press("open #2<Enter>");
    console.wait_for("model        fraud/toxicity-0284");
    console.press("users<Enter>");
    console.wait_for("   2  eve");
    console.press("delete #2<Enter>");
    console.wait_for("#2 is a row of users, the list printed last; delete takes one of models");
    console.press("lock #3<Enter>");
    console.wait_for("there is no row 3: users, the list printed last, has 1 to 2");
    console.press("audit #2<Enter>");
    console.wait_for("eve       auth.login      ok      user eve");
    console.press("quarantine<Enter>");
    console.wait_for("nothing fits");
    console.press("#1<Enter>");
    console.wait_for("there is no row 1: quarantine, the list printed last, has none");
    console.press("models<Enter>");
    console.wait_until("the list again", |screen| screen.matches("   2  fraud/toxicity-0284").count() == 2);
    console.press("#1<Enter>");
    console.wait_for("model        fraud/toxicity-0283");
    console.press("add-token admin #2<Enter>");
    console.wait_for("API token, shown this once:");
    assert_eq!(admin.value("/tokens")["items"][0]["label"], "#2");
    quit(console);
}

/// A change is asked about in words and done by its name; another answer does nothing; it is taken back.
#[test]
fn changes() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/router", "config.json", b"{}");
    daemon.user("eve", Role::Viewer);
    let state = || admin.get("/models/team%2Frouter").expect(200).json()["state"].clone();
    let mut console = signed_in(&url(&daemon), Setup::new().size(120, 60));
    console.press("delete team/router<Enter>");
    console.wait_for("1 version is no longer handed out");
    console.wait_for("type the name team/router to do it:");
    console.press("team/route<Enter>");
    console.wait_for("nothing was done");
    assert_eq!(state(), json!("available"));
    console.press("models<Enter>");
    console.wait_for("1 of 1, that is all");
    console.press("delete #1<Enter>");
    console
        .wait_until("the second question", |screen| screen.matches("type the name team/router to do it:").count() == 2);
    console.press("team/router<Enter>");
    console.wait_for("deleted team/router, logged as ");
    console.wait_for("undo takes it back");
    assert_eq!(state(), json!("deleted"));
    console.press("undo<Enter>");
    console.wait_for("undone: restored team/router");
    assert_eq!(state(), json!("available"));
    console.press("deprecate team/router:1<Enter>");
    console.wait_for("reason (the log keeps it):");
    console.press("too old<Enter>");
    console.wait_for("y does it, anything else does not:");
    console.press("y<Enter>");
    console.wait_for("deprecated team/router:1, logged as ");
    console.press("edit team/router<Enter>");
    console.wait_for("description (empty: as it is):");
    console.press("routes requests<Enter>");
    console.wait_for("all tags");
    console.press("lang=de<Enter>");
    console.wait_for("team/router edited");
    let model = admin.get("/models/team%2Frouter").expect(200).json();
    assert_eq!((&model["description"], &model["tags"]), (&json!("routes requests"), &json!({"lang": "de"})));
    // C-c leaves the question, not the console.
    console.press("lock eve<Enter>");
    console.wait_for("session ends at once");
    console.press("<C-c>");
    console.wait_until("the prompt", |screen| screen.trim_end().ends_with('>'));
    assert_eq!(admin.get("/users/eve").expect(200).json()["disabled"], false);
    quit(console);
}

/// The log as it grows until Enter; a log that is not what it was is told at once, in capitals.
#[test]
fn tail_and_alarm() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let proxy = Proxy::start(daemon.address());
    let key = daemon.ledger().vkey().to_string();
    let mut console = signed_in(&proxy.url(), Setup::new().size(140, 60).args(&["--log-key", &key]));
    console.press("tail action:model.update<Enter>");
    console.wait_for("new entries follow");
    let entry = || drop(admin.patch("/models/nothing", &json!({"description": "x"})).problem("not-found"));
    entry();
    // Once as the filter, and once as the entry.
    console.wait_until("the entry", |screen| screen.matches("model.update").count() >= 2);
    console.press("<Enter>");
    console.wait_until("the prompt", |screen| screen.trim_end().ends_with('>'));
    console.press("tail<Enter>");
    console.wait_until("another tail", |screen| screen.matches("new entries follow").count() == 2);
    console.press("<C-c>");
    console.wait_until("the prompt", |screen| screen.trim_end().ends_with('>'));
    proxy.set(Tamper::Leaf);
    entry();
    // Nobody asked: it is said all the same.
    console.wait_for("***** VERIFICATION OF THE AUDIT LOG FAILED *****");
    console.wait_for("the evidence is in");
    proxy.set(Tamper::Nothing);
    console.press("verification<Enter>");
    console.wait_for("PINNED");
    console.press("audit acknowledge it was the test<Enter>");
    console.wait_for("acknowledged: ");
    quit(console);
}

/// Two daemons: which is asked by number, another is opened by name; the session is ended and begun anew.
#[test]
fn profiles_and_sessions() {
    let (one, two) = (Daemon::start(), Daemon::start());
    let config = format!(
        "[profiles.one]\nurl = \"{}\"\nuser = \"admin\"\n[profiles.two]\nurl = \"{}\"\nuser = \"admin\"\nreadonly = true\n",
        url(&one),
        url(&two)
    );
    let mut console = Setup::new().size(120, 60).config(&config).args(&["--plain"]).start();
    console.wait_for("number or name:");
    console.press("1<Enter>");
    let sign_in = |console: &mut Console, times: usize| {
        console.wait_until("the question", |screen| screen.matches("password of admin").count() >= times);
        console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
        console.wait_until("a session", |screen| screen.matches("signed in as admin (admin)").count() >= times);
        console.wait_until("the prompt", |screen| screen.trim_end().ends_with('>'));
    };
    sign_in(&mut console, 1);
    assert!(console.shows("one>"), "{}", console.screen());
    console.press("profile two<Enter>");
    sign_in(&mut console, 2);
    assert!(console.shows("two (read-only)>"), "{}", console.screen());
    console.press("delete x<Enter>");
    console.wait_for("this profile is read-only");
    console.press("profile three<Enter>");
    console.wait_for("there is no profile \"three\"");
    console.press("logout<Enter>");
    console.wait_for("logged out");
    console.wait_for("user (admin):");
    console.press("<Enter>");
    console.wait_for("password:");
    console.press("wrong-password-9<Enter>");
    console.wait_for("wrong user name or password");
    console.wait_until("the question", |screen| screen.matches("password of admin").count() == 3);
    console.press("<Enter>");
    console.wait_until("the name", |screen| screen.matches("user (admin):").count() == 2);
    console.press("<C-c>");
    assert_eq!(console.wait_end().0, 130);
    assert_plain(&console);
    console.assert_given_back();
}

/// However it ends, also in the middle of a password, the terminal shows again what is typed.
#[test]
fn ended_by_signals_and_lost_lines() {
    let daemon = Daemon::start();
    for at_password in [false, true] {
        for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
            let mut console = if at_password {
                opened(&url(&daemon), Setup::new())
            } else {
                let mut console = Setup::new().args(&["--plain", "--url", &url(&daemon)]).start();
                console.wait_for("user:");
                console
            };
            assert_eq!(console.local_modes().contains(LocalModes::ECHO), !at_password);
            assert!(console.local_modes().contains(LocalModes::ICANON | LocalModes::ISIG));
            console.signal(signal);
            let (ended, took) = console.wait_end();
            assert_eq!(ended, status, "{signal:?}");
            assert!(took < END_MAX, "{took:?}");
            assert!(console.local_modes().contains(LocalModes::ECHO), "{signal:?}");
            assert_plain(&console);
        }
    }
    let mut console = opened(&url(&daemon), Setup::new());
    console.close();
    assert_eq!(console.wait_end().0, 129);
    let mut console = opened(&url(&daemon), Setup::new());
    console.press("<C-d>");
    assert_eq!(console.wait_end().0, 0);
}

/// Over a pipe it says what is for pipes.
#[test]
fn not_over_a_pipe() {
    let output = Setup::new().output(&["--plain", "--url", "http://127.0.0.1:9"], "");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("mreg get") && told.contains("mreg do"), "{told}");
}
