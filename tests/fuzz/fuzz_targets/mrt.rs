//! Octets as they come from an MRT file, and as the attributes of a path that is written into one.
#![no_main]

use wayleave_bgp_core::mrt::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::records(data);
    fuzz::attributes(data);
});
