//! The log on the screen: times, marks, exports; pages where there is no stream; rows that others changed.

use common::audit::{Action as Audited, Actor, Checkpoint, Ed25519Signer, Entry, Hash, Outcome, Signer as _, Target};
use common::client::{ClientError, LogEvent};
use common::problem::ProblemType;
use common::role::Role;
use tui::action::{Action, Answer, Call, Entries, Job, LogAnswer, LogCall};
use tui::config::Credential;
use tui::event::{EventKind, Size, TailEvent};
use tui::export::Form;
use tui::tail::Link;
use tui::trust::Trust;

use crate::console::{Console, Registry, refused};

fn audit() -> Console {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.press("2").wait(400);
    console
}

fn selected(console: &Console) -> u64 {
    console.state.audit.list.selected().unwrap().index
}

/// An entry about something, as the stream brings it.
fn entry(index: u64, action: Audited, kind: &str, id: &str, version: Option<&str>) -> Vec<u8> {
    named_entry(index, action, (kind, id, version), None)
}

/// The same, which says the name it had then.
fn named_entry(
    index: u64,
    action: Audited,
    (kind, id, version): (&str, &str, Option<&str>),
    name: Option<&str>,
) -> Vec<u8> {
    let target =
        Target { kind: kind.into(), id: id.into(), version: version.map(str::to_owned), digest: None, size: None };
    let mut salt = [7; 32];
    salt[..8].copy_from_slice(&index.to_be_bytes());
    let entry = Entry {
        seq: index,
        id: format!("id-{index}"),
        ts: 1_784_721_791_000,
        node: "n".into(),
        salt,
        action,
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: None,
        target: Some(target),
        req: None,
        data: name.map(|name| ("name".to_owned(), name.into())).into_iter().collect(),
    };
    entry.to_leaf().unwrap()
}

fn told(console: &mut Console, event: TailEvent) {
    let epoch = console.state.log.epoch;
    console.feed(EventKind::Tail { epoch, event });
}

/// A time leads to the first entry that is not before it, without a filter; what is newer than all is the newest.
#[test]
fn to_a_time() {
    for keys in ["t12:02:25<Enter>", ":goto 12:02:25<Enter>"] {
        let mut console = audit();
        console.press(keys);
        assert!(
            matches!(console.calls.iter().rev().find(|call| matches!(call, Call::Position(_))),
            Some(Call::Position(time)) if time == "2026-07-22T12:02:25.000Z"),
            "{:?}",
            console.calls
        );
        assert_eq!((selected(&console), console.state.audit.filter.as_str()), (5_000, ""), "{keys}");
        // The entries behind it are read on as one goes there.
        console.press("j");
        assert_eq!(selected(&console), 5_001);
        console.press("t2027-01-01<Enter>");
        assert_eq!(selected(&console), 9_999);
        assert!(console.shows("no entry is as new as 2027-01-01"), "{}", console.screen());
    }
    let mut console = audit();
    console.press("tnoon<Enter>");
    assert!(console.shows("a time is one of 90m") && console.count("GET /audit-logs/position") == 0);
    // One that was overtaken by another is dropped; one that fails is said.
    let mut console = audit();
    console.hold = true;
    console.press("t12:02<Enter>");
    assert_eq!(console.held.len(), 1);
    console.press("t12:01<Enter>");
    assert!(matches!(&console.held[..], [(_, Call::Position(time))] if time.contains("12:01")), "{:?}", console.held);
    console.registry.failure = Some(refused(ProblemType::Unavailable));
    console.release();
    assert!(console.state.audit.locating.is_none() && selected(&console) == 9_999);
}

fn job(console: &Console) -> Job {
    match console.others.iter().rev().find_map(|action| match action {
        Action::Job { job, .. } => Some(job.as_ref().clone()),
        _ => None,
    }) {
        Some(job) => job,
        None => panic!("no job: {}", console.screen()),
    }
}

/// One, a range, all; Esc lets go of them first; a filter that is another ends "all that match".
#[test]
fn marking() {
    let mut console = audit();
    console.press("k<Space>kkv");
    let marks = console.state.audit.marks.clone();
    assert_eq!(marks.indices.iter().copied().collect::<Vec<_>>(), [9_996, 9_997, 9_998]);
    assert!(console.shows("3 marked") && !console.state.audit.follow, "{}", console.screen());
    console.press("<Space>");
    assert_eq!(console.state.audit.marks.indices.len(), 2);
    console.press("/outcome:denied<Enter><Esc>");
    assert!(console.state.audit.marks.is_empty() && console.state.audit.filter == "outcome:denied");
    console.press("*");
    assert!(console.shows("all marked"));
    console.press("/<C-u>outcome:ok<Enter>");
    assert!(console.state.audit.marks.is_empty());
    console.press("v");
    assert!(console.shows("mark one with Space first"));
    console.press("**");
    assert!(console.state.audit.marks.is_empty());
}

/// What is on the screen, what is marked, all that match the filter; nothing is proved without a key.
#[test]
fn exporting() {
    let mut console = audit();
    console.press("x");
    assert!(console.shows("export proofs screen entries-120311.jsonl"), "{}", console.screen());
    console.press("<Enter>");
    assert!(console.shows("key is not known"), "{}", console.screen());
    console.press("<C-u>export csv screen a.csv<Enter>");
    let Job::Entries { entries: Entries::Held(rows), form: Form::Rows(_), .. } = job(&console) else { panic!() };
    assert_eq!((rows[0].index, rows.len()), (9_999, usize::from(console.state.size.height) - 5));
    let signer = Ed25519Signer::from_seed("registry.example/log", &[1; 32]).unwrap();
    console.state.log.trust = Trust::new("h", Some(signer.verifier().clone()), vec![], 0, None);
    console.press("k<Space>k<Space>x");
    assert!(console.shows("export proofs marked entries-"), "{}", console.screen());
    console.press("<Enter>");
    let Job::Entries { entries, form, keys, .. } = job(&console) else { panic!() };
    assert_eq!((entries, form, keys.len()), (Entries::Marked(vec![9_997, 9_998]), Form::Proofs, 1));
    console.press("<Esc>/actor:eve<Enter>x<Enter>");
    let Job::Entries { entries: Entries::Matching { query, .. }, .. } = job(&console) else { panic!() };
    assert_eq!((query.actor.as_str(), query.limit), ("eve", None));
    for (line, why) in [
        ("export proofs marked x", "nothing is marked"),
        ("export proofs some x", "some can't be exported here"),
        ("export xml all x", "none of csv, jsonl, proofs"),
        ("export proofs all a b", "has no blanks"),
    ] {
        console.press(&format!(":{line}<Enter>"));
        assert!(console.shows(why), "{line}: {}", console.screen());
        console.press("<Esc>");
    }
    // Models have no proofs.
    console.press("1").wait(400).press(":export proofs all x<Enter>");
    assert!(console.shows("only entries of the audit log have proofs"), "{}", console.screen());
}

// ---- pages instead of the stream ------------------------------------------------------------------------------------

const ORIGIN: &str = "registry.example/log";

/// A console whose log begins behind entry 9999, before its stream was answered. Requests wait.
fn following(width: u16, height: u16) -> Console {
    let mut console = Console::signed_in(width, height, Registry::default());
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    console.state.log.trust = Trust::new("h", Some(signer.verifier().clone()), vec![], 0, None);
    console.state.log.tail.begin(10_000);
    console.state.log.begun = true;
    console.state.settings.log.live = true;
    console.press("2").wait(400);
    assert!(matches!(console.others.last(), Some(Action::TailOpen { after: Some(9_999), .. })), "{:?}", console.others);
    console.hold = true;
    console
}

fn page(status: u16) -> TailEvent {
    TailEvent::Ended(Some(Box::new(ClientError::Protocol(format!("status {status} No, text/html: \"<html>\"")))))
}

/// The same, where there is no stream.
pub(crate) fn not_live(width: u16, height: u16) -> Console {
    let mut console = following(width, height);
    told(&mut console, page(501));
    console.wait(9_000);
    console
}

/// The same with a stream that has brought entries, and no checkpoint that covers them.
pub(crate) fn pending(width: u16, height: u16) -> Console {
    let mut console = following(width, height);
    told(&mut console, TailEvent::Opened(10_000));
    let leaf = |index| entry(index, Audited::AliasSet, "alias", "01J3Z800000000000000000996", None);
    let news = (10_000..10_040).map(|index| LogEvent::Entry { index, leaf: leaf(index) }).collect();
    told(&mut console, TailEvent::News(news));
    console
}

/// The same console, whose daemon went away, and with it the stream.
pub(crate) fn cut(mut console: Console) -> Console {
    let cause = "connection reset by peer".to_owned();
    console.hold = true;
    let error = ClientError::Offline { address: "127.0.0.1:8000".into(), cause };
    told(&mut console, TailEvent::Ended(Some(Box::new(error))));
    console
}

fn checkpoints(console: &Console) -> usize {
    console.calls.iter().filter(|call| **call == Call::Log(LogCall::Checkpoint)).count()
}

/// Answers the question for a checkpoint: the log has so many entries.
fn covers(console: &mut Console, size: u64) {
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    let note = Checkpoint { origin: ORIGIN.into(), size, root: Hash([9; 32]) }.sign(&[&signer]).unwrap();
    let place = console.held.iter().position(|(_, call)| *call == Call::Log(LogCall::Checkpoint)).unwrap();
    let (id, _) = console.held.remove(place);
    let answer = Answer::Log(LogAnswer::Checkpoint(note.into_bytes()));
    console.feed(EventKind::Reply { id, result: Box::new(Ok(answer)) });
}

/// Pages every 30 s while somebody looks, and at no other time; they are the entries behind the last one, up to the newest
/// checkpoint. The stream is tried again, and ends it.
#[test]
fn pages_instead_of_the_stream() {
    let mut console = not_live(120, 40);
    assert!(console.shows("NOT LIVE") && !console.shows("* live"), "{}", console.screen());
    assert_eq!(checkpoints(&console), 1, "the first is read at once");
    covers(&mut console, 10_002);
    let asked =
        |console: &Console| console.held.iter().any(|(_, call)| *call == Call::Log(LogCall::Entries(10_000..10_002)));
    assert!(asked(&console), "{:?}", console.held);
    let place = console.held.iter().position(|(_, call)| matches!(call, Call::Log(LogCall::Entries(_)))).unwrap();
    let (id, _) = console.held.remove(place);
    let leaves = (10_000..10_002).map(|index| entry(index, Audited::AuditRead, "log", "entries", None)).collect();
    let answer = Answer::Log(LogAnswer::Entries { range: 10_000..10_002, leaves: Some(leaves) });
    console.feed(EventKind::Reply { id, result: Box::new(Ok(answer)) });
    assert_eq!((console.state.log.tail.next, console.state.log.trust.alarm().is_none()), (10_002, true));
    console.wait(20_000);
    assert_eq!(checkpoints(&console), 1);
    console.wait(10_000);
    assert_eq!(checkpoints(&console), 2);
    covers(&mut console, 10_002);
    // Nobody looks: another screen, or no focus.
    console.press("6").wait(120_000);
    assert_eq!(checkpoints(&console), 2);
    console.feed(EventKind::Focus(false));
    console.press("2").wait(60_000);
    assert_eq!(checkpoints(&console), 2);
    console.feed(EventKind::Focus(true));
    assert_eq!(checkpoints(&console), 3);
    covers(&mut console, 10_002);
    // Far behind, the list begins anew instead of reading all there is.
    console.wait(30_000);
    covers(&mut console, 20_000);
    assert_eq!(console.state.log.tail.next, 20_000);
    assert!(!console.held.iter().any(|(_, call)| matches!(call, Call::Log(LogCall::Entries(_)))), "{:?}", console.held);
    // The stream is tried again every five minutes, and is believed when it tells something.
    let opens =
        |console: &Console| console.others.iter().filter(|action| matches!(action, Action::TailOpen { .. })).count();
    let before = opens(&console);
    console.wait(300_000);
    assert!(opens(&console) > before);
    told(&mut console, TailEvent::Opened(20_001));
    assert!(console.shows("NOT LIVE"), "{}", console.screen());
    let leaf = entry(20_000, Audited::AuditRead, "log", "entries", None);
    told(&mut console, TailEvent::News(vec![LogEvent::Entry { index: 20_000, leaf }]));
    assert!(!console.shows("NOT LIVE") && console.shows("* live"), "{}", console.screen());
    let before = checkpoints(&console);
    console.wait(9_000);
    assert_eq!(checkpoints(&console), before);
}

/// What passes by itself is waited for; what does not is NOT LIVE; a right that is gone is neither.
#[test]
fn what_a_stream_that_ends_means() {
    for status in [403, 404, 405, 406, 501, 200] {
        let mut console = following(120, 40);
        told(&mut console, page(status));
        assert!(console.shows("NOT LIVE"), "{status}: {}", console.screen());
    }
    for status in [500, 502, 503, 504, 429] {
        let mut console = following(120, 40);
        told(&mut console, page(status));
        assert!(console.shows("RECONNECTING") && !console.shows("NOT LIVE"), "{status}: {}", console.screen());
    }
    // It was opened, and told nothing.
    let silence = || TailEvent::Ended(Some(Box::new(ClientError::Timeout { address: "h".into(), seconds: 20 })));
    let mut console = following(120, 40);
    told(&mut console, TailEvent::Opened(10_000));
    told(&mut console, silence());
    assert!(console.shows("NOT LIVE") && !console.shows("OFFLINE"), "{}", console.screen());
    // Nobody answered at all.
    let mut console = following(120, 40);
    told(&mut console, silence());
    assert!(console.shows("OFFLINE") && !console.shows("NOT LIVE"), "{}", console.screen());
    // The daemon can't go on there: the hole is filled, and the stream opened behind it; the second time there is none.
    let mut console = following(120, 40);
    told(&mut console, page(410));
    assert!(!console.shows("NOT LIVE") && checkpoints(&console) == 1);
    covers(&mut console, 10_003);
    assert!(console.held.iter().any(|(_, call)| *call == Call::Log(LogCall::Entries(10_000..10_003))));
    let place = console.held.iter().position(|(_, call)| matches!(call, Call::Log(LogCall::Entries(_)))).unwrap();
    let (id, _) = console.held.remove(place);
    let leaves = (10_000..10_003).map(|index| entry(index, Audited::AuditRead, "log", "entries", None)).collect();
    let answer = Answer::Log(LogAnswer::Entries { range: 10_000..10_003, leaves: Some(leaves) });
    console.wait(1_000);
    console.feed(EventKind::Reply { id, result: Box::new(Ok(answer)) });
    console.wait(1_000);
    assert!(
        matches!(console.others.last(), Some(Action::TailOpen { after: Some(10_002), .. })),
        "{:?}",
        console.others
    );
    told(&mut console, page(410));
    assert!(console.shows("NOT LIVE"), "{}", console.screen());
    // The role may not read the log any more.
    let mut console = following(120, 40);
    console.registry.role = common::role::Role::Viewer;
    told(&mut console, TailEvent::Ended(Some(Box::new(refused(ProblemType::Forbidden)))));
    console.held.retain(|(_, call)| *call == Call::Me);
    console.release();
    assert!(matches!(console.state.log.tail.link, Link::Refused(_)), "{:?}", console.state.log.tail.link);
}

/// A daemon that gives nothing of the log to one who may read it is not asked again and again; by hand it is.
#[test]
fn turned_away_from_the_log() {
    for kind in [ProblemType::Forbidden, ProblemType::NotFound] {
        let mut console = Console::new(Size { width: 80, height: 24 }, Registry::default());
        console.state.settings.log.live = true;
        console.registry.failure = Some(refused(kind));
        console.registry.fails = |call| matches!(call, Call::Log(_));
        let asked = |console: &Console| console.calls.iter().filter(|call| matches!(call, Call::Log(_))).count();
        console.begin(Credential::Token);
        console.press("jk").wait(120_000);
        assert_eq!(asked(&console), 1, "{kind:?}");
        assert!(console.shows(" off "), "{}", console.screen());
        console.press("<C-r>");
        assert_eq!(asked(&console), 2, "{kind:?}");
    }
}

// ---- rows that others changed ---------------------------------------------------------------------------------------

/// A console that nobody looks at, while others change some of each list.
pub(crate) fn touched(width: u16, height: u16) -> Console {
    let mut console = Console::signed_in(width, height, Registry::default());
    for key in ["3", "4", "5", "1"] {
        console.press(key).wait(400);
    }
    console.press("j<Space>");
    console.state.queue.is_audited = true;
    console.feed(EventKind::Focus(false));
    let news = [
        (Audited::ModelUpdate, "model", "01J3Z800000000000000000998", None),
        (Audited::AliasSet, "alias", "01J3Z800000000000000000996", None),
        (Audited::ModelRelease, "version", "01J3Z800000000000000000001", Some("50")),
        (Audited::UserDisable, "user", "usr_2", None),
        (Audited::IngestRetry, "item", "01J3Z800000000000000000002", None),
        (Audited::ModelDownload, "version", "01J3Z800000000000000000997", Some("52")),
    ];
    let events = (0..).zip(news).map(|(index, (action, kind, id, version))| LogEvent::Entry {
        index,
        leaf: entry(index, action, kind, id, version),
    });
    let events = events.collect();
    told(&mut console, TailEvent::News(events));
    console
}

/// Each row that was changed has a sign of its own, and no other has; what is read again has none.
#[test]
fn rows_that_others_changed() {
    let mut console = touched(100, 30);
    let signed = |console: &Console| -> Vec<String> {
        let screen = console.screen();
        let lines = screen.lines().skip(3).filter(|line| line.chars().take(2).any(|sign| sign == '~'));
        lines.map(|line| line.split_whitespace().find(|word| word.len() > 2).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(signed(&console).len(), 1, "{}", console.screen());
    assert!(signed(&console)[0].ends_with("-996"), "{}", console.screen());
    console.press("k");
    assert_eq!(signed(&console).len(), 2, "a marked row has both signs: {}", console.screen());
    assert!(console.shows("CHANGED (C-r)"));
    for (key, row) in [("3", "rerank-6.onnx"), ("4", "team-nlp/asr-large:50"), ("5", "bob")] {
        console.press(key).wait(400);
        assert_eq!(signed(&console), [row], "{}", console.screen());
        assert!(console.shows("CHANGED (C-r)"), "{}", console.screen());
        console.press("<C-r>");
        assert!(signed(&console).is_empty() && !console.shows("CHANGED"), "{}", console.screen());
    }
    // Somebody looks again: the list is read once.
    let before = console.count("GET /models");
    console.press("1").wait(400);
    console.feed(EventKind::Focus(true));
    assert_eq!(console.count("GET /models"), before + 1);
    assert!(signed(&console).is_empty(), "{}", console.screen());
}

/// What one who may not read the log is told holds for nobody who signs in after them.
#[test]
fn after_one_who_may_not_read_it() {
    let mut console = Console::signed_in(80, 24, Registry { role: Role::Viewer, ..Registry::default() });
    console.state.settings.log.live = true;
    console.press("j");
    assert!(console.state.log.trust.off && console.shows("  off "), "{}", console.screen());
    console.press(":logout<Enter>");
    assert!(!console.state.log.trust.off && console.state.who.is_none(), "{}", console.screen());
}

/// The log's key is trusted by whoever can say it, and not by a key pressed in passing.
#[test]
fn trusting_the_key() {
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    let note = Checkpoint { origin: ORIGIN.into(), size: 8, root: Hash([9; 32]) }.sign(&[&signer]).unwrap();
    let kept = tui::trust::Kept {
        version: tui::trust::KEPT_VERSION,
        address: "h".into(),
        keys: vec![signer.verifier().to_string()],
        confirmed: false,
        note,
        seen_at: 1,
        alarm: None,
        unsent: Vec::new(),
        settled: Vec::new(),
        full_check: None,
    };
    for typed in [signer.verifier().id().to_string().to_uppercase(), signer.verifier().to_string()] {
        let mut console = audit();
        console.state.log.trust = Trust::new("h", None, vec![], 0, Some(kept.clone()));
        console.press("T");
        assert!(!console.state.log.trust.is_confirmed(), "{}", console.screen());
        console.press("<Enter>0badc0de<Enter>");
        assert!(console.shows("NOT the key this log is signed with"), "{}", console.screen());
        console.press("<C-u>").feed(EventKind::Paste(typed));
        console.press("<Enter>");
        assert!(console.state.log.trust.is_confirmed() && console.state.prompt.is_none(), "{}", console.screen());
        console.press("T");
        assert!(console.shows("trusted already"), "{}", console.screen());
    }
}

/// What others upload is counted in the header soon, and once for many.
#[test]
fn counted_soon() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    console.wait(20_000);
    let before = console.count("GET /status");
    let events = (0..50).map(|index| LogEvent::Entry {
        index,
        leaf: entry(index, Audited::ModelUpload, "version", "01J3Z800000000000000000998", Some("53")),
    });
    let events = events.collect();
    told(&mut console, TailEvent::News(events));
    assert_eq!(console.count("GET /status"), before);
    console.wait(10_000);
    assert_eq!(console.count("GET /status"), before + 1);
    console.wait(30_000);
    assert_eq!(console.count("GET /status"), before + 1);
}

/// Before anybody signs in, the dialog says which key the log has, whether somebody compared it, and how far it was seen; or
/// that it is broken.
#[test]
fn the_log_at_the_login() {
    let signer = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    let note = Checkpoint { origin: ORIGIN.into(), size: 8, root: Hash([9; 32]) }.sign(&[&signer]).unwrap();
    let kept = tui::trust::Kept {
        version: tui::trust::KEPT_VERSION,
        address: "h".into(),
        keys: vec![signer.verifier().to_string()],
        confirmed: false,
        note,
        seen_at: 1,
        alarm: None,
        unsent: Vec::new(),
        settled: Vec::new(),
        full_check: None,
    };
    let shown_at = |width: u16, height: u16, tls: bool, kept: tui::trust::Kept| {
        let mut console = Console::new(tui::event::Size { width, height }, Registry::default());
        console.state.settings.tls = tls;
        console.state.log.trust = Trust::new("h", None, vec![], 0, Some(kept));
        console.begin(tui::config::Credential::Ask);
        console.screen()
    };
    let shown = |kept: tui::trust::Kept| shown_at(80, 24, false, kept);
    let id = signer.verifier().id();
    // Beside what is said of TLS there is room for it on the smallest screen.
    let screen = shown_at(40, 12, true, kept.clone());
    for said in ["TLS ok, certificate of", &format!("log key {id}, NOT confirmed"), "User", "Password"] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    let screen = shown(kept.clone());
    assert!(screen.contains(&format!("log key {id}, NOT confirmed: compare it, last seen 7")), "{screen}");
    let screen = shown(tui::trust::Kept { confirmed: true, ..kept.clone() });
    assert!(screen.contains(&format!("log key {id}, last seen 7")), "{screen}");
    let alarm = tui::trust::Alarm {
        kind: tui::trust::BreachKind::Fork,
        what: "w".into(),
        facts: vec![],
        index: None,
        at: 1,
        evidence: None,
        last_good: None,
        last_good_at: 0,
    };
    let screen = shown(tui::trust::Kept { alarm: Some(alarm), ..kept });
    assert!(screen.contains("log BROKEN"), "{screen}");
}

/// On the alarm `y` copies what is wrong, and `x` brings the file that proves it here.
#[test]
fn the_alarm_taken_along() {
    let mut console = Console::signed_in(80, 24, Registry::default());
    let alarm = tui::trust::Alarm {
        kind: tui::trust::BreachKind::Entry,
        what: "entry 7 is not the one the log committed to".into(),
        facts: vec![("expected leaf".into(), "8d10".into())],
        index: Some(7),
        at: 1,
        evidence: None,
        last_good: None,
        last_good_at: 0,
    };
    let kept = tui::trust::Kept {
        version: tui::trust::KEPT_VERSION,
        address: "h".into(),
        keys: vec![],
        confirmed: true,
        note: String::new(),
        seen_at: 1,
        alarm: Some(alarm),
        unsent: Vec::new(),
        settled: Vec::new(),
        full_check: None,
    };
    console.state.log.trust = Trust::new("h", None, vec![], 0, Some(kept));
    console.state.overlay = Some(tui::state::Overlay::Alarm(0));
    assert!(console.shows("y copy") && console.shows("x export evidence"), "{}", console.screen());
    console.press("x");
    assert!(console.shows("the evidence is not written yet"), "{}", console.screen());
    console.state.log.trust.alarm_mut().unwrap().evidence = Some("/state/mreg/evidence-h-1.json".into());
    console.press("xy");
    let [.., Action::BringFile { from, name }, Action::Copy(text)] = console.others.as_slice() else {
        panic!("{:?}", console.others)
    };
    assert_eq!((from.as_str(), name.as_str()), ("/state/mreg/evidence-h-1.json", "evidence-h-1.json"));
    for said in
        ["AUDIT LOG VERIFICATION FAILED\n", "entry 7 is not the one", "expected leaf", "/state/mreg/evidence-h-1.json"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// When the stream was cut, why, and when it came back is in the list of messages; tries in between are not.
#[test]
fn the_stream_in_the_messages() {
    let mut console = following(80, 24);
    told(&mut console, TailEvent::Opened(10_000));
    console.wait(3_000);
    let offline = || TailEvent::Ended(Some(Box::new(ClientError::Timeout { address: "h".into(), seconds: 20 })));
    told(&mut console, TailEvent::News(Vec::new()));
    told(&mut console, offline());
    for _ in 0..3 {
        console.wait(30_000);
        told(&mut console, offline());
    }
    console.wait(30_000);
    told(&mut console, TailEvent::Opened(10_001));
    let of_stream = |note: &&tui::state::Note| note.text.starts_with("the log's stream");
    let said: Vec<&str> = console.state.notes.iter().filter(of_stream).map(|note| note.text.as_str()).collect();
    let [open, cut, back] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(*open, "the log's stream is open, logged as 10000");
    assert!(cut.starts_with("the log's stream was cut: "), "{cut}");
    assert_eq!(*back, "the log's stream came back after 2 min, logged as 10001");
}

/// What a model is called is cut in its middle, and its kind goes before: whose it is, and which, is readable. The shorter the log,
/// the more room there is.
#[test]
fn long_targets() {
    for (newest, shown) in [
        (
            10_000,
            [
                "model.upload      fraud/toxicity-0283    ok",
                "fraud/toxic~y-0283 v2  ok",
                "model.upload      fraud/toxicity-0283    ok",
            ],
        ),
        (100_000_000, ["fraud/toxi~y-0283  ok", "fraud/tox~0283 v2  ok", "fraud/toxi~y-0283  ok"]),
    ] {
        let mut console = following(80, 24);
        console.state.log.tail.begin(newest);
        told(&mut console, TailEvent::Opened(newest));
        let name = Some("fraud/toxicity-0283");
        let abouts = [("model", "01J3Z8", None), ("version", "01J3Z8", Some("2")), ("file", "01J3Z8", None)];
        let events = (newest..).zip(abouts).map(|(index, about)| LogEvent::Entry {
            index,
            leaf: named_entry(index, Audited::ModelUpload, about, name),
        });
        told(&mut console, TailEvent::News(events.collect()));
        for shown in shown {
            assert!(console.shows(shown), "{shown}\n{}", console.screen());
        }
    }
}
