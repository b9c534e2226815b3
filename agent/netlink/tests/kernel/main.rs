//! The package against the kernel it runs on. Each test is a thread with a network namespace of
//! its own, so they run side by side and leave nothing behind. They need root: without it they
//! are skipped and say so; in CI that is a failure.

mod batches;
mod dumps;
mod fake;
mod links;
mod lookup;
mod monitor;
mod namespace;
mod nft;
mod routes;
