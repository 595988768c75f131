//! Feeds `tests::fuzz::drop_name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::drop_name(octets));
