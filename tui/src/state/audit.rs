//! The audit log by pages: newest at the foot, read newest first.

use common::api::AuditRow;
use common::client::AuditQuery;
use serde_json::Value;

use crate::filter::audit_query;
use crate::window::{Cursor, Row, Window};

/// Rows of a page: a bundle of the log.
pub const PAGE_ROWS: u32 = 256;

impl Row for AuditRow {
    fn key(&self) -> String {
        self.index.to_string()
    }
}

/// Text at a path of an entry, such as `["actor", "name"]`; empty if it is not there.
pub fn field<'a>(entry: &'a Value, path: &[&str]) -> &'a str {
    path.iter().try_fold(entry, |value, key| value.get(key)).and_then(Value::as_str).unwrap_or_default()
}

/// Screen 2.
#[derive(Debug, Clone)]
pub struct AuditScreen {
    /// The entries.
    pub list: Window<AuditRow>,
    /// The filter as typed; always one that [`audit_query`] takes.
    pub filter: String,
    /// Where the list begins: at the newest entry, or below an index that was jumped to.
    pub start: Cursor,
    /// The index to select when the page comes.
    pub goal: Option<u64>,
    /// The detail of the selected entry is shown, scrolled by so many lines.
    pub detail: Option<usize>,
}

impl Default for AuditScreen {
    fn default() -> Self {
        Self { list: Window::new(true), filter: String::new(), start: Cursor::Start, goal: None, detail: None }
    }
}

impl AuditScreen {
    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> AuditQuery {
        let mut query = audit_query(&self.filter).unwrap_or_default();
        query.limit = Some(PAGE_ROWS);
        match cursor {
            Cursor::Start => {}
            Cursor::Token(token) => query.cursor = Some(token.clone()),
            Cursor::Below(index) => query.before = Some(*index),
            Cursor::Between(above, below) => (query.after, query.before) = (Some(*above), Some(*below)),
        }
        query
    }
}
