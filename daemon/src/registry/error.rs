//! [`RegistryError`]: all that can go wrong, in the domain's words. Knows what a caller may be told; refuses to know
//! status codes and problem documents.
//!
//! `Display` is safe to show and says what to do; causes are in `source()`, for the daemon's log alone.

use std::error::Error;

use common::api::Finding;
use common::api::quota::QuotaExcess;
use common::audit::{Hash, Outcome as EntryOutcome, Receipt};
use common::digest::Digest;
use common::name::{ModelName, Version};
use common::role::Permission;
use thiserror::Error;

use crate::blobs::BlobError;
use crate::store::StoreError;

/// A cause that is never shown.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an operation was refused or failed.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// No valid token.
    #[error("sign in first: the token is missing, malformed or expired, or its session has ended")]
    Unauthenticated,
    /// Name and password don't belong together; which is wrong is not said.
    #[error("user name and password don't belong together")]
    BadCredentials,
    /// The password was right, and the code of the second factor is missing or wrong.
    #[error("a second factor is needed: send the authenticator's present code, unused, or a recovery code as `otp`")]
    SecondFactorRequired,
    /// The role lacks a permission.
    #[error("this needs the permission `{permission}`, which your role doesn't have; ask an admin")]
    Forbidden {
        /// The one that is missing.
        permission: Permission,
    },
    /// Neither role nor grants allow it for the models of this name.
    #[error(
        "this needs the permission `{permission}` for `{name}`, which neither your role nor a grant gives you there; ask an \
         admin for a grant, or take another name"
    )]
    ForbiddenOn {
        /// The one that is missing.
        permission: Permission,
        /// The name, as the caller gave it or may see it.
        name: ModelName,
    },
    /// It is about all models, and role, grants or the token shown leave some out.
    #[error(
        "this needs the permission `{permission}` for all models, and your role, a grant or your token leaves some out; ask an \
         admin whose role gives it everywhere"
    )]
    ForbiddenForAll {
        /// The one that is missing for some.
        permission: Permission,
    },
    /// The user may, but the API token that was shown was made for less.
    #[error(
        "the scope of this API token lacks the permission `{permission}`, which its user has; make a token with it (POST /tokens, \
         `mreg do add-token USER LABEL --permissions ...,{permission}`), or sign in with a password"
    )]
    OutOfScope {
        /// The one that is missing in the scope.
        permission: Permission,
    },
    /// The user may, but the API token that was shown was made for models of other names.
    #[error(
        "the scope of this API token has the models named {names} alone, and `{name}` is none of them; make a token with that name \
         (POST /tokens, `mreg do add-token USER LABEL --names ...,{name}`), or sign in with a password"
    )]
    OutOfNames {
        /// The patterns of the scope.
        names: String,
        /// The name, as the caller gave it or may see it.
        name: ModelName,
    },
    /// Only who works on the machine itself may.
    #[error("only the operator of the machine may do this, with the sub-commands of mregd")]
    OperatorOnly,
    /// An API token was shown for what takes a session.
    #[error("an API token can't be used for this; sign in with a password")]
    SessionOnly,
    /// Nothing is taken in from the drop folder in this user's name; the text says why and what to do.
    #[error("{0}")]
    NoDropper(String),
    /// Nothing else is allowed before the password is changed.
    #[error("change your password first: POST /me/password")]
    PasswordChangeRequired,
    /// Nothing else is allowed before there is a second factor.
    #[error("set up a second factor first: POST /me/totp, then POST /me/totp/confirm")]
    EnrolmentRequired,
    /// Not there, or not the caller's to see.
    #[error("there is no {what}, or it is not yours to see")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The state of the registry forbids it; the text says what and what to do.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed it in the meantime.
    #[error("it has changed since you read it; read it again and decide anew")]
    PreconditionFailed,
    /// Values that break a rule, each with its place (`body.name`, `query.cursor`, `part.file`) and what is accepted.
    #[error("{}", list(.0))]
    Invalid(Vec<(String, String)>),
    /// The bytes are not the promised ones.
    #[error("the bytes have the digest {actual}, but {expected} was promised; nothing was kept")]
    DigestMismatch {
        /// What the caller said.
        expected: Digest,
        /// What was measured.
        actual: Digest,
    },
    /// The password breaks a rule; the text says which.
    #[error("{0}")]
    WeakPassword(String),
    /// The idempotency key stands for another request.
    #[error("this Idempotency-Key came with another request within 24 hours; use a fresh key for each new request")]
    IdempotencyKeyReused,
    /// Too many attempts in a short time.
    #[error("too many attempts; try again in {retry_after_s} s")]
    TooManyRequests {
        /// Seconds until it may be tried again; at least 1.
        retry_after_s: u64,
    },
    /// As much of something is under way as there may be.
    #[error("{what}; end one, or try again later")]
    Busy {
        /// Of what.
        what: &'static str,
        /// Whether it is the caller's own; else it is everybody's.
        is_callers: bool,
    },
    /// More is asked than can be done in good time: of what. Nothing was begun, and there is no entry.
    #[error("{0}; try again in a moment")]
    Overloaded(&'static str),
    /// The version is held back.
    #[error("version {version} is held in quarantine{}; an admin can release it", because(.reason.as_deref()))]
    Quarantined {
        /// Which.
        version: Version,
        /// Why, where that is known.
        reason: Option<String>,
    },
    /// The policy doesn't take malicious files in.
    #[error("inspection found evidence of an attack, and the policy takes no such file in; nothing was kept")]
    Malicious {
        /// What was found, the gravest first.
        findings: Vec<Finding>,
    },
    /// More would be kept than a user or a namespace may keep.
    #[error("{}", exceeded(.0))]
    QuotaExceeded(Box<QuotaExcess>),
    /// The resumable upload is over; the text says how it ended.
    #[error("the upload is over: {0}; create another with POST /uploads")]
    UploadGone(String),
    /// Somebody else is at the resumable upload, and did not let go of it.
    #[error("another request is at this upload; ask for its offset and try again")]
    UploadBusy,
    /// The octets of a part differ from their checksum.
    #[error("the octets differ from their checksum; they were discarded, send them again")]
    ChecksumMismatch,
    /// More octets than allowed.
    #[error("this is over the limit of {limit} octets; nothing was kept")]
    TooLarge {
        /// The limit, octets.
        limit: u64,
    },
    /// Free space is below the watermark or would be.
    #[error("not enough free space; tell the operator")]
    StorageFull,
    /// The request's body paused for too long.
    #[error("the request's body paused for too long; nothing was kept, send it again")]
    TimedOut,
    /// The client went away, or its body ended too early.
    #[error("the request's body ended early; nothing was kept, send it again")]
    Interrupted,
    /// The store of the bytes can't be reached; the text says why.
    #[error("the store of the artifacts can't be used now, and nothing was done: {why}; try again later")]
    BlobsUnreachable {
        /// Why, in words that anybody may see.
        why: String,
        /// The cause.
        #[source]
        cause: Cause,
    },
    /// The entry can't be written, so nothing is done.
    #[error("the audit log can't be written, and nothing is done that can't be recorded; try again later")]
    AuditUnavailable,
    /// There is no room for the entry, so nothing is done; the text says how much there is.
    #[error("the audit log can't be written, and nothing is done that can't be recorded. {0}")]
    AuditFull(String),
    /// The log failed while the entry was written: it is there, and the request was carried out, or not.
    #[error(
        "the audit log failed in the middle of it, and whether this was done will be known when the daemon has restarted: \
         look for it then, or repeat the request with the same Idempotency-Key, before you try anew"
    )]
    AuditUnknown(#[source] Cause),
    /// Stored data contradicts itself.
    #[error("stored data is damaged; the operator must look at it")]
    Corrupt(#[source] Cause),
    /// A fault of the registry's own.
    #[error("a fault in the registry; the daemon's log has the cause")]
    Internal(#[source] Cause),
}

fn list(errors: &[(String, String)]) -> String {
    errors.iter().map(|(loc, msg)| format!("{loc}: {msg}")).collect::<Vec<_>>().join("; ")
}

fn exceeded(excess: &QuotaExcess) -> String {
    let QuotaExcess { of, limit, used, reserved, needed, .. } = excess;
    let of = if of == "bytes" { "octets" } else { of.as_str() };
    let kept = match (used, reserved) {
        (Some(used), Some(reserved)) if *reserved > 0 => {
            format!("{used} are kept, {reserved} reserved by uploads under way, and this needs {needed} more")
        }
        (Some(used), _) => format!("{used} are kept, and this needs {needed} more"),
        (None, _) => format!("this needs {needed}, and less than that is left"),
    };
    format!("the quota {} allows {limit} {of}; {kept}. Purge versions, or ask an admin for more", excess.whose())
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

impl RegistryError {
    /// One refused value.
    pub fn invalid(loc: impl Into<String>, msg: impl Into<String>) -> Self {
        Self::Invalid(vec![(loc.into(), msg.into())])
    }

    /// Something that isn't there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// A fault with no cause but the sentence that tells it.
    pub fn internal(what: &'static str) -> Self {
        Self::Internal(what.into())
    }

    /// Whether policy refused it (`denied` in the audit log), in contrast to what is invalid, in conflict or failed
    /// (`error`).
    pub fn is_denial(&self) -> bool {
        match self {
            Self::Unauthenticated
            | Self::BadCredentials
            | Self::SecondFactorRequired
            | Self::Forbidden { .. }
            | Self::ForbiddenOn { .. }
            | Self::ForbiddenForAll { .. }
            | Self::OutOfScope { .. }
            | Self::OutOfNames { .. }
            | Self::OperatorOnly
            | Self::SessionOnly
            | Self::NoDropper(_)
            | Self::PasswordChangeRequired
            | Self::EnrolmentRequired
            | Self::TooManyRequests { .. }
            | Self::Busy { .. }
            | Self::Overloaded(_)
            | Self::Quarantined { .. }
            | Self::Malicious { .. }
            | Self::QuotaExceeded(_) => true,
            Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::PreconditionFailed
            | Self::Invalid(_)
            | Self::DigestMismatch { .. }
            | Self::WeakPassword(_)
            | Self::IdempotencyKeyReused
            | Self::UploadGone(_)
            | Self::UploadBusy
            | Self::ChecksumMismatch
            | Self::TooLarge { .. }
            | Self::StorageFull
            | Self::BlobsUnreachable { .. }
            | Self::TimedOut
            | Self::Interrupted
            | Self::AuditUnavailable
            | Self::AuditFull(_)
            | Self::AuditUnknown(_)
            | Self::Corrupt(_)
            | Self::Internal(_) => false,
        }
    }

    /// How an operation that fails with it ended, as its entry says.
    pub fn outcome(&self) -> EntryOutcome {
        if self.is_denial() { EntryOutcome::Denied } else { EntryOutcome::Error }
    }

    /// The word that stands for it in an audit entry.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::BadCredentials => "bad-credentials",
            Self::SecondFactorRequired => "second-factor-required",
            Self::Forbidden { .. }
            | Self::ForbiddenOn { .. }
            | Self::ForbiddenForAll { .. }
            | Self::OutOfScope { .. }
            | Self::OutOfNames { .. }
            | Self::OperatorOnly
            | Self::SessionOnly
            | Self::NoDropper(_) => "forbidden",
            Self::PasswordChangeRequired => "password-change-required",
            Self::EnrolmentRequired => "second-factor-enrolment",
            Self::NotFound { .. } => "not-found",
            Self::Conflict(_) => "conflict",
            Self::PreconditionFailed => "precondition-failed",
            Self::Invalid(_) => "invalid",
            Self::DigestMismatch { .. } => "digest-mismatch",
            Self::WeakPassword(_) => "weak-password",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::TooManyRequests { .. } => "too-many-requests",
            Self::Busy { .. } => "busy",
            Self::Overloaded(_) => "overloaded",
            Self::Quarantined { .. } => "quarantined",
            Self::Malicious { .. } => "malicious-content",
            Self::QuotaExceeded(_) => "quota-exceeded",
            Self::UploadGone(_) => "upload-gone",
            Self::UploadBusy => "upload-busy",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::TooLarge { .. } => "too-large",
            Self::StorageFull => "storage-full",
            Self::BlobsUnreachable { .. } => "storage-unavailable",
            Self::TimedOut => "request-timeout",
            Self::Interrupted => "interrupted",
            Self::AuditUnavailable | Self::AuditFull(_) | Self::AuditUnknown(_) => "audit-unavailable",
            Self::Corrupt(_) => "corrupt",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                // The store has told the operator once; this is each request's.
                tracing::debug!(cause, "a request was refused because the audit log can't be written");
                Self::AuditUnavailable
            }
            StoreError::Full(why) => Self::AuditFull(why),
            StoreError::Unknown(_) => Self::AuditUnknown(error.into()),
            StoreError::Corrupt(_) => Self::Corrupt(error.into()),
            StoreError::Io(_) | StoreError::View(_) => Self::Internal(error.into()),
        }
    }
}

impl From<BlobError> for RegistryError {
    /// A blob that a record points to and that isn't there is damage, not a miss.
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full(_) => Self::StorageFull,
            BlobError::NotFound(_) | BlobError::Corrupt { .. } => Self::Corrupt(error.into()),
            BlobError::Unavailable(_) => Self::Internal(error.into()),
            BlobError::Unreachable { why, source } => Self::BlobsUnreachable { why, cause: source },
        }
    }
}

/// Where an operation's entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its index.
    pub index: u64,
    /// RFC 6962 hash of its leaf.
    pub leaf_hash: Hash,
}

/// An operation that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: RegistryError,
    /// Its entry, where it has been written already; an entry is never written twice for one request.
    pub logged: Option<Logged>,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { error, logged: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        RegistryError::from(error).into()
    }
}

/// An operation that succeeded.
#[derive(Debug)]
pub struct Done<T> {
    /// What it came to.
    pub value: T,
    /// Its entry; none for reads of metadata that aren't recorded.
    pub logged: Option<Logged>,
    /// Proof of the change, where there was one.
    pub receipt: Option<Receipt>,
    /// Whether this is the first answer to the same Idempotency-Key, given again.
    pub replayed: bool,
}

impl<T> Done<T> {
    /// A read that needs no entry.
    pub(crate) fn unlogged(value: T) -> Self {
        Self { value, logged: None, receipt: None, replayed: false }
    }

    /// The same, with another value.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Done<U> {
        Done { value: convert(self.value), logged: self.logged, receipt: self.receipt, replayed: self.replayed }
    }
}

/// What an operation comes to.
pub type Outcome<T> = Result<Done<T>, Failure>;
