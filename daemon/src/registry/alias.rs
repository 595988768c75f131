//! Aliases.

use common::name::{Alias, ModelId, ModelRef, Version};
use serde::{Deserialize, Serialize};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::Outcome;

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
    /// Points an alias at a version.
    pub async fn set_alias(&self, caller: &Caller, model: &ModelRef, alias: &Alias, version: Version) -> Outcome<AliasMoved> { todo!() }
    /// Clears an alias.
    pub async fn clear_alias(&self, caller: &Caller, model: &ModelRef, alias: &Alias) -> Outcome<AliasMoved> { todo!() }
}
