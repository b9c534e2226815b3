//! Octets as a name that is asked for.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_discovery::fuzz::name(data));
