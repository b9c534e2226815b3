//! Pools, blocks and leases: who on this host has which address.
//!
//! A [`Pool`] is address space that belongs to the fabric. It is cut in *blocks*; a host owns some [`Block`]s and hands
//! out [`Lease`]s from its own blocks only, so that giving a container an address never waits on the network.
//! The [`Allocator`] holds the blocks and leases of one host.
//!
//! This package is pure: no input or output, no clock, no randomness, no iteration order that depends on a hash. What has
//! to be written down or announced is returned as [`Effect`]s; the caller carries them out. The order that keeps the
//! promises is: compute, make the effects durable, and only then tell anybody the address.
//!
//! # Which addresses of a block are used
//! Containers are attached by host routes (/32 and /128) over a routed link; there is no broadcast domain, hence no network
//! and no broadcast address: **every address of a block is usable**, `.0` and `.255` included. What must stay free is named in
//! [`Pool::excluded`].
//!
//! Not here yet: claims, by which a host takes and gives back blocks over BGP. A claimed block is an ordinary [`Block`] with
//! [`Origin::Claimed`]; its [`BlockState`] says whether new leases may come from it.

mod allocator;
mod block;
mod cidr;
mod error;
mod lease;
mod pool;
mod request;
mod space;

pub use allocator::{Allocator, Usage};
pub use block::{Block, BlockState, Origin};
pub use cidr::{Cidr, CidrError, Family};
pub use error::{AllocateError, BlockError, PoolError};
pub use lease::{BootId, Lease, Owner, ProofOfLife, Time};
pub use pool::{Pool, PoolRange};
pub use request::{Effect, Freed, Grant, Misfit, MisfitReason, Request, Wanted};
