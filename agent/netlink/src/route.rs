//! Routes as the kernel's FIB holds them: `ip route` as data.

use std::{fmt, net::IpAddr, num::NonZeroU32, ops::Deref};

use serde::{Deserialize, Serialize};

use crate::{nexthop::NexthopId, prefix::Prefix};

/// The table all lookups end in unless rules say otherwise (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// The table of local and broadcast addresses, kept by the kernel (`RT_TABLE_LOCAL`).
pub const TABLE_LOCAL: u32 = 255;
/// What IPv6 makes of metric 0 (`IP6_RT_PRIO_USER`). A v6 route never has metric 0 in a dump.
pub const METRIC_V6_DEFAULT: u32 = 1024;

/// One route: what `ip route replace` takes and `ip route show` prints.
///
/// Two routes are the same kernel object when their [`RouteKey`]s are equal; the kernel holds at
/// most one per (prefix, table, metric), whatever its protocol, unless somebody *appends*.
///
/// The scope is derived as iproute2 does (`link` for IPv4 routes without gateway) and not kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub prefix: Prefix,
    /// Routing table number.
    pub table: u32,
    /// Priority, lower wins. IPv6 turns 0 into [`METRIC_V6_DEFAULT`].
    pub metric: u32,
    /// Who installed it (`rtm_protocol`).
    pub protocol: Protocol,
    /// What happens to packets that match.
    pub kind: RouteKind,
    /// Where they go; empty for a [`RouteKind::Blackhole`] and its like, and when `nexthop` is set.
    pub next_hops: NextHops,
    /// A nexthop object instead of next hops of its own (`RTA_NH_ID`).
    pub nexthop: Option<NexthopId>,
    /// Preferred source address of locally made packets (`RTA_PREFSRC`).
    pub source: Option<IpAddr>,
    /// Path MTU in bytes (`RTAX_MTU`).
    pub mtu: Option<NonZeroU32>,
}

impl Route {
    /// A unicast route in the main table.
    #[must_use]
    pub fn unicast(prefix: Prefix, protocol: Protocol, next_hops: impl Into<NextHops>) -> Self {
        Self {
            prefix,
            table: TABLE_MAIN,
            metric: 0,
            protocol,
            kind: RouteKind::Unicast,
            next_hops: next_hops.into(),
            nexthop: None,
            source: None,
            mtu: None,
        }
    }

    /// A route in the main table that silently drops what matches.
    #[must_use]
    pub fn blackhole(prefix: Prefix, protocol: Protocol) -> Self {
        Self {
            kind: RouteKind::Blackhole,
            ..Self::unicast(prefix, protocol, NextHops::NONE)
        }
    }

    /// A unicast route in the main table through a nexthop object.
    #[must_use]
    pub fn through(prefix: Prefix, protocol: Protocol, nexthop: NexthopId) -> Self {
        Self {
            nexthop: Some(nexthop),
            ..Self::unicast(prefix, protocol, NextHops::NONE)
        }
    }

    /// The same route with another metric.
    #[must_use]
    pub fn with_metric(self, metric: u32) -> Self {
        Self { metric, ..self }
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(self, table: u32) -> Self {
        Self { table, ..self }
    }

    /// The same route with a preferred source address.
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// What names this route in the kernel, its owner included.
    #[must_use]
    pub fn key(&self) -> RouteKey {
        RouteKey {
            prefix: self.prefix,
            table: self.table,
            metric: self.metric,
            protocol: self.protocol,
        }
    }

    /// The route as the kernel will report it: IPv6 metric 0 becomes 1024, next hops of a
    /// multipath route are sorted (the kernel keeps the order it was given, so sort before
    /// installing when comparing later), one next hop has weight 1.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        if self.prefix.is_ipv6() && self.metric == 0 {
            self.metric = METRIC_V6_DEFAULT;
        }
        self.next_hops = self.next_hops.canonical();
        self
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind)?;
        }
        write!(f, "{}", self.prefix)?;
        if let Some(id) = self.nexthop {
            write!(f, " nhid {id}")?;
        }
        if let [hop] = &*self.next_hops {
            write!(f, " {hop}")?;
        }
        write!(f, " proto {}", self.protocol)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table != TABLE_MAIN {
            write!(f, " table {}", self.table)?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if self.next_hops.len() > 1 {
            for hop in &*self.next_hops {
                write!(f, " nexthop {hop} weight {}", hop.weight)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What a deletion must match. The protocol is part of it, so that nobody else's route is ever
/// deleted by us; [`Protocol::UNSPEC`] matches any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// Destination.
    pub prefix: Prefix,
    /// Routing table number.
    pub table: u32,
    /// Priority. In an IPv6 deletion 0 matches any metric.
    pub metric: u32,
    /// Who installed it.
    pub protocol: Protocol,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} proto {} metric {}",
            self.prefix, self.protocol, self.metric
        )?;
        if self.table != TABLE_MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Who installed a kernel object (`RTPROT_*`, /etc/iproute2/rt_protos).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Nobody, or in a filter and a deletion: anybody.
    pub const UNSPEC: Self = Self(0);
    /// The kernel itself (connected and local routes).
    pub const KERNEL: Self = Self(2);
    /// `ip route add` without a `proto`.
    pub const BOOT: Self = Self(3);
    /// An administrator's static route.
    pub const STATIC: Self = Self(4);
    /// BIRD.
    pub const BIRD: Self = Self(12);
    /// Wayleave: 201, which no known daemon uses.
    pub const WAYLEAVE: Self = Self(201);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "unspec",
            1 => "redirect",
            2 => "kernel",
            3 => "boot",
            4 => "static",
            9 => "ra",
            11 => "zebra",
            12 => "bird",
            16 => "dhcp",
            99 => "openr",
            186 => "bgp",
            187 => "isis",
            188 => "ospf",
            201 => "wayleave",
            number => return write!(f, "{number}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a route does with the packets that match it (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Forward to the next hops.
    Unicast,
    /// Deliver to this host.
    Local,
    /// Drop silently.
    Blackhole,
    /// Drop and answer with ICMP unreachable.
    Unreachable,
    /// Drop and answer with ICMP prohibited.
    Prohibit,
    /// Go on with the next rule.
    Throw,
    /// Any other, by number (broadcast 3, anycast 4, multicast 5, nat 10).
    Other(u8),
}

impl RouteKind {
    /// The `RTN_*` number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
            Self::Throw => 9,
            Self::Other(number) => number,
        }
    }

    /// The kind of an `RTN_*` number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            other => Self::Other(other),
        }
    }

    /// Whether routes of this kind have next hops.
    #[must_use]
    pub const fn has_next_hops(self) -> bool {
        !matches!(
            self,
            Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw
        )
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(number) => return write!(f, "type-{number}"),
        })
    }
}

/// One next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NextHop {
    /// The router; `None` for a directly connected destination. May be IPv6 in an IPv4 route
    /// (RFC 8950, `RTA_VIA`).
    pub gateway: Option<IpAddr>,
    /// The interface; 0 lets the kernel find it by the gateway.
    pub ifindex: u32,
    /// Share of the traffic, 1 to 256; 1 in a route with one next hop.
    pub weight: u16,
    /// Believe that the gateway is on the link although no connected route says so.
    pub onlink: bool,
}

impl NextHop {
    /// Through a gateway on an interface (0: found by the kernel).
    #[must_use]
    pub const fn via(gateway: IpAddr, ifindex: u32) -> Self {
        Self {
            gateway: Some(gateway),
            ifindex,
            weight: 1,
            onlink: false,
        }
    }

    /// Directly on an interface.
    #[must_use]
    pub const fn dev(ifindex: u32) -> Self {
        Self {
            gateway: None,
            ifindex,
            weight: 1,
            onlink: false,
        }
    }

    /// The same next hop with another weight.
    #[must_use]
    pub const fn with_weight(self, weight: u16) -> Self {
        Self { weight, ..self }
    }

    /// The same next hop, believed to be on the link.
    #[must_use]
    pub const fn onlink(self) -> Self {
        Self {
            onlink: true,
            ..self
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, "via {gateway} ")?;
        }
        write!(f, "dev if{}", self.ifindex)?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        Ok(())
    }
}

/// The next hops of a route. None and one, the usual cases, take no allocation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<NextHop>", into = "Vec<NextHop>")]
pub struct NextHops(Hops);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
enum Hops {
    #[default]
    None,
    One(NextHop),
    /// Never of length 0 or 1, so that equality is by content.
    Many(Box<[NextHop]>),
}

impl NextHops {
    /// No next hop.
    pub const NONE: Self = Self(Hops::None);

    fn canonical(mut self) -> Self {
        match &mut self.0 {
            Hops::None => {}
            Hops::One(hop) => hop.weight = 1,
            Hops::Many(hops) => hops.sort_unstable(),
        }
        self
    }
}

impl Deref for NextHops {
    type Target = [NextHop];

    fn deref(&self) -> &[NextHop] {
        match &self.0 {
            Hops::None => &[],
            Hops::One(hop) => std::slice::from_ref(hop),
            Hops::Many(hops) => hops,
        }
    }
}

impl From<NextHop> for NextHops {
    fn from(hop: NextHop) -> Self {
        Self(Hops::One(hop))
    }
}

impl From<Vec<NextHop>> for NextHops {
    fn from(hops: Vec<NextHop>) -> Self {
        match hops[..] {
            [] => Self::NONE,
            [hop] => hop.into(),
            _ => Self(Hops::Many(hops.into())),
        }
    }
}

impl From<NextHops> for Vec<NextHop> {
    fn from(hops: NextHops) -> Self {
        hops.to_vec()
    }
}

impl FromIterator<NextHop> for NextHops {
    fn from_iter<I: IntoIterator<Item = NextHop>>(hops: I) -> Self {
        hops.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_route_reads_like_ip_route() {
        let prefix: Prefix = "10.1.0.0/26".parse().expect("a prefix");
        let via = NextHop::via(ip("192.0.2.1"), 3);
        let table = [
            (
                Route::unicast(prefix, Protocol::WAYLEAVE, via).with_metric(20),
                "10.1.0.0/26 via 192.0.2.1 dev if3 proto wayleave metric 20",
            ),
            (
                Route::blackhole(prefix, Protocol::WAYLEAVE),
                "blackhole 10.1.0.0/26 proto wayleave",
            ),
            (
                Route::unicast(
                    prefix,
                    Protocol(77),
                    vec![via.with_weight(2), NextHop::via(ip("fe80::1"), 4).onlink()],
                )
                .in_table(100),
                "10.1.0.0/26 proto 77 table 100 nexthop via 192.0.2.1 dev if3 weight 2 \
                 nexthop via fe80::1 dev if4 onlink weight 1",
            ),
            (
                Route::through(prefix, Protocol::BIRD, NexthopId(7)).with_source(ip("192.0.2.9")),
                "10.1.0.0/26 nhid 7 proto bird src 192.0.2.9",
            ),
        ];
        for (route, expected) in table {
            assert_eq!(route.to_string(), expected);
        }
    }

    #[test]
    fn next_hops_are_equal_by_content_however_they_were_made() {
        let hop = NextHop::dev(2);
        assert_eq!(NextHops::from(vec![hop]), NextHops::from(hop));
        assert_eq!(NextHops::from(vec![]), NextHops::NONE);
        let two: NextHops = [hop, NextHop::dev(3)].into_iter().collect();
        assert_eq!(two.len(), 2);
    }
}
