//! `/audit-logs…`: pages as JSON, exports as newline-delimited JSON or CSV, streamed page by page; single entries; the entry
//! of a time; what people say about alarms; the live tail in `tail`.
//! What an entry says and who may read it is the registry's.

mod csv;
pub(crate) mod tail;

use std::io;

use bytes::Bytes;
use common::api::{AcknowledgeAlarm, AlarmAcknowledged, AuditEntry, AuditRow};
use common::audit::Outcome;
use futures_util::{Stream, stream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde::Deserialize;

use crate::http::params::{self, Limit, Time};
use crate::http::problem::{Protocol, Refused};
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::audit::{AuditQuery, EntryWithReceipt, Export};
use crate::store::EntryUnlike;

/// Longest value of a filter, octets.
const FILTER_OCTETS_MAX: usize = 512;

#[derive(Deserialize)]
struct Reading {
    after: Option<u64>,
    before: Option<u64>,
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    outcome: Option<String>,
    ip: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
    #[serde(default)]
    not: Vec<String>,
    format: Option<Format>,
    limit: Option<Limit>,
    cursor: Option<String>,
}

/// The forms an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Ndjson,
    Csv,
}

impl Format {
    /// In the order of our preference.
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The media type without parameters.
    fn essence(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }
}

/// `GET /audit-logs`
pub(crate) async fn list(call: &Call) -> Answer {
    let Reading { after, before, actor, action, target, outcome, ip, since, until, not, format, limit, cursor } =
        body::query(call)?;
    let outcome = outcome
        .map(|word| Outcome::parse(&word).ok_or_else(|| invalid("outcome", "is not `ok`, `denied` or `error`")))
        .transpose()?;
    for (name, value) in [("actor", &actor), ("action", &action), ("target", &target), ("ip", &ip)] {
        if value.as_ref().is_some_and(|value| !(1..=FILTER_OCTETS_MAX).contains(&value.len())) {
            return Err(invalid(name, &format!("has not 1 to {FILTER_OCTETS_MAX} octets")));
        }
    }
    if action.as_deref().is_some_and(|action| !is_action_filter(action)) {
        return Err(invalid("action", "is not an action such as `model.upload`, nor `model.*` for all that begin so"));
    }
    if not.len() > params::NOT_MAX {
        return Err(invalid("not", &format!("comes more than {} times", params::NOT_MAX)));
    }
    let not = not.iter().map(|text| unlike(text)).collect::<Result<Vec<EntryUnlike>, Refused>>()?;
    let format = match format {
        Some(format) => format,
        None => accepted(&call.head.headers).ok_or_else(|| {
            Protocol::NotAcceptable("there are application/json, application/x-ndjson, text/csv".into())
        })?,
    };
    let query = AuditQuery {
        after,
        before,
        actor,
        action,
        target,
        outcome,
        ip,
        since_ms: since.map(|time| time.0),
        until_ms: until.map(|time| time.0),
        not,
    };
    let registry = &call.shared.registry;
    if format == Format::Json {
        let limit = limit.unwrap_or_default().0;
        let done = registry.audit_page(&call.caller, query, limit, cursor.as_deref()).await?;
        return Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()));
    }
    if cursor.is_some() {
        return Err(invalid("cursor", "is for pages of `format=json`; an export has no pages"));
    }
    let done = registry.audit_export(&call.caller, query).await?;
    let rows = limit.map_or(usize::MAX, |limit| limit.0);
    let body = match format {
        Format::Csv => respond::stream(export(done.value, rows, csv::head(), csv::push_row)),
        Format::Json | Format::Ndjson => respond::stream(export(done.value, rows, String::new(), push_line)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// `GET /audit-logs/{index}`
pub(crate) async fn show(call: &Call, index: &str) -> Answer {
    let done = call.shared.registry.audit_entry(&call.caller, params::index(index)?).await?;
    let EntryWithReceipt { row, receipt } = done.value;
    // No entity tag: the log says that the entry was read, so it must leave.
    Ok(respond::logged(respond::json(StatusCode::OK, &AuditEntry { row, receipt }), done.logged.as_ref()))
}

#[derive(Deserialize)]
struct Locating {
    time: Time,
}

/// `GET /audit-logs/position`
pub(crate) async fn locate(call: &Call) -> Answer {
    let Locating { time } = body::query(call)?;
    let position = call.shared.registry.audit_position(&call.caller, time.0).await?;
    Ok(respond::json(StatusCode::OK, &position))
}

/// `POST /audit-logs/acknowledge`
pub(crate) async fn acknowledge(mut call: Call) -> Answer {
    let alarm: AcknowledgeAlarm = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.acknowledge_alarm(&call.caller, alarm).await?;
    changed::plain(StatusCode::OK, done, |(), receipt| AlarmAcknowledged { receipt })
}

fn invalid(name: &str, msg: &str) -> Refused {
    Refused::invalid(vec![(format!("query.{name}"), msg.to_owned())])
}

/// What entries must not be, such as `actor:eve`.
fn unlike(text: &str) -> Result<EntryUnlike, Refused> {
    let refused = |why: &str| Err(invalid("not", why));
    let Some((field, value)) = text.split_once(':').filter(|(_, value)| !value.is_empty()) else {
        return refused("is not `field:value`");
    };
    if value.len() > FILTER_OCTETS_MAX {
        return refused(&format!("has a value of more than {FILTER_OCTETS_MAX} octets"));
    }
    let value = value.to_owned();
    match field {
        "actor" => Ok(EntryUnlike::Actor(value)),
        "action" if is_action_filter(&value) => Ok(EntryUnlike::Action(value)),
        "action" => refused("names no action such as `model.upload`, nor `model.*` for all that begin so"),
        "target" => Ok(EntryUnlike::Target(value)),
        "outcome" => match Outcome::parse(&value) {
            Some(outcome) => Ok(EntryUnlike::Outcome(outcome)),
            None => refused("names an outcome that is not `ok`, `denied` or `error`"),
        },
        "ip" => Ok(EntryUnlike::Ip(value)),
        _ => refused("names a field that is not `actor`, `action`, `target`, `outcome` or `ip`"),
    }
}

/// `a`, `a.b` …, with or without a last `.*`.
fn is_action_filter(text: &str) -> bool {
    let words = text.strip_suffix(".*").unwrap_or(text);
    words.split('.').all(|word| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
    })
}

/// At most so many rows of an export as text, a page at a time; an error cuts the answer.
fn export(
    export: Export,
    rows_max: usize,
    head: String,
    push: fn(&mut String, &AuditRow),
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((export, rows_max, Some(head)), move |(mut export, rows_left, head)| async move {
        if let Some(head) = head.filter(|head| !head.is_empty()) {
            return Ok(Some((Bytes::from(head), (export, rows_left, None))));
        }
        if rows_left == 0 {
            return Ok(None);
        }
        let Some(rows) = export.next().await.map_err(io::Error::other)? else { return Ok(None) };
        let mut text = String::new();
        for row in rows.iter().take(rows_left) {
            push(&mut text, row);
        }
        Ok(Some((Bytes::from(text), (export, rows_left.saturating_sub(rows.len()), None))))
    })
}

fn push_line(text: &mut String, row: &AuditRow) {
    text.push_str(&serde_json::to_string(row).expect("a row is plain JSON"));
    text.push('\n');
}

/// The format that `Accept` prefers; ours where it doesn't say; none where it wants none of them.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    preferred(headers, &Format::ALL.map(Format::essence)).map(|at| Format::ALL[at])
}

/// Which of these media types `Accept` prefers (RFC 9110 §12.5.1): the first where it doesn't say, none where it wants
/// none of them.
fn preferred(headers: &HeaderMap, essences: &[&str]) -> Option<usize> {
    let ranges: Vec<(String, u16)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(media_range)
        .collect();
    if ranges.is_empty() {
        return Some(0);
    }
    let mut best = None;
    for (at, essence) in essences.iter().enumerate() {
        let whole_type = format!("{}/*", essence.split('/').next().unwrap_or_default());
        let weight = [*essence, &whole_type, "*/*"]
            .iter()
            .find_map(|range| ranges.iter().find(|(name, _)| name == range))
            .map_or(0, |(_, weight)| *weight);
        if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((at, weight));
        }
    }
    best.map(|(at, _)| at)
}

/// A media range and its weight, 0 to 1000.
fn media_range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| name.contains('/'))?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((name, weight.map_or(1000, thousandths)))
}

/// `0`, `0.5`, `1.000`: a weight by RFC 9110 §12.4.2, in thousandths. What is malformed weighs nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let digits_ok = digits.len() <= 3 && digits.bytes().all(|octet| octet.is_ascii_digit());
    match whole {
        "1" if digits_ok => 1000,
        "0" if digits_ok => format!("{digits:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderMap, HeaderValue};

    use super::{Format, accepted, is_action_filter};

    #[test]
    fn formats_by_accept() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            accepted(&headers)
        };
        assert_eq!(accepted(&HeaderMap::new()), Some(Format::Json));
        for (value, wanted) in [
            ("*/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("TEXT/CSV;q=0.1", Some(Format::Csv)),
            ("application/x-ndjson, application/json;q=0.9", Some(Format::Ndjson)),
            ("application/*;q=0.5, text/csv;q=0.4", Some(Format::Json)),
            ("application/json;q=0, */*;q=0.1", Some(Format::Ndjson)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=2", None),
            ("nonsense", Some(Format::Json)),
        ] {
            assert_eq!(with(value), wanted, "{value}");
        }
    }

    #[test]
    fn action_filters() {
        for good in ["model.upload", "model.*", "log.key_rotate", "model"] {
            assert!(is_action_filter(good), "{good}");
        }
        for bad in ["", "*", ".*", "model.", "Model.upload", "model.*.x", "model*"] {
            assert!(!is_action_filter(bad), "{bad}");
        }
    }
}
