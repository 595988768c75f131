//! A proxy in front: who is believed about whom it asks for, and the sample for nginx, run by a real one.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::nginx::Nginx;
use tests::samples::{self, sha256};
use tests::wait;

/// The newest entry of a refusal, as the log has it.
fn newest_denied(daemon: &Daemon) -> Value {
    daemon.admin().value("/audit-logs?outcome=denied&limit=1")["items"][0].clone()
}

fn ip_of(row: &Value) -> Option<String> {
    row["entry"]["req"]["ip"].as_str().map(str::to_owned)
}

/// Only who is named is believed, only in the header that was chosen, and only about the last hop that is not a proxy.
#[test]
fn who_is_believed() {
    for (proxies, by, header, value, wanted) in [
        ("127.0.0.0/8", "", "X-Forwarded-For", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1,10.0.0.0/8", "", "X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("192.0.2.1", "", "X-Forwarded-For", "6.6.6.6", "127.0.0.1"),
        ("", "", "X-Forwarded-For", "6.6.6.6", "127.0.0.1"),
        ("127.0.0.1", "", "Forwarded", "for=6.6.6.6", "127.0.0.1"),
        ("127.0.0.1", "forwarded", "Forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=https", "2001:db8::7"),
        ("127.0.0.1", "forwarded", "X-Forwarded-For", "6.6.6.6", "127.0.0.1"),
    ] {
        let daemon = Daemon::with(&[("MREG_TRUSTED_PROXIES", proxies), ("MREG_FORWARDED_BY", by)]);
        let request = daemon.client().request("GET", "/models").header(header, value).header("X-Request-Id", "theirs");
        let response = request.send();
        response.problem("unauthenticated");
        let row = newest_denied(&daemon);
        assert_eq!(ip_of(&row).as_deref(), Some(wanted), "{proxies} {header}: {value}: {row}");
        // An id is taken from a proxy; from anyone, where there is none.
        let is_taken = proxies != "192.0.2.1";
        assert_eq!(response.header("x-request-id") == Some("theirs"), is_taken, "{proxies}");
        let https = response.header("strict-transport-security").is_some();
        assert_eq!(https, value.contains("https") && wanted == "2001:db8::7");
        // The line of the request has the same address.
        wait::until_true("the request's line", || {
            daemon
                .stderr()
                .iter()
                .any(|line| line.contains("\"route\":\"/models\"") && line.contains(&format!("\"ip\":\"{wanted}\"")))
        });
    }
}

/// What is said of a proxy must fit together.
#[test]
fn settings() {
    let daemon = Daemon::prepared(&[("MREG_TRUSTED_PROXIES", "0.0.0.0/0"), ("MREG_SEND_FILE", "x-accel")]);
    let told = String::from_utf8(daemon.run(&["config", "check"], "").stderr).unwrap();
    assert!(told.contains("everybody"), "{told}");
    let daemon = Daemon::prepared(&[("MREG_SEND_FILE", "x-accel")]);
    let told = String::from_utf8(daemon.run(&["config", "check"], "").stderr).unwrap();
    assert!(told.contains("MREG_TRUSTED_PROXIES does not name it"), "{told}");
    let daemon = Daemon::prepared(&[("MREG_TRUSTED_PROXIES", "unix")]);
    let told = String::from_utf8(daemon.run(&["config", "check"], "").stderr).unwrap();
    assert!(told.contains("MREG_LISTEN names no socket"), "{told}");
}

/// Whom nobody named never gets a path instead of bytes, whatever they send.
#[test]
fn strangers_get_bytes() {
    let daemon = Daemon::with(&[("MREG_TRUSTED_PROXIES", "192.0.2.1"), ("MREG_SEND_FILE", "x-accel")]);
    daemon.admin().upload("m", "m.bin", b"octets");
    let request = daemon.admin().request("GET", "/models/m/download").header("X-Forwarded-For", "192.0.2.1");
    let response = request.header("X-Accel-Redirect", "/internal-blobs/").header("X-Real-IP", "192.0.2.1").send();
    assert_eq!(response.header("x-accel-redirect"), None);
    assert_eq!(response.expect(200).body, b"octets");
}

/// The fields of an answer's head, the last one's where there are several.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().rev().find_map(|line| {
        let (said, value) = line.split_once(':')?;
        said.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn through(nginx: &Nginx, daemon: &Daemon) {
    let token = daemon.admin().token().to_owned();
    let auth = format!("Authorization: Bearer {token}");
    let octets = samples::large_safetensors(24 << 20, 5);
    let (up, down) = (nginx.folder().join("up"), nginx.folder().join("down"));
    let (up, down_path) = (up.display().to_string(), down.display().to_string());
    fs::write(&up, &octets).unwrap();
    nginx.curl(&["-f", "-H", &auth, "-T", &up, &nginx.url("/models/m/artifact?filename=m.safetensors")]);
    let target = nginx.url("/models/m/download");

    let get = |more: &[&str]| {
        let head = nginx.curl(&[&["-D", "-", "-o", &down_path, "-H", &auth], more, &[target.as_str()]].concat());
        (head, fs::read(&down).unwrap_or_default())
    };
    // The same from the daemon, for its fields. Who asks from here is a proxy, too, and would be given the place.
    let direct = daemon.admin().head("/models/m/download").expect(200);
    for version in ["--http1.1", "--http2"] {
        let (head, body) = get(&[version]);
        assert!(body == octets, "{head}");
        for name in [
            "etag",
            "last-modified",
            "repr-digest",
            "content-type",
            "content-disposition",
            "cache-control",
            "x-content-type-options",
            "content-length",
            "accept-ranges",
        ] {
            assert_eq!(field(&head, name), direct.header(name), "{name}: {head}");
        }
        assert_eq!(field(&head, "strict-transport-security"), Some("max-age=31536000"), "{head}");
        assert_eq!(field(&head, "x-accel-redirect"), None, "{head}");
        let index: u64 = field(&head, "mregd-log-index").expect("its entry").parse().unwrap();
        let entry = daemon.admin().value(&format!("/audit-logs/{index}"));
        assert!(entry.to_string().contains("model.download"), "{entry}");
        let id = field(&head, "x-request-id").expect("an id").to_owned();
        assert!(entry.to_string().contains(&id), "{id}: {entry}");
    }
    let part = |range: &str| {
        octets[range.split_once('-').map(|(from, to)| from.parse().unwrap()..to.parse::<usize>().unwrap() + 1).unwrap()]
            .to_vec()
    };
    let (head, body) = get(&["-H", "Range: bytes=1000-999999"]);
    assert!(head.contains(" 206") && body == part("1000-999999"), "{head}");
    assert_eq!(field(&head, "content-range"), Some(format!("bytes 1000-999999/{}", octets.len()).as_str()));
    let etag = direct.need("etag").to_owned();
    let (head, body) = get(&["-H", "Range: bytes=0-9", "-H", &format!("If-Range: {etag}")]);
    assert!(head.contains(" 206") && body == part("0-9"), "{head}");
    let (head, body) = get(&["-H", "Range: bytes=0-9", "-H", "If-Range: \"other\""]);
    assert!(head.contains(" 200") && body == octets, "{head}");
    let (head, _) = get(&["-H", &format!("If-None-Match: {etag}")]);
    assert!(head.contains(" 304"), "{head}");
    let (head, _) = get(&["-H", "Range: bytes=99999999999-"]);
    assert!(head.contains(" 416"), "{head}");
    let (head, body) = get(&["-H", &format!("If-Match: {etag}")]);
    assert!(head.contains(" 200") && body == octets, "{head}");
    let head = nginx.curl(&["-I", "-H", &auth, &target]);
    assert_eq!(field(&head, "content-length"), direct.header("content-length"));
    // Nobody comes to the files by themselves, nor by asking for it.
    let hex = sha256(&octets);
    let hex = hex.trim_start_matches("sha256:");
    let inside = format!("/internal-blobs/sha256/{}/{}", &hex[..2], &hex[2..]);
    let told = nginx.curl(&["-i", "-H", &auth, &nginx.url(&inside)]);
    assert!(told.contains(" 404"), "{told}");
    let told = nginx.curl(&["-i", "-H", &format!("X-Accel-Redirect: {inside}"), &nginx.url("/models/m/download")]);
    assert!(told.contains(" 401"), "{told}");
    // What the client says of itself does not get through.
    nginx.curl(&["-H", "X-Forwarded-For: 6.6.6.6", "-H", "Forwarded: for=6.6.6.6", &nginx.url("/models")]);
    assert_eq!(ip_of(&newest_denied(daemon)).as_deref(), Some("127.0.0.1"));
    // The live tail comes at once, through the buffers that there are not.
    let mut tail = Command::new("curl")
        .args(["-sSN", "--max-time", "60", "--cacert", &nginx.ca().path(), "-H", &auth])
        .arg(nginx.url("/audit-logs/stream"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(tail.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().starts_with("retry:"));
    let entry = daemon.admin().upload("n", "n.bin", b"octets")["receipt"]["index"].as_u64().unwrap();
    assert!(lines.any(|line| line.unwrap() == format!("id: {entry}")));
    let _ = tail.kill();
    let _ = tail.wait();
    daemon.ledger().add_secret(&token);
}

/// The sample over TCP, with nginx sending: bytes, ranges, conditions and fields as without it, and nothing to be had around
/// the gate.
#[test]
fn nginx_sends() {
    let daemon = Daemon::with(&[("MREG_TRUSTED_PROXIES", "127.0.0.1"), ("MREG_SEND_FILE", "x-accel")]);
    let nginx = Nginx::in_tls(&daemon.address().to_string(), &daemon.data_dir().join("blobs"));
    through(&nginx, &daemon);
    // It was nginx that sent, and the log says so.
    wait::until_true("the end of a hand-out", || {
        let rows = daemon.admin().value("/audit-logs?action=model.download_end&limit=50");
        rows.to_string().contains("\"sent_by\":\"proxy\"")
    });
}

/// The same over a socket, with mregd sending.
#[test]
fn nginx_over_a_socket() {
    let folder = TempDir::with_prefix("mreg-socket-").unwrap();
    let socket = format!("unix:{}", folder.path().join("api.sock").display());
    let daemon = Daemon::with(&[("MREG_TRUSTED_PROXIES", "unix"), ("MREG_LISTEN", &socket)]);
    let nginx = Nginx::in_tls(&socket, &daemon.data_dir().join("blobs"));
    through(&nginx, &daemon);
}
