//! Cursors: where a page ended, as opaque text. Knows that a cursor belongs to one list; refuses to know what is listed.
//! They are not signed: a forged one names a place in a list that its sender may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::registry::error::RegistryError;

/// Longest cursor that is looked at, in octets.
const OCTETS_MAX: usize = 4096;
/// The form of cursors that this version makes.
const FORM: u8 = 1;

/// What a cursor holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held<T> {
    v: u8,
    /// Which list: its name and filters.
    of: String,
    /// Where the page ended.
    at: T,
    /// The list's total, as counted for its first page.
    total: Option<u64>,
}

/// Makes a cursor.
pub(crate) fn write<T: Serialize>(of: &str, at: T, total: Option<u64>) -> Result<String, RegistryError> {
    let held = Held { v: FORM, of: of.to_owned(), at, total };
    let json = serde_json::to_vec(&held).map_err(|error| RegistryError::Internal(error.into()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Reads a cursor of the same list: where to go on, and the total.
///
/// # Errors
/// `Invalid` with the place `query.cursor`.
pub(crate) fn read<T: DeserializeOwned>(
    of: &str,
    cursor: Option<&str>,
) -> Result<Option<(T, Option<u64>)>, RegistryError> {
    let Some(text) = cursor else { return Ok(None) };
    let bad = |msg: &str| RegistryError::invalid("query.cursor", msg);
    let held = (text.len() <= OCTETS_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten()
        .and_then(|json| serde_json::from_slice::<Held<serde_json::Value>>(&json).ok())
        .filter(|held| held.v == FORM)
        .ok_or_else(|| bad("it is not a cursor of this registry; take it from `next_cursor` as it is"))?;
    if held.of != of {
        return Err(bad("it belongs to another list; keep filters and order as they were for the first page"));
    }
    let at = serde_json::from_value(held.at).map_err(|_other: serde_json::Error| bad("it is damaged"))?;
    Ok(Some((at, held.total)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{read, write};
    use crate::registry::error::RegistryError;

    /// What is written is read; anything else is refused as `query.cursor`.
    #[test]
    fn round_trip() {
        let cursor = write("users", "alice", Some(9)).unwrap();
        assert_eq!(read::<String>("users", Some(&cursor)).unwrap(), Some(("alice".into(), Some(9))));
        assert_eq!(read::<String>("users", None).unwrap(), None);
        let damaged = write("users", 7, None).unwrap();
        for (of, bad) in [("models", cursor.as_str()), ("users", "x"), ("users", ""), ("users", &damaged)] {
            let error = read::<String>(of, Some(bad)).unwrap_err();
            assert!(matches!(&error, RegistryError::Invalid(list) if list[0].0 == "query.cursor"), "{error}");
        }
    }
}
