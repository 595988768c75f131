//! One message to one receiver: HTTP/1.1 over TLS or clear TCP. Knows where nothing may be sent, and bounds all that a
//! receiver can do: how long it takes, how much it answers. Refuses to know when to send, and what to do about an answer.
//!
//! A name is looked up once for each connection, and the connection goes to an address that was checked: what the name
//! means a moment later doesn't matter. Redirects are answers like others; nobody follows them. No proxy is asked, whatever
//! the environment says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use common::tls::{Connector, Trust};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::clock;
use crate::config::webhooks::Allowed;
use crate::config::webhooks::address::Address;

/// For one message, from looking up the name to the head of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// The same where somebody waits for it.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(8);
/// Octets of the longest body of an answer that is read; of longer ones the connection is closed. Nobody looks at it.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Octets of the longest head of an answer.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// For the body of an answer whose head is there: it only tells whether the connection can be used again.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 3;
/// For a connection to one of them, so that the next gets its turn.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait that a receiver can ask for, milliseconds.
pub const RETRY_AFTER_MS_MAX: i64 = clock::DAY_MS;

/// What a receiver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What 429 and 503 say in `Retry-After`, milliseconds from now.
    pub retry_after_ms: Option<i64>,
}

/// Why there is no answer. Nothing in it is the receiver's own words.
#[derive(Debug, Error)]
pub enum Trouble {
    /// Nothing may be sent there.
    #[error("nothing is sent there: {0}")]
    NotAllowed(String),
    /// The name means nothing.
    #[error("the name of the host can't be looked up: {0}")]
    Name(String),
    /// Nobody is there.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// There is somebody, but not one that can be trusted.
    #[error("no connection in TLS: {0}")]
    Tls(String),
    /// The exchange broke, or what came is no answer.
    #[error("the connection broke before there was an answer: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// What a message says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, seconds since the epoch.
    pub at_s: i64,
    /// `webhook-signature`.
    pub signatures: &'a str,
}

/// Octets to and from a receiver.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

/// A connection to a receiver, kept for the next message.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends messages.
pub struct Client {
    allow: Allowed,
    ca_file: Option<PathBuf>,
    tls: OnceCell<Connector>,
}

impl Client {
    /// One that goes where it is allowed, and trusts these authorities or else the machine's.
    pub fn new(allow: Allowed, ca_file: Option<PathBuf>) -> Self {
        Self { allow, ca_file, tls: OnceCell::new() }
    }

    /// Sends a message. `line` is the connection to go by, if there is one; afterwards it is the one for the next message,
    /// if there can be one.
    ///
    /// # Errors
    /// [`Trouble`]; the receiver may have had the message all the same.
    pub async fn send(
        &self,
        address: &Address,
        line: &mut Option<Line>,
        signed: Signed<'_>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, Trouble> {
        let sent = tokio::time::timeout(timeout, self.exchange(address, line.take(), signed, body)).await;
        let (answer, kept) = sent.unwrap_or(Err(Trouble::Late(timeout)))?;
        *line = kept;
        Ok(answer)
    }

    async fn exchange(
        &self,
        address: &Address,
        kept: Option<Line>,
        signed: Signed<'_>,
        body: Bytes,
    ) -> Result<(Answer, Option<Line>), Trouble> {
        let broken = |error: &dyn std::error::Error| Trouble::Broken(crate::error_chain(error));
        if let Some(mut line) = kept
            && line.sender.ready().await.is_ok()
        {
            // The other side may have closed it in the meantime: then another one is opened, for the message has an id.
            if let Ok(response) = line.sender.send_request(request(address, signed, body.clone())?).await {
                return Ok(answered(response, line).await);
            }
        }
        let mut line = self.open(address).await?;
        let response =
            line.sender.send_request(request(address, signed, body)?).await.map_err(|error| broken(&error))?;
        Ok(answered(response, line).await)
    }

    async fn open(&self, address: &Address) -> Result<Line, Trouble> {
        let stream = self.connect(address).await?;
        let stream: Box<dyn Octets> = if address.is_tls {
            let shaken = self.connector().await?.connect(&address.host, stream).await;
            Box::new(shaken.map_err(|problem| Trouble::Tls(problem.in_our_words()))?)
        } else {
            Box::new(stream)
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Trouble::Broken(crate::error_chain(&error)))?;
        // It ends with the line, and what goes wrong in it shows at the request.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Line { sender, task })
    }

    async fn connect(&self, address: &Address) -> Result<TcpStream, Trouble> {
        let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|error| Trouble::Name(error.to_string()))?.collect();
        let mut trouble = Trouble::Name("it has no address".to_owned());
        let mut tried = 0;
        for place in found {
            if let Err(why) = self.allow.check(&address.host, place.port(), place.ip()) {
                trouble = Trouble::NotAllowed(why);
                continue;
            }
            if tried == ADDRESSES_MAX {
                break;
            }
            tried += 1;
            trouble = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(place)).await {
                Ok(Ok(stream)) => {
                    // Small messages, each in a hurry; without it they are only slower.
                    let _slower = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => Trouble::Unreachable(error.to_string()),
                Err(_elapsed) => Trouble::Unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
            };
        }
        Err(trouble)
    }

    /// The authorities are read when they are first needed: most registries have no webhook.
    async fn connector(&self) -> Result<&Connector, Trouble> {
        let made = self.tls.get_or_try_init(|| async {
            let trust = Trust { ca_file: self.ca_file.clone(), pin: None };
            let made = tokio::task::spawn_blocking(move || Connector::new(&trust)).await;
            made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        });
        made.await.map_err(Trouble::Tls)
    }
}

fn request(address: &Address, signed: Signed<'_>, body: Bytes) -> Result<Request<Full<Bytes>>, Trouble> {
    Request::post(&address.path)
        .header(header::HOST, &address.authority)
        .header(header::USER_AGENT, concat!("mregd/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", signed.id)
        .header("webhook-timestamp", signed.at_s)
        .header("webhook-signature", signed.signatures)
        .body(Full::new(body))
        .map_err(|error| Trouble::NotAllowed(format!("the address can't stand in a request: {error}")))
}

/// The answer, and the connection if it can be used again: not with octets on it that nobody read.
async fn answered(response: http::Response<hyper::body::Incoming>, line: Line) -> (Answer, Option<Line>) {
    let status = response.status().as_u16();
    let retry_after_ms =
        matches!(status, 429 | 503).then(|| retry_after_ms(response.headers(), clock::now_ms())).flatten();
    let body = tokio::time::timeout(BODY_WAIT, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect()).await;
    let kept = matches!(body, Ok(Ok(_))).then_some(line);
    (Answer { status, retry_after_ms }, kept)
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a time.
fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after_ms = match text.parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * clock::SECOND_MS,
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(at.as_millis()).ok()?.saturating_sub(now_ms)
        }
    };
    Some(after_ms.clamp(0, RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::{HeaderMap, HeaderValue, header};

    use super::{RETRY_AFTER_MS_MAX, retry_after_ms};

    /// Both spellings of Retry-After, bounded; what is neither says nothing.
    #[test]
    fn retry_after() {
        let now_ms = 1_700_000_000_000;
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after_ms(&headers, now_ms)
        };
        assert_eq!(asked("7"), Some(7_000));
        assert_eq!(asked("0"), Some(0));
        assert_eq!(asked("4294967295"), Some(RETRY_AFTER_MS_MAX));
        assert_eq!(asked("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60_000));
        assert_eq!(asked("Tue, 14 Nov 2017 22:14:20 GMT"), Some(0));
        assert_eq!(asked("Thu, 14 Nov 2199 22:14:20 GMT"), Some(RETRY_AFTER_MS_MAX));
        for text in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(asked(text), None, "{text}");
        }
        assert_eq!(retry_after_ms(&HeaderMap::new(), now_ms), None);
    }
}
