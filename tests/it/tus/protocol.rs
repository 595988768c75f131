//! What tus 1.0.0 demands, sentence by sentence, and what the registry adds: shares, publishing, the log.

use std::net::Shutdown;

use common::role::Role;
use serde_json::json;
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::{oracle, wait};

use super::{OCTETS, create, id, metadata, offset, patch, publish, request, sample};

fn partials(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.data_dir().join("blobs/partial")).map_or(0, Iterator::count)
}

/// "A successful response … MUST contain the Tus-Version header"; without a token, and whatever version the client speaks.
#[test]
fn options() {
    let daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 KiB")]);
    for path in ["/uploads", "/uploads/", "/uploads/01K7Z0000000000000000000AB"] {
        let told = daemon.client().request("OPTIONS", path).header("Tus-Resumable", "0.2.2").send().expect(204);
        assert_eq!((told.need("tus-version"), told.need("tus-resumable")), ("1.0.0", "1.0.0"));
        assert_eq!(told.need("tus-max-size"), "65536");
        let extensions: Vec<&str> = told.need("tus-extension").split(',').collect();
        for extension in ["creation", "creation-defer-length", "creation-with-upload", "checksum", "expiration"] {
            assert!(extensions.contains(&extension), "{extension}");
        }
        assert!(extensions.contains(&"termination") && !extensions.contains(&"concatenation"));
        assert!(told.need("tus-checksum-algorithm").split(',').any(|name| name == "sha1"));
    }
}

/// From the creation to a version; the log knows the version, and which uploads it is made of.
#[test]
fn to_a_version() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(300_000, 1);
    let said = metadata(&[("filename", "weights/m.safetensors"), ("model", "team/m"), ("other", "kept")]);
    let created = request(&carl, "POST", "/uploads")
        .header("Upload-Length", &file.len().to_string())
        .header("Upload-Metadata", &said)
        .send()
        .expect(201);
    assert_eq!((created.need("upload-offset"), created.need("tus-resumable")), ("0", "1.0.0"));
    let path = created.need("location").to_owned();
    let info = created.json();
    assert_eq!((&info["filename"], &info["model"]), (&json!("weights/m.safetensors"), &json!("team/m")));
    assert_eq!((info["length"].as_u64(), info["offset"].as_u64()), (Some(file.len() as u64), Some(0)));

    let mut at = 0;
    for piece in file.chunks(123_457) {
        let head = request(&carl, "HEAD", &path).send().expect(200);
        assert_eq!(
            (head.need("upload-offset"), head.need("upload-length")),
            (&*at.to_string(), &*file.len().to_string())
        );
        assert_eq!((head.need("upload-metadata"), head.need("cache-control")), (said.as_str(), "no-store"));
        assert_eq!(head.header("upload-defer-length"), None);
        publish(&carl, &[&path], "team/m").problem("conflict");
        let told = patch(&carl, &path, at, piece).send().expect(204);
        at += piece.len();
        assert_eq!((told.need("upload-offset"), told.need("tus-resumable")), (&*at.to_string(), "1.0.0"));
        assert!(told.need("upload-expires").ends_with(" GMT"));
    }
    assert_eq!(carl.value("/uploads")["items"][0]["offset"], file.len());
    // Another part is one too many, and none is no harm.
    patch(&carl, &path, at, b"x").send().problem("content-too-large");
    patch(&carl, &path, at, b"").send().expect(204);

    let published = publish(&carl, &[&path], "team/m").expect(201).json();
    assert_eq!((&published["sha256"], &published["version"]), (&json!(sha256(&file)), &json!(1)));
    assert_eq!(published["artifacts"][0]["path"], "weights/m.safetensors");
    assert_eq!(carl.get("/models/team%2Fm/download").expect(200).body, file);
    let gone = request(&carl, "HEAD", &path).send().expect(410);
    assert_eq!(gone.header("upload-offset"), None);
    assert!(publish(&carl, &[&path], "team/m").problem("upload-gone").detail.contains("version 1"));
    assert_eq!((carl.value("/uploads")["total"].as_u64(), partials(&daemon)), (Some(0), 0));

    let log = daemon.log();
    let uploads = log.of("model.upload");
    let ok: Vec<_> = uploads.iter().filter(|entry| entry["outcome"] == "ok").collect();
    assert_eq!(ok.len(), 1);
    assert_eq!(ok[0]["data"]["uploads"], json!([id(&path)]));
    assert_eq!(ok[0]["target"]["digest"], format!("sha256:{}", sha256(&file)));
}

/// Every refusal that the protocol names, and whose uploads are whose.
#[test]
fn refusals() {
    let daemon = Daemon::with(&[("MREG_MAX_UPLOAD_BYTES", "64 KiB")]);
    let carl = daemon.user("carl", Role::Contributor);
    let post = |fields: &[(&str, &str)]| {
        fields
            .iter()
            .fold(request(&carl, "POST", "/uploads"), |request, (name, value)| request.header(name, value))
            .send()
    };
    // "If the version specified by the Client is not supported … 412 … MUST include the Tus-Version header."
    for version in [None, Some("0.2.2"), Some("1.0.1"), Some("")] {
        let bare = carl.request("POST", "/uploads").header("Upload-Length", "1");
        let request = version.iter().fold(bare, |request, version| request.header("Tus-Resumable", version));
        let refused = request.send();
        refused.problem("tus-version");
        assert_eq!((refused.need("tus-version"), refused.need("tus-resumable")), ("1.0.0", "1.0.0"));
    }
    post(&[]).problem("bad-request");
    for wrong in ["-1", "x", "1.5", "", "9007199254740992"] {
        post(&[("Upload-Length", wrong)]).problem("bad-request");
    }
    post(&[("Upload-Defer-Length", "2")]).problem("bad-request");
    post(&[("Upload-Defer-Length", "1"), ("Upload-Length", "1")]).problem("bad-request");
    post(&[("Upload-Length", "65537")]).problem("content-too-large");
    for wrong in ["filename !", "filename YQ==,filename YQ==", "filename YQ"] {
        post(&[("Upload-Length", "1"), ("Upload-Metadata", wrong)]).problem("bad-request");
    }
    for (key, value) in [("filename", "../x"), ("filename", "a\u{202e}b"), ("model", "a/b/c"), ("sha256", "12")] {
        let text = metadata(&[(key, value)]);
        post(&[("Upload-Length", "1"), ("Upload-Metadata", &text)]).invalid(&format!("metadata.{key}"));
    }
    assert_eq!(carl.value("/uploads")["total"], 0, "nothing was created");

    let path = create(&carl, 10, &[("filename", "m.bin")]);
    let wrong = |change: &dyn Fn() -> tests::http::Response, slug: &str| {
        let refused = change();
        refused.problem(slug);
        assert_eq!(refused.need("tus-resumable"), "1.0.0");
        assert_eq!(offset(&carl, &path), 0, "{slug} changes nothing");
    };
    wrong(&|| patch(&carl, &path, 1, b"x").send(), "conflict");
    wrong(
        &|| request(&carl, "PATCH", &path).header("Upload-Offset", "0").body("text/plain", "x").send(),
        "unsupported-media-type",
    );
    wrong(&|| request(&carl, "PATCH", &path).body(OCTETS, "x").send(), "bad-request");
    wrong(&|| request(&carl, "PATCH", &path).header("Upload-Offset", "-1").body(OCTETS, "x").send(), "bad-request");
    wrong(&|| carl.request("PATCH", &path).header("Upload-Offset", "0").body(OCTETS, "x").send(), "tus-version");
    wrong(&|| patch(&carl, &path, 0, b"elevenoctet").send(), "content-too-large");
    wrong(&|| patch(&carl, &path, 0, b"x").header("Upload-Length", "9").send(), "invalid");
    wrong(&|| patch(&carl, &path, 0, b"x").header("Upload-Checksum", "md5 YQ==").send(), "bad-request");
    // A length that nobody said is noticed on the way; what fits may be kept.
    patch(&carl, &path, 0, b"elevenoctet").chunked(11).send().problem("content-too-large");
    assert!(offset(&carl, &path) <= 10);

    // Others don't see it, viewers see none.
    let (other, admin) = (daemon.user("olga", Role::Contributor), daemon.admin());
    for stranger in [&other, &admin] {
        assert_eq!(request(stranger, "HEAD", &path).send().status, 404);
        patch(stranger, &path, 0, b"x").send().problem("not-found");
        request(stranger, "DELETE", &path).send().problem("not-found");
        publish(stranger, &[&path], "m").problem("not-found");
        assert_eq!(stranger.value("/uploads")["total"], 0);
    }
    let viewer = daemon.user("vera", Role::Viewer);
    request(&viewer, "POST", "/uploads").header("Upload-Length", "1").send().problem("forbidden");
    patch(&viewer, &path, 0, b"x").send().problem("forbidden");
    for missing in ["/uploads/01K7Z0000000000000000000AB", "/uploads/x", "/uploads/..%2F..%2Fetc"] {
        assert_eq!(request(&carl, "HEAD", missing).send().status, 404);
    }
    // "For all future requests to this URL, the Server SHOULD respond with the 404 Not Found or 410 Gone."
    let ended = request(&carl, "DELETE", &path).send().expect(204);
    assert_eq!(ended.need("tus-resumable"), "1.0.0");
    let entry = admin.value(&format!("/audit-logs/{}", ended.log_index()))["entry"].clone();
    assert_eq!((&entry["action"], &entry["outcome"]), (&json!("model.upload"), &json!("error")));
    assert_eq!((&entry["data"]["reason"], &entry["data"]["upload"]), (&json!("terminated"), &json!(id(&path))));
    patch(&carl, &path, 0, b"x").send().problem("upload-gone");
    request(&carl, "DELETE", &path).send().problem("upload-gone");
    assert_eq!(partials(&daemon), 0);
}

/// "As long as the length … is not known, the Server MUST set Upload-Defer-Length: 1 in all responses to HEAD requests. …
/// Once set the length MUST NOT be changed."
#[test]
fn deferred_length() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    let created = request(&carl, "POST", "/uploads").header("Upload-Defer-Length", "1").send().expect(201);
    let path = created.need("location").to_owned();
    patch(&carl, &path, 0, &file[..10]).send().expect(204);
    let head = request(&carl, "HEAD", &path).send().expect(200);
    assert_eq!((head.need("upload-defer-length"), head.header("upload-length")), ("1", None));
    publish(&carl, &[&path], "m").problem("conflict");
    patch(&carl, &path, 10, b"").header("Upload-Length", "9").send().problem("invalid");
    let length = file.len().to_string();
    patch(&carl, &path, 10, &file[10..20]).header("Upload-Length", &length).send().expect(204);
    let head = request(&carl, "HEAD", &path).send().expect(200);
    assert_eq!((head.need("upload-length"), head.header("upload-defer-length")), (length.as_str(), None));
    patch(&carl, &path, 20, b"").header("Upload-Length", "999").send().problem("invalid");
    patch(&carl, &path, 20, &file[20..]).header("Upload-Length", &length).send().expect(204);
    // It has no name of its own: it gets the model's.
    let published = publish(&carl, &[&path], "team/m").expect(201).json();
    assert_eq!((&published["filename"], &published["sha256"]), (&json!("m"), &json!(sha256(&file))));
}

/// Octets may come with the creation: some, all, or more than there should be.
#[test]
fn creation_with_upload() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(2);
    let post = |octets: &[u8]| {
        request(&carl, "POST", "/uploads").header("Upload-Length", &file.len().to_string()).body(OCTETS, octets)
    };
    for sent in [0, 7, file.len()] {
        let created = post(&file[..sent]).send().expect(201);
        assert_eq!(created.need("upload-offset"), sent.to_string());
        let path = created.need("location").to_owned();
        patch(&carl, &path, sent, &file[sent..]).send().expect(204);
        assert_eq!(publish(&carl, &[&path], &format!("m{sent}")).expect(201).json()["sha256"], sha256(&file));
    }
    post(&[&file[..], b"x"].concat()).send().problem("content-too-large");
    assert_eq!(carl.value("/uploads")["total"], 0);
    // Refused before a single octet is asked for.
    let viewer = daemon.user("vera", Role::Viewer);
    let request = request(&viewer, "POST", "/uploads").header("Upload-Length", "5").header("Expect", "100-continue");
    let mut connection = viewer.connect();
    connection.write(&request.body(OCTETS, "hello").head_octets()).unwrap();
    let refused = connection.read_response("POST").unwrap();
    refused.problem("forbidden");
    assert!(!refused.continued);
}

/// "In the first two cases the uploaded chunk MUST be discarded, and the upload and its offset MUST NOT be updated."
#[test]
fn checksums() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = b"hello world, hello tus";
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    let with = |at: usize, octets: &[u8], checksum: &str| {
        patch(&carl, &path, at, octets).header("Upload-Checksum", checksum).send()
    };
    // The protocol's own example.
    with(0, b"hello w0rld", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").problem("checksum-mismatch");
    assert_eq!(offset(&carl, &path), 0);
    with(0, b"hello world", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").expect(204);
    assert_eq!(offset(&carl, &path), 11);
    let encode = |octets: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets);
    let sum = |octets: &[u8]| format!("sha256 {}", encode(&hex::decode(sha256(octets)).unwrap()));
    with(11, b", hello TUS", &sum(b", hello tus")).problem("checksum-mismatch");
    for wrong in ["crc32 AAAAAA==", "sha256", "sha256 !", "sha256 AAAA"] {
        with(11, &file[11..], wrong).problem("bad-request");
    }
    // Not all came: nothing of it counts, for it can't be checked.
    let mut cut = carl.connect();
    let request = patch(&carl, &path, 11, &file[11..]).header("Upload-Checksum", &sum(&file[11..]));
    cut.write(&request.head_octets()).unwrap();
    cut.write(b", hel").unwrap();
    cut.stream().shutdown(Shutdown::Write).unwrap();
    assert!(cut.read_response("PATCH").unwrap().status >= 400);
    assert_eq!(offset(&carl, &path), 11);
    with(11, &file[11..], &sum(&file[11..])).expect(204);
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(file));
}

/// "The Server SHOULD always attempt to store as much of the received data as possible."
#[test]
fn a_cut_keeps_what_came() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = sample(1_000_000, 3);
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    let mut at = 0;
    for chunk in [None, Some(5_000)] {
        let mut request = patch(&carl, &path, at, &file[at..]);
        if let Some(octets) = chunk {
            request = request.chunked(octets);
        }
        let mut connection = carl.connect();
        connection.write(&request.head_octets()).unwrap();
        connection.write(&request.body_octets()[..300_000]).unwrap();
        connection.stream().shutdown(Shutdown::Write).unwrap();
        // The answer, if one comes, comes when all is kept.
        let _answer = connection.read_response("PATCH");
        let known = offset(&carl, &path);
        assert!(known >= at + 290_000 && known <= at + 300_000, "{known} after {at}");
        at = known;
    }
    patch(&carl, &path, at, &file[at..]).send().expect(204);
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(&file));
}

/// Two at one upload: the newer takes over from one that stands still, which keeps what it sent; a wrong place disturbs
/// nobody.
#[test]
fn two_at_once() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let file = sample(900_000, 4);
    let path = create(&carl, file.len(), &[("filename", "m.bin")]);
    patch(&carl, &path, 0, &file[..100_000]).send().expect(204);
    let mut standing = carl.connect();
    let request = patch(&carl, &path, 100_000, &file[100_000..]);
    standing.write(&request.head_octets()).unwrap();
    standing.write(&request.body_octets()[..200_000]).unwrap();
    wait::until_true("what was sent to arrive", || {
        let partial = daemon.data_dir().join("blobs/partial").join(id(&path));
        partial.metadata().unwrap().len() >= 300_000
    });
    patch(&carl, &path, 99_999, b"x").send().problem("conflict");
    let refused = patch(&carl, &path, 100_000, &file[100_000..]).send();
    assert!(refused.problem("conflict").detail.contains("300000"), "{}", refused.text());
    assert_eq!(standing.read_response("PATCH").unwrap().status, 409, "the one before is told that it is over");
    assert_eq!(offset(&carl, &path), 300_000);

    // Many at once: each octet gets in once, whoever brings it.
    std::thread::scope(|scope| {
        for _client in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = offset(&carl, &path);
                    if at == file.len() {
                        break;
                    }
                    let end = file.len().min(at + 50_000);
                    let status = patch(&carl, &path, at, &file[at..end]).send().status;
                    assert!(matches!(status, 204 | 409 | 423), "{status}");
                }
            });
        }
    });
    assert_eq!(publish(&carl, &[&path], "m").expect(201).json()["sha256"], sha256(&file));
}

/// "The actual method of the request MUST be ignored."
#[test]
fn overridden_method() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let path = create(&carl, 5, &[("filename", "m.bin")]);
    let post = |method: &str| request(&carl, "POST", &path).header("X-HTTP-Method-Override", method);
    post("PATCH").header("Upload-Offset", "0").body(OCTETS, "hello").send().expect(204);
    assert_eq!(offset(&carl, &path), 5);
    post("DELETE").send().expect(204);
    post("BREW").send().problem("bad-request");
    // Elsewhere it means nothing.
    carl.request("GET", "/models").header("X-HTTP-Method-Override", "DELETE").send().expect(200);
}

/// One user's share: so many, so many octets. What ends makes room.
#[test]
fn shares() {
    let daemon = Daemon::with(&[("MREG_UPLOADS_PER_USER", "2"), ("MREG_UPLOAD_BYTES_PER_USER", "1000")]);
    let carl = daemon.user("carl", Role::Contributor);
    let post =
        |client: &Client, length: &str| request(client, "POST", "/uploads").header("Upload-Length", length).send();
    let first = post(&carl, "600").expect(201).need("location").to_owned();
    post(&carl, "401").problem("too-many-requests");
    post(&carl, "400").expect(201);
    post(&carl, "0").problem("too-many-requests");
    post(&daemon.user("olga", Role::Contributor), "1000").expect(201);
    let status = carl.value("/status")["resumable_uploads"].clone();
    assert_eq!(status, json!({"open": 3, "bytes": 0, "outstanding_bytes": 2000, "expired": 0}));
    request(&carl, "DELETE", &first).send().expect(204);
    // One of no known length takes its share when it gets it.
    let deferred = request(&carl, "POST", "/uploads").header("Upload-Defer-Length", "1").send().expect(201);
    let path = deferred.need("location").to_owned();
    patch(&carl, &path, 0, &[7; 601]).send().problem("too-many-requests");
    patch(&carl, &path, 0, &[7; 500]).send().expect(204);
    patch(&carl, &path, 500, b"").header("Upload-Length", "601").send().problem("too-many-requests");
    patch(&carl, &path, 500, b"").header("Upload-Length", "600").send().expect(204);
    let metrics = String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap();
    assert!(metrics.contains("\nmreg_uploads_resumable_bytes 500\n"), "{metrics}");
}

/// What nobody goes on with is over after its time; that is recorded, told and counted, and its octets go.
#[test]
fn expiry() {
    let mut daemon = Daemon::with(&[("MREG_UPLOAD_EXPIRY", "1s")]);
    let carl = daemon.user("carl", Role::Contributor);
    let path = create(&carl, 100, &[("filename", "m.bin"), ("model", "team/m")]);
    patch(&carl, &path, 0, b"some").send();
    let gone = wait::until("the upload to be over", || {
        let answer = request(&carl, "HEAD", &path).send();
        (answer.status != 200).then_some(answer)
    });
    assert!(matches!(gone.status, 404 | 410), "{}", gone.status);
    wait::until_true("its octets to go", || partials(&daemon) == 0);
    let admin = daemon.admin();
    wait::until_true("it to be counted", || admin.value("/status")["resumable_uploads"]["expired"] == 1);
    let log = daemon.log();
    let uploads = log.of("model.upload");
    let [entry] = uploads.as_slice() else { panic!("{uploads:?}") };
    assert_eq!((&entry["outcome"], &entry["data"]["reason"]), (&json!("error"), &json!("expired")));
    assert_eq!((&entry["actor"]["id"], &entry["data"]["owner"]), (&json!("system"), &json!("carl")));
    assert_eq!((&entry["target"]["id"], &entry["data"]["upload"]), (&json!("team/m"), &json!(id(&path))));
}

/// Several uploads and a file of the form are one version; inspection, policy and rules are those of any version, and what is
/// refused can be tried again.
#[test]
fn one_version_of_several() {
    let daemon = Daemon::with(&[("MREG_SCAN_POLICY", "refuse-malicious")]);
    let carl = daemon.user("carl", Role::Contributor);
    let whole = |name: &str, octets: &[u8], digest: &str| {
        let mut pairs = vec![("filename", name)];
        if !digest.is_empty() {
            pairs.push(("sha256", digest));
        }
        let path = create(&carl, octets.len(), &pairs);
        patch(&carl, &path, 0, octets).send().expect(204);
        path
    };
    let (one, two) = (samples::safetensors(1), samples::safetensors(2));
    let (first, second) = (whole("a/1.safetensors", &one, &sha256(&one)), whole("a/2.safetensors", &two, ""));
    let form = || {
        let form = Form::new().text("upload_id", id(&first)).file("config.json", b"{}").text("name", "sharded");
        form.text("upload_id", id(&second)).text("alias", "candidate")
    };
    // A mistake costs nothing that was sent.
    carl.publish(form().text("version", "0")).invalid("part.version");
    carl.publish(form().text("upload_id", id(&first))).invalid("part.upload_id");
    carl.publish(form().text("upload_id", "x")).invalid("part.upload_id");
    let twice = whole("a/1.safetensors", &one, "");
    carl.publish(form().text("upload_id", id(&twice))).invalid("part.file");
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
    let published = carl.publish(form()).expect(201).json();
    let paths: Vec<&str> =
        published["artifacts"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["a/1.safetensors", "a/2.safetensors", "config.json"]);
    assert_eq!(carl.get("/models/sharded@candidate/download").status, 200);

    let hostile = whole("evil.pkl", &samples::hostile_pickle(), "");
    publish(&carl, &[&hostile], "evil").problem("malicious-content");
    assert_eq!(offset(&carl, &hostile), samples::hostile_pickle().len(), "it is its owner's to end");
    let other = whole("m.safetensors", &one, &sha256(&two));
    publish(&carl, &[&other], "m").problem("digest-mismatch");
    let empty = create(&carl, 0, &[("filename", "m.bin")]);
    publish(&carl, &[&empty], "m").invalid("part.file");
    for path in [&twice, &hostile, &other, &empty] {
        request(&carl, "DELETE", path).send().expect(204);
    }
    assert_eq!((partials(&daemon), oracle::staged(&daemon.data_dir())), (0, 0));
    // The same bytes again are there already, by this way as by any other.
    let again = whole("config.json", b"{}", "");
    let (first, second) = (whole("a/1.safetensors", &one, ""), whole("a/2.safetensors", &two, ""));
    let answer = publish(&carl, &[&again, &first, &second], "sharded").expect(200).json();
    assert_eq!(answer["already_present"], true);
}
