//! The addresses of the interface a connection is on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};
use wayleave_bgp_core::{ConnInfo, Prefix};

/// What the speaker has to know about a connection between these two ends.
pub(crate) fn describe(local: SocketAddr, remote: SocketAddr) -> ConnInfo {
    let mut info = ConnInfo {
        remote,
        local,
        own_v4: None,
        own_v6: None,
        link_local: None,
        interface: None,
        link: None,
    };
    let Ok(addresses) = getifaddrs() else {
        return info;
    };
    let all: Vec<Entry> = addresses.filter_map(Entry::of).collect();
    let own = local.ip().to_canonical();
    let scope = match local {
        SocketAddr::V6(local) => local.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let by_scope = (scope != 0)
        .then(|| nix::net::if_::if_indextoname(scope).ok())
        .flatten()
        .and_then(|name| name.into_string().ok());
    let by_address = || {
        all.iter()
            .find(|entry| entry.address == own)
            .map(|entry| entry.interface.clone())
    };
    let Some(name) = by_scope.or_else(by_address) else {
        return info;
    };
    let far = remote.ip().to_canonical();
    for entry in all.iter().filter(|entry| entry.interface == name) {
        if entry.is_on_link(far) {
            info.link = Some(Arc::from(name.as_str()));
        }
        match entry.address {
            IpAddr::V4(address) => info.own_v4 = info.own_v4.or(Some(address)),
            IpAddr::V6(address) if address.is_loopback() => {}
            IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfe80 => {
                info.link_local = info.link_local.or(Some(address));
            }
            IpAddr::V6(address) => info.own_v6 = info.own_v6.or(Some(address)),
        }
    }
    if let SocketAddr::V6(remote) = remote
        && remote.ip().segments()[0] & 0xffc0 == 0xfe80
    {
        info.interface = Some(Arc::from(name.as_str()));
    }
    info
}

/// An address of an interface.
struct Entry {
    interface: String,
    address: IpAddr,
    /// Length of the prefix that is on its link.
    length: u8,
}

impl Entry {
    fn of(entry: InterfaceAddress) -> Option<Self> {
        let ip = |storage: SockaddrStorage| match (
            storage.as_sockaddr_in(),
            storage.as_sockaddr_in6(),
        ) {
            (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
            (None, Some(v6)) => Some(IpAddr::V6(v6.ip())),
            (None, None) => None,
        };
        let length = match entry.netmask.and_then(ip) {
            Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
            None => 128,
        };
        Some(Self {
            interface: entry.interface_name,
            address: ip(entry.address?)?,
            length: u8::try_from(length).unwrap_or(128),
        })
    }

    /// Whether this is another address on the same link.
    fn is_on_link(&self, other: IpAddr) -> bool {
        self.address.is_ipv4() == other.is_ipv4()
            && !self.address.is_loopback()
            && self.address != other
            && Prefix::new(self.address, self.length).contains(Prefix::host(other))
    }
}
