//! Items of the drop folder: each once, by whom, and what is done about them.

use std::collections::BTreeMap;

use common::api::{IngestKind, UserPatch};
use common::digest::Digest;
use common::name::ItemId;
use common::role::{Permission, Role};
use serde_json::json;
use tokio::sync::watch;

use super::{Bench, anonymous, done, keyed, model, name, number, refused, sha256, someone};
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::ingest::{Dropper, Item, Stage};
use crate::registry::publish::{PublishForm, PublishedVersion, Source};
use crate::registry::settings::ScanPolicy;
use crate::store::check::Listener;
use crate::store::records::{DamageRecord, IngestOutcome, IngestRecord};
use crate::store::sled::{SledOptions, SledStore, check_stopped};

const PASSWORD: &str = "blue tractor fjord";
/// A protocol 0 pickle that runs a command.
const ATTACK: &[u8] = b"cos\nsystem\n(S'id'\ntR.";

fn id(number: u128) -> ItemId {
    ItemId::from_u128(number)
}

fn item(number: u128) -> Item {
    Item {
        id: id(number),
        path: format!("incoming/{number}.bin"),
        kind: IngestKind::File,
        device: 42,
        inode: u64::MAX,
        owner_uid: 1000,
        size: 5,
        digest: None,
        stage: None,
    }
}

fn form(name: &str, item: Item) -> PublishForm {
    PublishForm { name: Some(name.parse().unwrap()), source: Source::Drop, item: Some(item), ..PublishForm::default() }
}

fn watcher() -> Caller {
    Caller::watcher(Role::Contributor)
}

fn outcome_of(record: &IngestRecord) -> &'static str {
    match record.outcome {
        IngestOutcome::Published { .. } => "published",
        IngestOutcome::Rejected { .. } => "rejected",
        IngestOutcome::Discarded { .. } => "discarded",
    }
}

impl Bench {
    /// Takes one item in, of a version of its own whatever is in it.
    async fn take(&self, name: &str, number: u128, octets: &[u8]) -> Outcome<PublishedVersion> {
        let form = PublishForm { force_new_version: true, ..form(name, item(number)) };
        self.upload(&watcher(), &[("a.bin", octets)], form).await
    }

    async fn kept(&self, number: u128) -> Option<IngestRecord> {
        self.registry.ingest_record(id(number)).await.unwrap()
    }

    async fn versions(&self, name: &str) -> u64 {
        let row = self.registry.model(&someone(Role::Viewer), &model(name), None).await.unwrap();
        row.value.value.model.versions.into()
    }

    async fn user(&self, user: &str, role: Role) {
        done(self.registry.register(&someone(Role::Admin), user, Secret::new(PASSWORD.into()), Some(role)).await);
    }

    async fn patch(&self, user: &str, patch: UserPatch) {
        done(self.registry.patch_user(&someone(Role::Admin), &name(user), patch).await);
    }

    /// Who acts for a user's files.
    async fn dropper(&self, user: &str) -> Result<Caller, RegistryError> {
        self.registry.dropper(&Dropper::User(name(user))).await
    }

    /// Stops and hands the directory on.
    async fn stopped(self) -> tempfile::TempDir {
        self.registry.close().await;
        let Self { registry, dir } = self;
        drop(registry);
        dir
    }
}

/// An item becomes one version; what comes again with its id gets the first outcome, with the receipt of the first entry,
/// and the entry says which item it was.
#[tokio::test(flavor = "multi_thread")]
async fn once() {
    let bench = Bench::new().await;
    let first = done(bench.take("m", 1, b"one").await);
    let receipt = first.receipt.unwrap();
    assert_eq!((bench.proven(&receipt).as_str(), first.replayed), ("model.upload", false));
    assert_eq!(first.value.version.source, "drop");
    let entry = bench.last("model.upload").await;
    let said = json!({
        "item": id(1).to_string(),
        "path": "incoming/1.bin",
        "device": 42,
        "inode": "18446744073709551615",
        "owner_uid": 1000,
    });
    assert_eq!(entry["data"]["drop"], said);
    assert_eq!((&entry["actor"]["id"], &entry["data"]["source"]), (&json!("watcher"), &json!("drop")));

    let again = done(bench.take("m", 1, b"one").await);
    assert!(again.replayed);
    assert_eq!(again.value.version, first.value.version);
    assert_eq!(again.receipt.unwrap().index, receipt.index);
    let entry = bench.last("model.upload").await;
    assert_eq!((&entry["data"]["replay_of"], entry.get("change")), (&json!(receipt.index), None));
    assert_eq!(entry["data"]["drop"], said);
    // Other octets under the same id are none of it.
    assert!(done(bench.take("m", 1, b"others").await).replayed);
    assert_eq!(bench.versions("m").await, 1);

    let record = bench.kept(1).await.unwrap();
    assert_eq!((record.index, record.digest, record.inode), (receipt.index, Some(sha256(b"one")), u64::MAX));
    assert_eq!((record.path.as_str(), record.owner_uid, record.size), ("incoming/1.bin", 1000, 5));
    let of = first.value.version;
    let outcome = IngestOutcome::Published { model: of.id, version: of.version, already_present: false };
    assert_eq!(record.outcome, outcome);
    // Bytes that are there already are the item's version all the same.
    let there = done(bench.upload(&watcher(), &[("a.bin", b"one")], form("m", item(2))).await).value;
    assert!(there.already_present);
    let record = bench.kept(2).await.unwrap();
    assert!(matches!(record.outcome, IngestOutcome::Published { already_present: true, .. }));
    // Only a single file has a digest of its own.
    let folder = Item { kind: IngestKind::Folder, ..item(3) };
    done(bench.upload(&watcher(), &[("a.bin", b"1"), ("b.bin", b"2")], form("folder", folder)).await);
    assert_eq!(bench.kept(3).await.unwrap().digest, None);
}

/// Many at once with one id are one version; each id is one.
#[tokio::test(flavor = "multi_thread")]
async fn once_although_at_once() {
    let bench = Bench::new().await;
    let taken = futures_util::future::join_all((0..12).map(|turn| {
        let bench = &bench;
        async move { done(bench.take("m", turn % 3, b"same octets").await) }
    }))
    .await;
    assert_eq!(taken.iter().filter(|one| !one.replayed).count(), 3);
    let mut versions: BTreeMap<u128, Vec<u32>> = BTreeMap::new();
    for (turn, one) in (0..12).zip(&taken) {
        versions.entry(turn % 3).or_default().push(one.value.version.version.number());
    }
    let mut numbers: Vec<u32> = versions
        .into_values()
        .map(|of_item| {
            assert!(of_item.iter().all(|number| *number == of_item[0]), "{of_item:?}");
            of_item[0]
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(bench.versions("m").await, 3);
}

/// Fails on the first thing that is wrong.
struct Strict;

impl Listener for Strict {
    fn progress(&mut self, _step: &'static str, _done: u64, _of: u64) {}
    fn failure(&mut self, place: String, what: String) {
        panic!("{place}: {what}");
    }
    fn remark(&mut self, what: String) {
        panic!("{what}");
    }
    fn blob(&mut self, _digest: Digest, _size: u64, _damage: Option<DamageRecord>, _by: &dyn Fn() -> Vec<String>) {}
    fn goes_on(&self) -> bool {
        true
    }
}

/// Version and item are one commit: the journal alone gives both again, and what a crash left without a receipt gets it.
/// What was refused, given up and paused is there again, too.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilt() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    let first = done(bench.take("m", 1, b"one").await).value;
    let why = RegistryError::Conflict("no".into());
    done(bench.registry.reject_item(&watcher(), item(2), &why).await);
    done(bench.registry.discard_item(&admin, item(3), "not wanted").await);
    done(bench.registry.pause_intake(&admin, true, "the disk is changed").await);
    let kept = bench.registry.ingest_records(None, 10).await.unwrap();
    let paused = bench.registry.intake().await.unwrap();
    let dir = bench.stopped().await;

    let options = SledOptions::new(&dir.path().join("data"), &dir.path().join("keys"), "registry.example/log");
    let store = tokio::task::spawn_blocking(move || {
        check_stopped(&options, &mut Strict).unwrap();
        SledStore::rebuild(&options, BTreeMap::new(), &|_done, _of| {}).unwrap()
    });
    let store = store.await.unwrap();
    crate::store::Store::close(&store).await;
    drop(store);

    let bench = Bench::open(dir, |_settings| {}).await;
    assert_eq!(kept.iter().map(outcome_of).collect::<Vec<_>>(), ["published", "rejected", "discarded"]);
    assert_eq!(bench.registry.ingest_records(None, 10).await.unwrap(), kept);
    assert_eq!(bench.registry.ingest_records(Some(id(1)), 1).await.unwrap(), kept[1..2]);
    assert!(paused.as_ref().is_some_and(|record| record.paused && record.by == "admin"));
    assert_eq!(bench.registry.intake().await.unwrap(), paused);
    assert!(done(bench.take("m", 1, b"one").await).replayed);
    let (told, receipt) = bench.registry.ingest_published(&kept[0]).await.unwrap();
    assert_eq!((told.version, told.already_present), (first.version, false));
    assert_eq!((bench.proven(&receipt).as_str(), receipt.index), ("model.upload", kept[0].index));
    let receipt = bench.registry.ingest_receipt(&kept[1]).await.unwrap();
    assert_eq!((bench.proven(&receipt).as_str(), receipt.index), ("ingest.reject", kept[1].index));
    let error = bench.registry.ingest_published(&kept[1]).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict(_)), "{error}");
}

/// A refusal is recorded once, with its problem; the item doesn't become a version after that, until somebody has it tried
/// again; and a version is not tried again.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_and_retried() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    let why = RegistryError::DigestMismatch { expected: sha256(b"a"), actual: sha256(b"b") };
    let of = Item { digest: Some(sha256(b"b")), ..item(1) };
    let first = done(bench.registry.reject_item(&watcher(), of, &why).await);
    assert_eq!(bench.proven(&first.receipt.unwrap()), "ingest.reject");
    let entry = bench.last("ingest.reject").await;
    assert_eq!(
        entry["target"],
        json!({"digest": sha256(b"b").to_string(), "id": id(1).to_string(), "kind": "item", "size": 5})
    );
    let data = json!({
        "path": "incoming/1.bin",
        "owner_uid": 1000,
        "who": "watcher",
        "problem": "digest-mismatch",
        "detail": why.to_string(),
    });
    assert_eq!((&entry["data"], &entry["outcome"]), (&data, &json!("ok")));
    let other = RegistryError::Conflict("another reason".into());
    let again = done(bench.registry.reject_item(&watcher(), item(1), &other).await);
    assert!(again.replayed);
    assert_eq!(again.value, first.value);
    assert_eq!(bench.kept(1).await.unwrap(), first.value);

    let error = refused(bench.take("m", 1, b"one").await);
    assert!(matches!(&error, RegistryError::Conflict(text) if text.contains(&why.to_string())), "{error}");
    assert_eq!(bench.last("model.upload").await["data"]["drop"]["item"], json!(id(1).to_string()));
    let receipt = done(bench.registry.retry_item(&admin, id(1), "rejected/1.bin", "rejected").await).receipt.unwrap();
    assert_eq!(bench.proven(&receipt), "ingest.retry");
    let entry = bench.last("ingest.retry").await;
    assert_eq!(entry["data"], json!({"path": "rejected/1.bin", "was": "rejected"}));
    assert_eq!(bench.kept(1).await, None);
    assert!(!done(bench.take("m", 1, b"one").await).replayed);
    // A version stays one, whoever tries again: only the moving of its file can be.
    done(bench.registry.retry_item(&admin, id(1), "x", "failed").await);
    assert_eq!(outcome_of(&bench.kept(1).await.unwrap()), "published");
    // What became a version is not refused after all.
    let late = done(bench.registry.reject_item(&watcher(), item(1), &other).await);
    assert_eq!((outcome_of(&late.value), late.replayed), ("published", true));
    // One that failed and has no record can be tried again, too.
    done(bench.registry.retry_item(&admin, id(9), "incoming/9.bin", "failed").await);
}

/// Entries and records hold no more of a text than they should, and what an attack was found by.
#[tokio::test(flavor = "multi_thread")]
async fn texts_are_bounded() {
    let bench = Bench::with(|settings| settings.scan_policies = ScanPolicy::RefuseMalicious.into()).await;
    let long = Item { path: "ä".repeat(5000), ..item(1) };
    let why = RegistryError::Conflict("ö".repeat(5000));
    let record = done(bench.registry.reject_item(&watcher(), long, &why).await).value;
    assert_eq!(record.path.len(), 4096);
    assert!(matches!(&record.outcome, IngestOutcome::Rejected { detail, .. } if detail.len() == 4096));
    done(bench.registry.retry_item(&someone(Role::Admin), id(2), &"x".repeat(9000), &"x".repeat(9000)).await);
    let data = bench.last("ingest.retry").await["data"].clone();
    assert_eq!((data["path"].as_str().unwrap().len(), data["was"].as_str().unwrap().len()), (4096, 1024));

    // It is told how far it has come, and its refusal names it.
    let (stage, told) = watch::channel(None);
    let attack = form("m", Item { stage: Some(stage), ..item(3) });
    let error = refused(bench.upload(&watcher(), &[("m.pkl", ATTACK)], attack).await);
    assert!(matches!(error, RegistryError::Malicious { .. }), "{error}");
    assert_eq!(*told.borrow(), Some(Stage::Scanning));
    let entry = bench.last("model.upload").await;
    assert_eq!((&entry["data"]["drop"]["item"], &entry["outcome"]), (&json!(id(3).to_string()), &json!("denied")));
    assert_eq!(bench.kept(3).await, None);
    let record = done(bench.registry.reject_item(&watcher(), item(3), &error).await).value;
    let IngestOutcome::Rejected { problem, detail } = record.outcome else { panic!("{record:?}") };
    assert!(problem == "malicious-content" && detail.contains("pickle.global.denied"), "{problem}: {detail}");
    let (stage, told) = watch::channel(None);
    done(bench.upload(&watcher(), &[("m.bin", b"x")], form("m", Item { stage: Some(stage), ..item(4) })).await);
    assert_eq!(*told.borrow(), Some(Stage::Storing));
}

/// An attempt that ends before it is complete names its item.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_name_their_item() {
    let bench = Bench::new().await;
    let mut upload = bench.registry.begin_upload(&watcher(), None, None).await.unwrap();
    upload.of_item(&item(1));
    upload.fail(RegistryError::Interrupted).await;
    assert_eq!(bench.last("model.upload").await["data"]["drop"]["item"], json!(id(1).to_string()));
}

/// Files are taken in in a user's name only as far as the user's record allows it, by which it is looked up each time.
#[tokio::test(flavor = "multi_thread")]
async fn droppers() {
    let bench = Bench::new().await;
    for (user, role) in [("ana", Role::Contributor), ("vera", Role::Viewer), ("root-user", Role::Admin)] {
        bench.user(user, role).await;
    }
    let ana = bench.dropper("ana").await.unwrap();
    assert_eq!(
        (ana.actor.name.as_str(), ana.actor.role, ana.actor.sid.as_ref()),
        ("ana", Some(Role::Contributor), None)
    );
    done(bench.upload(&ana, &[("a.bin", b"1")], form("m", item(1))).await);
    let entry = bench.last("model.upload").await;
    let wanted = json!({"id": ana.actor.id, "kind": "user", "name": "ana", "role": "contributor"});
    assert_eq!(entry["actor"], wanted);
    let vera = bench.dropper("vera").await.unwrap();
    let error = refused(bench.upload(&vera, &[("a.bin", b"1")], form("m", item(2))).await);
    assert!(matches!(error, RegistryError::Forbidden { permission: Permission::ModelWrite }), "{error}");
    let watcher = bench.registry.dropper(&Dropper::Watcher(Role::Viewer)).await.unwrap();
    let error = refused(bench.upload(&watcher, &[("a.bin", b"1")], form("m", item(2))).await);
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
    bench.patch("ana", UserPatch { disabled: Some(true), ..UserPatch::default() }).await;
    for (user, what) in [("ana", "is disabled"), ("nobody-known", "there isn't")] {
        let error = bench.dropper(user).await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::NoDropper(text) if text.contains(what) && text.contains(user)),
            "{error}"
        );
    }
    // Made by an operator, a password is to be changed first; until then nothing is done in the user's name.
    let (operator, password) = (Caller::system(), Secret::new(PASSWORD.into()));
    done(bench.registry.register(&operator, "new", password, Some(Role::Contributor)).await);
    let new = bench.dropper("new").await.unwrap();
    let error = refused(bench.upload(&new, &[("a.bin", b"1")], form("m", item(2))).await);
    assert!(matches!(error, RegistryError::PasswordChangeRequired), "{error}");
    assert_eq!(bench.kept(2).await, None);
}

/// What changes about a user while a file is read holds for that file already.
#[tokio::test(flavor = "multi_thread")]
async fn changes_meanwhile() {
    let bench = Bench::new().await;
    bench.user("root-user", Role::Admin).await;
    let admin = someone(Role::Admin);
    let patch = |disabled, role| UserPatch { disabled, role, grants: None };
    let begun = async |caller: &Caller| {
        let mut upload = bench.registry.begin_upload(caller, None, None).await.unwrap();
        let mut sink = upload.file("a.bin").await.unwrap();
        sink.write(bytes::Bytes::from_static(b"octets")).await.unwrap();
        let file = sink.finish().await.unwrap();
        upload.add(file);
        upload
    };
    for (turn, user) in (1..).zip(["disabled", "demoted", "deleted", "replaced"]) {
        bench.user(user, Role::Contributor).await;
        let caller = bench.dropper(user).await.unwrap();
        let upload = begun(&caller).await;
        match user {
            "disabled" => bench.patch(user, patch(Some(true), None)).await,
            "demoted" => bench.patch(user, patch(None, Some(Role::Viewer))).await,
            _ => drop(done(bench.registry.delete_user(&admin, &name(user)).await)),
        }
        if user == "replaced" {
            bench.user(user, Role::Contributor).await;
        }
        let error = refused(bench.registry.publish(&caller, upload, form("m", item(turn))).await);
        let expected = match user {
            "demoted" => matches!(error, RegistryError::Forbidden { permission: Permission::ModelWrite }),
            _ => matches!(error, RegistryError::NoDropper(_)),
        };
        assert!(expected, "{user}: {error}");
        assert_eq!(bench.kept(turn).await, None, "{user}");
    }
    // A protected alias is an admin's to move, and nobody's who was one.
    bench.user("second", Role::Admin).await;
    let second = bench.dropper("second").await.unwrap();
    let aliased = |number| PublishForm { alias: Some("prod".parse().unwrap()), ..form("m", item(number)) };
    let upload = begun(&second).await;
    done(bench.registry.publish(&second, upload, aliased(10)).await);
    let upload = begun(&second).await;
    bench.patch("second", patch(None, Some(Role::Contributor))).await;
    let error = refused(bench.registry.publish(&second, upload, aliased(11)).await);
    assert!(matches!(error, RegistryError::Forbidden { permission: Permission::ProtectedAlias }), "{error}");
    // Without the alias it is still allowed.
    let upload = begun(&second).await;
    done(bench.registry.publish(&second, upload, form("m", item(12))).await);
}

/// Records go along with later commits, never with an entry of their own, a bounded number at once; and not where the item
/// has come to something else since.
#[tokio::test(flavor = "multi_thread")]
async fn forgotten() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    for number in 0..40 {
        done(bench.registry.reject_item(&watcher(), item(number), &RegistryError::Interrupted).await);
    }
    let entries = bench.log().await.len();
    bench.registry.forget_ingests((0..40).map(id).collect());
    let left = async || bench.registry.ingest_records(None, 1000).await.unwrap();
    assert_eq!((bench.log().await.len(), left().await.len()), (entries, 40));
    // A refusal and a replay change nothing, so nothing goes with them.
    refused(bench.take("m", 50, b"").await);
    done(bench.registry.reject_item(&watcher(), item(5), &RegistryError::Interrupted).await);
    assert_eq!(left().await.len(), 40);
    done(bench.take("m", 60, b"x").await);
    let after: Vec<ItemId> = left().await.iter().map(|record| record.item).collect();
    assert_eq!(after, (32..40).chain([60]).map(id).collect::<Vec<_>>());
    // One is tried again in between: what it comes to now stays.
    done(bench.registry.retry_item(&admin, id(39), "x", "rejected").await);
    done(bench.take("m", 39, b"y").await);
    // Two commits: the second removes what the first has found.
    bench.publish("other", b"z").await;
    bench.publish("other", b"zz").await;
    let after: Vec<ItemId> = left().await.iter().map(|record| record.item).collect();
    assert_eq!(after, [39, 60].map(id));
    assert_eq!(outcome_of(&bench.kept(39).await.unwrap()), "published");
    // What was named and isn't there does no harm, and is forgotten in turn.
    bench.registry.forget_ingests([39, 100, 101].map(id).to_vec());
    done(bench.registry.discard_item(&admin, item(70), "unwanted").await);
    done(bench.registry.discard_item(&admin, item(71), "unwanted").await);
    assert_eq!(left().await.iter().map(|record| record.item).collect::<Vec<_>>(), [60, 70, 71].map(id));
    assert!(bench.registry.inner.forgets.some().is_empty());
}

/// Giving up is recorded once, with the reason, which must be one; a key gets the first answer again.
#[tokio::test(flavor = "multi_thread")]
async fn discarded() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    let error = refused(bench.registry.discard_item(&admin, item(1), " ").await);
    assert!(matches!(&error, RegistryError::Invalid(list) if list[0].0 == "body.reason"), "{error}");
    assert_eq!(bench.kept(1).await, None);
    let first = done(bench.registry.discard_item(&keyed(admin.clone(), "k"), item(1), "wrong file").await);
    let outcome = IngestOutcome::Discarded { by: "admin".into(), reason: "wrong file".into() };
    assert_eq!((&first.value.outcome, first.value.item), (&outcome, id(1)));
    assert_eq!(bench.proven(&first.receipt.unwrap()), "ingest.discard");
    let data = json!({"path": "incoming/1.bin", "owner_uid": 1000, "reason_given": "wrong file"});
    assert_eq!(bench.last("ingest.discard").await["data"], data);
    for caller in [keyed(admin.clone(), "k"), admin.clone()] {
        let again = done(bench.registry.discard_item(&caller, item(1), "wrong file").await);
        assert_eq!((again.replayed, again.value), (true, first.value.clone()));
    }
    let other = bench.registry.discard_item(&keyed(admin, "k"), item(2), "wrong file").await;
    assert!(matches!(refused(other), RegistryError::IdempotencyKeyReused));
    assert!(matches!(refused(bench.take("m", 1, b"one").await), RegistryError::Conflict(_)));
}

/// A pause is kept over a stop, with who and why; to go on needs no reason.
#[tokio::test(flavor = "multi_thread")]
async fn paused() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    assert_eq!(bench.registry.intake().await.unwrap(), None);
    let error = refused(bench.registry.pause_intake(&admin, true, "").await);
    assert!(matches!(error, RegistryError::Invalid(_)), "{error}");
    let done_once = done(bench.registry.pause_intake(&admin, true, "the disk is changed").await);
    assert_eq!(bench.proven(&done_once.receipt.unwrap()), "ingest.pause");
    let entry = bench.last("ingest.pause").await;
    assert_eq!(entry["data"], json!({"reason_given": "the disk is changed"}));
    assert_eq!(entry["target"], json!({"id": "drop", "kind": "intake"}));
    let bench = Bench::open(bench.stopped().await, |_settings| {}).await;
    assert_eq!(bench.registry.intake().await.unwrap(), Some(done_once.value));
    let resumed = done(bench.registry.pause_intake(&admin, false, "").await);
    assert_eq!((resumed.value.paused, bench.proven(&resumed.receipt.unwrap())), (false, "ingest.resume".into()));
    assert_eq!(bench.registry.intake().await.unwrap(), Some(resumed.value));
}

/// Only admins manage the drop folder, and nobody refuses an item over an interface; each attempt is an entry.
#[tokio::test(flavor = "multi_thread")]
async fn permissions() {
    let bench = Bench::new().await;
    let why = RegistryError::Conflict("no".into());
    let mut callers: Vec<Caller> = Role::ALL.into_iter().filter(|role| *role != Role::Admin).map(someone).collect();
    callers.push(anonymous("192.0.2.7"));
    callers.push({
        let mut caller = someone(Role::Admin);
        caller.actor.must_change_password = true;
        caller
    });
    for caller in &callers {
        let errors = [
            refused(bench.registry.retry_item(caller, id(1), "x", "failed").await),
            refused(bench.registry.discard_item(caller, item(1), "why").await.map(|done| done.map(|_record| ()))),
            refused(bench.registry.pause_intake(caller, true, "why").await.map(|done| done.map(|_record| ()))),
            refused(bench.registry.reject_item(caller, item(1), &why).await.map(|done| done.map(|_record| ()))),
        ];
        for error in errors {
            let denied = matches!(
                error,
                RegistryError::Forbidden { permission: Permission::IngestManage }
                    | RegistryError::Unauthenticated
                    | RegistryError::PasswordChangeRequired
            );
            assert!(denied, "{}: {error}", caller.actor.name);
        }
        let sees = bench.registry.may_see_ingest(caller).is_ok();
        assert_eq!(sees, caller.actor.role.is_some() && !caller.actor.must_change_password, "{}", caller.actor.name);
    }
    let nobody = Caller { actor: crate::registry::access::Actor::anonymous(), request: None };
    let error = refused(bench.registry.reject_item(&nobody, item(1), &why).await);
    assert!(matches!(error, RegistryError::Unauthenticated), "{error}");
    for action in ["ingest.retry", "ingest.discard", "ingest.pause", "ingest.reject"] {
        assert_eq!(bench.last(action).await["outcome"], json!("denied"), "{action}");
    }
    assert_eq!((bench.kept(1).await, bench.registry.intake().await.unwrap()), (None, None));
    // The drop folder itself refuses whatever role acts, for that may be the reason.
    done(bench.registry.reject_item(&Caller::watcher(Role::Viewer), item(1), &why).await);
    done(bench.registry.reject_item(&someone(Role::Admin), item(2), &why).await);
}

/// A version that was purged can't be told any more, and its item makes no second one.
#[tokio::test(flavor = "multi_thread")]
async fn purged() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    done(bench.take("m", 1, b"one").await);
    done(bench.registry.purge_version(&admin, &model("m"), number(1), "not ours").await);
    let record = bench.kept(1).await.unwrap();
    let error = bench.registry.ingest_published(&record).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(matches!(refused(bench.take("m", 1, b"one").await), RegistryError::NotFound { .. }));
}
