//! Octets of attributes into fields.

use std::net::IpAddr;

use super::{MpReach, MpUnreach, Other, PathAttributes};
use crate::{
    attributes::{Aggregator, Origin},
    message::{FamilyCode, Hex, Options, PathPrefix, path, prefixes},
    types::{Asn, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, RouterId},
    wire::{self, Tlvs, attribute_name, spec, table},
};

/// Puts the attributes into fields; `reach` and `unreach` are those that a session reads.
pub(in crate::message) fn decode(
    raw: &[u8],
    parsed: &wire::Parsed<'_>,
    options: &Options,
) -> PathAttributes {
    let mut attributes = PathAttributes::default();
    let mut seen = [false; 256];
    let mut tlvs = Tlvs { rest: raw };
    for tlv in &mut tlvs {
        let first = seen
            .get_mut(usize::from(tlv.code))
            .is_some_and(|seen| !std::mem::replace(seen, true));
        let spec = spec(tlv.code).filter(|spec| {
            first && (spec.flags ^ tlv.flags) & (table::OPTIONAL | table::TRANSITIVE) == 0
        });
        let Some(spec) = spec.filter(|_| attributes.read(tlv.code, tlv.value, parsed, options))
        else {
            attributes.other.push(Other {
                code: tlv.code,
                name: attribute_name(tlv.code).map(str::to_owned),
                flags: tlv.flags & !table::EXTENDED_LENGTH,
                hex: Hex(tlv.value.to_vec()),
            });
            continue;
        };
        if spec.flags & table::TRANSITIVE != 0
            && spec.flags & table::OPTIONAL != 0
            && tlv.flags & table::PARTIAL != 0
        {
            attributes.partial.push(spec.name.to_owned());
        }
    }
    attributes.overrun = Hex::unless_empty(tlvs.rest);
    attributes
}

/// A list of items of one size; ends the reading where it has none, or a part of one.
macro_rules! list {
    ($value:ident, $octets:literal, $from:expr) => {{
        let (items, rest) = $value.as_chunks::<$octets>();
        if items.is_empty() || !rest.is_empty() {
            return false;
        }
        items.iter().copied().map($from).collect()
    }};
}

impl PathAttributes {
    /// Takes one attribute into its field; whether it could.
    fn read(
        &mut self,
        code: u8,
        value: &[u8],
        parsed: &wire::Parsed<'_>,
        options: &Options,
    ) -> bool {
        let number = |value: &[u8]| value.try_into().map(u32::from_be_bytes).ok();
        match code {
            table::ORIGIN => {
                self.origin = match value {
                    [0] => Some(Origin::Igp),
                    [1] => Some(Origin::Egp),
                    [2] => Some(Origin::Incomplete),
                    _ => None,
                };
                self.origin.is_some()
            }
            table::AS_PATH => {
                self.as_path = path::read(value, options.as4);
                self.as_path.is_some()
            }
            table::NEXT_HOP => {
                self.next_hop = number(value).map(Into::into);
                self.next_hop.is_some()
            }
            table::MULTI_EXIT_DISC => {
                self.med = number(value);
                self.med.is_some()
            }
            table::LOCAL_PREF => {
                self.local_pref = number(value);
                self.local_pref.is_some()
            }
            table::ATOMIC_AGGREGATE => {
                self.atomic_aggregate = value.is_empty();
                self.atomic_aggregate
            }
            table::AGGREGATOR => {
                self.aggregator = aggregator(value, options.as4);
                self.aggregator.is_some()
            }
            table::COMMUNITIES => {
                self.communities = list!(value, 4, |item| Community(u32::from_be_bytes(item)));
                true
            }
            table::ORIGINATOR_ID => {
                self.originator_id = number(value).map(Into::into);
                self.originator_id.is_some()
            }
            table::CLUSTER_LIST => {
                self.cluster_list =
                    list!(value, 4, |item| RouterId::from(u32::from_be_bytes(item)));
                true
            }
            table::MP_REACH_NLRI => {
                self.mp_reach = parsed.reach.map(|reach| reach_field(&reach, options));
                self.mp_reach.is_some()
            }
            table::MP_UNREACH_NLRI => {
                self.mp_unreach = parsed.unreach.map(|unreach| {
                    let family = FamilyCode::new(unreach.afi, unreach.safi);
                    let (nlri, unread) = nlri(family, unreach.nlri, options);
                    MpUnreach {
                        family,
                        nlri,
                        nlri_unread: Hex::unless_empty(&unread),
                    }
                });
                self.mp_unreach.is_some()
            }
            table::EXTENDED_COMMUNITIES => {
                self.extended_communities = list!(value, 8, ExtendedCommunity);
                true
            }
            table::AS4_PATH => {
                self.as4_path = path::read(value, true);
                self.as4_path.is_some()
            }
            table::AS4_AGGREGATOR => {
                self.as4_aggregator = aggregator(value, true);
                self.as4_aggregator.is_some()
            }
            table::IPV6_EXTENDED_COMMUNITIES => {
                self.ipv6_extended_communities = list!(value, 20, Ipv6ExtendedCommunity);
                true
            }
            table::LARGE_COMMUNITY => {
                self.large_communities = list!(value, 12, large);
                true
            }
            table::ONLY_TO_CUSTOMER => {
                self.only_to_customer = number(value).map(Asn);
                self.only_to_customer.is_some()
            }
            _ => false,
        }
    }
}

fn reach_field(reach: &wire::MpReach<'_>, options: &Options) -> MpReach {
    let family = FamilyCode::new(reach.afi, reach.safi);
    let (nlri, unread) = nlri(family, reach.nlri, options);
    let hop = reach.next_hop_octets();
    let v6 = |hop: [u8; 16]| IpAddr::from(hop);
    let next_hops = match (family.known(), <[u8; 4]>::try_from(hop)) {
        (None, _) => Vec::new(),
        (Some(_), Ok(hop)) => vec![IpAddr::from(hop)],
        (Some(_), Err(_)) => hop.as_chunks().0.iter().copied().map(v6).collect(),
    };
    MpReach {
        family,
        next_hop_hex: next_hops.is_empty().then(|| Hex(hop.to_vec())),
        next_hops,
        nlri,
        nlri_unread: Hex::unless_empty(&unread),
    }
}

fn nlri(family: FamilyCode, list: &[u8], options: &Options) -> (Vec<PathPrefix>, Vec<u8>) {
    match family.known() {
        Some(family) => prefixes::read(list, family, options),
        None => (Vec::new(), list.to_vec()),
    }
}

fn aggregator(value: &[u8], as4: bool) -> Option<Aggregator> {
    let (asn, id) = match *value {
        [a, b, c, d, ref id @ ..] if as4 => (u32::from_be_bytes([a, b, c, d]), id),
        [a, b, ref id @ ..] if !as4 => (u16::from_be_bytes([a, b]).into(), id),
        _ => return None,
    };
    let id = <[u8; 4]>::try_from(id).ok()?;
    Some(Aggregator {
        asn: Asn(asn),
        router_id: u32::from_be_bytes(id).into(),
    })
}

fn large(item: [u8; 12]) -> LargeCommunity {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = item;
    LargeCommunity {
        global: u32::from_be_bytes([a, b, c, d]),
        local1: u32::from_be_bytes([e, f, g, h]),
        local2: u32::from_be_bytes([i, j, k, l]),
    }
}
