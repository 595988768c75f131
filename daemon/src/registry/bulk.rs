//! Many models changed by one request: those that match, each by its own entry as if it had been named alone, each told for
//! itself. Which they are is fixed before the first is touched, and must be those, or as many, as whoever asks says. Whoever asks
//! must be allowed still when each is changed, and listen.

use std::sync::{Arc, OnceLock};

use common::api::State;
use common::audit::{Action, Target};
use common::name::{ModelId, ModelKey, ModelName, ModelRef, Select};
use common::role::Permission;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::registry::access::Caller;
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
    /// Which they must be; none where nothing is done and only what matches is told.
    pub expected: Option<Expected>,
}

/// Which models somebody means.
#[derive(Debug)]
pub struct Expected {
    /// How many.
    pub count: u64,
    /// Their set, as an earlier answer gave it; none where the number is enough.
    pub set: Option<String>,
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
        /// SHA-256 of their ids.
        set: String,
    },
}

/// The models that a request is about.
struct Matching {
    models: Vec<(ModelId, ModelName)>,
    set: String,
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
        let found = self.matching(caller, deed, listing).await;
        let Some(expected) = expected else {
            // It is a list of models, of which the number alone is told.
            let note = Note::event(Action::ModelList, Target::new("model", "*"));
            let Matching { models, set } = inner.told(caller, note, found).await?.value;
            let (tell, told) = mpsc::channel(LINES_MAX);
            let total = BulkStep::Total { matched: models.len() as u64, done: 0, failed: 0, set };
            // There is room, and somebody who listens.
            drop(tell.try_send(total));
            return Ok(told);
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        if let Some(what) = expected.differs(&found) {
            return Err(inner.refuse(caller, note, RegistryError::Conflict(what)).await);
        }
        let (tell, told) = mpsc::channel(LINES_MAX);
        let work = Work { inner: Arc::clone(inner), caller: caller.clone(), deed, tell, over: OnceLock::new() };
        inner.tasks.spawn(work.run(found));
        Ok(told)
    }

    /// The models that match now, in the order that was asked for.
    async fn matching(
        &self,
        caller: &Caller,
        deed: BulkDeed,
        mut listing: ModelListing,
    ) -> Result<Matching, RegistryError> {
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
            return Ok(Matching::new(Vec::new()));
        }
        let query = ModelQuery { limit: LIMIT_MAX, ..listing.query(&sight) };
        self.inner.scan_for(caller, move |view| Ok(Matching::new(collect(view, query)?))).await
    }
}

impl Matching {
    fn new(models: Vec<(ModelId, ModelName)>) -> Self {
        let mut ids: Vec<ModelId> = models.iter().map(|(id, _name)| *id).collect();
        ids.sort_unstable();
        let mut hash = Sha256::new();
        for id in ids {
            hash.update(format!("{id}\n"));
        }
        let set = hex::encode(hash.finalize());
        Self { models, set }
    }
}

impl Expected {
    /// Why these are not those that are meant.
    fn differs(&self, found: &Matching) -> Option<String> {
        let matched = found.models.len() as u64;
        if matched != self.count {
            return Some(format!(
                "{matched} models match, and not {}, so nothing was done; look at them again and send the number that you mean",
                self.count
            ));
        }
        let is_other = self.set.as_ref().is_some_and(|set| *set != found.set);
        is_other.then(|| {
            format!("{matched} models match, but not those that did before, so nothing was done; look at them again")
        })
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

/// A request under way.
struct Work {
    inner: Arc<Inner>,
    caller: Caller,
    deed: BulkDeed,
    tell: mpsc::Sender<BulkStep>,
    /// Why nothing more is begun.
    over: OnceLock<Over>,
}

/// What is wrong with the caller, or with the log, and not with one of the models. It ends the work, and is not asked again: what
/// was given back after it was taken is for another request.
enum Over {
    Unauthenticated,
    PasswordChangeRequired,
    EnrolmentRequired,
    Forbidden(Permission),
    Full(String),
    Unavailable,
}

impl Over {
    fn of(error: &RegistryError) -> Option<Self> {
        match error {
            RegistryError::Unauthenticated => Some(Self::Unauthenticated),
            RegistryError::PasswordChangeRequired => Some(Self::PasswordChangeRequired),
            RegistryError::EnrolmentRequired => Some(Self::EnrolmentRequired),
            RegistryError::Forbidden { permission } => Some(Self::Forbidden(*permission)),
            RegistryError::AuditFull(why) => Some(Self::Full(why.clone())),
            RegistryError::AuditUnavailable | RegistryError::AuditUnknown(_) => Some(Self::Unavailable),
            _ => None,
        }
    }

    fn refusal(&self) -> RegistryError {
        match self {
            Self::Unauthenticated => RegistryError::Unauthenticated,
            Self::PasswordChangeRequired => RegistryError::PasswordChangeRequired,
            Self::EnrolmentRequired => RegistryError::EnrolmentRequired,
            Self::Forbidden(permission) => RegistryError::Forbidden { permission: *permission },
            Self::Full(why) => RegistryError::AuditFull(why.clone()),
            Self::Unavailable => RegistryError::AuditUnavailable,
        }
    }
}

/// What became of one.
enum Came {
    /// It was changed: its entry, and until when it can be restored.
    Done(u64, Option<i64>),
    /// It was not.
    Refused(RegistryError),
    /// It isn't known: the log failed in the middle of it.
    Unknown,
    /// Nobody listens any more, so it was not begun.
    Unheard,
}

impl Work {
    /// Each is told, whatever came of those before it: of what is under way beside one that is refused, some are done.
    async fn run(self, Matching { models, set }: Matching) {
        let (matched, mut done, mut failed, mut is_whole) = (models.len() as u64, 0, 0, true);
        {
            let mut results = futures_util::stream::iter(models).map(|model| self.change(model)).buffered(AT_ONCE);
            while let Some((id, name, came)) = results.next().await {
                let result = match came {
                    Came::Done(index, until_ms) => Ok((index, until_ms)),
                    Came::Refused(error) => Err(error),
                    Came::Unknown => {
                        is_whole = false;
                        continue;
                    }
                    Came::Unheard => return,
                };
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
        // Its absence says that it is not known of each what became of it. Whoever has gone needs none.
        if is_whole {
            drop(self.tell.send(BulkStep::Total { matched, done, failed, set }).await);
        }
    }

    async fn change(&self, (id, name): (ModelId, ModelName)) -> (ModelId, ModelName, Came) {
        let came = match self.over.get() {
            Some(over) => Came::Refused(over.refusal()),
            None => self.came_of(id).await,
        };
        (id, name, came)
    }

    async fn came_of(&self, id: ModelId) -> Came {
        if self.tell.is_closed() {
            return Came::Unheard;
        }
        let error = match self.changed(id).await {
            Ok((index, until_ms)) => return Came::Done(index, until_ms),
            Err(error) => error,
        };
        if let Some(over) = Over::of(&error) {
            // Of several at once the first one says why.
            let _first = self.over.set(over);
        }
        match error {
            RegistryError::AuditUnknown(_) => Came::Unknown,
            error => Came::Refused(error),
        }
    }

    async fn changed(&self, id: ModelId) -> Result<(u64, Option<i64>), RegistryError> {
        // It may take minutes: a session that was ended meanwhile, a role or a grant that was taken, counts from the next one on.
        let caller = self.inner.caller_now(&self.caller).await?;
        let reference = ModelRef { model: ModelKey::Id(id), select: Select::Latest };
        match self.deed {
            BulkDeed::Delete => {
                logged(self.inner.delete_model(&caller, &reference).await, |gone| gone.restorable_until_ms)
            }
            BulkDeed::Restore => logged(self.inner.restore_model(&caller, &reference).await, |_model| None),
        }
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
