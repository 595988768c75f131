//! What becomes of blobs that are damaged or can't be read.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::api::State;
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::Version;
use common::role::Role;
use tokio::runtime::Handle;

use super::{Bench, done, model, refused, sha256, someone};
use crate::blobs::{BlobError, BlobReader, Blobs, Partial, Space, Staged};
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::damage::{Looker, Verified};
use crate::registry::error::RegistryError;
use crate::registry::examine::{Fault, examine};
use crate::store::records::{DamageKind, DamageRecord, Write};

/// Blobs of which some can't be opened.
struct Failing {
    blobs: Arc<dyn Blobs>,
    broken: Arc<Mutex<HashSet<Digest>>>,
}

impl Blobs for Failing {
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError> {
        self.blobs.stage()
    }
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError> {
        if self.broken.lock().unwrap().contains(digest) {
            return Err(BlobError::Unavailable(io::Error::from_raw_os_error(5)));
        }
        self.blobs.open(digest)
    }
    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.blobs.contains(digest)
    }
    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        self.blobs.remove(digest)
    }
    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError> {
        self.blobs.list(visit)
    }
    fn space(&self) -> Result<Space, BlobError> {
        self.blobs.space()
    }
    fn partial(&self, name: &str) -> Result<Box<dyn Partial>, BlobError> {
        self.blobs.partial(name)
    }
    fn stage_partial(&self, name: &str) -> Result<Box<dyn Staged>, BlobError> {
        self.blobs.stage_partial(name)
    }
    fn partials(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError> {
        self.blobs.partials(visit)
    }
    fn remove_partial(&self, name: &str) -> Result<(), BlobError> {
        self.blobs.remove_partial(name)
    }
    fn sweep_staging(&self) -> Result<u64, BlobError> {
        self.blobs.sweep_staging()
    }
}

/// Reads a blob and sees to what that finds.
async fn verify(bench: &Bench, digest: Digest) -> Verified {
    verify_for(bench, digest, Looker::Scrubber).await
}

async fn verify_for(bench: &Bench, digest: Digest, looker: Looker) -> Verified {
    let (inner, runtime) = (Arc::clone(&bench.registry.inner), Handle::current());
    let verify = move || {
        let look = |size| examine(&*inner.blobs, &digest, size, 4096, &mut |_octets| true);
        inner.verify(&runtime, digest, looker, look).unwrap()
    };
    tokio::task::spawn_blocking(verify).await.unwrap()
}

async fn state(bench: &Bench, name: &str) -> (State, String) {
    let info = bench.registry.version(&someone(Role::Admin), &model(name), Version::FIRST).await.unwrap();
    (info.value.value.state.known().unwrap(), info.value.value.state_reason.unwrap_or_default())
}

fn is_wrong(verified: &Verified, wanted: DamageKind) -> bool {
    matches!(verified, Verified::Wrong { fault: Fault { kind, .. }, .. } if *kind == wanted)
}

/// A read error is told, and holds nothing back before it came twice, a while apart; readable again, it is repaired.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable() {
    let broken: Arc<Mutex<HashSet<Digest>>> = Arc::default();
    let with_failures = Arc::clone(&broken);
    let wait = Duration::from_millis(20);
    let bench = Bench::over(
        tempfile::tempdir().unwrap(),
        |settings| settings.scrub.interval = Some(wait),
        |blobs| Arc::new(Failing { blobs: Arc::new(blobs), broken: with_failures }),
    )
    .await;
    bench.publish("m", b"octets").await;
    let digest = sha256(b"octets");
    assert_eq!(verify(&bench, digest).await, Verified::Sound(6));
    assert_eq!(verify(&bench, sha256(b"others")).await, Verified::Unneeded);
    broken.lock().unwrap().insert(digest);
    assert!(is_wrong(&verify(&bench, digest).await, DamageKind::Unreadable));
    let entry = bench.last("blob.unreadable").await;
    assert_eq!((&entry["data"]["kind"], &entry["target"]["kind"]), (&"unreadable".into(), &"blob".into()));
    assert_eq!(state(&bench, "m").await.0, State::Available);
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
    // Readings that come too soon change nothing.
    let mut readings = 0;
    while state(&bench, "m").await.0 == State::Available {
        assert!(is_wrong(&verify(&bench, digest).await, DamageKind::Unreadable));
        readings += 1;
        assert!(readings < 10_000, "it is not held back");
    }
    let (held, reason) = state(&bench, "m").await;
    assert_eq!(held, State::Quarantined);
    assert!(reason.starts_with("integrity: the stored file `weights.bin` can't be read"), "{reason}");
    assert_eq!(bench.registry.damaged().await.unwrap(), 1);
    // It is said once.
    verify(&bench, digest).await;
    broken.lock().unwrap().clear();
    assert_eq!(verify(&bench, digest).await, Verified::Sound(6));
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
    let log = bench.log().await;
    assert_eq!(log, ["model.upload ok", "blob.unreadable ok", "blob.damaged ok", "blob.repaired ok"]);
    assert_eq!(bench.last("blob.repaired").await["data"]["quarantined"], serde_json::json!(["m:1"]));
}

/// A version that is deleted is left alone; it comes back held. What is purged is no damage any more.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_restored() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    bench.publish("m", b"octets").await;
    bench.publish("other", b"octets").await;
    let digest = sha256(b"octets");
    done(bench.registry.delete_version(&admin, &model("m"), Version::FIRST).await);
    bench.registry.inner.blobs.remove(&digest).unwrap();
    assert!(is_wrong(&verify(&bench, digest).await, DamageKind::Missing));
    let entry = bench.last("blob.damaged").await;
    assert_eq!(
        (&entry["data"]["versions"], &entry["data"]["quarantined"]),
        (&serde_json::json!(["other:1"]), &1.into())
    );
    assert_eq!((entry["actor"]["id"].as_str(), entry["target"]["size"].as_u64()), (Some("system"), Some(6)));
    assert_eq!(state(&bench, "m").await.0, State::Deleted);
    done(bench.registry.restore_version(&admin, &model("m"), Version::FIRST).await);
    let (held, reason) = state(&bench, "m").await;
    assert_eq!((held, reason.as_str()), (State::Quarantined, "integrity: the stored file `weights.bin` is missing"));
    let refused = refused(bench.registry.release(&admin, &model("m"), Version::FIRST, "why not", false).await);
    assert!(matches!(refused, RegistryError::Conflict(text) if text.contains("Upload the same bytes again")));
    assert_eq!(bench.registry.damaged().await.unwrap(), 1);
    for name in ["m", "other"] {
        done(bench.registry.purge_model(&admin, &model(name), "gone").await);
    }
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
}

/// More versions need a blob than one commit holds back: all are.
#[tokio::test(flavor = "multi_thread")]
async fn many_versions() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..120).map(|n| format!("m{n}")).collect();
    for name in &names {
        bench.publish(name, b"octets").await;
    }
    let digest = sha256(b"octets");
    bench.registry.inner.blobs.remove(&digest).unwrap();
    assert!(is_wrong(&verify(&bench, digest).await, DamageKind::Missing));
    for name in &names {
        assert_eq!(state(&bench, name).await.0, State::Quarantined, "{name}");
    }
    assert_eq!(bench.log().await.iter().filter(|entry| *entry == "blob.damaged ok").count(), 3);
    // What comes new has its bytes with it.
    bench.publish("new", b"octets").await;
    assert_eq!(state(&bench, "new").await.0, State::Available);
    assert_eq!(verify(&bench, digest).await, Verified::Sound(6));
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
}

/// Exactly as many versions as one commit holds back: there is no second entry, of nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_page() {
    let bench = Bench::new().await;
    for n in 0..50 {
        bench.publish(&format!("m{n}"), b"octets").await;
    }
    let digest = sha256(b"octets");
    bench.registry.inner.blobs.remove(&digest).unwrap();
    assert!(is_wrong(&verify(&bench, digest).await, DamageKind::Missing));
    assert_eq!(bench.log().await.iter().filter(|entry| *entry == "blob.damaged ok").count(), 1);
    assert_eq!(bench.last("blob.damaged").await["data"]["quarantined"], 50);
}

/// A crash after the damage was recorded and before every version was held back: nothing of it goes out, and the next start
/// holds back the rest. What was published since brought its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn half_held_back() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    bench.publish("m", b"octets").await;
    let digest = sha256(b"octets");
    let note = Note::event(Action::BlobDamaged, Target::new("blob", &digest.to_string()));
    let system = Caller::system();
    let half = bench.registry.inner.commit(&system, note, move |_records, moment, _note| {
        let detail = "is missing".to_owned();
        let (found_at_ms, index) = (moment.at_ms, moment.index);
        let damage = DamageRecord { kind: DamageKind::Missing, detail, held: true, found_at_ms, index };
        Ok(((), vec![Write::PutDamage { digest, damage }]))
    });
    half.await.unwrap();
    assert_eq!(state(&bench, "m").await.0, State::Available);
    let is_withheld = |error| {
        matches!(error, RegistryError::Quarantined { reason: Some(text), .. }
            if text == "integrity: the stored file `weights.bin` is missing")
    };
    assert!(is_withheld(refused(bench.registry.open_download(&admin, &model("m"), None, None).await)));
    assert!(is_withheld(refused(bench.registry.offer_download(&admin, &model("m"), None, None).await)));
    bench.publish("new", b"octets").await;
    done(bench.registry.open_download(&admin, &model("new"), None, None).await);
    bench.registry.inner.blobs.remove(&digest).unwrap();
    bench.registry.start_scrubbing().unwrap();
    wait_for_state(&bench, "m", State::Quarantined).await;
    wait_for_state(&bench, "new", State::Quarantined).await;
}

async fn wait_for_state(bench: &Bench, name: &str, wanted: State) {
    for _ in 0..1000 {
        if state(bench, name).await.0 == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is not {wanted:?}");
}

/// Where the directories of the blobs are gone, nothing is held back; the same where one blob after another is missing, until
/// an operator asks.
#[tokio::test(flavor = "multi_thread")]
async fn the_volume_is_not_there() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for name in &names {
        bench.publish(name, name.as_bytes()).await;
    }
    let digests: Vec<Digest> = names.iter().map(|name| sha256(name.as_bytes())).collect();
    let blobs = bench.dir.path().join("data/blobs");
    std::fs::rename(blobs.join("sha256"), blobs.join("aside")).unwrap();
    for looker in [Looker::Scrubber, Looker::Operator] {
        for digest in &digests {
            assert!(matches!(verify_for(&bench, *digest, looker).await, Verified::Doubtful(_)));
        }
    }
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
    std::fs::rename(blobs.join("aside"), blobs.join("sha256")).unwrap();
    assert_eq!(verify(&bench, digests[0]).await, Verified::Sound(2));
    for digest in &digests {
        bench.registry.inner.blobs.remove(digest).unwrap();
    }
    for (at, digest) in digests.iter().enumerate() {
        let verified = verify(&bench, *digest).await;
        assert_eq!(matches!(verified, Verified::Doubtful(_)), at >= 15, "{at}: {verified:?}");
    }
    assert_eq!(bench.registry.damaged().await.unwrap(), 15);
    assert_eq!(state(&bench, "m19").await.0, State::Available);
    // Those that are known to be missing stand in nobody's way.
    assert!(is_wrong(&verify(&bench, digests[0]).await, DamageKind::Missing));
    for digest in &digests {
        assert!(is_wrong(&verify_for(&bench, *digest, Looker::Operator).await, DamageKind::Missing));
    }
    assert_eq!(bench.registry.damaged().await.unwrap(), 20);
    for name in &names {
        assert_eq!(state(&bench, name).await.0, State::Quarantined, "{name}");
    }
}
