//! The routes of one family: destinations and their paths in two arenas joined by `u32` ids.
//!
//! Nothing is allocated or counted per route beyond its 16 (IPv4) or 28 (IPv6) bytes of
//! destination and 24 bytes per path. Adj-RIB-in is the paths with the attributes as received,
//! loc-RIB is the mark `best`; nothing is stored twice.

use std::{hash::BuildHasher, hint::black_box};

use hashbrown::DefaultHashBuilder;

use super::{
    attr::AttrId,
    index::Index,
    key::PrefixKey,
    limbo::Limbo,
    source::{Slot, Whose},
};

/// "No destination", "no path".
pub(crate) const NONE: u32 = u32::MAX;

/// A prefix and the list of its paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dest<A> {
    addr: A,
    /// First path, or [`NONE`]. On the free list: the next free destination.
    pub(crate) head: u32,
    /// Best path, or [`NONE`].
    pub(crate) best: u32,
    len: u8,
    flags: u8,
}

const DIRTY: u8 = 1;
const IN_LIMBO: u8 = 2;
const FREED: u8 = 4;
/// Lost its last path again while in limbo: the turn noted there is too early.
const AGAIN_IN_LIMBO: u8 = 8;

/// Destinations freed together.
const TOGETHER: usize = 64;

/// One path to a destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) dest: u32,
    /// Next path of the destination, or [`NONE`]. On the free list: the next free path.
    pub(crate) next: u32,
    /// The attributes as received.
    pub(crate) received: AttrId,
    /// The attributes after import policy; none: refused.
    pub(crate) attr: AttrId,
    /// Seconds of the driver's clock when it last changed.
    pub(crate) since: u32,
    pub(crate) peer: Slot,
    /// Epoch of the peer in which it was last announced.
    pub(crate) epoch: u8,
    flags: u8,
}

/// So many paths to a prefix are held of one peer (RFC 7911): each is looked at with every change of
/// any, and a neighbour must not make that dear.
pub(crate) const MOST_OF_ONE_PEER: usize = 64;

const PATH_FREED: u8 = 1;
/// Its peer tells several paths to a prefix, and has given it an identifier other than 0.
const HAS_PATH_ID: u8 = 2;

/// What a path was before it was replaced or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) received: AttrId,
    pub(crate) attr: AttrId,
    pub(crate) epoch: u8,
}

/// All routes of one family.
#[derive(Debug)]
pub(crate) struct Table<P: PrefixKey> {
    index: Index,
    hasher: DefaultHashBuilder,
    dests: Vec<Dest<P::Addr>>,
    paths: Vec<Path>,
    /// The identifiers of the paths that have one (RFC 7911, 3), as far as there are any.
    path_ids: Vec<u32>,
    free_dest: u32,
    free_path: u32,
    live_paths: u32,
    live_best: u32,
    /// Destinations whose best path changed and that groups have not looked at since.
    dirty: Vec<u32>,
    /// Destinations without paths that somebody may still have to hear about, with the last turn
    /// in which a log may have taken that up; oldest first.
    limbo: Limbo,
}

impl<P: PrefixKey> Table<P> {
    pub(crate) fn new() -> Self {
        Self {
            index: Index::new(),
            hasher: DefaultHashBuilder::default(),
            dests: Vec::new(),
            paths: Vec::new(),
            path_ids: Vec::new(),
            free_dest: NONE,
            free_path: NONE,
            live_paths: 0,
            live_best: 0,
            dirty: Vec::new(),
            limbo: Limbo::default(),
        }
    }

    /// Ids run from 0 to below this; some of them may be free.
    pub(crate) fn dest_bound(&self) -> u32 {
        u32::try_from(self.dests.len()).expect("ids are u32")
    }

    pub(crate) fn path_bound(&self) -> u32 {
        u32::try_from(self.paths.len()).expect("ids are u32")
    }

    pub(crate) fn paths_len(&self) -> u32 {
        self.live_paths
    }

    /// Prefixes with a best path.
    pub(crate) fn best_len(&self) -> u32 {
        self.live_best
    }

    pub(crate) fn prefix(&self, dest: u32) -> P {
        let dest = &self.dests[dest as usize];
        P::join(dest.addr, dest.len)
    }

    /// Whether this id stands for a prefix at all.
    pub(crate) fn is_live(&self, dest: u32) -> bool {
        self.dests
            .get(dest as usize)
            .is_some_and(|dest| dest.flags & FREED == 0)
    }

    /// What the index knows a prefix by.
    #[inline]
    pub(crate) fn hash(&self, prefix: P) -> u32 {
        self.hash_of(prefix.split())
    }

    #[inline]
    fn hash_of(&self, parts: (P::Addr, u8)) -> u32 {
        (self.hasher.hash_one(parts) >> 32) as u32
    }

    /// Reads what a search for `hash` reads first.
    #[inline]
    pub(crate) fn touch(&self, hash: u32) -> u64 {
        self.index.touch(hash)
    }

    pub(crate) fn find(&self, prefix: P) -> Option<u32> {
        self.find_hashed(prefix, self.hash(prefix))
    }

    #[inline]
    pub(crate) fn find_hashed(&self, prefix: P, hash: u32) -> Option<u32> {
        let (addr, len) = prefix.split();
        self.index.find(hash, |id| {
            let dest = &self.dests[id as usize];
            dest.addr == addr && dest.len == len
        })
    }

    /// The destination of `prefix`, made when it is new.
    #[cfg(test)]
    pub(crate) fn find_or_add(&mut self, prefix: P) -> u32 {
        self.find_or_add_hashed(prefix, self.hash(prefix))
    }

    pub(crate) fn find_or_add_hashed(&mut self, prefix: P, hash: u32) -> u32 {
        let (addr, len) = prefix.split();
        let new = match self.free_dest {
            NONE => self.dest_bound(),
            free => free,
        };
        let dests = &self.dests;
        let id = self.index.find_or_insert(hash, new, |id| {
            let dest = &dests[id as usize];
            dest.addr == addr && dest.len == len
        });
        if id == new {
            let dest = Dest {
                addr,
                head: NONE,
                best: NONE,
                len,
                flags: 0,
            };
            if self.free_dest == NONE {
                self.dests.push(dest);
            } else {
                let slot = &mut self.dests[id as usize];
                self.free_dest = slot.head;
                *slot = dest;
            }
        }
        id
    }

    /// First path of a destination, or [`NONE`].
    #[inline]
    pub(crate) fn head(&self, dest: u32) -> u32 {
        self.dests[dest as usize].head
    }

    pub(crate) fn path(&self, id: u32) -> &Path {
        &self.paths[id as usize]
    }

    /// The path, unless the slot is free.
    pub(crate) fn live_path(&self, id: u32) -> Option<&Path> {
        self.paths
            .get(id as usize)
            .filter(|path| path.flags & PATH_FREED == 0)
    }

    /// Moves the paths of a peer from one epoch to another.
    pub(crate) fn move_epoch(&mut self, peer: Slot, from: u8, to: u8) {
        for path in &mut self.paths {
            if path.flags & PATH_FREED == 0 && path.peer == peer && path.epoch == from {
                path.epoch = to;
            }
        }
    }

    /// Puts other accepted attributes on a path; returns its destination and the old ones.
    pub(crate) fn set_attr(&mut self, id: u32, attr: AttrId) -> (u32, AttrId) {
        let path = &mut self.paths[id as usize];
        (path.dest, std::mem::replace(&mut path.attr, attr))
    }

    pub(crate) fn best(&self, dest: u32) -> Option<&Path> {
        let best = self.dests[dest as usize].best;
        (best != NONE).then(|| &self.paths[best as usize])
    }

    pub(crate) fn best_id(&self, dest: u32) -> u32 {
        self.dests[dest as usize].best
    }

    pub(crate) fn set_best(&mut self, dest: u32, best: u32) {
        let old = std::mem::replace(&mut self.dests[dest as usize].best, best);
        match (old == NONE, best == NONE) {
            (true, false) => self.live_best += 1,
            (false, true) => self.live_best -= 1,
            (true, true) | (false, false) => {}
        }
    }

    /// The paths of a destination with their ids.
    pub(crate) fn paths_of(&self, dest: u32) -> impl Iterator<Item = (u32, &Path)> {
        let mut at = self.dests[dest as usize].head;
        std::iter::from_fn(move || {
            let path = self.paths.get(at as usize)?;
            let id = std::mem::replace(&mut at, path.next);
            Some((id, path))
        })
    }

    /// The identifier that its peer has given a path (RFC 7911, 3); 0 where it has given none.
    #[inline]
    pub(crate) fn path_id(&self, id: u32) -> u32 {
        match self.paths[id as usize].flags & HAS_PATH_ID {
            0 => 0,
            _ => self.path_ids[id as usize],
        }
    }

    fn set_path_id(&mut self, id: u32, path_id: u32) {
        let at = id as usize;
        if path_id == 0 {
            self.paths[at].flags &= !HAS_PATH_ID;
        } else {
            if self.path_ids.len() <= at {
                self.path_ids.resize(at + 1, 0);
            }
            self.path_ids[at] = path_id;
            self.paths[at].flags |= HAS_PATH_ID;
        }
    }

    /// Puts a peer's path to `dest` in place. The caller moves the attribute counts. `None`: the peer has
    /// too many there.
    ///
    /// A peer that has restarted need not know a path by the identifier that it had before (RFC 7911, 3).
    /// What it tells anew takes the place of the same one of the epoch `stale`: two of it would push others
    /// out of what is told and installed.
    pub(crate) fn put_path(
        &mut self,
        dest: u32,
        whose: Whose,
        new: Replaced,
        since: u32,
        stale: Option<u8>,
    ) -> Option<(u32, Option<Replaced>)> {
        let mut at = self.dests[dest as usize].head;
        let (mut of_peer, mut known, mut stands_for) = (0, NONE, NONE);
        while at != NONE {
            if self.is_of(at, whose) {
                known = at;
                break;
            }
            let path = &self.paths[at as usize];
            if path.peer == whose.peer {
                of_peer += 1;
                if stale == Some(path.epoch) && path.received == new.received {
                    stands_for = at;
                }
            }
            at = path.next;
        }
        if known == NONE && stands_for != NONE {
            known = stands_for;
            self.set_path_id(known, whose.path_id);
        }
        if known != NONE {
            let path = &mut self.paths[known as usize];
            {
                let old = Replaced {
                    received: path.received,
                    attr: path.attr,
                    epoch: path.epoch,
                };
                if (old.received, old.attr) != (new.received, new.attr) || old.epoch != new.epoch {
                    path.since = since;
                }
                path.received = new.received;
                path.attr = new.attr;
                path.epoch = new.epoch;
                return Some((known, Some(old)));
            }
        }
        if of_peer >= MOST_OF_ONE_PEER {
            return None;
        }
        let path = Path {
            dest,
            next: self.dests[dest as usize].head,
            received: new.received,
            attr: new.attr,
            since,
            peer: whose.peer,
            epoch: new.epoch,
            flags: 0,
        };
        let id = if self.free_path == NONE {
            self.paths.push(path);
            self.path_bound() - 1
        } else {
            let id = self.free_path;
            self.free_path = self.paths[id as usize].next;
            self.paths[id as usize] = path;
            id
        };
        self.set_path_id(id, whose.path_id);
        self.dests[dest as usize].head = id;
        self.live_paths += 1;
        Some((id, None))
    }

    /// Whether the path `id` is this one of a peer's.
    #[inline]
    fn is_of(&self, id: u32, whose: Whose) -> bool {
        self.paths[id as usize].peer == whose.peer && self.path_id(id) == whose.path_id
    }

    /// The id of a peer's path to `dest`.
    pub(crate) fn path_of(&self, dest: u32, whose: Whose) -> Option<u32> {
        self.paths_of(dest)
            .map(|(id, _)| id)
            .find(|&id| self.is_of(id, whose))
    }

    /// Takes a path out of its destination's list. The caller moves counts and decides again.
    pub(crate) fn remove_path(&mut self, id: u32) -> Replaced {
        let path = self.paths[id as usize];
        debug_assert!(path.flags & PATH_FREED == 0, "a path is removed once");
        let head = self.dests[path.dest as usize].head;
        if head == id {
            self.dests[path.dest as usize].head = path.next;
        } else {
            let mut at = head;
            while self.paths[at as usize].next != id {
                at = self.paths[at as usize].next;
            }
            self.paths[at as usize].next = path.next;
        }
        let slot = &mut self.paths[id as usize];
        slot.flags = PATH_FREED;
        slot.next = self.free_path;
        self.free_path = id;
        self.live_paths -= 1;
        Replaced {
            received: path.received,
            attr: path.attr,
            epoch: path.epoch,
        }
    }

    /// Notes that the best path of `dest` changed, once until it is taken.
    pub(crate) fn mark_dirty(&mut self, dest: u32) {
        let flags = &mut self.dests[dest as usize].flags;
        if *flags & DIRTY == 0 {
            *flags |= DIRTY;
            self.dirty.push(dest);
        }
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes up to `limit` dirty destinations, in the order they became dirty, to be compared in
    /// this `turn`.
    pub(crate) fn take_dirty(&mut self, limit: usize, turn: u64, into: &mut Vec<u32>) {
        into.clear();
        let count = limit.min(self.dirty.len());
        into.extend(self.dirty.drain(..count));
        for &dest in into.iter() {
            self.dests[dest as usize].flags &= !DIRTY;
            self.enter_limbo(dest, turn);
        }
        if self.dirty.is_empty() && self.dirty.capacity() > 1 << 16 {
            self.dirty = Vec::new();
        }
    }

    /// Notes, when `dest` has no paths left, that nobody hears of that later than in `turn`. One
    /// that is dirty has yet to be compared, and enters after that: a log that takes its withdrawal
    /// up names it by its id.
    pub(crate) fn enter_limbo(&mut self, dest: u32, turn: u64) {
        let entry = &mut self.dests[dest as usize];
        if entry.head != NONE || entry.flags & DIRTY != 0 {
            return;
        }
        if entry.flags & IN_LIMBO == 0 {
            entry.flags |= IN_LIMBO;
            self.limbo.push(dest, turn);
        } else {
            entry.flags |= AGAIN_IN_LIMBO;
        }
    }

    /// Frees destinations of which nothing was taken up since before turn `before`, unless they
    /// have a path again or `awaited` says that somebody must still hear of them.
    pub(crate) fn leave_limbo(
        &mut self,
        before: u64,
        now: u64,
        mut budget: usize,
        awaited: impl Fn(u32) -> bool,
    ) {
        while budget > 0 && self.limbo.is_due(before) {
            let count = budget.min(TOGETHER);
            budget -= count;
            self.touch_limbo(count);
            for _ in 0..count {
                let Some(dest) = self.limbo.pop_before(before) else {
                    return;
                };
                self.leave(dest, now, &awaited);
            }
        }
    }

    /// Reads what freeing the next `count` will read in the index: all at once, not one after the
    /// other (as for what comes in, see `speaker/staged.rs`).
    fn touch_limbo(&self, count: usize) {
        let next = self.limbo.iter().take(count);
        let read = next.fold(0, |read, dest| {
            let dest = &self.dests[dest as usize];
            read ^ self.index.touch(self.hash_of((dest.addr, dest.len)))
        });
        black_box(read);
    }

    fn leave(&mut self, dest: u32, now: u64, awaited: impl Fn(u32) -> bool) {
        let entry = &mut self.dests[dest as usize];
        let again = entry.flags & AGAIN_IN_LIMBO != 0;
        entry.flags &= !(IN_LIMBO | AGAIN_IN_LIMBO);
        if entry.head != NONE || entry.flags & DIRTY != 0 {
            return;
        }
        if again || awaited(dest) {
            self.enter_limbo(dest, now);
        } else {
            self.free_dest(dest);
        }
    }

    fn free_dest(&mut self, dest: u32) {
        let entry = self.dests[dest as usize];
        let hash = self.hash_of((entry.addr, entry.len));
        self.index.remove(hash, dest);
        let entry = &mut self.dests[dest as usize];
        entry.flags = FREED;
        entry.best = NONE;
        entry.head = self.free_dest;
        self.free_dest = dest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Ipv4Prefix, Ipv6Prefix};

    fn prefix(n: u32) -> Ipv4Prefix {
        Ipv4Prefix::from_bits(n << 8, 24)
    }

    fn set(n: u32) -> Replaced {
        Replaced {
            received: AttrId(n),
            attr: AttrId(n),
            epoch: 0,
        }
    }

    fn put(
        table: &mut Table<Ipv4Prefix>,
        dest: u32,
        whose: Whose,
        new: Replaced,
        since: u32,
    ) -> (u32, Option<Replaced>) {
        let done = table.put_path(dest, whose, new, since, None);
        done.expect("few are put there")
    }

    #[test]
    fn the_layout_keeps_to_its_budget() {
        assert_eq!(size_of::<Dest<<Ipv4Prefix as PrefixKey>::Addr>>(), 16);
        assert_eq!(size_of::<Dest<<Ipv6Prefix as PrefixKey>::Addr>>(), 28);
        assert_eq!(size_of::<Path>(), 24);
    }

    #[test]
    fn paths_of_several_peers_are_kept_apart_and_replaced_in_place() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        let (first, old) = put(&mut table, dest, Slot(1).into(), set(1), 0);
        assert_eq!(old, None);
        let (second, _) = put(&mut table, dest, Slot(2).into(), set(2), 0);
        let (again, old) = put(&mut table, dest, Slot(1).into(), set(3), 5);
        assert_eq!((again, old), (first, Some(set(1))));
        assert_eq!(table.path(first).since, 5);
        assert_eq!(table.paths_len(), 2);
        table.remove_path(first);
        assert_eq!(table.path_of(dest, Slot(1).into()), None);
        assert_eq!(table.path_of(dest, Slot(2).into()), Some(second));
        assert!(table.live_path(first).is_none());
    }

    #[test]
    fn paths_of_one_peer_are_told_apart_by_their_identifiers() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        let whose = |path_id| Whose {
            peer: Slot(1),
            path_id,
        };
        let ids = [7, 0, 9].map(|id| put(&mut table, dest, whose(id), set(id), 0).0);
        assert_eq!(
            put(&mut table, dest, whose(7), set(8), 0),
            (ids[0], Some(set(7)))
        );
        assert_eq!(ids.map(|id| table.path_id(id)), [7, 0, 9]);
        assert_eq!(table.path_of(dest, whose(9)), Some(ids[2]));
        // Whoever comes into a freed place has no identifier of its past.
        table.remove_path(ids[0]);
        let (again, old) = put(&mut table, dest, Slot(2).into(), set(1), 0);
        assert_eq!((again, old, table.path_id(again)), (ids[0], None, 0));
        assert_eq!(table.path_of(dest, whose(7)), None);
    }

    #[test]
    fn a_peer_has_only_so_many_paths_to_a_prefix() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        let most = u32::try_from(MOST_OF_ONE_PEER).unwrap();
        let whose = |peer, path_id| Whose {
            peer: Slot(peer),
            path_id,
        };
        for id in 0..most {
            put(&mut table, dest, whose(1, id), set(1), 0);
        }
        let more = table.put_path(dest, whose(1, most), set(1), 0, None);
        assert_eq!(more, None);
        // Those that are there may change, and others have theirs.
        put(&mut table, dest, whose(1, 7), set(2), 0);
        put(&mut table, dest, whose(2, most), set(1), 0);
        assert_eq!(table.paths_len(), most + 1);
    }

    #[test]
    fn what_is_told_anew_under_another_identifier_takes_the_place_of_the_stale_one() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        let whose = |path_id| Whose {
            peer: Slot(1),
            path_id,
        };
        let anew = |n| Replaced { epoch: 1, ..set(n) };
        let first = put(&mut table, dest, whose(1), set(1), 0).0;
        let second = put(&mut table, dest, whose(2), set(2), 0).0;
        let other = table.put_path(dest, whose(9), anew(3), 0, Some(0));
        assert!(other.is_some_and(|(id, old)| id != first && id != second && old.is_none()));
        let again = table.put_path(dest, whose(7), anew(1), 0, Some(0));
        assert_eq!(again, Some((first, Some(set(1)))));
        assert_eq!((table.path_id(first), table.paths_len()), (7, 3));
        // An identifier that is known stands for its path, whatever else there is.
        let known = table.put_path(dest, whose(2), anew(4), 0, Some(0));
        assert_eq!(known, Some((second, Some(set(2)))));
    }

    #[test]
    fn a_destination_in_limbo_is_found_again_and_freed_only_when_nobody_waits() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        table.enter_limbo(dest, 7);
        table.leave_limbo(7, 8, 10, |_| false);
        assert_eq!(table.find(prefix(1)), Some(dest), "its turn is not over");
        table.leave_limbo(8, 9, 10, |_| true);
        assert_eq!(table.find(prefix(1)), Some(dest), "somebody waits");
        table.leave_limbo(10, 11, 10, |_| false);
        assert_eq!(table.find(prefix(1)), None);
        assert!(!table.is_live(dest));
        assert_eq!(table.find_or_add(prefix(2)), dest, "the slot is used again");
    }

    #[test]
    fn a_destination_is_not_freed_before_the_turn_in_which_its_loss_was_compared_is_over() {
        let mut table = Table::new();
        let dest = table.find_or_add(prefix(1));
        table.mark_dirty(dest);
        table.enter_limbo(dest, 3);
        table.leave_limbo(9, 9, 10, |_| false);
        assert!(table.is_live(dest), "nobody has compared it yet");
        let mut taken = Vec::new();
        table.take_dirty(10, 9, &mut taken);
        table.leave_limbo(9, 9, 10, |_| false);
        assert!(table.is_live(dest), "a log of turn 9 may name it");

        // It comes back and goes again while it waits: what it waits for is later.
        let (path, _) = put(&mut table, dest, Slot(1).into(), set(1), 0);
        table.mark_dirty(dest);
        table.take_dirty(10, 12, &mut taken);
        table.remove_path(path);
        table.mark_dirty(dest);
        table.take_dirty(10, 15, &mut taken);
        table.leave_limbo(15, 15, 10, |_| false);
        assert!(table.is_live(dest), "a log of turn 15 may name it");
        table.leave_limbo(16, 17, 10, |_| false);
        assert!(!table.is_live(dest));
    }

    #[test]
    fn a_destination_is_dirty_once() {
        let mut table = Table::new();
        let (a, b) = (table.find_or_add(prefix(1)), table.find_or_add(prefix(2)));
        table.mark_dirty(a);
        table.mark_dirty(b);
        table.mark_dirty(a);
        let mut taken = Vec::new();
        table.take_dirty(10, 1, &mut taken);
        assert_eq!(taken, [a, b]);
        table.mark_dirty(a);
        table.take_dirty(10, 1, &mut taken);
        assert_eq!(taken, [a]);
    }
}
