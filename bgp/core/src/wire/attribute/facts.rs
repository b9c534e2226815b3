//! What the decision and the export rules need to know of a set of attributes, taken out once.

use super::{
    canonical::{Tlv, Tlvs, value},
    path::{AS_SEQUENCE, AS_SET, Segments},
    table::{
        AS_PATH, CLUSTER_LIST, COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MULTI_EXIT_DISC,
        ONLY_TO_CUSTOMER, ORIGIN, ORIGINATOR_ID, spec,
    },
};
use crate::types::{Asn, Community, LargeCommunity, RouterId};

/// Facts of one canonical set; the decision compares these and never parses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttrFacts {
    /// ORIGIN as on the wire: 0 to 2, lower is preferred.
    pub origin: u8,
    /// Length of the AS_PATH: a set counts 1, confederation segments 0 (RFC 4271, 9.1.2.2 a;
    /// RFC 5065, 5.3).
    pub as_path_len: u16,
    /// The AS the route came from: first of the path's first segment outside of a
    /// confederation, when that is a sequence, else 0 (RFC 4271, 9.1.2.2 c).
    pub neighbor_as: u32,
    /// The AS the route began in: last of the path's last segment, when that is a sequence,
    /// else 0 (RFC 6811, 2).
    pub origin_as: u32,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID (RFC 4456, 8).
    pub originator_id: Option<u32>,
    /// Entries of CLUSTER_LIST (RFC 4456, 9); 255 for more.
    pub cluster_len: u8,
    /// Which of the constants below apply, as bits.
    pub flags: u16,
}

/// RFC 9494, 4.6.
const LLGR_STALE: u32 = 0xFFFF_0006;
/// RFC 9494, 4.7.
const NO_LLGR: u32 = 0xFFFF_0007;

impl AttrFacts {
    /// The community NO_EXPORT (RFC 1997).
    pub const NO_EXPORT: u16 = 1 << 0;
    /// The community NO_ADVERTISE (RFC 1997).
    pub const NO_ADVERTISE: u16 = 1 << 1;
    /// The community NO_EXPORT_SUBCONFED (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: u16 = 1 << 2;
    /// The community GRACEFUL_SHUTDOWN (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: u16 = 1 << 3;
    /// As it stands among communities.
    pub const LLGR_STALE_COMMUNITY: u32 = LLGR_STALE;
    /// The community LLGR_STALE (RFC 9494).
    pub const LLGR_STALE: u16 = 1 << 4;
    /// The community NO_LLGR (RFC 9494).
    pub const NO_LLGR: u16 = 1 << 5;
    /// The community BLACKHOLE (RFC 7999).
    pub const BLACKHOLE: u16 = 1 << 6;
    /// There are large communities (RFC 8092).
    pub const HAS_LARGE: u16 = 1 << 7;
    /// There are attributes that are not known here.
    pub const HAS_UNKNOWN: u16 = 1 << 8;
    /// There are communities (RFC 1997).
    pub const HAS_COMMUNITIES: u16 = 1 << 9;
    /// The path has an AS_SET or AS_CONFED_SET, which RFC 9774 deprecates.
    pub const HAS_SET: u16 = 1 << 10;
    /// It is for customers only (RFC 9234).
    pub const ONLY_TO_CUSTOMER: u16 = 1 << 11;

    /// Whether this bit is set.
    #[inline]
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Takes in one attribute of a canonical set.
    #[inline]
    pub(super) fn absorb(&mut self, code: u8, value: &[u8]) {
        match (code, value) {
            (ORIGIN, &[origin]) => self.origin = origin,
            (AS_PATH, path) => self.absorb_path(path),
            (MULTI_EXIT_DISC, &[a, b, c, d]) => self.med = Some(u32::from_be_bytes([a, b, c, d])),
            (LOCAL_PREF, &[a, b, c, d]) => {
                self.local_pref = Some(u32::from_be_bytes([a, b, c, d]));
            }
            (COMMUNITIES, list) => {
                self.flags |= Self::HAS_COMMUNITIES;
                for community in list.as_chunks::<4>().0 {
                    // The well-known ones all begin with ffff (RFC 1997).
                    if let [0xFF, 0xFF, ..] = *community {
                        self.flags |= well_known(u32::from_be_bytes(*community));
                    }
                }
            }
            (ORIGINATOR_ID, &[a, b, c, d]) => {
                self.originator_id = Some(u32::from_be_bytes([a, b, c, d]));
            }
            (CLUSTER_LIST, list) => {
                self.cluster_len = u8::try_from(list.len() / 4).unwrap_or(u8::MAX);
            }
            (LARGE_COMMUNITY, _) => self.flags |= Self::HAS_LARGE,
            (ONLY_TO_CUSTOMER, _) => self.flags |= Self::ONLY_TO_CUSTOMER,
            (code, _) if spec(code).is_none() => self.flags |= Self::HAS_UNKNOWN,
            _ => {}
        }
    }

    #[inline]
    fn absorb_path(&mut self, path: &[u8]) {
        let mut hops = 0;
        let mut first = true;
        for segment in Segments(path) {
            hops += segment.hops();
            let (mut leading, mut trailing) = (0, 0);
            match segment.kind {
                AS_SEQUENCE => {
                    leading = segment
                        .asns
                        .first()
                        .map_or(0, |asn| u32::from_be_bytes(*asn));
                    trailing = segment
                        .asns
                        .last()
                        .map_or(0, |asn| u32::from_be_bytes(*asn));
                }
                AS_SET => self.flags |= Self::HAS_SET,
                super::path::AS_CONFED_SET => self.flags |= Self::HAS_SET,
                _ => {}
            }
            if first && !segment.is_confed() {
                first = false;
                self.neighbor_as = leading;
            }
            self.origin_as = trailing;
        }
        self.as_path_len = u16::try_from(hops).unwrap_or(u16::MAX);
    }
}

/// The facts of a canonical set.
pub fn facts_of(canonical: &[u8]) -> AttrFacts {
    let mut facts = AttrFacts::default();
    for Tlv { code, value, .. } in (Tlvs { rest: canonical }) {
        facts.absorb(code, value);
    }
    facts
}

/// How often an AS stands in the AS_PATH of a canonical set, in segments of any type.
pub fn path_contains(canonical: &[u8], asn: Asn) -> usize {
    let wanted = asn.0.to_be_bytes();
    let count = |asns: &[[u8; 4]]| asns.iter().filter(|asn| **asn == wanted).count();
    Segments(value(canonical, AS_PATH).unwrap_or_default())
        .map(|segment| count(segment.asns))
        .sum()
}

/// The AS that has marked a route as one for customers only, if one has (RFC 9234, 5).
pub(crate) fn only_to_customer(canonical: &[u8]) -> Option<Asn> {
    let octets = value(canonical, ONLY_TO_CUSTOMER)?.first_chunk()?;
    Some(Asn(u32::from_be_bytes(*octets)))
}

/// Whether a cluster stands in the CLUSTER_LIST of a canonical set (RFC 4456, 8).
pub fn cluster_list_contains(canonical: &[u8], cluster: RouterId) -> bool {
    let list = value(canonical, CLUSTER_LIST).unwrap_or_default();
    list.as_chunks().0.contains(&cluster.0.octets())
}

/// Whether a large community with this administrator and first part stands in a canonical set.
pub fn has_large_community(canonical: &[u8], global: u32, local1: u32) -> bool {
    let [a, b, c, d] = global.to_be_bytes();
    let [e, f, g, h] = local1.to_be_bytes();
    let wanted = [a, b, c, d, e, f, g, h];
    large_communities(canonical)
        .iter()
        .any(|community| community.starts_with(&wanted))
}

/// Whether this very large community stands in a canonical set.
pub fn contains_large_community(canonical: &[u8], wanted: LargeCommunity) -> bool {
    let parts = [wanted.global, wanted.local1, wanted.local2].map(u32::to_be_bytes);
    large_communities(canonical)
        .iter()
        .any(|community| community[..] == *parts.as_flattened())
}

fn large_communities(canonical: &[u8]) -> &[[u8; 12]] {
    value(canonical, LARGE_COMMUNITY)
        .unwrap_or_default()
        .as_chunks()
        .0
}

#[cold]
fn well_known(community: u32) -> u16 {
    match community {
        LLGR_STALE => AttrFacts::LLGR_STALE,
        NO_LLGR => AttrFacts::NO_LLGR,
        other => match Community(other) {
            Community::NO_EXPORT => AttrFacts::NO_EXPORT,
            Community::NO_ADVERTISE => AttrFacts::NO_ADVERTISE,
            Community::NO_EXPORT_SUBCONFED => AttrFacts::NO_EXPORT_SUBCONFED,
            Community::GRACEFUL_SHUTDOWN => AttrFacts::GRACEFUL_SHUTDOWN,
            Community::BLACKHOLE => AttrFacts::BLACKHOLE,
            Community(_) => 0,
        },
    }
}
