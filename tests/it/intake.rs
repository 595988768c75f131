//! The drop folder's part of the interface where no folder is set, and its settings as an operator meets them. What it does
//! with files is elsewhere.

use std::fs;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::{samples, wait};

/// An id that no item has.
const ITEM: &str = "01K7Z0000000000000000000AB";

/// The whole page of metrics.
fn metrics(daemon: &Daemon) -> String {
    String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap()
}

/// Without a folder the list is empty and says so; nothing else is there, and what was tried is recorded.
#[test]
fn no_folder() {
    let daemon = Daemon::start();
    let (admin, vera) = (daemon.admin(), daemon.user("vera", Role::Viewer));
    let nothing = json!({"items": [], "total": 0, "next_cursor": null, "prev_cursor": null, "intake": null});
    for query in ["", "?state=failed&state=waiting&q=x&limit=7"] {
        assert_eq!(vera.value(&format!("/ingest{query}")), nothing);
    }
    for (query, loc) in
        [("state=lost", "query.state"), ("q=", "query.q"), ("limit=0", "query.limit"), ("colour=red", "query.colour")]
    {
        vera.get(&format!("/ingest?{query}")).invalid(loc);
    }
    assert_eq!(daemon.client().value("/readyz")["checks"].get("ingest"), None);
    assert_eq!(vera.value("/status")["ingest"], Value::Null);
    assert!(metrics(&daemon).contains("mreg_uploads_open") && !metrics(&daemon).contains("mreg_ingest"));

    let reason = json!({"reason": "a test"});
    let item = format!("/ingest/{ITEM}");
    assert!(vera.get(&item).problem("not-found").detail.contains("MREG_DROP_DIR is not set"));
    let tries = [
        (format!("{item}/retry"), None, "ingest.retry", json!({"kind": "item", "id": ITEM})),
        (format!("{item}/discard"), Some(&reason), "ingest.discard", json!({"kind": "item", "id": ITEM})),
        ("/ingest/pause".to_owned(), Some(&reason), "ingest.pause", json!({"kind": "intake", "id": "drop"})),
        ("/ingest/resume".to_owned(), None, "ingest.resume", json!({"kind": "intake", "id": "drop"})),
    ];
    for (path, body, action, target) in tries {
        let ask = |client: &tests::http::Client| match body {
            Some(body) => client.post(&path, body),
            None => client.post_empty(&path),
        };
        ask(&vera).problem("forbidden");
        assert!(ask(&admin).problem("not-found").detail.contains("MREG_DROP_DIR is not set"), "{path}");
        let rows = admin.value(&format!("/audit-logs?action={action}"));
        let told: Vec<(&Value, &Value, &Value)> = rows["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (&row["entry"]["actor"]["name"], &row["entry"]["outcome"], &row["entry"]["target"]))
            .collect();
        assert_eq!(told, [(&json!("admin"), &json!("error"), &target), (&json!("vera"), &json!("denied"), &target)]);
    }
}

/// A folder is told of by `/status`, `/readyz` and `/metrics`, paused and gone included; a pause may be repeated under its key.
#[test]
fn folder_in_numbers() {
    let mut daemon = Daemon::with(&[("MREG_DROP_DIR", "drop"), ("MREG_DROP_SETTLE", "0.1"), ("MREG_DROP_POLL", "1")]);
    // It is taken away in the end.
    for told in ["drop folder", "a folder can't be watched"] {
        daemon.expect_line(told);
    }
    let admin = daemon.admin();
    let check = |detail: &str| {
        wait::until("the check of the drop folder", || {
            let ready = daemon.client().get("/readyz").json();
            (ready["checks"]["ingest"]["detail"] == detail).then(|| ready["ready"].as_bool().unwrap())
        })
    };
    let shows = |line: &str| {
        wait::until(line, || metrics(&daemon).lines().any(|found| found == line).then_some(()));
    };
    assert!(check("taking files in"));
    let intake = admin.value("/status")["ingest"].clone();
    assert_eq!((&intake["paused"], &intake["problem"]), (&json!(false), &Value::Null));
    shows("mreg_ingest_working 1");

    fs::write(daemon.work_dir().join("drop/m.safetensors"), samples::safetensors(1)).unwrap();
    shows("mreg_ingest_items{state=\"done\"} 1");
    shows("mreg_ingest_done_total 1");
    shows(&format!("mreg_ingest_bytes_total {}", samples::safetensors(1).len()));
    let done = admin.value("/ingest?state=done&q=M.SAFE");
    let item = done["items"][0].clone();
    assert_eq!((&done["total"], &item["name"], &item["version"]), (&json!(1), &json!("m"), &json!(1)), "{done}");
    let path = format!("/ingest/{}", item["id"].as_str().unwrap());
    assert_eq!(admin.value(&path)["path"], "m.safetensors");
    admin.post_empty(&format!("{path}/retry")).problem("conflict");
    admin.post(&format!("{path}/discard"), &json!({"reason": "x"})).problem("conflict");

    let pause = || {
        let request = admin.request("POST", "/ingest/pause").header("Idempotency-Key", "once");
        request.json(&json!({"reason": "a test"})).send().expect(200)
    };
    let (first, again) = (pause(), pause());
    assert_eq!(first.json()["receipt"]["index"], again.json()["receipt"]["index"], "the key stands for one pause");
    assert_eq!((&first.json()["paused"], &first.json()["pause_reason"]), (&json!(true), &json!("a test")));
    admin.post("/ingest/pause", &json!({"reason": ""})).invalid("body.reason");
    assert!(check("paused"));
    shows("mreg_ingest_paused 1");
    let resumed = admin.post_empty("/ingest/resume").expect(200);
    assert_eq!(
        (&resumed.json()["paused"], resumed.json()["receipt"]["index"].as_u64()),
        (&json!(false), Some(resumed.log_index()))
    );
    shows("mreg_ingest_paused 0");

    let (here, away) = (daemon.work_dir().join("drop"), daemon.work_dir().join("away"));
    fs::rename(&here, &away).unwrap();
    assert!(check("NOT TAKING FILES IN: the drop folder can't be worked with; /status says why"), "models are served");
    shows("mreg_ingest_working 0");
    assert!(admin.value("/status")["ingest"]["problem"].as_str().is_some_and(|problem| !problem.is_empty()));
    fs::rename(&away, &here).unwrap();
    assert!(check("taking files in"));
}

/// `config check` and `config show` know the folder's settings, and make nothing.
#[test]
fn settings() {
    let daemon = Daemon::prepared(&[
        ("MREG_DROP_DIR", "drop"),
        ("MREG_DROP_USERS", "root=alice,1001=bob"),
        ("MREG_DROP_NAMESPACES", "nlp"),
    ]);
    let check = daemon.run(&["config", "check"], "");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let show = String::from_utf8(daemon.run(&["config", "show"], "").stdout).unwrap();
    let folder = daemon.work_dir().join("drop");
    let shown = |name: &str| show.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    for (name, value) in [
        ("MREG_DROP_DIR", folder.to_str().unwrap()),
        ("MREG_DROP_SETTLE", "2"),
        ("MREG_DROP_POLL", "auto"),
        ("MREG_DROP_EVENTS", "true"),
        ("MREG_DROP_USERS", "0=alice,1001=bob"),
        ("MREG_DROP_ROLE", "contributor"),
        ("MREG_DROP_NAMESPACES", "nlp"),
        ("MREG_DROP_DONE", "keep"),
        ("MREG_DROP_PARALLEL", "4"),
    ] {
        assert!(shown(name).contains(value), "{name}: {:?} in\n{show}", shown(name));
    }
    assert!(!fs::exists(folder).unwrap());

    let mut daemon = daemon;
    daemon.set("MREG_DROP_DIR", "none");
    let check = daemon.run(&["config", "check"], "");
    let told = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(78), "{told}");
    assert!(told.contains("MREG_DROP_USERS: is set, and MREG_DROP_DIR names no folder"), "{told}");
}
