//! A new version: rules, inspection, gate, bytes, record. Knows what makes a version; refuses to know how its bytes came in.
//!
//! Order: the files are staged already. They are inspected; their digests are pinned; their bytes become durable; the
//! record and its entry are one commit; the pins go. A crash leaves at worst bytes that nothing points to, which the next
//! start sweeps. All of it runs in a task of its own, so that a client that goes away can't stop it halfway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use common::api::{IngestKind, Origin, State, VersionInfo};
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{Alias, ModelId, ModelName, Version};
use common::role::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use crate::blobs::BlobError;
use crate::registry::access::Caller;
use crate::registry::alias;
use crate::registry::change::is_blocked;
use crate::registry::commit::{Decided, Note};
use crate::registry::damage;
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::grants;
use crate::registry::ingest::{Item, Stage};
use crate::registry::inspection::{Inspected, format_of, is_companion, latest_of, rules_of, said, with_claims};
use crate::registry::pins::Holder;
use crate::registry::policy::{self, Ruling};
use crate::registry::quota::Claim;
use crate::registry::resolve::UNTOLD;
use crate::registry::resumable::Held;
use crate::registry::resumable::record::Ended;
use crate::registry::text::{self, Refused};
use crate::registry::tokens;
use crate::registry::upload::{StagedFile, Upload};
use crate::registry::{Inner, Registry, render};
use crate::store::records::{
    ArtifactRecord, FindingRecord, IngestOutcome, InspectionRecord, MetadatumRecord, ModelRecord, VersionRecord, Write,
};
use crate::store::{Moment, Records};
use crate::traces;

/// Digests that an entry names.
const DIGESTS_SAID_MAX: usize = 50;
/// Resumable uploads that an entry names.
const UPLOADS_SAID_MAX: usize = 50;
/// Findings that come with a refusal.
const FINDINGS_TOLD_MAX: usize = 50;
/// Versions looked up at once that have a file.
const HOLDERS_AT_ONCE: usize = 256;
/// Warnings that come with an answer.
pub(crate) const WARNINGS_MAX: usize = 50;

/// Where a version came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The REST interface.
    #[default]
    Api,
    /// The drop folder.
    Drop,
    /// The MLflow interface.
    Mlflow,
    /// The Hugging Face interface.
    Hf,
}

impl Source {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Drop => "drop",
            Self::Mlflow => "mlflow",
            Self::Hf => "hf",
        }
    }
}

/// What an uploader says besides the files.
#[derive(Debug, Clone, Default)]
pub struct PublishForm {
    /// The model's name; without it the first file's name decides.
    pub name: Option<ModelName>,
    /// The number; without it the next.
    pub version: Option<Version>,
    /// What to say about the version, and about the model if this creates it.
    pub description: Option<String>,
    /// Tags to add to the model's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Claims about the version, top-level keys of a JSON object.
    pub metadata: Option<Map<String, Value>>,
    /// An alias to point at the version.
    pub alias: Option<Alias>,
    /// The digest the one file must have.
    pub sha256: Option<Digest>,
    /// A new version even if the bytes are the latest version's.
    pub force_new_version: bool,
    /// Where it came in.
    pub source: Source,
    /// Warnings to hand on, such as parts that were ignored.
    pub warnings: Vec<String>,
    /// The item of the drop folder it is: it becomes a version once, whatever happens in between.
    pub item: Option<Item>,
}

/// A version after its upload; becomes `Published` with the receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedVersion {
    /// The version.
    pub version: VersionInfo,
    /// Its revision.
    pub revision: u64,
    /// Whether the same bytes were there already.
    pub already_present: bool,
    /// Notes for the uploader.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Makes a version of what was uploaded.
    ///
    /// # Errors
    /// What `require` says; `Invalid`, `DigestMismatch`, `Conflict`, `QuotaExceeded`, `StorageFull`, `IdempotencyKeyReused`; for an item
    /// `NoDropper`. Nothing is kept then, and the failure carries its entry.
    pub async fn publish(&self, caller: &Caller, mut upload: Upload, form: PublishForm) -> Outcome<PublishedVersion> {
        if let Some(item) = &form.item {
            upload.of_item(item);
        }
        if let Err(error) = caller.require(Permission::ModelWrite) {
            return Err(upload.fail(error).await);
        }
        let (inner, caller) = (Arc::clone(&self.inner), caller.clone());
        let work = async move { inner.publish(&caller, upload, form).await };
        let task = self.inner.tasks.spawn(work.instrument(traces::current()));
        task.await.map_err(|error| RegistryError::Internal(error.into()))?
    }
}

/// All that is known before the state is looked at.
struct Plan {
    name: ModelName,
    /// Random part of the id that a new model gets.
    id_bits: u128,
    form: PublishForm,
    /// In the order of their paths.
    artifacts: Vec<ArtifactRecord>,
    size: u64,
    inspected: Inspected,
    /// Its time is that of the commit.
    inspection: InspectionRecord,
    ruling: Ruling,
    metadata: BTreeMap<String, MetadatumRecord>,
    warnings: Vec<String>,
    by: String,
    by_id: String,
    /// Whether that one sees all models.
    sees_all: bool,
}

impl Inner {
    async fn publish(
        self: &Arc<Self>,
        caller: &Caller,
        mut upload: Upload,
        form: PublishForm,
    ) -> Outcome<PublishedVersion> {
        let (octets, claim) = (upload.octets_received(), upload.claim());
        let files = upload.take_files();
        let resumed = upload.take_resumed();
        let first_path = files.first().map(|file| file.path.clone());
        let named = form.name.clone().or_else(|| ModelName::from_filename(first_path.as_ref()?.as_str()).ok());
        let target = Target::new("model", named.as_ref().map_or(UNTOLD, ModelName::as_str));
        let mut note = Note::change(Action::ModelUpload, target).with("octets_received", octets);
        if let (None, Some(path)) = (named, first_path) {
            note.say("first_file", path.as_str());
        }
        if !resumed.is_empty() {
            let ids: Vec<Value> =
                resumed.iter().take(UPLOADS_SAID_MAX).map(|held| held.id().to_string().into()).collect();
            note.say("uploads", ids);
        }
        let mut item = form.item.clone();
        if let Some(item) = &mut item {
            note.say("drop", item.said());
            // What was hashed on the way is what was read.
            if let (IngestKind::File, [only]) = (item.kind, files.as_slice()) {
                item.digest = Some(only.digest);
            }
        }
        let reach = |stage| item.iter().for_each(|item| item.reach(stage));
        let failed = async |note: &Note, error| -> Failure { self.refuse(caller, note.clone(), error).await };

        // What may fail is bound first: a borrow of staged files must not live while the failure is recorded.
        let checked = self.check_form(caller, &files, &form);
        let name = match checked {
            Ok(name) => name,
            Err(error) => return Err(failed(&note, error).await),
        };
        claim.about(&name);
        let resumed_claims: Vec<Arc<Claim>> = resumed.iter().map(Held::claim).collect();
        let size = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
        if let Err(error) = self.cover_whole(&claim, size, &resumed_claims).await {
            return Err(failed(&note, error).await);
        }
        reach(Stage::Scanning);
        let (files, inspected) = match self.inspect_staged(files).await {
            Ok(looked_at) => looked_at,
            Err(error) => return Err(failed(&note, error).await),
        };
        let planned = self.plan(caller, name, form, &files, inspected, &mut note);
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => return Err(failed(&note, error).await),
        };
        let once = self.fingerprints.once(caller, &plan.described());
        let once = once.map(|once| once.under_name(caller, Permission::ModelWrite, &plan.name));
        // Given back after the commit: whoever unpins last looks whether the record is there.
        let digests: Vec<Digest> = files.iter().map(|file| file.digest).collect();
        let _pins = self.pin(Holder::Writer, digests.clone()).await;
        let replaced = match self.known_wrong(digests).await {
            Ok(known) => known,
            Err(error) => return Err(failed(&note, error).await),
        };
        reach(Stage::Storing);
        let (storing, within) = (Instant::now(), self.blobs.commit_within());
        if let Err(error) = self.keep_all(files, replaced.clone()).await {
            return Err(failed(&note, error).await);
        }
        let (who, work) = (caller.clone(), Arc::clone(self));
        let decided_claims: Vec<Arc<Claim>> = [claim].into_iter().chain(resumed_claims).collect();
        let (of_item, first) = (item.as_ref().map(|item| item.id), Arc::clone(self));
        let find = move |records: &dyn Records| match of_item {
            Some(id) => first.first_version(records, id),
            None => Ok(None),
        };
        let committed = self.commit_first(caller, note, once, find, move |records, moment, note| {
            // From then on another daemon may remove what nothing points to yet.
            if within.is_some_and(|within| storing.elapsed() > within) {
                let why = "storing the files took too long".to_owned();
                return Err(RegistryError::BlobsUnreachable { cause: why.as_str().into(), why });
            }
            match &item {
                Some(_) => work.check_dropper(records, &who, &plan.name, plan.form.alias.as_ref())?,
                None => {
                    check_not_revoked(records, &who)?;
                    work.require_publish(&grants::as_now(records, &who)?, &plan.name, plan.form.alias.as_ref())?;
                }
            }
            let (published, mut writes) = decide(&work, records, moment, note, plan, &replaced)?;
            if let Some(item) = item {
                let outcome = IngestOutcome::Published {
                    model: published.version.id,
                    version: published.version.version,
                    already_present: published.already_present,
                };
                writes.push(Write::PutIngest(work.ingest_of(item, outcome, moment)));
            }
            writes.extend(work.forgotten(records)?);
            // What was reserved is kept from here on.
            decided_claims.iter().for_each(|claim| claim.settle());
            Ok((published, writes))
        });
        let done = match committed.await {
            Ok(done) => done,
            Err(failure) => {
                // Where it was decided and could not be written, the resumable uploads are there still.
                resumed.iter().for_each(Held::reserve_again);
                return Err(failure);
            }
        };
        // A crash before this leaves uploads that expire; published again, their bytes are there already.
        let (model, version) = (done.value.version.id, done.value.version.version);
        for held in resumed {
            self.conclude_upload(held, Ended::Published { model, version }).await;
        }
        Ok(done)
    }

    /// Those of which something is known to be wrong with the stored bytes.
    async fn known_wrong(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, RegistryError> {
        self.read(|view| {
            let mut known = Vec::new();
            for digest in digests {
                if view.damage(&digest)?.is_some() {
                    known.push(digest);
                }
            }
            Ok(known)
        })
        .await
    }

    /// Makes the bytes durable, on a blocking thread; in the place of those that are known to be wrong.
    async fn keep_all(self: &Arc<Self>, files: Vec<StagedFile>, known_wrong: Vec<Digest>) -> Result<(), RegistryError> {
        let inner = Arc::clone(self);
        let step = traces::step!("keep");
        let task = tokio::task::spawn_blocking(move || {
            let _step = step.enter();
            files.into_iter().try_for_each(|file| {
                if known_wrong.contains(&file.digest) {
                    let replaced = file.staged.replace(&file.digest);
                    // Whatever becomes of the version, its bytes are there: that is found out and recorded.
                    inner.scrub.suspect(file.digest);
                    return replaced;
                }
                let kept = file.staged.keep(&file.digest);
                if let Err(BlobError::Corrupt { digest, .. }) = &kept {
                    // Once that is recorded, the next upload repairs it.
                    inner.scrub.suspect(*digest);
                }
                kept
            })
        });
        Ok(task.await.map_err(|error| RegistryError::Internal(error.into()))??)
    }

    /// The rules that hang on nothing but the request. Gives the model's name.
    fn check_form(
        &self,
        caller: &Caller,
        files: &[StagedFile],
        form: &PublishForm,
    ) -> Result<ModelName, RegistryError> {
        if let Some(alias) = &form.alias {
            self.require_alias(caller, alias, None)?;
        }
        let mut refused = Refused::new();
        if files.is_empty() {
            refused.push(("part.file".into(), "send at least one file".into()));
        }
        for file in files.iter().filter(|file| file.size == 0) {
            refused.push(("part.file".into(), format!("the file `{}` is empty", file.path)));
        }
        if form.sha256.is_some() && files.len() > 1 {
            refused.push(("part.sha256".into(), "it can be given for one file only".into()));
        }
        if let Some(text) = &form.description {
            text::check_description("part.description", text, &mut refused);
        }
        if let Some(tags) = &form.tags {
            text::check_tags("part.tags", tags, &mut refused);
        }
        if let Some(metadata) = &form.metadata {
            text::check_metadata("part.metadata", metadata, &mut refused);
        }
        let name = match (&form.name, files.first()) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(file)) => ModelName::from_filename(file.path.as_str())
                .map_err(|error| refused.push(("part.name".into(), error.to_string())))
                .ok(),
            (None, None) => None,
        };
        if let (Some(expected), [file]) = (form.sha256, files)
            && expected != file.digest
            && refused.is_empty()
        {
            return Err(RegistryError::DigestMismatch { expected, actual: file.digest });
        }
        match name {
            Some(name) if refused.is_empty() => {
                self.require_publish(caller, &name, form.alias.as_ref())?;
                Ok(name)
            }
            _ => Err(RegistryError::Invalid(refused)),
        }
    }

    /// The permission to publish under a name and to point an alias there, whether there is such a model or not.
    pub(crate) fn require_publish(
        &self,
        caller: &Caller,
        name: &ModelName,
        alias: Option<&Alias>,
    ) -> Result<(), RegistryError> {
        caller.require_on(Permission::ModelWrite, name)?;
        alias.map_or(Ok(()), |alias| self.require_alias(caller, alias, Some(name)))
    }

    /// Looks into each file.
    async fn inspect_staged(
        self: &Arc<Self>,
        files: Vec<StagedFile>,
    ) -> Result<(Vec<StagedFile>, Inspected), RegistryError> {
        let mut back = Vec::with_capacity(files.len());
        let mut inspections = Vec::with_capacity(files.len());
        for StagedFile { path, staged, digest, size } in files {
            let (staged, inspection) = self.inspect_file(staged, &path).await?;
            inspections.push((path.clone(), digest, inspection));
            back.push(StagedFile { path, staged, digest, size });
        }
        Ok((back, Inspected::of(inspections)))
    }

    /// What the version will be, but for what hangs on the state.
    fn plan(
        &self,
        caller: &Caller,
        name: ModelName,
        form: PublishForm,
        files: &[StagedFile],
        inspected: Inspected,
        note: &mut Note,
    ) -> Result<Plan, RegistryError> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|error| RegistryError::Internal(error.into()))?;
        let id_bits = random.iter().fold(0, |bits: u128, octet| bits << 8 | u128::from(*octet));
        let policy = self.settings().scan_policies.of(&name);
        let inspection = inspected.record(self.inspections.ruleset(), policy.as_str(), 0);
        note.say("verdict", inspection.verdict.as_str());
        note.say("ruleset", inspection.ruleset.as_str());
        note.say("policy", policy.as_str());
        note.say("rules", said(&rules_of(&inspected.findings)));
        let all: Vec<&FindingRecord> = inspected.findings.iter().collect();
        let ruling = policy::rule(policy, &all, inspected.has_pickle());
        if ruling == Ruling::Refused {
            let digests = files.iter().map(|file| file.digest.to_string());
            note.say("digests", digests.take(DIGESTS_SAID_MAX).collect::<Vec<_>>());
            let findings = inspected.findings.iter().take(FINDINGS_TOLD_MAX).map(render::finding).collect();
            return Err(RegistryError::Malicious { findings });
        }
        let mut artifacts: Vec<ArtifactRecord> = files
            .iter()
            .map(|file| ArtifactRecord {
                path: file.path.clone(),
                size: file.size,
                digest: file.digest,
                format: String::new(),
                verdict: None,
            })
            .collect();
        artifacts.sort_by(|one, other| one.path.cmp(&other.path));
        inspected.describe(&mut artifacts);
        let size = artifacts.iter().map(|artifact| artifact.size).sum();
        let mut warnings = form.warnings.clone();
        warnings.extend(inspected.findings.iter().filter_map(|finding| warning(finding, ruling == Ruling::Open)));
        warnings.truncate(WARNINGS_MAX);
        let measured = inspected.measured(&artifacts);
        let metadata = with_claims(measured, form.metadata.as_ref(), &mut warnings);
        Ok(Plan {
            name,
            id_bits,
            form,
            artifacts,
            size,
            inspected,
            inspection,
            ruling,
            metadata,
            warnings,
            by: caller.actor.name.clone(),
            by_id: caller.actor.id.clone(),
            sees_all: caller.sees(None),
        })
    }
}

/// A finding as a note for the uploader: notes, and where the version is handed out all the same, whatever was found.
pub(crate) fn warning(finding: &FindingRecord, open: bool) -> Option<String> {
    let level = match finding.level.as_str() {
        "note" => "",
        _ if open => finding.level.as_str(),
        _ => return None,
    };
    let parts = [level, finding.place.as_str(), finding.detail.as_str()];
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
}

impl Plan {
    /// The request for its fingerprint: names and digests, so that a retry with another multipart boundary is the same.
    fn described(&self) -> Value {
        let files: Vec<(&str, String)> =
            self.artifacts.iter().map(|one| (one.path.as_str(), one.digest.to_string())).collect();
        json!({
            "name": self.name,
            "version": self.form.version,
            "description": self.form.description,
            "tags": self.form.tags,
            "metadata": self.form.metadata,
            "alias": self.form.alias,
            "force": self.form.force_new_version,
            "files": files,
        })
    }

    fn has_same_bytes(&self, version: &VersionRecord) -> bool {
        let same =
            |(one, other): (&ArtifactRecord, &ArtifactRecord)| one.path == other.path && one.digest == other.digest;
        self.artifacts.len() == version.artifacts.len() && self.artifacts.iter().zip(&version.artifacts).all(same)
    }

    fn new_model(&self, moment: Moment) -> ModelRecord {
        let id = u128::from(moment.at_ms.unsigned_abs()) << 80 | self.id_bits;
        ModelRecord {
            id: ModelId::from_u128(id),
            name: self.name.clone(),
            description: self.form.description.clone().unwrap_or_default(),
            tags: BTreeMap::new(),
            owner: self.by.clone(),
            created_at_ms: moment.at_ms,
            updated_at_ms: moment.at_ms,
            last_number: 0,
            live_versions: 0,
            latest: None,
            aliases: BTreeMap::new(),
            deleted: None,
            purged: false,
            revision: moment.index,
        }
    }

    fn new_version(&self, model: ModelId, number: Version, moment: Moment) -> VersionRecord {
        let mut version = VersionRecord {
            model,
            version: number,
            state: State::Available,
            state_reason: None,
            state_at_ms: moment.at_ms,
            held_by_inspection: false,
            description: self.form.description.clone().unwrap_or_default(),
            artifacts: self.artifacts.clone(),
            metadata: self.metadata.clone(),
            findings: self.inspected.findings.clone(),
            inspection: Some(InspectionRecord { at_ms: moment.at_ms, ..self.inspection.clone() }),
            review: None,
            source: self.form.source.as_str().to_owned(),
            created_at_ms: moment.at_ms,
            created_by: self.by.clone(),
            created_by_id: self.by_id.clone(),
            index: moment.index,
            deleted: None,
            revision: moment.index,
        };
        self.ruling.clone().apply(&mut version, moment);
        version
    }
}

/// Which version the upload is.
enum Placing {
    /// One that is there already.
    There(Box<VersionRecord>),
    /// A new one.
    New(Version),
}

/// How many numbers an explicit version may skip: numbers are not reused, and one upload must not use them up.
const NUMBERS_SKIPPED_MAX: u32 = 1000;

/// Finds the number, against the state as it is: two uploads of one name at once get different ones.
fn place(records: &dyn Records, model: &ModelRecord, plan: &Plan) -> Result<Placing, RegistryError> {
    let next = model.last_number.checked_add(1).and_then(|number| Version::try_from(number).ok());
    let next = next.ok_or_else(|| RegistryError::Conflict("the model has all the versions it can have".into()))?;
    let Some(wanted) = plan.form.version else {
        let latest = match &model.latest {
            Some(latest) if !plan.form.force_new_version => records.version(model.id, latest.version)?,
            Some(_) | None => None,
        };
        return Ok(match latest.filter(|latest| plan.has_same_bytes(latest)) {
            Some(latest) => Placing::There(Box::new(latest)),
            None => Placing::New(next),
        });
    };
    if wanted.number().saturating_sub(next.number()) > NUMBERS_SKIPPED_MAX {
        return Err(RegistryError::invalid(
            "part.version",
            format!(
                "the next version of `{}` is {next}; at most {NUMBERS_SKIPPED_MAX} numbers can be skipped",
                model.name
            ),
        ));
    }
    match records.version(model.id, wanted)? {
        Some(there) if there.deleted.is_some() => Err(RegistryError::Conflict(format!(
            "version {wanted} of `{}` is deleted, and numbers are not reused; restore it, or use {next}",
            model.name
        ))),
        Some(there) if plan.has_same_bytes(&there) => Ok(Placing::There(Box::new(there))),
        Some(_others) => Err(RegistryError::Conflict(format!(
            "version {wanted} of `{}` exists with other bytes; leave the number out, or use {next}",
            model.name
        ))),
        None if wanted < next => Err(RegistryError::Conflict(format!(
            "version {wanted} of `{}` can't be given any more; the next is {next}",
            model.name
        ))),
        None => Ok(Placing::New(wanted)),
    }
}

/// Asked again in the order of the log, for an upload may take hours: nothing is published behind the change of role, the
/// disabling or the revocation that forbids it. That the token has expired meanwhile is no reason.
fn check_not_revoked(records: &dyn Records, caller: &Caller) -> Result<(), RegistryError> {
    if let Some(shown) = &caller.actor.api_token {
        return tokens::check_not_revoked(records, shown);
    }
    let Some(sid) = &caller.actor.sid else { return Ok(()) };
    let session = records.session(sid)?.ok_or(RegistryError::Unauthenticated)?;
    let user = records.user_by_id(&session.user_id)?.ok_or(RegistryError::Unauthenticated)?;
    let holds = session.epoch == user.epoch && !user.disabled;
    if holds { Ok(()) } else { Err(RegistryError::Unauthenticated) }
}

/// What is said by uploaders.
fn claims(metadata: &BTreeMap<String, MetadatumRecord>) -> impl Iterator<Item = (&String, &MetadatumRecord)> {
    metadata.iter().filter(|(_key, field)| field.origin == Origin::Claimed)
}

/// The decision, on the store's writing thread. `repaired` are the blobs whose bytes this upload has replaced.
fn decide(
    inner: &Inner,
    records: &dyn Records,
    moment: Moment,
    note: &mut Note,
    plan: Plan,
    repaired: &[Digest],
) -> Decided<PublishedVersion> {
    let named = records.model_named(&plan.name)?;
    let is_new = named.is_none();
    let mut model = match named {
        Some(id) => records.model(id)?.ok_or_else(|| {
            RegistryError::Corrupt(format!("the name `{}` leads to a model that isn't there", plan.name).into())
        })?,
        None => plan.new_model(moment),
    };
    note.target = Target::new("version", &model.id.to_string());
    if model.deleted.is_some() {
        return Err(RegistryError::Conflict(format!(
            "a deleted model has the name `{}`; restore it, or purge it to free the name",
            plan.name
        )));
    }
    let mut warnings = plan.warnings.clone();
    let mut writes = Vec::new();
    let placing = place(records, &model, &plan)?;
    let already_present = matches!(placing, Placing::There(_));
    let mut changed = !already_present;
    let mut version = match placing {
        Placing::There(there) => {
            if plan.form.metadata.is_some() && !claims(&plan.metadata).eq(claims(&there.metadata)) {
                warnings.push("the metadata were ignored: these bytes were there already, with others".into());
            }
            if plan.form.description.as_ref().is_some_and(|text| *text != there.description) {
                warnings
                    .push("the description was ignored: these bytes were there already; change it with PATCH".into());
            }
            // It has just been inspected: what came of that goes for what is there, too.
            let anew = inner.reinspect(model.clone(), *there, &plan.inspected, moment)?;
            if anew.has_news() {
                anew.describe(note);
                changed = true;
                let settled = anew.settled();
                model = settled.0;
                settled.1
            } else {
                anew.before
            }
        }
        Placing::New(number) => {
            let mut version = plan.new_version(model.id, number, moment);
            // Bytes that were there already, and were found damaged since this upload looked.
            if version.state == State::Available
                && let Some(reason) = damage::reason_to_hold(records, &version.artifacts, repaired)?
            {
                damage::hold(&mut version, reason, moment);
            }
            if let Some((holder, reason)) = blocked_before(records, &version.artifacts)? {
                damage::hold(&mut version, reason, moment);
                version.held_by_inspection = false;
                note.say("blocked_before", holder);
            }
            let by = (plan.by_id.as_str(), plan.by.as_str(), plan.sees_all);
            inner.check_quotas(records, by, &model.name, plan.size, is_new)?;
            writes.extend(references(records, &version.artifacts, note)?);
            model.last_number = number.number();
            model.live_versions = model.live_versions.saturating_add(1);
            model.latest = Some(latest_of(&version));
            version
        }
    };
    if let Some(tags) = &plan.form.tags {
        changed |= tags.iter().any(|(key, value)| model.tags.get(key) != Some(value));
        model.tags.extend(tags.clone());
        if model.tags.len() > text::TAGS_MAX {
            let msg = format!("a model has at most {} tags, with those it has already", text::TAGS_MAX);
            return Err(RegistryError::invalid("part.tags", msg));
        }
    }
    if let Some(alias) = &plan.form.alias
        && model.aliases.get(alias).is_none_or(|to| to.version != version.version)
    {
        changed = true;
        let previous = model.aliases.get(alias).map(|to| to.version);
        writes.extend(alias::touch(records, model.id, previous, moment)?);
        version.revision = moment.index;
        writes.push(alias::point(&mut model, alias, version.version, &plan.by, moment));
        note.say("alias", alias.as_str());
    }
    if version.revision == moment.index {
        writes.push(Write::PutVersion(version.clone()));
    }
    if changed {
        model.updated_at_ms = moment.at_ms;
        model.revision = moment.index;
        writes.push(Write::PutModel(model.clone()));
    }
    describe(note, &plan, &model, &version, already_present);
    let published = PublishedVersion {
        version: render::version_info(inner.inspections.ruleset(), &model, &version),
        revision: version.revision,
        already_present,
        warnings,
    };
    Ok((published, writes))
}

/// Which version that was blocked for good has one of these files, and what that is as a reason. What lies beside a model and
/// is clean, such as a licence, is in many versions, and no reason; unless the blocked version has nothing else.
fn blocked_before(
    records: &dyn Records,
    artifacts: &[ArtifactRecord],
) -> Result<Option<(String, String)>, RegistryError> {
    // Mostly nothing is, and then no file need be looked up.
    if records.quarantined(true, None, 1)?.is_empty() {
        return Ok(None);
    }
    let is_aside = |one: &ArtifactRecord| is_companion(&one.format) && one.verdict.as_deref() == Some("clean");
    let mut looked_up = BTreeSet::new();
    for artifact in artifacts.iter().filter(|artifact| looked_up.insert(artifact.digest)) {
        let mut after = None;
        loop {
            let page = records.holders(&artifact.digest, after, HOLDERS_AT_ONCE)?;
            for (id, number) in &page {
                let Some(held) = records.version(*id, *number)?.filter(is_blocked) else { continue };
                let all_aside = held.artifacts.iter().all(is_aside);
                if held.artifacts.iter().any(|one| one.digest == artifact.digest && (all_aside || !is_aside(one))) {
                    let name = records.model(*id)?.map_or_else(|| id.to_string(), |model| model.name.to_string());
                    let holder = format!("{name}:{number}");
                    // Whoever sees this version need not see that one; whoever does finds it by the digest.
                    let (path, digest) = (&artifact.path, artifact.digest);
                    let reason = format!("`{path}` is a file of a version that was blocked for good ({digest})");
                    return Ok(Some((holder, reason)));
                }
            }
            after = page.last().copied();
            if page.len() < HOLDERS_AT_ONCE {
                break;
            }
        }
    }
    Ok(None)
}

/// Adds a version's artifacts to what points to its blobs. A count that begins anew while a version points to the blob would
/// make a record that was lost the log's own word, and a later purge would free what is still pointed to.
fn references(
    records: &dyn Records,
    artifacts: &[ArtifactRecord],
    note: &mut Note,
) -> Result<Vec<Write>, RegistryError> {
    let mut more: BTreeMap<Digest, (u64, u64)> = BTreeMap::new();
    for artifact in artifacts {
        more.entry(artifact.digest).or_insert((artifact.size, 0)).1 += 1;
    }
    more.into_iter()
        .map(|(digest, (size, count))| {
            let refs = match records.blob(&digest)? {
                Some(blob) => blob.refs,
                None if records.holder(&digest)?.is_none() => 0,
                None => {
                    note.miscounted.push(digest);
                    let what = format!("blob {digest} has no references, and yet versions point to it");
                    return Err(RegistryError::Corrupt(what.into()));
                }
            };
            Ok(Write::SetBlob { digest, size, refs: refs.saturating_add(count) })
        })
        .collect()
}

/// What the entry says of the version.
fn describe(note: &mut Note, plan: &Plan, model: &ModelRecord, version: &VersionRecord, already_present: bool) {
    note.unchanged = already_present;
    note.target.version = Some(version.version.to_string());
    if let [only] = version.artifacts.as_slice() {
        note.target.digest = Some(only.digest.to_string());
        note.target.size = Some(only.size);
    } else {
        // Enough to tell which files they were; the change of the same record has them all.
        let digests: Vec<Value> = version
            .artifacts
            .iter()
            .take(DIGESTS_SAID_MAX)
            .map(|artifact| artifact.digest.to_string().into())
            .collect();
        note.say("digests", digests);
    }
    note.say("name", model.name.as_str());
    note.say("files", version.artifacts.len());
    note.say("size_bytes", plan.size);
    note.say("format", format_of(&version.artifacts));
    note.say("state", version.state.as_str());
    note.say("source", version.source.as_str());
    if already_present {
        note.say("already_present", true);
    }
}
