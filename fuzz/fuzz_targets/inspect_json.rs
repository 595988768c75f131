//! Feeds `tests::fuzz::inspect_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_json(octets));
