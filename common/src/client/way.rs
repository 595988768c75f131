//! The way to a daemon: clear TCP, TLS over TCP, or a socket of this machine; and what an address must look like. Knows
//! how a connection is opened, and that nothing goes out in clear to another machine unless somebody agreed. Refuses to
//! know what is said on it.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::ClientError;
use crate::tls::{Connector, Trust};

/// Octets that go both ways.
pub(super) trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

/// Where a daemon is, and how it is reached.
pub(super) struct Way {
    /// As shown.
    pub(super) address: String,
    /// For the Host header.
    pub(super) authority: String,
    kind: Kind,
    /// Whether clear HTTP may leave the machine.
    allow_plain: bool,
}

enum Kind {
    Clear { host: String, port: u16 },
    Tls { host: String, port: u16, connector: Connector },
    Unix(PathBuf),
}

impl Way {
    /// The way of an address: `http://host[:port]`, `https://host[:port]` or `unix:/path`.
    pub(super) fn new(url: &str, allow_plain: bool, trust: &Trust) -> Result<Self, ClientError> {
        let refuse = |why: &str| Err(ClientError::Address(format!("the address {url:?} can't be used: {why}")));
        if let Some(path) = url.strip_prefix("unix:") {
            if !path.starts_with('/') || path.ends_with('/') {
                return refuse(
                    "after unix: there must be the absolute path of a socket, such as unix:/run/mregd/api.sock",
                );
            }
            let kind = Kind::Unix(PathBuf::from(path));
            return Ok(Self { address: url.to_owned(), authority: "localhost".to_owned(), kind, allow_plain });
        }
        let Ok(uri) = url.parse::<Uri>() else {
            return refuse("it is not a URL such as https://registry.example or http://127.0.0.1:8000");
        };
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return refuse("it must begin with https://, http:// or unix:/"),
        };
        if uri.path() != "/" && !uri.path().is_empty() || uri.query().is_some() {
            return refuse("it must end after the host and port");
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return refuse("it must have a host and no user");
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let authority = authority.as_str().to_owned();
        if is_tls {
            let connector = Connector::new(trust).map_err(|error| ClientError::Address(error.to_string()))?;
            let address = format!("https://{authority}");
            return Ok(Self { address, authority, kind: Kind::Tls { host, port, connector }, allow_plain });
        }
        if *trust != Trust::default() {
            return refuse("authorities and pinned keys are for https:// addresses");
        }
        if !allow_plain && host.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback()) {
            return refuse(NOT_LOOPBACK);
        }
        Ok(Self { address: authority.clone(), authority, kind: Kind::Clear { host, port }, allow_plain })
    }

    /// The TLS of it, where it is in TLS.
    pub(super) fn tls(&self) -> Option<&Connector> {
        match &self.kind {
            Kind::Tls { connector, .. } => Some(connector),
            Kind::Clear { .. } | Kind::Unix(_) => None,
        }
    }

    /// Whether what is sent may cross a network in clear.
    pub(super) fn is_plain(&self) -> bool {
        match &self.kind {
            Kind::Clear { host, .. } => {
                let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                self.allow_plain && !is_here
            }
            Kind::Tls { .. } | Kind::Unix(_) => false,
        }
    }

    /// Opens a connection. Bounded by the caller.
    pub(super) async fn open(&self) -> Result<Box<dyn Octets>, ClientError> {
        let offline =
            |cause: std::io::Error| ClientError::Offline { address: self.address.clone(), cause: cause.to_string() };
        match &self.kind {
            Kind::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(offline)?)),
            Kind::Clear { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(offline)?;
                // Asked of the connection, not of the name: a name can lead anywhere.
                let peer = stream.peer_addr().map_err(offline)?;
                if !self.allow_plain && !peer.ip().to_canonical().is_loopback() {
                    return Err(ClientError::Address(format!("{} ({peer}) is not used: {NOT_LOOPBACK}", self.address)));
                }
                stream.set_nodelay(true).map_err(offline)?;
                Ok(Box::new(stream))
            }
            Kind::Tls { host, port, connector } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(offline)?;
                stream.set_nodelay(true).map_err(offline)?;
                let shaken = connector.connect(host, stream).await;
                let address = || self.address.clone();
                Ok(Box::new(shaken.map_err(|problem| ClientError::Tls { address: address(), problem })?))
            }
        }
    }
}

/// The address of a daemon as it is shown and known by, from its URL: no authorities are read for it. None where it is none.
pub fn address_of(url: &str) -> Option<String> {
    if url.starts_with("unix:/") {
        return Some(url.to_owned());
    }
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    match uri.scheme_str()? {
        "https" => Some(format!("https://{authority}")),
        "http" => Some(authority.to_owned()),
        _ => None,
    }
}

const NOT_LOOPBACK: &str = "passwords would cross the network in clear; use https://, a loopback address (ssh -L \
                            8000:127.0.0.1:8000 host), or --allow-plain-http where the network is trusted";
