//! Parameters of paths and queries as typed values. A reference of a shape that nothing can have is answered like one
//! that nothing has: 404. A value that is to be made, or that is only a parameter, is 422.

use std::fmt;

use common::audit::INTEGER_MAX;
use common::name::{Alias, ArtifactPath, HookId, ItemId, ModelRef, RESERVED_USER_NAMES, UploadId, UserName, Version};
use common::token::TokenId;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Visitor};

use crate::registry::cursor::Seek;
use crate::registry::error::RegistryError;

/// Rows of a page, unless the caller says otherwise.
pub(crate) const LIMIT_DEFAULT: usize = 50;
/// Rows of a page at most.
pub(crate) const LIMIT_MAX: usize = 1000;

/// Times that `not` may come in a query.
pub(crate) const NOT_MAX: usize = 16;

/// A model by id, name, `name:3`, `name@alias` or `sha256:…`.
pub(crate) fn model(text: &str) -> Result<ModelRef, RegistryError> {
    existing("model", text)
}

/// A version by its number.
pub(crate) fn version(text: &str) -> Result<Version, RegistryError> {
    existing("version", text)
}

/// An alias that should be there.
pub(crate) fn alias(text: &str) -> Result<Alias, RegistryError> {
    existing("alias", text)
}

/// A user by name.
pub(crate) fn user(text: &str) -> Result<UserName, RegistryError> {
    existing("user", text)
}

/// An artifact by its path.
pub(crate) fn artifact(text: &str) -> Result<ArtifactPath, RegistryError> {
    existing("file", text)
}

/// An item of the drop folder by its id.
pub(crate) fn item(text: &str) -> Result<ItemId, RegistryError> {
    existing("item", text)
}

/// An API token by its id.
pub(crate) fn token(text: &str) -> Result<TokenId, RegistryError> {
    existing("token", text)
}

/// A resumable upload by its id.
pub(crate) fn upload(text: &str) -> Result<UploadId, RegistryError> {
    existing("upload", text)
}

/// A webhook by its id.
pub(crate) fn webhook(text: &str) -> Result<HookId, RegistryError> {
    existing("webhook", text)
}

/// A value of the path that is to be made; `loc` as in `path.alias`.
pub(crate) fn wanted<T>(loc: &str, text: &str) -> Result<T, RegistryError>
where
    T: std::str::FromStr<Err: fmt::Display>,
{
    text.parse().map_err(|error: T::Err| RegistryError::invalid(loc, error.to_string()))
}

/// An index or size of the log, in decimal digits without leading zeros. None has another form, so it isn't found.
pub(crate) fn index(text: &str) -> Result<u64, RegistryError> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|octet| octet.is_ascii_digit()));
    let number: Option<u64> = if canonical { text.parse().ok() } else { None };
    number.filter(|number| *number <= INTEGER_MAX).ok_or_else(|| RegistryError::not_found("such entry"))
}

fn existing<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, RegistryError> {
    // Of a hostile value no more is said than that.
    text.parse().map_err(|_impossible: T::Err| RegistryError::not_found(format!("such {what}")))
}

/// The name of somebody who did something: a user, or one of the system's own, such as `watcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActorName(pub String);

impl std::str::FromStr for ActorName {
    type Err = <UserName as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let folded = text.to_ascii_lowercase();
        if RESERVED_USER_NAMES.contains(&folded.as_str()) {
            return Ok(Self(folded));
        }
        text.parse::<UserName>().map(|name| Self(name.into()))
    }
}

impl<'de> Deserialize<'de> for ActorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `limit`: rows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;

        // Checked here and not after, so that the deserializer can name the parameter.
        impl Visitor<'_> for Rows {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {LIMIT_MAX}")
            }

            fn visit_u64<E: serde::de::Error>(self, rows: u64) -> Result<Limit, E> {
                usize::try_from(rows)
                    .ok()
                    .filter(|rows| (1..=LIMIT_MAX).contains(rows))
                    .map(Limit)
                    .ok_or_else(|| E::custom(format!("is not from 1 to {LIMIT_MAX}")))
            }
        }

        deserializer.deserialize_u64(Rows)
    }
}

/// An RFC 3339 time, as milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
                match text.parse::<Timestamp>() {
                    Ok(time) => Ok(Time(time.as_millisecond())),
                    Err(_) => Err(E::custom("is not an RFC 3339 time, such as 2026-01-31T12:00:00Z")),
                }
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Pages of lists that are read onward only.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Onward {
    /// Rows.
    #[serde(default)]
    pub(crate) limit: Limit,
    /// Where the page before ended.
    pub(crate) cursor: Option<String>,
}

/// Pages of lists without other parameters.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Paging {
    /// Rows.
    #[serde(default)]
    pub(crate) limit: Limit,
    /// Where the page before ended.
    pub(crate) cursor: Option<String>,
    /// Where the page after begins.
    pub(crate) before: Option<String>,
}

impl Paging {
    /// Which page.
    ///
    /// # Errors
    /// `Invalid` for what contradicts itself.
    pub(crate) fn seek(self) -> Result<Seek, RegistryError> {
        Seek::of(self.cursor, self.before)
    }
}

/// No parameters at all.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Nothing {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{Limit, Time, index, item, model, version, wanted};
    use crate::registry::error::RegistryError;

    #[test]
    fn limits() {
        let limit = |text| serde_json::from_str::<Limit>(text).map(|limit| limit.0).ok();
        assert_eq!([limit("1"), limit("50"), limit("1000")], [Some(1), Some(50), Some(1000)]);
        assert_eq!([limit("0"), limit("1001"), limit("-1"), limit("4294967296")], [None; 4]);
    }

    #[test]
    fn times() {
        let time = |text: &str| serde_json::from_value::<Time>(text.into()).map(|time| time.0).ok();
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(time("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!([time(""), time("now"), time("2026-01-31"), time("2026-13-01T00:00:00Z")], [None; 4]);
    }

    #[test]
    fn indices() {
        assert_eq!(
            ["0", "7", "9007199254740991"].map(|text| index(text).ok()),
            [Some(0), Some(7), Some((1 << 53) - 1)]
        );
        for text in ["", "00", "07", "+7", "-1", " 7", "7 ", "7.0", "0x7", "٣", "9007199254740992", &"9".repeat(99)] {
            assert!(matches!(index(text), Err(RegistryError::NotFound { .. })), "{text}");
        }
    }

    #[test]
    fn impossible_references_are_not_found_and_impossible_names_are_invalid() {
        for text in ["", "../x", "a b", "x:0", "x@", "sha256:12", &"x".repeat(10_000)] {
            assert!(matches!(model(text), Err(RegistryError::NotFound { .. })), "{text}");
        }
        for text in ["", "pause", "01K", "81K7Z0000000000000000000AB", "01K7Z0000000000000000000AU", "../x"] {
            assert!(matches!(item(text), Err(RegistryError::NotFound { .. })), "{text}");
        }
        for text in ["0", "01", "-1", "latest", "4294967296", "1.0"] {
            assert!(matches!(version(text), Err(RegistryError::NotFound { .. })), "{text}");
        }
        assert!(matches!(wanted::<common::name::Alias>("path.alias", "7"), Err(RegistryError::Invalid(_))));
    }
}
