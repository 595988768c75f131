//! The manifest of a generation: what it consists of, and of which checkpoint. Written last, so that what has none is no
//! backup. Knows its form and that not an octet of it was altered; refuses to know files besides.
//!
//! It is not signed and needs not be: the checkpoint in it is, its root binds the records, and the records name each blob by
//! its digest. What the manifest says besides only leads there.

use common::audit::Frontier;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Version of the form.
const FORMAT: u32 = 1;
/// Octets of the longest manifest: some 400 000 parts of a journal.
pub(super) const OCTETS_MAX: usize = 64 * 1024 * 1024;

/// What a generation consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Version of the form.
    pub(super) format: u32,
    /// What made it.
    pub(super) tool: String,
    /// Its own id.
    pub(super) generation: String,
    /// When it was made, RFC 3339.
    pub(super) made_at: String,
    /// The instance id of the daemon whose journal it was made from.
    pub(super) node: String,
    /// Leaf hash of entry 0, in hexadecimal: the log's id.
    pub(super) log: String,
    /// The log's name at the checkpoint.
    pub(super) origin: String,
    /// The keys that signed the checkpoint.
    pub(super) vkeys: Vec<String>,
    /// Entries.
    pub(super) size: u64,
    /// Root of them, in base64.
    pub(super) root: String,
    /// The right edge of their tree, in hexadecimal: the next generation begins with it.
    pub(super) frontier: String,
    /// The checkpoint, a signed note.
    pub(super) checkpoint: String,
    /// The parts of the journal, in order.
    pub(super) journal: Vec<Part>,
    /// The blobs.
    pub(super) blobs: Blobs,
    /// The other files of the generation.
    pub(super) files: Vec<Kept>,
    /// Whether the log's signing keys are among them.
    pub(super) has_keys: bool,
    /// SHA-256 over this document with this member empty.
    pub(super) digest: String,
}

/// A part of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Index of the first record.
    pub(super) from: u64,
    /// Index after the last.
    pub(super) to: u64,
    /// Octets of the file.
    pub(super) octets: u64,
    /// SHA-256 of the file.
    pub(super) sha256: String,
}

impl Part {
    /// The file's name below `journal/`. Two histories may have parts of the same range.
    pub(super) fn file(&self) -> String {
        format!("{:020}-{:020}-{}.seg", self.from, self.to, self.sha256.get(..16).unwrap_or_default())
    }
}

/// The blobs of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Blobs {
    /// Whether they are in the backup, or only listed.
    pub(super) are_stored: bool,
    /// How many.
    pub(super) count: u64,
    /// Their octets.
    pub(super) octets: u64,
    /// How many of them were missing or damaged when the backup was made.
    pub(super) lacking: u64,
    /// SHA-256 of the list.
    pub(super) sha256: String,
}

/// A file of the generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// Its name below the generation's directory.
    pub(super) name: String,
    /// SHA-256 of it.
    pub(super) sha256: String,
}

impl Manifest {
    /// The form that this version writes.
    pub(super) const FORMAT: u32 = FORMAT;

    fn octets(&self) -> Result<Vec<u8>, String> {
        let mut octets = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        octets.push(b'\n');
        Ok(octets)
    }

    fn digest_of(&self) -> Result<String, String> {
        let unsealed = Self { digest: String::new(), ..self.clone() };
        Ok(hex::encode(Sha256::digest(unsealed.octets()?)))
    }

    /// Its octets, with the digest over them.
    pub(super) fn seal(mut self) -> Result<Vec<u8>, String> {
        self.digest = self.digest_of()?;
        self.octets()
    }

    /// Reads what [`Manifest::seal`] wrote, and nothing else.
    pub(super) fn open(octets: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        if let Ok(Form { format }) = serde_json::from_slice(octets)
            && format != FORMAT
        {
            return Err(format!(
                "is of form {format}, and this mregd reads form {FORMAT}: use the version that made it"
            ));
        }
        let manifest: Self = serde_json::from_slice(octets).map_err(|error| format!("is damaged: {error}"))?;
        // Also what a parser passes over, such as white space, is as it was written.
        if manifest.digest != manifest.digest_of()? || manifest.octets()? != octets {
            return Err("is damaged: it is not what its digest says".to_owned());
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// That it fits itself.
    fn check(&self) -> Result<(), String> {
        let mut next = 0;
        for part in &self.journal {
            if part.from != next || part.to <= part.from {
                return Err(format!("has no part of the journal that begins with entry {next}"));
            }
            next = part.to;
        }
        if next != self.size {
            return Err(format!("has parts of the journal up to entry {next}, and {} entries", self.size));
        }
        let frontier = self.frontier()?;
        if frontier.size() != self.size || frontier.root().to_string() != self.root {
            return Err("has an edge of the tree that is not that of its root".to_owned());
        }
        Ok(())
    }

    /// The right edge of the tree.
    pub(super) fn frontier(&self) -> Result<Frontier, String> {
        let octets = hex::decode(&self.frontier).map_err(|error| format!("has no edge of the tree: {error}"))?;
        Frontier::from_bytes(&octets).map_err(|error| format!("has no edge of the tree: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::audit::{Frontier, Hash};

    use super::{Blobs, Kept, Manifest, Part};

    fn manifest() -> Manifest {
        let mut frontier = Frontier::new();
        for octet in 0..3 {
            frontier.append(Hash([octet; 32]), |_level, _index, _hash| {});
        }
        Manifest {
            format: Manifest::FORMAT,
            tool: "mregd 0".to_owned(),
            generation: "20260102T030405Z-3".to_owned(),
            made_at: "2026-01-02T03:04:05.000Z".to_owned(),
            node: "node_0".to_owned(),
            log: "00".repeat(32),
            origin: "a/log".to_owned(),
            vkeys: vec!["k".to_owned()],
            size: 3,
            root: frontier.root().to_string(),
            frontier: hex::encode(frontier.to_bytes()),
            checkpoint: "note".to_owned(),
            journal: vec![
                Part { from: 0, to: 2, octets: 9, sha256: "ab".repeat(32) },
                Part { from: 2, to: 3, octets: 9, sha256: "cd".repeat(32) },
            ],
            blobs: Blobs { are_stored: true, count: 0, octets: 0, lacking: 0, sha256: "00".repeat(32) },
            files: vec![Kept { name: "checkpoint".to_owned(), sha256: "ef".repeat(32) }],
            has_keys: false,
            digest: String::new(),
        }
    }

    /// What is read is what was written; any other octet anywhere is noticed.
    #[test]
    fn every_octet_counts() {
        let sealed = manifest().seal().unwrap();
        let opened = Manifest::open(&sealed).unwrap();
        assert_eq!(Manifest { digest: String::new(), ..opened }, manifest());
        for at in 0..sealed.len() {
            for flip in [1, 0x20, 0x80] {
                let mut damaged = sealed.clone();
                damaged[at] ^= flip;
                assert!(Manifest::open(&damaged).is_err(), "octet {at} ^ {flip}");
            }
        }
        for cut in 0..sealed.len() {
            assert!(Manifest::open(&sealed[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Manifest::open(&[&sealed[..], b" "].concat()).is_err());
    }

    /// Parts follow one another up to the size, and the edge is that of the root.
    #[test]
    fn fits_itself() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = manifest();
            change(&mut changed);
            Manifest::open(&changed.seal().unwrap()).unwrap_err()
        };
        assert!(refused(&|it| it.journal[1].from = 1).contains("entry 2"));
        assert!(refused(&|it| it.journal[1].to = 2).contains("entry 2"));
        assert!(refused(&|it| drop(it.journal.pop())).contains("up to entry 2"));
        assert!(refused(&|it| it.root = Hash([9; 32]).to_string()).contains("edge"));
        assert!(refused(&|it| it.frontier = "zz".to_owned()).contains("edge"));
        assert!(refused(&|it| it.format = 2).contains("form 2"));
    }
}
