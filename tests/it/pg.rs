//! Several daemons on one log in PostgreSQL, from outside: one order for all, what one acknowledged all show at once, and
//! nothing acknowledged is lost whatever happens to daemons, server or network between.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use common::audit::{Ed25519Signer, Signer as _};
use common::role::Role;
use serde_json::{Value, json};
use tests::cutter::{Cutter, Mode};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::postgres::Postgres;
use tests::tail::{From, Tail};
use tests::{oracle, samples, wait};

const DATA: i32 = 65;
const ORIGIN: &str = "pg.test/log";
const TOKEN_KEY: &str = "one-key-of-tokens-for-all-the-daemons-of-a-test";
/// What a daemon says of a database that doesn't answer.
pub(super) const OUTAGE: [&str; 4] = [
    "requests are refused until the database answers",
    "the audit log can't be written",
    "didn't answer a commit",
    "can't be recorded",
];

/// Daemons on one database.
struct Cluster {
    daemons: Vec<Daemon>,
    server: Postgres,
}

/// A daemon's settings, with more or other ones.
pub(super) fn settings<'s>(address: &'s str, more: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
    let usual = [("MREG_DATABASE", address), ("JWT_SECRET_KEY", TOKEN_KEY), ("MREG_LOG_ORIGIN", ORIGIN)];
    usual
        .into_iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
        .chain(more.iter().copied())
        .collect()
}

/// A key directory with a key of the log.
fn give_key(dir: &Path, seed: u8) {
    let key = Ed25519Signer::from_seed(ORIGIN, &[seed; 32]).unwrap();
    fs::create_dir_all(dir).unwrap();
    let file = dir.join("log.key");
    fs::write(&file, format!("{}\n", &*key.to_secret())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A daemon with these keys and artifacts, that is not started.
fn joining(address: &str, keys_of: &Daemon, blobs: &Path) -> Daemon {
    let daemon = Daemon::prepared(&settings(address, &[]));
    copy_keys(keys_of, &daemon);
    share_blobs(&daemon, blobs);
    daemon
}

/// Artifacts are in a directory that all see.
pub(super) fn share_blobs(daemon: &Daemon, blobs: &Path) {
    fs::create_dir_all(blobs).unwrap();
    fs::create_dir_all(daemon.data_dir()).unwrap();
    std::os::unix::fs::symlink(blobs, daemon.data_dir().join("blobs")).unwrap();
}

/// The log's keys, as an operator copies them.
pub(super) fn copy_keys(from: &Daemon, to: &Daemon) {
    fs::create_dir_all(to.key_dir()).unwrap();
    fs::set_permissions(to.key_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from.key_dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("log") && name.ends_with(".key") {
            fs::copy(entry.path(), to.key_dir().join(name)).unwrap();
        }
    }
}

impl Cluster {
    fn start(count: usize) -> Self {
        Self::on(Postgres::start(), count)
    }

    fn on(server: Postgres, count: usize) -> Self {
        let address = server.address();
        let mut first = Daemon::prepared(&settings(&address, &[]));
        share_blobs(&first, &server.dir().join("blobs"));
        first.restart();
        let mut daemons = vec![first];
        while daemons.len() < count {
            let mut daemon = joining(&address, &daemons[0], &server.dir().join("blobs"));
            daemon.restart();
            daemons.push(daemon);
        }
        Self { daemons, server }
    }

    /// The outage that the test brings about is no surprise.
    fn expect_outage(&mut self) {
        for daemon in &mut self.daemons {
            for line in OUTAGE {
                daemon.expect_line(line);
            }
        }
    }

    fn verify(&self) {
        verify(&self.daemons);
    }

    fn stop(&mut self) -> Vec<oracle::Log> {
        stop(&mut self.daemons, &self.server)
    }
}

/// All are quiet: each shows the same checkpoint, octet by octet, and verifies the whole log.
pub(super) fn verify(daemons: &[Daemon]) {
    let vkey = daemons[0].ledger().vkey().to_string();
    // The last entries, such as the end of a download, may still be on their way.
    wait::until_true("all to show one checkpoint", || {
        let notes: BTreeSet<String> =
            daemons.iter().map(|daemon| daemon.client().get("/log/checkpoint").expect(200).text()).collect();
        notes.len() == 1
    });
    for daemon in daemons {
        let token = daemon.work_dir().join("token");
        fs::write(&token, daemon.admin().token()).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let url = format!("http://{}", daemon.address());
        let token = token.display().to_string();
        ok(daemon, &["log", "verify", "--vkey", &vkey, "--url", &url, "--token-file", &token]);
    }
}

/// Stops all, one after another: each replica begins with the whole of the ones before, and every word holds that was given
/// to anybody.
pub(super) fn stop(daemons: &mut [Daemon], server: &Postgres) -> Vec<oracle::Log> {
    let logs: Vec<oracle::Log> = daemons.iter_mut().map(Daemon::log).collect();
    for pair in logs.windows(2) {
        assert!(pair[1].leaves.starts_with(&pair[0].leaves), "replicas are different logs");
    }
    let last = logs.last().unwrap();
    for daemon in daemons.iter() {
        for (index, hash) in daemon.ledger().acknowledged() {
            last.has(index, &hash);
        }
    }
    let size: usize = server.psql("SELECT count(*) FROM mreg.log_entry").parse().unwrap();
    assert_eq!(size, last.leaves.len());
    logs
}

pub(super) fn ok(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.run(arguments, "");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(super) fn refused(output: &Output, parts: &[&str]) {
    let told = said(output);
    assert!(!output.status.success(), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part}: {told}");
    }
}

pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// Work of many kinds until told to stop; how many answers said yes, and how many that it can't be recorded now.
#[derive(Default)]
pub(super) struct Load {
    stop: AtomicBool,
    serial: AtomicU32,
    done: AtomicUsize,
    pub(super) refused: AtomicUsize,
    /// Models that were made.
    made: std::sync::Mutex<BTreeSet<String>>,
}

/// Stops the load when dropped.
struct Stops<'l>(&'l AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn work(&self, client: &Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.serial.fetch_add(1, Ordering::Relaxed);
            let name = format!("m{at}");
            let sent = match at % 4 {
                0 => client
                    .request("POST", "/models")
                    .form(
                        tests::multipart::Form::new()
                            .file("m.safetensors", &samples::safetensors(at))
                            .text("name", &name),
                    )
                    .try_send(),
                1 => client.request("GET", "/users/nobody").try_send(),
                2 => {
                    let body = json!({"username": name, "password": "a-perfectly-fine-one", "role": "viewer"});
                    client.request("POST", "/register").json(&body).try_send()
                }
                _ => client.request("GET", "/audit-logs?limit=5").try_send(),
            };
            let Ok(answer) = sent else { continue };
            match answer.status {
                200 | 201 | 404 => {
                    if at.is_multiple_of(4) {
                        self.made.lock().unwrap().insert(name);
                    }
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                503 => {
                    assert!(answer.header("retry-after").is_some());
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
    }

    pub(super) fn wait_for_more(&self, answers: usize) {
        let before = self.done.load(Ordering::Relaxed);
        let done = || self.done.load(Ordering::Relaxed) as u64;
        wait::until_count("answers", (before + answers) as u64, done);
    }

    /// Runs the load from clients, while something else happens.
    pub(super) fn during(&self, clients: &[Client], what: impl FnOnce()) {
        std::thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| self.work(client));
            }
            // Also where it fails, or the load would be waited for.
            let _stops = Stops(&self.stop);
            what();
        });
    }

    /// Every model that was acknowledged is there.
    pub(super) fn check(&self, client: &Client) {
        for name in self.made.lock().unwrap().iter() {
            client.get(&format!("/models/{name}")).expect(200);
        }
    }
}

pub(super) fn is_ready(daemon: &Daemon) -> bool {
    daemon.client().get("/readyz").status == 200
}

/// Three daemons under load make one gapless log, and what it makes is the same everywhere.
#[test]
fn one_log_for_all() {
    // Whatever level transactions have there of themselves.
    let server = Postgres::with(&[("default_transaction_isolation", "serializable")]);
    let mut cluster = Cluster::on(server, 3);
    let clients: Vec<Client> = (0..6).map(|n| cluster.daemons[n % 3].admin()).collect();
    let load = Load::default();
    load.during(&clients, || load.wait_for_more(240));
    for daemon in &cluster.daemons {
        load.check(&daemon.admin());
        assert!(is_ready(daemon));
        assert_eq!(daemon.admin().value("/status")["store"]["backend"], "postgresql");
    }
    cluster.verify();
    let told = ok(&cluster.daemons[1], &["check"]);
    assert!(told.contains("all is well"), "{told}");
    let logs = cluster.stop();
    let nodes: BTreeSet<&str> = logs[2].entries.iter().filter_map(|entry| entry["node"].as_str()).collect();
    assert_eq!(nodes.len(), 3);
    assert_eq!(logs[2].of("log.genesis").len(), 1);
    assert_eq!(logs[2].of("log.start").len(), 3);
    assert_eq!(logs[2].of("store.rebuild").len(), 0);
    // Times never go down, whoever's clock they are from.
    let times: Vec<&str> = logs[2].entries.iter().filter_map(|entry| entry["ts"].as_str()).collect();
    assert!(times.is_sorted());
}

/// What one daemon acknowledged, the next request to another sees: revocations, aliases, names.
#[test]
fn seen_at_once() {
    let cluster = Cluster::start(2);
    let [here, there] = [0, 1].map(|n| &cluster.daemons[n]);
    let (admin, other) = (here.admin(), here.admin().at(there.address()));
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    for n in 2..12_u32 {
        let (one, two) = if n % 2 == 0 { (&admin, &other) } else { (&other, &admin) };
        let form = tests::multipart::Form::new().file("m.safetensors", &samples::safetensors(n)).text("name", "m");
        one.publish(form).expect(201);
        one.put("/models/m/aliases/live", &json!({"version": n})).expect(200);
        assert_eq!(two.value("/models/m/aliases/live/history")["items"][0]["version"], n, "an alias is seen at once");
        let name = format!("user{n}");
        let user = here.user(&name, Role::Viewer);
        let elsewhere = user.at(if n % 2 == 0 { there } else { here }.address());
        elsewhere.get("/me").expect(200);
        if n % 4 < 2 {
            one.patch(&format!("/users/{name}"), &json!({"disabled": true})).expect(200);
        } else {
            user.post_empty("/logout").expect(204);
        }
        user.get("/me").problem("unauthenticated");
        elsewhere.get("/me").problem("unauthenticated");
    }
}

/// A tail on each daemon brings everything, whoever did it, in one order and with checkpoints that cover it.
#[test]
fn tails_see_all() {
    let cluster = Cluster::start(3);
    let mut tails: Vec<Tail> = cluster.daemons.iter().map(|daemon| Tail::open(&daemon.admin(), From::Now)).collect();
    let from = tails.iter().map(|tail| tail.next).max().unwrap();
    let mut last = 0;
    for n in 0..30_u32 {
        let admin = cluster.daemons[n as usize % 3].admin();
        last = admin.get(&format!("/audit-logs?limit=1&actor=nobody{n}")).expect(200).log_index();
    }
    let all: Vec<Vec<(u64, Vec<u8>)>> = tails
        .iter_mut()
        .map(|tail| tail.up_to(last).into_iter().filter(|(index, _leaf)| *index >= from).collect())
        .collect();
    assert!(all[0].len() >= 30);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

/// Daemons are killed under load, in turn; all that was acknowledged is there, and the others go on meanwhile.
#[test]
fn killed_daemons_lose_nothing() {
    let mut cluster = Cluster::start(2);
    let load = Load::default();
    let survivor = cluster.daemons[0].admin();
    for _ in 0..3 {
        let victim = cluster.daemons[1].admin();
        let load = &load;
        load.stop.store(false, Ordering::Relaxed);
        let daemon = &mut cluster.daemons[1];
        load.during(&[survivor.clone(), victim.clone(), victim], || {
            load.wait_for_more(20);
            daemon.kill();
            load.wait_for_more(20);
        });
        daemon.restart();
    }
    for daemon in &cluster.daemons {
        load.check(&daemon.client().signed_in(ADMIN, ADMIN_PASSWORD));
    }
    cluster.verify();
    cluster.stop();
}

/// The server ends as in a power cut, under load: 503 with Retry-After, not ready but alive, and everything comes back by
/// itself with nothing lost.
#[test]
fn database_restarts_under_load() {
    let mut cluster = Cluster::start(2);
    cluster.expect_outage();
    let clients: Vec<Client> = (0..4).map(|n| cluster.daemons[n % 2].admin()).collect();
    let load = Load::default();
    let Cluster { daemons, server } = &mut cluster;
    load.during(&clients, || {
        for _ in 0..2 {
            load.wait_for_more(20);
            server.crash();
            for daemon in daemons.iter() {
                wait::until_true("it to be unready", || !is_ready(daemon));
                daemon.client().get("/livez").expect(200);
                // A token can't be checked against what others may have revoked.
                daemon.admin().get("/me").problem("audit-unavailable");
            }
            server.restart();
            for daemon in daemons.iter() {
                wait::until_true("it to be ready again", || is_ready(daemon));
            }
        }
        load.wait_for_more(20);
    });
    assert!(load.refused.load(Ordering::Relaxed) > 0);
    for daemon in &cluster.daemons {
        load.check(&daemon.admin());
    }
    cluster.verify();
    cluster.stop();
}

/// A daemon that signs in to the database as `mreg`, who can be kept out, and the address at which it does.
fn as_a_role(server: &Postgres) -> (Daemon, String) {
    server.psql("CREATE ROLE mreg LOGIN; GRANT CREATE ON DATABASE postgres TO mreg");
    let address = format!("postgres://mreg@/postgres?host={}", server.dir().display());
    let mut daemon = Daemon::prepared(&settings(&address, &[]));
    share_blobs(&daemon, &server.dir().join("blobs"));
    daemon.restart();
    (daemon, address)
}

/// The session of a daemon's commits is ended under it, in its turn and out of it, and for a while it gets no other: reads go on,
/// changes get 503 until there is one, and nothing acknowledged is lost.
#[test]
fn the_writers_session_is_replaced() {
    let server = Postgres::start();
    let (first, address) = as_a_role(&server);
    let mut second = joining(&address, &first, &server.dir().join("blobs"));
    second.restart();
    let mut cluster = Cluster { daemons: vec![first, second], server };
    cluster.expect_outage();
    let Cluster { daemons, server } = &cluster;
    let clients: Vec<Client> = (0..4).map(|n| daemons[n % 2].admin()).collect();
    let admins = [0, 1].map(|n| daemons[n].admin());
    // Whoever has the turn, or waits for it.
    let in_turn = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE relation = 'mreg.log_head'::regclass \
                   AND mode = 'RowShareLock'";
    // Those by which daemons follow have a lock of their own for as long as they are there.
    let writers = "FROM pg_stat_activity WHERE usename = 'mreg' AND pid NOT IN \
                   (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    let load = Load::default();
    load.during(&clients, || {
        for _ in 0..20 {
            wait::until_true("a turn to be cut", || server.psql(in_turn) != "0");
            load.wait_for_more(10);
        }
        for n in 0..3 {
            server.psql("ALTER ROLE mreg NOLOGIN");
            // One may have signed in at that very moment.
            wait::until_true("the sessions to end", || {
                server.psql(&format!("SELECT count(pg_terminate_backend(pid)) {writers}")) == "0"
            });
            for (at, admin) in admins.iter().enumerate() {
                let name = format!("late{n}{at}");
                let user = json!({"username": name, "password": "a-perfectly-fine-one", "role": "viewer"});
                let answer = admin.post("/register", &user);
                assert!(answer.header("retry-after").is_some());
                answer.problem("audit-unavailable");
            }
            server.psql("ALTER ROLE mreg LOGIN");
            for daemon in daemons {
                wait::until_true("it to be ready again", || is_ready(daemon));
            }
            load.wait_for_more(20);
        }
    });
    assert!(load.refused.load(Ordering::Relaxed) > 0);
    for admin in &admins {
        load.check(admin);
        for n in 0..3 {
            for at in 0..2 {
                admin.get(&format!("/users/late{n}{at}")).problem("not-found");
            }
        }
    }
    cluster.verify();
    cluster.stop();
}

/// Makes commits of the server wait for a standby of that name; of none, if it is empty.
fn wait_for_standby(server: &Postgres, name: &str) {
    server.psql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
    server.psql("SELECT pg_reload_conf()");
    wait::until_true("the server to know its standbys", || server.psql("SHOW synchronous_standby_names") == name);
}

/// While nobody can tell what became of a commit, others are refused at once instead of kept waiting, and the one in doubt is
/// answered with the truth.
#[test]
fn a_commit_in_doubt_keeps_nobody_waiting() {
    let server = Postgres::with(&[("wal_level", "replica"), ("max_wal_senders", "2")]);
    let (daemon, _address) = as_a_role(&server);
    let mut cluster = Cluster { daemons: vec![daemon], server };
    cluster.expect_outage();
    let Cluster { daemons, server } = &cluster;
    let [admin, other] = [(); 2].map(|()| daemons[0].admin());
    let user = |name: &str| json!({"username": name, "password": "a-long-enough-password", "role": "viewer"});
    let waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_for_standby(server, "elsewhere");
    std::thread::scope(|scope| {
        let change = scope.spawn(|| admin.post("/register", &user("doubted")).expect(201));
        wait::until_true("a commit that waits", || server.psql(&format!("SELECT count(*) {waiting}")) == "1");
        // Which is a commit itself, and must not wait.
        server.psql("SET synchronous_commit = local; ALTER ROLE mreg NOLOGIN");
        server.psql(&format!("SELECT pg_terminate_backend(pid) {waiting}"));
        wait::until_true("it to be unready", || !is_ready(&daemons[0]));
        let refused = other.post("/register", &user("late"));
        assert!(refused.header("retry-after").is_some());
        refused.problem("audit-unavailable");
        assert!(!change.is_finished(), "something was said of what nobody knows");
        wait_for_standby(server, "");
        server.psql("ALTER ROLE mreg LOGIN");
        change.join().unwrap();
    });
    wait::until_true("it to be ready again", || is_ready(&daemons[0]));
    other.get("/users/doubted").expect(200);
    other.get("/users/late").problem("not-found");
    cluster.verify();
    cluster.stop();
}

/// A commit that waits for a standby has not happened yet, even where its connection is cut and the server shows it: it is
/// answered when the standby has it.
#[test]
fn commits_wait_for_the_standby() {
    let server = Postgres::with(&[("wal_level", "replica"), ("max_wal_senders", "2")]);
    let mut cluster = Cluster::on(server, 1);
    cluster.expect_outage();
    let admin = cluster.daemons[0].admin();
    let waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_for_standby(&cluster.server, "elsewhere");
    std::thread::scope(|scope| {
        let change = scope.spawn(|| {
            let user = json!({"username": "late", "password": "a-long-enough-password", "role": "viewer"});
            admin.request("POST", "/register").json(&user).send().expect(201);
        });
        for _cut in 0..2 {
            wait::until_true("a commit that waits", || {
                cluster.server.psql(&format!("SELECT count(*) {waiting}")) == "1"
            });
            assert!(!change.is_finished());
            cluster.server.psql(&format!("SELECT pg_terminate_backend(pid) {waiting}"));
        }
        wait::until_true("a commit that waits", || cluster.server.psql(&format!("SELECT count(*) {waiting}")) == "1");
        assert!(!change.is_finished(), "what the standby lacks was acknowledged");
        wait_for_standby(&cluster.server, "");
        change.join().unwrap();
    });
    cluster.daemons[0].admin().get("/users/late").expect(200);
    cluster.verify();
    cluster.stop();
}

/// A daemon that keeps its artifacts where the others don't see them doesn't start.
#[test]
fn artifacts_in_a_directory_of_its_own() {
    let cluster = Cluster::start(1);
    let address = cluster.server.address();
    let mut apart = Daemon::prepared(&settings(&address, &[]));
    copy_keys(&cluster.daemons[0], &apart);
    refused(&apart.run(&["serve"], ""), &["MREG_DATABASE", "does not keep its artifacts in"]);
    fs::remove_dir_all(apart.data_dir().join("blobs")).unwrap();
    share_blobs(&apart, &cluster.server.dir().join("blobs"));
    apart.restart();
    apart.stop();
    cluster.verify();
}

/// The connection is cut at every stage of a commit. What was committed is answered as committed, what was not is refused,
/// and a change is there exactly once if it was acknowledged.
#[test]
fn cut_connections() {
    let server = Postgres::start();
    let cutter = Cutter::to(&server.socket());
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", cutter.port());
    let daemon = Daemon::with(&settings(&address, &[]));
    let mut cluster = Cluster { daemons: vec![daemon], server };
    cluster.expect_outage();
    let daemon = &cluster.daemons[0];
    let admin = daemon.admin();
    let mut number = 0;
    for mode in [Mode::CutBefore, Mode::CutAfter] {
        for stage in ["SET LOCAL", "COMMIT"] {
            for _ in 0..3 {
                wait::until_true("it to be ready", || is_ready(daemon));
                number += 1;
                let name = format!("user{number}");
                cutter.set(mode(stage.as_bytes().to_vec()));
                let cuts = cutter.cuts();
                let body = json!({"username": name, "password": "a-perfectly-fine-one", "role": "viewer"});
                let answer = admin.post("/register", &body);
                assert!(cutter.cuts() > cuts, "{stage} was not cut");
                cutter.set(Mode::Pass);
                let committed = stage == "COMMIT" && mode(Vec::new()) == Mode::CutAfter(Vec::new());
                match answer.status {
                    201 => {}
                    503 if !committed => {
                        answer.problem("audit-unavailable");
                    }
                    other => panic!("{stage}: {other} {}", answer.text()),
                }
                wait::until_true("it to be ready", || is_ready(daemon));
                let there = admin.get(&format!("/users/{name}")).status == 200;
                assert_eq!(there, answer.status == 201, "{stage}: what was said is what is");
            }
        }
    }
    // Cut while nothing happens, the next request notices nothing.
    cutter.cut();
    wait::until_true("it to be ready", || is_ready(daemon));
    admin.get("/users/admin").expect(200);
    let log = cluster.stop().remove(0);
    for n in 1..=number {
        let made =
            log.of("user.create").into_iter().filter(|entry| entry["data"]["name"] == format!("user{n}")).count();
        assert!(made <= 1, "user{n} was made {made} times");
    }
}

/// A network that is slow, or a turn whose daemon falls silent, costs time and nothing else: others go on.
#[test]
fn slow_and_silent() {
    let mut cluster = Cluster::start(1);
    let cutter = Cutter::to(&cluster.server.socket());
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", cutter.port());
    let mut far = joining(&address, &cluster.daemons[0], &cluster.server.dir().join("blobs"));
    far.restart();
    cluster.daemons.push(far);
    cluster.expect_outage();
    let [near, far] = [0, 1].map(|n| &cluster.daemons[n]);
    let (near_admin, far_admin) = (near.admin(), far.admin());
    cutter.set(Mode::Slow(Duration::from_millis(30)));
    let load = Load::default();
    load.during(&[near_admin.clone(), far_admin.clone(), far_admin.clone()], || load.wait_for_more(40));
    // The far daemon has the turn, and never hears that it has: the server ends it, and others come to theirs.
    cutter.set(Mode::HoldAfter(b"SET LOCAL".to_vec()));
    let cuts = cutter.cuts();
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| far_admin.get("/audit-logs?limit=1").status);
        wait::until_true("the turn to be held", || cutter.cuts() > cuts);
        wait::until_true("the near daemon to commit", || {
            let answer = near_admin.get("/audit-logs?limit=1");
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            answer.status == 200
        });
        let status = silent.join().unwrap();
        assert!(matches!(status, 200 | 503), "{status}");
    });
    wait::until_true("the far daemon to come back", || is_ready(far));
    wait::until_true("the near daemon to be ready", || is_ready(near));
    cluster.verify();
    cluster.stop();
}

/// Daemons that begin on an empty database at the same moment: with one key they are one log with one genesis; with keys of
/// their own one begins it, and the others say what they lack and leave nothing in the way.
#[test]
fn genesis_race() {
    let server = Postgres::start();
    let address = server.address();
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::prepared(&settings(&address, &[]))).collect();
    for daemon in &daemons {
        give_key(&daemon.key_dir(), 7);
        share_blobs(daemon, &server.dir().join("blobs"));
    }
    std::thread::scope(|scope| {
        for daemon in &mut daemons {
            scope.spawn(|| daemon.restart());
        }
    });
    let mut cluster = Cluster { daemons, server };
    cluster.verify();
    let logs = cluster.stop();
    let last = logs.last().unwrap();
    let made = last.of("user.create").into_iter().filter(|entry| entry["outcome"] == "ok").count();
    assert_eq!((last.of("log.genesis").len(), last.of("log.start").len(), made), (1, 3, 1));
    drop(cluster);

    let server = Postgres::start();
    let address = server.address();
    let daemons: Vec<Daemon> = (0..3).map(|_| Daemon::prepared(&settings(&address, &[]))).collect();
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let running: Vec<_> = daemons.iter().map(|daemon| scope.spawn(|| daemon.run(&["init-db"], ""))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let winner = outputs.iter().position(|output| output.status.success()).expect("one begins the log");
    for (n, output) in outputs.iter().enumerate().filter(|(n, _output)| *n != winner) {
        refused(output, &["is signed with the key", "copy the key files"]);
        assert!(!daemons[n].key_dir().join("log.key").exists(), "its own key is in the way of the right one");
        copy_keys(&daemons[winner], &daemons[n]);
        ok(&daemons[n], &["init-db"]);
    }
    drop(daemons);
}

/// What a daemon refuses to start with, and what it says then.
#[test]
fn refusals() {
    let mut server = Postgres::start();
    let address = server.address();
    let mut first = Daemon::with(&settings(&address, &[]));
    let vkey = first.ledger().vkey().to_string();
    first.stop();

    // Another key, none at all, another name.
    let other = Daemon::prepared(&settings(&address, &[]));
    give_key(&other.key_dir(), 9);
    let others = Ed25519Signer::from_seed(ORIGIN, &[9; 32]).unwrap().verifier().to_string();
    refused(&other.run(&["init-db"], ""), &[&vkey, &others]);
    let none = Daemon::prepared(&settings(&address, &[]));
    refused(&none.run(&["init-db"], ""), &[&vkey, "has no key"]);
    let named = Daemon::prepared(&settings(&address, &[("MREG_LOG_ORIGIN", "other.test/log")]));
    copy_keys(&first, &named);
    refused(&named.run(&["init-db"], ""), &["pg.test/log", "other.test/log"]);
    // They never signed anything.
    for mut daemon in [other, none, named] {
        daemon.leave_unverified();
    }

    // The replica alone, without its database; and an embedded store that the database knows nothing of.
    first.set("MREG_DATABASE", "");
    refused(&first.run(&["init-db"], ""), &["is a replica of the log in", "mregd migrate --from"]);
    first.set("MREG_DATABASE", &address);
    refused(&first.run(&["log", "accept-rollback", "--reason", "x", "--yes"], ""), &["mregd migrate --to"]);

    // A newer version's tables.
    server.psql("INSERT INTO mreg.schema_version (version, applied_by) VALUES (99, 'mregd 99.0')");
    refused(&first.run(&["init-db"], ""), &["version 99", "mregd 99.0", "version 1", "newer mregd"]);
    server.psql("DELETE FROM mreg.schema_version WHERE version = 99");

    // A server that loses what it confirms.
    for (setting, part) in [("fsync", "fsync=off"), ("full_page_writes", "full_page_writes=off")] {
        server.stop();
        server.set(setting, "off");
        server.restart();
        refused(&first.run(&["init-db"], ""), &[part]);
        server.stop();
        server.set(setting, "on");
        server.restart();
    }
    // What a session may set itself is set.
    server.psql("ALTER SYSTEM SET synchronous_commit = off");
    server.psql("SELECT pg_reload_conf()");
    ok(&first, &["init-db"]);
    // Entries are not changed by a slip.
    assert!(server.try_psql("DELETE FROM mreg.log_entry").is_none());
    assert!(server.try_psql("TRUNCATE mreg.log_entry").is_none());
    assert!(server.try_psql("UPDATE mreg.log_entry SET leaf = ''").is_none());
}

/// A database that lost commits is refused, by running daemons and by ones that start, and nothing is signed on it. What the
/// replicas still have is put into a new database, and the log goes on.
#[test]
fn lost_commits_are_refused() {
    let mut cluster = Cluster::start(1);
    cluster.expect_outage();
    cluster.daemons[0].expect_line("the audit log failed");
    cluster.daemons[0].expect_line("error: ");
    cluster.server.stop();
    cluster.server.back_up();
    cluster.server.restart();
    wait::until_true("it to be ready", || is_ready(&cluster.daemons[0]));
    let admin = cluster.daemons[0].admin();
    for n in 0..5_u32 {
        let body = json!({"username": format!("lost{n}"), "password": "a-perfectly-fine-one", "role": "viewer"});
        admin.post("/register", &body).expect(201);
    }
    let note = admin.get("/log/checkpoint").text();
    cluster.server.stop();
    cluster.server.restore();
    cluster.server.restart();
    // It stops by itself with its next commit, at the latest the one that says that the database answers again.
    let status = cluster.daemons[0].wait();
    assert!(!status.success());
    let told = cluster.daemons[0].stderr().join("\n");
    assert!(told.contains("were acknowledged are missing from the database"), "{told}");
    refused(&cluster.daemons[0].run(&["init-db"], ""), &["are missing from the database", "mregd migrate --to"]);
    assert_eq!(oracle::checkpoint(&cluster.daemons[0].data_dir()), note);

    let fresh = Postgres::start();
    let daemon = &mut cluster.daemons[0];
    let told = ok(daemon, &["migrate", "--to", &fresh.address()]);
    assert!(told.contains("copied and read back"), "{told}");
    daemon.set("MREG_DATABASE", &fresh.address());
    daemon.restart();
    daemon.client().signed_in(ADMIN, ADMIN_PASSWORD).get("/users/lost4").expect(200);
    let log = daemon.log();
    let size: usize = fresh.psql("SELECT size FROM mreg.log_head").parse().unwrap();
    assert_eq!(size, log.leaves.len());
}

/// A key is rotated once every daemon has it; one that lacks it neither signs nor commits, says so, and goes on by itself
/// when it gets it.
#[test]
fn rotation() {
    let mut cluster = Cluster::start(2);
    for daemon in &mut cluster.daemons {
        daemon.expect_line("can't be written");
    }
    let [first, second] = [0, 1].map(|n| &cluster.daemons[n]);
    let rotate = ["log", "rotate-key", "--overlap", "1h"];
    let said_hello = || cluster.server.psql("SELECT count(*) FROM mreg.daemon");
    wait::until_true("both to say that they are there", || said_hello() == "2");
    refused(&first.run(&rotate, ""), &["other daemons lack it", "copy "]);
    assert_eq!(first.admin().value("/status")["log"]["vkeys"].as_array().unwrap().len(), 1);
    copy_keys(first, second);
    let told = wait::until("the other to say that it has the key", || {
        let output = first.run(&rotate, "");
        output.status.success().then(|| said(&output))
    });
    let vkey = told.lines().find_map(|line| line.strip_prefix("log key: ")).unwrap().to_owned();
    for daemon in [first, second] {
        assert_eq!(daemon.admin().value("/status")["log"]["vkey"], vkey.as_str());
        let note = daemon.client().get("/log/checkpoint").text();
        assert_eq!(oracle::signatures(&note), 2);
        oracle::open_note(&note, &vkey);
    }
    cluster.verify();

    // One that was away meanwhile, and comes back without the key.
    let mut third = joining(&cluster.server.address(), first, &cluster.server.dir().join("blobs"));
    fs::remove_file(third.key_dir().join("log.key")).unwrap();
    refused(&third.run(&["init-db"], ""), &["is signed with the key"]);
    copy_keys(first, &third);
    third.restart();
    third.admin().get("/users/admin").expect(200);
    cluster.daemons.push(third);
    cluster.verify();
    cluster.stop();
}

/// A daemon that loses a key file and then meets the entry that brings a new key stops serving until it has it.
#[test]
fn lacking_the_new_key() {
    let mut cluster = Cluster::start(2);
    cluster.daemons[1].expect_line("the audit log can't be written");
    let [first, second] = [0, 1].map(|n| &cluster.daemons[n]);
    let (admin, second_admin) = (first.admin(), second.admin());
    wait::until_true("both to say that they are there", || {
        cluster.server.psql("SELECT count(*) FROM mreg.daemon") == "2"
    });
    // As if the second had said nothing for long: it is not waited for.
    cluster.server.psql(
        "CREATE FUNCTION mreg.old() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := now() - interval '1 hour'; \
         RETURN NEW; END $$; CREATE TRIGGER old BEFORE INSERT OR UPDATE ON mreg.daemon FOR EACH ROW EXECUTE FUNCTION \
         mreg.old(); UPDATE mreg.daemon SET node = node",
    );
    ok(first, &["log", "rotate-key", "--overlap", "1h"]);
    wait::until_true("the second to be unready", || !is_ready(second));
    second_admin.get("/me").problem("audit-unavailable");
    let told = second.stderr().join("\n");
    assert!(told.contains("lacks") && told.contains("Copy the key's file"), "{told}");
    admin.get("/users/admin").expect(200);
    copy_keys(first, second);
    wait::until_true("the second to be ready", || is_ready(second));
    cluster.verify();
    cluster.stop();
}

/// From a directory into a database and back, with a try before each: the same log, the same state, and never two that go on.
#[test]
fn there_and_back() {
    let server = Postgres::start();
    let address = server.address();
    let mut daemon = Daemon::with(&[("JWT_SECRET_KEY", TOKEN_KEY), ("MREG_LOG_ORIGIN", ORIGIN)]);
    let admin = daemon.admin();
    for n in 0..20_u32 {
        admin.upload(&format!("m{n}"), "m.safetensors", &samples::safetensors(n));
    }
    refused(&daemon.run(&["migrate", "--to", &address], ""), &["in use by another mregd"]);
    daemon.stop();
    let before = oracle::read(&daemon.data_dir()).leaves;
    let facts = |told: &str| {
        let lines = told.lines().filter(|line| line.contains(':')).take(4);
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let dry = ok(&daemon, &["migrate", "--to", &address, "--dry-run"]);
    assert!(dry.contains("nothing was written"), "{dry}");
    assert_eq!(server.psql("SELECT size FROM mreg.log_head"), "0");
    let there = ok(&daemon, &["migrate", "--to", &address]);
    assert_eq!(facts(&there), facts(&dry));
    assert_eq!(server.psql("SELECT size FROM mreg.log_head"), before.len().to_string());
    refused(&daemon.run(&["migrate", "--to", &address], ""), &["only an empty one is copied to"]);
    refused(&daemon.run(&["init-db"], ""), &["is a replica of the log in"]);

    daemon.set("MREG_DATABASE", &address);
    daemon.restart();
    let mut second = joining(&address, &daemon, &daemon.data_dir().join("blobs"));
    second.restart();
    let elsewhere = second.admin();
    assert_eq!(elsewhere.value("/models?limit=100")["items"].as_array().unwrap().len(), 20);
    elsewhere.upload("late", "m.safetensors", &samples::safetensors(99));
    let back = Daemon::prepared(&[("JWT_SECRET_KEY", TOKEN_KEY), ("MREG_LOG_ORIGIN", ORIGIN)]);
    copy_keys(&daemon, &back);
    refused(&back.run(&["migrate", "--from", &address], ""), &["stop all of them first"]);
    second.stop();
    daemon.stop();
    let dry = ok(&back, &["migrate", "--from", &address, "--dry-run"]);
    let mut back = back;
    std::os::unix::fs::symlink(daemon.data_dir().join("blobs"), back.data_dir().join("blobs")).unwrap();
    let here = ok(&back, &["migrate", "--from", &address]);
    assert_eq!(facts(&here), facts(&dry));
    refused(&second.run(&["init-db"], ""), &["ended", "goes on in the embedded store"]);
    back.expect_line("there is no high-water mark");
    back.restart();
    let admin = back.client().signed_in(ADMIN, ADMIN_PASSWORD);
    assert_eq!(admin.value("/models?limit=100")["items"].as_array().unwrap().len(), 21);
    let log = back.log();
    assert!(log.leaves.starts_with(&before));
}

/// A password, and TLS: with a certificate that is checked, with one that is not, and refused where it is another's.
#[test]
fn password_and_tls() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut server = Postgres::prepared(&[("ssl", "on"), ("listen_addresses", "127.0.0.1")]);
    server.give("server.crt", key.cert.pem().as_bytes());
    server.give("server.key", key.signing_key.serialize_pem().as_bytes());
    server.give("hba", b"local all all trust\nhostssl all mreg 127.0.0.1/32 scram-sha-256\n");
    for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key"), ("hba_file", "hba")] {
        server.set(name, &server.dir().join(file).display().to_string());
    }
    let port = Postgres::free_port().to_string();
    server.set("port", &port);
    server.restart();
    server.psql("CREATE ROLE mreg LOGIN PASSWORD 'a-secret-of-the-database'");
    server.psql("GRANT CREATE ON DATABASE postgres TO mreg");
    let daemon = Daemon::prepared(&settings("", &[]));
    let secret = daemon.work_dir().join("password");
    fs::write(&secret, "a-secret-of-the-database\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let authority = daemon.work_dir().join("ca.pem");
    fs::write(&authority, key.cert.pem()).unwrap();
    let other = daemon.work_dir().join("other.pem");
    fs::write(&other, rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    let mut daemon = daemon;
    daemon.ledger().add_secret("a-secret-of-the-database");
    let address = |host: &str, tls: &str| format!("postgres://mreg@{host}:{port}/postgres?{tls}");
    daemon.set("MREG_DATABASE", &address("localhost", "sslmode=require"));
    refused(&daemon.run(&["init-db"], ""), &["password"]);
    daemon.set("MREG_DATABASE_PASSWORD_FILE", &secret.display().to_string());
    let refusals = [
        ("localhost", "sslmode=disable".to_owned(), "can't be reached"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={}", other.display()), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={}", authority.display()), "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=none-here.pem".to_owned(), "none-here.pem"),
    ];
    for (host, tls, part) in &refusals {
        daemon.set("MREG_DATABASE", &address(host, tls));
        refused(&daemon.run(&["init-db"], ""), &[part]);
    }
    daemon.set("MREG_DATABASE", &address("localhost", "sslmode=require"));
    ok(&daemon, &["init-db"]);
    daemon.set(
        "MREG_DATABASE",
        &address("localhost", &format!("sslmode=verify-full&sslrootcert={}", authority.display())),
    );
    daemon.restart();
    let shown = ok(&daemon, &["config", "show"]);
    assert!(shown.contains("verify-full") && !shown.contains("a-secret-of"), "{shown}");
    daemon.admin().get("/users/admin").expect(200);
    let arguments = fs::read(format!("/proc/{}/cmdline", daemon.pid().as_raw_nonzero())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("a-secret"));
    daemon.stop();
}

/// `mregd check` proves that replica and database are one log, and names an entry that is not the same in both.
#[test]
fn check_compares() {
    let mut cluster = Cluster::start(1);
    let daemon = &mut cluster.daemons[0];
    daemon.admin().upload("m", "m.safetensors", &samples::safetensors(1));
    assert!(ok(daemon, &["check"]).contains("all is well"));
    daemon.stop();
    assert!(ok(daemon, &["check"]).contains("all is well"));
    assert!(ok(daemon, &["log", "rebuild"]).contains("rebuilt from"));
    cluster.server.psql("ALTER TABLE mreg.log_entry DISABLE TRIGGER append_only");
    cluster.server.psql("UPDATE mreg.log_entry SET change = 'x' WHERE seq = 3");
    let output = daemon.run(&["check"], "");
    assert_eq!(output.status.code(), Some(DATA), "{}", said(&output));
    assert!(said(&output).contains("entry 3"), "{}", said(&output));
    // A daemon that has the replica goes on; one that begins with nothing meets the entry, and refuses it.
    let value: Value = serde_json::from_str(&ok_or(daemon, &["check", "--json"])).unwrap();
    assert_eq!(value["passed"], false);
    let fresh = joining(&cluster.server.address(), &cluster.daemons[0], &cluster.server.dir().join("blobs"));
    refused(&fresh.run(&["init-db"], ""), &["journal record 3"]);
    assert!(oracle::journal(&fresh.data_dir().join("log")).is_empty(), "what is wrong is in the replica");
    cluster.server.psql(
        "UPDATE mreg.log_entry SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), '\"ok\"', '\"ko\"'), 'UTF8') WHERE \
         seq = 2",
    );
    refused(&fresh.run(&["init-db"], ""), &["one of the two was altered"]);
    assert!(oracle::journal(&fresh.data_dir().join("log")).is_empty(), "what is wrong is in the replica");
    let mut fresh = fresh;
    fresh.leave_unverified();
}

fn ok_or(daemon: &Daemon, arguments: &[&str]) -> String {
    String::from_utf8(daemon.run(arguments, "").stdout).unwrap()
}

/// A daemon that starts takes nothing of what others have under way in the directory of artifacts that they share.
#[test]
fn uploads_beside_a_start() {
    let mut cluster = Cluster::start(2);
    let admin = cluster.daemons[0].admin();
    let file = samples::safetensors(5);
    let resumable = |method: &str, path: &str| admin.request(method, path).header("Tus-Resumable", "1.0.0");
    let begun = resumable("POST", "/uploads").header("Upload-Length", &file.len().to_string()).send().expect(201);
    let path = begun.need("location").to_owned();
    let append = |offset: usize, octets: &[u8]| {
        let request = resumable("PATCH", &path).header("Upload-Offset", &offset.to_string());
        request.body("application/offset+octet-stream", octets).send().expect(204);
    };
    append(0, &file[..100]);
    cluster.daemons[1].stop();
    cluster.daemons[1].restart();
    append(100, &file[100..]);
    let form = tests::multipart::Form::new().text("name", "m").text("upload_id", path.rsplit('/').next().unwrap());
    admin.publish(form).expect(201);
    let elsewhere = admin.at(cluster.daemons[1].address());
    assert!(elsewhere.get("/models/m/download").expect(200).body == file);
    // An upload belongs to the daemon where it was begun.
    elsewhere.request("HEAD", &path).header("Tus-Resumable", "1.0.0").send().expect(404);
    cluster.verify();
    cluster.stop();
}

/// A daemon that is far behind signs nothing of a log whose entries don't come to the root that its head says, however many
/// there are.
#[test]
fn altered_entries_are_not_signed_on_the_way() {
    let mut cluster = Cluster::start(1);
    let cutter = Cutter::to(&cluster.server.socket());
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", cutter.port());
    let mut far = joining(&address, &cluster.daemons[0], &cluster.server.dir().join("blobs"));
    far.restart();
    far.expect_line("the audit log failed");
    far.expect_line("error: ");
    cluster.daemons.push(far);
    cluster.expect_outage();
    let admin = cluster.daemons[0].admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let far_client = cluster.daemons[1].client();
    let size = || cluster.server.psql("SELECT size FROM mreg.log_head").parse::<usize>().unwrap();
    wait::until_true("the far daemon to have all", || {
        let note = far_client.get("/log/checkpoint").expect(200).text();
        note.lines().nth(1).unwrap().parse::<usize>().unwrap() == size()
    });
    cutter.set(Mode::Refuse);
    wait::until_true("the far daemon to be cut off", || !is_ready(&cluster.daemons[1]));
    let note = oracle::checkpoint(&cluster.daemons[1].data_dir());
    let first = size();
    // More than is fetched at once: 8 MiB.
    let text = "x".repeat(16_000);
    for n in 0..600 {
        admin.patch("/models/m", &json!({"description": format!("{n}{text}")})).expect(200);
    }
    cluster.server.psql("ALTER TABLE mreg.log_entry DISABLE TRIGGER append_only");
    let change = format!(
        "UPDATE mreg.log_entry SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), 'model.update', 'model.delete'), \
         'UTF8') WHERE seq = {first} RETURNING seq"
    );
    assert_eq!(cluster.server.psql(&change).lines().next(), Some(first.to_string().as_str()));
    cutter.set(Mode::Pass);
    let status = cluster.daemons[1].wait();
    assert!(!status.success());
    let told = cluster.daemons[1].stderr().join("\n");
    assert!(told.contains("one of the two was altered"), "{told}");
    assert_eq!(oracle::checkpoint(&cluster.daemons[1].data_dir()), note);
    for daemon in &mut cluster.daemons {
        daemon.leave_unverified();
    }
}
