//! Octets of held content for those who review it: a few, round a finding, and never as something that could be run. Knows
//! which file of a version a finding is in; refuses to know how containers are opened.

use std::sync::Arc;

use common::api::{Excerpt, State};
use common::audit::Action;
use common::name::{ModelRef, Version};
use common::role::Permission;

use crate::inspect::Wanted;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::download::open;
use crate::registry::error::{Outcome, RegistryError};
use crate::registry::resolve::{self, Sight};
use crate::store::records::{ArtifactRecord, VersionRecord};

impl Registry {
    /// The octets round a finding in a version that is held. The entry is written before they leave.
    ///
    /// # Errors
    /// What `require` says; `NotFound` where nothing was found at this place, or there are no octets to be shown there;
    /// `Conflict` where it isn't held; `Busy`.
    pub async fn excerpt(
        &self,
        caller: &Caller,
        reference: &ModelRef,
        version: Version,
        place: &str,
    ) -> Outcome<Excerpt> {
        let inner = &self.inner;
        let mut note = Note::event(Action::ModelExamine, resolve::version_target(reference, version));
        inner.permit(caller, Permission::ModelModerate, &note).await?;
        let Ok(_permit) = inner.rescans.on_demand() else {
            let what = "as many versions as may be are being looked into on demand";
            return Err(inner.refuse(caller, note, RegistryError::Busy { what, is_callers: false }).await);
        };
        let sight = Sight::of(caller, Permission::ModelModerate);
        let found = inner
            .read(|view| {
                let model = resolve::live_model(view, reference, &sight)?;
                let record = resolve::version(view, &model, version, &sight)?;
                if record.state != State::Quarantined {
                    let why = format!("version {version} is not held in quarantine: excerpts are of what is held");
                    return Err(RegistryError::Conflict(why));
                }
                let (artifact, wanted) = wanted(&record, place)?;
                Ok((model.id, artifact, wanted))
            })
            .await;
        let taken = match found {
            Err(error) => Err(error),
            Ok((id, artifact, wanted)) => {
                note.target.id = id.to_string();
                self.take(artifact, wanted).await
            }
        };
        let excerpt = match taken {
            Ok(excerpt) => excerpt,
            Err(error) => return Err(inner.refuse(caller, note, error).await),
        };
        note.say("path", excerpt.path.as_str());
        note.say("place", place);
        note.say("from", excerpt.from);
        note.say("octets", excerpt.octets.len() / 2);
        Ok(inner.record(caller, note).await?.map(|()| excerpt))
    }

    async fn take(&self, artifact: ArtifactRecord, wanted: Wanted) -> Result<Excerpt, RegistryError> {
        let (inner, digest, size) = (Arc::clone(&self.inner), artifact.digest, artifact.size);
        let opened = tokio::task::spawn_blocking(move || open(&inner, &digest, size));
        let blob = opened.await.map_err(|error| RegistryError::Internal(error.into()))??;
        let taken = self.inner.excerpt_of(blob, &artifact.path, wanted.clone()).await?;
        let taken = taken.ok_or_else(|| RegistryError::not_found("octet to be shown at this place"))?;
        Ok(Excerpt {
            path: artifact.path,
            inside: wanted.path,
            offset: wanted.offset,
            from: taken.from,
            size: taken.len,
            octets: hex::encode(taken.octets),
        })
    }
}

/// The file that a finding is in, and where inside it.
fn wanted(version: &VersionRecord, place: &str) -> Result<(ArtifactRecord, Wanted), RegistryError> {
    if !version.findings.iter().any(|finding| finding.place == place) {
        return Err(RegistryError::not_found("finding at this place"));
    }
    let inside = |artifact: &ArtifactRecord| -> Option<String> {
        let rest = place.strip_prefix(artifact.path.as_str())?;
        match rest.chars().next() {
            None | Some('@' | '#') => Some(rest.to_owned()),
            Some('/') => Some(rest[1..].to_owned()),
            Some(_) => None,
        }
    };
    let fitting = version.artifacts.iter().filter_map(|artifact| Some((artifact, inside(artifact)?)));
    let of_it = fitting.max_by_key(|(artifact, _)| artifact.path.as_str().len());
    // A place without a path is about the whole of the only file.
    let only = || match version.artifacts.as_slice() {
        [only] if place.is_empty() => Some((only, String::new())),
        _ => None,
    };
    let (artifact, rest) =
        of_it.or_else(only).ok_or_else(|| RegistryError::not_found("file that this finding is in"))?;
    Ok((artifact.clone(), Wanted::of(&rest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::api::State;
    use common::digest::Digest;

    use super::wanted;
    use crate::inspect::Wanted;
    use crate::registry::tests::version_record;
    use crate::store::records::{ArtifactRecord, FindingRecord};

    /// The longest path that a place begins with is its file's, and what follows is inside; only places of findings count.
    #[test]
    fn places() {
        let mut version = version_record(State::Quarantined);
        let artifact = |path: &str| ArtifactRecord {
            path: path.parse().unwrap(),
            size: 1,
            digest: Digest::from_bytes([1; 32]),
            format: "pickle".into(),
            verdict: None,
        };
        version.artifacts = vec![artifact("a"), artifact("a/b.pt"), artifact("ab")];
        let find = |place: &str| FindingRecord {
            rule: "x.y".into(),
            level: "malicious".into(),
            place: place.into(),
            detail: String::new(),
        };
        let places = [
            ("a/b.pt/data.pkl@452", "a/b.pt", "data.pkl", Some(452)),
            ("a/b.pt@7", "a/b.pt", "", Some(7)),
            ("a#+16@3", "a", "#+16", Some(3)),
            ("ab", "ab", "", None),
        ];
        version.findings = places.iter().map(|(place, ..)| find(place)).chain([find(""), find("abc")]).collect();
        for (place, path, inside, offset) in places {
            let (artifact, found) = wanted(&version, place).unwrap();
            assert_eq!(artifact.path.as_str(), path, "{place}");
            assert_eq!(found, Wanted { path: inside.to_owned(), offset }, "{place}");
        }
        for place in ["a/b.pt/data.pkl@453", "abc", ""] {
            assert!(wanted(&version, place).is_err(), "{place}");
        }
        version.artifacts.truncate(1);
        assert_eq!(wanted(&version, "").unwrap().1, Wanted::of(""));
    }
}
