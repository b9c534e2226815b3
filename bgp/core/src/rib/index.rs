//! Finding ids by a hash of what they stand for, without a look at the arena they are ids of.
//!
//! An entry is a hash and an id in eight bytes. Entries stand in the order of their hashes: each at
//! the place that its hash points to, or as soon behind it as there was room. So a search ends at the
//! first greater hash, the neighbours of a place lie in its cache line, and a larger index is the old
//! one copied from its beginning to its end, which costs nanoseconds per entry where hashing keys
//! anew costs a cache miss each.

/// No entry: greater than every one, because no id is `u32::MAX`.
const EMPTY: u64 = u64::MAX;

/// Places in an index that is not empty, at least.
const LEAST: usize = 16;

/// A set of ids, by hash.
#[derive(Debug)]
pub(crate) struct Index {
    /// As many places as hashes point to, then what was pushed past the last of them; the last is
    /// always [`EMPTY`], so that no search leaves the end.
    places: Vec<u64>,
    /// How many places hashes point to.
    width: usize,
    len: usize,
}

fn entry(hash: u32, id: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(id)
}

fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

fn id_of(entry: u64) -> u32 {
    (entry & u64::from(u32::MAX)) as u32
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            places: vec![EMPTY],
            width: 0,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where a hash points to. Greater hashes never point further to the front.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.width as u64) >> 32) as usize
    }

    /// Reads where a search for `hash` begins. Done for many hashes one after the other before the
    /// first search, this waits for memory once for a dozen of them.
    #[inline]
    pub(crate) fn touch(&self, hash: u32) -> u64 {
        self.places[self.home(hash)]
    }

    /// The first place that is not before those of `hash`.
    #[inline]
    fn first(&self, hash: u32) -> usize {
        let mut at = self.home(hash);
        while self.places[at] < entry(hash, 0) {
            at += 1;
        }
        at
    }

    /// The id with this hash that `is` says yes to.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.search(hash, is).ok()
    }

    /// The id, or where one with this hash can be put.
    #[inline]
    fn search(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Result<u32, usize> {
        let mut at = self.first(hash);
        while hash_of(self.places[at]) == hash && self.places[at] != EMPTY {
            let id = id_of(self.places[at]);
            if is(id) {
                return Ok(id);
            }
            at += 1;
        }
        Err(at)
    }

    /// The id with this hash that `is` says yes to, or `new`, which is added then.
    pub(crate) fn find_or_insert(
        &mut self,
        hash: u32,
        new: u32,
        is: impl FnMut(u32) -> bool,
    ) -> u32 {
        debug_assert!(new != u32::MAX, "an id of no entry");
        if self.len >= self.width / 4 * 3 {
            self.grow();
        }
        let at = match self.search(hash, is) {
            Ok(id) => return id,
            Err(at) => at,
        };
        let mut moved = std::mem::replace(&mut self.places[at], entry(hash, new));
        for place in &mut self.places[at + 1..] {
            if moved == EMPTY {
                break;
            }
            std::mem::swap(&mut moved, place);
        }
        if self.places.last() != Some(&EMPTY) {
            self.places.push(EMPTY);
        }
        self.len += 1;
        new
    }

    /// Takes an id out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let mut at = self.first(hash);
        while self.places[at] != entry(hash, id) {
            if hash_of(self.places[at]) != hash || self.places[at] == EMPTY {
                return;
            }
            at += 1;
        }
        // What did not get its own place moves up.
        let mut end = at + 1;
        while self.places[end] != EMPTY && self.home(hash_of(self.places[end])) < end {
            end += 1;
        }
        self.places.copy_within(at + 1..end, at);
        self.places[end - 1] = EMPTY;
        self.len -= 1;
    }

    /// Half as wide again: from half to three quarters of the places are in use. What is there is
    /// moved to the end of the new places and from there, in order, to where it belongs: there are
    /// never fewer places left than entries, so none is overwritten before it has moved.
    fn grow(&mut self) {
        self.width = (self.width + self.width / 2).max(LEAST);
        self.places.retain(|&entry| entry != EMPTY);
        let count = self.places.len();
        let home = |entry: &u64| self.home(hash_of(*entry));
        let end = self
            .places
            .iter()
            .fold(0, |end, entry| home(entry).max(end) + 1);
        let all = end.max(self.width) + 1;
        self.places.reserve_exact(all - count);
        self.places.resize(all, EMPTY);
        self.places.copy_within(..count, all - count);
        let mut next = 0;
        for from in all - count..all {
            let entry = self.places[from];
            let home = self.home(hash_of(entry));
            if next < home {
                self.places[next..home].fill(EMPTY);
                next = home;
            }
            self.places[next] = entry;
            next += 1;
        }
        self.places[next..].fill(EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map, with hashes that collide, and lie at both ends.
        #[test]
        fn what_was_put_in_is_found_and_nothing_else(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..300, 0_u32..40), 0..2_000)
        ) {
            let mut index = Index::new();
            let mut reference = BTreeMap::new();
            for (add, id, hash) in steps {
                let hash = match hash {
                    0..8 => hash,
                    8..16 => u32::MAX - (hash - 8),
                    _ => hash.wrapping_mul(0x9e37_79b9),
                };
                if add {
                    if let Some(&hash) = reference.get(&id) {
                        prop_assert_eq!(index.find_or_insert(hash, 999, |found| found == id), id);
                        continue;
                    }
                    prop_assert_eq!(index.find_or_insert(hash, id, |found| found == id), id);
                    reference.insert(id, hash);
                } else if let Some(hash) = reference.remove(&id) {
                    index.remove(hash, id);
                } else {
                    index.remove(hash, id);
                }
                prop_assert_eq!(index.len(), reference.len());
            }
            for id in 0..300 {
                match reference.get(&id) {
                    Some(&hash) => prop_assert_eq!(index.find(hash, |found| found == id), Some(id)),
                    None => for &hash in reference.values() {
                        prop_assert_eq!(index.find(hash, |found| found == id), None);
                    },
                }
            }
        }
    }

    #[test]
    fn it_grows_to_many_and_shrinks_to_none() {
        let hash = |n: u32| n.wrapping_mul(0x9e37_79b9);
        let mut index = Index::new();
        for n in 0..100_000 {
            index.find_or_insert(hash(n), n, |_| false);
        }
        assert!((0..100_000).all(|n| index.find(hash(n), |id| id == n) == Some(n)));
        for n in 0..100_000 {
            index.remove(hash(n), n);
            assert_eq!(index.find(hash(n), |_| true), None);
        }
        assert_eq!(index.len(), 0);
    }
}
