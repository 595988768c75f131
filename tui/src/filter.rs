//! What a person types to narrow a list, in one language: words, all of which must be there, `"quoted"` ones with their blanks;
//! `field:value`, `-field:value` for what it must not be, `field>value` and `field<value`. They are checked here, so that a
//! misspelt field is refused with the nearest one instead of finding nothing.

use common::api::{IngestState, State};
use common::client::{AuditQuery, HeldQuery, IngestQuery, ModelQuery, UserQuery};
use common::role::Role;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::state::audit;
use crate::time::{Edge, TYPED, typed};

/// Letters by which a field may be mistyped.
const NEAR_MAX: usize = 2;
/// The fields of an audit filter.
pub const AUDIT_FIELDS: [&str; 8] = ["actor", "action", "outcome", "target", "ip", "since", "until", "index"];
/// The fields of a filter for models.
pub const MODEL_FIELDS: [&str; 11] =
    ["alias", "format", "state", "tag", "uploader", "verdict", "rule", "licence", "dtype", "params", "since"];
/// The fields of entries that can be left out by.
const AUDIT_NOT_FIELDS: [&str; 5] = ["actor", "action", "outcome", "target", "ip"];
/// The fields of models that can be left out by.
const MODEL_NOT_FIELDS: [&str; 6] = ["alias", "format", "state", "tag", "uploader", "verdict"];
/// Pairs that leave something out, at most: as many as the daemon takes.
const NOT_MAX: usize = 16;
const OUTCOMES: [&str; 3] = ["ok", "denied", "error"];

/// The same filter with its times in full: `since:7d` is so long ago that what it means must be settled once, when it is set.
///
/// # Errors
/// A sentence with what a time may be.
pub fn settled(text: &str, now_seconds: i64, zone: &TimeZone) -> Result<String, String> {
    // What can't be read is refused where the filter itself is read, and with its own words.
    let Ok(words) = words(text) else { return Ok(text.to_owned()) };
    if !words.iter().any(|word| time_in(word).is_some()) {
        return Ok(text.to_owned());
    }
    let mut whole = Vec::new();
    for word in words {
        whole.push(match time_in(&word).filter(|(_, _, value)| !value.is_empty()) {
            Some((field, edge, value)) => format!("{field}:{}", typed(value, now_seconds, zone, edge)?),
            None => quoted(&word),
        });
    }
    Ok(whole.join(" "))
}

/// The field, the edge and the value of a word that says a time: `since:7d`, `updated>7d`, `time<=2026-11-23`. A day is meant
/// from its beginning on, or up to its end; what is before a day is before its beginning.
fn time_in(word: &str) -> Option<(&'static str, Edge, &str)> {
    if let Some((_field, sign, value)) = compared(word).filter(|(field, ..)| matches!(*field, "updated" | "time")) {
        let until = if sign == "<" { Edge::Begin } else { Edge::End };
        return Some(if sign.starts_with('>') { ("since", Edge::Begin, value) } else { ("until", until, value) });
    }
    match word.split_once(':')? {
        ("since", value) => Some(("since", Edge::Begin, value)),
        ("until", value) => Some(("until", Edge::End, value)),
        _ => None,
    }
}

/// Field, sign and value of a word such as `params>=7B`; none for others.
fn compared(word: &str) -> Option<(&str, &str, &str)> {
    let (field, rest) = word.split_at(word.find(|letter: char| !letter.is_ascii_alphabetic())?);
    let sign = [">=", "<=", ">", "<"].into_iter().find(|sign| rest.starts_with(sign))?;
    (!field.is_empty()).then(|| (field, sign, &rest[sign.len()..]))
}

/// A word as it is typed: with quotes where it has blanks.
fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) || word.is_empty() { format!("\"{word}\"") } else { word.to_owned() }
}

/// Words as the daemon takes them: all must be there, those with blanks as they stand.
fn all_of(words: &[&str]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A filter as people read it: times without the seconds and fractions that say nothing.
pub fn shown(filter: &str) -> String {
    filter.replace(":00.000Z", "Z").replace(".000Z", "Z")
}

/// Whether a value is a time in full.
fn full_time(field: &str, value: &str) -> Result<(), String> {
    match common::audit::parse_timestamp(value) {
        Ok(_) => Ok(()),
        Err(_) if value.parse::<jiff::Timestamp>().is_ok() => Ok(()),
        Err(_) => Err(format!("{field}:{value}: a time is one of {TYPED}")),
    }
}

/// An audit query from text such as `actor:eve outcome:denied`; a word without a field is an actor.
///
/// # Errors
/// A sentence that names the nearest field, or the outcomes there are.
pub fn audit_query(text: &str) -> Result<AuditQuery, String> {
    let mut query = AuditQuery::default();
    let words = words(text)?;
    for word in words.iter().map(String::as_str) {
        if let Some((field, value)) = left_out(word, &AUDIT_NOT_FIELDS, query.not.len())? {
            if field == "outcome" && !OUTCOMES.contains(&value) {
                return Err(format!("-outcome:{value}: an outcome is one of ok, denied, error"));
            }
            query.not.push(format!("{field}:{value}"));
            continue;
        }
        if let Some((field, sign, value)) = compared(word) {
            compare_entries(&mut query, field, sign, value)?;
            continue;
        }
        let (field, value) = word.split_once(':').unwrap_or(("actor", word));
        // So the column is called.
        let field = if field == "result" { "outcome" } else { field };
        if value.is_empty() {
            return Err(format!("{field}: needs a value"));
        }
        let place = match field {
            "actor" => &mut query.actor,
            "action" => &mut query.action,
            "target" => &mut query.target,
            "ip" => &mut query.ip,
            "since" => &mut query.since,
            "until" => &mut query.until,
            "outcome" if OUTCOMES.contains(&value) => &mut query.outcome,
            "outcome" => return Err(format!("outcome:{value}: an outcome is one of ok, denied, error")),
            "index" => {
                compare_entries(&mut query, "index", ">=", value)?;
                compare_entries(&mut query, "index", "<=", value)?;
                continue;
            }
            unknown => return Err(format!("no field {unknown}: {}", meant(unknown, "", &AUDIT_FIELDS, ""))),
        };
        if !place.is_empty() {
            return Err(format!("{field}: is there twice"));
        }
        if matches!(field, "since" | "until") {
            full_time(field, value)?;
        }
        value.clone_into(place);
    }
    Ok(query)
}

/// Takes a comparison of entries: by their index, or by their time in full.
fn compare_entries(query: &mut AuditQuery, field: &str, sign: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("{field}{sign}: needs a value"));
    }
    match (field, sign) {
        ("index", sign) => {
            let index: u64 =
                value.parse().map_err(|_no_number| format!("{field}{sign}{value}: an index is a number"))?;
            // Above the one before; of the first that is all.
            let above = if sign == ">" { Some(index) } else { index.checked_sub(1) };
            let below = if sign == "<" { index } else { index.saturating_add(1) };
            if sign.starts_with('>') {
                query.after = query.after.max(above);
            } else {
                query.before = Some(query.before.map_or(below, |before| before.min(below)));
            }
        }
        ("time", sign) => {
            full_time(field, value)?;
            let place = if sign.starts_with('>') { &mut query.since } else { &mut query.until };
            if !place.is_empty() {
                return Err(format!("{field}{sign}: is there twice"));
            }
            value.clone_into(place);
        }
        _ => {
            return Err(format!(
                "nothing is compared by {field}: did you mean {}?",
                nearest_of(field, &["time", "index"])
            ));
        }
    }
    Ok(())
}

/// Field and value of a word such as `-actor:eve`; none for a word that leaves nothing out.
fn left_out<'a>(word: &'a str, known: &[&'static str], count: usize) -> Result<Option<(&'a str, &'a str)>, String> {
    let Some((field, value)) = word.strip_prefix('-').and_then(|pair| pair.split_once(':')) else { return Ok(None) };
    if !known.contains(&field) {
        return Err(format!("nothing is left out by {field}: {}", meant(field, "-", known, "")));
    }
    if value.is_empty() {
        return Err(format!("-{field}: needs a value"));
    }
    if count == NOT_MAX {
        return Err(format!("at most {NOT_MAX} can be left out"));
    }
    Ok(Some((field, value)))
}

/// Whether an entry is one that a query asks for, as the daemon decides it.
pub fn matches(query: &AuditQuery, entry: &Value) -> bool {
    let text = |path: &[&str]| audit::field(entry, path).to_owned();
    let is = |wanted: &str, found: &[String]| wanted.is_empty() || found.iter().any(|found| found == wanted);
    let action = text(&["action"]);
    let is_action = |wanted: &str| match wanted.strip_suffix(".*") {
        Some(begin) => action.strip_prefix(begin).is_some_and(|rest| rest.starts_with('.')),
        None => action == wanted,
    };
    let action_fits = query.action.is_empty() || is_action(&query.action);
    let is_left_out = |pair: &String| match pair.split_once(':') {
        Some(("actor", actor)) => is(actor, &[text(&["actor", "id"]), text(&["actor", "name"])]),
        Some(("action", wanted)) => is_action(wanted),
        Some(("target", target)) => is_target(target, entry),
        Some(("outcome", outcome)) => is(outcome, &[text(&["outcome"])]),
        Some(("ip", ip)) => is(ip, &[text(&["req", "ip"])]),
        _ => false,
    };
    let ts = text(&["ts"]);
    let ms = |time: &str| time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    let at = ms(&ts);
    let index = entry.get("seq").and_then(Value::as_u64);
    action_fits
        && query.after.is_none_or(|after| index.is_none_or(|index| index > after))
        && query.before.is_none_or(|before| index.is_none_or(|index| index < before))
        && !query.not.iter().any(is_left_out)
        && is(&query.actor, &[text(&["actor", "id"]), text(&["actor", "name"])])
        && (query.target.is_empty() || is_target(&query.target, entry))
        && is(&query.outcome, &[text(&["outcome"])])
        && is(&query.ip, &[text(&["req", "ip"])])
        && (query.since.is_empty() || ms(&query.since).is_none_or(|since| at.is_some_and(|at| at >= since)))
        && (query.until.is_empty() || ms(&query.until).is_none_or(|until| at.is_some_and(|at| at <= until)))
}

/// Whether an entry is about a thing, by its id or by the name that it had then; `kind:` may stand before either.
fn is_target(wanted: &str, entry: &Value) -> bool {
    let about = |path: &str| audit::field(entry, &["target", path]);
    let wanted = wanted.strip_prefix(about("kind")).and_then(|rest| rest.strip_prefix(':')).unwrap_or(wanted);
    about("id") == wanted || audit::name_then(entry).is_some_and(|name| name.eq_ignore_ascii_case(wanted))
}

/// A tag as the daemon takes it: people write `key=value`, as tags are shown, or `key:value`.
fn tag(text: &str) -> String {
    if text.contains(':') { text.to_owned() } else { text.replacen('=', ":", 1) }
}

/// A query for models from text such as `router alias:prod params>7B state:deleted`; words without a field must all be in the
/// name or the description.
///
/// # Errors
/// A sentence that names the nearest field, or the states there are.
pub fn model_query(text: &str) -> Result<ModelQuery, String> {
    let mut query = ModelQuery::default();
    let mut words: Vec<&str> = Vec::new();
    let all = self::words(text)?;
    for word in all.iter().map(String::as_str) {
        if let Some((field, value)) = left_out(word, &MODEL_NOT_FIELDS, query.not.len())? {
            let is_known = match field {
                "state" => STATES.iter().any(|state| state.as_str() == value),
                "verdict" => VERDICTS.contains(&value),
                "tag" => value.contains([':', '=']),
                _ => true,
            };
            if !is_known {
                return Err(format!("-{field}:{value}: there is none; {field}: alone says what there is"));
            }
            let value = if field == "tag" { tag(value) } else { value.to_owned() };
            query.not.push(format!("{field}:{value}"));
            continue;
        }
        if let Some((field, sign, value)) = compared(word) {
            match (field, sign) {
                ("params", _) => query.params.push(parameters(&format!("{sign}{value}"))?),
                ("updated", ">" | ">=") => {
                    full_time("since", value)?;
                    value.clone_into(&mut query.since);
                }
                ("updated", _) => return Err(UNTIL_OF_MODELS.to_owned()),
                _ => {
                    let near = nearest_of(field, &["params", "updated"]);
                    return Err(format!("nothing is compared by {field}: did you mean {near}?"));
                }
            }
            continue;
        }
        let Some((field, value)) = word.split_once(':') else {
            words.push(word);
            continue;
        };
        if value.is_empty() {
            return Err(format!("{field}: needs a value"));
        }
        let place = match field {
            "params" => {
                query.params.push(parameters(value)?);
                continue;
            }
            "until" => return Err(UNTIL_OF_MODELS.to_owned()),
            "alias" => &mut query.alias,
            "format" => &mut query.format,
            "uploader" => &mut query.uploader,
            "since" => {
                full_time(field, value)?;
                &mut query.since
            }
            "rule" => &mut query.rule,
            "licence" | "license" => &mut query.licence,
            "dtype" => {
                query.dtypes.push(value.to_owned());
                continue;
            }
            "verdict" if VERDICTS.contains(&value) => &mut query.verdict,
            "verdict" => return Err(format!("verdict:{value}: a verdict is one of {}", VERDICTS.join(", "))),
            "tag" if value.contains([':', '=']) => {
                query.tags.push(tag(value));
                continue;
            }
            "tag" => return Err(format!("tag:{value}: is written tag:key=value")),
            "state" => {
                if query.state.is_some() {
                    return Err("state: is there twice".to_owned());
                }
                let state = STATES.into_iter().find(|state| state.as_str() == value);
                query.state = Some(state.ok_or_else(|| {
                    format!("state:{value}: a state is one of available, quarantined, deprecated, deleted")
                })?);
                continue;
            }
            unknown => return Err(format!("no field {unknown}: {}", meant(unknown, "", &MODEL_FIELDS, ""))),
        };
        if !place.is_empty() {
            return Err(format!("{field}: is there twice"));
        }
        value.clone_into(place);
    }
    query.q = all_of(&words);
    Ok(query)
}

/// How many parameters, as the daemon takes it: `>7B`, `<=1.3e9`, `1e9..8e9`.
fn parameters(text: &str) -> Result<String, String> {
    let number = text.trim_start_matches(['<', '>']).trim_start_matches('=');
    let fits = |letter: char| letter.is_ascii_digit() || ".eE+kKmMbBtT".contains(letter);
    if number.contains(|letter: char| letter.is_ascii_digit()) && number.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let sign = if text.starts_with(['<', '>']) { "" } else { ":" };
    Err(format!("params{sign}{text}: is written params>7B, params<=1.3e9 or params:1e9..8e9"))
}

/// The words of a filter. What stands in quotes is one, with its blanks.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            letter if letter.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

fn nearest_of(field: &str, known: &[&'static str]) -> &'static str {
    known.iter().copied().min_by_key(|known| distance(field, known)).unwrap_or_default()
}

/// `did you mean role?`, or what there is where nothing is near.
fn meant(field: &str, sign: &str, known: &[&'static str], end: &str) -> String {
    let near = nearest_of(field, known);
    if distance(field, near) <= NEAR_MAX.max(field.chars().count() / 3) {
        return format!("did you mean {sign}{near}{end}?");
    }
    let all: Vec<String> = known.iter().map(|known| format!("{sign}{known}{end}")).collect();
    format!("there is {}", all.join(", "))
}

/// The fields of a filter for the quarantine.
pub const HELD_FIELDS: [&str; 4] = ["rule", "sender", "verdict", "state"];
/// The fields of a filter for users.
pub const USER_FIELDS: [&str; 2] = ["role", "state"];
/// The states of models.
const STATES: [State; 4] = [State::Available, State::Quarantined, State::Deprecated, State::Deleted];
/// What inspection can come to.
const VERDICTS: [&str; 4] = ["clean", "suspicious", "unscannable", "malicious"];
/// Longest part of a user's name, characters.
const USER_CHARS_MAX: usize = 64;
/// The fields of what is held that can be left out by.
const HELD_NOT_FIELDS: [&str; 4] = ["rule", "sender", "verdict", "state"];
/// The fields of users that can be left out by.
const USER_NOT_FIELDS: [&str; 2] = ["role", "state"];
/// Models are found by a time on one side only.
const UNTIL_OF_MODELS: &str = "models are found by what changed since then: updated>7d or since:7d";

/// Refuses what would be a comparison: nothing of these lists is compared.
fn not_compared(word: &str, known: &[&'static str]) -> Result<(), String> {
    match compared(word) {
        Some((field, ..)) => Err(format!("nothing is compared by {field} here: {}", meant(field, "", known, ":"))),
        None => Ok(()),
    }
}

/// A query for the quarantine from text such as `asr -rule:pickle.* verdict:malicious sender:dave state:blocked`; words must all
/// be in the model's name.
///
/// # Errors
/// A sentence that names the nearest field, or the verdicts there are.
pub fn held_query(text: &str) -> Result<HeldQuery, String> {
    let mut query = HeldQuery::default();
    let all = self::words(text)?;
    let mut words: Vec<&str> = Vec::new();
    let mut has_state = false;
    let is_blocked = |sign: &str, value: &str| match value {
        "waiting" => Ok(false),
        "blocked" => Ok(true),
        _ => Err(format!("{sign}state:{value}: a state is one of waiting, blocked")),
    };
    let verdict_of = |sign: &str, value: &str| match VERDICTS.contains(&value) {
        true => Ok(()),
        false => Err(format!("{sign}verdict:{value}: a verdict is one of {}", VERDICTS.join(", "))),
    };
    for word in all.iter().map(String::as_str) {
        if let Some((field, value)) = left_out(word, &HELD_NOT_FIELDS, query.not.len())? {
            match field {
                "state" => {
                    once(&mut has_state)?;
                    query.blocked = !is_blocked("-", value)?;
                    continue;
                }
                "verdict" => verdict_of("-", value)?,
                _ => {}
            }
            query.not.push(format!("{field}:{value}"));
            continue;
        }
        not_compared(word, &HELD_FIELDS)?;
        let Some((field, value)) = word.split_once(':') else {
            words.push(word);
            continue;
        };
        if value.is_empty() {
            return Err(format!("{field}: needs a value"));
        }
        let place = match field {
            "state" => {
                once(&mut has_state)?;
                query.blocked = is_blocked("", value)?;
                continue;
            }
            "rule" => &mut query.rule,
            "sender" => &mut query.sender,
            "verdict" => {
                verdict_of("", value)?;
                &mut query.verdict
            }
            unknown => return Err(format!("no field {unknown}: {}", meant(unknown, "", &HELD_FIELDS, ""))),
        };
        if !place.is_empty() {
            return Err(format!("{field}: is there twice"));
        }
        value.clone_into(place);
    }
    query.q = all_of(&words);
    at_most(&query.q, INGEST_CHARS_MAX)?;
    Ok(query)
}

/// Of two states there are, one at most is asked for or left out.
fn once(said: &mut bool) -> Result<(), String> {
    if std::mem::replace(said, true) { Err("state: is there twice".to_owned()) } else { Ok(()) }
}

fn at_most(text: &str, most: usize) -> Result<(), String> {
    if text.chars().count() > most { Err(format!("at most {most} characters")) } else { Ok(()) }
}

/// A query for users from text such as `al -role:admin state:locked`; words must all be in the name.
///
/// # Errors
/// A sentence that names the nearest field, or what it may be.
pub fn user_query(text: &str) -> Result<UserQuery, String> {
    let mut query = UserQuery::default();
    let all = self::words(text)?;
    let mut words: Vec<&str> = Vec::new();
    let mut has_state = false;
    let is_disabled = |sign: &str, value: &str| match value {
        "active" => Ok(false),
        // The second is the daemon's word.
        "locked" | "disabled" => Ok(true),
        _ => Err(format!("{sign}state:{value}: a state is one of active, locked; who isn't locked is active")),
    };
    for word in all.iter().map(String::as_str) {
        if let Some((field, value)) = left_out(word, &USER_NOT_FIELDS, query.not.len())? {
            if field == "state" {
                once(&mut has_state)?;
                query.disabled = Some(!is_disabled("-", value)?);
            } else {
                let role: Role = value.parse()?;
                query.not.push(format!("role:{role}"));
            }
            continue;
        }
        not_compared(word, &USER_FIELDS)?;
        match word.split_once(':') {
            None => words.push(word),
            Some(("role", _)) if query.role.is_some() => return Err("role: is there twice".to_owned()),
            Some(("role", value)) => query.role = Some(value.parse()?),
            Some(("state", value)) => {
                once(&mut has_state)?;
                query.disabled = Some(is_disabled("", value)?);
            }
            Some((field, _)) => {
                return Err(format!("no field {field}: {}", meant(field, "", &USER_FIELDS, "")));
            }
        }
    }
    query.q = all_of(&words);
    at_most(&query.q, USER_CHARS_MAX)?;
    Ok(query)
}

/// Longest search text for the drop folder, characters.
const INGEST_CHARS_MAX: usize = 200;

/// A query for the drop folder from text such as `nlp/ -state:failed`: words must all be in the path.
///
/// # Errors
/// A sentence that names the field or the states there are.
pub fn ingest_query(text: &str) -> Result<IngestQuery, String> {
    let mut query = IngestQuery::default();
    let all = self::words(text)?;
    let mut words: Vec<&str> = Vec::new();
    let mut left = Vec::new();
    let state_of = |sign: &str, value: &str| {
        IngestState::ALL.into_iter().find(|state| state.as_str() == value).ok_or_else(|| {
            let known: Vec<&str> = IngestState::ALL.iter().map(|state| state.as_str()).collect();
            format!("{sign}state:{value}: a state is one of {}", known.join(", "))
        })
    };
    for word in all.iter().map(String::as_str) {
        // What is left out here is the daemon's other states.
        if let Some((_state, value)) = left_out(word, &["state"], 0)? {
            left.push(state_of("-", value)?);
            continue;
        }
        not_compared(word, &["state"])?;
        match word.split_once(':') {
            None => words.push(word),
            Some(("state", value)) => {
                let state = state_of("", value)?;
                if !query.states.contains(&state) {
                    query.states.push(state);
                }
            }
            Some((field, _)) => return Err(format!("no field {field}: did you mean state?")),
        }
    }
    if !left.is_empty() {
        // All others, or those of the named ones that are left.
        if query.states.is_empty() {
            query.states = IngestState::ALL.to_vec();
        }
        query.states.retain(|state| !left.contains(state));
        if query.states.is_empty() {
            return Err("no state is left".to_owned());
        }
    }
    query.q = all_of(&words);
    at_most(&query.q, INGEST_CHARS_MAX)?;
    Ok(query)
}

/// Levenshtein's distance of two short words.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, one) in left.chars().take(32).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(one != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::{IngestState, State};

    use super::{audit_query, held_query, ingest_query, matches, model_query, user_query};

    /// Words are one part of the path, states any of several; what is misspelt is refused with what there is.
    #[test]
    fn drop_folder() {
        let query = ingest_query("nlp/a b state:failed state:rejected state:failed").unwrap();
        assert_eq!((query.q.as_str(), query.states), ("nlp/a b", vec![IngestState::Failed, IngestState::Rejected]));
        assert_eq!(ingest_query("").unwrap(), common::client::IngestQuery::default());
        let long = "x".repeat(201);
        let query = ingest_query("-state:done -state:rejected").unwrap();
        assert_eq!(query.states.len(), IngestState::ALL.len() - 2);
        assert!(!query.states.contains(&IngestState::Done));
        assert_eq!(ingest_query("state:done -state:done").unwrap_err(), "no state is left");
        for (text, why) in [("state:fail", "failed"), ("sate:failed", "did you mean state?"), (&long, "at most 200")] {
            assert!(ingest_query(text).unwrap_err().contains(why), "{text}");
        }
    }

    /// What is held by rule, verdict and sender; users by role and state; slips are refused with what there is.
    #[test]
    fn held_and_users() {
        let query = held_query("asr large rule:pickle.* verdict:malicious sender:dave").unwrap();
        let found = (query.q.as_str(), query.rule.as_str(), query.verdict.as_str(), query.sender.as_str());
        assert_eq!(found, ("asr large", "pickle.*", "malicious", "dave"));
        let query = user_query("al role:admin state:locked").unwrap();
        assert_eq!((query.q.as_str(), query.role, query.disabled), ("al", Some(common::role::Role::Admin), Some(true)));
        for (text, why) in [("verdict:bad", "malicious"), ("rul:x", "did you mean rule?"), ("rule:a rule:b", "twice")] {
            assert!(held_query(text).unwrap_err().contains(why), "{text}");
        }
        for (text, why) in
            [("-rol:x", "did you mean -role?"), ("role:king", "not a role"), ("state:x", "active"), ("rol:x", "role?")]
        {
            assert!(user_query(text).unwrap_err().contains(why), "{text}");
        }
    }

    /// One language for all lists: quotes hold blanks together, a minus leaves out, comparisons where there are any.
    #[test]
    fn one_language() {
        assert_eq!(ingest_query("nlp/ \"a b\" -state:done").unwrap().q, "nlp/ \"a b\"");
        assert!(!ingest_query("-state:done").unwrap().states.contains(&IngestState::Done));
        let query = held_query("asr \"of x\" -verdict:suspicious -rule:pickle.* -sender:dave -state:waiting").unwrap();
        assert_eq!((query.q.as_str(), query.blocked), ("asr \"of x\"", true));
        assert_eq!(query.not, ["verdict:suspicious", "rule:pickle.*", "sender:dave"]);
        assert!(user_query("state:service").unwrap_err().ends_with("active, locked; who isn't locked is active"));
        let query = user_query("al ice -role:admin -state:locked").unwrap();
        assert_eq!(
            (query.q.as_str(), query.disabled, query.not),
            ("al ice", Some(false), vec!["role:admin".to_owned()])
        );
        let query = model_query("router params>7B params<=13b params:1e9..8e9").unwrap();
        assert_eq!((query.q.as_str(), query.params), ("router", vec![">7B".into(), "<=13b".into(), "1e9..8e9".into()]));
        let query = audit_query("index>=10 index<20 index>3 time>2026-01-01T00:00:00Z").unwrap();
        assert_eq!((query.after, query.before, query.since.as_str()), (Some(9), Some(20), "2026-01-01T00:00:00Z"));
        let query = audit_query("index:7").unwrap();
        assert_eq!((query.after, query.before), (Some(6), Some(8)));
        assert_eq!(audit_query("index>=0").unwrap().after, None);
        for (index, fits) in [(9, false), (10, true), (19, true), (20, false)] {
            let entry = serde_json::json!({"seq": index, "ts": "2026-02-01T00:00:00.000Z"});
            assert_eq!(matches(&audit_query("index>=10 index<20").unwrap(), &entry), fits, "{index}");
        }
        for (result, why) in [
            (ingest_query("size>7").err(), "nothing is compared by size here"),
            (ingest_query("\"a b").err(), "a quote is not closed"),
            (held_query("-verdict:bad").err(), "-verdict:bad: a verdict is one of clean"),
            (held_query("-verdit:clean").err(), "did you mean -verdict?"),
            (user_query("-role:king").err(), "not a role"),
            (model_query("param>7B").err(), "did you mean params?"),
            (model_query("params>many").err(), "params>many: is written params>7B"),
            (model_query("params:x").err(), "params:x: is written"),
            (model_query("updated<2026-01-01T00:00:00Z").err(), "updated>7d or since:7d"),
            (audit_query("index>x").err(), "an index is a number"),
            (audit_query("tme>x").err(), "did you mean time?"),
            (audit_query("time>2026-01-01T00:00:00Z since:2026-01-01T00:00:00Z").err(), "twice"),
        ] {
            assert!(result.as_ref().is_some_and(|told| told.contains(why)), "{why}: {result:?}");
        }
    }

    /// What is typed of times is settled once, and the rest stays as it is.
    #[test]
    fn times() {
        let zone = jiff::tz::TimeZone::UTC;
        let settled = |text: &str| super::settled(text, 1_784_721_791, &zone);
        assert_eq!(settled("eve  -action:x.*").unwrap(), "eve  -action:x.*");
        assert_eq!(
            settled("\"two words\" since:7d until:yesterday").unwrap(),
            "\"two words\" since:2026-07-15T12:03:00.000Z until:2026-07-21T23:59:59.999Z"
        );
        assert_eq!(settled("updated>7d x").unwrap(), "since:2026-07-15T12:03:00.000Z x");
        assert_eq!(
            settled("time>=yesterday time<2026-07-22").unwrap(),
            "since:2026-07-21T00:00:00.000Z until:2026-07-22T00:00:00.000Z"
        );
        assert_eq!(settled("time<=2026-07-22").unwrap(), "until:2026-07-22T23:59:59.999Z");
        let again = settled(&settled("since:12h router").unwrap()).unwrap();
        assert_eq!(again, "since:2026-07-22T00:03:00.000Z router");
        let why = settled("since:lastweek").unwrap_err();
        assert!(why.contains("90m, 12h, 7d, today") && why.len() < 100, "{why}");
        assert!(audit_query("since:7d").unwrap_err().contains("today"), "it is settled before");
        let query = model_query("rule:pickle.* licence:mit").unwrap();
        assert_eq!((query.rule.as_str(), query.licence.as_str()), ("pickle.*", "mit"));
        assert_eq!(audit_query("result:denied").unwrap(), audit_query("outcome:denied").unwrap());
        assert_eq!(model_query("license:mit").unwrap(), model_query("licence:mit").unwrap());
        assert!(model_query("license:mit licence:bsd").unwrap_err().contains("twice"));
    }

    #[test]
    fn models() {
        let query = model_query("intent router alias:prod tag:lang:de tag:a=b=c state:deleted").unwrap();
        assert_eq!(
            (query.q.as_str(), query.alias.as_str(), query.state),
            ("intent router", "prod", Some(State::Deleted))
        );
        assert_eq!(query.tags, ["lang:de", "a:b=c"]);
        assert_eq!(model_query("ner \"of reviews\"").unwrap().q, "ner \"of reviews\"");
        let query = model_query("-tag:lang=de -state:deprecated x-y -z verdict:malicious dtype:BF16").unwrap();
        assert_eq!(query.not, ["tag:lang:de", "state:deprecated"]);
        assert_eq!(
            (query.q.as_str(), query.verdict.as_str(), query.dtypes),
            ("x-y -z", "malicious", vec!["BF16".into()])
        );
        for (text, why) in [
            ("alais:prod", "did you mean alias?"),
            ("state:gone", "quarantined"),
            ("tag:x", "tag:key=value"),
            ("format:", "needs a value"),
            ("alias:a alias:b", "twice"),
            ("-state:gone", "there is none"),
            ("-alais:prod", "did you mean -alias?"),
            ("-alias:", "needs a value"),
        ] {
            assert!(model_query(text).unwrap_err().contains(why), "{text}");
        }
    }

    /// A thing is meant by its id, or by the name that it had when the entry was made.
    #[test]
    fn targets() {
        let entry = serde_json::json!({"target": {"kind": "model", "id": "01J"}, "data": {"name": "team/tts"}});
        for (filter, fits) in [
            ("target:01J", true),
            ("target:team/tts", true),
            ("target:model:Team/TTS", true),
            ("target:user:team/tts", false),
            ("target:team/t", false),
            ("-target:team/tts", false),
        ] {
            assert_eq!(matches(&audit_query(filter).unwrap(), &entry), fits, "{filter}");
        }
    }

    /// What is left out here is what the daemon leaves out.
    #[test]
    fn left_out() {
        let query = audit_query("outcome:ok -actor:eve -action:model.* -actor:\"two words\"").unwrap();
        assert_eq!(query.not, ["actor:eve", "action:model.*", "actor:two words"]);
        let entry = |actor: &str, action: &str| serde_json::json!({"actor": {"id": "usr_1", "name": actor}, "action": action, "outcome": "ok"});
        for (actor, action, fits) in [
            ("bob", "auth.login", true),
            ("eve", "auth.login", false),
            ("bob", "model.read", false),
            ("bob", "models.read", true),
            ("two words", "auth.login", false),
        ] {
            assert_eq!(matches(&query, &entry(actor, action)), fits, "{actor} {action}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("-ip:10.0.0.{number}")).collect();
        for (text, why) in [
            ("-since:2026-01-01T00:00:00Z", "nothing is left out by since"),
            ("-outcome:maybe", "ok, denied, error"),
            ("-actor:", "needs a value"),
            (&many.join(" "), "at most 16"),
        ] {
            assert!(audit_query(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn fields() {
        let query = audit_query("eve action:model.* outcome:denied since:2026-01-01T00:00:00Z").unwrap();
        assert_eq!((query.actor.as_str(), query.action.as_str(), query.outcome.as_str()), ("eve", "model.*", "denied"));
        assert_eq!(query.since, "2026-01-01T00:00:00Z");
        let query = audit_query("actor:\"two words\"  \"target:a b\"").unwrap();
        assert_eq!((query.actor.as_str(), query.target.as_str()), ("two words", "a b"));
        for (text, why) in [
            ("actr:eve", "did you mean actor?"),
            ("tarjet:x", "did you mean target?"),
            ("outcome:maybe", "ok, denied, error"),
            ("actor:", "needs a value"),
            ("eve bob", "twice"),
            ("actor:\"eve", "not closed"),
            ("actor:\"\"", "needs a value"),
        ] {
            assert!(audit_query(text).unwrap_err().contains(why), "{text}");
        }
    }
}
