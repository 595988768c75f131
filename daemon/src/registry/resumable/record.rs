//! What is kept of a resumable upload: a small JSON file, replaced as a whole and durably. Its octets are a partial blob of
//! the same name. With the octets goes the state of their hash, so that going on never reads what is there already.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::digest::Digest;
use common::name::{ArtifactPath, ModelId, ModelName, UploadId, Version};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

use crate::durable;
use crate::registry::quota::{Claim, Quotas};

/// The form of records that this version writes.
pub(crate) const FORM: u32 = 1;
/// Octets of the largest file that can be a record.
const FILE_OCTETS_MAX: u64 = 64 * 1024;
/// How a record's file ends.
const SUFFIX: &str = ".json";

/// One upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`FORM`].
    pub(crate) form: u32,
    /// Its id, and the name of its partial blob.
    pub(crate) id: UploadId,
    /// Id of the user it belongs to.
    pub(crate) owner: String,
    /// Their name when it was created.
    pub(crate) owner_name: String,
    /// The artifact's path.
    pub(crate) path: Option<ArtifactPath>,
    /// The model it is for.
    pub(crate) model: Option<ModelName>,
    /// The digest the whole must have.
    pub(crate) sha256: Option<Digest>,
    /// What was said of it, as it was written.
    pub(crate) metadata: String,
    /// Octets of the whole, once known.
    pub(crate) length: Option<u64>,
    /// Octets that are durable.
    pub(crate) offset: u64,
    /// The hash of those.
    pub(crate) hash: HashState,
    /// When it was created, milliseconds since the epoch.
    pub(crate) created_at_ms: i64,
    /// When something was last done to it, milliseconds since the epoch.
    pub(crate) touched_at_ms: i64,
    /// How it ended; none as long as it can be gone on with.
    pub(crate) ended: Option<Ended>,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// It is a file of this version.
    Published {
        /// The model.
        model: ModelId,
        /// The version.
        version: Version,
    },
    /// Its owner ended it.
    Terminated,
    /// Nothing was appended for too long.
    Expired,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published { model, version } => write!(f, "it became a file of version {version} of model {model}"),
            Self::Terminated => f.write_str("it was ended by its owner"),
            Self::Expired => f.write_str("it has expired"),
        }
    }
}

/// SHA-256 in the middle of its work.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HashState(SerializedState<Sha256>);

impl HashState {
    /// Of a hash as it is.
    pub(crate) fn of(hasher: &Sha256) -> Self {
        Self(hasher.serialize())
    }

    /// The hash, to go on with.
    ///
    /// # Errors
    /// It is the state of no hash.
    pub(crate) fn hasher(&self) -> io::Result<Sha256> {
        Sha256::deserialize(&self.0).map_err(|_no_state| io::ErrorKind::InvalidData.into())
    }

    /// The digest of what was hashed.
    ///
    /// # Errors
    /// As of [`HashState::hasher`].
    pub(crate) fn digest(&self) -> io::Result<Digest> {
        Ok(Digest::from_bytes(self.hasher()?.finalize().into()))
    }
}

impl Default for HashState {
    /// Of nothing.
    fn default() -> Self {
        Self::of(&Sha256::new())
    }
}

impl fmt::Debug for HashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_slice()))
    }
}

impl Serialize for HashState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.as_slice()))
    }
}

impl<'de> Deserialize<'de> for HashState {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let octets = hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let mut state = SerializedState::<Sha256>::default();
        if octets.len() != state.len() {
            return Err(D::Error::custom("not the state of a SHA-256"));
        }
        state.copy_from_slice(&octets);
        let state = Self(state);
        state.hasher().map_err(D::Error::custom)?;
        Ok(state)
    }
}

impl Record {
    /// Whether all of it is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.length == Some(self.offset)
    }

    /// Octets that it will come to, as far as that is known: those of the whole, or those that are there.
    pub(crate) fn announced(&self) -> u64 {
        self.length.unwrap_or(self.offset)
    }

    /// What reserves room for it; nothing is reserved yet.
    pub(crate) fn claim(&self, quotas: &Arc<Quotas>) -> Arc<Claim> {
        Claim::new(quotas, &self.owner, &self.owner_name, self.model.as_ref())
    }

    /// Replaces its file, durably.
    ///
    /// # Errors
    /// Those of [`durable::write_file`].
    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        durable::write_file(&path(dir, self.id), &text, durable::MODE_FILE)
    }

    /// Removes the file of a record, durably.
    ///
    /// # Errors
    /// Those of [`durable::remove`].
    pub(crate) fn remove(dir: &Path, id: UploadId) -> io::Result<()> {
        durable::remove(&path(dir, id))
    }

    /// Reads a file; none where its name is no record's.
    ///
    /// # Errors
    /// It can't be read, or is no record of a form that is known.
    pub(crate) fn load(file: &Path) -> io::Result<Option<Self>> {
        let Some(id) = id_of(file) else { return Ok(None) };
        let mut text = Vec::new();
        std::fs::File::open(file)?.take(FILE_OCTETS_MAX).read_to_end(&mut text)?;
        let record: Self = serde_json::from_slice(&text).map_err(io::Error::other)?;
        if record.form != FORM || record.id != id {
            return Err(io::Error::other("it is of another form, or of another upload"));
        }
        Ok(Some(record))
    }
}

fn path(dir: &Path, id: UploadId) -> PathBuf {
    dir.join(format!("{id}{SUFFIX}"))
}

/// The id that a record's file is named after.
pub(crate) fn id_of(file: &Path) -> Option<UploadId> {
    file.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::digest::Digest;
    use common::name::UploadId;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use sha2::{Digest as _, Sha256};

    use super::{Ended, FORM, HashState, Record};

    fn record() -> Record {
        Record {
            form: FORM,
            id: UploadId::from_u128(7),
            owner: "usr_a".into(),
            owner_name: "alice".into(),
            path: Some("dir/model.bin".parse().unwrap()),
            model: Some("team/m".parse().unwrap()),
            sha256: Some(Digest::from_bytes([3; 32])),
            metadata: "filename ZGlyL21vZGVsLmJpbg==".into(),
            length: None,
            offset: 3,
            hash: HashState::of(&Sha256::new_with_prefix(b"abc")),
            created_at_ms: 1,
            touched_at_ms: 2,
            ended: None,
        }
    }

    #[test]
    fn records_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = record();
        for ended in [None, Some(Ended::Terminated), Some(Ended::Expired)] {
            record.ended = ended;
            record.save(dir.path()).unwrap();
            let file = super::path(dir.path(), record.id);
            assert_eq!(Record::load(&file).unwrap(), Some(record.clone()));
        }
        assert_eq!(Record::load(&dir.path().join("README")).unwrap(), None);
        let other = super::path(dir.path(), UploadId::from_u128(8));
        std::fs::copy(super::path(dir.path(), record.id), &other).unwrap();
        assert!(Record::load(&other).is_err(), "a record under another's name");
        std::fs::write(&other, b"{}").unwrap();
        assert!(Record::load(&other).is_err());
        Record::remove(dir.path(), record.id).unwrap();
        Record::remove(dir.path(), record.id).unwrap();
    }

    proptest! {
        /// Wherever the work is interrupted, the digest is the same.
        #[test]
        fn hashes_go_on(octets in any::<Vec<u8>>(), cuts in proptest::collection::vec(0_usize..200, 0..6)) {
            let mut state = HashState::default();
            let mut rest = &octets[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                let mut hasher = state.hasher().unwrap();
                hasher.update(piece);
                let text = serde_json::to_string(&HashState::of(&hasher)).unwrap();
                state = serde_json::from_str(&text).unwrap();
                rest = after;
            }
            let mut hasher = state.hasher().unwrap();
            hasher.update(rest);
            prop_assert_eq!(HashState::of(&hasher).digest().unwrap(), Digest::from_bytes(Sha256::digest(&octets).into()));
        }

        /// Whatever a file holds, it is a record or an error.
        #[test]
        fn any_state(text in "[0-9a-f]{0,220}") {
            let _read = serde_json::from_value::<HashState>(text.into());
        }
    }
}
