//! Three small files that say how far the log had come: the last checkpoint, the high-water mark beside the signing key,
//! and how far derived data is durable (audit-log.md §8). They are never the truth, only witnesses against it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::audit::{Checkpoint, Hash, Note, NoteError};

use crate::durable;
use crate::store::StoreError;

/// Octets of the checkpoint's file; a note is far smaller.
const CHECKPOINT_OCTETS: usize = 4096;

/// The last checkpoint, `<data>/log/checkpoint`: written in place after each batch, not synced. After a power cut it may
/// be old or torn; it is never ahead of the journal.
#[derive(Debug)]
pub struct CheckpointFile {
    file: File,
    buffer: Vec<u8>,
}

impl CheckpointFile {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file, buffer: vec![0; CHECKPOINT_OCTETS] })
    }

    /// The checkpoint in it; none if there is none or it is torn.
    pub fn read(&self) -> Result<Option<Checkpoint>, StoreError> {
        let mut octets = vec![0; CHECKPOINT_OCTETS];
        let mut filled = 0;
        while filled < octets.len() {
            match self.file.read_at(&mut octets[filled..], filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
        Ok(own_checkpoint(&octets[..end]).ok())
    }

    /// Replaces it.
    pub fn write(&mut self, note: &str) -> Result<(), StoreError> {
        if note.len() >= self.buffer.len() {
            return Err(StoreError::Corrupt("a checkpoint is larger than its file".to_owned()));
        }
        self.buffer.fill(0);
        self.buffer[..note.len()].copy_from_slice(note.as_bytes());
        Ok(self.file.write_all_at(&self.buffer, 0)?)
    }
}

/// The checkpoint of a note from a file of our own. Its signature adds nothing there: who can write the file can read
/// the key beside it.
fn own_checkpoint(note: &[u8]) -> Result<Checkpoint, NoteError> {
    Checkpoint::parse(Note::parse(note)?.text())
}

/// The high-water mark: the last signed checkpoint, in the key directory, so that rolling back or replacing the data is
/// noticed.
#[derive(Debug, Clone)]
pub struct HighWaterMark(pub PathBuf);

impl HighWaterMark {
    /// The mark's checkpoint; none if there never was one.
    pub fn read(&self) -> Result<Option<Checkpoint>, StoreError> {
        match std::fs::read(&self.0) {
            Ok(note) => own_checkpoint(&note).map(Some).map_err(|error| {
                StoreError::Corrupt(format!("the high-water mark {} can't be read: {error}", self.0.display()))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces it, durable on return.
    pub fn write(&self, note: &str) -> Result<(), StoreError> {
        Ok(durable::write_file(&self.0, note.as_bytes(), 0o600)?)
    }
}

/// How far derived data was made durable: `<data>/log/derived`, two lines, size and root.
#[derive(Debug, Clone)]
pub struct DerivedMark(pub PathBuf);

impl DerivedMark {
    /// Size and root; none if it is missing or unreadable, which only costs time.
    pub fn read(&self) -> Option<(u64, Hash)> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        let (size, root) = text.trim_end().split_once('\n')?;
        Some((size.parse().ok()?, root.parse().ok()?))
    }

    /// Replaces it, durable on return.
    pub fn write(&self, size: u64, root: Hash) -> Result<(), StoreError> {
        Ok(durable::write_file(&self.0, format!("{size}\n{root}\n").as_bytes(), 0o600)?)
    }
}
