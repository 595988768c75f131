//! What `y` and `Y` copy: the name or id of what is selected, and all of it as JSON. The true text is copied, which may not
//! be what is shown.

use common::api::Artifact;
use serde::Serialize;

use super::say;
use crate::action::Action;
use crate::clean::{escaped, is_spelled_out};
use crate::state::quarantine::name_of;
use crate::state::{Level, Screen, State};
use crate::terminal::clipboard;
use crate::time::counted;
use crate::window::Row;

/// Why nothing is sent, and how it would be.
pub(super) const CLIPBOARD_OFF: &str =
    "the clipboard is off (clipboard = \"raw\" below [ui] in config.toml turns it on)";

/// A text that goes into a file instead.
const TOO_MUCH: &str = "too much for a terminal's clipboard: x writes it to a file";

pub(super) fn name(state: &mut State, out: &mut Vec<Action>) {
    let text = match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => open.versions.selected().map(|version| format!("{}:{}", version.name, version.version)),
            None => state.models.list.selected().map(|row| row.name.to_string()),
        },
        Screen::Audit => state.audit.list.selected().map(|line| line.index.to_string()),
        Screen::Queue => state.queue.list.selected().map(|item| item.path.clone()),
        Screen::Quarantine => state.quarantine.list.selected().map(name_of),
        Screen::Users => state.users.list.selected().map(|user| user.username.to_string()),
        // A report has lines, and nothing in it is of others but what the daemon says.
        Screen::Health => return report(state, out),
    };
    match text {
        Some(text) if text.chars().any(|letter| letter.is_control() || is_spelled_out(letter)) => {
            // Asked once it was read, and only for what was asked about: a held key says no yes.
            let asked = state.copy_asked.take();
            if asked.is_some_and(|(drawn, asked)| asked == text && state.drawn > drawn) {
                return copy(state, Some(text), out);
            }
            state.copy_asked = Some((state.drawn, text));
            let why = "it has hidden or control characters, which a terminal obeys where it is pasted: y again copies it as it \
                       is, Y as JSON, which spells them out";
            say(state, Level::Warning, why, out);
        }
        text => copy(state, text, out),
    }
}

/// The digest of what is selected: of a single file alone, of several a line each, as `sha256sum` has them.
pub(super) fn digest(state: &mut State, out: &mut Vec<Action>) {
    let of_files = |files: &[Artifact]| match files {
        [] => None,
        [only] => Some(only.digest.to_string()),
        all => Some(all.iter().map(|file| format!("{}  {}\n", file.digest, file.path)).collect()),
    };
    let text = match state.screen {
        Screen::Models => {
            let selected = state.models.open.as_ref().and_then(|open| open.versions.selected());
            selected.and_then(|version| of_files(&version.artifacts))
        }
        Screen::Queue => {
            state.queue.list.selected().and_then(|item| item.digest.as_ref()).map(std::string::ToString::to_string)
        }
        Screen::Quarantine => {
            let key = state.quarantine.list.selected().map(Row::key);
            let reading = state.quarantine.reading.as_ref().filter(|reading| Some(&reading.key) == key.as_ref());
            reading.and_then(|reading| reading.info.as_ref()).and_then(|info| of_files(&info.artifacts))
        }
        Screen::Audit | Screen::Users | Screen::Health => None,
    };
    copy(state, text, out);
}

pub(super) fn json(state: &mut State, out: &mut Vec<Action>) {
    // While a result is told, it is what is copied: request id, index and receipt.
    if let Some(result) = state.changes.result.clone().filter(|_| state.changes.is_told(state.now.ms)) {
        return copy(state, Some(escaped(&result)), out);
    }
    // An entry goes with the proof that it is in the log, which is asked for first.
    if state.screen == Screen::Audit && super::tail::copy_with_proof(state, out) {
        return;
    }
    let text = match state.screen {
        Screen::Models => match &state.models.open {
            Some(open) => open.versions.selected().and_then(document),
            None => state.models.list.selected().and_then(document),
        },
        Screen::Audit => state.audit.list.selected().and_then(|line| document(&line.row())),
        Screen::Queue => state.queue.list.selected().and_then(document),
        Screen::Quarantine => state.quarantine.list.selected().and_then(document),
        Screen::Users => state.users.list.selected().and_then(document),
        Screen::Health => state.health.status.as_deref().and_then(document),
    };
    copy(state, text, out);
}

/// An entry with its proof, which has come.
pub(super) fn proved(state: &mut State, index: u64, text: Option<String>, out: &mut Vec<Action>) {
    match text.map(|text| escaped(&text)) {
        Some(text) if clipboard::fits(&text) => send(state, text, &format!("entry {index} with its proof"), out),
        text => copy(state, text, out),
    }
}

/// The page on health as text, a line a check.
fn report(state: &mut State, out: &mut Vec<Action>) {
    let Some(text) = crate::view::health_report(state) else {
        return say(state, Level::Info, "there is nothing to copy here", out);
    };
    if !clipboard::fits(&text) {
        return say(state, Level::Warning, TOO_MUCH, out);
    }
    let lines = text.lines().count();
    send(state, text, &format!("the report, {}", counted(lines as u64, "line")), out);
}

/// The messages that are shown.
pub(super) fn notes(state: &mut State, out: &mut Vec<Action>) {
    let text = crate::view::notes_text(state);
    let lines = text.lines().count();
    if !clipboard::fits(&text) {
        return say(state, Level::Warning, TOO_MUCH, out);
    }
    send(state, text, &counted(lines as u64, "line"), out);
}

/// What is wrong with the log, for a message to whoever answers for it.
pub(super) fn alarm(state: &mut State, out: &mut Vec<Action>) {
    send(state, crate::view::alarm_text(state), "what is wrong with the log", out);
}

/// A value as JSON that disturbs no terminal it is pasted into.
fn document(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok().map(|json| escaped(&json))
}

fn copy(state: &mut State, text: Option<String>, out: &mut Vec<Action>) {
    match text {
        None => say(state, Level::Info, "there is nothing to copy here", out),
        Some(text) if !clipboard::fits(&text) => {
            // Two versions compared, and what has a list, can be written to a file.
            let why = format!("{} octets are too much for a terminal's clipboard: x writes a file", text.len());
            say(state, Level::Warning, why, out);
        }
        Some(text) => {
            let said = text.clone();
            send(state, text, &said, out);
        }
    }
}

/// Sends text to the terminal's clipboard, where that is wanted. Nobody answers: whether it arrived is for the person to see, and
/// so is what it was.
fn send(state: &mut State, text: String, said: &str, out: &mut Vec<Action>) {
    if state.settings.can_copy {
        say(state, Level::Info, format!("sent to the terminal: {said}"), out);
        out.push(Action::Copy(text));
    } else {
        say(state, Level::Warning, format!("not sent: {CLIPBOARD_OFF}: {said}"), out);
    }
}
