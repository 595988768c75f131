//! The list of items, what people do about them, and where it all is to be seen: receipts, log, live tail, status, metrics.

use std::collections::BTreeSet;
use std::fs;

use common::api::{IngestItem, IngestState};
use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::drop::{DropFolder, SETTLE_TIME, fill};
use tests::samples;
use tests::tail::{From, Tail};

/// Whoever runs the suite, as a setting that has a viewer act for them.
fn owner_is_vera() -> String {
    format!("{}=vera", rustix::process::getuid().as_raw())
}

/// Whether it waits for a person to say that it is complete.
fn waits(item: &IngestItem) -> bool {
    item.reason.as_deref().is_some_and(|reason| reason.contains(".mreg-complete"))
}

/// Without a drop folder the list is empty and says that there is none; nothing can be done to it.
#[test]
fn no_folder() {
    let daemon = Daemon::start();
    let page = daemon.admin().value("/ingest");
    assert_eq!((&page["items"], &page["intake"]), (&json!([]), &Value::Null));
    assert_eq!(daemon.admin().value("/status")["ingest"], Value::Null);
    daemon.admin().post("/ingest/pause", &json!({"reason": "x"})).problem("not-found");
    daemon.admin().post_empty("/ingest/01ARZ3NDEKTSV4RRFFQ69G5FAV/retry").problem("not-found");
}

/// The list comes in pages that together hold each item once, in the order of states; it can be narrowed by state and name.
#[test]
fn the_list() {
    let folder = DropFolder::start();
    for at in 0..7 {
        folder.copy(&format!("Good-{at}.safetensors"), &samples::safetensors(at));
    }
    folder.copy("bad-1.safetensors", b"");
    folder.copy("bad-2.safetensors", b"");
    fill(&folder.incoming().join("open-folder"), &[("a.safetensors", &samples::safetensors(50))]);
    for at in 0..7 {
        folder.arrives(&format!("Good-{at}.safetensors"));
    }
    folder.is_refused("bad-1.safetensors");
    folder.is_refused("bad-2.safetensors");
    folder.shows("open-folder", "to wait for a marker", waits);
    folder.reaches("bad-2.safetensors", IngestState::Rejected);
    tests::wait::until_true("all seven to be done", || folder.items_of("&state=done").len() == 7);
    let admin = folder.admin();
    let (mut seen, mut states, mut cursor) = (BTreeSet::new(), Vec::new(), String::new());
    loop {
        let page = admin.value(&format!("/ingest?limit=3{cursor}"));
        assert_eq!(page["total"], 10);
        for item in page["items"].as_array().unwrap() {
            assert!(seen.insert(item["id"].as_str().unwrap().to_owned()), "{item} came twice");
            states.push(item["state"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<&str> = [vec!["waiting"], vec!["rejected"; 2], vec!["done"; 7]].concat();
    assert_eq!(states, expected, "at work first, then what waits, failed, rejected, done");
    // Other orders, either way and from either end, with a filter or without.
    let walk = |query: &str, from: &str| -> Vec<Value> {
        let (mut rows, mut seek) = (Vec::new(), from.to_owned());
        loop {
            let page = admin.value(&format!("/ingest?limit=3&{query}{seek}"));
            let items = page["items"].as_array().unwrap().clone();
            let (at, on, word) = if from.is_empty() {
                (rows.len(), &page["next_cursor"], "cursor")
            } else {
                (0, &page["prev_cursor"], "before")
            };
            rows.splice(at..at, items);
            match on.as_str() {
                Some(on) => seek = format!("&{word}={on}"),
                None => return rows,
            }
        }
    };
    for (filter, count) in [("", 10), ("&state=done", 7)] {
        for (sort, member) in [("path", "path"), ("state_since", "state_since")] {
            let rows = walk(&format!("sort={sort}{filter}"), "");
            assert_eq!(rows.len(), count, "{sort}{filter}");
            let of = |row: &Value| row[member].as_str().unwrap().to_lowercase();
            assert!(rows.windows(2).all(|two| of(&two[0]) <= of(&two[1])), "{rows:?}");
            assert_eq!(walk(&format!("sort={sort}{filter}"), "&before=end"), rows);
            let down: Vec<Value> = rows.into_iter().rev().collect();
            assert_eq!(walk(&format!("sort=-{sort}{filter}"), ""), down);
            assert_eq!(walk(&format!("sort=-{sort}{filter}"), "&before=end"), down);
        }
    }
    let page = admin.value("/ingest?limit=3&sort=path");
    let next = page["next_cursor"].as_str().unwrap();
    admin.get(&format!("/ingest?limit=3&sort=-path&cursor={next}")).invalid("query.cursor");
    admin.get("/ingest?sort=size").invalid("query.sort");
    let paths =
        |query: &str| -> BTreeSet<String> { folder.items_of(query).into_iter().map(|item| item.path).collect() };
    assert_eq!(paths("&state=rejected&state=waiting").len(), 3);
    assert_eq!(paths("&q=good").len(), 7);
    assert_eq!(paths("&q=GOOD-3"), BTreeSet::from(["Good-3.safetensors".to_owned()]));
    assert_eq!(paths("&q=nothing-like-it").len(), 0);
    admin.get("/ingest?state=odd").invalid("query.state");
    admin.get("/ingest?limit=0").invalid("query.limit");
    admin.get("/ingest?cursor=odd").invalid("query.cursor");
    let one = &folder.items_of("&q=open-folder")[0];
    let alone = admin.value(&format!("/ingest/{}", one.id));
    assert_eq!((&alone["path"], &alone["state"]), (&json!("open-folder"), &json!("waiting")));
    admin.get("/ingest/01ARZ3NDEKTSV4RRFFQ69G5FAV").problem("not-found");
    folder.daemon.client().get("/ingest").problem("unauthenticated");
    let history = &folder.reaches("Good-0.safetensors", IngestState::Done).history;
    assert!(history.len() >= 2 && history.windows(2).all(|two| two[0].at <= two[1].at), "{history:?}");
}

/// A start finds in the log what came to a version within the last hour, and in `rejected/` what was refused: the list is as
/// it was, and what is counted since the start begins anew.
#[test]
fn the_list_after_a_start() {
    let mut folder = DropFolder::start();
    folder.copy("first.safetensors", &samples::safetensors(1));
    folder.arrives("first.safetensors");
    folder.copy("again.safetensors", &samples::safetensors(1));
    folder.copy("bad.safetensors", b"");
    folder.is_refused("bad.safetensors");
    let list = |folder: &DropFolder| -> Vec<IngestItem> {
        let mut items = folder.items_of("");
        items.sort_by(|one, other| one.path.cmp(&other.path));
        items
    };
    let over = [IngestState::Done, IngestState::Rejected];
    tests::wait::until_true("all three to be over", || {
        let items = list(&folder);
        items.len() == 3 && items.iter().all(|item| over.iter().any(|state| item.state == *state))
    });
    let before = list(&folder);
    folder.daemon.stop();
    folder.daemon.restart();
    tests::wait::until_true("the list to be there again", || list(&folder).len() == 3);
    for (was, is) in before.iter().zip(list(&folder)) {
        assert_eq!((&was.id, &was.path, &was.state, was.size), (&is.id, &is.path, &is.state, is.size));
        assert_eq!((was.model, was.version, was.log_index), (is.model, is.version, is.log_index), "{}", was.path);
        if was.state == IngestState::Done {
            assert_eq!((&was.name, &was.by, was.owner_uid), (&is.name, &is.by, is.owner_uid), "{}", was.path);
            assert!(was.place.starts_with(&is.place), "{} lies in {}", was.place, is.place);
        }
    }
    let intake = folder.admin().value("/ingest")["intake"].clone();
    assert_eq!((&intake["done_total"], &intake["done_last_hour"]), (&json!(0), &json!(2)), "{intake}");
}

/// What was refused can be tried again once its reason is gone: a new item with the old history, one version, and an entry
/// that says who wanted it.
#[test]
fn retry() {
    let folder = DropFolder::with(&[("MREG_DROP_USERS", &owner_is_vera())]);
    let vera = folder.daemon.user("vera", Role::Viewer);
    folder.copy("m.safetensors", &samples::safetensors(1));
    let refused = folder.is_refused("m.safetensors");
    assert_eq!(refused.problem(), "forbidden");
    let item = folder.reaches("m.safetensors", IngestState::Rejected);
    let target = format!("/ingest/{}/retry", item.id);
    vera.post_empty(&target).problem("forbidden");
    // Nothing has changed: it is refused again.
    folder.admin().post_empty(&target).expect(200);
    let again = folder.shows("m.safetensors", "a second refusal", |now| {
        now.state == IngestState::Rejected && now.log_index > item.log_index
    });
    folder.admin().patch("/users/vera", &json!({"role": "contributor"})).expect(200);
    let answer = folder.admin().post_empty(&format!("/ingest/{}/retry", again.id)).expect(200);
    let arrived = folder.arrives("m.safetensors");
    assert_eq!((arrived.version().as_str(), arrived.by()), ("m:1", "vera"));
    assert!(!refused.place.exists(), "it has left rejected/");
    assert_eq!(folder.documents(), Vec::<std::path::PathBuf>::new(), "and its document, too");
    let entry = folder.proven(&serde_json::from_value(answer.json()["receipt"].clone()).unwrap());
    assert_eq!((&entry["action"], &entry["actor"]["name"]), (&json!("ingest.retry"), &json!("admin")));
    let done = folder.reaches("m.safetensors", IngestState::Done);
    folder.admin().post_empty(&format!("/ingest/{}/retry", done.id)).problem("conflict");
    assert_eq!(folder.admin().value("/models/m/versions")["items"].as_array().unwrap().len(), 1);
    folder.is_at_rest();
}

/// An item can be given up with a reason: it lies in rejected/ beside that reason; a refused one only leaves the list. Files
/// are never deleted.
#[test]
fn discard() {
    let mut folder = DropFolder::start();
    let contributor = folder.daemon.user("carl", Role::Contributor);
    fill(&folder.incoming().join("open"), &[("a.safetensors", &samples::safetensors(1))]);
    let item = folder.shows("open", "to wait for a marker", waits);
    let target = format!("/ingest/{}/discard", item.id);
    contributor.post(&target, &json!({"reason": "x"})).problem("forbidden");
    folder.admin().post(&target, &json!({"reason": ""})).problem("invalid");
    let answer = folder.admin().post(&target, &json!({"reason": "nobody knows whose it is"})).expect(200);
    let entry = folder.proven(&serde_json::from_value(answer.json()["receipt"].clone()).unwrap());
    assert_eq!((&entry["action"], &entry["actor"]["name"]), (&json!("ingest.discard"), &json!("admin")));
    assert!(entry.to_string().contains("nobody knows whose it is"), "{entry}");
    tests::wait::until_true("it to lie in rejected/", || {
        folder.lies_in("rejected", "open/a.safetensors").is_some() && !folder.incoming().join("open").exists()
    });
    let document = folder.lies_in("rejected", "open.rejected.json").expect("a document beside it");
    assert!(fs::read_to_string(&document).unwrap().contains("nobody knows whose it is"));
    // Nothing was wrong with it: no type, in the list and in the file.
    assert_eq!(folder.reaches("open", IngestState::Rejected).problem, None);
    let document: Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
    assert_eq!(document["type"], "about:blank", "{document}");

    folder.copy("bad.safetensors", b"");
    let refused = folder.is_refused("bad.safetensors");
    let item = folder.reaches("bad.safetensors", IngestState::Rejected);
    folder.admin().post(&format!("/ingest/{}/discard", item.id), &json!({"reason": "seen"})).expect(200);
    tests::wait::until_true("it to leave the list", || folder.item("bad.safetensors").is_none());
    assert!(refused.place.exists(), "its file stays");

    folder.copy("m.safetensors", &samples::safetensors(2));
    folder.arrives("m.safetensors");
    let item = folder.reaches("m.safetensors", IngestState::Done);
    folder.admin().post(&format!("/ingest/{}/discard", item.id), &json!({"reason": "x"})).problem("conflict");
    assert_eq!(folder.admin().value("/models")["total"], 1);

    // A restart lists what was given up where it lay, and not what was taken off the list; its document says by whom.
    folder.daemon.stop();
    folder.daemon.restart();
    assert_eq!(folder.reaches("open", IngestState::Rejected).problem, None);
    assert_eq!(folder.item("bad.safetensors"), None, "it was taken off the list");
    let document = folder.lies_in("rejected", "bad.safetensors.rejected.json").expect("its document stays");
    let document: Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
    assert_eq!((&document["given_up"]["by"], &document["given_up"]["reason"]), (&json!("admin"), &json!("seen")));
    assert_eq!(document["type"], "/problems/invalid", "what it said before stays: {document}");
}

/// What has the name of something unfinished can be given up, too, and is moved aside under that name.
#[test]
fn discard_of_something_unfinished() {
    let mut folder = DropFolder::start();
    folder.copy("m.safetensors.part", &samples::safetensors(1));
    fill(&folder.incoming().join(".half"), &[("a.safetensors", &samples::safetensors(2))]);
    for path in ["m.safetensors.part", ".half"] {
        let item = folder.reaches(path, IngestState::Waiting);
        let target = format!("/ingest/{}/discard", item.id);
        folder.admin().post(&target, &json!({"reason": "nobody goes on with it"})).expect(200);
        assert!(folder.lies_in("rejected", path).is_some(), "{path} is moved by the time of the answer");
        assert!(!folder.incoming().join(path).exists(), "{path}");
    }
    folder.is_at_rest();
    folder.daemon.stop();
    folder.daemon.restart();
    folder.reaches(".half", IngestState::Rejected);
    assert_eq!(folder.admin().value("/models")["total"], 0);
}

/// Paused, it takes nothing in, over a restart too, and says by whom and why; then it goes on with what has come meanwhile.
#[test]
fn pause_and_resume() {
    let mut folder = DropFolder::start();
    let contributor = folder.daemon.user("carl", Role::Contributor);
    contributor.post("/ingest/pause", &json!({"reason": "x"})).problem("forbidden");
    folder.admin().post("/ingest/pause", &json!({})).problem("invalid");
    let answer = folder.admin().post("/ingest/pause", &json!({"reason": "the array is rebuilt"})).expect(200).json();
    assert_eq!((&answer["paused"], &answer["paused_by"]), (&json!(true), &json!("admin")));
    let entry = folder.proven(&serde_json::from_value(answer["receipt"].clone()).unwrap());
    assert_eq!(entry["action"], "ingest.pause");
    folder.copy("m.safetensors", &samples::safetensors(1));
    for restarted in [false, true] {
        if restarted {
            folder.daemon.stop();
            folder.daemon.restart();
        }
        folder.shows("m.safetensors", "to be seen", |item| {
            matches!(item.state.known(), Some(IngestState::Seen | IngestState::Waiting))
        });
        std::thread::sleep(SETTLE_TIME * 3);
        assert!(folder.incoming().join("m.safetensors").exists(), "taken though paused (restarted: {restarted})");
        let intake = folder.admin().value("/ingest")["intake"].clone();
        assert_eq!((&intake["paused"], &intake["pause_reason"]), (&json!(true), &json!("the array is rebuilt")));
        assert_eq!(folder.admin().value("/status")["ingest"]["paused"], true);
        folder.daemon.client().get("/readyz").expect(200);
    }
    let answer = folder.admin().post("/ingest/resume", &json!({})).expect(200).json();
    assert_eq!(answer["paused"], false);
    folder.arrives("m.safetensors");
    folder.daemon.stop();
    folder.daemon.restart();
    folder.copy("n.safetensors", &samples::safetensors(2));
    folder.arrives("n.safetensors");
}

/// What is taken in and what is refused shows in the live tail, leaf for leaf as the receipt has it.
#[test]
fn the_live_tail() {
    let folder = DropFolder::start();
    let mut tail = Tail::open(&folder.admin(), From::Now);
    folder.copy("m.safetensors", &samples::safetensors(1));
    let arrived = folder.arrives("m.safetensors");
    folder.copy("bad.safetensors", b"");
    let refused = folder.is_refused("bad.safetensors");
    let last = refused.document["log_index"].as_u64().unwrap();
    let told = tail.up_to(last.max(arrived.receipt.log_index));
    let leaf_of = |index: u64| -> Value {
        let (_, leaf) = told.iter().find(|(at, _)| *at == index).expect("the tail told of it");
        serde_json::from_slice(leaf).unwrap()
    };
    assert_eq!(leaf_of(arrived.receipt.log_index), arrived.entry);
    let entry = leaf_of(last);
    assert_eq!((&entry["action"], &entry["data"]["path"]), (&json!("ingest.reject"), &json!("bad.safetensors")));
}

/// A metric's value, by what its name ends in; with labels, of the first line that has them all.
fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let base = key.split('{').next()?;
        (base.ends_with(name) && labels.iter().all(|label| key.contains(label))).then(|| value.parse().unwrap())
    })
}

/// Counts are right where they are shown: in the status, with the list, and as metrics.
#[test]
fn counts() {
    let folder = DropFolder::start();
    let mut octets = 0;
    for at in 0..3 {
        let file = samples::safetensors(at);
        octets += file.len();
        folder.copy(&format!("m{at}.safetensors"), &file);
    }
    folder.copy("bad.safetensors", b"");
    fill(&folder.incoming().join("open"), &[("a.safetensors", &samples::safetensors(9))]);
    for at in 0..3 {
        folder.arrives(&format!("m{at}.safetensors"));
    }
    folder.is_refused("bad.safetensors");
    folder.shows("open", "to wait for a marker", waits);
    let status = tests::wait::until("the counts", || {
        let status = folder.admin().value("/status")["ingest"].clone();
        (status["done_total"] == 3 && status["rejected_total"] == 1 && status["active"] == 0).then_some(status)
    });
    assert_eq!(status["bytes_total"], octets, "{status}");
    assert_eq!(status["done_last_hour"], 3, "{status}");
    assert_eq!((&status["states"]["done"], &status["states"]["rejected"]), (&json!(3), &json!(1)), "{status}");
    assert_eq!(status["states"]["waiting"], 1, "{status}");
    assert_eq!((&status["problem"], &status["paused"], &status["events"]), (&Value::Null, &json!(false), &json!(true)));
    assert!(status["oldest_seen_at"].is_string() && status["walked_at"].is_string(), "{status}");
    let text = String::from_utf8(folder.admin().get("/metrics").expect(200).body).unwrap();
    let value =
        |name: &str, labels: &[&str]| metric(&text, name, labels).unwrap_or_else(|| panic!("no {name} in {text}"));
    assert_eq!(value("ingest_done_total", &[]), 3.0);
    assert_eq!(value("ingest_rejected_total", &[]), 1.0);
    assert_eq!(value("ingest_bytes_total", &[]), octets as f64);
    assert_eq!(value("ingest_paused", &[]), 0.0);
    assert_eq!(value("ingest_items", &["waiting"]), 1.0);
    assert!(value("ingest_oldest_seconds", &[]) >= 0.0);
    assert_eq!(value("ingest_overflows_total", &[]), 0.0);
}

/// What was refused is still on the list after a restart, and can be tried again then.
#[test]
fn refused_over_a_restart() {
    let mut folder = DropFolder::with(&[("MREG_DROP_USERS", &owner_is_vera())]);
    let _vera = folder.daemon.user("vera", Role::Viewer);
    folder.copy("m.safetensors", &samples::safetensors(1));
    folder.is_refused("m.safetensors");
    folder.is_at_rest();
    folder.daemon.stop();
    folder.daemon.restart();
    let item = folder.reaches("m.safetensors", IngestState::Rejected);
    assert_eq!(item.problem.as_deref(), Some("/problems/forbidden"));
    folder.admin().patch("/users/vera", &json!({"role": "contributor"})).expect(200);
    folder.admin().post_empty(&format!("/ingest/{}/retry", item.id)).expect(200);
    assert_eq!(folder.arrives("m.safetensors").version(), "m:1");
}
