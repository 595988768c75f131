//! What points to blobs, by the changes of the log and by nothing that is derived from them. Knows versions and counts;
//! refuses to know where changes are read from, and what is done about what it finds.
//!
//! Two things are said of a blob: the count that was last recorded, and the versions that were published and not purged. The
//! count is what the view shows. It was decided on what the view showed then, so a view that had lost a record may have made
//! a wrong count part of the log; the versions don't depend on that.

use std::collections::{HashMap, HashSet};

use common::digest::Digest;
use common::name::{ModelId, Version};

use crate::store::journal::Position;
use crate::store::records::{VersionRecord, Write};

/// What points to some blobs, as far as the log was read. Keeps nothing of others: some 100 octets for each blob asked for,
/// and as much for each version that points to one of them.
#[derive(Debug, Default)]
pub struct References {
    /// How far it was read.
    pub(super) position: Position,
    counts: HashMap<Digest, Count>,
    holders: HashMap<(ModelId, Version), Box<[Digest]>>,
    /// Blobs whose count is new since it was last compared with anything.
    uncompared: HashSet<Digest>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    recorded: u64,
    /// Files of versions; some versions have the same file under several paths.
    files: u64,
}

/// What the log says of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing points to it, or it was never named: it may go.
    Free,
    /// Something points to it.
    Needed,
    /// Something points to it, but its count says nothing, or the other way round: its count went wrong.
    Miscounted,
}

impl References {
    /// Of these blobs, with nothing read yet.
    pub fn of(digests: &[Digest]) -> Self {
        let counts = digests.iter().map(|digest| (*digest, Count::default())).collect();
        Self { counts, uncompared: digests.iter().copied().collect(), ..Self::default() }
    }

    /// Takes a change into account; each once, in the log's order.
    pub fn take(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::SetBlob { digest, size: _, refs } => {
                    if let Some(count) = self.counts.get_mut(digest) {
                        count.recorded = *refs;
                        self.uncompared.insert(*digest);
                    }
                }
                Write::PutVersion(version) => self.hold(version),
                Write::DeleteVersion { model, version } => {
                    for digest in self.holders.remove(&(*model, *version)).unwrap_or_default() {
                        if let Some(count) = self.counts.get_mut(&digest) {
                            count.files = count.files.saturating_sub(1);
                        }
                    }
                }
                Write::PutUser(_)
                | Write::DeleteUser { .. }
                | Write::PutSession(_)
                | Write::DeleteSession { .. }
                | Write::PutModel(_)
                | Write::AppendAliasEvent { .. }
                | Write::PutIdempotency { .. }
                | Write::PutLogKeys(_)
                | Write::PutRuleset(_)
                | Write::RenewInspections { .. }
                | Write::PutDamage { .. }
                | Write::DeleteDamage { .. }
                | Write::PutIngest(_)
                | Write::DeleteIngest { .. }
                | Write::PutIntake(_)
                | Write::PutWebhook(_)
                | Write::DeleteWebhook { .. }
                | Write::PutWebhookProgress(_)
                | Write::AppendReviewNote { .. }
                | Write::PutApprovals { .. }
                | Write::PutApiToken(_)
                | Write::DeleteApiToken { .. }
                | Write::UseApiTokens(_)
                | Write::PutGrants { .. }
                | Write::PutQuota(_)
                | Write::DeleteQuota(_)
                | Write::PutRetentionRule(_)
                | Write::DeleteRetentionRule { .. }
                | Write::PutSecondFactor(_)
                | Write::DeleteSecondFactor { .. } => {}
            }
        }
    }

    /// A version's files never change, so it counts the first time. One that is deleted can be restored, and counts.
    fn hold(&mut self, version: &VersionRecord) {
        let key = (version.model, version.version);
        let digests = version.artifacts.iter().map(|artifact| artifact.digest);
        let digests: Vec<Digest> = digests.filter(|digest| self.counts.contains_key(digest)).collect();
        if digests.is_empty() || self.holders.contains_key(&key) {
            return;
        }
        for digest in &digests {
            if let Some(count) = self.counts.get_mut(digest) {
                count.files += 1;
            }
        }
        self.holders.insert(key, digests.into());
    }

    /// What is said of a blob; of one that wasn't asked for, that it is needed.
    pub fn verdict(&self, digest: &Digest) -> Verdict {
        match self.counts.get(digest) {
            Some(Count { recorded: 0, files: 0 }) => Verdict::Free,
            Some(Count { recorded: 0, .. } | Count { files: 0, .. }) => Verdict::Miscounted,
            Some(_) | None => Verdict::Needed,
        }
    }

    /// The count that was last recorded of a blob, and how many files of versions that are not purged are it. None of one that
    /// wasn't asked for.
    pub fn counted(&self, digest: &Digest) -> (u64, u64) {
        self.counts.get(digest).map_or((0, 0), |count| (count.recorded, count.files))
    }

    /// The blobs whose count is new since the last call, and the count that was last recorded: what is to be compared.
    pub fn take_uncompared(&mut self) -> Vec<(Digest, u64)> {
        let counts = &self.counts;
        let recorded = |digest: &Digest| counts.get(digest).map_or(0, |count| count.recorded);
        self.uncompared.drain().map(|digest| (digest, recorded(&digest))).collect()
    }

    /// Has these compared once more.
    pub fn compare_again(&mut self, digests: Vec<Digest>) {
        self.uncompared.extend(digests);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;

    use common::api::State;
    use common::digest::Digest;
    use common::name::ModelId;

    use super::{References, Verdict};
    use crate::store::records::{ArtifactRecord, VersionRecord, Write};

    fn version(number: u32, digests: &[Digest]) -> Write {
        let artifact = |(n, digest): (usize, &Digest)| ArtifactRecord {
            path: format!("{n}.bin").parse().unwrap(),
            size: 1,
            digest: *digest,
            format: "unknown".into(),
            verdict: None,
        };
        Write::PutVersion(VersionRecord {
            model: ModelId::from_u128(1),
            version: number.try_into().unwrap(),
            state: State::Available,
            state_reason: None,
            state_at_ms: 0,
            held_by_inspection: false,
            description: String::new(),
            artifacts: digests.iter().enumerate().map(artifact).collect(),
            metadata: BTreeMap::new(),
            findings: Vec::new(),
            inspection: None,
            review: None,
            source: "api".into(),
            created_at_ms: 0,
            created_by: "alice".into(),
            created_by_id: "usr_alice".into(),
            index: 0,
            deleted: None,
            revision: 0,
        })
    }

    fn purge(number: u32) -> Write {
        Write::DeleteVersion { model: ModelId::from_u128(1), version: number.try_into().unwrap() }
    }

    /// The last count and the versions that are left decide; a blob that was never named may go, one that nobody asked for
    /// may not.
    #[test]
    fn verdicts() {
        let [a, b, c] = [1, 2, 3].map(|n| Digest::from_bytes([n; 32]));
        let set = |digest, refs| Write::SetBlob { digest, size: 1, refs };
        let mut references = References::of(&[a, b]);
        let mut then = |writes: &[Write]| {
            references.take(writes);
            [a, b, c].map(|digest| references.verdict(&digest))
        };
        use Verdict::{Free, Miscounted, Needed};
        assert_eq!(then(&[]), [Free, Free, Needed]);
        assert_eq!(then(&[version(1, &[a, a, c]), set(a, 2), set(c, 1)]), [Needed, Free, Needed]);
        assert_eq!(then(&[version(2, &[a, b]), set(a, 3), set(b, 1)]), [Needed, Needed, Needed]);
        assert_eq!(then(&[version(2, &[a, b])]), [Needed, Needed, Needed], "a change of state is no second reference");
        assert_eq!(then(&[purge(2), set(a, 2), set(b, 0)]), [Needed, Free, Needed]);
        assert_eq!(then(&[set(a, 0)]), [Miscounted, Free, Needed], "a version points to it");
        assert_eq!(then(&[set(a, 1), purge(1)]), [Miscounted, Free, Needed], "no version points to it");
        assert_eq!(then(&[purge(7), set(a, 0)]), [Free, Free, Needed]);
    }
}
