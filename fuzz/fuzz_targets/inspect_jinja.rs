//! Feeds `tests::fuzz::inspect_jinja`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_jinja(octets));
