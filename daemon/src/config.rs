//! The configuration: one typed value, complete and checked before the first socket is opened or file created.
//!
//! Knows: every setting (`config/settings.rs`), every place one may come from (`config/sources.rs`), the rules between
//! settings, and how to say all that is wrong at once. This is the only reader of the environment in the daemon.
//! Refuses to know: what the settings do. It creates nothing; it reads `.env`, secret files, the policy of the witnesses,
//! the machine's list of users, and the first octets of a file that stands where the data should be.

pub mod database;
pub mod dotenv;
pub mod ingest;
pub mod live;
pub mod network;
pub mod s3;
pub mod secret;
pub mod scan;
pub mod settings;
mod sources;
pub mod traces;
pub mod webhooks;
pub mod witness;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use common::role::{Permission, Role};
use database::{DatabaseAddress, SharedDatabase};
use ingest::{DropFolder, UID_NOBODY};
use network::{Listen, Passed, Proxies, SOCKET_PATH_MAX, TlsFiles};
use s3::{ObjectStore, Place};
use scan::{ScanPolicies, ScanPolicy};
use secret::Readers;
pub use secret::Secret;
use settings::{Default, Kind};
pub use sources::Source;
use sources::{Sources, Stated};
use traces::TracesConfig;
use webhooks::WebhookConfig;
use witness::Witnesses;

/// The password of the sample files, which everyone knows.
const SAMPLE_PASSWORD: &str = "secure_password";

/// The first octets of a SQLite database (its file format, §1.3.1).
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// Variables with our prefix that belong to the console, not to us.
const CONSOLE_NAMES: [&str; 5] = ["MREG_CA_FILE", "MREG_PROFILE", "MREG_TOKEN", "MREG_TOKEN_FILE", "MREG_URL"];

/// All that a deployment can change. The manual of each is in [`settings::GROUPS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Everything on local disk; absolute.
    pub data_dir: PathBuf,
    /// Signing key, high-water mark, generated keys of tokens and webhooks; absolute, outside `data_dir`.
    pub key_dir: PathBuf,
    /// The database whose log several daemons share, where there is one.
    pub database: Option<SharedDatabase>,
    /// The password of the database's user.
    pub database_password: Option<Secret>,
    /// The largest artifact, in bytes; at most 2^53 − 1.
    pub upload_bytes_max: u64,
    /// What an upload must leave free on the disk of `data_dir`, in bytes.
    pub free_bytes_min: u64,
    /// How long a resumable upload is kept to which nothing is appended.
    pub upload_expiry: Duration,
    /// Resumable uploads that one user may have open, 1 to 10 000.
    pub uploads_per_user_max: usize,
    /// What those may come to, in bytes.
    pub upload_bytes_per_user_max: u64,
    /// What one user may keep, in bytes, where nothing else was set for that user; none: no limit.
    pub quota_bytes_per_user: Option<u64>,
    /// The same of a namespace.
    pub quota_bytes_per_namespace: Option<u64>,
    /// How long a deleted model can be restored, in days.
    pub restore_days: u32,
    /// How long a new or changed retention rule does nothing by itself.
    pub retention_grace: Duration,
    /// How often rules are carried out.
    pub retention_interval: Duration,
    /// How often bytes that nothing points to are looked for; none: only on demand.
    pub gc_interval: Option<Duration>,
    /// What was stored less long ago is left alone then.
    pub gc_min_age: Duration,
    /// How often every artifact is read again; none: never.
    pub scrub_interval: Option<Duration>,
    /// How much is read then, in bytes a second; at least 4096.
    pub scrub_bytes_per_second: u64,
    /// Where artifacts are kept.
    pub blobs: Place,
    /// Where they are read from as well, while they move.
    pub blobs_old: Option<Place>,
    /// How an object store is spoken to.
    pub object_store: ObjectStore,
    /// The key of access tokens.
    pub jwt_secret: JwtSecret,
    /// The key before it, accepted and not used.
    pub jwt_secret_previous: Option<Secret>,
    /// Life of an access token, in minutes, 1 to 1440.
    pub access_token_minutes: u32,
    /// How long after signing in a token can be refreshed, in hours, 1 to 168.
    pub session_hours: u32,
    /// Longest life of an API token, in days, 1 to 3650; `None`: it may be for ever.
    pub api_token_days_max: Option<u32>,
    /// The first administrator, in lower case.
    pub admin_username: String,
    /// Their password, 12 to 1024 octets; `None`: generate one and show it once.
    pub admin_password: Option<Secret>,
    /// Whether anyone may make themselves a viewer.
    pub open_registration: bool,
    /// Who must have a second factor.
    pub require_totp: RequireTotp,
    /// The key that the secrets of second factors are made with; `None`: generate one beside the log's key.
    pub totp_key: Option<Secret>,
    /// Where to listen; in TLS, if there is any.
    pub bind: SocketAddr,
    /// Where else, in clear; no place twice.
    pub listen: Vec<Listen>,
    /// Mode of the sockets among them.
    pub socket_mode: u32,
    /// Where a service manager listens for us: if anywhere, then nowhere else, and `bind` and `listen` are not used.
    pub passed: Vec<Passed>,
    /// The certificate and its key, where there is TLS.
    pub tls: Option<TlsFiles>,
    /// Whether clear text is for this machine alone.
    pub require_tls: bool,
    /// Who is believed about whom it asks for.
    pub proxies: Proxies,
    /// Where nginx has the blobs, so that it sends them; only with proxies.
    pub send_file: Option<String>,
    /// Connections served at once.
    pub connections_max: usize,
    /// Of these one address may have so many.
    pub connections_per_address_max: usize,
    /// Requests answered at once.
    pub requests_max: usize,
    /// Of these one client may have so many.
    pub requests_per_client_max: usize,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For the next octets of a body, in either direction.
    pub body_idle_timeout: Duration,
    /// Octets a second of a body, in either direction; zero: any.
    pub bytes_per_second_min: u64,
    /// For running requests at shutdown; zero cuts them at once.
    pub shutdown_timeout: Duration,
    /// The folder whose files become versions, where there is one.
    pub drop: Option<DropFolder>,
    /// What is done about what inspection finds, by model.
    pub scan_policies: ScanPolicies,
    /// `MREG_RELEASE_APPROVALS`: people it takes to release a version from quarantine.
    pub release_approvals: u32,
    /// Globals that pickles may name besides those that are built in, as (module, name).
    pub scan_allow_globals: BTreeSet<(String, String)>,
    /// Modules below which classes count as library classes, each with a dot at its end.
    pub scan_allow_prefixes: BTreeSet<String>,
    /// What an inspection may take, besides 10 s for each GB.
    pub scan_timeout: Duration,
    /// Octets of files that are inspected anew in a second; zero: none are.
    pub rescan_bytes_per_second: u64,
    /// Aliases only an administrator may move.
    pub protected_aliases: Vec<String>,
    /// The name in the log's checkpoints.
    pub log_origin: String,
    /// Which reads are recorded.
    pub audit_reads: AuditReads,
    /// How client addresses are recorded.
    pub audit_client_ip: AuditClientIp,
    /// Who may fetch the log's checkpoint and hashes.
    pub log_hash_access: LogHashAccess,
    /// Whether witnesses are asked for cosignatures.
    pub witness_mode: WitnessMode,
    /// The file of the witness policy; absolute.
    pub witness_policy: Option<PathBuf>,
    /// The file of authorities trusted for them; absolute.
    pub witness_ca_file: Option<PathBuf>,
    /// What is in it; there whenever witnesses are asked.
    pub witnesses: Option<Witnesses>,
    /// What is sent to others about the log's entries, and where to.
    pub webhooks: WebhookConfig,
    /// Spans for a collector.
    pub traces: TracesConfig,
    /// Diagnostics on standard error.
    pub logging: Logging,
}

/// Where the key of access tokens comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtSecret {
    /// From the operator, at least [`secret::KEY_BYTES_MIN`] octets.
    Given(Secret),
    /// From [`secret::load_or_generate_key_file`] in `key_dir`. Only on a loopback address.
    Generate,
}

/// `MREG_AUDIT_READS` (audit-log.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditReads {
    /// Hand-outs of content.
    Content,
    /// Metadata and lists as well.
    All,
}

/// `MREG_AUDIT_CLIENT_IP` (audit-log.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditClientIp {
    /// As it is.
    Full,
    /// The /24, or the /48 of IPv6.
    Truncated,
    /// Not at all.
    None,
}

/// `MREG_REQUIRE_TOTP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequireTotp {
    /// Nobody must have a second factor.
    None,
    /// Admins.
    Admins,
    /// Everybody who signs in.
    All,
}

impl RequireTotp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Admins => "admins",
            Self::All => "all",
        }
    }
}

/// `MREG_LOG_HASH_ACCESS` (audit-log.md §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogHashAccess {
    /// Anyone.
    Public,
    /// Whoever has a live token.
    Authenticated,
}

/// `MREG_WITNESS_MODE` (audit-log.md §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessMode {
    /// No witness is asked.
    Off,
    /// Witnesses are asked after publishing; nothing waits for them.
    Background,
}

/// Diagnostics: what is said, how, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `MREG_LOG_FORMAT`.
    pub format: LogFormat,
    /// `MREG_LOG_LEVEL`: directives that `tracing_subscriber::EnvFilter` takes.
    pub filter: String,
    /// `JOURNAL_STREAM`, set by systemd: device and inode of the stream it connected to its journal.
    pub journal_stream: Option<(u64, u64)>,
    /// `NO_COLOR` is not set (no-color.org).
    pub color: bool,
}

/// `MREG_LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl AuditReads {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::All => "all",
        }
    }
}

impl AuditClientIp {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Truncated => "truncated",
            Self::None => "none",
        }
    }
}

impl LogHashAccess {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
        }
    }
}

impl WitnessMode {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Background => "background",
        }
    }
}

impl LogFormat {
    /// The word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The options of the command line that are settings.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Options {
    /// Read settings from this file instead of .env in the working directory
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Listen on this address and port [default: MREG_BIND, else 127.0.0.1:8000]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub bind: Option<String>,
    /// Keep everything in this directory [default: MREG_DATA_DIR, else ./mreg-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Refuse to listen on a non-loopback address without TLS, instead of warning
    #[arg(long, global = true)]
    pub require_tls: bool,
    /// Places that a service manager passed on; no option.
    #[arg(skip = Vec::new())]
    pub passed: Vec<Passed>,
}

/// A configuration and what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should look at; each a sentence without secrets.
    pub warnings: Vec<String>,
    /// What the operator may want to know.
    pub notices: Vec<String>,
    /// Where each setting that has a value came from.
    pub sources: BTreeMap<&'static str, Source>,
}

/// Why there is no configuration: every mistake, and the warnings, which may explain them.
#[derive(Debug)]
pub struct Refused {
    /// At least one.
    pub mistakes: Vec<Mistake>,
    /// As in [`Loaded`].
    pub warnings: Vec<String>,
}

/// One thing to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The variable, option or file.
    pub about: String,
    /// What is wrong and what to do, without secrets.
    pub problem: String,
}

impl Mistake {
    fn new(about: &str, problem: impl Into<String>) -> Self {
        Self { about: about.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.problem)
    }
}

/// A row of `config show`.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The variable.
    pub name: &'static str,
    /// The effective value; of a secret only whether there is one.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl Loaded {
    /// Every setting that this version honours, in the order of the manual, secrets masked.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |setting: &settings::Setting| match setting.kind {
            Kind::Plain { show, .. } | Kind::Secret { show, .. } => Some(Row {
                name: setting.name,
                value: show(&self.config),
                source: self.sources.get(setting.name).cloned().unwrap_or(Source::Default),
            }),
            Kind::Unavailable => None,
        };
        settings::all().filter_map(row).collect()
    }

    /// What was set, as a `.env` file; of a secret only that it was.
    #[must_use]
    pub fn without_secrets(&self) -> String {
        let mut text = String::new();
        for setting in settings::all() {
            let Some(source) = self.sources.get(setting.name).filter(|source| **source != Source::Default) else {
                continue;
            };
            match setting.kind {
                Kind::Plain { show, .. } => {
                    let value = show(&self.config).replace('\\', "\\\\").replace('\'', "\\'");
                    text.push_str(&format!("{}='{value}'\n", setting.name));
                }
                Kind::Secret { .. } => {
                    text.push_str(&format!("# {} was set ({source}); it is not kept here\n", setting.name))
                }
                Kind::Unavailable => {}
            }
        }
        text
    }
}

/// What `DATABASE_URL` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Database {
    /// Nothing beyond `MREG_DATA_DIR`.
    Embedded,
    /// The embedded store in this directory.
    Sled(PathBuf),
    /// The embedded store beside this file.
    Sqlite(PathBuf),
}

/// A configuration in the making: rows of the table are applied one after another, then the rules between them.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    database: Database,
    shared_database: Option<DatabaseAddress>,
    /// `S3_BUCKET_NAME`.
    bucket: Option<String>,
}

impl Draft {
    /// Zeros, which every row of the table overwrites with at least its default.
    fn blank() -> Self {
        let config = Config {
            data_dir: PathBuf::new(),
            key_dir: PathBuf::new(),
            database: None,
            database_password: None,
            upload_bytes_max: 0,
            free_bytes_min: 0,
            upload_expiry: Duration::ZERO,
            uploads_per_user_max: 0,
            upload_bytes_per_user_max: 0,
            quota_bytes_per_user: None,
            quota_bytes_per_namespace: None,
            restore_days: 0,
            retention_grace: Duration::ZERO,
            retention_interval: Duration::ZERO,
            gc_interval: None,
            gc_min_age: Duration::ZERO,
            scrub_interval: None,
            scrub_bytes_per_second: 0,
            blobs: Place::Disk,
            blobs_old: None,
            object_store: ObjectStore::blank(),
            jwt_secret: JwtSecret::Generate,
            jwt_secret_previous: None,
            access_token_minutes: 0,
            session_hours: 0,
            api_token_days_max: None,
            admin_username: String::new(),
            admin_password: None,
            open_registration: false,
            require_totp: RequireTotp::None,
            totp_key: None,
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            listen: Vec::new(),
            socket_mode: 0,
            passed: Vec::new(),
            // As the drop folder below: taken back where no files are named.
            tls: Some(TlsFiles::blank()),
            require_tls: false,
            proxies: Proxies::default(),
            send_file: None,
            connections_max: 0,
            connections_per_address_max: 0,
            requests_max: 0,
            requests_per_client_max: 0,
            header_timeout: Duration::ZERO,
            body_idle_timeout: Duration::ZERO,
            bytes_per_second_min: 0,
            shutdown_timeout: Duration::ZERO,
            // There while the rows are applied; taken back at the end where no folder is named.
            drop: Some(DropFolder::blank()),
            scan_policies: ScanPolicy::Default.into(),
            release_approvals: 1,
            scan_allow_globals: BTreeSet::new(),
            scan_allow_prefixes: BTreeSet::new(),
            scan_timeout: Duration::ZERO,
            rescan_bytes_per_second: 0,
            protected_aliases: Vec::new(),
            log_origin: String::new(),
            audit_reads: AuditReads::Content,
            audit_client_ip: AuditClientIp::Full,
            log_hash_access: LogHashAccess::Public,
            witness_mode: WitnessMode::Off,
            witness_policy: None,
            witness_ca_file: None,
            witnesses: None,
            webhooks: WebhookConfig::blank(),
            traces: TracesConfig::blank(),
            logging: Logging { format: LogFormat::Text, filter: String::new(), journal_stream: None, color: true },
        };
        Self { config, database: Database::Embedded, shared_database: None, bucket: None }
    }

    /// The drop folder in the making.
    fn drop_folder(&mut self) -> &mut DropFolder {
        self.config.drop.get_or_insert_with(DropFolder::blank)
    }

    /// The files of TLS in the making.
    fn tls_files(&mut self) -> &mut TlsFiles {
        self.config.tls.get_or_insert_with(TlsFiles::blank)
    }
}

impl Logging {
    /// Diagnostics of a command that has no configuration: this form, the usual filter, and what the process was given
    /// about its standard error.
    #[must_use]
    pub fn without_settings(format: LogFormat) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the reader")]
        let inherited = |name: &str| std::env::var(name).ok();
        Self {
            format,
            filter: "info".to_owned(),
            journal_stream: inherited("JOURNAL_STREAM").as_deref().and_then(journal_stream),
            color: inherited("NO_COLOR").is_none_or(|text| text.is_empty()),
        }
    }
}

/// `MREG_TOKEN`: the token of the commands that read another machine's registry, which have no other settings. Blank is
/// none.
#[must_use]
pub fn token_of_process() -> Option<Secret> {
    #[expect(clippy::disallowed_methods, reason = "this is the reader")]
    let token = std::env::var("MREG_TOKEN").ok()?;
    Some(token.trim()).filter(|token| !token.is_empty()).map(|token| Secret::new(token.to_owned()))
}

impl Config {
    /// Loads the configuration of this process.
    ///
    /// # Errors
    /// [`Refused`], with all that is wrong.
    pub fn of_process(options: &Options) -> Result<Loaded, Refused> {
        match std::env::current_dir() {
            Ok(working_dir) => {
                #[expect(clippy::disallowed_methods, reason = "this is the reader")]
                let environment = std::env::vars_os();
                Self::load(options, environment, &working_dir)
            }
            Err(error) => {
                let mistake =
                    Mistake::new("working directory", format!("cannot be found: {error}; start mregd elsewhere"));
                Err(Refused { mistakes: vec![mistake], warnings: Vec::new() })
            }
        }
    }

    /// Loads a configuration from these options, this environment, and the files they name, relative to `working_dir`,
    /// which is absolute. Reads files, creates none, and looks at nothing else of the process.
    ///
    /// A variable's first source wins: command line, environment, `.env`, the file that `NAME_FILE` names (secrets;
    /// giving both is a mistake), systemd credential (secrets), default. Blank values and placeholders count as unset.
    ///
    /// # Errors
    /// [`Refused`], with all that is wrong.
    pub fn load(
        options: &Options,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        working_dir: &Path,
    ) -> Result<Loaded, Refused> {
        let sources = Sources::open(environment, options.env_file.as_deref(), working_dir);
        let mut loading =
            Loading { draft: Draft::blank(), from: BTreeMap::new(), inputs: sources, notices: Vec::new(), working_dir };
        loading.apply_table();
        loading.apply_options(options);
        loading.settle_data_dir();
        loading.settle_key_dir();
        loading.settle_database();
        loading.settle_blobs();
        loading.settle_drop_folder();
        loading.settle_witnesses();
        loading.settle_webhooks();
        loading.settle_traces();
        loading.settle_tls();
        loading.settle_places(&options.passed);
        loading.check_sign_in();
        loading.check_exposure(options.require_tls);
        loading.take_surroundings();
        loading.check_names();
        loading.finish()
    }
}

/// The state of [`Config::load`].
struct Loading<'a> {
    draft: Draft,
    from: BTreeMap<&'static str, Source>,
    inputs: Sources,
    notices: Vec<String>,
    working_dir: &'a Path,
}

impl Loading<'_> {
    fn mistake(&mut self, about: &str, problem: impl Into<String>) {
        self.inputs.mistakes.push(Mistake::new(about, problem));
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.inputs.warnings.push(warning.into());
    }

    fn is_set(&self, name: &str) -> bool {
        self.from.contains_key(name)
    }

    /// Each row of the table: its default, then what was set.
    fn apply_table(&mut self) {
        for setting in settings::all() {
            match setting.kind {
                Kind::Plain { apply, .. } => {
                    if let Default::Text(default) = setting.default {
                        self.apply(setting.name, apply, default, None);
                    }
                    if let Some(Stated { text, source }) = self.inputs.plain(setting.name) {
                        self.apply(setting.name, apply, text.expose(), Some(source));
                    }
                }
                Kind::Secret { apply, .. } => {
                    if let Some(Stated { text, source }) = self.inputs.secret(setting.name) {
                        self.apply(setting.name, apply, text.expose(), Some(source));
                    }
                }
                Kind::Unavailable => {
                    if let Some(Stated { source, .. }) = self.inputs.plain(setting.name) {
                        self.mistake(
                            setting.name,
                            format!("is not available in this version; unset it (from {source})"),
                        );
                    }
                }
            }
        }
        if !self.inputs.placeholders.is_empty() {
            let placeholders = self.inputs.placeholders.join(", ");
            self.warn(format!("{placeholders}: still the placeholder of a sample file, which counts as unset"));
        }
    }

    fn apply(
        &mut self,
        name: &'static str,
        apply: fn(&mut Draft, &str) -> Result<(), String>,
        text: &str,
        source: Option<Source>,
    ) {
        let result = apply(&mut self.draft, text);
        match (result, source) {
            (Ok(()), Some(source)) => {
                self.from.insert(name, source);
            }
            (Ok(()), None) => {}
            (Err(problem), Some(source)) => self.mistake(name, format!("{problem} (from {source})")),
            (Err(problem), None) => self.mistake(name, format!("{problem} (its default)")),
        }
    }

    /// `--bind` and `--data-dir` win over everything.
    fn apply_options(&mut self, options: &Options) {
        if let Some(bind) = &options.bind {
            // What the environment says of it no longer matters, not even that it is wrong.
            self.inputs.mistakes.retain(|mistake| mistake.about != "MREG_BIND");
            match settings::socket_address(bind) {
                Ok(bind) => {
                    self.draft.config.bind = bind;
                    self.from.insert("MREG_BIND", Source::CommandLine);
                }
                Err(problem) => self.mistake("--bind", problem),
            }
        }
        if let Some(data_dir) = &options.data_dir {
            if data_dir.as_os_str().is_empty() {
                self.mistake("--data-dir", "must name a directory");
            }
            if let Database::Sled(path) = &self.draft.database
                && self.absolute(path) != self.absolute(data_dir)
            {
                self.notices.push("DATABASE_URL is not used, because --data-dir says where the data is".to_owned());
            }
            self.draft.config.data_dir.clone_from(data_dir);
            self.draft.database = Database::Embedded;
            self.from.remove("DATABASE_URL");
            self.from.insert("MREG_DATA_DIR", Source::CommandLine);
        }
    }

    /// One directory from `MREG_DATA_DIR` and `DATABASE_URL`, absolute, and free of foreign files.
    fn settle_data_dir(&mut self) {
        let data_dir = self.absolute(&self.draft.config.data_dir);
        let (data_dir, about) = match &self.draft.database {
            Database::Embedded => (data_dir, "MREG_DATA_DIR"),
            Database::Sled(path) => (self.absolute(path), "DATABASE_URL"),
            Database::Sqlite(file) => {
                let file = self.absolute(file);
                if is_sqlite(&file) {
                    let place = settings::echo(&file.display().to_string());
                    self.mistake(
                        "DATABASE_URL",
                        format!(
                            "{place} is a SQLite database, which mregd cannot read; unset DATABASE_URL, or \
                            name a file that is not there"
                        ),
                    );
                }
                let beside = file.parent().unwrap_or(&file).join("mreg-data");
                let (dir, about) =
                    if self.is_set("MREG_DATA_DIR") { (data_dir, "MREG_DATA_DIR") } else { (beside, "DATABASE_URL") };
                self.notices.push(format!(
                    "DATABASE_URL names SQLite; the embedded store in {} is used instead",
                    dir.display()
                ));
                (dir, about)
            }
        };
        let stated = self.absolute(&self.draft.config.data_dir);
        if about == "DATABASE_URL" {
            if self.is_set("MREG_DATA_DIR") && stated != data_dir {
                self.mistake("DATABASE_URL", "and MREG_DATA_DIR name different directories; unset one of them");
            } else if let Some(source) = self.from.get("DATABASE_URL").cloned() {
                self.from.insert("MREG_DATA_DIR", source);
            }
        }
        if resolved(&data_dir).parent().is_none() {
            self.mistake(about, "is the root directory; name a directory of its own");
        }
        if is_sqlite(&data_dir) {
            self.mistake(
                about,
                format!("{} is a SQLite database, which mregd cannot read; name a directory", data_dir.display()),
            );
        } else if data_dir.exists() && !data_dir.is_dir() {
            self.mistake(
                about,
                format!("{} is not a directory; name one, or a place where one can be made", data_dir.display()),
            );
        }
        self.draft.config.data_dir = data_dir;
    }

    /// Keys and mark lie outside the data, or a thief of one has both and a restored backup brings an old mark along
    /// (audit-log.md §8).
    fn settle_key_dir(&mut self) {
        let data_dir = self.draft.config.data_dir.clone();
        let key_dir = if self.is_set("MREG_KEY_DIR") {
            self.absolute(&self.draft.config.key_dir)
        } else {
            default_key_dir(&data_dir)
        };
        let real_data_dir = resolved(&data_dir);
        // Everything is inside the root directory, which was refused already.
        if real_data_dir.parent().is_some() && resolved(&key_dir).starts_with(&real_data_dir) {
            self.mistake(
                "MREG_KEY_DIR",
                format!(
                    "{} is inside the data directory {}; name a directory outside it",
                    key_dir.display(),
                    data_dir.display()
                ),
            );
        }
        if key_dir.exists() && !key_dir.is_dir() {
            self.mistake("MREG_KEY_DIR", format!("{} is not a directory", key_dir.display()));
        }
        self.draft.config.key_dir = key_dir;
    }

    /// The shared database: its address and its password.
    fn settle_database(&mut self) {
        let password = self.draft.config.database_password.clone();
        let address = self.draft.shared_database.take().map(|address| address.resolved(|path| self.absolute(path)));
        self.draft.config.database = address.map(|address| SharedDatabase { address, password });
        if self.draft.config.database.is_some() && matches!(self.draft.config.jwt_secret, JwtSecret::Generate) {
            self.warn(
                "MREG_DATABASE shares the log with other daemons, but JWT_SECRET_KEY is not set: each daemon makes its own, \
                 and refuses the others' tokens. Set the same for all",
            );
        }
    }

    /// Where artifacts are, and that what is said of an object store is whole.
    fn settle_blobs(&mut self) {
        if let Some(bucket) = self.draft.bucket.take() {
            let place = Place::S3 { bucket, prefix: String::new() };
            if !self.is_set("MREG_BLOBS") {
                self.draft.config.blobs = place;
            } else if self.draft.config.blobs != place {
                self.mistake("S3_BUCKET_NAME", "and MREG_BLOBS name different places; unset one of them");
            }
        }
        let Config { blobs, blobs_old, database, .. } = &self.draft.config;
        let keeps_all = database.is_some() && !blobs.is_s3();
        if Some(blobs) == blobs_old.as_ref() {
            self.mistake("MREG_BLOBS_OLD", "is the same as MREG_BLOBS; unset it");
        }
        if keeps_all {
            self.warn(
                "MREG_DATABASE shares the log with other daemons, and MREG_BLOBS is a directory: it must be one that all of \
                 them see, and the bytes of what is purged are not removed from it. With a bucket they are",
            );
        }
        let uses_s3 = self.draft.config.blobs.is_s3() || self.draft.config.blobs_old.as_ref().is_some_and(Place::is_s3);
        let path = self.draft.config.object_store.ca_file.as_ref().map(|path| self.absolute(path));
        self.draft.config.object_store.ca_file = path;
        let store = &self.draft.config.object_store;
        let (key_id, secret, token) = (store.key_id.is_some(), store.secret.is_some(), store.session_token.is_some());
        let endpoint = store.endpoint.as_deref();
        let is_clear = endpoint.is_some_and(s3::is_clear);
        let misses_tls = store.ca_file.is_some() && endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        if uses_s3 {
            if key_id != secret && !self.is_mistaken("AWS_SECRET_ACCESS_KEY") && !self.is_mistaken("AWS_ACCESS_KEY_ID")
            {
                let (set, missing) = if key_id {
                    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
                } else {
                    ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
                };
                self.mistake(set, format!("is set and {missing} is not; set both, or neither"));
            }
            if token && !key_id {
                self.mistake("AWS_SESSION_TOKEN", "is set and AWS_ACCESS_KEY_ID is not; set both, or neither");
            }
            if misses_tls {
                self.mistake("MREG_S3_CA_FILE", "is set, and AWS_ENDPOINT_URL is not an https:// address");
            }
            if is_clear {
                self.warn(
                    "AWS_ENDPOINT_URL is not an https:// address: artifacts can be read on their way to the store",
                );
            }
            let is_shared = self.draft.config.database.is_some() && self.draft.config.blobs.is_s3();
            if is_shared && self.draft.config.object_store.grace.is_none() {
                if !self.is_set("MREG_S3_GRACE") {
                    self.draft.config.object_store.grace = Some(s3::GRACE_SHARED);
                } else if !self.is_mistaken("MREG_S3_GRACE") {
                    self.mistake(
                        "MREG_S3_GRACE",
                        "is off, and MREG_DATABASE shares the log with other daemons, one of which may be about to need what \
                         another removes; set a time from 2h to 30d, the same for all",
                    );
                }
            }
            if self.draft.config.upload_bytes_max > s3::BLOB_BYTES_MAX {
                self.mistake(
                    "MREG_MAX_UPLOAD_BYTES",
                    "is more than an object of an object store can have; at most 625 GiB",
                );
            }
            return;
        }
        // Names that begin with AWS_ are often set for other programs.
        let others = settings::all().map(|setting| setting.name).filter(|name| name.starts_with("MREG_S3_"));
        let said: Vec<&str> = others.filter(|name| self.is_set(name)).collect();
        if !said.is_empty() {
            let said = said.join(", ");
            self.notices.push(format!("{said}: without meaning here, because MREG_BLOBS names no bucket"));
        }
    }

    /// The drop folder apart from data and keys, or none, and then nothing said about it. That it is there is not asked: it
    /// may be mounted later, and commands that have nothing to do with it must work until then.
    fn settle_drop_folder(&mut self) {
        let Some(mut drop) = self.draft.config.drop.take() else { return };
        if drop.dir.as_os_str().is_empty() {
            let others = settings::all().map(|setting| setting.name).filter(|name| name.starts_with("MREG_DROP_"));
            let said: Vec<&str> = others.filter(|name| *name != "MREG_DROP_DIR" && self.is_set(name)).collect();
            for name in said {
                self.mistake(name, "is set, and MREG_DROP_DIR names no folder; set that as well, or unset this");
            }
            return;
        }
        drop.dir = self.absolute(&drop.dir);
        let real = resolved(&drop.dir);
        let shown = drop.dir.display();
        let problem = if real.parent().is_none() {
            Some("is the root directory; name a directory of its own".to_owned())
        } else if drop.dir.exists() && !drop.dir.is_dir() {
            Some(format!("{shown} is not a directory; name one, or a place where one can be made"))
        } else {
            let Config { data_dir, key_dir, .. } = &self.draft.config;
            [("data", data_dir), ("key", key_dir)].into_iter().find_map(|(what, dir)| {
                let other = resolved(dir);
                // The root contains everything, and was refused as such.
                if real.starts_with(&other) && other.parent().is_some() {
                    Some(format!(
                        "{shown} is inside the {what} directory {}; name a directory outside it",
                        dir.display()
                    ))
                } else if other.starts_with(&real) {
                    let dir = dir.display();
                    Some(format!("{shown} contains the {what} directory {dir}; name a directory of its own"))
                } else {
                    None
                }
            })
        };
        if let Some(problem) = problem {
            self.mistake("MREG_DROP_DIR", problem);
        }
        let may_publish = |role: Role| role.allows(Permission::ModelWrite);
        if drop.users.is_empty() && !drop.role.is_some_and(may_publish) && !self.is_mistaken("MREG_DROP_ROLE") {
            self.warn(
                "MREG_DROP_ROLE lets nobody publish, and MREG_DROP_USERS names nobody: every file will be rejected",
            );
        }
        if drop.role == Some(Role::Admin) {
            self.warn("MREG_DROP_ROLE is admin: whoever may write to MREG_DROP_DIR can move protected aliases");
        }
        if drop.users.contains_key(&UID_NOBODY) {
            self.warn(format!(
                "MREG_DROP_USERS names {UID_NOBODY}, which stands for every owner that the kernel or an NFS server has no \
                 number for"
            ));
        }
        self.draft.config.drop = Some(drop);
    }

    /// The policy of the witnesses, read and checked, where they are asked.
    fn settle_witnesses(&mut self) {
        let path = self.draft.config.witness_policy.as_ref().map(|path| self.absolute(path));
        self.draft.config.witness_policy.clone_from(&path);
        let ca_file = self.draft.config.witness_ca_file.as_ref().map(|path| self.absolute(path));
        self.draft.config.witness_ca_file.clone_from(&ca_file);
        match (self.draft.config.witness_mode, path) {
            (WitnessMode::Off, None) => {}
            (WitnessMode::Off, Some(_)) => {
                self.notices.push(
                    "MREG_WITNESS_POLICY is not used, because MREG_WITNESS_MODE does not ask witnesses".to_owned(),
                );
            }
            (WitnessMode::Background, None) => {
                if !self.is_mistaken("MREG_WITNESS_POLICY") {
                    self.mistake(
                        "MREG_WITNESS_POLICY",
                        "is not set, and MREG_WITNESS_MODE asks witnesses; name the file with the policy",
                    );
                }
            }
            (WitnessMode::Background, Some(path)) => match witness::read(&path) {
                Ok((witnesses, warnings)) => {
                    if ca_file.is_some() && !witnesses.reached.iter().any(|address| address.is_tls) {
                        self.notices
                            .push("MREG_WITNESS_CA_FILE is not used, because no witness is at https://".to_owned());
                    }
                    self.draft.config.witnesses = Some(Witnesses { ca_file, ..witnesses });
                    for warning in warnings {
                        self.warn(format!("MREG_WITNESS_POLICY: {warning}"));
                    }
                }
                Err(problems) => {
                    for problem in problems {
                        self.mistake("MREG_WITNESS_POLICY", problem);
                    }
                }
            },
        }
    }

    /// The authorities of receivers. What is in the file is looked at when it is needed, as with the certificate.
    fn settle_webhooks(&mut self) {
        let ca_file = self.draft.config.webhooks.ca_file.as_ref().map(|path| self.absolute(path));
        self.draft.config.webhooks.ca_file = ca_file;
    }

    /// The authorities of the collector, and whether this program can send anything.
    fn settle_traces(&mut self) {
        let traces = &self.draft.config.traces;
        let ca_file = traces.ca_file.as_ref().map(|path| self.absolute(path));
        let traces_ca_file = traces.traces_ca_file.as_ref().map(|path| self.absolute(path));
        if traces.address().is_some() && !cfg!(feature = "otlp") {
            let name = if traces.traces_endpoint.is_some() {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
            } else {
                "OTEL_EXPORTER_OTLP_ENDPOINT"
            };
            self.mistake(name, "asks for traces, and this mregd was built without them (feature `otlp`); unset it");
        }
        let traces = &mut self.draft.config.traces;
        (traces.ca_file, traces.traces_ca_file) = (ca_file, traces_ca_file);
    }

    /// Certificate and key, or neither. What is in them is looked at when they are needed: commands that have nothing to do
    /// with them must work without.
    fn settle_tls(&mut self) {
        let Some(mut files) = self.draft.config.tls.take() else { return };
        let is_named = |path: &PathBuf| !path.as_os_str().is_empty();
        match (is_named(&files.cert), is_named(&files.key)) {
            (false, false) => return,
            (true, true) => {}
            (true, false) => self.mistake("MREG_TLS_KEY", "is not set, and MREG_TLS_CERT is; set both, or neither"),
            (false, true) => self.mistake("MREG_TLS_CERT", "is not set, and MREG_TLS_KEY is; set both, or neither"),
        }
        (files.cert, files.key) = (self.absolute(&files.cert), self.absolute(&files.key));
        let credentials = self.inputs.inherited("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
        if credentials.is_some_and(|dir| files.key.starts_with(self.absolute(Path::new(dir)))) {
            files.key_readers = Readers::Any;
        }
        self.draft.config.tls = Some(files);
    }

    /// Places to listen, each once; and who sends downloads.
    fn settle_places(&mut self, passed: &[Passed]) {
        if !passed.is_empty() {
            self.replace_places(passed);
        }
        let mut places = std::mem::take(&mut self.draft.config.listen);
        for place in &mut places {
            if let Listen::Unix(path) = place {
                *path = self.absolute(path);
            }
        }
        let mut seen = vec![Listen::Tcp(self.draft.config.bind)];
        for place in &places {
            let is_any_port = matches!(place, Listen::Tcp(address) if address.port() == 0);
            if seen.contains(place) && !is_any_port {
                self.mistake("MREG_LISTEN", format!("{place} is named twice, here or in MREG_BIND"));
            }
            if let Listen::Unix(path) = place
                && path.as_os_str().len() > SOCKET_PATH_MAX
            {
                let why = format!("{place} is too long; the path of a socket has at most {SOCKET_PATH_MAX} bytes");
                self.mistake("MREG_LISTEN", why);
            }
            seen.push(place.clone());
        }
        let mut all = places.iter().chain(passed.iter().map(|passed| &passed.at));
        let has_socket = all.any(|place| matches!(place, Listen::Unix(_)));
        self.draft.config.listen = places;
        let Config { proxies, send_file, .. } = &self.draft.config;
        if proxies.unix && !has_socket && !self.is_mistaken("MREG_LISTEN") {
            self.mistake("MREG_TRUSTED_PROXIES", "says unix, and MREG_LISTEN names no socket");
        } else if send_file.is_some() && proxies.is_empty() && !self.is_mistaken("MREG_TRUSTED_PROXIES") {
            self.mistake(
                "MREG_SEND_FILE",
                "leaves downloads to nginx, and MREG_TRUSTED_PROXIES does not name it; set that as well, or say none",
            );
        }
    }

    /// Where somebody else listens for us, we listen nowhere.
    fn replace_places(&mut self, passed: &[Passed]) {
        for name in ["MREG_BIND", "MREG_LISTEN"].into_iter().filter(|name| self.is_set(name)).collect::<Vec<_>>() {
            self.warn(format!(
                "{name} is not used: the service manager passed sockets on, and says in their units where they are"
            ));
        }
        let has_tls = self.draft.config.tls.is_some();
        for problem in passed.iter().filter_map(|passed| passed.problem(has_tls)) {
            self.mistake("LISTEN_FDNAMES", problem);
        }
        self.draft.config.listen.clear();
        self.draft.config.passed = passed.to_vec();
    }

    fn check_sign_in(&mut self) {
        let config = &self.draft.config;
        let previous = config.jwt_secret_previous.as_ref();
        let is_alone = previous.is_some() && config.jwt_secret == JwtSecret::Generate;
        let is_repeated = matches!(&config.jwt_secret, JwtSecret::Given(secret) if Some(secret) == previous);
        let is_name = config
            .admin_password
            .as_ref()
            .is_some_and(|password| password.expose().eq_ignore_ascii_case(&config.admin_username));
        let outlives_session = config.access_token_minutes > config.session_hours * 60;
        if is_alone && !self.is_mistaken("JWT_SECRET_KEY") {
            self.mistake("JWT_SECRET_KEY_PREVIOUS", "is set and JWT_SECRET_KEY is not; set both, or neither");
        }
        if is_repeated {
            self.mistake("JWT_SECRET_KEY_PREVIOUS", "is the same as JWT_SECRET_KEY; unset it");
        }
        if is_name {
            self.mistake("ADMIN_PASSWORD", "is the same as ADMIN_USERNAME; choose another");
        }
        if outlives_session {
            self.warn(
                "JWT_ACCESS_TOKEN_EXPIRE_MINUTES is longer than MREG_SESSION_HOURS; tokens end with their session",
            );
        }
    }

    /// Rules that depend on who can reach us.
    fn check_exposure(&mut self, require_tls: bool) {
        let config = &self.draft.config;
        let has_tls = config.tls.is_some() || self.is_mistaken("MREG_TLS_CERT") || self.is_mistaken("MREG_TLS_KEY");
        let places: Vec<(String, SocketAddr, bool)> = if config.passed.is_empty() {
            let is_option = self.from.get("MREG_BIND") == Some(&Source::CommandLine);
            let about = if is_option { "--bind" } else { "MREG_BIND" };
            vec![(about.to_owned(), config.bind, has_tls)]
        } else {
            let tcp = config.passed.iter().filter_map(|passed| match passed.at {
                Listen::Tcp(address) => Some((passed.name.clone(), address, passed.is_tls(has_tls))),
                Listen::Unix(_) => None,
            });
            tcp.collect()
        };
        let sample_password = config.admin_password.as_ref().is_some_and(|given| given.expose() == SAMPLE_PASSWORD);
        let mut exposed = places.iter().filter(|(_, address, _)| !address.ip().to_canonical().is_loopback());
        // One in clear is the more exposed, and is what the words are about.
        let Some((about, bind, is_tls)) = exposed.clone().find(|(_, _, is_tls)| !is_tls).or_else(|| exposed.next())
        else {
            if sample_password {
                self.warn("ADMIN_PASSWORD is the password of the sample file, which everyone knows");
            }
            return;
        };
        if self.draft.config.jwt_secret == JwtSecret::Generate && !self.is_mistaken("JWT_SECRET_KEY") {
            self.mistake(
                "JWT_SECRET_KEY",
                format!(
                    "must be given, because {about} {bind} is reachable from other machines; \
                     set it, JWT_SECRET_KEY_FILE or a credential; `mregd gen-secret` makes a key"
                ),
            );
        }
        if sample_password {
            self.mistake(
                "ADMIN_PASSWORD",
                format!(
                    "is the password of the sample file, and {about} {bind} is reachable from other \
                    machines; choose another, or unset it to have one generated"
                ),
            );
        }
        if *is_tls {
            return;
        }
        let proxied = !self.draft.config.proxies.is_empty();
        if require_tls || self.draft.config.require_tls {
            self.mistake(
                if require_tls { "--require-tls" } else { "MREG_REQUIRE_TLS" },
                format!(
                    "{about} {bind} is not a loopback address, and there is no TLS; set MREG_TLS_CERT and MREG_TLS_KEY, or \
                    bind to 127.0.0.1 and let a proxy on this machine terminate TLS"
                ),
            );
        } else if !proxied {
            self.warn(format!(
                "{about} {bind} is reachable from other machines, and nothing is encrypted: \
                passwords and tokens can be read on the way"
            ));
        }
    }

    /// Variables that are not settings of ours, but conventions about standard error.
    fn take_surroundings(&mut self) {
        let logging = &mut self.draft.config.logging;
        logging.journal_stream = self.inputs.inherited("JOURNAL_STREAM").and_then(journal_stream);
        logging.color = self.inputs.inherited("NO_COLOR").is_none_or(str::is_empty);
    }

    /// Names with our prefix that we do not know are most likely mistyped.
    fn check_names(&mut self) {
        let is_known = |name: &str| {
            let of_setting = |setting: &settings::Setting| {
                setting.name == name
                    || (matches!(setting.kind, Kind::Secret { .. }) && name.strip_suffix("_FILE") == Some(setting.name))
            };
            CONSOLE_NAMES.contains(&name) || settings::all().any(of_setting)
        };
        let unknown: Vec<String> = self
            .inputs
            .names()
            .filter(|name| name.starts_with("MREG_") && !is_known(name))
            .map(str::to_owned)
            .collect();
        for name in unknown {
            // Bounded, because anyone's environment may hold anything.
            let shown = settings::echo(&name);
            let shown = shown.trim_matches('"');
            match nearest(&name) {
                Some(known) => self.warn(format!("{shown} is not a setting; did you mean {known}?")),
                None => self.warn(format!("{shown} is not a setting; `mregd config show` lists them")),
            }
        }
    }

    fn finish(self) -> Result<Loaded, Refused> {
        let Sources { mistakes, warnings, .. } = self.inputs;
        if mistakes.is_empty() {
            Ok(Loaded { config: self.draft.config, warnings, notices: self.notices, sources: self.from })
        } else {
            Err(Refused { mistakes, warnings })
        }
    }

    fn is_mistaken(&self, name: &str) -> bool {
        let is_about = |about: &str| about == name || about.strip_suffix("_FILE") == Some(name);
        self.inputs.mistakes.iter().any(|mistake| is_about(&mistake.about))
    }

    /// Absolute and without `.`; `..` stays, because what it means depends on symbolic links.
    fn absolute(&self, path: &Path) -> PathBuf {
        self.working_dir.join(path).components().filter(|component| *component != Component::CurDir).collect()
    }
}

/// Device and inode, as systemd writes them.
fn journal_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// `mreg-data` → `mreg-keys`, `mregd` → `mregd-keys`, beside it. Named after the data, so that two registries whose data
/// lie side by side do not share a key and a high-water mark.
pub(crate) fn default_key_dir(data_dir: &Path) -> PathBuf {
    // A path that ends in `..` has no name of its own.
    let named = if data_dir.file_name().is_some() { data_dir.to_owned() } else { resolved(data_dir) };
    let mut name = named.file_name().unwrap_or_default().to_owned();
    if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix("-data")).filter(|stem| !stem.is_empty()) {
        name = stem.to_owned().into();
    }
    name.push("-keys");
    named.with_file_name(name)
}

/// `path` with the links of its deepest existing directory followed, and without `.` and `..` after it.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        let (Ok(mut real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) else { continue };
        for component in rest.components() {
            match component {
                Component::Normal(name) => real.push(name),
                Component::ParentDir => {
                    real.pop();
                }
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            }
        }
        return real;
    }
    path.to_owned()
}

fn is_sqlite(path: &Path) -> bool {
    let starts_like_one = || {
        let mut start = [0; SQLITE_MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == SQLITE_MAGIC
    };
    path.is_file() && starts_like_one()
}

/// The known name that is at most a third of its letters away.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let distances = settings::all().map(|setting| (edit_distance(name, setting.name), setting.name));
    distances.min().filter(|(distance, known)| *distance <= known.len() / 3).map(|(_, known)| known)
}

/// Levenshtein's: insertions, deletions and replacements.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
