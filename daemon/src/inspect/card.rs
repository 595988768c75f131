//! Model cards: the block of YAML at the beginning of a `README.md` that says licence, languages, tags and origin. Whoever
//! uploads writes it; it is told as what the card says, and nothing rests on it.

use serde_json::Value;

use super::cursor::Stop;
use super::scan::{Place, Scan};
use super::yaml;

/// Entries told of a list, and octets of each.
const ENTRIES_MAX: usize = 32;
const ENTRY_BYTES_MAX: usize = 96;

/// What is told, by its key in the card.
const KEYS: &[(&str, &str)] = &[
    ("license", "card.license"),
    ("license_name", "card.license_name"),
    ("license_link", "card.license_link"),
    ("language", "card.languages"),
    ("languages", "card.languages"),
    ("tags", "card.tags"),
    ("pipeline_tag", "card.task"),
    ("library_name", "card.library"),
    ("base_model", "card.base_model"),
    ("datasets", "card.datasets"),
    ("metrics", "card.metrics"),
];

/// Looks at the front matter of a Markdown text, of which `head` is the beginning; the facts are those of a card only.
pub(super) fn scan(scan: &mut Scan, head: &str, place: &Place, base: &str) -> Result<(), Stop> {
    let Some(matter) = front_matter(head) else { return Ok(()) };
    // What can't be parsed is prose between two lines.
    if !yaml::is_document(scan, matter, place)? {
        yaml::raw_tags(scan, matter, place);
        return Ok(());
    }
    let _parsed = yaml::document(scan, matter, place)?;
    if base == "readme.md"
        && let Some(Value::Object(entries)) = yaml::value(matter, 0)
    {
        for (key, fact) in KEYS {
            if let Some(value) = entries.get(*key).and_then(told) {
                scan.facts.set(fact, value);
            }
        }
    }
    Ok(())
}

/// What stands between a first line of three hyphens and the next one.
fn front_matter(head: &str) -> Option<&str> {
    // Blank lines before it, and blanks behind the hyphens, are let pass by those who read it.
    let (first, rest) = head.trim_start().split_once('\n')?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return rest.get(..at);
        }
        at += line.len();
    }
    None
}

/// A text, or a list of texts, as far as it is told.
fn told(value: &Value) -> Option<Value> {
    let entry = |value: &Value| match value {
        Value::String(text) => Some(Value::from(super::facts::cut(text, ENTRY_BYTES_MAX))),
        Value::Bool(_) | Value::Number(_) => Some(Value::from(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter_map(entry).take(ENTRIES_MAX).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        one => entry(one),
    }
}
