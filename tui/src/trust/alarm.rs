//! What is said of a check that failed, and what is kept of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What kind of check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// A checkpoint's signature is not valid.
    Signature,
    /// Another key signed.
    Key,
    /// The log calls itself otherwise.
    Origin,
    /// The log has fewer entries than it had.
    CutBack,
    /// The log has another past.
    Fork,
    /// An entry is not in the tree.
    Entry,
    /// Entries, tiles or proofs that must be there are not given.
    Withheld,
    /// Two contents for one index.
    Doubled,
    /// What came is no entry.
    Malformed,
    /// A tile is not that of the tree.
    Tile,
    /// A receipt is not honoured.
    Receipt,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// What kind.
    pub kind: BreachKind,
    /// A sentence.
    pub what: String,
    /// From which entry on nothing can be relied on, where that is known.
    pub index: Option<u64>,
    /// Both values, with what each is.
    pub facts: Vec<(String, String)>,
    /// What proves it.
    pub evidence: Value,
}

impl Breach {
    /// A breach without values yet.
    pub fn new(kind: BreachKind, what: String) -> Self {
        Self { kind, what, index: None, facts: Vec::new(), evidence: Value::Object(serde_json::Map::new()) }
    }
}

/// A breach that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What kind.
    pub kind: BreachKind,
    /// A sentence.
    pub what: String,
    /// Both values, with what each is.
    pub facts: Vec<(String, String)>,
    /// From which entry on.
    pub index: Option<u64>,
    /// When, in seconds since the epoch.
    pub at: i64,
    /// The file of the evidence, once it is written.
    pub evidence: Option<String>,
    /// Size and root that were pinned.
    pub last_good: Option<(u64, String)>,
    /// When they were seen.
    pub last_good_at: i64,
}
