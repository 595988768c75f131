//! Feeds `tests::fuzz::inspect_yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_yaml(octets));
