//! Many models changed by one request: those that match, each by its own entry as if it had been named alone, each told for
//! itself. Which they are is fixed before the first is touched, and must be as many as whoever asks says: a filter that fits
//! more than was looked at changes nothing.

use std::sync::Arc;

use common::api::State;
use common::audit::{Action, Target};
use common::name::{ModelId, ModelKey, ModelName, ModelRef, Select};
use common::role::Permission;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::registry::access::{Caller, RequestMeta};
use crate::registry::commit::Note;
use crate::registry::error::{Done, Failure, RegistryError};
use crate::registry::fetch::{LIMIT_MAX, ModelListing};
use crate::registry::resolve::Sight;
use crate::registry::{Inner, Registry};
use crate::store::{ModelQuery, Records};

/// Models that one request changes, at most: what is kept of each is its id and its name.
pub const BULK_MAX: usize = 100_000;
/// Changes of one request under way at once, so that they share the writing of the log.
const AT_ONCE: usize = 16;
/// Lines that may wait for whoever reads them; then the work waits.
const LINES_MAX: usize = 64;

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkDeed {
    /// Delete it, restorably.
    Delete,
    /// Take its deletion back.
    Restore,
}

/// What is asked for.
#[derive(Debug)]
pub struct BulkRequest {
    /// What is done.
    pub deed: BulkDeed,
    /// To which models; its place and its length of pages mean nothing.
    pub listing: ModelListing,
    /// How many they must be; none where nothing is done and only their number is told.
    pub expected: Option<u64>,
}

/// What is told of it.
#[derive(Debug)]
pub enum BulkStep {
    /// A model, and what came of it.
    Model {
        /// Its id.
        id: ModelId,
        /// Its name.
        name: ModelName,
        /// Index of the entry, and until when it can be restored in milliseconds since the epoch, where it was deleted.
        result: Result<(u64, Option<i64>), RegistryError>,
    },
    /// The end: how many matched, were changed, and were refused.
    Total {
        /// Models that matched.
        matched: u64,
        /// Of them, changed.
        done: u64,
        /// Of them, refused.
        failed: u64,
    },
}

impl Registry {
    /// Begins a change of all models that match. What it tells ends with the total. It ends when nobody listens any more;
    /// what is under way then is still done.
    ///
    /// # Errors
    /// What `require` says; `Invalid` where more than [`BULK_MAX`] match; `Conflict` where they are not as many as expected.
    pub async fn change_models(
        &self,
        caller: &Caller,
        request: BulkRequest,
    ) -> Result<mpsc::Receiver<BulkStep>, Failure> {
        let BulkRequest { deed, listing, expected } = request;
        let inner = &self.inner;
        let action = match deed {
            BulkDeed::Delete => Action::ModelDelete,
            BulkDeed::Restore => Action::ModelRestore,
        };
        let note = Note::event(action, Target::new("model", "*"));
        inner.permit(caller, Permission::ModelDelete, &note).await?;
        let models = match self.matching(caller, deed, listing).await {
            Ok(models) => models,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let matched = models.len() as u64;
        if let Some(expected) = expected.filter(|expected| *expected != matched) {
            let what = format!(
                "{matched} models match, and not {expected}, so nothing was done; look at them again and send the number \
                 that you mean"
            );
            return Err(inner.refuse(caller, note, RegistryError::Conflict(what)).await);
        }
        let (tell, told) = mpsc::channel(LINES_MAX);
        let work = Work { inner: Arc::clone(inner), caller: alone(caller), deed, tell };
        let models = if expected.is_some() { models } else { Vec::new() };
        inner.tasks.spawn(work.run(matched, models));
        Ok(told)
    }

    /// The models that match now, in the order that was asked for.
    async fn matching(
        &self,
        caller: &Caller,
        deed: BulkDeed,
        mut listing: ModelListing,
    ) -> Result<Vec<(ModelId, ModelName)>, RegistryError> {
        match (deed, listing.state) {
            (BulkDeed::Delete, Some(State::Deleted)) => {
                return Err(RegistryError::invalid("query.state", "says `deleted`: those are deleted already"));
            }
            (BulkDeed::Restore, None | Some(State::Deleted)) => listing.state = Some(State::Deleted),
            (BulkDeed::Restore, Some(_)) => {
                return Err(RegistryError::invalid("query.state", "is not `deleted`: only those can be restored"));
            }
            (BulkDeed::Delete, _) => {}
        }
        // By what a list shows: the number is one that whoever asks has seen there.
        let sight = Sight::of(caller, Permission::ModelRead);
        if !listing.is_open_to(&sight) {
            return Ok(Vec::new());
        }
        let query = ModelQuery { limit: LIMIT_MAX, ..listing.query(&sight) };
        self.inner.scan_for(caller, move |view| collect(view, query)).await
    }
}

fn collect(records: &dyn Records, mut query: ModelQuery) -> Result<Vec<(ModelId, ModelName)>, RegistryError> {
    let mut models = Vec::new();
    loop {
        let page = records.models(&query)?;
        models.extend(page.models.into_iter().map(|model| (model.id, model.name)));
        if models.len() > BULK_MAX {
            let msg =
                format!("fits more than {BULK_MAX} models, which is the most that one request changes; narrow it");
            return Err(RegistryError::invalid("query", msg));
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(models),
        }
    }
}

/// The caller, without conditions that were meant for one thing.
fn alone(caller: &Caller) -> Caller {
    let request =
        caller.request.clone().map(|request| RequestMeta { idempotency_key: None, if_match: None, ..request });
    Caller { actor: caller.actor.clone(), request }
}

/// A request under way.
struct Work {
    inner: Arc<Inner>,
    caller: Caller,
    deed: BulkDeed,
    tell: mpsc::Sender<BulkStep>,
}

impl Work {
    async fn run(self, matched: u64, models: Vec<(ModelId, ModelName)>) {
        let (mut done, mut failed) = (0, 0);
        {
            let mut results = futures_util::stream::iter(models).map(|model| self.change(model)).buffered(AT_ONCE);
            while let Some((id, name, result)) = results.next().await {
                if result.is_ok() {
                    done += 1
                } else {
                    failed += 1
                }
                if self.tell.send(BulkStep::Model { id, name, result }).await.is_err() {
                    return;
                }
            }
        }
        // Whoever has gone needs no total.
        drop(self.tell.send(BulkStep::Total { matched, done, failed }).await);
    }

    async fn change(
        &self,
        (id, name): (ModelId, ModelName),
    ) -> (ModelId, ModelName, Result<(u64, Option<i64>), RegistryError>) {
        let reference = ModelRef { model: ModelKey::Id(id), select: Select::Latest };
        let result = match self.deed {
            BulkDeed::Delete => {
                logged(self.inner.delete_model(&self.caller, &reference).await, |gone| gone.restorable_until_ms)
            }
            BulkDeed::Restore => logged(self.inner.restore_model(&self.caller, &reference).await, |_model| None),
        };
        (id, name, result)
    }
}

fn logged<T>(
    outcome: Result<Done<T>, Failure>,
    until: impl FnOnce(&T) -> Option<i64>,
) -> Result<(u64, Option<i64>), RegistryError> {
    let done = outcome.map_err(|failure| failure.error)?;
    let entry = done.logged.ok_or_else(|| RegistryError::internal("a change came without its entry"))?;
    Ok((entry.index, until(&done.value)))
}
