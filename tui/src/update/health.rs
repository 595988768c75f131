//! Screen 4: what the daemon says of itself, read every five seconds while it is open. The route is not audited.

use common::api::Status;

use super::{ask, scroll};
use crate::action::{Action, Call, RequestId, TimerId};
use crate::keymap::Command;
use crate::layout::layout;
use crate::state::health::POLL_MS;
use crate::state::{Screen, State};

pub(super) fn command(state: &mut State, command: Command, count: Option<u64>) {
    let areas = layout(state.size, state);
    let lines = crate::view::pane_lines(state, &areas).len();
    scroll(&mut state.health.scroll, command, count, lines, areas.pane.height.into());
}

/// Another screen is on show: reading begins or ends.
pub(super) fn entered(state: &mut State, out: &mut Vec<Action>) {
    out.push(Action::TimerDrop(TimerId::Health));
    if state.screen == Screen::Health && state.who.is_some() {
        due(state, out);
    }
}

pub(super) fn due(state: &mut State, out: &mut Vec<Action>) {
    if state.screen == Screen::Health && state.health.pending.is_none() {
        let id = ask(state, Call::Status, out);
        state.health.pending = Some(id);
    }
}

pub(super) fn refresh(state: &mut State, out: &mut Vec<Action>) {
    due(state, out);
}

pub(super) fn take(state: &mut State, status: Box<Status>, out: &mut Vec<Action>) {
    state.health.pending = None;
    state.health.failed = None;
    state.health.as_of = Some(state.now);
    state.health.status = Some(status);
    again(state, out);
}

pub(super) fn failed(state: &mut State, id: RequestId, why: &str, out: &mut Vec<Action>) {
    if state.health.pending == Some(id) {
        state.health.pending = None;
        state.health.failed = Some(why.to_owned());
        again(state, out);
    }
}

fn again(state: &State, out: &mut Vec<Action>) {
    if state.screen == Screen::Health {
        out.push(Action::TimerSet { id: TimerId::Health, after_ms: POLL_MS });
    }
}

pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    if state.health.status.is_none() && state.health.failed.is_none() {
        due(state, out);
    }
}
