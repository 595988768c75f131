//! Screen 6: the daemon's own account of itself: checks in a table, then numbers in words.

use common::api::Status;

use super::{as_of, loading};
use crate::clean::{clean, cut, width, wrap};
use crate::layout::{Areas, Class, class};
use crate::state::State;
use crate::state::health::{Check, Verdict};
use crate::time::{Now, bytes, counted, duration, grouped, seconds, time_of_day};
use crate::view::pen::{Line, MARKER, Pen, Text, Tone};

const NAME_COLUMNS: usize = 12;
const VERDICT_COLUMNS: usize = 5;
const LIMIT_COLUMNS: usize = 10;
const SINCE_COLUMNS: usize = 8;
/// The least columns for what was seen, with limit and time beside it.
const VALUE_COLUMNS_MIN: usize = 30;
/// Lines of the daemon's diagnostics that are shown.
const LINES_SHOWN: usize = 12;
/// Columns of the page where more are not needed.
const PAGE_COLUMNS_MAX: usize = 118;

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let health = &state.health;
    let left = match &health.status {
        Some(status) => {
            let build = &status.build;
            let verdict = verdict_words(&health.checks(state.times(), state.skew_seconds));
            // What was read last says nothing of a daemon that isn't there.
            match (state.offline, &health.failed) {
                (true, _) => format!("Health   NOT REACHED; it was {verdict}   {} {}", build.name, build.version),
                (false, Some(_)) => format!("Health   NOT READ; it was {verdict}   {} {}", build.name, build.version),
                (false, None) => {
                    let up = duration(status.uptime_seconds);
                    format!("Health   {verdict}   {} {}, up {up}", build.name, build.version)
                }
            }
        }
        None => "Health".to_owned(),
    };
    let right = match (&health.failed, health.as_of) {
        (Some(_), Some(at)) => {
            Some((format!("STALE since {}", as_of(state, at).0.trim_start_matches("as of ")), Tone::Bad))
        }
        (Some(_), None) => Some(("FAILED".to_owned(), Tone::Bad)),
        (None, Some(at)) if class(state.size) > Class::Normal => {
            Some((format!("every 5 s, {}", as_of(state, at).0), Tone::Plain))
        }
        (None, Some(at)) => Some(as_of(state, at)),
        (None, None) => Some((loading(state, health.pending), Tone::Warn)),
    };
    (left, right)
}

/// All checks in a word or two.
fn verdict_words(checks: &[Check]) -> String {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let words = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        more => format!("{more} {word}S"),
    };
    match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => "OK".to_owned(),
        (0, warnings) => format!("OK with {}", words(warnings, "WARNING")),
        (failures, 0) => words(failures, "FAILURE"),
        (failures, warnings) => format!("{}, {}", words(failures, "FAILURE"), words(warnings, "WARNING")),
    }
}

pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    page_of(state, areas).0
}

/// The line of each check on the page.
pub(super) fn check_lines(state: &State, areas: &Areas) -> Vec<usize> {
    page_of(state, areas).1
}

/// The marker before the selected check.
pub(super) fn mark(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    let health = &state.health;
    if health.detail.is_some() {
        return;
    }
    let place = health.place(&health.checks(state.times(), state.skew_seconds));
    let (lines, at) = page_of(state, areas);
    let scroll = health.scroll.min(lines.len().saturating_sub(areas.pane.height.into()));
    let row = at.get(place).and_then(|line| line.checked_sub(scroll)).and_then(|row| u16::try_from(row).ok());
    if let Some(row) = row.filter(|row| *row < areas.pane.height) {
        pen.put(areas.pane.x, areas.pane.y + row, 1, MARKER, Tone::Plain);
    }
}

/// The lines that are shown, and which of them is the first of each check.
fn page_of(state: &State, areas: &Areas) -> (Vec<Line>, Vec<usize>) {
    if state.health.detail.is_some() {
        return (detail(state, areas), Vec::new());
    }
    let mut at = Vec::new();
    let mut text = Text::new(areas.pane.width);
    if let Some(why) = &state.health.failed {
        text.words(0, &format!("could not be read: {why}"), Tone::Bad);
        text.blank();
    }
    if let Some(status) = &state.health.status {
        let room = usize::from(areas.pane.width).saturating_sub(2).min(PAGE_COLUMNS_MAX);
        at = table(state, room, areas.class, &mut text);
        requests(status, &mut text);
        diagnostics(state, room, &mut text);
        page(status, &mut text);
    } else if state.health.failed.is_none() {
        text.words(0, &loading(state, state.health.pending), Tone::Plain);
    }
    (text.lines(), at)
}

/// All there is on the selected check.
fn detail(state: &State, areas: &Areas) -> Vec<Line> {
    let health = &state.health;
    let mut text = Text::new(areas.pane.width);
    let checks = health.checks(state.times(), state.skew_seconds);
    let (Some(status), Some(check)) = (&health.status, checks.get(health.place(&checks))) else {
        text.words(0, "nothing is known yet", Tone::Plain);
        return text.lines();
    };
    let tone = tone_of(check.verdict);
    text.pieces(vec![(format!("{}  ", check.name), Tone::Bold), (check.verdict.as_str().to_owned(), tone)]);
    text.blank();
    text.words(0, check.meaning(), Tone::Plain);
    text.blank();
    text.fact("value", &check.value, Tone::Plain);
    text.fact("limit", if check.limit.is_empty() { "none" } else { &check.limit }, Tone::Plain);
    let since = health.since.get(check.name).and_then(|(_, since)| *since);
    let since = since.map(|at| state.times().time_of_day(at.wall_seconds));
    text.fact("since", &since.unwrap_or_else(|| "before this console looked".to_owned()), Tone::Plain);
    if let Some(screen) = check.subject() {
        text.fact("screen", &format!("{} (o)", screen.title()), Tone::Plain);
    }
    if check.name == "disk" {
        let least = bytes(status.storage.min_free_bytes);
        text.fact("refused", &format!("uploads, while less than {least} is free"), Tone::Plain);
    }
    if let (Some(witnesses), true) = (&status.witnesses, check.name == "witnesses") {
        text.head("WITNESSES");
        for witness in &witnesses.witnesses {
            let (said, tone) = match &witness.error {
                Some(error) => (error.as_str(), Tone::Warn),
                None => ("answers", Tone::Plain),
            };
            let size = witness.size.map_or("nothing yet".to_owned(), |size| format!("up to {}", grouped(size)));
            text.fact(&witness.name, &format!("{size}, {said}"), tone);
        }
    }
    text.lines()
}

fn tone_of(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Off => Tone::Dim,
        Verdict::Ok => Tone::Good,
        Verdict::Warn => Tone::Warn,
        Verdict::Fail => Tone::Bad,
    }
}

/// One line a check: what, how, what was seen, from where on it is worth a look, since when.
fn table(state: &State, room: usize, class: Class, text: &mut Text) -> Vec<usize> {
    let beside = LIMIT_COLUMNS + SINCE_COLUMNS + 4;
    let left = NAME_COLUMNS + VERDICT_COLUMNS + 2;
    let has_all = room >= left + VALUE_COLUMNS_MIN + beside;
    let value_columns = room.saturating_sub(left + if has_all { beside } else { 0 });
    let row = |name: &str, verdict: (&str, Tone), value: &str, limit: &str, since: &str| {
        let mut pieces = vec![
            (format!("{name:NAME_COLUMNS$} "), Tone::Plain),
            (format!("{:VERDICT_COLUMNS$} ", verdict.0), verdict.1),
        ];
        let value = cut(value, value_columns);
        if has_all {
            let pad = " ".repeat(value_columns.saturating_sub(width(&value)));
            pieces.push((format!("{value}{pad}  {limit:LIMIT_COLUMNS$}  {since}"), Tone::Plain));
        } else {
            pieces.push((value, Tone::Plain));
        }
        pieces
    };
    if class > Class::Narrow {
        let heads = row("CHECK", ("STATE", Tone::Plain), "VALUE", "LIMIT", "SINCE");
        text.pieces(heads.into_iter().map(|(piece, _)| (piece, Tone::Dim)).collect());
    }
    let mut at = Vec::new();
    for check in state.health.checks(state.times(), state.skew_seconds) {
        at.push(text.count());
        let tone = tone_of(check.verdict);
        let since = state.health.since.get(check.name).and_then(|(_, since)| *since);
        let since = since.map(|at| state.times().time_of_day(at.wall_seconds)).unwrap_or_default();
        let value = clean(&check.value);
        // What is wrong is never cut away: it goes on below.
        let mut values = match check.verdict {
            Verdict::Warn | Verdict::Fail => wrap(&value, value_columns),
            Verdict::Off | Verdict::Ok => vec![value],
        }
        .into_iter();
        let first = values.next().unwrap_or_default();
        text.pieces(row(check.name, (check.verdict.as_str(), tone), &first, &check.limit, &since));
        for more in values {
            text.pieces(vec![(" ".repeat(left), Tone::Plain), (more, Tone::Plain)]);
        }
    }
    at
}

/// How fast requests are answered now, in a minute, in five.
fn requests(status: &Status, text: &mut Text) {
    let (log, requests) = (&status.log, &status.requests);
    if requests.kinds.is_empty() {
        text.head("REQUESTS");
    } else {
        text.blank();
        let row = |kind: &str, now: &str, minute: &str, p50: &str, p99: &str, errors: &str| {
            format!("{kind:10} {now:>9}  {minute:>9}  {p50:>7}  {p99:>7}  {errors}")
        };
        text.pieces(vec![(row("REQUESTS", "now", "1 min", "p50", "p99", "errors in 5 min"), Tone::Bold)]);
        for kind in &requests.kinds {
            let tone = if kind.errors > 0 { Tone::Warn } else { Tone::Plain };
            let micros = |us: Option<u64>| us.map_or("-".to_owned(), within);
            let line = row(
                &clean(&kind.kind),
                &per_second(kind.now_per_1000_seconds),
                &per_second(kind.minute_per_1000_seconds),
                &micros(kind.p50_us),
                &micros(kind.p99_us),
                &grouped(kind.errors),
            );
            text.pieces(vec![(line, tone)]);
        }
        let clients = counted(requests.tails, "client");
        text.pieces(vec![(row("stream", "-", "-", "-", "-", &clients), Tone::Plain)]);
    }
    let rate = requests.per_1000_seconds;
    text.fact(
        "rate",
        &format!("{} in the last minute, {} since start", per_second(rate), grouped(requests.total)),
        Tone::Plain,
    );
    text.fact("uploads", &format!("{} under way", grouped(status.open_uploads)), Tone::Plain);
    text.fact(
        "commits",
        &format!("{} in {} batches since start", grouped(log.commits), grouped(log.batches)),
        Tone::Plain,
    );
}

/// What the daemon told of itself, the newest first.
fn diagnostics(state: &State, room: usize, text: &mut Text) {
    let health = &state.health;
    let is_told = health.status.as_ref().is_some_and(|status| !status.diagnostics.is_empty());
    if !is_told && health.still.is_none() {
        return;
    }
    let held = if health.still.is_some() { "   held still (f follows)" } else { "" };
    let filter = if health.filter.is_empty() { String::new() } else { format!("   filter: {}", health.filter) };
    text.head(&format!("LOG of the daemon{filter}{held}"));
    let mut shown = health.diagnostics().peekable();
    if shown.peek().is_none() {
        text.words(0, "no line matches", Tone::Dim);
    }
    for line in shown.take(LINES_SHOWN) {
        let at = seconds(&line.at).map_or_else(|| line.at.clone(), |at| state.times().time_of_day(at));
        let tone = match line.level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Warn,
            _ => Tone::Plain,
        };
        let said = format!("{:5} ", clean(&line.level));
        // Whole: what is looked for is often at its end.
        let left = width(&at) + 1 + width(&said);
        let mut lead = vec![(format!("{at} "), Tone::Dim), (said, tone)];
        for piece in wrap(&clean(&line.text), room.saturating_sub(left)) {
            lead.push((piece, Tone::Plain));
            text.pieces(std::mem::replace(&mut lead, vec![(" ".repeat(left), Tone::Plain)]));
        }
    }
}

fn page(status: &Status, text: &mut Text) {
    let (log, storage, store) = (&status.log, &status.storage, &status.store);
    text.head("DAEMON");
    text.fact("started", &status.started_at, Tone::Plain);
    text.fact("policy", &status.scan_policy, Tone::Plain);
    text.fact("rules", &status.build.ruleset, Tone::Plain);
    text.fact("blobs", &format!("{}, {}", grouped(store.blobs), bytes(store.blob_bytes)), Tone::Plain);
    text.fact("kept in", &format!("{} (records), {} (bytes)", store.backend, storage.backend), Tone::Plain);
    text.head("AUDIT LOG");
    text.fact("origin", &log.origin, Tone::Plain);
    text.fact("root", &log.root, Tone::Plain);
    text.fact("key", &log.vkey, Tone::Plain);
    text.fact("checkpoint", log.checkpoint.lines().nth(1).unwrap_or_default(), Tone::Plain);
}

/// `212.0/s`.
fn per_second(per_1000_seconds: u64) -> String {
    format!("{}.{}/s", per_1000_seconds / 1000, per_1000_seconds % 1000 / 100)
}

/// `1.5 ms`, `2 s`: microseconds in words.
fn within(us: u64) -> String {
    match us {
        ..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// The checks as plain text, for a message to somebody; none before the first answer.
pub(super) fn report(state: &State) -> Option<String> {
    let health = &state.health;
    let status = health.status.as_ref()?;
    let at = health.as_of.map(|at| time_of_day(at.wall_seconds)).unwrap_or_default();
    let checks = health.checks(Now::utc(state.now.wall_seconds), state.skew_seconds);
    let name = if state.settings.profile.is_empty() { &state.settings.address } else { &state.settings.profile };
    let build = &status.build;
    let mut lines = vec![format!(
        "{}: {}, {} {}, up {}, as of {at} UTC",
        clean(name),
        verdict_words(&checks),
        clean(&build.name),
        clean(&build.version),
        duration(status.uptime_seconds)
    )];
    if let Some(why) = &health.failed {
        lines.push(format!("STALE: {}", clean(why)));
    }
    lines.extend(checks.iter().map(|check| {
        format!("{:NAME_COLUMNS$} {:VERDICT_COLUMNS$} {}", check.name, check.verdict.as_str(), clean(&check.value))
    }));
    Some(lines.join("\n") + "\n")
}
