//! Feeds `tests::fuzz::note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::note(octets));
