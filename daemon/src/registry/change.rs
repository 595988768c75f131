//! Changes of models and versions.

use common::api::{ModelPatch, ModelRow, VersionInfo, VersionPatch};
use common::name::{ModelRef, Version};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::Outcome;
use crate::registry::fetch::Tagged;

impl Registry {
    /// Edits a model.
    pub async fn patch_model(&self, caller: &Caller, model: &ModelRef, patch: ModelPatch) -> Outcome<Tagged<ModelRow>> { todo!() }
    /// Edits a version.
    pub async fn patch_version(&self, caller: &Caller, model: &ModelRef, version: Version, patch: VersionPatch) -> Outcome<Tagged<VersionInfo>> { todo!() }
    /// Quarantined (or deprecated) to available.
    pub async fn release(&self, caller: &Caller, model: &ModelRef, version: Version, reason: &str) -> Outcome<Tagged<VersionInfo>> { todo!() }
    /// To quarantined.
    pub async fn quarantine(&self, caller: &Caller, model: &ModelRef, version: Version, reason: &str) -> Outcome<Tagged<VersionInfo>> { todo!() }
    /// Available to deprecated.
    pub async fn deprecate(&self, caller: &Caller, model: &ModelRef, version: Version, reason: &str) -> Outcome<Tagged<VersionInfo>> { todo!() }
}
