//! Feeds `tests::fuzz::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::policy(octets));
