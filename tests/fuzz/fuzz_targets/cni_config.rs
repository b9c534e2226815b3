//! Octets as the network configuration of a CNI call.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_cni::fuzz::config(data));
