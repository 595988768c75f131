//! All items and where they stand, for whoever asks, and what people do about them. Knows states; refuses to know files.

use std::sync::Arc;

use common::api::{IngestChanged, IngestItem, IngestPage, IngestState, IntakeChanged, IntakeStatus};
use common::name::ItemId;

use crate::registry::access::Caller;
use crate::registry::error::{Done, Failure, RegistryError};

/// Which items of the list.
#[derive(Debug, Clone, Default)]
pub struct ItemQuery {
    /// In one of these states; empty: in any.
    pub states: Vec<IngestState>,
    /// Part of its path, ignoring case.
    pub text: Option<String>,
    /// Go on after this cursor (from [`IngestPage::next_cursor`]).
    pub cursor: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// The drop folder, as other faces see it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    _shared: Arc<()>,
}

impl Handle {
    /// A page of the items.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub fn items(&self, caller: &Caller, query: &ItemQuery) -> Result<IngestPage, RegistryError> {
        todo!("{caller:?} {query:?}")
    }

    /// One item.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub fn item(&self, caller: &Caller, id: ItemId) -> Result<IngestItem, RegistryError> {
        todo!("{caller:?} {id}")
    }

    /// The folder as a whole, for `/status` and metrics: no names in it.
    pub fn status(&self) -> IntakeStatus {
        todo!()
    }

    /// Tries a failed or refused item again, at once. The receipt is that of the entry.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Conflict`: it is under way, or done.
    pub async fn retry(&self, caller: &Caller, id: ItemId) -> Result<Done<IngestChanged>, Failure> {
        todo!("{caller:?} {id}")
    }

    /// Gives an item up that is not yet a version: it goes to `rejected/`, and is not tried again. One that lies there
    /// already only leaves the list.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Conflict`: it is under way, or done; `Invalid` for the reason.
    pub async fn discard(&self, caller: &Caller, id: ItemId, reason: &str) -> Result<Done<IngestChanged>, Failure> {
        todo!("{caller:?} {id} {reason}")
    }

    /// Takes nothing more in, or goes on; what is under way ends.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the reason.
    pub async fn pause(&self, caller: &Caller, paused: bool, reason: &str) -> Result<Done<IntakeChanged>, Failure> {
        todo!("{caller:?} {paused} {reason}")
    }
}
