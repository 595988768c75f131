//! From a reference to the record it means, as far as the caller may see it. Knows deleted, purged, digest and alias
//! references; refuses to know what is done with the record.

use common::api::State;
use common::audit::Target;
use common::name::{ModelId, ModelKey, ModelName, ModelRef, Select, UserName, Version};
use common::role::Permission;

use crate::registry::access::Caller;
use crate::registry::error::RegistryError;
use crate::registry::grants::Reach;
use crate::store::records::{ModelRecord, VersionRecord};
use crate::store::{NamesWanted, Records, StoreError};

/// Versions that are looked at for the newest one that can be handed out.
const LATEST_SEARCH_MAX: usize = 1000;
/// Versions read at once.
const PAGE: usize = 50;

/// Which models a caller can reach with an operation: whatever looks a model up asks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sight {
    reach: Reach,
    permission: Permission,
}

impl Sight {
    /// Of an operation that needs this permission, which the caller has for some model.
    pub(crate) fn of(caller: &Caller, permission: Permission) -> Self {
        Self { reach: Reach::of(&caller.actor), permission }
    }

    /// Deleted models and versions of a name are shown to those who could restore them.
    pub(crate) fn sees_deleted(&self, name: &ModelName) -> bool {
        self.reach.allows(Permission::ModelDelete, name)
    }

    /// Whether there may be deleted models that are shown.
    pub(crate) fn sees_deleted_somewhere(&self) -> bool {
        self.reach.allows_somewhere(Permission::ModelDelete)
    }

    /// The names of the models that a list has; none for all.
    pub(crate) fn names(&self, of_deleted: bool) -> Option<NamesWanted> {
        self.reach.names(if of_deleted { Permission::ModelDelete } else { self.permission })
    }

    /// The operation is not for this one: out of view it is missing, like one that isn't there.
    fn admit(&self, name: &ModelName, missing: impl FnOnce() -> RegistryError) -> Result<(), RegistryError> {
        if !self.reach.sees(name) {
            return Err(missing());
        }
        if self.reach.allows(self.permission, name) {
            Ok(())
        } else {
            Err(self.reach.refusal_on(self.permission, name))
        }
    }
}

/// A model that was found.
pub(crate) struct Found {
    /// The model.
    pub(crate) model: ModelRecord,
    /// The version that has the artifact, where the reference is a digest.
    pub(crate) holder: Option<Version>,
}

/// A reference as it is written.
pub(crate) fn shown(reference: &ModelRef) -> String {
    let model = match &reference.model {
        ModelKey::Id(id) => id.to_string(),
        ModelKey::Name(name) => name.to_string(),
        ModelKey::Digest(digest) => digest.to_string(),
    };
    match &reference.select {
        Select::Latest => model,
        Select::Version(version) => format!("{model}:{version}"),
        Select::Alias(alias) => format!("{model}@{alias}"),
    }
}

/// The target of an operation on a reference, before it is known what it means.
pub(crate) fn target(reference: &ModelRef) -> Target {
    let bare = ModelRef { model: reference.model.clone(), select: Select::Latest };
    let mut target = Target::new("model", &shown(&bare));
    if let Select::Version(version) = reference.select {
        target.version = Some(version.to_string());
    }
    target
}

/// The same, of one of its versions.
pub(crate) fn version_target(reference: &ModelRef, version: Version) -> Target {
    Target { version: Some(version.to_string()), kind: "version".to_owned(), ..target(reference) }
}

/// What an entry says it is about where that can't be told, or isn't told on purpose. Nothing has it for its name.
pub(crate) const UNTOLD: &str = "?";

/// Puts the stable id into a target that was named as the caller named it, where there is such a thing: then all entries
/// about it are found under one id and in one `prev` chain, refused ones included. What means nothing stays as it was
/// typed. Deleted things count, whoever asks: an entry is not shown to those who may not see them. Returns the name that it
/// has at that moment, for whoever reads the entry.
pub(crate) fn settle(records: &dyn Records, target: &mut Target) -> Result<Option<String>, StoreError> {
    match target.kind.as_str() {
        "model" | "version" | "file" | "alias" => {
            let Ok(reference) = target.id.parse::<ModelRef>() else { return Ok(None) };
            let id = match &reference.model {
                ModelKey::Id(id) => Some(*id),
                ModelKey::Name(name) => records.model_named(name)?,
                ModelKey::Digest(digest) => records.holder(digest)?.map(|(id, _version)| id),
            };
            let Some(id) = id else { return Ok(None) };
            target.id = id.to_string();
            if let (Select::Version(version), None) = (&reference.select, &target.version) {
                target.version = Some(version.to_string());
            }
            Ok(records.model(id)?.map(|model| model.name.to_string()))
        }
        "user" if is_user_id(&target.id) => Ok(records.user_by_id(&target.id)?.map(|user| user.name.to_string())),
        "user" => {
            let Ok(name) = target.id.parse::<UserName>() else { return Ok(None) };
            Ok(records.user(&name)?.map(|user| {
                target.id = user.id;
                user.name.to_string()
            }))
        }
        _ => Ok(None),
    }
}

/// Whether it is an id and not a name: ids have capital letters, names have none once they are read.
fn is_user_id(text: &str) -> bool {
    let ulid = text.strip_prefix("usr_").and_then(|ulid| Some((ulid, ulid.parse::<ModelId>().ok()?)));
    ulid.is_some_and(|(written, ulid)| ulid.to_string() == written)
}

/// The model that a reference means.
pub(crate) fn model(records: &dyn Records, reference: &ModelRef, sight: &Sight) -> Result<Found, RegistryError> {
    let missing = || RegistryError::not_found(format!("model `{}`", shown(reference)));
    let (id, holder) = match &reference.model {
        ModelKey::Id(id) => (*id, None),
        ModelKey::Name(name) => (records.model_named(name)?.ok_or_else(missing)?, None),
        ModelKey::Digest(digest) => {
            // Of several, one that is in view: that others have the same file is not told.
            let (id, version) = records.holder_seen(digest, &|name| sight.reach.sees(name))?.ok_or_else(missing)?;
            (id, Some(version))
        }
    };
    let model = records.model(id)?.filter(|model| !model.purged).ok_or_else(missing)?;
    if model.deleted.is_some() && !sight.sees_deleted(&model.name) {
        return Err(missing());
    }
    sight.admit(&model.name, missing)?;
    Ok(Found { model, holder })
}

/// Whether the model that a reference means is within reach, if there is one or ever was.
pub(crate) fn check_reach(records: &dyn Records, reference: &ModelRef, sight: &Sight) -> Result<(), RegistryError> {
    let id = match &reference.model {
        ModelKey::Id(id) => Some(*id),
        ModelKey::Name(name) => {
            return sight.admit(name, || RegistryError::not_found(format!("model `{}`", shown(reference))));
        }
        ModelKey::Digest(digest) => records.holder(digest)?.map(|(id, _version)| id),
    };
    match id.map(|id| records.model(id)).transpose()?.flatten() {
        Some(model) => sight.admit(&model.name, || RegistryError::not_found(format!("model `{}`", shown(reference)))),
        None => Ok(()),
    }
}

/// The model that a change is about. Where a version or alias is named, the change would not be about that: refused.
pub(crate) fn model_to_change(
    records: &dyn Records,
    reference: &ModelRef,
    sight: &Sight,
) -> Result<ModelRecord, RegistryError> {
    if reference.select != Select::Latest || matches!(reference.model, ModelKey::Digest(_)) {
        return Err(RegistryError::invalid(
            "path.id",
            "name the model itself, by id or name, without version, alias or digest",
        ));
    }
    Ok(model(records, reference, sight)?.model)
}

/// The same, for changes that are possible only while it isn't deleted.
pub(crate) fn live_model(
    records: &dyn Records,
    reference: &ModelRef,
    sight: &Sight,
) -> Result<ModelRecord, RegistryError> {
    let model = model_to_change(records, reference, sight)?;
    if model.deleted.is_some() {
        return Err(RegistryError::Conflict(format!("model `{}` is deleted; restore it first", model.name)));
    }
    Ok(model)
}

/// A version by number.
pub(crate) fn version(
    records: &dyn Records,
    model: &ModelRecord,
    version: Version,
    sight: &Sight,
) -> Result<VersionRecord, RegistryError> {
    records
        .version(model.id, version)?
        .filter(|version| version.deleted.is_none() || sight.sees_deleted(&model.name))
        .ok_or_else(|| RegistryError::not_found(format!("version {version} of model `{}`", model.name)))
}

/// The version that a reference selects; none for the latest of a model that has none.
pub(crate) fn selected(
    records: &dyn Records,
    found: &Found,
    select: &Select,
    sight: &Sight,
) -> Result<Option<VersionRecord>, RegistryError> {
    match (select, found.holder) {
        (Select::Version(number), _) => version(records, &found.model, *number, sight).map(Some),
        (Select::Alias(alias), _) => {
            let model = &found.model;
            let to = model
                .aliases
                .get(alias)
                .ok_or_else(|| RegistryError::not_found(format!("alias `{alias}` of model `{}`", model.name)))?;
            version(records, model, to.version, sight).map(Some)
        }
        (Select::Latest, Some(holder)) => version(records, &found.model, holder, sight).map(Some),
        (Select::Latest, None) => latest(records, &found.model),
    }
}

/// The newest version that is handed out without a warning; else the newest deprecated one; else the newest.
fn latest(records: &dyn Records, model: &ModelRecord) -> Result<Option<VersionRecord>, RegistryError> {
    // Mostly the newest can be handed out, and then no other need be read.
    match &model.latest {
        None => return Ok(None),
        Some(latest) if latest.state == State::Available => return Ok(records.version(model.id, latest.version)?),
        Some(_held_or_old) => {}
    }
    let mut deprecated = None;
    let mut newest = None;
    let mut below = None;
    for _page in 0..LATEST_SEARCH_MAX / PAGE {
        let page = records.versions(model.id, below, PAGE)?;
        below = page.last().map(|version| version.version);
        let is_last = page.len() < PAGE;
        for version in page {
            match version.state {
                State::Available => return Ok(Some(version)),
                State::Deprecated => deprecated = deprecated.or(Some(version)),
                State::Quarantined => newest = newest.or(Some(version)),
                State::Deleted => {}
            }
        }
        if is_last {
            break;
        }
    }
    Ok(deprecated.or(newest))
}

#[cfg(test)]
mod tests {
    use super::{UNTOLD, shown, target, version_target};

    /// No model and no user can have the name that stands for none.
    #[test]
    fn the_untold_is_no_name() {
        assert!(UNTOLD.parse::<common::name::ModelRef>().is_err() && UNTOLD.parse::<common::name::UserName>().is_err());
    }

    /// References are shown as they are written; targets name the model.
    #[test]
    fn references() {
        for text in ["team/model", "team/model:3", "m@prod", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
            assert_eq!(shown(&text.parse().expect("a reference")), text);
        }
        let target = target(&"m:3".parse().expect("a reference"));
        assert_eq!((target.id.as_str(), target.version.as_deref()), ("m", Some("3")));
        let target = version_target(&"m".parse().expect("a reference"), common::name::Version::FIRST);
        assert_eq!((target.kind.as_str(), target.version.as_deref()), ("version", Some("1")));
    }
}
