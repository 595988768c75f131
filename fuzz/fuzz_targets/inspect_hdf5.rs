//! Feeds `tests::fuzz::inspect_hdf5`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::fuzz::inspect_hdf5(octets));
