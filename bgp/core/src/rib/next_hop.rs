//! Interned next hops, and which of them can be reached.

use std::{collections::BTreeSet, hash::BuildHasher, net::IpAddr};

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
    /// Attribute sets that have it.
    uses: u32,
    /// Nobody has said that it cannot be reached.
    reachable: bool,
}

/// Next hops are few: one table for both families, never freed. A peer that sends millions of
/// distinct ones costs 48 bytes each; its maximum prefix bounds that.
#[derive(Debug)]
pub(crate) struct NextHops {
    all: Vec<Entry>,
    index: Index,
    hasher: DefaultHashBuilder,
    /// Addresses that cannot be reached, of those here or others.
    unreachable: BTreeSet<IpAddr>,
    /// Those that have come into use, or out of it, since somebody asked; each perhaps twice.
    news: Vec<u32>,
    /// Somebody asks.
    tracked: bool,
}

impl NextHops {
    pub(crate) fn new() -> Self {
        Self {
            all: Vec::new(),
            index: Index::new(),
            hasher: DefaultHashBuilder::default(),
            unreachable: BTreeSet::new(),
            news: Vec::new(),
            tracked: false,
        }
    }

    pub(crate) fn intern(&mut self, next_hop: NextHop) -> NextHopId {
        let hash = (self.hasher.hash_one(next_hop) >> 32) as u32;
        let new = u32::try_from(self.all.len() + 1).expect("fewer than 2^32 next hops");
        let all = &self.all;
        let same = |id: u32| all[id as usize - 1].next_hop == next_hop;
        let id = self.index.find_or_insert(hash, new, same);
        if id == new {
            let reachable = !self.unreachable.contains(&next_hop.addr);
            self.all.push(Entry {
                next_hop,
                uses: 0,
                reachable,
            });
        }
        NextHopId(id)
    }

    pub(crate) fn get(&self, id: NextHopId) -> Option<NextHop> {
        (id != NextHopId::OWN).then(|| self.all[id.0 as usize - 1].next_hop)
    }

    /// One more set has it, or one less.
    pub(crate) fn count(&mut self, id: NextHopId, more: bool) {
        if id == NextHopId::OWN {
            return;
        }
        let entry = &mut self.all[id.0 as usize - 1];
        entry.uses = if more { entry.uses + 1 } else { entry.uses - 1 };
        let turned = entry.uses == u32::from(more);
        if turned && self.tracked {
            self.news.push(id.0);
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
        self.tracked = true;
        self.news = (1..).take(self.all.len()).collect();
    }

    /// Whether somebody has to be told something.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Addresses that have come into use, or out of it, since this was last asked.
    pub(crate) fn take_news(&mut self) -> Vec<(IpAddr, bool)> {
        let mut ids = std::mem::take(&mut self.news);
        ids.sort_unstable();
        ids.dedup();
        let told = ids.into_iter().map(|id| {
            let Entry { next_hop, uses, .. } = self.all[id as usize - 1];
            (next_hop.addr, uses > 0)
        });
        told.collect()
    }

    /// Notes whether this address can be reached; whose that is where it changed.
    pub(crate) fn set_reachable(
        &mut self,
        addr: IpAddr,
        reachable: bool,
        changed: &mut Vec<NextHopId>,
    ) {
        let new = match reachable {
            true => self.unreachable.remove(&addr),
            false => self.unreachable.insert(addr),
        };
        if !new {
            return;
        }
        for (id, entry) in (1..).zip(&mut self.all) {
            if entry.next_hop.addr == addr {
                entry.reachable = reachable;
                changed.push(NextHopId(id));
            }
        }
    }
}
