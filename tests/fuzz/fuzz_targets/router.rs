//! Octets as a router advertisement or solicitation, its source and its hop limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_agent::neighbor::fuzz_one(data));
