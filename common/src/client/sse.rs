//! Server-sent events (WHATWG HTML §9.2.6) and, made of them, the live tail of the audit log. [`Parser`] turns octets into
//! events however they are cut; [`AuditStream`] turns events into entries and checkpoints, and holds them to consecutive
//! indices. Both are bounded whatever the other side sends. Connecting again, and verifying what came, is for the caller.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

use super::{Client, ClientError, Target, text};
use crate::audit::LEAF_LEN_MAX;

/// Octets of the longest line that is read: an entry's data and some more.
pub const LINE_OCTETS_MAX: usize = LEAF_LEN_MAX.div_ceil(3) * 4 + 1024;
/// Octets of data that one event may have.
pub const EVENT_OCTETS_MAX: usize = 256 * 1024;
/// Octets of the longest name and the longest id: an index has 16 digits. Longer ones are passed over, so that they are not
/// handed out with every event.
pub const FIELD_OCTETS_MAX: usize = 64;
/// Longest silence of a live tail: three comments would have come in it.
pub const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The media type.
const MEDIA_TYPE: &str = "text/event-stream";
const BOM: &[u8] = "\u{feff}".as_bytes();

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where none was given.
    pub name: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
    /// The last `id` up to this event; empty where there was none.
    pub last_id: String,
}

/// What no event can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SseError {
    /// A line is longer than [`LINE_OCTETS_MAX`].
    #[error("a line of the event stream is longer than {LINE_OCTETS_MAX} octets")]
    LineTooLong,
    /// An event's data is longer than [`EVENT_OCTETS_MAX`].
    #[error("an event of the stream is longer than {EVENT_OCTETS_MAX} octets")]
    EventTooLong,
}

/// Reads a stream of events from octets as they come. What is not an event by the rules is passed over, as the rules have
/// it; octets that are no UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// The octet before was a carriage return that ended a line: a line feed after it is part of the same end.
    after_return: bool,
    /// The first line was read: no byte order mark can follow.
    begun: bool,
    name: String,
    data: String,
    id: String,
    retry: Option<Duration>,
    /// A limit was broken; nothing is read after that.
    broken: Option<SseError>,
}

impl Parser {
    /// Reads octets; the events that they complete go to `events`. An event that is not complete at the stream's end is
    /// none.
    ///
    /// # Errors
    /// A limit is broken, now or before.
    pub fn push(&mut self, mut octets: &[u8], mut events: impl FnMut(Event)) -> Result<(), SseError> {
        while let Some(event) = self.take(&mut octets)? {
            events(event);
        }
        Ok(())
    }

    /// Reads octets up to the end of one event, and leaves those behind it: a frame of many small events is never held as
    /// events, each a multiple of its octets. `None` once all were read and no event was complete.
    ///
    /// # Errors
    /// A limit is broken, now or before.
    pub fn take(&mut self, octets: &mut &[u8]) -> Result<Option<Event>, SseError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let taken = self.read(octets);
        self.broken = taken.as_ref().err().copied();
        taken
    }

    /// The time to wait before connecting again, where the stream said one.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn read(&mut self, octets: &mut &[u8]) -> Result<Option<Event>, SseError> {
        while let Some(&first) = octets.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                *octets = &octets[1..];
                continue;
            }
            let end = octets.iter().position(|octet| matches!(octet, b'\n' | b'\r'));
            let part = &octets[..end.unwrap_or(octets.len())];
            if self.line.len() + part.len() > LINE_OCTETS_MAX {
                return Err(SseError::LineTooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else {
                *octets = &[];
                return Ok(None);
            };
            self.after_return = octets[end] == b'\r';
            *octets = &octets[end + 1..];
            let line = std::mem::take(&mut self.line);
            let event = self.end_of_line(&line)?;
            // Its memory is used again.
            self.line = line;
            self.line.clear();
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<Option<Event>, SseError> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let line = if is_first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = match line.iter().position(|octet| *octet == b':') {
            // A comment.
            Some(0) => return Ok(None),
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"event" | b"id" if value.len() > FIELD_OCTETS_MAX => {}
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                let value = String::from_utf8_lossy(value);
                if self.data.len() + value.len() >= EVENT_OCTETS_MAX {
                    return Err(SseError::EventTooLong);
                }
                self.data.push_str(&value);
                self.data.push('\n');
            }
            b"id" if !value.contains(&0) => self.id = String::from_utf8_lossy(value).into_owned(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let milliseconds = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = milliseconds.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        // Each line of data has ended with a line feed, so this tells no data from one empty line of it.
        data.pop()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(Event { name, data, last_id: self.id.clone() })
    }
}

/// What a live tail brings. New kinds may be added; those of a newer daemon are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEvent {
    /// An entry.
    Entry {
        /// Its index: one more than that of the entry before it.
        index: u64,
        /// The exact octets of its leaf.
        leaf: Vec<u8>,
    },
    /// What stands where an entry should, and is none: no index, or no base64 of a leaf's length. Only from a stream that
    /// is taken as it comes.
    Malformed {
        /// The event's id.
        id: String,
        /// The event's data.
        data: String,
    },
    /// The signed note of a checkpoint: all entries it covers have been brought. Its size is not looked at here.
    Checkpoint(String),
    /// The daemon ends the stream in order.
    Bye(Bye),
}

/// Why the daemon ends a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bye {
    /// The token has expired: refresh it and go on.
    Expired,
    /// The session has ended, or the user may not read the log any more.
    Revoked,
    /// The daemon stops; it may come back.
    Stopping,
    /// A reason of a newer daemon.
    Other(String),
}

impl From<String> for Bye {
    fn from(reason: String) -> Self {
        match reason.as_str() {
            "expired" => Self::Expired,
            "revoked" => Self::Revoked,
            "stopping" => Self::Stopping,
            _ => Self::Other(reason),
        }
    }
}

/// A live tail.
pub struct AuditStream {
    body: Incoming,
    address: String,
    request_id: String,
    log_index: u64,
    parser: Parser,
    order: Order,
    /// What came and was not read yet: one event is made of it at a time.
    unread: Bytes,
}

impl Client {
    /// `GET /audit-logs/stream`: the log behind an entry, or from now on, as it grows.
    ///
    /// # Errors
    /// [`ProblemType::Forbidden`](crate::problem::ProblemType::Forbidden) without `audit.read`,
    /// [`ProblemType::Invalid`](crate::problem::ProblemType::Invalid) for an index that isn't in the log,
    /// [`ProblemType::TooManyRequests`](crate::problem::ProblemType::TooManyRequests) and
    /// [`ProblemType::Unavailable`](crate::problem::ProblemType::Unavailable) where there are too many streams; those of
    /// every call.
    pub async fn audit_stream(&self, after: Option<u64>) -> Result<AuditStream, ClientError> {
        self.open_stream(after, true).await
    }

    /// The same, taken as it comes: entries of any index, and what is none as [`LogEvent::Malformed`]. For who holds the log
    /// to its order and keeps what it did instead.
    ///
    /// # Errors
    /// Those of [`Client::audit_stream`].
    pub async fn audit_stream_as_it_comes(&self, after: Option<u64>) -> Result<AuditStream, ClientError> {
        self.open_stream(after, false).await
    }

    async fn open_stream(&self, after: Option<u64>, strict: bool) -> Result<AuditStream, ClientError> {
        let target = Target::new(&["audit-logs", "stream"]).number("after", after);
        let reply = self.open(Method::GET, target, MEDIA_TYPE, &[]).await?;
        let (status, headers) = (reply.body.status(), reply.body.headers());
        if status != StatusCode::OK || !is_event_stream(headers) {
            return Err(ClientError::Protocol(format!("status {status} and no {MEDIA_TYPE} to a stream")));
        }
        let log_index = reply
            .log_index
            .ok_or_else(|| ClientError::Protocol("a stream of the log that does not name its entry".to_owned()))?;
        Ok(AuditStream {
            body: reply.body.into_body(),
            address: self.address().to_owned(),
            request_id: reply.request_id,
            log_index,
            parser: Parser::default(),
            order: Order { next: after.unwrap_or(log_index).saturating_add(1), strict },
            unread: Bytes::new(),
        })
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let media = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

impl AuditStream {
    /// The index that the next entry must have. To go on later, ask for what is behind the one before it.
    pub fn next_index(&self) -> u64 {
        self.order.next
    }

    /// The last entry that was brought, or behind which the stream began: what to give as `after` to go on.
    pub fn last_index(&self) -> u64 {
        self.order.next.saturating_sub(1)
    }

    /// The entry that records the stream's beginning. Without `after`, the stream begins behind it.
    pub fn log_index(&self) -> u64 {
        self.log_index
    }

    /// `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The time to wait before connecting again, where the daemon said one.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// The next event. None where the body ends; without [`LogEvent::Bye`] before, that is a cut. May be dropped while it
    /// waits.
    ///
    /// # Errors
    /// [`ClientError::Offline`] where it broke, [`ClientError::Timeout`] after a silence of [`SILENCE_MAX`],
    /// [`ClientError::Protocol`] for what is no stream of consecutive entries: the stream is then of no more use.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        loop {
            let mut rest: &[u8] = &self.unread;
            let taken = self.parser.take(&mut rest).map_err(|error| ClientError::Protocol(error.to_string()))?;
            let read = self.unread.len() - rest.len();
            self.unread.advance(read);
            match taken.map(|event| self.order.check(event)).transpose()?.flatten() {
                Some(event) => return Ok(Some(event)),
                None if !self.unread.is_empty() => {}
                None => match self.octets().await? {
                    Some(octets) => self.unread = octets,
                    None => return Ok(None),
                },
            }
        }
    }

    /// The next event of those that have come whole; none where more must come first.
    ///
    /// # Errors
    /// [`ClientError::Protocol`], as [`AuditStream::next`].
    pub fn next_of_those_here(&mut self) -> Result<Option<LogEvent>, ClientError> {
        while !self.unread.is_empty() {
            let mut rest: &[u8] = &self.unread;
            let taken = self.parser.take(&mut rest).map_err(|error| ClientError::Protocol(error.to_string()))?;
            let read = self.unread.len() - rest.len();
            self.unread.advance(read);
            if let Some(event) = taken.map(|event| self.order.check(event)).transpose()?.flatten() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    async fn octets(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = timeout(SILENCE_MAX, self.body.frame()).await.map_err(|_elapsed| ClientError::Timeout {
                address: self.address.clone(),
                seconds: SILENCE_MAX.as_secs(),
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(octets) = frame.into_data() {
                        return Ok(Some(octets));
                    }
                }
                Some(Err(cause)) => {
                    return Err(ClientError::Offline { address: self.address.clone(), cause: cause.to_string() });
                }
            }
        }
    }
}

/// Holds entries to consecutive indices.
#[derive(Debug)]
struct Order {
    next: u64,
    /// Whether anything else ends the stream; else it is handed on.
    strict: bool,
}

impl Order {
    /// What an event means; nothing where it is of a kind that is not known.
    fn check(&mut self, event: Event) -> Result<Option<LogEvent>, ClientError> {
        let refuse = |why: String| Err(ClientError::Protocol(why));
        Ok(Some(match event.name.as_str() {
            "entry" if !self.strict => {
                let leaf = STANDARD.decode(&event.data).ok().filter(|leaf| leaf.len() <= LEAF_LEN_MAX);
                match (event.last_id.parse::<u64>().ok().filter(|index| *index < u64::MAX), leaf) {
                    (Some(index), Some(leaf)) => {
                        self.next = self.next.max(index + 1);
                        LogEvent::Entry { index, leaf }
                    }
                    (_, _) => LogEvent::Malformed { id: event.last_id, data: event.data },
                }
            }
            "entry" => {
                let index: u64 = match event.last_id.parse() {
                    Ok(index) if index == self.next => index,
                    Ok(index) => return refuse(format!("entry {index} where {} was to come", self.next)),
                    Err(_no_number) => return refuse(format!("an entry with the id {:?}", cut(&event.last_id))),
                };
                let leaf = match STANDARD.decode(&event.data) {
                    Ok(leaf) if leaf.len() <= LEAF_LEN_MAX => leaf,
                    Ok(leaf) => return refuse(format!("entry {index} of {} octets", leaf.len())),
                    Err(error) => return refuse(format!("entry {index} is no base64: {error}")),
                };
                self.next = match index.checked_add(1) {
                    Some(next) => next,
                    None => return refuse(format!("entry {index}")),
                };
                LogEvent::Entry { index, leaf }
            }
            "checkpoint" => LogEvent::Checkpoint(event.data),
            "bye" => LogEvent::Bye(event.data.into()),
            _ => return Ok(None),
        }))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(super::QUOTE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
