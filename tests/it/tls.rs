//! TLS from the outside: what the daemon shows, refuses and replaces, and whom the clients trust. Certificates are made
//! here; curl and openssl are the other side where they can be.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::certificate::{Certificate, KeyPin};
use common::client::{Client, ClientError, LogEvent};
use common::tls::{TlsError, Trust};
use rustix::process::Signal;
use tempfile::TempDir;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::pty::Setup;
use tests::samples;
use tests::tls::{Authority, Fault, Front, HERE, Pair, curl, curled, run};
use tests::wait;
use tests::witness::Witness;

/// A daemon in TLS, and in clear for the tests' own client.
struct Place {
    ca: Authority,
    files: TempDir,
    daemon: Daemon,
}

impl Place {
    fn start(settings: &[(&str, &str)]) -> Self {
        let ca = Authority::new("an authority");
        let files = TempDir::with_prefix("mreg-tls-").unwrap();
        let (cert, key) = ca.pair(&HERE, Fault::None).write(files.path());
        let mut daemon = Daemon::prepared(settings);
        daemon.set("MREG_TLS_CERT", &cert.display().to_string());
        daemon.set("MREG_TLS_KEY", &key.display().to_string());
        daemon.set("MREG_LISTEN", "127.0.0.1:0");
        daemon.restart();
        Self { ca, files, daemon }
    }

    fn address(&self) -> SocketAddr {
        self.daemon.url().strip_prefix("https://").expect("it speaks TLS").parse().unwrap()
    }

    /// Under the name that the certificate is for.
    fn url(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }

    fn trust(&self) -> Trust {
        Trust { ca_file: Some(self.ca.file()), pin: None }
    }

    fn client(&self) -> Client {
        Client::with_trust(&self.url(), "test/1", false, &self.trust()).unwrap()
    }

    /// The key of the certificate that a new connection gets.
    fn key(&self) -> KeyPin {
        reached(&self.client()).unwrap().key
    }
}

fn reached(client: &Client) -> Result<Certificate, ClientError> {
    run(client.reach()).map(|certificate| certificate.expect("a certificate"))
}

/// HTTP/1.1 and HTTP/2 by ALPN, no old TLS, and what the daemon says of its certificate everywhere.
#[test]
fn speaks_both_versions() {
    let place = Place::start(&[]);
    let (url, ca) = (place.url(), place.ca.path());
    for (version, wanted) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let told = curled(&["--cacert", &ca, version, "-D", "-", "-w", "%{http_version}", &format!("{url}/livez")]);
        assert!(told.ends_with(wanted), "{told}");
        assert!(told.to_lowercase().contains("strict-transport-security: max-age=31536000"), "{told}");
    }
    assert!(!place.daemon.client().get("/livez").headers.iter().any(|(name, _)| name == "strict-transport-security"));
    for old in ["1.0", "1.1"] {
        assert!(!curl(&["--cacert", &ca, "--tls-max", old, &url]).status.success());
    }
    let status = place.daemon.admin().value("/status")["tls"].clone();
    assert_eq!(status["names"], serde_json::json!(HERE));
    assert_eq!(status["not_after"], "2090-01-01T00:00:00.000Z");
    assert!(status["days_left"].as_i64().unwrap() > 10_000 && status["refused"].is_null());
    assert_eq!(status["key"].as_str().unwrap(), place.key().to_string());
    let ready = place.daemon.client().get("/readyz").expect(200).json();
    assert!(ready["checks"]["tls"]["detail"].as_str().unwrap().starts_with("the certificate is good for"));
    let metrics = place.daemon.client().get("/metrics").text();
    let all = curled(&["--cacert", &ca, &format!("{url}/metrics")]);
    assert!(all.contains("mreg_tls_certificate_not_after_seconds 3786912000"), "{metrics}");

    let mut openssl = Command::new("openssl")
        .args(["s_client", "-connect", &place.address().to_string(), "-servername", "localhost", "-CAfile", &ca])
        .args(["-verify_return_error", "-alpn", "h2,http/1.1", "-brief"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed by tests/run");
    drop(openssl.stdin.take());
    let output = openssl.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("TLSv1.3") && told.contains("Verification: OK"), "{told}");
}

/// What goes up and comes down is the same, however large; one side is curl, with both versions.
#[test]
fn large_files() {
    let place = Place::start(&[]);
    let token = place.daemon.admin().token().to_owned();
    let (url, ca, auth) = (place.url(), place.ca.path(), format!("Authorization: Bearer {token}"));
    let octets = samples::large_safetensors(48 << 20, 3);
    let (up, down) = (place.files.path().join("up"), place.files.path().join("down"));
    fs::write(&up, &octets).unwrap();
    for (number, version) in [(1, "--http1.1"), (2, "--http2")] {
        let target = format!("{url}/models/large-{number}/artifact?filename=m.safetensors");
        curled(&["--cacert", &ca, version, "-f", "-H", &auth, "-T", &up.display().to_string(), &target]);
        let target = format!("{url}/models/large-{number}/download");
        curled(&["--cacert", &ca, version, "-f", "-H", &auth, "-o", &down.display().to_string(), &target]);
        assert!(fs::read(&down).unwrap() == octets, "{version}");
    }
}

/// A pair that can't be used is a mistake at the start, and of `config check`; nothing is created.
#[test]
fn refuses_bad_pairs() {
    let ca = Authority::new("an authority");
    let files = TempDir::with_prefix("mreg-tls-").unwrap();
    let pair = ca.pair(&HERE, Fault::None);
    let other = ca.pair(&HERE, Fault::None);
    let mut daemon = Daemon::prepared(&[]);
    let (cert, key) = pair.write(files.path());
    daemon.set("MREG_TLS_CERT", &cert.display().to_string());
    let refused = |daemon: &Daemon, part: &str| {
        for arguments in [&["config", "check"][..], &[]] {
            let output = daemon.run(arguments, "");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{told}");
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!daemon.data_dir().exists());
    };
    refused(&daemon, "MREG_TLS_KEY: is not set, and MREG_TLS_CERT is");
    daemon.set("MREG_TLS_KEY", &key.display().to_string());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    refused(&daemon, "has mode 0640, so others may read the key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, &other.key).unwrap();
    refused(&daemon, "don't make a pair");
    fs::write(&key, "nothing").unwrap();
    refused(&daemon, "there is no key in it");
    fs::write(&cert, "nothing").unwrap();
    refused(&daemon, "there is no certificate in it");
    fs::remove_file(&cert).unwrap();
    refused(&daemon, "can't be read");
}

/// Under load a new pair is taken into use at once, a bad one never; no connection breaks, and no request fails.
#[test]
fn reloads_under_load() {
    let mut place = Place::start(&[]);
    place.daemon.expect_line("the new certificate is not used");
    // All that a signal asks for is refused with it.
    place.daemon.expect_line("the settings stay as they were");
    let first = place.key();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (url, trust, stop, asked) = (place.url(), place.trust(), Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                run(async {
                    let kept = Client::with_trust(&url, "test/1", false, &trust).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        // One caller keeps its connection, the others come anew each time.
                        let fresh = Client::with_trust(&url, "test/1", false, &trust).unwrap();
                        let client = if number == 0 { &kept } else { &fresh };
                        client.version().await.unwrap_or_else(|error| panic!("caller {number}: {error}"));
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            })
        })
        .collect();
    let some_more = || {
        let before = asked.load(Ordering::Relaxed);
        wait::until_true("callers to go on", || asked.load(Ordering::Relaxed) >= before + 20);
    };
    some_more();
    let mut newest = first;
    for _ in 0..3 {
        let pair = place.ca.pair(&HERE, Fault::None);
        pair.write(place.files.path());
        place.daemon.signal(Signal::HUP);
        wait::until_true("the new certificate", || place.key() == pair.pin());
        newest = pair.pin();
        some_more();
    }
    let status = || place.daemon.admin().value("/status")["tls"].clone();
    let bad = [
        (place.ca.pair(&HERE, Fault::Expired), "expired on 2021-01-01"),
        (Pair { key: place.ca.pair(&HERE, Fault::None).key, ..place.ca.pair(&HERE, Fault::None) }, "don't make a pair"),
        (Pair { cert: String::new(), ..place.ca.pair(&HERE, Fault::None) }, "there is no certificate in it"),
    ];
    for (pair, why) in bad {
        pair.write(place.files.path());
        place.daemon.signal(Signal::HUP);
        wait::until_true(why, || status()["refused"].as_str().is_some_and(|told| told.contains(why)));
        assert_eq!(place.key(), newest);
        let ready = place.daemon.client().get("/readyz").expect(200).json();
        assert!(ready["checks"]["tls"]["detail"].as_str().unwrap().contains("REFUSED"));
    }
    let metrics = curled(&["--cacert", &place.ca.path(), &format!("{}/metrics", place.url())]);
    assert!(
        metrics.contains("mreg_tls_certificate_current 0") && !metrics.contains("mreg_tls_reloads_refused_total 0")
    );
    // Without a signal: the files are looked at.
    let pair = place.ca.pair(&HERE, Fault::None);
    pair.write(place.files.path());
    wait::until_true("the change of the files to be seen", || place.key() == pair.pin());
    assert!(status()["refused"].is_null());
    some_more();
    stop.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

/// Handshakes that come to nothing take no connection, give way to others, and end.
#[test]
fn slow_handshakes() {
    let mut place = Place::start(&[("MREG_MAX_CONNECTIONS", "4"), ("MREG_HEADER_TIMEOUT_SECONDS", "2")]);
    place.daemon.expect_line("can't be accepted");
    let begin = |octets: &[u8]| {
        let mut stream = TcpStream::connect(place.address()).unwrap();
        stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        stream.write_all(octets).unwrap();
        stream
    };
    // Silent ones, and such that begin with a piece of a handshake.
    let mut slow: Vec<TcpStream> =
        (0..300).map(|number| begin(if number % 2 == 0 { b"" } else { b"\x16\x03\x01\x02\x00\x01" })).collect();
    for _ in 0..8 {
        run(place.client().version()).unwrap();
    }
    // Each is closed in the end, at its time or before.
    for stream in &mut slow {
        let mut octets = Vec::new();
        if let Err(error) = stream.read_to_end(&mut octets) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    run(place.client().version()).unwrap();
}

/// Who speaks in clear where TLS is spoken is told so; noise is cut.
#[test]
fn clear_text_at_the_wrong_place() {
    let place = Place::start(&[]);
    let told = curled(&["-i", &format!("http://localhost:{}/models", place.address().port())]);
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("use https:// in the address"), "{told}");
    let client = Client::new(&format!("http://{}", place.address()), "test/1", false).unwrap();
    let error = run(client.version()).unwrap_err();
    assert!(error.to_string().contains("https://"), "{error}");
    for noise in [&b"\x00\x01\x02"[..], b"\x16garbage garbage garbage garbage"] {
        let mut stream = TcpStream::connect(place.address()).unwrap();
        stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        stream.write_all(noise).unwrap();
        let mut octets = Vec::new();
        let _ = stream.read_to_end(&mut octets);
        assert!(octets.len() < 16, "{octets:?}");
    }
    run(place.client().version()).unwrap();
}

/// What the client says of each thing that can be wrong, and that it sends nothing then.
#[test]
fn whom_the_client_trusts() {
    let daemon = Daemon::start();
    let (ca, stranger) = (Authority::new("an authority"), Authority::new("a stranger"));
    let ask = |front: &Front, trust: &Trust| {
        let client = Client::with_trust(&front.url(), "test/1", false, trust).unwrap();
        (run(client.version()).map(drop), client.certificate())
    };
    let trusted = |authority: &Authority| Trust { ca_file: Some(authority.file()), pin: None };
    let pinned = |pin: KeyPin| Trust { ca_file: None, pin: Some(pin) };
    let told = |result: Result<(), ClientError>| match result {
        Err(ClientError::Tls { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let good = ca.pair(&HERE, Fault::None);
    let front = Front::start(&good, daemon.address());
    let (answer, certificate) = ask(&front, &trusted(&ca));
    assert_eq!(answer, Ok(()));
    assert_eq!(certificate.map(|certificate| certificate.key), Some(good.pin()));
    let problem = told(ask(&front, &trusted(&stranger)).0);
    assert_eq!(problem, TlsError::UnknownAuthority { key: Some(good.pin()) });
    assert!(problem.to_string().contains("--ca-file") && problem.to_string().contains("sha256:"), "{problem}");
    // The machine's own authorities don't know it either, whether there are any or not.
    match Client::new(&front.url(), "test/1", false) {
        Ok(client) => assert_eq!(told(run(client.version()).map(drop)), problem),
        Err(error) => assert!(error.to_string().contains("this machine has no authorities"), "{error}"),
    }

    // A pinned key stands in for authority, name and dates; another key is told with both values.
    assert_eq!(ask(&front, &pinned(good.pin())).0, Ok(()));
    let other = ca.pair(&HERE, Fault::None).pin();
    let problem = told(ask(&front, &pinned(other)).0);
    assert_eq!(problem, TlsError::OtherKey { wanted: other, found: Some(good.pin()) });
    assert!(problem.to_string().contains(&other.to_string()) && problem.to_string().contains(&good.pin().to_string()));
    // With authorities, both must hold.
    let both = |authority: &Authority, pin| Trust { pin: Some(pin), ..trusted(authority) };
    assert_eq!(ask(&front, &both(&ca, good.pin())).0, Ok(()));
    assert!(matches!(told(ask(&front, &both(&stranger, good.pin())).0), TlsError::UnknownAuthority { .. }));
    assert!(matches!(told(ask(&front, &both(&ca, other)).0), TlsError::OtherKey { .. }));

    for (pair, part) in [
        (ca.pair(&HERE, Fault::Expired), "its certificate expired on 2021-01-01"),
        (ca.pair(&HERE, Fault::NotYet), "its certificate is not valid before 2089-01-01"),
        (ca.pair(&["elsewhere.example"], Fault::None), "is for elsewhere.example and not for localhost"),
        (ca.pair(&HERE, Fault::SelfSigned), "no authority that is trusted here signed its certificate"),
        (ca.pair(&HERE, Fault::OwnAuthority), "its certificate is that of an authority"),
        (ca.pair(&HERE, Fault::Namesake), "no authority that is trusted here signed its certificate"),
    ] {
        let front = Front::start(&pair, daemon.address());
        let problem = told(ask(&front, &trusted(&ca)).0);
        assert!(problem.to_string().contains(part), "{part}: {problem}");
        assert_eq!(ask(&front, &pinned(pair.pin())).0, Ok(()), "{part}");
    }
    // Nobody speaks TLS there.
    let url = format!("https://localhost:{}", daemon.address().port());
    let client = Client::with_trust(&url, "test/1", false, &trusted(&ca)).unwrap();
    assert_eq!(told(run(client.version()).map(drop)), TlsError::NotTls);
    let status = daemon.admin().value("/status");
    assert!(status["tls"].is_null());
}

/// The live tail comes through TLS as it does in clear.
#[test]
fn live_tail() {
    let place = Place::start(&[]);
    run(async {
        let client = place.client();
        client.login(ADMIN, ADMIN_PASSWORD, None).await.unwrap();
        place.daemon.ledger().add_secret(&client.token().unwrap());
        let mut stream = client.audit_stream(None).await.unwrap();
        let admin = place.daemon.admin();
        let wanted = std::thread::spawn(move || admin.upload("m", "m.bin", b"octets")["receipt"]["index"].as_u64());
        let wanted = wanted.join().unwrap().unwrap();
        loop {
            match stream.next().await.unwrap().expect("the stream goes on") {
                LogEvent::Entry { index, .. } if index == wanted => break,
                _ => {}
            }
        }
    });
}

/// `mregd log verify|export|tail` over TLS: with the authority's file or the key, and not without.
#[test]
fn commands_on_the_log() {
    let place = Place::start(&[]);
    place.daemon.admin().upload("m", "m.bin", b"octets");
    let (url, vkey, ca) = (place.url(), place.daemon.ledger().vkey().to_string(), place.ca.path());
    let pin = place.key().to_string();
    let state = place.files.path().join("state").display().to_string();
    let dir = place.files.path().join("export").display().to_string();
    let token = place.files.path().join("token");
    fs::write(&token, place.daemon.admin().token()).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let token = token.display().to_string();
    for trust in [["--ca-file", &ca], ["--tls-pin", &pin]] {
        for command in [
            vec!["log", "verify", "--url", &url, "--vkey", &vkey, "--token-file", &token],
            vec!["log", "export", "--url", &url, "--dir", &dir, "--token-file", &token],
            vec!["log", "tail", &url, "--vkey", &vkey, "--state", &state],
        ] {
            let output = place.daemon.run(&[&command[..], &trust].concat(), "");
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let authority = Authority::new("a stranger");
    let stranger = authority.path();
    let command = ["log", "verify", "--url", &url, "--vkey", &vkey, "--hashes-only", "--ca-file", &stranger];
    let output = place.daemon.run(&command, "");
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no authority that is trusted here"));
}

/// Witnesses behind TLS cosign, if their authority is the one that was named; else it is said why not.
#[test]
fn witnesses() {
    let ca = Authority::new("an authority");
    let mut daemon = Daemon::start();
    let witness = Witness::start("w", &[daemon.ledger().vkey()]);
    let front = Front::start(&ca.pair(&HERE, Fault::None), witness.address());
    let policy = format!("witness w {} {}\nquorum w\n", witness.vkey(), front.url());
    fs::write(daemon.work_dir().join("policy"), policy).unwrap();
    daemon.stop();
    daemon.set("MREG_WITNESS_MODE", "background");
    daemon.set("MREG_WITNESS_POLICY", "policy");
    daemon.set("MREG_WITNESS_CA_FILE", &Authority::new("a stranger").path());
    let failed = daemon.run(&[] as &[&str], "");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("can't be read"), "its file is gone with it");
    let stranger = Authority::new("a stranger");
    daemon.set("MREG_WITNESS_CA_FILE", &stranger.path());
    daemon.expect_line("witness");
    daemon.restart();
    wait::until_true("the witness to be refused", || {
        let status = daemon.admin().value("/status");
        let error = status["witnesses"]["witnesses"][0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains("no authority that is trusted here")
    });
    daemon.stop();
    daemon.set("MREG_WITNESS_CA_FILE", &ca.path());
    daemon.restart();
    wait::until_true("a cosignature", || daemon.client().get("/log/checkpoint.witnessed").status == 200);
}

/// A socket of the machine: for whom its mode is, with a token like everywhere, and gone with the daemon.
#[test]
fn sockets() {
    let folder = TempDir::with_prefix("mreg-socket-").unwrap();
    let path = folder.path().join("api.sock");
    let mut daemon = Daemon::prepared(&[("MREG_SOCKET_MODE", "0600")]);
    daemon.set("MREG_LISTEN", &format!("unix:{}", path.display()));
    daemon.restart();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let socket = path.display().to_string();
    let told = curled(&["-i", "--unix-socket", &socket, "http://localhost/models"]);
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    run(async {
        let client = Client::new(&format!("unix:{socket}"), "test/1", false).unwrap();
        client.login(ADMIN, ADMIN_PASSWORD, None).await.unwrap();
        daemon.ledger().add_secret(&client.token().unwrap());
        assert_eq!(client.me().await.unwrap().body.username.as_str(), ADMIN);
    });
    let output = Setup::new().output(
        &["--url", &format!("unix:{socket}"), "--user", ADMIN, "--password-stdin", "whoami"],
        &format!("{ADMIN_PASSWORD}\n"),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // A second daemon leaves the first one's alone.
    let mut second = Daemon::prepared(&[("MREG_LISTEN", &format!("unix:{socket}"))]);
    second.leave_unverified();
    let refused = second.run(&[] as &[&str], "");
    assert_eq!(refused.status.code(), Some(69), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!second.data_dir().exists());
    // What a killed one leaves behind is replaced.
    daemon.kill();
    assert!(path.exists());
    daemon.restart();
    curled(&["-f", "--unix-socket", &socket, "http://localhost/livez"]);
    daemon.stop();
    assert!(!path.exists());
}

/// To be reached from elsewhere in clear is refused where TLS is required.
#[test]
fn required() {
    let mut daemon = Daemon::prepared(&[("MREG_BIND", "0.0.0.0:0"), ("MREG_REQUIRE_TLS", "true")]);
    daemon.set("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
    let output = daemon.run(&[] as &[&str], "");
    assert_eq!(output.status.code(), Some(78));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("MREG_REQUIRE_TLS: MREG_BIND 0.0.0.0:0 is not a loopback")
    );
}

/// The console's dialog says whose certificate it is before anything is typed, or what is wrong; so do profiles.
#[test]
fn console() {
    let place = Place::start(&[]);
    let profile =
        |name: &str, rest: &str| format!("[profiles.{name}]\nurl = \"{}\"\nuser = \"{ADMIN}\"\n{rest}\n", place.url());
    let config = [
        profile("good", &format!("ca_file = \"{}\"", place.ca.path())),
        profile("pinned", &format!("tls_pin = \"{}\"", place.key())),
        profile("changed", &format!("tls_pin = \"{}\"", KeyPin::of(b"another"))),
    ]
    .concat();
    for name in ["good", "pinned"] {
        let mut console = Setup::new().config(&config).args(&["--profile", name]).start();
        console.wait_for("TLS ok, certificate of localhost, ");
        console.press(ADMIN_PASSWORD);
        console.press("<Enter>");
        console.wait_for("admin admin");
        console.press("6");
        console.wait_for("certificate");
        console.wait_for("of localhost, ");
        assert!(!console.shows("PLAIN"));
        console.quit();
    }
    let mut console = Setup::new().config(&config).args(&["--profile", "changed"]).start();
    console.wait_for("is not used: its key is not the");
    console.press("<C-c>");
    console.wait_end();
    let arguments = ["--url", &place.url(), "--ca-file", &Authority::new("x").path(), "whoami"];
    let output = Setup::new().output(&arguments, "");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let stranger = Authority::new("a stranger");
    let arguments =
        ["--url", &place.url(), "--ca-file", &stranger.path(), "--user", ADMIN, "--password-stdin", "whoami"];
    let output = Setup::new().output(&arguments, &format!("{ADMIN_PASSWORD}\n"));
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the file of authorities is.
#[test]
fn authorities_are_files() {
    let nowhere = Trust { ca_file: Some(PathBuf::from("/nowhere.pem")), pin: None };
    let error = Client::with_trust("https://localhost", "test/1", false, &nowhere).err().unwrap();
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
    let files = TempDir::new().unwrap();
    let empty = files.path().join("empty.pem");
    fs::write(&empty, "nothing\n").unwrap();
    let error = Client::with_trust("https://localhost", "test/1", false, &Trust { ca_file: Some(empty), pin: None });
    assert!(error.err().unwrap().to_string().contains("no certificate in it"));
}
