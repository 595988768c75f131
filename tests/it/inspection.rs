//! What inspection finds and what becomes of it: policies, the gate, review, inspecting anew (scanning.md §1).

use std::fs;

use common::role::Role;
use daemon::http::route::{Content, Route};
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::{Client, Response};
use tests::multipart::Form;
use tests::{samples, wait};

/// Nothing that runs.
const CLEAN: &[u8] = b"{\"hidden_size\": 768}\n";
/// Something that runs, and no evidence of an attack.
const SUSPICIOUS: &[u8] = b"import torch\n\n\ndef forward(x):\n    return x + 1\n";
/// In no format there is.
const UNSCANNABLE: &[u8] = b"\x00\x01\x02\xfe\xff\xfd neither text nor anything else \x00\x9c\x00";
/// The beginning of a program, and nothing behind it that could run.
const MALICIOUS: &[u8] = b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00\x01\x00\x00\x00";

/// One of each verdict, with a name that fits the content.
const SAMPLES: [(&str, &str, &[u8]); 4] = [
    ("clean", "config.json", CLEAN),
    ("suspicious", "model.py", SUSPICIOUS),
    ("unscannable", "weights.bin", UNSCANNABLE),
    ("malicious", "lib.so", MALICIOUS),
];

fn publish(client: &Client, name: &str, file: &str, octets: &[u8]) -> Response {
    client.publish(Form::new().text("name", name).file(file, octets))
}

/// The states that the four samples get; `refused` where they are not taken in.
fn states(client: &Client, prefix: &str) -> [String; 4] {
    SAMPLES.map(|(verdict, file, octets)| {
        let response = publish(client, &format!("{prefix}{verdict}"), file, octets);
        if response.status == 422 {
            return "refused".to_owned();
        }
        let published = response.expect(201).json();
        assert_eq!(published["inspection"]["verdict"], verdict, "{published}");
        assert_eq!(published["artifacts"][0]["verdict"], verdict);
        published["state"].as_str().unwrap().to_owned()
    })
}

/// Every policy against every verdict.
#[test]
fn policies() {
    for (policy, expected) in [
        ("default", ["available", "quarantined", "quarantined", "quarantined"]),
        ("strict", ["available", "quarantined", "quarantined", "quarantined"]),
        ("report", ["available", "available", "available", "available"]),
        ("flag", ["available", "available", "quarantined", "quarantined"]),
        ("refuse-malicious", ["available", "quarantined", "quarantined", "refused"]),
    ] {
        let daemon = Daemon::with(&[("MREG_SCAN_POLICY", policy)]);
        let admin = daemon.admin();
        assert_eq!(states(&admin, ""), expected, "{policy}");
        assert_eq!(admin.value("/models/clean/versions/1")["inspection"]["policy"], policy);
    }
}

/// Some models have a policy of their own; the first pattern that fits decides.
#[test]
fn policies_by_model() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "team-a/*=report; default; team-*=flag; team-b/*=report")]);
    let admin = daemon.admin();
    assert_eq!(states(&admin, "Team-A/"), ["available"; 4]);
    assert_eq!(states(&admin, "team-b/"), ["available", "available", "quarantined", "quarantined"]);
    assert_eq!(admin.value("/status")["scan_policy"], "default; team-a/*=report; team-*=flag; team-b/*=report");
}

/// A refused file leaves nothing but its entry; the answer and the entry say what was found.
#[test]
fn refused() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "refuse-malicious")]);
    let admin = daemon.admin();
    let response = publish(&admin, "m", "lib.so", MALICIOUS);
    let problem = response.problem("malicious-content");
    assert_eq!((&*problem.findings[0].rule, &*problem.findings[0].level), ("code.native", "malicious"));
    assert!(problem.findings[0].meaning.as_ref().unwrap().len() > 20);
    assert_eq!(admin.value("/models")["total"], 0);
    assert_eq!(admin.value("/status")["store"]["blobs"], 0);
    let mut daemon = daemon;
    let log = daemon.log();
    let entries = log.of("model.upload");
    let entry = entries.last().unwrap();
    assert_eq!((&entry["outcome"], &entry["data"]["reason"]), (&json!("denied"), &json!("malicious-content")));
    assert_eq!(entry["data"]["verdict"], "malicious");
    assert_eq!(entry["data"]["rules"]["code.native"], "malicious");
    assert!(entry["data"]["digests"][0].as_str().unwrap().contains(&samples::sha256(MALICIOUS)));
}

/// What a version and its entry say of the inspection.
#[test]
fn shown() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "flag")]);
    let admin = daemon.admin();
    let published = publish(&admin, "m", "model.py", SUSPICIOUS).expect(201).json();
    let ruleset = admin.value("/version")["ruleset"].as_str().unwrap().to_owned();
    assert!(ruleset.starts_with("mreg-"));
    let version = admin.value("/models/m/versions/1");
    let inspection = &version["inspection"];
    assert_eq!((&inspection["verdict"], &inspection["policy"]), (&json!("suspicious"), &json!("flag")));
    assert_eq!((&inspection["ruleset"], &inspection["stale"]), (&json!(ruleset), &json!(false)));
    assert_eq!(inspection["findings_total"], version["findings"].as_array().unwrap().len());
    assert!(version["findings"][0]["meaning"].as_str().unwrap().len() > 20, "{version}");
    assert_eq!(version["review"], Value::Null);
    let warnings = published["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().starts_with("suspicious: ")), "{published}");
    assert_eq!(admin.value("/models/m")["verdict"], "suspicious");

    let rules = admin.value("/scan/rules");
    assert_eq!(rules["ruleset"], ruleset);
    let rule = &version["findings"][0]["rule"];
    let known = rules["rules"].as_array().unwrap().iter().find(|one| one["id"] == *rule).unwrap();
    assert_eq!(known["meaning"], version["findings"][0]["meaning"]);

    let mut daemon = daemon;
    let log = daemon.log();
    let entry = log.of("model.upload").pop().unwrap();
    for (key, value) in [("verdict", "suspicious"), ("ruleset", ruleset.as_str()), ("policy", "flag")] {
        assert_eq!(entry["data"][key], value, "{entry}");
    }
    assert_eq!(entry["data"]["rules"][rule.as_str().unwrap()], "suspicious");
}

/// What the bytes say can't be claimed; lists show it.
#[test]
fn measured() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let claims = r#"{"parameters": 7000000000, "format": "gguf", "accuracy": 0.9}"#;
    let file = samples::safetensors(1);
    let form = Form::new().text("name", "m").file("m.safetensors", &file).text("metadata", claims);
    let published = admin.publish(form).expect(201).json();
    let field = |key: &str| published["metadata"][key].clone();
    assert_eq!(field("parameters"), json!({"value": 4, "origin": "measured"}));
    assert_eq!(field("tensors"), json!({"value": 1, "origin": "measured"}));
    assert_eq!(field("dtypes"), json!({"value": {"F32": 4}, "origin": "measured"}));
    assert_eq!(field("largest_tensor"), json!({"value": {"name": "w", "shape": [2, 2]}, "origin": "measured"}));
    assert_eq!(field("format"), json!({"value": "safetensors", "origin": "measured"}));
    assert_eq!(field("accuracy"), json!({"value": 0.9, "origin": "claimed"}));
    let warned = |key: &str| published["warnings"].to_string().contains(&format!("`{key}`"));
    assert!(warned("parameters") && warned("format") && !warned("accuracy"), "{published}");
    let row = &admin.value("/models")["items"][0];
    assert_eq!((&row["parameters"], &row["dtypes"], &row["verdict"]), (&json!(4), &json!(["F32"]), &json!("clean")));
}

/// No route hands out an octet of what is held, however it is asked for and whoever asks: those of the table that have
/// octets for content, so that a new one is tried too.
#[test]
fn one_gate() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let viewer = daemon.user("vera", Role::Viewer);
    let form = Form::new().text("name", "held").file("a.json", CLEAN).file("lib.so", MALICIOUS);
    admin.publish(form.text("alias", "live")).expect(201);
    let secret = "not to be seen anywhere";
    let octets = format!("{{\"text\": \"{secret}\"}}");
    let one = publish(&admin, "one", "a.json", octets.as_bytes()).expect(201).json();
    let etag = format!("\"{}\"", one["artifacts"][0]["digest"].as_str().unwrap());
    admin.post("/models/one/versions/1/quarantine", &json!({"reason": "test"})).expect(200);

    let is_binary = |content: &Content| match content {
        Content::Octets(kind) => *kind == "application/octet-stream" || *kind == "application/x-tar",
        Content::Json(_) => false,
    };
    let of_models = Route::ALL.iter().filter(|endpoint| endpoint.template.contains("/models/{id}"));
    let handing_out: Vec<_> = of_models
        .filter(|endpoint| endpoint.answers.iter().any(|answer| answer.content.iter().any(is_binary)))
        .collect();
    assert!(handing_out.len() >= 3, "{handing_out:?}");
    let digest = one["artifacts"][0]["digest"].as_str().unwrap();
    for endpoint in handing_out {
        assert_eq!(endpoint.method, "GET", "{}", endpoint.id);
        for (model, file) in [
            ("one", "a.json"),
            (one["id"].as_str().unwrap(), "a.json"),
            ("one:1", "a.json"),
            ("held@live", "a.json"),
            ("held@live", "lib.so"),
            ("held", "lib.so"),
            (digest, "a.json"),
        ] {
            let target = endpoint.template.replace("{id}", model).replace("{v}", "1").replace("{path}", file);
            assert!(!target.contains('{'), "{target}: say what its parameters are");
            for client in [&admin, &viewer] {
                for (header, value) in [
                    ("Accept", "*/*"),
                    ("Range", "bytes=0-3"),
                    ("Range", "bytes=-1"),
                    ("If-None-Match", etag.as_str()),
                    ("If-None-Match", "*"),
                    ("If-Match", etag.as_str()),
                    ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
                    ("If-Range", etag.as_str()),
                ] {
                    let told = format!("{target} {header}: {value}");
                    let response = client.request("GET", &target).header(header, value).send();
                    assert_eq!(response.status, 403, "{told}");
                    response.problem("model-quarantined");
                    assert!(!response.text().contains(secret), "{told}");
                    let head = client.request("HEAD", &target).header(header, value).send();
                    assert_eq!(head.status, 403, "HEAD {told}");
                }
            }
        }
    }
}

/// A release keeps the findings and says who decided what over them; a block is for good unless it is overridden.
#[test]
fn review() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let carl = daemon.user("carl", Role::Contributor);
    publish(&carl, "m", "model.py", SUSPICIOUS).expect(201);
    publish(&carl, "n", "lib.so", MALICIOUS).expect(201);
    let act = |verb: &str, body: &Value| admin.post(&format!("/models/m/versions/1/{verb}"), body);
    let listed = |query: &str| {
        let items = admin.value(&format!("/quarantine{query}"))["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    carl.get("/quarantine").problem("forbidden");
    carl.post("/models/m/versions/1/block", &json!({"reason": "x"})).problem("forbidden");
    let page = admin.value("/quarantine");
    assert_eq!(page["total"], 2);
    let item = &page["items"][0];
    assert_eq!((&item["name"], &item["version"], &item["created_by"]), (&json!("m"), &json!(1), &json!("carl")));
    assert_eq!((&item["verdict"], &item["cleared"]), (&json!("suspicious"), &json!(false)));
    assert!(!item["findings"].as_array().unwrap().is_empty() && item["held_seconds"].is_u64());
    let first = admin.value("/quarantine?limit=1");
    assert_eq!(first["items"][0]["name"], "m");
    let second = admin.value(&format!("/quarantine?limit=1&cursor={}", first["next_cursor"].as_str().unwrap()));
    assert_eq!((&second["items"][0]["name"], &second["next_cursor"]), (&json!("n"), &Value::Null));

    let released = act("release", &json!({"reason": "read it"})).expect(200).json();
    assert_eq!(released["state"], "available");
    assert!(!released["findings"].as_array().unwrap().is_empty(), "findings stay");
    let review = &released["review"];
    assert_eq!(
        (&review["decision"], &review["by"], &review["reason"]),
        (&json!("released"), &json!("admin"), &json!("read it"))
    );
    let rule = released["findings"][0]["rule"].as_str().unwrap();
    assert_eq!(review["over"][rule], "suspicious");
    assert_eq!(listed(""), ["n"]);
    admin.get("/models/m/download").expect(200);

    let blocked = act("block", &json!({"reason": "on second thoughts"})).expect(200).json();
    assert_eq!((&blocked["state"], &blocked["review"]["decision"]), (&json!("quarantined"), &json!("blocked")));
    admin.get("/models/m/download").problem("model-quarantined");
    assert_eq!(listed(""), ["n"], "it is not offered any more");
    assert_eq!(listed("?blocked=true"), ["m"]);
    act("block", &json!({"reason": "again"})).problem("conflict");
    act("release", &json!({"reason": "please"})).problem("conflict");
    act("release", &json!({"reason": "please", "override_block": true})).expect(200);
    admin.get("/models/m/download").expect(200);
    assert_eq!(listed("?blocked=true"), [""; 0]);

    let mut daemon = daemon;
    let log = daemon.log();
    let overrides: Vec<_> = log.of("model.override");
    assert_eq!(overrides.len(), 2);
    assert_eq!(overrides[0]["data"]["rules"][rule], "suspicious");
    assert_eq!(overrides[1]["data"]["override_block"], true);
    let ok: Vec<_> = log.of("model.block").into_iter().filter(|entry| entry["outcome"] == "ok").collect();
    assert_eq!(ok.len(), 1);
}

/// Inspecting anew with the same rules changes nothing, and is an entry; it holds what a policy holds by now, but nothing that
/// was overruled, and releases nothing.
#[test]
fn rescan() {
    let mut daemon = Daemon::with(&[("MREG_SCAN_POLICY", "report"), ("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    let carl = daemon.user("carl", Role::Contributor);
    let vera = daemon.user("vera", Role::Viewer);
    for name in ["m", "overruled"] {
        publish(&carl, name, "model.py", SUSPICIOUS).expect(201);
    }
    publish(&carl, "clean", "a.json", CLEAN).expect(201);
    vera.post_empty("/models/m/versions/1/rescan").problem("forbidden");
    carl.post_empty("/models/m/versions/9/rescan").problem("not-found");
    let etag = admin.get("/models/m/versions/1").need("etag").to_owned();
    let same = carl.post_empty("/models/m/versions/1/rescan").expect(200);
    assert_eq!(same.need("etag"), etag, "nothing has changed");
    let same = same.json();
    assert_eq!((&same["changed"], &same["verdict_before"]), (&json!(false), &json!("suspicious")));
    assert_eq!((&same["state"], &same["inspection"]["verdict"]), (&json!("available"), &json!("suspicious")));

    for verb in ["quarantine", "release"] {
        let target = format!("/models/overruled/versions/1/{verb}");
        admin.post(&target, &json!({"reason": "read it"})).expect(200);
    }
    admin.post("/models/clean/versions/1/quarantine", &json!({"reason": "to be sure"})).expect(200);
    assert_eq!(admin.get("/models/m/versions/1").need("etag"), etag);
    daemon.stop();
    daemon.set("MREG_SCAN_POLICY", "default");
    daemon.restart();
    let (admin, carl) = (daemon.admin(), carl.at(daemon.address()));
    let held = carl.post_empty("/models/m/versions/1/rescan").expect(200).json();
    assert_eq!((&held["state"], &held["changed"]), (&json!("quarantined"), &json!(true)));
    admin.get("/models/m/download").problem("model-quarantined");
    assert_eq!(admin.value("/models/m")["state"], "quarantined", "the list shows it");
    let kept = carl.post_empty("/models/overruled/versions/1/rescan").expect(200).json();
    assert_eq!((&kept["state"], &kept["review"]["decision"]), (&json!("available"), &json!("released")));
    let by_hand = carl.post_empty("/models/clean/versions/1/rescan").expect(200).json();
    assert_eq!((&by_hand["state"], &by_hand["cleared"]), (&json!("quarantined"), &json!(false)));

    let log = daemon.log();
    let entries = log.of("model.rescan");
    let ok: Vec<_> = entries.iter().filter(|entry| entry["outcome"] == "ok").collect();
    assert_eq!(ok.len(), 4);
    assert_eq!((&ok[1]["data"]["from"], &ok[1]["data"]["to"]), (&json!("available"), &json!("quarantined")));
    assert_eq!(ok[1]["data"]["verdict_before"], "suspicious");
    let said: Vec<_> = log.of("scan.rules").into_iter().map(|entry| entry["data"].clone()).collect();
    let policies: Vec<_> = said.iter().map(|data| (&data["policies_from"], &data["policies_to"])).collect();
    assert_eq!(policies, [(&Value::Null, &json!("report")), (&json!("report"), &json!("default"))]);
    assert_eq!(said[1]["from"], said[1]["to"], "the rules are the same");
}

/// What inspection held and has nothing against any more is said to be cleared; what is held for another reason isn't.
#[test]
fn cleared() {
    let pickle = b"\x80\x02cmylib.models\nNet\nq\x00.";
    let mut daemon = Daemon::with(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    for name in ["held", "blocked"] {
        let published = publish(&admin, name, "net.pkl", pickle).expect(201).json();
        assert_eq!((&published["state"], &published["cleared"]), (&json!("quarantined"), &json!(false)));
    }
    admin.post("/models/blocked/versions/1/block", &json!({"reason": "no"})).expect(200);
    daemon.stop();
    daemon.set("MREG_SCAN_ALLOW_GLOBALS", "mylib.models.Net");
    daemon.restart();
    let admin = daemon.admin();
    let rescan = |name: &str| admin.post_empty(&format!("/models/{name}/versions/1/rescan")).expect(200).json();
    for (name, cleared) in [("held", true), ("blocked", false)] {
        let version = rescan(name);
        assert_eq!((&version["inspection"]["verdict"], &version["state"]), (&json!("clean"), &json!("quarantined")));
        assert_eq!(version["cleared"], cleared, "{name}");
    }
    assert_eq!(admin.value("/quarantine")["items"][0]["cleared"], true);
    let log = daemon.log();
    let rescans = log.of("model.rescan");
    assert_eq!((&rescans[0]["data"]["cleared"], &rescans[1]["data"]["cleared"]), (&json!(true), &Value::Null));
}

/// Octets that are there already get the verdict of now when they are uploaded again.
#[test]
fn uploaded_again() {
    let mut daemon = Daemon::with(&[("MREG_SCAN_POLICY", "report"), ("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    publish(&admin, "m", "lib.so", MALICIOUS).expect(201);
    publish(&admin, "overruled", "lib.so", MALICIOUS).expect(201);
    for verb in ["quarantine", "release"] {
        admin.post(&format!("/models/overruled/versions/1/{verb}"), &json!({"reason": "read it"})).expect(200);
    }
    admin.get("/models/m/download").expect(200);
    daemon.stop();
    daemon.set("MREG_SCAN_POLICY", "default");
    daemon.restart();
    let admin = daemon.admin();
    let again = publish(&admin, "m", "lib.so", MALICIOUS).expect(200).json();
    assert_eq!((&again["version"], &again["state"]), (&json!(1), &json!("quarantined")));
    assert_eq!(again["inspection"]["policy"], "default");
    admin.get("/models/m/download").problem("model-quarantined");
    assert_eq!(admin.value("/models/m")["state"], "quarantined", "the list shows it");
    let etag = admin.get("/models/m/versions/1").need("etag").to_owned();
    publish(&admin, "m", "lib.so", MALICIOUS).expect(200);
    assert_eq!(admin.get("/models/m/versions/1").need("etag"), etag, "nothing new");
    let overruled = publish(&admin, "overruled", "lib.so", MALICIOUS).expect(200).json();
    assert_eq!(overruled["state"], "available");
    let log = daemon.log();
    let uploads = log.of("model.upload");
    let entry = &uploads[2]["data"];
    assert_eq!((&entry["from"], &entry["to"]), (&json!("available"), &json!("quarantined")), "{entry}");
    assert_eq!((&entry["already_present"], &entry["state"]), (&json!(true), &json!("quarantined")));
}

/// What was blocked doesn't come in again under another name; a file that lies beside many models is no reason.
#[test]
fn blocked_octets() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "report")]);
    let admin = daemon.admin();
    let carl = daemon.user("carl", Role::Contributor);
    let both = Form::new().text("name", "first").file("lib.so", MALICIOUS).file("config.json", CLEAN);
    carl.publish(both).expect(201);
    admin.post("/models/first/versions/1/block", &json!({"reason": "no"})).expect(200);
    let held = publish(&carl, "second", "other.so", MALICIOUS).expect(201).json();
    assert_eq!((&held["state"], &held["cleared"]), (&json!("quarantined"), &json!(false)));
    // Which one it was, the log says, and the digest to those who see it.
    let reason = held["state_reason"].as_str().unwrap();
    assert!(reason.contains(held["artifacts"][0]["digest"].as_str().unwrap()) && !reason.contains("first"), "{held}");
    carl.get("/models/second/download").problem("model-quarantined");
    let beside = publish(&carl, "third", "config.json", CLEAN).expect(201).json();
    assert_eq!(beside["state"], "available");
    let forced = Form::new().text("name", "first").text("force_new_version", "true").file("lib.so", MALICIOUS);
    assert_eq!(carl.publish(forced).expect(201).json()["state"], "quarantined");
    admin.post("/models/first/versions/1/release", &json!({"reason": "yes", "override_block": true})).expect(200);
    assert_eq!(publish(&carl, "fourth", "lib.so", MALICIOUS).expect(201).json()["state"], "available");
    let mut daemon = daemon;
    let log = daemon.log();
    let uploads = log.of("model.upload");
    assert_eq!(uploads[1]["data"]["blocked_before"], "first:1");
}

/// A decision is about the version as it was seen.
#[test]
fn made_for() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    publish(&admin, "m", "model.py", SUSPICIOUS).expect(201);
    let reason = json!({"reason": "read it"});
    let act = |verb: &str, etag: &str| {
        let request = admin.request("POST", &format!("/models/m/versions/1/{verb}")).header("If-Match", etag);
        if verb == "rescan" { request.send() } else { request.json(&reason).send() }
    };
    for verb in ["rescan", "release", "deprecate", "quarantine", "block"] {
        act(verb, "\"999999\"").problem("precondition-failed");
        let etag = admin.get("/models/m/versions/1").need("etag").to_owned();
        act(verb, &etag).expect(200);
    }
    admin.delete("/models/m/versions/1").expect(200);
    admin.post_empty("/models/m/versions/1/rescan").problem("conflict");
}

/// Lists show the gravest findings of a version and how many there are; the version shows all.
#[test]
fn listed() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let scripts = (0..8).fold(Form::new().text("name", "m"), |form, number| {
        form.file(&format!("part{number}.py"), format!("x = {number}\n").as_bytes())
    });
    admin.publish(scripts).expect(201);
    let version = admin.value("/models/m/versions/1");
    let total = version["inspection"]["findings_total"].as_u64().unwrap();
    assert!(total >= 8, "{version}");
    assert_eq!(version["findings"].as_array().unwrap().len() as u64, total);
    for listed in [&admin.value("/models/m")["newest_versions"][0], &admin.value("/models/m/versions")["items"][0]] {
        assert_eq!(listed["findings"].as_array().unwrap().len(), 5);
        assert_eq!(listed["inspection"]["findings_total"], total);
    }
    publish(&admin, "n", "lib.so", MALICIOUS).expect(201);
    assert_eq!(admin.value("/quarantine?limit=1")["total"], 2);
}

/// What comes back with a verdict of other rules is inspected anew without waiting.
#[test]
fn restored() {
    let mut daemon = Daemon::with(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    publish(&admin, "m", "a.json", CLEAN).expect(201);
    publish(&admin, "m", "b.json", b"{\"b\": 1}").expect(201);
    admin.delete("/models/m/versions/1").expect(200);
    daemon.stop();
    daemon.set("MREG_SCAN_ALLOW_GLOBALS", "mylib.models.Net");
    daemon.set("MREG_RESCAN_BYTES_PER_SECOND", "1 GiB");
    daemon.restart();
    let admin = daemon.admin();
    wait::until_true("the rest is inspected anew", || admin.value("/status")["rescan"]["stale"] == 0);
    admin.post_empty("/models/m/versions/1/restore").expect(200);
    wait::until_true("this too", || admin.value("/models/m/versions/1")["inspection"]["stale"] == false);
}

/// Other rules: an entry says so, everything is stale, and is inspected anew behind the scenes with one entry for all of which
/// there is no news. A stop in between loses nothing.
#[test]
fn other_rules() {
    let mut daemon = Daemon::with(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    for number in 0..5_u32 {
        let octets = format!("{{\"number\": {number}}}");
        publish(&admin, &format!("m{number}"), "a.json", octets.as_bytes()).expect(201);
    }
    let before = admin.value("/version")["ruleset"].clone();
    daemon.stop();
    daemon.set("MREG_SCAN_ALLOW_GLOBALS", "mylib.models.Net");
    daemon.set("MREG_SCAN_ALLOW_PREFIXES", "mylib.layers");
    daemon.restart();
    let admin = daemon.admin();
    let after = admin.value("/version")["ruleset"].clone();
    assert_ne!(before, after);
    let rules = admin.value("/scan/rules");
    assert_eq!(rules["allowed_globals"], json!(["mylib.models.Net"]));
    assert_eq!(rules["allowed_prefixes"], json!(["mylib.layers."]));
    assert_eq!(admin.value("/status")["rescan"]["stale"], 5);
    let stale = admin.get("/models/m0/versions/1");
    assert_eq!(stale.json()["inspection"]["stale"], true);

    daemon.stop();
    daemon.set("MREG_RESCAN_BYTES_PER_SECOND", "1 GiB");
    daemon.restart();
    let admin = daemon.admin();
    wait::until_true("all are inspected anew", || admin.value("/status")["rescan"]["stale"] == 0);
    let status = admin.value("/status")["rescan"].clone();
    assert_eq!((&status["total"], &status["done"], &status["failed"]), (&json!(5), &json!(5), &json!(0)), "{status}");
    let fresh = admin.get("/models/m0/versions/1");
    assert_eq!(fresh.json()["inspection"]["stale"], false);
    assert_eq!(fresh.json()["inspection"]["ruleset"], after);
    assert_eq!(fresh.need("etag"), stale.need("etag"), "nothing to decide anew");
    let one = format!("{}:1", admin.value("/models/m0")["id"].as_str().unwrap());

    let log = daemon.log();
    let said: Vec<_> = log.of("scan.rules").into_iter().map(|entry| entry["data"].clone()).collect();
    assert_eq!(said.len(), 2, "once for each set");
    assert_eq!((&said[0]["from"], &said[0]["to"]), (&Value::Null, &before));
    assert_eq!((&said[1]["from"], &said[1]["to"]), (&before, &after));
    assert_eq!(said[1]["allowed_globals"], json!(["mylib.models.Net"]));
    let rescans = log.of("model.rescan");
    assert_eq!(rescans.len(), 1, "{rescans:?}");
    assert_eq!((&rescans[0]["data"]["versions"], &rescans[0]["data"]["unchanged"]["clean"]), (&json!(5), &json!(5)));
    let inspected = rescans[0]["data"]["inspected"].as_array().unwrap();
    assert!(inspected.len() == 5 && inspected.contains(&json!(one)), "{inspected:?}");
}

/// What can't be read is told, passed over, and stays stale.
#[test]
fn bytes_that_are_gone() {
    let mut daemon = Daemon::with(&[("MREG_RESCAN_BYTES_PER_SECOND", "0")]);
    let admin = daemon.admin();
    publish(&admin, "gone", "a.json", CLEAN).expect(201);
    publish(&admin, "there", "b.json", b"{\"b\": 1}").expect(201);
    let digest = samples::sha256(CLEAN);
    daemon.stop();
    let mut removed = 0;
    let mut dirs = vec![daemon.data_dir().join("blobs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if entry.path().display().to_string().replace('/', "").ends_with(&digest) {
                fs::remove_file(entry.path()).unwrap();
                removed += 1;
            }
        }
    }
    assert_eq!(removed, 1);
    daemon.set("MREG_SCAN_ALLOW_GLOBALS", "mylib.models.Net");
    daemon.set("MREG_RESCAN_BYTES_PER_SECOND", "1 GiB");
    daemon.expect_line("can't be inspected anew");
    // The scrubber may come to it first.
    daemon.expect_line("a stored blob is damaged");
    daemon.leave_unverified();
    daemon.restart();
    let admin = daemon.admin();
    wait::until_true("the round is over", || {
        let rescan = admin.value("/status")["rescan"].clone();
        rescan["done"] == 2 && rescan["current"].is_null()
    });
    let rescan = admin.value("/status")["rescan"].clone();
    assert_eq!((&rescan["stale"], &rescan["failed"]), (&json!(1), &json!(1)), "{rescan}");
    assert_eq!(admin.value("/models/gone/versions/1")["inspection"]["stale"], true);
    assert_eq!(admin.value("/models/there/versions/1")["inspection"]["stale"], false);
}
