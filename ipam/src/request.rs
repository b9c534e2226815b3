//! What goes into the allocator and what comes out of it, as data.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::lease::{Lease, Owner, ProofOfLife, Time};

/// What has to be done about a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The caller should write the lease down under its address, replacing what is there, before it tells anybody.
    Persist(Lease),
    /// The caller should delete what is written down under the address.
    Forget(IpAddr),
    /// The caller should announce the prefix, once the kernel has its route (a blackhole for a block).
    Originate(Cidr),
    /// The caller should withdraw the prefix, then remove its route.
    Withdraw(Cidr),
}

/// What a container's interface needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The interface.
    pub owner: Owner,
    /// The network it joins.
    pub network: String,
    /// The pools to choose from, the preferred one first; empty for all.
    pub pools: Vec<String>,
    /// The families.
    pub wanted: Wanted,
    /// Addresses that must be given, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// What shows that the owner lives.
    pub alive: ProofOfLife,
    /// Now, on the clock of the boot in `alive`.
    pub now: Time,
}

/// The families a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// An address of every family for which this host has a block.
    #[default]
    Available,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both, or nothing.
    Both,
}

/// The addresses of an owner and what is to be done so that they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// One lease of each family, IPv4 first.
    pub leases: Vec<Lease>,
    /// What the caller should carry out; empty when nothing changed.
    pub effects: Vec<Effect>,
    /// Whether the owner had these addresses before.
    pub repeated: bool,
}

/// What an owner had and what is to be done about its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// The leases that ended; empty when there were none.
    pub leases: Vec<Lease>,
    /// What the caller should carry out.
    pub effects: Vec<Effect>,
}

/// A restored lease that does not suit the blocks. It is kept, because its container may live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The lease.
    pub lease: Lease,
    /// What is the matter with it.
    pub reason: MisfitReason,
}

/// What is the matter with a restored lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisfitReason {
    /// None of the blocks contains it. It is announced by a route of its own.
    #[error("it lies in none of this host's blocks")]
    OutsideBlocks,
    /// The pool excludes it by now.
    #[error("its pool excludes it")]
    Excluded,
    /// The records hold the address twice; the older one was kept.
    #[error("the records hold the address twice; only the older lease was kept")]
    Twice,
    /// The records hold two addresses of one family for the same interface.
    #[error("its interface has another address of the same family")]
    SecondOfFamily,
}
