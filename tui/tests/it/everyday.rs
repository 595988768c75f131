//! What people stumbled over in everyday work: mistakes told whole, keys that do nothing not offered, lists that stay where one
//! was, names instead of ids.

use common::problem::ProblemType;
use common::role::Role;
use tui::action::{Action, Call};
use tui::event::EventKind;
use tui::state::Screen;

use crate::console::{Console, Registry, refused};

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

/// The last line of the screen.
fn hints(console: &Console) -> String {
    console.screen().lines().last().unwrap_or_default().to_owned()
}

/// What is on the screen as one line, so that a sentence is found however it is wrapped.
fn unwrapped(console: &Console) -> String {
    console.screen().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Times are typed as people say them, and are settled when the filter is set; a mistake is said once, and whole.
#[test]
fn times_in_filters() {
    let mut console = at(80, 24, "2|/since:7d until:yesterday outcome:denied<Enter>");
    let asked = console.calls.iter().rev().find_map(|call| match call {
        Call::Audit(query) => Some((query.since.clone(), query.until.clone())),
        _ => None,
    });
    assert_eq!(asked, Some(("2026-07-15T12:03:00.000Z".into(), "2026-07-21T23:59:59.999Z".into())));
    for (width, height) in [(120, 40), (80, 24), (40, 12)] {
        let mut console = at(width, height, "2|/since:lastweek<Enter>");
        let said = unwrapped(&console);
        let why =
            "since: lastweek: a time is one of 90m, 12h, 7d, today, yesterday, 12:02, 2026-07-22, 2026-07-22T12:02";
        assert_eq!(said.matches(&why["since: ".len()..]).count(), 1, "{}", console.screen());
        // It is typed on, and the mistake is gone with the next letter.
        console.press("x");
        assert!(!unwrapped(&console).contains("a time is one of"), "{}", console.screen());
    }
    console.press("1").wait(400).press("/since:12h rule:pickle.* licence:mit<Enter>");
    let asked = console.calls.iter().rev().find_map(|call| match call {
        Call::Models(query) => Some((query.since.clone(), query.rule.clone(), query.licence.clone())),
        _ => None,
    });
    assert_eq!(asked, Some(("2026-07-22T00:03:00.000Z".into(), "pickle.*".into(), "mit".into())));
}

/// What was decided leaves the list, the next one is selected, the message is about the former one; what is shown whole does not
/// turn into another version.
#[test]
fn decided_versions() {
    for (keys, is_open) in [("4|j", false), ("4|j|<Enter>", true)] {
        let mut console = at(80, 24, keys);
        assert_eq!(console.state.quarantine.detail.is_some(), is_open);
        console.press("Afine<Enter>team-nlp/asr-large:50<Enter>").wait(400);
        let selected = console.state.quarantine.list.selected().map(|item| item.name.to_string());
        assert_eq!(selected.as_deref(), Some("team-nlp/tts-anna"), "{}", console.screen());
        assert!(console.state.quarantine.detail.is_none() && console.shows("VERSION"), "{}", console.screen());
        assert!(message(&console).starts_with("released team-nlp/asr-large:50"), "{}", message(&console));
    }
    // Somebody else decided while it was read.
    let mut console = at(80, 24, "4|j|<Enter>");
    console.registry.decided.insert("team-nlp/asr-large:50".to_owned());
    console.press("<C-r>").wait(5_000);
    assert!(console.state.quarantine.detail.is_none(), "{}", console.screen());
    assert!(console.state.notes.iter().any(|note| note.text.contains("team-nlp/asr-large:50 is no longer held")));
}

/// Where there is nothing, no key is offered that needs something; on an empty log Enter holds nothing still.
#[test]
fn nothing_there() {
    let mut console = Console::signed_in(120, 40, Registry { quiet: true, ..Registry::default() });
    console.press("4").wait(400);
    for offered in ["Enter", "Tab", "release", "version", "note", "export"] {
        assert!(!hints(&console).contains(offered), "{}", hints(&console));
    }
    console.press("<Enter>");
    assert!(message(&console).contains("nothing is selected"), "{}", message(&console));
    let mut console = Console::signed_in(80, 24, Registry { entries: 0, ..Registry::default() });
    console.press("2").wait(400).press("<Enter>");
    assert!(console.state.audit.follow && console.state.audit.detail.is_none(), "{}", console.screen());
}

/// `o` shows the name of what the entries are about; the filter is by its id.
#[test]
fn entries_of_by_name() {
    for width in [80, 120] {
        let mut console = at(width, 24, "j|o");
        assert_eq!(console.state.screen, Screen::Audit);
        assert!(console.state.audit.filter.starts_with("target:0"), "{}", console.state.audit.filter);
        assert!(console.shows("target:team-nlp/ner-multi-998"), "{}", console.screen());
        // What is typed on from there is about the same thing.
        console.press("/ outcome:denied<Enter>");
        assert!(console.shows("target:team-nlp/ner-multi-998"), "{}", console.screen());
        let filter = console.state.audit.filter.clone();
        assert!(filter.starts_with("target:0") && filter.ends_with(" outcome:denied"), "{filter}");
        console.press("5").wait(400).press("jo").wait(400);
        assert!(console.shows("target:bob") && console.state.audit.filter == "target:usr_2", "{}", console.screen());
    }
}

/// A filter that fails leaves the line above whole.
#[test]
fn a_failed_filter() {
    let mut console = at(80, 24, "2");
    console.registry.failure = Some(crate::console::refused(common::problem::ProblemType::Unavailable));
    console.press("/actor:somebody-with-a-name action:model.upload<Enter>").wait(400);
    let state_line = console.screen().lines().nth(1).unwrap_or_default().to_owned();
    assert!(state_line.contains("actor:somebody-with-a-name action:model.upload"), "{state_line}");
    assert!(state_line.ends_with("FAILED"), "{state_line}");
}

/// What was not read yet, or could not be, is not said to be nothing.
#[test]
fn a_version_before_anything_is_known() {
    let mut console = at(80, 24, "");
    console.hold = true;
    console.press("<Enter>").wait(400).press("/v7<Enter>");
    let why = "v7 can't be found yet: the versions are being read; Enter looks again, Esc goes back";
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    console.press("<C-u>prod<Enter>");
    let why = "prod is no number such as 7, and the model's aliases are being read; Enter looks again, Esc goes back";
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    console.release();
    console.press("<Enter>");
    assert!(console.state.prompt.is_none(), "{}", console.screen());

    for (kind, status) in [(ProblemType::Forbidden, 403), (ProblemType::Unavailable, 503)] {
        let mut console = at(80, 24, "");
        console.registry.failure = Some(refused(kind));
        console.registry.fails = |call| matches!(call, Call::Model(_) | Call::Versions { .. });
        console.press("<Enter>").wait(400).press("/v7<Enter>");
        let text = unwrapped(&console);
        assert!(text.contains("v7 can't be found, the versions were not read: "), "{}", console.screen());
        assert!(text.contains(&format!("({status} ")), "{}", console.screen());
        console.press("<C-u>prod<Enter>");
        let text = unwrapped(&console);
        assert!(text.contains("and the model's aliases were not read: "), "{}", console.screen());
        assert!(!text.contains("it has none"), "{}", console.screen());
    }
}

/// In a model `/` goes to a version by number or alias.
#[test]
fn a_version_by_number_or_alias() {
    let mut console = at(80, 24, "<Enter>|/|v49<Enter>");
    let selected = |console: &Console| {
        console
            .state
            .models
            .open
            .as_ref()
            .and_then(|open| open.versions.selected())
            .map(|version| version.version.number())
    };
    assert_eq!(selected(&console), Some(49));
    console.press("/prod<Enter>");
    assert_eq!(selected(&console), Some(52), "{}", console.screen());
    console.press("/nothing<Enter>");
    let why = "nothing is neither a number such as 7 nor an alias of this model (prod, stage); Esc goes back";
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    // What is shown is said, and whether that is all.
    console.press("<C-u>999<Enter>");
    assert!(unwrapped(&console).contains("there is no v999: the newest is v52; Esc goes back"), "{}", console.screen());
    console.press("<C-u>1<Enter>");
    let why = "v1 is not among those read so far (v52 to v3); Esc goes back, PgDn and G there read on";
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    console.press("<Esc>99G");
    assert!(message(&console).starts_with("row 99 is not among those that were read"), "{}", message(&console));
    for _ in 0..9 {
        console.press("<PgDn>").wait(400);
    }
    console.press("/v999<Enter>");
    let why = "there is no v999: the list has all there is, 52 versions (v52 to v1); Esc goes back to it";
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    console.press("<Esc>99G");
    assert_eq!(message(&console), "there is no row 99: the model has 52 versions; / goes to one by its number");
    assert!(console.shows("52 of 52 versions"), "{}", console.screen());
    console.press("/1<Enter>");
    assert_eq!(selected(&console), Some(1));
    assert!(console.state.prompt.is_none() && console.state.models.filter.is_empty());
    assert!(hints(&console).contains("d compare"), "{}", hints(&console));
}

/// A confirmation that gets nothing says what to type.
#[test]
fn an_empty_confirmation() {
    let mut console = at(80, 24, "jD");
    console.press("<Enter>");
    assert!(unwrapped(&console).contains("type the name team-nlp/ner-multi-998 to do it"), "{}", console.screen());
}

/// Recovery codes: a key copies them, and Esc says why it doesn't close them.
#[test]
fn recovery_codes() {
    let mut console = at(80, 24, "<C-k>");
    console.press("secret-password<Enter>").press("123456<Enter>");
    assert!(console.shows("abcd-efgh-ijkl-mnop") && hints(&console).contains("y copy"), "{}", console.screen());
    console.press("<Esc>");
    assert!(console.shows("abcd-efgh-ijkl-mnop"), "{}", console.screen());
    assert!(unwrapped(&console).contains("Esc doesn't close this"), "{}", console.screen());
    console.press("y");
    let copied = console.others.iter().find_map(|action| match action {
        Action::Copy(text) => Some(text.clone()),
        _ => None,
    });
    assert_eq!(copied.as_deref(), Some("abcd-efgh-ijkl-mnop\nqrst-uvwx-yz23-4567"));
    console.press("<Enter>");
    assert!(console.state.enrol.is_none());
}

/// Help is read whole at 80 columns.
#[test]
fn help_is_whole() {
    for screen in ["1", "2", "3", "4", "5", "6"] {
        let console = at(80, 24, &format!("{screen}|?"));
        let lines = tui::view::overlay_lines(&console.state);
        let wide = lines.iter().map(|line| line.0.iter().map(|(text, _)| text.chars().count()).sum::<usize>()).max();
        assert!(wide.is_some_and(|wide| wide < 80), "{screen}: {wide:?}");
        let text: String = lines.iter().flat_map(|line| &line.0).map(|(text, _)| text.as_str()).collect();
        assert!(text.contains("your own API tokens"), "{screen}");
    }
}

/// What a user may do is what role and grants give together.
#[test]
fn role_and_grants() {
    let granted = ["team-nlp/*:contributor", "secret/*:deny"].map(|text| text.parse().unwrap()).to_vec();
    let registry = Registry { granted: [("eve".to_owned(), granted)].into(), ..Registry::default() };
    let mut console = Console::signed_in(100, 60, registry);
    console.press("5").wait(400).press("jjj<Enter>").wait(400);
    let text = unwrapped(&console);
    assert!(text.contains("team-nlp/*: model.read, model.write (as contributor)"), "{}", console.screen());
    assert!(text.contains("secret/*: nothing, whatever else fits"), "{}", console.screen());
    let may_not = text.split("MAY NOT").nth(1).unwrap_or_default();
    assert!(!may_not.contains("model.write") && may_not.contains("model.delete (admin)"), "{may_not}");
}

/// The queue's reason has the room of what matters less, and its state line has whole items only.
#[test]
fn queue_at_80_columns() {
    let console = at(80, 24, "3");
    let screen = console.screen();
    assert!(screen.contains("next 12:04:23  the blob store"), "{screen}");
    let state_line = screen.lines().nth(1).unwrap_or_default();
    assert!(!state_line.contains('~') && state_line.contains("1 failed"), "{state_line}");
    let mut console = at(80, 24, "3|jjjjjj<Enter>");
    assert!(unwrapped(&console).contains("the blob store timed out after 30 s"), "{}", console.screen());
    console.feed(EventKind::Focus(true));
}

/// Who locks somebody out is told what becomes of their API tokens; one who acts by an API token, what its scope lacks.
#[test]
fn tokens_and_locks() {
    use tui::state::deeds::{Base, Change, Deed, Object};
    let console = at(80, 24, "5|jj");
    let mut user = console.state.users.list.selected().unwrap().clone();
    user.tokens = 2;
    let base = Base::User(Box::new(user));
    let said = Change::new(Object::User("carol".into()), Deed::Lock(true)).consequences(Some(&base)).join(" ");
    assert!(said.contains("2 API tokens are refused while they are locked"), "{said}");
    let mut console = Console::signed_in(80, 24, Registry { role: Role::Admin, ..Registry::default() });
    let who = console.state.who.as_mut().unwrap();
    who.api_token = Some("ci".to_owned());
    who.permissions.retain(|permission| permission.as_str() != "model.delete");
    console.press("D");
    assert!(message(&console).contains("the scope of the API token ci lacks model.delete"), "{}", message(&console));
}

/// What was sent to be done.
fn deeds(console: &Console) -> Vec<tui::state::deeds::Deed> {
    let deed = |call: &Call| match call {
        Call::Change { change, .. } => Some(change.deed.clone()),
        _ => None,
    };
    console.calls.iter().filter_map(deed).collect()
}

/// `e` with marks puts tags on all of them and takes tags away; what else they have stays. `p` says that it is about one.
#[test]
fn tags_of_many() {
    use tui::state::deeds::Deed;
    let mut console = at(80, 24, "<Space>j<Space>e");
    assert!(console.shows("tags of 2 marked models"), "{}", console.screen());
    console.press("<Enter><Enter>");
    assert!(console.shows("there is nothing to put on them"), "{}", console.screen());
    console.press("team=nlp<Tab>lang<Enter>");
    assert!(console.shows("Edit 2 models") && console.shows("Put team=nlp. Take away lang."), "{}", console.screen());
    console.press("y");
    let tags = [("stage", "prod"), ("team", "nlp")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let edit = Deed::Edit { description: None, tags: Some(tags.into()) };
    assert_eq!(deeds(&console), [edit.clone(), edit]);
    let mut console = at(80, 24, "<Space>jp");
    assert!(message(&console).contains("not those marked"), "{}", message(&console));
    console.press("<Esc>");
    // Nothing is changed where all is so already.
    console.press("estage=prod<Enter><Enter>");
    assert!(console.shows("already tagged so"), "{}", console.screen());
}

/// `*` marks the rest where some are marked, and none where all are.
#[test]
fn all_after_some() {
    let mut console = at(80, 24, "<Space>j<Space>|*");
    assert_eq!(console.state.models.all, Some(Some(1_000)));
    assert!(console.state.models.marks.is_empty());
    console.press("*");
    assert!(!console.state.models.has_marks());
}

/// What a form proposes gives way to the first letter; of a role its beginning is enough, and what is wrong is said whole.
#[test]
fn proposals() {
    use tui::state::deeds::Deed;
    let mut console = at(80, 24, "5|a");
    console.press("vera<Enter>king<Enter>");
    assert!(unwrapped(&console).contains("use viewer, contributor, auditor or admin"), "{}", console.screen());
    console.press("<C-u>aud<Enter>");
    assert_eq!(deeds(&console), [Deed::Register(Role::Auditor)]);
    let mut console = at(80, 24, "5|ja");
    console.press("vera<Enter>c<Down>");
    assert!(console.shows("Role         contributor"), "{}", console.screen());
    // An alias that the model has is one of those to choose from.
    let mut console = at(80, 24, "p");
    assert!(console.shows("prod, stage"), "{}", console.screen());
    console.press("candidate<Enter>7<Enter>");
    assert!(console.shows("Point candidate at v7"), "{}", console.screen());
}

/// `c` copies the digest: of a version with several files all, with their names.
#[test]
fn digests() {
    let mut console = at(80, 24, "<Enter>|c");
    let copied = match console.others.last() {
        Some(Action::Copy(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    let lines: Vec<&str> = copied.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("sha256:"), "{copied}");
    assert!(lines[1].ends_with("  config.json"), "{copied}");
    console.press("3").wait(400).press("c");
    assert!(
        message(&console).contains("nothing to copy") || message(&console).contains("sha256:"),
        "{}",
        message(&console)
    );
}

/// Whoever was found by a filter is still selected when it goes.
#[test]
fn found_and_selected() {
    let mut console = at(80, 24, "5|/bob<Enter>");
    let selected = |console: &Console| console.state.users.list.selected().map(|user| user.username.to_string());
    assert_eq!(selected(&console).as_deref(), Some("bob"), "{}", console.screen());
    console.press("<Esc>").wait(400);
    assert!(console.state.users.filter.is_empty());
    assert_eq!(selected(&console).as_deref(), Some("bob"), "{}", console.screen());
}

/// The number of the screen that is shown leads back to its list.
#[test]
fn to_the_list() {
    let mut console = at(80, 24, "<Enter>|<Enter>|1");
    assert!(console.state.models.open.is_none(), "{}", console.screen());
    console.press("5").wait(400).press("<Enter>5").wait(400);
    assert!(console.state.users.detail.is_none() && console.shows("LAST LOGIN"), "{}", console.screen());
}

/// What is wrong is said whole, over the last rows; of what is done, the request goes first where there is no room.
#[test]
fn long_messages() {
    let why = "a reason that is much longer than a line of a terminal, and whose end is what helps: ask bob";
    let mut console = at(80, 24, "");
    console.feed(EventKind::Said(why.to_owned()));
    assert!(unwrapped(&console).contains(why), "{}", console.screen());
    console.press("j");
    assert!(!unwrapped(&console).contains("ask bob"), "{}", console.screen());
    let mut console = at(80, 24, "j|Dteam-nlp/ner-multi-998<Enter>");
    let line = console.screen().lines().rev().nth(1).unwrap_or_default().to_owned();
    assert!(line.contains("logged as 9001") && !line.contains('~'), "{line}");
    console.press("J");
    assert!(console.shows("delete team-nlp/ner-multi-998: done"), "{}", console.screen());
}

/// In a question with a reason the arrows go between its lines.
#[test]
fn between_reason_and_name() {
    let mut console = at(80, 24, "4|j|A");
    console.press("fin<Enter>team<Up>e<Down>-nlp/asr-large:50");
    assert!(console.shows("Reason fine") && console.shows("name: team-nlp/asr-large:50"), "{}", console.screen());
}

/// With a filter a place that matches nothing leads to the next that does.
#[test]
fn going_to_a_place_with_a_filter() {
    let console = at(80, 24, "2|/actor:alice<Enter>|9931G");
    let selected = console.state.audit.list.selected().map(|line| line.index);
    assert_eq!(selected, Some(9_935), "{}", console.screen());
    assert!(message(&console).contains("9935 is the first of these"), "{}", message(&console));
}

/// A message about one screen is not read on another, nor over or after a dialog; what was just done is told for its time.
#[test]
fn messages_belong_somewhere() {
    let refused = |keys: &str| {
        let mut console = at(80, 24, "4");
        console.press("99G");
        assert!(message(&console).contains("that number is not near"), "{}", message(&console));
        console.press(keys).wait(400);
        console
    };
    for keys in ["5", "-", ":", "?", "A"] {
        let console = refused(keys);
        assert_eq!(message(&console), "", "{keys}: {}", console.screen());
        assert!(console.state.notes.iter().any(|note| note.text.contains("that number is not near")), "{keys}");
    }
    // What the key itself says is of what it opened.
    let mut console = at(80, 24, "<Space>jp");
    assert!(message(&console).contains("not those marked"), "{}", message(&console));
    console.press("<Esc>");
    assert_eq!(message(&console), "");
    // A result stays.
    let mut console = at(80, 24, "j|Dteam-nlp/ner-multi-998<Enter>");
    console.press("5").wait(400).press(":<Esc>");
    assert!(message(&console).starts_with("deleted team-nlp/ner-multi-998"), "{}", console.screen());
    console.wait(8_000);
    assert_eq!(message(&console), "");
}

/// After a refusal the new password is typed anew, with the caret in its first field; the old one stays.
#[test]
fn refused_password() {
    use common::problem::ProblemType;
    use tui::config::Credential;
    use tui::event::Size;
    let registry = Registry { must_change_password: true, ..Registry::default() };
    let mut console = Console::new(Size { width: 80, height: 24 }, registry);
    console.begin(Credential::Ask);
    console.press("secret password<Enter>short<Enter>short");
    console.registry.failure = Some(crate::console::refused(ProblemType::WeakPassword));
    console.press("<Enter>");
    let form = console.state.new_password.clone().unwrap();
    assert_eq!((form.field, form.new[0].text(), form.new[1].text()), (1, "", ""), "{}", console.screen());
    assert_eq!(form.old.text(), "secret password");
    assert!(unwrapped(&console).contains("The password is too weak"), "{}", console.screen());
    console.registry.failure = None;
    console.press("a longer one that fits<Enter>a longer one that fits<Enter>");
    assert!(console.state.new_password.is_none(), "{}", console.screen());
}

/// `upload` says how it goes on, and Tab completes what lies here; the model's name is run as it is typed, not as it is offered.
#[test]
fn uploading_from_the_palette() {
    let mut console = at(80, 24, ":upload");
    assert!(console.shows("upload FILE NAME"), "{}", console.screen());
    let looked_for = |console: &Console| -> Vec<String> {
        let typed = console.others.iter().filter_map(|action| match action {
            Action::ListNames(typed) => Some(typed.clone()),
            _ => None,
        });
        typed.collect()
    };
    assert!(looked_for(&console).is_empty());
    console.press(" mo");
    assert_eq!(looked_for(&console), ["", "m", "mo"]);
    let names = |console: &mut Console, typed: &str, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        console.feed(EventKind::Names { typed: typed.to_owned(), names });
    };
    // What was looked for before is too late.
    names(&mut console, "m", &["mad.pkl"]);
    assert!(!console.shows("mad.pkl"));
    names(&mut console, "mo", &["models/", "mo re.pkl"]);
    assert!(console.shows("models/") && console.shows("folder"), "{}", console.screen());
    console.press("<Tab>");
    let line = |console: &Console| match &console.state.dialog {
        Some(tui::state::dialog::Dialog::Palette(palette)) => palette.line.text().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!((line(&console).as_str(), looked_for(&console).last().unwrap().as_str()), ("upload models/", "models/"));
    names(&mut console, "models/", &["models/a.pkl"]);
    console.press("<Tab>");
    assert_eq!(line(&console), "upload models/a.pkl ");
    console.press("team-nlp/toxicity");
    assert!(console.shows("team-nlp/toxicity-999"), "{}", console.screen());
    console.press("<Enter>");
    let job = console.others.iter().rev().find_map(|action| match action {
        Action::Job { job, .. } => Some((**job).clone()),
        _ => None,
    });
    let expected = tui::action::Job::Upload { path: "models/a.pkl".into(), name: "team-nlp/toxicity".into() };
    assert_eq!(job, Some(expected));
    // A name with blanks is shown, and said to be none for here.
    let mut console = at(80, 24, ":upload mo");
    names(&mut console, "mo", &["mo re.pkl"]);
    console.press("<Enter>");
    assert!(console.shows("a name with blanks"), "{}", console.screen());
}

/// A version that is handed out in spite of what was found looks like no other, in every list.
#[test]
fn released_in_spite_of_it() {
    let mut console = at(120, 40, "");
    for row in console.state.models.list.rows_mut() {
        row.verdict = Some("malicious".to_owned());
    }
    assert!(console.shows("available!") && console.shows("quarantined"), "{}", console.screen());
    let mut console = at(120, 40, "<Enter>");
    let inspection = serde_json::json!({"verdict": "suspicious", "ruleset": "r", "at": "2026-07-20T08:00:00.000Z",
        "stale": false, "findings_total": 1, "policy": "default"});
    let open = console.state.models.open.as_mut().unwrap();
    for version in open.versions.rows_mut() {
        version.inspection = Some(serde_json::from_value(inspection.clone()).unwrap());
    }
    let screen = console.screen();
    assert!(screen.contains("available!") && screen.contains("suspicious: it is handed out"), "{screen}");
}

/// A form that is refused stays, with what was typed and why, and the caret in the field that the refusal names; sent again it is
/// done, and gone.
#[test]
fn refused_forms() {
    use common::client::ClientError;
    use common::problem::ProblemType;
    use tui::state::dialog::{Dialog, Form};
    let refused = |kind: ProblemType, detail: &str| {
        let problem = Box::new(kind.problem(detail, "urn:uuid:0190f5f7-0000-4000-8000-000000000000"));
        ClientError::Problem { problem, retry_after_seconds: None }
    };
    let form = |console: &Console| -> Form {
        match &console.state.dialog {
            Some(Dialog::Form(form)) => (**form).clone(),
            other => panic!("{other:?}: {}", console.screen()),
        }
    };
    let wrong = "body.tags: a key has at most 64 octets";
    for (keys, refusal, at, typed) in [
        ("e|<C-u>new words<Enter>, x=y<Enter>", refused(ProblemType::Invalid, wrong), 1, "lang=de, stage=prod, x=y"),
        ("p|candidate<Enter><C-u>v99<Enter>|y", refused(ProblemType::NotFound, "no version 99"), 1, "v99"),
        ("5|jR<C-u>admin<Enter>|y", refused(ProblemType::Conflict, "the last admin would be lost"), 0, "admin"),
        ("5|a|vera<Enter>viewer<Enter>", refused(ProblemType::Invalid, "body.username: is taken"), 0, "vera"),
        (
            "5|je|a/*:viewer<Enter>b/*:viewer<Enter><Enter><Enter>|y",
            refused(ProblemType::Invalid, "body.grants[1]: no such pattern"),
            1,
            "b/*:viewer",
        ),
    ] {
        let mut console = at_start(keys, &refusal);
        let shown = form(&console);
        assert_eq!(
            (shown.at, shown.fields[at].line.text(), shown.sent),
            (at, typed, None),
            "{keys}: {}",
            console.screen()
        );
        let why = unwrapped(&console);
        let ClientError::Problem { problem, .. } = &refusal else { panic!() };
        assert_eq!(why.matches(problem.detail.split(": ").last().unwrap()).count(), 1, "{keys}: {}", console.screen());
        // What is typed once more is done: from the field on where the caret is.
        console.wait(400);
        for _ in shown.at..shown.fields.len() {
            console.press("<Enter>");
        }
        if matches!(console.state.dialog, Some(Dialog::Confirm(_))) {
            console.press("y");
        }
        assert!(!matches!(console.state.dialog, Some(Dialog::Form(_))), "{keys}: {}", console.screen());
    }
    // The history of an alias can be asked for in a form that came back.
    let mut console = at_start("p|<Tab><Down><Down>|<Enter>|y", &refused(ProblemType::Conflict, "said so"));
    let asked = |console: &Console| console.count("GET /models/{id}/aliases/{alias}/history");
    let before = asked(&console);
    console.press("<S-Tab><C-u>stage").wait(400).press("<Tab><Down>");
    assert!(asked(&console) == before + 1 && console.shows("by alice"), "{}", console.screen());
    // While it is sent, keys change nothing of it and nothing under it.
    let mut console = at(80, 24, "e|new words<Enter>");
    console.hold = true;
    console.press("<Enter>jj");
    assert!(form(&console).sent.is_some() && console.shows("sending"), "{}", console.screen());
    console.release();
    assert!(console.state.dialog.is_none(), "{}", console.screen());
}

/// A console after keys, whose changes are refused.
fn at_start(keys: &str, refusal: &common::client::ClientError) -> Console {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.registry.changes.push_back(refusal.clone());
    for part in keys.split('|') {
        console.press(part).wait(400);
    }
    console
}

/// Beside the pane the list of models keeps its aliases, and from 110 columns on its owners.
#[test]
fn columns_beside_the_pane() {
    for (width, heads) in [
        (100, "NAME STATE ALIAS UPDATED"),
        (110, "NAME STATE ALIAS OWNER UPDATED"),
        (120, "NAME VERS STATE ALIAS OWNER UPDATED"),
        (160, "NAME VERS STATE ALIAS OWNER SIZE UPDATED"),
    ] {
        let console = at(width, 30, "");
        let screen = console.screen();
        let line = screen.lines().nth(2).unwrap_or_default();
        let list = line.split('│').next().unwrap_or_default();
        assert_eq!(list.split_whitespace().collect::<Vec<_>>().join(" "), heads, "{screen}");
    }
}

/// With the clipboard off nothing is said to be sent: it is said that it is off, and how to turn it on.
#[test]
fn clipboard_off() {
    let copied = |console: &Console| console.others.iter().any(|action| matches!(action, Action::Copy(_)));
    let mut console = at(80, 24, "j");
    console.state.settings.can_copy = false;
    console.press("y");
    assert!(message(&console).starts_with("not sent: the clipboard is off (clipboard = "), "{}", message(&console));
    assert!(message(&console).ends_with("team-nlp/ner-multi-998") && !copied(&console));
    console.press("5").wait(400).press("jPy").press("y");
    assert!(console.shows("The clipboard is off: copy it by hand"), "{}", console.screen());
    assert!(message(&console).contains("the clipboard is off") && !copied(&console), "{}", message(&console));
}

/// What takes longer than two seconds says for how long, by itself; what was asked is in the list of messages with the id by which
/// the daemon's log knows it.
#[test]
fn slow_answers() {
    let mut console = at(80, 24, "");
    console.hold = true;
    console.press("5").wait(400);
    assert!(console.shows("loading") && !console.shows("loading 0"), "{}", console.screen());
    console.wait(1_500);
    assert!(!console.shows("loading 1 s"), "{}", console.screen());
    console.wait(3_000);
    assert!(console.shows("loading 3 s") || console.shows("loading 4 s"), "{}", console.screen());
    console.wait(60_000);
    assert!(console.shows("loading 63 s") || console.shows("loading 64 s"), "{}", console.screen());
    console.release();
    assert!(console.shows("bob") && !console.shows("loading"), "{}", console.screen());
    assert!(console.state.notes.iter().any(|note| note.text.starts_with("GET /users ok (request r), 6")));
}

/// The help says what the signs in lists mean and what verified means; `:help verification` goes there.
#[test]
fn signs_and_verification() {
    for (width, height) in [(120, 40), (80, 24), (40, 12)] {
        let console = at(width, height, ":help verification<Enter>");
        assert!(console.shows("Verified means: the log's key"), "{}", console.screen());
        let mut console = at(width, height, "?|/others changed it<Enter>");
        assert!(
            unwrapped(&console).contains("~ before a row: others changed it since it was read"),
            "{}",
            console.screen()
        );
        console.press("<Esc>/available!<Enter>");
        assert!(unwrapped(&console).contains("handed out in spite of what inspection found"), "{}", console.screen());
    }
}

/// `x` writes a comparison to a file, nothing of it cut.
#[test]
fn a_comparison_taken_along() {
    let mut console = at(80, 24, "<Enter>|d|x");
    let Some(Action::WriteFile { name, text, .. }) = console.others.last() else { panic!("{:?}", console.others) };
    assert_eq!(name, "compared-v51-v52-120311.txt");
    for said in [
        "team-nlp/summariser-0: v51 -> v52, ",
        "metric.f1\n  - 0.911\n  + 0.912  (+0.001)\n",
        "~ config.json  1 204 -> 1 204  changed",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    console.press("<Esc>x");
    assert!(console.shows("export csv all versions"), "{}", console.screen());
}

/// A click on a head sorts by that column, once more the other way round; a column that has no order says so.
#[test]
fn sorting_by_a_click() {
    use tui::event::{Gesture, Mouse};
    let click = |console: &mut Console, head: &str| {
        let screen = console.screen();
        let line = screen.lines().nth(2).unwrap_or_default();
        let x = line[..line.find(head).unwrap()].chars().count();
        console.feed(EventKind::Mouse(Mouse { what: Gesture::Click, x: u16::try_from(x).unwrap(), y: 2 }));
    };
    let sorted = |console: &Console| {
        let sort = console.calls.iter().rev().find_map(|call| match call {
            Call::Models(query) => Some(query.sort.clone()),
            Call::Users(query) => Some(query.sort.clone()),
            Call::Ingest(query) => Some(query.sort.clone()),
            _ => None,
        });
        sort.unwrap_or_default()
    };
    let mut console = at(120, 40, "");
    console.state.settings.mouse = true;
    for (head, order) in [("NAME", "name"), ("NAME", "-name"), ("UPDATED", "-updated_at"), ("UPDATED", "updated_at")] {
        click(&mut console, head);
        assert_eq!(sorted(&console), order, "{head}");
    }
    click(&mut console, "OWNER");
    assert_eq!(
        (sorted(&console).as_str(), message(&console).as_str()),
        ("updated_at", "the daemon has no order by OWNER")
    );
    console.press("5").wait(400);
    for (head, order) in [("ROLE", "role"), ("LAST LOGIN", "-last_login_at"), ("USER", "name"), ("USER", "-name")] {
        click(&mut console, head);
        assert_eq!(sorted(&console), order, "{head}");
    }
    console.press("3").wait(400);
    for (head, order) in [("FILE", "path"), ("FILE", "-path"), ("STATE", ""), ("STATE", "-work")] {
        click(&mut console, head);
        assert_eq!(sorted(&console), order, "{head}");
    }
    click(&mut console, "SIZE");
    assert_eq!(message(&console), "the daemon has no order by SIZE");
}

/// In another order another row is at the top: what was open is left, so that no key is about a row that nobody chose.
#[test]
fn sorting_leaves_the_detail() {
    for size in [(80, 24), (120, 40)] {
        for keys in ["3|3j<Enter>|s", "3|3j<Enter>|S"] {
            let console = at(size.0, size.1, keys);
            assert_eq!(console.state.queue.detail, None, "{}", console.screen());
        }
        for keys in ["5|j<Enter>|s", "5|j<Enter>|S"] {
            let console = at(size.0, size.1, keys);
            assert_eq!(console.state.users.detail, None, "{}", console.screen());
        }
    }
}

/// `o` on what is held opens its item of the drop folder where that is among those that were read, else the version.
#[test]
fn from_what_is_held() {
    let mut console = at(80, 24, "3|4|o");
    assert_eq!(console.state.screen, Screen::Queue, "{}", console.screen());
    let selected = console.state.queue.list.selected().map(|item| item.path.clone());
    assert_eq!(selected.as_deref(), Some("asr-large-8.tar"), "{}", console.screen());
    console.press("4").wait(400).press("jo");
    assert_eq!(console.state.screen, Screen::Models, "{}", console.screen());
}

/// One's own password is changed whenever one likes, whatever one may do; Esc leaves it as it is, and a token has none.
#[test]
fn ones_own_password() {
    let registry = Registry { role: Role::Viewer, ..Registry::default() };
    let mut console = Console::signed_in(80, 24, registry);
    console.press(":change-pa<Enter>");
    assert!(console.shows("change the password") && hints(&console).contains("Esc leave"), "{}", console.screen());
    console.press("the old one<Esc>");
    assert!(
        console.state.new_password.is_none() && message(&console).contains("stays as it is"),
        "{}",
        message(&console)
    );
    assert_eq!(console.count("POST /me/password"), 0);
    console.press(":change-password<Enter>").press("the old one<Enter>a longer one<Enter>another<Enter>");
    assert!(console.shows("the two new passwords differ"), "{}", console.screen());
    console.press("a longer one<Enter>a longer one<Enter>");
    assert_eq!((console.count("POST /me/password"), console.state.new_password.is_none()), (1, true));
    assert!(message(&console).starts_with("the password is changed"), "{}", message(&console));
    console.state.who.as_mut().unwrap().api_token = Some("nightly".into());
    console.press(":change-password<Enter>");
    assert!(message(&console).contains("an API token changes no password"), "{}", message(&console));
}

/// Tab adds the blank where words must follow, and throws away nothing that was typed.
#[test]
fn completing_keeps_what_is_typed() {
    let line = |console: &Console| match &console.state.dialog {
        Some(tui::state::dialog::Dialog::Palette(palette)) => palette.line.text().to_owned(),
        other => panic!("{other:?}"),
    };
    for (typed, completed) in [
        (":upl<Tab>", "upload "),
        (":upload<Tab>", "upload "),
        (":upl<Tab>fi", "upload fi"),
        (":uploadfi<Tab>", "uploadfi"),
    ] {
        let console = at(80, 24, typed);
        assert_eq!(line(&console), completed, "{typed}: {}", console.screen());
    }
    // A name that can't be run here is not put there; why is said.
    let mut console = at(80, 24, ":upload mo");
    console.feed(EventKind::Names { typed: "mo".into(), names: vec!["mo re.pkl".into()] });
    console.press("<Tab>");
    assert!(line(&console) == "upload mo" && unwrapped(&console).contains("takes it"), "{}", console.screen());
}

/// That the disk fills is a warning; what is refused, and from where on, stands beside it.
#[test]
fn a_disk_that_fills() {
    let mut console = at(100, 30, "6");
    console.state.health.selected = Some("disk");
    console.press("<Enter>");
    let said = unwrapped(&console);
    assert!(said.contains("nothing is refused by it") && said.contains("while less than 1.0 GiB is free"), "{said}");
}

/// Which aliases are protected is known before one is set, there already or not: whoever may not is told in the form.
#[test]
fn the_first_of_an_alias() {
    let console = at(80, 24, "p|<C-u>candidate<Tab>|<Enter>");
    assert!(unwrapped(&console).contains("candidate: none -> v52"), "{}", console.screen());
    let registry = Registry { role: Role::Contributor, ..Registry::default() };
    let mut console = Console::signed_in(80, 24, registry);
    console.press("jp").wait(400).press("<C-u>prod").wait(400);
    assert!(unwrapped(&console).contains("prod is protected: only admins"), "{}", console.screen());
    console.press("<Tab><C-u>50<Enter>");
    assert!(unwrapped(&console).contains("it is a protected alias: needs alias.protected"), "{}", console.screen());
    console.press("<C-u>candidate<Enter><Enter>").wait(400);
    assert!(unwrapped(&console).contains("candidate: none -> v50"), "{}", console.screen());
}

/// What the badge says of a silent log is what the manual says of it.
#[test]
fn what_late_means() {
    let console = at(120, 40, ":help verification<Enter>");
    assert!(unwrapped(&console).contains("no entry at all for 30 minutes"), "{}", console.screen());
}

/// The queue comes as it is worked on; by file and by last change it comes when asked, either way.
#[test]
fn orders_of_the_queue() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    let asked = |console: &Console| {
        let query = console.calls.iter().rev().find_map(|call| match call {
            Call::Ingest(query) => Some(query.sort.clone()),
            _ => None,
        });
        query.unwrap()
    };
    console.press("3").wait(400);
    assert_eq!(asked(&console), "");
    assert!(!console.shows("sort: "), "{}", console.screen());
    for (key, sort, words) in
        [("s", "path", "sort: file ^"), ("S", "-path", "sort: file v"), ("s", "-state_since", "sort: change v")]
    {
        console.press(key).wait(400);
        assert_eq!(asked(&console), sort);
        assert!(console.shows(words), "{}", console.screen());
    }
    // It stays so while it is read again and again.
    console.wait(6_000);
    assert_eq!(asked(&console), "-state_since");
    console.press("s").wait(400);
    assert_eq!(asked(&console), "");
    console.press("s").wait(400);
    let mut paths: Vec<String> = console.state.queue.list.rows().map(|item| item.path.clone()).collect();
    let shown = paths.clone();
    paths.sort();
    assert_eq!(shown, paths);
}
