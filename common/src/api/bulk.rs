//! Answers of `DELETE /models` and `POST /models:restore`: many models changed at once, each told for itself. How they are
//! found is not known here.

use serde::{Deserialize, Serialize};

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkLine {
    /// A model was changed.
    Done(BulkDone),
    /// A model was not.
    Failed(BulkFailed),
    /// The end. An answer without it was cut off, or the log failed in the middle of one: what it does not tell of may have been
    /// changed or not.
    Total(BulkTotal),
}

/// A model that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkTotal {
    /// Models that matched when it began.
    pub matched: u64,
    /// Of them, changed.
    pub done: u64,
    /// Of them, refused.
    pub failed: u64,
    /// SHA-256 of their ids, in ascending order, a line each: the same set has the same. As `set` it says which are meant.
    pub set: String,
}
