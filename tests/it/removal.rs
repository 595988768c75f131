//! Bytes are removed where the log says that nothing points to them, and never because the view has lost a record.

use std::fs;
use std::path::PathBuf;

use common::digest::Digest;
use common::role::Role;
use daemon::store::codec::encode;
use daemon::store::overlay::Kv as _;
use daemon::store::packed::PackedTree;
use daemon::store::records::BlobRecord;
use serde_json::json;
use tests::daemon::Daemon;
use tests::http::Client;
use tests::multipart::Form;
use tests::samples::{self, sha256};
use tests::wait;

fn blob(daemon: &Daemon, octets: &[u8]) -> PathBuf {
    let hex = sha256(octets);
    daemon.data_dir().join("blobs/sha256").join(&hex[..2]).join(&hex[2..])
}

/// Edits the view of a stopped daemon behind its back: the blob's count, or that there is none.
pub(super) fn recount(daemon: &Daemon, octets: &[u8], refs: Option<u64>) {
    let digest: Digest = format!("sha256:{}", sha256(octets)).parse().unwrap();
    let key = [b"b".as_slice(), digest.as_bytes()].concat();
    let db = sled::Config::new().path(daemon.data_dir().join("view")).open().unwrap();
    let tree = PackedTree::open(&db, b"view-6").unwrap();
    assert!(tree.get(&key).unwrap().is_some(), "it was not there");
    let record: Option<sled::IVec> =
        refs.map(|refs| encode(&BlobRecord { size: octets.len() as u64, refs }).unwrap().into());
    tree.apply([(key, record)].into()).unwrap();
    db.flush().unwrap();
}

fn wait_for_line(daemon: &Daemon, part: &str) {
    wait::until_true(part, || {
        daemon.stderr().iter().any(|line| line.contains("\"level\":\"ERROR\"") && line.contains(part))
    });
}

fn download(client: &Client, model: &str) -> Vec<u8> {
    client.get(&format!("/models/{model}/download")).expect(200).body
}

/// The view lost the record of a live blob: the bytes stay, the operator is told, the store is in doubt, and no count begins
/// anew. What a crash left goes all the same. The next start makes the view anew; then all is well, and a purge frees bytes.
#[test]
fn a_record_that_the_view_lost() {
    let mut daemon = Daemon::start();
    let (live, orphan) = (samples::safetensors(1), samples::safetensors(2));
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &live);
    daemon.stop();
    recount(&daemon, &live, None);
    fs::create_dir_all(blob(&daemon, &orphan).parent().unwrap()).unwrap();
    fs::write(blob(&daemon, &orphan), &orphan).unwrap();

    daemon.expect_line("\"level\":\"ERROR\"");
    daemon.restart();
    wait_for_line(&daemon, "another count of references to a blob than the journal");
    assert!(daemon.stderr().iter().any(|line| line.contains(&sha256(&live))), "it is named");
    wait::until_true("what nothing ever pointed to to go", || !blob(&daemon, &orphan).exists());
    assert!(blob(&daemon, &live).is_file());
    let client = daemon.client();
    let ready = client.get("/readyz").expect(503).json();
    assert_eq!(ready["checks"]["store"]["ok"], false);
    assert!(ready["checks"]["store"]["detail"].as_str().unwrap().contains("restart the daemon"), "{ready}");
    let user = user.at(daemon.address());
    assert!(user.value("/status")["store"]["state"].as_str().unwrap().starts_with("in doubt: "));
    assert_eq!(download(&user, "m"), live);
    user.publish(Form::new().file("n.safetensors", &live)).problem("internal");
    daemon.stop();
    assert!(blob(&daemon, &live).is_file());

    daemon.restart();
    let (user, admin) = (user.at(daemon.address()), daemon.admin().at(daemon.address()));
    daemon.client().get("/readyz").expect(200);
    assert_eq!(user.value("/status")["store"]["state"], "ok");
    assert_eq!(download(&user, "m"), live);
    user.upload("n", "n.safetensors", &live);
    admin.delete("/models/m?purge=true&reason=x").expect(200);
    assert_eq!(download(&user, "n"), live);
    admin.delete("/models/n?purge=true&reason=x").expect(200);
    wait::until_true("the bytes to go", || !blob(&daemon, &live).exists());
    assert_eq!(daemon.log().of("store.rebuild").len(), 1);
}

/// The view counted too few references, and a purge made that the log's own word: the versions that are left decide.
#[test]
fn a_count_that_went_wrong() {
    let mut daemon = Daemon::start();
    let shared = samples::safetensors(1);
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &shared);
    user.upload("n", "m.safetensors", &shared);
    daemon.stop();
    recount(&daemon, &shared, Some(1));
    daemon.restart();
    daemon.expect_line("\"level\":\"ERROR\"");
    let (user, admin) = (user.at(daemon.address()), daemon.admin().at(daemon.address()));
    let purged = admin.delete("/models/m?purge=true&reason=x").expect(200).json();
    assert_eq!(purged["status"], json!("purged"));
    wait_for_line(&daemon, "don't fit its versions");
    assert!(blob(&daemon, &shared).is_file());
    assert_eq!(download(&user, "n"), shared);
}
