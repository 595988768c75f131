//! Signing in and out, users, and how fast a change of rights holds (rest-api.md §2).

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::role::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Response;

/// A token is given for the right password, as JSON and as the form of the documentation's Authorize box.
#[test]
fn json_and_form() {
    let daemon = Daemon::start();
    let token = daemon.client().login(ADMIN, ADMIN_PASSWORD).expect(200).json();
    assert_eq!(token["token_type"], "bearer");
    assert_eq!(token["role"], "admin");
    assert_eq!(token["username"], ADMIN);
    assert_eq!(token["must_change_password"], false);
    assert_eq!(token["expires_in"], 30 * 60);

    let form = format!("grant_type=password&username={ADMIN}&password={ADMIN_PASSWORD}&scope=");
    let request = daemon.client().request("POST", "/login").body("application/x-www-form-urlencoded", form);
    let token = request.send().expect(200).json();
    let me = daemon.client().with_token(token["access_token"].as_str().unwrap()).value("/me");
    assert_eq!(me["username"], ADMIN);
    assert_eq!(me["role"], "admin");
    assert!(me["permissions"].as_array().unwrap().contains(&json!("user.manage")));
    assert!(tests::oracle::is_time(me["token_expires_at"].as_str().unwrap()), "{me}");

    let upper = daemon.client().login("ADMIN", ADMIN_PASSWORD).expect(200).json();
    assert_eq!(upper["username"], ADMIN, "user names are folded");
}

/// A wrong user and a wrong password get the same answer, after about the same work.
#[test]
fn both_wrongs_are_one() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let timed = |name: &str| {
        let began = Instant::now();
        let response = client.login(name, "not-the-password-of-anyone");
        response.problem("bad-credentials");
        (began.elapsed(), response)
    };
    let same = |response: &Response| {
        let mut body: Value = serde_json::from_slice(&response.body).unwrap();
        body["instance"] = Value::Null;
        let varies = ["x-request-id", "date", "mregd-log-index", "mregd-log-leaf"];
        let headers: Vec<_> =
            response.headers.iter().filter(|(name, _)| !varies.contains(&name.as_str())).cloned().collect();
        (body, headers)
    };
    // By turns: what else runs on this machine comes and goes.
    let (known, unknown): (Vec<_>, Vec<_>) = (0..4).map(|at| (timed(ADMIN), timed(&format!("nobody{at}")))).unzip();
    assert_eq!(same(&known[0].1).0, same(&unknown[0].1).0);
    let names = |response: &Response| same(response).1;
    assert_eq!(names(&known[0].1), names(&unknown[0].1));
    let fastest = |tries: &[(std::time::Duration, Response)]| tries.iter().map(|(took, _)| *took).min().unwrap();
    let (known, unknown) = (fastest(&known), fastest(&unknown));
    assert!(known < unknown * 4 && unknown < known * 4, "known user {known:?}, unknown user {unknown:?}");
    // Names that nobody can have are answered the same.
    client.login("../etc", "not-the-password-of-anyone").problem("bad-credentials");
    client.login("system", "not-the-password-of-anyone").problem("bad-credentials");
}

/// What is no sign-in at all is told where it is wrong.
#[test]
fn malformed_logins() {
    let daemon = Daemon::start();
    let client = daemon.client();
    client.post("/login", &json!({"username": "admin"})).invalid("body.password");
    client.post("/login", &json!({"username": 1, "password": "x"})).invalid("body.username");
    let send = |kind: &str, body: &str| client.request("POST", "/login").body(kind, body).send();
    send("application/json", "{").problem("invalid");
    send("application/json", "").problem("invalid");
    send("text/plain", "username=admin").problem("unsupported-media-type");
    send("application/x-www-form-urlencoded", "username=a&username=b&password=c").problem("invalid");
}

/// After five failures the user is blocked from there for a while, whatever the password; others are not.
#[test]
fn lockout() {
    let daemon = Daemon::start();
    let other = daemon.user("olga", Role::Viewer);
    let _victim = daemon.user("vera", Role::Viewer);
    for _ in 0..5 {
        daemon.client().login("vera", "wrong-wrong-wrong-1").problem("bad-credentials");
    }
    let refused = daemon.client().login("vera", &Daemon::password_of("vera"));
    refused.problem("too-many-requests");
    let seconds: u64 = refused.need("retry-after").parse().unwrap();
    assert!((1..=15 * 60).contains(&seconds), "Retry-After {seconds}");
    daemon.client().login("olga", &Daemon::password_of("olga")).expect(200);
    assert_eq!(other.value("/me")["username"], "olga");

    let mut daemon = daemon;
    let log = daemon.log();
    let denied = |action: &str| log.of(action).iter().filter(|entry| entry["outcome"] == "denied").count();
    assert!(denied("auth.login") >= 5, "each failed sign-in is an entry");
}

/// A refreshed token is of the same session: logging out ends both at once.
#[test]
fn refresh_and_logout() {
    let daemon = Daemon::start();
    let first = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
    let other_session = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
    let answer = first.post_empty("/token/refresh").expect(200).json();
    let second = daemon.client().with_token(answer["access_token"].as_str().unwrap());
    assert_ne!(first.token(), second.token());
    assert_eq!(first.value("/me")["session_expires_at"], second.value("/me")["session_expires_at"]);

    let gone = second.post_empty("/logout").expect(204);
    assert!(gone.body.is_empty());
    for client in [&first, &second] {
        client.get("/me").problem("unauthenticated");
        client.get("/models").problem("unauthenticated");
        client.post_empty("/token/refresh").problem("unauthenticated");
    }
    other_session.get("/me").expect(200);
}

/// One's own password can be changed with the old one; other sessions end, this one stays.
#[test]
fn own_password() {
    let daemon = Daemon::start();
    let here = daemon.user("vera", Role::Viewer);
    let elsewhere = daemon.client().signed_in("vera", &Daemon::password_of("vera"));
    let change = |old: &str, new: &str| {
        here.ledger().add_secret(new);
        here.post("/me/password", &json!({"old_password": old, "new_password": new}))
    };
    let old = Daemon::password_of("vera");
    change("not-the-old-password", "a-fine-new-password").problem("bad-credentials");
    change(&old, "short").problem("weak-password");
    change(&old, "vera").problem("weak-password");
    change(&old, "password1234").problem("weak-password");
    change(&old, "a-fine-new-password").expect(204);
    here.get("/me").expect(200);
    elsewhere.get("/me").problem("unauthenticated");
    daemon.client().login("vera", &old).problem("bad-credentials");
    daemon.client().login("vera", "a-fine-new-password").expect(200);
}

/// A password set by an admin must be changed before anything else, and ends the user's sessions.
#[test]
fn must_change() {
    let daemon = Daemon::start();
    let before = daemon.user("vera", Role::Viewer);
    let given = "given-by-the-admin-1";
    daemon.ledger().add_secret(given);
    let changed = daemon.admin().post("/users/vera/password", &json!({"password": given})).expect(200).json();
    assert_eq!(changed["must_change_password"], true);
    before.get("/me").problem("unauthenticated");

    let token = daemon.client().login("vera", given).expect(200).json();
    assert_eq!(token["must_change_password"], true);
    let vera = daemon.client().with_token(token["access_token"].as_str().unwrap());
    assert_eq!(vera.value("/me")["must_change_password"], true);
    vera.get("/models").problem("password-change-required");
    vera.get("/roles").problem("password-change-required");
    let body = json!({"old_password": given, "new_password": "my-own-secret-choice"});
    daemon.ledger().add_secret("my-own-secret-choice");
    vera.post("/me/password", &body).expect(204);
    let again = daemon.client().signed_in("vera", "my-own-secret-choice");
    again.get("/models").expect(200);
    assert_eq!(again.value("/me")["must_change_password"], false);
}

/// Only admins create users while registration is closed; names and passwords are judged.
#[test]
fn register_closed() {
    let daemon = Daemon::start();
    let viewer = daemon.user("vera", Role::Viewer);
    let body = |name: &str, password: &str| json!({"username": name, "password": password});
    let fine = "a-perfectly-fine-one";
    daemon.ledger().add_secret(fine);
    daemon.client().post("/register", &body("new", fine)).problem("unauthenticated");
    viewer.post("/register", &body("new", fine)).problem("forbidden");

    let admin = daemon.admin();
    let created = admin.post("/register", &body("New.User", fine)).expect(201);
    assert_eq!(created.header("location"), Some("/users/new.user"));
    assert!(created.header("etag").is_some());
    let user = created.json();
    assert_eq!((&user["username"], &user["role"]), (&json!("new.user"), &json!("viewer")));
    assert!(!created.text().contains("argon2") && !created.text().contains("password_hash"), "{}", created.text());
    admin.post("/register", &body("NEW.user", fine)).problem("conflict");
    for name in ["", "-x", "a b", "anonymous", "System", "watcher", &"x".repeat(65)] {
        admin.post("/register", &body(name, fine)).invalid("body.username");
    }
    for password in ["short", "password1234", "other", &"x".repeat(1025)] {
        admin.post("/register", &body("other", password)).problem("weak-password");
    }
    admin.post("/register", &json!({"username": "o", "password": fine, "role": "king"})).invalid("body.role");
    // Whose password somebody else has made, changes it first.
    let handed_on = json!({"username": "ines", "password": fine, "must_change_password": true});
    assert_eq!(admin.post("/register", &handed_on).expect(201).json()["must_change_password"], true);
    assert_eq!(daemon.client().signed_in("ines", fine).value("/me")["must_change_password"], true);
    assert_eq!(user["must_change_password"], false);
    admin.post("/register", &json!({"username": "o", "password": fine, "rôle": "x"})).problem("invalid");
}

/// With open registration anyone may become a viewer, and nothing more.
#[test]
fn register_open() {
    let daemon = Daemon::with(&[("MREG_OPEN_REGISTRATION", "true")]);
    let password = "a-perfectly-fine-one";
    daemon.ledger().add_secret(password);
    let register = |role: &str| {
        daemon
            .client()
            .post("/register", &json!({"username": format!("new-{role}"), "password": password, "role": role}))
    };
    assert_eq!(register("viewer").expect(201).json()["role"], "viewer");
    for role in ["contributor", "auditor", "admin"] {
        let refused = register(role);
        assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
    }
    let user = daemon.client().signed_in("new-viewer", password);
    user.get("/models").expect(200);
    user.post("/register", &json!({"username": "x1", "password": password, "role": "admin"})).problem("forbidden");
}

/// Disabling, another role, revoking and deleting hold from the very next request on.
#[test]
fn changes_of_rights_hold_at_once() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    type Change = fn(&tests::http::Client, &str) -> Response;
    let changes: [(&str, Change); 4] = [
        ("disabled", |admin, user| admin.patch(user, &json!({"disabled": true}))),
        ("demoted", |admin, user| admin.patch(user, &json!({"role": "viewer"}))),
        ("revoked", |admin, user| admin.post_empty(&format!("{user}/sessions/revoke"))),
        ("deleted", |admin, user| admin.delete(user)),
    ];
    for (name, change) in changes {
        let user = daemon.user(name, Role::Contributor);
        user.get("/models").expect(200);
        change(&admin, &format!("/users/{name}")).expect(200);
        user.get("/models").problem("unauthenticated");
        user.post_empty("/token/refresh").problem("unauthenticated");
    }
    let login = |name: &str| daemon.client().login(name, &Daemon::password_of(name));
    login("disabled").problem("bad-credentials");
    login("deleted").problem("bad-credentials");
    assert_eq!(login("demoted").expect(200).json()["role"], "viewer");
    login("revoked").expect(200);
    admin.patch("/users/disabled", &json!({"disabled": false})).expect(200);
    login("disabled").expect(200);
    admin.get("/users/deleted").problem("not-found");
}

/// The last enabled admin stays: no demotion, no disabling, no deletion.
#[test]
fn last_admin() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.patch("/users/admin", &json!({"role": "viewer"})).problem("conflict");
    admin.patch("/users/admin", &json!({"disabled": true})).problem("conflict");
    admin.delete("/users/admin").problem("conflict");
    admin.get("/me").expect(200);

    let second = daemon.user("second", Role::Admin);
    admin.patch("/users/second", &json!({"disabled": true})).expect(200);
    admin.delete("/users/admin").problem("conflict");
    admin.patch("/users/second", &json!({"disabled": false})).expect(200);
    second.get("/me").problem("unauthenticated");
    let second = daemon.client().signed_in("second", &Daemon::password_of("second"));
    second.patch("/users/admin", &json!({"role": "viewer"})).expect(200);
    admin.get("/me").problem("unauthenticated");
    second.delete("/users/second").problem("conflict");
}

/// Users are listed by name in pages, and shown with an entity tag that changes are bound to.
#[test]
fn users_resource() {
    let daemon = Daemon::start();
    for name in ["carl", "anna", "bert"] {
        let _user = daemon.user(name, Role::Viewer);
    }
    let admin = daemon.admin();
    let first = admin.get("/users?limit=3").expect(200);
    let page = first.json();
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&page), ["admin", "anna", "bert"]);
    assert!(first.need("link").ends_with("; rel=\"next\""));
    let next = admin.value(&format!("/users?limit=3&cursor={}", page["next_cursor"].as_str().unwrap()));
    assert_eq!(names(&next), ["carl"]);
    assert_eq!(next["next_cursor"], Value::Null);

    let shown = admin.get("/users/anna").expect(200);
    let etag = shown.need("etag").to_owned();
    let fresh = admin.request("GET", "/users/anna").header("If-None-Match", &etag).send().expect(304);
    assert_eq!(fresh.need("etag"), etag);
    let patch = |etag: &str| {
        let request = admin.request("PATCH", "/users/anna").header("If-Match", etag);
        request.json(&json!({"role": "auditor"})).send()
    };
    patch("\"somewhen\"").problem("precondition-failed");
    let changed = patch(&etag).expect(200);
    assert_eq!(changed.json()["role"], "auditor");
    patch(&etag).problem("precondition-failed");
    admin.patch("/users/anna", &json!({"colour": "red"})).problem("invalid");
    admin.get("/users/nobody").problem("not-found");
    admin.delete("/users/nobody").problem("not-found");
    let deleted = admin.request("DELETE", "/users/anna").header("If-Match", changed.need("etag")).send().expect(200);
    assert_eq!(deleted.json()["status"], "deleted");

    let roles = daemon.user("dora", Role::Viewer).value("/roles");
    assert_eq!(roles["total"], 4);
    assert_eq!(roles["items"][0]["permissions"], json!(["model.read"]));
}

/// A name that was deleted can be given again, to somebody else.
#[test]
fn deleted_names_are_free() {
    let daemon = Daemon::start();
    let old = daemon.user("vera", Role::Contributor);
    let first = daemon.admin().value("/users/vera")["id"].clone();
    daemon.admin().delete("/users/vera").expect(200);
    let _new = daemon.user("vera", Role::Viewer);
    old.get("/me").problem("unauthenticated");
    assert_ne!(daemon.admin().value("/users/vera")["id"], first, "an id is never given again");
}

/// Tokens that the daemon did not sign with its key and algorithm are refused.
#[test]
fn forged_tokens() {
    let key = "k".repeat(40);
    let daemon = Daemon::with(&[("JWT_SECRET_KEY", &key)]);
    let admin = daemon.admin();
    let parts: Vec<&str> = admin.token().split('.').collect();
    let decode = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (header, claims) = (decode(parts[0]), decode(parts[1]));
    for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"] {
        assert!(!claims[claim].is_null(), "{claim} is missing: {claims}");
    }
    assert_eq!(header["alg"], "HS256");
    let sign = |key: &str, header: &Value, claims: &Value| {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mac = URL_SAFE_NO_PAD.encode(hmac(key.as_bytes(), signed.as_bytes()));
        format!("{signed}.{mac}")
    };
    let try_token = |token: &str| daemon.client().with_token(token).get("/me");
    try_token(&sign(&key, &header, &claims)).expect(200);

    let with = |value: &Value, field: &str, to: Value| {
        let mut value = value.clone();
        value[field] = to;
        value
    };
    let without = |value: &Value, field: &str| {
        let mut value = value.clone();
        value.as_object_mut().unwrap().remove(field);
        value
    };
    let exp = claims["exp"].as_i64().unwrap();
    let mut forged = vec![
        format!("{}.{}.", encode(&with(&header, "alg", json!("none"))), parts[1]),
        format!("{}.{}.{}", encode(&with(&header, "alg", json!("none"))), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], encode(&with(&claims, "sub", json!("usr_0"))), parts[2]),
        sign(&"o".repeat(40), &header, &claims),
        sign(&key, &with(&header, "alg", json!("HS512")), &claims),
        sign(&key, &header, &with(&claims, "exp", json!(exp - 24 * 3600))),
        sign(&key, &header, &with(&claims, "nbf", json!(exp + 3600))),
        sign(&key, &header, &with(&claims, "aud", json!("somebody"))),
        sign(&key, &header, &with(&claims, "iss", json!("somebody"))),
        sign(&key, &header, &with(&claims, "sid", json!("0"))),
        admin.token()[..admin.token().len() - 2].to_owned(),
        format!("{}x", admin.token()),
        format!("{}.{}", parts[0], parts[1]),
        "x".to_owned(),
        "..".to_owned(),
        "a".repeat(9000),
    ];
    for claim in ["iss", "aud", "sub", "sid", "exp"] {
        forged.push(sign(&key, &header, &without(&claims, claim)));
    }
    for token in forged {
        try_token(&token).problem("unauthenticated");
    }
    let raw = |value: &str| daemon.client().request("GET", "/me").header("Authorization", value).send();
    for value in ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer ", &format!("Token {}", admin.token())] {
        raw(value).problem("unauthenticated");
    }
    raw(&format!("bearer {}", admin.token())).expect(200);
}

/// After a rotation tokens of the key before are accepted while it is named, and not any more afterwards.
#[test]
fn key_rotation() {
    let (old, new) = ("o".repeat(40), "n".repeat(40));
    let mut daemon = Daemon::with(&[("JWT_SECRET_KEY", &old)]);
    let admin = daemon.admin();
    daemon.stop();
    daemon.set("JWT_SECRET_KEY", &new);
    daemon.set("JWT_SECRET_KEY_PREVIOUS", &old);
    daemon.restart();
    let admin = admin.at(daemon.address());
    let renewed = admin.post_empty("/token/refresh").expect(200).json();
    let renewed = daemon.client().with_token(renewed["access_token"].as_str().unwrap());
    daemon.stop();
    daemon.set("JWT_SECRET_KEY_PREVIOUS", "");
    daemon.restart();
    admin.at(daemon.address()).get("/me").problem("unauthenticated");
    renewed.at(daemon.address()).get("/me").expect(200);
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|octet| octet ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}
