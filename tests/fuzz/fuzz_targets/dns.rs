//! Octets as a DNS request, and as what an upstream says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_agent::dns::fuzz_one(data));
