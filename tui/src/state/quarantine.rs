//! What is held in quarantine, the longest held first, and what is known of the one that is selected.

use common::api::{QuarantineItem, VersionInfo};
use common::name::Version;

use crate::action::RequestId;
use crate::window::{Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;
/// Versions of the same model that are looked at beside a held one.
pub const NEIGHBOURS: u32 = 6;
/// How long the selection rests before more is read about it, in milliseconds.
pub const REST_MS: u64 = 120;

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
    /// The selected one is shown whole, scrolled by so many lines.
    pub detail: Option<usize>,
    /// What was read about the selected one.
    pub reading: Option<Reading>,
}

impl Default for QuarantineScreen {
    fn default() -> Self {
        Self { list: Window::new(false), blocked: false, detail: None, reading: None }
    }
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
    /// The requests for these; none before the selection has rested, and after the answers.
    pub pending: (Option<RequestId>, Option<RequestId>),
    /// Why one of them didn't come.
    pub failed: Option<String>,
    /// Whether they were asked for.
    pub asked: bool,
}
