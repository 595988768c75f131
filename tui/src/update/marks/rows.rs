//! Marks in the queue, the quarantine and the list of users: one, a range, all that match the filter.

use common::api::{IngestItem, QuarantineItem, User};

use crate::action::{Action, Call, RequestId};
use crate::keymap::Command;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::marks::MARKS_MAX;
use crate::state::{Level, Screen, State};
use crate::time::grouped;
use crate::update::{ask, cancel, confirm, say};
use crate::window::{Cursor, Row as _};

/// Rows of a page that is read only to be marked.
const PAGE_ROWS: u32 = 200;

/// A row's key, and the thing it is about.
type Marked = (String, Object);

pub(in crate::update) fn of_item(item: &IngestItem) -> Marked {
    (item.key(), Object::Item { id: item.id.clone(), path: item.path.clone() })
}

pub(in crate::update) fn of_held(item: &QuarantineItem) -> Marked {
    let (id, name) = (item.id.to_string(), item.name.to_string());
    (item.key(), Object::Version { id, name, version: item.version })
}

pub(in crate::update) fn of_user(user: &User) -> Marked {
    (user.key(), Object::User(user.username.to_string()))
}

/// Marks, or no longer; false for a command that is none of these.
pub(in crate::update) fn command(state: &mut State, command: Command, out: &mut Vec<Action>) -> bool {
    match command {
        Command::Mark => one(state, out),
        Command::MarkRange => range(state, out),
        Command::MarkAll => all(state, out),
        _ => return false,
    }
    true
}

/// Asks before something is done to the marked things, or to the selected one.
pub(in crate::update) fn ask_before(state: &mut State, deed: &Deed, out: &mut Vec<Action>) {
    if state.marks_of(state.screen).is_some_and(|marks| marks.reading.is_some()) {
        return say(state, Level::Warning, "what is to be marked is still being read", out);
    }
    let changes = meant(state).into_iter().map(|object| Change::new(object, deed.clone())).collect();
    confirm::open(state, changes, out);
}

/// What is to be marked is another list's by now: it is not read any more. What is marked stays.
pub(in crate::update) fn give_up(state: &mut State, out: &mut Vec<Action>) {
    let reading = state.marks_of_mut(state.screen).and_then(|marks| marks.reading.take());
    cancel(state, reading, out);
}

/// The things that what is done next is about: those marked, or the selected one.
fn meant(state: &State) -> Vec<Object> {
    match state.marks_of(state.screen).filter(|marks| !marks.objects.is_empty()) {
        Some(marks) => marks.objects.values().cloned().collect(),
        None => selected(state).map(|(_, object)| object).into_iter().collect(),
    }
}

/// Takes all marks away; whether there were any.
pub(in crate::update) fn clear(state: &mut State, out: &mut Vec<Action>) -> bool {
    let Some(marks) = state.marks_of_mut(state.screen).filter(|marks| !marks.is_empty()) else { return false };
    let marks = std::mem::take(marks);
    cancel(state, marks.reading, out);
    true
}

fn selected(state: &State) -> Option<Marked> {
    match state.screen {
        Screen::Queue => state.queue.list.selected().map(of_item),
        Screen::Quarantine => state.quarantine.list.selected().map(of_held),
        Screen::Users => state.users.list.selected().map(of_user),
        Screen::Models | Screen::Audit | Screen::Health => None,
    }
}

fn rows(state: &State) -> Vec<Marked> {
    match state.screen {
        Screen::Queue => state.queue.list.rows().map(of_item).collect(),
        Screen::Quarantine => state.quarantine.list.rows().map(of_held).collect(),
        Screen::Users => state.users.list.rows().map(of_user).collect(),
        Screen::Models | Screen::Audit | Screen::Health => Vec::new(),
    }
}

/// Whether there was room for all.
fn put(state: &mut State, screen: Screen, marked: impl IntoIterator<Item = Marked>, out: &mut Vec<Action>) -> bool {
    let Some(marks) = state.marks_of_mut(screen) else { return false };
    for (key, object) in marked {
        if marks.objects.len() >= MARKS_MAX && !marks.objects.contains_key(&key) {
            say(state, Level::Warning, format!("no more than {} can be marked", grouped(MARKS_MAX as u64)), out);
            return false;
        }
        marks.objects.insert(key, object);
    }
    true
}

fn one(state: &mut State, out: &mut Vec<Action>) {
    let Some((key, object)) = selected(state) else { return };
    let screen = state.screen;
    let Some(marks) = state.marks_of_mut(screen) else { return };
    if marks.objects.remove(&key).is_none() {
        marks.last = Some(key.clone());
        put(state, screen, [(key, object)], out);
    }
    super::recount(state);
}

/// From the last mark to the selected row, as far as the rows between are held.
fn range(state: &mut State, out: &mut Vec<Action>) {
    let (rows, here) = (rows(state), selected(state).map(|(key, _)| key));
    let last = state.marks_of(state.screen).and_then(|marks| marks.last.clone());
    let place = |wanted: &Option<String>| rows.iter().position(|(key, _)| Some(key) == wanted.as_ref());
    let (Some(from), Some(to)) = (place(&last), place(&here)) else {
        return say(state, Level::Warning, "mark one with Space first; the rows between must be read", out);
    };
    let between = rows[from.min(to)..=from.max(to)].to_vec();
    let screen = state.screen;
    if put(state, screen, between, out)
        && let Some(marks) = state.marks_of_mut(screen)
    {
        marks.last = here;
    }
}

/// All that match the filter, or none where all are marked.
fn all(state: &mut State, out: &mut Vec<Action>) {
    let total = match state.screen {
        Screen::Queue => state.queue.list.total(),
        Screen::Quarantine => state.quarantine.list.total(),
        _ => state.users.list.total(),
    };
    let marked = state.marks_of(state.screen).map_or(0, |marks| marks.objects.len() as u64);
    let is_all = marked > 0 && total.is_none_or(|total| marked >= total);
    let is_reading = state.marks_of(state.screen).is_some_and(|marks| marks.reading.is_some());
    if (is_all || is_reading) && clear(state, out) {
        return say(state, Level::Info, "nothing is marked", out);
    }
    read(state, state.screen, &Cursor::Start, out);
}

fn read(state: &mut State, screen: Screen, cursor: &Cursor, out: &mut Vec<Action>) {
    let call = match screen {
        Screen::Queue => {
            let mut query = state.queue.query(cursor);
            query.limit = Some(PAGE_ROWS);
            Call::Ingest(Box::new(query))
        }
        Screen::Quarantine => {
            let mut query = state.quarantine.query(cursor);
            query.page.limit = Some(PAGE_ROWS);
            Call::Quarantine(Box::new(query))
        }
        Screen::Users => {
            let mut query = state.users.query(cursor);
            query.page.limit = Some(PAGE_ROWS);
            Call::Users(Box::new(query))
        }
        Screen::Models | Screen::Audit | Screen::Health => return,
    };
    let id = ask(state, call, out);
    if let Some(marks) = state.marks_of_mut(screen) {
        marks.reading = Some(id);
    }
}

/// Whether a request reads rows to be marked.
pub(in crate::update) fn waits(state: &State, screen: Screen, id: RequestId) -> bool {
    state.marks_of(screen).is_some_and(|marks| marks.reading == Some(id))
}

/// Takes a page that is read to be marked.
pub(in crate::update) fn take(
    state: &mut State,
    screen: Screen,
    marked: Vec<Marked>,
    next: Option<String>,
    out: &mut Vec<Action>,
) {
    let Some(marks) = state.marks_of_mut(screen) else { return };
    marks.reading = None;
    if !put(state, screen, marked, out) {
        return;
    }
    match next {
        Some(cursor) => read(state, screen, &Cursor::Token(cursor), out),
        None => {
            let count = state.marks_of(screen).map_or(0, |marks| marks.objects.len());
            say(state, Level::Info, format!("{} marked: all that match; * again: none", grouped(count as u64)), out);
        }
    }
}

/// It didn't come: what was marked stays, and it is said that it is not all. False if no marks wait for it.
pub(in crate::update) fn failed(state: &mut State, id: RequestId, why: &str, out: &mut Vec<Action>) -> bool {
    for screen in [Screen::Queue, Screen::Quarantine, Screen::Users] {
        if waits(state, screen, id)
            && let Some(marks) = state.marks_of_mut(screen)
        {
            marks.reading = None;
            let text = format!("not all are marked, {} are: {why}", marks.objects.len());
            say(state, Level::Error, text, out);
            return true;
        }
    }
    false
}
