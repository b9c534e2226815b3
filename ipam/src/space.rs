//! Which addresses of one block are free, and which of them comes next.
//!
//! An address that was just freed is still in the caches of others: neighbours, connection tables, resolvers. So the next
//! one is an address not used before as long as there are any, and then the one that has been free the longest. Addresses
//! are offsets from the block's start. Memory grows with the addresses in use, never with the size of the block.

use std::collections::{BTreeMap, BTreeSet};

use crate::cidr::Cidr;

/// In a very large block (an IPv6 /64) unused addresses never run out; reuse begins after this many freed ones, so that the
/// record of them stays small.
const FREED_KEPT: usize = 1 << 16;

#[derive(Clone, Debug)]
pub(crate) struct Space {
    size: u128,
    /// Sorted, disjoint, both ends included.
    excluded: Vec<(u128, u128)>,
    excluded_size: u128,
    leased: BTreeSet<u128>,
    /// How many of `leased` lie in `excluded`: they were given out before the exclusion was configured.
    leased_excluded: u128,
    /// Where to look for an address that was never used, and how many are still to be looked at.
    unused_from: u128,
    unused_left: u128,
    /// Freed addresses by age and by offset.
    freed: BTreeMap<u64, u128>,
    freed_at: BTreeMap<u128, u64>,
    next_age: u64,
}

impl Space {
    pub(crate) fn new(block: &Cidr, exclusions: &[Cidr]) -> Self {
        let size = block.size();
        let mut excluded: Vec<(u128, u128)> = Vec::new();
        let mut exclusions: Vec<Cidr> = exclusions
            .iter()
            .copied()
            .filter(|e| e.overlaps(block))
            .collect();
        // Sorted like this, what a larger prefix covers comes directly after it.
        exclusions.sort_unstable();
        for exclusion in exclusions {
            let (first, last) = if exclusion.covers(block) {
                (0, size - 1)
            } else {
                let first = block.offset_of(exclusion.network());
                let last = block.offset_of(exclusion.last());
                let (Some(first), Some(last)) = (first, last) else {
                    continue;
                };
                (first, last)
            };
            if excluded.last().is_none_or(|(_, end)| first > *end) {
                excluded.push((first, last));
            }
        }
        let excluded_size = excluded
            .iter()
            .map(|(first, last)| (last - first).saturating_add(1))
            .sum();
        Self {
            size,
            excluded,
            excluded_size,
            leased: BTreeSet::new(),
            leased_excluded: 0,
            unused_from: 0,
            unused_left: size,
            freed: BTreeMap::new(),
            freed_at: BTreeMap::new(),
            next_age: 0,
        }
    }

    /// Begins the search for unused addresses behind this one: after a restart, addresses freed shortly before it lie just
    /// before the one given out last.
    pub(crate) fn start_behind(&mut self, offset: u128) {
        self.unused_from = if offset + 1 >= self.size {
            0
        } else {
            offset + 1
        };
        self.unused_left = self.size;
    }

    /// The address to give out next; `None` when every usable one is leased. Asking again gives the same answer.
    pub(crate) fn next(&mut self) -> Option<u128> {
        if self.free() == 0 {
            return None;
        }
        if self.freed.len() < FREED_KEPT
            && let Some(unused) = self.next_unused()
        {
            return Some(unused);
        }
        self.freed.first_key_value().map(|(_, offset)| *offset)
    }

    /// Every offset is passed once, so this costs little on average however many are leased.
    fn next_unused(&mut self) -> Option<u128> {
        while self.unused_left > 0 {
            let at = self.unused_from;
            if let Some(last) = self.exclusion_of(at) {
                self.pass(last - at + 1);
            } else if self.leased.contains(&at) || self.freed_at.contains_key(&at) {
                self.pass(1);
            } else {
                return Some(at);
            }
        }
        None
    }

    fn pass(&mut self, count: u128) {
        self.unused_left = self.unused_left.saturating_sub(count);
        let next = self.unused_from.saturating_add(count);
        self.unused_from = if next >= self.size { 0 } else { next };
    }

    /// The end of the exclusion in which the offset lies.
    fn exclusion_of(&self, offset: u128) -> Option<u128> {
        let after = self.excluded.partition_point(|(first, _)| *first <= offset);
        let (_, last) = *self.excluded.get(after.checked_sub(1)?)?;
        (offset <= last).then_some(last)
    }

    pub(crate) fn is_excluded(&self, offset: u128) -> bool {
        self.exclusion_of(offset).is_some()
    }

    pub(crate) fn lease(&mut self, offset: u128) {
        if !self.leased.insert(offset) {
            return;
        }
        if self.is_excluded(offset) {
            self.leased_excluded += 1;
        }
        if let Some(age) = self.freed_at.remove(&offset) {
            self.freed.remove(&age);
        }
    }

    pub(crate) fn release(&mut self, offset: u128) {
        if !self.leased.remove(&offset) {
            return;
        }
        if self.is_excluded(offset) {
            self.leased_excluded -= 1;
            return;
        }
        self.freed.insert(self.next_age, offset);
        self.freed_at.insert(offset, self.next_age);
        self.next_age += 1;
    }

    /// How many addresses may be leased at once.
    pub(crate) fn usable(&self) -> u128 {
        self.size.saturating_sub(self.excluded_size)
    }

    pub(crate) fn excluded(&self) -> u128 {
        self.excluded_size
    }

    /// Leased addresses, those in exclusions included.
    pub(crate) fn leased(&self) -> u128 {
        self.leased.len() as u128
    }

    pub(crate) fn free(&self) -> u128 {
        self.usable()
            .saturating_sub(self.leased() - self.leased_excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(block: &str, excluded: &[&str]) -> Space {
        let excluded: Vec<Cidr> = excluded.iter().map(|e| e.parse().unwrap()).collect();
        Space::new(&block.parse().unwrap(), &excluded)
    }

    fn take(space: &mut Space) -> Option<u128> {
        let offset = space.next()?;
        space.lease(offset);
        Some(offset)
    }

    #[test]
    fn all_addresses_are_given_out_before_any_is_used_again() {
        let mut space = space("10.0.0.0/29", &[]);
        assert_eq!(take(&mut space), Some(0));
        space.release(0);
        let rest: Vec<_> = std::iter::from_fn(|| take(&mut space)).collect();
        assert_eq!(rest, [1, 2, 3, 4, 5, 6, 7, 0]);
    }

    #[test]
    fn freed_addresses_come_back_in_the_order_in_which_they_were_freed() {
        let mut space = space("10.0.0.0/29", &[]);
        while take(&mut space).is_some() {}
        for offset in [5, 1, 3] {
            space.release(offset);
        }
        assert_eq!(
            [take(&mut space), take(&mut space), take(&mut space)],
            [Some(5), Some(1), Some(3)]
        );
        assert_eq!(take(&mut space), None);
    }

    #[test]
    fn exclusions_are_counted_once_and_never_given_out() {
        let mut space = space(
            "10.0.0.0/28",
            &["10.0.0.0/30", "10.0.0.2/32", "10.0.0.15/32", "10.9.0.0/16"],
        );
        assert_eq!((space.usable(), space.excluded()), (11, 5));
        let given: Vec<_> = std::iter::from_fn(|| take(&mut space)).collect();
        assert_eq!(given, (4..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_wholly_excluded_block_is_exhausted_at_once() {
        assert_eq!(take(&mut space("10.0.0.0/28", &["10.0.0.0/8"])), None);
    }

    #[test]
    fn a_lease_older_than_its_exclusion_takes_no_place_and_is_not_given_out_again() {
        let mut space = space("10.0.0.0/30", &["10.0.0.0/31"]);
        space.lease(1);
        assert_eq!((space.leased(), space.free()), (1, 2));
        space.release(1);
        let given: Vec<_> = std::iter::from_fn(|| take(&mut space)).collect();
        assert_eq!(given, [2, 3]);
    }

    #[test]
    fn a_large_ipv6_block_reuses_addresses_once_very_many_were_freed() {
        let mut space = space("fd00::/64", &["fd00::/128"]);
        for expected in 1..=FREED_KEPT as u128 {
            assert_eq!(take(&mut space), Some(expected));
            space.release(expected);
        }
        assert_eq!(take(&mut space), Some(1));
        assert_eq!(space.freed.len(), FREED_KEPT - 1);
    }

    #[test]
    fn the_search_wraps_around_the_end_of_the_block() {
        let mut space = space("10.0.0.0/30", &[]);
        space.start_behind(1);
        let given: Vec<_> = std::iter::from_fn(|| take(&mut space)).collect();
        assert_eq!(given, [2, 3, 0, 1]);
        let mut space = self::space("::/0", &[]);
        space.start_behind(u128::MAX - 1);
        assert_eq!(take(&mut space), Some(0));
    }
}
