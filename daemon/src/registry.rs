//! The registry: models, versions, aliases, users and sessions, and the rules they obey. Every face (HTTP, drop folder,
//! sub-commands) works through [`Registry`]; nothing else works on the store. Knows no status code, no store's make, no
//! environment.
//!
//! Invariants:
//!
//! 1. The first line of every public operation is its permission check, and a refusal is an entry in the audit log.
//! 2. Nothing changes but in [`Store::commit`], together with its entry. Rules that depend on
//!    state (free name, next number, last admin, entity tag, idempotency key) are decided there, on the one writing
//!    thread, so that two requests can't both pass them.
//! 3. An operation returns after its entry is durable and covered by a signed checkpoint. If that can't be had, it fails
//!    with `AuditUnavailable` and nothing has happened.
//! 4. A blob is durable before a record points to it and outlives the last record that does (`pins.rs`); that none does is
//!    for the log to say (`removal.rs`).
//! 5. A version's number is given once, its manifest never changes, and its bytes are handed out by one gate
//!    (`download.rs`).
//! 6. A started commit can't be cancelled: it runs in a task of its own.
//! 7. There is always an admin that can sign in.
//! 8. Secrets are in no error, no entry and no log line.
//!
//! | module | what it does |
//! |---|---|
//! | `access`, `grants` | who calls, and the permission check; by the names of models |
//! | `login` | password to token, token to actor, sessions |
//! | `users` | create, change, delete users |
//! | `tokens` | API tokens: make, rotate, revoke, and from one to an actor |
//! | `upload`, `publish` | a new version |
//! | `resumable` | uploads that survive a lost connection and a restart |
//! | `ingest` | items of the drop folder, each once |
//! | `inspection`, `policy` | what is found in files, and what is done about it |
//! | `review`, `rescan` | the same, later: by people, and with other rules |
//! | `fetch`, `download` | list, describe, hand out |
//! | `memo` | answers that are kept until what they were made from changes |
//! | `change`, `alias`, `delete` | edit, move, delete, restore, purge |
//! | `audit`, `tail` | page through the log, export; follow |
//! | `log` | checkpoint, hashes, bundles and proofs, for whoever checks the log |
//! | `keys` | the log's keys |
//! | `check` | everything against everything else |
//! | `examine`, `scrub` | a blob against its digest; all of them, on a schedule |
//! | `damage` | what needs a damaged blob is held back |
//! | `webhooks` | what is told to others about entries, and how far that has come |
//! | `commit`, `idempotency` | the one way into the store |
//! | `turns` | who may look something up that takes long, and who waits |
//! | `pins`, `removal` | bytes nobody points to |
//! | `gc` | what crashes left of bytes, and what is missing |
//! | `retention` | rules by which versions go |
//! | `quota` | how much may be kept, and what uploads have reserved of it |
//! | `upkeep` | what runs by the clock |

pub mod access;
mod acknowledge;
pub mod alias;
pub mod audit;
pub mod backup;
pub mod bulk;
pub mod card;
pub mod change;
pub mod check;
pub mod commit;
pub mod cursor;
mod damage;
pub mod delete;
pub mod download;
pub mod error;
pub(crate) mod examine;
pub mod excerpt;
pub mod fetch;
pub mod grants;
pub mod gc;
pub mod idempotency;
pub mod ingest;
pub mod inspection;
pub mod lifecycle;
pub mod keys;
pub mod log;
pub mod login;
mod memo;
mod pipe;
pub mod pins;
mod place;
pub mod policy;
pub mod publish;
pub mod quota;
pub mod removal;
pub mod render;
pub mod rescan;
pub mod resolve;
pub mod resumable;
pub mod retention;
pub mod review;
pub mod scrub;
pub mod settings;
pub mod tail;
pub mod text;
pub mod throttle;
pub mod tokens;
pub mod totp;
pub mod turns;
pub mod upkeep;
pub mod upload;
pub mod users;
pub mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::audit::{Action, Target};
use common::name::ModelRef;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::auth::password;
use crate::auth::token::TokenKeys;
use crate::auth::totp::FactorKey;
use crate::auth::webhook::WebhookKey;
use crate::blobs::{Blobs, Space};
use crate::config::secret::Secret;
use crate::inspection::Inspector;
use crate::live::Live;
use crate::registry::access::{Actor, Caller};
use crate::registry::commit::{Note, logged_ip};
use crate::registry::error::{Logged, RegistryError};
use crate::registry::fetch::Written;
use crate::registry::gc::Gc;
use crate::registry::idempotency::FingerprintKey;
use crate::registry::ingest::Forgets;
use crate::registry::inspection::Inspections;
use crate::registry::login::SignedIn;
use crate::registry::memo::Memo;
use crate::registry::pins::Pins;
use crate::registry::place::PlaceKey;
use crate::registry::quota::Quotas;
use crate::registry::removal::Removals;
use crate::registry::rescan::Rescans;
use crate::registry::resolve::Sight;
use crate::registry::resumable::Resumables;
use crate::registry::retention::Retention;
use crate::registry::scrub::Scrub;
use crate::registry::settings::Settings;
use crate::registry::tail::Feed;
use crate::registry::throttle::{Hashing, Throttle};
use crate::registry::tokens::uses::Uses;
use crate::registry::turns::Turns;
use crate::registry::upkeep::Tasks;
use crate::registry::upload::Intake;
use crate::store::records::Counters;
use crate::store::{Identity, PublishedCheckpoint, Store, StoreStats};

pub use crate::store::{Health, JOURNAL_FORMAT};

/// The registry. Shared by all faces as an `Arc`.
pub struct Registry {
    inner: Arc<Inner>,
    upkeep: Vec<JoinHandle<()>>,
}

/// What operations and the tasks they start share.
pub(crate) struct Inner {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    /// What the operator decides; replaced as a whole by a reload.
    settings: Live<Settings>,
    tokens: TokenKeys,
    fingerprints: FingerprintKey,
    places: PlaceKey,
    /// Verified where there is no user, so that it takes as long.
    hash_of_nobody: String,
    hashing: Hashing,
    throttle: Throttle,
    token_uses: Uses,
    /// Who has a session, by its id.
    signed_in: Memo<String, SignedIn>,
    /// Who acts with an API token, by its hash.
    token_actors: Memo<[u8; 32], Actor>,
    /// Models as they were shown to those who see as much.
    shown: Memo<(ModelRef, Sight), Written>,
    /// Whose turn it is to look something up.
    turns: Arc<Turns>,
    intake: Intake,
    quotas: Arc<Quotas>,
    resumables: Resumables,
    retention: Retention,
    gc: Gc,
    forgets: Forgets,
    pins: Pins,
    removals: Removals,
    scrub: Scrub,
    tasks: Tasks,
    inspections: Inspections,
    rescans: Rescans,
    /// Whether a check runs.
    checking: Arc<AtomicBool>,
    feed: Feed,
    webhook_key: WebhookKey,
    factor_key: FactorKey,
}

/// Sessions whose users are known without asking the records, and as many API tokens.
const CALLERS_KEPT: usize = 1024;
/// Models that are known as they are shown. With [`fetch::WRITTEN_OCTETS_MAX`] each, 16 MiB at most.
const SHOWN_KEPT: usize = 1024;

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
    /// Opens the registry over an open store and its blobs, and starts its upkeep. Needs a tokio runtime with time.
    ///
    /// # Errors
    /// `Internal`: the blobs, the system's randomness or the token library don't work.
    pub async fn open(
        store: Arc<dyn Store>,
        blobs: Arc<dyn Blobs>,
        inspector: Arc<dyn Inspector>,
        settings: Settings,
    ) -> Result<Self, RegistryError> {
        let stale = Arc::clone(&blobs);
        // What is staged before the first upload is what a crash left.
        let records = settings.resumable.dir.clone();
        let quotas = Arc::new(Quotas::new(settings.quotas));
        let reserving = Arc::clone(&quotas);
        let first_steps = tokio::task::spawn_blocking(move || {
            (stale.sweep_staging(), Resumables::load(&records, &*stale, &reserving), password::hash_of_nobody())
        });
        let first_steps = first_steps.await.map_err(|error| RegistryError::Internal(error.into()))?;
        let (swept, resumables, hash_of_nobody) = first_steps;
        if swept? > 0 {
            tracing::info!("removed what uploads had staged before the last stop");
        }
        let tokens = TokenKeys::new(&settings.jwt_secret, settings.jwt_secret_previous.as_ref());
        let feed = Feed::new(Arc::clone(&store.checkpoints().borrow()));
        let inner = Arc::new(Inner {
            store,
            blobs,
            tokens: tokens.map_err(|error| RegistryError::Internal(error.into()))?,
            fingerprints: FingerprintKey::new(&settings.jwt_secret),
            places: PlaceKey::new(&settings.jwt_secret),
            hash_of_nobody: hash_of_nobody.map_err(|error| RegistryError::Internal(error.to_string().into()))?,
            inspections: Inspections::new(inspector),
            rescans: Rescans::default(),
            hashing: Hashing::new(),
            throttle: Throttle::default(),
            token_uses: Uses::default(),
            signed_in: Memo::new(CALLERS_KEPT),
            token_actors: Memo::new(CALLERS_KEPT),
            shown: Memo::new(SHOWN_KEPT),
            turns: Turns::new(),
            intake: Intake::new(),
            quotas,
            resumables: resumables?,
            retention: Retention::default(),
            gc: Gc::default(),
            forgets: Forgets::default(),
            pins: Pins::default(),
            removals: Removals::default(),
            scrub: Scrub::new(settings.scrub.clone()),
            tasks: Tasks::default(),
            checking: Arc::default(),
            feed,
            webhook_key: WebhookKey::new(settings.webhooks.key.clone()),
            factor_key: FactorKey::new(settings.totp.key.clone()),
            settings: Live::new(settings),
        });
        let upkeep = upkeep::start(&inner);
        Ok(Self { inner, upkeep })
    }

    /// Records the failure of a request that failed before the registry was asked, or of one whose failure carries no entry
    /// yet. `status` is the one it is answered with. None: the limiter that made the failure has counted it, and there is
    /// no entry of its own.
    ///
    /// # Errors
    /// `TooManyRequests` where the limiter refuses the request, `AuditUnavailable` where the entry can't be written: then
    /// this is the answer.
    pub async fn record_failure(
        &self,
        caller: &Caller,
        action: Action,
        target: Target,
        error: &RegistryError,
        status: u16,
    ) -> Result<Option<Logged>, RegistryError> {
        if matches!(error, RegistryError::TooManyRequests { .. } | RegistryError::Overloaded(_)) {
            return Ok(None);
        }
        self.inner.limit_anonymous(caller)?;
        let mut note = Note::event(action, target).with("reason", error.as_str());
        note.status = Some(status);
        note.outcome = Some(error.outcome());
        match self.inner.record(caller, note).await {
            Ok(done) => Ok(done.logged),
            Err(failure) => Err(failure.error),
        }
    }

    /// The totals.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn counters(&self) -> Result<Counters, RegistryError> {
        self.inner.read(|view| Ok(view.counters()?)).await
    }

    /// How long what waits for the log has waited; zero where nothing does.
    pub fn log_is_behind(&self) -> Duration {
        self.inner.store.behind()
    }

    /// Callers that were turned away since start: those that wanted something looked up, and uploads that found no place.
    pub fn turned_away(&self) -> (u64, u64) {
        (self.inner.turns.shed(), self.inner.intake.turned_away())
    }

    /// What the store counts of its own work.
    pub fn stats(&self) -> StoreStats {
        self.inner.store.stats()
    }

    /// Makes sure that what is read from now on is at least as new as all that any daemon acknowledged before.
    ///
    /// # Errors
    /// `AuditUnavailable`: it can't be found out at the moment.
    pub async fn come_up_to_date(&self) -> Result<(), RegistryError> {
        // Every request asks; where nobody else writes there is nothing to wait for.
        if self.inner.store.is_shared() { Ok(self.inner.store.refresh().await?) } else { Ok(()) }
    }

    /// Whether the store can record; changes are told.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.store.health()
    }

    /// The newest published checkpoint; changes are told.
    pub fn checkpoints(&self) -> watch::Receiver<Arc<PublishedCheckpoint>> {
        self.inner.store.checkpoints()
    }

    /// Facts about the store: backend, origin, key.
    pub fn identity(&self) -> Identity {
        self.inner.store.identity()
    }

    /// Room for blobs.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn space(&self) -> Result<Space, RegistryError> {
        self.inner.space().await
    }

    /// What keeps the bytes, in a word.
    pub fn blobs_backend(&self) -> &'static str {
        self.inner.blobs.backend()
    }

    /// Whether the bytes can be reached, as far as is known.
    ///
    /// # Errors
    /// Why not, in words that anybody may see.
    pub fn blobs_reachable(&self) -> Result<(), String> {
        self.inner.blobs.reachable()
    }

    /// Uploads under way.
    pub fn open_uploads(&self) -> u64 {
        self.inner.intake.open()
    }

    /// The settings of this moment.
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.settings()
    }

    /// A client's address as far as it may be written down.
    pub fn shown_ip(&self, ip: IpAddr) -> Option<String> {
        logged_ip(ip, self.inner.settings().client_ip)
    }

    /// Ends upkeep, waits for tasks under way, writes what is still counted, and closes the store.
    pub async fn close(&self) {
        self.finish().await;
        self.inner.store.close().await;
    }

    /// Ends upkeep, waits for tasks under way, and writes what is still counted: after this only a caller adds entries.
    pub async fn finish(&self) {
        for task in &self.upkeep {
            task.abort();
        }
        // Requests have had their time: a task that waits for a verdict is to end, not to be waited for.
        self.inner.inspections.stop();
        self.inner.removals.stop();
        self.inner.scrub.stop();
        self.inner.tasks.finish().await;
        self.inner.write_token_uses().await;
        self.inner.summarise_rejected().await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for task in &self.upkeep {
            task.abort();
        }
        self.inner.removals.stop();
        self.inner.scrub.stop();
    }
}

impl Inner {
    /// The settings of this moment. Who needs two of them that belong together asks once.
    fn settings(&self) -> Arc<Settings> {
        self.settings.get()
    }

    async fn space(self: &Arc<Self>) -> Result<Space, RegistryError> {
        let inner = Arc::clone(self);
        let space = tokio::task::spawn_blocking(move || inner.blobs.space()).await;
        Ok(space.map_err(|error| RegistryError::Internal(error.into()))??)
    }
}

#[cfg(test)]
mod tests;
