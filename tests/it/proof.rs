//! The console and what it believes of the log, in a terminal, against a daemon behind a proxy: whatever is changed on the way
//! is noticed within five seconds and evidence of it is kept; what a network does is never called broken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::pty::{Console, Setup, binary};
use tests::tamper::{Proxy, Tamper};
use tests::wait::until;
use tests::witness::Witness;

/// How soon something changed is noticed (console.md §19), and what a busy machine adds.
const NOTICED_MAX: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(10);

fn key(daemon: &Daemon) -> String {
    daemon.ledger().vkey().to_string()
}

/// A console behind the proxy, on its audit screen, with everything verified.
fn console(daemon: &Daemon, proxy: &Proxy, setup: Setup) -> Console {
    let (url, key) = (proxy.url(), key(daemon));
    let setup = setup.size(120, 40).args(&["--url", &url, "--user", ADMIN, "--log-key", &key]);
    let mut console = setup.start();
    console.wait_for("Password");
    console.press(ADMIN_PASSWORD);
    console.press("<Enter>");
    console.wait_for("admin admin");
    console.press("2");
    console.wait_for("FOLLOWING");
    console.wait_for("admin admin  v ");
    console
}

/// An entry of the log.
fn act(admin: &Client) {
    admin.get("/models/nothing").problem("not-found");
}

fn busy() -> (Daemon, Client) {
    let daemon = Daemon::with(&[("MREG_AUDIT_READS", "all")]);
    let admin = daemon.admin();
    for _ in 0..20 {
        act(&admin);
    }
    (daemon, admin)
}

fn evidence(console: &Console) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(console.home().join("state/mreg")) else { return Vec::new() };
    let paths = files.flatten().map(|file| file.path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("evidence-")).collect()
}

/// What is changed in the stream, in a tile or in a page makes the badge BROKEN, with evidence only its user can read; the
/// console goes on, and the state outlives it.
#[test]
fn everything_changed_is_noticed() {
    let (daemon, admin) = busy();
    for tamper in [
        Tamper::Leaf,
        Tamper::Malformed,
        Tamper::Signature,
        Tamper::Root,
        Tamper::Bundle,
        Tamper::Withhold,
        Tamper::Double,
        Tamper::OtherKey,
    ] {
        let proxy = Proxy::start(daemon.address());
        let mut console = console(&daemon, &proxy, Setup::new());
        assert!(!console.shows("BROKEN") && evidence(&console).is_empty());
        proxy.set(tamper.clone());
        let began = Instant::now();
        act(&admin);
        act(&admin);
        console.wait_for("X BROKEN");
        let took = began.elapsed();
        assert!(took < NOTICED_MAX + BUSY, "{tamper:?}: {took:?}");
        console.wait_for("AUDIT LOG VERIFICATION FAILED");
        let kept = until("evidence", || evidence(&console).into_iter().next());
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let told: Value = serde_json::from_str(&fs::read_to_string(&kept).unwrap()).unwrap();
        assert!(told["what"].is_string() && told["proof"].is_object(), "{told}");
        // It goes on, and is still broken when all is well again.
        proxy.set(Tamper::Nothing);
        console.press("<Esc>");
        console.wait_gone("Last good");
        let index = admin.get("/models/nothing").log_index();
        console.wait_for(&index.to_string());
        assert!(console.shows("X BROKEN"), "{tamper:?}");
        console.quit();
    }
}

/// A tile, a page and a proof of growth that are changed are noticed where they are read: in the past, and at the start.
#[test]
fn the_past_is_verified_too() {
    let (daemon, admin) = busy();
    for tamper in [Tamper::Tile, Tamper::Page] {
        let proxy = Proxy::start(daemon.address());
        proxy.set(tamper.clone());
        let (url, key) = (proxy.url(), key(&daemon));
        let mut console = Setup::new().size(120, 40).args(&["--url", &url, "--user", ADMIN, "--log-key", &key]).start();
        console.wait_for("Password");
        console.press(ADMIN_PASSWORD);
        console.press("<Enter>");
        console.wait_for("admin admin");
        console.press("2");
        console.wait_for("X BROKEN");
        console.wait_for("AUDIT LOG VERIFICATION FAILED");
        until("evidence", || evidence(&console).pop());
        console.press("<Esc>");
        console.wait_gone("AUDIT LOG VERIFICATION FAILED");
        console.quit();
    }
    act(&admin);
}

/// The next session finds a log that was cut back, and another key.
#[test]
fn between_sessions() {
    let (daemon, admin) = busy();
    let old = admin.get("/log/checkpoint").text();
    let proxy = Proxy::start(daemon.address());
    for tamper in [Tamper::Shorter(old), Tamper::OtherKey, Tamper::Growth] {
        proxy.set(Tamper::Nothing);
        let home = tempfile::TempDir::new().unwrap();
        let state = home.path().display().to_string();
        let mut first = console(&daemon, &proxy, Setup::new().env("XDG_STATE_HOME", &state));
        act(&admin);
        first.settle();
        first.quit();
        let pins = fs::read_dir(home.path().join("mreg")).unwrap().count();
        assert_eq!(pins, 1);
        act(&admin);
        proxy.set(tamper.clone());
        let (url, key) = (proxy.url(), key(&daemon));
        let again = || {
            let setup = Setup::new().env("XDG_STATE_HOME", &state).size(120, 40);
            let mut console = setup.args(&["--url", &url, "--user", ADMIN, "--log-key", &key]).start();
            console.wait_for("Password");
            console.press(ADMIN_PASSWORD);
            console.press("<Enter>");
            console.wait_for("admin admin");
            console
        };
        let mut second = again();
        second.wait_for("X BROKEN");
        second.settle();
        second.quit();
        // A good log does not make it good again; a person does.
        proxy.set(Tamper::Nothing);
        let mut third = again();
        third.wait_for("X BROKEN");
        third.press("2");
        third.wait_for("AUDIT LOG VERIFICATION FAILED");
        third.press("A");
        third.wait_for("why may this be?");
        third.press("we know<Enter>");
        third.wait_for("admin admin  v ");
        third.quit();
    }
}

/// Cuts, refusals, a daemon that is away, an entry that comes twice: the tail goes on and nothing is called broken.
#[test]
fn a_network_is_never_broken() {
    let (mut daemon, admin) = busy();
    let proxy = Proxy::start(daemon.address());
    let mut console = console(&daemon, &proxy, Setup::new());
    for _ in 0..3 {
        proxy.cut();
        let index = admin.get("/models/nothing").log_index();
        console.wait_for(&index.to_string());
    }
    proxy.set(Tamper::Cut);
    proxy.cut();
    console.wait_for("RECONNECTING");
    act(&admin);
    proxy.set(Tamper::Nothing);
    console.press("<C-r>");
    let index = admin.get("/models/nothing").log_index();
    console.wait_for(&index.to_string());
    proxy.set(Tamper::Repeat);
    let index = admin.get("/models/nothing").log_index();
    console.wait_for(&index.to_string());
    console.wait_for("admin admin  v ");
    assert!(evidence(&console).is_empty());
    console.quit();
    daemon.stop();
}

fn mreg(daemon: &Daemon, proxy: &Proxy, arguments: &[&str]) -> Output {
    let home = tempfile::TempDir::new().unwrap();
    let mut child = Command::new(binary())
        .args(["--url", &proxy.url(), "--user", ADMIN, "--password-stdin", "--log-key", &key(daemon)])
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{ADMIN_PASSWORD}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// `mreg verify` says what `mregd log verify` says, of a log in order and of each that is not.
#[test]
fn one_verdict() {
    let (daemon, admin) = busy();
    for _ in 0..260 {
        act(&admin);
    }
    let proxy = Proxy::start(daemon.address());
    let token = daemon.work_dir().join("token");
    fs::write(&token, admin.token()).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let (token, key) = (token.display().to_string(), key(&daemon));
    for (tamper, good) in [
        (Tamper::Nothing, true),
        (Tamper::Tile, false),
        (Tamper::Bundle, false),
        (Tamper::OtherKey, false),
        (Tamper::Withhold, false),
    ] {
        proxy.set(tamper.clone());
        let url = proxy.url();
        let theirs = daemon.run(&["log", "verify", "--url", &url, "--token-file", &token, "--vkey", &key], "");
        let ours = mreg(&daemon, &proxy, &["verify"]);
        let said =
            format!("{tamper:?}: {} {}", String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&ours.stderr));
        assert_eq!(theirs.status.code(), Some(if good { 0 } else { 65 }), "{tamper:?}");
        assert_eq!(ours.status.code(), Some(if good { 0 } else { 6 }), "{said}");
        if tamper != Tamper::OtherKey {
            let part = mreg(&daemon, &proxy, &["verify", "--from", "5", "--to", "270"]);
            assert_eq!(part.status.code(), Some(if good { 0 } else { 6 }), "a part, {said}");
        }
    }
}

/// `mreg tail` brings every entry once, from the first on, and ends with status 6 where the log is not what it signed.
#[test]
fn tail_without_a_screen() {
    let (daemon, admin) = busy();
    let proxy = Proxy::start(daemon.address());
    let last = admin.get("/models/nothing").log_index();
    for extra in [&["tail", "--from", "0"][..], &["tail", "--from", "0", "--verify", "--json"]] {
        let until = last.to_string();
        let output = mreg(&daemon, &proxy, &[extra, &["--until", &until]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(u64::try_from(text.lines().count()).unwrap(), last + 1, "{text}");
    }
    proxy.set(Tamper::Leaf);
    let output = mreg(&daemon, &proxy, &["tail", "--from", "3", "--verify"]);
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A fast log sends the terminal no more than it may, is shown up to its newest entry, and a key is still answered.
#[test]
fn a_fast_log() {
    let (daemon, admin) = busy();
    let proxy = Proxy::start(daemon.address());
    let mut console = console(&daemon, &proxy, Setup::new());
    let from = console.settle();
    let began = Instant::now();
    let last = std::thread::scope(|scope| {
        let many = (0..4).map(|_| {
            scope.spawn(|| {
                let mut last = 0;
                while began.elapsed() < Duration::from_secs(5) {
                    last = admin.get("/models/nothing").log_index();
                }
                last
            })
        });
        let many: Vec<_> = many.collect();
        many.into_iter().map(|one| one.join().unwrap()).max().unwrap()
    });
    let (octets, seconds) = (console.count() - from, began.elapsed().as_secs_f64());
    let most = 8_192.0 * (seconds + 1.0);
    println!("{octets} octets in {seconds:.1} s, up to entry {last}");
    assert!(octets > 0 && f64::from(u32::try_from(octets).unwrap()) <= most, "{octets} octets in {seconds} s");
    let took = console.wait_for(&last.to_string());
    println!("the newest is shown after {took:?}");
    assert!(took < Duration::from_secs(1) + BUSY, "{took:?}");
    console.press("k");
    console.wait_for("PAUSED");
    assert!(!console.shows("BROKEN"), "{}", console.screen());
    console.quit();
}

/// The profile names the log's key, its witnesses and how many of them must have signed: nothing is taken on first use, what
/// they cosigned is told, and a log of another key is an alarm at once. A key that is none is refused before anything is
/// asked.
#[test]
fn keys_of_a_profile() {
    let mut daemon = Daemon::start();
    let log_key = daemon.ledger().vkey();
    let witness = Witness::start("witness.example/w1", std::slice::from_ref(&log_key));
    daemon.stop();
    let policy = format!("log {log_key}\n{}quorum w1\n", witness.policy_line("w1"));
    fs::write(daemon.work_dir().join("policy"), policy).unwrap();
    // The witness goes first at the end.
    daemon.expect_line("a witness did not cosign");
    daemon.set("MREG_WITNESS_MODE", "background");
    daemon.set("MREG_WITNESS_POLICY", "policy");
    daemon.restart();
    act(&daemon.admin());
    until("a cosigned checkpoint", || (daemon.client().get("/log/checkpoint.witnessed").status == 200).then_some(()));
    let url = format!("http://{}", daemon.address());
    let config = |key: &str| {
        format!(
            "[profiles.here]\nurl = \"{url}\"\nuser = \"admin\"\nlog_key = \"{key}\"\nwitnesses = [\"{}\"]\nquorum = 1\n",
            witness.vkey()
        )
    };
    for (key, shown) in
        [(key(&daemon), "1 of 1 asked for; cosigned up to"), (key(&Daemon::start()), "1 of 1 asked for; none seen")]
    {
        let is_own = key == log_key.to_string();
        let mut console = Setup::new().size(120, 40).config(&config(&key)).start();
        console.wait_for("Password");
        console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
        console.wait_for("admin admin");
        console.press("2");
        console.wait_for("[2 Audit]");
        console.wait_for(if is_own { "FOLLOWING" } else { "X BROKEN" });
        console.settle();
        if !is_own {
            console.wait_for("AUDIT LOG VERIFICATION FAILED");
        }
        console.press("V");
        console.wait_for("set in the configuration");
        console.wait_for(shown);
        assert_eq!(console.shows("BROKEN"), !is_own, "{}", console.screen());
        console.press("<Esc>");
        console.wait_gone("PINNED");
        console.quit();
    }
    let mut console = Setup::new().config(&config("log+none")).args(&["--profile", "here"]).start();
    assert_eq!(console.wait_end().0, 2);
    console.assert_given_back();
}
