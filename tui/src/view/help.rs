//! The keys, generated from their one table, and the message list.

use crate::access::refusal;
use crate::clean::{clean, width, wrap};
use crate::keymap::{Binding, Context, TABLE, VERBS};
use crate::state::{Level, State};
use crate::view::pen::{Line, Text, Tone};

/// Columns of the keys.
const KEYS_COLUMNS: usize = 14;
/// Columns of commands with words.
const VERB_COLUMNS: usize = 44;
/// The same on a screen of fewer columns than this.
const VERB_COLUMNS_NARROW: usize = 30;
const WIDE_COLUMNS: usize = 100;
/// Columns before what a command does, where that stands below it.
const INDENT: usize = 6;

/// Whether a line has what is looked for.
fn is_wanted(state: &State, line: &str) -> bool {
    state.overlay_filter.is_empty() || line.to_lowercase().contains(&state.overlay_filter.to_lowercase())
}

/// A key or command, and what it does beside it: in as many lines as that takes, and on its own where the first is too long.
fn entry(text: &mut Text, columns: u16, (head, wide): (&str, usize), help: &str, tone: Tone) {
    let beside = width(head.trim()) <= wide && head.ends_with(' ');
    let indent = if beside { width(head) } else { INDENT };
    let room = usize::from(columns).saturating_sub(indent + 1);
    let mut first = vec![(head.to_owned(), Tone::Bold)];
    let mut lines = wrap(&clean(help), room).into_iter();
    if beside {
        first.extend(lines.next().map(|line| (line, tone)));
    }
    text.pieces(first);
    for line in lines {
        text.pieces(vec![(" ".repeat(indent), Tone::Plain), (line, tone)]);
    }
}

pub(super) fn lines(state: &State, columns: u16) -> Vec<Line> {
    let mut text = Text::new(columns);
    let here = state.context();
    let sections = [(here, state.screen.title()), (Context::Lists, "Moving"), (Context::Everywhere, "Everywhere")];
    for (place, title) in sections {
        let is_repeated = place == here && matches!(here, Context::Lists | Context::Everywhere);
        if is_repeated && title == state.screen.title() {
            continue;
        }
        let fits = |binding: &&'static Binding| {
            let keys = state.settings.keys.of(binding).join(" ");
            is_wanted(state, &format!("{keys} {} {}", binding.help, binding.command.words()))
        };
        let mut rows = TABLE.iter().filter(|binding| binding.context == place).filter(fits).peekable();
        if rows.peek().is_none() {
            continue;
        }
        text.head(title);
        for binding in rows {
            let keys = state.settings.keys.of(binding).join(" ");
            let refused = refusal(state.who.as_ref(), binding.permission);
            let why = refused.as_ref().map(|why| format!("   ({why})")).unwrap_or_default();
            let tone = if refused.is_some() { Tone::Dim } else { Tone::Plain };
            let head = format!("  {keys:KEYS_COLUMNS$}");
            entry(&mut text, columns, (&head, KEYS_COLUMNS), &format!("{}{why}", binding.help), tone);
        }
    }
    let mut verbs = VERBS.iter().filter(|verb| is_wanted(state, &format!(": {} {}", verb.word, verb.help))).peekable();
    if verbs.peek().is_some() {
        text.head("Typed after :");
        for verb in verbs {
            let line = format!("{} {}", verb.word, verb.words);
            let verb_columns = if usize::from(columns) < WIDE_COLUMNS { VERB_COLUMNS_NARROW } else { VERB_COLUMNS };
            let head = format!("  {line:verb_columns$}  ");
            entry(&mut text, columns, (&head, verb_columns), verb.help, Tone::Plain);
        }
    }
    text.head("About");
    text.words(2, &format!("mreg {}, speaking to {}", state.settings.version, state.settings.address), Tone::Plain);
    text.lines()
}

pub(super) fn messages(state: &State, columns: u16) -> Vec<Line> {
    let mut text = Text::new(columns);
    for note in state.notes.iter().rev().filter(|note| is_wanted(state, &note.text)) {
        let tone = match note.level {
            Level::Info => Tone::Plain,
            Level::Warning => Tone::Warn,
            Level::Error => Tone::Bad,
        };
        text.fact(&state.times().time_of_day(note.at.wall_seconds), &clean(&note.text), tone);
    }
    text.lines()
}

/// Those that are shown, as plain text.
pub(super) fn notes_text(state: &State) -> String {
    let shown = state.notes.iter().rev().filter(|note| is_wanted(state, &note.text));
    shown
        .map(|note| {
            let level = match note.level {
                Level::Info => "",
                Level::Warning => "WARN ",
                Level::Error => "ERROR ",
            };
            format!("{} {level}{}\n", crate::time::rfc3339(note.at.wall_seconds), clean(&note.text))
        })
        .collect()
}
