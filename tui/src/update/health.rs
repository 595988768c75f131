//! Screen 6: what the daemon says of itself, read every five seconds while it is open and somebody looks, and once a minute
//! for the counts in the header. The routes are not audited.

use common::api::{Ready, Status};

use super::{ask, go, say, scroll};
use crate::access::refusal;
use crate::action::{Action, Call, FilePurpose, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::health::{COUNTS_MS, POLL_MS};
use crate::state::{Level, Screen, State};
use crate::time::time_of_day;

/// How often it is tried whether the daemon answers again, in milliseconds. The route is not audited.
const LOST_MS: u64 = 10_000;
/// How long counts that have changed are not read anew, in milliseconds.
const SOON_MS: u64 = 10_000;
/// Rows that one key moves, at most: more than the page has.
const MOVES_MAX: u64 = 500;

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    if command == Command::OpenSubject {
        return open_subject(state, out);
    }
    let areas = layout(state.size, state);
    let height = usize::from(areas.pane.height);
    let lines = crate::view::pane_lines(state, &areas).len();
    if let Some(at) = &mut state.health.detail {
        scroll(at, command, count, lines, height);
        return;
    }
    match command {
        Command::In if state.health.status.is_some() => state.health.detail = Some(0),
        Command::Down | Command::Up => {
            for _ in 0..count.unwrap_or(1).min(MOVES_MAX) {
                step(state, command == Command::Down, lines, height);
            }
        }
        _ => drop(scroll(&mut state.health.scroll, command, count, lines, height)),
    }
}

/// One row: from check to check, and through the text below the last one.
fn step(state: &mut State, down: bool, lines: usize, height: usize) {
    let checks = state.health.checks(state.times(), state.skew_seconds);
    let at = crate::view::check_lines(state, &layout(state.size, state));
    let place = state.health.place(&checks);
    let end = lines.saturating_sub(height);
    let health = &mut state.health;
    health.scroll = health.scroll.min(end);
    let is_seen = |line: usize| (health.scroll..health.scroll + height).contains(&line);
    let line = at.get(place).copied().unwrap_or(0);
    let to = match down {
        true if place + 1 < checks.len() && is_seen(line) => Some(place + 1),
        false if is_seen(line) && place > 0 => Some(place - 1),
        _ => None,
    };
    match to {
        Some(to) => {
            health.selected = checks.get(to).map(|check| check.name);
            let line = at.get(to).copied().unwrap_or(0);
            // The first comes with its heads.
            let first = if to == 0 { 0 } else { line };
            health.scroll = health.scroll.min(first).max((line + 1).saturating_sub(height));
        }
        None if down => health.scroll = (health.scroll + 1).min(end),
        None => health.scroll = health.scroll.saturating_sub(1),
    }
}

/// Opens the screen that the selected check is about; before one is selected that is the worst.
fn open_subject(state: &mut State, out: &mut Vec<Action>) {
    let checks = state.health.checks(state.times(), state.skew_seconds);
    let Some(check) = checks.get(state.health.place(&checks)) else {
        return say(state, Level::Info, "nothing is known yet", out);
    };
    let Some(screen) = check.subject() else {
        let name = check.name;
        return say(state, Level::Info, format!("{name} has no screen of its own; Enter shows it whole"), out);
    };
    match refusal(state.who.as_ref(), screen.permission()) {
        Some(why) => say(state, Level::Warning, why, out),
        None => {
            if screen == Screen::Quarantine {
                // What is worst there is what waits.
                super::quarantine::list_those(state, false, out);
            }
            go(state, screen, out);
        }
    }
}

/// One step out: of the check that is shown whole, then of the filter.
pub(super) fn back(state: &mut State) -> bool {
    state.health.detail.take().is_some() || !std::mem::take(&mut state.health.filter).is_empty()
}

/// Holds the diagnostics still, or follows them again.
pub(super) fn hold(state: &mut State) {
    let health = &mut state.health;
    health.still = match health.still.take() {
        Some(_) => None,
        None => Some(health.status.as_ref().map(|status| status.diagnostics.clone()).unwrap_or_default()),
    };
}

/// Writes the report to a new file.
pub(super) fn export(state: &mut State, out: &mut Vec<Action>) {
    let Some(text) = crate::view::health_report(state) else {
        return say(state, Level::Info, "there is nothing to export yet", out);
    };
    let time = time_of_day(state.now.wall_seconds).replace(':', "");
    out.push(Action::WriteFile { purpose: FilePurpose::Export, name: format!("health-{time}.txt"), text });
}

/// Another screen is on show: reading becomes frequent or rare.
pub(super) fn entered(state: &mut State, out: &mut Vec<Action>) {
    if state.screen == Screen::Health && state.who.is_some() {
        refresh(state, out);
    }
}

/// Time for another look, if somebody looks.
pub(super) fn due(state: &mut State, out: &mut Vec<Action>) {
    if state.focused && state.who.is_some() { refresh(state, out) } else { again(state, out) }
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    if state.health.pending.is_none() {
        let id = ask(state, Call::Status, out);
        state.health.pending = Some(id);
    }
    if state.screen == Screen::Health && state.health.pending_ready.is_none() {
        let id = ask(state, Call::Ready, out);
        state.health.pending_ready = Some(id);
    }
}

pub(super) fn take(state: &mut State, status: Box<Status>, out: &mut Vec<Action>) {
    state.health.pending = None;
    state.health.failed = None;
    state.health.as_of = Some(state.now);
    state.health.status = Some(status);
    state.health.note_changes(state.now, state.skew_seconds);
    again(state, out);
}

pub(super) fn take_ready(state: &mut State, ready: Ready) {
    state.health.pending_ready = None;
    state.health.ready = Some(ready);
    state.health.note_changes(state.now, state.skew_seconds);
}

pub(super) fn failed(state: &mut State, id: RequestId, why: &str, out: &mut Vec<Action>) {
    if state.health.pending_ready == Some(id) {
        state.health.pending_ready = None;
        state.health.ready = None;
    }
    if state.health.pending == Some(id) {
        state.health.pending = None;
        state.health.failed = Some(why.to_owned());
        again(state, out);
    }
}

/// Nobody answers: it is asked more often, so that the end of it is known.
pub(super) fn lost(state: &mut State, out: &mut Vec<Action>) {
    if state.who.is_some() && !state.settings.bare && state.health.pending.is_none() {
        again(state, out);
    }
}

fn again(state: &mut State, out: &mut Vec<Action>) {
    state.health.is_soon = false;
    let after_ms = match state.screen {
        Screen::Health => POLL_MS,
        _ if state.offline => LOST_MS,
        _ => COUNTS_MS,
    };
    out.push(Action::TimerSet { id: TimerId::Health, after_ms });
}

/// What the counts in the header are of has changed: they are read soon, however much changes meanwhile.
pub(super) fn soon(state: &mut State, out: &mut Vec<Action>) {
    let is_near = state.health.as_of.is_some_and(|at| state.now.ms.saturating_sub(at.ms) >= COUNTS_MS - SOON_MS);
    if state.screen != Screen::Health && !state.health.is_soon && !is_near && state.health.as_of.is_some() {
        state.health.is_soon = true;
        out.push(Action::TimerSet { id: TimerId::Health, after_ms: SOON_MS });
    }
}

/// The same after what was done here: the counts change with the lists.
pub(super) fn at_once(state: &mut State, out: &mut Vec<Action>) {
    // An answer that is on its way may be older than what was done.
    if let Some(waiting) = state.health.pending.take() {
        super::cancel(state, Some(waiting), out);
    }
    if state.who.is_some() {
        refresh(state, out);
    }
}

/// The counts in the header are read once at the beginning, whatever is on the screen.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if state.health.status.is_none() && state.health.failed.is_none() && state.health.pending.is_none() {
        refresh(state, out);
    }
}
