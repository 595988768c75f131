//! What an operator decides, as the registry sees it: typed, valid, complete. Refuses to know where it was written down.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use common::name::Alias;
use common::role::Role;

pub use crate::config::scan::{ScanPolicies, ScanPolicy};
use crate::config::secret::Secret;
pub use crate::config::webhooks::Allowed;

/// The registry's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key of tokens, at least 32 octets.
    pub jwt_secret: Secret,
    /// The key before it: its tokens are still accepted.
    pub jwt_secret_previous: Option<Secret>,
    /// Life of a token.
    pub token_ttl: Duration,
    /// Life of a session; a refresh can't go past it.
    pub session_ttl: Duration,
    /// The longest life of an API token; none: it may be for ever.
    pub api_token_ttl_max: Option<Duration>,
    /// Whether anyone may register as a viewer.
    pub open_registration: bool,
    /// Second factors.
    pub totp: TotpSettings,
    /// Octets of one upload, all files.
    pub upload_bytes_max: u64,
    /// Uploads are refused when less would stay free, octets.
    pub min_free_bytes: u64,
    /// What is done about what inspection finds, by model.
    pub scan_policies: ScanPolicies,
    /// How many people it takes to release a version from quarantine; at least 1.
    pub release_approvals: u32,
    /// Octets of files that are inspected anew in a second; none: only on demand.
    pub rescan_bytes_per_second: Option<NonZeroU64>,
    /// Aliases that only admins may move.
    pub protected_aliases: BTreeSet<Alias>,
    /// How long what was deleted can be restored.
    pub restore_period: Duration,
    /// Which reads are recorded.
    pub audit_reads: AuditReads,
    /// How much of a client's address is recorded.
    pub client_ip: ClientIp,
    /// Who may fetch the log's checkpoint and hashes.
    pub hash_access: HashAccess,
    /// How blobs are read again.
    pub scrub: ScrubSettings,
    /// Uploads that can be gone on with.
    pub resumable: ResumableSettings,
    /// What is sent to others about entries.
    pub webhooks: WebhookSettings,
    /// How much may be kept, where nothing else was set.
    pub quotas: QuotaSettings,
    /// When rules by which versions go are carried out.
    pub retention: RetentionSettings,
    /// When bytes that nothing points to are looked for.
    pub gc: GcSettings,
}

/// Second factors.
#[derive(Debug, Clone)]
pub struct TotpSettings {
    /// The key that secrets are made with, at least 32 octets.
    pub key: Secret,
    /// Whether it was generated here, so that no other daemon has it.
    pub is_own_key: bool,
    /// Who must have one.
    pub required: TotpRequired,
}

/// `MREG_REQUIRE_TOTP`: who must have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotpRequired {
    /// Nobody.
    None,
    /// Admins.
    Admins,
    /// Everybody who signs in.
    All,
}

impl TotpRequired {
    /// Whether somebody with this role must.
    pub fn of(self, role: Role) -> bool {
        match self {
            Self::None => false,
            Self::Admins => role == Role::Admin,
            Self::All => true,
        }
    }
}

/// What is sent to others about entries.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// The key that secrets are made with, at least 32 octets.
    pub key: Secret,
    /// Whether it was generated here, so that no other daemon has it.
    pub is_own_key: bool,
    /// Where they may lead besides public addresses.
    pub allow: Allowed,
}

/// How much may be kept, where nothing else was set.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuotaSettings {
    /// Octets of a user; none: no limit.
    pub user_bytes: Option<u64>,
    /// Octets of a namespace; none: no limit.
    pub namespace_bytes: Option<u64>,
}

/// When rules by which versions go are carried out.
#[derive(Debug, Clone, Copy)]
pub struct RetentionSettings {
    /// How long a rule that was set does nothing by the clock.
    pub grace: Duration,
    /// From the end of a run to the next.
    pub interval: Duration,
}

/// When bytes that nothing points to are looked for.
#[derive(Debug, Clone)]
pub struct GcSettings {
    /// From the end of one collection to the next; none: only on demand.
    pub interval: Option<Duration>,
    /// What was stored less long ago is left alone.
    pub min_age: Duration,
    /// Where there is room for some 50 octets a blob meanwhile.
    pub dir: PathBuf,
}

/// Uploads that can be gone on with.
#[derive(Debug, Clone)]
pub struct ResumableSettings {
    /// The directory of their records.
    pub dir: PathBuf,
    /// An upload to which nothing was appended for so long is over.
    pub expiry: Duration,
    /// Open ones of one user.
    pub per_user_max: usize,
    /// Octets that the open ones of one user may come to.
    pub per_user_bytes_max: u64,
}

/// How every blob is read again and compared with its digest.
#[derive(Debug, Clone)]
pub struct ScrubSettings {
    /// From the beginning of one pass to the next; none: only what is suspected is read.
    pub interval: Option<Duration>,
    /// How much is read.
    pub bytes_per_second: u64,
    /// The file that says how far a pass has come.
    pub position: PathBuf,
}

/// `MREG_AUDIT_READS` (audit-log.md §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditReads {
    /// Changes, hand-outs of content, refusals and failures, readings of the log.
    Content,
    /// Reads of metadata as well.
    All,
}

/// `MREG_AUDIT_CLIENT_IP` (audit-log.md §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIp {
    /// As it is.
    Full,
    /// Its /24, or /48 for IPv6.
    Truncated,
    /// Not at all.
    None,
}

/// `MREG_LOG_HASH_ACCESS` (audit-log.md §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAccess {
    /// Anyone.
    Public,
    /// Whoever has a live token.
    Authenticated,
}
