//! Body and answer of `POST /gc`: bytes that nothing needs, and bytes that are missing. How they are found is not known here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::digest::Digest;

/// Body of `POST /gc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GcRequest {
    /// Only tell what would be removed.
    #[serde(default)]
    pub dry_run: bool,
    /// Leave alone what was stored less than so many seconds ago; the daemon's setting without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 315_360_000)]
    pub min_age_seconds: Option<u64>,
}

/// A line of the answer of `POST /gc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GcLine {
    /// How far it is.
    Progress {
        /// What is looked at.
        step: String,
        /// How much of it was.
        done: u64,
    },
    /// A blob that nothing points to.
    Orphan {
        /// Which.
        digest: Digest,
        /// Octets.
        size: u64,
        /// Whether it was removed; in a dry run, whether it would be.
        removed: bool,
    },
    /// Something is wrong.
    Failure {
        /// Where: a digest.
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
    Total(GcTotal),
}

/// What a collection came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GcTotal {
    /// Whether nothing was to be removed.
    pub dry_run: bool,
    /// Blobs that are stored.
    pub stored: u64,
    /// Octets of them.
    pub stored_bytes: u64,
    /// Blobs that versions point to.
    pub needed: u64,
    /// Blobs that nothing points to.
    pub orphans: u64,
    /// Octets of them.
    pub orphan_bytes: u64,
    /// Orphans that were removed; in a dry run, that would be.
    pub removed: u64,
    /// Octets of them.
    pub removed_bytes: u64,
    /// Orphans that were left because they are too young, or somebody holds them.
    pub left: u64,
    /// Blobs that versions point to and that are not there.
    pub missing: u64,
    /// Blobs that have another size than was recorded.
    pub wrong_size: u64,
    /// Blobs whose count of references doesn't fit the versions that point to them.
    pub miscounted: u64,
}

/// The collection in a line, as `GET /status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GcStatus {
    /// `off`, `waiting` or `running`.
    pub state: String,
    /// When the last one that removed anything, or could have, came to its end.
    pub last_ended_at: Option<String>,
    /// What it came to.
    pub last: Option<GcTotal>,
    /// When the next is due; none where there is none by the clock.
    pub next_at: Option<String>,
}
