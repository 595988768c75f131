//! The octets of one connection, below HTTP: which version is spoken, a reader that takes nothing is cut, and a close
//! that lets the client see the last answer. Knows sockets; refuses to know requests.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, Bytes, BytesMut};
use common::problem::{CONTENT_TYPE, ProblemType};
use http::{StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Connection;
use super::pace::Patience;
use crate::clock;
use crate::http::problem::instance;

/// The kernel gives up on a peer that acknowledges nothing for so long.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(90);

/// What an HTTP/2 client with prior knowledge says first (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After the last answer, what still arrives of a refused body is thrown away until the client closes, is silent for
/// [`LINGER_QUIET`], took [`LINGER_TIME`] or sent [`LINGER_BYTES_MAX`]. Closing at once would reset the connection, and
/// many clients then lose the answer that says why (RFC 9112 §9.6).
const LINGER_QUIET: Duration = Duration::from_secs(2);
const LINGER_TIME: Duration = Duration::from_secs(10);
const LINGER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Sets the options of an accepted connection.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let timeout_ms = u32::try_from(UNACKNOWLEDGED_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, timeout_ms)?;
    Ok(())
}

/// A connection's octets.
pub(super) struct Line<S> {
    stream: S,
    connection: Arc<Connection>,
    /// A client that takes no octet of its answer, or too few, is cut when this is at its end.
    patience: Patience,
    /// Read while finding out the version, not yet handed on.
    sniffed: BytesMut,
    /// Since when the client takes nothing, and until when it may.
    stall: Option<(Instant, Pin<Box<Sleep>>)>,
    linger: Option<Linger>,
    /// Being written instead of hyper's own answer.
    instead: Option<Bytes>,
}

struct Linger {
    quiet: Pin<Box<Sleep>>,
    until: Instant,
    bytes: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(super) fn new(stream: S, patience: Patience, connection: Arc<Connection>) -> Self {
        Self { stream, connection, patience, sniffed: BytesMut::new(), stall: None, linger: None, instead: None }
    }

    /// Reads until it is clear which version the client speaks.
    ///
    /// # Errors
    /// The client left, said nothing for `first`, or did not get on with it within `rest`.
    pub(super) async fn sniff(&mut self, first: Duration, rest: Duration) -> io::Result<Version> {
        let octets = tokio::time::timeout(first, self.stream.read_buf(&mut self.sniffed)).await??;
        if octets == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tokio::time::timeout(rest, self.sniff_on()).await?
    }

    async fn sniff_on(&mut self) -> io::Result<Version> {
        loop {
            let common = self.sniffed.iter().zip(H2_PREFACE).take_while(|(got, preface)| got == preface).count();
            if common == H2_PREFACE.len() {
                return Ok(Version::HTTP_2);
            }
            if common < self.sniffed.len() {
                return Ok(Version::HTTP_11);
            }
            if self.stream.read_buf(&mut self.sniffed).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Passes a write's result on, and watches how long there is none.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        octets: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &written {
            let waited = self.stall.take().map_or(Duration::ZERO, |(since, _until)| since.elapsed());
            if let Ok(taken) = result {
                self.patience.moved(octets(taken) as u64, waited);
            }
            return written;
        }
        let left = self.patience.left();
        let (_since, until) = self.stall.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes its answer too slowly, or not at all",
        )))
    }

    /// Writes our answer where hyper wrote its own, as it does to a head that it can't read.
    fn poll_write_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(answer) = self.instead.as_mut().filter(|answer| answer.has_remaining()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, answer);
            match self.watched(cx, written, |octets| *octets) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(octets)) => self.instead.as_mut().map_or((), |answer| answer.advance(octets)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.instead = None;
        // What is left of the head is not read.
        self.connection.watch.unread.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets; ready when there is nothing left to be polite about.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            quiet: Box::pin(tokio::time::sleep(LINGER_QUIET)),
            until: Instant::now() + LINGER_TIME,
            bytes: 0,
        });
        let mut octets = [0; 16 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut octets);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.bytes += buffer.filled().len() as u64;
                    let now = Instant::now();
                    if linger.bytes > LINGER_BYTES_MAX || now > linger.until {
                        return Poll::Ready(());
                    }
                    linger.quiet.as_mut().reset(linger.until.min(now + LINGER_QUIET));
                }
                Poll::Ready(_end_or_error) => return Poll::Ready(()),
                Poll::Pending => return linger.quiet.as_mut().poll(cx),
            }
        }
    }
}

/// hyper answers a head that it can't read by itself, with a status and nothing else. None of our own answers has an
/// error's status and no body, so these can be told apart, and become problem documents like all others.
fn answer_to_bad_head(octets: &[u8]) -> Option<Bytes> {
    const BEGIN: &[u8] = b"HTTP/1.1 4";
    const EMPTY: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n";
    let is_own = octets.starts_with(BEGIN)
        && octets.len() < 256
        && octets.ends_with(b"\r\n\r\n")
        && octets.windows(EMPTY.len()).any(|window| window == EMPTY);
    if !is_own {
        return None;
    }
    let too_large = octets.starts_with(b"HTTP/1.1 431") || octets.starts_with(b"HTTP/1.1 414");
    let (kind, detail) = if too_large {
        (ProblemType::HeadersTooLarge, "the request's head is over 64 KiB, or has over 100 fields")
    } else {
        (ProblemType::BadRequest, "the request's head is not HTTP")
    };
    let request_id = uuid::Uuid::now_v7().to_string();
    let status = kind.status();
    tracing::info!(request_id, status, "a request's head can't be read");
    let body = serde_json::to_vec(&kind.problem(detail, instance(&request_id))).ok()?;
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {CONTENT_TYPE}\r\nx-request-id: {request_id}\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\
         date: {}\r\n\r\n",
        body.len(),
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(clock::now_ms().unsigned_abs()))
    );
    Some([head.into_bytes(), body].concat().into())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.sniffed.has_remaining() {
            let octets = this.sniffed.len().min(buffer.remaining());
            buffer.put_slice(&this.sniffed.split_to(octets));
            this.connection.heard();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.connection.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = answer_to_bad_head(octets);
        }
        if self.instead.is_some() {
            return self.poll_write_instead(cx).map_ok(|()| octets.len());
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.watched(cx, written, |octets| *octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [octets] = octets {
            return self.poll_write(cx, octets);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, octets);
        self.watched(cx, written, |octets| *octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.connection.watch.unread.load(Ordering::Relaxed) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::answer_to_bad_head;

    /// hyper's bare answers become problem documents; whatever else is written stays as it is.
    #[test]
    fn bare_answers() {
        let bare =
            |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n");
        for (status, slug) in
            [("400 Bad Request", "bad-request"), ("431 Request Header Fields Too Large", "headers-too-large")]
        {
            let answer = answer_to_bad_head(bare(status).as_bytes()).map(|octets| octets.to_vec());
            let text = answer.and_then(|octets| String::from_utf8(octets).ok()).unwrap_or_default();
            assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text}");
            assert!(text.contains("x-request-id: ") && text.contains(&format!("/problems/{slug}")), "{text}");
        }
        for other in [bare("200 OK"), "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n{}".into(), String::new()] {
            assert!(answer_to_bad_head(other.as_bytes()).is_none());
        }
    }
}
