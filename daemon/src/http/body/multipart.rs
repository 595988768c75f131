//! multipart/form-data (RFC 7578), part by part, in constant memory. Knows parts and octets; refuses to know what any
//! part means.
//!
//! `multer` finds the parts. It reads ahead as long as its source has something, and it looks for a part's header in as
//! much memory as that takes: so its source, [`Feed`], gives one frame a turn, and between two parts no more than
//! [`PART_HEAD_MAX`].

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header;
use http::request::Parts;

use super::{BodyError, Payload, percent_decode, unsupported};
use crate::http::problem::{Protocol, Refused};
use crate::registry::error::RegistryError;

/// Octets between two parts: boundary and header of the second. Also before the first and after the last.
pub const PART_HEAD_MAX: usize = 64 * 1024;

/// A multipart body.
pub struct Multipart {
    reader: multer::Multipart<'static>,
    feed: Feed,
}

/// One part. Must be dropped before the next is asked for.
pub struct Part {
    field: multer::Field<'static>,
    feed: Feed,
}

impl Multipart {
    /// Reads the body of the request with this head, at most `octets_max` in all. No octet is read yet.
    pub fn new(head: &Parts, body: Payload, octets_max: u64) -> Result<Self, Refused> {
        let wanted = "multipart/form-data (curl -F does it)";
        let Some(kind) = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
            return Err(unsupported("nothing", wanted));
        };
        let boundary = multer::parse_boundary(kind).map_err(|error| match error {
            multer::Error::NoBoundary => {
                Protocol::BadRequest("the Content-Type multipart/form-data has no boundary".into()).into()
            }
            _another_type => unsupported(kind, wanted),
        })?;
        let state = FeedState { body: body.limit(octets_max), head_left: None, has_fed: false };
        let feed = Feed(Arc::new(Mutex::new(state)));
        Ok(Self { reader: multer::Multipart::new(feed.clone(), boundary), feed })
    }

    /// The next part; none at the end.
    pub async fn next(&mut self) -> Result<Option<Part>, Refused> {
        self.feed.with(|state| state.head_left = Some(PART_HEAD_MAX));
        let field = self.reader.next_field().await;
        self.feed.with(|state| state.head_left = None);
        let Some(field) = field.map_err(refused)? else {
            self.read_to_end().await;
            return Ok(None);
        };
        Ok(Some(Part { field, feed: self.feed.clone() }))
    }

    /// What follows the last boundary means nothing, but has to be read for the connection to go on. Where it is long,
    /// the connection doesn't.
    async fn read_to_end(&mut self) {
        self.feed.with(|state| state.head_left = Some(PART_HEAD_MAX));
        while let Some(Ok(_octets)) = self.feed.next().await {}
    }
}

impl Part {
    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// Its file name: `filename*` (which RFC 7578 §4.2 forbids and some clients send), else `filename`.
    pub fn file_name(&self) -> Option<String> {
        let disposition = self.field.headers().get(header::CONTENT_DISPOSITION);
        let extended = disposition.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).and_then(extended_name);
        extended.or_else(|| self.field.file_name().map(str::to_owned))
    }

    /// The next octets; none at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            match self.field.chunk().await.map_err(refused)? {
                Some(octets) if octets.is_empty() => {}
                octets => return Ok(octets),
            }
        }
    }

    /// All of it, as text of at most `octets_max`.
    pub async fn text(&mut self, octets_max: usize) -> Result<String, Refused> {
        let place = format!("part.{}", self.name().unwrap_or_default());
        let mut all = BytesMut::new();
        while let Some(octets) = self.chunk().await? {
            if all.len() + octets.len() > octets_max {
                return Err(Refused::invalid(vec![(place, format!("is longer than {octets_max} octets"))]));
            }
            all.extend_from_slice(&octets);
        }
        String::from_utf8(all.into()).map_err(|_not_utf8| Refused::invalid(vec![(place, "is not UTF-8".into())]))
    }

    /// Octets of the whole body received up to now.
    pub fn received(&self) -> u64 {
        self.feed.with(|state| state.body.received())
    }
}

/// `filename*=UTF-8''…` (RFC 8187).
fn extended_name(disposition: &str) -> Option<String> {
    disposition.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let is_utf8 = value.get(..7).is_some_and(|charset| charset.eq_ignore_ascii_case("UTF-8''"));
        (name.trim().eq_ignore_ascii_case("filename*") && is_utf8).then(|| percent_decode(&value[7..], false))?
    })
}

/// The answer to an error of the reader. Where the body was cut, that is the reason, whatever the reader makes of it.
fn refused(error: multer::Error) -> Refused {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<FeedError>() {
            Ok(error) => match *error {
                FeedError::Body(error) => error.into(),
                FeedError::NoHead => malformed("there is no part where one should begin"),
            },
            Err(_other) => RegistryError::Interrupted.into(),
        },
        multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteStream => malformed("it ends before its closing boundary"),
        other => malformed(&other.to_string()),
    }
}

fn malformed(why: &str) -> Refused {
    Protocol::BadRequest(format!("the multipart body is malformed: {why}")).into()
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Body(BodyError),
    #[error("a part's header is over {PART_HEAD_MAX} octets")]
    NoHead,
}

/// The body, as multer may read it.
#[derive(Clone)]
struct Feed(Arc<Mutex<FeedState>>);

struct FeedState {
    body: Payload,
    /// Octets that may still be read, while a part's header is looked for.
    head_left: Option<usize>,
    /// Whether this turn has had its frame.
    has_fed: bool,
}

impl Feed {
    fn with<T>(&self, work: impl FnOnce(&mut FeedState) -> T) -> T {
        // Nobody panics with the lock held; if somebody did, the state is still whole.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, FeedError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.with(|state| {
            if std::mem::take(&mut state.has_fed) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if state.head_left == Some(0) {
                return Poll::Ready(Some(Err(FeedError::NoHead)));
            }
            let polled = std::task::ready!(state.body.poll_next_unpin(cx));
            Poll::Ready(polled.map(|frame| {
                let octets = frame.map_err(FeedError::Body)?;
                state.has_fed = true;
                state.head_left = state.head_left.map(|left| left.saturating_sub(octets.len()));
                Ok(octets)
            }))
        })
    }
}
