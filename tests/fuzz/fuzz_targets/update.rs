//! Octets as the body of an UPDATE, behind one that says what was negotiated.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_bgp_core::wire::fuzz::update(data));
