//! The same small request by HTTP/1.1 and HTTP/2, in clear and in TLS, from one client for all four: hyper's, which costs more
//! than the lean one, so these figures stand beside each other and not beside those.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::figures::{Sample, micros};

/// Requests at once.
const AT_ONCE: usize = 64;
/// Connections of HTTP/2, which share those requests.
const H2_CONNECTIONS: usize = 4;

/// A certificate that only this bench trusts, and its key, as PEM, and as the client takes it.
pub(crate) struct Certified {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Whom to trust, in TLS.
    pub(crate) tls: Option<CertificateDer<'static>>,
    pub(crate) target: String,
    pub(crate) token: String,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Asked {
    async fn connect(&self) -> TokioIo<Box<dyn Wire>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(trusted) = &self.tls else { return TokioIo::new(Box::new(stream)) };
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if self.protocol == Protocol::H2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = ServerName::try_from("localhost").unwrap();
        TokioIo::new(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()))
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = match self.protocol {
            Protocol::H1 => self.target.clone(),
            Protocol::H2 => format!("{scheme}://localhost{}", self.target),
        };
        let request = Request::get(uri).header("authorization", format!("Bearer {}", self.token));
        let request = if self.protocol == Protocol::H1 { request.header("host", "localhost") } else { request };
        request.body(Empty::new()).unwrap()
    }
}

/// Asks as soon as it is answered, by so many at once, over connections that are kept.
pub(crate) async fn closed_loop(asked: &Asked, seconds: f64) -> Sample {
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let mut running = JoinSet::new();
    match asked.protocol {
        Protocol::H1 => {
            for _ in 0..AT_ONCE {
                let (mut sender, connection) = http1::handshake(asked.connect().await).await.unwrap();
                tokio::spawn(connection);
                let request = asked.request();
                running.spawn(async move {
                    let mut took_us = Vec::new();
                    while Instant::now() < until {
                        let at = Instant::now();
                        sender.ready().await.unwrap();
                        let answer = sender.send_request(request.clone()).await.unwrap();
                        assert_eq!(answer.status(), 200);
                        answer.into_body().collect().await.unwrap();
                        took_us.push(micros(at.elapsed()));
                    }
                    took_us
                });
            }
        }
        Protocol::H2 => {
            for _ in 0..H2_CONNECTIONS {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), asked.connect().await).await.unwrap();
                tokio::spawn(connection);
                for _ in 0..AT_ONCE / H2_CONNECTIONS {
                    let (mut sender, request) = (sender.clone(), asked.request());
                    running.spawn(async move {
                        let mut took_us = Vec::new();
                        while Instant::now() < until {
                            let at = Instant::now();
                            sender.ready().await.unwrap();
                            let answer = sender.send_request(request.clone()).await.unwrap();
                            assert_eq!(answer.status(), 200);
                            answer.into_body().collect().await.unwrap();
                            took_us.push(micros(at.elapsed()));
                        }
                        took_us
                    });
                }
            }
        }
    }
    let took_us = running.join_all().await.concat();
    Sample { took_us, seconds: began.elapsed().as_secs_f64() }
}
