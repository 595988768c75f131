//! TensorFlow Lite: what each trick is called, what real models are, and that no octets make the reader panic.

use proptest::prelude::proptest;

use crate::inspect::Level;
use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};

/// By TensorFlow's converter: a model whose one operator is `FlexReadFile`.
const FLEX: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_tflite/flex");

/// The same model with another operator of the same length of name.
fn with(operator: &[u8; 12]) -> Vec<u8> {
    let at = FLEX.windows(12).position(|octets| octets == b"FlexReadFile").unwrap_or_default();
    [&FLEX[..at], operator, &FLEX[at + 12..]].concat()
}

#[test]
fn operators_are_judged_by_name() {
    assert_found(FLEX, "m.tflite", "tflite.flex", Level::Suspicious);
    assert_found(&with(b"FlexUnheard0"), "m.tflite", "tflite.flex", Level::Suspicious);
    assert_found(&with(b"MyShellOpXYZ"), "m.tflite", "tflite.custom", Level::Suspicious);
    let facts = assert_clean(&with(b"FlexIdentity"), "m.tflite").facts;
    assert_eq!(facts.values["inputs"][0]["dtype"], "STRING");
}

#[test]
fn what_leads_nowhere_is_told() {
    for end in 40..FLEX.len() - 1 {
        let inspection = looked_at(&FLEX[..end], "m.tflite");
        let found = inspection.findings.iter().any(|finding| finding.level >= Level::Suspicious);
        assert!(found, "{end}: {inspection:?}");
    }
    // No operators at all; a version that no runtime reads.
    let empty = b"\x10\0\0\0TFL3\0\0\0\0\x04\0\x04\0\x04\0\0\0\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_found(empty, "m.tflite", "tflite.broken", Level::Unscannable);
}

proptest! {
    #[test]
    fn no_mutation_of_a_model_makes_it_panic(mutation in mutations()) {
        looked_at(&mutated(FLEX, &mutation), "m.tflite");
    }
}
