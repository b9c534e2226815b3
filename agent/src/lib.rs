//! The Wayleave agent: the daemon `wayleaved` and the command `wayleave`.
//!
//! One owner per piece of state, joined by the messages of [`event`], which has the picture. What
//! lasts and is wrong stands in one table ([`problem`]); the edges ([`api`], the CNI socket) ask
//! and wait for an answer, nobody else does.

pub mod api;
pub mod attach;
pub mod catalog;
pub mod cli;
pub mod cni_server;
pub mod config;
pub mod daemon;
pub mod dns;
pub mod event;
pub mod fib;
pub mod fuzz;
pub mod health;
pub mod log;
pub mod neighbor;
pub mod problem;
pub mod registry;
pub mod rfc3339;
pub mod store;
pub mod text;
