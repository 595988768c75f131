//! One taken item on its way to a version: read, hashed, published, and moved on. Knows the order of the steps and what a
//! crash leaves after each; refuses to know when an item's turn is.
//!
//! | after | a crash leaves | the next start |
//! |---|---|---|
//! | the take | the item in `processing/`, no record | begins here anew |
//! | any part of reading and inspecting | the same, and staged bytes that vanish | the same |
//! | the commit | the item in `processing/`, its record | only finishes |
//! | the receipt, the move | parts of `done/` or `rejected/`, its record | repeats the finish, which comes to the same |
//! | the finish | its record | forgets it |

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::api::{IngestKind, State};
use common::digest::Digest;
use common::name::{ItemId, ModelId, ModelName, NameError, Version};
use common::role::{Permission, Role};
use tokio::sync::{mpsc, watch};

use crate::config::ingest::DropFolder;
use crate::http::server::raised;
use crate::ingest::documents::{self, Stays};
use crate::ingest::lanes::{Kind, Lanes, Seen, TakeError};
use crate::ingest::names::{NameKind, Place, checksum_of, kind_of, sidecar_of};
use crate::ingest::settle::Writer;
use crate::ingest::sidecar::{self, CHECKSUM_OCTETS_MAX, SIDECAR_OCTETS_MAX, Sidecar};
use crate::ingest::table::Progress;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::ingest::{Dropper, Item};
use crate::registry::publish::{PublishForm, PublishedVersion, Source};
use crate::registry::upload::{FileSink, StagedFile, Upload};
use crate::store::records::{IngestOutcome, IngestRecord};
use crate::{clock, error_chain};

/// Octets of one read.
const READ_OCTETS: usize = 256 * 1024;
/// Reads that may wait to be written.
const READS_AHEAD: usize = 2;

/// What a taken item is, as far as can be told without reading its files.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) seen: Seen,
    pub(crate) kind: IngestKind,
    /// Its files, as the lanes name them.
    pub(crate) files: Vec<PathBuf>,
    /// The model's name.
    pub(crate) name: Option<ModelName>,
    sidecar: Sidecar,
    sha256: Option<Digest>,
    pub(crate) writer: Writer,
    /// Why it is refused, if that is known already.
    refusal: Option<Arc<RegistryError>>,
}

impl Prepared {
    /// Whether it is refused whatever is in it: nothing of it is read.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }
}

/// Why an item can't be prepared.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// It is no longer in `processing/`.
    Gone,
    /// It changes.
    Changed,
    /// The file system failed.
    Io(io::Error),
}

/// The names of sidecars that may lie beside an item.
pub(crate) fn sidecar_names(name: &std::ffi::OsStr) -> Vec<OsString> {
    vec![sidecar_of(name), checksum_of(name)]
}

/// Looks at a taken item and reads its sidecars. `beside`: those that were taken along, where that is known. Blocks.
pub(crate) fn prepare(
    lanes: &Lanes,
    item: ItemId,
    place: &Place,
    beside: Option<&[OsString]>,
) -> Result<Prepared, Unprepared> {
    let seen = lanes.look_taken(item, place).map_err(Unprepared::Io)?.ok_or(Unprepared::Gone)?;
    let is_sidecar = matches!(kind_of(&place.name), NameKind::Sidecar(_) | NameKind::Checksum(_));
    let kind = match seen.kind {
        Kind::File if is_sidecar => IngestKind::Sidecar,
        Kind::File => IngestKind::File,
        Kind::Folder => IngestKind::Folder,
        Kind::Other(_) => IngestKind::Other,
    };
    let mut prepared = Prepared {
        seen,
        kind,
        files: Vec::new(),
        name: None,
        sidecar: Sidecar::default(),
        sha256: None,
        writer: Writer::Unknown,
        refusal: None,
    };
    match look_into(lanes, item, place, beside, &mut prepared) {
        Ok(()) => {}
        Err(Stopped::Refused(error)) => prepared.refusal = Some(Arc::new(error)),
        Err(Stopped::Changed) => return Err(Unprepared::Changed),
        Err(Stopped::Io(error)) => return Err(Unprepared::Io(error)),
    }
    Ok(prepared)
}

enum Stopped {
    Refused(RegistryError),
    Changed,
    Io(io::Error),
}

impl From<TakeError> for Stopped {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Refused(why) => refused("file", why),
            TakeError::Changed => Self::Changed,
            TakeError::Io(error) => Self::Io(error),
        }
    }
}

fn refused(loc: &str, msg: impl Into<String>) -> Stopped {
    Stopped::Refused(RegistryError::invalid(loc, msg))
}

fn look_into(
    lanes: &Lanes,
    item: ItemId,
    place: &Place,
    beside: Option<&[OsString]>,
    prepared: &mut Prepared,
) -> Result<(), Stopped> {
    match prepared.seen.kind {
        Kind::Other(what) => {
            return Err(refused("file", format!("it is a {what}; only regular files and folders are taken in")));
        }
        Kind::File if prepared.seen.links > 1 => {
            return Err(refused(
                "file",
                format!(
                    "it has {} names (hard links), so it could be changed by another of them; copy it instead",
                    prepared.seen.links
                ),
            ));
        }
        Kind::File | Kind::Folder => {}
    }
    if prepared.kind == IngestKind::Sidecar {
        return Err(refused("sidecar", "the file that it speaks of was not there for a day"));
    }
    if let Some(why) = prepared.seen.tree.as_ref().and_then(|tree| tree.hostile.clone()) {
        return Err(refused("file", why));
    }
    prepared.writer = lanes.writer_taken(item, place);
    prepared.files = lanes.files(item, place)?;
    let names = match beside {
        Some(beside) => beside.to_vec(),
        None => lanes.taken_along(item, place).map_err(Stopped::Io)?,
    };
    let own_name = place.name.to_string_lossy().into_owned();
    let mut checksum = None;
    let is_checksum_file = |name: &OsString| matches!(kind_of(name), NameKind::Checksum(_));
    let checksums = names.iter().filter(|name| is_checksum_file(name)).count();
    if checksums > 1 || names.len() - checksums > 1 {
        let names: Vec<String> = names.iter().map(|name| shown_name(name)).collect();
        let msg = format!("there are several of one kind, where one is to speak of the file: `{}`", names.join("`, `"));
        return Err(refused(if checksums > 1 { "sha256" } else { "sidecar" }, msg));
    }
    for name in &names {
        let is_checksum = is_checksum_file(name);
        let (loc, octets_max) =
            if is_checksum { ("sha256", CHECKSUM_OCTETS_MAX) } else { ("sidecar", SIDECAR_OCTETS_MAX) };
        let found = match lanes.sidecar(item, place, name, octets_max) {
            Ok(found) => found,
            Err(TakeError::Refused(why)) => return Err(refused(loc, why)),
            Err(error) => return Err(error.into()),
        };
        let Some((octets, seen)) = found else { continue };
        if seen.owner_uid != prepared.seen.owner_uid {
            let msg = format!(
                "`{}` belongs to the user {}, and the file to {}: both must have the same owner",
                shown_name(name),
                seen.owner_uid,
                prepared.seen.owner_uid
            );
            return Err(refused(loc, msg));
        }
        if is_checksum {
            let digest = sidecar::parse_checksum(&octets, &own_name).map_err(|why| refused("sha256", why))?;
            checksum = Some(digest);
        } else {
            prepared.sidecar = sidecar::parse(&octets).map_err(|why| refused("sidecar", why))?;
        }
    }
    prepared.sha256 = match (prepared.sidecar.sha256, checksum) {
        (Some(one), Some(other)) if one != other => {
            return Err(refused("sha256", "the sidecar and the checksum file promise different digests"));
        }
        (one, other) => one.or(other),
    };
    if prepared.sha256.is_some() && prepared.kind == IngestKind::Folder {
        return Err(refused("sha256", "a folder has no digest; a digest can be promised for a file only"));
    }
    prepared.name = Some(model_name(place, prepared.kind, &prepared.sidecar)?);
    Ok(())
}

/// The model's name: the sidecar's, in the folder's namespace unless it names one; else what follows from the item's.
fn model_name(place: &Place, kind: IngestKind, sidecar: &Sidecar) -> Result<ModelName, Stopped> {
    let name = match &sidecar.name {
        Some(name) => place.in_namespace(name.clone()),
        None => name_of(place, kind),
    };
    name.map_err(|error| refused("name", error.to_string()))
}

/// The model's name that follows from an item's.
pub(crate) fn name_of(place: &Place, kind: IngestKind) -> Result<ModelName, NameError> {
    match kind {
        IngestKind::Folder => place.folder_model_name(),
        IngestKind::File | IngestKind::Sidecar | IngestKind::Other => place.model_name(),
    }
}

/// What working on any item needs.
pub(crate) struct Context {
    pub(crate) registry: Arc<Registry>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) settings: Arc<DropFolder>,
    /// Turns true when work is to be left where it stands.
    pub(crate) leave: watch::Receiver<bool>,
}

/// One item to work on.
pub(crate) struct Work {
    pub(crate) id: ItemId,
    pub(crate) place: Place,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) progress: Arc<Progress>,
    /// Whether a record may be there from before.
    pub(crate) may_be_decided: bool,
}

/// What an item came to; the log has it, and only the moving is left.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) record: IngestRecord,
    /// What is written beside it.
    document: Vec<u8>,
    pub(crate) came_to: CameTo,
    pub(crate) by: String,
}

#[derive(Debug)]
pub(crate) enum CameTo {
    Version { name: Option<String>, model: ModelId, version: Version, quarantined: bool, already_present: bool },
    Refused { problem: Option<String>, detail: String },
}

/// What the work on an item came to.
#[derive(Debug)]
pub(crate) enum Worked {
    /// Decided: the log has it, and it is to be moved.
    Decided(Arc<Decided>),
    /// It changed while it was read: it must settle again.
    Changed(String),
    /// There is no room.
    Full(String),
    /// It may go better another time; the sentence says what went wrong.
    Failed(String),
    /// The daemon stops.
    Left,
}

/// Works on an item until it is decided, or until something stands in the way.
pub(crate) async fn run(context: Arc<Context>, work: Work) -> (ItemId, Worked) {
    let worked = match decide(&context, &work).await {
        Ok(decided) => Worked::Decided(Arc::new(decided)),
        Err(worked) => worked,
    };
    (work.id, worked)
}

/// Moves a decided item to where it belongs, durably, and has its record forgotten. Gives where it lies, below the drop
/// folder. Blocks.
pub(crate) fn finish(context: &Context, id: ItemId, place: &Place, decided: &Decided) -> io::Result<PathBuf> {
    let date = date(decided.record.at_ms);
    let (lanes, document) = (&context.lanes, &decided.document);
    let lies = match decided.came_to {
        CameTo::Version { .. } => lanes.finish(id, place, document, &date, context.settings.keep_done),
        CameTo::Refused { .. } => lanes.reject(id, place, document, &date),
    }?;
    context.registry.forget_ingests(vec![id]);
    Ok(lies)
}

/// The day of an instant, in UTC: `2026-11-29`.
pub(crate) fn date(at_ms: i64) -> String {
    clock::rfc3339(at_ms).chars().take("yyyy-mm-dd".len()).collect()
}

async fn decide(context: &Arc<Context>, work: &Work) -> Result<Decided, Worked> {
    if work.may_be_decided
        && let Some(record) = context.registry.ingest_record(work.id).await.map_err(|error| failed(work, &error))?
    {
        return decided_before(context, work, record).await;
    }
    let prepared = &work.prepared;
    let uid = prepared.seen.owner_uid;
    let caller = match dropper_of(&context.settings, uid) {
        Some(dropper) => context.registry.dropper(&dropper).await,
        None => Err(RegistryError::NoDropper(format!(
            "nobody acts for files of the user {uid} of this machine; the operator can name somebody in MREG_DROP_USERS, or \
             give the drop folder a role with MREG_DROP_ROLE"
        ))),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => return refuse_or_fail(context, work, None, error).await,
    };
    if let Some(error) = &prepared.refusal {
        return refuse(context, work, Some(&caller), error).await;
    }
    let Some(name) = prepared.name.clone() else {
        return Err(Worked::Failed("it was not looked at".to_owned()));
    };
    let size = prepared.seen.size;
    // Asked first here, so that an item that waits for room does not write an entry each time it looks for it.
    match context.registry.space().await {
        Ok(space) => {
            let needed = context.registry.settings().min_free_bytes.saturating_add(size);
            let may_come = caller.may_on(Permission::ModelWrite, &name);
            if may_come && space.free_bytes < needed && size <= context.registry.settings().upload_bytes_max {
                return Err(no_room(needed, space.free_bytes));
            }
        }
        Err(error) => return Err(failed(work, &error)),
    }
    let upload = match context.registry.begin_upload(&caller, Some(&name), Some(size)).await {
        Ok(upload) => upload,
        Err(failure) => return refuse_or_fail(context, work, Some(&caller), failure.error).await,
    };
    let mut upload = Guarded(Some(upload));
    let digest = match read_all(context, work, &mut upload).await {
        Ok(digest) => digest,
        Err(Unread::Changed(why)) => return Err(Worked::Changed(why)),
        Err(Unread::Left) => return Err(Worked::Left),
        Err(Unread::Io(error)) => {
            tracing::warn!(path = shown(&work.place), %error, "an item of the drop folder can't be read");
            return Err(Worked::Failed(format!("it can't be read: {error}")));
        }
        Err(Unread::Registry(error)) => {
            let error = upload.fail(error).await;
            return refuse_or_fail(context, work, Some(&caller), error).await;
        }
    };
    let item = item_of(work, digest, Some(&work.progress));
    let form = PublishForm {
        name: Some(name),
        description: prepared.sidecar.description.clone(),
        tags: prepared.sidecar.tags.clone(),
        metadata: prepared.sidecar.metadata.clone(),
        alias: prepared.sidecar.alias.clone(),
        sha256: prepared.sha256,
        source: Source::Drop,
        item: Some(item),
        ..PublishForm::default()
    };
    let Some(upload) = upload.take() else { return Err(Worked::Left) };
    match context.registry.publish(&caller, upload, form).await {
        Ok(done) => {
            let record = match context.registry.ingest_record(work.id).await {
                Ok(Some(record)) => record,
                // It is a version; that much the next attempt finds out.
                Ok(None) => return Err(Worked::Failed("its record is not there".to_owned())),
                Err(error) => return Err(failed(work, &error)),
            };
            let receipt = match done.receipt {
                Some(receipt) => receipt,
                None => context.registry.ingest_receipt(&record).await.map_err(|error| failed(work, &error))?,
            };
            Ok(published(record, &done.value, receipt, &caller))
        }
        Err(failure) => refuse_or_fail(context, work, Some(&caller), failure.error).await,
    }
}

/// Who acts for files of a user of the machine; none: nobody.
pub(crate) fn dropper_of(settings: &DropFolder, uid: u32) -> Option<Dropper> {
    match settings.users.get(&uid) {
        Some(user) => Some(Dropper::User(user.clone())),
        None => settings.role.map(Dropper::Watcher),
    }
}

/// The item, as the registry records it.
pub(crate) fn item_of(work: &Work, digest: Option<Digest>, progress: Option<&Arc<Progress>>) -> Item {
    item(work.id, &work.place, work.prepared.kind, &work.prepared.seen, digest, progress)
}

/// The same of what was not taken.
pub(crate) fn item(
    id: ItemId,
    place: &Place,
    kind: IngestKind,
    seen: &Seen,
    digest: Option<Digest>,
    progress: Option<&Arc<Progress>>,
) -> Item {
    Item {
        id,
        path: place.shown(),
        kind,
        device: seen.device,
        inode: seen.inode,
        owner_uid: seen.owner_uid,
        size: seen.size,
        digest,
        stage: progress.map(|progress| progress.stage.clone()),
    }
}

/// Its path, safe to show.
pub(crate) fn shown(place: &Place) -> String {
    common::shown::shown(&place.shown(), common::name::PATH_OCTETS_MAX)
}

/// A name from outside, safe to show.
pub(crate) fn shown_name(name: &std::ffi::OsStr) -> String {
    common::shown::shown(&name.to_string_lossy(), common::name::PATH_OCTETS_MAX)
}

fn failed(work: &Work, error: &RegistryError) -> Worked {
    tracing::warn!(path = shown(&work.place), error = error_chain(error), "an item of the drop folder has to wait");
    Worked::Failed(error.to_string())
}

fn no_room(needed: u64, free: u64) -> Worked {
    Worked::Full(format!("there is no room for it: {needed} octets must be free before, and {free} are"))
}

fn published(
    record: IngestRecord,
    published: &PublishedVersion,
    receipt: common::audit::Receipt,
    by: &Caller,
) -> Decided {
    let version = &published.version;
    Decided {
        document: documents::receipt(&record, published, receipt),
        came_to: CameTo::Version {
            name: Some(version.name.to_string()),
            model: version.id,
            version: version.version,
            quarantined: version.state == State::Quarantined,
            already_present: published.already_present,
        },
        by: by.actor.name.clone(),
        record,
    }
}

/// An item whose record was there: a crash came between the commit and the moving.
async fn decided_before(context: &Arc<Context>, work: &Work, record: IngestRecord) -> Result<Decided, Worked> {
    let registry = &context.registry;
    let by = Caller { actor: crate::registry::access::Actor::system(), request: None };
    match &record.outcome {
        IngestOutcome::Published { model, version, .. } => match registry.ingest_published(&record).await {
            Ok((version, receipt)) => Ok(published(record, &version, receipt, &by)),
            Err(RegistryError::NotFound { .. }) => Ok(Decided {
                document: documents::receipt_of_purged(&record),
                came_to: CameTo::Version {
                    name: None,
                    model: *model,
                    version: *version,
                    quarantined: false,
                    already_present: false,
                },
                by: by.actor.name,
                record,
            }),
            Err(error) => Err(failed(work, &error)),
        },
        IngestOutcome::Rejected { .. } | IngestOutcome::Discarded { .. } => {
            refused_as(context, record, None, by.actor.name).await.map_err(|error| failed(work, &error))
        }
    }
}

/// A refusal that is recorded, with its document.
pub(crate) async fn refused_as(
    context: &Context,
    record: IngestRecord,
    error: Option<&RegistryError>,
    by: String,
) -> Result<Decided, RegistryError> {
    let receipt = context.registry.ingest_receipt(&record).await?;
    let document = documents::rejection(&record, error, Some(receipt));
    let problem = match &record.outcome {
        IngestOutcome::Rejected { problem, .. } => Some(problem.clone()),
        IngestOutcome::Discarded { .. } | IngestOutcome::Published { .. } => None,
    };
    Ok(Decided {
        document: documents::pretty(&document),
        came_to: CameTo::Refused { problem, detail: document.problem.detail },
        by,
        record,
    })
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chance {
    /// Without anybody doing anything.
    Later,
    /// When there is room.
    WithRoom,
    /// Never, as it is.
    None,
}

/// Without a wildcard: a new error does not build until it is decided.
fn chance(error: &RegistryError) -> Chance {
    match error {
        RegistryError::AuditUnavailable
        | RegistryError::AuditUnknown(_)
        | RegistryError::Internal(_)
        | RegistryError::Corrupt(_)
        | RegistryError::Interrupted
        | RegistryError::TimedOut
        | RegistryError::TooManyRequests { .. }
        | RegistryError::BlobsUnreachable { .. }
        | RegistryError::Overloaded(_)
        | RegistryError::Busy { .. } => Chance::Later,
        RegistryError::StorageFull | RegistryError::AuditFull(_) => Chance::WithRoom,
        RegistryError::Unauthenticated
        | RegistryError::BadCredentials
        | RegistryError::Forbidden { .. }
        | RegistryError::ForbiddenOn { .. }
        | RegistryError::ForbiddenForAll { .. }
        | RegistryError::OutOfScope { .. }
        | RegistryError::OutOfNames { .. }
        | RegistryError::OperatorOnly
        | RegistryError::SessionOnly
        | RegistryError::NoDropper(_)
        | RegistryError::PasswordChangeRequired
        | RegistryError::SecondFactorRequired
        | RegistryError::EnrolmentRequired
        | RegistryError::NotFound { .. }
        | RegistryError::Conflict(_)
        | RegistryError::PreconditionFailed
        | RegistryError::Invalid(_)
        | RegistryError::DigestMismatch { .. }
        | RegistryError::WeakPassword(_)
        | RegistryError::IdempotencyKeyReused
        | RegistryError::Quarantined { .. }
        | RegistryError::Malicious { .. }
        | RegistryError::QuotaExceeded(_)
        | RegistryError::UploadGone(_)
        | RegistryError::UploadBusy
        | RegistryError::ChecksumMismatch
        | RegistryError::TooLarge { .. } => Chance::None,
    }
}

async fn refuse_or_fail(
    context: &Arc<Context>,
    work: &Work,
    caller: Option<&Caller>,
    error: RegistryError,
) -> Result<Decided, Worked> {
    match chance(&error) {
        Chance::Later => Err(failed(work, &error)),
        Chance::WithRoom => Err(Worked::Full(error.to_string())),
        Chance::None => refuse(context, work, caller, &error).await,
    }
}

/// Refuses it for good.
async fn refuse(
    context: &Arc<Context>,
    work: &Work,
    caller: Option<&Caller>,
    error: &RegistryError,
) -> Result<Decided, Worked> {
    let item = item_of(work, None, None);
    let record = reject(context, caller, item, error).await.map_err(|failure| match chance(&failure.error) {
        Chance::WithRoom => Worked::Full(failure.error.to_string()),
        Chance::Later | Chance::None => failed(work, &failure.error),
    })?;
    let by = caller.map_or_else(|| "watcher".to_owned(), |caller| caller.actor.name.clone());
    refused_as(context, record, Some(error), by).await.map_err(|error| failed(work, &error))
}

/// Records that an item is refused; without a caller in the name of the drop folder itself.
pub(crate) async fn reject(
    context: &Context,
    caller: Option<&Caller>,
    item: Item,
    error: &RegistryError,
) -> Result<IngestRecord, Failure> {
    let registry = &context.registry;
    let watcher;
    let caller = match caller {
        Some(caller) => caller,
        None => {
            watcher = registry.dropper(&Dropper::Watcher(context.settings.role.unwrap_or(Role::Viewer))).await?;
            &watcher
        }
    };
    Ok(registry.reject_item(caller, item, error).await?.value)
}

/// Writes the document of an item that is refused where it lies. Gives its path in `rejected/`.
pub(crate) async fn note(
    context: &Context,
    place: Place,
    record: &IngestRecord,
    error: &RegistryError,
    stays: Stays,
) -> io::Result<PathBuf> {
    let receipt = context.registry.ingest_receipt(record).await.inspect_err(|error| {
        tracing::warn!(item = %record.item, error = error_chain(error), "a refusal has no proof from the log");
    });
    let mut rejection = documents::rejection(record, Some(error), receipt.ok());
    rejection.stays = Some(stays);
    let (document, date, item) = (documents::pretty(&rejection), date(record.at_ms), record.item);
    let lanes = Arc::clone(&context.lanes);
    let noted = tokio::task::spawn_blocking(move || lanes.note(item, &place, &document, &date)).await;
    noted.map_err(io::Error::other)?
}

/// An upload that leaves no entry when the daemon stops in the middle of it: nobody has interrupted anything, and the next
/// start begins anew.
struct Guarded(Option<Upload>);

impl Guarded {
    fn take(mut self) -> Option<Upload> {
        self.0.take()
    }

    async fn fail(mut self, error: RegistryError) -> RegistryError {
        match self.0.take() {
            Some(upload) => upload.fail(error).await.error,
            None => error,
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(upload) = self.0.take() {
            upload.leave();
        }
    }
}

enum Unread {
    Changed(String),
    Left,
    Io(io::Error),
    Registry(RegistryError),
}

impl From<RegistryError> for Unread {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Reads all files into the upload. Gives the digest of a single file.
async fn read_all(context: &Arc<Context>, work: &Work, upload: &mut Guarded) -> Result<Option<Digest>, Unread> {
    let Some(upload) = &mut upload.0 else { return Err(Unread::Left) };
    let prepared = &work.prepared;
    if let (IngestKind::File, [path]) = (prepared.kind, prepared.files.as_slice())
        && prepared.seen.size <= READ_OCTETS as u64
    {
        return read_small(context, work, path.clone(), upload).await.map(Some);
    }
    let mut digest = None;
    for path in &prepared.files {
        let staged = read_one(context, work, path.clone(), upload).await?;
        digest = (prepared.kind == IngestKind::File).then(|| staged.digest());
        upload.add(staged);
    }
    let (on_thread, id, place) = (Arc::clone(context), work.id, work.place.clone());
    let after = tokio::task::spawn_blocking(move || on_thread.lanes.look_taken(id, &place)).await;
    let after = after.map_err(|error| Unread::Io(io::Error::other(error)))?.map_err(Unread::Io)?;
    if after.as_ref() != Some(&prepared.seen) {
        return Err(Unread::Changed("it changed while it was read".to_owned()));
    }
    Ok(digest)
}

/// A file that one read has room for is read and looked at again in one go: where there are thousands, it is the changes
/// from thread to thread that take the time.
async fn read_small(context: &Arc<Context>, work: &Work, path: PathBuf, upload: &mut Upload) -> Result<Digest, Unread> {
    let (on_thread, id, place) = (Arc::clone(context), work.id, work.place.clone());
    let seen = work.prepared.seen.clone();
    let task = tokio::task::spawn_blocking(move || {
        let reads = RefCell::new(Vec::new());
        let send = |read| {
            reads.borrow_mut().push(read);
            true
        };
        read_on_thread(&on_thread.lanes, id, &place, &path, seen.owner_uid, &send)?;
        match on_thread.lanes.look_taken(id, &place).map_err(Unread::Io)? {
            Some(after) if after == seen => Ok(reads.into_inner()),
            Some(_) | None => Err(Unread::Changed("it changed while it was read".to_owned())),
        }
    });
    let mut leave = context.leave.clone();
    let reads = tokio::select! {
        biased;
        () = raised(&mut leave) => return Err(Unread::Left),
        reads = task => reads.map_err(|error| Unread::Io(io::Error::other(error)))??,
    };
    let mut sink = None;
    for read in reads {
        if let Some(staged) = take_read(read, &mut sink, work, upload).await? {
            let digest = staged.digest();
            upload.add(staged);
            return Ok(digest);
        }
    }
    Err(Unread::Registry(RegistryError::internal("a file has no end")))
}

/// Hands on what was read; gives the file when it is whole.
async fn take_read(
    read: Read,
    sink: &mut Option<FileSink>,
    work: &Work,
    upload: &mut Upload,
) -> Result<Option<StagedFile>, Unread> {
    match (read, &mut *sink) {
        (Read::Opened(path), None) => *sink = Some(upload.file(&path).await?),
        (Read::Octets(octets), Some(sink)) => {
            let count = octets.len() as u64;
            sink.write(octets).await?;
            work.progress.octets.fetch_add(count, Ordering::Relaxed);
        }
        (Read::End, Some(_)) => {
            if let Some(sink) = sink.take() {
                return Ok(Some(sink.finish().await?));
            }
        }
        (Read::Error(error), _) => return Err(error),
        (Read::Opened(_), Some(_)) | (Read::Octets(_) | Read::End, None) => {
            return Err(Unread::Registry(RegistryError::internal("the parts of a file came out of order")));
        }
    }
    Ok(None)
}

/// What the reading thread hands over.
enum Read {
    /// First: what the file is called in the version, and its octets.
    Opened(String),
    Octets(Bytes),
    /// Last, where all went well.
    End,
    Error(Unread),
}

async fn read_one(
    context: &Arc<Context>,
    work: &Work,
    path: PathBuf,
    upload: &mut Upload,
) -> Result<StagedFile, Unread> {
    let (sender, mut reads) = mpsc::channel(READS_AHEAD);
    let (on_thread, id, place) = (Arc::clone(context), work.id, work.place.clone());
    let owner_uid = work.prepared.seen.owner_uid;
    // Ends by itself when nobody takes what it reads.
    let thread = tokio::task::spawn_blocking(move || {
        let send = |read| sender.blocking_send(read).is_ok();
        if let Err(error) = read_on_thread(&on_thread.lanes, id, &place, &path, owner_uid, &send) {
            send(Read::Error(error));
        }
    });
    let mut leave = context.leave.clone();
    let mut sink = None;
    loop {
        let read = tokio::select! {
            biased;
            () = raised(&mut leave) => return Err(Unread::Left),
            read = reads.recv() => read,
        };
        let Some(read) = read else {
            let ended = thread.await;
            let cause = ended.err().map_or_else(|| io::Error::other("the thread ended early"), io::Error::other);
            return Err(Unread::Io(cause));
        };
        if let Some(staged) = take_read(read, &mut sink, work, upload).await? {
            return Ok(staged);
        }
    }
}

/// Opens a file and reads all of it. `send` says whether anybody still wants it.
fn read_on_thread(
    lanes: &Lanes,
    id: ItemId,
    place: &Place,
    path: &std::path::Path,
    owner_uid: u32,
    send: &impl Fn(Read) -> bool,
) -> Result<(), Unread> {
    let opened = lanes.open_file(id, place, path).map_err(|error| match error {
        TakeError::Refused(why) => Unread::Registry(RegistryError::invalid("file", why)),
        TakeError::Changed => Unread::Changed("it changed while it was read".to_owned()),
        TakeError::Io(error) => Unread::Io(error),
    })?;
    let name = opened.path.map_err(|bad| RegistryError::Invalid(vec![bad]))?;
    if opened.seen.owner_uid != owner_uid {
        let msg = format!(
            "`{name}` belongs to the user {}, and the folder to {owner_uid}: all in a folder must have the same owner",
            opened.seen.owner_uid
        );
        return Err(RegistryError::invalid("file", msg).into());
    }
    if !send(Read::Opened(name.to_string())) {
        return Ok(());
    }
    let mut file = opened.file;
    let mut octets_read = 0_u64;
    loop {
        // One more than is left, so that the end is seen by the same read.
        let left = opened.seen.size.saturating_sub(octets_read).saturating_add(1);
        let mut buffer = vec![0; usize::try_from(left).map_or(READ_OCTETS, |left| left.min(READ_OCTETS))];
        let count = match file.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unread::Io(error)),
        };
        if count == 0 {
            break;
        }
        octets_read = octets_read.saturating_add(count as u64);
        if octets_read > opened.seen.size {
            return Err(Unread::Changed("it grew while it was read".to_owned()));
        }
        buffer.truncate(count);
        if !send(Read::Octets(Bytes::from(buffer))) {
            return Ok(());
        }
    }
    if octets_read != opened.seen.size {
        return Err(Unread::Changed("it became shorter while it was read".to_owned()));
    }
    send(Read::End);
    Ok(())
}
