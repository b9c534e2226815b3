//! Path attributes as people and other parts of the agent read them.
//!
//! The RIB never holds these: it keeps canonical bytes (see [`crate::wire`]) and a decision key.
//! They are decoded when a route is shown, fed to another owner or originated.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::types::{Asn, Community, LargeCommunity, RouterId};

/// ORIGIN (RFC 4271, 5.1.1); lower is preferred.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Learned inside the AS.
    #[default]
    Igp = 0,
    /// Learned by EGP.
    Egp = 1,
    /// By other means, such as redistribution.
    Incomplete = 2,
}

/// One segment of an AS_PATH (RFC 4271, 4.3; RFC 5065).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AsSegment {
    /// AS_SET, type 1: unordered, counts as one hop.
    Set(Vec<Asn>),
    /// AS_SEQUENCE, type 2.
    Sequence(Vec<Asn>),
    /// AS_CONFED_SEQUENCE, type 3: counts for nothing.
    ConfedSequence(Vec<Asn>),
    /// AS_CONFED_SET, type 4: counts for nothing.
    ConfedSet(Vec<Asn>),
}

/// The next hop of a route: an address of either family, whatever the family of the prefix
/// (RFC 8950), and with IPv6 perhaps the link-local address beside it (RFC 2545).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NextHop {
    /// The address; a link-local one when no global one was given.
    pub addr: IpAddr,
    /// The link-local address that came with a global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_local: Option<Ipv6Addr>,
}

impl From<IpAddr> for NextHop {
    fn from(addr: IpAddr) -> Self {
        Self {
            addr,
            link_local: None,
        }
    }
}

/// AGGREGATOR (RFC 4271, 5.1.7) with four octets of AS number (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Aggregator {
    /// The AS that aggregated.
    pub asn: Asn,
    /// The speaker that aggregated.
    pub router_id: RouterId,
}

/// An attribute this implementation does not interpret; passed on when transitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnknownAttribute {
    /// The type code.
    pub code: u8,
    /// Optional (0x80), transitive (0x40), partial (0x20); the length bit is not kept.
    pub flags: u8,
    /// The value, unchanged.
    pub value: Vec<u8>,
}

/// All attributes of a route but its next hop, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, as four-octet numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub as_path: Vec<AsSegment>,
    /// MULTI_EXIT_DISC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// LOCAL_PREF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997), in the order they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY (RFC 8092), in the order they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<LargeCommunity>,
    /// Extended communities (RFC 4360), raw.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended_communities: Vec<[u8; 8]>,
    /// ORIGINATOR_ID (RFC 4456).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator_id: Option<RouterId>,
    /// CLUSTER_LIST (RFC 4456), nearest reflector first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_list: Vec<RouterId>,
    /// Everything else that was passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

impl Attributes {
    /// The path as operators write it: `65001 65002 {65003,65004} (65010)`.
    pub fn as_path_text(&self) -> String {
        let join = |asns: &[Asn], by: &str| {
            asns.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(by)
        };
        let segment = |segment: &AsSegment| match segment {
            AsSegment::Sequence(asns) => join(asns, " "),
            AsSegment::Set(asns) => format!("{{{}}}", join(asns, ",")),
            AsSegment::ConfedSequence(asns) => format!("({})", join(asns, " ")),
            AsSegment::ConfedSet(asns) => format!("[{}]", join(asns, ",")),
        };
        self.as_path
            .iter()
            .map(segment)
            .collect::<Vec<_>>()
            .join(" ")
    }
}
