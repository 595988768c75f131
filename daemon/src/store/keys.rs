//! The log's keys (audit-log.md §3, §10): the directory they live in, and how one key follows another. Knows files and
//! the state's record of keys; refuses to know who may rotate them, and signs nothing itself.
//!
//! ```text
//! <keys>/log.key          the first key, made with the log
//! <keys>/log.<id>.key     each later one, by its identifier
//! <keys>/log.mark         the high-water mark             <keys>/log.lock   held while a daemon signs
//! ```
//!
//! A key is durable before the entry that brings it, so a crash leaves at worst a key that nothing names, which is never
//! used. The state says which keys sign; the directory only holds them. A retired key is destroyed once the entry that
//! retires it is durable: its file is overwritten, then removed. On a file system that writes elsewhere (copy on write, wear
//! levelling), and in backups of the directory, old octets may outlive that: nothing here can reach them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::audit::{Checkpoint, Ed25519Signer, Hash, Signer, Verifier};
use thiserror::Error;

use crate::config::secret::{Readers, SECRET_BYTES_MAX, SecretError, read_secret_file};
use crate::durable::{self, Disk};
use crate::store::StoreError;
use crate::store::records::{
    EndedOriginRecord, HeadRecord, LeavingKeyRecord, LogKeyRecord, LogKeysRecord, RetiredKeyRecord,
};

/// The most keys and names a log may have had. Each is kept for ever, and rotation is rare.
pub const KEYS_MAX: usize = 1024;

/// How often the directory's lock is tried: whoever is just ending, or is being started from a process that holds it, has
/// it for a moment longer.
const LOCK_TRIES: u32 = 20;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// The first key's file.
const FIRST: &str = "log.key";

/// Why the keys can't follow one another as was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    /// Two keys sign already.
    #[error("a rotation is under way until {}; wait for its end, or say that the key is compromised", crate::clock::rfc3339(*.until_ms))]
    UnderWay {
        /// When it ends, milliseconds since the epoch.
        until_ms: i64,
    },
    /// Too many.
    #[error("the log has had {KEYS_MAX} keys or names, which is the most it can have")]
    TooMany,
}

impl LogKeysRecord {
    /// Those of a log whose first entry says so.
    pub fn first(origin: &str, vkey: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            generation: 1,
            current: LogKeyRecord { vkey: vkey.to_owned(), from: 0 },
            leaving: None,
            retired: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// The keys that sign, the newest first.
    pub fn signing(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(self.leaving.as_ref().map(|leaving| &leaving.key))
            .map(|key| key.vkey.as_str())
    }

    /// Every key that ever signed, or signs.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.signing().chain(self.retired.iter().map(|key| key.vkey.as_str()))
    }

    /// After the entry `index` brought a key that signs beside the current one until `until_ms`.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn rotated(&self, vkey: &str, index: u64, until_ms: i64) -> Result<Self, KeysError> {
        if let Some(leaving) = &self.leaving {
            return Err(KeysError::UnderWay { until_ms: leaving.until_ms });
        }
        self.check_room()?;
        Ok(Self {
            current: LogKeyRecord { vkey: vkey.to_owned(), from: index },
            leaving: Some(LeavingKeyRecord { key: self.current.clone(), until_ms }),
            ..self.clone()
        })
    }

    /// After the entry `index` retired the leaving key; none if no key is to leave by then.
    pub fn retired(&self, index: u64, at_ms: i64) -> Option<(Self, String)> {
        let leaving = self.leaving.as_ref().filter(|leaving| leaving.until_ms <= at_ms)?;
        let vkey = leaving.key.vkey.clone();
        let mut after = Self { leaving: None, ..self.clone() };
        after.retired.push(RetiredKeyRecord { vkey: vkey.clone(), to: index });
        Some((after, vkey))
    }

    /// After the entry `index` gave the log another name and key. `others` are keys that must sign no more either.
    ///
    /// # Errors
    /// [`KeysError::TooMany`].
    pub fn renamed(&self, new: NewName<'_>, index: u64) -> Result<Self, KeysError> {
        self.check_room()?;
        let mut after = Self {
            origin: new.origin.to_owned(),
            generation: new.generation,
            current: LogKeyRecord { vkey: new.vkey.to_owned(), from: index },
            leaving: None,
            ..self.clone()
        };
        let out_of_use = self.signing().chain(new.others.iter().map(String::as_str));
        for vkey in out_of_use {
            if after.known().all(|known| known != vkey) {
                after.retired.push(RetiredKeyRecord { vkey: vkey.to_owned(), to: index });
            }
        }
        after.ended.push(EndedOriginRecord { origin: self.origin.clone(), kept: new.kept, lost: new.lost });
        Ok(after)
    }

    fn check_room(&self) -> Result<(), KeysError> {
        if self.retired.len() + self.ended.len() < KEYS_MAX { Ok(()) } else { Err(KeysError::TooMany) }
    }

    /// The log's first name.
    pub fn first_origin(&self) -> &str {
        self.ended.first().map_or(&self.origin, |ended| &ended.origin)
    }

    /// The name of a generation.
    pub fn origin_of(&self, generation: u32) -> String {
        format!("{}/{generation}", self.first_origin())
    }

    /// Which generation a name is of; none if it is not one of this log's.
    pub fn generation_of(&self, origin: &str) -> Option<u32> {
        if origin == self.first_origin() {
            return Some(1);
        }
        let number: u32 = origin.strip_prefix(self.first_origin())?.strip_prefix('/')?.parse().ok()?;
        (number > 1 && self.origin_of(number) == origin).then_some(number)
    }

    /// Whether a head that was signed once holds for a log of `size` entries: its first entries are those it covers, or it
    /// is among what was lost and accepted as lost. `root_at` gives the root of the first entries.
    ///
    /// # Errors
    /// What `root_at` fails with.
    pub fn holds(
        &self,
        head: &Checkpoint,
        size: u64,
        root_at: impl FnOnce(u64) -> Result<Hash, StoreError>,
    ) -> Result<Held, StoreError> {
        let lost = self.ended.iter().flat_map(|ended| &ended.lost);
        if lost.into_iter().any(|lost| is_head(lost, head)) {
            return Ok(Held::Yes);
        }
        let end = if head.origin == self.origin {
            size
        } else {
            match self.ended.iter().find(|ended| ended.origin == head.origin) {
                Some(ended) => ended.kept.size.min(size),
                None if self.generation_of(&head.origin).is_some() => return Ok(Held::Newer),
                None => return Ok(Held::Foreign),
            }
        };
        if head.size > end {
            return Ok(Held::Beyond);
        }
        let root = root_at(head.size)?;
        Ok(if root == head.root { Held::Yes } else { Held::Differs { root } })
    }
}

fn is_head(head: &HeadRecord, checkpoint: &Checkpoint) -> bool {
    head.origin == checkpoint.origin && head.size == checkpoint.size && head.root == checkpoint.root.0
}

/// Another name for the log.
#[derive(Debug, Clone)]
pub struct NewName<'n> {
    /// The name.
    pub origin: &'n str,
    /// Its number.
    pub generation: u32,
    /// The key that signs under it.
    pub vkey: &'n str,
    /// The last head under the name before that is part of the log.
    pub kept: HeadRecord,
    /// Heads that were signed and are not.
    pub lost: Vec<HeadRecord>,
    /// Keys of this log that the state doesn't know, for what it knew of them was lost.
    pub others: Vec<String>,
}

/// Whether a signed head holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It does.
    Yes,
    /// It covers more entries than there are.
    Beyond,
    /// It was signed under a later name than the log has.
    Newer,
    /// The entries it covers are others.
    Differs {
        /// The root of as many entries here.
        root: Hash,
    },
    /// It is another log's.
    Foreign,
}

/// A head, to be kept.
pub fn head_record(checkpoint: &Checkpoint) -> HeadRecord {
    HeadRecord { origin: checkpoint.origin.clone(), size: checkpoint.size, root: checkpoint.root.0 }
}

/// Why a key can't be used. Each says what to do.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("the log's signing key {vkey} is missing from {}; put it back, or set MREG_KEY_DIR to where it is", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
        /// The key's public half.
        vkey: String,
    },
    /// A file is unfit: others may read it, or it is damaged.
    #[error("the log's signing key {} {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The directory can't be read or written.
    #[error("{}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyFileError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// The directory of keys.
#[derive(Debug, Clone)]
pub struct KeyDir {
    /// Where it is.
    pub path: PathBuf,
    /// The way there.
    pub disk: Disk,
}

impl KeyDir {
    /// The directory of these options.
    pub fn new(path: &Path, disk: &Disk) -> Self {
        Self { path: path.to_owned(), disk: disk.clone() }
    }

    /// Takes the directory's lock: two daemons with one key would sign two histories. None if another process has it.
    ///
    /// # Errors
    /// The lock's file can't be made.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let path = self.path.join("log.lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        for _ in 0..LOCK_TRIES {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The first key of a log: the one that is there, or a new one, durable on return.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn first(&self, origin: &str) -> Result<Ed25519Signer, KeyFileError> {
        let path = self.path.join(FIRST);
        match read_key(&path)? {
            Some(key) if key.verifier().name() == origin => Ok(key),
            Some(key) => Err(KeyFileError::Unfit {
                why: format!(
                    "belongs to the log {:?}, and a new log {origin:?} is to begin; move it away, or set MREG_KEY_DIR to \
                     another directory",
                    key.verifier().name()
                ),
                path,
            }),
            None => {
                let key = new_key(origin, &path)?;
                self.write(&key, &path)?;
                Ok(key)
            }
        }
    }

    /// Makes a later key, durable on return.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn add(&self, origin: &str) -> Result<Verifier, KeyFileError> {
        let key = new_key(origin, &self.path)?;
        let path = self.file_of(key.verifier());
        if path.exists() {
            let why = "stands where a new key would go; try again".to_owned();
            return Err(KeyFileError::Unfit { path, why });
        }
        self.write(&key, &path)?;
        Ok(key.verifier().clone())
    }

    /// A key of a name that was made and that no entry ever named; none if there is none.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn unused(&self, origin: &str, keys: &LogKeysRecord) -> Result<Option<Verifier>, KeyFileError> {
        let is_unused =
            |verifier: &Verifier| verifier.name() == origin && keys.known().all(|known| known != verifier.to_string());
        Ok(self.verifiers()?.into_iter().find(is_unused))
    }

    /// The file of a later key.
    pub fn file_of(&self, verifier: &Verifier) -> PathBuf {
        self.path.join(format!("log.{}.key", verifier.id()))
    }

    /// Destroys a key that signs nothing.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn discard(&self, vkey: &str) -> Result<(), KeyFileError> {
        for (path, key) in self.all()? {
            if key.verifier().to_string() == vkey {
                destroy(&path).map_err(KeyFileError::io(&path))?;
            }
        }
        Ok(())
    }

    /// The signers of the keys that sign, the newest first.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn signers(&self, keys: &LogKeysRecord) -> Result<Vec<Arc<dyn Signer>>, KeyFileError> {
        let mut there = self.all()?;
        keys.signing()
            .map(|vkey| {
                let at = there.iter().position(|(_path, key)| key.verifier().to_string() == vkey);
                let missing = || KeyFileError::Missing { dir: self.path.clone(), vkey: vkey.to_owned() };
                let (_path, key) = there.swap_remove(at.ok_or_else(missing)?);
                Ok(Arc::new(key) as Arc<dyn Signer>)
            })
            .collect()
    }

    /// The public halves of all keys in the directory.
    ///
    /// # Errors
    /// [`KeyFileError`]: one of the files is unfit.
    pub fn verifiers(&self) -> Result<Vec<Verifier>, KeyFileError> {
        Ok(self.all()?.into_iter().map(|(_path, key)| key.verifier().clone()).collect())
    }

    /// Whether one of the keys in the directory ever signed this log.
    ///
    /// # Errors
    /// [`KeyFileError`]: one of the files is unfit.
    pub fn belongs_to(&self, keys: &LogKeysRecord) -> Result<bool, KeyFileError> {
        let there = self.verifiers()?;
        Ok(there.iter().map(Verifier::to_string).any(|vkey| keys.known().any(|known| known == vkey)))
    }

    /// Destroys the keys that the state says are retired. Returns how many there were.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn destroy_retired(&self, keys: &LogKeysRecord) -> Result<usize, KeyFileError> {
        for path in self.files(|name| name.strip_suffix(RETIRED).is_some_and(is_key_file))? {
            erase(&path).map_err(KeyFileError::io(&path))?;
        }
        let mut destroyed = 0;
        for (path, key) in self.all()? {
            let vkey = key.verifier().to_string();
            if keys.retired.iter().any(|retired| retired.vkey == vkey) {
                destroy(&path).map_err(KeyFileError::io(&path))?;
                tracing::info!(vkey, path = %path.display(), "a retired key of the log was destroyed");
                destroyed += 1;
            }
        }
        Ok(destroyed)
    }

    /// Every key file and its key, in the order of the names.
    fn all(&self) -> Result<Vec<(PathBuf, Ed25519Signer)>, KeyFileError> {
        let mut keys = Vec::new();
        for path in self.files(is_key_file)? {
            // One that went meanwhile was destroyed by another thread.
            if let Some(key) = read_key(&path)? {
                keys.push((path, key));
            }
        }
        Ok(keys)
    }

    fn write(&self, key: &Ed25519Signer, path: &Path) -> Result<(), KeyFileError> {
        let text = zeroize::Zeroizing::new(format!("{}\n", &*key.to_secret()));
        durable::write_file_on(&self.disk, path, text.as_bytes(), durable::MODE_FILE).map_err(KeyFileError::io(path))
    }

    fn files(&self, is_one: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, KeyFileError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(KeyFileError::io(&self.path))? {
            let entry = entry.map_err(KeyFileError::io(&self.path))?;
            if entry.file_name().to_str().is_some_and(&is_one) {
                paths.push(entry.path());
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }
}

fn is_key_file(name: &str) -> bool {
    let id = name.strip_prefix("log.").and_then(|rest| rest.strip_suffix(".key"));
    name == FIRST || id.is_some_and(|id| id.len() == 8 && id.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

fn read_key(path: &Path) -> Result<Option<Ed25519Signer>, KeyFileError> {
    let unfit = |why: String| KeyFileError::Unfit { path: path.to_owned(), why };
    match read_secret_file(path, Readers::Owner) {
        Ok(text) => {
            Ed25519Signer::parse(text.expose().trim()).map(Some).map_err(|error| unfit(format!("is damaged: {error}")))
        }
        Err(SecretError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unfit(error.to_string())),
    }
}

fn new_key(origin: &str, path: &Path) -> Result<Ed25519Signer, KeyFileError> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| KeyFileError::io(path)(io::Error::other(error)))?;
    Ed25519Signer::from_seed(origin, &seed).map_err(|error| KeyFileError::Unfit {
        path: path.to_owned(),
        why: format!("can't be named {origin:?}: {error}"),
    })
}

/// What a retired key's file is called while it is destroyed.
const RETIRED: &str = ".retired";

/// Takes a key's file out of use, overwrites it with zeros and removes it; each step durable. A crash after the first
/// leaves a file that is no key's any more, and is destroyed the next time.
fn destroy(path: &Path) -> io::Result<()> {
    let mut retired = path.as_os_str().to_owned();
    retired.push(RETIRED);
    let retired = PathBuf::from(retired);
    durable::rename(path, &retired)?;
    erase(&retired)
}

fn erase(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let octets = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(SECRET_BYTES_MAX);
    file.write_all(&vec![0; octets])?;
    file.sync_all()?;
    durable::remove(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use common::audit::{Checkpoint, Hash, Signer};

    use super::{Held, KeyDir, KeyFileError, KeysError, NewName, head_record};
    use crate::durable::Disk;
    use crate::store::StoreError;
    use crate::store::codec::{decode_change, encode_change};
    use crate::store::records::{HeadRecord, LogKeysRecord, Write};

    const NAME: &str = "test.example/log";

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn head(origin: &str, size: u64, octet: u8) -> HeadRecord {
        HeadRecord { origin: origin.to_owned(), size, root: [octet; 32] }
    }

    /// One key follows another: the files, who signs, what is destroyed.
    #[test]
    fn one_follows_another() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(dir.path(), &Disk::default());
        let first = keys.first(NAME).unwrap().verifier().to_string();
        assert_eq!(keys.first(NAME).unwrap().verifier().to_string(), first, "the one that is there is taken");
        let state = LogKeysRecord::first(NAME, &first);
        let second = keys.add(NAME).unwrap().to_string();
        // Nothing names it yet: it signs nothing, and stays.
        assert_eq!(keys.signers(&state).unwrap().len(), 1);
        assert_eq!(keys.destroy_retired(&state).unwrap(), 0);

        let both = state.rotated(&second, 7, 1000).unwrap();
        assert_eq!(both.signing().collect::<Vec<_>>(), [&second, &first]);
        let signers = keys.signers(&both).unwrap();
        assert_eq!(
            signers.iter().map(|key| key.verifier().to_string()).collect::<Vec<_>>(),
            [second.clone(), first.clone()]
        );
        assert_eq!(both.rotated("third", 8, 2000), Err(KeysError::UnderWay { until_ms: 1000 }));
        assert!(both.retired(8, 999).is_none(), "its time is not over");
        let (after, gone) = both.retired(8, 1000).unwrap();
        assert_eq!((gone.as_str(), after.signing().collect::<Vec<_>>()), (first.as_str(), vec![second.as_str()]));
        assert_eq!(keys.destroy_retired(&after).unwrap(), 1);
        let id = keys.signers(&after).unwrap()[0].verifier().id();
        assert_eq!(names(dir.path()), [format!("log.{id}.key")]);
        // The old state can't be gone on with.
        assert!(matches!(keys.signers(&state), Err(KeyFileError::Missing { vkey, .. }) if vkey == first));
    }

    /// What a crash left of a destruction is destroyed the next time; it is no key meanwhile.
    #[test]
    fn destruction_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(dir.path(), &Disk::default());
        let first = keys.first(NAME).unwrap().verifier().to_string();
        fs::rename(dir.path().join("log.key"), dir.path().join("log.key.retired")).unwrap();
        assert!(keys.verifiers().unwrap().is_empty());
        keys.destroy_retired(&LogKeysRecord::first(NAME, &first)).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    /// Files that others can read, that are damaged, or that are another log's are refused.
    #[test]
    fn unfit_files() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(dir.path(), &Disk::default());
        keys.first(NAME).unwrap();
        let path = dir.path().join("log.key");
        assert!(keys.first("other.example/log").unwrap_err().to_string().contains("test.example/log"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keys.verifiers().unwrap_err().to_string().contains("0640"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "PRIVATE+KEY+nonsense").unwrap();
        assert!(keys.verifiers().unwrap_err().to_string().contains("damaged"));
    }

    /// Two daemons never sign with one directory.
    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyDir::new(dir.path(), &Disk::default());
        let held = keys.lock().unwrap();
        assert!(held.is_some() && keys.lock().unwrap().is_none());
        drop(held);
        assert!(keys.lock().unwrap().is_some());
    }

    /// Names follow the first one, and are told from those of other logs.
    #[test]
    fn generations() {
        let state = LogKeysRecord::first(NAME, "v1");
        let new = |generation: u32, vkey: &'static str| NewName {
            origin: Box::leak(state.origin_of(generation).into_boxed_str()),
            generation,
            vkey,
            kept: head(NAME, 5, 5),
            lost: vec![head(NAME, 9, 9)],
            others: vec!["lost".to_owned(), vkey.to_owned()],
        };
        let second = state.renamed(new(2, "v2"), 6).unwrap();
        let third = second.renamed(new(3, "v3"), 7).unwrap();
        assert_eq!((third.origin.as_str(), third.first_origin()), ("test.example/log/3", NAME));
        assert_eq!(third.signing().collect::<Vec<_>>(), ["v3"]);
        assert_eq!(third.retired.iter().map(|key| key.vkey.as_str()).collect::<Vec<_>>(), ["v1", "lost", "v2"]);
        for (origin, generation) in
            [(NAME, Some(1)), ("test.example/log/2", Some(2)), ("test.example/log/12", Some(12))]
        {
            assert_eq!(third.generation_of(origin), generation);
        }
        for origin in ["test.example/log/1", "test.example/log/02", "test.example/log2", "test.example/log/", "else/2"]
        {
            assert_eq!(third.generation_of(origin), None, "{origin}");
        }
    }

    /// A signed head holds if its entries are there, or are known to be lost.
    #[test]
    fn heads() {
        let state = LogKeysRecord::first(NAME, "v1");
        let new = NewName {
            origin: "test.example/log/2",
            generation: 2,
            vkey: "v2",
            kept: head(NAME, 5, 5),
            lost: vec![head(NAME, 9, 9)],
            others: Vec::new(),
        };
        let after = state.renamed(new, 6).unwrap();
        // The root of the first n entries is n octets of n.
        let root_at = |size: u64| Ok::<_, StoreError>(Hash([u8::try_from(size).unwrap(); 32]));
        let held = |keys: &LogKeysRecord, origin: &str, size: u64, octet: u8| {
            let head = Checkpoint { origin: origin.to_owned(), size, root: Hash([octet; 32]) };
            keys.holds(&head, 7, root_at).unwrap()
        };
        let differs = |octet: u8| Held::Differs { root: Hash([octet; 32]) };
        for (keys, origin, size, octet, expected) in [
            (&state, NAME, 7, 7, Held::Yes),
            (&state, NAME, 3, 3, Held::Yes),
            (&state, NAME, 3, 9, differs(3)),
            (&state, NAME, 8, 8, Held::Beyond),
            (&state, "test.example/log/2", 3, 3, Held::Newer),
            (&state, "other.example/log", 3, 3, Held::Foreign),
            (&after, "test.example/log/2", 7, 7, Held::Yes),
            (&after, NAME, 5, 5, Held::Yes),
            (&after, NAME, 9, 9, Held::Yes),
            (&after, NAME, 9, 8, Held::Beyond),
            (&after, NAME, 6, 6, Held::Beyond),
            (&after, NAME, 4, 9, differs(4)),
            (&after, "test.example/log/3", 1, 1, Held::Newer),
        ] {
            assert_eq!(held(keys, origin, size, octet), expected, "{origin} {size} {octet}");
        }
        let head = Checkpoint { origin: NAME.to_owned(), size: 9, root: Hash([9; 32]) };
        assert_eq!(head_record(&head), after.ended[0].lost[0]);
    }

    /// The record's octets for ever: as 0.1.0 wrote them, and as releases from 0.2 on write them.
    #[test]
    fn golden() {
        let state = LogKeysRecord::first("a/log", "k1").rotated("k2", 3, 1000).unwrap();
        let (state, _vkey) = state.retired(4, 1000).unwrap();
        let new = NewName {
            origin: "a/log/2",
            generation: 2,
            vkey: "k3",
            kept: head("a/log", 5, 0xAA),
            lost: vec![head("a/log", 9, 0xBB)],
            others: Vec::new(),
        };
        let state = state.renamed(new, 5).unwrap().rotated("k4", 6, 2000).unwrap();
        let writes = [Write::PutLogKeys(state)];
        let octets = encode_change(&writes).unwrap();
        assert_eq!(hex::encode(&octets), format!("01{GOLDEN}"));
        for version in ["00", "01"] {
            assert_eq!(decode_change(&hex::decode(format!("{version}{GOLDEN}")).unwrap()).unwrap(), writes);
        }
    }

    const GOLDEN: &str = concat!(
        "010a07612f6c6f672f3202026b340601026b3305fba00f02026b3104026b32050105612f6c6f6705612f6c6f6705",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0105612f6c6f6709",
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    );
}
