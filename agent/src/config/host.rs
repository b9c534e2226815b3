//! What the host itself says: its name and the addresses of its uplink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

/// What defaults are derived from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The host name, as the system has it.
    pub name: Option<String>,
    /// The IPv4 address packets leave from.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address packets leave from.
    pub ipv6: Option<Ipv6Addr>,
}

impl HostFacts {
    /// Looks at the host. Sends nothing.
    pub fn observe() -> Self {
        let name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        let interfaces = interface_addresses();
        let ipv4 = source_towards(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
            .or_else(|| interfaces.iter().copied().find(IpAddr::is_ipv4));
        let ipv6 = source_towards(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)))
            .or_else(|| interfaces.iter().copied().find(IpAddr::is_ipv6));
        Self {
            name,
            ipv4: ipv4.and_then(|addr| {
                if let IpAddr::V4(v4) = addr {
                    Some(v4)
                } else {
                    None
                }
            }),
            ipv6: ipv6.and_then(|addr| {
                if let IpAddr::V6(v6) = addr {
                    Some(v6)
                } else {
                    None
                }
            }),
        }
    }
}

/// The source address the kernel would take. Connecting a UDP socket asks for the route and
/// sends nothing.
fn source_towards(documentation: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match documentation {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((documentation, 9)).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|addr| addr.ip())
        .filter(|addr| usable(*addr))
}

/// Addresses of interfaces that are up, in the kernel's order, for hosts without a default route.
fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter(|interface| {
            interface.flags.contains(InterfaceFlags::IFF_UP)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|addr| IpAddr::V4(addr.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|addr| IpAddr::V6(addr.ip())))
        })
        .filter(|addr| usable(*addr))
        .collect()
}

fn usable(addr: IpAddr) -> bool {
    let link_local = match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(addr.is_loopback() || addr.is_unspecified() || addr.is_multicast() || link_local)
}
