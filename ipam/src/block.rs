//! Blocks: the parts of the pools that belong to this host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::error::BlockError;
use crate::pool::Pool;

/// A prefix out of which this host hands out addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    /// The prefix; announced as one route while the block is not [`BlockState::Closed`].
    pub cidr: Cidr,
    /// The pool it belongs to.
    pub pool: String,
    /// How it came to this host.
    pub origin: Origin,
    /// Whether new leases may come from it.
    pub state: BlockState,
}

/// How a block came to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Given in the configuration.
    Static,
    /// Claimed over BGP.
    Claimed {
        /// The claim's epoch.
        epoch: u32,
    },
}

/// What may be done with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockState {
    /// Leases come from it and its route is announced.
    Open,
    /// No new lease; what is leased stays, and the route stays announced.
    Draining,
    /// No new lease and no route for the block: leased addresses are announced one by one.
    Closed,
}

impl Block {
    /// An open block given in the configuration.
    pub fn fixed(pool: impl Into<String>, cidr: Cidr) -> Self {
        Self {
            cidr,
            pool: pool.into(),
            origin: Origin::Static,
            state: BlockState::Open,
        }
    }
}

/// The blocks by prefix; each must lie in its pool and none in another.
pub(crate) fn checked_blocks(
    pools: &BTreeMap<String, Pool>,
    blocks: Vec<Block>,
) -> Result<BTreeMap<Cidr, Block>, BlockError> {
    let mut by_cidr: BTreeMap<Cidr, Block> = BTreeMap::new();
    for block in blocks {
        let Some(pool) = pools.get(&block.pool) else {
            return Err(BlockError::NoSuchPool {
                block: block.cidr,
                pool: block.pool,
            });
        };
        if !pool.covers(&block.cidr) {
            return Err(BlockError::OutsidePool {
                block: block.cidr,
                pool: block.pool,
            });
        }
        if let Some(first) = by_cidr
            .keys()
            .copied()
            .find(|other| other.overlaps(&block.cidr))
        {
            return Err(BlockError::BlocksOverlap {
                first,
                second: block.cidr,
            });
        }
        by_cidr.insert(block.cidr, block);
    }
    Ok(by_cidr)
}
