//! What a rule selects, at a moment and against records as they are. Knows conditions and walks; refuses to know when it is
//! asked, and what becomes of what it finds.

use common::api::State;
use common::api::retention::KEEP_TAG;
use common::name::{ModelId, ModelName, Version};
use serde::{Deserialize, Serialize};

use crate::clock::DAY_MS;
use crate::registry::change::is_blocked;
use crate::registry::error::RegistryError;
use crate::store::records::{ModelRecord, RuleSpec, VersionRecord};
use crate::store::{ModelQuery, ModelSort, Records};

/// Models and deleted versions read at once.
const PAGE: usize = 100;
/// Rows that one step looks at.
const STEP_ROWS_MAX: usize = 20_000;

/// What stays of a model's versions for their place among the others.
pub(super) struct Floor {
    /// From this version on they are among the newest that a rule keeps; none where it keeps none for that.
    pub(super) newest: Option<Version>,
    /// The newest available one.
    pub(super) available: Option<Version>,
}

/// Looks from the newest version down as far as it takes.
pub(super) fn floor(records: &dyn Records, rule: &RuleSpec, model: ModelId) -> Result<Floor, RegistryError> {
    let mut floor = Floor { newest: None, available: None };
    if rule.purges {
        return Ok(floor);
    }
    let mut left = rule.keep_newest.unwrap_or(0);
    let mut below = None;
    loop {
        let page = records.versions(model, below, PAGE)?;
        for version in page.iter().filter(|version| version.deleted.is_none()) {
            if left > 0 {
                left -= 1;
                floor.newest = Some(version.version);
            }
            if floor.available.is_none() && version.state == State::Available {
                floor.available = Some(version.version);
            }
            if left == 0 && floor.available.is_some() {
                return Ok(floor);
            }
        }
        below = page.last().map(|version| version.version);
        if page.len() < PAGE {
            return Ok(floor);
        }
    }
}

/// Whether a rule is about a model at all.
pub(super) fn applies(rule: &RuleSpec, model: &ModelRecord) -> bool {
    let has = |key: &str, value: &str| model.tags.get(key).is_some_and(|found| found == value);
    let is_kept = has(KEEP_TAG.0, KEEP_TAG.1) || rule.protect_tags.iter().any(|(key, value)| has(key, value));
    model.deleted.is_none() && !model.purged && rule.pattern.matches(&model.name) && !is_kept
}

/// Whether a version of a model that the rule is about goes at a moment.
pub(super) fn goes(rule: &RuleSpec, model: &ModelRecord, floor: &Floor, version: &VersionRecord, now_ms: i64) -> bool {
    let is_old = |since_ms: i64| {
        rule.older_than_days.is_none_or(|days| now_ms.saturating_sub(since_ms) > i64::from(days).saturating_mul(DAY_MS))
    };
    if rule.purges {
        let deleted = version.deleted.as_ref();
        return deleted.is_some_and(|deletion| deletion.restorable_until_ms < now_ms && is_old(deletion.at_ms));
    }
    let is_aliased = || model.aliases.values().any(|to| to.version == version.version);
    version.deleted.is_none()
        && (rule.states.is_empty() || rule.states.contains(&version.state))
        && is_old(version.created_at_ms)
        && floor.newest.is_none_or(|newest| version.version < newest)
        && floor.available != Some(version.version)
        // What was blocked for good keeps the same bytes from coming back.
        && !is_blocked(version)
        && !is_aliased()
}

/// Where a walk goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Behind the model of this name, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// But first its versions below this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<Version>,
    /// Behind this place in the order of deletions, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<String>,
}

/// What a step of a walk found.
#[derive(Default)]
pub(super) struct Step {
    pub(super) hits: Vec<(ModelRecord, VersionRecord)>,
    /// None: that is all.
    pub(super) next: Option<Place>,
}

/// A step of the walk over what a rule selects at a moment: at most `limit` versions, and so much reading at most.
pub(super) fn walk(
    records: &dyn Records,
    rule: &RuleSpec,
    place: Place,
    now_ms: i64,
    limit: usize,
) -> Result<Step, RegistryError> {
    if rule.purges {
        walk_deleted(records, rule, &place, now_ms, limit)
    } else {
        walk_models(records, rule, place, now_ms, limit)
    }
}

fn walk_models(
    records: &dyn Records,
    rule: &RuleSpec,
    place: Place,
    now_ms: i64,
    limit: usize,
) -> Result<Step, RegistryError> {
    let mut step = Step::default();
    let mut rows = 0;
    let head = head_of(rule);
    if let Some(name) = only_name(rule).or_else(|| place.below.and(place.name.as_deref()?.parse().ok())) {
        let model = records.model_named(&name)?.map(|id| records.model(id)).transpose()?.flatten();
        if let Some(model) = model
            && let Some(next) = walk_versions(records, rule, &model, place.below, now_ms, limit, &mut rows, &mut step)?
        {
            step.next = Some(next);
            return Ok(step);
        }
        if only_name(rule).is_some() {
            return Ok(step);
        }
    }
    let mut after = place.name.map(String::into_bytes).or_else(|| head.clone().map(String::into_bytes));
    loop {
        let query = ModelQuery { sort: ModelSort::NameUp, after, limit: PAGE, ..ModelQuery::default() };
        let page = records.models(&query)?;
        for model in &page.models {
            rows += 1;
            if head.as_ref().is_some_and(|head| !model.name.folded().starts_with(head)) {
                return Ok(step);
            }
            let next = walk_versions(records, rule, model, None, now_ms, limit, &mut rows, &mut step)?;
            if next.is_some() || rows > STEP_ROWS_MAX {
                step.next = next.or_else(|| Some(Place { name: Some(model.name.folded()), ..Place::default() }));
                return Ok(step);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(step);
        }
    }
}

/// What a rule selects of a model's versions below one of them; where to go on, if not all of it fitted.
#[expect(clippy::too_many_arguments, reason = "it is the inner half of a loop, and shares its counters")]
fn walk_versions(
    records: &dyn Records,
    rule: &RuleSpec,
    model: &ModelRecord,
    mut below: Option<Version>,
    now_ms: i64,
    limit: usize,
    rows: &mut usize,
    step: &mut Step,
) -> Result<Option<Place>, RegistryError> {
    // Mostly there is nothing to look at.
    if !applies(rule, model) || model.live_versions <= rule.keep_newest.unwrap_or(0) {
        return Ok(None);
    }
    let floor = floor(records, rule, model.id)?;
    loop {
        let page = records.versions(model.id, below, PAGE)?;
        *rows += page.len();
        let is_last = page.len() < PAGE;
        for version in page {
            below = Some(version.version);
            if goes(rule, model, &floor, &version, now_ms) {
                step.hits.push((model.clone(), version));
                if step.hits.len() >= limit {
                    return Ok(Some(Place { name: Some(model.name.folded()), below, deleted: None }));
                }
            }
        }
        if is_last {
            return Ok(None);
        }
        if *rows > STEP_ROWS_MAX {
            return Ok(Some(Place { name: Some(model.name.folded()), below, deleted: None }));
        }
    }
}

fn walk_deleted(
    records: &dyn Records,
    rule: &RuleSpec,
    place: &Place,
    now_ms: i64,
    limit: usize,
) -> Result<Step, RegistryError> {
    let mut step = Step::default();
    let mut rows = 0;
    let mut after = place.deleted.as_deref().and_then(|place| hex::decode(place).ok());
    let mut last: Option<ModelRecord> = None;
    let nowhere = Floor { newest: None, available: None };
    loop {
        let page = records.deleted_versions(after.as_deref(), now_ms, PAGE)?;
        let is_last = page.len() < PAGE;
        for (at, (id, number)) in page {
            rows += 1;
            if last.as_ref().is_none_or(|model| model.id != id) {
                last = records.model(id)?;
            }
            if let Some(model) = last.as_ref().filter(|model| applies(rule, model))
                && let Some(version) = records.version(id, number)?
                && goes(rule, model, &nowhere, &version, now_ms)
            {
                step.hits.push((model.clone(), version));
            }
            let is_full = step.hits.len() >= limit || rows > STEP_ROWS_MAX;
            if is_full {
                step.next = Some(Place { deleted: Some(hex::encode(&at)), ..Place::default() });
                return Ok(step);
            }
            after = Some(at);
        }
        if is_last {
            return Ok(step);
        }
    }
}

/// The one name that a pattern without a `*` means.
pub(super) fn only_name(rule: &RuleSpec) -> Option<ModelName> {
    let pattern = rule.pattern.as_str();
    if pattern.contains('*') { None } else { pattern.parse().ok() }
}

/// What all names that a pattern means begin with, where that is a namespace: no model is called so itself.
pub(super) fn head_of(rule: &RuleSpec) -> Option<String> {
    let (head, _rest) = rule.pattern.as_str().split_once('*')?;
    let namespace = &head[..=head.rfind('/')?];
    Some(namespace.to_ascii_lowercase())
}
