//! Octets as the payload of one netlink message of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_netlink::fuzz::message(data));
