//! What is held in quarantine, the longest held first, and what is known of the one that is selected.

use common::api::{Excerpt, QuarantineItem, ReviewInfo, VersionInfo};
use common::client::HeldQuery;
use common::name::Version;

use crate::action::RequestId;
use crate::filter::held_query;
use crate::state::deeds::Object;
use crate::state::marks::Marks;
use crate::window::{Cursor, Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;
/// Versions of the same model that are looked at beside a held one.
pub const NEIGHBOURS: u32 = 6;

impl Row for QuarantineItem {
    fn key(&self) -> String {
        name_of(self)
    }
}

/// The name by which people know it: `team/model:3`.
pub fn name_of(item: &QuarantineItem) -> String {
    format!("{}:{}", item.name, item.version)
}

/// Screen 4.
#[derive(Debug, Clone)]
pub struct QuarantineScreen {
    /// The versions.
    pub list: Window<QuarantineItem>,
    /// Whether it is the list of those that were blocked for good.
    pub blocked: bool,
    /// Which of them.
    pub filter: String,
    /// The selected one is shown whole, scrolled by so many lines.
    pub detail: Option<usize>,
    /// What was read about the selected one.
    pub reading: Option<Reading>,
    /// What a note is being typed for: the one that was selected then, whatever becomes of the list.
    pub noting: Option<Object>,
    /// Marked rows: what is done next is about all of them.
    pub marks: Marks,
}

impl Default for QuarantineScreen {
    fn default() -> Self {
        Self {
            list: Window::new(false),
            blocked: false,
            filter: String::new(),
            detail: None,
            reading: None,
            noting: None,
            marks: Marks::default(),
        }
    }
}

impl QuarantineScreen {
    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> HeldQuery {
        // A filter that doesn't parse is never set.
        let query = held_query(&self.filter).unwrap_or_default();
        HeldQuery { blocked: self.blocked || query.blocked, page: cursor.paging(PAGE_ROWS), ..query }
    }
}

/// The octets round a finding: asked for by a key only, for each reading is an entry of the log.
#[derive(Debug, Clone)]
pub struct Dump {
    /// The place of the finding.
    pub place: String,
    /// The answer.
    pub excerpt: Option<Box<Excerpt>>,
    /// The request for it.
    pub pending: Option<RequestId>,
    /// Why it didn't come.
    pub failed: Option<String>,
}

/// What was read about one of them.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Which: its key in the list.
    pub key: String,
    /// The model's id.
    pub model: String,
    /// The number.
    pub version: Version,
    /// All findings, and who brought it.
    pub info: Option<Box<VersionInfo>>,
    /// The newest versions of the model.
    pub neighbours: Option<Vec<VersionInfo>>,
    /// Notes, approvals, how its sender stands.
    pub review: Option<Box<ReviewInfo>>,
    /// The requests for these; none before the selection has rested, and after the answers.
    pub pending: [Option<RequestId>; 3],
    /// The finding that is selected among those shown.
    pub finding: Option<usize>,
    /// The octets round a finding.
    pub dump: Option<Dump>,
    /// Why one of them didn't come.
    pub failed: Option<String>,
    /// Whether they were asked for.
    pub asked: bool,
}
