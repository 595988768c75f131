//! What a witness remembers, in a directory of its own:
//!
//! ```text
//! <state>/witness              the witness's vkey, and the lock of the process that has the state open
//! <state>/<log>.checkpoint     the last checkpoint of a log that was accepted, as the log signed it
//! <state>/evidence/<log>.fork-<id>.cosigned, .offered
//!                              a checkpoint that was accepted, and one that contradicts it; both signed by the log
//! <state>/evidence/<log>.unproved-<id>.cosigned, .offered
//!                              a checkpoint that was accepted, and one that was not proved to extend it
//! ```
//!
//! `<log>` is the log's origin, percent-encoded. Knows files and how they become durable; refuses to know which checkpoint
//! may follow which.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use common::audit::{Checkpoint, Note, NoteError, Verifier};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::durable;
use crate::witness::REQUEST_BYTES_MAX;

/// Names the witness that a state belongs to.
const OWNER_FILE: &str = "witness";
/// Below it lies what speaks against a log.
const EVIDENCE_DIR: &str = "evidence";
/// Pairs of notes of each kind that are kept against one log. More say nothing new, and must not fill the disk.
pub const EVIDENCE_MAX: usize = 64;
/// Octets of the longest name of a file without its ending; file systems end at 255.
const NAME_LEN_MAX: usize = 180;
/// What stays as it is in a file's name.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// Why a state can't be used. Each says what to do.
#[derive(Debug, Error)]
pub enum StateError {
    /// A file or directory can't be made, read or written.
    #[error("{}: {source}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another witness; stop it first, or use another --state", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// It was made with another key.
    #[error(
        "{} is the state of the witness {found}, and --key is that of {ours}; a state belongs to one key for ever: \
         give the key it was made with, or name another directory for the new witness", dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is, as the file says.
        found: String,
        /// The vkey of the key that was given.
        ours: String,
    },
    /// There are files, but none that says whose.
    #[error("{} is not empty, and not the state of a witness; name another directory", dir.display())]
    NotAState {
        /// The directory.
        dir: PathBuf,
    },
    /// The last checkpoint of a log can't be read. Going on without it could sign a second history.
    #[error(
        "{} is not a checkpoint that a key given with --log signed ({why}); bring the file back from a backup, or give \
         the key that signed it as well. Without it the witness could sign a second history, so don't remove it",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The origin makes no file name.
    #[error("the log's name `{origin}` is too long for the name of a file")]
    LongName {
        /// The origin.
        origin: String,
    },
}

impl StateError {
    fn path(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Path { path: path.to_owned(), source }
    }
}

/// The directory, held by its lock.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Takes the directory for the witness with this key; makes it if it is not there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path, owner: &Verifier) -> Result<Self, StateError> {
        durable::create_dir_all(path, durable::MODE_DIR).map_err(StateError::path(path))?;
        let file = path.join(OWNER_FILE);
        let is_new = !file.exists();
        if is_new && std::fs::read_dir(path).map_err(StateError::path(path))?.next().is_some() {
            return Err(StateError::NotAState { dir: path.to_owned() });
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(durable::MODE_FILE)
            .open(&file)
            .map_err(StateError::path(&file))?;
        if let Err(error) = rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => StateError::Locked { dir: path.to_owned() },
                other => StateError::path(&file)(other.into()),
            });
        }
        let mut found = String::new();
        (&lock).take(1024).read_to_string(&mut found).map_err(StateError::path(&file))?;
        let ours = owner.to_string();
        match found.trim_end() {
            // New, or a crash between making the file and writing it: no log has a checkpoint yet.
            "" => {
                let written = lock
                    .write_all(format!("{ours}\n").as_bytes())
                    .and_then(|()| lock.sync_all())
                    .and_then(|()| durable::sync_dir(path));
                written.map_err(StateError::path(&file))?;
            }
            found if found == ours => {}
            found => {
                return Err(StateError::Foreign { dir: path.to_owned(), found: found.to_owned(), ours });
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The place of a log's checkpoint.
    ///
    /// # Errors
    /// [`StateError::LongName`].
    pub fn log_file(&self, origin: &str) -> Result<LogFile, StateError> {
        let name = utf8_percent_encode(origin, NAME).to_string();
        if name.len() > NAME_LEN_MAX {
            return Err(StateError::LongName { origin: origin.to_owned() });
        }
        Ok(LogFile {
            path: self.path.join(format!("{name}.checkpoint")),
            evidence: self.path.join(EVIDENCE_DIR),
            name,
            origin: origin.to_owned(),
        })
    }
}

/// A checkpoint that was accepted, and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As the log signed it.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// When it was made durable, milliseconds since the epoch.
    pub recorded_at_ms: i64,
}

/// What a pair of notes says against a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Two roots at one size: nobody but the holder of the log's key can have made them.
    Fork,
    /// The second was not proved to extend the first. A proof is not signed: a stranger may have spoilt it.
    Unproved,
}

impl Against {
    fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Unproved => "unproved",
        }
    }
}

/// Where a log's checkpoint is kept.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    evidence: PathBuf,
    name: String,
    origin: String,
}

impl LogFile {
    /// The last checkpoint; none if there never was one.
    ///
    /// # Errors
    /// [`StateError::Unreadable`] where there is something else than a checkpoint of the log, signed by one of these keys.
    pub fn read(&self, keys: &[Verifier]) -> Result<Option<Kept>, StateError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::path(&self.path)(error)),
        };
        let mut octets = Vec::new();
        (&file).take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut octets).map_err(StateError::path(&self.path))?;
        let since = file.metadata().and_then(|metadata| metadata.modified()).map_err(StateError::path(&self.path))?;
        let recorded_at_ms =
            since.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let unreadable = |why: String| StateError::Unreadable { path: self.path.clone(), why };
        let checkpoint = open(&octets, keys).map_err(|error| unreadable(error.to_string()))?;
        if checkpoint.origin != self.origin {
            return Err(unreadable(format!("it is one of the log `{}`", checkpoint.origin)));
        }
        let note = String::from_utf8(octets).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(Kept { note, checkpoint, recorded_at_ms }))
    }

    /// Replaces the last checkpoint; durable on return.
    ///
    /// # Errors
    /// The old one is still there, or the new one is and may not be durable: nothing may be signed.
    pub fn write(&self, note: &str) -> io::Result<()> {
        durable::write_file(&self.path, note.as_bytes(), durable::MODE_FILE)
    }

    /// Keeps the accepted checkpoint and one that speaks against it, and says where. None where this pair
    /// is there already, or [`EVIDENCE_MAX`] others are, or it can't be kept, which is told in the diagnostics.
    pub fn keep_evidence(&self, against: Against, kept: &Kept, offered: &str) -> Option<String> {
        let id = hex::encode(&Sha256::digest([kept.note.as_bytes(), offered.as_bytes()].concat())[..8]);
        let prefix = format!("{}.{}-", self.name, against.word());
        let stem = self.evidence.join(format!("{prefix}{id}"));
        let place = |ending: &str| PathBuf::from(format!("{}.{ending}", stem.display()));
        if place("offered").exists() {
            return None;
        }
        let is_ours = |entry: &io::Result<std::fs::DirEntry>| {
            entry.as_ref().is_ok_and(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.starts_with(&prefix) && name.ends_with(".offered")
            })
        };
        let count = std::fs::read_dir(&self.evidence).map_or(0, |entries| entries.filter(is_ours).count());
        if count >= EVIDENCE_MAX {
            return None;
        }
        let written = durable::write_file(&place("cosigned"), kept.note.as_bytes(), durable::MODE_FILE)
            .and_then(|()| durable::write_file(&place("offered"), offered.as_bytes(), durable::MODE_FILE));
        match written {
            Ok(()) => Some(format!("{}.{{cosigned,offered}}", stem.display())),
            Err(error) => {
                tracing::error!(%error, cosigned = kept.note, offered, "evidence against a log can't be kept in a file");
                None
            }
        }
    }
}

/// Opens a note that one of the keys signed.
fn open(octets: &[u8], keys: &[Verifier]) -> Result<Checkpoint, NoteError> {
    let note = Note::parse(octets)?;
    note.verify(keys)?;
    Checkpoint::parse(note.text())
}
