//! The machine: told what owners desire and what the kernel has, it says what to change.

mod decide;
mod events;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use wayleave_bgp_core::Time;
use wayleave_netlink::{Family, METRIC_V6_DEFAULT, Prefix, Protocol, Route};

use super::{
    ledger::Ledger,
    topology::Topology,
    trouble::Trouble,
    way::{Content, Owner, WayId, Ways, Wish},
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
    /// The protocol number.
    pub protocol: Protocol,
}

/// A place in the routing table: at most one route, whoever's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// The machine. All calls are bounded by what they are given; none waits.
#[derive(Debug)]
pub struct Fib {
    settings: Settings,
    topology: Topology,
    ways: Ways,
    slots: BTreeMap<Slot, Entry>,
    /// Routes of other protocols at our metrics or better ones.
    foreign: BTreeMap<Slot, Protocol>,
    troubles: BTreeMap<Slot, Trouble>,
    ledger: Ledger,
    sent: Vec<(Slot, Sent)>,
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
}

#[derive(Debug, Default)]
struct Entry {
    /// By owner, in order of precedence.
    wishes: [Option<WayId>; Owner::ALL.len()],
    actual: Actual,
    /// Found in the kernel and desired by nobody since; swept when all have claimed theirs.
    adopted: bool,
    /// In the listing under way.
    seen: bool,
}

/// What the kernel has in a slot, of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Actual {
    /// Nothing.
    #[default]
    Absent,
    /// This.
    Is(Arc<Content>),
    /// Nobody knows; if there is something, it is ours.
    Unknown,
    /// Somebody replaced ours by his.
    Taken,
}

#[derive(Debug)]
enum Sent {
    Install(Arc<Content>),
    Remove,
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
            ways: Ways::default(),
            slots: BTreeMap::new(),
            foreign: BTreeMap::new(),
            troubles: BTreeMap::new(),
            ledger: Ledger::default(),
            sent: Vec::new(),
            unclaimed: unclaimed.collect(),
            listing: None,
            listing_due: Some(now),
            unquiet_due: None,
            unquiet_since: None,
            listed: false,
            last_listed: Time(0),
            sweep_due: None,
            troubles_changed: false,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// An owner desires a route, or no longer does.
    pub fn desire(&mut self, owner: Owner, slot: Slot, wish: Option<&Wish>) {
        let place = owner as usize;
        let way = wish.map(|wish| self.ways.claim(wish, slot.prefix.is_ipv6(), &self.topology));
        if way.is_none() && !self.slots.contains_key(&slot) {
            return;
        }
        let entry = self.slots.entry(slot).or_default();
        let before = std::mem::replace(&mut entry.wishes[place], way);
        if way.is_some() || before.is_some() {
            // Desired once, it is no stray any more: when the desire ends, so does the route.
            entry.adopted = false;
        }
        if let Some(before) = before {
            self.ways.release(before);
        }
        if before != way {
            self.ledger.forgive(&slot);
        }
        self.review_prefix(slot.prefix);
    }

    /// An owner no longer desires anything at a prefix, whatever the metric.
    pub fn renounce(&mut self, owner: Owner, prefix: Prefix) {
        let slots: Vec<_> = self.of_prefix(prefix).map(|(slot, _)| *slot).collect();
        for slot in slots {
            self.desire(owner, slot, None);
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
        self.listed && !self.ledger.has_work() && self.sent.is_empty()
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
        match (self.slots.get(slot), self.target(slot)) {
            (None, _) => Some(Ok(())),
            (Some(entry), Some(target)) => (entry.actual == Actual::Is(target)).then_some(Ok(())),
            (Some(entry), None) => matches!(entry.actual, Actual::Absent).then_some(Ok(())),
        }
    }

    /// When there is something to do without anything happening before; `None`: never.
    #[must_use]
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let work = (self.listed && self.ledger.has_work()).then_some(now);
        [
            work,
            self.listing_due,
            self.unquiet_due,
            self.sweep_due.filter(|_| self.listed),
            self.ledger.next_due(),
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

    /// Has [`changed_troubles`](Self::changed_troubles) say so again.
    pub(super) const fn report_troubles(&mut self) {
        self.troubles_changed = true;
    }

    /// How many slots are desired, how many of ours are installed, and how many wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let desired = self
            .slots
            .values()
            .filter(|entry| entry.wishes.iter().any(Option::is_some));
        let installed = self
            .slots
            .values()
            .filter(|entry| matches!(entry.actual, Actual::Is(_)));
        (desired.count(), installed.count(), self.ledger.len())
    }

    /// All slots from one on, for a listing page by page.
    pub fn status(&self, from: Option<Slot>) -> impl Iterator<Item = Status> {
        use std::ops::Bound;
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots
            .range((from, Bound::Unbounded))
            .map(|(slot, entry)| Status {
                slot: *slot,
                owner: Owner::ALL
                    .into_iter()
                    .find(|owner| entry.wishes[*owner as usize].is_some()),
                installed: match &entry.actual {
                    Actual::Is(content) => Some(Content::clone(content)),
                    Actual::Absent | Actual::Unknown | Actual::Taken => None,
                },
                trouble: self.troubles.get(slot).cloned(),
            })
    }
}
