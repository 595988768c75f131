//! Proofs that stand alone: inclusion proofs in the text of C2SP tlog-proof v1, and receipts (audit-log.md §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::audit::leaf::{Entry, LeafError};
use crate::audit::note::{Checkpoint, NoteError, Vkey, verify_checkpoint};
use crate::audit::tree::{Hash, HashError, Nodes, ProofError, inclusion_proof, leaf_hash, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The most hashes of an audit path.
const PATH_MAX: usize = 64;

/// Why a receipt or proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// The proof's text.
    #[error("the proof is malformed: {0}")]
    Form(&'static str),
    /// A hash of the path.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The checkpoint or its signature.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The path.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The leaf.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Index, log or leaf contradict each other.
    #[error("the receipt's {0} is not the proof's")]
    Contradiction(&'static str),
}

/// An inclusion proof with the checkpoint it is against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The leaf's index.
    pub index: u64,
    /// The audit path.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

impl InclusionProof {
    /// The text of C2SP tlog-proof v1.
    pub fn to_text(&self) -> String {
        let path: String = self.path.iter().map(|hash| format!("{hash}\n")).collect();
        format!("{HEADER}\nindex {}\n{path}\n{}", self.index, self.note)
    }

    /// The proof of such a text, in exactly that form.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let (head, note) = text.split_once("\n\n").ok_or(ReceiptError::Form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ReceiptError::Form("it is no tlog-proof of version 1"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(|index| index.parse().ok());
        let index = index.ok_or(ReceiptError::Form("no index"))?;
        let path = lines.take(PATH_MAX + 1).map(str::parse).collect::<Result<Vec<Hash>, _>>()?;
        if path.len() > PATH_MAX {
            return Err(ReceiptError::Form("too many hashes"));
        }
        let proof = Self { index, path, note: note.to_owned() };
        if proof.to_text() == text { Ok(proof) } else { Err(ReceiptError::Form("not in canonical form")) }
    }

    /// Checks that a leaf is at the index of a tree that one of the known keys has signed.
    pub fn verify(&self, leaf: Hash, known: &[Vkey]) -> Result<Checkpoint, ReceiptError> {
        let checkpoint = verify_checkpoint(&self.note, known)?;
        verify_inclusion(self.index, checkpoint.size, leaf, &self.path, checkpoint.root)?;
        Ok(checkpoint)
    }
}

/// Proof that an entry is in the log, checkable offline with the log's public key alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The log's name.
    pub log: String,
    /// The entry's index.
    pub index: u64,
    /// The exact octets of the leaf, standard base64.
    pub leaf: String,
    /// The inclusion proof, text of C2SP tlog-proof v1.
    pub proof: String,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// The entry.
    pub entry: Entry,
    /// A checkpoint whose tree has it.
    pub checkpoint: Checkpoint,
}

impl Receipt {
    /// Checks leaf, path, root and signature. Nothing but the known keys is trusted.
    pub fn verify(&self, known: &[Vkey]) -> Result<Proven, ReceiptError> {
        let leaf = STANDARD.decode(&self.leaf).map_err(|_not_base64| ReceiptError::Form("the leaf is not base64"))?;
        let proof = InclusionProof::parse(&self.proof)?;
        let checkpoint = proof.verify(leaf_hash(&leaf), known)?;
        let entry = Entry::parse(&leaf)?;
        if proof.index != self.index || entry.seq != self.index {
            return Err(ReceiptError::Contradiction("index"));
        }
        if checkpoint.origin != self.log {
            return Err(ReceiptError::Contradiction("log"));
        }
        Ok(Proven { entry, checkpoint })
    }
}

/// The receipt of a leaf against a checkpoint of `size` leaves.
pub fn receipt<N: Nodes>(
    origin: &str,
    index: u64,
    leaf: &[u8],
    size: u64,
    note: &str,
    nodes: &N,
) -> Result<Receipt, N::Error> {
    let proof = InclusionProof { index, path: inclusion_proof(index, size, nodes)?, note: note.to_owned() };
    Ok(Receipt { log: origin.to_owned(), index, leaf: STANDARD.encode(leaf), proof: proof.to_text() })
}
