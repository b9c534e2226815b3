//! Service discovery of Wayleave as pure data: no socket, no task, no clock.
//!
//! The wire truth of discovery is a set of BGP large communities on host routes. This package turns what
//! a host has registered into such sets and what the routing table holds into answers:
//!
//! ```text
//!  register, deregister, health ─▶ registry ─▶ Endpoint ─▶ codec ─▶ large communities ─▶ (BGP)
//!  (BGP) ─▶ large communities ─▶ codec ─▶ Announcement ─▶ judge ─▶ catalog ─▶ answers (DNS), resolve (API)
//! ```
//!
//! Everything is deterministic: time is an argument ([`Time`]), randomness is a seed, and no iteration over a
//! hash map reaches an output. The daemon owns the sockets and drives these machines.

pub mod answers;
pub mod catalog;
pub mod codec;
pub mod community;
pub mod fuzz;
pub mod health;
pub mod judge;
pub mod names;
pub mod registry;
mod seed;
mod time;

pub use time::Time;
