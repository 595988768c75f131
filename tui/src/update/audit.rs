//! Screen 2: the audit log. Every page read is an entry itself, so nothing is read that nobody asked for.

use common::api::{AuditPosition, Page};

use super::{ask, cancel, go, rows_height, say, travel};
use crate::action::{Action, Call, RequestId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::audit::{Line, MARKS_MAX, Marks, PAGE_ROWS};
use crate::state::{Level, Screen, State};
use crate::time::{Edge, typed};
use crate::window::{Cursor, Fetch, Window};

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    let height = usize::from(areas.rows.height);
    // The detail scrolls by pages; rows move as they do without it.
    if state.audit.detail.is_some() {
        let lines = crate::view::pane_lines(state, &areas).len();
        if let Some(at) = &mut state.audit.detail {
            let by_pages = matches!(command, Command::PageDown | Command::PageUp | Command::HalfDown | Command::HalfUp);
            if by_pages && super::scroll(at, command, count, lines, areas.pane.height.into()) {
                return;
            }
            *at = 0;
        }
    }
    // Whoever moves up, marks or looks closer wants the rows to stay.
    let holds = matches!(command, Command::Up | Command::HalfUp | Command::PageUp | Command::First | Command::In);
    if holds || matches!(command, Command::Mark | Command::MarkRange | Command::MarkAll) {
        pause(state);
    }
    match (command, count) {
        (Command::Last, None) if state.log.is_known() => newest(state, out),
        (Command::Last, Some(index)) => jump(state, index, out),
        (Command::First, _) if !state.audit.list.shows_first() && state.audit.filter.is_empty() => jump(state, 0, out),
        (Command::First, _) if !state.audit.list.shows_first() => {
            say(
                state,
                Level::Warning,
                "with a filter the oldest entry is reached by going up; 123G goes near an index",
                out,
            );
        }
        (Command::Last, None) if !state.audit.list.shows_last() => restart(state, Cursor::Start, out),
        (Command::In, _) if state.audit.list.selected().is_some() => state.audit.detail = Some(0),
        (Command::SameActor, _) => {
            if let Some(row) = state.audit.list.selected() {
                let (index, filter, before) = (row.index, format!("actor:{}", row.actor()), state.audit.filter.clone());
                narrow(state, filter, out);
                // Whoever stopped at an entry stays there: it is among these.
                if !state.audit.follow && state.audit.filter != before {
                    jump(state, index, out);
                }
            }
        }
        (Command::OpenTarget, _) => open_target(state, out),
        (Command::Mark, _) => mark(state, out),
        (Command::MarkRange, _) => mark_range(state, out),
        (Command::MarkAll, _) => {
            let all = !state.audit.marks.all;
            state.audit.marks = Marks { all, ..Marks::default() };
            if all {
                say(state, Level::Info, "marked: all that match, however many come; * again: none", out);
            }
        }
        _ => drop(travel(&mut state.audit.list, command, count, height)),
    }
}

fn open_target(state: &mut State, out: &mut Vec<Action>) {
    let Some(row) = state.audit.list.selected() else { return };
    let id = row.id().to_owned();
    let name = row.name_then().map(str::to_owned);
    match row.kind() {
        "model" | "version" | "file" if !id.is_empty() => super::models::open(state, id, name, out),
        _ => say(state, Level::Info, "this entry is not about a model", out),
    }
}

/// Goes to an index: a page that ends a little behind it.
pub(super) fn jump(state: &mut State, index: u64, out: &mut Vec<Action>) {
    pause(state);
    if state.audit.list.select(&index.to_string()) {
        return;
    }
    // With a filter the entry itself may not be in the list: where what is around it is held, the next one is gone to.
    let list = &state.audit.list;
    let reaches = list.rows().any(|line| line.index <= index) || list.shows_first();
    let holds = list.begins_at_start() && reaches;
    let next = list.rows().map(|line| line.index).filter(|held| *held >= index).min().map(|next| next.to_string());
    if let (false, true, Some(next)) = (state.audit.filter.is_empty(), holds, next) {
        state.audit.list.select(&next);
        return say(state, Level::Info, format!("entry {next} is the first of these that is not before {index}"), out);
    }
    let behind = if state.audit.filter.is_empty() { u64::from(PAGE_ROWS) / 2 } else { 0 };
    restart(state, Cursor::Below(index.saturating_add(1 + behind)), out);
    state.audit.goal = Some(index);
}

/// Shows the entries about one model or user: those of its id, which no other ever has; its name is what people see.
pub(super) fn show_target(state: &mut State, id: &str, name: &str, out: &mut Vec<Action>) {
    go(state, Screen::Audit, out);
    state.audit.named = Some((id.to_owned(), name.to_owned()));
    narrow(state, format!("target:{id}"), out);
}

fn narrow(state: &mut State, filter: String, out: &mut Vec<Action>) {
    match crate::filter::audit_query(&filter) {
        Ok(_) => set_filter(state, filter, out),
        Err(why) => say(state, Level::Warning, why, out),
    }
}

/// The rows on the screen stay from now on, whatever arrives.
pub(super) fn pause(state: &mut State) {
    if std::mem::take(&mut state.audit.follow) {
        state.audit.new_below = 0;
    }
}

/// Back to the newest entry, and following it.
pub(super) fn newest(state: &mut State, out: &mut Vec<Action>) {
    state.audit.follow = true;
    state.audit.new_below = 0;
    state.audit.detail = None;
    if state.audit.list.begins_at_start() && state.audit.list.is_loaded() {
        state.audit.list.edge(true);
    } else {
        restart(state, Cursor::Start, out);
    }
}

/// A time that was typed, in full.
pub(super) fn full_time(state: &State, text: &str) -> Result<String, String> {
    typed(text, state.now.wall_seconds, &super::shown_zone(state), Edge::Begin)
}

/// Goes to a time: the daemon is asked which entry is the first that is not before it.
pub(super) fn go_to_time(state: &mut State, text: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let full = full_time(state, text)?;
    pause(state);
    let before = state.audit.locating.take().map(|(id, _)| id);
    cancel(state, before, out);
    let id = ask(state, Call::Position(full.clone()), out);
    state.audit.locating = Some((id, full));
    Ok(())
}

/// The daemon says where the entries of a time begin.
pub(super) fn located(state: &mut State, id: RequestId, position: AuditPosition, out: &mut Vec<Action>) {
    let Some((_, time)) = state.audit.locating.take_if(|(asked, _)| *asked == id) else { return };
    if position.index >= position.size {
        newest(state, out);
        return say(state, Level::Info, format!("no entry is as new as {time}: this is the newest"), out);
    }
    jump(state, position.index, out);
    say(state, Level::Info, format!("entry {} is the first that is not before {time}", position.index), out);
}

/// Marks the selected entry, or no longer.
fn mark(state: &mut State, out: &mut Vec<Action>) {
    let Some(line) = state.audit.list.selected().filter(|line| line.missing_to.is_none()) else { return };
    let index = line.index;
    let marks = &mut state.audit.marks;
    marks.all = false;
    if marks.indices.remove(&index) {
        return;
    }
    marks.last = Some(index);
    put(state, [index], out);
}

/// Marks from the last mark to the selected entry, as far as the rows between are held.
fn mark_range(state: &mut State, out: &mut Vec<Action>) {
    let here = state.audit.list.selected().map(|line| line.index);
    let (Some(last), Some(here)) = (state.audit.marks.last.filter(|_| !state.audit.marks.all), here) else {
        return say(state, Level::Warning, "mark one with Space first", out);
    };
    let range = last.min(here)..=last.max(here);
    let between = state.audit.list.rows().filter(|line| line.missing_to.is_none() && range.contains(&line.index));
    let between: Vec<u64> = between.map(|line| line.index).collect();
    if !between.contains(&last) {
        return say(state, Level::Warning, "the rows between are not held any more: mark one nearer", out);
    }
    state.audit.marks.last = Some(here);
    put(state, between, out);
}

fn put(state: &mut State, indices: impl IntoIterator<Item = u64>, out: &mut Vec<Action>) {
    for index in indices {
        let marks = &mut state.audit.marks.indices;
        if marks.len() >= MARKS_MAX && !marks.contains(&index) {
            return say(state, Level::Warning, format!("no more than {MARKS_MAX} can be marked; * marks all"), out);
        }
        marks.insert(index);
    }
}

pub(super) fn restart(state: &mut State, start: Cursor, out: &mut Vec<Action>) {
    let waiting = state.audit.list.forget();
    cancel(state, waiting, out);
    state.audit.list = Window::new(true);
    state.audit.start = start;
    state.audit.goal = None;
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.audit.filter != text {
        state.audit.filter = text;
        // "All that match" was said of another filter.
        state.audit.marks.all = false;
        state.audit.detail = None;
        state.audit.new_below = 0;
        restart(state, Cursor::Start, out);
    }
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    // One step out, in this order: marks, filter, detail; but a detail lies over the list.
    if state.audit.detail.take().is_some() {
        return true;
    }
    if !state.audit.marks.is_empty() {
        state.audit.marks = Marks::default();
        return true;
    }
    if state.audit.filter.is_empty() {
        return false;
    }
    set_filter(state, String::new(), out);
    true
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    if state.log.is_known() && state.audit.list.begins_at_start() {
        // It is live: there is nothing to be read again but what could not be read.
        return state.audit.list.retry();
    }
    let waiting = state.audit.list.forget();
    cancel(state, waiting, out);
    let (fetch, cursor) = state.audit.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

pub(super) fn take(state: &mut State, page: Page<Line>, out: &mut Vec<Action>) {
    let is_slice = state.audit.list.is_jump_pending();
    let is_full = page.items.len() >= usize::try_from(PAGE_ROWS).unwrap_or(usize::MAX);
    let goal = state.audit.goal.take();
    // The log is read onward only.
    let page = Page { prev_cursor: None, ..page };
    if page.items.is_empty() && page.next_cursor.is_none() && goal.is_some() && !state.audit.filter.is_empty() {
        // None is as old: those there are are newer.
        restart(state, Cursor::Start, out);
        return say(state, Level::Warning, "no entry that matches is as old: these are newer", out);
    }
    if is_slice && page.items.is_empty() {
        state.audit.list.forget();
        state.audit.list.begin_at_start();
        return;
    }
    state.audit.list.take(page, state.now);
    if is_slice && !is_full {
        state.audit.list.begin_at_start();
    }
    super::tail::judge(state, out);
    if let Some(goal) = goal
        && !state.audit.list.select(&goal.to_string())
    {
        say(state, Level::Warning, format!("no entry {goal} here; this is the nearest"), out);
    }
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let height = rows_height(state);
    let list = &state.audit.list;
    if !list.is_loaded() && !list.is_loading() && list.stale().is_none() {
        if state.settings.log.live && super::tail::is_coming(state) {
            return;
        }
        if state.audit.start == Cursor::Start && state.log.is_known() {
            state.audit.list = super::tail::from_ring(state);
            return follow_up(state, out);
        }
        let start = state.audit.start.clone();
        return ask_page(state, Fetch::Start, start, out);
    }
    if let Some((fetch, cursor)) = list.wanted(height, state.rests()) {
        return ask_page(state, fetch, cursor, out);
    }
    // After a jump the entries behind the page are read by their indices; with a filter their indices aren't known.
    if state.audit.filter.is_empty()
        && list.is_near_jump(height, state.rests())
        && let Some(newest) = list.first_read().map(|row| row.index)
    {
        let below = newest.saturating_add(1 + u64::from(PAGE_ROWS));
        ask_page(state, Fetch::Before, Cursor::Between(newest, below), out);
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Audit(Box::new(state.audit.query(&cursor)));
    let id = ask(state, call, out);
    state.audit.list.ask(id, fetch, cursor);
}
