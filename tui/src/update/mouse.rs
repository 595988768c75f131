//! The mouse, where it is asked for: the wheel moves, a click selects, sorts, or does what the hint under it says.

use super::{command, rows_height, say};
use crate::access::{Access, access};
use crate::action::Action;
use crate::event::{Gesture, Mouse};
use crate::keymap::Command;
use crate::layout::{Areas, layout};
use crate::state::models::SORTS;
use crate::state::queue::SORTS as QUEUE_SORTS;
use crate::state::users::SORTS as USER_SORTS;
use crate::state::{Level, Overlay, Screen, State};
use crate::view::{head_at, hint_at, screen_at};
use crate::window::{Row, Window};

/// Rows that one notch of the wheel moves.
const WHEEL_ROWS: u64 = 3;

pub(super) fn mouse(state: &mut State, mouse: Mouse, out: &mut Vec<Action>) {
    let areas = layout(state.size, state);
    let covered = state.dialog.is_some()
        || state.login.is_some()
        || state.new_password.is_some()
        || state.enrol.is_some()
        || state.filter.is_some()
        || state.prompt.is_some();
    if covered || state.who.is_none() {
        return;
    }
    match mouse.what {
        Gesture::WheelUp | Gesture::WheelDown => {
            let down = mouse.what == Gesture::WheelDown;
            match &mut state.overlay {
                Some(Overlay::Help(_) | Overlay::Messages(_) | Overlay::Verification(_) | Overlay::Alarm(_)) => {
                    let code = crate::event::Code::Char(if down { 'j' } else { 'k' });
                    for _ in 0..WHEEL_ROWS {
                        super::overlay_key(state, crate::event::Key { code, ctrl: false }, out);
                    }
                }
                Some(Overlay::Daemons(_) | Overlay::Jobs(_)) => {}
                None => command(state, if down { Command::Down } else { Command::Up }, Some(WHEEL_ROWS), out),
            }
        }
        Gesture::Click if state.overlay.is_none() => click(state, &areas, mouse, out),
        Gesture::Click => {}
    }
}

fn click(state: &mut State, areas: &Areas, mouse: Mouse, out: &mut Vec<Action>) {
    let at = ratatui::layout::Position { x: mouse.x, y: mouse.y };
    if areas.rows.contains(at) {
        let row = usize::from(mouse.y - areas.rows.y);
        let height = rows_height(state);
        match state.screen {
            Screen::Models => match &mut state.models.open {
                Some(open) => select(&mut open.versions, row, height),
                None => select(&mut state.models.list, row, height),
            },
            Screen::Audit => {
                // Who points at a row wants it to stay.
                super::audit::pause(state);
                select(&mut state.audit.list, row, height);
            }
            Screen::Queue => select(&mut state.queue.list, row, height),
            Screen::Quarantine => select(&mut state.quarantine.list, row, height),
            Screen::Users => select(&mut state.users.list, row, height),
            Screen::Health => {}
        }
    } else if areas.heads.contains(at) {
        if let Some(head) = head_at(state, areas, mouse.x) {
            sort_by(state, head, out);
        }
    } else if areas.header.contains(at) {
        if let Some(screen) = screen_at(state, areas, mouse.x) {
            command(state, Command::Go(screen), None, out);
        }
    } else if areas.hints.contains(at)
        && let Some(binding) = hint_at(state, areas, mouse.x)
        && access(state, binding) == Access::Allowed
    {
        command(state, binding.command, None, out);
    }
}

/// Sorts by the column of a head; where it is sorted so already, the other way round.
fn sort_by(state: &mut State, head: &str, out: &mut Vec<Action>) {
    let (order, orders, sort) = match (state.screen, head) {
        (Screen::Models, "NAME") => (0, SORTS.len(), &mut state.models.sort),
        (Screen::Models, "UPDATED") => (1, SORTS.len(), &mut state.models.sort),
        (Screen::Queue, "STATE") => (0, QUEUE_SORTS.len(), &mut state.queue.sort),
        (Screen::Queue, "FILE") => (1, QUEUE_SORTS.len(), &mut state.queue.sort),
        (Screen::Users, "USER") => (0, USER_SORTS.len(), &mut state.users.sort),
        (Screen::Users, "ROLE") => (1, USER_SORTS.len(), &mut state.users.sort),
        (Screen::Users, "LAST LOGIN") => (2, USER_SORTS.len(), &mut state.users.sort),
        _ => return say(state, Level::Info, format!("the daemon has no order by {head}"), out),
    };
    if *sort == order {
        return command(state, Command::Reverse, None, out);
    }
    // The next one is what the key goes to.
    *sort = (order + orders - 1) % orders;
    command(state, Command::Sort, None, out);
}

fn select<R: Row>(list: &mut Window<R>, row: usize, height: usize) {
    let here = list.visible(height).position(|(_, is_selected)| is_selected);
    let is_there = list.visible(height).nth(row).is_some();
    // The rows stay where they are: the marker goes to the one that was pointed at.
    if let (Some(here), true) = (here, is_there) {
        let rows = i64::try_from(row).unwrap_or(i64::MAX) - i64::try_from(here).unwrap_or(0);
        list.step(rows, height);
    }
}
