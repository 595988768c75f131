//! A daemon that is newer than the console: every word of a closed list is one that nobody here knows. It is shown as it came,
//! nothing is decided by it, and what depends on it is refused with the reason.

use tui::config::Credential;
use tui::event::Size;
use tui::state::Screen;

use crate::acting::{message, sent};
use crate::console::{Console, Registry};

fn console(word: &'static str) -> Console {
    Console::signed_in(120, 40, Registry { newer: Some(word), ..Registry::default() })
}

/// Every list and every page shows the word; the rest of the answers is as good as ever.
#[test]
fn words_are_shown() {
    let mut console = console("frozen");
    assert!(console.shows("alice frozen") && console.shows("1 000"), "{}", console.screen());
    let columns = |console: &Console, word: &str| console.screen().matches(word).count();
    assert!(columns(&console, " frozen ") > 20, "a state a row: {}", console.screen());
    console.press("<Enter>").wait(400);
    assert!(columns(&console, " frozen ") > 20, "{}", console.screen());
    console.press("<Enter>").wait(400).press("G");
    assert!(
        console.shows("state      frozen") && console.shows("(frozen)"),
        "state, and origins: {}",
        console.screen()
    );
    console.press("3").wait(400);
    assert!(columns(&console, " frozen ") >= 8 && console.shows("7 frozen"), "{}", console.screen());
    console.press("<Enter>").wait(400);
    assert!(columns(&console, "  frozen") >= 4, "its history: {}", console.screen());
    console.press("4").wait(400).press("b").wait(400);
    assert!(console.shows("frozen by alice"), "a decision: {}", console.screen());
    console.press("5").wait(400).press("j<Enter>").wait(400);
    let screen = console.screen();
    assert!(screen.contains("role       frozen since"), "{screen}");
    assert!(screen.contains("kind       its kind `frozen` isn't known to this mreg"), "{screen}");
    assert!(screen.contains("the role `frozen` isn't known to this mreg"), "{screen}");
    let grant = "team-nlp/*:\"frozen\" (unknown role)";
    assert!(screen.contains(&format!("{grant}: it isn't known to this mreg what that gives or takes")), "{screen}");
    assert!(!screen.contains("MAY NOT"), "that can't be said: {screen}");
    console.press("<Esc>T").wait(400);
    assert!(console.shows("frozen") && console.shows("model.read,frozen"), "{}", console.screen());
    console.press("<Esc>6").wait(400);
    assert!(console.shows("4 under way") || console.shows("2 under way"), "{}", console.screen());
    assert!(console.shows("7 frozen"), "{}", console.screen());
}

/// What depends on a state that is not known is refused with the reason, from the list and, where it was asked about before,
/// from the question; nothing is sent.
#[test]
fn nothing_is_decided_by_them() {
    let unknown = "state `frozen` isn't known to this mreg";
    let mut console = console("frozen");
    for keys in ["D", "U", "e", "p"] {
        console.press(keys).wait(400);
        assert!(message(&console).contains(unknown), "{keys}: {}", console.screen());
        assert!(console.state.dialog.is_none(), "{keys}: {}", console.screen());
    }
    console.press("<Enter>").wait(400);
    for keys in ["D", "U", "X", "p", "w"] {
        console.press(keys).wait(400);
        assert!(message(&console).contains(unknown), "{keys}: {}", console.screen());
        assert!(console.state.dialog.is_none(), "{keys}: {}", console.screen());
    }
    console.press("3").wait(400);
    for keys in ["r", "D"] {
        console.press(keys).wait(400);
        assert!(message(&console).contains(unknown), "{keys}: {}", console.screen());
    }
    // The list of what is held has no states: the question finds it.
    console.press("4").wait(400).press("A").wait(400).press("because<Enter>").wait(400);
    assert!(console.shows(unknown), "{}", console.screen());
    console.press("<Esc><Esc>5").wait(400).press("jP").wait(400);
    assert!(console.shows("its kind `frozen` isn't known to this mreg"), "{}", console.screen());
    console.press("<Enter>y<Esc><Esc>");
    assert!(sent(&console).is_empty());
}

/// A role and grants that are not known are not given again: neither by taking a change back nor along with others.
#[test]
fn nothing_is_given_again() {
    let mut console = console("curator");
    console.press("5").wait(400).press("jR<C-u>auditor<Enter>").wait(400);
    assert!(console.shows("curator -> auditor") && console.shows("isn't known to this mreg"), "{}", console.screen());
    console.press("y");
    assert_eq!(sent(&console).len(), 1);
    assert!(!message(&console).contains("u undo"), "{}", message(&console));
    console.press("u").wait(400).press("e");
    assert!(console.shows("team-nlp/*:\"curator\" (unknown role)"), "{}", console.screen());
    console.press("<Enter><Enter><Enter><Enter>");
    assert!(console.shows("is none of viewer, contributor"), "{}", console.screen());
    assert_eq!(sent(&console).len(), 1);
    // What came to a state that is not known since is left alone.
    let mut console = Console::signed_in(120, 40, Registry::default());
    console.press("jDteam-nlp/ner-multi-998<Enter>");
    assert!(message(&console).contains("u undo"), "{}", console.screen());
    console.registry.newer = Some("frozen");
    console.press("u");
    assert!(message(&console).contains("changed meanwhile"), "{}", console.screen());
    assert_eq!(sent(&console).len(), 1);
}

/// A role that is called as a denial is written is shown as a role that isn't known, and not made a denial by who edits grants.
#[test]
fn a_role_called_deny() {
    let mut console = console("deny");
    console.press("5").wait(400).press("j<Enter>").wait(400);
    assert!(console.shows("grants     team-nlp/*:\"deny\" (unknown role)"), "{}", console.screen());
    assert!(!console.shows("it is not even seen"), "{}", console.screen());
    console.press("<Esc>e<Enter><Enter><Enter><Enter>");
    assert!(console.shows("is none of viewer, contributor"), "{}", console.screen());
    assert!(sent(&console).is_empty());
}

/// Who signs in with a role that is not known may what the daemon says.
#[test]
fn signing_in() {
    let mut console =
        Console::new(Size { width: 100, height: 30 }, Registry { newer: Some("curator"), ..Registry::default() });
    console.begin(Credential::Ask);
    console.press("correct horse<Enter>").wait(400);
    assert!(console.shows("alice curator") && console.state.models.list.is_loaded(), "{}", console.screen());
    for (key, screen) in [("2", Screen::Audit), ("3", Screen::Queue), ("4", Screen::Quarantine), ("5", Screen::Users)] {
        console.press(key).wait(400);
        assert_eq!(console.state.screen, screen, "{}", console.screen());
    }
    // Once with each fresh token it is asked who that is, and no more often.
    let asked = console.count("GET /me");
    console.wait(1_500_000);
    assert_eq!(console.count("GET /me"), asked + 1, "{:?}", console.calls.last());
}

/// However a word is made, it changes nothing but its own place on the screen.
#[test]
fn words_are_text_of_others() {
    let mut console = console("\u{202e}\u{1b}[2J\n日本語e\u{301}");
    for width in [40, 60, 80, 120, 200] {
        console.feed(tui::event::EventKind::Resize(Size { width, height: 30 }));
        for keys in
            ["1", "<Enter>", "<Enter>", "<Esc><Esc>", "3", "<Enter>", "4", "b", "5", "<Enter>", "T", "<Esc>", "6"]
        {
            let screen = console.press(keys).wait(400).screen();
            assert!(!screen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{screen}");
        }
    }
}
