//! Screen 5: users. More about one of them is read when its detail is open and the selection has rested.

use common::api::UserInfo;

use super::{ask, cancel, confirm, form, jump, marks, rows_height, say, tokens, travel, wanted};
use crate::action::{Action, Call, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::users::{SORTS, UserReading};
use crate::state::{Level, REST_MS, Screen, State};
use crate::window::{Cursor, Fetch, Row, Window};

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    if state.users.detail.is_some() {
        let lines = crate::view::pane_lines(state, &areas).len();
        if let Some(at) = &mut state.users.detail {
            let by_pages = matches!(command, Command::PageDown | Command::PageUp | Command::HalfDown | Command::HalfUp);
            if by_pages && super::scroll(at, command, count, lines, areas.pane.height.into()) {
                return;
            }
            *at = 0;
        }
    }
    if travel(&mut state.users.list, command, count, areas.rows.height.into()) {
        return;
    }
    if marks::rows::command(state, command, out) {
        return;
    }
    let user = state.users.list.selected().map(|user| (user.username.to_string(), user.role.clone(), user.disabled));
    match (command, user) {
        (Command::AddUser, _) => return form::add_user(state),
        (Command::Role, Some((name, role, _))) => return form::role(state, name, role.as_str()),
        (Command::Grants, Some((name, ..))) => {
            let now = state.users.list.selected().map(|user| user.grants.clone()).unwrap_or_default();
            return form::grants(state, name, &now);
        }
        (Command::Lock, Some((_, _, is_locked))) => {
            let (list, marks) = (&state.users.list, &state.users.marks);
            // Of several those that are not locked yet are; where all are, they are unlocked.
            let are_locked = list.rows().filter(|user| marks.has(&user.key())).all(|user| user.disabled);
            let is_locked = if marks.objects.is_empty() { is_locked } else { are_locked };
            return marks::rows::ask_before(state, &Deed::Lock(!is_locked), out);
        }
        // It is shown once, and so made for one at a time.
        (Command::OneTimePassword, Some((name, ..))) => {
            let change = Change::new(Object::User(name), Deed::OneTimePassword);
            return confirm::open(state, vec![change], out);
        }
        (Command::Sessions, Some(_)) => return marks::rows::ask_before(state, &Deed::Revoke, out),
        (Command::ResetTotp, Some(_)) => return marks::rows::ask_before(state, &Deed::ResetTotp, out),
        (Command::Tokens, Some((name, ..))) => return tokens::open(state, name, out),
        (Command::Delete, Some(_)) => return marks::rows::ask_before(state, &Deed::Delete, out),
        _ => {}
    }
    match command {
        Command::In if state.users.list.selected().is_some() => state.users.detail = Some(0),
        Command::EntriesOf => {
            let user = state.users.list.selected().map(|user| (user.id.clone(), user.username.to_string()));
            if let Some((id, name)) = user {
                super::audit::show_target(state, &id, &name, out);
            }
        }
        Command::First => restart(state, false, out),
        Command::Last if count.is_none() => restart(state, true, out),
        Command::Last => say(state, Level::Warning, "that number is not near: PgDn goes on", out),
        Command::Sort => {
            state.users.sort = (state.users.sort + 1) % SORTS.len();
            state.users.descending = SORTS[state.users.sort].0.ends_with("_at");
            reorder(state, out);
        }
        Command::Reverse => {
            state.users.descending = !state.users.descending;
            reorder(state, out);
        }
        _ => {}
    }
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.users.clear();
    let waiting = state.users.list.forget();
    cancel(state, waiting, out);
    let (fetch, cursor) = state.users.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if let Some((fetch, cursor)) = wanted(&state.users.list, rows_height(state), state.rests()) {
        ask_page(state, fetch, cursor, out);
    }
    follow_selection(state, out);
}

/// The list anew, from its beginning or from its end.
fn restart(state: &mut State, last: bool, out: &mut Vec<Action>) {
    let waiting = jump(&mut state.users.list, last);
    cancel(state, waiting, out);
}

/// The list anew, in another order: who was looked at closer is no longer the selected one.
fn reorder(state: &mut State, out: &mut Vec<Action>) {
    state.users.detail = None;
    restart(state, false, out);
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.users.filter != text {
        // Whoever was found stays selected, if the list has them.
        state.users.goal = state.users.list.selected().map(|user| user.username.to_string());
        marks::rows::give_up(state, out);
        state.users.filter = text;
        state.fresh.users.clear();
        state.users.detail = None;
        let waiting = state.users.list.forget();
        cancel(state, waiting, out);
        state.users.list = Window::new(false);
    }
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    if state.users.detail.take().is_some() {
        return true;
    }
    if marks::rows::clear(state, out) {
        return true;
    }
    let was_filtered = !state.users.filter.is_empty();
    set_filter(state, String::new(), out);
    was_filtered
}

/// The selection has rested: what belongs to it is read.
pub(super) fn rested(state: &mut State, out: &mut Vec<Action>) {
    if state.screen != Screen::Users || state.users.detail.is_none() {
        return;
    }
    let name = state.users.list.selected().map(|user| (user.key(), user.username.to_string()));
    let Some((key, name)) = name else { return };
    let is_new = |reading: &UserReading| reading.key == key && reading.info.is_none() && reading.pending.is_none();
    if state.users.reading.as_ref().is_some_and(is_new) {
        let id = ask(state, Call::User(name), out);
        if let Some(reading) = &mut state.users.reading {
            reading.pending = Some(id);
        }
    }
}

pub(super) fn take_one(state: &mut State, id: RequestId, info: Box<UserInfo>) {
    if let Some(reading) = state.users.reading.as_mut().filter(|reading| reading.pending == Some(id)) {
        reading.pending = None;
        reading.info = Some(info);
    }
}

/// Whether the request was about the selected one: its pane says what went wrong.
pub(super) fn failed(state: &mut State, id: RequestId, why: &str) -> bool {
    let Some(reading) = state.users.reading.as_mut().filter(|reading| reading.pending == Some(id)) else {
        return false;
    };
    reading.pending = None;
    reading.failed = Some(why.to_owned());
    true
}

/// What is read about a user goes with the selection.
fn follow_selection(state: &mut State, out: &mut Vec<Action>) {
    let selected = state.users.list.selected().filter(|_| state.users.detail.is_some());
    let selected = selected.map(|user| (user.key(), user.updated_at.clone()));
    let known = state.users.reading.as_ref().map(|reading| (reading.key.clone(), reading.updated_at.clone()));
    if selected == known {
        return;
    }
    let before = state.users.reading.take().and_then(|reading| reading.pending);
    cancel(state, before, out);
    if let Some((key, updated_at)) = selected {
        state.users.reading = Some(UserReading { key, updated_at, info: None, pending: None, failed: None });
        out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Users(Box::new(state.users.query(&cursor)));
    let id = ask(state, call, out);
    state.users.list.ask(id, fetch, cursor);
}
