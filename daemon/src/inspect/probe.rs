//! What tests of readers share: an inspection of octets, and mutations of samples.

use proptest::prelude::{Strategy, any};

use super::{Inspection, Level, Limits, Ruleset, Verdict, inspect};

/// An inspection with the rules and limits that are built in.
pub(super) fn looked_at(octets: &[u8], name: &str) -> Inspection {
    inspect(&octets, name, &Ruleset::default(), &Limits::default()).expect("octets in memory can be read")
}

/// Asserts that a file is not clean, and that this rule says so at this level.
#[track_caller]
pub(super) fn assert_found(octets: &[u8], name: &str, rule: &str, level: Level) {
    let inspection = looked_at(octets, name);
    let found = inspection.findings.iter().any(|finding| finding.rule == rule && finding.level == level);
    assert!(found, "no {rule} at the level {level:?} in {inspection:?}");
}

/// Asserts that nothing is found in a file, and hands out what was measured.
#[track_caller]
pub(super) fn assert_clean(octets: &[u8], name: &str) -> Inspection {
    let inspection = looked_at(octets, name);
    assert_eq!(inspection.verdict(), Verdict::Clean, "{inspection:?}");
    inspection
}

/// Changes of a sample: octets written over, and what is cut off.
pub(super) fn mutations() -> impl Strategy<Value = (Vec<(proptest::sample::Index, u8)>, Option<proptest::sample::Index>)>
{
    (
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        proptest::option::weighted(0.3, any::<proptest::sample::Index>()),
    )
}

/// A sample with such changes.
pub(super) fn mutated(
    sample: &[u8],
    (changes, cut): &(Vec<(proptest::sample::Index, u8)>, Option<proptest::sample::Index>),
) -> Vec<u8> {
    let mut octets = sample.to_vec();
    for (at, octet) in changes {
        let at = at.index(octets.len());
        octets[at] = *octet;
    }
    if let Some(cut) = cut {
        octets.truncate(cut.index(octets.len()));
    }
    octets
}
