//! The audit log as anyone can re-run it (audit-log.md): entries and their exact octets, the Merkle tree over them,
//! signed checkpoints, proofs and receipts. Pure functions: no files, no clock, no randomness.
//!
//! ```
//! use common::audit::{Receipt, Vkey};
//! let vectors: serde_json::Value = serde_json::from_str(include_str!("../testdata/audit-log-vectors.json")).unwrap();
//! let receipt: Receipt = serde_json::from_value(vectors["receipt_index2_size5"].clone()).unwrap();
//! let key: Vkey = vectors["key"]["vkey"].as_str().unwrap().parse().unwrap();
//! let proven = receipt.verify(&[key]).unwrap();
//! assert_eq!(proven.checkpoint.size, 5);
//! assert_eq!(proven.entry.action.as_str(), "model.upload");
//! ```

mod leaf;
mod note;
mod proof;
mod tree;

pub use leaf::{
    Action, Actor, ActorKind, Entry, INTEGER_MAX, LEAF_OCTETS_MAX, LeafError, Outcome, RequestInfo, Target,
    USER_AGENT_OCTETS_MAX, format_time, parse_time,
};
pub use note::{
    Checkpoint, FileKey, NAME_OCTETS_MAX, NOTE_OCTETS_MAX, NoteError, NoteSigner, SIGNATURES_MAX, Vkey, open_note,
    verify_checkpoint,
};
pub use proof::{InclusionProof, Proven, Receipt, ReceiptError, receipt};
pub use tree::{
    Frontier, Hash, HashError, Nodes, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash,
    root_at, verify_consistency, verify_inclusion,
};
