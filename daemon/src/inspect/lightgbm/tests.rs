//! LightGBM: what real models are, what is told of others, and that no octets make the reader panic.

use proptest::prelude::proptest;

use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
use crate::inspect::{Format, Level};

/// By LightGBM: one tree.
const MODEL: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_lightgbm/regression");

#[test]
fn a_model_is_walked_to_its_end_and_described() {
    let inspection = assert_clean(MODEL, "m.txt");
    assert_eq!(inspection.format, Format::Lightgbm);
    assert_eq!(inspection.facts.values["objective"], "regression");
    assert_eq!(inspection.facts.values["max_feature_idx"], "1");
    assert_eq!(inspection.facts.values["trees"], 1);
    let without_end = MODEL.strip_suffix(b"\n").unwrap_or(MODEL);
    assert_clean(without_end, "m.txt");
}

#[test]
fn what_goes_on_as_something_else_is_told() {
    assert_found(&[MODEL, b"import os\n"].concat(), "m.txt", "lightgbm.broken", Level::Unscannable);
    assert_found(b"tree\nversion=v4\nnum_class=1\nimport os\n", "m.txt", "lightgbm.broken", Level::Unscannable);
    assert_found(&MODEL[..MODEL.len() / 2], "m.txt", "lightgbm.broken", Level::Unscannable);
    let long = [&b"tree\nversion=v4\n"[..], &[b'x'; 100_000]].concat();
    assert_found(&long, "m.txt", "lightgbm.broken", Level::Unscannable);
}

proptest! {
    #[test]
    fn no_mutation_of_a_model_makes_it_panic(mutation in mutations()) {
        looked_at(&mutated(MODEL, &mutation), "m.txt");
    }
}
