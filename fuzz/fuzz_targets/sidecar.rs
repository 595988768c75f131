//! Feeds `tests::fuzz::sidecar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::sidecar(octets));
