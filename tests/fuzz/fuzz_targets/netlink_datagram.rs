//! Octets as a datagram of the kernel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wayleave_netlink::fuzz::datagram(data));
