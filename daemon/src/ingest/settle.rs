//! When something is complete. A pure state machine: it is told what a look showed and what time it is, and says when to
//! look again or that it is time to take the thing. Knows fingerprints and instants; refuses to know files.

use std::time::{Duration, Instant};

use crate::ingest::lanes::Seen;

/// What a settle is to come to know of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What is there: size, times, inode; for a folder, of all that is in it.
    pub seen: Seen,
    /// Its sidecars, in the same way: one that changes makes the item wait anew.
    pub beside: Vec<Seen>,
    /// Whether somebody has it open for writing; unknown where the file system can't tell.
    pub writer: Writer,
}

/// Whether somebody has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody.
    None,
    /// Somebody.
    Some,
    /// The file system, or our rights, can't tell.
    Unknown,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again then; until then it waits for this.
    Wait {
        /// When.
        until: Instant,
        /// For what, as a sentence.
        reason: String,
    },
    /// It is complete.
    Ready,
}

/// How long things must rest.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// Where it can be told whether somebody has the file open for writing.
    pub sure: Duration,
    /// Where it can't.
    pub unsure: Duration,
}

/// One thing that may become complete.
#[derive(Debug)]
pub struct Settling {
    look: Look,
    since: Instant,
}

impl Settling {
    /// Begins with a first look.
    pub fn new(look: Look, now: Instant) -> Self {
        Self { look, since: now }
    }

    /// Another look. A change starts the rest anew.
    pub fn look(&mut self, look: Look, now: Instant, rest: Rest) -> Verdict {
        todo!("{look:?} {now:?} {rest:?} {:?} {:?}", self.look, self.since)
    }
}
