//! What others change is read again where it is looked at, soon but seldom: reading is recorded too.

use super::{ask, models, quarantine, users};
use crate::action::{Action, Call, TimerId};
use crate::state::audit::field;
use crate::state::fresh::{AGAIN_MS, Kind};
use crate::state::{Screen, State};
use crate::tail::Held;
use crate::window::Row;

/// An entry came: notes what it changed of what is here.
pub(super) fn noted(state: &mut State, held: &Held, out: &mut Vec<Action>) {
    // Most entries of a busy log are readings: they are told apart without being understood.
    let Some(action) = action_of(&held.leaf) else { return };
    let Some(kind) = Kind::of(action).filter(|_| held.malformed.is_none()) else { return };
    let Ok(entry) = serde_json::from_slice::<serde_json::Value>(&held.leaf) else { return };
    if field(&entry, &["outcome"]) != "ok" || state.fresh.was_own(held.index) {
        return;
    }
    let target = field(&entry, &["target", "id"]);
    match kind {
        Kind::Model => {
            let list = &state.models.list;
            // One that is not shown may be new.
            let shown = list.shows_first() || list.rows().any(|row| row.key() == target);
            state.fresh.models |= list.is_loaded() && shown;
            state.fresh.held |= state.quarantine.list.is_loaded();
            let open = state.models.open.as_ref().and_then(|open| open.info.as_ref());
            state.fresh.open |= open.is_some_and(|info| info.model.id.to_string() == target);
        }
        Kind::Review => state.fresh.held |= state.quarantine.list.is_loaded(),
        Kind::User => {
            state.fresh.users |= state.users.list.is_loaded();
            if state.who.as_ref().is_some_and(|who| who.id == target) {
                ask(state, Call::Me, out);
            }
        }
    }
}

/// The action of an entry in canonical form.
fn action_of(leaf: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(leaf).ok()?.split_once("\"action\":\"")?;
    rest.split_once('"').map(|(action, _)| action)
}

/// Reads again what is looked at and was changed, at most once in [`AGAIN_MS`].
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let busy = state.login.is_some() || state.dialog.is_some() || state.filter.is_some() || state.overlay.is_some();
    let is_changed = state.fresh.is_changed(state.screen, state.models.open.is_some());
    if !is_changed || !state.focused || busy || state.who.is_none() || state.offline {
        return;
    }
    let due = state.fresh.last_ms.map_or(0, |last| last.saturating_add(AGAIN_MS));
    if due > state.now.ms {
        if !state.fresh.waits {
            state.fresh.waits = true;
            out.push(Action::TimerSet { id: TimerId::Fresh, after_ms: due - state.now.ms });
        }
        return;
    }
    state.fresh.last_ms = Some(state.now.ms);
    match state.screen {
        Screen::Models => models::refresh(state, out),
        Screen::Quarantine => quarantine::refresh(state, out),
        Screen::Users => users::refresh(state, out),
        Screen::Audit | Screen::Queue | Screen::Health => {}
    }
}

/// The time has come; what is looked at is then read by [`follow_up`].
pub(super) fn due(state: &mut State) {
    state.fresh.waits = false;
}
