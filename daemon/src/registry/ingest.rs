//! Items of the drop folder, as far as the registry knows them: who acts for one, that each becomes one version and no
//! second, and what people do about them. Knows records and entries; refuses to know folders.
//!
//! What an item came to is recorded in the commit that decides it ([`IngestRecord`]): a version and its item are one
//! commit, so a daemon that dies between the commit and the moving of the file finds out at its next start that nothing is
//! left to do but to move it. The record is forgotten, along with a later commit, once the item has left `processing/`
//! durably.

use common::api::IngestKind;
use common::audit::Receipt;
use common::digest::Digest;
use common::name::{ItemId, UserName};
use common::role::Role;
use tokio::sync::watch;

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::publish::PublishedVersion;
use crate::store::records::{IngestRecord, IntakeRecord};

/// How far the publishing of an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its files are inspected.
    Scanning,
    /// Its bytes are made durable and its version is recorded.
    Storing,
}

/// An item of the drop folder that is made a version; comes with the form of its upload.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// Its path below the drop folder; what is not UTF-8 is replaced.
    pub path: String,
    /// What it is.
    pub kind: IngestKind,
    /// Device of the file or folder.
    pub device: u64,
    /// Inode of it.
    pub inode: u64,
    /// The user of the machine it belongs to.
    pub owner_uid: u32,
    /// Octets of its files.
    pub size: u64,
    /// SHA-256 of it, where it is one file that was read.
    pub digest: Option<Digest>,
    /// Is told how far it has come.
    pub stage: Option<watch::Sender<Option<Stage>>>,
}

/// Who acts for an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropper {
    /// A user of the registry.
    User(UserName),
    /// Nobody in particular: the drop folder itself, with the role it was given.
    Watcher(Role),
}

impl Registry {
    /// The caller that acts for an item, as the user's record is now.
    ///
    /// # Errors
    /// `Unauthenticated`: there is no such user any more, or it is disabled; the text of it is for the one who dropped the
    /// file. `Corrupt`, `Internal`.
    pub async fn dropper(&self, dropper: &Dropper) -> Result<Caller, RegistryError> {
        todo!("{dropper:?}")
    }

    /// What became of an item, if its record is still there.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn ingest_record(&self, item: ItemId) -> Result<Option<IngestRecord>, RegistryError> {
        self.inner.read(|view| Ok(view.ingest(item)?)).await
    }

    /// All that are kept, oldest item first, after one of them.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn ingest_records(
        &self,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<IngestRecord>, RegistryError> {
        todo!("{after:?} {limit}")
    }

    /// Says that these items have left `processing/` durably: their records go with a commit to come.
    pub fn forget_ingests(&self, items: Vec<ItemId>) {
        todo!("{items:?}")
    }

    /// What an item came to that was published, as far as that can be told again, and the proof of its entry: for the
    /// receipt of an item that a crash kept from getting one.
    ///
    /// # Errors
    /// `NotFound`: the version was purged since. `Corrupt`, `Internal`.
    pub async fn ingest_published(&self, record: &IngestRecord) -> Result<(PublishedVersion, Receipt), RegistryError> {
        todo!("{record:?}")
    }

    /// The proof of an entry of the drop folder's own.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn ingest_receipt(&self, record: &IngestRecord) -> Result<Receipt, RegistryError> {
        todo!("{record:?}")
    }

    /// Records that an item is refused for good (`ingest.reject`), with its [`IngestRecord`]. Done already, it gives the
    /// first record again.
    ///
    /// # Errors
    /// `AuditUnavailable` and its kin: nothing has happened, and the item stays where it is.
    pub async fn reject_item(&self, caller: &Caller, item: Item, why: &RegistryError) -> Outcome<IngestRecord> {
        todo!("{caller:?} {item:?} {why:?}")
    }

    /// May this caller look at the drop folder? First line of whatever shows it.
    ///
    /// # Errors
    /// What `require` says.
    pub fn may_see_ingest(&self, caller: &Caller) -> Result<(), RegistryError> {
        caller.require(common::role::Permission::ModelRead)
    }

    /// Records that an item is tried again by hand (`ingest.retry`). `path` and `was` go into the entry.
    ///
    /// # Errors
    /// What `require` says, with its entry; `AuditUnavailable`.
    pub async fn retry_item(&self, caller: &Caller, item: ItemId, path: &str, was: &str) -> Outcome<()> {
        todo!("{caller:?} {item} {path} {was}")
    }

    /// Records that an item is given up by hand (`ingest.discard`), with its [`IngestRecord`]. Done already, it gives the
    /// first record again.
    ///
    /// # Errors
    /// What `require` says, with its entry; `Invalid` for the reason; `AuditUnavailable`.
    pub async fn discard_item(&self, caller: &Caller, item: Item, reason: &str) -> Outcome<IngestRecord> {
        todo!("{caller:?} {item:?} {reason}")
    }

    /// Pauses the drop folder, or lets it go on (`ingest.pause`, `ingest.resume`); kept over restarts. What is under way
    /// ends. What it is already is recorded all the same.
    ///
    /// # Errors
    /// What `require` says, with its entry; `Invalid` for the reason; `AuditUnavailable`.
    pub async fn pause_intake(&self, caller: &Caller, paused: bool, reason: &str) -> Outcome<IntakeRecord> {
        todo!("{caller:?} {paused} {reason}")
    }

    /// Whether the drop folder is paused, as it was last said; none if nobody ever did.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn intake(&self) -> Result<Option<IntakeRecord>, RegistryError> {
        self.inner.read(|view| Ok(view.intake()?)).await
    }
}
