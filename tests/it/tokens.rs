//! API tokens and service accounts (rest-api.md §2): who may make them, what they may do, and when that is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::role::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::{Client, Response};
use tests::multipart::Form;
use tests::pty::{Console, Setup};
use tests::tail::{From, Tail};
use tests::{oracle, samples, wait};

/// A token that was made, as its holder uses it.
struct Made {
    id: String,
    text: String,
    info: Value,
    client: Client,
}

fn made(by: &Client, response: Response) -> Made {
    let status = if response.status == 200 { 200 } else { 201 };
    let info = response.expect(status).json();
    let text = info["token"].as_str().unwrap().to_owned();
    by.ledger().add_secret(&text);
    Made { id: info["id"].as_str().unwrap().to_owned(), client: by.with_token(&text), text, info }
}

fn make(by: &Client, body: &Value) -> Made {
    made(by, by.post("/tokens", body))
}

fn service(daemon: &Daemon, name: &str, role: Role) -> Value {
    let body = json!({"username": name, "kind": "service", "role": role});
    daemon.admin().post("/register", &body).expect(201).json()
}

fn ids(client: &Client, target: &str) -> Vec<String> {
    let page = client.value(target);
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// A token is told once, in the shape that scanners look for, and is good on every route, as JWTs are.
#[test]
fn made_and_used() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let response = carl.post("/tokens", &json!({"label": "ci"}));
    assert!(response.need("location").starts_with("/tokens/"));
    assert_eq!(response.need("cache-control"), "no-store");
    let token = made(&carl, response);
    let parsed: common::token::TokenText = token.text.parse().unwrap();
    assert_eq!(parsed.id().as_str(), token.id);
    assert_eq!(
        (&token.info["user"], &token.info["state"], &token.info["label"]),
        (&json!("carl"), &json!("live"), &json!("ci"))
    );
    assert_eq!((&token.info["permissions"], &token.info["names"]), (&Value::Null, &Value::Null));
    assert!(oracle::is_time(token.info["expires_at"].as_str().unwrap()));
    assert!(token.info["receipt"]["entry"].is_object() || token.info["receipt"].is_object());

    let me = token.client.value("/me");
    assert_eq!((&me["username"], &me["kind"], &me["role"]), (&json!("carl"), &json!("person"), &json!("contributor")));
    assert_eq!(me["api_token"], json!({"id": token.id, "label": "ci", "names": null}));
    assert_eq!((&me["token_expires_at"], &me["session_expires_at"]), (&token.info["expires_at"], &Value::Null));
    assert_eq!(me["permissions"], json!(["model.read", "model.write"]));
    token.client.upload("m", "m.safetensors", &samples::safetensors(1));
    token.client.get("/models/m/download").expect(200);
    token.client.get("/status").expect(200);

    let listed = carl.value("/tokens");
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["items"][0]["id"], token.id.as_str());
    assert!(oracle::is_time(listed["items"][0]["last_used_at"].as_str().unwrap()), "{listed}");
    assert!(!listed.to_string().contains("secret\":\""));
    assert!(listed["items"][0].get("token").is_none());
    let shown = carl.get(&format!("/tokens/{}", token.id)).expect(200);
    assert_eq!(shown.json()["id"], token.id.as_str());

    // Whoever acted is told from those who sign in.
    let mut daemon = daemon;
    let log = daemon.log();
    let upload = log.of("model.upload")[0];
    assert_eq!(upload["actor"]["cred"], format!("mreg_{}", token.id));
    assert_eq!((&upload["actor"]["name"], &upload["actor"]["kind"]), (&json!("carl"), &json!("user")));
    let create = log.of("token.create")[0];
    assert_eq!((&create["target"]["id"], &create["data"]["label"]), (&json!(token.id), &json!("ci")));
    assert_eq!(log.of("token.use").len(), 1, "its uses are one entry, at the stop");
    assert!(log.of("token.use")[0]["data"]["tokens"] == 1);
}

/// Labels are compared by eye: what turns the direction of a text, or is not seen, is in none.
#[test]
fn labels_are_what_they_look_like() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    for odd in ['\u{202e}', '\u{2066}', '\u{2069}', '\u{200e}', '\u{200f}', '\u{200b}', '\u{9b}', '\u{7f}'] {
        admin.post("/tokens", &json!({"label": format!("ci{odd}x")})).invalid("body.label");
        let tags = json!({"tags": {"team": format!("a{odd}b")}});
        admin.request("PATCH", "/models/m").json(&tags).send().expect(422);
    }
}

/// What no token is, is not looked for: each is the same 401. So is a token of which anything is changed.
#[test]
fn what_is_no_token() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let token = make(&carl, &json!({"label": "ci"}));
    let other = make(&carl, &json!({"label": "other"}));
    // The id of one and the secret of another, with a checksum that fits.
    let (id, secret): (common::token::TokenId, [u8; 25]) = (token.id.parse().unwrap(), [7; 25]);
    let forged = common::token::TokenText::new(id, &secret);
    let swapped = format!("mreg_{}{}", token.id, &other.text[21..]);
    for text in [forged.expose(), &swapped, &token.text[..60], "mreg_", "mreg__", &format!("{}x", token.text)] {
        carl.with_token(text).get("/me").problem("unauthenticated");
        carl.with_token(text).get("/models").problem("unauthenticated");
    }
    token.client.get("/models").expect(200);
}

/// For some names, a token has nothing that is of all of them, such as the log, unless that is said.
#[test]
fn names_and_what_has_none() {
    let daemon = Daemon::start();
    let aud = daemon.user("aud", Role::Auditor);
    let named = make(&aud, &json!({"label": "n", "names": ["team/*"]}));
    named.client.get("/models").expect(200);
    assert!(named.client.get("/audit-logs").problem("forbidden").detail.contains("audit.read"));
    let both = make(&aud, &json!({"label": "b", "names": ["team/*"], "permissions": ["model.read", "audit.read"]}));
    both.client.get("/audit-logs").expect(200);
    make(&aud, &json!({"label": "all"})).client.get("/audit-logs").expect(200);
}

/// A scope only ever narrows: by permissions, with a refusal that says so.
#[test]
fn scopes() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let reader = make(&carl, &json!({"label": "r", "permissions": ["model.read"], "names": ["team/*"]}));
    assert_eq!(reader.info["permissions"], json!(["model.read"]));
    assert_eq!(reader.client.value("/me")["permissions"], json!(["model.read"]));
    assert_eq!(reader.client.value("/me")["api_token"]["names"], json!(["team/*"]));
    carl.upload("team/m", "m.safetensors", &samples::safetensors(1));
    reader.client.get("/models/team%2Fm").expect(200);
    let refused = reader.client.patch("/models/team%2Fm", &json!({"description": "x"}));
    assert!(refused.problem("forbidden").detail.contains("model.write"));
    reader.client.publish(tests::multipart::Form::new()).problem("forbidden");

    for (body, loc) in [
        (json!({"label": "x", "permissions": ["audit.read"]}), "body.permissions"),
        (json!({"label": "x", "permissions": []}), "body.permissions"),
        (json!({"label": "x", "permissions": ["model.fly"]}), "body.permissions[0]"),
        (json!({"label": "x", "names": []}), "body.names"),
        (json!({"label": "x", "names": ["a b"]}), "body.names[0]"),
        (json!({"label": ""}), "body.label"),
        (json!({"label": "x".repeat(65)}), "body.label"),
        (json!({"label": "a\nb"}), "body.label"),
        (json!({"label": "x", "expires_in": 0}), "body.expires_in"),
        (json!({"label": "x", "expires_in": 366 * 24 * 3600}), "body.expires_in"),
        (json!({"label": "x", "expires_in": u64::MAX}), "body.expires_in"),
        (json!({"label": "x", "never_expires": true}), "body.never_expires"),
        (json!({"label": "x", "user": "Not A Name"}), "body.user"),
    ] {
        let response = carl.post("/tokens", &body);
        response.invalid(loc);
    }
    carl.post("/tokens", &json!({"label": "r"})).problem("conflict");
}

/// The role counts at the moment of each request, whatever it was when the token was made.
#[test]
fn follows_the_role() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let token = make(&carl, &json!({"label": "ci"}));
    let writer = make(&carl, &json!({"label": "w", "permissions": ["model.write"]}));
    let admin = daemon.admin();
    admin.patch("/users/carl", &json!({"role": "viewer"})).expect(200);
    token.client.patch("/models/nothing", &json!({})).problem("forbidden");
    writer.client.patch("/models/nothing", &json!({})).problem("forbidden");
    assert_eq!(token.client.value("/me")["permissions"], json!(["model.read"]));
    assert_eq!(writer.client.value("/me")["permissions"], json!([]));
    admin.patch("/users/carl", &json!({"role": "admin"})).expect(200);
    token.client.delete("/models/nothing").problem("not-found");
    // Managing users is in no scope in which it isn't written, whatever the role.
    token.client.get("/users").problem("forbidden");
    writer.client.delete("/models/nothing").problem("forbidden");
}

/// The role counts when the version is decided, however long its octets took: another one ends no API token.
#[test]
fn role_of_a_long_upload() {
    let daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let token = make(&carl, &json!({"label": "ci"}));
    let begun = |name: &str, seed| {
        let form = Form::new().text("name", name).file("m.safetensors", &samples::safetensors(seed));
        let request = token.client.request("POST", "/models").form(form);
        let (head, body) = (request.head_octets(), request.body_octets());
        let mut connection = token.client.connect();
        let (first, rest) = body.split_at(body.len() - 8);
        connection.write(&[&head, first].concat()).unwrap();
        (connection, rest.to_owned())
    };
    let (mut kept, kept_rest) = begun("kept", 1);
    kept.write(&kept_rest).unwrap();
    kept.read_response("POST").unwrap().expect(201);
    let (mut late, late_rest) = begun("late", 2);
    // It is known that it began when something of it is under way.
    wait::until_true("the upload to begin", || admin.value("/status")["open_uploads"] == 1);
    admin.patch("/users/carl", &json!({"role": "viewer"})).expect(200);
    late.write(&late_rest).unwrap();
    late.read_response("POST").unwrap().problem("forbidden");
    admin.get("/models/late").problem("not-found");
    token.client.get("/models/kept").expect(200);
}

/// A stolen token can't be made into more: not into another token, a session or a password, unless its scope says that it
/// manages users, and then not in the name of a person.
#[test]
fn what_no_token_may() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let plain = make(&admin, &json!({"label": "plain"}));
    let manager = make(&admin, &json!({"label": "manager", "permissions": ["user.manage"]}));
    service(&daemon, "svc", Role::Contributor);
    let of_svc = make(&admin, &json!({"label": "ci", "user": "svc"}));
    for holder in [&plain, &of_svc] {
        let client = &holder.client;
        client.post("/tokens", &json!({"label": "more"})).problem("forbidden");
        client.post("/tokens", &json!({"label": "more", "user": "svc"})).problem("forbidden");
        client.get("/tokens").problem("forbidden");
        client.get("/tokens?all=true").problem("forbidden");
        for id in [&holder.id, &manager.id] {
            client.get(&format!("/tokens/{id}")).problem("forbidden");
            client.delete(&format!("/tokens/{id}")).problem("forbidden");
            client.post(&format!("/tokens/{id}/rotate"), &json!({})).problem("forbidden");
        }
        client.get("/users").problem("forbidden");
        client.post("/register", &json!({"username": "eve", "password": "long-enough-for-eve"})).problem("forbidden");
        client.post("/users/svc/password", &json!({"password": "long-enough-for-eve"})).problem("forbidden");
    }
    for holder in [&plain, &of_svc, &manager] {
        let client = &holder.client;
        client.post_empty("/token/refresh").problem("forbidden");
        client.post_empty("/logout").problem("forbidden");
        let body = json!({"old_password": ADMIN_PASSWORD, "new_password": "quite-another-one-1"});
        client.post("/me/password", &body).problem("forbidden");
    }
    // With it, it does what an admin does for others, and nothing in its own user's name.
    manager.client.get("/users").expect(200);
    manager.client.post("/tokens", &json!({"label": "mine"})).problem("forbidden");
    manager.client.post(&format!("/tokens/{}/rotate", manager.id), &json!({})).problem("forbidden");
    let more = make(&manager.client, &json!({"label": "more", "user": "svc"}));
    more.client.get("/models").expect(200);
    manager.client.delete(&format!("/tokens/{}", more.id)).expect(200);
    more.client.get("/models").problem("unauthenticated");
    manager.client.get("/models").problem("forbidden");
}

/// Tokens of others are not there for whoever doesn't manage users, and a person's are made by that person alone.
#[test]
fn whose_they_are() {
    let daemon = Daemon::start();
    let (carl, vera, admin) =
        (daemon.user("carl", Role::Contributor), daemon.user("vera", Role::Viewer), daemon.admin());
    let token = make(&carl, &json!({"label": "ci"}));
    let at = format!("/tokens/{}", token.id);
    for target in [&at, "/tokens/0000000000000000", "/tokens/nonsense"] {
        vera.get(target).problem("not-found");
        vera.delete(target).problem("not-found");
    }
    vera.post(&format!("{at}/rotate"), &json!({})).problem("not-found");
    vera.get("/tokens?user=carl").problem("forbidden");
    vera.get("/tokens?all=true").problem("forbidden");
    vera.post("/tokens", &json!({"label": "x", "user": "carl"})).problem("forbidden");
    assert_eq!(ids(&vera, "/tokens"), Vec::<String>::new());
    assert_eq!(ids(&carl, "/tokens?user=carl"), [token.id.as_str()]);

    admin.post("/tokens", &json!({"label": "x", "user": "carl"})).problem("conflict");
    admin.post("/tokens", &json!({"label": "x", "user": "nobody"})).problem("not-found");
    admin.post(&format!("{at}/rotate"), &json!({})).problem("conflict");
    assert_eq!(ids(&admin, "/tokens"), Vec::<String>::new());
    assert_eq!(ids(&admin, "/tokens?user=carl"), [token.id.as_str()]);
    admin.get("/tokens?user=carl&all=true").invalid("query.all");
    assert_eq!(admin.value("/users/carl")["tokens"], 1);
    let etag = admin.get(&at).need("etag").to_owned();
    let stale = admin.request("DELETE", &at).header("If-Match", "\"1\"").send();
    stale.problem("precondition-failed");
    admin.request("DELETE", &at).header("If-Match", &etag).send().expect(200);
    token.client.get("/models").problem("unauthenticated");
    assert_eq!(admin.value("/users/carl")["tokens"], 0);
}

/// Pages of everybody's tokens hold each once, both ways, and their number is known.
#[test]
fn pages() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    service(&daemon, "svc", Role::Viewer);
    let all: Vec<String> =
        (0..7).map(|at| make(&admin, &json!({"label": format!("t{at}"), "user": "svc"})).id).collect();
    for target in ["/tokens?all=true", "/tokens?user=svc"] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.value(&format!("{target}&limit=3{cursor}"));
            assert_eq!(page["total"], 7);
            found.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, all, "oldest first");
        let last = admin.value(&format!("{target}&limit=3&before=end"));
        let before = last["prev_cursor"].as_str().unwrap();
        assert_eq!(last["items"][2]["id"], all[6].as_str());
        let page = admin.value(&format!("{target}&limit=3&before={before}"));
        assert_eq!(page["items"][2]["id"], all[3].as_str());
    }
}

/// A user has so many tokens, and no more; those that are over make room.
#[test]
fn limit() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let max = daemon::registry::tokens::TOKENS_PER_USER_MAX;
    let brief = make(&carl, &json!({"label": "brief", "expires_in": 1}));
    for at in 1..max {
        make(&carl, &json!({"label": format!("t{at}")}));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while brief.client.get("/me").status == 200 {
        assert!(Instant::now() < deadline, "a second has passed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(carl.value(&format!("/tokens/{}", brief.id))["state"], "expired");
    make(&carl, &json!({"label": "brief"}));
    carl.get(&format!("/tokens/{}", brief.id)).problem("not-found");
    assert!(carl.post("/tokens", &json!({"label": "one more"})).problem("conflict").detail.contains("50 tokens"));
    assert_eq!(carl.value("/tokens")["total"], max);
}

/// Expired, a token is over on the next request, and its live tail ends with that word.
#[test]
fn expiry() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna", Role::Auditor);
    let token = make(&anna, &json!({"label": "siem", "expires_in": 3}));
    token.client.get("/models").expect(200);
    let mut tail = Tail::open(&token.client, From::Now);
    assert_eq!(tail.bye(), "expired");
    token.client.get("/models").problem("unauthenticated");
    anna.post(&format!("/tokens/{}/rotate", token.id), &json!({})).problem("conflict");
}

/// Revoked, a token is over on the very next request, and its live tail ends; so it is with a right that its user loses.
#[test]
fn revocation() {
    let daemon = Daemon::start();
    let (anna, admin) = (daemon.user("anna", Role::Auditor), daemon.admin());
    let token = make(&anna, &json!({"label": "siem"}));
    let mut tail = Tail::open(&token.client, From::Now);
    let gone = anna.delete(&format!("/tokens/{}", token.id)).expect(200).json();
    assert_eq!((&gone["id"], &gone["status"]), (&json!(token.id), &json!("deleted")));
    token.client.get("/models").problem("unauthenticated");
    assert_eq!(tail.bye(), "revoked");

    let token = make(&anna, &json!({"label": "siem"}));
    let mut tail = Tail::open(&token.client, From::Now);
    admin.patch("/users/anna", &json!({"role": "viewer"})).expect(200);
    assert_eq!(tail.bye(), "revoked");
    token.client.get("/models").expect(200);
    token.client.get("/audit-logs").problem("forbidden");
}

/// What becomes of the user becomes of the token: disabled it is void, enabled it is good again; other passwords leave it
/// alone; when all sessions are revoked, or the user is removed, it is gone for good.
#[test]
fn goes_with_its_user() {
    let daemon = Daemon::start();
    let (carl, admin) = (daemon.user("carl", Role::Contributor), daemon.admin());
    let token = make(&carl, &json!({"label": "ci"}));
    admin.patch("/users/carl", &json!({"disabled": true})).expect(200);
    token.client.get("/models").problem("unauthenticated");
    assert_eq!(admin.value(&format!("/tokens/{}", token.id))["state"], "disabled");
    admin.patch("/users/carl", &json!({"disabled": false})).expect(200);
    token.client.get("/models").expect(200);

    let interim = "given-by-an-admin-1";
    daemon.ledger().add_secret(interim);
    admin.post("/users/carl/password", &json!({"password": interim})).expect(200);
    token.client.get("/models").expect(200);
    let carl = daemon.client().signed_in("carl", interim);
    carl.post("/tokens", &json!({"label": "early"})).problem("password-change-required");
    let own = "chosen-by-carl-himself";
    daemon.ledger().add_secret(own);
    carl.post("/me/password", &json!({"old_password": interim, "new_password": own})).expect(204);
    token.client.get("/models").expect(200);

    let changed = admin.post_empty("/users/carl/sessions/revoke").expect(200).json();
    assert_eq!((&changed["sessions"], &changed["tokens"]), (&json!(0), &json!(0)));
    token.client.get("/models").problem("unauthenticated");
    admin.get(&format!("/tokens/{}", token.id)).problem("not-found");
    carl.get("/models").problem("unauthenticated");

    let carl = daemon.client().signed_in("carl", own);
    let token = make(&carl, &json!({"label": "ci"}));
    admin.delete("/users/carl").expect(200);
    token.client.get("/models").problem("unauthenticated");
    assert_eq!(admin.value("/tokens?all=true")["total"], 0);
    // Another user of the same name is somebody else.
    daemon.user("carl", Role::Admin);
    token.client.get("/models").problem("unauthenticated");
}

/// Rotated, a token has another secret; the old one ends at once, or after the overlap, and never outlives the token.
#[test]
fn rotation() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let first = make(&carl, &json!({"label": "ci", "permissions": ["model.read"]}));
    let rotate = |body: Value| carl.post(&format!("/tokens/{}/rotate", first.id), &body);
    let second = made(&carl, rotate(json!({})));
    assert_eq!((&second.id, &second.info["permissions"]), (&first.id, &json!(["model.read"])));
    assert_ne!(second.text, first.text);
    assert!(oracle::is_time(second.info["rotated_at"].as_str().unwrap()));
    assert_eq!(second.info["old_secret_until"], Value::Null);
    first.client.get("/models").problem("unauthenticated");
    second.client.get("/models").expect(200);

    let third = made(&carl, rotate(json!({"overlap": 2})));
    assert!(oracle::is_time(third.info["old_secret_until"].as_str().unwrap()));
    second.client.get("/models").expect(200);
    third.client.get("/models").expect(200);
    let deadline = Instant::now() + Duration::from_secs(15);
    while second.client.get("/models").status == 200 {
        assert!(Instant::now() < deadline, "the overlap is over");
        std::thread::sleep(Duration::from_millis(50));
    }
    third.client.get("/models").expect(200);
    // Of two old ones the elder makes way.
    let fourth = made(&carl, rotate(json!({"overlap": 3600})));
    let fifth = made(&carl, rotate(json!({"overlap": 3600, "expires_in": 7200})));
    third.client.get("/models").problem("unauthenticated");
    for client in [&fourth.client, &fifth.client] {
        client.get("/models").expect(200);
    }
    rotate(json!({"overlap": 7 * 24 * 3600 + 1})).invalid("body.overlap");
    rotate(json!({"never_expires": true})).invalid("body.never_expires");
    let mut daemon = daemon;
    assert_eq!(daemon.log().of("token.rotate").iter().filter(|entry| entry["outcome"] == "ok").count(), 4);
}

/// A service account can't sign in, in no way that tells it from a user that isn't there; admins make its tokens; it is no
/// admin that could be the last.
#[test]
fn service_accounts() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let svc = service(&daemon, "svc-ci", Role::Contributor);
    assert_eq!((&svc["kind"], &svc["must_change_password"]), (&json!("service"), &json!(false)));
    assert_eq!(admin.value("/users/svc-ci")["kind"], "service");
    let kinds: BTreeSet<String> = admin.value("/users")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| format!("{} {}", user["username"].as_str().unwrap(), user["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(kinds, BTreeSet::from(["admin person".to_owned(), "svc-ci service".to_owned()]));
    for body in
        [json!({"username": "x", "kind": "service", "password": "long-enough-for-it"}), json!({"username": "x"})]
    {
        admin.post("/register", &body).invalid("body.password");
    }
    daemon
        .user("vera", Role::Viewer)
        .post("/register", &json!({"username": "x", "kind": "service"}))
        .problem("forbidden");
    admin.post("/users/svc-ci/password", &json!({"password": "long-enough-for-it"})).problem("conflict");

    let timed = |name: &str, password: &str| {
        let began = Instant::now();
        daemon.client().login(name, password).problem("bad-credentials");
        began.elapsed()
    };
    timed("svc-ci", "!service");
    // By turns: what else runs on this machine comes and goes.
    let wrong = "not-the-password-of-anyone";
    let (known, unknown): (Vec<_>, Vec<_>) = (0..3).map(|_| (timed("svc-ci", wrong), timed("nobody", wrong))).unzip();
    let (known, unknown) = (*known.iter().min().unwrap(), *unknown.iter().min().unwrap());
    assert!(known < unknown * 4 && unknown < known * 4, "service account {known:?}, nobody {unknown:?}");

    let token = make(&admin, &json!({"label": "ci", "user": "svc-ci"}));
    let me = token.client.value("/me");
    assert_eq!((&me["username"], &me["kind"]), (&json!("svc-ci"), &json!("service")));
    token.client.upload("m", "m.safetensors", &samples::safetensors(1));
    made(&admin, admin.post(&format!("/tokens/{}/rotate", token.id), &json!({}))).client.get("/models").expect(200);

    // An admin that can't sign in is none that counts.
    service(&daemon, "svc-root", Role::Admin);
    admin.patch(&format!("/users/{ADMIN}"), &json!({"role": "viewer"})).problem("conflict");
    admin.delete(&format!("/users/{ADMIN}")).problem("conflict");
    admin.delete("/users/svc-root").expect(200);
    admin.patch("/users/svc-ci", &json!({"disabled": true})).expect(200);
    admin.post("/tokens", &json!({"label": "more", "user": "svc-ci"})).problem("conflict");

    let mut daemon = daemon;
    let log = daemon.log();
    assert_eq!(log.of("model.upload")[0]["actor"]["kind"], "service");
}

/// Tokens outlive a restart and a kill, and so does their last use a stop; whatever is on the disk, and whatever was said,
/// has no secret.
#[test]
fn kept_without_secrets() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let token = make(&carl, &json!({"label": "ci"}));
    let keyed =
        carl.request("POST", "/tokens").header("Idempotency-Key", "k-1").json(&json!({"label": "keyed"})).send();
    let keyed = made(&carl, keyed);
    let gone = make(&carl, &json!({"label": "gone"}));
    carl.delete(&format!("/tokens/{}", gone.id)).expect(200);
    token.client.get("/models").expect(200);
    let used = carl.value(&format!("/tokens/{}", token.id))["last_used_at"].clone();
    assert!(used.is_string());
    daemon.stop();
    daemon.restart();
    let again = |made: &Made| daemon.client().with_token(&made.text).get("/models");
    let carl = daemon.client().signed_in("carl", &Daemon::password_of("carl"));
    assert_eq!(carl.value(&format!("/tokens/{}", token.id))["last_used_at"], used);
    again(&token).expect(200);
    again(&keyed).expect(200);
    again(&gone).problem("unauthenticated");
    daemon.kill();
    daemon.restart();
    daemon.client().with_token(&token.text).get("/models").expect(200);
    daemon.stop();
    let secrets: Vec<&str> = [&token, &keyed, &gone].iter().map(|made| &made.text[22..]).collect();
    search(&daemon.data_dir(), &secrets);
    for line in daemon.stderr().iter().chain(&daemon.stdout()) {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
    assert!(daemon.run(&["check"], "").status.success(), "what is derived is as the journal says");
}

/// No file below holds one of these texts.
fn search(dir: &Path, texts: &[&str]) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&entry.path(), texts);
        } else if kind.is_file() {
            let octets = fs::read(entry.path()).unwrap();
            for text in texts {
                let found = octets.windows(text.len()).any(|part| part == text.as_bytes());
                assert!(!found, "{}", entry.path().display());
            }
        }
    }
}

/// Where the setting lets them, tokens never expire; a shorter bound bounds the default, too.
#[test]
fn longest_life() {
    let daemon = Daemon::with(&[("MREG_API_TOKEN_DAYS_MAX", "unlimited")]);
    let token = make(&daemon.admin(), &json!({"label": "x", "never_expires": true}));
    assert_eq!(token.info["expires_at"], Value::Null);
    assert_eq!(token.client.value("/me")["token_expires_at"], Value::Null);
    daemon
        .admin()
        .post("/tokens", &json!({"label": "y", "never_expires": true, "expires_in": 60}))
        .invalid("body.never_expires");
    make(&daemon.admin(), &json!({"label": "ten years", "expires_in": 10 * 365 * 24 * 3600}));

    let daemon = Daemon::with(&[("MREG_API_TOKEN_DAYS_MAX", "1")]);
    let token = make(&daemon.admin(), &json!({"label": "x"}));
    let time = |at: &str| token.info[at].as_str().unwrap().split_once('T').unwrap();
    let (ends, begins) = (time("expires_at"), time("created_at"));
    assert!(ends.1 == begins.1 && ends.0 > begins.0, "a day later: {begins:?} {ends:?}");
    daemon.admin().post("/tokens", &json!({"label": "y", "expires_in": 24 * 3600 + 1})).invalid("body.expires_in");
}

/// `mregd token` prints the token and nothing else on standard output, beside the running daemon and on the stopped one.
#[test]
fn on_the_machine() {
    let mut daemon = Daemon::start();
    let run = |daemon: &Daemon, arguments: &[&str]| {
        let output = daemon.run(arguments, "");
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = run(&daemon, &["user", "add", "svc", "--role", "contributor", "--service"]);
    assert!(code == Some(0) && !said.contains("password"), "{said}");
    let create = [
        "token",
        "create",
        "--user",
        "svc",
        "--label",
        "nightly build",
        "--permission",
        "model.read",
        "--names",
        "team/*",
    ];
    let (code, token, told) = run(&daemon, &create);
    assert_eq!(code, Some(0), "{told}");
    let token = token.strip_suffix('\n').unwrap().to_owned();
    daemon.ledger().add_secret(&token);
    assert!(!told.contains(&token[22..]) && told.contains("nightly build"), "{told}");
    let id = token[5..21].to_owned();
    assert_eq!(daemon.client().with_token(&token).value("/me")["permissions"], json!(["model.read"]));
    let (code, _, told) = run(&daemon, &create);
    assert!(code == Some(2) || code == Some(64), "{code:?}");
    assert!(told.contains("nightly build"), "{told}");
    let (code, _, told) = run(&daemon, &["token", "create", "--user", ADMIN, "--label", "x"]);
    assert!(code != Some(0) && told.contains("person"), "{told}");

    daemon.stop();
    let (code, rotated, told) = run(&daemon, &["token", "rotate", &id, "--overlap", "1h", "--expires", "2d"]);
    assert_eq!(code, Some(0), "{told}");
    let rotated = rotated.trim_end().to_owned();
    daemon.ledger().add_secret(&rotated);
    let (_, listed, _) = run(&daemon, &["token", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["names"]), (&json!(id), &json!(["team/*"])));
    daemon.restart();
    for text in [&token, &rotated] {
        daemon.client().with_token(text).get("/models").expect(200);
    }
    let (code, said, _) = run(&daemon, &["token", "revoke", &id]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    for text in [&token, &rotated] {
        daemon.client().with_token(text).get("/models").problem("unauthenticated");
    }
    let (_, listed, _) = run(&daemon, &["token", "list", "--user", "svc"]);
    assert_eq!(listed, "");
    for arguments in
        [&["token", "revoke", "x"][..], &["token", "create", "--user", "svc", "--label", "x", "--permission", "fly"]]
    {
        assert_ne!(run(&daemon, arguments).0, Some(0), "{arguments:?}");
    }
}

fn console(daemon: &Daemon) -> Console {
    let url = format!("http://{}", daemon.address());
    let mut console = Setup::new().size(110, 32).args(&["--url", &url, "--user", ADMIN]).start();
    console.wait_for("Password");
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.settle();
    console
}

/// In the console a token is made by a form, shown once, listed, and revoked by its label.
#[test]
fn in_the_console() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    service(&daemon, "svc-ci", Role::Contributor);
    let mut console = console(&daemon);
    console.press("5");
    console.wait_for("svc-ci");
    assert!(console.shows("TOKENS") && console.shows("service") && console.shows("token only"), "{}", console.screen());
    console.settle();
    console.press("jT");
    console.wait_for("no token");
    console.settle();
    console.press("a");
    console.wait_for("make an API token of svc-ci");
    console.settle();
    console.press("nightly<Enter>model.read<Enter>team/*<Enter><Enter>");
    console.wait_for("It is not shown again");
    let screen = console.screen();
    let text: String = screen[screen.find("mreg_").unwrap()..].chars().take(common::token::TOKEN_LEN).collect();
    daemon.ledger().add_secret(&text);
    let client = daemon.client().with_token(&text);
    assert_eq!(client.value("/me")["permissions"], json!(["model.read"]));
    console.settle();
    console.press("<Esc>");
    console.wait_gone("mreg_");
    console.settle();
    console.press("T");
    // The message line has the label, too.
    console.wait_for("model.read on team/*");
    assert!(console.shows("nightly") && console.shows("live"), "{}", console.screen());
    console.settle();
    console.press("D");
    console.wait_for("Type the name");
    console.wait_for("Whatever has it is refused");
    console.settle();
    console.press("nightly<Enter>");
    console.wait_for("no token");
    client.get("/models").problem("unauthenticated");
    assert_eq!(admin.value("/tokens?all=true")["total"], 0);
    console.press("<Esc>");
    console.wait_gone("API tokens of");
    console.settle();
    console.quit();
}

/// `mreg` works with an API token: it says which it is and when it ends, asks for no refresh, and tells a slip before
/// anything is sent; tokens are listed, made and revoked in words.
#[test]
fn in_words() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let token = make(&admin, &json!({"label": "by hand"}));
    let url = format!("http://{}", daemon.address());
    let run = |token: &str, arguments: &[&str]| {
        let output = Setup::new().env("MREG_URL", &url).env("MREG_TOKEN", token).output(arguments, "");
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, who, told) = run(&token.text, &["whoami"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(who.contains(&format!("API token by hand ({}), until ", token.id)) && !who.contains("session"), "{who}");
    let (code, _, told) = run(&token.text[..68], &["whoami"]);
    assert!(code == Some(2) && told.contains("MREG_TOKEN is not an API token"), "{code:?} {told}");
    let mut slip = token.text.clone();
    slip.replace_range(30..31, if &slip[30..31] == "7" { "8" } else { "7" });
    let (code, _, told) = run(&slip, &["whoami"]);
    assert!(code == Some(2) && told.contains("mistyped"), "{code:?} {told}");
    // What it is not made for is refused by the daemon, in its words.
    let (code, _, told) = run(&token.text, &["get", "tokens"]);
    assert!(code == Some(4) && told.contains("sign in with a password"), "{code:?} {told}");

    // An upload asks for nothing that a token may not do: nothing denied is recorded of it.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.safetensors");
    fs::write(&file, samples::safetensors(1)).unwrap();
    let (code, _, told) = run(&token.text, &["upload", file.to_str().unwrap(), "--model", "by-token"]);
    assert_eq!(code, Some(0), "{told}");
    // Of one that is held, why is said.
    let held = folder.path().join("held.pkl");
    fs::write(&held, samples::hostile_pickle()).unwrap();
    let (code, _, told) = run(&token.text, &["upload", held.to_str().unwrap(), "--model", "held"]);
    assert!(code == Some(0) && told.contains("held for inspection: malicious"), "{code:?} {told}");
    let refreshed = admin.get("/audit-logs?action=auth.refresh").expect(200).json();
    assert_eq!(refreshed["items"], json!([]));

    let session = admin.token().to_owned();
    service(&daemon, "svc", Role::Contributor);
    let (code, text, told) =
        run(&session, &["do", "add-token", "svc", "nightly", "--permissions", "model.read", "--expires", "2d"]);
    assert_eq!(code, Some(0), "{told}");
    let text = text.strip_suffix('\n').unwrap();
    daemon.ledger().add_secret(text);
    assert!(text.parse::<common::token::TokenText>().is_ok() && told.contains("nightly"), "{told}");
    daemon.client().with_token(text).get("/models").expect(200);
    let (_, listed, _) = run(&session, &["get", "tokens", "svc"]);
    assert!(listed.contains("nightly") && listed.contains("model.read"), "{listed}");
    let (_, listed, _) = run(&session, &["get", "tokens", "--filter", "all", "--json"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let (code, _, told) = run(&session, &["do", "revoke-token", &text[5..21]]);
    assert!(code == Some(2) && told.contains("--yes nightly"), "{code:?} {told}");
    let (code, _, told) = run(&session, &["do", "revoke-token", &text[5..21], "--yes", "nightly"]);
    assert_eq!(code, Some(0), "{told}");
    daemon.client().with_token(text).get("/models").problem("unauthenticated");
    let (code, _, _) = run(&token.text, &["whoami"]);
    assert_eq!(code, Some(0), "nobody signed it out");
}
