//! Feeds `tests::fuzz::leaf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::leaf(octets));
