//! What a name in the drop folder says. Knows names; refuses to know files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use common::name::{MODEL_SEGMENT_OCTETS_MAX, ModelName, NameError, spelled, unspelled};

/// The drop folder's own folders, which are nobody's items.
pub const LANES: [&str; 4] = ["incoming", "processing", "done", "rejected"];
/// The marker of a folder that is complete.
pub const COMPLETE: &str = ".mreg-complete";
/// The same as other programs write it (Hadoop, Spark).
pub const SUCCESS: &str = "_SUCCESS";
/// The marker of a folder that is a namespace.
pub const NAMESPACE: &str = ".mreg-namespace";
/// What follows an item's name in that of its sidecar.
pub const SIDECAR_SUFFIX: &str = ".mreg.json";
/// What follows an item's name in that of its checksum file.
pub const CHECKSUM_SUFFIX: &str = ".sha256";

/// What programs append to the names of what they have not finished: lower case, with the dot.
const TEMPORARY_SUFFIXES: [&str; 10] =
    [".part", ".filepart", ".tmp", ".crdownload", ".partial", ".swp", ".swx", ".download", ".incomplete", ".upload"];
/// What systems leave in folders, lower case.
const LITTER: [&str; 4] = [".ds_store", "thumbs.db", "desktop.ini", "lost+found"];
/// What NFS clients call a file that was deleted while it was open: this and hex digits.
const NFS_PREFIX: &str = ".nfs";
/// The fewest digits that any of them writes.
const NFS_DIGITS_MIN: usize = 8;
/// Names with a dot in front that are part of a model's folder, not something unfinished.
const USUAL_IN_FOLDERS: [&str; 3] = [".gitattributes", ".gitignore", ".gitkeep"];

/// Below which of the two watched folders something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// The drop folder itself.
    Top,
    /// Its `incoming/`.
    Incoming,
}

/// Where something lies: in a watched folder or in a folder of it that is a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The watched folder.
    pub root: Root,
    /// The namespace's folder.
    pub namespace: Option<String>,
    /// The name in there.
    pub name: OsString,
}

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameKind {
    /// A file or folder to take in.
    Item,
    /// `NAME.mreg.json`: what to say about NAME. That may be a sidecar itself: then nothing is ever said by it, but it is
    /// no item either.
    Sidecar(OsString),
    /// `NAME.sha256`: the digest that NAME must have. As above.
    Checksum(OsString),
    /// A name that programs give to what they have not finished, such as `.NAME.f3Kq0x` (rsync) or `NAME.part`.
    Temporary,
    /// `.mreg-complete` or `_SUCCESS` in a folder: it is complete.
    Complete,
    /// `.mreg-namespace` in a folder: it is a namespace, and each item in it a model of its own.
    Namespace,
    /// Nothing to anybody, such as `.nfs…`.
    Ignored,
}

/// What a name is, whatever it names. The lanes have no place here: see [`Place::kind`].
pub fn kind_of(name: &OsStr) -> NameKind {
    let octets = name.as_bytes();
    if let Some(marker) = marker(octets) {
        return marker;
    }
    if matches!(octets, b"" | b"." | b"..") || is_litter(octets) {
        return NameKind::Ignored;
    }
    let Some((of, kind)) = strip_beside(octets) else {
        return if is_temporary(octets) { NameKind::Temporary } else { NameKind::Item };
    };
    // What lies beside something follows it: nobody wants a model of a checksum.
    let mut base = of;
    while let Some((of, _kind)) = strip_beside(base) {
        base = of;
    }
    if marker(base).is_some() || matches!(base, b"." | b"..") || is_litter(base) {
        NameKind::Ignored
    } else if is_temporary(base) {
        NameKind::Temporary
    } else {
        kind(OsStr::from_bytes(of).to_owned())
    }
}

/// What a name is in a folder that becomes one version: only markers, what is unfinished and litter are no part of it.
/// Sidecars and checksums are, there.
pub fn kind_within(name: &OsStr) -> NameKind {
    let octets = name.as_bytes();
    if USUAL_IN_FOLDERS.iter().any(|usual| octets == usual.as_bytes()) || is_hadoop_checksum(octets) {
        return NameKind::Item;
    }
    match kind_of(name) {
        NameKind::Sidecar(_) | NameKind::Checksum(_) => NameKind::Item,
        NameKind::Ignored if !matches!(octets, b"" | b"." | b"..") && !is_litter(octets) => NameKind::Item,
        kind => kind,
    }
}

/// The namespace that a folder of this name can be, if any.
pub fn namespace_of(name: &OsStr) -> Option<&str> {
    let name = name.to_str().filter(|name| !name.contains('/'))?;
    let is_one = kind_of(OsStr::new(name)) == NameKind::Item && format!("{name}/x").parse::<ModelName>().is_ok();
    is_one.then_some(name)
}

/// The name of an item's sidecar.
pub fn sidecar_of(item: &OsStr) -> OsString {
    with_suffix(item, SIDECAR_SUFFIX)
}

/// The name of an item's checksum file.
pub fn checksum_of(item: &OsStr) -> OsString {
    with_suffix(item, CHECKSUM_SUFFIX)
}

impl Place {
    /// What its name is there: [`kind_of`], and the lanes are nothing to anybody.
    pub fn kind(&self) -> NameKind {
        let is_lane = LANES.iter().any(|lane| self.name.as_bytes() == lane.as_bytes());
        if is_lane && self.root == Root::Top && self.namespace.is_none() {
            return NameKind::Ignored;
        }
        kind_of(&self.name)
    }

    /// As people see it: `namespace/name`, what is not UTF-8 replaced.
    pub fn shown(&self) -> String {
        let name = self.name.to_string_lossy();
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.into_owned(),
        }
    }

    /// The model's name that follows from it, for a file: the stem, in the folder's namespace.
    ///
    /// # Errors
    /// The name can't be made one: says what to do.
    pub fn model_name(&self) -> Result<ModelName, NameError> {
        self.in_namespace(ModelName::from_filename(&self.name.to_string_lossy())?)
    }

    /// The same for a folder: the whole name, in which dots are no suffix.
    ///
    /// # Errors
    /// As `model_name`.
    pub fn folder_model_name(&self) -> Result<ModelName, NameError> {
        let name = self.name.to_string_lossy();
        if !name.contains('/')
            && let Ok(name) = name.parse()
        {
            return self.in_namespace(name);
        }
        let (ascii, is_whole) = spelled(&name);
        match dotted_slug(&ascii).parse::<ModelName>() {
            Ok(left) if !is_whole => Err(unspelled(&name, left.as_str())),
            Ok(name) => self.in_namespace(name),
            // Nothing is left of it, or a model's id: the rules for files say what becomes of that.
            Err(_) => self.model_name(),
        }
    }

    /// A model's name that was said for the item: one without a namespace stays in that of the folder.
    ///
    /// # Errors
    /// The two don't make a name.
    pub fn in_namespace(&self, name: ModelName) -> Result<ModelName, NameError> {
        match &self.namespace {
            Some(namespace) if !name.as_str().contains('/') => format!("{namespace}/{name}").parse(),
            Some(_) | None => Ok(name),
        }
    }

    /// The same place with another name.
    #[must_use]
    pub fn beside(&self, name: OsString) -> Self {
        Self { name, ..self.clone() }
    }
}

/// Characters that can't be become `-`, as in the slug of a file's name, but dots stay.
fn dotted_slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len().min(MODEL_SEGMENT_OCTETS_MAX));
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
            slug.push(character);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_matches(['-', '_', '.']);
    // ASCII by now: an octet is a character.
    let slug = slug.get(..MODEL_SEGMENT_OCTETS_MAX).unwrap_or(slug);
    slug.trim_end_matches(['-', '_', '.']).to_owned()
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    OsString::from_vec([name.as_bytes(), suffix.as_bytes()].concat())
}

fn marker(name: &[u8]) -> Option<NameKind> {
    if name == SUCCESS.as_bytes() || name.eq_ignore_ascii_case(COMPLETE.as_bytes()) {
        return Some(NameKind::Complete);
    }
    name.eq_ignore_ascii_case(NAMESPACE.as_bytes()).then_some(NameKind::Namespace)
}

/// What something beside an item of a name is.
type Beside = fn(OsString) -> NameKind;

/// The name that something beside it speaks of, and as what it does.
fn strip_beside(name: &[u8]) -> Option<(&[u8], Beside)> {
    without_suffix(name, SIDECAR_SUFFIX)
        .map(|of| (of, NameKind::Sidecar as Beside))
        .or_else(|| without_suffix(name, CHECKSUM_SUFFIX).map(|of| (of, NameKind::Checksum as _)))
}

/// What stands before a suffix, whatever its case; not nothing.
fn without_suffix<'a>(name: &'a [u8], suffix: &str) -> Option<&'a [u8]> {
    let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
    (!stem.is_empty() && end.eq_ignore_ascii_case(suffix.as_bytes())).then_some(stem)
}

fn is_litter(name: &[u8]) -> bool {
    let is_deleted = name.split_at_checked(NFS_PREFIX.len()).is_some_and(|(prefix, digits)| {
        // A temporary name of rsync's for a file `nfs…` is no deleted file.
        prefix.eq_ignore_ascii_case(NFS_PREFIX.as_bytes())
            && digits.len() >= NFS_DIGITS_MIN
            && digits.iter().all(u8::is_ascii_hexdigit)
    });
    is_deleted || LITTER.iter().any(|litter| name.eq_ignore_ascii_case(litter.as_bytes()))
}

fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(b".")
        || name.ends_with(b"~")
        || (name.len() > 2 && name.starts_with(b"#") && name.ends_with(b"#"))
        || TEMPORARY_SUFFIXES.iter().any(|suffix| without_suffix(name, suffix).is_some())
}

/// `.part-00000.crc`, which Hadoop and Spark write beside each file of a model.
fn is_hadoop_checksum(name: &[u8]) -> bool {
    name.starts_with(b".") && name.len() > 5 && name.ends_with(b".crc")
}

#[cfg(test)]
mod tests;
