//! Adj-RIB-out: what a group was last told about each destination.

use super::export::Offer;
use crate::rib::{Shared, attr::AttrId, source::Slot};

/// What is held where nothing was told.
const NOTHING: (AttrId, Slot) = (AttrId::NONE, Slot::LOCAL);

/// One of the paths to a destination that a group was told, or the place of one.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its id in the table.
    path: u32,
    /// None: nobody has this place now.
    attr: AttrId,
    source: Slot,
}

/// What members now hold of one path, and what they held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The identifier they know it by (RFC 7911, 3).
    pub(crate) path_id: u32,
    pub(crate) old: (AttrId, Slot),
    pub(crate) new: (AttrId, Slot),
}

/// One family's part. Six bytes per destination and group; where several paths are told, a list of
/// them instead.
#[derive(Debug, Default)]
pub(crate) struct Told {
    attr: Vec<AttrId>,
    source: Vec<Slot>,
    /// Destinations below this have been looked at since the group was made.
    filled: u32,
    complete: bool,
    count: u32,
    by_source: Vec<u32>,
    /// By destination, where several paths are told. A path is known by its place in this list. Places
    /// are used again and never taken away: whoever has to catch up with a destination is told of each
    /// that is empty, and then holds nothing that nobody remembers.
    places: Vec<Vec<Place>>,
    /// The longest of these lists so far.
    most_places: u32,
}

impl Told {
    /// What members (but the source itself) hold for `dest`.
    pub(crate) fn get(&self, dest: u32) -> (AttrId, Slot) {
        let at = dest as usize;
        match self.attr.get(at) {
            Some(&attr) => (attr, self.source[at]),
            None => NOTHING,
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

    /// The paths that members (but the source itself) hold for `dest`, by their identifiers; without
    /// attributes those that they may once have held.
    pub(crate) fn paths(&self, dest: u32) -> impl Iterator<Item = (u32, u32, AttrId, Slot)> {
        let places = self
            .places
            .get(dest as usize)
            .map_or(&[][..], Vec::as_slice);
        let numbered = (1..).zip(places);
        numbered.map(|(path_id, place)| (path_id, place.path, place.attr, place.source))
    }

    /// The highest identifier that any path has had.
    pub(crate) fn most_places(&self) -> u32 {
        self.most_places
    }

    /// Whether anything is held for `dest`.
    pub(crate) fn holds(&self, dest: u32) -> bool {
        !self.get(dest).0.is_none() || self.paths(dest).any(|(_, _, attr, _)| !attr.is_none())
    }

    /// Remembers which paths members are told now, no two of them the same; gives what is new.
    pub(crate) fn set_paths(
        &mut self,
        shared: &mut Shared,
        dest: u32,
        offers: &[Offer],
        changes: &mut Vec<Change>,
    ) {
        changes.clear();
        let at = dest as usize;
        if at >= self.places.len() {
            if offers.is_empty() {
                return;
            }
            self.places.resize_with(at + 1, Vec::new);
        }
        let mut places = std::mem::take(&mut self.places[at]);
        let before: Vec<_> = places
            .iter()
            .map(|place| (place.attr, place.source))
            .collect();
        // Who is no longer there makes room for who has come: one message instead of two.
        for place in &mut places {
            if !offers.iter().any(|offer| offer.path == place.path) {
                place.attr = AttrId::NONE;
            }
        }
        for offer in offers {
            let known = |place: &Place| place.path == offer.path && !place.attr.is_none();
            let at = places
                .iter()
                .position(known)
                .or_else(|| places.iter().position(|place| place.attr.is_none()));
            let place = Place {
                path: offer.path,
                attr: offer.attr,
                source: offer.source,
            };
            match at {
                Some(at) => places[at] = place,
                None => places.push(place),
            }
        }
        for (path_id, (number, place)) in (1..).zip(places.iter().enumerate()) {
            let new = (place.attr, place.source);
            let old = before.get(number).copied().unwrap_or(NOTHING);
            if old != new && !(old.0.is_none() && new.0.is_none()) {
                changes.push(Change { path_id, old, new });
                self.most_places = self.most_places.max(path_id);
            }
        }
        self.places[at] = places;
        for change in changes.iter() {
            shared.attrs.hold(change.new.0);
            shared.attrs.release(change.old.0);
            self.tally(change.old, false);
            self.tally(change.new, true);
        }
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
        for place in self.places.drain(..).flatten() {
            shared.attrs.release(place.attr);
        }
        *self = Self::default();
    }
}
