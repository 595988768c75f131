//! Bodies of `/retention…`: rules by which versions go, and what they would take. How a rule is carried out is not known
//! here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::State;
use crate::audit::Receipt;
use crate::known::Known;
use crate::name::{ModelId, ModelName, Version};
use crate::pattern::NamePattern;

/// The tag that keeps a model from every rule.
pub const KEEP_TAG: (&str, &str) = ("keep", "true");

/// What a rule does to what it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetentionAction {
    /// Deletes versions, restorably.
    Delete,
    /// Purges versions that were deleted and can't be restored any more.
    Purge,
}

impl RetentionAction {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }
}

/// A rule. A version goes where all conditions hold that are given. Never go, whatever they say: versions that an alias
/// points to, the newest available version of a model, versions blocked for good, and models with the tag `keep=true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Which models: a pattern of names in which `*` stands for any characters, slashes among them. Case doesn't matter.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    pub pattern: NamePattern,
    /// What is done.
    pub action: RetentionAction,
    /// The newest so many versions of each model stay, whatever their state; deleted ones don't count. Not with `purge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub keep_newest: Option<u32>,
    /// Only what was published longer ago than so many days; with `purge`, what was deleted longer ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 36_500)]
    pub older_than_days: Option<u32>,
    /// Only versions in one of these states: `available`, `quarantined`, `deprecated`. Empty: in any. Not with `purge`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<State>,
    /// Models with one of these tags, `key=value`, are left alone, besides those with `keep=true`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protect_tags: Vec<String>,
    /// Whether it is carried out by the clock. A preview and a run on demand don't ask for it.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// A [`RetentionRule`] in an answer: as what a newer daemon says besides is passed over, it is not to be sent back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRuleTold {
    /// As in [`RetentionRule`].
    pub pattern: NamePattern,
    /// As in [`RetentionRule`].
    pub action: Known<RetentionAction>,
    /// As in [`RetentionRule`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_newest: Option<u32>,
    /// As in [`RetentionRule`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_days: Option<u32>,
    /// As in [`RetentionRule`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Known<State>>,
    /// As in [`RetentionRule`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protect_tags: Vec<String>,
    /// As in [`RetentionRule`].
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl From<RetentionRule> for RetentionRuleTold {
    fn from(rule: RetentionRule) -> Self {
        let RetentionRule { pattern, action, keep_newest, older_than_days, states, protect_tags, enabled } = rule;
        let states = states.into_iter().map(Known::from).collect();
        Self { pattern, action: action.into(), keep_newest, older_than_days, states, protect_tags, enabled }
    }
}

/// What a run of a rule came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionRun {
    /// When it began.
    pub began_at: String,
    /// When it ended.
    pub ended_at: String,
    /// Versions that went.
    pub versions: u64,
    /// Octets of their files.
    pub bytes: u64,
    /// Whether nothing was left over: one run takes so many at most, and the next goes on within an hour.
    pub complete: bool,
    /// Whether somebody asked for it.
    pub on_demand: bool,
}

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionRuleInfo {
    /// Its name.
    pub name: String,
    /// The rule.
    #[schema(value_type = RetentionRule)]
    pub rule: RetentionRuleTold,
    /// Who set it last.
    pub set_by: String,
    /// When.
    pub set_at: String,
    /// Before this the clock does nothing about it, so that a mistake can be seen in a preview.
    pub first_run_at: String,
    /// When it is carried out next; none where it is not enabled.
    pub next_run_at: Option<String>,
    /// Since when somebody waits for it to be carried out on demand.
    pub requested_at: Option<String>,
    /// The last run that came to its end.
    pub last_run: Option<RetentionRun>,
}

/// A rule after a change, with the receipt of its entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetentionRuleChanged {
    /// The rule as it is now.
    pub rule: RetentionRuleInfo,
    /// Proof of the entry.
    pub receipt: Receipt,
}

/// A version that a rule would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionHit {
    /// The model's id.
    pub model: ModelId,
    /// The model's name.
    pub name: ModelName,
    /// The version's number.
    pub version: Version,
    /// Its state.
    #[schema(value_type = State)]
    pub state: Known<State>,
    /// When it was published.
    pub created_at: String,
    /// When it was deleted, where it is.
    pub deleted_at: Option<String>,
    /// Octets of its files.
    pub bytes: u64,
}

/// A page of what a rule would take, if it were carried out at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionPreview {
    /// The versions. A page may be short, even empty, and yet have a next one.
    pub items: Vec<RetentionHit>,
    /// Octets of the files of those on this page, each version counted in full. What is shared stays on the disk.
    pub bytes: u64,
    /// The moment it was judged for.
    pub at: String,
    /// Give it as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// Retention in a line, as `GET /status` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionStatus {
    /// Rules there are.
    pub rules: u64,
    /// Those of them that the clock carries out.
    pub enabled: u64,
    /// The rule that is carried out now, at this daemon.
    pub running: Option<String>,
    /// When a run last came to its end.
    pub last_ended_at: Option<String>,
    /// Versions that went by rules since this daemon started.
    pub versions_total: u64,
    /// Octets of their files.
    pub bytes_total: u64,
}
