//! What owners desire, and what a route does.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use serde::Serialize;
use wayleave_netlink::{NextHops, NexthopId, Route, RouteKind};

/// Who desires a route. For one slot the first of this order wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// A container here.
    Attach,
    /// A block of ours: its unallocated rest is a blackhole.
    Block,
    /// The best routes of the speaker.
    Bgp,
}

impl Owner {
    /// All, in order of precedence.
    pub const ALL: [Self; 3] = [Self::Attach, Self::Block, Self::Bgp];
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attach => "attach",
            Self::Block => "block",
            Self::Bgp => "bgp",
        })
    }
}

/// Where an owner wants packets to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Nowhere: drop them.
    Blackhole,
    /// Exactly there, interfaces given; installed while these are up.
    Exactly(Content),
    /// To these routers, as far as they can be reached; the first decides nothing more than the
    /// others.
    Via(Vec<Gateway>),
}

impl Wish {
    /// The wish for a complete route, less its slot.
    #[must_use]
    pub fn exactly(route: &Route) -> Self {
        Self::Exactly(Content::of(route))
    }
}

/// A router, as BGP names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gateway {
    /// Its address.
    pub addr: IpAddr,
    /// Its link-local address, if it gave one beside a global one (RFC 2545).
    pub link_local: Option<Ipv6Addr>,
    /// The interface, if the session is bound to one; a link-local address needs it.
    pub interface: Option<Arc<str>>,
}

impl From<IpAddr> for Gateway {
    fn from(addr: IpAddr) -> Self {
        Self {
            addr,
            link_local: None,
            interface: None,
        }
    }
}

/// What a route does, less its slot and its author.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Content {
    /// Forward, drop ...
    pub kind: RouteKind,
    /// In the order the kernel compares them: sorted.
    pub next_hops: NextHops,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU.
    pub mtu: Option<std::num::NonZeroU32>,
    /// The nexthop object packets go through. In a status the next hops are its own, spelled out.
    pub nexthop: Option<NexthopId>,
}

impl Content {
    /// The content of a route.
    #[must_use]
    pub fn of(route: &Route) -> Self {
        let Route {
            kind,
            next_hops,
            source,
            mtu,
            nexthop,
            ..
        } = route.clone().canonical();
        Self {
            kind,
            next_hops,
            source,
            mtu,
            nexthop,
        }
    }

    pub(super) fn forwarding(next_hops: NextHops) -> Self {
        Self {
            kind: RouteKind::Unicast,
            next_hops,
            source: None,
            mtu: None,
            nexthop: None,
        }
    }

    pub(super) fn through(nexthop: NexthopId) -> Self {
        Self {
            nexthop: Some(nexthop),
            ..Self::forwarding(NextHops::NONE)
        }
    }

    pub(super) fn blackhole() -> Self {
        Self {
            kind: RouteKind::Blackhole,
            ..Self::forwarding(NextHops::NONE)
        }
    }

    /// Whether a loss of everything on an interface touches it.
    pub(super) fn uses(&self, ifindex: u32) -> bool {
        self.next_hops.iter().any(|hop| hop.ifindex == ifindex)
    }
}

/// Why a wish cannot be installed as things are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Unresolved {
    /// The router is on no network of this host.
    #[error("next hop {0} is on no connected network")]
    NotConnected(IpAddr),
    /// The router is this host.
    #[error("next hop {0} is an address of this host")]
    OwnAddress(IpAddr),
    /// The interface is down or has no carrier.
    #[error("interface {0} is down")]
    Down(Arc<str>),
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoInterface(Arc<str>),
    /// A link-local address means nothing without an interface.
    #[error("next hop {0} is link-local, and the peer is configured on no interface")]
    LinkLocal(IpAddr),
    /// An IPv6 route cannot lead through an IPv4 router.
    #[error("next hop {0} is of IPv4")]
    WrongFamily(IpAddr),
    /// No router was given.
    #[error("there is no next hop")]
    Empty,
}

/// The number of a way in use: a wish of one or more slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WayId(pub(super) std::num::NonZeroU32);
