//! Handing out bytes. `gate` is the one place that decides whether a version's bytes may go out; every face comes through
//! here. Knows blobs by digest; refuses to know ranges, tars and connections.

use std::fs::File;
use std::io;
use std::sync::Arc;

use common::api::{State, VersionInfo};
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{ArtifactPath, ModelRef, Version};
use common::role::Permission;

use crate::blobs::{BlobError, BlobReader, HandOut};
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::pins::{Holder, PinGuard};
use crate::registry::resolve::{self, Sight};
use crate::registry::{Inner, Registry, damage, render};
use crate::store::Records;
use crate::store::records::{ModelRecord, VersionRecord};

/// A file that may be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path within the version.
    pub path: ArtifactPath,
    /// Octets.
    pub size: u64,
    /// SHA-256 of them.
    pub digest: Digest,
    /// Its format.
    pub format: String,
}

/// What would be handed out: for HEAD, conditional requests and ranges, before anything is.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The version.
    pub version: VersionInfo,
    /// The files asked for, in the order of their paths.
    pub files: Vec<FileInfo>,
}

/// What is handed out.
pub struct Download {
    /// The version.
    pub version: VersionInfo,
    /// The files asked for, in the order of their paths.
    pub files: Vec<DownloadFile>,
    /// To be kept until the last octet is sent: when dropped, the end is recorded.
    pub ticket: Ticket,
}

/// A file that is handed out.
pub struct DownloadFile {
    /// What it is.
    pub info: FileInfo,
    inner: Arc<Inner>,
    /// The first file is open already; the others wait until it is their turn, for a version may have a thousand.
    open: Option<Box<dyn BlobReader>>,
}

impl DownloadFile {
    /// Where the whole of it is below the blobs' directory, if it is a file of this machine and open already.
    pub fn place(&self) -> Option<String> {
        self.open.as_ref().and_then(|reader| reader.place())
    }

    /// Opens it, once. While the ticket lives, its bytes stay, whatever becomes of the record.
    ///
    /// # Errors
    /// `Internal`, `Corrupt`: not for the first file.
    pub async fn open(&mut self) -> Result<Box<dyn BlobReader>, RegistryError> {
        if let Some(reader) = self.open.take() {
            return Ok(reader);
        }
        let (inner, digest, size) = (Arc::clone(&self.inner), self.info.digest, self.info.size);
        let task = tokio::task::spawn_blocking(move || open(&inner, &digest, size));
        task.await.map_err(|error| RegistryError::Internal(error.into()))?
    }

    /// An address from which it can be fetched for a short time by whoever has it, where there are such; to be asked for
    /// behind the gate, as this file is.
    ///
    /// # Errors
    /// `BlobsUnreachable`, `Internal`.
    pub async fn address(&self, said: HandOut) -> Result<Option<Secret>, RegistryError> {
        let (inner, digest) = (Arc::clone(&self.inner), self.info.digest);
        let task = tokio::task::spawn_blocking(move || inner.blobs.hand_out(&digest, &said));
        Ok(task.await.map_err(|error| RegistryError::Internal(error.into()))??)
    }
}

/// A download under way. Dropped, it records how it ended.
pub struct Ticket {
    inner: Arc<Inner>,
    caller: Caller,
    target: Target,
    /// Index of the entry of its beginning.
    index: u64,
    octets_sent: u64,
    complete: bool,
    handed_over: bool,
    redirected: bool,
    _pins: PinGuard,
}

impl Ticket {
    /// Counts octets handed to the connection.
    pub fn sent(&mut self, octets: u64) {
        self.octets_sent = self.octets_sent.saturating_add(octets);
    }

    /// A proxy sends it: how much of it, and whether all of it, is not known here.
    pub fn hand_over(&mut self) {
        self.handed_over = true;
    }

    /// It is fetched elsewhere, which nobody tells us about.
    pub fn redirected(&mut self) {
        self.redirected = true;
    }

    /// All that was to be sent has been.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let note = Note::event(Action::ModelDownloadEnd, self.target.clone()).with("began", self.index);
        let note = if self.handed_over {
            note.with("sent_by", "proxy")
        } else if self.redirected {
            note.with("redirected", true)
        } else {
            note.with("octets_sent", self.octets_sent).with("complete", self.complete)
        };
        self.inner.tasks.spawn_if_running(async move {
            if let Err(failure) = inner.record(&caller, note).await {
                // The hand-out itself is in the log; that its end isn't is for the operator to know.
                tracing::warn!(error = crate::error_chain(&failure.error), "the end of a download can't be recorded");
            }
        });
    }
}

impl Registry {
    /// Whether files may be fetched from addresses of their own.
    pub fn hands_out(&self) -> bool {
        self.inner.blobs.hands_out()
    }

    /// The gate without the hand-out: what `open_download` would give. An entry only for a refusal.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Quarantined`.
    pub async fn offer_download(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Option<Version>,
        file: Option<&ArtifactPath>,
    ) -> Outcome<Offer> {
        let inner = &self.inner;
        let mut note = Note::event(Action::ModelDownload, wanted(reference, version, file));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let offer = inner.read(|view| offer(view, reference, version, file, &sight)).await;
        match offer {
            Ok(Offered { version: record, model, files }) => {
                // Nothing is handed out: where readings are recorded, this is one of metadata.
                note.action = Action::ModelRead;
                let version = render::version_info(inner.inspections.ruleset(), &model, &record);
                inner.told(caller, note, Ok(Offer { version, files })).await
            }
            Err(error) => Err(inner.refuse(caller, note, error).await),
        }
    }

    /// The gate: writes the entry, then hands out. `version` wins over what the reference selects; without a file, all of
    /// the version's files.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Quarantined`; `Corrupt` where a record's bytes are not there.
    pub async fn open_download(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Option<Version>,
        file: Option<&ArtifactPath>,
    ) -> Outcome<Download> {
        let inner = &self.inner;
        let mut note = Note::event(Action::ModelDownload, wanted(reference, version, file));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let offered = match inner.read(|view| offer(view, reference, version, file, &sight)).await {
            Ok(offered) => offered,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        describe(&mut note, &offered);
        // Pinned before it is opened, so that nothing of it vanishes until the ticket does.
        let digests: Vec<Digest> = offered.files.iter().map(|file| file.digest).collect();
        let pins = inner.pin(Holder::Reader, digests).await;
        let first = match inner.open_first(&offered.files).await {
            Ok(reader) => reader,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let target = note.target.clone();
        let (id, number) = (offered.model.id, offered.version.version);
        let work = Arc::clone(inner);
        let done = inner
            .commit(caller, note, move |records, _moment, _note| {
                // Asked again in the order of the log: no hand-out stands behind the quarantine that forbids it.
                let missing = || RegistryError::not_found(format!("version {number}"));
                let model = records.model(id)?.ok_or_else(missing)?;
                let version = records.version(id, number)?.ok_or_else(missing)?;
                gate(records, &model, &version)?;
                Ok((render::version_info(work.inspections.ruleset(), &model, &version), Vec::new()))
            })
            .await?;
        let index = done.logged.map_or(0, |logged| logged.index);
        let ticket = Ticket {
            inner: Arc::clone(inner),
            caller: caller.clone(),
            target,
            index,
            octets_sent: 0,
            complete: false,
            handed_over: false,
            redirected: false,
            _pins: pins,
        };
        let mut readers = Some(first).into_iter();
        let files =
            offered.files.into_iter().map(|info| DownloadFile { info, inner: Arc::clone(inner), open: readers.next() });
        let files = files.collect();
        Ok(done.map(|version| Download { version, files, ticket }))
    }
}

impl Inner {
    /// Opens the first file and looks whether the others are there, so that what can fail fails before the first octet.
    async fn open_first(self: &Arc<Self>, files: &[FileInfo]) -> Result<Box<dyn BlobReader>, RegistryError> {
        let inner = Arc::clone(self);
        let files: Vec<(Digest, u64)> = files.iter().map(|file| (file.digest, file.size)).collect();
        let task = tokio::task::spawn_blocking(move || {
            let Some(((first, size), others)) = files.split_first() else {
                return Err(RegistryError::not_found("file in this version"));
            };
            for (digest, size) in others {
                if inner.blobs.contains(digest)? != Some(*size) {
                    inner.scrub.suspect(*digest);
                    return Err(BlobError::NotFound(*digest).into());
                }
            }
            open(&inner, first, *size)
        });
        task.await.map_err(|error| RegistryError::Internal(error.into()))?
    }
}

/// Opens a blob whose size is known. What is wrong with it is told to the scrubber.
pub(crate) fn open(inner: &Arc<Inner>, digest: &Digest, size: u64) -> Result<Box<dyn BlobReader>, RegistryError> {
    let opened = inner.blobs.open(digest).and_then(|reader| {
        if reader.len() == size {
            return Ok(reader);
        }
        let detail = format!("it has {} octets and should have {size}", reader.len());
        Err(BlobError::Corrupt { digest: *digest, detail })
    });
    match opened {
        Ok(reader) => Ok(Box::new(Watched { inner: Arc::clone(inner), digest: *digest, reader })),
        Err(error) => {
            if says_something(&error) {
                inner.scrub.suspect(*digest);
            }
            Err(error.into())
        }
    }
}

/// Whether an error is about its blob: that the store of all of them can't be reached is not.
fn says_something(error: &BlobError) -> bool {
    !matches!(error, BlobError::Unreachable { .. })
}

/// A blob that is handed out; a read that fails is told to the scrubber.
struct Watched {
    inner: Arc<Inner>,
    digest: Digest,
    reader: Box<dyn BlobReader>,
}

impl Watched {
    fn watch(&self, read: Result<usize, BlobError>) -> Result<usize, BlobError> {
        if read.as_ref().is_err_and(says_something) {
            self.inner.scrub.suspect(self.digest);
        }
        read
    }
}

impl BlobReader for Watched {
    fn len(&self) -> u64 {
        self.reader.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
        self.watch(self.reader.read_at(offset, buf))
    }

    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Option<Result<usize, BlobError>> {
        self.reader.try_read_cached(offset, buf).map(|read| self.watch(read))
    }

    fn file(&self) -> Option<io::Result<File>> {
        self.reader.file()
    }

    fn place(&self) -> Option<String> {
        self.reader.place()
    }

    fn evict(&self) {
        self.reader.evict();
    }
}

/// What is asked for, as an entry says it before it is known whether it is there.
fn wanted(reference: &ModelRef, version: Option<Version>, file: Option<&ArtifactPath>) -> Target {
    let target = match version {
        Some(version) => resolve::version_target(reference, version),
        None => resolve::target(reference),
    };
    match file {
        Some(_) => Target { kind: "file".into(), ..target },
        None => target,
    }
}

/// What passed the gate.
struct Offered {
    model: ModelRecord,
    version: VersionRecord,
    files: Vec<FileInfo>,
}

/// Finds what is asked for and asks the gate.
fn offer(
    records: &dyn Records,
    reference: &ModelRef,
    version: Option<Version>,
    file: Option<&ArtifactPath>,
    sight: &Sight,
) -> Result<Offered, RegistryError> {
    let found = resolve::model(records, reference, sight)?;
    let record = match version {
        Some(number) => Some(resolve::version(records, &found.model, number, sight)?),
        None => resolve::selected(records, &found, &reference.select, sight)?,
    };
    let model = found.model;
    let record = record.ok_or_else(|| RegistryError::not_found(format!("version of model `{}`", model.name)))?;
    gate(records, &model, &record)?;
    let files: Vec<FileInfo> = record
        .artifacts
        .iter()
        .filter(|artifact| file.is_none_or(|path| *path == artifact.path))
        .map(|artifact| FileInfo {
            path: artifact.path.clone(),
            size: artifact.size,
            digest: artifact.digest,
            format: artifact.format.clone(),
        })
        .collect();
    if files.is_empty() {
        let path = file.map_or("", ArtifactPath::as_str);
        return Err(RegistryError::not_found(format!("file `{path}` in version {}", record.version)));
    }
    Ok(Offered { model, version: record, files })
}

/// Whether a version's bytes may go out. There is no other place that decides this.
fn gate(records: &dyn Records, model: &ModelRecord, version: &VersionRecord) -> Result<(), RegistryError> {
    if model.purged || model.deleted.is_some() {
        return Err(RegistryError::Conflict(format!("model `{}` is deleted; restore it first", model.name)));
    }
    match version.state {
        // Many versions are held back one after another; no damaged file goes out meanwhile.
        State::Available | State::Deprecated => match damage::reason_to_withhold(records, version)? {
            None => Ok(()),
            reason => Err(RegistryError::Quarantined { version: version.version, reason }),
        },
        State::Quarantined => {
            Err(RegistryError::Quarantined { version: version.version, reason: version.state_reason.clone() })
        }
        State::Deleted => {
            Err(RegistryError::Conflict(format!("version {} is deleted; restore it first", version.version)))
        }
    }
}

/// What the entry says of the hand-out.
fn describe(note: &mut Note, offered: &Offered) {
    note.target.id = offered.model.id.to_string();
    note.target.version = Some(offered.version.version.to_string());
    if note.target.kind == "model" {
        note.target.kind = "version".into();
    }
    if let [only] = offered.files.as_slice() {
        note.target.kind = "file".into();
        note.target.digest = Some(only.digest.to_string());
        note.target.size = Some(only.size);
        note.say("path", only.path.as_str());
    }
    note.say("files", offered.files.len());
    note.say("size_bytes", offered.files.iter().map(|file| file.size).sum::<u64>());
    note.say("state", offered.version.state.as_str());
}
