//! Deeds from the real console against the real daemon: what is done is done there, is logged, and is taken back; what
//! somebody else was first with is not overwritten; files go and come whole.

use common::role::Role;
use rustix::process::Signal;
use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::pty::{Console, Setup};

fn signed_in(daemon: &Daemon, setup: Setup) -> Console {
    let url = format!("http://{}", daemon.address());
    let mut console = setup.args(&["--url", &url, "--user", ADMIN]).start();
    console.wait_for("Password");
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.settle();
    console
}

/// A model is deleted by its name and comes back with `u`; a change that came between is told, with who made it.
#[test]
fn deleted_and_back() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/router", "config.json", b"{\"labels\": 1}");
    let mut console = signed_in(&daemon, Setup::new());
    console.wait_for("team/router");
    let state = || admin.get("/models/team%2Frouter").expect(200).json()["state"].clone();
    console.press("D");
    console.wait_for("Type the name");
    console.wait_for("1 version is no longer");
    console.settle();
    console.press("team/router<Enter>");
    console.wait_for("u undo (8 s)");
    assert_eq!(state(), json!("deleted"));
    console.press("u");
    console.wait_for("undone: restored team/router");
    assert_eq!(state(), json!("available"));

    // Somebody is faster while the question is open.
    console.press("D");
    console.wait_for("1 version is no longer");
    console.settle();
    admin.patch("/models/team%2Frouter", &json!({"description": "mine"})).expect(200);
    console.press("team/router<Enter>");
    console.wait_for("nothing was overwritten");
    assert!(console.shows("changed by admin") && console.shows("mine"), "{}", console.screen());
    assert_eq!(state(), json!("available"));
    console.quit();
}

/// Whoever signs in again in the same console does what they do, not what somebody did before: no change is taken for the
/// repetition of another one, and no one-time password is made twice.
#[test]
fn after_another_session() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/router", "config.json", b"{}");
    for name in ["dave", "erin"] {
        daemon.user(name, Role::Viewer);
    }
    let mut console = signed_in(&daemon, Setup::new());
    let mut passwords = Vec::new();
    for (user, down) in [("dave", "j"), ("erin", "jj")] {
        console.press("1");
        console.wait_for("▌ team/router");
        console.press("D");
        console.wait_for("1 version is no longer");
        console.settle();
        console.press("team/router<Enter>");
        console.wait_for("u undo (8 s)");
        assert_eq!(admin.get("/models/team%2Frouter").expect(200).json()["state"], json!("deleted"));
        console.press("u");
        console.wait_for("undone: restored team/router");
        assert_eq!(admin.get("/models/team%2Frouter").expect(200).json()["state"], json!("available"));
        console.press("5");
        console.wait_for(user);
        console.settle();
        console.press(&format!("gg{down}P"));
        console.wait_for("y does it");
        console.settle();
        console.press("y");
        console.wait_for("It is not shown again");
        let password = one_time(&console.screen());
        daemon.ledger().add_secret(&password);
        daemon.client().post("/login", &json!({"username": user, "password": password})).expect(200);
        passwords.push(password);
        console.press("<Esc>");
        console.wait_gone("It is not shown again");
        console.press(":logout<Enter>");
        console.wait_for("logged out");
        console.press("<Enter>");
        console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
        console.wait_for("admin admin");
        console.settle();
    }
    assert_ne!(passwords[0], passwords[1]);
    console.quit();
}

/// The one-time password that is shown.
fn one_time(screen: &str) -> String {
    screen.split_whitespace().find(|word| word.len() == 23 && word.matches('-').count() == 3).unwrap().to_owned()
}

/// A daemon stands still while it is asked to delete: that it isn't known is said, and in the end what is true.
#[test]
fn by_a_daemon_that_stands_still() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/router", "config.json", b"{}");
    let mut console = signed_in(&daemon, Setup::new());
    console.wait_for("▌ team/router");
    console.press("D");
    console.wait_for("1 version is no longer");
    console.settle();
    daemon.signal(Signal::STOP);
    console.press("team/router<Enter>");
    console.wait_for("not known whether it happened");
    daemon.signal(Signal::CONT);
    console.wait_for("deleted team/router");
    assert_eq!(admin.get("/models/team%2Frouter").expect(200).json()["state"], json!("deleted"));
    let entries = admin.value("/audit-logs?action=model.delete&outcome=ok");
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    console.quit();
}

/// A file goes up, comes down again, and a download that was cut goes on where it ended; nothing is overwritten.
#[test]
fn files() {
    let daemon = Daemon::start();
    let setup = Setup::new();
    let home = setup.home();
    let octets: Vec<u8> = (0..200_000u32).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    std::fs::write(home.path().join("notes.txt"), &octets).unwrap();
    let mut console = signed_in(&daemon, setup);
    console.press(":upload notes.txt team/notes<Enter>");
    console.wait_for("team/notes v1");
    // The list is read again after it: there is nothing to be opened before its row is there.
    console.wait_for("▌ team/notes");
    console.press("gg<Enter>");
    console.wait_for("VERSION");
    console.wait_for("v1");
    console.settle();
    console.press(":download notes.txt<Enter>");
    console.wait_for("is there already");
    std::fs::remove_file(home.path().join("notes.txt")).unwrap();
    std::fs::write(home.path().join("notes.txt.part"), &octets[..1_000_000]).unwrap();
    console.press(":download notes.txt<Enter>");
    console.wait_for("gone on at 1000000, digest checked");
    assert_eq!(std::fs::read(home.path().join("notes.txt")).unwrap(), octets);
    assert!(!home.path().join("notes.txt.part").exists());
    console.press("<Esc>");
    console.wait_gone("VERSION");
    console.press(":export csv all out.csv<Enter>");
    console.wait_for("1 row in out.csv");
    assert!(std::fs::read_to_string(home.path().join("out.csv")).unwrap().contains("team/notes"));
    console.quit();
}

/// A one-time password from the console opens the door once, and must be changed.
#[test]
fn one_time_password() {
    let daemon = Daemon::start();
    daemon.user("carol", Role::Viewer);
    let mut console = signed_in(&daemon, Setup::new());
    console.press("5");
    console.wait_for("carol");
    console.settle();
    console.press("jP");
    console.wait_for("y does it");
    console.settle();
    console.press("y");
    console.wait_for("It is not shown again");
    let password = one_time(&console.screen());
    daemon.ledger().add_secret(&password);
    let session =
        daemon.client().post("/login", &json!({"username": "carol", "password": password})).expect(200).json();
    assert_eq!(session["must_change_password"], json!(true));
    console.press("<Esc>");
    console.wait_gone("It is not shown again");
    assert!(!console.shows(&password));
    console.quit();
}

/// What is held is looked at down to its octets, which is an entry; a note of it is kept; and the daemon's word on a user has
/// who gave the role.
#[test]
fn held_and_noted() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("team/bad", "opt.pkl", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00idq\x00\x85R.");
    daemon.user("carol", Role::Viewer);
    let mut console = signed_in(&daemon, Setup::new());
    console.press("4");
    console.wait_for("team/bad:1");
    console.wait_for("calls posix.system");
    console.press("<Enter>");
    console.press("<Tab><Enter>");
    console.wait_for("|..cposix.system");
    console.press("n");
    console.wait_for("note:");
    console.press("asked dave<Enter>");
    console.wait_for("noted of team/bad:1");
    // The page is read again with the note in it.
    console.settle();
    console.press("G");
    console.wait_for("admin: asked dave");
    console.wait_for("by admin: 0 handed out, 1 held");
    // Escape and a key at once would be one key.
    console.press("<Esc>");
    console.wait_for("VERSION ");
    console.press("5");
    console.wait_for("carol");
    console.settle();
    console.press("j<Enter>");
    console.wait_for("given by admin (entry");
    console.press("6");
    console.wait_for("within 1 s of this terminal");
    console.wait_for("LOG of the daemon");
    console.press(":logout<Enter>");
    console.wait_for("logged out");
    console.press("<C-c>");
    assert_eq!(console.wait_end().0, 0);
    let log = daemon.log();
    assert_eq!(log.of("model.examine").len(), 1, "the octets were read once, when they were asked for");
    assert_eq!(log.of("model.note")[0]["data"]["text"], "asked dave");
}
