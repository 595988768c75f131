//! `/check`: a line for everything a check tells, as it tells it. What is checked is the registry's.

use bytes::Bytes;
use common::api::{CheckLine, CheckRequest, CheckTotal};
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::http::server::raised;
use crate::http::{Answer, Call, body, respond};
use crate::registry::check::{Told, Total};

/// `POST /check`
pub(crate) async fn check(mut call: Call) -> Answer {
    let CheckRequest { blobs, bytes_per_second } = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let told = call.shared.registry.check(&call.caller, blobs, bytes_per_second).await?;
    // A stop doesn't wait for it: the answer ends without a total, which says so.
    let stopping = call.shared.stopping.clone();
    let lines = stream::unfold((told, stopping), |(mut told, mut stopping)| async move {
        let line = tokio::select! {
            told = told.recv() => line(told?),
            () = raised(&mut stopping) => return None,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Some((Ok(Bytes::from(text)), (told, stopping)))
    });
    let mut response = Response::new(respond::stream(lines));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// A line on the wire.
pub(crate) fn line(told: Told) -> CheckLine {
    match told {
        Told::Progress { step, done, of } => CheckLine::Progress { step: step.to_owned(), done, of },
        Told::Failure { place, what } => CheckLine::Failure { place, what },
        Told::Remark(what) => CheckLine::Remark { what },
        Told::Total(Total { checked, blobs, blobs_read, bytes_read, unreferenced, failures }) => {
            CheckLine::Total(CheckTotal {
                entries: checked.size,
                root: checked.root.to_string(),
                keys: checked.keys,
                artifacts: checked.artifacts,
                blobs,
                blobs_read,
                bytes_read,
                unreferenced,
                failures,
            })
        }
    }
}
