//! Screen 6: what the daemon says of itself, read every five seconds while it is open and somebody looks, and once a minute
//! for the counts in the header. The routes are not audited.

use common::api::{Ready, Status};

use super::{ask, go, say, scroll};
use crate::access::refusal;
use crate::action::{Action, Call, FilePurpose, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::health::{COUNTS_MS, POLL_MS, Verdict};
use crate::state::{Level, Screen, State};
use crate::time::time_of_day;

/// How long counts that have changed are not read anew, in milliseconds.
const SOON_MS: u64 = 10_000;

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>, out: &mut Vec<Action>) {
    if command == Command::OpenSubject {
        return open_subject(state, out);
    }
    let areas = layout(state.size, state);
    let lines = crate::view::pane_lines(state, &areas).len();
    scroll(&mut state.health.scroll, command, count, lines, areas.pane.height.into());
}

/// Opens the screen of the check that is worst, the first of those.
fn open_subject(state: &mut State, out: &mut Vec<Action>) {
    let checks = state.health.checks(state.times(), state.skew_seconds);
    let worst = checks.iter().map(|check| check.verdict).max().filter(|worst| *worst >= Verdict::Warn);
    let subject = checks.iter().find(|check| Some(check.verdict) == worst).map(|check| check.name);
    let screen = match subject {
        Some("audit log" | "witnesses") => Screen::Audit,
        Some("drop folder") => Screen::Queue,
        Some("quarantine" | "rescan") => Screen::Quarantine,
        Some("records" | "scrub" | "retention" | "collection") => Screen::Models,
        Some(other) => return say(state, Level::Info, format!("{other} has no screen of its own"), out),
        None => return say(state, Level::Info, "all is well: there is nothing to open", out),
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
    // Where nobody answers, a person asks again; only this screen itself goes on.
    let lost = state.offline && state.screen != Screen::Health;
    if state.focused && state.who.is_some() && !lost { refresh(state, out) } else { again(state, out) }
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

fn again(state: &mut State, out: &mut Vec<Action>) {
    state.health.is_soon = false;
    let after_ms = if state.screen == Screen::Health { POLL_MS } else { COUNTS_MS };
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

/// The counts in the header are read once at the beginning, whatever is on the screen.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if state.health.status.is_none() && state.health.failed.is_none() && state.health.pending.is_none() {
        refresh(state, out);
    }
}
