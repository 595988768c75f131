//! `/models` and `/models/{id}`, but for uploads, downloads and what lies below: parse, ask the registry, render.
//! What a reference selects and who may see it is the registry's.

pub(crate) mod bulk;
mod parameters;

use common::api::{ModelChanged, ModelPatch, State};
use common::name::Alias;
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::{self, ActorName, Limit, NOT_MAX, Time};
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, changed, respond};
use crate::registry::cursor::Seek;
use crate::registry::fetch::ModelListing;
use crate::store::{Bounds, Feature, ModelSort, ModelUnlike};

/// Longest search text, characters.
const TEXT_CHARS_MAX: usize = 200;
/// Longest name of a format, characters.
const FORMAT_CHARS_MAX: usize = 64;
/// Longest name of an element type, characters.
const DTYPE_CHARS_MAX: usize = 64;
/// Element types that can be asked for at once.
const DTYPES_MAX: usize = 16;
/// Tags that can be asked for at once.
const TAGS_MAX: usize = 16;

#[derive(Deserialize)]
struct Listing {
    q: Option<String>,
    #[serde(default)]
    tag: Vec<String>,
    state: Option<State>,
    format: Option<String>,
    #[serde(default)]
    params: Vec<String>,
    #[serde(default)]
    dtype: Vec<String>,
    verdict: Option<Verdict>,
    alias: Option<Alias>,
    uploader: Option<ActorName>,
    since: Option<Time>,
    #[serde(default)]
    not: Vec<String>,
    rule: Option<String>,
    license: Option<String>,
    #[serde(default)]
    sort: Sort,
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

#[derive(Deserialize, Default)]
enum Sort {
    #[default]
    #[serde(rename = "name")]
    NameUp,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "updated_at")]
    UpdatedUp,
    #[serde(rename = "-updated_at")]
    UpdatedDown,
    #[serde(rename = "created_at")]
    CreatedUp,
    #[serde(rename = "-created_at")]
    CreatedDown,
}

impl From<Sort> for ModelSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::NameUp => Self::NameUp,
            Sort::NameDown => Self::NameDown,
            Sort::UpdatedUp => Self::UpdatedUp,
            Sort::UpdatedDown => Self::UpdatedDown,
            Sort::CreatedUp => Self::CreatedUp,
            Sort::CreatedDown => Self::CreatedDown,
        }
    }
}

/// `GET /models`
pub(crate) async fn list(call: &Call) -> Answer {
    let asked = parameters::spelled_out(call.head.uri.query().unwrap_or_default());
    let listing = listing(body::query_text(&asked)?)?;
    let done = call.shared.registry.list_models(&call.caller, listing).await?;
    Ok(respond::logged(respond::page(&call.head.uri, &done.value), done.logged.as_ref()))
}

/// From query to question; all mistakes at once.
fn listing(query: Listing) -> Result<ModelListing, Refused> {
    let mut errors = Vec::new();
    let mut refuse = |loc: &str, msg: String| errors.push((loc.to_owned(), msg));
    if query.q.as_ref().is_some_and(|text| !(1..=TEXT_CHARS_MAX).contains(&text.chars().count())) {
        refuse("query.q", format!("has not 1 to {TEXT_CHARS_MAX} characters"));
    }
    if query.format.as_ref().is_some_and(|format| !is_format(format)) {
        let accepted = "lower-case letters, digits and `._+-`";
        refuse("query.format", format!("is not the name of a format: {accepted}, at most {FORMAT_CHARS_MAX}"));
    }
    if query.tag.len() > TAGS_MAX {
        refuse("query.tag", format!("comes more than {TAGS_MAX} times"));
    }
    let mut tags = Vec::new();
    for tag in query.tag {
        match tag.split_once(':') {
            Some((key, value)) if is_tag_key(key) => tags.push((key.to_owned(), value.to_owned())),
            Some(_) | None => refuse("query.tag", "is not `key:value`".to_owned()),
        }
    }
    if query.dtype.len() > DTYPES_MAX {
        refuse("query.dtype", format!("comes more than {DTYPES_MAX} times"));
    }
    if query.dtype.iter().any(|dtype| !is_dtype(dtype)) {
        refuse("query.dtype", "is not the name of an element type, such as `BF16`".to_owned());
    }
    let mut parameters = Bounds::default();
    for text in &query.params {
        match parameters::bounds(text) {
            Some(bounds) => parameters = parameters.and(bounds),
            None => refuse("query.params", parameters::ACCEPTED.to_owned()),
        }
    }
    if query.not.len() > NOT_MAX {
        refuse("query.not", format!("comes more than {NOT_MAX} times"));
    }
    let mut not = Vec::new();
    for text in &query.not {
        match unlike(text) {
            Ok(unlike) => not.push(unlike),
            Err(why) => refuse("query.not", why),
        }
    }
    let mut features = Vec::new();
    if let Some(text) = &query.rule {
        match Feature::rule(text) {
            Some(rule) => features.push(rule),
            None => refuse("query.rule", "is not the id of a rule, such as `pickle.call` or `pickle.*`".to_owned()),
        }
    }
    if let Some(text) = &query.license {
        match Feature::licence(text) {
            Some(licence) => features.push(licence),
            None => {
                refuse("query.license", format!("is not the name of a licence: 1 to {} octets", Feature::OCTETS_MAX))
            }
        }
    }
    if !errors.is_empty() {
        return Err(Refused::invalid(errors));
    }
    let seek = Seek::of(query.cursor, query.before)?;
    Ok(ModelListing {
        q: query.q,
        tags,
        state: query.state,
        format: query.format,
        parameters: (!query.params.is_empty()).then_some(parameters),
        dtypes: query.dtype,
        verdict: query.verdict.map(|verdict| verdict.as_str().to_owned()),
        alias: query.alias,
        uploader: query.uploader.map(|name| name.0),
        since_ms: query.since.map(|time| time.0),
        not,
        features,
        sort: query.sort.into(),
        limit: query.limit.0,
        seek,
    })
}

/// Whether a tag may have such a key: none has control characters.
fn is_tag_key(key: &str) -> bool {
    !key.is_empty() && !key.chars().any(char::is_control)
}

/// What models must not be, such as `tag:lang:de`.
fn unlike(text: &str) -> Result<ModelUnlike, String> {
    let Some((field, value)) = text.split_once(':').filter(|(_, value)| !value.is_empty()) else {
        return Err("is not `field:value`".to_owned());
    };
    let one_of = |what: &str| format!("names a {what} that there is not");
    match field {
        "tag" => match value.split_once(':') {
            Some((key, value)) if is_tag_key(key) => Ok(ModelUnlike::Tag(key.to_owned(), value.to_owned())),
            Some(_) | None => Err("names a tag that is not `key:value`".to_owned()),
        },
        "state" => {
            let states = [State::Available, State::Quarantined, State::Deprecated, State::Deleted];
            let state = states.into_iter().find(|state| state.as_str() == value);
            state.map(ModelUnlike::State).ok_or_else(|| one_of("state"))
        }
        "verdict" => {
            let all = [Verdict::Clean, Verdict::Suspicious, Verdict::Unscannable, Verdict::Malicious];
            let verdict = all.into_iter().find(|verdict| verdict.as_str() == value);
            verdict.map(|verdict| ModelUnlike::Verdict(verdict.as_str().to_owned())).ok_or_else(|| one_of("verdict"))
        }
        "format" if is_format(value) => Ok(ModelUnlike::Format(value.to_owned())),
        "format" => Err("names something that is no format".to_owned()),
        "alias" => value.parse().map(ModelUnlike::Alias).map_err(|why| format!("names no alias: {why}")),
        "uploader" => match value.parse::<ActorName>() {
            Ok(name) => Ok(ModelUnlike::Uploader(name.0)),
            Err(why) => Err(format!("names no user: {why}")),
        },
        _ => Err("names a field that is not `tag`, `state`, `verdict`, `format`, `alias` or `uploader`".to_owned()),
    }
}

fn is_format(text: &str) -> bool {
    (1..=FORMAT_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|octet| {
            octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'_' | b'+' | b'-')
        })
}

fn is_dtype(text: &str) -> bool {
    (1..=DTYPE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.'))
}

#[derive(Deserialize)]
struct Showing {
    as_of: Option<Time>,
}

/// `GET /models/{id}`
pub(crate) async fn show(call: &Call, model: &str) -> Answer {
    let Showing { as_of } = body::query(call)?;
    let (registry, model) = (&call.shared.registry, params::model(model)?);
    let Some(as_of) = as_of else {
        let done = registry.model_written(&call.caller, &model, respond::json_octets).await?;
        let response = respond::json_text(StatusCode::OK, done.value.octets.clone());
        // What the reference selects is part of what is shown, and moves with aliases: they are changes of the model too.
        let response = respond::tagged(&call.head, response, respond::etag(done.value.revision));
        return Ok(respond::logged(response, done.logged.as_ref()));
    };
    // With an entry of the log there is no entity tag: the log says that it was read, so it must leave.
    let done = registry.model(&call.caller, &model, Some(as_of.0)).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value.value), done.logged.as_ref()))
}

/// `PATCH /models/{id}`
pub(crate) async fn patch(mut call: Call, model: &str) -> Answer {
    let model = params::model(model)?;
    let patch: ModelPatch = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done = call.shared.registry.patch_model(&call.caller, &model, patch).await?;
    changed::tagged(StatusCode::OK, done, |model, receipt| ModelChanged { model, receipt })
}

/// Parameters of a deletion.
#[derive(Deserialize)]
pub(crate) struct Deletion {
    #[serde(default)]
    purge: bool,
    reason: Option<String>,
}

impl Deletion {
    /// The reason, where it is for good.
    pub(crate) fn purge_reason(self) -> Result<Option<String>, Refused> {
        let refuse = |msg: &str| Err(Refused::invalid(vec![("query.reason".into(), msg.into())]));
        match self {
            Self { purge: true, reason: Some(reason) } => Ok(Some(reason)),
            Self { purge: true, reason: None } => refuse("is missing: say why it is deleted for good"),
            Self { purge: false, reason: Some(_) } => refuse("is kept only with `purge=true`"),
            Self { purge: false, reason: None } => Ok(None),
        }
    }
}

/// `DELETE /models/{id}`
pub(crate) async fn delete(call: &Call, model: &str) -> Answer {
    let model = params::model(model)?;
    let registry = &call.shared.registry;
    changed::gone(match body::query::<Deletion>(call)?.purge_reason()? {
        Some(reason) => registry.purge_model(&call.caller, &model, &reason).await?,
        None => registry.delete_model(&call.caller, &model).await?,
    })
}

/// `POST /models/{id}/restore`
pub(crate) async fn restore(call: &Call, model: &str) -> Answer {
    let done = call.shared.registry.restore_model(&call.caller, &params::model(model)?).await?;
    changed::tagged(StatusCode::OK, done, |model, receipt| ModelChanged { model, receipt })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{Deletion, is_format};

    #[test]
    fn a_purge_needs_a_reason_and_only_a_purge() {
        let reason = |purge, reason: Option<&str>| Deletion { purge, reason: reason.map(str::to_owned) }.purge_reason();
        assert_eq!(reason(true, Some("leaked")).unwrap().as_deref(), Some("leaked"));
        assert_eq!(reason(false, None).unwrap(), None);
        assert!(reason(true, None).is_err() && reason(false, Some("x")).is_err());
    }

    #[test]
    fn formats() {
        assert!(is_format("safetensors") && is_format("tar+gz"));
        assert!(!is_format("") && !is_format("Pickle") && !is_format(&"x".repeat(65)));
    }
}
