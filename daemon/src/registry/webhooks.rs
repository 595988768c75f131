//! Webhooks: what is told to whom about entries of the log. Creating, changing and removing them, and what the delivering
//! task asks: which entries are events, how a message is signed, how far it had come. Refuses to know how a message is sent.
//!
//! The log itself is the source of events: each entry has an index, so a webhook's place in it is a number, and nothing can
//! be lost between a change and the message about it. A message's id follows from webhook and index, so that whatever is
//! sent again is known again. Only entries that a published checkpoint covers are told.

pub mod event;

use std::ops::Range;

use common::api::{NewWebhook, WebhookPatch};
use common::audit::{Action, Entry, Outcome as EntryOutcome, Target};
use common::name::HookId;
use common::pattern::NamePattern;
use common::role::Permission;
use serde_json::json;

use crate::clock;
use crate::config::webhooks::address::Address;
use crate::registry::access::Caller;
use crate::registry::commit::{Note, cut};
use crate::registry::delete::Gone;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::text::{self, Refused};
use crate::registry::webhooks::event::{Filter, Message};
use crate::registry::{Inner, Registry};
use crate::store::records::{WebhookDisabledRecord, WebhookProgressRecord, WebhookRecord, WebhookSecretRecord, Write};
use crate::store::{Records, StoreError, View};

/// Webhooks at once: each may have a connection, and each reads the log.
pub const WEBHOOKS_MAX: usize = 64;
/// Patterns of each kind that a webhook has at most.
pub const PATTERNS_MAX: usize = 32;
/// Characters of a webhook's description.
pub const DESCRIPTION_CHARS_MAX: usize = 1000;
/// For how long a secret signs beside its successor, where nothing is said, seconds.
pub const OVERLAP_S: u64 = 24 * 3600;
/// The longest such time, seconds.
pub const OVERLAP_S_MAX: u64 = 7 * 24 * 3600;
/// Entries that one look for an event passes at most, so that others get their turn.
pub const LOOK_ENTRIES_MAX: u64 = 4096;
/// Octets of leaves that are in memory at once for it.
const LOOK_OCTETS: usize = 256 * 1024;
/// Octets of a wrong pattern that are repeated in a message.
const ECHO_OCTETS_MAX: usize = 64;
/// Octets of randomness in an id.
const ID_RANDOM_OCTETS: usize = 10;

/// A webhook, and what the log knows of how far it has come.
#[derive(Debug, Clone)]
pub struct Known {
    /// The webhook.
    pub hook: WebhookRecord,
    /// Index of the entry to look at next, as far as the records tell; a newer one may be known elsewhere.
    pub next: u64,
}

/// What a look for the next event came to. Only of a webhook that is as it was said: what a change made an event must not be
/// passed over by what was wanted before.
#[derive(Debug)]
pub struct Look {
    /// The event.
    pub message: Option<Message>,
    /// Behind it, or where the next look begins.
    pub next: u64,
}

fn target(hook: HookId) -> Target {
    Target::new("webhook", &hook.to_string())
}

fn missing(hook: HookId) -> RegistryError {
    RegistryError::not_found(format!("webhook `{hook}`"))
}

impl Registry {
    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// What `require` says.
    pub async fn list_webhooks(&self, caller: &Caller) -> Outcome<Vec<Known>> {
        let inner = &self.inner;
        let note = Note::event(Action::WebhookList, Target::new("webhook", "*"));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let found = self.webhooks_now().await;
        inner.told(caller, note, found).await
    }

    /// A webhook.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn webhook(&self, caller: &Caller, hook: HookId) -> Outcome<Known> {
        let inner = &self.inner;
        let note = Note::event(Action::WebhookRead, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let found = inner.read(|view| known(view, find(view, hook)?)).await;
        inner.told(caller, note, found).await
    }

    /// Creates a webhook. It begins with the first entry after its own.
    ///
    /// # Errors
    /// What `require` says; `Invalid`, `Conflict` where there are too many or the key isn't one that all daemons share,
    /// `IdempotencyKeyReused`.
    pub async fn create_webhook(&self, caller: &Caller, new: NewWebhook) -> Outcome<Tagged<WebhookRecord>> {
        let inner = &self.inner;
        let mut note = Note::change(Action::WebhookCreate, Target::new("webhook", ""));
        inner.permit(caller, Permission::UserManage, &note).await?;
        // `[]` is how a form says nothing.
        let outcomes = if new.outcomes.is_empty() { vec![EntryOutcome::Ok.as_str().to_owned()] } else { new.outcomes };
        let new = NewWebhook { outcomes, ..new };
        if let Err(error) = inner.check_webhook(&new).and_then(|()| inner.check_webhook_key()) {
            return Err(inner.refuse(caller, note, error).await);
        }
        let id = match new_id() {
            Ok(id) => id,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        let once = inner.fingerprints.once(caller, &json!(new));
        note.target.id = id.to_string();
        let (key, by) = (inner.webhook_key.id(), caller.actor.name.clone());
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                if records.webhooks()?.len() >= WEBHOOKS_MAX {
                    let why = format!("there are {WEBHOOKS_MAX} webhooks already; delete one first");
                    return Err(RegistryError::Conflict(why));
                }
                let hook = WebhookRecord {
                    id,
                    url: new.url,
                    description: new.description,
                    actions: new.actions,
                    models: new.models,
                    outcomes: new.outcomes,
                    disabled: (!new.enabled).then_some(WebhookDisabledRecord { because: None, at_ms: moment.at_ms }),
                    secret: WebhookSecretRecord { generation: 1, key },
                    previous: None,
                    course: 1,
                    from: moment.index.saturating_add(1),
                    created_at_ms: moment.at_ms,
                    created_by: by,
                    updated_at_ms: moment.at_ms,
                    revision: moment.index,
                };
                describe(note, &hook);
                Ok((Tagged { value: hook.clone(), revision: moment.index }, vec![Write::PutWebhook(hook)]))
            })
            .await
    }

    /// Changes a webhook. Enabled again, it goes on where it had come to, and tries at once.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Invalid`, `PreconditionFailed`.
    pub async fn patch_webhook(
        &self,
        caller: &Caller,
        hook: HookId,
        patch: WebhookPatch,
    ) -> Outcome<Tagged<WebhookRecord>> {
        let inner = &self.inner;
        let note = Note::change(Action::WebhookUpdate, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let (who, work) = (caller.clone(), std::sync::Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let mut record = find(records, hook)?;
                who.check_if_match(record.revision)?;
                let WebhookPatch { url, description, actions, models, outcomes, enabled } = patch;
                record.url = url.unwrap_or(record.url);
                record.description = description.unwrap_or(record.description);
                record.actions = actions.unwrap_or(record.actions);
                record.models = models.unwrap_or(record.models);
                record.outcomes = outcomes.unwrap_or(record.outcomes);
                work.check_webhook(&NewWebhook {
                    url: record.url.clone(),
                    description: record.description.clone(),
                    actions: record.actions.clone(),
                    models: record.models.clone(),
                    outcomes: record.outcomes.clone(),
                    enabled: true,
                })?;
                match enabled {
                    Some(true) => record.disabled = None,
                    Some(false) if record.disabled.is_none() => {
                        record.disabled = Some(WebhookDisabledRecord { because: None, at_ms: moment.at_ms });
                    }
                    Some(false) | None => {}
                }
                describe(note, &record);
                changed(record, moment.index, moment.at_ms)
            })
            .await
    }

    /// Removes a webhook, and with it how far it had come.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `PreconditionFailed`.
    pub async fn delete_webhook(&self, caller: &Caller, hook: HookId) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::WebhookDelete, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let who = caller.clone();
        inner
            .commit(caller, note, move |records, _moment, note| {
                let record = find(records, hook)?;
                who.check_if_match(record.revision)?;
                describe(note, &record);
                let gone = Gone { id: hook.to_string(), version: None, purged: true, restorable_until_ms: None };
                Ok((gone, vec![Write::DeleteWebhook { hook }]))
            })
            .await
    }

    /// Gives a webhook a new secret. The one before signs beside it for a while, so that the receiver can change over.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Invalid`, `Conflict` as for creating one, `IdempotencyKeyReused`.
    pub async fn rotate_webhook_secret(
        &self,
        caller: &Caller,
        hook: HookId,
        overlap_s: Option<u64>,
    ) -> Outcome<Tagged<WebhookRecord>> {
        let inner = &self.inner;
        let overlap_s = overlap_s.unwrap_or(OVERLAP_S);
        let note = Note::change(Action::WebhookRotateSecret, target(hook)).with("overlap_seconds", overlap_s);
        inner.permit(caller, Permission::UserManage, &note).await?;
        let overlap_ms = i64::try_from(overlap_s).ok().filter(|_| overlap_s <= OVERLAP_S_MAX);
        let overlap_ms = overlap_ms.map(|seconds| seconds * clock::SECOND_MS).ok_or_else(|| {
            RegistryError::invalid("body.overlap_seconds", format!("is at most {OVERLAP_S_MAX}, which is 7 days"))
        });
        let overlap_ms = match inner.check_webhook_key().and(overlap_ms) {
            Ok(overlap_ms) => overlap_ms,
            // Too many seconds for an entry's integers are not for the entry.
            Err(error) => return Err(inner.refuse(caller, Note::change(note.action, note.target), error).await),
        };
        let once = inner.fingerprints.once(caller, &json!({"webhook": hook, "overlap_seconds": overlap_s}));
        let key = inner.webhook_key.id();
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut record = find(records, hook)?;
                let before = record.secret;
                record.secret = WebhookSecretRecord { generation: before.generation.saturating_add(1), key };
                let until_ms = moment.at_ms.saturating_add(overlap_ms);
                record.previous = (overlap_ms > 0).then_some((before, until_ms));
                note.say("generation", record.secret.generation);
                changed(record, moment.index, moment.at_ms)
            })
            .await
    }

    /// Tells a webhook where in the log to go on: what was delivered from there on is delivered again, what was not and lies
    /// before is passed over.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Invalid` beyond the log's end, `IdempotencyKeyReused`.
    pub async fn replay_webhook(&self, caller: &Caller, hook: HookId, from: u64) -> Outcome<Tagged<WebhookRecord>> {
        let inner = &self.inner;
        let note = Note::change(Action::WebhookReplay, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let once = inner.fingerprints.once(caller, &json!({"webhook": hook, "from": from}));
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut record = find(records, hook)?;
                if from > moment.index {
                    let why = format!("the log ends before that; it is at most {}", moment.index);
                    return Err(RegistryError::invalid("body.from", why));
                }
                record.course = record.course.saturating_add(1);
                record.from = from;
                note.say("from", from);
                changed(record, moment.index, moment.at_ms)
            })
            .await
    }

    /// Records that a test is sent, and gives its message.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict` where this daemon can't sign for it.
    pub async fn test_webhook(&self, caller: &Caller, hook: HookId) -> Outcome<(WebhookRecord, Message)> {
        let inner = &self.inner;
        let note = Note::change(Action::WebhookTest, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let (origin, work) = (inner.store.identity().origin, std::sync::Arc::clone(inner));
        inner
            .commit(caller, note, move |records, moment, note| {
                let record = find(records, hook)?;
                work.signing_secrets(&record, moment.at_ms)?;
                describe(note, &record);
                let message = event::test(hook, &origin, moment.index, moment.at_ms);
                Ok(((record, message), Vec::new()))
            })
            .await
    }

    /// Records that the message about an entry is sent again, and gives it. The webhook's place in the log stays.
    ///
    /// # Errors
    /// What `require` says; `NotFound` where there is no such webhook, or the entry is no event of it; `Conflict` where this
    /// daemon can't sign for it.
    pub async fn replay_webhook_delivery(
        &self,
        caller: &Caller,
        hook: HookId,
        id: &str,
    ) -> Outcome<(WebhookRecord, Message)> {
        let inner = &self.inner;
        let mut note = Note::change(Action::WebhookReplay, target(hook));
        inner.permit(caller, Permission::UserManage, &note).await?;
        let origin = inner.store.identity().origin;
        let size = inner.store.checkpoints().borrow().size;
        let found = inner
            .read(|view| {
                let record = find(view, hook)?;
                inner.signing_secrets(&record, clock::now_ms())?;
                let none = || RegistryError::not_found("such message of this webhook");
                let index = event::index_of(hook, id).filter(|index| *index < size).ok_or_else(none)?;
                let look = look(view, &Filter::of(&record), hook, &origin, index..index + 1)?;
                // After a rollback that was accepted the index may be another entry's.
                Ok((record, look.message.filter(|message| message.id == id).ok_or_else(none)?))
            })
            .await;
        match found {
            Ok((record, message)) => {
                if let Some(index) = message.index {
                    note.say("index", index);
                }
                describe(&mut note, &record);
                inner.commit(caller, note, move |_records, _moment, _note| Ok(((record, message), Vec::new()))).await
            }
            Err(error) => Err(inner.refuse(caller, note, error).await),
        }
    }

    // ---- for the delivering task ------------------------------------------------------------------------------------

    /// All webhooks as they are now.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn webhooks_now(&self) -> Result<Vec<Known>, RegistryError> {
        self.inner.read(|view| view.webhooks()?.into_iter().map(|hook| known(view, hook)).collect()).await
    }

    /// Whether this daemon is the one that delivers.
    pub fn delivers_webhooks(&self) -> bool {
        !self.inner.store.is_shared() || self.inner.store.upkeeps()
    }

    /// Whether another daemon may have to go on where this one stops.
    pub fn shares_webhooks(&self) -> bool {
        self.inner.store.is_shared()
    }

    /// Looks for the first event in a range of entries that the published checkpoint covers, off the async threads. None: the
    /// webhook was changed since, or is gone.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn look_for_event(
        &self,
        hook: &WebhookRecord,
        filter: &Filter,
        range: Range<u64>,
    ) -> Result<Option<Look>, RegistryError> {
        let (filter, origin) = (filter.clone(), self.inner.store.identity().origin);
        let (id, revision) = (hook.id, hook.revision);
        // In this order: a change is applied before a checkpoint covers its entry, so what isn't seen now comes after them.
        let work = move |view: &dyn View| {
            let look = look(view, &filter, id, &origin, range)?;
            Ok(is_current(view, id, revision)?.then_some(look))
        };
        self.inner.scan(work).await
    }

    /// Whether a webhook is still as it was.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn is_current_webhook(&self, hook: &WebhookRecord) -> Result<bool, RegistryError> {
        self.inner.read(|view| is_current(view, hook.id, hook.revision)).await
    }

    /// What `webhook-signature` says of a message: a signature by each secret that is good at this time.
    ///
    /// # Errors
    /// `Conflict`: this daemon has another key than the one that the secret was made with.
    pub fn webhook_signatures(
        &self,
        hook: &WebhookRecord,
        message: &Message,
        at_ms: i64,
    ) -> Result<String, RegistryError> {
        let secrets = self.inner.signing_secrets(hook, at_ms)?;
        let at_s = at_ms.div_euclid(clock::SECOND_MS);
        let signatures: Vec<String> =
            secrets.iter().map(|secret| secret.sign(&message.id, at_s, &message.body)).collect();
        Ok(signatures.join(" "))
    }

    /// Whether this daemon can sign for a webhook.
    pub fn can_sign(&self, hook: &WebhookRecord) -> bool {
        hook.secret.key == self.inner.webhook_key.id()
    }

    /// A webhook's secret, for whoever made it just now.
    ///
    /// # Errors
    /// `Conflict`: it was made with another key.
    pub fn webhook_secret(&self, hook: &WebhookRecord) -> Result<String, RegistryError> {
        if self.can_sign(hook) {
            Ok(self.inner.webhook_key.secret(hook.id, hook.secret.generation).shown())
        } else {
            Err(other_key())
        }
    }

    /// Disables a webhook whose receiver is gone or failed for too long. One that was changed since is left as it is.
    ///
    /// # Errors
    /// `AuditUnavailable` and the like: it isn't disabled.
    pub async fn give_up_webhook(&self, hook: &WebhookRecord, because: &str, next: u64) -> Result<(), RegistryError> {
        let (id, revision, course) = (hook.id, hook.revision, hook.course);
        let is_same = move |record: &WebhookRecord| record.revision == revision && record.disabled.is_none();
        if !self.inner.read(|view| Ok(view.webhook(id)?.as_ref().is_some_and(is_same))).await? {
            return Ok(());
        }
        let mut note =
            Note::event(Action::WebhookDisable, target(id)).with("because", because).with("next_index", next);
        describe(&mut note, hook);
        let because = because.to_owned();
        let caller = Caller::system();
        let done = self.inner.commit(&caller, note, move |records, moment, _note| {
            let Some(mut record) = records.webhook(id)?.filter(is_same) else { return Ok(((), Vec::new())) };
            record.disabled = Some(WebhookDisabledRecord { because: Some(because), at_ms: moment.at_ms });
            record.updated_at_ms = moment.at_ms;
            record.revision = moment.index;
            let progress = WebhookProgressRecord { hook: id, course, next };
            Ok(((), vec![Write::PutWebhook(record), Write::PutWebhookProgress(vec![progress])]))
        });
        done.await.map(drop).map_err(|failure| failure.error)
    }

    /// Records how far webhooks have come.
    ///
    /// # Errors
    /// `AuditUnavailable` and the like: it isn't recorded.
    pub async fn record_webhook_progress(&self, progress: Vec<WebhookProgressRecord>) -> Result<(), RegistryError> {
        let note = Note::event(Action::WebhookProgress, Target::new("webhook", "*")).with("webhooks", progress.len());
        let caller = Caller::system();
        let done = self
            .inner
            .commit(&caller, note, move |_records, _moment, _note| Ok(((), vec![Write::PutWebhookProgress(progress)])));
        done.await.map(drop).map_err(|failure| failure.error)
    }
}

impl Inner {
    /// The secrets that are good at this time, the newest first.
    fn signing_secrets(
        &self,
        hook: &WebhookRecord,
        at_ms: i64,
    ) -> Result<Vec<crate::auth::webhook::SigningSecret>, RegistryError> {
        let has = |secret: &WebhookSecretRecord| secret.key == self.webhook_key.id();
        if !has(&hook.secret) {
            return Err(other_key());
        }
        // The one before may be of a key that is gone; then the new one signs alone.
        let previous = hook.previous.filter(|(secret, until_ms)| at_ms < *until_ms && has(secret));
        let secrets = [Some(hook.secret), previous.map(|(secret, _until_ms)| secret)];
        Ok(secrets.into_iter().flatten().map(|secret| self.webhook_key.secret(hook.id, secret.generation)).collect())
    }

    /// Where several daemons deliver in turn, a key of this one's own would leave the others without signatures.
    fn check_webhook_key(&self) -> Result<(), RegistryError> {
        if self.store.is_shared() && self.settings().webhooks.is_own_key {
            let why = "several daemons may deliver, and need one key for that: the operator sets MREG_WEBHOOK_KEY, the same \
                       on all of them, and then this works";
            return Err(RegistryError::Conflict(why.to_owned()));
        }
        Ok(())
    }

    fn check_webhook(&self, new: &NewWebhook) -> Result<(), RegistryError> {
        let mut refused = Refused::new();
        match Address::parse(&new.url) {
            Ok(address) => {
                // A name is looked up when something is sent; an address is known now.
                if let Ok(ip) = address.host.parse()
                    && let Err(why) = self.settings().webhooks.allow.check(&address.host, address.port, ip)
                {
                    refused.push(("body.url".to_owned(), why));
                }
            }
            Err(why) => refused.push(("body.url".to_owned(), why)),
        }
        if new.description.chars().count() > DESCRIPTION_CHARS_MAX {
            let why = format!("a webhook's description has at most {DESCRIPTION_CHARS_MAX} characters");
            refused.push(("body.description".to_owned(), why));
        } else {
            text::check_description("body.description", &new.description, &mut refused);
        }
        if !(1..=PATTERNS_MAX).contains(&new.actions.len()) {
            refused.push(("body.actions".to_owned(), format!("must be 1 to {PATTERNS_MAX} patterns")));
        } else if let Some(odd) = new.actions.iter().find(|pattern| !event::is_pattern(pattern)) {
            let odd = cut(odd, ECHO_OCTETS_MAX);
            let why = format!("{odd:?} is no action, no group of actions such as model.*, and not *");
            refused.push(("body.actions".to_owned(), why));
        }
        if new.models.len() > PATTERNS_MAX {
            refused.push(("body.models".to_owned(), format!("must be at most {PATTERNS_MAX} patterns")));
        }
        let is_outcome = |outcome: &String| EntryOutcome::parse(outcome).is_some();
        if new.outcomes.is_empty() || new.outcomes.len() > 3 || !new.outcomes.iter().all(is_outcome) {
            refused.push(("body.outcomes".to_owned(), "must be one to three of ok, denied and error".to_owned()));
        }
        if refused.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(refused)) }
    }
}

fn other_key() -> RegistryError {
    RegistryError::Conflict(
        "the secret was made with another key than this daemon has: give the daemon that MREG_WEBHOOK_KEY, or the webhook a \
         new secret with POST /webhooks/{id}/rotate-secret"
            .to_owned(),
    )
}

fn find(records: &(impl Records + ?Sized), hook: HookId) -> Result<WebhookRecord, RegistryError> {
    records.webhook(hook)?.ok_or_else(|| missing(hook))
}

fn is_current(view: &dyn View, hook: HookId, revision: u64) -> Result<bool, RegistryError> {
    Ok(view.webhook(hook)?.is_some_and(|record| record.revision == revision))
}

fn known(view: &dyn View, hook: WebhookRecord) -> Result<Known, RegistryError> {
    let progress = view.webhook_progress(hook.id)?.filter(|progress| progress.course == hook.course);
    let next = progress.map_or(hook.from, |progress| progress.next.max(hook.from));
    Ok(Known { hook, next })
}

fn changed(
    mut record: WebhookRecord,
    index: u64,
    at_ms: i64,
) -> Result<(Tagged<WebhookRecord>, Vec<Write>), RegistryError> {
    record.updated_at_ms = at_ms;
    record.revision = index;
    Ok((Tagged { value: record.clone(), revision: index }, vec![Write::PutWebhook(record)]))
}

/// What entries say of a webhook: of its address no more than the place, since many have a secret in the path.
fn describe(note: &mut Note, hook: &WebhookRecord) {
    if let Ok(address) = Address::parse(&hook.url) {
        note.say("receiver", address.place());
    }
    note.say("actions", hook.actions.clone());
    note.say("models", hook.models.iter().map(NamePattern::to_string).collect::<Vec<_>>());
    note.say("outcomes", hook.outcomes.clone());
    note.say("enabled", hook.disabled.is_none());
}

fn new_id() -> Result<HookId, RegistryError> {
    let mut random = [0; ID_RANDOM_OCTETS];
    getrandom::fill(&mut random).map_err(|error| RegistryError::Internal(error.into()))?;
    let bits = random.iter().fold(0, |bits: u128, octet| bits << 8 | u128::from(*octet));
    Ok(HookId::from_u128(u128::from(clock::now_ms().unsigned_abs()) << 80 | bits))
}

/// The first event among these entries. `range` ends within the log.
fn look(
    view: &dyn View,
    filter: &Filter,
    hook: HookId,
    origin: &str,
    range: Range<u64>,
) -> Result<Look, RegistryError> {
    let end = range.end.min(range.start.saturating_add(LOOK_ENTRIES_MAX));
    let mut next = range.start;
    while next < end {
        let leaves = view.leaves(next..end, LOOK_OCTETS)?;
        if leaves.is_empty() {
            return Err(StoreError::Corrupt(format!("entry {next} is missing from the log")).into());
        }
        for leaf in leaves {
            next += 1;
            if !filter.may_want(&leaf) {
                continue;
            }
            let entry = Entry::parse(&leaf)
                .map_err(|error| StoreError::Corrupt(format!("entry {} can't be read: {error}", next - 1)))?;
            if filter.wants(&entry) {
                return Ok(Look { message: Some(event::message(hook, origin, &entry, &leaf)), next });
            }
        }
    }
    Ok(Look { message: None, next })
}
