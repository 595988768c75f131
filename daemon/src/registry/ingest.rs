//! Items of the drop folder, as far as the registry knows them: who acts for one, that each becomes one version and no
//! second, and what people do about them. Knows records and entries; refuses to know folders.
//!
//! What an item came to is recorded in the commit that decides it ([`IngestRecord`]): a version and its item are one
//! commit, so a daemon that dies between the commit and the moving of the file finds out at its next start that nothing is
//! left to do but to move it. The record is forgotten, along with a later commit, once the item has left `processing/`
//! durably.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::api::{IngestKind, State};
use common::audit::{Action, ActorKind, Entry, INTEGER_MAX, Outcome as EntryOutcome, Receipt, Target};
use common::digest::Digest;
use common::name::{Alias, ItemId, ModelId, ModelName, UserName, Version};
use common::role::{Permission, Role};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::problem::kind_of;
use crate::registry::access::{Actor, Caller};
use crate::registry::commit::{Note, cut};
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::grants;
use crate::registry::publish::{PublishedVersion, WARNINGS_MAX, warning};
use crate::registry::text::{self, Refused};
use crate::registry::{Inner, Registry, render};
use crate::store::records::{IngestOutcome, IngestRecord, IntakeRecord, UserRecord, Write};
use crate::store::{EntryQuery, Moment, Records, View};

/// Octets of an item's path that a record and an entry keep: as long as a path can be.
const PATH_OCTETS_MAX: usize = 4096;
/// Octets of the sentence that a record and an entry keep of a refusal.
const DETAIL_OCTETS_MAX: usize = 4096;
/// Octets of the word on an item's state that an entry keeps.
const WAS_OCTETS_MAX: usize = 1024;
/// Rules that the sentence on a malicious file names.
const RULES_TOLD_MAX: usize = 10;
/// Items whose records may wait to be forgotten: a mebioctet of ids. The records of others stay until the next start.
const FORGETS_MAX: usize = 65_536;
/// Entries of uploads that are looked at at once, for the items that came to a version.
const ARRIVED_AT_ONCE: usize = 256;
/// Pages of them that a start looks at: what is behind is in the log, and not in the list.
const ARRIVED_PAGES_MAX: usize = 16;
/// Records that go with one commit: each costs a reading on the writing thread.
const FORGOTTEN_AT_ONCE: usize = 32;

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

impl Item {
    /// Tells how far it has come.
    pub(crate) fn reach(&self, stage: Stage) {
        if let Some(told) = &self.stage {
            told.send_replace(Some(stage));
        }
    }

    /// Its path, as it is kept.
    fn path(&self) -> &str {
        cut(&self.path, PATH_OCTETS_MAX)
    }

    /// What the entry of its upload says of it.
    pub(crate) fn said(&self) -> Value {
        json!({
            "item": self.id.to_string(),
            "path": self.path(),
            "device": whole(self.device),
            "inode": whole(self.inode),
            "owner_uid": self.owner_uid,
        })
    }

    /// The target of entries about it alone.
    fn target(&self) -> Target {
        Target {
            digest: self.digest.map(|digest| digest.to_string()),
            size: Some(self.size.min(INTEGER_MAX)),
            ..Target::new("item", &self.id.to_string())
        }
    }
}

/// What an entry of an upload says of the item that it was made of; none where it was none.
fn arrived(view: &dyn View, index: u64, entry: &Entry) -> Result<Option<Arrived>, RegistryError> {
    let (Some(drop), Some(target)) = (entry.data.get("drop"), &entry.target) else { return Ok(None) };
    let text = |name: &str| drop.get(name).and_then(Value::as_str);
    let item = text("item").and_then(|item| item.parse::<ItemId>().ok());
    let version = target.version.as_deref().and_then(|version| version.parse::<Version>().ok());
    let (Some(item), Some(version), Ok(model)) = (item, version, target.id.parse::<ModelId>()) else {
        return Ok(None);
    };
    let uid = drop.get("owner_uid").and_then(Value::as_u64);
    Ok(Some(Arrived {
        item,
        path: text("path").unwrap_or_default().to_owned(),
        owner_uid: uid.and_then(|uid| u32::try_from(uid).ok()).unwrap_or_default(),
        by: entry.actor.name.clone().unwrap_or_else(|| entry.actor.id.clone()),
        model,
        name: view.model(model)?.map(|model| model.name.to_string()),
        version,
        is_held: view.version(model, version)?.is_some_and(|version| version.state == State::Quarantined),
        digest: target.digest.as_deref().and_then(|digest| digest.parse().ok()),
        size: target.size.unwrap_or_default(),
        at_ms: entry.ts,
        index,
    }))
}

/// A number as an entry can have it: entries have no integer that some readers would round.
fn whole(number: u64) -> Value {
    if number <= INTEGER_MAX { number.into() } else { number.to_string().into() }
}

/// An item that came to a version, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The item.
    pub item: ItemId,
    /// Its path below the drop folder, as far as it is text.
    pub path: String,
    /// The user of the machine it belonged to.
    pub owner_uid: u32,
    /// Who acted for it.
    pub by: String,
    /// The model.
    pub model: ModelId,
    /// Its name now; none where it was purged.
    pub name: Option<String>,
    /// The version.
    pub version: Version,
    /// Whether the version is held in quarantine now.
    pub is_held: bool,
    /// SHA-256 of what it became.
    pub digest: Option<Digest>,
    /// Octets of its files.
    pub size: u64,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Index of the entry.
    pub index: u64,
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
    /// `NoDropper`: there is no such user any more, or it is disabled; the text of it is for the one who dropped the file.
    /// `Corrupt`, `Internal`.
    pub async fn dropper(&self, dropper: &Dropper) -> Result<Caller, RegistryError> {
        match dropper {
            Dropper::Watcher(role) => Ok(Caller::watcher(*role)),
            Dropper::User(name) => self.inner.read(|view| acting(view, view.user(name)?, name.as_str())).await,
        }
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
        self.inner.scan(move |view| Ok(view.ingests(after, limit)?)).await
    }

    /// Those records that are about this daemon's items: with several daemons, each has a drop folder of its own.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn own_ingests(&self, records: Vec<IngestRecord>) -> Result<Vec<ItemId>, RegistryError> {
        let is_shared = self.inner.store.is_shared();
        let node = self.inner.store.identity().node;
        self.inner
            .scan(move |view| {
                let mut own = Vec::new();
                for record in records {
                    let is_own = match view.leaf(record.index)? {
                        Some(leaf) if is_shared => Entry::parse(&leaf).is_ok_and(|entry| entry.node == node),
                        _ => !is_shared,
                    };
                    if is_own {
                        own.push(record.item);
                    }
                }
                Ok(own)
            })
            .await
    }

    /// This daemon's items that came to a version since then, oldest first: at most so many, the newest of them. The log is
    /// looked through by its chain of uploads, `ARRIVED_PAGES_MAX` pages of it.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn arrived_ingests(&self, since_ms: i64, limit: usize) -> Result<Vec<Arrived>, RegistryError> {
        let is_shared = self.inner.store.is_shared();
        let node = self.inner.store.identity().node;
        self.inner
            .scan(move |view| {
                let mut found = Vec::new();
                let mut query = EntryQuery {
                    action: Some(Action::ModelUpload.as_str().to_owned()),
                    outcome: Some(EntryOutcome::Ok),
                    since_ms: Some(since_ms),
                    limit: ARRIVED_AT_ONCE,
                    ..EntryQuery::default()
                };
                for _ in 0..ARRIVED_PAGES_MAX {
                    let page = view.entries(&query)?;
                    for of in &page.entries {
                        let Ok(entry) = Entry::parse(&of.leaf) else { continue };
                        if !is_shared || entry.node == node {
                            found.extend(arrived(view, of.index, &entry)?);
                        }
                    }
                    query.before = page.next_before;
                    if query.before.is_none() || found.len() >= limit {
                        break;
                    }
                }
                found.truncate(limit);
                found.reverse();
                Ok(found)
            })
            .await
    }

    /// Says that these items have left `processing/` durably: their records go with a commit to come. Those that a stop
    /// comes before stay, and can be named again.
    pub fn forget_ingests(&self, items: Vec<ItemId>) {
        self.inner.forgets.add(items);
    }

    /// What an item came to that was published, as far as that can be told again, and the proof of its entry: for the
    /// receipt of an item that a crash kept from getting one.
    ///
    /// # Errors
    /// `NotFound`: the version was purged since. `Corrupt`, `Internal`.
    pub async fn ingest_published(&self, record: &IngestRecord) -> Result<(PublishedVersion, Receipt), RegistryError> {
        let inner = &self.inner;
        let published = inner.read(|view| inner.version_of(view, record)).await?;
        Ok((published, self.ingest_receipt(record).await?))
    }

    /// The proof of an entry of the drop folder's own.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn ingest_receipt(&self, record: &IngestRecord) -> Result<Receipt, RegistryError> {
        self.inner.receipt(record.index, &self.inner.published()).await
    }

    /// Records that an item is refused for good (`ingest.reject`), with its [`IngestRecord`]. Done already, it gives the
    /// first record again.
    ///
    /// # Errors
    /// `AuditUnavailable` and its kin: nothing has happened, and the item stays where it is. What `require` says, to whoever
    /// comes with a request; the drop folder itself needs no permission to refuse.
    pub async fn reject_item(&self, caller: &Caller, item: Item, why: &RegistryError) -> Outcome<IngestRecord> {
        let inner = &self.inner;
        let problem = kind_of(why).slug();
        let detail = detail(why);
        let note = Note::change(Action::IngestReject, item.target())
            .with("path", item.path())
            .with("owner_uid", item.owner_uid)
            .with("who", caller.actor.name.as_str())
            .with("problem", problem)
            .with("detail", detail.as_str());
        let of_the_house = caller.request.is_none() && caller.actor.role.is_some();
        if !of_the_house {
            inner.permit(caller, Permission::IngestManage, &note).await?;
        }
        let work = Arc::clone(inner);
        let find = recorded(item.id);
        inner
            .commit_first(caller, note, None, find, move |records, moment, _note| {
                let outcome = IngestOutcome::Rejected { problem: problem.to_owned(), detail };
                work.settled(records, item, outcome, moment)
            })
            .await
    }

    /// May this caller look at the drop folder? First line of whatever shows it.
    ///
    /// # Errors
    /// What `require` says.
    pub fn may_see_ingest(&self, caller: &Caller) -> Result<(), RegistryError> {
        caller.require(Permission::ModelRead)
    }

    /// Records that an item is tried again by hand (`ingest.retry`). `path` and `was` go into the entry. What it came to
    /// before, if that was no version, is forgotten in the same commit: from then on it can become something else.
    ///
    /// # Errors
    /// What `require` says, with its entry; `IdempotencyKeyReused`, `AuditUnavailable`.
    pub async fn retry_item(&self, caller: &Caller, item: ItemId, path: &str, was: &str) -> Outcome<()> {
        let inner = &self.inner;
        let note = Note::change(Action::IngestRetry, Target::new("item", &item.to_string()))
            .with("path", cut(path, PATH_OCTETS_MAX))
            .with("was", cut(was, WAS_OCTETS_MAX));
        inner.permit(caller, Permission::IngestManage, &note).await?;
        let once = inner.fingerprints.once(caller, &json!({ "item": item.to_string() }));
        let work = Arc::clone(inner);
        inner
            .commit_once(caller, note, once, move |records, _moment, _note| {
                // A version once made is not made again, whoever asks: its record stays, and with it only the moving is left.
                let before = records.ingest(item)?;
                if before.as_ref().is_some_and(|record| matches!(record.outcome, IngestOutcome::Published { .. })) {
                    return Ok(((), Vec::new()));
                }
                work.forgets.remove(item);
                Ok(((), before.map(|_record| Write::DeleteIngest { item }).into_iter().collect()))
            })
            .await
    }

    /// Records that an item is given up by hand (`ingest.discard`), with its [`IngestRecord`]. Done already, it gives the
    /// first record again; a refusal that is not yet forgotten is no reason not to record it.
    ///
    /// # Errors
    /// What `require` says, with its entry; `Invalid` for the reason; `IdempotencyKeyReused`, `AuditUnavailable`.
    pub async fn discard_item(&self, caller: &Caller, item: Item, reason: &str) -> Outcome<IngestRecord> {
        let inner = &self.inner;
        let mut note = Note::change(Action::IngestDiscard, item.target())
            .with("path", item.path())
            .with("owner_uid", item.owner_uid);
        inner.permit(caller, Permission::IngestManage, &note).await?;
        if let Err(error) = check_reason(reason) {
            return Err(inner.refuse(caller, note, error).await);
        }
        note.say("reason_given", reason);
        let once = inner.fingerprints.once(caller, &json!({ "item": item.id.to_string(), "reason": reason }));
        let (work, by, reason) = (Arc::clone(inner), caller.actor.name.clone(), reason.to_owned());
        let first = recorded(item.id);
        let find = move |records: &dyn Records| {
            let is_refused = |record: &IngestRecord| matches!(record.outcome, IngestOutcome::Rejected { .. });
            Ok(first(records)?.filter(|(record, _)| !is_refused(record)))
        };
        inner
            .commit_first(caller, note, once, find, move |records, moment, _note| {
                work.settled(records, item, IngestOutcome::Discarded { by, reason }, moment)
            })
            .await
    }

    /// Pauses the drop folder, or lets it go on (`ingest.pause`, `ingest.resume`); kept over restarts. What is under way
    /// ends. What it is already is recorded all the same. To let it go on, the reason may be empty.
    ///
    /// # Errors
    /// What `require` says, with its entry; `Invalid` for the reason; `IdempotencyKeyReused`, `AuditUnavailable`.
    pub async fn pause_intake(&self, caller: &Caller, paused: bool, reason: &str) -> Outcome<IntakeRecord> {
        let inner = &self.inner;
        let action = if paused { Action::IngestPause } else { Action::IngestResume };
        let mut note = Note::change(action, Target::new("intake", "drop"));
        inner.permit(caller, Permission::IngestManage, &note).await?;
        let without = !paused && reason.is_empty();
        if !without {
            if let Err(error) = check_reason(reason) {
                return Err(inner.refuse(caller, note, error).await);
            }
            note.say("reason_given", reason);
        }
        let once = inner.fingerprints.once(caller, &json!({ "paused": paused, "reason": reason }));
        let (by, reason) = (caller.actor.name.clone(), reason.to_owned());
        inner
            .commit_once(caller, note, once, move |_records, moment, _note| {
                let record = IntakeRecord { paused, by, reason, at_ms: moment.at_ms, index: moment.index };
                Ok((record.clone(), vec![Write::PutIntake(record)]))
            })
            .await
    }

    /// Whether the drop folder is paused, as it was last said; none if nobody ever did.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn intake(&self) -> Result<Option<IntakeRecord>, RegistryError> {
        self.inner.read(|view| Ok(view.intake()?)).await
    }
}

fn check_reason(reason: &str) -> Result<(), RegistryError> {
    let mut refused = Refused::new();
    text::check_reason("body.reason", reason, &mut refused);
    if refused.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(refused)) }
}

/// The sentence on a refusal that is kept.
fn detail(why: &RegistryError) -> String {
    let mut told = why.to_string();
    if let RegistryError::Malicious { findings } = why {
        let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
        let rules: Vec<&str> = rules.into_iter().take(RULES_TOLD_MAX).collect();
        told = format!("{told}; found: {}", rules.join(", "));
    }
    cut(&told, DETAIL_OCTETS_MAX).to_owned()
}

/// Finds the record of an item, with the index of its entry.
fn recorded(item: ItemId) -> impl FnOnce(&dyn Records) -> Result<Option<(IngestRecord, u64)>, RegistryError> {
    move |records| {
        let record = records.ingest(item)?;
        Ok(record.map(|record| {
            let index = record.index;
            (record, index)
        }))
    }
}

/// A user in whose name something is to be taken in.
fn acting<R: Records + ?Sized>(records: &R, user: Option<UserRecord>, name: &str) -> Result<Caller, RegistryError> {
    let refused = |what: &str| {
        RegistryError::NoDropper(format!(
            "files of this owner are taken in for the user `{name}`, {what}; tell the operator, or drop it as somebody else"
        ))
    };
    let user = user.ok_or_else(|| refused("whom there isn't in the registry"))?;
    if user.disabled {
        return Err(refused("whose account is disabled"));
    }
    let grants = grants::granted(records, &user.id)?;
    Ok(Caller { actor: Actor::dropper(user, grants), request: None })
}

impl Inner {
    /// Asked again in the order of the log, for a file may take hours: nothing is taken in behind the change of role, the
    /// disabling or the removal that forbids it.
    pub(crate) fn check_dropper(
        &self,
        records: &dyn Records,
        caller: &Caller,
        name: &ModelName,
        alias: Option<&Alias>,
    ) -> Result<(), RegistryError> {
        let fresh;
        let now = if matches!(caller.actor.kind, ActorKind::User | ActorKind::Service) {
            // By id: another user of the same name is somebody else.
            fresh = acting(records, records.user_by_id(&caller.actor.id)?, &caller.actor.name)?;
            &fresh
        } else {
            caller
        };
        self.require_publish(now, name, alias)
    }

    /// What an item was made already, with the index of its entry.
    ///
    /// # Errors
    /// `Conflict`: it was refused or given up.
    pub(crate) fn first_version(
        &self,
        records: &dyn Records,
        item: ItemId,
    ) -> Result<Option<(PublishedVersion, u64)>, RegistryError> {
        let Some(record) = records.ingest(item)? else { return Ok(None) };
        Ok(Some((self.version_of(records, &record)?, record.index)))
    }

    /// What an item came to, as its version is now.
    ///
    /// # Errors
    /// `Conflict`: that is no version. `NotFound`: it was purged since.
    fn version_of(&self, records: &dyn Records, record: &IngestRecord) -> Result<PublishedVersion, RegistryError> {
        let (model, version, already_present) = match &record.outcome {
            IngestOutcome::Published { model, version, already_present } => (*model, *version, *already_present),
            IngestOutcome::Rejected { detail, .. } => {
                return Err(RegistryError::Conflict(format!("item {} was refused already: {detail}", record.item)));
            }
            IngestOutcome::Discarded { by, reason } => {
                let text = format!("item {} was given up by `{by}` already: {reason}", record.item);
                return Err(RegistryError::Conflict(text));
            }
        };
        let missing = || RegistryError::not_found(format!("version {version} of model {model} any more"));
        let of = records.model(model)?.ok_or_else(missing)?;
        let there = records.version(model, version)?.ok_or_else(missing)?;
        let open = there.state == State::Available;
        let warnings = there.findings.iter().filter_map(|finding| warning(finding, open)).take(WARNINGS_MAX).collect();
        Ok(PublishedVersion {
            version: render::version_info(self.inspections.ruleset(), &of, &there),
            revision: there.revision,
            already_present,
            warnings,
        })
    }

    /// The record of what an item came to, and the change that keeps it.
    fn settled(
        &self,
        records: &dyn Records,
        item: Item,
        outcome: IngestOutcome,
        moment: Moment,
    ) -> Result<(IngestRecord, Vec<Write>), RegistryError> {
        let record = self.ingest_of(item, outcome, moment);
        let mut writes = self.forgotten(records)?;
        writes.push(Write::PutIngest(record.clone()));
        Ok((record, writes))
    }

    /// The record of what an item came to. It is not to be forgotten, whatever was said of an earlier one.
    pub(crate) fn ingest_of(&self, item: Item, outcome: IngestOutcome, moment: Moment) -> IngestRecord {
        self.forgets.remove(item.id);
        IngestRecord {
            item: item.id,
            path: item.path().to_owned(),
            device: item.device,
            inode: item.inode,
            owner_uid: item.owner_uid,
            digest: item.digest,
            size: item.size,
            outcome,
            at_ms: moment.at_ms,
            index: moment.index,
        }
    }

    /// Forgets some of the items that have left `processing/`, along with a commit. An item is named again until its record
    /// is seen to be gone, for the commit may come to nothing.
    pub(crate) fn forgotten(&self, records: &dyn Records) -> Result<Vec<Write>, RegistryError> {
        let mut writes = Vec::new();
        for item in self.forgets.some() {
            if records.ingest(item)?.is_some() {
                writes.push(Write::DeleteIngest { item });
            } else {
                self.forgets.remove(item);
            }
        }
        Ok(writes)
    }
}

/// Items whose records can be forgotten.
#[derive(Default)]
pub(crate) struct Forgets(Mutex<BTreeSet<ItemId>>);

impl Forgets {
    fn locked(&self) -> MutexGuard<'_, BTreeSet<ItemId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, items: Vec<ItemId>) {
        let mut waiting = self.locked();
        for item in items {
            if waiting.len() < FORGETS_MAX {
                waiting.insert(item);
            }
        }
    }

    fn remove(&self, item: ItemId) {
        self.locked().remove(&item);
    }

    /// A few of them, the oldest first.
    pub(crate) fn some(&self) -> Vec<ItemId> {
        self.locked().iter().take(FORGOTTEN_AT_ONCE).copied().collect()
    }
}
