//! Deleting, restoring, purging. Record first, bytes after: what a purge releases is removed once nobody points to it or
//! holds it (`removal.rs`). Knows models and versions; refuses to know where bytes are.
//!
//! A deletion can be taken back until its time is over; a purge can't. A purged model leaves a tombstone, so that its id
//! is never given again; its name is free. A purged version leaves its number used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::api::{ModelRow, State, VersionInfo};
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{ModelId, ModelKey, ModelRef, Select, Version};
use common::role::Permission;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::registry::access::Caller;
use crate::registry::commit::{Decided, Note};
use crate::registry::damage;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::idempotency::described;
use crate::registry::inspection::latest_of;
use crate::registry::resolve::{self, Sight};
use crate::registry::text::{self, Refused};
use crate::registry::{Inner, Registry, render};
use crate::store::records::{DeletionRecord, ModelRecord, VersionRecord, Write};
use crate::store::{Moment, Records};

/// Versions read at once.
const PAGE: usize = 100;

/// What was deleted; becomes `Deleted` with the receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gone {
    /// The id of what was deleted.
    pub id: String,
    /// The version's number, where one was deleted.
    pub version: Option<Version>,
    /// Whether it is gone for good.
    pub purged: bool,
    /// Until when it can be restored, milliseconds since the epoch; none where it can't.
    pub restorable_until_ms: Option<i64>,
}

impl Registry {
    /// Deletes a model, restorably. Its name stays taken.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`.
    pub async fn delete_model(&self, caller: &Caller, reference: &ModelRef) -> Outcome<Gone> {
        self.inner.delete_model(caller, reference).await
    }

    /// Deletes a model for good, deleted before or not.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Invalid`, `PreconditionFailed`.
    pub async fn purge_model(&self, caller: &Caller, reference: &ModelRef, reason: &str) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelPurge, resolve::target(reference));
        inner.permit(caller, Permission::ModelDelete, &note).await?;
        let (reference, reason, who) = (reference.clone(), reason.to_owned(), caller.clone());
        inner
            .commit(caller, note.urgent(), move |records, moment, note| {
                check_reason(&reason, note)?;
                let model = resolve::model_to_change(records, &reference, &sight(&who))?;
                note.target.id = model.id.to_string();
                who.check_if_match(model.revision)?;
                purge_model(records, model, moment, note)
            })
            .await
    }

    /// Takes the deletion of a model back.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`, `IdempotencyKeyReused`.
    pub async fn restore_model(&self, caller: &Caller, reference: &ModelRef) -> Outcome<Tagged<ModelRow>> {
        self.inner.restore_model(caller, reference).await
    }

    /// Deletes a version, restorably. Not while an alias points to it.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`.
    pub async fn delete_version(&self, caller: &Caller, reference: &ModelRef, version: Version) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelDelete, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelDelete, &note).await?;
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(inner));
        inner
            .commit(caller, note.urgent(), move |records, moment, note| {
                let (mut model, mut record) = find_version(records, &reference, version, &who, note)?;
                if record.deleted.is_some() {
                    return Err(RegistryError::Conflict(format!("version {version} is deleted already")));
                }
                check_unaliased(&model, version)?;
                let deletion = work.deletion(&who, moment, record.state);
                let gone = Gone {
                    id: model.id.to_string(),
                    version: Some(version),
                    purged: false,
                    restorable_until_ms: Some(deletion.restorable_until_ms),
                };
                record.deleted = Some(deletion);
                record.state = State::Deleted;
                record.revision = moment.index;
                model.live_versions = model.live_versions.saturating_sub(1);
                forget_latest(records, &mut model, &[version].into())?;
                touch(&mut model, moment);
                Ok((gone, vec![Write::PutVersion(record), Write::PutModel(model)]))
            })
            .await
    }

    /// Deletes a version for good, deleted before or not. Not while an alias points to it.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `Invalid`, `PreconditionFailed`.
    pub async fn purge_version(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
    ) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelPurge, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelDelete, &note).await?;
        let (reference, reason, who) = (reference.clone(), reason.to_owned(), caller.clone());
        inner
            .commit(caller, note.urgent(), move |records, moment, note| {
                check_reason(&reason, note)?;
                let (mut model, record) = find_version(records, &reference, version, &who, note)?;
                check_unaliased(&model, version)?;
                let mut released = Released::default();
                released.add(&record);
                let mut writes = vec![Write::DeleteVersion { model: model.id, version }];
                writes.extend(released.writes(records, note)?);
                if record.deleted.is_none() {
                    model.live_versions = model.live_versions.saturating_sub(1);
                    forget_latest(records, &mut model, &[version].into())?;
                }
                touch(&mut model, moment);
                let gone =
                    Gone { id: model.id.to_string(), version: Some(version), purged: true, restorable_until_ms: None };
                writes.push(Write::PutModel(model));
                Ok((gone, writes))
            })
            .await
    }

    /// Takes the deletion of a version back; it returns to the state it had.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`, `IdempotencyKeyReused`.
    pub async fn restore_version(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
    ) -> Outcome<Tagged<VersionInfo>> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelRestore, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelDelete, &note).await?;
        let once = inner.fingerprints.once(caller, &json!({"model": described(reference), "version": version}));
        let once = once.map(|once| once.of_model(caller, Permission::ModelDelete, reference));
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(inner));
        let restored = inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let (mut model, mut record) = find_version(records, &reference, version, &who, note)?;
                let deletion = record.deleted.take();
                record.state = check_restorable(deletion.as_ref(), &format!("version {version}"), moment)?;
                // Damage that was found while it was deleted.
                let is_held = record.state == State::Quarantined;
                if let Some(reason) = damage::reason_to_hold(records, &record.artifacts, &[])?.filter(|_| !is_held) {
                    damage::hold(&mut record, reason, moment);
                }
                record.revision = moment.index;
                model.live_versions = model.live_versions.saturating_add(1);
                if model.latest.as_ref().is_none_or(|latest| latest.version < version) {
                    model.latest = Some(latest_of(&record));
                }
                touch(&mut model, moment);
                let value = render::version_info(work.inspections.ruleset(), &model, &record);
                let tagged = Tagged { value, revision: moment.index };
                Ok((tagged, vec![Write::PutVersion(record), Write::PutModel(model)]))
            })
            .await?;
        // While it was deleted no round came to it.
        inner.rescans.wake();
        Ok(restored)
    }
}

impl Inner {
    pub(super) async fn delete_model(self: &Arc<Self>, caller: &Caller, reference: &ModelRef) -> Outcome<Gone> {
        let note = Note::change(Action::ModelDelete, resolve::target(reference));
        self.permit(caller, Permission::ModelDelete, &note).await?;
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(self));
        self.commit(caller, note.urgent(), move |records, moment, note| {
            let mut model = resolve::live_model(records, &reference, &sight(&who))?;
            note.target.id = model.id.to_string();
            who.check_if_match(model.revision)?;
            let deletion = work.deletion(&who, moment, State::Available);
            let gone = Gone {
                id: model.id.to_string(),
                version: None,
                purged: false,
                restorable_until_ms: Some(deletion.restorable_until_ms),
            };
            note.say("name", model.name.as_str());
            note.say("versions", model.live_versions);
            model.deleted = Some(deletion);
            touch(&mut model, moment);
            Ok((gone, vec![Write::PutModel(model)]))
        })
        .await
    }

    pub(super) async fn restore_model(
        self: &Arc<Self>,
        caller: &Caller,
        reference: &ModelRef,
    ) -> Outcome<Tagged<ModelRow>> {
        let note = Note::change(Action::ModelRestore, resolve::target(reference));
        self.permit(caller, Permission::ModelDelete, &note).await?;
        let once = self.fingerprints.once(caller, &json!({"model": described(reference)}));
        let once = once.map(|once| once.of_model(caller, Permission::ModelDelete, reference));
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(self));
        self.commit_once(caller, note, once, move |records, moment, note| {
            let mut model = resolve::model_to_change(records, &reference, &sight(&who))?;
            note.target.id = model.id.to_string();
            who.check_if_match(model.revision)?;
            check_restorable(model.deleted.take().as_ref(), &format!("model `{}`", model.name), moment)?;
            touch(&mut model, moment);
            let row = render::model_row(&work.settings(), &model);
            Ok((Tagged { value: row, revision: moment.index }, vec![Write::PutModel(model)]))
        })
        .await
    }

    fn deletion(&self, caller: &Caller, moment: Moment, state_before: State) -> DeletionRecord {
        let period_ms = i64::try_from(self.settings().restore_period.as_millis()).unwrap_or(i64::MAX);
        DeletionRecord {
            at_ms: moment.at_ms,
            restorable_until_ms: moment.at_ms.saturating_add(period_ms),
            by: caller.actor.name.clone(),
            state_before,
        }
    }

    /// Purges a deleted model whose time is over; nothing, if that has changed in the meantime.
    pub(crate) async fn purge_expired_model(self: &Arc<Self>, id: ModelId) -> Outcome<()> {
        let note = Note::change(Action::ModelPurge, Target::new("model", &id.to_string()))
            .with("reason_given", "the time to restore it is over");
        let reference = ModelRef { model: ModelKey::Id(id), select: Select::Latest };
        let who = Caller::system();
        self.commit(&who.clone(), note.urgent(), move |records, moment, note| {
            let model = resolve::model_to_change(records, &reference, &sight(&who))?;
            let until = model.deleted.as_ref().map(|deletion| deletion.restorable_until_ms);
            if until.is_none_or(|until| until >= moment.at_ms) {
                return Err(RegistryError::Conflict("it can be restored still".into()));
            }
            purge_model(records, model, moment, note).map(|(_gone, writes)| ((), writes))
        })
        .await
    }
}

fn sight(caller: &Caller) -> Sight {
    Sight::of(caller, Permission::ModelDelete)
}

/// The purge of a model: its versions and what they point to go, a tombstone stays.
fn purge_model(records: &dyn Records, model: ModelRecord, moment: Moment, note: &mut Note) -> Decided<Gone> {
    let mut released = Released::default();
    let mut writes = Vec::new();
    let mut below = None;
    loop {
        let page = records.versions(model.id, below, PAGE)?;
        below = page.last().map(|version| version.version);
        for version in &page {
            released.add(version);
            writes.push(Write::DeleteVersion { model: model.id, version: version.version });
        }
        if page.len() < PAGE {
            break;
        }
    }
    note.say("name", model.name.as_str());
    note.say("versions", writes.len());
    writes.extend(released.writes(records, note)?);
    let gone = Gone { id: model.id.to_string(), version: None, purged: true, restorable_until_ms: None };
    let mut tombstone = ModelRecord {
        description: String::new(),
        tags: BTreeMap::new(),
        aliases: BTreeMap::new(),
        latest: None,
        live_versions: 0,
        deleted: None,
        purged: true,
        ..model
    };
    touch(&mut tombstone, moment);
    writes.push(Write::PutModel(tombstone));
    Ok((gone, writes))
}

/// References to blobs that go.
#[derive(Default)]
pub(super) struct Released(BTreeMap<Digest, u64>);

impl Released {
    pub(super) fn add(&mut self, version: &VersionRecord) {
        for artifact in &version.artifacts {
            *self.0.entry(artifact.digest).or_default() += 1;
        }
    }

    pub(super) fn writes(self, records: &dyn Records, note: &mut Note) -> Result<Vec<Write>, RegistryError> {
        let mut writes = Vec::with_capacity(self.0.len());
        let mut freed = 0_u64;
        for (digest, count) in self.0 {
            let blob = records.blob(&digest)?.filter(|blob| blob.refs >= count).ok_or_else(|| {
                note.miscounted.push(digest);
                RegistryError::Corrupt(format!("blob {digest} has fewer references than versions point to it").into())
            })?;
            let refs = blob.refs - count;
            freed += if refs == 0 { blob.size } else { 0 };
            writes.push(Write::SetBlob { digest, size: blob.size, refs });
        }
        note.say("octets_freed", freed);
        Ok(writes)
    }
}

pub(super) fn touch(model: &mut ModelRecord, moment: Moment) {
    model.updated_at_ms = moment.at_ms;
    model.revision = moment.index;
}

/// Finds the new latest version where the old one is among those that go.
pub(super) fn forget_latest(
    records: &dyn Records,
    model: &mut ModelRecord,
    gone: &BTreeSet<Version>,
) -> Result<(), RegistryError> {
    let Some(latest) = model.latest.as_ref().map(|latest| latest.version).filter(|latest| gone.contains(latest)) else {
        return Ok(());
    };
    let mut below = Some(latest);
    loop {
        let page = records.versions(model.id, below, PAGE)?;
        if let Some(live) = page.iter().find(|one| one.deleted.is_none() && !gone.contains(&one.version)) {
            model.latest = Some(latest_of(live));
            return Ok(());
        }
        below = page.last().map(|version| version.version);
        if page.len() < PAGE {
            model.latest = None;
            return Ok(());
        }
    }
}

/// A version of a model that isn't deleted; `If-Match` is held against it.
fn find_version(
    records: &dyn Records,
    reference: &ModelRef,
    version: Version,
    caller: &Caller,
    note: &mut Note,
) -> Result<(ModelRecord, VersionRecord), RegistryError> {
    let sight = sight(caller);
    let model = resolve::live_model(records, reference, &sight)?;
    note.target.id = model.id.to_string();
    let record = resolve::version(records, &model, version, &sight)?;
    caller.check_if_match(record.revision)?;
    Ok((model, record))
}

/// What an alias points to is in use.
fn check_unaliased(model: &ModelRecord, version: Version) -> Result<(), RegistryError> {
    let pointing: Vec<String> = model
        .aliases
        .iter()
        .filter(|(_alias, to)| to.version == version)
        .map(|(alias, _to)| format!("`{alias}`"))
        .collect();
    if pointing.is_empty() {
        return Ok(());
    }
    let aliases = pointing.join(", ");
    Err(RegistryError::Conflict(format!("{aliases} points to version {version}; move or clear it first")))
}

/// The state to go back to, if that is possible still.
fn check_restorable(deletion: Option<&DeletionRecord>, what: &str, moment: Moment) -> Result<State, RegistryError> {
    match deletion {
        None => Err(RegistryError::Conflict(format!("{what} is not deleted"))),
        Some(deletion) if deletion.restorable_until_ms < moment.at_ms => {
            Err(RegistryError::Conflict(format!("the time to restore {what} is over")))
        }
        Some(deletion) => Ok(deletion.state_before),
    }
}

fn check_reason(reason: &str, note: &mut Note) -> Result<(), RegistryError> {
    let mut refused = Refused::new();
    text::check_reason("query.reason", reason, &mut refused);
    if !refused.is_empty() {
        return Err(RegistryError::Invalid(refused));
    }
    note.say("reason_given", reason);
    Ok(())
}
