//! Changes of models and versions: text, owner, state. Knows which state may follow which; refuses to know bytes.

use std::sync::Arc;

use common::api::{ModelPatch, ModelRow, State, VersionInfo, VersionPatch};
use common::audit::Action;
use common::name::{ModelRef, UserName, Version};
use common::role::Permission;
use serde_json::json;

use crate::registry::access::Caller;
use crate::registry::commit::{Decided, Note};
use crate::registry::damage;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::idempotency::described;
use crate::registry::resolve::{self, Sight};
use crate::registry::text::{self, Refused};
use crate::registry::{Registry, render};
use crate::store::records::{ModelRecord, VersionRecord, Write};
use crate::store::{Moment, Records};

impl Registry {
    /// Edits a model's description, tags, owner.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `Invalid`, `PreconditionFailed`.
    pub async fn patch_model(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        patch: ModelPatch,
    ) -> Outcome<Tagged<ModelRow>> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelUpdate, resolve::target(reference));
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let mut model = resolve::live_model(records, &reference, Sight::of(&who))?;
                note.target.id = model.id.to_string();
                who.check_if_match(model.revision)?;
                edit(records, &mut model, patch, note)?;
                model.updated_at_ms = moment.at_ms;
                model.revision = moment.index;
                let row = render::model_row(&work.settings, &model);
                Ok((Tagged { value: row, revision: moment.index }, vec![Write::PutModel(model)]))
            })
            .await
    }

    /// Edits a version's description.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `Invalid`, `PreconditionFailed`.
    pub async fn patch_version(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        patch: VersionPatch,
    ) -> Outcome<Tagged<VersionInfo>> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelUpdate, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelWrite, &note).await?;
        let (reference, who) = (reference.clone(), caller.clone());
        inner
            .commit(caller, note, move |records, moment, note| {
                let (model, mut record) = live_version(records, &reference, version, &who, note)?;
                if let Some(description) = patch.description {
                    let mut refused = Refused::new();
                    text::check_description("body.description", &description, &mut refused);
                    if !refused.is_empty() {
                        return Err(RegistryError::Invalid(refused));
                    }
                    note.say("fields", json!(["description"]));
                    record.description = description;
                }
                changed(model, record, moment)
            })
            .await
    }

    /// Makes a quarantined or deprecated version available.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `Invalid`, `PreconditionFailed`, `IdempotencyKeyReused`.
    pub async fn release(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        self.moderate(caller, reference, version, State::Available, reason).await
    }

    /// Holds a version back.
    ///
    /// # Errors
    /// As for `release`.
    pub async fn quarantine(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        self.moderate(caller, reference, version, State::Quarantined, reason).await
    }

    /// Marks an available version as outdated; it is still handed out.
    ///
    /// # Errors
    /// As for `release`.
    pub async fn deprecate(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        self.moderate(caller, reference, version, State::Deprecated, reason).await
    }

    async fn moderate(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        to: State,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        let inner = &self.inner;
        let action = match to {
            State::Quarantined => Action::ModelQuarantine,
            State::Deprecated => Action::ModelDeprecate,
            State::Available | State::Deleted => Action::ModelRelease,
        };
        let note = Note::change(action, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelModerate, &note).await?;
        let body = json!({"model": described(reference), "version": version, "reason": reason});
        let once = inner.fingerprints.once(caller, &body);
        let (reference, reason, who) = (reference.clone(), reason.to_owned(), caller.clone());
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut refused = Refused::new();
                text::check_reason("body.reason", &reason, &mut refused);
                if !refused.is_empty() {
                    return Err(RegistryError::Invalid(refused));
                }
                let (model, mut record) = live_version(records, &reference, version, &who, note)?;
                check_transition(&record, to)?;
                if to == State::Available {
                    damage::check_sound(records, &record)?;
                }
                note.say("from", record.state.as_str());
                note.say("to", to.as_str());
                note.say("reason_given", reason.as_str());
                let held_by_inspection = record.findings.iter().any(|finding| finding.level != "note");
                if to == State::Available && record.state == State::Quarantined && held_by_inspection {
                    // Releasing what inspection objects to is to overrule it (scanning.md §1).
                    note.action = Action::ModelOverride;
                }
                record.state = to;
                record.state_reason = Some(reason);
                changed(model, record, moment)
            })
            .await
    }
}

/// A version that is there and not deleted, of a model that isn't either; `If-Match` is held against it.
fn live_version(
    records: &dyn Records,
    reference: &ModelRef,
    version: Version,
    caller: &Caller,
    note: &mut Note,
) -> Result<(ModelRecord, VersionRecord), RegistryError> {
    let sight = Sight::of(caller);
    let model = resolve::live_model(records, reference, sight)?;
    note.target.id = model.id.to_string();
    let record = resolve::version(records, &model, version, sight)?;
    if record.deleted.is_some() {
        return Err(RegistryError::Conflict(format!("version {version} is deleted; restore it first")));
    }
    caller.check_if_match(record.revision)?;
    Ok((model, record))
}

/// Which state may follow which.
fn check_transition(version: &VersionRecord, to: State) -> Result<(), RegistryError> {
    let refuse = |text: String| Err(RegistryError::Conflict(text));
    match (version.state, to) {
        (from, to) if from == to => refuse(format!("version {} is {} already", version.version, to.as_str())),
        (State::Quarantined, State::Deprecated) => {
            refuse(format!("version {} is held in quarantine; release it first", version.version))
        }
        (State::Deleted, _) | (_, State::Deleted) => {
            refuse(format!("version {} is deleted; restore it first", version.version))
        }
        (State::Available | State::Quarantined | State::Deprecated, _) => Ok(()),
    }
}

/// The writes of a changed version, and what its model shows of it.
fn changed(mut model: ModelRecord, mut version: VersionRecord, moment: Moment) -> Decided<Tagged<VersionInfo>> {
    version.revision = moment.index;
    if let Some(latest) = model.latest.as_mut().filter(|latest| latest.version == version.version) {
        latest.state = version.state;
    }
    model.updated_at_ms = moment.at_ms;
    model.revision = moment.index;
    let value = render::version_info(&model, &version);
    Ok((Tagged { value, revision: moment.index }, vec![Write::PutVersion(version), Write::PutModel(model)]))
}

fn edit(
    records: &dyn Records,
    model: &mut ModelRecord,
    patch: ModelPatch,
    note: &mut Note,
) -> Result<(), RegistryError> {
    let mut refused = Refused::new();
    let mut fields = Vec::new();
    if let Some(description) = patch.description {
        text::check_description("body.description", &description, &mut refused);
        fields.push("description");
        model.description = description;
    }
    if let Some(tags) = patch.tags {
        text::check_tags("body.tags", &tags, &mut refused);
        fields.push("tags");
        model.tags = tags;
    }
    if let Some(owner) = patch.owner {
        let known = owner.parse::<UserName>().ok().map(|name| records.user(&name)).transpose()?.flatten();
        match known {
            Some(user) => {
                note.say("owner_before", model.owner.as_str());
                note.say("owner", user.name.as_str());
                model.owner = user.name.into();
            }
            None => refused.push(("body.owner".into(), "there is no user of this name".into())),
        }
        fields.push("owner");
    }
    note.say("fields", json!(fields));
    if refused.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(refused)) }
}

#[cfg(test)]
mod tests {
    use common::api::State;

    use super::check_transition;
    use crate::registry::tests::version_record;

    /// All transitions, one by one.
    #[test]
    fn transitions() {
        use State::{Available, Deleted, Deprecated, Quarantined};
        let allowed = [
            (Available, Quarantined),
            (Available, Deprecated),
            (Quarantined, Available),
            (Deprecated, Available),
            (Deprecated, Quarantined),
        ];
        for from in [Available, Quarantined, Deprecated, Deleted] {
            for to in [Available, Quarantined, Deprecated] {
                let record = version_record(from);
                assert_eq!(check_transition(&record, to).is_ok(), allowed.contains(&(from, to)), "{from:?} {to:?}");
            }
        }
    }
}
