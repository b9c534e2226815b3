//! The configuration's pools and blocks, as the allocator takes them.

use wayleave_bgp_core::Prefix;
use wayleave_ipam::{Block, Cidr, CidrError, Family, Pool, PoolError, PoolRange};

use crate::config::{self, Config};

/// Why the address space in the configuration cannot be used. The configuration's own checks find
/// these first and name the line.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// A prefix is not one.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// A pool cannot be.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// The pools and this host's static blocks.
///
/// # Errors
/// When a pool's ranges or exclusions contradict each other.
pub fn pools_and_blocks(config: &Config) -> Result<(Vec<Pool>, Vec<Block>), SpaceError> {
    let pools = config.pools.iter().map(pool).collect::<Result<_, _>>()?;
    let blocks = config
        .blocks
        .iter()
        .map(|block| Ok(Block::fixed(&block.pool.value, cidr(block.prefix.value)?)))
        .collect::<Result<_, CidrError>>()?;
    Ok((pools, blocks))
}

fn pool(pool: &config::Pool) -> Result<Pool, SpaceError> {
    let mut ranges = Vec::new();
    for prefix in &pool.cidr.value {
        let cidr = cidr(*prefix)?;
        let block_len = match cidr.family() {
            Family::Ipv4 => pool.block.value,
            Family::Ipv6 => pool.block_ipv6.value,
        };
        // A pool smaller than one block is one block.
        ranges.push(PoolRange::new(cidr, block_len.max(cidr.len()))?);
    }
    let excluded = pool
        .exclude
        .value
        .iter()
        .map(|prefix| cidr(*prefix))
        .collect::<Result<_, _>>()?;
    Ok(Pool::new(&pool.name.value, ranges, excluded)?)
}

fn cidr(prefix: Prefix) -> Result<Cidr, CidrError> {
    Cidr::new(prefix.addr(), prefix.len())
}
