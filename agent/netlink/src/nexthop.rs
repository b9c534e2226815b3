//! Nexthop objects (`ip nexthop`): next hops with an identity of their own, shared by routes, so
//! that one message repoints all of them.
//!
//! Carrier loss deletes the objects on that link, the groups left empty and their IPv4 routes,
//! all without a message (`Silent losses`): whoever uses them rebuilds on link events.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::route::Protocol;

/// The identity of a nexthop object, chosen by its owner; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NexthopId(pub u32);

impl fmt::Display for NexthopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One nexthop object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nexthop {
    /// Its identity.
    pub id: NexthopId,
    /// Who made it (`nh_protocol`).
    pub protocol: Protocol,
    /// Where it leads.
    pub to: NexthopTarget,
}

/// Where a nexthop object leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NexthopTarget {
    /// A router on an interface. An IPv4 route may lead through an IPv6 gateway (RFC 8950).
    Via {
        /// The router.
        gateway: IpAddr,
        /// The interface.
        ifindex: u32,
        /// Believe that the gateway is on the link.
        onlink: bool,
    },
    /// An interface, for destinations on the link; for routes of one family only.
    Dev {
        /// The interface.
        ifindex: u32,
        /// The family of the routes that may use it.
        family: crate::prefix::Family,
    },
    /// Drop silently.
    Blackhole {
        /// The family of the routes that may use it.
        family: crate::prefix::Family,
    },
    /// Several objects by weight; flows move when the set changes.
    Group(Vec<Member>),
    /// Several objects by weight; flows of surviving members stay where they are.
    Resilient {
        /// The members.
        members: Vec<Member>,
        /// Number of hash buckets, at least the number of members.
        buckets: u16,
        /// A bucket may move once it was idle for this long, in hundredths of a second.
        idle: u32,
        /// Force balance after this long unbalanced, in hundredths of a second; 0: never.
        unbalanced: u32,
    },
}

/// A member of a nexthop group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The object.
    pub id: NexthopId,
    /// Share of the traffic: 1 to 256, or to 65,536 since Linux 6.12.
    pub weight: u32,
}

impl fmt::Display for Nexthop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id {} ", self.id)?;
        match &self.to {
            NexthopTarget::Via {
                gateway,
                ifindex,
                onlink,
            } => {
                write!(f, "via {gateway} dev if{ifindex}")?;
                if *onlink {
                    f.write_str(" onlink")?;
                }
            }
            NexthopTarget::Dev { ifindex, .. } => write!(f, "dev if{ifindex}")?,
            NexthopTarget::Blackhole { .. } => f.write_str("blackhole")?,
            NexthopTarget::Group(members) => write_members(f, members)?,
            NexthopTarget::Resilient {
                members,
                buckets,
                idle,
                unbalanced,
            } => {
                write_members(f, members)?;
                write!(
                    f,
                    " type resilient buckets {buckets} idle_timer {}.{:02}",
                    idle / 100,
                    idle % 100
                )?;
                write!(
                    f,
                    " unbalanced_timer {}.{:02}",
                    unbalanced / 100,
                    unbalanced % 100
                )?;
            }
        }
        write!(f, " proto {}", self.protocol)
    }
}

fn write_members(f: &mut fmt::Formatter<'_>, members: &[Member]) -> fmt::Result {
    f.write_str("group ")?;
    for (index, member) in members.iter().enumerate() {
        let separator = if index == 0 { "" } else { "/" };
        write!(f, "{separator}{},{}", member.id, member.weight)?;
    }
    Ok(())
}
