//! What is stored: one struct per record, and [`Write`], the closed enum of all that may change state. These are the
//! journal's and the view's shapes, not the wire's. A shape that a release has written never changes: a new field is a
//! new version in `store/codec.rs`, and the shape before it is kept in `records/v1.rs`.

pub(super) mod v1;

use std::collections::BTreeMap;

use common::api::quota::{QuotaKind, QuotaLimits, QuotaUsage};
use common::api::retention::RetentionAction;
use common::api::{Origin, State};
use common::digest::Digest;
use common::grant::{Effect, Grant};
use common::name::{Alias, ArtifactPath, HookId, ItemId, ModelId, ModelName, UserName, Version};
use common::pattern::NamePattern;
use common::role::Role;
use common::token::TokenId;
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Stable id, `usr_` and a ULID; never reused.
    pub id: String,
    /// The name, unique at any time.
    pub name: UserName,
    /// The role.
    pub role: Role,
    /// argon2id in PHC string form, or [`NO_PASSWORD`].
    pub password_hash: String,
    /// Whether sign-in and tokens are refused.
    pub disabled: bool,
    /// Whether the password must be changed before anything else.
    pub must_change_password: bool,
    /// Counts what ends all tokens: role, state and password changes, revocations. A token of another epoch is void.
    pub epoch: u64,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the epoch.
    pub updated_at_ms: i64,
    /// Milliseconds since the epoch.
    pub last_login_at_ms: Option<i64>,
    /// Index of the entry that last changed it; its entity tag.
    pub revision: u64,
}

/// What a service account has in the place of a password's hash. No password has it for its hash: it is no PHC string.
pub const NO_PASSWORD: &str = "!service";

impl UserRecord {
    /// Whether it is a service account: it has no password, and can't sign in.
    pub fn is_service(&self) -> bool {
        self.password_hash == NO_PASSWORD
    }
}

/// An API token. Of its secrets only hashes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenRecord {
    /// Its id; never reused.
    pub id: TokenId,
    /// Whose it is, by stable id.
    pub user_id: String,
    /// What it is for; unique among its user's.
    pub label: String,
    /// What is accepted, the newest first: one secret, or two while an old one is let run out.
    pub secrets: Vec<TokenSecretRecord>,
    /// Wire names of what it allows at most; none for all that its user may, but for managing users. A name that isn't known
    /// allows nothing.
    pub permissions: Option<Vec<String>>,
    /// On models whose names fit one of these; none for all.
    pub names: Option<Vec<NamePattern>>,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// By whom, by name.
    pub created_by: String,
    /// Milliseconds since the epoch; none: it never ends.
    pub expires_at_ms: Option<i64>,
    /// When it was last used, as far as that was written down, milliseconds since the epoch.
    pub last_used_at_ms: Option<i64>,
    /// Index of the entry that last changed it; its entity tag.
    pub revision: u64,
}

/// One secret of an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecretRecord {
    /// SHA-256 of the token's whole text.
    pub hash: [u8; 32],
    /// Index of the entry that made it.
    pub index: u64,
    /// When, milliseconds since the epoch.
    pub made_at_ms: i64,
    /// Until when it is accepted, milliseconds since the epoch; none: as long as the token is.
    pub until_ms: Option<i64>,
}

/// A signed-in session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Random id, the token's `sid`.
    pub sid: String,
    /// Whose it is.
    pub user_id: String,
    /// The user's epoch at sign-in.
    pub epoch: u64,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the epoch; no token of it is accepted after.
    pub expires_at_ms: i64,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Stable id.
    pub id: ModelId,
    /// Unique name.
    pub name: ModelName,
    /// What it is for.
    pub description: String,
    /// Key to value.
    pub tags: BTreeMap<String, String>,
    /// The owner's name.
    pub owner: String,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the epoch; versions included.
    pub updated_at_ms: i64,
    /// The highest number ever given to a version; numbers are never reused.
    pub last_number: u32,
    /// Versions that are not deleted.
    pub live_versions: u32,
    /// The newest version that is not deleted.
    pub latest: Option<LatestRecord>,
    /// Aliases and what they point to.
    pub aliases: BTreeMap<Alias, AliasRecord>,
    /// Set while it is deleted.
    pub deleted: Option<DeletionRecord>,
    /// A tombstone: its versions and bytes are gone for good, its name is free.
    pub purged: bool,
    /// Index of the entry that last changed it or a version of it; its entity tag.
    pub revision: u64,
}

/// What lists show of the latest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestRecord {
    /// Its number.
    pub version: Version,
    /// Its state.
    pub state: State,
    /// Its format, card and configuration left out; `mixed` where its files differ.
    pub format: String,
    /// Octets of all its files.
    pub size: u64,
    /// Who published it.
    pub uploader: String,
    /// What its inspection came to; none where it was never inspected.
    pub verdict: Option<String>,
    /// Elements of all its tensors, where it has any that can be counted.
    pub parameters: Option<u64>,
    /// Its element types, the one with the largest share first.
    pub dtypes: Vec<String>,
}

/// Where an alias points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// The version.
    pub version: Version,
    /// Since when, milliseconds since the epoch.
    pub set_at_ms: i64,
    /// By whom.
    pub set_by: String,
    /// Index of the entry that set it.
    pub index: u64,
}

/// A deletion that can still be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionRecord {
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Until when it can be undone, milliseconds since the epoch.
    pub restorable_until_ms: i64,
    /// By whom.
    pub by: String,
    /// The state to go back to (versions).
    pub state_before: State,
}

/// A version: an immutable manifest, and a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Its model.
    pub model: ModelId,
    /// Its number.
    pub version: Version,
    /// Its state; `Deleted` exactly while `deleted` is set.
    pub state: State,
    /// Why it is in that state, where somebody gave a reason.
    pub state_reason: Option<String>,
    /// Since when it is in that state, milliseconds since the epoch. A deletion that is taken back doesn't count.
    pub state_at_ms: i64,
    /// Whether it is held because of what inspection found in it, and for nothing else.
    pub held_by_inspection: bool,
    /// What the uploader said.
    pub description: String,
    /// Its files, in the order of their paths.
    pub artifacts: Vec<ArtifactRecord>,
    /// Facts, each with its origin.
    pub metadata: BTreeMap<String, MetadatumRecord>,
    /// What inspection found, the gravest first.
    pub findings: Vec<FindingRecord>,
    /// What those findings rest on; none where it was published before there were rulesets.
    pub inspection: Option<InspectionRecord>,
    /// What somebody last decided over them.
    pub review: Option<ReviewRecord>,
    /// `api`, `drop`, `mlflow` or `hf`.
    pub source: String,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Who published it, by name.
    pub created_by: String,
    /// Who published it, by stable id.
    pub created_by_id: String,
    /// Index of the entry of its publication.
    pub index: u64,
    /// Set while it is deleted.
    pub deleted: Option<DeletionRecord>,
    /// Index of the entry that last changed it; its entity tag.
    pub revision: u64,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Its path within the version.
    pub path: ArtifactPath,
    /// Octets.
    pub size: u64,
    /// SHA-256 of them.
    pub digest: Digest,
    /// Wire name of its format.
    pub format: String,
    /// What its inspection came to; none where it was never inspected.
    pub verdict: Option<String>,
}

/// The last inspection of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectionRecord {
    /// Id of the set of rules it was done with.
    pub ruleset: String,
    /// `clean`, `suspicious`, `unscannable` or `malicious`.
    pub verdict: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// How many findings there were; not all may be kept.
    pub findings_total: u64,
    /// The policy that was asked what to do about them.
    pub policy: String,
}

/// What somebody decided over a version's findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRecord {
    /// The decision.
    pub decision: ReviewDecision,
    /// By whom.
    pub by: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of its entry.
    pub index: u64,
    /// The reason that was given.
    pub reason: String,
    /// The rules that had found something then, each with the gravest level.
    pub over: Vec<RuleRecord>,
}

/// What somebody noted of a version while it was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewNoteRecord {
    /// The text.
    pub text: String,
    /// By whom.
    pub by: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of its entry.
    pub index: u64,
}

/// That somebody would release a version, where that takes more than one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// Stable id of who did.
    pub by_id: String,
    /// Their name.
    pub by: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of its entry.
    pub index: u64,
    /// The reason that was given.
    pub reason: String,
    /// Since when the version was held then, milliseconds since the epoch.
    pub held_at_ms: i64,
    /// What had found something then.
    pub over: Vec<RuleRecord>,
}

/// How what somebody published stands: versions that are not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SenderRecord {
    /// Handed out.
    pub available: u64,
    /// Held, and waiting for a decision.
    pub held: u64,
    /// Blocked for good.
    pub blocked: u64,
}

/// A decision of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReviewDecision {
    /// Handed out in spite of its findings.
    Released,
    /// Never to be handed out.
    Blocked,
}

/// A rule that found something, and how grave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// Its id.
    pub rule: String,
    /// The gravest level it was found at.
    pub level: String,
}

/// The set of rules that inspections are done with since an entry, and what is done about what they find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetRecord {
    /// Its id.
    pub id: String,
    /// The policies, as the setting writes them.
    pub policies: String,
    /// Since when, milliseconds since the epoch.
    pub at_ms: i64,
}

/// A metadata field; the value is JSON text, for stored types hold no untyped values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadatumRecord {
    /// JSON text.
    pub json: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A finding of inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// The rule's id.
    pub rule: String,
    /// `note`, `suspicious`, `unscannable` or `malicious`.
    pub level: String,
    /// Container path and offset.
    pub place: String,
    /// A sentence on it.
    pub detail: String,
}

/// What is known of a blob that versions point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Octets.
    pub size: u64,
    /// How many artifacts of versions that are not purged point to it; never 0 in a stored record.
    pub refs: u64,
}

/// One step of an alias's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasEventRecord {
    /// The version it was set to; none where it was cleared.
    pub version: Option<Version>,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    /// Index of the entry.
    pub index: u64,
}

/// The first answer to an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
    /// Index of the entry.
    pub index: u64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The answer without its receipt, as JSON text.
    pub answer: String,
}

/// The log's name and its keys, as they are after the entry that carries this. A log of which nothing else is stored has
/// those of its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogKeysRecord {
    /// The log's name; the name of each key that signs.
    pub origin: String,
    /// How many names it has had: 1 at first. The second is `<first>/2`.
    pub generation: u32,
    /// The key that signs.
    pub current: LogKeyRecord,
    /// The key before it, while checkpoints carry both signatures.
    pub leaving: Option<LeavingKeyRecord>,
    /// Keys that sign no more, oldest first. Their secret halves are destroyed.
    pub retired: Vec<RetiredKeyRecord>,
    /// Names under which nothing is signed any more, oldest first.
    pub ended: Vec<EndedOriginRecord>,
}

/// A key that signs the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogKeyRecord {
    /// Its public half, as verifiers are configured with it.
    pub vkey: String,
    /// Index of the entry that brought it; checkpoints that cover this entry carry its signature.
    pub from: u64,
}

/// A key that signs for a while longer, beside the one that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingKeyRecord {
    /// The key.
    pub key: LogKeyRecord,
    /// Until when, milliseconds since the epoch.
    pub until_ms: i64,
}

/// A key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredKeyRecord {
    /// Its public half.
    pub vkey: String,
    /// Index of the entry that retired it; checkpoints that cover this entry don't carry its signature.
    pub to: u64,
}

/// A name the log had, and the last that holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedOriginRecord {
    /// The name.
    pub origin: String,
    /// The last head under that name that is part of this log.
    pub kept: HeadRecord,
    /// Heads that were signed and are not part of this log: what a rollback lost.
    pub lost: Vec<HeadRecord>,
}

/// Size and root of the log at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRecord {
    /// The name it was signed under.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// RFC 6962 root.
    pub root: [u8; 32],
}

/// Totals, kept so that nothing is counted by reading it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Models that are neither deleted nor purged.
    pub models: u64,
    /// Versions that are not deleted, of models that are not.
    pub versions: u64,
    /// Users.
    pub users: u64,
    /// Admins that can sign in: not disabled, and no service accounts.
    pub enabled_admins: u64,
    /// Blobs that something points to.
    pub blobs: u64,
    /// Their octets.
    pub blob_bytes: u64,
}

/// All that may change state. A change is a list of these; what depends on them (indices, counters) is derived by the
/// store when it applies them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Creates or replaces a user.
    PutUser(UserRecord),
    /// Removes a user; sessions and API tokens are removed by writes of their own.
    DeleteUser {
        /// The name.
        name: UserName,
    },
    /// Creates a session.
    PutSession(SessionRecord),
    /// Ends a session.
    DeleteSession {
        /// The session's id.
        sid: String,
    },
    /// Creates or replaces a model.
    PutModel(ModelRecord),
    /// Creates or replaces a version.
    PutVersion(VersionRecord),
    /// Removes a version for good.
    DeleteVersion {
        /// The model.
        model: ModelId,
        /// The number.
        version: Version,
    },
    /// Adds a step to an alias's history.
    AppendAliasEvent {
        /// The model.
        model: ModelId,
        /// The alias.
        alias: Alias,
        /// The step.
        event: AliasEventRecord,
    },
    /// Sets how often a blob is pointed to; 0 removes its record.
    SetBlob {
        /// Which.
        digest: Digest,
        /// Octets.
        size: u64,
        /// Artifacts that point to it.
        refs: u64,
    },
    /// Remembers the answer to an idempotency key.
    PutIdempotency {
        /// SHA-256 of actor and key.
        key: [u8; 32],
        /// The answer.
        record: IdempotencyRecord,
    },
    /// Replaces the log's name and keys. The store signs with the keys it names from the same checkpoint on.
    PutLogKeys(LogKeysRecord),
    /// Remembers which rules inspections are done with.
    PutRuleset(RulesetRecord),
    /// These versions were inspected anew, by the entry's time, and nothing else of their records changed.
    RenewInspections {
        /// Id of the set of rules.
        ruleset: String,
        /// The versions. Those that are gone or were never inspected are passed over.
        versions: Vec<(ModelId, Version)>,
    },
    /// Remembers what is wrong with a blob's stored octets; forgotten with the blob's record.
    PutDamage {
        /// Which.
        digest: Digest,
        /// What is wrong.
        damage: DamageRecord,
    },
    /// Forgets it: the blob is sound again.
    DeleteDamage {
        /// Which.
        digest: Digest,
    },
    /// Remembers what became of an item of the drop folder.
    PutIngest(IngestRecord),
    /// Forgets it: the item has left `processing/` for good.
    DeleteIngest {
        /// Which.
        item: ItemId,
    },
    /// Remembers whether the drop folder takes anything in.
    PutIntake(IntakeRecord),
    /// Adds a note of a review; it goes with its version.
    AppendReviewNote {
        /// The model.
        model: ModelId,
        /// The number.
        version: Version,
        /// The note.
        note: ReviewNoteRecord,
    },
    /// Replaces who would release a version; none forgets them.
    PutApprovals {
        /// The model.
        model: ModelId,
        /// The number.
        version: Version,
        /// Who would, oldest first.
        approvals: Vec<ApprovalRecord>,
    },
    /// Creates or replaces an API token.
    PutApiToken(ApiTokenRecord),
    /// Ends an API token.
    DeleteApiToken {
        /// Which.
        id: TokenId,
    },
    /// Remembers when API tokens were last used, milliseconds since the epoch. Those that are gone are passed over, and no
    /// time goes back.
    UseApiTokens(Vec<(TokenId, i64)>),
    /// Creates or replaces a webhook.
    PutWebhook(WebhookRecord),
    /// Removes a webhook, and how far it had come.
    DeleteWebhook {
        /// Which.
        hook: HookId,
    },
    /// Remembers how far webhooks have come. Those that are gone are passed over.
    PutWebhookProgress(Vec<WebhookProgressRecord>),
    /// Replaces what a user may do with models by their names; none forgets it.
    PutGrants {
        /// The user's stable id.
        user: String,
        /// All of it.
        grants: Vec<GrantRecord>,
    },
    /// Sets how much somebody may keep.
    PutQuota(QuotaRecord),
    /// Takes that back: the defaults hold again.
    DeleteQuota(Account),
    /// Creates or replaces a rule by which versions go.
    PutRetentionRule(RetentionRuleRecord),
    /// Removes one.
    DeleteRetentionRule {
        /// Its name.
        name: String,
    },
    /// Creates or replaces a user's second factor.
    PutSecondFactor(SecondFactorRecord),
    /// Removes it.
    DeleteSecondFactor {
        /// The user's stable id.
        user: String,
    },
}

/// A user's second factor. Its secret is no part of it: it follows from the key of second factors, the user and the
/// generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorRecord {
    /// The user's stable id.
    pub user: String,
    /// Which of the user's secrets: the index of the entry that made it, so that none comes twice.
    pub generation: u64,
    /// The id of the key that the secret is made with.
    pub key: [u8; 8],
    /// Whether the user has shown a code: only then is one asked for.
    pub confirmed: bool,
    /// The time step of the last code that was taken: it and those before it are not taken any more.
    pub last_step: u64,
    /// Hashes of the recovery codes that were not used.
    pub recovery: Vec<[u8; 32]>,
    /// When the secret was made, milliseconds since the epoch.
    pub made_at_ms: i64,
    /// Index of the entry that last changed it.
    pub revision: u64,
}

/// A webhook: what is sent to whom. Its secret is no part of it: it follows from the key of webhooks, the id and the
/// generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Its id.
    pub id: HookId,
    /// Where events are posted.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Patterns of actions.
    pub actions: Vec<String>,
    /// Patterns of names of models; none: whatever entries are about.
    pub models: Vec<NamePattern>,
    /// Outcomes, by their words.
    pub outcomes: Vec<String>,
    /// Set while it is not delivered to.
    pub disabled: Option<WebhookDisabledRecord>,
    /// The secret that signs.
    pub secret: WebhookSecretRecord,
    /// The secret before it, and until when it signs, too, milliseconds since the epoch.
    pub previous: Option<(WebhookSecretRecord, i64)>,
    /// Counts how often it was said where to go on: what is known of another course says nothing.
    pub course: u32,
    /// Index of the entry that this course begins with.
    pub from: u64,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// By whom.
    pub created_by: String,
    /// Milliseconds since the epoch.
    pub updated_at_ms: i64,
    /// Index of the entry that last changed it; its entity tag.
    pub revision: u64,
}

/// Which secret of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSecretRecord {
    /// The how manieth of this webhook, from 1.
    pub generation: u32,
    /// Tells the keys apart that secrets are made with, and nothing about them.
    pub key: [u8; 8],
}

/// That a webhook is not delivered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDisabledRecord {
    /// Why, where the daemon did it; none where somebody did.
    pub because: Option<String>,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
}

/// How far a webhook has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookProgressRecord {
    /// Which.
    pub hook: HookId,
    /// On which course.
    pub course: u32,
    /// Index of the entry that is looked at next.
    pub next: u64,
}

/// What a user may do with models whose names fit a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Which names.
    pub pattern: NamePattern,
    /// What holds there.
    pub effect: GrantEffect,
}

/// What a grant does where it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantEffect {
    /// What a role may do with models.
    Role(Role),
    /// The user's own role counts for nothing.
    NoRole,
    /// Nothing may be done.
    Deny,
}

impl From<GrantRecord> for Grant {
    fn from(record: GrantRecord) -> Self {
        let effect = match record.effect {
            GrantEffect::Role(role) => Effect::Role(role),
            GrantEffect::NoRole => Effect::NoRole,
            GrantEffect::Deny => Effect::Deny,
        };
        Self { pattern: record.pattern, effect }
    }
}

impl From<Grant> for GrantRecord {
    fn from(grant: Grant) -> Self {
        let effect = match grant.effect {
            Effect::Role(role) => GrantEffect::Role(role),
            Effect::NoRole => GrantEffect::NoRole,
            Effect::Deny => GrantEffect::Deny,
        };
        Self { pattern: grant.pattern, effect }
    }
}

/// Who or what a quota is of, and what is kept is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Account {
    /// A user, by stable id: what was published by it.
    User(String),
    /// A namespace, in lower case; empty for models whose names have no slash.
    Namespace(String),
}

impl Account {
    /// The namespace of a model's name.
    pub fn of_model(name: &ModelName) -> Self {
        Self::Namespace(name.namespace())
    }

    /// What it is.
    pub fn kind(&self) -> QuotaKind {
        match self {
            Self::User(_) => QuotaKind::User,
            Self::Namespace(_) => QuotaKind::Namespace,
        }
    }

    /// The user's id, or the namespace.
    pub fn key(&self) -> &str {
        match self {
            Self::User(key) | Self::Namespace(key) => key,
        }
    }

    /// From both.
    pub fn new(kind: QuotaKind, key: String) -> Self {
        match kind {
            QuotaKind::User => Self::User(key),
            QuotaKind::Namespace => Self::Namespace(key),
        }
    }
}

/// How much somebody may keep, where that is not left to the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRecord {
    /// Who.
    pub account: Account,
    /// Octets; none: no limit.
    pub bytes: Option<u64>,
    /// Versions; none: no limit.
    pub versions: Option<u64>,
    /// Models; none: no limit.
    pub models: Option<u64>,
    /// Who set it, by name.
    pub by: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of the entry.
    pub index: u64,
}

impl QuotaRecord {
    /// The limits.
    pub fn limits(&self) -> QuotaLimits {
        QuotaLimits { bytes: self.bytes, versions: self.versions, models: self.models }
    }
}

/// What is kept of somebody's, deleted versions included as long as they are not purged. Files that several versions share
/// count for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Octets.
    pub bytes: u64,
    /// Versions.
    pub versions: u64,
    /// Models; of namespaces only.
    pub models: u64,
}

impl UsageRecord {
    /// With another's added.
    pub fn plus(self, more: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more.bytes),
            versions: self.versions.saturating_add(more.versions),
            models: self.models.saturating_add(more.models),
        }
    }

    /// With another's taken away.
    pub fn minus(self, less: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(less.bytes),
            versions: self.versions.saturating_sub(less.versions),
            models: self.models.saturating_sub(less.models),
        }
    }

    /// As it is shown.
    pub fn shown(self) -> QuotaUsage {
        QuotaUsage { bytes: self.bytes, versions: self.versions, models: self.models }
    }
}

impl VersionRecord {
    /// Octets of all its files.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().fold(0, |sum, artifact| sum.saturating_add(artifact.size))
    }
}

/// A rule by which versions go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRuleRecord {
    /// Its name.
    pub name: String,
    /// What it says.
    pub rule: RuleSpec,
    /// Who set it last, by name.
    pub set_by: String,
    /// When, milliseconds since the epoch.
    pub set_at_ms: i64,
    /// Before this the clock does nothing about it, milliseconds since the epoch.
    pub first_run_at_ms: i64,
    /// Since when somebody waits for a run on demand, milliseconds since the epoch.
    pub requested_at_ms: Option<i64>,
    /// The last run that came to its end.
    pub last_run: Option<RunRecord>,
    /// Index of the entry that last set it; its entity tag.
    pub revision: u64,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// Which models.
    pub pattern: NamePattern,
    /// Whether what is selected is purged instead of deleted.
    pub purges: bool,
    /// The newest so many stay.
    pub keep_newest: Option<u32>,
    /// Only what is older.
    pub older_than_days: Option<u32>,
    /// Only these states; empty: any.
    pub states: Vec<State>,
    /// Models with one of these tags are left alone.
    pub protect_tags: Vec<(String, String)>,
    /// Whether it is carried out by the clock.
    pub enabled: bool,
}

impl RuleSpec {
    /// What is done to what it selects.
    pub fn action(&self) -> RetentionAction {
        if self.purges { RetentionAction::Purge } else { RetentionAction::Delete }
    }
}

/// What a run of a rule came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// When it began, milliseconds since the epoch.
    pub began_at_ms: i64,
    /// When it ended, milliseconds since the epoch.
    pub ended_at_ms: i64,
    /// Versions that went.
    pub versions: u64,
    /// Octets of their files.
    pub bytes: u64,
    /// Whether nothing was left over.
    pub complete: bool,
    /// Whether somebody asked for it.
    pub on_demand: bool,
}

/// What became of an item of the drop folder, in one commit with that. While it is there, the item may still lie in
/// `processing/`, and is not to be taken in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestRecord {
    /// The item.
    pub item: ItemId,
    /// Its path below the drop folder, as far as it is text.
    pub path: String,
    /// Device of the file or folder.
    pub device: u64,
    /// Inode of it.
    pub inode: u64,
    /// The user it belonged to.
    pub owner_uid: u32,
    /// SHA-256 of it, where it is one file that was read.
    pub digest: Option<Digest>,
    /// Octets of its files.
    pub size: u64,
    /// What it came to.
    pub outcome: IngestOutcome,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of the entry.
    pub index: u64,
}

/// What an item came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngestOutcome {
    /// A version, new or there already.
    Published {
        /// Its model.
        model: ModelId,
        /// Its number.
        version: Version,
        /// Whether its bytes were there already.
        already_present: bool,
    },
    /// Refused for good.
    Rejected {
        /// Slug of the problem type.
        problem: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// Given up by hand.
    Discarded {
        /// By whom.
        by: String,
        /// The reason that was given.
        reason: String,
    },
}

/// Whether the drop folder takes anything in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntakeRecord {
    /// Whether it is paused.
    pub paused: bool,
    /// By whom it was last changed.
    pub by: String,
    /// The reason that was given.
    pub reason: String,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of the entry.
    pub index: u64,
}

/// What is wrong with a blob's stored octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageRecord {
    /// What kind of wrong.
    pub kind: DamageKind,
    /// A few words on it.
    pub detail: String,
    /// Whether versions are held back for it. One failed reading alone is no reason.
    pub held: bool,
    /// When it was found, milliseconds since the epoch.
    pub found_at_ms: i64,
    /// Index of the entry that says so.
    pub index: u64,
}

/// In what way stored octets are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DamageKind {
    /// There are none.
    Missing,
    /// They are too few or too many.
    Size,
    /// They are others.
    Content,
    /// They can't be read.
    Unreadable,
}

impl DamageKind {
    /// Its word in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::Content => "content",
            Self::Unreadable => "unreadable",
        }
    }
}
