//! What others change is read again where it is looked at, soon but seldom: reading is recorded too.

use common::api::QuarantineItem;
use common::name::ModelId;

use super::{ask, models, quarantine, users};
use crate::action::{Action, Call, TimerId};
use crate::state::audit::field;
use crate::state::fresh::{AGAIN_MS, Kind, Touched};
use crate::state::{Screen, State};
use crate::tail::Held;
use crate::window::{Row, Window};

/// An entry came: notes what it changed of what is here.
pub(super) fn noted(state: &mut State, held: &Held, out: &mut Vec<Action>) {
    // Most entries of a busy log are readings: they are told apart without being understood.
    let Some(action) = action_of(&held.leaf) else { return };
    let Some(kind) = Kind::of(action).filter(|_| held.malformed.is_none()) else { return };
    let Ok(entry) = serde_json::from_slice::<serde_json::Value>(&held.leaf) else { return };
    if field(&entry, &["outcome"]) != "ok" || state.fresh.was_own(held.index) {
        return;
    }
    if matches!(kind, Kind::Item | Kind::Model { holds: true }) {
        super::health::soon(state, out);
    }
    let target = field(&entry, &["target", "id"]);
    let version = field(&entry, &["target", "version"]);
    match kind {
        Kind::Model { holds } => {
            model(state, target, version, holds);
            // The item of the drop folder that came to it.
            let item = field(&entry, &["data", "drop", "item"]);
            if !item.is_empty() {
                touch(&mut state.fresh.queue, &state.queue.list, |row| row.id == item, true);
            }
        }
        Kind::Item => touch(&mut state.fresh.queue, &state.queue.list, |item| item.id == target, true),
        Kind::Review => held_by(state, target, version, false),
        Kind::User => {
            touch(&mut state.fresh.users, &state.users.list, |user| user.id == target, true);
            if state.who.as_ref().is_some_and(|who| who.id == target) {
                ask(state, Call::Me, out);
            }
        }
    }
}

/// A model, or a version of it, was changed.
fn model(state: &mut State, target: &str, version: &str, holds: bool) {
    // One that is not shown may be new.
    let may_be_new = state.models.list.shows_first();
    let id: Option<ModelId> = target.parse().ok();
    touch(&mut state.fresh.models, &state.models.list, |row| Some(row.id) == id, may_be_new);
    held_by(state, target, version, holds);
    let Some(open) = &state.models.open else { return };
    if open.info.as_ref().is_some_and(|info| Some(info.model.id) == id) {
        touch(&mut state.fresh.open, &open.versions, |row| row.version.to_string() == version, true);
    }
}

/// A version that is held, or all of a model's, was changed; `beyond` as of [`touch`].
fn held_by(state: &mut State, target: &str, version: &str, beyond: bool) {
    let id: Option<ModelId> = target.parse().ok();
    let is_it =
        |held: &QuarantineItem| Some(held.id) == id && (version.is_empty() || held.version.to_string() == version);
    touch(&mut state.fresh.held, &state.quarantine.list, is_it, beyond);
}

/// Marks the row of a list that was read; `beyond` where also what is not held may have changed the list.
fn touch<R: Row>(touched: &mut Touched, list: &Window<R>, is_it: impl Fn(&R) -> bool, beyond: bool) {
    if !list.is_loaded() {
        return;
    }
    touched.any |= beyond;
    for row in list.rows().filter(|row| is_it(row)) {
        touched.row(&row.key());
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
    // The drop folder is read every few seconds, or, where that is recorded, by hand only.
    let asleep = !state.focused || busy || state.who.is_none() || state.offline || state.settings.bare;
    if state.screen == Screen::Queue || !is_changed || asleep {
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
