//! All items and where they stand, for whoever asks, and what people do about them. Knows states; refuses to know files.
//!
//! What people do is recorded by the registry first, and then carried out by the task of the drop folder. In between the item
//! is claimed: nothing else is begun with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::api::{IngestChanged, IngestItem, IngestPage, IngestState, IntakeChanged, IntakeStatus};
use common::audit::Receipt;
use common::name::ItemId;
use common::role::Permission;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::ingest::table::{Row, Table};
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::cursor::Seek;
use crate::registry::error::{Done, Failure, RegistryError};
use crate::registry::ingest::Item;
use crate::store::records::{IngestRecord, IntakeRecord};

/// Commands that may wait for the task.
const COMMANDS_MAX: usize = 64;

/// Orders of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ItemSort {
    /// As they are worked on: at work first, then what waits, failed, was refused, is done.
    #[default]
    Work,
    /// By path, ignoring case.
    Path,
    /// By how long they are in their state, the longest first.
    StateSince,
}

/// Which items of the list.
#[derive(Debug, Clone, Default)]
pub struct ItemQuery {
    /// In one of these states; empty: in any.
    pub states: Vec<IngestState>,
    /// Words that must all be in its path, ignoring case; several between double quotes are one.
    pub text: Option<String>,
    /// The order.
    pub sort: ItemSort,
    /// The other way round.
    pub down: bool,
    /// Which page.
    pub seek: Seek,
    /// At most so many.
    pub limit: usize,
}

/// The drop folder, as other faces see it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What the task and its handles share.
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    table: Mutex<Table>,
    commands: mpsc::Sender<Command>,
    /// One at a time pauses: what was recorded last is what holds.
    pausing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(registry: Arc<Registry>) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (table, pausing) = (Mutex::default(), tokio::sync::Mutex::default());
        (Arc::new(Self { registry, table, commands, pausing }), received)
    }

    /// The table. Never held over an await.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        // Rows are changed one by one: whatever panicked in between, they are still rows.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done with an item by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Retry,
    Discard,
}

/// What the task is asked.
pub(crate) enum Command {
    /// Nothing else shall begin with this item until it is released, retried or discarded.
    Claim { id: ItemId, purpose: Purpose, reply: oneshot::Sender<Result<Claimed, RegistryError>> },
    /// Nothing came of it.
    Release { id: ItemId },
    /// It is recorded that it is tried again.
    Retry { id: ItemId, by: String, reply: oneshot::Sender<Result<(), RegistryError>> },
    /// It is recorded that it is given up. The reply comes when it has been moved, or can't be for now.
    Discard { id: ItemId, record: IngestRecord, reply: oneshot::Sender<()> },
    /// It is recorded whether anything is taken in.
    Intake(IntakeRecord),
}

/// An item that is claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// As the registry knows it.
    pub(crate) item: Item,
    /// What it was.
    pub(crate) was: String,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A page of the items.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub fn items(&self, caller: &Caller, query: &ItemQuery) -> Result<IngestPage, RegistryError> {
        self.shared.registry.may_see_ingest(caller)?;
        self.shared.table().page(query, &|row| is_in_view(caller, row))
    }

    /// One item.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, also where its model is out of the caller's view.
    pub fn item(&self, caller: &Caller, id: ItemId) -> Result<IngestItem, RegistryError> {
        self.shared.registry.may_see_ingest(caller)?;
        self.check_in_view(caller, id)?;
        self.shown(id)
    }

    fn check_in_view(&self, caller: &Caller, id: ItemId) -> Result<(), RegistryError> {
        let table = self.shared.table();
        table.get(id).filter(|row| is_in_view(caller, row)).map(drop).ok_or_else(|| not_found(id))
    }

    fn shown(&self, id: ItemId) -> Result<IngestItem, RegistryError> {
        self.shared.table().item(id).ok_or_else(|| not_found(id))
    }

    /// The folder as a whole, for `/status` and metrics: no names in it.
    pub fn status(&self) -> IntakeStatus {
        self.shared.table().status()
    }

    /// Tries a failed or refused item again, at once. The receipt is that of the entry.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Conflict`: it is under way, or done.
    pub async fn retry(&self, caller: &Caller, id: ItemId) -> Result<Done<IngestChanged>, Failure> {
        let (this, caller) = (self.clone(), caller.clone());
        // A client that goes away must not leave it half done.
        whole(async move { this.retry_whole(&caller, id).await }).await
    }

    async fn retry_whole(self, caller: &Caller, id: ItemId) -> Result<Done<IngestChanged>, Failure> {
        let registry = &self.shared.registry;
        if caller.require(Permission::IngestManage).is_err() {
            let path = self.shared.table().get(id).map(|row| row.path.clone());
            registry.retry_item(caller, id, &path.unwrap_or_default(), "").await?;
        }
        self.check_in_view(caller, id)?;
        let claimed = self.claim(id, Purpose::Retry).await?;
        let done = match registry.retry_item(caller, id, &claimed.item.path, &claimed.was).await {
            Ok(done) => done,
            Err(failure) => {
                self.tell(Command::Release { id }).await?;
                return Err(failure);
            }
        };
        let (reply, carried_out) = oneshot::channel();
        self.tell(Command::Retry { id, by: caller.actor.name.clone(), reply }).await?;
        let failed = |error| Failure { error, logged: done.logged };
        carried_out.await.map_err(|_gone: oneshot::error::RecvError| stopping())?.map_err(failed)?;
        let item = self.shown(id)?;
        changed(done, item)
    }

    /// Gives an item up that is not yet a version: it goes to `rejected/`, and is not tried again. One that lies there
    /// already only leaves the list.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Conflict`: it is under way, or done; `Invalid` for the reason.
    pub async fn discard(&self, caller: &Caller, id: ItemId, reason: &str) -> Result<Done<IngestChanged>, Failure> {
        let (this, caller, reason) = (self.clone(), caller.clone(), reason.to_owned());
        whole(async move { this.discard_whole(&caller, id, &reason).await }).await
    }

    async fn discard_whole(self, caller: &Caller, id: ItemId, reason: &str) -> Result<Done<IngestChanged>, Failure> {
        let registry = &self.shared.registry;
        if let Err(error) = caller.require(Permission::IngestManage) {
            // The registry refuses it, with its entry; it needs an item to name.
            return match self.claim(id, Purpose::Discard).await {
                Ok(claimed) => {
                    let refused = registry.discard_item(caller, claimed.item, reason).await.err();
                    self.tell(Command::Release { id }).await?;
                    Err(refused.unwrap_or_else(|| error.into()))
                }
                Err(_unknown) => Err(error.into()),
            };
        }
        self.check_in_view(caller, id)?;
        let claimed = self.claim(id, Purpose::Discard).await?;
        let done = match registry.discard_item(caller, claimed.item, reason).await {
            Ok(done) => done,
            Err(failure) => {
                self.tell(Command::Release { id }).await?;
                return Err(failure);
            }
        };
        let before = self.shown(id)?;
        let (reply, carried_out) = oneshot::channel();
        self.tell(Command::Discard { id, record: done.value.clone(), reply }).await?;
        carried_out.await.map_err(|_gone: oneshot::error::RecvError| stopping())?;
        // What lay in `rejected/` has left the list.
        let item = self.shown(id).unwrap_or(before);
        changed(done, item)
    }

    /// Takes nothing more in, or goes on; what is under way ends.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the reason.
    pub async fn pause(&self, caller: &Caller, paused: bool, reason: &str) -> Result<Done<IntakeChanged>, Failure> {
        let (this, caller, reason) = (self.clone(), caller.clone(), reason.to_owned());
        whole(async move { this.pause_whole(&caller, paused, &reason).await }).await
    }

    async fn pause_whole(self, caller: &Caller, paused: bool, reason: &str) -> Result<Done<IntakeChanged>, Failure> {
        let _alone = self.shared.pausing.lock().await;
        let done = self.shared.registry.pause_intake(caller, paused, reason).await?;
        // The first answer to the same key, given again, says what held then.
        if !done.replayed {
            show_intake(&mut self.shared.table(), &done.value);
            self.tell(Command::Intake(done.value.clone())).await?;
        }
        let (intake, receipt) = (self.status(), proof(done.receipt.as_ref())?);
        Ok(done.map(|_record| IntakeChanged { intake, receipt }))
    }

    async fn claim(&self, id: ItemId, purpose: Purpose) -> Result<Claimed, RegistryError> {
        let (reply, claimed) = oneshot::channel();
        self.tell(Command::Claim { id, purpose, reply }).await?;
        claimed.await.map_err(|_gone: oneshot::error::RecvError| stopping())?
    }

    async fn tell(&self, command: Command) -> Result<(), RegistryError> {
        self.shared.commands.send(command).await.map_err(|_gone: mpsc::error::SendError<Command>| stopping())
    }
}

/// Whether an item is for a model in the caller's view. What has no name yet, or none that could be made out, is shown to
/// those alone who see all models.
fn is_in_view(caller: &Caller, row: &Row) -> bool {
    let sees_all = caller.sees(None);
    sees_all || row.name.as_ref().and_then(|name| name.parse().ok()).is_some_and(|name| caller.sees(Some(&name)))
}

/// Runs to its end whether or not somebody waits for it.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work).await.map_err(|error| RegistryError::Internal(error.into()))?
}

fn changed<T>(done: Done<T>, item: IngestItem) -> Result<Done<IngestChanged>, Failure> {
    let receipt = proof(done.receipt.as_ref())?;
    Ok(done.map(|_value| IngestChanged { item, receipt }))
}

fn proof(receipt: Option<&Receipt>) -> Result<Receipt, RegistryError> {
    receipt.cloned().ok_or_else(|| RegistryError::internal("a change came without its receipt"))
}

fn stopping() -> RegistryError {
    RegistryError::Busy { what: "the drop folder stops", is_callers: false }
}

pub(crate) fn not_found(id: ItemId) -> RegistryError {
    RegistryError::not_found(format!("item {id} in the list of the drop folder"))
}

/// Shows whether anything is taken in.
pub(crate) fn show_intake(table: &mut Table, record: &IntakeRecord) {
    let folder = &mut table.folder;
    folder.paused = record.paused;
    let is_said = |text: &String| record.paused && !text.is_empty();
    folder.paused_by = Some(record.by.clone()).filter(is_said);
    folder.pause_reason = Some(record.reason.clone()).filter(is_said);
    folder.paused_at = record.paused.then(|| clock::rfc3339(record.at_ms));
}
