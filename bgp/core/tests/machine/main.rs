//! Speakers on a virtual clock: sessions, routes, slow readers, restarts, and random histories.

#![allow(clippy::unwrap_used, missing_docs)]

mod fuzz_session;
mod history;
mod long_lived;
mod neighbours;
mod net;
mod policy;
mod ranges;
mod refresh;
mod restart;
mod resume;
mod routing;
mod script;
mod session;
mod standards;
mod storm;
mod unnumbered;
mod verdicts;
mod ways;
