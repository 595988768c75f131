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
use crate::registry::examine::{Examined, Fault, glance};
use crate::registry::pins::Holder;
use crate::store::records::{ArtifactRecord, DamageKind, DamageRecord, ModelRecord, VersionRecord, Write};
use crate::store::{Moment, Records};

/// Versions that are held back by one commit; a blob that more versions need takes several.
const VERSIONS_AT_ONCE: usize = 50;
/// Blobs that may be missing in a row before that looks as if the volume were.
const MISSING_IN_A_ROW_MAX: u32 = 16;

/// Who looks at a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looker {
    /// The scrubber, by itself.
    Scrubber,
    /// An operator, who asked for it: many blobs that are missing are really missing then.
    Operator,
}

/// What was found out about a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It is what it should be; its size.
    Sound(u64),
    /// It is not.
    Wrong {
        /// What it is.
        fault: Fault,
        /// Its octets, where it was read whole.
        octets: u64,
    },
    /// It seems not to be, but it looks as if the whole volume weren't there: nothing is done about it.
    Doubtful(Fault),
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
        looker: Looker,
        look: impl FnOnce(u64) -> Examined,
    ) -> Result<Verified, RegistryError> {
        let _pin = runtime.block_on(self.pin(Holder::Reader, vec![digest]));
        // Asked with the pin: from here on a missing file is one that should be there.
        let recorded = runtime.block_on(self.read(|view| Ok((view.blob(&digest)?, view.damage(&digest)?))));
        let (Some(blob), known) = recorded? else { return Ok(Verified::Unneeded) };
        let Some(found) = look(blob.size) else { return Ok(Verified::Stopped) };
        match &found {
            Err(fault) => {
                let is_known = known.is_some_and(|known| known.held);
                if let Some(why) = self.doubt(fault.kind, is_known, looker) {
                    if self.scrub.begin_doubt() {
                        tracing::error!(
                            why,
                            "it looks as if the volume of the blobs were not there, so nothing is held back for what is \
                             missing. If it isn't there, stop the daemon, mount it and start again; if it is, run \
                             `mregd check --blobs`, which holds back what needs blobs that are lost"
                        );
                    }
                    return Ok(Verified::Doubtful(fault.clone()));
                }
            }
            Ok(()) => self.scrub.found_one(),
        }
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
            Err(fault) => {
                let octets = if fault.kind == DamageKind::Content { blob.size } else { 0 };
                Verified::Wrong { fault, octets }
            }
        })
    }

    /// Looks whether a blob is there and of its size, as `verify` does. That says nothing about its octets, so nothing is
    /// recorded, and damage that is known stays known: whatever may have changed is read soon.
    pub(crate) fn look_at(self: &Arc<Self>, runtime: &Handle, digest: Digest) -> Result<Verified, RegistryError> {
        let _pin = runtime.block_on(self.pin(Holder::Reader, vec![digest]));
        let recorded = runtime.block_on(self.read(|view| Ok((view.blob(&digest)?, view.damage(&digest)?))));
        let (Some(blob), known) = recorded? else { return Ok(Verified::Unneeded) };
        match glance(&*self.blobs, &digest, blob.size) {
            Ok(()) => {
                if known.is_some_and(|known| matches!(known.kind, DamageKind::Missing | DamageKind::Size)) {
                    self.scrub.suspect(digest);
                }
                Ok(Verified::Sound(blob.size))
            }
            Err(fault) if self.blobs.is_there().is_err() => Ok(Verified::Doubtful(fault)),
            Err(fault) => {
                self.scrub.suspect(digest);
                Ok(Verified::Wrong { fault, octets: 0 })
            }
        }
    }

    /// Why a fault says nothing about its blob, for it would be the same if the volume of the blobs were gone.
    fn doubt(&self, kind: DamageKind, is_known: bool, looker: Looker) -> Option<String> {
        if matches!(kind, DamageKind::Size | DamageKind::Content) {
            self.scrub.found_one();
            return None;
        }
        if let Err(error) = self.blobs.is_there() {
            return Some(crate::error_chain(&error));
        }
        // A volume that was not mounted at the start has all its directories, which the start made, and nothing in them.
        if kind != DamageKind::Missing || is_known || self.scrub.missed_one() < MISSING_IN_A_ROW_MAX {
            return None;
        }
        (looker == Looker::Scrubber).then(|| format!("{MISSING_IN_A_ROW_MAX} blobs in a row are missing"))
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
            (DamageKind::Unreadable, Some(known)) if known.held => {
                // What was published since has had its bytes, and one failed reading says nothing about them.
                let before = known.index;
                if !self.scan(move |view| is_handed_out(view, &digest, before)).await? {
                    return Ok(());
                }
                true
            }
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
                // Told already. What came to need it since, or was left out by a crash, is held back all the same.
                if !self.scan(move |view| is_handed_out(view, &digest, u64::MAX)).await? {
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
    let mut page = records.holders(digest, after, VERSIONS_AT_ONCE + 1)?;
    let is_last = page.len() <= VERSIONS_AT_ONCE;
    page.truncate(VERSIONS_AT_ONCE);
    let next = page.last().copied().filter(|_last| !is_last);
    let mut versions = Vec::with_capacity(page.len());
    for (model, version) in page {
        versions.extend(records.version(model, version)?);
    }
    Ok((versions, next))
}

fn can_be_handed_out(version: &VersionRecord) -> bool {
    matches!(version.state, State::Available | State::Deprecated)
}

/// Whether a version that needs the blob, and was published before the entry of this index, is handed out.
fn is_handed_out(records: &(impl Records + ?Sized), digest: &Digest, before: u64) -> Result<bool, RegistryError> {
    let mut after = None;
    loop {
        let page = records.holders(digest, after, VERSIONS_AT_ONCE)?;
        for (model, version) in &page {
            let version = records.version(*model, *version)?;
            if version.is_some_and(|version| can_be_handed_out(&version) && version.index < before) {
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
    known_damage(records, artifacts, |digest, _damage| !but.contains(digest))
}

/// Why the bytes of a version must not go out, whatever its state: it may be held back an instant later. A version that was
/// published after the damage was found brought its bytes with it.
pub(crate) fn reason_to_withhold(
    records: &dyn Records,
    version: &VersionRecord,
) -> Result<Option<String>, RegistryError> {
    known_damage(records, &version.artifacts, |_digest, damage| version.index < damage.index)
}

/// What is known to be wrong with one of the files, of the damage for which versions are held back and that `counts`.
fn known_damage(
    records: &dyn Records,
    artifacts: &[ArtifactRecord],
    counts: impl Fn(&Digest, &DamageRecord) -> bool,
) -> Result<Option<String>, RegistryError> {
    // Mostly nothing is, and then no file need be looked up.
    if records.damaged()? == 0 {
        return Ok(None);
    }
    for ArtifactRecord { digest, .. } in artifacts {
        if let Some(damage) = records.damage(digest)?.filter(|damage| damage.held && counts(digest, damage)) {
            return Ok(Some(reason(artifacts, digest, &damage)));
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
