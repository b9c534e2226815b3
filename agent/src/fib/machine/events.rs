//! What the kernel tells: listings and events.

use std::{collections::BTreeSet, net::IpAddr};

use wayleave_bgp_core::Time;
use wayleave_netlink::{Event, Object, Prefix, Route};

use super::{
    super::{
        objects::{Appeared, Fate},
        slots::{Actual, SlotId},
        topology::Consequence,
        way::{Content, WayId},
    },
    AUDIT, Fib, GRACE, Listing, QUIET, SPACING, Slot, UNQUIET,
};

impl Fib {
    /// Something happened in the kernel.
    pub fn observed(&mut self, event: &Event, now: Time) {
        if !matches!(
            event,
            Event::New(Object::Nexthop(_))
                | Event::Gone(Object::Nexthop(_))
                | Event::Dropped(Object::Nexthop(_))
        ) {
            self.settle_fates();
        }
        if let Event::Gone(Object::Route(route)) | Event::Dropped(Object::Route(route)) = event {
            self.follow_route(route, false, now);
        }
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
            Event::Gone(Object::Nexthop(nexthop)) => {
                // Many may go at once: their routes are looked for when all have been heard of.
                let before = self.ways.objects.is_blocked(nexthop.id);
                if self.ways.objects.vanished(nexthop.id, now) {
                    let verdict = before != self.ways.objects.is_blocked(nexthop.id);
                    self.fates.note(nexthop.id, Fate::Gone, verdict);
                }
            }
            Event::Dropped(Object::Route(route)) if self.concerns(route) => self.dropped(route),
            Event::Dropped(Object::Nexthop(nexthop)) => {
                if self.ways.objects.dropped(nexthop.id) {
                    self.fates.note(nexthop.id, Fate::Gone, false);
                }
            }
            Event::Gone(Object::Route(_) | Object::Neighbor(_) | Object::Rule(_))
            | Event::Dropped(_) => {}
        }
    }

    /// Whether everything is to be listed now.
    #[must_use]
    pub fn wants_listing(&self, now: Time) -> bool {
        let due = self.listing_due.into_iter().chain(self.unquiet_due).min();
        self.listing.is_none() && due.is_some_and(|due| due <= now)
    }

    /// A listing begins: interfaces, addresses, nexthop objects, then routes of both families in
    /// our table.
    pub fn listing_begins(&mut self) {
        self.settle_fates();
        for (_, entry) in self.slots.iter_mut() {
            entry.set_seen(false);
        }
        self.ways.objects.listing_begins();
        self.listing = Some(Listing::default());
    }

    /// A part of it.
    pub fn listed(&mut self, objects: &mut Vec<Object>, now: Time) {
        let Some(mut listing) = self.listing.take() else {
            return;
        };
        for object in objects.drain(..) {
            match object {
                Object::Link(link) => drop(listing.topology.link_is(&link)),
                Object::Address(address) => drop(listing.topology.address_is(&address)),
                Object::Nexthop(nexthop) => {
                    let ours = self.settings.protocol;
                    self.ways.objects.listed(nexthop, ours, now);
                }
                Object::Route(route) if self.is_ours(&route) => {
                    let id = match self.slots.find(&Slot::of(&route)) {
                        Some(id) => id,
                        None => {
                            let id = self.slots.make(Slot::of(&route));
                            self.slots.get_mut(id).set_adopted(true);
                            id
                        }
                    };
                    self.slots.get_mut(id).set_seen(true);
                    self.found(id, &Content::of(&route));
                }
                Object::Route(route) => {
                    if let Some(object) = route.nexthop {
                        self.ways.objects.used_by_others(object);
                    }
                    if self.is_others(&route) {
                        listing.topology.route_is(&route);
                    }
                    if self.concerns(&route) {
                        listing.foreign.insert(Slot::of(&route), route.protocol);
                    }
                }
                Object::Neighbor(_) | Object::Rule(_) => {}
            }
        }
        self.listing = Some(listing);
    }

    /// The kernel knows no nexthop objects.
    pub fn has_no_objects(&mut self) {
        self.ways.without_objects(&self.topology);
    }

    /// The kernel has this of ours in a slot.
    fn found(&mut self, id: SlotId, content: &Content) {
        if let Actual::Is(before) = self.slots.get(id).actual
            && self.ways.contents.get(before) == content
        {
            return;
        }
        let content = self.ways.contents.claim(content);
        self.set_actual(id, Actual::Is(content));
        self.let_go(content);
    }

    /// It is complete: what was not in it is not there.
    pub fn listing_ends(&mut self, now: Time) {
        let Some(listing) = self.listing.take() else {
            return;
        };
        let unseen: Vec<_> = self.slots.iter().filter(|(_, e)| !e.is_seen()).collect();
        let unseen: Vec<_> = unseen
            .into_iter()
            .map(|(id, entry)| (id, entry.slot(), entry.actual))
            .collect();
        for (id, slot, actual) in unseen {
            let was_ours = matches!(actual, Actual::Is(_) | Actual::Unknown | Actual::Taken);
            let taken = self.listed && was_ours && listing.foreign.contains_key(&slot);
            let actual = if taken { Actual::Taken } else { Actual::Absent };
            self.set_actual(id, actual);
        }
        self.foreign = listing.foreign;
        self.topology = listing.topology;
        let taken = self.ways.objects.listing_ends();
        self.ways.are_listed();
        self.ways.renumber(&taken, &self.topology);
        self.ways.resolve_again(&self.topology);
        self.listed = true;
        self.reach_again();
        self.last_listed = now;
        self.listing_due = Some(now + AUDIT);
        self.unquiet_due = None;
        self.unquiet_since = None;
        self.sweep_due = Some(now);
        for id in self.slots.ids() {
            self.review(id);
        }
    }

    /// It broke off; it is begun again at that time.
    pub fn listing_fails(&mut self, again: Time) {
        self.listing = None;
        self.listing_due = Some(again);
        self.unquiet_due = None;
    }

    /// A route of another protocol in our table.
    fn is_others(&self, route: &Route) -> bool {
        route.protocol != self.settings.protocol && route.table == self.settings.table
    }

    /// Next hops may be behind a route of somebody else that came or went.
    fn follow_route(&mut self, route: &Route, there: bool, now: Time) {
        if !self.is_others(route) {
            return;
        }
        let news = match there {
            true => self.topology.route_is(route),
            false => self.topology.route_is_gone(route),
        };
        // Others may have a million routes, and few of them are between us and a next hop.
        let within = |addr: &IpAddr| route.prefix.contains(*addr);
        if news && (self.ways.gateways().any(|addr| within(&addr)) || self.tracks(within)) {
            self.follow(Consequence::Resolve, now);
        }
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
        if let Object::Route(route) = object {
            self.follow_route(route, true, now);
        }
        if let Object::Route(route) = object
            && let Some(through) = route.nexthop
            && !self.is_ours(route)
        {
            self.ways.objects.used_by_others(through);
        }
        match object {
            Object::Route(route) if self.is_ours(route) => self.ours_appeared(route, now),
            Object::Route(route) if self.concerns(route) => {
                let slot = Slot::of(route);
                let known = self.slots.find(&slot);
                let actual = known.map(|id| self.slots.get(id).actual);
                match (known, actual) {
                    (Some(id), Some(Actual::Is(_) | Actual::Unknown)) if replaced => {
                        self.set_actual(id, Actual::Taken);
                        self.disturbed(id, now);
                    }
                    (_, Some(Actual::Taken)) => {}
                    // There was nothing of ours after all, or he could not have added his.
                    (Some(id), Some(Actual::Unknown)) => {
                        self.set_actual(id, Actual::Absent);
                        self.foreign.insert(slot, route.protocol);
                    }
                    _ => drop(self.foreign.insert(slot, route.protocol)),
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
            Object::Nexthop(nexthop) => {
                let ours = self.settings.protocol;
                let before = self.ways.objects.is_blocked(nexthop.id);
                match self.ways.objects.appeared(nexthop, ours, now) {
                    Appeared::Nothing => {}
                    // Routes through it are where they were; where it leads is mended.
                    Appeared::Changed => {
                        tracing::warn!(%nexthop, "somebody changed a nexthop object of ours");
                    }
                    // His from now on; our routes get another one.
                    Appeared::Taken => {
                        tracing::warn!(%nexthop, "somebody took the id of a nexthop object of ours");
                        self.ways.renumber(&[nexthop.id], &self.topology);
                        self.fates.verdict = true;
                    }
                }
                self.fates.verdict |= before != self.ways.objects.is_blocked(nexthop.id);
            }
            Object::Route(_) | Object::Neighbor(_) | Object::Rule(_) => {}
        }
    }

    /// A route of ours appeared that this machine did not install: an owner has put it there
    /// himself, a second agent with the same protocol, or somebody by hand.
    fn ours_appeared(&mut self, route: &Route, now: Time) {
        let slot = Slot::of(route);
        self.foreign.remove(&slot);
        let id = self.slots.make(slot);
        let before = self.slots.get(id).actual;
        self.found(id, &Content::of(route));
        if !self.slots.get(id).is_desired() {
            self.slots.get_mut(id).set_adopted(true);
            let grace = now + GRACE;
            self.sweep_due = Some(self.sweep_due.map_or(grace, |due| due.max(grace)));
        } else if matches!(before, Actual::Is(_)) && self.differs(id) {
            self.disturbed(id, now);
        }
        self.review(id);
    }

    /// The kernel dropped a route by itself: nobody's quarrel. Of one that has been put elsewhere
    /// since, it is old news.
    fn dropped(&mut self, route: &Route) {
        if !self.is_ours(route) {
            self.foreign.remove(&Slot::of(route));
        } else if let Some(id) = self.slots.find(&Slot::of(route)) {
            let through = match self.slots.get(id).actual {
                Actual::Is(content) => self.ways.contents.get(content).nexthop,
                Actual::Unknown => route.nexthop,
                Actual::Absent | Actual::Taken => return,
            };
            if through == route.nexthop {
                self.set_actual(id, Actual::Absent);
            }
        }
        self.review_prefix(route.prefix);
    }

    fn vanished(&mut self, route: &Route, now: Time) {
        let slot = Slot::of(route);
        let known = self.slots.find(&slot);
        if self.is_ours(route) {
            let Some(id) = known else {
                return;
            };
            // Of something taken over by others this is old news.
            if self.slots.get(id).actual != Actual::Taken {
                self.set_actual(id, Actual::Absent);
            }
            if self.target(id).is_some() {
                self.disturbed(id, now);
            }
        } else {
            self.foreign.remove(&slot);
            if let Some(id) = known
                && self.slots.get(id).actual == Actual::Taken
            {
                self.set_actual(id, Actual::Absent);
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

    fn disturbed(&mut self, id: SlotId, now: Time) {
        if self.target(id).is_none() {
            return;
        }
        let slot = self.slots.get(id).slot();
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
        let (lost, objects) = match consequence {
            Consequence::None => return,
            Consequence::Resolve => (None, false),
            Consequence::RoutesLost(ifindex) => (Some(ifindex), false),
            Consequence::LinkLost(ifindex) => (Some(ifindex), true),
        };
        if let Some(ifindex) = lost
            && self.topology.forget_routes_over(ifindex)
        {
            self.list_when_quiet(now);
        }
        self.reach_again();
        let blocked = self.ways.blocked();
        if objects && let Some(ifindex) = lost {
            self.ways.objects.lost(ifindex);
        }
        let mut changed: BTreeSet<WayId> = self.ways.resolve_again(&self.topology);
        // What was refused is tried again in other circumstances.
        changed.extend(blocked.symmetric_difference(&self.ways.blocked()));
        let lost = lost.map(|ifindex| self.ways.over(ifindex));
        // An interface of a container that goes has no route of anybody but its own.
        if lost.as_ref().is_none_or(BTreeSet::is_empty) && changed.is_empty() {
            return;
        }
        let mut touched = Vec::new();
        for (id, entry) in self.slots.iter() {
            let loses = matches!((&lost, entry.actual), (Some(lost), Actual::Is(content))
                if lost.contains(&content));
            let leads_elsewhere = entry
                .wishes
                .iter()
                .flatten()
                .any(|way| changed.contains(way));
            if loses || leads_elsewhere {
                touched.push((id, loses));
            }
        }
        if !touched.is_empty() {
            self.list_when_quiet(now);
        }
        for (id, loses) in touched {
            if loses {
                self.set_actual(id, Actual::Unknown);
            }
            let slot = self.slots.get(id).slot();
            self.ledger_forgive_unless_quarrel(slot);
            self.review(id);
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
