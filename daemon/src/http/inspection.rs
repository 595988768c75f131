//! `GET /quarantine`, `GET /scan/rules`, and what lies below a version for those who review it: parse, ask the registry,
//! render. What a verdict is worth is not known here.

use common::api::{NewNote, NoteAdded};
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::{self, ActorName, Limit, NOT_MAX};
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::cursor::Seek;
use crate::registry::review::{HeldListing, HeldUnlike};

/// Longest search text, characters.
const TEXT_CHARS_MAX: usize = 200;
/// Longest id of a rule, octets.
const RULE_LEN_MAX: usize = 64;
/// Longest place of a finding, octets.
const PLACE_LEN_MAX: usize = 4096;

/// What `GET /quarantine` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    blocked: bool,
    q: Option<String>,
    rule: Option<String>,
    verdict: Option<Verdict>,
    sender: Option<ActorName>,
    #[serde(default)]
    not: Vec<String>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Clean,
    Suspicious,
    Unscannable,
    Malicious,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Unscannable => "unscannable",
            Self::Malicious => "malicious",
        }
    }
}

fn is_rule(text: &str) -> bool {
    let name = text.strip_suffix(".*").unwrap_or(text);
    let fits = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'_' | b'-');
    (1..=RULE_LEN_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// What something that is held must not be, such as `verdict:suspicious`.
fn unlike(text: &str) -> Result<HeldUnlike, &'static str> {
    let verdicts = [Verdict::Clean, Verdict::Suspicious, Verdict::Unscannable, Verdict::Malicious];
    match text.split_once(':').ok_or("is not `field:value`")? {
        ("rule", rule) if is_rule(rule) => Ok(HeldUnlike::Rule(rule.to_owned())),
        ("rule", _) => Err("names something that is no rule"),
        ("verdict", verdict) if verdicts.iter().any(|known| known.as_str() == verdict) => {
            Ok(HeldUnlike::Verdict(verdict.to_owned()))
        }
        ("verdict", _) => Err("names a verdict that there is not"),
        ("sender", name) => match name.parse::<ActorName>() {
            Ok(name) => Ok(HeldUnlike::Sender(name.0)),
            Err(_) => Err("names no user"),
        },
        _ => Err("names a field that is not `rule`, `verdict` or `sender`"),
    }
}

/// `GET /quarantine`
pub(crate) async fn quarantine(call: &Call) -> Answer {
    let Query { blocked, q, rule, verdict, sender, not, limit, cursor, before } = body::query(call)?;
    let mut errors = Vec::new();
    if q.as_ref().is_some_and(|text| !(1..=TEXT_CHARS_MAX).contains(&text.chars().count())) {
        errors.push(("query.q".to_owned(), format!("has not 1 to {TEXT_CHARS_MAX} characters")));
    }
    if rule.as_deref().is_some_and(|rule| !is_rule(rule)) {
        errors
            .push(("query.rule".to_owned(), "is not the id of a rule, such as `pickle.call` or `pickle.*`".to_owned()));
    }
    if not.len() > NOT_MAX {
        errors.push(("query.not".to_owned(), format!("comes more than {NOT_MAX} times")));
    }
    let mut unlikes = Vec::new();
    for text in &not {
        match unlike(text) {
            Ok(unlike) => unlikes.push(unlike),
            Err(why) => errors.push(("query.not".to_owned(), why.to_owned())),
        }
    }
    if !errors.is_empty() {
        return Err(Refused::invalid(errors));
    }
    let listing = HeldListing {
        blocked,
        q,
        rule,
        verdict: verdict.map(|verdict| verdict.as_str().to_owned()),
        sender: sender.map(|name| name.0),
        not: unlikes,
        limit: limit.0,
        seek: Seek::of(cursor, before)?,
    };
    let done = call.shared.registry.quarantined(&call.caller, listing).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// `GET /scan/rules`
pub(crate) async fn rules(call: &Call) -> Answer {
    Ok(respond::json(StatusCode::OK, &call.shared.registry.scan_rules(&call.caller)?))
}

/// `GET /models/{id}/versions/{v}/review`
pub(crate) async fn review(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let done = call.shared.registry.review(&call.caller, &model, version).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /models/{id}/versions/{v}/notes`
pub(crate) async fn add_note(mut call: Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let NewNote { text } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.add_note(&call.caller, &model, version, &text).await?;
    changed::plain(StatusCode::CREATED, done, |note, receipt| NoteAdded { note, receipt })
}

/// What `GET /models/{id}/versions/{v}/excerpt` takes.
#[derive(Deserialize)]
struct Place {
    #[serde(rename = "where")]
    place: String,
}

/// `GET /models/{id}/versions/{v}/excerpt`
pub(crate) async fn excerpt(call: &Call, model: &str, version: &str) -> Answer {
    let (model, version) = (params::model(model)?, params::version(version)?);
    let Place { place } = body::query(call)?;
    if place.len() > PLACE_LEN_MAX {
        let problem = format!("has more than {PLACE_LEN_MAX} octets");
        return Err(Refused::invalid(vec![("query.where".to_owned(), problem)]));
    }
    let done = call.shared.registry.excerpt(&call.caller, &model, version, &place).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}
