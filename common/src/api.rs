//! Request and response bodies of the REST interface, one struct each (rest-api.md §2–§6). Times are RFC 3339 UTC with
//! `Z` and milliseconds, sizes octets, digests `sha256:<64 hex>`. Rules about values live in the daemon's registry.

mod tokens;

mod webhooks;

pub mod bulk;
pub mod gc;
pub mod quota;
pub mod retention;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use self::gc::GcStatus;
use self::retention::RetentionStatus;
use crate::audit::Receipt;
use crate::digest::Digest;
use crate::grant::{Grant, GrantBody, GrantTold};
use crate::known::Known;
use crate::name::{Alias, ArtifactPath, ModelId, ModelName, UploadId, UserName, Version};
use crate::role::{Permission, Role};

pub use self::tokens::{ApiToken, ApiTokenMade, ApiTokenState, MyApiToken, NewApiToken, RotateApiToken};

pub use self::webhooks::{
    NewWebhook, Webhook, WebhookAttempt, WebhookAttemptKind, WebhookChanged, WebhookPatch, WebhookReplay,
    WebhookRotate, WebhookSecret, WebhookState, WebhookTried, WebhooksStatus,
};

// ---- signing in -----------------------------------------------------------------------------------------------------

/// Body of `POST /login`, as JSON or as a form.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Login {
    /// The user's name.
    #[schema(max_length = 64)]
    pub username: String,
    /// The password, 12..1024 octets.
    #[schema(format = Password)]
    pub password: String,
    /// The present code of the user's authenticator, or a recovery code, where the user has a second factor. Blanks, dashes
    /// and case don't matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub otp: Option<String>,
}

/// Answer of `POST /login` and `POST /token/refresh`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The JWT to send as `Authorization: Bearer`.
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: String,
    /// Seconds until the token expires.
    pub expires_in: u64,
    /// The user's role.
    #[schema(value_type = Role)]
    pub role: Known<Role>,
    /// The user's name.
    pub username: UserName,
    /// Whether nothing but `POST /me/password` is allowed until the password is changed.
    pub must_change_password: bool,
    /// Whether nothing but setting up a second factor is allowed until there is one: `POST /me/totp`.
    #[serde(default)]
    pub must_enrol_totp: bool,
}

/// Answer of `GET /me`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Stable id, `usr_…`.
    pub id: String,
    /// The user's name.
    pub username: UserName,
    /// Whether it is a person or a program.
    #[serde(default)]
    #[schema(value_type = UserKind)]
    pub kind: Known<UserKind>,
    /// The role.
    #[schema(value_type = Role)]
    pub role: Known<Role>,
    /// What may be done with this token: what the role allows, as far as the token's scope goes; of what is about models, where no grant says otherwise.
    #[schema(value_type = Vec<Permission>)]
    pub permissions: Vec<Known<Permission>>,
    /// What may be done with models by their names, beside the role; what grants mean stands with `PATCH /users/{name}`.
    #[serde(default)]
    #[schema(value_type = Vec<GrantBody>)]
    pub grants: Vec<GrantTold>,
    /// Whether the password must be changed first.
    pub must_change_password: bool,
    /// Whether a second factor is asked for at a sign-in.
    #[serde(default)]
    pub totp: bool,
    /// Whether a second factor must be set up first: the registry demands one of this user.
    #[serde(default)]
    pub must_enrol_totp: bool,
    /// When this token expires; null for an API token that never does.
    pub token_expires_at: Option<String>,
    /// When the session ends for good; a refresh can't go past it. Null for an API token, which has none and can't be
    /// refreshed.
    pub session_expires_at: Option<String>,
    /// The API token, where it is one.
    #[serde(default)]
    pub api_token: Option<MyApiToken>,
    /// The aliases that only those with `alias.protected` may set, move and clear, of whatever model.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub protected_aliases: Vec<Alias>,
}

/// Body of `POST /me/password`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct OwnPassword {
    /// The current password.
    #[schema(format = Password)]
    pub old_password: String,
    /// The new one: 12..1024 octets, not common, not the user name.
    #[schema(format = Password, min_length = 12, max_length = 1024)]
    pub new_password: String,
}

/// Body of `POST /me/totp`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolTotp {
    /// The password, again.
    #[schema(format = Password)]
    pub password: String,
}

/// Answer of `POST /me/totp`: what an authenticator needs (RFC 6238: SHA-1, 6 digits, 30 s). It is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TotpSecret {
    /// The secret in base32, to be typed.
    pub secret: String,
    /// The same and all the rest as `otpauth://`, to be shown as a QR code.
    pub uri: String,
}

/// Body of `POST /me/totp/confirm`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTotp {
    /// The authenticator's present code.
    #[schema(max_length = 64)]
    pub code: String,
}

/// Answer of `POST /me/totp/confirm`. They are shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each is good for one sign-in without the authenticator.
    pub recovery_codes: Vec<String>,
}

/// Body of `POST /me/totp/disable`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableTotp {
    /// The password, again.
    #[schema(format = Password)]
    pub password: String,
    /// The authenticator's present code, or a recovery code.
    #[schema(max_length = 64)]
    pub code: String,
}

/// Body of `POST /users/{name}/password`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The new password. It must be changed at the next sign-in.
    #[schema(format = Password, min_length = 12, max_length = 1024)]
    pub password: String,
}

/// Body of `POST /register`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The new user's name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub username: String,
    /// The first password; a service account has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Password, min_length = 12, max_length = 1024)]
    pub password: Option<String>,
    /// The role; `viewer` if absent. Only an admin may ask for another.
    #[serde(default)]
    pub role: Option<Role>,
    /// `service` makes a service account, for a program: it can't sign in, and does what it does with API tokens that admins
    /// make for it. Only an admin may ask for one.
    #[serde(default)]
    pub kind: UserKind,
    /// Whether the password must be changed at the first sign-in, as one that somebody else has made and passed on.
    #[serde(default)]
    pub must_change_password: bool,
}

/// What stands behind a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UserKind {
    /// Somebody, who signs in with a password.
    #[default]
    Person,
    /// A program, which has no password and can't sign in: a service account.
    Service,
}

impl UserKind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

/// A user, as admins see it. Never with a password hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Stable id, `usr_…`.
    pub id: String,
    /// The name.
    pub username: UserName,
    /// Whether it is a person or a program.
    #[serde(default)]
    #[schema(value_type = UserKind)]
    pub kind: Known<UserKind>,
    /// The role.
    #[schema(value_type = Role)]
    pub role: Known<Role>,
    /// What the user may do with models by their names, beside the role; none where nothing was granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<GrantBody>)]
    pub grants: Vec<GrantTold>,
    /// A disabled user can't sign in, and no token of theirs is accepted.
    pub disabled: bool,
    /// Whether the password must be changed at the next sign-in.
    pub must_change_password: bool,
    /// Whether the user has a second factor.
    #[serde(default)]
    pub totp: bool,
    /// Live sessions.
    pub sessions: u32,
    /// API tokens that are not over.
    #[serde(default)]
    pub tokens: u32,
    /// When it was created.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
    /// The last sign-in, if any.
    pub last_login_at: Option<String>,
    /// Sign-ins that failed in the last quarter of an hour, wherever from, since the last one that didn't. Counted in memory:
    /// a restart forgets them.
    #[serde(default)]
    pub failed_logins: u32,
    /// Until when they may not sign in from somewhere because of that.
    #[serde(default)]
    pub locked_until: Option<String>,
}

/// Answer of `GET /users/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserInfo {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// Live sessions, the newest first, at most 50.
    #[serde(default)]
    pub live_sessions: Vec<SessionInfo>,
    /// Where the role comes from; none where that is further back in the log than is looked.
    #[serde(default)]
    pub role_given: Option<RoleGiven>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// Since when.
    pub since: String,
    /// When it ends at the latest.
    pub expires_at: String,
}

/// Who gave a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleGiven {
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
    /// Index of the audit entry.
    pub log_index: u64,
}

/// A [`User`] after a change, with the receipt of its entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserChanged {
    /// The user as it is now.
    #[serde(flatten)]
    pub user: User,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// Body of `PATCH /users/{name}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// The new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether the user is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The new grants, in place of those there are; an empty list takes them all away. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<GrantBody>>, max_items = 64)]
    pub grants: Option<Vec<Grant>>,
}

/// One row of `GET /roles`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoleInfo {
    /// The role.
    #[schema(value_type = Role)]
    pub role: Known<Role>,
    /// What it allows.
    #[schema(value_type = Vec<Permission>)]
    pub permissions: Vec<Known<Permission>>,
}

// ---- lists ----------------------------------------------------------------------------------------------------------

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many rows the whole list has; null where counting them would mean reading all of a large list.
    pub total: Option<u64>,
    /// Give it as `cursor` to get the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Give it as `before` to get the page before; null at the beginning, and of lists that are read onward only.
    #[serde(default)]
    pub prev_cursor: Option<String>,
}

// ---- models ---------------------------------------------------------------------------------------------------------

/// The state of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Handed out.
    Available,
    /// Held back until an admin releases it.
    Quarantined,
    /// Handed out, with a warning.
    Deprecated,
    /// Gone, restorable until a date.
    Deleted,
}

impl State {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Quarantined => "quarantined",
            Self::Deprecated => "deprecated",
            Self::Deleted => "deleted",
        }
    }
}

/// Where a metadata field comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Read from the bytes.
    Measured,
    /// Said by the uploader.
    Claimed,
    /// Signed.
    Attested,
}

impl Origin {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Claimed => "claimed",
            Self::Attested => "attested",
        }
    }
}

/// One metadata field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Metadatum {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    #[schema(value_type = Origin)]
    pub origin: Known<Origin>,
}

/// Something inspection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The rule's id, such as `pickle.present`.
    pub rule: String,
    /// `note`, `suspicious`, `unscannable` or `malicious`.
    pub level: String,
    /// Container path and offset, such as `m.pt/archive/data.pkl@57`.
    #[serde(rename = "where")]
    pub place: String,
    /// A sentence on it.
    pub detail: String,
    /// What it means that this rule found something; none of rules that are no longer known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// The last inspection of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InspectionInfo {
    /// `clean`, `suspicious`, `unscannable` or `malicious`.
    pub verdict: String,
    /// Id of the set of rules it was done with; `GET /scan/rules` has those of now.
    pub ruleset: String,
    /// When.
    pub at: String,
    /// Whether inspections are done with other rules now; then it will be repeated.
    pub stale: bool,
    /// How many findings there were; at most 200 are shown.
    pub findings_total: u64,
    /// The policy that was asked what to do about them.
    pub policy: String,
}

/// A decision of a person over what inspection found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Handed out in spite of it.
    Released,
    /// Never to be handed out.
    Blocked,
}

impl Decision {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Blocked => "blocked",
        }
    }
}

/// What a person last decided over a version's findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// The decision.
    #[schema(value_type = Decision)]
    pub decision: Known<Decision>,
    /// By whom.
    pub by: String,
    /// When.
    pub at: String,
    /// Index of its audit entry.
    pub log_index: u64,
    /// The reason that was given.
    pub reason: String,
    /// The rules that had found something then, each with its gravest level.
    pub over: BTreeMap<String, String>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its path within the version.
    pub path: ArtifactPath,
    /// Octets.
    pub size: u64,
    /// SHA-256 of its octets.
    pub digest: Digest,
    /// What its content is, such as `safetensors`; never taken from the name.
    pub format: String,
    /// What its inspection came to; none where it was never inspected.
    #[serde(default)]
    pub verdict: Option<String>,
}

/// A version as `GET` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The model's id.
    pub id: ModelId,
    /// The model's name.
    pub name: ModelName,
    /// The number.
    pub version: Version,
    /// Its state.
    #[schema(value_type = State)]
    pub state: Known<State>,
    /// Why it is in that state, where somebody gave a reason.
    pub state_reason: Option<String>,
    /// Since when it is in that state.
    #[serde(default)]
    pub state_at: Option<String>,
    /// What the uploader said about it.
    pub description: String,
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// Facts about it, each with its origin.
    pub metadata: BTreeMap<String, Metadatum>,
    /// What inspection found, the gravest first; lists show five at most.
    pub findings: Vec<Finding>,
    /// What the findings rest on; none where it was published before that was kept and not inspected since.
    #[serde(default)]
    pub inspection: Option<InspectionInfo>,
    /// What a person last decided over them.
    #[serde(default)]
    pub review: Option<Review>,
    /// Whether it is held for what inspection found, and nothing is found any more: an admin may release it.
    #[serde(default)]
    pub cleared: bool,
    /// `api`, `drop`, `mlflow` or `hf`.
    pub source: String,
    /// Aliases that point here now.
    pub aliases: Vec<Alias>,
    /// When it was published.
    pub created_at: String,
    /// Who published it.
    pub created_by: String,
    /// Index of the audit entry of its publication.
    pub log_index: u64,
}

/// Answer of `GET /models/{id}/versions/{v}/card`: the model card, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Card {
    /// Path of the file it is.
    pub path: ArtifactPath,
    /// Octets of that file.
    pub size: u64,
    /// Whether the text is only its beginning.
    pub truncated: bool,
    /// The text, fit for a terminal: characters that steer one or deceive a reader are spelled out.
    pub text: String,
}

/// Answer to an upload (`POST /models`, `PUT /models/{name}/artifact`) and to changes of a version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// The version.
    #[serde(flatten)]
    pub version: VersionInfo,
    /// The file's path; only where the version has one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<ArtifactPath>,
    /// Its octets; only where the version has one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-256 as 64 hex digits; only where the version has one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its format; only where the version has one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whether the same bytes were the latest version already, so that nothing changed.
    pub already_present: bool,
    /// Notes for the uploader: findings that hold nothing back, values that were ignored.
    pub warnings: Vec<String>,
    /// Proof that the upload is in the audit log.
    pub receipt: Receipt,
}

/// An alias and the version it points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliasInfo {
    /// The alias.
    pub alias: Alias,
    /// The version it points to.
    pub version: Version,
    /// Since when.
    pub set_at: String,
    /// By whom.
    pub set_by: String,
    /// Index of the audit entry that set it.
    pub log_index: u64,
    /// Whether only admins may move it.
    pub protected: bool,
}

/// One step of an alias's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliasEvent {
    /// The version it was set to; null where it was cleared.
    pub version: Option<Version>,
    /// When.
    pub at: String,
    /// By whom.
    pub by: String,
    /// Index of the audit entry that recorded it.
    pub log_index: u64,
}

/// The step of an alias's history that held at an instant, proved.
///
/// Whoever may not read the log gets the entry's hash and no more: the hash and the proof are verified with the log's key
/// alone, and the receipt, should it ever be shown to them, must have that hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AsOf {
    /// The step.
    #[serde(flatten)]
    pub step: AliasEvent,
    /// RFC 6962 leaf hash of its entry, standard base64.
    pub leaf_hash: String,
    /// Inclusion proof of the entry and signed checkpoint, as C2SP tlog-proof v1 text.
    pub proof: String,
    /// The entry with its proof; for those who may read the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// Body of `PUT /models/{id}/aliases/{alias}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasSet {
    /// The version to point to.
    pub version: Version,
}

/// Answer to a change of an alias.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AliasChanged {
    /// The model's id.
    pub id: ModelId,
    /// The alias.
    pub alias: Alias,
    /// The version it points to now; null where it was cleared.
    pub version: Option<Version>,
    /// The version it pointed to before.
    pub previous: Option<Version>,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// A row of `GET /models`: a model with its latest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelRow {
    /// Stable id.
    pub id: ModelId,
    /// Unique name.
    pub name: ModelName,
    /// What it is for.
    pub description: String,
    /// Tags, key to value.
    pub tags: BTreeMap<String, String>,
    /// The owner's name.
    pub owner: String,
    /// Aliases.
    pub aliases: Vec<AliasInfo>,
    /// `deleted` for a deleted model, else the state of its latest version.
    #[schema(value_type = State)]
    pub state: Known<State>,
    /// Number of the latest version.
    pub latest_version: Option<Version>,
    /// Format of the latest version, its card and configuration left out; `mixed` where its files differ.
    pub format: Option<String>,
    /// Octets of the latest version, all files.
    pub size: Option<u64>,
    /// Who published the latest version.
    pub uploader: Option<String>,
    /// What inspection of the latest version came to.
    #[serde(default)]
    pub verdict: Option<String>,
    /// Elements of all tensors of the latest version, as measured.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Element types of the latest version, the one with the largest share first.
    #[serde(default)]
    pub dtypes: Vec<String>,
    /// How many versions are not deleted.
    pub versions: u32,
    /// When it was created.
    pub created_at: String,
    /// When it last changed, versions included.
    pub updated_at: String,
}

/// Answer of `GET /models/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelInfo {
    /// The model.
    #[serde(flatten)]
    pub model: ModelRow,
    /// Until when a deleted model can be restored.
    pub restorable_until: Option<String>,
    /// The newest versions, newest first, at most ten; `GET /models/{id}/versions` has all.
    pub newest_versions: Vec<VersionInfo>,
    /// The version that the reference selects (`name:3`, `name@alias`, else the latest).
    pub selected: Option<VersionInfo>,
    /// Where `as_of` was asked: the step that set the alias then, with the proof that the log says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
}

/// A model after a change, with the receipt of its entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ModelChanged {
    /// The model as it is now.
    #[serde(flatten)]
    pub model: ModelRow,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// Body of `PATCH /models/{id}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatch {
    /// The new description, at most 16 384 octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All tags anew: at most 64, keys of 64 octets, values of 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The new owner's user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Body of `PATCH /models/{id}/versions/{v}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionPatch {
    /// The new description, at most 16 384 octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Body of `POST …/release`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Why, 1..1000 characters, no control characters. It is kept in the audit log.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// Release it although it was blocked for good.
    #[serde(default)]
    pub override_block: bool,
}

/// Body of `POST …/quarantine`, `…/block`, `…/deprecate`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, 1..1000 characters, no control characters. It is kept in the audit log.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
}

/// A version after a change of its state or text, with the receipt of its entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionChanged {
    /// The version as it is now.
    #[serde(flatten)]
    pub version: VersionInfo,
    /// Proof that the change is in the audit log.
    pub receipt: Receipt,
}

/// Answer of `POST …/rescan`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rescanned {
    /// The version as it is now.
    #[serde(flatten)]
    pub version: VersionInfo,
    /// The verdict before.
    pub verdict_before: String,
    /// Whether verdict or findings are others than before.
    pub changed: bool,
    /// Proof that the inspection is in the audit log.
    pub receipt: Receipt,
}

/// A row of `GET /quarantine`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineItem {
    /// The model's id.
    pub id: ModelId,
    /// The model's name.
    pub name: ModelName,
    /// The version's number.
    pub version: Version,
    /// Why it is held.
    pub state_reason: Option<String>,
    /// Since when it is held.
    pub held_at: String,
    /// Seconds since.
    pub held_seconds: u64,
    /// What inspection came to; none where it was never inspected with rules that were kept.
    pub verdict: Option<String>,
    /// Whether inspection has nothing against it any more.
    pub cleared: bool,
    /// The gravest findings, at most five.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub findings_total: u64,
    /// What a person last decided.
    pub review: Option<Review>,
    /// How many would release it.
    #[serde(default)]
    pub approvals: u32,
    /// How many it takes.
    #[serde(default)]
    pub approvals_needed: u32,
    /// How many notes there are, up to 50.
    #[serde(default)]
    pub notes: u32,
    /// Format, card and configuration left out; `mixed` where its files differ.
    pub format: String,
    /// Octets of its files.
    pub size: u64,
    /// When it was published.
    pub created_at: String,
    /// Who published it.
    pub created_by: String,
}

/// What somebody noted of a version while it was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewNote {
    /// The text.
    pub text: String,
    /// By whom.
    pub by: String,
    /// When.
    pub at: String,
    /// Index of its audit entry.
    pub log_index: u64,
}

/// That somebody would release a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
    /// Index of its audit entry.
    pub log_index: u64,
    /// The reason that was given.
    pub reason: String,
}

/// How what somebody published stands: versions that are not deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SenderInfo {
    /// Who.
    pub name: String,
    /// Handed out.
    pub available: u64,
    /// Held, and waiting for a decision.
    pub held: u64,
    /// Blocked for good.
    pub blocked: u64,
}

/// Answer of `GET /models/{id}/versions/{v}/review`: what helps to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewInfo {
    /// What was noted, newest first, at most 50.
    pub notes: Vec<ReviewNote>,
    /// Who would release it as it is now.
    pub approvals: Vec<Approval>,
    /// How many it takes.
    pub approvals_needed: u32,
    /// Who published it, and how the rest of that stands.
    pub sender: SenderInfo,
}

/// Body of `POST /models/{id}/versions/{v}/notes`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// 1 to 1000 characters.
    pub text: String,
}

/// Answer of `POST /models/{id}/versions/{v}/notes`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NoteAdded {
    /// The note.
    #[serde(flatten)]
    pub note: ReviewNote,
    /// Proof that it is in the audit log.
    pub receipt: Receipt,
}

/// Answer of `GET /models/{id}/versions/{v}/excerpt`: octets of held content, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Excerpt {
    /// The file of the version.
    pub path: ArtifactPath,
    /// The path inside it, as the finding says it; empty for the file itself.
    pub inside: String,
    /// The octet that the finding is about; none where it is about the whole.
    pub offset: Option<u64>,
    /// The place of the first octet shown.
    pub from: u64,
    /// Octets there are at that path.
    pub size: u64,
    /// The octets in hexadecimal digits, 4096 at most.
    pub octets: String,
}

/// Answer of `GET /scan/rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanRules {
    /// Id of this set: another one means that other things are found.
    pub ruleset: String,
    /// All rules, by id.
    pub rules: Vec<ScanRule>,
    /// Globals that the operator allows besides those that are built in, as `module.name`.
    pub allowed_globals: Vec<String>,
    /// Modules below which the operator allows every class.
    pub allowed_prefixes: Vec<String>,
    /// What is done about findings.
    pub policy: String,
}

/// A rule of inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanRule {
    /// Its id.
    pub id: String,
    /// Its usual level: `note`, `suspicious`, `unscannable` or `malicious`.
    pub level: String,
    /// What it means that it found something.
    pub meaning: String,
}

/// Answer to the deletion of a model, a version or a user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// The id of what was deleted.
    pub id: String,
    /// The version's number, where one was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// `deleted` or `purged`.
    pub status: String,
    /// Until when it can be restored; null where it can't.
    pub restorable_until: Option<String>,
    /// Proof that the deletion is in the audit log.
    pub receipt: Receipt,
}

// ---- audit ----------------------------------------------------------------------------------------------------------

/// A row of `GET /audit-logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// The entry's place in the log, from 0.
    pub index: u64,
    /// The entry, as it was logged.
    pub entry: Value,
    /// RFC 6962 leaf hash, standard base64.
    pub leaf_hash: String,
}

/// Answer of `GET /audit-logs/{index}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The entry.
    #[serde(flatten)]
    pub row: AuditRow,
    /// Proof that it is in the audit log, against the newest checkpoint.
    pub receipt: Receipt,
}

/// Answer of `GET /audit-logs/position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPosition {
    /// The index of the first entry that is not before the time; `size` where all are before it.
    pub index: u64,
    /// How many entries the published log has.
    pub size: u64,
}

/// Body of `POST /audit-logs/acknowledge`: what a console found wrong with the log, and why somebody lets it go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeAlarm {
    /// Why, 1..1000 characters, no control characters.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// The kind of check that failed, such as `fork`.
    #[schema(pattern = "^[a-z][a-z_]{0,31}$")]
    pub kind: String,
    /// What was found, in the console's words: 1..1000 characters, no control characters.
    #[schema(min_length = 1, max_length = 1000)]
    pub what: String,
    /// From which entry on nothing could be relied on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub entry: Option<u64>,
    /// When it was found, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub found_at: Option<String>,
}

/// Answer of `POST /audit-logs/acknowledge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmAcknowledged {
    /// Proof that it is in the audit log.
    pub receipt: Receipt,
}

// ---- operations -----------------------------------------------------------------------------------------------------

/// Answer of `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildInfo {
    /// `mregd`.
    pub name: String,
    /// The version.
    pub version: String,
    /// Version of the journal's format.
    pub journal_format: u32,
    /// Id of the set of rules that files are inspected with.
    #[serde(default)]
    pub ruleset: String,
}

/// Answer of `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether requests are served.
    pub ready: bool,
    /// Each dependency by name.
    pub checks: BTreeMap<String, Check>,
}

/// One dependency's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// Answer of `GET /status`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Name and version.
    pub build: BuildInfo,
    /// When the daemon started.
    pub started_at: String,
    /// Seconds since.
    pub uptime_seconds: u64,
    /// The records.
    pub store: StoreStatus,
    /// The audit log.
    pub log: LogStatus,
    /// What outsiders say of the log; none where no witness is asked.
    #[serde(default)]
    pub witnesses: Option<WitnessesStatus>,
    /// The bytes.
    pub storage: StorageStatus,
    /// What is being served.
    pub requests: RequestStatus,
    /// Uploads under way.
    pub open_uploads: u64,
    /// Resumable uploads that are not over.
    #[serde(default)]
    pub resumable_uploads: ResumableStatus,
    /// The policy for what inspection finds.
    pub scan_policy: String,
    /// Inspecting anew what other rules were used for.
    #[serde(default)]
    pub rescan: RescanStatus,
    /// How the stored bytes are read again and compared with their digests.
    #[serde(default)]
    pub scrub: ScrubStatus,
    /// How full the quarantine is.
    #[serde(default)]
    pub quarantine: QuarantineStatus,
    /// Rules by which versions go.
    #[serde(default)]
    pub retention: RetentionStatus,
    /// How bytes that nothing needs are looked for.
    #[serde(default)]
    pub gc: GcStatus,
    /// When the registry was last backed up, and a backup last verified.
    #[serde(default)]
    pub backup: BackupStatus,
    /// The drop folder; none where there is none.
    #[serde(default)]
    pub ingest: Option<IntakeStatus>,
    /// The webhooks.
    #[serde(default)]
    pub webhooks: WebhooksStatus,
    /// The certificate; none where there is no TLS.
    #[serde(default)]
    pub tls: Option<TlsStatus>,
    /// The newest lines of the daemon's diagnostics, oldest first, at most 50; only for those who may read the audit log.
    #[serde(default)]
    pub diagnostics: Vec<LogLine>,
}

/// The certificate that is shown in TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TlsStatus {
    /// The hosts it is for.
    pub names: Vec<String>,
    /// From when on it is good.
    pub not_before: String,
    /// Until when it is good.
    pub not_after: String,
    /// Whole days until then; negative once it has expired.
    pub days_left: i64,
    /// Its key, as clients may pin it: `sha256:` and 64 hexadecimal digits.
    pub key: String,
    /// Why what is in its files now is not in use; none where it is.
    pub refused: Option<String>,
}

// ---- resumable uploads ----------------------------------------------------------------------------------------------

/// All resumable uploads together, as `GET /status` shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResumableStatus {
    /// How many are open: created, and neither published nor ended nor expired.
    pub open: u64,
    /// Octets they hold.
    pub bytes: u64,
    /// Octets they have announced and not yet sent.
    pub outstanding_bytes: u64,
    /// How many have expired since the daemon started.
    pub expired: u64,
}

/// A resumable upload of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadInfo {
    /// Its id: the last segment of its address, and the `upload_id` of `POST /models`.
    pub id: UploadId,
    /// The artifact's path, where `Upload-Metadata` has a `filename`.
    pub filename: Option<ArtifactPath>,
    /// The model it is for, where `Upload-Metadata` has a `model`.
    pub model: Option<ModelName>,
    /// Octets that are durable; where to go on.
    pub offset: u64,
    /// Octets of the whole; none as long as that is deferred.
    pub length: Option<u64>,
    /// When it was created.
    pub created_at: String,
    /// When it expires, unless something is appended before.
    pub expires_at: String,
}

/// A line of the daemon's diagnostics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    pub at: String,
    /// `error`, `warn` or `info`.
    pub level: String,
    /// What; at most 300 characters.
    pub text: String,
}

// ---- the drop folder ------------------------------------------------------------------------------------------------

/// Where an item of the drop folder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IngestState {
    /// It is there, and not yet known to be complete.
    Seen,
    /// Something has to happen first: it must become complete, a place or room must become free. `reason` says what.
    Waiting,
    /// It is read and hashed.
    Hashing,
    /// It is inspected.
    Scanning,
    /// Its bytes are made durable and its version is recorded.
    Storing,
    /// It is a version.
    Done,
    /// It is a version, and held in quarantine.
    Quarantined,
    /// It was refused, and lies in `rejected/` or where it was found; `problem` says why.
    Rejected,
    /// It could not be taken in for a reason that may pass; it is tried again at `next_try_at`, or by hand.
    Failed,
}

impl IngestState {
    /// Every state, in the order of an item's life.
    pub const ALL: [Self; 9] = [
        Self::Seen,
        Self::Waiting,
        Self::Hashing,
        Self::Scanning,
        Self::Storing,
        Self::Done,
        Self::Quarantined,
        Self::Rejected,
        Self::Failed,
    ];

    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Waiting => "waiting",
            Self::Hashing => "hashing",
            Self::Scanning => "scanning",
            Self::Storing => "storing",
            Self::Done => "done",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// What an item of the drop folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IngestKind {
    /// One file, one version.
    File,
    /// A folder: one version of several files.
    Folder,
    /// A sidecar whose file is not there.
    Sidecar,
    /// Neither a file nor a folder.
    Other,
}

impl IngestKind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Sidecar => "sidecar",
            Self::Other => "other",
        }
    }
}

/// An item of the drop folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngestItem {
    /// Its id; an item that was not yet taken gets another after a restart.
    #[schema(pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    pub id: String,
    /// Its path below the drop folder's `incoming/`; what is not UTF-8 is replaced.
    pub path: String,
    /// What it is.
    #[schema(value_type = IngestKind)]
    pub kind: Known<IngestKind>,
    /// Where it stands.
    #[schema(value_type = IngestState)]
    pub state: Known<IngestState>,
    /// What it waits for, or why it failed; none where the state says it all.
    pub reason: Option<String>,
    /// Octets of its files, as far as they are known.
    pub size: u64,
    /// How many files.
    pub files: u64,
    /// Octets read so far.
    pub bytes_done: u64,
    /// Octets read in a second, over the last seconds; none unless it is being read.
    pub bytes_per_second: Option<u64>,
    /// The user of the machine it belongs to.
    pub owner_uid: u32,
    /// Who acts for it; none while that is not known.
    pub by: Option<String>,
    /// When it was first seen.
    pub seen_at: String,
    /// Since when it is in its state.
    pub state_since: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it is tried before it waits for a person.
    pub attempts_max: u32,
    /// When it is tried again; none unless it failed, or where only a person can.
    pub next_try_at: Option<String>,
    /// The model it becomes a version of, as far as that is known.
    pub name: Option<String>,
    /// The model's id.
    #[schema(value_type = Option<String>)]
    pub model: Option<ModelId>,
    /// The version's number.
    #[schema(value_type = Option<u32>)]
    pub version: Option<Version>,
    /// SHA-256 of a single file.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// Index of the entry that decided.
    pub log_index: Option<u64>,
    /// Where it lies now, below the drop folder.
    pub place: String,
    /// The problem type of a refusal, `/problems/<slug>`.
    pub problem: Option<String>,
    /// What happened, oldest first; only the newest are kept.
    pub history: Vec<IngestStep>,
}

/// A step of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngestStep {
    /// When.
    pub at: String,
    /// The state it came to.
    #[schema(value_type = IngestState)]
    pub state: Known<IngestState>,
    /// What happened.
    pub text: String,
}

/// Answer of `GET /ingest`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IngestPage {
    /// The items: at work first, then waiting, failed, rejected, done; within these the longest there first, but for what
    /// is done: the newest first.
    pub items: Vec<IngestItem>,
    /// How many there are.
    pub total: Option<u64>,
    /// Give it as `cursor` to get the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Give it as `before` to get the page before; null at the beginning.
    #[serde(default)]
    pub prev_cursor: Option<String>,
    /// The drop folder; null where none is set.
    pub intake: Option<IntakeStatus>,
}

/// The drop folder as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntakeStatus {
    /// Whether it takes nothing in, because somebody said so.
    pub paused: bool,
    /// By whom, since when and why.
    pub paused_by: Option<String>,
    /// Since when.
    pub paused_at: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
    /// What keeps it from working, such as a folder that is gone; null while it works.
    pub problem: Option<String>,
    /// Whether the kernel tells of changes; without that the folder is only walked.
    pub events: bool,
    /// Seconds between walks.
    pub poll_seconds: u64,
    /// Seconds that a file must rest.
    pub settle_seconds: u64,
    /// Items in each state.
    #[schema(value_type = BTreeMap<IngestState, u64>)]
    pub states: BTreeMap<Known<IngestState>, u64>,
    /// Items that are read, inspected or stored.
    pub active: u64,
    /// Items that came to a version within the last hour.
    pub done_last_hour: u64,
    /// Items that came to a version since start.
    pub done_total: u64,
    /// Items refused since start.
    pub rejected_total: u64,
    /// Octets of items that came to a version, since start.
    pub bytes_total: u64,
    /// When the oldest item was first seen that is neither done nor rejected.
    pub oldest_seen_at: Option<String>,
    /// When the folder was last walked.
    pub walked_at: Option<String>,
    /// How often the kernel lost events, and the folder was walked instead.
    pub overflows: u64,
}

/// Answer of a change of an item.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IngestChanged {
    /// The item.
    #[serde(flatten)]
    pub item: IngestItem,
    /// The proof.
    pub receipt: Receipt,
}

/// Body of `POST /ingest/resume`; it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestResume {
    /// Why, at most 1000 characters, no control characters. It is kept in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// Answer of `POST /ingest/pause` and `POST /ingest/resume`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IntakeChanged {
    /// The drop folder.
    #[serde(flatten)]
    pub intake: IntakeStatus,
    /// The proof.
    pub receipt: Receipt,
}

/// A file `NAME.receipt.json` in `done/`: what became of the item beside it, with the proof.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IngestReceipt {
    /// The item.
    pub item: String,
    /// Its path below `incoming/`.
    pub path: String,
    /// The version.
    pub version: VersionInfo,
    /// Whether its bytes were there already.
    pub already_present: bool,
    /// Notes, such as what inspection found.
    pub warnings: Vec<String>,
    /// Index of the entry in the audit log.
    pub log_index: u64,
    /// The proof that the entry is in the log.
    pub receipt: Receipt,
}

/// The quarantine's part of [`Status`]; versions of deleted models don't count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineStatus {
    /// Versions that wait for a decision.
    pub waiting: u64,
    /// Versions that were blocked for good.
    pub blocked: u64,
    /// Since when the one is held that has waited longest.
    pub oldest_held_at: Option<String>,
}

/// The part of [`Status`] on inspecting anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RescanStatus {
    /// Id of the set of rules that files are inspected with.
    pub ruleset: String,
    /// Versions that were last inspected with other rules, deleted ones left out.
    pub stale: u64,
    /// How many there were when this round began.
    pub total: u64,
    /// How many this round has looked at.
    pub done: u64,
    /// How many of them couldn't be looked at: the diagnostics say why. The next round tries again.
    pub failed: u64,
    /// What is being looked at, as `name:version`; null between rounds.
    pub current: Option<String>,
    /// When this round began; null where there was none since the start.
    pub started_at: Option<String>,
}

/// The scrubber's part of [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubStatus {
    /// `reading`, `waiting` for the next pass, or `off`.
    pub state: String,
    /// Blobs read in this pass.
    pub blobs_done: u64,
    /// Blobs there are.
    pub blobs: u64,
    /// Octets read in this pass.
    pub bytes_done: u64,
    /// Octets there are.
    pub bytes: u64,
    /// Octets a second, in this pass and since the daemon started.
    pub bytes_per_second: u64,
    /// How many it may be.
    pub bytes_per_second_max: u64,
    /// When this pass began.
    pub started_at: Option<String>,
    /// When the next is due; none while one is under way.
    pub next_pass_at: Option<String>,
    /// The last pass that read everything, as the audit log says.
    pub last_full_pass: Option<ScrubPass>,
    /// Blobs that are known to be damaged now; versions that need them are quarantined.
    pub damaged: u64,
}

/// A pass that read every blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubPass {
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// Blobs it looked at.
    pub blobs: u64,
    /// Octets of those that were read whole.
    pub bytes: u64,
    /// Blobs that were not what their digest says.
    pub damaged: u64,
    /// Blobs that were not there.
    pub missing: u64,
    /// Blobs that could not be read.
    pub unreadable: u64,
}

/// The records' part of [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// `sled`.
    pub backend: String,
    /// `ok`; else `in doubt: …` with what to do.
    pub state: String,
    /// Models that are not deleted.
    pub models: u64,
    /// Versions that are not deleted.
    pub versions: u64,
    /// Users.
    pub users: u64,
    /// Distinct blobs that versions point to.
    pub blobs: u64,
    /// Their octets.
    pub blob_bytes: u64,
}

/// The log's part of [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogStatus {
    /// `ok`; else `refusing: …` or `failed: …` with the cause.
    pub state: String,
    /// The log's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// RFC 6962 root, standard base64.
    pub root: String,
    /// The newest signed checkpoint.
    pub checkpoint: String,
    /// The key to check it with.
    pub vkey: String,
    /// All keys that sign: that one, and the one before it while both do.
    #[serde(default)]
    pub vkeys: Vec<String>,
    /// Entries that the high-water mark covers: older data than that is refused at the next start.
    #[serde(default)]
    pub mark_size: u64,
    /// When the mark was last written. It follows within a second of the newest entry.
    #[serde(default)]
    pub mark_at: Option<String>,
    /// Octets of the journal's files.
    pub journal_bytes: u64,
    /// Octets kept back so that deletions and purges can be recorded on a full disk.
    #[serde(default)]
    pub reserve_bytes: u64,
    /// Entries written since start.
    pub commits: u64,
    /// Batches (one fdatasync each) written since start.
    pub batches: u64,
}

/// The witnesses' part of [`Status`].
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct WitnessesStatus {
    /// Entries of the newest checkpoint that meets the policy; none if there is none yet.
    pub witnessed_size: Option<u64>,
    /// The earliest time that its cosignatures state.
    pub witnessed_at: Option<String>,
    /// Seconds since.
    pub witnessed_age_seconds: Option<u64>,
    /// What speaks against the log: a witness knows another history than this one. A person must look.
    pub contradictions: Vec<String>,
    /// Why the newest checkpoint does not meet the policy; none where it does, or is still being cosigned.
    pub unmet: Option<String>,
    /// Exchanges that failed since start.
    pub failures: u64,
    /// Each witness that is asked.
    pub witnesses: Vec<WitnessStatus>,
}

/// A witness that is asked for cosignatures.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct WitnessStatus {
    /// Its name in the policy.
    pub name: String,
    /// Entries of the last checkpoint it cosigned, as far as it is known.
    pub size: Option<u64>,
    /// When it last cosigned, as it says itself.
    pub cosigned_at: Option<String>,
    /// Why the last exchange with it failed; none if it did not.
    pub error: Option<String>,
}

/// The bytes' part of [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StorageStatus {
    /// `disk`, or `s3`; with `and` and the other one while blobs move between the two.
    pub backend: String,
    /// Why the blobs can't be reached now; none while they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Size of the file system, of what is staged where blobs are elsewhere.
    pub total_bytes: u64,
    /// Free on it.
    pub free_bytes: u64,
    /// Uploads are refused below this.
    pub min_free_bytes: u64,
    /// Whether uploads are refused now.
    pub below_watermark: bool,
}

/// The traffic's part of [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RequestStatus {
    /// Requests answered since start.
    pub total: u64,
    /// Requests per second over the last minute, times 1000.
    pub per_1000_seconds: u64,
    /// Connections open now.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
    /// Requests being answered.
    #[serde(default)]
    pub open: u64,
    /// How many there may be.
    #[serde(default)]
    pub open_max: u64,
    /// Connections and requests turned away since start, for there were too many, by what of: `connections`, `address`,
    /// `requests`, `client`, `log`, `lookups`, `uploads`.
    #[serde(default)]
    pub turned_away: BTreeMap<String, u64>,
    /// Live tails of the log.
    #[serde(default)]
    pub tails: u64,
    /// How each kind of request fared in the last five minutes.
    #[serde(default)]
    pub kinds: Vec<RequestKind>,
}

/// How one kind of request fared in the last five minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestKind {
    /// `read`, `write`, or `transfer`: those that take or hand out octets of files.
    pub kind: String,
    /// How many there were.
    pub count: u64,
    /// How many there were a second, times 1000.
    pub per_1000_seconds: u64,
    /// The same of the last ten seconds.
    #[serde(default)]
    pub now_per_1000_seconds: u64,
    /// The same of the last minute.
    #[serde(default)]
    pub minute_per_1000_seconds: u64,
    /// Half of them were answered within so many microseconds; a bound of 27 that are told apart, the last 60 s and more.
    pub p50_us: Option<u64>,
    /// 99 of 100 were.
    pub p99_us: Option<u64>,
    /// Answered with a status of 500 or above.
    pub errors: u64,
}

/// Body of `POST /log/rotate-key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateLogKey {
    /// How many seconds checkpoints carry both signatures; 30 days without it.
    #[schema(minimum = 1, maximum = 315_619_200)]
    pub overlap_seconds: Option<u64>,
    /// The old key may be in wrong hands: no overlap, and another name of the log.
    #[serde(default)]
    pub compromised: bool,
}

/// Answer of `POST /log/rotate-key`: the log's name and keys from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogKeyRotated {
    /// The log's name.
    pub origin: String,
    /// The new key.
    pub vkey: String,
    /// All keys that sign.
    pub vkeys: Vec<String>,
    /// Until when both sign.
    pub overlap_until: Option<String>,
    /// Proof of the entry.
    pub receipt: Receipt,
}

/// The backups' part of [`Status`], as the audit log tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupStatus {
    /// The last backup that was made; none if there never was one.
    pub last: Option<BackupEvent>,
    /// The last backup that was read whole and found to be right; none if none ever was.
    pub verified: Option<BackupEvent>,
}

/// A backup that was made or verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupEvent {
    /// When that ended.
    pub at: String,
    /// The generation's id.
    pub generation: String,
    /// Entries of the log that it holds.
    pub size: u64,
    /// Files that it lacks, since they were missing or damaged when it was made.
    pub lacking: u64,
}

/// What was done with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupDeed {
    /// It was made.
    Create,
    /// It was read whole.
    Verify,
}

/// The first line of the answer of `POST /backup/hold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeld {
    /// The newest checkpoint, a signed note.
    pub checkpoint: String,
    /// Entries it covers.
    pub size: u64,
    /// The daemon's instance id.
    pub node: String,
    /// The keys that sign.
    pub vkeys: Vec<String>,
}

/// Body of `POST /backup/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupReport {
    /// What was done.
    pub deed: BackupDeed,
    /// The generation's id.
    pub generation: String,
    /// Entries of the log that it holds.
    pub size: u64,
    /// Root of them.
    pub root: String,
    /// Blobs that its records point to.
    pub blobs: u64,
    /// Their octets.
    pub bytes: u64,
    /// Octets that were added to the directory.
    #[serde(default)]
    pub added_bytes: u64,
    /// Blobs that it lacks, since they were missing or damaged when it was made.
    #[serde(default)]
    pub lacking: u64,
    /// What was found to be wrong with it.
    #[serde(default)]
    pub failures: u64,
    /// How long it took.
    pub seconds: u64,
}

/// Body of `POST /check`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Read every blob and compare it with its digest, too.
    #[serde(default)]
    pub blobs: bool,
    /// How fast at most, at least 4096; without it as fast as that goes at a low priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 4096)]
    pub bytes_per_second: Option<u64>,
}

/// A line of the answer of `POST /check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLine {
    /// How far it is.
    Progress {
        /// What is looked at.
        step: String,
        /// How much of it was.
        done: u64,
        /// How much there is.
        of: u64,
    },
    /// Something is wrong.
    Failure {
        /// Where: a file, an entry, a key, a digest.
        place: String,
        /// What.
        what: String,
    },
    /// Something worth knowing that is not wrong.
    Remark {
        /// What.
        what: String,
    },
    /// The end. An answer without it was cut off.
    Total(CheckTotal),
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTotal {
    /// Entries of the log, all of them read.
    pub entries: u64,
    /// Root of them.
    pub root: String,
    /// Keys of the state, all of them compared.
    pub keys: u64,
    /// Artifacts of versions that are not purged.
    pub artifacts: u64,
    /// Blobs they point to.
    pub blobs: u64,
    /// Blobs that were read whole.
    pub blobs_read: u64,
    /// Their octets.
    #[serde(default)]
    pub bytes_read: u64,
    /// Blobs that no version needs; looked for only where blobs are read.
    #[serde(default)]
    pub unreferenced: u64,
    /// What is wrong. More may be than was told one by one.
    pub failures: u64,
}
