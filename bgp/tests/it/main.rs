//! The driver over real sockets of the loopback interface.

#![allow(clippy::unwrap_used, missing_docs)]

mod attempts;
mod feed;
mod listening;
mod readers;
