//! Screen 2: entries, and one entry in all its fields.

use common::api::AuditRow;
use common::audit::{canonical_json, leaf_hash};
use common::name::ModelId;
use serde_json::Value;

use super::{say_empty, why_empty};
use crate::layout::{Areas, Class};
use crate::state::State;
use crate::state::audit::field;
use crate::view::pen::{Line, Pen, Text, Tone};
use crate::view::table::{Column, fixed, flexible, number, table};

const COLUMNS: [Column; 6] = [
    number("INDEX", 9, 0),
    fixed("TIME", 8, 2),
    fixed("ACTOR", 10, 3),
    fixed("ACTION", 17, 1),
    flexible("TARGET", 12, 4),
    fixed("RESULT", 6, 1),
];
/// A date beside the time, where there is room.
const WIDE: [Column; 6] = [
    number("INDEX", 9, 0),
    fixed("TIME (UTC)", 19, 2),
    fixed("ACTOR", 14, 3),
    fixed("ACTION", 18, 1),
    flexible("TARGET", 12, 4),
    fixed("RESULT", 6, 1),
];
/// Columns of the paths of fields.
const FIELD_COLUMNS: usize = 20;
const NARROW: [Column; 4] =
    [number("INDEX", 6, 0), fixed("ACTOR", 8, 3), flexible("ACTION", 12, 1), fixed("RESULT", 6, 1)];

pub(super) fn paint(state: &State, areas: &Areas, pen: &mut Pen<'_>) {
    if areas.rows.height == 0 {
        return;
    }
    let list = &state.audit.list;
    match areas.class {
        Class::Tiny | Class::Narrow => table(pen, areas, &NARROW, list, |row| {
            let mut cells = cells(state, row, false);
            cells.remove(4);
            cells.remove(1);
            cells
        }),
        Class::Normal => table(pen, areas, &COLUMNS, list, |row| cells(state, row, false)),
        Class::Wide => table(pen, areas, &WIDE, list, |row| cells(state, row, true)),
    }
    if let Some(words) = why_empty(list, !state.audit.filter.is_empty(), "no entry") {
        say_empty(areas, pen, &words);
    }
}

fn cells(state: &State, row: &AuditRow, date: bool) -> Vec<(String, Tone)> {
    let entry = &row.entry;
    let time = field(entry, &["ts"]);
    let time: String = if date {
        time.chars().take(19).map(|letter| if letter == 'T' { ' ' } else { letter }).collect()
    } else {
        time.chars().skip(11).take(8).collect()
    };
    let outcome = field(entry, &["outcome"]);
    let tone = if outcome == "ok" { Tone::Plain } else { Tone::Bad };
    vec![
        (row.index.to_string(), Tone::Plain),
        (time, Tone::Plain),
        (actor(entry), Tone::Plain),
        (field(entry, &["action"]).to_owned(), Tone::Plain),
        (target(entry, name_of(state, entry)), Tone::Plain),
        (outcome.to_owned(), tone),
    ]
}

fn actor(entry: &Value) -> String {
    let name = field(entry, &["actor", "name"]);
    if name.is_empty() { field(entry, &["actor", "id"]).to_owned() } else { name.to_owned() }
}

/// The present name of what an entry is about, if it is among the rows other screens hold. Entries have ids: names change.
fn name_of<'a>(state: &'a State, entry: &Value) -> Option<&'a str> {
    let id = field(entry, &["target", "id"]);
    match field(entry, &["target", "kind"]) {
        "model" | "version" | "file" => {
            let id: ModelId = id.parse().ok()?;
            state.models.list.rows().find(|row| row.id == id).map(|row| row.name.as_str())
        }
        "user" => state.users.list.rows().find(|user| user.id == id).map(|user| user.username.as_str()),
        _ => None,
    }
}

/// The kind, the name or else the id, and the version where there is one.
fn target(entry: &Value, name: Option<&str>) -> String {
    let Some(target) = entry.get("target") else { return "-".to_owned() };
    let mut words = vec![field(target, &["kind"]).to_owned()];
    words.push(name.unwrap_or(field(target, &["id"])).to_owned());
    if let Some(version) = target.get("version") {
        words.push(format!("v{}", plain(version)));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The selected entry: a summary, then every member by its path, then the leaf hash.
pub(super) fn lines(state: &State, areas: &Areas) -> Vec<Line> {
    let Some(row) = state.audit.list.selected() else { return Vec::new() };
    let entry = &row.entry;
    let mut text = Text::new(areas.pane.width);
    let outcome = field(entry, &["outcome"]);
    let tone = if outcome == "ok" { Tone::Good } else { Tone::Bad };
    let title = format!("{}  {}  ", row.index, field(entry, &["action"]));
    text.pieces(vec![(title, Tone::Bold), (outcome.to_owned(), tone)]);
    text.fact("time", field(entry, &["ts"]), Tone::Plain);
    let role = field(entry, &["actor", "role"]);
    text.fact("actor", format!("{} {role}", actor(entry)).trim_end(), Tone::Plain);
    let known = name_of(state, entry).map(|name| format!("   now called {name}")).unwrap_or_default();
    text.fact("target", &format!("{}{known}", target(entry, None)), Tone::Plain);
    let request = field(entry, &["req", "route"]);
    if !request.is_empty() {
        let status = entry.pointer("/req/status").map(plain).unwrap_or_default();
        text.fact("request", &format!("{} {request} {status}", field(entry, &["req", "method"])), Tone::Plain);
    }
    text.head("ALL FIELDS");
    if areas.class > Class::Narrow {
        text.labels(FIELD_COLUMNS);
    }
    flatten("", entry, &mut text);
    text.fact("leaf hash", &row.leaf_hash, Tone::Plain);
    if hashes_to_its_leaf(row) {
        text.fact("", "the fields shown hash to it", Tone::Good);
    } else {
        text.fact("", "NOT the hash of the fields shown: this is not what was logged", Tone::Bad);
    }
    text.lines()
}

/// Whether the entry as received has the leaf hash that came with it (audit-log.md §2).
fn hashes_to_its_leaf(row: &AuditRow) -> bool {
    canonical_json(&row.entry).is_ok_and(|leaf| leaf_hash(&leaf).to_string() == row.leaf_hash)
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
