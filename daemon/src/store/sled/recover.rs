//! Opening what a stop, a kill or a power cut left behind (audit-log.md §8, Recovery). The journal decides; everything
//! else is compared with it and, where it is missing or behind, derived again.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::audit::{Action, Checkpoint, Ed25519Signer, Entry, Hash, Signer, leaf_hash, root_at};
use rustix::io::Errno;
use tokio::sync::watch;

use crate::config::secret::{Readers, SecretError, read_secret_file};
use crate::durable;
use crate::store::codec::{change_digest, decode_change};
use crate::store::entries::{Row, Rows};
use crate::store::journal::{Journal, JournalReader, Scanned};
use crate::store::mark::{CheckpointFile, DerivedMark, HighWaterMark, ViewDoubt};
use crate::store::merkle::{HashFiles, HashWriter};
use crate::store::overlay::Overlay;
use crate::store::room::Room;
use crate::store::sequencer::{Sequencer, Shown, apply_record, genesis_data, own_entry};
use crate::store::sled::keeper::keep_room_for_view;
use crate::store::sled::{OpenError, SledOptions};
use crate::store::view::{Applied, applied, set_applied};
use crate::store::{Decide, Health, Identity, Moment, PublishedCheckpoint, StoreError};

/// Entries that are applied to the view in one batch while it is rebuilt.
const REPLAY_BATCH: u64 = 2048;

/// An open store's parts.
pub(super) struct Recovered {
    pub(super) sequencer: Sequencer,
    pub(super) db: ::sled::Db,
    pub(super) mark: HighWaterMark,
    pub(super) derived: DerivedMark,
    pub(super) identity: Identity,
    /// What opening has to say as entries.
    pub(super) opening: Vec<Decide>,
}

/// Opens and recovers. The lock is held.
pub(super) fn recover(options: &SledOptions) -> Result<Recovered, OpenError> {
    let log_dir = options.data_dir.join("log");
    let disk = &options.disk;
    let mut journal = Journal::open(disk, &log_dir, options.file_entries_max)?;
    let size = journal.next_index();
    let signer = signing_key(options, size > 0)?;
    let mark = HighWaterMark { path: options.key_dir.join("log.mark"), disk: disk.clone() };
    let checkpoint_file = CheckpointFile::open(disk, &log_dir.join("checkpoint"))?;
    let last = checkpoint_file.read(signer.verifier())?;
    check_length(&journal, last.as_ref(), "its last checkpoint")?;
    check_length(&journal, mark.read()?.as_ref(), "the high-water mark")?;
    journal.cut_tail()?;
    let genesis = genesis_of(&journal, options, &signer)?;

    let hash_files = HashFiles::new(disk, &log_dir);
    let rows = Rows::open(disk, &log_dir.join("entries"))?;
    journal.check_sequence(&mut |index| ends_with(&journal.reader(), &rows, index))?;
    let derived = DerivedMark { path: log_dir.join("derived"), disk: disk.clone() };
    let doubt = ViewDoubt { path: log_dir.join("view-doubtful"), disk: disk.clone() };
    let room = Room::open(disk, &options.data_dir, &log_dir).map_err(OpenError::path(&log_dir))?;
    let view_dir = options.data_dir.join("view");
    let (db, set_aside) = open_view(&view_dir, doubt.is_raised())?;
    keep_room_for_view(disk, &view_dir, &mut None);
    let mut rebuilt = set_aside.is_some();
    let tree = db.open_tree(TREE).map_err(StoreError::from)?;
    let replay = Replay { journal: &journal, tree: &tree, rows: &rows, hash_files: &hash_files };
    let durable_size = replay.durable_size(derived.read(), size);
    let view_size = match replay.view_size(size, genesis) {
        Some(view_size) if replay.rows_are_whole(durable_size.min(view_size), view_size) => view_size,
        Some(_) | None => {
            tracing::warn!("the view is foreign, ahead or damaged; it is rebuilt from the journal");
            tree.clear().map_err(StoreError::from)?;
            rebuilt = true;
            0
        }
    };
    // An empty view beside a log that is not: it was removed.
    rebuilt |= view_size == 0 && size > 0;
    let hashes = catch_unwind(AssertUnwindSafe(|| replay.run(durable_size, view_size))).unwrap_or_else(|_panic| {
        doubt.raise();
        Err(StoreError::Unavailable(
            "the view failed while it was brought up to date; the next start makes it anew".to_owned(),
        )
        .into())
    })?;
    doubt.lay_down()?;
    let root = hashes.root();
    check_root(&hash_files, size, last.as_ref(), "the last checkpoint")?;
    check_root(&hash_files, size, mark.read()?.as_ref(), "the high-water mark")?;

    let vkey = signer.verifier().to_string();
    let identity = Identity {
        backend: "sled",
        origin: options.origin.clone(),
        vkey: vkey.clone(),
        node: node_id(&options.data_dir.join("node"))?,
    };
    let last_at_ms = size.checked_sub(1).map(|last| rows.row(last)).transpose()?.map_or(0, |row| row.at_ms);
    let shown = Arc::new(Shown {
        checkpoint: watch::Sender::new(Arc::new(PublishedCheckpoint { size, root, note: String::new() })),
        health: watch::Sender::new(Health::Ok),
        commits: AtomicU64::new(0),
        batches: AtomicU64::new(0),
        journal_bytes: AtomicU64::new(journal.octets()),
        reserve_bytes: AtomicU64::new(room.reserve_octets()),
        doubt,
    });
    let mut sequencer = Sequencer {
        journal,
        hashes,
        hash_files,
        rows,
        tree,
        view_dir,
        disk: disk.clone(),
        checkpoint_file,
        signer: Arc::new(signer),
        origin: options.origin.clone(),
        node: identity.node.clone(),
        genesis,
        last_at_ms,
        room,
        news: None,
        shown,
    };
    let mut opening = Vec::new();
    if size == 0 {
        opening.push(own_entry(Action::LogGenesis, &options.origin, genesis_data(&options.origin, &vkey)));
    } else {
        sequencer.sign()?;
        if rebuilt {
            let from = set_aside.map(|path| ("set_aside".to_owned(), path.display().to_string().into()));
            opening.push(own_entry(Action::StoreRebuild, &options.origin, from.into_iter().collect()));
        }
    }
    Ok(Recovered { sequencer, db, mark, derived, identity, opening })
}

/// The one tree of the view.
pub(super) const TREE: &[u8] = b"view-1";

/// Loads the signing key. One is made only together with a new log: a log whose key is gone can't be carried on under
/// the same name.
fn signing_key(options: &SledOptions, log_exists: bool) -> Result<Ed25519Signer, OpenError> {
    let path = options.key_dir.join("log.key");
    let missing = |error: &SecretError| matches!(error, SecretError::Io(error) if error.kind() == ErrorKind::NotFound);
    match read_secret_file(&path, Readers::Owner) {
        Ok(text) => Ed25519Signer::parse(text.expose().trim()).map_err(|error| {
            OpenError::Refused(format!("the log's signing key {} is damaged: {error}", path.display()))
        }),
        Err(error) if missing(&error) && !log_exists => {
            let mut seed = zeroize::Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let key = Ed25519Signer::from_seed(&options.origin, &seed)
                .map_err(|error| OpenError::Refused(format!("MREG_LOG_ORIGIN {:?}: {error}", options.origin)))?;
            durable::write_file_on(
                &options.disk,
                &path,
                zeroize::Zeroizing::new(format!("{}\n", &*key.to_secret())).as_bytes(),
                0o600,
            )
            .map_err(OpenError::path(&path))?;
            Ok(key)
        }
        Err(error) if missing(&error) => Err(OpenError::Refused(format!(
            "the log's signing key {} is missing, but {} holds a log; put the key back or set MREG_KEY_DIR to where it is",
            path.display(),
            options.data_dir.display()
        ))),
        Err(error) => Err(OpenError::Refused(format!("the log's signing key {} {error}", path.display()))),
    }
}

/// Whether an entry is where its row says, which is in the file that should hold it. Rows are derived, so a no is no proof.
fn ends_with(journal: &JournalReader, rows: &Rows, index: u64) -> bool {
    let leaf = rows.row(index).and_then(|row| journal.leaf(index, row.place));
    leaf.is_ok_and(|leaf| Entry::parse(&leaf).is_ok_and(|entry| entry.seq == index))
}

fn check_length(journal: &Journal, witness: Option<&Checkpoint>, what: &str) -> Result<(), OpenError> {
    let size = journal.next_index();
    match witness {
        Some(witness) if witness.size > size => Err(OpenError::Refused(format!(
            "the journal has {size} entries, but {what} covers {}: acknowledged entries are missing. The data was rolled \
             back, replaced or damaged; restore the newest copy of the data directory",
            witness.size
        ))),
        Some(_) | None => Ok(()),
    }
}

fn check_root(hashes: &HashFiles, size: u64, witness: Option<&Checkpoint>, what: &str) -> Result<(), OpenError> {
    let Some(witness) = witness.filter(|witness| witness.size > 0 && witness.size <= size) else { return Ok(()) };
    let root = root_at(witness.size, hashes).map_err(StoreError::from)?;
    if root == witness.root {
        Ok(())
    } else {
        Err(OpenError::Refused(format!(
            "the first {} entries have the root {root}, but {what} says {}: the log was altered, or this is another log. \
             Restore the right data directory and key directory",
            witness.size, witness.root
        )))
    }
}

/// The leaf hash of entry 0, which must be this log's: same origin, same key.
fn genesis_of(journal: &Journal, options: &SledOptions, signer: &Ed25519Signer) -> Result<Option<Hash>, OpenError> {
    let Some(leaf) = journal.first_leaf()? else { return Ok(None) };
    let entry = Entry::parse(&leaf)
        .map_err(|error| OpenError::Refused(format!("entry 0 of the log can't be read: {error}")))?;
    let said = |field: &str| entry.data.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    if said("origin") != options.origin {
        return Err(OpenError::Refused(format!(
            "the log in {} is called {:?}, but MREG_LOG_ORIGIN says {:?}; a log keeps its name",
            options.data_dir.display(),
            said("origin"),
            options.origin
        )));
    }
    if said("vkey") != signer.verifier().to_string() {
        return Err(OpenError::Refused(format!(
            "the signing key in {} is not the one the log in {} was begun with",
            options.key_dir.display(),
            options.data_dir.display()
        )));
    }
    Ok(Some(leaf_hash(&leaf)))
}

/// Opens sled, setting aside what it can't open because it is damaged. sled 0.34 panics on some damage, and refuses to open
/// when an earlier open was cut off while writing a snapshot (its issues 1527 and 1533). What the system refuses (too many
/// open files, no room, no right) is no damage, and reported as what it is.
fn open_view(dir: &Path, in_doubt: bool) -> Result<(::sled::Db, Option<PathBuf>), OpenError> {
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
            let tree = db.open_tree(TREE)?;
            tree.get(b"z")?;
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
    remove_set_aside(dir);
    let aside = dir.with_extension(format!("damaged-{}", uuid::Uuid::now_v7()));
    tracing::error!(cause = failed, dir = %dir.display(), set_aside = %aside.display(), "the view can't be used; it is set aside and rebuilt from the journal");
    std::fs::rename(dir, &aside).map_err(OpenError::path(dir))?;
    let db = open().map_err(StoreError::from)?;
    Ok((db, Some(aside)))
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
fn node_id(path: &Path) -> Result<String, OpenError> {
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
    tree: &'r ::sled::Tree,
    rows: &'r Rows,
    hash_files: &'r Arc<HashFiles>,
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
            Ok(Ok(None)) => self.tree.is_empty().then_some(0),
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
            if (record.index + 1) % REPLAY_BATCH == 0 || record.index + 1 == size {
                hashes.write()?;
                let first = record.index + 1 - rows.len() as u64;
                self.rows.write(first, &rows)?;
                rows.clear();
                released.clear();
                let full = std::mem::replace(&mut overlay, Overlay::new(self.tree));
                self.tree.apply_batch(full.into_batch())?;
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

fn replay_one(
    overlay: &mut Overlay<'_>,
    record: &Scanned<'_>,
    released: &mut Vec<common::digest::Digest>,
) -> Result<Row, StoreError> {
    let damaged = |why: String| StoreError::Corrupt(format!("journal record {}: {why}", record.index));
    let entry = Entry::parse(record.leaf).map_err(|error| damaged(error.to_string()))?;
    let committed = (!record.change.is_empty()).then(|| change_digest(record.change));
    if entry.seq != record.index || entry.change != committed {
        return Err(damaged("the change is not the one that the entry commits to".to_owned()));
    }
    let writes = decode_change(record.change)?;
    let moment = Moment { index: record.index, at_ms: entry.ts };
    let before = apply_record(overlay, &entry, &writes, moment, released)?;
    Ok(Row { place: record.place, at_ms: entry.ts, before })
}
