//! mregd as a library: the registry, its store and blobs, its faces. Modules in reading order.
//!
//! This file is the only place that chooses and wires leaves: [`open`] makes a registry of a configuration, [`run`]
//! serves it until it is told to stop. What either means for a terminal or a service manager is `commands`'.

pub mod cli;
pub mod config;
pub mod logging;
pub mod traces;
pub mod clock;
pub mod random;
pub mod live;
pub mod durable;
pub mod blobs;
pub mod inspect;
pub mod inspection;
pub mod store;
pub mod auth;
pub mod registry;
pub mod operator;
pub mod problem;
pub mod tls;
pub mod http;
pub mod ingest;
pub mod witness;
pub mod cosigning;
pub mod webhooks;
pub mod notify;
pub mod passed;
pub mod reload;
pub mod commands;
pub mod manual;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::audit::{Action, leaf_hash};
use common::name::{Alias, UserName};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};

use crate::blobs::both::Both;
use crate::blobs::disk::{DiskBlobs, DiskOptions};
#[cfg(feature = "s3")]
use crate::blobs::s3::{self, S3Blobs, S3Options};
use crate::blobs::{BlobError, Blobs};
use crate::config::s3::Place;
use crate::config::secret::{Secret, SecretError, load_or_generate_key_file};
use crate::config::{AuditClientIp, AuditReads, Config, JwtSecret, LogHashAccess, Options, RequireTotp};
use crate::cosigning::{Cosigning, CosigningError};
use crate::http::control::Control;
use crate::http::metrics::Metrics;
use crate::http::server::listen::Listener;
use crate::http::server::{self, Stop, raised};
use crate::http::{Limits, Shared};
use crate::ingest::Ingest;
use crate::inspect::{Allowed, Ruleset};
use crate::inspection::Inspector;
use crate::inspection::pool::Workers;
use crate::live::Live;
use crate::registry::error::RegistryError;
use crate::registry::scrub::position_file;
use crate::registry::{Registry, Seeded, settings};
use crate::reload::Reloader;
use crate::store::sled::{OpenError, SledOptions, SledStore};
use crate::store::{Health, Store};
use crate::tls::Tls;
use crate::webhooks::Webhooks;

/// Blobs, below the data directory.
const BLOBS_DIR: &str = "blobs";
/// Records of resumable uploads, below the data directory.
const UPLOADS_DIR: &str = "uploads";
/// What is staged for an object store, below the data directory.
const S3_DIR: &str = "s3";
/// The same for the store of [`Config::blobs_old`].
const S3_OLD_DIR: &str = "s3-old";
/// The generated key of tokens, in the directory of keys.
const TOKEN_KEY_FILE: &str = "token.key";
/// The generated key of webhooks, in the directory of keys.
const WEBHOOK_KEY_FILE: &str = "webhook.key";
/// The generated key of second factors, in the directory of keys.
const TOTP_KEY_FILE: &str = "totp.key";
/// Histograms are folded, and memory that hashing left over is given back, so often.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long another daemon that has opened the log may take to open its artifacts, and how often is looked.
const PEER_STARTS_WITHIN: Duration = Duration::from_secs(10);
const PEER_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a registry did not open.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The blobs.
    #[error("the blobs in {place} can't be opened")]
    Blobs {
        /// Where they are: a directory, or a bucket.
        place: String,
        /// Why.
        source: BlobError,
    },
    /// The generated key of tokens.
    #[error("the key of tokens in {}", path.display())]
    TokenKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: SecretError,
    },
    /// The generated key of webhooks.
    #[error("the key of webhooks in {}", path.display())]
    WebhookKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: SecretError,
    },
    /// The generated key of second factors.
    #[error("the key of second factors in {}", path.display())]
    TotpKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: SecretError,
    },
    /// A setting that the configuration let through and the registry does not.
    #[error("{name}: {problem}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The witness policy does not fit the log.
    #[error("MREG_WITNESS_POLICY")]
    Cosigning(#[source] CosigningError),
    /// The drop folder.
    #[error("{}", of_drop_folder(path, source))]
    DropFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The registry's first steps: recovery, the first admin, the entry of the start.
    #[error("the registry can't start")]
    Registry(#[source] RegistryError),
}

/// Why the drop folder can't be used.
fn of_drop_folder(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    if source.kind() == io::ErrorKind::WouldBlock {
        return format!("the drop folder {path} is in use by another daemon; stop that, or set another MREG_DROP_DIR");
    }
    format!("the drop folder {path} can't be used")
}

/// Why serving ended early.
#[derive(Debug, Error)]
pub enum RunError {
    /// What is kept of webhooks has no place.
    #[error("the directory of webhooks in {} can't be made", dir.display())]
    Webhooks {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control socket can't be made.
    #[error("the control socket in {} can't be made", dir.display())]
    Control {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal failed: only the file itself can say what is in it.
    #[error("the journal failed ({0}); start again to recover from it")]
    Journal(String),
    /// The entry of the start or of the stop.
    #[error("that the daemon starts or stops can't be recorded")]
    Log(#[source] RegistryError),
}

/// An open registry.
pub struct Opened {
    /// The registry.
    pub registry: Arc<Registry>,
    /// What became of the first admin.
    pub seeded: Seeded,
    /// The task that asks witnesses, where they are to be asked.
    pub cosigning: Option<Cosigning>,
    /// The drop folder, where there is one.
    pub ingest: Option<Ingest>,
}

/// Opens the registry of a configuration: takes the lock, recovers, makes what is missing, the first admin included.
pub async fn open(config: &Config) -> Result<Opened, StartError> {
    let settings = registry_settings(config, Keys::read(config)?)?;
    let options = store_options(config);
    let store = off_the_runtime(move || SledStore::open(&options)).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let opened = match open_blobs(config, &store).await {
        Ok(blobs) => see_that_blobs_are_shared(config, &store, &blobs).await.map(|()| blobs),
        Err(error) => Err(error),
    };
    let blobs = match opened {
        Ok(blobs) => blobs,
        Err(error) => {
            store.close().await;
            return Err(error);
        }
    };
    let registry = Registry::open(store, blobs, inspector(config), settings).await.map_err(StartError::Registry)?;
    let registry = Arc::new(registry);
    let opened = async {
        let seeded = seed(&registry, config).await?;
        let cosigning = match config.witnesses.clone() {
            Some(witnesses) => {
                let opened = Cosigning::open(Arc::clone(&registry), witnesses, &config.data_dir).await;
                Some(opened.map_err(StartError::Cosigning)?)
            }
            None => None,
        };
        let ingest = match config.drop.clone() {
            Some(settings) => {
                let (registry, path) = (Arc::clone(&registry), settings.dir.clone());
                let opened = off_the_runtime(move || Ingest::open(registry, settings)).await;
                Some(opened.map_err(|source| StartError::DropFolder { path, source })?)
            }
            None => None,
        };
        Ok((seeded, cosigning, ingest))
    };
    match opened.await {
        Ok((seeded, cosigning, ingest)) => Ok(Opened { registry, seeded, cosigning, ingest }),
        Err(error) => {
            registry.close().await;
            Err(error)
        }
    }
}

/// Where the store is, and what it is called.
pub(crate) fn store_options(config: &Config) -> SledOptions {
    let options = SledOptions::new(&config.data_dir, &config.key_dir, &config.log_origin);
    SledOptions { shared: config.database.clone(), ..options }
}

/// Opens the blobs of a registry whose store is open: an object store is told whose they are.
async fn open_blobs(config: &Config, store: &Arc<dyn Store>) -> Result<Arc<dyn Blobs>, StartError> {
    let mut first = None;
    store.read(Box::new(|view| first = Some(view.leaf(0)))).await;
    let log = match first {
        Some(Ok(Some(leaf))) => Some(hex::encode(leaf_hash(&leaf).0)),
        // A log has its first entry from its beginning on; a log that can't be read is told of by whatever reads it next.
        _ => None,
    };
    std::thread::scope(|scope| {
        let node = store.is_shared().then(|| store.identity().node);
        let opening = scope.spawn(move || open_places(config, log.as_deref(), node.as_deref()));
        opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Refuses to start where another daemon that follows the log keeps its artifacts in another directory: each would take what
/// the other published for missing. A daemon that starts at the same time makes its folder there in a moment.
async fn see_that_blobs_are_shared(
    config: &Config,
    store: &Arc<dyn Store>,
    blobs: &Arc<dyn Blobs>,
) -> Result<(), StartError> {
    let refused = |why: String| StartError::Setting { name: "MREG_DATABASE", problem: why };
    let peers = store.peers().await.map_err(|error| refused(error_chain(&error)))?;
    for peer in peers {
        let began = Instant::now();
        loop {
            let (blobs, other) = (Arc::clone(blobs), peer.clone());
            let looked = off_the_runtime(move || blobs.is_shared_with(&other)).await;
            let place = || config.data_dir.join(BLOBS_DIR).display().to_string();
            if looked.map_err(|source| StartError::Blobs { place: place(), source })? {
                break;
            }
            if began.elapsed() >= PEER_STARTS_WITHIN {
                return Err(refused(format!(
                    "the daemon {peer} works on the same log, but does not keep its artifacts in '{}': what one publishes \
                     the other could not serve. Mount one directory there on all machines, or keep artifacts in S3 (MREG_BLOBS)",
                    place()
                )));
            }
            tokio::time::sleep(PEER_LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Opens where artifacts are kept, and where they were. `log` is the id of the log that points to them, where it is known;
/// `node` this daemon's, where others keep artifacts in the same places. Blocks.
pub(crate) fn open_places(
    config: &Config,
    log: Option<&str>,
    node: Option<&str>,
) -> Result<Arc<dyn Blobs>, StartError> {
    let blobs = open_place(config, &config.blobs, S3_DIR, log, node)?;
    match &config.blobs_old {
        None => Ok(blobs),
        Some(old) => Ok(Arc::new(Both::new(blobs, open_place(config, old, S3_OLD_DIR, log, node)?))),
    }
}

/// Opens one place. `dir` is where an object store keeps what is staged, below the data directory. Blocks.
pub(crate) fn open_place(
    config: &Config,
    place: &Place,
    dir: &str,
    log: Option<&str>,
    node: Option<&str>,
) -> Result<Arc<dyn Blobs>, StartError> {
    open_place_of(config, &config.data_dir, place, dir, log, node)
}

/// The same of another data directory than the configuration's.
pub(crate) fn open_place_of(
    config: &Config,
    data_dir: &Path,
    place: &Place,
    dir: &str,
    log: Option<&str>,
    node: Option<&str>,
) -> Result<Arc<dyn Blobs>, StartError> {
    match place {
        Place::Disk => {
            let path = data_dir.join(BLOBS_DIR);
            let opened = DiskBlobs::open(&path, DiskOptions { own: node.map(str::to_owned), ..DiskOptions::default() });
            let place = path.display().to_string();
            opened.map(|blobs| Arc::new(blobs) as _).map_err(|source| StartError::Blobs { place, source })
        }
        #[cfg(feature = "s3")]
        Place::S3 { bucket, prefix } => {
            let options = s3_options(config, bucket, prefix, data_dir.join(dir));
            let opened = S3Blobs::open(options, log);
            opened
                .map(|blobs| Arc::new(blobs) as _)
                .map_err(|source| StartError::Blobs { place: place.to_string(), source })
        }
        #[cfg(not(feature = "s3"))]
        Place::S3 { .. } => {
            let _of_object_stores = (dir, log);
            Err(StartError::Setting {
                name: "MREG_BLOBS",
                problem: format!("{place} is in an object store, and this mregd was built without them (feature `s3`)"),
            })
        }
    }
}

#[cfg(feature = "s3")]
fn s3_options(config: &Config, bucket: &str, prefix: &str, dir: PathBuf) -> S3Options {
    let store = &config.object_store;
    let identity = match (&store.key_id, &store.secret) {
        (Some(key_id), Some(secret)) => s3::Identity::Given {
            key_id: key_id.clone(),
            secret: secret.clone(),
            session_token: store.session_token.clone(),
        },
        _ => s3::Identity::Found { asks_instance: store.asks_instance },
    };
    S3Options {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: store.endpoint.clone(),
        // What stores without regions take.
        region: store.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        path_style: store.path_style.unwrap_or(store.endpoint.is_some()),
        checksums: if store.sends_checksums { s3::Checksums::Sha256 } else { s3::Checksums::None },
        identity,
        ca_file: store.ca_file.clone(),
        hand_out: store.redirect,
        grace: store.grace,
        dir,
    }
}

/// What inspects files: workers, which are this very program again.
fn inspector(config: &Config) -> Arc<dyn Inspector> {
    let globals = config.scan_allow_globals.clone();
    let allowed = Allowed { globals, prefixes: config.scan_allow_prefixes.clone() };
    let limits = inspect::Limits { time: config.scan_timeout, ..inspect::Limits::default() };
    Arc::new(Workers::new(Ruleset::new(allowed), limits))
}

async fn seed(registry: &Registry, config: &Config) -> Result<Seeded, StartError> {
    let name: UserName = config
        .admin_username
        .parse()
        .map_err(|error| StartError::Setting { name: "ADMIN_USERNAME", problem: format!("{error}") })?;
    registry.seed_admin(&name, config.admin_password.clone()).await.map_err(StartError::Registry)
}

/// Where a registry is served.
pub struct Front {
    /// The places.
    pub listeners: Vec<Listener>,
    /// The certificate of those in TLS.
    pub tls: Option<Arc<Tls>>,
    /// Where the settings came from, to read them again …
    pub options: Options,
    /// … whenever this changes.
    pub reload: watch::Receiver<u64>,
}

/// Serves a registry until `stop`, then ends in order: nothing new, running requests, last entry, store. `announce` is
/// called once it serves.
pub async fn run(
    config: &Config,
    registry: Arc<Registry>,
    cosigning: Option<Cosigning>,
    ingest: Option<Ingest>,
    front: Front,
    stop: Stop,
    announce: impl FnOnce(),
) -> Result<(), RunError> {
    let started = match registry.record_lifecycle(Action::LogStart).await {
        Ok(()) => registry.record_ruleset().await,
        Err(error) => Err(error),
    };
    if let Err(error) = started {
        registry.close().await;
        return Err(RunError::Log(error));
    }
    let webhooks = match Webhooks::open(Arc::clone(&registry), &config.webhooks, &config.data_dir) {
        Ok(webhooks) => webhooks,
        Err(source) => {
            registry.close().await;
            return Err(RunError::Webhooks { dir: config.data_dir.clone(), source });
        }
    };
    let (begin, begun) = watch::channel(false);
    let shared = Arc::new(Shared {
        registry: Arc::clone(&registry),
        limits: Live::new(limits(config)),
        flights: Arc::default(),
        metrics: Metrics::new(),
        started_at_ms: clock::now_ms(),
        stopping: begun.clone(),
        cosigning: cosigning.as_ref().map(Cosigning::state),
        ingest: ingest.as_ref().map(Ingest::handle),
        webhooks: webhooks.handle(),
        tls: front.tls.clone(),
        proxies: config.proxies.clone(),
        send_file: config.send_file.clone(),
        wide_windows: Semaphore::new(server::H2_WIDE_MAX),
    });
    let control = match Control::bind(&config.data_dir) {
        Ok(control) => control,
        Err(source) => {
            registry.close().await;
            return Err(RunError::Control { dir: config.data_dir.clone(), source });
        }
    };
    let own_stop = Stop { begun, at_once: stop.at_once.clone() };
    let network = tokio::spawn(server::serve(front.listeners, Arc::clone(&shared), own_stop.clone()));
    let ingest = ingest.map(|ingest| tokio::spawn(ingest.run(own_stop.clone(), config.shutdown_timeout)));
    let webhooks = tokio::spawn(webhooks.run(own_stop.begun.clone()));
    let operator = tokio::spawn(control.serve(Arc::clone(&shared), own_stop));
    let upkeep = tokio::spawn(upkeep(Arc::clone(&shared)));
    let reloader = Reloader::new(front.options, config.clone(), Arc::clone(&shared), front.tls.clone());
    let reloader = tokio::spawn(reloader.run(front.reload));
    let certificate = front.tls.map(|tls| tokio::spawn(tls::watch(tls)));
    let cosigning = cosigning.map(|cosigning| tokio::spawn(cosigning.run()));
    if let Err(error) = registry.start_scrubbing() {
        tracing::error!(error = error_chain(&error), "the scrubber can't be started; blobs are not read again");
    }
    let watchdog = tokio::spawn(notify::watchdog(registry.health()));
    notify::ready();
    announce();

    let journal_failure = wait_for_the_end(stop.begun, registry.health()).await;
    notify::stopping();
    tracing::info!("stopping: nothing new is accepted");
    begin.send_replace(true);
    match network.await {
        Ok(0) => {}
        Ok(cut) => tracing::warn!(connections = cut, "connections were cut at the end of their time"),
        Err(error) => tracing::error!(%error, "the accept loop failed"),
    }
    if let Some(ingest) = ingest
        && let Err(error) = ingest.await
    {
        tracing::error!(%error, "the drop folder's task failed");
    }
    if let Err(error) = webhooks.await {
        tracing::error!(%error, "the delivering of webhooks failed");
    }
    // The control socket's file goes with its task, before the lock does.
    if let Err(error) = operator.await {
        tracing::error!(%error, "the control socket failed");
    }
    upkeep.abort();
    reloader.abort();
    if let Some(certificate) = certificate {
        certificate.abort();
    }
    if let Some(cosigning) = cosigning {
        cosigning.abort();
    }
    // The end of a download is an entry of its own; the stop is the last.
    registry.finish().await;
    let closed = match journal_failure {
        Some(why) => Err(RunError::Journal(why)),
        None => registry.record_lifecycle(Action::LogStop).await.map_err(RunError::Log),
    };
    registry.close().await;
    watchdog.abort();
    if closed.is_ok() {
        tracing::info!("stopped");
    }
    closed
}

/// Waits for the signal to stop, or for the journal to fail, which is told.
async fn wait_for_the_end(mut begun: watch::Receiver<bool>, mut health: watch::Receiver<Health>) -> Option<String> {
    tokio::select! {
        () = raised(&mut begun) => None,
        failed = health.wait_for(|health| matches!(health, Health::Failed(_))) => match failed.as_deref() {
            Ok(Health::Failed(why)) => Some(why.clone()),
            // The sender lives in the store, which lives as long as we do.
            Ok(_) | Err(_) => Some("the writing thread ended".to_owned()),
        },
    }
}

async fn upkeep(shared: Arc<Shared>) {
    let mut round = tokio::time::interval(UPKEEP);
    loop {
        round.tick().await;
        shared.metrics.upkeep();
        auth::password::give_back();
    }
}

/// Runs blocking work on its own thread; a panic goes on here.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.connections_max,
        connections_per_address_max: config.connections_per_address_max,
        requests_max: config.requests_max,
        requests_per_client_max: config.requests_per_client_max,
        head_timeout: config.header_timeout,
        body_idle: config.body_idle_timeout,
        bytes_per_second_min: config.bytes_per_second_min,
        shutdown: config.shutdown_timeout,
    }
}

/// The keys that a registry works with. They are read once, at the start: a reload goes on with them.
struct Keys {
    tokens: Secret,
    webhooks: Secret,
    totp: Secret,
}

impl Keys {
    /// As given, or from their files, which are made where there are none. Blocks.
    fn read(config: &Config) -> Result<Self, StartError> {
        Ok(Self { tokens: token_key(config)?, webhooks: webhook_key(config)?, totp: totp_key(config)? })
    }

    /// Those in use.
    fn of(settings: &settings::Settings) -> Self {
        Self {
            tokens: settings.jwt_secret.clone(),
            webhooks: settings.webhooks.key.clone(),
            totp: settings.totp.key.clone(),
        }
    }
}

/// What the registry needs of a configuration, with these keys. Does no I/O.
fn registry_settings(config: &Config, keys: Keys) -> Result<settings::Settings, StartError> {
    const MINUTE_S: u64 = 60;
    let protected = |alias: &String| {
        alias.parse().map_err(|error| StartError::Setting {
            name: "MREG_PROTECTED_ALIASES",
            problem: format!("{alias:?}: {error}"),
        })
    };
    Ok(settings::Settings {
        jwt_secret: keys.tokens,
        jwt_secret_previous: config.jwt_secret_previous.clone(),
        token_ttl: Duration::from_secs(u64::from(config.access_token_minutes) * MINUTE_S),
        session_ttl: Duration::from_secs(u64::from(config.session_hours) * 60 * MINUTE_S),
        api_token_ttl_max: config
            .api_token_days_max
            .map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * MINUTE_S)),
        open_registration: config.open_registration,
        totp: settings::TotpSettings {
            key: keys.totp,
            is_own_key: config.totp_key.is_none(),
            required: match config.require_totp {
                RequireTotp::None => settings::TotpRequired::None,
                RequireTotp::Admins => settings::TotpRequired::Admins,
                RequireTotp::All => settings::TotpRequired::All,
            },
        },
        upload_bytes_max: config.upload_bytes_max,
        min_free_bytes: config.free_bytes_min,
        scan_policies: config.scan_policies.clone(),
        release_approvals: config.release_approvals,
        rescan_bytes_per_second: NonZeroU64::new(config.rescan_bytes_per_second),
        protected_aliases: config.protected_aliases.iter().map(protected).collect::<Result<BTreeSet<Alias>, _>>()?,
        restore_period: Duration::from_secs(u64::from(config.restore_days) * 24 * 60 * MINUTE_S),
        audit_reads: match config.audit_reads {
            AuditReads::Content => settings::AuditReads::Content,
            AuditReads::All => settings::AuditReads::All,
        },
        client_ip: match config.audit_client_ip {
            AuditClientIp::Full => settings::ClientIp::Full,
            AuditClientIp::Truncated => settings::ClientIp::Truncated,
            AuditClientIp::None => settings::ClientIp::None,
        },
        hash_access: match config.log_hash_access {
            LogHashAccess::Public => settings::HashAccess::Public,
            LogHashAccess::Authenticated => settings::HashAccess::Authenticated,
        },
        scrub: settings::ScrubSettings {
            interval: config.scrub_interval,
            bytes_per_second: config.scrub_bytes_per_second,
            position: position_file(&config.data_dir),
        },
        resumable: settings::ResumableSettings {
            dir: config.data_dir.join(UPLOADS_DIR),
            expiry: config.upload_expiry,
            per_user_max: config.uploads_per_user_max,
            per_user_bytes_max: config.upload_bytes_per_user_max,
        },
        webhooks: settings::WebhookSettings {
            key: keys.webhooks,
            is_own_key: config.webhooks.key.is_none(),
            allow: config.webhooks.allow.clone(),
        },
        quotas: settings::QuotaSettings {
            user_bytes: config.quota_bytes_per_user,
            namespace_bytes: config.quota_bytes_per_namespace,
        },
        retention: settings::RetentionSettings { grace: config.retention_grace, interval: config.retention_interval },
        gc: settings::GcSettings {
            interval: config.gc_interval,
            min_age: config.gc_min_age,
            dir: config.data_dir.clone(),
        },
    })
}

/// The key of webhooks: given, or made once beside the log's key.
fn webhook_key(config: &Config) -> Result<Secret, StartError> {
    match &config.webhooks.key {
        Some(key) => Ok(key.clone()),
        None => {
            let path = config.key_dir.join(WEBHOOK_KEY_FILE);
            own_key(config, &path).map_err(|source| StartError::WebhookKey { path, source })
        }
    }
}

/// The key of second factors: given, or made once beside the log's key.
fn totp_key(config: &Config) -> Result<Secret, StartError> {
    match &config.totp_key {
        Some(key) => Ok(key.clone()),
        None => {
            let path = config.key_dir.join(TOTP_KEY_FILE);
            own_key(config, &path).map_err(|source| StartError::TotpKey { path, source })
        }
    }
}

/// A key in a file of the directory of keys, made where there is none.
fn own_key(config: &Config, path: &Path) -> Result<Secret, SecretError> {
    durable::create_dir_all(&config.key_dir, 0o700).map_err(SecretError::Io)?;
    load_or_generate_key_file(path)
}

/// The key of tokens: given, or made once beside the log's key.
fn token_key(config: &Config) -> Result<Secret, StartError> {
    match &config.jwt_secret {
        JwtSecret::Given(secret) => Ok(secret.clone()),
        JwtSecret::Generate => {
            let path = config.key_dir.join(TOKEN_KEY_FILE);
            own_key(config, &path).map_err(|source| StartError::TokenKey { path, source })
        }
    }
}

/// Where a listener is, as a URL.
pub fn url_of(address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// An error with all its causes, for the log. Some errors show their cause themselves; it is not said twice.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let this = error.to_string();
        if !text.ends_with(&this) {
            text.push_str(": ");
            text.push_str(&this);
        }
        cause = error.source();
    }
    text
}
