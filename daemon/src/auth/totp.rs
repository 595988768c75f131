//! Second factors: the key of second factors, the secrets that follow from it, codes by RFC 4226 and RFC 6238, and recovery
//! codes. Refuses to know whose they are kept for, which were used, and what time it is.
//!
//! No secret is stored anywhere: that of a user is an HMAC of user and generation under the key, so the log, its replicas
//! and its exports hold nothing that codes could be made with. Of recovery codes the log holds hashes: they are random and
//! long, so a hash tells nothing. Whoever has the key has all secrets.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::auth::webhook::keyed;
use crate::config::secret::Secret;

/// Seconds for which a code is the one.
pub const STEP_S: u64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// 10 to the power of [`DIGITS`].
const CODES: u32 = 1_000_000;
/// Steps before and after the present one whose codes are taken: clocks differ, and typing takes a while.
const STEPS_BESIDE: u64 = 1;
/// Octets of a secret, as many as SHA-1 makes (RFC 4226 §4, R6).
const SECRET_OCTETS: usize = 20;
/// Recovery codes made at once.
pub const RECOVERY_CODES: usize = 10;
/// Octets of randomness in a recovery code: 80 bits, which are 16 characters.
const RECOVERY_OCTETS: usize = 10;
/// Characters of a recovery code that mean something.
const RECOVERY_CHARS: usize = RECOVERY_OCTETS * 8 / 5;
/// Characters of a recovery code between two dashes.
const RECOVERY_GROUP: usize = 4;
/// The longest code that is looked at, octets: as people type them, with blanks and dashes.
const TYPED_OCTETS_MAX: usize = 64;
/// Who issues the secret, as authenticators show it.
const ISSUER: &str = "mreg";

/// Digits of base32 (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The key of second factors: what all their secrets are made with.
pub struct FactorKey {
    key: Secret,
    id: [u8; 8],
}

impl FactorKey {
    /// From its text, at least 32 octets.
    pub fn new(key: Secret) -> Self {
        let hash = keyed(&key, &[b"mreg second factor key id"]);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self { key, id }
    }

    /// Tells keys apart, and nothing about them.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The secret of a user in a `generation`.
    pub fn secret(&self, user_id: &str, generation: u64) -> FactorSecret {
        let mut hash = keyed(&self.key, &[b"mreg second factor secret", &generation.to_be_bytes(), user_id.as_bytes()]);
        let mut secret = [0; SECRET_OCTETS];
        secret.copy_from_slice(&hash[..SECRET_OCTETS]);
        hash.zeroize();
        FactorSecret(secret)
    }
}

impl fmt::Debug for FactorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactorKey").field("id", &hex::encode(self.id)).finish_non_exhaustive()
    }
}

/// What a user's authenticator makes codes with.
pub struct FactorSecret([u8; SECRET_OCTETS]);

impl FactorSecret {
    /// As it is typed into an authenticator: base32 without padding.
    pub fn shown(&self) -> String {
        base32(&self.0)
    }

    /// As authenticators read it from a picture.
    pub fn uri(&self, username: &str) -> String {
        // A user's name has no character that would have to be encoded.
        format!(
            "otpauth://totp/{ISSUER}:{username}?secret={}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            self.shown()
        )
    }

    /// The step whose code it is, of the present one and those beside it; none: of none of them. Takes as long for any.
    pub fn step_of(&self, code: u32, now_s: u64) -> Option<u64> {
        let now = now_s / STEP_S;
        let mut found = None;
        for step in now.saturating_sub(STEPS_BESIDE)..=now.saturating_add(STEPS_BESIDE) {
            if bool::from(hotp(&self.0, step).ct_eq(&code)) {
                found = Some(step);
            }
        }
        found
    }
}

impl Drop for FactorSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for FactorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactorSecret(…)")
    }
}

/// The code of a counter (RFC 4226 §5.3).
fn hotp(secret: &[u8; SECRET_OCTETS], counter: u64) -> u32 {
    // As HMAC itself pads a shorter key.
    let mut block = [0; 64];
    block[..SECRET_OCTETS].copy_from_slice(secret);
    let mut mac = Hmac::<Sha1>::new(&block.into());
    block.zeroize();
    mac.update(&counter.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(hash[19] & 0x0f);
    let bits = hash[at..at + 4].iter().fold(0, |bits: u32, octet| bits << 8 | u32::from(*octet));
    (bits & 0x7fff_ffff) % CODES
}

fn base32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(5) * 8);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for octet in octets {
        bits = bits << 8 | u32::from(*octet);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(BASE32[(bits >> count & 31) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(BASE32[(bits << (5 - count) & 31) as usize]));
    }
    text
}

/// A code as somebody typed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// Of an authenticator.
    Code(u32),
    /// A recovery code, by its hash.
    Recovery([u8; 32]),
}

impl Typed {
    /// Blanks, dashes and case don't matter. None: it is neither.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > TYPED_OCTETS_MAX {
            return None;
        }
        let mut meant: String =
            text.chars().filter(|char| !matches!(char, ' ' | '-')).map(|char| char.to_ascii_uppercase()).collect();
        let read = if meant.len() == DIGITS && meant.bytes().all(|octet| octet.is_ascii_digit()) {
            meant.parse().ok().map(Self::Code)
        } else if meant.len() == RECOVERY_CHARS && meant.bytes().all(|octet| BASE32.contains(&octet)) {
            Some(Self::Recovery(recovery_hash(&meant)))
        } else {
            None
        };
        meant.zeroize();
        read
    }
}

/// What is kept of a recovery code.
fn recovery_hash(meant: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"mreg recovery code\0").chain_update(meant).finalize().into()
}

/// Fresh recovery codes, as they are shown, and what is kept of them.
///
/// # Errors
/// The system has no randomness.
pub fn recovery_codes() -> Result<(Vec<String>, Vec<[u8; 32]>), getrandom::Error> {
    let mut shown = Vec::with_capacity(RECOVERY_CODES);
    let mut kept = Vec::with_capacity(RECOVERY_CODES);
    for _code in 0..RECOVERY_CODES {
        let mut random = [0; RECOVERY_OCTETS];
        getrandom::fill(&mut random)?;
        let mut meant = base32(&random);
        random.zeroize();
        kept.push(recovery_hash(&meant));
        let mut text = String::with_capacity(RECOVERY_CHARS + RECOVERY_CHARS / RECOVERY_GROUP);
        for (at, char) in meant.char_indices() {
            if at > 0 && at % RECOVERY_GROUP == 0 {
                text.push('-');
            }
            text.push(char.to_ascii_lowercase());
        }
        meant.zeroize();
        shown.push(text);
    }
    Ok((shown, kept))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{FactorKey, FactorSecret, RECOVERY_CODES, STEP_S, Typed, base32, hotp, recovery_codes};
    use crate::config::secret::Secret;

    const RFC: &[u8; 20] = b"12345678901234567890";

    /// RFC 4226, appendix D.
    #[test]
    fn codes_of_counters() {
        let codes = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (counter, code) in (0..).zip(codes) {
            assert_eq!(hotp(RFC, counter), code, "{counter}");
        }
    }

    /// RFC 6238, appendix B, the last six of its eight digits; one step either side and no further.
    #[test]
    fn codes_of_times() {
        let secret = FactorSecret(*RFC);
        for (time_s, code) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            let step = time_s / STEP_S;
            for beside_s in [0, STEP_S] {
                assert_eq!(secret.step_of(code, time_s + beside_s), Some(step));
                assert_eq!(secret.step_of(code, time_s - beside_s), Some(step));
            }
            assert_eq!(secret.step_of(code, time_s + 2 * STEP_S), None);
            // There are no two steps before the first of these times.
            if let Some(before_s) = time_s.checked_sub(2 * STEP_S) {
                assert_eq!(secret.step_of(code, before_s), None);
            }
        }
    }

    /// RFC 4648 §10, without padding.
    #[test]
    fn base32_vectors() {
        for (octets, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(octets.as_bytes()), text);
        }
    }

    /// Secrets differ by key, user and generation, and are the same each time.
    #[test]
    fn secrets() {
        let key = |text: &str| FactorKey::new(Secret::new(text.repeat(32)));
        let shown = |key: &FactorKey, user, generation| key.secret(user, generation).shown();
        let [a, b] = ["a", "b"].map(key);
        assert_eq!(shown(&a, "usr_1", 1), shown(&key("a"), "usr_1", 1));
        assert_eq!(shown(&a, "usr_1", 1).len(), 32);
        let all = [shown(&a, "usr_1", 1), shown(&a, "usr_1", 2), shown(&a, "usr_2", 1), shown(&b, "usr_1", 1)];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_ne!(a.id(), b.id());
        let secret = a.secret("usr_1", 1);
        assert_eq!(
            secret.uri("alice"),
            format!(
                "otpauth://totp/mreg:alice?secret={}&issuer=mreg&algorithm=SHA1&digits=6&period=30",
                secret.shown()
            )
        );
        let debug = format!("{a:?} {secret:?}");
        assert!(!debug.contains("aaaa") && !debug.contains(&secret.shown()), "{debug}");
    }

    /// A recovery code is known again however it is typed, and only it.
    #[test]
    fn recovery() {
        let (shown, kept) = recovery_codes().unwrap();
        assert_eq!((shown.len(), kept.iter().collect::<BTreeSet<_>>().len()), (RECOVERY_CODES, RECOVERY_CODES));
        for (shown, kept) in shown.iter().zip(&kept) {
            assert_eq!((shown.len(), shown.matches('-').count()), (19, 3), "{shown}");
            for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', " "), shown.replace('-', "")] {
                assert!(Typed::read(&typed) == Some(Typed::Recovery(*kept)), "{typed}");
            }
            assert!(Typed::read(&shown[1..]).is_none());
        }
        assert!(Typed::read(" 012 345 ") == Some(Typed::Code(12_345)));
        for neither in ["", "12345", "1234567", "12345a", "١٢٣", "aaaa-bbbb-cccc-ddd1", &"1".repeat(100)] {
            assert!(Typed::read(neither).is_none(), "{neither}");
        }
    }

    proptest! {
        /// Nothing that is typed breaks the reading of it, and only six digits are a code.
        #[test]
        fn typed(text in ".{0,80}") {
            if let Some(Typed::Code(code)) = Typed::read(&text) {
                prop_assert!(code < 1_000_000);
                prop_assert_eq!(text.chars().filter(char::is_ascii_digit).count(), 6);
            }
        }
    }
}
