//! Idempotency keys: the first answer to a key, kept for 24 hours with the commit that made it. Knows fingerprints of
//! requests; refuses to know what the answers mean.

use common::name::ModelRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock::DAY_MS;
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::error::RegistryError;
use crate::registry::resolve;
use crate::store::records::{IdempotencyRecord, Write};
use crate::store::{Moment, Records};

/// How long an answer is kept.
const KEPT_MS: i64 = DAY_MS;

/// The key under which fingerprints are made. Bodies may hold passwords, and a plain hash of one could be guessed from
/// the record; a hash under the token key can't.
pub(crate) struct FingerprintKey([u8; 32]);

impl FingerprintKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(Sha256::new().chain_update(b"mreg idempotency\0").chain_update(secret.expose()).finalize().into())
    }

    /// Stands for a secret in the description of a request.
    pub(crate) fn of_secret(&self, secret: &Secret) -> Value {
        hex::encode(self.hash(secret.expose().as_bytes())).into()
    }

    /// Hashed twice, so that nothing can be appended to what was hashed.
    fn hash(&self, octets: &[u8]) -> [u8; 32] {
        let inner = Sha256::new().chain_update(self.0).chain_update(octets).finalize();
        Sha256::new().chain_update(self.0).chain_update(inner).finalize().into()
    }

    /// What makes a request the same request: actor and key find it, route and body must be the same. None without a key.
    /// Anonymous callers share an id, so their keys can't mean anything.
    pub(crate) fn once(&self, caller: &Caller, body: &Value) -> Option<Once> {
        let request = caller.request.as_ref()?;
        let key = request.idempotency_key.as_ref()?;
        caller.actor.role?;
        let found_by =
            Sha256::new().chain_update(&caller.actor.id).chain_update(b"\0").chain_update(key).finalize().into();
        // Maps of serde_json are sorted, so equal values are equal texts.
        let asked = json!([request.method, request.route, body]).to_string();
        Some(Once { key: found_by, fingerprint: self.hash(asked.as_bytes()), guard: None })
    }
}

/// A request that is to be done once.
pub(crate) struct Once {
    key: [u8; 32],
    fingerprint: [u8; 32],
    guard: Option<Guard>,
}

/// Whether a first answer may be given again, as of now.
type Guard = Box<dyn Fn(&dyn Records) -> Result<(), RegistryError> + Send>;

impl Once {
    /// The same, where the first answer is given again only as long as this allows it.
    pub(crate) fn guarded(self, guard: impl Fn(&dyn Records) -> Result<(), RegistryError> + Send + 'static) -> Self {
        Self { guard: Some(Box::new(guard)), ..self }
    }

    /// The first answer and the index of its entry, if there was one.
    ///
    /// # Errors
    /// `IdempotencyKeyReused`: the key came with another request. What the guard says.
    pub(crate) fn recall<T: DeserializeOwned>(
        &self,
        records: &dyn Records,
        moment: Moment,
    ) -> Result<Option<(T, u64)>, RegistryError> {
        let Some(record) = records.idempotency(&self.key)? else { return Ok(None) };
        if record.at_ms.saturating_add(KEPT_MS) <= moment.at_ms {
            return Ok(None);
        }
        if record.fingerprint != self.fingerprint {
            return Err(RegistryError::IdempotencyKeyReused);
        }
        if let Some(guard) = &self.guard {
            guard(records)?;
        }
        let value = serde_json::from_str(&record.answer).map_err(|error| RegistryError::Corrupt(error.into()))?;
        Ok(Some((value, record.index)))
    }

    /// The write that keeps an answer.
    pub(crate) fn remember<T: Serialize>(&self, value: &T, moment: Moment) -> Result<Write, RegistryError> {
        let answer = serde_json::to_string(value).map_err(|error| RegistryError::Internal(error.into()))?;
        let record =
            IdempotencyRecord { fingerprint: self.fingerprint, index: moment.index, at_ms: moment.at_ms, answer };
        Ok(Write::PutIdempotency { key: self.key, record })
    }
}

/// A reference as part of a request's description.
pub(crate) fn described(reference: &ModelRef) -> Value {
    resolve::shown(reference).into()
}
