//! The audit log as its readers see it: complete, in step with what was answered, silent about secrets (rest-api.md §5,
//! audit-log.md §1, §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::Receipt;
use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::samples;

fn rows(client: &Client, query: &str) -> Vec<Value> {
    client.value(&format!("/audit-logs{query}"))["items"].as_array().unwrap().clone()
}

fn actions(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["entry"]["action"].as_str().unwrap()).collect()
}

/// A registry in which something happened.
fn busy() -> (Daemon, Client, Client) {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    carl.upload("n", "n.safetensors", &samples::safetensors(2));
    carl.get("/models/m/download").expect(200);
    carl.delete("/models/m").problem("forbidden");
    carl.patch("/models/nothing", &json!({"description": "x"})).problem("not-found");
    daemon.client().get("/models").problem("unauthenticated");
    let admin = daemon.admin();
    (daemon, carl, admin)
}

/// Filters find their entries; each can be combined with any other.
#[test]
fn filters() {
    let (_daemon, carl, admin) = busy();
    let id = carl.value("/models/m")["id"].as_str().unwrap().to_owned();
    let user_id = admin.value("/users/carl")["id"].as_str().unwrap().to_owned();
    let all = rows(&admin, "?limit=1000");
    let indices: Vec<u64> = all.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert!(indices.is_sorted_by(|a, b| a > b), "newest first: {indices:?}");
    assert_eq!(*indices.last().unwrap(), 0);
    assert_eq!(actions(&all).last(), Some(&"log.genesis"));

    assert_eq!(actions(&rows(&admin, "?action=model.upload")), ["model.upload"; 2]);
    assert!(actions(&rows(&admin, "?action=model.*")).iter().all(|action| action.starts_with("model.")));
    assert!(rows(&admin, "?action=model.*").len() > 3);
    for query in ["?actor=carl".to_owned(), format!("?actor={user_id}")] {
        let by_carl = rows(&admin, &query);
        assert!(by_carl.len() >= 5 && by_carl.iter().all(|row| row["entry"]["actor"]["name"] == "carl"), "{by_carl:?}");
    }
    let about = rows(&admin, &format!("?target={id}"));
    assert!(actions(&about).contains(&"model.upload") && actions(&about).contains(&"model.download"), "{about:?}");
    assert!(about.iter().all(|row| row["entry"]["target"]["id"] == id.as_str()));
    // What is left out: by every field, several times, and beside what is asked for.
    let bound = format!("?limit=1000&before={}", indices[0] + 1);
    let without = |left: &str, is: &dyn Fn(&Value) -> bool| {
        let found: Vec<u64> =
            rows(&admin, &format!("{bound}{left}")).iter().map(|row| row["index"].as_u64().unwrap()).collect();
        let expected: Vec<u64> =
            all.iter().filter(|row| !is(&row["entry"])).map(|row| row["index"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{left}");
        assert!(found.len() < all.len(), "{left} leaves something out");
    };
    without("&not=actor:carl", &|entry| entry["actor"]["name"] == "carl");
    without("&not=action:model.*&not=outcome:denied", &|entry| {
        entry["action"].as_str().unwrap().starts_with("model.") || entry["outcome"] == "denied"
    });
    without("&not=target:m", &|entry| entry["target"]["id"] == id.as_str());
    without("&not=ip:127.0.0.1", &|entry| entry["req"]["ip"] == "127.0.0.1");
    assert_eq!(actions(&rows(&admin, "?actor=carl&not=action:model.*&not=action:auth.*")), Vec::<&str>::new());
    let read = rows(&admin, "?action=audit.read&limit=1");
    let said = &read[0]["entry"]["data"]["filters"]["not"];
    assert_eq!(said, &json!(["action:model.*", "action:auth.*"]), "the reading says what it left out");
    for odd in ["actor", "actor:", "odd:x", "outcome:maybe", "action:Model"] {
        admin.get(&format!("/audit-logs?not={odd}")).invalid("query.not");
    }
    let denied = rows(&admin, "?outcome=denied");
    assert!(denied.iter().all(|row| row["entry"]["outcome"] == "denied"));
    assert!(actions(&denied).contains(&"model.delete"), "{denied:?}");
    assert_eq!(actions(&rows(&admin, "?outcome=error&action=model.update")), ["model.update"]);
    assert!(rows(&admin, "?ip=127.0.0.1").len() > 5 && rows(&admin, "?ip=192.0.2.1").is_empty());
    assert_eq!(rows(&admin, "?actor=carl&action=model.upload&outcome=ok").len(), 2);
    assert!(rows(&admin, "?actor=nobody").is_empty());

    let between = rows(&admin, "?after=2&before=6");
    let indices: Vec<&Value> = between.iter().map(|row| &row["index"]).collect();
    assert_eq!(indices, [5, 4, 3]);
    let ts = all[2]["entry"]["ts"].as_str().unwrap();
    assert!(
        rows(&admin, &format!("?since={ts}&limit=1000")).iter().all(|row| row["entry"]["ts"].as_str().unwrap() >= ts)
    );
    let until = rows(&admin, &format!("?until={ts}&limit=1000"));
    assert!(until.iter().all(|row| row["entry"]["ts"].as_str().unwrap() <= ts));
    assert!(until.iter().any(|row| row["index"] == all[2]["index"]), "until is inclusive");

    for bad in [
        "after=x",
        "before=-1",
        "outcome=good",
        "action=Model",
        "since=now",
        "limit=0",
        "limit=1001",
        "format=xml",
        "cursor=zzz",
        "colour=red",
        "action=a&action=b",
    ] {
        admin.get(&format!("/audit-logs?{bad}")).invalid(&format!("query.{}", bad.split('=').next().unwrap()));
    }
}

/// Pages join without gap or double although reading writes entries itself.
#[test]
fn pages() {
    let (_daemon, carl, admin) = busy();
    let mut seen: Vec<u64> = Vec::new();
    let mut target = "/audit-logs?limit=2&actor=carl".to_owned();
    loop {
        let response = admin.get(&target).expect(200);
        let page = response.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()));
        carl.delete("/models/m").problem("forbidden");
        if page["next_cursor"].is_null() {
            break;
        }
        target = response.need("link").strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let newest = seen[0];
    let all: Vec<u64> = rows(&admin, &format!("?actor=carl&before={}&limit=1000", newest + 1))
        .iter()
        .map(|row| row["index"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, all);
}

/// JSON, NDJSON and CSV tell the same entries; the form is asked for by parameter or by `Accept`.
#[test]
fn forms() {
    let (_daemon, carl, admin) = busy();
    // A description that a spreadsheet would take for a formula, and one that breaks careless CSV.
    carl.request("GET", "/models/m/download").header("User-Agent", "=cmd|'/c calc'!A1,\"q\"").send().expect(200);
    let size = rows(&admin, "?limit=1")[0]["index"].as_u64().unwrap();
    let size = size + 1;
    let until = format!("before={size}");
    let json = rows(&admin, &format!("?limit=1000&{until}"));
    assert_eq!(json.len(), usize::try_from(size).unwrap());

    let ndjson = admin.get(&format!("/audit-logs?format=ndjson&{until}")).expect(200);
    assert_eq!(ndjson.need("content-type"), "application/x-ndjson");
    let text = String::from_utf8(ndjson.body).unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, json);

    let csv = admin.get(&format!("/audit-logs?format=csv&{until}")).expect(200);
    assert_eq!(csv.need("content-type"), "text/csv; charset=utf-8");
    let table = parse_csv(&String::from_utf8(csv.body).unwrap());
    let header = &table[0];
    assert_eq!(table.len() - 1, json.len());
    let column = |name: &str| header.iter().position(|cell| cell == name).unwrap_or_else(|| panic!("no column {name}"));
    for (cells, row) in table[1..].iter().zip(&json) {
        assert_eq!(cells.len(), header.len());
        assert_eq!(cells[column("index")], row["index"].to_string());
        assert_eq!(cells[column("action")], row["entry"]["action"].as_str().unwrap());
        assert_eq!(cells[column("leaf_hash")], row["leaf_hash"].as_str().unwrap());
        assert_eq!(cells[column("actor_name")], row["entry"]["actor"]["name"].as_str().unwrap_or_default());
        assert_eq!(cells[column("target_id")], row["entry"]["target"]["id"].as_str().unwrap());
        for (name, cell) in header.iter().zip(cells).filter(|(name, _cell)| *name != "leaf_hash") {
            assert!(!cell.starts_with(['=', '+', '@']), "a formula in {name}: {cell:?}");
        }
    }
    assert!(table.iter().flatten().any(|cell| cell.starts_with("'=cmd|")), "the agent is there, defused");

    let accepting = |accept: &str| admin.request("GET", "/audit-logs").header("Accept", accept).send();
    assert_eq!(accepting("text/csv").expect(200).need("content-type"), "text/csv; charset=utf-8");
    assert_eq!(accepting("application/x-ndjson").expect(200).need("content-type"), "application/x-ndjson");
    assert_eq!(accepting("*/*").expect(200).need("content-type"), "application/json");
    assert_eq!(accepting("text/csv;q=0.1, application/json").expect(200).need("content-type"), "application/json");
    accepting("image/png").problem("not-acceptable");
    let limited = admin.get("/audit-logs?format=ndjson&limit=3").expect(200);
    assert_eq!(limited.text().lines().count(), 3);
    let exports = rows(&admin, "?action=audit.export");
    assert!(exports.len() >= 4, "each export is an entry: {exports:?}");
}

/// RFC 4180.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut table, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                table.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the last line is whole");
    table
}

/// Auditors and admins read the log, nobody else, and reading is recorded.
#[test]
fn readers() {
    let daemon = Daemon::start();
    for role in [Role::Viewer, Role::Contributor] {
        daemon.user(role.as_str(), role).get("/audit-logs").problem("forbidden");
    }
    daemon.client().get("/audit-logs").problem("unauthenticated");
    let auditor = daemon.user("audrey", Role::Auditor);
    let read = auditor.get("/audit-logs?limit=2").expect(200);
    let own = rows(&daemon.admin(), "?action=audit.read&actor=audrey");
    assert_eq!(own[0]["index"], read.log_index());
    auditor.publish(tests::multipart::Form::new().file("m", b"x")).problem("forbidden");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        daemon.admin().request(method, "/audit-logs").send().problem("method-not-allowed");
    }
    let denied = rows(&daemon.admin(), "?action=audit.read&outcome=denied");
    assert_eq!(denied.len(), 3, "{denied:?}");
}

/// What was refused is recorded like what was done, with who asked and what they got.
#[test]
fn refusals() {
    let (_daemon, carl, admin) = busy();
    let viewer_of_nothing = rows(&admin, "?outcome=denied&action=model.list");
    let entry = &viewer_of_nothing[0]["entry"];
    assert_eq!(entry["actor"]["id"], "anonymous");
    assert_eq!(entry["req"]["status"], 401);
    assert_eq!((&entry["req"]["method"], &entry["req"]["route"]), (&json!("GET"), &json!("/models")));

    let refused = carl.delete("/models/m");
    refused.problem("forbidden");
    let entry = &rows(&admin, &format!("?after={}", refused.log_index() - 1)).pop().unwrap()["entry"];
    assert_eq!(entry["action"], "model.delete");
    assert_eq!(entry["actor"]["name"], "carl");
    assert_eq!(entry["actor"]["role"], "contributor");
    assert_eq!(entry["req"]["status"], 403);
    assert_eq!(entry["req"]["id"], refused.need("x-request-id"));
    assert!(entry.get("change").is_none());

    let conflict = admin.delete("/users/admin");
    conflict.problem("conflict");
    let entry = &rows(&admin, &format!("?after={}", conflict.log_index() - 1)).pop().unwrap()["entry"];
    assert_eq!((&entry["outcome"], &entry["req"]["status"]), (&json!("error"), &json!(409)));
    let forged = admin.with_token("a.b.c").get("/models");
    forged.problem("unauthenticated");
    assert!(forged.header("mregd-log-index").is_some(), "a refusal is an entry");
}

/// Metadata reads are recorded only where that is asked for.
#[test]
fn reads() {
    for (setting, wanted) in [("content", false), ("all", true)] {
        let daemon = Daemon::with(&[("MREG_AUDIT_READS", setting)]);
        let user = daemon.user("carl", Role::Contributor);
        user.upload("m", "m.safetensors", &samples::safetensors(1));
        for target in ["/models", "/models/m", "/models/m/versions", "/models/m/versions/1"] {
            let response = user.get(target).expect(200);
            assert_eq!(response.header("mregd-log-index").is_some(), wanted, "{setting}: {target}");
        }
        assert!(user.get("/models/m/download").expect(200).header("mregd-log-index").is_some());
        for target in ["/livez", "/readyz", "/metrics", "/version", "/openapi.json", "/roles"] {
            assert_eq!(user.get(target).expect(200).header("mregd-log-index"), None, "{target}");
        }
    }
}

/// Addresses are kept as the setting says.
#[test]
fn client_addresses() {
    for (setting, wanted) in [("full", json!("127.0.0.1")), ("truncated", json!("127.0.0.0/24")), ("none", Value::Null)]
    {
        let mut daemon = Daemon::with(&[("MREG_AUDIT_CLIENT_IP", setting)]);
        daemon.client().login("nobody", "wrong-wrong-wrong-1").problem("bad-credentials");
        let log = daemon.log();
        let entry = log.of("auth.login").pop().unwrap().clone();
        let ip = entry["req"].get("ip").cloned().unwrap_or(Value::Null);
        let short = wanted.as_str().and_then(|wanted| wanted.split('/').next());
        assert!(ip == wanted || ip.as_str() == short, "{setting}: {ip}");
    }
}

/// An entry says who, what, on what, with which request, and commits to its change.
#[test]
fn entries() {
    let (mut daemon, carl, _admin) = busy();
    let response = carl
        .request("PUT", "/models/m/artifact?filename=m.safetensors&description=d")
        .header("User-Agent", &"agent ".repeat(60))
        .header("X-Request-Id", "my-own-id.1")
        .body("application/octet-stream", samples::safetensors(77))
        .send()
        .expect(201);
    assert_eq!(response.need("x-request-id"), "my-own-id.1");
    let published = response.json();
    let log = daemon.log();
    let entry = &log.entries[usize::try_from(response.log_index()).unwrap()];
    assert_eq!(entry["action"], "model.upload");
    assert_eq!(entry["actor"]["kind"], "user");
    assert!(entry["actor"]["id"].as_str().unwrap().starts_with("usr_"));
    assert!(entry["actor"]["cred"].is_string());
    assert_eq!(entry["target"]["id"], published["id"]);
    assert_eq!(entry["target"]["version"].to_string().replace('"', ""), "2");
    assert_eq!(entry["target"]["digest"], published["artifacts"][0]["digest"]);
    assert_eq!(entry["target"]["size"], published["size"]);
    let req = &entry["req"];
    assert_eq!(req["id"], "my-own-id.1");
    assert_eq!((&req["method"], &req["status"]), (&json!("PUT"), &json!(201)));
    assert_eq!(req["route"], "/models/{name}/artifact", "the template, never the path");
    assert_eq!(req["ip"], "127.0.0.1");
    assert!(req["ua"].as_str().unwrap().len() <= 200);
    assert!(entry["change"].is_string() && entry["prev"].is_u64());
    let receipt: Receipt = serde_json::from_value(published["receipt"].clone()).unwrap();
    assert_eq!(STANDARD.decode(receipt.leaf).unwrap(), log.leaves[usize::try_from(receipt.index).unwrap()]);
    assert_eq!(receipt.log, log.entries[0]["data"]["origin"].as_str().unwrap());
    for lifecycle in ["log.genesis", "log.start", "log.stop"] {
        assert_eq!(log.of(lifecycle).len(), 1, "{lifecycle}");
    }
}

/// No password, hash, token or key is anywhere it can be read: not in leaves, diagnostics, metrics or answers.
#[test]
fn no_secrets() {
    let (daemon, carl, admin) = busy();
    // Where people paste by mistake: the field for the name, searches, addresses.
    let secret = Daemon::password_of("carl");
    carl.get(&format!("/models?q={secret}")).expect(200);
    carl.get(&format!("/{secret}")).problem("not-found");
    daemon.client().login(&secret, "wrong-wrong-wrong-1").problem("bad-credentials");
    admin.post("/users/carl/password", &json!({"password": "another-long-secret-3"})).expect(200);
    daemon.ledger().add_secret("another-long-secret-3");
    daemon.ledger().add_secret("$argon2id$v=19");
    let answers = [admin.get("/users").text(), admin.get("/users/carl").text(), admin.get("/metrics").text()];
    let exported = String::from_utf8(admin.get("/audit-logs?format=ndjson").expect(200).body).unwrap();
    for secret in daemon.ledger().secrets() {
        assert!(answers.iter().all(|answer| !answer.contains(&secret)), "{answers:?}");
        let leaks: Vec<&str> = exported.lines().filter(|line| line.contains(&secret)).collect();
        assert!(leaks.is_empty(), "{secret} is in the log: {leaks:?}");
    }
    for key in std::fs::read_dir(daemon.key_dir()).unwrap() {
        let key = key.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions()) & 0o777;
        assert_eq!(mode & 0o077, 0, "{:?} is {mode:o}", key.file_name());
    }
}

/// A flood of refusals is bounded: after a while it is counted instead of written.
#[test]
fn flood() {
    let mut daemon = Daemon::start();
    let client = daemon.client();
    let mut refused = 0;
    // Counted by the minute of the clock, and two minutes may meet here.
    for _ in 0..300 {
        let response = client.get("/models");
        match response.status {
            401 => {}
            429 => refused += 1,
            other => panic!("{other}: {}", response.text()),
        }
    }
    assert!(refused >= 60, "{refused} were limited");
    let admin = daemon.admin();
    admin.get("/models").expect(200);
    let log = daemon.log();
    let written = log.of("model.list").len();
    assert!((100..=240).contains(&written), "{written} entries");
    assert!(log.of("auth.throttled").len() <= 2);
}

/// The first entry that is not before a time: at the time itself, between two entries, before all and behind all. Asking for
/// it is no reading.
#[test]
fn position_of_a_time() {
    let (_daemon, _carl, admin) = busy();
    let all = rows(&admin, "?limit=1000");
    let times: Vec<(u64, String)> = all
        .iter()
        .rev()
        .map(|row| (row["index"].as_u64().unwrap(), row["entry"]["ts"].as_str().unwrap().to_owned()))
        .collect();
    let size = || admin.get("/log/checkpoint").expect(200).text().lines().nth(1).unwrap().parse::<u64>().unwrap();
    let before = size();
    let at = |time: &str| {
        let position = admin.value(&format!("/audit-logs/position?time={time}"));
        (position["index"].as_u64().unwrap(), position["size"].as_u64().unwrap())
    };
    for (_, time) in &times {
        let first = times.iter().find(|(_, other)| other >= time).unwrap().0;
        assert_eq!(at(time), (first, before), "{time}");
    }
    assert_eq!(at("1970-01-01T00:00:00Z"), (0, before));
    assert_eq!(at("9999-01-01T00:00:00Z"), (before, before));
    assert_eq!(size(), before, "nothing was recorded");
    admin.get("/audit-logs/position").invalid("query.time");
    admin.get("/audit-logs/position?time=noon").invalid("query.time");
    admin.get("/audit-logs/position?time=2026-01-01T00:00:00Z&colour=red").invalid("query.colour");
}

/// What a console found and why it goes on is an entry with a receipt, by whoever is signed in, once however often it is
/// sent; without a reason it is none.
#[test]
fn acknowledging_an_alarm() {
    let daemon = Daemon::start();
    let viewer = daemon.user("vera", Role::Viewer);
    let alarm = json!({"reason": "the proxy was replaced", "kind": "fork", "what": "two roots of 7 entries", "entry": 7,
        "found_at": "2026-07-22T12:31:07Z"});
    let send = |key: &str| {
        let request = viewer.request("POST", "/audit-logs/acknowledge").header("Idempotency-Key", key);
        request.json(&alarm).send()
    };
    let first = send("alarm-1").expect(200).json();
    let receipt: Receipt = serde_json::from_value(first["receipt"].clone()).unwrap();
    let verified = receipt.verify(&[daemon.ledger().vkey()]).unwrap();
    assert_eq!(verified.entry.data["reason_given"], "the proxy was replaced");
    let again: Receipt = serde_json::from_value(send("alarm-1").expect(200).json()["receipt"].clone()).unwrap();
    assert_eq!(again.index, receipt.index);
    viewer
        .request("POST", "/audit-logs/acknowledge")
        .header("Idempotency-Key", "alarm-1")
        .json(&json!({"reason": "other", "kind": "fork", "what": "x"}))
        .send()
        .problem("idempotency-key-reused");
    let post = |body: Value| viewer.post("/audit-logs/acknowledge", &body);
    let with = |name: &str, value: Value| {
        let mut body = alarm.clone();
        body[name] = value;
        body
    };
    for (name, value) in [
        ("reason", json!("")),
        ("reason", json!("  ")),
        ("reason", json!("x".repeat(1001))),
        ("reason", json!("a\u{1b}[2J")),
        ("what", json!("")),
        ("what", json!("x".repeat(1001))),
        ("kind", json!("Fork")),
        ("kind", json!("x".repeat(33))),
        ("kind", json!("")),
        ("entry", json!(9_007_199_254_740_992_u64)),
        ("found_at", json!("yesterday")),
    ] {
        post(with(name, value)).invalid(&format!("body.{name}"));
    }
    post(json!({"reason": "x"})).problem("invalid");
    daemon.client().post("/audit-logs/acknowledge", &alarm).problem("unauthenticated");
    let entries = rows(&daemon.admin(), "?action=audit.acknowledge&outcome=ok");
    let said = &entries.last().unwrap()["entry"];
    assert_eq!(
        (&said["actor"]["name"], &said["data"]["kind"], &said["data"]["entry"]),
        (&json!("vera"), &json!("fork"), &json!(7))
    );
    assert_eq!(said["target"]["kind"], "log");
    assert!(entries.iter().all(|row| row["entry"]["actor"]["name"] == "vera"));
}
