//! The header fields of the tus protocol, from octets of anybody to values. What they mean is not known here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::INTEGER_MAX;
use common::digest::Digest;
use common::name::{ArtifactPath, ModelName};
use http::header::{HeaderMap, HeaderName};

use crate::http::problem::{Protocol, Refused};
use crate::registry::resumable::{Checksum, METADATA_OCTETS_MAX};
use crate::registry::text::read_digest;

/// What `Upload-Metadata` says that the registry understands. Other keys are given back and mean nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `filename`: the artifact's path.
    pub path: Option<ArtifactPath>,
    /// `model`: the model it is for.
    pub model: Option<ModelName>,
    /// `sha256`: the digest of the whole, 64 hex digits.
    pub sha256: Option<Digest>,
    /// The field as it came.
    pub text: String,
}

impl Metadata {
    /// Reads the field, which may be missing.
    ///
    /// # Errors
    /// 400 for what is no such field, 422 for values that can't be, all of them.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let Some(text) = one(headers, "upload-metadata")? else { return Ok(Self::default()) };
        let pairs = metadata(text).map_err(|what| bad(format!("Upload-Metadata {what}")))?;
        let mut read = Self { text: text.to_owned(), ..Self::default() };
        let mut refused = Vec::new();
        for (key, value) in pairs {
            let text = match std::str::from_utf8(&value) {
                Ok(text) if !text.is_empty() => text,
                Ok(_nothing) => continue,
                Err(_not_utf8) if !["filename", "model", "sha256"].contains(&key) => continue,
                Err(_not_utf8) => {
                    refused.push((format!("metadata.{key}"), "is not UTF-8".to_owned()));
                    continue;
                }
            };
            let outcome = match key {
                "filename" => text.parse().map(|path| read.path = Some(path)).map_err(|error| format!("{error}")),
                "model" => text.parse().map(|name| read.model = Some(name)).map_err(|error| format!("{error}")),
                "sha256" => read_digest(text).map(|digest| read.sha256 = Some(digest)),
                _ => Ok(()),
            };
            if let Err(why) = outcome {
                refused.push((format!("metadata.{key}"), why));
            }
        }
        if refused.is_empty() { Ok(read) } else { Err(Refused::invalid(refused)) }
    }
}

/// The pairs of an `Upload-Metadata` field: keys, each once, and the octets that belong to them.
///
/// # Errors
/// What is wrong with it, to be said after its name.
pub fn metadata(text: &str) -> Result<Vec<(&str, Vec<u8>)>, String> {
    if text.len() > METADATA_OCTETS_MAX {
        return Err(format!("is longer than {METADATA_OCTETS_MAX} octets"));
    }
    let mut pairs: Vec<(&str, Vec<u8>)> = Vec::new();
    // Clients with nothing to say send an empty field.
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(format!("has the key {key:?} twice"));
        }
        let value = STANDARD
            .decode(value.trim())
            .map_err(|_not_base64| format!("has a value for {key:?} that is not base64"))?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The value of an `Upload-Checksum` field: algorithm, blank, base64.
///
/// # Errors
/// What is wrong with it, to be said after its name.
pub fn checksum(text: &str) -> Result<Checksum, String> {
    let (algorithm, value) = text.trim().split_once(' ').ok_or("is an algorithm, a blank, and base64")?;
    let octets = STANDARD.decode(value.trim()).map_err(|_not_base64| "has a value that is not base64".to_owned())?;
    let wrong = || format!("has {} octets, which no {algorithm} has", octets.len());
    match algorithm {
        "sha1" => octets.as_slice().try_into().map(Checksum::Sha1).map_err(|_length| wrong()),
        "sha256" => octets.as_slice().try_into().map(Checksum::Sha256).map_err(|_length| wrong()),
        _ => Err(format!("is of an algorithm that is not known here; there are {}", super::CHECKSUMS)),
    }
}

/// The checksum that a request gives.
///
/// # Errors
/// 400.
pub(super) fn checksum_of(headers: &HeaderMap, name: HeaderName) -> Result<Option<Checksum>, Refused> {
    let text = one(headers, name.as_str())?;
    text.map(checksum).transpose().map_err(|what| bad(format!("Upload-Checksum {what}")))
}

/// A number that a request gives: decimal digits, at most 2^53 − 1.
///
/// # Errors
/// 400.
pub(super) fn number(headers: &HeaderMap, name: HeaderName) -> Result<Option<u64>, Refused> {
    let Some(text) = one(headers, name.as_str())? else { return Ok(None) };
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let number = if is_number { text.parse().ok().filter(|number| *number <= INTEGER_MAX) } else { None };
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(bad(format!("{name} is not a number from 0 to {INTEGER_MAX}"))),
    }
}

/// A field that comes once at most.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refused> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(bad(format!("{name} is there twice")));
    }
    first.map(|value| value.to_str().map_err(|_not_ascii| bad(format!("{name} is not printable ASCII")))).transpose()
}

fn bad(what: String) -> Refused {
    Protocol::BadRequest(what).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{Checksum, Metadata, STANDARD, checksum, metadata, number};
    use base64::Engine as _;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    /// The protocol's own examples, and what the registry understands.
    #[test]
    fn examples() {
        let pairs = metadata("filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential").unwrap();
        assert_eq!(pairs, [("filename", b"world_domination_plan.pdf".to_vec()), ("is_confidential", Vec::new())]);
        assert_eq!(metadata("").unwrap(), []);
        for broken in ["a !", "a YQ==,a YQ==", "a YQ"] {
            assert!(metadata(broken).is_err(), "{broken}");
        }
        let path = STANDARD.encode("dir/m.bin");
        let model = STANDARD.encode("team/m");
        let read = Metadata::of(&with("upload-metadata", &format!("filename {path}, model {model},x AP8="))).unwrap();
        assert_eq!(read.path.unwrap().as_str(), "dir/m.bin");
        assert_eq!(read.model.unwrap().as_str(), "team/m");
        for (key, value) in [("filename", "../x"), ("model", "a/b/c"), ("sha256", "12"), ("filename", "a\u{202e}b")] {
            let text = format!("{key} {}", STANDARD.encode(value));
            assert!(Metadata::of(&with("upload-metadata", &text)).is_err(), "{key} {value}");
        }
        assert!(matches!(checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="), Ok(Checksum::Sha1(_))));
        for broken in ["", "sha1", "sha1 YQ==", "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="]
        {
            assert!(checksum(broken).is_err(), "{broken}");
        }
        let name = || HeaderName::from_static("upload-offset");
        assert_eq!(number(&with("upload-offset", "0070"), name()).unwrap(), Some(70));
        assert_eq!(number(&HeaderMap::new(), name()).unwrap(), None);
        for broken in ["", "-1", "+1", "1.0", "9007199254740992", "99999999999999999999999"] {
            assert!(number(&with("upload-offset", broken), name()).is_err(), "{broken}");
        }
    }

    proptest! {
        /// What is written is read.
        #[test]
        fn pairs(pairs in proptest::collection::btree_map("[a-z_]{1,8}", any::<Vec<u8>>(), 0..6)) {
            let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
            let text = text.join(",");
            let read = metadata(&text).unwrap();
            prop_assert_eq!(read.len(), pairs.len());
            prop_assert!(read.iter().all(|(key, value)| pairs[*key] == *value));
        }

        /// Any text is read or refused.
        #[test]
        fn any_text(text in "\\PC{0,200}") {
            let (_metadata, _checksum) = (metadata(&text), checksum(&text));
        }
    }
}
