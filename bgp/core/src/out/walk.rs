//! Going through the table for one peer.

use super::Departure;
use crate::{rib::bits::Bits, types::Family, wire::RouteRefresh};

/// One family's part of a walk.
#[derive(Debug, Default)]
pub(crate) struct FamilyWalk {
    /// The family is not negotiated, or there is nothing left to do.
    pub(crate) done: bool,
    /// Destinations below this have been told.
    pub(crate) position: u32,
    /// Destinations below `position` that changed since.
    pub(crate) behind: Bits,
    /// What the peer does not get is withdrawn explicitly: it may still hold it.
    pub(crate) explicit: bool,
    /// Where several paths are told: the highest identifier of one it may still hold from before.
    pub(crate) path_ids: u32,
    /// End-of-RIB follows the pass (RFC 4724, 2).
    pub(crate) end_of_rib: bool,
    /// The pass is one that the peer has asked for: it holds everything but what `behind` says.
    pub(crate) refreshing: bool,
    /// Such a pass is put between marks (RFC 7313).
    pub(crate) marks: bool,
    /// Such a pass follows this one.
    pub(crate) once_more: bool,
}

impl FamilyWalk {
    /// Notes that `dest`, of a negotiated family, changed: behind us, or still ahead.
    pub(crate) fn changed(&mut self, dest: u32) {
        // What a peer holds that is told everything again may have to be taken back.
        if dest < self.position || self.refreshing {
            self.behind.insert(dest);
        }
        // The other family may keep the walk going, and nobody else tells of this one meanwhile.
        self.done = false;
    }

    /// Whether it is on its way through the table, not just through what has changed.
    pub(crate) fn is_passing(&self, bound: u32) -> bool {
        !self.done && (self.position < bound || self.end_of_rib || self.refreshing)
    }

    /// Starts from the beginning for a peer that holds everything but what `behind` says, and asked
    /// for it (ROUTE-REFRESH, RFC 2918); the mark, if any, goes to `private`.
    pub(crate) fn again(&mut self, family: Family, private: &mut Vec<u8>) {
        self.done = false;
        self.position = 0;
        self.refreshing = true;
        if self.marks {
            self.mark(family, RouteRefresh::BEGIN, private);
        }
    }

    pub(crate) fn mark(&self, family: Family, subtype: u8, private: &mut Vec<u8>) {
        let (afi, safi) = family.code();
        let mark = RouteRefresh { afi, safi, subtype };
        mark.encode(private);
    }
}

/// The walk of one peer through both families.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) families: [FamilyWalk; 2],
}

impl Walk {
    /// From the beginning: a peer that has just reached Established holds nothing.
    pub(crate) fn fresh(negotiated: [bool; 2]) -> Self {
        let family = |index: usize| FamilyWalk {
            done: !negotiated[index],
            end_of_rib: true,
            ..FamilyWalk::default()
        };
        Self {
            families: [family(0), family(1)],
        }
    }

    /// From the beginning, for a peer that was sent other things until now.
    /// Where `marked`, the end of a refresh is owed: it follows this pass.
    pub(crate) fn anew(negotiated: [bool; 2], departure: &Departure) -> Self {
        let Departure {
            end_of_rib,
            marked,
            path_ids,
            once_more,
            ..
        } = departure;
        let family = |index: usize| FamilyWalk {
            done: !negotiated[index],
            explicit: true,
            end_of_rib: end_of_rib[index],
            path_ids: path_ids[index],
            refreshing: marked[index],
            marks: marked[index] || once_more[index] == Some(true),
            once_more: once_more[index].is_some(),
            ..FamilyWalk::default()
        };
        Self {
            families: [family(0), family(1)],
        }
    }

    /// Only what changes behind: a peer that holds everything but what will be marked.
    pub(crate) fn behind(negotiated: [bool; 2], bounds: [u32; 2]) -> Self {
        let family = |index: usize| FamilyWalk {
            done: !negotiated[index],
            position: bounds[index],
            ..FamilyWalk::default()
        };
        Self {
            families: [family(0), family(1)],
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.families.iter().all(|family| family.done)
    }

    /// Whether the peer must still hear of `dest`.
    pub(crate) fn awaits(&self, family: usize, dest: u32) -> bool {
        let walk = &self.families[family];
        walk.behind.contains(dest) || (walk.explicit && !walk.done && dest >= walk.position)
    }
}
