//! The host's interfaces, addresses and others' routes, as far as they decide where a next hop is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use wayleave_netlink::{Address, Link, NextHop, NextHops, Prefix, Protocol, Route, RouteKind};

use super::way::{Content, Gateway, Unresolved, Wish};

/// Interfaces and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    links: BTreeMap<u32, Interface>,
    addresses: BTreeSet<(u32, IpAddr, Prefix)>,
    /// Connected networks by interface, and how many addresses each is connected by: every learned
    /// route is asked whether it is one.
    networks: BTreeMap<(Prefix, u32), usize>,
    /// Routes of other protocols by prefix and metric: what is on no connected network may be behind one
    /// of them (RFC 4271, 9.1.2.1). None of our own, or a learned route might lead to itself, and no
    /// default route: everything is behind that, whether it is there or not.
    routes: BTreeMap<(Prefix, u32), NextHops>,
}

#[derive(Debug, PartialEq, Eq)]
struct Interface {
    name: Arc<str>,
    up: bool,
    /// Up, and with carrier.
    running: bool,
}

/// What the change of an interface or address means for routes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// Next hops may lead elsewhere.
    Resolve,
    /// And the kernel may have dropped IPv4 routes through this interface without a word.
    RoutesLost(u32),
    /// And the nexthop objects on it too, with everything that goes through them.
    LinkLost(u32),
}

impl Topology {
    pub(super) fn link_is(&mut self, link: &Link) -> Consequence {
        let interface = Interface {
            name: link.name.as_str().into(),
            up: link.up,
            running: link.running,
        };
        let before = self.links.get(&link.ifindex);
        if before == Some(&interface) {
            return Consequence::None;
        }
        // Without carrier IPv4 routes stay, and objects do not.
        let goes_down = before.is_some_and(|before| {
            before.up && !interface.up || before.running && !interface.running
        });
        self.links.insert(link.ifindex, interface);
        if goes_down {
            Consequence::LinkLost(link.ifindex)
        } else {
            Consequence::Resolve
        }
    }

    pub(super) fn link_is_gone(&mut self, ifindex: u32) -> Consequence {
        self.addresses.retain(|(on, ..)| *on != ifindex);
        self.networks.retain(|(_, on), _| *on != ifindex);
        match self.links.remove(&ifindex) {
            Some(_) => Consequence::LinkLost(ifindex),
            None => Consequence::None,
        }
    }

    pub(super) fn address_is(&mut self, address: &Address) -> Consequence {
        // An address under duplicate address detection cannot be used yet, but its network can.
        let key = (address.ifindex, address.local, address.connected());
        if self.addresses.insert(key) {
            *self.networks.entry((key.2, key.0)).or_default() += 1;
            Consequence::Resolve
        } else {
            Consequence::None
        }
    }

    pub(super) fn address_is_gone(&mut self, address: &Address) -> Consequence {
        let key = (address.ifindex, address.local, address.connected());
        match self.addresses.remove(&key) {
            true => {
                if let Some(count) = self.networks.get_mut(&(key.2, key.0)) {
                    *count -= 1;
                    if *count == 0 {
                        self.networks.remove(&(key.2, key.0));
                    }
                }
                Consequence::RoutesLost(address.ifindex)
            }
            false => Consequence::None,
        }
    }

    /// Somebody else's route is there, or leads elsewhere. Whether that is news.
    pub(super) fn route_is(&mut self, route: &Route) -> bool {
        let key = (route.prefix, route.metric);
        // Connected networks are known by their addresses.
        let leads = route.kind == RouteKind::Unicast
            && route.protocol != Protocol::KERNEL
            && route.prefix.len() > 0
            && !route.next_hops.is_empty();
        match leads {
            true => {
                let before = self.routes.insert(key, route.next_hops.clone());
                before.as_ref() != Some(&route.next_hops)
            }
            false => self.routes.remove(&key).is_some(),
        }
    }

    /// It is gone. Whether that is news.
    pub(super) fn route_is_gone(&mut self, route: &Route) -> bool {
        self.routes.remove(&(route.prefix, route.metric)).is_some()
    }

    /// An interface has gone down: the kernel may have dropped others' routes through it without a word.
    /// Whether there were any.
    pub(super) fn forget_routes_over(&mut self, ifindex: u32) -> bool {
        let before = self.routes.len();
        let over = |hops: &NextHops| hops.iter().any(|hop| hop.ifindex == ifindex);
        self.routes.retain(|_, hops| !over(hops));
        self.routes.len() < before
    }

    /// The networks connected by an interface.
    pub(super) fn networks(&self, ifindex: u32) -> Vec<Prefix> {
        let on = self.addresses.iter().filter(|(on, ..)| *on == ifindex);
        on.map(|(_, _, network)| *network).collect()
    }

    /// Whether a prefix is a network connected by an interface that can carry packets.
    pub(super) fn is_connected(&self, prefix: Prefix) -> bool {
        let mut on = self.networks.range((prefix, 0)..=(prefix, u32::MAX));
        on.any(|((_, on), _)| {
            self.links
                .get(on)
                .is_some_and(|interface| interface.running)
        })
    }

    /// Where a wish leads, for a route of a family.
    pub(super) fn resolve(&self, wish: &Wish, ipv6: bool) -> Result<Content, Unresolved> {
        match wish {
            Wish::Blackhole => Ok(Content::blackhole()),
            Wish::Exactly(content) => {
                for hop in &*content.next_hops {
                    match self.links.get(&hop.ifindex) {
                        Some(interface) if interface.up => {}
                        Some(interface) => {
                            return Err(Unresolved::Down(Arc::clone(&interface.name)));
                        }
                        None => {
                            let name = format!("number {}", hop.ifindex);
                            return Err(Unresolved::NoInterface(name.into()));
                        }
                    }
                }
                Ok(content.clone())
            }
            Wish::Via(gateways) => {
                let mut hops = BTreeSet::new();
                let mut why = Unresolved::Empty;
                for gateway in gateways {
                    match self.next_hop(gateway, ipv6) {
                        Ok(hop) => drop(hops.insert(hop)),
                        Err(reason) => why = reason,
                    }
                }
                // Those that can be reached carry the traffic; the others join when they can.
                let next_hops: NextHops = hops.into_iter().collect();
                if next_hops.is_empty() {
                    Err(why)
                } else {
                    Ok(Content::forwarding(next_hops))
                }
            }
        }
    }

    /// Where a router is, for a route of a family.
    pub(super) fn next_hop(&self, gateway: &Gateway, ipv6: bool) -> Result<NextHop, Unresolved> {
        let addr = gateway.addr;
        if ipv6 && addr.is_ipv4() {
            return Err(Unresolved::WrongFamily(addr));
        }
        if self.addresses.iter().any(|(_, local, _)| *local == addr) && !is_link_local(addr) {
            return Err(Unresolved::OwnAddress(addr));
        }
        let bound = match &gateway.interface {
            Some(name) => Some(self.interface(name)?),
            None => None,
        };
        if is_link_local(addr) {
            let ifindex = bound.ok_or(Unresolved::LinkLocal(addr))?;
            return Ok(NextHop::via(addr, ifindex));
        }
        match (self.connected(addr, bound), gateway.link_local, bound) {
            (Ok(ifindex), ..) => Ok(NextHop::via(addr, ifindex)),
            (Err(_), Some(link_local), Some(ifindex)) => {
                Ok(NextHop::via(link_local.into(), ifindex))
            }
            (Err(why), _, None) => self.behind(addr).ok_or(why),
            (Err(why), ..) => Err(why),
        }
    }

    /// Where the longest of others' routes to an address leads, the one with the lowest metric first.
    /// Of several next hops one that can be used is taken.
    fn behind(&self, addr: IpAddr) -> Option<NextHop> {
        let host = Prefix::host(addr);
        (1..=host.len()).rev().find_map(|len| {
            let prefix = Prefix::new(addr, len).ok()?;
            let mut routes = self.routes.range((prefix, 0)..=(prefix, u32::MAX));
            routes.find_map(|(_, hops)| hops.iter().find_map(|hop| self.usable(hop, addr)))
        })
    }

    fn usable(&self, hop: &NextHop, addr: IpAddr) -> Option<NextHop> {
        let interface = self.links.get(&hop.ifindex)?;
        interface.running.then(|| NextHop {
            gateway: hop.gateway.or(Some(addr)),
            weight: 1,
            ..hop.clone()
        })
    }

    /// The interface of a name, if packets can pass.
    fn interface(&self, name: &Arc<str>) -> Result<u32, Unresolved> {
        match self
            .links
            .iter()
            .find(|(_, interface)| interface.name == *name)
        {
            Some((ifindex, interface)) if interface.running => Ok(*ifindex),
            Some(_) => Err(Unresolved::Down(Arc::clone(name))),
            None => Err(Unresolved::NoInterface(Arc::clone(name))),
        }
    }

    /// The interface of the longest connected prefix an address lies in; on `bound` if given.
    fn connected(&self, addr: IpAddr, bound: Option<u32>) -> Result<u32, Unresolved> {
        let mut down = None;
        let mut best: Option<(u8, u32)> = None;
        for (ifindex, _, prefix) in &self.addresses {
            if !prefix.contains(addr) || bound.is_some_and(|bound| bound != *ifindex) {
                continue;
            }
            match self.links.get(ifindex) {
                Some(interface) if interface.running => {
                    best = best.filter(|(len, _)| *len >= prefix.len());
                    best = best.or(Some((prefix.len(), *ifindex)));
                }
                Some(interface) => down = Some(Arc::clone(&interface.name)),
                None => {}
            }
        }
        match (best, down) {
            (Some((_, ifindex)), _) => Ok(ifindex),
            (None, Some(name)) => Err(Unresolved::Down(name)),
            (None, None) => Err(Unresolved::NotConnected(addr)),
        }
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, up: bool, running: bool) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            kind: None,
            up,
            running,
            carrier: running,
            loopback: false,
            mtu: 1500,
            mac: None,
            master: None,
            peer: None,
            peer_netns: None,
            group: 0,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn host() -> Topology {
        let mut host = Topology::default();
        host.link_is(&link(2, "eth0", true, true));
        host.link_is(&link(3, "eth1", true, true));
        host.link_is(&link(4, "eth2", true, false));
        host.address_is(&Address::new(2, ip("192.0.2.1"), 24));
        host.address_is(&Address::new(2, ip("2001:db8::1"), 64));
        host.address_is(&Address::new(3, ip("192.0.2.129"), 25));
        host.address_is(&Address::new(4, ip("198.51.100.1"), 24));
        host.address_is(&Address::new(2, ip("fe80::1"), 64));
        host
    }

    #[test]
    fn next_hops_resolve_by_the_longest_connected_prefix_or_say_why_not() {
        let host = host();
        let on = |interface: &str| Some(Arc::<str>::from(interface));
        let table = [
            ("192.0.2.2", None, None, false, Ok(("192.0.2.2", 2))),
            ("192.0.2.200", None, None, false, Ok(("192.0.2.200", 3))),
            (
                "192.0.2.200",
                None,
                on("eth0"),
                false,
                Ok(("192.0.2.200", 2)),
            ),
            ("2001:db8::2", None, None, true, Ok(("2001:db8::2", 2))),
            ("2001:db8::2", None, None, false, Ok(("2001:db8::2", 2))),
            ("fe80::2", None, on("eth1"), true, Ok(("fe80::2", 3))),
            (
                "2001:db8:9::9",
                Some("fe80::9"),
                on("eth1"),
                true,
                Ok(("fe80::9", 3)),
            ),
            (
                "fe80::2",
                None,
                None,
                true,
                Err("next hop fe80::2 is link-local, and the peer is configured on no interface"),
            ),
            (
                "203.0.113.1",
                None,
                None,
                false,
                Err("next hop 203.0.113.1 is on no connected network"),
            ),
            (
                "192.0.2.1",
                None,
                None,
                false,
                Err("next hop 192.0.2.1 is an address of this host"),
            ),
            (
                "198.51.100.2",
                None,
                None,
                false,
                Err("interface eth2 is down"),
            ),
            (
                "192.0.2.2",
                None,
                on("eth9"),
                false,
                Err("there is no interface eth9"),
            ),
            (
                "192.0.2.2",
                None,
                None,
                true,
                Err("next hop 192.0.2.2 is of IPv4"),
            ),
        ];
        for (addr, link_local, interface, ipv6, expected) in table {
            let link_local = link_local.map(|text: &str| text.parse().expect("an address"));
            let gateway = Gateway {
                addr: ip(addr),
                link_local,
                interface,
            };
            let got = host.next_hop(&gateway, ipv6).map_err(|why| why.to_string());
            let expected = expected
                .map(|(gateway, ifindex)| NextHop::via(ip(gateway), ifindex))
                .map_err(str::to_owned);
            assert_eq!(got, expected, "{gateway:?}");
        }
    }

    #[test]
    fn of_several_routers_those_that_can_be_reached_carry_the_traffic() {
        let host = host();
        let wish = |addrs: &[&str]| Wish::Via(addrs.iter().map(|a| ip(a).into()).collect());
        let hops = |addrs: &[&str]| {
            let content = host
                .resolve(&wish(addrs), false)
                .map_err(|why| why.to_string())?;
            Ok::<_, String>(
                content
                    .next_hops
                    .iter()
                    .map(|hop| hop.ifindex)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            hops(&["192.0.2.2", "203.0.113.1", "192.0.2.200"]),
            Ok(vec![2, 3])
        );
        assert_eq!(hops(&["192.0.2.2", "192.0.2.2"]), Ok(vec![2]));
        assert_eq!(
            hops(&["198.51.100.9"]),
            Err("interface eth2 is down".to_owned())
        );
        assert_eq!(hops(&[]), Err("there is no next hop".to_owned()));
    }

    #[test]
    fn links_that_go_down_or_lose_carrier_and_lost_addresses_lose_routes() {
        let mut host = host();
        assert_eq!(
            host.link_is(&link(2, "eth0", true, true)),
            Consequence::None
        );
        assert_eq!(
            host.link_is(&link(2, "eth0", true, false)),
            Consequence::LinkLost(2)
        );
        assert_eq!(
            host.link_is(&link(2, "eth0", false, false)),
            Consequence::LinkLost(2)
        );
        assert_eq!(
            host.link_is(&link(2, "eth0", true, true)),
            Consequence::Resolve
        );
        assert_eq!(
            host.link_is(&link(9, "new", true, true)),
            Consequence::Resolve
        );
        let address = Address::new(2, ip("192.0.2.1"), 24);
        assert_eq!(host.address_is(&address), Consequence::None);
        assert_eq!(host.address_is_gone(&address), Consequence::RoutesLost(2));
        assert_eq!(host.address_is_gone(&address), Consequence::None);
        assert_eq!(host.link_is_gone(9), Consequence::LinkLost(9));
    }
}
