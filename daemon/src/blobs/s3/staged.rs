//! An upload in the making: a local file, which inspection reads, and which is sent when it is kept. Knows the file; how it
//! is sent is `send`'s.
//!
//! Nothing of it is synced: it is not what an answer rests on, and what a crash leaves is swept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::digest::Digest;

use super::{Store, read_file_at, send};
use crate::blobs::{BlobError, Staged};

/// A staged file. Invariant: `path` names it as long as this exists.
pub(super) struct S3Staged {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    len: u64,
}

/// Begins one.
pub(super) fn stage(store: &Arc<Store>) -> Result<S3Staged, BlobError> {
    let path = store.options.dir.join("staging").join(uuid::Uuid::new_v4().simple().to_string());
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o400).open(&path)?;
    Ok(S3Staged { store: Arc::clone(store), path, file, len: 0 })
}

/// Begins one with the octets of a partial blob, which stays.
pub(super) fn stage_partial(store: &Arc<Store>, name: &str) -> Result<S3Staged, BlobError> {
    let path = store.options.dir.join("staging").join(uuid::Uuid::new_v4().simple().to_string());
    let (file, len) = store.partials.stage(name, &path, 0o400)?;
    Ok(S3Staged { store: Arc::clone(store), path, file, len })
}

/// Removes all that are there; how many there were.
pub(super) fn sweep(dir: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(dir)? {
        std::fs::remove_file(entry?.path())?;
        removed += 1;
    }
    Ok(removed)
}

impl S3Staged {
    fn send(&self, digest: &Digest, replace: bool) -> Result<(), BlobError> {
        let read = |offset: u64, buf: &mut [u8]| {
            let read = read_file_at(&self.file, offset, buf)?;
            if read < buf.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        };
        send::send(&self.store, digest, self.len, &read, replace)
    }
}

impl Staged for S3Staged {
    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(octets)?;
        self.len += octets.len() as u64;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
        Ok(read_file_at(&self.file, offset, buf)?)
    }

    fn file(&self) -> Option<io::Result<File>> {
        // Opened again: the descriptor that made it can write.
        Some(File::open(&self.path))
    }

    fn keep(self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        self.send(digest, false)
    }

    fn replace(self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        self.send(digest, true)
    }
}

impl Drop for S3Staged {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            // Nobody is left to be told, and the next start sweeps.
            tracing::warn!(path = %self.path.display(), %error, "staged upload could not be removed");
        }
    }
}
