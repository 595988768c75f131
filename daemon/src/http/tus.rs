//! `/uploads…`: the tus resumable upload protocol 1.0.0 (tus.io/protocols/resumable-upload), with the extensions that
//! [`EXTENSIONS`] names. Parse, ask the registry, render. What becomes of the octets, and whose they are, is the registry's.
//!
//! | request | answer |
//! |---|---|
//! | `OPTIONS /uploads` | what is understood |
//! | `POST /uploads` | 201 and `Location`; octets may come along |
//! | `HEAD /uploads/{upload}` | `Upload-Offset`: what is durable |
//! | `PATCH /uploads/{upload}` | 204 when the octets are durable |
//! | `DELETE /uploads/{upload}` | 204 |
//!
//! Besides: `GET` tells the same as JSON, and lists one's own.

pub mod fields;

use std::time::{Duration, UNIX_EPOCH};

use common::api::{Page, UploadInfo};
use futures_util::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use self::fields::Metadata;
use crate::clock;
use crate::http::body::Payload;
use crate::http::problem::{Protocol, Refused};
use crate::http::server::raised;
use crate::http::{Answer, Body, Call, Shared, body, changed, params, respond};
use crate::registry::error::RegistryError;
use crate::registry::resumable::{Append, Appending, NewUpload, UploadState};

/// The version of the protocol.
pub const VERSION: &str = "1.0.0";
/// The extensions there are.
pub const EXTENSIONS: &str = "creation,creation-defer-length,creation-with-upload,checksum,expiration,termination";
/// The checksums there are. SHA-1 is there because every server must know it.
pub const CHECKSUMS: &str = "sha256,sha1";
/// The media type of octets.
pub const OCTETS: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Whether a path is one of the protocol's.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix("/uploads").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The method that is meant: for clients that can't send PATCH or DELETE. Only the protocol's own are heeded.
pub(crate) fn method_of(head: &Parts) -> Result<Method, Protocol> {
    let Some(said) = head.headers.get(METHOD_OVERRIDE).filter(|_| is_ours(head.uri.path())) else {
        return Ok(head.method.clone());
    };
    match said.as_bytes() {
        b"POST" => Ok(Method::POST),
        b"HEAD" => Ok(Method::HEAD),
        b"PATCH" => Ok(Method::PATCH),
        b"DELETE" => Ok(Method::DELETE),
        b"OPTIONS" => Ok(Method::OPTIONS),
        _other => {
            Err(Protocol::BadRequest("X-HTTP-Method-Override is none of POST, HEAD, PATCH, DELETE, OPTIONS".into()))
        }
    }
}

/// What every answer below `/uploads` says.
pub(crate) fn complete(headers: &mut HeaderMap) {
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
}

/// Refuses another version of the protocol, and to change anything for whoever says none.
fn check_version(head: &Parts) -> Result<(), Protocol> {
    match head.headers.get(TUS_RESUMABLE) {
        Some(said) if said.as_bytes() == VERSION.as_bytes() => Ok(()),
        None if matches!(head.method, Method::GET | Method::HEAD) => Ok(()),
        _ => Err(Protocol::TusVersion),
    }
}

/// `OPTIONS /uploads` and `OPTIONS /uploads/{upload}`
pub(crate) fn options(call: &Call) -> Answer {
    let mut response = respond::no_content();
    let headers = response.headers_mut();
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static(CHECKSUMS));
    headers.insert(TUS_MAX_SIZE, call.shared.registry.settings().upload_bytes_max.into());
    Ok(response)
}

/// `GET /uploads`
pub(crate) async fn list(call: &Call) -> Answer {
    let uploads = call.shared.registry.upload_states(&call.caller).await?;
    let items: Vec<UploadInfo> = uploads.iter().map(info).collect();
    let total = Some(items.len() as u64);
    Ok(respond::json(StatusCode::OK, &Page { items, total, next_cursor: None, prev_cursor: None }))
}

/// `POST /uploads`
pub(crate) async fn create(call: Call) -> Answer {
    check_version(&call.head)?;
    let Call { shared, caller, head, body, .. } = call;
    let headers = &head.headers;
    let length = fields::number(headers, UPLOAD_LENGTH)?;
    match (length, headers.get(UPLOAD_DEFER_LENGTH)) {
        (Some(_), None) => {}
        (None, Some(deferred)) if deferred.as_bytes() == b"1" => {}
        (None, None) => return Err(bad("send Upload-Length, or Upload-Defer-Length: 1")),
        (None, Some(_)) => return Err(bad("Upload-Defer-Length can only be 1")),
        (Some(_), Some(_)) => return Err(bad("send either Upload-Length or Upload-Defer-Length, not both")),
    }
    let metadata = Metadata::of(headers)?;
    let append = if body.is_empty() { None } else { Some(append_of(&head, 0)?) };
    let sent = append.as_ref().and_then(|append| append.declared);
    if let (Some(sent), Some(length)) = (sent, length)
        && sent > length
    {
        return Err(Protocol::TooLarge { limit: length }.into());
    }
    let new = NewUpload {
        length,
        path: metadata.path,
        model: metadata.model,
        sha256: metadata.sha256,
        metadata: metadata.text,
    };
    let mut state = shared.registry.create_upload(&caller, new).await?;
    if let Some(append) = append {
        // Part of the octets is better than none, and the client is told how many: only a wrong checksum is an error.
        let id = state.id;
        let appending = shared.registry.begin_append(&caller, id, append).await?;
        state = match take(&shared, appending, body).await {
            Ok(state) => state,
            Err(refused @ Refused::Registry(_)) if is_mismatch(&refused) => return Err(refused),
            Err(_cut) => shared.registry.upload_state(&caller, id).await?,
        };
    }
    let mut response = respond::json(StatusCode::CREATED, &info(&state));
    told(response.headers_mut(), &state);
    changed::location(&mut response, &format!("/uploads/{}", state.id));
    Ok(response)
}

fn is_mismatch(refused: &Refused) -> bool {
    matches!(refused, Refused::Registry(failure) if matches!(failure.error, RegistryError::ChecksumMismatch))
}

/// `GET /uploads/{upload}`, `HEAD /uploads/{upload}`
pub(crate) async fn show(call: &Call, id: &str) -> Answer {
    check_version(&call.head)?;
    let state = call.shared.registry.upload_state(&call.caller, params::upload(id)?).await?;
    let mut response = respond::json(StatusCode::OK, &info(&state));
    let headers = response.headers_mut();
    told(headers, &state);
    match state.length {
        Some(length) => headers.insert(UPLOAD_LENGTH, length.into()),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    if !state.metadata.is_empty()
        && let Ok(value) = HeaderValue::from_str(&state.metadata)
    {
        headers.insert(UPLOAD_METADATA, value);
    }
    Ok(response)
}

/// `PATCH /uploads/{upload}`
pub(crate) async fn append(call: Call, id: &str) -> Answer {
    check_version(&call.head)?;
    let id = params::upload(id)?;
    let Call { shared, caller, head, body, .. } = call;
    let offset = fields::number(&head.headers, UPLOAD_OFFSET)?;
    let offset = offset.ok_or_else(|| bad("send Upload-Offset: where the octets belong"))?;
    let append = append_of(&head, offset)?;
    let appending = shared.registry.begin_append(&caller, id, append).await?;
    let state = take(&shared, appending, body).await?;
    let mut response = respond::no_content();
    told(response.headers_mut(), &state);
    Ok(response)
}

/// `DELETE /uploads/{upload}`
pub(crate) async fn end(call: &Call, id: &str) -> Answer {
    check_version(&call.head)?;
    let done = call.shared.registry.end_upload(&call.caller, params::upload(id)?).await?;
    Ok(respond::logged(respond::no_content(), done.logged.as_ref()))
}

/// What a request says of its octets.
fn append_of(head: &Parts, offset: u64) -> Result<Append, Refused> {
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !kind.eq_ignore_ascii_case(OCTETS.as_bytes()) {
        return Err(Protocol::UnsupportedMediaType(format!("octets come as {OCTETS}")).into());
    }
    Ok(Append {
        offset,
        length: fields::number(&head.headers, UPLOAD_LENGTH)?,
        declared: body::declared_bytes(head),
        checksum: fields::checksum_of(&head.headers, UPLOAD_CHECKSUM)?,
    })
}

/// Takes the octets of a request, and waits until they are durable. However their coming ends, what came is kept first.
async fn take(shared: &Shared, mut appending: Appending, body: Payload) -> Result<UploadState, Refused> {
    let room = appending.room();
    let received = receive(shared, &mut appending, body.limit(room)).await;
    let kept = appending.finish(received.is_ok()).await;
    received?;
    Ok(kept?)
}

async fn receive(shared: &Shared, appending: &mut Appending, mut body: Payload) -> Result<(), Refused> {
    let mut stopping = shared.stopping.clone();
    loop {
        let octets = tokio::select! {
            biased;
            () = appending.asked() => {
                let what = "another request goes on with this upload; ask for its offset";
                return Err(RegistryError::Conflict(what.to_owned()).into());
            }
            () = raised(&mut stopping) => {
                return Err(Protocol::Unavailable("the daemon stops; what came is kept: go on when it is back").into());
            }
            octets = body.next() => octets,
        };
        match octets {
            Some(octets) => appending.write(octets?).await?,
            None => return Ok(()),
        }
    }
}

/// Where an upload is, and how long it is kept.
fn told(headers: &mut HeaderMap, state: &UploadState) {
    headers.insert(UPLOAD_OFFSET, state.offset.into());
    let expires = UNIX_EPOCH + Duration::from_millis(u64::try_from(state.expires_at_ms).unwrap_or(0));
    if let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(expires)) {
        headers.insert(UPLOAD_EXPIRES, value);
    }
}

fn info(state: &UploadState) -> UploadInfo {
    UploadInfo {
        id: state.id,
        filename: state.path.clone(),
        model: state.model.clone(),
        offset: state.offset,
        length: state.length,
        created_at: clock::rfc3339(state.created_at_ms),
        expires_at: clock::rfc3339(state.expires_at_ms),
    }
}

fn bad(what: &str) -> Refused {
    Protocol::BadRequest(what.to_owned()).into()
}

/// Adds the protocol's words to an answer of one of its paths, whatever it is.
pub(crate) fn complete_if_ours(template: &str, response: &mut Response<Body>) {
    if is_ours(template) {
        complete(response.headers_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn paths() {
        for path in ["/uploads", "/uploads/", "/uploads/x", "/uploads/{upload}"] {
            assert!(is_ours(path), "{path}");
        }
        for path in ["/", "/uploadsx", "/models/uploads", "unmatched"] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
