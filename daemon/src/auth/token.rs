//! Tokens: JWT (RFC 7519) signed with HS256 and nothing else. Knows claims, keys and instants; refuses to know whether the
//! session or the user still exist: that is asked of the records on every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::SECOND_MS;
use crate::config::secret::Secret;

/// `iss` of every token.
const ISSUER: &str = "mregd";
/// `aud` of every token.
const AUDIENCE: &str = "mreg";
/// How far the clocks of two daemons may be apart, in seconds (rest-api.md §2 allows 30).
const LEEWAY_S: i64 = 5;
/// Tokens whose signature is known to be good, and need not be checked again. A token comes with each request of a client,
/// and the check is a fifth of what a small one costs.
const KNOWN_MAX: usize = 4096;
/// Longest token that is looked at, in octets; ours have some 400.
const TOKEN_OCTETS_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The user's stable id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// The token's own id.
    pub jti: String,
    /// When it was issued, seconds since the epoch.
    pub iat: i64,
    /// Not to be accepted before, seconds since the epoch.
    pub nbf: i64,
    /// Not to be accepted after, seconds since the epoch.
    pub exp: i64,
}

/// A key and its id.
struct Key {
    /// The first octets of a hash of the key, in hex: tells keys apart and nothing about them.
    kid: String,
    decoding: DecodingKey,
}

impl Key {
    fn new(secret: &Secret) -> Self {
        let hash = Sha256::new().chain_update(b"mreg token key id\0").chain_update(secret.expose()).finalize();
        Self { kid: hex::encode(&hash[..8]), decoding: DecodingKey::from_secret(secret.expose().as_bytes()) }
    }
}

/// The keys: one to sign with, and those that are accepted.
pub struct TokenKeys {
    header: Header,
    encoding: EncodingKey,
    accepted: Vec<Key>,
    validation: Validation,
    known: RwLock<HashMap<[u8; 32], Arc<Claims>>>,
}

impl TokenKeys {
    /// From the current secret and the one before it.
    ///
    /// # Errors
    /// The library can't sign: a self-test is made, for it would otherwise fail at the first sign-in.
    pub fn new(secret: &Secret, previous: Option<&Secret>) -> Result<Self, Error> {
        let current = Key::new(secret);
        let header = Header { kid: Some(current.kid.clone()), ..Header::new(Algorithm::HS256) };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // Instants are checked in `verify`, against the registry's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let mut accepted = vec![current];
        accepted.extend(previous.map(Key::new));
        let keys = Self {
            header,
            encoding: EncodingKey::from_secret(secret.expose().as_bytes()),
            accepted,
            validation,
            known: RwLock::default(),
        };
        let probe = keys.sign("usr_probe", "probe", "probe", 0, SECOND_MS)?;
        decode::<Claims>(&probe, &keys.accepted[0].decoding, &keys.validation)?;
        Ok(keys)
    }

    /// A token. Instants are milliseconds since the epoch.
    ///
    /// # Errors
    /// The library's.
    pub fn sign(&self, user_id: &str, sid: &str, jti: &str, now_ms: i64, expires_at_ms: i64) -> Result<String, Error> {
        let now_s = now_ms.div_euclid(SECOND_MS);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user_id.into(),
            sid: sid.into(),
            jti: jti.into(),
            iat: now_s,
            nbf: now_s,
            exp: expires_at_ms.div_euclid(SECOND_MS),
        };
        encode(&self.header, &claims, &self.encoding)
    }

    /// The claims of a token that is well formed, signed by an accepted key, ours, and valid now. None for any other:
    /// why is nobody's business.
    pub fn verify(&self, token: &str, now_ms: i64) -> Option<Arc<Claims>> {
        if token.len() > TOKEN_OCTETS_MAX {
            return None;
        }
        // By a hash of all of it: neither does a token lie in memory for longer than its request, nor can the time that
        // a look-up takes say anything about one.
        let hash = Sha256::digest(token).into();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        let is_known = known.is_some();
        let claims = match known {
            Some(claims) => claims,
            None => Arc::new(self.check(token)?),
        };
        let now_s = now_ms.div_euclid(SECOND_MS);
        let in_time = claims.nbf <= now_s.saturating_add(LEEWAY_S) && now_s < claims.exp.saturating_add(LEEWAY_S);
        if in_time && !is_known {
            self.remember(hash, &claims);
        }
        in_time.then_some(claims)
    }

    /// The claims of a token that is well formed, signed by an accepted key, and ours.
    fn check(&self, token: &str) -> Option<Claims> {
        let kid = decode_header(token).ok()?.kid?;
        let key = self.accepted.iter().find(|key| key.kid == kid)?;
        Some(decode::<Claims>(token, &key.decoding, &self.validation).ok()?.claims)
    }

    fn remember(&self, hash: [u8; 32], claims: &Arc<Claims>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            // Expired ones among them; the others cost a check each.
            known.clear();
        }
        known.insert(hash, Arc::clone(claims));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

    use super::{AUDIENCE, Claims, ISSUER, KNOWN_MAX, TokenKeys};
    use crate::config::secret::Secret;

    fn secret(letter: &str) -> Secret {
        Secret::new(letter.repeat(48))
    }

    /// A token lives from its beginning to its end, give or take the leeway.
    #[test]
    fn lifetime() {
        let keys = TokenKeys::new(&secret("k"), None).unwrap();
        let token = keys.sign("usr_1", "sid", "jti", 1_000_000, 1_060_000).unwrap();
        assert_eq!(keys.verify(&token, 1_000_000).unwrap().sub, "usr_1");
        assert!(keys.verify(&token, 1_059_999).is_some());
        assert!(keys.verify(&token, 1_065_000).is_none());
        assert!(keys.verify(&token, 994_000).is_none());
    }

    /// What is remembered about tokens changes no answer, and has a bound.
    #[test]
    fn remembered_tokens() {
        let keys = TokenKeys::new(&secret("k"), None).unwrap();
        for number in 0..KNOWN_MAX + 10 {
            let token = keys.sign("usr_1", "sid", &number.to_string(), 0, 60_000).unwrap();
            assert_eq!(keys.verify(&token, 0), keys.verify(&token, 0));
            assert!(keys.verify(&token, 70_000).is_none());
            assert!(keys.verify(&format!("{token}A"), 0).is_none());
        }
        assert!(keys.known.read().unwrap().len() <= KNOWN_MAX);
    }

    /// The key before is accepted and not used; others are not accepted.
    #[test]
    fn rotation() {
        let old = TokenKeys::new(&secret("o"), None).unwrap();
        let new = TokenKeys::new(&secret("n"), Some(&secret("o"))).unwrap();
        let other = TokenKeys::new(&secret("x"), None).unwrap();
        let token = old.sign("usr_1", "sid", "jti", 0, 60_000).unwrap();
        assert!(new.verify(&token, 0).is_some());
        assert!(other.verify(&token, 0).is_none());
        assert!(old.verify(&new.sign("usr_1", "sid", "jti", 0, 60_000).unwrap(), 0).is_none());
    }

    /// Forged headers, foreign audiences and broken texts are refused.
    #[test]
    fn forgeries() {
        let keys = TokenKeys::new(&secret("k"), None).unwrap();
        let good = keys.sign("usr_1", "sid", "jti", 0, 60_000).unwrap();
        let kid = keys.header.kid.clone();
        let claims = |iss: &str, aud: &str| Claims {
            iss: iss.into(),
            aud: aud.into(),
            sub: "usr_1".into(),
            sid: "sid".into(),
            jti: "jti".into(),
            iat: 0,
            nbf: 0,
            exp: 60,
        };
        let sign = |algorithm, claims: &Claims| {
            let header = Header { kid: kid.clone(), ..Header::new(algorithm) };
            encode(&header, claims, &EncodingKey::from_secret(secret("k").expose().as_bytes())).unwrap()
        };
        assert!(keys.verify(&sign(Algorithm::HS256, &claims(ISSUER, AUDIENCE)), 0).is_some());
        assert!(keys.verify(&sign(Algorithm::HS512, &claims(ISSUER, AUDIENCE)), 0).is_none());
        assert!(keys.verify(&sign(Algorithm::HS256, &claims("else", AUDIENCE)), 0).is_none());
        assert!(keys.verify(&sign(Algorithm::HS256, &claims(ISSUER, "else")), 0).is_none());
        let (_, payload_and_mac) = good.split_once('.').unwrap();
        // {"alg":"none","kid":…} and a header without a kid.
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", ""] {
            assert!(keys.verify(&format!("{header}.{payload_and_mac}"), 0).is_none());
        }
        for broken in ["", "..", "a.b.c", &good[..good.len() - 2], &"x".repeat(10_000)] {
            assert!(keys.verify(broken, 0).is_none());
        }
    }
}
