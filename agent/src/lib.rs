//! The Wayleave agent: the daemon `wayleaved` and the command `wayleave`.
//!
//! One owner per piece of state. What lasts and is wrong stands in one table ([`problem`]); the
//! edges ask and wait for an answer, nobody else does.

pub mod config;
pub mod log;
pub mod problem;
pub mod rfc3339;
pub mod store;
pub mod text;
