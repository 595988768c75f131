//! Whatever happens, in whatever order, at whatever size: no panic, nothing a terminal would obey, bounded requests and
//! bounded memory.

use common::client::ClientError;
use common::problem::ProblemType;
use common::role::Role;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::prop_assert;
use proptest::test_runner::Config;
use tui::config::Credential;
use tui::event::{Code, EventKind, Gesture, Key, Mouse, Size};
use tui::state::Highlight;
use tui::window::ROWS_KEPT;

use crate::console::{Console, Registry, refused};

#[derive(Debug, Clone)]
enum Step {
    Key(Key),
    Known(&'static str),
    Paste(String),
    Resize(u16, u16),
    Wait(u64),
    Hold,
    Release,
    Fail(u8),
    Heal,
    Resumed,
    Mouse(u8, u16, u16),
    Focus(bool),
}

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![
        any::<char>().prop_map(Code::Char),
        (b'!'..=b'~').prop_map(|octet| Code::Char(char::from(octet))),
        proptest::sample::select(vec![
            Code::Enter,
            Code::Esc,
            Code::Tab,
            Code::BackTab,
            Code::Backspace,
            Code::Delete,
            Code::Up,
            Code::Down,
            Code::Left,
            Code::Right,
            Code::Home,
            Code::End,
            Code::PageUp,
            Code::PageDown,
        ]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let known = [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "b",
        "gg",
        "G",
        "99999999999999999999j",
        "123G",
        "0G",
        "/x",
        "?",
        "@",
        "y",
        "Y",
        "L",
        "!",
        "s",
        "o",
        "a",
        "<Enter>",
        "<Esc>",
        "<C-r>",
    ];
    prop_oneof![
        4 => (code(), any::<bool>()).prop_map(|(code, ctrl)| Step::Key(Key { code, ctrl })),
        6 => proptest::sample::select(known.to_vec()).prop_map(Step::Known),
        1 => any::<String>().prop_map(Step::Paste),
        1 => (0u16..300, 0u16..100).prop_map(|(width, height)| Step::Resize(width, height)),
        2 => (0u64..2_000_000).prop_map(Step::Wait),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        1 => any::<u8>().prop_map(Step::Fail),
        1 => Just(Step::Heal),
        1 => Just(Step::Resumed),
        2 => (any::<u8>(), 0u16..300, 0u16..100).prop_map(|(what, x, y)| Step::Mouse(what, x, y)),
        1 => any::<bool>().prop_map(Step::Focus),
    ]
}

fn failure(kind: u8) -> ClientError {
    match kind % 6 {
        0 => refused(ProblemType::Unauthenticated),
        1 => refused(ProblemType::Forbidden),
        2 => refused(ProblemType::PasswordChangeRequired),
        3 => ClientError::Timeout { address: "h".into(), seconds: 10 },
        4 => ClientError::Protocol("\u{1b}[2J\u{202e}".into()),
        _ => refused(ProblemType::BadCredentials),
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn anything(
        steps in vec(step(), 0..60),
        role in proptest::sample::select(Role::ALL.to_vec()),
        (models, entries) in (0u64..3_000, 0u64..3_000),
        token in any::<bool>(),
        newer in proptest::option::of(Just("\u{202e}\u{1b}[2J 日本語")),
    ) {
        let registry = Registry { role, models, entries, hostile: true, newer, ..Registry::default() };
        let mut console = Console::new(Size { width: 80, height: 24 }, registry);
        console.state.settings.can_remember = entries % 2 == 0;
        console.state.settings.lock_after_ms = (models % 3 == 0).then_some(60_000);
        console.state.settings.cursor_on_selection = models % 2 == 0;
        console.state.settings.highlight = [Highlight::Key, Highlight::Row, Highlight::None][usize::try_from(entries % 3).unwrap()];
        console.begin(if token { Credential::Token } else { Credential::Ask });
        for step in steps {
            let before = console.calls.len();
            match step {
                Step::Key(key) => console.feed(EventKind::Key(key)),
                Step::Known(keys) => drop(console.press(keys)),
                Step::Paste(text) => console.feed(EventKind::Paste(text)),
                Step::Resize(width, height) => console.feed(EventKind::Resize(Size { width, height })),
                Step::Wait(ms) => drop(console.wait(ms)),
                Step::Hold => console.hold = true,
                Step::Release => drop(console.release()),
                Step::Fail(kind) => console.registry.failure = Some(failure(kind)),
                Step::Heal => console.registry.failure = None,
                Step::Mouse(what, x, y) => {
                    let what = [Gesture::Click, Gesture::WheelUp, Gesture::WheelDown][usize::from(what % 3)];
                    console.feed(EventKind::Mouse(Mouse { what, x, y }));
                }
                Step::Focus(on) => console.feed(EventKind::Focus(on)),
                Step::Resumed => console.feed(EventKind::Resumed(console.state.size)),
            }
            // Health and the queue alone are read by the clock, every five seconds, health by two requests, after each of which
            // it is asked what may be done if it was not allowed; a refresh that found nobody is tried every ten.
            prop_assert!(console.calls.len() - before <= 30 + 4 * 2_000_000 / 5_000 + 2_000_000 / 10_000, "{} requests", console.calls.len() - before);
            prop_assert!(console.state.models.list.len() <= 2 * (ROWS_KEPT + 200));
            prop_assert!(console.state.audit.list.len() <= 2 * (ROWS_KEPT + 256));
            let screen = console.screen();
            prop_assert!(!screen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{200b}'), "{screen}");
        }
    }
}
