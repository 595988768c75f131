//! MessagePack: what real files are, what is told of others, and that no octets make the reader panic.

use proptest::prelude::{any, proptest};

use crate::inspect::probe::{assert_clean, assert_found, looked_at};
use crate::inspect::{Format, Level};

/// A map of parameters with an array of Flax's type.
const FLAX: &[u8] = include_bytes!("../../../../fuzz/corpus/inspect_msgpack/flax");

#[test]
fn parameters_are_walked_to_their_end() {
    let inspection = assert_clean(FLAX, "m.msgpack");
    assert_eq!(inspection.format, Format::Msgpack);
    assert_eq!(inspection.facts.values["arrays"], 1);
    assert_found(&[FLAX, b"\xff\xff\xff"].concat(), "m.msgpack", "trailing.data", Level::Suspicious);
}

#[test]
fn what_is_no_sound_document_is_told() {
    for end in 1..FLAX.len() {
        assert_found(&FLAX[..end], "m.msgpack", "msgpack.broken", Level::Unscannable);
    }
    for octets in [
        &b"\xc1\xff"[..],
        b"\xdd\xff\xff\xff\xff\xc0",
        b"\xdf\xff\xff\xff\xff\xc0",
        b"\xc6\xff\xff\xff\xff\0",
        &[0x91; 10_000],
    ] {
        assert_found(octets, "m.msgpack", "msgpack.broken", Level::Unscannable);
    }
    assert_found(b"\x92\xc0\xd4\x07\xff", "m.msgpack", "msgpack.extension", Level::Note);
}

#[test]
fn a_pickle_in_it_is_looked_into() {
    let pickle = b"\x80\x04cos\nsystem\n\x8c\x04true\x85R.";
    let octets = [&b"\x81\xa4data\xc4"[..], &[u8::try_from(pickle.len()).unwrap_or_default()], pickle].concat();
    assert!(!looked_at(&octets, "m.msgpack").findings.is_empty());
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        looked_at(&octets, "m.msgpack");
        looked_at(&[&b"\xdc\xff\xff"[..], &octets].concat(), "m.msgpack");
    }
}
