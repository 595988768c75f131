//! Feeds `tests::fuzz::tus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::tus(octets));
