//! The decision process (RFC 4271, 9.1.2; RFC 4456, 9).
//!
//! Steps eliminate candidates from the whole set, as the RFC has it, so that the result does not
//! depend on the order in which paths came ("deterministic MED").
//!
//! A path whose next hop cannot be reached takes no part (RFC 4271, 9.1.2.1). What is known of that
//! somebody else finds out; as long as nobody has, all can be. Gap: how far it is (9.1.2.2 e).

use super::{
    attr::{AttrArena, AttrKey},
    key::PrefixKey,
    source::{Slot, Source},
    table::{NONE, Path, Table},
};
use crate::wire::AttrFacts;

/// The step that decided between two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Local,
    LongLived,
    LocalPref,
    AsPathLength,
    Origin,
    Med,
    ExternalOverInternal,
    RouterId,
    ClusterListLength,
    PeerAddress,
    PathId,
    Session,
    Equal,
}

impl Step {
    /// Why the winner of this step is preferred, in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Local => "originated here",
            Self::LongLived => "it is no long-lived stale route (RFC 9494, 4.3)",
            Self::LocalPref => "higher LOCAL_PREF",
            Self::AsPathLength => "shorter AS_PATH",
            Self::Origin => "lower ORIGIN",
            Self::Med => "lower MULTI_EXIT_DISC",
            Self::ExternalOverInternal => "eBGP before iBGP",
            Self::RouterId => "lower BGP identifier",
            Self::ClusterListLength => "shorter CLUSTER_LIST",
            Self::PeerAddress => "lower peer address",
            Self::PathId => "lower path identifier",
            Self::Session => "its session was configured before the other",
            Self::Equal => "only path",
        }
    }
}

/// The sources of paths, by slot.
pub(crate) struct Sources<'a> {
    pub(crate) attrs: &'a AttrArena,
    pub(crate) sources: &'a [Source],
}

impl Sources<'_> {
    fn source(&self, slot: Slot) -> &Source {
        &self.sources[slot.index()]
    }

    /// Whether a path takes part: accepted, its peer's session is the one it came in, and its next hop
    /// can be reached.
    pub(crate) fn is_candidate(&self, family: usize, path: &Path) -> bool {
        !path.attr.is_none()
            && self.source(path.peer).holds(family, path.epoch)
            && self.is_reachable(path)
    }

    pub(crate) fn is_reachable(&self, path: &Path) -> bool {
        self.attrs.is_reachable(path.attr)
            || (self.source(path.peer).on_interface && self.attrs.is_on_link(path.attr))
    }

    fn key(&self, path: &Path) -> &AttrKey {
        self.attrs.key(path.attr)
    }

    /// BGP identifier for the tie-break: the originator's, when reflected (RFC 4456, 9).
    fn identifier(&self, path: &Path) -> u32 {
        match self.key(path).originator_id {
            0 => self.source(path.peer).router_id,
            originator => originator,
        }
    }

    /// The best path to `dest`, or [`NONE`]. `scratch` is working space.
    pub(crate) fn decide<P: PrefixKey>(
        &self,
        table: &Table<P>,
        dest: u32,
        scratch: &mut Vec<u32>,
    ) -> u32 {
        // Most destinations have one path.
        let head = table.head(dest);
        if head == NONE {
            return NONE;
        }
        let only = table.path(head);
        if only.next == NONE {
            return if self.is_candidate(P::FAMILY.index(), only) {
                head
            } else {
                NONE
            };
        }
        scratch.clear();
        scratch.extend(
            table
                .paths_of(dest)
                .filter(|(_, path)| self.is_candidate(P::FAMILY.index(), path))
                .map(|(id, _)| id),
        );
        self.best_of(table, scratch)
    }

    /// The best of these, or [`NONE`] of none; the others are taken out.
    fn best_of<P: PrefixKey>(&self, table: &Table<P>, candidates: &mut Vec<u32>) -> u32 {
        self.up_to_equal_cost(table, candidates);
        if candidates.len() > 1 {
            keep_min(candidates, |id| self.identifier(table.path(id)));
            keep_min(candidates, |id| self.key(table.path(id)).cluster_len);
            keep_min(candidates, |id| self.source(table.path(id).peer).address);
            // Two paths of one peer: anything will do that is the same each time.
            keep_min(candidates, |id| table.path_id(id));
            // Two sessions with one router that is called alike on both links.
            keep_min(candidates, |id| table.path(id).peer);
        }
        candidates.first().copied().unwrap_or(NONE)
    }

    /// Takes the best out of these, if there is any: the next one is the best of the rest. MED, which
    /// counts among some only, allows no order over all.
    pub(crate) fn take_best<P: PrefixKey>(
        &self,
        table: &Table<P>,
        candidates: &mut Vec<u32>,
    ) -> Option<u32> {
        let best = self.best_of(table, &mut candidates.clone());
        candidates.retain(|&id| id != best);
        (best != NONE).then_some(best)
    }

    /// Steps a to e: what is left in `candidates` is equally good for forwarding.
    fn up_to_equal_cost<P: PrefixKey>(&self, table: &Table<P>, candidates: &mut Vec<u32>) {
        if candidates.len() < 2 {
            return;
        }
        let key = |id: u32| self.key(table.path(id));
        keep_min(candidates, |id| table.path(id).peer != Slot::LOCAL);
        // "Treat the route as the least preferred in route selection" (RFC 9494, 4.3).
        keep_min(candidates, |id| key(id).flags & AttrFacts::LLGR_STALE);
        keep_min(candidates, |id| u32::MAX - key(id).local_pref);
        keep_min(candidates, |id| key(id).as_path_len);
        keep_min(candidates, |id| key(id).origin);
        self.drop_worse_med(table, candidates);
        keep_min(candidates, |id| !self.source(table.path(id).peer).ebgp);
    }

    /// Step c: MED compares only among paths of one neighbouring AS.
    fn drop_worse_med<P: PrefixKey>(&self, table: &Table<P>, candidates: &mut Vec<u32>) {
        let key = |id: u32| self.key(table.path(id));
        if candidates.len() < 2 || candidates.iter().all(|&id| key(id).med == 0) {
            return;
        }
        candidates.sort_by_key(|&id| (key(id).neighbor_as, key(id).med, id));
        let mut lowest: Option<(u32, u32)> = None;
        candidates.retain(|&id| {
            let (neighbor, med) = (key(id).neighbor_as, key(id).med);
            match lowest {
                Some((seen, least)) if seen == neighbor => med == least,
                _ => {
                    lowest = Some((neighbor, med));
                    true
                }
            }
        });
    }

    /// The paths used beside `best` when up to `limit` may be, in a stable order, `best` first.
    pub(crate) fn multipath<P: PrefixKey>(
        &self,
        table: &Table<P>,
        dest: u32,
        limit: u8,
        into: &mut Vec<u32>,
    ) {
        into.clear();
        let best = table.best_id(dest);
        if best == NONE {
            return;
        }
        if limit > 1 && table.path(best).peer != Slot::LOCAL {
            into.extend(
                table
                    .paths_of(dest)
                    .filter(|(_, path)| self.is_candidate(P::FAMILY.index(), path))
                    .map(|(id, _)| id),
            );
            self.up_to_equal_cost(table, into);
            into.retain(|&id| id != best);
            into.sort_by_key(|&id| {
                let path = table.path(id);
                (self.identifier(path), path.peer, table.path_id(id))
            });
        }
        into.insert(0, best);
        self.drop_same_ways(table, into);
        into.truncate(usize::from(limit.max(1)));
    }

    /// Of paths that lead the same way the first stays: beside each other they share nothing.
    fn drop_same_ways<P: PrefixKey>(&self, table: &Table<P>, paths: &mut Vec<u32>) {
        let way = |id: u32| {
            let path = table.path(id);
            let source = self.source(path.peer);
            let link = source.on_interface.then_some(path.peer);
            (self.attrs.next_hop_id(path.attr), link)
        };
        let mut kept = 0;
        for at in 0..paths.len() {
            let id = paths[at];
            if !paths[..kept].iter().any(|&other| way(other) == way(id)) {
                paths[kept] = id;
                kept += 1;
            }
        }
        paths.truncate(kept);
    }

    /// The first step that tells two candidates, by their ids, apart.
    pub(crate) fn step_between<P: PrefixKey>(
        &self,
        table: &Table<P>,
        one: u32,
        other: u32,
    ) -> Step {
        let ids = (table.path_id(one), table.path_id(other));
        let (one, other) = (table.path(one), table.path(other));
        let (a, b) = (self.key(one), self.key(other));
        let (from, to) = (self.source(one.peer), self.source(other.peer));
        if (one.peer == Slot::LOCAL) != (other.peer == Slot::LOCAL) {
            Step::Local
        } else if (a.flags ^ b.flags) & AttrFacts::LLGR_STALE != 0 {
            Step::LongLived
        } else if a.local_pref != b.local_pref {
            Step::LocalPref
        } else if a.as_path_len != b.as_path_len {
            Step::AsPathLength
        } else if a.origin != b.origin {
            Step::Origin
        } else if a.neighbor_as == b.neighbor_as && a.med != b.med {
            Step::Med
        } else if from.ebgp != to.ebgp {
            Step::ExternalOverInternal
        } else if self.identifier(one) != self.identifier(other) {
            Step::RouterId
        } else if a.cluster_len != b.cluster_len {
            Step::ClusterListLength
        } else if from.address != to.address {
            Step::PeerAddress
        } else if ids.0 != ids.1 {
            Step::PathId
        } else if one.peer != other.peer {
            Step::Session
        } else {
            Step::Equal
        }
    }
}

/// Keeps the candidates with the least value; order is kept.
fn keep_min<K: Ord>(candidates: &mut Vec<u32>, value: impl Fn(u32) -> K) {
    if candidates.len() < 2 {
        return;
    }
    if let Some(least) = candidates.iter().map(|&id| value(id)).min() {
        candidates.retain(|&id| value(id) == least);
    }
}
