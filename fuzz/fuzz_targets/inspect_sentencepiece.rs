//! Feeds `tests::fuzz::inspect_sentencepiece`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_sentencepiece(octets));
