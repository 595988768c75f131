//! The list of models, and the model that is open.

use std::collections::BTreeMap;

use common::api::{Decision, ModelInfo, ModelRow, State, VersionInfo};
use common::client::ModelQuery;
use common::known::Known;
use common::name::Version;

use crate::action::RequestId;
use crate::filter::model_query;
use crate::state::diff::Compared;
use crate::window::{Cursor, Row, Window};

/// Rows of a page of models.
pub const PAGE_ROWS: u32 = 200;
/// Versions of a page: each has its files with it.
pub const VERSION_PAGE_ROWS: u32 = 50;
/// Models that may be marked at once.
pub const MARKS_MAX: usize = 10_000;
/// The orders the daemon serves: as it names them, as people do.
pub const SORTS: [(&str, &str); 3] = [("name", "name"), ("updated_at", "updated"), ("created_at", "created")];

impl Row for ModelRow {
    fn key(&self) -> String {
        self.id.to_string()
    }
}

impl Row for VersionInfo {
    fn key(&self) -> String {
        self.version.to_string()
    }
}

/// Whether a version is handed out although inspection came to another verdict than clean: by its policy, or because somebody
/// released it.
pub fn is_suspect(state: &Known<State>, verdict: Option<&str>) -> bool {
    let is_handed_out = match state.known() {
        Some(State::Available | State::Deprecated) => true,
        Some(State::Quarantined | State::Deleted) | None => false,
    };
    is_handed_out && verdict.is_some_and(|verdict| verdict != "clean")
}

/// A state in a list: `available!` where inspection warned of what is handed out.
pub fn state_word(state: &Known<State>, verdict: Option<&str>) -> String {
    format!("{}{}", state.as_str(), if is_suspect(state, verdict) { "!" } else { "" })
}

/// A decision as it is called where people make it.
pub fn decision_word(decision: &Known<Decision>) -> &str {
    match decision.known() {
        Some(Decision::Blocked) => "rejected",
        Some(Decision::Released) | None => decision.as_str(),
    }
}

/// Screen 1.
#[derive(Debug, Clone)]
pub struct ModelsScreen {
    /// The list.
    pub list: Window<ModelRow>,
    /// The filter that is sent as `q`.
    pub filter: String,
    /// Which of [`SORTS`].
    pub sort: usize,
    /// Largest or newest first.
    pub descending: bool,
    /// The model that is open.
    pub open: Option<OpenModel>,
    /// Marked models: id to name. They stay while pages come and go.
    pub marks: BTreeMap<String, String>,
    /// The model that was marked last: a range begins there.
    pub last_mark: Option<String>,
    /// The model in the pane beside the list.
    pub peek: Peek,
    /// All that match the filter are marked, as a query; how many they were then, where that was known.
    pub all: Option<Option<u64>>,
    /// The query that is read to mark all of it one by one.
    pub marking: Option<RequestId>,
    /// The row the pane beside the list tells of, by its key: it follows the selection when that rests.
    pub pane: Option<String>,
    /// The row it will tell of.
    pub pane_next: Option<String>,
}

/// The pane beside the list: it follows the selection when that has rested, so that scrolling asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Peek {
    /// The model that was selected last.
    pub id: String,
    /// When its row was changed last: another time means that it is read again.
    pub updated_at: String,
    /// What was read of it.
    pub info: Option<Box<ModelInfo>>,
    /// The request for that.
    pub pending: Option<RequestId>,
}

impl Default for ModelsScreen {
    fn default() -> Self {
        Self {
            list: Window::new(false),
            filter: String::new(),
            sort: 1,
            descending: true,
            open: None,
            marks: BTreeMap::new(),
            last_mark: None,
            all: None,
            peek: Peek::default(),
            marking: None,
            pane: None,
            pane_next: None,
        }
    }
}

impl ModelsScreen {
    /// Whether a row is marked.
    pub fn is_marked(&self, row: &ModelRow) -> bool {
        self.all.is_some() || self.marks.contains_key(&row.id.to_string())
    }

    /// Whether anything is marked.
    pub fn has_marks(&self) -> bool {
        self.all.is_some() || !self.marks.is_empty()
    }

    /// The query for all that match, wherever they are in the list.
    pub fn whole(&self) -> ModelQuery {
        ModelQuery { cursor: None, before: None, limit: None, ..self.query(&Cursor::Start) }
    }

    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> ModelQuery {
        let direction = if self.descending { "-" } else { "" };
        let page = cursor.paging(PAGE_ROWS);
        ModelQuery {
            sort: format!("{direction}{}", SORTS[self.sort].0),
            cursor: page.cursor,
            before: page.before,
            limit: page.limit,
            // A filter that doesn't parse is never set.
            ..model_query(&self.filter).unwrap_or_default()
        }
    }
}

/// A model being looked at.
#[derive(Debug, Clone)]
pub struct OpenModel {
    /// How the daemon is asked for it.
    pub reference: String,
    /// Its name, where that was known when it was opened.
    pub name: Option<String>,
    /// Its description and all that is not in the list.
    pub info: Option<Box<ModelInfo>>,
    /// The request for that.
    pub pending: Option<RequestId>,
    /// Why it didn't come.
    pub failed: Option<String>,
    /// Its versions, newest first.
    pub versions: Window<VersionInfo>,
    /// The selected version is shown whole, scrolled by so many lines.
    pub reading: Option<usize>,
    /// The version to be shown once it is read.
    pub goal: Option<Version>,
    /// The two latest are compared once they are read.
    pub compares: bool,
    /// The version that is marked for a comparison.
    pub marked: Option<Version>,
    /// Two versions that are compared.
    pub compared: Option<Box<Compared>>,
}

impl OpenModel {
    /// A model of which nothing is known but the reference, and its name where it was chosen by that.
    pub fn new(reference: String, name: Option<String>) -> Self {
        Self {
            reference,
            name,
            info: None,
            pending: None,
            failed: None,
            versions: Window::new(false),
            reading: None,
            goal: None,
            compares: false,
            marked: None,
            compared: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::api::State;

    use super::state_word;

    /// What is handed out in spite of what was found looks like nothing else; what isn't handed out needs no sign.
    #[test]
    fn states() {
        for (state, verdict, word) in [
            (State::Available, None, "available"),
            (State::Available, Some("clean"), "available"),
            (State::Available, Some("malicious"), "available!"),
            (State::Available, Some("suspicious"), "available!"),
            (State::Deprecated, Some("unscannable"), "deprecated!"),
            (State::Quarantined, Some("malicious"), "quarantined"),
            (State::Deleted, Some("malicious"), "deleted"),
        ] {
            assert_eq!(state_word(&state.into(), verdict), word);
        }
    }
}
