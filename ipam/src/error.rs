//! What can be wrong with pools, blocks and requests, in words for the person who asked.

use std::net::IpAddr;

use crate::cidr::{Cidr, Family};
use crate::lease::Owner;

/// Why a pool cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The name is empty.
    #[error("a pool has no name")]
    NoName,
    /// Neither family has a range.
    #[error("pool `{pool}` has no address range: give it an IPv4 or IPv6 network, or both")]
    Empty {
        /// The pool.
        pool: String,
    },
    /// More than one range of a family.
    #[error(
        "pool `{pool}` has two {} ranges, {first} and {second}: make it two pools",
        first.family()
    )]
    TwoRanges {
        /// The pool.
        pool: String,
        /// One of them.
        first: Cidr,
        /// The other.
        second: Cidr,
    },
    /// An exclusion that excludes nothing.
    #[error("pool `{pool}` excludes {excluded}, which lies outside of it")]
    ExcludedOutside {
        /// The pool.
        pool: String,
        /// The exclusion.
        excluded: Cidr,
    },
    /// A block length out of range.
    #[error(
        "{cidr} cannot be cut in blocks of /{block_len}: choose a length between /{} and /{}",
        cidr.len(),
        cidr.family().bits()
    )]
    BlockLength {
        /// The range.
        cidr: Cidr,
        /// The length that was given.
        block_len: u8,
    },
}

/// Why a set of pools and blocks cannot be taken over. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Two pools share a name.
    #[error("two pools are named `{0}`")]
    PoolTwice(String),
    /// Two pools share addresses.
    #[error("pool `{first}` and pool `{second}` overlap: {overlap} belongs to both")]
    PoolsOverlap {
        /// One pool.
        first: String,
        /// The other pool.
        second: String,
        /// What they share.
        overlap: Cidr,
    },
    /// The block names a pool that is not there.
    #[error("block {block} belongs to pool `{pool}`, which does not exist")]
    NoSuchPool {
        /// The block.
        block: Cidr,
        /// The pool's name.
        pool: String,
    },
    /// The block is not part of its pool.
    #[error("block {block} lies outside pool `{pool}`")]
    OutsidePool {
        /// The block.
        block: Cidr,
        /// The pool's name.
        pool: String,
    },
    /// Two blocks share addresses.
    #[error("blocks {first} and {second} overlap")]
    BlocksOverlap {
        /// One block.
        first: Cidr,
        /// The other block.
        second: Cidr,
    },
}

/// Why a request got no address. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// This host has nothing to give.
    #[error("no pool is configured on this host: give it a block, or a pool to claim blocks from")]
    NoPool,
    /// The request names an unknown pool.
    #[error("there is no pool `{asked}`; this host knows {}", list(known))]
    UnknownPool {
        /// The name in the request.
        asked: String,
        /// All pools of this host.
        known: Vec<String>,
    },
    /// No block of the family, although the request insists on it.
    #[error(
        "an {family} address was asked for, but this host has no {family} block{}",
        of_pools(pools)
    )]
    NoBlock {
        /// The family.
        family: Family,
        /// The pools the request is limited to; empty for all.
        pools: Vec<String>,
    },
    /// Every usable address of the family is leased.
    #[error(
        "no {family} address is free{}: {leased} of {usable} are leased ({excluded} more are excluded, {closed} more are in blocks that take no new leases); \
         remove containers or add a block",
        of_pools(pools)
    )]
    Exhausted {
        /// The family.
        family: Family,
        /// The pools the request is limited to; empty for all.
        pools: Vec<String>,
        /// Leased addresses in open blocks.
        leased: u128,
        /// Usable addresses in open blocks.
        usable: u128,
        /// Excluded addresses in open blocks.
        excluded: u128,
        /// Addresses in blocks that are draining or closed.
        closed: u128,
    },
    /// The static address belongs to no block of this host.
    #[error(
        "{address} cannot be given out here: it is in none of this host's blocks ({})",
        list(blocks)
    )]
    NotInBlock {
        /// The address.
        address: IpAddr,
        /// The blocks of this host that the request may use.
        blocks: Vec<Cidr>,
    },
    /// The static address is in a block that takes no new leases.
    #[error("{address} cannot be given out: its block {block} takes no new leases")]
    BlockClosed {
        /// The address.
        address: IpAddr,
        /// Its block.
        block: Cidr,
    },
    /// The static address is excluded.
    #[error("{address} cannot be given out: pool `{pool}` excludes it")]
    Excluded {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: String,
    },
    /// The static address belongs to somebody else.
    #[error("{address} is already leased to {holder} (network `{network}`)")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: Owner,
        /// For which network.
        network: String,
    },
    /// Two static addresses of one family.
    #[error(
        "more than one {family} address was asked for ({first} and {second}): an interface gets one of each family"
    )]
    TwoAddresses {
        /// The family.
        family: Family,
        /// One of them.
        first: IpAddr,
        /// The other.
        second: IpAddr,
    },
    /// The owner already has addresses that do not suit the request.
    #[error(
        "{owner} already has {} in network `{network}`, which is not what is asked for now: delete it first",
        list(addresses)
    )]
    Different {
        /// The owner.
        owner: Owner,
        /// What it has.
        addresses: Vec<IpAddr>,
        /// For which network.
        network: String,
    },
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn of_pools(pools: &[String]) -> String {
    match pools {
        [] => String::new(),
        [one] => format!(" in pool `{one}`"),
        many => format!(" in the pools {}", list(many)),
    }
}
