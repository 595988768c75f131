//! The one commit path (audit-log.md §8): a thread that takes what is queued, decides each command in turn, appends the
//! records with one fdatasync, applies the changes to the view, signs the checkpoint, and answers. Nothing else writes.
//! sled is given the changes of several batches at once: until then the view has them in memory (`packed/recent.rs`).
//! Where several daemons share the log, the database's commit comes before all that (`sequencer/shared.rs`).

mod queue;
mod shared;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::audit::{
    Action, Actor, Checkpoint, Entry, Hash, Outcome, Signer, Target, consistency_proof, leaf_hash, root_at,
    verify_consistency,
};
use common::digest::Digest;
use tokio::sync::{oneshot, watch};

pub use self::queue::Queue;
use self::queue::{SignedAgain, Waiting};
use crate::clock;
use crate::durable::Disk;
use crate::random;
use crate::store::codec::{change_digest, encode_change};
use crate::store::entries::{Row, Rows, actor_name, subject};
use crate::store::journal::{AppendError, Journal, Place, RECORD_OCTETS_MAX, Record, Spare};
use crate::store::keys::{Held, KeyDir};
use crate::store::mark::{CheckpointFile, HighWaterMark, ViewDoubt};
use crate::store::merkle::{HashFiles, HashWriter};
use crate::store::overlay::Overlay;
use crate::store::packed::PackedTree;
use crate::store::records::{LogKeysRecord, Write};
use crate::store::room::{Fit, Room};
use crate::store::shared::SharedError;
use crate::store::shared::writer::Writer;
use crate::store::view::{Applied, Chain, KvRecords, advance_head, apply, head, set_applied};
use crate::store::{Committed, Decide, Decision, Draft, Health, Moment, PublishedCheckpoint, StoreError, Urgency};

/// The most commands of a batch.
pub const BATCH_COMMANDS_MAX: usize = 512;
/// Commands that may wait; beyond it, `commit` waits for a place.
pub const QUEUE_MAX: usize = 4096;
/// After a batch of so many the next is given time to gather: those who were just answered are about to come back, and
/// a batch costs much the same whatever its size. Fewer are not kept waiting.
const GATHER_FROM: usize = 4;
/// How often it is looked whether more have come; not again once none has, or all who are known have.
const GATHER_PAUSES: usize = 4;
/// Checkpoints of earlier sizes that are signed between two batches at most: commands must not wait for those who read.
const AGAIN_MAX: usize = 16;
/// Time between the looks.
const GATHER_PAUSE: Duration = Duration::from_micros(100);
/// Entries for which hashes and rows have room beyond every ordinary batch, for those that are written on a full disk.
const SPARE_ENTRIES: u64 = 1024;
/// Octets of records after which a batch is closed.
const BATCH_OCTETS_MAX: usize = 32 * 1024 * 1024;

/// What can be asked of the sequencer.
pub enum Request {
    /// Decide and commit a command.
    Commit(Urgency, Decide, oneshot::Sender<Result<Committed, StoreError>>),
    /// Sign the checkpoint of an earlier size once more; at least 1, and not above the published size.
    SignAgain(u64, SignedAgain),
    /// Run this between two batches: nothing moves while it runs, so it must be short.
    Still(Box<dyn FnOnce() + Send>),
    /// Fetch what other daemons committed, up to a size at least. Nothing where no log is shared.
    CatchUp(u64, oneshot::Sender<Result<(), SharedError>>),
    /// Give sled what it lacks yet of the view.
    Settle(oneshot::Sender<()>),
    /// Look whether a log that refuses can be written again, and the reserve be filled.
    Probe,
    /// Finish what was queued before this, then end.
    Close(oneshot::Sender<()>),
}

/// What the sequencer shows to the rest of the store.
#[derive(Debug)]
pub struct Shown {
    /// The newest published checkpoint.
    pub checkpoint: watch::Sender<Arc<PublishedCheckpoint>>,
    /// Whether it can record.
    pub health: watch::Sender<Health>,
    /// Entries since start.
    pub commits: AtomicU64,
    /// Batches since start.
    pub batches: AtomicU64,
    /// Since when what was taken last is being committed.
    pub busy_since: Mutex<Option<Instant>>,
    /// Octets of the journal.
    pub journal_bytes: AtomicU64,
    /// Octets of the reserve.
    pub reserve_bytes: AtomicU64,
    /// Raised when the view fails.
    pub doubt: ViewDoubt,
    /// Whether the view was found to contradict the journal; the doubt is raised then.
    pub in_doubt: AtomicBool,
    /// The log's name and keys.
    pub keys: watch::Sender<Arc<LogKeysRecord>>,
}

impl Shown {
    fn busy(&self, busy: bool) {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = busy.then(Instant::now);
    }

    /// How long the writing thread has been at what it took last; zero where it waits for something to do.
    pub fn busy_for(&self) -> Duration {
        let since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Shows another health. A log that failed stays failed, for the reason it failed first, until the next start.
    pub fn set_health(&self, now: Health) {
        self.health.send_if_modified(|health| {
            let changed = !matches!(health, Health::Failed(_)) && *health != now;
            if changed {
                *health = now;
            }
            changed
        });
    }
}

/// The writer. Owned by its thread.
pub struct Sequencer {
    /// The truth.
    pub journal: Journal,
    /// The hashes.
    pub hashes: HashWriter,
    /// The files of the hashes.
    pub hash_files: Arc<HashFiles>,
    /// The entries' index.
    pub rows: Arc<Rows>,
    /// The view.
    pub tree: PackedTree,
    /// The view's directory.
    pub view_dir: PathBuf,
    /// The way to the files.
    pub disk: Disk,
    /// The last checkpoint's file.
    pub checkpoint_file: CheckpointFile,
    /// The log's keys, the newest first. None while older data is being accepted: then nothing can be signed before an
    /// entry brings a new one.
    pub signers: Vec<Arc<dyn Signer>>,
    /// Where they are.
    pub key_dir: KeyDir,
    /// What each new head is held against.
    pub mark: Arc<HighWaterMark>,
    /// The mark that the log was last found to extend.
    pub mark_held: Option<Checkpoint>,
    /// This daemon's instance id.
    pub node: String,
    /// Leaf hash of entry 0; none before it is written.
    pub genesis: Option<Hash>,
    /// The time of the last entry.
    pub last_at_ms: i64,
    /// Whether there is room for what a batch derives.
    pub room: Room,
    /// Why the log refuses since a moment ago; to be recorded.
    pub news: Option<String>,
    /// Whether the view failed: sled may have half of a batch, and is given nothing more.
    pub view_failed: bool,
    /// What others see.
    pub shown: Arc<Shown>,
    /// The log in the database, where several daemons share it.
    pub shared: Option<Writer>,
    /// What is asked of it.
    pub queue: Queue,
}

/// A command that was decided, on its way to the journal.
struct Decided {
    reply: oneshot::Sender<Result<Committed, StoreError>>,
    leaf: Arc<[u8]>,
    placed: Placed,
}

/// An entry's place in the log.
#[derive(Debug, Clone, Copy)]
struct Placed {
    index: u64,
    at_ms: i64,
    leaf_hash: Hash,
    before: [Option<u64>; 5],
}

impl Sequencer {
    /// Commits what opening has to say, each entry alone and before anything else: entry 0 is the genesis even where the
    /// disk is so full that the next would be a refusal.
    ///
    /// # Errors
    /// That of the first that could not be recorded.
    pub fn open(&mut self, opening: Vec<Decide>) -> Result<(), StoreError> {
        for decide in opening {
            let (reply, mut answer) = oneshot::channel();
            self.one_batch(&mut std::iter::once((Urgency::Lifecycle, decide, reply)));
            let gone = |_closed| StoreError::Unavailable("an opening entry was not decided".to_owned());
            answer.try_recv().map_err(gone)??;
        }
        Ok(())
    }

    /// Serves requests until it is closed or has failed.
    pub fn run(mut self) {
        // By default the system ends a pause as much later as it is long. Where that can't be had, pauses are longer.
        let _default = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        let mut last_batch = 0;
        // All that can come: those who were answered, and those who came too late for it.
        let mut expected = 0;
        while let Some(first) = self.queue.next() {
            self.shown.busy(true);
            self.queue.take(first);
            if last_batch >= GATHER_FROM {
                self.gather(expected);
            }
            let waiting = std::mem::take(&mut self.queue.waiting);
            last_batch = waiting.len();
            if std::mem::take(&mut self.queue.taken.probe) {
                self.probe();
            }
            self.batch(waiting);
            expected = last_batch + self.queue.len();
            if std::mem::take(&mut self.queue.taken.probe) {
                // The batch was in doubt for a while, and others were refused: it is looked whether that is over.
                self.probe();
                // If not, the keeper asks again.
                self.queue.taken.probe = false;
            }
            // Only now: what comes while a batch is in doubt is taken at once.
            let taken = std::mem::take(&mut self.queue.taken);
            for (size, reply) in taken.catch_up {
                // Who waited for it may be gone.
                let _gone = reply.send(self.catch_up(size));
            }
            for (size, reply) in taken.again {
                // A client that left has nobody waiting for the note; none is kept.
                let _gone = reply.send(self.sign_again(size));
            }
            if !taken.settle.is_empty() || taken.closing.is_some() {
                self.settle();
            }
            for reply in taken.settle {
                // The keeper may have given up by then.
                let _gone = reply.send(());
            }
            if let Some(done) = taken.closing {
                // A receiver that is gone has stopped waiting; there is nobody to tell.
                let _gone = done.send(());
                return;
            }
            self.shown.busy(false);
        }
    }

    /// Gives those who were just answered time to come back: `expected` of them at most.
    fn gather(&mut self, expected: usize) {
        for _ in 0..GATHER_PAUSES {
            let gathered = self.queue.waiting.len();
            if gathered >= expected || self.queue.is_batch() {
                return;
            }
            std::thread::sleep(GATHER_PAUSE);
            let Some(next) = self.queue.next_here() else { return };
            self.queue.take(next);
        }
    }

    /// Decides and commits commands; each is answered. What does not fit into one batch goes into the next.
    fn batch(&mut self, waiting: Vec<Waiting>) {
        let mut rest = waiting.into_iter();
        while rest.len() > 0 {
            let most = rest.as_slice().iter().map(|(urgency, ..)| *urgency).max().unwrap_or(Urgency::Ordinary);
            match self.ready(most) {
                Ok(Urgency::Ordinary) => {}
                Ok(least) => {
                    let (let_through, refused): (Vec<_>, Vec<_>) = rest.partition(|(urgency, ..)| *urgency >= least);
                    for (_urgency, _decide, reply) in refused {
                        answer(reply, Err(self.refusal()));
                    }
                    rest = let_through.into_iter();
                }
                Err(failed) => {
                    for (_urgency, _decide, reply) in rest {
                        answer(reply, Err(StoreError::Unavailable(failed.clone())));
                    }
                    return;
                }
            }
            if rest.len() > 0 {
                self.one_batch(&mut rest);
                self.tell_news();
            }
        }
    }

    /// The least urgency that is let through now; an error if nothing more can be begun at all. `most` is the most urgent
    /// command that waits.
    fn ready(&mut self, most: Urgency) -> Result<Urgency, String> {
        self.check_alive()?;
        let least = self.least_urgency(most);
        // What was written to find out may have failed for good.
        self.check_alive()?;
        Ok(least)
    }

    fn check_alive(&self) -> Result<(), String> {
        match &*self.shown.health.borrow() {
            Health::Failed(why) => Err(why.clone()),
            Health::Ok | Health::Full(_) | Health::Refusing(_) => Ok(()),
        }
    }

    fn least_urgency(&mut self, most: Urgency) -> Urgency {
        let checked = self.room.check(most);
        self.shown.reserve_bytes.store(self.room.reserve_octets(), Ordering::Relaxed);
        match checked {
            Ok(Fit { least, full: Some(full) }) => {
                self.refusing(Health::Full(full.to_string()));
                self.tell_news();
                least
            }
            Ok(Fit { least, full: None }) if self.resumed() => least,
            Ok(Fit { full: None, .. }) => Urgency::Urgent,
            Err(error) => {
                self.refusing(Health::Refusing(format!("the file system can't be asked for its free space: {error}")));
                self.tell_news();
                Urgency::Lifecycle
            }
        }
    }

    /// Whether ordinary commands can be recorded. A log that refused is tried with an entry that says that it goes on.
    fn resumed(&mut self) -> bool {
        if *self.shown.health.borrow() == Health::Ok {
            return true;
        }
        let resumed = self.record_own(Urgency::Ordinary, Action::LogResume, BTreeMap::new());
        if resumed {
            tracing::info!("the audit log can be written again");
            self.shown.set_health(Health::Ok);
            // What could not be told in time is over.
            self.news = None;
        }
        resumed
    }

    /// Looks whether things are better than they were; fills the reserve.
    fn probe(&mut self) {
        // What it comes to is shown by the health.
        let _least = self.ready(Urgency::Ordinary);
    }

    /// Records that ordinary commands are refused from now on, if that is news. Where even that can't be written, the
    /// daemon's log has said it.
    fn tell_news(&mut self) {
        if let Some(why) = self.news.take() {
            self.record_own(Urgency::Lifecycle, Action::LogRefuse, BTreeMap::from([("reason".to_owned(), why.into())]));
        }
    }

    /// Commits an entry of the log about itself; whether it is recorded.
    fn record_own(&mut self, urgency: Urgency, action: Action, data: BTreeMap<String, serde_json::Value>) -> bool {
        if self.check_alive().is_err() {
            return false;
        }
        let (reply, mut answer) = oneshot::channel();
        let decide = own_entry(action, &self.shown.keys.borrow().origin, data);
        self.one_batch(&mut std::iter::once((urgency, decide, reply)));
        answer.try_recv().is_ok_and(|result| result.is_ok())
    }

    /// What an ordinary command is told while the log refuses.
    fn refusal(&self) -> StoreError {
        match &*self.shown.health.borrow() {
            Health::Full(why) => StoreError::Full(why.clone()),
            Health::Refusing(why) | Health::Failed(why) => StoreError::Unavailable(why.clone()),
            Health::Ok => StoreError::Unavailable("the log can't be written at the moment".to_owned()),
        }
    }

    /// Decides and commits as many commands as go into one batch.
    fn one_batch(&mut self, commands: &mut dyn ExactSizeIterator<Item = Waiting>) {
        // Step 1: our turn. All that was committed before is applied then.
        match self.take_turn() {
            Ok(()) => self.batch_in_turn(commands),
            Err(behind) => {
                let why = self.say_behind(behind);
                for (_urgency, _decide, reply) in commands {
                    answer(reply, Err(StoreError::Unavailable(why.clone())));
                }
            }
        }
        self.end_turn();
        // Where room is short, sled has what was let through while there was enough for it.
        if self.tree.is_due() || *self.shown.health.borrow() != Health::Ok {
            self.settle();
        }
    }

    /// Gives sled what it lacks yet. Nobody is kept waiting who was in a batch before; what fails makes an end of it, and
    /// the next start has all of it from the journal.
    pub fn settle(&mut self) {
        if self.tree.is_settled() || self.view_failed {
            return;
        }
        let _alarm = Alarm(Arc::clone(&self.shown));
        let settled = self
            .tree
            .pack()
            .and_then(|packed| Ok(self.disk.apply(&self.view_dir, || Ok(self.tree.settle(packed)?))?));
        if let Err(error) = settled {
            self.view_failed = true;
            self.shown.doubt.raise();
            self.failed(&format!("the view of what is recorded failed, so the daemon must restart: {error}"));
        }
    }

    fn batch_in_turn(&mut self, commands: &mut dyn ExactSizeIterator<Item = Waiting>) {
        // Step 2: decide each in turn against the view and the pending changes of this batch.
        let tree = self.tree.clone();
        let mut overlay = Overlay::new(&tree);
        let mut decided = Vec::with_capacity(commands.len());
        let _alarm = Alarm(Arc::clone(&self.shown));
        let mut records: Vec<Record> = Vec::with_capacity(commands.len());
        let mut released = Vec::new();
        let healthy = *self.shown.health.borrow() == Health::Ok;
        let mut spare = Spare::Use;
        let mut octets = 0;
        let mut last_at_ms = self.last_at_ms;
        let mut keys = None;
        while octets < BATCH_OCTETS_MAX && decided.len() < BATCH_COMMANDS_MAX {
            let Some((urgency, decide, reply)) = commands.next() else { break };
            let index = self.journal.next_index() + records.len() as u64;
            let moment = Moment { index, at_ms: clock::now_ms().max(last_at_ms) };
            match self.decide_one(&mut overlay, decide, moment, &mut released) {
                Ok(Ready { record, leaf_hash, before, keys: new_keys }) => {
                    keys = new_keys.or(keys);
                    octets += record.leaf.len() + record.change.len();
                    // What is kept for the daemon's own words is nobody else's.
                    if urgency < Urgency::Lifecycle {
                        spare = if healthy { Spare::Keep } else { Spare::KeepTight };
                    }
                    last_at_ms = moment.at_ms;
                    let leaf = Arc::clone(&record.leaf);
                    records.push(record);
                    let placed = Placed { index, at_ms: moment.at_ms, leaf_hash, before };
                    decided.push(Decided { reply, leaf, placed });
                }
                Err(Undecided::Command(error)) => answer(reply, Err(error)),
                Err(Undecided::Batch(error)) => {
                    // The pending changes are half applied, so none of them may be kept. Nothing was written yet.
                    let why = error.to_string();
                    answer(reply, Err(error));
                    return refuse_all(decided, StoreError::Unavailable, &why);
                }
            }
        }
        if records.is_empty() {
            return;
        }
        let size = self.journal.next_index();
        let more = records.len() as u64;
        let placed: Vec<Placed> = decided.iter().map(|one| one.placed).collect();
        let applied = Applied {
            size: size + more,
            genesis: self.genesis.or(placed.first().map(|first| first.leaf_hash)).map_or([0; 32], |hash| hash.0),
        };
        let ahead = if spare == Spare::Use { more } else { more + SPARE_ENTRIES };
        let prepared = set_applied(&mut overlay, &applied)
            .and_then(|()| self.hash_files.reserve(size, ahead))
            .and_then(|()| self.rows.reserve(size, ahead));
        if let Err(error) = prepared {
            return self.not_written(decided, &error);
        }

        // Step 3: the commit point is inside `append`; or in the database, where several daemons share the log.
        if let Some(shared::Unshared { error, why }) = self.share(&records, &placed) {
            return refuse_all(decided, error, &why);
        }
        let is_shared = self.shared.is_some();
        // What has happened must get into the replica, too, whatever room that takes.
        let places = match self.journal.append(&records, if is_shared { Spare::Use } else { spare }) {
            Ok(places) => places,
            Err(error) if is_shared => {
                let why = format!("committed in the database, but the replica of it can't be written: {error}");
                self.failed(&why);
                return refuse_all(decided, StoreError::Unknown, &why);
            }
            Err(error @ AppendError::NotWritten(_)) => return self.not_written(decided, &error),
            Err(AppendError::Lost(why)) => {
                self.failed(&why);
                return refuse_all(decided, StoreError::Unavailable, &why);
            }
            Err(AppendError::Unknown(why)) => {
                self.failed(&why);
                return refuse_all(decided, StoreError::Unknown, &why);
            }
        };

        // Steps 4 and 5. From here on the batch has happened: if the process ends before it is answered, recovery
        // applies it again from the journal.
        self.last_at_ms = last_at_ms;
        self.genesis.get_or_insert(Hash(applied.genesis));
        match self.publish(overlay, &placed, &places, keys) {
            Ok(checkpoint) => self.answer_all(decided, &checkpoint, released),
            Err(error) => {
                self.view_failed = true;
                self.shown.doubt.raise();
                let why = format!("recorded, but the view of it failed, so the daemon must restart: {error}");
                self.failed(&why);
                refuse_all(decided, StoreError::Unknown, &why);
            }
        }
    }

    /// Runs one decision and turns it into a record; its writes become visible to the next.
    fn decide_one(
        &self,
        overlay: &mut Overlay<'_>,
        decide: Decide,
        moment: Moment,
        released: &mut Vec<Digest>,
    ) -> Result<Ready, Undecided> {
        // A decision that panics is a bug of its own; it must not take the log with it.
        let decision = catch_unwind(AssertUnwindSafe(|| decide(&KvRecords(&*overlay), moment)))
            .map_err(|_panic| Undecided::Command(StoreError::Corrupt("deciding a command panicked".to_owned())))?
            .map_err(Undecided::Command)?;
        let change = encode_change(&decision.writes).map_err(Undecided::Command)?;
        let about = subject(&decision.draft.target.kind, &decision.draft.target.id);
        let prev = head(overlay, Chain::Target, &about).map_err(Undecided::Command)?.map(|head| head.last);
        let entry = self.entry(decision.draft, &change, prev, moment).map_err(Undecided::Command)?;
        let leaf: Arc<[u8]> = entry
            .to_leaf()
            .map_err(|error| {
                Undecided::Command(StoreError::Unavailable(format!("the entry can't be written: {error}")))
            })?
            .into();
        // Found out here, it is this command's failure; in the journal it would be the whole batch's.
        if 4 + leaf.len() + change.len() > RECORD_OCTETS_MAX {
            let why = format!("a change of {} octets is too large for the journal", change.len());
            return Err(Undecided::Command(StoreError::Unavailable(why)));
        }
        // There is no entry of a key that can't sign: the key is read before the entry is written.
        let keys = self.new_keys(&decision.writes).map_err(Undecided::Command)?;
        let before = apply_record(overlay, &entry, &decision.writes, moment, released).map_err(Undecided::Batch)?;
        let leaf_hash = leaf_hash(&leaf);
        Ok(Ready { record: Record { leaf, change }, leaf_hash, before, keys })
    }

    /// The keys a change brings, ready to sign; none if it brings none.
    fn new_keys(&self, writes: &[Write]) -> Result<Option<NewKeys>, StoreError> {
        let brought = writes.iter().rev().find_map(|write| match write {
            Write::PutLogKeys(keys) => Some(keys),
            _other => None,
        });
        let Some(keys) = brought else { return Ok(None) };
        let signers = self
            .key_dir
            .signers(keys)
            .map_err(|error| StoreError::Unavailable(format!("the log's new key can't be used: {error}")))?;
        Ok(Some(NewKeys { keys: Arc::new(keys.clone()), signers }))
    }

    fn entry(&self, draft: Draft, change: &[u8], prev: Option<u64>, moment: Moment) -> Result<Entry, StoreError> {
        let no_random = |error: getrandom::Error| StoreError::Unavailable(error.to_string());
        let salt = random::octets().map_err(no_random)?;
        Ok(Entry {
            seq: moment.index,
            id: random::uuid_v7(moment.at_ms).map_err(no_random)?.to_string(),
            ts: moment.at_ms,
            node: self.node.clone(),
            salt,
            action: draft.action,
            outcome: draft.outcome,
            actor: draft.actor,
            change: (!change.is_empty()).then(|| change_digest(change)),
            prev,
            target: Some(draft.target),
            req: draft.request,
            data: draft.data,
        })
    }

    fn publish(
        &mut self,
        overlay: Overlay<'_>,
        placed: &[Placed],
        places: &[Place],
        keys: Option<NewKeys>,
    ) -> Result<Arc<PublishedCheckpoint>, StoreError> {
        let rows: Vec<Row> = placed
            .iter()
            .zip(places)
            .map(|(one, &place)| Row { place, at_ms: one.at_ms, before: one.before })
            .collect();
        if let Some(first) = placed.first() {
            self.rows.write(first.index, &rows)?;
        }
        for one in placed {
            self.hashes.push(one.leaf_hash);
        }
        self.hashes.write()?;
        self.tree.take(overlay.into_changes());
        if let Some(NewKeys { keys, signers }) = keys {
            self.signers = signers;
            self.shown.keys.send_replace(keys);
        }
        self.sign()
    }

    /// Signs the committed head and publishes it. The only place that signs what was not signed before.
    ///
    /// The head is read again from what was written, and held against the last checkpoint and the high-water mark: a fork
    /// must not be signed whatever happened to the files.
    pub fn sign(&mut self) -> Result<Arc<PublishedCheckpoint>, StoreError> {
        let (size, root) = (self.hashes.size(), self.hashes.root());
        let published = self.shown.checkpoint.borrow().clone();
        if size < published.size || (size == published.size && size > 0 && root != published.root) {
            return Err(StoreError::Corrupt(format!("the log's head went back from {} to {size}", published.size)));
        }
        let written = root_at(size, &*self.hash_files)?;
        if written != root {
            return Err(StoreError::Corrupt(format!(
                "the hashes of {size} entries were altered on disk: {written}, not {root}"
            )));
        }
        let keys = self.shown.keys.borrow().clone();
        // A mark that the log extended once is extended by every later head: of each it is asked once.
        if let Some(mark) = self.mark.last().checkpoint
            && self.mark_held.as_ref() != Some(&mark)
        {
            let held = keys.holds(&mark, size, |size| Ok(root_at(size, &*self.hash_files)?))?;
            if held != Held::Yes {
                return Err(StoreError::Corrupt(format!(
                    "the high-water mark says {} entries with the root {}, which the log does not extend: nothing is signed",
                    mark.size, mark.root
                )));
            }
            self.mark_held = Some(mark);
        }
        let published = self.signed(size, root)?;
        self.checkpoint_file.write(&published.note)?;
        self.shown.checkpoint.send_replace(Arc::clone(&published));
        Ok(published)
    }

    /// The checkpoint of an earlier size, signed once more. Its root comes from the hash files, which anyone with access to
    /// the disk could have edited, so it is signed only where those same files prove that the published checkpoint, whose
    /// root was computed in memory, continues it: a root that is not the log's own past is never signed.
    fn sign_again(&self, size: u64) -> Result<Arc<PublishedCheckpoint>, StoreError> {
        self.check_alive().map_err(StoreError::Unavailable)?;
        let published = self.shown.checkpoint.borrow().clone();
        let files = &*self.hash_files;
        let root = root_at(size, files)?;
        let proof = consistency_proof(size, published.size, files)?;
        verify_consistency(size, &root, published.size, &published.root, &proof).map_err(|error| {
            StoreError::Corrupt(format!("the tree's files don't lead from {size} to {}: {error}", published.size))
        })?;
        self.signed(size, root)
    }

    /// The checkpoint of a size and root, under the log's present name, with the signatures of all keys that sign now.
    fn signed(&self, size: u64, root: Hash) -> Result<Arc<PublishedCheckpoint>, StoreError> {
        let checkpoint = Checkpoint { origin: self.shown.keys.borrow().origin.clone(), size, root };
        let signers: Vec<&dyn Signer> = self.signers.iter().map(|signer| &**signer).collect();
        let note = checkpoint.sign(&signers).map_err(|error| StoreError::Unavailable(crate::error_chain(&error)))?;
        Ok(Arc::new(PublishedCheckpoint { size, root, note }))
    }

    fn answer_all(&self, decided: Vec<Decided>, checkpoint: &Arc<PublishedCheckpoint>, mut released: Vec<Digest>) {
        self.shown.commits.fetch_add(decided.len() as u64, Ordering::Relaxed);
        self.shown.batches.fetch_add(1, Ordering::Relaxed);
        self.shown.journal_bytes.store(self.journal.octets(), Ordering::Relaxed);
        released.sort_unstable();
        released.dedup();
        let released: Arc<[Digest]> = released.into();
        for one in decided {
            let committed = Committed {
                index: one.placed.index,
                at_ms: one.placed.at_ms,
                leaf: one.leaf,
                leaf_hash: one.placed.leaf_hash,
                checkpoint: Arc::clone(checkpoint),
                released: Arc::clone(&released),
            };
            answer(one.reply, Ok(committed));
        }
    }

    /// A batch failed before its commit point.
    fn not_written(&mut self, decided: Vec<Decided>, error: &(dyn std::error::Error + 'static)) {
        if is_full(error) {
            let why = "disk full: the journal can't grow; free space or purge";
            self.refusing(Health::Full(why.to_owned()));
            return refuse_all(decided, StoreError::Full, why);
        }
        let why = crate::error_chain(error);
        self.refusing(Health::Refusing(why.clone()));
        refuse_all(decided, StoreError::Unavailable, &why);
    }

    /// Shows that ordinary commands are refused. The daemon's log and the audit log are told when it begins, not with every
    /// request.
    fn refusing(&mut self, now: Health) {
        let began = *self.shown.health.borrow() == Health::Ok;
        if began && let Health::Full(why) | Health::Refusing(why) = &now {
            tracing::warn!(cause = %why, "the audit log can't be written; audited requests are refused until it can");
            self.news = Some(why.clone());
        }
        self.shown.set_health(now);
    }

    fn failed(&self, why: &str) {
        tracing::error!(cause = %why, "the audit log failed; the daemon must stop and recover from the journal");
        self.shown.set_health(Health::Failed(why.to_owned()));
    }
}

/// Says so when a batch panics (sled does, on some damage): nothing can be recorded any more then, and the daemon must stop
/// instead of refusing for ever. Dropped before the batch's replies are, so that who is woken by their end finds it said.
struct Alarm(Arc<Shown>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.doubt.raise();
            self.0.set_health(Health::Failed("the log's writing thread panicked".to_owned()));
        }
    }
}

/// A command's record, ready for the journal.
struct Ready {
    record: Record,
    leaf_hash: Hash,
    before: [Option<u64>; 5],
    /// The keys it brings.
    keys: Option<NewKeys>,
}

/// The log's keys after a batch that changes them.
struct NewKeys {
    keys: Arc<LogKeysRecord>,
    signers: Vec<Arc<dyn Signer>>,
}

/// Why a command has no record.
enum Undecided {
    /// It alone fails; the batch goes on.
    Command(StoreError),
    /// The pending changes are no longer to be trusted.
    Batch(StoreError),
}

/// Applies an entry's change and moves the ends of its chains. Used by the commit path and by recovery alike, so that
/// the rebuilt view is the same. Returns the entry before it in each chain.
pub fn apply_record(
    overlay: &mut Overlay<'_>,
    entry: &Entry,
    writes: &[Write],
    moment: Moment,
    released: &mut Vec<Digest>,
) -> Result<[Option<u64>; 5], StoreError> {
    apply(overlay, writes, moment, released)?;
    let index = moment.index;
    let about = entry.target.as_ref().map(|target| subject(&target.kind, &target.id));
    let ip = entry.req.as_ref().and_then(|request| request.ip.as_deref());
    Ok([
        about.map_or(Ok(None), |about| advance_head(overlay, Chain::Target, &about, index))?,
        advance_head(overlay, Chain::Actor, actor_name(&entry.actor), index)?,
        advance_head(overlay, Chain::Action, entry.action.as_str(), index)?,
        advance_head(overlay, Chain::Outcome, entry.outcome.as_str(), index)?,
        ip.map_or(Ok(None), |ip| advance_head(overlay, Chain::Ip, ip, index))?,
    ])
}

fn answer(reply: oneshot::Sender<Result<Committed, StoreError>>, result: Result<Committed, StoreError>) {
    // The caller may be gone (a client that left); what was committed stays committed.
    let _gone = reply.send(result);
}

fn refuse_all(decided: Vec<Decided>, error: fn(String) -> StoreError, why: &str) {
    for one in decided {
        answer(one.reply, Err(error(why.to_owned())));
    }
}

/// Whether an error or one of its causes says that there is no room.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// An entry of the log about itself.
pub fn own_entry(action: Action, origin: &str, data: BTreeMap<String, serde_json::Value>) -> Decide {
    let target = Target::new("log", origin);
    Box::new(move |_records, _moment| {
        let draft = Draft { action, outcome: Outcome::Ok, actor: Actor::system(), target, request: None, data };
        Ok(Decision { draft, writes: Vec::new() })
    })
}

/// The data of `log.genesis`.
pub fn genesis_data(origin: &str, vkey: &str) -> BTreeMap<String, serde_json::Value> {
    BTreeMap::from([
        ("build".to_owned(), format!("mregd {}", env!("CARGO_PKG_VERSION")).into()),
        ("journal_format".to_owned(), crate::store::journal::FORMAT.into()),
        ("origin".to_owned(), origin.into()),
        ("vkey".to_owned(), vkey.into()),
    ])
}
