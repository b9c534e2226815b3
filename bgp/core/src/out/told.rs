//! Adj-RIB-out: what a group was last told about each destination.

use crate::rib::{Shared, attr::AttrId, source::Slot};

/// One family's part. Six bytes per destination and group.
#[derive(Debug, Default)]
pub(crate) struct Told {
    attr: Vec<AttrId>,
    source: Vec<Slot>,
    /// Destinations below this have been looked at since the group was made.
    filled: u32,
    complete: bool,
    count: u32,
    by_source: Vec<u32>,
}

impl Told {
    /// What members (but the source itself) hold for `dest`.
    pub(crate) fn get(&self, dest: u32) -> (AttrId, Slot) {
        let at = dest as usize;
        match self.attr.get(at) {
            Some(&attr) => (attr, self.source[at]),
            None => (AttrId::NONE, Slot::LOCAL),
        }
    }

    /// Remembers what members are told now; returns what they held, unless that is the same.
    pub(crate) fn set(
        &mut self,
        shared: &mut Shared,
        dest: u32,
        new: (AttrId, Slot),
    ) -> Option<(AttrId, Slot)> {
        let old = self.get(dest);
        if old == new || (old.0.is_none() && new.0.is_none()) {
            return None;
        }
        let at = dest as usize;
        if at >= self.attr.len() {
            self.attr.resize(at + 1, AttrId::NONE);
            self.source.resize(at + 1, Slot::LOCAL);
        }
        shared.attrs.hold(new.0);
        self.attr[at] = new.0;
        self.source[at] = new.1;
        shared.attrs.release(old.0);
        self.tally(old, false);
        self.tally(new, true);
        Some(old)
    }

    fn tally(&mut self, (attr, source): (AttrId, Slot), more: bool) {
        if attr.is_none() {
            return;
        }
        if self.by_source.len() <= source.index() {
            self.by_source.resize(source.index() + 1, 0);
        }
        let of_source = &mut self.by_source[source.index()];
        if more {
            self.count += 1;
            *of_source += 1;
        } else {
            self.count -= 1;
            *of_source -= 1;
        }
    }

    /// How many prefixes `member` holds once it has read everything.
    pub(crate) fn advertised_to(&self, member: Slot) -> u32 {
        self.count - self.by_source.get(member.index()).copied().unwrap_or(0)
    }

    /// Whether changes of `dest` concern the group already; before, filling will see them.
    pub(crate) fn covers(&self, dest: u32) -> bool {
        self.complete || dest < self.filled
    }

    pub(crate) fn filled(&self) -> u32 {
        self.filled
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn set_filled(&mut self, filled: u32, bound: u32) {
        self.filled = filled;
        self.complete = filled >= bound;
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self, shared: &mut Shared) {
        for attr in self.attr.drain(..) {
            shared.attrs.release(attr);
        }
        *self = Self::default();
    }
}
