//! `DELETE /models` and `POST /models:restore`: all models that match, a line each. Which match is said as for a list.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::api::bulk::{BulkDone, BulkFailed, BulkLine, BulkTotal};
use http::Response;
use http::header::{self, HeaderValue};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::{listing, parameters};
use crate::clock;
use crate::http::body::percent_decode;
use crate::http::problem::Refused;
use crate::http::server::raised;
use crate::http::{Answer, Body, Call, body, respond};
use crate::problem::kind_of;
use crate::registry::bulk::{BulkDeed, BulkRequest, BulkStep, Expected};

/// Parameters that are not about which models. Those of pages are among them to be refused: it is about all that match.
const NOT_OF_THE_LIST: [&str; 6] = ["expected", "set", "dry_run", "limit", "cursor", "before"];
/// After so long without a line an empty one says that it goes on.
const PULSE: Duration = Duration::from_secs(3);
/// Hexadecimal digits of a SHA-256.
const SET_DIGITS: usize = 64;

#[derive(Deserialize)]
struct Terms {
    expected: Option<u64>,
    set: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

impl Terms {
    /// Which they must be; none where only that is asked for.
    fn expected(self) -> Result<Option<Expected>, Refused> {
        let refuse = |name: &str, msg: &str| Err(Refused::invalid(vec![(format!("query.{name}"), msg.into())]));
        let is_digits = |set: &String| set.len() == SET_DIGITS && set.bytes().all(|octet| octet.is_ascii_hexdigit());
        if self.set.as_ref().is_some_and(|set| !is_digits(set)) {
            return refuse("set", "is not the `set` of an earlier answer: 64 hexadecimal digits");
        }
        match self {
            Self { dry_run: false, expected: Some(count), set } => Ok(Some(Expected { count, set })),
            Self { dry_run: true, expected: None, set: None } => Ok(None),
            Self { dry_run: false, expected: None, .. } => refuse(
                "expected",
                "is missing: say how many models you mean; with `dry_run=true` it is told how many match",
            ),
            Self { dry_run: true, expected: Some(_), .. } => refuse("expected", "is of no use with `dry_run=true`"),
            Self { dry_run: true, .. } => refuse("set", "is of no use with `dry_run=true`"),
        }
    }
}

/// `DELETE /models`
pub(crate) async fn delete(call: &Call) -> Answer {
    change(call, BulkDeed::Delete).await
}

/// `POST /models:restore`
pub(crate) async fn restore(call: &Call) -> Answer {
    change(call, BulkDeed::Restore).await
}

async fn change(call: &Call, deed: BulkDeed) -> Answer {
    let (terms, of_list) = parted(call.head.uri.query().unwrap_or_default());
    let expected = body::query_text::<Terms>(&terms)?.expected()?;
    let listing = listing(body::query_text(&parameters::spelled_out(&of_list))?)?;
    let told = call.shared.registry.change_models(&call.caller, BulkRequest { deed, listing, expected }).await?;
    Ok(lines(told, call.shared.stopping.clone()))
}

/// A line for each, as it is done, and an empty one where that takes long: silence is for a connection that broke. A stop of the
/// daemon doesn't wait for the end; the total is missing then.
fn lines(told: mpsc::Receiver<BulkStep>, stopping: watch::Receiver<bool>) -> Response<Body> {
    let lines = futures_util::stream::unfold((told, stopping), |(mut told, mut stopping)| async move {
        let mut text = tokio::select! {
            step = told.recv() => serde_json::to_vec(&line(step?)).unwrap_or_default(),
            () = tokio::time::sleep(PULSE) => Vec::new(),
            () = raised(&mut stopping) => return None,
        };
        text.push(b'\n');
        Some((Ok::<_, io::Error>(Bytes::from(text)), (told, stopping)))
    });
    let mut response = Response::new(respond::stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// A query in two: what is not about which models, and the rest.
fn parted(query: &str) -> (String, String) {
    let is_of_terms = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        percent_decode(name, true).is_some_and(|name| NOT_OF_THE_LIST.contains(&name.as_str()))
    };
    let (terms, of_list): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_of_terms);
    (terms.join("&"), of_list.join("&"))
}

fn line(step: BulkStep) -> BulkLine {
    match step {
        BulkStep::Model { id, name, result: Ok((log_index, until_ms)) } => BulkLine::Done(BulkDone {
            id: id.to_string(),
            name: name.to_string(),
            log_index,
            restorable_until: until_ms.map(clock::rfc3339),
        }),
        BulkStep::Model { id, name, result: Err(error) } => BulkLine::Failed(BulkFailed {
            id: id.to_string(),
            name: name.to_string(),
            kind: kind_of(&error).uri(),
            detail: error.to_string(),
        }),
        BulkStep::Total { matched, done, failed, set } => BulkLine::Total(BulkTotal { matched, done, failed, set }),
    }
}

#[cfg(test)]
mod tests {
    use super::parted;

    #[test]
    fn what_is_not_about_which_models_is_told_apart() {
        let of = |query| parted(query);
        assert_eq!(of("q=a&expected=3&tag=x:y"), ("expected=3".to_owned(), "q=a&tag=x:y".to_owned()));
        assert_eq!(of("%65xpected=3&limit=1"), ("%65xpected=3&limit=1".to_owned(), String::new()));
        assert_eq!(of("q=expected"), (String::new(), "q=expected".to_owned()));
    }
}
