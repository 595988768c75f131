//! What the screens of users, quarantine and health do, and what the console as a whole has: times by the terminal's zone and
//! the daemon's clock, ways back, the terminal's title and its bell.

use common::api::ApiTokenState;
use common::problem::ProblemType;
use common::role::Role;
use jiff::tz::TimeZone;
use tui::action::{Action, Call, FilePurpose, Report};
use tui::event::{EventKind, Size};
use tui::state::deeds::{Deed, Object};
use tui::state::dialog::Dialog;
use tui::state::{Level, Screen};
use tui::time::Way;

use crate::console::{Console, NOW, Registry, refused};

fn at(width: u16, height: u16, keys: &str) -> Console {
    let mut console = Console::signed_in(width, height, Registry::default());
    for part in keys.split('|') {
        console.press(part).wait(400);
    }
    console
}

fn message(console: &Console) -> String {
    console.state.message.as_ref().map(|note| note.text.clone()).unwrap_or_default()
}

// ---- quarantine -----------------------------------------------------------------------------------------------------

/// The octets of a finding are asked for by a key and never else: each reading is an entry of the log.
#[test]
fn octets_by_a_key_only() {
    let mut console = at(120, 40, "4|jjkk|<Enter>");
    console.wait(60_000);
    assert_eq!(console.count("GET /models/{id}/versions/{v}/excerpt"), 0);
    console.press("<Tab>");
    assert_eq!(console.count("GET /models/{id}/versions/{v}/excerpt"), 0);
    console.press("<Enter>");
    assert_eq!(console.count("GET /models/{id}/versions/{v}/excerpt"), 1);
    let screen = console.screen();
    assert!(
        screen.contains(">00000000  80 02 63 70 6f 73 69 78  0a 73") && screen.contains("|..cposix.system"),
        "{screen}"
    );
    assert!(!screen.contains('\u{1b}') && !screen.contains('\u{7}'));
    // Another one is another reading; what was read of the one before is gone.
    console.press("<Esc>j").wait(400).press("<Enter>");
    assert!(!console.shows("cposix.system"));
    // An auditor sees what is held, and is told why not its octets.
    let mut console = Console::signed_in(120, 40, Registry { role: Role::Auditor, ..Registry::default() });
    console.press("4").wait(400).press("<Enter>").wait(400).press("<Tab><Enter>");
    assert!(console.shows("model.moderate (admin)"), "{}", console.screen());
    assert_eq!(console.count("GET /models/{id}/versions/{v}/excerpt"), 0);
    assert!(console.shows("(n note)"));
}

/// On a narrow screen a dump has fewer octets a line, and none is cut.
#[test]
fn octets_on_a_narrow_screen() {
    for (width, octets) in [(120, 16), (80, 8), (60, 8), (40, 4)] {
        let console = at(width, 40, "4|j|<Enter>|<Tab><Enter>");
        let screen = console.screen();
        let line = screen.lines().find(|line| line.contains("00000000 ")).unwrap_or_else(|| panic!("{screen}"));
        let text = line.rsplit('|').nth(1).unwrap();
        assert_eq!((text.chars().count(), line.trim_end().ends_with('|')), (octets, true), "{width}: {line}");
    }
}

/// A note is typed on a line and sent once; an empty one is not sent.
#[test]
fn notes() {
    let mut console = at(120, 40, "4|j");
    console.press("n<Enter>");
    assert!(console.shows("say something"));
    console.press("asked dave<Enter>");
    let notes: Vec<(Object, Deed)> = console
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Change { change, .. } => Some((change.object.clone(), change.deed.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].1, Deed::Note { text: "asked dave".into() });
    assert_eq!(notes[0].0.name(), "team-nlp/asr-large:50");
    assert!(message(&console).starts_with("noted of team-nlp/asr-large:50"), "{}", message(&console));
    assert!(console.shows("carol: asked dave, waiting") && console.shows("by dave: 14 handed out, 2 held"));
    console.press("nnever mind<Esc>");
    assert!(console.state.prompt.is_none());
}

/// A question that has not the room is read page by page, while its reason and the name are typed; the frame says what is left.
#[test]
fn long_questions() {
    let mut console = at(40, 12, "4|j");
    console.press("A");
    let whole = at(100, 30, "4|j").press("A").screen();
    let last = "It is written to the audit log.";
    assert!(whole.contains(last) && console.shows("PgDn 3 more") && !console.shows(last), "{}", console.screen());
    console.press("fine<PgDn>");
    assert!(console.shows("PgUp 3 more") && console.shows(last), "{}", console.screen());
    assert!(console.shows("Reason fine") && !console.shows("Release version"), "{}", console.screen());
    // What it is about is said wherever in its text one is.
    assert!(console.shows("Release team-nlp/asr-large:50"), "{}", console.screen());
    console.press("<PgDn><Enter>team<PgUp>");
    assert!(console.shows("Release version") && console.shows("PgDn 3 more"), "{}", console.screen());
    console.press("<PgDn>-nlp/asr-large:50<Enter>");
    assert!(message(&console).contains("team-nlp/asr-large:50"), "{}", console.screen());
    // Where all of it is to be seen there is no mark.
    assert!(!whole.contains("PgDn"), "{whole}");
    // Where nothing of it has room, that is said.
    let mut console = at(40, 12, "4|j");
    console.press("A").feed(EventKind::Resize(Size { width: 40, height: 7 }));
    let screen = console.screen();
    assert!(screen.contains("Release team-nlp/asr-large:50") && screen.contains(" 8 more "), "{screen}");
}

/// Whoever is locked stays so when their sessions are ended.
#[test]
fn ending_the_sessions_of_a_locked_user() {
    let screen = at(100, 30, "5").press("E").screen();
    assert!(screen.contains("they can sign in again") && !screen.contains("they stay locked"), "{screen}");
    let mut console = at(100, 30, "5");
    let eve = console.state.users.list.rows().find(|user| user.username.as_str() == "eve").unwrap().id.clone();
    assert!(console.state.users.list.select(&eve));
    let screen = console.press("E").screen();
    assert!(screen.contains("they stay locked") && !screen.contains("sign in again"), "{screen}");
}

/// Where a release takes two, the first is told to be an approval.
#[test]
fn approvals() {
    let mut console = at(100, 30, "4|j");
    console.registry.only_approves = true;
    assert!(console.shows("1 of 2 approvals"));
    console.press("Afine<Enter>team-nlp/asr-large:50<Enter>");
    assert!(
        message(&console).contains("approved the release of team-nlp/asr-large:50: others must"),
        "{}",
        console.screen()
    );
}

/// Filters of what is held and of users are sent as fields; Esc clears them; slips are told.
#[test]
fn filters() {
    let mut console = at(100, 30, "4|/verdict:malicious<Enter>");
    assert!(console.shows("filter: verdict:malicious") && console.shows("1 of 1"), "{}", console.screen());
    console.press("<Esc>").wait(400);
    assert!(console.shows("1 of 4"));
    console.press("/rul:x<Enter>");
    assert!(console.shows("did you mean rule?"));
    console.press("<Esc>5").wait(400).press("/role:viewer<Enter>").wait(400);
    assert!(console.shows("eve") && !console.shows("bob"), "{}", console.screen());
    console.press("<Esc>").wait(400);
    assert!(console.shows("bob"));
}

// ---- users ----------------------------------------------------------------------------------------------------------

/// Users are sorted by the daemon; the detail is read when the selection has rested.
#[test]
fn users() {
    let mut console = at(120, 40, "5|s");
    let last = |console: &Console| {
        console.calls.iter().rev().find_map(|call| match call {
            Call::Users(query) => Some((query.sort.clone(), query.page.before.clone())),
            _ => None,
        })
    };
    assert_eq!(last(&console), Some(("role".into(), None)));
    console.press("s");
    assert_eq!(last(&console), Some(("-last_login_at".into(), None)));
    console.press("S");
    assert_eq!(last(&console), Some(("last_login_at".into(), None)));
    console.press("<Enter>jj");
    assert_eq!(console.count("GET /users/{name}"), 0);
    console.wait(400);
    assert_eq!(console.count("GET /users/{name}"), 1);
    assert!(console.shows("given by alice (entry 8812004)") && console.shows("model.write (contributor, admin)"));
    assert!(console.shows("held off from somewhere"), "{}", console.screen());
}

/// What a key can't do to tokens is in parentheses, and says why when it is pressed: another person's secrets, and one's own
/// where an API token is here in place of a session.
#[test]
fn tokens_by_who_may() {
    let mut console = at(80, 24, "K");
    assert!(console.shows(" a make one  r rotate  D revoke  E end all  Esc close"), "{}", console.screen());
    console.press("<Esc>5").wait(400).press("jT").wait(400);
    assert!(console.shows(" D revoke  E end all  (a make one)  (r rotate)  Esc close"), "{}", console.screen());
    console.press("r");
    assert_eq!(message(&console), "r: bob alone makes tokens of bob: with K");
    console.press("<Esc>");

    let who = console.state.who.as_mut().unwrap();
    who.api_token = Some("reader".into());
    who.permissions = vec![common::role::Permission::ModelRead.into()];
    console.press("K").wait(400);
    assert!(console.shows(" (a make one)  (r rotate)  (D revoke)  (E end all)  Esc close"), "{}", console.screen());
    let before = console.calls.len();
    for key in ["a", "r", "D"] {
        console.press(key);
        assert_eq!(
            message(&console),
            format!("{key}: needs a session: sign in (reader, an API token, is here now)"),
            "{}",
            console.screen()
        );
    }
    console.press("E");
    assert!(message(&console).starts_with("E: the scope of the API token reader lacks user.manage"));
    assert_eq!(console.calls.len(), before);
    assert!(matches!(console.state.dialog, Some(Dialog::Tokens(_))));

    let mut console = at(80, 24, "K");
    console.state.settings.readonly = true;
    assert!(!console.shows("a make one"), "{}", console.screen());
    console.press("a");
    assert_eq!(message(&console), "a: this profile is read-only");
}

/// Who is locked is so by one word: in the list, looked at closer, in the question, among tokens, in the help and in the filter.
#[test]
fn one_word_for_the_locked() {
    let mut console = at(80, 24, "5");
    let row = |console: &Console, name: &str| {
        console.screen().lines().find(|line| line.trim_start_matches(['▌', ' ']).starts_with(name)).unwrap().to_owned()
    };
    assert!(row(&console, "eve").contains(" locked ") && !row(&console, "carol").contains("locked"));
    console.press("/state:locked<Enter>").wait(400);
    let asked = console.calls.iter().rev().find_map(|call| match call {
        Call::Users(query) => Some(query.disabled),
        _ => None,
    });
    assert_eq!(asked, Some(Some(true)), "{}", console.screen());
    console.press("<Esc>").wait(400).press("G<Enter>").wait(400);
    while console.state.users.list.selected().unwrap().username.as_str() != "eve" {
        console.press("k").wait(400);
    }
    assert!(console.shows("locked: can't sign in (L unlocks)"), "{}", console.screen());
    assert!(!console.shows("disabled"));
    console.press("L");
    assert!(console.shows("Unlock user eve"), "{}", console.screen());
    console.press("<Esc>?/lock<Enter>");
    assert!(console.shows("lock, or unlock") && console.shows("state:locked") && !console.shows("disabled"));
    let mut token = console.registry.token("eve");
    token.state = ApiTokenState::Disabled.into();
    assert_eq!(tui::state::tokens::standing(&token), "locked");
}

/// The end of a list is asked for as such, and its beginning is not read for it.
#[test]
fn the_end_of_versions() {
    let mut console = Console::signed_in(100, 30, Registry::default());
    console.press("<Enter>").wait(400).press("G").wait(400);
    let open = console.state.models.open.as_ref().unwrap();
    assert_eq!(open.versions.selected().unwrap().version.number(), 1);
    console.press("<PgUp><PgUp>").wait(400).press("gg").wait(400);
    assert_eq!(console.state.models.open.as_ref().unwrap().versions.selected().unwrap().version.number(), 52);
}

// ---- times ----------------------------------------------------------------------------------------------------------

/// Times are those of UTC, of the terminal's zone, or ages, as it is set; what is written to files stays UTC.
#[test]
fn times() {
    let mut console = at(120, 40, "");
    assert!(console.shows("as of 12:03:11"));
    console.state.settings.zone = TimeZone::fixed(jiff::tz::offset(2));
    console.press(":set time local<Enter>");
    assert_eq!(console.state.settings.time, Way::Local);
    assert!(console.shows("as of 14:03:11"), "{}", console.screen());
    console.press("2").wait(400);
    assert!(console.shows("TIME (HERE)") && console.shows("2026-07-22 14:02:"), "{}", console.screen());
    console.press(":set time age<Enter>");
    assert!(console.shows(" 1 min "), "{}", console.screen());
    // The timer is set for the moment at which the first of them changes.
    assert!(console.timers.contains_key(&tui::action::TimerId::Clock));
    console.press(":set time utc<Enter>");
    assert!(console.shows("TIME (UTC)") && console.shows("2026-07-22 12:02:"));
    console.press(":set time never<Enter>");
    assert!(console.shows("time is one of utc, local, age"), "{}", console.screen());
}

/// Ages go by the daemon's clock where the terminal's is wrong, and Health says by how much.
#[test]
fn a_wrong_clock() {
    let mut console = at(120, 40, "6");
    assert!(console.shows("within 1 s of this terminal"));
    console.feed(EventKind::Date(NOW + 1));
    assert_eq!(console.state.now.wall_seconds, NOW, "a second is no news");
    console.feed(EventKind::Date(NOW + 3_600));
    assert!(console.state.now.wall_seconds >= NOW + 3_600);
    assert!(console.shows("+1 h 0 min to this terminal") && console.shows("WARN"), "{}", console.screen());
    console.feed(EventKind::Date(NOW - 30));
    assert!(console.shows("-30 s to this terminal"));
    console.press("1").wait(400);
    assert!(console.shows("12 d"), "{}", console.screen());
}

// ---- the console as a whole -----------------------------------------------------------------------------------------

/// Back through the screens and forward again, as a browser does.
#[test]
fn back_and_forward() {
    let mut console = at(100, 30, "3|6|5");
    for (key, screen) in [
        ("[", Screen::Health),
        ("[", Screen::Queue),
        ("]", Screen::Health),
        ("[", Screen::Queue),
        ("[", Screen::Models),
        ("[", Screen::Models),
        ("]", Screen::Queue),
    ] {
        console.press(key);
        assert_eq!(console.state.screen, screen, "{key}");
    }
    console.press("5").wait(400).press("]");
    assert_eq!(console.state.screen, Screen::Users, "a new way ends the old one");
}

/// The terminal is given a title and rings only where that is wanted.
#[test]
fn title_and_bell() {
    let over = |console: &mut Console| {
        console.press(":export csv all x.csv<Enter>");
        let id = console.others.iter().rev().find_map(|action| match action {
            Action::Job { id, .. } => Some(*id),
            _ => None,
        });
        console.feed(EventKind::Job { id: id.unwrap(), report: Report::Over(Ok("1 rows".into())) });
    };
    let mut console = at(100, 30, "");
    over(&mut console);
    assert!(!console.others.iter().any(|action| matches!(action, Action::Bell | Action::Title(_))));
    console.press(":set bell on<Enter>:set title on<Enter>");
    over(&mut console);
    assert!(console.others.contains(&Action::Bell));
    assert!(console.others.contains(&Action::Title(Some("mreg 127.0.0.1:8000".into()))));
    console.press(":set title off<Enter>");
    assert_eq!(console.others.last(), Some(&Action::Title(None)));
}

/// `:logout` ends the session, `:mouse` has the mouse reported, `:set cursor` moves the cursor to the selection.
#[test]
fn typed_commands() {
    let mut console = at(100, 30, "");
    console.press(":mouse on<Enter>");
    assert!(console.others.contains(&Action::Mouse(true)) && console.shows("mouse"));
    console.press(":set cursor selection<Enter>");
    assert!(console.state.settings.cursor_on_selection);
    console.press(":logout<Enter>");
    assert!(console.others.contains(&Action::Logout) && console.state.who.is_none());
}

/// The diagnostics of the daemon are filtered and held still; the report is written to a file; the worst has its screen.
#[test]
fn health() {
    let mut console = at(120, 40, "6|f");
    assert!(console.shows("held still") && console.shows("witness w2 did not answer"));
    console.press("f/blob<Enter>");
    assert!(console.shows("the blob store timed out") && !console.shows("witness w2"), "{}", console.screen());
    console.press("<Esc>x");
    let written = console.others.iter().find_map(|action| match action {
        Action::WriteFile { purpose: FilePurpose::Export, name, text } => Some((name.clone(), text.clone())),
        _ => None,
    });
    let (name, text) = written.unwrap();
    assert!(name == "health-120311.txt" && text.contains("drop folder"), "{name} {text}");
    console.press("o");
    assert_eq!(console.state.screen, Screen::Queue);
}

/// Help and messages are searched; messages are copied and written.
#[test]
fn overlays() {
    let mut console = at(100, 30, "4|?/note<Enter>");
    assert!(console.shows("note something") && !console.shows("one row down"), "{}", console.screen());
    console.press("<Esc>");
    assert!(console.shows("one row down"));
    console.press("<Esc>!/me<Enter>");
    assert!(console.shows("GET /me") && !console.shows("GET /status"), "{}", console.screen());
    console.press("x");
    assert!(console.others.iter().any(
        |action| matches!(action, Action::WriteFile { name, text, .. } if name.starts_with("messages-") && text.contains("GET /me"))
    ));
}

/// What can't be read of a user or a held version is said in its own pane.
#[test]
fn failures_of_a_pane() {
    let mut console = at(120, 40, "5");
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.press("<Enter>").wait(400);
    assert!(console.shows("not read"), "{}", console.screen());
    assert!(console.state.notes.iter().any(|note| note.level == Level::Error));
}

/// On the page on health a check is selected, at first the worst: Enter shows it whole, `o` opens what it is about.
#[test]
fn a_check_is_selected() {
    let marked = |console: &Console| {
        let screen = console.screen();
        let line = screen.lines().find(|line| line.starts_with('▌')).unwrap_or_default().to_owned();
        line.trim_start_matches('▌').split("  ").next().unwrap_or_default().trim().to_owned()
    };
    for (width, height) in [(120, 40), (80, 24), (40, 12)] {
        let mut console = at(width, height, "6");
        assert_eq!(marked(&console), "drop folder", "{}", console.screen());
        console.press("jj");
        assert_eq!(marked(&console), "disk", "{}", console.screen());
        console.press("kkk");
        assert_eq!(marked(&console), "witnesses", "{}", console.screen());
        console.press("<Enter>");
        assert!(console.shows("Others that cosign the log's"), "{}", console.screen());
        console.press("G");
        assert!(console.shows("w2") && console.shows("up to 9 990"), "{}", console.screen());
        console.press("<Esc>");
        assert_eq!(marked(&console), "witnesses", "{}", console.screen());
        // To the end of the page and back to the first check, in sight all the way.
        console.press("300j");
        assert!(console.shows("checkpoint"), "{}", console.screen());
        console.press("300k");
        assert_eq!(marked(&console), "records", "{}", console.screen());
        console.press("jo");
        assert_eq!(console.state.screen, Screen::Audit, "{}", console.screen());
    }
    // Readings in between change nothing of what is selected.
    let mut console = at(80, 24, "6|j");
    console.registry.troubled = true;
    console.wait(10_000);
    assert_eq!(marked(&console), "quarantine", "{}", console.screen());
    console.press("o");
    assert_eq!(console.state.screen, Screen::Quarantine);
}
