//! A primary and a standby of PostgreSQL, and daemons whose address names both: what was acknowledged survives the primary,
//! nothing is committed to a server that was replaced, and a standby that lacks entries is refused instead of gone on with. And
//! a database that has no connection left for a daemon.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use common::role::Role;
use serde_json::json;
use tempfile::TempDir;
use tests::cutter::{Cutter, Mode};
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::http::Client;
use tests::postgres::{Held, Postgres};
use tests::{oracle, wait};

use crate::pg::{self, Load, OUTAGE, copy_keys, is_ready, ok, refused, said, share_blobs};

/// What a daemon says of a server that was replaced and runs all the same.
const REPLACED: &str = "was replaced by a failover";

/// Daemons of one log that know both servers.
fn daemons(count: usize, address: &str, server: &Postgres) -> Vec<Daemon> {
    let mut daemons: Vec<Daemon> = Vec::new();
    while daemons.len() < count {
        let mut daemon = Daemon::prepared(&pg::settings(address, &[]));
        if let Some(first) = daemons.first() {
            copy_keys(first, &daemon);
        }
        share_blobs(&daemon, &server.dir().join("blobs"));
        daemon.restart();
        for line in OUTAGE.into_iter().chain([REPLACED]) {
            daemon.expect_line(line);
        }
        daemons.push(daemon);
    }
    daemons
}

fn size(server: &Postgres) -> usize {
    server.psql("SELECT size FROM mreg.log_head").parse().unwrap()
}

/// A commit waits until this standby has applied it.
fn wait_for_standby(primary: &Postgres, name: &str) {
    primary.reload(&[("synchronous_commit", "remote_apply"), ("synchronous_standby_names", name)]);
    wait::until_true("the standby to be synchronous", || {
        primary.psql("SELECT application_name, sync_state FROM pg_stat_replication") == format!("{name}|sync")
    });
}

/// Ends the connections that daemons have to a server.
fn cut(server: &Postgres) {
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mregd'");
}

/// The primary is killed under load and the standby promoted: 503 meanwhile, then everything goes on by itself with all that
/// was acknowledged. The old primary comes back as it was, and nobody writes to it, not even where it alone answers.
#[test]
fn standby_is_promoted() {
    let mut old = Postgres::with(Postgres::REPLICATED);
    let mut new = Postgres::standby_of(&old, "standby1");
    wait_for_standby(&old, "standby1");
    let address = old.address_with(&new);
    let mut daemons = daemons(2, &address, &new);
    let clients: Vec<Client> = (0..4).map(|n| daemons[n % 2].admin()).collect();
    let load = Load::default();
    load.during(&clients, || {
        load.wait_for_more(60);
        let killed = Instant::now();
        old.kill();
        for daemon in &daemons {
            wait::until_true("it to be unready", || !is_ready(daemon));
            daemon.client().get("/livez").expect(200);
            let answer = daemon.admin().get("/me");
            assert!(answer.header("retry-after").is_some());
            answer.problem("audit-unavailable");
        }
        let promoted = Instant::now();
        new.promote();
        for daemon in &daemons {
            wait::until_true("it to be ready again", || is_ready(daemon));
        }
        println!("unready for {:?}, of which {:?} after the promotion began", killed.elapsed(), promoted.elapsed());
        load.wait_for_more(60);

        // As it was: it takes itself for the primary.
        old.restart();
        let left = size(&old);
        let are_told = || daemons.iter().all(|daemon| daemon.stderr().join("\n").contains(REPLACED));
        // The old one may answer too late to be met by a look.
        wait::until_true("all to be told of the old one", || {
            cut(&new);
            load.wait_for_more(60);
            are_told()
        });
        assert_eq!(size(&old), left, "something was committed to the server that was replaced");
    });
    assert!(load.refused.load(std::sync::atomic::Ordering::Relaxed) > 0);
    for daemon in &daemons {
        load.check(&daemon.admin());
        assert!(daemon.stderr().join("\n").contains(REPLACED));
    }
    let left = size(&old);
    assert!(left < size(&new));

    // It alone answers: a daemon that saw the newer one refuses, and one that starts finds that it lacks entries.
    new.crash();
    for daemon in &daemons {
        wait::until_true("it to refuse the old primary", || {
            !is_ready(daemon) && daemon.stderr().join("\n").contains("which replaced it")
        });
        daemon.admin().get("/me").problem("audit-unavailable");
    }
    daemons[1].kill();
    refused(&daemons[1].run(&["init-db"], ""), &["are missing from the database", "a standby that was promoted"]);
    new.restart();
    daemons[1].restart();
    for daemon in &daemons {
        wait::until_true("it to be ready again", || is_ready(daemon));
    }
    assert_eq!(size(&old), left, "something was committed to the server that was replaced");

    // What was the primary becomes the standby, and takes over in its turn.
    drop(old);
    let third = Postgres::standby_of(&new, "standby2");
    wait_for_standby(&new, "standby2");
    for daemon in &mut daemons {
        daemon.stop();
        daemon.set("MREG_DATABASE", &new.address_with(&third));
        daemon.restart();
    }
    new.kill();
    third.promote();
    for daemon in &daemons {
        wait::until_true("it to be ready again", || is_ready(daemon));
        load.check(&daemon.client().signed_in(ADMIN, ADMIN_PASSWORD));
    }
    pg::verify(&daemons);
    pg::stop(&mut daemons, &third);
}

/// The primary's machine falls silent under load, as one does that is switched off: nobody is told, connections stay open.
/// Daemons don't wait for it until a question is given up for good, once the standby is the primary, and nothing is lost.
#[test]
fn primary_falls_silent() {
    let old = Postgres::with(Postgres::REPLICATED);
    let new = Postgres::standby_of(&old, "standby1");
    wait_for_standby(&old, "standby1");
    let ways = [&old, &new].map(|server| Cutter::to(&server.socket()));
    let [first, second] = [0, 1].map(|n| format!("127.0.0.1:{}", ways[n].port()));
    let mut daemons = daemons(2, &format!("postgres://postgres@{first},{second}/postgres"), &new);
    let clients: Vec<Client> = (0..4).map(|n| daemons[n % 2].admin()).collect();
    let load = Load::default();
    let mut took = Duration::ZERO;
    load.during(&clients, || {
        load.wait_for_more(60);
        ways[0].set(Mode::Silent);
        let silent = Instant::now();
        for daemon in &daemons {
            wait::until_true("it to be unready", || !is_ready(daemon));
            daemon.client().get("/livez").expect(200);
        }
        println!("noticed within {:?}", silent.elapsed());
        let promoted = Instant::now();
        new.promote();
        for daemon in &daemons {
            wait::until_true("it to be ready again", || is_ready(daemon));
        }
        took = silent.elapsed();
        println!("unready for {took:?}, of which {:?} after the promotion began", promoted.elapsed());
        load.wait_for_more(60);
        // It speaks again, and is the primary still for all it knows.
        let left = size(&old);
        ways[0].set(Mode::Pass);
        cut(&new);
        load.wait_for_more(60);
        assert_eq!(size(&old), left, "something was committed to the server that was replaced");
    });
    for daemon in &daemons {
        load.check(&daemon.admin());
        // Where the machine itself took as long, it says nothing.
        if took < Duration::from_secs(20) {
            let said = daemon.stderr().join("\n");
            assert!(!said.contains("no answer within 25 s"), "the old server was waited for to the end");
        }
    }
    pg::verify(&daemons);
    pg::stop(&mut daemons, &new);
}

/// A standby that lacked the last entries is promoted: no daemon goes on with it, one that runs or one that starts, and nothing
/// is committed there. Where they are given up, the log goes on under another name.
#[test]
fn standby_lacks_the_tail() {
    let mut old = Postgres::with(Postgres::REPLICATED);
    let mut new = Postgres::standby_of(&old, "standby1");
    let address = old.address_with(&new);
    let mut daemons = daemons(2, &address, &new);
    for daemon in &mut daemons {
        daemon.expect_line("the audit log failed");
        daemon.expect_line("error: ");
    }
    let admin = daemons[0].admin();
    let user = |name: &str| json!({"username": name, "password": "a-perfectly-fine-one", "role": "viewer"});
    admin.post("/register", &user("kept")).expect(201);
    let behind = || old.psql("SELECT pg_current_wal_lsn() <> replay_lsn FROM pg_stat_replication");
    wait::until_true("the standby to have all", || behind() == "f");
    new.stop();
    for n in 0..5 {
        admin.post("/register", &user(&format!("lost{n}"))).expect(201);
    }
    wait::until_true("both to have all", || {
        daemons
            .iter()
            .all(|daemon| daemon.client().get("/log/checkpoint").text().lines().nth(1) == Some(&size(&old).to_string()))
    });
    let note = oracle::checkpoint(&daemons[0].data_dir());
    daemons[1].kill();
    old.kill();
    new.restart();
    let left = size(&new);
    new.promote();
    assert!(!daemons[0].wait().success());
    let told = daemons[0].stderr().join("\n");
    let parts = ["are missing from the database", "mregd migrate --to", "mregd log accept-rollback"];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    for daemon in &daemons {
        refused(&daemon.run(&["init-db"], ""), &parts);
    }
    assert_eq!(size(&new), left, "something was committed on top of what lacks entries");
    assert_eq!(oracle::checkpoint(&daemons[0].data_dir()), note, "something was signed");

    // The loss is accepted: out of the database, under another name, and into another database.
    let mut alone = Daemon::prepared(&pg::settings("", &[]));
    copy_keys(&daemons[0], &alone);
    std::fs::copy(daemons[0].key_dir().join("log.mark"), alone.key_dir().join("log.mark")).unwrap();
    ok(&alone, &["migrate", "--from", &new.address()]);
    share_blobs(&alone, &new.dir().join("blobs"));
    refused(&alone.run(&["init-db"], ""), &["accept-rollback"]);
    ok(&alone, &["log", "accept-rollback", "--reason", "the standby lacked them", "--yes"]);
    let fresh = Postgres::start();
    ok(&alone, &["migrate", "--to", &fresh.address()]);
    alone.set("MREG_DATABASE", &fresh.address());
    alone.restart();
    let admin = alone.client().signed_in(ADMIN, ADMIN_PASSWORD);
    admin.get("/users/kept").expect(200);
    admin.get("/users/lost0").expect(404);
    let log = alone.log();
    assert_eq!(log.of("log.rollback_accepted").len(), 1);
}

/// All connections of a server that aren't reserved, taken by others.
fn fill(server: &Postgres) -> Vec<Held> {
    let mut held = Vec::new();
    while let Some(more) = server.hold("other") {
        held.push(more);
    }
    held
}

/// An address that leads to one server by two names is no pair of primaries.
#[test]
fn one_server_by_two_names() {
    let server = Postgres::with(&[]);
    let dir = TempDir::with_prefix("mreg-pg-").unwrap();
    let other = dir.path().join("other");
    symlink(server.dir(), &other).unwrap();
    let address = format!("postgres://postgres@/postgres?host={},{}", server.dir().display(), other.display());
    let mut daemon = Daemon::prepared(&pg::settings(&address, &[]));
    share_blobs(&daemon, &server.dir().join("blobs"));
    daemon.restart();
    daemon.user("eve", Role::Viewer);
    daemon.stop();
}

/// A daemon holds two connections. Where there is none left it says so and what to do; one that loses its own answers 503 and
/// waits for them, and nothing is lost.
#[test]
fn no_connection_left() {
    let server = Postgres::with(&[("max_connections", "12")]);
    server.psql("CREATE ROLE mreg LOGIN CONNECTION LIMIT 0; CREATE ROLE other LOGIN");
    server.psql("GRANT CREATE ON DATABASE postgres TO mreg");
    let address = format!("postgres://mreg@/postgres?host={}", server.dir().display());
    let mut daemon = Daemon::prepared(&pg::settings(&address, &[]));
    share_blobs(&daemon, &server.dir().join("blobs"));
    let none = ["no connection left for this daemon, which holds 2", "CONNECTION LIMIT", "max_connections"];
    refused(&daemon.run(&["serve"], ""), &none);
    let others = fill(&server);
    server.psql("ALTER ROLE mreg CONNECTION LIMIT 2");
    refused(&daemon.run(&["serve"], ""), &none);
    drop(others);

    // Two are enough.
    wait::until_true("others' connections to end", || {
        server.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'other'") == "0"
    });
    daemon.restart();
    for line in OUTAGE {
        daemon.expect_line(line);
    }
    let clients: Vec<Client> = (0..3).map(|_n| daemon.admin()).collect();
    let (load, admin) = (Load::default(), daemon.admin());
    let held = |user: &str| -> u32 {
        server.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'")).parse().unwrap()
    };
    load.during(&clients, || {
        load.wait_for_more(40);
        assert_eq!(held("mreg"), 2);
        // A comparison takes a third, and says so.
        let told = daemon.run(&["check"], "");
        assert!(said(&told).contains(none[0]), "{}", said(&told));

        // Its own are cut, and it may have none, then one, which is too few.
        for limit in [0, 1] {
            server.psql(&format!("ALTER ROLE mreg CONNECTION LIMIT {limit}"));
            cut(&server);
            wait::until_true("it to be unready", || !is_ready(&daemon));
            daemon.client().get("/livez").expect(200);
            // Whichever of the two it has, a change needs both.
            let user =
                json!({"username": format!("late{limit}"), "password": "a-perfectly-fine-one", "role": "viewer"});
            let answer = admin.post("/register", &user);
            assert!(answer.header("retry-after").is_some());
            answer.problem("audit-unavailable");
            assert!(held("mreg") <= limit);
            server.psql("ALTER ROLE mreg CONNECTION LIMIT 2");
            wait::until_true("it to be ready again", || is_ready(&daemon));
            load.wait_for_more(20);
        }

        // Others take all there are.
        let mut others = fill(&server);
        while held("mreg") > 0 {
            cut(&server);
            others.extend(fill(&server));
        }
        wait::until_true("it to say that there is none", || {
            let told = daemon.stderr().join("\n");
            !is_ready(&daemon) && (told.contains("connection slots are reserved") || told.contains("too many clients"))
        });
        drop(others);
        wait::until_true("it to be ready again", || is_ready(&daemon));
        load.wait_for_more(20);
    });
    load.check(&daemon.admin());
    let mut daemons = [daemon];
    pg::verify(&daemons);
    pg::stop(&mut daemons, &server);
}
