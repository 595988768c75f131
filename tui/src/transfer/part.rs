//! A file under its provisional name, `.part`, until it is whole: new, closed to others, and never put in the place of
//! another. Two processes never write to one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
        .map_err(|_held| format!("another mreg writes to {}", path.display()))?;
    // Whoever wrote to it may have given it its name meanwhile.
    let still_there = path.symlink_metadata().and_then(|named| {
        let held = file.metadata()?;
        Ok((named.dev(), named.ino()) == (held.dev(), held.ino()))
    });
    match still_there {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(format!("another mreg wrote to {}", path.display())),
    }
}

/// What lies under the provisional name, opened; links are not followed, and nothing is waited for.
fn open_part(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

impl Part {
    /// A new one. What a run that was ended left under the provisional name is begun anew, if it is of this user and nobody
    /// writes to it.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn create(target: &Path) -> Result<Self, String> {
        is_free(target)?;
        let path = part_of(target);
        let told = |cause: io::Error| format!("can't write {}: {cause}", path.display());
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                let file = open_part(&path).map_err(told)?;
                let about = file.metadata().map_err(told)?;
                let is_ours = about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0;
                if !about.is_file() || about.nlink() != 1 || !is_ours {
                    return Err(format!("{} is there already; nothing is overwritten", path.display()));
                }
                lock(&file, &path)?;
                file.set_len(0).map_err(told)?;
                file
            }
            created => {
                let file = created.map_err(told)?;
                lock(&file, &path)?;
                file
            }
        };
        Ok(Self { path, file, keep: false })
    }

    /// The part of a download that was cut, to go on with; none where there is none.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn open(target: &Path) -> Result<Option<Self>, String> {
        is_free(target)?;
        let path = part_of(target);
        match open_part(&path) {
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

    use std::fs::{self, Permissions};
    use std::io::Write;
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

    /// What an ended run left is begun anew; what somebody writes to, or what is not such a file, is left alone.
    #[test]
    fn left_parts() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("models.csv");
        let mut left = Part::create(&target).unwrap();
        left.file.write_all(b"name,id").unwrap();
        left.keep = true;
        assert!(Part::create(&target).is_err_and(|why| why.contains("another mreg")));
        let path = left.path.clone();
        drop(left);
        let part = Part::create(&target).unwrap();
        assert_eq!((part.file.metadata().unwrap().len(), part.path.as_path()), (0, path.as_path()));
        drop(part);
        assert!(!path.exists());
        for kind in ["of all", "linked", "a link", "a folder"] {
            let other = folder.path().join("other");
            match kind {
                "a folder" => fs::create_dir(&path).unwrap(),
                "a link" => {
                    fs::write(&other, "precious").unwrap();
                    std::os::unix::fs::symlink(&other, &path).unwrap();
                }
                _ => {
                    fs::write(&path, "precious").unwrap();
                    let mode = if kind == "linked" { 0o600 } else { 0o644 };
                    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
                    if kind == "linked" {
                        fs::hard_link(&path, &other).unwrap();
                    }
                }
            }
            assert!(Part::create(&target).is_err(), "{kind}");
            if kind == "a folder" {
                fs::remove_dir(&path).unwrap();
            } else {
                assert_eq!(fs::read(&path).unwrap(), b"precious", "{kind}");
                fs::remove_file(&path).unwrap();
                drop(fs::remove_file(&other));
            }
        }
    }
}
