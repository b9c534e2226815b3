//! Octets as packets on the CNI socket, at either end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_cni::fuzz::frames(data));
