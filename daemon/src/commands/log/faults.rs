//! What was found wrong, gathered from several threads and told: one line for each, or JSON. Keeps as many as a person can
//! read, and counts the rest.

use std::collections::BTreeSet;
use std::sync::Mutex;

use common::audit::verify::{Fault, FaultKind};

/// Faults that are told one by one.
const KEPT_MAX: usize = 1000;

/// Faults, as they come.
#[derive(Default)]
pub(super) struct Faults(Mutex<Found>);

#[derive(Default)]
struct Found {
    kept: Vec<Fault>,
    more: u64,
}

impl Faults {
    /// Takes one.
    pub(super) fn add(&self, fault: Fault) {
        let mut found = self.0.lock().expect("no holder of the faults panics");
        if found.kept.len() < KEPT_MAX {
            found.kept.push(fault);
        } else {
            found.more += 1;
        }
    }

    /// The first, if there are more than so many.
    pub(super) fn first_of_more_than(&self, count: u64) -> Option<String> {
        let found = self.0.lock().expect("no holder of the faults panics");
        let kept = u64::try_from(found.kept.len()).unwrap_or(u64::MAX);
        let first = found.kept.first().filter(|_first| kept.saturating_add(found.more) > count);
        first.map(ToString::to_string)
    }

    /// All that were kept, and how many more there were. A leaf that is not what the tree has need not make sense: what is
    /// wrong with it as an entry is not told besides.
    pub(super) fn into_parts(self) -> (Vec<Fault>, u64) {
        let Found { kept, more } = self.0.into_inner().expect("no holder of the faults panics");
        let altered: BTreeSet<u64> =
            kept.iter().filter(|fault| fault.kind == FaultKind::Leaf).filter_map(|fault| fault.entry).collect();
        let of_altered = |fault: &Fault| {
            matches!(fault.kind, FaultKind::Entry | FaultKind::Order | FaultKind::Reused)
                && fault.entry.is_some_and(|entry| altered.contains(&entry))
        };
        (kept.into_iter().filter(|fault| !of_altered(fault)).collect(), more)
    }
}
