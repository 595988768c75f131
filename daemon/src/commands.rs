//! What `mregd` does with a registry: serve it, create it, check it, manage its users and its
//! log. Knows terminals and exit codes; refuses to
//! know rules: those are the registry's. `main` parses and prepares, this acts.

mod backup;
mod check;
mod gc;
mod keep;
mod log;
mod migrate;
mod migrate_blobs;
mod progress;
mod scan;
mod serve;
mod telling;
mod tokens;
mod users;
mod webhooks;
mod witness;
mod way;

use std::fmt;
use std::io;
use std::num::NonZero;

use common::shown::shown;
use tokio::runtime::Runtime;

use crate::blobs::BlobError;
use crate::cli::{self, Command, Exit, LogCommand, ScanArgs, WitnessArgs};
use crate::config::secret::SecretError;
use crate::config::{Config, Loaded, Options};
use crate::http::openapi;
use crate::inspection::worker;
use crate::logging;
use crate::passed;
use crate::registry::Seeded;
use crate::registry::error::RegistryError;
use crate::store::StoreError;
use crate::store::sled::OpenError;
use crate::{RunError, StartError};

/// Threads for blocking work at once: uploads, hashing, scans. Idle ones end by themselves.
const BLOCKING_THREADS_MAX: usize = 128;

/// Does a command that needs a configuration.
pub fn execute(loaded: &Loaded, command: Command) -> Exit {
    let result = match command {
        Command::InitDb => {
            logging::report_warnings(loaded);
            init_db(&loaded.config)
        }
        Command::User(command) => {
            logging::report_warnings(loaded);
            users::user(&loaded.config, command)
        }
        Command::Token(command) => {
            logging::report_warnings(loaded);
            tokens::token(&loaded.config, command)
        }
        Command::Log(command) => {
            logging::report_warnings(loaded);
            log::log(&loaded.config, command)
        }
        Command::Check(options) => {
            logging::report_warnings(loaded);
            check::check(&loaded.config, options)
        }
        Command::Gc(options) => {
            logging::report_warnings(loaded);
            gc::gc(&loaded.config, options)
        }
        Command::Quota(command) => {
            logging::report_warnings(loaded);
            keep::quota(&loaded.config, command)
        }
        Command::Retention(command) => {
            logging::report_warnings(loaded);
            keep::retention(&loaded.config, command)
        }
        Command::Webhook(command) => {
            logging::report_warnings(loaded);
            webhooks::webhook(&loaded.config, command)
        }
        Command::Backup(options) => {
            logging::report_warnings(loaded);
            backup::backup(loaded, options)
        }
        Command::Restore(options) => {
            logging::report_warnings(loaded);
            backup::restore(&loaded.config, &options)
        }
        Command::Migrate(options) => {
            logging::report_warnings(loaded);
            migrate::migrate(&loaded.config, options)
        }
        Command::MigrateBlobs(options) => {
            logging::report_warnings(loaded);
            migrate_blobs::migrate_blobs(&loaded.config, &options)
        }
        Command::Openapi => return cli::out(openapi::text()),
        // It may have been given sockets, and the others need no registry, nor a valid configuration: main does them.
        Command::Serve
        | Command::Config(_)
        | Command::GenSecret
        | Command::Witness(_)
        | Command::Scan(_)
        | Command::ScanWorker
        | Command::Completions { .. }
        | Command::Man { .. } => return Exit::Usage,
    };
    ended(result)
}

/// `mregd serve`, at the sockets that were passed on, or else where the configuration says.
pub fn serve(loaded: &Loaded, options: &Options, passed: Vec<passed::Socket>) -> Exit {
    logging::report(loaded);
    ended(serve::serve(&loaded.config, options, passed))
}

/// `mregd witness`: another program in the same binary, without a registry and without its configuration.
pub fn witness(options: &Options, arguments: &WitnessArgs) -> Exit {
    ended(witness::witness(options, arguments))
}

/// `mregd scan`: needs neither a registry nor a configuration. The exit code is the gravest verdict.
pub fn scan(arguments: &ScanArgs) -> Exit {
    match scan::scan(arguments) {
        Ok(exit) => exit,
        Err(failed) => ended(Err(failed)),
    }
}

/// `mregd scan-worker`: what `serve` and `scan` start to inspect files in.
pub fn scan_worker() -> Exit {
    ended(worker::run().map_err(|error| Failed::new(Exit::Io, error)))
}

/// The commands that read a log, perhaps another machine's: they need no valid configuration unless it is this one's.
pub fn read_log(options: &Options, command: LogCommand) -> Exit {
    ended(match command {
        LogCommand::Verify(asked) => log::verify(options, &asked),
        LogCommand::Export(asked) => log::export(options, &asked),
        LogCommand::Tail(asked) => log::tail(&asked),
        // Main does the others.
        LogCommand::RotateKey(_) | LogCommand::AcceptRollback(_) | LogCommand::Rebuild => return Exit::Usage,
    })
}

fn ended(result: Result<(), Failed>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err(failed) => {
            cli::err(&format!("error: {}", failed.message));
            failed.exit
        }
    }
}

/// What it means that a secret is not to be had: its file can't be read, or what is in it can't be taken.
fn exit_of_secret(error: &SecretError) -> Exit {
    match error {
        SecretError::Io(_) => Exit::NoInput,
        _ => Exit::Usage,
    }
}

/// Characters of the longest message.
const MESSAGE_CHARS_MAX: usize = 4096;

/// Why a command failed: one line for the person at the terminal, and the exit code.
#[derive(Debug)]
struct Failed {
    exit: Exit,
    message: String,
}

impl Failed {
    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        // Parts of it may come from another machine.
        Self { exit, message: shown(&message.to_string(), MESSAGE_CHARS_MAX) }
    }

    /// The same, with what else may have been meant.
    fn with_hint(self, hint: &str) -> Self {
        Self::new(self.exit, format_args!("{}; {hint}", self.message))
    }
}

/// Prints a command's result.
fn say(text: &str) -> Result<(), Failed> {
    match cli::out(text) {
        Exit::Ok => Ok(()),
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}

/// `mregd init-db`: creates what is missing, and says what it did.
fn init_db(config: &Config) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let opened = crate::open(config).await?;
        let identity = opened.registry.identity();
        let mut text = format!("registry in {}\n", config.data_dir.display());
        text.push_str(&match &opened.seeded {
            Seeded::AlreadyThere => "nothing was changed: it was there already\n".to_owned(),
            Seeded::Created { generated_password } => {
                let name = &config.admin_username;
                match generated_password {
                    Some(password) => format!(
                        "admin user: {name}\npassword: {} (shown this once; change it at the first sign-in)\n",
                        password.expose()
                    ),
                    None => format!("admin user: {name}, with the password of ADMIN_PASSWORD\n"),
                }
            }
        });
        text.push_str(&format!("keys in {}\nlog key: {}\n", config.key_dir.display(), identity.vkey));
        opened.registry.close().await;
        say(&text)
    })
}

/// The daemon's runtime: a thread for each core moves bytes, others do what blocks.
fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, NonZero::get).max(2))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("mregd-worker")
        .enable_all()
        .build()
        .map_err(|error| Failed::new(Exit::Io, format_args!("threads can't be started: {error}")))
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Store(OpenError::Locked { .. }) => Exit::TempFail,
            StartError::Store(OpenError::Path { source, .. }) => exit_of(source),
            StartError::Store(OpenError::Refused(_)) => Exit::Data,
            StartError::Store(OpenError::Store(StoreError::Corrupt(_))) => Exit::Data,
            StartError::Store(OpenError::Store(_)) => Exit::Io,
            StartError::Blobs { source: BlobError::Unreachable { .. }, .. } => Exit::TempFail,
            StartError::Blobs { .. } => Exit::CantCreate,
            StartError::TokenKey { source, .. }
            | StartError::WebhookKey { source, .. }
            | StartError::TotpKey { source, .. } => match source {
                crate::config::secret::SecretError::Io(_) => Exit::NoInput,
                _unfit => Exit::Config,
            },
            StartError::DropFolder { source, .. } if source.kind() == io::ErrorKind::WouldBlock => Exit::TempFail,
            StartError::DropFolder { source, .. } => exit_of(source),
            StartError::Setting { .. } | StartError::Cosigning(_) => Exit::Config,
            StartError::Registry(error) => exit_of_registry(error),
        };
        Self::new(exit, crate::error_chain(&error))
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        StartError::Store(error).into()
    }
}

impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        let exit = match &error {
            RunError::Control { source, .. } | RunError::Webhooks { source, .. } => exit_of(source),
            RunError::Journal(_) | RunError::Log(_) => Exit::Io,
        };
        Self::new(exit, crate::error_chain(&error))
    }
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        Self::new(exit_of_registry(&error), crate::error_chain(&error))
    }
}

fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NoPermission,
        _ => Exit::CantCreate,
    }
}

fn exit_of_registry(error: &RegistryError) -> Exit {
    match error {
        RegistryError::Corrupt(_) => Exit::Data,
        RegistryError::AuditUnavailable
        | RegistryError::AuditFull(_)
        | RegistryError::AuditUnknown(_)
        | RegistryError::StorageFull => Exit::Io,
        RegistryError::BlobsUnreachable { .. } | RegistryError::Overloaded(_) => Exit::TempFail,
        RegistryError::Internal(_) => Exit::Internal,
        // What is wrong is what was asked for.
        _refused => Exit::Usage,
    }
}
