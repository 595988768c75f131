//! Feeds `tests::fuzz::inspect_pickle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_pickle(octets));
