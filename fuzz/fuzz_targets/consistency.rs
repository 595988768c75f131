//! Feeds `tests::fuzz::consistency`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::consistency(octets));
