//! The store: records, the audit log, and the one path by which either changes. This file is the contract; a leaf
//! below `store/` keeps it. What a change means to the registry's rules is not known here.

pub mod basis;
pub mod check;
pub mod codec;
pub mod entries;
pub mod journal;
pub mod keys;
pub mod mark;
pub mod merkle;
pub mod overlay;
pub mod packed;
pub mod records;
pub mod references;
pub mod room;
pub mod sequencer;
pub mod shared;
pub mod sled;

pub use self::journal::FORMAT as JOURNAL_FORMAT;
pub mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use common::audit::{Action, Actor, Hash, Outcome, ProveError, Receipt, RequestInfo, Target};
use common::digest::Digest;
use common::name::{Alias, HookId, ItemId, ModelId, ModelName, UserName, Version};
use common::token::TokenId;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

use crate::store::basis::Basis;
use crate::store::check::{Checked, Listener};
use crate::store::records::{
    Account, AliasEventRecord, ApiTokenRecord, ApprovalRecord, BlobRecord, Counters, DamageRecord, GrantRecord,
    IdempotencyRecord, IngestRecord, IntakeRecord, LogKeysRecord, ModelRecord, QuotaRecord, RetentionRuleRecord,
    ReviewNoteRecord, RulesetRecord, SecondFactorRecord, SenderRecord, SessionRecord, UsageRecord, UserRecord,
    VersionRecord, WebhookProgressRecord, WebhookRecord, Write,
};
use crate::store::references::References;

/// A boxed future, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What can go wrong below the registry.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The entry could not be made durable; nothing happened. Callers answer 503 and may try again.
    #[error("the audit log can't be written: {0}")]
    Unavailable(String),
    /// There is no room for the entry; nothing happened. The text may be shown to anyone, and says what to do.
    #[error("{0}")]
    Full(String),
    /// The command may have happened: it is in the journal or not, and the next start will tell. Callers answer 503 and
    /// must not say that nothing happened.
    #[error("the audit log failed: {0}")]
    Unknown(String),
    /// Something stored is not what was stored. The operation stops; a person must look.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// Reading failed.
    #[error("the store can't be read")]
    Io(#[from] std::io::Error),
    /// The view failed.
    #[error("the view of the journal can't be read")]
    View(#[from] ::sled::Error),
}

impl From<ProveError<StoreError>> for StoreError {
    fn from(error: ProveError<StoreError>) -> Self {
        match error {
            ProveError::Nodes(error) => error,
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// When and where in the log a command is decided.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The index its entry will have.
    pub index: u64,
    /// Milliseconds since the epoch; never less than the entry's before.
    pub at_ms: i64,
}

/// What a command came to: an entry, and the change it commits to. Without writes it is a mere record: a refusal, a
/// failure, a reading.
#[derive(Debug)]
pub struct Decision {
    /// The entry, but for what the sequencer adds (`seq`, `id`, `ts`, `node`, `salt`, `prev`, `change`).
    pub draft: Draft,
    /// The change, in order. Applied as a whole or not at all.
    pub writes: Vec<Write>,
}

/// The part of an audit entry that the one who acts knows.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What was done or tried.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// On what.
    pub target: Target,
    /// The request it came with; none for what the daemon does of its own accord.
    pub request: Option<RequestInfo>,
    /// What else is worth knowing, per action. Never a secret, never a float.
    pub data: BTreeMap<String, Value>,
}

/// Decides a command against the state as it is after everything before it. Runs once, on the store's writing thread:
/// no I/O, no waiting. An error leaves no entry and fails the command.
pub type Decide = Box<dyn FnOnce(&dyn Records, Moment) -> Result<Decision, StoreError> + Send>;

/// A command after its commit: durable, covered by a signed checkpoint, visible to every reader.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The entry's index.
    pub index: u64,
    /// Its time.
    pub at_ms: i64,
    /// The exact octets of the leaf.
    pub leaf: Arc<[u8]>,
    /// RFC 6962 hash of the leaf.
    pub leaf_hash: Hash,
    /// The checkpoint that covers it.
    pub checkpoint: Arc<PublishedCheckpoint>,
    /// Blobs that nothing points to any more since this batch.
    pub released: Arc<[Digest]>,
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCheckpoint {
    /// Entries it covers.
    pub size: u64,
    /// RFC 6962 root of them.
    pub root: Hash,
    /// The signed note (C2SP tlog-checkpoint).
    pub note: String,
}

/// Whether the store can record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// The disk is full: only urgent commands are taken. The text may be shown to anyone, and says what to do.
    Full(String),
    /// The last batch failed before its commit point; the next one tries again.
    Refusing(String),
    /// A failed fdatasync or a lost journal: the daemon must stop and recover from the file.
    Failed(String),
}

/// What a command may use up when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing: it is refused.
    Ordinary,
    /// The reserve: it is needed to make room again (sign-ins, deletions, purges).
    Urgent,
    /// The last of the journal as well: the daemon's own word that it starts, refuses, stops.
    Lifecycle,
}

/// Something to be read at once, in one place.
pub type Reading<'a> = Box<dyn FnOnce(&dyn View) + Send + 'a>;

/// A few point reads, of whose answer it is to be known how long it holds.
pub type NotedReading<'a> = Box<dyn FnOnce(&dyn Records) + Send + 'a>;

/// The store. Implementations are shared by all requests.
///
/// - **Serialised**: commands are decided one after another, each against the effects of all before it.
/// - **Atomic**: entry and change become durable together or not at all.
/// - **Durable on return**: a returned [`Committed`] survives a power cut; its entry is covered by a checkpoint that the
///   daemon has signed.
/// - **Consistent reads**: readers see whole batches that are durable, never something that could vanish.
/// - A dropped `commit` future does not undo the command: once queued it will be decided.
pub trait Store: Send + Sync {
    /// Queues a command and waits for its commit. Nobody retries: an error means that nothing happened, but for
    /// [`StoreError::Unknown`].
    fn commit(&self, decide: Decide) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.commit_as(Urgency::Ordinary, decide)
    }

    /// The same for a command that is let through on a full disk.
    fn commit_as(&self, urgency: Urgency, decide: Decide) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Makes sure that what is read from now on is at least as new as all that was acknowledged anywhere before this call:
    /// with several daemons, by asking how far their log is. Whoever serves a request asks once, at its beginning.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it can't be found out at the moment.
    fn refresh(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether other daemons work on the same log.
    fn is_shared(&self) -> bool;

    /// Whether the upkeep that one daemon does for all (retention, scrubbing, inspecting anew) is this one's. It may change at
    /// any time; two for a moment do no harm.
    fn upkeeps(&self) -> bool;

    /// Runs a few point reads, inline where the backend is fast enough for it.
    fn read<'a>(&'a self, work: Reading<'a>) -> BoxFuture<'a, ()>;

    /// The same, and gives what was read: for as long as that holds, so does what was made from it. None: it was too much to
    /// be noted.
    fn read_noted<'a>(&'a self, work: NotedReading<'a>) -> BoxFuture<'a, Option<Basis>>;

    /// Runs reads that may take long (pages, scans) off the async threads.
    fn scan(&self, work: Reading<'static>) -> BoxFuture<'_, ()>;

    /// The checkpoint of the first `size` entries, signed anew under the name and with the keys that the log has now: where
    /// they are those of that time it is the note that was, or would have been, published then, for Ed25519 is
    /// deterministic. It is given only where the newest published checkpoint is proved to be a
    /// continuation of it. None: there is no such size, or not yet.
    fn checkpoint_at(&self, size: u64) -> BoxFuture<'_, Result<Option<Arc<PublishedCheckpoint>>, StoreError>>;

    /// The newest published checkpoint; changes wake the live tails.
    fn checkpoints(&self) -> watch::Receiver<Arc<PublishedCheckpoint>>;

    /// Whether the store can record; changes are told.
    fn health(&self) -> watch::Receiver<Health>;

    /// What the store counts of its own work.
    fn stats(&self) -> StoreStats;

    /// How long the oldest command that waits has waited at most; zero where none waits.
    fn behind(&self) -> std::time::Duration;

    /// Facts about the store; the log's name and keys as they are now.
    fn identity(&self) -> Identity;

    /// The log's name and keys as they are now.
    fn log_keys(&self) -> Arc<LogKeysRecord>;

    /// Makes a key of a name, durable on return, and returns its public half. It signs nothing before a commit of
    /// [`Write::PutLogKeys`] that names it; without one it is never used. Where several daemons share the log, one that was
    /// made before and never used is given again, so that it can be copied to all of them first.
    fn make_log_key(&self, origin: String) -> BoxFuture<'_, Result<String, StoreError>>;

    /// The other daemons that follow the log, by their instance ids, as far as they said so lately; with one daemon, none.
    ///
    /// # Errors
    /// `Unavailable`: the database doesn't answer.
    fn peers(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// Which other daemons lack a key; with one daemon, none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it can't be found out at the moment.
    fn lacking_log_key(&self, vkey: String) -> BoxFuture<'_, Result<Lacking, StoreError>>;

    /// Destroys a key that [`Store::make_log_key`] made and that no commit will name any more. One that signs is left.
    fn discard_log_key(&self, vkey: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Checks all that is stored against all else, at the newest checkpoint, beside whatever else is done. Blocks for as long
    /// as reading everything takes; repairs nothing. What is wrong is told to the listener; an error says that it could not
    /// be found out.
    fn check(&self, listener: &mut dyn Listener) -> Result<Checked, StoreError>;

    /// Reads on in the log itself, up to the newest checkpoint, what points to blobs: before bytes are removed, this decides
    /// and not what reads show. Where reads show another count than the log, they are in doubt from then on: that is said,
    /// [`StoreStats::in_doubt`] shows it, and the next start derives them anew. Blocks for as long as reading takes; ends
    /// soon, with [`StoreError::Unavailable`], once `goes_on` says no. After an error the references are good for nothing.
    fn read_references(&self, references: &mut References, goes_on: &dyn Fn() -> bool) -> Result<(), StoreError>;

    /// Waits for what is queued, makes derived data durable, releases the lock. Later commits are refused.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Who lacks a key of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Instance ids of daemons.
    pub nodes: Vec<String>,
    /// The key's file here, to be copied to them.
    pub file: std::path::PathBuf,
}

/// Facts about an open store.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `sled` or `postgresql`.
    pub backend: &'static str,
    /// The log's name.
    pub origin: String,
    /// The key to check its checkpoints with.
    pub vkey: String,
    /// All keys that sign: that one, and the one before it while both do.
    pub vkeys: Vec<String>,
    /// This daemon's instance id.
    pub node: String,
}

/// Counts since start, and sizes.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreStats {
    /// Entries written since start.
    pub commits: u64,
    /// Batches written since start, one fdatasync each.
    pub batches: u64,
    /// Octets of the journal's files.
    pub journal_bytes: u64,
    /// Entries that the high-water mark covers.
    pub mark_size: u64,
    /// When it was last written, milliseconds since the epoch; none if there is none yet.
    pub mark_at_ms: Option<i64>,
    /// Octets kept back for a full disk.
    pub reserve_bytes: u64,
    /// Whether what reads show was found to contradict the log. The next start derives it anew.
    pub in_doubt: bool,
}

/// All that can be read: the records and the log.
pub trait View: Records + Entries {}
impl<T: Records + Entries> View for T {}

/// Which version.
pub type VersionKey = (ModelId, Version);

/// Result of a read.
pub type Read<T> = Result<T, StoreError>;

/// Reads of the records.
pub trait Records {
    /// A user by name.
    fn user(&self, name: &UserName) -> Read<Option<UserRecord>>;
    /// A user by stable id.
    fn user_by_id(&self, id: &str) -> Read<Option<UserRecord>>;
    /// What a user may do with models by their names, by stable id; mostly nothing was granted.
    fn grants(&self, user_id: &str) -> Read<Vec<GrantRecord>>;
    /// A user's second factor, by stable id, confirmed or not.
    fn second_factor(&self, user_id: &str) -> Read<Option<SecondFactorRecord>>;
    /// Users in the order of their names, after one of them.
    fn users(&self, after: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>>;
    /// Users before one of them, or the last ones, backwards.
    fn users_back(&self, before: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>>;
    /// A session by id.
    fn session(&self, sid: &str) -> Read<Option<SessionRecord>>;
    /// All sessions of a user, expired ones included.
    fn sessions_of(&self, user_id: &str) -> Read<Vec<SessionRecord>>;
    /// An API token by id, one that is over included.
    fn api_token(&self, id: &TokenId) -> Read<Option<ApiTokenRecord>>;
    /// All API tokens of a user, the oldest first, those that are over included.
    fn api_tokens_of(&self, user_id: &str) -> Read<Vec<ApiTokenRecord>>;
    /// API tokens, the oldest first, after one of them.
    fn api_tokens(&self, after: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>>;
    /// API tokens before one of them, or the last ones, backwards.
    fn api_tokens_back(&self, before: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>>;
    /// How many API tokens there are.
    fn api_token_count(&self) -> Read<u64>;
    /// A model by id, deleted ones and tombstones included.
    fn model(&self, id: ModelId) -> Read<Option<ModelRecord>>;
    /// The id of the model that holds a name (ignoring case); purged models hold none.
    fn model_named(&self, name: &ModelName) -> Read<Option<ModelId>>;
    /// A version, deleted ones included.
    fn version(&self, id: ModelId, version: Version) -> Read<Option<VersionRecord>>;
    /// Versions of a model, newest first, below one of them; deleted ones included.
    fn versions(&self, id: ModelId, below: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>>;
    /// Versions of a model, oldest first, above one of them; deleted ones included.
    fn versions_back(&self, id: ModelId, above: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>>;
    /// The newest model with a version that has an artifact of this digest, and the newest such version. Deleted ones
    /// are left out.
    fn holder(&self, digest: &Digest) -> Read<Option<(ModelId, Version)>> {
        self.holder_seen(digest, &|_name| true)
    }
    /// The same among the models of some names.
    fn holder_seen(&self, digest: &Digest, sees: &dyn Fn(&ModelName) -> bool) -> Read<Option<(ModelId, Version)>>;
    /// What is known of a blob; none if nothing points to it.
    fn blob(&self, digest: &Digest) -> Read<Option<BlobRecord>>;
    /// Blobs that something points to, in the order of their digests, after one of them.
    fn blobs(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, BlobRecord)>>;
    /// Versions that have an artifact of this digest, oldest model first, after one of them. Deleted versions are left out,
    /// those of deleted models are not.
    fn holders(
        &self,
        digest: &Digest,
        after: Option<(ModelId, Version)>,
        limit: usize,
    ) -> Read<Vec<(ModelId, Version)>>;
    /// What is known to be wrong with a blob.
    fn damage(&self, digest: &Digest) -> Read<Option<DamageRecord>>;
    /// Blobs with which something is wrong, in the order of their digests, after one of them.
    fn damages(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, DamageRecord)>>;
    /// How many blobs versions are held back for.
    fn damaged(&self) -> Read<u64>;
    /// The history of an alias, newest first, below an entry's index.
    fn alias_events(&self, id: ModelId, alias: &Alias, below: Option<u64>, limit: usize)
    -> Read<Vec<AliasEventRecord>>;
    /// What an idempotency key stands for; `key` is the SHA-256 of actor and key.
    fn idempotency(&self, key: &[u8; 32]) -> Read<Option<IdempotencyRecord>>;
    /// Models by query.
    fn models(&self, query: &ModelQuery) -> Read<ModelPage>;
    /// Deleted models whose time to be restored ended before `now_ms`.
    fn expired_models(&self, now_ms: i64, limit: usize) -> Read<Vec<ModelId>>;
    /// The counters.
    fn counters(&self) -> Read<Counters>;
    /// The log's name and keys; none while they are those of its first entry.
    fn log_keys(&self) -> Read<Option<LogKeysRecord>>;
    /// What became of an item of the drop folder; none once it has left `processing/` for good.
    fn ingest(&self, item: ItemId) -> Read<Option<IngestRecord>>;
    /// Those that are kept, oldest item first, after one of them.
    fn ingests(&self, after: Option<ItemId>, limit: usize) -> Read<Vec<IngestRecord>>;
    /// Whether the drop folder takes anything in; none while nobody ever paused it.
    fn intake(&self) -> Read<Option<IntakeRecord>>;
    /// A webhook.
    fn webhook(&self, id: HookId) -> Read<Option<WebhookRecord>>;
    /// All webhooks, oldest first; the registry bounds how many there are.
    fn webhooks(&self) -> Read<Vec<WebhookRecord>>;
    /// How far a webhook had come when that was last recorded, which is seldom.
    fn webhook_progress(&self, id: HookId) -> Read<Option<WebhookProgressRecord>>;
    /// The set of rules that was last said to be used; none before the first.
    fn ruleset(&self) -> Read<Option<RulesetRecord>>;
    /// How many versions were last inspected with each set of rules, deleted ones left out. The set whose id is empty:
    /// published before it was kept.
    fn inspected_with(&self) -> Read<Vec<(String, u64)>>;
    /// Those versions of one set, newest model first, below one of them.
    fn inspected_by(&self, ruleset: &str, below: Option<VersionKey>, limit: usize) -> Read<Vec<VersionKey>>;
    /// Versions in quarantine, blocked for good or not, the longest held first, each with its place in that order, to go
    /// on after. Those of deleted models are among them.
    fn quarantined(&self, blocked: bool, after: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>>;
    /// The same backwards: before a place, or the last ones.
    fn quarantined_back(&self, blocked: bool, before: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>>;
    /// What was noted of a version while it was held: the newest so many, newest first.
    fn review_notes(&self, id: ModelId, version: Version, limit: usize) -> Read<Vec<ReviewNoteRecord>>;
    /// Who would release a version.
    fn approvals(&self, id: ModelId, version: Version) -> Read<Vec<ApprovalRecord>>;
    /// How what a user published stands, by stable id.
    fn sender(&self, id: &str) -> Read<SenderRecord>;
    /// How many those are, without those of deleted models.
    fn held(&self, blocked: bool) -> Read<u64>;
    /// What is kept of an account's.
    fn usage(&self, account: &Account) -> Read<UsageRecord>;
    /// How much it may keep; none where nobody set it.
    fn quota(&self, account: &Account) -> Read<Option<QuotaRecord>>;
    /// Accounts that have a quota, or of which something is kept: namespaces by name, then users by id, after one of them.
    fn accounts(&self, after: Option<&Account>, limit: usize) -> Read<Vec<Account>>;
    /// A rule by which versions go.
    fn retention_rule(&self, name: &str) -> Read<Option<RetentionRuleRecord>>;
    /// All of them, by name; the registry bounds how many there are.
    fn retention_rules(&self) -> Read<Vec<RetentionRuleRecord>>;
    /// Deleted versions whose time to be restored ended before `until_ms`, the longest over first, each with its place in
    /// that order, to go on after. Those of deleted models are among them.
    fn deleted_versions(&self, after: Option<&[u8]>, until_ms: i64, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>>;
    /// Versions of all models, oldest model first, after one of them; deleted ones included.
    fn all_versions(&self, after: Option<VersionKey>, limit: usize) -> Read<Vec<VersionRecord>>;
}

/// Which models, in what order.
#[derive(Debug, Clone, Default)]
pub struct ModelQuery {
    /// Words that must all be in the name or the description, ignoring case; several between double quotes are one.
    pub text: Option<String>,
    /// Tags that must all be there.
    pub tags: Vec<(String, String)>,
    /// State of the row; without it all but deleted models.
    pub state: Option<common::api::State>,
    /// Format of the latest version.
    pub format: Option<String>,
    /// How many parameters the latest version has; those of unknown size fit no bounds.
    pub parameters: Option<Bounds>,
    /// Element types that the latest version must all have, ignoring case.
    pub dtypes: Vec<String>,
    /// What the inspection of the latest version came to.
    pub verdict: Option<String>,
    /// Models that have this alias.
    pub alias: Option<Alias>,
    /// Who published the latest version.
    pub uploader: Option<String>,
    /// Changed at or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Models of these names; none for all.
    pub names: Option<NamesWanted>,
    /// What they must not be.
    pub not: Vec<ModelUnlike>,
    /// What a version of theirs must have that is not deleted.
    pub features: Vec<Feature>,
    /// The order.
    pub sort: ModelSort,
    /// Go on after this key (from [`ModelPage::next`]).
    pub after: Option<Vec<u8>>,
    /// Walk from the end to the beginning: the rows are those before the key, or the last ones. They come in the order that
    /// was asked for all the same.
    pub backward: bool,
    /// At most so many rows.
    pub limit: usize,
}

/// Which names.
#[derive(Clone)]
pub struct NamesWanted {
    /// Whether a name is one of them.
    pub fits: Arc<dyn Fn(&ModelName) -> bool + Send + Sync>,
    /// What they begin with, folded, in the order of names and none within another; none where that can't be said. By name
    /// only what begins so is walked.
    pub within: Option<Vec<String>>,
}

/// Without the function, of which nothing can be said.
impl fmt::Debug for NamesWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamesWanted").field("within", &self.within).finish_non_exhaustive()
    }
}

/// What models are found by through their versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Feature(String);

impl Feature {
    /// Longest rule and licence, octets.
    pub const OCTETS_MAX: usize = 128;

    /// That a rule found something, or any of a family such as `pickle.*`; none for what is no rule's id.
    pub fn rule(text: &str) -> Option<Self> {
        let is_id = |text: &str| {
            (1..=Self::OCTETS_MAX).contains(&text.len())
                && text.bytes().all(|octet| {
                    octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'_' | b'-')
                })
        };
        is_id(text.strip_suffix(".*").unwrap_or(text)).then(|| Self(format!("r{text}")))
    }

    /// A licence, in any case; none for what is too long to be the name of one, or has a control character in it.
    pub fn licence(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let is_name = (1..=Self::OCTETS_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        is_name.then(|| Self(format!("l{text}")))
    }

    /// As the view knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a model must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelUnlike {
    /// With this tag.
    Tag(String, String),
    /// In this state, as rows show it.
    State(common::api::State),
    /// With a latest version of this format.
    Format(String),
    /// With a latest version whose inspection came to this.
    Verdict(String),
    /// With this alias.
    Alias(Alias),
    /// With a latest version that this user published.
    Uploader(String),
}

/// Both ends count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { least: 0, most: u64::MAX }
    }
}

impl Bounds {
    /// What fits both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { least: self.least.max(other.least), most: self.most.min(other.most) }
    }

    /// Whether a number fits.
    #[must_use]
    pub fn fit(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

/// Orders of the list of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModelSort {
    /// By name, ignoring case.
    #[default]
    NameUp,
    /// By name, backwards.
    NameDown,
    /// Least recently changed first.
    UpdatedUp,
    /// Most recently changed first.
    UpdatedDown,
    /// Oldest first.
    CreatedUp,
    /// Newest first.
    CreatedDown,
}

/// A page of models.
#[derive(Debug, Clone)]
pub struct ModelPage {
    /// The rows.
    pub models: Vec<ModelRecord>,
    /// Where the walk goes on; none at its end. A page may be short (even empty) and yet have a next one, where the
    /// scan's limit was reached.
    pub next: Option<Vec<u8>>,
    /// The keys of the first and the last row; none of no rows.
    pub ends: Option<(Vec<u8>, Vec<u8>)>,
    /// How many models match in all, where that can be told within the scan's limit; only on the first page.
    pub total: Option<u64>,
}

/// Reads of the audit log. Indices at or beyond [`Entries::size`] don't exist.
pub trait Entries {
    /// Entries there are.
    fn size(&self) -> u64;
    /// The exact octets of a leaf.
    fn leaf(&self, index: u64) -> Read<Option<Vec<u8>>>;
    /// Entries by query, newest first.
    fn entries(&self, query: &EntryQuery) -> Read<EntryPage>;
    /// The exact octets of consecutive leaves, in order. Ends after the leaf with which `octets_max` is reached, so that
    /// a range of any length is read in pieces of bounded memory; at least one leaf, unless the range is empty.
    fn leaves(&self, range: Range<u64>, octets_max: usize) -> Read<Vec<Vec<u8>>>;
    /// Consecutive nodes of a binary level of the tree: level 0 are the leaf hashes, level k the roots of complete
    /// subtrees of 2^k leaves. All must be complete within [`Entries::size`].
    fn nodes(&self, level: u8, range: Range<u64>) -> Read<Vec<Hash>>;
    /// The inclusion proof of a leaf in the tree of the first `size` leaves (RFC 6962 §2.1.1); `index < size`, and `size`
    /// not above [`Entries::size`].
    fn inclusion(&self, index: u64, size: u64) -> Read<Vec<Hash>>;
    /// The proof that the tree of the first `new` leaves begins with that of the first `old` (RFC 6962 §2.1.2);
    /// `1 <= old <= new`, and `new` not above [`Entries::size`].
    fn consistency(&self, old: u64, new: u64) -> Read<Vec<Hash>>;
    /// The receipt of an entry against a checkpoint that covers it.
    fn receipt(&self, index: u64, checkpoint: &PublishedCheckpoint) -> Read<Receipt>;
    /// The index of the last entry at or before a time; none if the log begins later.
    fn last_index_at(&self, at_ms: i64) -> Read<Option<u64>>;
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct EntryQuery {
    /// Only indices above.
    pub after: Option<u64>,
    /// Only indices below.
    pub before: Option<u64>,
    /// Actor's name or id.
    pub actor: Option<String>,
    /// Action, or a prefix of it that ends in `.*`.
    pub action: Option<String>,
    /// Target's id.
    pub target: Option<String>,
    /// Outcome.
    pub outcome: Option<Outcome>,
    /// Client address as it was logged.
    pub ip: Option<String>,
    /// At or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Before or at, milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// What they must not be.
    pub not: Vec<EntryUnlike>,
    /// At most so many.
    pub limit: usize,
}

/// What an entry must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryUnlike {
    /// By an actor of this name or id.
    Actor(String),
    /// Of this action, or of those that begin with what stands before `.*`.
    Action(String),
    /// About the target of this id.
    Target(String),
    /// With this outcome.
    Outcome(Outcome),
    /// From this client address.
    Ip(String),
}

/// A page of entries, newest first.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// Index, exact leaf, leaf hash.
    pub entries: Vec<FoundEntry>,
    /// Give it as `before` for the next page; none at the end. A page may be short and yet have a next one, where the
    /// scan's limit was reached.
    pub next_before: Option<u64>,
    /// How many entries match in all, where that is known without reading them.
    pub total: Option<u64>,
}

/// An entry that was found.
#[derive(Debug, Clone)]
pub struct FoundEntry {
    /// Its index.
    pub index: u64,
    /// The exact octets of its leaf.
    pub leaf: Vec<u8>,
    /// The RFC 6962 hash of them.
    pub leaf_hash: Hash,
}
