//! Feeds `tests::fuzz::tile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::tile(octets));
