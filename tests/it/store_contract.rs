//! Every promise of the `Store` trait, on every backend there is: the embedded store alone, and as the replica of a log in
//! PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::audit::{Action, Actor, Checkpoint, Entry, Hash, Outcome, Target, leaf_hash};
use common::digest::Digest;
use common::grant::Grant;
use common::name::{HookId, ModelId, UserName};
use common::role::Role;
use common::token::TokenId;
use daemon::config::database::{DatabaseAddress, SharedDatabase};
use daemon::store::records::{
    Account, ApiTokenRecord, BlobRecord, GrantRecord, IdempotencyRecord, ModelRecord, QuotaRecord, RetentionRuleRecord,
    RuleSpec, RunRecord, SecondFactorRecord, SessionRecord, TokenSecretRecord, UsageRecord, UserRecord,
    WebhookDisabledRecord, WebhookProgressRecord, WebhookRecord, WebhookSecretRecord, Write,
};
use daemon::store::references::{References, Verdict};
use daemon::store::sled::{OpenError, SledOptions, SledStore};
use daemon::store::{Committed, Decide, Decision, Draft, EntryQuery, ModelQuery, ModelSort, Store, StoreError, View};
use tempfile::TempDir;
use tests::postgres::Postgres;

/// A store in a directory of its own.
pub(crate) struct Opened {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<SledStore>,
    /// The database of its log, if it has one.
    server: Option<Postgres>,
}

impl Opened {
    fn options(&self) -> SledOptions {
        let shared = self.server.as_ref().map(|server| SharedDatabase {
            address: DatabaseAddress::parse(&server.address()).unwrap(),
            password: None,
        });
        SledOptions { shared, ..options(self.dir.path()) }
    }
}

/// What keeps the contract.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Embedded,
    Shared,
}

pub(crate) fn options(dir: &Path) -> SledOptions {
    SledOptions::new(&dir.join("data"), &dir.join("keys"), "contract.test/log")
}

pub(crate) fn open() -> Opened {
    open_on(Backend::Embedded)
}

fn open_on(backend: Backend) -> Opened {
    let dir = TempDir::new().unwrap();
    let server = (backend == Backend::Shared).then(Postgres::start);
    match server {
        None => Opened { store: Arc::new(SledStore::open(&options(dir.path())).unwrap()), dir, server },
        Some(server) => {
            let address = DatabaseAddress::parse(&server.address()).unwrap();
            let shared = Some(SharedDatabase { address, password: None });
            let store = SledStore::open(&SledOptions { shared, ..options(dir.path()) }).unwrap();
            Opened { store: Arc::new(store), dir, server: Some(server) }
        }
    }
}

/// Opens a directory again that was open in this process a moment ago. A child that another test has just forked holds
/// our files, and the lock with them, until it gets to its exec.
pub(crate) fn reopen(dir: &Path) -> Result<SledStore, OpenError> {
    reopen_with(&options(dir))
}

fn reopen_with(options: &SledOptions) -> Result<SledStore, OpenError> {
    tests::wait::until("the lock to be free", || match SledStore::open(options) {
        Err(OpenError::Locked { .. }) => None,
        opened => Some(opened),
    })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn draft(action: Action, target: Target) -> Draft {
    Draft { action, outcome: Outcome::Ok, actor: Actor::system(), target, request: None, data: BTreeMap::new() }
}

/// A command that only records.
pub(crate) fn note(about: &str) -> Decide {
    let target = Target::new("model", about);
    Box::new(move |_records, _moment| Ok(Decision { draft: draft(Action::ModelRead, target), writes: Vec::new() }))
}

/// A command that creates a user of this name, unless there is one.
pub(crate) fn create_user(name: &str) -> Decide {
    let name: UserName = name.parse().unwrap();
    Box::new(move |records, moment| {
        let target = Target::new("user", &format!("usr_{name}"));
        if records.user(&name)?.is_some() {
            let mut draft = draft(Action::UserCreate, target);
            draft.outcome = Outcome::Error;
            return Ok(Decision { draft, writes: Vec::new() });
        }
        let user = UserRecord {
            id: format!("usr_{name}"),
            name,
            role: Role::Admin,
            password_hash: "none".to_owned(),
            disabled: false,
            must_change_password: false,
            epoch: 0,
            created_at_ms: moment.at_ms,
            updated_at_ms: moment.at_ms,
            last_login_at_ms: None,
            revision: moment.index,
        };
        Ok(Decision { draft: draft(Action::UserCreate, target), writes: vec![Write::PutUser(user)] })
    })
}

/// A command that creates a model.
pub(crate) fn create_model(id: u128, name: &str, tag: Option<(&str, &str)>) -> Decide {
    let (name, id) = (name.parse().unwrap(), ModelId::from_u128(id));
    let tags = tag.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Box::new(move |_records, moment| {
        let model = ModelRecord {
            id,
            name,
            description: String::new(),
            tags,
            owner: "nobody".to_owned(),
            created_at_ms: moment.at_ms,
            updated_at_ms: moment.at_ms,
            last_number: 0,
            live_versions: 0,
            latest: None,
            aliases: BTreeMap::new(),
            deleted: None,
            purged: false,
            revision: moment.index,
        };
        let target = Target::new("model", &id.to_string());
        Ok(Decision { draft: draft(Action::ModelUpdate, target), writes: vec![Write::PutModel(model)] })
    })
}

pub(crate) fn commit(runtime: &tokio::runtime::Runtime, store: &SledStore, decide: Decide) -> Committed {
    runtime.block_on(store.commit(decide)).unwrap()
}

/// Every leaf, in order.
pub(crate) fn leaves(view: &dyn View) -> Vec<Vec<u8>> {
    (0..view.size()).map(|index| view.leaf(index).unwrap().unwrap()).collect()
}

/// Re-verifies the whole log with hashing that is not ours: indices, fresh ids and salts, `prev`, the root.
pub(crate) fn check_log(view: &dyn View, root: Hash) {
    let mut ids = BTreeSet::new();
    let mut salts = BTreeSet::new();
    let mut last_about: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut hashes = Vec::new();
    for (index, leaf) in (0..).zip(leaves(view)) {
        let entry = Entry::parse(&leaf).unwrap();
        assert_eq!(entry.seq, index);
        assert!(ids.insert(entry.id.clone()), "entry {index} has a used id");
        assert!(salts.insert(entry.salt), "entry {index} has a used salt");
        let target = entry.target.unwrap();
        let kind = if target.kind == "version" { "model".to_owned() } else { target.kind };
        let before = last_about.insert((kind, target.id), index);
        assert_eq!(entry.prev, before, "entry {index}");
        hashes.push(tlog_tiles::record_hash(&leaf).0);
    }
    assert_eq!(crate::oracle::root(&hashes), root.0);
}

/// Commands of many callers at once are decided one after another, each exactly once, with effects visible to the next.
fn serialised(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let done: Vec<Committed> = runtime.block_on(async {
        let tasks: Vec<_> = (0..400)
            .map(|n| {
                let store = Arc::clone(&opened.store);
                tokio::spawn(async move { store.commit(create_user(&format!("user{}", n % 100))).await.unwrap() })
            })
            .collect();
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap());
        }
        done
    });
    let indices: BTreeSet<u64> = done.iter().map(|one| one.index).collect();
    assert_eq!(indices.len(), 400);
    let created = done.iter().filter(|one| Entry::parse(&one.leaf).unwrap().outcome == Outcome::Ok).count();
    assert_eq!(created, 100, "each name was created once");
    let view = opened.store.view();
    use daemon::store::{Entries, Records};
    assert_eq!(view.counters().unwrap().users, 100);
    assert_eq!(view.counters().unwrap().enabled_admins, 100);
    assert_eq!(view.size(), 401);
    check_log(view, opened.store.checkpoints().borrow().root);
}

/// What is answered is covered by a checkpoint with a valid signature, and its receipt verifies with the key alone.
fn answered_means_signed(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let vkey = opened.store.identity().vkey.parse().unwrap();
    use daemon::store::Entries;
    for n in 0..70 {
        let one = commit(&runtime, &opened.store, note(&format!("m{}", n % 7)));
        assert!(one.checkpoint.size > one.index);
        assert_eq!(leaf_hash(&one.leaf), one.leaf_hash);
        let checkpoint =
            Checkpoint::open(one.checkpoint.note.as_bytes(), std::slice::from_ref(&vkey)).unwrap().checkpoint;
        assert_eq!((checkpoint.size, checkpoint.root), (one.checkpoint.size, one.checkpoint.root));
        let receipt = opened.store.view().receipt(one.index, &one.checkpoint).unwrap();
        receipt.verify(std::slice::from_ref(&vkey)).unwrap();
    }
}

/// A command whose decision fails or panics leaves nothing; the next one is served.
fn failed_decisions_leave_nothing(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let fails: Decide = Box::new(|_records, _moment| Err(daemon::store::StoreError::Corrupt("test".to_owned())));
    let panics: Decide = Box::new(|_records, _moment| panic!("a decision of the test panics"));
    assert!(runtime.block_on(opened.store.commit(fails)).is_err());
    assert!(runtime.block_on(opened.store.commit(panics)).is_err());
    let one = commit(&runtime, &opened.store, note("after"));
    assert_eq!(one.index, 1);
}

/// After a stop everything is there, and the log goes on where it was.
fn reopens(backend: Backend) {
    let Opened { dir, store, server } = open_on(backend);
    let runtime = runtime();
    for n in 0..20 {
        commit(&runtime, &store, create_user(&format!("user{n}")));
    }
    use daemon::store::Records;
    let before = leaves(store.view());
    runtime.block_on(store.close());
    let opened = Opened { dir, store, server };
    let options = opened.options();
    let Opened { dir: _dir, store, server: _server } = opened;
    drop(store);
    let store = reopen_with(&options).unwrap();
    assert_eq!(leaves(store.view()), before);
    assert_eq!(store.view().counters().unwrap().users, 20);
    assert_eq!(commit(&runtime, &store, note("x")).index, 21);
    check_log(store.view(), store.checkpoints().borrow().root);
}

/// Two stores can't have one directory.
fn locked(backend: Backend) {
    let opened = open_on(backend);
    let Err(error) = SledStore::open(&opened.options()) else { panic!("opened twice") };
    let text = error.to_string();
    assert!(text.contains("in use") && text.contains(&std::process::id().to_string()), "{text}");
}

/// After it was closed it refuses, and says so.
fn closed(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    runtime.block_on(opened.store.close());
    assert!(runtime.block_on(opened.store.commit(note("x"))).is_err());
}

/// Pages of models are complete and free of doubles in every order, with and without a tag.
fn pages_of_models(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    for n in 0..57_u128 {
        let tag = (n % 3 == 0).then_some(("team", "nlp"));
        // Ids run against the names, so that the orders differ.
        commit(&runtime, &opened.store, create_model(1000 - n, &format!("Model-{n:03}"), tag));
    }
    use daemon::store::Records;
    let orders = [
        ModelSort::NameUp,
        ModelSort::NameDown,
        ModelSort::UpdatedUp,
        ModelSort::UpdatedDown,
        ModelSort::CreatedUp,
        ModelSort::CreatedDown,
    ];
    for sort in orders {
        for (tags, expected) in [(vec![], 57), (vec![("team".to_owned(), "nlp".to_owned())], 19)] {
            let mut query = ModelQuery { sort, tags, limit: 10, ..ModelQuery::default() };
            let mut names = Vec::new();
            let mut changed = Vec::new();
            loop {
                let page = opened.store.view().models(&query).unwrap();
                if query.after.is_none() {
                    assert_eq!(page.total, Some(expected), "{sort:?}");
                }
                names.extend(page.models.iter().map(|model| model.name.to_string()));
                changed.extend(page.models.iter().map(|model| model.updated_at_ms));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            let distinct: BTreeSet<_> = names.iter().cloned().collect();
            assert_eq!((names.len() as u64, distinct.len() as u64), (expected, expected), "{sort:?}");
            match sort {
                ModelSort::NameUp | ModelSort::CreatedDown => assert!(names.is_sorted(), "{sort:?}"),
                ModelSort::NameDown | ModelSort::CreatedUp => assert!(names.iter().rev().is_sorted(), "{sort:?}"),
                ModelSort::UpdatedUp => assert!(changed.is_sorted()),
                ModelSort::UpdatedDown => assert!(changed.iter().rev().is_sorted()),
            }
        }
    }
}

/// Entries are found by each filter, page by page, exactly those that a reading of everything finds.
fn pages_of_entries(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let ids: Vec<String> = (0..5_u128).map(|n| ModelId::from_u128(n + 1).to_string()).collect();
    for n in 0..150 {
        let decide = if n % 4 == 0 { create_user(&format!("user{}", n % 40)) } else { note(&ids[n % 5]) };
        commit(&runtime, &opened.store, decide);
    }
    use daemon::store::Entries;
    let view = opened.store.view();
    let all: Vec<Entry> = leaves(view).iter().map(|leaf| Entry::parse(leaf).unwrap()).collect();
    type Fits<'a> = Box<dyn Fn(&Entry) -> bool + 'a>;
    let cases: Vec<(EntryQuery, Fits<'_>)> = vec![
        (EntryQuery::default(), Box::new(|_entry| true)),
        (
            EntryQuery { target: Some(ids[2].clone()), ..Default::default() },
            Box::new(|entry| entry.target.as_ref().is_some_and(|target| target.id == ids[2])),
        ),
        (
            EntryQuery { action: Some("user.*".to_owned()), ..Default::default() },
            Box::new(|entry| entry.action == Action::UserCreate),
        ),
        (
            EntryQuery { action: Some("user.create".to_owned()), outcome: Some(Outcome::Error), ..Default::default() },
            Box::new(|entry| entry.outcome == Outcome::Error),
        ),
        (
            EntryQuery { actor: Some("system".to_owned()), after: Some(40), before: Some(90), ..Default::default() },
            Box::new(|entry| entry.seq > 40 && entry.seq < 90),
        ),
        (EntryQuery { actor: Some("nobody".to_owned()), ..Default::default() }, Box::new(|_entry| false)),
    ];
    for (mut query, fits) in cases {
        query.limit = 7;
        let mut found = Vec::new();
        loop {
            let page = view.entries(&query).unwrap();
            found.extend(page.entries.iter().map(|entry| entry.index));
            match page.next_before {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
        let expected: Vec<u64> = all.iter().rev().filter(|entry| fits(entry)).map(|entry| entry.seq).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

/// A blob whose last reference goes is told to the caller; sessions end with their writes; counters follow.
fn blobs_sessions_counters(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let digest = Digest::from_bytes([7; 32]);
    let set = |refs| -> Decide {
        Box::new(move |_records, _moment| {
            let target = Target::new("model", "m");
            Ok(Decision {
                draft: draft(Action::ModelUpload, target),
                writes: vec![Write::SetBlob { digest, size: 5, refs }],
            })
        })
    };
    use daemon::store::Records;
    assert!(commit(&runtime, &opened.store, set(2)).released.is_empty());
    assert_eq!(opened.store.view().blob(&digest).unwrap(), Some(BlobRecord { size: 5, refs: 2 }));
    assert_eq!(opened.store.view().counters().unwrap().blob_bytes, 5);
    assert_eq!(&*commit(&runtime, &opened.store, set(0)).released, &[digest]);
    assert_eq!(opened.store.view().blob(&digest).unwrap(), None);
    assert_eq!(opened.store.view().counters().unwrap().blobs, 0);

    // What the log says of them, across its files and beside one who writes.
    let dir = TempDir::new().unwrap();
    let store = SledStore::open(&SledOptions { file_entries_max: 3, ..options(dir.path()) }).unwrap();
    let mut references = References::of(&[digest]);
    let mut read_on = || {
        store.read_references(&mut references, &|| true).unwrap();
        references.verdict(&digest)
    };
    assert_eq!(read_on(), Verdict::Free);
    for round in 0..4 {
        commit(&runtime, &store, set(round + 1));
        assert_eq!(read_on(), Verdict::Miscounted, "no version points to it");
        for _ in 0..round {
            commit(&runtime, &store, note("x"));
        }
        commit(&runtime, &store, set(0));
        assert_eq!(read_on(), Verdict::Free);
        assert_eq!(read_on(), Verdict::Free, "nothing came since");
    }
    assert!(!store.stats().in_doubt);
    let stopped = store.read_references(&mut References::of(&[digest]), &|| false).unwrap_err();
    assert!(matches!(stopped, StoreError::Unavailable(_)), "{stopped}");
    runtime.block_on(store.close());

    let session = SessionRecord {
        sid: "s1".to_owned(),
        user_id: "usr_1".to_owned(),
        epoch: 0,
        created_at_ms: 1,
        expires_at_ms: 2,
    };
    let put = session.clone();
    let put: Decide = Box::new(move |_records, _moment| {
        Ok(Decision {
            draft: draft(Action::AuthLogin, Target::new("user", "usr_1")),
            writes: vec![Write::PutSession(put)],
        })
    });
    commit(&runtime, &opened.store, put);
    assert_eq!(opened.store.view().sessions_of("usr_1").unwrap(), vec![session]);
    let end: Decide = Box::new(|_records, _moment| {
        let writes = vec![Write::DeleteSession { sid: "s1".to_owned() }];
        Ok(Decision { draft: draft(Action::AuthLogout, Target::new("user", "usr_1")), writes })
    });
    commit(&runtime, &opened.store, end);
    assert!(opened.store.view().sessions_of("usr_1").unwrap().is_empty());
    assert_eq!(opened.store.view().session("s1").unwrap(), None);
}

/// What was granted to a user is there until it is replaced or forgotten; nobody else has it.
fn grants(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let put = |texts: &[&str]| -> Decide {
        let records: Vec<GrantRecord> =
            texts.iter().map(|text| GrantRecord::from(text.parse::<Grant>().unwrap())).collect();
        Box::new(move |_records, _moment| {
            let target = Target::new("user", "usr_1");
            let writes = vec![Write::PutGrants { user: "usr_1".to_owned(), grants: records }];
            Ok(Decision { draft: draft(Action::UserGrants, target), writes })
        })
    };
    use daemon::store::Records;
    let shown = |store: &SledStore, user: &str| -> Vec<String> {
        let grants = store.view().grants(user).unwrap();
        grants.into_iter().map(|record| Grant::from(record).to_string()).collect()
    };
    assert!(shown(&opened.store, "usr_1").is_empty());
    commit(&runtime, &opened.store, put(&["a/*:viewer", "*:deny"]));
    commit(&runtime, &opened.store, put(&["Team/*:contributor", "*:none"]));
    let opened = again(&runtime, opened);
    assert_eq!(shown(&opened.store, "usr_1"), ["Team/*:contributor", "*:none"]);
    assert!(shown(&opened.store, "usr_11").is_empty() && shown(&opened.store, "usr_").is_empty());
    commit(&runtime, &opened.store, put(&[]));
    assert!(shown(&opened.store, "usr_1").is_empty());
}

/// A command that writes this.
fn put(action: Action, about: &str, writes: Vec<Write>) -> Decide {
    let target = Target::new("user", about);
    Box::new(move |_records, _moment| Ok(Decision { draft: draft(action, target), writes }))
}

/// The same store, after a stop.
fn again(runtime: &tokio::runtime::Runtime, opened: Opened) -> Opened {
    let options = opened.options();
    let Opened { dir, store, server } = opened;
    runtime.block_on(store.close());
    drop(store);
    Opened { dir, store: Arc::new(reopen_with(&options).unwrap()), server }
}

/// API tokens are found by id, by whose they are and in pages from either end, counted, used without a new revision and
/// without a time that goes back, and there after a stop; what ended is nowhere.
fn api_tokens(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let token = |at: u64, user: &str, label: &str| ApiTokenRecord {
        id: TokenId::new(at, 7),
        user_id: user.to_owned(),
        label: label.to_owned(),
        secrets: vec![
            TokenSecretRecord { hash: [1; 32], index: 3, made_at_ms: 2, until_ms: None },
            TokenSecretRecord { hash: [2; 32], index: 2, made_at_ms: 1, until_ms: Some(9) },
        ],
        permissions: Some(vec!["model.read".to_owned(), "no.such".to_owned()]),
        names: Some(vec!["team/*".parse().unwrap()]),
        created_at_ms: 1,
        created_by: "ana".to_owned(),
        expires_at_ms: Some(i64::MAX),
        last_used_at_ms: None,
        revision: 3,
    };
    use daemon::store::Records;
    let tokens: Vec<ApiTokenRecord> =
        (1..=5_u64).map(|at| token(at, if at % 2 == 0 { "usr_2" } else { "usr_22" }, &format!("t{at}"))).collect();
    // Not in the order of their ids.
    for at in [3, 0, 4, 1, 2] {
        let writes = vec![Write::PutApiToken(tokens[at].clone())];
        commit(&runtime, &opened.store, put(Action::TokenCreate, "usr_2", writes));
    }
    let relabelled = ApiTokenRecord { label: "other".to_owned(), revision: 9, ..tokens[2].clone() };
    let writes = vec![Write::PutApiToken(relabelled.clone())];
    commit(&runtime, &opened.store, put(Action::TokenRotate, "usr_22", writes));
    let [first, .., last] = &tokens[..] else { unreachable!() };
    let uses = |at_ms: i64| vec![Write::UseApiTokens(vec![(first.id.clone(), at_ms), (TokenId::new(99, 7), at_ms)])];
    for at_ms in [70, 50] {
        commit(&runtime, &opened.store, put(Action::TokenUse, "usr_22", uses(at_ms)));
    }
    let used = ApiTokenRecord { last_used_at_ms: Some(70), ..first.clone() };
    let expected = [&used, &tokens[1], &relabelled, &tokens[3], last].map(Clone::clone);
    let opened = again(&runtime, opened);
    let view = opened.store.view();
    assert_eq!(view.api_tokens(None, 9).unwrap(), expected);
    assert_eq!(view.api_tokens(Some(&expected[1].id), 2).unwrap(), expected[2..4]);
    let backwards: Vec<ApiTokenRecord> = expected.iter().rev().cloned().collect();
    assert_eq!(view.api_tokens_back(None, 9).unwrap(), backwards);
    assert_eq!(view.api_tokens_back(Some(&expected[3].id), 2).unwrap(), backwards[2..4]);
    assert_eq!(view.api_tokens_of("usr_2").unwrap(), [expected[1].clone(), expected[3].clone()]);
    assert_eq!(view.api_tokens_of("usr_22").unwrap().len(), 3);
    assert!(view.api_tokens_of("usr_").unwrap().is_empty());
    assert_eq!((view.api_token(&first.id).unwrap(), view.api_token_count().unwrap()), (Some(used), 5));
    assert_eq!(view.api_token(&TokenId::new(99, 7)).unwrap(), None, "using what is gone makes nothing");

    let end = |at: usize| vec![Write::DeleteApiToken { id: tokens[at].id.clone() }];
    for at in [1, 1, 3] {
        commit(&runtime, &opened.store, put(Action::TokenRevoke, "usr_2", end(at)));
    }
    commit(
        &runtime,
        &opened.store,
        put(Action::TokenUse, "usr_2", vec![Write::UseApiTokens(vec![(tokens[1].id.clone(), 80)])]),
    );
    assert!(view.api_tokens_of("usr_2").unwrap().is_empty());
    assert_eq!((view.api_token(&tokens[1].id).unwrap(), view.api_token_count().unwrap()), (None, 3));
    assert_eq!(view.api_tokens(None, 9).unwrap().len(), 3);
}

/// Webhooks are listed oldest first, and with how far each had come; that is remembered of those that are there only, replaced,
/// kept over a stop and a change of the webhook, and forgotten with it.
fn webhooks(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let hook = |id: u128, url: &str| WebhookRecord {
        id: HookId::from_u128(id),
        url: url.to_owned(),
        description: String::new(),
        actions: vec!["model.*".to_owned()],
        models: vec!["team/*".parse().unwrap()],
        outcomes: vec!["ok".to_owned()],
        disabled: Some(WebhookDisabledRecord { because: Some("gone".to_owned()), at_ms: 4 }),
        secret: WebhookSecretRecord { generation: 2, key: [3; 8] },
        previous: Some((WebhookSecretRecord { generation: 1, key: [2; 8] }, 9)),
        course: 1,
        from: 5,
        created_at_ms: 1,
        created_by: "ana".to_owned(),
        updated_at_ms: 2,
        revision: 6,
    };
    let progress = |id: u128, course, next| WebhookProgressRecord { hook: HookId::from_u128(id), course, next };
    use daemon::store::Records;
    let writes = [u128::MAX, 1, 256].map(|id| Write::PutWebhook(hook(id, "https://a/"))).into();
    commit(&runtime, &opened.store, put(Action::WebhookCreate, "h", writes));
    for next in [7, 8] {
        let all = vec![progress(1, 1, next), progress(256, 1, 9), progress(2, 1, 9)];
        commit(&runtime, &opened.store, put(Action::WebhookProgress, "h", vec![Write::PutWebhookProgress(all)]));
    }
    let moved = vec![Write::PutWebhook(hook(1, "https://b/"))];
    commit(&runtime, &opened.store, put(Action::WebhookUpdate, "h", moved));
    let opened = again(&runtime, opened);
    let view = opened.store.view();
    let expected = [hook(1, "https://b/"), hook(256, "https://a/"), hook(u128::MAX, "https://a/")];
    assert_eq!(view.webhooks().unwrap(), expected);
    let came = |id: u128| view.webhook_progress(HookId::from_u128(id)).unwrap();
    assert_eq!([came(1), came(256), came(u128::MAX)], [Some(progress(1, 1, 8)), Some(progress(256, 1, 9)), None]);
    assert_eq!(came(2), None, "of what isn't there nothing is remembered");

    let gone =
        vec![Write::DeleteWebhook { hook: HookId::from_u128(1) }, Write::PutWebhookProgress(vec![progress(1, 1, 9)])];
    commit(&runtime, &opened.store, put(Action::WebhookDelete, "h", gone));
    assert_eq!((view.webhook(HookId::from_u128(1)).unwrap(), came(1)), (None, None));
    let anew = vec![Write::PutWebhook(hook(1, "https://c/"))];
    commit(&runtime, &opened.store, put(Action::WebhookCreate, "h", anew));
    assert_eq!((view.webhook(HookId::from_u128(1)).unwrap(), came(1)), (Some(hook(1, "https://c/")), None));
    assert_eq!(came(256), Some(progress(256, 1, 9)), "it is its own");
}

/// A second factor is there until it is replaced or removed; nobody else has it.
fn second_factors(backend: Backend) {
    use daemon::store::Records;
    let opened = open_on(backend);
    let runtime = runtime();
    let record = |generation: u64| SecondFactorRecord {
        user: "usr_1".to_owned(),
        generation,
        key: [7; 8],
        confirmed: generation > 1,
        last_step: u64::MAX,
        recovery: vec![[1; 32]; 10],
        made_at_ms: 5,
        revision: generation,
    };
    let write = |write: Write| -> Decide {
        Box::new(move |_records, _moment| {
            Ok(Decision { draft: draft(Action::UserTotpEnrol, Target::new("user", "usr_1")), writes: vec![write] })
        })
    };
    let shown = |user: &str| opened.store.view().second_factor(user).unwrap();
    assert_eq!(shown("usr_1"), None);
    for generation in [1, 2] {
        commit(&runtime, &opened.store, write(Write::PutSecondFactor(record(generation))));
        assert_eq!(shown("usr_1"), Some(record(generation)));
    }
    assert_eq!((shown("usr_11"), shown("usr_")), (None, None));
    commit(&runtime, &opened.store, write(Write::DeleteSecondFactor { user: "usr_1".to_owned() }));
    assert_eq!(shown("usr_1"), None);
}

/// An idempotency key is remembered for a day and then makes room.
fn idempotency_keys_expire(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let put = |octet: u8, age_ms: i64| -> Decide {
        Box::new(move |_records, moment| {
            let record = IdempotencyRecord {
                fingerprint: [octet; 32],
                index: moment.index,
                at_ms: moment.at_ms - age_ms,
                answer: "{}".to_owned(),
            };
            let writes = vec![Write::PutIdempotency { key: [octet; 32], record }];
            Ok(Decision { draft: draft(Action::ModelUpload, Target::new("model", "m")), writes })
        })
    };
    use daemon::store::Records;
    commit(&runtime, &opened.store, put(1, 25 * 3600 * 1000));
    commit(&runtime, &opened.store, put(2, 0));
    assert!(opened.store.view().idempotency(&[1; 32]).unwrap().is_none());
    assert!(opened.store.view().idempotency(&[2; 32]).unwrap().is_some());
}

/// Quotas and rules are kept, counted and found after the directory is opened again, and taken back.
fn quotas_and_rules(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let (team, user) = (Account::Namespace("team".to_owned()), Account::User("usr_a".to_owned()));
    let put = |writes: Vec<Write>| -> Decide {
        Box::new(move |_records, _moment| {
            Ok(Decision { draft: draft(Action::QuotaSet, Target::new("quota", "x")), writes })
        })
    };
    let quota = |account: &Account| {
        let (account, by) = (account.clone(), "admin".to_owned());
        QuotaRecord { account, bytes: Some(9), versions: None, models: Some(2), by, at_ms: 7, index: 1 }
    };
    let rule = RetentionRuleRecord {
        name: "old".to_owned(),
        rule: RuleSpec {
            pattern: "team/*".parse().unwrap(),
            purges: false,
            keep_newest: Some(3),
            older_than_days: None,
            states: vec![common::api::State::Deprecated],
            protect_tags: vec![("stage".to_owned(), "prod".to_owned())],
            enabled: true,
        },
        set_by: "admin".to_owned(),
        set_at_ms: 1,
        first_run_at_ms: 2,
        requested_at_ms: Some(3),
        last_run: Some(RunRecord {
            began_at_ms: 1,
            ended_at_ms: 2,
            versions: 3,
            bytes: 4,
            complete: true,
            on_demand: false,
        }),
        revision: 5,
    };
    let writes = [&team, &user].map(|account| Write::PutQuota(quota(account))).into_iter();
    commit(&runtime, &opened.store, put(writes.chain([Write::PutRetentionRule(rule.clone())]).collect()));
    let options = opened.options();
    let Opened { dir, store, server } = opened;
    runtime.block_on(store.close());
    drop(store);
    let store = reopen_with(&options).unwrap();
    use daemon::store::Records;
    assert_eq!(store.view().quota(&team).unwrap(), Some(quota(&team)));
    assert_eq!(store.view().accounts(None, 9).unwrap(), [team.clone(), user.clone()]);
    assert_eq!(store.view().usage(&team).unwrap(), UsageRecord::default());
    assert_eq!(store.view().retention_rules().unwrap(), [rule]);
    let gone = vec![Write::DeleteQuota(team.clone()), Write::DeleteRetentionRule { name: "old".to_owned() }];
    commit(&runtime, &store, put(gone));
    assert_eq!(store.view().quota(&team).unwrap(), None);
    assert_eq!(store.view().retention_rule("old").unwrap(), None);
    assert_eq!(store.view().accounts(None, 9).unwrap(), [user]);
    runtime.block_on(store.close());
    drop((dir, server));
}

/// The tree, its leaves and its past are what the entries make them, whatever piece of them is asked for.
fn the_tree_and_its_past(backend: Backend) {
    let opened = open_on(backend);
    let runtime = runtime();
    let mut published = BTreeMap::new();
    for number in 0..40 {
        let committed = commit(&runtime, &opened.store, note(&format!("m{}", number % 3)));
        published.insert(committed.checkpoint.size, Arc::clone(&committed.checkpoint));
    }
    use daemon::store::Entries;
    let view = opened.store.view();
    let size = view.size();
    let all = leaves(view);
    let hashes: Vec<Hash> = all.iter().map(|leaf| leaf_hash(leaf)).collect();
    let root = |from: u64, to: u64| {
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        Hash(tests::oracle::root(&hashes[from..to].iter().map(|hash| hash.0).collect::<Vec<_>>()))
    };

    assert_eq!(view.leaves(0..size, usize::MAX).unwrap(), all);
    assert_eq!(view.leaves(3..9, 1).unwrap(), all[3..4], "at least one");
    assert_eq!(view.leaves(3..9, all[3].len() + 1).unwrap(), all[3..5], "to the one that reaches the bound");
    assert!(view.leaves(5..5, 1).unwrap().is_empty());
    for level in 0..5_u8 {
        let nodes = view.nodes(level, 0..size >> level).unwrap();
        let wanted: Vec<Hash> = (0..size >> level).map(|node| root(node << level, (node + 1) << level)).collect();
        assert_eq!(nodes, wanted, "level {level}");
        assert_eq!(view.nodes(level, 1..2).unwrap(), wanted[1..2]);
    }
    let vkey: common::audit::Verifier = opened.store.identity().vkey.parse().unwrap();
    for new in 1..=size {
        let past = runtime.block_on(opened.store.checkpoint_at(new)).unwrap().unwrap();
        assert_eq!((past.size, past.root), (new, root(0, new)));
        let signed = Checkpoint::open(past.note.as_bytes(), std::slice::from_ref(&vkey)).unwrap();
        assert_eq!((signed.checkpoint.size, signed.checkpoint.root), (new, past.root));
        if let Some(published) = published.get(&new) {
            assert_eq!(&past, published, "the note that was published at {new}");
        }
        for old in 1..=new {
            let proof = view.consistency(old, new).unwrap();
            common::audit::verify_consistency(old, &root(0, old), new, &root(0, new), &proof).unwrap();
            let proof = view.inclusion(old - 1, new).unwrap();
            let leaf = hashes[usize::try_from(old - 1).unwrap()];
            common::audit::verify_inclusion(&leaf, old - 1, new, &proof, &root(0, new)).unwrap();
        }
    }
    for none in [0, size + 1, u64::MAX] {
        assert_eq!(runtime.block_on(opened.store.checkpoint_at(none)).unwrap(), None);
    }
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            use super::Backend;
            $(#[test] fn $name() { super::$name(Backend::Embedded) })*
        }
        mod shared {
            use super::Backend;
            $(#[test] fn $name() { super::$name(Backend::Shared) })*
        }
    };
}

on_both!(
    serialised,
    answered_means_signed,
    failed_decisions_leave_nothing,
    reopens,
    locked,
    closed,
    pages_of_models,
    pages_of_entries,
    blobs_sessions_counters,
    grants,
    api_tokens,
    webhooks,
    second_factors,
    idempotency_keys_expire,
    quotas_and_rules,
    the_tree_and_its_past
);
