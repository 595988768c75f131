//! Users, passwords, sessions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::api::UserPatch;
use common::role::Role;

use super::{Bench, anonymous, done, keyed, matching, model, name, refused, someone};
use crate::config::secret::Secret;
use crate::durable::{Disk, Operation, Space, Verdict, Watch};
use crate::registry::Seeded;
use crate::registry::access::Caller;
use crate::registry::bulk::{BulkDeed, BulkRequest, BulkStep, Expected};
use crate::registry::cursor::Seek;
use crate::registry::error::RegistryError;
use crate::registry::fetch::ModelListing;
use crate::registry::publish::PublishForm;
use crate::registry::users::listing::UserListing;

fn listing(limit: usize, seek: Seek) -> UserListing {
    UserListing { limit, seek, ..UserListing::default() }
}

const PASSWORD: &str = "blue tractor fjord";

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

impl Bench {
    /// A registry with an admin called `root-user` and one user of each name and role.
    async fn with_users(users: &[(&str, Role)]) -> Self {
        let bench = Self::new().await;
        let seeded = bench.registry.seed_admin(&name("root-user"), Some(secret(PASSWORD))).await.unwrap();
        assert!(matches!(seeded, Seeded::Created { generated_password: None }));
        for (user, role) in users {
            bench.registry.register(&someone(Role::Admin), user, secret(PASSWORD), Some(*role)).await.unwrap();
        }
        bench
    }

    async fn token(&self, user: &str, password: &str) -> String {
        let caller = anonymous("198.51.100.7");
        done(self.registry.login(&caller, user, secret(password), None).await).value.access_token
    }

    async fn caller(&self, token: &str) -> Result<Caller, RegistryError> {
        let actor = self.registry.authenticate(token).await?;
        Ok(Caller { actor, ..anonymous("198.51.100.7") })
    }
}

/// The first admin is made once; a generated password must be changed before anything else.
#[tokio::test(flavor = "multi_thread")]
async fn first_admin() {
    let bench = Bench::new().await;
    let Seeded::Created { generated_password: Some(password) } =
        bench.registry.seed_admin(&name("admin"), None).await.unwrap()
    else {
        panic!("no password was made");
    };
    assert!(matches!(bench.registry.seed_admin(&name("other"), None).await.unwrap(), Seeded::AlreadyThere));
    let caller = bench.caller(&bench.token("admin", password.expose()).await).await.unwrap();
    assert!(bench.registry.me(&caller).await.unwrap().value.must_change_password);
    let error = refused(bench.registry.list_users(&caller, listing(10, Seek::First)).await);
    assert!(matches!(error, RegistryError::PasswordChangeRequired));
    done(bench.registry.change_own_password(&caller, password, secret(PASSWORD)).await);
    let caller = bench.caller(&bench.token("admin", PASSWORD).await).await.unwrap();
    assert_eq!(bench.registry.list_users(&caller, listing(10, Seek::First)).await.unwrap().value.total, Some(1));
}

/// Who may create whom; names and passwords that are refused; retries with a key.
#[tokio::test(flavor = "multi_thread")]
async fn registration() {
    let bench = Bench::with_users(&[]).await;
    let admin = someone(Role::Admin);
    let register = async |caller: &Caller, user: &str, password: &str, role: Option<Role>| {
        bench.registry.register(caller, user, secret(password), role).await
    };
    assert!(matches!(refused(register(&anonymous("::1"), "a", PASSWORD, None).await), RegistryError::Unauthenticated));
    let contributor = someone(Role::Contributor);
    assert!(matches!(refused(register(&contributor, "a", PASSWORD, None).await), RegistryError::Forbidden { .. }));
    assert!(matches!(refused(register(&admin, "System", PASSWORD, None).await), RegistryError::Invalid(_)));
    assert!(matches!(refused(register(&admin, "a", "password1234", None).await), RegistryError::WeakPassword(_)));
    let made = done(register(&keyed(admin.clone(), "k"), "Alice", PASSWORD, None).await);
    assert_eq!((made.value.value.username.as_str(), made.value.value.role), ("alice", Role::Viewer.into()));
    assert_eq!(bench.proven(&made.receipt.unwrap()), "user.create");
    assert!(matches!(refused(register(&admin, "alice", PASSWORD, None).await), RegistryError::Conflict(_)));
    let again = done(register(&keyed(admin.clone(), "k"), "Alice", PASSWORD, None).await);
    assert!(again.replayed && again.value.value.id == made.value.value.id);
    let other = refused(register(&keyed(admin, "k"), "Alice", "another password altogether", None).await);
    assert!(matches!(other, RegistryError::IdempotencyKeyReused));
}

/// With open registration anyone becomes a viewer, and nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn open_registration() {
    let bench = Bench::with(|settings| settings.open_registration = true).await;
    let anyone = anonymous("192.0.2.1");
    let viewer = done(bench.registry.register(&anyone, "bob", secret(PASSWORD), None).await);
    assert_eq!(viewer.value.value.role, Role::Viewer);
    let admin = bench.registry.register(&anyone, "eve", secret(PASSWORD), Some(Role::Admin)).await;
    assert!(matches!(refused(admin), RegistryError::Unauthenticated));
}

/// The last admin that can sign in can't be demoted, disabled or removed; with a second one the first can.
#[tokio::test(flavor = "multi_thread")]
async fn last_admin() {
    let bench = Bench::with_users(&[("second", Role::Admin)]).await;
    let admin = someone(Role::Admin);
    let (root, second) = (name("root-user"), name("second"));
    let disable = UserPatch { disabled: Some(true), ..UserPatch::default() };
    let demote = UserPatch { role: Some(Role::Viewer), ..UserPatch::default() };
    done(bench.registry.patch_user(&admin, &second, disable.clone()).await);
    for patch in [disable, demote.clone()] {
        assert!(matches!(refused(bench.registry.patch_user(&admin, &root, patch).await), RegistryError::Conflict(_)));
    }
    assert!(matches!(refused(bench.registry.delete_user(&admin, &root).await), RegistryError::Conflict(_)));
    done(bench.registry.patch_user(&admin, &second, UserPatch { disabled: Some(false), ..UserPatch::default() }).await);
    done(bench.registry.patch_user(&admin, &root, demote).await);
    assert_eq!(bench.last("role.revoke").await["data"]["role_before"].as_str(), Some("admin"));
    assert!(matches!(refused(bench.registry.delete_user(&admin, &second).await), RegistryError::Conflict(_)));
    done(bench.registry.delete_user(&admin, &root).await);
}

/// A change of role, state or password, a revocation and a removal end every session at once.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_end() {
    let bench = Bench::with_users(&[("alice", Role::Viewer)]).await;
    let (admin, alice) = (someone(Role::Admin), name("alice"));
    let token = bench.token("alice", PASSWORD).await;
    assert_eq!(bench.caller(&token).await.unwrap().actor.role, Some(Role::Viewer));
    let patch = |role, disabled| UserPatch { role, disabled, grants: None };
    done(bench.registry.patch_user(&admin, &alice, patch(Some(Role::Contributor), None)).await);
    assert!(matches!(bench.caller(&token).await, Err(RegistryError::Unauthenticated)));

    let token = bench.token("alice", PASSWORD).await;
    done(bench.registry.patch_user(&admin, &alice, patch(Some(Role::Contributor), None)).await);
    assert!(bench.caller(&token).await.is_ok(), "nothing has changed");
    done(bench.registry.revoke_sessions(&admin, &alice).await);
    assert!(bench.caller(&token).await.is_err());

    let token = bench.token("alice", PASSWORD).await;
    let caller = bench.caller(&token).await.unwrap();
    let fresh = done(bench.registry.refresh(&caller).await).value.access_token;
    assert_eq!(bench.caller(&fresh).await.unwrap().actor.sid, caller.actor.sid);
    done(bench.registry.logout(&caller).await);
    assert!(bench.caller(&fresh).await.is_err());
    assert!(matches!(refused(bench.registry.refresh(&caller).await), RegistryError::Unauthenticated));

    let token = bench.token("alice", PASSWORD).await;
    done(bench.registry.patch_user(&admin, &alice, patch(None, Some(true))).await);
    assert!(bench.caller(&token).await.is_err());
    let disabled = refused(bench.registry.login(&anonymous("192.0.2.1"), "alice", secret(PASSWORD), None).await);
    assert!(matches!(disabled, RegistryError::BadCredentials));
}

/// Changing one's own password keeps this session and its token, and ends the others.
#[tokio::test(flavor = "multi_thread")]
async fn own_password() {
    let bench = Bench::with_users(&[("alice", Role::Viewer)]).await;
    let (here, elsewhere) = (bench.token("alice", PASSWORD).await, bench.token("alice", PASSWORD).await);
    let caller = bench.caller(&here).await.unwrap();
    let new = || secret("green ferry lantern");
    let wrong = bench.registry.change_own_password(&caller, secret("not my password at all"), new()).await;
    assert!(matches!(refused(wrong), RegistryError::BadCredentials));
    let weak = bench.registry.change_own_password(&caller, secret(PASSWORD), secret("short")).await;
    assert!(matches!(refused(weak), RegistryError::WeakPassword(_)));
    done(bench.registry.change_own_password(&caller, secret(PASSWORD), new()).await);
    assert!(bench.caller(&here).await.is_ok());
    assert!(bench.caller(&elsewhere).await.is_err());
    bench.token("alice", new().expose()).await;
    done(bench.registry.set_password(&someone(Role::Admin), &name("alice"), secret(PASSWORD)).await);
    assert!(bench.caller(&here).await.is_err());
}

/// Wrong user and wrong password are one answer; five failures lock; what was typed as an unknown name isn't kept.
#[tokio::test(flavor = "multi_thread")]
async fn lockout() {
    let bench = Bench::with_users(&[("alice", Role::Viewer)]).await;
    let login = async |ip: &str, user: &str, password: &str| {
        bench.registry.login(&anonymous(ip), user, secret(password), None).await
    };
    let unknown = refused(login("192.0.2.1", "my-secret-typed-as-a-name", PASSWORD).await);
    assert!(matches!(unknown, RegistryError::BadCredentials));
    let entry = bench.last("auth.login").await;
    assert_eq!(entry["target"]["id"].as_str(), Some("?"));
    assert!(!entry.to_string().contains("my-secret"));

    for _ in 0..5 {
        assert!(matches!(refused(login("192.0.2.1", "alice", "wrong").await), RegistryError::BadCredentials));
    }
    assert_eq!(bench.last("auth.login").await["data"]["locked"].as_bool(), Some(true));
    let locked = login("192.0.2.7", "alice", PASSWORD).await.err().unwrap();
    assert!(matches!(locked.error, RegistryError::TooManyRequests { .. }) && locked.logged.is_none());
    done(login("127.0.0.1", "alice", PASSWORD).await);
    bench.registry.inner.summarise_rejected().await;
    assert_eq!(bench.last("auth.throttled").await["data"]["sign_ins_locked"].as_u64(), Some(1));
}

/// Pages of users, one after another; If-Match holds a change against what was read.
#[tokio::test(flavor = "multi_thread")]
async fn pages_and_conditions() {
    let bench = Bench::with_users(&[("a", Role::Viewer), ("b", Role::Viewer), ("c", Role::Viewer)]).await;
    let admin = someone(Role::Admin);
    let first = bench.registry.list_users(&admin, listing(3, Seek::First)).await.unwrap().value;
    let names: Vec<&str> = first.items.iter().map(|user| user.username.as_str()).collect();
    assert_eq!((names, first.total), (vec!["a", "b", "c"], Some(4)));
    let second =
        bench.registry.list_users(&admin, listing(3, Seek::After(first.next_cursor.unwrap()))).await.unwrap().value;
    assert_eq!((second.items.len(), second.next_cursor), (1, None));
    let bad = refused(bench.registry.list_users(&admin, listing(3, Seek::After("nonsense".into()))).await);
    assert!(matches!(bad, RegistryError::Invalid(_)));

    let read = bench.registry.user(&admin, &name("a")).await.unwrap().value;
    let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
    done(bench.registry.patch_user(&matching(admin.clone(), read.revision), &name("a"), patch.clone()).await);
    let late = bench.registry.patch_user(&matching(admin, read.revision), &name("a"), patch).await;
    assert!(matches!(refused(late), RegistryError::PreconditionFailed));
}

/// An upload that is under way while its user's sessions are revoked publishes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_while_uploading() {
    let bench = Bench::with_users(&[("carol", Role::Contributor)]).await;
    let caller = bench.caller(&bench.token("carol", PASSWORD).await).await.unwrap();
    for revoke in [false, true] {
        let mut upload = bench.registry.begin_upload(&caller, None, None).await.unwrap();
        let mut sink = upload.file("a.bin").await.unwrap();
        sink.write(bytes::Bytes::from_static(b"octets")).await.unwrap();
        upload.add(sink.finish().await.unwrap());
        if revoke {
            done(bench.registry.revoke_sessions(&someone(Role::Admin), &name("carol")).await);
        }
        let published = bench.registry.publish(&caller, upload, PublishForm::default()).await;
        if revoke {
            assert!(matches!(refused(published), RegistryError::Unauthenticated));
        } else {
            done(published);
        }
    }
}

/// A request about all models that match.
fn all_of(expected: Option<Expected>) -> BulkRequest {
    BulkRequest { deed: BulkDeed::Delete, listing: ModelListing::default(), expected }
}

fn so_many(count: u64) -> Option<Expected> {
    Some(Expected { count, set: None })
}

impl Bench {
    async fn left(&self) -> u64 {
        let page = self.registry.list_models(&someone(Role::Admin), ModelListing::default()).await;
        page.unwrap().value.total.unwrap()
    }
}

/// A disk on which nothing is free any more once the journal was written so often.
struct Filling {
    writes: AtomicUsize,
    most: AtomicUsize,
}

impl Watch for Filling {
    fn watch(&self, operation: Operation<'_>) -> Verdict {
        if let Operation::Write(path, ..) = operation
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-"))
        {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        Verdict::Do
    }

    fn space(&self, _dir: &Path) -> Option<Space> {
        let is_full = self.writes.load(Ordering::SeqCst) >= self.most.load(Ordering::SeqCst);
        Some(Space { total: 1 << 40, free: if is_full { 0 } else { 1 << 39 } })
    }
}

/// A disk that fills in the middle of it: what was done is told as done, each other as refused with the reason, and the total comes
/// to all of them. Room that there is again meanwhile is for the next request: by that the rest is done.
#[tokio::test(flavor = "multi_thread")]
async fn many_models_on_a_disk_that_fills() {
    const MODELS: u64 = 100;
    let disk = Arc::new(Filling { writes: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) });
    let watched = Disk::watched(Arc::<Filling>::clone(&disk));
    let bench = Bench::on(watched, tempfile::tempdir().unwrap(), |_settings| {}, |blobs| Arc::new(blobs)).await;
    for number in 0..MODELS {
        bench.publish(&format!("m{number}"), &number.to_be_bytes()).await;
    }
    let admin = someone(Role::Admin);
    for deed in [BulkDeed::Delete, BulkDeed::Restore] {
        let request = |count: u64| BulkRequest { deed, ..all_of(so_many(count)) };
        disk.most.store(disk.writes.load(Ordering::SeqCst) + 2, Ordering::SeqCst);
        let mut told = bench.registry.change_models(&admin, request(MODELS)).await.unwrap();
        let (mut done, mut refused, mut last, mut entries) = (0, 0, None, Vec::new());
        while let Some(step) = told.recv().await {
            match step {
                BulkStep::Model { result: Ok((index, _)), id, .. } => {
                    done += 1;
                    entries.push((index, id));
                }
                BulkStep::Model { result: Err(error), .. } => {
                    refused += 1;
                    assert!(matches!(&error, RegistryError::AuditFull(why) if why.contains("disk full")), "{error}");
                    disk.most.store(usize::MAX, Ordering::SeqCst);
                }
                BulkStep::Total { matched, done, failed, .. } => last = Some((matched, done, failed)),
            }
        }
        assert!(done >= 2 && refused >= MODELS - 3 * 16, "{done} done, {refused} refused");
        assert_eq!(last, Some((MODELS, done, refused)), "all of them are told");
        let is_left = |left: u64| if deed == BulkDeed::Delete { left == MODELS - done } else { left == done };
        assert!(is_left(bench.left().await), "{deed:?}: {done} done, {} are left", bench.left().await);
        for (index, id) in entries {
            let entry = bench.registry.audit_entry(&someone(Role::Auditor), index).await.unwrap();
            assert_eq!(entry.value.row.entry["target"]["id"], id.to_string());
        }
        let mut told = bench.registry.change_models(&admin, request(refused)).await.unwrap();
        let mut last = None;
        while let Some(step) = told.recv().await {
            last = Some(step);
        }
        let Some(BulkStep::Total { done, failed: 0, .. }) = last else { panic!("{last:?}") };
        assert_eq!(done, refused);
    }
}

/// Many are changed no longer than somebody listens: what waits to be read holds the work up, and nothing of it goes on when the
/// reader has gone.
#[tokio::test(flavor = "multi_thread")]
async fn many_models_while_somebody_listens() {
    const MODELS: u64 = 120;
    let bench = Bench::new().await;
    for number in 0..MODELS {
        bench.publish(&format!("m{number}"), &number.to_be_bytes()).await;
    }
    let admin = someone(Role::Admin);
    let mut told = bench.registry.change_models(&admin, all_of(so_many(MODELS))).await.unwrap();
    assert!(matches!(told.recv().await, Some(BulkStep::Model { result: Ok(_), .. })));
    drop(told);
    // What waited to be read, what was under way, and what was read.
    let most = 64 + 16 + 2;
    assert!(bench.left().await >= MODELS - most, "{} are left", bench.left().await);
    // What was under way is done before it is counted.
    let counted = || async {
        let mut told = bench.registry.change_models(&admin, all_of(None)).await.unwrap();
        let Some(BulkStep::Total { matched, done: 0, set, .. }) = told.recv().await else { panic!("no total") };
        assert!(told.recv().await.is_none());
        (matched, set)
    };
    let mut before = counted().await;
    loop {
        tokio::task::yield_now().await;
        bench.publish("another", b"another").await;
        bench.registry.delete_model(&admin, &model("another")).await.unwrap();
        bench.registry.purge_model(&admin, &model("another"), "test").await.unwrap();
        let now = counted().await;
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
    }
    let (matched, set) = before;
    // The number alone is not the set.
    let other = Some(Expected { count: matched, set: Some("0".repeat(64)) });
    let error = bench.registry.change_models(&admin, all_of(other)).await.unwrap_err().error;
    assert!(error.to_string().contains("but not those that did before"), "{error}");
    let those = Some(Expected { count: matched, set: Some(set) });
    let mut told = bench.registry.change_models(&admin, all_of(those)).await.unwrap();
    let mut steps = 0;
    while let Some(step) = told.recv().await {
        steps += u64::from(matches!(step, BulkStep::Model { result: Ok(_), .. }));
    }
    assert_eq!((steps, bench.left().await), (matched, 0));
}

/// Whoever has lost the session meanwhile loses the right with it: each of those that are left is refused.
#[tokio::test(flavor = "multi_thread")]
async fn many_models_as_long_as_one_may() {
    let bench = Bench::with_users(&[("alice", Role::Admin)]).await;
    for number in 0..20_u8 {
        bench.publish(&format!("m{number}"), &[number]).await;
    }
    let alice = bench.caller(&bench.token("alice", PASSWORD).await).await.unwrap();
    done(bench.registry.revoke_sessions(&someone(Role::Admin), &name("alice")).await);
    // Admitted before, as a request is that takes minutes.
    let mut told = bench.registry.change_models(&alice, all_of(so_many(20))).await.unwrap();
    for _ in 0..20 {
        let step = told.recv().await;
        assert!(matches!(step, Some(BulkStep::Model { result: Err(RegistryError::Unauthenticated), .. })), "{step:?}");
    }
    let last = told.recv().await;
    assert!(matches!(last, Some(BulkStep::Total { matched: 20, done: 0, failed: 20, .. })), "{last:?}");
    assert_eq!(bench.left().await, 20);
}
