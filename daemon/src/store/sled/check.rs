//! Checking the embedded store against itself (audit-log.md §8, §11): the journal is read whole, everything derived is
//! derived again beside it, and compared. Only reads; the state is rebuilt in a temporary directory, in memory that doesn't
//! grow with the log. Works beside a running daemon, at one checkpoint, or on a stopped one. Refuses to repair anything.

mod frames;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use common::audit::{Checkpoint, Entry, Frontier, Hash, Nodes, Verifier, leaf_hash};
use common::digest::Digest;
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::frames::{Fault, Found, Frames};
use super::recover::{TREE, replay_one};
use super::replica::compare_stopped;
use super::restored::Restored;
use super::{OpenError, SledOptions, SledStore};
use crate::durable::Disk;
use crate::store::check::{Checked, Listener};
use crate::store::codec::{change_digest, decode, decode_change};
use crate::store::entries::{ROW_OCTETS, Row, Rows};
use crate::store::journal::Scanned;
use crate::store::keys::{Held, KeyDir};
use crate::store::mark::{DerivedMark, HighWaterMark};
use crate::store::merkle::HashFiles;
use crate::store::overlay::{Kv as _, Overlay, Pairs, prefixed};
use crate::store::packed::PackedTree;
use crate::store::records::{BlobRecord, DamageRecord, LogKeysRecord, VersionRecord};
use crate::store::sequencer::{Request, Shown, apply_record};
use crate::store::view::{Applied, KvRecords, applied, log_keys, set_applied};
use crate::store::{Moment, Records, StoreError};

/// Entries that are applied to the rebuilt state in one batch. In a large one what changes often is written once, and what is
/// written comes in the order of the keys.
const BATCH_ENTRIES: u64 = 16_384;
/// Octets of changes after which such a batch is closed before that: versions of many files are large.
const BATCH_OCTETS: usize = 32 * 1024 * 1024;
/// Hashes and rows of the derived files that are read at once.
const AHEAD: u64 = 4096;
/// Keys that are compared at once. While the daemon runs, nothing is written as long as that takes.
const RANGE_KEYS: usize = 1024;
/// Differences of one range that are told.
const TOLD_MAX: usize = 100;
/// sled's cache for the rebuilt state, octets; it uses about twice as much.
const CACHE: u64 = 64 * 1024 * 1024;
/// Versions that are named where something is wrong with a blob.
const NEEDED_BY_MAX: usize = 10;
/// What the temporary directories are called.
const TEMPORARY: &str = "check-";

/// What is checked.
struct Scope<'s> {
    log_dir: &'s Path,
    /// Where there is room for the rebuilt state.
    data_dir: &'s Path,
    key_dir: KeyDir,
    /// The checkpoint up to which everything must hold.
    note: String,
    size: u64,
    mark: Option<Checkpoint>,
    view: ViewOf<'s>,
}

/// The state to compare with.
enum ViewOf<'s> {
    /// A daemon's, which moves on.
    Running { tree: PackedTree, requests: &'s mpsc::Sender<Request>, shown: Arc<Shown> },
    /// A copy of a stopped one's.
    Stopped { tree: PackedTree },
    /// There is none that can be read.
    None,
}

impl SledStore {
    /// Checks the open store at its newest checkpoint.
    pub(super) fn check_running(&self, listener: &mut dyn Listener) -> Result<Checked, StoreError> {
        // The mark first: it is never ahead of the checkpoint.
        let mark = self.mark.last().checkpoint;
        let published = self.shown.checkpoint.borrow().clone();
        let data_dir = self.data_dir.as_path();
        sweep(data_dir)?;
        let scope = Scope {
            log_dir: &data_dir.join("log"),
            data_dir,
            key_dir: self.key_dir.clone(),
            note: published.note.clone(),
            size: published.size,
            mark,
            view: ViewOf::Running {
                tree: self.view.tree.clone(),
                requests: &self.requests,
                shown: Arc::clone(&self.shown),
            },
        };
        let checked = check(&scope, listener)?;
        if let Some(database) = &self.shared {
            self.compare_shared(database, published.size, listener)?;
        }
        Ok(checked)
    }
}

/// Checks a stopped store, of which nothing is changed.
///
/// # Errors
/// [`OpenError`]: it runs, is not there, or could not be read.
pub fn check_stopped(options: &SledOptions, listener: &mut dyn Listener) -> Result<Checked, OpenError> {
    let log_dir = options.log_dir();
    let _lock = lock_without_trace(&log_dir.join("lock"), &options.data_dir)?;
    if Restored::read(&log_dir)?.is_some() {
        return Err(OpenError::Refused(format!(
            "{} was restored from a backup and not started yet: its state is derived from the journal at the first start; check it \
             then. What was restored can be verified in the backup, with `mregd restore --verify`",
            options.data_dir.display()
        )));
    }
    sweep(&options.data_dir)?;
    let key_dir = KeyDir::new(&options.key_dir, &options.disk);
    let mark = match HighWaterMark::open(&options.disk, options.key_dir.join("log.mark")) {
        Ok(mark) => mark.last().checkpoint,
        Err(error) => {
            listener.failure("high-water mark".to_owned(), crate::error_chain(&error));
            None
        }
    };
    let octets = match fs::read(log_dir.join("checkpoint")) {
        Ok(octets) => octets,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(OpenError::path(&log_dir.join("checkpoint"))(error)),
    };
    let note = String::from_utf8_lossy(&octets).into_owned();
    let text = note.split_once("\n\n").map(|(text, _signatures)| format!("{text}\n")).unwrap_or_default();
    let size = match Checkpoint::parse(&text) {
        Ok(checkpoint) => checkpoint.size,
        Err(error) => {
            // It is written without a sync: a power cut may leave anything of it, and the next start writes it anew.
            listener.remark(format!(
                "the last checkpoint, {}, is torn or missing ({error}); the next start signs it anew",
                log_dir.join("checkpoint").display()
            ));
            frames::TO_ITS_END
        }
    };
    let copied = TempDir::with_prefix_in(TEMPORARY, &options.data_dir).map_err(OpenError::path(&options.data_dir))?;
    let view = match copied_view(&options.data_dir.join("view"), &copied.path().join("view")) {
        Ok(tree) => ViewOf::Stopped { tree },
        Err(why) => {
            listener.failure("view".to_owned(), format!("{}: {why}", options.data_dir.join("view").display()));
            ViewOf::None
        }
    };
    let scope = Scope { log_dir: &log_dir, data_dir: &options.data_dir, key_dir, note, size, mark, view };
    let checked = check(&scope, listener)?;
    if let Some(database) = &options.shared {
        compare_stopped(options, database, listener)?;
    }
    Ok(checked)
}

/// Reads the journal in a log's directory without trusting it, up to the entry `end` or as far as it goes, and visits each
/// record that is whole. Gives the damage: where, and what.
///
/// # Errors
/// A file could not be read.
pub fn read_journal(
    log_dir: &Path,
    end: Option<u64>,
    visit: &mut dyn FnMut(Scanned<'_>),
) -> io::Result<Vec<(String, String)>> {
    let mut frames = Frames::new(log_dir);
    let mut faults = Vec::new();
    let mut more = true;
    while more {
        more = frames.batch(end.unwrap_or(frames::TO_ITS_END), &mut faults, |found, _faults| {
            if let Some((leaf, change)) = found.content {
                visit(Scanned { index: found.index, place: found.place, leaf, change });
            }
            Ok::<_, io::Error>(())
        })?;
    }
    Ok(faults)
}

/// The lock of a stopped store, without a word in its file.
fn lock_without_trace(path: &Path, data_dir: &Path) -> Result<File, OpenError> {
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(OpenError::Refused(format!("there is no registry in {}", data_dir.display())));
        }
        Err(error) => return Err(OpenError::path(path)(error)),
    };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { dir: data_dir.to_owned(), pid: None }),
        Err(error) => Err(OpenError::path(path)(error.into())),
    }
}

/// Removes what a check that was killed left behind. One runs at a time.
fn sweep(data_dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY)) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Opens a copy of a view: sled writes when it is opened.
fn copied_view(from: &Path, to: &Path) -> Result<PackedTree, String> {
    copy_dir(from, to).map_err(|error| error.to_string())?;
    let open = || {
        let db = ::sled::Config::new().path(to).cache_capacity(CACHE).open()?;
        PackedTree::open(&db, TREE)
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_panic) => Err("sled panicked while opening it".to_owned()),
    }
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        // What a cut-off snapshot left: sled refuses to open beside it, and recovery removes it.
        if name.to_string_lossy().ends_with(".generating") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn check(scope: &Scope<'_>, listener: &mut dyn Listener) -> Result<Checked, StoreError> {
    let rebuilt = Replica::new(scope)?;
    let rebuilt = rebuilt.read_journal(scope, listener)?;
    let (size, root, marked) = (rebuilt.frontier.size(), rebuilt.frontier.root(), rebuilt.marked);
    check_heads(scope, &rebuilt, marked, listener);
    let mut checked = Checked { size, root, keys: 0, artifacts: 0 };
    if rebuilt.is_whole {
        checked.artifacts = rebuilt.artifacts(listener)?;
        // sled panics on some kinds of damage; that is a finding, not an end.
        let compared = catch_unwind(AssertUnwindSafe(|| compare(scope, rebuilt, listener)));
        match compared {
            Ok(keys) => checked.keys = keys?,
            Err(_panic) => listener.failure("view".to_owned(), "sled panicked while it was read".to_owned()),
        }
    } else {
        listener.remark("the state was not compared, for the journal it follows from is damaged".to_owned());
    }
    if listener.goes_on() { Ok(checked) } else { Err(StoreError::Unavailable("nobody listens any more".to_owned())) }
}

/// The checkpoint, its signatures, the key files, and the mark.
fn check_heads(scope: &Scope<'_>, rebuilt: &Replica, marked: Option<Hash>, listener: &mut dyn Listener) {
    let Some(keys) = &rebuilt.keys else { return };
    let (size, root) = rebuilt.signed;
    let known: Vec<Verifier> = keys.known().filter_map(|vkey| vkey.parse().ok()).collect();
    if scope.size != frames::TO_ITS_END {
        match Checkpoint::open(scope.note.as_bytes(), &known) {
            Ok(signed) if signed.checkpoint.size != size => listener.failure(
                "checkpoint".to_owned(),
                format!("covers {} entries, but {size} could be read", signed.checkpoint.size),
            ),
            Ok(signed) if signed.checkpoint.root != root => listener.failure(
                "checkpoint".to_owned(),
                format!("the {size} entries have the root {root}, but the checkpoint says {}", signed.checkpoint.root),
            ),
            Ok(_holds) => {}
            Err(error) => listener.failure("checkpoint".to_owned(), error.to_string()),
        }
    }
    // A running daemon's keys may have changed since the checkpoint.
    let present = match &scope.view {
        ViewOf::Running { shown, .. } => shown.keys.borrow().as_ref().clone(),
        ViewOf::Stopped { .. } | ViewOf::None => keys.clone(),
    };
    if let Err(error) = scope.key_dir.signers(&present) {
        listener.failure("keys".to_owned(), crate::error_chain(&error));
    }
    let Some(mark) = &scope.mark else {
        return listener.failure("high-water mark".to_owned(), "there is none".to_owned());
    };
    let size = rebuilt.frontier.size();
    let held = keys.holds(mark, size, |_size| {
        marked.ok_or_else(|| StoreError::Corrupt("the entries it covers can't be read".to_owned()))
    });
    let what = match held {
        Ok(Held::Yes) => return,
        Ok(Held::Beyond) => format!("covers {} entries of {:?}; the log has {size}", mark.size, mark.origin),
        Ok(Held::Newer) => format!("was signed under {:?}, a name that the log doesn't have yet", mark.origin),
        Ok(Held::Foreign) => format!("is of the log {:?}; this is {:?}", mark.origin, keys.origin),
        Ok(Held::Differs { root }) => {
            format!("says that the first {} entries have the root {}; they have {root}", mark.size, mark.root)
        }
        Err(error) => error.to_string(),
    };
    listener.failure("high-water mark".to_owned(), what);
}

/// Everything derived, derived again from the journal as far as it was read.
struct Replica {
    /// Holds the tree's directory; removed when it goes.
    _dir: TempDir,
    tree: PackedTree,
    frames: Frames,
    frontier: Frontier,
    genesis: Option<[u8; 32]>,
    keys: Option<LogKeysRecord>,
    /// Entries up to the last checkpoint, and the root over them.
    signed: (u64, Hash),
    /// The root at the mark's size.
    marked: Option<Hash>,
    last_at_ms: i64,
    /// Whether all records could be applied.
    is_whole: bool,
}

/// The derived files, as far as they can be compared with.
struct Derived {
    hashes: Arc<HashFiles>,
    /// Levels that can't be read any more; told once.
    levels_lost: [bool; 64],
    rows: Option<Arc<Rows>>,
    /// Entries that the files have in whole; 0 where that isn't known.
    size: u64,
    /// By level, what was read ahead of it: index of the first, hashes.
    hashes_ahead: Vec<(u64, Vec<Hash>)>,
    /// The same of the rows, as octets.
    rows_ahead: (u64, Vec<u8>),
}

impl Derived {
    fn open(log_dir: &Path, size: u64, listener: &mut dyn Listener) -> Result<Self, StoreError> {
        let mut levels_lost = [false; 64];
        for (level, lost) in levels_lost.iter_mut().enumerate().take_while(|(level, _lost)| size >> level > 0) {
            let path = log_dir.join(format!("hash.{level}"));
            if !path.is_file() {
                listener.failure(format!("hash.{level}"), format!("{} is missing", path.display()));
                *lost = true;
            }
        }
        let path = log_dir.join("entries");
        let rows = if path.is_file() {
            Some(Rows::open(&Disk::default(), &path)?)
        } else {
            listener.failure("entries".to_owned(), format!("{} is missing", path.display()));
            None
        };
        let hashes = HashFiles::new(&Disk::default(), log_dir);
        Ok(Self {
            hashes,
            levels_lost,
            rows,
            size,
            hashes_ahead: vec![(0, Vec::new()); 64],
            rows_ahead: (0, Vec::new()),
        })
    }

    /// A hash of the files; many at once, for they come in order.
    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, StoreError> {
        let end = self.size.checked_shr(level.into()).unwrap_or(0).min(index + AHEAD);
        let Some((first, ahead)) = self.hashes_ahead.get_mut(usize::from(level)) else {
            return self.hashes.node(level, index);
        };
        if !(*first..*first + ahead.len() as u64).contains(&index) {
            *first = index;
            // Where something is missing, each is read alone, up to that.
            *ahead = self.hashes.nodes(level, index..end.max(index)).unwrap_or_default();
        }
        match usize::try_from(index - *first).ok().and_then(|position| ahead.get(position)) {
            Some(hash) => Ok(*hash),
            None => self.hashes.node(level, index),
        }
    }

    /// A row of the file, in the same way.
    fn row(&mut self, rows: &Rows, index: u64) -> Result<Row, StoreError> {
        let (first, ahead) = &mut self.rows_ahead;
        if !(*first..*first + ahead.len() as u64 / ROW_OCTETS).contains(&index) {
            let count = self.size.saturating_sub(index).min(AHEAD);
            *first = index;
            if count == 0 || rows.read_block(index, count, ahead).is_err() {
                ahead.clear();
                return rows.row(index);
            }
        }
        Rows::row_in(ahead, index, *first)
    }

    fn compare_hash(&mut self, level: u8, index: u64, hash: Hash, faults: &mut Vec<Fault>) {
        let Some(lost) = self.levels_lost.get(usize::from(level)) else { return };
        let place = || format!("hash.{level}, hash {index} (octet {})", index * 32);
        if *lost {
            return;
        }
        match self.hash(level, index) {
            Ok(there) if there == hash => {}
            Ok(there) => faults.push((place(), format!("is {there}, but the entries give {hash}"))),
            Err(error) => {
                if let Some(lost) = self.levels_lost.get_mut(usize::from(level)) {
                    *lost = true;
                }
                faults.push((place(), format!("can't be read, nor what follows: {error}")));
            }
        }
    }

    fn compare_row(&mut self, index: u64, row: &Row, faults: &mut Vec<Fault>) {
        let Some(rows) = self.rows.clone() else { return };
        let place = || format!("entries, row {index} (octet {})", index * ROW_OCTETS);
        match self.row(&rows, index) {
            Ok(there) if there == *row => {}
            Ok(there) => faults.push((place(), format!("is {there:?}, but the journal gives {row:?}"))),
            Err(error @ StoreError::Corrupt(_)) => faults.push((place(), error.to_string())),
            Err(error) => {
                faults.push((place(), format!("can't be read, nor what follows: {error}")));
                self.rows = None;
            }
        }
    }
}

impl Replica {
    fn new(scope: &Scope<'_>) -> Result<Self, StoreError> {
        let dir = TempDir::with_prefix_in(TEMPORARY, scope.data_dir)?;
        let db = ::sled::Config::new().path(dir.path().join("state")).cache_capacity(CACHE).open()?;
        Ok(Self {
            tree: PackedTree::open(&db, TREE)?,
            _dir: dir,
            frames: Frames::new(scope.log_dir),
            frontier: Frontier::new(),
            genesis: None,
            keys: None,
            signed: (0, Frontier::new().root()),
            marked: None,
            last_at_ms: 0,
            is_whole: true,
        })
    }

    /// Reads the journal up to the checkpoint; a stopped one to its end.
    fn read_journal(mut self, scope: &Scope<'_>, listener: &mut dyn Listener) -> Result<Self, StoreError> {
        let known = if scope.size == frames::TO_ITS_END { 0 } else { scope.size };
        let mut derived = Derived::open(scope.log_dir, known, listener)?;
        let mark_size = scope.mark.as_ref().map(|mark| mark.size);
        self.advance(scope.size, Some(&mut derived), mark_size, listener)?;
        self.signed = (self.frontier.size(), self.frontier.root());
        if let ViewOf::Running { .. } = scope.view {
            return Ok(self);
        }
        // Behind the last checkpoint: whole batches that were never signed, or a torn one. Either is what a crash leaves.
        // What is derived from them may be missing; it is not compared.
        let signed = self.frames.next();
        self.advance(frames::TO_ITS_END, None, mark_size, listener)?;
        let unsigned = self.frames.next().saturating_sub(signed);
        if unsigned > 0 {
            listener.remark(format!("{unsigned} entries follow the last checkpoint; the next start signs them"));
        }
        if self.frames.has_remains()? {
            listener.remark(
                "octets of a batch that was cut short follow the last entry; the next start removes them".to_owned(),
            );
        }
        Ok(self)
    }

    /// Reads on to an entry, comparing with what is derived.
    fn advance(
        &mut self,
        end: u64,
        mut derived: Option<&mut Derived>,
        mark_size: Option<u64>,
        listener: &mut dyn Listener,
    ) -> Result<(), StoreError> {
        let tree = self.tree.clone();
        let mut overlay = Overlay::new(&tree);
        let mut faults = Vec::new();
        let mut gathered = 0;
        let Self { frames, frontier, genesis, keys, marked, last_at_ms, is_whole, .. } = self;
        let mut next = frames.next();
        loop {
            let before = frames.next();
            let found = frames.batch(end, &mut faults, |found, faults| {
                // What is missing keeps its place in the tree by the hash that was written of it.
                while next < found.index {
                    *is_whole = false;
                    let hash = derived.as_ref().and_then(|derived| derived.hashes.node(0, next).ok());
                    frontier.append(hash.unwrap_or(Hash([0; 32])), |_level, _index, _hash| {});
                    next += 1;
                }
                next = found.index + 1;
                let hash = match found.content {
                    Some((leaf, _change)) => leaf_hash(leaf),
                    None => derived
                        .as_ref()
                        .and_then(|derived| derived.hashes.node(0, found.index).ok())
                        .unwrap_or(Hash([0; 32])),
                };
                frontier.append(hash, |level, index, hash| {
                    if let Some(derived) = derived.as_deref_mut() {
                        derived.compare_hash(level, index, hash, faults);
                    }
                });
                if Some(next) == mark_size {
                    *marked = Some(frontier.root());
                }
                let genesis_hash = *genesis.get_or_insert(hash.0);
                let row = match read_record(&found, last_at_ms, keys) {
                    Ok(_entry) if !*is_whole => return Ok(()),
                    Ok((entry, writes)) => {
                        let moment = Moment { index: found.index, at_ms: entry.ts };
                        let before = apply_record(&mut overlay, &entry, &writes, moment, &mut Vec::new())?;
                        set_applied(&mut overlay, &Applied { size: next, genesis: genesis_hash })?;
                        Row { place: found.place, at_ms: entry.ts, before }
                    }
                    Err(what) => {
                        *is_whole = false;
                        // A broken record is told by whoever read it.
                        if found.content.is_some() {
                            faults.push((format!("entry {}", found.index), what));
                        }
                        return Ok(());
                    }
                };
                if let Some(derived) = derived.as_deref_mut() {
                    derived.compare_row(found.index, &row, faults);
                }
                Ok::<_, StoreError>(())
            })?;
            for (place, what) in faults.drain(..) {
                listener.failure(place, what);
            }
            gathered += frames.next() - before;
            if gathered >= BATCH_ENTRIES || overlay.octets() >= BATCH_OCTETS || !found {
                gathered = 0;
                tree.apply(std::mem::replace(&mut overlay, Overlay::new(&tree)).into_changes())?;
                let of = if end == frames::TO_ITS_END { frames.next() } else { end };
                listener.progress("journal", frames.next(), of);
            }
            if !found || !listener.goes_on() {
                break;
            }
        }
        if frames.next() > next {
            *is_whole = false;
        }
        if let Some(brought) = log_keys(&tree)? {
            *keys = Some(brought);
        }
        Ok(())
    }

    /// Tells every blob that the state points to; returns how many artifacts there are. Every artifact must have its blob's
    /// record, of its size.
    fn artifacts(&self, listener: &mut dyn Listener) -> Result<u64, StoreError> {
        let mut artifacts = 0;
        for pair in prefixed(&self.tree, b"v", false) {
            let version: VersionRecord = decode(&pair?.1)?;
            for artifact in &version.artifacts {
                artifacts += 1;
                let recorded = KvRecords(&self.tree).blob(&artifact.digest)?;
                if recorded.is_none_or(|blob| blob.size != artifact.size) {
                    let place = format!("model {} version {}, {}", version.model, version.version, artifact.path);
                    listener.failure(
                        place,
                        format!("the state has no blob {} of {} octets", artifact.digest, artifact.size),
                    );
                }
            }
        }
        for pair in prefixed(&self.tree, b"b", false) {
            let (key, value) = pair?;
            let blob: BlobRecord = decode(&value)?;
            let digest = key.get(1..).and_then(|octets| <[u8; 32]>::try_from(octets).ok()).map(Digest::from_bytes);
            if let Some(digest) = digest {
                let damage = KvRecords(&self.tree).damage(&digest)?;
                listener.blob(digest, blob.size, damage, &|| self.needed_by(&digest));
            }
            if !listener.goes_on() {
                break;
            }
        }
        Ok(artifacts)
    }
}

impl Replica {
    /// Some of the versions that need a blob, as `name:version`, and how it goes on.
    fn needed_by(&self, digest: &Digest) -> Vec<String> {
        let records = KvRecords(&self.tree);
        let name = |(model, version)| match records.model(model) {
            Ok(Some(model)) => format!("{}:{version}", model.name),
            // The check itself tells what is wrong with the state.
            Ok(None) | Err(_) => format!("{model}:{version}"),
        };
        let holders = records.holders(digest, None, NEEDED_BY_MAX + 1).unwrap_or_default();
        let has_more = holders.len() > NEEDED_BY_MAX;
        let named = holders.into_iter().take(NEEDED_BY_MAX).map(name);
        named.chain(has_more.then(|| "others".to_owned())).collect()
    }
}

/// Reads a record as the log's own rules want it.
fn read_record(
    found: &Found<'_>,
    last_at_ms: &mut i64,
    keys: &mut Option<LogKeysRecord>,
) -> Result<(Entry, Vec<crate::store::records::Write>), String> {
    let (leaf, change) = found.content.ok_or("the record can't be read")?;
    let entry = Entry::parse(leaf).map_err(|error| format!("the leaf is not an entry: {error}"))?;
    if entry.seq != found.index {
        return Err(format!("the leaf says that it is entry {}", entry.seq));
    }
    let digest = (!change.is_empty()).then(|| change_digest(change));
    if entry.change != digest {
        return Err("the change is not the one that the leaf commits to".to_owned());
    }
    if entry.ts < *last_at_ms {
        return Err("the entry is older than the one before it".to_owned());
    }
    *last_at_ms = entry.ts;
    if found.index == 0 {
        let said = |field: &str| entry.data.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        *keys = Some(LogKeysRecord::first(said("origin"), said("vkey")));
    }
    let writes = decode_change(change).map_err(|error| error.to_string())?;
    Ok((entry, writes))
}

// ---- comparing the state --------------------------------------------------------------------------------------------

/// A range of keys, exclusive at its beginning, inclusive at its end.
#[derive(Debug, Clone)]
struct Range {
    after: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl Range {
    fn of<'t>(&self, tree: &'t PackedTree) -> Pairs<'t> {
        let to = self.to.clone().map_or(Bound::Unbounded, Bound::Included);
        tree.range(Bound::Excluded(self.after.clone()), to, false)
    }

    /// What differs in it between what should be and what is there.
    fn differences(&self, should: &PackedTree, is: &PackedTree) -> Result<(u64, Vec<Fault>), StoreError> {
        let mut faults = Vec::new();
        let mut keys = 0;
        let (mut should, mut is) = (self.of(should), self.of(is));
        let (mut one, mut other) = (should.next().transpose()?, is.next().transpose()?);
        let mut tell = |key: &[u8], what: &str| {
            if faults.len() < TOLD_MAX {
                faults.push((format!("view, {}", key_name(key)), what.to_owned()));
            }
        };
        loop {
            let order = match (&one, &other) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            match order {
                std::cmp::Ordering::Less => {
                    if let Some((key, _)) = &one {
                        tell(key, "is missing");
                    }
                    one = should.next().transpose()?;
                }
                std::cmp::Ordering::Greater => {
                    if let Some((key, _)) = &other {
                        tell(key, "should not be there");
                    }
                    other = is.next().transpose()?;
                    continue;
                }
                std::cmp::Ordering::Equal => {
                    if let (Some((key, one)), Some((_, other))) = (&one, &other)
                        && one != other
                    {
                        tell(key, "has another value than the journal gives");
                    }
                    one = should.next().transpose()?;
                    other = is.next().transpose()?;
                }
            }
            keys += 1;
        }
        Ok((keys, faults))
    }
}

/// Compares the whole state, range by range. Returns how many keys were compared.
fn compare(scope: &Scope<'_>, mut rebuilt: Replica, listener: &mut dyn Listener) -> Result<u64, StoreError> {
    let tree = match &scope.view {
        ViewOf::Running { tree, .. } => tree,
        ViewOf::Stopped { tree } => {
            let reached = applied(tree)?.map_or(0, |applied| applied.size);
            let size = rebuilt.frames.next();
            if reached > size {
                // Entries behind the last checkpoint that the view has already.
                rebuilt.advance(reached, None, None, listener)?;
            } else if reached < size {
                let derived = scope.log_dir.join("derived");
                let durable =
                    DerivedMark { path: derived, disk: Disk::default() }.read().map_or(0, |(size, _root)| size);
                let what = format!("has {reached} of {size} entries");
                if reached < durable {
                    listener.failure("view".to_owned(), format!("{what}, but {durable} were made durable"));
                    return Ok(0);
                }
                // A crash takes what sled had not been given yet, or not written. A start makes up for it as is done here.
                listener.remark(format!("the view {what}, as after a crash; the next start brings it up to date"));
                catch_up(scope.log_dir, tree, reached..size)?;
            }
            tree
        }
        ViewOf::None => return Ok(0),
    };
    let mut keys = 0;
    let mut after = Vec::new();
    loop {
        let mut to = None;
        let mut count = 0;
        for pair in rebuilt.tree.range(Bound::Excluded(after.clone()), Bound::Unbounded, false).take(RANGE_KEYS) {
            to = Some(pair?.0.to_vec());
            count += 1;
        }
        let is_last = count < RANGE_KEYS;
        let range = Range { after: std::mem::take(&mut after), to: to.clone().filter(|_| !is_last) };
        let (mut compared, mut faults) = range.differences(&rebuilt.tree, tree)?;
        if !faults.is_empty()
            && let ViewOf::Running { requests, shown, .. } = &scope.view
        {
            // It may only have moved on. What came since is caught up with, the last of it while nothing moves.
            rebuilt.advance(shown.checkpoint.borrow().size, None, None, listener)?;
            (rebuilt, (compared, faults)) = still(rebuilt, range, tree, requests, shown)?;
        }
        keys += compared;
        for (place, what) in faults {
            listener.failure(place, what);
        }
        listener.progress("state", keys, keys);
        match to {
            Some(to) if !is_last && listener.goes_on() => after = to,
            _ => return Ok(keys),
        }
    }
}

/// Applies entries to the copy of a view that is behind.
fn catch_up(log_dir: &Path, tree: &PackedTree, entries: std::ops::Range<u64>) -> Result<(), StoreError> {
    let mut genesis = applied(tree)?.map(|applied| applied.genesis);
    let mut overlay = Overlay::new(tree);
    let mut caught_up: Result<(), StoreError> = Ok(());
    let mut apply = |record: &Scanned<'_>| {
        let genesis = *genesis.get_or_insert(leaf_hash(record.leaf).0);
        replay_one(&mut overlay, record, &mut Vec::new())?;
        set_applied(&mut overlay, &Applied { size: record.index + 1, genesis })?;
        if overlay.octets() >= BATCH_OCTETS {
            tree.apply(std::mem::replace(&mut overlay, Overlay::new(tree)).into_changes())?;
        }
        Ok(())
    };
    read_journal(log_dir, Some(entries.end), &mut |record| {
        if caught_up.is_ok() && entries.contains(&record.index) {
            caught_up = apply(&record);
        }
    })?;
    caught_up?;
    tree.apply(overlay.into_changes())
}

type Differences = (u64, Vec<Fault>);

/// Compares a range between two batches of the daemon, on its writing thread.
fn still(
    mut rebuilt: Replica,
    range: Range,
    tree: &PackedTree,
    requests: &mpsc::Sender<Request>,
    shown: &Arc<Shown>,
) -> Result<(Replica, Differences), StoreError> {
    let (done, result) = std::sync::mpsc::sync_channel(1);
    let (tree, shown) = (tree.clone(), Arc::clone(shown));
    let stopped = || StoreError::Unavailable("the daemon is stopping".to_owned());
    let work = move || {
        let size = shown.checkpoint.borrow().size;
        // The writing thread must outlive whatever sled does.
        let compared = catch_unwind(AssertUnwindSafe(|| {
            rebuilt.advance(size, None, None, &mut Deaf)?;
            range.differences(&rebuilt.tree, &tree)
        }));
        let compared = compared.unwrap_or_else(|_panic| Err(StoreError::Corrupt("the view panicked".to_owned())));
        // The one who waits may be gone; then nobody wants it.
        let _gone = done.send(compared.map(|differences| (rebuilt, differences)));
    };
    requests.blocking_send(Request::Still(Box::new(work))).map_err(|_closed| stopped())?;
    result.recv().map_err(|_closed| stopped())?
}

/// Nobody listens while nothing moves: what is read then was committed a moment ago.
struct Deaf;

impl Listener for Deaf {
    fn progress(&mut self, _step: &'static str, _done: u64, _of: u64) {}
    fn failure(&mut self, place: String, what: String) {
        tracing::error!(place, what, "a check met damage in an entry that was just written");
    }
    fn remark(&mut self, _what: String) {}
    fn blob(
        &mut self,
        _digest: Digest,
        _size: u64,
        _damage: Option<DamageRecord>,
        _needed_by: &dyn Fn() -> Vec<String>,
    ) {
    }
    fn goes_on(&self) -> bool {
        true
    }
}

/// A key in words: what space it is in, and the rest as text or hex.
fn key_name(key: &[u8]) -> String {
    let (space, rest) = key.split_first().map_or((0, key), |(space, rest)| (*space, rest));
    let name = match space {
        b'u' => "user",
        b'U' => "user id",
        b's' => "session",
        b'S' => "session of user",
        b'm' => "model",
        b'n' => "model name",
        b'r' => "models by change",
        b't' => "models by tag",
        b'T' => "count of tag",
        b'X' => "models by text",
        b'x' => "models to expire",
        b'v' => "version",
        b'd' => "holder of digest",
        b'a' => "alias event",
        b'b' => "blob",
        b'D' => "damage of blob",
        b'C' => "count of damaged blobs",
        b'i' => "idempotency key",
        b'I' => "idempotency by time",
        b'h' => "end of chain",
        b'e' => "mark of chain",
        b'c' => "counters",
        b'k' => "log keys",
        b'R' => "ruleset",
        b'g' => "item of the drop folder",
        b'G' => "drop folder",
        b'w' => "versions by ruleset",
        b'W' => "count of ruleset",
        b'q' => "quarantine",
        b'N' => "note of a review",
        b'A' => "approvals",
        b'P' => "record of a sender",
        b'K' => "API token",
        b'L' if rest.is_empty() => "count of API tokens",
        b'L' => "API token of user",
        b'H' => "webhook",
        b'j' => "progress of a webhook",
        b'E' => "grants of user",
        b'O' => "second factor of user",
        b'F' => "quota",
        b'f' => "usage",
        b'Y' => "retention rule",
        b'y' => "deleted versions",
        b'V' => "models by feature",
        b'B' => "count of feature",
        b'p' => "features of model",
        b'z' => "applied",
        _ => "unknown key",
    };
    let is_text = rest.iter().all(|octet| octet.is_ascii_graphic());
    let rest = if is_text { String::from_utf8_lossy(rest).into_owned() } else { hex::encode(rest) };
    if rest.is_empty() { name.to_owned() } else { format!("{name} {rest}") }
}
