//! What people decide over findings: which versions wait for a decision, and which rules inspection goes by. The decisions
//! themselves are changes of state (`change.rs`). Knows the quarantine; refuses to know how anything was found.

use common::api::{Page, QuarantineItem, QuarantineStatus, ScanRule, ScanRules};
use common::audit::{Action, Target};
use common::name::Version;
use common::role::Permission;

use crate::clock;
use crate::inspect::RULES;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::fetch::{COUNTED_MAX, bounded, list_id, up_to_counted};
use crate::registry::inspection::format_of;
use crate::registry::{Registry, cursor, render};
use crate::store::records::{ModelRecord, VersionRecord};
use crate::store::{Records, View};

/// Versions that one page may look at.
const SCANNED_MAX: usize = 20_000;
/// Versions read at once.
const PAGE: usize = 200;

impl Registry {
    /// Versions in quarantine, the longest held first: those that wait for a decision, or those that were blocked for good.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for the cursor.
    pub async fn quarantined(
        &self,
        caller: &Caller,
        blocked: bool,
        limit: usize,
        cursor: Option<String>,
    ) -> Outcome<Page<QuarantineItem>> {
        let inner = &self.inner;
        let note = Note::event(Action::ModelList, Target::new("model", "*")).with("quarantine", true);
        inner.permit(caller, Permission::ModelModerate, &note).await?;
        let page = inner.scan(move |view| list(view, blocked, bounded(limit), cursor.as_deref())).await;
        inner.told(caller, note, page).await
    }

    /// How full the quarantine is.
    ///
    /// # Errors
    /// Those of reading the records.
    pub async fn quarantine_status(&self) -> Result<QuarantineStatus, RegistryError> {
        let read = |view: &dyn View| {
            let (oldest, _more) = held(view, false, None, 1)?;
            let since_ms = match oldest.first() {
                Some((_place, model, number)) => view.version(model.id, *number)?.map(|version| version.state_at_ms),
                None => None,
            };
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
            policy: self.inner.settings.scan_policies.to_string(),
        })
    }

    /// Id of those rules.
    pub fn ruleset(&self) -> &str {
        self.inner.inspections.ruleset().id()
    }
}

/// The place of a version that is held in the order, its model and its number.
type Held = (Vec<u8>, ModelRecord, Version);

/// Those of models that are there, after a place. The second is where the walk ended before its end.
fn held(
    records: &dyn Records,
    blocked: bool,
    mut after: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<Held>, Option<Vec<u8>>), RegistryError> {
    let mut found = Vec::new();
    for _page in 0..SCANNED_MAX / PAGE {
        let page = records.quarantined(blocked, after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        for (place, (id, number)) in page {
            after = Some(place.clone());
            if let Some(model) = records.model(id)?.filter(|model| model.deleted.is_none()) {
                found.push((place, model, number));
                if found.len() == limit {
                    return Ok((found, after));
                }
            }
        }
        if is_last {
            return Ok((found, None));
        }
    }
    Ok((found, after))
}

fn list(
    records: &dyn Records,
    blocked: bool,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<QuarantineItem>, RegistryError> {
    let of = list_id("quarantine", &blocked);
    let (after, total) = match cursor::read::<String>(&of, cursor)? {
        Some((after, total)) => {
            let bad = |_odd: hex::FromHexError| RegistryError::invalid("query.cursor", "it is damaged");
            (Some(hex::decode(after).map_err(bad)?), total)
        }
        None => {
            let (counted, more) = held(records, blocked, None, COUNTED_MAX + 1)?;
            (None, up_to_counted(counted.len()).filter(|_| more.is_none()))
        }
    };
    // One more than asked tells whether there is a next page.
    let (mut found, mut next) = held(records, blocked, after, limit + 1)?;
    if found.len() > limit {
        found.truncate(limit);
        next = found.last().map(|(place, _model, _number)| place.clone());
    }
    let now_ms = clock::now_ms();
    let mut items = Vec::with_capacity(found.len());
    for (_place, model, number) in &found {
        let version = records.version(model.id, *number)?;
        let missing = || format!("version {number} of {} is held, but not there", model.id);
        items.push(item(model, &version.ok_or_else(|| RegistryError::Corrupt(missing().into()))?, now_ms));
    }
    Ok(Page { items, total, next_cursor: next.map(|next| cursor::write(&of, hex::encode(next), total)).transpose()? })
}

fn item(model: &ModelRecord, version: &VersionRecord, now_ms: i64) -> QuarantineItem {
    let held_ms = now_ms.saturating_sub(version.state_at_ms);
    let inspection = version.inspection.as_ref();
    QuarantineItem {
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
        format: format_of(&version.artifacts),
        size: version.artifacts.iter().map(|artifact| artifact.size).sum(),
        created_at: clock::rfc3339(version.created_at_ms),
        created_by: version.created_by.clone(),
    }
}
