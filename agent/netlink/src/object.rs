//! What the kernel tells us: objects in a listing, events from the monitor.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    address::{Address, Neighbor, Rule},
    link::Link,
    nexthop::Nexthop,
    prefix::Family,
    route::{Protocol, Route},
};

/// An object of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A route.
    Route(Route),
    /// An interface.
    Link(Box<Link>),
    /// An address of an interface.
    Address(Address),
    /// A neighbour entry.
    Neighbor(Neighbor),
    /// A policy rule.
    Rule(Box<Rule>),
    /// A nexthop object.
    Nexthop(Nexthop),
}

/// Something happened in the kernel, by whomever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An object appeared or changed.
    New(Object),
    /// A route took the place of another at the same prefix, table and metric, which had perhaps
    /// another owner: the old one is gone and no [`Event::Gone`] follows.
    Replaced(Object),
    /// An object was deleted.
    Gone(Object),
    /// A route or a nexthop object was dropped by the kernel itself, along with something it needed:
    /// an interface, an address, a nexthop object. Most such losses come without an event.
    Dropped(Object),
    /// Events were lost. Nothing known is to be trusted: list everything again.
    Overrun,
}

/// What to list. Filters work in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dump {
    /// Routes.
    Routes(RouteFilter),
    /// All interfaces.
    Links,
    /// Addresses of one interface or of all.
    Addresses {
        /// Of this interface only.
        ifindex: Option<u32>,
    },
    /// Neighbour entries.
    Neighbors {
        /// Of this interface only.
        ifindex: Option<u32>,
    },
    /// Proxy entries of the neighbour tables.
    Proxies,
    /// Policy rules of a family.
    Rules(Family),
    /// Nexthop objects.
    Nexthops,
}

/// Which routes to list: all of a family, less what the filter excludes.
///
/// Cached IPv6 exceptions (learned MTUs, redirects) are never listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFilter {
    /// The family; each is a listing of its own.
    pub family: Family,
    /// Of this table only.
    pub table: Option<u32>,
    /// Of this protocol only.
    pub protocol: Option<Protocol>,
    /// Through this interface only.
    pub ifindex: Option<u32>,
}

impl RouteFilter {
    /// All routes of all tables of a family.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        Self {
            family,
            table: None,
            protocol: None,
            ifindex: None,
        }
    }

    /// Only those of a table.
    #[must_use]
    pub const fn table(self, table: u32) -> Self {
        Self {
            table: Some(table),
            ..self
        }
    }

    /// Only those of a protocol.
    #[must_use]
    pub const fn protocol(self, protocol: Protocol) -> Self {
        Self {
            protocol: Some(protocol),
            ..self
        }
    }

    /// Whether a route passes. For a multipath route any next hop's interface counts.
    #[must_use]
    pub fn matches(&self, route: &Route) -> bool {
        route.prefix.family() == self.family
            && self.table.is_none_or(|table| table == route.table)
            && self
                .protocol
                .is_none_or(|protocol| protocol == route.protocol)
            && self
                .ifindex
                .is_none_or(|ifindex| route.next_hops.iter().any(|hop| hop.ifindex == ifindex))
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routes(filter) => write!(f, "{} routes", filter.family),
            Self::Links => f.write_str("interfaces"),
            Self::Addresses { .. } => f.write_str("addresses"),
            Self::Neighbors { .. } => f.write_str("neighbours"),
            Self::Proxies => f.write_str("proxy entries"),
            Self::Rules(family) => write!(f, "{family} rules"),
            Self::Nexthops => f.write_str("nexthop objects"),
        }
    }
}

/// How far a listing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    More,
    /// That was all, and all of one moment.
    Done,
}
