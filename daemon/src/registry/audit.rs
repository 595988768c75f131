//! Reading the log.

use common::api::{AuditRow, Page};
use common::audit::{Outcome as EntryOutcome, Receipt};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Outcome, RegistryError};

/// Which entries. Newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only indices above.
    pub after: Option<u64>,
    /// Only indices below.
    pub before: Option<u64>,
    /// Actor's name or id.
    pub actor: Option<String>,
    /// Action, or a prefix that ends in `.*`.
    pub action: Option<String>,
    /// Target: an id, a model's name, a user's name.
    pub target: Option<String>,
    /// Outcome.
    pub outcome: Option<EntryOutcome>,
    /// Client address.
    pub ip: Option<String>,
    /// At or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// At or before, milliseconds since the epoch.
    pub until_ms: Option<i64>,
}

/// An export under way.
pub struct Export {}

impl Export {
    /// The next rows, at most 500; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditRow>>, RegistryError> { todo!() }
}

/// One entry with its receipt.
#[derive(Debug, Clone)]
pub struct EntryWithReceipt {
    /// The entry.
    pub row: AuditRow,
    /// Its receipt against the newest checkpoint.
    pub receipt: Receipt,
}

impl Registry {
    /// A page of entries.
    pub async fn audit_page(&self, caller: &Caller, query: AuditQuery, limit: usize, cursor: Option<&str>) -> Outcome<Page<AuditRow>> { todo!() }
    /// All entries that match, in constant memory.
    pub async fn audit_export(&self, caller: &Caller, query: AuditQuery) -> Outcome<Export> { todo!() }
    /// One entry.
    pub async fn audit_entry(&self, caller: &Caller, index: u64) -> Outcome<EntryWithReceipt> { todo!() }
}
