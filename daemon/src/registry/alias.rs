//! Aliases: names for versions that can be moved, each with its history. Knows which are protected; refuses to know what
//! an alias is used for.

use std::sync::Arc;

use common::audit::{Action, Target};
use common::name::{Alias, ModelId, ModelName, ModelRef, Version};
use common::role::Permission;
use serde::{Deserialize, Serialize};

use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::resolve::{self, Sight};
use crate::registry::{Inner, Registry};
use crate::store::records::{AliasEventRecord, AliasRecord, ModelRecord, VersionRecord, Write};
use crate::store::{Moment, Records};

/// An alias that was moved or cleared; becomes `AliasChanged` with the receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AliasMoved {
    /// The model.
    pub id: ModelId,
    /// The alias.
    pub alias: Alias,
    /// The version it points to now; none where it was cleared.
    pub version: Option<Version>,
    /// The version it pointed to before.
    pub previous: Option<Version>,
}

impl Registry {
    /// Points an alias at a version. `If-Match` is held against the model.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict`, `PreconditionFailed`.
    pub async fn set_alias(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        alias: &Alias,
        version: Version,
    ) -> Outcome<AliasMoved> {
        self.move_alias(caller, reference, alias, Some(version)).await
    }

    /// Clears an alias. `If-Match` is held against the model.
    ///
    /// # Errors
    /// What `require` says; `NotFound` where it isn't set, `Conflict`, `PreconditionFailed`.
    pub async fn clear_alias(&self, caller: &Caller, reference: &ModelRef, alias: &Alias) -> Outcome<AliasMoved> {
        self.move_alias(caller, reference, alias, None).await
    }

    async fn move_alias(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        alias: &Alias,
        to: Option<Version>,
    ) -> Outcome<AliasMoved> {
        let inner = &self.inner;
        let action = if to.is_some() { Action::AliasSet } else { Action::AliasClear };
        let target = Target { kind: "alias".into(), ..resolve::target(reference) };
        let note = Note::change(action, target).with("alias", alias.as_str());
        if let Err(error) = inner.require_alias(caller, alias, None) {
            return Err(inner.refuse(caller, note, error).await);
        }
        let (reference, alias, who, work) = (reference.clone(), alias.clone(), caller.clone(), Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let sight = Sight::of(&who, Permission::ModelWrite);
                let mut model = resolve::live_model(records, &reference, &sight)?;
                note.target.id = model.id.to_string();
                work.require_alias(&who, &alias, Some(&model.name))?;
                who.check_if_match(model.revision)?;
                let previous = model.aliases.get(&alias).map(|to| to.version);
                let moved = AliasMoved { id: model.id, alias: alias.clone(), version: to, previous };
                if let Some(previous) = previous {
                    note.say("previous", previous.number());
                }
                // Versions show the aliases they have, so those that gain or lose one change.
                let mut writes = touch(records, model.id, previous, moment)?;
                let event = match to {
                    Some(version) => {
                        note.target.version = Some(version.to_string());
                        let version = resolve::version(records, &model, version, &sight)?;
                        if version.deleted.is_some() {
                            return Err(RegistryError::Conflict(format!(
                                "version {} is deleted; restore it first",
                                version.version
                            )));
                        }
                        if previous == Some(version.version) {
                            return Ok((moved, Vec::new()));
                        }
                        writes.extend(touch(records, model.id, Some(version.version), moment)?);
                        point(&mut model, &alias, version.version, &who.actor.name, moment)
                    }
                    None => {
                        model.aliases.remove(&alias).ok_or_else(|| {
                            RegistryError::not_found(format!("alias `{alias}` of model `{}`", model.name))
                        })?;
                        step(&model, &alias, None, &who.actor.name, moment)
                    }
                };
                model.updated_at_ms = moment.at_ms;
                model.revision = moment.index;
                writes.extend([event, Write::PutModel(model)]);
                Ok((moved, writes))
            })
            .await
    }
}

impl Inner {
    /// The permission to move an alias of a model of this name, or of any: protected ones need more.
    pub(crate) fn require_alias(
        &self,
        caller: &Caller,
        alias: &Alias,
        name: Option<&ModelName>,
    ) -> Result<(), RegistryError> {
        let require = |permission| match name {
            Some(name) => caller.require_on(permission, name),
            None => caller.require(permission),
        };
        require(Permission::ModelWrite)?;
        if self.settings().protected_aliases.contains(alias) {
            require(Permission::ProtectedAlias)?;
        }
        Ok(())
    }
}

/// Points an alias of a model at a version and gives the step for its history. The model is the caller's to write.
pub(crate) fn point(model: &mut ModelRecord, alias: &Alias, version: Version, by: &str, moment: Moment) -> Write {
    let record = AliasRecord { version, set_at_ms: moment.at_ms, set_by: by.to_owned(), index: moment.index };
    model.aliases.insert(alias.clone(), record);
    step(model, alias, Some(version), by, moment)
}

/// Gives a version a new revision.
pub(crate) fn touch(
    records: &dyn Records,
    model: ModelId,
    version: Option<Version>,
    moment: Moment,
) -> Result<Vec<Write>, RegistryError> {
    let record = version.map(|version| records.version(model, version)).transpose()?.flatten();
    let touched = record.map(|record| Write::PutVersion(VersionRecord { revision: moment.index, ..record }));
    Ok(touched.into_iter().collect())
}

/// A step of an alias's history.
pub(crate) fn step(model: &ModelRecord, alias: &Alias, version: Option<Version>, by: &str, moment: Moment) -> Write {
    Write::AppendAliasEvent {
        model: model.id,
        alias: alias.clone(),
        event: AliasEventRecord { version, at_ms: moment.at_ms, by: by.to_owned(), index: moment.index },
    }
}
