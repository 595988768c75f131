//! Bounds, stops and starts: what a slow, greedy or absent client, a second daemon or a wrong setting gets.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::role::Role;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::{oracle, wait};

/// A head that does not get complete ends the connection, however slowly it drips.
#[test]
fn slow_head() {
    let daemon = Daemon::with(&[("MREG_HEADER_TIMEOUT_SECONDS", "1")]);
    let mut connection = daemon.client().connect();
    connection.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
    let began = Instant::now();
    while began.elapsed() < wait::DEADLINE {
        // Sending may fail once the daemon has closed.
        let _ = connection.write(b"X-Drip: 1\r\n");
        if connection.is_closed_within(Duration::from_millis(300)) {
            return;
        }
    }
    panic!("the head dripped for {:?}", began.elapsed());
}

/// A head that is too large is refused with 431.
#[test]
fn large_head() {
    let daemon = Daemon::start();
    let large = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(80 * 1024));
    let many: String = (0..150).map(|at| format!("X-Field-{at}: x\r\n")).collect();
    for head in [large, format!("GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n")] {
        let mut connection = daemon.client().connect();
        // The daemon may answer and close before all of it is sent.
        let _ = connection.write(head.as_bytes());
        assert_eq!(connection.read_unchecked("GET").unwrap().status, 431);
    }
    let fits = daemon.client().request("GET", "/livez").header("X-Large", &"x".repeat(30 * 1024)).send();
    fits.expect(200);
}

/// A connection on which nothing is asked is closed, later than load balancers would.
#[test]
fn idle() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let mut fresh = client.connect();
    let mut used = client.connect();
    let request = client.request("GET", "/livez").header("Connection", "keep-alive");
    used.write(&request.head_octets()).unwrap();
    used.read_response("GET").unwrap().expect(200);
    let began = Instant::now();
    assert!(fresh.is_closed_within(Duration::from_secs(120)), "a connection that never asked is open");
    assert!(used.is_closed_within(Duration::from_secs(60)), "a connection that asked once is open");
    assert!(began.elapsed() > Duration::from_secs(60), "closed after {:?}", began.elapsed());
}

/// HTTP/2 is spoken to whoever begins with its preface (RFC 9113 §3.3).
#[test]
fn http2() {
    let daemon = Daemon::start();
    let mut connection = daemon.client().connect();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let mut octets = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
        octets.extend_from_slice(payload);
        octets
    };
    // HPACK (RFC 7541): GET and http from the static table, path and authority as literals.
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(0x04, "/livez"), (0x01, "localhost")] {
        fields.extend_from_slice(&[name, u8::try_from(value.len()).unwrap()]);
        fields.extend_from_slice(value.as_bytes());
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    connection.write(&[&preface[..], &frame(4, 0, 0, &[]), &frame(1, 5, 1, &fields)].concat()).unwrap();
    loop {
        let head = connection.read_exact(9).unwrap();
        let payload = connection.read_exact(usize::from(head[1]) << 8 | usize::from(head[2])).unwrap();
        assert_ne!(head[3], 7, "GOAWAY: {payload:?}");
        if head[3] == 1 {
            assert_eq!((head[8], payload[0]), (1, 0x88), ":status 200 on stream 1");
            return;
        }
    }
}

/// What is no HTTP is refused or cut, and never served.
#[test]
fn no_http() {
    let daemon = Daemon::start();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    ] {
        let mut connection = daemon.client().connect();
        connection.write(garbage).unwrap();
        connection.stream().shutdown(Shutdown::Write).unwrap();
        if let Ok(response) = connection.read_unchecked("GET") {
            assert!((400..500).contains(&response.status) || response.status == 501 || response.status == 505);
        }
    }
    daemon.client().get("/livez").expect(200);
}

/// Two ways to say where a body ends are one too many (request smuggling, RFC 9112 §6.1).
#[test]
fn two_lengths() {
    let daemon = Daemon::start();
    let mut connection = daemon.client().connect();
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.write(format!("{head}0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let first = connection.read_unchecked("POST").unwrap();
    assert!((400..500).contains(&first.status), "{}", first.status);
    if first.status == 400 {
        assert!(connection.read_unchecked("GET").is_err(), "what follows is not another request");
    }
}

/// A body that stands still is given up with 408; nothing is kept of it.
#[test]
fn slow_body() {
    let daemon = Daemon::with(&[("MREG_BODY_IDLE_SECONDS", "3")]);
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(200_000, 1);
    let upload = user.request("POST", "/models").form(Form::new().file("m.safetensors", &file));
    let mut connection = user.connect();
    connection.write(&upload.head_octets()).unwrap();
    connection.write(&upload.body_octets()[..100_000]).unwrap();
    let response = connection.read_response("POST").unwrap();
    response.problem("request-timeout");
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(oracle::staged(&daemon.data_dir()), 0);
    let entries = daemon.admin().value("/audit-logs?action=model.upload");
    assert_eq!(entries["items"][0]["entry"]["req"]["status"], 408, "the entry says what was answered");

    let mut login = daemon.client().connect();
    login.write(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{\"username\"").unwrap();
    login.read_response("POST").unwrap().problem("request-timeout");

    // A slow body that moves is fine, for longer than one may stand still.
    let mut steady = user.connect();
    steady.write(&upload.head_octets()).unwrap();
    for part in upload.body_octets().chunks(25_000) {
        std::thread::sleep(Duration::from_millis(400));
        steady.write(part).unwrap();
    }
    steady.read_response("POST").unwrap().expect(201);
}

/// A reader that takes nothing is cut, and its download's end is recorded.
#[test]
fn slow_reader() {
    let mut daemon = Daemon::with(&[("MREG_BODY_IDLE_SECONDS", "3")]);
    daemon.expect_line("an answer was cut");
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(24_000_000, 1);
    user.upload("m", "m.safetensors", &file);
    let mut connection = user.connect();
    connection.write(&user.request("GET", "/models/m/download").head_octets()).unwrap();
    let (status, _) = connection.read_head().unwrap();
    assert_eq!(status, 200);
    let admin = daemon.admin();
    wait::until_true("the end of the download to be recorded", || {
        !admin.value("/audit-logs?action=model.download_end")["items"].as_array().unwrap().is_empty()
    });
    let rest = connection.read_to_end();
    assert!(rest.len() < file.len(), "it was cut");
}

/// Many requests go over one connection, bodies that are not read included or the connection closed.
#[test]
fn keep_alive() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let mut connection = client.connect();
    for method in ["GET", "HEAD", "GET"] {
        let request = client.request(method, "/version").header("Connection", "keep-alive");
        connection.write(&request.head_octets()).unwrap();
        connection.read_response(method).unwrap().expect(200);
    }
    // Pipelined: answers come in order.
    let get = |target: &str| client.request("GET", target).header("Connection", "keep-alive").head_octets();
    connection.write(&[get("/livez"), get("/nothing"), get("/version")].concat()).unwrap();
    let statuses: Vec<u16> = (0..3).map(|_| connection.read_response("GET").unwrap().status).collect();
    assert_eq!(statuses, [200, 404, 200]);

    let ignored =
        client.request("POST", "/nothing").header("Connection", "keep-alive").body("text/plain", "x".repeat(100));
    let mut connection = client.connect();
    connection.write(&ignored.head_octets()).unwrap();
    connection.write(&ignored.body_octets()).unwrap();
    let first = connection.read_response("POST").unwrap();
    first.problem("not-found");
    if first.header("connection") != Some("close") {
        connection.write(&get("/livez")).unwrap();
        connection.read_response("GET").unwrap().expect(200);
    }
}

/// JSON bodies have a bound of their own.
#[test]
fn large_json() {
    let daemon = Daemon::start();
    let body = json!({"username": "admin", "password": "x".repeat(4 << 20)});
    let refused = daemon.client().post("/login", &body);
    refused.problem("content-too-large");
    let chunked = daemon.client().request("POST", "/login").json(&body).chunked(64 * 1024).send();
    chunked.problem("content-too-large");
    let nested = "[".repeat(10_000);
    daemon.client().request("POST", "/login").body("application/json", nested).send().problem("invalid");
}

/// A stop lets running transfers end, takes nothing new, and says so in the log.
#[test]
fn graceful_stop() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(20_000_000, 1);
    user.upload("m", "m.safetensors", &file);

    let mut download = user.connect();
    download.write(&user.request("GET", "/models/m/download").head_octets()).unwrap();
    assert_eq!(download.read_head().unwrap().0, 200);
    let late = samples::large_safetensors(200_000, 9);
    let upload = user.request("POST", "/models").form(Form::new().file("late.safetensors", &late));
    let mut uploading = user.connect();
    uploading.write(&upload.head_octets()).unwrap();
    let body = upload.body_octets();
    uploading.write(&body[..150_000]).unwrap();
    let mut idle = user.connect();
    idle.write(&user.request("GET", "/livez").header("Connection", "keep-alive").head_octets()).unwrap();
    idle.read_response("GET").unwrap().expect(200);
    wait::until_true("the upload to be staged", || oracle::staged(&daemon.data_dir()) > 0);

    daemon.signal(Signal::TERM);
    wait::until_true("new connections to be refused", || std::net::TcpStream::connect(daemon.address()).is_err());
    assert!(idle.is_closed_within(wait::DEADLINE), "idle connections are closed");
    uploading.write(&body[150_000..]).unwrap();
    let published = uploading.read_response("POST").unwrap().expect(201).json();
    assert_eq!(published["name"], "late");
    assert!(download.read_exact(file.len()).unwrap() == file, "the download is whole");
    assert!(daemon.wait().success());
    let log = daemon.log();
    assert_eq!(log.entries.last().unwrap()["action"], "log.stop");

    daemon.restart();
    assert_eq!(user.at(daemon.address()).value("/models")["total"], 2);
}

/// A second signal ends it at once, in order all the same.
#[test]
fn second_signal() {
    let mut daemon = Daemon::start();
    daemon.expect_line("were cut");
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(200_000, 1);
    let upload = user.request("PUT", "/models/m/artifact").body("application/octet-stream", file);
    let mut uploading = user.connect();
    uploading.write(&upload.head_octets()).unwrap();
    uploading.write(&upload.body_octets()[..150_000]).unwrap();
    wait::until_true("the upload to be staged", || oracle::staged(&daemon.data_dir()) > 0);
    daemon.signal(Signal::TERM);
    wait::until_true("new connections to be refused", || std::net::TcpStream::connect(daemon.address()).is_err());
    let began = Instant::now();
    daemon.signal(Signal::INT);
    let status = daemon.wait();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(status.success(), "{status}");
    daemon.restart();
    assert_eq!(user.at(daemon.address()).value("/models")["total"], 0);
}

/// Requests that never end are cut when the stop's time is over.
#[test]
fn stop_has_a_deadline() {
    let mut daemon = Daemon::with(&[("MREG_SHUTDOWN_SECONDS", "1")]);
    daemon.expect_line("were cut");
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(200_000, 1);
    let upload = user.request("PUT", "/models/m/artifact").body("application/octet-stream", file);
    let mut uploading = user.connect();
    uploading.write(&upload.head_octets()).unwrap();
    uploading.write(&upload.body_octets()[..150_000]).unwrap();
    wait::until_true("the upload to be staged", || oracle::staged(&daemon.data_dir()) > 0);
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    assert!(status.success() && began.elapsed() < Duration::from_secs(10), "{status} after {:?}", began.elapsed());
}

/// A port that is taken is said so, before anything is created.
#[test]
fn port_in_use() {
    let first = Daemon::start();
    let mut second = Daemon::prepared(&[("MREG_BIND", &first.address().to_string())]);
    let output = second.run(&[] as &[&str], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(69 | 73)), "{:?}: {told}", output.status);
    assert!(told.contains(&first.address().to_string()) && told.contains("MREG_BIND"), "{told}");
    assert!(!second.data_dir().exists() && !second.key_dir().exists(), "a trace was left");
    second.leave_unverified();
}

/// A second daemon on the same data is refused, and the first one does not notice.
#[test]
fn same_data_twice() {
    let daemon = Daemon::start();
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains(&daemon.data_dir().display().to_string()), "{told}");
    assert!(output.stdout.is_empty());
    daemon.admin().get("/models").expect(200);
}

/// A directory that can't be written is named. (Root can write everywhere: then a file stands in the way.)
#[test]
fn unwritable() {
    let mut daemon = Daemon::prepared(&[]);
    let data = daemon.data_dir();
    if rustix::process::geteuid().is_root() {
        fs::write(&data, b"a file").unwrap();
    } else {
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(73 | 74 | 77 | 78)), "{:?}: {told}", output.status);
    assert!(told.contains(&data.display().to_string()), "{told}");
    if data.is_dir() {
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    }
    daemon.leave_unverified();
}

/// Every mistake in the settings is told at once, with exit code 78, and nothing is opened or created.
#[test]
fn wrong_settings() {
    let mut daemon = Daemon::prepared(&[("MREG_MAX_UPLOAD_BYTES", "lots"), ("ADMIN_PASSWORD", "short")]);
    fs::write(
        daemon.work_dir().join(".env"),
        "MREG_AUDIT_READS=none\nexport MREG_SCAN_POLICY='lenient'  # a comment\nJWT_ACCESS_TOKEN_EXPIRE_MINUTES=0\n",
    )
    .unwrap();
    let output = daemon.run(&[] as &[&str], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    for name in [
        "MREG_MAX_UPLOAD_BYTES",
        "ADMIN_PASSWORD",
        "MREG_AUDIT_READS",
        "MREG_SCAN_POLICY",
        "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
    ] {
        assert!(told.contains(name), "{name} is not told: {told}");
    }
    assert!(!told.contains("short"), "a secret is repeated: {told}");
    assert!(!daemon.data_dir().exists() && !daemon.key_dir().exists(), "something was created");
    daemon.leave_unverified();
}

/// `.env` in the working directory is read; the real environment wins over it.
#[test]
fn dotenv() {
    let mut daemon = Daemon::prepared(&[("MREG_SCAN_POLICY", "default")]);
    fs::write(daemon.work_dir().join(".env"), "MREG_OPEN_REGISTRATION=true\nMREG_SCAN_POLICY=strict\n").unwrap();
    daemon.restart();
    assert_eq!(daemon.admin().value("/status")["scan_policy"], "default");
    let password = "a-perfectly-fine-one";
    daemon.ledger().add_secret(password);
    daemon.client().post("/register", &json!({"username": "new", "password": password})).expect(201);
}

/// Without a password one is generated, shown once, and must be changed.
#[test]
fn generated_password() {
    let mut daemon = Daemon::with(&[("ADMIN_PASSWORD", "")]);
    let password_of = |lines: &[String]| {
        let line = lines.iter().find_map(|line| line.trim_start().strip_prefix("password ").map(str::to_owned));
        line.map(|line| line.split_whitespace().next().unwrap().to_owned())
    };
    let password = wait::until("the password on standard output", || password_of(&daemon.stdout()));
    let token = daemon.client().login(ADMIN, &password).expect(200).json();
    assert_eq!(token["must_change_password"], true);
    let admin = daemon.client().with_token(token["access_token"].as_str().unwrap());
    admin.get("/models").problem("password-change-required");
    daemon.stop();
    daemon.restart();
    let _ready = wait::until("the greeting", || daemon.stdout().iter().find(|line| line.contains("/docs")).cloned());
    assert_eq!(password_of(&daemon.stdout()), None, "it is shown once");
}

/// Changing ADMIN_PASSWORD later resets nothing.
#[test]
fn admin_is_seeded_once() {
    let mut daemon = Daemon::start();
    daemon.stop();
    daemon.set("ADMIN_PASSWORD", "another-password-77");
    daemon.ledger().add_secret("another-password-77");
    daemon.restart();
    daemon.client().login(ADMIN, "another-password-77").problem("bad-credentials");
    daemon.client().login(ADMIN, ADMIN_PASSWORD).expect(200);
}

/// `mregd init-db` makes a registry, and does nothing to one that is there.
#[test]
fn init_db() {
    let mut daemon = Daemon::prepared(&[]);
    let first = daemon.run(&["init-db"], "");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let again = daemon.run(&["initialize-db"], "");
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stdout).contains("already"), "{}", String::from_utf8_lossy(&again.stdout));
    daemon.restart();
    daemon.admin().get("/models").expect(200);
    let log = daemon.log();
    assert_eq!(log.of("log.genesis").len(), 1);
    assert_eq!(log.of("user.create").len(), 1);
}

/// Users are managed from the command line, whether the daemon runs or not, and the log knows it.
#[test]
fn user_commands() {
    let mut daemon = Daemon::start();
    let (first, second) = ("given-on-the-terminal", "given-when-it-stood-still");
    daemon.ledger().add_secret(first);
    daemon.ledger().add_secret(second);
    let run = |daemon: &Daemon, arguments: &[&str], input: &str| {
        let output = daemon.run(arguments, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), told)
    };
    let add = ["user", "add", "erna", "--role", "contributor", "--password-stdin"];
    let (code, _, told) = run(&daemon, &add, &format!("{first}\n"));
    assert_eq!(code, Some(0), "{told}");
    let token = daemon.client().login("erna", first).expect(200).json();
    assert_eq!(token["role"], "contributor");
    let (code, _, told) = run(&daemon, &add, &format!("{first}\n"));
    assert!(code != Some(0) && told.contains("erna"), "{code:?} {told}");
    let (code, _, told) = run(&daemon, &["user", "add", "x1", "--role", "viewer", "--password-stdin"], "short\n");
    assert!(code != Some(0) && !told.is_empty(), "{code:?} {told}");
    let names = |text: &str| -> Vec<String> {
        let users: Value = serde_json::from_str(text).unwrap();
        users.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let (_, listed, _) = run(&daemon, &["user", "list", "--json"], "");
    assert_eq!(names(&listed), ["admin", "erna"]);
    daemon.stop();

    let (code, _, told) = run(&daemon, &["user", "passwd", "erna", "--password-stdin"], &format!("{second}\n"));
    assert_eq!(code, Some(0), "{told}");
    let (code, shown, told) = run(&daemon, &["user", "add", "egon", "--role", "viewer"], "");
    assert_eq!(code, Some(0), "{told}");
    let generated = shown.split("password: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let (_, listed, _) = run(&daemon, &["user", "list", "--json"], "");
    assert_eq!(names(&listed), ["admin", "egon", "erna"]);
    let (_, plain, _) = run(&daemon, &["user", "list"], "");
    assert_eq!(plain.lines().count(), 3);
    assert!(plain.contains("egon   viewer  must change the password"), "{plain}");
    let (code, _, _) = run(&daemon, &["user", "passwd", "nobody", "--password-stdin"], &format!("{second}\n"));
    assert_ne!(code, Some(0));
    daemon.restart();
    daemon.client().login("erna", first).problem("bad-credentials");
    assert_eq!(daemon.client().login("erna", second).expect(200).json()["must_change_password"], true);
    daemon.client().login("egon", &generated).expect(200);
    let log = daemon.log();
    assert_eq!(log.of("user.create").iter().filter(|entry| entry["outcome"] == "ok").count(), 3);
    assert!(log.of("user.password").iter().any(|entry| entry["outcome"] == "ok"));
}

/// A command for a registry that is not there says so, and makes none.
#[test]
fn commands_make_nothing() {
    let mut daemon = Daemon::prepared(&[]);
    let output = daemon.run(&["user", "list"], "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("init-db"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!daemon.data_dir().exists());
    daemon.leave_unverified();
}

/// Health, readiness, metrics and status say what is so.
#[test]
fn operations() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let client = daemon.client();
    client.get("/livez").expect(200);
    let ready = client.get("/readyz").expect(200).json();
    assert_eq!(ready["ready"], true);
    assert!(!ready["checks"].as_object().unwrap().is_empty());
    assert!(ready["checks"].as_object().unwrap().values().all(|check| check["ok"] == true), "{ready}");
    let version = client.value("/version");
    assert_eq!((&version["name"], &version["journal_format"]), (&json!("mregd"), &json!(1)));

    let status = user.value("/status");
    assert_eq!(status["store"]["models"], 1);
    assert_eq!(status["store"]["versions"], 1);
    assert_eq!(status["store"]["users"], 2);
    assert_eq!(status["store"]["blobs"], 1);
    assert_eq!(status["store"]["blob_bytes"], samples::safetensors(1).len());
    assert_eq!(status["log"]["state"], "ok");
    assert_eq!(status["log"]["vkey"].as_str().unwrap().parse(), Ok(daemon.ledger().vkey()));
    let note = status["log"]["checkpoint"].as_str().unwrap();
    let (size, _) = oracle::open_note(note, status["log"]["vkey"].as_str().unwrap());
    assert!(size >= 5 && status["log"]["size"].as_u64().unwrap() >= 5);
    assert_eq!(status["storage"]["below_watermark"], false);
    assert!(status["requests"]["total"].as_u64().unwrap() > 3);
    assert_eq!(status["open_uploads"], 0);

    let metrics = client.get("/metrics").expect(200);
    assert!(metrics.need("content-type").starts_with("text/plain"));
    let text = String::from_utf8(metrics.body).unwrap();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(samples.len() > 10, "{text}");
    for sample in samples {
        let (name, value) = sample.rsplit_once(' ').unwrap();
        assert!(name.starts_with("mreg") || name.starts_with("process"), "{sample}");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
    assert!(text.contains("/models") && !text.contains("/models/m"), "templates are labels, paths are not");
}

/// Files and directories of data and keys are their owner's alone.
#[test]
fn modes() {
    let mut daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::safetensors(1);
    user.upload("m", "m.safetensors", &file);
    let hex = sha256(&file);
    let blob = daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..]);
    assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o777, 0o400);
    daemon.stop();
    for path in [daemon.data_dir(), daemon.key_dir(), daemon.data_dir().join("log")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    for entry in fs::read_dir(daemon.data_dir().join("log")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
    }
}
