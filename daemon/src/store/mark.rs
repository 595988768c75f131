//! Small files that say how far the log had come: the last checkpoint, the high-water mark beside the signing key, how far
//! derived data is durable, and whether the view is in doubt (audit-log.md §8). They are never the truth, only witnesses against it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::audit::{Checkpoint, Hash, Note, NoteError, Verifier};

use crate::clock;
use crate::durable::{self, Disk, DiskFile};
use crate::store::StoreError;

/// Most octets of the checkpoint's file that are looked at; a note is far smaller.
const CHECKPOINT_OCTETS_MAX: u64 = 64 * 1024;

/// The last checkpoint, `<data>/log/checkpoint`: written in place after each batch, not synced. After a power cut it may
/// be old or torn; it is never ahead of the journal.
#[derive(Debug)]
pub struct CheckpointFile {
    file: DiskFile,
    /// Octets of what is in it.
    octets: u64,
}

impl CheckpointFile {
    /// Opens or makes it.
    pub fn open(disk: &Disk, path: &Path) -> Result<Self, StoreError> {
        let file = disk.open_or_create(path)?;
        let octets = file.metadata()?.len();
        Ok(Self { file, octets })
    }

    /// The checkpoint in it; none if there is none or it is torn, which its signature tells.
    pub fn read(&self, keys: &[Verifier]) -> Result<Option<Checkpoint>, StoreError> {
        if self.octets > CHECKPOINT_OCTETS_MAX {
            return Ok(None);
        }
        let mut note = vec![0; usize::try_from(self.octets).unwrap_or(0)];
        self.file.read_exact_at(&mut note, 0)?;
        Ok(Checkpoint::open(&note, keys).ok().map(|signed| signed.checkpoint))
    }

    /// Replaces it.
    pub fn write(&mut self, note: &str) -> Result<(), StoreError> {
        self.file.write_all_at(note.as_bytes(), 0)?;
        let octets = note.len() as u64;
        if octets < self.octets {
            self.file.set_len(octets)?;
        }
        self.octets = octets;
        Ok(())
    }
}

/// What [`CheckpointFile::read`] gives, without making the file.
pub fn read_checkpoint(disk: &Disk, path: &Path, keys: &[Verifier]) -> Result<Option<Checkpoint>, StoreError> {
    match disk.metadata(path) {
        Ok(_there) => CheckpointFile::open(disk, path)?.read(keys),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The checkpoint of a note from a file of our own. Its signature adds nothing there: who can write the file can read
/// the key beside it.
fn own_checkpoint(note: &[u8]) -> Result<Checkpoint, NoteError> {
    Checkpoint::parse(Note::parse(note)?.text())
}

/// The high-water mark: the last signed checkpoint, in the key directory, so that rolling back or replacing the data is
/// noticed. Shared by the one who signs, who holds each new head against it, and the one who advances it.
#[derive(Debug)]
pub struct HighWaterMark {
    path: PathBuf,
    disk: Disk,
    last: Mutex<Marked>,
    /// What was being written when writing failed: it may have arrived.
    tried: Mutex<Option<Checkpoint>>,
}

/// What the mark says.
#[derive(Debug, Clone, Default)]
pub struct Marked {
    /// The checkpoint; none if there never was one.
    pub checkpoint: Option<Checkpoint>,
    /// When it was written, milliseconds since the epoch.
    pub at_ms: Option<i64>,
}

impl HighWaterMark {
    /// Reads it.
    pub fn open(disk: &Disk, path: PathBuf) -> Result<Self, StoreError> {
        let checkpoint = read_mark(disk, &path)?;
        let written = checkpoint.as_ref().and_then(|_there| std::fs::metadata(&path).ok());
        let at_ms = written.map(|file| file.mtime() * clock::SECOND_MS + file.mtime_nsec() / 1_000_000);
        Ok(Self { path, disk: disk.clone(), last: Mutex::new(Marked { checkpoint, at_ms }), tried: Mutex::new(None) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    pub fn last(&self) -> Marked {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it, durable on return. One that isn't what was last read or written was replaced by somebody else who signs
    /// with the same key, or who put back an old copy: that is an error, and nothing is written.
    pub fn write(&self, note: &str) -> Result<(), StoreError> {
        let checkpoint = own_checkpoint(note.as_bytes()).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let there = read_mark(&self.disk, &self.path)?;
        // The lock isn't held over I/O: whoever signs waits for it, and there is one who writes.
        let mut last = self.last();
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.is_some() && there == *tried {
            last = Marked { checkpoint: tried.take(), at_ms: Some(clock::now_ms()) };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last.clone();
        }
        if there.is_some() && there != last.checkpoint {
            return Err(StoreError::Corrupt(format!(
                "the high-water mark {} was replaced while the daemon was running: another daemon signs with the same key, \
                 or an old copy was put back. Give each data directory a key directory of its own",
                self.path.display()
            )));
        }
        if there.is_none() && last.checkpoint.is_some() {
            tracing::warn!(path = %self.path.display(), "the high-water mark was removed; it is made anew");
        }
        *tried = Some(checkpoint.clone());
        durable::write_file_on(&self.disk, &self.path, note.as_bytes(), durable::MODE_FILE)?;
        *tried = None;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Marked { checkpoint: Some(checkpoint), at_ms: Some(clock::now_ms()) };
        Ok(())
    }
}

fn read_mark(disk: &Disk, path: &Path) -> Result<Option<Checkpoint>, StoreError> {
    match disk.read(path) {
        Ok(note) => own_checkpoint(&note).map(Some).map_err(|error| {
            StoreError::Corrupt(format!(
                "the high-water mark {} can't be read: {error}. Put back the copy that belongs to the newest data; without \
                 one nothing tells whether the data is the newest",
                path.display()
            ))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How far derived data was made durable: `<data>/log/derived`, two lines, size and root.
#[derive(Debug, Clone)]
pub struct DerivedMark {
    /// Where it is.
    pub path: PathBuf,
    /// The way there.
    pub disk: Disk,
}

impl DerivedMark {
    /// Size and root; none if it is missing or unreadable, which only costs time.
    pub fn read(&self) -> Option<(u64, Hash)> {
        let text = String::from_utf8(self.disk.read(&self.path).ok()?).ok()?;
        let (size, root) = text.trim_end().split_once('\n')?;
        Some((size.parse().ok()?, root.parse().ok()?))
    }

    /// Replaces it, durable on return.
    pub fn write(&self, size: u64, root: Hash) -> Result<(), StoreError> {
        Ok(durable::write_file_on(&self.disk, &self.path, format!("{size}\n{root}\n").as_bytes(), 0o600)?)
    }
}

/// Says that the view failed while it was open: `<data>/log/view-doubtful`. sled can't be trusted to notice its own damage
/// when it is opened again, so the next start makes the view anew.
#[derive(Debug, Clone)]
pub struct ViewDoubt {
    /// Where it is.
    pub path: PathBuf,
    /// The way there.
    pub disk: Disk,
}

impl ViewDoubt {
    /// Raises it. If even that fails, the next start may fail the same way, and try again.
    pub fn raise(&self) {
        if let Err(error) = durable::write_file_on(&self.disk, &self.path, b"", 0o600) {
            tracing::error!(%error, "it can't be noted that the view failed");
        }
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.path.exists()
    }

    /// Lays it down.
    pub fn lay_down(&self) -> Result<(), StoreError> {
        Ok(durable::remove_on(&self.disk, &self.path)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use common::audit::{Checkpoint, Ed25519Signer, Hash};

    use super::HighWaterMark;
    use crate::durable::{Disk, Operation, Verdict, Watch};

    /// A disk on which what is armed fails, once.
    #[derive(Default)]
    struct Once {
        sync_dir: AtomicBool,
        create: AtomicBool,
    }

    impl Watch for Once {
        fn watch(&self, operation: Operation<'_>) -> Verdict {
            let fails = match operation {
                Operation::SyncDir(_) => self.sync_dir.swap(false, Ordering::Relaxed),
                Operation::Create(_) => self.create.swap(false, Ordering::Relaxed),
                _ => false,
            };
            if fails { Verdict::Fail(io::Error::other("armed")) } else { Verdict::Do }
        }
    }

    /// A mark that arrived although its writing failed is our own, whatever fails after it.
    #[test]
    fn a_mark_that_arrived_with_an_error_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let key = Ed25519Signer::from_seed("test.example/log", &[7; 32]).unwrap();
        let note = |size| {
            Checkpoint { origin: "test.example/log".to_owned(), size, root: Hash([1; 32]) }.sign(&[&key]).unwrap()
        };
        let once = Arc::new(Once::default());
        let mark = HighWaterMark::open(&Disk::watched(Arc::<Once>::clone(&once)), dir.path().join("log.mark")).unwrap();
        mark.write(&note(1)).unwrap();
        once.sync_dir.store(true, Ordering::Relaxed);
        mark.write(&note(2)).unwrap_err();
        once.create.store(true, Ordering::Relaxed);
        mark.write(&note(3)).unwrap_err();
        assert_eq!(mark.last().checkpoint.unwrap().size, 2);
        mark.write(&note(4)).unwrap();
        assert_eq!(mark.last().checkpoint.unwrap().size, 4);
        std::fs::write(mark.path(), note(3)).unwrap();
        mark.write(&note(5)).unwrap_err();
    }
}
