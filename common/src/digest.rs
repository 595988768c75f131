//! The digest of a blob: SHA-256, written `sha256:<64 lower-case hex digits>`.
//!
//! Parsed once at the edge and valid ever after: a [`Digest`] that exists is well formed. This module knows the written
//! form and nothing else: it computes no hash and knows no file.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// What stands before the hex digits. The algorithm is part of the written form, so that a second one could be told apart.
const PREFIX: &str = "sha256:";

/// A SHA-256 digest.
///
/// There is exactly one written form, so equal digests are equal strings, and the order of digests is that of their
/// written forms.
///
/// ```
/// use common::digest::Digest;
///
/// let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// let digest: Digest = text.parse()?;
/// assert_eq!(digest.to_string(), text);
/// assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
///
/// // Strict: no other case, length, algorithm or surrounding space.
/// assert!("sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855".parse::<Digest>().is_err());
/// assert!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse::<Digest>().is_err());
/// # Ok::<(), common::digest::DigestError>(())
/// ```
///
/// On the wire it is a string:
///
/// ```
/// use common::digest::Digest;
///
/// let digest = Digest::from_bytes([0xab; 32]);
/// let json = serde_json::to_string(&digest).unwrap();
/// assert_eq!(json, format!("\"sha256:{}\"", "ab".repeat(32)));
/// assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Digest::LEN]);

impl Digest {
    /// Octets in a digest.
    pub const LEN: usize = 32;

    /// The digest with these octets, as a hash function returns them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The 64 lower-case hex digits without the algorithm in front, for peers and paths that leave it out.
    ///
    /// ```
    /// # use common::digest::Digest;
    /// assert_eq!(Digest::from_bytes([0; 32]).to_hex(), "0".repeat(64));
    /// ```
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Reads exactly 64 lower-case hex digits without the algorithm in front: the inverse of [`Digest::to_hex`].
    ///
    /// # Errors
    /// [`DigestError`] for anything else.
    ///
    /// ```
    /// # use common::digest::Digest;
    /// assert_eq!(Digest::from_hex(&"00".repeat(32)).unwrap(), Digest::from_bytes([0; 32]));
    /// assert!(Digest::from_hex(&"0A".repeat(32)).is_err());
    /// ```
    pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
        // The decoder would take upper case too, and then two strings would be one digest.
        if !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError);
        }
        let mut bytes = [0; Self::LEN];
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            // Only the length can still be wrong, and the message says what it must be.
            Err(_) => Err(DigestError),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The written form: a digest in a log line or a failed assertion is to be recognised.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::from_hex(text.strip_prefix(PREFIX).ok_or(DigestError)?)
    }
}

/// A string that is no digest. It carries nothing of the string: that came from outside and can be of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 lower-case hex digits")]
pub struct DigestError;

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Stored records hold the octets, text formats the written form.
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`sha256:` and 64 lower-case hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Written)
        } else {
            <[u8; Self::LEN]>::deserialize(deserializer).map(Self)
        }
    }
}

impl utoipa::PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("SHA-256 of the bytes: `sha256:` and 64 lower-case hex digits"))
            .pattern(Some("^sha256:[0-9a-f]{64}$"))
            .examples(["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])
            .into()
    }
}

impl utoipa::ToSchema for Digest {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use utoipa::{PartialSchema as _, ToSchema as _};

    use super::{Digest, DigestError};

    #[test]
    fn only_the_one_written_form_is_read() {
        let good = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        for bad in [
            String::new(),
            "sha256:".into(),
            good[7..].into(),
            good.to_uppercase(),
            good.replace('a', "A"),
            good.replace("sha256", "SHA256"),
            good.replace("sha256", "sha512"),
            good.replace("sha256:", "sha256-"),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{good}00"),
            good[..good.len() - 1].into(),
            good[..good.len() - 2].into(),
            good.replace('f', "g"),
            good.replace("ab", "é"),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_written_forms() {
        let (low, high) = (Digest::from_bytes([0x0f; 32]), Digest::from_bytes([0xf0; 32]));
        assert!(low < high && low.to_string() < high.to_string());
    }

    #[test]
    fn json_that_is_no_digest_is_refused_with_what_is_expected() {
        for bad in ["1", "null", "[]", "\"sha256:00\""] {
            let error = serde_json::from_str::<Digest>(bad).unwrap_err().to_string();
            assert!(error.contains("64 lower-case hex digits"), "{error}");
        }
        // A string with escapes reaches the visitor as an owned one.
        let escaped = format!("\"\\u0073ha256:{}\"", "00".repeat(32));
        assert_eq!(serde_json::from_str::<Digest>(&escaped).unwrap(), Digest::from_bytes([0; 32]));
    }

    #[test]
    fn the_schema_is_a_string() {
        let schema = serde_json::to_value(Digest::schema()).unwrap();
        assert_eq!((schema["type"].as_str(), Digest::name().as_ref()), (Some("string"), "Digest"));
    }

    proptest! {
        #[test]
        fn every_digest_survives_its_written_form(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(Digest::from_hex(&digest.to_hex()), Ok(digest));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "(sha256:)?[0-9a-fA-F]{62,66}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert!(digest.to_string() == text);
            }
        }
    }
}
