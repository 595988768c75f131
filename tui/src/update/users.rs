//! Screen 5: users.

use super::{ask, cancel, confirm, form, rows_height, say, travel, wanted};
use crate::action::{Action, Call};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::users::PAGE_ROWS;
use crate::state::{Level, State};
use crate::window::{Cursor, Fetch};

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
    let user = state.users.list.selected().map(|user| (user.username.to_string(), user.role, user.disabled));
    match (command, user) {
        (Command::AddUser, _) => return form::add_user(state),
        (Command::Role, Some((name, role, _))) => return form::role(state, name, role),
        (Command::Lock, Some((name, _, is_locked))) => return ask_before(state, name, Deed::Lock(!is_locked), out),
        (Command::OneTimePassword, Some((name, ..))) => return ask_before(state, name, Deed::OneTimePassword, out),
        (Command::Sessions, Some((name, ..))) => return ask_before(state, name, Deed::Revoke, out),
        (Command::Delete, Some((name, ..))) => return ask_before(state, name, Deed::Delete, out),
        _ => {}
    }
    match command {
        Command::In if state.users.list.selected().is_some() => state.users.detail = Some(0),
        Command::EntriesOf => {
            if let Some(id) = state.users.list.selected().map(|user| user.id.clone()) {
                super::audit::show_target(state, &id, out);
            }
        }
        Command::First | Command::Last => {
            say(state, Level::Warning, "not all users are read yet: PgDn goes on", out);
        }
        _ => {}
    }
}

fn ask_before(state: &mut State, name: String, deed: Deed, out: &mut Vec<Action>) {
    confirm::open(state, vec![Change::new(Object::User(name), deed)], out);
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.users.clear();
    let waiting = state.users.list.forget();
    cancel(state, waiting, out);
    let (fetch, cursor) = state.users.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if let Some((fetch, cursor)) = wanted(&state.users.list, rows_height(state)) {
        ask_page(state, fetch, cursor, out);
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let token = match &cursor {
        Cursor::Token(token) => Some(token.clone()),
        Cursor::Start | Cursor::Below(_) | Cursor::Between(..) => None,
    };
    let id = ask(state, Call::Users { cursor: token, limit: PAGE_ROWS }, out);
    state.users.list.ask(id, fetch, cursor);
}
