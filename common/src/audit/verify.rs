//! Verification of a whole log, as it streams by: pure functions in constant memory (audit-log.md §11).
//!
//! Two halves that share nothing, so that each may have a thread of its own, are fed the same bundles in order:
//!
//! - [`TreeCheck`] hashes the leaves, computes every tile of every level and the root from them, and compares each with
//!   what was served. Where two things contradict each other it asks the level above which of them is wrong.
//! - [`EntryCheck`] reads the entries: canonical octets, index, order of time, identifiers and salts that are never used
//!   twice, and that each entry names the one before it about the same subject.
//!
//! Knows what must hold, and says exactly where it does not: a [`Fault`] names resource, octets and entry. Refuses to know
//! where octets come from, which keys are pinned, and where memory ends: what must be remembered of every entry goes to a
//! [`Spill`] that the caller gives.

mod entries;
mod scan;
mod spill;
mod tree;

pub use entries::{EntryCheck, EntryFacts, Notable, origin_fault};
pub use spill::Spill;
pub use tree::{Asked, Served, TreeCheck, TreeFacts, edge_root};

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::audit::leaf::LeafError;
use crate::shown::shown;

/// Characters of the longest resource that is named: a file's path.
const RESOURCE_CHARS_MAX: usize = 1024;

/// Characters of the longest detail.
const DETAIL_CHARS_MAX: usize = 500;

/// What kind of thing is wrong. The names on the wire are stable: programs may tell by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A resource that the log must have could not be had.
    Missing,
    /// A resource has more or fewer octets than it must, or a bundle cannot be cut into its leaves.
    Length,
    /// A leaf does not have the hash that the tree has for it.
    Leaf,
    /// A tile has a hash that is not the one of what is below it.
    Tile,
    /// The tree does not have the root that was signed.
    Root,
    /// A leaf is not the canonical octets of an entry.
    Entry,
    /// An entry stands at another index than it says, or is earlier than the one before it.
    Order,
    /// An identifier or a salt was used before.
    Reused,
    /// An entry does not name the one before it about the same subject.
    Previous,
    /// The checkpoint is not signed by a pinned key, or not a checkpoint.
    Checkpoint,
    /// The log's first entry, or its origin, is not what it must be.
    Origin,
    /// A checkpoint that was kept is not of this log's past.
    Saved,
    /// A receipt does not prove what it should, or proves another log.
    Receipt,
    /// The newest entry, or the newest cosignature, is older than was asked for.
    Stale,
    /// Too few witnesses cosigned, or the wrong ones.
    Policy,
}

impl FaultKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Length => "length",
            Self::Leaf => "leaf",
            Self::Tile => "tile",
            Self::Root => "root",
            Self::Entry => "entry",
            Self::Order => "order",
            Self::Reused => "reused",
            Self::Previous => "previous",
            Self::Checkpoint => "checkpoint",
            Self::Origin => "origin",
            Self::Saved => "saved",
            Self::Receipt => "receipt",
            Self::Stale => "stale",
            Self::Policy => "policy",
        }
    }
}

/// One thing that is wrong, and where. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The resource, such as `tile/entries/005`, or the file.
    pub resource: String,
    /// Which octets of it, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub octets: Option<Range<u64>>,
    /// Which entry, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// What is wrong with it.
    pub detail: String,
}

impl Fault {
    /// A fault of a whole resource. What is said of it may come from a stranger: it is cut, and cannot steer a terminal.
    pub fn new(kind: FaultKind, resource: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            resource: shown(&resource.to_string(), RESOURCE_CHARS_MAX),
            octets: None,
            entry: None,
            detail: shown(&detail.to_string(), DETAIL_CHARS_MAX),
        }
    }

    /// The same, at these octets of it.
    #[must_use]
    pub fn at(mut self, octets: Range<u64>) -> Self {
        self.octets = Some(octets);
        self
    }

    /// The same, about this entry.
    #[must_use]
    pub fn of_entry(mut self, index: u64) -> Self {
        self.entry = Some(index);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if let Some(Range { start, end }) = &self.octets {
            write!(f, ", octets {start}..{end}")?;
        }
        if let Some(entry) = self.entry {
            write!(f, ", entry {entry}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Takes faults as they are found. A damaged log may have as many as it has entries: who listens bounds what it keeps.
pub type Report<'a> = &'a mut dyn FnMut(Fault);

/// What a tail must know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// The index that the entry says it has.
    pub seq: u64,
    /// Whether it names a new signing key, as done or as tried.
    pub rotates: bool,
}

/// Looks at a leaf without keeping it: whether it is the canonical octets of an entry, and what a tail must know of it.
///
/// # Errors
/// What is not as an entry is written.
pub fn glance(leaf: &[u8]) -> Result<Glance, LeafError> {
    let facts = scan::read(leaf)?;
    Ok(Glance { seq: facts.seq, rotates: facts.action == "log.key_rotate" })
}
