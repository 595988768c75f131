//! What becomes of what is found out about a blob: damage is recorded, and every version that needs the blob is held back,
//! in one commit with its entry; a blob that is sound again is recorded as repaired. Knows versions and their states;
//! refuses to know how and when blobs are read, and repairs nothing: that takes the same bytes once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::api::State;
use common::audit::{Action, Target};
use common::digest::Digest;
use common::name::{ModelId, Version};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::clock;
use crate::registry::Inner;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::RegistryError;
use crate::registry::examine::{Examined, Fault};
use crate::registry::pins::Holder;
use crate::store::records::{ArtifactRecord, DamageKind, DamageRecord, ModelRecord, VersionRecord, Write};
use crate::store::{Moment, Records};

/// Versions that are held back by one commit; a blob that more versions need takes several.
const VERSIONS_AT_ONCE: usize = 50;

/// What was found out about a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It is what it should be; its size.
    Sound(u64),
    /// It is not.
    Wrong(Fault),
    /// Nothing points to it any more.
    Unneeded,
    /// The reading was ended.
    Stopped,
}

/// A holder of a digest, where a page of them goes on.
type After = Option<(ModelId, Version)>;

impl Inner {
    /// Looks at a blob as `look` does, given its size, and sees to what that finds. Its bytes stay meanwhile. For a thread
    /// of its own that has entered the runtime.
    pub(crate) fn verify(
        self: &Arc<Self>,
        runtime: &Handle,
        digest: Digest,
        look: impl FnOnce(u64) -> Examined,
    ) -> Result<Verified, RegistryError> {
        let _pin = runtime.block_on(self.pin(Holder::Reader, vec![digest]));
        // Asked with the pin: from here on a missing file is one that should be there.
        let Some(blob) = runtime.block_on(self.read(|view| Ok(view.blob(&digest)?)))? else {
            return Ok(Verified::Unneeded);
        };
        let Some(found) = look(blob.size) else { return Ok(Verified::Stopped) };
        // Who finds the same at the same time leaves it to the first.
        if let Some(_claim) = self.scrub.claim(digest) {
            let seen_to = runtime.block_on(self.see_to_finding(digest, blob.size, found.as_ref().err()));
            if let Err(error) = seen_to {
                tracing::warn!(%digest, error = crate::error_chain(&error), "what was found about a blob can't be recorded");
                self.scrub.try_again(digest);
            }
        }
        Ok(match found {
            Ok(()) => Verified::Sound(blob.size),
            Err(fault) => Verified::Wrong(fault),
        })
    }

    async fn see_to_finding(
        self: &Arc<Self>,
        digest: Digest,
        size: u64,
        fault: Option<&Fault>,
    ) -> Result<(), RegistryError> {
        let known = self.read(|view| Ok(view.damage(&digest)?)).await?;
        match (fault, known) {
            (None, None) => Ok(()),
            (None, Some(known)) => self.record_repair(digest, size, &known).await,
            (Some(fault), known) => self.record_damage(digest, size, fault, known).await,
        }
    }

    async fn record_repair(
        self: &Arc<Self>,
        digest: Digest,
        size: u64,
        known: &DamageRecord,
    ) -> Result<(), RegistryError> {
        let mut note = Note::event(Action::BlobRepaired, target(&digest, size))
            .with("kind", known.kind.as_str())
            .with("found_at", clock::rfc3339(known.found_at_ms))
            .with("found_by_entry", known.index);
        if known.held {
            note.say("text", "what was quarantined for it stays so until an admin releases it");
        }
        let decide = move |records: &dyn Records, _moment: Moment, note: &mut Note| {
            let (versions, _next) = holders(records, &digest, None)?;
            let held = versions.iter().filter(|version| version.state == State::Quarantined);
            note.say("quarantined", names(records, held)?);
            Ok(((), vec![Write::DeleteDamage { digest }]))
        };
        self.commit(&Caller::system(), note, decide).await.map_err(|failure| failure.error)?;
        tracing::info!(%digest, "a blob that was damaged is sound again");
        Ok(())
    }

    async fn record_damage(
        self: &Arc<Self>,
        digest: Digest,
        size: u64,
        fault: &Fault,
        known: Option<DamageRecord>,
    ) -> Result<(), RegistryError> {
        let held = match (fault.kind, &known) {
            (DamageKind::Unreadable, Some(known)) if known.held => return Ok(()),
            (DamageKind::Unreadable, Some(known)) => {
                if clock::now_ms().saturating_sub(known.found_at_ms) < self.scrub.apart_ms() {
                    return Ok(());
                }
                true
            }
            (DamageKind::Unreadable, None) => false,
            (DamageKind::Missing | DamageKind::Size | DamageKind::Content, Some(known))
                if known.held && known.kind == fault.kind =>
            {
                // Told already. What came to need it since is held back all the same.
                if !self.scan(move |view| is_handed_out(view, &digest)).await? {
                    return Ok(());
                }
                true
            }
            (DamageKind::Missing | DamageKind::Size | DamageKind::Content, _) => true,
        };
        let action = if held { Action::BlobDamaged } else { Action::BlobUnreadable };
        let mut after = None;
        loop {
            let note = Note::event(action.clone(), target(&digest, size))
                .with("kind", fault.kind.as_str())
                .with("detail", fault.detail.as_str());
            let (kind, detail) = (fault.kind, fault.detail.clone());
            let decide = move |records: &dyn Records, moment: Moment, note: &mut Note| {
                if records.blob(&digest)?.is_none() {
                    note.say("needed", false);
                    return Ok((None, Vec::new()));
                }
                let damage = DamageRecord { kind, detail, held, found_at_ms: moment.at_ms, index: moment.index };
                let (next, mut writes) = hold_back(records, &digest, &damage, after, moment, note)?;
                if after.is_none() {
                    writes.push(Write::PutDamage { digest, damage });
                }
                Ok((next, writes))
            };
            let done = self.commit(&Caller::system(), note, decide).await.map_err(|failure| failure.error)?;
            after = done.value;
            if after.is_none() {
                break;
            }
        }
        let what = fault.detail.as_str();
        if held {
            tracing::error!(
                %digest,
                what,
                "a stored blob is damaged, and the versions that need it are quarantined. Upload the same bytes again, or \
                 restore the file from a backup and run `mregd check --blobs`; then release them"
            );
            // Whoever brought the same bytes meanwhile did not know: a second look sees them.
            self.scrub.suspect(digest);
        } else {
            tracing::warn!(%digest, what, "a stored blob could not be read; it is tried again");
            self.scrub.try_again(digest);
        }
        Ok(())
    }
}

fn target(digest: &Digest, size: u64) -> Target {
    let digest = digest.to_string();
    Target { size: Some(size), digest: Some(digest.clone()), ..Target::new("blob", &digest) }
}

/// A page of the versions that need a blob, and where the next begins.
fn holders(records: &dyn Records, digest: &Digest, after: After) -> Result<(Vec<VersionRecord>, After), RegistryError> {
    let page = records.holders(digest, after, VERSIONS_AT_ONCE)?;
    let next = page.last().copied().filter(|_last| page.len() == VERSIONS_AT_ONCE);
    let mut versions = Vec::with_capacity(page.len());
    for (model, version) in page {
        versions.extend(records.version(model, version)?);
    }
    Ok((versions, next))
}

fn can_be_handed_out(version: &VersionRecord) -> bool {
    matches!(version.state, State::Available | State::Deprecated)
}

/// Whether a version that needs the blob is handed out.
fn is_handed_out(records: &(impl Records + ?Sized), digest: &Digest) -> Result<bool, RegistryError> {
    let mut after = None;
    loop {
        let page = records.holders(digest, after, VERSIONS_AT_ONCE)?;
        for (model, version) in &page {
            if records.version(*model, *version)?.as_ref().is_some_and(can_be_handed_out) {
                return Ok(true);
            }
        }
        after = page.last().copied();
        if page.len() < VERSIONS_AT_ONCE {
            return Ok(false);
        }
    }
}

/// Versions as entries name them.
fn names<'v>(
    records: &dyn Records,
    versions: impl Iterator<Item = &'v VersionRecord>,
) -> Result<Vec<Value>, RegistryError> {
    let name = |version: &VersionRecord| {
        let model = records.model(version.model)?;
        let name = model.map_or_else(|| version.model.to_string(), |model| model.name.to_string());
        Ok(Value::from(format!("{name}:{}", version.version)))
    };
    versions.map(name).collect()
}

/// The writes that hold back a page of versions, and where the next page begins. The entry names those that need the blob,
/// whatever their state. A version that is deleted is left alone; one of a deleted model isn't, for the model may come back.
fn hold_back(
    records: &dyn Records,
    digest: &Digest,
    damage: &DamageRecord,
    after: After,
    moment: Moment,
    note: &mut Note,
) -> Result<(After, Vec<Write>), RegistryError> {
    let (versions, next) = holders(records, digest, after)?;
    note.say("versions", names(records, versions.iter())?);
    if !damage.held {
        return Ok((None, Vec::new()));
    }
    let mut models: BTreeMap<ModelId, ModelRecord> = BTreeMap::new();
    let mut writes = Vec::new();
    for mut version in versions.into_iter().filter(can_be_handed_out) {
        let mut model = match models.remove(&version.model) {
            Some(model) => model,
            None => records.model(version.model)?.ok_or_else(|| {
                RegistryError::Corrupt(format!("a version is of model {}, which isn't there", version.model).into())
            })?,
        };
        let reason = reason(&version.artifacts, digest, damage);
        hold(&mut version, reason, moment);
        version.revision = moment.index;
        if let Some(latest) = model.latest.as_mut().filter(|latest| latest.version == version.version) {
            latest.state = version.state;
        }
        model.updated_at_ms = moment.at_ms;
        model.revision = moment.index;
        models.insert(model.id, model);
        writes.push(Write::PutVersion(version));
    }
    note.say("quarantined", writes.len());
    writes.extend(models.into_values().map(Write::PutModel));
    Ok((next, writes))
}

/// Holds a version back.
pub(crate) fn hold(version: &mut VersionRecord, reason: String, moment: Moment) {
    version.state = State::Quarantined;
    version.state_at_ms = moment.at_ms;
    version.state_reason = Some(reason);
}

fn reason(artifacts: &[ArtifactRecord], digest: &Digest, damage: &DamageRecord) -> String {
    let path = artifacts.iter().find(|artifact| artifact.digest == *digest).map(|artifact| artifact.path.as_str());
    format!("integrity: the stored file `{}` {}", path.unwrap_or_default(), damage.detail)
}

/// Why a version that has these files is to be held back, if a file is known to be damaged that isn't one of `but`.
pub(crate) fn reason_to_hold(
    records: &dyn Records,
    artifacts: &[ArtifactRecord],
    but: &[Digest],
) -> Result<Option<String>, RegistryError> {
    // Mostly nothing is, and then no file need be looked up.
    if records.damaged()? == 0 {
        return Ok(None);
    }
    for artifact in artifacts.iter().filter(|artifact| !but.contains(&artifact.digest)) {
        if let Some(damage) = records.damage(&artifact.digest)?.filter(|damage| damage.held) {
            return Ok(Some(reason(artifacts, &artifact.digest, &damage)));
        }
    }
    Ok(None)
}

/// Refuses to hand out again what is known to be damaged.
pub(crate) fn check_sound(records: &dyn Records, version: &VersionRecord) -> Result<(), RegistryError> {
    match reason_to_hold(records, &version.artifacts, &[])? {
        None => Ok(()),
        Some(reason) => Err(RegistryError::Conflict(format!(
            "version {} can't be released: {reason}. Upload the same bytes again, or restore the file from a backup; \
             then run `mregd check --blobs`",
            version.version
        ))),
    }
}
