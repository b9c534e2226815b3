//! The policy engine from outside: what rules mean, by tables that cite the texts they are after,
//! and what holds of every rule and every route.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "these are tests, helpers included: a failed unwrap is a failed test"
)]

mod meaning;
mod properties;
mod route;
