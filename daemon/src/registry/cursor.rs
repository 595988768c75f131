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

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seek {
    /// The first one.
    #[default]
    First,
    /// The one after a place.
    After(String),
    /// The one before a place.
    Before(String),
    /// The last one.
    Last,
}

/// The word that `before` takes for the end of a list. No cursor is so short.
pub const END: &str = "end";

impl Seek {
    /// From what a query says.
    ///
    /// # Errors
    /// `Invalid` where it says both.
    pub fn of(cursor: Option<String>, before: Option<String>) -> Result<Self, RegistryError> {
        Ok(match (cursor, before) {
            (None, None) => Self::First,
            (Some(after), None) => Self::After(after),
            (None, Some(before)) if before == END => Self::Last,
            (None, Some(before)) => Self::Before(before),
            (Some(_), Some(_)) => {
                return Err(RegistryError::invalid("query.before", "it says where a page ends; `cursor` is there too"));
            }
        })
    }
}

/// Where a page is looked for.
#[derive(Debug)]
pub(crate) struct Sought<T> {
    /// Whether the list is walked from its end to its beginning.
    pub(crate) backward: bool,
    /// The place to go on from; none: from the end that the walk begins at.
    pub(crate) from: Option<T>,
    /// The list's total, as counted for the page that the walk began with.
    pub(crate) total: Option<u64>,
}

/// Reads what is asked for of a list.
///
/// # Errors
/// `Invalid` with the place `query.cursor`.
pub(crate) fn seek<T: DeserializeOwned>(of: &str, seek: &Seek) -> Result<Sought<T>, RegistryError> {
    let (backward, cursor) = match seek {
        Seek::First => (false, None),
        Seek::After(cursor) => (false, Some(cursor.as_str())),
        Seek::Before(cursor) => (true, Some(cursor.as_str())),
        Seek::Last => (true, None),
    };
    let found = read::<T>(of, cursor)?;
    let total = found.as_ref().and_then(|(_from, total)| *total);
    Ok(Sought { backward, from: found.map(|(from, _total)| from), total })
}

/// Cursors of a page, as `next_cursor` and `prev_cursor` say them.
pub(crate) type Ends = (Option<String>, Option<String>);

impl<T: Serialize> Sought<T> {
    /// The cursors of the page that was found: `ends` are the places of its first and its last row in the list's order,
    /// `on` is where the walk goes on, if it does.
    ///
    /// # Errors
    /// `Internal`.
    pub(crate) fn ends(
        &self,
        of: &str,
        ends: Option<(&T, &T)>,
        on: Option<&T>,
        total: Option<u64>,
    ) -> Result<Ends, RegistryError> {
        let begun_inside = self.from.is_some();
        let (first, last) = (ends.map(|(first, _)| first), ends.map(|(_, last)| last));
        let (next, prev) =
            if self.backward { (last.filter(|_| begun_inside), on) } else { (on, first.filter(|_| begun_inside)) };
        let made = |place: Option<&T>| place.map(|place| write(of, place, total)).transpose();
        Ok((made(next)?, made(prev)?))
    }
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

    use super::{Seek, read, seek, write};
    use crate::registry::error::RegistryError;

    /// A page in the middle has both cursors, one at an end only that which leads away from it, whichever way it was walked.
    #[test]
    fn ends_of_pages() {
        let at = |at: u32| write("l", at, Some(9)).unwrap();
        for (asked, on, next, prev) in [
            (Seek::First, Some(3), Some(3), None),
            (Seek::First, None, None, None),
            (Seek::After(at(1)), Some(3), Some(3), Some(2)),
            (Seek::After(at(1)), None, None, Some(2)),
            (Seek::Before(at(4)), Some(2), Some(3), Some(2)),
            (Seek::Before(at(4)), None, Some(3), None),
            (Seek::Last, Some(2), None, Some(2)),
        ] {
            let sought = seek::<u32>("l", &asked).unwrap();
            let (found_next, found_prev) = sought.ends("l", Some((&2, &3)), on.as_ref(), Some(9)).unwrap();
            assert_eq!((found_next, found_prev), (next.map(at), prev.map(at)), "{asked:?}");
            assert_eq!(sought.total.is_some(), sought.from.is_some());
        }
        let said = |cursor: &str, before: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Seek::of(given(cursor), given(before)).ok()
        };
        assert_eq!([said("", "end"), said("", ""), said("a", "b")], [Some(Seek::Last), Some(Seek::First), None]);
    }

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
