//! Answers to changes: the thing as it is now, its entity tag, its receipt, its place.
//! What the thing is, its resource's file knows.

use common::api::Deleted;
use common::audit::Receipt;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::clock;
use crate::http::{Answer, Body, respond};
use crate::registry::delete::Gone;
use crate::registry::error::{Done, RegistryError};
use crate::registry::fetch::Tagged;

/// The answer to a change of something that has an entity tag.
pub(crate) fn tagged<T, W: Serialize>(
    status: StatusCode,
    done: Done<Tagged<T>>,
    wire: impl FnOnce(T, Receipt) -> W,
) -> Answer {
    let etag = respond::etag(done.value.revision);
    let mut response = plain(status, done.map(|tagged| tagged.value), wire)?;
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// The answer to a change.
pub(crate) fn plain<T, W: Serialize>(status: StatusCode, done: Done<T>, wire: impl FnOnce(T, Receipt) -> W) -> Answer {
    let receipt = done.receipt.ok_or_else(|| RegistryError::internal("a change came without its receipt"))?;
    let response = respond::json(status, &wire(done.value, receipt));
    Ok(respond::logged(response, done.logged.as_ref()))
}

/// The answer to a deletion.
pub(crate) fn gone(done: Done<Gone>) -> Answer {
    plain(StatusCode::OK, done, |Gone { id, version, purged, restorable_until_ms }, receipt| Deleted {
        id,
        version,
        status: if purged { "purged" } else { "deleted" }.to_owned(),
        restorable_until: restorable_until_ms.map(clock::rfc3339),
        receipt,
    })
}

/// Says where the thing is. Names are of letters, digits and `._-`, ids too: nothing needs escaping.
pub(crate) fn location(response: &mut Response<Body>, path: &str) {
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}
