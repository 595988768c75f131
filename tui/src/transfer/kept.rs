//! Which resumable upload a file was on its way to, so that the same command goes on after the console was left: a small
//! file in the state folder, found by daemon, path, size and time of change. The octets themselves are compared by their
//! digest at the end.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::name::UploadId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::hex;
use crate::worker::files::replace;

/// The form of what is kept.
const FORM: u32 = 1;
/// Octets of the longest such file.
const FILE_OCTETS_MAX: u64 = 64 * 1024;
/// Such files; beyond that the oldest go. They are of uploads that expired long ago.
const FILES_MAX: usize = 256;

/// A file on its way to a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    form: u32,
    /// The daemon.
    pub(crate) address: String,
    /// The file, as an absolute path.
    pub(crate) path: String,
    /// Its octets.
    pub(crate) size: u64,
    /// When it was last changed, nanoseconds since the epoch.
    pub(crate) changed_ns: i128,
    /// The model.
    pub(crate) model: String,
    /// The upload; none before it was created.
    pub(crate) upload: Option<UploadId>,
}

impl Kept {
    /// Of a file that nothing is known of.
    pub(crate) fn new(address: &str, path: &Path, size: u64, changed_ns: i128, model: &str) -> Self {
        let path = path.to_string_lossy().into_owned();
        Self { form: FORM, address: address.to_owned(), path, size, changed_ns, model: model.to_owned(), upload: None }
    }

    fn file(&self, folder: &Path) -> PathBuf {
        let size = self.size.to_string();
        let changed = self.changed_ns.to_string();
        let mut hasher = Sha256::new();
        for text in [&self.address, &self.path, &size, &changed, &self.model] {
            hasher.update(text.as_bytes());
            hasher.update([0]);
        }
        folder.join("uploads").join(format!("{}.json", &hex(&hasher.finalize())[..32]))
    }

    /// The same as it was kept; where nothing was, or something else, it itself.
    pub(crate) fn read(self, folder: &Path) -> Self {
        let mut text = String::new();
        let read =
            fs::File::open(self.file(folder)).and_then(|file| file.take(FILE_OCTETS_MAX).read_to_string(&mut text));
        match serde_json::from_str::<Self>(&text) {
            Ok(kept) if read.is_ok() && (Self { upload: None, ..kept.clone() }) == self => kept,
            _ => self,
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        let file = self.file(folder);
        replace(&file, &text).map_err(|cause| format!("can't keep {}: {cause}", file.display()))?;
        prune(&folder.join("uploads"));
        Ok(())
    }

    /// Forgets it.
    pub(crate) fn remove(&self, folder: &Path) {
        drop(fs::remove_file(self.file(folder)));
    }
}

/// Removes the oldest beyond [`FILES_MAX`]. What can't be removed does no harm.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let aged = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut files: Vec<_> = entries.flatten().filter_map(aged).collect();
    files.sort();
    let surplus = files.len().saturating_sub(FILES_MAX);
    for (_changed, file) in files.into_iter().take(surplus) {
        drop(fs::remove_file(file));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::path::Path;

    use common::name::UploadId;

    use super::{FILES_MAX, Kept};

    #[test]
    fn found_only_where_all_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let of = |address: &str, size, changed, model: &str| {
            Kept::new(address, Path::new("/models/m.bin"), size, changed, model).read(folder.path()).upload
        };
        assert_eq!(of("a:1", 7, 9, "m"), None);
        let mut kept = Kept::new("a:1", Path::new("/models/m.bin"), 7, 9, "m");
        kept.upload = Some(UploadId::from_u128(5));
        kept.write(folder.path()).unwrap();
        assert_eq!(of("a:1", 7, 9, "m"), kept.upload);
        for other in [of("a:2", 7, 9, "m"), of("a:1", 8, 9, "m"), of("a:1", 7, 8, "m"), of("a:1", 7, 9, "n")] {
            assert_eq!(other, None);
        }
        std::fs::write(kept.file(folder.path()), "{}").unwrap();
        assert_eq!(of("a:1", 7, 9, "m"), None, "damaged, it is as if there was none");
        kept.remove(folder.path());
        for size in 0..FILES_MAX as u64 + 3 {
            Kept::new("a:1", Path::new("/m"), size, 0, "m").write(folder.path()).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), FILES_MAX);
    }
}
