//! What the kernel tells: listings and events.

use std::{collections::BTreeSet, sync::Arc};

use wayleave_bgp_core::Time;
use wayleave_netlink::{Event, Object, Prefix, Route};

use super::{
    super::{topology::Consequence, way::Content},
    AUDIT, Actual, Entry, Fib, GRACE, Listing, QUIET, SPACING, Slot, UNQUIET,
};

impl Fib {
    /// Something happened in the kernel.
    pub fn observed(&mut self, event: &Event, now: Time) {
        match event {
            Event::Overrun => self.list_now(now),
            Event::New(object) => self.appeared(object, false, now),
            Event::Replaced(object) => self.appeared(object, true, now),
            Event::Gone(Object::Route(route)) if self.concerns(route) => self.vanished(route, now),
            Event::Gone(Object::Link(link)) => {
                let networks = self.topology.networks(link.ifindex);
                let consequence = self.topology.link_is_gone(link.ifindex);
                self.follow(consequence, now);
                self.review_networks(consequence, networks);
            }
            Event::Gone(Object::Address(address)) => {
                let consequence = self.topology.address_is_gone(address);
                self.follow(consequence, now);
                self.review_networks(consequence, vec![address.connected()]);
            }
            Event::Gone(
                Object::Route(_) | Object::Neighbor(_) | Object::Rule(_) | Object::Nexthop(_),
            ) => {}
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
                self.review_networks(consequence, self.topology.networks(link.ifindex));
            }
            Object::Address(address) => {
                let consequence = self.topology.address_is(address);
                self.follow(consequence, now);
                self.review_networks(consequence, vec![address.connected()]);
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

    /// These are connected now, or no longer.
    fn review_networks(&mut self, consequence: Consequence, networks: Vec<Prefix>) {
        if consequence != Consequence::None {
            for network in networks {
                self.review_prefix(network);
            }
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
}
