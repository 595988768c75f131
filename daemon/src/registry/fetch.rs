//! Listing and describing.

use common::api::{AliasEvent, ModelInfo, ModelRow, Page, State, VersionInfo};
use common::name::{Alias, ModelRef, Version};
use serde::{Deserialize, Serialize};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::Outcome;
use crate::store::ModelSort;

/// A value and the revision it has: its entity tag is the revision in decimal digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tagged<T> {
    /// The value.
    pub value: T,
    /// Index of the entry that last changed it.
    pub revision: u64,
}

/// Which models to list, in what order.
#[derive(Debug, Clone, Default)]
pub struct ModelListing {
    /// Part of name or description, ignoring case.
    pub q: Option<String>,
    /// Tags that must all be there.
    pub tags: Vec<(String, String)>,
    /// State of the row.
    pub state: Option<State>,
    /// Format of the latest version.
    pub format: Option<String>,
    /// Models that have this alias.
    pub alias: Option<Alias>,
    /// Who published the latest version.
    pub uploader: Option<String>,
    /// Changed at or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// The order.
    pub sort: ModelSort,
    /// Rows of a page, 1..1000.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Registry {
    /// Models.
    pub async fn list_models(&self, caller: &Caller, listing: ModelListing) -> Outcome<Page<ModelRow>> { todo!() }
    /// A model; with `as_of_ms` and `name@alias`, the version the alias pointed to then.
    pub async fn model(&self, caller: &Caller, model: &ModelRef, as_of_ms: Option<i64>) -> Outcome<Tagged<ModelInfo>> { todo!() }
    /// Versions of a model, newest first.
    pub async fn versions(&self, caller: &Caller, model: &ModelRef, limit: usize, cursor: Option<&str>) -> Outcome<Page<VersionInfo>> { todo!() }
    /// A version.
    pub async fn version(&self, caller: &Caller, model: &ModelRef, version: Version) -> Outcome<Tagged<VersionInfo>> { todo!() }
    /// The history of an alias, newest first.
    pub async fn alias_history(&self, caller: &Caller, model: &ModelRef, alias: &Alias, limit: usize, cursor: Option<&str>) -> Outcome<Page<AliasEvent>> { todo!() }
}
