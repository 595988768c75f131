//! Going on with data that is older than what was signed (audit-log.md §8): under a new name of the log, with a new key,
//! and with an entry that says what was lost. Knows how that is done so that a crash between any two steps leaves either
//! the refusal as it was or the acceptance as a whole; refuses to know who is asked whether it shall be.
//!
//! 1. A new key, durable, which nothing names.
//! 2. The entry `log.rollback_accepted` with the new name, its key, and the heads that are lost: **the commit point**. From
//!    here on the lost heads are known as lost, so that the mark, which still is one of them, holds.
//! 3. The first checkpoint under the new name; then the mark.
//! 4. All other keys are destroyed. A crash before this: the next start does it.

use std::collections::BTreeMap;
use std::path::Path;

use common::audit::{Action, Outcome, Target};
use serde_json::{Value, json};

use super::look::{Looked, look};
use super::rebuild::operator;
use super::recover::{self, LostHead, Stance};
use super::restored::Restored;
use super::{Locks, OpenError, SledOptions, SledStore, replica};
use crate::store::keys::{KeyDir, KeyFileError, NewName, head_record};
use crate::store::records::{HeadRecord, LogKeysRecord, Write};
use crate::store::shared::shown;
use crate::store::{Decide, Decision, Draft, StoreError};

/// Data that was rolled back, looked at. Nothing is signed, written, derived or cut until it is accepted.
pub struct RolledBack {
    options: SledOptions,
    locks: Locks,
    looked: Looked,
    key_dir: KeyDir,
}

/// Who accepts it, and why.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// Why the data is older than it should be.
    pub reason: String,
    /// The operator, as an entry names one.
    pub operator: BTreeMap<String, Value>,
}

impl RolledBack {
    /// Looks at it: takes the locks and reads the journal.
    ///
    /// # Errors
    /// [`OpenError`]; `Refused` where nothing was lost.
    pub fn open(options: &SledOptions) -> Result<Self, OpenError> {
        if !options.log_dir().is_dir() {
            return Err(OpenError::Refused(format!("there is no registry in {}", options.data_dir.display())));
        }
        if let Some(database) = &options.shared {
            return Err(OpenError::Refused(format!(
                "the log is in {}, and what that lost may still be in a daemon's replica: stop all daemons, and copy the longest \
                 replica into an empty database with `mregd migrate --to`. Only if no replica has it: take the log out with \
                 `mregd migrate --from` into an empty MREG_DATA_DIR, unset MREG_DATABASE, accept it there, and copy it into an \
                 empty database",
                shown(database)
            )));
        }
        let locks = Locks::take(options)?;
        replica::refuse_alone(options)?;
        let looked = look(options, Stance::Accept)?;
        let key_dir = KeyDir::new(&options.key_dir, &options.disk);
        Ok(Self { options: options.clone(), locks, looked, key_dir })
    }

    /// What was signed and is not here.
    pub fn lost(&self) -> &[LostHead] {
        &self.looked.lost
    }

    /// The backup that it was restored from, where nothing tells what was signed since.
    pub fn restored(&self) -> Option<&Restored> {
        self.looked.restored.as_ref()
    }

    /// What is here: its head, under the name it has.
    pub fn here(&self) -> HeadRecord {
        HeadRecord { origin: self.looked.keys.origin.clone(), size: self.looked.size, root: self.looked.root.0 }
    }

    /// The name the log would have: one it never had.
    pub fn new_origin(&self) -> String {
        self.looked.keys.origin_of(self.generation())
    }

    /// Whether a key that is there ever signed this log. Where none did, it was rolled back beyond a rotation of keys, or is
    /// another registry's.
    ///
    /// # Errors
    /// [`OpenError`]: a key's file is unfit.
    pub fn is_signed_by_our_keys(&self) -> Result<bool, OpenError> {
        let belongs = self.key_dir.belongs_to(&self.looked.keys);
        belongs.map_err(|error| OpenError::Refused(crate::error_chain(&error)))
    }

    fn generation(&self) -> u32 {
        let keys = &self.looked.keys;
        let lost = self.lost().iter().filter_map(|lost| keys.generation_of(&lost.head.origin));
        lost.fold(keys.generation, u32::max).saturating_add(1)
    }

    /// Accepts it. Returns the open store, which signs under the new name.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn accept(self, acceptance: Acceptance) -> Result<SledStore, OpenError> {
        let (here, origin, generation) = (self.here(), self.new_origin(), self.generation());
        let Self { options, locks, looked: Looked { keys, lost, restored, .. }, key_dir } = self;
        let mut recovered = recover::recover(&options, Stance::Accept, None, &|_done, _of| {})?;
        let refused = |error: KeyFileError| OpenError::Refused(crate::error_chain(&error));
        // Keys of names that only the lost data knew sign no more either.
        let others: Vec<String> = key_dir
            .verifiers()
            .map_err(refused)?
            .iter()
            .filter(|verifier| keys.generation_of(verifier.name()).is_some())
            .map(ToString::to_string)
            .collect();
        let vkey = key_dir.add(&origin).map_err(refused)?.to_string();
        // Before anything else that opening has to say: nothing is signed before it.
        let name = Name { origin, generation, vkey };
        recovered.opening.insert(0, entry(keys, here, lost, restored, others, name, acceptance));
        SledStore::start(&options, locks, recovered)
    }

    /// The directory of data.
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }
}

struct Name {
    origin: String,
    generation: u32,
    vkey: String,
}

fn entry(
    keys: LogKeysRecord,
    here: HeadRecord,
    lost: Vec<LostHead>,
    restored: Option<Restored>,
    others: Vec<String>,
    name: Name,
    acceptance: Acceptance,
) -> Decide {
    Box::new(move |_records, moment| {
        let shown = |head: &HeadRecord| json!({"origin": head.origin, "size": head.size, "root": common::audit::Hash(head.root).to_string()});
        let lost_shown: Vec<Value> = lost
            .iter()
            .map(|lost| {
                let mut value = shown(&head_record(&lost.head));
                value["from"] = lost.what.into();
                if let Some(here) = lost.here {
                    value["root_here"] = here.to_string().into();
                }
                value
            })
            .collect();
        let mut data = acceptance.operator;
        if let Some(restored) = restored {
            data.insert("restored".to_owned(), json!({"generation": restored.generation, "size": restored.size}));
        }
        data.extend([
            ("kept".to_owned(), shown(&here)),
            ("lost".to_owned(), lost_shown.into()),
            ("origin".to_owned(), name.origin.clone().into()),
            ("vkey".to_owned(), name.vkey.clone().into()),
            ("from".to_owned(), moment.index.into()),
            ("reason".to_owned(), acceptance.reason.into()),
        ]);
        let new = NewName {
            origin: &name.origin,
            generation: name.generation,
            vkey: &name.vkey,
            kept: here,
            lost: lost.iter().map(|lost| head_record(&lost.head)).collect(),
            others,
        };
        let after = keys.renamed(new, moment.index).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let draft = Draft {
            action: Action::LogRollbackAccepted,
            outcome: Outcome::Ok,
            actor: operator(),
            target: Target::new("log", &after.origin),
            request: None,
            data,
        };
        Ok(Decision { draft, writes: vec![Write::PutLogKeys(after)] })
    })
}
