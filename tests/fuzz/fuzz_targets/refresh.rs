//! Octets as the body of a ROUTE-REFRESH.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_bgp_core::wire::fuzz::refresh(data));
