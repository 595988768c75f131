//! What a caller takes home: index and hash of every recorded request, a receipt of every change, the chain of entries
//! about a subject, and the proof of where an alias pointed (audit-log.md §1, §5). Verified with the log's key alone, and
//! against the log itself once the daemon has stopped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{Receipt, TlogProof};
use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::{Client, Response};
use tests::multipart::Form;
use tests::{oracle, samples};

/// A receipt of an answer, verified twice: by our own code with the key alone, and by hashing that shares nothing with it.
/// Its entry must be the one that the headers name.
fn receipt_of(daemon: &Daemon, answer: &Response, action: &str) -> Receipt {
    let receipt: Receipt = serde_json::from_value(answer.json()["receipt"].clone())
        .unwrap_or_else(|error| panic!("{action} came without a receipt: {error}: {}", answer.text()));
    let vkey = daemon.ledger().vkey();
    let verified = receipt.verify(std::slice::from_ref(&vkey)).unwrap();
    assert_eq!(verified.entry.action.as_str(), action);
    assert!(verified.entry.change.is_some(), "{action} changed something");
    let leaf = STANDARD.decode(&receipt.leaf).unwrap();
    assert_eq!(answer.log_index(), receipt.index, "{action}");
    assert_eq!(answer.need("mregd-log-leaf"), STANDARD.encode(oracle::leaf_hash(&leaf)), "{action}");
    let note = receipt.proof.split_once("\n\n").unwrap().1;
    let (size, root) = oracle::open_note(note, &vkey.to_string());
    let path = TlogProof::parse(&receipt.proof).unwrap().path;
    let path: Vec<tlog_tiles::Hash> = path.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
    let (size, leaf) = (u64::try_from(size).unwrap(), tlog_tiles::Hash(oracle::leaf_hash(&leaf)));
    tlog_tiles::check_record(&path, size, tlog_tiles::Hash(root), receipt.index, leaf).unwrap();
    receipt
}

/// Every change there is returns a receipt that holds, of an entry that says what was done.
#[test]
fn every_change_has_its_receipt() {
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let mut receipts = Vec::new();
    let mut done = |answer: Response, status: u16, action: &str| {
        let answer = answer.expect(status);
        receipts.push(receipt_of(&daemon, &answer, action));
        answer.json()
    };
    let reason = json!({"reason": "a test"});
    done(
        admin.publish(Form::new().text("name", "m").file("m.safetensors", &samples::safetensors(1))),
        201,
        "model.upload",
    );
    let put = admin.request("PUT", "/models/m/artifact?filename=m.safetensors");
    done(put.body("application/octet-stream", samples::safetensors(2)).send(), 201, "model.upload");
    done(admin.patch("/models/m", &json!({"description": "x"})), 200, "model.update");
    done(admin.patch("/models/m/versions/1", &json!({"description": "x"})), 200, "model.update");
    done(admin.put("/models/m/aliases/live", &json!({"version": 1})), 200, "alias.set");
    done(admin.put("/models/m/aliases/live", &json!({"version": 2})), 200, "alias.set");
    done(admin.delete("/models/m/aliases/live"), 200, "alias.clear");
    done(admin.post("/models/m/versions/1/quarantine", &reason), 200, "model.quarantine");
    done(admin.post("/models/m/versions/1/release", &reason), 200, "model.release");
    done(admin.post("/models/m/versions/1/deprecate", &reason), 200, "model.deprecate");
    done(admin.delete("/models/m/versions/1"), 200, "model.delete");
    done(admin.post_empty("/models/m/versions/1/restore"), 200, "model.restore");
    done(admin.delete("/models/m/versions/1?purge=true&reason=x"), 200, "model.purge");
    done(admin.delete("/models/m"), 200, "model.delete");
    done(admin.post_empty("/models/m/restore"), 200, "model.restore");
    done(admin.delete("/models/m?purge=true&reason=x"), 200, "model.purge");

    let password = |text: &str| {
        daemon.ledger().add_secret(text);
        text.to_owned()
    };
    let first = json!({"username": "vera", "password": password("a-first-password-1"), "role": "viewer"});
    done(admin.post("/register", &first), 201, "user.create");
    done(admin.patch("/users/vera", &json!({"role": "admin"})), 200, "role.grant");
    done(admin.patch("/users/vera", &json!({"role": "viewer"})), 200, "role.revoke");
    done(admin.patch("/users/vera", &json!({"disabled": true})), 200, "user.disable");
    done(admin.patch("/users/vera", &json!({"disabled": false})), 200, "user.enable");
    done(
        admin.post("/users/vera/password", &json!({"password": password("a-second-password-2")})),
        200,
        "user.password",
    );
    done(admin.post_empty("/users/vera/sessions/revoke"), 200, "user.revoke_sessions");
    done(admin.delete("/users/vera"), 200, "user.delete");

    // The receipts hold in the log as it is at the end, and the log's own root is the one they lead to.
    let log = daemon.log();
    for receipt in receipts {
        let leaf = STANDARD.decode(&receipt.leaf).unwrap();
        assert_eq!(log.leaves[usize::try_from(receipt.index).unwrap()], leaf);
    }
}

/// Whatever is recorded, the answer names its entry: refusals of every kind, hand-outs before their first octet, exports,
/// readings, sign-ins and sign-outs. The entry says the status that was answered.
#[test]
fn every_recorded_answer_names_its_entry() {
    let mut daemon = Daemon::start();
    let (carl, vera) = (daemon.user("carl", Role::Contributor), daemon.user("vera", Role::Viewer));
    let (admin, anyone) = (daemon.admin(), daemon.client());
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    carl.upload("q", "q.safetensors", &samples::safetensors(2));
    admin.post("/models/q/versions/1/quarantine", &json!({"reason": "a test"})).expect(200);
    let big = carl.request("PUT", "/models/big/artifact").header("Content-Length", "99999999999999");
    let answers = [
        (anyone.get("/models"), 401),
        (anyone.get("/models/m"), 401),
        (anyone.delete("/models/m"), 401),
        (anyone.get("/audit-logs/1"), 401),
        (anyone.get("/log/tile/entries/000.p/1"), 401),
        (anyone.get("/log/proof/1"), 401),
        (anyone.publish(Form::new()), 401),
        (vera.delete("/models/m"), 403),
        (vera.publish(Form::new()), 403),
        (vera.get("/users"), 403),
        (vera.get("/audit-logs"), 403),
        (vera.get("/audit-logs/1"), 403),
        (vera.get("/log/tile/entries/000.p/1"), 403),
        (vera.get("/log/proof/1"), 403),
        (vera.get("/models/q/download"), 403),
        (vera.get("/models/nothing"), 404),
        (vera.get("/models/nothing/download"), 404),
        (vera.get("/models/m/versions/9"), 404),
        (admin.get("/audit-logs/9007199254740991"), 404),
        (admin.get("/audit-logs/x"), 404),
        (admin.get("/log/tile/entries/x999/000"), 404),
        (admin.get("/users/nobody"), 404),
        (carl.patch("/models/nothing", &json!({})), 404),
        (carl.put("/models/m/aliases/live", &json!({"version": 9})), 404),
        (admin.post_empty("/models/m/restore"), 409),
        (admin.request("DELETE", "/models/m").header("If-Match", "\"1\"").send(), 412),
        (big.send(), 413),
        (carl.patch("/models/m", &json!({"tags": 1})), 422),
        (carl.publish(Form::new()), 422),
        (admin.get("/audit-logs?outcome=good"), 422),
        (vera.get("/models/m/download"), 200),
        (vera.request("GET", "/models/m/download").header("Range", "bytes=0-3").send(), 206),
        (admin.get("/audit-logs?limit=1"), 200),
        (admin.get("/audit-logs?format=csv&limit=3"), 200),
        (admin.get("/audit-logs?format=ndjson&after=18446744073709551615"), 200),
        (admin.get("/audit-logs/1"), 200),
        (admin.get("/log/tile/entries/000.p/1"), 200),
        (anyone.login("vera", &Daemon::password_of("vera")), 200),
        (anyone.login("vera", "not-the-password-of-vera"), 401),
        (vera.post_empty("/token/refresh"), 200),
        (vera.post_empty("/logout"), 204),
    ];
    let named: Vec<(u64, u16)> = answers
        .into_iter()
        .map(|(answer, status)| {
            let answer = answer.expect(status);
            (answer.log_index(), status)
        })
        .collect();
    let log = daemon.log();
    for (index, status) in named {
        let entry = &log.entries[usize::try_from(index).unwrap()];
        assert_eq!(entry["req"]["status"], status, "{entry}");
    }
}

/// The entries about a subject as `?target=` gives them, oldest first.
fn about(admin: &Client, target: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.value(&format!("/audit-logs?limit=7&target={target}{cursor}"));
        rows.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    rows.reverse();
    rows
}

/// Follows `prev` down: each entry names the one before it, the first names none, and none is missing.
fn walk(rows: &[Value], subject: &str) {
    assert!(!rows.is_empty(), "{subject}");
    let mut before: Option<u64> = None;
    for row in rows {
        let entry = &row["entry"];
        assert_eq!(entry["target"]["id"], subject);
        assert_eq!(entry["prev"].as_u64(), before, "{subject}: {entry}");
        before = row["index"].as_u64();
    }
}

fn told(rows: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter().map(|row| format!("{} {}", text(&row["entry"]["action"]), text(&row["entry"]["outcome"]))).collect()
}

/// All that was done and tried on a subject is one chain, whether it was named by id, name, alias, version or digest, by
/// whoever was allowed or not; and `target=` with any of its names gives that chain whole.
#[test]
fn chains_are_complete() {
    let mut daemon = Daemon::start();
    let (carl, vera) = (daemon.user("carl", Role::Contributor), daemon.user("vera", Role::Viewer));
    let (admin, anyone) = (daemon.admin(), daemon.client());
    vera.get("/models/team%2Fm").problem("not-found");
    let first = carl.upload("team/m", "m.safetensors", &samples::safetensors(1));
    let id = first["id"].as_str().unwrap().to_owned();
    let digest = format!("sha256:{}", first["sha256"].as_str().unwrap());
    carl.put("/models/team%2Fm/aliases/live", &json!({"version": 1})).expect(200);
    carl.get("/models/team%2FM@live/download").expect(200);
    carl.get(&format!("/models/{digest}/download")).expect(200);
    vera.delete("/models/team%2Fm").problem("forbidden");
    vera.delete(&format!("/models/{}", id.to_lowercase())).problem("forbidden");
    vera.put("/models/TEAM%2Fm/aliases/live", &json!({"version": 1})).problem("forbidden");
    vera.delete("/models/team%2Fm/versions/1").problem("forbidden");
    vera.post("/models/team%2Fm:1/versions/1/release", &json!({"reason": "x"})).problem("forbidden");
    anyone.get(&format!("/models/{digest}")).problem("unauthenticated");
    anyone.get("/models/team%2Fm@live/download").problem("unauthenticated");
    vera.request("PUT", "/models/team%2Fm/artifact").body("text/plain", "x").send().problem("forbidden");
    carl.put("/models/team%2Fm/aliases/live", &json!({"version": 9})).problem("not-found");
    carl.get("/models/team%2Fm@none").problem("not-found");
    carl.get("/models/team%2Fm/versions/7").problem("not-found");
    carl.get("/models/team%2Fm/versions/1/files/none").problem("not-found");
    carl.publish(Form::new().text("name", "team/m").text("sha256", &"0".repeat(64)).file("f", b"x"))
        .problem("digest-mismatch");
    carl.publish(Form::new().text("name", "team/m").text("what", "x")).problem("invalid");
    let big = carl.request("PUT", "/models/team%2Fm/artifact").header("Content-Length", "99999999999999");
    big.send().problem("content-too-large");
    let wanted = [
        "model.upload ok",
        "alias.set ok",
        "model.download ok",
        "model.download ok",
        "model.delete denied",
        "model.delete denied",
        "alias.set denied",
        "model.delete denied",
        "model.release denied",
        "model.read denied",
        "model.download denied",
        "model.upload denied",
        "alias.set error",
        "model.read error",
        "model.read error",
        "model.download error",
        "model.upload error",
        "model.upload error",
        "model.upload error",
    ];
    let without_ends = |rows: &[Value]| -> Vec<String> {
        // Of a hand-out a second entry says how it ended, whenever that was.
        let begun = |row: &&Value| row["entry"]["data"].get("octets_sent").is_none();
        told(&rows.iter().filter(begun).cloned().collect::<Vec<_>>())
    };
    let chain = about(&admin, &id);
    walk(&chain, &id);
    assert_eq!(without_ends(&chain), wanted);
    assert_eq!(about(&admin, "team%2Fm"), chain);
    assert_eq!(about(&admin, "model:team%2Fm"), chain);

    // Once it is purged, its name is nobody's; the chain stays under its id, and a new model begins its own.
    admin.delete("/models/team%2Fm?purge=true&reason=x").expect(200);
    vera.delete("/models/team%2Fm").problem("forbidden");
    vera.delete(&format!("/models/{id}")).problem("forbidden");
    let chain = about(&admin, &id);
    walk(&chain, &id);
    assert_eq!(told(&chain[chain.len() - 2..]), ["model.purge ok", "model.delete denied"]);
    let second = carl.upload("team/m", "m.safetensors", &samples::safetensors(2))["id"].as_str().unwrap().to_owned();
    assert_ne!(second, id);
    let chain = about(&admin, "team%2Fm");
    walk(&chain, &second);
    assert_eq!(told(&chain), ["model.upload ok"]);
    // What could not be resolved is found as it was typed, as long as nothing has that name.
    vera.get("/models/never").problem("not-found");
    let chain = about(&admin, "never");
    walk(&chain, "never");

    // A user: what was done to them and what was refused, in one chain.
    vera.get("/users/carl").problem("forbidden");
    vera.delete("/users/Carl").problem("forbidden");
    anyone.patch("/users/carl", &json!({})).problem("unauthenticated");
    anyone.login("carl", "not-the-password-of-carl").problem("bad-credentials");
    admin.patch("/users/carl", &json!({"role": "viewer"})).expect(200);
    admin.post("/register", &json!({"username": "carl", "password": "whatever-password-1"})).problem("conflict");
    let user_id = admin.value("/users/carl")["id"].as_str().unwrap().to_owned();
    let chain = about(&admin, "carl");
    walk(&chain, &user_id);
    let end = ["user.read denied", "user.delete denied", "user.update denied", "auth.login denied", "role.revoke ok"];
    assert_eq!(told(&chain)[chain.len() - 6..chain.len() - 1], end);
    assert_eq!(told(&chain)[chain.len() - 1], "user.create error");
    assert_eq!(about(&admin, &user_id), chain);
    admin.delete("/users/carl").expect(200);
    let chain = about(&admin, &user_id);
    walk(&chain, &user_id);
    assert_eq!(told(&chain).last().unwrap(), "user.delete ok");

    // And so it is for every subject there is, by somebody else's reading of the journal.
    let log = daemon.log();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (index, entry) in (0..).zip(&log.entries) {
        let kind = match entry["target"]["kind"].as_str().unwrap() {
            "version" | "file" | "alias" => "model",
            kind => kind,
        };
        let before = last.insert(format!("{kind}/{}", entry["target"]["id"].as_str().unwrap()), index);
        assert_eq!(entry["prev"].as_u64(), before, "{entry}");
    }
}

/// Nobody is taken for the one who has the word's name: users called as the daemon calls the unknown.
#[test]
fn the_unknown_is_nobody() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for name in ["unknown", "unnamed"] {
        daemon.user(name, Role::Contributor).upload(name, "m.safetensors", &samples::safetensors(1));
    }
    daemon.client().login("no-such-user", "no-such-password-1").problem("bad-credentials");
    admin.publish(Form::new()).problem("invalid");
    for (action, name) in [("auth.login", "unknown"), ("model.upload", "unnamed")] {
        let rows = admin.value(&format!("/audit-logs?action={action}&outcome=denied"))["items"].clone();
        let more = admin.value(&format!("/audit-logs?action={action}&outcome=error"))["items"].clone();
        let both = rows.as_array().unwrap().iter().chain(more.as_array().unwrap());
        let targets: Vec<&Value> = both.map(|row| &row["entry"]["target"]["id"]).collect();
        assert_eq!(targets, ["?"], "{action}");
        let about_it = about(&admin, name);
        assert!(about_it.iter().all(|row| row["entry"]["outcome"] == "ok"), "{about_it:?}");
    }
}

/// Where an alias pointed at an instant, with the entry that says so and its proof; viewers learn the hash alone, those who
/// may read the log get the entry, and that is recorded. Where it pointed nowhere, the entry that took it away is named.
#[test]
fn as_of_is_proved() {
    let mut daemon = Daemon::start();
    let (carl, vera) = (daemon.user("carl", Role::Contributor), daemon.user("vera", Role::Viewer));
    let auditor = daemon.user("audrey", Role::Auditor);
    let vkey = daemon.ledger().vkey();
    for seed in 1..=3 {
        carl.upload("m", "m.safetensors", &samples::safetensors(seed));
    }
    let steps = [Some(1), Some(3), None, Some(2)];
    let mut indices = Vec::new();
    for version in steps {
        let answer = match version {
            Some(version) => carl.put("/models/m/aliases/live", &json!({"version": version})).expect(200),
            None => carl.delete("/models/m/aliases/live").expect(200),
        };
        indices.push(answer.log_index());
        // Times have milliseconds: the next step comes in another one.
        let entry = daemon.admin().value(&format!("/audit-logs/{}", answer.log_index()))["entry"]["ts"].clone();
        tests::wait::until("the next millisecond", || {
            let later = vera.delete("/models/m").log_index();
            (daemon.admin().value(&format!("/audit-logs/{later}"))["entry"]["ts"].as_str() > entry.as_str())
                .then_some(())
        });
    }
    let history = vera.value("/models/m/aliases/live/history")["items"].as_array().unwrap().clone();
    let told: Vec<u64> = history.iter().rev().map(|step| step["log_index"].as_u64().unwrap()).collect();
    assert_eq!(told, indices, "rows of the history name their entries");
    let times: Vec<&str> = history.iter().rev().map(|step| step["at"].as_str().unwrap()).collect();
    let ask = |client: &Client, time: &str| client.get(&format!("/models/m@live?as_of={time}"));

    let mut proofs = Vec::new();
    for (step, version) in steps.iter().enumerate() {
        let Some(version) = version else {
            let problem = ask(&vera, times[step]).problem("not-found");
            assert!(problem.detail.contains(&format!("entry {} cleared it", indices[step])), "{}", problem.detail);
            continue;
        };
        let answer = ask(&vera, times[step]).expect(200);
        assert_eq!(answer.header("mregd-log-index"), None, "no entry is shown, so none is written");
        assert_eq!(answer.header("etag"), None, "a reading that is recorded is sent");
        let answer = answer.json();
        assert_eq!((&answer["selected"]["version"], &answer["as_of"]["version"]), (&json!(version), &json!(version)));
        let as_of = &answer["as_of"];
        assert_eq!(
            (&as_of["log_index"], &as_of["at"], &as_of["by"]),
            (&json!(indices[step]), &json!(times[step]), &json!("carl"))
        );
        assert_eq!(as_of.get("receipt"), None, "a viewer may not read the log");
        let proof = TlogProof::parse(as_of["proof"].as_str().unwrap()).unwrap();
        assert_eq!(proof.index, indices[step]);
        let hash = as_of["leaf_hash"].as_str().unwrap();
        proof.verify(&hash.parse().unwrap(), std::slice::from_ref(&vkey)).unwrap();
        proofs.push((indices[step], hash.to_owned()));

        let answer = ask(&auditor, times[step]).expect(200);
        let reading = answer.log_index();
        let as_of = answer.json()["as_of"].clone();
        let receipt: Receipt = serde_json::from_value(as_of["receipt"].clone()).unwrap();
        let verified = receipt.verify(std::slice::from_ref(&vkey)).unwrap();
        assert_eq!((verified.entry.action.as_str(), verified.leaf_hash.to_string()), ("alias.set", hash.to_owned()));
        assert_eq!(verified.entry.data["alias"], "live");
        assert_eq!(as_of["proof"].as_str(), Some(receipt.proof.as_str()));
        let entry = auditor.value(&format!("/audit-logs/{reading}"))["entry"].clone();
        assert_eq!((&entry["action"], &entry["data"]["first"]), (&json!("audit.read"), &json!(indices[step])));
    }
    let never = ask(&vera, "2001-01-01T00:00:00Z").problem("not-found");
    assert!(never.detail.contains("had not been set yet"), "{}", never.detail);
    let log = daemon.log();
    for (index, hash) in proofs {
        log.has(index, &hash);
    }
}
