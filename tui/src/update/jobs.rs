//! The list of what runs in the background: runs of changes, and their failures.

use super::course;
use crate::action::Action;
use crate::event::{Code, Key};
use crate::state::{Overlay, State};

pub(super) fn key(state: &mut State, selected: usize, key: Key, out: &mut Vec<Action>) {
    let numbers: Vec<u64> = state.changes.runs.keys().rev().copied().collect();
    let last = numbers.len().saturating_sub(1);
    let number = numbers.get(selected).copied();
    let to = match (key.code, key.ctrl) {
        (Code::Char('j'), false) | (Code::Down, _) => (selected + 1).min(last),
        (Code::Char('k'), false) | (Code::Up, _) => selected.saturating_sub(1),
        (Code::Char('G'), false) | (Code::End, _) => last,
        (Code::Char('g'), false) | (Code::Home, _) => 0,
        (Code::Char('r'), false) => {
            if let Some(number) = number {
                course::retry_failed(state, number, out);
            }
            return;
        }
        (Code::Char('C'), false) => {
            if let Some(number) = number {
                course::cancel(state, number, out);
            }
            return;
        }
        (Code::Esc | Code::Left, _) | (Code::Char('h' | 'q' | 'J'), false) | (Code::Char('c'), true) => {
            state.overlay = None;
            return;
        }
        _ => selected,
    };
    state.overlay = Some(Overlay::Jobs(to));
}
