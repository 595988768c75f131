//! Places to listen: TCP in clear, TCP in TLS, sockets of this machine; and the handshakes of TLS before there is a
//! connection. Knows sockets and their files; refuses to know HTTP, but for the one answer to who speaks it in clear where
//! TLS is spoken.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::problem::{CONTENT_TYPE, ProblemType};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ahead::{Ahead, Whole};
use super::{Peer, line};
use crate::http::problem::instance;
use crate::tls::Tls;

/// Handshakes at once. Each takes a millisecond or two where nothing is wrong; one that takes long gives way to those that
/// come after it.
pub const HANDSHAKES_MAX: usize = 256;
/// The first octet of TLS: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// For telling somebody that they speak in clear.
const TELLING_TIMEOUT: Duration = Duration::from_secs(2);
/// What the name of a socket ends in until it is in its place.
const NEW: &str = ".new";

/// A place to listen.
pub enum Listener {
    /// TCP in clear.
    Tcp(TcpListener),
    /// TCP in TLS.
    Tls(TcpListener, Arc<Tls>),
    /// A socket of this machine.
    Unix(Socket),
}

/// Somebody who came.
pub(super) enum Accepted {
    Tcp(TcpStream, Peer),
    Tls(TcpStream, SocketAddr, Arc<Tls>),
    Unix(UnixStream, Peer),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let tcp = async |listener: &TcpListener| {
            let (stream, address) = listener.accept().await?;
            if let Err(error) = line::prepare(&stream) {
                tracing::debug!(%error, "a new connection's options can't be set");
            }
            Ok::<_, io::Error>((stream, address))
        };
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = tcp(listener).await?;
                Accepted::Tcp(stream, Peer::Tcp(address))
            }
            Self::Tls(listener, tls) => {
                let (stream, address) = tcp(listener).await?;
                Accepted::Tls(stream, address, Arc::clone(tls))
            }
            Self::Unix(socket) => {
                let (stream, _unnamed) = socket.listener.accept().await?;
                Accepted::Unix(stream, Peer::Local)
            }
        })
    }
}

/// A listening socket of this machine. Its file goes when this does, if this made it.
pub struct Socket {
    listener: UnixListener,
    made: Option<Made>,
}

/// The file of a socket.
struct Made {
    path: PathBuf,
    /// Its device and inode: another daemon may have put its own there meanwhile.
    file: (u64, u64),
}

impl Socket {
    /// One that somebody else made, and keeps when this ends.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn passed(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        Ok(Self { listener: UnixListener::from_std(listener)?, made: None })
    }

    /// Listens at `path`, with this mode from the first moment on. A socket of ours that nobody listens at any more, as a
    /// killed daemon leaves it, is replaced; nothing else is.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens or where something else is, `PermissionDenied` where anybody could put another in its
    /// place; what the system says.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let refuse = |kind, why: &str| Err(io::Error::new(kind, why.to_owned()));
        let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
        if folder.mode() & 0o002 != 0 && folder.mode() & 0o1000 == 0 {
            return refuse(
                io::ErrorKind::PermissionDenied,
                "anybody may write to its folder, and put another in its place",
            );
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                return refuse(io::ErrorKind::AddrInUse, "something is there that is no socket");
            }
            Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
                return refuse(io::ErrorKind::AddrInUse, "a socket of another user is there");
            }
            Ok(_ours) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_somebody) => return refuse(io::ErrorKind::AddrInUse, "somebody listens there"),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            },
        }
        // Under another name until its mode is right: then it comes into its place as a whole.
        let mut new = path.to_owned().into_os_string();
        new.push(NEW);
        let new = PathBuf::from(new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _removed_or_absent => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&new)?;
        let placed = (|| {
            fs::set_permissions(&new, Permissions::from_mode(mode))?;
            let found = fs::symlink_metadata(&new)?;
            fs::rename(&new, path)?;
            listener.set_nonblocking(true)?;
            Ok((found.dev(), found.ino()))
        })();
        match placed {
            Ok(file) => {
                let made = Some(Made { path: path.to_owned(), file });
                Ok(Self { listener: UnixListener::from_std(listener)?, made })
            }
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(Made { path, file }) = &self.made else { return };
        if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *file) {
            // A file that stays is replaced at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// Handshakes under way, by their age.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    /// Dropping one ends its handshake.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of one handshake.
pub(super) struct Handshake {
    all: Arc<Handshakes>,
    number: u64,
    gives_way: oneshot::Receiver<()>,
}

impl Handshakes {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more; the oldest loses its own where there are too many.
    pub(super) fn begin(self: &Arc<Self>) -> Handshake {
        let (keep, gives_way) = oneshot::channel();
        let mut open = self.lock();
        if open.by_age.len() >= HANDSHAKES_MAX {
            drop(open.by_age.pop_first());
        }
        let number = open.next;
        open.next += 1;
        open.by_age.insert(number, keep);
        drop(open);
        Handshake { all: Arc::clone(self), number, gives_way }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        drop(self.all.lock().by_age.remove(&self.number));
    }
}

impl Handshake {
    /// Shakes hands within `limit`, with the certificate of this moment. Who speaks HTTP in clear is told so.
    pub(super) async fn shake(
        mut self,
        stream: TcpStream,
        tls: &Tls,
        limit: Duration,
    ) -> io::Result<Whole<TlsStream<Ahead<TcpStream>>>> {
        let shaking = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first[0] != HANDSHAKE_RECORD {
                if first[0].is_ascii_uppercase() {
                    tell(stream).await;
                }
                return Err(io::Error::other("it does not speak TLS"));
            }
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().config));
            Ok(Whole::new(acceptor.accept(Ahead::new(stream)).await?))
        };
        tokio::select! {
            shaken = tokio::time::timeout(limit, shaking) => shaken?,
            _cut = &mut self.gives_way => Err(io::Error::other("it gave way to those that came after it")),
        }
    }
}

/// Answers who speaks HTTP/1.1 in clear. What they asked is not read: it should not have been sent.
async fn tell(mut stream: TcpStream) {
    let request_id = uuid::Uuid::now_v7().to_string();
    let (kind, detail) = (ProblemType::BadRequest, "TLS is spoken here; use https:// in the address");
    let Ok(body) = serde_json::to_vec(&kind.problem(detail, instance(&request_id))) else { return };
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {CONTENT_TYPE}\r\nx-request-id: {request_id}\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let telling = async {
        stream.write_all(&[head.into_bytes(), body].concat()).await?;
        stream.shutdown().await?;
        // What is left unread would reset the connection, and with it the answer.
        let mut rest = [0; 4096];
        for _ in 0..16 {
            stream.readable().await?;
            match stream.try_read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(TELLING_TIMEOUT, telling).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::{HANDSHAKES_MAX, Handshakes, Socket};

    /// A socket has its mode, replaces one that was left behind and nothing else, and leaves nothing.
    #[tokio::test]
    async fn sockets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path, 0o620).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(Socket::bind(&path, 0o600).err().unwrap().kind(), ErrorKind::AddrInUse);
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        fs::write(&path, "precious").unwrap();
        assert_eq!(Socket::bind(&path, 0o600).err().unwrap().kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();

        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Socket::bind(&path, 0o600).err().unwrap().kind(), ErrorKind::PermissionDenied);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let old = Socket::bind(&path, 0o600).unwrap();
        // Another one took the place: it is not ours to remove.
        fs::remove_file(&path).unwrap();
        let new = Socket::bind(&path, 0o600).unwrap();
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }

    /// The oldest gives way, and those that ended make room by themselves.
    #[test]
    fn handshakes() {
        let all = Arc::new(Handshakes::default());
        let mut first = all.begin();
        let mut second = all.begin();
        let others: Vec<_> = (2..HANDSHAKES_MAX).map(|_| all.begin()).collect();
        assert!(
            first.gives_way.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty)
        );
        let newest = all.begin();
        assert!(
            first.gives_way.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Closed)
        );
        assert!(
            second.gives_way.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty)
        );
        drop((others, newest, first, second));
        assert!(all.lock().by_age.is_empty());
    }
}
