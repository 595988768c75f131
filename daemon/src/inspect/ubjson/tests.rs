//! UBJSON: what real models are, what is told of others, and that no octets make the reader panic.

use proptest::prelude::{any, proptest};

use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
use crate::inspect::{Format, Level, Verdict};

/// By XGBoost: one tree of depth one.
const MODEL: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_ubjson/xgboost");

/// How a model begins.
const BEGINNING: &[u8] = b"{L\0\0\0\0\0\0\0\x07learner";

#[test]
fn a_model_is_walked_to_its_end_and_described() {
    let inspection = assert_clean(MODEL, "m.ubj");
    assert_eq!(inspection.format, Format::XgboostUbj);
    assert_eq!(inspection.facts.values["objective"], "reg:squarederror");
    assert_eq!(inspection.facts.values["num_feature"], "2");
    assert_eq!(inspection.facts.values["booster"], "gbtree");
    assert_found(&[MODEL, b"more"].concat(), "m.ubj", "trailing.data", Level::Suspicious);
}

#[test]
fn what_is_no_sound_document_is_told() {
    for end in BEGINNING.len()..MODEL.len() {
        assert_ne!(looked_at(&MODEL[..end], "m.ubj").verdict(), Verdict::Clean, "{end}");
    }
    for value in [
        &b"["[..],
        b"[$d",
        b"[$dL\0\0\0\0\0\0\0\x01",
        b"[$Z#L\x7f\0\0\0\0\0\0\0}",
        b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff}",
        b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff}",
        b"SL\xff\xff\xff\xff\xff\xff\xff\xff}",
        b"SL\x7f\xff\xff\xff\xff\xff\xff\xff}",
        b"Q}",
        b"{S}",
        &[b'['; 100_000],
    ] {
        let octets = [BEGINNING, value].concat();
        assert_found(&octets, "m.ubj", "ubjson.broken", Level::Unscannable);
    }
    for value in
        [&b"Z}"[..], b"[]}", b"[TTF]}", b"[NNi\x01N]N}", b"[$i#i\x03abc}", b"[#i\x01{}}", b"{#i\x01i\x01ai\x05}"]
    {
        assert_clean(&[BEGINNING, value].concat(), "m.ubj");
    }
}

proptest! {
    #[test]
    fn no_mutation_of_a_model_makes_it_panic(mutation in mutations()) {
        looked_at(&mutated(MODEL, &mutation), "m.ubj");
    }

    #[test]
    fn nor_does_any_value(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        looked_at(&[BEGINNING, &value].concat(), "m.ubj");
    }
}
