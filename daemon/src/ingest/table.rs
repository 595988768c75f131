//! All items as they are shown. A plain table behind a lock that is never held over I/O; the task of the drop folder writes
//! it, everybody may read. Knows states; refuses to know files and what an item's next step is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::api::{IngestItem, IngestKind, IngestPage, IngestState, IngestStep, IntakeStatus};
use common::digest::Digest;
use common::name::{ItemId, ModelId, Version};
use tokio::sync::watch;

use crate::clock;
use crate::ingest::queue::{ItemQuery, ItemSort};
use crate::registry::cursor;
use crate::registry::error::RegistryError;
use crate::registry::ingest::Stage;
use crate::store::view::words;

/// How often an item is tried before it waits for a person.
pub(crate) const ATTEMPTS_MAX: u32 = 8;
/// Steps of an item that are kept.
const HISTORY_MAX: usize = 20;
/// Items that came to a version leave the list after so long, milliseconds …
pub(crate) const DONE_KEPT_MS: i64 = clock::HOUR_MS;
/// … and there are never more of them than this.
pub(crate) const DONE_MAX: usize = 1000;
/// Refused items in the list; older ones lie in `rejected/` all the same.
pub(crate) const REJECTED_MAX: usize = 1000;
/// The rate is that of about so many seconds.
const RATE_SAMPLES: usize = 6;
/// Characters of a path that its order goes by: a cursor has them, which is no longer than it may be whatever they are.
const SORTED_CHARS_MAX: usize = 256;
/// Items of a page where nobody says how many.
const PAGE: usize = 50;
/// Items of a page at most.
const PAGE_MAX: usize = 1000;

/// What is read of an item while it is read; written by whoever reads it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Octets read.
    pub(crate) octets: AtomicU64,
    /// Told by the registry.
    pub(crate) stage: watch::Sender<Option<Stage>>,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { octets: AtomicU64::new(0), stage: watch::Sender::new(None) })
    }
}

/// An item as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) kind: IngestKind,
    pub(crate) state: IngestState,
    pub(crate) reason: Option<String>,
    pub(crate) size: u64,
    pub(crate) files: u64,
    pub(crate) octets_done: u64,
    pub(crate) owner_uid: u32,
    pub(crate) by: Option<String>,
    pub(crate) seen_at_ms: i64,
    pub(crate) state_since_ms: i64,
    pub(crate) attempts: u32,
    pub(crate) next_try_at_ms: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) model: Option<ModelId>,
    pub(crate) version: Option<Version>,
    pub(crate) digest: Option<Digest>,
    pub(crate) log_index: Option<u64>,
    pub(crate) place: String,
    /// Slug of the problem type.
    pub(crate) problem: Option<String>,
    pub(crate) history: VecDeque<(i64, IngestState, String)>,
    pub(crate) progress: Option<Arc<Progress>>,
    /// Octets at a time, the oldest first; while it is read.
    pub(crate) samples: VecDeque<(Instant, u64)>,
}

impl Row {
    /// One that has just been seen.
    pub(crate) fn new(path: String, place: String, kind: IngestKind, now_ms: i64) -> Self {
        Self {
            path,
            kind,
            state: IngestState::Seen,
            reason: None,
            size: 0,
            files: 0,
            octets_done: 0,
            owner_uid: 0,
            by: None,
            seen_at_ms: now_ms,
            state_since_ms: now_ms,
            attempts: 0,
            next_try_at_ms: None,
            name: None,
            model: None,
            version: None,
            digest: None,
            log_index: None,
            place,
            problem: None,
            history: VecDeque::new(),
            progress: None,
            samples: VecDeque::new(),
        }
    }

    /// Comes to a state. A step of its history, unless it is there already.
    pub(crate) fn come_to(&mut self, state: IngestState, reason: Option<String>, now_ms: i64) {
        if self.state != state || self.history.is_empty() {
            let text = reason.clone().unwrap_or_else(|| word(state).to_owned());
            self.step(state, text, now_ms);
            self.state_since_ms = now_ms;
        }
        if !matches!(state, IngestState::Hashing | IngestState::Scanning | IngestState::Storing) {
            self.progress = None;
            self.samples.clear();
        }
        if state != IngestState::Failed {
            self.next_try_at_ms = None;
        }
        self.state = state;
        self.reason = reason;
    }

    /// Something happened to it.
    pub(crate) fn step(&mut self, state: IngestState, text: String, now_ms: i64) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((now_ms, state, text));
    }

    /// What its state is at this moment: how far it is read is known by others.
    fn state_now(&self) -> IngestState {
        match self.progress.as_ref().map(|progress| *progress.stage.borrow()) {
            Some(Some(Stage::Scanning)) => IngestState::Scanning,
            Some(Some(Stage::Storing)) => IngestState::Storing,
            Some(None) | None => self.state,
        }
    }

    fn rate(&self) -> Option<u64> {
        let progress = self.progress.as_ref().filter(|_| self.state_now() == IngestState::Hashing)?;
        let (since, octets) = self.samples.front()?;
        let millis = u64::try_from(since.elapsed().as_millis()).ok().filter(|millis| *millis > 0)?;
        let more = progress.octets.load(Ordering::Relaxed).saturating_sub(*octets);
        Some(more.saturating_mul(1000) / millis)
    }

    fn render(&self, id: ItemId) -> IngestItem {
        let octets = self.progress.as_ref().map(|progress| progress.octets.load(Ordering::Relaxed));
        IngestItem {
            id: id.to_string(),
            path: self.path.clone(),
            kind: self.kind.into(),
            state: self.state_now().into(),
            reason: self.reason.clone(),
            size: self.size,
            files: self.files,
            bytes_done: octets.unwrap_or(self.octets_done),
            bytes_per_second: self.rate(),
            owner_uid: self.owner_uid,
            by: self.by.clone(),
            seen_at: clock::rfc3339(self.seen_at_ms),
            state_since: clock::rfc3339(self.state_since_ms),
            attempts: self.attempts,
            attempts_max: ATTEMPTS_MAX,
            next_try_at: self.next_try_at_ms.map(clock::rfc3339),
            name: self.name.clone(),
            model: self.model,
            version: self.version,
            digest: self.digest,
            log_index: self.log_index,
            place: self.place.clone(),
            problem: self.problem.as_ref().map(|slug| format!("/problems/{slug}")),
            history: self
                .history
                .iter()
                .map(|(at_ms, state, text)| IngestStep {
                    at: clock::rfc3339(*at_ms),
                    state: (*state).into(),
                    text: text.clone(),
                })
                .collect(),
        }
    }
}

/// A state in words, where nothing else is said.
fn word(state: IngestState) -> &'static str {
    match state {
        IngestState::Seen => "seen",
        IngestState::Waiting => "it waits",
        IngestState::Hashing => "it is read and hashed",
        IngestState::Scanning => "it is inspected",
        IngestState::Storing => "it is stored",
        IngestState::Done => "it is a version",
        IngestState::Quarantined => "it is a version, and held in quarantine",
        IngestState::Rejected => "it was refused",
        IngestState::Failed => "it could not be taken in",
    }
}

/// Where a state stands in the list.
fn rank(state: IngestState) -> u8 {
    match state {
        IngestState::Hashing | IngestState::Scanning | IngestState::Storing => 0,
        IngestState::Waiting | IngestState::Seen => 1,
        IngestState::Failed => 2,
        IngestState::Rejected => 3,
        IngestState::Done | IngestState::Quarantined => 4,
    }
}

fn is_over(state: IngestState) -> bool {
    matches!(state, IngestState::Done | IngestState::Quarantined | IngestState::Rejected)
}

/// All items, and what there is to say of the folder.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<ItemId, Row>,
    /// What does not hang on the items.
    pub(crate) folder: IntakeStatus,
    /// Items that came to a version, by minute since the epoch; the last hour's.
    done_minutes: VecDeque<(i64, u64)>,
    /// In the order in which they came to it.
    done: VecDeque<(i64, ItemId)>,
    rejected: VecDeque<ItemId>,
}

impl Table {
    pub(crate) fn get(&self, id: ItemId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// Changes an item that is there.
    pub(crate) fn change(&mut self, id: ItemId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(&id) {
            change(row);
        }
    }

    pub(crate) fn insert(&mut self, id: ItemId, row: Row) {
        self.rows.insert(id, row);
    }

    pub(crate) fn remove(&mut self, id: ItemId) -> Option<Row> {
        self.rows.remove(&id)
    }

    /// Notes that an item has come to a version; `anew`: since the start.
    pub(crate) fn count_done(&mut self, id: ItemId, octets: u64, now_ms: i64, anew: bool) {
        self.folder.done_total += u64::from(anew);
        self.folder.bytes_total = self.folder.bytes_total.saturating_add(if anew { octets } else { 0 });
        let minute = now_ms / clock::MINUTE_MS;
        match self.done_minutes.back_mut() {
            Some((last, count)) if *last == minute => *count += 1,
            Some(_) | None => self.done_minutes.push_back((minute, 1)),
        }
        self.done.push_back((now_ms, id));
        while self.done.len() > DONE_MAX {
            self.forget_oldest_done();
        }
    }

    /// Notes that an item was refused; `anew`: since the start.
    pub(crate) fn count_rejected(&mut self, id: ItemId, anew: bool) {
        self.folder.rejected_total += u64::from(anew);
        self.rejected.retain(|one| *one != id);
        self.rejected.push_back(id);
        while self.rejected.len() > REJECTED_MAX {
            if let Some(oldest) = self.rejected.pop_front() {
                self.drop_if(oldest, |state| state == IngestState::Rejected);
            }
        }
    }

    fn forget_oldest_done(&mut self) {
        if let Some((_, oldest)) = self.done.pop_front() {
            self.drop_if(oldest, |state| matches!(state, IngestState::Done | IngestState::Quarantined));
        }
    }

    fn drop_if(&mut self, id: ItemId, is: impl Fn(IngestState) -> bool) {
        if self.rows.get(&id).is_some_and(|row| is(row.state)) {
            self.rows.remove(&id);
        }
    }

    /// What the clock does: old items leave, rates are measured.
    pub(crate) fn tick(&mut self, now: Instant, now_ms: i64) {
        while self.done.front().is_some_and(|(at_ms, _)| *at_ms + DONE_KEPT_MS < now_ms) {
            self.forget_oldest_done();
        }
        let hour_ago = (now_ms - clock::HOUR_MS) / clock::MINUTE_MS;
        while self.done_minutes.front().is_some_and(|(minute, _)| *minute <= hour_ago) {
            self.done_minutes.pop_front();
        }
        for row in self.rows.values_mut() {
            let Some(progress) = &row.progress else { continue };
            let is_due = row.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1));
            if is_due {
                if row.samples.len() == RATE_SAMPLES {
                    row.samples.pop_front();
                }
                row.samples.push_back((now, progress.octets.load(Ordering::Relaxed)));
            }
        }
    }

    /// An item as it is shown.
    pub(crate) fn item(&self, id: ItemId) -> Option<IngestItem> {
        self.rows.get(&id).map(|row| row.render(id))
    }

    /// A page of those that are to be shown. All rows are here, and looked at for each page as their states change while they are
    /// at work: that is no less where nobody asks for another order.
    ///
    /// # Errors
    /// `Invalid` for the cursor.
    pub(crate) fn page(&self, query: &ItemQuery, is_shown: &dyn Fn(&Row) -> bool) -> Result<IngestPage, RegistryError> {
        let text = query.text.as_ref().map(|text| text.to_lowercase());
        let all: Vec<&str> = text.as_deref().map(words).into_iter().flatten().collect();
        let mut states = query.states.clone();
        states.sort_unstable();
        let ItemQuery { sort, down, .. } = *query;
        let of = format!("ingest {states:?} {text:?} {sort:?} {down}");
        let sought = cursor::seek::<Key>(&of, &query.seek)?;
        let mut found: Vec<(Key, ItemId)> = self
            .rows
            .iter()
            .filter(|(_, row)| states.is_empty() || states.contains(&row.state_now()))
            .filter(|(_, row)| {
                let path = if all.is_empty() { String::new() } else { row.path.to_lowercase() };
                all.iter().all(|word| path.contains(word))
            })
            .filter(|(_, row)| is_shown(row))
            .map(|(id, row)| (key(sort, *id, row), *id))
            .collect();
        found.sort_unstable();
        if down {
            found.reverse();
        }
        let is_before = |one: &Key, other: &Key| if down { one > other } else { one < other };
        let total = found.len() as u64;
        let limit = if query.limit == 0 { PAGE } else { query.limit.min(PAGE_MAX) };
        let (page, more) = if sought.backward {
            let end =
                sought.from.as_ref().map_or(found.len(), |from| found.partition_point(|(key, _)| is_before(key, from)));
            let begin = end.saturating_sub(limit);
            (found.get(begin..end).unwrap_or_default(), begin > 0)
        } else {
            let begin = sought.from.as_ref().map_or(0, |from| found.partition_point(|(key, _)| !is_before(from, key)));
            let rest = found.get(begin..).unwrap_or_default();
            let page = rest.get(..limit).unwrap_or(rest);
            (page, page.len() < rest.len())
        };
        let ends = page.first().zip(page.last()).map(|((first, _), (last, _))| (first, last));
        let on = ends.filter(|_| more).map(|(first, last)| if sought.backward { first } else { last });
        let (next_cursor, prev_cursor) = sought.ends(&of, ends, on, Some(total))?;
        Ok(IngestPage {
            items: page.iter().filter_map(|(_, id)| self.item(*id)).collect(),
            total: Some(total),
            next_cursor,
            prev_cursor,
            intake: Some(self.status()),
        })
    }

    /// The folder as a whole.
    pub(crate) fn status(&self) -> IntakeStatus {
        let mut status = self.folder.clone();
        status.states = BTreeMap::new();
        let mut oldest: Option<i64> = None;
        for row in self.rows.values() {
            let state = row.state_now();
            *status.states.entry(state.into()).or_default() += 1;
            status.active += u64::from(rank(state) == 0);
            if !is_over(state) {
                oldest = Some(oldest.map_or(row.seen_at_ms, |oldest| oldest.min(row.seen_at_ms)));
            }
        }
        status.done_last_hour = self.done_minutes.iter().map(|(_, count)| count).sum();
        status.oldest_seen_at = oldest.map(clock::rfc3339);
        status
    }
}

/// Where an item stands in the list: its group, its time, its path, its id; what is of no matter to the order is empty.
type Key = (u8, i64, String, String);

fn key(sort: ItemSort, id: ItemId, row: &Row) -> Key {
    let id = id.to_string();
    match sort {
        ItemSort::Work => {
            let rank = rank(row.state_now());
            // What is done: the newest first.
            let age = if rank == 4 { -row.state_since_ms } else { row.seen_at_ms };
            (rank, age, String::new(), id)
        }
        ItemSort::Path => {
            let path: String = row.path.chars().take(SORTED_CHARS_MAX).collect();
            (0, 0, path.to_lowercase(), id)
        }
        ItemSort::StateSince => (0, row.state_since_ms, String::new(), id),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Instant;

    use common::api::{IngestKind, IngestState};
    use common::name::ItemId;

    use super::{DONE_KEPT_MS, DONE_MAX, HISTORY_MAX, Progress, REJECTED_MAX, Row, Stage, Table};
    use crate::ingest::queue::{ItemQuery, ItemSort};
    use crate::registry::cursor::Seek;

    fn id(number: u128) -> ItemId {
        ItemId::from_u128(number)
    }

    fn row(path: &str, state: IngestState, at_ms: i64) -> Row {
        let mut row = Row::new(path.to_owned(), format!("incoming/{path}"), IngestKind::File, at_ms);
        row.come_to(state, None, at_ms);
        row
    }

    fn paths(table: &Table, query: &ItemQuery) -> Vec<String> {
        table.page(query, &|_row| true).unwrap().items.into_iter().map(|item| item.path).collect()
    }

    /// The list begins with what is at work; pages go through all of it once, filters hold over pages, and a cursor of
    /// another list is refused.
    #[test]
    fn pages() {
        let mut table = Table::default();
        let states = [
            ("done-old", IngestState::Done, 1),
            ("rejected", IngestState::Rejected, 2),
            ("waiting-new", IngestState::Waiting, 9),
            ("seen-old", IngestState::Seen, 3),
            ("hashing", IngestState::Hashing, 5),
            ("failed", IngestState::Failed, 6),
            ("done-new", IngestState::Quarantined, 7),
        ];
        for (number, (path, state, at_ms)) in states.into_iter().enumerate() {
            table.insert(id(number as u128), row(path, state, at_ms));
        }
        let order = ["hashing", "seen-old", "waiting-new", "failed", "rejected", "done-new", "done-old"];
        assert_eq!(paths(&table, &ItemQuery { limit: 100, ..ItemQuery::default() }), order);
        let mut all = Vec::new();
        let mut query = ItemQuery { limit: 2, ..ItemQuery::default() };
        loop {
            let page = table.page(&query, &|_row| true).unwrap();
            assert_eq!(page.total, Some(7));
            all.extend(page.items.into_iter().map(|item| item.path));
            let Some(next) = page.next_cursor else { break };
            query.seek = Seek::After(next);
        }
        assert_eq!(all, order);
        // The same from the end to the beginning.
        let mut back: Vec<String> = Vec::new();
        query.seek = Seek::Last;
        loop {
            let page = table.page(&query, &|_row| true).unwrap();
            back.splice(0..0, page.items.into_iter().map(|item| item.path));
            let Some(before) = page.prev_cursor else { break };
            query.seek = Seek::Before(before);
        }
        assert_eq!(back, order);
        let seen = table.page(&ItemQuery { limit: 1, ..ItemQuery::default() }, &|row| row.path != "hashing").unwrap();
        assert_eq!((seen.items[0].path.as_str(), seen.total), ("seen-old", Some(6)), "nobody counts what is not shown");
        let done = ItemQuery { states: vec![IngestState::Done], limit: 9, ..ItemQuery::default() };
        assert_eq!(paths(&table, &done), ["done-old"]);
        let old = ItemQuery { text: Some("OLD".to_owned()), limit: 1, ..ItemQuery::default() };
        let page = table.page(&old, &|_row| true).unwrap();
        assert_eq!(page.items[0].path, "seen-old");
        assert!(
            table
                .page(&ItemQuery { seek: Seek::After(page.next_cursor.unwrap()), ..ItemQuery::default() }, &|_row| true)
                .is_err()
        );
        for (text, found) in [
            ("Done new", &["done-new"][..]),
            ("new ing", &["waiting-new"]),
            ("\"g n\"", &[]),
            ("\"-new\" d", &["done-new"]),
        ] {
            let words = ItemQuery { text: Some(text.to_owned()), limit: 9, ..ItemQuery::default() };
            assert_eq!(paths(&table, &words), found, "{text}");
        }
        let status = table.status();
        assert_eq!((status.active, status.states[&IngestState::Done.into()]), (1, 1));
        assert_eq!(status.oldest_seen_at.as_deref(), Some("1970-01-01T00:00:00.003Z"));
    }

    /// Any order goes over pages both ways, each item once, with a filter or without; a cursor is of its order alone. Paths that are
    /// the same as far as they are looked at, and as odd and long as paths may be, have their place.
    #[test]
    fn orders() {
        let mut table = Table::default();
        let long = "\u{1}".repeat(300);
        let paths = ["b/x.onnx", "A/y.onnx", "c.bin", &format!("{long}1"), &format!("{long}2"), "a/z.onnx"];
        for (number, path) in paths.into_iter().enumerate() {
            let at_ms = 100 - i64::try_from(number / 2).unwrap();
            table.insert(id(number as u128), row(path, IngestState::Waiting, at_ms));
        }
        let walk = |query: &ItemQuery, backward: bool| {
            let mut found = Vec::new();
            let mut query = query.clone();
            if backward {
                query.seek = Seek::Last;
            }
            loop {
                let page = table.page(&query, &|_row| true).unwrap();
                let ids = page.items.iter().map(|item| item.id.parse::<ItemId>().unwrap().as_u128());
                if backward {
                    found.splice(0..0, ids.collect::<Vec<_>>());
                } else {
                    found.extend(ids);
                }
                match if backward { page.prev_cursor.map(Seek::Before) } else { page.next_cursor.map(Seek::After) } {
                    Some(seek) => query.seek = seek,
                    None => return found,
                }
            }
        };
        for (sort, text, order) in [
            (ItemSort::Path, None, vec![3, 4, 1, 5, 0, 2]),
            (ItemSort::Path, Some("onnx"), vec![1, 5, 0]),
            (ItemSort::StateSince, None, vec![4, 5, 2, 3, 0, 1]),
            (ItemSort::StateSince, Some("onnx"), vec![5, 0, 1]),
        ] {
            for down in [false, true] {
                let text = text.map(str::to_owned);
                let query = ItemQuery { sort, down, text, limit: 2, ..ItemQuery::default() };
                let order: Vec<u128> = if down { order.iter().rev().copied().collect() } else { order.clone() };
                assert_eq!(walk(&query, false), order, "{query:?}");
                assert_eq!(walk(&query, true), order, "{query:?}");
                let next = table.page(&query, &|_row| true).unwrap().next_cursor;
                let other = ItemQuery { down: !down, seek: Seek::After(next.unwrap()), ..query };
                assert!(table.page(&other, &|_row| true).is_err());
            }
        }
    }

    /// What is over leaves the list: done items by age and number, refused ones by number; one that was tried again stays.
    #[test]
    fn what_is_over_leaves() {
        let mut table = Table::default();
        for number in 0..=DONE_MAX as u128 {
            table.insert(id(number), row("x", IngestState::Done, 0));
            table.count_done(id(number), 10, 0, true);
        }
        assert!(table.get(id(0)).is_none() && table.get(id(1)).is_some());
        assert_eq!(table.status().done_last_hour, DONE_MAX as u64 + 1);
        table.tick(Instant::now(), DONE_KEPT_MS + 60_001);
        assert_eq!(table.rows.len(), 0);
        assert_eq!((table.status().done_last_hour, table.status().done_total), (0, DONE_MAX as u64 + 1));
        for number in 0..=REJECTED_MAX as u128 + 1 {
            table.insert(id(number), row("x", IngestState::Rejected, 0));
            if number == 1 {
                table.change(id(1), |row| row.come_to(IngestState::Waiting, None, 1));
            }
            table.count_rejected(id(number), true);
        }
        assert!(table.get(id(0)).is_none() && table.get(id(1)).is_some() && table.get(id(2)).is_some());
        let page = table.page(&ItemQuery { limit: 5000, ..ItemQuery::default() }, &|_row| true).unwrap();
        assert_eq!((page.items.len(), page.next_cursor.is_some()), (1000, true), "as long as any page may be");
    }

    /// The state follows the registry while it is at work, steps are told once, and only the newest are kept.
    #[test]
    fn states_and_history() {
        let mut row = row("x", IngestState::Hashing, 0);
        let progress = Progress::new();
        row.progress = Some(progress.clone());
        progress.stage.send_replace(Some(Stage::Storing));
        assert_eq!(row.render(id(1)).state, IngestState::Storing);
        row.come_to(IngestState::Failed, Some("the disk".to_owned()), 1);
        assert_eq!(row.render(id(1)).state, IngestState::Failed);
        row.come_to(IngestState::Failed, Some("the disk".to_owned()), 2);
        assert_eq!((row.history.len(), row.state_since_ms), (2, 1));
        for step in 0..100 {
            row.step(IngestState::Failed, step.to_string(), step);
        }
        assert_eq!(row.history.len(), HISTORY_MAX);
        assert_eq!(row.history.back().unwrap().2, "99");
    }
}
