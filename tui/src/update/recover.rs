//! The daemon answers again: what could not be read meanwhile is read, on the screen that is on show at once, on another when
//! it is gone to. What was read well stays as it is: reading is recorded.

use super::{audit, health, models, quarantine, queue, tokens, users};
use crate::access::refusal;
use crate::action::{Action, TimerId};
use crate::state::dialog::Dialog;
use crate::state::{REST_MS, Screen, State};

/// It answers again.
pub(super) fn back(state: &mut State, out: &mut Vec<Action>) {
    state.missed = Screen::ALL.to_vec();
    if state.health.failed.is_some() {
        health::refresh(state, out);
    }
    let failed = match &state.dialog {
        Some(Dialog::Tokens(tokens)) if tokens.failed.is_some() => Some(tokens.user.clone()),
        _ => None,
    };
    if let (Some(user), true) = (failed, is_signed_in(state)) {
        tokens::open(state, user, out);
    }
    shown(state, out);
}

/// A screen is on show: what failed on it while the daemon was away is read again.
pub(super) fn shown(state: &mut State, out: &mut Vec<Action>) {
    let screen = state.screen;
    if state.offline || !is_signed_in(state) || !state.missed.contains(&screen) {
        return;
    }
    state.missed.retain(|missed| *missed != screen);
    if refusal(state.who.as_ref(), screen.permission()).is_some() {
        return;
    }
    match screen {
        Screen::Models => match &state.models.open {
            Some(open) if open.failed.is_some() || open.versions.stale().is_some() => models::refresh(state, out),
            Some(_) => {}
            None => {
                if state.models.list.stale().is_some() {
                    models::refresh_list(state, out);
                }
                // The pane beside it asks for what it lacks when the selection has rested.
                out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
            }
        },
        Screen::Audit if state.audit.list.stale().is_some() => audit::refresh(state, out),
        Screen::Queue if state.queue.list.stale().is_some() => queue::refresh(state, out),
        Screen::Quarantine => {
            let is_half_read = state.quarantine.reading.as_ref().is_some_and(|reading| reading.failed.is_some());
            if is_half_read || state.quarantine.list.stale().is_some() {
                quarantine::refresh(state, out);
            }
        }
        Screen::Users => {
            if state.users.list.stale().is_some() {
                users::refresh(state, out);
            }
            if state.users.reading.as_mut().and_then(|reading| reading.failed.take()).is_some() {
                out.push(Action::TimerSet { id: TimerId::Rest, after_ms: REST_MS });
            }
        }
        Screen::Audit | Screen::Queue | Screen::Health => {}
    }
}

fn is_signed_in(state: &State) -> bool {
    state.who.is_some() && state.login.is_none() && !state.settings.bare
}
