//! One turn: what changed is compared, encoded once per group, and handed to the feeds.

use super::{Feed, Speaker, peer::Stale};
use crate::{
    out::{Families, Group, batch::Pack},
    rib::{Shared, key::PrefixKey, source::Slot, table::Table},
    types::Time,
};

/// The way through all paths that takes those of past sessions out. One way serves all peers
/// that go down meanwhile: each has the rest of it and then the beginning.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    position: [u32; 2],
    remaining: [u32; 2],
    /// Paths there were when it last began: what came later is of nobody who had gone by then.
    bound: [u32; 2],
}

impl Sweep {
    pub(super) fn start(&mut self, tables: &Families) {
        self.bound = [tables.v4.path_bound(), tables.v6.path_bound()];
        self.remaining = self.bound;
    }

    pub(super) fn is_running(&self) -> bool {
        self.remaining != [0, 0]
    }

    fn step<P: PrefixKey>(
        &mut self,
        shared: &mut Shared,
        table: &mut Table<P>,
        feeds: &mut [Option<Feed>],
        multipath: bool,
    ) {
        let index = P::FAMILY.index();
        let bound = self.bound[index];
        let count = self.remaining[index].min(shared.limits.turn);
        self.remaining[index] -= count;
        for _ in 0..count {
            if self.position[index] >= bound {
                self.position[index] = 0;
            }
            let id = self.position[index];
            self.position[index] += 1;
            let gone = table
                .live_path(id)
                .is_some_and(|path| !shared.sources[path.peer.index()].holds(index, path.epoch));
            if gone {
                let outcome = shared.remove(table, id);
                if multipath && !outcome.best_changed {
                    mark(feeds, index, outcome.dest);
                }
            }
        }
    }
}

/// Notes for every feed that `dest` changed.
pub(super) fn mark(feeds: &mut [Option<Feed>], family: usize, dest: u32) {
    for feed in feeds.iter_mut().flatten() {
        feed.families[family].changed(dest);
    }
}

impl Speaker {
    /// Does a bounded piece of the work that has come up; whether there is more to do at once.
    /// The driver should write what is ready between two turns.
    pub fn turn(&mut self, now: Time) -> bool {
        self.shared.turn += 1;
        let tells = self.end_deferral(now);
        let judges = self.judge_on();
        let multipath = self.config.multipath > 1;
        let Self {
            sweep,
            shared,
            tables,
            feeds,
            groups,
            dirty,
            ..
        } = self;
        sweep.step(shared, &mut tables.v4, feeds, multipath);
        sweep.step(shared, &mut tables.v6, feeds, multipath);
        let mut more = judges | sweep.is_running();
        more |= flush(shared, &mut tables.v4, groups, feeds, dirty);
        more |= flush(shared, &mut tables.v6, groups, feeds, dirty);
        let bounds = tables.bounds();
        let most = budget(shared, groups);
        for group in groups.iter_mut().flatten() {
            more |= group.fill(shared, &tables.v4, most);
            more |= group.fill(shared, &tables.v6, most);
            // Whoever comes while we defer has to walk: nobody follows the log yet.
            if tells {
                more |= group.walk(shared, tables);
            }
            more |= group.trim(bounds, shared.limits.log);
        }
        release(shared, &mut tables.v4, groups, feeds);
        release(shared, &mut tables.v6, groups, feeds);
        shared.attrs.collect();
        self.forget_dynamic_peers(now);
        more
    }

    /// A peer from a listen range is forgotten when it has no connection left, and nothing counts
    /// against it.
    fn forget_dynamic_peers(&mut self, now: Time) {
        let gone: Vec<_> = (0..)
            .zip(&self.peers)
            .filter_map(|(slot, peer)| {
                let peer = peer.as_ref()?;
                let holds = peer.stale.iter().any(Stale::is_held);
                let is_down = self.shut_down.contains_key(&*peer.name);
                let done = !holds && !is_down && peer.session.is_forgettable(now);
                let free = peer.range.is_some() && done;
                free.then_some(Slot(slot))
            })
            .collect();
        for slot in gone {
            let why = crate::wire::Notification::cease(crate::wire::Cease::PeerDeconfigured, None);
            self.remove_peer(now, slot, &why);
        }
    }
}

/// How many destinations are compared in one turn. What costs most is judging a set by the rules of a
/// group, and every such group does.
fn budget(shared: &Shared, groups: &[Option<Group>]) -> u32 {
    let weights = groups.iter().flatten().map(Group::weight).max();
    let ruled = groups.iter().flatten().filter(|group| group.weight() > 1);
    let all = ruled.count().max(1).saturating_mul(weights.unwrap_or(1));
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    (shared.limits.turn / all).max(LEAST.min(shared.limits.turn))
}

/// So many at least, so that what is learned in one go is mostly told in one go.
const LEAST: u32 = 256;

fn flush<P: Pack>(
    shared: &mut Shared,
    table: &mut Table<P>,
    groups: &mut [Option<Group>],
    feeds: &mut [Option<Feed>],
    dirty: &mut Vec<u32>,
) -> bool {
    if !table.has_dirty() {
        return false;
    }
    table.take_dirty(budget(shared, groups) as usize, shared.turn, dirty);
    for feed in feeds.iter_mut().flatten() {
        for &dest in dirty.iter() {
            feed.families[P::FAMILY.index()].changed(dest);
        }
    }
    for group in groups.iter_mut().flatten() {
        group.flush(shared, table, dirty);
    }
    table.has_dirty()
}

/// Frees destinations of which everybody has heard that they are gone.
fn release<P: PrefixKey>(
    shared: &Shared,
    table: &mut Table<P>,
    groups: &[Option<Group>],
    feeds: &[Option<Feed>],
) {
    let index = P::FAMILY.index();
    let oldest = groups
        .iter()
        .flatten()
        .filter_map(|group| group.log.oldest_turn())
        .min();
    let before = oldest.unwrap_or(shared.turn);
    table.leave_limbo(before, shared.turn, shared.limits.turn as usize, |dest| {
        groups
            .iter()
            .flatten()
            .any(|group| group.awaits(index, dest))
            || feeds
                .iter()
                .flatten()
                .any(|feed| feed.families[index].awaits(dest))
    });
}
