//! Routes that are held although their peer has not told them anew: between the markers of a route
//! refresh (RFC 7313, 4), and while a peer restarts (RFC 4724, 4.2).
//!
//! Stale routes are those of an earlier epoch of their family that still counts: see
//! [`Source`](crate::rib::source::Source). A family has one such epoch. What is told anew comes into
//! the epoch of the day; what was not by the time the peer has told everything is swept.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Speaker,
    peer::{Peer, Stale},
    turn::mark,
};
use crate::{
    rib::{Shared, attr::AttrId, key::PrefixKey, source::Slot, table::Table},
    session::PeerRestart,
    types::{Family, Time},
    view::FamilyCounts,
    wire::{AttrFacts, Notification, RouteRefresh},
};

/// How long a peer may take to tell everything anew, at most ("a locally configurable upper bound":
/// RFC 7313, 4; RFC 4724, 4.2).
const TOLD_ANEW_WITHIN: Duration = Duration::from_secs(360);

/// Beginnings of a refresh that come closer together are ignored.
const BETWEEN_BEGINNINGS: Duration = Duration::from_secs(1);

impl Speaker {
    /// A ROUTE-REFRESH message.
    pub(super) fn refresh(
        &mut self,
        now: Time,
        slot: Slot,
        body: &[u8],
    ) -> Result<(), Notification> {
        let refresh = RouteRefresh::decode(body)?;
        // A family we do not carry is ignored (RFC 2918, 4).
        let Some(family) = Family::from_code(refresh.afi, refresh.safi) else {
            return Ok(());
        };
        let index = family.index();
        let Some(peer) = self.peer(slot) else {
            return Ok(());
        };
        let Some((_, negotiated)) = peer.session.established() else {
            return Ok(());
        };
        if !negotiated.families[index] {
            return Ok(());
        }
        let enhanced = negotiated.enhanced_refresh;
        // Before a restarted peer has said that it has told everything, a BoRR is of no use ("MUST
        // ignore", RFC 7313, 4).
        let restarts = negotiated.sends_end_of_rib && !peer.counts[index].end_of_rib;
        match refresh.subtype {
            RouteRefresh::REQUEST => {
                let bounds = self.tables.bounds();
                if let Some(group) = self.group_mut(slot) {
                    group.refresh(slot, family, bounds, enhanced);
                }
            }
            RouteRefresh::BEGIN if enhanced && !restarts => self.begin_anew(now, slot, family),
            RouteRefresh::END if enhanced && !restarts => self.drop_stale(slot, family),
            // What was not asked for, or is not known, is ignored (RFC 7313, 5).
            _ => {}
        }
        Ok(())
    }

    /// The peer is about to tell everything anew. No more than once a second: there is nothing to gain
    /// by more, and each is work on the table.
    fn begin_anew(&mut self, now: Time, slot: Slot, family: Family) {
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        let stale = &mut peer.stale[family.index()];
        if stale
            .begun
            .is_some_and(|begun| now.since(begun) < BETWEEN_BEGINNINGS)
        {
            return;
        }
        stale.begun = Some(now);
        stale.by_refresh = true;
        self.make_stale(slot, family);
        self.stale_until(slot, family, Some(now + TOLD_ANEW_WITHIN));
    }

    /// Everything held of a family is stale from now on.
    fn make_stale(&mut self, slot: Slot, family: Family) {
        let source = &mut self.shared.sources[slot.index()];
        let index = family.index();
        match source.stale[index] {
            None => source.make_stale(index),
            // Some of it already is: the rest joins that.
            Some(stale) => {
                let now = source.epoch[index];
                match family {
                    Family::Ipv4Unicast => self.tables.v4.move_epoch(slot, now, stale),
                    Family::Ipv6Unicast => self.tables.v6.move_epoch(slot, now, stale),
                }
            }
        }
        if let Some(peer) = self.peer_mut(slot) {
            let FamilyCounts {
                received, accepted, ..
            } = peer.counts[index];
            peer.stale[index].received = received;
            peer.stale[index].accepted = accepted;
        }
    }

    /// What is still stale of a family is gone.
    pub(super) fn drop_stale(&mut self, slot: Slot, family: Family) {
        let index = family.index();
        if self.shared.sources[slot.index()].stale[index]
            .take()
            .is_none()
        {
            return;
        }
        if let Some(peer) = self.peer_mut(slot) {
            let stale = std::mem::take(&mut peer.stale[index]);
            let counts = &mut peer.counts[index];
            counts.received = counts.received.saturating_sub(stale.received);
            counts.accepted = counts.accepted.saturating_sub(stale.accepted);
            peer.stale[index].begun = stale.begun;
            if stale.received > 0 {
                self.sweep.start(&self.tables);
            }
        }
        self.arm(slot);
    }

    /// A session of a peer that restarts is over: what it told of a family stays, for as long as it may
    /// take to come back. What is still there of an earlier restart is gone ("previously marked as
    /// stale MUST be deleted": RFC 4724, 4.2), unless it may be held for long ("in the case of
    /// consecutive restarts, the previously marked stale routes MUST NOT be deleted before the timer for
    /// the Long-lived Stale Time expires": RFC 9494, 4.2).
    pub(super) fn hold(&mut self, now: Time, slot: Slot, family: Family, restart: &PeerRestart) {
        let index = family.index();
        let long = restart.long_lived[index];
        let by_refresh = self
            .peer_mut(slot)
            .is_some_and(|peer| std::mem::take(&mut peer.stale[index].by_refresh));
        // What is to be told anew since a refresh began is no older than the rest. What had its Restart
        // Time already begins its long-lived one: else it might be held for ever.
        if !by_refresh && long.is_zero() {
            self.drop_stale(slot, family);
        } else if !by_refresh && self.shared.sources[slot.index()].stale[index].is_some() {
            if let Some(peer) = self.peer_mut(slot) {
                peer.stale[index].long = long;
            }
            self.hold_for_long(now, slot, family);
        }
        self.make_stale(slot, family);
        if let Some(peer) = self.peer_mut(slot) {
            peer.stale[index].long = long;
        }
        self.stale_until(slot, family, Some(now + restart.time(index)));
        if restart.time(index).is_zero() {
            self.hold_for_long(now, slot, family);
        }
        self.tell_stale(slot, family);
    }

    /// The Restart Time is over, and the Long-lived Stale Time begins: what is held is the last choice
    /// from now on, for everybody who hears of it, and what asked not to be held so is gone (RFC 9494,
    /// 4.2).
    fn hold_for_long(&mut self, now: Time, slot: Slot, family: Family) {
        let index = family.index();
        if let Some(peer) = self.peer_mut(slot) {
            let stale = &mut peer.stale[index];
            stale.until = None;
            let until = now + stale.long;
            stale.long_until.get_or_insert(until);
        }
        let Self {
            shared,
            tables,
            peers,
            feeds,
            config,
            ..
        } = self;
        let Some(peer) = peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let mut marking = Marking {
            shared,
            peer,
            slot,
            marked: BTreeMap::new(),
            changed: (config.multipath > 1).then(Vec::new),
        };
        match family {
            Family::Ipv4Unicast => marking.all(&mut tables.v4),
            Family::Ipv6Unicast => marking.all(&mut tables.v6),
        }
        for dest in marking.changed.into_iter().flatten() {
            mark(feeds, index, dest);
        }
        self.arm(slot);
    }

    /// Nothing a peer told of a family counts any more.
    pub(super) fn lose_all(&mut self, slot: Slot, family: Family) {
        let index = family.index();
        self.shared.sources[slot.index()].lose(index);
        if let Some(peer) = self.peer_mut(slot) {
            peer.counts[index] = FamilyCounts::default();
            peer.stale[index] = Stale::default();
        }
        self.arm(slot);
    }

    /// A peer has come back: what is held goes at once where it has not kept its forwarding state
    /// (RFC 4724, 4.2), and else when it has told everything, or had the time to.
    pub(super) fn is_back(&mut self, now: Time, slot: Slot, restart: Option<PeerRestart>) {
        for family in Family::ALL {
            let index = family.index();
            if self.shared.sources[slot.index()].stale[index].is_none() {
                continue;
            }
            // Each phase goes by its own capability.
            let long_lived = self
                .peer(slot)
                .is_some_and(|peer| peer.stale[index].is_long_lived());
            let kept = restart.is_some_and(|restart| match long_lived {
                true => restart.long_forwarding[index],
                false => restart.forwarding[index],
            });
            if kept {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.stale[index].long = Duration::ZERO;
                }
                self.stale_until(slot, family, Some(now + TOLD_ANEW_WITHIN));
            } else {
                self.drop_stale(slot, family);
            }
        }
    }

    /// Has the feeds hear that the routes of a family are stale.
    pub(super) fn tell_stale(&mut self, slot: Slot, family: Family) {
        let index = family.index();
        let dests = match family {
            Family::Ipv4Unicast => dests(&self.tables.v4, slot),
            Family::Ipv6Unicast => dests(&self.tables.v6, slot),
        };
        for dest in dests {
            mark(&mut self.feeds, index, dest);
        }
    }

    /// When stale routes of a family are dropped at the latest.
    pub(super) fn stale_until(&mut self, slot: Slot, family: Family, until: Option<Time>) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.stale[family.index()].until = until;
        }
        self.arm(slot);
    }

    /// Drops the stale routes whose time is over, or holds them as the last choice.
    pub(super) fn expire_stale(&mut self, now: Time, slot: Slot) {
        for family in Family::ALL {
            let Some(peer) = self.peer(slot) else {
                return;
            };
            let stale = peer.stale[family.index()];
            let is_over = |due: Option<Time>| due.is_some_and(|due| due <= now);
            if is_over(stale.long_until) || (is_over(stale.until) && stale.long.is_zero()) {
                self.drop_stale(slot, family);
            } else if is_over(stale.until) {
                self.hold_for_long(now, slot, family);
            }
        }
    }
}

/// What marking the stale paths of a peer as long-lived takes.
struct Marking<'a> {
    shared: &'a mut Shared,
    peer: &'a mut Peer,
    slot: Slot,
    /// Sets with the mark, by those without.
    marked: BTreeMap<AttrId, AttrId>,
    /// Destinations, where feeds hear of more than the best paths.
    changed: Option<Vec<u32>>,
}

impl Marking<'_> {
    fn all<P: PrefixKey>(&mut self, table: &mut Table<P>) {
        let index = P::FAMILY.index();
        for id in 0..table.path_bound() {
            let source = &self.shared.sources[self.slot.index()];
            let stale = table
                .live_path(id)
                .copied()
                .filter(|path| path.peer == self.slot && source.is_stale(index, path.epoch));
            let Some(path) = stale else { continue };
            let attrs = &self.shared.attrs;
            let asks = |attr: AttrId| attrs.key(attr).flags & AttrFacts::NO_LLGR != 0;
            if asks(path.received) || asks(path.attr) {
                let outcome = self.shared.remove(table, id);
                let counts = &mut self.peer.counts[index];
                counts.received = counts
                    .received
                    .saturating_add_signed(outcome.received.into());
                counts.accepted = counts
                    .accepted
                    .saturating_add_signed(outcome.accepted.into());
                if let Some(was_accepted) = outcome.stale {
                    self.peer.stale[index].leave(was_accepted);
                }
            } else if !path.attr.is_none() {
                let attr = self.mark(path.attr);
                self.shared.judge(table, id, attr);
            }
            if let Some(changed) = &mut self.changed {
                changed.push(path.dest);
            }
        }
    }

    fn mark(&mut self, attr: AttrId) -> AttrId {
        let shared = &mut *self.shared;
        *self
            .marked
            .entry(attr)
            .or_insert_with(|| super::import::as_long_lived(&mut shared.attrs, attr))
    }
}

/// The destinations that a peer has a path to.
fn dests<P: PrefixKey>(table: &Table<P>, slot: Slot) -> Vec<u32> {
    let paths = (0..table.path_bound()).filter_map(|id| table.live_path(id));
    let of_peer = paths.filter(|path| path.peer == slot);
    of_peer.map(|path| path.dest).collect()
}
