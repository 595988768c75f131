//! `mregd witness`: the process of a witness, and its key. Knows arguments, files and signals; refuses to know what may be
//! cosigned. It reads no setting of a registry: whoever runs a witness should not need to know what one is.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use common::audit::{Cosigner, KeyError, KeyType, Verifier};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::serve::{Signals, cannot_listen, signals};
use super::{Failed, exit_of, runtime};
use crate::cli::{self, Exit, WitnessArgs};
use crate::config::network::TlsFiles;
use crate::config::secret::{Readers, SecretError, read_secret_file};
use crate::config::{LogFormat, Logging, Options, settings};
use crate::tls::{self, Identity, Protocols, Tls};
use crate::witness::Witness;
use crate::witness::server::serve;
use crate::witness::state::StateError;
use crate::{durable, logging, url_of};

/// Where a witness listens, unless it is told otherwise.
const BIND: &str = "127.0.0.1:8001";

pub(super) fn witness(options: &Options, arguments: &WitnessArgs) -> Result<(), Failed> {
    if options.env_file.is_some() || options.data_dir.is_some() || options.require_tls {
        return Err(Failed::new(
            Exit::Usage,
            "a witness has no registry: --env-file, --data-dir and --require-tls mean nothing to it",
        ));
    }
    match (&arguments.new_key, &arguments.state, &arguments.key) {
        (Some(new_key), ..) => match new_key.as_slice() {
            [file, name] => make_key(Path::new(file), name),
            _ => Err(Failed::new(Exit::Usage, "--new-key takes a file and a name")),
        },
        (None, Some(state), Some(key)) => run(options, arguments, state, key),
        // The parser asks for both.
        (None, ..) => Err(Failed::new(Exit::Usage, "a witness needs --state, --log and --key")),
    }
}

/// Makes a key in a file that is not there yet, and prints its public half.
fn make_key(file: &Path, name: &str) -> Result<(), Failed> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| Failed::new(Exit::Io, format_args!("no randomness: {error}")))?;
    let cosigner = Cosigner::from_seed(name, &seed)
        .map_err(|error| Failed::new(Exit::Usage, format_args!("{name:?} can't name a witness: {error}")))?;
    write_new(file, format!("{}\n", *cosigner.to_secret()).into()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let why = "is there already; a witness's key is never replaced, so choose another file";
            Failed::new(Exit::CantCreate, format_args!("{} {why}", file.display()))
        }
        _ => Failed::new(exit_of(&error), format_args!("{}: {error}", file.display())),
    })?;
    match cli::out(&format!("{}\n", cosigner.verifier())) {
        Exit::Ok => Ok(()),
        exit => Err(Failed::new(exit, "the result can't be written")),
    }
}

/// Writes a file of mode 0600 that is not there yet: whole, durable, and never over another.
fn write_new(path: &Path, text: Zeroizing<String>) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Created with O_EXCL and mode 0600; removed again if anything below fails.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|failed| failed.error)?;
    durable::sync_dir(dir)
}

fn run(options: &Options, arguments: &WitnessArgs, state: &Path, key: &Path) -> Result<(), Failed> {
    let format = if arguments.log_format == "json" { LogFormat::Json } else { LogFormat::Text };
    logging::init(&Logging::without_settings(format), None)
        .map_err(|error| Failed::new(Exit::Internal, format_args!("no diagnostics: {error}")))?;
    let bind = settings::socket_address(options.bind.as_deref().unwrap_or(BIND))
        .map_err(|problem| Failed::new(Exit::Usage, format_args!("--bind: {problem}")))?;
    if let Some(other) = arguments.log.iter().find(|log| log.kind() != KeyType::Ed25519) {
        let why = "is not the key of a log (type 0x01); is it a witness's?";
        return Err(Failed::new(Exit::Usage, format_args!("--log {other} {why}")));
    }
    let cosigner = read_key(key)?;
    // Two states of one key could sign two histories. Held until the process ends.
    let _key_lock = lock_key(key)?;
    let listener = std::net::TcpListener::bind(bind)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| cannot_listen(bind, &error))?;
    let tls = tls(arguments)?;
    let witness = Witness::open(state, arguments.log.clone(), cosigner)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let (hangup_means, is_tls) = match &tls {
            Some(_) => ("a certificate that changed is taken into use by itself; SIGHUP means nothing here", true),
            None => ("SIGHUP means nothing here", false),
        };
        let Signals { stop, .. } = signals(hangup_means)?;
        let listener = TcpListener::from_std(listener).map_err(|error| cannot_listen(bind, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_listen(bind, &error))?;
        let url = url_of(address, is_tls);
        tracing::info!(address = url, key = %witness.vkey(), "witnessing");
        // Nobody may be listening to standard output; the witness serves all the same.
        let _said = cli::out(&greeting(&url, &witness, state, &arguments.log));
        let certificate = tls.clone().map(|tls| tokio::spawn(tls::watch(tls)));
        serve(listener, tls, Arc::new(witness), stop).await;
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        tracing::info!("stopped");
        Ok(())
    });
    // What is being recorded is whole or not there; nothing waits for it any more.
    runtime.shutdown_background();
    served
}

/// The certificate that it speaks TLS with, where it does. One that has expired is served all the same, as the daemon does, and
/// it is said.
fn tls(arguments: &WitnessArgs) -> Result<Option<Arc<Tls>>, Failed> {
    let (Some(cert), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let files = TlsFiles { cert: cert.clone(), key: key.clone(), key_readers: Readers::Owner };
    let identity = Identity::load(&files, Protocols::Http1)
        .map_err(|error| Failed::new(Exit::Config, format_args!("--tls-cert: {}", crate::error_chain(&error))))?;
    Ok(Some(Arc::new(Tls::new(files, identity))))
}

/// What is said on standard output. The first line is the address and nothing else, for scripts.
fn greeting(url: &str, witness: &Witness, state: &Path, logs: &[Verifier]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let vkey = witness.vkey();
    let mut text = format!("{url}\n\nmregd {version} is witnessing.\n\n");
    text.push_str(&format!("  witness key  {vkey}\n  state        {}\n", state.display()));
    for log in logs {
        text.push_str(&format!("  log          {log}\n"));
    }
    text.push_str(&format!("\nFor a log's policy:\n\n  witness <name> {vkey} {url}\n\n"));
    text
}

/// Keeps other witnesses on this machine from the key. On another machine nobody would notice.
fn lock_key(path: &Path) -> Result<File, Failed> {
    let failed = |error: io::Error| Failed::new(exit_of(&error), format_args!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failed::new(
            Exit::TempFail,
            format_args!(
                "the key in {} is in use by another witness; stop it first. A key has one state, and never two: with a \
                 second one, here or on another host, it could sign two histories",
                path.display()
            ),
        )),
        Err(other) => Err(failed(other.into())),
    }
}

fn read_key(path: &Path) -> Result<Cosigner, Failed> {
    let refused = |exit, why: &dyn std::fmt::Display| {
        Failed::new(exit, format_args!("the witness's key in {}: {why}", path.display()))
    };
    let secret = read_secret_file(path, Readers::Owner).map_err(|error| match &error {
        SecretError::Io(source) => refused(exit_of(source), &error),
        _unfit => refused(Exit::Config, &error),
    })?;
    Cosigner::parse(secret.expose()).map_err(|error| match error {
        KeyError::Use => refused(Exit::Config, &"it is a log's key, and a witness has one of its own: see --new-key"),
        other => refused(Exit::Config, &other),
    })
}

impl From<StateError> for Failed {
    fn from(error: StateError) -> Self {
        let exit = match &error {
            StateError::Path { source, .. } => exit_of(source),
            StateError::Locked { .. } => Exit::TempFail,
            StateError::Foreign { .. } | StateError::NotAState { .. } | StateError::Unreadable { .. } => Exit::Data,
            StateError::LongName { .. } => Exit::Usage,
        };
        Self::new(exit, error)
    }
}
