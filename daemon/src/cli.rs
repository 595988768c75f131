//! The command line: what can be asked of `mregd`, its exit codes, and the commands that need no registry.
//!
//! Knows: sub-commands and options, standard output as an interface, `config` and `gen-secret`. Refuses to know: what
//! serving, users and the database are; those commands live with the parts they drive. No option takes a secret as its
//! value, for arguments can be seen by every user of the machine.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use common::api::quota::QuotaKind;
use common::audit::Verifier;
use common::certificate::KeyPin;
use common::manual::Shell;
use common::name::HookId;
use common::pattern::NamePattern;
use serde_json::json;

use crate::config::database::DatabaseAddress;
use crate::config::s3::{self, Place};
use crate::config::secret::{Readers, SecretError, read_secret, read_secret_file};
use crate::config::settings::{bytes, span};
use crate::config::{Config, Loaded, Options, Refused, Row, Secret, scan, settings};
use crate::error_chain;
use crate::tls::{Identity, Protocols};

/// How the process ended: `sysexits.h`, which service managers and scripts know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Ok,
    /// `scan`: something executable or unusual.
    Suspicious,
    /// `scan`: it could not be looked into.
    Unscannable,
    /// `scan`: evidence of an attack.
    Malicious,
    /// EX_USAGE: the command line is wrong.
    Usage,
    /// EX_DATAERR: what is stored or was shown contradicts itself, its key or its mark; a person must look.
    Data,
    /// EX_NOINPUT: a file that was named can't be read.
    NoInput,
    /// EX_UNAVAILABLE: the address can't be listened on.
    Unavailable,
    /// EX_SOFTWARE: a defect of mregd.
    Internal,
    /// EX_CANTCREAT: a file or directory could not be made.
    CantCreate,
    /// EX_IOERR: reading or writing failed.
    Io,
    /// EX_TEMPFAIL: try again later; another process holds the data directory, or the registry can't be reached.
    TempFail,
    /// EX_NOPERM: a right is missing.
    NoPermission,
    /// EX_CONFIG: the settings are wrong; nothing was opened or created.
    Config,
}

impl Exit {
    /// The number that the parent process sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Suspicious => 10,
            Self::Unscannable => 11,
            Self::Malicious => 12,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::CantCreate => 73,
            Self::Io => 74,
            Self::TempFail => 75,
            Self::NoPermission => 77,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The exit codes and what they mean, as the help says it.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  done; with scan: clean
  10  scan: something executable or unusual
  11  scan: it could not be looked into
  12  scan: evidence of an attack
  64  the command line is wrong, or what it asks for is refused
  65  what is stored or was shown contradicts itself, its key or its mark; a person must look
  66  a file that was named can't be read
  69  the address can't be listened on
  70  a defect of mregd
  73  a file or directory could not be made
  74  reading or writing failed
  75  try again later; another process holds the data directory, or the registry can't be reached
  77  a right is missing
  78  the settings are wrong; nothing was opened or created";

/// mregd: a registry for machine-learning models
///
/// Without a command it serves. Settings come from options, the environment, a .env file, secret files and systemd
/// credentials, in this order; `mregd config show` prints what holds and where it comes from.
#[derive(Debug, Parser)]
#[command(name = "mregd", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Options that are settings; they may stand before or after the command.
    #[command(flatten)]
    pub options: Options,
    /// What to do; `None` serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be asked of `mregd`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve the registry, creating what is missing (the default)
    Serve,
    /// Create the registry and its first administrator, and exit; does nothing to one that is there
    #[command(visible_alias = "initialize-db")]
    InitDb,
    /// Check or show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a new key, fit for JWT_SECRET_KEY
    GenSecret,
    /// Manage users, whether the daemon runs or not
    #[command(subcommand)]
    User(UserCommand),
    /// Manage API tokens, those of service accounts and those of others, whether the daemon runs or not
    #[command(subcommand)]
    Token(TokenCommand),
    /// Work on the audit log itself: its keys, what is derived from it
    #[command(subcommand)]
    Log(LogCommand),
    /// Check everything that is stored against everything else; exit code 65 if anything is wrong
    ///
    /// Works beside the running daemon, at a low priority, or on the stopped registry, of which nothing is changed. A running
    /// daemon reads files that are missing or of the wrong size once more, and quarantines the versions that need them.
    Check(CheckOptions),
    /// Remove stored bytes that no version needs, and tell what is missing; exit code 65 if anything is wrong
    ///
    /// What a purge frees goes by itself; this finds what crashes and failed removals left. Works beside the running daemon,
    /// at a low priority, or at the stopped registry.
    Gc(GcOptions),
    /// Say how much users and namespaces may keep, and see what they do; only while the daemon runs
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Manage the rules by which versions go; only while the daemon runs
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Manage webhooks: who is told of entries of the log, and what became of it; only while the daemon runs
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Back the registry up into a directory, whether the daemon runs or not; list and prune what is there
    ///
    /// A generation is the whole log up to a signed checkpoint, and every file that its records point to. Generations in one
    /// directory share what they have in common, so the next one costs what changed. Nothing stands still meanwhile. Cut off
    /// anywhere, it is no backup, and run again it goes on. Prints one line. Exit code 65 if files are missing or damaged: the
    /// generation is kept without them.
    Backup(BackupOptions),
    /// Restore a registry from a backup into an empty directory, or only verify the backup
    ///
    /// All entries are read and must come to the root of the signed checkpoint; the state is derived from them anew; every file
    /// must have the digest that the records say. Exit code 65 if anything is wrong. What was proved, and what was not, is said.
    Restore(RestoreOptions),
    /// Move the log between this directory and a database that several daemons share; only while all daemons are stopped
    ///
    /// What was copied is read back and compared: as many entries, the same root, the same state. Artifacts are not moved.
    Migrate(MigrateOptions),
    /// Copy every blob from one store to another, whether the daemon runs or not; begun again, it goes on
    ///
    /// Name the new store with MREG_BLOBS and the old one with MREG_BLOBS_OLD and restart the daemon, which from then on writes to
    /// the new one and reads from both. Copy. Unset MREG_BLOBS_OLD, restart, and run `mregd check --blobs`: it says that all
    /// is there. Nothing is removed from the old store. Exit code 65 if a blob is damaged, 75 if a store failed: begin again.
    MigrateBlobs(MigrateBlobsOptions),
    /// Inspect files without a registry: what they are, and whether loading them can run code
    ///
    /// Nothing is loaded or executed. The exit code is the gravest verdict: 0 clean, 10 suspicious, 11 unscannable, 12
    /// malicious; others are errors.
    Scan(ScanArgs),
    /// What `serve` and `scan` start to inspect files in: no command for people, so no parser, help or manual knows it.
    #[command(skip)]
    ScanWorker,
    /// Print the OpenAPI description of the REST interface
    Openapi,
    /// Be a witness of other people's audit logs: cosign what only ever grows
    ///
    /// A witness belongs on another machine than the logs it watches, under other administrators. It has no settings
    /// besides these options and --bind, which is 127.0.0.1:8001 here unless given.
    Witness(WitnessArgs),
    /// Print a script that completes this command line in a shell
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page in roff, or write the pages of all commands
    Man {
        /// Write a page for each command into this directory, made if it is not there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// `mregd migrate-blobs`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MigrateBlobsOptions {
    /// From where: disk, or s3://bucket/prefix [default: MREG_BLOBS_OLD]
    #[arg(long, value_name = "STORE", value_parser = s3::place)]
    pub from: Option<Place>,
    /// To where: disk, or s3://bucket/prefix [default: MREG_BLOBS]
    #[arg(long, value_name = "STORE", value_parser = s3::place)]
    pub to: Option<Place>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `mregd scan`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ScanArgs {
    /// Files, and folders of which every file is inspected
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one JSON object a line for each file
    #[arg(long)]
    pub json: bool,
    /// Say for each finding what its rule means
    #[arg(long)]
    pub explain: bool,
    /// Take a global that is on no list for harmless, as MREG_SCAN_ALLOW_GLOBALS does; may be given several times
    #[arg(long, value_name = "MODULE.NAME", value_parser = scan::globals)]
    pub allow_global: Vec<BTreeSet<(String, String)>>,
    /// Take all classes below a module for harmless, as MREG_SCAN_ALLOW_PREFIXES does; may be given several times
    #[arg(long, value_name = "MODULE.", value_parser = scan::prefixes)]
    pub allow_prefix: Vec<BTreeSet<String>>,
}

/// `mregd witness`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WitnessArgs {
    /// Make a witness's key in a new file of mode 0600, print its vkey, and exit
    #[arg(long, num_args = 2, value_names = ["FILE", "NAME"], exclusive = true)]
    pub new_key: Option<Vec<String>>,
    /// The directory of what the witness remembers; made if it is not there, and never to be lost
    #[arg(long, value_name = "DIR", required_unless_present = "new_key")]
    pub state: Option<PathBuf>,
    /// The vkey of a log to watch; several for several logs, or for a log that rotates its key
    #[arg(long, value_name = "VKEY", required_unless_present = "new_key")]
    pub log: Vec<Verifier>,
    /// The file with the witness's key
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    pub key: Option<PathBuf>,
    /// Speak TLS with this certificate: a file with the chain, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM, of mode 0600; not the witness's own key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The form of the diagnostics on standard error
    #[arg(long, value_parser = ["text", "json"], default_value = "text", value_name = "FORM")]
    pub log_format: String,
}

/// `mregd log`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LogCommand {
    /// Give the log a new signing key, whether the daemon runs or not
    ///
    /// Checkpoints carry both keys' signatures for a while, then the old key is destroyed. Hand the new key to whoever
    /// verifies the log before that time is over.
    RotateKey(RotateKeyOptions),
    /// Go on with data older than what was signed, under a new name of the log; only while the daemon is stopped
    ///
    /// For after a restore from a backup that is not the newest. What the newer data recorded is lost, and receipts for it
    /// will not verify against the log any more: that it was lost is recorded for ever.
    AcceptRollback(AcceptRollbackOptions),
    /// Remove all that is derived from the journal and derive it again; only while the daemon is stopped
    Rebuild,
    /// Verify a whole log, checkpoints that were kept, and receipts; exit code 65 if anything is wrong
    ///
    /// The log is an export (--dir), another machine's (--url), or the registry of this one. Needs no settings but for the
    /// last. Receipts alone are verified offline.
    Verify(VerifyOptions),
    /// Write the log as static files (C2SP tlog-tiles) that anybody's tools verify
    ///
    /// What is there already is compared and kept, so an export can be repeated and interrupted; `checkpoint` is written
    /// last.
    Export(ExportOptions),
    /// Watch a log: that it only ever grows from the checkpoint that was seen last; exit code 65 if not
    ///
    /// The first run remembers the checkpoint that it sees. If the log forks or is rolled back, both checkpoints are kept in
    /// files beside the state: together they prove it.
    Tail(TailOptions),
}

/// Which keys are trusted.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The log's verifier key, or a file with one a line; several while the key is rotated
    #[arg(long, value_name = "KEY", required = true)]
    pub vkey: Vec<String>,
}

/// Another machine's registry.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Send the token of this file, which only its owner may be able to read; else that of MREG_TOKEN, if set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let a token cross the network in clear
    #[arg(long)]
    pub allow_plain_http: bool,
    /// Trust the authorities in this file (PEM) in place of this machine's, for an address with https://
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The key that the certificate must have, as sha256: and 64 hexadecimal digits. Without --ca-file it stands in for
    /// authorities, name and dates
    #[arg(long, value_name = "PIN")]
    pub tls_pin: Option<KeyPin>,
}

/// Options of `mregd log verify`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The registry's address, as https://host:port, http://host:port or unix:/path; or where an export is served, with its path
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The directory of an export
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub dir: Option<PathBuf>,
    /// Which keys are trusted.
    #[command(flatten)]
    pub pins: Pins,
    /// How the address is asked.
    #[command(flatten)]
    pub remote: Remote,
    /// A receipt, or an answer that has one; in a file NAME.jsonl, one a line
    #[arg(long, value_name = "FILE")]
    pub receipt: Vec<PathBuf>,
    /// A checkpoint that was kept
    #[arg(long, value_name = "FILE")]
    pub saved: Vec<PathBuf>,
    /// A policy (c2sp.org/tlog-policy): enough witnesses must have cosigned the log's checkpoint.witnessed
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The newest entry may be no older than this: a number and s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "hashes_only")]
    pub max_age: Option<Duration>,
    /// Don't read the entries: what an outsider can verify
    #[arg(long)]
    pub hashes_only: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Where a file without a name is kept meanwhile, about 80 octets for each entry
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub temp_dir: PathBuf,
}

/// Options of `mregd log export`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Where to write; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The registry's address, as https://host:port, http://host:port or unix:/path [default: the registry of this machine]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Keys of which one must have signed the checkpoint; a key or a file
    #[arg(long, value_name = "KEY")]
    pub vkey: Vec<String>,
    /// How the address is asked.
    #[command(flatten)]
    pub remote: Remote,
}

/// Options of `mregd log tail`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TailOptions {
    /// The registry's address, as https://host:port, http://host:port or unix:/path; or where an export is served, with its path
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file that keeps the newest checkpoint that was seen
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// Which keys are trusted.
    #[command(flatten)]
    pub pins: Pins,
    /// How the address is asked.
    #[command(flatten)]
    pub remote: Remote,
    /// Look once (the default)
    #[arg(long, conflicts_with = "interval")]
    pub once: bool,
    /// Look again and again, so often: a number and s, m, h or d. While the log can't be reached it goes on trying
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub interval: Option<Duration>,
}

/// Options of `mregd log rotate-key`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RotateKeyOptions {
    /// How long checkpoints carry both signatures: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span, conflicts_with = "compromised")]
    pub overlap: Duration,
    /// The old key may be in wrong hands: no overlap, and a new name of the log, for nothing under the old one can be
    /// trusted from now on
    #[arg(long)]
    pub compromised: bool,
}

/// Options of `mregd log accept-rollback`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AcceptRollbackOptions {
    /// Why the data is older than it should be; kept in the log for ever
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Don't ask
    #[arg(long)]
    pub yes: bool,
}

/// Options of `mregd migrate`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = clap::ArgGroup::new("direction").required(true).args(["to", "from"]))]
pub struct MigrateOptions {
    /// Copy the log in MREG_DATA_DIR into this empty database; its password is MREG_DATABASE_PASSWORD
    #[arg(long, value_name = "ADDRESS", value_parser = DatabaseAddress::parse)]
    pub to: Option<DatabaseAddress>,
    /// Go on in MREG_DATA_DIR with the log in this database, which ends there
    #[arg(long, value_name = "ADDRESS", value_parser = DatabaseAddress::parse)]
    pub from: Option<DatabaseAddress>,
    /// Read, derive and compare, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `mregd check`.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Read every blob and compare it with its digest, too; a running daemon holds back what needs a damaged one
    #[arg(long)]
    pub blobs: bool,
    /// Read blobs no faster than this, at least 4 KiB: bytes, or a number with KiB, MiB, GiB or TiB
    #[arg(long, value_name = "SIZE", value_parser = rate, requires = "blobs")]
    pub bytes_per_second: Option<u64>,
}

/// Options of `mregd gc`.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Only tell what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Leave alone what was stored less long ago: a number and s, m, h or d [default: MREG_GC_MIN_AGE]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub min_age: Option<Duration>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Whose quota.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct QuotaOf {
    /// user or namespace
    #[arg(value_name = "KIND")]
    pub kind: QuotaKind,
    /// The user's name, or the part of models' names before the slash; - for models without one
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    pub name: String,
}

/// `mregd quota`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum QuotaCommand {
    /// List what users and namespaces keep, and how much they may
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Whose.
        #[command(flatten)]
        of: QuotaOf,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set one, in place of the default; what is left out has no limit
    Set {
        /// Whose.
        #[command(flatten)]
        of: QuotaOf,
        /// Octets of all versions: bytes, or a number with KiB, MiB, GiB or TiB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        bytes: Option<u64>,
        /// How many versions
        #[arg(long, value_name = "COUNT")]
        versions: Option<u64>,
        /// How many models; of namespaces only
        #[arg(long, value_name = "COUNT")]
        models: Option<u64>,
    },
    /// Go back to the default
    Clear {
        /// Whose.
        #[command(flatten)]
        of: QuotaOf,
    },
}

/// `mregd retention`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum RetentionCommand {
    /// List the rules, when they are carried out next, and what the last runs came to
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a rule as JSON
    Show {
        /// Its name
        rule: String,
    },
    /// Show what a rule would take now: one that is set, or one in a file
    Preview {
        /// Its name
        #[arg(required_unless_present = "file")]
        rule: Option<String>,
        /// A file with a rule as JSON; - for standard input
        #[arg(long, value_name = "FILE", conflicts_with = "rule")]
        file: Option<PathBuf>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set a rule; by itself it does nothing before MREG_RETENTION_GRACE is over
    Set {
        /// Its name
        rule: String,
        /// A file with the rule as JSON; - for standard input
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a rule
    Delete {
        /// Its name
        rule: String,
    },
    /// Have a rule carried out at once
    Run {
        /// Its name
        rule: String,
    },
}

/// `mregd webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum WebhookCommand {
    /// List webhooks: id, state, entries it is behind, when the receiver last took one, actions, receiver
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a webhook as JSON
    Show {
        /// Its id
        id: HookId,
    },
    /// Create a webhook, and print its secret: it is shown this once
    ///
    /// The secret alone goes to standard output, what there is to say about it to standard error. It begins with the first entry
    /// after its own.
    Create(WebhookNew),
    /// Change a webhook; what is left out stays
    Update(WebhookEdit),
    /// Deliver to a webhook again: it goes on where it had come to
    Enable {
        /// Its id
        id: HookId,
    },
    /// Deliver to a webhook no more; its place in the log stays
    Disable {
        /// Its id
        id: HookId,
    },
    /// Remove a webhook, and with it how far it had come
    Delete {
        /// Its id
        id: HookId,
    },
    /// Give a webhook another secret, and print it: it is shown this once
    RotateSecret {
        /// Its id
        id: HookId,
        /// Sign with the old secret, too, for so long, such as 1h, at most 7d [default: 1d]
        #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "void")]
        overlap: Option<Duration>,
        /// The old secret is void at once: it may be in wrong hands
        #[arg(long)]
        void: bool,
    },
    /// Send a message that is no entry, and say what became of it; exit code 75 if the receiver didn't take it
    Test {
        /// Its id
        id: HookId,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Go on from an entry, or send the message of one again
    Replay(WebhookReplayed),
    /// List the newest attempts, newest first: time, kind, attempt, status, milliseconds, type, message, error
    Deliveries {
        /// Its id
        id: HookId,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// `mregd webhook create`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WebhookNew {
    /// Where events are posted, as https://host/path
    #[arg(long, value_name = "URL", required_unless_present = "url_file")]
    pub url: Option<String>,
    /// A file with the address, where that has a secret in it; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub url_file: Option<PathBuf>,
    /// Which entries are events: an action such as model.upload, a group such as 'model.*', or '*'; may be given several times
    #[arg(long = "action", value_name = "ACTION", value_delimiter = ',', required = true)]
    pub actions: Vec<String>,
    /// Only those about models of these names, such as 'team/*'; may be given several times
    #[arg(long = "models", value_name = "PATTERN", value_delimiter = ',')]
    pub models: Vec<NamePattern>,
    /// Only those with this outcome: ok, denied or error; may be given several times [default: ok]
    #[arg(long = "outcome", value_name = "OUTCOME", value_delimiter = ',')]
    pub outcomes: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
    /// Don't deliver before it is enabled
    #[arg(long)]
    pub disabled: bool,
}

/// `mregd webhook update`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub struct WebhookEdit {
    /// Its id
    pub id: HookId,
    /// Where events are posted from now on
    #[arg(long, value_name = "URL", group = "change")]
    pub url: Option<String>,
    /// A file with the address, where that has a secret in it; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "url", group = "change")]
    pub url_file: Option<PathBuf>,
    /// Which entries are events; all of them anew
    #[arg(long = "action", value_name = "ACTION", value_delimiter = ',', group = "change")]
    pub actions: Option<Vec<String>>,
    /// Only those about models of these names; all of them anew
    #[arg(long = "models", value_name = "PATTERN", value_delimiter = ',', group = "change")]
    pub models: Option<Vec<NamePattern>>,
    /// Whatever they are about
    #[arg(long, conflicts_with = "models", group = "change")]
    pub any_model: bool,
    /// Only those with this outcome; all of them anew
    #[arg(long = "outcome", value_name = "OUTCOME", value_delimiter = ',', group = "change")]
    pub outcomes: Option<Vec<String>>,
    /// What it is for
    #[arg(long, value_name = "TEXT", group = "change")]
    pub description: Option<String>,
}

/// `mregd webhook replay`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct WebhookReplayed {
    /// Its id
    pub id: HookId,
    /// Index of the entry to go on from: what was delivered from there on is delivered again under the same ids, what lies before
    /// and was not is passed over
    #[arg(long, value_name = "INDEX", group = "what")]
    pub from: Option<u64>,
    /// Id of a message to send again at once, as `mregd webhook deliveries` shows; its place in the log stays. Exit code 75 if the
    /// receiver didn't take it
    #[arg(long, value_name = "ID", group = "what")]
    pub message: Option<String>,
}

fn size(text: &str) -> Result<u64, String> {
    bytes(text, 0)
}

fn rate(text: &str) -> Result<u64, String> {
    bytes(text, settings::SCRUB_BYTES_PER_SECOND_MIN)
}

/// `mregd backup`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupOptions {
    /// What to do with the backups that are there; without it one is made.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// The directory of backups; made if it is not there, and of one registry only
    #[arg(long, value_name = "DIR", required = true)]
    pub to: Option<PathBuf>,
    /// Another directory of backups of this registry: files that it has are linked or copied from there
    #[arg(long, value_name = "DIR")]
    pub since: Option<PathBuf>,
    /// What is done with the registry's files: copied; linked, which costs no room, but protects from deletion alone; or only
    /// listed, where they are kept in another way
    #[arg(long, value_enum, default_value_t = BlobsMode::Copy)]
    pub blobs: BlobsMode,
    /// Keep the log's signing keys and the keys of tokens and webhooks, too: whoever has the backup can sign in the log's name then
    #[arg(long)]
    pub with_keys: bool,
    /// Read files no faster than this, at least 4 KiB a second: bytes, or a number with KiB, MiB, GiB or TiB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub rate: Option<u64>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is done with the registry's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BlobsMode {
    /// Copied; blocks are shared where the file system can.
    Copy,
    /// Linked.
    Link,
    /// Listed.
    Reference,
}

/// What can be done with backups that are there.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// List the generations, oldest first
    List {
        /// The directory of backups
        dir: PathBuf,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Remove old generations, and what no other needs
    Prune {
        /// The directory of backups
        dir: PathBuf,
        /// How many to keep, the newest; and the newest that lacks nothing, if none of these does
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        keep: u64,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// `mregd restore`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = clap::ArgGroup::new("purpose").required(true).args(["to", "verify"]))]
pub struct RestoreOptions {
    /// The directory of backups
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Which generation, as `mregd backup list` names it [default: the newest]
    #[arg(long, value_name = "ID")]
    pub generation: Option<String>,
    /// The data directory to make: empty, or not there
    #[arg(long, value_name = "DATA_DIR")]
    pub to: Option<PathBuf>,
    /// Only verify: nothing is restored, and the running daemon is told
    #[arg(long)]
    pub verify: bool,
    /// A key of which one must have signed the checkpoint; a key, or a file with one a line [default: the log's own word]
    #[arg(long, value_name = "KEY")]
    pub vkey: Vec<String>,
    /// Put the keys of the backup into the key directory, too
    #[arg(long, conflicts_with = "verify")]
    pub with_keys: bool,
    /// The registry was stopped for good before this backup was made: nothing was signed after it
    #[arg(long, conflicts_with = "verify")]
    pub newest: bool,
    /// Read files no faster than this, at least 4 KiB a second: bytes, or a number with KiB, MiB, GiB or TiB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub rate: Option<u64>,
    /// Where the state is derived while a backup is verified
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub temp_dir: PathBuf,
    /// Print the last line alone
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `mregd config`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Tell everything that is wrong with the settings; exit code 78 if anything is
    Check,
    /// Print the effective settings, secrets masked, with the source of each
    Show {
        /// Print a JSON array of {name, value, source}
        #[arg(long)]
        json: bool,
    },
    /// Print a .env file that documents every setting
    Sample,
    /// Print the settings as a Markdown table
    Docs,
}

/// `mregd user`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum UserCommand {
    /// Create a user
    Add {
        /// Lower-case letters, digits, dots, dashes and underscores
        name: String,
        /// What the user may do
        #[arg(long, value_parser = ["viewer", "contributor", "auditor", "admin"])]
        role: String,
        /// A service account, for a program: it has no password and can't sign in; `mregd token create` makes its tokens
        #[arg(long, conflicts_with_all = ["password_file", "password_stdin"])]
        service: bool,
        /// Where the password is.
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set a user's password, and end the user's sessions
    Passwd {
        /// The user
        name: String,
        /// Where the password is.
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Take a user's second factor away, and end the user's sessions
    ///
    /// For who has lost authenticator and recovery codes. The password alone is asked for next.
    ResetTotp {
        /// The user
        name: String,
    },
    /// Give a user a role on the models of some names, take the user's own role away there, or deny them
    #[command(after_help = GRANT_HELP)]
    Grant {
        /// The user
        name: String,
        /// Names of models; `*` stands for any characters
        pattern: String,
        /// What holds there
        #[arg(value_parser = ["viewer", "contributor", "auditor", "admin", "none", "deny"])]
        what: String,
    },
    /// Take grants of a user back
    Ungrant {
        /// The user
        name: String,
        /// The pattern, as it was granted
        pattern: String,
        /// Only this grant of the pattern; else all of them
        #[arg(value_parser = ["viewer", "contributor", "auditor", "admin", "none", "deny"])]
        what: Option<String>,
    },
    /// List users, their roles, states and grants
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// `mregd token`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a service account, and print it: it is shown this once
    ///
    /// The token alone goes to standard output, what there is to say about it to standard error. A person makes tokens in the
    /// own name, in the console or with POST /tokens.
    Create {
        /// The service account
        #[arg(long, value_name = "NAME")]
        user: String,
        /// What it is for, 1 to 64 characters, unique among the account's tokens
        #[arg(long)]
        label: String,
        /// What it may do at most, such as model.read; may be given several times. Without it all the account may, but for
        /// user.manage
        #[arg(long = "permission", value_name = "PERMISSION", value_delimiter = ',')]
        permissions: Vec<String>,
        /// On models of these names only, such as 'team/*'; may be given several times
        #[arg(long = "names", value_name = "PATTERN", value_delimiter = ',')]
        names: Vec<String>,
        /// How long it lives.
        #[command(flatten)]
        life: TokenLife,
    },
    /// List tokens: id, user, label, state, end, last use, scope
    List {
        /// Those of one user; without it, of all
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Give a token of a service account another secret, and print it: it is shown this once
    Rotate {
        /// The token's id
        id: String,
        /// Accept the old secret as well for so long, such as 1h, at most 7d; without it, it is void at once
        #[arg(long, value_name = "TIME", value_parser = span)]
        overlap: Option<Duration>,
        /// How long it lives.
        #[command(flatten)]
        life: TokenLife,
    },
    /// Revoke a token, for good and at once
    Revoke {
        /// The token's id
        id: String,
    },
}

/// How long a token lives.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenLife {
    /// Its life from now on, such as 30d; without it 90 days, or as long again where it is rotated
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "never_expires")]
    pub expires: Option<Duration>,
    /// It never ends; only with MREG_API_TOKEN_DAYS_MAX=unlimited
    #[arg(long)]
    pub never_expires: bool,
}

/// What grants come to.
const GRANT_HELP: &str = "\
A role adds to what the user may do; `none` leaves the user's own role out; `deny` wins over everything.
  mregd user grant ana 'team-nlp/*' contributor    ana may publish there, too
  mregd user grant ana '*' none                    and has nothing but what is granted
  mregd user grant ana 'secret/*' deny             and never sees these
Grants are about models: none gives users, settings or the audit log.";

/// Where a password is read from; never from an argument. With neither option there is none, and one has to be
/// generated.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordSource {
    /// Read the password from this file, which only its owner may be able to read; else one is generated
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    pub password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

impl PasswordSource {
    /// Reads the password; `None` if no source was given.
    ///
    /// # Errors
    /// [`SecretError`] if the file or stream cannot be read, or the file can be read by others.
    pub fn read(&self) -> Result<Option<Secret>, SecretError> {
        match &self.password_file {
            Some(path) => read_secret_file(path, Readers::Owner).map(Some),
            None if self.password_stdin => read_secret(io::stdin().lock()).map(Some),
            None => Ok(None),
        }
    }
}

/// The word that the process which inspects files is started with.
pub const SCAN_WORKER: &str = "scan-worker";

/// Parses the command line, of which the first element is the program's name.
///
/// # Errors
/// The exit code, once help, the version or what is wrong has been printed.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    // Started by the daemon itself, with this word alone.
    let is_worker = arguments.len() == 2 && arguments.last().is_some_and(|word| word == SCAN_WORKER);
    if is_worker {
        arguments.truncate(1);
    }
    let parsed = Cli::try_parse_from(arguments);
    let parsed = parsed.map(|cli| if is_worker { Cli { command: Some(Command::ScanWorker), ..cli } } else { cli });
    parsed.map_err(|error| {
        // There is nobody left to tell that telling failed.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Ok }
    })
}

/// `mregd config …`
#[must_use]
pub fn config(options: &Options, command: &ConfigCommand) -> Exit {
    match command {
        ConfigCommand::Sample => out(&settings::sample()),
        ConfigCommand::Docs => out(&settings::markdown()),
        ConfigCommand::Check => with_config(options, |loaded| {
            loaded.warnings.iter().for_each(|warning| err(&format!("warning: {warning}")));
            loaded.notices.iter().for_each(|notice| err(&format!("note: {notice}")));
            if let Some(files) = &loaded.config.tls
                && let Err(error) = Identity::load(files, Protocols::Both)
            {
                err(&format!("error: MREG_TLS_CERT, MREG_TLS_KEY: {}", error_chain(&error)));
                return Exit::Config;
            }
            out("configuration is valid\n")
        }),
        ConfigCommand::Show { json: false } => with_config(options, |loaded| out(&table(&loaded.rows()))),
        ConfigCommand::Show { json: true } => with_config(options, |loaded| out(&json_rows(&loaded.rows()))),
    }
}

fn with_config(options: &Options, then: impl FnOnce(&Loaded) -> Exit) -> Exit {
    match Config::of_process(options) {
        Ok(loaded) => then(&loaded),
        Err(refused) => report_refused(&refused),
    }
}

/// Tells on standard error why there is no configuration: warnings, which may explain, then every mistake.
#[must_use]
pub fn report_refused(refused: &Refused) -> Exit {
    refused.warnings.iter().for_each(|warning| err(&format!("warning: {warning}")));
    refused.mistakes.iter().for_each(|mistake| err(&format!("error: {mistake}")));
    Exit::Config
}

/// `mregd gen-secret`
#[must_use]
pub fn gen_secret() -> Exit {
    match Secret::generate() {
        Ok(secret) => out(&format!("{}\n", secret.expose())),
        Err(error) => {
            err(&format!("error: the operating system gives no randomness: {error}"));
            Exit::Io
        }
    }
}

fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 3]> = std::iter::once(["NAME", "VALUE", "SOURCE"].map(str::to_owned))
        .chain(rows.iter().map(|row| [row.name.to_owned(), printable(&row.value), printable(&row.source.to_string())]))
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (name, value) = (width(0), width(1));
    cells.iter().map(|row| format!("{:name$}  {:value$}  {}\n", row[0], row[1], row[2])).collect()
}

fn json_rows(rows: &[Row]) -> String {
    let row = |row: &Row| json!({"name": row.name, "value": row.value, "source": row.source.to_string()});
    format!("{:#}\n", rows.iter().map(row).collect::<serde_json::Value>())
}

/// A path may hold anything; a terminal should not.
fn printable(text: &str) -> String {
    common::shown::shown(text, usize::MAX)
}

/// Writes a result to standard output. A reader that left (`mregd config show | head`) is no failure.
#[must_use]
pub fn out(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Ok,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            err(&format!("error: cannot write to standard output: {error}"));
            Exit::Io
        }
    }
}

/// Writes a line for the person at the terminal. If nobody can be told, nothing can be done about it.
pub fn err(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::PathBuf;
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{
        Cli, Command, ConfigCommand, EXIT_CODES, Exit, PasswordSource, UserCommand, json_rows, parse, printable, span,
        table,
    };
    use crate::config::{Row, Source};

    fn command(line: &str) -> Option<Command> {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    /// What the daemon starts itself is no command of people: only this word alone is it, and no help names it.
    #[test]
    fn the_inspecting_process() {
        let parsed = |line: &str| parse(line.split(' ').map(Into::into)).map(|cli| cli.command);
        assert_eq!(parsed("mregd scan-worker"), Ok(Some(Command::ScanWorker)));
        assert_eq!(parsed("mregd scan-worker --help"), Err(Exit::Usage));
        assert!(!Cli::command().render_long_help().to_string().contains("worker"));
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(command("mregd"), None);
        assert_eq!(command("mregd serve"), Some(Command::Serve));
        assert_eq!(command("mregd init-db"), Some(Command::InitDb));
        assert_eq!(command("mregd initialize-db"), Some(Command::InitDb));
        assert_eq!(command("mregd config show --json"), Some(Command::Config(ConfigCommand::Show { json: true })));
        let password = PasswordSource { password_file: Some(PathBuf::from("f")), password_stdin: false };
        let (name, role) = ("ada".to_owned(), "auditor".to_owned());
        assert_eq!(
            command("mregd user add ada --role auditor --password-file f"),
            Some(Command::User(UserCommand::Add { name, role, service: false, password }))
        );
    }

    /// Settings may stand on either side of the command.
    #[test]
    fn options_are_global() {
        for line in [
            "mregd --bind 127.0.0.1:1 --require-tls config check",
            "mregd config check --bind 127.0.0.1:1 --require-tls",
        ] {
            let options = Cli::try_parse_from(line.split(' ')).unwrap().options;
            assert_eq!((options.bind.as_deref(), options.require_tls), (Some("127.0.0.1:1"), true));
        }
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_0() {
        let exit = |line: &str| parse(line.split(' ').map(Into::into)).map(|_| Exit::Ok).unwrap_or_else(|exit| exit);
        for line in [
            "mregd nonsense",
            "mregd user add ada",
            "mregd user add ada --role king",
            "mregd user passwd a --password-file f --password-stdin",
            "mregd user passwd a --password p",
            "mregd witness",
            "mregd witness --state d --key k",
            "mregd witness --state d --key k --log nonsense",
            "mregd witness --new-key f",
            "mregd witness --new-key f n --state d",
            "mregd log verify --dir d",
            "mregd log verify --dir d --url http://h --vkey k",
            "mregd log verify --dir d --vkey k --token t",
            "mregd log verify --dir d --vkey k --max-age soon",
            "mregd log export",
            "mregd log tail --state s --vkey k",
            "mregd log tail --state s --vkey k --once --interval 1s http://h",
        ] {
            assert_eq!(exit(line), Exit::Usage, "{line}");
        }
        for line in ["mregd --help", "mregd --version", "mregd help user", "mregd user add --help"] {
            assert_eq!(exit(line), Exit::Ok, "{line}");
        }
    }

    /// Times are a number and a unit; anything else is refused.
    #[test]
    fn spans() {
        for (text, seconds) in [("1s", 1), ("90m", 5400), ("2h", 7200), ("30d", 30 * 24 * 3600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "30", "0s", "+1d", "1.5h", "1w", "3654d", "99999999999999999999d", "1 d", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    /// The codes in the help are those of the enum.
    #[test]
    fn exit_codes_are_documented() {
        let documented: Vec<u8> =
            EXIT_CODES.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
        let codes = [
            Exit::Ok,
            Exit::Suspicious,
            Exit::Unscannable,
            Exit::Malicious,
            Exit::Usage,
            Exit::Data,
            Exit::NoInput,
            Exit::Unavailable,
            Exit::Internal,
            Exit::CantCreate,
            Exit::Io,
            Exit::TempFail,
            Exit::NoPermission,
            Exit::Config,
        ];
        assert_eq!(documented, codes.map(Exit::code));
    }

    #[test]
    fn settings_are_shown_in_columns_or_json() {
        let rows = [
            Row { name: "A", value: "longer\n\u{1b}[31m".into(), source: Source::Default },
            Row { name: "LONG_NAME", value: "é".into(), source: Source::DotEnv { file: ".env".into(), line: 3 } },
        ];
        assert_eq!(
            table(&rows),
            "NAME       VALUE               SOURCE\n\
             A          longer\\n\\u{1b}[31m  default\n\
             LONG_NAME  é                   .env:3\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json_rows(&rows)).unwrap();
        assert_eq!(value[1], serde_json::json!({"name": "LONG_NAME", "value": "é", "source": ".env:3"}));
        assert_eq!(printable("a b"), "a b");
    }
}
