//! Canonical octets: written in order, read back, and decoded for people.

use super::{
    path::{
        AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SEQUENCE, AS_SET, MOST_IN_SEGMENT, Segments, put_head,
    },
    table::{
        AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES,
        EXTENDED_COMMUNITIES, EXTENDED_LENGTH, LARGE_COMMUNITY, LOCAL_PREF, MP_REACH_NLRI,
        MP_UNREACH_NLRI, MULTI_EXIT_DISC, NEXT_HOP, OPTIONAL, ORIGIN, ORIGINATOR_ID, PARTIAL,
        TRANSITIVE, spec,
    },
};
use crate::{
    attributes::{Aggregator, AsSegment, Attributes, Origin, UnknownAttribute},
    types::{Asn, Community, LargeCommunity},
};

/// One attribute where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: &'a [u8],
    /// All of it.
    pub(super) whole: &'a [u8],
}

/// The attributes one after the other; ends where they do not add up, `rest` not empty then.
#[derive(Clone)]
pub(crate) struct Tlvs<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&[flags, code, len], mut value) = self.rest.split_first_chunk()?;
        let mut len = usize::from(len);
        let mut head = 3;
        if flags & EXTENDED_LENGTH != 0 {
            let (&low, after) = value.split_first()?;
            len = len << 8 | usize::from(low);
            head = 4;
            value = after;
        }
        let value = value.get(..len)?;
        let (whole, rest) = self.rest.split_at_checked(head + len)?;
        self.rest = rest;
        Some(Tlv {
            flags,
            code,
            value,
            whole,
        })
    }
}

/// The value of one attribute of a canonical set.
pub(super) fn value(canonical: &[u8], code: u8) -> Option<&[u8]> {
    Tlvs { rest: canonical }
        .take_while(|tlv| tlv.code <= code)
        .find(|tlv| tlv.code == code)
        .map(|tlv| tlv.value)
}

/// Appends an attribute; `flags` without the length bit. More than 65535 octets are cut, which
/// no message holds: packing refuses such a route.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(len) => out.extend_from_slice(&[flags, code, len]),
        Err(_) => {
            let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
            let [high, low] = len.to_be_bytes();
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code, high, low]);
        }
    }
    out.extend_from_slice(value.get(..usize::from(u16::MAX)).unwrap_or(value));
}

/// Appends an attribute whose value `write` appends; `flags` without the length bit.
pub(super) fn push_with(out: &mut Vec<u8>, flags: u8, code: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[flags, code, 0]);
    write(out);
    let len = out.len() - start - 3;
    if let Ok(len) = u8::try_from(len) {
        if let Some(octet) = out.get_mut(start + 2) {
            *octet = len;
        }
        return;
    }
    // Past 255 octets, which is rare: make room for the second octet of the length.
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    out.truncate(start + 3 + usize::from(len));
    let [high, low] = len.to_be_bytes();
    out.insert(start + 3, low);
    if let Some([flags, _code, octet]) = out.get_mut(start..start + 3) {
        *flags |= EXTENDED_LENGTH;
        *octet = high;
    }
}

/// Moves the attribute that was appended at `appended` to its place among those before it.
pub(super) fn settle(canonical: &mut [u8], appended: usize) {
    let Some((before, last)) = canonical.split_at_checked(appended) else {
        return;
    };
    let Some(&code) = last.get(1) else {
        return;
    };
    let len = last.len();
    let at: usize = Tlvs { rest: before }
        .take_while(|tlv| tlv.code < code)
        .map(|tlv| tlv.whole.len())
        .sum();
    if let Some(after) = canonical.get_mut(at..) {
        after.rotate_right(len);
    }
}

/// Decodes a canonical set. What cannot be read, which only octets that are not canonical can
/// contain, is left out.
pub fn decode_canonical(canonical: &[u8]) -> Attributes {
    let mut attributes = Attributes::default();
    for Tlv {
        flags, code, value, ..
    } in (Tlvs { rest: canonical })
    {
        match (code, value) {
            (ORIGIN, [origin]) => {
                attributes.origin = match origin {
                    0 => Origin::Igp,
                    1 => Origin::Egp,
                    _ => Origin::Incomplete,
                };
            }
            (AS_PATH, path) => attributes.as_path = decode_path(path),
            (MULTI_EXIT_DISC, &[a, b, c, d]) => {
                attributes.med = Some(u32::from_be_bytes([a, b, c, d]));
            }
            (LOCAL_PREF, &[a, b, c, d]) => {
                attributes.local_pref = Some(u32::from_be_bytes([a, b, c, d]));
            }
            (ATOMIC_AGGREGATE, []) => attributes.atomic_aggregate = true,
            (AGGREGATOR, &[a, b, c, d, e, f, g, h]) => {
                attributes.aggregator = Some(Aggregator {
                    asn: Asn(u32::from_be_bytes([a, b, c, d])),
                    router_id: u32::from_be_bytes([e, f, g, h]).into(),
                });
            }
            (COMMUNITIES, list) => {
                attributes.communities = numbers(list).map(Community).collect();
            }
            (ORIGINATOR_ID, &[a, b, c, d]) => {
                attributes.originator_id = Some(u32::from_be_bytes([a, b, c, d]).into());
            }
            (CLUSTER_LIST, list) => {
                attributes.cluster_list = numbers(list).map(Into::into).collect();
            }
            (EXTENDED_COMMUNITIES, list) => {
                attributes.extended_communities = list.as_chunks().0.to_vec();
            }
            (LARGE_COMMUNITY, list) => {
                attributes.large_communities = list.as_chunks().0.iter().map(large).collect();
            }
            (code, _) if is_interpreted(code) => {}
            (code, value) => attributes.unknown.push(UnknownAttribute {
                code,
                flags: flags & (OPTIONAL | TRANSITIVE | PARTIAL),
                value: value.to_vec(),
            }),
        }
    }
    attributes
}

/// Appends the canonical form of decoded attributes. Lists keep their order; a caller that
/// originates sorts large communities first. Sequences of more than 255 AS numbers become
/// several. An `unknown` attribute that has a field of its own, or no place in a canonical set
/// at all, is left out, as is one that comes twice.
pub fn encode_canonical(attributes: &Attributes, out: &mut Vec<u8>) {
    let start = out.len();
    let put = |out: &mut Vec<u8>, code: u8, value: &[u8]| {
        push(out, spec(code).map_or(0, |spec| spec.flags), code, value);
    };
    put(out, ORIGIN, &[attributes.origin as u8]);
    push_with(out, TRANSITIVE, AS_PATH, |out| {
        encode_path(&attributes.as_path, out);
    });
    if let Some(med) = attributes.med {
        put(out, MULTI_EXIT_DISC, &med.to_be_bytes());
    }
    if let Some(local_pref) = attributes.local_pref {
        put(out, LOCAL_PREF, &local_pref.to_be_bytes());
    }
    if attributes.atomic_aggregate {
        put(out, ATOMIC_AGGREGATE, &[]);
    }
    if let Some(Aggregator { asn, router_id }) = attributes.aggregator {
        push_with(out, OPTIONAL | TRANSITIVE, AGGREGATOR, |out| {
            out.extend_from_slice(&asn.0.to_be_bytes());
            out.extend_from_slice(&router_id.0.octets());
        });
    }
    if !attributes.communities.is_empty() {
        push_with(out, OPTIONAL | TRANSITIVE, COMMUNITIES, |out| {
            for community in &attributes.communities {
                out.extend_from_slice(&community.0.to_be_bytes());
            }
        });
    }
    if let Some(originator) = attributes.originator_id {
        put(out, ORIGINATOR_ID, &originator.0.octets());
    }
    if !attributes.cluster_list.is_empty() {
        push_with(out, OPTIONAL, CLUSTER_LIST, |out| {
            for cluster in &attributes.cluster_list {
                out.extend_from_slice(&cluster.0.octets());
            }
        });
    }
    if !attributes.extended_communities.is_empty() {
        let octets = attributes.extended_communities.as_flattened();
        put(out, EXTENDED_COMMUNITIES, octets);
    }
    if !attributes.large_communities.is_empty() {
        push_with(out, OPTIONAL | TRANSITIVE, LARGE_COMMUNITY, |out| {
            for large in &attributes.large_communities {
                for part in [large.global, large.local1, large.local2] {
                    out.extend_from_slice(&part.to_be_bytes());
                }
            }
        });
    }
    for unknown in &attributes.unknown {
        let written = out.get(start..).unwrap_or_default();
        if is_interpreted(unknown.code) || value(written, unknown.code).is_some() {
            continue;
        }
        let appended = out.len() - start;
        let flags = unknown.flags & (OPTIONAL | TRANSITIVE | PARTIAL);
        push(out, flags, unknown.code, &unknown.value);
        if let Some(written) = out.get_mut(start..) {
            settle(written, appended);
        }
    }
}

/// Whether the attribute has a field in [`Attributes`], or never stands in a canonical set.
fn is_interpreted(code: u8) -> bool {
    matches!(
        code,
        ORIGIN
            | AS_PATH
            | NEXT_HOP
            | MULTI_EXIT_DISC
            | LOCAL_PREF
            | ATOMIC_AGGREGATE
            | AGGREGATOR
            | COMMUNITIES
            | ORIGINATOR_ID
            | CLUSTER_LIST
            | MP_REACH_NLRI
            | MP_UNREACH_NLRI
            | EXTENDED_COMMUNITIES
            | AS4_PATH
            | AS4_AGGREGATOR
            | LARGE_COMMUNITY
    )
}

fn decode_path(path: &[u8]) -> Vec<AsSegment> {
    Segments(path)
        .filter_map(|segment| {
            let asns = segment
                .asns
                .iter()
                .map(|asn| Asn(u32::from_be_bytes(*asn)))
                .collect();
            Some(match segment.kind {
                AS_SET => AsSegment::Set(asns),
                AS_SEQUENCE => AsSegment::Sequence(asns),
                AS_CONFED_SEQUENCE => AsSegment::ConfedSequence(asns),
                AS_CONFED_SET => AsSegment::ConfedSet(asns),
                _ => return None,
            })
        })
        .collect()
}

fn encode_path(path: &[AsSegment], out: &mut Vec<u8>) {
    for segment in path {
        let (kind, asns) = match segment {
            AsSegment::Set(asns) => (AS_SET, asns),
            AsSegment::Sequence(asns) => (AS_SEQUENCE, asns),
            AsSegment::ConfedSequence(asns) => (AS_CONFED_SEQUENCE, asns),
            AsSegment::ConfedSet(asns) => (AS_CONFED_SET, asns),
        };
        for part in asns.chunks(MOST_IN_SEGMENT) {
            put_head(out, kind, part.len());
            for asn in part {
                out.extend_from_slice(&asn.0.to_be_bytes());
            }
        }
    }
}

fn numbers(list: &[u8]) -> impl Iterator<Item = u32> {
    list.as_chunks()
        .0
        .iter()
        .map(|item| u32::from_be_bytes(*item))
}

fn large(&[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; 12]) -> LargeCommunity {
    LargeCommunity {
        global: u32::from_be_bytes([a, b, c, d]),
        local1: u32::from_be_bytes([e, f, g, h]),
        local2: u32::from_be_bytes([i, j, k, l]),
    }
}
