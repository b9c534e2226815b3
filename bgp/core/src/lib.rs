//! The pure BGP machine of Wayleave: messages, sessions, the RIB and the fan-out to peers.
//!
//! The contract of this package, kept by its dependencies and its lints:
//!
//! - it is deterministic: the same inputs at the same [`Time`]s give the same outputs, so that a
//!   run can be simulated on a virtual clock, fuzzed, and replayed from a seed;
//! - it contains no networking code, starts no thread and takes no time from the system: the
//!   caller (the *driver*) hands in the time and the bytes, and carries out what it is told;
//! - nothing it is given makes it panic: a peer's bytes end in a value or in a typed error.
//!
//! [`Speaker`] is the machine a driver runs. Everything else is public so that tools (decoding,
//! fuzzing, tests) can use the same code as a live session.

pub mod attributes;
pub mod config;
pub mod feed;
mod limits;
pub mod message;
pub mod mrt;
pub mod news;
mod out;
pub mod policy;
mod rib;
mod session;
mod speaker;
pub mod types;
pub mod view;
pub mod wire;

pub use limits::Limits;
pub use session::{ConnId, Down};
pub use speaker::{Action, BfdReport, ConnInfo, FeedId, QueryError, RefreshRefused, Speaker};
pub use types::{
    Asn, Community, Family, Ipv4Prefix, Ipv6Prefix, LargeCommunity, Prefix, RouterId, Time,
};
