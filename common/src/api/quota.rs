//! Bodies of `/quotas…` and `/me/quota`: how much somebody may keep, and keeps. Who decides that is not known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::audit::Receipt;
use crate::known::Known;

/// How a path and a command line name the namespace of the models whose names have no slash: no namespace can be called so.
pub const NO_NAMESPACE: &str = "-";

/// What a quota is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaKind {
    /// A user: what that user published.
    User,
    /// A namespace: what is in its models, whoever published it.
    Namespace,
}

impl QuotaKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Namespace => "namespace",
        }
    }

    /// The segment of `/quotas/…` below which those of this kind are.
    pub fn segment(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Namespace => "namespaces",
        }
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for QuotaKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::User, Self::Namespace]
            .into_iter()
            .find(|kind| text == kind.as_str() || text == kind.segment())
            .ok_or_else(|| format!("{text:?} has no quota: use user or namespace"))
    }
}

/// The most that may be kept; what is absent has no limit. Body of `PUT /quotas/{kind}/{of}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaLimits {
    /// Octets of the files of all versions that are not purged: each version counts in full, also where files are shared
    /// with others, and what is deleted counts as long as it can be restored.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub bytes: Option<u64>,
    /// Versions that are not purged.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub versions: Option<u64>,
    /// Models that are not purged; of namespaces only, for a model belongs to no user for ever.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub models: Option<u64>,
}

/// Limits in an answer: what a newer daemon limits besides is passed over, where a request with it is refused.
fn limits_told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QuotaLimits, D::Error> {
    #[derive(Deserialize)]
    struct Told {
        bytes: Option<u64>,
        versions: Option<u64>,
        models: Option<u64>,
    }
    let Told { bytes, versions, models } = Told::deserialize(deserializer)?;
    Ok(QuotaLimits { bytes, versions, models })
}

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaUsage {
    /// Octets, counted as [`QuotaLimits::bytes`] says.
    pub bytes: u64,
    /// Versions that are not purged.
    pub versions: u64,
    /// Models that are not purged; 0 for users.
    pub models: u64,
}

/// A quota, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaInfo {
    /// What it is of.
    #[schema(value_type = QuotaKind)]
    pub kind: Known<QuotaKind>,
    /// The user's name, or the namespace in lower case: empty for models whose names have no slash. Of a user that was
    /// deleted, the stable id.
    pub name: String,
    /// The limits that hold.
    #[serde(deserialize_with = "limits_told")]
    pub limits: QuotaLimits,
    /// Whether they were set for this one; else they are the daemon's defaults.
    pub is_own: bool,
    /// Who set them, where somebody did.
    pub set_by: Option<String>,
    /// When.
    pub set_at: Option<String>,
    /// What is kept.
    pub used: QuotaUsage,
    /// Octets of uploads under way at this daemon, which count as used until those end.
    pub reserved_bytes: u64,
}

/// A quota after a change, with the receipt of its entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QuotaChanged {
    /// The quota as it is now.
    pub quota: QuotaInfo,
    /// Proof of the entry.
    pub receipt: Receipt,
}

/// By how much something is over a quota; part of a problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaExcess {
    /// What the quota is of.
    #[schema(value_type = QuotaKind)]
    pub kind: Known<QuotaKind>,
    /// Whose it is: a user's name, or a namespace.
    pub name: String,
    /// What is limited: `bytes`, `versions` or `models`.
    pub of: String,
    /// The limit.
    pub limit: u64,
    /// How much is kept. Not told of a namespace to who doesn't see all models: it would tell of those that are hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How much uploads under way have reserved; told as `used` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u64>,
    /// How much more this would have taken.
    pub needed: u64,
}

impl QuotaExcess {
    /// Whose quota it is, in words.
    pub fn whose(&self) -> String {
        match (self.kind.known(), self.name.as_str()) {
            (Some(QuotaKind::Namespace), "") => "of the models without a namespace".to_owned(),
            (_, name) => format!("of the {} `{name}`", self.kind),
        }
    }
}
