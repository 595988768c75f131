//! The control socket, `<data>/control.sock`: the same interface for the operator of this machine, without a token, and
//! the client's end of it for `mregd user …`. Knows Unix sockets and who is at the other end; refuses to know routes.
//!
//! Whoever may reach it could read the signing key and the journal as well: the socket is 0600, and the peer's user must
//! be the daemon's own or root. What is done here is in the audit log as done by the operator.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::http::Shared;
use crate::http::server::{Peer, Stop, connection, drain, pause_after, raised};

/// The socket's name in the data directory.
const NAME: &str = "control.sock";

/// Connections served at once; an operator has few hands.
const CONNECTIONS_MAX: usize = 16;

/// Octets of the longest line of an answer.
const LINE_OCTETS_MAX: usize = 1024 * 1024;

/// The listening socket. Its file goes when this does.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds the socket, over one that a killed daemon left. Only for who holds the data directory's lock.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _removed_or_absent => {}
        }
        let directory = File::open(data_dir)?;
        let listener = UnixListener::bind(short(&directory))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Serves the operator until `stop`.
    pub async fn serve(self, shared: Arc<Shared>, mut stop: Stop) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = raised(&mut stop.begun) => break,
                Some(_ended) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _unnamed)) => match operator(&stream) {
                    Some(peer) if connections.len() < CONNECTIONS_MAX => {
                        let (shared, begun) = (Arc::clone(&shared), stop.begun.clone());
                        connections.spawn(connection(stream, peer, shared, begun));
                    }
                    Some(_one_too_many) => {}
                    None => {}
                },
                Err(error) => pause_after(&error).await,
            }
        }
        drain(connections, &shared, &mut stop).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A file that stays is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// The peer, if it runs as our user or as root.
fn operator(stream: &UnixStream) -> Option<Peer> {
    let ours = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == ours || peer.uid() == 0 => {
            Some(Peer::Operator { uid: peer.uid(), pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()) })
        }
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "a stranger at the control socket was turned away");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the peer at the control socket can't be told; it was turned away");
            None
        }
    }
}

/// The socket by way of its open directory: a socket's path has at most 107 octets, a directory's thousands.
fn short(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()))
}

/// The running daemon of a data directory, as its operator sees it.
pub struct Operator {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Operator {
    /// Connects. None where no daemon listens.
    pub async fn connect(data_dir: &Path) -> io::Result<Option<Self>> {
        let stream = match File::open(data_dir) {
            Ok(directory) => UnixStream::connect(short(&directory)).await,
            Err(error) => Err(error),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Some(Self { sender }))
    }

    /// Asks, with a JSON body where there is one. Returns status and body.
    pub async fn ask(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> io::Result<(StatusCode, Bytes)> {
        let (status, _tag, body) = self.ask_tagged(method, target, body, None).await?;
        Ok((status, body))
    }

    /// The same of a thing that others may change meanwhile: with `If-Match` where there is a tag. Returns the entity tag that
    /// the answer has, too.
    pub async fn ask_tagged(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
        tag: Option<&str>,
    ) -> io::Result<(StatusCode, Option<String>, Bytes)> {
        let response = self.send(method, target, body, tag).await?;
        let status = response.status();
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((status, tag, body))
    }

    /// Asks for lines, and hands on each as it comes. An answer that is no success is returned whole, with its status.
    pub async fn ask_lines(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<(StatusCode, Bytes)> {
        let response = self.send(method, target, body, None).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            return Ok((status, body.collect().await.map_err(io::Error::other)?.to_bytes()));
        }
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(octets) = frame.map_err(io::Error::other)?.into_data() else { continue };
            for part in octets.split_inclusive(|octet| *octet == b'\n') {
                line.extend_from_slice(part);
                if line.last() == Some(&b'\n') {
                    each(&line);
                    line.clear();
                } else if line.len() > LINE_OCTETS_MAX {
                    return Err(io::Error::other("a line without an end"));
                }
            }
        }
        Ok((status, Bytes::new()))
    }

    /// Asks for lines that come for as long as they are read. An answer that is no success is returned whole, with its status.
    pub async fn open_lines(mut self, method: Method, target: &str) -> io::Result<Result<Lines, (StatusCode, Bytes)>> {
        let response = self.send(method, target, None, None).await?;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(Ok(Lines { body, line: Vec::new(), rest: Bytes::new(), _operator: self }));
        }
        Ok(Err((status, body.collect().await.map_err(io::Error::other)?.to_bytes())))
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
        tag: Option<&str>,
    ) -> io::Result<hyper::Response<hyper::body::Incoming>> {
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, "control");
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default())).map_err(io::Error::other)?;
        // The connection may still be busy with the end of the answer before.
        self.sender.ready().await.map_err(io::Error::other)?;
        self.sender.send_request(request).await.map_err(io::Error::other)
    }
}

/// Lines of an answer. Dropped, it ends.
pub struct Lines {
    body: hyper::body::Incoming,
    line: Vec<u8>,
    rest: Bytes,
    /// The connection ends with it.
    _operator: Operator,
}

impl Lines {
    /// The next line, without its end; none where there is no more.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|octet| *octet == b'\n') {
                self.line.extend_from_slice(&self.rest.split_to(end));
                self.rest.advance(1);
                return Ok(Some(std::mem::take(&mut self.line)));
            }
            self.line.extend_from_slice(&std::mem::take(&mut self.rest));
            if self.line.len() > LINE_OCTETS_MAX {
                return Err(io::Error::other("a line without an end"));
            }
            match self.body.frame().await {
                Some(frame) => self.rest = frame.map_err(io::Error::other)?.into_data().unwrap_or_default(),
                None => return Ok(None),
            }
        }
    }

    /// Whether more may come: what has come is passed over, without waiting for more.
    pub async fn go_on(&mut self) -> bool {
        loop {
            match tokio::time::timeout(Duration::from_millis(100), self.next()).await {
                Ok(Ok(Some(_line))) => {}
                Ok(Ok(None) | Err(_)) => return false,
                Err(_nothing_came) => return true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;

    use super::{Control, NAME, Operator};

    /// It binds over what a killed daemon left, in a directory whose path is longer than a socket's may be, and leaves
    /// nothing.
    #[tokio::test]
    async fn files() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        assert!(Operator::connect(&deep).await.unwrap().is_none());

        drop(std::os::unix::net::UnixListener::bind(base.path().join("x")).unwrap());
        std::fs::rename(base.path().join("x"), deep.join(NAME)).unwrap();
        assert!(Operator::connect(&deep).await.unwrap().is_none());

        let control = Control::bind(&deep).unwrap();
        let mode = std::fs::metadata(deep.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Operator::connect(&deep).await.unwrap().is_some());
        drop(control);
        assert!(!deep.join(NAME).exists());
    }
}
