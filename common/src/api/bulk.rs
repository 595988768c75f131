//! Answers of `DELETE /models` and `POST /models:restore`: many models changed at once, each told for itself. How they are
//! found is not known here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkLine {
    /// A model was changed.
    Done(BulkDone),
    /// A model was not.
    Failed(BulkFailed),
    /// The end. An answer without it was cut off: what it does not tell of may have been changed or not.
    Total(BulkTotal),
}

/// A model that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkDone {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Index of the entry of the audit log.
    pub log_index: u64,
    /// Until when a deletion can be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable_until: Option<String>,
}

/// A model that was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkFailed {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// URI reference of the problem type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened and what to do.
    pub detail: String,
}

/// What it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkTotal {
    /// Models that matched when it began.
    pub matched: u64,
    /// Of them, changed.
    pub done: u64,
    /// Of them, refused.
    pub failed: u64,
}
