//! What a restore leaves beside the journal until the first start: `<data>/log/restored`. As long as it is there it is known
//! that the data came from a backup, which may be older than what was signed since. Refuses to know what a backup is.
//!
//! A high-water mark tells whether it is: the key directory that was there before the data was lost has one, and a restore
//! never makes one. Without it nobody can tell, and signing what comes next under the same name might be a second history: so
//! that is refused, until somebody accepts it under a new name of the log, or said when restoring that nothing was signed since.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{OpenError, SledOptions};
use crate::durable;
use crate::store::mark::HighWaterMark;

/// Where the data came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The backup's generation.
    pub generation: String,
    /// The log's name at its checkpoint.
    pub origin: String,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// Root of them, in base64.
    pub root: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Whether who restored it said that nothing was signed since.
    pub newest: bool,
}

/// A file in a data directory that is being restored: its generation's id.
pub const RESTORING: &str = "restoring";

/// Refuses a directory whose restore has not ended: what is missing would be taken for an empty registry.
pub(super) fn refuse_unfinished(data_dir: &Path) -> Result<(), OpenError> {
    let path = data_dir.join(RESTORING);
    if !path.exists() {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "a restore into {} is under way or was cut off: run `mregd restore` again, which goes on with it, or remove the directory",
        data_dir.display()
    )))
}

fn path(log_dir: &Path) -> PathBuf {
    log_dir.join("restored")
}

impl Restored {
    /// What the directory of a log says; none where it was not restored, or was started since.
    ///
    /// # Errors
    /// The file can't be read, or says something else.
    pub fn read(log_dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = path(log_dir);
        let octets = match std::fs::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::path(&path)(error)),
        };
        let parsed = serde_json::from_slice(&octets).map(Some);
        parsed.map_err(|error| {
            OpenError::Refused(format!("{} can't be read: {error}; restore the backup again", path.display()))
        })
    }

    /// Writes it, durable on return.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn write(&self, log_dir: &Path) -> std::io::Result<()> {
        let octets = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        durable::write_file(&path(log_dir), &octets, durable::MODE_FILE)
    }

    /// Forgets it, durably, once a checkpoint was signed.
    pub(super) fn forget(log_dir: &Path) -> Result<(), OpenError> {
        let path = path(log_dir);
        if path.exists() { durable::remove(&path).map_err(OpenError::path(&path)) } else { Ok(()) }
    }

    /// Whether nothing tells what was signed since.
    pub(super) fn is_in_question(&self, mark: &HighWaterMark) -> bool {
        !self.newest && mark.last().checkpoint.is_none()
    }

    /// Why it is not gone on with.
    pub(super) fn refusal(&self, options: &SledOptions) -> OpenError {
        OpenError::Refused(format!(
            "the data in {} was restored from the backup {} of {} entries, made at {}, and the key directory {} has no \
             high-water mark: nothing tells what was signed after that, and to sign other entries in its place would be a \
             second history. Put the key directory of the lost registry in its place (MREG_KEY_DIR); only if that is lost, \
             `mregd log accept-rollback` goes on under a new name of the log. If the registry was stopped for good before \
             the backup was made, restore it once more with --newest",
            options.data_dir.display(),
            self.generation,
            self.size,
            self.made_at,
            options.key_dir.display()
        ))
    }
}
