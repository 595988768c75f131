//! Verifying a generation: every entry, the signature of its checkpoint, the state, and every blob. Knows what follows from
//! what; refuses to write anything of the backup.

use std::io::{self, ErrorKind};
use std::path::Path;

use common::audit::{Checkpoint, Hash, SignedCheckpoint, Verifier};
use common::digest::Digest;

use super::Failed;
use super::create::{Copying, Reading, store_failed};
use super::manifest::Manifest;
use super::needed::Blob;
use super::repository::{Repository, at, digest_of, list_failed, open_file};
use super::segment::{self, Wrong};
use crate::blobs::{BlobError, Blobs};
use crate::store::StoreError;
use crate::store::journal::Record;
use crate::store::records::{Counters, LogKeysRecord};
use crate::store::sled::Derived;

/// Records that are applied at once, at most.
const RECORDS_MAX: usize = 2048;
/// And their octets.
const OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Faults that are told one by one.
const FAULTS_TOLD_MAX: usize = 100;
/// Blobs after which it is told how far it is.
const BLOBS_A_STEP: u64 = 64;

/// What was found to be wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The first of them.
    pub(super) told: Vec<String>,
    /// All of them.
    pub(super) count: u64,
}

impl Faults {
    /// One more.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        if self.told.len() < FAULTS_TOLD_MAX {
            self.told.push(what);
        }
    }
}

/// What the records came to.
pub(super) struct Proof {
    /// SHA-256 over the state.
    pub(super) state: [u8; 32],
    /// Its totals.
    pub(super) counters: Counters,
    /// Which keys signed the checkpoint.
    pub(super) signed_by: Vec<String>,
}

/// Collects records, and hands them on in batches.
pub(super) struct Batch {
    records: Vec<Record>,
    octets: usize,
}

impl Batch {
    /// Empty.
    pub(super) fn new() -> Self {
        Self { records: Vec::new(), octets: 0 }
    }

    /// Takes a record; hands all on where that is enough.
    pub(super) fn push<E>(&mut self, record: Record, on: &mut dyn FnMut(&[Record]) -> Result<(), E>) -> Result<(), E> {
        self.octets += record.leaf.len() + record.change.len();
        self.records.push(record);
        if self.records.len() >= RECORDS_MAX || self.octets >= OCTETS_MAX { self.flush(on) } else { Ok(()) }
    }

    /// Hands on what is left.
    pub(super) fn flush<E>(&mut self, on: &mut dyn FnMut(&[Record]) -> Result<(), E>) -> Result<(), E> {
        if !self.records.is_empty() {
            on(&self.records)?;
        }
        self.records.clear();
        self.octets = 0;
        Ok(())
    }
}

/// Verifies all but the blobs' octets. What is derived goes to an unnamed place in `dir`. None: the records can't be read, and
/// nothing is known of the state.
pub(super) fn journal(
    repository: &Repository,
    manifest: &Manifest,
    pins: &[Verifier],
    dir: &Path,
    faults: &mut Faults,
    show: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Option<Proof>, Failed> {
    files(repository, manifest, faults);
    let mut derived = Derived::in_dir(dir)?;
    let mut batch = Batch::new();
    // Damage is what is looked for; what the system refuses here says nothing about the backup.
    let mut apply = |records: &[Record]| derived.apply(records).map_err(store_failed);
    for part in &manifest.journal {
        let read = segment::read(&repository.part(part), part, &mut |_index, record| batch.push(record, &mut apply));
        let applied = match read {
            Ok(()) => batch.flush(&mut apply),
            Err(Wrong::Visitor(failed)) => Err(failed),
            Err(Wrong::Damaged(why)) => {
                faults.add(why);
                return Ok(None);
            }
        };
        match applied {
            Ok(()) => show("entries", part.to, manifest.size),
            Err(failed) if failed.exit == super::Exit::Data => {
                faults.add(format!("journal/{}: {}", part.file(), failed.message));
                return Ok(None);
            }
            Err(failed) => return Err(failed),
        }
    }
    let (size, root) = derived.head();
    if (size, root.to_string()) != (manifest.size, manifest.root.clone()) {
        faults
            .add(format!("journal: its {size} entries have the root {root}, but the manifest says {}", manifest.root));
    }
    if hex::encode(derived.genesis().0) != manifest.log {
        faults.add("journal: it is another log's than the manifest says".to_owned());
    }
    let signed_by = signature(manifest, (size, root), derived.keys(), pins, faults);
    list(repository, manifest, &derived, faults)?;
    let counters = derived.counters().map_err(store_failed)?;
    let (_root, state, _keys) = derived.finish().map_err(store_failed)?;
    Ok(Some(Proof { state, counters, signed_by }))
}

/// The generation's small files.
fn files(repository: &Repository, manifest: &Manifest, faults: &mut Faults) {
    let dir = repository.generation(&manifest.generation);
    for kept in &manifest.files {
        // A name that leads elsewhere is none that was written here.
        let is_plain = kept.name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let name = format!("generations/{}/{}", manifest.generation, kept.name);
        match is_plain.then(|| digest_of(&dir.join(&kept.name))) {
            Some(Ok(digest)) if digest == kept.sha256 => {}
            Some(Ok(_other)) => faults.add(format!("{name}: its SHA-256 is another than the manifest's")),
            Some(Err(error)) => faults.add(format!("{name}: {error}")),
            None => faults.add(format!("{name}: no file of a generation has such a name")),
        }
    }
}

/// Who signed the checkpoint, and that it is of these entries.
fn signature(
    manifest: &Manifest,
    head: (u64, Hash),
    keys: Option<&LogKeysRecord>,
    pins: &[Verifier],
    faults: &mut Faults,
) -> Vec<String> {
    let own: Vec<Verifier> =
        keys.into_iter().flat_map(LogKeysRecord::signing).filter_map(|key| key.parse().ok()).collect();
    let trusted = if pins.is_empty() { &own } else { pins };
    let signed = match Checkpoint::open(manifest.checkpoint.as_bytes(), trusted) {
        Ok(signed) => signed,
        Err(error) => {
            let whose = if pins.is_empty() { "the log's own keys" } else { "the keys that were given" };
            faults.add(format!("checkpoint: by {whose}: {error}"));
            return Vec::new();
        }
    };
    let Checkpoint { origin, size, root } = &signed.checkpoint;
    if (*size, *root) != head {
        faults.add(format!(
            "checkpoint: it is of {size} entries with the root {root}, but the {} entries here have the root {}",
            head.0, head.1
        ));
    }
    if keys.is_some_and(|keys| keys.origin != *origin) || manifest.origin != *origin {
        faults.add(format!("checkpoint: it is of the log {origin:?}, which is not its name"));
    }
    signers(&signed, trusted)
}

/// Which of these keys signed.
pub(super) fn signers(signed: &SignedCheckpoint, keys: &[Verifier]) -> Vec<String> {
    let has_signed = |key: &&Verifier| signed.signatures.iter().any(|it| it.name == key.name() && it.id == key.id());
    keys.iter().filter(has_signed).map(ToString::to_string).collect()
}

/// That the list of blobs is that of the records.
fn list(repository: &Repository, manifest: &Manifest, derived: &Derived, faults: &mut Faults) -> Result<(), Failed> {
    let name = format!("generations/{}/blobs", manifest.generation);
    let mut listed = match repository.list(manifest) {
        Ok(listed) => listed,
        Err(failed) if failed.exit == super::Exit::Io => return Err(failed),
        Err(failed) => {
            faults.add(format!("{name}: {}", failed.message));
            return Ok(());
        }
    };
    let mut differs = None;
    let (mut count, mut octets, mut lacking) = (0_u64, 0_u64, 0_u64);
    let compared = derived.blobs(&mut |digest, size| {
        match listed.next() {
            Some(Ok(blob)) if (blob.digest, blob.size) == (digest, size) => {
                count += 1;
                octets = octets.saturating_add(size);
                lacking += u64::from(blob.is_lacking);
                return Ok(());
            }
            Some(Ok(blob)) => differs = Some(format!("has {} where the records need {digest}", blob.digest)),
            Some(Err(error)) => differs = Some(error.to_string()),
            None => differs = Some(format!("ends before {digest}, which the records need")),
        }
        Err(StoreError::Corrupt(String::new()))
    });
    match (differs, compared) {
        (Some(why), _) => faults.add(format!("{name}: {why}")),
        (None, Err(error)) => return Err(store_failed(error)),
        (None, Ok(())) => match listed.next() {
            Some(Ok(blob)) => faults.add(format!("{name}: has {}, which no record needs", blob.digest)),
            Some(Err(error)) => faults.add(format!("{name}: {error}")),
            None if (count, octets, lacking)
                != (manifest.blobs.count, manifest.blobs.octets, manifest.blobs.lacking) =>
            {
                faults.add(format!("{name}: its totals are not the manifest's"));
            }
            None => {}
        },
    }
    Ok(())
}

/// What the blobs came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blobbed {
    /// Blobs that were read and are right.
    pub(super) right: u64,
    /// Octets that were read.
    pub(super) octets: u64,
    /// Blobs that the backup lacks, as it says itself.
    pub(super) lacking: u64,
}

/// Where blobs are, besides the backup.
pub(super) struct Places<'p> {
    /// Where those are that are only referred to.
    pub(super) referred: Option<&'p dyn Blobs>,
    /// Where they are restored to; none where they are only verified.
    pub(super) target: Option<&'p dyn Blobs>,
}

/// Reads every blob of the list, compares it with its digest, and puts it into its place. What is wrong with one is a fault,
/// and the others are gone on with.
pub(super) fn blobs(
    repository: &Repository,
    manifest: &Manifest,
    places: &Places<'_>,
    rate: Option<u64>,
    faults: &mut Faults,
    show: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Blobbed, Failed> {
    let mut sum = Blobbed::default();
    let mut copying = Copying::new(rate);
    let mut done = 0_u64;
    for blob in repository.list(manifest)? {
        let blob = blob.map_err(list_failed)?;
        done += 1;
        if done.is_multiple_of(BLOBS_A_STEP) {
            show("blobs", done, manifest.blobs.count);
        }
        let read = match (manifest.blobs.are_stored, places.referred) {
            _ if blob.is_lacking => {
                sum.lacking += 1;
                continue;
            }
            (true, _) => stored(repository, &blob, places.target, &mut copying),
            (false, Some(referred)) => in_place(referred, &blob, &mut copying),
            (false, None) => continue,
        };
        match read {
            Ok(()) => {
                sum.right += 1;
                sum.octets = sum.octets.saturating_add(blob.size);
            }
            Err(Bad::Blob(why)) => faults.add(format!("blob {}: {why}", blob.digest)),
            Err(Bad::Failed(failed)) => return Err(failed),
        }
    }
    Ok(sum)
}

/// Why a blob was not read.
enum Bad {
    /// Something is wrong with it.
    Blob(String),
    /// Nothing can be said.
    Failed(Failed),
}

impl From<BlobError> for Bad {
    fn from(error: BlobError) -> Self {
        let why = crate::error_chain(&error);
        match error {
            BlobError::NotFound(_) => Self::Blob("it is missing".to_owned()),
            BlobError::Corrupt { .. } => Self::Blob(why),
            BlobError::Full(_) => Self::Failed(Failed::new(super::Exit::Io, why)),
            BlobError::Unavailable(_) => Self::Failed(Failed::new(super::Exit::Io, why)),
            BlobError::Unreachable { .. } => Self::Failed(Failed::new(super::Exit::TempFail, why)),
        }
    }
}

fn compare(there: Digest, blob: &Blob) -> Result<(), Bad> {
    if there == blob.digest {
        return Ok(());
    }
    Err(Bad::Blob(format!("it has octets of the digest {there}")))
}

/// A blob that is where the registry keeps it.
fn in_place(place: &dyn Blobs, blob: &Blob, copying: &mut Copying) -> Result<(), Bad> {
    let reader = place.open(&blob.digest)?;
    let read = copying.hash(&mut Reading { reader: &*reader, at: 0 }, &mut io::sink());
    let there = read.map_err(|error| match error.downcast::<BlobError>() {
        Ok(error) => error.into(),
        Err(error) => Bad::Blob(format!("it can't be read: {error}")),
    })?;
    reader.evict();
    compare(there, blob)
}

/// A blob of the backup, on its way to where it is restored.
fn stored(repository: &Repository, blob: &Blob, target: Option<&dyn Blobs>, copying: &mut Copying) -> Result<(), Bad> {
    let path = repository.blob(&blob.digest);
    if let Some(target) = target
        && target.contains(&blob.digest)? == Some(blob.size)
        && in_place(target, blob, copying).is_ok()
    {
        return Ok(());
    }
    let mut file = open_file(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Bad::Blob("it is missing".to_owned()),
        ErrorKind::PermissionDenied => Bad::Failed(at(&path)(error)),
        _ => Bad::Blob(format!("it can't be read: {error}")),
    })?;
    let unreadable = |error: io::Error| Bad::Blob(format!("it can't be read: {error}"));
    let there = match target {
        None => copying.hash(&mut file, &mut io::sink()).map_err(unreadable)?,
        Some(target) => {
            let mut staged = target.stage()?;
            let mut out = Out { staged: &mut *staged, failed: None };
            let hashed = copying.hash(&mut file, &mut out);
            if let Some(error) = out.failed {
                return Err(error.into());
            }
            let there = hashed.map_err(unreadable)?;
            compare(there, blob)?;
            match target.contains(&blob.digest)? {
                // What stands there is another.
                Some(_damaged) => staged.replace(&blob.digest)?,
                None => staged.keep(&blob.digest)?,
            }
            there
        }
    };
    // A backup is read once in a while; what others read shall stay in memory.
    let _advice = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    compare(there, blob)
}

/// A staged blob as something to write to.
struct Out<'o> {
    staged: &'o mut dyn crate::blobs::Staged,
    failed: Option<BlobError>,
}

impl io::Write for Out<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self.staged.write(octets) {
            Ok(()) => Ok(octets.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the blob can't be written"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
