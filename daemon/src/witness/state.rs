//! What a witness remembers, in a directory of its own:
//!
//! ```text
//! <state>/witness              the witness's vkey, and the lock of the process that has the state open
//! <state>/<log>.checkpoint     the last checkpoint of a log that was accepted, with the log's signatures and the
//!                              witness's cosignature, whose time no later one goes behind
//! <state>/evidence/<log>.fork-<id>.cosigned, .offered
//!                              a checkpoint that was accepted, and one that contradicts it; both signed by the log
//! <state>/evidence/<log>.unproved-<id>.cosigned, .offered
//!                              a checkpoint that was accepted, and one that was not proved to extend it
//! ```
//!
//! `<log>` is the log's origin, percent-encoded. Knows files and how they become durable; refuses to know which checkpoint
//! may follow which.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use common::audit::{Checkpoint, NOTE_LEN_MAX, Note, NoteError, SIGNATURES_MAX, Verifier};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::durable;

/// Names the witness that a state belongs to.
const OWNER_FILE: &str = "witness";
/// Below it lies what speaks against a log.
const EVIDENCE_DIR: &str = "evidence";
/// Pairs of notes of each kind that are kept against one log, so that they can't fill the disk. One more fork says nothing
/// new; of the unproved the newest are kept.
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
        "{} is not a checkpoint that a key given with --log signed ({why}); it is all that \
         keeps the witness from cosigning a second history, so don't remove it, nor put an older copy in its place. Bring \
         back the newest, or give the key that signed it as well",
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
    /// With the signatures of the log, and the cosignature.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The time that the cosignature states, seconds since the epoch; 0 where there is none.
    pub cosigned_at_s: u64,
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

/// What became of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It was put there.
    Added(String),
    /// It is there already.
    There(String),
    /// [`EVIDENCE_MAX`] pairs are there, or it can't be kept, which is told in the diagnostics.
    NotKept,
}

impl Evidence {
    /// Whether it was not there before.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Added(_))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(stem) | Self::There(stem) => write!(f, "{stem}.{{cosigned,offered}}"),
            Self::NotKept => f.write_str("not kept"),
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
    pub fn read(&self, keys: &[Verifier], witness: &Verifier) -> Result<Option<Kept>, StateError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::path(&self.path)(error)),
        };
        let mut octets = Vec::new();
        (&file).take(NOTE_LEN_MAX as u64 + 1).read_to_end(&mut octets).map_err(StateError::path(&self.path))?;
        let since = file.metadata().and_then(|metadata| metadata.modified()).map_err(StateError::path(&self.path))?;
        let recorded_at_ms =
            since.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let unreadable = |why: String| StateError::Unreadable { path: self.path.clone(), why };
        let (checkpoint, cosigned_at_s) =
            open(&octets, keys, witness).map_err(|error| unreadable(error.to_string()))?;
        if checkpoint.origin != self.origin {
            return Err(unreadable(format!("it is one of the log `{}`", checkpoint.origin)));
        }
        let note = String::from_utf8(octets).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(Kept { note, checkpoint, cosigned_at_s, recorded_at_ms }))
    }

    /// Replaces the last checkpoint; durable on return.
    ///
    /// # Errors
    /// The old one is still there, or the new one is and may not be durable: nothing may be signed.
    pub fn write(&self, note: &str) -> io::Result<()> {
        durable::write_file(&self.path, note.as_bytes(), durable::MODE_FILE)
    }

    /// Keeps the accepted checkpoint and one that speaks against it. A pair is known by what the two say, for anyone can
    /// add lines below a note.
    pub fn keep_evidence(&self, against: Against, kept: &Kept, offered: &str) -> Evidence {
        let says = |note: &str| Sha256::digest(note.split("\n\n").next().unwrap_or_default());
        let id = hex::encode(&Sha256::digest([says(&kept.note), says(offered)].concat())[..8]);
        let prefix = format!("{}.{}-", self.name, against.word());
        let place = |id: &str, ending: &str| self.evidence.join(format!("{prefix}{id}.{ending}"));
        let stem = self.evidence.join(format!("{prefix}{id}")).display().to_string();
        if place(&id, "offered").exists() {
            return Evidence::There(stem);
        }
        let there = self.pairs(&prefix);
        if there.len() >= EVIDENCE_MAX {
            match against {
                Against::Fork => return Evidence::NotKept,
                Against::Unproved => {
                    for oldest in &there[..=there.len() - EVIDENCE_MAX] {
                        for ending in ["offered", "cosigned"] {
                            if let Err(error) = std::fs::remove_file(place(oldest, ending)) {
                                tracing::warn!(%error, "old evidence can't be removed to make room for newer");
                            }
                        }
                    }
                }
            }
        }
        let written = durable::write_file(&place(&id, "cosigned"), kept.note.as_bytes(), durable::MODE_FILE)
            .and_then(|()| durable::write_file(&place(&id, "offered"), offered.as_bytes(), durable::MODE_FILE));
        match written {
            Ok(()) => Evidence::Added(stem),
            Err(error) => {
                tracing::error!(%error, cosigned = kept.note, offered, "evidence against a log can't be kept in a file");
                Evidence::NotKept
            }
        }
    }

    /// The ids of the pairs whose files begin so, the oldest first.
    fn pairs(&self, prefix: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.evidence) else { return Vec::new() };
        let mut pairs: Vec<(SystemTime, String)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let id = name.strip_prefix(prefix)?.strip_suffix(".offered")?;
                // A log's name may begin like another's.
                let is_id = id.len() == 16 && id.bytes().all(|octet| octet.is_ascii_hexdigit());
                let since = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH);
                is_id.then(|| (since, id.to_owned()))
            })
            .collect();
        pairs.sort();
        pairs.into_iter().map(|(_since, id)| id).collect()
    }
}

/// An offered note with the witness's cosignature. What strangers may have put below it must not keep it from being read
/// again: the log's lines come first, none bears the witness's name, and there are no more than a note may have.
pub fn with_cosignature(note: &str, keys: &[Verifier], witness: &Verifier, line: &str) -> String {
    let (text, lines) = note.split_once("\n\n").unwrap_or((note, ""));
    let ours = format!("— {} ", witness.name());
    let (of_log, others): (Vec<&str>, Vec<&str>) = lines
        .split_inclusive('\n')
        .filter(|line| !line.starts_with(&ours))
        .partition(|line| signed(text, line, keys).is_some());
    let lines: String = of_log.into_iter().chain(others).take(SIGNATURES_MAX - 1).chain([line]).collect();
    format!("{text}\n\n{lines}")
}

/// Opens a note that one of the keys signed; with the newest time of the witness's cosignatures.
fn open(octets: &[u8], keys: &[Verifier], witness: &Verifier) -> Result<(Checkpoint, u64), NoteError> {
    let note = Note::parse(octets)?;
    let text = note.text().trim_end_matches('\n');
    let lines =
        std::str::from_utf8(octets).ok().and_then(|octets| octets.split_once("\n\n")).map_or("", |(_, lines)| lines);
    // Line by line: one that bears a key's name and is not its signature is a stranger's.
    let signed_by = |keys: &[Verifier]| -> Vec<u64> {
        lines.split_inclusive('\n').filter_map(|line| signed(text, line, keys)).collect()
    };
    if signed_by(keys).is_empty() {
        return Err(NoteError::NoKnownKey);
    }
    let cosigned_at_s = signed_by(std::slice::from_ref(witness)).into_iter().max().unwrap_or(0);
    Ok((Checkpoint::parse(note.text())?, cosigned_at_s))
}

/// Whether the line is a signature of the text by one of the keys; the time it states, or 0.
fn signed(text: &str, line: &str, keys: &[Verifier]) -> Option<u64> {
    let note = format!("{text}\n\n{line}");
    let signatures = Note::parse(note.as_bytes()).ok()?.verify(keys).ok()?;
    Some(signatures.first()?.cosigned_at.unwrap_or(0))
}
