//! A thread that looks after what the sequencer leaves for later: the high-water mark once a second, derived data made
//! durable now and then so that a start has little to replay, and the heartbeat that makes staleness visible.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::audit::Action;
use tokio::sync::{mpsc as queue, oneshot};

use crate::durable::Disk;
use crate::store::mark::{DerivedMark, HighWaterMark};
use crate::store::sequencer::Request;
use crate::store::sled::SledView;
use crate::store::sled::recover::own_entry;
use crate::store::view::applied;
use crate::store::{Health, PublishedCheckpoint, StoreError};

/// How often the mark is advanced at most (audit-log.md §8).
const MARK_EVERY: Duration = Duration::from_secs(1);
/// How often derived data is made durable, if there is anything new.
const SYNC_EVERY: Duration = Duration::from_secs(30);
/// How often it is tried whether a log that refuses can be written again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Entries after which it is made durable sooner.
const SYNC_ENTRIES: u64 = 32_768;

/// What the thread works on.
pub(super) struct Kept {
    pub(super) view: SledView,
    pub(super) db: ::sled::Db,
    pub(super) view_dir: PathBuf,
    pub(super) disk: Disk,
    pub(super) mark: HighWaterMark,
    pub(super) derived: DerivedMark,
    pub(super) requests: queue::Sender<Request>,
    pub(super) heartbeat: Duration,
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
        let mut last = checkpoints.borrow().size;
        loop {
            let stopping = !matches!(stopped.recv_timeout(MARK_EVERY), Err(mpsc::RecvTimeoutError::Timeout));
            let now = checkpoints.borrow_and_update().clone();
            if now.size > last {
                last = now.size;
                written_at = Instant::now();
            }
            if now.size > marked && !now.note.is_empty() {
                match self.mark.write(&now.note) {
                    Ok(()) => marked = now.size,
                    Err(error) => {
                        tracing::error!(%error, path = %self.mark.path.display(), "the high-water mark can't be advanced")
                    }
                }
            }
            let due = synced_at.elapsed() >= SYNC_EVERY || now.size.saturating_sub(synced) >= SYNC_ENTRIES;
            if now.size > synced && (stopping || due) {
                match self.sync(&now) {
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
            // While the log refuses, a heartbeat is the probe that ends it: no request may come that would.
            let refusing = matches!(*self.view.shown.health.borrow(), Health::Refusing(_));
            if written_at.elapsed() >= if refusing { self.heartbeat.min(PROBE_EVERY) } else { self.heartbeat } {
                written_at = Instant::now();
                let (reply, _nobody_waits) = oneshot::channel();
                let heartbeat = own_entry(Action::LogHeartbeat, &self.view.origin, std::collections::BTreeMap::new());
                if self.requests.try_send(Request::Commit(heartbeat, reply)).is_err() {
                    tracing::warn!("the heartbeat could not be queued");
                }
            }
        }
    }

    /// Makes hashes, rows and view durable up to a checkpoint. The view is synced by its file, for sled's own flush ends
    /// in `sync_file_range`, which flushes neither the file's size nor the disk's cache.
    fn sync(&self, checkpoint: &PublishedCheckpoint) -> Result<u64, StoreError> {
        self.view.hashes.sync()?;
        self.view.rows.sync()?;
        self.db.flush()?;
        for name in ["db", "conf"] {
            self.disk.open(&self.view_dir.join(name))?.sync_all()?;
        }
        self.disk.sync_dir(&self.view_dir)?;
        let reached = applied(&self.view.tree)?.map_or(0, |applied| applied.size);
        if reached < checkpoint.size {
            return Err(StoreError::Corrupt(format!("the view has {reached} entries of {}", checkpoint.size)));
        }
        self.derived.write(checkpoint.size, checkpoint.root)?;
        Ok(checkpoint.size)
    }
}
