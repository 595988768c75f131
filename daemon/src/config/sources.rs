//! Where the text of a setting comes from: the environment, a `.env` file, a secret's own file, a systemd credential.
//!
//! Knows: which source wins, that blank and placeholder values count as unset, and the rules for secret files. Refuses
//! to know: what a value means.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dotenv::{self, Entry};
use super::secret::{Readers, Secret, SecretError, read_secret_file};
use super::{Mistake, settings};

/// The longest `.env` file, in octets.
const DOTENV_BYTES_MAX: u64 = 1024 * 1024;

/// What systemd puts before the name of a file, and an underscore between, where the unit loads a whole folder under this
/// name (`LoadCredential=mregd:/etc/mregd/credentials`).
const CREDENTIALS_FOLDER: &str = "mregd";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option such as `--bind`.
    CommandLine,
    /// The process environment.
    Environment,
    /// A `.env` file.
    DotEnv {
        /// The file's name as it was given; `.env` for the one in the working directory.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// The file that `NAME_FILE` names.
    File(PathBuf),
    /// The systemd credential of that name.
    Credential,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::DotEnv { file, line } => write!(f, "{file}:{line}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential => f.write_str("credential"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value somebody set, and where.
pub(super) struct Stated {
    pub(super) text: Secret,
    pub(super) source: Source,
}

/// All sources but the command line, and what was noticed while looking into them.
pub(super) struct Sources {
    environment: BTreeMap<String, OsString>,
    dotenv: BTreeMap<String, Entry>,
    dotenv_file: String,
    credentials_dir: Option<PathBuf>,
    working_dir: PathBuf,
    /// Variables that hold a placeholder, with their source.
    pub(super) placeholders: Vec<String>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
}

impl Sources {
    /// Takes the environment and reads `env_file`, or `.env` in the working directory if there is one.
    pub(super) fn open(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        env_file: Option<&Path>,
        working_dir: &Path,
    ) -> Self {
        // A name that is not UTF-8 is none of ours.
        let environment: BTreeMap<String, OsString> =
            environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let credentials_dir =
            environment.get("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(|dir| working_dir.join(dir));
        let mut sources = Self {
            environment,
            dotenv: BTreeMap::new(),
            dotenv_file: env_file.map_or_else(|| ".env".to_owned(), |path| path.display().to_string()),
            credentials_dir,
            working_dir: working_dir.to_owned(),
            placeholders: Vec::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        };
        sources.read_dotenv(env_file);
        sources
    }

    fn read_dotenv(&mut self, env_file: Option<&Path>) {
        let path = self.working_dir.join(env_file.unwrap_or(Path::new(".env")));
        let (text, mode, owner) = match read_text(&path) {
            Ok(read) => read,
            // Only a file that was asked for has to be there.
            Err(error)
                if env_file.is_none()
                    && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) =>
            {
                return;
            }
            Err(error) => {
                let about = if env_file.is_some() { "--env-file" } else { ".env" };
                let name = settings::echo(&self.dotenv_file);
                self.mistakes.push(Mistake::new(about, format!("{name} cannot be read: {error}")));
                return;
            }
        };
        let parsed = dotenv::parse(&text);
        for dotenv::Unreadable { line, key } in &parsed.unreadable {
            let place = format!("{}:{line}", self.dotenv_file);
            // The content may be a secret and is not repeated, except for a name we know.
            match key.as_deref().and_then(known_name) {
                Some(name) => self.mistakes.push(Mistake::new(
                    name,
                    format!(
                        "{place} cannot be read; look for a quote that is not closed, or for text after one that is"
                    ),
                )),
                None => self.warnings.push(format!("{place} is not NAME=value and is skipped")),
            }
        }
        let outer = |name: &str| self.environment.get(name).map(|value| value.to_string_lossy().into_owned());
        match dotenv::resolve(parsed.bindings, outer) {
            Ok(entries) => self.dotenv = entries,
            Err(error) => self.mistakes.push(Mistake::new(&self.dotenv_file, error.to_string())),
        }
        let secrets: Vec<&str> = settings::all()
            .filter(|setting| matches!(setting.kind, settings::Kind::Secret { .. }))
            .map(|setting| setting.name)
            .filter(|name| self.dotenv.get(*name).and_then(|entry| entry.value.as_deref()).is_some_and(is_value))
            .collect();
        // Where it is root's, a service reads it as its group: it must be open to that, and to nobody else.
        let (others, right) = if owner == 0 { (0o007, "0640") } else { (0o077, "0600") };
        if mode & others != 0 && !secrets.is_empty() {
            self.warnings.push(format!(
                "{} holds {} and has mode {mode:04o}, so others may read it; set it to {right}",
                self.dotenv_file,
                secrets.join(", ")
            ));
        }
    }

    /// The value of a variable that is not a secret, or of a secret as far as it is given in place.
    pub(super) fn plain(&mut self, name: &str) -> Option<Stated> {
        let mut candidates = Vec::new();
        match self.environment.get(name).map(|value| value.to_str()) {
            Some(Some(value)) => candidates.push((value.to_owned(), Source::Environment)),
            Some(None) => self.mistakes.push(Mistake::new(name, "is not UTF-8 (from environment)".to_owned())),
            None => {}
        }
        if let Some(Entry { line, value: Some(value) }) = self.dotenv.get(name) {
            candidates.push((value.clone(), Source::DotEnv { file: self.dotenv_file.clone(), line: *line }));
        }
        for (text, source) in candidates {
            // Blank in the environment hides the file: that is how a user turns one of its lines off.
            if text.trim().is_empty() {
                return None;
            }
            if !is_placeholder(&text) {
                return Some(Stated { text: Secret::new(text), source });
            }
            self.placeholders.push(format!("{name} ({source})"));
        }
        None
    }

    /// The value of a secret: in place, from the file that `NAME_FILE` names, or a credential.
    pub(super) fn secret(&mut self, name: &str) -> Option<Stated> {
        let file_name = format!("{name}_FILE");
        let in_place = self.plain(name);
        let file = self.plain(&file_name);
        match (in_place, file) {
            (Some(value), Some(file)) => {
                let places = format!("{name} ({}) and {file_name} ({})", value.source, file.source);
                self.mistakes.push(Mistake::new(name, format!("is given twice, by {places}; unset one of them")));
                None
            }
            (Some(value), None) => Some(value),
            (None, Some(file)) => {
                let path = self.working_dir.join(file.text.expose());
                let source = Source::File(path.clone());
                self.secret_file(&file_name, &path, source)
            }
            (None, None) => {
                let dir = self.credentials_dir.as_ref()?;
                let is_absent = |path: &PathBuf| matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
                // One that was loaded for itself wins over one of a folder that holds them all.
                let places = [dir.join(name), dir.join(format!("{CREDENTIALS_FOLDER}_{name}"))];
                let path = places.into_iter().find(|path| !is_absent(path))?;
                self.secret_file(name, &path, Source::Credential)
            }
        }
    }

    fn secret_file(&mut self, about: &str, path: &Path, source: Source) -> Option<Stated> {
        match read_secret_file(path, self.readers(path)) {
            Ok(text) if is_placeholder(text.expose()) => {
                self.placeholders.push(format!("{about} ({source})"));
                None
            }
            Ok(text) => Some(Stated { text, source }),
            Err(SecretError::Io(error)) => {
                self.mistakes.push(Mistake::new(about, format!("{} cannot be read: {error}", path.display())));
                None
            }
            Err(error) => {
                self.mistakes.push(Mistake::new(about, format!("{} {error}", path.display())));
                None
            }
        }
    }

    /// systemd shows credentials to the service alone, with whatever mode; a `NAME_FILE` may point there as well.
    fn readers(&self, path: &Path) -> Readers {
        let real = |path: &Path| path.canonicalize().ok();
        match self.credentials_dir.as_deref().and_then(real).zip(real(path)) {
            Some((dir, path)) if path.starts_with(&dir) => Readers::Any,
            _ => Readers::Owner,
        }
    }

    /// Names that are set, in the environment or the file, blank or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let in_file = self.dotenv.keys().filter(|name| !self.environment.contains_key(*name));
        self.environment.keys().chain(in_file).map(String::as_str)
    }

    /// A variable that other programs define for us, which has no place in a `.env` file.
    pub(super) fn inherited(&self, name: &str) -> Option<&str> {
        self.environment.get(name)?.to_str()
    }
}

/// The text of a file, its permission bits and its owner.
fn read_text(path: &Path) -> io::Result<(String, u32, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let mut octets = Vec::new();
    file.take(DOTENV_BYTES_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > DOTENV_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {DOTENV_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(octets).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|octet| **octet == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })?;
    Ok((text, metadata.mode() & 0o7777, metadata.uid()))
}

/// The setting of this name, also if it is the file of a secret.
fn known_name(name: &str) -> Option<&'static str> {
    settings::all()
        .map(|setting| setting.name)
        .find(|known| name == *known || name.strip_suffix("_FILE") == Some(known))
}

fn is_value(text: &str) -> bool {
    !text.trim().is_empty() && !is_placeholder(text)
}

/// `your_secret_key`, `your_s3_bucket_name` and the like: what a sample file says where a value has to go.
pub(super) fn is_placeholder(text: &str) -> bool {
    let inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
    text.trim().strip_prefix("your_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(inner))
}
