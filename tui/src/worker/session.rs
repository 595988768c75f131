//! What is kept of a session between two runs: its token, in a file of the runtime folder that only its owner can read. No
//! password ever. A file that somebody else could have read or written is not believed.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
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

    /// The same where it is a session of this user: the file is called after the daemon, and may be another's.
    pub fn remove_of(&self, user: &str) -> bool {
        self.kept_user().is_some_and(|kept| kept == user) && self.remove()
    }

    /// Whose session is kept, whether it has expired or not; none where that can't be read.
    fn kept_user(&self) -> Option<String> {
        let text = Zeroizing::new(std::fs::read_to_string(self.path()).ok()?);
        let kept: Kept = serde_json::from_str(&text).ok()?;
        (kept.address == self.address).then_some(kept.user)
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

/// Keeps the newest token of a session, while that is asked for. What is kept of another user is never removed, and is replaced
/// only by a session that is to be kept.
pub struct Keeper {
    cache: Option<Cache>,
    state: Mutex<Wish>,
}

#[derive(Default)]
struct Wish {
    /// Tokens are kept.
    on: bool,
    /// It was said, before a sign-in, that this session is not to be kept: what is kept of the same user goes with it.
    is_refused: bool,
    /// Who is signed in, as far as that is known here.
    user: Option<String>,
    /// The newest token's session.
    session: Option<Session>,
}

impl Keeper {
    /// For a profile; without a cache nothing is ever kept.
    pub fn new(cache: Option<Cache>, client: &Client) -> Self {
        let on = cache.as_ref().is_some_and(|cache| cache.on);
        // Only whoever goes on with the kept session is known to be its user.
        let kept = cache.as_ref().and_then(|cache| cache.read().ok().flatten());
        let goes_on = |token: &Secret| client.token().is_some_and(|now| now.as_str() == token.expose());
        let user = kept.filter(|(token, _)| goes_on(token)).map(|(_, user)| user);
        Self { cache, state: Mutex::new(Wish { on, user, ..Wish::default() }) }
    }

    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.state.lock().expect("no holder of the keeper panics")
    }

    /// A session has a fresh token.
    pub fn keep(&self, session: &Session, client: &Client) {
        let (on, is_refused) = {
            let mut wish = self.wish();
            wish.session = Some(session.clone());
            wish.user = Some(session.username.to_string());
            (wish.on, std::mem::take(&mut wish.is_refused))
        };
        if is_refused {
            self.forget();
        }
        // A password that must be changed, or a second factor that must be set up, makes this token useless for anything else:
        // it is not kept.
        if on && !session.must_change_password && !session.must_enrol_totp {
            drop(self.write(session, client));
        }
    }

    /// The next sign-in is to be kept, or not. Nothing is written or removed before it has succeeded.
    pub fn intend(&self, on: bool) {
        let mut wish = self.wish();
        (wish.on, wish.is_refused) = (on, !on);
    }

    /// From now on the tokens of this session are kept, or no more.
    ///
    /// # Errors
    /// A sentence on what can't be written.
    pub fn remember(&self, on: bool, client: &Client) -> Result<(), String> {
        let session = {
            let mut wish = self.wish();
            (wish.on, wish.is_refused) = (on, false);
            wish.session.clone()
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

    /// Removes what is kept of whoever is signed in.
    pub fn forget(&self) {
        let user = self.wish().user.clone();
        if let (Some(cache), Some(user)) = (&self.cache, user) {
            cache.remove_of(&user);
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

    use common::client::{Client, Session};
    use common::role::Role;

    use super::{Cache, Keeper};
    use crate::secret::Secret;

    /// Saying at sign-in whether it is to be kept touches nothing before it succeeds, and then only what is kept of the same
    /// user; another's is replaced by what is to be kept, and by nothing else.
    #[test]
    fn one_user_beside_another() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache {
            folder: root.path().join("mreg"),
            profile: "prod".into(),
            address: "127.0.0.1:8000".into(),
            on: false,
        };
        let session = |user: &str| Session {
            expires_in_seconds: 60,
            username: user.parse().unwrap(),
            role: Role::Viewer.into(),
            must_change_password: false,
            must_enrol_totp: false,
        };
        let signed_in = |user: &str| {
            let client = Client::new("http://127.0.0.1:8000", "test", false).unwrap();
            client.set_token(Some(Secret::new(format!("token-of-{user}")).into_inner()));
            client
        };
        let kept = || cache.read().unwrap().map(|(_, user)| user);
        cache.write(&Secret::new("token-of-admin".into()), "admin", 60).unwrap();
        let nobody = Client::new("http://127.0.0.1:8000", "test", false).unwrap();
        let keeper = Keeper::new(Some(cache.clone()), &nobody);
        for on in [true, false, true, false] {
            keeper.intend(on);
            assert_eq!(kept().as_deref(), Some("admin"), "{on}");
        }
        // Another signs in, unkept, and out again.
        keeper.keep(&session("otto"), &signed_in("otto"));
        keeper.forget();
        keeper.remember(false, &signed_in("otto")).unwrap();
        assert_eq!(kept().as_deref(), Some("admin"));
        // Kept, theirs takes its place; and goes when they sign in without.
        keeper.intend(true);
        keeper.keep(&session("otto"), &signed_in("otto"));
        assert_eq!(kept().as_deref(), Some("otto"));
        keeper.intend(false);
        assert_eq!(kept().as_deref(), Some("otto"));
        keeper.keep(&session("otto"), &signed_in("otto"));
        assert_eq!(kept(), None);
        // Where nothing was said of it, as with a password of a script, what is kept stays.
        cache.write(&Secret::new("token-of-admin".into()), "admin", 60).unwrap();
        Keeper::new(Some(cache.clone()), &nobody).keep(&session("admin"), &signed_in("admin"));
        assert_eq!(kept().as_deref(), Some("admin"));
        // Whoever goes on with the kept session ends it.
        Keeper::new(Some(cache.clone()), &signed_in("admin")).forget();
        assert_eq!(kept(), None);
    }

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
