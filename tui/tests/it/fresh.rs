//! When lists are read again: after what was done here at once, and after what others did where nobody is anywhere in them.

use common::audit::{Action as Audited, Actor, Entry, Outcome, Target};
use common::client::{ClientError, LogEvent};
use tui::action::{Action, Report};
use tui::event::{EventKind, TailEvent};

use crate::console::{Console, Registry};

/// An entry of the log comes: something was done to model 1.
fn log(console: &mut Console, index: u64, action: Audited) {
    let target = Target {
        kind: "version".into(),
        id: "01J3Z800000000000000000001".into(),
        version: Some("50".into()),
        digest: None,
        size: None,
    };
    log_of(console, index, action, target, &[]);
}

/// An entry about an item of the drop folder comes.
fn log_item(console: &mut Console, index: u64, action: Audited, place: u64) {
    let id = format!("01J3Z8000000000000000{place:05}");
    let target = Target { kind: "item".into(), id, version: None, digest: None, size: None };
    log_of(console, index, action, target, &[("detail", "not the content of a model")]);
}

fn log_of(console: &mut Console, index: u64, action: Audited, target: Target, data: &[(&str, &str)]) {
    let entry = Entry {
        seq: index,
        id: format!("id-{index}"),
        ts: 1_784_721_791_000,
        node: "n".into(),
        salt: [u8::try_from(index).unwrap(); 32],
        action,
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: None,
        target: Some(target),
        req: None,
        data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect(),
    };
    let epoch = console.state.log.epoch;
    let event = TailEvent::News(vec![LogEvent::Entry { index, leaf: entry.to_leaf().unwrap() }]);
    console.feed(EventKind::Tail { epoch, event });
}

/// An upload that ends in quarantine is seen there at once, whichever screen was on show when it ended.
#[test]
fn own_upload() {
    let mut console = Console::signed_in(80, 24, Registry { quiet: true, ..Registry::default() });
    console.press("4").wait(400);
    assert!(console.shows("nothing is held"), "{}", console.screen());
    console.press("1").wait(400).press(":upload hostile.pkl team-nlp/x<Enter>");
    let job = console.others.iter().find_map(|action| match action {
        Action::Job { id, .. } => Some(*id),
        _ => None,
    });
    let models = console.count("GET /models");
    console.registry.quiet = false;
    console.feed(EventKind::Job { id: job.unwrap(), report: Report::Over(Ok("team-nlp/x v1: quarantined".into())) });
    assert_eq!((console.count("GET /models"), console.count("GET /quarantine")), (models + 1, 2));
    assert!(console.shows("4Qua4"), "the count in the header comes with the list: {}", console.screen());
    console.press("4").wait(400);
    assert_eq!(console.count("GET /quarantine"), 2, "it was read when the upload ended");
    assert!(console.shows("1 of 4 held") && !console.shows("CHANGED"), "{}", console.screen());
}

/// What comes of an item that was tried again from here is told once: as soon as the list shows it, or the log on another screen.
#[test]
fn own_retry() {
    let message = |console: &Console| console.state.message.as_ref().map(|note| note.text.clone()).unwrap_or_default();
    let why = "notes.docx was rejected again: not the content of a model";
    let retried = |registry: Registry| {
        let mut console = Console::signed_in(80, 24, registry);
        console.press("3").wait(400).press("5jry");
        assert!(message(&console).starts_with("notes.docx is tried again"), "{}", console.screen());
        console
    };
    let mut console = retried(Registry::default());
    console.wait(5_000);
    assert!(!message(&console).contains("rejected again"), "nothing came of it yet: {}", console.screen());
    console.registry.items_since = "2026-07-22T12:03:19.000Z";
    let asked = console.count("GET /ingest");
    console.wait(5_000);
    assert_eq!((message(&console).as_str(), console.count("GET /ingest")), (why, asked + 1), "{}", console.screen());
    console.press("j").wait(20_000);
    assert_eq!(message(&console), "", "it is told once");

    let mut console = retried(Registry { revision: 0, ..Registry::default() });
    console.press("1").wait(400);
    let asked = console.count("GET /ingest");
    // The retry is entry 1: what came before it, and what is of another item, is no news of it.
    log_item(&mut console, 0, Audited::IngestReject, 5);
    log_item(&mut console, 1, Audited::IngestRetry, 5);
    log_item(&mut console, 2, Audited::IngestReject, 4);
    assert!(!message(&console).contains("rejected again"), "{}", message(&console));
    log_item(&mut console, 3, Audited::IngestReject, 5);
    assert_eq!((message(&console).as_str(), console.count("GET /ingest")), (why, asked), "{}", console.screen());
    console.press("j").wait(10_000);
    log_item(&mut console, 4, Audited::IngestReject, 5);
    assert_eq!(message(&console), "");
}

/// What comes of an item waits until what was just done has been told, with its way back.
#[test]
fn own_retry_and_then_something_else() {
    let message = |console: &Console| console.state.message.as_ref().map(|note| note.text.clone()).unwrap_or_default();
    let mut console = Console::signed_in(80, 24, Registry { revision: 0, ..Registry::default() });
    console.press("3").wait(400).press("5jry").wait(400);
    console.press("1").wait(400).press("jDteam-nlp/ner-multi-998<Enter>");
    assert!(message(&console).contains("u undo (8 s)"), "{}", console.screen());
    log_item(&mut console, 0, Audited::IngestReject, 4);
    log_item(&mut console, 1, Audited::IngestRetry, 5);
    log(&mut console, 2, Audited::ModelDelete);
    log_item(&mut console, 3, Audited::IngestReject, 5);
    assert!(message(&console).contains("u undo (8 s)"), "{}", message(&console));
    console.wait(9_000);
    assert_eq!(message(&console), "notes.docx was rejected again: not the content of a model");
}

/// The count comes at once where the list was never looked at as well.
#[test]
fn own_upload_that_is_only_counted() {
    let mut console = Console::signed_in(80, 24, Registry { quiet: true, ..Registry::default() });
    console.press(":upload hostile.pkl team-nlp/x<Enter>");
    let job = console.others.iter().find_map(|action| match action {
        Action::Job { id, .. } => Some(*id),
        _ => None,
    });
    console.registry.quiet = false;
    console.feed(EventKind::Job { id: job.unwrap(), report: Report::Over(Ok("team-nlp/x v1: quarantined".into())) });
    assert!(console.shows("4Qua4") && console.count("GET /quarantine") == 0, "{}", console.screen());
}

/// What was opened while nobody answered has the name it was chosen by, and is read as soon as somebody does: what is on show
/// at once, other screens when they are gone to.
#[test]
fn after_the_daemon_was_away() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    let name = console.state.models.list.selected().unwrap().name.to_string();
    let away = ClientError::Offline { address: "127.0.0.1:8000".into(), cause: "Connection refused".into() };
    console.registry.failure = Some(away);
    console.press("5").wait(400).press("1<Enter>").wait(400);
    assert!(console.shows("OFFLINE") && console.shows("FAILED"), "{}", console.screen());
    assert!(console.shows(&format!("Models   {name}")), "{}", console.screen());
    console.registry.failure = None;
    console.wait(11_000);
    assert!(!console.shows("OFFLINE") && !console.shows("FAILED") && console.shows("aliases"), "{}", console.screen());
    let users = console.count("GET /users");
    console.press("5").wait(400);
    assert!(console.count("GET /users") == users + 1 && console.shows("carol"), "{}", console.screen());
    // What was read well is not read again.
    let models = console.count("GET /models");
    console.press("1").wait(60_000);
    assert_eq!(console.count("GET /models"), models);
}

/// A list of entries that could not be read is, once the daemon answers.
#[test]
fn entries_after_the_daemon_was_away() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    let away = ClientError::Timeout { address: "127.0.0.1:8000".into(), seconds: 10 };
    console.registry.failure = Some(away);
    console.press("2").wait(400);
    assert!(console.shows("FAILED"), "{}", console.screen());
    console.registry.failure = None;
    console.wait(11_000);
    assert!(!console.shows("FAILED") && console.shows("9999"), "{}", console.screen());
}

/// A list in which nobody is anywhere is read again at once, then within a second: what is new is seen, and the row that was
/// selected stays selected. Where somebody went to a row, it is only said.
#[test]
fn changes_of_others() {
    let mut console = Console::signed_in(80, 24, Registry { quiet: true, ..Registry::default() });
    console.press("4").wait(60_000);
    log(&mut console, 0, Audited::ModelQuarantine);
    assert!(console.shows("nothing is held"), "{}", console.screen());
    console.registry.quiet = false;
    console.registry.decided.insert("team-nlp/ner-multi:50".to_owned());
    log(&mut console, 1, Audited::ModelQuarantine);
    console.wait(1_000);
    assert!(console.shows("1 of 3 held") && console.shows("asr-large:50"), "{}", console.screen());
    let selected = |console: &Console| console.state.quarantine.list.selected().map(|item| item.name.to_string());
    assert_eq!(selected(&console).as_deref(), Some("team-nlp/asr-large"));
    // One comes before it: the screen shows it, the selection stays.
    console.registry.decided.clear();
    console.wait(60_000);
    log(&mut console, 2, Audited::ModelQuarantine);
    assert_eq!(selected(&console).as_deref(), Some("team-nlp/asr-large"));
    assert!(console.shows("ner-multi:50") && console.shows("2 of 4 held"), "{}", console.screen());
    // A key that was typed meanwhile is about the row that was selected.
    console.press("A");
    assert!(console.shows("asr-large:50"), "{}", console.screen());
    console.press("<Esc>j").wait(60_000);
    let before = console.count("GET /quarantine");
    log(&mut console, 3, Audited::ModelQuarantine);
    log(&mut console, 4, Audited::ModelQuarantine);
    console.wait(2_000);
    assert_eq!(console.count("GET /quarantine"), before + 1);
    assert!(console.shows("CHANGED (C-r)"), "{}", console.screen());
}

/// A note is about the version that was selected when it was begun, whatever becomes of the list meanwhile.
#[test]
fn a_note_while_the_list_changes() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("4").wait(60_000).press("nasked ");
    console.registry.decided.insert("team-nlp/ner-multi:50".to_owned());
    log(&mut console, 0, Audited::ModelBlock);
    console.press("dave<Enter>");
    let noted = console.calls.iter().find_map(|call| match call {
        tui::action::Call::Change { change, .. } => Some(change.object.name()),
        _ => None,
    });
    assert_eq!(noted.as_deref(), Some("team-nlp/ner-multi:50"));
}

/// `f` holds the rows of the drop folder still, and lets them be read again.
#[test]
fn held_still() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("3").wait(400);
    let before = console.count("GET /ingest");
    console.press("f").wait(60_000);
    assert!(console.count("GET /ingest") == before && console.shows("HELD STILL (f)"), "{}", console.screen());
    console.press("<C-r>");
    assert_eq!(console.count("GET /ingest"), before + 1);
    console.press("f").wait(10_000);
    assert!(console.count("GET /ingest") > before + 2 && !console.shows("HELD"), "{}", console.screen());
}

/// Whoever went to the end of a text is at its end when it has grown, and goes up from there.
#[test]
fn at_the_end_of_a_text() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("4").wait(60_000).press("<Enter>").wait(400);
    // What is said of it has not come yet.
    let review = console.state.quarantine.reading.as_mut().unwrap().review.take();
    console.press("G");
    assert!(!console.shows("asked dave"), "{}", console.screen());
    let end = console.screen();
    console.state.quarantine.reading.as_mut().unwrap().review = review;
    let line = |screen: &str, row: usize| screen.lines().nth(row).unwrap_or_default().to_owned();
    assert_eq!(line(&console.screen(), 21), line(&end, 21), "the last line is still the last");
    let last_but_one = line(&console.screen(), 20);
    console.press("k");
    assert_eq!(line(&console.screen(), 21), last_but_one, "{}", console.screen());
}
