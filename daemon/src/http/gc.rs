//! `/gc`: a line for everything a collection tells, as it tells it. What is collected is the registry's.

use bytes::Bytes;
use common::api::gc::GcRequest;
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::http::server::raised;
use crate::http::{Answer, Call, body, respond};

/// `POST /gc`
pub(crate) async fn collect(mut call: Call) -> Answer {
    let request: GcRequest = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let told = call.shared.registry.collect(&call.caller, request).await?;
    // A stop doesn't wait for it: the answer ends without a total, which says so.
    let stopping = call.shared.stopping.clone();
    let lines = stream::unfold((told, stopping), |(mut told, mut stopping)| async move {
        let line = tokio::select! {
            told = told.recv() => told?,
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
