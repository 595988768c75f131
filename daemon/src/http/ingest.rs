//! `/ingest…`: parse, ask the drop folder, render. Where no folder is set the list is empty, and nothing else is there.
//! What an item is, and what may be done about it, is not known here.

use common::api::{IngestChanged, IngestPage, IngestResume, IngestState, IntakeChanged, Reason};
use http::StatusCode;
use serde::Deserialize;

use crate::http::params::{self, Limit};
use crate::http::problem::Refused;
use crate::http::{Answer, Call, body, respond};
use crate::ingest::queue::{Handle, ItemQuery, ItemSort};
use crate::registry::cursor::Seek;
use crate::registry::error::{Done, RegistryError};

/// Longest search text, characters.
const TEXT_CHARS_MAX: usize = 200;

/// What `GET /ingest` takes.
#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    state: Vec<IngestState>,
    q: Option<String>,
    #[serde(default)]
    sort: Sort,
    #[serde(default)]
    limit: Limit,
    cursor: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize, Default, Clone, Copy)]
enum Sort {
    #[default]
    #[serde(rename = "work")]
    WorkUp,
    #[serde(rename = "-work")]
    WorkDown,
    #[serde(rename = "path")]
    PathUp,
    #[serde(rename = "-path")]
    PathDown,
    #[serde(rename = "state_since")]
    SinceUp,
    #[serde(rename = "-state_since")]
    SinceDown,
}

impl Sort {
    fn meant(self) -> (ItemSort, bool) {
        match self {
            Self::WorkUp => (ItemSort::Work, false),
            Self::WorkDown => (ItemSort::Work, true),
            Self::PathUp => (ItemSort::Path, false),
            Self::PathDown => (ItemSort::Path, true),
            Self::SinceUp => (ItemSort::StateSince, false),
            Self::SinceDown => (ItemSort::StateSince, true),
        }
    }
}

/// `GET /ingest`
pub(crate) async fn list(call: &Call) -> Answer {
    let Query { state: states, q: text, sort, limit, cursor, before } = body::query(call)?;
    if text.as_ref().is_some_and(|text| !(1..=TEXT_CHARS_MAX).contains(&text.chars().count())) {
        let problem = format!("has not 1 to {TEXT_CHARS_MAX} characters");
        return Err(Refused::invalid(vec![("query.q".to_owned(), problem)]));
    }
    let seek = Seek::of(cursor, before)?;
    let (sort, down) = sort.meant();
    let query = ItemQuery { states, text, sort, down, seek, limit: limit.0 };
    let page = match &call.shared.ingest {
        Some(folder) => folder.items(&call.caller, &query)?,
        None => {
            call.shared.registry.may_see_ingest(&call.caller)?;
            IngestPage { items: Vec::new(), total: Some(0), next_cursor: None, prev_cursor: None, intake: None }
        }
    };
    let response = respond::json(StatusCode::OK, &page);
    Ok(respond::linked(&call.head.uri, response, page.next_cursor.as_deref()))
}

/// `GET /ingest/{item}`
pub(crate) async fn show(call: &Call, item: &str) -> Answer {
    Ok(respond::json(StatusCode::OK, &folder(call)?.item(&call.caller, params::item(item)?)?))
}

/// `POST /ingest/{item}/retry`
pub(crate) async fn retry(call: &Call, item: &str) -> Answer {
    let done: Done<IngestChanged> = folder(call)?.retry(&call.caller, params::item(item)?).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /ingest/{item}/discard`
pub(crate) async fn discard(mut call: Call, item: &str) -> Answer {
    let (folder, id) = (folder(&call)?.clone(), params::item(item)?);
    let Reason { reason } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let done: Done<IngestChanged> = folder.discard(&call.caller, id, &reason).await?;
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// `POST /ingest/pause`
pub(crate) async fn pause(mut call: Call) -> Answer {
    let folder = folder(&call)?.clone();
    let Reason { reason } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    told(folder.pause(&call.caller, true, &reason).await?)
}

/// `POST /ingest/resume`
pub(crate) async fn resume(mut call: Call) -> Answer {
    let folder = folder(&call)?.clone();
    let IngestResume { reason } = body::json_or_default(&mut call, body::JSON_BYTES_MAX).await?;
    told(folder.pause(&call.caller, false, reason.as_deref().unwrap_or_default()).await?)
}

fn told(done: Done<IntakeChanged>) -> Answer {
    Ok(respond::logged(respond::json(StatusCode::OK, &done.value), done.logged.as_ref()))
}

/// The drop folder. Who may not see it was refused before.
fn folder(call: &Call) -> Result<&Handle, RegistryError> {
    let none = || RegistryError::not_found("drop folder, because MREG_DROP_DIR is not set");
    call.shared.ingest.as_ref().ok_or_else(none)
}
