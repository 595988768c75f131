//! Models, versions, aliases, bytes.

use common::api::{ModelPatch, State, VersionPatch};
use common::name::Version;
use common::role::Role;

use super::{Bench, done, keyed, matching, model, number, refused, sha256, someone};
use crate::registry::cursor::Seek;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::ModelListing;
use crate::registry::publish::PublishForm;
use crate::registry::settings::{AuditReads, ScanPolicy};
use crate::store::ModelSort;

/// A protocol 2 pickle of `None`.
const PICKLE: &[u8] = b"\x80\x02N.";

fn form(name: &str) -> PublishForm {
    PublishForm { name: Some(name.parse().unwrap()), ..PublishForm::default() }
}

/// The name comes from the file, the number from the model; same bytes are no new version, unless that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers() {
    let bench = Bench::new().await;
    let who = someone(Role::Contributor);
    let upload =
        async |octets: &[u8], form: PublishForm| bench.upload(&who, &[("My model.tar.gz", octets)], form).await;
    let first = done(upload(b"one", PublishForm::default()).await);
    assert_eq!((first.value.version.name.as_str(), first.value.version.version), ("My-model", Version::FIRST));
    assert_eq!(bench.proven(&first.receipt.unwrap()), "model.upload");
    assert_eq!(first.value.version.artifacts[0].digest, sha256(b"one"));

    let same = done(upload(b"one", form("my-MODEL")).await);
    assert!(same.value.already_present && same.receipt.is_some());
    assert_eq!((same.value.version.version, same.value.version.id), (Version::FIRST, first.value.version.id));
    let entry = bench.last("model.upload").await;
    assert_eq!(entry["data"]["already_present"].as_bool(), Some(true));
    assert_eq!((entry["req"]["status"].as_u64(), entry.get("change")), (Some(200), None));

    let forced = done(upload(b"one", PublishForm { force_new_version: true, ..form("My-model") }).await);
    assert_eq!(forced.value.version.version, number(2));
    let at = |number_wanted: u32| PublishForm { version: Some(number(number_wanted)), ..form("My-model") };
    assert!(done(upload(b"one", at(1)).await).value.already_present);
    assert!(matches!(refused(upload(b"other", at(1)).await), RegistryError::Conflict(_)));
    assert_eq!(done(upload(b"other", at(10)).await).value.version.version, number(10));
    assert!(matches!(refused(upload(b"another", at(5)).await), RegistryError::Conflict(_)));
    assert_eq!(done(upload(b"another", form("My-model")).await).value.version.version, number(11));

    let row = bench.registry.model(&who, &model("my-model"), None).await.unwrap().value.value;
    assert_eq!((row.model.versions, row.model.latest_version), (4, Some(number(11))));
    assert_eq!(row.newest_versions.len(), 4);
}

/// A run goes by the rule as it is: of one that was replaced it ends, and tells the log nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_its_rule() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    for octets in [b"one", b"two", b"six"] {
        bench.publish("m", octets).await;
    }
    let set = async |keep: u32| {
        let rule = serde_json::json!({"pattern": "m", "action": "delete", "keep_newest": keep, "enabled": false});
        done(bench.registry.set_retention_rule(&admin, "r", serde_json::from_value(rule).unwrap()).await);
        bench.registry.inner.read(|view| Ok(view.retention_rule("r")?)).await.unwrap().unwrap()
    };
    let live = async || bench.registry.model(&admin, &model("m"), None).await.unwrap().value.value.model.versions;
    let size = || bench.registry.checkpoints().borrow().size;
    let (before, now) = (set(1).await, set(2).await);
    let entries = size();
    bench.registry.inner.carry_out(&before).await.unwrap();
    assert_eq!((live().await, size()), (3, entries));
    bench.registry.inner.carry_out(&now).await.unwrap();
    assert_eq!(live().await, 2);
    done(bench.registry.delete_retention_rule(&admin, "r").await);
    let entries = size();
    bench.registry.inner.carry_out(&before).await.unwrap();
    assert_eq!((live().await, size()), (2, entries));
}

/// Uploads of one name at once all succeed, each with a number of its own.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_once() {
    let bench = Bench::new().await;
    let who = someone(Role::Contributor);
    let uploads = (0..8_u8).map(|n| {
        let (bench, who) = (&bench, &who);
        async move { bench.upload(who, &[("x.bin", &[n; 50])], form("busy")).await.unwrap().value.version.version }
    });
    let mut numbers = futures_util::future::join_all(uploads).await;
    numbers.sort();
    assert_eq!(numbers, (1..=8).map(number).collect::<Vec<_>>());
}

/// What is refused leaves nothing behind but its entry.
#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    let bench = Bench::new().await;
    let who = someone(Role::Contributor);
    let upload = async |files: &[(&str, &[u8])], form: PublishForm| refused(bench.upload(&who, files, form).await);
    let one: &[(&str, &[u8])] = &[("a.bin", b"bytes")];
    let invalid = |error: RegistryError, place: &str| match error {
        RegistryError::Invalid(list) => assert!(list.iter().any(|(loc, _)| loc == place), "{list:?}"),
        other => panic!("{other}"),
    };
    invalid(upload(&[], form("m")).await, "part.file");
    invalid(upload(&[("a.bin", b"")], form("m")).await, "part.file");
    invalid(upload(&[("../a.bin", b"x")], form("m")).await, "part.file");
    invalid(upload(&[("a.bin", b"x"), ("a.bin", b"y")], form("m")).await, "part.file");
    let expecting = |octets: &[u8]| PublishForm { sha256: Some(sha256(octets)), ..form("m") };
    invalid(upload(&[("a.bin", b"x"), ("b.bin", b"y")], expecting(b"x")).await, "part.sha256");
    assert!(matches!(upload(one, expecting(b"others")).await, RegistryError::DigestMismatch { .. }));
    let aliased = PublishForm { alias: Some("prod".parse().unwrap()), ..form("m") };
    assert!(matches!(upload(one, aliased).await, RegistryError::Forbidden { .. }));
    assert!(matches!(upload(&[("big", &vec![0; 2 << 20])], form("m")).await, RegistryError::TooLarge { .. }));
    let viewer = bench.upload(&someone(Role::Viewer), one, form("m")).await;
    assert!(matches!(refused(viewer), RegistryError::Forbidden { .. }));
    let declared = bench.registry.begin_upload(&who, None, Some(2 << 20)).await.err().unwrap();
    assert!(matches!(declared.error, RegistryError::TooLarge { .. }) && declared.logged.is_some());

    assert!(matches!(refused(bench.registry.model(&who, &model("m"), None).await), RegistryError::NotFound { .. }));
    for octets in [b"bytes".as_slice(), b"x", b"y"] {
        bench.wait_for_bytes(&sha256(octets), false).await;
    }
    assert_eq!(bench.registry.counters().await.unwrap().models, 0);
    done(bench.upload(&who, one, expecting(b"bytes")).await);
}

/// Below the watermark nothing is taken.
#[tokio::test(flavor = "multi_thread")]
async fn watermark() {
    let bench = Bench::with(|settings| settings.min_free_bytes = u64::MAX / 2).await;
    let failure = bench.registry.begin_upload(&someone(Role::Contributor), None, None).await.err().unwrap();
    assert!(matches!(failure.error, RegistryError::StorageFull));
}

/// A client that goes away leaves nothing but the record of its attempt.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted() {
    let bench = Bench::new().await;
    let mut upload = bench.registry.begin_upload(&someone(Role::Contributor), None, None).await.unwrap();
    assert_eq!(bench.registry.open_uploads(), 1);
    let mut sink = upload.file("a.bin").await.unwrap();
    sink.write(bytes::Bytes::from_static(b"half")).await.unwrap();
    drop(sink);
    drop(upload);
    bench.registry.inner.tasks.finish().await;
    let entry = bench.last("model.upload").await;
    assert_eq!(entry["outcome"].as_str(), Some("error"));
    assert_eq!(entry["data"]["octets_received"].as_u64(), Some(4));
    assert_eq!(bench.registry.open_uploads(), 0);
}

/// An upload whose record may be in the journal although it was refused keeps its bytes: the next start decides.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_outlive_a_failed_log() {
    let bench = Bench::new().await;
    std::fs::remove_file(bench.dir.path().join("data/log/journal-00000000000000000000.log")).unwrap();
    let error = refused_unlogged(bench.upload(&someone(Role::Contributor), &[("a.bin", b"one")], form("m")).await);
    assert!(matches!(error, RegistryError::AuditUnavailable));
    bench.registry.inner.tasks.finish().await;
    assert!(bench.has_bytes(&sha256(b"one")));
}

fn refused_unlogged<T>(outcome: Outcome<T>) -> RegistryError {
    outcome.err().unwrap().error
}

/// The same key and the same request give the first answer, whatever has happened since; another request is refused.
#[tokio::test(flavor = "multi_thread")]
async fn idempotency() {
    let bench = Bench::new().await;
    let who = keyed(someone(Role::Contributor), "key-1");
    let first = done(bench.upload(&who, &[("a.bin", b"one")], form("m")).await);
    assert!(!first.replayed);
    bench.publish("m", b"two").await;
    let again = done(bench.upload(&who, &[("a.bin", b"one")], form("m")).await);
    assert!(again.replayed && again.value.version.version == Version::FIRST && !again.value.already_present);
    assert_eq!(again.receipt.as_ref().unwrap().index, first.logged.unwrap().index);
    assert_ne!(again.logged, first.logged);
    assert_eq!(bench.proven(&again.receipt.unwrap()), "model.upload");
    let other = refused(bench.upload(&who, &[("a.bin", b"three")], form("m")).await);
    assert!(matches!(other, RegistryError::IdempotencyKeyReused));
    let somebody_else = keyed(someone(Role::Admin), "key-1");
    assert!(!done(bench.upload(&somebody_else, &[("a.bin", b"three")], form("m")).await).replayed);
    bench.wait_for_bytes(&sha256(b"one"), true).await;
}

/// Several files are one version; its claims are told from what was measured; tags are added to the model's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said() {
    let bench = Bench::new().await;
    let who = someone(Role::Contributor);
    let metadata = serde_json::json!({"accuracy": 0.9, "format": "magic", "nested": {"a": [1, 2.5]}});
    let said = PublishForm {
        description: Some("the first".into()),
        tags: Some([("task".to_owned(), "nlp".to_owned())].into()),
        metadata: metadata.as_object().cloned(),
        alias: Some("Staging".parse().unwrap()),
        ..form("team/m")
    };
    let made = done(bench.upload(&who, &[("b/w.bin", b"22"), ("a.bin", b"1")], said).await).value;
    let paths: Vec<&str> = made.version.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(paths, ["a.bin", "b/w.bin"]);
    assert_eq!(made.version.metadata["accuracy"].value, serde_json::json!(0.9));
    assert_eq!(made.version.metadata["size_bytes"].value, serde_json::json!(3));
    assert_ne!(made.version.metadata["format"].value, serde_json::json!("magic"));
    assert!(made.warnings.iter().any(|warning| warning.contains("`format`")));
    assert_eq!(made.version.aliases[0].as_str(), "staging");
    let more = PublishForm { tags: Some([("lang".to_owned(), "de".to_owned())].into()), ..form("team/m") };
    done(bench.upload(&who, &[("a.bin", b"3")], more).await);
    let info = bench.registry.model(&who, &model("team/m@staging"), None).await.unwrap().value.value;
    assert_eq!((info.model.description.as_str(), info.model.tags.len()), ("the first", 2));
    assert_eq!(info.selected.unwrap().version, Version::FIRST);
    assert_eq!(info.model.owner, "contributor");
}

/// Aliases move, keep their history, and tell what they pointed to at an instant.
#[tokio::test(flavor = "multi_thread")]
async fn aliases() {
    let bench = Bench::new().await;
    let (who, admin) = (someone(Role::Contributor), someone(Role::Admin));
    for octets in [b"1", b"2"] {
        bench.publish("m", octets).await;
    }
    let (m, beta, prod) = (model("m"), "beta".parse().unwrap(), "prod".parse().unwrap());
    let set = async |version: u32| done(bench.registry.set_alias(&who, &m, &beta, number(version)).await).value;
    assert_eq!(set(1).await.previous, None);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let between = crate::clock::now_ms();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(set(2).await.previous, Some(number(1)));
    assert_eq!(set(2).await.version, Some(number(2)));
    let now = bench.registry.model(&who, &model("m@beta"), None).await.unwrap().value.value;
    assert_eq!(now.selected.unwrap().version, number(2));
    let then = bench.registry.model(&who, &model("m@beta"), Some(between)).await.unwrap().value.value;
    assert_eq!(then.selected.unwrap().version, number(1));
    assert_eq!(then.as_of.unwrap().step.version, Some(number(1)));
    let never = bench.registry.model(&who, &model("m@beta"), Some(0)).await;
    assert!(matches!(refused(never), RegistryError::NotFound { .. }));
    assert!(matches!(refused(bench.registry.model(&who, &m, Some(0)).await), RegistryError::Invalid(_)));

    assert!(matches!(
        refused(bench.registry.set_alias(&who, &m, &prod, number(1)).await),
        RegistryError::Forbidden { .. }
    ));
    done(bench.registry.set_alias(&admin, &m, &prod, number(1)).await);
    let missing = bench.registry.set_alias(&admin, &m, &prod, number(9)).await;
    assert!(matches!(refused(missing), RegistryError::NotFound { .. }));
    let used = bench.registry.delete_version(&admin, &m, number(1)).await;
    assert!(matches!(refused(used), RegistryError::Conflict(_)));

    done(bench.registry.clear_alias(&who, &m, &beta).await);
    let first = bench.registry.alias_history(&who, &m, &beta, 2, None).await.unwrap().value;
    assert_eq!((first.total, first.items[0].version, first.items[1].version), (Some(3), None, Some(number(2))));
    let rest = bench.registry.alias_history(&who, &m, &beta, 2, first.next_cursor.as_deref()).await.unwrap().value;
    assert_eq!((rest.items.len(), rest.next_cursor), (1, None));
    assert!(matches!(refused(bench.registry.clear_alias(&who, &m, &beta).await), RegistryError::NotFound { .. }));
}

/// A deletion can be taken back; a purge can't, frees the name, and removes the bytes that nothing else points to.
#[tokio::test(flavor = "multi_thread")]
async fn deleting() {
    let bench = Bench::new().await;
    let (viewer, admin) = (someone(Role::Viewer), someone(Role::Admin));
    let (one, two) = (model("one"), model("two"));
    bench.publish("one", b"shared").await;
    bench.publish("one", b"alone").await;
    bench.publish("two", b"shared").await;
    let forbidden = bench.registry.delete_model(&someone(Role::Contributor), &one).await;
    assert!(matches!(refused(forbidden), RegistryError::Forbidden { .. }));
    let gone = done(bench.registry.delete_model(&admin, &one).await);
    assert!(gone.value.restorable_until_ms.is_some());
    assert_eq!(bench.proven(&gone.receipt.unwrap()), "model.delete");
    assert!(matches!(refused(bench.registry.model(&viewer, &one, None).await), RegistryError::NotFound { .. }));
    let seen = bench.registry.model(&admin, &one, None).await.unwrap().value.value;
    assert_eq!(seen.model.state, State::Deleted);
    let taken = bench.upload(&someone(Role::Contributor), &[("x", b"x")], form("one")).await;
    assert!(matches!(refused(taken), RegistryError::Conflict(_)));
    let deleted = |limit| ModelListing { state: Some(State::Deleted), limit, ..ModelListing::default() };
    assert_eq!(bench.registry.list_models(&admin, deleted(9)).await.unwrap().value.items.len(), 1);
    assert_eq!(bench.registry.list_models(&viewer, deleted(9)).await.unwrap().value.items.len(), 0);
    done(bench.registry.restore_model(&admin, &one).await);
    assert!(bench.registry.model(&viewer, &one, None).await.is_ok());

    assert!(matches!(refused(bench.registry.purge_model(&admin, &one, " ").await), RegistryError::Invalid(_)));
    let at_version = bench.registry.purge_model(&admin, &model("one:1"), "why").await;
    assert!(matches!(refused(at_version), RegistryError::Invalid(_)), "it says a version and would purge the model");
    assert!(done(bench.registry.purge_model(&admin, &one, "not needed").await).value.purged);
    bench.wait_for_bytes(&sha256(b"alone"), false).await;
    assert!(bench.has_bytes(&sha256(b"shared")));
    assert!(matches!(refused(bench.registry.model(&admin, &one, None).await), RegistryError::NotFound { .. }));
    let anew = bench.publish("one", b"anew").await;
    assert_eq!(anew.version.version, Version::FIRST);
    done(bench.registry.purge_model(&admin, &two, "not needed").await);
    bench.wait_for_bytes(&sha256(b"shared"), false).await;
    let counters = bench.registry.counters().await.unwrap();
    assert_eq!((counters.models, counters.versions, counters.blobs), (1, 1, 1));
}

/// Versions are deleted, restored and purged one by one; the latest is the newest that is left; numbers stay used.
#[tokio::test(flavor = "multi_thread")]
async fn deleting_versions() {
    let bench = Bench::new().await;
    let (admin, m) = (someone(Role::Admin), model("m"));
    for octets in [b"1", b"2", b"3"] {
        bench.publish("m", octets).await;
    }
    let latest = async || bench.registry.model(&admin, &m, None).await.unwrap().value.value.model.latest_version;
    done(bench.registry.delete_version(&admin, &m, number(3)).await);
    assert_eq!(latest().await, Some(number(2)));
    assert!(matches!(
        refused(bench.registry.version(&someone(Role::Viewer), &m, number(3)).await),
        RegistryError::NotFound { .. }
    ));
    assert_eq!(bench.registry.versions(&admin, &m, 10, Seek::First).await.unwrap().value.total, Some(3));
    let viewer = bench.registry.versions(&someone(Role::Viewer), &m, 10, Seek::First).await.unwrap().value;
    assert_eq!((viewer.total, viewer.items.len()), (Some(2), 2));
    let restored = done(bench.registry.restore_version(&admin, &m, number(3)).await).value;
    assert_eq!((restored.value.state, latest().await), (State::Available.into(), Some(number(3))));
    done(bench.registry.purge_version(&admin, &m, number(3), "gone").await);
    bench.wait_for_bytes(&sha256(b"3"), false).await;
    assert_eq!(bench.publish("m", b"4").await.version.version, number(4));
    for n in [1, 2, 4] {
        done(bench.registry.purge_version(&admin, &m, number(n), "gone").await);
    }
    assert_eq!(latest().await, None);
    assert_eq!(bench.registry.counters().await.unwrap().versions, 0);
}

/// Re-uploading a digest while its last reference goes never leaves a record without its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn upload_against_purge() {
    let bench = Bench::new().await;
    let admin = someone(Role::Admin);
    let digest = sha256(b"contended");
    bench.publish("a", b"contended").await;
    for round in 0..12 {
        let (old, new) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let old = model(old);
        let (purged, _published) =
            tokio::join!(bench.registry.purge_model(&admin, &old, "round"), bench.publish(new, b"contended"));
        done(purged);
        bench.registry.inner.tasks.finish().await;
        assert!(bench.has_bytes(&digest), "round {round}");
    }
    done(bench.registry.purge_model(&admin, &model("a"), "end").await);
    bench.wait_for_bytes(&digest, false).await;
}

/// A purge waits with the bytes while somebody reads them.
#[tokio::test(flavor = "multi_thread")]
async fn download_against_purge() {
    let bench = Bench::new().await;
    let form = form("m");
    let files: &[(&str, &[u8])] = &[("a.bin", b"first"), ("b.bin", b"second")];
    done(bench.upload(&someone(Role::Contributor), files, form).await);
    let mut download = done(bench.registry.open_download(&someone(Role::Viewer), &model("m"), None, None).await).value;
    done(bench.registry.purge_model(&someone(Role::Admin), &model("m"), "now").await);
    bench.registry.inner.tasks.finish().await;
    let mut read = Vec::new();
    for file in &mut download.files {
        let reader = file.open().await.unwrap();
        let mut octets = vec![0; usize::try_from(reader.len()).unwrap()];
        reader.read_at(0, &mut octets).unwrap();
        read.push(octets);
    }
    assert_eq!(read, [b"first".to_vec(), b"second".to_vec()]);
    drop(download);
    bench.wait_for_bytes(&sha256(b"second"), false).await;
}

/// Every hand-out is an entry before and an entry after; quarantine holds bytes back, and an admin's release frees them.
#[tokio::test(flavor = "multi_thread")]
async fn the_gate() {
    let bench = Bench::with(|settings| settings.scan_policies = ScanPolicy::Strict.into()).await;
    let (viewer, admin, m) = (someone(Role::Viewer), someone(Role::Admin), model("m"));
    let first = bench.publish("m", b"{\"just\": \"json\"}").await;
    assert_eq!(first.version.state, State::Available);
    let pickle = bench.publish("m", PICKLE).await;
    assert_eq!(pickle.version.state, State::Quarantined);
    let held = bench.registry.open_download(&viewer, &m, Some(number(2)), None).await;
    assert!(matches!(refused(held), RegistryError::Quarantined { .. }));
    assert_eq!(bench.last("model.download").await["outcome"].as_str(), Some("denied"));
    // Without a number it is the newest that may be handed out.
    let offer = bench.registry.offer_download(&viewer, &m, None, None).await.unwrap();
    assert!(offer.logged.is_none());
    assert_eq!(offer.value.version.version, Version::FIRST);
    let mut download = done(bench.registry.open_download(&viewer, &m, None, None).await).value;
    download.ticket.sent(16);
    download.ticket.complete();
    drop(download);
    bench.registry.inner.tasks.finish().await;
    let end = bench.last("model.download_end").await;
    assert_eq!((end["data"]["octets_sent"].as_u64(), end["data"]["complete"].as_bool()), (Some(16), Some(true)));

    let reason = "looked at by hand";
    let forbidden = bench.registry.release(&someone(Role::Contributor), &m, number(2), reason, false).await;
    assert!(matches!(refused(forbidden), RegistryError::Forbidden { .. }));
    let released = done(bench.registry.release(&admin, &m, number(2), reason, false).await).value;
    assert_eq!((released.value.state, released.value.state_reason.as_deref()), (State::Available.into(), Some(reason)));
    assert!(matches!(
        refused(bench.registry.release(&admin, &m, number(2), reason, false).await),
        RegistryError::Conflict(_)
    ));
    done(bench.registry.open_download(&viewer, &m, Some(number(2)), None).await);
    done(bench.registry.deprecate(&admin, &m, number(2), "old").await);
    let path = "weights.bin".parse().unwrap();
    let by_digest = model(&sha256(PICKLE).to_string());
    let one = done(bench.registry.open_download(&viewer, &by_digest, None, Some(&path)).await).value;
    assert_eq!((one.version.version, one.files.len()), (number(2), 1));
    done(bench.registry.quarantine(&admin, &m, number(2), "again").await);
    let no_file = bench.registry.open_download(&viewer, &m, None, Some(&"none".parse().unwrap())).await;
    assert!(matches!(refused(no_file), RegistryError::NotFound { .. }));
    let anonymous = bench.registry.open_download(&super::anonymous("192.0.2.1"), &m, None, None).await;
    assert!(matches!(refused(anonymous), RegistryError::Unauthenticated));
}

/// Edits check their values and the revision they were made upon.
#[tokio::test(flavor = "multi_thread")]
async fn editing() {
    let bench = Bench::new().await;
    let (who, m) = (someone(Role::Contributor), model("m"));
    bench.publish("m", b"1").await;
    let read = bench.registry.model(&who, &m, None).await.unwrap().value;
    let text = |text: &str| ModelPatch { description: Some(text.into()), ..ModelPatch::default() };
    let edited = done(bench.registry.patch_model(&matching(who.clone(), read.revision), &m, text("new")).await);
    assert_eq!(edited.value.value.description, "new");
    let late = bench.registry.patch_model(&matching(who.clone(), read.revision), &m, text("late")).await;
    assert!(matches!(refused(late), RegistryError::PreconditionFailed));
    let owner = ModelPatch { owner: Some("nobody".into()), ..ModelPatch::default() };
    assert!(matches!(refused(bench.registry.patch_model(&who, &m, owner).await), RegistryError::Invalid(_)));
    let viewer = bench.registry.patch_model(&someone(Role::Viewer), &m, text("x")).await;
    assert!(matches!(refused(viewer), RegistryError::Forbidden { .. }));

    let version = bench.registry.version(&who, &m, Version::FIRST).await.unwrap().value;
    let patch = || VersionPatch { description: Some("notes".into()) };
    let on_it = matching(who.clone(), version.revision);
    done(bench.registry.patch_version(&on_it, &m, Version::FIRST, patch()).await);
    let late = bench.registry.patch_version(&on_it, &m, Version::FIRST, patch()).await;
    assert!(matches!(refused(late), RegistryError::PreconditionFailed));
    // An alias is shown with its version, so setting one is a change of it.
    let before = bench.registry.version(&who, &m, Version::FIRST).await.unwrap().value.revision;
    done(bench.registry.set_alias(&who, &m, &"x".parse().unwrap(), Version::FIRST).await);
    let after = bench.registry.version(&who, &m, Version::FIRST).await.unwrap().value;
    assert!(after.revision > before && after.value.aliases.len() == 1);
}

/// Lists go on where they ended, whatever is written in between; cursors belong to their list.
#[tokio::test(flavor = "multi_thread")]
async fn listing() {
    let bench = Bench::with(|settings| settings.audit_reads = AuditReads::All).await;
    let who = someone(Role::Viewer);
    for n in 0..5 {
        bench.publish(&format!("m{n}"), &[n]).await;
    }
    let listing = |cursor: Option<String>| {
        let seek = cursor.map_or(Seek::First, Seek::After);
        ModelListing { limit: 2, seek, ..ModelListing::default() }
    };
    let first = done(bench.registry.list_models(&who, listing(None)).await).value;
    assert_eq!(first.total, Some(5));
    bench.publish("a-newcomer", b"x").await;
    let mut names: Vec<String> = first.items.iter().map(|row| row.name.to_string()).collect();
    let mut cursor = first.next_cursor.clone();
    while cursor.is_some() {
        let page = bench.registry.list_models(&who, listing(cursor)).await.unwrap().value;
        names.extend(page.items.iter().map(|row| row.name.to_string()));
        cursor = page.next_cursor;
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
    let elsewhere = ModelListing { sort: ModelSort::UpdatedDown, ..listing(first.next_cursor) };
    assert!(matches!(refused(bench.registry.list_models(&who, elsewhere).await), RegistryError::Invalid(_)));
    let q = ModelListing { q: Some("NEWCOMER".into()), ..listing(None) };
    assert_eq!(bench.registry.list_models(&who, q).await.unwrap().value.items.len(), 1);
    assert!(bench.log().await.iter().any(|entry| entry == "model.list ok"));

    for n in 0..5 {
        bench.publish("many", &[9, n]).await;
    }
    let page = bench.registry.versions(&who, &model("many"), 3, Seek::First).await.unwrap().value;
    assert_eq!((page.items[0].version, page.total), (number(5), Some(5)));
    let rest =
        bench.registry.versions(&who, &model("many"), 3, Seek::After(page.next_cursor.unwrap())).await.unwrap().value;
    assert_eq!((rest.items.len(), rest.items[1].version, rest.next_cursor), (2, Version::FIRST, None));
}

/// What is deleted and past its time is purged by the registry itself.
#[tokio::test(flavor = "multi_thread")]
async fn time_is_over() {
    let bench = Bench::with(|settings| settings.restore_period = std::time::Duration::ZERO).await;
    let admin = someone(Role::Admin);
    let made = bench.publish("m", b"short-lived").await;
    done(bench.registry.delete_model(&admin, &model("m")).await);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let late = bench.registry.restore_model(&admin, &model("m")).await;
    assert!(matches!(refused(late), RegistryError::Conflict(_)));
    done(bench.registry.inner.purge_expired_model(made.version.id).await);
    bench.wait_for_bytes(&sha256(b"short-lived"), false).await;
    assert_eq!(bench.last("model.purge").await["actor"]["id"].as_str(), Some("system"));
}
