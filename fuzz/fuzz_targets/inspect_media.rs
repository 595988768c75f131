//! Feeds `tests::fuzz::inspect_media`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_media(octets));
