//! The audit log, as anyone can re-compute it: entries and their octets, the tree over them, checkpoints, proofs.
//!
//! Knows every format that crosses a boundary and how to verify it. Everything here is a pure function: no files, no clock,
//! no randomness, no network. Refuses to know where a log is kept, when it is written, and who may read it.
//!
//! From an operation to something its caller can keep for years:
//!
//! 1. [`Entry`] says what was done; [`Entry::to_leaf`] gives its only octets, the *leaf*.
//! 2. [`leaf_hash`] and [`Frontier`] put it into the Merkle tree; [`TilePath`] names the pieces the tree is served in.
//! 3. [`Checkpoint`] is the tree's size and root, signed as a note by a [`Signer`].
//! 4. [`inclusion_proof`] and the note make a [`TlogProof`]; with the leaf it is a [`Receipt`].
//!
//! A whole log is verified as it streams by, in [`verify`].
//!
//! Verifying a receipt goes the other way, and needs nothing but the log's public key:
//!
//! ```
//! use common::audit::{Action, Receipt, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let vectors: serde_json::Value =
//! #     serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/audit-log-vectors.json")))?;
//! # let answer = vectors["receipt_index2_size5"].to_string();
//! // The key was handed over once, by a way that does not lead through the daemon.
//! let vkey: Verifier = "registry.example/log+952bc5e7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4".parse()?;
//! // The receipt came in the answer to an upload.
//! let receipt: Receipt = serde_json::from_str(&answer)?;
//!
//! let verified = receipt.verify(&[vkey])?;
//! assert_eq!(verified.entry.action, Action::ModelUpload);
//! assert_eq!(verified.entry.actor.name.as_deref(), Some("alice"));
//! assert_eq!(verified.signed.checkpoint.size, 5);
//! # Ok(())
//! # }
//! ```

// What is written down, and its octets.
mod action;
mod canonical;
mod leaf;
mod timestamp;

pub use action::{ACTION_LEN_MAX, Action, OtherAction};
pub use canonical::{DEPTH_MAX, INTEGER_MAX, canonical_json};
pub use leaf::{
    Actor, ActorKind, ENTRY_VERSION, Entry, LEAF_LEN_MAX, LeafError, Outcome, RequestInfo, Target, USER_AGENT_LEN_MAX,
};
pub use timestamp::{format_timestamp, parse_timestamp};

// The tree over the leaves, and the pieces it is served in.
mod tile;
mod tree;

pub use tile::{
    BUNDLE_LEAF_MAX, BundleError, BundlePath, TILE_LEVEL_MAX, TILE_NUMBER_MAX, TILE_WIDTH, TileNodes, TilePath,
    TilePathError, TileResource, cut_bundle, parse_decimal, push_leaf, read_bundle,
};
pub use tree::{
    Frontier, FrontierError, HASH_LEN, Hash, HashError, Nodes, PROOF_HASHES_MAX, ProofError, ProveError, TREE_SIZE_MAX,
    consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root_at, root_of, verify_consistency,
    verify_inclusion,
};

// Who stands for the tree, and what a caller keeps.
mod note;
mod policy;
mod proof;

pub use note::{
    Checkpoint, Cosigner, Ed25519Signer, KeyError, KeyId, KeyType, NOTE_LEN_MAX, Note, NoteError, SIGNATURES_MAX,
    SignError, SignedCheckpoint, Signer, VerifiedSignature, Verifier, is_key_name,
};
pub use policy::{
    POLICY_ITEMS_MAX, POLICY_LEN_MAX, Policy, PolicyLog, PolicyMistake, PolicyMistakes, PolicyWitness, UnmetPolicy,
    Witnessed,
};
pub use proof::{PROOF_LEN_MAX, Receipt, ReceiptError, TlogProof, VerifiedReceipt, format_hashes, parse_hashes};

// A whole log at once.
pub mod verify;
