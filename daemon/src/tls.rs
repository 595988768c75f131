//! The daemon's TLS: its certificate and key, read, checked, and replaced while it serves. Knows the two files and what
//! rustls makes of them; refuses to know connections.
//!
//! A pair that can't be used never takes the place of one that can: it is refused, said once, and shown in `/status` until a
//! good one comes. Connections that are open go on with what they began with.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::certificate::{Certificate, day};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

use crate::clock;
use crate::config::network::TlsFiles;
use crate::config::secret::Readers;
use crate::live::Live;

/// The files are looked at so often; a pair counts as changed once two looks in a row show the same.
const LOOK: Duration = Duration::from_secs(5);
/// Octets of the longest chain or key.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Sessions that can be resumed; each some hundred octets.
const SESSIONS_MAX: usize = 4096;
/// From so many days on it is said, once a day, that the certificate is about to expire.
pub const DAYS_LOW: i64 = 21;
/// Application protocols of a server, the liked one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

impl Protocols {
    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Both => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Why a pair can't be used.
#[derive(Debug, Error)]
pub enum TlsFileError {
    /// A file can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read the key.
    #[error(
        "{} has mode {mode:04o}, so others may read the key; set it to 0600 and replace the key if anyone could have seen it",
        path.display()
    )]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is something else in a file.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The two don't fit together, or the library refuses them.
    #[error("{} and {} don't make a pair: {why}", cert.display(), key.display())]
    Pair {
        /// The chain's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A new certificate that nobody would accept.
    #[error("the certificate in {} expired on {}", path.display(), day(*not_after_s))]
    Expired {
        /// The chain's file.
        path: PathBuf,
        /// Until when it was good, seconds since the epoch.
        not_after_s: i64,
    },
}

/// A pair that can be served with.
pub struct Identity {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    /// What the certificate says.
    pub certificate: Certificate,
    protocols: Protocols,
}

impl Identity {
    /// Reads and checks a pair. That the certificate has expired is for the caller.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub fn load(files: &TlsFiles, protocols: Protocols) -> Result<Self, TlsFileError> {
        let content = |path: &Path, why: &str| TlsFileError::Content { path: path.to_owned(), why: why.to_owned() };
        let chain = read(&files.cert, None)?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| content(&files.cert, &error.to_string()))?;
        let certificate = chain.first().ok_or_else(|| content(&files.cert, "there is no certificate in it (PEM)"))?;
        let certificate = Certificate::read(certificate)
            .ok_or_else(|| content(&files.cert, "its first certificate is not one of X.509, version 3"))?;
        let key = read(&files.key, Some(files.key_readers))?;
        // The error says what is missing, and nothing of what is there.
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_unfit| {
            content(&files.key, "there is no key in it that is understood (PEM, without a password)")
        })?;
        let pair = |error: rustls::Error| TlsFileError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            why: error.to_string(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = protocols.names();
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self { config: Arc::new(config), certificate, protocols })
    }
}

/// The octets of a file; of the key only if nobody else may read it.
fn read(path: &Path, readers: Option<Readers>) -> Result<Zeroizing<Vec<u8>>, TlsFileError> {
    let unread = |source| TlsFileError::Read { path: path.to_owned(), source };
    // Asked before opening, because opening a pipe waits for its other end.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(unread(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let file = File::open(path).map_err(unread)?;
    let mode = file.metadata().map_err(unread)?.mode() & 0o7777;
    if readers == Some(Readers::Owner) && mode & 0o077 != 0 {
        return Err(TlsFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut octets = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets).map_err(unread)?;
    if octets.len() as u64 > FILE_BYTES_MAX {
        return Err(unread(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 256 KiB")));
    }
    Ok(octets)
}

/// What tells one state of a file from another.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    let changed = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
    Some((found.dev(), found.ino(), found.len(), changed.0, changed.1, changed.2, changed.3))
}

/// The pair in use.
pub struct Tls {
    files: TlsFiles,
    current: Live<Identity>,
    /// The state of the files that was read last.
    seen: Mutex<[Option<Stamp>; 2]>,
    /// Why a newer pair is not in use.
    refused: Mutex<Option<String>>,
    reloads: AtomicU64,
    refusals: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Tls {
    /// Serves with a pair that was loaded from these files.
    #[must_use]
    pub fn new(files: TlsFiles, identity: Identity) -> Self {
        let seen = Mutex::new([stamp(&files.cert), stamp(&files.key)]);
        Self {
            files,
            current: Live::new(identity),
            seen,
            refused: Mutex::new(None),
            reloads: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
        }
    }

    /// The pair for a new connection.
    pub fn current(&self) -> Arc<Identity> {
        self.current.get()
    }

    /// Why a newer pair is not in use, if there is one.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pairs taken into use since the start, and pairs refused.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Ordering::Relaxed), self.refusals.load(Ordering::Relaxed))
    }

    /// Handshakes that came to nothing since the start.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    /// A handshake came to nothing.
    pub fn handshake_failed(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whole days that the certificate is still good for.
    pub fn days_left(&self) -> i64 {
        self.current().certificate.days_left(clock::now_ms().div_euclid(clock::SECOND_MS))
    }

    /// Reads the files again; what is in them is not in use yet. Blocks.
    ///
    /// # Errors
    /// [`TlsFileError`], which is said, and shown until there is a good pair.
    pub fn read_again(&self) -> Result<Identity, TlsFileError> {
        // Before reading: what is written meanwhile is another state.
        let seen = self.stamps();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        let now_s = clock::now_ms().div_euclid(clock::SECOND_MS);
        let loaded = Identity::load(&self.files, self.current().protocols).and_then(|identity| {
            let not_after_s = identity.certificate.not_after_s;
            if not_after_s <= now_s {
                return Err(TlsFileError::Expired { path: self.files.cert.clone(), not_after_s });
            }
            Ok(identity)
        });
        loaded.inspect_err(|error| {
            let why = crate::error_chain(error);
            tracing::error!(error = why, "the new certificate is not used; the one before stays");
            self.refusals.fetch_add(1, Ordering::Relaxed);
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        })
    }

    /// Takes a pair into use for new connections.
    pub fn take_into_use(&self, identity: Identity) {
        let Certificate { names, not_after_s, key, .. } = &identity.certificate;
        let until = day(*not_after_s);
        tracing::info!(names = names.join(","), until, key = key.to_string(), "the certificate was read again");
        self.current.set(identity);
        self.reloads.fetch_add(1, Ordering::Relaxed);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.files.cert), stamp(&self.files.key)]
    }

    /// Says, once a day, that the certificate is about to expire.
    fn warn(&self, said_at_days: &mut Option<i64>) {
        let days = self.days_left();
        if days > DAYS_LOW || *said_at_days == Some(days) {
            return;
        }
        *said_at_days = Some(days);
        let certificate = &self.current().certificate;
        let (name, until) = (certificate.name(), day(certificate.not_after_s));
        if days < 0 {
            tracing::warn!(name, until, "the certificate HAS EXPIRED; clients refuse it");
        } else {
            tracing::warn!(name, until, days, "the certificate is about to expire");
        }
    }
}

/// Looks after the pair until it is dropped: reads it again when its files change.
pub async fn watch(tls: Arc<Tls>) {
    let look = |tls: &Arc<Tls>| {
        let tls = Arc::clone(tls);
        // A file system that hangs must not hang connections.
        async move { tokio::task::spawn_blocking(move || tls.stamps()).await.unwrap_or_default() }
    };
    let mut last = look(&tls).await;
    let mut said_at_days = None;
    let mut round = tokio::time::interval(LOOK);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let seen = look(&tls).await;
        let known = *tls.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One of the two is written after the other: between them they don't fit.
        if seen != known && seen == last {
            let reading = Arc::clone(&tls);
            match tokio::task::spawn_blocking(move || reading.read_again()).await {
                Ok(Ok(identity)) => tls.take_into_use(identity),
                // It was said.
                Ok(Err(_refused)) => {}
                Err(_panicked) => tracing::error!("reading the certificate again failed"),
            }
        }
        last = seen;
        tls.warn(&mut said_at_days);
    }
}
