//! `GET /audit-logs/stream`: the live tail as server-sent events (WHATWG HTML §9.2). Knows how events are written and what a
//! slow reader costs; which entries there are and who may follow them is the registry's.
//!
//! A task of its own drives each stream and gives what it has to the connection through a queue of [`QUEUE_OCTETS`]: octets
//! count until they are written to the socket. A reader whose queue does not drain for `MREG_BODY_IDLE_SECONDS` is cut; one
//! that merely lags is read from the journal at its own pace. What all readers get at once is written once and shared.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response};
use serde::Deserialize;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::preferred;
use crate::http::problem::{Protocol, Refused};
use crate::http::server::raised;
use crate::http::{Answer, Body, Call, body, respond};
use crate::registry::error::RegistryError;
use crate::registry::tail::{After, Ending, News, Rights, Tail};

/// Octets that one reader's connection may hold unwritten. With [`crate::registry::tail::TAILS_MAX`] readers that all
/// stand still at different places that is 32 MiB.
const QUEUE_OCTETS: usize = 128 * 1024;
/// Every piece counts as if it had so many octets, so that the queue has at most eight of them. hyper then always has room
/// to take the next, and sees at once when a stream is cut.
const PIECE_OCTETS_MIN: usize = QUEUE_OCTETS / 8;
/// A comment comes so often, so that nobody in between takes the connection for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);
/// How often token, session and user are looked at.
const RIGHTS_EVERY: Duration = Duration::from_secs(1);
/// A reader that is told goodbye and does not take it for so long is cut.
const BYE_WAIT: Duration = Duration::from_secs(1);
/// What a client is told to wait before it comes back, milliseconds.
const RETRY: &str = "retry: 2000\n\n";
const COMMENT: &str = ": nothing new\n\n";

const MEDIA_TYPE: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx must pass events on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Deserialize)]
struct Following {
    after: Option<u64>,
}

/// `GET /audit-logs/stream`
pub(crate) async fn follow(call: Call) -> Answer {
    let Following { after } = body::query(&call)?;
    let after = match last_event_id(&call.head.headers)? {
        Some(index) => Some(After { index, loc: "header.Last-Event-ID" }),
        None => after.map(|index| After { index, loc: "query.after" }),
    };
    if preferred(&call.head.headers, &[MEDIA_TYPE]).is_none() {
        return Err(Protocol::NotAcceptable(format!("there is only {MEDIA_TYPE}")).into());
    }
    let registry = &call.shared.registry;
    if call.head.method == Method::HEAD {
        let done = registry.audit_tail_offer(&call.caller, after).await?;
        // Not known to be empty, so that no length is said.
        let nothing = respond::stream(stream::empty());
        return Ok(respond::logged(events(nothing), done.logged.as_ref()));
    }
    let done = registry.audit_tail(&call.caller, after).await?;
    let (queue, body) = queue();
    tokio::spawn(drive(done.value, queue, call.shared.stopping.clone(), call.shared.limits.get().body_idle));
    Ok(respond::logged(events(body), done.logged.as_ref()))
}

fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// The index of `Last-Event-ID`. An empty one is none: nothing was seen.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let index = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|text| match text {
        "" => Some(None),
        text if text.bytes().all(|octet| octet.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    });
    index.ok_or_else(|| {
        Refused::invalid(vec![("header.Last-Event-ID".to_owned(), "is not one index of an entry".to_owned())])
    })
}

// ---- events ---------------------------------------------------------------------------------------------------------

/// Appends the event of an entry.
fn push_entry(index: u64, leaf: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("event: entry\nid: {index}\ndata: ").as_bytes());
    let begin = into.len();
    into.resize(begin + leaf.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(leaf, &mut into[begin..]).expect("the length of base64 is known");
    into.truncate(begin + written);
    into.extend_from_slice(b"\n\n");
}

/// The event of a checkpoint. The note ends with a line feed, so the last line of data is empty.
fn checkpoint_event(note: &str) -> Bytes {
    let mut event = String::from("event: checkpoint\n");
    for line in note.split('\n') {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

fn bye_event(ending: Ending) -> Bytes {
    format!("event: bye\ndata: {}\n\n", ending.as_str()).into()
}

// ---- the queue ------------------------------------------------------------------------------------------------------

/// The writing end of a reader's queue.
struct Queue {
    pieces: UnboundedSender<io::Result<Bytes>>,
    room: Arc<Semaphore>,
}

/// Octets on their way to the socket, and the room they take until they are there.
struct Piece {
    octets: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

/// A queue and the body that comes out of it.
fn queue() -> (Queue, Body) {
    let (pieces, mut taken): (_, UnboundedReceiver<io::Result<Bytes>>) = mpsc::unbounded_channel();
    let body = respond::stream(stream::poll_fn(move |cx| taken.poll_recv(cx)));
    (Queue { pieces, room: Arc::new(Semaphore::new(QUEUE_OCTETS)) }, body)
}

impl Queue {
    /// Waits until there is room, at most for `patience`.
    async fn send(&self, octets: Bytes, patience: Duration) -> Result<(), Ending> {
        let room = octets.len().clamp(PIECE_OCTETS_MIN, QUEUE_OCTETS);
        let wait = Arc::clone(&self.room).acquire_many_owned(u32::try_from(room).map_err(|_wide| Ending::Failed)?);
        let Ok(permit) = tokio::time::timeout(patience, wait).await else { return Err(Ending::Slow) };
        let permit = permit.map_err(|_closed| Ending::Failed)?;
        let piece = Bytes::from_owner(Piece { octets, _room: permit });
        self.pieces.send(Ok(piece)).map_err(|_gone| Ending::Left)
    }

    /// Ends the body so that the reader sees it is incomplete.
    fn cut(&self, why: &'static str) {
        // If nobody is there, nobody is to be told.
        let _gone = self.pieces.send(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
    }
}

// ---- the stream -----------------------------------------------------------------------------------------------------

/// Drives a stream to its end.
async fn drive(mut tail: Tail, queue: Queue, stopping: watch::Receiver<bool>, patience: Duration) {
    let rights = tail.rights();
    let ending = tokio::select! {
        biased;
        ending = until_over(&queue, &rights, stopping) => ending,
        Err(ending) = tell(&mut tail, &queue, patience) => ending,
    };
    tail.end(ending);
    match ending {
        Ending::Left => {}
        Ending::Slow => queue.cut("a reader of the log took nothing for too long"),
        Ending::Failed => queue.cut("the log can't be read"),
        Ending::Expired | Ending::Revoked | Ending::Stopping => {
            if queue.send(bye_event(ending), BYE_WAIT).await.is_err() {
                queue.cut("a reader of the log had to go and did not take its leave");
            }
        }
    }
}

/// Waits for what ends a stream from outside.
async fn until_over(queue: &Queue, rights: &Rights, mut stopping: watch::Receiver<bool>) -> Ending {
    let mut round = tokio::time::interval(RIGHTS_EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = raised(&mut stopping) => return Ending::Stopping,
            () = queue.pieces.closed() => return Ending::Left,
            _ = round.tick() => {
                if let Err(ending) = rights.check().await {
                    return ending;
                }
            }
        }
    }
}

/// Tells the log as it grows, until that can't be done any more.
async fn tell(tail: &mut Tail, queue: &Queue, patience: Duration) -> Result<Infallible, Ending> {
    queue.send(Bytes::from_static(RETRY.as_bytes()), patience).await?;
    let mut comments = tokio::time::interval_at(Instant::now() + COMMENT_EVERY, COMMENT_EVERY);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A checkpoint that came too soon after the last, and when the next may be sent.
    let (mut held, mut due) = (None, Instant::now());
    loop {
        let news = tokio::select! {
            biased;
            _ = comments.tick() => {
                queue.send(Bytes::from_static(COMMENT.as_bytes()), patience).await?;
                continue;
            }
            () = tokio::time::sleep_until(due), if held.is_some() => held.take().map(News::CaughtUp),
            news = tail.next() => Some(news.map_err(failed)?),
        };
        match news {
            Some(News::Entries(batch, from)) => {
                held = None;
                queue.send(batch.rendered(from, push_entry), patience).await?;
                tail.given();
            }
            Some(News::CaughtUp(checkpoint)) if Instant::now() < due => held = Some(checkpoint),
            Some(News::CaughtUp(checkpoint)) => {
                queue.send(checkpoint_event(&checkpoint.note), patience).await?;
                due = Instant::now() + CHECKPOINT_EVERY;
            }
            None => {}
        }
    }
}

fn failed(error: RegistryError) -> Ending {
    tracing::error!(error = crate::error_chain(&error), "a live tail can't read the log");
    Ending::Failed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use bytes::Bytes;
    use http::header::{HeaderMap, HeaderValue};
    use http_body_util::BodyExt as _;
    use proptest::prelude::{any, proptest};

    use super::{LAST_EVENT_ID, QUEUE_OCTETS, checkpoint_event, last_event_id, push_entry, queue};
    use crate::registry::tail::{BATCH_OCTETS, Ending};

    #[test]
    fn events() {
        let mut event = b"before".to_vec();
        push_entry(7, b"{}", &mut event);
        assert_eq!(event, b"beforeevent: entry\nid: 7\ndata: e30=\n\n");
        assert_eq!(
            checkpoint_event("a\n1\nb\n\n\u{2014} a x\n"),
            "event: checkpoint\ndata: a\ndata: 1\ndata: b\ndata: \ndata: \u{2014} a x\ndata: \n\n"
        );
    }

    #[test]
    fn last_event_ids() {
        let with = |values: &[&'static str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (LAST_EVENT_ID, HeaderValue::from_static(value))).collect();
            last_event_id(&headers).ok()
        };
        assert_eq!(with(&[]), Some(None));
        assert_eq!(with(&[""]), Some(None));
        assert_eq!(with(&["0"]), Some(Some(0)));
        assert_eq!(with(&["18446744073709551615"]), Some(Some(u64::MAX)));
        for bad in [&["18446744073709551616"][..], &["-1"], &["+1"], &["1 "], &["x"], &["1", "1"]] {
            assert_eq!(with(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// No header value makes it panic.
        #[test]
        fn any_last_event_id(octets in any::<Vec<u8>>()) {
            if let Ok(value) = HeaderValue::from_bytes(&octets) {
                let mut headers = HeaderMap::new();
                headers.insert(LAST_EVENT_ID, value);
                let _ = last_event_id(&headers);
            }
        }
    }

    /// The largest batch fits into a queue.
    #[test]
    fn batches_fit() {
        let mut events = Vec::new();
        let leaf = vec![b'x'; common::audit::LEAF_LEN_MAX];
        // Many small leaves, then the largest: as many as a batch can have.
        push_entry(u64::MAX, &leaf[..BATCH_OCTETS - 1], &mut events);
        push_entry(u64::MAX, &leaf, &mut events);
        assert!(events.len() < QUEUE_OCTETS, "{}", events.len());
    }

    /// The queue has room for so much; who takes makes room again, but only when what was taken is done with.
    #[tokio::test]
    async fn bounded() {
        let (queue, mut body) = queue();
        let piece = || Bytes::from(vec![b'x'; QUEUE_OCTETS / 2]);
        let patience = Duration::from_millis(10);
        for _ in 0..2 {
            queue.send(piece(), patience).await.unwrap();
        }
        assert_eq!(queue.send(piece(), patience).await, Err(Ending::Slow));
        let taken = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(queue.send(piece(), patience).await, Err(Ending::Slow), "it is not written yet");
        drop(taken);
        queue.send(piece(), patience).await.unwrap();
        drop(body);
        assert_eq!(queue.send(Bytes::new(), patience).await, Err(Ending::Left));
    }
}
