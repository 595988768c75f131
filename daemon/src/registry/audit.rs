//! Reading the log: pages, exports, single entries. Every reading is an entry itself, written before the first row goes
//! out. Knows entries; refuses to know formats. The live tail is `tail`'s.

use std::sync::Arc;

use common::api::{AuditPosition, AuditRow, Page};
use common::audit::{Action, INTEGER_MAX, Outcome as EntryOutcome, Receipt, Target, leaf_hash};
use common::name::{ModelId, ModelName, UserName};
use common::role::Permission;
use serde_json::Value;

use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::{Note, cut};
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::fetch::{bounded, list_id};
use crate::registry::{Inner, Registry, cursor};
use crate::store::{EntryPage, EntryQuery, EntryUnlike, View};

/// Rows that an export reads at once.
const EXPORT_ROWS: usize = 500;
/// Octets of a filter that are kept in the entry of a reading.
const FILTER_OCTETS_MAX: usize = 200;

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
    /// Target: an id, a model's name, a user's name. Where a model and a user have the name, `model:` or `user:` in front
    /// tells which; without it the model is meant.
    pub target: Option<String>,
    /// Outcome.
    pub outcome: Option<EntryOutcome>,
    /// Client address as it was recorded.
    pub ip: Option<String>,
    /// At or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// At or before, milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// What they must not be; targets as above.
    pub not: Vec<EntryUnlike>,
}

/// One entry with its receipt.
#[derive(Debug, Clone)]
pub struct EntryWithReceipt {
    /// The entry.
    pub row: AuditRow,
    /// Its receipt against the newest checkpoint.
    pub receipt: Receipt,
}

/// An export under way. It shows the log as it was when it began.
pub struct Export {
    inner: Arc<Inner>,
    query: EntryQuery,
    done: bool,
}

impl Export {
    /// The next rows, newest first, at most 500 and perhaps none; `None` at the end. Memory stays the same however many there
    /// are.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditRow>>, RegistryError> {
        if self.done {
            return Ok(None);
        }
        let query = self.query.clone();
        let (rows, next) = self
            .inner
            .scan_on(move |view| {
                let page = view.entries(&query)?;
                Ok((rows(&page)?, page.next_before))
            })
            .await?;
        self.done = next.is_none();
        self.query.before = next;
        Ok(Some(rows))
    }
}

impl Registry {
    /// A page of entries.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor; `AuditUnavailable`: nothing is shown that can't be recorded.
    pub async fn audit_page(
        &self,
        caller: &Caller,
        query: AuditQuery,
        limit: usize,
        cursor: Option<&str>,
    ) -> Outcome<Page<AuditRow>> {
        let inner = &self.inner;
        let mut note = Note::event(Action::AuditRead, Target::new("log", "entries"));
        inner.permit(caller, Permission::AuditRead, &note).await?;
        query.say(&mut note);
        let cursor = cursor.map(str::to_owned);
        let found = inner.scan_for(caller, move |view| find(view, &query, bounded(limit), cursor.as_deref())).await;
        let page = match found {
            Ok(page) => page,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        note.say("count", page.items.len());
        if let (Some(newest), Some(oldest)) = (page.items.first(), page.items.last()) {
            note.say("first", oldest.index);
            note.say("last", newest.index);
        }
        Ok(inner.record(caller, note).await?.map(|()| page))
    }

    /// All entries that match, in pages, in constant memory.
    ///
    /// # Errors
    /// What `require` says; `AuditUnavailable`.
    pub async fn audit_export(&self, caller: &Caller, query: AuditQuery) -> Outcome<Export> {
        let inner = &self.inner;
        let mut note = Note::event(Action::AuditExport, Target::new("log", "entries"));
        inner.permit(caller, Permission::AuditRead, &note).await?;
        query.say(&mut note);
        let prepared = inner
            .read(|view| {
                let size = view.size();
                let before = query.before.unwrap_or(size).min(size);
                Ok(EntryQuery { before: Some(before), limit: EXPORT_ROWS, ..query.resolve(view)? })
            })
            .await;
        let query = match prepared {
            Ok(query) => query,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        note.say("first", query.after.map_or(0, |after| after.saturating_add(1).min(INTEGER_MAX)));
        note.say("before", query.before);
        let inner_of_export = Arc::clone(inner);
        let done = inner.record(caller, note).await?;
        Ok(done.map(|()| Export { inner: inner_of_export, query, done: false }))
    }

    /// One entry with its receipt.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `AuditUnavailable`.
    pub async fn audit_entry(&self, caller: &Caller, index: u64) -> Outcome<EntryWithReceipt> {
        let inner = &self.inner;
        let note = Note::event(Action::AuditRead, Target::new("log", "entries"))
            .with("first", index.min(INTEGER_MAX))
            .with("last", index.min(INTEGER_MAX))
            .with("count", 1);
        inner.permit(caller, Permission::AuditRead, &note).await?;
        let checkpoint = inner.published();
        let found = inner
            .read(|view| {
                let leaf = if index < checkpoint.size { view.leaf(index)? } else { None };
                let leaf = leaf.ok_or_else(|| RegistryError::not_found(format!("entry {index}")))?;
                let row = row(index, &leaf, leaf_hash(&leaf))?;
                Ok(EntryWithReceipt { row, receipt: view.receipt(index, &checkpoint)? })
            })
            .await;
        match found {
            Ok(found) => Ok(inner.record(caller, note).await?.map(|()| found)),
            Err(error) => Err(inner.refuse(caller, note, error).await),
        }
    }
}

impl Registry {
    /// The first published entry that is not before a time, in milliseconds since the epoch. A number is all it says, so it is
    /// no reading of entries.
    ///
    /// # Errors
    /// What `require` says; `Corrupt`, `Internal`.
    pub async fn audit_position(&self, caller: &Caller, time_ms: i64) -> Result<AuditPosition, Failure> {
        let inner = &self.inner;
        let note = Note::event(Action::AuditRead, Target::new("log", "entries"));
        inner.permit(caller, Permission::AuditRead, &note).await?;
        let size = inner.published().size;
        let before = EntryQuery {
            before: Some(size),
            until_ms: Some(time_ms.saturating_sub(1)),
            limit: 1,
            ..EntryQuery::default()
        };
        let last = inner.read(|view| Ok(view.entries(&before)?.entries.first().map(|found| found.index))).await?;
        Ok(AuditPosition { index: last.map_or(0, |index| index + 1), size })
    }
}

impl AuditQuery {
    /// The store's query: a target's name becomes its id.
    fn resolve(&self, view: &dyn View) -> Result<EntryQuery, RegistryError> {
        let target = self.target.as_deref().map(|target| target_id(view, target)).transpose()?;
        let not: Result<Vec<EntryUnlike>, RegistryError> = self
            .not
            .iter()
            .map(|unlike| match unlike {
                EntryUnlike::Target(target) => target_id(view, target).map(EntryUnlike::Target),
                other => Ok(other.clone()),
            })
            .collect();
        Ok(EntryQuery {
            after: self.after,
            before: self.before,
            actor: self.actor.clone(),
            action: self.action.clone(),
            target,
            outcome: self.outcome,
            ip: self.ip.clone(),
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            not: not?,
            limit: 0,
        })
    }

    /// Writes the filters into the entry of the reading.
    fn say(&self, note: &mut Note) {
        let mut filters = serde_json::Map::new();
        for (name, value) in
            [("actor", &self.actor), ("action", &self.action), ("target", &self.target), ("ip", &self.ip)]
        {
            if let Some(value) = value {
                filters.insert(name.to_owned(), cut(value, FILTER_OCTETS_MAX).into());
            }
        }
        if let Some(outcome) = self.outcome {
            filters.insert("outcome".to_owned(), outcome.as_str().into());
        }
        let numbers = [("since", self.since_ms), ("until", self.until_ms)];
        for (name, value) in numbers.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
            filters.insert(name.to_owned(), clock::rfc3339(value).into());
        }
        if !self.not.is_empty() {
            let said: Vec<Value> = self.not.iter().map(|unlike| cut(&said(unlike), FILTER_OCTETS_MAX).into()).collect();
            filters.insert("not".to_owned(), said.into());
        }
        if !filters.is_empty() {
            note.say("filters", Value::Object(filters));
        }
    }
}

/// What an entry must not be, as it is asked for.
fn said(unlike: &EntryUnlike) -> String {
    match unlike {
        EntryUnlike::Actor(actor) => format!("actor:{actor}"),
        EntryUnlike::Action(action) => format!("action:{action}"),
        EntryUnlike::Target(target) => format!("target:{target}"),
        EntryUnlike::Outcome(outcome) => format!("outcome:{}", outcome.as_str()),
        EntryUnlike::Ip(ip) => format!("ip:{ip}"),
    }
}

/// The id that a target's name or id means. What means nothing stays as it is, and finds what was recorded under it.
fn target_id(view: &dyn View, target: &str) -> Result<String, RegistryError> {
    let (kind, name) = match target.split_once(':') {
        Some((kind @ ("model" | "user"), name)) => (Some(kind), name),
        Some(_) | None => (None, target),
    };
    if let Ok(id) = name.parse::<ModelId>() {
        return Ok(id.to_string());
    }
    if kind != Some("user")
        && let Ok(name) = name.parse::<ModelName>()
        && let Some(id) = view.model_named(&name)?
    {
        return Ok(id.to_string());
    }
    if kind != Some("model")
        && let Ok(name) = name.parse::<UserName>()
        && let Some(user) = view.user(&name)?
    {
        return Ok(user.id);
    }
    Ok(name.to_owned())
}

fn find(
    view: &dyn View,
    query: &AuditQuery,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<AuditRow>, RegistryError> {
    let of = list_id("audit", query);
    let from = cursor::read::<u64>(&of, cursor)?;
    let mut asked = EntryQuery { limit, ..query.resolve(view)? };
    if let Some((before, _total)) = from {
        asked.before = Some(asked.before.map_or(before, |bound| bound.min(before)));
    }
    let page = view.entries(&asked)?;
    // Counted for the first page: reading the log makes it longer.
    let total = from.map_or(page.total, |(_before, total)| total);
    let next_cursor = page.next_before.map(|before| cursor::write(&of, before, total)).transpose()?;
    Ok(Page { items: rows(&page)?, total, next_cursor, prev_cursor: None })
}

fn rows(page: &EntryPage) -> Result<Vec<AuditRow>, RegistryError> {
    page.entries.iter().map(|found| row(found.index, &found.leaf, found.leaf_hash)).collect()
}

fn row(index: u64, leaf: &[u8], hash: common::audit::Hash) -> Result<AuditRow, RegistryError> {
    let entry = serde_json::from_slice(leaf).map_err(|error| RegistryError::Corrupt(error.into()))?;
    Ok(AuditRow { index, entry, leaf_hash: hash.to_string() })
}
