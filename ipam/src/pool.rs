//! Pools: the address space of the fabric, cut in blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cidr::{Cidr, Family};
use crate::error::{BlockError, PoolError};

/// Address space that containers of the fabric may have, the same on every host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    name: String,
    ranges: Vec<PoolRange>,
    excluded: Vec<Cidr>,
}

/// One family's part of a pool and the size of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRange {
    cidr: Cidr,
    block_len: u8,
}

impl Pool {
    /// A pool of at most one range per family, without the excluded prefixes.
    ///
    /// # Errors
    /// When there is no range, two ranges have the same family, or an exclusion lies in none of them.
    pub fn new(
        name: impl Into<String>,
        mut ranges: Vec<PoolRange>,
        mut excluded: Vec<Cidr>,
    ) -> Result<Self, PoolError> {
        let name = name.into();
        if name.is_empty() {
            return Err(PoolError::NoName);
        }
        ranges.sort_by_key(|range| range.cidr);
        if ranges.is_empty() {
            return Err(PoolError::Empty { pool: name });
        }
        for pair in ranges.windows(2) {
            if pair[0].family() == pair[1].family() {
                let (first, second) = (pair[0].cidr, pair[1].cidr);
                return Err(PoolError::TwoRanges {
                    pool: name,
                    first,
                    second,
                });
            }
        }
        excluded.sort_unstable();
        excluded.dedup();
        for exclusion in &excluded {
            if !ranges.iter().any(|range| range.cidr.overlaps(exclusion)) {
                return Err(PoolError::ExcludedOutside {
                    pool: name,
                    excluded: *exclusion,
                });
            }
        }
        Ok(Self {
            name,
            ranges,
            excluded,
        })
    }

    /// The pool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ranges, IPv4 first.
    #[must_use]
    pub fn ranges(&self) -> &[PoolRange] {
        &self.ranges
    }

    /// The range of one family.
    #[must_use]
    pub fn range(&self, family: Family) -> Option<&PoolRange> {
        self.ranges.iter().find(|range| range.family() == family)
    }

    /// Prefixes from which nobody gets an address, in order.
    #[must_use]
    pub fn excluded(&self) -> &[Cidr] {
        &self.excluded
    }

    /// Whether all of the prefix belongs to the pool.
    #[must_use]
    pub fn covers(&self, cidr: &Cidr) -> bool {
        self.ranges.iter().any(|range| range.cidr.covers(cidr))
    }
}

impl PoolRange {
    /// 64 addresses: /26 in IPv4, /122 in IPv6.
    pub const DEFAULT_BLOCK_BITS: u8 = 6;

    /// A range cut in blocks of the given length.
    ///
    /// # Errors
    /// When a block would be larger than the range or longer than an address.
    pub fn new(cidr: Cidr, block_len: u8) -> Result<Self, PoolError> {
        if block_len < cidr.len() || block_len > cidr.family().bits() {
            return Err(PoolError::BlockLength { cidr, block_len });
        }
        Ok(Self { cidr, block_len })
    }

    /// A range cut in blocks of 64 addresses; a smaller range is one block.
    #[must_use]
    pub fn with_default_blocks(cidr: Cidr) -> Self {
        let block_len = (cidr.family().bits() - Self::DEFAULT_BLOCK_BITS).max(cidr.len());
        Self { cidr, block_len }
    }

    /// All of the range.
    #[must_use]
    pub const fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// The length of a block's prefix.
    #[must_use]
    pub const fn block_len(&self) -> u8 {
        self.block_len
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        self.cidr.family()
    }

    /// How many blocks there are; `u128::MAX` stands for 2^128.
    #[must_use]
    pub fn blocks(&self) -> u128 {
        1u128
            .checked_shl(u32::from(self.block_len - self.cidr.len()))
            .unwrap_or(u128::MAX)
    }

    /// The block with this index, counted from the start of the range.
    #[must_use]
    pub fn block(&self, index: u128) -> Option<Cidr> {
        if index >= self.blocks() {
            return None;
        }
        let host_bits = u32::from(self.family().bits() - self.block_len);
        let first = self.cidr.at(index.checked_shl(host_bits).unwrap_or(0))?;
        Cidr::new(first, self.block_len).ok()
    }

    /// The index of a block of this range; `None` for any other prefix.
    #[must_use]
    pub fn index_of(&self, block: &Cidr) -> Option<u128> {
        if block.len() != self.block_len {
            return None;
        }
        let offset = self.cidr.offset_of(block.network())?;
        let host_bits = u32::from(self.family().bits() - self.block_len);
        Some(offset.checked_shr(host_bits).unwrap_or(0))
    }
}

/// The pools by name; no two may share addresses.
pub(crate) fn checked_pools(pools: Vec<Pool>) -> Result<BTreeMap<String, Pool>, BlockError> {
    let mut by_name: BTreeMap<String, Pool> = BTreeMap::new();
    for pool in pools {
        for other in by_name.values() {
            for (a, b) in pool
                .ranges()
                .iter()
                .flat_map(|a| other.ranges().iter().map(move |b| (a, b)))
            {
                if other.name() != pool.name() && a.cidr().overlaps(&b.cidr()) {
                    // The longer prefix lies within the shorter one.
                    let overlap = if a.cidr().covers(&b.cidr()) {
                        b.cidr()
                    } else {
                        a.cidr()
                    };
                    let (first, second) = (other.name().to_owned(), pool.name().to_owned());
                    return Err(BlockError::PoolsOverlap {
                        first,
                        second,
                        overlap,
                    });
                }
            }
        }
        if let Some(twice) = by_name.insert(pool.name().to_owned(), pool) {
            return Err(BlockError::PoolTwice(twice.name().to_owned()));
        }
    }
    Ok(by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_and_its_index_lead_to_each_other() {
        for (range, block_len, blocks) in [
            ("10.0.0.0/8", 26, 1u128 << 18),
            ("10.1.7.0/24", 24, 1),
            ("0.0.0.0/0", 32, 1 << 32),
            ("fd00:7::/64", 122, 1 << 58),
            ("::/0", 128, u128::MAX),
        ] {
            let range = PoolRange::new(cidr(range), block_len).unwrap();
            assert_eq!(range.blocks(), blocks);
            for index in [0, blocks / 2, blocks - 1] {
                let block = range.block(index).unwrap();
                assert!(range.cidr().covers(&block));
                assert_eq!(range.index_of(&block), Some(index), "{block}");
            }
            assert_eq!(range.block(blocks), None);
        }
    }

    #[test]
    fn the_default_block_has_sixty_four_addresses_or_is_the_whole_small_range() {
        for (range, block_len) in [
            ("10.0.0.0/8", 26),
            ("10.0.0.0/28", 28),
            ("fd00::/48", 122),
            ("fd00::7/128", 128),
        ] {
            assert_eq!(
                PoolRange::with_default_blocks(cidr(range)).block_len(),
                block_len
            );
        }
    }

    #[test]
    fn a_pool_that_cannot_be_is_refused_with_the_reason() {
        let range = |text| PoolRange::with_default_blocks(cidr(text));
        for (pool, wanted) in [
            (
                Pool::new("", vec![range("10.0.0.0/8")], vec![]),
                "a pool has no name",
            ),
            (Pool::new("p", vec![], vec![]), "has no address range"),
            (
                Pool::new(
                    "p",
                    vec![range("10.0.0.0/8"), range("192.168.0.0/16")],
                    vec![],
                ),
                "two IPv4 ranges",
            ),
            (
                Pool::new("p", vec![range("10.0.0.0/8")], vec![cidr("192.168.0.0/24")]),
                "lies outside",
            ),
        ] {
            let error = pool.unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let error = PoolRange::new(cidr("10.0.0.0/8"), 7)
            .unwrap_err()
            .to_string();
        assert!(error.contains("between /8 and /32"), "{error}");
    }
}
