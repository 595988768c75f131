//! Screen 4: what is held, why, and what is known of it: the findings with their places, what stands beside it, what a
//! people noted and decided. Evidence is the inspector's text; octets of a file are shown as a hex dump and nothing else.

use common::api::{
    Decision, Finding, QuarantineItem, Review, ReviewInfo, SenderInfo, State as VersionState, VersionInfo,
};

use super::{freshness, of_total, say_empty, why_empty};
use crate::layout::{Areas, Class};
use crate::state::State;
use crate::state::quarantine::{Dump, Reading, name_of};
use crate::time::{Now, age, bytes, dated, grouped};
use crate::view::pen::{Line, MARKER, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, stars, table, touched};
use crate::window::Row as _;

const COLUMNS: [Column; 5] =
    [flexible("VERSION", 22, 0), fixed("WHY", 20, 1), fixed("VERDICT", 11, 3), number("AGE", 8, 2), fixed("BY", 8, 4)];

/// The least columns for a name and for the reason on a narrow screen.
const NARROW_COLUMNS: (u16, u16) = (14, 15);

pub(super) fn status(state: &State) -> (String, Option<(String, Tone)>) {
    let screen = &state.quarantine;
    let list = &screen.list;
    let what = if screen.blocked { "blocked for good" } else { "held" };
    let shown = match (list.is_empty(), list.is_loaded(), screen.filter.is_empty()) {
        // What was never read is not known to be nothing.
        (true, false, _) => String::new(),
        (true, true, true) => format!("   nothing {what}"),
        _ => format!("   {} {what}", of_total(list)),
    };
    let oldest = list
        .rows()
        .next()
        .filter(|_| list.shows_first())
        .map(|item| format!("   oldest {}", age(&item.held_at, state.times())))
        .unwrap_or_default();
    let filter = if screen.filter.is_empty() { String::new() } else { format!("   filter: {}", screen.filter) };
    let left = format!("Quarantine{shown}{}{filter}{oldest}", screen.marks.words());
    // The count that is read once a minute tells of changes to what is shown.
    let counted = state.health.status.as_ref().map(|status| &status.quarantine);
    let counted = counted.map(|held| if screen.blocked { held.blocked } else { held.waiting });
    let counted = counted.filter(|_| screen.filter.is_empty());
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
    let now = state.times();
    let mut columns = COLUMNS;
    if areas.class == Class::Narrow {
        (columns[0].columns, columns[1].columns) = NARROW_COLUMNS;
    }
    table(pen, areas, &columns, &state.quarantine.list, |item| cells(item, now));
    let marks = &state.quarantine.marks;
    stars(pen, areas, &state.quarantine.list, |row| marks.has(&row.key()));
    touched(pen, areas, &state.quarantine.list, Some(&state.fresh.held), |row| marks.has(&row.key()));
    let nothing = if state.quarantine.blocked {
        "nothing was blocked for good; b shows what waits"
    } else {
        "nothing is held; b shows what was blocked for good"
    };
    if let Some(words) = why_empty(state, &state.quarantine.list, !state.quarantine.filter.is_empty(), nothing) {
        say_empty(areas, pen, &words);
    }
}

fn cells(item: &QuarantineItem, now: Now) -> Vec<(String, Tone)> {
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
    page(state, areas).0
}

/// Where the selected finding begins among those lines.
pub(super) fn finding_line(state: &State, areas: &Areas) -> Option<usize> {
    page(state, areas).1
}

fn page(state: &State, areas: &Areas) -> (Vec<Line>, Option<usize>) {
    let Some(item) = state.quarantine.list.selected() else { return (Vec::new(), None) };
    let reading = state.quarantine.reading.as_ref().filter(|reading| reading.key == name_of(item));
    let info = reading.and_then(|reading| reading.info.as_deref());
    let now = state.times();
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
    text.fact("held", &dated(&item.held_at, now), Tone::Plain);
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
    let at = findings(found, item.findings_total, reading, areas.pane.width, &mut text);
    neighbours(item, reading.and_then(|reading| reading.neighbours.as_deref()), &mut text);
    let asked = reading.and_then(|reading| reading.review.as_deref());
    if let Some(asked) = asked {
        text.words(0, &sender_words(&asked.sender), Tone::Plain);
    }
    review_head(item, asked, &mut text);
    match item.review.as_ref().or(info.and_then(|info| info.review.as_ref())) {
        Some(made) => review(made, &mut text),
        None => text.words(0, "nobody has decided yet", Tone::Plain),
    }
    said(asked, now, &mut text);
    if let Some(info) = info {
        files(info, &mut text);
    }
    (text.lines(), at)
}

/// Columns of the level of a finding: the longest there is.
const LEVEL_COLUMNS: usize = 11;

fn source_words(source: &str) -> String {
    match source {
        "drop" => ", through the drop folder".to_owned(),
        "api" => ", uploaded".to_owned(),
        other => format!(", by {other}"),
    }
}

fn inspection(info: &VersionInfo, text: &mut Text, now: Now) {
    if let Some(inspection) = &info.inspection {
        let stale = if inspection.stale { ", by other rules than now: r inspects anew" } else { "" };
        let (at, policy) = (age(&inspection.at, now), &inspection.policy);
        text.fact("inspected", &format!("{at}, policy {policy}{stale}"), Tone::Plain);
    }
}

/// The findings, with the octets round the one that was asked about; the line of the selected one.
fn findings(found: &[Finding], total: u64, reading: Option<&Reading>, columns: u16, text: &mut Text) -> Option<usize> {
    let total = total.max(u64::try_from(found.len()).unwrap_or(u64::MAX));
    text.head(&format!("FINDINGS {}", grouped(total)));
    let selected = reading.and_then(|reading| reading.finding);
    let dump = reading.and_then(|reading| reading.dump.as_ref());
    let mut at = None;
    // What a rule means is said once.
    let mut told = std::collections::BTreeSet::new();
    for (place, finding) in found.iter().enumerate() {
        let is_selected = selected == Some(place);
        if is_selected {
            at = Some(text.count());
        }
        let (sign, tone) = if is_selected { (MARKER, Tone::Current) } else { (" ", Tone::Bold) };
        let level = format!("{:LEVEL_COLUMNS$} ", finding.level);
        text.pieces(vec![
            (sign.to_owned(), Tone::Plain),
            (level, tone_of(&finding.level)),
            (finding.rule.clone(), tone),
        ]);
        text.words(3, &place_words(&finding.place), Tone::Dim);
        text.words(3, &finding.detail, Tone::Plain);
        if let Some(meaning) = finding.meaning.as_ref().filter(|_| told.insert(finding.rule.as_str())) {
            text.words(5, meaning, Tone::Dim);
        }
        if let Some(dump) = dump.filter(|dump| is_selected && dump.place == finding.place) {
            octets(dump, columns, text);
        }
    }
    let shown = u64::try_from(found.len()).unwrap_or(u64::MAX);
    if shown < total {
        text.words(0, &format!("... {} more", grouped(total - shown)), Tone::Plain);
    }
    at
}

/// Columns of a line of sixteen octets, with its place and as text.
const DUMP_COLUMNS: usize = 79;
/// Lines of a dump that are shown before and after that of the finding.
const DUMP_AROUND: u64 = 8;

/// A hex dump: the place, the octets, those of ASCII as text. Nothing in it can be mistaken for anything else.
fn octets(dump: &Dump, columns: u16, text: &mut Text) {
    let excerpt = match (&dump.excerpt, &dump.failed) {
        (Some(excerpt), _) => excerpt,
        (None, Some(why)) => return text.words(3, &format!("the octets could not be read: {why}"), Tone::Bad),
        (None, None) => return text.words(3, "loading", Tone::Warn),
    };
    // What is no hexadecimal digit was no octet.
    let octets: Vec<u8> = excerpt
        .octets
        .as_bytes()
        .chunks(2)
        .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let per_line =
        [16, 8, 4].into_iter().find(|per_line| DUMP_COLUMNS * per_line / 16 + 4 <= usize::from(columns)).unwrap_or(4);
    let wide = u64::try_from(per_line).unwrap_or(16);
    let offset = excerpt.offset.unwrap_or(excerpt.from);
    let of_finding = offset / wide;
    text.words(
        3,
        &format!("octets from {:#x} of {}, entry of the audit log written", excerpt.from, grouped(excerpt.size)),
        Tone::Dim,
    );
    for (line, part) in (0u64..).zip(octets.chunks(per_line)) {
        let place = excerpt.from + line * wide;
        if (place / wide).abs_diff(of_finding) > DUMP_AROUND {
            continue;
        }
        let mut hex = String::new();
        for (at, octet) in part.iter().enumerate() {
            hex.push_str(if at == 8 { "  " } else { " " });
            hex.push_str(&format!("{octet:02x}"));
        }
        let shown: String = part
            .iter()
            .map(|octet| if octet.is_ascii_graphic() || *octet == b' ' { char::from(*octet) } else { '.' })
            .collect();
        let hex_columns = per_line * 3 + usize::from(per_line > 8);
        let is_it = place / wide == of_finding && excerpt.offset.is_some();
        let (sign, tone) = if is_it { (">", Tone::Bold) } else { (" ", Tone::Plain) };
        text.pieces(vec![(format!("  {sign}{place:08x} {hex:hex_columns$}  |{shown}|"), tone)]);
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
        let mut what = formats.join(", ");
        if version.state != VersionState::Available {
            what += &format!("  {}", version.state.as_str());
        }
        text.pieces(vec![
            (format!("v{:<5}", version.version.to_string()), Tone::Plain),
            (format!("{verdict}  "), tone_of(verdict)),
            (what, Tone::Plain),
        ]);
    }
    if alone {
        text.words(0, "no other version", Tone::Plain);
    }
}

/// How what the same sender published stands.
fn sender_words(sender: &SenderInfo) -> String {
    let SenderInfo { name, available, held, blocked } = sender;
    let blocked = if *blocked > 0 { format!(", {} blocked for good", grouped(*blocked)) } else { String::new() };
    format!("by {name}: {} handed out, {} held{blocked}", grouped(*available), grouped(*held))
}

/// `REVIEW   1 of 2 approvals`.
fn review_head(item: &QuarantineItem, asked: Option<&ReviewInfo>, text: &mut Text) {
    let needed = asked.map_or(item.approvals_needed, |asked| asked.approvals_needed);
    let made = asked.map_or(item.approvals, |asked| u32::try_from(asked.approvals.len()).unwrap_or(u32::MAX));
    let approvals = if needed > 1 { format!("   {made} of {needed} approvals") } else { String::new() };
    text.head(&format!("REVIEW{approvals}"));
}

/// Who approved, and what was noted, the newest first.
fn said(asked: Option<&ReviewInfo>, now: Now, text: &mut Text) {
    let Some(asked) = asked else { return };
    for approval in &asked.approvals {
        let entry = approval.log_index;
        let head = format!("{} {} approved (entry {entry})", age(&approval.at, now), approval.by);
        text.words(0, &head, Tone::Warn);
        text.words(2, &approval.reason, Tone::Plain);
    }
    for note in &asked.notes {
        let head = format!("{} {}: ", age(&note.at, now), note.by);
        text.words(0, &format!("{head}{}", note.text), Tone::Plain);
    }
}

fn review(made: &Review, text: &mut Text) {
    let (word, tone) = match made.decision.known() {
        Some(Decision::Released) => ("released", Tone::Good),
        Some(Decision::Blocked) => ("BLOCKED for good", Tone::Bad),
        None => (made.decision.as_str(), Tone::Warn),
    };
    text.pieces(vec![(format!("{word} by {} ", made.by), tone), (made.at.clone(), Tone::Plain)]);
    text.words(2, &made.reason, Tone::Plain);
    let over: Vec<String> = made.over.iter().map(|(rule, level)| format!("{rule} ({level})")).collect();
    if !over.is_empty() {
        text.words(2, &format!("over {}", over.join(", ")), Tone::Dim);
    }
    text.words(2, &format!("entry {} of the audit log", made.log_index), Tone::Dim);
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
