//! The audit log by pages: newest at the foot, read newest first.

use std::collections::BTreeSet;

use common::api::AuditRow;
use common::client::AuditQuery;
use serde_json::Value;

use crate::action::RequestId;
use crate::filter::audit_query;
use crate::tail::Held;
use crate::window::{Cursor, Row, Window};

/// Rows of a page: a bundle of the log.
pub const PAGE_ROWS: u32 = 256;
/// Entries that may be marked one by one.
pub const MARKS_MAX: usize = 10_000;

/// What is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// These entries.
    pub indices: BTreeSet<u64>,
    /// All that match the filter, however many come.
    pub all: bool,
    /// The entry that was marked last: a range begins there.
    pub last: Option<u64>,
}

impl Marks {
    /// Whether nothing is marked.
    pub fn is_empty(&self) -> bool {
        !self.all && self.indices.is_empty()
    }

    /// Whether an entry is marked that is in the list.
    pub fn has(&self, index: u64) -> bool {
        self.all || self.indices.contains(&index)
    }
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// No verified checkpoint covers it, or its tile was not looked at yet.
    #[default]
    Pending,
    /// It is the one that the log committed to.
    Verified,
    /// It is not.
    Wrong,
}

/// A row of the list.
#[derive(Debug, Clone)]
pub struct Line {
    /// The entry.
    pub row: AuditRow,
    /// It came by the stream: checkpoints of the stream verify it.
    pub live: bool,
    /// What is known of it.
    pub mark: Mark,
    /// Instead of an entry: the entries from its index up to this one were withheld.
    pub missing_to: Option<u64>,
}

impl Line {
    /// An entry that was read by a page.
    pub fn read(row: AuditRow) -> Self {
        Self { row, live: false, mark: Mark::Pending, missing_to: None }
    }

    /// An entry of the stream. What is no entry is shown as its text.
    pub fn streamed(held: &Held) -> Self {
        let entry = match &held.malformed {
            None => serde_json::from_slice(&held.leaf).unwrap_or(Value::Null),
            Some(why) => serde_json::json!({
                "action": "(malformed)", "outcome": why,
                "target": {"kind": String::from_utf8_lossy(&held.leaf)},
            }),
        };
        let row = AuditRow { index: held.index, entry, leaf_hash: held.hash.to_string() };
        let mark = if held.malformed.is_some() { Mark::Wrong } else { Mark::Pending };
        Self { row, live: true, mark, missing_to: None }
    }

    /// Whether what came is no entry.
    pub fn is_malformed(&self) -> bool {
        self.row.entry.get("v").is_none()
    }

    /// Entries that were withheld.
    pub fn missing(from: u64, to: u64) -> Self {
        let row = AuditRow { index: from, entry: Value::Null, leaf_hash: String::new() };
        Self { row, live: true, mark: Mark::Wrong, missing_to: Some(to) }
    }
}

impl Row for Line {
    fn key(&self) -> String {
        self.row.index.to_string()
    }
}

/// The name that what an entry is about had when the entry was made, where the entry says it.
pub fn name_then(entry: &Value) -> Option<&str> {
    let name = match field(entry, &["target", "kind"]) {
        "user" if field(entry, &["target", "id"]) == field(entry, &["actor", "id"]) => field(entry, &["actor", "name"]),
        "model" | "version" | "file" | "alias" | "user" => field(entry, &["data", "name"]),
        _ => "",
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Text at a path of an entry, such as `["actor", "name"]`; empty if it is not there.
pub fn field<'a>(entry: &'a Value, path: &[&str]) -> &'a str {
    path.iter().try_fold(entry, |value, key| value.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// Screen 2.
#[derive(Debug, Clone)]
pub struct AuditScreen {
    /// The entries.
    pub list: Window<Line>,
    /// The filter as typed; always one that [`audit_query`] takes.
    pub filter: String,
    /// Where the list begins: at the newest entry, or below an index that was jumped to.
    pub start: Cursor,
    /// The index to select when the page comes.
    pub goal: Option<u64>,
    /// The detail of the selected entry is shown, scrolled by so many lines.
    pub detail: Option<usize>,
    /// The newest entry is at the foot, whichever it is.
    pub follow: bool,
    /// Matching entries that came since the rows were held still.
    pub new_below: u64,
    /// There is an alarm that was not shown yet.
    pub alarm_unseen: bool,
    /// Marked entries. They stay while pages come and go.
    pub marks: Marks,
    /// The question where the entries of a time begin, and the time.
    pub locating: Option<(RequestId, String)>,
}

impl Default for AuditScreen {
    fn default() -> Self {
        Self {
            list: Window::new(true),
            filter: String::new(),
            start: Cursor::Start,
            goal: None,
            detail: None,
            follow: true,
            new_below: 0,
            alarm_unseen: false,
            marks: Marks::default(),
            locating: None,
        }
    }
}

impl AuditScreen {
    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> AuditQuery {
        let mut query = audit_query(&self.filter).unwrap_or_default();
        query.limit = Some(PAGE_ROWS);
        match cursor {
            // The log is read by indices, the newest first: neither of the last two is made for it.
            Cursor::Start | Cursor::End | Cursor::Before(_) => {}
            Cursor::Token(token) => query.cursor = Some(token.clone()),
            Cursor::Below(index) => {
                query.before = Some(*index);
                // Up to the border of a bundle, so that one page is one proof.
                let over = u32::try_from(index % u64::from(PAGE_ROWS)).unwrap_or(0);
                let limit = if over < PAGE_ROWS * 3 / 4 { over + PAGE_ROWS } else { over };
                query.limit = Some(if self.filter.is_empty() { limit } else { PAGE_ROWS });
            }
            Cursor::Between(above, below) => (query.after, query.before) = (Some(*above), Some(*below)),
        }
        query
    }
}
