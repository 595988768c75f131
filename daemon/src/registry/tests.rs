//! The registry over its real store and blobs, in a directory of its own: rules, one by one. What HTTP makes of them is
//! tested elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod content;
mod ingest;
mod integrity;
mod shared;
mod people;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::api::State;
use common::audit::{ActorKind, Outcome as EntryOutcome, Receipt, Verifier};
use common::digest::Digest;
use common::name::{ModelId, ModelRef, UserName, Version};
use common::role::Role;
use sha2::Digest as _;
use tempfile::TempDir;

use crate::blobs::Blobs;
use crate::blobs::disk::{DiskBlobs, DiskOptions};
use crate::config::secret::Secret;
use crate::durable::Disk;
use crate::inspection::InProcess;
use crate::registry::Registry;
use crate::registry::access::{Actor, Caller, RequestMeta};
use crate::registry::audit::AuditQuery;
use crate::registry::error::{Done, Outcome, RegistryError};
use crate::registry::publish::{PublishForm, PublishedVersion};
use crate::registry::settings::{
    Allowed, AuditReads, ClientIp, GcSettings, HashAccess, QuotaSettings, ResumableSettings, RetentionSettings,
    ScanPolicy, ScrubSettings, Settings, TotpRequired, TotpSettings, WebhookSettings,
};
use crate::registry::tail::{After, Ending, News, Tail};
use crate::store::records::{UserRecord, VersionRecord};
use crate::store::sled::{SledOptions, SledStore};

/// A user's record.
pub(crate) fn user_record(name: &str, role: Role) -> UserRecord {
    UserRecord {
        id: format!("usr_{name}"),
        name: name.parse().unwrap(),
        role,
        password_hash: String::new(),
        disabled: false,
        must_change_password: false,
        epoch: 0,
        created_at_ms: 0,
        updated_at_ms: 0,
        last_login_at_ms: None,
        revision: 0,
    }
}

/// A version's record in a state.
pub(crate) fn version_record(state: State) -> VersionRecord {
    VersionRecord {
        model: ModelId::from_u128(1),
        version: Version::FIRST,
        state,
        state_reason: None,
        state_at_ms: 0,
        held_by_inspection: false,
        description: String::new(),
        artifacts: Vec::new(),
        metadata: BTreeMap::new(),
        findings: Vec::new(),
        inspection: None,
        review: None,
        source: "api".into(),
        created_at_ms: 0,
        created_by: "alice".into(),
        created_by_id: "usr_alice".into(),
        index: 0,
        deleted: None,
        revision: 0,
    }
}

/// The settings tests begin with.
fn settings() -> Settings {
    Settings {
        jwt_secret: Secret::new("a key of tests, long enough for HS256 and for nobody".into()),
        jwt_secret_previous: None,
        token_ttl: Duration::from_secs(1800),
        session_ttl: Duration::from_secs(12 * 3600),
        api_token_ttl_max: Some(Duration::from_secs(365 * 24 * 3600)),
        open_registration: false,
        totp: TotpSettings {
            key: Secret::new("a third key of tests, long enough for nobody".into()),
            is_own_key: true,
            required: TotpRequired::None,
        },
        upload_bytes_max: 1 << 20,
        min_free_bytes: 0,
        scan_policies: ScanPolicy::Default.into(),
        release_approvals: 1,
        rescan_bytes_per_second: None,
        protected_aliases: ["prod".parse().unwrap()].into(),
        restore_period: Duration::from_secs(3600),
        audit_reads: AuditReads::Content,
        client_ip: ClientIp::Full,
        hash_access: HashAccess::Public,
        scrub: ScrubSettings { interval: None, bytes_per_second: 1 << 30, position: PathBuf::new() },
        resumable: ResumableSettings {
            dir: PathBuf::new(),
            expiry: Duration::from_secs(3600),
            per_user_max: 3,
            per_user_bytes_max: 1 << 20,
        },
        webhooks: WebhookSettings {
            key: Secret::new("another key of tests, long enough for nobody".into()),
            is_own_key: true,
            allow: Allowed::default(),
        },
        quotas: QuotaSettings::default(),
        retention: RetentionSettings { grace: Duration::ZERO, interval: Duration::from_secs(3600) },
        gc: GcSettings { interval: None, min_age: Duration::ZERO, dir: PathBuf::new() },
    }
}

/// A registry of its own.
struct Bench {
    registry: Arc<Registry>,
    dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_settings| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::open(tempfile::tempdir().unwrap(), change).await
    }

    async fn open(dir: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        Self::over(dir, change, |blobs| Arc::new(blobs)).await
    }

    /// Over other blobs.
    async fn over(
        dir: TempDir,
        change: impl FnOnce(&mut Settings),
        wrap: impl FnOnce(DiskBlobs) -> Arc<dyn Blobs>,
    ) -> Self {
        Self::on(Disk::default(), dir, change, wrap).await
    }

    /// With its log on another disk.
    async fn on(
        disk: Disk,
        dir: TempDir,
        change: impl FnOnce(&mut Settings),
        wrap: impl FnOnce(DiskBlobs) -> Arc<dyn Blobs>,
    ) -> Self {
        let mut settings = settings();
        settings.resumable.dir = dir.path().join("data/uploads");
        change(&mut settings);
        let (data, keys) = (dir.path().join("data"), dir.path().join("keys"));
        let (store, blobs) = tokio::task::spawn_blocking(move || {
            let options = SledOptions { disk, ..SledOptions::new(&data, &keys, "registry.example/log") };
            let store = SledStore::open(&options).unwrap();
            let blobs = DiskBlobs::open(&data.join("blobs"), DiskOptions::default()).unwrap();
            (store, blobs)
        })
        .await
        .unwrap();
        let registry =
            Registry::open(Arc::new(store), wrap(blobs), Arc::new(InProcess::default()), settings).await.unwrap();
        Self { registry: Arc::new(registry), dir }
    }

    /// Uploads files under a caller's name.
    async fn upload(&self, caller: &Caller, files: &[(&str, &[u8])], form: PublishForm) -> Outcome<PublishedVersion> {
        let mut upload = self.registry.begin_upload(caller, None, None).await?;
        for (name, octets) in files {
            let mut sink = match upload.file(name).await {
                Ok(sink) => sink,
                Err(error) => return Err(upload.fail(error).await),
            };
            for piece in octets.chunks(7) {
                if let Err(error) = sink.write(Bytes::copy_from_slice(piece)).await {
                    return Err(upload.fail(error).await);
                }
            }
            let file = sink.finish().await.unwrap();
            upload.add(file);
        }
        self.registry.publish(caller, upload, form).await
    }

    /// Uploads one file to a model and expects that to succeed.
    async fn publish(&self, model: &str, octets: &[u8]) -> PublishedVersion {
        let form = PublishForm { name: Some(model.parse().unwrap()), ..PublishForm::default() };
        self.upload(&someone(Role::Contributor), &[("weights.bin", octets)], form).await.unwrap().value
    }

    /// Whether the bytes of a digest are on disk.
    fn has_bytes(&self, digest: &Digest) -> bool {
        self.registry.inner.blobs.contains(digest).unwrap().is_some()
    }

    /// Waits until the bytes of a digest are on disk or not.
    async fn wait_for_bytes(&self, digest: &Digest, there: bool) {
        for _ in 0..1500 {
            if self.has_bytes(digest) == there {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{digest} is there: {}", !there);
    }

    /// The newest entries, oldest first, as `action outcome`, without those of the readings that this makes.
    async fn log(&self) -> Vec<String> {
        let page = self.registry.audit_page(&someone(Role::Auditor), AuditQuery::default(), 1000, None).await.unwrap();
        let word = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let mut entries: Vec<String> = page
            .value
            .items
            .iter()
            .map(|row| format!("{} {}", word(&row.entry, "action"), word(&row.entry, "outcome")))
            .filter(|entry| !entry.starts_with("audit.read") && !entry.starts_with("log."))
            .collect();
        entries.reverse();
        entries
    }

    /// The newest entry of an action.
    async fn last(&self, action: &str) -> serde_json::Value {
        let query = AuditQuery { action: Some(action.into()), ..AuditQuery::default() };
        let page = self.registry.audit_page(&someone(Role::Auditor), query, 1, None).await.unwrap();
        page.value.items.into_iter().next().unwrap().entry
    }

    /// Verifies a receipt as its holder would, and gives the action it proves.
    fn proven(&self, receipt: &Receipt) -> String {
        let key: Verifier = self.registry.identity().vkey.parse().unwrap();
        receipt.verify(&[key]).unwrap().entry.action.as_str().to_owned()
    }
}

/// A signed-in user of a role who has no record: enough for whatever isn't about users.
fn someone(role: Role) -> Caller {
    let actor = Actor {
        id: format!("usr_{role}"),
        name: role.as_str().into(),
        kind: ActorKind::User,
        role: Some(role),
        sid: None,
        must_change_password: false,
        must_enrol: false,
        token_expires_at_ms: None,
        session_expires_at_ms: None,
        person: None,
        grants: None,
        scope: None,
        api_token: None,
    };
    Caller { actor, request: Some(request("192.0.2.1")) }
}

fn anonymous(ip: &str) -> Caller {
    Caller { actor: Actor::anonymous(), request: Some(request(ip)) }
}

fn request(ip: &str) -> RequestMeta {
    RequestMeta {
        id: "r-1".into(),
        method: "POST",
        route: "/tests",
        ip: Some(ip.parse().unwrap()),
        ua: None,
        ok_status: 201,
        unchanged_status: 200,
        status_of: |error| if error.is_denial() { 403 } else { 400 },
        idempotency_key: None,
        if_match: None,
    }
}

/// A caller whose request has an Idempotency-Key.
fn keyed(mut caller: Caller, key: &str) -> Caller {
    caller.request.as_mut().unwrap().idempotency_key = Some(key.into());
    caller
}

/// A caller whose request has an If-Match.
fn matching(mut caller: Caller, revision: u64) -> Caller {
    caller.request.as_mut().unwrap().if_match =
        Some(crate::registry::access::IfMatch::Tags(vec!["x".into(), revision.to_string()]));
    caller
}

fn model(text: &str) -> ModelRef {
    text.parse().unwrap()
}

fn number(number: u32) -> Version {
    Version::try_from(number).unwrap()
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn sha256(octets: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(octets).into())
}

/// The error of a failure, which must have its entry.
#[track_caller]
fn refused<T>(outcome: Outcome<T>) -> RegistryError {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(failure) => {
            assert!(failure.logged.is_some(), "no entry: {}", failure.error);
            failure.error
        }
    }
}

/// A success, which must have its entry.
#[track_caller]
fn done<T>(outcome: Outcome<T>) -> Done<T> {
    match outcome {
        Ok(done) => {
            assert!(done.logged.is_some());
            done
        }
        Err(failure) => panic!("{:?}", failure.error),
    }
}

/// A failure before anything is asked of the registry is recorded with the status it was answered with.
#[tokio::test(flavor = "multi_thread")]
async fn failures_of_a_face() {
    let bench = Bench::new().await;
    let target = common::audit::Target::new("model", "x");
    let action = common::audit::Action::ModelDelete;
    let error = RegistryError::Unauthenticated;
    let caller = anonymous("192.0.2.9");
    let record = async || bench.registry.record_failure(&caller, action.clone(), target.clone(), &error, 401).await;
    assert!(record().await.unwrap().is_some());
    let entry = bench.last("model.delete").await;
    assert_eq!((entry["outcome"].as_str(), entry["req"]["status"].as_u64()), (Some("denied"), Some(401)));
    assert_eq!(entry["req"]["ip"].as_str(), Some("192.0.2.9"));

    // A flood of them is summed up.
    let mut limited = 0;
    for _ in 0..130 {
        limited += u32::from(matches!(record().await, Err(RegistryError::TooManyRequests { .. })));
    }
    assert!((10..=11).contains(&limited), "{limited}");
    bench.registry.inner.summarise_rejected().await;
    assert_eq!(bench.last("auth.throttled").await["data"]["anonymous"].as_u64(), Some(u64::from(limited)));
}

/// Pages of the log go on where they ended although reading makes it longer; names find ids; exports are complete.
#[tokio::test(flavor = "multi_thread")]
async fn reading_the_log() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    bench.publish("one", b"1").await;
    for n in 0..5 {
        bench.publish("two", format!("{n}").as_bytes()).await;
    }
    assert!(matches!(
        refused(bench.registry.audit_page(&someone(Role::Viewer), AuditQuery::default(), 10, None).await),
        RegistryError::Forbidden { .. }
    ));
    let query = AuditQuery { target: Some("two".into()), ..AuditQuery::default() };
    let mut cursor = None;
    let mut seen = Vec::new();
    loop {
        let page = done(bench.registry.audit_page(&admin, query.clone(), 2, cursor.as_deref()).await).value;
        assert_eq!(page.total, Some(5));
        seen.extend(page.items.iter().map(|row| row.index));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));

    let mut export = done(bench.registry.audit_export(&admin, query).await).value;
    let mut exported = Vec::new();
    while let Some(rows) = export.next().await.unwrap() {
        exported.extend(rows.iter().map(|row| row.index));
    }
    assert_eq!(exported, seen);
    let other = AuditQuery { outcome: Some(EntryOutcome::Denied), ..AuditQuery::default() };
    assert_eq!(bench.registry.audit_page(&admin, other, 10, None).await.unwrap().value.items.len(), 1);

    let one = done(bench.registry.audit_entry(&admin, seen[0]).await).value;
    assert_eq!(bench.proven(&one.receipt), "model.upload");
    assert!(matches!(refused(bench.registry.audit_entry(&admin, 1 << 40).await), RegistryError::NotFound { .. }));
}

/// What a tail brings next, as indices of entries. It may catch up with the feed before the feed has caught up with the log.
async fn brought(tail: &mut Tail) -> Vec<u64> {
    loop {
        if let News::Entries(batch, from) = tail.next().await.unwrap() {
            tail.given();
            return (from..batch.end()).collect();
        }
    }
}

/// A tail brings each entry once, from where it was asked to begin, and says when that is all there is; its beginning and
/// end are entries. A stop waits for the end.
#[tokio::test(flavor = "multi_thread")]
async fn tail() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    bench.publish("one", b"1").await;
    let after = |index| Some(After { index, loc: "query.after" });
    for beyond in [1000, u64::MAX] {
        let error = refused(bench.registry.audit_tail(&admin, after(beyond)).await);
        assert!(matches!(error, RegistryError::Invalid(_)), "{error}");
    }
    assert!(matches!(
        refused(bench.registry.audit_tail(&someone(Role::Contributor), None).await),
        RegistryError::Forbidden { .. }
    ));
    let begun = done(bench.registry.audit_tail(&admin, after(0)).await);
    let (mut tail, index) = (begun.value, begun.logged.unwrap().index);
    let mut next = 1;
    while next <= index {
        for brought in brought(&mut tail).await {
            assert_eq!(brought, next);
            next += 1;
        }
    }
    match tail.next().await.unwrap() {
        News::CaughtUp(checkpoint) => assert_eq!(checkpoint.size, next),
        News::Entries(batch, from) => panic!("entries {from}..{} were brought twice", batch.end()),
    }
    bench.publish("two", b"2").await;
    assert_eq!(brought(&mut tail).await.first(), Some(&next));

    let now = done(bench.registry.audit_tail(&admin, None).await);
    assert_eq!(bench.registry.tails(), 2);
    drop(now.value);
    tail.end(Ending::Stopping);
    bench.registry.finish().await;
    assert_eq!(bench.registry.tails(), 0);
    let query = AuditQuery { action: Some("audit.read".into()), ..AuditQuery::default() };
    let rows = done(bench.registry.audit_page(&admin, query, 100, None).await).value.items;
    let ends: Vec<&serde_json::Value> =
        rows.iter().map(|row| &row.entry["data"]).filter(|data| data["live"] == "end").collect();
    assert_eq!(ends.len(), 2);
    let of = |began: u64| ends.iter().find(|data| data["began"] == began).unwrap();
    assert_eq!((&of(index)["first"], &of(index)["ending"]), (&1.into(), &"stopping".into()));
    assert!(of(index)["count"].as_u64().unwrap() > index);
    let index = now.logged.unwrap().index;
    assert_eq!((&of(index)["first"], &of(index)["count"]), (&(index + 1).into(), &0.into()));
    assert_eq!(of(index)["ending"], "left");
}

/// Work that is under way when the registry closes is recorded, and the next start finds everything.
#[tokio::test(flavor = "multi_thread")]
async fn closing() {
    let bench = Bench::new().await;
    bench.publish("kept", b"kept").await;
    let stray = sha256(b"stray");
    let mut staged = bench.registry.inner.blobs.stage().unwrap();
    staged.write(b"stray").unwrap();
    staged.keep(&stray).unwrap();
    drop(bench.registry.begin_upload(&someone(Role::Contributor), None, None).await.unwrap());
    bench.registry.close().await;
    let Bench { registry, dir } = bench;
    drop(registry);

    let bench = Bench::open(dir, |_settings| {}).await;
    assert!(bench.has_bytes(&sha256(b"kept")));
    assert_eq!(bench.log().await, ["model.upload ok", "model.upload error"]);
    bench.wait_for_bytes(&stray, false).await;
    assert!(bench.has_bytes(&sha256(b"kept")));
}
