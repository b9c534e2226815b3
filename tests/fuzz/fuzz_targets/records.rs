//! Octets as a record of the store.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_agent::fuzz::records(data));
