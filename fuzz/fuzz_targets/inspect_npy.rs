//! Feeds `tests::fuzz::inspect_npy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_npy(octets));
