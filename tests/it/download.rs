//! Handing out bytes: whole, in ranges, conditionally, as tar; what is held back; what is recorded (rest-api.md §4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::role::Role;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::http::{Client, Response};
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::{tar, wait};

fn ranged(client: &Client, target: &str, range: &str) -> Response {
    client.request("GET", target).header("Range", range).send()
}

/// The bytes are those that were uploaded, with the headers that say so.
#[test]
fn whole() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let viewer = daemon.user("vera", Role::Viewer);
    let file = samples::large_safetensors(3_000_000, 7);
    let published = user.upload("m", "weights.safetensors", &file);
    let id = published["id"].as_str().unwrap();
    let digest = format!("sha256:{}", sha256(&file));
    let targets = [
        "/models/m/download".to_owned(),
        "/models/m:1/download".to_owned(),
        format!("/models/{id}/download"),
        format!("/models/{digest}/download"),
        "/models/m/versions/1/download".to_owned(),
        "/models/m/versions/1/files/weights.safetensors".to_owned(),
    ];
    for target in &targets {
        let response = viewer.get(target).expect(200);
        assert!(response.body == file, "{target}: other bytes");
        assert_eq!(response.need("content-length"), file.len().to_string());
        assert_eq!(response.need("accept-ranges"), "bytes");
        assert_eq!(response.need("content-type"), "application/octet-stream");
        let disposition = response.need("content-disposition");
        assert!(disposition.starts_with("attachment; filename=\"weights.safetensors\""), "{disposition}");
        let hash = STANDARD.encode(hex::decode(sha256(&file)).unwrap());
        assert_eq!(response.need("repr-digest"), format!("sha-256=:{hash}:"));
        assert_eq!(response.need("etag"), format!("\"{digest}\""));
        assert!(response.header("last-modified").is_some());
        assert!(response.header("mregd-log-index").is_some(), "the entry is named before the bytes");

        let head = viewer.head(target).expect(200);
        assert!(head.body.is_empty());
        for name in ["content-length", "etag", "content-type", "content-disposition", "accept-ranges", "repr-digest"] {
            assert_eq!(head.header(name), response.header(name), "{target}: {name}");
        }
    }
}

/// One range is honoured in each of its forms, what can't be is refused, and what is no range is ignored.
#[test]
fn ranges() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(700_000, 3);
    user.upload("m", "m.safetensors", &file);
    let target = "/models/m/download";
    let size = file.len();
    let part = |range: &str, from: usize, to: usize| {
        let response = ranged(&user, target, range).expect(206);
        assert_eq!(response.need("content-range"), format!("bytes {from}-{}/{size}", to - 1), "{range}");
        assert_eq!(response.need("content-length"), (to - from).to_string(), "{range}");
        assert!(response.body == file[from..to], "{range}: other bytes");
    };
    part("bytes=0-99", 0, 100);
    part("bytes=100-", 100, size);
    part("bytes=-100", size - 100, size);
    part("bytes=0-0", 0, 1);
    part(&format!("bytes=0-{size}"), 0, size);
    part(&format!("bytes={}-", size - 1), size - 1, size);
    part(&format!("bytes=-{}", size * 2), 0, size);
    part("bytes=262143-262145", 262_143, 262_146);

    for range in [format!("bytes={size}-"), format!("bytes={}-{}", size + 5, size + 9), "bytes=-0".to_owned()] {
        let response = ranged(&user, target, &range);
        response.problem("range-not-satisfiable");
        assert_eq!(response.need("content-range"), format!("bytes */{size}"), "{range}");
    }
    let ignored = [
        "bytes=5-1",
        "bytes=a-b",
        "bytes",
        "bytes=",
        "bytes=-",
        "lines=0-1",
        "bytes=0-1,5-6",
        "bytes=1",
        "bytes=99999999999999999999999-",
        "bytes=0--5",
    ];
    for range in ignored {
        let response = ranged(&user, target, range);
        // A number beyond any size is behind the end, and may be told so.
        assert!(
            response.status == 200 && response.body == file || response.status == 416,
            "{range}: {}",
            response.status
        );
    }
    let head = user.request("HEAD", target).header("Range", "bytes=0-9").send();
    assert!(matches!(head.status, 200 | 206), "{}", head.status);
}

/// Conditions are judged as RFC 9110 says: If-None-Match, If-Match, If-Range, If-Modified-Since.
#[test]
fn conditions() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    user.upload("m", "m.safetensors", &file);
    let target = "/models/m/download";
    let first = user.get(target).expect(200);
    let (etag, date) = (first.need("etag").to_owned(), first.need("last-modified").to_owned());
    let with = |headers: &[(&str, &str)]| {
        headers.iter().fold(user.request("GET", target), |request, (name, value)| request.header(name, value)).send()
    };
    for value in [etag.as_str(), "*", &format!("W/{etag}"), &format!("\"x\", {etag}")] {
        let response = with(&[("If-None-Match", value)]).expect(304);
        assert_eq!(response.need("etag"), etag);
        assert!(response.body.is_empty());
    }
    with(&[("If-None-Match", "\"x\"")]).expect(200);
    with(&[("If-Match", &etag)]).expect(200);
    with(&[("If-Match", "\"x\"")]).problem("precondition-failed");
    with(&[("If-Modified-Since", &date)]).expect(304);
    with(&[("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")]).expect(200);
    with(&[("If-None-Match", "\"x\""), ("If-Modified-Since", &date)]).expect(200);

    let range = ("Range", "bytes=0-9");
    assert_eq!(with(&[range, ("If-Range", &etag)]).expect(206).body, file[..10]);
    assert_eq!(with(&[range, ("If-Range", "\"x\"")]).expect(200).body, file);
    assert_eq!(with(&[range, ("If-Range", &format!("W/{etag}"))]).expect(200).body, file, "weak tags don't do");
    assert_eq!(with(&[range, ("If-Range", "Sat, 01 Jan 2000 00:00:00 GMT")]).expect(200).body, file);
    with(&[range, ("If-None-Match", &etag)]).expect(304);
}

/// Several files come as a tar stream that any tar reads; each also comes alone.
#[test]
fn several_as_tar() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let long = format!("{}/{}.safetensors", "d".repeat(120), "f".repeat(200));
    let files = [
        ("a.safetensors", samples::safetensors(1)),
        ("sub/b.safetensors", samples::large_safetensors(1_000_000, 2)),
        ("sub/grüße.safetensors", samples::safetensors(3)),
        (long.as_str(), samples::safetensors(4)),
    ];
    let form = files.iter().fold(Form::new().text("name", "many"), |form, (path, file)| form.file(path, file));
    user.publish(form).expect(201);
    let response = user.get("/models/many/download").expect(200);
    assert_eq!(response.need("content-type"), "application/x-tar");
    assert!(response.need("content-disposition").contains(".tar"), "{}", response.need("content-disposition"));
    let mut wanted: Vec<(String, Vec<u8>)> =
        files.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect();
    wanted.sort();
    let mut got: Vec<(String, Vec<u8>)> = tar::read(&response.body)
        .into_iter()
        .map(|(path, file)| (path.strip_prefix("./").unwrap_or(&path).to_owned(), file))
        .collect();
    got.sort();
    assert!(got == wanted, "{:?}", got.iter().map(|(path, file)| (path, file.len())).collect::<Vec<_>>());
    let length = user.head("/models/many/download").expect(200);
    if let Some(length) = length.header("content-length") {
        assert_eq!(length, response.body.len().to_string());
    }
    let etag = response.need("etag");
    user.request("GET", "/models/many/download").header("If-None-Match", etag).send().expect(304);
    let one = user.get("/models/many/versions/1/files/sub/gr%C3%BC%C3%9Fe.safetensors").expect(200);
    assert_eq!(one.body, samples::safetensors(3));
    let encoded = user.get("/models/many/versions/1/files/sub%2Fb.safetensors").expect(200);
    assert_eq!(encoded.body.len(), files[1].1.len());
    user.get("/models/many/versions/1/files/sub").problem("not-found");
    user.get("/models/many/versions/1/files/../a.safetensors").problem("not-found");
    user.get("/models/many/versions/1/files/..%2Fa.safetensors").problem("not-found");
}

/// Names with quotes, spaces and other scripts survive the Content-Disposition header (RFC 6266).
#[test]
fn odd_names() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    for (seed, name) in
        (0..).zip(["a b.bin", "q\"uote.bin", "grüße.bin", "世界.bin", "semi;colon.bin", "per%20cent.bin"])
    {
        let model = format!("odd{seed}");
        user.upload(&model, name, &samples::safetensors(seed));
        let admin = daemon.admin();
        // A suffix that says nothing may be held back; the names are what is looked at here.
        let _released = admin.post(&format!("/models/{model}/versions/1/release"), &json!({"reason": "test"}));
        let response = user.get(&format!("/models/{model}/download")).expect(200);
        let disposition = response.need("content-disposition");
        assert!(disposition.is_ascii() && disposition.starts_with("attachment; filename=\""), "{disposition}");
        let plain = disposition.split("filename=\"").nth(1).unwrap();
        let plain = plain.replace("\\\"", "").split('"').next().unwrap().to_owned();
        assert!(!plain.is_empty() && !plain.contains('/'), "{disposition}");
        if !name.is_ascii() {
            let encoded = disposition.split("filename*=UTF-8''").nth(1).expect("an extended name");
            let decoded = percent_decode(encoded.split(';').next().unwrap());
            assert_eq!(decoded, name, "{disposition}");
        }
    }
}

fn percent_decode(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).unwrap()
}

/// What is held in quarantine is handed out on no route, to nobody, and what is deleted is not there.
#[test]
fn held_back() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    let file = samples::safetensors(1);
    user.upload("m", "m.safetensors", &file);
    admin.put("/models/m/aliases/live", &json!({"version": 1})).expect(200);
    admin.post("/models/m/versions/1/quarantine", &json!({"reason": "a test"})).expect(200);
    let digest = format!("sha256:{}", sha256(&file));
    let targets = [
        "/models/m:1/download".to_owned(),
        "/models/m@live/download".to_owned(),
        format!("/models/{digest}/download"),
        "/models/m/versions/1/download".to_owned(),
        "/models/m/versions/1/files/m.safetensors".to_owned(),
        "/models/m/download".to_owned(),
    ];
    for target in &targets {
        for client in [&user, &admin] {
            for range in [None, Some("bytes=0-9")] {
                let request = client.request("GET", target);
                let request = if let Some(range) = range { request.header("Range", range) } else { request };
                let refused = request.send();
                refused.problem("model-quarantined");
                assert_eq!(client.head(target).status, 403, "{target}");
            }
        }
    }
    // An earlier version that is available is the latest again.
    user.upload("m", "m.safetensors", &samples::safetensors(2));
    admin.post("/models/m/versions/2/quarantine", &json!({"reason": "a test"})).expect(200);
    admin.post("/models/m/versions/1/release", &json!({"reason": "a test"})).expect(200);
    assert_eq!(user.get("/models/m/download").expect(200).body, file);

    admin.delete("/models/m/versions/1").problem("conflict");
    admin.delete("/models/m/aliases/live").expect(200);
    admin.delete("/models/m/versions/1").expect(200);
    user.get("/models/m/versions/1/download").problem("not-found");
    user.get("/models/m:1/download").problem("not-found");
    user.get("/models/m@live/download").problem("not-found");
    admin.delete("/models/m").expect(200);
    for target in &targets {
        user.get(target).problem("not-found");
    }
    for target in ["/models/nothing/download", "/models/m/versions/9/download", "/models/m/versions/x/download"] {
        user.get(target).problem("not-found");
    }
}

/// A deprecated version is handed out still.
#[test]
fn deprecated() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    daemon.admin().post("/models/m/versions/1/deprecate", &json!({"reason": "old"})).expect(200);
    assert_eq!(user.value("/models/m/versions/1")["state"], "deprecated");
    assert_eq!(user.get("/models/m/versions/1/download").expect(200).body, samples::safetensors(1));
}

/// The log has an entry before the first octet and one with what was sent at the end; also of a download that is cut.
#[test]
fn entries() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(30_000_000, 1);
    let published = user.upload("m", "m.safetensors", &file);
    let whole = user.get("/models/m/download").expect(200).log_index();
    let part = ranged(&user, "/models/m/download", "bytes=0-99").expect(206).log_index();

    let request = user.request("GET", "/models/m/download");
    let mut connection = user.connect();
    connection.write(&request.head_octets()).unwrap();
    let (status, headers) = connection.read_head().unwrap();
    assert_eq!(status, 200);
    let cut: u64 = headers.iter().find(|(name, _)| name == "mregd-log-index").unwrap().1.parse().unwrap();
    let _some = connection.read_exact(1000).unwrap();
    drop(connection);

    let admin = daemon.admin();
    let ends = || admin.value("/audit-logs?action=model.download_end&limit=10")["items"].as_array().unwrap().clone();
    wait::until_true("the end of each download to be recorded", || ends().len() == 3);
    user.get("/models/m/versions/7/download").problem("not-found");

    let log = daemon.log();
    for index in [whole, part, cut] {
        let entry = &log.entries[usize::try_from(index).unwrap()];
        assert_eq!((&entry["action"], &entry["outcome"]), (&json!("model.download"), &json!("ok")));
        assert_eq!(entry["actor"]["name"], "carl");
        assert_eq!(entry["target"]["id"], published["id"]);
    }
    let sent: Vec<u64> = log.of("model.download_end").iter().map(|entry| octets_of(entry)).collect();
    assert_eq!(sent.iter().filter(|sent| **sent == file.len() as u64).count(), 1, "{sent:?}");
    assert!(sent.contains(&100), "{sent:?}");
    assert!(sent.iter().any(|sent| (1000..file.len() as u64).contains(sent)), "{sent:?}");
    assert!(log.of("model.download").iter().any(|entry| entry["outcome"] == "error"), "the miss is recorded");
}

/// The largest number in an end's data: the octets sent.
fn octets_of(entry: &Value) -> u64 {
    entry["data"].as_object().unwrap().values().filter_map(Value::as_u64).max().unwrap_or_default()
}
