//! Policy that has changed, and next hops that can be reached or no longer, applied to what is held
//! already: a piece in each turn.
//!
//! One way through all paths serves every peer whose policy changes meanwhile, as one sweep serves all
//! that go down. What comes in on the way is judged by what is known that day anyhow.

use std::net::IpAddr;

use super::{
    Speaker,
    import::{as_long_lived, refuses_prefix},
    rules::{Import, Judging},
    turn::mark,
};
use crate::{
    config::Policy,
    out::Families,
    rib::{attr::AttrId, key::PrefixKey, next_hop::NextHopId, source::Slot, table::Table},
    types::{Ipv4Prefix, Ipv6Prefix, Prefix},
};

/// How far the way has come.
#[derive(Debug, Default)]
pub(super) struct Rejudging {
    position: [u32; 2],
    remaining: [u32; 2],
    /// Paths there were when somebody last joined it: what came later was judged when it came.
    bound: [u32; 2],
    /// Whose paths are judged, in order.
    due: Vec<Slot>,
    /// Whose paths are decided about anew.
    next_hops: Vec<NextHopId>,
}

impl Rejudging {
    pub(super) fn is_running(&self) -> bool {
        !self.due.is_empty() || !self.next_hops.is_empty()
    }

    /// The next so many ids of a family.
    fn advance(&mut self, family: usize, most: u32) -> impl Iterator<Item = u32> + use<> {
        let bound = self.bound[family];
        let count = self.remaining[family].min(most);
        self.remaining[family] -= count;
        let from = self.position[family].min(bound);
        let first = count.min(bound - from);
        // The rest of the way begins at the beginning.
        let second = count - first;
        self.position[family] = if second > 0 { second } else { from + first };
        (from..from + first).chain(0..second.min(bound))
    }
}

/// A path, what counts of it so far, and what is left of it.
#[derive(Clone, Copy, Debug)]
struct Judgement {
    path: u32,
    before: AttrId,
    after: AttrId,
}

impl Speaker {
    /// Judges everything `slot` has sent again, in the turns to come.
    pub(super) fn judge_anew(&mut self, slot: Slot) {
        if let Err(at) = self.rejudging.due.binary_search(&slot) {
            self.rejudging.due.insert(at, slot);
        }
        self.start_judging();
    }

    /// Whether these next hops can be reached: what anybody who tracks them ([`Self::track_next_hops`])
    /// has found out. Paths with one that cannot take no part in the decision (RFC 4271, 9.1.2.1).
    pub fn reachable(&mut self, next_hops: &[(IpAddr, bool)]) {
        let mut changed = self.shared.attrs.next_hops().set_reachable(next_hops);
        if !changed.is_empty() {
            self.rejudging.next_hops.append(&mut changed);
            self.rejudging.next_hops.sort_unstable();
            self.rejudging.next_hops.dedup();
            self.start_judging();
        }
    }

    /// From now on [`Self::poll_next_hops`] tells which next hops are in use.
    pub fn track_next_hops(&mut self) {
        self.shared.attrs.next_hops().track();
    }

    /// Next hops that have come into use (`true`), or out of it, since the last call; those of sessions
    /// on an interface of their own are among them, and need not be tracked.
    pub fn poll_next_hops(&mut self) -> Option<Vec<(IpAddr, bool)>> {
        let next_hops = self.shared.attrs.next_hops();
        next_hops.has_news().then(|| next_hops.take_news())
    }

    fn start_judging(&mut self) {
        self.rejudging.bound = [self.tables.v4.path_bound(), self.tables.v6.path_bound()];
        self.rejudging.remaining = self.rejudging.bound;
    }

    /// One piece of that; whether there is more.
    pub(super) fn judge_on(&mut self) -> bool {
        if !self.rejudging.is_running() {
            return false;
        }
        let due = self.rejudging.due.iter();
        let rules = due.filter_map(|&slot| self.peer(slot)?.import.as_ref());
        let weight = rules.map(Import::weight).max().unwrap_or(1);
        let most = (self.shared.limits.turn / weight).max(1);
        self.judge_part::<Ipv4Prefix>(most, |tables| &mut tables.v4);
        self.judge_part::<Ipv6Prefix>(most, |tables| &mut tables.v6);
        if self.rejudging.remaining == [0, 0] {
            self.rejudging.due.clear();
            self.rejudging.next_hops.clear();
        }
        self.rejudging.is_running()
    }

    fn judge_part<P: PrefixKey>(
        &mut self,
        most: u32,
        table: impl Fn(&mut Families) -> &mut Table<P>,
    ) {
        let family = P::FAMILY.index();
        let ids = self.rejudging.advance(family, most);
        let mut concerned: Vec<(Slot, u32)> = Vec::new();
        let mut moved: Vec<u32> = Vec::new();
        for id in ids {
            let Some(path) = table(&mut self.tables).live_path(id) else {
                continue;
            };
            if !self.rejudging.next_hops.is_empty() && !path.attr.is_none() {
                let next_hop = self.shared.attrs.next_hop_id(path.attr);
                if self.rejudging.next_hops.binary_search(&next_hop).is_ok() {
                    moved.push(path.dest);
                }
            }
            let source = &self.shared.sources[path.peer.index()];
            if self.rejudging.due.binary_search(&path.peer).is_ok()
                && source.holds(family, path.epoch)
            {
                concerned.push((path.peer, id));
            }
        }
        moved.sort_unstable();
        moved.dedup();
        let multipath = self.config.multipath > 1;
        for dest in moved {
            self.shared.decide_anew(table(&mut self.tables), dest);
            if multipath {
                mark(&mut self.feeds, family, dest);
            }
        }
        concerned.sort_unstable();
        for of_one in concerned.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(slot, _)) = of_one.first() else {
                continue;
            };
            let paths: Vec<u32> = of_one.iter().map(|&(_, id)| id).collect();
            let judged = self.judgements(slot, &paths, &table);
            self.apply_judgements(slot, judged, &table);
        }
    }

    /// What is left by policy now of some paths of `slot`: of those where it is something else.
    fn judgements<P: PrefixKey>(
        &mut self,
        slot: Slot,
        paths: &[u32],
        table: &impl Fn(&mut Families) -> &mut Table<P>,
    ) -> Vec<Judgement> {
        let mut judged = Vec::with_capacity(paths.len());
        let mut of_set: Option<(AttrId, AttrId)> = None;
        let mut received: Vec<(AttrId, u32)> = paths
            .iter()
            .map(|&id| (table(&mut self.tables).path(id).received, id))
            .collect();
        // Sets are judged one after the other, and rules are bound to one after the other.
        received.sort_unstable();
        for (received, id) in received {
            let left = match of_set {
                Some((set, left)) if set == received => left,
                _ => match self.refuses_set(slot, received) {
                    Some(_) => AttrId::NONE,
                    None => self.adjusted(slot, received),
                },
            };
            of_set = Some((received, left));
            judged.push(Judgement {
                path: id,
                before: table(&mut self.tables).path(id).attr,
                after: left,
            });
        }
        let Self {
            shared,
            tables,
            peers,
            ..
        } = self;
        let Some(peer) = peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return Vec::new();
        };
        let mut import = peer.import.take();
        let mut judging = Judging::of(peer, shared);
        for judgement in &mut judged {
            let table = table(tables);
            let prefix: Prefix = table.prefix(table.path(judgement.path).dest).into();
            if judgement.after.is_none() || refuses_prefix(judging.config, prefix).is_some() {
                judgement.after = AttrId::NONE;
                continue;
            }
            judgement.after = match (&mut import, &judging.config.import) {
                (Some(rules), _) => rules.judge(&mut judging, judgement.after, prefix),
                // Rules that are not there let nothing in.
                (None, Policy::Rules(_)) => AttrId::NONE,
                (None, _) => judgement.after,
            };
        }
        peer.import = import;
        judged
    }

    fn apply_judgements<P: PrefixKey>(
        &mut self,
        slot: Slot,
        judged: Vec<Judgement>,
        table: &impl Fn(&mut Families) -> &mut Table<P>,
    ) {
        let family = P::FAMILY.index();
        let multipath = self.config.multipath > 1;
        let Self {
            shared,
            tables,
            peers,
            feeds,
            ..
        } = self;
        let Some(peer) = peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let table = table(tables);
        for Judgement {
            path,
            before,
            after,
        } in judged
        {
            let epoch = table.path(path).epoch;
            let stale = shared.sources[slot.index()].is_stale(family, epoch);
            let long_lived = stale && peer.stale[family].is_long_lived();
            let after = match long_lived && !after.is_none() {
                true => as_long_lived(&mut shared.attrs, after),
                false => after,
            };
            if after == before {
                continue;
            }
            let (dest, accepted) = shared.judge(table, path, after);
            let counts = &mut peer.counts[family];
            counts.accepted = counts.accepted.saturating_add_signed(accepted.into());
            if stale {
                let stale = &mut peer.stale[family];
                stale.accepted = stale.accepted.saturating_add_signed(accepted.into());
            }
            if multipath {
                mark(feeds, family, dest);
            }
        }
    }
}
