//! Octets that claim to be path attributes in canonical form.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_bgp_core::wire::fuzz::canonical(data));
