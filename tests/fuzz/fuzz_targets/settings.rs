//! Octets as a configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_agent::fuzz::settings(data));
