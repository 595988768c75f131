//! The keys, generated from their one table, and the message list.

use crate::access::refusal;
use crate::clean::{clean, width, wrap};
use crate::keymap::{Binding, Context, TABLE, VERBS};
use crate::state::{Level, Note, State};
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

/// The signs in lists.
const SIGNS: &[(&str, &str)] = &[
    ("\u{258c}", "the selected row"),
    ("*", "marked"),
    ("~", "before a row: others changed it since it was read; at the end of a text: it is cut"),
    (".", "an entry that no verified checkpoint covers yet; without it, it is verified"),
    ("X", "an entry that is not the one the log committed to"),
    ("...", "rows that are still asked for"),
    ("available!", "handed out in spite of what inspection found: released, or let through by its policy"),
    ("CHANGED", "others changed what is shown; C-r reads it again"),
    ("Que4!", "in the header: four are under way there, and something is in trouble"),
    ("STALE", "the daemon did not answer: this is what was read last"),
];

/// The heading of what `:help verification` shows.
const VERIFICATION: &str = "Verification";

/// What verified means, in sentences.
const VERIFIED: &[&str] = &[
    "Verified means: the log's key signed a checkpoint, a size and a root, that is consistent with every checkpoint this profile \
     has seen; and the entry that is shown is in that tree, at its index, octet for octet.",
    "It does not mean that what the entry tells is true, nor that nobody is shown another log: for that compare size and root \
     (V) with somebody else, or ask for witnesses (witnesses and quorum in the profile).",
    "The badge: v and an index, verified up to there. A dot: newer entries wait for their checkpoint. LATE: no checkpoint for \
     60 s, no entry at all for 30 minutes, or too few witnesses. ? key: nobody has compared the log's key; T does. off: you may not read the log. X BROKEN: a \
     check failed, and stays so until somebody acknowledges it (A).",
    "c in V checks every entry there is, or some; mreg verify does the same without a screen.",
];

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
    let mut signs = SIGNS.iter().filter(|(sign, what)| is_wanted(state, &format!("{sign} {what}"))).peekable();
    if signs.peek().is_some() {
        text.head("Signs in lists");
        for (sign, what) in signs {
            let head = format!("  {sign:KEYS_COLUMNS$}");
            entry(&mut text, columns, (&head, KEYS_COLUMNS), what, Tone::Plain);
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
    let mut said = VERIFIED.iter().filter(|said| is_wanted(state, said)).peekable();
    if said.peek().is_some() {
        text.head(VERIFICATION);
        if let Some(key) = state.log.trust.pinned_key().filter(|_| state.overlay_filter.is_empty()) {
            text.words(
                2,
                &format!("The log is {}, its key {}: {}.", key.name(), key.id(), state.log.trust.key_trust()),
                Tone::Plain,
            );
        }
        for said in said {
            text.words(2, said, Tone::Plain);
        }
    }
    text.head("About");
    text.words(2, &format!("mreg {}, speaking to {}", state.settings.version, state.settings.address), Tone::Plain);
    text.lines()
}

/// The line at which verification is explained.
pub(super) fn verification_line(state: &State, columns: u16) -> usize {
    let is_it = |line: &Line| matches!(line.0.as_slice(), [(text, Tone::Bold)] if text == VERIFICATION);
    lines(state, columns).iter().position(is_it).unwrap_or(0)
}

/// Messages, the newest first: while the list is held still, those that there were.
fn listed(state: &State) -> impl Iterator<Item = &Note> {
    let newer = state.notes_held.map_or(0, |held| state.noted.saturating_sub(held));
    state.notes.iter().rev().skip(usize::try_from(newer).unwrap_or(usize::MAX))
}

pub(super) fn messages(state: &State, columns: u16) -> Vec<Line> {
    let mut text = Text::new(columns);
    for note in listed(state).filter(|note| is_wanted(state, &note.text)) {
        let tone = match note.level {
            Level::Info => Tone::Plain,
            Level::Warning => Tone::Warn,
            Level::Error => Tone::Bad,
        };
        let said = format!("{}{}", word(note.level), clean(&note.text));
        text.fact(&state.times().time_of_day(note.at.wall_seconds), &said, tone);
    }
    if text.count() == 0 {
        let why = if state.overlay_filter.is_empty() { "nothing yet" } else { "no message matches the filter" };
        text.words(0, why, Tone::Plain);
    }
    text.lines()
}

/// How much a message matters, in a word.
fn word(level: Level) -> &'static str {
    match level {
        Level::Info => "",
        Level::Warning => "WARN ",
        Level::Error => "ERROR ",
    }
}

/// Those that are shown, as plain text.
pub(super) fn notes_text(state: &State) -> String {
    let shown = listed(state).filter(|note| is_wanted(state, &note.text));
    shown
        .map(|note| {
            let at = crate::time::rfc3339(note.at.wall_seconds);
            format!("{at} {}{}\n", word(note.level), clean(&note.text))
        })
        .collect()
}
