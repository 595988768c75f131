//! Whether the object store can be reached: what the last request showed, and a look by itself every few seconds, so that an
//! outage ends without anybody's help. Knows that; refuses to know what is done about it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Store;
use super::failure::{Failure, Kind};
use crate::blobs::BlobError;

/// How often it is looked while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// And while it is not.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The state, as it was last seen.
pub(super) struct Condition {
    /// Why it can't be reached; none while it can. Held for a comparison only.
    outage: Mutex<Option<String>>,
}

impl Condition {
    pub(super) fn new() -> Self {
        Self { outage: Mutex::new(None) }
    }

    /// What a request showed. That something is missing, there already, or forbidden by name says that the store answers.
    pub(super) fn saw(&self, failure: Option<&Failure>) {
        let outage = failure.filter(|failure| failure.kind == Kind::Unreachable).map(|failure| failure.why.clone());
        let mut known = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (known.is_some(), outage.is_some());
        known.clone_from(&outage);
        drop(known);
        match (before, now) {
            (false, true) => {
                let cause = failure.map(|failure| crate::error_chain(failure)).unwrap_or_default();
                tracing::warn!(cause, "the object store can't be used: {}", outage.unwrap_or_default());
            }
            (true, false) => tracing::info!("the object store can be used again"),
            _ => {}
        }
    }

    /// Whether it can be reached, as far as is known; else why not.
    pub(super) fn now(&self) -> Result<(), String> {
        match &*self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(why) => Err(why.clone()),
        }
    }

    /// Fails at once while it can't be reached: many readers that wait for timeouts would take all threads there are.
    pub(super) fn check(&self) -> Result<(), BlobError> {
        self.now().map_err(|why| BlobError::Unreachable { source: why.as_str().into(), why })
    }
}

/// Looks again and again, as long as the store is open.
pub(super) fn watch(store: &Arc<Store>) {
    let weak = Arc::downgrade(store);
    store.handle.spawn(async move {
        let mut pause = LOOK_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let Some(store) = weak.upgrade() else { return };
            // The look itself tells the condition what it saw.
            let _seen = store.look().await;
            pause = if store.condition.now().is_ok() { LOOK_EVERY } else { LOOK_AGAIN };
        }
    });
}
