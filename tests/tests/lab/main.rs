//! The topology tests: one binary, a module per suite. Every test runs in a world of its own.

mod bad_input;
mod bfd;
mod containers;
mod fabric;
mod frr_and_bird;
mod interop;
mod malformed;
mod many;
mod middle;
mod names;
mod next_hops;
mod oracle;
mod peering;
mod policy;
mod protocol;
mod restarts;
mod scripted;
mod secured;
mod services;
mod two_routers;
mod unnumbered;
mod ways;
mod world;
