//! Feeds `tests::fuzz::journal::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::journal::journal(octets));
