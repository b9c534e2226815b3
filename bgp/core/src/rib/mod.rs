//! The routing information base: what peers sent, which of it is best, and who must hear of it.

pub(crate) mod attr;
pub(crate) mod bits;
pub(crate) mod decision;
pub(crate) mod index;
pub(crate) mod key;
pub(crate) mod limbo;
pub(crate) mod next_hop;
pub(crate) mod source;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use self::{
    attr::{AttrArena, AttrId},
    decision::Sources,
    key::PrefixKey,
    source::{Slot, Source, Whose},
    table::{NONE, Replaced, Table},
};
use crate::limits::Limits;

/// What a change to one path did to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) dest: u32,
    /// Peers may have to hear of it: the best path is another, or has other attributes.
    pub(crate) best_changed: bool,
    /// Change in the number of paths of the peer: +1, 0, -1.
    pub(crate) received: i8,
    /// The same for accepted ones.
    pub(crate) accepted: i8,
    /// What was there before was stale, and was accepted or not.
    pub(crate) stale: Option<bool>,
}

/// The working space and shared tables that a change to a family's table needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) attrs: AttrArena,
    pub(crate) sources: Vec<Source>,
    /// Turns of the machine so far.
    pub(crate) turn: u64,
    pub(crate) limits: Limits,
    /// By family: somebody is told of more than the best path (RFC 7911).
    pub(crate) every_path: [bool; 2],
    scratch: Vec<u32>,
}

impl Shared {
    pub(crate) fn new(local: Source, limits: Limits) -> Self {
        Self {
            attrs: AttrArena::new(),
            sources: vec![local],
            turn: 0,
            limits,
            every_path: [false; 2],
            scratch: Vec::new(),
        }
    }

    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources {
            attrs: &self.attrs,
            sources: &self.sources,
        }
    }

    /// `peer` announces `prefix` with these attributes (`attr` none: refused by policy).
    pub(crate) fn announce<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        prefix: P,
        peer: Slot,
        received: AttrId,
        attr: AttrId,
        since: u32,
    ) -> Outcome {
        let hash = table.hash(prefix);
        let dest = table.find_or_add_hashed(prefix, hash);
        self.announce_to(table, dest, peer.into(), received, attr, since)
            .expect("one path of a peer to a prefix, which has room for more")
    }

    /// The same where the destination is known, for one of the peer's paths. `None`: it has too many there.
    pub(crate) fn announce_to<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        dest: u32,
        whose: Whose,
        received: AttrId,
        attr: AttrId,
        since: u32,
    ) -> Option<Outcome> {
        let family = P::FAMILY.index();
        let peer = whose.peer;
        let epoch = self.sources[peer.index()].epoch[family];
        let stale = self.sources[peer.index()].stale[family];
        let new = Replaced {
            received,
            attr,
            epoch,
        };
        let (id, old) = table.put_path(dest, whose, new, since, stale)?;
        self.attrs.hold(received);
        self.attrs.hold(attr);
        let mut outcome = Outcome {
            dest,
            best_changed: false,
            received: 1,
            accepted: i8::from(!attr.is_none()),
            stale: None,
        };
        if let Some(old) = old {
            outcome.stale = self.stale(family, peer, &old);
            self.attrs.release(old.received);
            self.attrs.release(old.attr);
            // A path of an earlier session was taken off the peer's counts when that ended.
            if self.sources[peer.index()].holds(family, old.epoch) {
                outcome.received = 0;
                outcome.accepted -= i8::from(!old.attr.is_none());
                if old == new {
                    return Some(outcome);
                }
            }
        }
        outcome.best_changed = self.decide_again(table, dest, Some(id));
        Some(outcome)
    }

    /// `peer` withdraws `prefix`; `None` when it had no path to it.
    pub(crate) fn withdraw<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        prefix: P,
        peer: Slot,
    ) -> Option<Outcome> {
        let dest = table.find(prefix)?;
        self.withdraw_from(table, dest, peer.into())
    }

    /// The same where the destination is known.
    pub(crate) fn withdraw_from<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        dest: u32,
        whose: Whose,
    ) -> Option<Outcome> {
        let id = table.path_of(dest, whose)?;
        Some(self.remove(table, id))
    }

    /// Removes a path, whoever's it is.
    pub(crate) fn remove<P: PrefixKey>(&mut self, table: &mut Table<P>, id: u32) -> Outcome {
        let path = *table.path(id);
        let current = self.sources[path.peer.index()].holds(P::FAMILY.index(), path.epoch);
        let old = table.remove_path(id);
        self.attrs.release(old.received);
        self.attrs.release(old.attr);
        let stale = self.stale(P::FAMILY.index(), path.peer, &old);
        let best_changed = self.decide_again(table, path.dest, Some(id));
        table.enter_limbo(path.dest, self.turn);
        Outcome {
            dest: path.dest,
            best_changed,
            received: -i8::from(current),
            accepted: -i8::from(current && !old.attr.is_none()),
            stale,
        }
    }

    /// Whether what was there was stale, and then whether it was accepted.
    fn stale(&self, family: usize, peer: Slot, old: &Replaced) -> Option<bool> {
        let stale = self.sources[peer.index()].is_stale(family, old.epoch);
        stale.then_some(!old.attr.is_none())
    }

    /// Gives a path the attributes that another policy leaves it. Its destination, and the change
    /// in the number of accepted paths.
    pub(crate) fn judge<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        id: u32,
        attr: AttrId,
    ) -> (u32, i8) {
        self.attrs.hold(attr);
        let (dest, old) = table.set_attr(id, attr);
        self.attrs.release(old);
        self.decide_again(table, dest, Some(id));
        (dest, i8::from(!attr.is_none()) - i8::from(!old.is_none()))
    }

    /// Decides for `dest` again, for whether next hops can be reached has changed.
    pub(crate) fn decide_anew<P: PrefixKey>(&mut self, table: &mut Table<P>, dest: u32) {
        self.decide_again(table, dest, None);
    }

    /// Decides for `dest` after the path `touched` changed or went; whether the best did.
    fn decide_again<P: PrefixKey>(
        &mut self,
        table: &mut Table<P>,
        dest: u32,
        touched: Option<u32>,
    ) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let best = self.sources().decide(table, dest, &mut scratch);
        self.scratch = scratch;
        let old = table.best_id(dest);
        table.set_best(dest, best);
        let changed = best != old || (best != NONE && touched == Some(best));
        if changed || self.every_path[P::FAMILY.index()] {
            table.mark_dirty(dest);
        }
        changed
    }
}
