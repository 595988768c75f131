//! What is kept of a session between two runs: its token, in a file of the runtime folder that only its owner can read. No
//! password ever. A file that somebody else could have read or written is not believed.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use common::client::{Client, Session};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::{Secret, check_private, open_unlinked};

/// Largest file of a kept session, in octets.
const CACHE_OCTETS_MAX: u64 = 32 * 1024;

/// Where the session of a profile is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// The name of the profile; the file is called after it.
    pub profile: String,
    /// The daemon it belongs to: a token is never shown to another.
    pub address: String,
    /// Whether it is used from the beginning.
    pub on: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    address: String,
    user: String,
    /// Seconds since the epoch.
    expires_at: i64,
    token: Zeroizing<String>,
}

impl Cache {
    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.profile))
    }

    /// The token and its user, if there is one that has not expired.
    ///
    /// # Errors
    /// A sentence with the command that would help, where the file can't be believed.
    pub fn read(&self) -> Result<Option<(Secret, String)>, String> {
        let path = self.path();
        let file = match open_unlinked(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(format!("can't open {} (links are not followed): {cause}", path.display())),
        };
        check_private(&file, "file", &path)?;
        check_folder(&self.folder)?;
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.take(CACHE_OCTETS_MAX)
            .read_to_string(&mut text)
            .map_err(|cause| format!("can't read {}: {cause}", path.display()))?;
        let Ok(kept) = serde_json::from_str::<Kept>(&text) else {
            return Err(format!("{} is not a session mreg kept: rm {}", path.display(), path.display()));
        };
        let is_usable = kept.address == self.address && kept.expires_at > now();
        Ok(is_usable.then(|| (Secret::new(kept.token.as_str().to_owned()), kept.user)))
    }

    /// Seconds until the kept token expires.
    pub fn seconds_left(&self) -> Option<i64> {
        let text = Zeroizing::new(std::fs::read_to_string(self.path()).ok()?);
        let kept: Kept = serde_json::from_str(&text).ok()?;
        Some(kept.expires_at.saturating_sub(now()))
    }

    /// Keeps a token: a new file, closed to others before anything is in it, put in place of the old one at once.
    ///
    /// # Errors
    /// A sentence on what can't be written.
    pub fn write(&self, token: &Secret, user: &str, life_seconds: u64) -> Result<(), String> {
        let told =
            |cause: &dyn std::fmt::Display| format!("can't keep the session in {}: {cause}", self.folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(|cause| told(&cause))?;
        check_folder(&self.folder)?;
        let kept = Kept {
            address: self.address.clone(),
            user: user.to_owned(),
            expires_at: now().saturating_add(i64::try_from(life_seconds).unwrap_or(i64::MAX)),
            token: Zeroizing::new(token.expose().to_owned()),
        };
        let json = Zeroizing::new(serde_json::to_string(&kept).map_err(|cause| told(&cause))?);
        let fresh = self.folder.join(format!(".{}.{}", self.profile, std::process::id()));
        // One that an earlier process of this number left behind; a link there is removed, not followed.
        let _ = std::fs::remove_file(&fresh);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(json.as_bytes()))
            .and_then(|()| std::fs::rename(&fresh, self.path()));
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written.map_err(|cause| told(&cause))
    }

    /// Removes what is kept; true if there was something.
    pub fn remove(&self) -> bool {
        std::fs::remove_file(self.path()).is_ok()
    }
}

fn check_folder(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let about = folder.symlink_metadata().map_err(|cause| format!("can't examine {shown}: {cause}"))?;
    if !about.is_dir() {
        return Err(format!("{shown} is not a folder"));
    }
    let user = rustix::process::geteuid().as_raw();
    if about.uid() != user {
        return Err(format!("{shown} belongs to user {}: chown {user} {shown}", about.uid()));
    }
    if about.mode() & 0o077 != 0 {
        return Err(format!("{shown} is open to others: chmod 700 {shown}"));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a kept token has a moment at which it ends")]
fn now() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_secs()).unwrap_or(i64::MAX)
}

/// Keeps the newest token of a session, while that is asked for.
pub struct Keeper {
    cache: Option<Cache>,
    /// Whether tokens are kept, and what is known of the newest.
    state: Mutex<(bool, Option<Session>)>,
}

impl Keeper {
    /// For a profile; without a cache nothing is ever kept.
    pub fn new(cache: Option<Cache>) -> Self {
        let on = cache.as_ref().is_some_and(|cache| cache.on);
        Self { cache, state: Mutex::new((on, None)) }
    }

    /// A session has a fresh token.
    pub fn keep(&self, session: &Session, client: &Client) {
        let on = {
            let mut state = self.state.lock().expect("no holder of the keeper panics");
            state.1 = Some(session.clone());
            state.0
        };
        // A password that must be changed, or a second factor that must be set up, makes this token useless for anything else:
        // it is not kept.
        if on && !session.must_change_password && !session.must_enrol_totp {
            drop(self.write(session, client));
        }
    }

    /// From now on tokens are kept, or no more.
    ///
    /// # Errors
    /// A sentence on what can't be written.
    pub fn remember(&self, on: bool, client: &Client) -> Result<(), String> {
        let session = {
            let mut state = self.state.lock().expect("no holder of the keeper panics");
            state.0 = on;
            state.1.clone()
        };
        match (on, session) {
            (true, Some(session)) => self.write(&session, client),
            (true, None) => Ok(()),
            (false, _) => {
                self.forget();
                Ok(())
            }
        }
    }

    /// Removes what is kept.
    pub fn forget(&self) {
        if let Some(cache) = &self.cache {
            cache.remove();
        }
    }

    fn write(&self, session: &Session, client: &Client) -> Result<(), String> {
        match (&self.cache, client.token()) {
            (Some(cache), Some(token)) => {
                let token = Secret::new(token.as_str().to_owned());
                cache.write(&token, session.username.as_str(), session.expires_in_seconds)
            }
            (None, _) | (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::Cache;
    use crate::secret::Secret;

    /// A kept token is its owner's alone, belongs to one daemon, ends in time, and is not read where others could write.
    #[test]
    fn kept_and_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("mreg");
        let cache =
            Cache { folder: folder.clone(), profile: "prod".into(), address: "127.0.0.1:8000".into(), on: true };
        assert_eq!(cache.read(), Ok(None));
        cache.write(&Secret::new("t1".into()), "alice", 60).unwrap();
        cache.write(&Secret::new("t2".into()), "alice", 60).unwrap();
        let file = folder.join("prod.json");
        assert_eq!(
            (fs::metadata(&folder).unwrap().mode() & 0o777, fs::metadata(&file).unwrap().mode() & 0o777),
            (0o700, 0o600)
        );
        assert_eq!(cache.read().unwrap().unwrap().0.expose(), "t2");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let other = Cache { address: "127.0.0.1:9000".into(), ..cache.clone() };
        assert_eq!(other.read(), Ok(None));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(cache.read().unwrap_err().contains("chmod 600"));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(cache.read().unwrap_err().contains("chmod 700"));
        assert!(cache.write(&Secret::new("t3".into()), "alice", 60).unwrap_err().contains("chmod 700"));
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let aside = root.path().join("aside");
        fs::rename(&file, &aside).unwrap();
        symlink(&aside, &file).unwrap();
        assert!(cache.read().unwrap_err().contains("links"));
        cache.write(&Secret::new("t4".into()), "alice", 60).unwrap();
        assert!(
            !fs::symlink_metadata(&file).unwrap().is_symlink() && !fs::read_to_string(&aside).unwrap().contains("t4")
        );
        cache.write(&Secret::new("t5".into()), "alice", 0).unwrap();
        assert_eq!(cache.read(), Ok(None));
        assert!(cache.remove() && !cache.remove());
    }
}
