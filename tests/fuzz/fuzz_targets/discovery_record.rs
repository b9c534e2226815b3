//! Octets as the record of a route whose checksum is right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_discovery::fuzz::record(data));
