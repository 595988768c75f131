//! Inspecting again what is stored: when somebody asks for it, and behind the scenes after the rules have changed. Knows
//! versions, rules and rates; refuses to know how a file is looked into.
//!
//! Other rules can only hold more. What a release overruled doesn't hold a version again, but a rule that had found nothing
//! then, or nothing as grave, does. What is held stays held whatever the verdict: a person releases it.
//!
//! How far it has come is in the records alone: each says which rules it was inspected with, and an index has them by that.
//! So a stop costs at most what was not yet committed.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use common::api::{Origin, RescanStatus, State, VersionInfo};
use common::audit::{Action, Target};
use common::name::{ModelRef, Version};
use common::role::Permission;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::Instant;

use crate::clock;
use crate::inspect::{Format, Inspection};
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::damage;
use crate::registry::download::open;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::inspection::{Inspected, latest_of, rules_of, said, verdict_of, with_claims};
use crate::registry::pins::Holder;
use crate::registry::policy::{self, not_overruled};
use crate::registry::resolve::{self, Sight};
use crate::registry::{Inner, Registry, render};
use crate::store::records::{
    ArtifactRecord, ModelRecord, ReviewDecision, ReviewRecord, RulesetRecord, VersionRecord, Write,
};
use crate::store::{Moment, Records, Urgency, VersionKey};

/// Versions inspected anew on demand at once.
const ON_DEMAND_MAX: usize = 2;
/// How often it is looked for versions that other rules were used for.
const ROUND_EVERY: Duration = Duration::from_secs(3600);
/// What a version costs at least, however small its files: so many of them a second at most.
const VERSION_PAUSE: Duration = Duration::from_millis(10);
/// Octets that are read at most of a file whose tensors are passed over.
const HEADER_BYTES: u64 = 64 << 20;
/// Versions looked up at once.
const PAGE: usize = 100;
/// Versions of which one entry says that nothing came of it.
const BATCH_VERSIONS: usize = 256;
/// Octets of the records of such a batch, more or less.
const BATCH_BYTES: usize = 1 << 20;
/// How long such a batch waits for more.
const BATCH_WAIT: Duration = Duration::from_secs(10);

/// What is being inspected anew.
pub(crate) struct Rescans {
    on_demand: Semaphore,
    round: Mutex<Round>,
    /// Told when the log knows the rules: before that nothing is inspected behind the scenes.
    rules_recorded: Arc<Notify>,
    /// Told when something stale may have come back.
    woken: Arc<Notify>,
}

impl Default for Rescans {
    fn default() -> Self {
        Self {
            on_demand: Semaphore::new(ON_DEMAND_MAX),
            round: Mutex::default(),
            rules_recorded: Arc::default(),
            woken: Arc::default(),
        }
    }
}

/// A round through all that is stale.
#[derive(Debug, Clone, Default)]
struct Round {
    started_at_ms: Option<i64>,
    total: u64,
    done: u64,
    failed: u64,
    current: Option<String>,
}

impl Rescans {
    /// A place among those who have something looked into at once, if there is one.
    pub(crate) fn on_demand(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.on_demand.try_acquire()
    }

    /// Something stale may have come back: the next round begins without waiting.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A version after it was inspected anew.
#[derive(Debug, Clone)]
pub struct Reinspected {
    /// The version.
    pub version: VersionInfo,
    /// The verdict before.
    pub verdict_before: String,
    /// Whether verdict or findings are others than before.
    pub changed: bool,
}

impl Registry {
    /// Inspects a version anew, now.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`; `Busy`; `Corrupt` where its bytes are not there.
    pub async fn rescan(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
    ) -> Outcome<Tagged<Reinspected>> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelRescan, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        let Ok(_permit) = inner.rescans.on_demand() else {
            let what = "as many versions as may be are being inspected anew";
            return Err(inner.refuse(caller, note, RegistryError::Busy { what, is_callers: false }).await);
        };
        let sight = Sight::of(caller, Permission::ModelWrite);
        let found = inner
            .read(|view| {
                let model = resolve::live_model(view, reference, &sight)?;
                let record = resolve::version(view, &model, version, &sight)?;
                check_may_be(caller, &record)?;
                Ok(record)
            })
            .await;
        let inspected = match found {
            Ok(record) => {
                // Whether they are still the octets of their digests takes reading them all: the scrubber does it next.
                record.artifacts.iter().for_each(|artifact| inner.scrub.suspect(artifact.digest));
                inner.inspect_stored(&record.artifacts).await.map(|inspected| (record.model, inspected))
            }
            Err(error) => Err(error),
        };
        let (id, inspected) = match inspected {
            Ok(inspected) => inspected,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let model = resolve::live_model(records, &reference, &sight)?;
                note.target.id = model.id.to_string();
                let record = resolve::version(records, &model, version, &sight)?;
                if model.id != id {
                    return Err(became_another());
                }
                check_may_be(&who, &record)?;
                let anew = work.reinspect(model, record, &inspected, moment)?;
                anew.describe(note);
                let value = Reinspected {
                    version: render::version_info(work.inspections.ruleset(), &anew.model, &anew.version),
                    verdict_before: anew.verdict_before().to_owned(),
                    changed: anew.has_news(),
                };
                Ok((Tagged { value, revision: anew.version.revision }, anew.writes()))
            })
            .await
    }

    /// How far inspecting anew has come.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn rescan_status(&self) -> Result<RescanStatus, RegistryError> {
        let ruleset = self.inner.inspections.ruleset().id();
        let stale = self.inner.read(|view| Ok(stale_rulesets(view, ruleset)?)).await?;
        let round = self.inner.rescans.round().clone();
        Ok(RescanStatus {
            ruleset: ruleset.to_owned(),
            stale: stale.iter().map(|(_ruleset, count)| count).sum(),
            total: round.total,
            done: round.done,
            failed: round.failed,
            current: round.current,
            started_at: round.started_at_ms.map(clock::rfc3339),
        })
    }

    /// Records that inspections are done with other rules or policies than before, if they are; from here on what other
    /// rules were used for is inspected anew behind the scenes.
    ///
    /// # Errors
    /// `AuditUnavailable`: it must not start, for a verdict under rules that the log doesn't know says nothing.
    pub async fn record_ruleset(&self) -> Result<(), RegistryError> {
        let inner = &self.inner;
        let ruleset = inner.inspections.ruleset();
        let policies = inner.settings().scan_policies.to_string();
        let before = inner.read(|view| Ok(view.ruleset()?)).await?;
        if before.as_ref().is_some_and(|before| before.id == ruleset.id() && before.policies == policies) {
            inner.rescans.rules_recorded.notify_one();
            return Ok(());
        }
        let globals: Vec<String> =
            ruleset.allowed.globals.iter().map(|(module, name)| format!("{module}.{name}")).collect();
        let prefixes: Vec<String> = ruleset.allowed.prefixes.iter().cloned().collect();
        let note = Note::event(Action::ScanRules, Target::new("service", "inspection"))
            .with("from", before.as_ref().map(|before| before.id.as_str()))
            .with("to", ruleset.id())
            .with("policies_from", before.as_ref().map(|before| before.policies.as_str()))
            .with("policies_to", policies.as_str())
            .with("allowed_globals", globals)
            .with("allowed_prefixes", prefixes)
            .with_urgency(Urgency::Lifecycle);
        let id = ruleset.id().to_owned();
        let write = move |moment: Moment| Write::PutRuleset(RulesetRecord { id, policies, at_ms: moment.at_ms });
        let recorded = inner.commit(&Caller::system(), note, move |_, moment, _| Ok(((), vec![write(moment)]))).await;
        recorded.map_err(|failure| failure.error)?;
        inner.rescans.rules_recorded.notify_one();
        Ok(())
    }
}

/// Sets of rules other than this one that versions were last inspected with, and how many.
fn stale_rulesets(records: &dyn Records, ruleset: &str) -> Result<Vec<(String, u64)>, crate::store::StoreError> {
    let mut all = records.inspected_with()?;
    all.retain(|(id, _count)| id != ruleset);
    Ok(all)
}

/// Whether a version may be inspected anew, and is the one that is meant.
fn check_may_be(caller: &Caller, record: &VersionRecord) -> Result<(), RegistryError> {
    if record.deleted.is_some() {
        return Err(RegistryError::Conflict(format!("version {} is deleted; restore it first", record.version)));
    }
    caller.check_if_match(record.revision)
}

/// The name leads to other files than those that were looked into.
fn became_another() -> RegistryError {
    RegistryError::Conflict("it was replaced by another while it was inspected; ask again".to_owned())
}

/// A version inspected anew: what becomes of it, and what was before.
pub(crate) struct Anew {
    model: ModelRecord,
    /// As it was.
    pub(crate) before: VersionRecord,
    version: VersionRecord,
}

impl Inner {
    /// Inspects stored files. They stay while it reads them.
    async fn inspect_stored(self: &Arc<Self>, artifacts: &[ArtifactRecord]) -> Result<Inspected, RegistryError> {
        // Octets that are known to be others say nothing about the version.
        if let Some(why) = self.read(|view| damage::reason_to_hold(view, artifacts, &[])).await? {
            return Err(RegistryError::Conflict(format!("it can't be inspected anew: {why}")));
        }
        let digests = artifacts.iter().map(|artifact| artifact.digest).collect();
        let _pins = self.pin(Holder::Reader, digests).await;
        let mut inspections: Vec<(_, _, Inspection)> = Vec::with_capacity(artifacts.len());
        for artifact in artifacts {
            let (inner, digest, size) = (Arc::clone(self), artifact.digest, artifact.size);
            let opened = tokio::task::spawn_blocking(move || open(&inner, &digest, size));
            let blob = opened.await.map_err(|error| RegistryError::Internal(error.into()))??;
            // It is read in a worker, which nobody watches: what can't be read is told to the scrubber here.
            let inspected = self.inspect_file(blob, &artifact.path).await;
            let (_blob, inspection) = inspected.inspect_err(|_error| self.scrub.suspect(artifact.digest))?;
            inspections.push((artifact.path.clone(), artifact.digest, inspection));
        }
        Ok(Inspected::of(inspections))
    }

    /// What a new inspection makes of a version.
    ///
    /// # Errors
    /// `Conflict`: it is of other files.
    pub(crate) fn reinspect(
        &self,
        model: ModelRecord,
        before: VersionRecord,
        inspected: &Inspected,
        moment: Moment,
    ) -> Result<Anew, RegistryError> {
        if !inspected.is_of(&before.artifacts) {
            return Err(became_another());
        }
        let policy = self.settings().scan_policies.of(&model.name);
        let mut version = before.clone();
        inspected.describe(&mut version.artifacts);
        version.findings.clone_from(&inspected.findings);
        version.inspection = Some(inspected.record(self.inspections.ruleset(), policy.as_str(), moment.at_ms));
        let claims: Map<String, Value> = before
            .metadata
            .iter()
            .filter(|(_key, field)| field.origin == Origin::Claimed)
            .filter_map(|(key, field)| Some((key.clone(), serde_json::from_str(&field.json).ok()?)))
            .collect();
        let mut metadata = inspected.measured(&version.artifacts);
        let attested = before.metadata.iter().filter(|(_key, field)| field.origin == Origin::Attested);
        metadata.extend(attested.map(|(key, field)| (key.clone(), field.clone())));
        version.metadata = with_claims(metadata, Some(&claims), &mut Vec::new());

        if matches!(version.state, State::Available | State::Deprecated) {
            let released = version.review.as_ref().filter(|review| review.decision == ReviewDecision::Released);
            let over = released.map_or(&[][..], |review: &ReviewRecord| &review.over);
            let counting = not_overruled(&version.findings, over);
            let ruling = policy::rule(policy, &counting, inspected.has_pickle() && released.is_none());
            ruling.apply(&mut version, moment);
        }
        let mut anew = Anew { model, before, version };
        if !anew.is_renewal() {
            anew.version.revision = moment.index;
        }
        Ok(anew)
    }
}

impl Anew {
    fn verdict_before(&self) -> &str {
        match &self.before.inspection {
            Some(inspection) => &inspection.verdict,
            None => verdict_of(&self.before.findings).as_str(),
        }
    }

    fn verdict(&self) -> &str {
        self.version.inspection.as_ref().map_or("clean", |inspection| &inspection.verdict)
    }

    /// Whether verdict, findings or state are others than before: then it has an entry of its own.
    pub(crate) fn has_news(&self) -> bool {
        self.verdict_before() != self.verdict()
            || self.before.findings != self.version.findings
            || self.before.state != self.version.state
    }

    /// Whether nothing is new but rules and time.
    fn is_renewal(&self) -> bool {
        let kept = |version: &VersionRecord| {
            let inspection = version.inspection.as_ref();
            inspection.map(|inspection| (inspection.policy.clone(), inspection.findings_total))
        };
        !self.has_news()
            && kept(&self.before) == kept(&self.version)
            && self.before.metadata == self.version.metadata
            && self.before.artifacts == self.version.artifacts
    }

    /// What its entry says.
    pub(crate) fn describe(&self, note: &mut Note) {
        let ruleset = |version: &VersionRecord| version.inspection.as_ref().map(|one| one.ruleset.clone());
        let (before, after) = (rules_of(&self.before.findings), rules_of(&self.version.findings));
        note.target.version = Some(self.version.version.to_string());
        note.say("name", self.model.name.as_str());
        note.say("verdict_before", self.verdict_before());
        note.say("verdict", self.verdict());
        note.say("ruleset_before", ruleset(&self.before));
        note.say("ruleset", ruleset(&self.version));
        note.say("policy", self.version.inspection.as_ref().map(|inspection| inspection.policy.clone()));
        if before != after {
            note.say("rules_before", said(&before));
        }
        note.say("rules", said(&after));
        note.say("from", self.before.state.as_str());
        note.say("to", self.version.state.as_str());
        if render::is_cleared(&self.version) {
            note.say("cleared", true);
        }
    }

    /// The model and the version as they are to be stored.
    pub(crate) fn settled(mut self) -> (ModelRecord, VersionRecord) {
        let number = self.version.version;
        if let Some(latest) = self.model.latest.as_mut().filter(|latest| latest.version == number) {
            *latest = latest_of(&self.version);
        }
        if self.before.state != self.version.state {
            self.model.updated_at_ms = self.version.state_at_ms;
        }
        self.model.revision = self.version.revision;
        (self.model, self.version)
    }

    fn writes(self) -> Vec<Write> {
        if let (true, Some(inspection)) = (self.is_renewal(), &self.version.inspection) {
            let key = (self.version.model, self.version.version);
            return vec![Write::RenewInspections { ruleset: inspection.ruleset.clone(), versions: vec![key] }];
        }
        let (model, version) = self.settled();
        vec![Write::PutVersion(version), Write::PutModel(model)]
    }
}

// ---- behind the scenes ----------------------------------------------------------------------------------------------

/// Inspects anew whatever other rules were used for, for as long as the registry lives.
pub(crate) async fn rounds(inner: Weak<Inner>, bytes_per_second: NonZeroU64) {
    let told =
        |registry: Arc<Inner>| (Arc::clone(&registry.rescans.rules_recorded), Arc::clone(&registry.rescans.woken));
    let Some((recorded, woken)) = inner.upgrade().map(told) else { return };
    recorded.notified().await;
    loop {
        let Some(registry) = inner.upgrade() else { return };
        let ended = registry.rescan_round(bytes_per_second).await;
        registry.rescans.round().current = None;
        if let Err(error) = ended {
            tracing::warn!(
                error = crate::error_chain(&error),
                "inspecting anew has ended early; it goes on in an hour"
            );
        }
        drop(registry);
        let _or_in_time = tokio::time::timeout(ROUND_EVERY, woken.notified()).await;
    }
}

/// Versions that were inspected anew without news, until one entry says so of all of them.
#[derive(Default)]
struct Batch {
    versions: Vec<(VersionKey, Inspected)>,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    fn is_due(&self) -> bool {
        self.versions.len() >= BATCH_VERSIONS
            || self.bytes >= BATCH_BYTES
            || self.since.is_some_and(|since| since.elapsed() >= BATCH_WAIT)
    }
}

impl Inner {
    /// One round: each version that other rules were used for, newest models first. Those that can't be read are passed over.
    async fn rescan_round(self: &Arc<Self>, bytes_per_second: NonZeroU64) -> Result<(), RegistryError> {
        if !self.store.upkeeps() {
            return Ok(());
        }
        let ruleset = self.inspections.ruleset().id().to_owned();
        let stale = self.read(|view| Ok(stale_rulesets(view, &ruleset)?)).await?;
        let total: u64 = stale.iter().map(|(_ruleset, count)| count).sum();
        if total == 0 {
            return Ok(());
        }
        tracing::info!(versions = total, ruleset, "inspecting anew what other rules were used for");
        *self.rescans.round() = Round { started_at_ms: Some(clock::now_ms()), total, ..Round::default() };
        let mut batch = Batch::default();
        for (old, _count) in stale {
            let mut below = None;
            loop {
                let page = self.read(|view| Ok(view.inspected_by(&old, below, PAGE)?)).await?;
                below = page.last().copied();
                for key in &page {
                    let began = Instant::now();
                    let octets = self.rescan_one(*key, &mut batch).await?;
                    if batch.is_due() {
                        self.commit_batch(&mut batch).await?;
                    }
                    self.rescans.round().done += 1;
                    let paced = Duration::from_secs_f64(octets as f64 / bytes_per_second.get() as f64);
                    tokio::time::sleep_until(began + paced.max(VERSION_PAUSE)).await;
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        self.commit_batch(&mut batch).await?;
        let failed = self.rescans.round().failed;
        tracing::info!(versions = total, failed, "inspecting anew is done");
        Ok(())
    }

    /// Inspects one anew; says how many octets that is charged as. What couldn't be read is counted and told, and is no
    /// reason to stop.
    async fn rescan_one(self: &Arc<Self>, key: VersionKey, batch: &mut Batch) -> Result<u64, RegistryError> {
        let found = self.read(|view| both(view, key)).await?;
        let Some((model, record)) = found else { return Ok(0) };
        let name = format!("{}:{}", model.name, record.version);
        self.rescans.round().current = Some(name.clone());
        let octets = record.artifacts.iter().map(charge).fold(0, u64::saturating_add);
        let inspected = match self.inspect_stored(&record.artifacts).await {
            Ok(inspected) => inspected,
            Err(error) => {
                self.rescans.round().failed += 1;
                tracing::warn!(version = name, error = crate::error_chain(&error), "it can't be inspected anew");
                return Ok(0);
            }
        };
        let now = Moment { index: record.revision, at_ms: clock::now_ms() };
        let anew = self.reinspect(model, record, &inspected, now)?;
        if anew.has_news() {
            self.commit_news(key, inspected).await?;
        } else {
            batch.bytes = batch.bytes.saturating_add(weight(&anew.version));
            batch.since.get_or_insert_with(Instant::now);
            batch.versions.push((key, inspected));
        }
        Ok(octets)
    }

    /// The entry of a version of which there is news.
    async fn commit_news(self: &Arc<Self>, key: VersionKey, inspected: Inspected) -> Result<(), RegistryError> {
        let target = Target::new("version", &key.0.to_string());
        let note = Note::event(Action::ModelRescan, target).with("background", true);
        let work = Arc::clone(self);
        let decide = move |records: &dyn Records, moment: Moment, note: &mut Note| {
            note.target.version = Some(key.1.to_string());
            let Some((model, record)) = both(records, key)? else {
                return Err(RegistryError::not_found(format!("version {}", key.1)));
            };
            let anew = work.reinspect(model, record, &inspected, moment)?;
            anew.describe(note);
            Ok(((), anew.writes()))
        };
        match self.commit(&Caller::system(), note, decide).await.map_err(|failure| failure.error) {
            // Deleted in the meantime.
            Ok(_) | Err(RegistryError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One entry for all of a batch. Of which there is news after all, because somebody changed it meanwhile, it is left to
    /// the next round.
    async fn commit_batch(self: &Arc<Self>, batch: &mut Batch) -> Result<(), RegistryError> {
        let Batch { versions, .. } = std::mem::take(batch);
        if versions.is_empty() {
            return Ok(());
        }
        let ruleset = self.inspections.ruleset().id().to_owned();
        let target = Target::new("service", "inspection");
        let note = Note::event(Action::ModelRescan, target).with("background", true).with("ruleset", ruleset.as_str());
        let work = Arc::clone(self);
        let decide = move |records: &dyn Records, moment: Moment, note: &mut Note| {
            let mut renewed = Vec::new();
            // Of several versions of a model only the latest changes the model, so no write undoes another.
            let mut writes = Vec::new();
            let mut verdicts: BTreeMap<&str, u64> = BTreeMap::new();
            let mut named = Vec::with_capacity(versions.len());
            for (key, inspected) in &versions {
                let Some((model, record)) = both(records, *key)? else { continue };
                let anew = work.reinspect(model, record, inspected, moment)?;
                if anew.has_news() {
                    continue;
                }
                named.push(Value::from(format!("{}:{}", key.0, key.1)));
                *verdicts.entry(inspected.verdict.as_str()).or_default() += 1;
                if anew.is_renewal() {
                    renewed.push(*key);
                } else {
                    let shows = |write: &Write| match write {
                        Write::PutModel(model) => model.latest.as_ref().is_some_and(|latest| latest.version == key.1),
                        _ => true,
                    };
                    writes.extend(anew.writes().into_iter().filter(shows));
                }
            }
            if !renewed.is_empty() {
                writes.push(Write::RenewInspections { ruleset, versions: renewed });
            }
            note.say("versions", named.len());
            note.say("inspected", named);
            note.say("unchanged", verdicts.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect::<Map<_, _>>());
            Ok(((), writes))
        };
        self.commit(&Caller::system(), note, decide).await.map(|_done| ()).map_err(|failure| failure.error)
    }
}

/// A version that is not deleted, and its model, deleted or not.
fn both(
    records: &dyn Records,
    (id, number): VersionKey,
) -> Result<Option<(ModelRecord, VersionRecord)>, RegistryError> {
    let record = records.version(id, number)?.filter(|record| record.deleted.is_none());
    let model = records.model(id)?.filter(|model| !model.purged);
    Ok(model.zip(record))
}

/// How many octets of a file a round is charged for: those it reads, more or less.
fn charge(artifact: &ArtifactRecord) -> u64 {
    let skipped = [Format::Safetensors, Format::Gguf].iter().any(|format| format.as_str() == artifact.format);
    if skipped { artifact.size.min(HEADER_BYTES) } else { artifact.size }
}

/// About how many octets a version's record has.
fn weight(version: &VersionRecord) -> usize {
    let metadata: usize = version.metadata.iter().map(|(key, field)| key.len() + field.json.len()).sum();
    let findings: usize = version.findings.iter().map(|finding| 64 + finding.place.len() + finding.detail.len()).sum();
    let artifacts: usize = version.artifacts.iter().map(|artifact| 64 + artifact.path.as_str().len()).sum();
    256 + version.description.len() + metadata + findings + artifacts
}
