//! Canonical attributes as they leave for a group of peers.

use std::net::Ipv4Addr;

use super::{
    canonical::{Tlv, Tlvs, push, push_with},
    path::{AS_SEQUENCE, MOST_IN_SEGMENT, Segments, needs_four, put_head, put_numbers, two_octets},
    table::{
        AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, CLUSTER_LIST, EXTENDED_COMMUNITIES,
        IPV6_EXTENDED_COMMUNITIES, LOCAL_PREF, MULTI_EXIT_DISC, NEXT_HOP, ONLY_TO_CUSTOMER,
        OPTIONAL, ORIGINATOR_ID, PARTIAL, TRANSITIVE, spec,
    },
};
use crate::types::{Asn, RouterId};

/// LOCAL_PREF of a route that came without one.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// What export to a group of peers changes on the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Egress {
    /// The peers take four-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// Put this AS before the path (eBGP; RFC 4271, 5.1.2 b). Confederation segments that the
    /// path begins with are left out then (RFC 5065, 5.1).
    pub prepend: Option<Asn>,
    /// The peers are told LOCAL_PREF (iBGP): [`Self::set_local_pref`], else the route's, else
    /// 100. Without this they are not, whatever is set (RFC 4271, 5.1.5).
    pub keep_local_pref: bool,
    /// LOCAL_PREF in place of the route's.
    pub set_local_pref: Option<u32>,
    /// Tell MULTI_EXIT_DISC as it was received or originated (RFC 4271, 5.1.4).
    pub keep_med: bool,
    /// The route is reflected (RFC 4456, 8).
    pub reflect: Option<Reflect>,
    /// Mark the route as one for customers only, unless it is so already (RFC 9234, 5).
    pub only_to_customer: Option<Asn>,
    /// Somebody else originated the route: what is put on it is marked as partial (RFC 4271, 5).
    pub foreign: bool,
    /// Leave out ORIGINATOR_ID and CLUSTER_LIST (eBGP: both are non-transitive).
    pub strip_reflection: bool,
}

/// What a reflector adds to a route (RFC 4456, 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reflect {
    /// ORIGINATOR_ID, unless the route has one.
    pub originator: RouterId,
    /// Put before CLUSTER_LIST.
    pub cluster_id: RouterId,
}

/// Appends the attributes of an UPDATE, in the order of their codes: with `next_hop` for prefixes
/// in the message's own field, without it for MP_REACH_NLRI, which
/// [`super::super::pack_reach_mp`] puts before them.
///
/// Peers with two-octet AS numbers get AS_TRANS for what does not fit, and AS4_PATH and
/// AS4_AGGREGATOR beside (RFC 6793, 4.2.2). Attributes that are unknown here leave with the
/// Partial bit (RFC 4271, 5).
pub fn egress_attributes(
    canonical: &[u8],
    next_hop: Option<Ipv4Addr>,
    egress: &Egress,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer {
        egress,
        next_hop,
        path: &[],
        aggregator: None,
        due: DUE,
    };
    for tlv in (Tlvs { rest: canonical }) {
        writer.write_due_before(tlv.code, out);
        writer.write(&tlv, out);
    }
    writer.write_due_before(u8::MAX, out);
}

/// What may have to be written although the route does not have it, by code.
const DUE: &[u8] = &[
    AS_PATH,
    NEXT_HOP,
    LOCAL_PREF,
    ORIGINATOR_ID,
    CLUSTER_LIST,
    AS4_PATH,
    AS4_AGGREGATOR,
    ONLY_TO_CUSTOMER,
];

struct Writer<'a> {
    egress: &'a Egress,
    next_hop: Option<Ipv4Addr>,
    /// Value of AS_PATH, once it has passed.
    path: &'a [u8],
    /// AGGREGATOR that did not fit two octets.
    aggregator: Option<&'a [u8]>,
    due: &'static [u8],
}

impl<'a> Writer<'a> {
    #[inline]
    fn write_due_before(&mut self, code: u8, out: &mut Vec<u8>) {
        while let Some((&first, rest)) = self.due.split_first() {
            if first > code {
                return;
            }
            self.due = rest;
            if first < code {
                self.write_absent(first, out);
            }
        }
    }

    /// Writes an attribute that the route does not have.
    fn write_absent(&self, code: u8, out: &mut Vec<u8>) {
        let egress = self.egress;
        match code {
            // Mandatory, if only to be empty (RFC 4271, 5.1.2).
            AS_PATH => self.write_path(out),
            NEXT_HOP => {
                if let Some(next_hop) = self.next_hop {
                    push(out, TRANSITIVE, NEXT_HOP, &next_hop.octets());
                }
            }
            LOCAL_PREF if egress.keep_local_pref => {
                let value = egress.set_local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
                push(out, TRANSITIVE, LOCAL_PREF, &value.to_be_bytes());
            }
            ORIGINATOR_ID => {
                if let Some(reflect) = egress.reflect {
                    push(out, OPTIONAL, ORIGINATOR_ID, &reflect.originator.0.octets());
                }
            }
            CLUSTER_LIST => {
                if let Some(reflect) = egress.reflect {
                    push(out, OPTIONAL, CLUSTER_LIST, &reflect.cluster_id.0.octets());
                }
            }
            ONLY_TO_CUSTOMER => {
                if let Some(asn) = egress.only_to_customer {
                    let partial = if egress.foreign { PARTIAL } else { 0 };
                    let flags = OPTIONAL | TRANSITIVE | partial;
                    push(out, flags, ONLY_TO_CUSTOMER, &asn.0.to_be_bytes());
                }
            }
            AS4_PATH if !egress.as4 => self.write_as4_path(out),
            AS4_AGGREGATOR => {
                if let Some(aggregator) = self.aggregator {
                    push(out, OPTIONAL | TRANSITIVE, AS4_AGGREGATOR, aggregator);
                }
            }
            _ => {}
        }
    }

    /// Writes an attribute that the route has.
    #[inline]
    fn write(&mut self, tlv: &Tlv<'a>, out: &mut Vec<u8>) {
        let egress = self.egress;
        match (tlv.code, tlv.value) {
            (AS_PATH, path) => {
                self.path = path;
                if egress.as4 && egress.prepend.is_none() {
                    out.extend_from_slice(tlv.whole);
                } else {
                    self.write_path(out);
                }
            }
            (MULTI_EXIT_DISC, _) if !egress.keep_med => {}
            (LOCAL_PREF, _) if !egress.keep_local_pref => {}
            (LOCAL_PREF, _) if egress.set_local_pref.is_some() => {
                self.write_absent(LOCAL_PREF, out);
            }
            (AGGREGATOR, &[a, b, c, d, ref router_id @ ..]) if !egress.as4 => {
                let asn = [a, b, c, d];
                if needs_four(asn) {
                    self.aggregator = Some(tlv.value);
                }
                let flags = tlv.flags;
                push_with(out, flags, AGGREGATOR, |out| {
                    out.extend_from_slice(&two_octets(asn));
                    out.extend_from_slice(router_id);
                });
            }
            (ORIGINATOR_ID | CLUSTER_LIST, _) if egress.strip_reflection => {}
            (CLUSTER_LIST, list) => match egress.reflect {
                Some(reflect) => push_with(out, OPTIONAL, CLUSTER_LIST, |out| {
                    out.extend_from_slice(&reflect.cluster_id.0.octets());
                    out.extend_from_slice(list);
                }),
                None => out.extend_from_slice(tlv.whole),
            },
            // "If a route has a non-transitivity extended community, then before advertising the route
            // across the Autonomous System boundary the community SHOULD be removed" (RFC 4360, 6;
            // RFC 5701, 2).
            (EXTENDED_COMMUNITIES, list) if egress.prepend.is_some() => {
                write_transitive::<8>(tlv, list, out);
            }
            (IPV6_EXTENDED_COMMUNITIES, list) if egress.prepend.is_some() => {
                write_transitive::<20>(tlv, list, out);
            }
            (code, _) if spec(code).is_none() => {
                let at = out.len();
                out.extend_from_slice(tlv.whole);
                if let Some(flags) = out.get_mut(at) {
                    *flags |= PARTIAL;
                }
            }
            _ => out.extend_from_slice(tlv.whole),
        }
    }

    /// The segments as they leave, before our own AS is put before them.
    fn segments(&self) -> Segments<'a> {
        let mut segments = Segments(self.path);
        if self.egress.prepend.is_some() {
            let mut ahead = segments.clone();
            while ahead.next().is_some_and(|segment| segment.is_confed()) {
                segments = ahead.clone();
            }
        }
        segments
    }

    fn write_path(&self, out: &mut Vec<u8>) {
        push_with(out, TRANSITIVE, AS_PATH, |out| {
            let mut segments = self.segments();
            if let Some(asn) = self.egress.prepend {
                prepend(&mut segments, asn, self.egress.as4, out);
            }
            for segment in segments {
                segment.put(out, self.egress.as4);
            }
        });
    }

    /// "whenever the AS path information contains the AS_CONFED_SEQUENCE or AS_CONFED_SET path
    /// segment, the NEW BGP speaker MUST exclude such path segments from the AS4_PATH
    /// attribute", and it is not sent where no number needs it (RFC 6793, 4.2.2).
    fn write_as4_path(&self, out: &mut Vec<u8>) {
        let exact = || self.segments().filter(|segment| !segment.is_confed());
        let own = self.egress.prepend.map(|asn| asn.0.to_be_bytes());
        let needed = own.is_some_and(needs_four)
            || exact().any(|segment| segment.asns.iter().copied().any(needs_four));
        if !needed {
            return;
        }
        push_with(out, OPTIONAL | TRANSITIVE, AS4_PATH, |out| {
            let mut segments = self.segments();
            if let Some(asn) = self.egress.prepend {
                prepend(&mut segments, asn, true, out);
            }
            for segment in segments.filter(|segment| !segment.is_confed()) {
                segment.put(out, true);
            }
        });
    }
}

/// Writes those of a list of extended communities that may cross the border of an AS.
fn write_transitive<const N: usize>(tlv: &Tlv<'_>, list: &[u8], out: &mut Vec<u8>) {
    /// The T bit of the type (RFC 4360, 2).
    const NON_TRANSITIVE: u8 = 0x40;
    let (communities, _) = list.as_chunks::<N>();
    let stays = |community: &&[u8; N]| {
        community
            .first()
            .is_some_and(|first| first & NON_TRANSITIVE != 0)
    };
    if !communities.iter().any(|community| stays(&community)) {
        out.extend_from_slice(tlv.whole);
    } else if !communities.iter().all(|community| stays(&community)) {
        let flags = tlv.flags & (OPTIONAL | TRANSITIVE | PARTIAL);
        push_with(out, flags, tlv.code, |out| {
            let leave = communities.iter().filter(|community| !stays(community));
            out.extend(leave.flatten());
        });
    }
}

/// Writes our AS as the first of the first sequence, or as a sequence of its own where the path
/// is empty, begins with a set, or its first segment is full (RFC 4271, 5.1.2 b).
fn prepend(segments: &mut Segments<'_>, asn: Asn, as4: bool, out: &mut Vec<u8>) {
    let own = [asn.0.to_be_bytes()];
    let mut ahead = segments.clone();
    match ahead.next() {
        Some(first) if first.kind == AS_SEQUENCE && first.asns.len() < MOST_IN_SEGMENT => {
            put_head(out, AS_SEQUENCE, first.asns.len() + 1);
            put_numbers(out, &own, as4);
            put_numbers(out, first.asns, as4);
            *segments = ahead;
        }
        _ => {
            put_head(out, AS_SEQUENCE, 1);
            put_numbers(out, &own, as4);
        }
    }
}
