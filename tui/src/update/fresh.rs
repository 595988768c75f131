//! What others change is read again where it is looked at, soon but seldom: reading is recorded too. What this console itself
//! has changed is read again at once.

use common::api::QuarantineItem;
use common::name::ModelId;

use super::{ask, models, quarantine, queue, users};
use crate::action::{Action, Call, TimerId};
use crate::state::audit::field;
use crate::state::fresh::{Kind, Touched};
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
        Kind::Item => {
            touch(&mut state.fresh.queue, &state.queue.list, |item| item.id == target, true);
            if action == "ingest.reject" {
                queue::rejected(state, target, held.index, field(&entry, &["data", "detail"]));
            }
        }
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

/// Whether nobody is anywhere in the list that is looked at.
fn is_untouched(state: &State) -> bool {
    match (state.screen, &state.models.open) {
        (Screen::Models, Some(open)) => {
            open.reading.is_none() && open.compared.is_none() && open.versions.is_untouched()
        }
        (Screen::Models, None) => state.models.list.is_untouched(),
        (Screen::Queue, _) => state.queue.list.is_untouched(),
        // What is shown whole stays as it is for longer.
        (Screen::Quarantine, _) => state.quarantine.detail.is_none() && state.quarantine.list.is_untouched(),
        (Screen::Users, _) => state.users.list.is_untouched(),
        (Screen::Audit | Screen::Health, _) => false,
    }
}

/// Reads again what is looked at and was changed: soon where nobody is anywhere in it, else seldom.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let busy = state.login.is_some() || state.dialog.is_some() || state.filter.is_some() || state.overlay.is_some();
    let is_changed = state.fresh.is_changed(state.screen, state.models.open.is_some());
    let untouched = is_untouched(state);
    // The drop folder is read every few seconds, or, where that is recorded, by hand only.
    let is_polled = state.screen == Screen::Queue && (state.queue.is_audited || state.queue.is_still || !untouched);
    let asleep = !state.focused || busy || state.who.is_none() || state.offline || state.settings.bare;
    if is_polled || !is_changed || asleep {
        return;
    }
    let due = state.fresh.due_ms(untouched);
    if due > state.now.ms {
        if state.fresh.wakes_ms.is_none_or(|wakes| wakes > due) {
            state.fresh.wakes_ms = Some(due);
            out.push(Action::TimerSet { id: TimerId::Fresh, after_ms: due - state.now.ms });
        }
        return;
    }
    state.fresh.reads(state.now.ms);
    match state.screen {
        Screen::Models => models::refresh(state, out),
        Screen::Queue => queue::refresh(state, out),
        Screen::Quarantine => quarantine::refresh(state, out),
        Screen::Users => users::refresh(state, out),
        Screen::Audit | Screen::Health => {}
    }
}

/// Something of this console's has ended that may have made a version, or had one held: the lists that have it are read again,
/// whichever screen is on show.
pub(super) fn after_own_version(state: &mut State, out: &mut Vec<Action>) {
    if state.models.open.is_some() {
        models::refresh(state, out);
    }
    if state.models.list.is_loaded() {
        models::refresh_list(state, out);
    }
    if state.quarantine.list.is_loaded() {
        quarantine::refresh(state, out);
    }
    super::health::at_once(state, out);
}

/// The time has come; what is looked at is then read by [`follow_up`].
pub(super) fn due(state: &mut State) {
    state.fresh.wakes_ms = None;
}
