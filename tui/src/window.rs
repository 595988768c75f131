//! A window over a list of any length: some hundred rows round the selection, read by keyset cursors in either direction,
//! from either end. Pages that scroll out are dropped and their cursors kept, so that going back reads them again; the
//! cost is one cursor per page passed. The list may be shown upside down (the audit log: newest read first, shown at the foot). What a row
//! is, and how a page is fetched, is not known here.

mod trail;

use std::collections::VecDeque;

use common::api::Page;
use common::client::{END, Paging};

use self::trail::Trail;
use crate::action::RequestId;
use crate::event::Moment;

/// Rows on either side of the selection that are kept. Pages beyond are dropped, and none is asked for further away: so
/// what was read is not dropped to be read again, however short the daemon's pages are.
pub const ROWS_KEPT: usize = 300;
/// Rows that arrive one by one make a page of so many.
const PAGE_GROWN: usize = 256;
/// Empty pages in a row that are gone past by themselves: a filter that matches little makes the daemon scan.
const BARREN_MAX: u32 = 10;

/// A row of a window.
pub trait Row {
    /// What stays the same when the list changes.
    fn key(&self) -> String;
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cursor {
    /// At the list's beginning.
    #[default]
    Start,
    /// At the daemon's word.
    Token(String),
    /// It ends before a place, at the daemon's word.
    Before(String),
    /// It is the list's last one.
    End,
    /// Below an index of the log.
    Below(u64),
    /// Above one index of the log and below another.
    Between(u64, u64),
}

impl Cursor {
    /// How the daemon is asked for the page: where to go on, and where to go back from.
    pub fn paging(&self, limit: u32) -> Paging {
        let (cursor, before) = match self {
            Self::Token(token) => (Some(token.clone()), None),
            Self::Before(token) => (None, Some(token.clone())),
            Self::End => (None, Some(END.to_owned())),
            Self::Start | Self::Below(_) | Self::Between(..) => (None, None),
        };
        Paging { cursor, before, limit: Some(limit) }
    }
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// The first one; all others are dropped.
    Start,
    /// One in the middle of the list that takes the place of all there are.
    Reload,
    /// The one after the last.
    After,
    /// The one before the first.
    Before,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    start: Cursor,
    rows: usize,
    /// Where the rows before it are, where the daemon said so.
    before: Option<Cursor>,
    /// Where the rows after it are, likewise.
    after: Option<Cursor>,
}

impl Mark {
    fn new(start: Cursor, rows: usize) -> Self {
        Self { start, rows, before: None, after: None }
    }

    /// Whether no row of the list is before it.
    fn is_first(&self) -> bool {
        match self.start {
            Cursor::Start => true,
            Cursor::Before(_) | Cursor::End => self.before.is_none(),
            Cursor::Token(_) | Cursor::Below(_) | Cursor::Between(..) => false,
        }
    }
}

/// What the window waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    id: RequestId,
    fetch: Fetch,
    start: Cursor,
}

/// Rows near the selection, and how to get more.
///
/// Invariant: `rows` are those of `pages`, in order; `selected` is one of them unless there are none.
#[derive(Debug, Clone)]
pub struct Window<R> {
    rows: VecDeque<R>,
    pages: VecDeque<Mark>,
    dropped: Trail,
    next: Option<Cursor>,
    flipped: bool,
    /// In the order of reading.
    selected: usize,
    /// The screen row of the selection, as far as there is room.
    offset: usize,
    total: Option<u64>,
    pending: Option<Pending>,
    as_of: Option<Moment>,
    /// Why the last page didn't come.
    stale: Option<String>,
    barren: u32,
    /// The page it begins with.
    begin: Cursor,
    /// Rows of the list behind those that are held, where that is known.
    behind: Option<u64>,
    /// Somebody moved the selection away from the list's top.
    moved: bool,
}

impl<R: Row> Window<R> {
    /// Nothing read yet; `flipped` shows the first row read at the foot.
    pub fn new(flipped: bool) -> Self {
        Self {
            rows: VecDeque::new(),
            pages: VecDeque::new(),
            dropped: Trail::default(),
            next: None,
            flipped,
            selected: 0,
            offset: if flipped { usize::MAX } else { 0 },
            total: None,
            pending: None,
            as_of: None,
            stale: None,
            barren: 0,
            begin: Cursor::Start,
            behind: None,
            moved: false,
        }
    }

    /// Nothing read yet; it begins with the last page, or with the first.
    pub fn from(last: bool) -> Self {
        Self { begin: if last { Cursor::End } else { Cursor::Start }, ..Self::new(false) }
    }

    /// The page it begins with.
    pub fn begin(&self) -> &Cursor {
        &self.begin
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Whether any page has come.
    pub fn is_loaded(&self) -> bool {
        self.as_of.is_some()
    }
    /// Whether a page is on its way.
    pub fn is_loading(&self) -> bool {
        self.pending.is_some()
    }
    /// When the newest page came.
    pub fn as_of(&self) -> Option<Moment> {
        self.as_of
    }
    /// Why the newest page didn't come.
    pub fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }
    /// Rows in the whole list, where the daemon said it.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
    /// Whether the first row read is shown at the foot.
    pub fn is_flipped(&self) -> bool {
        self.flipped
    }
    /// The rows held, in the order of reading.
    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.iter()
    }
    /// The request the window waits for.
    pub fn waits_for(&self) -> Option<RequestId> {
        self.pending.as_ref().map(|pending| pending.id)
    }
    /// The selected row.
    pub fn selected(&self) -> Option<&R> {
        self.rows.get(self.selected)
    }
    /// Whether all rows of the list are held.
    pub fn is_whole(&self) -> bool {
        self.is_loaded() && self.next.is_none() && self.dropped.is_empty() && self.begins_at_start()
    }
    /// Whether the first page held is the list's first.
    pub fn begins_at_start(&self) -> bool {
        self.dropped.is_empty() && self.pages.front().is_none_or(Mark::is_first)
    }
    /// Whether nobody is anywhere in it: it is empty, or at its top with the selection where the list put it. It may be read
    /// again then without taking anything from under somebody's eyes.
    pub fn is_untouched(&self) -> bool {
        self.is_loaded() && (self.is_empty() || (!self.moved && !self.flipped && self.begins_at_start()))
    }
    /// Whether the first row of the list, as shown, is held.
    pub fn shows_first(&self) -> bool {
        if self.flipped { self.is_loaded() && self.next.is_none() } else { self.begins_at_start() }
    }
    /// Whether the last row of the list, as shown, is held.
    pub fn shows_last(&self) -> bool {
        if self.flipped { self.begins_at_start() } else { self.is_loaded() && self.next.is_none() }
    }
    /// Whether the window was begun in the middle of the list and the selection is near that beginning.
    pub fn is_near_jump(&self, height: usize, rests: bool) -> bool {
        self.pending.is_none()
            && self.stale.is_none()
            && self.is_loaded()
            && self.dropped.is_empty()
            && !self.begins_at_start()
            && self.selected < margin(height, rests)
    }
    /// Whether the page on its way is one before the first that was read by indices.
    pub fn is_jump_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.fetch == Fetch::Before && self.dropped.is_empty())
    }
    /// The first page held is known to be the list's first after all.
    pub fn begin_at_start(&mut self) {
        if let Some(page) = self.pages.front_mut() {
            page.start = Cursor::Start;
        }
    }
    /// The first row in the order of reading.
    pub fn first_read(&self) -> Option<&R> {
        self.rows.front()
    }

    /// The place of the selection in the whole list as shown, from 1, where it can be told.
    pub fn ordinal(&self) -> Option<u64> {
        let held_first = || self.pages.front().is_some_and(Mark::is_first);
        let known = self.dropped.begins_at_start().unwrap_or_else(held_first);
        if let (false, Some(behind), Some(total)) = (self.flipped, self.behind, self.total)
            && !known
        {
            // Counted from the end.
            let after = u64::try_from(self.len().checked_sub(self.selected)?.checked_sub(1)?).ok()?;
            return total.checked_sub(behind.checked_add(after)?);
        }
        let place = u64::try_from(self.dropped.rows() + self.selected + 1).ok()?;
        match (known, self.flipped) {
            (false, _) => None,
            (true, false) => Some(place),
            (true, true) => (self.total? + 1).checked_sub(place),
        }
    }

    fn shown(&self, read: usize) -> usize {
        if self.flipped { (self.len() - 1).saturating_sub(read) } else { read }
    }

    /// The row shown at this place, counted from the first held.
    fn at(&self, shown: usize) -> Option<&R> {
        (shown < self.len()).then(|| &self.rows[self.shown(shown)])
    }

    fn top(&self, height: usize) -> usize {
        if self.is_empty() || height == 0 {
            return 0;
        }
        let selected = self.shown(self.selected);
        let top = selected - self.offset.min(height - 1).min(selected);
        top.min(self.len().saturating_sub(height)).max((selected + 1).saturating_sub(height))
    }

    /// Whether the list goes on, before and after what a screen of this height shows, with rows that are not held.
    pub fn goes_on(&self, height: usize) -> (bool, bool) {
        if self.is_empty() {
            return (false, false);
        }
        let top = self.top(height);
        let at_end = top.saturating_add(height) >= self.len();
        (top == 0 && !self.shows_first(), at_end && !self.shows_last())
    }

    /// The rows on a screen of this height, each with whether it is the selection.
    pub fn visible(&self, height: usize) -> impl Iterator<Item = (&R, bool)> {
        let top = self.top(height);
        let selected = if self.is_empty() { 0 } else { self.shown(self.selected) };
        (top..top.saturating_add(height)).map_while(move |place| Some((self.at(place)?, place == selected)))
    }

    /// Moves the selection by rows; the list scrolls only at the edge.
    pub fn step(&mut self, rows: i64, height: usize) {
        self.travel(rows, height, true);
    }

    /// Moves the selection by rows and the list with it.
    pub fn page(&mut self, rows: i64, height: usize) {
        self.travel(rows, height, false);
    }

    /// Moves the selection by rows if that row is held; false if not.
    pub fn step_within(&mut self, rows: i64, height: usize) -> bool {
        let to = i64::try_from(self.shown(self.selected)).ok().and_then(|from| from.checked_add(rows));
        let held = to.and_then(|to| usize::try_from(to).ok()).is_some_and(|to| to < self.len());
        if held {
            self.step(rows, height);
        }
        held
    }

    fn travel(&mut self, rows: i64, height: usize, keep_top: bool) {
        self.stale = None;
        self.barren = 0;
        let Some(last) = self.len().checked_sub(1) else { return };
        let from = self.shown(self.selected);
        let to = i64::try_from(from).unwrap_or(i64::MAX).saturating_add(rows).max(0);
        let to = usize::try_from(to).unwrap_or(usize::MAX).min(last);
        let on_screen = from - self.top(height).min(from);
        self.selected = self.shown(to);
        self.moved = to > 0;
        let wanted = if keep_top { (on_screen + to).saturating_sub(from) } else { on_screen };
        self.offset = wanted.min(height.saturating_sub(1));
    }

    /// Selects the first or last row shown of those held.
    pub fn edge(&mut self, last: bool) {
        self.stale = None;
        if let Some(end) = self.len().checked_sub(1) {
            self.selected = self.shown(if last { end } else { 0 });
            self.moved = last;
            self.offset = if last { usize::MAX } else { 0 };
        }
    }

    /// Selects the row of this key, if it is held.
    pub fn select(&mut self, key: &str) -> bool {
        let found = self.find(key);
        self.moved |= found.is_some_and(|place| place > 0);
        found.is_some()
    }

    /// The same where the list itself keeps its selection.
    fn find(&mut self, key: &str) -> Option<usize> {
        let found = self.rows.iter().position(|row| row.key() == key);
        self.selected = found.unwrap_or(self.selected);
        found
    }

    /// Whether the list goes on beyond the edge that the viewport is near to: which page to ask for, and where it
    /// begins. None while a page is on its way, and after a failure until the next movement. While the selection does not
    /// rest, only what the next screen would lack is asked for: what is only passed is not read.
    pub fn wanted(&self, height: usize, rests: bool) -> Option<(Fetch, Cursor)> {
        if self.pending.is_some() || self.stale.is_some() || !self.is_loaded() || self.barren >= BARREN_MAX {
            return None;
        }
        let margin = margin(height, rests);
        if let Some(next) = &self.next
            && self.selected + margin >= self.len()
        {
            return Some((Fetch::After, next.clone()));
        }
        match self.dropped.last() {
            Some(start) if self.selected < margin => Some((Fetch::Before, start)),
            None if self.selected < margin => {
                let before = self.pages.front().and_then(|page| page.before.clone());
                before.map(|before| (Fetch::Before, before))
            }
            Some(_) | None => None,
        }
    }

    /// Where the page of the selection begins: what a refresh reads again.
    pub fn reload_from(&self) -> (Fetch, Cursor) {
        match self.page_of_selection() {
            Some(page) if self.pages[page].start != Cursor::Start => (Fetch::Reload, self.pages[page].start.clone()),
            Some(_) | None => (Fetch::Start, Cursor::Start),
        }
    }

    fn page_of_selection(&self) -> Option<usize> {
        let mut end = 0;
        self.pages.iter().position(|page| {
            end += page.rows;
            self.selected < end
        })
    }

    /// Begins with rows that are here already, newest first, and where to read on.
    pub fn begin_with(rows: Vec<R>, next: Option<Cursor>, at: Moment) -> Self {
        let mut list = Self::new(true);
        list.pages = [Mark::new(Cursor::Start, rows.len())].into();
        (list.rows, list.next, list.as_of) = (rows.into(), next, Some(at));
        list
    }

    /// A row that is newer than all: at the foot of a list that is shown upside down and begins at its start. `below` is
    /// where a page begins that ends before it. Without `follow` the rows on the screen don't move.
    pub fn arrive(&mut self, row: R, below: Cursor, follow: bool) {
        let is_full = self.pages.front().is_none_or(|page| page.rows >= PAGE_GROWN);
        if is_full {
            if let Some(page) = self.pages.front_mut() {
                page.start = below;
            }
            self.pages.push_front(Mark::new(Cursor::Start, 0));
        }
        let was_empty = self.rows.is_empty();
        self.rows.push_front(row);
        if let Some(page) = self.pages.front_mut() {
            page.rows += 1;
        }
        if follow || was_empty {
            (self.selected, self.offset) = (0, usize::MAX);
            self.trim_back();
        } else {
            self.selected += 1;
        }
    }

    /// How many rows held are newer than the selection.
    pub fn newer(&self) -> usize {
        self.selected
    }

    /// The list goes on behind its first page, which begins there: what is newer is not held.
    pub fn detach(&mut self, start: Cursor) {
        if let Some(page) = self.pages.front_mut() {
            page.start = start;
        }
    }

    /// The rows held, to mark them.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.rows.iter_mut()
    }

    /// Remembers the request for a page.
    pub fn ask(&mut self, id: RequestId, fetch: Fetch, start: Cursor) {
        self.stale = None;
        self.pending = Some(Pending { id, fetch, start });
    }

    /// Stops waiting; the request that was waited for.
    pub fn forget(&mut self) -> Option<RequestId> {
        self.pending.take().map(|pending| pending.id)
    }

    /// The page didn't come. What is held stays, marked.
    pub fn fail(&mut self, why: String) {
        self.pending = None;
        self.stale = Some(why);
    }

    /// What could not be read is asked for again where it lacks.
    pub fn retry(&mut self) {
        self.stale = None;
    }

    /// The page that was asked for. False if the row that was selected is gone.
    pub fn take(&mut self, page: Page<R>, at: Moment) -> bool {
        let Some(pending) = self.pending.take() else { return true };
        let anchor = self.selected().map(Row::key);
        let follows = self.flipped && self.selected == 0 && self.begins_at_start();
        let was_untouched = self.is_untouched();
        self.as_of = Some(at);
        let total = page.total;
        self.total = total.or(self.total);
        self.barren = if page.items.is_empty() { self.barren + 1 } else { 0 };
        let next = page.next_cursor.map(Cursor::Token);
        let rows = page.items.len();
        let mark = Mark {
            before: page.prev_cursor.map(Cursor::Before),
            after: next.clone(),
            ..Mark::new(pending.start, rows)
        };
        self.behind = match (pending.fetch, &next) {
            // What is after a page before those that are held, is held.
            (Fetch::Before, _) => self.behind,
            (_, None) => Some(0),
            (Fetch::After, Some(_)) => self.behind.and_then(|behind| behind.checked_sub(u64::try_from(rows).ok()?)),
            (Fetch::Start | Fetch::Reload, Some(_)) => None,
        };
        let from_end = pending.fetch == Fetch::Start && mark.start == Cursor::End;
        match pending.fetch {
            Fetch::Start | Fetch::Reload => {
                let place = self.page_of_selection().unwrap_or(0);
                if pending.fetch == Fetch::Start {
                    self.dropped.clear();
                    self.total = total;
                } else {
                    self.selected -= self.pages.iter().take(place).map(|page| page.rows).sum::<usize>();
                    for page in self.pages.drain(..place) {
                        self.dropped.push(&page);
                    }
                }
                self.rows = page.items.into();
                self.pages = [mark].into();
                self.next = next;
                self.selected = self.selected.min(self.len().saturating_sub(1));
                if from_end {
                    (self.selected, self.offset) = (self.len().saturating_sub(1), usize::MAX);
                }
            }
            Fetch::After => {
                self.rows.extend(page.items);
                self.pages.push_back(mark);
                self.next = next;
                self.trim_front();
            }
            Fetch::Before => {
                self.dropped.pop();
                self.selected += mark.rows;
                for row in page.items.into_iter().rev() {
                    self.rows.push_front(row);
                }
                self.pages.push_front(mark);
                self.selected = self.selected.min(self.len().saturating_sub(1));
                self.trim_back();
            }
        }
        match anchor {
            // At the foot of the log the newest entry is what was selected, whichever it is now.
            _ if follows => {
                self.selected = 0;
                self.offset = usize::MAX;
                true
            }
            Some(key) => {
                let is_there = self.find(&key).is_some();
                if was_untouched && pending.fetch == Fetch::Start {
                    // The list stays at its top: what is new there is seen, above the row that stays selected.
                    self.offset = self.offset.max(self.selected);
                }
                is_there
            }
            None => true,
        }
    }

    fn trim_front(&mut self) {
        while let Some(page) = self.pages.front()
            && self.selected >= page.rows + ROWS_KEPT
            && let Some(page) = self.pages.pop_front()
        {
            self.rows.drain(..page.rows);
            self.selected -= page.rows;
            self.dropped.push(&page);
        }
    }

    fn trim_back(&mut self) {
        while let Some(page) = self.pages.back()
            && self.selected + ROWS_KEPT < self.len() - page.rows
            && let Some(page) = self.pages.pop_back()
        {
            self.rows.truncate(self.rows.len() - page.rows);
            let gone = u64::try_from(page.rows).unwrap_or(u64::MAX);
            self.behind = self.behind.map(|behind| behind.saturating_add(gone));
            // Where the page before it says that it begins, which a page that was read backwards doesn't know of itself.
            self.next = self.pages.back().and_then(|last| last.after.clone()).or(Some(page.start));
        }
    }
}

/// How near to an edge the selection may come before the next page is asked for: two screens, one while it moves.
fn margin(height: usize, rests: bool) -> usize {
    height.saturating_mul(if rests { 2 } else { 1 }).clamp(1, ROWS_KEPT)
}

#[cfg(test)]
mod tests {
    use common::api::Page;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{Cursor, Fetch, ROWS_KEPT, Row, Window};
    use crate::action::RequestId;
    use crate::event::Moment;

    impl Row for usize {
        fn key(&self) -> String {
            self.to_string()
        }
    }

    /// A page of at most `rows` of the numbers below `total`.
    fn page(start: &Cursor, rows: usize, total: usize) -> Page<usize> {
        let (from, end) = match start {
            Cursor::Token(token) => (token.parse().unwrap_or(0), total),
            Cursor::Before(token) => (0, token.parse().unwrap_or(0)),
            Cursor::End => (0, total),
            Cursor::Start | Cursor::Below(_) | Cursor::Between(..) => (0, total),
        };
        let (from, end) = match start {
            Cursor::Before(_) | Cursor::End => (end.saturating_sub(rows), end),
            _ => (from, end.min(from + rows)),
        };
        let next_cursor = (end < total).then(|| end.to_string());
        let prev_cursor = (from > 0).then(|| from.to_string());
        Page { items: (from..end).collect(), total: u64::try_from(total).ok(), next_cursor, prev_cursor }
    }

    fn settle(window: &mut Window<usize>, height: usize, rows: usize, total: usize) {
        for number in 0.. {
            let begin = (Fetch::Start, window.begin().clone());
            let wanted = if window.is_loaded() { window.wanted(height, true) } else { Some(begin) };
            let Some((fetch, start)) = wanted else { return };
            assert!(number < 500, "it never has enough");
            window.ask(RequestId(number), fetch, start.clone());
            window.take(page(&start, rows, total), Moment::default());
        }
    }

    #[derive(Debug, Clone)]
    enum Move {
        Step(i64),
        Page(i64),
        Edge(bool),
        /// To an end of the whole list, which is read from there if it isn't held.
        Jump(bool),
        Refresh,
        Height(usize),
    }

    fn moves() -> impl Strategy<Value = Move> {
        prop_oneof![
            (-60i64..90).prop_map(Move::Step),
            (-60i64..90).prop_map(Move::Page),
            any::<bool>().prop_map(Move::Edge),
            any::<bool>().prop_map(Move::Jump),
            proptest::strategy::Just(Move::Refresh),
            (0usize..120).prop_map(Move::Height),
        ]
    }

    proptest! {
        /// Whatever the movements: the selection is where a list held whole would have it, it is on the screen, the rows
        /// are without a gap, and no more than the pages allowed are held.
        #[test]
        fn as_if_held_whole(moves in vec(moves(), 0..60), (page_rows, total) in (1usize..250, 0usize..2_000), flipped in any::<bool>()) {
            let mut window = Window::new(flipped);
            let mut height = 10;
            settle(&mut window, height, page_rows, total);
            let mut place: usize = 0;
            for step in moves {
                match step {
                    Move::Step(rows) | Move::Page(rows) => {
                        if matches!(step, Move::Step(_)) { window.step(rows, height) } else { window.page(rows, height) }
                        let rows = if flipped { -rows } else { rows };
                        // What is not held yet can't be moved to: the selection waits at the edge.
                        let wanted = place.saturating_add_signed(isize::try_from(rows).unwrap_or(0)).min(total.saturating_sub(1));
                        place = window.selected().copied().unwrap_or(0);
                        prop_assert!(place == wanted || !window.is_whole());
                    }
                    Move::Edge(last) => {
                        window.edge(last);
                        place = window.selected().copied().unwrap_or(0);
                    }
                    Move::Jump(last) => {
                        // A list upside down is read from its foot only.
                        let last = last && !flipped;
                        if if last { window.shows_last() } else { flipped || window.shows_first() } {
                            window.edge(last);
                        } else {
                            window = Window::from(last);
                        }
                        settle(&mut window, height, page_rows, total);
                        place = window.selected().copied().unwrap_or(0);
                        let expected = if last { total.saturating_sub(1) } else { 0 };
                        prop_assert!(flipped || place == expected);
                    }
                    Move::Refresh => {
                        let (fetch, start) = window.reload_from();
                        window.ask(RequestId(0), fetch, start.clone());
                        prop_assert!(window.take(page(&start, page_rows, total), Moment::default()));
                    }
                    Move::Height(rows) => height = rows,
                }
                settle(&mut window, height, page_rows, total);
                prop_assert_eq!(window.selected().copied().unwrap_or(0), place);
                prop_assert!(window.len() <= 2 * (ROWS_KEPT + page_rows));
                let shown: Vec<(usize, bool)> = window.visible(height).map(|(row, selected)| (*row, selected)).collect();
                prop_assert!(shown.len() <= height);
                let (above, below) = window.goes_on(height);
                let held: Vec<usize> = window.rows().copied().collect();
                let ends = (held.iter().min().copied(), held.iter().max().copied());
                let (first, last) = if flipped { (ends.1, ends.0) } else { ends };
                let shows = |end: Option<usize>| end.is_some_and(|end| shown.iter().any(|(row, _)| *row == end));
                if height > 0 {
                    prop_assert!(!above || shows(first), "it goes on above a row that is not the first held");
                    prop_assert!(!below || shows(last), "it goes on below a row that is not the last held");
                }
                let joined = shown.windows(2).all(|pair| if flipped { pair[0].0 == pair[1].0 + 1 } else { pair[0].0 + 1 == pair[1].0 });
                prop_assert!(joined, "{:?}", shown);
                prop_assert!(height == 0 || total == 0 || shown.iter().any(|(row, selected)| *selected && *row == place));
                if let Some(ordinal) = window.ordinal().filter(|_| total > 0) {
                    let expected = if flipped { total - place } else { place + 1 };
                    prop_assert_eq!(ordinal, expected as u64);
                }
            }
        }
    }
}
