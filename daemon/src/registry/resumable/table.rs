//! All resumable uploads, in memory: found by id, counted by owner, and one request at a time at each. Read from their files
//! at the start. Locks are held for a look or a change of a record, never over I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::name::UploadId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Totals;
use super::record::{Record, id_of};
use crate::blobs::Blobs;
use crate::durable;
use crate::registry::error::RegistryError;
use crate::registry::quota::{Claim, Quotas};
use crate::registry::settings::ResumableSettings;

/// Uploads that are over and of which it is still known how they ended; beyond that the oldest are forgotten.
const ENDED_MAX: usize = 1024;
/// How long a request waits for the one before it to let go of an upload.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// One upload.
pub(super) struct Slot {
    record: Mutex<Record>,
    turn: Arc<Semaphore>,
    asked: watch::Sender<()>,
    /// Which record is in the file isn't known: replacing it failed, maybe behind the renaming.
    in_doubt: AtomicBool,
    /// What it has reserved of quotas, as long as it is not over.
    claim: Arc<Claim>,
}

impl Slot {
    fn new(record: Record, claim: Arc<Claim>) -> Arc<Self> {
        let turn = Arc::new(Semaphore::new(1));
        Arc::new(Self {
            record: Mutex::new(record),
            turn,
            asked: watch::Sender::new(()),
            in_doubt: AtomicBool::new(false),
            claim,
        })
    }

    /// What it has reserved of quotas.
    pub(super) fn claim(&self) -> &Arc<Claim> {
        &self.claim
    }

    /// The record as it is durable.
    pub(super) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replacing the record's file failed. Until it is written again, a crash may leave a record that counts more octets than
    /// are known here.
    pub(super) fn doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::Relaxed);
    }

    /// Whether the record is to be written again before its octets are touched.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// Looks at it without copying it.
    fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the record, once it is durable.
    pub(super) fn set(&self, record: Record) {
        if record.ended.is_some() {
            self.claim.settle();
        }
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
    }

    /// The turn to do something to it. Whoever has it and only waits for a client is asked to let go: the client that it
    /// waits for may be gone, and is more likely back here.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, RegistryError> {
        if let Some(turn) = self.try_turn() {
            return Ok(turn);
        }
        self.asked.send_replace(());
        match tokio::time::timeout(TURN_WAIT, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(turn) => turn.map_err(|error| RegistryError::Internal(error.into())),
            Err(_elapsed) => Err(RegistryError::UploadBusy),
        }
    }

    /// The same without waiting.
    pub(super) fn try_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).try_acquire_owned().ok()
    }

    /// Changes when somebody else asks for the turn.
    pub(super) fn asked(&self) -> watch::Receiver<()> {
        self.asked.subscribe()
    }
}

/// All uploads.
#[derive(Default)]
pub(crate) struct Resumables {
    table: Mutex<BTreeMap<UploadId, Arc<Slot>>>,
    expired: AtomicU64,
}

impl Resumables {
    /// Reads what an earlier run left: blocking. Octets without a record are what a crash left of a creation or an end, and
    /// are removed; so are records whose octets are not all there any more.
    ///
    /// # Errors
    /// `Internal`: the directories can't be read.
    pub(crate) fn load(dir: &Path, blobs: &dyn Blobs, quotas: &Arc<Quotas>) -> Result<Self, RegistryError> {
        let internal = |error: std::io::Error| RegistryError::Internal(error.into());
        durable::create_dir_all(dir, durable::MODE_DIR).map_err(internal)?;
        let mut partials = BTreeMap::new();
        blobs.partials(&mut |name, bytes| {
            partials.insert(name.to_owned(), bytes);
        })?;
        let mut table = BTreeMap::new();
        let mut named: BTreeSet<String> = BTreeSet::new();
        for entry in std::fs::read_dir(dir).map_err(internal)? {
            let file = entry.map_err(internal)?.path();
            let record = match Record::load(&file) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    // Its octets stay: somebody may want them.
                    named.extend(id_of(&file).map(|id| id.to_string()));
                    tracing::warn!(file = %file.display(), %error, "the record of a resumable upload can't be read; it is left alone");
                    continue;
                }
            };
            let name = record.id.to_string();
            let there = partials.get(&name).copied();
            if record.ended.is_none() && there.is_none_or(|bytes| bytes < record.offset) {
                tracing::warn!(
                    upload = name,
                    offset = record.offset,
                    there,
                    "a resumable upload has lost octets; it is given up"
                );
                Record::remove(dir, record.id).map_err(internal)?;
                continue;
            }
            if record.ended.is_none() {
                named.insert(name);
            }
            let claim = record.claim(quotas);
            if record.ended.is_none() {
                // What was promised before the stop.
                claim.force(record.announced());
            }
            table.insert(record.id, Slot::new(record, claim));
        }
        for name in partials.keys().filter(|name| !named.contains(*name)) {
            blobs.remove_partial(name)?;
        }
        Ok(Self { table: Mutex::new(table), expired: AtomicU64::new(0) })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<UploadId, Arc<Slot>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One upload.
    pub(super) fn slot(&self, id: UploadId) -> Option<Arc<Slot>> {
        self.table().get(&id).cloned()
    }

    /// All of them.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.table().values().cloned().collect()
    }

    /// Those of a user that are not over, oldest first.
    pub(super) fn records_of(&self, owner: &str) -> Vec<Record> {
        let is_theirs = |record: &Record| record.owner == owner && record.ended.is_none();
        self.slots().iter().filter_map(|slot| slot.look(|record| is_theirs(record).then(|| record.clone()))).collect()
    }

    /// Takes an upload in, if its owner may have one more.
    ///
    /// # Errors
    /// `Busy`.
    pub(super) fn reserve(
        &self,
        record: Record,
        claim: Arc<Claim>,
        settings: &ResumableSettings,
    ) -> Result<Arc<Slot>, RegistryError> {
        let mut table = self.table();
        check_share(table.values(), &record, record.length.unwrap_or(0), settings)?;
        let (id, slot) = (record.id, Slot::new(record, claim));
        table.insert(id, Arc::clone(&slot));
        Ok(slot)
    }

    /// Whether an upload of which less was known may come to so many octets.
    ///
    /// # Errors
    /// `Busy`.
    pub(super) fn check_growth(
        &self,
        record: &Record,
        octets: u64,
        settings: &ResumableSettings,
    ) -> Result<(), RegistryError> {
        check_share(&self.slots(), record, octets, settings)
    }

    /// Forgets an upload.
    pub(super) fn remove(&self, id: UploadId) {
        self.table().remove(&id);
    }

    /// Those that are over and beyond what is remembered, oldest first.
    pub(super) fn forgettable(&self) -> Vec<UploadId> {
        let ended_id = |record: &Record| record.ended.as_ref().map(|_ended| record.id);
        let mut ended: Vec<UploadId> = self.slots().iter().filter_map(|slot| slot.look(ended_id)).collect();
        ended.truncate(ended.len().saturating_sub(ENDED_MAX));
        ended
    }

    /// Counts one that has expired.
    pub(super) fn count_expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// All together.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals { expired: self.expired.load(Ordering::Relaxed), ..Totals::default() };
        for slot in self.slots() {
            slot.look(|record| {
                if record.ended.is_none() {
                    totals.open += 1;
                    totals.bytes = totals.bytes.saturating_add(record.offset);
                    let left = record.announced().saturating_sub(record.offset);
                    totals.outstanding_bytes = totals.outstanding_bytes.saturating_add(left);
                }
            });
        }
        totals
    }

    /// Octets that those of a user have announced and not yet got, and those of all others.
    pub(super) fn outstanding(&self, owner: &str) -> (u64, u64) {
        let (mut own, mut others) = (0_u64, 0_u64);
        for slot in self.slots() {
            slot.look(|record| {
                if record.ended.is_none() {
                    let sum = if record.owner == owner { &mut own } else { &mut others };
                    *sum = sum.saturating_add(record.announced().saturating_sub(record.offset));
                }
            });
        }
        (own, others)
    }
}

/// Whether an upload of so many octets is within its owner's share, beside the others there are.
fn check_share<'s>(
    slots: impl IntoIterator<Item = &'s Arc<Slot>>,
    record: &Record,
    octets: u64,
    settings: &ResumableSettings,
) -> Result<(), RegistryError> {
    let (mut count, mut sum) = (0, octets);
    for slot in slots {
        slot.look(|other| {
            if other.id != record.id && other.owner == record.owner && other.ended.is_none() {
                count += 1;
                sum = sum.saturating_add(other.announced());
            }
        });
    }
    let busy = |what| Err(RegistryError::Busy { what, is_callers: true });
    if count >= settings.per_user_max {
        return busy("you have as many uploads open as one user may (MREG_UPLOADS_PER_USER)");
    }
    if sum > settings.per_user_bytes_max {
        return busy("your open uploads would come to more octets than one user's may (MREG_UPLOAD_BYTES_PER_USER)");
    }
    Ok(())
}
