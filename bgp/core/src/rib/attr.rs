//! Interned attribute sets.
//!
//! A set is its canonical bytes (see [`crate::wire`]) and its next hop; routes hold a `u32` to it.
//! What the decision compares is extracted once into [`AttrKey`]. Counts are plain numbers, held
//! by paths and by what groups of peers were told; a set whose count is zero is freed by
//! [`AttrArena::collect`] at the end of a turn, so that ids stay valid within one.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use super::{
    index::Index,
    next_hop::{NextHopId, NextHops},
};
use crate::{
    attributes::NextHop,
    wire::{AttrFacts, has_large_community},
};

/// An interned attribute set; [`AttrId::NONE`] stands for "no route".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttrId(pub(crate) u32);

impl AttrId {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// LOCAL_PREF where none was sent (RFC 4271, 9.1.1 leaves the value to the speaker; 100 is what
/// every implementation takes).
pub(crate) const DEFAULT_LOCAL_PREF: u32 = 100;

/// Set in [`AttrKey::flags`] beside those of [`AttrFacts`]: the route carries the mark of service
/// discovery.
pub(crate) const DISCOVERY: u16 = 1 << 15;

/// Export rules have made it: it leaves as it stands. A set of its own, whatever else has the same
/// attributes.
pub(crate) const JUDGED: u16 = 1 << 14;

/// The second field of the community that marks a route as one of service discovery.
const MARK: u32 = 1;

/// What the decision process compares, in 28 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttrKey {
    pub(crate) local_pref: u32,
    /// 0 when absent: the lowest, as RFC 4271, 9.1.2.2 c has it.
    pub(crate) med: u32,
    pub(crate) neighbor_as: u32,
    /// 0 when absent.
    pub(crate) originator_id: u32,
    pub(crate) as_path_len: u16,
    pub(crate) flags: u16,
    pub(crate) origin: u8,
    pub(crate) cluster_len: u8,
}

impl AttrKey {
    fn new(facts: &AttrFacts) -> Self {
        Self {
            local_pref: facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            med: facts.med.unwrap_or(0),
            neighbor_as: facts.neighbor_as,
            originator_id: facts.originator_id.unwrap_or(0),
            as_path_len: facts.as_path_len,
            flags: facts.flags,
            origin: facts.origin,
            cluster_len: facts.cluster_len,
        }
    }
}

#[derive(Debug)]
struct AttrSet {
    bytes: Box<[u8]>,
    key: AttrKey,
    next_hop: NextHopId,
    /// Holders; [`FREE`] while the slot is on the free list.
    refs: u32,
}

const FREE: u32 = u32::MAX;

/// All attribute sets of a speaker.
#[derive(Debug)]
pub(crate) struct AttrArena {
    sets: Vec<AttrSet>,
    index: Index,
    hasher: DefaultHashBuilder,
    free: Vec<u32>,
    /// Sets whose count is or was zero since the last collection.
    idle: Vec<u32>,
    next_hops: NextHops,
    /// The number of service discovery: whether a set carries any is found out once, where it is made,
    /// so that nobody who makes one can forget it.
    discovery: Option<u32>,
    /// How often sets were collected.
    generation: u64,
}

impl AttrArena {
    pub(crate) fn new() -> Self {
        let none = AttrSet {
            bytes: Box::default(),
            key: AttrKey::default(),
            next_hop: NextHopId::OWN,
            refs: 1,
        };
        Self {
            sets: vec![none],
            index: Index::new(),
            hasher: DefaultHashBuilder::default(),
            free: Vec::new(),
            idle: Vec::new(),
            next_hops: NextHops::new(),
            discovery: None,
            generation: 0,
        }
    }

    /// Service discovery has this number from now on.
    pub(crate) fn set_discovery(&mut self, number: Option<u32>) {
        self.discovery = number;
        for set in self.sets.iter_mut().filter(|set| set.refs != FREE) {
            set.key.flags = marked(number, &set.bytes, set.key.flags);
        }
    }

    /// The id of this set, made when it is new. Valid until the next [`Self::collect`] unless
    /// held.
    pub(crate) fn intern(
        &mut self,
        bytes: &[u8],
        next_hop: Option<NextHop>,
        facts: &AttrFacts,
    ) -> AttrId {
        self.intern_as(bytes, next_hop, facts, 0)
    }

    /// The same of a set that export rules have made.
    pub(crate) fn intern_judged(
        &mut self,
        bytes: &[u8],
        next_hop: Option<NextHop>,
        facts: &AttrFacts,
    ) -> AttrId {
        self.intern_as(bytes, next_hop, facts, JUDGED)
    }

    fn intern_as(
        &mut self,
        bytes: &[u8],
        next_hop: Option<NextHop>,
        facts: &AttrFacts,
        judged: u16,
    ) -> AttrId {
        let next_hop = next_hop.map_or(NextHopId::OWN, |next_hop| self.next_hops.intern(next_hop));
        let hash = self.hash(bytes, next_hop, judged);
        let new = self.free.last().copied().unwrap_or_else(|| {
            u32::try_from(self.sets.len()).expect("fewer than 2^32 attribute sets")
        });
        let sets = &self.sets;
        let id = self.index.find_or_insert(hash, new, |id| {
            let set = &sets[id as usize];
            set.next_hop == next_hop
                && set.key.flags & JUDGED == judged
                // Whoever has put an AS before the path keeps the one the route came from.
                && set.key.neighbor_as == facts.neighbor_as
                && *set.bytes == *bytes
        });
        if id != new {
            return AttrId(id);
        }
        let mut key = AttrKey::new(facts);
        key.flags = marked(self.discovery, bytes, key.flags) | judged;
        let set = AttrSet {
            bytes: bytes.into(),
            key,
            next_hop,
            refs: 0,
        };
        match self.free.pop() {
            Some(id) => self.sets[id as usize] = set,
            None => self.sets.push(set),
        }
        self.idle.push(id);
        self.next_hops.hold(next_hop);
        AttrId(id)
    }

    fn hash(&self, bytes: &[u8], next_hop: NextHopId, judged: u16) -> u32 {
        (self.hasher.hash_one((bytes, next_hop, judged)) >> 32) as u32
    }

    /// Reads what a change of the count of `id` reads.
    #[inline]
    pub(crate) fn touch(&self, id: AttrId) -> u32 {
        self.sets[id.0 as usize].refs
    }

    pub(crate) fn bytes(&self, id: AttrId) -> &[u8] {
        &self.sets[id.0 as usize].bytes
    }

    pub(crate) fn key(&self, id: AttrId) -> &AttrKey {
        &self.sets[id.0 as usize].key
    }

    /// The next hop of a set; `None`: our own address.
    pub(crate) fn next_hop(&self, id: AttrId) -> Option<NextHop> {
        self.next_hops.get(self.sets[id.0 as usize].next_hop)
    }

    /// The same by its number.
    pub(crate) fn next_hop_id(&self, id: AttrId) -> NextHopId {
        self.sets[id.0 as usize].next_hop
    }

    pub(crate) fn next_hops(&mut self) -> &mut NextHops {
        &mut self.next_hops
    }

    /// Whether packets get to the next hop of a set, as far as anybody knows.
    #[inline]
    pub(crate) fn is_reachable(&self, id: AttrId) -> bool {
        !self.next_hops.some_unreachable() || self.next_hops.is_reachable(self.next_hop_id(id))
    }

    /// Whether the next hop of a set has an address that means something on its link only, or it is ours.
    pub(crate) fn is_on_link(&self, id: AttrId) -> bool {
        self.next_hop(id).is_none_or(|hop| hop.link_local.is_some())
    }

    pub(crate) fn hold(&mut self, id: AttrId) {
        self.hold_many(id, 1);
    }

    pub(crate) fn hold_many(&mut self, id: AttrId, count: u32) {
        if !id.is_none() {
            self.sets[id.0 as usize].refs += count;
        }
    }

    pub(crate) fn release(&mut self, id: AttrId) {
        if id.is_none() {
            return;
        }
        let set = &mut self.sets[id.0 as usize];
        debug_assert!(
            set.refs > 0 && set.refs != FREE,
            "released more often than held"
        );
        set.refs -= 1;
        if set.refs == 0 {
            self.idle.push(id.0);
        }
    }

    /// What is remembered of ids that nobody holds is good as long as this is the same.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Frees the sets nobody holds.
    pub(crate) fn collect(&mut self) {
        self.generation += 1;
        while let Some(id) = self.idle.pop() {
            let set = &mut self.sets[id as usize];
            if set.refs != 0 {
                continue;
            }
            set.refs = FREE;
            let bytes = std::mem::take(&mut set.bytes);
            let (next_hop, judged) = (set.next_hop, set.key.flags & JUDGED);
            let hash = self.hash(&bytes, next_hop, judged);
            self.next_hops.release(next_hop);
            self.index.remove(hash, id);
            self.free.push(id);
        }
    }

    /// Sets in use.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }
}

/// Whether a set with large communities carries service discovery, which has this number.
pub(crate) fn carries_services(number: Option<u32>, bytes: &[u8]) -> bool {
    number.is_some_and(|number| has_large_community(bytes, number, MARK))
}

/// The flags of a set, with or without the one for service discovery.
fn marked(number: Option<u32>, bytes: &[u8], flags: u16) -> u16 {
    match flags & AttrFacts::HAS_LARGE != 0 && carries_services(number, bytes) {
        true => flags | DISCOVERY,
        false => flags & !DISCOVERY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(med: u32) -> AttrFacts {
        AttrFacts {
            med: Some(med),
            ..AttrFacts::default()
        }
    }

    #[test]
    fn equal_sets_share_an_id_and_the_next_hop_is_part_of_the_set() {
        let mut arena = AttrArena::new();
        let hop = NextHop::from(std::net::IpAddr::from([192, 0, 2, 1]));
        let first = arena.intern(b"abc", None, &facts(1));
        assert_eq!(first, arena.intern(b"abc", None, &facts(1)));
        let second = arena.intern(b"abc", Some(hop), &facts(1));
        assert_ne!(first, second);
        assert_eq!(arena.next_hop(first), None);
        assert_eq!(arena.next_hop(second), Some(hop));
        assert_eq!(arena.len(), 2);
    }

    #[test]
    fn a_set_is_freed_when_the_last_holder_lets_go_and_not_before_the_collection() {
        let mut arena = AttrArena::new();
        let id = arena.intern(b"abc", None, &facts(1));
        arena.hold(id);
        arena.hold(id);
        arena.collect();
        assert_eq!(arena.bytes(id), b"abc");
        arena.release(id);
        arena.release(id);
        assert_eq!(arena.bytes(id), b"abc");
        arena.collect();
        assert_eq!(arena.len(), 0);
        let again = arena.intern(b"xyz", None, &facts(2));
        assert_eq!(again, id, "the slot is used again");
        assert_eq!(arena.bytes(again), b"xyz");
    }

    #[test]
    fn a_set_that_was_interned_but_never_held_does_not_leak() {
        let mut arena = AttrArena::new();
        for n in 0..100_u8 {
            arena.intern(&[n], None, &facts(1));
            arena.collect();
        }
        assert_eq!(arena.len(), 0);
        assert_eq!(arena.sets.len(), 2);
    }
}
