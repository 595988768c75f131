//! Blobs that others use too, or that can't be reached.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::api::State;
use common::digest::Digest;
use common::name::Version;
use common::role::Role;

use super::{Bench, done, model, refused, sha256, someone};
use crate::blobs::{BlobError, BlobReader, Blobs, Partial, Removal, Space, Staged};
use crate::registry::error::RegistryError;
use crate::registry::publish::PublishForm;

/// How a store of others behaves.
#[derive(Default)]
struct Mood {
    /// What is asked to be removed is too young.
    young: bool,
    asked: usize,
    /// Nothing answers.
    away: bool,
    commit_within: Option<Duration>,
}

struct Moody {
    blobs: Arc<dyn Blobs>,
    mood: Arc<Mutex<Mood>>,
}

impl Moody {
    fn answers(&self) -> Result<(), BlobError> {
        match self.reachable() {
            Ok(()) => Ok(()),
            Err(why) => Err(BlobError::Unreachable { source: why.as_str().into(), why }),
        }
    }
}

impl Blobs for Moody {
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError> {
        self.blobs.stage()
    }
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError> {
        self.answers()?;
        self.blobs.open(digest)
    }
    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.answers()?;
        self.blobs.contains(digest)
    }
    fn is_there(&self) -> Result<(), BlobError> {
        self.answers()
    }
    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        self.blobs.remove(digest)
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
    fn remove_unneeded(&self, digest: &Digest) -> Result<Removal, BlobError> {
        let mut mood = self.mood.lock().unwrap();
        mood.asked += 1;
        if mood.young {
            return Ok(Removal::Later(Duration::ZERO));
        }
        if mood.away {
            return Err(BlobError::Unreachable { why: "it is away".to_owned(), source: "it is away".into() });
        }
        self.remove(digest).map(|()| Removal::Done)
    }
    fn commit_within(&self) -> Option<Duration> {
        self.mood.lock().unwrap().commit_within
    }
    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError> {
        self.blobs.list(visit)
    }
    fn space(&self) -> Result<Space, BlobError> {
        self.blobs.space()
    }
    fn sweep_staging(&self) -> Result<u64, BlobError> {
        self.blobs.sweep_staging()
    }
    fn reachable(&self) -> Result<(), String> {
        if self.mood.lock().unwrap().away { Err("it is away".to_owned()) } else { Ok(()) }
    }
}

async fn bench(mood: &Arc<Mutex<Mood>>) -> Bench {
    let mood = Arc::clone(mood);
    Bench::over(tempfile::tempdir().unwrap(), |_settings| {}, |blobs| Arc::new(Moody { blobs: Arc::new(blobs), mood }))
        .await
}

/// What another daemon may come to need is asked about again, and goes then.
#[tokio::test(flavor = "multi_thread")]
async fn removals_that_are_put_off() {
    let mood = Arc::new(Mutex::new(Mood { young: true, ..Mood::default() }));
    let bench = bench(&mood).await;
    bench.publish("m", b"octets").await;
    done(bench.registry.purge_model(&someone(Role::Admin), &model("m"), "a test").await);
    let inner = &bench.registry.inner;
    let due = loop {
        let due = inner.removals.due();
        if !due.is_empty() {
            break due;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((due.as_slice(), mood.lock().unwrap().asked), (&[sha256(b"octets")][..], 1));
    assert!(bench.has_bytes(&sha256(b"octets")) && inner.removals.due().is_empty());
    mood.lock().unwrap().young = false;
    inner.settle_later(due);
    bench.wait_for_bytes(&sha256(b"octets"), false).await;
}

/// What can't be removed while the store is away is asked about again, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn removals_while_it_is_away() {
    let mood = Arc::new(Mutex::new(Mood::default()));
    let bench = bench(&mood).await;
    // More than are removed at once.
    let all: Vec<String> = (0..20).map(|number| format!("octets {number}")).collect();
    for (number, octets) in all.iter().enumerate() {
        bench.publish(&format!("m{number}"), octets.as_bytes()).await;
    }
    let digests: Vec<Digest> = all.iter().map(|octets| sha256(octets.as_bytes())).collect();
    mood.lock().unwrap().away = true;
    for number in 0..all.len() {
        done(bench.registry.purge_model(&someone(Role::Admin), &model(&format!("m{number}")), "a test").await);
    }
    let inner = &bench.registry.inner;
    let all_wait = async {
        while !digests.iter().all(|digest| inner.removals.is_put_off(digest)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_wait).await.expect("each is asked about again");
    mood.lock().unwrap().away = false;
    assert!(digests.iter().all(|digest| bench.has_bytes(digest)));
    inner.settle_later(digests.clone());
    for digest in &digests {
        bench.wait_for_bytes(digest, false).await;
    }
}

/// That the store is away is no damage, and is told as what it is; nothing of an upload is taken that would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn away() {
    let mood = Arc::new(Mutex::new(Mood::default()));
    let bench = bench(&mood).await;
    let user = someone(Role::Contributor);
    bench.publish("m", b"octets").await;
    mood.lock().unwrap().away = true;
    let told =
        |error: RegistryError| matches!(error, RegistryError::BlobsUnreachable { why, .. } if why == "it is away");
    assert!(told(refused(bench.registry.open_download(&user, &model("m"), None, None).await)));
    assert!(told(bench.registry.begin_upload(&user, None, None).await.err().unwrap().error));
    mood.lock().unwrap().away = false;
    let info = bench.registry.version(&user, &model("m"), Version::FIRST).await.unwrap();
    assert_eq!(info.value.value.state, State::Available);
    assert_eq!(bench.registry.damaged().await.unwrap(), 0);
    done(bench.registry.open_download(&user, &model("m"), None, None).await);
}

/// Files that were stored too long ago to be safe from other daemons become no version.
#[tokio::test(flavor = "multi_thread")]
async fn too_late_to_commit() {
    let mood = Arc::new(Mutex::new(Mood { commit_within: Some(Duration::ZERO), ..Mood::default() }));
    let bench = bench(&mood).await;
    let form = PublishForm { name: Some("m".parse().unwrap()), ..PublishForm::default() };
    let failure = bench.upload(&someone(Role::Contributor), &[("weights.bin", b"octets")], form).await.err().unwrap();
    assert!(matches!(failure.error, RegistryError::BlobsUnreachable { .. }), "{:?}", failure.error);
    bench.wait_for_bytes(&sha256(b"octets"), false).await;
    mood.lock().unwrap().commit_within = Some(Duration::from_secs(3600));
    bench.publish("m", b"octets").await;
}
