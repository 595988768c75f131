//! The network of a witness: HTTP/1.1, in TLS where there is a certificate, two resources, few connections. Knows sockets and
//! status codes; refuses to know what may be cosigned. Bounds, all of them:
//!
//! | what | bound | then |
//! |---|---|---|
//! | connections | [`CONNECTIONS_MAX`] | wait to be accepted |
//! | connections of one address | [`CONNECTIONS_PER_PEER_MAX`] | closed at once |
//! | a connection | [`CONNECTION_TIME_MAX`]; one request, unless that is a log's | closed after its request |
//! | a handshake of TLS | [`HEAD_TIMEOUT`] | closed |
//! | request head, and idleness before it | [`HEAD_TIMEOUT`], [`HEAD_BYTES_MAX`] | closed; 431 |
//! | request body | [`BODY_TIMEOUT`], [`REQUEST_BYTES_MAX`] | 408; 413 |
//! | the stop | [`STOP_TIMEOUT`] | cut |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock;
use crate::http::server::{Stop, pause_after, raised};
use crate::tls::Tls;
use crate::witness::{REQUEST_BYTES_MAX, Verdict, Witness};

/// Connections at once. Each may wait for one sync of a file.
pub const CONNECTIONS_MAX: usize = 64;
/// Connections of one address at once (of IPv6, of one /64), so that nobody alone takes the places of all. What comes
/// through one proxy or tunnel is one address.
pub const CONNECTIONS_PER_PEER_MAX: usize = 8;
/// A connection is used for so long; a log asks every few seconds and may keep its own.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);
/// From the end of an answer, or the beginning, to the end of the next request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// For all of a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For requests under way at the stop, and for a connection that was told to close.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The media type of a tree's size (C2SP tlog-witness).
pub const SIZE_TYPE: &str = "text/x.tlog.size";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Serves until the stop, in TLS where there is a certificate, then lets requests under way end.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, witness: Arc<Witness>, mut stop: Stop) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let peers = Arc::new(Peers::default());
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            biased;
            () = raised(&mut stop.begun) => break,
            Some(_ended) = connections.join_next() => continue,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            biased;
            () = raised(&mut stop.begun) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = Peers::place(&peers, address.ip()) else { continue };
                let (witness, tls, begun) = (Arc::clone(&witness), tls.clone(), stop.begun.clone());
                connections.spawn(async move {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a new connection's options can't be set");
                    }
                    match tls {
                        None => connection(stream, witness, begun).await,
                        Some(tls) => {
                            if let Some(stream) = shake(stream, &tls, begun.clone()).await {
                                connection(stream, witness, begun).await;
                            }
                        }
                    }
                    drop((place, slot));
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => {}
        () = tokio::time::sleep(STOP_TIMEOUT) => {}
        () = raised(&mut stop.at_once) => {}
    }
    // What is being recorded is recorded on its own thread, whole or not at all.
    connections.shutdown().await;
}

/// How many connections each peer has.
#[derive(Default)]
struct Peers(Mutex<BTreeMap<IpAddr, usize>>);

/// One connection of a peer, while it lasts.
struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection of the peer; none where it has all that it gets.
    fn place(peers: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = host(address);
        let mut counts = peers.lock();
        let count = counts.entry(peer).or_default();
        if *count >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place { peers: Arc::clone(peers), peer })
    }
}

/// What counts as one peer: of IPv6, where a host has many addresses, its /64.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// Shakes hands, with the certificate of this moment; none where that comes to nothing.
async fn shake(stream: TcpStream, tls: &Tls, mut begun: watch::Receiver<bool>) -> Option<TlsStream<TcpStream>> {
    let shaking = TlsAcceptor::from(Arc::clone(&tls.current().config)).accept(stream);
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HEAD_TIMEOUT, shaking) => shaken,
        () = raised(&mut begun) => return None,
    };
    match shaken.map_err(std::io::Error::from).flatten() {
        Ok(stream) => Some(stream),
        Err(error) => {
            tls.handshake_failed();
            tracing::debug!(%error, "a handshake came to nothing");
            None
        }
    }
}

async fn connection<S>(stream: S, witness: Arc<Witness>, mut begun: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(Arc::clone(&witness), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = async {
            tokio::select! {
                () = raised(&mut begun) => {}
                () = tokio::time::sleep(CONNECTION_TIME_MAX) => {}
            }
        } => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(STOP_TIMEOUT, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

async fn answer(witness: Arc<Witness>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_head = request.method() == Method::HEAD;
    let response = match (request.uri().path(), request.method()) {
        ("/add-checkpoint", &Method::POST) => add_checkpoint(witness, request.into_body()).await,
        ("/add-checkpoint", _) => not_allowed("POST"),
        ("/", &Method::GET | &Method::HEAD) => closing(text(StatusCode::OK, status(&witness))),
        ("/", _) => not_allowed("GET, HEAD"),
        _ => closing(text(StatusCode::NOT_FOUND, "a witness answers POST /add-checkpoint and GET /\n")),
    };
    Ok(if is_head { response.map(|_body| Full::default()) } else { response })
}

async fn add_checkpoint(witness: Arc<Witness>, body: Incoming) -> Response<Full<Bytes>> {
    let body = Limited::new(body, REQUEST_BYTES_MAX);
    let octets = match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(octets)) => octets.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return closing(text(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 64 KiB\n"));
        }
        Ok(Err(_cut)) => return closing(text(StatusCode::BAD_REQUEST, "the body was cut short\n")),
        Err(_late) => return closing(text(StatusCode::REQUEST_TIMEOUT, "the body took more than 10 s\n")),
    };
    let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&octets)).await;
    match judged {
        // Only what a log signed keeps its connection.
        Ok(verdict @ (Verdict::Cosigned(_) | Verdict::Conflict(_))) => render(verdict),
        Ok(verdict) => closing(render(verdict)),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the witness's diagnostics say why\n")
        }
    }
}

/// The status of each verdict (C2SP tlog-witness).
fn render(verdict: Verdict) -> Response<Full<Bytes>> {
    match verdict {
        Verdict::Cosigned(line) => text(StatusCode::OK, line),
        Verdict::Malformed(why) => text(StatusCode::BAD_REQUEST, format!("{why}\n")),
        Verdict::UnknownKey => text(StatusCode::FORBIDDEN, "no valid signature by a known key of this log\n"),
        Verdict::UnknownLog => text(StatusCode::NOT_FOUND, "this log is not watched here\n"),
        Verdict::Conflict(size) => bytes(StatusCode::CONFLICT, SIZE_TYPE, format!("{size}\n")),
        Verdict::Inconsistent => {
            text(StatusCode::UNPROCESSABLE_ENTITY, "the proof does not lead from the last cosigned checkpoint\n")
        }
        Verdict::ClockBehind => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the witness's clock is wrong, so nothing was cosigned\n")
        }
        Verdict::NotRecorded => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the checkpoint can't be recorded, so it was not cosigned\n")
        }
    }
}

/// What anyone may know: all of it is in the cosignatures.
fn status(witness: &Witness) -> String {
    let mut text = format!("mregd witness {}\nkey {}\n", env!("CARGO_PKG_VERSION"), witness.vkey());
    for log in witness.logs() {
        let _ = match log.recorded {
            Some((size, at_ms)) => {
                writeln!(text, "log {} size {size} recorded {}", log.origin, clock::rfc3339(at_ms))
            }
            None => writeln!(text, "log {} nothing yet", log.origin),
        };
    }
    text
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("this resource knows {methods}\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    closing(response)
}

/// The connection ends with this; what is left of the request is not read.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    bytes(status, TEXT_TYPE, text)
}

fn bytes(status: StatusCode, content_type: &'static str, octets: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(octets.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
