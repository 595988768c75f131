//! The drop folder: what lies in it or came through it, as it is worked on or in another order.

use std::collections::BTreeMap;

use common::api::{IngestItem, IngestState, IntakeStatus};
use common::client::IngestQuery;

use crate::filter::ingest_query;
use crate::state::Level;
use crate::state::marks::Marks;
use crate::time::grouped;
use crate::window::{Cursor, Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;
/// Items that were tried again and are waited for: of more it isn't told what came of them.
pub const RETRIED_MAX: usize = 1_024;
/// Milliseconds between two readings while the screen is open.
pub const POLL_MS: u64 = 5_000;

/// The orders there are: their word for the daemon, and for people.
pub const SORTS: [(&str, &str); 3] = [("work", "work"), ("path", "file"), ("state_since", "change")];

impl Row for IngestItem {
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// An item that was tried again from here: what comes of it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Retried {
    /// Its path.
    pub path: String,
    /// How it stood before.
    pub before: Option<Box<IngestItem>>,
    /// The entry of the retry.
    pub index: Option<u64>,
}

impl Retried {
    /// What came of it, as the list shows it; none while that is still open, or not known here.
    pub fn outcome(&self, now: &IngestItem) -> Option<(Level, String)> {
        let stands_as_before =
            |before: &IngestItem| before.history == now.history && before.state_since == now.state_since;
        if self.before.as_deref().is_some_and(stands_as_before) {
            return None;
        }
        let why = now.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        match now.state.known()? {
            IngestState::Rejected => Some((Level::Error, format!("{} was rejected again{why}", self.path))),
            IngestState::Failed => Some((Level::Error, format!("{} failed again{why}", self.path))),
            IngestState::Quarantined => Some((Level::Warning, format!("{} is quarantined{why}", self.path))),
            IngestState::Done => {
                let version = now.name.as_deref().zip(now.version);
                let version = version.map_or_else(String::new, |(name, version)| format!(": {name} v{version}"));
                Some((Level::Info, format!("{} is done{version}", self.path)))
            }
            IngestState::Seen
            | IngestState::Waiting
            | IngestState::Hashing
            | IngestState::Scanning
            | IngestState::Storing => None,
        }
    }
}

/// Screen 3.
#[derive(Debug, Clone)]
pub struct QueueScreen {
    /// The items.
    pub list: Window<IngestItem>,
    /// The folder as a whole; none where there is none, or before the first page.
    pub intake: Option<IntakeStatus>,
    /// The filter as typed; always one that [`ingest_query`] takes.
    pub filter: String,
    /// The order: a place in [`SORTS`].
    pub sort: usize,
    /// The other way round.
    pub descending: bool,
    /// The detail of the selected item is shown, scrolled by so many lines.
    pub detail: Option<usize>,
    /// A page was an entry of the audit log: none is read that nobody asked for.
    pub is_audited: bool,
    /// The newest reading failed, and that was said.
    pub is_failing: bool,
    /// The rows were told to hold still: they are read by hand only.
    pub is_still: bool,
    /// Marked rows: what is done next is about all of them.
    pub marks: Marks,
    /// Items that were tried again from here, by their ids, until it is told what came of them.
    pub retried: BTreeMap<String, Retried>,
}

impl Default for QueueScreen {
    fn default() -> Self {
        Self {
            list: Window::new(false),
            intake: None,
            filter: String::new(),
            sort: 0,
            descending: false,
            detail: None,
            is_audited: false,
            is_failing: false,
            is_still: false,
            marks: Marks::default(),
            retried: BTreeMap::new(),
        }
    }
}

impl QueueScreen {
    /// One was tried again.
    pub fn tried(&mut self, id: &str, retried: Retried) {
        if self.retried.len() < RETRIED_MAX {
            self.retried.insert(id.to_owned(), retried);
        }
    }

    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> IngestQuery {
        let page = cursor.paging(PAGE_ROWS);
        let direction = if self.descending { "-" } else { "" };
        // How it comes by itself, needs no words.
        let is_own = self.sort == 0 && !self.descending;
        IngestQuery {
            sort: if is_own { String::new() } else { format!("{direction}{}", SORTS[self.sort].0) },
            cursor: page.cursor,
            before: page.before,
            limit: page.limit,
            ..ingest_query(&self.filter).unwrap_or_default()
        }
    }
}

/// Items that are not at an end and wait for nobody: seen, waiting, or being taken in.
pub fn under_way(intake: &IntakeStatus) -> u64 {
    let count = |state: IngestState| intake.states.get(&state.into()).copied().unwrap_or(0);
    [IngestState::Seen, IngestState::Waiting, IngestState::Hashing, IngestState::Scanning, IngestState::Storing]
        .into_iter()
        .map(count)
        .sum()
}

/// Items in states that are not known here, as `7 thawing`.
pub fn in_other_states(intake: &IntakeStatus) -> impl Iterator<Item = String> {
    let others = intake.states.iter().filter(|(state, count)| state.known().is_none() && **count > 0);
    others.map(|(state, count)| format!("{} {state}", grouped(*count)))
}

/// How much of an item has been read, in percent; none where nothing is being read.
pub fn percent(item: &IngestItem) -> Option<u64> {
    use IngestState::{Hashing, Scanning, Storing};
    let is_read = matches!(item.state.known(), Some(Hashing | Scanning | Storing));
    if !is_read || item.size == 0 {
        return None;
    }
    let part = u128::from(item.bytes_done.min(item.size)) * 100 / u128::from(item.size);
    u64::try_from(part).ok()
}

/// Seconds until the rest of an item has been read at the rate of now; none where that can't be told.
pub fn seconds_left(item: &IngestItem) -> Option<u64> {
    percent(item)?;
    let rate = item.bytes_per_second.filter(|rate| *rate > 0)?;
    let rest = item.size.saturating_sub(item.bytes_done);
    (rest > 0).then(|| rest.div_ceil(rate))
}

#[cfg(test)]
mod tests {
    use common::api::{IngestItem, IngestState};
    use serde_json::json;

    use super::{percent, seconds_left};

    fn item(state: IngestState, size: u64, done: u64, rate: Option<u64>) -> IngestItem {
        let value = json!({
            "id": "01K7Z0000000000000000000AB", "path": "a", "kind": "file", "state": state, "reason": null, "size": size,
            "files": 1, "bytes_done": done, "bytes_per_second": rate, "owner_uid": 1, "by": null, "seen_at": "",
            "state_since": "", "attempts": 0, "attempts_max": 5, "next_try_at": null, "name": null, "model": null,
            "version": null, "digest": null, "log_index": null, "place": "", "problem": null, "history": []
        });
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
    }

    /// How far and how long: whole percents, whole seconds upward, nothing where it can't be told, no overflow.
    #[test]
    fn how_far() {
        use IngestState::{Done, Hashing, Storing};
        for (state, size, done, rate, percents, seconds) in [
            (Hashing, 1000, 615, Some(10), Some(61), Some(39)),
            (Hashing, 1000, 615, None, Some(61), None),
            (Hashing, 1000, 615, Some(0), Some(61), None),
            (Hashing, 1000, 2000, Some(10), Some(100), None),
            (Storing, 0, 0, Some(10), None, None),
            (Done, 1000, 615, Some(10), None, None),
            (Hashing, u64::MAX, u64::MAX - 1, Some(u64::MAX), Some(99), Some(1)),
        ] {
            let item = item(state, size, done, rate);
            assert_eq!((percent(&item), seconds_left(&item)), (percents, seconds), "{state:?} {done} of {size}");
        }
    }
}
