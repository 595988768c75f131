//! Names that cross a boundary: models, users, versions, aliases, artifact paths. Each is parsed once and valid ever
//! after. Rules: rest-api.md §2 (users) and §4 (models). Nothing here knows whether a name is taken.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use utoipa::ToSchema;

use crate::shown::is_deceptive;

/// Longest segment of a model name, in octets.
pub const MODEL_SEGMENT_OCTETS_MAX: usize = 96;
/// Longest user name, in octets.
pub const USER_NAME_OCTETS_MAX: usize = 64;
/// Longest alias, in octets.
pub const ALIAS_OCTETS_MAX: usize = 64;
/// Longest segment of an artifact path, in octets.
pub const PATH_SEGMENT_OCTETS_MAX: usize = 255;
/// Longest artifact path, in octets.
pub const PATH_OCTETS_MAX: usize = 1024;
/// User names nobody can take: they are actors of the system itself.
pub const RESERVED_USER_NAMES: [&str; 3] = ["anonymous", "system", "watcher"];

/// Why a name was refused. The message says what is allowed and is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NameError(String);

fn refuse<T>(message: impl Into<String>) -> Result<T, NameError> {
    Err(NameError(message.into()))
}

/// Shows at most 80 characters of a hostile value, with control characters escaped.
fn quoted(value: &str) -> String {
    let shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
    if value.chars().count() > 80 { format!("\"{shown}…\"") } else { format!("\"{shown}\"") }
}

fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-')
}

macro_rules! string_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        // Not by way of a `String`: lists have thousands of these.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// `name` or `namespace/name`; segments `[A-Za-z0-9][A-Za-z0-9._-]{0,95}`; never shaped like a [`ModelId`].
///
/// ```
/// use common::name::ModelName;
/// let name: ModelName = "team-nlp/Sentiment".parse().unwrap();
/// assert_eq!(name.folded(), "team-nlp/sentiment");
/// assert!("../etc".parse::<ModelName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")]
pub struct ModelName(String);
string_newtype!(ModelName);

impl ModelName {
    /// The key under which the name is unique: case is ignored.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The part before the slash, by which namespaces are told apart: in lower case, and empty where there is none.
    ///
    /// ```
    /// use common::name::ModelName;
    /// assert_eq!("Team/bert".parse::<ModelName>().unwrap().namespace(), "team");
    /// assert_eq!("bert".parse::<ModelName>().unwrap().namespace(), "");
    /// ```
    pub fn namespace(&self) -> String {
        self.0.split_once('/').map_or_else(String::new, |(namespace, _name)| namespace.to_ascii_lowercase())
    }

    /// The name a file without one gets: its stem by the slug rules (`model.tar.gz` → `model`). Everything from the
    /// first dot on is the suffix; letters lose their accents; what is no letter becomes `-`; at most 96 octets remain. A letter
    /// that is none of these is not left out: the name is refused.
    ///
    /// ```
    /// use common::name::ModelName;
    /// assert_eq!(ModelName::from_filename("dir/My model (v2).tar.gz").unwrap().as_str(), "My-model-v2");
    /// assert_eq!(ModelName::from_filename("ümlaut-größe.bin").unwrap().as_str(), "umlaut-grosse");
    /// assert!(ModelName::from_filename("модель-v2.bin").unwrap_err().to_string().contains("such as `v2`"));
    /// assert_eq!(ModelName::from_filename(".env").unwrap().as_str(), "env");
    /// assert!(ModelName::from_filename("...").is_err());
    /// ```
    pub fn from_filename(filename: &str) -> Result<Self, NameError> {
        let base = filename.rsplit(['/', '\\']).next().unwrap_or(filename).trim_start_matches('.');
        let stem = base.split('.').next().unwrap_or(base);
        let (stem, is_whole) = spelled(stem);
        let mut slug = String::with_capacity(stem.len());
        for character in stem.chars() {
            if character.is_ascii_alphanumeric() || character == '_' {
                slug.push(character);
            } else if !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug: String = slug.trim_matches(['-', '_']).chars().take(MODEL_SEGMENT_OCTETS_MAX).collect();
        let slug = slug.trim_end_matches(['-', '_']);
        if slug.is_empty() {
            return refuse(format!("no model name can be made from the file name {}; send a `name`", quoted(filename)));
        }
        if !is_whole {
            return Err(unspelled(filename, slug));
        }
        if slug.parse::<ModelId>().is_ok() {
            return format!("model-{slug}").parse();
        }
        slug.parse()
    }
}

/// Letters that have no accent to lose, and how they are written in ASCII.
const LETTERS: [(char, &str); 25] = [
    ('ß', "ss"),
    ('ẞ', "SS"),
    ('æ', "ae"),
    ('Æ', "AE"),
    ('œ', "oe"),
    ('Œ', "OE"),
    ('ø', "o"),
    ('Ø', "O"),
    ('đ', "d"),
    ('Đ', "D"),
    ('ð', "d"),
    ('Ð', "D"),
    ('ł', "l"),
    ('Ł', "L"),
    ('þ', "th"),
    ('Þ', "TH"),
    ('ħ', "h"),
    ('Ħ', "H"),
    ('ı', "i"),
    ('ŋ', "ng"),
    ('Ŋ', "NG"),
    ('ŧ', "t"),
    ('Ŧ', "T"),
    ('ə', "e"),
    ('Ə', "E"),
];

/// A text in ASCII as far as it can be: letters without their accents, `-` for what is no letter. Whether no letter or digit was
/// lost by that.
pub fn spelled(text: &str) -> (String, bool) {
    let mut ascii = String::with_capacity(text.len());
    let mut is_whole = true;
    // Compatible forms too: a ligature is its letters, a superscript its digit.
    for character in text.nfkd() {
        if character.is_ascii() {
            ascii.push(character);
        } else if let Some((_, letters)) = LETTERS.iter().find(|(letter, _)| *letter == character) {
            ascii.push_str(letters);
        } else if !is_combining_mark(character) {
            is_whole &= !character.is_alphanumeric();
            ascii.push('-');
        }
    }
    (ascii, is_whole)
}

/// Why no name is made of a file's: with what is left of it.
pub fn unspelled(filename: &str, left: &str) -> NameError {
    NameError(format!(
        "the file name {} has letters or digits that have no ASCII spelling; name it without them, such as `{left}`, or send a `name`",
        quoted(filename)
    ))
}

impl FromStr for ModelName {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let mut segments = value.split('/');
        let well_formed = |segment: &str| {
            let octets = segment.as_bytes();
            (1..=MODEL_SEGMENT_OCTETS_MAX).contains(&octets.len())
                && octets[0].is_ascii_alphanumeric()
                && octets.iter().copied().all(is_word)
        };
        let first = segments.next().is_some_and(well_formed);
        let second = segments.next().is_none_or(well_formed);
        if !first || !second || segments.next().is_some() {
            return refuse(format!(
                "{} is not a model name: use `name` or `namespace/name`, each of letters, digits, `.`, `_`, `-`, \
                 beginning with a letter or digit, at most {MODEL_SEGMENT_OCTETS_MAX} long",
                quoted(value)
            ));
        }
        if ModelId::parsed(value).is_some() {
            return refuse(format!("{} has the shape of a model id and can't be a name", quoted(value)));
        }
        Ok(Self(value.to_owned()))
    }
}

macro_rules! ulid_newtype {
    ($name:ident, $what:literal) => {
        impl $name {
            /// From the 128 bits of a ULID.
            pub fn from_u128(bits: u128) -> Self {
                Self(bits)
            }
            /// The 128 bits; big-endian octets of them sort by time of creation.
            pub fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl $name {
            /// The id that a text is, if it is one. Every name that is read is looked at so, for it must not be one.
            fn parsed(value: &str) -> Option<Self> {
                if value.len() != ulid::ULID_LEN {
                    return None;
                }
                let id: u128 = ulid::Ulid::from_string(value).ok()?.into();
                // `from_string` wraps silently above 128 bits, so the round trip decides. Lower case is accepted.
                let mut buffer = [0u8; ulid::ULID_LEN];
                ulid::Ulid::from(id).array_to_str(&mut buffer).eq_ignore_ascii_case(value).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0u8; ulid::ULID_LEN];
                f.write_str(ulid::Ulid::from(self.0).array_to_str(&mut buffer))
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::parsed(value).map_or_else(|| refuse(format!(concat!("{} is not ", $what), quoted(value))), Ok)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    u128::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

/// A model's stable id: a ULID in its 26 upper-case Crockford base-32 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct ModelId(u128);
ulid_newtype!(ModelId, "a model id");

/// An item of the drop folder: a ULID, given when it is first seen. An item that was not yet taken gets another after a
/// restart of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct ItemId(u128);
ulid_newtype!(ItemId, "an item's id");

/// A resumable upload: a ULID, given when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct UploadId(u128);
ulid_newtype!(UploadId, "an upload's id");

/// A webhook: a ULID, given when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct HookId(u128);
ulid_newtype!(HookId, "a webhook's id");

/// A version's number: 1, 2, 3 …, never reused within a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 1)]
pub struct Version(u32);

impl Version {
    /// The first version of a model.
    pub const FIRST: Self = Self(1);
    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
    /// The number after this one; none after the last of the 2^32 − 1.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u32> for Version {
    type Error = NameError;
    fn try_from(number: u32) -> Result<Self, NameError> {
        if number == 0 { refuse("versions begin with 1") } else { Ok(Self(number)) }
    }
}

impl From<Version> for u32 {
    fn from(version: Version) -> u32 {
        version.0
    }
}

impl FromStr for Version {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let canonical =
            !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) && !value.starts_with('0');
        match value.parse::<u32>() {
            Ok(number) if canonical => Self::try_from(number),
            Ok(_) | Err(_) => refuse(format!("{} is not a version: use a number from 1 up", quoted(value))),
        }
    }
}

/// `[a-z0-9][a-z0-9._-]{0,63}`; upper case is folded on parsing; the reserved names of the system are refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
pub struct UserName(String);
string_newtype!(UserName);

impl FromStr for UserName {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let octets = value.as_bytes();
        let well_formed = (1..=USER_NAME_OCTETS_MAX).contains(&octets.len())
            && octets[0].is_ascii_alphanumeric()
            && octets.iter().copied().all(is_word);
        if !well_formed {
            return refuse(format!(
                "{} is not a user name: use letters, digits, `.`, `_`, `-`, beginning with a letter or digit, at most \
                 {USER_NAME_OCTETS_MAX} long",
                quoted(value)
            ));
        }
        let folded = value.to_ascii_lowercase();
        if RESERVED_USER_NAMES.contains(&folded.as_str()) {
            return refuse(format!("the user name {} is reserved", quoted(value)));
        }
        Ok(Self(folded))
    }
}

/// An alias of a version, such as `prod`: `[A-Za-z][A-Za-z0-9._-]{0,63}`, folded to lower case; never a number, so
/// `name:3` and `name@alias` can't be confused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z][A-Za-z0-9._-]{0,63}$")]
pub struct Alias(String);
string_newtype!(Alias);

impl FromStr for Alias {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let octets = value.as_bytes();
        let well_formed = (1..=ALIAS_OCTETS_MAX).contains(&octets.len())
            && octets[0].is_ascii_alphabetic()
            && octets.iter().copied().all(is_word);
        if well_formed {
            Ok(Self(value.to_ascii_lowercase()))
        } else {
            refuse(format!(
                "{} is not an alias: use letters, digits, `.`, `_`, `-`, beginning with a letter, at most \
                 {ALIAS_OCTETS_MAX} long",
                quoted(value)
            ))
        }
    }
}

/// The path of an artifact within its version: relative, `/`-separated, no `.` or `..` segment, no control or
/// bidirectional-formatting character, no backslash, segments of at most 255 octets.
///
/// ```
/// use common::name::ArtifactPath;
/// assert!("weights/model-00001.safetensors".parse::<ArtifactPath>().is_ok());
/// for hostile in ["../x", "/etc/passwd", "a//b", "a\\b", "a\u{202e}b", "a\0b", "C:/x", ""] {
///     assert!(hostile.parse::<ArtifactPath>().is_err(), "{hostile:?}");
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, max_length = 1024, example = "model.safetensors")]
pub struct ArtifactPath(String);
string_newtype!(ArtifactPath);

impl ArtifactPath {
    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        let why = if value.is_empty() {
            Some("it is empty")
        } else if value.len() > PATH_OCTETS_MAX {
            Some("it is longer than 1024 octets")
        } else if value.starts_with('/') || value.as_bytes().get(1) == Some(&b':') {
            Some("it is absolute")
        } else if value.contains('\\') {
            Some("it has a backslash")
        } else if value.chars().any(is_deceptive) {
            Some("it has control or invisible formatting characters")
        } else {
            value.split('/').find_map(|segment| match segment {
                "" => Some("it has an empty segment"),
                "." | ".." => Some("it has a `.` or `..` segment"),
                long if long.len() > PATH_SEGMENT_OCTETS_MAX => Some("a segment is longer than 255 octets"),
                padded if padded.trim() != padded => Some("a segment begins or ends with a space"),
                _ => None,
            })
        };
        match why {
            Some(why) => refuse(format!("the file name {} can't be used: {why}", quoted(value))),
            None => Ok(Self(value.to_owned())),
        }
    }
}

/// How a request names a model or one of its versions: id, name, `name:3`, `name@alias`, or an artifact's digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The model itself.
    pub model: ModelKey,
    /// Which version; none means the latest.
    pub select: Select,
}

/// The model part of a [`ModelRef`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelKey {
    /// By its stable id.
    Id(ModelId),
    /// By its unique name.
    Name(ModelName),
    /// By the digest of an artifact of it; the newest model that has it.
    Digest(crate::digest::Digest),
}

/// The version part of a [`ModelRef`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Select {
    /// The newest available version.
    Latest,
    /// `:3`.
    Version(Version),
    /// `@prod`.
    Alias(Alias),
}

impl FromStr for ModelRef {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        if value.starts_with("sha256:") {
            let digest = value.parse().map_err(|_unused: crate::digest::DigestError| {
                NameError(format!("{} is not a digest: use `sha256:` and 64 lower-case hex digits", quoted(value)))
            })?;
            return Ok(Self { model: ModelKey::Digest(digest), select: Select::Latest });
        }
        let (model, select) = if let Some((model, alias)) = value.split_once('@') {
            (model, Select::Alias(alias.parse()?))
        } else if let Some((model, version)) = value.split_once(':') {
            (model, Select::Version(version.parse()?))
        } else {
            (value, Select::Latest)
        };
        let model = match model.parse::<ModelId>() {
            Ok(id) => ModelKey::Id(id),
            Err(_not_an_id) => ModelKey::Name(model.parse()?),
        };
        Ok(Self { model, select })
    }
}
