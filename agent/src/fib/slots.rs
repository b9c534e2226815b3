//! The slots that something is known of: an arena, found by hash, and the work to be done in them.
//!
//! A route costs one [`Entry`] of 44 bytes and 6 to 12 of the index; nothing is allocated or counted
//! for it. What is to be done is a mark in the entry and its number in a queue; a number in a
//! queue whose mark says otherwise is skipped, so changing one's mind costs nothing.

use std::{collections::VecDeque, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use wayleave_netlink::Prefix;

use super::{
    contents::ContentId,
    machine::Slot,
    way::{Owner, WayId},
};

/// The number of a slot; of nothing once it is [removed](Slots::remove).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId(u32);

/// What is to be done with a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Work {
    #[default]
    None,
    Install,
    Remove,
}

/// What the kernel has in a slot, of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Actual {
    /// Nothing.
    #[default]
    Absent,
    /// This. Through a nexthop object: as long as that is there.
    Is(ContentId),
    /// Nobody knows; if there is something, it is ours.
    Unknown,
    /// Somebody replaced ours by his.
    Taken,
}

/// One slot.
#[derive(Debug)]
pub(super) struct Entry {
    prefix: Prefix,
    flags: u8,
    work: Work,
    metric: u32,
    /// By owner, in order of precedence.
    pub(super) wishes: [Option<WayId>; Owner::ALL.len()],
    /// Changed by the machine, which counts the users of contents.
    pub(super) actual: Actual,
}

/// Found in the kernel and desired by nobody since; swept when all have claimed theirs.
const ADOPTED: u8 = 1;
/// In the listing under way.
const SEEN: u8 = 1 << 1;
const IN_INSTALLS: u8 = 1 << 2;
const IN_REMOVALS: u8 = 1 << 3;
/// Removed; its number is free, or will be when the queues let go of it.
const DEAD: u8 = 1 << 4;
/// A change of it is with the kernel: it is not to be forgotten before the answer.
const SENT: u8 = 1 << 5;

impl Entry {
    pub(super) const fn slot(&self) -> Slot {
        Slot {
            prefix: self.prefix,
            metric: self.metric,
        }
    }

    pub(super) fn is_desired(&self) -> bool {
        self.wishes.iter().any(Option::is_some)
    }

    /// The place of the strongest owner who desires something.
    pub(super) fn strongest(&self) -> Option<usize> {
        self.wishes.iter().position(Option::is_some)
    }

    pub(super) const fn is_adopted(&self) -> bool {
        self.flags & ADOPTED != 0
    }

    pub(super) const fn set_adopted(&mut self, adopted: bool) {
        self.set(ADOPTED, adopted);
    }

    pub(super) const fn is_seen(&self) -> bool {
        self.flags & SEEN != 0
    }

    pub(super) const fn set_seen(&mut self, seen: bool) {
        self.set(SEEN, seen);
    }

    pub(super) const fn is_sent(&self) -> bool {
        self.flags & SENT != 0
    }

    pub(super) const fn set_sent(&mut self, sent: bool) {
        self.set(SENT, sent);
    }

    const fn is_live(&self) -> bool {
        self.flags & DEAD == 0
    }

    const fn set(&mut self, flag: u8, value: bool) {
        if value {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    /// Numbers of dead entries that no queue has.
    free: Vec<u32>,
    /// Slots with the metric of containers and blocks, which are few, and all others: whether a
    /// learned route has a sibling is then a look into a small table.
    own: HashTable<u32>,
    learned: HashTable<u32>,
    hasher: DefaultHashBuilder,
    installs: VecDeque<u32>,
    removals: Vec<u32>,
    /// How many entries are to be worked on: to install, to remove.
    waiting: [usize; 2],
}

impl Slots {
    pub(super) fn get(&self, id: SlotId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> &mut Entry {
        &mut self.entries[id.0 as usize]
    }

    pub(super) fn find(&self, slot: &Slot) -> Option<SlotId> {
        let table = if is_own(slot) {
            &self.own
        } else {
            &self.learned
        };
        let same = |id: &u32| self.entries[*id as usize].slot() == *slot;
        table
            .find(self.hasher.hash_one(slot), same)
            .map(|id| SlotId(*id))
    }

    /// The slots of a prefix, at the metrics given.
    pub(super) fn of_prefix(&self, prefix: Prefix, learned: u32) -> impl Iterator<Item = SlotId> {
        let own = Slot::new(prefix, 0);
        let other = Slot::new(prefix, learned);
        let second = (other != own).then(|| self.find(&other)).flatten();
        [self.find(&own), second].into_iter().flatten()
    }

    /// The other slot of the same prefix, of those two that can be ours.
    pub(super) fn sibling(&self, id: SlotId, learned: u32) -> Option<SlotId> {
        let slot = self.get(id).slot();
        let own = Slot::new(slot.prefix, 0);
        // Of a learned route this is a look into the small table.
        let other = if slot == own {
            Slot::new(slot.prefix, learned)
        } else {
            own
        };
        (other != slot).then(|| self.find(&other)).flatten()
    }

    /// The number of a slot, which is made if there is none.
    pub(super) fn make(&mut self, slot: Slot) -> SlotId {
        if let Some(id) = self.find(&slot) {
            return id;
        }
        let entry = Entry {
            prefix: slot.prefix,
            metric: slot.metric,
            flags: 0,
            work: Work::None,
            wishes: [None; Owner::ALL.len()],
            actual: Actual::Absent,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("invariant: fewer routes than 2^32")
            }
        };
        let Self {
            entries, hasher, ..
        } = self;
        let table = if is_own(&slot) {
            &mut self.own
        } else {
            &mut self.learned
        };
        let hash = |id: &u32| hasher.hash_one(entries[*id as usize].slot());
        table.insert_unique(hasher.hash_one(slot), id, hash);
        SlotId(id)
    }

    /// Forgets a slot.
    pub(super) fn remove(&mut self, id: SlotId) {
        debug_assert!(self.get(id).is_live() && !self.get(id).is_sent());
        self.set_work(id, Work::None);
        let slot = self.get(id).slot();
        let table = if is_own(&slot) {
            &mut self.own
        } else {
            &mut self.learned
        };
        if let Ok(found) = table.find_entry(self.hasher.hash_one(slot), |other| *other == id.0) {
            found.remove();
        }
        let entry = &mut self.entries[id.0 as usize];
        entry.set(DEAD, true);
        if entry.flags & (IN_INSTALLS | IN_REMOVALS) == 0 {
            self.free.push(id.0);
        }
        if self.own.is_empty() && self.learned.is_empty() {
            // Nothing is left: nor is the room it took.
            *self = Self {
                hasher: self.hasher.clone(),
                ..Self::default()
            };
        }
    }

    /// All of them, in no order anybody should rely on.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        let live: Vec<_> = self.iter().map(|(id, _)| id).collect();
        live.into_iter()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Entry)> {
        (0..)
            .map(SlotId)
            .zip(&self.entries)
            .filter(|(_, e)| e.is_live())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SlotId, &mut Entry)> {
        let numbered = (0..).map(SlotId).zip(&mut self.entries);
        numbered.filter(|(_, entry)| entry.is_live())
    }

    /// Notes what is to be done with a slot now.
    pub(super) fn set_work(&mut self, id: SlotId, work: Work) {
        let entry = &mut self.entries[id.0 as usize];
        let before = std::mem::replace(&mut entry.work, work);
        if before == work {
            return;
        }
        if let Some(place) = place(before) {
            self.waiting[place] -= 1;
        }
        let Some(place) = place(work) else { return };
        self.waiting[place] += 1;
        let flag = [IN_INSTALLS, IN_REMOVALS][place];
        if entry.flags & flag == 0 {
            entry.flags |= flag;
            match work {
                Work::Remove => self.removals.push(id.0),
                Work::Install | Work::None => self.installs.push_back(id.0),
            }
        }
    }

    /// The next slots to work on: removals before, the last noted first, because the kernel may be
    /// ten times slower in the order of adding; then installs in the order they were noted.
    /// Neither starves the other.
    pub(super) fn take(&mut self, max: usize) -> Vec<SlotId> {
        let [installs, removals] = self.waiting;
        let removals = removals.min(max - installs.min(max / 2));
        let installs = installs.min(max - removals);
        let mut slots = Vec::with_capacity(removals + installs);
        self.take_from(Work::Remove, removals, &mut slots);
        self.take_from(Work::Install, installs, &mut slots);
        for (place, work) in [(0, Work::Install), (1, Work::Remove)] {
            if self.waiting[place] == 0 {
                // Whatever is left in the queue is a mind that was changed.
                self.take_from(work, usize::MAX, &mut slots);
            }
        }
        slots
    }

    fn take_from(&mut self, work: Work, most: usize, into: &mut Vec<SlotId>) {
        let until = into.len().saturating_add(most);
        while into.len() < until {
            let (next, flag) = match work {
                Work::Remove => (self.removals.pop(), IN_REMOVALS),
                Work::Install | Work::None => (self.installs.pop_front(), IN_INSTALLS),
            };
            let Some(id) = next else { return };
            let entry = &mut self.entries[id as usize];
            entry.set(flag, false);
            if !entry.is_live() {
                if entry.flags & (IN_INSTALLS | IN_REMOVALS) == 0 {
                    self.free.push(id);
                }
            } else if entry.work == work {
                self.set_work(SlotId(id), Work::None);
                into.push(SlotId(id));
            }
        }
    }

    /// How many slots are to be worked on.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting[0] + self.waiting[1]
    }
}

/// Whether a slot has the metric of containers and blocks.
fn is_own(slot: &Slot) -> bool {
    *slot == Slot::new(slot.prefix, 0)
}

const fn place(work: Work) -> Option<usize> {
    match work {
        Work::None => None,
        Work::Install => Some(0),
        Work::Remove => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(host: u8) -> Slot {
        let prefix = Prefix::host([10, 0, 0, host].into());
        Slot { prefix, metric: 50 }
    }

    #[test]
    fn installs_go_in_order_removals_in_reverse_and_neither_starves_the_other() {
        let mut slots = Slots::default();
        for host in 0..10 {
            let id = slots.make(slot(host));
            slots.set_work(id, Work::Install);
            let id = slots.make(slot(100 + host));
            slots.set_work(id, Work::Remove);
        }
        let hosts = |slots: &mut Slots, max| -> Vec<Slot> {
            let taken = slots.take(max);
            taken.into_iter().map(|id| slots.get(id).slot()).collect()
        };
        let first = hosts(&mut slots, 4);
        assert_eq!(first, [slot(109), slot(108), slot(0), slot(1)]);
        assert_eq!(hosts(&mut slots, 100).len(), 16);
        assert_eq!(slots.waiting(), 0);
    }

    #[test]
    fn a_changed_mind_and_a_forgotten_slot_leave_nothing_to_do_and_no_number_is_used_twice() {
        let mut slots = Slots::default();
        let keeper = slots.make(slot(200));
        let one = slots.make(slot(1));
        slots.set_work(one, Work::Install);
        slots.set_work(one, Work::Remove);
        slots.set_work(one, Work::Install);
        assert_eq!(slots.waiting(), 1);
        slots.remove(one);
        assert_eq!(slots.waiting(), 0);
        assert_eq!(slots.find(&slot(1)), None);
        // The queues still have the number: whoever comes next gets another one.
        let two = slots.make(slot(2));
        assert_ne!(two, one);
        slots.set_work(two, Work::Remove);
        assert_eq!(slots.take(10), [two]);
        slots.set_work(two, Work::Install);
        assert_eq!(slots.take(10), [two]);
        assert_eq!(slots.make(slot(3)), one, "now it is free");
        assert_eq!(slots.iter().count(), 3);
        let own = Slot::new(slot(2).prefix, 0);
        let sibling = slots.make(own);
        let of: Vec<_> = slots.of_prefix(own.prefix, 50).collect();
        assert_eq!(of, [sibling, two]);
        let _ = keeper;
    }

    #[test]
    fn an_entry_is_as_small_as_promised() {
        assert_eq!(size_of::<Entry>(), 44);
    }
}
