//! A connection to the database of the shared log: TLS, timeouts, and what the server must promise before anything is
//! committed to it. Knows servers; refuses to know tables.
//!
//! An address may name several servers. All are asked at once, and the one is taken that is the primary. Two primaries are what
//! a failover leaves whose old server was started again as it was: promotion begins a new *timeline*, so the one of the older
//! timeline is left alone, also where it is the only one that answers, once the newer was seen.
//!
//! | what | bound |
//! |---|---|
//! | waiting for the other servers, once one is found that is the primary | [`OTHERS_TIMEOUT`] |
//! | waiting for the other servers, once one has said that it is not | [`SILENT_TIMEOUT`] |
//! | connecting, TLS and signing in included | [`CONNECT_TIMEOUT`] |
//! | waiting for the turn to commit | [`LOCK_TIMEOUT`] |
//! | a statement, by the server | [`STATEMENT_TIMEOUT`] |
//! | a turn in which this daemon says nothing: the server ends it, so that one that hangs holds up nobody | [`IDLE_TIMEOUT`] |
//! | an answer, by this daemon | [`ANSWER_TIMEOUT`] |
//! | another side that is silent, by the kernels of both | `KEEPALIVE` and as often again as `KEEPALIVES`; [`ANSWER_TIMEOUT`] where something is under way |
//!
//! A server that falls silent, as one does that is switched off, is so not waited for longer than [`ANSWER_TIMEOUT`], and not that
//! long either once a primary was seen that replaced it (`Servers::replaced`): the thread that follows the log looks for one as
//! soon as its own question is late.

use std::cmp::Ordering;
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
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SharedError;
use crate::config::database::{DatabaseHost, DatabaseServer, DatabaseTls, SharedDatabase};

/// For connecting, and for what the server tells of itself then.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the other servers to say whether one of them is the primary of a newer timeline.
pub const OTHERS_TIMEOUT: Duration = Duration::from_millis(500);
/// For the other servers to answer, once one has answered that it can't be used. A machine that was switched off is silent, and
/// as long as it is waited for nobody hears of the standby that becomes the primary meanwhile: each attempt is to be a short one.
pub const SILENT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the turn to commit.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// For a statement.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// For this daemon's next word in a transaction.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// For an answer of the server, which should have given up by itself before.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// After so long without a word from the other side, the network is asked whether it is there: by this daemon, and by the server,
/// which else would keep the locks of one whose machine is gone for hours.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Questions without an answer after which the other side is gone.
const KEEPALIVES: u32 = 2;
/// The oldest server: its version number.
const SERVER_MIN: u32 = 13_00_00;
/// The most octets of a file of authorities.
const AUTHORITIES_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Waits for an answer, but not for ever.
pub(super) async fn answered<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SharedError> {
    answered_within(ANSWER_TIMEOUT, answer).await
}

/// The same, for so long.
pub(super) async fn answered_within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SharedError> {
    within(limit, async { answer.await.map_err(|error| SharedError::of(&error)) }).await
}

/// What several answers come to, all of them within so long.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, SharedError>>,
) -> Result<T, SharedError> {
    let unanswered = |_elapsed| SharedError::Unreachable(format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.map_err(unanswered)?
}

/// The servers of an address, and what was seen of them. Clones share that.
#[derive(Clone)]
pub struct Servers {
    database: Arc<SharedDatabase>,
    /// The newest history of which a primary was seen.
    newest: Arc<watch::Sender<Option<Lineage>>>,
}

/// Which history a primary writes: a promotion begins a new timeline of the same system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    system: String,
    timeline: u32,
}

impl Lineage {
    /// Whether another one began where this one was to end.
    fn is_replaced_by(&self, other: &Self) -> bool {
        self.system == other.system && self.timeline < other.timeline
    }
}

/// What a primary tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    lineage: Lineage,
    /// When the server was started: of two servers of one history it tells whether they are one.
    started: String,
}

impl Told {
    /// Greater is the one that replaced the other, equal are two names of one server; none where neither replaced the other.
    fn order(&self, other: &Self) -> Option<Ordering> {
        if self.lineage == other.lineage {
            return (self.started == other.started).then_some(Ordering::Equal);
        }
        if self.lineage.is_replaced_by(&other.lineage) {
            Some(Ordering::Less)
        } else {
            other.lineage.is_replaced_by(&self.lineage).then_some(Ordering::Greater)
        }
    }
}

/// A connection to the primary.
pub(super) struct Connected {
    pub client: Client,
    /// The history that is written there; none where the server doesn't tell.
    pub lineage: Option<Lineage>,
}

/// A primary that may be used.
struct Primary {
    client: Client,
    server: DatabaseServer,
    /// None where the server doesn't tell.
    told: Option<Told>,
}

impl Servers {
    /// Those of a database.
    #[must_use]
    pub fn new(database: &SharedDatabase) -> Self {
        Self { database: Arc::new(database.clone()), newest: Arc::default() }
    }

    /// Remembers the history of a primary, and refuses one that was replaced.
    fn admit(&self, primary: &Primary) -> Result<(), SharedError> {
        let Some(Told { lineage, .. }) = &primary.told else { return Ok(()) };
        let mut refused = Ok(());
        self.newest.send_if_modified(|newest| {
            if let Some(seen) = &*newest
                && lineage.is_replaced_by(seen)
            {
                // Another server may be reached a moment later.
                refused = Err(SharedError::Unreachable(format!(
                    "{} is the primary of timeline {}, but one of timeline {} was seen, which replaced it: nothing is \
                     committed there. Stop it, or make it a standby of the new primary (pg_rewind, pg_basebackup)",
                    primary.server, lineage.timeline, seen.timeline
                )));
                return false;
            }
            newest.replace(lineage.clone()).as_ref() != Some(lineage)
        });
        refused
    }

    /// Whether a newer history than the one of a connection was seen since: nothing may be committed there any more.
    pub(super) fn is_replaced(&self, lineage: &Lineage) -> bool {
        self.newest.borrow().as_ref().is_some_and(|newest| lineage.is_replaced_by(newest))
    }

    /// Waits until a newer history was seen than the one of a connection; for ever where that didn't tell.
    pub(super) async fn replaced(&self, lineage: Option<&Lineage>) {
        let Some(lineage) = lineage else { return std::future::pending().await };
        let is_newer = |newest: &Option<Lineage>| newest.as_ref().is_some_and(|newest| lineage.is_replaced_by(newest));
        // It lasts as long as this.
        let mut newest = self.newest.subscribe();
        let _seen = newest.wait_for(is_newer).await;
    }
}

/// Connects to the primary, and makes sure of it. The connection works as long as this runtime runs. `hint` is told that
/// something was committed, where the client asks for it with LISTEN.
///
/// # Errors
/// [`SharedError`].
pub(super) async fn connect(servers: &Servers, hint: Option<mpsc::Sender<()>>) -> Result<Connected, SharedError> {
    let mut tries = JoinSet::new();
    for (at, server) in servers.database.address.servers.iter().enumerate() {
        let (database, server, hint) = (Arc::clone(&servers.database), server.clone(), hint.clone());
        tries.spawn(async move {
            let tried = tokio::time::timeout(CONNECT_TIMEOUT, connect_to(&database, server.clone(), hint)).await;
            let tried = tried.unwrap_or_else(|_elapsed| {
                let why = format!("connecting took longer than {} s", CONNECT_TIMEOUT.as_secs());
                Err(SharedError::Unreachable(why))
            });
            (at, server, tried)
        });
    }
    drop(hint);
    let mut failures: Vec<(usize, DatabaseServer, SharedError)> = Vec::new();
    let mut primary: Option<Primary> = None;
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => tries.join_next().await,
            // Whoever is silent by then is not waited for.
            Some(until) => tokio::time::timeout_at(until, tries.join_next()).await.unwrap_or(None),
        };
        match next {
            None => break,
            Some(Err(panicked)) => return Err(SharedError::Unreachable(panicked.to_string())),
            Some(Ok((at, server, Err(error)))) => {
                failures.push((at, server, error));
                if !tries.is_empty() {
                    until.get_or_insert_with(|| Instant::now() + SILENT_TIMEOUT);
                }
            }
            Some(Ok((_at, _server, Ok(found)))) => {
                if primary.is_none() {
                    let others = Instant::now() + OTHERS_TIMEOUT;
                    until = Some(until.map_or(others, |until| until.min(others)));
                }
                primary = Some(match primary {
                    None => found,
                    Some(before) => newer(before, found)?,
                });
            }
        }
    }
    let Some(primary) = primary else {
        for (at, server) in servers.database.address.servers.iter().enumerate() {
            if failures.iter().all(|(failed, _server, _error)| *failed != at) {
                let why = format!("no answer within {} s of another server's", SILENT_TIMEOUT.as_secs());
                failures.push((at, server.clone(), SharedError::Unreachable(why)));
            }
        }
        return Err(all_failed(failures));
    };
    servers.admit(&primary)?;
    Ok(Connected { client: primary.client, lineage: primary.told.map(|told| told.lineage) })
}

/// Of two primaries the one that replaced the other.
fn newer(one: Primary, other: Primary) -> Result<Primary, SharedError> {
    let order = one.told.as_ref().zip(other.told.as_ref()).and_then(|(one, other)| one.order(other));
    let (kept, left) = match order {
        // One server by two names.
        Some(Ordering::Equal) => return Ok(one),
        Some(Ordering::Less) => (other, one),
        Some(Ordering::Greater) => (one, other),
        None => {
            return Err(SharedError::Refused(format!(
                "{} and {} are both primaries, and neither replaced the other: stop the one that is not the log's, or name \
                 only the servers of one",
                one.server, other.server
            )));
        }
    };
    tracing::warn!(
        server = %left.server,
        timeline = left.told.map(|told| told.lineage.timeline),
        primary = %kept.server,
        "a server was replaced by a failover and runs as a primary still; nothing is committed there. Stop it, or make it a \
         standby"
    );
    Ok(kept)
}

/// What is said where none of the servers is the primary, in the address's order.
fn all_failed(mut failures: Vec<(usize, DatabaseServer, SharedError)>) -> SharedError {
    failures.sort_by_key(|(at, _server, _error)| *at);
    if let [(_at, _server, error)] = &*failures {
        return error.clone();
    }
    let why = |error: &SharedError| match error {
        SharedError::Unreachable(why) | SharedError::Refused(why) => why.clone(),
    };
    let said: Vec<String> = failures.iter().map(|(_at, server, error)| format!("{server}: {}", why(error))).collect();
    let said = said.join("; ");
    if failures.iter().any(|(_at, _server, error)| matches!(error, SharedError::Refused(_))) {
        SharedError::Refused(said)
    } else {
        SharedError::Unreachable(said)
    }
}

/// Connects to one server.
async fn connect_to(
    database: &SharedDatabase,
    server: DatabaseServer,
    hint: Option<mpsc::Sender<()>>,
) -> Result<Primary, SharedError> {
    let address = &database.address;
    let mut config = tokio_postgres::Config::new();
    config
        .user(&address.user)
        .dbname(&address.name)
        .port(server.port)
        .application_name("mregd")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .keepalives_retries(KEEPALIVES)
        .tcp_user_timeout(ANSWER_TIMEOUT);
    match &server.host {
        DatabaseHost::Tcp(host) => config.host(host),
        DatabaseHost::Unix(dir) => config.host_path(dir),
    };
    if let Some(password) = &database.password {
        config.password(password.expose());
    }
    let client = if address.tls == DatabaseTls::Off {
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await.map_err(|error| SharedError::of(&error))?;
        drive(connection, hint);
        client
    } else {
        config.ssl_mode(SslMode::Require);
        let tls = MakeRustlsConnect::new(client_config(&address.tls)?);
        let (client, connection) = config.connect(tls).await.map_err(|error| SharedError::of(&error))?;
        drive(connection, hint);
        client
    };
    make_sure(&client).await?;
    let told = told(&client).await?;
    Ok(Primary { client, server, told })
}

/// Which server it is, and which history it writes. A server that doesn't tell this user is one that can't be compared.
async fn told(client: &Client) -> Result<Option<Told>, SharedError> {
    // The name of a file of the write-ahead log begins with the timeline.
    let asked = client.simple_query(
        "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), \
         pg_postmaster_start_time()::text FROM pg_control_system()",
    );
    let told = match asked.await {
        Ok(told) => told,
        Err(error) if error.as_db_error().is_some() => return Ok(None),
        Err(error) => return Err(SharedError::of(&error)),
    };
    Ok(told.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let timeline = u32::from_str_radix(row.get(1)?, 16).ok()?;
            let lineage = Lineage { system: row.get(0)?.to_owned(), timeline };
            Some(Told { lineage, started: row.get(2)?.to_owned() })
        }
        _other => None,
    }))
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
         SET tcp_keepalives_idle = {keepalive}; SET tcp_keepalives_interval = {keepalive}; \
         SET tcp_keepalives_count = {KEEPALIVES}; SET tcp_user_timeout = {}; \
         SELECT set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' \
         THEN 'remote_apply' ELSE 'on' END, false)",
        LOCK_TIMEOUT.as_millis(),
        STATEMENT_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis(),
        ANSWER_TIMEOUT.as_millis(),
        keepalive = KEEPALIVE.as_secs(),
    );
    client.batch_execute(&settings).await.map_err(|error| SharedError::of(&error))?;
    let asked = client.simple_query(
        "SELECT current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), pg_is_in_recovery()::text, current_setting('transaction_read_only')",
    );
    let asked = asked.await.map_err(|error| SharedError::of(&error))?;
    let row = asked.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _other => None,
    });
    let row = row.ok_or_else(|| SharedError::Unreachable("the server told nothing of itself".to_owned()))?;
    let said = |column: usize| row.get(column).unwrap_or_default();
    let refused = |why: &str| Err(SharedError::Refused(why.to_owned()));
    if said(4) != "false" || said(5) != "off" {
        // It may become the primary, or the address may lead to another a moment later.
        return Err(SharedError::Unreachable(
            "the server is a standby, or read-only; it must be the primary".to_owned(),
        ));
    }
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

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Lineage, Told};

    fn told(system: &str, timeline: u32, started: &str) -> Told {
        Told { lineage: Lineage { system: system.to_owned(), timeline }, started: started.to_owned() }
    }

    /// Of two primaries the newer timeline counts; one server may have two names, two servers of one timeline are refused.
    #[test]
    fn two_primaries() {
        let (old, new) = (told("7", 1, "10:00"), told("7", 2, "09:00"));
        assert_eq!((old.order(&new), new.order(&old)), (Some(Ordering::Less), Some(Ordering::Greater)));
        assert_eq!(old.order(&old.clone()), Some(Ordering::Equal));
        assert_eq!(old.order(&told("7", 1, "10:01")), None);
        assert_eq!(old.order(&told("8", 2, "10:00")), None);
        assert!(old.lineage.is_replaced_by(&new.lineage) && !new.lineage.is_replaced_by(&old.lineage));
        assert!(!old.lineage.is_replaced_by(&old.lineage));
    }
}
