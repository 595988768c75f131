//! Publishing: forms as curl sends them, raw bodies, and everything that can be wrong with them (rest-api.md §4).

use std::collections::BTreeSet;
use std::net::Shutdown;

use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::{Client, Response};
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::{oracle, wait};

/// `curl -F file=@model.safetensors` is enough: everything else is found out.
#[test]
fn only_a_file() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    let response = user.publish(Form::new().file("My model (v2).safetensors", &file)).expect(201);
    let published = response.json();
    assert_eq!(published["name"], "My-model-v2");
    assert_eq!(published["version"], 1);
    assert_eq!(published["state"], "available");
    assert_eq!(published["already_present"], false);
    assert_eq!(published["filename"], "My model (v2).safetensors");
    assert_eq!(published["size"], file.len());
    assert_eq!(published["sha256"], sha256(&file));
    assert_eq!(published["format"], "safetensors");
    assert_eq!(published["created_by"], "carl");
    assert_eq!(published["source"], "api");
    let artifact = &published["artifacts"][0];
    assert_eq!(artifact["digest"], format!("sha256:{}", sha256(&file)));
    assert_eq!(artifact["path"], published["filename"]);
    assert!(oracle::is_time(published["created_at"].as_str().unwrap()));
    assert!(published["findings"].as_array().unwrap().is_empty(), "{published}");
    assert_eq!(published["receipt"]["index"], response.log_index());
    assert_eq!(published["log_index"], response.log_index());

    let location = response.need("location");
    assert_eq!(user.value(location)["artifacts"], published["artifacts"]);
    let listed = user.value("/models");
    assert_eq!(listed["items"][0]["id"], published["id"]);
    assert_eq!(listed["total"], 1);
}

/// Every optional part is honoured, in any order.
#[test]
fn every_part_in_any_order() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    type Part = fn(Form, u32) -> Form;
    let parts: [Part; 8] = [
        |form, seed| form.file("m.safetensors", &samples::safetensors(seed)),
        |form, seed| form.text("name", &format!("team/m{seed}")),
        |form, _| form.text("version", "7"),
        |form, _| form.text("description", "Grüße, 世界"),
        |form, _| form.text("tags", "stage:test,lang:de"),
        |form, _| form.text("metadata", r#"{"accuracy": 0.93, "base": {"name": "x"}}"#),
        |form, _| form.text("alias", "candidate"),
        |form, seed| form.text("sha256", &sha256(&samples::safetensors(seed))),
    ];
    for (turn, seed) in (0..parts.len()).zip(10..) {
        let form = (0..parts.len()).fold(Form::new(), |form, at| parts[(at + turn) % parts.len()](form, seed));
        let published = user.publish(form).expect(201).json();
        assert_eq!(published["name"], format!("team/m{seed}"));
        assert_eq!(published["version"], 7);
        assert_eq!(published["description"], "Grüße, 世界");
        assert_eq!(published["aliases"], json!(["candidate"]));
        assert_eq!(published["metadata"]["accuracy"], json!({"value": 0.93, "origin": "claimed"}));
        let model = user.value(&format!("/models/team%2Fm{seed}"));
        assert_eq!(model["tags"], json!({"stage": "test", "lang": "de"}));
        assert_eq!(model["aliases"][0]["alias"], "candidate");
        assert_eq!(model["description"], "Grüße, 世界");
    }
}

/// Several files are one version, and keep their folders.
#[test]
fn several_files() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let form = Form::new()
        .file("config.json", b"{}")
        .file("weights/model-1.safetensors", &samples::safetensors(1))
        .text("name", "sharded")
        .file("weights/model-2.safetensors", &samples::safetensors(2));
    let published = user.publish(form).expect(201).json();
    let paths: Vec<&str> =
        published["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["config.json", "weights/model-1.safetensors", "weights/model-2.safetensors"]);
    for only_of_one in ["filename", "size", "sha256", "format"] {
        assert!(published.get(only_of_one).is_none(), "{only_of_one} is of one file");
    }
    let shown = user.get("/models/sharded/versions/1/files/weights/model-2.safetensors").expect(200);
    assert_eq!(shown.body, samples::safetensors(2));

    let twice =
        Form::new().file("a", &samples::safetensors(3)).file("a", &samples::safetensors(4)).text("name", "twice");
    user.publish(twice).problem("invalid");
}

/// A version of very many files is one entry like any other; too many are refused, and too much text.
#[test]
fn many_files() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let form = |files: u32| {
        (0..files).fold(Form::new().text("name", "many"), |form, at| {
            form.file(&format!("part-{at:05}.safetensors"), &samples::safetensors(at))
        })
    };
    let published = user.publish(form(700)).expect(201).json();
    assert_eq!(published["artifacts"].as_array().unwrap().len(), 700);
    let files = tests::tar::read(&user.get("/models/many/download").expect(200).body);
    assert_eq!(files.len(), 700);
    assert_eq!(files[699], ("part-00699.safetensors".to_owned(), samples::safetensors(699)));
    let long = Form::new().file("m", &samples::safetensors(1)).text("description", &"x".repeat(20_000));
    user.publish(long).invalid("part.description");
    let fits = Form::new().file("long.safetensors", &samples::safetensors(2)).text("description", &"ü".repeat(8_000));
    user.publish(fits).expect(201);
    user.publish(form(20_000)).problem("invalid");
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
}

/// File names that reach out of their folder or deceive a reader are refused.
#[test]
fn hostile_names() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let long = "x".repeat(256);
    let names = [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/./b",
        "..",
        ".",
        "C:/x",
        "a\u{202e}b",
        "a\u{7}b",
        "a\u{200b}b",
        " a",
        "a/ b",
        &long,
        "..\\x",
        "a\\..\\b",
    ];
    for name in names {
        let response = user.publish(Form::new().file(name, &samples::safetensors(1)).text("name", "m"));
        // A control character as it is breaks the part's header already.
        let is_broken = name.contains(char::is_control) && response.status == 400;
        assert!(is_broken || response.status == 422, "{name:?}: {}", response.text());
    }
    let nul = "Content-Disposition: form-data; name=\"file\"; filename=\"a\0b\"";
    let response = user.publish(Form::new().part(nul, b"x").text("name", "m"));
    assert!(matches!(response.status, 400 | 422), "{}", response.text());
    for name in ["%2e%2e%2fx", "a%00b", "%2Fetc%2Fpasswd", "a%E2%80%AEb"] {
        let target = format!("/models/m/artifact?filename={name}");
        let response = user.request("PUT", &target).body("application/octet-stream", samples::safetensors(1)).send();
        assert_eq!(response.status, 422, "{name:?}: {}", response.text());
    }
    for name in ["../m", "a/b/c", ".m", "m:1", "m@x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", &"n".repeat(97)] {
        let response = user.publish(Form::new().file("f", &samples::safetensors(1)).text("name", name));
        response.invalid("part.name");
    }
    assert_eq!(user.value("/models")["total"], 0);
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
}

/// Missing, empty and mistaken parts are refused with their place; nothing is kept.
#[test]
fn refused_forms() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    let with = |name: &str, value: &str| user.publish(Form::new().file("m", &file).text(name, value));
    user.publish(Form::new().text("name", "m")).invalid("part.file");
    user.publish(Form::new()).problem("invalid");
    user.publish(Form::new().file("m", b"")).invalid("part.file");
    with("metadata", "{").invalid("part.metadata");
    with("metadata", "[1]").invalid("part.metadata");
    with("sha256", "12").invalid("part.sha256");
    with("sha256", &"0".repeat(64)).problem("digest-mismatch");
    with("version", "0").invalid("part.version");
    with("version", "latest").invalid("part.version");
    with("alias", "7").invalid("part.alias");
    with("tags", "nocolon").invalid("part.tags");
    with("force_new_version", "maybe").invalid("part.force_new_version");
    with("colour", "red").invalid("part.colour");
    user.publish(Form::new().file("m", &file).text("name", "a").text("name", "b")).problem("invalid");
    user.publish(Form::new().file("...", &file)).problem("invalid");
    let no_name = Form::new().part("Content-Disposition: form-data; name=\"file\"", &file);
    assert_eq!(user.publish(no_name).status, 422);

    let body = |kind: &str, body: Vec<u8>| user.request("POST", "/models").body(kind, body).send();
    body("application/json", b"{}".to_vec()).problem("unsupported-media-type");
    body("multipart/form-data", Form::new().file("m", &file).finish()).problem("bad-request");
    body(&Form::content_type(), Form::new().file("m", &file).cut()).problem("bad-request");
    body(&Form::content_type(), b"garbage".to_vec()).problem("bad-request");

    assert_eq!(user.value("/models")["total"], 0);
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
    let mut daemon = daemon;
    let log = daemon.log();
    let uploads = log.of("model.upload");
    assert!(
        uploads.len() >= 18 && uploads.iter().all(|entry| entry["outcome"] == "error"),
        "every attempt is recorded"
    );
}

/// The same bytes again change nothing; they make a version only if that is asked for.
#[test]
fn again() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let form = || Form::new().file("m.safetensors", &samples::safetensors(1));
    let first = user.publish(form()).expect(201).json();
    let again = user.publish(form()).expect(200).json();
    assert_eq!(again["already_present"], true);
    for field in ["id", "version", "created_at", "artifacts", "log_index"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    let forced = user.publish(form().text("force_new_version", "true")).expect(201).json();
    assert_eq!((&forced["version"], &forced["already_present"]), (&json!(2), &json!(false)));
    let next = user.publish(Form::new().file("m.safetensors", &samples::safetensors(2))).expect(201).json();
    assert_eq!(next["version"], 3);
    assert_eq!(next["id"], first["id"]);

    let explicit = |seed, version: &str| {
        user.publish(Form::new().file("m.safetensors", &samples::safetensors(seed)).text("version", version))
    };
    explicit(9, "3").problem("conflict");
    assert_eq!(explicit(2, "3").expect(200).json()["already_present"], true);
    assert_eq!(explicit(9, "10").expect(201).json()["version"], 10);
    assert_eq!(user.upload("m", "m.safetensors", &samples::safetensors(11))["version"], 11, "numbers go on from there");
    let cased = user.upload("M", "m.safetensors", &samples::safetensors(12));
    assert_eq!((&cased["id"], &cased["version"]), (&first["id"], &json!(12)), "names are unique ignoring case");
}

/// Uploads of one name at the same time all succeed, with different numbers.
#[test]
fn at_once() {
    const UPLOADS: u32 = 12;
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let versions: BTreeSet<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..UPLOADS)
            .map(|seed| {
                let user = &user;
                scope.spawn(move || user.upload("m", "m.safetensors", &samples::safetensors(seed)))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()["version"].as_u64().unwrap()).collect()
    });
    assert_eq!(versions, (1..=u64::from(UPLOADS)).collect());
    let same: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let user = &user;
                scope.spawn(move || user.publish(Form::new().file("same.safetensors", &samples::safetensors(99))))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().json()).collect()
    });
    assert_eq!(same.iter().filter(|published| published["already_present"] == false).count(), 1, "{same:?}");
}

/// A raw body is an upload of one file, with a length or in chunks.
#[test]
fn raw() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(300_000, 1);
    let put = |target: &str| user.request("PUT", target).body("application/octet-stream", file.clone());
    let query = format!("?filename=big.safetensors&sha256={}&tags=a:b&alias=new&description=raw%20one", sha256(&file));
    let published = put(&format!("/models/team%2Fraw/artifact{query}")).send().expect(201).json();
    assert_eq!(published["name"], "team/raw");
    assert_eq!(published["filename"], "big.safetensors");
    assert_eq!(published["sha256"], sha256(&file));
    assert_eq!(published["description"], "raw one");
    assert_eq!(published["aliases"], json!(["new"]));

    let chunked = put("/models/chunked/artifact").chunked(7_001).send().expect(201).json();
    assert_eq!((&chunked["sha256"], &chunked["filename"]), (&published["sha256"], &json!("chunked")));
    assert_eq!(put("/models/chunked/artifact").chunked(64 * 1024).send().expect(200).json()["already_present"], true);
    let form = Form::new().file("f.safetensors", &file).text("name", "chunked-form");
    user.request("POST", "/models").form(form).chunked(1_000).send().expect(201);

    put("/models/m/artifact?sha256=00").send().invalid("query.sha256");
    put(&format!("/models/m/artifact?sha256={}", "0".repeat(64))).send().problem("digest-mismatch");
    put("/models/m/artifact?version=x").send().invalid("query.version");
    put("/models/m/artifact?colour=red").send().invalid("query.colour");
    put("/models/m/artifact?metadata=%7B").send().invalid("query.metadata");
    let empty = user.request("PUT", "/models/m/artifact").body("application/octet-stream", Vec::new()).send();
    assert_eq!(empty.status, 422, "{}", empty.text());
    let bad_name = put("/models/..%2Fm/artifact").send();
    assert!(matches!(bad_name.status, 404 | 422), "{}", bad_name.text());

    let mut none = user.connect();
    let head = format!(
        "PUT /models/m/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        user.token()
    );
    none.write(head.as_bytes()).unwrap();
    none.read_response("PUT").unwrap().problem("length-required");
}

/// The answer to a head with `Expect: 100-continue`, before any octet of the body.
fn expecting(user: &Client, octets: usize) -> Response {
    let request = user
        .request("POST", "/models")
        .header("Expect", "100-continue")
        .header("Content-Length", &octets.to_string())
        .body(&Form::content_type(), Vec::new());
    let mut connection = user.connect();
    connection.write(&request.head_octets()).unwrap();
    connection.read_response("POST").unwrap()
}

/// Whoever may not upload, and what is too large, is told so before a single octet is sent.
#[test]
fn refused_before_continue() {
    let daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 KiB")]);
    let contributor = daemon.user("carl", Role::Contributor);
    let refused = |response: Response, slug: &str| {
        response.problem(slug);
        assert!(!response.continued, "100 Continue was sent before {slug}");
    };
    refused(expecting(&daemon.client(), 1000), "unauthenticated");
    refused(expecting(&daemon.user("vera", Role::Viewer), 1000), "forbidden");
    refused(expecting(&contributor, 10 << 20), "content-too-large");

    let form = Form::new().file("m.safetensors", &samples::safetensors(1));
    let request = contributor.request("POST", "/models").header("Expect", "100-continue").form(form);
    let mut connection = contributor.connect();
    connection.write(&request.head_octets()).unwrap();
    assert_eq!(connection.read_head().unwrap().0, 100);
    connection.write(&request.body_octets()).unwrap();
    connection.read_response("POST").unwrap().expect(201);

    let odd = contributor.request("POST", "/models").header("Expect", "a-miracle").form(Form::new());
    odd.send().problem("expectation-failed");
}

/// Below the watermark nothing is taken, and no octet is asked for.
#[test]
fn below_the_watermark() {
    let mut daemon = Daemon::with(&[("MREG_MIN_FREE_BYTES", "8000 TiB")]);
    daemon.expect_line("not enough free space");
    let user = daemon.user("carl", Role::Contributor);
    let response = expecting(&user, 1000);
    response.problem("storage-full");
    assert!(!response.continued);
    assert_eq!(user.value("/status")["storage"]["below_watermark"], true);
}

/// A body over the limit is refused: by its length at once, in chunks as soon as it is over.
#[test]
fn over_the_limit() {
    let daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 KiB")]);
    let user = daemon.user("carl", Role::Contributor);
    let large = samples::large_safetensors(200 * 1024, 1);
    let fits = samples::large_safetensors(60 * 1024, 1);
    let put = |file: &[u8]| user.request("PUT", "/models/m/artifact").body("application/octet-stream", file);
    put(&large).send().problem("content-too-large");
    put(&large).chunked(8192).send().problem("content-too-large");
    user.publish(Form::new().file("m", &large)).problem("content-too-large");
    let form = Form::new().file("m", &large);
    user.request("POST", "/models").form(form).chunked(8192).send().problem("content-too-large");
    // Two files that fit one by one, but not together.
    let both = Form::new().file("a", &fits).file("b", &fits).text("name", "both");
    user.request("POST", "/models").form(both).chunked(8192).send().problem("content-too-large");
    put(&fits).send().expect(201);
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
    assert_eq!(user.value("/models")["total"], 1);

    // The rest is not read: of an endless body the answer comes while it is being sent.
    let mut connection = user.connect();
    let head = format!(
        "PUT /models/endless/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        user.token()
    );
    connection.write(head.as_bytes()).unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        connection.write(chunk.as_bytes()).unwrap();
    }
    connection.read_response("PUT").unwrap().problem("content-too-large");
}

/// A client that leaves in the middle leaves nothing behind but the entry that it tried.
#[test]
fn client_gone() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(600_000, 1);
    let form = user.request("POST", "/models").form(Form::new().file("m.safetensors", &file));
    let raw = user.request("PUT", "/models/m/artifact").body("application/octet-stream", file);
    let chunked = raw.clone().chunked(10_000);
    for (request, abrupt) in [(&form, false), (&raw, true), (&chunked, false), (&form, true)] {
        let mut connection = user.connect();
        connection.write(&request.head_octets()).unwrap();
        connection.write(&request.body_octets()[..300_000]).unwrap();
        wait::until_true("the upload to be staged", || oracle::staged(&daemon.data_dir()) > 0);
        if !abrupt {
            connection.stream().shutdown(Shutdown::Write).unwrap();
        }
        drop(connection);
        wait::until_true("staging to be empty", || oracle::staged(&daemon.data_dir()) == 0);
    }
    let admin = daemon.admin();
    let failed = || admin.value("/audit-logs?action=model.upload&outcome=error&limit=10")["items"].clone();
    wait::until_true("four attempts to be recorded", || failed().as_array().unwrap().len() == 4);
    let entry = &failed()[0]["entry"];
    assert_eq!(entry["actor"]["name"], "carl");
    assert_eq!(user.value("/models")["total"], 0);
}

/// A repeated Idempotency-Key gets the first answer; with another body it is refused.
#[test]
fn idempotency() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let send = |user: &Client, key: &str, seed: u32| {
        let form = Form::new().file("m.safetensors", &samples::safetensors(seed)).text("force_new_version", "true");
        user.request("POST", "/models").header("Idempotency-Key", key).form(form).send()
    };
    let first = send(&user, "key-1", 1).expect(201).json();
    let replayed = send(&user, "key-1", 1);
    assert!(matches!(replayed.status, 200 | 201), "{}", replayed.text());
    for field in ["id", "version", "created_at", "log_index", "already_present"] {
        assert_eq!(replayed.json()[field], first[field], "{field}");
    }
    send(&user, "key-1", 2).problem("idempotency-key-reused");
    assert_eq!(send(&user, "key-2", 1).expect(201).json()["version"], 2);
    let other = daemon.user("dora", Role::Contributor);
    assert_eq!(send(&other, "key-1", 3).expect(201).json()["version"], 3, "keys are the user's own");
    for key in ["", "a b", "ü", &"k".repeat(256)] {
        let refused = send(&user, key, 4);
        assert!(matches!(refused.status, 400 | 422), "{key:?}: {}", refused.text());
    }
    // An attempt that failed does not use the key up.
    let bad = Form::new().file("m", b"").text("name", "n");
    let bad = user.request("POST", "/models").header("Idempotency-Key", "key-3").form(bad).send();
    bad.problem("invalid");
    send(&user, "key-3", 5).expect(201);

    let admin = daemon.admin();
    let register = |name: &str| {
        let body = json!({"username": name, "password": "a-perfectly-fine-one"});
        admin.request("POST", "/register").header("Idempotency-Key", "r-1").json(&body).send()
    };
    let made = register("erna").expect(201).json();
    let replayed = register("erna");
    assert!(matches!(replayed.status, 200 | 201), "{}", replayed.text());
    assert_eq!(replayed.json()["id"], made["id"]);
    register("egon").problem("idempotency-key-reused");
}

/// The format is what the bytes say, whatever the file is called. Every pickle comes with a warning and a finding.
#[test]
fn formats_by_content() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let publish = |name: &str, filename: &str, file: &[u8]| user.upload(name, filename, file);
    assert_eq!(publish("a", "a.safetensors", &samples::safetensors(1))["format"], "safetensors");
    assert_eq!(publish("b", "b.gguf", &samples::gguf())["format"], "gguf");
    let npy = publish("c", "c.npy", &samples::npy());
    assert_eq!(npy["state"], "available", "{npy}");
    let pickle = publish("d", "d.pkl", &samples::harmless_pickle(1));
    assert_eq!((&pickle["format"], &pickle["state"]), (&json!("pickle"), &json!("available")));
    assert!(!pickle["warnings"].as_array().unwrap().is_empty(), "a pickle comes with a warning: {pickle}");
    let lying = publish("e", "e.pkl", &samples::safetensors(5));
    assert_eq!(lying["format"], "safetensors");

    let disguised = publish("f", "f.safetensors", &samples::hostile_pickle());
    assert_eq!(disguised["format"], "pickle");
    assert!(!disguised["findings"].as_array().unwrap().is_empty(), "{disguised}");
}

/// Under the strict policy every pickle is held back.
#[test]
fn strict_policy() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "strict")]);
    let user = daemon.user("carl", Role::Contributor);
    assert_eq!(user.upload("p", "p.pkl", &samples::harmless_pickle(1))["state"], "quarantined");
    assert_eq!(user.upload("h", "h.safetensors", &samples::hostile_pickle())["state"], "quarantined");
    assert_eq!(user.upload("s", "s.safetensors", &samples::safetensors(1))["state"], "available");
    user.get("/models/p/versions/1/download").problem("model-quarantined");
    daemon.admin().post("/models/p/versions/1/release", &json!({"reason": "looked at"})).expect(200);
    user.get("/models/p/versions/1/download").expect(200);
}
