//! Building answers: bodies, JSON, entity tags, the headers of an audited answer. Knows representation; refuses to know
//! resources. Headers that every answer has (request id, caching, sniffing) are `http/server.rs`'s.

use std::io;

use bytes::Bytes;
use common::api::Page;
use futures_util::{Stream, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::http::Body;
use crate::http::server::raised;
use crate::registry::error::Logged;

/// Index of the audit entry of the answer (audit-log.md §5).
pub const LOG_INDEX: HeaderName = HeaderName::from_static("mregd-log-index");
/// Leaf hash of the audit entry of the answer, standard base64.
pub const LOG_LEAF: HeaderName = HeaderName::from_static("mregd-log-leaf");

/// What must be escaped in a query's value inside a `Link` header.
const QUERY_VALUE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'=').add(b'>').add(b'\\');

/// No octets.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These octets.
pub fn full(octets: impl Into<Bytes>) -> Body {
    Full::new(octets.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Octets as they come; an error cuts the answer, so that the client sees it is incomplete.
pub fn stream(frames: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(frames.map(|frame| frame.map(Frame::data))).boxed_unsync()
}

/// A line of JSON for everything that is told, as it is told. A stop doesn't wait for the end of it: what is told last is
/// missing then, which says so.
pub(crate) fn lines<T: Send + 'static, L: Serialize + 'static>(
    told: mpsc::Receiver<T>,
    stopping: watch::Receiver<bool>,
    line: fn(T) -> L,
) -> Response<Body> {
    let lines = futures_util::stream::unfold((told, stopping), move |(mut told, mut stopping)| async move {
        let one = tokio::select! {
            one = told.recv() => one?,
            () = raised(&mut stopping) => return None,
        };
        let mut text = serde_json::to_vec(&line(one)).unwrap_or_default();
        text.push(b'\n');
        Some((Ok::<_, io::Error>(Bytes::from(text)), (told, stopping)))
    });
    let mut response = Response::new(stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// An answer of these octets.
pub fn bytes(status: StatusCode, content_type: &'static str, octets: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(octets));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text, UTF-8.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    bytes(status, "text/plain; charset=utf-8", text)
}

/// A value as JSON.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    json_text(status, json_octets(value))
}

/// A value as JSON, written out before.
pub fn json_text(status: StatusCode, octets: impl Into<Bytes>) -> Response<Body> {
    bytes(status, "application/json", octets)
}

/// A value as JSON.
pub fn json_octets<T: Serialize>(value: &T) -> Vec<u8> {
    // Most answers fit, so that most are written without being moved.
    let mut octets = Vec::with_capacity(2048);
    serde_json::to_writer(&mut octets, value).expect("wire types are serialisable: string keys, no failing impl");
    octets
}

/// 204.
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A page as JSON, with `Link: …; rel="next"` where there is a next one.
pub fn page<T: Serialize>(uri: &Uri, page: &Page<T>) -> Response<Body> {
    linked(uri, json(StatusCode::OK, page), page.next_cursor.as_deref())
}

/// Adds the `Link` to the next page, where there is one.
#[must_use]
pub fn linked(uri: &Uri, mut response: Response<Body>, next_cursor: Option<&str>) -> Response<Body> {
    if let Some(cursor) = next_cursor
        && let Ok(value) = HeaderValue::from_str(&format!("<{}>; rel=\"next\"", next_target(uri, cursor)))
    {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

/// The request's target with another `cursor`.
fn next_target(uri: &Uri, cursor: &str) -> String {
    let mut target = format!("{}?", uri.path());
    for pair in uri.query().unwrap_or_default().split('&') {
        if !pair.is_empty() && pair != "cursor" && !pair.starts_with("cursor=") {
            target.push_str(pair);
            target.push('&');
        }
    }
    target.push_str("cursor=");
    target.extend(utf8_percent_encode(cursor, QUERY_VALUE));
    target
}

/// Names the audit entry of an answer, if it has one.
#[must_use]
pub fn logged(mut response: Response<Body>, logged: Option<&Logged>) -> Response<Body> {
    if let Some(logged) = logged {
        log_headers(response.headers_mut(), logged);
    }
    response
}

/// Sets the headers that name an audit entry.
pub fn log_headers(headers: &mut HeaderMap, logged: &Logged) {
    headers.insert(LOG_INDEX, logged.index.into());
    if let Ok(value) = HeaderValue::from_str(&logged.leaf_hash.to_string()) {
        headers.insert(LOG_LEAF, value);
    }
}

/// A strong entity tag of a revision.
pub fn etag(revision: impl std::fmt::Display) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_never| HeaderValue::from_static("\"-\""))
}

/// Sets `ETag`, and makes it a 304 where `If-None-Match` names the tag.
#[must_use]
pub fn tagged(head: &Parts, mut response: Response<Body>, etag: HeaderValue) -> Response<Body> {
    if none_match(&head.headers, &etag) {
        let kept = std::mem::take(response.headers_mut());
        response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for (name, value) in &kept {
            if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    response.headers_mut().insert(header::ETAG, etag);
    response
}

/// Whether `If-None-Match` names the tag, by weak comparison (RFC 9110 §13.1.2).
pub fn none_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let opaque = etag.strip_prefix("W/").unwrap_or(etag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.trim() == "*" || tags(list).is_some_and(|tags| tags.iter().any(|(_weak, tag)| *tag == opaque)))
}

/// A list of entity tags: whether each is weak, and the tag with its quotes. None where the syntax is broken.
pub fn tags(list: &str) -> Option<Vec<(bool, &str)>> {
    let mut tags = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        let (weak, tail) = match rest.strip_prefix("W/") {
            Some(tail) => (true, tail),
            None => (false, rest),
        };
        let end = tail.strip_prefix('"')?.find('"')? + 2;
        tags.push((weak, &tail[..end]));
        rest = tail[end..].trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderMap, HeaderValue};

    use super::{etag, next_target, none_match, tags};

    /// Lists of tags as RFC 9110 writes them, and broken ones.
    #[test]
    fn tag_lists() {
        assert_eq!(tags(r#""a", W/"b""#), Some(vec![(false, "\"a\""), (true, "\"b\"")]));
        assert_eq!(tags(r#""a,b""#), Some(vec![(false, "\"a,b\"")]));
        for broken in ["a", "\"a", "\"a\" \"b\"", "W\"a\""] {
            assert_eq!(tags(broken), None, "{broken}");
        }
    }

    /// `If-None-Match` compares weakly and knows the star.
    #[test]
    fn not_modified() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            none_match(&headers, &etag(7))
        };
        assert!(with("\"7\"") && with("W/\"7\"") && with("*") && with("\"6\", \"7\""));
        assert!(!with("\"77\"") && !with("7"));
    }

    /// The next page keeps the other parameters and replaces the cursor.
    #[test]
    fn next() {
        let uri = "/models?limit=2&cursor=old&tag=a%3Ab".parse().unwrap();
        assert_eq!(next_target(&uri, "x+y="), "/models?limit=2&tag=a%3Ab&cursor=x%2By%3D");
    }
}
