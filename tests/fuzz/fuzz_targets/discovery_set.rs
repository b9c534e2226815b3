//! Octets as a route's set of large communities, put in a catalog.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_discovery::fuzz::communities(data));
