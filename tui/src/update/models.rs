//! Screen 1: the list of models, a model, a version.

use common::name::Version;

use super::{ask, cancel, confirm, form, marks, rows_height, say, scroll, travel, wanted};
use crate::action::{Action, Call, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::models::{OpenModel, SORTS, VERSION_PAGE_ROWS};
use crate::state::{Level, Screen, State};
use crate::window::{Cursor, Fetch, Row, Window};

/// How long the selection rests before the pane follows, in milliseconds.
const REST_MS: u64 = 120;

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let height = rows_height(state);
    match command {
        Command::EntriesOf => return entries_of(state, out),
        Command::Delete => return ask_before(state, &Deed::Delete, out),
        Command::Restore => return ask_before(state, &Deed::Restore, out),
        Command::Deprecate => return ask_before(state, &Deed::Deprecate { reason: String::new() }, out),
        Command::Edit => {
            if let Some((id, name)) = model_here(state) {
                form::edit(state, id, name, out);
            }
            return;
        }
        Command::PointAlias => {
            let version = match &state.models.open {
                Some(open) => match &open.compared {
                    Some(compared) => Some(compared.right.version),
                    None => open.versions.selected().map(|version| version.version),
                },
                None => state.models.list.selected().and_then(|row| row.latest_version),
            };
            if let Some((id, name)) = model_here(state) {
                form::alias(state, id, name, version, out);
            }
            return;
        }
        _ => {}
    }
    if state.models.open.is_some() {
        return open_command(state, command, count, out);
    }
    if travel(&mut state.models.list, command, count, height) {
        return;
    }
    match command {
        Command::First => restart(state, false, out),
        Command::Last if count.is_none() => restart(state, true, out),
        Command::Last => {
            say(
                state,
                Level::Warning,
                "that number is not near: the daemon serves models one page after the other",
                out,
            );
        }
        Command::Mark => marks::one(state, out),
        Command::MarkRange => marks::range(state, out),
        Command::MarkAll => marks::all(state, out),
        Command::In => {
            if let Some(row) = state.models.list.selected() {
                state.models.open = Some(OpenModel::new(row.id.to_string()));
            }
        }
        Command::Sort => {
            state.models.sort = (state.models.sort + 1) % SORTS.len();
            state.models.descending = SORTS[state.models.sort].0 != "name";
            restart(state, false, out);
        }
        Command::Reverse => {
            state.models.descending = !state.models.descending;
            restart(state, false, out);
        }
        _ => {}
    }
}

fn open_command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    let text = crate::view::pane_lines(state, &areas).len();
    let Some(open) = &mut state.models.open else { return };
    if let Some(at) = &mut open.reading {
        scroll(at, command, count, text, areas.pane.height.into());
        return;
    }
    if travel(&mut open.versions, command, count, areas.rows.height.into()) {
        return;
    }
    match command {
        Command::In if open.versions.selected().is_some() => open.reading = Some(0),
        Command::First | Command::Last => {
            say(state, Level::Warning, "not all versions are read yet: PgDn goes on", out);
        }
        _ => {}
    }
}

/// Id and name of the model that is open or selected.
fn model_here(state: &State) -> Option<(String, String)> {
    match &state.models.open {
        Some(open) => match (&open.info, open.versions.selected()) {
            (Some(info), _) => Some((info.model.id.to_string(), info.model.name.to_string())),
            (None, Some(version)) => Some((version.id.to_string(), version.name.to_string())),
            (None, None) => None,
        },
        None => state.models.list.selected().map(|row| (row.id.to_string(), row.name.to_string())),
    }
}

/// Id and name of a model that is loaded, by its name.
pub(super) fn id_of(state: &State, name: &str) -> Option<(String, String)> {
    let here = model_here(state).filter(|(_, known)| known == name);
    here.or_else(|| {
        let row = state.models.list.rows().find(|row| row.name.as_str() == name)?;
        Some((row.id.to_string(), row.name.to_string()))
    })
}

/// Asks before something is done to the selected version, or to the marked models, or to the selected one.
fn ask_before(state: &mut State, deed: &Deed, out: &mut Vec<Action>) {
    let objects: Vec<Object> = match &state.models.open {
        Some(open) => open
            .versions
            .selected()
            .map(|version| Object::Version {
                id: version.id.to_string(),
                name: version.name.to_string(),
                version: version.version,
            })
            .into_iter()
            .collect(),
        None if state.models.marks.is_empty() => {
            model_here(state).map(|(id, name)| Object::Model { id, name }).into_iter().collect()
        }
        None => {
            let marks = state.models.marks.iter();
            marks.map(|(id, name)| Object::Model { id: id.clone(), name: name.clone() }).collect()
        }
    };
    let changes = objects.into_iter().map(|object| Change::new(object, deed.clone())).collect();
    confirm::open(state, changes, out);
}

/// The audit entries of the model that is open or selected.
fn entries_of(state: &mut State, out: &mut Vec<Action>) {
    let id = match &state.models.open {
        Some(open) => open.info.as_ref().map(|info| info.model.id.to_string()),
        None => state.models.list.selected().map(|row| row.id.to_string()),
    };
    if let Some(id) = id {
        super::audit::show_target(state, &id, out);
    }
}

fn restart(state: &mut State, flipped: bool, out: &mut Vec<Action>) {
    let waiting = state.models.list.forget();
    cancel(state, waiting, out);
    state.models.list = Window::new(flipped);
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.models.filter != text {
        state.models.filter = text;
        restart(state, false, out);
    }
}

/// Opens a model by a reference from elsewhere.
pub(super) fn open(state: &mut State, reference: String) {
    state.models.open = Some(OpenModel::new(reference));
    state.last_screen = state.screen;
    state.screen = Screen::Models;
}

/// Opens a version by its model and number: the versions of the model, with this one selected once it is read.
pub(super) fn open_version(state: &mut State, reference: String, version: Version) {
    open(state, reference);
    if let Some(open) = &mut state.models.open {
        open.goal = Some(version);
    }
}

/// The version that was asked for is selected and shown, if it is among those that were read.
pub(super) fn versions_came(state: &mut State) {
    if let Some(open) = &mut state.models.open
        && let Some(goal) = open.goal.take()
        && open.versions.select(&goal.to_string())
    {
        open.reading = Some(0);
    }
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    if let Some(open) = &mut state.models.open {
        if open.compared.take().is_none() && open.reading.take().is_none() {
            let (info, versions) = (open.pending, open.versions.waits_for());
            state.models.open = None;
            cancel(state, info, out);
            cancel(state, versions, out);
        }
        return true;
    }
    if !state.models.marks.is_empty() || state.models.marking.is_some() {
        let waiting = state.models.marking.take();
        cancel(state, waiting, out);
        state.models.marks.clear();
        return true;
    }
    if state.models.filter.is_empty() {
        return false;
    }
    set_filter(state, String::new(), out);
    true
}

/// Out of the model that is open, whatever depth of it is shown.
pub(super) fn leave(state: &mut State, out: &mut Vec<Action>) {
    if let Some(open) = state.models.open.take() {
        cancel(state, open.pending, out);
        cancel(state, open.versions.waits_for(), out);
    }
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    match &mut state.models.open {
        Some(open) => {
            let (info, versions) = (open.pending.take(), open.versions.forget());
            open.failed = None;
            let (fetch, cursor) = open.versions.reload_from();
            cancel(state, info, out);
            cancel(state, versions, out);
            ask_model(state, out);
            ask_versions(state, fetch, cursor, out);
        }
        None => refresh_list(state, out),
    }
}

pub(super) fn refresh_list(state: &mut State, out: &mut Vec<Action>) {
    let waiting = state.models.list.forget();
    cancel(state, waiting, out);
    let (fetch, cursor) = state.models.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let height = rows_height(state);
    match &state.models.open {
        Some(open) => {
            if open.info.is_none() && open.pending.is_none() && open.failed.is_none() {
                ask_model(state, out);
            }
            let page = state.models.open.as_ref().and_then(|open| wanted(&open.versions, height));
            if let Some((fetch, cursor)) = page {
                ask_versions(state, fetch, cursor, out);
            }
        }
        None => {
            if let Some((fetch, cursor)) = wanted(&state.models.list, height) {
                ask_page(state, fetch, cursor, out);
            }
            pane_follows(state, out);
        }
    }
}

/// The pane beside the list follows the selection when that has rested: a held key draws the list alone.
fn pane_follows(state: &mut State, out: &mut Vec<Action>) {
    if layout(state.size, state).pane.height == 0 {
        return;
    }
    let models = &mut state.models;
    let selected = models.list.selected().map(Row::key);
    let is_there = models.pane.as_ref().is_some_and(|pane| models.list.rows().any(|row| row.key() == *pane));
    if !is_there || models.pane == selected {
        models.pane = selected;
        if models.pane_next.take().is_some() {
            out.push(Action::TimerDrop(TimerId::Rest));
        }
    } else if models.pane_next != selected {
        models.pane_next = selected;
        out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Models(Box::new(state.models.query(&cursor)));
    let id = ask(state, call, out);
    state.models.list.ask(id, fetch, cursor);
}

fn ask_model(state: &mut State, out: &mut Vec<Action>) {
    if let Some(reference) = state.models.open.as_ref().map(|open| open.reference.clone()) {
        let id = ask(state, Call::Model(reference), out);
        if let Some(open) = &mut state.models.open {
            open.pending = Some(id);
        }
    }
}

fn ask_versions(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    if let Some(reference) = state.models.open.as_ref().map(|open| open.reference.clone()) {
        let token = match &cursor {
            Cursor::Token(token) => Some(token.clone()),
            Cursor::Start | Cursor::Below(_) | Cursor::Between(..) => None,
        };
        let id = ask(state, Call::Versions { reference, cursor: token, limit: VERSION_PAGE_ROWS }, out);
        if let Some(open) = &mut state.models.open {
            open.versions.ask(id, fetch, cursor);
        }
    }
}
