//! Retention: rules by which versions go. Knows what a rule selects, when it is carried out and in what steps; refuses to know
//! how a version is deleted or purged.
//!
//! One function says what goes, `select::goes`: for a preview, for a run, and once more on the writing thread when it happens, so that
//! whatever has changed meanwhile counts. A run walks the models of the rule by name (or, for a purge, what was deleted by the
//! end of its time), in commits of a few versions of one model, each with its entry that names the rule. That a run has ended
//! is a commit, too. A stop or a kill in between leaves a rule that is due: it is walked anew, and what is gone is gone.
//!
//! A rule is carried out by the daemon itself, and its pattern can be any: who deals with rules may delete all models.
//!
//! One daemon carries out all rules, the one that does the upkeep. That somebody asks for a run is part of the rule's record, so
//! it doesn't matter which daemon was asked.

mod select;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use common::api::retention::{
    RetentionAction, RetentionHit, RetentionPreview, RetentionRule, RetentionRuleInfo, RetentionRun, RetentionStatus,
};
use common::api::{Page, State};
use common::audit::{Action, Target};
use common::name::{ModelId, Version};
use common::role::Permission;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, MissedTickBehavior};

use self::select::{Place, applies, floor, goes, walk};
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::{Decided, Note};
use crate::registry::cursor;
use crate::registry::delete::{Gone, Released, forget_latest, touch};
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::fetch::Tagged;
use crate::registry::settings::RetentionSettings;
use crate::registry::text;
use crate::registry::{Inner, Registry};
use crate::store::records::{
    DeletionRecord, ModelRecord, RetentionRuleRecord, RuleSpec, RunRecord, VersionRecord, Write,
};
use crate::store::{Moment, Records};

/// Rules there can be.
pub const RULES_MAX: usize = 100;
/// Characters of a rule's name.
pub const NAME_CHARS_MAX: usize = 64;
/// Tags besides `keep=true` that one rule can name.
pub const PROTECT_TAGS_MAX: usize = 16;
/// The most that `keep_newest` can be.
pub const KEEP_NEWEST_MAX: u32 = 10_000;
/// The most days that can be asked for.
pub const DAYS_MAX: u32 = 36_500;
/// The name that no rule can have, for it is a path of its own.
const PREVIEW: &str = "preview";

/// How often it is looked whether a rule is due.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it waits after a run that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Versions of one run; the next goes on.
const RUN_VERSIONS_MAX: u64 = 10_000;
/// After a run that left something over, the next comes after this time at the latest.
const GO_ON_AFTER: Duration = Duration::from_secs(3600);
/// Versions that go in one commit, all of one model.
const VERSIONS_AT_ONCE: usize = 20;
/// Versions that are selected at once.
const SELECTED_AT_ONCE: usize = 200;

/// How retention is doing at this daemon.
#[derive(Default)]
pub(crate) struct Retention {
    running: Mutex<Option<String>>,
    versions: AtomicU64,
    bytes: AtomicU64,
}

impl Retention {
    fn show(&self, running: Option<&str>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running.map(str::to_owned);
    }
}

/// Shows a run as long as it goes on, however it ends.
struct Shown<'r>(&'r Retention);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.show(None);
    }
}

// ---- rules ----------------------------------------------------------------------------------------------------------

/// What is wrong with a rule's name.
fn check_name(name: &str) -> Result<(), RegistryError> {
    let is_word = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"._-".contains(&octet);
    let begins = name.bytes().next().is_some_and(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit());
    if begins && name.len() <= NAME_CHARS_MAX && name.bytes().all(is_word) && name != PREVIEW {
        return Ok(());
    }
    let what = format!(
        "a rule's name has 1 to {NAME_CHARS_MAX} lower-case letters, digits, `.`, `_`, `-`, begins with a letter or digit, \
         and is not `{PREVIEW}`"
    );
    Err(RegistryError::invalid("path.rule", what))
}

/// A rule as it is kept, if it can be one.
fn spec_of(rule: RetentionRule) -> Result<RuleSpec, RegistryError> {
    let RetentionRule { pattern, action, keep_newest, older_than_days, mut states, protect_tags, enabled } = rule;
    let mut refused = Vec::new();
    let mut refuse = |of: &str, why: String| refused.push((format!("body.{of}"), why));
    if keep_newest.is_some_and(|count| !(1..=KEEP_NEWEST_MAX).contains(&count)) {
        refuse("keep_newest", format!("must be from 1 to {KEEP_NEWEST_MAX}"));
    }
    if older_than_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        refuse("older_than_days", format!("must be from 1 to {DAYS_MAX}"));
    }
    if states.contains(&State::Deleted) {
        refuse("states", "what is deleted is not deleted again; the action `purge` is about it".to_owned());
    }
    let purges = action == RetentionAction::Purge;
    if purges && keep_newest.is_some() {
        refuse("keep_newest", "is not for `purge`, which is about what was deleted".to_owned());
    }
    if purges && !states.is_empty() {
        refuse("states", "are not for `purge`, which is about what was deleted".to_owned());
    }
    if !purges && keep_newest.is_none() && older_than_days.is_none() && states.is_empty() {
        refuse(
            "action",
            "give a condition: keep_newest, older_than_days or states. Without one everything goes".to_owned(),
        );
    }
    let mut tags = Vec::new();
    for tag in &protect_tags {
        match tag.split_once('=') {
            Some((key, value)) => {
                let mut wrong = text::Refused::new();
                let one = [(key.to_owned(), value.to_owned())].into();
                text::check_tags("body.protect_tags", &one, &mut wrong);
                refused.extend(wrong);
                tags.push((key.to_owned(), value.to_owned()));
            }
            None => refused.push(("body.protect_tags".to_owned(), format!("{tag:?} is not key=value"))),
        }
    }
    if protect_tags.len() > PROTECT_TAGS_MAX {
        refused.push(("body.protect_tags".to_owned(), format!("are more than {PROTECT_TAGS_MAX}")));
    }
    if !refused.is_empty() {
        return Err(RegistryError::Invalid(refused));
    }
    states.sort_by_key(|state| state.as_str());
    states.dedup();
    Ok(RuleSpec { pattern, purges, keep_newest, older_than_days, states, protect_tags: tags, enabled })
}

/// The rule as it is shown.
fn rule_of(spec: &RuleSpec) -> RetentionRule {
    RetentionRule {
        pattern: spec.pattern.clone(),
        action: spec.action(),
        keep_newest: spec.keep_newest,
        older_than_days: spec.older_than_days,
        states: spec.states.clone(),
        protect_tags: spec.protect_tags.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        enabled: spec.enabled,
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// When a rule is to be carried out next, milliseconds since the epoch; none: not at all.
fn due_ms(record: &RetentionRuleRecord, settings: RetentionSettings) -> Option<i64> {
    if record.requested_at_ms.is_some() {
        return record.requested_at_ms;
    }
    let after_last = record.last_run.as_ref().map_or(i64::MIN, |run| {
        let pause = if run.complete { settings.interval } else { settings.interval.min(GO_ON_AFTER) };
        run.ended_at_ms.saturating_add(ms(pause))
    });
    record.rule.enabled.then(|| record.first_run_at_ms.max(after_last))
}

fn info(record: &RetentionRuleRecord, settings: RetentionSettings) -> RetentionRuleInfo {
    RetentionRuleInfo {
        name: record.name.clone(),
        rule: rule_of(&record.rule).into(),
        set_by: record.set_by.clone(),
        set_at: clock::rfc3339(record.set_at_ms),
        first_run_at: clock::rfc3339(record.first_run_at_ms),
        next_run_at: due_ms(record, settings).map(clock::rfc3339),
        requested_at: record.requested_at_ms.map(clock::rfc3339),
        last_run: record.last_run.as_ref().map(|run| RetentionRun {
            began_at: clock::rfc3339(run.began_at_ms),
            ended_at: clock::rfc3339(run.ended_at_ms),
            versions: run.versions,
            bytes: run.bytes,
            complete: run.complete,
            on_demand: run.on_demand,
        }),
    }
}

fn target(name: &str) -> Target {
    Target::new("retention", name)
}

fn missing() -> RegistryError {
    RegistryError::not_found("such retention rule")
}

/// What an entry says of a rule.
fn say_rule(note: &mut Note, spec: &RuleSpec) {
    note.say("rule", serde_json::to_value(rule_of(spec)).unwrap_or_default());
}

impl Registry {
    /// All rules, by name.
    ///
    /// # Errors
    /// What `require_everywhere` says.
    pub async fn retention_rules(&self, caller: &Caller) -> Outcome<Page<RetentionRuleInfo>> {
        let inner = &self.inner;
        let note = Note::event(Action::RetentionRead, target("*"));
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let settings = inner.settings().retention;
        let rules = inner.read(|view| Ok(view.retention_rules()?)).await.map(|rules| {
            let items: Vec<_> = rules.iter().map(|record| info(record, settings)).collect();
            let total = u64::try_from(items.len()).ok();
            Page { items, total, next_cursor: None, prev_cursor: None }
        });
        inner.told(caller, note, rules).await
    }

    /// A rule.
    ///
    /// # Errors
    /// What `require_everywhere` says; `NotFound`.
    pub async fn retention_rule(&self, caller: &Caller, name: &str) -> Outcome<Tagged<RetentionRuleInfo>> {
        let inner = &self.inner;
        let note = Note::event(Action::RetentionRead, target(name));
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let found = inner.read(|view| view.retention_rule(name)?.ok_or_else(missing)).await;
        let settings = inner.settings().retention;
        let found = found.map(|record| Tagged { value: info(&record, settings), revision: record.revision });
        inner.told(caller, note, found).await
    }

    /// Creates or replaces a rule. By the clock it does nothing before the grace is over, unless it was the same before.
    ///
    /// # Errors
    /// What `require_everywhere` says; `Invalid`, `Conflict`, `PreconditionFailed`.
    pub async fn set_retention_rule(
        &self,
        caller: &Caller,
        name: &str,
        rule: RetentionRule,
    ) -> Outcome<Tagged<RetentionRuleInfo>> {
        let inner = &self.inner;
        let note = Note::change(Action::RetentionSet, target(name));
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let (settings, who, name) = (inner.settings().retention, caller.clone(), name.to_owned());
        inner
            .commit(caller, note, move |records, moment, note| {
                check_name(&name)?;
                let spec = spec_of(rule)?;
                let before = records.retention_rule(&name)?;
                who.check_if_match(before.as_ref().map_or(u64::MAX, |before| before.revision))?;
                if before.is_none() && records.retention_rules()?.len() >= RULES_MAX {
                    return Err(RegistryError::Conflict(format!("there are {RULES_MAX} rules; remove one first")));
                }
                say_rule(note, &spec);
                if let Some(before) = &before {
                    note.say("rule_before", serde_json::to_value(rule_of(&before.rule)).unwrap_or_default());
                }
                let same = before.as_ref().filter(|before| before.rule == spec);
                let grace_ends_ms = moment.at_ms.saturating_add(ms(settings.grace));
                let record = RetentionRuleRecord {
                    first_run_at_ms: same.map_or(grace_ends_ms, |before| before.first_run_at_ms),
                    // What was asked for was another rule.
                    requested_at_ms: same.and_then(|before| before.requested_at_ms),
                    last_run: before.and_then(|before| before.last_run),
                    name,
                    rule: spec,
                    set_by: who.actor.name.clone(),
                    set_at_ms: moment.at_ms,
                    revision: moment.index,
                };
                let value = info(&record, settings);
                Ok((Tagged { value, revision: moment.index }, vec![Write::PutRetentionRule(record)]))
            })
            .await
    }

    /// Removes a rule. A run of it ends with the commit it is at.
    ///
    /// # Errors
    /// What `require_everywhere` says; `NotFound`, `PreconditionFailed`.
    pub async fn delete_retention_rule(&self, caller: &Caller, name: &str) -> Outcome<Gone> {
        let inner = &self.inner;
        let note = Note::change(Action::RetentionDelete, target(name));
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let (who, name) = (caller.clone(), name.to_owned());
        inner
            .commit(caller, note, move |records, _moment, note| {
                let record = records.retention_rule(&name)?.ok_or_else(missing)?;
                who.check_if_match(record.revision)?;
                say_rule(note, &record.rule);
                let gone = Gone { id: name.clone(), version: None, purged: false, restorable_until_ms: None };
                Ok((gone, vec![Write::DeleteRetentionRule { name }]))
            })
            .await
    }

    /// Has a rule carried out soon, whatever the clock says and whether it is enabled or not.
    ///
    /// # Errors
    /// What `require_everywhere` says; `NotFound`, `PreconditionFailed`.
    pub async fn request_retention(&self, caller: &Caller, name: &str) -> Outcome<Tagged<RetentionRuleInfo>> {
        let inner = &self.inner;
        let note = Note::change(Action::RetentionRequest, target(name));
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let (settings, who, name) = (inner.settings().retention, caller.clone(), name.to_owned());
        inner
            .commit(caller, note, move |records, moment, note| {
                let mut record = records.retention_rule(&name)?.ok_or_else(missing)?;
                who.check_if_match(record.revision)?;
                say_rule(note, &record.rule);
                record.requested_at_ms.get_or_insert(moment.at_ms);
                let tagged = Tagged { value: info(&record, settings), revision: record.revision };
                Ok((tagged, vec![Write::PutRetentionRule(record)]))
            })
            .await
    }

    /// What a rule would take now: a rule that is kept, by name, or one that is not.
    ///
    /// # Errors
    /// What `require_everywhere` says; `NotFound`, `Invalid`.
    pub async fn preview_retention(
        &self,
        caller: &Caller,
        rule: Result<RetentionRule, &str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Outcome<RetentionPreview> {
        let inner = &self.inner;
        let note = Note::event(Action::RetentionRead, target(rule.as_ref().err().copied().unwrap_or(PREVIEW)));
        let note = note.with("preview", true);
        inner.permit_everywhere(caller, Permission::ModelDelete, &note).await?;
        let preview = inner.preview_retention(rule, cursor, limit).await;
        inner.told(caller, note, preview).await
    }

    /// How retention is doing.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn retention_status(&self) -> Result<RetentionStatus, RegistryError> {
        let retention = &self.inner.retention;
        let rules = self.inner.read(|view| Ok(view.retention_rules()?)).await?;
        let count = |some: usize| u64::try_from(some).unwrap_or(u64::MAX);
        let last = rules.iter().filter_map(|record| Some(record.last_run.as_ref()?.ended_at_ms)).max();
        Ok(RetentionStatus {
            rules: count(rules.len()),
            enabled: count(rules.iter().filter(|record| record.rule.enabled).count()),
            running: retention.running.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            last_ended_at: last.map(clock::rfc3339),
            versions_total: retention.versions.load(Ordering::Relaxed),
            bytes_total: retention.bytes.load(Ordering::Relaxed),
        })
    }
}

// ---- carrying out ---------------------------------------------------------------------------------------------------

impl Inner {
    async fn preview_retention(
        &self,
        rule: Result<RetentionRule, &str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RetentionPreview, RegistryError> {
        let spec = match rule {
            Ok(rule) => spec_of(rule)?,
            Err(name) => self.read(|view| view.retention_rule(name)?.ok_or_else(missing)).await?.rule,
        };
        let written = serde_json::to_vec(&rule_of(&spec)).map_err(|error| RegistryError::Internal(error.into()))?;
        let of = format!("retention:{}", hex::encode(Sha256::digest(written)));
        let place = cursor::read::<Place>(&of, cursor)?.map(|(place, _total)| place).unwrap_or_default();
        let now_ms = clock::now_ms();
        let step = self.scan(move |view| walk(view, &spec, place, now_ms, limit)).await?;
        let items: Vec<RetentionHit> = step.hits.iter().map(|(model, version)| hit(model, version)).collect();
        Ok(RetentionPreview {
            bytes: items.iter().fold(0, |sum, item| sum.saturating_add(item.bytes)),
            items,
            at: clock::rfc3339(now_ms),
            next_cursor: step.next.map(|next| cursor::write(&of, next, None)).transpose()?,
        })
    }

    /// Carries a rule out, as far as one run goes. An error leaves it due.
    pub(super) async fn carry_out(self: &Arc<Self>, record: &RetentionRuleRecord) -> Result<(), Failure> {
        let retention = &self.retention;
        retention.show(Some(&record.name));
        let _shown = Shown(retention);
        let began_at_ms = clock::now_ms();
        let (mut versions, mut bytes) = (0_u64, 0_u64);
        let mut place = Some(Place::default());
        while let Some(from) = place.take() {
            // Another daemon does the upkeep from here on: the rule is due there.
            if !self.store.upkeeps() {
                return Ok(());
            }
            let left = usize::try_from(RUN_VERSIONS_MAX.saturating_sub(versions)).unwrap_or(usize::MAX);
            if left == 0 {
                place = Some(from);
                break;
            }
            let (spec, limit, now_ms) = (record.rule.clone(), left.min(SELECTED_AT_ONCE), clock::now_ms());
            let step = self.scan(move |view| walk(view, &spec, from, now_ms, limit)).await?;
            for some in step.hits.chunk_by(|(one, _), (other, _)| one.id == other.id) {
                for some in some.chunks(VERSIONS_AT_ONCE) {
                    let Some((model, _version)) = some.first() else { continue };
                    // Another rule has another run; each refusal of this one would be an entry.
                    if !self.is_current_rule(record).await? {
                        return Ok(());
                    }
                    let numbers = some.iter().map(|(_model, version)| version.version).collect();
                    let (gone, octets) = self.take_versions(record, model.id, numbers).await?;
                    (versions, bytes) = (versions.saturating_add(gone), bytes.saturating_add(octets));
                    retention.versions.fetch_add(gone, Ordering::Relaxed);
                    retention.bytes.fetch_add(octets, Ordering::Relaxed);
                }
            }
            place = step.next;
        }
        let on_demand = record.requested_at_ms.is_some();
        let run =
            RunRecord { began_at_ms, ended_at_ms: began_at_ms, versions, bytes, complete: place.is_none(), on_demand };
        self.end_run(record, run).await
    }

    async fn is_current_rule(&self, record: &RetentionRuleRecord) -> Result<bool, RegistryError> {
        let current = self.read(|view| Ok(view.retention_rule(&record.name)?)).await?;
        Ok(current.is_some_and(|current| current.revision == record.revision))
    }

    /// Lets some versions of a model go, those that still do. How many those were, and their octets.
    async fn take_versions(
        self: &Arc<Self>,
        record: &RetentionRuleRecord,
        id: ModelId,
        numbers: Vec<Version>,
    ) -> Result<(u64, u64), Failure> {
        let action = if record.rule.purges { Action::ModelPurge } else { Action::ModelDelete };
        let note = Note::event(action, Target::new("model", &id.to_string())).with("rule", record.name.as_str());
        let (name, revision) = (record.name.clone(), record.revision);
        let (period_ms, who) = (ms(self.settings().restore_period), Caller::system());
        let done = self.commit(&who, note.urgent(), move |records, moment, note| {
            let current = records.retention_rule(&name)?.filter(|current| current.revision == revision);
            let Some(current) = current else {
                return Err(RegistryError::Conflict("the rule has changed in the meantime".to_owned()));
            };
            let model = records.model(id)?.filter(|model| applies(&current.rule, model));
            let Some(model) = model else {
                return Err(RegistryError::Conflict("the rule is not about the model any more".to_owned()));
            };
            note.say("name", model.name.as_str());
            let floor = floor(records, &current.rule, id)?;
            let mut going = Vec::new();
            for number in numbers {
                let version = records.version(id, number)?;
                going.extend(version.filter(|version| goes(&current.rule, &model, &floor, version, moment.at_ms)));
            }
            if going.is_empty() {
                return Err(RegistryError::Conflict("none of them goes any more".to_owned()));
            }
            let said: Vec<Value> = going.iter().map(|version| version.version.number().into()).collect();
            note.say("versions", said);
            if current.rule.purges {
                purge(records, model, going, moment, note)
            } else {
                let by = format!("rule {name}");
                delete(records, model, going, moment, note, (by, period_ms))
            }
        });
        match done.await {
            Ok(done) => Ok(done.value),
            // Somebody was first; the entry says so.
            Err(Failure { error: RegistryError::Conflict(_), .. }) => Ok((0, 0)),
            Err(failure) => Err(failure),
        }
    }

    /// Records that a run has come to its end.
    async fn end_run(self: &Arc<Self>, record: &RetentionRuleRecord, mut run: RunRecord) -> Result<(), Failure> {
        let mut note = Note::event(Action::RetentionRun, target(&record.name))
            .with("began_at", clock::rfc3339(run.began_at_ms))
            .with("versions", run.versions)
            .with("octets", run.bytes)
            .with("complete", run.complete)
            .with("on_demand", run.on_demand);
        say_rule(&mut note, &record.rule);
        let (name, revision, requested) = (record.name.clone(), record.revision, record.requested_at_ms);
        let who = Caller::system();
        let done = self.commit(&who, note, move |records, moment, _note| {
            run.ended_at_ms = moment.at_ms;
            // One that was changed in between is another rule, and one that was asked for again is due again.
            let current = records.retention_rule(&name)?.filter(|current| current.revision == revision);
            let write = current.map(|current| {
                let requested_at_ms = current.requested_at_ms.filter(|_again| requested.is_none());
                Write::PutRetentionRule(RetentionRuleRecord { last_run: Some(run), requested_at_ms, ..current })
            });
            Ok(((), write.into_iter().collect()))
        });
        done.await.map(|_done| ())
    }
}

fn hit(model: &ModelRecord, version: &VersionRecord) -> RetentionHit {
    RetentionHit {
        model: model.id,
        name: model.name.clone(),
        version: version.version,
        state: version.state.into(),
        created_at: clock::rfc3339(version.created_at_ms),
        deleted_at: version.deleted.as_ref().map(|deletion| clock::rfc3339(deletion.at_ms)),
        bytes: version.bytes(),
    }
}

/// Deletes versions restorably: as [`Registry::delete_version`] does, several at once.
fn delete(
    records: &dyn Records,
    mut model: ModelRecord,
    going: Vec<VersionRecord>,
    moment: Moment,
    note: &mut Note,
    (by, period_ms): (String, i64),
) -> Decided<(u64, u64)> {
    let gone: BTreeSet<Version> = going.iter().map(|version| version.version).collect();
    let mut octets = 0_u64;
    let mut writes = Vec::with_capacity(going.len() + 1);
    for mut version in going {
        octets = octets.saturating_add(version.bytes());
        version.deleted = Some(DeletionRecord {
            at_ms: moment.at_ms,
            restorable_until_ms: moment.at_ms.saturating_add(period_ms),
            by: by.clone(),
            state_before: version.state,
        });
        version.state = State::Deleted;
        version.revision = moment.index;
        model.live_versions = model.live_versions.saturating_sub(1);
        writes.push(Write::PutVersion(version));
    }
    forget_latest(records, &mut model, &gone)?;
    touch(&mut model, moment);
    writes.push(Write::PutModel(model));
    note.say("octets", octets);
    Ok(((gone.len() as u64, octets), writes))
}

/// Purges versions that were deleted: as [`Registry::purge_version`] does, several at once.
fn purge(
    records: &dyn Records,
    mut model: ModelRecord,
    going: Vec<VersionRecord>,
    moment: Moment,
    note: &mut Note,
) -> Decided<(u64, u64)> {
    let mut released = Released::default();
    let mut octets = 0_u64;
    let mut writes = Vec::new();
    for version in &going {
        released.add(version);
        octets = octets.saturating_add(version.bytes());
        writes.push(Write::DeleteVersion { model: model.id, version: version.version });
    }
    writes.extend(released.writes(records, note)?);
    touch(&mut model, moment);
    writes.push(Write::PutModel(model));
    note.say("octets", octets);
    note.say("reason_given", json!("the time to restore it is over, and a rule says so"));
    Ok(((going.len() as u64, octets), writes))
}

/// Carries out what is due, for as long as the registry is there.
pub(crate) async fn rounds(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut not_before = Instant::now();
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if !inner.store.upkeeps() || Instant::now() < not_before {
            continue;
        }
        if !round(&inner).await {
            not_before = Instant::now() + AFTER_FAILURE;
        }
    }
}

/// Carries out what is due, each rule by itself: one that fails holds up none that come after it. Whether all went well.
async fn round(inner: &Arc<Inner>) -> bool {
    let rules = match inner.read(|view| Ok(view.retention_rules()?)).await {
        Ok(rules) => rules,
        Err(error) => {
            tracing::warn!(
                error = crate::error_chain(&error),
                "the retention rules can't be read now; it is tried again"
            );
            return false;
        }
    };
    let mut is_done = true;
    for record in rules {
        if due_ms(&record, inner.settings().retention).is_none_or(|due_ms| due_ms > clock::now_ms()) {
            continue;
        }
        if let Err(failure) = inner.carry_out(&record).await {
            let error = crate::error_chain(&failure.error);
            tracing::warn!(rule = record.name, error, "a retention rule can't be carried out now; it is tried again");
            is_done = false;
        }
    }
    is_done
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::State;

    use super::select::{Floor, goes, head_of, only_name};
    use super::{due_ms, spec_of};
    use crate::clock::DAY_MS;
    use crate::registry::settings::RetentionSettings;
    use crate::registry::tests::version_record;
    use crate::store::records::{ModelRecord, RetentionRuleRecord, RuleSpec, RunRecord};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn spec(text: &str) -> RuleSpec {
        spec_of(serde_json::from_str(text).unwrap()).unwrap()
    }

    fn model() -> ModelRecord {
        ModelRecord {
            id: common::name::ModelId::from_u128(1),
            name: "team/m".parse().unwrap(),
            description: String::new(),
            tags: BTreeMap::new(),
            owner: "ana".into(),
            created_at_ms: 0,
            updated_at_ms: 0,
            last_number: 9,
            live_versions: 9,
            latest: None,
            aliases: BTreeMap::new(),
            deleted: None,
            purged: false,
            revision: 0,
        }
    }

    /// Rules that say nothing, or what does not go together, are refused, each value by its place.
    #[test]
    fn rules_that_are_none() {
        for (text, place) in [
            (r#"{"pattern":"*","action":"delete"}"#, "body.action"),
            (r#"{"pattern":"*","action":"delete","keep_newest":0}"#, "body.keep_newest"),
            (r#"{"pattern":"*","action":"delete","older_than_days":0}"#, "body.older_than_days"),
            (r#"{"pattern":"*","action":"delete","states":["deleted"]}"#, "body.states"),
            (r#"{"pattern":"*","action":"purge","keep_newest":1}"#, "body.keep_newest"),
            (r#"{"pattern":"*","action":"purge","states":["available"]}"#, "body.states"),
            (r#"{"pattern":"*","action":"purge","protect_tags":["x"]}"#, "body.protect_tags"),
        ] {
            let refused = spec_of(serde_json::from_str(text).unwrap()).unwrap_err();
            assert!(refused.to_string().contains(place), "{text}: {refused}");
        }
        assert!(spec(r#"{"pattern":"*","action":"purge"}"#).enabled);
    }

    /// A rule begins where its names begin.
    #[test]
    fn beginnings() {
        let of = |pattern: &str| spec(&format!(r#"{{"pattern":"{pattern}","action":"purge"}}"#));
        assert_eq!(head_of(&of("Team/a*")).as_deref(), Some("team/"));
        assert_eq!((head_of(&of("team*")), head_of(&of("*"))), (None, None));
        assert_eq!(only_name(&of("team/m")).unwrap().as_str(), "team/m");
        assert_eq!(only_name(&of("team/*")), None);
    }

    /// Age, place and state are conditions that must all hold.
    #[test]
    fn conditions() {
        let rule = spec(r#"{"pattern":"*","action":"delete","older_than_days":2,"states":["deprecated","available"]}"#);
        let floor = Floor { newest: None, available: Some(2.try_into().unwrap()) };
        let model = model();
        let old = version_record(State::Available);
        assert!(!goes(&rule, &model, &floor, &old, 2 * DAY_MS));
        assert!(goes(&rule, &model, &floor, &old, 2 * DAY_MS + 1));
        assert!(!goes(&rule, &model, &floor, &version_record(State::Quarantined), 9 * DAY_MS));
        let newest = Floor { newest: Some(1.try_into().unwrap()), available: None };
        assert!(!goes(&rule, &model, &newest, &old, 9 * DAY_MS), "it is among the newest");
        let available = Floor { newest: None, available: Some(1.try_into().unwrap()) };
        assert!(!goes(&rule, &model, &available, &old, 9 * DAY_MS), "it is the newest available");
    }

    /// By the clock: after the grace, an interval after the last run, sooner where something was left; at once on demand.
    #[test]
    fn when_it_is_due() {
        let settings = RetentionSettings { grace: Duration::from_secs(1), interval: Duration::from_secs(24 * 3600) };
        let mut record = RetentionRuleRecord {
            name: "r".into(),
            rule: spec(r#"{"pattern":"*","action":"purge"}"#),
            set_by: "ana".into(),
            set_at_ms: 0,
            first_run_at_ms: 1000,
            requested_at_ms: None,
            last_run: None,
            revision: 1,
        };
        assert_eq!(due_ms(&record, settings), Some(1000));
        let run = |complete| {
            Some(RunRecord { began_at_ms: 0, ended_at_ms: 5000, versions: 1, bytes: 1, complete, on_demand: false })
        };
        record.last_run = run(true);
        assert_eq!(due_ms(&record, settings), Some(5000 + DAY_MS));
        record.last_run = run(false);
        assert_eq!(due_ms(&record, settings), Some(5000 + 3_600_000));
        record.rule.enabled = false;
        assert_eq!(due_ms(&record, settings), None);
        record.requested_at_ms = Some(7);
        assert_eq!(due_ms(&record, settings), Some(7));
    }
}
