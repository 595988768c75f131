//! Screen 3: the drop folder, read every five seconds while it is open and somebody looks: the route is not audited. Where
//! it is after all, pages are read only when they are asked for.

use common::api::{IngestItem, IngestPage, Page};
use common::client::Reply;

use super::{ask, cancel, confirm, jump, marks, rows_height, say, say_gone, say_result, travel, wanted};
use crate::action::{Action, Call, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::changes::UNDO_MS;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::queue::{POLL_MS, Retried, SORTS};
use crate::state::{Level, Note, Screen, State};
use crate::window::{Cursor, Fetch, Window};

/// Items that are named in a message on what came of them.
const OUTCOMES_NAMED: usize = 3;

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    if state.queue.detail.is_some() {
        let lines = crate::view::pane_lines(state, &areas).len();
        if let Some(at) = &mut state.queue.detail {
            let by_pages = matches!(command, Command::PageDown | Command::PageUp | Command::HalfDown | Command::HalfUp);
            if by_pages && super::scroll(at, command, count, lines, areas.pane.height.into()) {
                return;
            }
            *at = 0;
        }
    }
    if travel(&mut state.queue.list, command, count, areas.rows.height.into()) {
        return;
    }
    if marks::rows::command(state, command, out) {
        return;
    }
    match command {
        Command::In if state.queue.list.selected().is_some() => state.queue.detail = Some(0),
        Command::Follow => {
            state.queue.is_still = !state.queue.is_still;
            if !state.queue.is_still {
                due(state, out);
            }
        }
        Command::OpenTarget => open_result(state, out),
        Command::Retry => marks::rows::ask_before(state, &Deed::Retry, out),
        Command::Discard => marks::rows::ask_before(state, &Deed::Discard { reason: String::new() }, out),
        Command::Pause => {
            let paused = state.queue.intake.as_ref().is_some_and(|intake| intake.paused);
            let reason = String::new();
            let deed = if paused { Deed::Resume { reason } } else { Deed::Pause { reason } };
            confirm::open(state, vec![Change::new(Object::Intake, deed)], out);
        }
        Command::Sort => {
            state.queue.sort = (state.queue.sort + 1) % SORTS.len();
            state.queue.descending = SORTS[state.queue.sort].0 == "state_since";
            reorder(state, out);
        }
        Command::Reverse => {
            state.queue.descending = !state.queue.descending;
            reorder(state, out);
        }
        Command::First | Command::Last if count.is_none() => restart(state, command == Command::Last, out),
        Command::First | Command::Last => say(state, Level::Warning, "that number is not near: PgDn goes on", out),
        _ => {}
    }
}

/// The list anew, from its beginning or from its end.
fn restart(state: &mut State, last: bool, out: &mut Vec<Action>) {
    state.fresh.queue.clear();
    let waiting = jump(&mut state.queue.list, last);
    cancel(state, waiting, out);
}

/// The list anew, in another order: what was looked at closer is no longer the selected one.
fn reorder(state: &mut State, out: &mut Vec<Action>) {
    state.queue.detail = None;
    restart(state, false, out);
}

/// Opens the version that an item came to.
fn open_result(state: &mut State, out: &mut Vec<Action>) {
    let Some(item) = state.queue.list.selected() else { return };
    if let (Some(model), Some(version)) = (item.model, item.version) {
        let name = item.name.clone();
        super::models::open_version(state, model.to_string(), name, version, out);
    }
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.queue.filter != text {
        marks::rows::give_up(state, out);
        state.queue.filter = text;
        state.fresh.queue.clear();
        state.queue.detail = None;
        let waiting = state.queue.list.forget();
        cancel(state, waiting, out);
        state.queue.list = Window::new(false);
    }
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    if state.queue.detail.take().is_some() {
        return true;
    }
    if marks::rows::clear(state, out) {
        return true;
    }
    if state.queue.filter.is_empty() {
        return false;
    }
    set_filter(state, String::new(), out);
    true
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    let waiting = state.queue.list.forget();
    cancel(state, waiting, out);
    read_again(state, out);
}

fn read_again(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.queue.clear();
    let (fetch, cursor) = state.queue.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

/// Another screen is on show: reading begins or ends.
pub(super) fn entered(state: &mut State, out: &mut Vec<Action>) {
    out.push(Action::TimerDrop(TimerId::Queue));
    if state.screen == Screen::Queue && state.queue.list.is_loaded() {
        due(state, out);
    }
}

/// Time for another look, if somebody looks.
pub(super) fn due(state: &mut State, out: &mut Vec<Action>) {
    if state.screen != Screen::Queue || state.who.is_none() || state.queue.is_audited {
        return;
    }
    if state.focused && !state.queue.is_still && !state.queue.list.is_loading() {
        read_again(state, out);
    } else {
        again(state, out);
    }
}

fn again(state: &State, out: &mut Vec<Action>) {
    if state.screen == Screen::Queue && !state.queue.is_audited {
        out.push(Action::TimerSet { id: TimerId::Queue, after_ms: POLL_MS });
    }
}

pub(super) fn take(state: &mut State, id: RequestId, reply: Reply<Box<IngestPage>>, out: &mut Vec<Action>) {
    state.queue.is_audited |= reply.log_index.is_some();
    state.queue.is_failing = false;
    let IngestPage { items, total, next_cursor, prev_cursor, intake } = *reply.body;
    state.queue.intake.clone_from(&intake);
    // The header counts by the newest answer, whichever route it came from.
    if let Some(status) = &mut state.health.status {
        status.ingest = intake;
    }
    note_outcomes(state, &items, id);
    let before = state.queue.list.selected().map(|item| item.path.clone());
    if !state.queue.list.take(Page { items, total, next_cursor, prev_cursor }, state.now)
        && let Some(path) = before
    {
        say_gone(state, format!("{path} has left this list"), out);
    }
    again(state, out);
}

/// Notes what came of those that were tried again from here, as far as a page shows it.
fn note_outcomes(state: &mut State, items: &[IngestItem], asked: RequestId) {
    for item in items {
        let outcome = state.queue.retried.get(&item.id).and_then(|retried| retried.outcome(item, asked));
        if let Some(outcome) = outcome {
            state.queue.retried.remove(&item.id);
            state.queue.came_to(outcome);
        }
    }
}

/// The log has that an item was rejected: if it was tried again from here, that is told, whichever screen is on show.
pub(super) fn rejected(state: &mut State, id: &str, index: u64, why: &str) {
    let is_since = |retried: &Retried| retried.index.is_some_and(|began| began < index);
    if state.queue.retried.get(id).is_some_and(is_since)
        && let Some(retried) = state.queue.retried.remove(id)
    {
        state.queue.came_to((Level::Error, format!("{}: {why}", retried.rejected())));
    }
}

/// One message about all of those that something came of: the worst first, of many the first few. What was just done stays
/// on the message line for its time, unless that is the retry itself.
pub(super) fn tell_outcomes(state: &mut State, out: &mut Vec<Action>) {
    let is_of_retry = state.queue.retry_said == Some(state.said);
    let is_fresh = |note: &Note| state.now.ms.saturating_sub(note.at.ms) < UNDO_MS;
    if state.message.as_ref().is_some_and(is_fresh) && state.tells_result && !is_of_retry {
        return;
    }
    let mut came = std::mem::take(&mut state.queue.came);
    came.sort_by_key(|(level, _)| match level {
        Level::Error => 0,
        Level::Warning => 1,
        Level::Info => 2,
    });
    let Some((level, _)) = came.first() else { return };
    let more = came.len().saturating_sub(OUTCOMES_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let named: Vec<&str> = came.iter().take(OUTCOMES_NAMED).map(|(_, text)| text.as_str()).collect();
    let (level, text) = (*level, format!("{}{more}", named.join("; ")));
    say_result(state, level, text, out);
}

/// Whether that is news: while readings fail one after the other, it is said once.
pub(super) fn failed(state: &mut State, out: &mut Vec<Action>) -> bool {
    again(state, out);
    !std::mem::replace(&mut state.queue.is_failing, true)
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if let Some((fetch, cursor)) = wanted(&state.queue.list, rows_height(state), state.rests()) {
        ask_page(state, fetch, cursor, out);
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Ingest(Box::new(state.queue.query(&cursor)));
    let id: RequestId = ask(state, call, out);
    state.queue.list.ask(id, fetch, cursor);
}
