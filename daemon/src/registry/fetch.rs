//! Listing and describing. Knows pages, cursors and what a caller may see; refuses to know bytes.

use std::fmt::Debug;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use common::api::{AliasEvent, AsOf, ModelInfo, ModelRow, Page, State, VersionInfo};
use common::audit::{Action, Target};
use common::name::{Alias, ModelId, ModelRef, Select, Version};
use common::role::Permission;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::cursor::{self, Seek};
use crate::registry::error::{Done, Outcome, RegistryError};
use crate::registry::resolve::{self, Found, Sight};
use crate::registry::settings::{AuditReads, Settings};
use crate::registry::{Inner, Registry, render};
use crate::store::records::{AliasEventRecord, ModelRecord, VersionRecord};
use crate::store::{
    Bounds, Feature, ModelPage, ModelQuery, ModelSort, ModelUnlike, PublishedCheckpoint, Records, View,
};

/// Rows of a page.
pub const LIMIT_MAX: usize = 1000;
/// Versions that come with a model.
const NEWEST_VERSIONS: usize = 10;
/// Lists without a counter are counted up to here.
pub(crate) const COUNTED_MAX: usize = 1000;
/// Longest text of a model that is kept for the next who asks, octets.
pub(super) const WRITTEN_OCTETS_MAX: usize = 16 * 1024;
/// Alias events read at once.
const EVENTS_PAGE: usize = 100;

/// A value and the revision it has: its entity tag is the revision in decimal digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tagged<T> {
    /// The value.
    pub value: T,
    /// Index of the entry that last changed it.
    pub revision: u64,
}

/// A model as it is shown, written out.
pub struct Written {
    /// The settings that it was made with. They hold secrets, which must not be kept because of this.
    settings: Weak<Settings>,
    id: ModelId,
    /// Index of the entry that last changed the model.
    pub revision: u64,
    /// The text.
    pub octets: Bytes,
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
    /// How many parameters the latest version has.
    pub parameters: Option<Bounds>,
    /// Element types that the latest version must all have, ignoring case.
    pub dtypes: Vec<String>,
    /// What the inspection of the latest version came to.
    pub verdict: Option<String>,
    /// Models that have this alias.
    pub alias: Option<Alias>,
    /// Who published the latest version.
    pub uploader: Option<String>,
    /// Changed at or after, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// What they must not be.
    pub not: Vec<ModelUnlike>,
    /// What a version of theirs must have.
    pub features: Vec<Feature>,
    /// The order.
    pub sort: ModelSort,
    /// Rows of a page, 1..1000.
    pub limit: usize,
    /// Which page.
    pub seek: Seek,
}

impl ModelListing {
    /// The list and its filters as one word.
    fn id(&self) -> String {
        let Self {
            q, tags, state, format, parameters, dtypes, verdict, alias, uploader, since_ms, not, features, ..
        } = self;
        let of_latest = (q, tags, *state, format, *parameters, dtypes);
        list_id("models", &(of_latest, (verdict, alias, uploader, *since_ms, not, features, self.sort)))
    }

    /// Whether there can be any of these for somebody: deleted ones are shown to those who could restore them.
    pub(crate) fn is_open_to(&self, sight: &Sight) -> bool {
        self.state != Some(State::Deleted) || sight.sees_deleted_somewhere()
    }

    /// The question to the store, from the first row on.
    pub(crate) fn query(self, sight: &Sight) -> ModelQuery {
        ModelQuery {
            names: sight.names(self.state == Some(State::Deleted)),
            text: self.q,
            tags: self.tags,
            state: self.state,
            format: self.format,
            parameters: self.parameters,
            dtypes: self.dtypes,
            verdict: self.verdict,
            alias: self.alias,
            uploader: self.uploader,
            since_ms: self.since_ms,
            not: self.not,
            features: self.features,
            sort: self.sort,
            after: None,
            backward: false,
            limit: bounded(self.limit),
        }
    }
}

/// A number of rows within the bounds, whatever was asked.
pub(crate) fn bounded(limit: usize) -> usize {
    limit.clamp(1, LIMIT_MAX)
}

/// A list and its filters as one word: cursors of one list mean nothing to another.
pub(crate) fn list_id(list: &str, filters: &impl Debug) -> String {
    let hash = Sha256::digest(format!("{filters:?}"));
    format!("{list}:{}", hex::encode(&hash[..8]))
}

impl Registry {
    /// Models. Deleted ones only where they are asked for, and only to those who could restore them.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub async fn list_models(&self, caller: &Caller, listing: ModelListing) -> Outcome<Page<ModelRow>> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelList, Target::new("model", "*"));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let work = Arc::clone(inner);
        let page = inner.scan_for(caller, move |view| list(&work, view, listing, &sight)).await;
        inner.told(caller, note, page).await
    }

    /// A model, its newest versions, and the version that the reference selects. With `as_of_ms` and `name@alias`: the
    /// version the alias pointed to then, with the proof that the log says so. Those who may read the log get the entry
    /// itself, and their reading is an entry.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Invalid` for `as_of` without an alias; `AuditUnavailable` where an entry is read.
    pub async fn model(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        as_of_ms: Option<i64>,
    ) -> Outcome<Tagged<ModelInfo>> {
        let inner = &self.inner;
        let mut note = Note::event(Action::ModelRead, resolve::target(reference));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let reads_log = caller.may(Permission::AuditRead);
        let found = inner
            .read(|view| {
                // Taken before anything is read: what came after it is not proved by it.
                let checkpoint = inner.published();
                let instant = as_of_ms.map(|at_ms| Instant { at_ms, size: checkpoint.size });
                let (mut found, step) = describe(inner, view, reference, instant, &sight)?;
                found.value.as_of = step.map(|step| proved(view, &step, &checkpoint, reads_log)).transpose()?;
                Ok(found)
            })
            .await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        note.target.id = found.value.model.id.to_string();
        if let Some(AsOf { step, receipt: Some(_), .. }) = &found.value.as_of {
            let reading = Note::event(Action::AuditRead, Target::new("log", "entries"))
                .with("first", step.log_index)
                .with("last", step.log_index)
                .with("count", 1)
                .with("model", note.target.id);
            return Ok(inner.record(caller, reading).await?.map(|()| found));
        }
        inner.told(caller, note, Ok(found)).await
    }

    /// A model as it is now, written out by `write`: the same text is handed out until something in it changes.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn model_written(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        write: fn(&ModelInfo) -> Vec<u8>,
    ) -> Outcome<Arc<Written>> {
        let inner = &self.inner;
        let mut note = Note::event(Action::ModelRead, resolve::target(reference));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let settings = Arc::downgrade(&inner.settings());
        let question = (reference.clone(), Sight::of(caller, Permission::ModelRead));
        let kept = inner.shown.get(&question).filter(|kept| Weak::ptr_eq(&kept.settings, &settings));
        let written = match kept {
            Some(written) => Ok(written),
            None => {
                let work = |records: &dyn Records| describe(inner, records, reference, None, &question.1);
                inner.read_noted(work).await.map(|((found, _step), basis)| {
                    let Tagged { value, revision } = found;
                    // Without what its buffer had in reserve.
                    let octets = Bytes::from(write(&value).into_boxed_slice());
                    let written = Arc::new(Written { settings, id: value.model.id, revision, octets });
                    if let Some(basis) = basis.filter(|_| written.octets.len() <= WRITTEN_OCTETS_MAX) {
                        inner.shown.keep(question, Arc::clone(&written), basis);
                    }
                    written
                })
            }
        };
        if let Ok(written) = &written {
            note.target.id = written.id.to_string();
        }
        inner.told(caller, note, written).await
    }

    /// Versions of a model, newest first. Deleted ones are shown to those who could restore them.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Invalid` for the cursor.
    pub async fn versions(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        limit: usize,
        seek: Seek,
    ) -> Outcome<Page<VersionInfo>> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelRead, resolve::target(reference));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let reference = reference.clone();
        let work = Arc::clone(inner);
        let page = inner
            .scan_for(caller, move |view| {
                let model = resolve::model(view, &reference, &sight)?.model;
                list_versions(&work, view, &model, bounded(limit), &seek, &sight)
            })
            .await;
        inner.told(caller, note, page).await
    }

    /// A version.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn version(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
    ) -> Outcome<Tagged<VersionInfo>> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelRead, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let found = inner
            .read(|view| {
                let model = resolve::model(view, reference, &sight)?.model;
                let version = resolve::version(view, &model, version, &sight)?;
                let value = render::version_info(inner.inspections.ruleset(), &model, &version);
                Ok(Tagged { value, revision: version.revision })
            })
            .await;
        inner.told(caller, note, found).await
    }

    /// The history of an alias, newest first.
    ///
    /// # Errors
    /// What `require` says; `NotFound`; `Invalid` for the cursor.
    pub async fn alias_history(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        alias: &Alias,
        limit: usize,
        cursor: Option<&str>,
    ) -> Outcome<Page<AliasEvent>> {
        let inner = &self.inner;
        let target = Target { kind: "alias".into(), ..resolve::target(reference) };
        let note = Note::event(Action::ModelRead, target).with("alias", alias.as_str());
        inner.permit(caller, Permission::ModelRead, &note).await?;
        let sight = Sight::of(caller, Permission::ModelRead);
        let (reference, alias, cursor) = (reference.clone(), alias.clone(), cursor.map(str::to_owned));
        let page = inner
            .scan_for(caller, move |view| {
                let model = resolve::model(view, &reference, &sight)?.model;
                list_events(view, &model, &alias, bounded(limit), cursor.as_deref())
            })
            .await;
        inner.told(caller, note, page).await
    }
}

impl Inner {
    /// Ends a reading of metadata: its entry where such readings are recorded, and always where it failed.
    pub(crate) async fn told<T>(
        self: &Arc<Self>,
        caller: &Caller,
        note: Note,
        result: Result<T, RegistryError>,
    ) -> Outcome<T> {
        match result {
            Ok(value) if self.settings().audit_reads == AuditReads::Content => Ok(Done::unlogged(value)),
            Ok(value) => Ok(self.record_reading(caller, note).await?.map(|()| value)),
            Err(error) => Err(self.refuse(caller, note, error).await),
        }
    }
}

fn list(
    inner: &Inner,
    records: &dyn Records,
    listing: ModelListing,
    sight: &Sight,
) -> Result<Page<ModelRow>, RegistryError> {
    let of = listing.id();
    let sought = cursor::seek::<String>(&of, &listing.seek)?;
    let after = sought.from.as_ref().map(|place| inner.places.read(place)).transpose()?;
    if !listing.is_open_to(sight) {
        return Ok(Page { items: Vec::new(), total: Some(0), next_cursor: None, prev_cursor: None });
    }
    let is_begin = after.is_none();
    let query = ModelQuery { after, backward: sought.backward, ..listing.query(sight) };
    let sealed = query.names.is_some();
    let shown = |place: Vec<u8>, sealed| inner.places.shown(&place, sealed);
    let ModelPage { models, next, ends, total } = records.models(&query)?;
    let total = if is_begin { total } else { sought.total };
    let ends = ends.map(|(first, last)| (shown(first, sealed), shown(last, sealed)));
    let ends = ends.as_ref().map(|(first, last)| (first, last));
    let (next_cursor, prev_cursor) = sought.ends(&of, ends, next.map(|next| shown(next, sealed)).as_ref(), total)?;
    let settings = inner.settings();
    Ok(Page {
        items: models.iter().map(|model| render::model_row(&settings, model)).collect(),
        total,
        next_cursor,
        prev_cursor,
    })
}

fn describe(
    inner: &Inner,
    records: &dyn Records,
    reference: &ModelRef,
    instant: Option<Instant>,
    sight: &Sight,
) -> Result<(Tagged<ModelInfo>, Option<AliasEventRecord>), RegistryError> {
    let found = resolve::model(records, reference, sight)?;
    let (model, ruleset) = (&found.model, inner.inspections.ruleset());
    let newest = visible_versions(records, model, None, NEWEST_VERSIONS, sight)?;
    let at_hand = latest_among(&found, &reference.select, &newest);
    let (read, step) = match instant {
        None if at_hand.is_some() => (None, None),
        None => (resolve::selected(records, &found, &reference.select, sight)?, None),
        Some(instant) => {
            let (selected, step) = as_of(records, &found, &reference.select, instant, sight)?;
            (selected, Some(step))
        }
    };
    let selected = at_hand.or(read.as_ref());
    let value = ModelInfo {
        model: render::model_row(&inner.settings(), model),
        restorable_until: model.deleted.as_ref().map(|deletion| clock::rfc3339(deletion.restorable_until_ms)),
        newest_versions: newest.iter().map(|version| render::version_listed(ruleset, model, version)).collect(),
        selected: selected.map(|version| render::version_info(ruleset, model, version)),
        as_of: None,
    };
    Ok((Tagged { value, revision: model.revision }, step))
}

/// What [`resolve::selected`] would read of a model itself, where it is among its newest versions, which are read anyway.
fn latest_among<'v>(found: &Found, select: &Select, newest: &'v [VersionRecord]) -> Option<&'v VersionRecord> {
    let latest = found.model.latest.as_ref().filter(|latest| latest.state == State::Available)?;
    let is_latest = *select == Select::Latest && found.holder.is_none();
    newest.iter().find(|version| is_latest && version.version == latest.version)
}

/// An instant in the past of a published log.
#[derive(Debug, Clone, Copy)]
struct Instant {
    /// Milliseconds since the epoch.
    at_ms: i64,
    /// Entries the log has.
    size: u64,
}

/// A step of an alias's history with the proof of its entry. The entry itself, which names people and their addresses, only
/// for those who may read the log.
fn proved(
    view: &dyn View,
    step: &AliasEventRecord,
    checkpoint: &PublishedCheckpoint,
    reads_log: bool,
) -> Result<AsOf, RegistryError> {
    let receipt = view.receipt(step.index, checkpoint)?;
    let hashes = view.nodes(0, step.index..step.index + 1)?;
    let leaf_hash = hashes.first().ok_or_else(|| RegistryError::internal("a tree without the leaf it has"))?;
    Ok(AsOf {
        step: render::alias_event(step),
        leaf_hash: leaf_hash.to_string(),
        proof: receipt.proof.clone(),
        receipt: reads_log.then_some(receipt),
    })
}

/// The step of an alias's history that held at an instant, and the version it points to, if that can still be seen.
fn as_of(
    records: &dyn Records,
    found: &Found,
    select: &Select,
    instant: Instant,
    sight: &Sight,
) -> Result<(Option<VersionRecord>, AliasEventRecord), RegistryError> {
    let Select::Alias(alias) = select else {
        return Err(RegistryError::invalid("query.as_of", "it needs an alias: `name@alias`"));
    };
    let model = &found.model;
    let unset = |why: String| {
        let when = clock::rfc3339(instant.at_ms);
        RegistryError::not_found(format!("version behind alias `{alias}` of model `{}` at {when} ({why})", model.name))
    };
    let mut below = Some(instant.size);
    loop {
        let events = records.alias_events(model.id, alias, below, EVENTS_PAGE)?;
        if let Some(event) = events.iter().find(|event| event.at_ms <= instant.at_ms) {
            let Some(number) = event.version else {
                return Err(unset(format!("entry {} cleared it at {}", event.index, clock::rfc3339(event.at_ms))));
            };
            let version = records.version(model.id, number)?;
            let visible = version.filter(|version| version.deleted.is_none() || sight.sees_deleted(&model.name));
            return Ok((visible, event.clone()));
        }
        below = match events.last() {
            Some(last) if events.len() == EVENTS_PAGE => Some(last.index),
            Some(_) | None => return Err(unset("it had not been set yet".to_owned())),
        };
    }
}

/// Versions that a caller sees, newest first, below a number.
fn visible_versions(
    records: &dyn Records,
    model: &ModelRecord,
    mut below: Option<Version>,
    limit: usize,
    sight: &Sight,
) -> Result<Vec<VersionRecord>, RegistryError> {
    let mut visible = Vec::new();
    while visible.len() < limit {
        let page = records.versions(model.id, below, limit)?;
        below = page.last().map(|version| version.version);
        let is_last = page.len() < limit;
        visible.extend(page.into_iter().filter(|version| version.deleted.is_none() || sight.sees_deleted(&model.name)));
        if is_last {
            break;
        }
    }
    visible.truncate(limit);
    Ok(visible)
}

/// The same backwards: oldest first, above a number.
fn visible_versions_back(
    records: &dyn Records,
    model: &ModelRecord,
    mut above: Option<Version>,
    limit: usize,
    sight: &Sight,
) -> Result<Vec<VersionRecord>, RegistryError> {
    let mut visible = Vec::new();
    while visible.len() < limit {
        let page = records.versions_back(model.id, above, limit)?;
        above = page.last().map(|version| version.version);
        let is_last = page.len() < limit;
        visible.extend(page.into_iter().filter(|version| version.deleted.is_none() || sight.sees_deleted(&model.name)));
        if is_last {
            break;
        }
    }
    visible.truncate(limit);
    Ok(visible)
}

fn list_versions(
    inner: &Inner,
    records: &dyn Records,
    model: &ModelRecord,
    limit: usize,
    seek: &Seek,
    sight: &Sight,
) -> Result<Page<VersionInfo>, RegistryError> {
    let of = list_id("versions", &model.id);
    let sought = cursor::seek::<Version>(&of, seek)?;
    let total = match sought.from {
        Some(_inside) => sought.total,
        None if !sight.sees_deleted(&model.name) => Some(u64::from(model.live_versions)),
        // There is no counter of deleted versions.
        None => up_to_counted(visible_versions(records, model, None, COUNTED_MAX + 1, sight)?.len()),
    };
    let walk = if sought.backward { visible_versions_back } else { visible_versions };
    let mut found = walk(records, model, sought.from, limit + 1, sight)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let on = found.last().filter(|_| more).map(|version| version.version);
    if sought.backward {
        found.reverse();
    }
    let ends = found.first().zip(found.last()).map(|(first, last)| (&first.version, &last.version));
    let (next_cursor, prev_cursor) = sought.ends(&of, ends, on.as_ref(), total)?;
    Ok(Page {
        items: found
            .iter()
            .map(|version| render::version_listed(inner.inspections.ruleset(), model, version))
            .collect(),
        total,
        next_cursor,
        prev_cursor,
    })
}

fn list_events(
    records: &dyn Records,
    model: &ModelRecord,
    alias: &Alias,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<AliasEvent>, RegistryError> {
    let of = list_id("alias", &(model.id, alias));
    let from = cursor::read::<u64>(&of, cursor)?;
    let total = match from {
        Some((_, total)) => total,
        None => up_to_counted(records.alias_events(model.id, alias, None, COUNTED_MAX + 1)?.len()),
    };
    let mut found = records.alias_events(model.id, alias, from.map(|(below, _)| below), limit + 1)?;
    if from.is_none() && found.is_empty() {
        return Err(RegistryError::not_found(format!("alias `{alias}` of model `{}`", model.name)));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|event| event.index);
    Ok(Page {
        items: found.iter().map(render::alias_event).collect(),
        total,
        next_cursor: last.map(|last| cursor::write(&of, last, total)).transpose()?,
        prev_cursor: None,
    })
}

pub(crate) fn up_to_counted(count: usize) -> Option<u64> {
    (count <= COUNTED_MAX).then_some(count as u64)
}
