//! Screen 4: what is held, and all that is known of the selected one. That is read when the selection has rested; listing
//! may be an entry of the audit log, so nothing is read by the clock.

use common::api::{Page, QuarantineItem, VersionInfo};

use super::{ask, cancel, confirm, rows_height, say, say_gone, travel, wanted};
use crate::action::{Action, Call, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::quarantine::{NEIGHBOURS, PAGE_ROWS, REST_MS, Reading, name_of};
use crate::state::{Level, Screen, State};
use crate::window::{Cursor, Fetch, Window};

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    if state.quarantine.detail.is_some() {
        let lines = crate::view::pane_lines(state, &areas).len();
        if let Some(at) = &mut state.quarantine.detail
            && super::scroll(at, command, count, lines, areas.pane.height.into())
        {
            return;
        }
    }
    if state.quarantine.detail.is_none() && travel(&mut state.quarantine.list, command, count, areas.rows.height.into())
    {
        return;
    }
    match command {
        Command::In if state.quarantine.list.selected().is_some() => state.quarantine.detail = Some(0),
        Command::OpenTarget => {
            if let Some(item) = state.quarantine.list.selected() {
                let (model, version) = (item.id.to_string(), item.version);
                super::models::open_version(state, model, version);
            }
        }
        Command::Rescan => ask_before(state, Deed::Rescan, out),
        Command::Block => ask_before(state, Deed::Block { reason: String::new() }, out),
        Command::Release => {
            let override_block = state.quarantine.blocked;
            ask_before(state, Deed::Release { reason: String::new(), override_block }, out);
        }
        Command::Blocked => {
            let waiting = state.quarantine.list.forget();
            cancel(state, waiting, out);
            state.quarantine.blocked = !state.quarantine.blocked;
            state.quarantine.detail = None;
            state.quarantine.list = Window::new(false);
        }
        Command::First | Command::Last => {
            say(state, Level::Warning, "not all that is held is read yet: PgDn goes on", out);
        }
        _ => {}
    }
}

/// Asks before something is done to the selected version.
fn ask_before(state: &mut State, deed: Deed, out: &mut Vec<Action>) {
    let Some(item) = state.quarantine.list.selected() else { return };
    let object = Object::Version { id: item.id.to_string(), name: item.name.to_string(), version: item.version };
    confirm::open(state, vec![Change::new(object, deed)], out);
}

pub(super) fn back(state: &mut State) -> bool {
    state.quarantine.detail.take().is_some()
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.held.clear();
    let waiting = state.quarantine.list.forget();
    cancel(state, waiting, out);
    forget_reading(state, out);
    let (fetch, cursor) = state.quarantine.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

fn forget_reading(state: &mut State, out: &mut Vec<Action>) {
    if let Some(reading) = state.quarantine.reading.take() {
        cancel(state, reading.pending.0, out);
        cancel(state, reading.pending.1, out);
    }
}

/// The selection has rested: what belongs to it is read.
pub(super) fn rested(state: &mut State, out: &mut Vec<Action>) {
    if state.screen != Screen::Quarantine {
        return;
    }
    let Some(reading) = &mut state.quarantine.reading else { return };
    if reading.asked {
        return;
    }
    reading.asked = true;
    let (model, version) = (reading.model.clone(), reading.version);
    let info = ask(state, Call::Version { reference: model.clone(), version }, out);
    let around = ask(state, Call::Versions { reference: model, cursor: None, limit: NEIGHBOURS }, out);
    if let Some(reading) = &mut state.quarantine.reading {
        reading.pending = (Some(info), Some(around));
    }
}

pub(super) fn take(state: &mut State, page: Page<QuarantineItem>, out: &mut Vec<Action>) {
    // The header counts by the newest answer, whichever route it came from.
    if let (Some(total), Some(status)) = (page.total, &mut state.health.status) {
        let held = &mut status.quarantine;
        if state.quarantine.blocked { held.blocked = total } else { held.waiting = total }
    }
    if !state.quarantine.list.take(page, state.now) {
        say_gone(state, "the selected version is no longer held".to_owned(), out);
    }
}

pub(super) fn take_version(state: &mut State, id: RequestId, info: Box<VersionInfo>) {
    if let Some(reading) = &mut state.quarantine.reading
        && reading.pending.0 == Some(id)
    {
        reading.pending.0 = None;
        reading.info = Some(info);
    }
}

pub(super) fn take_neighbours(state: &mut State, id: RequestId, page: Page<VersionInfo>) {
    if let Some(reading) = &mut state.quarantine.reading
        && reading.pending.1 == Some(id)
    {
        reading.pending.1 = None;
        reading.neighbours = Some(page.items);
    }
}

/// Whether the request was about the selected one: its pane says what went wrong.
pub(super) fn failed(state: &mut State, id: RequestId, why: &str) -> bool {
    let Some(reading) = &mut state.quarantine.reading else { return false };
    let is_info = reading.pending.0 == Some(id);
    if is_info {
        reading.pending.0 = None;
    } else if reading.pending.1 == Some(id) {
        reading.pending.1 = None;
    } else {
        return false;
    }
    reading.failed = Some(why.to_owned());
    true
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if let Some((fetch, cursor)) = wanted(&state.quarantine.list, rows_height(state)) {
        ask_page(state, fetch, cursor, out);
    }
    let selected = state.quarantine.list.selected().map(|item| (name_of(item), item.id.to_string(), item.version));
    let known = state.quarantine.reading.as_ref().map(|reading| reading.key.as_str());
    let is_shown = layout(state.size, state).pane.height > 0;
    match selected {
        Some((key, model, version)) if known != Some(key.as_str()) => {
            forget_reading(state, out);
            // On a small screen nothing of it is shown before it is opened.
            if is_shown {
                let (info, neighbours, pending) = (None, None, (None, None));
                state.quarantine.reading =
                    Some(Reading { key, model, version, info, neighbours, pending, failed: None, asked: false });
                out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
            }
        }
        Some(_) => {}
        None => forget_reading(state, out),
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let token = match &cursor {
        Cursor::Token(token) => Some(token.clone()),
        Cursor::Start | Cursor::Below(_) | Cursor::Between(..) => None,
    };
    let call = Call::Quarantine { blocked: state.quarantine.blocked, cursor: token, limit: PAGE_ROWS };
    let id = ask(state, call, out);
    state.quarantine.list.ask(id, fetch, cursor);
}
