//! The palette: commands of the one table, commands with words after them, screens, names that are loaded. Matching is
//! fuzzy and only over lists held whole; nothing is asked of the daemon for it but names, after typing has rested.

use common::name::{Alias, ModelName, Version};
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::{ask, cancel, command, confirm, go, say};
use crate::access::{access, may};
use crate::action::{Action, Call, RequestId, TimerId};
use crate::edit::Line;
use crate::event::{Code, Key};
use crate::filter::model_query;
use crate::keymap::{Context, TABLE, VERBS, Verb};
use crate::state::deeds::{Change, Deed, Object};
use crate::state::dialog::{Act, Candidate, Dialog, HISTORY_MAX, Local, Palette};
use crate::state::{Highlight, Level, Overlay, Screen, State};
use crate::time::Way;
use crate::view::theme::Theme;

/// Candidates that are kept for a line.
const MATCHES_MAX: usize = 100;
/// Names asked of the daemon for one line.
const NAMES_ASKED: u32 = 10;
/// How long typing rests before that, in milliseconds.
const REST_MS: u64 = 150;
/// Shortest text that names are asked for.
const NAME_LETTERS: usize = 2;
/// Versions offered for a model.
const VERSIONS_OFFERED: usize = 20;

/// What `set` sets, and the values.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("ascii", &["on", "off"]),
    ("bell", &["on", "off"]),
    ("cursor", &["hidden", "selection"]),
    ("highlight", &["key", "row", "none"]),
    ("mouse", &["on", "off"]),
    ("theme", &["auto", "dark", "light", "mono"]),
    ("time", &["utc", "local", "age"]),
    ("title", &["on", "off"]),
];

pub(super) fn open(state: &mut State, text: &str) {
    let palette = Palette {
        line: Line::new(text),
        matches: Vec::new(),
        of: 0,
        selected: 0,
        recalled: None,
        error: None,
        waits: None,
        found: Vec::new(),
        local: None,
    };
    state.overlay = None;
    state.dialog = Some(Dialog::Palette(Box::new(palette)));
    rematch(state);
}

pub(super) fn key(state: &mut State, key: Key, out: &mut Vec<Action>) {
    let Some(Dialog::Palette(palette)) = &mut state.dialog else { return };
    let last = palette.matches.len().saturating_sub(1);
    match (key.code, key.ctrl) {
        (Code::Esc, _) | (Code::Char('c'), true) => return close(state, out),
        (Code::Backspace, _) if palette.line.text().is_empty() => return close(state, out),
        (Code::Enter, _) => return enter(state, out),
        (Code::Down, _) | (Code::Char('n'), true) => {
            if palette.recalled.is_some() {
                return recall(state, false);
            }
            palette.selected = (palette.selected + 1).min(last);
            return;
        }
        (Code::Up, _) | (Code::Char('p'), true) => {
            if palette.selected == 0 || palette.recalled.is_some() {
                return recall(state, true);
            }
            palette.selected -= 1;
            return;
        }
        (Code::Tab, _) => {
            // The first of them that says more than the line does, and can be meant.
            let typed = palette.line.text().to_owned();
            let further = || palette.matches.iter().skip(palette.selected);
            let mut fitting = further().filter(|candidate| candidate.refused.is_none()).map(completed);
            let Some(text) = fitting.find(|text| goes_on(&typed, text)) else {
                palette.error = further().find_map(|candidate| candidate.refused.clone());
                return;
            };
            palette.line.clear();
            palette.line.insert(&text);
        }
        _ => {
            palette.recalled = None;
            if !palette.line.key(key) {
                return;
            }
        }
    }
    palette.error = None;
    palette.selected = 0;
    rematch(state);
    out.push(Action::TimerSet { id: TimerId::Typing, after_ms: REST_MS });
}

pub(super) fn paste(state: &mut State, text: &str) {
    if let Some(Dialog::Palette(palette)) = &mut state.dialog {
        palette.line.insert(text);
        palette.selected = 0;
        rematch(state);
    }
}

/// The line that a candidate stands for.
fn completed(candidate: &Candidate) -> String {
    match &candidate.act {
        Act::Fill(text) => text.clone(),
        Act::Run(text) => text.clone(),
        Act::Model(name) => format!("open {name}"),
        // The key's command opens what the verb of the same word is: it goes on behind a blank.
        Act::Command(..) if VERBS.iter().any(|verb| verb.word == candidate.text && verb.wants_words()) => {
            format!("{} ", candidate.text)
        }
        Act::Command(..) | Act::Row(..) => candidate.text.clone(),
    }
}

/// Whether a line says more than what is typed and has all of that in it: typing is never thrown away.
fn goes_on(typed: &str, line: &str) -> bool {
    let says_more = typed.trim_end() != line.trim_end() || typed.len() < line.len();
    let has = |word: &str| {
        let mut of_line = line.chars().flat_map(char::to_lowercase);
        word.chars().flat_map(char::to_lowercase).all(|wanted| of_line.any(|char| char == wanted))
    };
    says_more && typed.split_whitespace().all(has)
}

fn close(state: &mut State, out: &mut Vec<Action>) {
    if let Some(Dialog::Palette(palette)) = state.dialog.take() {
        cancel(state, palette.waits, out);
        out.push(Action::TimerDrop(TimerId::Typing));
    }
}

/// Lines that were run before: older, or newer again.
fn recall(state: &mut State, older: bool) {
    let count = state.history.len();
    let Some(Dialog::Palette(palette)) = &mut state.dialog else { return };
    palette.recalled = match (palette.recalled, older) {
        (None, true) => Some(0),
        (Some(place), true) => Some((place + 1).min(count.saturating_sub(1))),
        (Some(0) | None, false) => None,
        (Some(place), false) => Some(place - 1),
    };
    let text = palette.recalled.and_then(|place| state.history.iter().rev().nth(place)).cloned();
    palette.line.clear();
    if let Some(text) = text {
        palette.line.insert(&text);
    }
    palette.selected = 0;
    rematch(state);
}

fn enter(state: &mut State, out: &mut Vec<Action>) {
    let Some(Dialog::Palette(palette)) = &state.dialog else { return };
    let typed = palette.line.text().trim().to_owned();
    let Some(candidate) = palette.matches.get(palette.selected).cloned() else {
        return match run_line(state, &typed, out) {
            Ok(()) => ran(state, &typed, out),
            Err(why) => complain(state, why),
        };
    };
    if let Some(why) = candidate.refused {
        return complain(state, why);
    }
    match candidate.act {
        Act::Fill(text) => {
            // What was typed may be whole already.
            let is_whole = typed.split_whitespace().count() > 1 || text.trim() == typed;
            if is_whole && run_line(state, &typed, out).is_ok() {
                return ran(state, &typed, out);
            }
            let why = run_line_error(&typed, &text);
            if let Some(Dialog::Palette(palette)) = &mut state.dialog {
                palette.line.clear();
                palette.line.insert(&text);
                palette.selected = 0;
            }
            rematch(state);
            if let (Some(why), Some(Dialog::Palette(palette))) = (why, &mut state.dialog) {
                palette.error = Some(why);
            }
        }
        Act::Run(text) => match run_line(state, &text, out) {
            Ok(()) => ran(state, &text, out),
            Err(why) => complain(state, why),
        },
        Act::Model(name) => {
            ran(state, &format!("open {name}"), out);
            super::models::open(state, name, None, out);
        }
        Act::Row(screen, key) => {
            ran(state, &candidate.text, out);
            go(state, screen, out);
            if screen == Screen::Users {
                state.users.list.select(&key);
            }
        }
        Act::Command(what, context) => {
            ran(state, &candidate.text, out);
            let screen = screen_of(context);
            if let Some(screen) = screen.filter(|screen| *screen != state.screen) {
                // Not on something that isn't seen: the screen comes first, the command is for its selection then.
                go(state, screen, out);
                let text = format!("{} is open now: select what it is for", screen.title());
                return say(state, Level::Info, text, out);
            }
            command(state, what, None, out);
        }
    }
}

fn run_line_error(typed: &str, text: &str) -> Option<String> {
    let verb = VERBS.iter().find(|verb| verb.word == text.trim())?;
    (typed == verb.word).then(|| format!("{} {}: {}", verb.word, verb.words, verb.help))
}

fn complain(state: &mut State, why: String) {
    if let Some(Dialog::Palette(palette)) = &mut state.dialog {
        palette.error = Some(why);
    }
}

/// The line was run: the palette goes, the line is remembered.
fn ran(state: &mut State, text: &str, out: &mut Vec<Action>) {
    if matches!(state.dialog, Some(Dialog::Palette(_))) {
        close(state, out);
    }
    if state.history.back().map(String::as_str) != Some(text) && !text.is_empty() {
        if state.history.len() == HISTORY_MAX {
            state.history.pop_front();
        }
        state.history.push_back(text.to_owned());
    }
}

// ---- candidates -----------------------------------------------------------------------------------------------------

/// Candidates for what is typed now.
fn rematch(state: &mut State) {
    let Some(Dialog::Palette(palette)) = &state.dialog else { return };
    let typed = palette.line.text().to_owned();
    let found = palette.found.clone();
    let (candidates, pattern) = match typed.split_once(' ') {
        Some((first, rest)) => match VERBS.iter().find(|verb| verb.word == first) {
            Some(verb) => (arguments(state, verb, rest, &found), String::new()),
            None => (all(state), typed.clone()),
        },
        None => (all(state), typed.clone()),
    };
    let of = candidates.len();
    let mut matches = best(candidates, &pattern);
    if let Some(place) = place(state, typed.trim()) {
        matches.insert(0, place);
    }
    if let Some(Dialog::Palette(palette)) = &mut state.dialog {
        palette.of = of;
        palette.matches = matches;
        palette.selected = palette.selected.min(palette.matches.len().saturating_sub(1));
    }
}

/// The best matches, the best first; all in their order where nothing is typed.
fn best(candidates: Vec<Candidate>, pattern: &str) -> Vec<Candidate> {
    if pattern.trim().is_empty() {
        return candidates.into_iter().take(MATCHES_MAX).collect();
    }
    let mut matcher = Matcher::new(Config::DEFAULT.match_paths());
    let pattern = Pattern::new(pattern, CaseMatching::Smart, Normalization::Smart, AtomKind::Fuzzy);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, usize, Candidate)> = candidates
        .into_iter()
        .enumerate()
        .filter_map(|(place, candidate)| {
            let score = pattern.score(Utf32Str::new(&candidate.text, &mut buffer), &mut matcher)?;
            Some((score, place, candidate))
        })
        .collect();
    scored.sort_by(|one, other| {
        let allowed = one.2.refused.is_some().cmp(&other.2.refused.is_some());
        allowed.then(other.0.cmp(&one.0)).then(one.1.cmp(&other.1))
    });
    scored.into_iter().take(MATCHES_MAX).map(|(_, _, candidate)| candidate).collect()
}

fn screen_of(context: Context) -> Option<Screen> {
    match context {
        Context::Models | Context::Model | Context::Compared => Some(Screen::Models),
        Context::Audit => Some(Screen::Audit),
        Context::Queue => Some(Screen::Queue),
        Context::Quarantine => Some(Screen::Quarantine),
        Context::Users => Some(Screen::Users),
        Context::Health => Some(Screen::Health),
        Context::Everywhere | Context::Lists => None,
    }
}

/// Every command, every verb, every name that is loaded.
fn all(state: &State) -> Vec<Candidate> {
    let here = state.context();
    let mut found = Vec::new();
    // What is particular here comes first, moving about last.
    let mut table: Vec<_> = TABLE.iter().collect();
    table.sort_by_key(|binding| match binding.context {
        context if context == here => 0,
        Context::Everywhere => 2,
        Context::Lists => 3,
        _ => 1,
    });
    for binding in table {
        let elsewhere = match screen_of(binding.context) {
            None => None,
            Some(_) if binding.context == here => None,
            Some(screen) if screen != state.screen => Some(screen),
            // Of this screen, but of another depth of it.
            Some(_) => continue,
        };
        let prefix = elsewhere.map(|screen| format!("{} ", screen.title().to_lowercase())).unwrap_or_default();
        let refused = match elsewhere {
            None => access(state, binding),
            Some(_) => may(state, binding.permission, binding.command.changes()),
        };
        found.push(Candidate {
            text: format!("{prefix}{}", binding.command.words()),
            hint: format!("{:<4} {}", state.settings.keys.of(binding).first().unwrap_or(&""), binding.help),
            act: Act::Command(binding.command, binding.context),
            refused: refused.refusal(),
        });
    }
    for verb in VERBS {
        found.push(Candidate {
            text: format!("{} {}", verb.word, verb.words).trim_end().to_owned(),
            hint: verb.help.to_owned(),
            act: if verb.words.is_empty() {
                Act::Run(verb.word.to_owned())
            } else {
                Act::Fill(format!("{} ", verb.word))
            },
            refused: may(state, verb.permission, verb.changes).refusal(),
        });
    }
    for row in state.models.list.rows() {
        found.push(Candidate {
            text: row.name.to_string(),
            hint: "open".to_owned(),
            act: Act::Model(row.name.to_string()),
            refused: None,
        });
    }
    for user in state.users.list.rows() {
        found.push(Candidate {
            text: format!("user {}", user.username),
            hint: user.role.to_string(),
            act: Act::Row(Screen::Users, user.id.clone()),
            refused: None,
        });
    }
    found
}

fn run(text: String, hint: &str, refused: Option<&String>) -> Candidate {
    Candidate { act: Act::Run(text.clone()), text, hint: hint.to_owned(), refused: refused.cloned() }
}

fn fill(text: String, hint: &str, refused: Option<&String>) -> Candidate {
    Candidate { act: Act::Fill(format!("{text} ")), text, hint: hint.to_owned(), refused: refused.cloned() }
}

/// What may follow a verb, from memory.
fn arguments(state: &State, verb: &'static Verb, rest: &str, asked: &[String]) -> Vec<Candidate> {
    let refused = may(state, verb.permission, verb.changes).refusal();
    let refused = refused.as_ref();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let is_open = rest.is_empty() || rest.ends_with(' ');
    // The word being typed, and those before it.
    let (before, part) = match (words.split_last(), is_open) {
        (Some((last, before)), false) => (before.to_vec(), *last),
        _ => (words.clone(), ""),
    };
    let lead = if before.is_empty() { String::new() } else { format!("{} ", before.join(" ")) };
    let head = format!("{} {lead}", verb.word);
    let choices = |choices: Vec<String>, last: bool, hint: &str| -> Vec<Candidate> {
        let all = choices
            .into_iter()
            .map(|choice| {
                let text = format!("{head}{choice}");
                if last { run(text, hint, refused) } else { fill(text, hint, refused) }
            })
            .collect();
        best_by_last(all, part)
    };
    match (verb.word, before.len()) {
        ("alias", 0) | ("open", 0) => choices(names(state, asked), verb.word == "open", "model"),
        ("alias", 1) => choices(versions(state, before[0]), false, "version"),
        ("alias", 2) => {
            let id = super::models::id_of(state, before[0]).map(|(id, _)| id).unwrap_or_default();
            choices(super::form::alias_names(state, &id), true, verb.help)
        }
        ("set", 0) => choices(SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect(), false, "setting"),
        ("set", 1) => {
            let values = SETTINGS.iter().find(|(name, _)| *name == before[0]).map(|(_, values)| *values);
            choices(values.unwrap_or_default().iter().map(|value| (*value).to_owned()).collect(), true, "value")
        }
        ("export", 0) if state.screen == Screen::Audit => {
            choices(vec!["proofs".into(), "csv".into(), "jsonl".into()], false, "format")
        }
        ("help", 0) => choices(vec!["verification".into()], true, "what verified means"),
        ("mouse", 0) => choices(vec!["on".into(), "off".into()], true, "the mouse"),
        ("export", 0) => choices(vec!["csv".into(), "jsonl".into()], false, "format"),
        ("export", 1) => choices(vec!["screen".into(), "all".into(), "marked".into()], false, "what"),
        ("download", 0) => match &state.models.open {
            Some(open) => {
                let files = open.versions.selected().map(|version| version.artifacts.as_slice()).unwrap_or_default();
                choices(files.iter().map(|file| file.path.to_string()).collect(), true, "file")
            }
            None => Vec::new(),
        },
        ("models", _) => {
            let fields = crate::filter::MODEL_FIELDS.iter().map(|field| format!("{field}:")).collect();
            let mut offered = vec![run(format!("models {}", rest.trim()).trim_end().to_owned(), "go there", refused)];
            if !is_open || rest.is_empty() {
                offered.extend(choices(fields, false, "field"));
            }
            offered
        }
        ("goto", 0) => {
            let typed = (!part.is_empty()).then(|| run(format!("goto {part}"), verb.help, refused));
            let offered = places(state).into_iter().filter(|(place, _)| place.starts_with(part) && place != part);
            typed.into_iter().chain(offered.map(|(place, hint)| run(format!("goto {place}"), hint, refused))).collect()
        }
        ("upload", 0) => {
            let offered = files(state, part, refused);
            if offered.is_empty() { vec![run(format!("upload {part}"), verb.help, refused)] } else { offered }
        }
        // Never run by what is offered: the line is, as it stands.
        ("upload", 1) => choices(names(state, asked), false, "model")
            .into_iter()
            .map(|name| Candidate { act: Act::Fill(name.text.clone()), ..name })
            .collect(),
        _ => vec![run(format!("{} {}", verb.word, rest.trim()).trim_end().to_owned(), verb.help, refused)],
    }
}

/// The word of a line that is a local file, as far as it is typed.
fn file_word(line: &str) -> Option<&str> {
    line.strip_prefix("upload ").filter(|word| !word.contains(char::is_whitespace))
}

/// Local files that begin so, as far as they were looked for.
fn files(state: &State, part: &str, refused: Option<&String>) -> Vec<Candidate> {
    let Some(Dialog::Palette(palette)) = &state.dialog else { return Vec::new() };
    let Some(local) = &palette.local else { return Vec::new() };
    let offer = |name: &String| {
        let is_folder = name.ends_with('/');
        let blanks = name.contains(char::is_whitespace);
        let blanks = blanks.then(|| "a name with blanks: `mreg upload` takes it".to_owned());
        Candidate {
            text: format!("upload {name}"),
            hint: if is_folder { "folder" } else { "file" }.to_owned(),
            act: Act::Fill(format!("upload {name}{}", if is_folder { "" } else { " " })),
            refused: refused.cloned().or(blanks),
        }
    };
    local.names.iter().filter(|name| name.starts_with(part)).take(MATCHES_MAX).map(offer).collect()
}

/// Where a local file is typed, those there are are looked for.
pub(super) fn follow_up(state: &mut State, out: &mut Vec<Action>) {
    let Some(Dialog::Palette(palette)) = &mut state.dialog else { return };
    let Some(typed) = file_word(palette.line.text()) else { return };
    if palette.local.as_ref().is_none_or(|local| local.typed != typed) {
        let typed = typed.to_owned();
        out.push(Action::ListNames(typed.clone()));
        let names = palette.local.take().map(|local| local.names).unwrap_or_default();
        palette.local = Some(Local { typed, names });
    }
}

/// Takes local files, if they are those that are looked for now.
pub(super) fn listed(state: &mut State, typed: &str, found: Vec<String>) {
    let Some(Dialog::Palette(palette)) = &mut state.dialog else { return };
    let Some(local) = palette.local.as_mut().filter(|local| local.typed == typed) else { return };
    local.names = found;
    rematch(state);
}

/// Those whose last word fits what is typed of it.
fn best_by_last(candidates: Vec<Candidate>, part: &str) -> Vec<Candidate> {
    if part.is_empty() {
        return candidates.into_iter().take(MATCHES_MAX).collect();
    }
    best(candidates, part)
}

fn names(state: &State, asked: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if let Some(open) = &state.models.open
        && let Some(info) = &open.info
    {
        names.push(info.model.name.to_string());
    }
    if let Some(row) = state.models.list.selected() {
        names.push(row.name.to_string());
    }
    names.extend(state.models.list.rows().map(|row| row.name.to_string()));
    names.extend(asked.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn versions(state: &State, name: &str) -> Vec<String> {
    if let Some(open) = &state.models.open
        && open.info.as_ref().is_some_and(|info| info.model.name.as_str() == name)
    {
        return open.versions.rows().take(VERSIONS_OFFERED).map(|version| format!("v{}", version.version)).collect();
    }
    let row = state.models.list.rows().find(|row| row.name.as_str() == name);
    let latest = row.and_then(|row| row.latest_version).map_or(0, Version::number);
    (1..=latest).rev().take(VERSIONS_OFFERED).map(|version| format!("v{version}")).collect()
}

/// Places of the log that `goto` is offered, from memory: entries, and times of UTC, as they are read.
fn places(state: &State) -> Vec<(String, &'static str)> {
    let list = &state.audit.list;
    let index = |line: &crate::state::audit::Line| line.index.to_string();
    let mut places: Vec<(String, &'static str)> = Vec::new();
    places.extend(list.selected().map(|line| (index(line), "the selected entry")));
    places.extend(list.rows().last().map(|line| (index(line), "the last that was read")));
    places.push(("0".to_owned(), "the first entry"));
    let now = state.now.wall_seconds;
    for (ago, hint) in [(600, "10 minutes ago, UTC"), (3_600, "an hour ago, UTC"), (86_400, "a day ago, UTC")] {
        let full = crate::time::rfc3339(now.saturating_sub(ago));
        places.extend(full.get(..19).map(|time| (format!("{time}Z"), hint)));
    }
    places.push((crate::time::date(now), "today, UTC"));
    let mut seen = std::collections::BTreeSet::new();
    places.retain(|(place, _)| seen.insert(place.clone()));
    places
}

/// An entry of the log, where an index or a time was typed.
fn place(state: &State, typed: &str) -> Option<Candidate> {
    let is_index = typed.parse::<u64>().is_ok();
    let is_time = || typed.contains([':', '-']) && super::audit::full_time(state, typed).is_ok();
    let hint = if is_index { "the entry of this index" } else { "the first entry of this time, UTC" };
    let refused = may(state, Some(common::role::Permission::AuditRead), false).refusal();
    (is_index || is_time()).then(|| run(format!("goto {typed}"), hint, refused.as_ref()))
}

/// Typing has rested: names that are not loaded are asked of the daemon.
pub(super) fn rested(state: &mut State, out: &mut Vec<Action>) {
    let Some(Dialog::Palette(palette)) = &state.dialog else { return };
    let mut words = palette.line.text().split(' ');
    let is_name = match words.next() {
        Some("alias" | "open") => true,
        // Its first word is a file.
        Some("upload") => words.next().is_some(),
        _ => false,
    };
    let (Some(part), None) = (words.next(), words.next()) else { return };
    if !is_name || part.len() < NAME_LETTERS || part.contains(':') {
        return;
    }
    let query = common::client::ModelQuery {
        q: part.to_owned(),
        sort: "name".to_owned(),
        limit: Some(NAMES_ASKED),
        ..common::client::ModelQuery::default()
    };
    let before = palette.waits;
    cancel(state, before, out);
    let id = ask(state, Call::Models(Box::new(query)), out);
    if let Some(Dialog::Palette(palette)) = &mut state.dialog {
        palette.waits = Some(id);
    }
}

/// Takes names; false if the palette doesn't wait for them.
pub(super) fn named(state: &mut State, id: RequestId, names: Vec<String>) -> bool {
    let Some(Dialog::Palette(palette)) = &mut state.dialog else { return false };
    if palette.waits != Some(id) {
        return false;
    }
    palette.waits = None;
    palette.found = names;
    rematch(state);
    true
}

// ---- lines ----------------------------------------------------------------------------------------------------------

/// Runs a line as typed.
///
/// # Errors
/// A sentence on what is wrong with it; nothing was done then.
pub(super) fn run_line(state: &mut State, line: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest.trim()));
    let verb = VERBS.iter().find(|verb| verb.word == word);
    let Some(verb) = verb else {
        let binding = TABLE.iter().find(|binding| {
            binding.command.words() == line
                && screen_of(binding.context).is_none_or(|_| binding.context == state.context())
        });
        let Some(binding) = binding else { return Err(format!("{line:?} is no command; empty the line to see all")) };
        if let Some(why) = access(state, binding).refusal() {
            return Err(why);
        }
        close(state, out);
        command(state, binding.command, None, out);
        return Ok(());
    };
    if let Some(why) = may(state, verb.permission, verb.changes).refusal() {
        return Err(why);
    }
    let usage = || format!("{} {}", verb.word, verb.words);
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (verb.word, words.as_slice()) {
        ("models", _) => {
            let filter = crate::filter::settled(rest, state.now.wall_seconds, &super::shown_zone(state))?;
            model_query(&filter)?;
            close(state, out);
            super::models::leave(state, out);
            go(state, Screen::Models, out);
            super::models::set_filter(state, filter, out);
        }
        ("audit", ["acknowledge", ..]) => {
            if state.log.trust.alarm().is_none() {
                return Err("there is nothing to acknowledge".to_owned());
            }
            super::tail::acknowledge(state, rest.strip_prefix("acknowledge").unwrap_or_default().trim(), out)?;
            close(state, out);
        }
        ("check", _) => {
            let range = super::tail::range(rest)?;
            close(state, out);
            super::tail::check(state, range, out)?;
        }
        ("audit", ["trust"]) => {
            close(state, out);
            super::tail::command(state, crate::keymap::Command::TrustKey, out);
        }
        ("audit", _) => {
            let filter = crate::filter::settled(rest, state.now.wall_seconds, &super::shown_zone(state))?;
            crate::filter::audit_query(&filter)?;
            close(state, out);
            go(state, Screen::Audit, out);
            super::audit::set_filter(state, filter, out);
        }
        ("open", [name]) => {
            close(state, out);
            super::models::open(state, (*name).to_owned(), None, out);
        }
        ("goto", [place]) => {
            if let Ok(index) = place.parse::<u64>() {
                close(state, out);
                go(state, Screen::Audit, out);
                command(state, crate::keymap::Command::Last, Some(index), out);
            } else {
                let full =
                    super::audit::full_time(state, place).map_err(|why| format!("an index, or a time: {why}"))?;
                close(state, out);
                go(state, Screen::Audit, out);
                super::audit::go_to_time(state, &full, out)?;
            }
        }
        ("alias", [name, version, alias]) => {
            let number = version.strip_prefix('v').unwrap_or(version);
            let to: Version = number.parse().map_err(|_wrong| format!("{version} is no version, such as v3"))?;
            let alias: Alias = alias.parse().map_err(|why| format!("{why}"))?;
            // A name is its own reference: the daemon takes it as it takes an id.
            let (id, name) = match super::models::id_of(state, name) {
                Some(known) => known,
                None => {
                    let name: ModelName = name.parse().map_err(|why| format!("{why}"))?;
                    (name.to_string(), name.to_string())
                }
            };
            close(state, out);
            let change = Change::new(Object::Model { id, name }, Deed::Alias { alias, to: Some(to) });
            confirm::open(state, vec![change], out);
        }
        ("export", _) => {
            super::jobs::export(state, &words, out)?;
            close(state, out);
        }
        ("upload", [path, name]) => {
            super::jobs::upload(state, path, name, out)?;
            close(state, out);
        }
        ("download", [] | [_] | [_, _]) => {
            super::jobs::download(state, words.first().copied(), words.get(1).copied(), out)?;
            close(state, out);
        }
        ("help", []) => {
            close(state, out);
            command(state, crate::keymap::Command::Help, None, out);
        }
        ("help", ["verification"]) => {
            close(state, out);
            state.overlay_filter.clear();
            state.overlay = Some(Overlay::Help(crate::view::verification_line(state)));
        }
        ("change-password", []) => {
            close(state, out);
            super::login::open_password(state, out);
        }
        ("logout", []) => {
            if state.who.is_none() {
                return Err("nobody is logged in here".to_owned());
            }
            close(state, out);
            super::login::logout(state, out);
        }
        ("mouse", [value]) => {
            set(state, "mouse", value, out)?;
            close(state, out);
        }
        ("set", [name, value]) => {
            set(state, name, value, out)?;
            close(state, out);
        }
        _ => return Err(usage()),
    }
    Ok(())
}

pub(super) fn set(state: &mut State, name: &str, value: &str, out: &mut Vec<Action>) -> Result<(), String> {
    let known = SETTINGS.iter().find(|(known, _)| *known == name);
    let Some((_, values)) = known else { return Err(format!("{name} is no setting")) };
    if !values.contains(&value) {
        return Err(format!("{name} is one of {}", values.join(", ")));
    }
    let on = value == "on";
    match name {
        "ascii" => state.settings.ascii = on,
        "bell" => state.settings.bell = on,
        "title" => state.settings.title = on,
        "cursor" => state.settings.cursor_on_selection = value == "selection",
        "time" => {
            let found = Way::ALL.into_iter().find(|(name, _)| *name == value);
            state.settings.time = found.map_or(state.settings.time, |(_, way)| way);
        }
        "mouse" => {
            state.settings.mouse = on;
            out.push(Action::Mouse(on));
        }
        "highlight" => {
            let found = Highlight::ALL.into_iter().find(|(name, _)| *name == value);
            state.settings.highlight = found.map_or(state.settings.highlight, |(_, highlight)| highlight);
        }
        "theme" => {
            let found = Theme::ALL.into_iter().find(|(name, _)| *name == value);
            state.settings.theme = found.map_or(state.settings.theme, |(_, theme)| theme);
        }
        _ => return Err(format!("{name} is no setting")),
    }
    Ok(())
}
