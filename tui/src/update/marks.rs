//! Marks in the list of models: one, a range, all that match the filter.

pub(super) mod rows;

use common::api::{ModelRow, Page};

use super::{ask, cancel, form, say};
use crate::action::{Action, Call, RequestId};
use crate::state::models::MARKS_MAX;
use crate::state::{Level, Screen, State};
use crate::time::grouped;
use crate::window::Cursor;

/// Rows of a page that is read only to be marked: with the longest descriptions and tags it is still an answer that is taken.
const PAGE_ROWS: u32 = 200;

fn put(state: &mut State, id: String, name: String) -> bool {
    let marks = &mut state.models.marks;
    if marks.len() >= MARKS_MAX && !marks.contains_key(&id) {
        return false;
    }
    marks.insert(id, name);
    true
}

fn full(state: &mut State, out: &mut Vec<Action>) {
    say(state, Level::Warning, format!("no more than {MARKS_MAX} can be marked"), out);
}

/// What was said of the marks is not so any more.
fn recount(state: &mut State) {
    state.message.take_if(|note| note.level == Level::Info && note.text.contains("marked"));
}

/// Marks the selected model, or no longer.
pub(super) fn one(state: &mut State, out: &mut Vec<Action>) {
    let Some((id, name)) = state.models.list.selected().map(|row| (row.id.to_string(), row.name.to_string())) else {
        return;
    };
    state.models.all = None;
    if state.models.marks.remove(&id).is_none() {
        state.models.last_mark = Some(id.clone());
        if !put(state, id, name) {
            full(state, out);
        }
    }
    recount(state);
}

/// Marks from the last mark to the selected model, as far as the rows between are held.
pub(super) fn range(state: &mut State, out: &mut Vec<Action>) {
    state.models.all = None;
    let here = state.models.list.selected().map(|row| row.id.to_string());
    let rows: Vec<(String, String)> =
        state.models.list.rows().map(|row| (row.id.to_string(), row.name.to_string())).collect();
    let place = |id: &Option<String>| rows.iter().position(|(known, _)| Some(known) == id.as_ref());
    let (Some(from), Some(to)) = (place(&state.models.last_mark), place(&here)) else {
        return say(state, Level::Warning, "mark one with Space first; the rows between must be read", out);
    };
    let (from, to) = (from.min(to), from.max(to));
    for (id, name) in &rows[from..=to] {
        if !put(state, id.clone(), name.clone()) {
            return full(state, out);
        }
    }
    state.models.last_mark = here;
}

/// Marks all that match the filter, as a query; or nothing, where that is so already.
pub(super) fn all(state: &mut State, out: &mut Vec<Action>) {
    let waiting = state.models.marking.take();
    cancel(state, waiting, out);
    state.models.marks.clear();
    if state.models.all.take().is_some() || waiting.is_some() {
        return say(state, Level::Info, "nothing is marked", out);
    }
    let total = state.models.list.total();
    if total == Some(0) {
        return say(state, Level::Info, "there is nothing to mark", out);
    }
    state.models.all = Some(total);
    let text = match total {
        Some(total) => {
            format!("all {} that match are marked, whatever is on the screen; * again: none", grouped(total))
        }
        None => "all that match are marked, however many; * again: none".to_owned(),
    };
    say(state, Level::Info, text, out);
}

/// What is marked as a query is marked one by one: for what is done to each on its own, once they are read.
pub(super) fn one_by_one(state: &mut State, out: &mut Vec<Action>) {
    let too_many = state.models.all.flatten().filter(|total| *total > MARKS_MAX as u64);
    if let Some(total) = too_many {
        let most = grouped(MARKS_MAX as u64);
        let text = format!("that is done to each on its own, to {most} at most: {} match", grouped(total));
        return say(state, Level::Warning, text, out);
    }
    if state.models.all.take().is_some() {
        read(state, &Cursor::Start, out);
    }
}

fn read(state: &mut State, cursor: &Cursor, out: &mut Vec<Action>) {
    let mut query = state.models.query(cursor);
    query.limit = Some(PAGE_ROWS);
    let id = ask(state, Call::Models(Box::new(query)), out);
    state.models.marking = Some(id);
}

/// Takes a page that is read to be marked; false if none is.
pub(super) fn take(state: &mut State, id: RequestId, page: &Page<ModelRow>, out: &mut Vec<Action>) -> bool {
    if state.models.marking != Some(id) {
        return false;
    }
    state.models.marking = None;
    for row in &page.items {
        if !put(state, row.id.to_string(), row.name.to_string()) {
            full(state, out);
            return true;
        }
    }
    match &page.next_cursor {
        Some(cursor) => read(state, &Cursor::Token(cursor.clone()), out),
        None => {
            let models: Vec<_> = state.models.marks.iter().map(|(id, name)| (id.clone(), name.clone())).collect();
            // Somebody may look at something else by now.
            let is_here = state.screen == Screen::Models && state.models.open.is_none();
            if is_here && state.dialog.is_none() && state.overlay.is_none() && state.login.is_none() {
                form::tag_all(state, models);
            } else {
                let text = format!("{} marked: all that matched", grouped(models.len() as u64));
                say(state, Level::Info, text, out);
            }
        }
    }
    true
}

/// It didn't come: what was marked stays, and it is said that it is not all.
pub(super) fn failed(state: &mut State, id: RequestId, why: &str, out: &mut Vec<Action>) -> bool {
    if state.models.marking != Some(id) {
        return false;
    }
    state.models.marking = None;
    let text = format!("not all are marked, {} are: {why}", state.models.marks.len());
    say(state, Level::Error, text, out);
    true
}
