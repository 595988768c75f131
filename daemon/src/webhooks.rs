//! Delivering webhooks: a task that gives each webhook a worker, and workers that follow the log, each at its own pace.
//!
//! A worker looks for the next entry that its webhook wants, sends it, and goes on only when it was taken: in order, at
//! least once, each under an id that stays the same. A receiver that fails is tried again after growing waits; one that is
//! gone (410), or that failed for as long as the setting says, is disabled, with an entry. Workers know nothing of each
//! other, so a dead receiver costs the others nothing, and what waits for it waits in the log and not in memory.
//!
//! | what | bound |
//! |---|---|
//! | workers, each with one connection and one message | [`WEBHOOKS_MAX`](crate::registry::webhooks::WEBHOOKS_MAX) |
//! | looks into the log at once | [`LOOKS_MAX`] |
//! | messages that somebody asked for at once | [`TRIES_MAX`] |
//! | what is remembered of attempts | [`ATTEMPTS_KEPT`](state::ATTEMPTS_KEPT) of each webhook |
//!
//! How far each has come is written every second, and after a kill whatever was delivered since is sent again. Where several
//! daemons share the log, the one that does the upkeep delivers, and records in the log how far it has come, seldom: the
//! next goes on from there. Refuses to know which entries are wanted and how messages are signed; the registry does.

pub mod send;
pub mod state;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::api::{Webhook, WebhookAttempt, WebhookAttemptKind, WebhookState, WebhooksStatus};
use common::name::HookId;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::webhooks::WebhookConfig;
use crate::config::webhooks::address::Address;
use crate::http::server::raised;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::webhooks::event::{Filter, Message};
use crate::registry::webhooks::{Known, LOOK_ENTRIES_MAX};
use crate::store::PublishedCheckpoint;
use crate::store::records::{WebhookProgressRecord, WebhookRecord};
use crate::webhooks::send::{Answer, Client, Line, Signed, TEST_TIMEOUT, TIMEOUT};
use crate::webhooks::state::Progress;
use crate::{clock, durable, error_chain};

/// Looks into the log at once, of all workers.
pub const LOOKS_MAX: usize = 2;
/// Messages at once that somebody asked for and waits for.
pub const TRIES_MAX: usize = 4;
/// How often it is looked at which webhooks there are, and how far they have come is written.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// After something has changed this comes sooner, but not at once: entries come in crowds.
const ROUND_SOON: Duration = Duration::from_millis(100);
/// How long a worker lets entries gather.
const GATHER: Duration = Duration::from_millis(25);
/// A connection that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// The longest sleep before the clock is looked at again, which may have been set.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// After a failure of our own.
const PAUSE: Duration = Duration::from_secs(30);
/// How often at most it is recorded in the log how far webhooks have come.
const RECORD_EVERY: Duration = Duration::from_secs(60);
/// A webhook that came so far without delivering anything is recorded, too: the next daemon need not look again.
const RECORD_ENTRIES: u64 = 100_000;
/// Below the data directory.
const DIR: &str = "webhooks";
/// What the files' names end in.
const FILE_SUFFIX: &str = ".json";

/// What is known of a webhook here.
struct Slot {
    progress: Progress,
    /// Whether the file lacks something.
    dirty: bool,
    /// Whether something was delivered since that was last recorded in the log, and where it was then.
    moved: bool,
    recorded: u64,
    /// Ends a wait for the next attempt.
    kick: Arc<Notify>,
}

/// What the task, its workers and requests share.
struct Shared {
    client: Client,
    give_up: Duration,
    dir: PathBuf,
    slots: Mutex<HashMap<HookId, Slot>>,
    looks: Semaphore,
    tries: Semaphore,
    /// Whether this daemon delivers.
    delivers: AtomicBool,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Why files can't be written.
    problem: Mutex<Option<String>>,
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, HashMap<HookId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is kept of a webhook that is new here.
    async fn take_up(&self, hook: HookId) {
        if self.slots().contains_key(&hook) {
            return;
        }
        let path = self.path(hook);
        let read = tokio::task::spawn_blocking(move || state::read(&path)).await;
        let progress = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(progress) => progress.unwrap_or_default(),
            Err(error) => {
                let path = self.path(hook);
                tracing::warn!(%error, path = %path.display(), "how far a webhook had come can't be read; more is delivered twice");
                Progress::default()
            }
        };
        let slot = Slot { progress, dirty: false, moved: false, recorded: 0, kick: Arc::default() };
        // Somebody else may have read it in the meantime, and gone on from there.
        self.slots().entry(hook).or_insert(slot);
    }

    fn path(&self, hook: HookId) -> PathBuf {
        self.dir.join(format!("{hook}{FILE_SUFFIX}"))
    }

    /// Writes what changed. Blocks.
    fn save(&self) {
        let changed: Vec<(HookId, Vec<u8>)> = {
            let mut slots = self.slots();
            let changed =
                slots.iter_mut().filter_map(|(hook, slot)| std::mem::take(&mut slot.dirty).then_some((hook, slot)));
            changed.filter_map(|(hook, slot)| Some((*hook, serde_json::to_vec(&slot.progress).ok()?))).collect()
        };
        let mut problem = None;
        for (hook, octets) in changed {
            if let Err(error) = durable::write_file(&self.path(hook), &octets, durable::MODE_FILE) {
                problem = Some(format!("how far webhooks have come can't be written: {error}"));
                if let Some(slot) = self.slots().get_mut(&hook) {
                    slot.dirty = true;
                }
            }
        }
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = problem.as_ref().filter(|_| known.is_none()) {
            tracing::warn!(dir = %self.dir.display(), "{why}; after a restart more is delivered twice");
        }
        *known = problem;
    }
}

/// The task, ready to run.
pub struct Webhooks {
    registry: Arc<Registry>,
    shared: Arc<Shared>,
}

impl Webhooks {
    /// Makes the task, and the directory of what it keeps.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn open(registry: Arc<Registry>, config: &WebhookConfig, data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join(DIR);
        durable::create_dir_all(&dir, durable::MODE_DIR)?;
        let shared = Shared {
            client: Client::new(config.allow.clone(), config.ca_file.clone()),
            give_up: config.give_up,
            dir,
            slots: Mutex::default(),
            looks: Semaphore::new(LOOKS_MAX),
            tries: Semaphore::new(TRIES_MAX),
            delivers: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            problem: Mutex::default(),
        };
        Ok(Self { registry, shared: Arc::new(shared) })
    }

    /// What requests need of it.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Delivers until `begun` says that the daemon stops.
    pub async fn run(self, mut begun: watch::Receiver<bool>) {
        let mut workers = Workers::default();
        let mut checkpoints = self.registry.checkpoints();
        let mut recorded_at = Instant::now();
        let mut failing = false;
        loop {
            checkpoints.mark_unchanged();
            match self.registry.webhooks_now().await {
                Ok(hooks) => {
                    failing = false;
                    self.round(&hooks, &mut workers).await;
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(error = error_chain(&error), "webhooks can't be read; nothing is delivered");
                    workers.clear();
                }
                Err(_known) => {}
            }
            self.save().await;
            if recorded_at.elapsed() >= RECORD_EVERY {
                recorded_at = Instant::now();
                self.record().await;
            }
            tokio::select! {
                () = raised(&mut begun) => break,
                () = tokio::time::sleep(ROUND_EVERY) => {}
                changed = checkpoints.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    tokio::time::sleep(ROUND_SOON).await;
                }
            }
        }
        // What is under way is cut; it is sent again after the next start.
        workers.clear();
        self.record().await;
        self.save().await;
    }

    async fn save(&self) {
        if self.shared.slots().values().any(|slot| slot.dirty) {
            let shared = Arc::clone(&self.shared);
            if let Err(error) = tokio::task::spawn_blocking(move || shared.save()).await {
                tracing::error!(%error, "what is known of webhooks was not written");
            }
        }
    }

    /// Records in the log how far webhooks have come, where another daemon may have to go on.
    async fn record(&self) {
        if !self.registry.shares_webhooks() || !self.shared.delivers.load(Ordering::Relaxed) {
            return;
        }
        let progress: Vec<WebhookProgressRecord> = {
            let slots = self.shared.slots();
            let come = slots.iter().filter(|(_hook, slot)| {
                slot.moved || slot.progress.next.saturating_sub(slot.recorded) >= RECORD_ENTRIES
            });
            let record = |(hook, slot): (&HookId, &Slot)| WebhookProgressRecord {
                hook: *hook,
                course: slot.progress.course,
                next: slot.progress.next,
            };
            come.map(record).collect()
        };
        if progress.is_empty() {
            return;
        }
        if let Err(error) = self.registry.record_webhook_progress(progress.clone()).await {
            tracing::warn!(
                error = error_chain(&error),
                "how far webhooks have come was not recorded; it is tried again"
            );
            return;
        }
        let mut slots = self.shared.slots();
        for one in progress {
            if let Some(slot) = slots.get_mut(&one.hook).filter(|slot| slot.progress.course == one.course) {
                slot.moved = slot.progress.next > one.next && slot.moved;
                slot.recorded = one.next;
            }
        }
    }

    /// Gives each webhook that is to be delivered to a worker, and takes it from the others.
    async fn round(&self, hooks: &[Known], workers: &mut Workers) {
        let delivers = self.registry.delivers_webhooks();
        self.shared.delivers.store(delivers, Ordering::Relaxed);
        self.forget_all_but(hooks, workers).await;
        for Known { hook, next } in hooks {
            self.shared.take_up(hook.id).await;
            let works = delivers && hook.disabled.is_none() && self.registry.can_sign(hook);
            let is_of_now = |worker: &Worker| worker.revision == hook.revision && !worker.task.is_finished();
            let of_now = workers.of.get(&hook.id).is_some_and(is_of_now);
            if works && of_now {
                continue;
            }
            workers.of.remove(&hook.id);
            let taken_up = |slot: &mut Slot| {
                let before = (slot.progress.course, slot.progress.next);
                slot.progress.take_up(hook.course, *next, hook.revision);
                slot.dirty |= before != (slot.progress.course, slot.progress.next);
                slot.recorded = *next;
                Arc::clone(&slot.kick)
            };
            let kick = self.shared.slots().get_mut(&hook.id).map(taken_up);
            if let Some(kick) = kick.filter(|_| works) {
                let worker = Worker::start(&self.registry, &self.shared, hook, kick);
                workers.of.insert(hook.id, worker);
            }
        }
    }

    /// Forgets webhooks that are gone, and their files.
    async fn forget_all_but(&self, hooks: &[Known], workers: &mut Workers) {
        let there: HashSet<HookId> = hooks.iter().map(|known| known.hook.id).collect();
        workers.of.retain(|hook, _worker| there.contains(hook));
        let is_first = !std::mem::replace(&mut workers.swept, true);
        let gone: Vec<HookId> = {
            let mut slots = self.shared.slots();
            let gone = slots.keys().filter(|hook| !there.contains(hook)).copied().collect();
            slots.retain(|hook, _slot| there.contains(hook));
            gone
        };
        if gone.is_empty() && !is_first {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let swept = tokio::task::spawn_blocking(move || sweep(&shared, &there)).await;
        if let Err(error) = swept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, dir = %self.shared.dir.display(), "what was kept of deleted webhooks can't be removed");
        }
    }
}

/// Removes the files of webhooks that are not there. Blocks.
fn sweep(shared: &Shared, there: &HashSet<HookId>) -> io::Result<()> {
    for entry in std::fs::read_dir(&shared.dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hook: Option<HookId> = name.strip_suffix(FILE_SUFFIX).and_then(|id| id.parse().ok());
        if hook.is_some_and(|hook| !there.contains(&hook)) {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// The workers there are.
#[derive(Default)]
struct Workers {
    of: HashMap<HookId, Worker>,
    /// Whether files were looked through since the start.
    swept: bool,
}

impl Workers {
    fn clear(&mut self) {
        self.of.clear();
    }
}

/// A worker, which ends when this is dropped.
struct Worker {
    revision: u64,
    task: JoinHandle<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    fn start(registry: &Arc<Registry>, shared: &Arc<Shared>, hook: &WebhookRecord, kick: Arc<Notify>) -> Self {
        let work = Work {
            registry: Arc::clone(registry),
            shared: Arc::clone(shared),
            checkpoints: registry.checkpoints(),
            filter: Filter::of(hook),
            hook: hook.clone(),
            line: None,
            kick,
        };
        Self { revision: hook.revision, task: tokio::spawn(work.run()) }
    }
}

/// What a worker works with: a webhook as it was when the worker began. After a change there is another worker.
struct Work {
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    checkpoints: watch::Receiver<Arc<PublishedCheckpoint>>,
    hook: WebhookRecord,
    filter: Filter,
    line: Option<Line>,
    kick: Arc<Notify>,
}

impl Work {
    async fn run(mut self) {
        let address = match Address::parse(&self.hook.url) {
            Ok(address) => address,
            Err(why) => {
                // It was checked when it was stored, by this version or another.
                self.change(|progress| progress.last_error = Some(why));
                return;
            }
        };
        loop {
            let size = self.checkpoints.borrow_and_update().size;
            let Some(next) = self.change(|progress| progress.next) else { return };
            if next >= size {
                if self.wait_for_entries().await.is_err() {
                    return;
                }
                continue;
            }
            let range = next..size.min(next.saturating_add(LOOK_ENTRIES_MAX));
            let look = match self.shared.looks.acquire().await {
                Ok(_turn) => self.registry.look_for_event(&self.hook, &self.filter, range).await,
                Err(_closed) => return,
            };
            match look {
                Ok(None) => return,
                Ok(Some(look)) => {
                    let goes_on = match look.message {
                        Some(message) => self.deliver(&address, &message, look.next).await,
                        None => true,
                    };
                    if !goes_on {
                        return;
                    }
                    if self.change(|progress| progress.next = progress.next.max(look.next)).is_none() {
                        return;
                    }
                }
                Err(error) => {
                    let (hook, why) = (self.hook.id, error_chain(&error));
                    tracing::error!(%hook, next, error = why, "the log can't be read for a webhook");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Changes what is known of the webhook, as long as it is on the course that this worker is for.
    fn change<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> Option<T> {
        let mut slots = self.shared.slots();
        let slot = slots.get_mut(&self.hook.id).filter(|slot| slot.progress.course == self.hook.course)?;
        let before = (slot.progress.next, slot.progress.last_error.is_some());
        let changed = change(&mut slot.progress);
        slot.dirty |= before != (slot.progress.next, slot.progress.last_error.is_some());
        Some(changed)
    }

    /// Waits until there is more to look at; an idle connection is closed meanwhile.
    async fn wait_for_entries(&mut self) -> Result<(), watch::error::RecvError> {
        match tokio::time::timeout(IDLE, self.checkpoints.changed()).await {
            Ok(changed) => changed?,
            Err(_elapsed) => {
                self.line = None;
                self.checkpoints.changed().await?;
            }
        }
        tokio::time::sleep(GATHER).await;
        Ok(())
    }

    /// Sends a message until it is taken. `next` is behind its entry. False: there is nothing more to do.
    async fn deliver(&mut self, address: &Address, message: &Message, next: u64) -> bool {
        let (id, index) = (self.hook.id, next.saturating_sub(1));
        loop {
            let Some(number) = self.wait_for_turn(index).await else { return false };
            // What was changed holds for what is sent after it: another address, another secret, nothing at all.
            match self.registry.is_current_webhook(&self.hook).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    tracing::error!(hook = %id, error = error_chain(&error), "a webhook can't be read");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let what =
                Try { hook: &self.hook, address, message, kind: WebhookAttemptKind::Event, number, timeout: TIMEOUT };
            let Tried { attempt, answer } = what.once(&self.registry, &self.shared, &mut self.line).await;
            let why = attempt.error.clone();
            let now_ms = clock::now_ms();
            let asked_ms = answer.and_then(|answer| answer.retry_after_ms);
            let (chance, give_up) = (chance(), self.shared.give_up);
            // One place for what is known after the attempt, so that the file never has half of it.
            let wait_ms = {
                let mut slots = self.shared.slots();
                let slot = slots.get_mut(&id).filter(|slot| slot.progress.course == self.hook.course);
                let Some(slot) = slot else { return false };
                slot.dirty = true;
                slot.progress.note(attempt);
                match &why {
                    None => {
                        slot.progress.delivered(next, now_ms);
                        slot.moved = true;
                        return true;
                    }
                    Some(why) => {
                        slot.progress.last_error = Some(why.clone());
                        slot.progress.failed(index, self.hook.revision, now_ms, asked_ms, give_up, chance)
                    }
                }
            };
            let why = why.unwrap_or_default();
            let is_gone = answer.is_some_and(|answer| answer.status == GONE);
            if let Some(wait_ms) = wait_ms.filter(|_| !is_gone) {
                let (receiver, wait_s) = (address.place(), wait_ms / clock::SECOND_MS);
                tracing::info!(hook = %id, %receiver, index, number, wait_s, "a webhook's receiver did not take a message: {why}");
            } else if self.give_up(address, index, is_gone, &why).await {
                return false;
            }
        }
    }

    /// Waits until the message about an entry may be sent; the how manieth attempt that is. None: the webhook is gone.
    async fn wait_for_turn(&self, index: u64) -> Option<u32> {
        loop {
            let retry = self.shared.slots().get(&self.hook.id)?.progress.retry.clone();
            let Some(retry) = retry.filter(|retry| retry.index == index) else { return Some(1) };
            let left_ms = retry.due_at_ms.saturating_sub(clock::now_ms());
            let Some(left) = u64::try_from(left_ms).ok().filter(|left| *left > 0).map(Duration::from_millis) else {
                return Some(retry.attempts.saturating_add(1));
            };
            tokio::select! {
                () = tokio::time::sleep(left.min(SLEEP_MAX)) => {}
                () = self.kick.notified() => return Some(retry.attempts.saturating_add(1)),
            }
        }
    }

    /// Disables the webhook; whether that is done.
    async fn give_up(&self, address: &Address, index: u64, is_gone: bool, why: &str) -> bool {
        let (id, receiver) = (self.hook.id, address.place());
        let because = if is_gone {
            format!("the receiver is gone: {why}")
        } else {
            format!("the receiver failed for {} hours or more: {why}", self.shared.give_up.as_secs() / 3600)
        };
        match self.registry.give_up_webhook(&self.hook, &because, index).await {
            Ok(()) => {
                tracing::warn!(hook = %id, %receiver, index, "a webhook was disabled, because {because}");
                true
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(hook = %id, %receiver, index, error, "a webhook can't be disabled; it is tried again");
                tokio::time::sleep(PAUSE).await;
                false
            }
        }
    }
}

/// The status by which a receiver says that it wants nothing more.
const GONE: u16 = 410;

/// A number that nobody can foresee; without the system's generator, one that is always the same and only spreads nothing.
fn chance() -> u64 {
    getrandom::u64().unwrap_or(0)
}

/// What is to be sent, once.
struct Try<'a> {
    hook: &'a WebhookRecord,
    address: &'a Address,
    message: &'a Message,
    kind: WebhookAttemptKind,
    number: u32,
    timeout: Duration,
}

/// What came of it.
struct Tried {
    attempt: WebhookAttempt,
    answer: Option<Answer>,
}

impl Try<'_> {
    async fn once(self, registry: &Registry, shared: &Shared, line: &mut Option<Line>) -> Tried {
        let (at_ms, began) = (clock::now_ms(), Instant::now());
        let sent = match registry.webhook_signatures(self.hook, self.message, at_ms) {
            Ok(signatures) => {
                let at_s = at_ms.div_euclid(clock::SECOND_MS);
                let signed = Signed { id: &self.message.id, at_s, signatures: &signatures };
                let body = self.message.body.clone().into();
                let sent = shared.client.send(self.address, line, signed, body, self.timeout).await;
                sent.map_err(|trouble| trouble.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let answer = sent.as_ref().ok().copied();
        let error = match &sent {
            Ok(answer) if (200..300).contains(&answer.status) => None,
            Ok(answer) => Some(said(answer.status)),
            Err(trouble) => Some(trouble.clone()),
        };
        let counter = if error.is_none() { &shared.delivered } else { &shared.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let attempt = WebhookAttempt {
            id: self.message.id.clone(),
            event: self.message.kind.clone(),
            index: self.message.index,
            kind: self.kind.into(),
            attempt: self.number,
            at: clock::rfc3339(at_ms),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            delivered: error.is_none(),
            status: answer.map(|answer| answer.status),
            error,
        };
        Tried { attempt, answer }
    }
}

/// What a status means that is no success.
fn said(status: u16) -> String {
    match status {
        300..=399 => format!("it answered {status}, a redirect, which is not followed; correct the webhook's address"),
        GONE => format!("it answered {status}"),
        _ => format!("it answered {status}; only 200 to 299 say that a message was taken"),
    }
}

/// What requests need of the delivering.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A place among those who wait for a message that they asked for.
pub struct Place<'a> {
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Handle {
    /// Takes a place; to be asked before it is recorded that something is sent.
    ///
    /// # Errors
    /// `Busy`: all are taken.
    pub fn place(&self) -> Result<Place<'_>, RegistryError> {
        let busy =
            |_taken| RegistryError::Busy { what: "too many messages of webhooks are being tried", is_callers: false };
        self.shared.tries.try_acquire().map(|permit| Place { _permit: permit }).map_err(busy)
    }

    /// Sends a message that somebody asked for. Where it is taken, what waits for the same receiver is tried at once.
    ///
    /// # Errors
    /// `Internal`: the webhook's address is none.
    pub async fn try_now(
        &self,
        _place: Place<'_>,
        registry: &Registry,
        hook: &WebhookRecord,
        message: &Message,
        kind: WebhookAttemptKind,
    ) -> Result<WebhookAttempt, RegistryError> {
        let address = Address::parse(&hook.url).map_err(|why| RegistryError::Internal(why.into()))?;
        let what = Try { hook, address: &address, message, kind, number: 1, timeout: TEST_TIMEOUT };
        let Tried { attempt, answer: _ } = what.once(registry, &self.shared, &mut None).await;
        // Of one that was made just now the task may know nothing yet.
        self.shared.take_up(hook.id).await;
        if let Some(slot) = self.shared.slots().get_mut(&hook.id) {
            slot.dirty = true;
            slot.progress.note(attempt.clone());
            if attempt.delivered && slot.progress.retry.is_some() {
                slot.kick.notify_one();
            }
        }
        Ok(attempt)
    }

    /// The newest attempts at a webhook by this daemon, newest first.
    pub fn attempts(&self, hook: HookId) -> Vec<WebhookAttempt> {
        self.shared.slots().get(&hook).map(|slot| slot.progress.attempts.iter().cloned().collect()).unwrap_or_default()
    }

    /// A webhook as others see it.
    pub fn show(&self, registry: &Registry, known: &Known) -> Webhook {
        let hook = &known.hook;
        let progress = self.progress(known);
        let state = self.state(registry, known, progress.last_error.is_some());
        let size = registry.checkpoints().borrow().size;
        let previous_until_ms =
            hook.previous.map(|(_secret, until_ms)| until_ms).filter(|until| *until > clock::now_ms());
        let retry = progress.retry.filter(|_| state == WebhookState::Failing);
        Webhook {
            id: hook.id,
            url: hook.url.clone(),
            description: hook.description.clone(),
            actions: hook.actions.clone(),
            models: hook.models.clone(),
            outcomes: hook.outcomes.clone(),
            enabled: hook.disabled.is_none(),
            disabled_because: hook.disabled.as_ref().and_then(|disabled| disabled.because.clone()),
            state: state.into(),
            next_index: progress.next,
            behind: size.saturating_sub(progress.next),
            failures: retry.as_ref().map_or(0, |retry| retry.attempts),
            last_error: progress.last_error,
            next_attempt_at: retry.map(|retry| clock::rfc3339(retry.due_at_ms)),
            last_delivered_at: progress.delivered_at_ms.map(clock::rfc3339),
            previous_secret_until: previous_until_ms.map(clock::rfc3339),
            created_at: clock::rfc3339(hook.created_at_ms),
            created_by: hook.created_by.clone(),
            updated_at: clock::rfc3339(hook.updated_at_ms),
        }
    }

    /// What is known here, as far as it is of the webhook's course. Without its attempts.
    fn progress(&self, known: &Known) -> Progress {
        let slots = self.shared.slots();
        let here = slots.get(&known.hook.id).map(|slot| &slot.progress);
        match here.filter(|progress| progress.course == known.hook.course) {
            Some(here) => Progress {
                course: here.course,
                next: here.next.max(known.next),
                retry: here.retry.clone(),
                last_error: here.last_error.clone(),
                delivered_at_ms: here.delivered_at_ms,
                ..Progress::default()
            },
            None => Progress { course: known.hook.course, next: known.next, ..Progress::default() },
        }
    }

    fn state(&self, registry: &Registry, known: &Known, fails: bool) -> WebhookState {
        if known.hook.disabled.is_some() {
            WebhookState::Disabled
        } else if !registry.can_sign(&known.hook) {
            WebhookState::Keyless
        } else if !registry.delivers_webhooks() {
            WebhookState::Elsewhere
        } else if fails {
            WebhookState::Failing
        } else {
            WebhookState::Working
        }
    }

    /// All of them in numbers.
    pub fn status(&self, registry: &Registry, hooks: &[Known]) -> WebhooksStatus {
        let size = registry.checkpoints().borrow().size;
        let mut status = WebhooksStatus {
            hooks: hooks.len() as u64,
            delivers_here: registry.delivers_webhooks(),
            delivered: self.shared.delivered.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            problem: self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..WebhooksStatus::default()
        };
        for known in hooks {
            let progress = self.progress(known);
            match self.state(registry, known, progress.last_error.is_some()) {
                WebhookState::Disabled => status.disabled += 1,
                WebhookState::Failing | WebhookState::Keyless => status.failing += 1,
                WebhookState::Working | WebhookState::Elsewhere => {}
            }
            if known.hook.disabled.is_none() {
                status.behind = status.behind.max(size.saturating_sub(progress.next));
            }
        }
        status
    }
}
