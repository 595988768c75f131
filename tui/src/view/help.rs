//! The keys, generated from their one table, and the message list.

use crate::access::refusal;
use crate::clean::clean;
use crate::keymap::{Context, TABLE};
use crate::state::{Level, State};
use crate::time::time_of_day;
use crate::view::pen::{Line, Text, Tone};

/// Columns of the keys.
const KEYS_COLUMNS: usize = 14;

pub(super) fn lines(state: &State, columns: u16) -> Vec<Line> {
    let mut text = Text::new(columns);
    let here = state.context();
    let sections = [(here, state.screen.title()), (Context::Lists, "Moving"), (Context::Everywhere, "Everywhere")];
    for (place, title) in sections {
        let is_repeated = place == here && matches!(here, Context::Lists | Context::Everywhere);
        if is_repeated && title == state.screen.title() {
            continue;
        }
        text.head(title);
        for binding in TABLE.iter().filter(|binding| binding.context == place) {
            let keys = state.settings.keys.of(binding).join(" ");
            let refused = refusal(state.who.as_ref(), binding.permission);
            let why = refused.as_ref().map(|why| format!("   ({why})")).unwrap_or_default();
            let tone = if refused.is_some() { Tone::Dim } else { Tone::Plain };
            text.pieces(vec![
                (format!("  {keys:KEYS_COLUMNS$}"), Tone::Bold),
                (format!("{}{why}", binding.help), tone),
            ]);
        }
    }
    text.head("About");
    text.words(2, &format!("mreg {}, speaking to {}", state.settings.version, state.settings.address), Tone::Plain);
    text.lines()
}

pub(super) fn messages(state: &State, columns: u16) -> Vec<Line> {
    let mut text = Text::new(columns);
    for note in state.notes.iter().rev() {
        let tone = match note.level {
            Level::Info => Tone::Plain,
            Level::Warning => Tone::Warn,
            Level::Error => Tone::Bad,
        };
        text.fact(&time_of_day(note.at.wall_seconds), &clean(&note.text), tone);
    }
    text.lines()
}
