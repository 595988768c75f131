//! Blobs in an object store: the contract, what goes wrong on the way, several daemons at the same objects, and a real daemon
//! that keeps its artifacts there.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use common::digest::Digest;
use common::role::Role;
use daemon::blobs::s3::{Checksums, Identity, S3Blobs, S3Options};
use daemon::blobs::{BlobError, BlobReader, Blobs, Removal};
use daemon::config::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::postgres::Postgres;
use tests::s3::{BUCKET, Fault, KEY_ID, S3Server, SECRET, fetch};
use tests::samples::{self, sha256};
use tests::{oracle, wait};

use crate::pg;

/// The suite of the trait, which the daemon's own tests compile, too.
#[allow(unreachable_pub, reason = "in its own crate it is public")]
#[path = "../../daemon/src/blobs/contract.rs"]
mod contract;

/// More than is sent in one request: three parts, the last one short.
const PARTS: usize = (17 << 20) + 5;

fn options(server: &S3Server, prefix: &str, dir: &Path) -> S3Options {
    S3Options {
        bucket: BUCKET.into(),
        prefix: prefix.into(),
        endpoint: Some(server.url()),
        region: "us-east-1".into(),
        path_style: true,
        checksums: Checksums::Sha256,
        identity: Identity::Given {
            key_id: Secret::new(KEY_ID.into()),
            secret: Secret::new(SECRET.into()),
            session_token: None,
        },
        ca_file: None,
        hand_out: None,
        grace: None,
        dir: dir.to_owned(),
    }
}

fn open(server: &S3Server, dir: &Path) -> S3Blobs {
    S3Blobs::open(options(server, "p", dir), Some("a log")).unwrap()
}

fn octets(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251 + seed) % 251).unwrap()).collect()
}

fn digest(octets: &[u8]) -> Digest {
    Digest::from_hex(&sha256(octets)).unwrap()
}

fn try_keep(blobs: &dyn Blobs, octets: &[u8]) -> Result<Digest, BlobError> {
    let mut staged = blobs.stage()?;
    staged.write(octets)?;
    staged.keep(&digest(octets))?;
    Ok(digest(octets))
}

fn keep(blobs: &dyn Blobs, octets: &[u8]) -> Digest {
    try_keep(blobs, octets).unwrap()
}

fn read(blobs: &dyn Blobs, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let reader = blobs.open(digest)?;
    let mut octets = vec![0; usize::try_from(reader.len()).unwrap()];
    // In pieces, as a download does.
    let mut at = 0;
    for piece in octets.chunks_mut(256 << 10) {
        assert_eq!(reader.read_at(at, piece)?, piece.len());
        at += piece.len() as u64;
    }
    Ok(octets)
}

/// Where a blob lies below the prefix `p`.
fn key(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!("p/sha256/{}/{}", &hex[..2], &hex[2..])
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn why(error: BlobError) -> String {
    match error {
        BlobError::Unreachable { why, .. } => why,
        other => panic!("the store is not told to be unreachable: {other:?}"),
    }
}

/// Every promise of the trait, with checksums and without, alone and beside others.
#[test]
fn contract() {
    let server = S3Server::start();
    let dirs = TempDir::new().unwrap();
    for (variant, checksums, grace) in
        [("plain", Checksums::Sha256, None), ("shared", Checksums::None, Some(Duration::from_secs(7200)))]
    {
        let next = std::cell::Cell::new(0);
        contract::blob_contract(|| {
            let name = format!("{variant}/{}", next.replace(next.get() + 1));
            let options = S3Options { checksums, grace, ..options(&server, &name, &dirs.path().join(&name)) };
            Box::new(S3Blobs::open(options, Some("a log")).unwrap())
        });
    }
    let puts = server.seen("PUT", "/plain/");
    let puts: Vec<_> = puts.into_iter().filter(|put| put.target.contains("/sha256/")).collect();
    assert!(puts.iter().all(|put| put.has_checksum), "{puts:?}");
    assert_eq!(puts.iter().filter(|put| !put.is_conditional).count(), 2, "what replaces, and nothing else");
    assert!(server.seen("PUT", "/shared/").iter().all(|put| !put.has_checksum));
}

/// A large blob goes in parts, each with its checksum, and a part that fails is sent again. Nothing of it stays behind.
#[test]
fn in_parts() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    let whole = octets(PARTS, 1);
    server.fail("PUT", "partNumber=2", Fault::Status(503, "SlowDown"), 1);
    server.fail("PUT", "partNumber=3", Fault::Cut, 1);
    let digest = keep(&blobs, &whole);
    assert_eq!(server.failures_left(), 0);
    let parts = server.seen("PUT", "partNumber=");
    assert!(parts.len() == 5 && parts.iter().all(|part| part.has_checksum), "{parts:?}");
    assert!(fs::read(server.object(&key(&digest))).unwrap() == whole);
    assert!(read(&blobs, &digest).unwrap() == whole);
    // Small windows first, then ever larger ones, up to the end.
    let windows = server.seen("GET", "/sha256/");
    assert!((3..8).contains(&windows.len()), "{windows:?}");
    assert_eq!((count(&dir.path().join("uploads")), count(&dir.path().join("staging"))), (0, 0));
    assert_eq!(server.parts_left(), [""; 0]);

    // The answer to the last request is lost: it is asked again, and has happened.
    let other = octets(PARTS, 2);
    server.fail("POST", "uploadId=", Fault::Lost, 1);
    let digest = keep(&blobs, &other);
    assert!(fs::read(server.object(&key(&digest))).unwrap() == other);
    assert_eq!(count(&dir.path().join("uploads")), 0);
}

/// An upload in parts that fails leaves no object, and no parts: at once, or after the next start where the store was gone.
#[test]
fn parts_that_fail() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    let whole = octets(PARTS, 3);
    server.fail("PUT", "partNumber=2", Fault::Status(403, "AccessDenied"), usize::MAX);
    assert!(why(try_keep(&blobs, &whole).unwrap_err()).contains("does not allow"));
    assert_eq!(blobs.contains(&digest(&whole)).unwrap(), None);
    assert_eq!((server.seen("DELETE", "uploadId=").len(), count(&dir.path().join("uploads"))), (1, 0));

    server.heal();
    server.fail("PUT", "partNumber=3", Fault::Status(500, "InternalError"), usize::MAX);
    server.fail("DELETE", "uploadId=", Fault::Status(500, "InternalError"), usize::MAX);
    assert!(why(try_keep(&blobs, &whole).unwrap_err()).contains("fault of its own"));
    assert_eq!(count(&dir.path().join("uploads")), 1, "it is to be aborted later");
    assert!(blobs.reachable().is_err());
    server.heal();
    drop(blobs);
    let blobs = open(&server, dir.path());
    assert_eq!(blobs.sweep_staging().unwrap(), 0);
    assert_eq!(count(&dir.path().join("uploads")), 0);
    assert_eq!(server.parts_left(), [""; 0]);
    assert_eq!(keep(&blobs, &whole), digest(&whole));
}

/// An upload is aborted when nothing of it is on its way any more: a part that arrives later would stay.
#[test]
fn parts_that_are_late() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    let whole = octets(PARTS, 5);
    server.fail("PUT", "partNumber=1", Fault::Wait, 1);
    server.fail("PUT", "partNumber=2", Fault::Status(403, "AccessDenied"), usize::MAX);
    thread::scope(|scope| {
        let kept = scope.spawn(|| try_keep(&blobs, &whole));
        wait::until_true("the second part to be refused", || !server.seen("PUT", "partNumber=2").is_empty());
        // Time in which it might be aborted, were the first part not waited for.
        thread::sleep(Duration::from_millis(300));
        assert!(server.seen("DELETE", "uploadId=").is_empty() && !kept.is_finished());
        server.heal();
        assert!(why(kept.join().unwrap().unwrap_err()).contains("does not allow"));
    });
    assert_eq!(server.seen("DELETE", "uploadId=").len(), 1);
    assert_eq!((server.parts_left().len(), count(&dir.path().join("uploads"))), (0, 0));
}

/// Octets on their way may break off, and are asked for again from there; a store that is down is told apart from a blob that
/// is missing.
#[test]
fn reading() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    let whole = octets(3_000_000, 4);
    let digest = keep(&blobs, &whole);
    server.fail("GET", "/sha256/", Fault::Truncate(100_000), 2);
    server.fail("GET", "/sha256/", Fault::Status(500, "InternalError"), 1);
    server.fail("GET", "/sha256/", Fault::Truncate(70_000), 2);
    assert!(read(&blobs, &digest).unwrap() == whole);
    assert_eq!(server.failures_left(), 0);

    // Whoever jumps is given what they ask for, and little more.
    let before = server.seen("GET", "/sha256/").len();
    let reader = blobs.open(&digest).unwrap();
    let mut piece = [0; 10];
    for at in [2_000_000, 5, 1_000_000] {
        assert_eq!(reader.read_at(at, &mut piece).unwrap(), 10);
        assert_eq!(piece, whole[usize::try_from(at).unwrap()..][..10]);
    }
    let ranges: Vec<_> = server.seen("GET", "/sha256/").split_off(before).into_iter().map(|seen| seen.range).collect();
    assert_eq!(ranges[0].as_deref(), Some("bytes=2000000-2262143"));
    assert_eq!(ranges.len(), 3);

    server.set_down(true);
    assert!(why(reader.read_at(10, &mut piece).unwrap_err()).contains("connection"));
    assert!(matches!(blobs.open(&digest), Err(BlobError::Unreachable { .. })));
    assert!(matches!(blobs.contains(&digest), Err(BlobError::Unreachable { .. })));
    assert!(blobs.is_there().is_err() && blobs.reachable().is_err());
    assert!(matches!(try_keep(&blobs, b"new"), Err(BlobError::Unreachable { .. })));
    server.set_down(false);
    wait::until_true("the store to be seen again, with nobody asking", || blobs.reachable().is_ok());
    assert!(read(&blobs, &digest).unwrap() == whole);

    // Of another size than when it was opened.
    fs::write(server.object(&key(&digest)), b"short").unwrap();
    assert!(matches!(reader.read_at(0, &mut piece), Err(BlobError::Corrupt { .. })));
    assert!(matches!(reader.read_at(2_500_000, &mut piece), Err(BlobError::Corrupt { .. })));
    assert!(matches!(try_keep(&blobs, &whole), Err(BlobError::Corrupt { .. })));

    // Without its bucket nothing is missing: nothing is known.
    fs::rename(server.bucket(), server.bucket().with_extension("away")).unwrap();
    assert!(matches!(blobs.open(&digest), Err(BlobError::Unreachable { .. })));
    assert!(matches!(blobs.contains(&digest), Err(BlobError::Unreachable { .. })));
    assert!(blobs.is_there().is_err());
}

/// Who may not list is told that what is missing is forbidden. It is missing all the same, as long as the rest can be read.
#[test]
fn without_the_right_to_list() {
    let server = S3Server::start();
    server.fail("GET", "list-type=2", Fault::Status(403, "AccessDenied"), usize::MAX);
    server.fail("*", "", Fault::Hide, usize::MAX);
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    let kept = keep(&blobs, b"octets");
    let missing = digest(b"others");
    assert_eq!((blobs.contains(&kept).unwrap(), blobs.contains(&missing).unwrap()), (Some(6), None));
    assert!(matches!(blobs.open(&missing), Err(BlobError::NotFound(_))));
    assert!(blobs.list(&mut |_digest, _bytes| {}).is_err());
    blobs.remove(&kept).unwrap();
    assert_eq!(blobs.contains(&kept).unwrap(), None);
    // Really forbidden.
    server.heal();
    server.fail("*", "", Fault::Status(403, "AccessDenied"), usize::MAX);
    assert!(matches!(blobs.contains(&missing), Err(BlobError::Unreachable { .. })));
    assert!(blobs.remove(&missing).is_err(), "a removal that is denied is none");
}

/// Objects belong to one log. What is missing at a start is said in words.
#[test]
fn claims() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let open = |prefix: &str, log: Option<&str>| S3Blobs::open(options(&server, prefix, dir.path()), log);
    let refused = |prefix: &str, log: Option<&str>| match open(prefix, log) {
        Ok(_) => panic!("it opened"),
        Err(error) => format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string)),
    };
    // Whoever has no log, as a copy before the first start, claims nothing.
    open("a", None).unwrap();
    open("a", Some("one")).unwrap();
    open("a", Some("one")).unwrap();
    open("a", None).unwrap();
    assert!(refused("a", Some("other")).contains("belong to another registry"));
    open("b", Some("other")).unwrap();
    fs::write(server.object("b/mreg.json"), r#"{"format":9,"log":"other"}"#).unwrap();
    assert!(refused("b", Some("other")).contains("format 9"));
    fs::write(server.object("b/mreg.json"), "nonsense").unwrap();
    assert!(refused("b", Some("other")).contains("can't be understood"));

    server.fail("PUT", "/c/", Fault::Status(403, "AccessDenied"), usize::MAX);
    assert!(refused("c", None).contains("may not write objects below s3://models/c (s3:PutObject)"));
    server.heal();
    server.fail("GET", "/c/", Fault::Status(403, "AccessDenied"), usize::MAX);
    let said = refused("c", None);
    assert!(said.contains("s3://models/c"), "{said}");
    server.heal();
    server.fail("*", "/nowhere/", Fault::Status(404, "NoSuchBucket"), usize::MAX);
    for (change, said) in [
        (S3Options { bucket: "nowhere".into(), ..options(&server, "c", dir.path()) }, "the bucket is not there"),
        (
            S3Options {
                identity: Identity::Given {
                    key_id: Secret::new(KEY_ID.into()),
                    secret: Secret::new("wrong".into()),
                    session_token: None,
                },
                ..options(&server, "c", dir.path())
            },
            "the secret of the access key is wrong",
        ),
        (
            S3Options { endpoint: Some("http://127.0.0.1:1".into()), ..options(&server, "c", dir.path()) },
            "the connection to it fails",
        ),
    ] {
        match S3Blobs::open(change, None) {
            Err(BlobError::Unreachable { why, .. }) => assert!(why.contains(said), "{why}"),
            other => panic!("{said}: {:?}", other.map(|_opened| ())),
        }
    }
}

/// A store that does not know `If-None-Match` is spoken to without it.
#[test]
fn without_conditions() {
    let server = S3Server::start();
    let dir = TempDir::new().unwrap();
    let blobs = open(&server, dir.path());
    server.fail("PUT", "/sha256/", Fault::Status(501, "NotImplemented"), 1);
    let digest = keep(&blobs, b"octets");
    keep(&blobs, b"others");
    let puts: Vec<bool> = server.seen("PUT", "/sha256/").iter().map(|put| put.is_conditional).collect();
    assert_eq!(puts, [true, false, false]);
    assert_eq!(read(&blobs, &digest).unwrap(), b"octets");
}

/// Two daemons of one log at such a store, which keep the same octets at the same moment: both have them, whole, and nothing is
/// left of what was sent twice.
#[test]
fn two_without_conditions() {
    let server = S3Server::start();
    server.refuse_conditions();
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let grace = Some(Duration::from_secs(4 * 3600));
    let both = thread::scope(|scope| {
        let opening = dirs.each_ref().map(|dir| {
            let options = S3Options { grace, ..options(&server, "p", dir.path()) };
            scope.spawn(move || S3Blobs::open(options, Some("a log")).unwrap())
        });
        opening.map(|opening| opening.join().unwrap())
    });
    for (seed, len) in [100_000, 1_000_000, PARTS].into_iter().enumerate() {
        let octets = &*octets(len, seed);
        let part = if len == PARTS { "partNumber=1" } else { "/sha256/" };
        let before = server.seen("PUT", part).len();
        server.fail("PUT", part, Fault::Wait, 2);
        thread::scope(|scope| {
            let keeping = both.each_ref().map(|blobs| scope.spawn(move || keep(blobs, octets)));
            // Whoever was refused for its condition asks again without.
            wait::until_true("both to send", || {
                let sent = server.seen("PUT", part);
                sent[before..].iter().filter(|put| !put.is_conditional).count() == 2
            });
            server.heal();
            for (blobs, keeping) in both.iter().zip(keeping) {
                assert!(read(blobs, &keeping.join().unwrap()).unwrap() == octets);
            }
        });
    }
    assert_eq!(server.parts_left().len(), 0);
    assert!(dirs.iter().all(|dir| count(&dir.path().join("uploads")) == 0));
}

/// Two registries are given one prefix, and start at the same moment: one of them has it. The other is refused at once, or, where
/// the store knows no conditions, finds out and removes nothing.
#[test]
fn two_claims_at_once() {
    for is_conditional in [true, false] {
        let server = S3Server::start();
        if !is_conditional {
            server.refuse_conditions();
        }
        server.fail("GET", "/mreg.json", Fault::Wait, 2);
        let dirs = ["one", "other"].map(|log| (log, TempDir::new().unwrap()));
        let opened = thread::scope(|scope| {
            let opening = dirs.each_ref().map(|(log, dir)| {
                let options = options(&server, "p", dir.path());
                scope.spawn(move || S3Blobs::open(options, Some(*log)))
            });
            wait::until_true("both to look whose it is", || server.seen("GET", "/mreg.json").len() == 2);
            server.heal();
            opening.map(|opening| opening.join().unwrap())
        });
        let claim: Value = serde_json::from_slice(&fs::read(server.object("p/mreg.json")).unwrap()).unwrap();
        for ((log, _dir), opened) in dirs.iter().zip(opened) {
            match opened {
                Ok(blobs) if claim["log"] == *log => {
                    blobs.is_there().unwrap();
                    let kept = keep(&blobs, b"octets");
                    assert_eq!(blobs.remove_unneeded(&kept).unwrap(), Removal::Done);
                }
                Ok(blobs) => {
                    assert!(!is_conditional, "{log} has what is another's");
                    let kept = keep(&blobs, b"others");
                    assert!(why(blobs.is_there().unwrap_err()).contains("another registry"));
                    assert!(why(blobs.remove_unneeded(&kept).unwrap_err()).contains("another registry"));
                    assert!(server.object(&key(&kept)).exists());
                }
                Err(error) => {
                    assert_ne!(claim["log"], *log);
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    assert!(format!("{error} {why:?}").contains("another registry"), "{error} {why:?}");
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of a file goes by the machine's clock")]
fn age(path: &Path, hours: u64) {
    let at = SystemTime::now() - Duration::from_secs(hours * 3600);
    File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

/// Two daemons at the same objects: what is young stays, what is kept becomes young, and who keeps waits for who removes.
#[test]
fn several_daemons() {
    let server = S3Server::start();
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let grace = Some(Duration::from_secs(4 * 3600));
    let [one, other] = [0, 1]
        .map(|at| S3Blobs::open(S3Options { grace, ..options(&server, "p", dirs[at].path()) }, Some("a log")).unwrap());
    assert_eq!(one.commit_within(), Some(Duration::from_secs(3600)));
    let octets = octets(100_000, 5);
    let digest = keep(&one, &octets);
    let object = server.object(&key(&digest));
    let left = |removal| match removal {
        Removal::Later(left) => left.as_secs(),
        Removal::Done => 0,
    };
    let later = left(other.remove_unneeded(&digest).unwrap());
    assert!((3 * 3600..=4 * 3600).contains(&later) && object.exists(), "{later}");
    // Young enough: it is not sent again.
    let puts = || server.seen("PUT", "/sha256/").len();
    let before = puts();
    keep(&other, &octets);
    assert_eq!(puts(), before);
    // Older than the grace, and nobody points to it: whoever keeps it now makes it young, and it stays.
    age(&object, 5);
    keep(&other, &octets);
    assert_eq!(puts(), before + 1);
    assert!(left(one.remove_unneeded(&digest).unwrap()) > 0);
    // Older than the grace: it goes, and so does the mark.
    age(&object, 5);
    assert_eq!(one.remove_unneeded(&digest).unwrap(), Removal::Done);
    assert!(!object.exists());
    let mark = server.object(&format!("p/removing/{}", digest.to_hex()));
    assert!(!mark.exists());
    assert_eq!(one.remove_unneeded(&digest).unwrap(), Removal::Done, "nothing is left to remove");

    // Somebody is at it: the keeper waits, and sends what went meanwhile.
    keep(&one, &octets);
    fs::create_dir_all(mark.parent().unwrap()).unwrap();
    fs::write(&mark, "").unwrap();
    let looks = || server.seen("HEAD", "/removing/").len();
    let before = looks();
    std::thread::scope(|scope| {
        let keeping = scope.spawn(|| try_keep(&other, &octets));
        wait::until_true("the keeper to look again", || looks() > before + 2);
        assert!(!keeping.is_finished());
        fs::remove_file(&object).unwrap();
        fs::remove_file(&mark).unwrap();
        assert_eq!(keeping.join().unwrap().unwrap(), digest);
    });
    assert!(fs::read(&object).unwrap() == octets);
    // The mark of one that died long ago counts no more.
    fs::write(&mark, "").unwrap();
    age(&mark, 1);
    keep(&other, &octets);
}

fn daemon(server: &S3Server, more: &[(&str, &str)]) -> Daemon {
    let settings = server.settings("p");
    let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.extend(more);
    let daemon = Daemon::with(&settings);
    daemon.ledger().add_secret(SECRET);
    daemon
}

fn download(client: &Client, model: &str) -> Vec<u8> {
    client.get(&format!("/models/{model}/download")).expect(200).body
}

fn metrics(daemon: &Daemon) -> String {
    String::from_utf8(daemon.client().get("/metrics").expect(200).body).unwrap()
}

fn checked(daemon: &Daemon) -> Value {
    let output = daemon.run(&["check", "--blobs", "--json"], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

/// A version's whole life with its bytes in a bucket, over a restart and a kill.
#[test]
fn life() {
    let server = S3Server::start();
    let mut daemon = daemon(&server, &[]);
    let user = daemon.user("carl", Role::Contributor);
    let (file, other) = (samples::large_safetensors(3_000_000, 7), samples::safetensors(9));
    user.upload("m", "m.safetensors", &file);
    user.upload("n", "n.safetensors", &other);
    let held =
        user.publish(Form::new().text("name", "bad").file("bad.pkl", &samples::hostile_pickle())).expect(201).json();
    assert_eq!(held["state"], "quarantined");
    user.get("/models/bad:1/download").problem("model-quarantined");
    assert!(download(&user, "m") == file);
    let part = user.request("GET", "/models/m/download").header("Range", "bytes=2500000-2600000").send().expect(206);
    assert!(part.body == file[2_500_000..=2_600_000]);
    assert_eq!(user.head("/models/m/download").expect(200).need("content-length"), file.len().to_string());
    assert!(server.object(&key(&digest(&file))).is_file());
    assert!(!daemon.data_dir().join("blobs").exists(), "nothing is kept on disk");
    let status = user.value("/status");
    assert_eq!((&status["storage"]["backend"], &status["storage"]["problem"]), (&json!("s3"), &Value::Null));
    assert_eq!(daemon.client().get("/readyz").expect(200).json()["checks"]["blobs"]["detail"], "s3");
    assert!(metrics(&daemon).contains("mreg_storage_reachable 1"));

    daemon.kill();
    // What a crash leaves: an object that nothing points to.
    let orphan = samples::safetensors(11);
    let left = server.object(&key(&digest(&orphan)));
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, &orphan).unwrap();
    daemon.restart();
    wait::until_true("the orphan to go", || !left.exists());
    let (user, admin) = (user.at(daemon.address()), daemon.admin().at(daemon.address()));
    assert!(download(&user, "m") == file);
    let total = checked(&daemon);
    assert_eq!((&total["total"]["blobs_read"], &total["total"]["unreferenced"]), (&json!(3), &json!(0)), "{total}");
    admin.delete("/models/m?purge=true&reason=x").expect(200);
    wait::until_true("the bytes to go", || !server.object(&key(&digest(&file))).exists());
    assert_eq!(download(&user, "n"), other);
    daemon.stop();
    let blobs = oracle::blobs_below(&server.object("p/sha256"), 0);
    assert!(blobs.contains(&sha256(&other)) && blobs.len() == 2, "{blobs:?}");
    // The same check of the stopped registry.
    fs::write(&left, &orphan).unwrap();
    let total = checked(&daemon);
    assert_eq!((&total["total"]["blobs_read"], &total["total"]["unreferenced"]), (&json!(2), &json!(1)), "{total}");
    assert!(left.exists(), "a check changes nothing");
}

/// The most memory that a process had so far, in octets.
fn memory_peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Memory hangs on how many parts are under way, never on how large a file is: after some files of 64 MiB, which fill what the
/// allocator keeps for each thread, one several times as large takes nothing near to its size.
#[test]
fn memory_does_not_grow_with_the_file() {
    const MIB: usize = 1 << 20;
    const PATIENCE: Duration = Duration::from_secs(300);
    let server = S3Server::start();
    let daemon = daemon(&server, &[]);
    let admin = daemon.admin();
    let mut peaks = Vec::new();
    for (n, octets) in [64 * MIB, 64 * MIB, 64 * MIB, 64 * MIB, 256 * MIB].into_iter().enumerate() {
        let name = format!("m{n}");
        let file = samples::large_safetensors(octets, u8::try_from(n).unwrap());
        let put = admin.request("PUT", &format!("/models/{name}/artifact?filename=m.safetensors"));
        let put = put.body("application/octet-stream", file.clone());
        // Nothing is said while the last parts are sent on, which takes long where all that is compiled without optimisation.
        let mut connection = admin.connect();
        connection.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write(&put.head_octets()).unwrap();
        connection.write(&put.body_octets()).unwrap();
        connection.read_response("PUT").unwrap().expect(201);
        assert!(download(&admin, &name) == file);
        peaks.push(memory_peak(&daemon));
    }
    println!("most memory so far, after each: {peaks:?} octets");
    assert!(peaks[4] - peaks[3] < 64 << 20, "{peaks:?}");
}

/// Another registry must not take this one's objects for what a crash left behind; and a start says what it can't do.
#[test]
fn starts_that_are_refused() {
    let server = S3Server::start();
    let first = daemon(&server, &[]);
    let user = first.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let settings = server.settings("p");
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server.fail("*", "/nowhere/", Fault::Status(404, "NoSuchBucket"), usize::MAX);
    let refused = |change: &[(&str, &str)]| {
        let mut second = Daemon::prepared(&settings);
        change.iter().for_each(|(name, value)| second.set(name, value));
        second.leave_unverified();
        let output = second.run(&[] as &[&str], "");
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = refused(&[]);
    assert!(code == 73 && said.contains("belong to another registry"), "{code} {said}");
    let (code, said) = refused(&[("MREG_BLOBS", "s3://nowhere/p")]);
    assert!(code == 75 && said.contains("s3://nowhere/p") && said.contains("the bucket is not there"), "{code} {said}");
    let (code, said) = refused(&[("AWS_SECRET_ACCESS_KEY", "another-secret-that-is-wrong")]);
    assert!(code == 75 && said.contains("the secret of the access key is wrong"), "{code} {said}");
    assert!(!said.contains("another-secret-that-is-wrong"));
    let (code, said) = refused(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
    assert!(code == 75 && said.contains("the connection to it fails"), "{code} {said}");
    let (code, said) = refused(&[("AWS_SECRET_ACCESS_KEY", ""), ("AWS_ACCESS_KEY_ID", "")]);
    assert!(code == 75 && said.contains("no credentials"), "{code} {said}");
    assert_eq!(download(&user, "m"), samples::safetensors(1));
}

/// While the store is away, what needs it is answered 503 with the reason, and the rest goes on; when it is back, so is
/// everything, without a restart, and nothing was taken for damaged.
#[test]
fn outage() {
    let server = S3Server::start();
    let mut daemon = daemon(&server, &[]);
    daemon.expect_line("the object store can't be used");
    daemon.expect_line("\"status\":503");
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(600_000, 7);
    user.upload("m", "m.safetensors", &file);
    let new = samples::safetensors(3);
    let form = || Form::new().text("name", "n").file("n.safetensors", &new);

    // Found out in the middle of an upload: nothing of it is there.
    server.fail("PUT", "/sha256/", Fault::Status(503, "SlowDown"), usize::MAX);
    let problem = user.publish(form()).problem("storage-unavailable");
    assert!(problem.detail.contains("slow down"), "{}", problem.detail);
    user.get("/models/n").problem("not-found");
    server.heal();
    wait::until_true("the store to be seen again", || user.value("/status")["storage"]["problem"].is_null());

    server.set_down(true);
    let problem = user.get("/models/m/download").problem("storage-unavailable");
    assert!(problem.detail.contains("connection"), "{}", problem.detail);
    user.publish(form()).problem("storage-unavailable");
    let ready = daemon.client().get("/readyz").expect(503).json();
    assert_eq!(ready["checks"]["blobs"]["ok"], false);
    assert!(ready["checks"]["blobs"]["detail"].as_str().unwrap().contains("the connection to it fails"), "{ready}");
    assert!(user.value("/status")["storage"]["problem"].is_string());
    assert!(metrics(&daemon).contains("mreg_storage_reachable 0"));
    user.get("/models/m").expect(200);
    user.head("/models/m/download").expect(200);

    server.set_down(false);
    wait::until_true("it to be ready", || daemon.client().get("/readyz").status == 200);
    assert!(download(&user, "m") == file);
    user.publish(form()).expect(201);
    assert_eq!(download(&user, "n"), new);
    assert_eq!(user.value("/models/m/versions/1")["state"], "available");
    assert_eq!(user.value("/status")["scrub"]["damaged"], 0);
    let log = daemon.log();
    assert!(log.of("blob.unreadable").is_empty() && log.of("blob.damaged").is_empty());
}

/// A daemon that is killed while parts are on their way leaves nothing behind once it has started again.
#[test]
fn killed_between_parts() {
    let server = S3Server::start();
    let mut daemon = daemon(&server, &[]);
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(PARTS, 5);
    server.fail("PUT", "partNumber=3", Fault::Hold, 1);
    std::thread::scope(|scope| {
        let form = Form::new().text("name", "m").file("m.safetensors", &file);
        let request = user.request("POST", "/models").form(form);
        let uploading = scope.spawn(move || request.try_send());
        wait::until_true("the last part to be on its way", || !server.seen("PUT", "partNumber=3").is_empty());
        daemon.kill();
        assert!(uploading.join().unwrap().is_err(), "nobody was told that it is there");
    });
    server.heal();
    let uploads = daemon.data_dir().join("s3/uploads");
    assert_eq!(count(&uploads), 1);
    daemon.restart();
    assert_eq!((count(&uploads), server.parts_left().len()), (0, 0));
    let user = user.at(daemon.address());
    user.get("/models/m").problem("not-found");
    user.upload("m", "m.safetensors", &file);
    assert!(download(&user, "m") == file);
}

/// With redirects on, whoever may have a file is told where it is, for a while; the entry is written first, and the address
/// is nowhere else.
#[test]
fn redirects() {
    let server = S3Server::start();
    let mut daemon = daemon(&server, &[("MREG_S3_REDIRECT", "60s")]);
    let user = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(600_000, 7);
    user.upload("m", "né.safetensors", &file);
    let target = "/models/m/download";
    let answer = user.get(target).expect(307);
    assert!(answer.body.is_empty());
    assert_eq!((answer.need("cache-control"), answer.need("referrer-policy")), ("no-store", "no-referrer"));
    let address = answer.need("location").to_owned();
    assert!(address.starts_with(&format!("{}/{BUCKET}/{}", server.url(), key(&digest(&file)))), "{address}");
    assert!(address.contains("X-Amz-Expires=60"), "{address}");
    let (status, head, octets) = fetch(&address, &[]);
    assert!(status == 200 && octets == file, "{head}");
    let (status, head, octets) = fetch(&address, &[("Range", "bytes=100-199")]);
    assert!(status == 206 && octets == file[100..200], "{head}");
    let (status, ..) = fetch(&address.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), &[]);
    assert!(status >= 400, "the time is a part of what is signed");

    let entry = answer.log_index();
    assert_eq!(user.head(target).expect(200).need("content-length"), file.len().to_string());
    let direct = user.request("GET", target).header("Prefer", "no-redirect").send().expect(200);
    assert!(direct.body == file);
    let ranged = user.request("GET", target).header("Range", "bytes=0-9").header("Prefer", "no-redirect").send();
    assert_eq!(ranged.expect(206).body, file[..10]);
    user.request("GET", target).header("Range", "bytes=0-9").send().expect(307);
    let etag = user.head(target).need("etag").to_owned();
    user.request("GET", target).header("If-None-Match", &etag).send().expect(304);
    user.request("GET", target).header("Range", "bytes=999999999-").send().problem("range-not-satisfiable");
    // Several files are an archive, which nobody else has.
    let form = Form::new().text("name", "two").file("a.safetensors", &samples::safetensors(1));
    user.publish(form.file("b.safetensors", &samples::safetensors(2))).expect(201);
    assert_eq!(user.get("/models/two/download").expect(200).need("content-type"), "application/x-tar");
    // What is held is not handed out, wherever it lies.
    daemon.admin().post("/models/m/versions/1/quarantine", &json!({"reason": "a test"})).expect(200);
    let refused = user.get(target);
    refused.problem("model-quarantined");
    assert_eq!(refused.header("location"), None);

    daemon.stop();
    let signature = address.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert!(signature.len() > 32);
    assert!(
        daemon.stderr().iter().all(|line| !line.contains(&signature) && !line.contains("X-Amz-")),
        "in the diagnostics"
    );
    let log = daemon.log();
    assert!(log.leaves.iter().all(|leaf| !String::from_utf8_lossy(leaf).contains(&signature)));
    let began: Value = serde_json::from_slice(&log.leaves[usize::try_from(entry).unwrap()]).unwrap();
    assert_eq!((&began["action"], &began["req"]["status"]), (&json!("model.download"), &json!(307)), "{began}");
    let ends = log.of("model.download_end");
    let end = ends.iter().find(|end| end["data"]["began"] == entry).expect("its end");
    assert_eq!((&end["data"]["redirected"], &end["data"]["octets_sent"]), (&json!(true), &Value::Null), "{end}");
}

/// Everything moves from the disk to a bucket and back, while people publish and read; nothing is missing in between.
#[test]
fn moving() {
    let server = S3Server::start();
    let access = server.access();
    let access: Vec<(&str, &str)> = access.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut daemon = Daemon::with(&access);
    let user = daemon.user("carl", Role::Contributor);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let publish = |user: &Client, files: &mut Vec<(String, Vec<u8>)>| {
        let number = u32::try_from(files.len()).unwrap();
        let (name, octets) = (format!("m{number}"), samples::safetensors(100 + number));
        user.upload(&name, "m.safetensors", &octets);
        files.push((name, octets));
    };
    let all = |user: &Client, files: &[(String, Vec<u8>)]| {
        for (name, octets) in files {
            assert!(download(user, name) == *octets, "{name}");
        }
    };
    for _ in 0..3 {
        publish(&user, &mut files);
    }
    let there = "s3://models/p";
    let mut user = user;
    for (new, old) in [(there, "disk"), ("disk", there)] {
        let before = files.len();
        daemon.stop();
        daemon.set("MREG_BLOBS", new);
        daemon.set("MREG_BLOBS_OLD", old);
        daemon.restart();
        user = user.at(daemon.address());
        all(&user, &files);
        publish(&user, &mut files);
        let backend = user.value("/status")["storage"]["backend"].clone();
        assert_eq!(backend, if new == there { "s3 and disk" } else { "disk and s3" });
        // The first run fails in the middle, and is begun again while somebody publishes.
        if new == there {
            server.fail("PUT", "/sha256/", Fault::Status(500, "InternalError"), usize::MAX);
            let output = daemon.run(&["migrate-blobs"], "");
            assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stderr).contains("begin again"));
            server.heal();
        }
        let output = std::thread::scope(|scope| {
            let running = scope.spawn(|| daemon.run(&["migrate-blobs", "--json"], ""));
            for _ in 0..3 {
                publish(&user, &mut files);
            }
            running.join().unwrap()
        });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_str(&text).unwrap();
        let (copied, there_already) = (told["copied"].as_u64().unwrap(), told["already_there"].as_u64().unwrap());
        assert_eq!((copied + there_already, told["failures"].as_u64()), (before as u64, Some(0)), "{told}");
        all(&user, &files);
        daemon.stop();
        daemon.set("MREG_BLOBS_OLD", "");
        daemon.restart();
        user = user.at(daemon.address());
        all(&user, &files);
        let total = checked(&daemon);
        assert_eq!(total["total"]["blobs_read"], files.len() as u64, "{total}");
        // What is removed is gone where it is, and where it was is nobody's matter any more.
        let (name, octets) = files.pop().unwrap();
        daemon.admin().at(daemon.address()).delete(&format!("/models/{name}?purge=true&reason=x")).expect(200);
        let hex = sha256(&octets);
        let on_disk = daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..]);
        let in_bucket = server.object(&key(&digest(&octets)));
        wait::until_true("its bytes to go", || !in_bucket.exists() && !on_disk.exists());
    }
    let output = daemon.run(&["migrate-blobs"], "");
    assert_eq!(output.status.code(), Some(64), "there is no old store");
    let output = daemon.run(&["migrate-blobs", "--from", "disk", "--to", "disk"], "");
    assert_eq!(output.status.code(), Some(64));
}

/// Two daemons on one log and one bucket: what one took the other gives out, what neither needs goes once it has rested, and
/// what one is about to need stays, whatever the other finds meanwhile.
#[test]
fn one_log_and_one_bucket() {
    let (database, server) = (Postgres::start(), S3Server::start());
    let address = database.address();
    let more = server.settings("p");
    let mut more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    more.push(("MREG_S3_GRACE", "4h"));
    let settings = pg::settings(&address, &more);
    let mut one = Daemon::with(&settings);
    let mut two = Daemon::prepared(&settings);
    pg::copy_keys(&one, &two);
    two.restart();
    for daemon in [&one, &two] {
        daemon.ledger().add_secret(SECRET);
    }
    let here = one.admin();
    let there = here.at(two.address());
    let (file, more) = (samples::safetensors(1), samples::safetensors(2));
    let object = server.object(&key(&digest(&file)));
    let asked = || server.seen("HEAD", &key(&digest(&file))).len();

    // Young, and nothing points to it: it rests.
    here.upload("m", "m.safetensors", &file);
    assert!(download(&there, "m") == file);
    let before = asked();
    there.delete("/models/m?purge=true&reason=x").expect(200);
    wait::until_true("the daemon to look", || asked() > before);
    here.get("/models/m").problem("not-found");
    assert!(object.exists() && server.seen("DELETE", "/sha256/").is_empty());

    // Older than the grace, but one daemon is about to point to it: it was made young, and a start of the other leaves it.
    age(&object, 5);
    one.stop();
    server.fail("PUT", &key(&digest(&more)), Fault::Wait, 1);
    std::thread::scope(|scope| {
        let form = Form::new().text("name", "n").file("a.safetensors", &file).file("b.safetensors", &more);
        let request = there.request("POST", "/models").form(form);
        let publishing = scope.spawn(move || request.send());
        let second = || server.seen("PUT", &key(&digest(&more))).len();
        wait::until_true("the second file to be on its way", || second() == 1);
        let before = asked();
        one.restart();
        wait::until_true("the start to look", || asked() > before);
        assert!(object.exists());
        server.heal();
        publishing.join().unwrap().expect(201);
    });
    assert!(object.exists() && server.seen("DELETE", "/sha256/").is_empty());
    let here = here.at(one.address());
    let part = |client: &Client| client.get("/models/n/versions/1/files/a.safetensors").expect(200).body;
    assert!(part(&here) == file && part(&there) == file);

    // Older than the grace and purged where it was not uploaded: it goes, for both.
    age(&object, 5);
    here.delete("/models/n?purge=true&reason=x").expect(200);
    wait::until_true("the bytes to go", || !object.exists());
    wait::until_true("the mark to go", || !server.object(&format!("p/removing/{}", digest(&file).to_hex())).exists());
    // And comes again, from either.
    there.upload("o", "o.safetensors", &file);
    assert!(download(&here, "o") == file);

    // One that rests for another time than the others says so, once for each change.
    let differs = "MREG_S3_GRACE is another than that of the daemon that started last";
    for grace in ["3h", "4h", "4h"] {
        two.stop();
        two.set("MREG_S3_GRACE", grace);
        two.expect_line(differs);
        two.restart();
    }
    assert_eq!(
        two.stderr().iter().filter(|line| line.contains(differs)).count(),
        2,
        "it is said at each change, and not again"
    );
    for daemon in [&mut one, &mut two] {
        daemon.stop();
    }
}
