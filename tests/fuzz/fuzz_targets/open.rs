//! Octets as the body of an OPEN.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_bgp_core::wire::fuzz::open(data));
