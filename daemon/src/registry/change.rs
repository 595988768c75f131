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
use crate::registry::inspection::{rules_of, said};
use crate::registry::resolve::{self, Sight};
use crate::registry::text::{self, Refused};
use crate::registry::{Inner, Registry, render, review};
use crate::store::records::{ModelRecord, ReviewDecision, ReviewRecord, VersionRecord, Write};
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
                let sight = Sight::of(&who, Permission::ModelWrite);
                let mut model = resolve::live_model(records, &reference, &sight)?;
                note.target.id = model.id.to_string();
                who.check_if_match(model.revision)?;
                edit(records, &mut model, patch, note)?;
                model.updated_at_ms = moment.at_ms;
                model.revision = moment.index;
                let row = render::model_row(&work.settings(), &model);
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
        let (reference, who, work) = (reference.clone(), caller.clone(), Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let (model, mut record) =
                    live_version(records, &reference, version, (&who, Permission::ModelWrite), note)?;
                if let Some(description) = patch.description {
                    let mut refused = Refused::new();
                    text::check_description("body.description", &description, &mut refused);
                    if !refused.is_empty() {
                        return Err(RegistryError::Invalid(refused));
                    }
                    note.say("fields", json!(["description"]));
                    record.description = description;
                }
                changed(&work, model, record, moment)
            })
            .await
    }

    /// Makes a quarantined or deprecated version available. What was blocked for good only where that is said. Where it takes
    /// several people, all but the last only approve.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `Invalid`, `PreconditionFailed`, `IdempotencyKeyReused`.
    pub async fn release(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
        override_block: bool,
    ) -> Outcome<Tagged<VersionInfo>> {
        self.moderate(caller, reference, version, Moderation::Release { override_block }, reason).await
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
        self.moderate(caller, reference, version, Moderation::Quarantine, reason).await
    }

    /// Holds a version back for good: it is not offered for review any more.
    ///
    /// # Errors
    /// As for `release`.
    pub async fn block(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        self.moderate(caller, reference, version, Moderation::Block, reason).await
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
        self.moderate(caller, reference, version, Moderation::Deprecate, reason).await
    }

    async fn moderate(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        moderation: Moderation,
        reason: &str,
    ) -> Outcome<Tagged<VersionInfo>> {
        let inner = &self.inner;
        let note = Note::change(moderation.action(), resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelModerate, &note).await?;
        let mut body = json!({"model": described(reference), "version": version, "reason": reason});
        if let Moderation::Release { override_block: true } = moderation {
            body["override_block"] = true.into();
        }
        let once = inner.fingerprints.once(caller, &body);
        let once = once.map(|once| once.of_model(caller, Permission::ModelModerate, reference));
        let (reference, reason, who, work) = (reference.clone(), reason.to_owned(), caller.clone(), Arc::clone(inner));
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut refused = Refused::new();
                text::check_reason("body.reason", &reason, &mut refused);
                if !refused.is_empty() {
                    return Err(RegistryError::Invalid(refused));
                }
                let (model, mut record) =
                    live_version(records, &reference, version, (&who, Permission::ModelModerate), note)?;
                moderation.check(&record)?;
                let (from, to) = (record.state, moderation.state());
                if to == State::Available {
                    damage::check_sound(records, &record)?;
                }
                note.say("from", from.as_str());
                note.say("to", to.as_str());
                note.say("reason_given", reason.as_str());
                let over = rules_of(&record.findings);
                let mut writes = Vec::new();
                if from == State::Quarantined {
                    let approvals = review::approvals_of(records, &model.name, &record)?;
                    if let Moderation::Release { .. } = moderation {
                        let needed = work.settings().release_approvals;
                        if let Some(approval) = review::approve(&who, &reason, &record, &approvals, needed, moment)? {
                            note.action = Action::ModelApprove;
                            note.say("rules", said(&over));
                            note.say("approvals", approvals.len() + 1);
                            note.say("approvals_needed", needed);
                            note.say("to", from.as_str());
                            let approvals = approvals.into_iter().chain([approval]).collect();
                            let revision = record.revision;
                            let value = render::version_info(work.inspections.ruleset(), &model, &record);
                            let write = Write::PutApprovals { model: model.id, version, approvals };
                            return Ok((Tagged { value, revision }, vec![write]));
                        }
                        if !approvals.is_empty() {
                            let by: Vec<&str> = approvals.iter().map(|approval| approval.by.as_str()).collect();
                            note.say("approved_by", json!(by));
                        }
                    }
                    // Whatever is decided, it is decided.
                    writes.push(Write::PutApprovals { model: model.id, version, approvals: Vec::new() });
                }
                if let Some(decision) = moderation.decision(from) {
                    note.say("rules", said(&over));
                    let held_by_inspection = over.iter().any(|one| one.level != "note");
                    if decision == ReviewDecision::Released && (held_by_inspection || is_blocked(&record)) {
                        // Releasing what inspection objects to is to overrule it (scanning.md §1).
                        note.action = Action::ModelOverride;
                    }
                    if decision == ReviewDecision::Released && is_blocked(&record) {
                        note.say("override_block", true);
                    }
                    record.review = Some(ReviewRecord {
                        decision,
                        by: who.actor.name.clone(),
                        at_ms: moment.at_ms,
                        index: moment.index,
                        reason: reason.clone(),
                        over,
                    });
                }
                if from != to {
                    record.state_at_ms = moment.at_ms;
                }
                record.state = to;
                // Whatever it was held for, now somebody has decided.
                record.held_by_inspection = false;
                record.state_reason = Some(reason);
                let (value, changes) = changed(&work, model, record, moment)?;
                writes.extend(changes);
                Ok((value, writes))
            })
            .await
    }
}

/// What a moderator does to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moderation {
    Release { override_block: bool },
    Quarantine,
    Block,
    Deprecate,
}

impl Moderation {
    fn action(self) -> Action {
        match self {
            Self::Release { .. } => Action::ModelRelease,
            Self::Quarantine => Action::ModelQuarantine,
            Self::Block => Action::ModelBlock,
            Self::Deprecate => Action::ModelDeprecate,
        }
    }

    fn state(self) -> State {
        match self {
            Self::Release { .. } => State::Available,
            Self::Quarantine | Self::Block => State::Quarantined,
            Self::Deprecate => State::Deprecated,
        }
    }

    /// What it decides over the findings, if it does.
    fn decision(self, from: State) -> Option<ReviewDecision> {
        match self {
            Self::Release { .. } => (from == State::Quarantined).then_some(ReviewDecision::Released),
            Self::Block => Some(ReviewDecision::Blocked),
            Self::Quarantine | Self::Deprecate => None,
        }
    }

    /// Whether it may be done to a version as it is.
    fn check(self, version: &VersionRecord) -> Result<(), RegistryError> {
        match self {
            Self::Block if version.state == State::Quarantined && !is_blocked(version) => Ok(()),
            Self::Release { override_block: false } if is_blocked(version) => Err(RegistryError::Conflict(format!(
                "version {} was blocked for good{}; to release it all the same, say \"override_block\": true",
                version.version,
                version
                    .review
                    .as_ref()
                    .map(|review| format!(" by {} ({})", review.by, review.reason))
                    .unwrap_or_default()
            ))),
            Self::Block if is_blocked(version) => {
                Err(RegistryError::Conflict(format!("version {} is blocked already", version.version)))
            }
            _ => check_transition(version, self.state()),
        }
    }
}

/// Whether it is held for good.
pub(crate) fn is_blocked(version: &VersionRecord) -> bool {
    let blocked = version.review.as_ref().is_some_and(|review| review.decision == ReviewDecision::Blocked);
    version.state == State::Quarantined && blocked
}

/// A version that is there and not deleted, of a model that isn't either; `If-Match` is held against it.
fn live_version(
    records: &dyn Records,
    reference: &ModelRef,
    version: Version,
    (caller, permission): (&Caller, Permission),
    note: &mut Note,
) -> Result<(ModelRecord, VersionRecord), RegistryError> {
    let sight = Sight::of(caller, permission);
    let model = resolve::live_model(records, reference, &sight)?;
    note.target.id = model.id.to_string();
    let record = resolve::version(records, &model, version, &sight)?;
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
fn changed(
    inner: &Inner,
    mut model: ModelRecord,
    mut version: VersionRecord,
    moment: Moment,
) -> Decided<Tagged<VersionInfo>> {
    version.revision = moment.index;
    if let Some(latest) = model.latest.as_mut().filter(|latest| latest.version == version.version) {
        latest.state = version.state;
    }
    model.updated_at_ms = moment.at_ms;
    model.revision = moment.index;
    let value = render::version_info(inner.inspections.ruleset(), &model, &version);
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
