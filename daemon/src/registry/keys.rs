//! The log's keys: one follows another (audit-log.md §10). Only the operator of this machine may do it, who could replace
//! the key's file as well; an admin's token, which can be stolen from afar, is not enough. Refuses to know files.

use std::time::Duration;

use common::audit::{Action, Hash, Target};
use serde_json::json;

use crate::clock;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Outcome, RegistryError};
use crate::store::Lacking;
use crate::store::keys::{KeysError, NewName};
use crate::store::records::{HeadRecord, LogKeysRecord, Write};

/// How a key follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Both sign for so long.
    Overlap(Duration),
    /// The old one may be in wrong hands: it signs no more, and the log gets another name.
    Compromised,
}

/// The log's name and keys after a rotation.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The name.
    pub origin: String,
    /// The new key.
    pub vkey: String,
    /// All keys that sign.
    pub vkeys: Vec<String>,
    /// Until when both sign, milliseconds since the epoch.
    pub overlap_until_ms: Option<i64>,
}

impl From<KeysError> for RegistryError {
    fn from(error: KeysError) -> Self {
        Self::Conflict(error.to_string())
    }
}

impl Registry {
    /// Gives the log a new signing key.
    ///
    /// # Errors
    /// `OperatorOnly`; `Conflict` while two keys sign already; `AuditUnavailable`: the key or its entry can't be written.
    pub async fn rotate_log_key(&self, caller: &Caller, how: Rotation) -> Outcome<Rotated> {
        let inner = &self.inner;
        let before = inner.store.log_keys();
        let note = Note::change(Action::LogKeyRotate, Target::new("log", &before.origin));
        if let Err(error) = caller.require_operator() {
            return Err(inner.refuse(caller, note, error).await);
        }
        // Decided again with the entry; asked here so that no key is made in vain.
        let possible = match how {
            Rotation::Overlap(_) => before.rotated("", 0, 0).map(drop),
            Rotation::Compromised => Ok(()),
        };
        if let Err(error) = possible {
            return Err(inner.refuse(caller, note, error.into()).await);
        }
        let generation = before.generation.saturating_add(1);
        let origin = match how {
            Rotation::Overlap(_) => before.origin.clone(),
            Rotation::Compromised => before.origin_of(generation),
        };
        // Durable before the entry. A crash in between leaves a key that nothing names, and that never signs.
        let vkey = match inner.store.make_log_key(origin.clone()).await {
            Ok(vkey) => vkey,
            Err(error) => return Err(inner.refuse(caller, note, error.into()).await),
        };
        // Whoever lacks it could neither sign nor commit behind the entry.
        match inner.store.lacking_log_key(vkey.clone()).await {
            Ok(lacking) if lacking.nodes.is_empty() => {}
            Ok(Lacking { nodes, file }) => {
                let error = RegistryError::Conflict(format!(
                    "the new key was made, but other daemons lack it: copy {} into their key directories ({}), wait a few \
                     seconds, and ask again",
                    file.display(),
                    nodes.join(", ")
                ));
                return Err(inner.refuse(caller, note, error).await);
            }
            Err(error) => return Err(inner.refuse(caller, note, error.into()).await),
        }
        // On a full disk, too, a key in wrong hands must stop signing.
        let note = match how {
            Rotation::Overlap(_) => note,
            Rotation::Compromised => note.urgent(),
        };
        let published = inner.store.checkpoints();
        let made = vkey.clone();
        let done = inner
            .commit(caller, note, move |records, moment, note| {
                let keys = records.log_keys()?.unwrap_or_else(|| before.as_ref().clone());
                if keys.origin != before.origin {
                    return Err(RegistryError::Conflict("the log got another name meanwhile; try again".to_owned()));
                }
                note.say("vkey", vkey.as_str());
                note.say("from", moment.index);
                let after = match how {
                    Rotation::Overlap(overlap) => {
                        let overlap_ms = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
                        let until_ms = moment.at_ms.saturating_add(overlap_ms);
                        note.say("leaving", keys.current.vkey.as_str());
                        note.say("overlap_until", clock::rfc3339(until_ms));
                        keys.rotated(&vkey, moment.index, until_ms)?
                    }
                    Rotation::Compromised => {
                        // The last head under the old name: decisions run while nothing is signed.
                        let head = published.borrow().clone();
                        note.target.id.clone_from(&origin);
                        note.say("origin", origin.as_str());
                        note.say("compromised", keys.signing().collect::<Vec<_>>());
                        let root = Hash::to_string(&head.root);
                        note.say("old", json!({"origin": keys.origin, "size": head.size, "root": root}));
                        let kept = HeadRecord { origin: keys.origin.clone(), size: head.size, root: head.root.0 };
                        let new = NewName {
                            origin: &origin,
                            generation,
                            vkey: &vkey,
                            kept,
                            lost: Vec::new(),
                            others: Vec::new(),
                        };
                        keys.renamed(new, moment.index)?
                    }
                };
                Ok((rotated(&after), vec![Write::PutLogKeys(after)]))
            })
            .await;
        // A key that came to nothing. Where it isn't known whether it did, it is left: the log may be signed with it.
        if let Err(failure) = &done
            && !matches!(failure.error, RegistryError::AuditUnknown(_) | RegistryError::Internal(_))
            && let Err(error) = inner.store.discard_log_key(made).await
        {
            tracing::warn!(error = crate::error_chain(&error), "a new key that was not used can't be destroyed");
        }
        done
    }
}

fn rotated(keys: &LogKeysRecord) -> Rotated {
    Rotated {
        origin: keys.origin.clone(),
        vkey: keys.current.vkey.clone(),
        vkeys: keys.signing().map(str::to_owned).collect(),
        overlap_until_ms: keys.leaving.as_ref().map(|leaving| leaving.until_ms),
    }
}
