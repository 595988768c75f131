//! Entries about the daemon itself: that it starts, that it stops, that it goes on with other settings. An outage without a
//! `log.stop` before it was a crash.

use std::collections::BTreeMap;

use common::audit::{Action, Actor, Outcome, Target};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::RegistryError;
use crate::registry::settings::Settings;
use crate::store::records::{RulesetRecord, Write};
use crate::store::{Decision, Draft, Moment, Records, Urgency};

/// What an entry says of settings that change while the daemon serves: which, never what secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsChange {
    /// Digest of the settings in effect before.
    pub digest_from: String,
    /// The same for those after it.
    pub digest_to: String,
    /// Names of those that are other than before.
    pub changed: Vec<String>,
    /// Names of those that were changed as well, and stay as they are until a restart.
    pub pending: Vec<String>,
}

impl Registry {
    /// Records that the daemon starts or stops.
    ///
    /// # Errors
    /// `AuditUnavailable`: it must not start, or stopped without a word.
    pub async fn record_lifecycle(&self, action: Action) -> Result<(), RegistryError> {
        let draft = Draft {
            action,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            target: Target::new("log", &self.identity().origin),
            request: None,
            data: BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").into())]),
        };
        let decide = Box::new(move |_records: &dyn Records, _moment| Ok(Decision { draft, writes: Vec::new() }));
        self.inner.store.commit_as(Urgency::Lifecycle, decide).await?;
        Ok(())
    }
    /// Goes on with other settings: they hold once the entry that says so is durable. What is used at the start alone (keys,
    /// directories, the scrubber's pace) must be the same in both.
    ///
    /// # Errors
    /// `AuditUnavailable`, `AuditFull` and the like: the settings before it hold.
    pub async fn change_settings(&self, settings: Settings, change: SettingsChange) -> Result<(), RegistryError> {
        let inner = &self.inner;
        let (before, after) = (inner.settings().scan_policies.to_string(), settings.scan_policies.to_string());
        let mut note = Note::event(Action::ConfigChange, Target::new("service", "settings"))
            .with("digest_from", change.digest_from)
            .with("digest_to", change.digest_to)
            .with("changed", change.changed)
            .with("pending_restart", change.pending)
            .with_urgency(Urgency::Urgent);
        let changes_policies = before != after;
        if changes_policies {
            note.say("policies_from", before);
            note.say("policies_to", after.as_str());
        }
        let id = inner.inspections.ruleset().id().to_owned();
        // What inspections are done under is a record of its own: the next start compares with it.
        let decide = move |_: &dyn Records, moment: Moment, _: &mut Note| {
            let record = RulesetRecord { id, policies: after, at_ms: moment.at_ms };
            let writes = changes_policies.then_some(Write::PutRuleset(record));
            Ok(((), writes.into_iter().collect()))
        };
        inner.commit(&Caller::system(), note, decide).await.map_err(|failure| failure.error)?;
        inner.settings.set(settings);
        Ok(())
    }
}
