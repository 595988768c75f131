//! Reading what a request carries: the body as frames with an idle deadline and a limit, JSON, forms, multipart, and the
//! query. Knows media types and octets; refuses to know which resource reads them. Nothing is read before a handler
//! asks for it, so a refusal costs the client no octet (`100 Continue` is sent at the first read).

pub mod multipart;
mod pairs;

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::Version;
use http::header;
use http::request::Parts;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use crate::http::Call;
use crate::http::problem::{Protocol, Refused};
use crate::http::server::pace::Patience;

/// Octets a JSON or form body may have.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;

/// The stream of a refused HTTP/2 upload is reset so long after its refusal.
const H2_RESET_DELAY: Duration = Duration::from_secs(1);

/// Why a body ended before its end.
#[derive(Debug, Error)]
pub enum BodyError {
    /// No octet for too long.
    #[error("no octet of the body arrived for {idle_s} s")]
    Idle {
        /// The limit, seconds.
        idle_s: u64,
    },
    /// Too few octets for too long.
    #[error("the body comes with less than {bytes_per_second_min} octets a second")]
    Slow {
        /// The limit.
        bytes_per_second_min: u64,
    },
    /// More octets than are taken.
    #[error("the body is over {limit} octets")]
    TooLarge {
        /// The limit, octets.
        limit: u64,
    },
    /// The client went away, or broke the framing.
    #[error("the body was cut short")]
    Cut(#[source] Box<dyn StdError + Send + Sync>),
}

/// The body of a request: a stream of frames. Dropping it unread is how a request is refused.
pub struct Payload {
    frames: BoxBody<Bytes, Box<dyn StdError + Send + Sync>>,
    patience: Patience,
    /// Since when the client is waited for, and until when.
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
    declared: Option<u64>,
    limit: u64,
    received: u64,
    ended: bool,
    is_http2: bool,
    watch: Arc<Watch>,
}

/// What a connection and the bodies on it tell each other.
#[derive(Debug, Default)]
pub struct Watch {
    /// A body was dropped before its end: nothing else can follow on an HTTP/1 connection.
    pub unread: AtomicBool,
    /// The connection is gone. A body that ends after that was cut, whatever it looks like.
    pub gone: AtomicBool,
}

impl Payload {
    /// Wraps the body of the request with this head.
    pub(crate) fn new<B>(body: B, head: &Parts, patience: Patience, watch: Arc<Watch>) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ended = body.is_end_stream();
        // Most requests have none, and nothing to allocate for it.
        let frames = if ended { BoxBody::default() } else { body.map_err(Into::into).boxed() };
        let declared = declared_bytes(head);
        Self {
            frames,
            patience,
            deadline: None,
            declared,
            limit: u64::MAX,
            received: 0,
            ended,
            is_http2: head.version == Version::HTTP_2,
            watch,
        }
    }

    /// Takes no more than so many octets.
    #[must_use]
    pub fn limit(mut self, octets_max: u64) -> Self {
        self.limit = octets_max;
        self
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.ended && self.received == 0
    }

    /// Octets received up to now.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Reads all of it, at most `octets_max`.
    pub async fn read_all(&mut self, octets_max: usize) -> Result<Bytes, BodyError> {
        self.limit = self.limit.min(octets_max as u64);
        let mut all = BytesMut::new();
        while let Some(frame) = self.next().await {
            all.extend_from_slice(&frame?);
        }
        Ok(all.freeze())
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        // Fused: after an error nothing more is asked of the connection.
        self.leave();
        Poll::Ready(Some(Err(error)))
    }

    /// Ends reading before the end.
    fn leave(&mut self) {
        self.ended = true;
        self.watch.unread.store(true, Ordering::Relaxed);
        let rest = std::mem::take(&mut self.frames);
        // To drop the body of an HTTP/2 request resets its stream, and common clients then lose the answer if that is
        // not complete. Held unread, the body costs no more than its window.
        if self.is_http2
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                tokio::time::sleep(H2_RESET_DELAY).await;
                drop(rest);
            });
        }
    }
}

impl Stream for Payload {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.frames).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that the registry wants to know.
                    let Ok(data) = frame.into_data() else { continue };
                    let waited = this.deadline.take().map_or(Duration::ZERO, |(since, _until)| since.elapsed());
                    this.patience.moved(data.len() as u64, waited);
                    this.received += data.len() as u64;
                    if this.received > this.limit {
                        let limit = this.limit;
                        return this.fail(BodyError::TooLarge { limit });
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(cause))) => return this.fail(BodyError::Cut(cause)),
                Poll::Ready(None) => {
                    // A connection that is dropped under a body ends it without an error: that must not pass for an
                    // upload's end.
                    let short = this.declared.is_some_and(|declared| declared != this.received);
                    if short || this.watch.gone.load(Ordering::Acquire) {
                        return this.fail(BodyError::Cut("the connection was lost".into()));
                    }
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let left = this.patience.left();
                    let (since, until) = this.deadline.get_or_insert_with(|| {
                        let now = Instant::now();
                        (now, Box::pin(tokio::time::sleep_until(now + left)))
                    });
                    if until.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    let (paused, pause_max) = (since.elapsed(), this.patience.pause_max());
                    return this.fail(if paused >= pause_max {
                        BodyError::Idle { idle_s: pause_max.as_secs() }
                    } else {
                        BodyError::Slow { bytes_per_second_min: this.patience.bytes_per_second_min() }
                    });
                }
            }
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if !self.ended {
            self.leave();
        }
    }
}

/// Reads a JSON body of at most `octets_max`. Another media type is 415, a malformed value 422 with its place.
pub async fn json<T: DeserializeOwned>(call: &mut Call, octets_max: usize) -> Result<T, Refused> {
    match essence(&call.head) {
        // Absent: JSON is the only thing it can be.
        None => {}
        Some(kind) if is_json(&kind) => {}
        Some(kind) => return Err(unsupported(&kind, "application/json")),
    }
    let octets = bounded(call, octets_max).await?;
    from_json(&octets)
}

/// Reads a JSON body, or none: the default where the body is empty.
pub async fn json_or_default<T: DeserializeOwned + Default>(call: &mut Call, octets_max: usize) -> Result<T, Refused> {
    if call.body.is_empty() { Ok(T::default()) } else { json(call, octets_max).await }
}

/// Reads a body that is JSON or `application/x-www-form-urlencoded`, by its Content-Type.
pub async fn form_or_json<T: DeserializeOwned>(call: &mut Call, octets_max: usize) -> Result<T, Refused> {
    match essence(&call.head) {
        Some(kind) if kind == "application/x-www-form-urlencoded" => {
            let octets = bounded(call, octets_max).await?;
            let text = std::str::from_utf8(&octets)
                .map_err(|_not_utf8| Refused::invalid(vec![("body".into(), "is not UTF-8".into())]))?;
            // OAuth 2 clients send fields of their own (grant_type, scope …): those are passed over.
            pairs::parse(text, "body", pairs::Unknown::Ignored).map_err(Refused::invalid)
        }
        Some(kind) if !is_json(&kind) => {
            Err(unsupported(&kind, "application/json or application/x-www-form-urlencoded"))
        }
        _ => json(call, octets_max).await,
    }
}

/// Parses the query into a plain struct (no `flatten`). Strict: an unknown parameter, a bad value, or one given twice
/// where one is wanted is 422 with `query.<name>`; a `Vec` field takes every occurrence.
pub fn query<T: DeserializeOwned>(call: &Call) -> Result<T, Refused> {
    query_text(call.head.uri.query().unwrap_or_default())
}

/// The same for a query that was read from somewhere else.
pub fn query_text<T: DeserializeOwned>(text: &str) -> Result<T, Refused> {
    pairs::parse(text, "query", pairs::Unknown::Refused).map_err(Refused::invalid)
}

/// What Content-Length says; none with chunked encoding or without a body.
pub fn declared_bytes(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Decodes `%xx` strictly; with `plus_is_space` also `+`. None where an escape is broken or the result is not UTF-8.
pub fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let (high, low) = (hex_value(rest.next()?)?, hex_value(rest.next()?)?);
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

async fn bounded(call: &mut Call, octets_max: usize) -> Result<Bytes, Refused> {
    if declared_bytes(&call.head).is_some_and(|declared| declared > octets_max as u64) {
        return Err(Protocol::TooLarge { limit: octets_max as u64 }.into());
    }
    Ok(call.body.read_all(octets_max).await?)
}

/// JSON octets to a value; the place of what is wrong is `body.<path>`.
fn from_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Refused> {
    if octets.is_empty() {
        return Err(Refused::invalid(vec![("body".into(), "is empty, where a JSON value is wanted".into())]));
    }
    // A struct could also be read from an array, its fields in order: nobody means that.
    if octets.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
        return Err(Refused::invalid(vec![("body".into(), "is an array, where a JSON object is wanted".into())]));
    }
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let mut place = if path == "." { "body".to_owned() } else { format!("body.{path}") };
        let msg = error.into_inner().to_string();
        // serde names a field that is missing or unknown only in its message.
        let named = msg.strip_prefix("missing field `").or_else(|| msg.strip_prefix("unknown field `"));
        if let Some((field, _)) = named.and_then(|rest| rest.split_once('`'))
            && !place.ends_with(&format!(".{field}"))
        {
            place = format!("{place}.{field}");
        }
        Refused::invalid(vec![(place, msg)])
    })?;
    reader.end().map_err(|error| Refused::invalid(vec![("body".into(), error.to_string())]))?;
    Ok(value)
}

/// The media type without parameters, lower case.
fn essence(head: &Parts) -> Option<String> {
    let value = head.headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn unsupported(kind: &str, wanted: &str) -> Refused {
    let kind: String = kind.chars().take(80).collect();
    Protocol::UnsupportedMediaType(format!("Content-Type is {kind:?}; send {wanted}")).into()
}

#[cfg(test)]
mod tests;
