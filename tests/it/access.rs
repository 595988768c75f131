//! Who may call what: every endpoint of the route table by every role. The expectation is written down here, one line
//! each, and not taken from the table it checks: a new endpoint fails until somebody decides.

use std::collections::BTreeSet;

use common::role::Role;
use daemon::http::route::{Body, Endpoint, Route};
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::{Client, Request};
use tests::samples;

/// Who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anyone,
    SignedIn,
    /// Admin and contributor.
    Writers,
    /// Admin and auditor.
    Auditors,
    Admins,
    /// Nobody over the network.
    Operator,
}

use Who::{Admins, Anyone, Auditors, Operator, SignedIn, Writers};

/// Endpoint, who, and a body that would do.
const EXPECTED: &[(&str, Who, &str)] = &[
    ("index", Anyone, ""),
    ("live", Anyone, ""),
    ("ready", Anyone, ""),
    ("metrics", Anyone, ""),
    ("build_info", Anyone, ""),
    ("openapi", Anyone, ""),
    ("docs", Anyone, ""),
    ("docs_asset", Anyone, ""),
    ("redoc", Anyone, ""),
    ("redoc_asset", Anyone, ""),
    ("problem", Anyone, ""),
    ("problems", Anyone, ""),
    ("login", Anyone, r#"{"username":"nobody","password":"wrong-wrong-1"}"#),
    ("refresh", SignedIn, ""),
    ("logout", SignedIn, ""),
    ("me", SignedIn, ""),
    ("change_own_password", SignedIn, r#"{"old_password":"not-the-old-one","new_password":"never-to-be-set-1"}"#),
    ("enrol_totp", SignedIn, r#"{"password":"not-the-old-one"}"#),
    ("confirm_totp", SignedIn, r#"{"code":"000000"}"#),
    ("disable_totp", SignedIn, r#"{"password":"not-the-old-one","code":"000000"}"#),
    ("status", SignedIn, ""),
    ("list_roles", SignedIn, ""),
    ("register", Admins, r#"{"username":"x","password":"short"}"#),
    ("list_users", Admins, ""),
    ("show_user", Admins, ""),
    ("patch_user", Admins, "{}"),
    ("delete_user", Admins, ""),
    ("revoke_sessions", Admins, ""),
    ("reset_totp", Admins, ""),
    ("set_password", Admins, r#"{"password":"short"}"#),
    // Others' tokens are refused all the same: `tokens.rs` has that.
    ("list_tokens", SignedIn, ""),
    ("create_token", SignedIn, r#"{"label":"x"}"#),
    ("show_token", SignedIn, ""),
    ("revoke_token", SignedIn, ""),
    ("rotate_token", SignedIn, "{}"),
    ("show_own_quota", SignedIn, ""),
    ("list_quotas", Admins, ""),
    ("show_quota", Admins, ""),
    ("set_quota", Admins, "{}"),
    ("clear_quota", Admins, ""),
    ("list_retention", Admins, ""),
    ("show_retention", Admins, ""),
    ("set_retention", Admins, r#"{"pattern":"nothing/*","action":"purge"}"#),
    ("delete_retention", Admins, ""),
    ("preview_retention", Admins, ""),
    ("preview_unsaved", Admins, r#"{"pattern":"nothing/*","action":"purge"}"#),
    ("run_retention", Admins, ""),
    ("list_models", SignedIn, ""),
    ("show_model", SignedIn, ""),
    ("list_versions", SignedIn, ""),
    ("show_version", SignedIn, ""),
    ("show_card", SignedIn, ""),
    ("download", SignedIn, ""),
    ("download_version", SignedIn, ""),
    ("download_file", SignedIn, ""),
    ("alias_history", SignedIn, ""),
    ("publish", Writers, ""),
    ("publish_file", Writers, ""),
    ("patch_model", Writers, "{}"),
    ("patch_version", Writers, "{}"),
    ("set_alias", Writers, r#"{"version":1}"#),
    ("clear_alias", Writers, ""),
    ("delete_model", Admins, ""),
    ("restore_model", Admins, ""),
    ("delete_models", Admins, ""),
    ("restore_models", Admins, ""),
    ("delete_version", Admins, ""),
    ("restore_version", Admins, ""),
    ("release_version", Admins, r#"{"reason":"x"}"#),
    ("quarantine_version", Admins, r#"{"reason":"x"}"#),
    ("deprecate_version", Admins, r#"{"reason":"x"}"#),
    ("block_version", Admins, r#"{"reason":"x"}"#),
    ("rescan_version", Writers, ""),
    ("list_quarantine", Auditors, ""),
    ("show_review", Auditors, ""),
    ("add_note", Admins, r#"{"text":"x"}"#),
    ("show_excerpt", Admins, ""),
    ("list_scan_rules", SignedIn, ""),
    ("upload_options", Anyone, ""),
    ("upload_options_of", Anyone, ""),
    ("list_uploads", Writers, ""),
    ("create_upload", Writers, ""),
    ("show_upload", Writers, ""),
    ("append_upload", Writers, ""),
    ("end_upload", Writers, ""),
    ("list_ingest", SignedIn, ""),
    ("show_ingest", SignedIn, ""),
    ("retry_ingest", Admins, ""),
    ("discard_ingest", Admins, r#"{"reason":"x"}"#),
    ("pause_ingest", Admins, r#"{"reason":"x"}"#),
    ("resume_ingest", Admins, "{}"),
    ("list_webhooks", Admins, ""),
    ("create_webhook", Admins, "{}"),
    ("show_webhook", Admins, ""),
    ("patch_webhook", Admins, "{}"),
    ("delete_webhook", Admins, ""),
    ("test_webhook", Admins, ""),
    ("rotate_webhook_secret", Admins, "{}"),
    ("replay_webhook", Admins, r#"{"from":0}"#),
    ("list_deliveries", Admins, ""),
    ("replay_delivery", Admins, ""),
    ("list_audit", Auditors, ""),
    ("stream_audit", Auditors, ""),
    ("show_audit_entry", Auditors, ""),
    ("locate_audit", Auditors, ""),
    ("acknowledge_alarm", SignedIn, r#"{"reason":"x","kind":"fork","what":"x"}"#),
    ("log_checkpoint", Anyone, ""),
    ("log_tile", Anyone, ""),
    ("log_bundle", Auditors, ""),
    ("log_consistency", Anyone, ""),
    // Others' entries are refused all the same: `log.rs` has that.
    ("log_proof", SignedIn, ""),
    ("log_checkpoint_witnessed", Anyone, ""),
    ("log_vkeys", Anyone, ""),
    ("rotate_log_key", Operator, "{}"),
    ("check", Operator, "{}"),
    ("collect", Operator, "{}"),
    ("hold_backup", Operator, ""),
    (
        "report_backup",
        Operator,
        r#"{"deed":"create","generation":"g","size":1,"root":"","blobs":0,"bytes":0,"seconds":0}"#,
    ),
];

impl Who {
    fn lets_in(self, role: Option<Role>) -> bool {
        match (self, role) {
            (Operator, _) => false,
            (Anyone, _) | (SignedIn, Some(_)) | (_, Some(Role::Admin)) => true,
            (Writers, Some(role)) => role == Role::Contributor,
            (Auditors, Some(role)) => role == Role::Auditor,
            (Admins, Some(_)) | (_, None) => false,
        }
    }
}

fn expected(endpoint: &Endpoint) -> (Who, &'static str) {
    let found = EXPECTED.iter().find(|(id, _, _)| *id == endpoint.id);
    let (_, who, body) = found.unwrap_or_else(|| panic!("nobody has decided who may call {}", endpoint.id));
    (*who, body)
}

/// A path of the endpoint on which nothing is: whoever is let in learns that, the others don't.
fn path_of(endpoint: &Endpoint) -> String {
    let values = [
        ("{id}", "nothing"),
        ("{name}", "nothing"),
        ("{v}", "1"),
        ("{path}", "m.bin"),
        ("{alias}", "live"),
        ("{item}", "01K7Z0000000000000000000AB"),
        ("{upload}", "01K7Z0000000000000000000AB"),
        ("{token}", "0123456789abcdef"),
        ("{hook}", "01K7Z0000000000000000000AB"),
        ("{delivery}", "msg_nothing"),
        ("{kind}", "users"),
        ("{account}", "nothing"),
        ("{rule}", "nothing"),
        ("{slug}", "nothing"),
        ("{asset}", "nothing"),
        ("{index}", "9007199254740991"),
        ("{level}", "0"),
        ("{tile}", "x999/000"),
        ("{old}", "1"),
        ("{new}", "9007199254740991"),
    ];
    let path = values.iter().fold(endpoint.template.to_owned(), |path, (from, to)| path.replace(from, to));
    assert!(!path.contains('{'), "{path}");
    // One that is let in would go on for ever.
    match endpoint.id {
        "stream_audit" => format!("{path}?after={}", u64::MAX),
        "show_excerpt" => format!("{path}?where=m.bin"),
        _ => path,
    }
}

fn request_of(client: &Client, endpoint: &Endpoint, body: &str) -> Request {
    let request = client.request(endpoint.method, &path_of(endpoint));
    match endpoint.body {
        Body::None => request,
        Body::Json(_) | Body::JsonOrForm(_) => request.body("application/json", body),
        Body::Multipart(_) => request.form(tests::multipart::Form::new()),
        Body::Part => request.header("Tus-Resumable", "1.0.0").body("application/offset+octet-stream", Vec::new()),
        Body::Octets => request.body("application/octet-stream", Vec::new()),
    }
}

/// The list above is the table's, no more and no less.
#[test]
fn every_endpoint_is_decided() {
    let ids: BTreeSet<&str> = Route::ALL.iter().map(|endpoint| endpoint.id).collect();
    let decided: BTreeSet<&str> = EXPECTED.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(ids, decided);
    assert_eq!(decided.len(), EXPECTED.len(), "none is decided twice");
}

/// Every role is let in where it should be and refused where not; HEAD as GET.
#[test]
fn every_endpoint_by_every_role() {
    // Logging out comes last, for it ends the session.
    let (last, first): (Vec<_>, Vec<_>) = Route::ALL.iter().copied().partition(|endpoint| endpoint.id == "logout");
    let all: Vec<&Endpoint> = first.into_iter().chain(last).collect();
    // A daemon for some of them at a time: it refuses anonymous callers 120 times a minute, and HEAD counts, too.
    for some in all.chunks(50) {
        let daemon = Daemon::start();
        let clients: Vec<(Option<Role>, Client)> = std::iter::once((None, daemon.client()))
            .chain(Role::ALL.map(|role| (Some(role), daemon.user(role.as_str().trim_end_matches("min"), role))))
            .collect();
        for endpoint in some {
            by_every_role(endpoint, &clients);
        }
    }
}

fn by_every_role(endpoint: &Endpoint, clients: &[(Option<Role>, Client)]) {
    let (who, body) = expected(endpoint);
    for (role, client) in clients {
        let response = request_of(client, endpoint, body).send();
        let told = format!("{} by {role:?}: {} {}", endpoint.id, response.status, response.text());
        if who.lets_in(*role) {
            let kind = response.status;
            let about_rights = match kind {
                401 => !response.text().contains("bad-credentials"),
                403 => true,
                _ => false,
            };
            assert!(!about_rights && kind < 500, "{told}");
        } else if role.is_none() {
            response.problem("unauthenticated");
        } else {
            response.problem("forbidden");
        }
        if endpoint.method == "GET" {
            assert_eq!(client.head(&path_of(endpoint)).status, response.status, "HEAD {told}");
        }
    }
}

/// Whoever may not, learns nothing from the rest of the request: rights are judged before body, query and existence.
#[test]
fn rights_come_first() {
    let daemon = Daemon::start();
    let viewer = daemon.user("vera", Role::Viewer);
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    for model in ["m", "nothing", "..", "%00"] {
        viewer.delete(&format!("/models/{model}?colour=red")).problem("forbidden");
        viewer.request("PATCH", &format!("/models/{model}")).body("text/plain", "garbage").send().problem("forbidden");
        daemon.client().get(&format!("/models/{model}?colour=red")).problem("unauthenticated");
    }
    for name in ["admin", "nobody"] {
        viewer.get(&format!("/users/{name}")).problem("forbidden");
        viewer.patch(&format!("/users/{name}"), &json!({"role": "king"})).problem("forbidden");
    }
    viewer.publish(tests::multipart::Form::new()).problem("forbidden");
    viewer.request("POST", "/models").body("text/plain", "garbage").send().problem("forbidden");
}

/// What a role is told it may, it may: `GET /me` is in step with what is refused.
#[test]
fn me_tells_the_truth() {
    let daemon = Daemon::start();
    for role in Role::ALL {
        let client = daemon.user(&format!("{role}-x"), role);
        let me = client.value("/me");
        let has = |permission: &str| me["permissions"].as_array().unwrap().contains(&Value::from(permission));
        assert_eq!(client.get("/users").status == 200, has("user.manage"), "{role}");
        assert_eq!(client.get("/quarantine").status == 200, has("quarantine.read"), "{role}");
        assert_eq!(client.get("/audit-logs").status == 200, has("audit.read"), "{role}");
        assert_eq!(client.patch("/models/nothing", &json!({})).status == 404, has("model.write"), "{role}");
        assert_eq!(client.delete("/models/nothing").status == 404, has("model.delete"), "{role}");
        assert_eq!(client.get("/models").status == 200, has("model.read"), "{role}");
    }
}
