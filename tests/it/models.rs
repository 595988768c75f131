//! Finding, describing, moving, holding back and deleting models (rest-api.md §4).

use std::collections::BTreeSet;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::samples::{self, sha256};

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn listed(client: &Client, query: &str) -> Vec<String> {
    names(&client.value(&format!("/models{query}")))
}

/// Each filter finds what it says, and filters add up.
#[test]
fn filters() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let dora = daemon.user("dora", Role::Contributor);
    let form =
        |name: &str, seed: u32| Form::new().file("m.safetensors", &samples::safetensors(seed)).text("name", name);
    carl.publish(form("alpha", 1).text("tags", "lang:de,stage:test")).expect(201);
    carl.publish(form("team/beta", 2).text("tags", "lang:en").text("alias", "live")).expect(201);
    dora.publish(form("gamma", 3).text("description", "Sentiment of REVIEWS")).expect(201);
    dora.publish(Form::new().file("delta.pkl", &samples::harmless_pickle(1))).expect(201);
    let admin = daemon.admin();
    admin.post("/models/gamma/versions/1/quarantine", &json!({"reason": "test"})).expect(200);
    carl.upload("gone", "m.safetensors", &samples::safetensors(5));
    admin.delete("/models/gone").expect(200);
    carl.upload("old", "m.safetensors", &samples::safetensors(6));
    admin.post("/models/old/versions/1/deprecate", &json!({"reason": "test"})).expect(200);

    assert_eq!(listed(&carl, ""), ["alpha", "delta", "gamma", "old", "team/beta"]);
    assert_eq!(listed(&carl, "?q=ALPH"), ["alpha"]);
    // What is left out, alone, several times, and beside what is asked for.
    assert_eq!(listed(&carl, "?not=tag:lang:de"), ["delta", "gamma", "old", "team/beta"]);
    assert_eq!(listed(&carl, "?not=state:quarantined&not=state:deprecated&not=alias:live"), ["alpha", "delta"]);
    assert_eq!(listed(&carl, "?uploader=carl&not=format:safetensors").len(), 0);
    assert_eq!(listed(&carl, "?q=a&not=uploader:dora"), ["alpha", "team/beta"]);
    assert_eq!(listed(&carl, "?limit=1&not=tag:lang:de&sort=-name"), ["team/beta"]);
    for odd in ["state", "state:", "state:odd", "tag:x", "color:red", "alias:0x"] {
        carl.get(&format!("/models?not={odd}")).invalid("query.not");
    }
    carl.get(&format!("/models?x=1{}", "&not=state:deleted".repeat(17))).expect(422);
    assert_eq!(listed(&carl, "?q=reviews"), ["gamma"], "the description is searched too");
    // Words may be anywhere, and must all be there; quotes keep them together.
    assert_eq!(listed(&carl, "?q=reviews%20gam%20%20sent"), ["gamma"]);
    assert_eq!(listed(&carl, "?q=reviews%20beta"), [""; 0]);
    assert_eq!(listed(&carl, "?q=%22of%20reviews%22%20MM"), ["gamma"]);
    assert_eq!(listed(&carl, "?q=%22reviews%20of%22"), [""; 0]);
    assert_eq!(listed(&carl, "?tag=lang:de"), ["alpha"]);
    assert_eq!(listed(&carl, "?tag=lang:de&tag=stage:test"), ["alpha"]);
    assert_eq!(listed(&carl, "?tag=lang:de&tag=stage:prod"), [""; 0]);
    assert_eq!(listed(&carl, "?state=quarantined"), ["gamma"]);
    assert_eq!(listed(&carl, "?state=deprecated"), ["old"]);
    assert_eq!(listed(&admin, "?state=deleted"), ["gone"]);
    assert_eq!(listed(&carl, "?format=pickle"), ["delta"]);
    assert_eq!(listed(&carl, "?alias=live"), ["team/beta"]);
    assert_eq!(listed(&carl, "?uploader=dora"), ["delta", "gamma"]);
    assert_eq!(listed(&carl, "?uploader=dora&format=safetensors"), ["gamma"]);
    let since = carl.value("/models/old")["updated_at"].as_str().unwrap().to_owned();
    assert_eq!(listed(&carl, &format!("?since={since}")), ["old"]);

    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "sort=size",
        "state=good",
        "tag=x",
        "cursor=%00",
        "cursor=abc",
        "since=yesterday",
        "colour=red",
        "q=a&q=b",
        "alias=7",
        "format=%20",
        "uploader=a%20b",
        "q=%ff",
    ] {
        let response = carl.get(&format!("/models?{bad}"));
        assert_eq!(response.status, 422, "{bad}: {}", response.text());
        response.invalid(&format!("query.{}", bad.split('=').next().unwrap()));
    }
}

/// Models are found by rules that found something in them and by licences, those alone that are in view; what is deleted is not.
#[test]
fn rules_and_licences() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let licensed = |name: &str, seed: u32, licence: &str| {
        let file = samples::safetensors(seed);
        let claims = json!({"license": licence}).to_string();
        Form::new().file("m.safetensors", &file).text("name", name).text("metadata", &claims)
    };
    carl.publish(licensed("team/free", 1, "MIT")).expect(201);
    carl.publish(licensed("other/free", 2, "mit")).expect(201);
    carl.publish(licensed("other/bound", 3, "apache-2.0")).expect(201);
    carl.publish(Form::new().file("bad.pkl", &samples::hostile_pickle()).text("name", "team/bad")).expect(201);
    let rows = |query: &str| listed(&carl, query);
    assert_eq!(rows("?license=mit"), ["other/free", "team/free"]);
    assert_eq!(carl.value("/models?license=MIT")["total"], 2);
    assert_eq!(rows("?license=mit&sort=-created_at&limit=1"), ["other/free"]);
    assert_eq!(rows("?license=mit&sort=-updated_at"), ["other/free", "team/free"]);
    assert_eq!(rows("?license=mi").len(), 0);
    assert_eq!(rows("?rule=pickle.global.denied"), ["team/bad"]);
    assert_eq!((rows("?rule=pickle.*"), rows("?rule=pickle.*&license=mit").len()), (vec!["team/bad".to_owned()], 0));
    for bad in ["rule=A", "rule=", "rule=pickle*", "license=", "license=%00"] {
        assert_eq!(carl.get(&format!("/models?{bad}")).status, 422, "{bad}");
    }
    // Who sees some models sees those.
    let dora = daemon.user("dora", Role::Viewer);
    let admin = daemon.admin();
    let grants = json!({"grants": [{"pattern": "*", "role": "none"}, {"pattern": "team/*", "role": "viewer"}]});
    admin.patch("/users/dora", &grants).expect(200);
    assert_eq!(listed(&dora, "?license=mit"), ["team/free"]);
    assert_eq!(listed(&dora, "?license=mit&sort=created_at"), ["team/free"]);
    assert_eq!(dora.value("/models?license=apache-2.0")["total"], 0);
    // What is deleted is not found, until it is restored.
    admin.delete("/models/team%2Ffree/versions/1").expect(200);
    assert_eq!(rows("?license=mit"), ["other/free"]);
    admin.post("/models/team%2Ffree/versions/1/restore", &json!({})).expect(200);
    assert_eq!(rows("?license=mit"), ["other/free", "team/free"]);
    admin.delete("/models/team%2Ffree").expect(200);
    assert_eq!(
        (rows("?license=mit"), listed(&admin, "?license=mit&state=deleted")),
        (vec!["other/free".to_owned()], vec!["team/free".to_owned()])
    );
    admin.delete("/models/team%2Ffree?purge=true&reason=test").expect(200);
    assert_eq!(listed(&admin, "?license=mit&state=deleted").len(), 0);
    assert_eq!(carl.value("/models?license=mit")["total"], 1);
}

/// Every order is kept over pages, and turning it round reverses it.
#[test]
fn sorting() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    for (seed, name) in (0..).zip(["delta", "Alpha", "charlie", "bravo"]) {
        user.upload(name, "m.safetensors", &samples::safetensors(seed));
    }
    user.patch("/models/charlie", &json!({"description": "touched"})).expect(200);
    let walk = |sort: &str| {
        let (mut all, mut target) = (Vec::new(), format!("/models?limit=1&sort={sort}"));
        loop {
            let response = user.get(&target).expect(200);
            let page = response.json();
            all.extend(names(&page));
            match page["next_cursor"].as_str() {
                None => return all,
                Some(_) => {
                    let link = response.need("link");
                    target = link.strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
                }
            }
        }
    };
    for (sort, order) in [
        ("name", ["Alpha", "bravo", "charlie", "delta"]),
        ("created_at", ["delta", "Alpha", "charlie", "bravo"]),
        ("updated_at", ["delta", "Alpha", "bravo", "charlie"]),
    ] {
        assert_eq!(walk(sort), order, "{sort}");
        let mut reversed = order;
        reversed.reverse();
        assert_eq!(walk(&format!("-{sort}")), reversed, "-{sort}");
    }
    let page = user.value("/models?limit=2");
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = user.get(&format!("/models?limit=2&sort=-name&cursor={cursor}"));
    assert_eq!(other.status, 422, "a cursor belongs to its query: {}", other.text());
}

/// A walk through pages sees each model exactly once while others write.
#[test]
fn cursors_are_stable() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    for at in 0..20 {
        user.upload(&format!("m{at:02}"), "m.safetensors", &samples::safetensors(at));
    }
    let (mut seen, mut cursor, mut turn) = (Vec::new(), String::new(), 100);
    loop {
        let page = user.value(&format!("/models?limit=3{cursor}"));
        seen.extend(names(&page));
        // Before, behind and at the place where the walk is.
        for name in [format!("a{turn}"), format!("z{turn}"), seen.last().unwrap().clone()] {
            turn += 1;
            user.upload(&name, "m.safetensors", &samples::safetensors(turn));
        }
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
        assert!(turn < 400, "the walk ends");
    }
    let originals: Vec<&String> = seen.iter().filter(|name| name.starts_with('m')).collect();
    assert_eq!(originals.len(), 20, "{seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{seen:?}");
}

/// Description, tags and owner change under an entity tag; what is too much is refused.
#[test]
fn patch() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let _dora = daemon.user("dora", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let first = user.get("/models/m").expect(200);
    let etag = first.need("etag").to_owned();
    let patch =
        |etag: &str, body: &Value| user.request("PATCH", "/models/m").header("If-Match", etag).json(body).send();
    let changed = patch(&etag, &json!({"description": "new", "tags": {"a": "1", "b": "2"}})).expect(200);
    assert_eq!(changed.json()["tags"], json!({"a": "1", "b": "2"}));
    let now = changed.need("etag").to_owned();
    assert_ne!(now, etag);
    assert_eq!(user.get("/models/m").expect(200).need("etag"), now);
    user.request("GET", "/models/m").header("If-None-Match", &now).send().expect(304);
    user.request("GET", "/models/m").header("If-None-Match", &etag).send().expect(200);
    patch(&etag, &json!({"description": "lost update"})).problem("precondition-failed");
    patch("*", &json!({"tags": {"c": "3"}})).expect(200);
    let shown = user.value("/models/m");
    assert_eq!((&shown["description"], &shown["tags"]), (&json!("new"), &json!({"c": "3"})));
    let moved = user.patch("/models/m", &json!({"owner": "dora"})).expect(200).json();
    assert_eq!(moved["owner"], "dora");

    let long = "x".repeat(20_000);
    let many: Value = (0..65).map(|at| (format!("k{at}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    for body in [
        json!({"description": long}),
        json!({"tags": many}),
        json!({"tags": {"k": long}}),
        json!({"tags": {"": "v"}}),
        json!({"tags": {"k": 1}}),
        json!({"owner": "nobody"}),
        json!({"name": "other"}),
        json!([]),
    ] {
        user.patch("/models/m", &body).problem("invalid");
    }
    user.patch("/models/nothing", &json!({"description": "x"})).problem("not-found");

    user.upload("m", "m.safetensors", &samples::safetensors(2));
    let version = user.patch("/models/m/versions/2", &json!({"description": "second"})).expect(200).json();
    assert_eq!(version["description"], "second");
    assert_eq!(user.value("/models/m/versions/1")["description"], "");
    let etag = user.get("/models/m/versions/1").expect(200).need("etag").to_owned();
    let stale = user.request("PATCH", "/models/m/versions/1").header("If-Match", "\"x\"");
    stale.json(&json!({"description": "x"})).send().problem("precondition-failed");
    let held = user.request("PATCH", "/models/m/versions/1").header("If-Match", &etag);
    held.json(&json!({"description": "x"})).send().expect(200);
}

/// A model is reached by id, name in any case, `name:3`, `name@alias` and an artifact's digest.
#[test]
fn references() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let published = user.upload("Team/Model", "m.safetensors", &samples::safetensors(1));
    user.upload("Team/Model", "m.safetensors", &samples::safetensors(2));
    user.put("/models/Team%2FModel/aliases/live", &json!({"version": 1})).expect(200);
    let id = published["id"].as_str().unwrap();
    let select = |reference: &str| user.value(&format!("/models/{reference}"))["selected"]["version"].clone();
    assert_eq!(select("Team%2FModel"), 2);
    assert_eq!(select("team%2fmodel"), 2);
    assert_eq!(select(id), 2);
    assert_eq!(select(&id.to_lowercase()), 2);
    assert_eq!(select("team%2Fmodel:1"), 1);
    assert_eq!(select(&format!("{id}:1")), 1);
    assert_eq!(select("team%2Fmodel@live"), 1);
    assert_eq!(select("team%2Fmodel%40LIVE/"), 1);
    assert_eq!(select(&format!("sha256:{}", sha256(&samples::safetensors(1)))), 1);
    for missing in [
        "team%2Fmodel:3",
        "team%2Fmodel@no",
        "team",
        "nothing",
        "team%2Fmodel:0",
        "team%2Fmodel:x",
        "a%20b",
        "%2E%2E",
        "00000000000000000000000000",
        &format!("sha256:{}", "0".repeat(64)),
        "sha256:12",
    ] {
        user.get(&format!("/models/{missing}")).problem("not-found");
    }
    user.get("/models/a%zz").problem("bad-request");

    let versions = user.value("/models/team%2Fmodel/versions?limit=1");
    assert_eq!((&versions["items"][0]["version"], &versions["total"]), (&json!(2), &json!(2)));
    let cursor = versions["next_cursor"].as_str().unwrap();
    let next = user.value(&format!("/models/team%2Fmodel/versions?limit=1&cursor={cursor}"));
    assert_eq!((&next["items"][0]["version"], &next["next_cursor"]), (&json!(1), &Value::Null));
    let shown = user.value(&format!("/models/{id}"));
    assert_eq!(shown["newest_versions"].as_array().unwrap().len(), 2);
    assert_eq!((&shown["latest_version"], &shown["versions"]), (&json!(2), &json!(2)));
}

/// Aliases point at one version at a time, keep their history, and answer what they were.
#[test]
fn aliases() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    for seed in 1..=3 {
        user.upload("m", "m.safetensors", &samples::safetensors(seed));
    }
    let set = |version: u32| user.put("/models/m/aliases/Live", &json!({"version": version})).expect(200);
    let first = set(1).json();
    assert_eq!((&first["alias"], &first["version"], &first["previous"]), (&json!("live"), &json!(1), &Value::Null));
    let at_first = user.value("/models/m")["aliases"][0]["set_at"].as_str().unwrap().to_owned();
    let moved = set(3).json();
    assert_eq!((&moved["version"], &moved["previous"]), (&json!(3), &json!(1)));
    assert_eq!(user.value("/models/m@live")["selected"]["version"], 3);
    assert_eq!(user.value("/models/m/versions/3")["aliases"], json!(["live"]));
    assert_eq!(user.value("/models/m/versions/1")["aliases"], json!([]));

    let as_of = |time: &str| user.get(&format!("/models/m@live?as_of={time}"));
    let then = as_of(&at_first).expect(200).json();
    assert_eq!(then["selected"]["version"], 1);
    assert_eq!(then["as_of"]["version"], 1);
    as_of("2001-01-01T00:00:00Z").problem("not-found");
    as_of("now").invalid("query.as_of");

    let cleared = user.delete("/models/m/aliases/live").expect(200).json();
    assert_eq!((&cleared["version"], &cleared["previous"]), (&Value::Null, &json!(3)));
    user.get("/models/m@live").problem("not-found");
    user.delete("/models/m/aliases/live").problem("not-found");
    assert_eq!(as_of(&at_first).expect(200).json()["selected"]["version"], 1, "the past stays");
    let history = user.value("/models/m/aliases/live/history");
    let steps: Vec<Value> = history["items"].as_array().unwrap().iter().map(|step| step["version"].clone()).collect();
    assert_eq!(steps, [Value::Null, json!(3), json!(1)], "newest first");
    assert_eq!(history["items"][0]["by"], "carl");
    assert_eq!(user.value("/models/m/aliases/live/history?limit=1")["items"].as_array().unwrap().len(), 1);

    user.put("/models/m/aliases/live", &json!({"version": 9})).problem("not-found");
    user.put("/models/m/aliases/7", &json!({"version": 1})).invalid("path.alias");
    user.put("/models/m/aliases/live", &json!({"version": 0})).invalid("body.version");
    user.put("/models/m/aliases/live", &json!({})).invalid("body.version");
    user.put("/models/nothing/aliases/live", &json!({"version": 1})).problem("not-found");
}

/// Protected aliases are moved by admins alone, in uploads too.
#[test]
fn protected_aliases() {
    let daemon = Daemon::with(&[("MREG_PROTECTED_ALIASES", "prod,golden")]);
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    for alias in ["prod", "PROD", "golden"] {
        user.put(&format!("/models/m/aliases/{alias}"), &json!({"version": 1})).problem("forbidden");
    }
    let form = Form::new().file("m.safetensors", &samples::safetensors(2)).text("alias", "prod");
    user.publish(form).problem("forbidden");
    assert_eq!(user.value("/models/m")["latest_version"], 1, "nothing was kept");
    let admin = daemon.admin();
    admin.put("/models/m/aliases/prod", &json!({"version": 1})).expect(200);
    assert_eq!(user.value("/models/m")["aliases"][0]["protected"], true);
    user.delete("/models/m/aliases/prod").problem("forbidden");
    admin.delete("/models/m/aliases/prod").expect(200);
}

/// States change with a reason, which stays to be read.
#[test]
fn states() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let act =
        |verb: &str, reason: &str| admin.post(&format!("/models/m/versions/1/{verb}"), &json!({"reason": reason}));
    let held = act("quarantine", "looks odd").expect(200).json();
    assert_eq!((&held["state"], &held["state_reason"]), (&json!("quarantined"), &json!("looks odd")));
    assert_eq!(user.value("/models/m")["state"], "quarantined");
    assert_eq!(user.value("/models/m/versions/1")["state_reason"], "looks odd");
    assert_eq!(act("release", "is fine").expect(200).json()["state"], "available");
    assert_eq!(act("deprecate", "use 2").expect(200).json()["state"], "deprecated");
    for reason in ["", &"x".repeat(1001)] {
        act("quarantine", reason).invalid("body.reason");
    }
    admin.post("/models/m/versions/1/quarantine", &json!({})).invalid("body.reason");
    admin.post("/models/m/versions/9/quarantine", &json!({"reason": "x"})).problem("not-found");
    user.post("/models/m/versions/1/quarantine", &json!({"reason": "x"})).problem("forbidden");
    let mut daemon = daemon;
    let log = daemon.log();
    for (action, reason) in
        [("model.quarantine", "looks odd"), ("model.release", "is fine"), ("model.deprecate", "use 2")]
    {
        let entries = log.of(action);
        let entry = entries.iter().find(|entry| entry["outcome"] == "ok").unwrap();
        assert!(entry["data"].to_string().contains(reason), "{entry}");
    }
}

/// A deleted model is not seen, can be restored, and comes back as it was.
#[test]
fn delete_and_restore() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    let published = user.upload("m", "m.safetensors", &samples::safetensors(1));
    user.put("/models/m/aliases/live", &json!({"version": 1})).expect(200);
    let before = user.value("/models/m");
    user.delete("/models/m").problem("forbidden");
    let stale = admin.request("DELETE", "/models/m").header("If-Match", "\"x\"").send();
    stale.problem("precondition-failed");
    let deleted = admin.delete("/models/m").expect(200).json();
    assert_eq!((&deleted["status"], &deleted["id"]), (&json!("deleted"), &published["id"]));
    assert!(tests::oracle::is_time(deleted["restorable_until"].as_str().unwrap()));
    user.get("/models/m").problem("not-found");
    user.get("/models/m/versions").problem("not-found");
    assert_eq!(user.value("/models")["total"], 0);
    user.get(&format!("/models/sha256:{}", sha256(&samples::safetensors(1)))).problem("not-found");
    admin.patch("/models/m", &json!({"description": "x"})).expect_refusal();
    let restored = admin.post_empty("/models/m/restore").expect(200).json();
    assert_eq!(restored["id"], published["id"]);
    let after = user.value("/models/m");
    for field in ["id", "name", "description", "tags", "aliases", "versions", "latest_version", "newest_versions"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(user.get("/models/m/download").expect(200).body, samples::safetensors(1));
    admin.post_empty("/models/m/restore").problem("conflict");
    admin.post_empty("/models/nothing/restore").problem("not-found");

    user.upload("m", "m.safetensors", &samples::safetensors(2));
    admin.delete("/models/m/versions/2").expect(200);
    assert_eq!(user.value("/models/m")["latest_version"], 1);
    assert_eq!(user.upload("m", "m.safetensors", &samples::safetensors(3))["version"], 3, "numbers are never reused");
    admin.post_empty("/models/m/versions/2/restore").expect(200);
    assert_eq!(user.get("/models/m:2/download").expect(200).body, samples::safetensors(2));
}

trait Refusal {
    fn expect_refusal(&self);
}

impl Refusal for tests::http::Response {
    /// Not there, or in conflict with being deleted: both are fair.
    fn expect_refusal(&self) {
        assert!(matches!(self.status, 404 | 409), "{}", self.text());
    }
}

/// A purge is final: the bytes go when nothing else points at them, a tombstone stays, the name is free.
#[test]
fn purge() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    let (own, shared) = (samples::safetensors(1), samples::safetensors(2));
    let form = Form::new().file("own.safetensors", &own).file("shared.safetensors", &shared).text("name", "m");
    let published = user.publish(form).expect(201).json();
    user.upload("other", "shared.safetensors", &shared);
    let blob = |octets: &[u8]| {
        let hex = sha256(octets);
        daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
    };
    assert!(blob(&own).is_file() && blob(&shared).is_file());
    admin.delete("/models/m?purge=true").invalid("query.reason");
    admin.delete("/models/m?purge=maybe&reason=x").invalid("query.purge");
    admin.delete("/models/m?reason=x").invalid("query.reason");
    let purged = admin.delete("/models/m?purge=true&reason=leaked").expect(200).json();
    assert_eq!((&purged["status"], &purged["restorable_until"]), (&json!("purged"), &Value::Null));
    tests::wait::until_true("the bytes to go", || !blob(&own).exists());
    assert!(blob(&shared).is_file(), "another model points at it");
    let id = published["id"].as_str().unwrap();
    for target in ["/models/m".to_owned(), "/models/m/download".to_owned(), format!("/models/{id}/download")] {
        user.get(&target).problem("not-found");
    }
    let tombstone = admin.get(&format!("/models/{id}"));
    assert!(matches!(tombstone.status, 200 | 404 | 410), "{}", tombstone.text());
    admin.post_empty(&format!("/models/{id}/restore")).expect_refusal();
    assert_eq!(user.get("/models/other/download").expect(200).body, shared);

    let new = user.upload("m", "m.safetensors", &own);
    assert_ne!(new["id"], published["id"], "the name is free, the id is not");
    assert_eq!(user.get("/models/m/download").expect(200).body, own);

    user.upload("m", "m.safetensors", &samples::safetensors(4));
    admin.delete("/models/m/versions/2?purge=true&reason=leaked").expect(200);
    tests::wait::until_true("the version's bytes to go", || !blob(&samples::safetensors(4)).exists());
    admin.post_empty("/models/m/versions/2/restore").expect_refusal();
    assert_eq!(user.upload("m", "m.safetensors", &samples::safetensors(5))["version"], 3);
    let mut daemon = daemon;
    let log = daemon.log();
    let entries = log.of("model.purge");
    assert!(!entries.is_empty() || log.of("model.delete").iter().any(|entry| entry.to_string().contains("leaked")));
}

/// What was written survives a restart, octet for octet in every answer.
#[test]
fn restart() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let _a = user
        .publish(Form::new().file("a.safetensors", &samples::safetensors(1)).text("tags", "k:v").text("alias", "live"));
    user.upload("b", "b.safetensors", &samples::safetensors(2));
    daemon.admin().delete("/models/b").expect(200);
    let targets =
        ["/models", "/models/a", "/models/a/versions", "/models/a/aliases/live/history", "/models/a/download"];
    let before: Vec<Vec<u8>> = targets.iter().map(|target| user.get(target).expect(200).body).collect();
    daemon.stop();
    daemon.restart();
    let user = user.at(daemon.address());
    let after: Vec<Vec<u8>> = targets.iter().map(|target| user.get(target).expect(200).body).collect();
    for ((target, before), after) in targets.iter().zip(before).zip(after) {
        assert!(
            before == after,
            "{target}: {} is now {}",
            String::from_utf8_lossy(&before),
            String::from_utf8_lossy(&after)
        );
    }
}

/// The lines of an answer about many models.
fn lines(response: tests::http::Response) -> Vec<Value> {
    let response = response.expect(200);
    assert_eq!(response.need("content-type"), "application/x-ndjson");
    // An empty line only says that it goes on.
    let text = response.text();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the last line says: matched, done, failed.
fn totals(lines: &[Value]) -> (u64, u64, u64) {
    let total = |name: &str| lines.last().unwrap()["total"][name].as_u64().unwrap();
    (total("matched"), total("done"), total("failed"))
}

/// Names of the lines of a kind.
fn told<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l str> {
    lines.iter().filter_map(|line| line[kind]["name"].as_str()).collect()
}

/// All that match are deleted by one request, and restored by one: each has its entry, is told for itself, and they must be
/// as many as whoever asks has seen.
#[test]
fn many_at_once() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    for number in 0..40 {
        carl.upload(&format!("old/m{number:02}"), "m.safetensors", &samples::safetensors(number));
    }
    carl.upload("new/m", "m.safetensors", &samples::safetensors(99));
    let admin = daemon.admin();

    let counted = lines(admin.delete("/models?q=old/&dry_run=true"));
    assert_eq!((counted.len(), totals(&counted)), (1, (40, 0, 0)));
    // What fits more or less than was looked at changes nothing.
    for wrong in [0, 39, 41] {
        let refused = admin.delete(&format!("/models?q=old/&expected={wrong}")).problem("conflict");
        assert!(refused.detail.contains("40 models match, and not"), "{}", refused.detail);
    }
    assert_eq!(listed(&carl, "?limit=100").len(), 41);
    for (query, place) in [
        ("?q=old/", "query.expected"),
        ("", "query.expected"),
        ("?expected=1&dry_run=true", "query.expected"),
        ("?q=old/&expected=40&limit=5", "query.limit"),
        ("?q=old/&expected=40&cursor=x", "query.cursor"),
        ("?name=old&expected=40", "query.name"),
        ("?state=odd&expected=40", "query.state"),
    ] {
        admin.delete(&format!("/models{query}")).invalid(place);
        admin.post_empty(&format!("/models:restore{query}")).invalid(place);
    }
    carl.delete("/models?q=old/&expected=40").problem("forbidden");
    admin.anonymous().delete("/models?q=old/&expected=40").problem("unauthenticated");

    // One is gone by the time the others go: it was not among those that match.
    admin.delete("/models/old%2Fm07").expect(200);
    admin.delete("/models?q=old/&expected=40").problem("conflict");
    let gone = lines(admin.delete("/models?q=old/&expected=39&sort=-name"));
    assert_eq!(gone.len(), 40);
    let names = told(&gone, "done");
    assert_eq!(names.len(), 39);
    assert!(names.windows(2).all(|pair| pair[0] > pair[1]), "in the order that was asked for: {names:?}");
    assert_eq!(totals(&gone), (39, 39, 0));
    assert!(gone[0]["done"]["restorable_until"].as_str().unwrap().ends_with('Z'));
    assert_eq!(listed(&carl, ""), ["new/m"]);
    // Each is an entry of its own, of this request.
    for line in &gone[..39] {
        let entry = admin.value(&format!("/audit-logs/{}", line["done"]["log_index"]));
        assert_eq!(entry["entry"]["action"], "model.delete");
        assert_eq!(entry["entry"]["target"]["id"], line["done"]["id"]);
    }
    assert_eq!(lines(admin.delete("/models?q=old/&expected=0")).len(), 1, "none match, and none were meant");

    let counted = lines(admin.post_empty("/models:restore?q=old/&dry_run=true"));
    assert_eq!(counted[0]["total"]["matched"], 40);
    let back = lines(admin.post_empty("/models:restore?q=old/&expected=40"));
    assert_eq!((back.len(), totals(&back)), (41, (40, 40, 0)));
    assert_eq!(listed(&carl, "?limit=100").len(), 41);
}

/// With a permission for some, the others are refused one by one.
#[test]
fn many_of_which_some_may_not_be_touched() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for (number, name) in ["mine/a", "theirs/b", "mine/c"].into_iter().enumerate() {
        admin.upload(name, "m.safetensors", &samples::safetensors(u32::try_from(number).unwrap()));
    }
    let vera = daemon.user("vera", Role::Viewer);
    let grants = json!({"grants": [{"pattern": "mine/*", "role": "admin"}]});
    admin.patch("/users/vera", &grants).expect(200);
    let gone = lines(vera.delete("/models?q=/&expected=3"));
    assert_eq!((told(&gone, "done"), told(&gone, "failed")), (vec!["mine/a", "mine/c"], vec!["theirs/b"]));
    let refused = &gone[2]["failed"];
    assert_eq!(refused["type"], "/problems/forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("theirs/b"), "{refused}");
    assert_eq!(totals(&gone), (3, 2, 1));
    assert_eq!(listed(&admin, ""), ["theirs/b"]);
}

/// Which they are can be said by their set: another of as many is not that. Counting is reading, and recorded where readings are.
#[test]
fn many_are_those_that_were_seen() {
    let daemon = Daemon::with(&[("MREG_AUDIT_READS", "all")]);
    let admin = daemon.admin();
    for number in 0..3 {
        admin.upload(&format!("old/m{number}"), "m.safetensors", &samples::safetensors(number));
    }
    let counted = lines(admin.delete("/models?q=old/&dry_run=true"));
    let set = counted[0]["total"]["set"].as_str().unwrap().to_owned();
    let ids: BTreeSet<String> =
        admin.value("/models")["items"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
    let text: String = ids.iter().map(|id| format!("{}\n", id.trim_matches('"'))).collect();
    assert_eq!(set, sha256(text.as_bytes()), "as it is documented");
    let read = admin.value("/audit-logs?action=model.list&limit=10");
    assert!(read["items"].as_array().unwrap().len() >= 2, "the dry run and the list: {read}");
    admin.delete("/models/old%2Fm0").expect(200);
    admin.upload("old/m3", "m.safetensors", &samples::safetensors(3));
    let refused = admin.delete(&format!("/models?q=old/&expected=3&set={set}")).problem("conflict");
    assert!(refused.detail.contains("not those that did before"), "{}", refused.detail);
    admin.delete("/models?q=old/&expected=3&set=abc").invalid("query.set");
    let set = lines(admin.delete("/models?q=old/&dry_run=true"))[0]["total"]["set"].as_str().unwrap().to_owned();
    let gone = lines(admin.delete(&format!("/models?q=old/&expected=3&set={set}")));
    assert_eq!(gone[3]["total"]["done"], 3);
}
