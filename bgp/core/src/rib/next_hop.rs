//! Interned next hops, and which of them can be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
    net::IpAddr,
};

use hashbrown::DefaultHashBuilder;

use super::index::Index;
use crate::attributes::NextHop;

/// An interned next hop; [`NextHopId::OWN`] stands for our own address on each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NextHopId(u32);

impl NextHopId {
    pub(crate) const OWN: Self = Self(0);
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    next_hop: NextHop,
    /// Attribute sets that have it; 0: the place is free.
    uses: u32,
    /// Nobody has said that it cannot be reached.
    reachable: bool,
}

/// Next hops are few, and freed with the last set that has them.
#[derive(Debug)]
pub(crate) struct NextHops {
    all: Vec<Entry>,
    free: Vec<u32>,
    index: Index,
    hasher: DefaultHashBuilder,
    /// Addresses that cannot be reached, of those here or others.
    unreachable: BTreeSet<IpAddr>,
    /// Where somebody asks: how many sets have a next hop with an address. There may be several with
    /// one, with and without a link-local address beside it.
    tracked: Option<BTreeMap<IpAddr, u32>>,
    /// Addresses that have come into use, or out of it, since somebody asked.
    news: BTreeMap<IpAddr, bool>,
}

impl NextHops {
    pub(crate) fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            index: Index::new(),
            hasher: DefaultHashBuilder::default(),
            unreachable: BTreeSet::new(),
            tracked: None,
            news: BTreeMap::new(),
        }
    }

    fn hash(&self, next_hop: NextHop) -> u32 {
        (self.hasher.hash_one(next_hop) >> 32) as u32
    }

    /// The id of a next hop for a set that is about to have it.
    pub(crate) fn intern(&mut self, next_hop: NextHop) -> NextHopId {
        let hash = self.hash(next_hop);
        let fresh = || u32::try_from(self.all.len() + 1).expect("fewer than 2^32 next hops");
        let new = self.free.last().copied().unwrap_or_else(fresh);
        let all = &self.all;
        let same = |id: u32| all[id as usize - 1].next_hop == next_hop;
        let id = self.index.find_or_insert(hash, new, same);
        if id == new {
            let entry = Entry {
                next_hop,
                uses: 0,
                reachable: !self.unreachable.contains(&next_hop.addr),
            };
            match self.free.pop() {
                Some(id) => self.all[id as usize - 1] = entry,
                None => self.all.push(entry),
            }
        }
        NextHopId(id)
    }

    pub(crate) fn get(&self, id: NextHopId) -> Option<NextHop> {
        (id != NextHopId::OWN).then(|| self.all[id.0 as usize - 1].next_hop)
    }

    /// One more set has it.
    pub(crate) fn hold(&mut self, id: NextHopId) {
        if id == NextHopId::OWN {
            return;
        }
        let entry = &mut self.all[id.0 as usize - 1];
        entry.uses += 1;
        if let Some(tracked) = &mut self.tracked {
            let uses = tracked.entry(entry.next_hop.addr).or_default();
            *uses += 1;
            if *uses == 1 {
                self.news.insert(entry.next_hop.addr, true);
            }
        }
    }

    /// One less.
    pub(crate) fn release(&mut self, id: NextHopId) {
        if id == NextHopId::OWN {
            return;
        }
        let entry = &mut self.all[id.0 as usize - 1];
        entry.uses -= 1;
        let Entry { next_hop, uses, .. } = *entry;
        if uses == 0 {
            self.index.remove(self.hash(next_hop), id.0);
            self.free.push(id.0);
        }
        if let Some(tracked) = &mut self.tracked
            && let Some(uses) = tracked.get_mut(&next_hop.addr)
        {
            *uses -= 1;
            if *uses == 0 {
                tracked.remove(&next_hop.addr);
                self.news.insert(next_hop.addr, false);
            }
        }
    }

    /// Whether packets get there, as far as anybody knows.
    #[inline]
    pub(crate) fn is_reachable(&self, id: NextHopId) -> bool {
        id == NextHopId::OWN || self.all[id.0 as usize - 1].reachable
    }

    /// Whether any cannot be reached: mostly none.
    #[inline]
    pub(crate) fn some_unreachable(&self) -> bool {
        !self.unreachable.is_empty()
    }

    /// From now on somebody asks which are in use.
    pub(crate) fn track(&mut self) {
        let mut uses: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for entry in self.all.iter().filter(|entry| entry.uses > 0) {
            *uses.entry(entry.next_hop.addr).or_default() += entry.uses;
        }
        self.news = uses.keys().map(|&addr| (addr, true)).collect();
        self.tracked = Some(uses);
    }

    /// Whether somebody has to be told something.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Addresses that have come into use, or out of it, since this was last asked.
    pub(crate) fn take_news(&mut self) -> Vec<(IpAddr, bool)> {
        std::mem::take(&mut self.news).into_iter().collect()
    }

    /// Notes which addresses can be reached and which cannot; the next hops for which that changed.
    pub(crate) fn set_reachable(&mut self, addresses: &[(IpAddr, bool)]) -> Vec<NextHopId> {
        let mut changed: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for &(addr, reachable) in addresses {
            let news = match reachable {
                true => self.unreachable.remove(&addr),
                false => self.unreachable.insert(addr),
            };
            if news {
                changed.insert(addr, reachable);
            }
        }
        if changed.is_empty() {
            return Vec::new();
        }
        let mut ids = Vec::new();
        for (id, entry) in (1..).zip(&mut self.all) {
            if let Some(&reachable) = changed.get(&entry.next_hop.addr) {
                entry.reachable = reachable;
                if entry.uses > 0 {
                    ids.push(NextHopId(id));
                }
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(n: u8, link_local: bool) -> NextHop {
        NextHop {
            addr: IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]),
            link_local: link_local.then(|| "fe80::1".parse().unwrap()),
        }
    }

    #[test]
    fn an_address_is_in_use_as_long_as_one_next_hop_with_it_is() {
        let mut hops = NextHops::new();
        hops.track();
        let ids = [true, false].map(|link_local| hops.intern(hop(1, link_local)));
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            hops.hold(id);
        }
        assert_eq!(hops.take_news(), [(hop(1, false).addr, true)]);
        hops.release(ids[0]);
        assert_eq!(hops.take_news(), []);
        hops.release(ids[1]);
        assert_eq!(hops.take_news(), [(hop(1, false).addr, false)]);
    }

    #[test]
    fn what_nobody_has_takes_no_room() {
        let mut hops = NextHops::new();
        for n in 0..=255 {
            let id = hops.intern(hop(n, false));
            hops.hold(id);
            hops.release(id);
        }
        assert_eq!(hops.all.len(), 1);
        // What is known of an address does not depend on its being used.
        assert_eq!(hops.set_reachable(&[(hop(3, false).addr, false)]), []);
        let id = hops.intern(hop(3, true));
        assert!(!hops.is_reachable(id));
    }
}
