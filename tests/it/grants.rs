//! Grants on names of models: what may be done is said by the name, in every face, and what is out of view is as if it weren't
//! there.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::api::IngestState;
use common::role::Role;
use daemon::http::route::{Access, Body, Endpoint, Route};
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::drop::DropFolder;
use tests::http::{Client, Request, Response};
use tests::multipart::Form;
use tests::samples;

/// Grants as a body has them, from `pattern:what`.
fn grants(texts: &[&str]) -> Value {
    let one = |text: &&str| {
        let (pattern, what) = text.split_once(':').unwrap();
        if what == "deny" {
            json!({"pattern": pattern, "deny": true})
        } else {
            json!({"pattern": pattern, "role": what})
        }
    };
    texts.iter().map(one).collect()
}

#[track_caller]
fn grant(daemon: &Daemon, user: &str, texts: &[&str]) -> Response {
    daemon.admin().patch(&format!("/users/{user}"), &json!({"grants": grants(texts)})).expect(200)
}

/// A user with these grants, signed in.
fn user(daemon: &Daemon, name: &str, role: Role, texts: &[&str]) -> Client {
    let client = daemon.user(name, role);
    grant(daemon, name, texts);
    client
}

fn publish(client: &Client, name: &str, seed: u32) -> Response {
    client.publish(Form::new().text("name", name).file("m.safetensors", &samples::safetensors(seed)))
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

/// An answer without what is different each time, and with one model's names in place of another's.
fn plain(response: &Response, swaps: &[(&str, &str)]) -> (u16, Vec<(String, String)>, String) {
    let told_anew = ["x-request-id", "date", "mregd-log-index", "mregd-log-leaf"];
    let headers = response.headers.iter().filter(|(name, _)| !told_anew.contains(&name.as_str())).cloned().collect();
    let id = response.header("x-request-id").unwrap();
    let text = swaps.iter().fold(response.text().replace(id, "-"), |text, (from, to)| text.replace(from, to));
    (response.status, headers, text)
}

/// They are set, shown, said in the log with what was before, hold from the next request on with the same token, and are
/// checked.
#[test]
fn set_and_shown() {
    let mut daemon = Daemon::start();
    let vera = daemon.user("vera", Role::Viewer);
    publish(&vera, "team/m", 1).problem("forbidden");
    let changed = grant(&daemon, "vera", &["team/*:contributor"]).json();
    let contributor = json!([{"pattern": "team/*", "role": "contributor"}]);
    assert_eq!(changed["grants"], contributor);
    let me = vera.value("/me");
    assert_eq!((&me["grants"], &me["role"]), (&contributor, &json!("viewer")), "the session goes on");
    let admin = daemon.admin();
    assert_eq!(admin.value("/users/vera")["grants"], contributor);
    let row = |name: &str| {
        let page = admin.value("/users");
        page["items"].as_array().unwrap().iter().find(|row| row["username"] == name).unwrap().clone()
    };
    assert_eq!(row("vera")["grants"], contributor);
    assert!(row("admin").get("grants").is_none(), "nothing was granted");
    publish(&vera, "team/m", 1).expect(201);
    publish(&vera, "TEAM/n", 1).expect(201);
    let refused = publish(&vera, "teams/m", 1).problem("forbidden");
    for part in ["model.write", "teams/m", "grant"] {
        assert!(refused.detail.contains(part), "{}", refused.detail);
    }
    // A tag changes with them, and is held against the next change.
    let tag = admin.get("/users/vera").need("etag").to_owned();
    let two = json!({"grants": grants(&["team/*:none", "team/*:viewer"])});
    admin.request("PATCH", "/users/vera").header("If-Match", &tag).json(&two).send().expect(200);
    admin.request("PATCH", "/users/vera").header("If-Match", &tag).json(&two).send().problem("precondition-failed");
    publish(&vera, "team/m", 2).problem("forbidden");
    vera.get("/models/team%2Fm").expect(200);
    // What else is changed leaves them; an empty list takes them away.
    admin.patch("/users/vera", &json!({"role": "contributor"})).expect(200);
    assert_eq!(admin.value("/users/vera")["grants"].as_array().unwrap().len(), 2);
    grant(&daemon, "vera", &[]);
    assert!(admin.value("/users/vera").get("grants").is_none());
    // What is none is refused, each with its place.
    for (body, loc) in [
        (json!([{"pattern": "a b", "role": "viewer"}]), "body.grants[0]"),
        (json!([{"pattern": "a", "role": "viewer"}, {"pattern": "a"}]), "body.grants[1]"),
        (json!([{"pattern": "a", "role": "king"}]), "body.grants[0]"),
        (json!([{"pattern": "a", "role": "viewer", "deny": true}]), "body.grants[0]"),
        (json!([{"pattern": "a", "role": "viewer"}, {"pattern": "A", "role": "viewer"}]), "body.grants[1]"),
        (
            json!((0..65).map(|n| json!({"pattern": format!("m{n}"), "deny": true})).collect::<Vec<_>>()),
            "body.grants[64]",
        ),
    ] {
        let refused = admin.patch("/users/vera", &json!({"grants": body}));
        let problem = refused.problem("invalid");
        let locs: Vec<&str> = problem.errors.iter().map(|error| error.loc.as_str()).collect();
        assert!(locs.iter().any(|found| found.starts_with(loc)), "{loc}: {}", refused.text());
    }
    let many: Vec<Value> = (0..64).map(|n| json!({"pattern": format!("m{n}"), "deny": true})).collect();
    admin.patch("/users/vera", &json!({"grants": many})).expect(200);
    // Whoever may not manage users grants nothing, to nobody.
    vera.patch("/users/vera", &json!({"grants": []})).problem("unauthenticated");
    let auditor = daemon.user("otto", Role::Auditor);
    auditor.patch("/users/otto", &json!({"grants": grants(&["*:admin"])})).problem("forbidden");
    // A user that is removed takes them along: another of the name has none.
    admin.delete("/users/vera").expect(200);
    daemon.user("vera", Role::Viewer);
    assert!(admin.value("/users/vera").get("grants").is_none());
    let log = daemon.log();
    let said = log.of("user.grants");
    assert_eq!(said[0]["data"]["grants"], json!(["team/*:contributor"]));
    assert_eq!(said[1]["data"]["grants_before"], json!(["team/*:contributor"]));
    assert_eq!(said[1]["data"]["grants"], json!(["team/*:none", "team/*:viewer"]));
    assert_eq!((&said[0]["data"]["name"], &said[0]["actor"]["name"]), (&json!("vera"), &json!("admin")));
}

/// A grant is about models alone: it gives no users, no log, no drop folder, and takes none; there is an admin still.
#[test]
fn models_and_nothing_else() {
    let daemon = Daemon::start();
    let vera = user(&daemon, "vera", Role::Viewer, &["*:admin"]);
    publish(&vera, "m", 1).expect(201);
    vera.post("/models/m/versions/1/quarantine", &json!({"reason": "x"})).expect(200);
    vera.post("/models/m/versions/1/release", &json!({"reason": "x"})).expect(200);
    vera.delete("/models/m").expect(200);
    vera.post_empty("/models/m/restore").expect(200);
    vera.get("/quarantine").expect(200);
    for path in ["/users", "/users/vera", "/audit-logs", "/audit-logs/0", "/log/tile/entries/000"] {
        vera.get(path).problem("forbidden");
    }
    vera.post("/ingest/pause", &json!({"reason": "x"})).problem("forbidden");
    vera.patch("/users/vera", &json!({"role": "admin"})).problem("forbidden");
    let otto = user(&daemon, "otto", Role::Auditor, &["*:deny"]);
    assert_eq!(names(&otto.value("/models")), [""; 0]);
    otto.get("/audit-logs").expect(200);
    let admin = daemon.admin();
    // The last admin stays the last admin, whatever is granted to whom.
    admin.patch("/users/admin", &json!({"role": "viewer", "grants": grants(&["*:admin"])})).problem("conflict");
    admin.patch("/users/admin", &json!({"grants": grants(&["*:deny"])})).expect(200);
    admin.get("/models/m").problem("not-found");
    admin.get("/users").expect(200);
    admin.patch("/users/admin", &json!({"grants": []})).expect(200);
    admin.get("/models/m").expect(200);
}

/// Hidden models, one of each kind that a route asks for: held, deleted, with an alias.
struct Hidden {
    daemon: Daemon,
    id: String,
    digest: String,
}

const MALICIOUS: &[u8] = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00idq\x00\x85R.";

impl Hidden {
    fn new() -> Self {
        let daemon = Daemon::start();
        let admin = daemon.admin();
        let published = publish(&admin, "secret/m", 7).expect(201).json();
        admin.publish(Form::new().text("name", "secret/m").file("opt.pkl", MALICIOUS)).expect(201);
        admin.put("/models/secret%2Fm/aliases/live", &json!({"version": 1})).expect(200);
        Self {
            id: published["id"].as_str().unwrap().to_owned(),
            digest: published["artifacts"][0]["digest"].as_str().unwrap().to_owned(),
            daemon,
        }
    }
}

/// A request of an endpoint about a model.
fn request(client: &Client, endpoint: &Endpoint, model: &str, version: &str) -> Request {
    let values =
        [("{id}", model), ("{name}", model), ("{v}", version), ("{path}", "m.safetensors"), ("{alias}", "live")];
    let path = values.iter().fold(endpoint.template.to_owned(), |path, (from, to)| path.replace(from, to));
    assert!(!path.contains('{'), "{path}");
    let path = match endpoint.id {
        "show_excerpt" => format!("{path}?where=opt.pkl@2"),
        _ => path,
    };
    let body = match endpoint.id {
        "set_alias" => r#"{"version":1}"#,
        "patch_model" | "patch_version" => r#"{"description":"x"}"#,
        "add_note" => r#"{"text":"x"}"#,
        _ => r#"{"reason":"x"}"#,
    };
    let request = client.request(endpoint.method, &path);
    match endpoint.body {
        Body::None => request,
        Body::Octets => request.body("application/octet-stream", samples::safetensors(9)),
        Body::Json(_) => request.body("application/json", body),
        Body::JsonOrForm(_) | Body::Multipart(_) | Body::Part => panic!("{}: another kind of body", endpoint.id),
    }
}

/// Every route that takes a model, asked by somebody who may do everything, but with these models nothing: the answer is that
/// to a model that isn't there, octet by octet, by name, by name and number, by alias, by id and by digest.
#[test]
fn what_is_hidden_is_missing() {
    let Hidden { mut daemon, id, digest } = Hidden::new();
    let denied = user(&daemon, "dora", Role::Admin, &["secret/*:deny"]);
    let only = user(&daemon, "olaf", Role::Viewer, &["*:none", "team/*:admin"]);
    let (no_id, no_digest) = ("01ARZ3NDEKTSV4RRFFQ69G5FAV", format!("sha256:{}", "0".repeat(64)));
    let swaps = [("secret/m", "secret/x"), (id.as_str(), no_id), (digest.as_str(), no_digest.as_str())];
    let about_models = |endpoint: &&&Endpoint| {
        endpoint.template.starts_with("/models/{") && matches!(endpoint.access, Access::Permission(_))
    };
    let endpoints: Vec<&&Endpoint> = Route::ALL.iter().filter(about_models).collect();
    assert!(endpoints.len() >= 25, "{}", endpoints.len());
    let before = daemon.admin().value("/models/secret%2Fm");
    let mut asked = BTreeSet::new();
    for endpoint in endpoints {
        for client in [&denied, &only] {
            let references = [
                ("secret%2Fm", "secret%2Fx"),
                ("SECRET%2Fm", "SECRET%2Fx"),
                ("secret%2Fm:1", "secret%2Fx:1"),
                ("secret%2Fm@live", "secret%2Fx@live"),
                (&id, no_id),
                (&digest, &no_digest),
            ];
            for (hidden, missing) in references {
                // To publish there must be a name, and to publish under one that isn't granted is refused alike.
                let by_name = endpoint.id == "publish_file";
                if by_name && !matches!(hidden, "secret%2Fm" | "SECRET%2Fm") {
                    continue;
                }
                for version in ["1", "2", "9"] {
                    let told = request(client, endpoint, hidden, version).send();
                    let of_missing = request(client, endpoint, missing, version).send();
                    let swaps: Vec<(&str, &str)> = swaps.iter().copied().chain([("SECRET/m", "SECRET/x")]).collect();
                    let (told, of_missing) = (plain(&told, &swaps), plain(&of_missing, &[]));
                    assert_eq!(told, of_missing, "{} {hidden} {version}", endpoint.id);
                    let expected = if by_name { 403 } else { 404 };
                    let for_the_model_itself = told.0 == 422 && told.2.contains("path.id");
                    assert!(told.0 == expected || for_the_model_itself, "{} {hidden}: {told:?}", endpoint.id);
                }
            }
            asked.insert(endpoint.id);
        }
    }
    for known in
        ["show_model", "download", "show_card", "show_excerpt", "alias_history", "delete_model", "rescan_version"]
    {
        assert!(asked.contains(known), "{known}");
    }
    // With conditions, ranges and instants it is the same.
    for (path, header) in [("secret%2F_/download", ("Range", "bytes=0-3")), ("secret%2F_", ("If-None-Match", "*"))] {
        let ask = |name: &str| {
            let path = format!("/models/{}", path.replace('_', name));
            denied.request("GET", &path).header(header.0, header.1).send()
        };
        assert_eq!(plain(&ask("m"), &swaps), plain(&ask("x"), &[]));
    }
    let as_of = |name: &str| denied.get(&format!("/models/secret%2F{name}@live?as_of=2030-01-01T00:00:00Z"));
    assert_eq!(plain(&as_of("m"), &swaps), plain(&as_of("x"), &[]));
    assert_eq!(as_of("m").status, 404);
    // Nothing was done, and nobody was told of it in the log's place.
    assert_eq!(daemon.admin().value("/models/secret%2Fm"), before);
    let log = daemon.log();
    let refused = log.of("model.download");
    assert!(refused.iter().any(|entry| entry["data"]["name"] == "secret/m" && entry["data"]["reason"] == "not-found"));
}

/// Octets that are hidden are not touched: that they are damaged or gone shows to nobody who doesn't see the model.
#[test]
fn hidden_octets_are_not_read() {
    let Hidden { mut daemon, id: _, digest } = Hidden::new();
    let denied = user(&daemon, "dora", Role::Admin, &["secret/*:deny"]);
    let hex = digest.strip_prefix("sha256:").unwrap();
    let mut removed = 0;
    let mut folders = vec![daemon.data_dir().join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.path().to_string_lossy().replace('/', "").ends_with(hex)
                || entry.file_name().to_string_lossy().contains(hex)
            {
                fs::remove_file(entry.path()).unwrap();
                removed += 1;
            }
        }
    }
    assert_eq!(removed, 1);
    for path in ["/models/secret%2Fm/versions/1/download", "/models/secret%2Fm/versions/1/files/m.safetensors"] {
        denied.get(path).problem("not-found");
    }
    denied.get(&format!("/models/{digest}/download")).problem("not-found");
    assert_eq!(daemon.admin().value("/status")["scrub"]["damaged"], 0);
    assert!(daemon.admin().get("/models/secret%2Fm/versions/1/download").status >= 500);
    daemon.expect_line("stored data is damaged");
    daemon.expect_line("a stored blob is damaged");
}

/// Lists show what is in view, count nothing else, and their cursors name nothing else, in every order, with every filter
/// and from both ends.
#[test]
fn lists_and_totals() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for (name, number) in
        ["a/one", "b/two", "Hid/den", "hid/e", "hid/f", "team/x", "team/y", "z"].into_iter().zip(0_u32..)
    {
        let form = Form::new().text("name", name).text("tags", r#"{"kind":"k"}"#);
        admin.publish(form.file("m.safetensors", &samples::safetensors(number))).expect(201);
    }
    let otto = user(&daemon, "otto", Role::Viewer, &["hid/*:deny"]);
    let only = user(&daemon, "olaf", Role::Viewer, &["*:none", "team/*:viewer", "b/*:contributor"]);
    let nobody = user(&daemon, "nora", Role::Viewer, &["*:none"]);
    let seen = ["a/one", "b/two", "team/x", "team/y", "z"];
    for (client, seen) in [(&otto, &seen[..]), (&only, &["b/two", "team/x", "team/y"]), (&nobody, &[])] {
        for query in [
            "",
            "&sort=-name",
            "&sort=-updated_at",
            "&sort=updated_at",
            "&sort=created_at",
            "&tag=kind:k",
            "&format=safetensors",
        ] {
            for limit in [1, 2, 3, 50] {
                let (mut all, mut cursor) = (Vec::new(), String::new());
                loop {
                    let page = client.value(&format!("/models?limit={limit}{query}{cursor}"));
                    assert_eq!(page["total"], seen.len(), "{query}");
                    all.extend(names(&page).into_iter().map(str::to_owned));
                    let Some(next) = page["next_cursor"].as_str() else { break };
                    let held = String::from_utf8(URL_SAFE_NO_PAD.decode(next).unwrap()).unwrap();
                    for name in ["hid", "a/one"] {
                        let hex: String = name.bytes().map(|octet| format!("{octet:02x}")).collect();
                        assert!(!held.contains(&hex) && !held.contains(name), "{held}");
                    }
                    cursor = format!("&cursor={next}");
                }
                let mut sorted = all.clone();
                sorted.sort();
                assert_eq!(sorted, seen, "{query} {limit}");
                if query == "&sort=-name" {
                    assert!(all.iter().rev().eq(sorted.iter()));
                }
            }
        }
        // From the end to the beginning, by name.
        let (mut all, mut before) = (Vec::new(), "end".to_owned());
        loop {
            let page = client.value(&format!("/models?limit=2&before={before}"));
            all.splice(0..0, names(&page).into_iter().map(str::to_owned));
            match page["prev_cursor"].as_str() {
                Some(prev) => before = prev.to_owned(),
                None => break,
            }
        }
        assert_eq!(all, seen);
        assert_eq!(client.value("/models?q=den")["total"], 0);
        assert_eq!(client.value("/models?state=deleted")["total"], 0);
    }
    assert_eq!(admin.value("/models")["total"], 8);
    // A cursor is worth nothing to change: what is sealed is read or refused.
    let next = otto.value("/models?limit=1")["next_cursor"].as_str().unwrap().to_owned();
    let mut held = URL_SAFE_NO_PAD.decode(next).unwrap();
    let sealed = held.iter().position(|octet| *octet == b'~').unwrap();
    held[sealed + 40] ^= 1;
    otto.get(&format!("/models?cursor={}", URL_SAFE_NO_PAD.encode(held))).invalid("query.cursor");
    // Deleted ones are shown to those who could restore them, of those alone.
    for name in ["hid%2Fe", "team%2Fx", "b%2Ftwo"] {
        admin.delete(&format!("/models/{name}")).expect(200);
    }
    grant(&daemon, "olaf", &["*:none", "team/*:admin", "b/*:viewer"]);
    let page = only.value("/models?state=deleted");
    assert_eq!((names(&page), &page["total"]), (vec!["team/x"], &json!(1)));
    only.get("/models/b%2Ftwo").problem("not-found");
    only.get("/models/team%2Fx").expect(200);
    only.post_empty("/models/team%2Fx/restore").expect(200);
    assert_eq!(otto.value("/models?state=deleted")["total"], 0);
}

/// The quarantine shows and counts what may be reviewed; a decision takes the right where the model is, and an approval
/// counts as long as whoever gave it has it.
#[test]
fn quarantine() {
    let daemon = Daemon::with(&[("MREG_RELEASE_APPROVALS", "2")]);
    // Whoever published a version has no say in its release.
    let (admin, carl) = (daemon.admin(), daemon.user("carl", Role::Contributor));
    for name in ["hid/a", "hid/b", "team/a", "team/b"] {
        let mut octets = MALICIOUS.to_vec();
        octets.extend_from_slice(name.as_bytes());
        let form = Form::new().text("name", name).file("opt.pkl", &octets);
        assert_eq!(carl.publish(form).expect(201).json()["state"], "quarantined");
    }
    let vera = user(&daemon, "vera", Role::Viewer, &["team/*:admin"]);
    let otto = user(&daemon, "otto", Role::Auditor, &["hid/*:deny"]);
    for client in [&vera, &otto] {
        let page = client.value("/quarantine");
        let found: BTreeSet<&str> = names(&page).into_iter().collect();
        assert_eq!((found, &page["total"]), (BTreeSet::from(["team/a", "team/b"]), &json!(2)));
        let first = client.value("/quarantine?limit=1");
        let next = first["next_cursor"].as_str().unwrap();
        assert!(String::from_utf8(URL_SAFE_NO_PAD.decode(next).unwrap()).unwrap().contains('~'));
        let second = client.value(&format!("/quarantine?limit=1&cursor={next}"));
        assert_ne!(names(&first), names(&second));
        assert_eq!(client.value("/quarantine?q=hid")["total"], 0);
        client.get("/models/team%2Fa/versions/1/review").expect(200);
        client.get("/models/hid%2Fa/versions/1/review").expect(if std::ptr::eq(client, &vera) { 403 } else { 404 });
    }
    assert_eq!(admin.value("/quarantine")["total"], 4);
    let reason = json!({"reason": "fine"});
    vera.post("/models/hid%2Fa/versions/1/release", &reason).problem("forbidden");
    otto.post("/models/hid%2Fa/versions/1/release", &reason).problem("forbidden");
    // An approval of vera's counts while she has the right there.
    vera.post("/models/team%2Fa/versions/1/release", &reason).expect(200);
    let approvals = || admin.value("/models/team%2Fa/versions/1/review")["approvals"].as_array().unwrap().len();
    assert_eq!(approvals(), 1);
    grant(&daemon, "vera", &["team/*:admin", "team/a:deny"]);
    assert_eq!(approvals(), 0);
    grant(&daemon, "vera", &["team/*:admin"]);
    let released = admin.post("/models/team%2Fa/versions/1/release", &reason).expect(200).json();
    assert_eq!(released["state"], "available");
    // Octets of a version that was blocked elsewhere are held, and where that was is not told.
    admin.post("/models/hid%2Fb/versions/1/block", &reason).expect(200);
    let mut octets = MALICIOUS.to_vec();
    octets.extend_from_slice(b"hid/b");
    let held = vera.publish(Form::new().text("name", "team/copy").file("opt.pkl", &octets)).expect(201).json();
    assert_eq!(held["state"], "quarantined");
    assert!(held["state_reason"].as_str().unwrap().contains("blocked for good"), "{held}");
    assert!(!held.to_string().contains("hid/"), "{held}");
}

/// A digest names a version in view, however new others are that have the same file.
#[test]
fn digests() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let octets = samples::safetensors(3);
    let digest = format!("sha256:{}", samples::sha256(&octets));
    let old = admin.upload("team/old", "m.safetensors", &octets);
    let new = admin.upload("hid/new", "m.safetensors", &octets);
    let otto = user(&daemon, "otto", Role::Viewer, &["hid/*:deny"]);
    assert_eq!(admin.value(&format!("/models/{digest}"))["id"], new["id"]);
    assert_eq!(otto.value(&format!("/models/{digest}"))["id"], old["id"]);
    assert_eq!(otto.get(&format!("/models/{digest}/download")).expect(200).body, octets);
    grant(&daemon, "otto", &["*:none"]);
    otto.get(&format!("/models/{digest}")).problem("not-found");
}

/// Publishing goes by the name, whatever way the octets come, and says nothing of what is there.
#[test]
fn publishing() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("secret/m", "m.safetensors", &samples::safetensors(1));
    let ana = user(&daemon, "ana", Role::Contributor, &["secret/*:deny", "prod/*:none", "prod/*:viewer"]);
    let swaps = [("secret/m", "secret/x")];
    let octets = samples::safetensors(2);
    // By form, with the name before the file and after it, and by the file's own name.
    let form = |name: &str, first: bool| {
        let form = Form::new();
        if first {
            form.text("name", name).file("m.safetensors", &octets)
        } else {
            form.file("m.safetensors", &octets).text("name", name)
        }
    };
    for first in [true, false] {
        let told = ana.publish(form("secret/m", first));
        assert_eq!(plain(&told, &swaps), plain(&ana.publish(form("secret/x", first)), &[]));
        assert!(told.problem("forbidden").detail.contains("secret/m"));
        ana.publish(form("prod/m", first)).problem("forbidden");
        ana.publish(form("dev/m", first)).expect(if first { 201 } else { 200 });
    }
    grant(&daemon, "ana", &["m*:deny", "secret/*:deny"]);
    ana.publish(Form::new().file("m.safetensors", &octets)).problem("forbidden");
    ana.publish(Form::new().file("n.safetensors", &octets)).expect(201);
    grant(&daemon, "ana", &["secret/*:deny", "prod/*:none", "prod/*:viewer"]);
    // As it is: refused before an octet of it is asked for.
    for name in ["secret%2Fm", "secret%2Fx", "prod%2Fm"] {
        let request = ana.request("PUT", &format!("/models/{name}/artifact?filename=m.bin"));
        let told = request.header("Expect", "100-continue").body("application/octet-stream", vec![0; 1 << 20]).send();
        assert!(!told.continued);
        told.problem("forbidden");
    }
    // In parts: when it is created, and again when somebody goes on with it.
    let said = |model: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(model);
        let name = base64::engine::general_purpose::STANDARD.encode("m.safetensors");
        format!("model {encoded},filename {name}")
    };
    let create = |model: &str| {
        let request = ana.request("POST", "/uploads").header("Tus-Resumable", "1.0.0");
        request.header("Upload-Length", &octets.len().to_string()).header("Upload-Metadata", &said(model)).send()
    };
    assert_eq!(plain(&create("secret/m"), &swaps), plain(&create("secret/x"), &[]));
    create("secret/m").problem("forbidden");
    let path = create("dev/n").expect(201).need("location").to_owned();
    let append = |offset: usize, octets: &[u8]| {
        let request = ana.request("PATCH", &path).header("Tus-Resumable", "1.0.0");
        request.header("Upload-Offset", &offset.to_string()).body("application/offset+octet-stream", octets).send()
    };
    append(0, &octets[..10]).expect(204);
    grant(&daemon, "ana", &["dev/*:deny"]);
    append(10, &octets[10..]).problem("forbidden");
    grant(&daemon, "ana", &[]);
    append(10, &octets[10..]).expect(204);
    grant(&daemon, "ana", &["secret/*:deny"]);
    let id = path.strip_prefix("/uploads/").unwrap();
    ana.publish(Form::new().text("upload_id", id).text("name", "secret/n")).problem("forbidden");
    ana.publish(Form::new().text("upload_id", id).text("name", "dev/n")).expect(201);
    // An alias that is protected takes the right to it where the model is.
    grant(&daemon, "ana", &["lab/*:admin"]);
    let aliased = |name: &str| form(name, true).text("alias", "prod");
    ana.publish(aliased("dev/p")).problem("forbidden");
    ana.publish(aliased("lab/p")).expect(201);
    ana.put("/models/dev%2Fm/aliases/prod", &json!({"version": 1})).problem("forbidden");
    ana.put("/models/dev%2Fm/aliases/mine", &json!({"version": 1})).expect(200);
    ana.put("/models/lab%2Fp/aliases/prod", &json!({"version": 1})).expect(200);
}

/// What was answered once is not answered again to somebody who may not do it any more; whoever still may gets it.
#[test]
fn repetitions() {
    let daemon = Daemon::start();
    let ana = user(&daemon, "ana", Role::Viewer, &["team/*:admin"]);
    let publish = || {
        let form = Form::new().text("name", "team/m").file("m.safetensors", &samples::safetensors(1));
        ana.request("POST", "/models").header("Idempotency-Key", "p-1").form(form).send()
    };
    let decide = |what: &str| {
        let path = format!("/models/team%2Fm/versions/1/{what}");
        ana.request("POST", &path).header("Idempotency-Key", what).json(&json!({"reason": "x"})).send()
    };
    let first = publish().expect(201).json();
    decide("quarantine").expect(200);
    assert_eq!(publish().json()["receipt"]["index"], first["receipt"]["index"]);
    decide("quarantine").expect(200);
    grant(&daemon, "ana", &["team/*:viewer"]);
    publish().problem("forbidden");
    decide("quarantine").problem("forbidden");
    grant(&daemon, "ana", &["team/*:deny", "t*:admin"]);
    publish().problem("forbidden");
    let told = decide("quarantine");
    told.problem("not-found");
    assert!(!told.text().contains(first["id"].as_str().unwrap()));
    grant(&daemon, "ana", &["team/*:admin"]);
    assert_eq!(publish().json()["receipt"]["index"], first["receipt"]["index"]);
    decide("quarantine").expect(200);
}

/// Two people in one registry, at the same time: each publishes and sees what is theirs, and never the other's.
#[test]
fn side_by_side() {
    let daemon = Daemon::start();
    let of = |name: &str, team: &str| {
        user(&daemon, name, Role::Viewer, &["*:none", &format!("{team}/*:contributor"), "shared/*:viewer"])
    };
    let (ana, bob) = (of("ana", "nlp"), of("bob", "vision"));
    daemon.admin().upload("shared/base", "m.safetensors", &samples::safetensors(99));
    let work = |client: &Client, own: &str, other: &str| {
        for round in 0..8_u32 {
            publish(client, &format!("{own}/m{round}"), round).expect(201);
            publish(client, &format!("{other}/m{round}"), round).problem("forbidden");
            client.get(&format!("/models/{other}%2Fm{round}")).problem("not-found");
            let page = client.value("/models?sort=-updated_at");
            assert_eq!(page["total"], round + 2);
            let theirs = |name: &&str| name.starts_with(own) || *name == "shared/base";
            assert!(names(&page).iter().all(theirs), "{page}");
        }
        publish(client, "shared/base", 1).problem("forbidden");
        client.get("/models/shared%2Fbase/download").expect(200);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(&ana, "nlp", "vision"));
        scope.spawn(|| work(&bob, "vision", "nlp"));
    });
    assert_eq!(daemon.admin().value("/models")["total"], 17);
}

/// The operator grants and takes back on the machine, while the daemon runs and while it doesn't; all of it outlives a restart
/// and a view that is derived anew, and a check finds nothing wrong.
#[test]
fn operator() {
    let mut daemon = Daemon::start();
    let vera = daemon.user("vera", Role::Viewer);
    let run = |daemon: &Daemon, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let output = daemon.run(&words, "");
        let text = String::from_utf8(if output.status.success() { output.stdout } else { output.stderr }).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = run(&daemon, "user grant vera team/* contributor");
    assert_eq!((code, text.as_str()), (Some(0), "granted team/*:contributor to vera\n  team/*:contributor\n"));
    assert_eq!(run(&daemon, "user grant vera team/* contributor").1, "vera has team/*:contributor already\n");
    publish(&vera, "team/m", 1).expect(201);
    run(&daemon, "user grant vera *-tmp deny");
    let (code, text) = run(&daemon, "user grant vera a+b deny");
    assert!(code == Some(64) && text.contains("a+b"), "{code:?} {text}");
    assert_eq!(run(&daemon, "user grant nobody * deny").0, Some(64));
    assert_eq!(run(&daemon, "user ungrant vera team/* admin").0, Some(64));
    daemon.stop();
    let (code, text) = run(&daemon, "user grant vera * none");
    assert_eq!(code, Some(0), "{text}");
    assert!(run(&daemon, "user list").1.contains("vera   viewer  team/*:contributor  *-tmp:deny  *:none"));
    fs::remove_dir_all(daemon.data_dir().join("view")).unwrap();
    daemon.restart();
    let vera = daemon.client().signed_in("vera", &Daemon::password_of("vera"));
    assert_eq!(names(&vera.value("/models")), ["team/m"]);
    assert_eq!(vera.value("/me")["grants"], grants(&["team/*:contributor", "*-tmp:deny", "*:none"]));
    assert_eq!(run(&daemon, "user ungrant vera TEAM/*").0, Some(0));
    assert_eq!(names(&vera.value("/models")), [""; 0]);
    assert_eq!(run(&daemon, "check").0, Some(0));
    let log = daemon.log();
    assert_eq!(log.of("user.grants").len(), 4);
}

/// Whoever acts for a file publishes under granted names alone; the list shows what is in view.
#[test]
fn drop_folder() {
    let owner = format!("{}=vera", rustix::process::getuid().as_raw());
    let folder = DropFolder::with(&[("MREG_DROP_USERS", &owner)]);
    let vera = user(&folder.daemon, "vera", Role::Viewer, &["ok-*:contributor"]);
    let otto = user(&folder.daemon, "otto", Role::Viewer, &["no-*:deny"]);
    folder.copy("ok-m.safetensors", &samples::safetensors(1));
    assert_eq!(
        (folder.arrives("ok-m.safetensors").version(), vera.value("/models")["total"].clone()),
        ("ok-m:1".into(), json!(1))
    );
    folder.copy("no-m.safetensors", &samples::safetensors(2));
    let refused = folder.is_refused("no-m.safetensors");
    assert_eq!(refused.problem(), "forbidden");
    assert!(refused.detail().contains("no-m") && refused.detail().contains("model.write"), "{}", refused.detail());
    let item = folder.reaches("no-m.safetensors", IngestState::Rejected);
    let page = otto.value("/ingest");
    let paths = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((paths(&page), &page["total"]), (vec!["ok-m.safetensors".to_owned()], &json!(1)));
    let nothing = "/ingest/01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let told = otto.get(&format!("/ingest/{}", item.id));
    assert_eq!(plain(&told, &[(&item.id, "01ARZ3NDEKTSV4RRFFQ69G5FAV")]), plain(&otto.get(nothing), &[]));
    told.problem("not-found");
    assert_eq!(vera.value("/ingest")["total"], 2, "a grant that gives more hides nothing");
    // With the right it is taken in.
    grant(&folder.daemon, "vera", &["*:contributor"]);
    folder.admin().post_empty(&format!("/ingest/{}/retry", item.id)).expect(200);
    assert_eq!(folder.arrives("no-m.safetensors").version(), "no-m:1");
    // An admin who is denied a model's name does nothing about its items either.
    let dora = user(&folder.daemon, "dora", Role::Admin, &["no-*:deny"]);
    dora.post_empty(&format!("/ingest/{}/retry", item.id)).problem("not-found");
    dora.post(&format!("/ingest/{}/discard", item.id), &json!({"reason": "x"})).problem("not-found");
}
