//! multipart/form-data (RFC 7578), part by part, in constant memory. Knows parts and octets; refuses to know what any
//! part means.
//!
//! `multer` finds the parts. It reads ahead as long as its source has something, and it looks for a part's header in as
//! much memory as that takes: so its source, `Feed`, gives one frame a turn, and between two parts no more than
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
        // The part's names are what is odd in a header that is one.
        multer::Error::ReadHeaderFailed(_)
        | multer::Error::DecodeHeaderName { .. }
        | multer::Error::DecodeHeaderValue { .. } => {
            let msg = "a part's header can't be read; its names must not have control characters";
            Refused::invalid(vec![("part".into(), msg.into())])
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http::Request;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    use super::super::{Payload, Watch};
    use super::{Multipart, PART_HEAD_MAX, extended_name};
    use crate::http::problem::Refused;
    use crate::http::server::pace::Patience;

    /// A body that comes in these chunks, and a count of those that were taken.
    fn multipart(chunks: Vec<Vec<u8>>) -> (Multipart, Arc<AtomicUsize>) {
        let head = Request::post("/").header("content-type", "multipart/form-data; boundary=XX").body(()).unwrap();
        let head = head.into_parts().0;
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let frames = stream::iter(chunks).map(move |chunk| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from(chunk)))
        });
        let body = Payload::new(
            StreamBody::new(frames),
            &head,
            Patience::new(Duration::from_secs(1), 0),
            Arc::new(Watch::default()),
        );
        (Multipart::new(&head, body, u64::MAX).unwrap(), taken)
    }

    /// Name, file name and octets of each part.
    type Found = Vec<(String, Option<String>, Vec<u8>)>;

    async fn read(mut parts: Multipart) -> Result<Found, Refused> {
        let mut found = Vec::new();
        while let Some(mut part) = parts.next().await? {
            let mut octets = Vec::new();
            while let Some(chunk) = part.chunk().await? {
                octets.extend_from_slice(&chunk);
            }
            found.push((part.name().unwrap_or_default().to_owned(), part.file_name(), octets));
        }
        Ok(found)
    }

    fn form(parts: &Found) -> Vec<u8> {
        let mut octets = Vec::new();
        for (name, file_name, content) in parts {
            octets.extend(format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
            if let Some(file_name) = file_name {
                octets.extend(format!("; filename=\"{file_name}\"\r\nContent-Type: a/b").bytes());
            }
            octets.extend(b"\r\n\r\n");
            octets.extend(content);
            octets.extend(b"\r\n");
        }
        octets.extend(b"--XX--\r\n");
        octets
    }

    /// Octets with much of what boundaries are made of.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"\r\n--".to_vec()),
            Just(b"\r\n--X".to_vec()),
            Just(b"--XX".to_vec()),
            proptest::collection::vec(0_u8..=255, 0..20),
        ];
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat()).prop_filter(
            "no boundary in the content",
            |octets| {
                let all = [b"\r\n".as_slice(), octets, b"\r\n"].concat();
                !all.windows(6).any(|window| window == b"\r\n--XX") && !octets.starts_with(b"--XX")
            },
        )
    }

    proptest! {
        /// What is sent arrives, however it is cut.
        #[test]
        fn any_cut(
            parts in proptest::collection::vec(("[a-z]{1,8}", proptest::option::of("[a-zé /]{1,12}"), content()), 0..4),
            size in 1_usize..40,
        ) {
            let chunks = form(&parts).chunks(size).map(<[u8]>::to_vec).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let found = runtime.block_on(read(multipart(chunks).0)).unwrap();
            prop_assert_eq!(found, parts);
        }

        /// Nonsense is an answer and not a panic.
        #[test]
        fn any_octets(octets in proptest::collection::vec(0_u8..=255, 0..200), whole in content()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _refused_or_not = runtime.block_on(read(multipart(vec![octets.clone()]).0));
            let mut started = b"--XX\r\n".to_vec();
            started.extend(octets);
            started.extend(whole);
            let _refused_or_not = runtime.block_on(read(multipart(vec![started]).0));
        }
    }

    #[tokio::test]
    async fn no_part_no_end_no_memory() {
        let endless = |first: &[u8]| {
            let mut chunks = vec![first.to_vec()];
            chunks.extend(vec![vec![b'a'; 1024]; 10_000]);
            chunks
        };
        let (before, between) = (&b"no boundary"[..], &b"--XX\r\nContent-Disposition: form-data; name=\""[..]);
        for first in [before, between] {
            let (mut parts, taken) = multipart(endless(first));
            assert_eq!(parts.next().await.err().unwrap().kind().status(), 400);
            assert!(taken.load(Ordering::Relaxed) <= PART_HEAD_MAX / 1024 + 3);
        }
        // What follows the end is not waited for either.
        let (mut parts, taken) = multipart(endless(b"--XX--\r\n"));
        assert!(parts.next().await.unwrap().is_none());
        assert!(taken.load(Ordering::Relaxed) <= PART_HEAD_MAX / 1024 + 3);
    }

    /// Of a long part no more is read than was asked for: the disk sets the pace.
    #[tokio::test]
    async fn nothing_is_read_ahead() {
        let mut chunks =
            vec![b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec()];
        chunks.extend(vec![vec![b'a'; 1024]; 1000]);
        let (mut parts, taken) = multipart(chunks);
        let mut part = parts.next().await.unwrap().unwrap();
        for asked in 1..100 {
            assert_eq!(part.chunk().await.unwrap().unwrap().len(), 1024);
            assert!(taken.load(Ordering::Relaxed) <= asked + 2);
        }
        drop((part, parts));
    }

    #[tokio::test]
    async fn cut_and_malformed() {
        let whole = form(&vec![("file".into(), Some("a".into()), b"octets".to_vec())]);
        for end in [0, 1, 5, 30, whole.len() - 10, whole.len() - 5] {
            let refused = read(multipart(vec![whole[..end].to_vec()]).0).await.err().unwrap();
            assert_eq!(refused.kind().status(), 400, "cut at {end}");
        }
        // The line's end after the last boundary may be missing.
        assert_eq!(read(multipart(vec![whole[..whole.len() - 2].to_vec()]).0).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn texts_are_bounded_and_utf_8() {
        let text = |content: &[u8]| {
            let (mut parts, _) = multipart(vec![form(&vec![("name".into(), None, content.to_vec())])]);
            async move { parts.next().await.unwrap().unwrap().text(4).await.map_err(|refused| refused.kind().status()) }
        };
        assert_eq!(text(b"four").await, Ok("four".into()));
        assert_eq!(text(b"").await, Ok(String::new()));
        assert_eq!(text(b"five5").await, Err(422));
        assert_eq!(text(b"\xff").await, Err(422));
    }

    #[test]
    fn content_types() {
        let new = |kind: Option<&'static str>| {
            let mut head = Request::post("/");
            if let Some(kind) = kind {
                head = head.header("content-type", kind);
            }
            let head = head.body(()).unwrap().into_parts().0;
            let body = StreamBody::new(stream::empty::<Result<Frame<Bytes>, std::io::Error>>());
            let body = Payload::new(body, &head, Patience::new(Duration::from_secs(1), 0), Arc::new(Watch::default()));
            Multipart::new(&head, body, 1).err().map(|refused| refused.kind().status())
        };
        assert_eq!(new(Some("multipart/form-data; boundary=\"a b\"")), None);
        assert_eq!(new(Some("multipart/form-data")), Some(400));
        assert_eq!(
            [new(None), new(Some("application/json")), new(Some("multipart/mixed; boundary=x"))],
            [Some(415); 3]
        );
    }

    #[test]
    fn extended_file_names() {
        assert_eq!(extended_name("form-data; name=\"f\"; filename*=UTF-8''%C3%A9.pt"), Some("é.pt".into()));
        assert_eq!(extended_name("form-data; filename=\"x\"; FileName* = utf-8''a%20b"), Some("a b".into()));
        for other in
            ["form-data; filename=\"x\"", "form-data; filename*=latin1''x", "form-data; filename*=UTF-8''%zz", ""]
        {
            assert_eq!(extended_name(other), None, "{other}");
        }
    }
}
