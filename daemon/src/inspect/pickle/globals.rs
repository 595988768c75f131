//! What is known of a global: the lists of scanning.md §4.3 and §4.4. Everything that names callables is judged here, pickles
//! as well as configurations.

use crate::inspect::rules::Ruleset;

/// How a global stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inspect) enum Standing {
    /// On the list: harmless where it is used as the list says.
    Allowed,
    /// A class of a known library.
    Library,
    /// On no list.
    Unknown,
    /// It runs code, reads or writes files, or reaches the network.
    Denied,
}

/// How `module` and `name` stand.
pub(in crate::inspect) fn standing(_rules: &Ruleset, _module: &str, _name: &str) -> Standing {
    Standing::Unknown
}
