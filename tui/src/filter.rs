//! What a person types to narrow a list. Models: words, sent as they are, and `field:value` pairs. Audit: pairs only. A pair
//! with `-` before it leaves out what it fits. They are checked here, so that a misspelt field is refused with the nearest one instead of finding nothing.

use common::api::{IngestState, State};
use common::client::{AuditQuery, HeldQuery, IngestQuery, ModelQuery, UserQuery};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::state::audit;
use crate::time::{Edge, TYPED, typed};

/// The fields of an audit filter.
pub const AUDIT_FIELDS: [&str; 7] = ["actor", "action", "outcome", "target", "ip", "since", "until"];
/// The fields of a filter for models.
pub const MODEL_FIELDS: [&str; 10] =
    ["alias", "format", "state", "tag", "uploader", "verdict", "rule", "licence", "dtype", "since"];
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
    let is_time = |word: &str| word.starts_with("since:") || word.starts_with("until:");
    // What can't be read is refused where the filter itself is read, and with its own words.
    let Ok(words) = words(text) else { return Ok(text.to_owned()) };
    if !words.iter().any(|word| is_time(word)) {
        return Ok(text.to_owned());
    }
    let mut whole = Vec::new();
    for word in words {
        let time = match word.split_once(':').filter(|(_, value)| is_time(&word) && !value.is_empty()) {
            Some(("since", value)) => Some(("since", typed(value, now_seconds, zone, Edge::Begin)?)),
            Some((_, value)) => Some(("until", typed(value, now_seconds, zone, Edge::End)?)),
            None => None,
        };
        whole.push(match time {
            Some((field, at)) => format!("{field}:{at}"),
            None if word.contains(char::is_whitespace) || word.is_empty() => format!("\"{word}\""),
            None => word,
        });
    }
    Ok(whole.join(" "))
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
            unknown => return Err(format!("no field {unknown}: did you mean {}?", nearest(unknown))),
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

/// Field and value of a word such as `-actor:eve`; none for a word that leaves nothing out.
fn left_out<'a>(word: &'a str, known: &[&'static str], count: usize) -> Result<Option<(&'a str, &'a str)>, String> {
    let Some((field, value)) = word.strip_prefix('-').and_then(|pair| pair.split_once(':')) else { return Ok(None) };
    if !known.contains(&field) {
        let near = nearest_of(field, known);
        return Err(format!("nothing is left out by {field}: did you mean -{near}?"));
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
    action_fits
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

/// A query for models from text such as `router alias:prod tag:lang:de state:deleted`; words without a field are looked for
/// in name and description, one after the other as they stand.
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
        let Some((field, value)) = word.split_once(':') else {
            words.push(word);
            continue;
        };
        if value.is_empty() {
            return Err(format!("{field}: needs a value"));
        }
        let place = match field {
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
                let state = STATES.into_iter().find(|state| state.as_str() == value);
                query.state = Some(state.ok_or_else(|| {
                    format!("state:{value}: a state is one of available, quarantined, deprecated, deleted")
                })?);
                continue;
            }
            unknown => return Err(format!("no field {unknown}: did you mean {}?", nearest_of(unknown, &MODEL_FIELDS))),
        };
        if !place.is_empty() {
            return Err(format!("{field}: is there twice"));
        }
        value.clone_into(place);
    }
    // What was quoted here is to be found as it stands there, too.
    let quoted = |word: &str| {
        if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.to_owned() }
    };
    query.q = words.into_iter().map(quoted).collect::<Vec<_>>().join(" ");
    Ok(query)
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

fn nearest(field: &str) -> &'static str {
    nearest_of(field, &AUDIT_FIELDS)
}

fn nearest_of(field: &str, known: &[&'static str]) -> &'static str {
    known.iter().copied().min_by_key(|known| distance(field, known)).unwrap_or_default()
}

/// The fields of a filter for the quarantine.
pub const HELD_FIELDS: [&str; 3] = ["rule", "sender", "verdict"];
/// The fields of a filter for users.
pub const USER_FIELDS: [&str; 2] = ["role", "state"];
/// The states of models.
const STATES: [State; 4] = [State::Available, State::Quarantined, State::Deprecated, State::Deleted];
/// What inspection can come to.
const VERDICTS: [&str; 4] = ["clean", "suspicious", "unscannable", "malicious"];
/// Longest part of a user's name, characters.
const USER_CHARS_MAX: usize = 64;

/// A query for the quarantine from text such as `asr rule:pickle.* verdict:malicious sender:dave state:blocked`; words are part of the
/// model's name, as they stand.
///
/// # Errors
/// A sentence that names the nearest field, or the verdicts there are.
pub fn held_query(text: &str) -> Result<HeldQuery, String> {
    let mut query = HeldQuery::default();
    let mut words: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        let Some((field, value)) = word.split_once(':') else {
            words.push(word);
            continue;
        };
        if value.is_empty() {
            return Err(format!("{field}: needs a value"));
        }
        let place = match field {
            "state" => {
                query.blocked = match value {
                    "waiting" => false,
                    "blocked" => true,
                    _ => return Err(format!("state:{value}: a state is one of waiting, blocked")),
                };
                continue;
            }
            "rule" => &mut query.rule,
            "sender" => &mut query.sender,
            "verdict" if VERDICTS.contains(&value) => &mut query.verdict,
            "verdict" => return Err(format!("verdict:{value}: a verdict is one of {}", VERDICTS.join(", "))),
            unknown => return Err(format!("no field {unknown}: did you mean {}?", nearest_of(unknown, &HELD_FIELDS))),
        };
        if !place.is_empty() {
            return Err(format!("{field}: is there twice"));
        }
        value.clone_into(place);
    }
    query.q = words.join(" ");
    if query.q.chars().count() > INGEST_CHARS_MAX {
        return Err(format!("at most {INGEST_CHARS_MAX} characters"));
    }
    Ok(query)
}

/// A query for users from text such as `al role:admin state:disabled`; a word is part of the name.
///
/// # Errors
/// A sentence that names the nearest field, or what it may be.
pub fn user_query(text: &str) -> Result<UserQuery, String> {
    let mut query = UserQuery::default();
    for word in text.split_whitespace() {
        match word.split_once(':') {
            None if query.q.is_empty() => word.clone_into(&mut query.q),
            None => return Err("one word: names have no blanks".to_owned()),
            Some(("role", value)) => query.role = Some(value.parse()?),
            Some(("state", "active")) => query.disabled = Some(false),
            Some(("state", "disabled" | "locked") | ("-state", "active")) => query.disabled = Some(true),
            Some(("-state", "disabled" | "locked")) => query.disabled = Some(false),
            Some(("state", value)) => return Err(format!("state:{value}: a state is one of active, disabled")),
            Some((field, _)) => {
                return Err(format!("no field {field}: did you mean {}?", nearest_of(field, &USER_FIELDS)));
            }
        }
    }
    if query.q.chars().count() > USER_CHARS_MAX {
        return Err(format!("at most {USER_CHARS_MAX} characters"));
    }
    Ok(query)
}

/// Longest search text for the drop folder, characters.
const INGEST_CHARS_MAX: usize = 200;

/// A query for the drop folder from text such as `nlp/ state:failed`: words are part of the path, as they stand.
///
/// # Errors
/// A sentence that names the field or the states there are.
pub fn ingest_query(text: &str) -> Result<IngestQuery, String> {
    let mut query = IngestQuery::default();
    let mut words: Vec<&str> = Vec::new();
    let mut left = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once(':') {
            None => words.push(word),
            Some((field @ ("state" | "-state"), value)) => {
                let Some(state) = IngestState::ALL.into_iter().find(|state| state.as_str() == value) else {
                    let known: Vec<&str> = IngestState::ALL.iter().map(|state| state.as_str()).collect();
                    return Err(format!("state:{value}: a state is one of {}", known.join(", ")));
                };
                if field == "-state" {
                    left.push(state);
                } else if !query.states.contains(&state) {
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
    query.q = words.join(" ");
    if query.q.chars().count() > INGEST_CHARS_MAX {
        return Err(format!("at most {INGEST_CHARS_MAX} characters"));
    }
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
        let query = user_query("al role:admin state:disabled").unwrap();
        assert_eq!((query.q.as_str(), query.role, query.disabled), ("al", Some(common::role::Role::Admin), Some(true)));
        for (text, why) in [("verdict:bad", "malicious"), ("rul:x", "did you mean rule?"), ("rule:a rule:b", "twice")] {
            assert!(held_query(text).unwrap_err().contains(why), "{text}");
        }
        for (text, why) in [("a b", "one word"), ("role:king", "not a role"), ("state:x", "active"), ("rol:x", "role?")]
        {
            assert!(user_query(text).unwrap_err().contains(why), "{text}");
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
