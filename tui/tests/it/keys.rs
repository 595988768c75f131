//! Tables of keys and facts: what a person does, and what is true then.

use common::problem::ProblemType;
use common::role::Role;
use tui::action::{Action, Call};
use tui::config::Credential;
use tui::event::{EventKind, Size};
use tui::state::Screen;
use tui::window::ROWS_KEPT;

use crate::console::{Console, Registry, refused};

fn console() -> Console {
    Console::signed_in(80, 24, Registry::default())
}

fn selected(console: &Console) -> String {
    console.state.models.list.selected().map(|row| row.name.to_string()).unwrap_or_default()
}

/// Each movement ends at the row it should; the list is read newest first, so row n is model 1000 - n.
#[test]
fn moving_in_models() {
    for (keys, row) in [
        ("", 1),
        ("j", 2),
        ("jjk", 2),
        ("12j", 13),
        ("12jgg", 1),
        ("<PgDn>", 19),
        ("<PgDn><PgUp>", 1),
        ("<C-d>", 10),
        ("k", 1),
        ("<Down><Down><Up>", 2),
        ("123G", 123),
        ("j<Home>", 1),
    ] {
        let mut console = console();
        console.press(keys);
        assert_eq!(console.state.models.list.ordinal(), Some(row), "{keys}");
        assert!(selected(&console).ends_with(&format!("-{}", 1000 - row)), "{keys}: {}", selected(&console));
    }
}

/// The number of a screen counts for the next key at once, unless that is one that moves: nobody who types ahead acts on the
/// screen before.
#[test]
fn typed_ahead() {
    let mut console = console();
    console.press("5/bob<Enter>");
    assert_eq!((console.state.screen, console.state.users.filter.as_str()), (Screen::Users, "bob"));
    console.press("1").wait(400).press("6D");
    assert_eq!((console.state.screen, console.state.dialog.is_none()), (Screen::Health, true));
    console.press("1").wait(400).press("3j");
    assert_eq!((console.state.screen, console.state.models.list.ordinal()), (Screen::Models, Some(4)));
}

/// The end of a long list costs one request, not all of them; back at the start costs one more.
#[test]
fn the_end_is_read_backwards() {
    let mut console = console();
    console.press("G");
    assert_eq!(
        (selected(&console).as_str(), console.count("GET /models")),
        ("team-nlp/toxicity-0".replace("toxicity", "summariser").as_str(), 2)
    );
    assert_eq!(console.state.models.list.ordinal(), Some(1000));
    console.press("k");
    assert!(selected(&console).ends_with("-1"));
    console.press("gg");
    assert!(selected(&console).ends_with("-999"));
    assert_eq!(console.count("GET /models"), 3);
}

/// However far one scrolls, at most three pages are held, and what was dropped is read again on the way back.
#[test]
fn scrolling_keeps_memory_bounded() {
    let mut console = Console::signed_in(80, 24, Registry { models: 100_000, ..Registry::default() });
    for _ in 0..200 {
        console.press("<PgDn>");
        assert!(console.state.models.list.len() <= 2 * (ROWS_KEPT + 200));
    }
    let far = console.state.models.list.ordinal().unwrap();
    assert_eq!(far, 1 + 200 * 18);
    assert!(console.count("GET /models") <= 22);
    for _ in 0..200 {
        console.press("<PgUp>");
    }
    assert_eq!(console.state.models.list.ordinal(), Some(1));
    assert!(selected(&console).ends_with("-99999"));
}

/// A filter is sent after typing rests; Enter keeps it, Esc brings the old one back.
#[test]
fn filtering() {
    let mut console = console();
    console.press("/abc");
    assert_eq!(console.count("GET /models"), 1);
    console.wait(200);
    assert_eq!(console.count("GET /models"), 2);
    assert!(matches!(console.calls.last(), Some(Call::Models(query)) if query.q == "abc"));
    assert!(console.shows("1 of 100"));
    console.press("d<Enter>");
    assert_eq!(console.state.models.filter, "abcd");
    console.press("/xyz<Esc>");
    assert_eq!(console.state.models.filter, "abcd");
    console.press("<Esc>");
    assert_eq!(console.state.models.filter, "");
    // At the top Esc says so and q quits.
    console.press("<Esc>");
    assert!(console.others.is_empty());
    console.press("q");
    assert_eq!(console.others, [Action::Quit]);
}

#[test]
fn sorting() {
    let mut console = console();
    for (keys, sort) in
        [("s", "-created_at"), ("s", "name"), ("S", "-name"), ("S", "name"), ("s", "-updated_at"), ("G", "-updated_at")]
    {
        console.press(keys);
        let last = console.calls.iter().rev().find_map(|call| match call {
            Call::Models(query) => Some(query.sort.as_str()),
            _ => None,
        });
        assert_eq!(last, Some(sort), "{keys}");
    }
}

#[test]
fn a_model_and_its_versions() {
    let mut console = console();
    console.press("<Enter>");
    assert!(console.shows("prod = v52 (protected), stage = v51") && console.shows("v52"));
    console.press("jj<Enter>");
    assert!(console.shows("quarantined: looks wrong") && console.shows("pickle.present"));
    assert!(console.shows(&format!("sha256:{}", "9f2c61d0a77e10c4".repeat(4))));
    console.press("<Esc>");
    assert!(console.shows("VERSION"));
    console.press("q");
    assert!(console.state.models.open.is_none());
    // A single reading of the list in all this.
    assert_eq!(console.count("GET /models"), 1);
}

/// A digit alone goes to a screen when nothing follows; with more it is a count.
#[test]
fn digits() {
    let mut console = console();
    console.press("2");
    assert_eq!(console.state.screen, Screen::Models);
    console.wait(400);
    assert_eq!(console.state.screen, Screen::Audit);
    console.press("3j").wait(1000);
    assert_eq!(console.state.screen, Screen::Audit);
    console.press("4").wait(400).press("-");
    assert_eq!(console.state.screen, Screen::Audit);
    console.press("1<Esc>").wait(400);
    assert_eq!(console.state.screen, Screen::Audit);
}

fn audit(registry: Registry) -> Console {
    let mut console = Console::signed_in(80, 24, registry);
    console.press("2").wait(400);
    console
}

fn entry(console: &Console) -> u64 {
    console.state.audit.list.selected().unwrap().index
}

/// The newest entry is at the foot; every way through the log ends where it should.
#[test]
fn moving_in_the_log() {
    for (keys, index) in [
        ("", 9999),
        ("k", 9998),
        ("j", 9999),
        ("10k", 9989),
        ("1234G", 1234),
        ("gg", 0),
        ("ggj", 1),
        ("ggG", 9999),
        ("9990G", 9990),
        ("0G", 9999),
    ] {
        let mut console = audit(Registry::default());
        console.press(keys);
        assert_eq!(entry(&console), index, "{keys}");
    }
}

/// From the oldest entry to the newest, without a gap, an entry twice, or more requests than pages.
#[test]
fn the_whole_log_forward() {
    let mut console = audit(Registry { entries: 2_000, ..Registry::default() });
    console.press("gg");
    for index in 0..2_000 {
        assert_eq!(entry(&console), index);
        console.press("j");
    }
    assert_eq!(entry(&console), 1_999);
    assert!(console.count("GET /audit-logs") <= 12, "{}", console.count("GET /audit-logs"));
}

/// Reading the log is logged: looking at it asks for nothing by itself.
#[test]
fn an_idle_log_is_not_read() {
    let mut console = audit(Registry::default());
    let before = console.calls.len();
    console.wait(20 * 60 * 1000);
    let asked: Vec<&str> = console.calls[before..].iter().map(Call::name).collect();
    // The counts in the header are no entry.
    assert!(asked.iter().all(|name| *name == "GET /status") && asked.len() <= 20, "{asked:?}");
    console.press("<C-r>");
    assert_eq!(console.count("GET /audit-logs"), 2);
    console.registry.entries += 5;
    console.press("<C-r>");
    assert_eq!(entry(&console), 10_004);
    console.press("kk");
    console.registry.entries += 5;
    console.press("<C-r>");
    assert_eq!(entry(&console), 10_002);
}

#[test]
fn filtering_the_log() {
    let mut console = audit(Registry::default());
    console.press("/actr:eve<Enter>");
    assert!(console.shows("did you mean actor?"));
    assert_eq!(console.count("GET /audit-logs"), 1);
    console.press("<C-u>outcome:denied<Enter>");
    assert!(matches!(console.calls.last(), Some(Call::Audit(query)) if query.outcome == "denied"));
    console.press("<Esc>ka");
    assert!(matches!(console.calls.last(), Some(Call::Audit(query)) if query.actor == "svc-ci"));
}

/// Whoever has stopped at an entry stays there when only those of its actor are shown; `G` leads to the newest of them.
#[test]
fn only_this_actor_from_here() {
    let mut console = audit(Registry::default());
    let selected = |console: &Console| console.state.audit.list.selected().map(|line| line.index);
    console.press("5000G").wait(400).press("kk").wait(400);
    let (before, asked) = (selected(&console), console.count("GET /audit-logs"));
    assert_eq!(before, Some(4_998), "{}", console.screen());
    console.press("a").wait(400);
    assert_eq!((selected(&console), console.count("GET /audit-logs")), (before, asked + 1), "{}", console.screen());
    let actor = console.state.audit.list.selected().unwrap().actor().to_owned();
    assert!(console.state.audit.list.rows().all(|line| line.actor() == actor));
    console.press("G").wait(400);
    assert!(selected(&console) > Some(9_990), "{}", console.screen());
    // Whoever follows the newest ones goes on with the newest.
    let mut console = audit(Registry::default());
    console.state.audit.follow = true;
    console.press("a").wait(400);
    assert!(selected(&console) > Some(9_990), "{}", console.screen());
}

#[test]
fn an_entry_has_all_its_fields() {
    let mut console = audit(Registry::default());
    console.press("<Enter>");
    for text in ["9999  model.delete", "denied", "DELETE /models/{id} 403", "req.ip", "\"10.2.0.31\"", "data.versio"] {
        assert!(
            console.screen().replace("\n", " ").contains(text) || console.press("<PgDn>").shows(text),
            "{text}\n{}",
            console.screen()
        );
    }
    console.press("k");
    assert_eq!(entry(&console), 9998);
    console.press("o");
    assert_eq!(console.state.screen, Screen::Models);
    assert!(console.shows("team-nlp/summariser-0"));
    console.press("o");
    assert!(matches!(console.calls.last(), Some(Call::Audit(query)) if query.target.starts_with("01J3Z8")));
}

/// An entry that is not the one its hash is of is said to be so.
#[test]
fn a_changed_entry_is_noticed() {
    let mut console = audit(Registry::default());
    console.press("<Enter><PgDn><PgDn>");
    assert!(console.shows("the fields shown hash to it"), "{}", console.screen());
    let mut console = audit(Registry { tampered: true, ..Registry::default() });
    console.press("<Enter><PgDn><PgDn>");
    assert!(console.shows("NOT the hash"));
}

/// What a role may not do is said, and not tried.
#[test]
fn roles() {
    let mut console = Console::signed_in(80, 24, Registry { role: Role::Viewer, ..Registry::default() });
    let before = console.calls.len();
    // A screen opens, and says what it is and who may see it.
    for (keys, screen, what, why) in [
        ("2", Screen::Audit, "the log of all that was done", "needs audit.read (auditor or admin); you are viewer"),
        ("4", Screen::Quarantine, "versions that inspection distrusts", "needs quarantine.read (auditor or admin)"),
        ("5", Screen::Users, "who may sign in", "needs user.manage (admin)"),
        ("1", Screen::Models, "team-nlp/", "filter: none"),
        ("o", Screen::Models, "team-nlp/", "o: needs audit.read"),
    ] {
        console.press(keys).wait(400);
        assert!(console.shows(what) && console.shows(why), "{keys}: {}", console.screen());
        assert_eq!(console.state.screen, screen);
        console.wait(10_000);
    }
    assert_eq!(console.calls.len(), before);
    assert!(console.shows("(2Aud)") && console.shows("(p alias)"));
}

#[test]
fn health_is_read_while_it_is_open() {
    let mut console = console();
    console.press("6").wait(400);
    assert!(console.shows("OK with 1 WARNING") && console.shows("12 d"));
    let open = console.count("GET /status");
    console.wait(20_000);
    assert_eq!(console.count("GET /status"), open + 4);
    console.press("1").wait(60_000);
    assert!(console.count("GET /status") <= open + 6);
}

// ---- signing in -----------------------------------------------------------------------------------------------------

fn signed_out() -> Console {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.begin(Credential::Ask);
    console
}

#[test]
fn logging_in() {
    let mut console = signed_out();
    assert!(console.shows("log in") && console.shows("alice"));
    console.press("<Enter>");
    assert!(console.calls.is_empty());
    console.feed(EventKind::Paste("correct horse\nbattery".into()));
    assert!(console.calls.is_empty());
    assert!(console.shows("********") && !console.shows("*********") && !console.shows("correct"));
    assert!(!format!("{:?}", console.state).contains("correct"));
    console.press("<Enter>");
    assert!(
        matches!(&console.calls[0], Call::Login { username, password, .. } if username == "alice" && password.expose() == "correct horsebattery")
    );
    assert!(console.shows("team-nlp/") && !console.shows("log in"));
}

#[test]
fn a_wrong_password() {
    let mut console = signed_out();
    console.registry.failure = Some(refused(ProblemType::BadCredentials));
    console.press("wrong password<Enter>");
    assert!(console.shows("wrong user name or password") && !console.shows("**"));
    console.registry.failure = None;
    console.press("right password<Enter>");
    assert!(console.state.who.is_some());
    // The user's name can be corrected.
    let mut console = signed_out();
    console.press("<Tab><C-u>bob<Tab>x<Enter>");
    assert!(matches!(&console.calls[0], Call::Login { username, .. } if username == "bob"));
    console.press("<C-c>");
}

/// What was wrong with what was typed goes as soon as that is put right, in each form; why a form is there stays.
#[test]
fn what_was_wrong_goes_when_it_is_edited() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press(":change-password<Enter>old one<Enter>new one<Enter>new two<Enter>");
    assert!(console.shows("the two new passwords differ"), "{}", console.screen());
    console.press("n");
    assert!(!console.shows("differ"), "{}", console.screen());
    console.press("ew one<Enter>new two<Enter>");
    console.feed(EventKind::Paste("new one".into()));
    assert!(!console.shows("differ"), "{}", console.screen());
    console.press("<Esc><C-k>");
    console.registry.failure = Some(refused(ProblemType::BadCredentials));
    console.press("my password<Enter>");
    assert!(console.shows("this is not your password"), "{}", console.screen());
    console.press("m");
    assert!(!console.shows("this is not"), "{}", console.screen());

    let mut console = signed_out();
    console.registry.failure = Some(refused(ProblemType::BadCredentials));
    console.press("wrong password<Enter>");
    assert!(console.shows("wrong user name"));
    console.press("r");
    assert!(!console.shows("wrong user name"), "{}", console.screen());
    console.registry.failure = Some(refused(ProblemType::SecondFactorRequired));
    console.press("ight password<Enter>12");
    assert!(console.shows("a code of your authenticator is needed"), "{}", console.screen());
    console.press("3<Enter>");
    assert!(console.shows("this code is wrong"), "{}", console.screen());
    console.press("1");
    assert!(!console.shows("this code is wrong"), "{}", console.screen());
}

/// The code is asked for when the daemon does, and goes with the password that is there still.
#[test]
fn a_second_factor() {
    let mut console = signed_out();
    console.registry.failure = Some(refused(ProblemType::SecondFactorRequired));
    console.press("correct horse<Enter>");
    assert!(console.shows("Code") && console.shows("a code of your authenticator is needed"));
    console.press("<Enter>");
    assert_eq!(console.calls.len(), 1, "nothing was typed yet");
    console.press("123456<Enter>");
    assert!(console.shows("this code is wrong, or was used") && !console.shows("123456"));
    console.registry.failure = None;
    console.press("234567");
    assert!(!format!("{:?}", console.state).contains("234567"));
    console.press("<Enter>");
    let said = |call: &Call| match call {
        Call::Login { password, otp, .. } => {
            Some((password.expose().to_owned(), otp.as_ref().map(|otp| otp.expose().to_owned())))
        }
        _ => None,
    };
    let asked: Vec<_> = console.calls.iter().filter_map(said).collect();
    let with = |otp: Option<&str>| ("correct horse".to_owned(), otp.map(str::to_owned));
    assert_eq!(asked, [with(None), with(Some("123456")), with(Some("234567"))]);
    assert!(console.state.who.is_some() && console.state.login.is_none());
    // Esc leads back to the password.
    let mut console = signed_out();
    console.registry.failure = Some(refused(ProblemType::SecondFactorRequired));
    console.press("correct horse<Enter><Esc>");
    assert!(!console.shows("Code") && !console.shows("**"));
}

/// One of one's own: the secret in groups of four, then the recovery codes, which no key but Enter takes away.
#[test]
fn setting_a_second_factor_up() {
    let mut console = signed_out();
    console.press("correct horse<Enter>");
    console.press(":second factor<Enter>");
    assert!(console.shows("set up a second factor"), "{}", console.screen());
    console.press("correct horse<Enter>");
    assert!(console.shows("JBSW Y3DP EHPK 3PXP") && console.shows("otpauth://totp/mreg:alice"));
    assert!(!format!("{:?}", console.state).contains("JBSWY3DP"));
    console.press("123456<Enter>");
    assert!(console.shows("abcd-efgh-ijkl-mnop") && console.shows("qrst-uvwx-yz23-4567"));
    console.press("<Esc>x");
    assert!(console.shows("abcd-efgh-ijkl-mnop"));
    console.press("<Enter>");
    assert!(!console.shows("abcd-efgh-ijkl-mnop") && console.state.enrol.is_none());
    assert!(console.calls.iter().any(|call| matches!(call, Call::ConfirmTotp { code } if code.expose() == "123456")));
}

#[test]
fn a_password_that_must_be_changed() {
    let mut console = signed_out();
    console.registry.must_change_password = true;
    console.press("given by somebody<Enter>");
    assert!(console.shows("change the password"));
    console.press("new password 1<Enter>other<Enter>");
    assert!(console.shows("differ"));
    console.press("new password 1<Enter>new password 1<Enter>");
    assert!(console.calls.iter().any(|call| matches!(call, Call::ChangePassword { old, new }
        if old.expose() == "given by somebody" && new.expose() == "new password 1")));
    assert!(console.shows("team-nlp/") && console.shows("is changed"));
}

/// At 80 % of its life the token is refreshed, without a word; if that is refused, the dialog opens over the screen.
#[test]
fn staying_signed_in() {
    let mut console = console();
    console.wait(1_439_000);
    assert_eq!(console.count("POST /token/refresh"), 0);
    console.wait(2_000);
    assert_eq!(console.count("POST /token/refresh"), 1);
    console.registry.failure = Some(refused(ProblemType::Unauthenticated));
    console.press("jj").wait(1_500_000);
    assert!(console.shows("log in") && console.shows("the session has ended") && console.shows("alice"));
    console.registry.failure = None;
    console.press("again and again<Enter>");
    assert_eq!(console.state.models.list.ordinal(), Some(3));
    assert!(!console.shows("log in"));
}

/// A 401 in the middle: one refresh, one repetition, then the dialog; what was asked is asked again after it.
#[test]
fn a_session_that_ends() {
    let mut console = console();
    console.hold = true;
    console.press("<C-r>");
    let (id, _) = console.held.remove(0);
    let unauthenticated = || Box::new(Err(refused(ProblemType::Unauthenticated)));
    console.feed(EventKind::Reply { id, result: unauthenticated() });
    assert_eq!(console.calls.last().map(Call::name), Some("POST /token/refresh"));
    // What is pressed meanwhile waits.
    console.press("<Enter>");
    assert_eq!(console.held.len(), 1);
    console.release();
    assert_eq!(console.calls.iter().rev().take(4).map(Call::name).filter(|name| *name == "GET /models").count(), 1);
    assert!(console.state.parked.is_empty() && console.shows("VERSION"));

    console.press("q");
    console.hold = true;
    console.press("<C-r>");
    for _ in 0..2 {
        let (id, call) = console.held.remove(0);
        assert_eq!(call.name(), "GET /models");
        console.feed(EventKind::Reply { id, result: unauthenticated() });
        if !console.held.is_empty() {
            console.release();
            console.hold = true;
        }
        if console.held.is_empty() {
            break;
        }
    }
    console.release();
}

/// A token of another user's session never shows the first one's rows.
#[test]
fn another_user() {
    let mut console = console();
    console.state.who.as_mut().unwrap().username = "zed".into();
    console.registry.failure = Some(refused(ProblemType::Unauthenticated));
    console.press("<C-r>");
    assert!(console.shows("log in"));
    console.hold = true;
    console.registry.failure = None;
    console.press("password<Enter>");
    let (id, call) = console.held.remove(0);
    assert_eq!(call.name(), "POST /login");
    let before = console.state.models.list.len();
    assert!(before > 0);
    let session = common::client::Session {
        expires_in_seconds: 1800,
        username: "alice".parse().unwrap(),
        role: Role::Admin.into(),
        must_change_password: false,
        must_enrol_totp: false,
    };
    let reply = common::client::Reply { body: session, request_id: String::new(), log_index: None, etag: None };
    console.feed(EventKind::Reply { id, result: Box::new(Ok(tui::action::Answer::Session(reply))) });
    assert_eq!(console.state.models.list.len(), 0);
}

/// Nobody there: the rows stay, marked; one request per wish, and it recovers.
#[test]
fn offline() {
    let mut console = console();
    console.registry.failure =
        Some(common::client::ClientError::Offline { address: "127.0.0.1:8000".into(), cause: "refused".into() });
    console.press("<C-r>");
    assert!(console.shows("OFFLINE") && console.shows("STALE since 12:03:11") && console.shows("error: can't reach"));
    assert!(console.shows("team-nlp/"));
    let before = console.count("GET /models");
    console.wait(60_000);
    assert_eq!(console.count("GET /models"), before);
    console.registry.failure = None;
    console.press("<C-r>");
    assert!(console.shows("online") && console.shows("as of 12:04:11"));
    assert!(console.shows("!1"));
    console.press("!");
    assert!(console.shows("GET /models") && !console.shows("!1"));
}

/// The first answers fail: the console says so and C-r is all it takes.
#[test]
fn offline_from_the_start() {
    let failure = Some(common::client::ClientError::Timeout { address: "h:1".into(), seconds: 10 });
    let mut console = Console::signed_in(80, 24, Registry { failure, ..Registry::default() });
    assert!(console.shows("not signed in; C-r tries again"));
    console.registry.failure = None;
    console.press("<C-r>");
    assert!(console.shows("team-nlp/"));
}

/// A reply nobody waits for any more changes nothing.
#[test]
fn late_replies() {
    let mut console = console();
    console.hold = true;
    console.press("s");
    let late = console.held.clone();
    console.press("s");
    console.release();
    let before = console.screen();
    for (id, _) in late {
        console.feed(EventKind::Reply { id, result: Box::new(Err(refused(ProblemType::Internal))) });
    }
    assert_eq!(console.screen(), before);
}

#[test]
fn help_and_overlays() {
    let mut console = console();
    console.press("?");
    assert!(console.shows("Keys") && console.shows("words of name or description"));
    console.press("G?");
    assert!(console.shows("NAME"));
    console.press("<C-z><C-l>");
    assert_eq!(console.others, [Action::Suspend, Action::Repaint]);
}

// ---- queue and quarantine -------------------------------------------------------------------------------------------

fn queue(registry: Registry) -> Console {
    let mut console = Console::signed_in(80, 24, registry);
    console.press("3").wait(400);
    console
}

/// The drop folder is read every five seconds while it is open and somebody looks; not on another screen, not unfocused,
/// and not by the clock where a reading is an entry of the log.
#[test]
fn the_queue_is_read_while_it_is_open() {
    let mut console = queue(Registry::default());
    let open = console.count("GET /ingest");
    console.wait(20_000);
    assert_eq!(console.count("GET /ingest"), open + 4);
    console.feed(EventKind::Focus(false));
    console.wait(60_000);
    assert_eq!(console.count("GET /ingest"), open + 4);
    console.feed(EventKind::Focus(true));
    assert_eq!(console.count("GET /ingest"), open + 5);
    console.press("1").wait(60_000);
    assert_eq!(console.count("GET /ingest"), open + 5);
    console.press("3").wait(400);
    assert_eq!(console.count("GET /ingest"), open + 6);
    console.press("1").wait(400).press("-");
    assert_eq!(console.count("GET /ingest"), open + 7, "it is read at once on the way back");

    let mut console = queue(Registry { audited: true, ..Registry::default() });
    let open = console.count("GET /ingest");
    console.wait(60_000);
    assert_eq!((open, console.count("GET /ingest")), (1, 1));
    assert!(console.shows("NOT LIVE: C-r reads"));
    console.press("<C-r>");
    assert_eq!(console.count("GET /ingest"), 2);
}

/// A reading that fails leaves the rows, marked, says why once, and the next that succeeds takes the mark away.
#[test]
fn the_queue_recovers() {
    let mut console = queue(Registry::default());
    console.press("jj");
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.wait(16_000);
    assert!(console.shows("STALE since 12:03:11") && console.shows("rerank-6.onnx"));
    assert_eq!(console.state.unread, 1);
    console.registry.failure = None;
    console.wait(5_000);
    assert!(console.shows("as of 12:03:3") && !console.shows("STALE"));
    assert_eq!(console.state.queue.list.selected().unwrap().path, "rerank-6.onnx");
}

/// A filter is part of the path and states; a state that is none is refused with those there are.
#[test]
fn filtering_the_queue() {
    let mut console = queue(Registry::default());
    console.press("/state:fail");
    console.wait(200);
    assert_eq!(console.state.queue.filter, "", "what is no filter is not sent");
    console.press("<Enter>");
    assert!(console.shows("a state is one of seen, waiting"));
    console.press("ed<Enter>");
    let Some(Call::Ingest(query)) = console.calls.last() else { panic!("{:?}", console.calls.last()) };
    assert_eq!(query.states, [common::api::IngestState::Failed]);
    assert!(console.shows("filter: state:failed") && console.shows("lang-id-3") && !console.shows("rerank"));
    console.press("<Esc>");
    assert!(console.shows("rerank"));
    console.press("/nothing-like-it<Enter>");
    assert!(console.shows("nothing matches the filter"));
}

/// `o` opens the version an item came to, and says so where it came to none.
#[test]
fn from_an_item_to_its_version() {
    let mut console = queue(Registry::default());
    console.press("o");
    assert!(console.shows("asr-large-9.safetensors has not come to a version"));
    console.press("4jo");
    assert_eq!(console.state.screen, Screen::Models);
    assert!(console.shows("version 50"), "{}", console.screen());
    console.press("-");
    assert_eq!(console.state.screen, Screen::Queue);
}

/// The header counts what wants attention, by the newest answer there is; nobody's counts are shown to another.
#[test]
fn counts_in_the_header() {
    let mut console = Console::signed_in(120, 30, Registry::default());
    assert!(console.shows("3 Queue:4") && console.shows("4 Quar:4"));
    assert_eq!(console.count("GET /status"), 1);
    console.registry.quiet = true;
    console.press("3").wait(400);
    assert!(console.shows("[3 Queue] 4 Quar:4"));
    console.wait(60_000);
    assert!(console.shows("4 Quar 5 Users"));
    assert_eq!(console.count("GET /status"), 2);
    console.feed(EventKind::Focus(false));
    console.wait(600_000);
    assert_eq!(console.count("GET /status"), 2, "nobody looks");
}

/// What belongs to a held version is read when the selection has rested, once, and not for those that were passed.
#[test]
fn held_versions_are_read_at_rest() {
    let mut console = Console::signed_in(120, 40, Registry::default());
    console.press("4").wait(1_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 1);
    console.press("jjj").wait(119);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 1);
    console.wait(1_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 2);
    console.wait(60_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 2);
    assert_eq!(console.count("GET /quarantine"), 1, "listing may be an entry: nothing is read by the clock");
    // On a small screen nothing is read about it before it is opened.
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("4").wait(400).press("j").wait(1_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 0);
    console.press("<Enter>").wait(1_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}"), 1);
    assert!(console.shows("NEIGHBOURS") && console.shows("team-nlp/asr-large:50"));
    console.press("<Esc>o");
    assert_eq!(console.state.screen, Screen::Models);
    assert!(console.shows("version 50"));
}

/// What goes wrong in reading about the selected one is said in its pane; the gravest findings of the list stay.
#[test]
fn a_held_version_that_cannot_be_read() {
    let mut console = Console::signed_in(120, 40, Registry::default());
    console.press("4").wait(1_000);
    console.press("j");
    console.registry.failure = Some(refused(ProblemType::NotFound));
    console.wait(1_000);
    assert!(console.shows("not read") && console.shows("pickle.dangerous_global"), "{}", console.screen());
}

/// `b` goes between what waits and what was blocked; a count that has changed since is told.
#[test]
fn blocked_and_changed() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("4").wait(400).press("b");
    assert!(console.shows("1 of 1 blocked for good"));
    console.press("<Enter>").wait(200);
    assert!(console.shows("BLOCKED for good by alice") || console.press("<PgDn>").shows("BLOCKED for good by alice"));
    console.press("<Esc>b");
    assert!(console.shows("1 of 4 held") && !console.shows("CHANGED"));
    console.registry.quiet = true;
    console.wait(61_000);
    assert!(console.shows("CHANGED (C-r)") && console.shows("asr-large"));
    console.press("<C-r>");
    assert!(console.shows("nothing is held") && !console.shows("CHANGED"));
}

/// Health says since when a check is as it is, once it has seen it change.
#[test]
fn since_when() {
    let mut console = Console::signed_in(120, 40, Registry::default());
    console.press("6").wait(1_000);
    let line = |console: &Console, name: &str| {
        console
            .screen()
            .lines()
            .find(|line| line.trim_start_matches(['▌', ' ']).starts_with(name))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line(&console, "scrub").contains("ok") && line(&console, "scrub").ends_with("0 damaged"));
    console.registry.troubled = true;
    console.wait(5_000);
    assert!(line(&console, "scrub").contains("FAIL") && line(&console, "scrub").ends_with("12:03:16"));
    assert!(line(&console, "disk").contains("FAIL  blobs can't be reached"));
    console.wait(20_000);
    assert!(line(&console, "scrub").ends_with("12:03:16"));
    assert!(!line(&console, "records").contains("12:03"));
    console.press("y");
    let Some(Action::Copy(report)) = console.others.last() else { panic!("nothing copied") };
    assert!(report.contains("disk         FAIL  blobs can't be reached"), "{report}");
}
