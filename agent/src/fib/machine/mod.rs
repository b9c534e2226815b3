//! The machine: told what owners desire and what the kernel has, it says what to change.

mod decide;
mod events;
mod tracked;

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use self::tracked::Tracked;
use serde::Serialize;
use wayleave_bgp_core::Time;
use wayleave_netlink::{Family, METRIC_V6_DEFAULT, NexthopId, Prefix, Protocol, Route};

use super::{
    contents::ContentId,
    ledger::Ledger,
    objects,
    slots::{Actual, Entry, SlotId, Slots},
    topology::Topology,
    trouble::Trouble,
    way::{Content, Owner, Wish},
    ways::Ways,
};

/// After a change of interfaces or addresses everything is listed once it was quiet for this long.
const QUIET: Duration = Duration::from_secs(1);
/// And at the latest after this long.
const UNQUIET: Duration = Duration::from_secs(5);
/// Such listings are at least this far apart.
const SPACING: Duration = Duration::from_secs(10);
/// Everything is listed at least this often, against losses nobody tells about.
const AUDIT: Duration = Duration::from_secs(300);
/// A route of ours that appears without our doing is left alone for this long: its owner may be
/// about to say that it is desired.
const GRACE: Duration = Duration::from_secs(5);

/// Which routes are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// The routing table.
    pub table: u32,
    /// The metric of learned routes; those of containers have metric 0 (IPv6: 1024).
    pub metric: u32,
    /// The protocol number, of routes and nexthop objects alike.
    pub protocol: Protocol,
    /// Whether learned routes go through nexthop objects, where the kernel has them.
    pub nexthop_objects: bool,
}

/// A place in the routing table: at most one route, whoever's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Slot {
    /// The destination.
    pub prefix: Prefix,
    /// As the kernel has it: IPv6 has no metric 0.
    pub metric: u32,
}

impl Slot {
    /// The slot of a prefix and a metric as configured.
    #[must_use]
    pub fn new(prefix: Prefix, metric: u32) -> Self {
        let metric = if prefix.is_ipv6() && metric == 0 {
            METRIC_V6_DEFAULT
        } else {
            metric
        };
        Self { prefix, metric }
    }

    fn of(route: &Route) -> Self {
        Self::new(route.prefix, route.metric)
    }
}

/// What is known about one slot, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The slot.
    pub slot: Slot,
    /// Whose desire counts; `None`: a route of ours that nobody has claimed yet.
    pub owner: Option<Owner>,
    /// What is in the kernel and ours.
    pub installed: Option<Content>,
    /// Why that is not what is desired, or not what counts.
    pub trouble: Option<Trouble>,
}

/// The machine. None of its calls waits. Changes and desires cost what they are given; listings, links
/// and objects that are lost, and the sweep go through all slots once.
#[derive(Debug)]
pub struct Fib {
    settings: Settings,
    topology: Topology,
    ways: Ways,
    slots: Slots,
    /// Routes of other protocols at our metrics or better ones.
    foreign: BTreeMap<Slot, Protocol>,
    troubles: BTreeMap<Slot, Trouble>,
    ledger: Ledger,
    sent: Vec<Sent>,
    /// What has become of objects and was not told their routes yet.
    fates: Fates,
    /// Who has not yet desired everything he had desired before the start.
    unclaimed: BTreeSet<(Owner, Family)>,
    listing: Option<Listing>,
    /// When everything is to be listed; `Some` before the first time.
    listing_due: Option<Time>,
    /// When everything is to be listed because interfaces or addresses have changed.
    unquiet_due: Option<Time>,
    /// Since when that is put off because they keep changing.
    unquiet_since: Option<Time>,
    listed: bool,
    last_listed: Time,
    /// When routes that appeared without our doing are swept.
    sweep_due: Option<Time>,
    troubles_changed: bool,
    tracked: Tracked,
}

/// What has become of nexthop objects.
#[derive(Debug, Default)]
struct Fates {
    objects: BTreeMap<NexthopId, objects::Fate>,
    /// Whether one was refused, or is no longer.
    verdict: bool,
}

impl Fates {
    fn note(&mut self, object: NexthopId, fate: objects::Fate, verdict: bool) {
        if fate != objects::Fate::Untouched {
            self.objects.insert(object, fate);
        }
        self.verdict |= verdict;
    }
}

/// A change whose result is awaited.
#[derive(Debug)]
enum Sent {
    /// This content, which has this change as one of its users.
    Install(SlotId, ContentId),
    Remove(SlotId),
    /// Whether routes could not go through the object before.
    Object(NexthopId, objects::Sent, bool),
}

#[derive(Debug, Default)]
struct Listing {
    topology: Topology,
    foreign: BTreeMap<Slot, Protocol>,
}

impl Fib {
    /// A machine that knows nothing. Nothing is changed before the first listing, and nothing of
    /// ours swept in a family before every one of `claimants` is [in sync](Self::in_sync) there.
    #[must_use]
    pub fn new(settings: Settings, claimants: &[Owner], now: Time) -> Self {
        let families = [Family::V4, Family::V6];
        let unclaimed = claimants
            .iter()
            .flat_map(|owner| families.map(|family| (*owner, family)));
        Self {
            settings,
            topology: Topology::default(),
            ways: Ways::new(settings.nexthop_objects),
            slots: Slots::default(),
            foreign: BTreeMap::new(),
            troubles: BTreeMap::new(),
            ledger: Ledger::default(),
            sent: Vec::new(),
            fates: Fates::default(),
            unclaimed: unclaimed.collect(),
            listing: None,
            listing_due: Some(now),
            unquiet_due: None,
            unquiet_since: None,
            listed: false,
            last_listed: Time(0),
            sweep_due: None,
            troubles_changed: false,
            tracked: Tracked::default(),
        }
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// An owner desires a route, or no longer does.
    pub fn desire(&mut self, owner: Owner, slot: Slot, wish: Option<&Wish>, now: Time) {
        let place = owner as usize;
        let way = wish.map(|wish| self.ways.claim(wish, slot.prefix.is_ipv6(), &self.topology));
        let id = match way {
            Some(_) => self.slots.make(slot),
            None => match self.slots.find(&slot) {
                Some(id) => id,
                None => return,
            },
        };
        let entry = self.slots.get_mut(id);
        let before = std::mem::replace(&mut entry.wishes[place], way);
        if way.is_some() || before.is_some() {
            // Desired once, it is no stray any more: when the desire ends, so does the route.
            entry.set_adopted(false);
        }
        if let Some(before) = before {
            self.ways.release(before, now);
        }
        if before != way {
            self.ledger.forgive(&slot);
        }
        let sibling = self.slots.sibling(id, self.settings.metric);
        self.review(id);
        if let Some(sibling) = sibling {
            self.review(sibling);
        }
    }

    /// An owner no longer desires anything at a prefix, whatever the metric.
    pub fn renounce(&mut self, owner: Owner, prefix: Prefix, now: Time) {
        let ids: Vec<_> = self.of_prefix(prefix).collect();
        let slots: Vec<_> = ids
            .into_iter()
            .map(|id| self.slots.get(id).slot())
            .collect();
        for slot in slots {
            self.desire(owner, slot, None, now);
        }
    }

    /// An owner has desired everything he had desired before the start, in a family.
    pub fn in_sync(&mut self, owner: Owner, family: Family, now: Time) {
        if self.unclaimed.remove(&(owner, family)) {
            self.sweep_due = Some(now);
        }
    }

    /// Whether everything was listed and nothing can be done at the moment.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.listed
            && self.slots.waiting() == 0
            && self.sent.is_empty()
            && self.ways.objects.is_settled()
    }

    /// Whether the kernel has what is desired at a slot: `None` while that is being worked on.
    #[must_use]
    pub fn outcome(&self, slot: &Slot) -> Option<Result<(), Trouble>> {
        if !self.listed {
            return None;
        }
        match self.troubles.get(slot) {
            Some(Trouble::Shadowed { .. } | Trouble::Connected) | None => {}
            Some(trouble) => return Some(Err(trouble.clone())),
        }
        let Some(id) = self.slots.find(slot) else {
            return Some(Ok(()));
        };
        let done = match (self.target(id), self.slots.get(id).actual) {
            (Some(target), Actual::Is(content)) => target == content && self.is_certain(content),
            (None, Actual::Absent) => true,
            _ => false,
        };
        done.then_some(Ok(()))
    }

    /// When there is something to do without anything happening before; `None`: never.
    #[must_use]
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let work = (self.listed && self.slots.waiting() > 0).then_some(now);
        [
            work,
            self.listing_due,
            self.unquiet_due,
            self.sweep_due.filter(|_| self.listed),
            self.ledger.next_due().filter(|_| self.listed),
            self.ways.objects.next_due(now).filter(|_| self.listed),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What is wrong with single routes. Says so once after a change.
    pub fn changed_troubles(&mut self) -> Option<impl Iterator<Item = (&Slot, &Trouble)>> {
        let changed = std::mem::take(&mut self.troubles_changed);
        changed.then(|| self.troubles.iter())
    }

    /// Whether [`changed_troubles`](Self::changed_troubles) has something to say.
    #[must_use]
    pub const fn has_changed_troubles(&self) -> bool {
        self.troubles_changed
    }

    /// Has [`changed_troubles`](Self::changed_troubles) say so again.
    pub(super) const fn report_troubles(&mut self) {
        self.troubles_changed = true;
    }

    /// How many slots are desired, how many of ours are installed, and how many wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let desired = self.slots.iter().filter(|(_, entry)| entry.is_desired());
        let installed = self
            .slots
            .iter()
            .filter(|(_, entry)| matches!(entry.actual, Actual::Is(_)));
        (
            desired.count(),
            installed.count(),
            self.slots.waiting() + self.ledger.len(),
        )
    }

    /// The first `limit` slots after one, for a listing page by page. It goes through all slots:
    /// a few milliseconds for 200,000.
    #[must_use]
    pub fn status(&self, after: Option<Slot>, limit: usize) -> Vec<Status> {
        let mut first = BinaryHeap::new();
        for (id, entry) in self.slots.iter() {
            let slot = entry.slot();
            if after.is_some_and(|after| slot <= after) {
                continue;
            }
            if first.len() < limit {
                first.push((slot, id));
            } else if let Some(mut last) = first.peek_mut()
                && slot < last.0
            {
                *last = (slot, id);
            }
        }
        let sorted = first.into_sorted_vec().into_iter();
        sorted
            .map(|(_, id)| self.status_of(self.slots.get(id)))
            .collect()
    }

    /// The slots of a prefix.
    #[must_use]
    pub fn status_at(&self, prefix: Prefix) -> Vec<Status> {
        self.of_prefix(prefix)
            .map(|id| self.status_of(self.slots.get(id)))
            .collect()
    }

    fn status_of(&self, entry: &Entry) -> Status {
        Status {
            slot: entry.slot(),
            owner: entry.strongest().map(|place| Owner::ALL[place]),
            installed: match entry.actual {
                Actual::Is(content) if self.is_certain(content) => {
                    Some(self.ways.describe(content))
                }
                Actual::Is(_) | Actual::Absent | Actual::Unknown | Actual::Taken => None,
            },
            trouble: self.troubles.get(&entry.slot()).cloned(),
        }
    }
}
