//! Screen 4: what is held, why, and what is known of it: the findings with their places, what stands beside it, what a
//! person decided. Evidence is the inspector's text; no octet of a file is shown.

use common::api::{Decision, Finding, QuarantineItem, Review, State as VersionState, VersionInfo};

use super::{freshness, of_total, say_empty, why_empty};
use crate::layout::{Areas, Class};
use crate::state::State;
use crate::state::quarantine::name_of;
use crate::time::{age, bytes, grouped};
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, table, touched};

const COLUMNS: [Column; 5] =
    [flexible("VERSION", 22, 0), fixed("WHY", 20, 1), fixed("VERDICT", 11, 3), number("AGE", 8, 2), fixed("BY", 8, 4)];

/// The least columns for a name and for the reason on a narrow screen.
const NARROW_COLUMNS: (u16, u16) = (14, 15);

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let screen = &state.quarantine;
    let list = &screen.list;
    let place = if list.is_empty() { "nothing".to_owned() } else { of_total(list) };
    let what = if screen.blocked { "blocked for good" } else { "held" };
    let oldest = list
        .rows()
        .next()
        .filter(|_| list.shows_first())
        .map(|item| format!("   oldest {}", age(&item.held_at, state.now.wall_seconds)))
        .unwrap_or_default();
    let left = format!("Quarantine   {place} {what}{oldest}");
    // The count that is read once a minute tells of changes to what is shown.
    let counted = state.health.status.as_ref().map(|status| &status.quarantine);
    let counted = counted.map(|held| if screen.blocked { held.blocked } else { held.waiting });
    let changed = match (list.total(), counted, list.as_of(), state.health.as_of) {
        (Some(shown), Some(counted), Some(read), Some(told)) => shown != counted && told.ms > read.ms,
        _ => false,
    };
    let right = if changed && list.stale().is_none() && !list.is_loading() {
        Some(("CHANGED (C-r)".to_owned(), Tone::Warn))
    } else {
        freshness(state, list)
    };
    (left, right)
}

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let now = state.now.wall_seconds;
    let mut columns = COLUMNS;
    if areas.class == Class::Narrow {
        (columns[0].columns, columns[1].columns) = NARROW_COLUMNS;
    }
    table(pen, areas, &columns, &state.quarantine.list, |item| cells(item, now));
    touched(pen, areas, &state.quarantine.list, Some(&state.fresh.held), |_| false);
    let nothing = if state.quarantine.blocked {
        "nothing was blocked for good; b shows what waits"
    } else {
        "nothing is held; b shows what was blocked for good"
    };
    if let Some(words) = why_empty(&state.quarantine.list, false, nothing) {
        say_empty(areas, pen, &words);
    }
}

fn cells(item: &QuarantineItem, now: i64) -> Vec<(String, Tone)> {
    let why = match (item.cleared, item.findings.first(), &item.state_reason) {
        (true, _, _) => "nothing found now".to_owned(),
        (false, Some(finding), _) => finding.rule.clone(),
        (false, None, Some(reason)) => reason.clone(),
        (false, None, None) => "-".to_owned(),
    };
    let verdict = item.verdict.as_deref().unwrap_or("-");
    vec![
        (name_of(item), Tone::Plain),
        (why, Tone::Plain),
        (verdict.to_owned(), tone_of(verdict)),
        (age(&item.held_at, now), Tone::Plain),
        (item.created_by.clone(), Tone::Plain),
    ]
}

/// How grave a level of a finding or a verdict is.
fn tone_of(level: &str) -> Tone {
    match level {
        "malicious" => Tone::Bad,
        "suspicious" | "unscannable" => Tone::Warn,
        "clean" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// The pane beside the list, or the whole page.
pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(item) = state.quarantine.list.selected() else { return Vec::new() };
    let reading = state.quarantine.reading.as_ref().filter(|reading| reading.key == name_of(item));
    let info = reading.and_then(|reading| reading.info.as_deref());
    let now = state.now.wall_seconds;
    let mut text = Text::new(areas.pane.width);
    text.pieces(vec![(name_of(item), Tone::Bold), (format!("  {}", bytes(item.size)), Tone::Plain)]);
    if let Some(verdict) = &item.verdict {
        text.fact("verdict", verdict, tone_of(verdict));
    }
    if let Some(reason) = &item.state_reason {
        text.fact("held for", reason, Tone::Plain);
    }
    if item.cleared {
        text.fact("", "inspection finds nothing any more: it may be released", Tone::Good);
    }
    text.fact("held", &format!("{}  {}", item.held_at, age(&item.held_at, now)), Tone::Plain);
    let source = info.map(|info| source_words(&info.source)).unwrap_or_default();
    text.fact("by", &format!("{} {}{source}", item.created_by, age(&item.created_at, now)), Tone::Plain);
    text.fact("format", &item.format, Tone::Plain);
    if let Some(info) = info {
        inspection(info, &mut text, now);
    }
    if let Some(why) = reading.and_then(|reading| reading.failed.as_ref()) {
        text.fact("not read", why, Tone::Bad);
    }
    // The list has the gravest five.
    let found = info.map_or(&item.findings, |info| &info.findings);
    findings(found, item.findings_total, &mut text);
    neighbours(item, reading.and_then(|reading| reading.neighbours.as_deref()), &mut text);
    if let Some(words) = same_sender(state, item) {
        text.words(0, &words, Tone::Plain);
    }
    text.head("REVIEW");
    match item.review.as_ref().or(info.and_then(|info| info.review.as_ref())) {
        Some(made) => review(made, &mut text),
        None => text.words(0, "nobody has decided yet", Tone::Plain),
    }
    if let Some(info) = info {
        files(info, &mut text);
    }
    text.lines()
}

fn source_words(source: &str) -> String {
    match source {
        "drop" => ", through the drop folder".to_owned(),
        "api" => ", uploaded".to_owned(),
        other => format!(", by {other}"),
    }
}

fn inspection(info: &VersionInfo, text: &mut Text, now: i64) {
    if let Some(inspection) = &info.inspection {
        let stale = if inspection.stale { ", by other rules than now: r inspects anew" } else { "" };
        let (at, policy) = (age(&inspection.at, now), &inspection.policy);
        text.fact("inspected", &format!("{at}, policy {policy}{stale}"), Tone::Plain);
    }
}

fn findings(found: &[Finding], total: u64, text: &mut Text) {
    let total = total.max(u64::try_from(found.len()).unwrap_or(u64::MAX));
    text.head(&format!("FINDINGS {}", grouped(total)));
    // What a rule means is said once.
    let mut told = std::collections::BTreeSet::new();
    for finding in found {
        let level = format!("{:11}", finding.level);
        text.pieces(vec![(level, tone_of(&finding.level)), (finding.rule.clone(), Tone::Bold)]);
        text.words(2, &place_words(&finding.place), Tone::Dim);
        text.words(2, &finding.detail, Tone::Plain);
        if let Some(meaning) = finding.meaning.as_ref().filter(|_| told.insert(finding.rule.as_str())) {
            text.words(4, meaning, Tone::Dim);
        }
    }
    let shown = u64::try_from(found.len()).unwrap_or(u64::MAX);
    if shown < total {
        text.words(0, &format!("... {} more", grouped(total - shown)), Tone::Plain);
    }
}

/// `opt.pkl@452` as people look for it: `opt.pkl  offset 0x1c4`.
fn place_words(place: &str) -> String {
    match place.rsplit_once('@').and_then(|(path, offset)| Some((path, offset.parse::<u64>().ok()?))) {
        Some((path, offset)) => format!("{path}  offset {offset:#x}"),
        None => place.to_owned(),
    }
}

fn neighbours(item: &QuarantineItem, newest: Option<&[VersionInfo]>, text: &mut Text) {
    text.head("NEIGHBOURS");
    let Some(newest) = newest else { return text.words(0, "loading", Tone::Plain) };
    let mut alone = true;
    for version in newest.iter().filter(|version| version.version != item.version) {
        alone = false;
        let verdict = version.inspection.as_ref().map_or("not inspected", |inspection| inspection.verdict.as_str());
        let formats: std::collections::BTreeSet<&str> =
            version.artifacts.iter().map(|artifact| artifact.format.as_str()).collect();
        let formats: Vec<&str> = formats.into_iter().collect();
        let held = if version.state == VersionState::Available { "" } else { version.state.as_str() };
        text.pieces(vec![
            (format!("v{:<5}", version.version.to_string()), Tone::Plain),
            (format!("{verdict}  "), tone_of(verdict)),
            (format!("{}  {held}", formats.join(", ")), Tone::Plain),
        ]);
    }
    if alone {
        text.words(0, "no other version", Tone::Plain);
    }
}

/// How much else of the same sender is held; none while the list is not known whole.
fn same_sender(state: &State, item: &QuarantineItem) -> Option<String> {
    let list = &state.quarantine.list;
    if !(list.shows_first() && list.shows_last()) {
        return None;
    }
    let same = list.rows().filter(|row| row.created_by == item.created_by).count().saturating_sub(1);
    Some(match same {
        0 => format!("nothing else by {} is held", item.created_by),
        more => format!("{more} more by {} held", item.created_by),
    })
}

fn review(made: &Review, text: &mut Text) {
    let (word, tone) = match made.decision {
        Decision::Released => ("released", Tone::Good),
        Decision::Blocked => ("BLOCKED for good", Tone::Bad),
    };
    text.pieces(vec![(format!("{word} by {} ", made.by), tone), (made.at.clone(), Tone::Plain)]);
    text.words(2, &made.reason, Tone::Plain);
    let over: Vec<String> = made.over.iter().map(|(rule, level)| format!("{rule} ({level})")).collect();
    if !over.is_empty() {
        text.words(2, &format!("over {}", over.join(", ")), Tone::Dim);
    }
    text.words(2, &format!("entry {} of the audit log", grouped(made.log_index)), Tone::Dim);
}

fn files(info: &VersionInfo, text: &mut Text) {
    text.head(&format!("FILES {}", info.artifacts.len()));
    for artifact in &info.artifacts {
        text.words(0, artifact.path.as_str(), Tone::Plain);
        let verdict = artifact.verdict.as_deref().unwrap_or("not inspected");
        text.words(2, &format!("{}  {}  {verdict}", artifact.format, bytes(artifact.size)), Tone::Dim);
        text.words(2, &artifact.digest.to_string(), Tone::Dim);
    }
}

#[cfg(test)]
mod tests {
    use super::place_words;

    /// Offsets are shown as people look for them; what only looks like one is left as it is.
    #[test]
    fn places() {
        for (place, shown) in [
            ("m.pt/archive/data.pkl@452", "m.pt/archive/data.pkl  offset 0x1c4"),
            ("a@b", "a@b"),
            ("odd@name@7", "odd@name  offset 0x7"),
            ("plain", "plain"),
        ] {
            assert_eq!(place_words(place), shown);
        }
    }
}
