//! Octets as a file of services.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_agent::fuzz::services(data));
