//! A registry to look at and to load: people of all roles, models with several versions, something held back, something in
//! the drop folder that waits, and readers and writers that make so many entries a second over HTTP. What is made has the
//! shapes of everyday use. Knows the interface; refuses to know the store.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::role::Role;
use serde_json::json;

use crate::daemon::{Daemon, workspace};
use crate::http::{Client, Connection, Ledger};
use crate::multipart::Form;
use crate::samples;

/// Names and roles of the people besides the first admin.
pub const PEOPLE: [(&str, Role); 9] = [
    ("alice", Role::Admin),
    ("bob", Role::Contributor),
    ("carol", Role::Contributor),
    ("dave", Role::Contributor),
    ("svc-ci", Role::Contributor),
    ("erin", Role::Auditor),
    ("frank", Role::Auditor),
    ("grace", Role::Viewer),
    ("heidi", Role::Viewer),
];
/// What samples of the corpus that inspection holds back pose as.
const HELD: [&str; 3] = ["team-speech/asr-large", "team-nlp/rerank", "search/embed-base"];
const TEAMS: [&str; 5] = ["team-nlp", "team-vision", "team-speech", "search", "fraud"];
const KINDS: [&str; 10] =
    ["intent-router", "summariser", "ner-multi", "toxicity", "asr", "translate", "embed", "rerank", "keyphrase", "tts"];
/// Connections of a load.
const WRITERS: u64 = 8;

/// The people, signed in; those that are there already sign in.
pub fn people(daemon: &Daemon) -> Vec<(Role, Client)> {
    let known = daemon.admin().value("/users?limit=1000");
    let known: Vec<&str> =
        known["items"].as_array().unwrap().iter().filter_map(|user| user["username"].as_str()).collect();
    let signed_in = |(name, role): (&str, Role)| {
        let client = match known.contains(&name) {
            true => daemon.client().signed_in(name, &Daemon::password_of(name)),
            false => daemon.user(name, role),
        };
        (role, client)
    };
    PEOPLE.into_iter().map(signed_in).collect()
}

fn of(people: &[(Role, Client)], role: Role) -> Vec<&Client> {
    people.iter().filter(|(one, _client)| *one == role).map(|(_role, client)| client).collect()
}

/// A model's name, unlike any other's.
pub fn name(number: u64) -> String {
    let pick = |of: &[&'static str], number: u64| of[usize::try_from(number % of.len() as u64).unwrap()];
    format!("{}/{}-{number:04}", pick(&TEAMS, number), pick(&KINDS, number / TEAMS.len() as u64))
}

/// Publishes so many models, every third with two versions, by several people; some have aliases and tags.
pub fn models(people: &[(Role, Client)], count: u64) {
    let contributors = of(people, Role::Contributor);
    let each = contributors.len();
    std::thread::scope(|scope| {
        for (first, client) in contributors.into_iter().enumerate() {
            scope.spawn(move || {
                for number in (first as u64..count).step_by(each) {
                    publish(client, number);
                }
            });
        }
    });
}

fn publish(client: &Client, number: u64) {
    let seed = u32::try_from(number).unwrap();
    for version in 0..1 + u32::from(number.is_multiple_of(3)) {
        let config = format!("{{\"hidden_size\": 256, \"num_labels\": {}}}\n", 2 + seed + version);
        let tags = json!({"stage": (["dev", "test", "prod"])[seed as usize % 3], "project": format!("p{}", seed % 10)});
        let mut form = Form::new()
            .file("config.json", config.as_bytes())
            .file("model.safetensors", &samples::safetensors(seed * 2 + version))
            .text("name", &name(number))
            .text("tags", &tags.to_string())
            .text("description", &format!("{}, trained for the {}. time", name(number), version + 1));
        if number.is_multiple_of(5) {
            form = form.text("alias", "stage");
        }
        client.publish(form).expect(201);
    }
}

/// Publishes samples of the corpus that end in quarantine.
pub fn held(people: &[(Role, Client)]) {
    let corpus = tempfile::tempdir().unwrap();
    let archive = workspace().join("tests/corpus/files.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(corpus.path());
    assert!(tar.status().expect("tar runs").success(), "the corpus is not unpacked");
    let contributors = of(people, Role::Contributor);
    let mut hostile: Vec<_> =
        fs::read_dir(corpus.path().join("hostile")).unwrap().map(|entry| entry.unwrap().path()).collect();
    hostile.retain(|path| path.extension().is_some_and(|kind| kind == "pkl"));
    hostile.sort();
    for (number, (sample, name)) in hostile.iter().zip(HELD).enumerate() {
        let octets = fs::read(sample).unwrap();
        let state = contributors[number % contributors.len()].upload(name, "model.pkl", &octets)["state"].clone();
        assert_eq!(state, "quarantined", "{}", sample.display());
    }
}

/// Something for each state of the drop folder: what arrives, what is refused, and a file that somebody is still writing,
/// as long as what this gives is there.
pub fn dropped(folder: &Path) -> io::Result<File> {
    let incoming = folder.join("incoming");
    for number in 0..5_u32 {
        let path = incoming.join(format!("arrived-{number}.safetensors"));
        fs::write(path, samples::safetensors(1_000_000 + number))?;
    }
    fs::write(incoming.join("hostile.pkl"), samples::hostile_pickle())?;
    // What is no file of its own is refused.
    std::os::unix::fs::symlink("/etc/hostname", incoming.join("a-link.safetensors"))?;
    let mut open = File::create(incoming.join("still-written.safetensors"))?;
    open.write_all(&samples::safetensors(3_000_000)[..64])?;
    Ok(open)
}

// ---- load -----------------------------------------------------------------------------------------------------------

/// Who acts, and on what.
#[derive(Debug, Clone)]
pub struct Acts {
    contributor: String,
    viewer: String,
    auditor: String,
    models: Vec<String>,
}

impl Acts {
    /// By the first of the people of a role, on up to a thousand models that are there.
    pub fn of(people: &[(Role, Client)]) -> Self {
        let token = |role| of(people, role)[0].token().to_owned();
        let page = of(people, Role::Viewer)[0].value("/models?limit=1000");
        let names =
            page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().replace('/', "%2F"));
        Self {
            contributor: token(Role::Contributor),
            viewer: token(Role::Viewer),
            auditor: token(Role::Auditor),
            models: names.collect(),
        }
    }

    /// A request that makes one entry, by its number, and the status it is to have.
    fn request(&self, number: u64, address: SocketAddr) -> (Vec<u8>, u16) {
        let of = self.models.len() as u64;
        let model = format!("/models/{}", self.models[usize::try_from(number.wrapping_mul(7919) % of).unwrap()]);
        let body = json!({"description": format!("described for the {number}. time")}).to_string();
        let (method, target, token, body, status) = match number % 10 {
            0..5 => ("PATCH", model, &self.contributor, body, 200),
            5..7 => ("PATCH", model, &self.viewer, body, 403),
            7 => ("PATCH", "/models/nothing".to_owned(), &self.contributor, body, 404),
            8 => ("DELETE", model, &self.viewer, String::new(), 403),
            _ => ("GET", "/audit-logs?limit=1".to_owned(), &self.auditor, String::new(), 200),
        };
        let octets = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        (octets.into_bytes(), status)
    }
}

/// What keeps making entries until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    writers: Vec<JoinHandle<io::Result<()>>>,
}

impl Load {
    /// Makes `rate` entries a second, at most `most` of them: changes, refusals, failures and readings of the log.
    pub fn start(address: SocketAddr, acts: Acts, rate: u64, most: u64) -> Self {
        let acts = Arc::new(acts);
        let (stop, made, turn) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let writers = (0..WRITERS.min(rate)).map(|_| {
            let (stop, made, turn, acts) = (Arc::clone(&stop), Arc::clone(&made), Arc::clone(&turn), Arc::clone(&acts));
            std::thread::spawn(move || {
                let mut line = Connection::open(address, Arc::new(Ledger::default()))?;
                loop {
                    let number = turn.fetch_add(1, Ordering::Relaxed);
                    let due = Duration::from_nanos(number * (1_000_000_000 / rate));
                    while let Some(wait) = due.checked_sub(began.elapsed()).filter(|wait| !wait.is_zero()) {
                        if stop.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        std::thread::sleep(wait.min(Duration::from_millis(100)));
                    }
                    if number >= most || stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let (octets, status) = acts.request(number, address);
                    line.write(&octets)?;
                    let answer = line.read_unchecked("PATCH")?;
                    assert_eq!(answer.status, status, "{}", answer.text());
                    // Where a body was refused unread.
                    if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                        line = Connection::open(address, Arc::new(Ledger::default()))?;
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self { stop: Arc::clone(&stop), made: Arc::clone(&made), writers: writers.collect() }
    }

    /// Entries so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Waits until all that were asked for are made.
    pub fn finish(self) -> u64 {
        for writer in self.writers {
            writer.join().unwrap().expect("the daemon answers");
        }
        self.made.load(Ordering::Relaxed)
    }

    /// Makes no more; how many there were.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }
}
