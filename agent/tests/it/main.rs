//! The agent from outside: configuration goldens, the API over a real socket, the real binaries.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "these are tests, helpers included: a failed unwrap is a failed test"
)]

mod api;
mod bgp;
mod config;
mod daemon;
mod documents;
mod host;
mod mrt;
mod namespace;
mod pages;
mod place;
mod policy;
mod transcripts;
