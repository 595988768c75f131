//! A thread that looks after what the sequencer leaves for later: the high-water mark once a second, derived data made
//! durable now and then so that a start has little to replay, and the heartbeat that makes staleness visible.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::audit::{Action, Actor, Checkpoint, Outcome, Target, Verifier};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc as queue, oneshot};

use crate::clock;
use crate::durable::Disk;
use crate::store::keys::KeyDir;
use crate::store::mark::{DerivedMark, HighWaterMark};
use crate::store::records::{LogKeysRecord, Write};
use crate::store::sequencer::{Request, own_entry};
use crate::store::sled::SledView;
use crate::store::view::applied;
use crate::store::{Decide, Decision, Draft, Health, PublishedCheckpoint, StoreError, Urgency};

/// How often the mark is advanced at most (audit-log.md §8).
const MARK_EVERY: Duration = Duration::from_secs(1);
/// How often derived data is made durable, if there is anything new.
const SYNC_EVERY: Duration = Duration::from_secs(30);
/// Octets allocated behind the view's file: what sled may write before a disk that fills up is noticed.
const VIEW_AHEAD: u64 = 2 * 1024 * 1024;
/// How often it is tried whether a log that refuses can be written again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Entries after which it is made durable sooner.
const SYNC_ENTRIES: u64 = 32_768;

/// How often it is looked at the stop whether sled has been given all.
const SETTLE_STEP: Duration = Duration::from_millis(1);

/// What the thread works on.
pub(super) struct Kept {
    pub(super) view: SledView,
    pub(super) db: ::sled::Db,
    pub(super) view_dir: PathBuf,
    pub(super) disk: Disk,
    pub(super) mark: Arc<HighWaterMark>,
    pub(super) key_dir: KeyDir,
    pub(super) derived: DerivedMark,
    pub(super) requests: queue::Sender<Request>,
    pub(super) heartbeat: Duration,
    /// The keys whose retired ones are destroyed already; none if that failed at the start.
    pub(super) swept: Option<Arc<LogKeysRecord>>,
    /// Octets of the reserve when it is whole.
    pub(super) reserve_wanted: u64,
}

/// Handle on the thread.
#[derive(Clone)]
pub(super) struct Keeper {
    stop: mpsc::SyncSender<()>,
    thread: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(kept: Kept) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("mregd-keeper".to_owned()).spawn(move || kept.run(&stopped))?;
        Ok(Self { stop, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Lets the thread do everything once more and end, and waits for it.
    pub(super) fn stop(&self) {
        // A full or closed channel means that it is stopping already.
        let _stopping = self.stop.try_send(());
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the keeper's thread panicked");
        }
    }
}

impl Kept {
    fn run(self, stopped: &mpsc::Receiver<()>) {
        let mut checkpoints = self.view.shown.checkpoint.subscribe();
        let mut marked = 0;
        let mut synced = 0;
        let mut synced_at = Instant::now();
        let mut written_at = Instant::now();
        let mut probed_at = Instant::now();
        let mut mark_failed = false;
        let mut view_octets = None;
        let mut last = checkpoints.borrow().size;
        let mut swept = self.swept.clone();
        let mut sweep_failed = false;
        let mut retiring: Option<oneshot::Receiver<_>> = None;
        // What is made durable once sled has it, and by whom that is told.
        let mut settling: Option<(Arc<PublishedCheckpoint>, oneshot::Receiver<()>)> = None;
        loop {
            let stopping = !matches!(stopped.recv_timeout(MARK_EVERY), Err(mpsc::RecvTimeoutError::Timeout));
            // Before the checkpoint, so that keys of a batch that came in between wait for its mark.
            let keys = self.view.shown.keys.borrow().clone();
            let now = checkpoints.borrow_and_update().clone();
            if now.size > last {
                last = now.size;
                written_at = Instant::now();
            }
            if now.size > marked && !now.note.is_empty() {
                match self.mark.write(&now.note) {
                    Ok(()) => {
                        marked = now.size;
                        mark_failed = false;
                    }
                    // It says that somebody else signs with our key: going on would make a fork of one of the two.
                    Err(StoreError::Corrupt(why)) => {
                        tracing::error!(cause = %why, "nothing may be signed any more; the daemon stops");
                        self.view.shown.set_health(Health::Failed(why));
                    }
                    // Tried again every second, and told once.
                    Err(error) if !std::mem::replace(&mut mark_failed, true) => {
                        tracing::error!(%error, path = %self.mark.path().display(), "the high-water mark can't be advanced")
                    }
                    Err(_) => {}
                }
            }
            // What the checkpoint doesn't cover yet may still need its keys.
            let covered = keys.retired.iter().all(|retired| retired.to < now.size);
            if swept.as_ref() != Some(&keys) && marked == now.size && covered {
                match self.key_dir.destroy_retired(&keys) {
                    Ok(_count) => {
                        swept = Some(Arc::clone(&keys));
                        sweep_failed = false;
                    }
                    // Tried again every second, and told once.
                    Err(error) if !std::mem::replace(&mut sweep_failed, true) => {
                        tracing::error!(error = crate::error_chain(&error), "a retired key can't be destroyed")
                    }
                    Err(_) => {}
                }
            }
            let is_due = keys.leaving.as_ref().is_some_and(|leaving| leaving.until_ms <= clock::now_ms());
            if let Some(last_word) = last_word(&keys, &now).filter(|_| is_due && !stopping) {
                // One that failed is tried again in the next round; one under way is waited for.
                let under_way =
                    |answer: &mut oneshot::Receiver<_>| matches!(answer.try_recv(), Err(TryRecvError::Empty));
                if !retiring.as_mut().is_some_and(under_way) {
                    let (reply, answer) = oneshot::channel();
                    let retire = retire(Arc::clone(&keys), last_word);
                    let asked = self.requests.try_send(Request::Commit(Urgency::Lifecycle, retire, reply));
                    retiring = asked.is_ok().then_some(answer);
                }
            }
            if !stopping {
                keep_room_for_view(&self.disk, &self.view_dir, &mut view_octets);
            }
            let due = synced_at.elapsed() >= SYNC_EVERY || now.size.saturating_sub(synced) >= SYNC_ENTRIES;
            if now.size > synced && (stopping || (due && settling.is_none())) {
                settling = self.settle(&now, stopping);
            }
            let is_settled = |answer: &mut oneshot::Receiver<()>| answer.try_recv() != Err(TryRecvError::Empty);
            if let Some((checkpoint, _answer)) = settling.take_if(|(_, answer)| stopping || is_settled(answer)) {
                match self.sync(&checkpoint) {
                    Ok(size) => synced = size,
                    Err(error) => {
                        tracing::error!(%error, "derived data can't be made durable; the next start will take longer");
                    }
                }
                synced_at = Instant::now();
            }
            if stopping {
                return;
            }
            // While the log refuses, no request may come that would find out that it need not.
            let trouble = *self.view.shown.health.borrow() != Health::Ok || !self.reserve_is_whole();
            if trouble && probed_at.elapsed() >= PROBE_EVERY {
                probed_at = Instant::now();
                // A full queue finds it out by itself.
                let _full = self.requests.try_send(Request::Probe);
            }
            if written_at.elapsed() >= self.heartbeat {
                written_at = Instant::now();
                let (reply, _nobody_waits) = oneshot::channel();
                let heartbeat = own_entry(Action::LogHeartbeat, &keys.origin, BTreeMap::new());
                if self.requests.try_send(Request::Commit(Urgency::Ordinary, heartbeat, reply)).is_err() {
                    tracing::warn!("the heartbeat could not be queued");
                }
            }
        }
    }

    fn reserve_is_whole(&self) -> bool {
        self.view.shown.reserve_bytes.load(Ordering::Relaxed) >= self.reserve_wanted
    }

    /// Has sled be given what it lacks yet of a checkpoint; none where the queue is full. A writing thread that has ended did so
    /// itself. At the stop it is waited for; else not, for a replica that catches up is at it for long.
    fn settle(
        &self,
        checkpoint: &Arc<PublishedCheckpoint>,
        waits: bool,
    ) -> Option<(Arc<PublishedCheckpoint>, oneshot::Receiver<()>)> {
        loop {
            let (reply, mut answer) = oneshot::channel();
            match self.requests.try_send(Request::Settle(reply)) {
                Err(queue::error::TrySendError::Full(_)) if !waits => return None,
                Err(queue::error::TrySendError::Full(_)) => {
                    thread::sleep(SETTLE_STEP);
                    continue;
                }
                // A closed channel drops the reply, which answers as well.
                Ok(()) | Err(queue::error::TrySendError::Closed(_)) => {}
            }
            // A request that came too late into the queue is never answered.
            while waits && answer.try_recv() == Err(TryRecvError::Empty) && !self.requests.is_closed() {
                thread::sleep(SETTLE_STEP);
            }
            return Some((Arc::clone(checkpoint), answer));
        }
    }

    /// Makes hashes, rows and view durable up to a checkpoint that sled has been given. The view is synced by its file, for sled's own flush ends
    /// in `sync_file_range`, which flushes neither the file's size nor the disk's cache.
    fn sync(&self, checkpoint: &PublishedCheckpoint) -> Result<u64, StoreError> {
        self.view.hashes.sync()?;
        self.view.rows.sync()?;
        self.db.flush()?;
        for name in ["db", "conf"] {
            self.disk.open(&self.view_dir.join(name))?.sync_all()?;
        }
        self.disk.sync_dir(&self.view_dir)?;
        let reached = applied(&self.view.tree.as_settled())?.map_or(0, |applied| applied.size);
        if reached < checkpoint.size {
            return Err(StoreError::Corrupt(format!("the view has {reached} entries of {}", checkpoint.size)));
        }
        self.derived.write(checkpoint.size, checkpoint.root)?;
        Ok(checkpoint.size)
    }
}

/// The newest checkpoint, where the leaving key signed it and it covers the entry that brought its successor: whoever holds
/// the old key alone can follow it to the new one by it. None before there is one, which is within the next batch.
fn last_word(keys: &LogKeysRecord, now: &PublishedCheckpoint) -> Option<String> {
    let leaving: Verifier = keys.leaving.as_ref()?.key.vkey.parse().ok()?;
    let signed = Checkpoint::open(now.note.as_bytes(), &[leaving]).ok()?;
    (signed.checkpoint.size > keys.current.from).then(|| now.note.clone())
}

/// The end of an overlap: the leaving key signs no more. Its last word stays in the entry.
fn retire(keys: Arc<LogKeysRecord>, last_word: String) -> Decide {
    Box::new(move |records, moment| {
        let keys = records.log_keys()?.unwrap_or_else(|| keys.as_ref().clone());
        let nothing = || StoreError::Unavailable("no key is to be retired".to_owned());
        let (after, vkey) = keys.retired(moment.index, moment.at_ms).ok_or_else(nothing)?;
        let draft = Draft {
            action: Action::LogKeyRotate,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            target: Target::new("log", &after.origin),
            request: None,
            data: BTreeMap::from([
                ("retired".to_owned(), vkey.into()),
                ("checkpoint".to_owned(), last_word.into()),
                ("vkey".to_owned(), after.current.vkey.clone().into()),
            ]),
        };
        Ok(Decision { draft, writes: vec![Write::PutLogKeys(after)] })
    })
}

/// Keeps blocks allocated behind the view's file, so that what sled writes behind our back finds room on a disk that fills
/// up within a second. `known` is the file's length when it was last done: nothing is to do before it has grown.
pub(super) fn keep_room_for_view(disk: &Disk, view_dir: &Path, known: &mut Option<u64>) {
    let kept = disk.open(&view_dir.join("db")).and_then(|db| {
        let octets = db.metadata()?.len();
        if Some(octets) != *known {
            db.allocate_behind(VIEW_AHEAD)?;
            *known = Some(octets);
        }
        Ok(())
    });
    if let Err(error) = kept {
        // On a full disk there is nothing left to allocate, and the log refuses by then.
        tracing::debug!(%error, "no room could be kept for the view");
    }
}
