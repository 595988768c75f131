//! Deleting.

use common::api::{ModelRow, VersionInfo};
use common::name::{ModelRef, Version};
use serde::{Deserialize, Serialize};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::Outcome;
use crate::registry::fetch::Tagged;

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
    /// Deletes a model, restorably.
    pub async fn delete_model(&self, caller: &Caller, model: &ModelRef) -> Outcome<Gone> { todo!() }
    /// Deletes a model for good.
    pub async fn purge_model(&self, caller: &Caller, model: &ModelRef, reason: &str) -> Outcome<Gone> { todo!() }
    /// Takes a deletion back.
    pub async fn restore_model(&self, caller: &Caller, model: &ModelRef) -> Outcome<Tagged<ModelRow>> { todo!() }
    /// Deletes a version, restorably.
    pub async fn delete_version(&self, caller: &Caller, model: &ModelRef, version: Version) -> Outcome<Gone> { todo!() }
    /// Deletes a version for good.
    pub async fn purge_version(&self, caller: &Caller, model: &ModelRef, version: Version, reason: &str) -> Outcome<Gone> { todo!() }
    /// Takes a deletion back.
    pub async fn restore_version(&self, caller: &Caller, model: &ModelRef, version: Version) -> Outcome<Tagged<VersionInfo>> { todo!() }
}
