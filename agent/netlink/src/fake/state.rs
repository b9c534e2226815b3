//! What the fake kernel holds and how it answers: the semantics that have bitten.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nix::errno::Errno;

use crate::{
    address::{Address, Neighbor, Rule},
    change::Change,
    error::KernelError,
    link::{Link, LinkChange, LinkId, NewEnd, NewLink},
    nexthop::{Nexthop, NexthopId, NexthopTarget},
    object::{Dump, Event, Object},
    prefix::Prefix,
    route::{NextHop, Route, RouteKey, RouteKind},
};

/// A route's place in the FIB: at most one route each.
type Slot = (Prefix, u32, u32);

#[derive(Debug, Default)]
pub(super) struct State {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<(u32, IpAddr), Address>,
    routes: BTreeMap<Slot, Route>,
    nexthops: BTreeMap<NexthopId, Nexthop>,
    neighbors: BTreeMap<(u32, IpAddr, bool), Neighbor>,
    rules: BTreeSet<Rule>,
}

type Outcome = Result<Vec<Event>, KernelError>;

impl State {
    pub(super) fn with_loopback() -> Self {
        let mut state = Self::default();
        let lo = Link {
            loopback: true,
            mtu: 65_536,
            kind: None,
            ..link(1, "lo", 0)
        };
        state.links.insert(
            1,
            Link {
                up: true,
                running: true,
                carrier: true,
                ..lo
            },
        );
        state
    }

    /// Applies one change and returns the events it causes.
    pub(super) fn apply(&mut self, change: &Change) -> Outcome {
        // What cannot be expressed is refused for the reason the real socket gives.
        crate::wire::change(&mut Vec::new(), change, 0)?;
        match change {
            Change::RouteAdd(route) => self.install(route, false),
            Change::RouteReplace(route) => self.install(route, true),
            Change::RouteDelete(key) => self.delete_route(key),
            Change::NexthopAdd(nexthop) if self.nexthops.contains_key(&nexthop.id) => {
                refuse(Errno::EEXIST)
            }
            Change::NexthopAdd(nexthop) | Change::NexthopReplace(nexthop) => {
                self.install_nexthop(nexthop)
            }
            Change::NexthopDelete(id) => match self.nexthops.contains_key(id) {
                true => Ok(self.drop_nexthop(*id)),
                false => refuse(Errno::ENOENT),
            },
            Change::LinkAdd(new) => self.add_link(new),
            Change::LinkSet(change) => self.set_link(change),
            Change::LinkDelete(link) => match self.find(link) {
                Some(ifindex) => Ok(self.delete_link(ifindex)),
                None => refuse(Errno::ENODEV),
            },
            Change::LinkGroupDelete(group) => self.delete_group(*group),
            Change::AddressAdd(address) => self.add_address(address),
            Change::AddressDelete(address) => self.delete_address(address),
            Change::NeighborReplace(neighbor) => {
                self.up_link(neighbor.ifindex)?;
                let key = (neighbor.ifindex, neighbor.address, neighbor.proxy);
                self.neighbors.insert(key, *neighbor);
                Ok(vec![Event::New(Object::Neighbor(*neighbor))])
            }
            Change::NeighborDelete(neighbor) => {
                let key = (neighbor.ifindex, neighbor.address, neighbor.proxy);
                match self.neighbors.remove(&key) {
                    Some(gone) => Ok(vec![Event::Gone(Object::Neighbor(gone))]),
                    None => refuse(Errno::ENOENT),
                }
            }
            Change::RuleAdd(rule) => match self.rules.insert(rule.clone()) {
                true => Ok(vec![Event::New(Object::Rule(Box::new(rule.clone())))]),
                false => refuse(Errno::EEXIST),
            },
            Change::RuleDelete(rule) => match self.rules.remove(rule) {
                true => Ok(vec![Event::Gone(Object::Rule(Box::new(rule.clone())))]),
                false => refuse(Errno::ENOENT),
            },
        }
    }

    /// Carrier comes or goes. With it go nexthop objects, the groups left empty and their routes,
    /// silently; plain routes stay.
    pub(super) fn set_carrier(&mut self, ifindex: u32, carrier: bool) -> Vec<Event> {
        let Some(link) = self.links.get_mut(&ifindex) else {
            return Vec::new();
        };
        link.carrier = carrier;
        link.running = link.up && carrier;
        let event = Event::New(Object::Link(Box::new(link.clone())));
        if !carrier {
            self.flush_nexthops(ifindex);
        }
        vec![event]
    }

    /// Removes a route and tells nobody.
    pub(super) fn lose_route(&mut self, route: &Route) {
        self.routes.remove(&slot(&route.clone().canonical()));
    }

    pub(super) fn find(&self, link: &LinkId) -> Option<u32> {
        match link {
            LinkId::Index(ifindex) => self.links.contains_key(ifindex).then_some(*ifindex),
            LinkId::Name(name) => self
                .links
                .values()
                .find(|link| link.name == *name)
                .map(|link| link.ifindex),
        }
    }

    pub(super) fn link(&self, link: &LinkId) -> Option<Link> {
        self.links.get(&self.find(link)?).cloned()
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    pub(super) fn nexthops(&self) -> impl Iterator<Item = &Nexthop> {
        self.nexthops.values()
    }

    /// Where an object leads.
    pub(super) fn hops_of(&self, id: NexthopId) -> Vec<NextHop> {
        match self.nexthops.get(&id).map(|nexthop| &nexthop.to) {
            Some(NexthopTarget::Via {
                gateway, ifindex, ..
            }) => vec![NextHop::via(*gateway, *ifindex)],
            Some(NexthopTarget::Dev { ifindex, .. }) => vec![NextHop::dev(*ifindex)],
            Some(NexthopTarget::Group(members) | NexthopTarget::Resilient { members, .. }) => {
                let hops = members.iter().flat_map(|member| self.hops_of(member.id));
                hops.collect()
            }
            Some(NexthopTarget::Blackhole { .. }) | None => Vec::new(),
        }
    }

    pub(super) fn list(&self, what: &Dump) -> Vec<Object> {
        match what {
            Dump::Routes(filter) => {
                let routes = self.routes.values().filter(|route| filter.matches(route));
                routes.cloned().map(Object::Route).collect()
            }
            Dump::Links => self
                .links
                .values()
                .cloned()
                .map(|link| Object::Link(Box::new(link)))
                .collect(),
            Dump::Addresses { ifindex } => {
                let addresses = self.addresses.values();
                let wanted = addresses.filter(|a| ifindex.is_none_or(|i| i == a.ifindex));
                wanted.copied().map(Object::Address).collect()
            }
            Dump::Neighbors { ifindex } => {
                let neighbors = self.neighbors.values().filter(|n| !n.proxy);
                let wanted = neighbors.filter(|n| ifindex.is_none_or(|i| i == n.ifindex));
                wanted.copied().map(Object::Neighbor).collect()
            }
            Dump::Proxies => {
                let proxies = self.neighbors.values().filter(|n| n.proxy);
                proxies.copied().map(Object::Neighbor).collect()
            }
            Dump::Rules(family) => {
                let rules = self.rules.iter().filter(|rule| rule.family == *family);
                rules
                    .cloned()
                    .map(|rule| Object::Rule(Box::new(rule)))
                    .collect()
            }
            Dump::Nexthops => self
                .nexthops
                .values()
                .cloned()
                .map(Object::Nexthop)
                .collect(),
        }
    }

    fn install(&mut self, route: &Route, replace: bool) -> Outcome {
        let mut route = route.clone().canonical();
        if route.kind == RouteKind::Unicast {
            let family_v6 = route.prefix.is_ipv6();
            let mut hops = route.next_hops.to_vec();
            for hop in &mut hops {
                self.resolve(hop, family_v6)?;
            }
            route.next_hops = hops.into();
            if route
                .nexthop
                .is_some_and(|id| !self.nexthops.contains_key(&id))
            {
                return refuse(Errno::EINVAL);
            }
            if route.source.is_some_and(|source| !self.is_local(source)) {
                return refuse(Errno::EINVAL);
            }
        }
        let object = Object::Route(route.clone());
        match self.routes.get(&slot(&route)) {
            Some(_) if !replace => refuse(Errno::EEXIST),
            // Whoever's it is.
            Some(_) => {
                self.routes.insert(slot(&route), route);
                Ok(vec![Event::Replaced(object)])
            }
            None => {
                self.routes.insert(slot(&route), route);
                Ok(vec![Event::New(object)])
            }
        }
    }

    fn delete_route(&mut self, key: &RouteKey) -> Outcome {
        let any_metric = key.prefix.is_ipv6() && key.metric == 0;
        let found = self.routes.values().find(|route| {
            route.prefix == key.prefix
                && route.table == key.table
                && (any_metric || route.metric == key.metric)
                && (key.protocol.0 == 0 || route.protocol == key.protocol)
        });
        let Some(at) = found.map(slot) else {
            return refuse(Errno::ESRCH);
        };
        let gone = self.routes.remove(&at).map(Object::Route);
        Ok(gone.into_iter().map(Event::Gone).collect())
    }

    /// Finds the interface of a next hop and whether it can be used.
    fn resolve(&self, hop: &mut NextHop, ipv6_route: bool) -> Result<(), KernelError> {
        let unreachable = if ipv6_route {
            Errno::EHOSTUNREACH
        } else {
            Errno::ENETUNREACH
        };
        if hop.ifindex == 0 {
            let Some(gateway) = hop.gateway else {
                return Err(KernelError::refused(Errno::ENODEV));
            };
            match self
                .addresses
                .values()
                .find(|a| a.connected().contains(gateway))
            {
                Some(address) => hop.ifindex = address.ifindex,
                None => return Err(KernelError::refused(unreachable)),
            }
        }
        // The kernel looks an IPv4 gateway up first, and finds no route before it finds no link.
        let looked_up = hop.gateway.is_some_and(|gateway| gateway.is_ipv4()) && !hop.onlink;
        self.up_link(hop.ifindex).map_err(|error| {
            if looked_up {
                KernelError::refused(unreachable)
            } else {
                error
            }
        })?;
        let Some(gateway) = hop.gateway else {
            return Ok(());
        };
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if hop.onlink || link_local || self.is_connected(gateway, hop.ifindex) {
            return Ok(());
        }
        Err(KernelError::refused(unreachable))
    }

    fn is_connected(&self, gateway: IpAddr, ifindex: u32) -> bool {
        let by_address = self
            .addresses
            .values()
            .any(|a| a.ifindex == ifindex && a.local != gateway && a.connected().contains(gateway));
        by_address
            || self.routes.values().any(|route| {
                let direct = |hop: &NextHop| hop.ifindex == ifindex && hop.gateway.is_none();
                route.prefix.contains(gateway) && route.next_hops.iter().any(direct)
            })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.values().any(|a| a.local == address)
    }

    fn up_link(&self, ifindex: u32) -> Result<&Link, KernelError> {
        match self.links.get(&ifindex) {
            None => Err(KernelError::refused(Errno::ENODEV)),
            Some(link) if !link.up => Err(KernelError::refused(Errno::ENETDOWN)),
            Some(link) => Ok(link),
        }
    }

    fn install_nexthop(&mut self, nexthop: &Nexthop) -> Outcome {
        match &nexthop.to {
            NexthopTarget::Via {
                gateway,
                ifindex,
                onlink,
            } => {
                let mut hop = NextHop {
                    onlink: *onlink,
                    ..NextHop::via(*gateway, *ifindex)
                };
                self.resolve(&mut hop, gateway.is_ipv6())?;
                if !self.up_link(*ifindex)?.carrier {
                    return refuse(Errno::ENETDOWN);
                }
            }
            NexthopTarget::Dev { ifindex, .. } => drop(self.up_link(*ifindex)?),
            NexthopTarget::Blackhole { .. } => {}
            NexthopTarget::Group(members) | NexthopTarget::Resilient { members, .. } => {
                if members
                    .iter()
                    .any(|member| !self.nexthops.contains_key(&member.id))
                {
                    return refuse(Errno::EINVAL);
                }
            }
        }
        let group = |to: &NexthopTarget| {
            matches!(
                to,
                NexthopTarget::Group(_) | NexthopTarget::Resilient { .. }
            )
        };
        let before = self.nexthops.get(&nexthop.id);
        if before.is_some_and(|before| group(&before.to) != group(&nexthop.to)) {
            return refuse(Errno::EINVAL);
        }
        self.nexthops.insert(nexthop.id, nexthop.clone());
        Ok(vec![Event::New(Object::Nexthop(nexthop.clone()))])
    }

    /// Deletes an object, its routes, its membership in groups and the groups left empty.
    fn drop_nexthop(&mut self, id: NexthopId) -> Vec<Event> {
        let gone = self.nexthops.remove(&id);
        // Of IPv6 routes it tells, as long as the sysctl `nexthop_compat_mode` is on.
        let through = |route: &&Route| route.nexthop == Some(id) && route.prefix.is_ipv6();
        let told: Vec<_> = self.routes.values().filter(through).cloned().collect();
        self.routes.retain(|_, route| route.nexthop != Some(id));
        let mut empty = Vec::new();
        for (group, nexthop) in &mut self.nexthops {
            if let NexthopTarget::Group(members) | NexthopTarget::Resilient { members, .. } =
                &mut nexthop.to
            {
                members.retain(|member| member.id != id);
                if members.is_empty() {
                    empty.push(*group);
                }
            }
        }
        let mut events: Vec<_> = told
            .into_iter()
            .map(|route| Event::Dropped(Object::Route(route)))
            .collect();
        events.extend(gone.map(|n| Event::Gone(Object::Nexthop(n))));
        for group in empty {
            events.extend(self.drop_nexthop(group));
        }
        events
    }

    /// Deletes the objects on an interface, without events.
    fn flush_nexthops(&mut self, ifindex: u32) {
        let on_link = |nexthop: &&Nexthop| match &nexthop.to {
            NexthopTarget::Via { ifindex: i, .. } | NexthopTarget::Dev { ifindex: i, .. } => {
                *i == ifindex
            }
            NexthopTarget::Blackhole { .. }
            | NexthopTarget::Group(_)
            | NexthopTarget::Resilient { .. } => false,
        };
        let ids: Vec<_> = self
            .nexthops
            .values()
            .filter(on_link)
            .map(|n| n.id)
            .collect();
        for id in ids {
            let _silent = self.drop_nexthop(id);
        }
    }

    fn add_link(&mut self, new: &NewLink) -> Outcome {
        let ends: Vec<(&NewEnd, &str)> = match new {
            NewLink::Bridge(bridge) => vec![(bridge, "bridge")],
            NewLink::Veth {
                host,
                peer,
                peer_netns: None,
            } => vec![(host, "veth"), (peer, "veth")],
            NewLink::Veth { host, .. } => vec![(host, "veth")],
        };
        for (end, _) in &ends {
            let taken = end
                .ifindex
                .is_some_and(|ifindex| self.links.contains_key(&ifindex));
            if taken || self.find(&LinkId::Name(end.name.clone())).is_some() {
                return refuse(Errno::EEXIST);
            }
        }
        let mut events = Vec::new();
        for (end, kind) in ends {
            let next = self.links.keys().next_back().map_or(1, |last| last + 1);
            let mut link = link(
                end.ifindex.unwrap_or(next),
                &end.name,
                end.group.unwrap_or(0),
            );
            link.kind = Some(kind.to_owned());
            link.mtu = end.mtu.unwrap_or(1500);
            link.mac = end.mac;
            link.carrier = true;
            link.up = end.up;
            link.running = end.up;
            events.push(Event::New(Object::Link(Box::new(link.clone()))));
            self.links.insert(link.ifindex, link);
        }
        Ok(events)
    }

    fn set_link(&mut self, change: &LinkChange) -> Outcome {
        let Some(ifindex) = self.find(&change.link) else {
            return refuse(Errno::ENODEV);
        };
        let Some(link) = self.links.get_mut(&ifindex) else {
            return refuse(Errno::ENODEV);
        };
        if let Some(name) = &change.name {
            link.name.clone_from(name);
        }
        link.mtu = change.mtu.unwrap_or(link.mtu);
        link.mac = change.mac.or(link.mac);
        link.group = change.group.unwrap_or(link.group);
        if let Some(master) = change.master {
            link.master = Some(master).filter(|master| *master != 0);
        }
        let was_up = link.up;
        link.up = change.up.unwrap_or(link.up);
        link.running = link.up && link.carrier;
        let goes_down = was_up && !link.up;
        let mut events = vec![Event::New(Object::Link(Box::new(link.clone())))];
        if goes_down {
            events.extend(self.flush_link(ifindex));
        }
        Ok(events)
    }

    /// An interface is down: its IPv4 routes and nexthop objects go silently, IPv6 routes and
    /// addresses with events.
    fn flush_link(&mut self, ifindex: u32) -> Vec<Event> {
        self.flush_nexthops(ifindex);
        self.flush_routes_v4(ifindex);
        let uses = |route: &Route| {
            route.prefix.is_ipv6()
                && route.next_hops.iter().all(|hop| hop.ifindex == ifindex)
                && !route.next_hops.is_empty()
        };
        let gone: Vec<_> = self.routes.values().filter(|r| uses(r)).cloned().collect();
        let mut events = Vec::new();
        for route in gone {
            self.routes.remove(&slot(&route));
            events.push(Event::Dropped(Object::Route(route)));
        }
        let ipv6 = |a: &&Address| a.ifindex == ifindex && a.local.is_ipv6();
        let gone: Vec<_> = self.addresses.values().filter(ipv6).copied().collect();
        for address in gone {
            self.addresses.remove(&(ifindex, address.local));
            events.push(Event::Gone(Object::Address(address)));
        }
        events
    }

    /// IPv4 routes all of whose next hops are on the interface go, and nobody is told. The kernel
    /// keeps a multipath route with the others' next hops, dead ones included.
    fn flush_routes_v4(&mut self, ifindex: u32) {
        self.routes.retain(|(prefix, ..), route| {
            let hops = &route.next_hops;
            prefix.is_ipv6() || hops.is_empty() || hops.iter().any(|hop| hop.ifindex != ifindex)
        });
    }

    fn delete_link(&mut self, ifindex: u32) -> Vec<Event> {
        let mut events = self.flush_link(ifindex);
        let addresses: Vec<_> = self
            .addresses
            .values()
            .filter(|a| a.ifindex == ifindex)
            .copied()
            .collect();
        for address in addresses {
            self.addresses.remove(&(ifindex, address.local));
            events.push(Event::Gone(Object::Address(address)));
        }
        self.neighbors.retain(|(i, ..), _| *i != ifindex);
        if let Some(mut link) = self.links.remove(&ifindex) {
            link.up = false;
            link.running = false;
            events.push(Event::Gone(Object::Link(Box::new(link))));
        }
        events
    }

    fn delete_group(&mut self, group: u32) -> Outcome {
        let members: Vec<_> = self
            .links
            .values()
            .filter(|l| l.group == group)
            .map(|l| l.ifindex)
            .collect();
        if members.is_empty() {
            return refuse(Errno::ENODEV);
        }
        Ok(members
            .into_iter()
            .flat_map(|ifindex| self.delete_link(ifindex))
            .collect())
    }

    fn add_address(&mut self, address: &Address) -> Outcome {
        if !self.links.contains_key(&address.ifindex) {
            return refuse(Errno::ENODEV);
        }
        let key = (address.ifindex, address.local);
        if self.addresses.contains_key(&key) {
            return refuse(Errno::EEXIST);
        }
        self.addresses.insert(key, *address);
        Ok(vec![Event::New(Object::Address(*address))])
    }

    /// With the last IPv4 address of an interface go its IPv4 routes, and with any address the
    /// routes that prefer it as source, all silently.
    fn delete_address(&mut self, address: &Address) -> Outcome {
        let ifindex = address.ifindex;
        let Some(gone) = self.addresses.remove(&(ifindex, address.local)) else {
            return refuse(Errno::EADDRNOTAVAIL);
        };
        self.routes
            .retain(|_, route| route.source != Some(gone.local));
        let others = self
            .addresses
            .values()
            .any(|a| a.ifindex == ifindex && a.local.is_ipv4());
        if gone.local.is_ipv4() && !others {
            self.flush_routes_v4(ifindex);
        }
        Ok(vec![Event::Gone(Object::Address(gone))])
    }
}

fn slot(route: &Route) -> Slot {
    (route.prefix, route.table, route.metric)
}

fn link(ifindex: u32, name: &str, group: u32) -> Link {
    Link {
        ifindex,
        name: name.to_owned(),
        kind: None,
        up: false,
        running: false,
        carrier: false,
        loopback: false,
        mtu: 1500,
        mac: None,
        master: None,
        peer: None,
        peer_netns: None,
        group,
    }
}

fn refuse(errno: Errno) -> Outcome {
    Err(KernelError::refused(errno))
}
