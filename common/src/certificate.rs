//! What an X.509 certificate says about itself (RFC 5280 §4.1): for whom it is, from when to when, and which key it has.
//! For people to read, and to compare a key with one that was written down. Whether anybody should believe it is decided
//! elsewhere. Pure: octets in, facts out; nothing in them decides how much is allocated.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Names that are kept of a certificate; it may have thousands.
pub const NAMES_MAX: usize = 32;
/// Longest name that is kept, octets: that of a host (RFC 1035 §2.3.4).
const NAME_OCTETS_MAX: usize = 255;
/// Seconds of a day.
const DAY_S: i64 = 86_400;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]` of the certificate: its version.
const VERSION: u8 = 0xa0;
/// `[3]` of the certificate: its extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// SHA-256 of a public key as certificates have it (SubjectPublicKeyInfo). Written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPin([u8; 32]);

/// What is no pin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a pin is sha256: and 64 hexadecimal digits, the SHA-256 of the certificate's public key (SubjectPublicKeyInfo)"
)]
pub struct NoPin;

impl KeyPin {
    /// The pin of a key.
    #[must_use]
    pub fn of(public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(public_key_info).into())
    }
}

impl FromStr for KeyPin {
    type Err = NoPin;

    fn from_str(text: &str) -> Result<Self, NoPin> {
        let mut octets = [0; 32];
        let digits = text.strip_prefix("sha256:").ok_or(NoPin)?;
        hex::decode_to_slice(digits, &mut octets).map_err(|_no_hex| NoPin)?;
        Ok(Self(octets))
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

/// The facts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The hosts it is for, as it says (subjectAltName): at most [`NAMES_MAX`], visible ASCII.
    pub names: Vec<String>,
    /// From when on it is good, seconds since the epoch.
    pub not_before_s: i64,
    /// Until when it is good, seconds since the epoch.
    pub not_after_s: i64,
    /// Its key.
    pub key: KeyPin,
}

impl Certificate {
    /// Reads the DER of a certificate of version 3. None for anything else.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut outer = Der(Der(der).take(SEQUENCE)?);
        let mut fields = Der(outer.take(SEQUENCE)?);
        fields.take(VERSION)?;
        fields.take(INTEGER)?;
        // The algorithm, and who signed it.
        fields.take(SEQUENCE)?;
        fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let (not_before_s, not_after_s) = (validity.time()?, validity.time()?);
        // The subject: hosts are named by the extension alone (RFC 9525 §2).
        fields.take(SEQUENCE)?;
        let before = fields.0;
        fields.take(SEQUENCE)?;
        let key = KeyPin::of(&before[..before.len() - fields.0.len()]);
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                names = alt_names(content).unwrap_or_default();
            }
        }
        Some(Self { names, not_before_s, not_after_s, key })
    }

    /// The first host it is for, or that there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("nobody", String::as_str)
    }

    /// Whole days that it is still good for; negative once it has expired.
    #[must_use]
    pub fn days_left(&self, now_s: i64) -> i64 {
        self.not_after_s.saturating_sub(now_s).div_euclid(DAY_S)
    }
}

/// The names of the extension, if there is one.
fn alt_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut list = Der(Der(extensions).take(SEQUENCE)?);
    while let Some(extension) = list.take(SEQUENCE) {
        let mut parts = Der(extension);
        if parts.take(OBJECT_ID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let value = std::iter::from_fn(|| parts.next()).find(|(tag, _)| *tag == OCTET_STRING)?.1;
        let mut all = Der(Der(value).take(SEQUENCE)?);
        return Some(std::iter::from_fn(|| all.next()).filter_map(name).take(NAMES_MAX).collect());
    }
    None
}

fn name((tag, content): (u8, &[u8])) -> Option<String> {
    match (tag, content.len()) {
        (DNS_NAME, 1..=NAME_OCTETS_MAX) if content.iter().all(u8::is_ascii_graphic) => {
            Some(String::from_utf8_lossy(content).into_owned())
        }
        (IP_ADDRESS, 4) => Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(content).ok()?)).to_string()),
        (IP_ADDRESS, 16) => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?)).to_string()),
        _ => None,
    }
}

/// A day, as people write it; `?` for what lies outside the calendar.
#[must_use]
pub fn day(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "?".to_owned(), |at| TimeZone::UTC.to_datetime(at).date().to_string())
}

/// Values that follow one another (X.690 §8.1, definite lengths).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value: its tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match usize::from(first) {
            length @ ..=0x7f => (length, rest),
            // Three octets of length are 16 MiB.
            more @ 0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(more - 0x80)?;
                (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next value's content, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = Self(self.0);
        let (found, content) = ahead.next()?;
        (found == tag).then(|| self.0 = ahead.0)?;
        Some(content)
    }

    /// A time, as seconds since the epoch.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.next()?;
        let (year, rest) = match tag {
            // RFC 5280 §4.1.2.5.1: 50 to 99 are those of the last century.
            UTC_TIME => {
                let (year, rest) = content.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = content.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let digits = rest.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
        let part = |at: usize| digits.get(at..at + 2).and_then(number).and_then(|part| i8::try_from(part).ok());
        let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
        Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
    }
}

/// At most four digits.
fn number(digits: &[u8]) -> Option<i16> {
    let is_number = digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::{any, prop_assert, proptest};

    use super::{Certificate, KeyPin, NAMES_MAX, day};

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        let mut octets = match length {
            0..0x80 => vec![tag, u8::try_from(length).unwrap()],
            _ => [vec![tag, 0x82], length.to_be_bytes().to_vec()].concat(),
        };
        octets.extend_from_slice(content);
        octets
    }

    /// A certificate with these times and names; its other fields are there and mean nothing.
    fn certificate(times: [(u8, &str); 2], names: &[Vec<u8>]) -> Vec<u8> {
        let alt = value(0x30, &names.concat());
        let extension =
            value(0x30, &[value(0x06, &[0x55, 0x1d, 0x11]), value(0x01, &[255]), value(0x04, &alt)].concat());
        let other = value(0x30, &[value(0x06, &[0x55, 0x1d, 0x0f]), value(0x04, &[1])].concat());
        let validity = times.map(|(tag, text)| value(tag, text.as_bytes())).concat();
        let fields = [
            value(0xa0, &value(0x02, &[2])),
            value(0x02, &[1]),
            value(0x30, &[]),
            value(0x30, &[]),
            value(0x30, &validity),
            value(0x30, &[]),
            value(0x30, b"key"),
            value(0xa3, &value(0x30, &[other, extension].concat())),
        ];
        value(0x30, &[value(0x30, &fields.concat()), value(0x30, &[]), value(0x03, &[])].concat())
    }

    #[test]
    fn facts() {
        let names =
            [value(0x82, b"a.example"), value(0x87, &[127, 0, 0, 1]), value(0x82, b"a\nb"), value(0x81, b"x@y")];
        let der = certificate([(0x17, "260101000000Z"), (0x18, "20260201120000Z")], &names);
        let read = Certificate::read(&der).unwrap();
        assert_eq!(read.names, ["a.example", "127.0.0.1"]);
        assert_eq!((day(read.not_before_s), day(read.not_after_s)), ("2026-01-01".into(), "2026-02-01".into()));
        assert_eq!(read.key, KeyPin::of(&value(0x30, b"key")));
        let noon = read.not_after_s;
        assert_eq!([noon, noon - 86_400, noon + 1].map(|now| read.days_left(now)), [0, 1, -1]);
        let old = certificate([(0x17, "500101000000Z"), (0x17, "491231235959Z")], &[]);
        let old = Certificate::read(&old).unwrap();
        assert_eq!((day(old.not_before_s), day(old.not_after_s)), ("1950-01-01".into(), "2049-12-31".into()));
        assert_eq!(old.name(), "nobody");
    }

    #[test]
    fn bounds() {
        let names: Vec<_> = (0..100).map(|at| value(0x82, format!("h{at}").as_bytes())).collect();
        let der = certificate([(0x17, "260101000000Z"), (0x17, "270101000000Z")], &names);
        assert_eq!(Certificate::read(&der).unwrap().names.len(), NAMES_MAX);
        for times in
            [[(0x17, "260101000000"), (0x17, "270101000000Z")], [(0x17, "261301000000Z"), (0x17, "270101000000Z")]]
        {
            assert_eq!(Certificate::read(&certificate(times, &[])), None);
        }
    }

    #[test]
    fn pins() {
        let pin = KeyPin::of(b"key");
        assert_eq!(pin.to_string().parse(), Ok(pin));
        for text in ["", "sha256:", "sha256:00", "SHA256:00", &pin.to_string()[7..], &format!("{pin}0")] {
            assert!(text.parse::<KeyPin>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever the octets are, nothing panics, and what is read is bounded.
        #[test]
        fn any_octets(mut octets in proptest::collection::vec(any::<u8>(), 0..64), at in 0_usize..200, new: u8) {
            drop(Certificate::read(&octets));
            let der = certificate([(0x17, "260101000000Z"), (0x17, "270101000000Z")], &[value(0x82, b"a.example")]);
            octets = der;
            let at = at % octets.len();
            octets[at] = new;
            let read = Certificate::read(&octets);
            prop_assert!(read.is_none_or(|read| read.names.len() <= NAMES_MAX));
        }
    }
}
