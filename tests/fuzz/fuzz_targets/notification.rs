//! Octets as the body of a NOTIFICATION.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_bgp_core::wire::fuzz::notification(data));
