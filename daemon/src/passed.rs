//! Sockets that a service manager opened and passes on (sd_listen_fds(3)): taken over once, closed to children, and looked
//! at before anything trusts them. Knows descriptors and what the kernel says of them; refuses to know what is served at
//! which: that is the configuration's (`config/network.rs`).
//!
//! The queue of connections belongs to the socket and the socket to the manager: while one daemon ends and the next begins,
//! clients wait in it and nobody is refused.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketType, getsockname};
use thiserror::Error;

use crate::config::network::{Listen, Passed};

/// Sockets that can be passed on. More is a mistake in a unit, and not a way to fill the table of descriptors.
pub const PASSED_MAX: usize = 64;

/// Why what was passed on can't be served at.
#[derive(Debug, Error)]
pub enum PassedError {
    /// `LISTEN_FDS` and its neighbours contradict themselves, or the descriptors are not there.
    #[error("LISTEN_FDS can't be taken over")]
    Protocol(#[source] io::Error),
    /// There are too many.
    #[error("{0} sockets were passed on, and at most {PASSED_MAX} are served; name fewer in the .socket units")]
    TooMany(usize),
    /// One is nothing to accept connections from.
    #[error("the socket {name:?} that was passed on {why}; correct its .socket unit")]
    Unfit {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// A socket that listens, and what it is.
#[derive(Debug)]
pub struct Socket {
    /// Its name, and where it is.
    pub place: Passed,
    /// The socket itself; children don't get it.
    pub socket: OwnedFd,
}

/// Takes over what the service manager passed to this process; nothing where there is none, or where it was meant for
/// another. A second call gets nothing.
///
/// # Errors
/// [`PassedError`]: something was passed on that can't be served at. Better no daemon than one that isn't where it should be.
pub fn take() -> Result<Vec<Socket>, PassedError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    // Closes them to children as well; fails where a descriptor isn't open.
    let passed = sd_notify::listen_fds_with_names().map_err(PassedError::Protocol)?;
    if passed.len() > PASSED_MAX {
        return Err(PassedError::TooMany(passed.len()));
    }
    passed.map(|(descriptor, name)| look_at(own(descriptor), name)).collect()
}

#[expect(
    unsafe_code,
    reason = "a number becomes a descriptor that is owned; there is no other way to take over LISTEN_FDS"
)]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: it is open, because its flags were set just now, and it is ours alone: the manager passed it to this process by
    // number, nothing in this process opened it, and `take` comes here once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// What a socket is; refused where nobody can connect to it, or not as we serve.
fn look_at(socket: OwnedFd, name: String) -> Result<Socket, PassedError> {
    let unfit = |why: &str| PassedError::Unfit { name: name.clone(), why: why.to_owned() };
    let failed = |error: rustix::io::Errno| match error {
        rustix::io::Errno::NOTSOCK => unfit("is no socket"),
        error => unfit(&format!("can't be looked at: {error}")),
    };
    if socket_type(&socket).map_err(failed)? != SocketType::STREAM {
        return Err(unfit("is not one of streams (ListenStream=)"));
    }
    if !socket_acceptconn(&socket).map_err(failed)? {
        return Err(unfit("does not listen (Accept=no is needed)"));
    }
    let address = getsockname(&socket).map_err(failed)?;
    let at = if let Ok(tcp) = SocketAddr::try_from(address.clone()) {
        Listen::Tcp(tcp)
    } else {
        let unix = rustix::net::SocketAddrUnix::try_from(address)
            .map_err(|_other| unfit("is neither one of TCP nor one of this machine"))?;
        let path = unix.path_bytes().filter(|path| path.first() == Some(&b'/'));
        let path = path.ok_or_else(|| unfit("has no absolute path"))?;
        Listen::Unix(Path::new(std::ffi::OsStr::from_bytes(path)).to_owned())
    };
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(failed)?;
    rustix::io::ioctl_fionbio(&socket, true).map_err(failed)?;
    Ok(Socket { place: Passed { name, at }, socket })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::{PassedError, look_at};
    use crate::config::network::Listen;

    /// Only what listens for streams at a place with a name is taken.
    #[test]
    fn looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(look_at(tcp.into(), "http".to_owned()).unwrap().place.at, Listen::Tcp(address));
        let path = dir.path().join("api.sock");
        let unix = UnixListener::bind(&path).unwrap();
        assert_eq!(look_at(unix.into(), "unix".to_owned()).unwrap().place.at, Listen::Unix(path));

        let why = |refused: Result<_, PassedError>| match refused.err().unwrap() {
            PassedError::Unfit { why, .. } => why,
            other => other.to_string(),
        };
        assert!(why(look_at(client.into(), "a".to_owned())).contains("does not listen"));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(why(look_at(udp.into(), "b".to_owned())).contains("streams"));
        let file = File::open("/dev/null").unwrap();
        assert!(why(look_at(file.into(), "c".to_owned())).contains("is no socket"));
    }
}
