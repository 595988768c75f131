//! A file under its provisional name, `.part`, until it is whole: new, closed to others, and never put in the place of
//! another. Two processes never write to one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// A new file under its provisional name.
pub(crate) struct Part {
    /// The provisional name.
    pub(crate) path: PathBuf,
    /// The file.
    pub(crate) file: File,
    /// Removed when it is dropped, unless it is to be gone on with.
    pub(crate) keep: bool,
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Whether nothing has the name yet.
///
/// # Errors
/// A sentence.
pub(crate) fn is_free(target: &Path) -> Result<(), String> {
    match target.symlink_metadata() {
        Ok(_) => Err(format!("{} is there already; nothing is overwritten", target.display())),
        Err(_none) => Ok(()),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), String> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_held| format!("another mreg writes to {}", path.display()))
}

impl Part {
    /// A new one.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn create(target: &Path) -> Result<Self, String> {
        is_free(target)?;
        let path = part_of(target);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| format!("can't write {}: {cause}", path.display()))?;
        lock(&file, &path)?;
        Ok(Self { path, file, keep: false })
    }

    /// The part of a download that was cut, to go on with; none where there is none.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn open(target: &Path) -> Result<Option<Self>, String> {
        is_free(target)?;
        let path = part_of(target);
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(|error| error.to_string())?;
        match OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path) {
            Ok(file) => {
                lock(&file, &path)?;
                Ok(Some(Self { path, file, keep: true }))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(format!("can't go on with {}: {cause}", path.display())),
        }
    }

    /// Durable under its name, or not at all.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn finish(mut self, target: &Path) -> Result<(), String> {
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced
            .map_err(|error| error.to_string())?
            .map_err(|cause| format!("can't write {}: {cause}", self.path.display()))?;
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &self.path, here, target, rustix::fs::RenameFlags::NOREPLACE)
            .map_err(|cause| format!("can't give the file its name {}: {cause}", target.display()))?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;

    use super::Part;

    /// A new file is closed to others, has its name only when it is whole, and never takes another's place.
    #[test]
    fn parts() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("models.csv");
        let part = Part::create(&target).unwrap();
        assert_eq!(part.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!target.exists() && Part::create(&target).is_err() && Part::open(&target).is_err());
        runtime.block_on(part.finish(&target)).unwrap();
        assert!(target.exists() && Part::create(&target).is_err());
        drop(Part::create(&folder.path().join("other")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was given up leaves nothing");
    }
}
