//! One request from its head to the last octet of its answer: what it holds of its connection and of the daemon, and what the
//! log, the metrics and a collector are told of it. Knows frames and whether they are taken; refuses to know what is in them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header;
use http::uri::Authority;
use http::{Method, Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tracing::Span;

use super::flight::Flight;
use super::{ANONYMOUS, CLIENT_GONE, Connection, HOST_BYTES_MAX};
use crate::http::forwarded::Origin;
use crate::http::metrics::{Held, UNMATCHED};
use crate::http::{Body, Shared, auth};
use crate::registry::access::Caller;
use crate::traces;

/// Octets that are handed to one stream of HTTP/2 at once. It keeps them until its peer takes them, and there are many
/// streams: so that each can be seen to move, and holds little.
const H2_PIECE: usize = 16 * 1024;

/// An answer of so many octets or fewer keeps no place among all requests while it waits for its reader: else a few readers
/// that take nothing would hold all places with next to nothing.
const SMALL_ANSWER: u64 = 4 * 1024;

/// What a request holds until the last octet of its answer has left, or its stream is gone.
pub(super) struct Hold {
    connection: Arc<Connection>,
    /// Its place among all requests, where its answer is large.
    flight: OnceLock<Arc<Flight>>,
    /// Since when its peer is waited for, milliseconds of the connection plus one; 0 while it isn't.
    waits_since_ms: AtomicU64,
    _open: Held,
}

impl Hold {
    fn waits(&self) {
        self.waits_since_ms.store(self.connection.now_ms() + 1, Ordering::Relaxed);
    }

    fn waits_no_more(&self) {
        self.waits_since_ms.store(0, Ordering::Relaxed);
    }

    /// Since when its peer has taken nothing of it, milliseconds of the connection.
    pub(super) fn waits_since_ms(&self) -> Option<u64> {
        self.waits_since_ms.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.connection.end();
    }
}

/// Octets of an answer in HTTP/2, which are kept until the peer takes them: so long its request isn't over.
struct Piece {
    octets: Bytes,
    hold: Arc<Hold>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.hold.waits_since_ms().is_some() {
            self.hold.waits();
        }
    }
}

/// One request from its head to the last octet of its answer, for the log and the metrics.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    hold: Arc<Hold>,
    /// Its place among all requests while it is answered; none at the control socket.
    pub(super) flight: Option<Arc<Flight>>,
    began: Instant,
    request_id: Arc<str>,
    pub(super) origin: Origin,
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) status: u16,
    /// Who asked; none before that is looked at.
    pub(super) caller: Option<Arc<Caller>>,
    sent_bytes: u64,
    /// Whether all of the answer was handed to the connection.
    complete: bool,
    /// For a collector of traces; none where there is none.
    pub(super) span: Span,
}

impl Exchange {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
        request: &Request<Incoming>,
        request_id: Arc<str>,
        origin: Origin,
    ) -> Self {
        connection.begin();
        let hold = Arc::new(Hold {
            connection: Arc::clone(connection),
            flight: OnceLock::new(),
            waits_since_ms: AtomicU64::new(0),
            _open: shared.metrics.request_opened(),
        });
        let span = if traces::are_on() { span(shared, request, &request_id, origin) } else { Span::none() };
        Self {
            shared: Arc::clone(shared),
            hold,
            flight: None,
            began: Instant::now(),
            request_id,
            origin,
            method: request.method().clone(),
            template: UNMATCHED,
            status: CLIENT_GONE,
            caller: None,
            sent_bytes: 0,
            complete: false,
            span,
        }
    }

    /// The answer is there, of so many octets where that is known: a large one keeps the request's place until it is taken.
    pub(super) fn is_answered(&mut self, octets: Option<u64>) {
        if let Some(flight) = self.flight.take()
            && octets.is_none_or(|octets| octets > SMALL_ANSWER)
        {
            // Answered once.
            let _unset = self.hold.flight.set(flight);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let method = known_method(&self.method);
        self.shared.metrics.request(method, self.template, self.status, took, self.sent_bytes);
        // Neither path nor query: they name models, and can carry what was pasted into them by mistake.
        tracing::info!(
            request_id = &*self.request_id,
            method,
            route = self.template,
            status = self.status,
            ms = took.as_micros() as f64 / 1000.0,
            bytes = self.sent_bytes,
            actor = self.caller.as_ref().map_or(ANONYMOUS, |caller| &caller.actor.name),
            ip = self.origin.ip.and_then(|ip| self.shared.registry.shown_ip(ip)),
            cut = (!self.complete).then_some(true),
            trace_id = traces::trace_id(&self.span),
            "request"
        );
        let status = Some(self.status).filter(|status| *status != CLIENT_GONE);
        traces::answered(&self.span, status, self.sent_bytes, !self.complete);
    }
}

/// The span of a request, with what is known of it before it is looked at.
fn span(shared: &Shared, request: &Request<Incoming>, request_id: &str, origin: Origin) -> Span {
    let of_head = || request.headers().get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = request.uri().authority().cloned().or_else(of_head);
    let host = authority.as_ref().map(|authority| (authority.host(), authority.port_u16()));
    let ip = origin.ip.and_then(|ip| shared.registry.shown_ip(ip));
    let user_agent = auth::user_agent(request.headers());
    let asked = traces::Asked {
        method: known_method(request.method()),
        scheme: if origin.is_https { "https" } else { "http" },
        host: host.filter(|(host, _port)| host.len() <= HOST_BYTES_MAX),
        ip: ip.as_deref(),
        user_agent: user_agent.as_deref(),
        request_id,
    };
    traces::request(&asked, request.headers())
}

/// The method as a label; what clients invent does not become one.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The body of an answer, counted; its end is the end of the exchange.
pub(super) struct Tracked {
    body: Body,
    /// Of a frame that is handed over in pieces, what is left.
    rest: Bytes,
    is_http2: bool,
    exchange: Exchange,
}

impl Tracked {
    pub(super) fn new(body: Body, version: Version, mut exchange: Exchange) -> Self {
        exchange.complete = body.is_end_stream();
        let is_http2 = version == Version::HTTP_2;
        if is_http2 {
            exchange.hold.connection.sends(&exchange.hold);
        }
        Self { body, rest: Bytes::new(), is_http2, exchange }
    }

    /// Hands octets to the connection: in HTTP/2 the next piece of what is left.
    fn hand_over(&mut self) -> Frame<Bytes> {
        let octets = if self.is_http2 {
            let hold = Arc::clone(&self.exchange.hold);
            // Not asked for the next one until this one goes: nobody else sees that time pass.
            hold.waits();
            Bytes::from_owner(Piece { octets: self.rest.split_to(self.rest.len().min(H2_PIECE)), hold })
        } else {
            std::mem::take(&mut self.rest)
        };
        self.exchange.sent_bytes += octets.len() as u64;
        self.exchange.complete = self.is_end_stream();
        Frame::data(octets)
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.hand_over())));
        }
        if this.is_http2 {
            this.exchange.hold.waits_no_more();
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(octets) => {
                    this.rest = octets;
                    Poll::Ready(Some(Ok(this.hand_over())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            Poll::Ready(None) => {
                this.exchange.complete = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let request_id = &*this.exchange.request_id;
                tracing::warn!(request_id, error = &error as &dyn std::error::Error, "an answer was cut");
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Nobody asks between two pieces: the length is that of the whole.
        self.body.size_hint()
    }
}
