//! As a service: sockets that a manager passes on, restarts that refuse nobody, and settings that are read again while the
//! daemon serves. Without systemd: the suite plays its part by the documented protocols. tests/package/run has the real one.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;
use tests::daemon::Daemon;
use tests::multipart::Form;
use tests::samples;
use tests::wait;

/// A socket as a manager opens it, and where.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sockets that were passed on are served at, by their kinds; nothing else is listened at, no child gets them, and they are
/// left as they were.
#[test]
fn passed_sockets() {
    let (tcp, address) = listener();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let (_reserved, other) = listener();
    let mut daemon = Daemon::prepared(&[("MREG_BIND", &other.to_string())]);
    daemon.pass("mregd.socket", tcp);
    daemon.pass("unix", UnixListener::bind(&path).unwrap());
    // That MREG_BIND is taken does not matter: it is not used, which is said.
    daemon.expect_line("MREG_BIND is not used");
    daemon.restart();
    assert_eq!(daemon.address(), address);
    assert!(daemon.stderr().iter().any(|line| line.contains("MREG_BIND is not used")));
    let admin = daemon.admin();
    admin.upload("m", "model.safetensors", &samples::safetensors(1));

    let socket = path.display().to_string();
    let asked = std::process::Command::new("curl")
        .args(["-sSf", "--unix-socket", &socket, "http://localhost/livez"])
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));

    // fdinfo(5): O_CLOEXEC is 0o2000000.
    for descriptor in [3, 4] {
        let pid = daemon.pid().as_raw_nonzero();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        assert_ne!(u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000, 0, "{descriptor}: {info}");
    }
    daemon.stop();
    assert!(path.exists(), "a socket of somebody else was removed");
}

/// A manager may pass on a socket of this machine alone: there is no port then.
#[test]
fn a_passed_socket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let mut daemon = Daemon::prepared(&[("MREG_BIND", "")]);
    daemon.pass("unix", UnixListener::bind(&path).unwrap());
    daemon.restart();
    assert_eq!(daemon.url(), format!("unix:{}", path.display()));
    let script = daemon.stdout().join("\n");
    assert!(script.contains("curl -sS --unix-socket"), "{script}");
}

/// What can't be served at ends the start with a sentence and the code that no restart helps; and the rules about who can
/// reach the daemon go by the sockets.
#[test]
fn unfit_sockets() {
    let refused = |name: &str, socket: std::os::fd::OwnedFd, settings: &[(&str, &str)], why: &str| {
        let mut daemon = Daemon::prepared(settings);
        daemon.pass(name, socket);
        let output = daemon.run_activated();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!daemon.data_dir().exists(), "it left a trace");
    };
    refused("udp", UdpSocket::bind("127.0.0.1:0").unwrap().into(), &[], "not one of streams");
    let (tcp, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    refused("connection", client.into(), &[], "does not listen");
    refused("null", fs::File::open("/dev/null").unwrap().into(), &[], "is no socket");
    refused("https", tcp.into(), &[], "MREG_TLS_CERT");
    let everywhere = || TcpListener::bind("0.0.0.0:0").unwrap();
    refused("web", everywhere().into(), &[], "JWT_SECRET_KEY");
    let key = "0123456789abcdef0123456789abcdef";
    let settings = [("JWT_SECRET_KEY", key), ("MREG_REQUIRE_TLS", "true")];
    refused("web", everywhere().into(), &settings, "not a loopback address");
}

/// Sockets that were meant for another process are not touched.
#[test]
fn sockets_of_others() {
    let mut daemon = Daemon::prepared(&[]);
    daemon.set("LISTEN_PID", "1");
    daemon.set("LISTEN_FDS", "3");
    daemon.restart();
    daemon.client().get("/livez").expect(200);
}

/// While the daemon is restarted, clients that connect all the time are neither refused nor cut, and who was being answered
/// gets the answer.
#[test]
fn restarts_refuse_nobody() {
    const CLIENTS: usize = 4;
    const RESTARTS: usize = 3;
    let (tcp, address) = listener();
    let mut daemon = Daemon::prepared(&[("MREG_BIND", "")]);
    daemon.pass("http", tcp);
    daemon.restart();
    let admin = daemon.admin();
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, over, answered) = (daemon.client(), Arc::clone(&over), Arc::clone(&answered));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A new connection each time, which is what could be refused.
                    let response = client.get("/livez");
                    assert_eq!(response.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..RESTARTS {
        // Half of an upload before the stop is asked for, the rest after it.
        let name = format!("m{round}");
        let form = Form::new().file("model.safetensors", &samples::large_safetensors(1 << 20, 7)).text("name", &name);
        let request = admin.request("POST", "/models").form(form);
        let mut connection = admin.connect();
        let body = request.body_octets();
        let (first, rest) = body.split_at(body.len() / 2);
        connection.write(&request.head_octets()).unwrap();
        connection.write(first).unwrap();
        wait::until_true("the upload to be under way", || admin.value("/status")["open_uploads"] == 1);
        daemon.signal(Signal::TERM);
        wait::until_true("the stop", || {
            daemon.stderr().iter().filter(|line| line.contains("nothing new")).count() > round
        });
        connection.write(rest).unwrap();
        connection.read_response("POST").unwrap().expect(201);
        assert!(daemon.wait().success());
        // Nobody listens now; who comes waits.
        let before = answered.load(Ordering::Relaxed);
        let mut early = TcpStream::connect(address).expect("the queue is open while no daemon runs");
        std::io::Write::write_all(&mut early, b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        daemon.restart();
        early.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let mut answer = String::new();
        early.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        wait::until_true("answers again", || answered.load(Ordering::Relaxed) > before + CLIENTS);
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("nobody was refused or cut");
    }
    println!("{} requests on as many connections over {RESTARTS} restarts", answered.load(Ordering::Relaxed));
}

/// Writes the settings that are read again.
fn write_settings(daemon: &Daemon, text: &str) {
    let file = daemon.work_dir().join(".env");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Asks for a reload and waits until a line with this is said once more.
fn reload(daemon: &Daemon, line: &str) {
    let count = || daemon.stderr().iter().filter(|said| said.contains(line)).count();
    let before = count();
    daemon.signal(Signal::HUP);
    wait::until_true(line, || count() > before);
}

const TAKEN: &str = "settings were taken into use";
const PENDING: &str = "restart to take them into use";
const REFUSED: &str = "the settings stay as they were";

/// Settings that can change do at once and for all that asks; others are named and wait; the log says which, and digests of
/// what held before and after, and never a secret.
#[test]
fn reload_takes_over() {
    let mut daemon = Daemon::with(&[]);
    daemon.expect_line(PENDING);
    let admin = daemon.admin();
    let user = daemon.user("u1", common::role::Role::Contributor);
    let file = samples::safetensors(1);
    user.upload("m", "model.safetensors", &file);
    daemon.client().post("/register", &json!({"username": "x1", "password": "a-perfectly-fine-one"})).expect(401);

    let secret = "a-key-that-nobody-should-ever-see-in-a-log";
    daemon.ledger().add_secret(secret);
    write_settings(
        &daemon,
        &format!(
            "MREG_MAX_UPLOAD_BYTES=64\nMREG_OPEN_REGISTRATION=true\nMREG_SCAN_POLICY=strict\nMREG_LOG_LEVEL=warn\n\
             MREG_SCRUB_INTERVAL=off\nJWT_SECRET_KEY={secret}\n"
        ),
    );
    reload(&daemon, PENDING);
    let form = Form::new().file("model.safetensors", &file).text("name", "n");
    user.publish(form.clone()).expect(413);
    daemon.client().post("/register", &json!({"username": "x1", "password": "a-perfectly-fine-one"})).expect(201);
    assert_eq!(admin.value("/status")["scan_policy"], "strict");
    // Tokens are those of the key at the start.
    user.get("/models").expect(200);
    let pending = daemon.stderr().into_iter().find(|line| line.contains(PENDING)).unwrap();
    assert!(pending.contains("MREG_SCRUB_INTERVAL") && pending.contains("JWT_SECRET_KEY"), "{pending}");

    let refused = user.publish(form.clone()).expect(413);
    let id = refused.need("x-request-id");
    let said = |id: &str| daemon.stderr().iter().any(|line| line.contains(id));

    // Back again: what was taken over is not a trace of itself.
    write_settings(&daemon, "");
    reload(&daemon, TAKEN);
    let published = user.publish(form).expect(201);
    let is_said = || said(published.need("x-request-id"));
    wait::until_true("requests to be told of again", is_said);
    assert!(!said(id), "requests are told of at a level that asks for less");
    // Nothing changed: no entry.
    reload(&daemon, "are the same");

    let log = daemon.log();
    let changes = log.of("config.change");
    assert_eq!(changes.len(), 2);
    let data = |at: usize| &changes[at]["data"];
    assert_eq!(
        data(0)["changed"],
        json!(["MREG_MAX_UPLOAD_BYTES", "MREG_OPEN_REGISTRATION", "MREG_SCAN_POLICY", "MREG_LOG_LEVEL"])
    );
    assert_eq!(data(0)["pending_restart"], json!(["MREG_SCRUB_INTERVAL", "JWT_SECRET_KEY"]));
    assert_eq!(data(0)["policies_to"], "strict");
    assert_eq!((&data(0)["digest_from"], &data(0)["digest_to"]), (&data(1)["digest_to"], &data(1)["digest_from"]));
    assert_ne!(data(0)["digest_from"], data(0)["digest_to"]);
    assert_eq!(changes[0]["actor"]["id"], log.of("log.start")[0]["actor"]["id"]);
    // The policies that the next start compares with are those of the last reload.
    daemon.restart();
    assert_eq!(daemon.log().of("scan.rules").len(), 1);
}

/// Keys are those of the start: a reload neither reads their files again, whatever stands there by now, nor makes new ones.
#[test]
fn reload_leaves_keys_alone() {
    let daemon = Daemon::with(&[]);
    let keys = ["webhook.key", "totp.key", "token.key"].map(|name| daemon.key_dir().join(name));
    let before: Vec<_> = keys.iter().filter(|key| key.exists()).collect();
    assert!(!before.is_empty());
    for key in &before {
        fs::rename(key, key.with_extension("kept")).unwrap();
        // Whoever opens it to read waits for ever.
        rustix::fs::mkfifoat(rustix::fs::CWD, *key, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    }
    write_settings(&daemon, "MREG_OPEN_REGISTRATION=true\n");
    reload(&daemon, TAKEN);
    for key in &before {
        fs::remove_file(key).unwrap();
    }
    write_settings(&daemon, "");
    reload(&daemon, TAKEN);
    for key in &before {
        assert!(!key.exists(), "another key was made");
        fs::rename(key.with_extension("kept"), key).unwrap();
    }
}

/// A mistake anywhere leaves everything as it was, and is named.
#[test]
fn reload_is_all_or_nothing() {
    let mut daemon = Daemon::with(&[]);
    daemon.expect_line(REFUSED);
    let user = daemon.user("u1", common::role::Role::Contributor);
    write_settings(&daemon, "MREG_MAX_UPLOAD_BYTES=64\nMREG_SESSION_HOURS=many\n");
    reload(&daemon, REFUSED);
    let said = daemon.stderr().into_iter().find(|line| line.contains(REFUSED)).unwrap();
    assert!(said.contains("MREG_SESSION_HOURS"), "{said}");
    user.upload("m", "model.safetensors", &samples::safetensors(1));
    assert!(daemon.log().of("config.change").is_empty());
}

/// Fewer connections hold for those that come next; who is connected stays. More are let in at once.
#[test]
fn reload_changes_how_many_connect() {
    let daemon = Daemon::with(&[]);
    let open = || {
        let mut connection = daemon.client().connect();
        connection.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (status, _headers) = connection.read_head().unwrap();
        (status, connection)
    };
    let (status, mut kept) = open();
    assert_eq!(status, 200);
    write_settings(&daemon, "MREG_MAX_CONNECTIONS=1\n");
    reload(&daemon, TAKEN);
    assert_eq!(open().0, 503);
    // Its body is still to be read; then it goes on.
    let _rest = kept.read_exact(1).unwrap();
    write_settings(&daemon, "MREG_MAX_CONNECTIONS=8\n");
    reload(&daemon, TAKEN);
    assert_eq!(open().0, 200);
}

/// The manager is told: ready, then for a reload that it began, since when, and that it is over with what came of it; alive
/// as often as it wants to hear it, and when it stops.
#[test]
fn the_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    let mut told = Vec::new();
    let mut until = |what: &str, part: &str| {
        let mut octets = [0; 4096];
        loop {
            let length = socket.recv(&mut octets).unwrap_or_else(|error| panic!("{what}: {error}; {told:?}"));
            let said = String::from_utf8_lossy(&octets[..length]).into_owned();
            told.push(said.clone());
            if said.contains(part) {
                return said;
            }
        }
    };
    let path = path.display().to_string();
    let mut daemon = Daemon::prepared(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000000")]);
    daemon.expect_line(REFUSED);
    daemon.restart();
    until("ready", "READY=1");
    until("alive", "WATCHDOG=1");
    write_settings(&daemon, "MREG_RESTORE_DAYS=7\n");
    daemon.signal(Signal::HUP);
    let began = until("a reload", "RELOADING=1");
    assert!(began.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{began}");
    until("its end", "READY=1\nSTATUS=serving");
    write_settings(&daemon, "MREG_RESTORE_DAYS=x\n");
    daemon.signal(Signal::HUP);
    until("another", "RELOADING=1");
    let refused = until("its end", "READY=1");
    assert!(refused.contains("refused") && refused.contains("MREG_RESTORE_DAYS"), "{refused}");
    daemon.signal(Signal::TERM);
    until("the stop", "STOPPING=1");
    assert!(daemon.wait().success());
}
