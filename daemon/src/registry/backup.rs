//! Backups as the registry sees them: nothing is removed while one is made, the log tells of each that was made or read
//! whole, and when the last ones were. Knows entries; refuses to know what a backup consists of, and where it is.

use std::sync::Arc;

use common::api::{BackupDeed, BackupEvent, BackupReport, BackupStatus};
use common::audit::{Action, Entry, Outcome as EntryOutcome, Target};

use crate::clock;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::removal::Hold;
use crate::store::{EntryQuery, PublishedCheckpoint, View};

/// Octets of the longest name of a generation.
const GENERATION_OCTETS_MAX: usize = 64;

/// A registry that is being backed up: until this is dropped no bytes are removed that the checkpoint's records point to.
pub struct BackupHold {
    /// The newest checkpoint, published after the hold began.
    pub checkpoint: Arc<PublishedCheckpoint>,
    _hold: Hold,
}

impl Registry {
    /// Holds all removals and names a checkpoint.
    ///
    /// # Errors
    /// `OperatorOnly`.
    pub async fn hold_for_backup(&self, caller: &Caller) -> Result<BackupHold, Failure> {
        let inner = &self.inner;
        if let Err(error) = caller.require_operator() {
            let note = Note::event(Action::BackupCreate, self.log_target());
            return Err(inner.refuse(caller, note, error).await);
        }
        // The order is what it rests on: what is pointed to at the checkpoint was not free when the hold began, or came later.
        let hold = inner.hold_removals();
        let checkpoint = inner.store.checkpoints().borrow().clone();
        Ok(BackupHold { checkpoint, _hold: hold })
    }

    /// Records that a backup was made, or read whole. One that is not of this log is refused, and counts for nothing.
    ///
    /// # Errors
    /// `OperatorOnly`; `Conflict`: it is another log's; `Invalid`; `AuditUnavailable`.
    pub async fn report_backup(&self, caller: &Caller, report: BackupReport) -> Outcome<()> {
        let inner = &self.inner;
        let action = match report.deed {
            BackupDeed::Create => Action::BackupCreate,
            BackupDeed::Verify => Action::BackupVerify,
        };
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        let is_named = !report.generation.is_empty()
            && report.generation.len() <= GENERATION_OCTETS_MAX
            && report.generation.bytes().all(is_name);
        let target = if is_named { Target::new("backup", &report.generation) } else { self.log_target() };
        let mut note = Note::event(action, target).with("size", report.size);
        if let Err(error) = caller.require_operator() {
            return Err(inner.refuse(caller, note, error).await);
        }
        if !is_named {
            let error = RegistryError::Invalid(vec![(
                "body.generation".to_owned(),
                format!("must have 1 to {GENERATION_OCTETS_MAX} letters, digits and dashes"),
            )]);
            return Err(inner.refuse(caller, note, error).await);
        }
        let here = inner.store.checkpoint_at(report.size).await;
        let is_ours = match here {
            Ok(here) => here.is_some_and(|here| here.root.to_string() == report.root),
            Err(error) => return Err(inner.refuse(caller, note, error.into()).await),
        };
        if !is_ours {
            let why = format!(
                "the log here has no {} entries with the root {}: the backup is another registry's, or this one was rolled \
                 back behind it",
                report.size, report.root
            );
            return Err(inner.refuse(caller, note, RegistryError::Conflict(why)).await);
        }
        let BackupReport { deed, generation: _, size: _, root, blobs, bytes, added_bytes, lacking, failures, seconds } =
            report;
        note.say("root", root);
        note.say("blobs", blobs);
        note.say("octets", bytes);
        note.say("lacking", lacking);
        note.say("seconds", seconds);
        match deed {
            BackupDeed::Create => note.say("added_octets", added_bytes),
            BackupDeed::Verify => note.say("failures", failures),
        }
        if failures > 0 {
            note.outcome = Some(EntryOutcome::Error);
        }
        inner.record(caller, note).await
    }

    /// When a backup was last made, and when one was last read whole and found to be right, as the log says.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn backup_status(&self) -> Result<BackupStatus, RegistryError> {
        let read = self.inner.read(|view| {
            let (last, verified) = (last(view, Action::BackupCreate)?, last(view, Action::BackupVerify)?);
            Ok(BackupStatus { last, verified })
        });
        read.await
    }

    fn log_target(&self) -> Target {
        Target::new("log", &self.inner.store.identity().origin)
    }
}

/// The last that ended well.
fn last(view: &dyn View, action: Action) -> Result<Option<BackupEvent>, RegistryError> {
    let query = EntryQuery {
        action: Some(action.as_str().to_owned()),
        outcome: Some(EntryOutcome::Ok),
        limit: 1,
        ..EntryQuery::default()
    };
    let Some(found) = view.entries(&query)?.entries.into_iter().next() else { return Ok(None) };
    let entry = Entry::parse(&found.leaf).map_err(|error| RegistryError::Corrupt(error.into()))?;
    let count = |key: &str| entry.data.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    Ok(Some(BackupEvent {
        at: clock::rfc3339(entry.ts),
        generation: entry.target.as_ref().map(|target| target.id.clone()).unwrap_or_default(),
        size: count("size"),
        lacking: count("lacking"),
    }))
}
