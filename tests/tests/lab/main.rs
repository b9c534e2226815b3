//! The topology tests: one binary, a module per suite. Every test runs in a world of its own.

mod bad_input;
mod containers;
mod fabric;
mod frr_and_bird;
mod middle;
mod oracle;
mod peering;
mod services;
mod two_routers;
mod world;
