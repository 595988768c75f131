//! The drop folder: what lies in it or came through it, as it is worked on or in another order.

use std::collections::BTreeMap;

use common::api::{IngestItem, IngestState, IntakeStatus};
use common::client::IngestQuery;

use crate::action::RequestId;
use crate::filter::ingest_query;
use crate::state::Level;
use crate::state::marks::Marks;
use crate::time::grouped;
use crate::window::{Cursor, Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;
/// Items that were tried again and are waited for: of older ones it isn't told what came of them.
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
    /// The first request that was sent when the retry had been answered: answers to others may show it as it was before.
    pub since: RequestId,
}

impl Retried {
    /// What came of it, as an answer to a request shows it; none while that is still open, or not known here.
    pub fn outcome(&self, now: &IngestItem, asked: RequestId) -> Option<(Level, String)> {
        let state = now.state.known()?;
        if asked < self.since || !self.is_since(now, state) {
            return None;
        }
        let why = now.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        match state {
            IngestState::Rejected => Some((Level::Error, format!("{}{why}", self.rejected()))),
            IngestState::Failed => {
                Some((Level::Error, format!("{} failed{}{why}", self.path, self.again(IngestState::Failed))))
            }
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

    /// Whether a state came after the retry for certain.
    fn is_since(&self, now: &IngestItem, state: IngestState) -> bool {
        match (now.log_index, self.index) {
            // That it failed is no entry: the one that is known decided before.
            (Some(decided), Some(began)) if state != IngestState::Failed => decided > began,
            _ => self.before.as_deref().is_some_and(|before| before.state_since != now.state_since),
        }
    }

    /// That it was rejected.
    pub fn rejected(&self) -> String {
        format!("{} was rejected{}", self.path, self.again(IngestState::Rejected))
    }

    /// Whether it was in this state before, as a word.
    fn again(&self, state: IngestState) -> &'static str {
        if self.before.as_deref().is_some_and(|before| before.state == state) { " again" } else { "" }
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
    /// What came of some, to be told when the message line is free.
    pub came: Vec<(Level, String)>,
    /// The message that tells of such a retry, as [`crate::state::State::said`] counts them: what came of it may take its place.
    pub retry_said: Option<u64>,
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
            came: Vec::new(),
            retry_said: None,
        }
    }
}

impl QueueScreen {
    /// One was tried again. Where too many are waited for, the oldest is given up.
    pub fn tried(&mut self, id: &str, retried: Retried) {
        self.retried.insert(id.to_owned(), retried);
        if self.retried.len() > RETRIED_MAX {
            let oldest = self.retried.iter().min_by_key(|(_, retried)| retried.since).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.retried.remove(&oldest);
            }
        }
    }

    /// What came of one is to be told.
    pub fn came_to(&mut self, outcome: (Level, String)) {
        if self.came.len() == RETRIED_MAX {
            self.came.remove(0);
        }
        self.came.push(outcome);
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

    use super::{QueueScreen, RETRIED_MAX, Retried, percent, seconds_left};
    use crate::action::RequestId;

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

    /// A row as it was before the retry is never told as what came of it, and "again" only what was so before.
    #[test]
    fn what_came_of_a_retry() {
        use IngestState::{Done, Failed, Rejected, Waiting};
        let row = |state, since: &str, log_index| {
            let mut row = item(state, 1, 0, None);
            (row.state_since, row.log_index) = (since.to_owned(), log_index);
            row
        };
        let of = |before: Option<IngestItem>, index| Retried {
            path: "a".to_owned(),
            before: before.map(Box::new),
            index,
            since: RequestId(5),
        };
        let was_rejected = || Some(row(Rejected, "1", Some(7)));
        let was_failed = || Some(row(Failed, "1", None));
        let mut stepped = row(Rejected, "1", Some(7));
        stepped.history.clear();
        for (before, index, now, asked, told) in [
            (was_rejected(), Some(8), row(Rejected, "2", Some(9)), 4, None),
            (was_rejected(), Some(8), row(Rejected, "2", Some(9)), 5, Some("a was rejected again")),
            (was_rejected(), Some(8), row(Rejected, "2", Some(7)), 5, None),
            (was_rejected(), Some(8), stepped.clone(), 5, None),
            (was_rejected(), None, stepped, 5, None),
            (was_rejected(), Some(8), row(Waiting, "2", None), 5, None),
            (was_rejected(), Some(8), row(Done, "2", Some(9)), 5, Some("a is done")),
            (was_rejected(), Some(8), row(Failed, "2", None), 5, Some("a failed")),
            (was_failed(), Some(8), row(Rejected, "2", None), 5, Some("a was rejected")),
            (was_failed(), Some(8), row(Failed, "2", None), 5, Some("a failed again")),
            (was_failed(), Some(8), row(Failed, "1", None), 5, None),
            (None, Some(8), row(Rejected, "2", Some(7)), 5, None),
            (None, Some(8), row(Rejected, "2", None), 5, None),
            (None, Some(8), row(Failed, "2", Some(9)), 5, None),
            (None, Some(8), row(Rejected, "2", Some(9)), 5, Some("a was rejected")),
            (None, Some(8), row(Done, "2", Some(9)), 5, Some("a is done")),
        ] {
            let retried = of(before, index);
            let outcome = retried.outcome(&now, RequestId(asked)).map(|(_, text)| text);
            assert_eq!(outcome.as_deref(), told, "{retried:?} {now:?}");
        }
    }

    /// However many were tried again, what comes of the newest is told.
    #[test]
    fn many_retries() {
        let mut screen = QueueScreen::default();
        let retried = |since: usize| Retried {
            path: since.to_string(),
            before: None,
            index: None,
            since: RequestId(u64::try_from(since).unwrap_or_default()),
        };
        for place in 0..RETRIED_MAX {
            screen.tried(&place.to_string(), retried(place));
        }
        screen.tried("0", retried(RETRIED_MAX));
        assert_eq!(screen.retried.len(), RETRIED_MAX);
        screen.tried("new", retried(RETRIED_MAX + 1));
        assert_eq!(screen.retried.len(), RETRIED_MAX);
        assert!(screen.retried.contains_key("0") && screen.retried.contains_key("new"));
        assert!(!screen.retried.contains_key("1"), "the oldest");
    }
}
