//! Serving: the accept loop, bounds, the orderly stop, and `handle`, the one outer function of a request:
//! id -> route -> caller -> handler -> audit of failures -> problem document -> common headers -> one log line.
//!
//! Knows connections and requests; refuses to know what any request means. Bounds, all of them:
//!
//! | what | bound | then |
//! |---|---|---|
//! | connections, handshakes of TLS not counted | `MREG_MAX_CONNECTIONS` | the longest idle gives way, else 503 and closed |
//! | of one address, proxies that are believed excepted | `MREG_MAX_CONNECTIONS_PER_ADDRESS` | the same, else 429 |
//! | requests being answered | `MREG_MAX_REQUESTS` | 503 |
//! | of one client | `MREG_MAX_REQUESTS_PER_CLIENT` | 429 |
//! | of those that have places of their own | [`flight::CONTROL_MAX`], [`flight::SIGN_IN_MAX`] | 503 |
//! | how long the log may be behind for what it records | [`LOG_BEHIND_MAX`] | 503 |
//! | handshakes of TLS at once | [`listen::HANDSHAKES_MAX`] | the oldest gives way |
//! | a handshake of TLS | `MREG_HEADER_TIMEOUT_SECONDS` | closed |
//! | request head | [`HEAD_BYTES_MAX`], 100 fields (hyper's own) | 431 |
//! | a head that isn't complete | `MREG_HEADER_TIMEOUT_SECONDS`; where its first octets came with the request before, [`IDLE_TIMEOUT`] | closed |
//! | idle connection | [`IDLE_TIMEOUT`] | closed |
//! | silence within a body | `MREG_BODY_IDLE_SECONDS` | 408, closed |
//! | a reader that takes no octet, of a stream of HTTP/2 too | `MREG_BODY_IDLE_SECONDS` | closed |
//! | octets a second of a body, in the long run | `MREG_MIN_BYTES_PER_SECOND` | 408, closed |
//! | HTTP/2 windows of all connections | `H2_WINDOWS` | smaller windows |
//! | HTTP/2 streams, reset streams, header lists | [`H2_STREAMS_MAX`] … | refused by protocol |
//! | a connection without a request, at the stop | `LAST_REQUEST` | closed |
//! | the stop | `MREG_SHUTDOWN_SECONDS` | cut |

mod ahead;
mod exchange;
pub mod flight;
pub(crate) mod line;
pub mod listen;
pub(crate) mod pace;
mod slots;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use common::audit::Target;
use common::problem::ProblemType;
use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::Instrument as _;

use self::ahead::Ahead;
pub(crate) use self::exchange::known_method;
use self::exchange::{Exchange, Hold, Tracked};
use self::flight::{Flight, Lane};
use self::line::Line;
use self::listen::{Accepted, Handshakes, Listener};
use self::slots::Slots;
use crate::clock;
use crate::http::body::{Payload, Watch};
use crate::http::dispatch::dispatch;
use crate::http::forwarded;
use crate::http::metrics::Turned;
use crate::http::problem::{Protocol, Refused};
use crate::http::route::{self, Access, Audit, Endpoint, Route};
use crate::http::{Answer, Body, Call, Shared, auth, respond, tus};
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::throttle;
use crate::{random, traces};

/// Octets a request's head may have, request line included.
pub const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// A connection without a request is closed after so long. Longer than the 60 s of common load balancers, so that they
/// and not we close first.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Requests at once on one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 64;
/// Streams a peer may open and reset before they are looked at; more ends the connection (CVE-2023-44487).
const H2_PENDING_RESETS_MAX: usize = 20;
/// Errors a peer may cause on streams of one HTTP/2 connection before it is ended.
const H2_ERROR_RESETS_MAX: usize = 256;
/// An HTTP/2 peer is asked for a sign of life so often, and must answer within as long again.
const H2_PING: Duration = Duration::from_secs(20);
/// HTTP/2 receive windows of a connection: what its peer can send before anybody reads. A stream's is half of it. The more
/// connections there are, the smaller are those of the next. They bound what uploads can queue in memory where the disk is
/// behind, and how fast one comes over a long line: a window for each time there and back.
const H2_WINDOW_MAX: u32 = 2 * 1024 * 1024;
const H2_WINDOW_MIN: u32 = 128 * 1024;
/// What the windows of connections are shares of: the first 32 have the largest.
const H2_WINDOWS: u32 = 64 * 1024 * 1024;
/// The window, also of a stream, of so many connections, those that came first: what TCP itself has on its way over a long
/// line. These windows are `H2_WIDE_MAX` × `H2_WIDE_WINDOW` = 64 MiB at most, besides the shares of all others.
const H2_WIDE_WINDOW: u32 = 8 * 1024 * 1024;
/// Connections with wide windows.
pub(crate) const H2_WIDE_MAX: usize = 8;
/// Octets of a frame that a client may send: less work for each octet than with the 16 KiB of the protocol, for clients that
/// ask how many it may be.
const H2_FRAME_OCTETS: u32 = 64 * 1024;
/// A request that is to be recorded is turned away while what waits for the log has waited for so long: the disk, or the
/// database, does not keep up, and who comes now would wait as well.
pub const LOG_BEHIND_MAX: Duration = Duration::from_secs(5);
/// A connection that has to give way is cut after so long, unless something is asked on it at that very moment.
const GIVING_WAY: Duration = Duration::from_millis(250);
/// Connections over the limit that are told so at once; more are closed without a word.
const OVERFLOW_MAX: usize = 64;
/// How long a connection over the limit is served its refusal.
const OVERFLOW_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a connection is looked at for idleness; more often where the head's timeout is short.
const PATROL: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// A connection that was told to close at the end of its time is cut after so long.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests whose connection was cut at the stop have so long to see it and be recorded.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(2);
/// Who connected before the stop and has asked nothing yet may still ask so long after it: their connection was taken out of
/// the queue that the next daemon serves.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// So often it is looked whether they did.
const FRESH_LOOK: Duration = Duration::from_millis(10);
/// Longest request id taken from a client, octets.
const REQUEST_ID_MAX: usize = 64;

/// Said in TLS: for a year, nobody should ask for this host in clear (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Longest host in a span, in octets (RFC 1035 §2.3.4): a client may send anything.
const HOST_BYTES_MAX: usize = 253;

/// Header that names the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Actor of a request that ended before it was asked who calls.
const ANONYMOUS: &str = "anonymous";

/// Log and metrics status of a request whose client left before the answer (as nginx counts it).
const CLIENT_GONE: u16 = 499;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The network, in clear.
    Tcp(SocketAddr),
    /// The network, in TLS.
    Tls(SocketAddr),
    /// A socket of this machine: somebody like any other, without an address.
    Local,
    /// The control socket: the operator of this machine, by the peer's user and process.
    Operator {
        /// The user.
        uid: u32,
        /// The process, where the kernel tells it.
        pid: Option<u32>,
    },
}

impl Peer {
    /// The address, where there is one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(address.ip().to_canonical()),
            Self::Local | Self::Operator { .. } => None,
        }
    }
}

/// The two signals of a stop.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Turns true when nothing new shall begin.
    pub begun: watch::Receiver<bool>,
    /// Turns true when nothing is waited for any more.
    pub at_once: watch::Receiver<bool>,
}

/// Resolves when the flag is true, or its sender is gone.
pub async fn raised(flag: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone: nobody can ask us to go on.
    let _ = flag.wait_for(|raised| *raised).await;
}

/// Resolves once the stop has begun and those who are connected had time to ask.
async fn no_request_any_more(begun: &mut watch::Receiver<bool>) {
    raised(begun).await;
    tokio::time::sleep(LAST_REQUEST).await;
}

/// Who is let in, over all places to listen.
struct Gate {
    slots: Arc<Slots>,
    overflow: Arc<Semaphore>,
    handshakes: Arc<Handshakes>,
}

/// Accepts at all these places until `stop`, then lets open requests end within `limits.shutdown`. Returns how many
/// connections were cut.
pub async fn serve(listeners: Vec<Listener>, shared: Arc<Shared>, stop: Stop) -> usize {
    let gate = Arc::new(Gate {
        slots: Arc::default(),
        overflow: Arc::new(Semaphore::new(OVERFLOW_MAX)),
        handshakes: Arc::default(),
    });
    let places = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&gate), Arc::clone(&shared), stop.clone())));
    let places: Vec<_> = places.collect();
    let mut cut = 0;
    for place in places {
        match place.await {
            Ok(connections) => cut += connections,
            Err(error) => tracing::error!(%error, "an accept loop failed"),
        }
    }
    cut
}

async fn accept(listener: Listener, gate: Arc<Gate>, shared: Arc<Shared>, mut stop: Stop) -> usize {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = raised(&mut stop.begun) => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let (gate, shared, begun) = (Arc::clone(&gate), Arc::clone(&shared), stop.begun.clone());
                match accepted {
                    Accepted::Tcp(stream, peer) => connections.spawn(let_in(stream, peer, gate, shared, begun)),
                    Accepted::Unix(stream, peer) => connections.spawn(let_in(stream, peer, gate, shared, begun)),
                    Accepted::Tls(stream, address, tls) => {
                        // Before it has a place among the connections: a handshake that comes to nothing takes none.
                        let place = gate.handshakes.begin();
                        connections.spawn(async move {
                            let mut stopping = begun.clone();
                            let shaken = tokio::select! {
                                biased;
                                () = no_request_any_more(&mut stopping) => return,
                                shaken = place.shake(stream, &tls, shared.limits.get().head_timeout) => shaken,
                            };
                            match shaken {
                                Ok(stream) => let_in(stream, Peer::Tls(address), gate, shared, begun).await,
                                Err(error) => {
                                    tls.handshake_failed();
                                    tracing::debug!(%error, "a handshake came to nothing");
                                }
                            }
                        })
                    }
                };
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    drain(connections, &shared, &mut stop).await
}

/// Serves a connection, if there is a place for it.
async fn let_in<S>(stream: S, peer: Peer, gate: Arc<Gate>, shared: Arc<Shared>, begun: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = Arc::new(Connection::new(peer, Admission::Open));
    // Behind a proxy are many.
    let address = peer.ip().filter(|ip| !shared.proxies.has(*ip));
    let admission = match gate.slots.take(&served, throttle::source(address), &shared.limits.get()) {
        Ok((_slot, gave_way)) => {
            if gave_way {
                shared.metrics.turned(Turned::GaveWay);
            }
            let _open = shared.metrics.connection_opened();
            serve_connection(stream, served, Arc::clone(&shared), begun).await;
            return;
        }
        Err(refused) => refused,
    };
    shared.metrics.turned(if admission == Admission::Full { Turned::Full } else { Turned::Crowded });
    let Ok(_slot) = Arc::clone(&gate.overflow).try_acquire_owned() else { return };
    let refusal = serve_connection(stream, Arc::new(Connection::new(peer, admission)), Arc::clone(&shared), begun);
    let _ = tokio::time::timeout(OVERFLOW_TIMEOUT, refusal).await;
}

/// Waits until all connections and all detached requests ended, or time is up; then cuts.
pub(crate) async fn drain(mut connections: JoinSet<()>, shared: &Shared, stop: &mut Stop) -> usize {
    let tasks = async || {
        while shared.metrics.tasks_open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = async {
        while connections.join_next().await.is_some() {}
        tasks().await;
    };
    tokio::select! {
        () = ended => return 0,
        () = tokio::time::sleep(shared.limits.get().shutdown) => {}
        () = raised(&mut stop.at_once) => {}
    }
    let cut = connections.len();
    connections.shutdown().await;
    // What they were doing is being recorded.
    let _ = tokio::time::timeout(RECORDING_TIMEOUT, tasks()).await;
    cut
}

/// A failed accept never ends the daemon. Errors of the one connection are passed over, others need time.
pub(crate) async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::warn!(%error, "a connection can't be accepted; trying again");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Whether a connection is served or told to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Open,
    /// There are too many.
    Full,
    /// There are too many of its address.
    Crowded,
}

/// What is known of a connection, for its patrol, its line and its requests.
pub(crate) struct Connection {
    peer: Peer,
    admission: Admission,
    opened: Instant,
    /// Requests being answered.
    in_flight: AtomicUsize,
    /// Since when none is, milliseconds after `opened`; 0 before the first.
    quiet_since_ms: AtomicU64,
    /// When the first octet came since then, milliseconds after `opened` plus one; 0 for none yet.
    head_since_ms: AtomicU64,
    /// The last request's body.
    pub(crate) watch: Arc<Watch>,
    /// Told when it has to make room for another.
    gives_way: Notify,
    /// Whether it was told so.
    leaving: AtomicBool,
    /// In HTTP/2, answers that are being sent: each stream has a reader of its own.
    sending: Mutex<Vec<Weak<Hold>>>,
}

impl Connection {
    fn new(peer: Peer, admission: Admission) -> Self {
        Self {
            peer,
            admission,
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            quiet_since_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(0),
            watch: Arc::new(Watch::default()),
            gives_way: Notify::new(),
            leaving: AtomicBool::new(false),
            sending: Mutex::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Octets came in. Those of a next head that come while a request is answered start no clock: such a head has as long as
    /// a connection without a request.
    pub(crate) fn heard(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.head_since_ms.load(Ordering::Relaxed) == 0 {
            self.head_since_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head_since_ms.store(0, Ordering::Relaxed);
    }

    fn end(&self) {
        self.quiet_since_ms.store(self.now_ms().max(1), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nothing was asked yet.
    fn is_fresh(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && self.quiet_since_ms.load(Ordering::Relaxed) == 0
    }

    /// How long nothing has been asked; none while something is.
    fn quiet_for(&self) -> Option<Duration> {
        let quiet_ms = self.now_ms().saturating_sub(self.quiet_since_ms.load(Ordering::Relaxed));
        (self.in_flight.load(Ordering::Relaxed) == 0).then_some(Duration::from_millis(quiet_ms))
    }

    /// Whether it has to make room for another.
    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether nothing was asked for too long.
    fn is_idle(&self) -> bool {
        self.quiet_for().is_some_and(|quiet| quiet > IDLE_TIMEOUT)
    }

    /// An answer begins to be sent in HTTP/2.
    fn sends(&self, hold: &Arc<Hold>) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are streams, and what ended since.
        if sending.len() == sending.capacity() {
            sending.retain(|hold| hold.strong_count() > 0);
        }
        sending.push(Arc::downgrade(hold));
    }

    /// Whether the reader of one of its streams takes nothing for too long.
    fn has_stalled(&self, timeout: Duration) -> bool {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.retain(|hold| hold.strong_count() > 0);
        let now_ms = self.now_ms();
        let since = sending.iter().filter_map(|hold| hold.upgrade()?.waits_since_ms()).min();
        since.is_some_and(|since| Duration::from_millis(now_ms.saturating_sub(since)) > timeout)
    }

    /// Whether a head began too long ago and is not complete.
    fn is_dawdling(&self, timeout: Duration) -> bool {
        let since = self.head_since_ms.load(Ordering::Relaxed);
        let took_ms = self.now_ms().saturating_sub(since);
        self.in_flight.load(Ordering::Relaxed) == 0 && since > 0 && Duration::from_millis(took_ms) > timeout
    }
}

/// Tells the bodies of a connection that it is gone, before hyper is dropped and their channels look merely ended.
struct Gone(Arc<Connection>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.watch.gone.store(true, Ordering::Release);
    }
}

/// Serves one connection of the control socket to its end.
pub(crate) async fn connection<S>(stream: S, peer: Peer, shared: Arc<Shared>, begun: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_connection(stream, Arc::new(Connection::new(peer, Admission::Open)), shared, begun).await;
}

/// Serves one connection to its end.
async fn serve_connection<S>(
    stream: S,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    mut begun: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = shared.limits.get().patience();
    let mut line = Line::new(stream, patience, Arc::clone(&connection));
    let version = tokio::select! {
        biased;
        () = no_request_any_more(&mut begun) => return,
        () = connection.gives_way.notified() => return,
        sniffed = line.sniff(IDLE_TIMEOUT, shared.limits.get().head_timeout) => match sniffed {
            Ok(version) => version,
            Err(_gone_or_silent) => return,
        },
    };
    let service = {
        let (shared, connection) = (Arc::clone(&shared), Arc::clone(&connection));
        service_fn(move |request| handle(Arc::clone(&shared), Arc::clone(&connection), request))
    };
    let ended = if version == Version::HTTP_2 {
        // Between requests an HTTP/2 client may say what it likes (pings, windows): that is no head.
        let head_timeout = None;
        // Where there is none the narrow ones will do: as fast on a short line, and enough for anything but files.
        let wide = shared.wide_windows.try_acquire().ok();
        let (stream_window, connection_window) = match &wide {
            Some(_place) => (H2_WIDE_WINDOW, H2_WIDE_WINDOW),
            None => {
                let window = h2_window(shared.metrics.connections());
                (window / 2, window)
            }
        };
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(H2_ERROR_RESETS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_frame_size(H2_FRAME_OCTETS)
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PING);
        // In TLS what was opened is in memory already.
        let line = if matches!(connection.peer, Peer::Tls(_)) { Ahead::through(line) } else { Ahead::new(line) };
        let served = pin!(http2.serve_connection(TokioIo::new(line), service));
        let gone = Gone(Arc::clone(&connection));
        let ended =
            patrol(served, |served| served.graceful_shutdown(), &connection, &shared, head_timeout, begun).await;
        drop((gone, wide));
        ended
    } else {
        let head_timeout = Some(shared.limits.get().head_timeout);
        let mut http1 = hyper::server::conn::http1::Builder::new();
        // The patrol sees to heads that don't come: hyper would set an alarm of its own for each request.
        http1.header_read_timeout(None).max_header_size(HEAD_BYTES_MAX as usize).half_close(true);
        let served = pin!(http1.serve_connection(TokioIo::new(line), service));
        let gone = Gone(Arc::clone(&connection));
        let ended =
            patrol(served, |served| served.graceful_shutdown(), &connection, &shared, head_timeout, begun).await;
        drop(gone);
        ended
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

/// The receive window of an HTTP/2 connection, where there are so many connections.
fn h2_window(connections: usize) -> u32 {
    let share = u32::try_from(connections.max(1)).map_or(0, |connections| H2_WINDOWS / connections);
    share.clamp(H2_WINDOW_MIN, H2_WINDOW_MAX)
}

/// Drives a connection; tells it to end when the daemon stops or nothing is asked of it, and drops it where that does
/// not help.
async fn patrol<C>(
    mut served: Pin<&mut C>,
    close: impl Fn(Pin<&mut C>),
    connection: &Connection,
    shared: &Shared,
    head_timeout: Option<Duration>,
    mut begun: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut round = tokio::time::interval(head_timeout.map_or(PATROL, |timeout| PATROL.min(timeout / 2)));
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = served.as_mut() => return ended,
            () = raised(&mut begun) => {
                // hyper would close a connection whose first head isn't complete; that head was not refused by anybody.
                let mut looks = tokio::time::interval(FRESH_LOOK);
                let mut left = LAST_REQUEST;
                while connection.is_fresh() && !left.is_zero() {
                    tokio::select! {
                        ended = served.as_mut() => return ended,
                        _ = looks.tick() => left = left.saturating_sub(FRESH_LOOK),
                    }
                }
                close(served.as_mut());
                return served.await;
            }
            () = connection.gives_way.notified() => {
                close(served.as_mut());
                loop {
                    tokio::select! {
                        ended = served.as_mut() => return ended,
                        // Something may have been asked on it just then: that is answered.
                        () = tokio::time::sleep(GIVING_WAY) => {
                            if connection.quiet_for().is_some() {
                                return Ok(());
                            }
                            if connection.has_stalled(shared.limits.get().body_idle) {
                                shared.metrics.turned(Turned::Stalled);
                                tracing::warn!("answers were cut: a stream's reader takes nothing");
                                return Ok(());
                            }
                        }
                    }
                }
            }
            _ = round.tick() => {
                if connection.has_stalled(shared.limits.get().body_idle) {
                    shared.metrics.turned(Turned::Stalled);
                    tracing::warn!("answers were cut: a stream's reader takes nothing");
                    return Ok(());
                }
                if head_timeout.is_some_and(|timeout| connection.is_dawdling(timeout)) {
                    return Ok(());
                }
                if connection.is_idle() {
                    close(served.as_mut());
                    return tokio::time::timeout(CLOSING_TIMEOUT, served).await.unwrap_or(Ok(()));
                }
            }
        }
    }
}

/// The one outer function of a request.
async fn handle(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Tracked>, Infallible> {
    let origin = forwarded::origin(&shared.proxies, connection.peer, request.headers());
    // With proxies in front, an id of somebody else would be in our log and not in theirs.
    let is_believed = origin.by_proxy || shared.proxies.is_empty();
    let request_id = if is_believed { request_id(request.headers()) } else { fresh_id() };
    let mut exchange = Exchange::begin(&shared, &connection, &request, Arc::clone(&request_id), origin);
    let is_head = request.method() == Method::HEAD;
    let token_sent = auth::sends_token(request.headers());
    let version = request.version();
    let span = exchange.span.clone();
    let answer = answer(&shared, &connection, request, &request_id, &mut exchange).instrument(span).await;
    let mut response = answer.unwrap_or_else(|refused| {
        match refused.kind() {
            ProblemType::Internal => {
                tracing::error!(
                    request_id = &*request_id,
                    route = exchange.template,
                    error = refused.chain(),
                    "a request failed"
                );
            }
            ProblemType::StorageFull => {
                tracing::warn!(
                    request_id = &*request_id,
                    route = exchange.template,
                    "there is not enough free space for an upload"
                );
            }
            // Refusals are ordinary; that the audit log can't be written, the registry has said.
            _ => {}
        }
        refused.response(&request_id, token_sent)
    });
    complete(&mut response, &request_id);
    if origin.is_https {
        response.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
    }
    tus::complete_if_ours(exchange.template, &mut response);
    if version < Version::HTTP_2
        && (connection.watch.unread.load(Ordering::Relaxed) || connection.admission != Admission::Open)
    {
        // What is left of the body is not read, so no other request can follow on this connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.status = response.status().as_u16();
    exchange.is_answered(if is_head { Some(0) } else { http_body::Body::size_hint(response.body()).exact() });
    Ok(response.map(|body| Tracked::new(if is_head { respond::empty() } else { body }, version, exchange)))
}

/// From request to answer.
async fn answer(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    request_id: &Arc<str>,
    exchange: &mut Exchange,
) -> Answer {
    let (mut head, body) = request.into_parts();
    let limits = shared.limits.get();
    let body = Payload::new(body, &head, limits.patience(), Arc::clone(&connection.watch));
    match connection.admission {
        Admission::Open => {}
        Admission::Full => return Err(Protocol::Unavailable("all connections are in use; try again soon").into()),
        Admission::Crowded => return Err(Protocol::TooMany("your address has as many connections as it may").into()),
    }
    // RFC 9112 §3.2; HTTP/2 has `:authority` instead.
    if head.version == Version::HTTP_11 && head.headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Protocol::BadRequest("an HTTP/1.1 request has one Host header".into()).into());
    }
    if head.headers.get(header::HOST).is_some_and(|host| !is_authority(host.as_bytes())) {
        return Err(Protocol::BadRequest("the Host header is not a host, with or without a port".into()).into());
    }
    if head.headers.get(header::EXPECT).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Protocol::ExpectationFailed.into());
    }
    as_it_is(&head.headers)?;
    head.method = tus::method_of(&head)?;
    let route = route::parse(&head.method, head.uri.path())?;
    let endpoint = route.endpoint();
    exchange.template = endpoint.template;
    traces::routed(&exchange.span, known_method(&exchange.method), endpoint.template);
    let (lane, is_operator) = (Lane::of(&route), matches!(connection.peer, Peer::Operator { .. }));
    // Who signs in has a place once what they say has come (`login.rs`): until then it would be anybody's to hold.
    let has_place = !is_operator && lane != Lane::SignIn;
    let mut flight = if has_place { Some(shared.flights.begin(lane, &limits)?) } else { None };
    if lane == Lane::Work && !is_operator && endpoint.is_recorded() && shared.registry.log_is_behind() > LOG_BEHIND_MAX
    {
        // What waits before it may have failed already, and nobody knows.
        shared.metrics.turned(Turned::LogBehind);
        return Err(RegistryError::AuditUnavailable.into());
    }

    // From here on the request sees all that any daemon acknowledged before it came.
    if endpoint.asks_the_registry() {
        shared.registry.come_up_to_date().instrument(traces::step!("come up to date")).await?;
    }
    let asking = auth::Asking { peer: connection.peer, origin: exchange.origin, request_id };
    let (caller, known) = auth::caller(shared, &head, &route, asking).await;
    let caller = Arc::new(caller);
    exchange.caller = Some(Arc::clone(&caller));
    if let Some(flight) = &mut flight {
        flight.is_from(&caller, &limits)?;
    }
    let flight = flight.map(Arc::new);
    exchange.flight.clone_from(&flight);
    let result = match known.map_err(Refused::from).and_then(|()| admit(&shared.registry, &caller, endpoint)) {
        Ok(()) => {
            let by_proxy = exchange.origin.by_proxy;
            let call = Call { shared: Arc::clone(shared), caller: Arc::clone(&caller), head, body, by_proxy };
            run(shared, &route, call, flight).await
        }
        Err(refused) => Err(refused),
    };
    match result {
        Err(refused) => Err(record(shared, &caller, endpoint, route.target(), refused).await),
        ok => ok,
    }
}

/// Host as RFC 9112 §3.2 has it; empty where the target has no authority.
fn is_authority(host: &[u8]) -> bool {
    host.is_empty() || Authority::try_from(host).is_ok()
}

/// Refuses a body that is not the thing itself. Nothing here undoes a coding or joins parts, so what was stored would be
/// something else than its sender meant: compressed octets, or a piece that passes for the whole (RFC 9110 §8.4, §14.4).
fn as_it_is(headers: &HeaderMap) -> Result<(), Protocol> {
    let only = |name: HeaderName, word: &str| {
        headers.get_all(name).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
    };
    // hyper looks at the last coding alone, and frames by that.
    if !only(header::TRANSFER_ENCODING, "chunked") || headers.get_all(header::TRANSFER_ENCODING).iter().count() > 1 {
        return Err(Protocol::BadRequest("the only Transfer-Encoding that is understood is chunked, once".into()));
    }
    if !only(header::CONTENT_ENCODING, "identity") {
        return Err(Protocol::UnsupportedMediaType(
            "no Content-Encoding is undone here; send the body as it is".into(),
        ));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Protocol::BadRequest("a part can't be taken; send all of it, without Content-Range".into()));
    }
    Ok(())
}

/// Runs the handler. One that changes something runs in a task of its own, so that a client that leaves cannot stop it
/// between two steps, and its attempt is recorded; any other ends when its client leaves. A panic ends only its request.
async fn run(shared: &Arc<Shared>, route: &Route, call: Call, flight: Option<Arc<Flight>>) -> Answer {
    let panicked = || -> Refused { RegistryError::Internal("the handler panicked".into()).into() };
    if route.endpoint().is_change() {
        let open = shared.metrics.task_opened();
        let route = route.clone();
        let task = async move {
            let answer = dispatch(call, &route).await;
            // Its client may have left long ago: until now it had its place.
            drop((open, flight));
            answer
        };
        let task = tokio::spawn(task.instrument(traces::current()));
        task.await.unwrap_or_else(|_panic_or_runtime_end| Err(panicked()))
    } else {
        AssertUnwindSafe(dispatch(call, route)).catch_unwind().await.unwrap_or_else(|_panic| Err(panicked()))
    }
}

/// The check that the table asks for, before anything of the request is looked at. The registry checks again: it is the
/// one that decides.
fn admit(registry: &Registry, caller: &Caller, endpoint: &Endpoint) -> Result<(), Refused> {
    match endpoint.access {
        Access::Public => Ok(()),
        Access::Hashes => Ok(registry.require_hashes(caller)?),
        Access::Session => Ok(caller.require_token()?),
        Access::SignedIn => Ok(caller.require_signed_in().map(drop)?),
        Access::Permission(permission) => Ok(caller.require(permission)?),
        Access::Operator => Ok(caller.require_operator()?),
    }
}

/// Sees to it that a failure is in the audit log where the route asks for it. If it can't be, the answer is that.
async fn record(shared: &Shared, caller: &Caller, endpoint: &Endpoint, target: Target, refused: Refused) -> Refused {
    let status = refused.kind().status();
    let action = match endpoint.audit {
        Audit::Never => return refused,
        Audit::Refusals(_) if !matches!(status, 401 | 403 | 429) => return refused,
        Audit::Refusals(action) | Audit::Always(action) => action,
    };
    // Nothing was done, and that it can't be written is all there is to say.
    if refused.logged().is_some() || refused.kind() == ProblemType::AuditUnavailable {
        return refused;
    }
    // Who is turned away before anything was begun is counted, and in no log.
    if matches!(refused, Refused::Protocol(Protocol::Overloaded(_) | Protocol::TooMany(_), _)) {
        return refused;
    }
    let recorded = match &refused {
        Refused::Registry(failure) => {
            shared.registry.record_failure(caller, action.clone(), target, &failure.error, status).await
        }
        Refused::Protocol(protocol, _) => {
            let error = protocol.as_registry_error();
            shared.registry.record_failure(caller, action.clone(), target, &error, status).await
        }
    };
    match (recorded, refused) {
        (Ok(logged), Refused::Registry(Failure { error, .. })) => Refused::Registry(Failure { error, logged }),
        (Ok(logged), Refused::Protocol(protocol, _)) => Refused::Protocol(protocol, logged),
        (Err(error), _) => error.into(),
    }
}

/// The client's request id where it is a sane token, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane_id(id))
        .map_or_else(fresh_id, Arc::from)
}

fn fresh_id() -> Arc<str> {
    let mut text = uuid::Uuid::encode_buffer();
    // It tells requests apart and keeps no secret: where the system has no random octets, others will say so.
    let id = random::uuid_v7(clock::now_ms()).unwrap_or_default();
    Arc::from(&*id.hyphenated().encode_lower(&mut text))
}

fn is_sane_id(id: &str) -> bool {
    (1..=REQUEST_ID_MAX).contains(&id.len())
        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-'))
}

/// Headers that every answer has, unless the handler decided on them.
fn complete(response: &mut Response<Body>, request_id: &str) {
    let status = response.status();
    let length = http_body::Body::size_hint(response.body()).exact();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(length) = length
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        // Said here and not by hyper, so that HEAD says the same as GET.
        headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use http::header::{self, HeaderMap, HeaderName, HeaderValue};

    use super::{REQUEST_ID, REQUEST_ID_MAX, answer, as_it_is, is_authority, is_sane_id, request_id};

    fn with(id: &[u8]) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_bytes(id) {
            headers.insert(REQUEST_ID, value);
        }
        headers
    }

    fn size<A, B, C, D, E, F>(_of: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// The work of a request is moved several times on its way into its connection's. What is large in it is in memory of its
    /// own: as it stood in here it was a MiB that was copied with every request, the greater half of what a small one cost.
    #[test]
    fn the_work_of_a_request_is_small() {
        let answering = size(answer);
        assert!(answering < 3 * 1024, "{answering} octets");
    }

    proptest! {
        /// Sane ids are taken as they are.
        #[test]
        fn sane(id in "[A-Za-z0-9._-]{1,64}") {
            prop_assert_eq!(&*request_id(&with(id.as_bytes())), id);
        }

        /// Whatever is sent, the id is sane.
        #[test]
        fn any_octets(id in any::<Vec<u8>>()) {
            prop_assert!(is_sane_id(&request_id(&with(&id))));
        }
    }

    #[test]
    fn hosts() {
        for host in ["", "localhost", "127.0.0.1:8000", "[::1]:8000", "models.example.org"] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a/b", "a:b:c", "http://a"] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }

    /// A body that is coded, or a part of one, would be stored as what it is not.
    #[test]
    fn bodies_come_as_they_are() {
        let with = |fields: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name.clone(), HeaderValue::from_static(value));
            }
            as_it_is(&headers).is_ok()
        };
        let (transfer, content) = (header::TRANSFER_ENCODING, header::CONTENT_ENCODING);
        assert!(with(&[]) && with(&[(transfer.clone(), "Chunked")]) && with(&[(content.clone(), "identity")]));
        assert!(!with(&[(transfer.clone(), "gzip, chunked")]) && !with(&[(transfer.clone(), "gzip")]));
        assert!(!with(&[(transfer.clone(), "chunked"), (transfer, "chunked")]));
        assert!(!with(&[(content, "gzip")]) && !with(&[(header::CONTENT_RANGE, "bytes 0-2/10")]));
    }

    /// Too long, empty or odd ids are replaced by a UUID.
    #[test]
    fn replaced() {
        for id in [&b""[..], b"a b", b"a\"b", &[b'a'; REQUEST_ID_MAX + 1]] {
            assert!(uuid::Uuid::try_parse(&request_id(&with(id))).is_ok());
        }
    }
}
