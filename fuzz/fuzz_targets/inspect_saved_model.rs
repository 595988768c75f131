//! Feeds `tests::fuzz::inspect_saved_model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_saved_model(octets));
