//! Whatever happens, in whatever order, at whatever size: no panic, nothing painted beyond the screen, nothing a terminal would
//! obey, bounded requests and bounded memory. That there is never more than one refresh of the token at once, and none after a
//! refused one before somebody signs in, the made-up console asserts in every test.

use common::client::ClientError;
use common::problem::ProblemType;
use common::role::Role;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use proptest::{prop_assert, prop_assert_eq};
use tui::config::Credential;
use tui::event::{Code, EventKind, Gesture, Key, Mouse, Size, TailEvent};
use tui::state::Highlight;
use tui::window::ROWS_KEPT;

use crate::console::{Registry, refused};
use crate::scenes::{ENTRIES, followed};

#[derive(Debug, Clone)]
enum Step {
    Key(Key),
    Known(&'static str),
    Paste(String),
    Resize(u16, u16),
    Wait(u64),
    Hold,
    Release,
    /// One of those that wait is answered.
    Answer(usize),
    Fail(u8),
    /// The token has run out: all but what renews it is refused.
    Expire,
    /// The stream of the log ends.
    Cut(u8),
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
        "D",
        "p",
        "T",
        "K",
        ":",
        "J",
        "<C-k>",
        ":change-password<Enter>",
        "<Enter>",
        "<Esc>",
        "<C-r>",
    ];
    prop_oneof![
        4 => (code(), any::<bool>()).prop_map(|(code, ctrl)| Step::Key(Key { code, ctrl })),
        6 => proptest::sample::select(known.to_vec()).prop_map(Step::Known),
        1 => any::<String>().prop_map(Step::Paste),
        1 => (0u16..300, 0u16..100).prop_map(|(width, height)| Step::Resize(width, height)),
        // Where little fits.
        1 => (18u16..45, 4u16..15).prop_map(|(width, height)| Step::Resize(width, height)),
        2 => (0u64..2_000_000).prop_map(Step::Wait),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        2 => any::<usize>().prop_map(Step::Answer),
        1 => any::<u8>().prop_map(Step::Fail),
        1 => Just(Step::Expire),
        1 => any::<u8>().prop_map(Step::Cut),
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
        (token, has_log) in any::<(bool, bool)>(),
        newer in proptest::option::of(Just("\u{202e}\u{1b}[2J 日本語")),
    ) {
        // All logs have one size, for they take long to make.
        let entries = if has_log { ENTRIES } else { entries };
        let registry = Registry { role, models, entries, has_log, newer, hostile: true, ..Registry::default() };
        let mut console = followed(Size { width: 80, height: 24 }, registry);
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
                Step::Answer(which) => {
                    if let Some(which) = which.checked_rem(console.held.len()) {
                        let (id, call) = console.held.remove(which);
                        console.answer(id, call);
                    }
                }
                Step::Fail(kind) => {
                    console.registry.failure = Some(failure(kind));
                    console.registry.fails = |_| true;
                }
                Step::Expire => {
                    console.registry.failure = Some(refused(ProblemType::Unauthenticated));
                    console.registry.fails = |call| !call.is_sign_in();
                }
                Step::Cut(_) if !has_log => {}
                Step::Cut(kind) => {
                    let event = TailEvent::Ended(Some(Box::new(failure(kind))));
                    console.feed(EventKind::Tail { epoch: console.state.log.epoch, event });
                }
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
            let (buffer, is_beyond) = console.unclipped();
            prop_assert!(!is_beyond, "painted beyond {:?}: {}", console.state.size, console.screen());
            let mut signs = buffer.content.iter().flat_map(|cell| cell.symbol().chars());
            let is_harmless = !signs.any(|sign| sign.is_control() || sign == '\u{202e}' || sign == '\u{200b}');
            prop_assert!(is_harmless, "{}", console.screen());
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    /// However many requests find the token run out, and in whichever order they are answered: it is refreshed once, each of them
    /// is sent once more, and when that is refused as well somebody must sign in.
    #[test]
    fn one_refresh_for_all(order in vec(any::<usize>(), 16), is_refused in any::<bool>()) {
        let mut console = followed(Size { width: 100, height: 30 }, Registry::default());
        console.begin(Credential::Token);
        console.hold = true;
        for screen in ["3", "4", "5", "2", "6"] {
            console.press(screen).wait(400);
        }
        let waiting = console.held.len();
        prop_assert!(waiting >= 4, "{waiting}");
        console.registry.failure = Some(refused(ProblemType::Unauthenticated));
        console.registry.fails = if is_refused { |_| true } else { |call| !call.is_sign_in() };
        let before = console.calls.len();
        for which in order.into_iter().chain([0; 64]) {
            if let Some(which) = which.checked_rem(console.held.len()) {
                let (id, call) = console.held.remove(which);
                console.answer(id, call);
            }
        }
        prop_assert!(console.held.is_empty() && console.state.login.is_some(), "{}", console.screen());
        let event = TailEvent::Ended(Some(Box::new(refused(ProblemType::Unauthenticated))));
        console.feed(EventKind::Tail { epoch: console.state.log.epoch, event });
        prop_assert_eq!(console.count("POST /token/refresh"), 1);
        // And once it is asked who that is.
        let most = if is_refused { 1 } else { 2 + waiting };
        prop_assert!(console.calls.len() - before <= most, "{:?}", &console.calls[before..]);
        console.wait(2_000_000);
        prop_assert_eq!(console.count("POST /token/refresh"), 1);
    }
}
