//! One batch of spans to the collector: HTTP/1.1 over TLS or clear TCP. Knows the address and what is sent along, and bounds
//! all that a collector can do: how long it takes, how much it answers. Refuses to know what is in a batch, and when to try
//! again. Redirects are answers like others; no proxy is asked, whatever the environment says.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::tls::{Connector, Trust, TrustError};
use http::header::{self, HeaderMap};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::traces::TracesConfig;
use crate::error_chain;

/// Longest answer of a collector, in octets.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What carries a connection.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

/// Sends to one collector.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    address: Uri,
    host: String,
    port: u16,
    headers: HeaderMap,
    patience: Duration,
    tls: Option<Connector>,
    /// Why the newest attempt failed, in words for the log.
    trouble: Mutex<String>,
}

// The headers are secret.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.0.host).finish_non_exhaustive()
    }
}

impl Client {
    /// For the collector at `address`. Reads the authorities.
    ///
    /// # Errors
    /// [`TrustError`].
    pub(super) fn new(config: &TracesConfig, address: &Uri) -> Result<Self, TrustError> {
        let is_tls = address.scheme_str() == Some("https");
        let trust = || Trust { ca_file: config.authorities().map(ToOwned::to_owned), pin: None };
        let tls = is_tls.then(|| Connector::new(&trust())).transpose()?;
        // Names of TLS and of look-ups have no brackets.
        let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(Self(Arc::new(Inner {
            address: address.clone(),
            host,
            port: address.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            headers: config.header_map(),
            patience: config.patience(),
            tls,
            trouble: Mutex::default(),
        })))
    }

    /// Why the newest attempt failed.
    pub(super) fn trouble(&self) -> String {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    /// Address and headers are ours, whatever the library made of the environment.
    fn request(&self, given: Request<Bytes>) -> Result<Request<Full<Bytes>>, String> {
        let (head, body) = given.into_parts();
        let path = self.address.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.address.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("mregd/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| format!("the address can't stand in a request: {error}"))?;
        if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
            request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        }
        for (name, value) in &self.headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        Ok(request)
    }

    async fn exchange(&self, given: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let request = self.request(given)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| error.to_string())?;
        let stream: Box<dyn Octets> = match &self.tls {
            Some(tls) => Box::new(tls.connect(&self.host, stream).await.map_err(|error| error.in_our_words())?),
            None => Box::new(stream),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error_chain(&error))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| error_chain(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|_too_long| "its answer is cut, or too long".to_owned())?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // The connection ends with the exchange, however that ends.
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            _ended = connection => answered.await,
        }
    }

    async fn send(&self, given: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = match tokio::time::timeout(self.patience, self.exchange(given)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!("no answer within {} ms", self.patience.as_millis())),
        };
        let trouble = match &answer {
            Ok(response) if response.status().is_success() => String::new(),
            Ok(response) => format!("it answered {}", response.status().as_u16()),
            Err(why) => why.clone(),
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        answer.map_err(Into::into)
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.0.send(request))
    }
}
