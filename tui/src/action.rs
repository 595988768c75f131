//! What `update` asks for, and what comes back. Performing any of it is the worker's and the loop's affair.

use std::collections::BTreeSet;
use std::ops::Range;

use common::api::bulk::BulkTotal;
use common::api::{
    AliasEvent, ApiToken, Artifact, AuditPosition, AuditRow, Excerpt, IngestPage, Me, ModelInfo, ModelRow, Page,
    QuarantineItem, Ready, ReviewInfo, Status, User, UserInfo, VersionInfo,
};
use common::audit::{Checkpoint, Hash, Receipt, TilePath, Verifier};
use common::certificate::Certificate;
use common::client::{
    AuditQuery, HeldQuery, IngestQuery, ModelQuery, Paging, Reply, Session, Sweep, TokenQuery, UserQuery,
};
use common::name::{ArtifactPath, Version};

use serde_json::Value;

use crate::export::{Form, Format, Kind};
use crate::secret::Secret;
use crate::state::audit::Line;
use crate::state::deeds::{Base, Change, Deed, Object};
use crate::trust::{Checked, Kept, Rotation, Said};

/// Tells requests apart; a reply with an id nobody waits for is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The timers there are. Setting one again replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerId {
    /// The token is due for a refresh.
    Refresh,
    /// Ages on the screen change.
    Clock,
    /// The message line empties.
    Message,
    /// Typing has rested: the filter is sent.
    Typing,
    /// No second digit came: it was the number of a screen.
    Digit,
    /// The daemon's account of itself is read again.
    Health,
    /// The drop folder is read again.
    Queue,
    /// The selection has rested: more is read about it.
    Rest,
    /// It has rested: the page that is near is read.
    Page,
    /// Nobody has pressed a key for long: the console locks itself.
    Lock,
    /// The stream of the log is opened again.
    Tail,
    /// The log's badge may change, or something of the log is asked for again.
    Log,
    /// What is kept of the log is written.
    Save,
    /// A page of the log is read instead of its stream.
    Pages,
    /// What was acknowledged is sent again.
    Acknowledge,
    /// What others changed may be read again.
    Fresh,
    /// What is not known to have happened is looked for again.
    Unknown,
    /// What `u` would undo is offered no longer.
    Undo,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the daemon.
    Request {
        /// Comes back with the reply.
        id: RequestId,
        /// What to ask.
        call: Call,
    },
    /// Give up a request; its reply, if one comes, is dropped.
    Cancel(RequestId),
    /// Send [`crate::event::EventKind::Timer`] after so many milliseconds.
    TimerSet {
        /// Which.
        id: TimerId,
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// Let a timer go.
    TimerDrop(TimerId),
    /// Open the stream of the log.
    TailOpen {
        /// Comes back with each of its events.
        epoch: u64,
        /// Behind which entry; without it, behind now.
        after: Option<u64>,
    },
    /// Close the stream.
    TailClose,
    /// Keep what is believed of the log; `force` writes it over whatever another console kept.
    SavePin {
        /// What.
        kept: Box<Kept>,
        /// Somebody acknowledged an alarm or confirmed a key.
        force: bool,
    },
    /// Write a file that only its user can read, and never over another.
    WriteFile {
        /// What for; comes back with its path.
        purpose: FilePurpose,
        /// The beginning of its name.
        name: String,
        /// What is in it.
        text: String,
    },
    /// Bring a file that was kept here, under a new name; comes back as an export that was written.
    BringFile {
        /// Where it is.
        from: String,
        /// The name it gets.
        name: String,
    },
    /// Look which local files have names that begin so; comes back as [`crate::event::EventKind::Names`].
    ListNames(String),
    /// Paint every cell anew.
    Repaint,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Begin a job that takes long.
    Job {
        /// Comes back with its reports.
        id: RequestId,
        /// What to do.
        job: Box<Job>,
    },
    /// Stop a job.
    JobStop(RequestId),
    /// A job shall stand still, or go on.
    JobPause(RequestId, bool),
    /// Send text to the terminal's clipboard.
    Copy(String),
    /// Have the mouse reported, or no more.
    Mouse(bool),
    /// Ring.
    Bell,
    /// Give the terminal this title; none gives it back the one it had.
    Title(Option<String>),
    /// Keep the token of this session in a file until it is ended, or no more.
    Remember(bool),
    /// Have the next session that is signed in to kept, or not; until then nothing is written or removed.
    RememberNext(bool),
    /// Forget the token: whoever comes must sign in.
    Lock,
    /// End the session at the daemon and remove what is kept of it.
    Logout,
    /// Speak to the daemon of another profile.
    Switch(String),
    /// End.
    Quit,
}

/// What a written file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePurpose {
    /// What proves that a check failed: in the state folder.
    Evidence,
    /// What somebody exported: in the working folder.
    Export,
}

/// A question about the log's tree. None but that for entries is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogCall {
    /// The newest checkpoint.
    Checkpoint,
    /// The keys that the daemon names.
    Keys,
    /// The right edge of the tree at a size, and its growth from a smaller one.
    Proof {
        /// The size.
        size: u64,
        /// The smaller size.
        from: Option<u64>,
    },
    /// Tiles.
    Tiles(Vec<TilePath>),
    /// Entries of one bundle, octet for octet.
    Entries(Range<u64>),
    /// The proof for one entry, as it is exported.
    Receipt(u64),
    /// The checkpoint that witnesses cosigned, and what shows that it is of one history with that of this size.
    Witnessed(u64),
    /// The entries that name keys, with what links them.
    Rotations,
}

/// What came for a [`LogCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAnswer {
    /// The octets of a note.
    Checkpoint(Vec<u8>),
    /// Keys, one a line.
    Keys(String),
    /// Tiles of the edge, and the hashes of the growth where it was asked for; none of them where they are no hashes.
    Proof {
        /// The size.
        size: u64,
        /// The growth.
        growth: Option<Vec<Hash>>,
        /// The tiles.
        tiles: Vec<(TilePath, Vec<u8>)>,
    },
    /// Tiles.
    Tiles(Vec<(TilePath, Vec<u8>)>),
    /// Leaves, as many as the bundle could be cut into.
    Entries {
        /// The entries that were asked for.
        range: Range<u64>,
        /// Their leaves; `None` where the bundle cannot be cut.
        leaves: Option<Vec<Vec<u8>>>,
    },
    /// A proof.
    Receipt(u64, String),
    /// Entries that name keys, oldest first.
    Rotations(Vec<Rotation>),
    /// The note, empty where there is none yet, and the hashes between it and the size.
    Witnessed {
        /// The size it was asked for.
        size: u64,
        /// The note.
        note: Vec<u8>,
        /// The hashes.
        growth: Vec<Hash>,
    },
}

/// A question to the daemon. All but the sign-in calls and [`Call::Change`] only read, so each may be repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Shake hands, and see the daemon's certificate; nothing is sent.
    Reach,
    /// `POST /login`.
    Login {
        /// Who.
        username: String,
        /// The proof.
        password: Secret,
        /// The code of the second factor, once it was asked for.
        otp: Option<Secret>,
    },
    /// `POST /me/totp`.
    EnrolTotp {
        /// The password, again.
        password: Secret,
    },
    /// `POST /me/totp/confirm`.
    ConfirmTotp {
        /// The authenticator's code.
        code: Secret,
    },
    /// `POST /token/refresh`.
    Refresh,
    /// `POST /me/password`.
    ChangePassword {
        /// The password so far.
        old: Secret,
        /// The password from now on.
        new: Secret,
    },
    /// `GET /me`.
    Me,
    /// `GET /models`.
    Models(Box<ModelQuery>),
    /// How many models a sweep would be about; nothing is done.
    Count {
        /// What would be done.
        sweep: Sweep,
        /// To which.
        query: Box<ModelQuery>,
    },
    /// `GET /models/{id}`.
    Model(String),
    /// `GET /models/{id}/versions`.
    Versions {
        /// The model.
        reference: String,
        /// Which page.
        page: Paging,
    },
    /// `GET /users`.
    Users(Box<UserQuery>),
    /// `GET /users/{name}`.
    User(String),
    /// `GET /tokens`.
    Tokens(Box<TokenQuery>),
    /// `GET /audit-logs`.
    Audit(Box<AuditQuery>),
    /// `GET /status`.
    Status,
    /// `GET /readyz`.
    Ready,
    /// `GET /ingest`.
    Ingest(Box<IngestQuery>),
    /// `GET /quarantine`.
    Quarantine(Box<HeldQuery>),
    /// `GET /models/{id}/versions/{v}/review`.
    Review {
        /// The model.
        reference: String,
        /// The number.
        version: Version,
    },
    /// `GET /models/{id}/versions/{v}/excerpt`: each is an entry of the log.
    Excerpt {
        /// The model.
        reference: String,
        /// The number.
        version: Version,
        /// The place of a finding.
        place: String,
    },
    /// `GET /models/{id}/versions/{v}`.
    Version {
        /// The model.
        reference: String,
        /// The number.
        version: Version,
    },
    /// Below `/log`.
    Log(LogCall),
    /// `GET /audit-logs/position`: the first entry at or after a time.
    Position(String),
    /// `POST /audit-logs/acknowledge`. It has a key of its own, so it may be repeated.
    Acknowledge(Box<Said>),
    /// One thing, as it is now.
    Look(Object),
    /// A change.
    Change {
        /// What is done to what.
        change: Box<Change>,
        /// The entity tag of the state it is made for.
        if_match: Option<String>,
        /// Number of its idempotency key.
        key: u64,
    },
    /// The octets of a small file.
    Text {
        /// The model.
        reference: String,
        /// The version.
        version: Version,
        /// The file.
        path: ArtifactPath,
        /// How many there are, at most.
        octets_max: u64,
    },
    /// `GET /models/{id}/aliases/{alias}/history`.
    History {
        /// The model.
        reference: String,
        /// The alias.
        alias: String,
    },
}

impl Call {
    /// The call as the message list names it; never with a value somebody typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reach => "TLS",
            Self::Login { .. } => "POST /login",
            Self::Refresh => "POST /token/refresh",
            Self::ChangePassword { .. } => "POST /me/password",
            Self::EnrolTotp { .. } => "POST /me/totp",
            Self::ConfirmTotp { .. } => "POST /me/totp/confirm",
            Self::Me => "GET /me",
            Self::Models(_) => "GET /models",
            Self::Count { sweep: Sweep::Delete, .. } => "DELETE /models?dry_run=true",
            Self::Count { sweep: Sweep::Restore, .. } => "POST /models:restore?dry_run=true",
            Self::Model(_) => "GET /models/{id}",
            Self::Versions { .. } => "GET /models/{id}/versions",
            Self::Users(_) => "GET /users",
            Self::User(_) => "GET /users/{name}",
            Self::Tokens(_) => "GET /tokens",
            Self::Audit(_) => "GET /audit-logs",
            Self::Status => "GET /status",
            Self::Ready => "GET /readyz",
            Self::Ingest(_) => "GET /ingest",
            Self::Quarantine(_) => "GET /quarantine",
            Self::Review { .. } => "GET /models/{id}/versions/{v}/review",
            Self::Excerpt { .. } => "GET /models/{id}/versions/{v}/excerpt",
            Self::Version { .. } => "GET /models/{id}/versions/{v}",
            Self::Log(LogCall::Checkpoint) => "GET /log/checkpoint",
            Self::Log(LogCall::Keys) => "GET /log/vkeys",
            Self::Log(LogCall::Proof { .. }) => "GET /log/consistency",
            Self::Log(LogCall::Tiles(_)) => "GET /log/tile",
            Self::Log(LogCall::Entries(_)) => "GET /log/tile/entries",
            Self::Log(LogCall::Receipt(_)) => "GET /log/proof",
            Self::Log(LogCall::Witnessed(_)) => "GET /log/checkpoint.witnessed",
            Self::Log(LogCall::Rotations) => "GET /audit-logs",
            Self::Position(_) => "GET /audit-logs/position",
            Self::Acknowledge(_) => "POST /audit-logs/acknowledge",
            Self::Look(Object::Model { .. }) => "GET /models/{id}",
            Self::Look(Object::Version { .. }) => "GET /models/{id}/versions/{v}",
            Self::Look(Object::User(_)) => "GET /users/{name}",
            Self::Look(Object::Token { .. }) => "GET /tokens/{token}",
            Self::Look(Object::Item { .. }) => "GET /ingest/{item}",
            Self::Look(Object::Intake) => "GET /ingest",
            Self::Look(Object::Webhook(_)) => "GET /webhooks/{hook}",
            Self::Look(Object::Quota { .. }) => "GET /quotas/{kind}/{of}",
            Self::Look(Object::Rule(_)) => "GET /retention/{rule}",
            Self::Change { change, .. } => change_name(change),
            Self::Text { .. } => "GET /models/{id}/versions/{v}/files/{path}",
            Self::History { .. } => "GET /models/{id}/aliases/{alias}/history",
        }
    }

    /// Whether it is about signing in: never repeated by itself.
    pub fn is_sign_in(&self) -> bool {
        matches!(
            self,
            Self::Login { .. }
                | Self::Refresh
                | Self::ChangePassword { .. }
                | Self::EnrolTotp { .. }
                | Self::ConfirmTotp { .. }
        )
    }
}

fn change_name(change: &Change) -> &'static str {
    match (&change.deed, &change.object) {
        (Deed::Alias { to: Some(_), .. }, _) => "PUT /models/{id}/aliases/{alias}",
        (Deed::Alias { to: None, .. }, _) => "DELETE /models/{id}/aliases/{alias}",
        (Deed::Edit { .. }, _) => "PATCH /models/{id}",
        (Deed::Delete, Object::Model { .. }) => "DELETE /models/{id}",
        (Deed::Delete, Object::Version { .. }) => "DELETE /models/{id}/versions/{v}",
        (Deed::Delete, Object::Webhook(_)) => "DELETE /webhooks/{hook}",
        (Deed::Delete, Object::Rule(_)) => "DELETE /retention/{rule}",
        (
            Deed::Delete,
            Object::User(_) | Object::Item { .. } | Object::Intake | Object::Token { .. } | Object::Quota { .. },
        ) => "DELETE /users/{name}",
        (Deed::NewWebhook(_), _) => "POST /webhooks",
        (Deed::TestWebhook, _) => "POST /webhooks/{hook}/test",
        (Deed::DeliverTo(_), _) => "PATCH /webhooks/{hook}",
        (Deed::PassOver(_), _) => "POST /webhooks/{hook}/replay",
        (Deed::SetQuota(_), _) => "PUT /quotas/{kind}/{of}",
        (Deed::ClearQuota, _) => "DELETE /quotas/{kind}/{of}",
        (Deed::SetRule(_), _) => "PUT /retention/{rule}",
        (Deed::RunRule, _) => "POST /retention/{rule}/run",
        (Deed::Restore, Object::Version { .. }) => "POST /models/{id}/versions/{v}/restore",
        (Deed::Restore, _) => "POST /models/{id}/restore",
        (Deed::Deprecate { .. }, _) => "POST /models/{id}/versions/{v}/deprecate",
        (Deed::Release { .. }, _) => "POST /models/{id}/versions/{v}/release",
        (Deed::Block { .. }, _) => "POST /models/{id}/versions/{v}/block",
        (Deed::Note { .. }, _) => "POST /models/{id}/versions/{v}/notes",
        (Deed::Rescan, _) => "POST /models/{id}/versions/{v}/rescan",
        (Deed::Role(_) | Deed::Grants(_) | Deed::Lock(_), _) => "PATCH /users/{name}",
        (Deed::OneTimePassword, _) => "POST /users/{name}/password",
        (Deed::Revoke, _) => "POST /users/{name}/sessions/revoke",
        (Deed::ResetTotp, _) => "POST /users/{name}/totp/reset",
        (Deed::Register(_), _) => "POST /register",
        (Deed::NewToken(_), _) => "POST /tokens",
        (Deed::RotateToken, _) => "POST /tokens/{token}/rotate",
        (Deed::RevokeToken, _) => "DELETE /tokens/{token}",
        (Deed::Retry, _) => "POST /ingest/{item}/retry",
        (Deed::Discard { .. }, _) => "POST /ingest/{item}/discard",
        (Deed::Pause { .. }, _) => "POST /ingest/pause",
        (Deed::Resume { .. }, _) => "POST /ingest/resume",
    }
}

/// Rows of an export.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// These.
    Held(Vec<Value>),
    /// All models of a query.
    Models(Box<ModelQuery>),
    /// Models of these ids.
    Ids(Vec<String>),
    /// All versions of a model.
    Versions(String),
    /// All users of a query.
    Users(Box<UserQuery>),
    /// All items of the drop folder of a query.
    Items(Box<IngestQuery>),
    /// All versions that are held, of a query.
    Quarantined(Box<HeldQuery>),
    /// Of these rows those with one of these keys.
    Marked(Box<Self>, BTreeSet<String>),
}

/// Entries of an export.
#[derive(Debug, Clone, PartialEq)]
pub enum Entries {
    /// These.
    Held(Vec<AuditRow>),
    /// Those of these indices.
    Marked(Vec<u64>),
    /// All that match.
    Matching {
        /// What they match.
        query: Box<AuditQuery>,
        /// How many there are, where that is known.
        total: Option<u64>,
    },
}

/// What takes long, in the background.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Rows to a new file.
    Export {
        /// Which.
        rows: Rows,
        /// What they are.
        kind: Kind,
        /// How they are written.
        format: Format,
        /// The file.
        path: String,
    },
    /// Entries of the log to a new file.
    Entries {
        /// Which.
        entries: Entries,
        /// How they are written.
        form: Form,
        /// The log's keys.
        keys: Vec<Verifier>,
        /// The file.
        path: String,
    },
    /// A check of the log at its newest checkpoint.
    Check {
        /// The first entry.
        from: Option<u64>,
        /// One behind the last.
        to: Option<u64>,
        /// The log's keys.
        keys: Vec<Verifier>,
        /// What is pinned of it.
        saved: Option<Checkpoint>,
    },
    /// All models of a query, changed by one request.
    Sweep {
        /// What is done.
        sweep: Sweep,
        /// To which.
        query: Box<ModelQuery>,
        /// Which they must be.
        expected: BulkTotal,
    },
    /// A file to the registry.
    Upload {
        /// The file.
        path: String,
        /// The model's name.
        name: String,
    },
    /// A file from the registry.
    Download {
        /// The model.
        reference: String,
        /// The version.
        version: Version,
        /// The file, with its digest.
        artifact: Artifact,
        /// Where to.
        target: String,
    },
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It has come so far: rows or octets.
    Going {
        /// So many are done.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// It waits for this; empty: it goes on.
    Standing(String),
    /// A check of the log has come to this; it is over next.
    Checked(Box<Checked>),
    /// These of its changes were refused, each with the reason; it is over next.
    Refused(Vec<(Change, String)>),
    /// It is over: a sentence on what came of it, or on what went wrong.
    Over(Result<String, String>),
}

/// What came of a change.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Proof that it is in the audit log.
    pub receipt: Option<Receipt>,
    /// Until when a deletion can be taken back.
    pub restorable_until: Option<String>,
    /// A password that was made up for it, or the token that was made.
    pub password: Option<Secret>,
    /// It was only approved: others must approve it too.
    pub only_approved: bool,
    /// What is to be known besides.
    pub said: Option<String>,
    /// It was done, and what it was to show came out badly: a test that was not delivered.
    pub is_in_vain: bool,
}

/// What the daemon answered. The token of a session is not among it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the answer to the call of its name")]
pub enum Answer {
    Reached(Option<Certificate>),
    Session(Reply<Session>),
    PasswordChanged,
    /// What an authenticator needs: the secret in base32, and the same as a URI.
    TotpSecret(Secret, Secret),
    /// The second factor is on; these are shown once.
    RecoveryCodes(Vec<Secret>),
    Me(Reply<Me>),
    Models(Reply<Page<ModelRow>>),
    Counted(BulkTotal),
    Model(Reply<Box<ModelInfo>>),
    Versions(Reply<Page<VersionInfo>>),
    Users(Reply<Page<User>>),
    User(Reply<Box<UserInfo>>),
    Tokens(Reply<Page<ApiToken>>),
    Review(Reply<Box<ReviewInfo>>),
    Excerpt(Reply<Box<Excerpt>>),
    Audit(Reply<Page<Line>>),
    Status(Reply<Box<Status>>),
    Ready(Ready),
    Ingest(Reply<Box<IngestPage>>),
    Quarantine(Reply<Page<QuarantineItem>>),
    Version(Reply<Box<VersionInfo>>),
    Log(LogAnswer),
    Position(Reply<AuditPosition>),
    Acknowledged(Reply<Receipt>),
    Look(Reply<Base>),
    Changed(Reply<Box<Outcome>>),
    History(Reply<Page<AliasEvent>>),
    Text(Vec<u8>),
}

impl Answer {
    /// By which the daemon's log knows the request, where the answer says it.
    pub fn request_id(&self) -> Option<&str> {
        let id = match self {
            Self::Session(reply) => &reply.request_id,
            Self::Me(reply) => &reply.request_id,
            Self::Models(reply) => &reply.request_id,
            Self::Model(reply) => &reply.request_id,
            Self::Versions(reply) => &reply.request_id,
            Self::Users(reply) => &reply.request_id,
            Self::User(reply) => &reply.request_id,
            Self::Tokens(reply) => &reply.request_id,
            Self::Review(reply) => &reply.request_id,
            Self::Excerpt(reply) => &reply.request_id,
            Self::Audit(reply) => &reply.request_id,
            Self::Status(reply) => &reply.request_id,
            Self::Ingest(reply) => &reply.request_id,
            Self::Quarantine(reply) => &reply.request_id,
            Self::Version(reply) => &reply.request_id,
            Self::Position(reply) => &reply.request_id,
            Self::Acknowledged(reply) => &reply.request_id,
            Self::Look(reply) => &reply.request_id,
            Self::Changed(reply) => &reply.request_id,
            Self::History(reply) => &reply.request_id,
            Self::Reached(_)
            | Self::Counted(_)
            | Self::PasswordChanged
            | Self::TotpSecret(..)
            | Self::RecoveryCodes(_)
            | Self::Ready(_)
            | Self::Log(_)
            | Self::Text(_) => return None,
        };
        Some(id.as_str()).filter(|id| !id.is_empty())
    }
}
