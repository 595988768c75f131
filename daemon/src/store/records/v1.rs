//! The shapes of 0.1.0 that have changed since, as its journals hold them, and what they are now. Read, never written; what
//! did not change is taken from `records.rs`.

use std::collections::BTreeMap;

use common::api::State;
use common::digest::Digest;
use common::name::{Alias, ArtifactPath, ModelId, ModelName, UserName, Version};
use serde::Deserialize;

use super::{
    AliasEventRecord, AliasRecord, DeletionRecord, FindingRecord, IdempotencyRecord, LogKeysRecord, MetadatumRecord,
    SessionRecord, UserRecord,
};

/// A change. The order of the variants is their number in the journal.
#[derive(Deserialize)]
pub(crate) enum Write {
    PutUser(UserRecord),
    DeleteUser { name: UserName },
    PutSession(SessionRecord),
    DeleteSession { sid: String },
    PutModel(ModelRecord),
    PutVersion(VersionRecord),
    DeleteVersion { model: ModelId, version: Version },
    AppendAliasEvent { model: ModelId, alias: Alias, event: AliasEventRecord },
    SetBlob { digest: Digest, size: u64, refs: u64 },
    PutIdempotency { key: [u8; 32], record: IdempotencyRecord },
    PutLogKeys(LogKeysRecord),
}

impl From<Write> for super::Write {
    fn from(write: Write) -> Self {
        match write {
            Write::PutUser(user) => Self::PutUser(user),
            Write::DeleteUser { name } => Self::DeleteUser { name },
            Write::PutSession(session) => Self::PutSession(session),
            Write::DeleteSession { sid } => Self::DeleteSession { sid },
            Write::PutModel(model) => Self::PutModel(model.into()),
            Write::PutVersion(version) => Self::PutVersion(version.into()),
            Write::DeleteVersion { model, version } => Self::DeleteVersion { model, version },
            Write::AppendAliasEvent { model, alias, event } => Self::AppendAliasEvent { model, alias, event },
            Write::SetBlob { digest, size, refs } => Self::SetBlob { digest, size, refs },
            Write::PutIdempotency { key, record } => Self::PutIdempotency { key, record },
            Write::PutLogKeys(keys) => Self::PutLogKeys(keys),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct ModelRecord {
    id: ModelId,
    name: ModelName,
    description: String,
    tags: BTreeMap<String, String>,
    owner: String,
    created_at_ms: i64,
    updated_at_ms: i64,
    last_number: u32,
    live_versions: u32,
    latest: Option<LatestRecord>,
    aliases: BTreeMap<Alias, AliasRecord>,
    deleted: Option<DeletionRecord>,
    purged: bool,
    revision: u64,
}

impl From<ModelRecord> for super::ModelRecord {
    fn from(old: ModelRecord) -> Self {
        Self {
            id: old.id,
            name: old.name,
            description: old.description,
            tags: old.tags,
            owner: old.owner,
            created_at_ms: old.created_at_ms,
            updated_at_ms: old.updated_at_ms,
            last_number: old.last_number,
            live_versions: old.live_versions,
            latest: old.latest.map(Into::into),
            aliases: old.aliases,
            deleted: old.deleted,
            purged: old.purged,
            revision: old.revision,
        }
    }
}

#[derive(Deserialize)]
struct LatestRecord {
    version: Version,
    state: State,
    format: String,
    size: u64,
    uploader: String,
}

impl From<LatestRecord> for super::LatestRecord {
    fn from(old: LatestRecord) -> Self {
        Self {
            version: old.version,
            state: old.state,
            format: old.format,
            size: old.size,
            uploader: old.uploader,
            verdict: None,
            parameters: None,
            dtypes: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct VersionRecord {
    model: ModelId,
    version: Version,
    state: State,
    state_reason: Option<String>,
    description: String,
    artifacts: Vec<ArtifactRecord>,
    metadata: BTreeMap<String, MetadatumRecord>,
    findings: Vec<FindingRecord>,
    source: String,
    created_at_ms: i64,
    created_by: String,
    created_by_id: String,
    index: u64,
    deleted: Option<DeletionRecord>,
    revision: u64,
}

impl From<VersionRecord> for super::VersionRecord {
    fn from(old: VersionRecord) -> Self {
        Self {
            model: old.model,
            version: old.version,
            state: old.state,
            // Not kept; its reasons began like this.
            held_by_inspection: old.state == State::Quarantined
                && old.state_reason.as_ref().is_some_and(|reason| reason.starts_with("inspection: ")),
            state_reason: old.state_reason,
            // It was not kept; nothing is in a state for longer.
            state_at_ms: old.created_at_ms,
            description: old.description,
            artifacts: old.artifacts.into_iter().map(Into::into).collect(),
            metadata: old.metadata,
            findings: old.findings,
            inspection: None,
            review: None,
            source: old.source,
            created_at_ms: old.created_at_ms,
            created_by: old.created_by,
            created_by_id: old.created_by_id,
            index: old.index,
            deleted: old.deleted,
            revision: old.revision,
        }
    }
}

#[derive(Deserialize)]
struct ArtifactRecord {
    path: ArtifactPath,
    size: u64,
    digest: Digest,
    format: String,
}

impl From<ArtifactRecord> for super::ArtifactRecord {
    fn from(old: ArtifactRecord) -> Self {
        Self { path: old.path, size: old.size, digest: old.digest, format: old.format, verdict: None }
    }
}
