//! Opening what a stop, a kill or a power cut left behind (audit-log.md §8, Recovery). The journal decides; everything
//! else is compared with it and, where it is missing or behind, derived again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::audit::{Action, Checkpoint, Ed25519Signer, Entry, Hash, Signer, leaf_hash, root_at};
use rustix::io::Errno;
use tokio::sync::{mpsc, watch};

use crate::durable;
use crate::store::codec::{change_digest, decode_change};
use crate::store::entries::{Row, Rows};
use crate::store::journal::{Journal, JournalReader, Scanned};
use crate::store::keys::{Held, KeyDir, KeyFileError};
use crate::store::mark::{CheckpointFile, DerivedMark, HighWaterMark, ViewDoubt};
use crate::store::merkle::{HashFiles, HashWriter};
use crate::store::overlay::Overlay;
use crate::store::packed::PackedTree;
use crate::store::records::{LogKeysRecord, Write};
use crate::store::room::Room;
use crate::store::sequencer::{Queue, Request, Sequencer, Shown, apply_record, genesis_data, own_entry};
use crate::store::shared::{Contradiction, Head};
use crate::store::sled::keeper::keep_room_for_view;
use crate::store::sled::rebuild::remove_view;
use crate::store::sled::restored::Restored;
use crate::store::sled::{OpenError, SledOptions};
use crate::store::view::{Applied, applied, log_keys, set_applied};
use crate::store::{Decide, Health, Moment, PublishedCheckpoint, StoreError};

/// Entries that are applied to the view in one batch while it is rebuilt. Each block of the view is written once a batch.
const REPLAY_BATCH: u64 = 16_384;
/// Octets of changes after which such a batch is closed before that.
const REPLAY_OCTETS: usize = 32 * 1024 * 1024;

/// An open store's parts.
pub(super) struct Recovered {
    pub(super) sequencer: Sequencer,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) db: ::sled::Db,
    pub(super) mark: Arc<HighWaterMark>,
    pub(super) derived: DerivedMark,
    pub(super) node: String,
    /// What opening has to say as entries.
    pub(super) opening: Vec<Decide>,
}

/// What to do with data that is older than what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Refuse it.
    Refuse,
    /// Open it. Nothing can be signed then before an entry accepts it.
    Accept,
}

/// A signed head that the data doesn't extend.
#[derive(Debug, Clone)]
pub struct LostHead {
    /// Where it is written.
    pub what: &'static str,
    /// The head.
    pub head: Checkpoint,
    /// The root of as many entries here, where there are as many.
    pub here: Option<Hash>,
}

pub(super) const LAST_CHECKPOINT: &str = "last checkpoint";
pub(super) const MARK: &str = "high-water mark";

/// Opens and recovers. The locks are held. `shared` is the head of the database whose log was fetched, where there is one:
/// nothing is signed that is not that. `progress` is told how many entries of how many are derived again.
pub(super) fn recover(
    options: &SledOptions,
    stance: Stance,
    shared: Option<&Head>,
    progress: &dyn Fn(u64, u64),
) -> Result<Recovered, OpenError> {
    let log_dir = options.data_dir.join("log");
    let disk = &options.disk;
    let mut journal = Journal::open(disk, &log_dir, options.file_entries_max)?;
    let size = journal.next_index();
    let key_dir = KeyDir::new(&options.key_dir, disk);
    let genesis = Genesis::of(&journal)?;
    if size == 0
        && let Some(full) = Room::full_for_all(disk, &options.data_dir).map_err(OpenError::path(&options.data_dir))?
    {
        return Err(OpenError::Refused(format!("no log is begun in {}: {full}", options.data_dir.display())));
    }
    let first_keys = match &genesis {
        Some(genesis) => genesis.keys.clone(),
        None => LogKeysRecord::first(&options.origin, &first_key(&key_dir, &options.origin)?.verifier().to_string()),
    };
    let mark = Arc::new(HighWaterMark::open(disk, options.key_dir.join("log.mark"))?);
    let restored = Restored::read(&log_dir)?;
    if let Some(restored) = &restored
        && stance == Stance::Refuse
        && shared.is_none()
        && restored.is_in_question(&mark)
    {
        return Err(restored.refusal(options));
    }
    let checkpoint_file = CheckpointFile::open(disk, &log_dir.join("checkpoint"))?;
    let mut verifiers = key_dir.verifiers().map_err(key_refused)?;
    verifiers.extend(first_keys.current.vkey.parse());
    let signed = [(LAST_CHECKPOINT, checkpoint_file.read(&verifiers)?), (MARK, mark.last().checkpoint)];
    let mut heads: Vec<(&'static str, Checkpoint)> =
        signed.into_iter().filter_map(|(what, head)| Some((what, head?))).collect();
    let mut lost = Vec::new();
    // Before anything is derived or cut: what is missing may be what a batch at the end still holds.
    if heads.iter().any(|(_what, head)| head.size > size) {
        let keys = keys_of(&journal, &first_keys)?;
        for (what, head) in heads.extract_if(.., |(_what, head)| head.size > size) {
            let held = keys.holds(&head, size, |_size| Ok(head.root))?;
            judge(options, &keys, size, LostHead { what, head, here: None }, held, stance, &mut lost)?;
        }
    }

    let hash_files = HashFiles::new(disk, &log_dir);
    let rows = Rows::open(disk, &log_dir.join("entries"))?;
    journal.check_sequence(&mut |index| ends_with(&journal.reader(), &rows, index))?;
    let derived = DerivedMark { path: log_dir.join("derived"), disk: disk.clone() };
    let doubt = ViewDoubt { path: log_dir.join("view-doubtful"), disk: disk.clone() };
    let room = Room::open(disk, &options.data_dir, &log_dir).map_err(OpenError::path(&log_dir))?;
    let view_dir = options.data_dir.join("view");
    let genesis_hash = genesis.map(|genesis| genesis.hash);
    let (mut db, mut set_aside) = open_view(&view_dir, doubt.is_raised(), stance)?;
    // What an older version derived is of no use, and sled would keep its pages for ever: this one's takes its place below.
    if TREES_BEFORE.iter().any(|before| db.tree_names().iter().any(|name| name == before)) {
        tracing::info!("the view is of an older version; it is made anew from the journal");
        drop(db);
        remove_view(&options.data_dir)?;
        (db, _) = open_view(&view_dir, false, stance)?;
    }
    let mut tree = PackedTree::open(&db, TREE).map_err(StoreError::from)?;
    let fits = {
        let replay = Replay { journal: &journal, tree: &tree, rows: &rows, hash_files: &hash_files, progress };
        let durable_size = replay.durable_size(derived.read(), size);
        let view_size = replay.view_size(size, genesis_hash);
        view_size.is_some_and(|view_size| replay.rows_are_whole(durable_size.min(view_size), view_size))
    };
    if !fits {
        drop((tree, db));
        set_aside = Some(set_view_aside(&view_dir, "it is foreign, ahead of the journal or damaged", stance)?);
        (db, _) = open_view(&view_dir, false, stance)?;
        tree = PackedTree::open(&db, TREE).map_err(StoreError::from)?;
    }
    keep_room_for_view(disk, &view_dir, &mut None);
    let mut rebuilt = set_aside.is_some();
    let replay = Replay { journal: &journal, tree: &tree, rows: &rows, hash_files: &hash_files, progress };
    let durable_size = replay.durable_size(derived.read(), size);
    let view_size = replay.view_size(size, genesis_hash).unwrap_or(0);
    // An empty view beside a log that is not: it was removed. A new replica has none yet.
    rebuilt |= view_size == 0 && size > 0 && shared.is_none() && restored.is_none();
    let hashes = catch_unwind(AssertUnwindSafe(|| replay.run(durable_size, view_size))).unwrap_or_else(|_panic| {
        doubt.raise();
        Err(StoreError::Unavailable(
            "the view failed while it was brought up to date; the next start makes it anew".to_owned(),
        )
        .into())
    })?;
    doubt.lay_down()?;
    if let Some(head) = shared.filter(|head| (head.size, head.root) != (size, hashes.root())) {
        let here = (size, hashes.root());
        return Err(OpenError::Refused(Contradiction { here, there: head }.to_string()));
    }
    let keys = log_keys(&tree)?.unwrap_or(first_keys);
    check_origin(options, &keys)?;
    for (what, head) in heads {
        let held = keys.holds(&head, size, |size| Ok(root_at(size, &*hash_files)?))?;
        let here = root_here(options, &key_dir, &keys, held)?;
        judge(options, &keys, size, LostHead { what, head, here }, held, stance, &mut lost)?;
    }
    let signers = match stance {
        Stance::Refuse => key_dir.signers(&keys).map_err(|error| match (error, shared) {
            (KeyFileError::Missing { dir, vkey }, Some(_shared)) => not_our_key(&key_dir, &dir, &vkey),
            (error, _) => key_refused(error),
        })?,
        Stance::Accept => Vec::new(),
    };
    if size > 1 && mark.last().checkpoint.is_none() && shared.is_none() {
        tracing::warn!(path = %mark.path().display(), "there is no high-water mark, so nothing tells whether the data is the newest; it is made anew");
    }
    // Nothing contradicts that it is torn; but where data is accepted as it is, it may be what is left of the lost.
    if stance == Stance::Accept {
        journal.keep_tail()?;
    }
    journal.cut_tail()?;

    let node = node_id(&options.data_dir.join("node"))?;
    let last_at_ms = size.checked_sub(1).map(|last| rows.row(last)).transpose()?.map_or(0, |row| row.at_ms);
    let shown = Arc::new(Shown {
        checkpoint: watch::Sender::new(Arc::new(PublishedCheckpoint {
            size,
            root: hashes.root(),
            note: String::new(),
        })),
        health: watch::Sender::new(Health::Ok),
        commits: AtomicU64::new(0),
        batches: AtomicU64::new(0),
        busy_since: Mutex::default(),
        journal_bytes: AtomicU64::new(journal.octets()),
        reserve_bytes: AtomicU64::new(room.reserve_octets()),
        doubt,
        in_doubt: AtomicBool::new(false),
        keys: watch::Sender::new(Arc::new(keys.clone())),
    });
    let (requests, queue) = Queue::new();
    let mut sequencer = Sequencer {
        journal,
        hashes,
        hash_files,
        rows,
        tree,
        view_dir,
        disk: disk.clone(),
        checkpoint_file,
        signers,
        key_dir,
        mark: Arc::clone(&mark),
        mark_held: None,
        node: node.clone(),
        genesis: genesis_hash,
        last_at_ms,
        room,
        news: None,
        view_failed: false,
        shown,
        shared: None,
        queue,
    };
    let mut opening = Vec::new();
    if size == 0 {
        let data = genesis_data(&keys.origin, &keys.current.vkey);
        opening.push(begin(own_entry(Action::LogGenesis, &keys.origin, data)));
    } else {
        if stance == Stance::Refuse {
            sequencer.sign()?;
        }
        if rebuilt && stance == Stance::Refuse {
            let from = set_aside.map(|path| ("set_aside".to_owned(), path.display().to_string().into()));
            opening.push(own_entry(Action::StoreRebuild, &keys.origin, from.into_iter().collect()));
        }
    }
    if let Some(restored) = restored {
        opening.push(from_backup(&keys.origin, restored));
    }
    Ok(Recovered { sequencer, requests, db, mark, derived, node, opening })
}

/// The entry which says that the log goes on from a backup.
fn from_backup(origin: &str, restored: Restored) -> Decide {
    let Restored { generation, origin: of, size, root, made_at, newest } = restored;
    let data = BTreeMap::from([
        ("generation".to_owned(), generation.into()),
        ("of".to_owned(), of.into()),
        ("size".to_owned(), size.into()),
        ("root".to_owned(), root.into()),
        ("made_at".to_owned(), made_at.into()),
        ("newest".to_owned(), newest.into()),
    ]);
    own_entry(Action::BackupRestore, origin, data)
}

/// The entry that begins a log, at its beginning and nowhere else: another daemon may have been faster.
fn begin(genesis: Decide) -> Decide {
    Box::new(move |records, moment| {
        if moment.index > 0 {
            return Err(StoreError::Unavailable("another daemon began the log meanwhile".to_owned()));
        }
        genesis(records, moment)
    })
}

pub(super) fn key_refused(error: KeyFileError) -> OpenError {
    match error {
        KeyFileError::Io { path, source } => OpenError::Path { path, source },
        other => OpenError::Refused(other.to_string()),
    }
}

/// Several daemons sign one log with the same keys.
fn not_our_key(key_dir: &KeyDir, dir: &Path, vkey: &str) -> OpenError {
    let ours = key_dir.verifiers().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let ours = if ours.is_empty() { "no key".to_owned() } else { format!("only {ours}") };
    OpenError::Refused(format!(
        "the log in the database is signed with the key {vkey}, but {} has {ours}: copy the key files (log*.key) of a daemon that \
         runs into it, or set MREG_KEY_DIR to where they are",
        dir.display()
    ))
}

/// The key of a new log: one is made only together with it.
fn first_key(key_dir: &KeyDir, origin: &str) -> Result<Ed25519Signer, OpenError> {
    key_dir.first(origin).map_err(key_refused)
}

/// The log's keys as the journal alone tells them: for when what is derived can't be brought up to date.
fn keys_of(journal: &Journal, first: &LogKeysRecord) -> Result<LogKeysRecord, StoreError> {
    let mut keys = first.clone();
    journal.scan_from(0, &mut |record| {
        for write in decode_change(record.change)? {
            if let Write::PutLogKeys(brought) = write {
                keys = brought;
            }
        }
        Ok(())
    })?;
    Ok(keys)
}

/// The root of as many entries as a head covers that covers others. Rolled-back data has less under the same keys; a
/// different beginning under strange keys is another log, and refused.
pub(super) fn root_here(
    options: &SledOptions,
    key_dir: &KeyDir,
    keys: &LogKeysRecord,
    held: Held,
) -> Result<Option<Hash>, OpenError> {
    let Held::Differs { root } = held else { return Ok(None) };
    if key_dir.belongs_to(keys).map_err(key_refused)? {
        return Ok(Some(root));
    }
    Err(OpenError::Refused(format!(
        "the signing key in {} never signed the log in {}: one of the two directories belongs to another registry; set \
         MREG_DATA_DIR and MREG_KEY_DIR to those that go together",
        options.key_dir.display(),
        options.data_dir.display()
    )))
}

/// Refuses a signed head that doesn't hold, or keeps it as lost.
pub(super) fn judge(
    options: &SledOptions,
    keys: &LogKeysRecord,
    size: u64,
    head: LostHead,
    held: Held,
    stance: Stance,
    lost: &mut Vec<LostHead>,
) -> Result<(), OpenError> {
    const ADVICE: &str = "Restore the newest copy of the data directory; only if there is none, `mregd log \
                          accept-rollback` goes on with this one under a new name of the log";
    let LostHead { what, head: Checkpoint { origin, size: signed, root }, here: _ } = &head;
    let why = match held {
        Held::Yes => return Ok(()),
        Held::Foreign => {
            return Err(OpenError::Refused(format!(
                "the {what} is of the log {origin:?}, but {} holds {:?}: the key directory {} belongs to other data; set \
                 MREG_KEY_DIR to the right one",
                options.data_dir.display(),
                keys.origin,
                options.key_dir.display()
            )));
        }
        _ if stance == Stance::Accept => {
            lost.push(head);
            return Ok(());
        }
        Held::Beyond => format!(
            "the journal has {size} entries, but the {what} covers {signed}: acknowledged entries are missing. The data was \
             rolled back, replaced or damaged. {ADVICE}"
        ),
        Held::Newer => format!(
            "the {what} was signed under the name {origin:?}, which this log doesn't have yet: acknowledged entries are \
             missing. The data was rolled back, replaced or damaged. {ADVICE}"
        ),
        Held::Differs { root: here } => format!(
            "the first {signed} entries have the root {here}, but the {what} says {root}: the log was altered, or this is \
             another log. Restore the right data directory and key directory; only if they are lost, `mregd log \
             accept-rollback` goes on with this one under a new name of the log"
        ),
    };
    Err(OpenError::Refused(why))
}

/// The one tree of the view. Its name is the version of what is in it: where records change their shape it gets another, and
/// is made anew from the journal.
pub(super) const TREE: &[u8] = b"view-6";
/// What it was called before.
const TREES_BEFORE: [&[u8]; 5] = [b"view-1", b"view-2", b"view-3", b"view-4", b"view-5"];

/// Entry 0: which log this is.
pub(super) struct Genesis {
    /// Its leaf hash.
    pub(super) hash: Hash,
    /// The first name and key.
    pub(super) keys: LogKeysRecord,
}

impl Genesis {
    /// None in an empty journal.
    pub(super) fn of(journal: &Journal) -> Result<Option<Self>, OpenError> {
        let Some(leaf) = journal.first_leaf()? else { return Ok(None) };
        Ok(Some(Self { hash: leaf_hash(&leaf), keys: first_keys(&leaf)? }))
    }
}

/// The name and key with which a log begins, from the leaf of its first entry.
pub(crate) fn first_keys(leaf: &[u8]) -> Result<LogKeysRecord, OpenError> {
    let entry =
        Entry::parse(leaf).map_err(|error| OpenError::Refused(format!("entry 0 of the log can't be read: {error}")))?;
    if entry.seq != 0 || entry.action != Action::LogGenesis {
        return Err(OpenError::Refused(format!(
            "entry 0 of the log is {:?}, number {}, and not log.genesis: this is no log, or its beginning was replaced; \
                 restore the newest copy of the data directory",
            entry.action.as_str(),
            entry.seq
        )));
    }
    let said = |field: &str| entry.data.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
    Ok(LogKeysRecord::first(said("origin"), said("vkey")))
}

/// Whether an entry is where its row says, which is in the file that should hold it. Rows are derived, so a no is no proof.
fn ends_with(journal: &JournalReader, rows: &Rows, index: u64) -> bool {
    let leaf = rows.row(index).and_then(|row| journal.leaf(index, row.place));
    leaf.is_ok_and(|leaf| Entry::parse(&leaf).is_ok_and(|entry| entry.seq == index))
}

/// The setting may say any name of the log, one it had or has yet to get: data from before an acceptance or a compromised
/// key has an older one than the setting.
pub(super) fn check_origin(options: &SledOptions, keys: &LogKeysRecord) -> Result<(), OpenError> {
    if keys.generation_of(&options.origin).is_some() {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "the log in {} is called {:?}, but MREG_LOG_ORIGIN says {:?}, which is none of its names: set MREG_LOG_ORIGIN to \
         {:?}, or MREG_DATA_DIR to the data it belongs to",
        options.data_dir.display(),
        keys.origin,
        options.origin,
        keys.first_origin()
    )))
}

/// Opens sled, setting aside what it can't open because it is damaged. sled 0.34 panics on some damage, and refuses to open
/// when an earlier open was cut off while writing a snapshot (its issues 1527 and 1533). What the system refuses (too many
/// open files, no room, no right) is no damage, and reported as what it is.
fn open_view(dir: &Path, in_doubt: bool, stance: Stance) -> Result<(::sled::Db, Option<PathBuf>), OpenError> {
    if let Ok(names) = std::fs::read_dir(dir) {
        for entry in names.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                std::fs::remove_file(entry.path()).map_err(OpenError::path(dir))?;
            }
        }
    }
    let open = || {
        catch_unwind(AssertUnwindSafe(|| {
            let db = ::sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(Some(500)).open()?;
            // Reading the tree's end now brings out damage that would otherwise panic later.
            PackedTree::open(&db, TREE)?.read_top()?;
            Ok::<_, ::sled::Error>(db)
        }))
        .unwrap_or_else(|_panic| {
            // It panics where it runs out of files, too.
            match std::fs::File::open("/dev/null") {
                Err(error) => Err(error.into()),
                Ok(_) => Err(::sled::Error::Unsupported("sled panicked while opening".to_owned())),
            }
        })
    };
    let failed = if in_doubt && dir.exists() {
        "it failed while it was open".to_owned()
    } else {
        match open_when_free(&open) {
            Ok(db) => return Ok((db, None)),
            Err(::sled::Error::Io(error)) if is_of_the_system(&error) => return Err(OpenError::path(dir)(error)),
            Err(error) => error.to_string(),
        }
    };
    let aside = set_view_aside(dir, &failed, stance)?;
    let db = open().map_err(StoreError::from)?;
    Ok((db, Some(aside)))
}

/// Gives the view another name, under which it is kept. Where data is being accepted, what was set aside before is kept,
/// too: all of it may tell what happened.
fn set_view_aside(dir: &Path, why: &str, stance: Stance) -> Result<PathBuf, OpenError> {
    if stance == Stance::Refuse {
        remove_set_aside(dir);
    }
    let aside = dir.with_extension(format!("damaged-{}", uuid::Uuid::now_v7()));
    tracing::error!(cause = why, dir = %dir.display(), set_aside = %aside.display(), "the view can't be used; it is set aside and rebuilt from the journal");
    std::fs::rename(dir, &aside).map_err(OpenError::path(dir))?;
    Ok(aside)
}

/// Opens sled once its files' lock is free. Other daemons are kept away by the data directory's lock; who may still have it
/// is a thread of a store that this process has just let go, or a child that was forked and has not come to its exec.
fn open_when_free(open: &dyn Fn() -> ::sled::Result<::sled::Db>) -> ::sled::Result<::sled::Db> {
    const TRIES: u32 = 500;
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 1..TRIES {
        match open() {
            Err(::sled::Error::Io(error)) if is_locked(&error) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    open()
}

/// sled's own words where another has its files; it keeps no number.
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Whether an error is the system's refusal, which says nothing about the files.
fn is_of_the_system(error: &std::io::Error) -> bool {
    let refusals = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::NOMEM,
        Errno::AGAIN,
        Errno::ACCESS,
        Errno::PERM,
        Errno::ROFS,
    ];
    is_locked(error) || refusals.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Removes views that were set aside before: they are kept for somebody to look at, and the newest is enough.
fn remove_set_aside(dir: &Path) {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(std::ffi::OsStr::to_str)) else { return };
    let Ok(names) = std::fs::read_dir(parent) else { return };
    let prefix = format!("{name}.damaged-");
    for entry in names.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a view that was set aside can't be removed");
        }
    }
}

/// sled's cache, in octets: a hint, of which it uses about twice as much.
const CACHE: u64 = 64 * 1024 * 1024;

/// This daemon's instance id: random, made once.
pub(super) fn node_id(path: &Path) -> Result<String, OpenError> {
    match std::fs::read_to_string(path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => new_node_id(path),
        Err(error) if error.kind() == ErrorKind::NotFound => new_node_id(path),
        Err(error) => Err(OpenError::path(path)(error)),
    }
}

fn new_node_id(path: &Path) -> Result<String, OpenError> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let id = format!("node_{}", hex::encode(octets));
    durable::write_file(path, format!("{id}\n").as_bytes(), 0o600).map_err(OpenError::path(path))?;
    Ok(id)
}

/// Derives again what is missing.
struct Replay<'r> {
    journal: &'r Journal,
    tree: &'r PackedTree,
    rows: &'r Rows,
    hash_files: &'r Arc<HashFiles>,
    progress: &'r dyn Fn(u64, u64),
}

impl Replay<'_> {
    /// How many entries have hashes and rows that are known to be durable and right.
    fn durable_size(&self, mark: Option<(u64, Hash)>, size: u64) -> u64 {
        match mark {
            Some((marked, root)) if marked <= size && self.hashes_have(marked, root) => marked,
            Some(_) | None => 0,
        }
    }

    fn hashes_have(&self, size: u64, root: Hash) -> bool {
        size == 0 || self.hash_files.frontier(size).is_ok_and(|frontier| frontier.root() == root)
    }

    /// How many entries the view has applied; none if it is not this log's, or says more than there is.
    fn view_size(&self, size: u64, genesis: Option<Hash>) -> Option<u64> {
        match catch_unwind(AssertUnwindSafe(|| applied(self.tree))) {
            Ok(Ok(None)) => self.tree.is_empty().is_ok_and(|is_empty| is_empty).then_some(0),
            Ok(Ok(Some(applied))) => (applied.size <= size
                && genesis.is_some_and(|genesis| genesis.0 == applied.genesis))
            .then_some(applied.size),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Rows are written before the view, so what the view has applied has rows, unless a power cut took them. Those that
    /// were made durable are not all read again, for there may be millions: the first and the last tell whether the file
    /// was lost, cut or replaced.
    fn rows_are_whole(&self, from: u64, to: u64) -> bool {
        let edges = [0, from.saturating_sub(1)].into_iter().filter(|index| *index < from);
        (from..to).chain(edges).all(|index| self.rows.row(index).is_ok())
    }

    /// Brings hashes, rows and view up to the journal's end.
    fn run(&self, durable_size: u64, view_size: u64) -> Result<HashWriter, OpenError> {
        let mut hashes = HashWriter::new(Arc::clone(self.hash_files), durable_size)?;
        let size = self.journal.next_index();
        let from = durable_size.min(view_size);
        if from == size {
            return Ok(hashes);
        }
        tracing::info!(from, to = size, "deriving hashes, index and view from the journal");
        let mut genesis = applied(self.tree)?.map(|applied| applied.genesis);
        let mut overlay = Overlay::new(self.tree);
        let mut rows = Vec::new();
        let mut released = Vec::new();
        self.journal.scan_from(from, &mut |record| {
            let hash = leaf_hash(record.leaf);
            if record.index >= durable_size {
                hashes.push(hash);
            }
            if record.index >= view_size {
                let genesis = *genesis.get_or_insert(hash.0);
                rows.push(replay_one(&mut overlay, &record, &mut released)?);
                set_applied(&mut overlay, &Applied { size: record.index + 1, genesis })?;
            }
            let is_full = overlay.octets() >= REPLAY_OCTETS || (record.index + 1) % REPLAY_BATCH == 0;
            if is_full || record.index + 1 == size {
                hashes.write()?;
                let first = record.index + 1 - rows.len() as u64;
                self.rows.write(first, &rows)?;
                rows.clear();
                released.clear();
                let full = std::mem::replace(&mut overlay, Overlay::new(self.tree));
                self.tree.apply(full.into_changes())?;
                (self.progress)(record.index + 1, size);
            }
            Ok(())
        })?;
        if hashes.size() == size {
            Ok(hashes)
        } else {
            Err(StoreError::Corrupt(format!(
                "the journal has {size} entries, but only {} could be read",
                hashes.size()
            ))
            .into())
        }
    }
}

/// A record's entry, and the change that it commits to.
pub(crate) fn read_record(record: &Scanned<'_>) -> Result<(Entry, Vec<Write>), StoreError> {
    let damaged = |why: String| StoreError::Corrupt(format!("journal record {}: {why}", record.index));
    let entry = Entry::parse(record.leaf).map_err(|error| damaged(error.to_string()))?;
    let committed = (!record.change.is_empty()).then(|| change_digest(record.change));
    if entry.seq != record.index || entry.change != committed {
        return Err(damaged("the change is not the one that the entry commits to".to_owned()));
    }
    Ok((entry, decode_change(record.change)?))
}

pub(super) fn replay_one(
    overlay: &mut Overlay<'_>,
    record: &Scanned<'_>,
    released: &mut Vec<common::digest::Digest>,
) -> Result<Row, StoreError> {
    let (entry, writes) = read_record(record)?;
    let moment = Moment { index: record.index, at_ms: entry.ts };
    let before = apply_record(overlay, &entry, &writes, moment, released)?;
    Ok(Row { place: record.place, at_ms: entry.ts, before })
}
