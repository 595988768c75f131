//! Feeds `tests::fuzz::route`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::route(octets));
