//! Octets as the life of a speaker: what its neighbours say, how time passes, what operators do.
#![no_main]

#[path = "../../../bgp/core/tests/machine/fuzz_session/mod.rs"]
#[allow(dead_code, reason = "what its tests use, and the seeds")]
mod fuzz_session;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_session::fuzz_one(data));
