//! TLS from the client's side: whom to trust, and what went wrong in words that say what to do. rustls decides; here it
//! is told by what. Nothing turns the checks off: a key that was written down may stand in for the authorities, and that
//! is all.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{Certificate, KeyPin, day};
use crate::shown::shown;

/// Characters that are kept of what somebody else said.
const SAID_CHARS_MAX: usize = 160;
/// Names of a certificate that an error has.
const NAMES_SHOWN: usize = 4;

/// Makes the one provider of cryptography that of the whole process. For the beginning of `main`; again is nothing.
pub fn install() {
    // An error says that there is one already, and nobody brings another.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// Whom to trust. Without either: the authorities of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file of authorities (PEM) in place of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The key that the certificate must have. Alone it stands in for authorities, name and dates; with a file it comes on
    /// top.
    pub pin: Option<KeyPin>,
}

/// Why there is nobody to trust.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrustError {
    /// The file of authorities.
    #[error("the authorities in {} can't be read: {why}; it must be a file of certificates in PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// This machine has none.
    #[error("this machine has no authorities ({0}); install ca-certificates, or name a file of authorities")]
    NoRoots(String),
    /// The library refuses.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

/// Why there is no connection in TLS. Each is a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// The certificate is past its time.
    Expired {
        /// Until when it was good, seconds since the epoch.
        not_after_s: Option<i64>,
    },
    /// The certificate's time has not come.
    NotYet {
        /// From when on it is good, seconds since the epoch.
        not_before_s: Option<i64>,
    },
    /// Nobody who is trusted has signed it.
    UnknownAuthority {
        /// Its key.
        key: Option<KeyPin>,
    },
    /// It has the rights of an authority, as a certificate that signs itself often has; such a one is nobody's own.
    IsAuthority {
        /// Its key.
        key: Option<KeyPin>,
    },
    /// It is for somebody else.
    WrongName {
        /// Who was asked for.
        host: String,
        /// Whom it is for, as it says.
        names: Vec<String>,
    },
    /// Its key is not the one that was written down.
    OtherKey {
        /// The one that was.
        wanted: KeyPin,
        /// Its own.
        found: Option<KeyPin>,
    },
    /// What answers is not TLS.
    NotTls,
    /// Anything else, in the library's words, cleaned and cut.
    Other(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { not_after_s } => {
                let on = not_after_s.map(|at| format!(" on {}", day(at))).unwrap_or_default();
                write!(f, "its certificate expired{on}; have it renewed, if this machine's clock is right")
            }
            Self::NotYet { not_before_s } => {
                let from = not_before_s.map(|at| format!(" before {}", day(at))).unwrap_or_default();
                write!(f, "its certificate is not valid{from}; look at this machine's clock")
            }
            Self::IsAuthority { key } => {
                let key = shown_key(*key);
                write!(
                    f,
                    "its certificate is that of an authority, which can't be a daemon's own; make one with \
                     basicConstraints=CA:FALSE, or pin its key{key}"
                )
            }
            Self::UnknownAuthority { key } => {
                let key = shown_key(*key);
                write!(
                    f,
                    "no authority that is trusted here signed its certificate; name the file of its authority (ca_file, \
                     --ca-file), or pin its key{key}"
                )
            }
            Self::WrongName { host, names } => {
                let whom = match names.as_slice() {
                    [] => "nobody".to_owned(),
                    names => names.iter().take(NAMES_SHOWN).map(|name| shown(name, 64)).collect::<Vec<_>>().join(", "),
                };
                write!(f, "its certificate is for {whom} and not for {host}; use a name that it is for")
            }
            Self::OtherKey { wanted, found } => {
                let found = found.map_or_else(|| "another".to_owned(), |found| found.to_string());
                write!(
                    f,
                    "its key is not the pinned one: pinned is {wanted}, and it has {found}; ask whoever runs the daemon \
                     before you change the pin"
                )
            }
            Self::NotTls => f.write_str("what answers there does not speak TLS; is it an http:// address?"),
            Self::Other(why) => write!(f, "no connection in TLS: {why}"),
        }
    }
}

fn shown_key(key: Option<KeyPin>) -> String {
    key.map(|key| format!(" (its key is {key}; compare it at the daemon first)")).unwrap_or_default()
}

impl std::error::Error for TlsError {}

impl TlsError {
    /// The same without anything that the other side said: for a log that must not carry its words.
    #[must_use]
    pub fn in_our_words(&self) -> String {
        match self {
            Self::WrongName { host, .. } => {
                format!("its certificate is not for {host}; use a name that it is for")
            }
            Self::Other(_) => "no connection in TLS".to_owned(),
            Self::Expired { .. }
            | Self::NotYet { .. }
            | Self::UnknownAuthority { .. }
            | Self::IsAuthority { .. }
            | Self::OtherKey { .. }
            | Self::NotTls => self.to_string(),
        }
    }
}

/// Makes connections of one trust. Sessions are resumed.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    judge: Arc<Judge>,
}

impl Connector {
    /// Reads the authorities. HTTP/1.1 is what is asked for.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new(trust: &Trust) -> Result<Self, TrustError> {
        let setup = |error: &dyn fmt::Display| TrustError::Setup(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = match (&trust.ca_file, trust.pin) {
            (Some(path), _) => {
                let unfit = |why: String| TrustError::File { path: path.clone(), why };
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unfit(error.to_string()))? {
                    let certificate = certificate.map_err(|error| unfit(error.to_string()))?;
                    roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(unfit("there is no certificate in it".to_owned()));
                }
                Some(roots)
            }
            (None, Some(_pin)) => None,
            (None, None) => {
                let found = rustls_native_certs::load_native_certs();
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let why = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
                    return Err(TrustError::NoRoots(why));
                }
                Some(roots)
            }
        };
        let verifier = roots
            .map(|roots| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build());
        let verifier = verifier.transpose().map_err(|error| setup(&error))?;
        let judge = Judge { verifier, pin: trust.pin, provider: Arc::clone(&provider), seen: Mutex::new(None) };
        let judge = Arc::new(judge);
        let as_verifier: Arc<dyn ServerCertVerifier> = Arc::<Judge>::clone(&judge);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(&error))?
            .dangerous()
            .with_custom_certificate_verifier(as_verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), judge })
    }

    /// What the certificate of the newest handshake said.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.judge.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shakes hands over a connection to `host`. Bounded by the caller.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_unfit| TlsError::Other(format!("{} is no name of a host", shown(host, 64))))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| self.sort(host, &error))
    }

    fn sort(&self, host: &str, error: &io::Error) -> TlsError {
        let other = |said: String| TlsError::Other(shown(&said, SAID_CHARS_MAX));
        let seconds = |at: UnixTime| i64::try_from(at.as_secs()).ok();
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => other("the other side closed during the handshake".to_owned()),
                _ => other(error.to_string()),
            };
        };
        let seen = self.certificate();
        match inner {
            rustls::Error::InvalidMessage(_) => TlsError::NotTls,
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::Expired => TlsError::Expired { not_after_s: seen.map(|seen| seen.not_after_s) },
                CertificateError::ExpiredContext { not_after, .. } => {
                    TlsError::Expired { not_after_s: seconds(*not_after) }
                }
                CertificateError::NotValidYet => TlsError::NotYet { not_before_s: seen.map(|seen| seen.not_before_s) },
                CertificateError::NotValidYetContext { not_before, .. } => {
                    TlsError::NotYet { not_before_s: seconds(*not_before) }
                }
                // The other two: an authority of the same name is known, and it was another one.
                CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                    TlsError::UnknownAuthority { key: seen.map(|seen| seen.key) }
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    TlsError::WrongName {
                        host: host.to_owned(),
                        names: seen.map(|seen| seen.names).unwrap_or_default(),
                    }
                }
                CertificateError::ApplicationVerificationFailure => match self.judge.pin {
                    Some(wanted) => TlsError::OtherKey { wanted, found: seen.map(|seen| seen.key) },
                    None => other(why.to_string()),
                },
                // As `openssl req -x509` makes them. The error is webpki's, whose types rustls does not hand on.
                CertificateError::Other(_) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
                    TlsError::IsAuthority { key: seen.map(|seen| seen.key) }
                }
                why => other(why.to_string()),
            },
            why => other(why.to_string()),
        }
    }
}

/// Asks the authorities, compares the pin, and remembers what was shown.
struct Judge {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<KeyPin>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Certificate>>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Certificate::read(end_entity);
        if let Some(verifier) = &self.verifier {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        if let Some(pin) = self.pin {
            // Read as the library reads it that checks the handshake's signature.
            let key = KeyPin::of(&ParsedCertificate::try_from(end_entity)?.subject_public_key_info());
            if key != pin {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
