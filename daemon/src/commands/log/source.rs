//! Where a log is read from: an export's files, a registry's routes, or the registry of this machine. Knows how resources
//! are had by their names (`checkpoint`, `tile/…`); refuses to know what is in them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use common::audit::{BUNDLE_LEAF_MAX, NOTE_LEN_MAX, TILE_WIDTH, TileResource, Verifier};
use common::client::{Answer, Client, ClientError};
use common::problem::Problem;
use common::shown::shown;
use common::tls::Trust;
use http::{Method, StatusCode};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::cli::{Exit, Remote};
use crate::commands::way::{Way, here};
use crate::commands::{Failed, exit_of_secret, runtime};
use crate::config::secret::{Readers, Secret, read_secret_file};
use crate::config::{self, Config, Options};
use crate::registry::Registry;
use crate::registry::error::RegistryError;

/// The signed note, as a resource.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// Where a registry serves its log.
const LOG_PATH: &str = "/log";

/// Requests under way at once. Each waits for the network, or for the entry that the reading of a bundle is.
const LANES: usize = 4;

/// How often an address is asked before it counts as out of reach.
const TRIES: u32 = 3;

/// The wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Characters of what a refusal says that are kept, for each of many faults.
const SAID_CHARS_MAX: usize = 300;

/// The longest wait that an answer may ask for: beyond it, whoever verifies decides.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Octets of the longest resource: a full bundle of the longest leaves.
const OCTETS_MAX: usize = TILE_WIDTH as usize * (2 + BUNDLE_LEAF_MAX);

/// Why a resource could not be had.
#[derive(Debug)]
pub(super) enum Lost {
    /// It is not there: a fault of the log.
    Missing(String),
    /// It could not be asked for: no word on the log.
    Failed(Failed),
}

impl Lost {
    /// Where its absence is no fault but the end.
    pub(super) fn into_failed(self) -> Failed {
        match self {
            Self::Missing(why) => Failed::new(Exit::Data, format_args!("the log has no checkpoint: {why}")),
            Self::Failed(failed) => failed,
        }
    }
}

/// A log, by the names of its resources. Asked from several threads at once.
pub(super) trait Source: Send + Sync {
    /// The octets of a resource.
    fn get(&self, resource: &str) -> Result<Vec<u8>, Lost>;

    /// Requests that should be under way at once.
    fn lanes(&self) -> usize;

    /// Whether entries can be asked for.
    fn has_entries(&self) -> bool;
}

/// The registry or export at an address.
pub(super) fn remote(url: &str, remote: &Remote) -> Result<Box<dyn Source>, Failed> {
    let token = match &remote.token_file {
        Some(path) => Some(token_of(path)?),
        None => config::token_of_process(),
    };
    Ok(Box::new(Http::new(url, token, remote)?))
}

fn token_of(path: &Path) -> Result<Secret, Failed> {
    // A token given where its file's name should be must not be repeated on the terminal.
    if !path.exists() && path.to_string_lossy().split('.').count() == 3 && path.as_os_str().len() > 100 {
        return Err(Failed::new(
            Exit::Usage,
            "--token-file takes the name of a file, and that looks like a token itself",
        ));
    }
    read_secret_file(path, Readers::Owner).map_err(|error| {
        Failed::new(exit_of_secret(&error), format_args!("the token from {}: {error}", path.display()))
    })
}

/// The registry of this machine, by way of its daemon while it runs.
pub(super) fn local(options: &Options) -> Result<Box<dyn Source>, Failed> {
    let loaded = Config::of_process(options).map_err(|refused| {
        let mistakes: Vec<String> = refused.mistakes.iter().map(ToString::to_string).collect();
        Failed::new(Exit::Config, mistakes.join("; "))
    })?;
    let runtime = runtime()?;
    let way = runtime.block_on(Way::open(&loaded.config))?;
    Ok(Box::new(Local { way: Mutex::new(Some(way)), runtime }))
}

/// The keys of an option: each a key, or a file with one a line.
pub(in crate::commands) fn pins(given: &[String]) -> Result<Vec<Verifier>, Failed> {
    let mut pins = Vec::new();
    for text in given {
        if let Ok(key) = text.parse() {
            pins.push(key);
            continue;
        }
        let unfit = |why: &dyn std::fmt::Display| {
            Failed::new(Exit::Usage, format_args!("--vkey {text}: neither a key nor a file with one ({why})"))
        };
        let octets = read_bounded(Path::new(text), NOTE_LEN_MAX).map_err(|error| {
            if text.matches('+').count() >= 2 { unfit(&"it looks like a key, but isn't whole") } else { unfit(&error) }
        })?;
        let lines = String::from_utf8(octets).map_err(|error| unfit(&error))?;
        let found = pins.len();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            pins.push(line.parse().map_err(|error| unfit(&error))?);
        }
        if pins.len() == found {
            return Err(unfit(&"it is empty"));
        }
    }
    Ok(pins)
}

/// Reads a file of at most so many octets.
pub(super) fn read_bounded(path: &Path, octets_max: usize) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?, octets_max)
}

/// Reads a file of a directory that others may have filled: nothing in it is waited for, and only a file is read.
pub(super) fn read_file(path: &Path, octets_max: usize) -> io::Result<Vec<u8>> {
    let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
    // A pipe nobody writes to would be waited for at its opening.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket.
        Err(Errno::NXIO) => return Err(not_a_file()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    read_open(file, octets_max)
}

fn read_open(file: File, octets_max: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(octets_max).unwrap_or(u64::MAX);
    let mut octets = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(limit)).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut octets)?;
    if octets.len() > octets_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {octets_max} octets")));
    }
    Ok(octets)
}

/// The files of an export.
pub(super) struct Files(pub(super) PathBuf);

impl Source for Files {
    fn get(&self, resource: &str) -> Result<Vec<u8>, Lost> {
        let path = self.0.join(resource);
        read_file(&path, OCTETS_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Lost::Missing("there is no such file".to_owned()),
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => Lost::Missing(error.to_string()),
            io::ErrorKind::PermissionDenied => {
                Lost::Failed(Failed::new(Exit::NoPermission, format_args!("{}: {error}", path.display())))
            }
            _other => Lost::Failed(Failed::new(Exit::Io, format_args!("{}: {error}", path.display()))),
        })
    }

    fn lanes(&self) -> usize {
        1
    }

    fn has_entries(&self) -> bool {
        true
    }
}

/// The routes of a registry, or an export that is served.
struct Http {
    client: Client,
    /// The path above the resources.
    base: String,
    /// Read again when the token is refused: a log may take longer to read than a token lives.
    token_file: Option<PathBuf>,
    runtime: Runtime,
}

impl Http {
    fn new(url: &str, token: Option<Secret>, remote: &Remote) -> Result<Self, Failed> {
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        // A socket's path is all path, and belongs to the address.
        let is_socket = url.starts_with("unix:");
        let path = url[after_scheme..].find('/').filter(|_| !is_socket).map_or(url.len(), |at| after_scheme + at);
        let (host, path) = url.split_at(path);
        let base = if path.trim_matches('/').is_empty() { LOG_PATH } else { path.trim_end_matches('/') };
        // Without a token nothing is sent that others should not see, and what comes back proves itself.
        let allow_plain = remote.allow_plain_http || token.is_none();
        let user_agent = concat!("mregd/", env!("CARGO_PKG_VERSION"));
        let trust = Trust { ca_file: remote.ca_file.clone(), pin: remote.tls_pin };
        let client = Client::with_trust(host, user_agent, allow_plain, &trust)
            .map_err(|error| Failed::new(Exit::Usage, error))?;
        client.set_token(token.map(|token| Zeroizing::new(token.expose().to_owned())));
        Ok(Self { client, base: base.to_owned(), token_file: remote.token_file.clone(), runtime: runtime()? })
    }

    fn ask(&self, resource: &str) -> Result<Vec<u8>, Again> {
        let path = format!("{}/{resource}", self.base);
        let Answer { status, retry_after_seconds, body } = match self.runtime.block_on(self.client.octets(&path)) {
            Ok(answer) => answer,
            // Whom to trust does not change by asking again.
            Err(error @ ClientError::Tls { .. }) => return Err(Again::No(Failed::new(Exit::TempFail, error).into())),
            Err(error @ ClientError::Address(_)) => return Err(Again::No(Failed::new(Exit::Usage, error).into())),
            Err(error) => return Err(Again::Yes(Failed::new(Exit::TempFail, error), None)),
        };
        if status == StatusCode::OK {
            return Ok(body.into());
        }
        let (address, said) = (self.client.address(), said(status, &body));
        let failed = |exit| Failed::new(exit, format_args!("{address}{path}: {said}"));
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Again::No(Lost::Missing(said)),
            StatusCode::UNAUTHORIZED => Again::WithToken(failed(Exit::NoPermission)),
            StatusCode::FORBIDDEN => Again::No(failed(Exit::NoPermission).into()),
            StatusCode::TOO_MANY_REQUESTS => Again::Yes(failed(Exit::TempFail), retry_after_seconds),
            status if status.is_server_error() => Again::Yes(failed(Exit::TempFail), retry_after_seconds),
            _other => Again::No(failed(Exit::TempFail).into()),
        })
    }
}

/// Whether it is worth asking again.
enum Again {
    /// After as many seconds as the answer asks for.
    Yes(Failed, Option<u64>),
    /// With a newer token, if there is one.
    WithToken(Failed),
    No(Lost),
}

impl From<Failed> for Lost {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl Source for Http {
    fn get(&self, resource: &str) -> Result<Vec<u8>, Lost> {
        let (mut tries, mut token_file) = (1, self.token_file.as_deref());
        loop {
            match self.ask(resource) {
                Ok(octets) => return Ok(octets),
                Err(Again::No(lost)) => return Err(lost),
                Err(Again::WithToken(failed)) => match token_file.take() {
                    Some(path) => self.client.set_token(Some(Zeroizing::new(token_of(path)?.expose().to_owned()))),
                    None => return Err(failed.into()),
                },
                Err(Again::Yes(failed, _)) if tries >= TRIES => return Err(failed.into()),
                Err(Again::Yes(_, seconds)) => {
                    let asked = Duration::from_secs(seconds.unwrap_or(0)).min(RETRY_AFTER_MAX);
                    std::thread::sleep(asked.max(PAUSE * tries));
                }
            }
            tries += 1;
        }
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn has_entries(&self) -> bool {
        self.client.has_token()
    }
}

/// The detail of a problem document, cut and fit to be shown, or the status.
fn said(status: StatusCode, octets: &[u8]) -> String {
    serde_json::from_slice::<Problem>(octets)
        .map_or_else(|_| status.to_string(), |problem| shown(&problem.detail, SAID_CHARS_MAX))
}

/// The registry of this machine.
struct Local {
    /// Taken at the end alone.
    way: Mutex<Option<Way>>,
    runtime: Runtime,
}

impl Source for Local {
    fn get(&self, resource: &str) -> Result<Vec<u8>, Lost> {
        let mut way = self.way.lock().expect("no holder of the way panics");
        self.runtime.block_on(async {
            match way.as_mut().expect("the way is there until the end") {
                Way::Running(operator) => {
                    let lost =
                        |error| Failed::new(Exit::TempFail, format_args!("the running daemon didn't answer: {error}"));
                    let target = format!("{LOG_PATH}/{resource}");
                    let (status, octets) = operator.ask(Method::GET, &target, None).await.map_err(lost)?;
                    match status {
                        StatusCode::OK => Ok(octets.into()),
                        StatusCode::NOT_FOUND => Err(Lost::Missing(said(status, &octets))),
                        status => Err(Failed::new(Exit::TempFail, said(status, &octets)).into()),
                    }
                }
                Way::Stopped(registry) => read(registry, resource).await,
            }
        })
    }

    fn lanes(&self) -> usize {
        1
    }

    fn has_entries(&self) -> bool {
        true
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Ok(way) = self.way.get_mut()
            && let Some(way) = way.take()
        {
            self.runtime.block_on(way.close());
        }
    }
}

async fn read(registry: &Registry, resource: &str) -> Result<Vec<u8>, Lost> {
    let lost = |error: RegistryError| match error {
        RegistryError::NotFound { .. } => Lost::Missing(error.to_string()),
        other => Lost::Failed(other.into()),
    };
    if resource == CHECKPOINT {
        return Ok(registry.log_checkpoint(&here()).map_err(lost)?.note.clone().into_bytes());
    }
    match resource.parse() {
        Ok(TileResource::Hashes(path)) => {
            let hashes = registry.log_tile(&here(), path).await.map_err(lost)?;
            Ok(hashes.iter().flat_map(|hash| hash.0).collect())
        }
        Ok(TileResource::Entries(path)) => {
            let mut bundle = registry.log_bundle(&here(), path).await.map_err(|failure| lost(failure.error))?.value;
            let mut octets = Vec::new();
            while let Some(piece) = bundle.next().await.map_err(lost)? {
                octets.extend_from_slice(&piece);
            }
            Ok(octets)
        }
        Err(error) => Err(Lost::Missing(error.to_string())),
    }
}
