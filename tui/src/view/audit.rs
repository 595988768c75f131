//! Screen 2: entries, and one entry in all its fields.

use common::name::ModelId;
use serde_json::Value;

use super::{loading, say_empty, why_empty};
use crate::clean::{clean, width};
use crate::layout::{Areas, Class};
use crate::state::State;
pub(super) use crate::state::audit::Line as Entry;
use crate::state::audit::{Mark, field};
use crate::tail::Link;
use crate::time::{Now, Way, age, counted, rfc3339, seconds};
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, NAMING, fixed, flexible, marked, number};

/// Digits of an index, where it is not known how long the log is.
const INDEX_COLUMNS: u16 = 9;
/// The least: its head.
const INDEX_COLUMNS_MIN: u16 = 5;

const COLUMNS: [Column; 6] = [
    number("INDEX", INDEX_COLUMNS, 0),
    fixed("TIME", 11, 2),
    fixed("ACTOR", 9, 3),
    fixed("ACTION", 16, 1),
    flexible(NAMING, 12, 4),
    fixed("RESULT", 6, 1),
];
/// A date beside the time, where there is room.
const WIDE: [Column; 6] = [
    number("INDEX", INDEX_COLUMNS, 0),
    fixed("TIME (UTC)", 19, 2),
    fixed("ACTOR", 14, 3),
    fixed("ACTION", 18, 1),
    flexible(NAMING, 12, 4),
    fixed("RESULT", 6, 1),
];

/// The columns there are, as wide as the log is long: what an entry is about gets what its index doesn't need. That changes when
/// the log has become ten times as long, and not by what is looked at.
fn columns(state: &State, class: Class) -> [Column; 6] {
    let mut columns = if class == Class::Wide { WIDE } else { COLUMNS };
    // Where the log is read by pages, rows are newer than what was followed.
    let newest = state.log.tail.next.checked_sub(1).max(state.audit.list.rows().map(|line| line.index).max());
    if let Some(newest) = newest {
        let digits = newest.checked_ilog10().map_or(1, |tens| tens + 1);
        columns[0].columns = u16::try_from(digits).unwrap_or(INDEX_COLUMNS).max(INDEX_COLUMNS_MIN);
    }
    // The clock that it is by.
    columns[1].title = match (class, state.settings.time) {
        (Class::Wide, Way::Utc) => "TIME (UTC)",
        (Class::Wide, Way::Local) => "TIME (HERE)",
        _ => "TIME",
    };
    columns
}

/// Columns of the paths of fields.
const FIELD_COLUMNS: usize = 20;
const NARROW: [Column; 4] =
    [number("INDEX", 6, 0), fixed("ACTOR", 8, 3), flexible("ACTION", 12, 1), fixed("RESULT", 6, 1)];

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let follows = state.audit.follow && state.settings.log.live && state.log.is_known();
    let list = (&state.audit.list, !follows);
    match areas.class {
        Class::Tiny | Class::Narrow => marked(
            pen,
            areas,
            &NARROW,
            list,
            |row| {
                let mut cells = cells(state, row, false);
                cells.remove(4);
                cells.remove(1);
                cells
            },
            |row| sign(state, row),
        ),
        Class::Normal | Class::Wide => {
            let has_date = areas.class == Class::Wide;
            let columns = columns(state, areas.class);
            marked(pen, areas, &columns, list, |row| cells(state, row, has_date), |row| sign(state, row));
        }
    }
    marks(state, areas, pen);
    if let Some(words) = why_empty(state, list.0, !state.audit.filter.is_empty(), "no entry") {
        say_empty(areas, pen, &words);
    }
}

/// A star before each marked row, beside its sign where there is room for both.
fn marks(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if state.audit.marks.is_empty() {
        return;
    }
    let room: u16 = if areas.class == Class::Narrow { 1 } else { 2 };
    let visible = state.audit.list.visible(areas.rows.height.into());
    for (y, (line, selected)) in (areas.rows.top()..areas.rows.bottom()).zip(visible) {
        let has_sign = !selected && !sign(state, line).0.is_empty();
        let place = u16::from(selected || has_sign);
        if place < room && line.missing_to.is_none() && state.audit.marks.has(line.index) {
            pen.put(areas.rows.x + place, y, 1, "*", Tone::Bold);
        }
    }
}

/// How many are marked, for the state line.
pub(super) fn marked_words(state: &State) -> String {
    match (&state.audit.marks.all, state.audit.marks.indices.len()) {
        (true, _) => "   all marked".to_owned(),
        (false, 0) => String::new(),
        (false, count) => format!("   {count} marked"),
    }
}

/// The sign before a row: blank for what is verified, `.` for what is not yet, `X` for what cannot be relied on.
fn sign(state: &State, line: &Entry) -> (&'static str, Tone) {
    if !state.settings.log.live {
        return ("", Tone::Plain);
    }
    let broken = state.log.trust.is_broken_from().is_some_and(|from| line.index >= from);
    match line.mark {
        _ if broken => ("X", Tone::Bad),
        Mark::Wrong => ("X", Tone::Bad),
        Mark::Pending => (".", Tone::Plain),
        Mark::Verified => ("", Tone::Plain),
    }
}

/// The state of the live list on the left, of its verification on the right.
pub(super) fn status(state: &State, filter: &str) -> (String, Option<(String, Tone)>) {
    let screen = &state.audit;
    let wide = state.size.width >= 100;
    let how = if screen.follow {
        "FOLLOWING".to_owned()
    } else if screen.new_below > 0 {
        format!("PAUSED   {} new below (G)", screen.new_below)
    } else {
        "PAUSED".to_owned()
    };
    let tenths = state.log.tail.rate_tenths(state.now);
    let rate = if tenths >= 100 { format!("{}/s", tenths / 10) } else { format!("{}.{}/s", tenths / 10, tenths % 10) };
    let link = match &state.log.tail.link {
        Link::Refused(_) => "REFUSED".to_owned(),
        _ if state.log.not_live.is_some() => "NOT LIVE  every 30 s (C-r now)".to_owned(),
        Link::Live { .. } if state.log.tail.gap().is_some() => "FILLING A GAP".to_owned(),
        Link::Live { .. } => String::new(),
        Link::Closed | Link::Connecting => "CONNECTING".to_owned(),
        Link::Waiting { told: None, .. } => "RECONNECTING (C-r now)".to_owned(),
        Link::Waiting { told: Some(at), .. } => {
            format!("RECONNECTING at {} (C-r now)", state.times().time_of_day(*at))
        }
    };
    let marked = marked_words(state);
    // Nothing looks live that is not.
    let is_paged = link.starts_with("NOT LIVE");
    let how = match (is_paged, screen.follow) {
        (true, true) => link.clone(),
        (true, false) => format!("{link}   {how}"),
        (false, _) if wide => format!("{how}   {rate}"),
        // The filter needs the room.
        (false, _) if !screen.filter.is_empty() => how,
        (false, _) => format!("{how} {rate}"),
    };
    let mut left = if wide { format!("Audit   {how}   {filter}{marked}") } else { format!("Audit   {how}{marked}") };
    if !wide && !screen.filter.is_empty() {
        left = format!("{left}   {}", screen.shown_filter());
    }
    if !link.is_empty() && !is_paged {
        left = format!("{left}   {link}");
    }
    let trust = &state.log.trust;
    let pending = trust.pending();
    let right = if screen.list.is_loading() {
        (loading(state, screen.list.waits_for()), Tone::Warn)
    } else if screen.list.stale().is_some() {
        // Why, the list says, or the message: here it would push aside what was asked for.
        ("FAILED".to_owned(), Tone::Bad)
    } else if let Some(last) = trust.verified_size().checked_sub(1) {
        let text = match (wide, trust.checkpoint_at) {
            (true, Some(at)) => format!("{pending} pending  checkpoint {last} {}", state.times().time_of_day(at)),
            _ => format!("v to {last}, {pending} pending"),
        };
        (text, Tone::Plain)
    } else {
        (format!("nothing verified yet  {pending} pending"), Tone::Warn)
    };
    // The filter says what the list is; how far it is verified, the badge says as well.
    let taken = width(&clean(&left)) + width(&right.0) + 4;
    let gives_way = !screen.filter.is_empty() && right.1 == Tone::Plain && taken > state.size.width.into();
    (left, Some(right).filter(|_| !gives_way))
}

fn cells(state: &State, line: &Entry, date: bool) -> Vec<(String, Tone)> {
    if let Some(end) = line.missing_to {
        let count = end.saturating_sub(line.index);
        let text = format!("-- {} missing: {}..{} --", counted(count, "entry"), line.index, end.saturating_sub(1));
        let nothing = || (String::new(), Tone::Plain);
        return vec![
            (line.index.to_string(), Tone::Bad),
            nothing(),
            nothing(),
            ("--".into(), Tone::Bad),
            (text, Tone::Bad),
            nothing(),
        ];
    }
    let now = state.times();
    // An entry's own words, but for where they are to be read by another clock.
    let time = match (state.settings.time, seconds(line.time())) {
        (Way::Local, Some(at)) => rfc3339(at.saturating_add(now.offset_seconds)),
        _ => line.time().to_owned(),
    };
    let time: String = if state.settings.time == Way::Age {
        age(&time, now)
    } else if date {
        time.chars().take(19).map(|letter| if letter == 'T' { ' ' } else { letter }).collect()
    } else {
        short(&time, now)
    };
    let tone = if line.outcome() == "ok" { Tone::Plain } else { Tone::Bad };
    vec![
        (line.index.to_string(), Tone::Plain),
        (time, Tone::Plain),
        (line.actor().to_owned(), Tone::Plain),
        (line.action().to_owned(), Tone::Plain),
        (subject(line, name_of(state, line)), Tone::Plain),
        (line.outcome().to_owned(), tone),
    ]
}

/// `12:02:20` of today, `07-21 12:02` of any other day: a list may go over many, and nothing else in a row tells them apart.
fn short(time: &str, now: Now) -> String {
    let part = |range: std::ops::Range<usize>| time.get(range).unwrap_or_default();
    if part(0..10) == now.date(now.seconds) {
        part(11..19).to_owned()
    } else {
        format!("{} {}", part(5..10), part(11..16)).trim().to_owned()
    }
}

/// The name of what an entry is about: the one it had then, where the entry says it, else the present one.
fn name_of<'a>(state: &'a State, line: &'a Entry) -> Option<&'a str> {
    line.name_then().or_else(|| present_name(state, line))
}

/// The present name, if it is among the rows that other screens hold. Entries have ids, for names change.
fn present_name<'a>(state: &'a State, line: &Entry) -> Option<&'a str> {
    match line.kind() {
        "model" | "version" | "file" => {
            let id: ModelId = line.id().parse().ok()?;
            state.models.list.rows().find(|row| row.id == id).map(|row| row.name.as_str())
        }
        "user" => state.users.list.rows().find(|user| user.id == line.id()).map(|user| user.username.as_str()),
        _ => None,
    }
}

/// What an entry is about, for a row: the name says of models and their versions that they are such.
fn subject(line: &Entry, name: Option<&str>) -> String {
    let words = target(line, name);
    let is_told = name.is_some() && matches!(line.kind(), "model" | "version");
    words.strip_prefix(line.kind()).filter(|_| is_told).map_or(words.clone(), |rest| rest.trim_start().to_owned())
}

/// The kind, the name or else the id, and the version where there is one.
fn target(line: &Entry, name: Option<&str>) -> String {
    let version = if line.version().is_empty() { String::new() } else { format!("v{}", line.version()) };
    let mut words = vec![line.kind(), name.unwrap_or(line.id()), &version];
    words.retain(|word| !word.is_empty());
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The selected entry: a summary, then every member by its path, then the leaf hash.
pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(line) = state.audit.list.selected() else { return Vec::new() };
    let entry = &line.entry();
    let mut text = Text::new(areas.pane.width);
    let tone = if line.outcome() == "ok" { Tone::Good } else { Tone::Bad };
    let title = format!("{}  {}  ", line.index, line.action());
    text.pieces(vec![(title, Tone::Bold), (line.outcome().to_owned(), tone)]);
    text.fact("time", line.time(), Tone::Plain);
    let role = field(entry, &["actor", "role"]);
    text.fact("actor", format!("{} {role}", line.actor()).trim_end(), Tone::Plain);
    let then = line.name_then();
    let known = then.map(|name| format!("   {name}")).unwrap_or_default();
    let now = present_name(state, line).filter(|name| Some(*name) != then);
    let now = now.map(|name| format!("   now called {name}")).unwrap_or_default();
    text.fact("target", &format!("{}{known}{now}", target(line, None)), Tone::Plain);
    let request = field(entry, &["req", "route"]);
    if !request.is_empty() {
        let status = entry.pointer("/req/status").map(plain).unwrap_or_default();
        text.fact("request", &format!("{} {request} {status}", field(entry, &["req", "method"])), Tone::Plain);
    }
    proof_of(state, line, &mut text);
    text.head("ALL FIELDS");
    if areas.class > Class::Narrow {
        text.labels(FIELD_COLUMNS);
    }
    flatten("", entry, &mut text);
    text.fact("leaf hash", &line.hash().map(|hash| hash.to_string()).unwrap_or_default(), Tone::Plain);
    if line.hashes_to_its_leaf() {
        text.fact("", "the fields shown hash to it", Tone::Good);
    } else {
        text.fact("", "NOT the hash of the fields shown: this is not what was logged", Tone::Bad);
    }
    text.lines()
}

/// What is known of the entry's place in the log.
fn proof_of(state: &State, line: &Entry, text: &mut Text) {
    let trust = &state.log.trust;
    let Some(pin) = trust.pin().filter(|_| state.settings.log.live) else { return };
    let size = pin.checkpoint.size;
    let (_, tone) = sign(state, line);
    let (words, tone) = match line.mark {
        _ if tone == Tone::Bad => ("NOT VERIFIED: see the alarm (V)".to_owned(), Tone::Bad),
        Mark::Wrong => ("NOT the entry that the log committed to".to_owned(), Tone::Bad),
        Mark::Pending => ("not yet covered by a verified checkpoint, or its tile is on its way".to_owned(), Tone::Warn),
        Mark::Verified => {
            (format!("VERIFIED: in the tree of {}, whose root is signed", counted(size, "entry")), Tone::Good)
        }
    };
    text.fact("proof", &words, tone);
    text.fact("root", &format!("{} at {size}", pin.checkpoint.root), Tone::Plain);
    if let Some(key) = trust.pinned_key() {
        let witnesses = if pin.witnesses.is_empty() {
            String::new()
        } else {
            format!("   witnesses: {}", pin.witnesses.join(", "))
        };
        text.fact("signed", &format!("{}  key {}{witnesses}", key.name(), key.id()), Tone::Plain);
    }
}

fn flatten(path: &str, value: &Value, text: &mut Text) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, member, text);
            }
        }
        leaf => text.fact(path, &leaf.to_string(), Tone::Plain),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::AuditRow;
    use serde_json::{Value, json};

    use super::{Entry, short, subject};
    use crate::time::{Now, seconds};

    /// Of another day the date is told, and of any day no more than there is room for.
    #[test]
    fn times_of_other_days() {
        let now = Now { seconds: seconds("2026-07-22T23:30:00Z").unwrap(), offset_seconds: 3_600 };
        assert_eq!(short("2026-07-23T00:29:59.114Z", now), "00:29:59", "it is tomorrow already where this is read");
        assert_eq!(short("2026-07-22T12:02:20.114Z", now), "07-22 12:02");
        assert_eq!((short("", now).as_str(), short("2026-07-2é", now).as_str()), ("", ""));
    }

    /// A model is told by its name and a version by its number, where the entry has a name; all else with what it is.
    #[test]
    fn what_an_entry_is_about() {
        let about = |entry: Value| {
            let leaf_hash = common::audit::leaf_hash(b"").to_string();
            let line = Entry::try_from(AuditRow { index: 0, entry, leaf_hash }).unwrap();
            subject(&line, line.name_then())
        };
        let entry = json!({"target": {"kind": "version", "id": "01M8", "version": "2"}, "data": {"name": "nlp/asr"}});
        assert_eq!(about(entry), "nlp/asr v2");
        assert_eq!(about(json!({"target": {"kind": "model", "id": "01M8"}})), "model 01M8");
        let entry = json!({"target": {"kind": "user", "id": "usr_1"}, "data": {"name": "dave"}});
        assert_eq!(about(entry), "user dave");
        let entry = json!({"target": {"kind": "file", "id": "01M8"}, "data": {"name": "nlp/asr"}});
        assert_eq!(about(entry), "file nlp/asr");
        let entry = json!({"target": {"kind": "user", "id": "usr_1"}, "actor": {"id": "usr_1", "name": "eve"}});
        assert_eq!(about(entry), "user eve");
        assert_eq!(about(json!({})), "-");
    }
}
