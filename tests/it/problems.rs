//! Every problem type can be met, is documented where its `type` points, and has the headers of its status.

use std::collections::BTreeSet;

use common::problem::ProblemType;
use common::role::Role;
use serde_json::json;
use tests::daemon::Daemon;
use tests::http::Response;
use tests::multipart::Form;
use tests::samples;

/// Types that can't be made to happen from outside a healthy daemon, and where they are tested instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("internal", "it takes a defect"),
    ("audit-unavailable", "it takes a journal that can't be written: recovery.rs and the daemon's unit tests"),
    ("unavailable", "overload.rs: more connections than allowed"),
    ("overloaded", "overload.rs: more requests than allowed"),
    ("request-timeout", "limits.rs: a body that stands still"),
    ("headers-too-large", "limits.rs: a head that is too large"),
    ("upload-busy", "tus/protocol.rs: many at one upload may meet it"),
    ("storage-full", "upload.rs: below the watermark"),
    ("storage-unavailable", "s3.rs: an object store that is away"),
    ("malicious-content", "inspection.rs: a policy that takes none in"),
    ("too-many-requests", "login.rs: the lockout"),
    ("second-factor-required", "totp.rs: a sign-in without a code"),
    ("second-factor-enrolment", "totp.rs: one that is demanded and not there"),
    ("password-change-required", "login.rs: a password set by an admin"),
];

/// Each type is met, or it is said where.
#[test]
fn every_type_is_met() {
    let daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 KiB")]);
    let carl = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    carl.upload("held", "m.safetensors", &samples::safetensors(2));
    admin.post("/models/held/versions/1/quarantine", &json!({"reason": "test"})).expect(200);
    let mut met = BTreeSet::new();
    let mut meet = |slug: &str, response: Response| {
        response.problem(slug);
        met.insert(slug.to_owned());
    };
    meet("bad-request", carl.get("/models/%zz"));
    meet("unauthenticated", daemon.client().get("/me"));
    meet("bad-credentials", daemon.client().login("nobody", "wrong-wrong-wrong-1"));
    meet("forbidden", carl.get("/users"));
    meet("model-quarantined", carl.get("/models/held/versions/1/download"));
    meet("not-found", carl.get("/nothing"));
    meet("method-not-allowed", carl.request("PUT", "/models").send());
    meet("not-acceptable", admin.request("GET", "/audit-logs").header("Accept", "image/png").send());
    meet("conflict", admin.delete("/users/admin"));
    let mut bare = carl.connect();
    let head = format!("PUT /models/x/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", carl.token());
    bare.write(head.as_bytes()).unwrap();
    meet("length-required", bare.read_response("PUT").unwrap());
    let stale = carl.request("PATCH", "/models/m").header("If-Match", "\"x\"");
    meet("precondition-failed", stale.json(&json!({"description": "x"})).send());
    meet("content-too-large", carl.publish(Form::new().file("m", &samples::large_safetensors(100_000, 1))));
    meet("unsupported-media-type", carl.request("POST", "/models").body("text/plain", "x").send());
    meet("range-not-satisfiable", carl.request("GET", "/models/m/download").header("Range", "bytes=9999-").send());
    meet("expectation-failed", carl.request("GET", "/models").header("Expect", "miracles").send());
    meet("invalid", carl.get("/models?limit=0"));
    let other = Form::new().file("m", &samples::safetensors(3)).text("sha256", &"0".repeat(64));
    meet("digest-mismatch", carl.publish(other));
    meet("weak-password", admin.post("/register", &json!({"username": "x", "password": "short"})));
    let upload = carl.request("POST", "/uploads").header("Upload-Length", "5");
    meet("tus-version", upload.send());
    let created = upload.header("Tus-Resumable", "1.0.0").send().expect(201);
    let of = |method: &str| carl.request(method, created.need("location")).header("Tus-Resumable", "1.0.0");
    let part = of("PATCH").header("Upload-Offset", "0").body("application/offset+octet-stream", "hello");
    let checksum = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    meet("checksum-mismatch", part.clone().header("Upload-Checksum", checksum).send());
    of("DELETE").send().expect(204);
    meet("upload-gone", part.send());
    let keyed = |seed| {
        let form = Form::new().file("k", &samples::safetensors(seed));
        carl.request("POST", "/models").header("Idempotency-Key", "k").form(form).send()
    };
    keyed(4).expect(201);
    meet("idempotency-key-reused", keyed(5));
    admin.put("/quotas/users/carl", &json!({"bytes": 1})).expect(200);
    meet("quota-exceeded", carl.publish(Form::new().file("q", &samples::safetensors(6))));

    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|(slug, _)| (*slug).to_owned()).collect();
    let all: BTreeSet<String> = ProblemType::ALL.iter().map(|kind| kind.slug().to_owned()).collect();
    assert_eq!(met.union(&elsewhere).cloned().collect::<BTreeSet<_>>(), all);
    assert!(met.is_disjoint(&elsewhere), "said to be elsewhere, but met here");
}

/// Each `type` can be looked up, without a token.
#[test]
fn every_type_is_documented() {
    let daemon = Daemon::start();
    for kind in ProblemType::ALL {
        let page = daemon.client().get(&kind.uri()).expect(200);
        assert_eq!(page.need("content-type"), "text/plain; charset=utf-8");
        for part in [kind.title(), kind.text(), &kind.status().to_string()] {
            assert!(page.text().contains(part), "{}: {}", kind.slug(), page.text());
        }
    }
    daemon.client().get("/problems/nothing").problem("not-found");
}

/// A request's id comes back in header and problem where it is sane, else a new one is given.
#[test]
fn request_ids() {
    let daemon = Daemon::start();
    let ask = |id: &str| daemon.client().request("GET", "/nothing").header("X-Request-Id", id).send();
    let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(ask(uuid).problem("not-found").instance, format!("urn:uuid:{uuid}"));
    let response = ask("my-own-id");
    assert_eq!(response.need("x-request-id"), "my-own-id");
    for odd in ["", "a b", "a\"b", &"x".repeat(200), "<script>"] {
        let response = ask(odd);
        assert_ne!(response.need("x-request-id"), odd);
        assert!(response.problem("not-found").instance.starts_with("urn:uuid:"));
    }
    let first = daemon.client().get("/livez").need("x-request-id").to_owned();
    assert_ne!(first, daemon.client().get("/livez").need("x-request-id"));
}

/// A known path with a method it lacks is 405 and tells those it has.
#[test]
fn methods() {
    let daemon = Daemon::start();
    for (method, path, allow) in [
        ("PUT", "/models", "GET, HEAD, POST, DELETE"),
        ("GET", "/login", "POST"),
        ("PUT", "/users/x", "GET, HEAD, PATCH, DELETE"),
        ("OPTIONS", "/me", "GET, HEAD"),
        ("BREW", "/livez", "GET, HEAD"),
        ("POST", "/models/m/aliases/a", "PUT, DELETE"),
    ] {
        let response = daemon.client().request(method, path).send();
        response.problem("method-not-allowed");
        assert_eq!(response.need("allow"), allow);
    }
}

/// A trailing slash is accepted everywhere; two are not.
#[test]
fn trailing_slash() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for path in ["/models/", "/me/", "/users/admin/", "/livez/", "/docs/"] {
        admin.get(path).expect(200);
    }
    admin.get("/models//").expect_not_found();
    admin.get("//models").expect_not_found();
}

trait NotFound {
    fn expect_not_found(&self);
}

impl NotFound for Response {
    fn expect_not_found(&self) {
        assert!(matches!(self.status, 400 | 404), "{}", self.text());
    }
}
