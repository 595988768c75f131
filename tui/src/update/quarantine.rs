//! Screen 4: what is held, and all that is known of the selected one. That is read when the selection has rested; listing
//! may be an entry of the audit log, so nothing is read by the clock.

use common::api::{Excerpt, IngestItem, Page, QuarantineItem, ReviewInfo, VersionInfo};
use common::client::Paging;

use super::{ask, cancel, course, jump, marks, rows_height, say, say_gone, travel, wanted};
use crate::access::may;
use crate::action::{Action, Call, RequestId, TimerId};
use crate::edit::Line;
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::deeds::{Change, Deed, Object};
use crate::state::quarantine::{Dump, NEIGHBOURS, Reading, name_of};
use crate::state::{Level, Prompt, PromptKind, REST_MS, Screen, State};
use crate::window::{Cursor, Fetch, Row, Window};
use common::role::Permission;

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    if state.quarantine.detail.is_some() {
        match command {
            Command::NextFinding => return next_finding(state, true),
            Command::LastFinding => return next_finding(state, false),
            Command::In => return read_octets(state, out),
            _ => {}
        }
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
    if state.quarantine.detail.is_none() && marks::rows::command(state, command, out) {
        return;
    }
    match command {
        Command::In if state.quarantine.list.selected().is_some() => state.quarantine.detail = Some(0),
        Command::OpenTarget => {
            if let Some(item) = state.quarantine.list.selected() {
                let (id, name, version) = (item.id, item.name.to_string(), item.version);
                // What came through the drop folder is opened there, as long as its item is among those that were read.
                let came = |row: &&IngestItem| row.model == Some(id) && row.version == Some(version);
                let in_queue = state.queue.list.rows().find(came).map(Row::key);
                match in_queue {
                    Some(key) => {
                        super::go(state, Screen::Queue, out);
                        state.queue.list.select(&key);
                    }
                    None => super::models::open_version(state, id.to_string(), Some(name), version, out),
                }
            }
        }
        Command::NextFinding | Command::LastFinding if state.quarantine.list.selected().is_some() => {
            state.quarantine.detail = Some(0);
            next_finding(state, true);
        }
        Command::Note => ask_note(state, out),
        Command::Rescan => marks::rows::ask_before(state, &Deed::Rescan, out),
        Command::Block => marks::rows::ask_before(state, &Deed::Block { reason: String::new() }, out),
        Command::Release => {
            let override_block = state.quarantine.blocked;
            marks::rows::ask_before(state, &Deed::Release { reason: String::new(), override_block }, out);
        }
        Command::Blocked => list_those(state, !state.quarantine.blocked, out),
        Command::First => restart(state, false, out),
        Command::Last if count.is_none() => restart(state, true, out),
        Command::Last => say(state, Level::Warning, "that number is not near: PgDn goes on", out),
        _ => {}
    }
}

/// Lists those that are blocked for good, or those that wait.
pub(super) fn list_those(state: &mut State, blocked: bool, out: &mut Vec<Action>) {
    state.quarantine.detail = None;
    if state.quarantine.blocked != blocked {
        let waiting = state.quarantine.list.forget();
        cancel(state, waiting, out);
        state.quarantine.blocked = blocked;
        let reading = std::mem::take(&mut state.quarantine.marks).reading;
        cancel(state, reading, out);
        state.quarantine.list = Window::new(false);
    }
}

/// The list anew, from its beginning or from its end.
fn restart(state: &mut State, last: bool, out: &mut Vec<Action>) {
    let waiting = jump(&mut state.quarantine.list, last);
    cancel(state, waiting, out);
}

pub(super) fn set_filter(state: &mut State, text: String, out: &mut Vec<Action>) {
    if state.quarantine.filter != text {
        marks::rows::give_up(state, out);
        state.quarantine.filter = text;
        state.fresh.held.clear();
        state.quarantine.detail = None;
        let waiting = state.quarantine.list.forget();
        cancel(state, waiting, out);
        state.quarantine.list = Window::new(false);
    }
}

// ---- findings and their octets --------------------------------------------------------------------------------------

/// Selects another finding of those shown, and brings it into sight.
fn next_finding(state: &mut State, on: bool) {
    let areas = layout(state.size, state);
    let Some(count) = findings(state).map(Vec::len).filter(|count| *count > 0) else { return };
    let Some(reading) = &mut state.quarantine.reading else { return };
    reading.finding = Some(match (reading.finding, on) {
        (None, true) => 0,
        (None, false) => count - 1,
        (Some(at), true) => (at + 1) % count,
        (Some(at), false) => (at + count - 1) % count,
    });
    let at = crate::view::finding_line(state, &areas);
    let (lines, height) = (crate::view::pane_lines(state, &areas).len(), usize::from(areas.pane.height));
    if let (Some(scroll), Some(at)) = (&mut state.quarantine.detail, at) {
        // With a line above it, which says what it is among.
        *scroll = at.saturating_sub(1).min(lines.saturating_sub(height));
    }
}

/// The findings that are shown.
fn findings(state: &State) -> Option<&Vec<common::api::Finding>> {
    let item = state.quarantine.list.selected()?;
    let info = state.quarantine.reading.as_ref().and_then(|reading| reading.info.as_ref());
    Some(info.map_or(&item.findings, |info| &info.findings))
}

/// Asks for the octets round the selected finding. By a key only: each reading is an entry of the log.
fn read_octets(state: &mut State, out: &mut Vec<Action>) {
    if state.quarantine.reading.as_ref().is_some_and(|reading| reading.finding.is_none()) {
        next_finding(state, true);
    }
    if let Some(why) = may(state, Some(Permission::ModelModerate), false).refusal() {
        return say(state, Level::Warning, format!("the octets of what is held: {why}"), out);
    }
    let Some(reading) = &state.quarantine.reading else { return };
    let Some(place) = reading.finding.and_then(|at| Some(findings(state)?.get(at)?.place.clone())) else {
        return say(state, Level::Info, "there is no finding whose octets could be shown", out);
    };
    let (reference, version) = (reading.model.clone(), reading.version);
    let before = reading.dump.as_ref().and_then(|dump| dump.pending);
    cancel(state, before, out);
    let id = ask(state, Call::Excerpt { reference, version, place: place.clone() }, out);
    if let Some(reading) = &mut state.quarantine.reading {
        reading.dump = Some(Dump { place, excerpt: None, pending: Some(id), failed: None });
    }
}

pub(super) fn take_octets(state: &mut State, id: RequestId, excerpt: Box<Excerpt>) {
    let dump = state.quarantine.reading.as_mut().and_then(|reading| reading.dump.as_mut());
    if let Some(dump) = dump.filter(|dump| dump.pending == Some(id)) {
        dump.pending = None;
        dump.excerpt = Some(excerpt);
    }
}

// ---- notes ----------------------------------------------------------------------------------------------------------

fn ask_note(state: &mut State, out: &mut Vec<Action>) {
    state.quarantine.noting = object(state);
    if state.quarantine.noting.is_none() {
        return say(state, Level::Info, "nothing is selected", out);
    }
    state.prompt = Some(Prompt { kind: PromptKind::Note, line: Line::new(""), error: None });
}

/// A note was typed.
///
/// # Errors
/// A sentence where there is none.
pub(super) fn add_note(state: &mut State, text: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let Some(object) = state.quarantine.noting.clone() else { return Err("nothing is selected".to_owned()) };
    if text.is_empty() {
        return Err("say something; Esc leaves".to_owned());
    }
    course::begin(state, vec![(Change::new(object, Deed::Note { text: text.to_owned() }), None, None)], false, out);
    Ok(())
}

fn object(state: &State) -> Option<Object> {
    let item = state.quarantine.list.selected()?;
    Some(Object::Version { id: item.id.to_string(), name: item.name.to_string(), version: item.version })
}

pub(super) fn back(state: &mut State, out: &mut Vec<Action>) -> bool {
    if state.quarantine.detail.take().is_some() {
        return true;
    }
    let was_filtered = !state.quarantine.filter.is_empty();
    set_filter(state, String::new(), out);
    was_filtered
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    state.fresh.held.clear();
    let waiting = state.quarantine.list.forget();
    cancel(state, waiting, out);
    read_again(state, out);
    let (fetch, cursor) = state.quarantine.list.reload_from();
    ask_page(state, fetch, cursor, out);
}

/// What is known of the selected one is read again; until that is there it is shown as it was.
fn read_again(state: &mut State, out: &mut Vec<Action>) {
    let Some(reading) = &mut state.quarantine.reading else { return };
    let pending = std::mem::take(&mut reading.pending);
    reading.asked = false;
    reading.failed = None;
    for id in pending {
        cancel(state, id, out);
    }
    out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
}

fn forget_reading(state: &mut State, out: &mut Vec<Action>) {
    if let Some(reading) = state.quarantine.reading.take() {
        let of_dump = reading.dump.and_then(|dump| dump.pending);
        for id in reading.pending.into_iter().chain([of_dump]) {
            cancel(state, id, out);
        }
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
    let page = Paging { limit: Some(NEIGHBOURS), ..Paging::default() };
    let around = ask(state, Call::Versions { reference: model.clone(), page }, out);
    let review = ask(state, Call::Review { reference: model, version }, out);
    if let Some(reading) = &mut state.quarantine.reading {
        reading.pending = [Some(info), Some(around), Some(review)];
    }
}

pub(super) fn take(state: &mut State, page: Page<QuarantineItem>, out: &mut Vec<Action>) {
    // The header counts by the newest answer, whichever route it came from.
    let is_whole = state.quarantine.filter.is_empty();
    if let (Some(total), Some(status), true) = (page.total, &mut state.health.status, is_whole) {
        let held = &mut status.quarantine;
        if state.quarantine.blocked { held.blocked = total } else { held.waiting = total }
    }
    let before = state.quarantine.list.selected().map(name_of);
    if !state.quarantine.list.take(page, state.now) {
        // What is shown whole must not turn into another version while somebody reads, or is about to decide.
        let was_open = state.quarantine.detail.take().is_some();
        let name = before.unwrap_or_default();
        let back = if was_open { "; this is the list" } else { "" };
        say_gone(state, format!("{name} is no longer held{back}"), out);
    }
}

pub(super) fn take_version(state: &mut State, id: RequestId, info: Box<VersionInfo>) {
    if let Some(reading) = &mut state.quarantine.reading
        && reading.pending[0] == Some(id)
    {
        reading.pending[0] = None;
        reading.info = Some(info);
    }
}

pub(super) fn take_neighbours(state: &mut State, id: RequestId, page: Page<VersionInfo>) {
    if let Some(reading) = &mut state.quarantine.reading
        && reading.pending[1] == Some(id)
    {
        reading.pending[1] = None;
        reading.neighbours = Some(page.items);
    }
}

pub(super) fn take_review(state: &mut State, id: RequestId, review: Box<ReviewInfo>) {
    if let Some(reading) = &mut state.quarantine.reading
        && reading.pending[2] == Some(id)
    {
        reading.pending[2] = None;
        reading.review = Some(review);
    }
}

/// Whether the request was about the selected one: its pane says what went wrong.
pub(super) fn failed(state: &mut State, id: RequestId, why: &str) -> bool {
    let Some(reading) = &mut state.quarantine.reading else { return false };
    if let Some(dump) = reading.dump.as_mut().filter(|dump| dump.pending == Some(id)) {
        dump.pending = None;
        dump.failed = Some(why.to_owned());
        return true;
    }
    let Some(pending) = reading.pending.iter_mut().find(|pending| **pending == Some(id)) else { return false };
    *pending = None;
    reading.failed = Some(why.to_owned());
    true
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if let Some((fetch, cursor)) = wanted(&state.quarantine.list, rows_height(state), state.rests()) {
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
                state.quarantine.reading = Some(Reading {
                    key,
                    model,
                    version,
                    info: None,
                    neighbours: None,
                    review: None,
                    pending: [None; 3],
                    finding: None,
                    dump: None,
                    failed: None,
                    asked: false,
                });
                out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
            }
        }
        Some(_) => {}
        None => forget_reading(state, out),
    }
}

fn ask_page(state: &mut State, fetch: Fetch, cursor: Cursor, out: &mut Vec<Action>) {
    let call = Call::Quarantine(Box::new(state.quarantine.query(&cursor)));
    let id = ask(state, call, out);
    state.quarantine.list.ask(id, fetch, cursor);
}
