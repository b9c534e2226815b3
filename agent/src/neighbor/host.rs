//! The interfaces of this host and their link-local addresses, as far as they matter here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use wayleave_netlink::{Address, Link};

use super::search::{Outlet, Standing};

/// Interfaces by number, and addresses that can be used.
#[derive(Debug, Default)]
pub(super) struct Host {
    links: BTreeMap<u32, Interface>,
    addresses: BTreeSet<(u32, Ipv6Addr)>,
}

#[derive(Debug)]
struct Interface {
    name: String,
    running: bool,
}

impl Host {
    pub(super) fn link_is(&mut self, link: &Link) {
        let interface = Interface {
            name: link.name.clone(),
            running: link.up && link.running,
        };
        self.links.insert(link.ifindex, interface);
    }

    pub(super) fn link_is_gone(&mut self, ifindex: u32) {
        self.links.remove(&ifindex);
        self.addresses.retain(|(on, _)| *on != ifindex);
    }

    pub(super) fn address_is(&mut self, address: &Address) {
        let Some(local) = link_local(address) else {
            return;
        };
        // One under duplicate address detection cannot be used yet.
        if address.tentative {
            self.addresses.remove(&(address.ifindex, local));
        } else {
            self.addresses.insert((address.ifindex, local));
        }
    }

    pub(super) fn address_is_gone(&mut self, address: &Address) {
        if let Some(local) = link_local(address) {
            self.addresses.remove(&(address.ifindex, local));
        }
    }

    /// How the interface of a name stands.
    pub(super) fn standing(&self, name: &str) -> Standing {
        let mut links = self.links.iter();
        let Some((&ifindex, link)) = links.find(|(_, link)| link.name == name) else {
            return Standing::Missing;
        };
        if !link.running {
            return Standing::Down;
        }
        let from = (ifindex, Ipv6Addr::UNSPECIFIED);
        match self.addresses.range(from..).next() {
            Some(&(on, source)) if on == ifindex => Standing::Usable(Outlet { ifindex, source }),
            Some(_) | None => Standing::NoAddress,
        }
    }

    /// The name of an interface.
    pub(super) fn name(&self, ifindex: u32) -> Option<&str> {
        self.links.get(&ifindex).map(|link| link.name.as_str())
    }

    /// Whether an address is one of ours, on whichever interface: two of ours may be on one link.
    pub(super) fn is_ours(&self, address: Ipv6Addr) -> bool {
        self.addresses.iter().any(|(_, ours)| *ours == address)
    }
}

fn link_local(address: &Address) -> Option<Ipv6Addr> {
    match address.local {
        IpAddr::V6(local) if local.is_unicast_link_local() => Some(local),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}
