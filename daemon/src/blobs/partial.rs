//! Partial blobs: files by name in a directory of this machine, whatever store they are kept in later. Knows names, octets and
//! what a sync makes durable; refuses to know who appends, and what becomes of them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::{BlobError, Partial};
use crate::durable;

/// Mode of a partial blob: it is opened again to be appended to.
const MODE_PARTIAL: u32 = 0o600;
/// Mode of their directory.
const MODE_DIR: u32 = 0o700;
/// Octets after which the kernel is asked to begin writing: it is synced on the way and should then find little left.
const WRITEBACK_STRIDE: u64 = 16 << 20;

/// The directory of them.
pub(super) struct Partials {
    dir: PathBuf,
}

impl Partials {
    /// Opens the directory, made if it is missing.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        durable::create_dir_all(&dir, MODE_DIR)?;
        Ok(Self { dir })
    }

    /// Where one lies. A name that could lead elsewhere is refused, whoever gave it.
    fn path(&self, name: &str) -> Result<PathBuf, BlobError> {
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            let why = "a partial blob's name is of letters and digits";
            return Err(BlobError::Unavailable(io::Error::new(ErrorKind::InvalidInput, why)));
        }
        Ok(self.dir.join(name))
    }

    /// As of `Blobs::partial`. What is dirty is sent to `writeback`, where there is one: a help, not a promise.
    pub(super) fn open_one(&self, name: &str, writeback: Option<SyncSender<File>>) -> Result<LocalPartial, BlobError> {
        let path = self.path(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(MODE_PARTIAL);
        let (file, is_new) = match options.open(&path) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == ErrorKind::NotFound => (options.create_new(true).open(&path)?, true),
            Err(error) => return Err(error.into()),
        };
        if is_new {
            durable::sync_dir(&self.dir)?;
        }
        let len = file.metadata()?.len();
        Ok(LocalPartial { path, file, len, behind: 0, writeback })
    }

    /// Gives one another name, `target`, on the same file system, and the mode of what is not changed any more; the file and
    /// its size in octets.
    pub(super) fn stage(&self, name: &str, target: &Path, mode: u32) -> Result<(File, u64), BlobError> {
        let partial = self.path(name)?;
        let file = File::open(&partial)?;
        // From here on it changes no more than any blob does, under whichever name.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        let len = file.metadata()?.len();
        std::fs::hard_link(&partial, target)?;
        Ok((file, len))
    }

    /// As of `Blobs::partials`.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError> {
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Removed while we looked.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(name) = entry.file_name().to_str().filter(|_| about.is_file()) {
                visit(name, about.len());
            }
        }
        Ok(())
    }

    /// As of `Blobs::remove_partial`.
    pub(super) fn remove(&self, name: &str) -> Result<(), BlobError> {
        Ok(durable::remove(&self.path(name)?)?)
    }
}

/// A partial blob. Invariant: octets behind `len` are leavings of a write that failed or a crash, and mean nothing.
pub(super) struct LocalPartial {
    path: PathBuf,
    file: File,
    len: u64,
    /// Octets written since writeback was last asked for.
    behind: u64,
    writeback: Option<SyncSender<File>>,
}

impl Partial for LocalPartial {
    fn len(&self) -> u64 {
        self.len
    }

    fn cut(&mut self, len: u64) -> Result<(), BlobError> {
        if len > self.len {
            let why = format!("'{}' has {} octets, where {len} were durable", self.path.display(), self.len);
            return Err(BlobError::Unavailable(io::Error::new(ErrorKind::InvalidData, why)));
        }
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError> {
        self.file.write_all_at(octets, self.len)?;
        self.len += octets.len() as u64;
        self.behind += octets.len() as u64;
        if let Some(writeback) = self.writeback.as_ref().filter(|_| self.behind >= WRITEBACK_STRIDE) {
            // Another descriptor on purpose: Linux reports a failed writeback once to every description that was open when
            // it happened, so what the helper sees of an error does not hide it from ours.
            if let Ok(file) = File::open(&self.path) {
                let _ = writeback.try_send(file);
            }
            self.behind = 0;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), BlobError> {
        // What a failed write left behind the end goes, so that the file is what it is said to be.
        self.file.set_len(self.len)?;
        self.behind = 0;
        Ok(self.file.sync_data()?)
    }
}
