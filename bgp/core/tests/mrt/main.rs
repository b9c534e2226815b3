//! MRT from outside: records octet by octet, what others write, and what holds of any octets.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "these are tests, helpers included: a failed unwrap is a failed test"
)]

mod build;
mod entries;
mod faults;
mod octets;
mod properties;
