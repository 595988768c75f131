//! A connection to the database of the shared log: TLS, timeouts, and what the server must promise before anything is
//! committed to it. Knows servers; refuses to know tables.
//!
//! | what | bound |
//! |---|---|
//! | connecting, TLS and signing in included | [`CONNECT_TIMEOUT`] |
//! | waiting for the turn to commit | [`LOCK_TIMEOUT`] |
//! | a statement, by the server | [`STATEMENT_TIMEOUT`] |
//! | a turn in which this daemon says nothing: the server ends it, so that one that hangs holds up nobody | [`IDLE_TIMEOUT`] |
//! | an answer, by this daemon | [`ANSWER_TIMEOUT`] |

use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SharedError;
use crate::config::database::{DatabaseHost, DatabaseTls, SharedDatabase};

/// For connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the turn to commit.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// For a statement.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// For this daemon's next word in a transaction.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// For an answer of the server, which should have given up by itself before.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// After so long without a word from the other side, the network is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The oldest server: its version number.
const SERVER_MIN: u32 = 13_00_00;
/// The most octets of a file of authorities.
const AUTHORITIES_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Waits for an answer, but not for ever.
pub(super) async fn answered<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SharedError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| SharedError::of(&error)),
        Err(_elapsed) => Err(SharedError::Unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
    }
}

/// Connects, and makes sure of the server. The connection works as long as this runtime runs. `hint` is told that something
/// was committed, where the client asks for it with LISTEN.
///
/// # Errors
/// [`SharedError`].
pub(super) async fn connect(database: &SharedDatabase, hint: Option<mpsc::Sender<()>>) -> Result<Client, SharedError> {
    let address = &database.address;
    let mut config = tokio_postgres::Config::new();
    config
        .user(&address.user)
        .dbname(&address.name)
        .port(address.port)
        .application_name("mregd")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .keepalives_retries(2)
        .tcp_user_timeout(ANSWER_TIMEOUT);
    match &address.host {
        DatabaseHost::Tcp(host) => config.host(host),
        DatabaseHost::Unix(dir) => config.host_path(dir),
    };
    if let Some(password) = &database.password {
        config.password(password.expose());
    }
    let connected = async {
        if address.tls == DatabaseTls::Off {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect(NoTls).await.map_err(|error| SharedError::of(&error))?;
            drive(connection, hint);
            Ok(client)
        } else {
            config.ssl_mode(SslMode::Require);
            let tls = MakeRustlsConnect::new(client_config(&address.tls)?);
            let (client, connection) = config.connect(tls).await.map_err(|error| SharedError::of(&error))?;
            drive(connection, hint);
            Ok(client)
        }
    };
    let client = tokio::time::timeout(CONNECT_TIMEOUT, connected).await.map_err(|_elapsed| {
        SharedError::Unreachable(format!("connecting took longer than {} s", CONNECT_TIMEOUT.as_secs()))
    })??;
    make_sure(&client).await?;
    Ok(client)
}

/// Works for a connection until it ends, which whoever uses it finds out.
fn drive<S, T>(mut connection: Connection<S, T>, hint: Option<mpsc::Sender<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(_)) => {
                    if let Some(hint) = &hint {
                        // One that waits already says as much.
                        let _waits = hint.try_send(());
                    }
                }
                Ok(_notice) => {}
                Err(error) => {
                    tracing::debug!(error = crate::error_chain(&error), "a connection to the database ended");
                    return;
                }
            }
        }
    });
}

/// Sets what this session needs, and refuses a server that could lose what it confirmed.
async fn make_sure(client: &Client) -> Result<(), SharedError> {
    let settings = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' \
         THEN 'remote_apply' ELSE 'on' END, false)",
        LOCK_TIMEOUT.as_millis(),
        STATEMENT_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis(),
    );
    answered(client.batch_execute(&settings)).await?;
    let asked = answered(client.simple_query(
        "SELECT current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), pg_is_in_recovery()::text, current_setting('transaction_read_only')",
    ))
    .await?;
    let row = asked.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _other => None,
    });
    let row = row.ok_or_else(|| SharedError::Unreachable("the server told nothing of itself".to_owned()))?;
    let said = |column: usize| row.get(column).unwrap_or_default();
    let refused = |why: &str| Err(SharedError::Refused(why.to_owned()));
    if said(0).parse::<u32>().is_ok_and(|version| version < SERVER_MIN) {
        return refused("the database's server is older than PostgreSQL 13; use a newer one");
    }
    if said(1) != "on" {
        return refused("the database's server has fsync=off, so a power cut loses what it confirmed; set fsync=on");
    }
    if said(2) != "on" {
        return refused(
            "the database's server has full_page_writes=off, so a power cut may damage what it confirmed; set \
             full_page_writes=on",
        );
    }
    if !["on", "remote_apply"].contains(&said(3)) {
        return refused("the database's server doesn't let this user set synchronous_commit=on");
    }
    if said(4) != "false" || said(5) != "off" {
        // It may become the primary, or the address may lead to another a moment later.
        return Err(SharedError::Unreachable(
            "the server is a standby, or read-only; it must be the primary".to_owned(),
        ));
    }
    Ok(())
}

/// How TLS to the database is done.
fn client_config(tls: &DatabaseTls) -> Result<ClientConfig, SharedError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let refused = |error: String| SharedError::Refused(format!("TLS to the database: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let builder = match tls {
        DatabaseTls::VerifyFull { authorities } => {
            let roots = Arc::new(roots(authorities.as_deref()).map_err(refused)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| refused(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
        DatabaseTls::Off | DatabaseTls::Require => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
    };
    Ok(builder.with_no_client_auth())
}

/// The authorities in a file, or the machine's.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let unread = |error: io::Error| format!("{}: {error}", file.display());
            if fs::metadata(file).map_err(unread)?.len() > AUTHORITIES_OCTETS_MAX {
                return Err(format!("{} is too large for a file of authorities", file.display()));
            }
            let octets = fs::read(file).map_err(unread)?;
            for certificate in CertificateDer::pem_slice_iter(&octets) {
                let certificate = certificate.map_err(|error| format!("{}: {error}", file.display()))?;
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            if roots.is_empty() {
                return Err(format!("{} holds no certificate", file.display()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _unfit) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err("this machine trusts no authorities; name a file with sslrootcert".to_owned());
            }
        }
    }
    Ok(roots)
}

/// Takes anybody's certificate (sslmode=require): what was encrypted is encrypted to whoever answered.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
