//! A whole installation: three daemons behind nginx, on one PostgreSQL and one object store, under mixed load, while one
//! after the other is taken away: a daemon, the database, the object store. Whatever was acknowledged to anybody is there
//! afterwards, from every daemon, and the log is one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::nginx::Nginx;
use tests::postgres::Postgres;
use tests::s3::{S3Server, SECRET};
use tests::{samples, wait};

use crate::pg;

/// Who works at once.
const CLIENTS: usize = 6;

/// What was acknowledged, and how it went.
#[derive(Default)]
struct Work {
    stop: AtomicBool,
    serial: AtomicU32,
    /// Names of models, and the number of the file that each has.
    published: Mutex<BTreeMap<String, u32>>,
    described: Mutex<BTreeMap<String, String>>,
    users: Mutex<Vec<String>>,
    done: AtomicUsize,
    /// Answers that say "later": 503 by a daemon, 502 or 504 by nginx, or none.
    later: AtomicUsize,
    read: AtomicUsize,
}

impl Work {
    fn go(&self, client: &Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.serial.fetch_add(1, Ordering::Relaxed);
            let before = self.done.load(Ordering::Relaxed);
            self.one(client, at);
            if self.done.load(Ordering::Relaxed) == before {
                // As a client would that was told to come later.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn one(&self, client: &Client, at: u32) {
        let known = self.published.lock().unwrap().iter().nth(at as usize / 7 % 50).map(|(n, f)| (n.clone(), *f));
        let name = format!("m{at}");
        let sent = match (at % 5, &known) {
            (0, _) | (_, None) => {
                let form = Form::new().file("m.safetensors", &samples::safetensors(at)).text("name", &name);
                client.request("POST", "/models").form(form).try_send()
            }
            (1, _) => {
                let body = json!({"username": name, "password": Daemon::password_of(&name), "role": "viewer"});
                client.request("POST", "/register").json(&body).try_send()
            }
            (2, Some((known, _))) => {
                let target = format!("/models/{known}");
                client.request("PATCH", &target).json(&json!({"description": name})).try_send()
            }
            (3, Some((known, _))) => client.request("GET", &format!("/models/{known}/download")).try_send(),
            (_, Some((known, _))) => client.request("GET", &format!("/models/{known}")).try_send(),
        };
        let Ok(answer) = sent else {
            self.later.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match answer.status {
            200 | 201 => {}
            502..=504 => {
                self.later.fetch_add(1, Ordering::Relaxed);
                return;
            }
            other => panic!("{} {known:?}: {other}: {}", at % 5, answer.text()),
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        match (at % 5, known) {
            (0, _) | (_, None) => drop(self.published.lock().unwrap().insert(name, at)),
            (1, _) => self.users.lock().unwrap().push(name),
            (2, Some((known, _))) => drop(self.described.lock().unwrap().insert(known, name)),
            (3, Some((_, file))) => {
                assert!(answer.body == samples::safetensors(file), "a download has other octets");
                self.read.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers, and says how long that took.
    fn wait_for_more(&self, answers: usize) -> Duration {
        let (before, began) = (self.done(), Instant::now());
        wait::until_count("answers", (before + answers) as u64, || self.done() as u64);
        began.elapsed()
    }
}

/// Zero acknowledged losses, whatever goes.
#[test]
fn nothing_acknowledged_is_lost() {
    let (mut database, objects, folder) = (Postgres::start(), S3Server::start(), TempDir::new().unwrap());
    let address = database.address();
    let sockets: Vec<String> =
        (0..3).map(|at| format!("unix:{}", folder.path().join(format!("{at}.sock")).display())).collect();
    let kept = objects.settings("p");
    let mut daemons: Vec<Daemon> = Vec::new();
    for socket in &sockets {
        let mut more: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (*name, value.as_str())).collect();
        more.extend([("MREG_LISTEN", socket.as_str()), ("MREG_TRUSTED_PROXIES", "unix")]);
        let mut daemon = Daemon::prepared(&pg::settings(&address, &more));
        if let Some(first) = daemons.first() {
            pg::copy_keys(first, &daemon);
        }
        daemon.restart();
        daemon.ledger().add_secret(SECRET);
        for line in pg::OUTAGE.into_iter().chain(["object store", "the blobs can't be reached"]) {
            daemon.expect_line(line);
        }
        daemons.push(daemon);
    }
    let nginx = Nginx::in_clear(&sockets);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| daemons[0].admin().at(nginx.address())).collect();
    let work = Work::default();
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| work.go(client));
        }
        work.wait_for_more(60);
        let began = (Instant::now(), work.done());

        // One daemon is killed: the others go on, and it comes back with all that was committed without it.
        daemons[1].kill();
        told.push(("a daemon is killed, next 60 answers", work.wait_for_more(60)));
        daemons[1].restart();
        work.wait_for_more(60);

        // The database ends as in a power cut, and comes back.
        database.crash();
        std::thread::sleep(Duration::from_secs(1));
        database.restart();
        told.push(("the database is back, next 60 answers", work.wait_for_more(60)));

        // The object store answers nobody, then everybody again. What needs no bytes goes on meanwhile.
        objects.set_down(true);
        told.push(("no object store, next 30 answers", work.wait_for_more(30)));
        objects.set_down(false);
        objects.heal();
        told.push(("the object store is back, next 60 answers", work.wait_for_more(60)));

        // All three, at once.
        daemons[2].kill();
        objects.set_down(true);
        database.crash();
        std::thread::sleep(Duration::from_secs(1));
        database.restart();
        objects.set_down(false);
        objects.heal();
        daemons[2].restart();
        told.push(("all came back, next 60 answers", work.wait_for_more(60)));
        let rate = (work.done() - began.1) as f64 / began.0.elapsed().as_secs_f64();
        work.stop.store(true, Ordering::Relaxed);
        println!("{rate:.0} answers/s over all of it");
    });
    for (what, took) in told {
        println!("{what}: {:.2} s", took.as_secs_f64());
    }
    let (published, described) = (work.published.into_inner().unwrap(), work.described.into_inner().unwrap());
    let users = work.users.into_inner().unwrap();
    println!(
        "acknowledged: {} models, {} users, {} descriptions; {} downloads; {} told to come later",
        published.len(),
        users.len(),
        described.len(),
        work.read.into_inner(),
        work.later.into_inner()
    );
    assert!(published.len() > 20 && users.len() > 20 && !described.is_empty());

    // Every daemon has all of it, and gives out the octets that were sent.
    for daemon in &daemons {
        wait::until_true("a daemon to be ready", || daemon.client().get("/readyz").status == 200);
        let admin = clients[0].at(daemon.address());
        for (name, file) in &published {
            let octets = admin.get(&format!("/models/{name}/download")).expect(200).body;
            assert!(octets == samples::safetensors(*file), "{name} has other octets");
        }
        for name in &users {
            admin.get(&format!("/users/{name}")).expect(200);
        }
        // Which of several came last is the log's to say; that each of them is in it, `stop` sees.
        for name in described.keys() {
            assert_ne!(admin.value(&format!("/models/{name}"))["description"], json!(""), "{name}");
        }
    }
    pg::verify(&daemons);
    pg::stop(&mut daemons, &database);
    assert_eq!(objects.parts_left(), [""; 0]);
}
