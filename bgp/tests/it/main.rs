//! The driver over real sockets of the loopback interface, and what is said of it and of the machine.

#![allow(clippy::unwrap_used, missing_docs)]

mod attempts;
mod feed;
mod listening;
mod readers;
mod standards;
