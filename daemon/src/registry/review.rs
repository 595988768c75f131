//! What people decide over findings: which versions wait for a decision, what was noted of them and who approved, and which
//! rules inspection goes by. The decisions themselves are changes of state (`change.rs`). Knows the quarantine; refuses to know how anything was found.

use std::sync::Arc;

use common::api::{
    Page, QuarantineItem, QuarantineStatus, ReviewInfo, ReviewNote, ScanRule, ScanRules, SenderInfo, State,
};
use common::audit::{Action, ActorKind, Target};
use common::grant::allowed;
use common::name::{ModelName, ModelRef, Version};
use common::role::Permission;
use serde_json::json;

use crate::clock;
use crate::inspect::RULES;
use crate::registry::access::{Actor, Caller};
use crate::registry::commit::Note;
use crate::registry::cursor::{self, Seek};
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::{COUNTED_MAX, bounded, list_id, up_to_counted};
use crate::registry::grants;
use crate::registry::idempotency::described;
use crate::registry::inspection::{format_of, rules_of};
use crate::registry::resolve::{self, Sight};
use crate::registry::text;
use crate::registry::{Inner, Registry, render};
use crate::store::records::{ApprovalRecord, ModelRecord, ReviewNoteRecord, VersionRecord, Write};
use crate::store::view::words;
use crate::store::{Moment, NamesWanted, Records, View};

/// Versions that one page may look at.
const SCANNED_MAX: usize = 20_000;
/// Versions read at once.
const PAGE: usize = 200;
/// Notes of a version that are shown.
const NOTES_SHOWN_MAX: usize = 50;
/// Notes that a version can have.
const NOTES_MAX: usize = 500;

impl Registry {
    /// Versions in quarantine, the longest held first: those that wait for a decision, or those that were blocked for good.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub async fn quarantined(&self, caller: &Caller, listing: HeldListing) -> Outcome<Page<QuarantineItem>> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelList, Target::new("model", "*")).with("quarantine", true);
        inner.permit(caller, Permission::QuarantineRead, &note).await?;
        let (work, names) = (Arc::clone(inner), Sight::of(caller, Permission::QuarantineRead).names(false));
        let page = inner.scan_for(caller, move |view| list(&work, view, &listing, names.as_ref())).await;
        inner.told(caller, note, page).await
    }

    /// What helps to decide over a version that is held: notes, approvals, how its sender stands.
    ///
    /// # Errors
    /// What `require` says; `NotFound`.
    pub async fn review(&self, caller: &Caller, reference: &ModelRef, version: Version) -> Outcome<ReviewInfo> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelRead, resolve::version_target(reference, version)).with("review", true);
        inner.permit(caller, Permission::QuarantineRead, &note).await?;
        let sight = Sight::of(caller, Permission::QuarantineRead);
        let found = inner
            .read(|view| {
                let model = resolve::model(view, reference, &sight)?.model;
                let record = resolve::version(view, &model, version, &sight)?;
                let notes = view.review_notes(model.id, version, NOTES_SHOWN_MAX)?;
                let sender = view.sender(&record.created_by_id)?;
                Ok(ReviewInfo {
                    notes: notes.iter().map(render::review_note).collect(),
                    approvals: approvals_of(view, &model.name, &record)?.iter().map(render::approval).collect(),
                    approvals_needed: inner.settings().release_approvals,
                    sender: SenderInfo {
                        name: record.created_by.clone(),
                        available: sender.available,
                        held: sender.held,
                        blocked: sender.blocked,
                    },
                })
            })
            .await;
        inner.told(caller, note, found).await
    }

    /// Notes something of a version that is held. It changes nothing of the version.
    ///
    /// # Errors
    /// What `require` says; `NotFound`, `Conflict` where it isn't held or has too many notes, `Invalid`,
    /// `IdempotencyKeyReused`.
    pub async fn add_note(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        text: &str,
    ) -> Outcome<ReviewNote> {
        let inner = &self.inner;
        let note = Note::change(Action::ModelNote, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelModerate, &note).await?;
        let body = json!({"model": described(reference), "version": version, "note": text});
        let once = inner.fingerprints.once(caller, &body);
        let once = once.map(|once| once.of_model(caller, Permission::ModelModerate, reference));
        let (reference, text, who) = (reference.clone(), text.trim().to_owned(), caller.clone());
        inner
            .commit_once(caller, note, once, move |records, moment, note| {
                let mut refused = Vec::new();
                text::check_reason("body.text", &text, &mut refused);
                if !refused.is_empty() {
                    return Err(RegistryError::Invalid(refused));
                }
                let sight = Sight::of(&who, Permission::ModelModerate);
                let model = resolve::live_model(records, &reference, &sight)?;
                note.target.id = model.id.to_string();
                let record = resolve::version(records, &model, version, &sight)?;
                if record.state != State::Quarantined {
                    let state = record.state.as_str();
                    let why = format!("version {version} is {state}: notes are of what is held in quarantine");
                    return Err(RegistryError::Conflict(why));
                }
                if records.review_notes(model.id, version, NOTES_MAX)?.len() >= NOTES_MAX {
                    return Err(RegistryError::Conflict(format!("version {version} has {NOTES_MAX} notes already")));
                }
                note.say("text", text.as_str());
                let made =
                    ReviewNoteRecord { text, by: who.actor.name.clone(), at_ms: moment.at_ms, index: moment.index };
                let value = render::review_note(&made);
                Ok((value, vec![Write::AppendReviewNote { model: model.id, version, note: made }]))
            })
            .await
    }

    /// How full the quarantine is.
    ///
    /// # Errors
    /// Those of reading the records.
    pub async fn quarantine_status(&self) -> Result<QuarantineStatus, RegistryError> {
        let read = |view: &dyn View| {
            let (oldest, _more) = held(view, &HeldListing::default(), None, false, None, 1)?;
            let since_ms = oldest.first().map(|(_place, _model, version)| version.state_at_ms);
            Ok(QuarantineStatus {
                waiting: view.held(false)?,
                blocked: view.held(true)?,
                oldest_held_at: since_ms.map(clock::rfc3339),
            })
        };
        self.inner.scan(read).await
    }

    /// The rules that files are inspected by, and what the operator allows besides.
    ///
    /// # Errors
    /// `Unauthenticated`, `PasswordChangeRequired`.
    pub fn scan_rules(&self, caller: &Caller) -> Result<ScanRules, RegistryError> {
        caller.require_signed_in()?;
        let ruleset = self.inner.inspections.ruleset();
        let mut rules: Vec<ScanRule> = RULES
            .iter()
            .flat_map(|family| family.iter())
            .map(|rule| ScanRule {
                id: rule.id.to_owned(),
                level: rule.level.as_str().to_owned(),
                meaning: rule.meaning.to_owned(),
            })
            .collect();
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(ScanRules {
            ruleset: ruleset.id().to_owned(),
            rules,
            allowed_globals: ruleset.allowed.globals.iter().map(|(module, name)| format!("{module}.{name}")).collect(),
            allowed_prefixes: ruleset.allowed.prefixes.iter().cloned().collect(),
            policy: self.inner.settings().scan_policies.to_string(),
        })
    }

    /// Id of those rules.
    pub fn ruleset(&self) -> &str {
        self.inner.inspections.ruleset().id()
    }
}

/// What something that is held must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldUnlike {
    /// A rule that found something, or the beginning of one that ends in `.*`.
    Rule(String),
    /// What inspection came to.
    Verdict(String),
    /// Who published it.
    Sender(String),
}

/// Which of what is held.
#[derive(Debug, Clone, Default)]
pub struct HeldListing {
    /// Those that were blocked for good.
    pub blocked: bool,
    /// Words that must all be in the model's name, ignoring case; several between double quotes are one.
    pub q: Option<String>,
    /// A rule that found something, or the beginning of one that ends in `.*`.
    pub rule: Option<String>,
    /// What inspection came to.
    pub verdict: Option<String>,
    /// Who published it.
    pub sender: Option<String>,
    /// What it must not be.
    pub not: Vec<HeldUnlike>,
    /// Rows of a page, 1..1000.
    pub limit: usize,
    /// Which page.
    pub seek: Seek,
}

impl HeldListing {
    fn has_filter(&self) -> bool {
        let has_not = !self.not.is_empty();
        self.q.is_some() || self.rule.is_some() || self.verdict.is_some() || self.sender.is_some() || has_not
    }

    fn takes(&self, model: &ModelRecord, version: &VersionRecord) -> bool {
        let finds = |wanted: &String, rule: &str| match wanted.strip_suffix(".*") {
            Some(family) => rule.strip_prefix(family).is_some_and(|rest| rest.starts_with('.')),
            None => rule == wanted,
        };
        let has_rule = |rule: &String| version.findings.iter().any(|found| finds(rule, &found.rule));
        let verdict = version.inspection.as_ref().map(|inspection| &inspection.verdict);
        let is_unlike = |unlike: &HeldUnlike| match unlike {
            HeldUnlike::Rule(rule) => has_rule(rule),
            HeldUnlike::Verdict(unwanted) => verdict == Some(unwanted),
            HeldUnlike::Sender(sender) => *sender == version.created_by,
        };
        let name = model.name.folded();
        self.q.as_ref().is_none_or(|text| words(&text.to_lowercase()).all(|word| name.contains(word)))
            && !self.not.iter().any(is_unlike)
            && self.rule.as_ref().is_none_or(has_rule)
            && self.verdict.as_ref().is_none_or(|wanted| verdict == Some(wanted))
            && self.sender.as_ref().is_none_or(|sender| *sender == version.created_by)
    }
}

/// A version that is held, its model, and its place in the order.
type Held = (Vec<u8>, ModelRecord, VersionRecord);

/// Those of models that are there, from a place on. The second is where the walk ended before its end.
fn held(
    records: &dyn Records,
    listing: &HeldListing,
    names: Option<&NamesWanted>,
    backward: bool,
    mut from: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<Held>, Option<Vec<u8>>), RegistryError> {
    let mut found = Vec::new();
    for _page in 0..SCANNED_MAX / PAGE {
        let page = if backward {
            records.quarantined_back(listing.blocked, from.as_deref(), PAGE)?
        } else {
            records.quarantined(listing.blocked, from.as_deref(), PAGE)?
        };
        let is_last = page.len() < PAGE;
        for (place, (id, number)) in page {
            from = Some(place.clone());
            let is_wanted =
                |model: &ModelRecord| model.deleted.is_none() && names.is_none_or(|names| (names.fits)(&model.name));
            let Some(model) = records.model(id)?.filter(is_wanted) else { continue };
            let missing = || format!("version {number} of {id} is held, but not there");
            let version = records.version(id, number)?;
            let version = version.ok_or_else(|| RegistryError::Corrupt(missing().into()))?;
            if listing.takes(&model, &version) {
                found.push((place, model, version));
                if found.len() == limit {
                    return Ok((found, from));
                }
            }
        }
        if is_last {
            return Ok((found, None));
        }
    }
    Ok((found, from))
}

fn list(
    inner: &Inner,
    records: &dyn Records,
    listing: &HeldListing,
    names: Option<&NamesWanted>,
) -> Result<Page<QuarantineItem>, RegistryError> {
    let HeldListing { blocked, q, rule, verdict, sender, not, limit, seek } = listing;
    let limit = bounded(*limit);
    let of = list_id("quarantine", &(blocked, q, rule, verdict, sender, not));
    let sought = cursor::seek::<String>(&of, seek)?;
    let from = sought.from.as_ref().map(|place| inner.places.read(place)).transpose()?;
    let shown = |place: &Vec<u8>| inner.places.shown(place, names.is_some());
    let total = match &from {
        Some(_inside) => sought.total,
        None if listing.has_filter() || names.is_some() => {
            let (counted, more) = held(records, listing, names, false, None, COUNTED_MAX + 1)?;
            up_to_counted(counted.len()).filter(|_| more.is_none())
        }
        None => Some(records.held(*blocked)?),
    };
    // One more than asked tells whether there is another page.
    let (mut found, mut on) = held(records, listing, names, sought.backward, from, limit + 1)?;
    if found.len() > limit {
        found.truncate(limit);
        on = found.last().map(|(place, _model, _version)| place.clone());
    }
    if sought.backward {
        found.reverse();
    }
    let now_ms = clock::now_ms();
    let needed = inner.settings().release_approvals;
    let items = found.iter().map(|(_place, model, version)| item(records, model, version, needed, now_ms));
    let items = items.collect::<Result<Vec<_>, RegistryError>>()?;
    let ends = found.first().zip(found.last()).map(|((first, ..), (last, ..))| (shown(first), shown(last)));
    let ends = ends.as_ref().map(|(first, last)| (first, last));
    let (next_cursor, prev_cursor) = sought.ends(&of, ends, on.as_ref().map(shown).as_ref(), total)?;
    Ok(Page { items, total, next_cursor, prev_cursor })
}

fn item(
    records: &dyn Records,
    model: &ModelRecord,
    version: &VersionRecord,
    needed: u32,
    now_ms: i64,
) -> Result<QuarantineItem, RegistryError> {
    let held_ms = now_ms.saturating_sub(version.state_at_ms);
    let inspection = version.inspection.as_ref();
    let approvals = if needed > 1 { approvals_of(records, &model.name, version)?.len() } else { 0 };
    let notes = records.review_notes(model.id, version.version, NOTES_SHOWN_MAX)?.len();
    Ok(QuarantineItem {
        id: model.id,
        name: model.name.clone(),
        version: version.version,
        state_reason: version.state_reason.clone(),
        held_at: clock::rfc3339(version.state_at_ms),
        held_seconds: u64::try_from(held_ms / clock::SECOND_MS).unwrap_or(0),
        verdict: inspection.map(|inspection| inspection.verdict.clone()),
        cleared: render::is_cleared(version),
        findings: version.findings.iter().take(render::FINDINGS_LISTED_MAX).map(render::finding).collect(),
        findings_total: inspection.map_or(version.findings.len() as u64, |inspection| inspection.findings_total),
        review: version.review.as_ref().map(render::review),
        approvals: u32::try_from(approvals).unwrap_or(u32::MAX),
        approvals_needed: needed,
        notes: u32::try_from(notes).unwrap_or(u32::MAX),
        format: format_of(&version.artifacts),
        size: version.artifacts.iter().map(|artifact| artifact.size).sum(),
        created_at: clock::rfc3339(version.created_at_ms),
        created_by: version.created_by.clone(),
    })
}

/// Who would release a version as it is now: what was approved of another state of it, or of other findings, is void, and so
/// is what somebody approved who may not decide any more.
pub(crate) fn approvals_of(
    records: &dyn Records,
    name: &ModelName,
    version: &VersionRecord,
) -> Result<Vec<ApprovalRecord>, RegistryError> {
    let over = rules_of(&version.findings);
    let mut approvals = records.approvals(version.model, version.version)?;
    approvals.retain(|approval| approval.held_at_ms == version.state_at_ms && approval.over == over);
    let mut counted = Vec::with_capacity(approvals.len());
    for approval in approvals {
        if may_decide(records, &approval.by_id, name)? {
            counted.push(approval);
        }
    }
    Ok(counted)
}

/// Whether somebody may release what is held of a model: the operator of the machine, or a user with the right, as of now.
fn may_decide(records: &dyn Records, id: &str, name: &ModelName) -> Result<bool, RegistryError> {
    if id == Actor::system().id {
        return Ok(true);
    }
    let Some(user) = records.user_by_id(id)?.filter(|user| !user.disabled) else { return Ok(false) };
    Ok(allowed(Some(user.role), &grants::of(records, id)?, Permission::ModelModerate, name))
}

/// The approval that a release comes to where others are needed besides; none where this one makes them enough.
///
/// # Errors
/// `Conflict`: the same person has approved already, or published it; a program asks where people are needed.
pub(crate) fn approve(
    caller: &Caller,
    reason: &str,
    version: &VersionRecord,
    approvals: &[ApprovalRecord],
    needed: u32,
    moment: Moment,
) -> Result<Option<ApprovalRecord>, RegistryError> {
    let actor = &caller.actor;
    // Several people are asked for so that nobody passes what is their own.
    if needed > 1 && actor.id == version.created_by_id {
        let number = version.version;
        return Err(RegistryError::Conflict(format!(
            "{} published version {number}; where a release takes {needed} people, all of them must be others",
            actor.name
        )));
    }
    // Behind a service account is somebody who may have decided already.
    if needed > 1 && actor.kind == ActorKind::Service {
        let why = format!("`{}` is a service account; this release takes {needed} people", actor.name);
        return Err(RegistryError::Conflict(why));
    }
    if approvals.iter().any(|approval| approval.by_id == actor.id) {
        let (done, number) = (approvals.len(), version.version);
        return Err(RegistryError::Conflict(format!(
            "{} has approved the release of version {number} already ({done} of {needed}); the next one must be somebody else's",
            actor.name
        )));
    }
    if approvals.len() + 1 >= usize::try_from(needed).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    Ok(Some(ApprovalRecord {
        by_id: actor.id.clone(),
        by: actor.name.clone(),
        at_ms: moment.at_ms,
        index: moment.index,
        reason: reason.to_owned(),
        held_at_ms: version.state_at_ms,
        over: rules_of(&version.findings),
    }))
}
