//! The kernel's hints that something changed in the folders (notify). A hint is a folder or a place to look at; lost ones make
//! a walk. Knows events; refuses to know what they mean. The handler only fills a set; nobody waits for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;

/// What has happened since the hints were last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Names in watched folders to look at.
    pub names: BTreeSet<(PathBuf, OsString)>,
    /// Those of them that were moved in by a rename.
    pub moved_in: BTreeSet<(PathBuf, OsString)>,
    /// Events were lost: everything is to be walked.
    pub walk: bool,
    /// How often events were lost since start.
    pub overflows: u64,
}

/// Watches folders, without what is below them.
pub struct Watch {
    /// Told when there are hints.
    pub woken: Arc<Notify>,
}

impl Watch {
    /// Begins to watch; where the kernel has none of it, says why.
    pub fn new() -> Result<Self, String> {
        todo!()
    }

    /// Adds a folder.
    pub fn add(&mut self, folder: &std::path::Path) -> Result<(), String> {
        todo!("{folder:?}")
    }

    /// Takes a folder away that is gone.
    pub fn remove(&mut self, folder: &std::path::Path) {
        todo!("{folder:?}")
    }

    /// The hints since the last call.
    pub fn take(&self) -> Hints {
        todo!()
    }
}
