//! Each screen at each size, compared with the pictures beside it. `MREG_UPDATE_PICTURES=1` draws them anew.

use std::path::Path;

use common::client::ClientError;
use common::problem::ProblemType;
use common::role::Role;
use common::tls::TlsError;
use tui::action::Call;
use tui::config::Credential;
use tui::event::Size;
use tui::state::ProfileRow;

use crate::console::{Console, Registry, refused};

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (40, 12)];

#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the program")]
fn check(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(format!("{name}.txt"));
    if std::env::var_os("MREG_UPDATE_PICTURES").is_some() {
        std::fs::write(&path, screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{name} is not as its picture; MREG_UPDATE_PICTURES=1 accepts this:\n{screen}");
}

/// Draws after keys, at every size.
fn pictures(name: &str, registry: &Registry, keys: &str) {
    for (width, height) in SIZES {
        let mut console = Console::signed_in(width, height, registry.clone());
        for part in keys.split('|') {
            console.press(part).wait(400);
        }
        console.wait(10_000);
        check(&format!("{name}-{width}x{height}"), &console.screen());
    }
}

#[test]
fn screens() {
    let registry = Registry::default();
    for (name, keys) in [
        ("models", "jjj"),
        ("model", "<Enter>jj"),
        ("version", "<Enter>jj<Enter>"),
        ("audit", "2"),
        ("entry", "2|kk<Enter>"),
        ("entries-marked", "2|k<Space>kkkv"),
        ("entries-export", "2|k<Space>x"),
        ("verification", "2|V"),
        ("queue", "3"),
        ("item", "3|jjjjjj<Enter>"),
        ("quarantine", "4"),
        ("held", "4|j<Enter>"),
        ("octets", "4|j|<Enter>|<Tab><Enter>"),
        ("note", "4|jn|asked dave"),
        ("held-filter", "4|/verdict:mal"),
        ("help-filter", "?/mark<Enter>"),
        ("users", "5|j"),
        ("users-filter", "5|/role:viewer<Enter>"),
        ("user", "5|j<Enter>"),
        ("health", "6"),
        ("help", "?"),
        ("messages", "!"),
        ("filter", "/rout"),
        ("delete", "jD"),
        ("delete-typed", "jD|team-nlp/ner"),
        ("delete-many", "<Space>j<Space>j<Space>D"),
        ("alias", "p"),
        ("alias-question", "p<Tab><Down><Enter>"),
        ("edit", "e"),
        ("palette", ":"),
        ("palette-alias", ":alias int"),
        ("compared", "<Enter>d|jjj"),
        ("compared-text", "<Enter>d|nn<Enter>|n"),
        ("export", "x"),
        ("jobs", "jDteam-nlp/ner-multi-998<Enter>J"),
        ("deleted", "jDteam-nlp/ner-multi-998<Enter>"),
        ("lock", "5|jL"),
        ("password", "5|jPy"),
        ("add-user", "5|a"),
        ("tokens", "5|jT"),
        ("tokens-own", "K"),
        ("add-token", "K|a"),
        ("rotate-token", "5|jTr"),
    ] {
        pictures(name, &registry, keys);
    }
}

#[test]
fn other_states() {
    pictures("hostile-models", &Registry { hostile: true, ..Registry::default() }, "j");
    pictures("hostile-audit", &Registry { hostile: true, ..Registry::default() }, "2|<Enter>");
    let hostile = Registry { hostile: true, ..Registry::default() };
    pictures("hostile-queue", &hostile, "3|<Enter>");
    pictures("hostile-quarantine", &hostile, "4|<Enter>");
    pictures("viewer-queue", &Registry { role: Role::Viewer, ..Registry::default() }, "3");
    let quiet = Registry { quiet: true, ..Registry::default() };
    pictures("quiet-queue", &quiet, "3");
    pictures("quiet-quarantine", &quiet, "4");
    let troubled = Registry { troubled: true, ..Registry::default() };
    pictures("troubled-queue", &troubled, "3");
    pictures("troubled-health", &troubled, "6");
    for (width, height) in SIZES {
        let mut console = crate::log::touched(width, height);
        for (name, key) in [("models", "1"), ("queue", "3"), ("quarantine", "4"), ("users", "5")] {
            console.press(key).wait(400);
            check(&format!("touched-{name}-{width}x{height}"), &console.screen());
        }
        let console = crate::log::not_live(width, height);
        check(&format!("not-live-{width}x{height}"), &console.screen());
    }
    pictures("empty", &Registry { models: 0, ..Registry::default() }, "");
    pictures("viewer", &Registry { role: Role::Viewer, ..Registry::default() }, "2");
    pictures("viewer-palette", &Registry { role: Role::Viewer, ..Registry::default() }, ":del");
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.press("<C-r>");
    check("stale-80x24", &console.screen());
    console.hold = true;
    console.press("s");
    check("loading-80x24", &console.screen());
    for (name, key) in [("queue", "3"), ("quarantine", "4"), ("health", "6")] {
        let mut console = Console::signed_in(80, 24, Registry::default());
        console.hold = true;
        console.press(key).wait(400);
        check(&format!("loading-{name}-80x24"), &console.screen());
        let mut console = Console::signed_in(80, 24, Registry::default());
        console.press(key).wait(400);
        console.registry.failure = Some(refused(ProblemType::Unavailable));
        console.press("<C-r>").wait(6_000);
        check(&format!("stale-{name}-80x24"), &console.screen());
    }
}

#[test]
fn forms() {
    for (width, height) in SIZES {
        let mut console = Console::new(Size { width, height }, Registry::default());
        console.begin(Credential::Ask);
        console.press("secret password");
        check(&format!("login-{width}x{height}"), &console.screen());
        console.registry.failure = Some(refused(ProblemType::BadCredentials));
        console.press("<Enter>");
        check(&format!("login-wrong-{width}x{height}"), &console.screen());
        console.registry = Registry { must_change_password: true, ..Registry::default() };
        console.press("secret password<Enter>");
        check(&format!("new-password-{width}x{height}"), &console.screen());
    }
}

/// In TLS the dialog says whose certificate it is before anything is sent, or what is wrong; there is room for both.
#[test]
fn login_in_tls() {
    for (width, height) in SIZES {
        let begin = |failure: Option<ClientError>| {
            let mut console = Console::new(Size { width, height }, Registry { failure, ..Registry::default() });
            console.state.settings.tls = true;
            console.begin(Credential::Ask);
            console.press("secret");
            let screen = console.screen();
            assert!(screen.contains("User") && screen.contains("Password") && screen.contains("******"), "{screen}");
            assert!(console.calls.iter().all(|call| *call == Call::Reach), "nothing is sent by itself");
            // Words are cut between lines.
            screen
                .split(|sign: char| sign.is_whitespace() || sign == '│')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(begin(None).contains("TLS ok, certificate of registry.example, 81 days"), "{width}x{height}");
        let problem = TlsError::WrongName { host: "h".into(), names: vec!["other.example".into()] };
        let told = begin(Some(ClientError::Tls { address: "https://h".into(), problem }));
        assert!(told.contains("https://h is not used: its certificate is for other.example"), "{told}");
    }
}

#[test]
fn daemons() {
    for (width, height) in SIZES {
        let mut console = Console::signed_in(width, height, Registry::default());
        console.state.settings.profile = "prod-eu".into();
        for (name, notes) in [("prod-eu", "strict"), ("staging", "read-only, remember"), ("a-name-that-is-long", "")] {
            console.state.settings.profiles.push(ProfileRow {
                name: name.into(),
                url: format!("http://{name}.example:8000"),
                user: "alice".into(),
                accent: None,
                notes: notes.into(),
            });
        }
        console.press("@j");
        check(&format!("daemons-{width}x{height}"), &console.screen());
        let mut console = Console::new(Size { width, height }, Registry::default());
        console.state.settings.can_remember = true;
        console.begin(Credential::Ask);
        console.press("secret<Tab>");
        check(&format!("login-remember-{width}x{height}"), &console.screen());
    }
}

/// With --ascii nothing of ours and nothing of others is above 0x7f.
#[test]
fn ascii() {
    let mut console = Console::signed_in(100, 30, Registry { hostile: true, ..Registry::default() });
    console.state.settings.ascii = true;
    for keys in ["", "<Enter>", "2", "<Enter>", "?"] {
        console.press(keys).wait(400);
        assert!(console.screen().is_ascii(), "{}", console.screen());
    }
}
