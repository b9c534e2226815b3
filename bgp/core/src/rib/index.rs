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

    /// The id with this hash that `is` says yes to.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        while self.places[at] < entry(hash, 0) {
            at += 1;
        }
        while hash_of(self.places[at]) == hash && self.places[at] != EMPTY {
            let id = id_of(self.places[at]);
            if is(id) {
                return Some(id);
            }
            at += 1;
        }
        None
    }

    /// Adds an id that is not there.
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        debug_assert!(id != u32::MAX, "an id of no entry");
        if self.len >= self.width / 8 * 7 {
            self.grow();
        }
        let new = entry(hash, id);
        let mut at = self.home(hash);
        while self.places[at] < new {
            at += 1;
        }
        let mut room = at;
        while self.places[room] != EMPTY {
            room += 1;
        }
        self.places.copy_within(at..room, at + 1);
        self.places[at] = new;
        if room + 1 == self.places.len() {
            self.places.push(EMPTY);
        }
        self.len += 1;
    }

    /// Takes an id out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let old = entry(hash, id);
        let mut at = self.home(hash);
        while self.places[at] < old {
            at += 1;
        }
        if self.places[at] != old {
            return;
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

    /// Half as wide again: from seven twelfths to seven eighths of the places are in use.
    fn grow(&mut self) {
        self.width = (self.width + self.width / 2).max(LEAST);
        let mut places = Vec::with_capacity(self.width + self.width / 64 + LEAST);
        for &entry in self.places.iter().filter(|&&entry| entry != EMPTY) {
            let home = self.home(hash_of(entry));
            if places.len() < home {
                places.resize(home, EMPTY);
            }
            places.push(entry);
        }
        places.resize(self.width.max(places.len()) + 1, EMPTY);
        self.places = places;
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
                    if reference.contains_key(&id) {
                        continue;
                    }
                    index.insert(hash, id);
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
            index.insert(hash(n), n);
        }
        assert!((0..100_000).all(|n| index.find(hash(n), |id| id == n) == Some(n)));
        for n in 0..100_000 {
            index.remove(hash(n), n);
            assert_eq!(index.find(hash(n), |_| true), None);
        }
        assert_eq!(index.len(), 0);
    }
}
