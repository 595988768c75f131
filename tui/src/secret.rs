//! Secrets: a type that never shows itself, and token files, which are read only if nobody else could have read them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use common::token::{PREFIX, TokenText};
use zeroize::Zeroizing;

/// Longest token file, in octets.
const TOKEN_OCTETS_MAX: u64 = 16 * 1024;

/// A password or a token; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text; the caller's copy is moved.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
    /// The text, to be sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// The text in the form the client keeps.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads a token from a file: regular, not a link, of this user, closed to group and others.
///
/// # Errors
/// A sentence with the command that would help.
pub fn read_token_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let file = open_unlinked(path)
        .map_err(|cause| format!("can't open the token file {shown} (links are not followed): {cause}"))?;
    check_private(&file, "token file", path)?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(TOKEN_OCTETS_MAX)
        .read_to_string(&mut text)
        .map_err(|cause| format!("can't read the token file {shown}: {cause}"))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(format!("the token file {shown} doesn't hold one token of visible ASCII"));
    }
    check_token(token).map_err(|why| format!("the token in {shown} {why}"))?;
    Ok(Secret::new(token.to_owned()))
}

/// Whether a text that begins like an API token is one as it was printed: a slip is told before anything is sent.
///
/// # Errors
/// What is wrong with it.
pub fn check_token(text: &str) -> Result<(), String> {
    if text.starts_with(PREFIX) {
        text.parse::<TokenText>().map_err(|why| why.to_string())?;
    }
    Ok(())
}

/// Opens a file for reading; a link at its end is refused, and a pipe doesn't block.
pub(crate) fn open_unlinked(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(std::io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether a file is regular, of this user and closed to others; a sentence with the command that would help if not.
pub(crate) fn check_private(file: &File, what: &str, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let about = file.metadata().map_err(|cause| format!("can't examine the {what} {shown}: {cause}"))?;
    if !about.is_file() {
        return Err(format!("the {what} {shown} is not a regular file"));
    }
    let user = rustix::process::geteuid().as_raw();
    if about.uid() != user {
        return Err(format!("the {what} {shown} belongs to user {}: chown {user} {shown}", about.uid()));
    }
    if about.mode() & 0o077 != 0 {
        return Err(format!("the {what} {shown} is open to others: chmod 600 {shown}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{Secret, read_token_file};

    #[test]
    fn token_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "abc.def\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_token_file(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_token_file(&path).unwrap().expose(), "abc.def");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read_token_file(&link).is_err());
        assert!(read_token_file(folder.path()).unwrap_err().contains("regular"));
        for bad in ["", "two words", "line\nline", "\u{1b}"] {
            fs::write(&path, bad).unwrap();
            assert!(read_token_file(&path).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "***");
    }
}
