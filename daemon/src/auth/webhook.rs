//! What makes a webhook's message genuine: the key of webhooks, the secrets that follow from it, and signatures by the
//! Standard Webhooks specification. Refuses to know what is sent, to whom, and which secrets are still good.
//!
//! No secret is stored anywhere: that of a webhook is an HMAC of its id and generation under the key, so the log, its
//! replicas and its exports hold nothing that could be used to sign. Whoever has the key has all secrets.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::name::HookId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use crate::config::secret::Secret;

/// What stands before a secret as it is shown.
const SECRET_PREFIX: &str = "whsec_";

/// The key of webhooks: what all their secrets are made with.
pub struct WebhookKey {
    key: Secret,
    id: [u8; 8],
}

impl WebhookKey {
    /// From its text, at least 32 octets.
    pub fn new(key: Secret) -> Self {
        let hash = keyed(&key, &[b"mreg webhook key id"]);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self { key, id }
    }

    /// Tells keys apart, and nothing about them.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The secret of a webhook in its `generation`.
    pub fn secret(&self, hook: HookId, generation: u32) -> SigningSecret {
        let parts: [&[u8]; 3] = [b"mreg webhook secret", &hook.as_u128().to_be_bytes(), &generation.to_be_bytes()];
        SigningSecret(keyed(&self.key, &parts))
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookKey").field("id", &hex::encode(self.id)).finish_non_exhaustive()
    }
}

/// What follows from a key. The first part says what it is for, and of the others all but the last have a fixed length: so no
/// two lists of parts are the same octets.
pub(super) fn keyed(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    let mut hashed = Sha256::digest(key.expose()).into();
    let made = mac(&hashed, parts, b"\0");
    hashed.zeroize();
    made
}

fn mac(key: &[u8; 32], parts: &[&[u8]], between: &[u8]) -> [u8; 32] {
    // As HMAC itself pads a shorter key.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    block.zeroize();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            mac.update(between);
        }
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// What the messages of one webhook are signed with.
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// As receivers are configured with it.
    pub fn shown(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(self.0))
    }

    /// The signature of a message, one item of `webhook-signature`. `at_s` is what `webhook-timestamp` says.
    pub fn sign(&self, id: &str, at_s: i64, body: &[u8]) -> String {
        let hash = mac(&self.0, &[id.as_bytes(), at_s.to_string().as_bytes(), body], b".");
        format!("v1,{}", STANDARD.encode(hash))
    }
}

impl Drop for SigningSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use common::name::HookId;

    use super::{SigningSecret, WebhookKey};
    use crate::config::secret::Secret;

    /// The specification's own example.
    #[test]
    fn signature() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        // Shorter than ours: it is the key of an HMAC all the same, padded with zeros as HMAC pads it.
        let mut octets = [0; 32];
        octets[..secret.len()].copy_from_slice(&secret);
        let signature =
            SigningSecret(octets).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    /// Secrets differ by key, webhook and generation, and are the same each time.
    #[test]
    fn secrets() {
        let key = |text: &str| WebhookKey::new(Secret::new(text.repeat(32)));
        let shown = |key: &WebhookKey, hook, generation| key.secret(HookId::from_u128(hook), generation).shown();
        let [a, b] = ["a", "b"].map(key);
        assert_eq!(shown(&a, 1, 1), shown(&key("a"), 1, 1));
        assert!(shown(&a, 1, 1).starts_with("whsec_") && shown(&a, 1, 1).len() == 6 + 44);
        let all = [shown(&a, 1, 1), shown(&a, 1, 2), shown(&a, 2, 1), shown(&b, 1, 1)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_ne!(a.id(), b.id());
        let debug = format!("{a:?} {:?}", a.secret(HookId::from_u128(1), 1));
        assert!(!debug.contains("aaaa"), "{debug}");
    }
}
