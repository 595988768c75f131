//! Making a data directory from a generation. Knows in which order that is durable: a directory whose restore was cut off says
//! so, is not started, and is gone on with; one that looks restored is. Refuses to know what is signed next: that is decided at
//! the first start (`store/sled/restored.rs`).
//!
//! 1. `restoring` in the directory names the generation.
//! 2. The journal is verified, then written to `log.restoring`, with the checkpoint, and the word that it came from a backup.
//! 3. Blobs, each durable before the next.
//! 4. The keys, where they are wanted.
//! 5. `log.restoring` becomes `log`; `restoring` goes: from here on it is a registry.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::create::store_failed;
use super::manifest::Manifest;
use super::repository::{Repository, at, digest_of, read_bounded};
use super::segment::{self, Wrong};
use super::verify::Batch;
use super::{Exit, Failed, KEY_OCTETS_MAX, is_kept_key};
use crate::durable::{self, Disk, MODE_DIR, MODE_FILE};
use crate::store::StoreError;
use crate::store::journal::{AppendError, FILE_ENTRIES_MAX, Journal, Record, Spare};
use crate::store::sled::{RESTORING, Restored};

/// What a log is called until it is whole.
const LOG_RESTORING: &str = "log.restoring";

/// A data directory in the making.
pub(super) struct Target {
    dir: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Target {
    /// Begins, or goes on with what was cut off, of the same generation.
    pub(super) fn begin(dir: &Path, generation: &str) -> Result<Self, Failed> {
        durable::create_dir_all(dir, MODE_DIR).map_err(at(dir))?;
        let marker = dir.join(RESTORING);
        if !marker.exists() {
            if fs::read_dir(dir).map_err(at(dir))?.next().is_some() {
                return Err(Failed::new(
                    Exit::Usage,
                    format_args!("{} is not empty; a registry is restored into an empty directory only", dir.display()),
                ));
            }
            durable::write_file(&marker, generation.as_bytes(), MODE_FILE).map_err(at(&marker))?;
        }
        let lock = File::open(&marker).map_err(at(&marker))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let why = format_args!("another restore into {} is under way", dir.display());
                return Err(Failed::new(Exit::TempFail, why));
            }
            Err(error) => return Err(at(&marker)(error.into())),
        }
        let begun = read_bounded(&marker, 64).map_err(at(&marker))?;
        if begun != generation.as_bytes() {
            let why = format_args!(
                "a restore of the generation {} into {} was cut off; go on with that, or remove the directory",
                String::from_utf8_lossy(&begun),
                dir.display()
            );
            return Err(Failed::new(Exit::Usage, why));
        }
        for entry in fs::read_dir(dir).map_err(at(dir))? {
            let entry = entry.map_err(at(dir))?;
            // Of a state that was being derived.
            if entry.file_name().to_string_lossy().starts_with("check-") {
                fs::remove_dir_all(entry.path()).map_err(at(dir))?;
            }
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Gives up before anything of the backup was written.
    pub(super) fn give_up(self) {
        // What stays names itself, and a later restore goes on with it.
        let _ = fs::remove_file(self.dir.join(RESTORING));
        let _ = fs::remove_dir(&self.dir);
    }

    /// Writes the journal, which was verified.
    pub(super) fn journal(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        newest: bool,
        show: &mut dyn FnMut(&'static str, u64, u64),
    ) -> Result<(), Failed> {
        let log_dir = self.dir.join(LOG_RESTORING);
        match fs::remove_dir_all(&log_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&log_dir)(error)),
            _removed_or_absent => {}
        }
        durable::create_dir_all(&log_dir, MODE_DIR).map_err(at(&log_dir))?;
        let mut journal = Journal::open(&Disk::default(), &log_dir, FILE_ENTRIES_MAX).map_err(store_failed)?;
        let mut batch = Batch::new();
        let mut append = |records: &[Record]| {
            journal.append(records, Spare::Keep).map(drop).map_err(|error| match error {
                AppendError::NotWritten(error) => at(&log_dir)(error),
                AppendError::Lost(why) | AppendError::Unknown(why) => store_failed(StoreError::Unavailable(why)),
            })
        };
        for part in &manifest.journal {
            let path = repository.part(part);
            let read = segment::read(&path, part, &mut |_index, record| batch.push(record, &mut append));
            match read {
                Ok(()) => batch.flush(&mut append)?,
                Err(Wrong::Visitor(failed)) => return Err(failed),
                // It was right a moment ago.
                Err(Wrong::Damaged(why)) => return Err(Failed::new(Exit::Data, why)),
            }
            show("entries written", part.to, manifest.size);
        }
        let checkpoint = log_dir.join("checkpoint");
        durable::write_file(&checkpoint, manifest.checkpoint.as_bytes(), MODE_FILE).map_err(at(&checkpoint))?;
        let restored = Restored {
            generation: manifest.generation.clone(),
            origin: manifest.origin.clone(),
            size: manifest.size,
            root: manifest.root.clone(),
            made_at: manifest.made_at.clone(),
            newest,
        };
        restored.write(&log_dir).map_err(at(&log_dir))
    }

    /// Makes it a registry.
    pub(super) fn finish(self) -> Result<(), Failed> {
        let log = self.dir.join("log");
        durable::rename(&self.dir.join(LOG_RESTORING), &log).map_err(at(&log))?;
        let marker = self.dir.join(RESTORING);
        durable::remove(&marker).map_err(at(&marker))
    }
}

/// Refuses a key directory that has other keys already, before anything is written.
pub(super) fn require_no_keys(manifest: &Manifest, key_dir: &Path) -> Result<(), Failed> {
    let entries = match fs::read_dir(key_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(key_dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(at(key_dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_kept_key(&name) && name != "log.mark" {
            continue;
        }
        // What a restore that was cut off has put there.
        let ours = manifest.files.iter().find(|kept| kept.name.strip_prefix("keys/") == Some(&name));
        if ours.is_some_and(|kept| digest_of(&entry.path()).is_ok_and(|digest| digest == kept.sha256)) {
            continue;
        }
        return Err(Failed::new(
            Exit::Usage,
            format_args!(
                "{} has {name} already: leave out --with-keys to go on with the keys that are there, or set MREG_KEY_DIR to \
                 another directory",
                key_dir.display()
            ),
        ));
    }
    Ok(())
}

/// Puts the keys of a generation into the key directory, each for its owner alone.
pub(super) fn keys(repository: &Repository, manifest: &Manifest, key_dir: &Path) -> Result<(), Failed> {
    durable::create_dir_all(key_dir, MODE_DIR).map_err(at(key_dir))?;
    for kept in &manifest.files {
        let Some(name) = kept.name.strip_prefix("keys/").filter(|name| is_kept_key(name)) else { continue };
        let from = repository.generation(&manifest.generation).join(&kept.name);
        let octets = zeroize::Zeroizing::new(read_bounded(&from, KEY_OCTETS_MAX).map_err(at(&from))?);
        let path = key_dir.join(name);
        durable::write_file(&path, &octets, MODE_FILE).map_err(at(&path))?;
    }
    Ok(())
}
