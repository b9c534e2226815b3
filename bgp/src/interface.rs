//! The addresses of the interface a connection is on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use wayleave_bgp_core::ConnInfo;

/// What the speaker has to know about a connection between these two ends.
pub(crate) fn describe(local: SocketAddr, remote: SocketAddr) -> ConnInfo {
    let mut info = ConnInfo {
        remote,
        local,
        own_v4: None,
        own_v6: None,
        link_local: None,
        interface: None,
    };
    let Ok(addresses) = getifaddrs() else {
        return info;
    };
    let all: Vec<(String, IpAddr)> = addresses
        .filter_map(|entry| {
            let storage = entry.address?;
            let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (None, Some(v6)) => IpAddr::V6(v6.ip()),
                (None, None) => return None,
            };
            Some((entry.interface_name, address))
        })
        .collect();
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
            .find(|(_, address)| *address == own)
            .map(|(name, _)| name.clone())
    };
    let Some(name) = by_scope.or_else(by_address) else {
        return info;
    };
    for (_, address) in all.iter().filter(|(interface, _)| *interface == name) {
        match *address {
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
