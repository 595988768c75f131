//! What lies over the screen takes the keys: passes them on, and knows the password or token that is shown once.

use super::copy::CLIPBOARD_OFF;
use super::{confirm, form, palette, say, tokens};
use crate::action::Action;
use crate::event::{Code, Key};
use crate::state::dialog::Dialog;
use crate::state::{Level, State};

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    match &mut state.dialog {
        Some(Dialog::Confirm(_)) => confirm::key(state, key, out),
        Some(Dialog::Palette(_)) => palette::key(state, key, out),
        Some(Dialog::Form(_)) => form::key(state, key, out),
        Some(Dialog::Tokens(_)) => tokens::key(state, key, out),
        Some(Dialog::Secret(once)) => {
            if state.drawn <= once.shown_after {
                // Typed before it could be read: it would be gone for good.
                return;
            }
            match (key.code, key.ctrl) {
                (Code::Char('y'), false) if !state.settings.can_copy => {
                    say(state, Level::Warning, format!("not sent: {CLIPBOARD_OFF}; copy it by hand"), out);
                }
                (Code::Char('y'), false) if !once.copied => {
                    once.copied = true;
                    out.push(Action::Copy(once.password.expose().to_owned()));
                    say(state, Level::Info, "sent to the terminal, once", out);
                }
                (Code::Char('y'), false) => say(state, Level::Warning, "it was copied already", out),
                // Enter may be the end of something typed before.
                (Code::Esc, _) => {
                    let of_token = once.is_token.then(|| once.user.clone());
                    state.dialog = None;
                    // Back among the tokens, where it was asked for.
                    if let Some(user) = of_token.filter(|_| !state.settings.bare) {
                        tokens::open(state, user, out);
                    }
                }
                _ => say(state, Level::Info, "Esc closes it; it is not shown again", out),
            }
        }
        None => {}
    }
}

pub(super) fn paste(state: &mut State, text: &str) {
    match &state.dialog {
        Some(Dialog::Confirm(_)) => confirm::paste(state, text),
        Some(Dialog::Palette(_)) => palette::paste(state, text),
        Some(Dialog::Form(_)) => form::paste(state, text),
        Some(Dialog::Secret(_) | Dialog::Tokens(_)) | None => {}
    }
}
