//! Settings of the drop folder. Knows their grammar; refuses to know what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use common::name::UserName;
use common::role::Role;

/// The drop folder's settings; there is one where `MREG_DROP_DIR` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropFolder {
    /// `MREG_DROP_DIR`: the folder; absolute.
    pub dir: PathBuf,
    /// `MREG_DROP_SETTLE`: how long a file must rest, 0.1 s to an hour.
    pub settle: Duration,
    /// `MREG_DROP_POLL`: how often the folder is walked; none: 60 s where the kernel tells of changes, else 5 s.
    pub poll: Option<Duration>,
    /// `MREG_DROP_EVENTS`: whether the kernel's events are used; `false` for file systems that have none.
    pub events: bool,
    /// `MREG_DROP_USERS`: who acts for files of a user of the machine, by uid.
    pub users: BTreeMap<u32, UserName>,
    /// `MREG_DROP_ROLE`: the role of `watcher`, who acts for everybody else; none: their files are refused.
    pub role: Option<Role>,
    /// `MREG_DROP_NAMESPACES`: folders that are namespaces, made at start.
    pub namespaces: BTreeSet<String>,
    /// `MREG_DROP_DONE`: whether files are kept in `done/` once they are in the registry.
    pub keep_done: bool,
    /// `MREG_DROP_PARALLEL`: items at work at once, 1 to 32.
    pub parallel: usize,
}
