//! Files to and from the registry, for the console and for commands: they go on after a lost line, a daemon that restarts,
//! and a console that was left. Knows files and the client; refuses to know screens.
//!
//! | module | what it does |
//! |---|---|
//! | `upload` | files to resumable uploads, and those to a version |
//! | `download` | a file from a version, digest checked |
//! | `kept` | which upload a file was on its way to, in the state folder |
//! | `part` | a file under its provisional name |

pub(crate) mod download;
pub(crate) mod kept;
pub(crate) mod part;
pub(crate) mod upload;

use std::path::Path;
use std::time::{Duration, Instant};

use common::client::{Client, ClientError};
use thiserror::Error;
use tokio::sync::watch;

/// The wait before something is tried again, at first.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest wait that is chosen here.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The longest wait that an answer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Octets read from a file at once.
pub(crate) const PIECE_OCTETS: usize = 256 * 1024;

/// How a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many octets of so many are there.
    Going {
        /// These.
        done: u64,
        /// Of these.
        total: u64,
    },
    /// What it waits for; empty when it goes on.
    Standing(String),
}

/// Why a transfer ended early. Sentences.
#[derive(Debug, Error)]
pub(crate) enum TransferError {
    /// The call.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file here, or what was asked for.
    #[error("{0}")]
    Local(String),
    /// The bytes are not those that were promised.
    #[error("{0}")]
    NotVerified(String),
}

impl From<String> for TransferError {
    fn from(what: String) -> Self {
        Self::Local(what)
    }
}

/// What a transfer works with.
pub(crate) struct Means<'a> {
    /// The way to the daemon.
    pub(crate) client: &'a Client,
    /// The state folder, where there is one.
    pub(crate) folder: Option<&'a Path>,
    /// True while it shall stand still.
    pub(crate) paused: watch::Receiver<bool>,
    /// How long nothing may come through before it is given up.
    pub(crate) patience: Duration,
    /// How often the token is made fresh; none: somebody else does.
    pub(crate) refresh: Option<Duration>,
    /// Told how it stands.
    pub(crate) tell: &'a mut dyn FnMut(Step),
}

impl Means<'_> {
    fn going(&mut self, done: u64, total: u64) {
        (self.tell)(Step::Going { done, total });
    }

    fn standing(&mut self, what: &str) {
        (self.tell)(Step::Standing(what.to_owned()));
    }

    fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Stands still as long as that is wanted.
    async fn while_paused(&mut self) {
        if !self.is_paused() {
            return;
        }
        self.standing("paused");
        while self.is_paused() {
            // Without anybody who could say more it goes on.
            if self.paused.changed().await.is_err() {
                break;
            }
        }
        self.standing("");
    }
}

/// Tries that failed since something came through.
pub(crate) struct Tries {
    since: Instant,
    pause: Duration,
    patience: Duration,
}

impl Tries {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { since: Instant::now(), pause: PAUSE_MIN, patience }
    }

    /// Something came through.
    pub(crate) fn succeeded(&mut self) {
        (self.since, self.pause) = (Instant::now(), PAUSE_MIN);
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The error, where trying again can't help, or was tried for long enough.
    pub(crate) async fn wait(&mut self, means: &mut Means<'_>, error: ClientError) -> Result<(), ClientError> {
        if !may_pass(&error) || self.since.elapsed() >= self.patience {
            return Err(error);
        }
        let asked = match &error {
            ClientError::Problem { retry_after_seconds: Some(seconds), .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        };
        let pause = self.pause.max(asked.min(RETRY_AFTER_MAX));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        means.standing(&format!("{error}; trying again in {} s", pause.as_secs().max(1)));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether the same may go well a while later: no connection, no answer, no room, somebody else at it.
pub(crate) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Offline { .. } | ClientError::Timeout { .. } => true,
        ClientError::Problem { problem, .. } => matches!(problem.status, 408 | 423 | 429 | 503 | 507),
        ClientError::Address(_) | ClientError::Tls { .. } | ClientError::Protocol(_) => false,
    }
}

/// The digits of a digest.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use common::client::ClientError;
    use common::problem::ProblemType;

    use super::may_pass;

    #[test]
    fn what_may_pass() {
        let problem = |kind: ProblemType| ClientError::Problem {
            problem: Box::new(kind.problem("x", "y")),
            retry_after_seconds: None,
        };
        for kind in [ProblemType::StorageFull, ProblemType::Unavailable, ProblemType::UploadBusy] {
            assert!(may_pass(&problem(kind)), "{kind:?}");
        }
        for kind in [ProblemType::Unauthenticated, ProblemType::Invalid, ProblemType::UploadGone, ProblemType::Conflict]
        {
            assert!(!may_pass(&problem(kind)), "{kind:?}");
        }
        assert!(may_pass(&ClientError::Offline { address: String::new(), cause: String::new() }));
        assert!(!may_pass(&ClientError::Protocol(String::new())));
    }
}
