//! The embedded store: journal, hashes and index files, and a sled tree as the view (audit-log.md §8, decision D1).
//! Opening recovers; recovery is the normal path. What the records mean is not known here.
//!
//! ```text
//! <data>/log/lock          held while the daemon runs; holds its process id
//! <data>/log/journal-*     the truth
//! <data>/log/hash.*        derived: tree hashes          <data>/log/entries   derived: the entries' index
//! <data>/log/checkpoint    the last signed checkpoint    <data>/log/derived   how far derived data is durable
//! <data>/log/reserve       room for a full disk          <data>/view/         derived: sled
//! <data>/log/shared        says that all this is a replica of a database (`replica.rs`)
//! <data>/node              this daemon's instance id
//! <keys>/                  the log's keys and its high-water mark (`store/keys.rs`)
//! ```

mod check;
mod fetched;
mod keeper;
mod look;
mod rebuild;
mod recover;
mod references;
mod replica;
mod restored;
mod rollback;
mod state;

pub use check::{check_stopped, read_journal};
pub use recover::LostHead;
pub(crate) use recover::{first_keys, read_record};
pub use replica::{Copied, copy_from, copy_to};
pub(crate) use replica::{owned, root_of};
pub use restored::{RESTORING, Restored};
pub use rollback::{Acceptance, RolledBack};
pub(crate) use state::Derived;

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use common::audit::{Hash, Receipt, TlogProof, consistency_proof, inclusion_proof};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::database::SharedDatabase;
use crate::durable::Disk;
use crate::store::basis::{Basis, Noted};
use crate::store::check::{Checked, Listener};
use crate::store::entries::{Finder, Rows, SCAN_ENTRIES_MAX};
use crate::store::journal::{FILE_ENTRIES_MAX, JournalReader};
use crate::store::keys::KeyDir;
use crate::store::mark::HighWaterMark;
use crate::store::merkle::HashFiles;
use crate::store::packed::PackedTree;
use crate::store::records::{
    Account, AliasEventRecord, ApiTokenRecord, ApprovalRecord, BlobRecord, Counters, DamageRecord, GrantRecord,
    IdempotencyRecord, IngestRecord, IntakeRecord, LogKeysRecord, ModelRecord, QuotaRecord, RetentionRuleRecord,
    ReviewNoteRecord, RulesetRecord, SecondFactorRecord, SenderRecord, SessionRecord, UsageRecord, UserRecord,
    VersionRecord, WebhookProgressRecord, WebhookRecord,
};
use crate::store::references::References;
use crate::store::sequencer::{Request, Shown};
use crate::store::shared::follow::{self, Followed, Follower};
use crate::store::shared::writer::Writer;
use crate::store::shared::{Peer, SharedError};
use crate::store::view::KvRecords;
use crate::store::{
    BoxFuture, Committed, Decide, Entries, EntryPage, EntryQuery, Health, Identity, Lacking, ModelPage, ModelQuery,
    NotedReading, PublishedCheckpoint, Read, Reading, Records, Store, StoreError, StoreStats, Urgency, VersionKey,
};
use common::digest::Digest;
use common::name::{Alias, HookId, ItemId, ModelId, ModelName, UserName, Version};
use common::token::TokenId;

/// Where the store lives and what it is called.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The directory of the signing key and the high-water mark; not inside the data directory.
    pub key_dir: PathBuf,
    /// The log's name, fixed when the log begins.
    pub origin: String,
    /// Octets of sled's cache; a hint to it.
    pub cache_bytes: u64,
    /// After so long without an entry, a `log.heartbeat` is written.
    pub heartbeat: std::time::Duration,
    /// The way to the files of the log and its keys.
    pub disk: Disk,
    /// Entries after which a new journal file is begun.
    pub file_entries_max: u64,
    /// The database whose log this is a replica of, where several daemons share one.
    pub shared: Option<SharedDatabase>,
}

impl SledOptions {
    /// The usual options for a place and a name.
    pub fn new(data_dir: &Path, key_dir: &Path, origin: &str) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            key_dir: key_dir.to_owned(),
            origin: origin.to_owned(),
            cache_bytes: 64 * 1024 * 1024,
            heartbeat: std::time::Duration::from_secs(15 * 60),
            disk: Disk::default(),
            file_entries_max: FILE_ENTRIES_MAX,
            shared: None,
        }
    }

    fn log_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }
}

/// Why the store did not open. Each says what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A directory or file can't be made, read or written.
    #[error("{}: {source}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another mregd{}; stop it first, or use another MREG_DATA_DIR", dir.display(), pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The holder's process id, if it can be told.
        pid: Option<String>,
    },
    /// What is there contradicts the key, the mark, the checkpoint or the settings.
    #[error("{0}")]
    Refused(String),
    /// Something stored is damaged, or failed while recovering.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    fn path(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Path { path: path.to_owned(), source }
    }
}

/// The embedded store.
pub struct SledStore {
    view: SledView,
    requests: mpsc::Sender<Request>,
    shown: Arc<Shown>,
    key_dir: KeyDir,
    mark: Arc<HighWaterMark>,
    node: String,
    data_dir: PathBuf,
    /// Held for their locks.
    _locks: Locks,
    keeper: keeper::Keeper,
    /// Follows the database, where several daemons share a log.
    follower: Option<Follower>,
    shared: Option<SharedDatabase>,
    writer: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

/// The locks of data and key directory, which the system releases when the process ends, however it ends.
struct Locks {
    _data: File,
    _keys: File,
}

/// All that can be read of it. Cheap to clone.
#[derive(Clone)]
pub struct SledView {
    tree: PackedTree,
    rows: Arc<Rows>,
    hashes: Arc<HashFiles>,
    journal: Arc<JournalReader>,
    shown: Arc<Shown>,
}

impl SledStore {
    /// Opens the store of a directory: takes the locks, recovers, signs. Makes a new log where there is none at all.
    pub fn open(options: &SledOptions) -> Result<Self, OpenError> {
        Self::open_with(options, &|_done, _of| {})
    }

    /// The same, telling `progress` how many entries of how many are derived again from the journal.
    pub fn open_with(options: &SledOptions, progress: &dyn Fn(u64, u64)) -> Result<Self, OpenError> {
        if let Some(database) = &options.shared {
            return replica::open(options, database, progress);
        }
        let locks = Locks::take(options)?;
        replica::refuse_alone(options)?;
        let recovered = recover::recover(options, recover::Stance::Refuse, None, progress)?;
        Self::start(options, locks, recovered)
    }

    /// Starts the threads, and writes what opening has to say.
    fn start(options: &SledOptions, locks: Locks, recovered: recover::Recovered) -> Result<Self, OpenError> {
        let log_dir = options.log_dir();
        let recover::Recovered { mut sequencer, requests, db, mark, derived, node, opening } = recovered;
        let shown = Arc::clone(&sequencer.shown);
        let view = SledView {
            tree: sequencer.tree.clone(),
            rows: Arc::clone(&sequencer.rows),
            hashes: Arc::clone(&sequencer.hash_files),
            journal: sequencer.journal.reader(),
            shown: Arc::clone(&shown),
        };
        let key_dir = sequencer.key_dir.clone();
        let reserve_wanted = sequencer.room.wanted_octets();
        let servers = sequencer.shared.as_ref().map(Writer::servers);
        let (said, opened) = oneshot::channel();
        let writer = thread::Builder::new()
            .name("mregd-sequence".to_owned())
            .spawn(move || {
                let result = sequencer.open(opening);
                let goes_on = result.is_ok();
                if said.send(result).is_ok() && goes_on {
                    sequencer.run();
                }
            })
            .map_err(OpenError::path(&log_dir))?;
        let ended = |_closed| StoreError::Unavailable("the writing thread ended".to_owned());
        opened.blocking_recv().map_err(ended)??;
        // The first mark is there before anyone is told of the log: one that is missing later was removed.
        let checkpoint = shown.checkpoint.borrow().clone();
        match mark.write(&checkpoint.note) {
            // The keeper goes on trying, once a second.
            Err(StoreError::Io(error)) if is_full(&error) && mark.last().checkpoint.is_some() => {
                tracing::warn!(%error, path = %mark.path().display(), "the high-water mark can't be advanced");
            }
            written => written?,
        }
        // From here on the mark tells what was signed.
        Restored::forget(&log_dir)?;
        let keys = shown.keys.borrow().clone();
        let swept = match key_dir.destroy_retired(&keys) {
            Ok(_count) => Some(keys),
            // The keeper goes on trying.
            Err(error) => {
                tracing::warn!(error = crate::error_chain(&error), "a retired key can't be destroyed yet");
                None
            }
        };
        let keeper = keeper::Keeper::start(keeper::Kept {
            view: view.clone(),
            db,
            view_dir: options.data_dir.join("view"),
            disk: options.disk.clone(),
            mark: Arc::clone(&mark),
            key_dir: key_dir.clone(),
            derived,
            requests: requests.clone(),
            heartbeat: options.heartbeat,
            swept,
            reserve_wanted,
        })
        .map_err(OpenError::path(&log_dir))?;
        let follower = servers.map(|servers| {
            Follower::start(Followed {
                servers,
                requests: requests.clone(),
                shown: Arc::clone(&shown),
                key_dir: key_dir.clone(),
                node: node.clone(),
            })
        });
        let follower = follower.transpose().map_err(OpenError::path(&log_dir))?;
        let (data_dir, shared) = (options.data_dir.clone(), options.shared.clone());
        let writer = Arc::new(Mutex::new(Some(writer)));
        Ok(Self {
            view,
            requests,
            shown,
            key_dir,
            mark,
            node,
            data_dir,
            _locks: locks,
            keeper,
            follower,
            shared,
            writer,
        })
    }

    /// All that can be read.
    pub fn view(&self) -> &SledView {
        &self.view
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

impl Locks {
    /// Takes both, making the directories where they are missing.
    fn take(options: &SledOptions) -> Result<Self, OpenError> {
        let log_dir = options.log_dir();
        restored::refuse_unfinished(&options.data_dir)?;
        for dir in [&options.data_dir, &options.key_dir, &log_dir] {
            crate::durable::create_dir_all(dir, crate::durable::MODE_DIR).map_err(OpenError::path(dir))?;
        }
        let data = lock(&log_dir.join("lock"), &options.data_dir)?;
        let keys = KeyDir::new(&options.key_dir, &options.disk).lock().map_err(OpenError::path(&options.key_dir))?;
        let keys = keys.ok_or_else(|| {
            OpenError::Refused(format!(
                "the key directory {} is in use by an mregd with another data directory, and two that sign with one key \
                 would sign two histories; set MREG_KEY_DIR to a directory of its own",
                options.key_dir.display()
            ))
        })?;
        Ok(Self { _data: data, _keys: keys })
    }
}

/// Takes the data directory's lock, which the system releases when the process ends, however it ends.
fn lock(path: &Path, dir: &Path) -> Result<File, OpenError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(OpenError::path(path))?;
    if let Err(error) = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(OpenError::path(path)(error.into()));
        }
        let mut pid = String::new();
        let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
        return Err(OpenError::Locked { dir: dir.to_owned(), pid: known.then(|| pid.trim().to_owned()) });
    }
    // Over the old one and not after it: on a full disk a block that is given up may not come back. The process id is a help
    // for the reader of a message, and no more.
    let pid = format!("{}\n", std::process::id());
    match file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64)) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
        written => written.map_err(OpenError::path(path))?,
    }
    Ok(file)
}

/// What is done already; boxed, it takes no memory.
struct Done;

impl Future for Done {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Store for SledStore {
    fn commit_as(&self, urgency: Urgency, decide: Decide) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let stopped = || StoreError::Unavailable("the daemon is stopping".to_owned());
            let (reply, answer) = oneshot::channel();
            self.requests.send(Request::Commit(urgency, decide, reply)).await.map_err(|_closed| stopped())?;
            answer.await.unwrap_or_else(|_closed| match &*self.shown.health.borrow() {
                // The writing thread panicked with this command in its hands, before or after the commit point.
                Health::Failed(why) => Err(StoreError::Unknown(why.clone())),
                Health::Ok | Health::Full(_) | Health::Refusing(_) => Err(stopped()),
            })
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(follower) = &self.follower else { return Ok(()) };
            let unavailable = |error: SharedError| StoreError::Unavailable(error.to_string());
            let refreshed = async {
                let size = follower.size().await?;
                follow::reached(&mut self.shown.checkpoint.subscribe(), &self.requests, size).await
            };
            match tokio::time::timeout(follow::REFRESH_TIMEOUT, refreshed).await {
                Ok(refreshed) => refreshed.map_err(unavailable),
                Err(_elapsed) => Err(StoreError::Unavailable("the database takes too long".to_owned())),
            }
        })
    }

    fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    fn upkeeps(&self) -> bool {
        self.follower.as_ref().is_none_or(Follower::upkeeps)
    }

    fn read<'a>(&'a self, work: Reading<'a>) -> BoxFuture<'a, ()> {
        // A point read of sled takes about a microsecond when cached, less than a change of threads.
        work(&self.view);
        Box::pin(Done)
    }

    fn read_noted<'a>(&'a self, work: NotedReading<'a>) -> BoxFuture<'a, Option<Basis>> {
        let noted = Noted::new(&self.view.tree, self.view.tree.counts());
        work(&KvRecords(&noted));
        Box::pin(std::future::ready(noted.basis()))
    }

    fn scan(&self, work: Reading<'static>) -> BoxFuture<'_, ()> {
        let view = self.view.clone();
        Box::pin(async move {
            if let Err(error) = tokio::task::spawn_blocking(move || work(&view)).await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        })
    }

    fn checkpoint_at(&self, size: u64) -> BoxFuture<'_, Result<Option<Arc<PublishedCheckpoint>>, StoreError>> {
        Box::pin(async move {
            let published = Arc::clone(&self.shown.checkpoint.borrow());
            if size == published.size {
                return Ok(Some(published));
            }
            if size == 0 || size > published.size {
                return Ok(None);
            }
            let stopped = || StoreError::Unavailable("the daemon is stopping".to_owned());
            let (reply, answer) = oneshot::channel();
            self.requests.send(Request::SignAgain(size, reply)).await.map_err(|_closed| stopped())?;
            answer.await.map_err(|_closed| stopped())?.map(Some)
        })
    }

    fn checkpoints(&self) -> watch::Receiver<Arc<PublishedCheckpoint>> {
        self.shown.checkpoint.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shown.health.subscribe()
    }

    fn stats(&self) -> StoreStats {
        let mark = self.mark.last();
        StoreStats {
            commits: self.shown.commits.load(Ordering::Relaxed),
            batches: self.shown.batches.load(Ordering::Relaxed),
            journal_bytes: self.shown.journal_bytes.load(Ordering::Relaxed),
            mark_size: mark.checkpoint.map_or(0, |checkpoint| checkpoint.size),
            mark_at_ms: mark.at_ms,
            reserve_bytes: self.shown.reserve_bytes.load(Ordering::Relaxed),
            in_doubt: self.shown.in_doubt.load(Ordering::Relaxed),
        }
    }

    fn behind(&self) -> std::time::Duration {
        // What waits came after the writing thread took what it is at.
        let waits = self.requests.capacity() < self.requests.max_capacity();
        if waits { self.shown.busy_for() } else { std::time::Duration::ZERO }
    }

    fn identity(&self) -> Identity {
        let keys = self.shown.keys.borrow();
        Identity {
            backend: if self.shared.is_some() { "postgresql" } else { "sled" },
            origin: keys.origin.clone(),
            vkey: keys.current.vkey.clone(),
            vkeys: keys.signing().map(str::to_owned).collect(),
            node: self.node.clone(),
        }
    }

    fn log_keys(&self) -> Arc<LogKeysRecord> {
        Arc::clone(&self.shown.keys.borrow())
    }

    fn make_log_key(&self, origin: String) -> BoxFuture<'_, Result<String, StoreError>> {
        let (key_dir, known) = (self.key_dir.clone(), self.shared.as_ref().map(|_shared| self.log_keys()));
        let made = move || match known {
            Some(known) => match key_dir.unused(&origin, &known)? {
                Some(verifier) => Ok(verifier),
                None => key_dir.add(&origin),
            },
            None => key_dir.add(&origin),
        };
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(made).await;
            match made {
                Ok(Ok(verifier)) => Ok(verifier.to_string()),
                Ok(Err(error)) => Err(StoreError::Unavailable(crate::error_chain(&error))),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            }
        })
    }

    fn peers(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let Some(follower) = &self.follower else { return Ok(Vec::new()) };
            let peers = follower.peers().await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            Ok(peers.into_iter().map(|peer| peer.node).collect())
        })
    }

    fn lacking_log_key(&self, vkey: String) -> BoxFuture<'_, Result<Lacking, StoreError>> {
        Box::pin(async move {
            let Some(follower) = &self.follower else { return Ok(Lacking::default()) };
            let peers = follower.peers().await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let lacks = |peer: Peer| (!peer.keys.contains(&vkey)).then_some(peer.node);
            let file = vkey.parse().map(|verifier| self.key_dir.file_of(&verifier)).unwrap_or_default();
            Ok(Lacking { nodes: peers.into_iter().filter_map(lacks).collect(), file })
        })
    }

    fn discard_log_key(&self, vkey: String) -> BoxFuture<'_, Result<(), StoreError>> {
        let (key_dir, keys) = (self.key_dir.clone(), self.log_keys());
        Box::pin(async move {
            if keys.known().any(|known| known == vkey) {
                return Ok(());
            }
            let discarded = tokio::task::spawn_blocking(move || key_dir.discard(&vkey)).await;
            match discarded {
                Ok(done) => done.map_err(|error| StoreError::Unavailable(crate::error_chain(&error))),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            }
        })
    }

    fn check(&self, listener: &mut dyn Listener) -> Result<Checked, StoreError> {
        self.check_running(listener)
    }

    fn read_references(&self, references: &mut References, goes_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
        self.read_references_on(references, goes_on)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (done, closed) = oneshot::channel();
            if self.requests.send(Request::Close(done)).await.is_ok() {
                // The sequencer ends after this, or has ended already.
                let _ended = closed.await;
            }
            if let Some(follower) = &self.follower {
                follower.stop().await;
            }
            let (keeper, writer) = (self.keeper.clone(), Arc::clone(&self.writer));
            let end = move || {
                keeper.stop();
                // What it holds of the view goes with the thread, not with its last answer.
                let writer = writer.lock().ok().and_then(|mut writer| writer.take());
                if writer.is_some_and(|writer| writer.join().is_err()) {
                    tracing::error!("the log's writing thread panicked");
                }
            };
            if let Err(error) = tokio::task::spawn_blocking(end).await {
                tracing::error!(%error, "derived data could not be made durable at the stop; the next start will take longer");
            }
        })
    }
}

impl SledView {
    /// Finds entries, looking at so many for one page.
    pub(super) fn finder_of_at_most(&self, scan_max: usize) -> Finder<'_, PackedTree> {
        Finder { rows: &self.rows, journal: &self.journal, kv: &self.tree, size: self.size(), scan_max }
    }
}

impl Entries for SledView {
    fn size(&self) -> u64 {
        self.shown.checkpoint.borrow().size
    }

    fn leaf(&self, index: u64) -> Read<Option<Vec<u8>>> {
        if index < self.size() { self.journal.leaf(index, self.rows.row(index)?.place).map(Some) } else { Ok(None) }
    }

    fn leaves(&self, range: Range<u64>, octets_max: usize) -> Read<Vec<Vec<u8>>> {
        let mut octets = 0;
        let mut leaves = Vec::new();
        for index in range {
            if octets >= octets_max && !leaves.is_empty() {
                break;
            }
            let leaf = self.journal.leaf(index, self.rows.row(index)?.place)?;
            octets += leaf.len();
            leaves.push(leaf);
        }
        Ok(leaves)
    }

    fn nodes(&self, level: u8, range: Range<u64>) -> Read<Vec<Hash>> {
        self.hashes.nodes(level, range)
    }

    fn inclusion(&self, index: u64, size: u64) -> Read<Vec<Hash>> {
        Ok(inclusion_proof(index, size, &*self.hashes)?)
    }

    fn consistency(&self, old: u64, new: u64) -> Read<Vec<Hash>> {
        Ok(consistency_proof(old, new, &*self.hashes)?)
    }

    fn entries(&self, query: &EntryQuery) -> Read<EntryPage> {
        self.finder_of_at_most(SCAN_ENTRIES_MAX).find(query)
    }

    fn receipt(&self, index: u64, checkpoint: &PublishedCheckpoint) -> Read<Receipt> {
        let leaf = self.journal.leaf(index, self.rows.row(index)?.place)?;
        let path = inclusion_proof(index, checkpoint.size, &*self.hashes)?;
        // The name the checkpoint was signed under, which may be an older one of the log's: its first line.
        let origin = checkpoint.note.lines().next().unwrap_or_default();
        Ok(Receipt::new(origin, &leaf, &TlogProof { index, path, checkpoint: checkpoint.note.clone() }))
    }

    fn last_index_at(&self, at_ms: i64) -> Read<Option<u64>> {
        Ok(self.rows.count_until(self.size(), at_ms)?.checked_sub(1))
    }
}

impl Records for SledView {
    fn user(&self, name: &UserName) -> Read<Option<UserRecord>> {
        KvRecords(&self.tree).user(name)
    }
    fn user_by_id(&self, id: &str) -> Read<Option<UserRecord>> {
        KvRecords(&self.tree).user_by_id(id)
    }
    fn grants(&self, user_id: &str) -> Read<Vec<GrantRecord>> {
        KvRecords(&self.tree).grants(user_id)
    }
    fn second_factor(&self, user_id: &str) -> Read<Option<SecondFactorRecord>> {
        KvRecords(&self.tree).second_factor(user_id)
    }
    fn users(&self, after: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>> {
        KvRecords(&self.tree).users(after, limit)
    }
    fn users_back(&self, before: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>> {
        KvRecords(&self.tree).users_back(before, limit)
    }
    fn session(&self, sid: &str) -> Read<Option<SessionRecord>> {
        KvRecords(&self.tree).session(sid)
    }
    fn sessions_of(&self, user_id: &str) -> Read<Vec<SessionRecord>> {
        KvRecords(&self.tree).sessions_of(user_id)
    }
    fn api_token(&self, id: &TokenId) -> Read<Option<ApiTokenRecord>> {
        KvRecords(&self.tree).api_token(id)
    }
    fn api_tokens_of(&self, user_id: &str) -> Read<Vec<ApiTokenRecord>> {
        KvRecords(&self.tree).api_tokens_of(user_id)
    }
    fn api_tokens(&self, after: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>> {
        KvRecords(&self.tree).api_tokens(after, limit)
    }
    fn api_tokens_back(&self, before: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>> {
        KvRecords(&self.tree).api_tokens_back(before, limit)
    }
    fn api_token_count(&self) -> Read<u64> {
        KvRecords(&self.tree).api_token_count()
    }
    fn model(&self, id: ModelId) -> Read<Option<ModelRecord>> {
        KvRecords(&self.tree).model(id)
    }
    fn model_named(&self, name: &ModelName) -> Read<Option<ModelId>> {
        KvRecords(&self.tree).model_named(name)
    }
    fn version(&self, id: ModelId, version: Version) -> Read<Option<VersionRecord>> {
        KvRecords(&self.tree).version(id, version)
    }
    fn versions(&self, id: ModelId, below: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>> {
        KvRecords(&self.tree).versions(id, below, limit)
    }
    fn versions_back(&self, id: ModelId, above: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>> {
        KvRecords(&self.tree).versions_back(id, above, limit)
    }
    fn holder_seen(&self, digest: &Digest, sees: &dyn Fn(&ModelName) -> bool) -> Read<Option<(ModelId, Version)>> {
        KvRecords(&self.tree).holder_seen(digest, sees)
    }
    fn blob(&self, digest: &Digest) -> Read<Option<BlobRecord>> {
        KvRecords(&self.tree).blob(digest)
    }
    fn blobs(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, BlobRecord)>> {
        KvRecords(&self.tree).blobs(after, limit)
    }
    fn holders(
        &self,
        digest: &Digest,
        after: Option<(ModelId, Version)>,
        limit: usize,
    ) -> Read<Vec<(ModelId, Version)>> {
        KvRecords(&self.tree).holders(digest, after, limit)
    }
    fn damage(&self, digest: &Digest) -> Read<Option<DamageRecord>> {
        KvRecords(&self.tree).damage(digest)
    }
    fn damages(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, DamageRecord)>> {
        KvRecords(&self.tree).damages(after, limit)
    }
    fn damaged(&self) -> Read<u64> {
        KvRecords(&self.tree).damaged()
    }
    fn alias_events(
        &self,
        id: ModelId,
        alias: &Alias,
        below: Option<u64>,
        limit: usize,
    ) -> Read<Vec<AliasEventRecord>> {
        KvRecords(&self.tree).alias_events(id, alias, below, limit)
    }
    fn idempotency(&self, key: &[u8; 32]) -> Read<Option<IdempotencyRecord>> {
        KvRecords(&self.tree).idempotency(key)
    }
    fn models(&self, query: &ModelQuery) -> Read<ModelPage> {
        KvRecords(&self.tree).models(query)
    }
    fn expired_models(&self, now_ms: i64, limit: usize) -> Read<Vec<ModelId>> {
        KvRecords(&self.tree).expired_models(now_ms, limit)
    }
    fn counters(&self) -> Read<Counters> {
        KvRecords(&self.tree).counters()
    }
    fn log_keys(&self) -> Read<Option<LogKeysRecord>> {
        KvRecords(&self.tree).log_keys()
    }
    fn ingest(&self, item: ItemId) -> Read<Option<IngestRecord>> {
        KvRecords(&self.tree).ingest(item)
    }
    fn ingests(&self, after: Option<ItemId>, limit: usize) -> Read<Vec<IngestRecord>> {
        KvRecords(&self.tree).ingests(after, limit)
    }
    fn intake(&self) -> Read<Option<IntakeRecord>> {
        KvRecords(&self.tree).intake()
    }
    fn webhook(&self, id: HookId) -> Read<Option<WebhookRecord>> {
        KvRecords(&self.tree).webhook(id)
    }
    fn webhooks(&self) -> Read<Vec<WebhookRecord>> {
        KvRecords(&self.tree).webhooks()
    }
    fn webhook_progress(&self, id: HookId) -> Read<Option<WebhookProgressRecord>> {
        KvRecords(&self.tree).webhook_progress(id)
    }
    fn ruleset(&self) -> Read<Option<RulesetRecord>> {
        KvRecords(&self.tree).ruleset()
    }
    fn inspected_with(&self) -> Read<Vec<(String, u64)>> {
        KvRecords(&self.tree).inspected_with()
    }
    fn inspected_by(&self, ruleset: &str, below: Option<VersionKey>, limit: usize) -> Read<Vec<VersionKey>> {
        KvRecords(&self.tree).inspected_by(ruleset, below, limit)
    }
    fn quarantined(&self, blocked: bool, after: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        KvRecords(&self.tree).quarantined(blocked, after, limit)
    }
    fn quarantined_back(&self, blocked: bool, before: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        KvRecords(&self.tree).quarantined_back(blocked, before, limit)
    }
    fn review_notes(&self, id: ModelId, version: Version, limit: usize) -> Read<Vec<ReviewNoteRecord>> {
        KvRecords(&self.tree).review_notes(id, version, limit)
    }
    fn approvals(&self, id: ModelId, version: Version) -> Read<Vec<ApprovalRecord>> {
        KvRecords(&self.tree).approvals(id, version)
    }
    fn sender(&self, id: &str) -> Read<SenderRecord> {
        KvRecords(&self.tree).sender(id)
    }
    fn held(&self, blocked: bool) -> Read<u64> {
        KvRecords(&self.tree).held(blocked)
    }
    fn usage(&self, account: &Account) -> Read<UsageRecord> {
        KvRecords(&self.tree).usage(account)
    }
    fn quota(&self, account: &Account) -> Read<Option<QuotaRecord>> {
        KvRecords(&self.tree).quota(account)
    }
    fn accounts(&self, after: Option<&Account>, limit: usize) -> Read<Vec<Account>> {
        KvRecords(&self.tree).accounts(after, limit)
    }
    fn retention_rule(&self, name: &str) -> Read<Option<RetentionRuleRecord>> {
        KvRecords(&self.tree).retention_rule(name)
    }
    fn retention_rules(&self) -> Read<Vec<RetentionRuleRecord>> {
        KvRecords(&self.tree).retention_rules()
    }
    fn deleted_versions(&self, after: Option<&[u8]>, until_ms: i64, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        KvRecords(&self.tree).deleted_versions(after, until_ms, limit)
    }
    fn all_versions(&self, after: Option<VersionKey>, limit: usize) -> Read<Vec<VersionRecord>> {
        KvRecords(&self.tree).all_versions(after, limit)
    }
}

#[cfg(test)]
mod tests;
