//! The text of an API token: `mreg_<id>_<secret>`. Parsed without any look-up, for it ends in a checksum: a scanner for
//! secrets can tell a token from text that looks like one, and whoever cut one off while copying is told at once. Whether
//! there is such a token, and what it may do, is not known here.
//!
//! | part | characters | what |
//! |---|---|---|
//! | `mreg_` | 5 | what scanners look for: `\bmreg_[0-9a-hjkmnp-tv-z]{16}_[0-9a-hjkmnp-tv-z]{47}\b` |
//! | id | 16 | 48 bits of time and 32 of randomness; no secret, names the token in lists and entries |
//! | `_` | 1 | |
//! | secret | 40 | 200 random bits |
//! | checksum | 7 | CRC-32 (ISO-HDLC) of all before it |
//!
//! The alphabet is Crockford's base 32 in lower case: 5 bits a character, none of them to be taken for another, and a double
//! click selects the whole. It is read as it is written: there is one text for a token.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// What every API token begins with, and no other credential.
pub const PREFIX: &str = "mreg_";
/// Characters of an id.
pub const ID_LEN: usize = 16;
/// Octets of randomness in a secret.
pub const SECRET_OCTETS: usize = 25;
/// Characters of a secret.
const SECRET_LEN: usize = SECRET_OCTETS * 8 / BITS;
/// Characters of the checksum: 32 bits.
const CHECKSUM_LEN: usize = 7;
/// Characters of a whole token.
pub const TOKEN_LEN: usize = PREFIX.len() + ID_LEN + 1 + SECRET_LEN + CHECKSUM_LEN;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bits of a character.
const BITS: usize = 5;
/// Bits of an id that are random; those before them are its time.
const ID_RANDOM_BITS: u32 = 32;

/// Why a text is no API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It has another shape.
    #[error("is not an API token: those are `mreg_`, 16 characters, `_` and 47 more, in digits and lower-case letters")]
    Shape,
    /// It has the shape, and is not what was once printed.
    #[error("is mistyped: its last characters, a checksum, don't fit the others; copy it again as a whole")]
    Checksum,
}

/// The id of an API token. Ids sort by the time they were made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    /// The id made at a time, milliseconds since the epoch, with so many random bits.
    pub fn new(at_ms: u64, random: u32) -> Self {
        let value = u128::from(at_ms) << ID_RANDOM_BITS | u128::from(random);
        Self(written(value, ID_LEN))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As an audit entry names the credential of who acted: the beginning of the token's text.
    pub fn credential(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let fits = text.len() == ID_LEN && text.bytes().all(is_of_alphabet);
        if fits { Ok(Self(text.to_owned())) } else { Err(TokenError::Shape) }
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The whole text of an API token: a secret. It is wiped when it is dropped, and shown by [`TokenText::expose`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    id: TokenId,
    text: Zeroizing<String>,
}

impl TokenText {
    /// A token of this id and random octets.
    pub fn new(id: TokenId, secret: &[u8; SECRET_OCTETS]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_LEN));
        text.push_str(PREFIX);
        text.push_str(&id.0);
        text.push('_');
        // Five octets are eight characters.
        for five in secret.chunks(BITS) {
            let value = five.iter().fold(0, |value: u128, octet| value << 8 | u128::from(*octet));
            text.push_str(&written(value, 8));
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self { id, text }
    }

    /// Its id.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The text itself. Each call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is kept of it: SHA-256 of the text. 200 random bits need no slower hash.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

impl FromStr for TokenText {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts = text.strip_prefix(PREFIX).filter(|_| text.len() == TOKEN_LEN).and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.ok_or(TokenError::Shape)?;
        if !secret.bytes().all(is_of_alphabet) {
            return Err(TokenError::Shape);
        }
        let id = id.parse()?;
        // All of it is ASCII by now.
        let (before, check) = text.split_at(TOKEN_LEN - CHECKSUM_LEN);
        if checksum(before) != check {
            return Err(TokenError::Checksum);
        }
        Ok(Self { id, text: Zeroizing::new(text.to_owned()) })
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id)
    }
}

fn is_of_alphabet(octet: u8) -> bool {
    ALPHABET.contains(&octet)
}

/// The last so many characters of a number in base 32.
fn written(value: u128, len: usize) -> String {
    let place = |at: usize| {
        let digit = (value >> (BITS * (len - 1 - at))) & 0x1f;
        char::from(ALPHABET[usize::try_from(digit).unwrap_or(0)])
    };
    (0..len).map(place).collect()
}

/// CRC-32 as zip and Ethernet have it, written like the rest.
fn checksum(text: &str) -> String {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let crc = !text.bytes().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(octet), |crc, _bit| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 })
    });
    written(u128::from(crc), CHECKSUM_LEN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{ALPHABET, SECRET_OCTETS, TOKEN_LEN, TokenError, TokenId, TokenText, checksum};

    /// The text of a token, octet for octet, so that no release reads another's tokens as mistyped.
    #[test]
    fn vector() {
        let id = TokenId::new(0x0198_f5a1_2345, 0x89ab_cdef);
        let token = TokenText::new(id, &std::array::from_fn(|at| u8::try_from(at * 10).unwrap()));
        assert_eq!(token.expose(), "mreg_06cfb8938p4tqkff_005187h868y4cm2tchq7h0mcjtgand5ys39dssqg2xc837d");
        assert_eq!(token.expose().len(), TOKEN_LEN);
        assert_eq!(format!("{token:?}"), "mreg_06cfb8938p4tqkff_…");
        // The check value of this checksum: 0xcbf43926.
        assert_eq!(checksum("123456789"), "35z8e96");
    }

    /// Ids sort as their times.
    #[test]
    fn ids_sort() {
        assert!(TokenId::new(1, u32::MAX) < TokenId::new(2, 0));
        assert!(TokenId::new(u64::MAX >> 16, 0).as_str().starts_with('z'));
        for text in ["", "0123456789abcde", "0123456789abcdefg", "0123456789abcdel", "0123456789ABCDEF"] {
            assert_eq!(text.parse::<TokenId>(), Err(TokenError::Shape), "{text}");
        }
    }

    proptest! {
        /// What is made is read again; with one character changed, cut or added it is no token any more.
        #[test]
        fn read_as_made(at_ms in 0..u64::MAX >> 16, random in any::<u32>(), secret in any::<[u8; SECRET_OCTETS]>(),
                        place in 0..TOKEN_LEN, other in any::<char>()) {
            let token = TokenText::new(TokenId::new(at_ms, random), &secret);
            let text = token.expose();
            prop_assert_eq!(text.parse::<TokenText>().unwrap(), token.clone());
            prop_assert_eq!(text.parse::<TokenText>().unwrap().hash(), token.hash());
            prop_assert!(text[1..].parse::<TokenText>().is_err() && text[..TOKEN_LEN - 1].parse::<TokenText>().is_err());
            let longer = format!("{text}0");
            prop_assert!(longer.parse::<TokenText>().is_err());
            let changed: String =
                text.chars().enumerate().map(|(at, character)| if at == place { other } else { character }).collect();
            if changed != text {
                prop_assert!(changed.parse::<TokenText>().is_err(), "{changed}");
            }
            let digit = char::from(ALPHABET[usize::from(secret[0]) % 32]);
            let changed: String =
                text.chars().enumerate().map(|(at, character)| if at == place { digit } else { character }).collect();
            if changed != text && place >= 5 && place != 21 {
                prop_assert_eq!(changed.parse::<TokenText>(), Err(TokenError::Checksum));
            }
        }

        /// No text makes it panic, and none that is read is written otherwise.
        #[test]
        fn any_text(text in "(mreg_)?[0-9a-z_é]{0,70}", octets in any::<Vec<u8>>()) {
            for text in [text, String::from_utf8_lossy(&octets).into_owned()] {
                if let Ok(token) = text.parse::<TokenText>() {
                    prop_assert_eq!(token.expose(), text);
                }
            }
        }
    }
}
