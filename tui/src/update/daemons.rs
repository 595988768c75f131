//! The list of daemons: choosing one, and ending the session with this one.

use crate::action::Action;
use crate::event::{Code, Key};
use crate::state::{Level, Overlay, State};

use super::{login, say};

/// The first actions where no daemon is chosen yet.
pub fn choose(state: &mut State) -> Vec<Action> {
    open(state);
    Vec::new()
}

pub(super) fn open(state: &mut State) {
    let here = state.settings.profiles.iter().position(|profile| profile.name == state.settings.profile);
    state.overlay = Some(Overlay::Daemons(here.unwrap_or(0)));
}

pub(super) fn key(state: &mut State, selected: usize, key: Key, out: &mut Vec<Action>) {
    let last = state.settings.profiles.len().saturating_sub(1);
    let at_nothing = state.settings.address.is_empty();
    let to = match (key.code, key.ctrl) {
        (Code::Char('j'), false) | (Code::Down | Code::Tab, _) => (selected + 1).min(last),
        (Code::Char('k'), false) | (Code::Up | Code::BackTab, _) => selected.saturating_sub(1),
        (Code::Char('G'), false) | (Code::End, _) => last,
        (Code::Char('g'), false) | (Code::Home, _) => 0,
        (Code::Enter | Code::Right, _) | (Code::Char('l'), false) => {
            if let Some(profile) = state.settings.profiles.get(selected) {
                if profile.name != state.settings.profile {
                    out.push(Action::Switch(profile.name.clone()));
                }
                state.overlay = None;
            }
            return;
        }
        (Code::Char('L'), false) => {
            if state.who.is_some() {
                state.overlay = None;
                login::logout(state, out);
            } else {
                say(state, Level::Warning, "nobody is logged in here", out);
            }
            return;
        }
        (Code::Char('q'), false) | (Code::Char('c'), true) if at_nothing => return out.push(Action::Quit),
        (Code::Esc | Code::Left, _) | (Code::Char('h' | 'q' | '@'), false) | (Code::Char('c'), true) => {
            if !at_nothing {
                state.overlay = None;
            }
            return;
        }
        _ => selected,
    };
    state.overlay = Some(Overlay::Daemons(to));
}
