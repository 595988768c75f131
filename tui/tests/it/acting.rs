//! Tables of deeds: what is asked, what is sent, what is told, what is taken back.

use common::client::ClientError;
use common::client::Sweep;
use common::grant::Grant;
use common::problem::ProblemType;
use common::role::Role;
use tui::action::{Action, Call, Job, Report, Rows};
use tui::event::EventKind;
use tui::state::deeds::{Base, Change, Deed, Object, Tier};
use tui::state::dialog::Dialog;
use tui::state::{Level, Screen};

use crate::console::{Console, Registry, refused};

fn console() -> Console {
    Console::signed_in(100, 30, Registry::default())
}

/// All changes that were sent.
pub(crate) fn sent(console: &Console) -> Vec<(Object, Deed, Option<String>, u64)> {
    console
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Change { change, if_match, key } => {
                Some((change.object.clone(), change.deed.clone(), if_match.clone(), *key))
            }
            _ => None,
        })
        .collect()
}

pub(crate) fn message(console: &Console) -> String {
    console.state.message.as_ref().map(|note| note.text.clone()).unwrap_or_default()
}

fn offline() -> ClientError {
    ClientError::Offline { address: "a".into(), cause: "cut".into() }
}

/// A deletion is asked about by name: nothing but the whole true name and Enter does it.
#[test]
fn deleting_by_name() {
    let name = "team-nlp/asr-small-999".replace("asr-small-999", "ner-multi-998");
    for (typed, is_done) in [
        ("<Enter>", false),
        ("y", false),
        ("yyyy<Enter>", false),
        ("DDDD<Enter>", false),
        ("team-nlp/ner-multi-99<Enter>", false),
        ("team-nlp/ner-multi-998", false),
        ("team-nlp/ner-multi-998 <Enter>", false),
        ("TEAM-NLP/ner-multi-998<Enter>", false),
        ("team-nlp/ner-multi-998<Esc><Enter>", false),
        ("team-nlp/ner-multi-998<Enter>", true),
        ("x<Backspace>team-nlp/ner-multi-998<Enter>", true),
    ] {
        let mut console = console();
        console.press("jD");
        assert!(console.shows(&name) && console.shows("Type the name"), "{}", console.screen());
        console.press(typed);
        assert_eq!(sent(&console).len(), usize::from(is_done), "{typed}\n{}", console.screen());
    }
}

/// What was typed before the question could be read is dropped, and pasted text never confirms.
#[test]
fn typed_ahead_and_pasted() {
    let mut console = console();
    console.ahead("jDteam-nlp/ner-multi-998<Enter>");
    assert!(sent(&console).is_empty());
    console.see().press("<Enter>");
    assert!(sent(&console).is_empty(), "nothing of what was typed ahead may be there");
    console.feed(EventKind::Paste("team-nlp/ner-multi-998\n".into()));
    assert!(sent(&console).is_empty());
    console.press("<Enter>");
    assert_eq!(sent(&console).len(), 1);
    // The same for a question that one key answers.
    let mut console = Console::signed_in(100, 30, Registry::default());
    console.press("5").wait(400).press("jL").press("");
    console.state.dialog = None;
    console.ahead("Ly");
    assert!(sent(&console).is_empty());
    console.see().press("y");
    assert_eq!(sent(&console).len(), 1);
}

/// One key does what is bounded; Enter and any other key don't; a strict profile asks by name.
#[test]
fn one_key() {
    for (keys, is_done) in
        [("Ly", true), ("L<Enter>", false), ("Lxj<Space>", false), ("L<Esc>y", false), ("Lny", false)]
    {
        let mut console = console();
        console.press("5").wait(400).press("j").press(keys);
        assert_eq!(sent(&console).len(), usize::from(is_done), "{keys}");
    }
    let mut strict = console();
    strict.state.settings.strict = true;
    strict.press("5").wait(400).press("jLy<Enter>");
    assert!(sent(&strict).is_empty());
    strict.press("<C-u>bob<Enter>");
    assert_eq!(sent(&strict).len(), 1);
}

/// The question is about what was selected when it was asked, whatever the list does under it, and only what the daemon
/// says of it now is done, with its entity tag.
#[test]
fn the_object_is_fixed() {
    let mut console = console();
    console.hold = true;
    console.press("jD").press("team-nlp/ner-multi-998<Enter>");
    assert!(sent(&console).is_empty());
    assert!(console.shows("reading what it is now") || console.shows("still being read"), "{}", console.screen());
    console.registry.models = 2_000;
    console.release();
    console.ahead("<Enter>");
    assert!(sent(&console).is_empty(), "what it says was not seen yet");
    console.see().press("<Enter>");
    let sent = sent(&console);
    assert_eq!(sent[0].0.name(), "team-nlp/ner-multi-998");
    assert_eq!(sent[0].2.as_deref(), Some("\"9000\""));
}

/// The result says where it is logged, `u` takes it back for eight seconds and no longer, and only if nobody changed it.
#[test]
fn undoing() {
    let mut console = console();
    console.press("jDteam-nlp/ner-multi-998<Enter>");
    let text = message(&console);
    assert!(text.contains("deleted team-nlp/ner-multi-998") && text.contains("u undo (8 s)"), "{text}");
    assert!(text.contains("logged as 9001") && text.contains("request 0190f5f7"), "{text}");
    console.press("u");
    assert_eq!(sent(&console)[1].1, Deed::Restore);
    assert!(message(&console).contains("restored"), "{}", message(&console));
    console.press("u");
    assert_eq!(sent(&console).len(), 2);

    console.press("Dteam-nlp/ner-multi-998<Enter>").wait(8_001).press("u");
    assert_eq!(sent(&console).len(), 3, "too late");

    // Somebody was faster.
    let mut console = self::console();
    console.press("5").wait(400).press("jR<C-u>auditor<Enter>y");
    assert_eq!(sent(&console)[0].1, Deed::Role(Role::Auditor));
    console.registry.roles.insert("bob".into(), Role::Viewer);
    console.press("u");
    assert_eq!(sent(&console).len(), 1);
    assert!(message(&console).contains("changed meanwhile"), "{}", message(&console));
}

/// Why the form that is open was refused.
fn form_error(console: &Console) -> String {
    match &console.state.dialog {
        Some(tui::state::dialog::Dialog::Form(form)) => form.error.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// Somebody was first: who, when and what is different; nothing is overwritten.
#[test]
fn changed_by_another() {
    let mut console = console();
    console.press("p").press("<Tab><C-u>v50<Enter>");
    console.registry.prod = 40;
    console.registry.changes.push_back(refused(ProblemType::PreconditionFailed));
    console.press("y");
    // The form is there again, and says it.
    let text = form_error(&console);
    assert!(text.contains("prod") && text.contains("nothing was overwritten"), "{text}");
    assert!(text.contains("changed by "), "{text}");
    assert!(console.state.notes.iter().any(|note| note.level == Level::Error && note.text.contains(&text)));
}

/// No answer: it is said that it is not known, it is looked for, then what became of it is said. That it isn't there yet is not taken
/// for the end: the request may lie before a daemon that is slow. A deletion has no key: it is looked at, not repeated.
#[test]
fn not_known() {
    let unanswered = |error: ClientError| {
        let mut console = console();
        console.press("jDteam-nlp/ner-multi-998");
        console.registry.changes.push_back(error);
        console.press("<Enter>");
        assert!(message(&console).contains("not known whether it happened"), "{}", message(&console));
        console
    };
    let comes_true = |console: &mut Console| {
        let id = sent(console)[0].0.id();
        console.registry.deleted.insert(id);
    };
    for late_ms in [0, 1_500, 4_000] {
        let mut console = unanswered(offline());
        console.wait(late_ms);
        assert!(message(&console).contains("not known whether it happened"), "{}", message(&console));
        comes_true(&mut console);
        console.wait(8_500);
        assert!(message(&console).contains("deleted team-nlp/ner-multi-998"), "{}", message(&console));
        assert_eq!(sent(&console).len(), 1);
    }
    // Of one that doesn't come no more is said than was seen, and it is not sent again. What a proxy says is no answer.
    for error in [offline(), ClientError::Protocol("status 504, no problem document".to_owned())] {
        let mut console = unanswered(error);
        console.wait(20_000);
        assert!(message(&console).contains("it has not happened by now; a slow daemon may"), "{}", message(&console));
        assert_eq!(sent(&console).len(), 1);
    }
    // Nor where it can't be looked at.
    let mut console = unanswered(offline());
    console.registry.failure = Some(refused(ProblemType::Forbidden));
    console.registry.fails = |call| matches!(call, Call::Look(_));
    console.wait(1_500);
    assert!(message(&console).contains("it can't be told whether it happened"), "{}", message(&console));
}

/// What can be sent again with its key is, until there is an answer.
#[test]
fn sent_again() {
    // With an idempotency key the same change is sent again, with the same key.
    let mut console = console();
    console.press("5").wait(400).press("jP");
    console.registry.changes.extend([offline(), offline(), refused(ProblemType::AuditUnavailable)]);
    console.press("y").wait(10_000);
    let sent = sent(&console);
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|change| change.3 == sent[0].3));
    assert!(console.shows("abcde-fghjk-mnpqr-stuvw"));
}

/// A one-time password is shown once and copied once; keys that were typed ahead don't close it.
#[test]
fn one_time_password() {
    let mut console = console();
    console.press("5").wait(400).press("jP");
    console.feed(EventKind::Key(tui::event::keys("y").unwrap()[0]));
    console.ahead("<Esc><Enter>q");
    assert!(matches!(console.state.dialog, Some(Dialog::Secret(_))));
    assert!(console.shows("abcde-fghjk-mnpqr-stuvw"));
    console.see().press("yy<Enter>");
    let copies = console.others.iter().filter(|action| matches!(action, Action::Copy(_))).count();
    assert_eq!(copies, 1);
    console.press("<Esc>");
    assert!(!console.shows("abcde-fghjk") && console.state.dialog.is_none());
    assert!(!format!("{:?}", console.state).contains("abcde-fghjk"), "it is nowhere in the state");
    console.press("!");
    assert!(!console.shows("abcde-fghjk"));
}

/// Whose tokens they are isn't said before it is known.
#[test]
fn tokens_of_whom_is_not_known_yet() {
    // As after something was done to one, with the list of users read anew meanwhile.
    let unknown = |console: &mut Console| match &mut console.state.dialog {
        Some(Dialog::Tokens(tokens)) => tokens.is_service = None,
        other => panic!("{other:?}"),
    };
    let mut console = console();
    console.press("5").wait(400).press("j");
    console.hold = true;
    console.press("T");
    unknown(&mut console);
    console.press("a");
    assert_eq!(message(&console), "a: whether bob is a service account is being read");
    console.release().press("a");
    assert!(message(&console).contains("bob alone makes tokens of bob"), "{}", message(&console));
    let mut console = self::console();
    console.press("5").wait(400).press("j");
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.registry.fails = |call| matches!(call, Call::User(_));
    console.press("T");
    unknown(&mut console);
    console.press("a");
    assert_eq!(message(&console), "a: whether bob is a service account is not known: it was not read");
}

/// Tokens of a user lie over the screen; what is done to one is asked about by its label, and a new one is shown once.
#[test]
fn tokens() {
    let mut console = console();
    console.press("5").wait(400).press("jT");
    assert!(console.shows("API tokens of bob") && console.shows("06cfb8938p4tqkff"), "{}", console.screen());
    console.press("D");
    assert!(console.shows("Type the name") && console.shows("can't be undone"), "{}", console.screen());
    console.press("nightly<Enter>");
    let all = sent(&console);
    assert!(matches!(&all[..], [(Object::Token { id, .. }, Deed::RevokeToken, _, _)] if id == "06cfb8938p4tqkff"));
    assert!(console.shows("API tokens of bob"), "they are shown again: {}", console.screen());
    // Whoever says no to a question is back where it was asked.
    for keys in ["D", "E"] {
        console.press(keys);
        assert!(console.shows("Esc leaves") || console.shows("Esc leave"), "{}", console.screen());
        console.press("<Esc>");
        assert!(console.shows("API tokens of bob") && console.shows("06cfb8938p4tqkff"), "{}", console.screen());
    }
    // Those of a person are made by that person alone.
    assert!(console.shows("(a make one)"), "{}", console.screen());
    console.press("a");
    assert!(message(&console).contains("bob alone makes tokens of bob"), "{}", message(&console));
    console.press("<Esc>K");
    assert!(console.shows("a make one"), "{}", console.screen());
    console.press("a").press("x<Enter>model.fly<Enter>");
    console.press("<Enter><Enter>");
    assert!(console.shows("model.fly is no permission"), "{}", console.screen());
    console.press("<C-u><Enter><Enter><Enter>");
    let all = sent(&console);
    assert!(matches!(&all[1], (Object::User(user), Deed::NewToken(new), _, _) if user == "alice" && new.label == "x"));
    // Without an answer it is not made a second time: its secret is lost.
    let mut viewer = Console::signed_in(100, 30, Registry { role: Role::Viewer, ..Registry::default() });
    viewer.press("K");
    assert!(viewer.shows("API tokens of alice") && viewer.shows("no token"), "{}", viewer.screen());
    viewer.registry.changes.push_back(offline());
    viewer.press("a").press("x<Enter><Enter><Enter><Enter>").wait(5_000);
    assert_eq!(sent(&viewer).len(), 1);
    assert!(form_error(&viewer).contains("its secret is lost"), "{}", viewer.screen());
    assert_eq!(message(&viewer), "");
}

/// Many at once: counted first, above twenty asked about by their number; failures are listed and tried again.
#[test]
fn many() {
    let mut console = console();
    console.press("<Space>j<Space>j<Space>D");
    assert!(console.shows("Delete 3 models"), "{}", console.screen());
    assert!(console.shows("Type the number"));
    console.press("2<Enter>");
    assert!(sent(&console).is_empty());
    console.registry.changes.push_back(refused(ProblemType::Conflict));
    console.press("<C-u>3<Enter>");
    assert_eq!(sent(&console).len(), 3);
    assert!(message(&console).contains("2 of 3 done, 1 failed"), "{}", message(&console));
    console.press("J");
    assert!(console.shows("2 of 3 done, 1 failed"), "{}", console.screen());
    console.press("r<Esc>");
    assert_eq!(sent(&console).len(), 4);
    assert!(console.state.models.marks.is_empty(), "what is done is no longer marked");
}

/// Cancelling a run leaves what is not sent unsent.
#[test]
fn cancelling() {
    let mut console = console();
    for _ in 0..30 {
        console.press("<Space>j");
    }
    console.press("D30");
    console.hold = true;
    console.press("<Enter>");
    let first = sent(&console).len();
    assert!((1..30).contains(&first));
    console.press("JC").release();
    assert_eq!(sent(&console).len(), first);
    assert_eq!(console.state.changes.under_way(), 0);
}

/// What one may not do is said and nothing is sent; in a read-only profile and without the daemon neither.
#[test]
fn not_allowed() {
    let mut viewer = Console::signed_in(100, 30, Registry { role: Role::Viewer, ..Registry::default() });
    viewer.wait(200);
    // But for the question what they may do by now.
    let asked = |console: &Console| console.calls.len() - console.count("GET /me");
    let before = asked(&viewer);
    for key in ["D", "U", "p", "e"] {
        viewer.press(key);
        assert!(message(&viewer).contains("needs "), "{key}: {}", message(&viewer));
    }
    viewer.press("5").wait(400);
    assert_eq!((asked(&viewer), viewer.state.screen), (before, Screen::Users));
    assert!(viewer.shows("needs user.manage (admin); you are viewer"), "{}", viewer.screen());
    viewer.press("[");
    assert!(viewer.shows("(D delete)"), "{}", viewer.screen());

    let mut console = console();
    console.state.settings.readonly = true;
    console.press("jD");
    assert!(message(&console).contains("read-only") && console.state.dialog.is_none());
}

/// Description and tags: what is there is filled in and only what was changed is sent, with the state it was made for.
#[test]
fn editing() {
    let mut console = console();
    console.press("e").press("<C-u>better<Tab><End>, new=\"a, b\"<Enter>");
    let sent = sent(&console);
    let Deed::Edit { description, tags } = &sent[0].1 else { panic!("{sent:?}") };
    assert_eq!(description.as_deref(), Some("better"));
    let tags = tags.as_ref().unwrap();
    assert_eq!((tags["lang"].as_str(), tags["new"].as_str(), tags.len()), ("de", "a, b", 3));
    assert!(sent[0].2.is_some());
    assert!(message(&console).contains("u undo"), "{}", message(&console));
    console.press("e<Enter><Enter>");
    assert!(message(&console).contains("nothing was changed"));
    // What was typed stays through an Esc that may be a mistake.
    console.press("ex<Esc>");
    assert!(console.shows("Esc again leaves"));
    console.press("<Esc>");
    assert!(console.state.dialog.is_none());
}

/// An alias goes back to where it pointed before, by its history.
#[test]
fn rolling_back() {
    let mut console = console();
    console.press("p");
    assert!(console.shows("prod points at v52 now"), "{}", console.screen());
    // Where it pointed before is an entry of the log: it is asked for by a key only, and once.
    console.press("<Tab>").wait(1_000);
    assert_eq!(console.count("GET /models/{id}/aliases/{alias}/history"), 0);
    console.press("<C-u><Down>");
    assert!(console.shows("v51") && console.shows("by alice"), "{}", console.screen());
    console.press("<Down>");
    assert_eq!(console.count("GET /models/{id}/aliases/{alias}/history"), 1);
    // What was typed and taken back leaves it there; where typing rested at another alias, it can be asked for again.
    console.press("<S-Tab><End>x<Backspace>").wait(1_000);
    console.press("<Tab><C-u><Down><Down>");
    assert_eq!(console.count("GET /models/{id}/aliases/{alias}/history"), 1);
    console.press("<S-Tab>x").wait(1_000);
    console.press("<Backspace>").wait(1_000);
    console.press("<Tab><C-u><Down><Down>");
    assert_eq!(console.count("GET /models/{id}/aliases/{alias}/history"), 2);
    console.press("<Enter>");
    assert!(console.shows("prod: v52 -> v51"), "{}", console.screen());
    console.press("y");
    let Deed::Alias { to, .. } = &sent(&console)[0].1 else { panic!() };
    assert_eq!(to.map(|to| to.number()), Some(51));
}

/// Tiers: nothing lowers one, and one's own role is asked about by name.
#[test]
fn tiers() {
    use tui::state::deeds::Change;
    let console = console();
    let who = console.state.who.as_ref();
    let user = |name: &str| Object::User(name.to_owned());
    for (object, deed, tier) in [
        (user("bob"), Deed::Role(Role::Viewer), Tier::Asked),
        (user("alice"), Deed::Role(Role::Viewer), Tier::Named),
        (user("bob"), Deed::Grants(Vec::new()), Tier::Asked),
        (user("alice"), Deed::Grants(Vec::new()), Tier::Named),
        (user("alice"), Deed::Lock(true), Tier::Named),
        (user("bob"), Deed::Lock(true), Tier::Asked),
        (user("bob"), Deed::Revoke, Tier::Named),
        (user("bob"), Deed::Delete, Tier::Named),
    ] {
        assert_eq!(Change::new(object, deed.clone()).tier(who), tier, "{deed:?}");
    }
}

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A user's grants: a line each, wrong ones are said where they are, the question says what is new and what goes, and it can
/// be taken back.
#[test]
fn granting() {
    let granted = [("bob".to_owned(), grants(&["old/*:viewer"]))].into();
    let mut console = Console::signed_in(100, 30, Registry { granted, ..Registry::default() });
    console.press("5").wait(400).press("j<Enter>");
    assert!(console.shows("old/*:viewer"), "{}", console.screen());
    console.press("<Esc>e");
    assert!(console.shows("grants of bob") && console.shows("old/*:viewer"), "{}", console.screen());
    console.press("<C-u>team/*:king<Enter><Enter><Enter><Enter>");
    assert!(
        console.shows("\"king\" is none of viewer, contributor, auditor, admin, none, deny"),
        "{}",
        console.screen()
    );
    console.press("<C-u>team/*:contributor<Enter>*:none<Enter><Enter><Enter>");
    assert!(
        console.shows("New: team/*:contributor, *:none.") && console.shows("Gone: old/*:viewer."),
        "{}",
        console.screen()
    );
    assert!(sent(&console).is_empty());
    console.press("y");
    assert_eq!(sent(&console)[0].1, Deed::Grants(grants(&["team/*:contributor", "*:none"])));
    assert!(message(&console).contains("bob has team/*:contributor, *:none"), "{}", message(&console));
    console.press("u");
    assert_eq!(sent(&console)[1].1, Deed::Grants(grants(&["old/*:viewer"])));
}

/// What a grant gives for one model and not for another shows before anything is sent; of several only those are done that
/// may be; and what was granted meanwhile is found out by asking again.
#[test]
fn going_by_grants() {
    let granted = grants(&["team-nlp/ner-*:admin"]);
    let registry = Registry { role: Role::Viewer, grants: granted.clone(), ..Registry::default() };
    let mut console = Console::signed_in(100, 30, registry);
    console.press("D");
    assert!(console.state.dialog.is_none(), "{}", console.screen());
    assert!(message(&console).contains("needs model.delete for team-nlp/"), "{}", message(&console));
    console.press("jD");
    assert!(console.shows("Type the name") && console.shows("team-nlp/ner-multi-998"), "{}", console.screen());
    console.press("<Esc>").press("<Space>k<Space>D");
    let Some(Dialog::Confirm(question)) = &console.state.dialog else { panic!("{}", console.screen()) };
    assert_eq!((question.subjects.len(), question.count()), (2, 1));
    console.press("<Esc>");
    // A denial hides commands, too; what was granted meanwhile is known after the refusal.
    let mut console =
        Console::signed_in(100, 30, Registry { grants: grants(&["team-nlp/ner-*:deny"]), ..Registry::default() });
    console.press("jD");
    assert!(console.state.dialog.is_none());
    console.registry.grants = Vec::new();
    console.press("D").press("D");
    assert!(console.shows("Type the name"), "{}", console.screen());
}

/// The palette: commands and names by a few letters, arguments from memory, lines again from the history.
#[test]
fn palette() {
    let mut console = console();
    console.press(":");
    assert!(console.shows("palette") && console.shows("Tab complete"), "{}", console.screen());
    console.press("sort<Enter>");
    assert_eq!(console.state.models.sort, 2);
    console.press(":models alias:prod<Enter>");
    assert_eq!(console.state.models.filter, "alias:prod");
    console.press(":models alais:prod<Enter>");
    assert!(console.shows("did you mean alias?"), "{}", console.screen());
    console.press("<Esc>:<Up><Enter>");
    assert_eq!(console.state.models.filter, "alias:prod");
    console.press(":goto 1234<Enter>");
    assert_eq!(console.state.screen, Screen::Audit);
    // Places of the log are offered: what is selected there, times, and what was typed where it is one.
    console.wait(400).press(":goto ");
    assert!(console.shows("the selected entry") && console.shows("an hour ago, UTC"), "{}", console.screen());
    console.press("<Esc>").press("1").wait(400).press(":77");
    assert!(console.shows("the entry of this index"), "{}", console.screen());
    console.press("<Enter>");
    assert_eq!(console.state.screen, Screen::Audit);
    console.wait(400).press("1").wait(400).press(":12:02");
    assert!(console.shows("the first entry of this time"), "{}", console.screen());
    console.press("<Esc>").press("1").wait(400).press(":set ascii on<Enter>");
    assert!(console.state.settings.ascii);
    console.press(":nonsense words<Enter>");
    assert!(console.shows("is no command"), "{}", console.screen());
    console.press("<Esc>");
    // Names that are not loaded are asked for when typing rests.
    let before = console.calls.len();
    console.press(":open xy");
    assert_eq!(console.calls.len(), before);
    console.wait(200);
    assert_eq!(console.calls.len(), before + 1);
    console.press("<Esc>");
    assert!(console.state.dialog.is_none());
}

/// The palette shows what is not allowed, with the reason, and doesn't do it.
#[test]
fn palette_of_a_viewer() {
    let mut viewer = Console::signed_in(100, 30, Registry { role: Role::Viewer, ..Registry::default() });
    viewer.press(":delete");
    assert!(viewer.shows("(delete)") && viewer.shows("needs model.delete"), "{}", viewer.screen());
    viewer.press("<Enter>");
    assert!(matches!(viewer.state.dialog, Some(Dialog::Palette(_))));
    assert!(sent(&viewer).is_empty());
}

/// Marks stay while pages come and go; `*` marks all that match; Esc takes them away before the filter.
#[test]
fn marks() {
    let mut console = console();
    console.press("/abc<Enter>*");
    assert!(message(&console).contains("all 100 that match"), "{}", message(&console));
    assert!(console.shows("all 100 marked"));
    console.press("<Esc>");
    assert_eq!((console.state.models.all, console.state.models.filter.as_str()), (None, "abc"));
    console.press("<Space>jjjv");
    assert_eq!(console.state.models.marks.len(), 4);
}

fn queue(keys: &str) -> Console {
    let mut console = console();
    console.press("3").wait(400).press(keys);
    console
}

/// What failed or was refused is tried again by `y` and nothing else; what is under way can't be, and that is said.
#[test]
fn retrying_an_item() {
    let mut console = queue("6j");
    console.press("r").press("<Enter>").press("x");
    assert!(sent(&console).is_empty() && console.shows("lang-id-3.onnx") && console.shows("tried 2 times"));
    console.press("y");
    let all = sent(&console);
    assert!(
        matches!(&all[..], [(Object::Item { path, .. }, Deed::Retry, _, _)] if path == "lang-id-3.onnx"),
        "{all:?}"
    );
    assert!(message(&console).contains("lang-id-3.onnx is tried again"), "{}", message(&console));
    assert_eq!(console.count("GET /ingest"), 2, "the list is read again");
    for (keys, why) in [
        ("r", "asr-large-9.safetensors is hashing"),
        ("D", "asr-large-9.safetensors is hashing"),
        ("4jr", "is quarantined"),
    ] {
        let mut console = queue("");
        console.press(keys);
        assert!(console.state.dialog.is_none() && message(&console).contains(why), "{keys}: {}", message(&console));
    }
}

/// An item is given up with a reason, which the daemon gets; without one nothing is sent.
#[test]
fn discarding_an_item() {
    let mut console = queue("5jD");
    console.press("<Enter>");
    assert!(console.shows("a reason is needed"), "{}", console.screen());
    console.press("no model<Enter>y");
    let all = sent(&console);
    assert!(matches!(&all[..], [(_, Deed::Discard { reason }, _, _)] if reason == "no model"), "{all:?}");
}

/// `P` pauses and, once paused, resumes; the question says who paused it and why.
#[test]
fn pausing_the_intake() {
    let mut console = queue("P");
    console.press("moving the disk<Enter>y");
    assert!(console.shows("intake PAUSED by bob"), "{}", console.screen());
    console.press("P");
    assert!(console.shows("bob paused it: the disk is being moved"), "{}", console.screen());
    console.press("moved<Enter>y");
    assert!(console.shows("intake ON"), "{}", console.screen());
    let deeds: Vec<Deed> = sent(&console).into_iter().map(|(_, deed, _, _)| deed).collect();
    assert_eq!(deeds, [Deed::Pause { reason: "moving the disk".into() }, Deed::Resume { reason: "moved".into() }]);
}

/// A release and a rejection each take a reason and the name typed; a rescan takes `y`. Neither Enter nor `y` releases.
#[test]
fn deciding_over_a_held_version() {
    for (keys, typed, is_done) in [
        ("A", "seen by us<Enter>y<Enter>", false),
        ("A", "<Enter>team-nlp/asr-large:50<Enter>", false),
        ("A", "seen by us<Enter>team-nlp/asr-large:50<Enter>", true),
        ("X", "it runs a shell<Enter>team-nlp/asr-large:5<Enter>", false),
        ("X", "it runs a shell<Enter>team-nlp/asr-large:50<Enter>", true),
        ("r", "<Enter>", false),
        ("r", "y", true),
    ] {
        let mut console = console();
        console.press("4").wait(400).press("j").press(keys).press(typed);
        let all = sent(&console);
        assert_eq!(all.len(), usize::from(is_done), "{keys} {typed}\n{}", console.screen());
        if is_done {
            assert!(matches!(&all[0].0, Object::Version { name, .. } if name == "team-nlp/asr-large"), "{all:?}");
            assert_eq!(console.count("GET /quarantine"), 2, "the list is read again");
        }
    }
    // What was blocked for good is released only as such.
    let mut console = console();
    console.press("4").wait(400).press("b").press("A").press("a mistake<Enter>team-nlp/ner-multi:50<Enter>");
    let all = sent(&console);
    assert!(matches!(&all[..], [(_, Deed::Release { override_block: true, .. }, _, _)]), "{all:?}");
}

/// Whoever may only read the drop folder sees its actions dim, with the reason, and sends nothing.
#[test]
fn a_viewer_changes_no_item() {
    let mut console = Console::signed_in(100, 30, Registry { role: Role::Viewer, ..Registry::default() });
    console.press("3").wait(400);
    assert!(console.shows("(r retry)") && console.shows("(P pause)"), "{}", console.screen());
    for key in ["6jr", "D", "P"] {
        console.press(key);
        assert!(message(&console).contains("needs ingest.manage (admin)"), "{key}: {}", message(&console));
    }
    assert!(sent(&console).is_empty() && console.state.dialog.is_none());
}

/// Two versions: what differs comes first, `n` goes from difference to difference, a text is fetched when it is asked for.
#[test]
fn comparing() {
    let mut console = console();
    console.press("<Enter>d");
    assert!(
        console.shows("v51 -> v52") && console.shows("metric.f1") && console.shows("+0.001"),
        "{}",
        console.screen()
    );
    assert!(console.shows("~ config.json") && console.shows("= weights/model"), "{}", console.screen());
    assert!(!console.shows("licence"));
    console.press("a");
    assert!(console.shows("licence"));
    console.press("a");
    let before = console.calls.len();
    console.press("nn<Enter>");
    assert_eq!(console.calls.len(), before + 2, "{}", console.screen());
    console.press("n");
    assert!(
        console.shows("-   \"num_labels\": 39,") && console.shows("+   \"num_labels\": 40,"),
        "{}",
        console.screen()
    );
    console.press("<Esc>");
    assert!(console.shows("VERSION"));
    // A marked version is the other side.
    console.press("<Space>jjjd");
    assert!(console.shows("v49 -> v52"), "{}", console.screen());
}

/// An export goes as a job, with the query that is shown; nothing is left while it runs unless it is said twice.
#[test]
fn exporting() {
    let mut console = console();
    console.press("/abc<Enter>x");
    assert!(console.shows("export csv all models-120311.csv"), "{}", console.screen());
    console.press("<Enter>");
    let Some(Action::Job { id, job }) = console.others.first().cloned() else { panic!("{:?}", console.others) };
    assert!(matches!(&*job, Job::Export { rows: Rows::Models(query), .. } if query.q == "abc"));
    console.feed(EventKind::Job { id, report: Report::Going { done: 50, total: Some(100) } });
    console.press("J");
    assert!(console.shows("50 %, 50 of 100"), "{}", console.screen());
    console.press("<Esc><Esc>q");
    assert!(message(&console).contains("q again leaves"), "{}", message(&console));
    console.press("jq");
    assert!(!console.others.contains(&Action::Quit), "another key in between asks anew");
    console.feed(EventKind::Job { id, report: Report::Over(Ok("100 rows".into())) });
    assert!(message(&console).contains("100 rows"));
    console.press("q");
    assert!(console.others.contains(&Action::Quit));
    // What is held and what was dropped go, too, as they are filtered.
    for (key, filter, name) in [("3", "/state:failed<Enter>", "queue"), ("4", "/rule:pickle.*<Enter>", "quarantine")] {
        let mut console = self::console();
        console.press(key).wait(400).press(filter).wait(400).press("x");
        assert!(console.shows(&format!("export csv all {name}-1203")), "{}", console.screen());
        console.press("<Enter>");
        let Some(Action::Job { job, .. }) = console.others.last().cloned() else { panic!("{:?}", console.others) };
        assert!(matches!(&*job, Job::Export { rows: Rows::Items(_) | Rows::Quarantined(_), .. }), "{job:?}");
    }
    // Marked ones go by their ids.
    let mut console = self::console();
    console.press("<Space>jj<Space>:export jsonl marked out.jsonl<Enter>");
    assert!(matches!(console.others.first(), Some(Action::Job { job, .. })
        if matches!(&**job, Job::Export { rows: Rows::Ids(ids), .. } if ids.len() == 2)));
}

/// The pane follows the selection when that has rested: passing by costs nothing.
#[test]
fn the_pane_follows() {
    let mut console = console();
    console.wait(200);
    let before = console.count("GET /models/{id}");
    console.press("jjjjj");
    assert_eq!(console.count("GET /models/{id}"), before);
    console.wait(200);
    assert_eq!(console.count("GET /models/{id}"), before + 1);
    console.wait(60_000);
    assert_eq!(console.count("GET /models/{id}"), before + 1);
}

/// What the log tells of changes by others is read again at once, then once in ten seconds at most; readings and what this
/// console did itself are not.
#[test]
fn changed_by_others() {
    use common::audit::{Action as Audited, Actor, Entry, Target};
    use common::client::LogEvent;
    use tui::event::TailEvent;
    let mut console = console();
    let entry = |index: u64, action: Audited| {
        let target = Target { kind: "model".into(), id: "01J3Z8".into(), version: None, digest: None, size: None };
        let entry = Entry {
            seq: index,
            id: format!("id-{index}"),
            ts: 1_784_721_791_000,
            node: "n".into(),
            salt: [u8::try_from(index).unwrap(); 32],
            action,
            outcome: common::audit::Outcome::Ok,
            actor: Actor::system(),
            change: None,
            prev: None,
            target: Some(target),
            req: None,
            data: [].into(),
        };
        let event = TailEvent::News(vec![LogEvent::Entry { index, leaf: entry.to_leaf().unwrap() }]);
        EventKind::Tail { epoch: 0, event }
    };
    console.press("j").wait(60_000);
    let before = console.count("GET /models");
    console.feed(entry(0, Audited::ModelDownload));
    assert_eq!(console.count("GET /models"), before);
    console.feed(entry(1, Audited::ModelUpdate));
    assert_eq!(console.count("GET /models"), before + 1);
    console.feed(entry(2, Audited::AliasSet));
    console.feed(entry(3, Audited::ModelUpload));
    assert!(console.count("GET /models") == before + 1 && console.shows("CHANGED (C-r)"), "{}", console.screen());
    console.wait(10_000);
    assert!(console.count("GET /models") == before + 2 && !console.shows("CHANGED"), "{}", console.screen());
    console.wait(60_000);
    assert_eq!(console.count("GET /models"), before + 2);
    // Nobody looks: it is said, and read when somebody does.
    console.feed(EventKind::Focus(false));
    console.feed(entry(4, Audited::ModelDelete));
    console.wait(60_000);
    assert!(console.count("GET /models") == before + 2 && console.shows("CHANGED (C-r)"));
    console.feed(EventKind::Focus(true));
    assert_eq!(console.count("GET /models"), before + 3);
}

/// All that match are marked as a query, counted by the daemon, asked about by that number, and changed by one request that
/// must find as many.
#[test]
fn all_that_match() {
    let mut console = console();
    console.press("*");
    assert!(console.shows("all 1 000 marked"), "{}", console.screen());
    let before = console.calls.len();
    console.press("D");
    assert_eq!(console.count("DELETE /models?dry_run=true"), 1);
    assert_eq!(console.calls.len(), before + 1, "they are not read one by one");
    assert!(console.shows("Delete 1 000 models: all that match"), "{}", console.screen());
    assert!(console.shows("none: ALL models of the registry"), "{}", console.screen());
    console.press("100<Enter>");
    assert!(console.shows("that is not the number"), "{}", console.screen());
    assert!(console.others.is_empty(), "{:?}", console.others);
    console.press("0<Enter>");
    let Some(Action::Job { id, job }) = console.others.last().cloned() else { panic!("{:?}", console.others) };
    assert!(
        matches!(&*job, Job::Sweep { sweep: Sweep::Delete, query, expected }
            if expected.matched == 1_000 && expected.set == "5e7" && query.limit.is_none() && query.cursor.is_none()),
        "{job:?}"
    );
    assert!(!console.shows("marked"), "what was marked is what is being changed: {}", console.screen());
    console.feed(EventKind::Job { id, report: Report::Going { done: 312, total: Some(1_000) } });
    console.press("J");
    assert!(console.shows("31 %, 312 of 1 000"), "{}", console.screen());
    // What was refused is listed, and tried again one by one.
    let object = Object::Model { id: "01J3Z800000000000000000098".into(), name: "team-nlp/held".into() };
    let refused = vec![(Change::new(object, Deed::Delete), "this needs the permission".to_owned())];
    console.feed(EventKind::Job { id, report: Report::Refused(refused) });
    let models = console.count("GET /models");
    console.registry.models = 1;
    console.feed(EventKind::Job { id, report: Report::Over(Ok("999 of 1 000 deleted, 1 refused".into())) });
    assert!(message(&console).contains("999 of 1 000 deleted"), "what came of it stays: {}", message(&console));
    assert_eq!(console.count("GET /models"), models + 1, "the list is read again");
    assert!(console.shows("team-nlp/held: this needs the permission"), "{}", console.screen());
    console.press("r");
    assert_eq!(console.count("DELETE /models/{id}"), 1);
}

/// Whatever makes the query another one takes the mark away; deleted ones are restored, and no others.
#[test]
fn all_that_match_is_the_filter_that_is_shown() {
    let mut console = console();
    console.press("*/ner<Enter>").wait(400);
    assert!(!console.shows("marked   "), "{}", console.screen());
    console.press("*U");
    assert!(message(&console).contains("is not deleted"), "{}", message(&console));
    console.press("<Space>");
    assert!(console.shows("1 marked") && !console.shows("all 1"), "{}", console.screen());
    // Esc takes the mark before the filter.
    console.press("*<Esc>");
    assert_eq!(message(&console), "nothing is marked");
    assert!(!console.shows("0 marked") && console.shows("filter: ner"), "{}", console.screen());
    // While they are counted nothing is taken; an error says why there is no number.
    console.press("*");
    console.hold = true;
    console.press("D");
    assert!(console.shows("counting them"), "{}", console.screen());
    console.press("7<Enter>");
    assert!(console.shows("still being read"), "{}", console.screen());
    console.registry.failure = Some(refused(ProblemType::Forbidden));
    console.hold = false;
    console.release();
    assert!(console.shows("Delete all models that match: "), "{}", console.screen());
    console.press("<Enter>");
    assert!(console.others.iter().all(|action| !matches!(action, Action::Job { .. })), "{:?}", console.others);
}

/// What is done to each on its own reads them first, and no more than can be marked.
#[test]
fn tags_of_all_that_match() {
    let mut console = console();
    console.press("*e").wait(400);
    assert!(console.shows("tags of 1 000 marked models"), "{}", console.screen());
    // Exports take the query.
    let mut console = self::console();
    console.press("*:export jsonl marked out.jsonl<Enter>");
    assert!(matches!(console.others.first(), Some(Action::Job { job, .. })
        if matches!(&**job, Job::Export { rows: Rows::Models(_), .. })));
}

/// What was refused because its thing had changed is asked about before it is tried again, and takes nobody's tags back.
#[test]
fn changed_things_are_asked_about_again() {
    let mut console = console();
    console.press("<Space>j<Space>e").press("stage=live<Enter><Enter>").wait(400);
    console.registry.changes.push_back(refused(ProblemType::PreconditionFailed));
    console.press("y").wait(400);
    assert!(message(&console).contains("1 failed"), "{}", message(&console));
    // Meanwhile somebody tagged it.
    console.registry.tags.insert("theirs".to_owned(), "kept".to_owned());
    let before = sent(&console).len();
    console.press("Jr").wait(400);
    assert!(console.shows("When it was tried: changed by"), "{}", console.screen());
    assert_eq!(sent(&console).len(), before, "nothing is sent before it was said");
    console.press("y");
    let all = sent(&console);
    assert_eq!(all.len(), before + 1, "{}", console.screen());
    let Deed::Edit { tags: Some(tags), description: None } = &all[before].1 else { panic!("{all:?}") };
    assert!(tags.contains_key("theirs"), "{all:#?}\n{}", console.screen());
    assert_eq!((tags["stage"].as_str(), tags["theirs"].as_str()), ("live", "kept"));
}

/// Whoever signs in anew finds unsent what was under way when the session ended: nothing goes on by itself.
#[test]
fn a_session_that_ends_amid_changes() {
    let mut console = console();
    console.press("<Space>j<Space>j<Space>j<Space>").press("D");
    console.registry.failure = Some(refused(ProblemType::Unauthenticated));
    console.press("4<Enter>").wait(400);
    assert!(console.shows("the session has ended"), "{}", console.screen());
    let before = sent(&console).len();
    console.registry.failure = None;
    console.press("again and again<Enter>").wait(400);
    assert_eq!(sent(&console).len(), before, "none is sent without a word");
    assert!(message(&console).contains("4 changes not sent, as the session had ended"), "{}", message(&console));
    console.press("Jr").wait(400);
    assert_eq!(sent(&console).len(), before + 4, "{}", console.screen());
}

/// Of items of the drop folder it is told by what they were before whether what got no answer happened.
#[test]
fn items_whose_answer_was_lost() {
    let base = |state: &str, since: &str| {
        let item = serde_json::json!({
            "id": "01J3Z800000000000000000001", "path": "a.bin", "kind": "file", "state": state, "reason": null, "size": 1,
            "files": 1, "bytes_done": 0, "bytes_per_second": null, "owner_uid": 0, "by": null, "seen_at": since,
            "state_since": since, "attempts": 1, "attempts_max": 5, "next_try_at": null, "name": null, "model": null,
            "version": null, "digest": null, "log_index": null, "place": "rejected/a.bin", "problem": null, "history": []
        });
        Base::Item(Box::new(serde_json::from_value(item).unwrap()))
    };
    let object = || Object::Item { id: "x".into(), path: "a.bin".into() };
    let discard = Change::new(object(), Deed::Discard { reason: "r".into() });
    let retry = Change::new(object(), Deed::Retry);
    let (early, late) = ("2026-07-22T12:00:00.000Z", "2026-07-22T12:05:00.000Z");
    for (change, before, now, expected) in [
        (&discard, base("rejected", early), base("rejected", early), Some(false)),
        (&discard, base("failed", early), base("rejected", late), Some(true)),
        (&discard, base("waiting", early), base("waiting", early), Some(false)),
        (&retry, base("failed", early), base("failed", early), Some(false)),
        (&retry, base("failed", early), base("failed", late), Some(true)),
        (&retry, base("failed", early), base("hashing", late), Some(true)),
    ] {
        assert_eq!(change.came_true(Some(&before), &now), expected, "{change:?} {before:?} {now:?}");
    }
    // One that was refused and given up is no more.
    assert!(discard.has_gone());
}

/// Rows of the queue, the quarantine and the users are marked, and what is done is about all of them; those it does not fit
/// are left out, and what was done is marked no longer.
#[test]
fn marked_rows() {
    let mut console = queue("*");
    assert!(console.shows("8 marked"), "{}", console.screen());
    console.press("r");
    assert!(console.shows("are left out"), "{}", console.screen());
    let Some(Dialog::Confirm(confirm)) = &console.state.dialog else { panic!("{}", console.screen()) };
    let (fit, all) = (usize::try_from(confirm.count()).unwrap(), confirm.subjects.len());
    assert!(fit > 1 && fit < all, "{fit} of {all}");
    console.press("y").wait(400);
    assert_eq!(sent(&console).len(), fit);
    assert_eq!(console.state.queue.marks.objects.len(), all - fit);
    console.press("<Esc>");
    assert!(console.state.queue.marks.is_empty(), "{}", console.screen());
    console.press("v");
    assert!(message(&console).contains("mark one with Space first"), "{}", message(&console));

    let mut console = self::console();
    console.press("4").wait(400).press("<Space>jjv");
    assert!(console.shows("3 marked"), "{}", console.screen());
    console.press("X").press("not ours<Enter>").wait(400).press("3<Enter>").wait(400);
    let deeds = sent(&console);
    assert_eq!(deeds.len(), 3, "{}", console.screen());
    assert!(deeds.iter().all(|(_, deed, ..)| *deed == Deed::Block { reason: "not ours".into() }), "{deeds:?}");

    let mut console = self::console();
    console.press("5").wait(400).press("j<Space>j<Space>L").press("y").wait(400);
    assert!(sent(&console).iter().all(|(_, deed, ..)| *deed == Deed::Lock(true)), "{:?}", sent(&console));
    assert_eq!(sent(&console).len(), 2, "{}", console.screen());
    console.press("<Space>x");
    assert!(console.shows("export csv marked users"), "{}", console.screen());
    console.press("<Enter>");
    let job = console.others.iter().rev().find_map(|action| match action {
        Action::Job { job, .. } => Some((**job).clone()),
        _ => None,
    });
    assert!(matches!(job, Some(Job::Export { rows: Rows::Marked(_, keys), .. }) if keys.len() == 1));
}
