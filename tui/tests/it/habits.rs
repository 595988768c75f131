//! What is the same on every screen: the way back, who may do what, filters, what is copied, messages; and the login dialog with
//! its ways out.

use common::client::ClientError;
use common::problem::ProblemType;
use common::role::Role;
use tui::action::{Action, Call, LogCall};
use tui::config::Credential;
use tui::event::{EventKind, Gesture, Mouse, Size};
use tui::state::deeds::Object;
use tui::state::{Level, Overlay, ProfileRow, Screen};

use crate::console::{Console, Registry, refused};

fn console() -> Console {
    let mut console = Console::signed_in(100, 30, Registry::default());
    console.wait(200);
    console
}

fn message(console: &Console) -> String {
    console.state.message.as_ref().map(|note| note.text.clone()).unwrap_or_default()
}

/// From what was opened by another screen, `[` leads back, as from a screen that was chosen by its number.
#[test]
fn the_way_back() {
    let mut console = console();
    console.press("o").wait(400);
    assert_eq!(console.state.screen, Screen::Audit);
    console.press("[").wait(400);
    assert_eq!(console.state.screen, Screen::Models);
    console.press("6").wait(400).press(":open team-nlp/ner-multi-998<Enter>").wait(400);
    assert_eq!((console.state.screen, console.state.models.open.is_some()), (Screen::Models, true));
    console.press("[");
    assert_eq!(console.state.screen, Screen::Health);
    console.press("]");
    assert_eq!(console.state.screen, Screen::Models);
}

/// Out of a model that was opened by its name or from elsewhere, the list goes on there, if it has it.
#[test]
fn the_way_back_to_the_row() {
    let selected = |console: &Console| console.state.models.list.selected().unwrap().name.to_string();
    for (keys, back) in [("", "h"), ("6", "<Esc>"), ("<Enter>", "1")] {
        let mut console = console();
        let first = selected(&console);
        let other = console.state.models.list.rows().nth(7).unwrap().name.to_string();
        console.press(keys).wait(400);
        console.press(&format!(":open {other}<Enter>")).wait(400).press(back).wait(400);
        assert_eq!((selected(&console), console.state.models.open.is_none()), (other.clone(), true), "{keys}");
        // What the list doesn't have leaves it where it was.
        console.press("gg:open team-else/where<Enter>").wait(400).press("h").wait(400);
        assert_eq!(selected(&console), first);
    }
}

/// What may be done is asked about when the token is made fresh, and once after any refusal.
#[test]
fn who_is_asked() {
    let mut console = console();
    let before = console.count("GET /me");
    console.wait(1_441_000);
    assert_eq!((console.count("POST /token/refresh"), console.count("GET /me")), (1, before + 1));
    for keys in ["<C-r>", "e", "<Enter>"] {
        let before = console.count("GET /me");
        console.hold = true;
        console.press(keys);
        let (id, call) = console.held.remove(0);
        console.hold = false;
        console.feed(EventKind::Reply { id, result: Box::new(Err(refused(ProblemType::Forbidden))) });
        assert_eq!(console.count("GET /me"), before + 1, "{keys}: {}", call.name());
        console.release().press("<Esc><Esc>").wait(400);
    }
}

/// What is typed narrows every list but the log as soon as typing rests; half a field is waited for.
#[test]
fn filters_while_typing() {
    let mut console = console();
    for (screen, keys, name) in [("5", "/al -role:vie", "GET /users"), ("4", "/asr -verdict:cle", "GET /quarantine")] {
        console.press(screen).wait(400);
        let before = console.count(name);
        console.press(keys).wait(200);
        assert_eq!(console.count(name), before, "{keys} is no filter yet");
        console.press(if screen == "5" { "wer" } else { "an" }).wait(200);
        assert_eq!(console.count(name), before + 1, "{}", console.screen());
        console.press("<Esc>").wait(400);
    }
    let not: Vec<Vec<String>> = console
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Users(query) => Some(query.not.clone()),
            Call::Quarantine(query) => Some(query.not.clone()),
            _ => None,
        })
        .filter(|not| !not.is_empty())
        .collect();
    assert_eq!(not, [["role:viewer"], ["verdict:clean"]]);
    console.press("1").wait(400).press("/router params>7B updated>7d<Enter>").wait(400);
    let asked = console.calls.iter().rev().find_map(|call| match call {
        Call::Models(query) => Some((query.q.clone(), query.params.clone(), query.since.clone())),
        _ => None,
    });
    assert_eq!(asked, Some(("router".into(), vec![">7B".into()], "2026-07-15T12:03:00.000Z".into())));
    console.press("2").wait(400).press("/");
    console.feed(EventKind::Paste("index>100 index<=200 actor:eve".into()));
    console.press("<Enter>").wait(400);
    let asked = console.calls.iter().rev().find_map(|call| match call {
        Call::Audit(query) => Some((query.after, query.before, query.actor.clone())),
        _ => None,
    });
    assert_eq!(asked, Some((Some(100), Some(201), "eve".into())));
}

/// An alias is pointed at a version of a model whose name was offered and is not loaded.
#[test]
fn alias_of_what_is_not_loaded() {
    let mut console = console();
    console.hold = true;
    console.press(":alias team-else/where v3 stage<Enter>");
    let asked = console.calls.last();
    assert!(matches!(asked, Some(Call::Look(Object::Model { id, .. })) if id == "team-else/where"), "{asked:?}");
    assert!(console.shows("team-else/where") && console.state.dialog.is_some(), "{}", console.screen());
    console.press("<Esc>:alias team_else! v3 stage<Enter>");
    assert!(!console.calls.iter().any(|call| matches!(call, Call::Look(Object::Model { id, .. }) if id.contains('!'))));
}

/// The newest two versions are compared from the list; Esc leads out through the model.
#[test]
fn compared_from_the_list() {
    let mut console = console();
    console.press("d").wait(400);
    assert!(console.shows("v51") && console.shows("v52") && console.shows("fields differ"), "{}", console.screen());
    console.press("<Esc><Esc>").wait(400);
    assert!(console.state.models.open.is_none(), "{}", console.screen());
}

/// At the login dialog other daemons and the messages can be had, but where a password is typed: there they are text.
#[test]
fn ways_out_of_the_login() {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.state.settings.profiles = vec![ProfileRow { name: "other".into(), ..ProfileRow::default() }];
    console.begin(Credential::Ask);
    assert!(console.shows("at User: @ daemons, ! messages"), "{}", console.screen());
    console.press("a@!");
    assert!(console.shows("***") || console.shows("•••"), "{}", console.screen());
    assert!(console.state.overlay.is_none());
    console.press("<S-Tab>!");
    assert!(console.shows("Messages") && !console.shows("Password"), "{}", console.screen());
    console.press("/GET<Enter><Esc><Esc>");
    assert!(console.shows("Password") && console.state.overlay.is_none(), "{}", console.screen());
    assert!(console.shows("@ other daemon  ! messages"), "{}", console.screen());
    console.press("@<Enter>");
    assert_eq!(console.others, [Action::Switch("other".into())]);
}

/// A refresh that can't be answered now ends no session, and what waited for it is told so: a form, a question, marks.
#[test]
fn a_refresh_that_waits() {
    for (kind, keys, waiting) in [
        (ProblemType::TooManyRequests, "*ee", "\u{2502} loading"),
        (ProblemType::RequestTimeout, "*ee", "\u{2502} loading"),
        (ProblemType::Unavailable, "*eD", "reading what it is now"),
    ] {
        let mut console = console();
        console.hold = true;
        console.press("<C-r>");
        let (id, _) = console.held.remove(0);
        console.feed(EventKind::Reply { id, result: Box::new(Err(refused(ProblemType::Unauthenticated))) });
        assert_eq!(console.calls.last().map(Call::name), Some("POST /token/refresh"));
        // All that match are read to be tagged, and it is read what the model is now, once the token is fresh.
        console.press(keys);
        assert!(console.shows(waiting), "{}", console.screen());
        let refresh = console.held.pop().unwrap();
        console.feed(EventKind::Reply { id: refresh.0, result: Box::new(Err(refused(kind))) });
        assert!(console.state.login.is_none(), "{kind:?}");
        assert!(console.state.parked.is_empty() && console.state.models.marking.is_none());
        assert!(console.state.notes.iter().any(|note| note.text.starts_with("not all are marked")));
        assert!(!console.shows(waiting) && console.shows("said so"), "{}", console.screen());
    }
}

/// The log is not asked for again and again where `/me` allows it and the daemon does not: only once that has changed.
#[test]
fn a_log_that_is_refused() {
    let mut console = Console::signed_in(100, 30, Registry::default());
    console.wait(200);
    console.state.settings.log.live = true;
    console.hold = true;
    console.press("j");
    let checkpoints = |console: &Console| {
        console.calls.iter().filter(|call| matches!(call, Call::Log(LogCall::Checkpoint | LogCall::Keys))).count()
    };
    let asked = checkpoints(&console);
    assert_eq!(asked, 1);
    let place = console.held.iter().position(|(_, call)| matches!(call, Call::Log(_))).unwrap();
    let (id, _) = console.held.remove(place);
    console.feed(EventKind::Reply { id, result: Box::new(Err(refused(ProblemType::Forbidden))) });
    // The daemon says that the user may.
    assert!(console.held.iter().any(|(_, call)| *call == Call::Me));
    assert!(!console.held.iter().any(|(_, call)| matches!(call, Call::Log(_))), "{:?}", console.held);
    console.release();
    console.hold = true;
    console.press("jkjk").wait(5_000);
    assert_eq!(checkpoints(&console), asked, "the same user, the same answer");
    console.press("<C-r>");
    assert!(checkpoints(&console) > asked, "asked by hand it is asked again");
}

/// A remark goes with the next key, a warning stays for its time.
#[test]
fn warnings_stay() {
    let mut console = console();
    console.press("Z").wait(1_600).press("j");
    assert_eq!(message(&console), "");
    console.press(":open <Esc>");
    console.feed(EventKind::Said("x".into()));
    console.press("j");
    assert_eq!(message(&console), "", "an error goes with any key");
    console.press("999G");
    let said = console.state.message.clone().unwrap();
    assert_eq!(said.level, Level::Warning);
    console.wait(1_600).press("j");
    assert_eq!(message(&console), said.text);
    console.wait(8_000);
    assert_eq!(message(&console), "");
}

/// A message goes with what it is about: a failure once the same is answered, a refusal once the key works or another does
/// something. What was done is told for its time.
#[test]
fn messages_go_with_their_cause() {
    let mut console = console();
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.press("3").wait(400);
    assert!(message(&console).contains("said so"), "{}", console.screen());
    console.registry.failure = None;
    console.wait(6_000);
    assert_eq!(message(&console), "", "the list was read: {}", console.screen());
    // Nobody answered: whoever does next ends that.
    let cause = "connection refused".to_owned();
    console.registry.failure = Some(ClientError::Offline { address: "127.0.0.1:8000".into(), cause });
    console.press("5").wait(400);
    assert!(message(&console).contains("connection refused"), "{}", console.screen());
    console.registry.failure = None;
    console.wait(20_000);
    assert!(!console.state.offline && message(&console).is_empty(), "{}", console.screen());

    // What was asked before that is no sign that it is over.
    let mut console = self::console();
    console.hold = true;
    console.press("3").wait(400).press("5").wait(400);
    let held = std::mem::take(&mut console.held);
    let (first, others) = held.split_first().unwrap();
    assert!(!others.is_empty(), "{held:?}");
    let cause = "connection refused".to_owned();
    let away = ClientError::Offline { address: "127.0.0.1:8000".into(), cause };
    console.registry.failure = Some(away.clone());
    console.answer(first.0, first.1.clone());
    console.registry.failure = None;
    for (id, call) in others {
        console.answer(*id, call.clone());
        assert!(message(&console).contains("connection refused"), "{call:?}: {}", console.screen());
    }
    console.release().wait(20_000);
    assert_eq!(message(&console), "", "{}", console.screen());
    // What nobody asks for again is told until it is asked again.
    let mut console = self::console();
    console.press("2").wait(400);
    console.registry.failure = Some(away);
    console.registry.fails = |call| matches!(call, Call::Position(_));
    console.press("t12:00<Enter>").wait(20_000);
    assert!(message(&console).contains("connection refused"), "{}", console.screen());
    console.registry.failure = None;
    console.press(":<Esc>t12:00<Enter>");
    assert!(!message(&console).contains("connection refused"), "{}", console.screen());

    let mut console = self::console();
    console.press("U");
    assert!(message(&console).contains("is not deleted"), "{}", message(&console));
    console.press("j");
    assert!(message(&console).contains("is not deleted"), "moving is no answer to it");
    console.press("<Space>");
    assert_eq!(message(&console), "");
    console.press("<Esc>").wait(2_000).press("999G");
    assert!(message(&console).contains("that number is not near"), "{}", message(&console));
    console.press("3G");
    assert_eq!((message(&console).as_str(), console.state.models.list.ordinal()), ("", Some(3)));
    console.press("Dteam-nlp/intent-router-997<Enter>");
    assert!(message(&console).starts_with("deleted"), "{}", message(&console));
    console.press("<Space><Enter>").wait(400).press("<Esc>");
    assert!(message(&console).starts_with("deleted"), "{}", message(&console));
}

/// Hidden characters are copied when that was asked about and read; as JSON they are spelled out.
#[test]
fn hidden_characters_are_copied_knowingly() {
    let mut console = Console::signed_in(100, 30, Registry { hostile: true, ..Registry::default() });
    console.state.settings.can_copy = true;
    console.wait(200).press("3").wait(400);
    let copied = |console: &Console| {
        let copies = console.others.iter().filter_map(|other| match other {
            Action::Copy(text) => Some(text.clone()),
            _ => None,
        });
        copies.collect::<Vec<_>>()
    };
    let path = console.state.queue.list.selected().unwrap().path.clone();
    assert!(path.chars().any(|letter| letter.is_control() || !letter.is_ascii()), "{path:?}");
    console.ahead("yy");
    assert_eq!(copied(&console), [""; 0], "not before it was read");
    console.see().press("jky").press("y");
    assert_eq!(copied(&console), [path], "{}", message(&console));
    console.press("Y");
    let json = copied(&console).pop().unwrap();
    assert!(json.chars().all(|letter| !letter.is_control() && letter != '\u{202e}'), "{json:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
}

/// Messages can be held still while more come; a page of them is a page less a line.
#[test]
fn messages_held_still() {
    let mut console = console();
    for number in 0..60 {
        console.feed(EventKind::Said(format!("number {number}")));
    }
    console.press("!");
    assert!(console.shows("number 59"));
    console.press("f");
    console.feed(EventKind::Said("number 60".into()));
    let has = |console: &Console| console.screen().lines().skip(2).take(20).any(|line| line.ends_with("number 60"));
    assert!(console.shows("HELD   1 new (f)") && !has(&console), "{}", console.screen());
    console.press("f");
    assert!(!console.shows("HELD") && has(&console), "{}", console.screen());
    let first = |console: &Console| match console.state.overlay {
        Some(Overlay::Messages(at)) => at,
        _ => usize::MAX,
    };
    let height = usize::from(tui::layout::layout(console.state.size, &console.state).body.height);
    console.press("<PgDn>");
    assert_eq!(first(&console), height - 1);
    console.press("<PgUp><C-d>");
    assert_eq!(first(&console), height / 2);
}

/// Who clicks on an entry while the log is followed looks at it: the rows stay.
#[test]
fn a_click_in_the_log() {
    let mut console = console();
    console.state.settings.mouse = true;
    console.press("2").wait(400);
    console.state.audit.follow = true;
    let rows = tui::layout::layout(console.state.size, &console.state).rows;
    let shown = |console: &Console| -> Vec<u64> {
        console.state.audit.list.visible(rows.height.into()).map(|(line, _)| line.index).collect()
    };
    let before = shown(&console);
    console.feed(EventKind::Mouse(Mouse { what: Gesture::Click, x: 4, y: rows.y + 2 }));
    assert!(!console.state.audit.follow);
    assert_eq!(console.state.audit.list.selected().map(|line| line.index), Some(before[2]));
    assert_eq!(shown(&console), before, "no row moves under the pointer");
}

/// Suspending and painting anew are where their keys were set to.
#[test]
fn keys_that_go_everywhere_can_be_changed() {
    let mut console = console();
    console.state.settings.keys.set("everywhere.suspend", vec!["C-y".to_owned()]).unwrap();
    console.press("<C-z>");
    assert!(console.others.is_empty() && message(&console).contains("does nothing"), "{}", message(&console));
    console.press(":<C-y>");
    assert_eq!(console.others, [Action::Suspend]);
}

/// Times in what is looked at closer are those of the zone that was set, as in the lists.
#[test]
fn times_in_details() {
    let mut console = console();
    console.state.settings.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    console.press("3").wait(400).press("<Enter>").wait(400);
    let at = console.state.queue.list.selected().unwrap().history.first().unwrap().at.clone();
    let (hour, rest) = (at[11..13].parse::<u8>().unwrap(), &at[13..19]);
    let (utc, local) = (format!("{hour:02}{rest}  "), format!("{:02}{rest}  ", hour + 2));
    assert!(console.shows(&utc) && !console.shows(&local), "{}", console.screen());
    console.press(":set time local<Enter>");
    assert!(console.shows(&local) && !console.shows(&utc), "{}", console.screen());
    console.state.log.trust.checkpoint_at = Some(crate::console::NOW);
    console.press("2").wait(400).press("V");
    assert!(console.shows("checkpoint at 14:03:11"), "{}", console.screen());
}

/// What was wrong with what was typed stays there while only the cursor moves, and goes with the first change.
#[test]
fn the_reason_stays_while_the_cursor_moves() {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.begin(Credential::Ask);
    console.registry.failure = Some(refused(ProblemType::BadCredentials));
    console.registry.fails = |call| matches!(call, Call::Login { .. });
    console.press("wrong<Enter>");
    for key in ["<Left>", "<Home>", "<C-e>", "<Tab>", "<Left>", "<Tab>", "<Backspace>"] {
        console.press(key);
        assert!(console.shows("wrong user name or password"), "{key}: {}", console.screen());
    }
    console.press("x");
    assert!(!console.shows("wrong user name or password"), "{}", console.screen());

    let registry = Registry { must_change_password: true, ..Registry::default() };
    let mut console = Console::new(Size { width: 80, height: 24 }, registry);
    console.begin(Credential::Ask);
    console.press("secret<Enter>one<Enter>other<Enter>");
    for key in ["<Left>", "<Home>", "<Tab>", "<Left>"] {
        console.press(key);
        assert!(console.shows("the two new passwords differ"), "{key}: {}", console.screen());
    }
    console.press("x");
    assert!(!console.shows("the two new passwords differ"), "{}", console.screen());

    let registry = Registry { must_enrol_totp: true, ..Registry::default() };
    let mut console = Console::new(Size { width: 80, height: 24 }, registry);
    console.begin(Credential::Ask);
    console.press("secret<Enter>");
    console.registry.failure = Some(refused(ProblemType::BadCredentials));
    console.registry.fails = |call| matches!(call, Call::EnrolTotp { .. });
    console.press("wrong<Enter>");
    let has_reason = |console: &Console| console.state.enrol.as_ref().is_some_and(|form| form.reason.is_some());
    assert!(has_reason(&console), "{}", console.screen());
    console.press("<Left><Home><End>");
    assert!(has_reason(&console), "{}", console.screen());
    console.press("x");
    assert!(!has_reason(&console), "{}", console.screen());
}

/// After `C-r` the first key is judged by what the user may do now.
#[test]
fn rights_are_read_again_by_hand() {
    let mut console = Console::signed_in(100, 30, Registry { role: Role::Viewer, ..Registry::default() });
    console.wait(200).press("D");
    assert!(message(&console).contains("model.delete"), "{}", message(&console));
    console.registry.role = Role::Admin;
    let (asked, before) = (console.count("GET /me"), console.calls.len());
    console.press("<C-r>");
    assert_eq!(console.count("GET /me"), asked + 1);
    assert!(console.calls.len() <= before + 3, "{:?}", &console.calls[before..]);
    console.press("D");
    assert!(console.shows("Type the name"), "{}", console.screen());
}
