//! Proofs that travel: an inclusion proof with its checkpoint (C2SP tlog-proof v1), and the receipt a caller keeps.
//!
//! A receipt is verified with the log's pinned keys alone, offline, by anyone. Refuses to know how it was fetched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::leaf::{Entry, LEAF_LEN_MAX, LeafError};
use super::note::{Checkpoint, NOTE_LEN_MAX, NoteError, SignedCheckpoint, Verifier};
use super::tile::parse_decimal;
use super::tree::{Hash, PROOF_HASHES_MAX, ProofError, leaf_hash, verify_inclusion};

/// The first line of a proof.
const PROOF_HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Octets of the longest proof that is read: hashes and headers besides a note.
pub const PROOF_LEN_MAX: usize = NOTE_LEN_MAX + 8192;

/// That a leaf is in a log: its index, the path, and the signed checkpoint the path leads to.
///
/// Made from parts or parsed; nothing is verified before [`TlogProof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Index of the leaf.
    pub index: u64,
    /// The inclusion proof, lowest sibling first.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as a note.
    pub checkpoint: String,
}

impl TlogProof {
    /// The text of the proof.
    pub fn to_text(&self) -> String {
        format!("{PROOF_HEADER}\nindex {}\n{}\n{}", self.index, format_hashes(&self.path), self.checkpoint)
    }

    /// Reads the text of a proof. The optional line `extra` is refused: this log's proofs have none, and nothing would
    /// authenticate it.
    ///
    /// # Errors
    /// [`ReceiptError::Proof`] names what is malformed. The checkpoint is only looked at by [`TlogProof::verify`].
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > PROOF_LEN_MAX {
            return Err(ReceiptError::Proof("is too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ReceiptError::Proof("has no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(PROOF_HEADER) {
            return Err(ReceiptError::Proof("does not begin with `c2sp.org/tlog-proof@v1`"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or(ReceiptError::Proof("does not state the index as a plain number"))?;
        let path = read_hashes(lines)?;
        Ok(Self { index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that the leaf with that hash is in a log whose checkpoint the pinned keys signed, and gives the checkpoint.
    ///
    /// # Errors
    /// [`ReceiptError`] where the note is not accepted or the path does not lead to its root.
    pub fn verify(&self, leaf: &Hash, pinned: &[Verifier]) -> Result<SignedCheckpoint, ReceiptError> {
        let signed = Checkpoint::open(self.checkpoint.as_bytes(), pinned)?;
        let Checkpoint { size, root, .. } = &signed.checkpoint;
        verify_inclusion(leaf, self.index, *size, &self.path, root)?;
        Ok(signed)
    }
}

/// The hashes of a proof, one base64 a line, each line with its newline: the form of consistency proofs.
pub fn format_hashes(proof: &[Hash]) -> String {
    proof.iter().map(|hash| format!("{hash}\n")).collect()
}

/// Reads what [`format_hashes`] wrote; the proof without hashes is the empty text.
///
/// # Errors
/// [`ReceiptError::Proof`] where a line is not a hash, the last has no newline, or there are more than
/// [`PROOF_HASHES_MAX`].
pub fn parse_hashes(text: &str) -> Result<Vec<Hash>, ReceiptError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    read_hashes(text.strip_suffix('\n').ok_or(ReceiptError::Proof("does not end in a newline"))?.split('\n'))
}

fn read_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, ReceiptError> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == PROOF_HASHES_MAX {
            return Err(ReceiptError::Proof("has too many hashes"));
        }
        hashes.push(line.parse().ok().ok_or(ReceiptError::Proof("has a line that is not a hash"))?);
    }
    Ok(hashes)
}

/// What the answer to a change carries: proof, for whoever keeps it, that the log says so for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Origin of the log.
    pub log: String,
    /// Index of the entry.
    pub index: u64,
    /// Base64 of the exact octets of the entry.
    pub leaf: String,
    /// Inclusion proof and signed checkpoint, as C2SP tlog-proof v1 text.
    pub proof: String,
}

impl Receipt {
    /// The receipt of a leaf.
    pub fn new(log: &str, leaf: &[u8], proof: &TlogProof) -> Self {
        Self { log: log.to_owned(), index: proof.index, leaf: STANDARD.encode(leaf), proof: proof.to_text() }
    }

    /// Checks the receipt against pinned keys: leaf to path, path to root, root to signature; that all parts name the same
    /// log and index; and that the leaf is an entry which says it stands there.
    ///
    /// # Errors
    /// [`ReceiptError`] names the first part that does not fit.
    pub fn verify(&self, pinned: &[Verifier]) -> Result<VerifiedReceipt, ReceiptError> {
        // Four base64 digits for each three octets.
        if self.leaf.len() > LEAF_LEN_MAX.div_ceil(3) * 4 {
            return Err(LeafError::TooLong { len: self.leaf.len() / 4 * 3 }.into());
        }
        let leaf = STANDARD.decode(&self.leaf).map_err(ReceiptError::Base64)?;
        let proof = TlogProof::parse(&self.proof)?;
        if proof.index != self.index {
            return Err(ReceiptError::Index { stated: self.index, found: proof.index });
        }
        let hash = leaf_hash(&leaf);
        let signed = proof.verify(&hash, pinned)?;
        if signed.checkpoint.origin != self.log {
            return Err(ReceiptError::Log { stated: self.log.clone(), found: signed.checkpoint.origin });
        }
        let entry = Entry::parse(&leaf)?;
        if entry.seq != self.index {
            return Err(ReceiptError::Index { stated: self.index, found: entry.seq });
        }
        Ok(VerifiedReceipt { entry, leaf, leaf_hash: hash, signed })
    }
}

/// What a verified receipt proves.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedReceipt {
    /// The entry.
    pub entry: Entry,
    /// Its exact octets.
    pub leaf: Vec<u8>,
    /// Their leaf hash.
    pub leaf_hash: Hash,
    /// The checkpoint that covers it, with the signatures that were verified.
    pub signed: SignedCheckpoint,
}

/// Why a proof or receipt proves nothing.
#[derive(Debug, Error)]
pub enum ReceiptError {
    /// The proof's text is malformed.
    #[error("proof {0}")]
    Proof(&'static str),
    /// The leaf is not base64.
    #[error("leaf of the receipt is not base64")]
    Base64(#[source] base64::DecodeError),
    /// The leaf is not a canonical entry.
    #[error("leaf of the receipt is not an entry")]
    Leaf(#[from] LeafError),
    /// The checkpoint is not accepted.
    #[error("checkpoint of the proof is not accepted")]
    Note(#[from] NoteError),
    /// The path does not lead from the leaf to the root.
    #[error("leaf is not proved to be in the log")]
    Inclusion(#[from] ProofError),
    /// Two parts name different indices.
    #[error("receipt is for index {stated}, but a part of it for {found}")]
    Index {
        /// The index the receipt states.
        stated: u64,
        /// The index its proof or its entry states.
        found: u64,
    },
    /// The checkpoint is of another log.
    #[error("receipt is for log `{stated}`, its checkpoint for `{found}`")]
    Log {
        /// The log the receipt states.
        stated: String,
        /// The origin of its checkpoint.
        found: String,
    },
}
