//! Path attributes as they stand in one message (RFC 4271, 4.3 and 5).
//!
//! Not as the RIB keeps them: what was discarded is still shown, AS_PATH and AS4_PATH are two,
//! and nothing is merged. An attribute has a field here when its flags are those of its
//! definition and the field holds all that its value says; everything else is in `other`.

mod decode;
mod encode;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

pub(super) use self::{decode::decode, encode::encode};
use super::{FamilyCode, Hex, PathPrefix, hex::octet};
use crate::{
    attributes::{Aggregator, AsSegment, Origin},
    types::{Asn, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, RouterId},
};

/// The path attributes of an UPDATE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathAttributes {
    /// ORIGIN (RFC 4271, 5.1.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// AS_PATH (RFC 4271, 5.1.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_path: Option<Vec<AsSegment>>,
    /// NEXT_HOP (RFC 4271, 5.1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC (RFC 4271, 5.1.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// LOCAL_PREF (RFC 4271, 5.1.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE (RFC 4271, 5.1.6).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub atomic_aggregate: bool,
    /// AGGREGATOR (RFC 4271, 5.1.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<Community>,
    /// ORIGINATOR_ID (RFC 4456, 8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator_id: Option<RouterId>,
    /// CLUSTER_LIST (RFC 4456, 8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_list: Vec<RouterId>,
    /// MP_REACH_NLRI (RFC 4760, 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mp_reach: Option<MpReach>,
    /// MP_UNREACH_NLRI (RFC 4760, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mp_unreach: Option<MpUnreach>,
    /// Extended communities (RFC 4360, 2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended_communities: Vec<ExtendedCommunity>,
    /// AS4_PATH (RFC 6793, 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as4_path: Option<Vec<AsSegment>>,
    /// AS4_AGGREGATOR (RFC 6793, 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as4_aggregator: Option<Aggregator>,
    /// IPv6 address specific extended communities (RFC 5701, 2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092, 3).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<LargeCommunity>,
    /// ONLY_TO_CUSTOMER (RFC 9234, 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_to_customer: Option<Asn>,
    /// Which of these have the Partial bit, by their names in the RFCs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
    /// All others, in the order in which they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<Other>,
    /// What is left where the attributes do not add up (RFC 7606, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrun: Option<Hex>,
}

/// MP_REACH_NLRI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpReach {
    /// The family.
    pub family: FamilyCode,
    /// The next hop: one address, or a global and a link-local one (RFC 2545, 3).
    #[serde(default)]
    pub next_hops: Vec<IpAddr>,
    /// The next hop of a family that is not one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_hex: Option<Hex>,
    /// The prefixes.
    #[serde(default)]
    pub nlri: Vec<PathPrefix>,
    /// From the first prefix on that cannot be read; all of them where the family is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nlri_unread: Option<Hex>,
}

/// MP_UNREACH_NLRI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpUnreach {
    /// The family.
    pub family: FamilyCode,
    /// The prefixes; none: End-of-RIB (RFC 4724, 2).
    #[serde(default)]
    pub nlri: Vec<PathPrefix>,
    /// As in [`MpReach`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nlri_unread: Option<Hex>,
}

/// An attribute without a field of its own: not known, malformed, or there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// The type code.
    pub code: u8,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The flags, as two digits: `c0`. The bit for the length does not matter.
    #[serde(with = "octet")]
    pub flags: u8,
    /// The value.
    pub hex: Hex,
}
