//! Feeds `tests::fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::record(octets));
