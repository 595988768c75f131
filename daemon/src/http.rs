//! The HTTP face of the registry.
//!
//! | module | what it serves |
//! |---|---|
//! | `login` | `/login /token/refresh /logout /me /me/password /me/totp…` |
//! | `users` | `/register /users… /roles` |
//! | `tokens` | `/tokens…` |
//! | `quotas`, `retention` | `/quotas… /me/quota`, `/retention…` |
//! | `models`, `versions`, `aliases` | `/models…` |
//! | `upload`, `download` | the bytes of a version, in and out |
//! | `tus` | `/uploads…` |
//! | `ingest` | `/ingest…` |
//! | `audit` | `/audit-logs…` |
//! | `log` | `/log…` |
//! | `keys`, `check`, `gc`, `backup` | `/log/rotate-key /check /gc /backup…`, at the control socket only |
//! | `health` | `/livez /readyz /metrics /version /status` |
//! | `pages` | `/ /openapi.json /docs /redoc /problems…` |
//!
//! `route` is the index of all of it. Knows the types that a request passes through on its way to a handler and back;
//! refuses to know stores, blobs and how configuration is read.

pub mod route;
pub mod server;
pub mod forwarded;
pub mod auth;
pub mod dispatch;
pub mod params;
pub mod body;
pub mod respond;
pub mod changed;
pub mod problem;
pub mod metrics;
mod recent;
pub mod login;
pub mod users;
pub mod tokens;
pub mod quotas;
pub mod retention;
pub mod models;
pub mod versions;
pub mod inspection;
pub mod aliases;
pub mod upload;
pub mod tus;
pub mod download;
pub mod ingest;
pub mod webhooks;
pub mod audit;
pub mod log;
pub mod keys;
pub mod check;
pub mod gc;
pub mod backup;
pub mod health;
pub mod pages;
pub mod openapi;
pub mod docs;
pub mod control;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{Semaphore, watch};

use crate::config::network::Proxies;
use crate::cosigning;
use crate::http::body::Payload;
use crate::http::metrics::Metrics;
use crate::http::problem::Refused;
use crate::http::server::flight::Flights;
use crate::http::server::pace::Patience;
use crate::ingest::queue::Handle;
use crate::live::Live;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::tls::Tls;

/// The body of an answer. The only boxed body there is.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a handler comes to.
pub type Answer = Result<Response<Body>, Refused>;

/// What all requests share.
pub struct Shared {
    /// The domain.
    pub registry: Arc<Registry>,
    /// Bounds of what is taken from the network; replaced as a whole by a reload.
    pub limits: Live<Limits>,
    /// Requests that are being answered.
    pub flights: Arc<Flights>,
    /// What is counted.
    pub metrics: Metrics,
    /// When the daemon started, milliseconds since the epoch.
    pub started_at_ms: i64,
    /// Turns true when the daemon begins to stop: answers without an end come to it then.
    pub stopping: watch::Receiver<bool>,
    /// What witnesses say of the log, where they are asked.
    pub cosigning: Option<watch::Receiver<cosigning::State>>,
    /// The drop folder, where there is one.
    pub ingest: Option<Handle>,
    /// What delivers webhooks.
    pub webhooks: crate::webhooks::Handle,
    /// The certificate, where there is one.
    pub tls: Option<Arc<Tls>>,
    /// Who is believed about whom it asks for.
    pub proxies: Proxies,
    /// Where a believed proxy has the blobs, so that it sends them.
    pub send_file: Option<String>,
    /// Places of HTTP/2 connections with wide windows.
    pub(crate) wide_windows: Semaphore,
}

/// Bounds of what is taken from the network.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Of these one address may have so many.
    pub connections_per_address_max: usize,
    /// Requests at once.
    pub requests_max: usize,
    /// Of these one client may have so many.
    pub requests_per_client_max: usize,
    /// A request's head must be complete so long after its first octet.
    pub head_timeout: Duration,
    /// A body may pause so long, in either direction.
    pub body_idle: Duration,
    /// Octets of a body a second in the long run, in either direction; zero: any.
    pub bytes_per_second_min: u64,
    /// After the signal to stop, requests may go on so long.
    pub shutdown: Duration,
}

impl Limits {
    /// How slow the sender of a body may be, or the reader of an answer.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.body_idle, self.bytes_per_second_min)
    }
}

/// One request on its way to a handler.
pub struct Call {
    /// What all requests share.
    pub shared: Arc<Shared>,
    /// Who is calling, and what an audit entry says of the request.
    pub caller: Arc<Caller>,
    /// Method, target, headers.
    pub head: Parts,
    /// The body, unread.
    pub body: Payload,
    /// Whether a proxy that is believed sent it.
    pub by_proxy: bool,
}
