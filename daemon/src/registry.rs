//! The registry: models, versions, aliases, users and sessions, and the rules they obey. Every face (HTTP, drop folder,
//! sub-commands) works through [`Registry`]; nothing else works on the store. Knows no status code, no store's make, no
//! environment.
//!
//! Invariants:
//!
//! 1. The first line of every public operation is its permission check, and a refusal is an entry in the audit log.
//! 2. Nothing changes but in [`Store::commit`](crate::store::Store::commit), together with its entry. Rules that depend on
//!    state (free name, next number, last admin, entity tag, idempotency key) are decided there, on the one writing
//!    thread, so that two requests can't both pass them.
//! 3. An operation returns after its entry is durable and covered by a signed checkpoint. If that can't be had, it fails
//!    with `AuditUnavailable` and nothing has happened.
//! 4. A blob is durable before a record points to it and outlives the last record that does (`pins.rs`).
//! 5. A version's number is given once, its manifest never changes, and its bytes are handed out by one gate
//!    (`download.rs`).
//! 6. A started commit can't be cancelled: it runs in a task of its own.
//! 7. There is always an admin that can sign in.
//! 8. Secrets are in no error, no entry and no log line.
//!
//! | module | what it does |
//! |---|---|
//! | `access` | who calls, and the permission check |
//! | `login` | password to token, token to actor, sessions |
//! | `users` | create, change, delete users |
//! | `upload`, `publish` | a new version |
//! | `fetch`, `download` | list, describe, hand out |
//! | `change`, `alias`, `delete` | edit, move, delete, restore, purge |
//! | `audit` | page through the log, export, follow |
//! | `commit`, `idempotency` | the one way into the store |
//! | `pins`, `upkeep` | bytes nobody points to, and what runs by the clock |

pub mod access;
pub mod alias;
pub mod audit;
pub mod change;
pub mod commit;
pub mod cursor;
pub mod delete;
pub mod download;
pub mod error;
pub mod fetch;
pub mod idempotency;
pub mod login;
pub mod pins;
pub mod publish;
pub mod render;
pub mod resolve;
pub mod settings;
pub mod throttle;
pub mod upkeep;
pub mod upload;
pub mod users;

use std::sync::Arc;

use common::audit::{Action, Target};
use common::name::UserName;

use crate::blobs::{Blobs, Space};
use crate::config::secret::Secret;
use crate::registry::access::Caller;
use crate::registry::error::{Logged, RegistryError};
use crate::registry::settings::Settings;
use crate::store::records::Counters;
use crate::store::{Health, Identity, PublishedCheckpoint, Store, StoreStats};

/// The registry. Shared by all faces as an `Arc`.
pub struct Registry {
    inner: Arc<Inner>,
}

/// What operations and the tasks they start share.
struct Inner {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    settings: Settings,
}

/// What became of the first admin.
#[derive(Debug)]
pub enum Seeded {
    /// There are users already; nothing was done.
    AlreadyThere,
    /// It was created.
    Created {
        /// The password, where none was given: to be shown once; it must be changed at the first sign-in.
        generated_password: Option<Secret>,
    },
}

impl Registry {
    /// Opens the registry over an open store and its blobs, and starts its upkeep. Needs a tokio runtime.
    pub async fn open(store: Arc<dyn Store>, blobs: Arc<dyn Blobs>, settings: Settings) -> Result<Self, RegistryError> {
        todo!()
    }

    /// Creates the first admin, if there is no user yet.
    pub async fn seed_admin(&self, name: &UserName, password: Option<Secret>) -> Result<Seeded, RegistryError> {
        todo!()
    }

    /// Records the failure of a request that failed before the registry was asked. None: the limiter counts it instead,
    /// and the answer is the error in `Err` where it is over the limit.
    ///
    /// # Errors
    /// `TooManyRequests` where the limiter refuses the request; `AuditUnavailable`: then this is the answer.
    pub async fn record_failure(
        &self,
        caller: &Caller,
        action: Action,
        target: Target,
        error: &RegistryError,
        status: u16,
    ) -> Result<Option<Logged>, RegistryError> {
        todo!()
    }

    /// The totals.
    pub async fn counters(&self) -> Result<Counters, RegistryError> {
        todo!()
    }

    /// What the store counts of its own work.
    pub fn stats(&self) -> StoreStats {
        self.inner.store.stats()
    }

    /// Whether the store can record; changes are told.
    pub fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.inner.store.health()
    }

    /// The newest published checkpoint; changes are told.
    pub fn checkpoints(&self) -> tokio::sync::watch::Receiver<Arc<PublishedCheckpoint>> {
        self.inner.store.checkpoints()
    }

    /// Facts about the store: backend, origin, key.
    pub fn identity(&self) -> &Identity {
        self.inner.store.identity()
    }

    /// Room for blobs.
    pub async fn space(&self) -> Result<Space, RegistryError> {
        todo!()
    }

    /// Uploads under way.
    pub fn open_uploads(&self) -> u64 {
        todo!()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Ends upkeep, writes what is still counted, and closes the store.
    pub async fn close(&self) {
        todo!()
    }
}
