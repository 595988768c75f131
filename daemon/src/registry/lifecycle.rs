//! Entries about the daemon itself: that it starts, that it stops. An outage without a `log.stop` before it was a crash.

use std::collections::BTreeMap;

use common::audit::{Action, Actor, Outcome, Target};

use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::store::{Decision, Draft, Records, Urgency};

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
}
