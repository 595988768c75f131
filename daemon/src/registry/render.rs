//! From records to what the wire shows. Knows both shapes; refuses to know rules.

use common::api::{
    AliasEvent, AliasInfo, Approval, Artifact, Decision, Finding, InspectionInfo, Metadatum, ModelRow, Review,
    ReviewNote, SessionInfo, State, User, UserKind, VersionInfo,
};
use common::name::Alias;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::inspect::{Ruleset, rule};
use crate::registry::settings::Settings;
use crate::registry::throttle::Failed;
use crate::store::records::{
    AliasEventRecord, AliasRecord, ApiTokenRecord, ApprovalRecord, FindingRecord, InspectionRecord, ModelRecord,
    ReviewDecision, ReviewNoteRecord, ReviewRecord, SessionRecord, UserRecord, VersionRecord,
};

/// Findings of each version that lists show.
pub(crate) const FINDINGS_LISTED_MAX: usize = 5;
/// Sessions of a user that are shown.
const SESSIONS_SHOWN_MAX: usize = 50;

pub(crate) fn model_row(settings: &Settings, model: &ModelRecord) -> ModelRow {
    let latest = model.latest.as_ref();
    // A model whose versions are all deleted has nothing that is held back; it is there and empty.
    let state = if model.deleted.is_some() { State::Deleted } else { latest.map_or(State::Available, |one| one.state) };
    ModelRow {
        id: model.id,
        name: model.name.clone(),
        description: model.description.clone(),
        tags: model.tags.clone(),
        owner: model.owner.clone(),
        aliases: model.aliases.iter().map(|(alias, to)| alias_info(settings, alias, to)).collect(),
        state: state.into(),
        latest_version: latest.map(|one| one.version),
        format: latest.map(|one| one.format.clone()),
        size: latest.map(|one| one.size),
        uploader: latest.map(|one| one.uploader.clone()),
        verdict: latest.and_then(|one| one.verdict.clone()),
        parameters: latest.and_then(|one| one.parameters),
        dtypes: latest.map(|one| one.dtypes.clone()).unwrap_or_default(),
        versions: model.live_versions,
        created_at: rfc3339(model.created_at_ms),
        updated_at: rfc3339(model.updated_at_ms),
    }
}

fn alias_info(settings: &Settings, alias: &Alias, to: &AliasRecord) -> AliasInfo {
    AliasInfo {
        alias: alias.clone(),
        version: to.version,
        set_at: rfc3339(to.set_at_ms),
        set_by: to.set_by.clone(),
        log_index: to.index,
        protected: settings.protected_aliases.contains(alias),
    }
}

pub(crate) fn alias_event(event: &AliasEventRecord) -> AliasEvent {
    AliasEvent { version: event.version, at: rfc3339(event.at_ms), by: event.by.clone(), log_index: event.index }
}

/// A version. `ruleset` is what inspections are done with now.
pub(crate) fn version_info(ruleset: &Ruleset, model: &ModelRecord, version: &VersionRecord) -> VersionInfo {
    let artifacts = version.artifacts.iter().map(|artifact| Artifact {
        path: artifact.path.clone(),
        size: artifact.size,
        digest: artifact.digest,
        format: artifact.format.clone(),
        verdict: artifact.verdict.clone(),
    });
    let metadata = version.metadata.iter().map(|(key, field)| {
        // It was written as JSON; should it not be, its text is still the truth about it.
        let value = serde_json::from_str(&field.json).unwrap_or_else(|_broken| Value::String(field.json.clone()));
        (key.clone(), Metadatum { value, origin: field.origin.into() })
    });
    let aliases = model.aliases.iter().filter(|(_alias, to)| to.version == version.version);
    VersionInfo {
        id: model.id,
        name: model.name.clone(),
        version: version.version,
        state: version.state.into(),
        state_reason: version.state_reason.clone(),
        state_at: Some(rfc3339(version.state_at_ms)),
        description: version.description.clone(),
        artifacts: artifacts.collect(),
        metadata: metadata.collect(),
        findings: version.findings.iter().map(finding).collect(),
        inspection: version.inspection.as_ref().map(|inspection| inspection_info(ruleset, inspection)),
        review: version.review.as_ref().map(review),
        cleared: is_cleared(version),
        source: version.source.clone(),
        aliases: aliases.map(|(alias, _to)| alias.clone()).collect(),
        created_at: rfc3339(version.created_at_ms),
        created_by: version.created_by.clone(),
        log_index: version.index,
    }
}

/// A version as lists show it: with the gravest of its findings only.
pub(crate) fn version_listed(ruleset: &Ruleset, model: &ModelRecord, version: &VersionRecord) -> VersionInfo {
    let mut info = version_info(ruleset, model, version);
    info.findings.truncate(FINDINGS_LISTED_MAX);
    info
}

pub(crate) fn finding(finding: &FindingRecord) -> Finding {
    Finding {
        rule: finding.rule.clone(),
        level: finding.level.clone(),
        place: finding.place.clone(),
        detail: finding.detail.clone(),
        meaning: rule(&finding.rule).map(|rule| rule.meaning.to_owned()),
    }
}

fn inspection_info(ruleset: &Ruleset, inspection: &InspectionRecord) -> InspectionInfo {
    InspectionInfo {
        verdict: inspection.verdict.clone(),
        ruleset: inspection.ruleset.clone(),
        at: rfc3339(inspection.at_ms),
        stale: inspection.ruleset != ruleset.id(),
        findings_total: inspection.findings_total,
        policy: inspection.policy.clone(),
    }
}

pub(crate) fn review(review: &ReviewRecord) -> Review {
    Review {
        decision: match review.decision {
            ReviewDecision::Released => Decision::Released,
            ReviewDecision::Blocked => Decision::Blocked,
        }
        .into(),
        by: review.by.clone(),
        at: rfc3339(review.at_ms),
        log_index: review.index,
        reason: review.reason.clone(),
        over: review.over.iter().map(|one| (one.rule.clone(), one.level.clone())).collect(),
    }
}

pub(crate) fn review_note(note: &ReviewNoteRecord) -> ReviewNote {
    ReviewNote { text: note.text.clone(), by: note.by.clone(), at: rfc3339(note.at_ms), log_index: note.index }
}

pub(crate) fn approval(approval: &ApprovalRecord) -> Approval {
    Approval {
        by: approval.by.clone(),
        at: rfc3339(approval.at_ms),
        log_index: approval.index,
        reason: approval.reason.clone(),
    }
}

/// Whether a version is held for what inspection found, and nothing is found any more.
pub(crate) fn is_cleared(version: &VersionRecord) -> bool {
    version.state == State::Quarantined
        && version.held_by_inspection
        && version.inspection.as_ref().is_some_and(|inspection| inspection.verdict == "clean")
}

/// The sessions of a user that can still be used.
fn live<'s>(
    user: &'s UserRecord,
    sessions: &'s [SessionRecord],
    now_ms: i64,
) -> impl Iterator<Item = &'s SessionRecord> {
    sessions.iter().filter(move |session| session.epoch == user.epoch && session.expires_at_ms > now_ms)
}

/// Those sessions, the newest first.
pub(crate) fn sessions(user: &UserRecord, sessions: &[SessionRecord], now_ms: i64) -> Vec<SessionInfo> {
    let mut live: Vec<&SessionRecord> = live(user, sessions, now_ms).collect();
    live.sort_by_key(|session| std::cmp::Reverse(session.created_at_ms));
    let info = |session: &&SessionRecord| SessionInfo {
        since: rfc3339(session.created_at_ms),
        expires_at: rfc3339(session.expires_at_ms),
    };
    live.iter().take(SESSIONS_SHOWN_MAX).map(info).collect()
}

/// A user. `failures`: sign-ins that failed of late.
pub(crate) fn user(
    user: &UserRecord,
    sessions: &[SessionRecord],
    tokens: &[ApiTokenRecord],
    failures: Failed,
    now_ms: i64,
) -> User {
    let live = live(user, sessions, now_ms);
    let tokens = tokens.iter().filter(|token| token.expires_at_ms.is_none_or(|at_ms| now_ms < at_ms));
    User {
        id: user.id.clone(),
        username: user.name.clone(),
        kind: if user.is_service() { UserKind::Service } else { UserKind::Person }.into(),
        role: user.role.into(),
        // Kept beside the record; whoever shows the user says them.
        grants: Vec::new(),
        totp: false,
        disabled: user.disabled,
        must_change_password: user.must_change_password,
        sessions: u32::try_from(live.count()).unwrap_or(u32::MAX),
        tokens: u32::try_from(tokens.count()).unwrap_or(u32::MAX),
        created_at: rfc3339(user.created_at_ms),
        updated_at: rfc3339(user.updated_at_ms),
        last_login_at: user.last_login_at_ms.map(rfc3339),
        failed_logins: failures.count,
        locked_until: failures.locked_until_ms.map(rfc3339),
    }
}
