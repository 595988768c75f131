//! Feeds `tests::fuzz::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::certificate(octets));
