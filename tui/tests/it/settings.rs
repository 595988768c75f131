//! What the configuration changes: keys, profiles, themes, how the selected row is shown, locking, keeping a session.

use common::problem::ProblemType;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use tui::action::{Action, Call, TimerId};
use tui::config::Credential;
use tui::event::{EventKind, Size};
use tui::state::{Highlight, Left, Overlay, ProfileRow, Screen};
use tui::view::draw;
use tui::view::theme::{Accent, Theme};

use crate::console::{Console, Registry, refused};

fn console() -> Console {
    Console::signed_in(100, 30, Registry::default())
}

fn with_profiles(mut console: Console) -> Console {
    let row = |name: &str, accent| ProfileRow {
        name: name.to_owned(),
        url: format!("http://{name}.example:8000"),
        user: "alice".to_owned(),
        accent,
        notes: "strict".to_owned(),
    };
    console.state.settings.profile = "prod-eu".to_owned();
    console.state.settings.accent = Some(Accent::Red);
    console.state.settings.profiles =
        vec![row("local", None), row("prod-eu", Some(Accent::Red)), row("staging", Some(Accent::Green))];
    console
}

/// A command answers to the keys it was given, in dispatch, hints and help alike.
#[test]
fn keys_of_ones_own() {
    let mut console = console();
    console.state.settings.keys.set("models.sort", vec!["t".into()]).unwrap();
    console.state.settings.keys.set("lists.down", vec!["z".into(), "Down".into()]).unwrap();
    let before = console.state.models.sort;
    console.press("s");
    assert_eq!(console.state.models.sort, before);
    assert!(console.shows("t sort") && console.shows("s does nothing here"));
    console.press("t");
    assert_ne!(console.state.models.sort, before);
    console.press("2z");
    assert_eq!(console.state.models.list.ordinal(), Some(3));
    console.press("?");
    assert!(console.shows("z Down"), "{}", console.screen());
}

/// `@` lists the daemons; Enter asks for the other one, Esc for nothing, and the header says where one is.
#[test]
fn daemons() {
    let mut console = with_profiles(console());
    assert!(console.screen().lines().next().unwrap().starts_with(" prod-eu "));
    console.press("@");
    assert_eq!(console.state.overlay, Some(Overlay::Daemons(1)));
    assert!(console.shows("staging.example") && console.shows("this one"));
    // How its log was left is told before it is spoken to.
    let left = Left { badge: "v 10000122".to_owned(), seen_at: Some(console.state.now.wall_seconds - 2 * 86_400) };
    console.state.settings.left.insert("staging".to_owned(), left);
    assert!(console.shows("seen 2 d  v 10000122"), "{}", console.screen());
    console.press("jjj<Enter>");
    assert_eq!(console.others.last(), Some(&Action::Switch("staging".to_owned())));
    let asked = console.others.len();
    console.press("@<Enter>@<Esc>");
    assert_eq!((console.others.len(), console.state.overlay), (asked, None));
}

/// Without a daemon there is the list and nothing else; only leaving and choosing are possible.
#[test]
fn no_daemon_yet() {
    let mut console = with_profiles(Console::new(Size { width: 80, height: 24 }, Registry::default()));
    console.state.settings.address.clear();
    console.state.settings.profile.clear();
    drop(tui::update::choose(&mut console.state));
    console.press("<Esc>?2jj");
    assert_eq!(console.state.overlay, Some(Overlay::Daemons(2)));
    assert!(console.calls.is_empty());
    console.press("k<Enter>");
    assert_eq!(console.others, [Action::Switch("prod-eu".to_owned())]);
    let mut console = with_profiles(Console::new(Size { width: 80, height: 24 }, Registry::default()));
    console.state.settings.address.clear();
    drop(tui::update::choose(&mut console.state));
    console.press("q");
    assert_eq!(console.others, [Action::Quit]);
}

/// Logging out ends the session at the daemon and leaves nothing of it on the screen.
#[test]
fn logging_out() {
    let mut console = with_profiles(console());
    console.press("j@L");
    assert!(console.others.contains(&Action::Logout));
    assert!(console.state.who.is_none() && console.state.models.list.is_empty());
    assert!(console.shows("logged out") && !console.shows("team-"));
    // Who left is proposed, whoever it was begun as.
    let mut console = self::console();
    console.state.settings.user = "bob".into();
    console.press(":logout<Enter>");
    assert!(console.shows("alice") && !console.shows("bob"), "{}", console.screen());
}

/// Who comes after a session that was left is asked for the name, and what is typed takes the place of the last one; where the
/// session ended by itself it is known who it is, and keys that were meant for something else are not taken for a password.
#[test]
fn typed_ahead_into_the_login() {
    let signs_in = |console: &Console| {
        console.calls.iter().rev().find_map(|call| match call {
            Call::Login { username, password, .. } => Some((username.clone(), password.expose().to_owned())),
            _ => None,
        })
    };
    for (typed, name) in [("bob<Enter>secret<Enter>", "bob"), ("<Enter>secret<Enter>", "alice")] {
        let mut console = console();
        console.ahead(&format!(":logout<Enter>{typed}"));
        assert_eq!(signs_in(&console), Some((name.into(), "secret".into())), "{}", console.screen());
    }
    let mut console = console();
    console.press(":logout<Enter><Left>x");
    assert!(console.shows("alicxe"), "{}", console.screen());
    let mut console = self::console();
    console.press(":logout<Enter>");
    console.feed(EventKind::Paste("bob".into()));
    assert!(console.shows(" bob") && !console.shows("alice"), "{}", console.screen());

    let mut console = self::console();
    console.registry.failure = Some(refused(ProblemType::Unauthenticated));
    console.registry.fails = |call| !matches!(call, Call::Login { .. } | Call::Reach);
    console.ahead("<C-r>jj");
    console.feed(EventKind::Paste("jj".into()));
    assert!(console.shows("the session has ended") && !console.shows("**"), "{}", console.screen());
    console.registry.failure = None;
    console.see().press("secret<Enter>");
    assert_eq!(signs_in(&console), Some(("alice".into(), "secret".into())));
}

/// After so long without a key the token is forgotten; the screen stays, and a password brings it back.
#[test]
fn locking() {
    let mut console = Console::new(Size { width: 100, height: 30 }, Registry::default());
    console.state.settings.lock_after_ms = Some(900_000);
    console.begin(Credential::Token);
    console.wait(800_000).press("j");
    console.wait(899_000);
    assert!(console.state.login.is_none());
    console.wait(2_000);
    assert!(console.others.contains(&Action::Lock) && console.shows("locked: no key for 15 min"));
    let calls = console.calls.len();
    console.wait(3_600_000);
    assert_eq!(console.calls.len(), calls, "a locked console asks for nothing");
    console.press("secret<Enter>");
    assert!(console.state.login.is_none());
    assert_eq!(console.state.models.list.ordinal(), Some(2));
    assert!(console.timers.contains_key(&TimerId::Lock));
}

/// The box at the login dialog is there where a session can be kept, and says whether it is.
#[test]
fn remembering() {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.begin(Credential::Ask);
    assert!(!console.shows("remember"));
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.state.settings.can_remember = true;
    console.begin(Credential::Ask);
    assert!(console.shows("[ ] remember until logout"));
    console.press("secret<Tab><Space>x");
    assert!(console.shows("[x] remember") && console.shows("******"));
    assert_eq!(console.others, [Action::RememberNext(true)], "nothing is written or removed before the sign-in");
    console.press("<Tab>bob<Tab>");
    assert!(console.shows("alicebob"));
    console.press("<Tab><Enter>");
    assert_eq!(console.count("POST /login"), 1);
}

/// There is one place for a kept session: whose goes when this one is kept stands beside the box.
#[test]
fn remembering_in_place_of_another() {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    (console.state.settings.can_remember, console.state.kept_of) = (true, Some("admin".into()));
    console.begin(Credential::Ask);
    assert!(!console.shows("in place of"));
    console.press("secret<Tab><Space>");
    assert!(console.shows("[x] remember until logout, in place of admin's session"), "{}", console.screen());
    console.press("<Space>");
    assert!(!console.shows("in place of"));
    assert!(console.others.iter().all(|action| matches!(action, Action::RememberNext(_))), "{:?}", console.others);
    console.press("<Space><Tab><Tab><Enter>");
    assert_eq!(console.state.kept_of.as_deref(), Some("alice"), "{}", console.screen());
}

/// `y` sends the name to the terminal's clipboard, `Y` all of it, and both say so with the value.
#[test]
fn copying() {
    let mut console = console();
    let name = console.state.models.list.selected().unwrap().name.to_string();
    console.press("y");
    assert_eq!(console.others, [Action::Copy(name.clone())]);
    assert!(console.shows(&format!("sent to the terminal: {name}")));
    console.press("Y");
    let Some(Action::Copy(json)) = console.others.last() else { panic!("nothing copied") };
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["name"], name.as_str());
    let copied = console.others.len();
    console.press("6").wait(400).press("y");
    let Some(Action::Copy(report)) = console.others.last() else { panic!("nothing copied") };
    assert!(report.starts_with("127.0.0.1:8000: ") && report.lines().count() == 12, "{report}");
    assert_eq!(console.others.len(), copied + 1);
    console.press("2").wait(400).press("y");
    assert_eq!(console.others.len(), copied + 2);
}

/// Without colour every screen is still told apart by words, signs, bold and reverse; with a theme there is colour.
#[test]
fn themes() {
    let colours = |theme: Theme| {
        let mut console = with_profiles(console());
        console.state.settings.theme = theme;
        let mut colours = 0;
        let mut reversed = 0;
        for keys in ["", "2", "6", "!"] {
            console.press(keys).wait(400);
            let buffer = console.buffer();
            colours += buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count();
            reversed += buffer.content.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        }
        (colours, reversed)
    };
    assert_eq!(colours(Theme::Mono).0, 0);
    for theme in [Theme::Auto, Theme::Dark, Theme::Light] {
        let (colours, reversed) = colours(theme);
        assert!(colours > 0 && reversed > 0, "{theme:?}: {colours}, {reversed}");
    }
}

/// In TLS the dialog looks at the certificate; nothing else is sent by itself.
#[test]
fn nothing_is_sent_before_the_login() {
    let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
    console.state.settings.tls = true;
    console.begin(Credential::Ask);
    console.press("secret<Tab><Tab>").wait(60_000);
    assert_eq!(console.calls, [Call::Reach]);
}

/// The selected row has its marker always; its name, all of it, or nothing more is reversed.
#[test]
fn highlights() {
    for (highlight, least, most) in [(Highlight::None, 0, 0), (Highlight::Key, 5, 70), (Highlight::Row, 57, 100)] {
        let mut console = console();
        console.state.settings.highlight = highlight;
        console.press("jj");
        let buffer = console.buffer();
        let y = (0..30).find(|y| buffer[(0, *y)].symbol() == "▌").unwrap();
        let reversed = (0..100).filter(|x| buffer[(*x, y)].modifier.contains(Modifier::REVERSED)).count();
        assert!((least..=most).contains(&reversed), "{highlight:?}: {reversed}");
    }
}

/// With `cursor = "selection"` the real cursor is on the selected row, and in the text while something is typed.
#[test]
fn cursor_on_selection() {
    let cursor = |console: &Console| {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        let mut hidden = true;
        terminal
            .draw(|frame| {
                draw(&console.state, frame);
            })
            .unwrap();
        if terminal.backend().cursor_visible() {
            hidden = false;
        }
        (!hidden).then(|| terminal.backend().cursor_position())
    };
    let mut console = console();
    assert_eq!(cursor(&console), None);
    console.state.settings.cursor_on_selection = true;
    let first = cursor(&console).unwrap();
    console.press("jj");
    let third = cursor(&console).unwrap();
    assert_eq!((first.x, first.y + 2), (third.x, third.y));
    console.press("/ab");
    assert_eq!(cursor(&console).unwrap().y, 28);
}

/// No tick: the timer of the clock is set for the moment an age changes, and not where no age is shown.
#[test]
fn the_clock_waits_for_a_change() {
    let mut console = console();
    // The pane beside the list has followed the selection.
    console.wait(200);
    let shown = console.screen();
    let due = console.timers[&TimerId::Clock];
    console.wait(due - console.ms - 1);
    let refreshed =
        |text: &str| text.lines().filter(|line| !line.contains("as of")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(refreshed(&console.screen()), refreshed(&shown));
    console.press("6").wait(400);
    assert_eq!(console.state.screen, Screen::Health);
    assert!(!console.timers.contains_key(&TimerId::Clock));
}
