//! Screen 3: the drop folder, and what happened to the item that is selected.

use common::api::{IngestItem, IngestState, IntakeStatus};

use super::{as_of, loading, say_empty, why_empty};
use crate::clean::{clean, cut_behind, width};
use crate::layout::{Areas, Class};
use crate::state::State;
use crate::state::queue::{SORTS, in_other_states, percent, seconds_left, under_way};
use crate::time::{Now, age, bytes, bytes_exactly, counted, dated, duration, grouped, seconds};
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, stars, table, touched};
use crate::window::Row as _;

const COLUMNS: [Column; 6] = [
    fixed("FILE", 22, 0),
    fixed("STATE", 11, 1),
    flexible("PROGRESS", PROGRESS_COLUMNS, 2),
    number("SIZE", 8, 4),
    number("AGE", 10, 3),
    fixed("BY", 10, 5),
];

/// The least columns for how far something is or why not: size and who go before that is cut.
const PROGRESS_COLUMNS: u16 = 28;
/// The same on a wide screen.
const WIDE_PROGRESS_COLUMNS: u16 = 38;
/// Columns of an age, where the rest needs the room: a time of day fits.
const AGE_COLUMNS: u16 = 8;

/// Columns of the time and state of a step.
const HISTORY_COLUMNS: usize = 23;
/// Columns of a file's name on a screen that is wide, and on one that is narrow.
const WIDE_FILE_COLUMNS: u16 = 30;
const NARROW_FILE_COLUMNS: u16 = 15;
/// The least columns for progress on a narrow screen.
const NARROW_PROGRESS_COLUMNS: u16 = 10;

pub(super) fn columns(class: Class) -> [Column; 6] {
    let mut columns = COLUMNS;
    match class {
        Class::Wide => {
            columns[0].columns = WIDE_FILE_COLUMNS;
            columns[2].columns = WIDE_PROGRESS_COLUMNS;
            columns[4].columns = AGE_COLUMNS;
        }
        Class::Narrow => {
            columns[0].columns = NARROW_FILE_COLUMNS;
            columns[2].columns = NARROW_PROGRESS_COLUMNS;
        }
        Class::Normal => columns[4].columns = AGE_COLUMNS,
        Class::Tiny => {}
    }
    columns
}

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let queue = &state.queue;
    let mut left = format!("Queue{}", queue.marks.words());
    if !queue.filter.is_empty() {
        left += &format!("   filter: {}", queue.filter);
    }
    // How it comes by itself, needs no words.
    if queue.sort > 0 || queue.descending {
        left += &format!("   sort: {} {}", SORTS[queue.sort].1, if queue.descending { "v" } else { "^" });
    }
    if let Some(intake) = &queue.intake {
        left += &format!("   {}", intake_words(intake, state.times()));
    }
    let right = match (queue.is_failing, queue.list.as_of()) {
        (true, Some(at)) => (format!("STALE since {}", state.times().time_of_day(at.wall_seconds)), Tone::Bad),
        (true, None) => ("FAILED".to_owned(), Tone::Bad),
        (false, None) => (loading(state, queue.list.waits_for()), Tone::Warn),
        (false, Some(at)) if queue.is_still => (format!("HELD STILL (f)   {}", as_of(state, at).0), Tone::Warn),
        (false, Some(_)) if state.fresh.queue.any => ("CHANGED (C-r)".to_owned(), Tone::Warn),
        // Each reading is an entry of the log: then it is read by hand only.
        (false, Some(at)) if queue.is_audited => (format!("NOT LIVE: C-r reads   {}", as_of(state, at).0), Tone::Warn),
        (false, Some(at)) => as_of(state, at),
    };
    (left, Some(right))
}

/// The folder as a whole, in the order in which it matters.
fn intake_words(intake: &IntakeStatus, now: Now) -> String {
    let count = |state: IngestState| intake.states.get(&state.into()).copied().unwrap_or(0);
    let mut words = vec![match (&intake.problem, intake.paused) {
        (Some(why), _) => format!("intake STOPPED: {why}"),
        (None, true) => {
            let by = intake.paused_by.as_deref().unwrap_or("somebody");
            let at = intake.paused_at.as_deref().map(|at| format!(" {}", age(at, now))).unwrap_or_default();
            let why = intake.pause_reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("intake PAUSED by {by}{at}{why}")
        }
        (None, false) => "intake ON".to_owned(),
    }];
    words.push(format!("{} active", grouped(under_way(intake))));
    if count(IngestState::Failed) > 0 {
        words.push(format!("{} failed", grouped(count(IngestState::Failed))));
    }
    if let Some(oldest) = &intake.oldest_seen_at {
        words.push(format!("oldest {}", age(oldest, now)));
    }
    for (state, word) in [(IngestState::Quarantined, "quarantined"), (IngestState::Rejected, "rejected")] {
        if count(state) > 0 {
            words.push(format!("{} {word}", grouped(count(state))));
        }
    }
    words.extend(in_other_states(intake));
    words.push(format!("last hour {} done", grouped(intake.done_last_hour)));
    words.join("  ")
}

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let now = state.times();
    let columns = columns(areas.class);
    table(pen, areas, &columns, &state.queue.list, |item| cells(item, now, columns[0].columns));
    let marks = &state.queue.marks;
    stars(pen, areas, &state.queue.list, |row| marks.has(&row.key()));
    touched(pen, areas, &state.queue.list, Some(&state.fresh.queue), |row| marks.has(&row.key()));
    let nothing = if state.queue.intake.is_none() && state.queue.list.is_loaded() {
        "no drop folder is set: MREG_DROP_DIR names one"
    } else {
        "nothing lies in the drop folder, and nothing came through it in the last hour"
    };
    if let Some(words) = why_empty(state, &state.queue.list, !state.queue.filter.is_empty(), nothing) {
        say_empty(areas, pen, &words);
    }
}

fn cells(item: &IngestItem, now: Now, file_columns: u16) -> Vec<(String, Tone)> {
    let (word, tone) = state_words(item);
    vec![
        (short_path(&item.path, file_columns.into()), Tone::Plain),
        (word, tone),
        (progress(item, now), Tone::Plain),
        (bytes(item.size), Tone::Plain),
        (age(&item.seen_at, now), Tone::Plain),
        (item.by.clone().unwrap_or_else(|| "-".to_owned()), Tone::Plain),
    ]
}

/// A path too long for its column loses its folders first, and then its middle: the end tells files apart.
fn short_path(path: &str, columns: usize) -> String {
    let mut rest = path;
    while width(&clean(rest)) > columns
        && let Some((_, shorter)) = rest.split_once('/')
        && !shorter.is_empty()
    {
        rest = shorter;
    }
    // Behind the number there is the ending, which is long.
    cut_behind(&clean(rest), columns, columns / 3)
}

fn state_words(item: &IngestItem) -> (String, Tone) {
    let Some(state) = item.state.known() else { return (item.state.to_string(), Tone::Warn) };
    let tone = match state {
        IngestState::Seen | IngestState::Waiting => Tone::Dim,
        IngestState::Hashing | IngestState::Scanning | IngestState::Storing => Tone::Plain,
        IngestState::Done => Tone::Good,
        IngestState::Quarantined | IngestState::Rejected => Tone::Bad,
        IngestState::Failed => Tone::Warn,
    };
    let word = state.as_str();
    match state {
        IngestState::Failed => (format!("{word} {}/{}", item.attempts, item.attempts_max), tone),
        _ => (word.to_owned(), tone),
    }
}

/// How far it is, what it came to, or why not.
fn progress(item: &IngestItem, now: Now) -> String {
    let reason = item.reason.as_deref();
    let Some(state) = item.state.known() else { return reason.unwrap_or("-").to_owned() };
    match state {
        IngestState::Seen | IngestState::Waiting => reason.unwrap_or("-").to_owned(),
        IngestState::Hashing | IngestState::Scanning | IngestState::Storing => {
            let Some(percent) = percent(item) else { return reason.unwrap_or("-").to_owned() };
            let left = seconds_left(item).map(|left| format!("  {} left", duration(left)));
            let rate = item.bytes_per_second.map(|rate| format!("  {}/s", bytes(rate)));
            format!("{percent} %{}{}", left.unwrap_or_default(), rate.unwrap_or_default())
        }
        IngestState::Done => result(item).map_or("-".to_owned(), |name| format!("-> {name}")),
        IngestState::Quarantined => {
            let name = result(item).map(|name| format!("-> {name}"));
            let words: Vec<String> = name.into_iter().chain(reason.map(str::to_owned)).collect();
            words.join("  ")
        }
        IngestState::Rejected => reason.or(item.problem.as_deref()).unwrap_or("-").to_owned(),
        IngestState::Failed => {
            let next =
                item.next_try_at.as_deref().and_then(seconds).map(|at| format!("next {}  ", now.time_of_day(at)));
            format!("{}{}", next.unwrap_or_else(|| "r retries  ".to_owned()), reason.unwrap_or_default())
        }
    }
}

/// The version that it came to.
fn result(item: &IngestItem) -> Option<String> {
    Some(format!("{} v{}", item.name.as_deref()?, item.version?))
}

/// The selected item: what happened, where it lies, what it became or would become.
pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(item) = state.queue.list.selected() else { return Vec::new() };
    let mut text = Text::new(areas.pane.width);
    let now = state.times();
    let (word, tone) = state_words(item);
    text.pieces(vec![(format!("{}  ", item.path), Tone::Bold), (word, tone)]);
    if let Some(reason) = &item.reason {
        text.fact("reason", reason, Tone::Plain);
    }
    if let Some(problem) = &item.problem {
        text.fact("problem", problem, Tone::Bad);
    }
    if let Some(percent) = percent(item) {
        let rate = item.bytes_per_second.map(|rate| format!(", {}/s", bytes(rate))).unwrap_or_default();
        let left = seconds_left(item).map(|left| format!(", {} left", duration(left))).unwrap_or_default();
        let done = grouped(item.bytes_done.min(item.size));
        text.fact("read", &format!("{percent} %: {done} of {}{rate}{left}", counted(item.size, "octet")), Tone::Plain);
    }
    if item.state == IngestState::Failed {
        let next = item.next_try_at.as_deref().map_or("only by hand".to_owned(), |at| format!("next {at}"));
        text.fact("tries", &format!("{} of {}, {next}", item.attempts, item.attempts_max), Tone::Plain);
    }
    let files = if item.files == 1 { String::new() } else { format!(" in {}", counted(item.files, "file")) };
    text.fact("size", &format!("{}{files}", bytes_exactly(item.size)), Tone::Plain);
    text.fact("seen", &dated(&item.seen_at, now), Tone::Plain);
    let by = item.by.as_deref().unwrap_or("nobody yet");
    text.fact("by", &format!("{by}   uid {} of the machine", item.owner_uid), Tone::Plain);
    text.fact("lies in", &item.place, Tone::Plain);
    match (result(item), &item.name) {
        (Some(name), _) => text.fact("became", &name, Tone::Plain),
        (None, Some(name)) => text.fact("would be", &format!("the next version of {name}"), Tone::Plain),
        (None, None) => {}
    }
    if let Some(digest) = &item.digest {
        text.fact("digest", &digest.to_string(), Tone::Plain);
    }
    if let Some(index) = item.log_index {
        text.fact("entry", &format!("{index} of the audit log"), Tone::Plain);
    }
    text.fact("item", &item.id, Tone::Plain);
    text.head("HISTORY");
    // What is said of a step wraps under itself, where there is room for it beside its time and state.
    let beside = areas.class > Class::Narrow;
    if beside {
        text.labels(HISTORY_COLUMNS);
    }
    for step in &item.history {
        let at = seconds(&step.at).map_or_else(|| step.at.clone(), |at| now.time_of_day(at));
        let state = step.state.as_str();
        if beside {
            text.fact(&format!("{at}  {state}"), &step.text, Tone::Plain);
        } else {
            text.fact(&at, &format!("{state}  {}", step.text), Tone::Plain);
        }
    }
    text.lines()
}
