//! Secrets: the type that cannot be printed, and the files they live in.
//!
//! Knows: that a secret's file must be readable by its owner alone, how a key is made, and how it reaches the disk
//! whole or not at all. Refuses to know: which settings are secrets, and what they open.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The longest secret, in octets. Passwords end at 1024; keys are a line.
pub const SECRET_BYTES_MAX: usize = 8 * 1024;

/// The shortest key for HS256, in octets: as long as the hash's output (RFC 7518 §3.2).
pub const KEY_BYTES_MIN: usize = 32;

/// How many octets of randomness a generated key has; 64 characters when written.
const GENERATED_BYTES: usize = 48;

/// A password or key: wiped when dropped, compared in constant time, printed as `[secret]`, never serialised.
///
/// The wiping covers our copies. The process environment and a `.env` file keep theirs, which is why files and
/// credentials are the better place.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`, which should not be held anywhere else.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A new key: 48 octets from the operating system's generator in base64url, 64 characters.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let mut octets = Zeroizing::new([0; GENERATED_BYTES]);
        getrandom::fill(&mut *octets).map_err(io::Error::other)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(octets.as_slice())))
    }

    /// The secret itself. Each call of this is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// Who may be able to read a secret's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone: mode 0600 or 0400.
    Owner,
    /// Whoever the directory lets in: systemd's credentials, whose directory is already private to the service.
    Any,
}

/// Why no secret came out of a file or a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A directory, a device, a pipe.
    #[error("is not a regular file")]
    NotAFile,
    /// Group or others have rights on it.
    #[error(
        "has mode {mode:04o}, so others may read it; set it to 0600 and replace the secret if anyone could have seen it"
    )]
    Exposed {
        /// The permission bits.
        mode: u32,
    },
    /// Nothing, or nothing but line ends.
    #[error("is empty")]
    Empty,
    /// Longer than [`SECRET_BYTES_MAX`].
    #[error("is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// Octets that are not UTF-8, or a NUL.
    #[error("is not text; `mregd gen-secret` makes a key that is")]
    NotText,
    /// A key file with fewer octets than [`KEY_BYTES_MIN`].
    #[error("holds a key of fewer than {KEY_BYTES_MIN} bytes")]
    KeyTooShort,
}

/// Reads a secret from a file, without the line ends after it.
///
/// # Errors
/// [`SecretError`], whose text does not name the path and never shows the content.
pub fn read_secret_file(path: &Path, readers: Readers) -> Result<Secret, SecretError> {
    // Asked before opening, because opening a pipe waits for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(SecretError::NotAFile);
    }
    let file = File::open(path)?;
    // Asked again of what was opened, so that the answer is about the octets that are read.
    let mode = file.metadata()?.mode() & 0o7777;
    if readers == Readers::Owner && mode & 0o077 != 0 {
        return Err(SecretError::Exposed { mode });
    }
    read_secret(file)
}

/// Reads a secret to the end of a stream, such as standard input, without the line ends after it.
///
/// # Errors
/// [`SecretError`] for an empty, endless or unreadable stream.
pub fn read_secret(stream: impl Read) -> Result<Secret, SecretError> {
    // The room is taken at once, so that growing leaves no copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    stream.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong);
    }
    let text = std::str::from_utf8(&octets).ok().filter(|text| !text.contains('\0')).ok_or(SecretError::NotText)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    Ok(Secret::new(text.to_owned()))
}

/// The key in `path`; a new one, written there with mode 0600, if there is no such file.
///
/// The directory is made (0700) if only it is missing; directories above it are not, so that a wrong path is an error
/// and not a new place for keys. The file appears under its name complete and durable (written elsewhere in the
/// directory, synced, renamed without replacing, directory synced): a crash leaves no file or the whole one, and of two
/// processes that start together one makes the key and the other reads it.
///
/// # Errors
/// [`SecretError`] if the file is there and unfit (exposed, empty, shorter than [`KEY_BYTES_MIN`]; it is never
/// repaired), or could not be made.
pub fn load_or_generate_key_file(path: &Path) -> Result<Secret, SecretError> {
    let existing = match read_secret_file(path, Readers::Owner) {
        Err(SecretError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            if generate_key_file(path)? {
                tracing::info!(path = %path.display(), "made a new key");
            }
            read_secret_file(path, Readers::Owner)?
        }
        other => other?,
    };
    if existing.expose().len() < KEY_BYTES_MIN {
        return Err(SecretError::KeyTooShort);
    }
    Ok(existing)
}

/// `false` if another process was first.
fn generate_key_file(path: &Path) -> Result<bool, SecretError> {
    let directory = parent_of(path);
    match DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => sync_directory(&parent_of(&directory))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let key = Secret::generate()?;
    // Created with O_EXCL and mode 0600; removed again if anything below fails.
    let mut file = tempfile::NamedTempFile::new_in(&directory)?;
    file.write_all(key.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            sync_directory(&directory)?;
            Ok(true)
        }
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(failed.error.into()),
    }
}

/// The directory of `path`; that of a bare name is the working directory.
fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs::{Permissions, read_dir, set_permissions, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    use super::{
        KEY_BYTES_MIN, Readers, SECRET_BYTES_MAX, Secret, SecretError, load_or_generate_key_file, read_secret,
        read_secret_file,
    };

    fn file(path: &Path, text: &[u8], mode: u32) {
        write(path, text).unwrap();
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// No way of printing a secret shows it.
    #[test]
    fn is_never_printed() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "[secret] [secret] Some(\n    [secret],\n)");
        assert_eq!(secret, Secret::new("hunter2".into()));
        assert_ne!(secret, Secret::new("hunter3".into()));
    }

    /// Only files that others cannot read are taken, except from the credentials directory.
    #[test]
    fn wants_private_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for mode in [0o600, 0o400, 0o700] {
            file(&path, b"abc\r\n\n", mode);
            assert_eq!(read_secret_file(&path, Readers::Owner).unwrap().expose(), "abc");
        }
        for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret_file(&path, Readers::Owner).unwrap_err();
            assert!(matches!(error, SecretError::Exposed { mode: found } if found == mode), "{error}");
            assert_eq!(read_secret_file(&path, Readers::Any).unwrap().expose(), "abc");
        }
        assert!(matches!(read_secret_file(dir.path(), Readers::Owner), Err(SecretError::NotAFile)));
        assert!(matches!(read_secret_file(&dir.path().join("none"), Readers::Owner), Err(SecretError::Io(_))));
    }

    /// Empty, endless and binary streams are refused; white space inside is kept.
    #[test]
    fn reads_streams() {
        assert_eq!(read_secret(&b" a b \n"[..]).unwrap().expose(), " a b ");
        assert!(matches!(read_secret(&b"\r\n"[..]), Err(SecretError::Empty)));
        assert!(matches!(read_secret(&b"a\xff"[..]), Err(SecretError::NotText)));
        assert!(matches!(read_secret(&b"a\0b"[..]), Err(SecretError::NotText)));
        assert!(matches!(read_secret(std::io::repeat(b'a')), Err(SecretError::TooLong)));
        assert!(read_secret(vec![b'a'; SECRET_BYTES_MAX].as_slice()).is_ok());
    }

    /// The first call makes the key, private and in a private directory; later calls read it.
    #[test]
    fn generates_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/jwt");
        let made = load_or_generate_key_file(&path).unwrap();
        assert_eq!(made.expose().len(), 64);
        assert_eq!(load_or_generate_key_file(&path).unwrap(), made);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        assert!(matches!(load_or_generate_key_file(&dir.path().join("a/b/jwt")), Err(SecretError::Io(_))));
    }

    /// Processes that start together agree on one key.
    #[test]
    fn generates_one_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt");
        let keys: Vec<Secret> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_generate_key_file(&path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    /// A key file that is unfit stays as it is.
    #[test]
    fn repairs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt");
        file(&path, &[b'a'; KEY_BYTES_MIN], 0o644);
        assert!(matches!(load_or_generate_key_file(&path), Err(SecretError::Exposed { mode: 0o644 })));
        file(&path, &[b'a'; KEY_BYTES_MIN - 1], 0o600);
        assert!(matches!(load_or_generate_key_file(&path), Err(SecretError::KeyTooShort)));
        file(&path, b"", 0o600);
        assert!(matches!(load_or_generate_key_file(&path), Err(SecretError::Empty)));
        assert_eq!(path.metadata().unwrap().len(), 0);
    }
}
