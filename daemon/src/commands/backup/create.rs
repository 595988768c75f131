//! Making a generation: the journal up to a checkpoint, and every blob that its records point to. Knows in which order that
//! is done, and that nothing counts which was not compared with what was signed; refuses to know how the checkpoint came to be
//! and who keeps blobs from being removed.
//!
//! The records are read from the journal's files, beside the one who appends to them, from the newest generation's size on. The
//! tree's edge that this generation left is carried on by them, and must come to the checkpoint's root: so a generation is only
//! made if it extends the one before, octet by octet, and the checkpoint is of what was copied.

use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::audit::{Checkpoint, Frontier, Verifier, leaf_hash, root_at};
use common::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::manifest::{self, Kept, Manifest, Part};
use super::needed::{Blob, Changes};
use super::repository::{self, LIST, Repository, Unfinished, at, id_of, open_file};
use super::segment::{self, Writer};
use super::{Exit, Failed};
use crate::blobs::{BlobError, BlobReader, Blobs};
use crate::cli::BlobsMode;
use crate::clock;
use crate::durable::{self, Disk, MODE_FILE};
use crate::registry::examine::Pace;
use crate::store::StoreError;
use crate::store::journal::{FILE_ENTRIES_MAX, JournalReader};
use crate::store::merkle::HashFiles;
use crate::store::sled::{first_keys, read_record};

/// The registry as something to be copied.
pub(super) struct Source<'s> {
    /// `<data>/log`.
    pub(super) log_dir: PathBuf,
    /// Where blobs are on this machine's disk, for hard links.
    pub(super) blob_dir: PathBuf,
    /// The blobs.
    pub(super) blobs: &'s dyn Blobs,
    /// The daemon's instance id.
    pub(super) node: String,
    /// What was set, without secrets.
    pub(super) settings: String,
    /// The directory of keys, where they are wanted.
    pub(super) key_dir: Option<PathBuf>,
}

/// How it is copied.
pub(super) struct How {
    /// What is done with blobs.
    pub(super) blobs: BlobsMode,
    /// How fast they are read at most, octets a second.
    pub(super) rate: Option<u64>,
    /// Another directory of backups, of which what is there already is linked or copied.
    pub(super) since: Option<Repository>,
}

/// A generation that was made.
pub(super) struct Made {
    /// What it consists of.
    pub(super) manifest: Manifest,
    /// Blobs that were added to the directory.
    pub(super) added_blobs: u64,
    /// Octets that were: blobs, parts of the journal, list.
    pub(super) added_octets: u64,
    /// Entries that were.
    pub(super) added_entries: u64,
    /// What is missing or damaged, the first of them.
    pub(super) lacking: Vec<String>,
    /// What should be known besides.
    pub(super) remarks: Vec<String>,
}

/// What is wrong with blobs is told of so many.
const LACKING_TOLD_MAX: usize = 20;
/// Blobs after which it is told how far it is.
const BLOBS_A_STEP: u64 = 64;

/// What one attempt came to.
pub(super) enum Attempt {
    /// It is made.
    Made(Box<Made>),
    /// Blobs were not there: where they were purged since the checkpoint, a newer one doesn't need them.
    Missing,
}

/// Makes a generation of a checkpoint. With `settles_for_less` it is made without blobs that are not there.
pub(super) fn make(
    repository: &Repository,
    source: &Source<'_>,
    (note, pins): (&str, &[Verifier]),
    how: &How,
    settles_for_less: bool,
    show: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Attempt, Failed> {
    let wrong =
        |error: &dyn std::fmt::Display| Failed::new(Exit::Data, format_args!("the daemon's checkpoint: {error}"));
    let signed = Checkpoint::open(note.as_bytes(), pins).map_err(|error| wrong(&error))?;
    let checkpoint = &signed.checkpoint;
    let made_at = clock::rfc3339(clock::now_ms());
    let id = id_of(&made_at, checkpoint.size);
    if repository.generations()?.contains(&id) {
        return Err(Failed::new(Exit::TempFail, format_args!("the generation {id} was made a moment ago")));
    }
    let dir = repository.generation(&id);
    durable::create_dir_all(&dir, durable::MODE_DIR).map_err(at(&dir))?;
    let mut making = Making { repository, source, how, remarks: Vec::new(), added_octets: 0 };
    let journal = making.journal(checkpoint, show)?;
    let files = making.files(&dir, note)?;
    let copied = making.blobs(&dir, journal.base.as_ref(), journal.changes, settles_for_less, show)?;
    let Some(copied) = copied else {
        // Its parts of the journal may be of use to nobody: the next sweep takes them.
        fs::remove_dir_all(&dir).map_err(at(&dir))?;
        return Ok(Attempt::Missing);
    };
    repository.sync()?;
    durable::sync_dir(&dir).map_err(at(&dir))?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        tool: concat!("mregd ", env!("CARGO_PKG_VERSION")).to_owned(),
        generation: id,
        made_at,
        node: source.node.clone(),
        log: repository.log().to_owned(),
        origin: checkpoint.origin.clone(),
        vkeys: super::verify::signers(&signed, pins),
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
        frontier: hex::encode(journal.frontier.to_bytes()),
        checkpoint: note.to_owned(),
        journal: journal.parts,
        blobs: copied.told,
        files,
        has_keys: source.key_dir.is_some(),
        digest: String::new(),
    };
    // Everything it names is durable: from here on it is a backup.
    repository.finish(manifest.clone())?;
    Ok(Attempt::Made(Box::new(Made {
        manifest,
        added_blobs: copied.added,
        added_octets: making.added_octets,
        added_entries: journal.added,
        lacking: copied.lacking,
        remarks: making.remarks,
    })))
}

/// The log's id: the leaf hash of its first entry.
pub(super) fn log_id(log_dir: &Path) -> Result<String, Failed> {
    let reader = JournalReader::open(&Disk::default(), log_dir).map_err(store_failed)?;
    let first = reader.first_leaf().map_err(store_failed)?;
    let first = first.ok_or_else(|| Failed::new(Exit::Data, "the log has no entry yet"))?;
    first_keys(&first)?;
    Ok(hex::encode(leaf_hash(&first).0))
}

/// What reading the journal failed with.
pub(super) fn store_failed(error: StoreError) -> Failed {
    let exit = match &error {
        StoreError::Corrupt(_) => Exit::Data,
        _ => Exit::Io,
    };
    Failed::new(exit, crate::error_chain(&error))
}

/// What the journal came to.
struct Journal {
    base: Option<Manifest>,
    parts: Vec<Part>,
    frontier: Frontier,
    changes: Changes,
    added: u64,
}

/// What the blobs came to.
struct Copied {
    told: manifest::Blobs,
    added: u64,
    lacking: Vec<String>,
}

struct Making<'m> {
    repository: &'m Repository,
    source: &'m Source<'m>,
    how: &'m How,
    remarks: Vec<String>,
    added_octets: u64,
}

impl Making<'_> {
    /// The newest generation whose entries are the first of this log.
    fn base(&mut self, checkpoint: &Checkpoint) -> Result<Option<Manifest>, Failed> {
        let hashes = HashFiles::new(&Disk::default(), &self.source.log_dir);
        for id in self.repository.generations()?.iter().rev() {
            let manifest = match self.repository.manifest(id) {
                Ok(manifest) => manifest,
                Err(failed) => {
                    self.remarks.push(format!("the generation {id} is not built upon: {}", failed.message));
                    continue;
                }
            };
            let is_whole = manifest.journal.iter().all(|part| {
                fs::symlink_metadata(self.repository.part(part))
                    .is_ok_and(|file| file.is_file() && file.len() == part.octets)
            });
            if !is_whole {
                self.remarks.push(format!("the generation {id} is not built upon: a part of its journal is missing"));
                continue;
            }
            if manifest.size <= checkpoint.size {
                let root = root_at(manifest.size, &*hashes).map_err(|error| store_failed(error.into()))?;
                if root.to_string() == manifest.root {
                    return Ok(Some(manifest));
                }
            }
            self.remarks.push(format!(
                "the log doesn't extend the generation {id} of {} entries: it was rolled back or replaced since",
                manifest.size
            ));
        }
        Ok(None)
    }

    /// Copies the records that the newest generation has not.
    fn journal(
        &mut self,
        checkpoint: &Checkpoint,
        show: &mut dyn FnMut(&'static str, u64, u64),
    ) -> Result<Journal, Failed> {
        let base = self.base(checkpoint)?;
        let (mut frontier, parts) = match &base {
            Some(base) => {
                let frontier = base.frontier().map_err(|why| Failed::new(Exit::Data, why))?;
                (frontier, base.journal.clone())
            }
            None => (Frontier::new(), Vec::new()),
        };
        let from = frontier.size();
        let mut changes = Changes::new(&self.repository.tmp());
        let reader = JournalReader::open(&Disk::default(), &self.source.log_dir).map_err(store_failed)?;
        let mut writing = Parts { repository: self.repository, current: None, to: checkpoint.size, parts };
        let mut failed = None;
        let read = reader.read_range(from, checkpoint.size, &mut |record| {
            frontier.append(leaf_hash(record.leaf), |_level, _index, _hash| {});
            let (_entry, writes) = read_record(&record)?;
            let changed = changes.take(&writes).map_err(at(self.repository.dir()));
            if let Err(error) = changed.and_then(|()| writing.push(record.index, record.leaf, record.change)) {
                failed = Some(error);
                return Err(StoreError::Unavailable("the backup can't be written".to_owned()));
            }
            if record.index.is_multiple_of(ENTRIES_A_STEP) {
                show("entries", record.index, checkpoint.size);
            }
            Ok(())
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        read.map_err(store_failed)?;
        let parts = writing.parts;
        let added = parts.iter().filter(|part| part.from >= from).map(|part| part.octets).sum::<u64>();
        self.added_octets += added;
        if (frontier.size(), frontier.root()) != (checkpoint.size, checkpoint.root) {
            return Err(Failed::new(
                Exit::Data,
                format_args!(
                    "the journal's {} entries have the root {}, but the checkpoint says {}: nothing was backed up. Run `mregd check`",
                    frontier.size(),
                    frontier.root(),
                    checkpoint.root
                ),
            ));
        }
        Ok(Journal { base, parts, frontier, changes, added: checkpoint.size - from })
    }

    /// The generation's small files.
    fn files(&self, dir: &Path, note: &str) -> Result<Vec<Kept>, Failed> {
        let mut files = Vec::new();
        let mut keep = |name: String, octets: &[u8]| {
            let path = dir.join(&name);
            durable::write_file(&path, octets, MODE_FILE).map_err(at(&path))?;
            files.push(Kept { name, sha256: hex::encode(Sha256::digest(octets)) });
            Ok::<(), Failed>(())
        };
        keep("checkpoint".to_owned(), note.as_bytes())?;
        keep("settings.env".to_owned(), self.source.settings.as_bytes())?;
        if let Some(key_dir) = &self.source.key_dir {
            for entry in fs::read_dir(key_dir).map_err(at(key_dir))? {
                let entry = entry.map_err(at(key_dir))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if super::is_kept_key(&name) {
                    let path = entry.path();
                    let octets = repository::read_bounded(&path, super::KEY_OCTETS_MAX).map_err(at(&path))?;
                    let octets = zeroize::Zeroizing::new(octets);
                    keep(format!("keys/{name}"), &octets)?;
                }
            }
        }
        Ok(files)
    }

    /// Copies the blobs that are needed and not there. None: some are missing, and that is not settled for.
    fn blobs(
        &mut self,
        dir: &Path,
        base: Option<&Manifest>,
        changes: Changes,
        settles_for_less: bool,
        show: &mut dyn FnMut(&'static str, u64, u64),
    ) -> Result<Option<Copied>, Failed> {
        let before = base.map(|base| self.repository.list(base)).transpose()?;
        let stores = self.how.blobs != BlobsMode::Reference;
        let mut copying = Copying::new(self.how.rate);
        let path = dir.join(LIST);
        let list = self.repository.begin()?;
        let mut out = io::BufWriter::new(segment::Hashing::new(list.file.try_clone().map_err(at(&path))?));
        let mut told = manifest::Blobs { are_stored: stores, count: 0, octets: 0, lacking: 0, sha256: String::new() };
        let (mut added, mut lacking, mut failed) = (0, Vec::new(), None);
        let mut one = |mut blob: Blob, was_there: bool| {
            let got = match stores {
                true => self.store(&blob, &mut copying)?,
                // What an earlier generation has listed was there then.
                false if was_there => Got::Shared,
                false => look(self.source.blobs, &blob)?,
            };
            match got {
                Got::Shared => {}
                Got::Added => {
                    added += 1;
                    self.added_octets += blob.size;
                }
                Got::Lacking(_) if !settles_for_less => return Ok(false),
                Got::Lacking(why) => {
                    blob.is_lacking = true;
                    told.lacking += 1;
                    if lacking.len() < LACKING_TOLD_MAX {
                        lacking.push(format!("blob {} {why}", blob.digest));
                    }
                }
            }
            told.count += 1;
            told.octets += blob.size;
            if told.count.is_multiple_of(BLOBS_A_STEP) {
                show("blobs", told.count, 0);
            }
            out.write_all(blob.line().as_bytes()).map_err(at(&path)).map(|()| true)
        };
        let merged = changes.merge(before, &mut |blob, was_there| {
            match one(blob, was_there) {
                Ok(true) => return Ok(()),
                Ok(false) => failed = Some(None),
                Err(error) => failed = Some(Some(error)),
            }
            Err(io::Error::other("the backup ends here"))
        });
        match failed {
            Some(None) => return Ok(None),
            Some(Some(failed)) => return Err(failed),
            None => merged.map_err(repository::list_failed)?,
        }
        let hashed = out.into_inner().map_err(|error| at(&path)(error.into_error()))?;
        let (_file, sha256, octets) = hashed.finish();
        told.sha256 = sha256;
        self.added_octets += octets;
        self.repository.keep(list, &path)?;
        Ok(Some(Copied { told, added, lacking }))
    }

    /// Sees to it that the directory has a blob's bytes.
    fn store(&mut self, blob: &Blob, copying: &mut Copying) -> Result<Got, Failed> {
        let path = self.repository.blob(&blob.digest);
        match fs::symlink_metadata(&path) {
            Ok(file) if file.is_file() && file.len() == blob.size => return Ok(Got::Shared),
            // It was damaged, or is no file; what is right takes its place.
            Ok(_other) => fs::remove_file(&path).map_err(at(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
        if let Some(since) = &self.how.since
            && copying.take_over(self.repository, &since.blob(&blob.digest), blob, &path)?
        {
            return Ok(Got::Added);
        }
        let reader = match self.source.blobs.open(&blob.digest) {
            Ok(reader) if reader.len() == blob.size => reader,
            Ok(reader) => {
                return Ok(Got::Lacking(format!("has {} octets instead of {}", reader.len(), blob.size)));
            }
            Err(error) => return lacking(self.source.blobs, error),
        };
        match self.how.blobs {
            BlobsMode::Link => self.link(&*reader, blob, &path, copying),
            BlobsMode::Copy | BlobsMode::Reference => copying.copy(self, &*reader, blob, &path),
        }
    }

    /// Links the registry's own file, once its octets are known to be right.
    fn link(&self, reader: &dyn BlobReader, blob: &Blob, path: &Path, copying: &mut Copying) -> Result<Got, Failed> {
        let Some(place) = reader.place() else {
            return Err(Failed::new(
                Exit::Usage,
                "--blobs link: the registry's files are not on this machine's disk; use copy or reference",
            ));
        };
        match copying.hash(&mut Reading { reader, at: 0 }, &mut io::sink()) {
            Ok(digest) if digest == blob.digest => {}
            Ok(digest) => return Ok(Got::Lacking(format!("has octets of the digest {digest}"))),
            Err(error) => return read_failed(self.source.blobs, error),
        }
        self.repository.make_shard(path)?;
        fs::hard_link(self.source.blob_dir.join(place), path).map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => Failed::new(
                Exit::Usage,
                format_args!(
                    "--blobs link: {} is on another file system than the registry's files; use copy",
                    self.repository.dir().display()
                ),
            ),
            _ => at(path)(error),
        })?;
        Ok(Got::Added)
    }
}

/// Entries after which it is told how far it is.
const ENTRIES_A_STEP: u64 = 4096;
/// Octets that are read at once.
const PIECE: usize = 1024 * 1024;

/// Parts of the journal that are written one after another.
struct Parts<'p> {
    repository: &'p Repository,
    current: Option<(Unfinished, Writer)>,
    /// Where the last one ends.
    to: u64,
    parts: Vec<Part>,
}

impl Parts<'_> {
    fn push(&mut self, index: u64, leaf: &[u8], change: &[u8]) -> Result<(), Failed> {
        let failed = |error| at(self.repository.dir())(error);
        let (unfinished, mut writer) = match self.current.take() {
            Some(current) => current,
            None => {
                // They end at the same places, however often backups are made.
                let to = ((index / FILE_ENTRIES_MAX + 1) * FILE_ENTRIES_MAX).min(self.to);
                let unfinished = self.repository.begin()?;
                let file = unfinished.file.try_clone().map_err(failed)?;
                (unfinished, Writer::new(file, index, to).map_err(failed)?)
            }
        };
        writer.push(leaf, change).map_err(failed)?;
        if writer.is_full() {
            let part = writer.finish().map_err(failed)?;
            self.repository.keep(unfinished, &self.repository.part(&part))?;
            self.parts.push(part);
        } else {
            self.current = Some((unfinished, writer));
        }
        Ok(())
    }
}

/// What became of a blob.
enum Got {
    /// The directory has it already.
    Shared,
    /// It has it now.
    Added,
    /// There are no right bytes of it.
    Lacking(String),
}

/// Whether a blob that is only referred to is there.
fn look(blobs: &dyn Blobs, blob: &Blob) -> Result<Got, Failed> {
    match blobs.contains(&blob.digest) {
        Ok(Some(size)) if size == blob.size => Ok(Got::Shared),
        Ok(Some(size)) => Ok(Got::Lacking(format!("has {size} octets instead of {}", blob.size))),
        Ok(None) => lacking(blobs, BlobError::NotFound(blob.digest)),
        Err(error) => lacking(blobs, error),
    }
}

/// What it means that a blob can't be read: that it is lacking, or that nothing can be said now.
fn lacking(blobs: &dyn Blobs, error: BlobError) -> Result<Got, Failed> {
    const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
    let why = match &error {
        BlobError::NotFound(_) => "is missing".to_owned(),
        BlobError::Corrupt { detail, .. } => detail.clone(),
        // A bad place on a disk is no reason to have no backup of the rest.
        BlobError::Unavailable(error) if error.raw_os_error() == Some(EIO) => format!("can't be read: {error}"),
        BlobError::Unavailable(_) | BlobError::Full(_) | BlobError::Unreachable { .. } => {
            return Err(unreachable(&error));
        }
    };
    match blobs.is_there() {
        Ok(()) => Ok(Got::Lacking(why)),
        Err(error) => Err(unreachable(&error)),
    }
}

fn unreachable(error: &BlobError) -> Failed {
    Failed::new(Exit::TempFail, format_args!("{}; begin again, and it goes on", crate::error_chain(error)))
}

fn read_failed(blobs: &dyn Blobs, error: io::Error) -> Result<Got, Failed> {
    match error.downcast::<BlobError>() {
        Ok(error) => lacking(blobs, error),
        Err(error) => Err(Failed::new(Exit::Io, error)),
    }
}

/// A blob as a stream.
pub(super) struct Reading<'r> {
    /// It.
    pub(super) reader: &'r dyn BlobReader,
    /// How far it was read.
    pub(super) at: u64,
}

impl io::Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read_at(self.at, buffer).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// How octets are moved: at a pace, in pieces.
pub(super) struct Copying {
    pace: Option<(Pace, Instant)>,
    piece: Vec<u8>,
}

impl Copying {
    /// As fast as it goes, or so many octets a second.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            pace: rate.map(|rate| (Pace::new(rate), Instant::now())),
            piece: vec![0; rate.map_or(PIECE, |rate| Pace::new(rate).piece())],
        }
    }

    /// Moves a whole stream, and gives the digest of what came. Errors of reading are those of the stream; one of writing is
    /// told apart by its context.
    pub(super) fn hash(&mut self, from: &mut dyn io::Read, to: &mut dyn io::Write) -> io::Result<Digest> {
        let mut hash = Sha256::new();
        loop {
            let count = from.read(&mut self.piece)?;
            if count == 0 {
                return Ok(Digest::from_bytes(hash.finalize().into()));
            }
            hash.update(&self.piece[..count]);
            to.write_all(&self.piece[..count])?;
            if let Some((pace, began)) = &mut self.pace {
                std::thread::sleep(pace.take(began.elapsed(), count as u64));
            }
        }
    }

    /// Copies a blob, by sharing its blocks where the file system can; what is kept was hashed as it is kept.
    fn copy(&mut self, making: &Making<'_>, reader: &dyn BlobReader, blob: &Blob, path: &Path) -> Result<Got, Failed> {
        let mut unfinished = making.repository.begin()?;
        let cloned = match reader.file() {
            Some(Ok(file)) => rustix::fs::ioctl_ficlone(&unfinished.file, &file).is_ok(),
            Some(Err(_)) | None => false,
        };
        let hashed = if cloned {
            let mut file = unfinished.file.try_clone().map_err(at(path))?;
            file.rewind().map_err(at(path))?;
            self.hash(&mut file, &mut io::sink())
        } else {
            self.hash(&mut Reading { reader, at: 0 }, &mut unfinished.file)
        };
        // What is read once for this shall not push out of memory what others read again and again.
        reader.evict();
        match hashed {
            Ok(digest) if digest == blob.digest => {
                making.repository.keep(unfinished, path)?;
                Ok(Got::Added)
            }
            Ok(digest) => Ok(Got::Lacking(format!("has octets of the digest {digest}"))),
            Err(error) => read_failed(making.source.blobs, error),
        }
    }

    /// Takes a blob over from another directory of backups: by a link, or a copy where it is on another file system. Whether
    /// it had a right one.
    fn take_over(&mut self, repository: &Repository, from: &Path, blob: &Blob, path: &Path) -> Result<bool, Failed> {
        let Ok(mut file) = open_file(from) else { return Ok(false) };
        let digest = self.hash(&mut file, &mut io::sink()).map_err(at(from))?;
        if digest != blob.digest {
            return Ok(false);
        }
        repository.make_shard(path)?;
        if fs::hard_link(from, path).is_ok() {
            return Ok(true);
        }
        let mut unfinished = repository.begin()?;
        file.rewind().map_err(at(from))?;
        let copied = self.hash(&mut file, &mut unfinished.file).map_err(at(from))?;
        if copied != blob.digest {
            return Ok(false);
        }
        repository.keep(unfinished, path)?;
        Ok(true)
    }
}
