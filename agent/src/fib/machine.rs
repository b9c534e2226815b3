//! The machine: told what owners desire and what the kernel has, it says what to change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use nix::errno::Errno;
use serde::Serialize;
use wayleave_bgp_core::Time;
use wayleave_netlink::{
    Change, Event, Family, KernelError, METRIC_V6_DEFAULT, Object, Prefix, Protocol, Route,
};

use super::{
    ledger::{Ledger, Work},
    topology::{Consequence, Topology},
    trouble::Trouble,
    way::{Content, Owner, Unresolved, WayId, Ways, Wish},
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

    /// Whether everything was listed, everybody has claimed his routes, and the kernel has all
    /// that can be installed.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.listed && self.unclaimed.is_empty() && self.is_settled()
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
            Some(Trouble::Shadowed { .. }) | None => {}
            Some(trouble) => return Some(Err(trouble.clone())),
        }
        match (self.slots.get(slot), self.target(slot)) {
            (None, _) => Some(Ok(())),
            (Some(entry), Some(target)) => (entry.actual == Actual::Is(target)).then_some(Ok(())),
            (Some(entry), None) => matches!(entry.actual, Actual::Absent).then_some(Ok(())),
        }
    }

    /// Something happened in the kernel.
    pub fn observed(&mut self, event: &Event, now: Time) {
        match event {
            Event::Overrun => self.list_now(now),
            Event::New(object) => self.appeared(object, false, now),
            Event::Replaced(object) => self.appeared(object, true, now),
            Event::Gone(Object::Route(route)) if self.concerns(route) => self.vanished(route, now),
            Event::Gone(Object::Link(link)) => {
                let consequence = self.topology.link_is_gone(link.ifindex);
                self.follow(consequence, now);
            }
            Event::Gone(Object::Address(address)) => {
                let consequence = self.topology.address_is_gone(address);
                self.follow(consequence, now);
            }
            Event::Gone(
                Object::Route(_) | Object::Neighbor(_) | Object::Rule(_) | Object::Nexthop(_),
            ) => {}
        }
    }

    /// The changes to make now, at most `max`. [`acked`](Self::acked) tells what became of them
    /// before anything else is asked.
    pub fn step(&mut self, now: Time, max: usize) -> Vec<Change> {
        // Changes whose results never came: nobody knows.
        for (slot, _) in std::mem::take(&mut self.sent) {
            self.doubt(slot);
        }
        if !self.listed || self.listing.is_some() {
            return Vec::new();
        }
        self.sweep(now);
        for slot in self.ledger.due(now) {
            self.review(slot);
        }
        for slot in self.ledger.settle(now) {
            self.review(slot);
        }
        let mut changes = Vec::new();
        for slot in self.ledger.take(max) {
            let (change, sent) = self.change(slot);
            changes.push(change);
            self.sent.push((slot, sent));
        }
        changes
    }

    /// What became of the changes of the last step, in their order.
    pub fn acked(&mut self, results: Vec<Result<(), KernelError>>, now: Time) {
        let sent = std::mem::take(&mut self.sent);
        let missing = sent.len().saturating_sub(results.len());
        let results = results
            .into_iter()
            .chain((0..missing).map(|_| Err(KernelError::Overrun)));
        for ((slot, sent), result) in sent.into_iter().zip(results) {
            self.result(slot, sent, result, now);
        }
    }

    /// Whether everything is to be listed now.
    #[must_use]
    pub fn wants_listing(&self, now: Time) -> bool {
        let due = self.listing_due.into_iter().chain(self.unquiet_due).min();
        self.listing.is_none() && due.is_some_and(|due| due <= now)
    }

    /// A listing begins: interfaces, addresses, then routes of both families in our table.
    pub fn listing_begins(&mut self) {
        for entry in self.slots.values_mut() {
            entry.seen = false;
        }
        self.listing = Some(Listing::default());
    }

    /// A part of it.
    pub fn listed(&mut self, objects: Vec<Object>) {
        let Some(mut listing) = self.listing.take() else {
            return;
        };
        for object in objects {
            match object {
                Object::Link(link) => drop(listing.topology.link_is(&link)),
                Object::Address(address) => drop(listing.topology.address_is(&address)),
                Object::Route(route) if self.is_ours(&route) => {
                    let slot = Slot::of(&route);
                    let entry = self.slots.entry(slot).or_insert_with(|| Entry {
                        adopted: true,
                        ..Entry::default()
                    });
                    let found = Content::of(&route);
                    if !matches!(&entry.actual, Actual::Is(content) if **content == found) {
                        entry.actual = Actual::Is(Arc::new(found));
                    }
                    entry.seen = true;
                }
                Object::Route(route) if self.concerns(&route) => {
                    listing.foreign.insert(Slot::of(&route), route.protocol);
                }
                Object::Route(_) | Object::Neighbor(_) | Object::Rule(_) | Object::Nexthop(_) => {}
            }
        }
        self.listing = Some(listing);
    }

    /// It is complete: what was not in it is not there.
    pub fn listing_ends(&mut self, now: Time) {
        let Some(listing) = self.listing.take() else {
            return;
        };
        for (slot, entry) in &mut self.slots {
            if entry.seen {
                continue;
            }
            let was_ours = matches!(
                entry.actual,
                Actual::Is(_) | Actual::Unknown | Actual::Taken
            );
            let taken = self.listed && was_ours && listing.foreign.contains_key(slot);
            entry.actual = if taken { Actual::Taken } else { Actual::Absent };
        }
        self.foreign = listing.foreign;
        self.topology = listing.topology;
        self.ways.resolve_again(&self.topology);
        self.listed = true;
        self.last_listed = now;
        self.listing_due = Some(now + AUDIT);
        self.unquiet_due = None;
        self.unquiet_since = None;
        self.sweep_due = Some(now);
        let slots: Vec<_> = self.slots.keys().copied().collect();
        for slot in slots {
            self.review(slot);
        }
    }

    /// It broke off; it is begun again at that time.
    pub fn listing_fails(&mut self, again: Time) {
        self.listing = None;
        self.listing_due = Some(again);
        self.unquiet_due = None;
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

    /// A route in our table at a metric of ours or a better one.
    fn concerns(&self, route: &Route) -> bool {
        let worst = [0, self.settings.metric].map(|m| Slot::new(route.prefix, m).metric);
        route.table == self.settings.table && worst.iter().any(|worst| route.metric <= *worst)
    }

    /// The rule of ownership: protocol, table and metric.
    fn is_ours(&self, route: &Route) -> bool {
        let metrics = [0, self.settings.metric].map(|m| Slot::new(route.prefix, m).metric);
        route.protocol == self.settings.protocol
            && route.table == self.settings.table
            && metrics.contains(&route.metric)
    }

    fn appeared(&mut self, object: &Object, replaced: bool, now: Time) {
        match object {
            Object::Route(route) if self.is_ours(route) => self.ours_appeared(route, now),
            Object::Route(route) if self.concerns(route) => {
                let slot = Slot::of(route);
                let was_ours = self
                    .slots
                    .get(&slot)
                    .is_some_and(|entry| matches!(entry.actual, Actual::Is(_) | Actual::Unknown));
                if replaced && was_ours {
                    if let Some(entry) = self.slots.get_mut(&slot) {
                        entry.actual = Actual::Taken;
                    }
                    self.disturbed(slot, now);
                } else if !matches!(
                    self.slots.get(&slot),
                    Some(Entry {
                        actual: Actual::Taken,
                        ..
                    })
                ) {
                    self.foreign.insert(slot, route.protocol);
                }
                self.review_prefix(route.prefix);
            }
            Object::Link(link) => {
                let consequence = self.topology.link_is(link);
                self.follow(consequence, now);
            }
            Object::Address(address) => {
                let consequence = self.topology.address_is(address);
                self.follow(consequence, now);
            }
            Object::Route(_) | Object::Neighbor(_) | Object::Rule(_) | Object::Nexthop(_) => {}
        }
    }

    /// A route of ours appeared that this machine did not install: an owner has put it there
    /// himself, a second agent with the same protocol, or somebody by hand.
    fn ours_appeared(&mut self, route: &Route, now: Time) {
        let slot = Slot::of(route);
        let found = Content::of(route);
        self.foreign.remove(&slot);
        let entry = self.slots.entry(slot).or_default();
        let before = std::mem::replace(&mut entry.actual, Actual::Is(Arc::new(found)));
        let desired = entry.wishes.iter().any(Option::is_some);
        if !desired {
            entry.adopted = true;
            let grace = now + GRACE;
            self.sweep_due = Some(self.sweep_due.map_or(grace, |due| due.max(grace)));
        } else if matches!(before, Actual::Is(_)) && self.differs(&slot) {
            self.disturbed(slot, now);
        }
        self.review(slot);
    }

    fn vanished(&mut self, route: &Route, now: Time) {
        let slot = Slot::of(route);
        if self.is_ours(route) {
            let Some(entry) = self.slots.get_mut(&slot) else {
                return;
            };
            // Of something taken over by others this is old news.
            if entry.actual != Actual::Taken {
                entry.actual = Actual::Absent;
            }
            if self.target(&slot).is_some() {
                self.disturbed(slot, now);
            }
        } else {
            self.foreign.remove(&slot);
            if let Some(entry) = self.slots.get_mut(&slot)
                && entry.actual == Actual::Taken
            {
                entry.actual = Actual::Absent;
            }
        }
        self.ledger_forgive_unless_quarrel(slot);
        self.review_prefix(route.prefix);
    }

    fn ledger_forgive_unless_quarrel(&mut self, slot: Slot) {
        if self.ledger.quarrel(&slot) < 2 {
            self.ledger.forgive(&slot);
        }
    }

    fn disturbed(&mut self, slot: Slot, now: Time) {
        if self.target(&slot).is_none() {
            return;
        }
        let times = self.ledger.disturbed(slot, now);
        if times > 1 {
            tracing::warn!(prefix = %slot.prefix, times, "our route was deleted or replaced again");
        }
    }

    /// Interfaces or addresses have changed: next hops may lead elsewhere, routes may be lost.
    fn follow(&mut self, consequence: Consequence, now: Time) {
        let lost = match consequence {
            Consequence::None => return,
            Consequence::Resolve => None,
            Consequence::Lost(ifindex) => Some(ifindex),
        };
        let changed: BTreeSet<_> = self
            .ways
            .resolve_again(&self.topology)
            .into_iter()
            .collect();
        if lost.is_none() && changed.is_empty() {
            return;
        }
        let mut touched = Vec::new();
        for (slot, entry) in &mut self.slots {
            let loses = |ifindex| match &entry.actual {
                Actual::Is(content) => content.uses(ifindex),
                Actual::Absent | Actual::Unknown | Actual::Taken => false,
            };
            let loses = lost.is_some_and(loses);
            if loses {
                entry.actual = Actual::Unknown;
            }
            let leads_elsewhere = entry
                .wishes
                .iter()
                .flatten()
                .any(|way| changed.contains(way));
            if loses || leads_elsewhere {
                touched.push(*slot);
            }
        }
        if !touched.is_empty() {
            self.list_when_quiet(now);
        }
        for slot in touched {
            self.ledger_forgive_unless_quarrel(slot);
            self.review(slot);
        }
    }

    /// Routes were lost, perhaps more than those that are known to be: everything is listed once
    /// it was quiet for a while, though not too often.
    fn list_when_quiet(&mut self, now: Time) {
        let since = *self.unquiet_since.get_or_insert(now);
        let quiet = (now + QUIET)
            .min(since + UNQUIET)
            .max(self.last_listed + SPACING);
        self.unquiet_due = Some(quiet);
    }

    fn list_now(&mut self, now: Time) {
        // What is being listed may have changed before it was reached.
        self.listing = None;
        self.listing_due = Some(now);
    }

    /// The way of the owner who counts, unless a stronger one has the prefix at another metric:
    /// IPv6 turns metric 0 into 1024, so the metric alone would let a learned route win over the
    /// container that is here.
    fn way(&self, slot: &Slot) -> Option<WayId> {
        let strongest = |entry: &Entry| entry.wishes.iter().position(Option::is_some);
        let (owner, entry) = {
            let entry = self.slots.get(slot)?;
            (strongest(entry)?, entry)
        };
        let outranked = self.of_prefix(slot.prefix).any(|(other, entry)| {
            other != slot && strongest(entry).is_some_and(|stronger| stronger < owner)
        });
        if outranked { None } else { entry.wishes[owner] }
    }

    /// All slots of a prefix, whatever the metric.
    fn of_prefix(&self, prefix: Prefix) -> impl Iterator<Item = (&Slot, &Entry)> {
        self.slots.range(
            Slot { prefix, metric: 0 }..=Slot {
                prefix,
                metric: u32::MAX,
            },
        )
    }

    /// What is to be in a slot: desired, and resolved.
    fn target(&self, slot: &Slot) -> Option<Arc<Content>> {
        self.ways.outcome(self.way(slot)?).ok().map(Arc::clone)
    }

    fn differs(&self, slot: &Slot) -> bool {
        let actual = self.slots.get(slot).map(|entry| &entry.actual);
        match (self.target(slot), actual) {
            (Some(target), Some(Actual::Is(content))) => *content != target,
            (None, None | Some(Actual::Absent)) => false,
            _ => true,
        }
    }

    /// All slots of a prefix: a foreign route at one metric bears on ours at another.
    fn review_prefix(&mut self, prefix: Prefix) {
        let slots: Vec<_> = self.of_prefix(prefix).map(|(slot, _)| *slot).collect();
        for slot in slots {
            self.review(slot);
        }
    }

    /// Decides what is to be done with a slot, and what is wrong with it.
    fn review(&mut self, slot: Slot) {
        let target = self.target(&slot);
        let Some(entry) = self.slots.get(&slot) else {
            return;
        };
        let desired = entry.wishes.iter().any(Option::is_some);
        let occupied = self.foreign.get(&slot).copied();
        let work = match (&target, &entry.actual) {
            (Some(target), Actual::Is(content)) if content == target => Work::None,
            (Some(_), Actual::Absent) if occupied.is_some() => Work::None,
            (Some(_), _) => Work::Install,
            (None, Actual::Is(_) | Actual::Unknown) if !entry.adopted => Work::Remove,
            (None, _) => Work::None,
        };
        let idle = work == Work::None && !desired && !entry.adopted;
        if idle && matches!(entry.actual, Actual::Absent | Actual::Taken) {
            self.slots.remove(&slot);
        }
        self.ledger.note(slot, work);
        self.judge(slot, desired, target.is_some(), occupied, work);
    }

    fn judge(
        &mut self,
        slot: Slot,
        desired: bool,
        resolved: bool,
        occupied: Option<Protocol>,
        work: Work,
    ) {
        let better = Slot { metric: 0, ..slot }..slot;
        let shadow = self.foreign.range(better).next();
        let times = self.ledger.quarrel(&slot);
        let trouble = if !desired {
            None
        } else if !resolved {
            let way = self.way(&slot);
            way.and_then(|way| self.ways.outcome(way).err())
                .map(|why: &Unresolved| Trouble::Unresolved(why.clone()))
        } else if let (Some(protocol), Work::None) = (occupied, work) {
            Some(Trouble::Occupied(protocol))
        } else if times > 1 {
            Some(Trouble::Contested { times })
        } else if let Some((Slot { metric, .. }, protocol)) = shadow {
            Some(Trouble::Shadowed {
                protocol: *protocol,
                metric: *metric,
            })
        } else if work == Work::Install {
            // A refusal stands until it is done, or until something else is wrong.
            match self.troubles.get(&slot) {
                Some(refused @ Trouble::Refused(_)) => Some(refused.clone()),
                _ => None,
            }
        } else {
            None
        };
        self.set_trouble(slot, trouble);
    }

    fn set_trouble(&mut self, slot: Slot, trouble: Option<Trouble>) {
        let changed = match trouble {
            Some(trouble) if self.troubles.get(&slot) == Some(&trouble) => false,
            Some(trouble) => {
                self.troubles.insert(slot, trouble);
                true
            }
            None => self.troubles.remove(&slot).is_some(),
        };
        self.troubles_changed |= changed;
    }

    fn change(&self, slot: Slot) -> (Change, Sent) {
        let Settings {
            table, protocol, ..
        } = self.settings;
        let Some(content) = self.target(&slot) else {
            let route = Route::blackhole(slot.prefix, protocol);
            let key = route.in_table(table).with_metric(slot.metric).key();
            return (Change::RouteDelete(key), Sent::Remove);
        };
        let Content {
            kind,
            next_hops,
            source,
            mtu,
            nexthop,
        } = Content::clone(&content);
        let Slot { prefix, metric } = slot;
        let route = Route {
            prefix,
            table,
            metric,
            protocol,
            kind,
            next_hops,
            nexthop,
            source,
            mtu,
        };
        let empty = self
            .slots
            .get(&slot)
            .is_none_or(|entry| entry.actual == Actual::Absent);
        // What we believe to be empty is never taken over: the belief may be wrong.
        let change = if empty {
            Change::RouteAdd(route)
        } else {
            Change::RouteReplace(route)
        };
        (change, Sent::Install(content))
    }

    fn result(&mut self, slot: Slot, sent: Sent, result: Result<(), KernelError>, now: Time) {
        let Some(entry) = self.slots.get_mut(&slot) else {
            return;
        };
        match (sent, result) {
            (Sent::Install(content), Ok(())) => {
                entry.actual = Actual::Is(content);
                self.foreign.remove(&slot);
                self.ledger.forgive(&slot);
                if matches!(self.troubles.get(&slot), Some(Trouble::Refused(_))) {
                    self.set_trouble(slot, None);
                }
            }
            (Sent::Remove, Ok(())) => {
                entry.actual = Actual::Absent;
                self.ledger.forgive(&slot);
            }
            // Gone already, perhaps with its interface.
            (Sent::Remove, Err(error)) if error.is(Errno::ESRCH) || error.is(Errno::ENODEV) => {
                entry.actual = Actual::Absent;
                self.ledger.forgive(&slot);
            }
            (Sent::Install(_), Err(error)) if error.is(Errno::EEXIST) => {
                // There is one after all: whose, only a listing tells.
                self.refused(slot, error, now);
                self.listing_due = self.listing_due.map(|due| due.min(now + QUIET));
            }
            (_, Err(error)) => {
                if error.errno().is_none() {
                    entry.actual = Actual::Unknown;
                }
                self.refused(slot, error, now);
            }
        }
        self.review(slot);
    }

    fn refused(&mut self, slot: Slot, error: KernelError, now: Time) {
        self.ledger.failed(slot, now);
        self.set_trouble(slot, Some(Trouble::Refused(error)));
    }

    fn doubt(&mut self, slot: Slot) {
        if let Some(entry) = self.slots.get_mut(&slot) {
            entry.actual = Actual::Unknown;
        }
        self.review(slot);
    }

    /// Removes what was found, is ours, and nobody wants, in the families where everybody has
    /// said what he wants.
    fn sweep(&mut self, now: Time) {
        if self.sweep_due.is_none_or(|due| due > now) {
            return;
        }
        self.sweep_due = None;
        let waiting: BTreeSet<_> = self.unclaimed.iter().map(|(_, family)| *family).collect();
        let mut strays = Vec::new();
        for (slot, entry) in &mut self.slots {
            if entry.adopted && !waiting.contains(&slot.prefix.family()) {
                entry.adopted = false;
                strays.push(*slot);
            }
        }
        for slot in strays {
            self.review(slot);
        }
    }
}
