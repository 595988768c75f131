//! Feeds `tests::fuzz::forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::forwarded(octets));
