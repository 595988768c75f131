//! Retention: what a preview shows is what goes, what is protected stays, and a kill in the middle of a run is made good.

use std::collections::BTreeSet;
use std::time::Duration;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::{samples, wait};

use crate::removal::recount;

fn publish(client: &Client, name: &str, seed: u32) {
    let form = Form::new().file("m.safetensors", &samples::safetensors(seed)).text("name", name);
    client.publish(form).expect(201);
}

/// A version as lists name it.
type Row = (String, u64);

/// All pages of a preview, and the octets they tell.
fn preview(client: &Client, ask: impl Fn(&Client, &str) -> Value) -> (BTreeSet<Row>, u64) {
    let (mut rows, mut bytes, mut cursor) = (BTreeSet::new(), 0, String::new());
    loop {
        let page = ask(client, &cursor);
        let sum: u64 = page["items"].as_array().unwrap().iter().map(|item| item["bytes"].as_u64().unwrap()).sum();
        assert_eq!(page["bytes"], sum);
        bytes += sum;
        for item in page["items"].as_array().unwrap() {
            let row = (item["name"].as_str().unwrap().to_owned(), item["version"].as_u64().unwrap());
            assert!(rows.insert(row), "{item} comes twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (rows, bytes),
        }
    }
}

fn preview_of(client: &Client, rule: &str) -> (BTreeSet<Row>, u64) {
    preview(client, |client, cursor| client.value(&format!("/retention/{rule}/preview?limit=1{cursor}")))
}

/// Which versions of these models are deleted.
fn deleted(admin: &Client, models: &[(&str, u64)]) -> BTreeSet<Row> {
    let all = models.iter().flat_map(|(name, count)| (1..=*count).map(move |number| ((*name).to_owned(), number)));
    all.filter(|(name, number)| {
        let shown = admin.get(&format!("/models/{}/versions/{number}", name.replace('/', "%2F")));
        shown.expect(200).json()["state"] == "deleted"
    })
    .collect()
}

/// Runs a rule on demand and waits for its end.
fn run(admin: &Client, rule: &str) -> Value {
    let before = admin.value(&format!("/retention/{rule}"))["last_run"].clone();
    admin.post_empty(&format!("/retention/{rule}/run")).expect(202);
    wait::until("the run to end", || {
        let shown = admin.value(&format!("/retention/{rule}"));
        (shown["requested_at"].is_null() && shown["last_run"] != before).then(|| shown["last_run"].clone())
    })
}

fn rows(rows: &[(&str, u64)]) -> BTreeSet<Row> {
    rows.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

/// What the preview shows, page by page, goes, and nothing else: not the newest, not what an alias points to, not the newest
/// available version, not what was blocked, not models that are to be kept. Each commit names the rule, and can be undone.
#[test]
fn preview_is_what_happens() {
    let mut daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let models = [("team/m", 6), ("team/kept", 3), ("team/own", 3), ("team/held", 4), ("other/m", 4), ("teams", 4)];
    let mut seed = 0;
    for (name, count) in models {
        for _ in 0..count {
            seed += 1;
            publish(&carl, name, seed);
        }
    }
    admin.put("/models/team%2Fm/aliases/prod", &json!({"version": 2})).expect(200);
    admin.patch("/models/team%2Fkept", &json!({"tags": {"keep": "true"}})).expect(200);
    admin.patch("/models/team%2Fown", &json!({"tags": {"stage": "prod"}})).expect(200);
    for (version, verb) in [(2, "quarantine"), (3, "quarantine"), (4, "quarantine"), (3, "block")] {
        admin.post(&format!("/models/team%2Fheld/versions/{version}/{verb}"), &json!({"reason": "x"})).expect(200);
    }
    let rule = json!({"pattern": "Team/*", "action": "delete", "keep_newest": 1, "protect_tags": ["stage=prod"]});
    // 1 of `held` is the newest available one, 3 was blocked for good, 4 is the newest.
    let expected = rows(&[("team/m", 1), ("team/m", 3), ("team/m", 4), ("team/m", 5), ("team/held", 2)]);
    let unsaved = preview(&admin, |admin, cursor| {
        admin.post(&format!("/retention/preview?limit=2{cursor}"), &rule).expect(200).json()
    });
    assert_eq!(unsaved.0, expected);
    let set = admin.put("/retention/newest", &rule).expect(200).json();
    let first = set["rule"]["first_run_at"].as_str().unwrap();
    assert!(first > set["rule"]["set_at"].as_str().unwrap(), "a new rule waits");
    assert_eq!(preview_of(&admin, "newest"), unsaved);
    assert_eq!(deleted(&admin, &models), rows(&[]));

    let ran = run(&admin, "newest");
    assert_eq!(deleted(&admin, &models), expected);
    assert_eq!((&ran["versions"], &ran["bytes"]), (&json!(5), &json!(unsaved.1)));
    assert_eq!((&ran["complete"], &ran["on_demand"]), (&json!(true), &json!(true)));
    assert_eq!(preview_of(&admin, "newest"), (rows(&[]), 0));
    assert_eq!(admin.value("/models/team%2Fm")["latest_version"], 6);
    admin.post_empty("/models/team%2Fm/versions/5/restore").expect(200);
    assert_eq!(admin.value("/models/team%2Fm/versions/5")["state"], "available");
    assert_eq!(admin.value("/status")["retention"]["versions_total"], 5);

    let log = daemon.log();
    let deletions: Vec<_> = log.of("model.delete");
    assert!(deletions.iter().all(|entry| entry["data"]["rule"] == "newest"), "{deletions:?}");
    assert_eq!(log.of("retention.run").len(), 1);
    assert_eq!(log.of("retention.request").len(), 1);
}

/// Rules that say nothing are refused; what is kept can be changed on condition, and a change begins the grace anew.
#[test]
fn rules_are_kept() {
    let daemon = Daemon::with(&[("MREG_RETENTION_GRACE", "1s"), ("MREG_RETENTION_INTERVAL", "1s")]);
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    admin.put("/retention/r", &json!({"pattern": "*", "action": "delete"})).invalid("body.action");
    admin.put("/retention/preview", &json!({"pattern": "*", "action": "purge"})).problem("method-not-allowed");
    admin.put("/retention/R", &json!({"pattern": "*", "action": "purge"})).invalid("path.rule");
    carl.get("/retention").problem("forbidden");
    let rule = json!({"pattern": "m", "action": "delete", "keep_newest": 1, "enabled": false});
    let set = admin.put("/retention/r", &rule).expect(200);
    let tag = set.need("etag").to_owned();
    assert_eq!(set.json()["rule"]["next_run_at"], Value::Null);
    assert_eq!(admin.get("/retention/r").need("etag"), tag);
    for seed in 1..=3 {
        publish(&carl, "m", seed);
    }
    let stale = admin.request("PUT", "/retention/r").header("If-Match", "\"0\"").json(&rule).send();
    stale.problem("precondition-failed");
    // Enabled it goes by the clock, once its grace is over.
    let enabled = json!({"pattern": "m", "action": "delete", "keep_newest": 1});
    let set = admin.request("PUT", "/retention/r").header("If-Match", &tag).json(&enabled).send().expect(200).json();
    assert!(set["rule"]["next_run_at"].is_string());
    wait::until_true("the clock to carry it out", || deleted(&admin, &[("m", 3)]) == rows(&[("m", 1), ("m", 2)]));
    assert_eq!(admin.value("/retention")["items"][0]["name"], "r");
    admin.delete("/retention/r").expect(200);
    admin.get("/retention/r").problem("not-found");
    admin.post_empty("/retention/r/run").problem("not-found");
}

/// What was deleted goes for good once it can't be restored, and its bytes with it; what still can stays.
#[test]
fn purging() {
    let mut daemon = Daemon::with(&[("MREG_RESTORE_DAYS", "0")]);
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    for seed in 1..=3 {
        publish(&carl, "m", seed);
    }
    admin.delete("/models/m/versions/1").expect(200);
    admin.put("/retention/trash", &json!({"pattern": "*", "action": "purge"})).expect(200);
    wait::until_true("the time to restore it to be over", || preview_of(&admin, "trash").0 == rows(&[("m", 1)]));
    assert_eq!(run(&admin, "trash")["versions"], 1);
    admin.get("/models/m/versions/1").problem("not-found");
    let size = samples::safetensors(1).len();
    assert_eq!(admin.value("/me/quota")["used"]["versions"], 0);
    assert_eq!(carl.value("/me/quota")["used"], json!({"bytes": 2 * size, "versions": 2, "models": 0}));
    wait::until_true("the bytes to go", || tests::oracle::blobs(&daemon.data_dir()).len() == 2);
    // Deleted an hour ago at most, it is no day old.
    admin.delete("/models/m/versions/2").expect(200);
    let old = json!({"pattern": "*", "action": "purge", "older_than_days": 1});
    assert_eq!(admin.post("/retention/preview", &old).expect(200).json()["items"], json!([]));
    assert_eq!(daemon.log().of("model.purge")[0]["data"]["rule"], "trash");
}

/// A rule that can't be carried out, here because a record is lost, is told and stays due; the others are carried out, those
/// after it as well as those before. Once it can be, it goes on by itself.
#[test]
fn one_that_fails() {
    let mut daemon =
        Daemon::with(&[("MREG_RESTORE_DAYS", "0"), ("MREG_RETENTION_GRACE", "1s"), ("MREG_RETENTION_INTERVAL", "1h")]);
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let last_run = |admin: &Client, name: &str| admin.value(&format!("/retention/{name}"))["last_run"].clone();
    let names = ["a", "bad", "c"];
    for (seed, name) in (1..).zip(names) {
        publish(&carl, name, seed);
        publish(&carl, name, seed + 10);
        admin.put(&format!("/retention/{name}"), &json!({"pattern": name, "action": "purge"})).expect(200);
    }
    for name in names {
        wait::until_true("a run that finds nothing", || last_run(&admin, name)["versions"] == 0);
        admin.delete(&format!("/models/{name}/versions/1")).expect(200);
    }
    daemon.stop();
    recount(&daemon, &samples::safetensors(2), None);
    let failed = "a retention rule can't be carried out now; it is tried again";
    daemon.expect_line(failed);
    daemon.expect_line("\"level\":\"ERROR\"");
    // All are due when it starts.
    daemon.set("MREG_RETENTION_INTERVAL", "1s");
    std::thread::sleep(Duration::from_secs(1));
    daemon.restart();
    let admin = admin.at(daemon.address());
    for name in ["a", "c"] {
        wait::until_true("the other rules to be carried out", || last_run(&admin, name)["versions"] == 1);
        admin.get(&format!("/models/{name}/versions/1")).problem("not-found");
    }
    let told = || daemon.stderr().into_iter().filter(|line| line.contains(failed)).collect::<Vec<_>>();
    wait::until_true("the failure to be told", || !told().is_empty());
    assert!(told().iter().all(|line| line.contains("\"rule\":\"bad\"")), "{:?}", told());
    assert_eq!(last_run(&admin, "bad")["versions"], 0, "it has not been carried out");
    assert_eq!(admin.value("/models/bad/versions/1")["state"], "deleted");
    assert_eq!(daemon.client().get("/readyz").expect(503).json()["checks"]["store"]["ok"], false);
    let metrics = String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap();
    assert!(metrics.contains("mreg_store_in_doubt 1") && metrics.contains("mreg_retention_versions_total 2"));

    // The records are made anew, and what was due is done.
    daemon.stop();
    daemon.restart();
    let admin = admin.at(daemon.address());
    wait::until_true("the rule to be carried out", || admin.get("/models/bad/versions/1").status == 404);
}

/// Killed in the middle of a run, the next start goes on with it, and all that the preview showed goes, once each.
#[test]
fn killed_in_the_middle() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let models: Vec<(String, u64)> = (0..6).map(|at| (format!("team/m{at}"), 25)).collect();
    std::thread::scope(|scope| {
        for (at, (name, count)) in (0_u32..).zip(&models) {
            let carl = &carl;
            scope.spawn(move || {
                for number in 0..u32::try_from(*count).unwrap() {
                    publish(carl, name, at * 1000 + number);
                }
            });
        }
    });
    let admin = daemon.admin();
    admin.put("/retention/r", &json!({"pattern": "team/*", "action": "delete", "keep_newest": 2})).expect(200);
    let (expected, _bytes) =
        preview(&admin, |admin, cursor| admin.value(&format!("/retention/r/preview?limit=100{cursor}")));
    assert_eq!(expected.len(), 6 * 23);
    admin.post_empty("/retention/r/run").expect(202);
    wait::until_true("something to go", || admin.value("/status")["retention"]["versions_total"] != 0);
    daemon.kill();
    daemon.restart();
    let admin = admin.at(daemon.address());
    wait::until_true("the run to end", || admin.value("/retention/r")["last_run"].is_object());
    let models: Vec<(&str, u64)> = models.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(deleted(&admin, &models), expected);
    let log = daemon.log();
    let gone: Vec<Row> = log
        .of("model.delete")
        .into_iter()
        .filter(|entry| entry["outcome"] == "ok")
        .flat_map(|entry| {
            let name = entry["data"]["name"].as_str().unwrap().to_owned();
            let versions = entry["data"]["versions"].as_array().unwrap().clone();
            versions.into_iter().map(move |version| (name.clone(), version.as_u64().unwrap()))
        })
        .collect();
    assert_eq!((gone.len(), gone.into_iter().collect::<BTreeSet<_>>()), (expected.len(), expected));
}

/// A rule reaches any model, in the daemon's own name: whoever may not delete all of them, by role, grants and token, neither
/// sets one nor sees what one would take.
#[test]
fn for_who_may_delete_all() {
    let daemon = Daemon::start();
    let (admin, carl) = (daemon.admin(), daemon.user("carl", Role::Contributor));
    for seed in 1..=3 {
        publish(&carl, "hidden/m", seed);
        publish(&carl, "team/m", seed + 10);
    }
    let rule = |pattern: &str| json!({"pattern": pattern, "action": "delete", "keep_newest": 1});
    admin.put("/retention/old", &rule("*")).expect(200);
    let granted = |name: &str, role, grants: Value| {
        let client = daemon.user(name, role);
        admin.patch(&format!("/users/{name}"), &json!({"grants": grants})).expect(200);
        client
    };
    let of_team = json!({"label": "of-team", "names": ["team/*"]});
    let token = admin.post("/tokens", &of_team).expect(201).json()["token"].as_str().unwrap().to_owned();
    daemon.ledger().add_secret(&token);
    let narrowed = [
        granted("vera", Role::Viewer, json!([{"pattern": "team/*", "role": "admin"}])),
        granted("anna", Role::Admin, json!([{"pattern": "hidden/*", "deny": true}])),
        granted("abel", Role::Admin, json!([{"pattern": "*", "role": "none"}, {"pattern": "team/*", "role": "admin"}])),
        admin.with_token(&token),
    ];
    for client in &narrowed {
        // What is theirs they may delete, one by one.
        client.get("/models/team%2Fm").expect(200);
        for response in [
            client.get("/retention"),
            client.get("/retention/old"),
            client.get("/retention/old/preview"),
            client.post("/retention/preview", &rule("*")),
            client.post("/retention/preview", &rule("team/*")),
            client.put("/retention/new", &rule("*")),
            client.put("/retention/old", &rule("team/*")),
            client.post_empty("/retention/old/run"),
            client.delete("/retention/old"),
        ] {
            let problem = response.problem("forbidden");
            assert!(
                problem.detail.contains("model.delete") && problem.detail.contains("all models"),
                "{}",
                problem.detail
            );
            assert!(!response.text().contains("hidden"), "{}", response.text());
        }
    }
    assert_eq!(admin.value("/retention")["total"], 1);
    assert!(admin.value("/retention/old")["requested_at"].is_null());
    // More than the role is no less: with it nothing is kept from anybody.
    let more = granted("alma", Role::Admin, json!([{"pattern": "team/*", "role": "viewer"}]));
    assert_eq!(preview_of(&more, "old").0.len(), 4);
    narrowed[0].delete("/models/team%2Fm/versions/1").expect(200);
}
