//! Fields into octets of attributes.

use std::net::IpAddr;

use super::{MpReach, MpUnreach, Other, PathAttributes};
use crate::{
    attributes::{Aggregator, AsSegment},
    message::{EncodeError, FamilyCode, Hex, Options, PathPrefix, path, prefixes},
    types::RouterId,
    wire::{push, spec, table},
};

/// Appends the attributes: those with prefixes first (RFC 7606, 5.1), then by code.
pub(in crate::message) fn encode(
    attributes: &PathAttributes,
    options: &Options,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut writer = Writer {
        options,
        partial: partial_codes(&attributes.partial)?,
        out,
    };
    if let Some(reach) = &attributes.mp_reach {
        let value = writer.reach(reach)?;
        writer.put(table::MP_REACH_NLRI, &value);
    }
    if let Some(MpUnreach {
        family,
        nlri,
        nlri_unread,
    }) = &attributes.mp_unreach
    {
        let [high, low] = family.afi.to_be_bytes();
        let mut value = vec![high, low, family.safi];
        writer.nlri(
            *family,
            nlri,
            nlri_unread.as_ref(),
            "mp_unreach",
            &mut value,
        )?;
        writer.put(table::MP_UNREACH_NLRI, &value);
    }
    if let Some(origin) = attributes.origin {
        writer.put(table::ORIGIN, &[origin as u8]);
    }
    writer.path(table::AS_PATH, attributes.as_path.as_deref(), options.as4)?;
    if let Some(next_hop) = attributes.next_hop {
        writer.put(table::NEXT_HOP, &next_hop.octets());
    }
    writer.number(table::MULTI_EXIT_DISC, attributes.med);
    writer.number(table::LOCAL_PREF, attributes.local_pref);
    if attributes.atomic_aggregate {
        writer.put(table::ATOMIC_AGGREGATE, &[]);
    }
    writer.aggregator(table::AGGREGATOR, attributes.aggregator, options.as4)?;
    let numbers = |list: &[RouterId]| list.iter().map(|id| id.0.octets()).collect::<Vec<_>>();
    let communities = attributes.communities.iter();
    let communities: Vec<_> = communities.map(|item| item.0.to_be_bytes()).collect();
    writer.list(table::COMMUNITIES, &communities);
    let originator = attributes.originator_id.map(RouterId::to_u32);
    writer.number(table::ORIGINATOR_ID, originator);
    writer.list(table::CLUSTER_LIST, &numbers(&attributes.cluster_list));
    let extended = attributes.extended_communities.iter();
    let extended: Vec<_> = extended.map(|item| item.0).collect();
    writer.list(table::EXTENDED_COMMUNITIES, &extended);
    writer.path(table::AS4_PATH, attributes.as4_path.as_deref(), true)?;
    writer.aggregator(table::AS4_AGGREGATOR, attributes.as4_aggregator, true)?;
    let extended = attributes.ipv6_extended_communities.iter();
    let extended: Vec<_> = extended.map(|item| item.0).collect();
    writer.list(table::IPV6_EXTENDED_COMMUNITIES, &extended);
    let large = attributes.large_communities.iter();
    let large: Vec<_> = large
        .flat_map(|item| [item.global, item.local1, item.local2].map(u32::to_be_bytes))
        .collect();
    writer.list(table::LARGE_COMMUNITY, &large);
    let customer = attributes.only_to_customer.map(|asn| asn.0);
    writer.number(table::ONLY_TO_CUSTOMER, customer);
    for (
        place,
        Other {
            code,
            flags,
            hex: Hex(value),
            ..
        },
    ) in attributes.other.iter().enumerate()
    {
        if u16::try_from(value.len()).is_err() {
            let field = format!("update.attributes.other[{place}]");
            return Err(EncodeError::new(field, "more octets than an attribute has"));
        }
        push(writer.out, flags & !table::EXTENDED_LENGTH, *code, value);
    }
    if let Some(Hex(overrun)) = &attributes.overrun {
        writer.out.extend_from_slice(overrun);
    }
    Ok(())
}

/// The codes of the attributes that are to be marked; only those can be that are optional and
/// transitive (RFC 4271, 4.3).
fn partial_codes(names: &[String]) -> Result<Vec<u8>, EncodeError> {
    let code = |(place, name): (usize, &String)| {
        (0..=u8::MAX)
            .find(|code| {
                spec(*code).is_some_and(|spec| {
                    spec.name == name && spec.flags == table::OPTIONAL | table::TRANSITIVE
                })
            })
            .ok_or_else(|| {
                let field = format!("update.attributes.partial[{place}]");
                EncodeError::new(field, format!("{name} is no optional transitive attribute"))
            })
    };
    names.iter().enumerate().map(code).collect()
}

struct Writer<'a> {
    options: &'a Options,
    partial: Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Appends an attribute. One that is longer than any is cut here, and found to be too long
    /// with its message.
    fn put(&mut self, code: u8, value: &[u8]) {
        let partial = if self.partial.contains(&code) {
            table::PARTIAL
        } else {
            0
        };
        let flags = spec(code).map_or(0, |spec| spec.flags) | partial;
        push(self.out, flags, code, value);
    }

    fn number(&mut self, code: u8, number: Option<u32>) {
        if let Some(number) = number {
            self.put(code, &number.to_be_bytes());
        }
    }

    fn list<const N: usize>(&mut self, code: u8, items: &[[u8; N]]) {
        if !items.is_empty() {
            self.put(code, items.as_flattened());
        }
    }

    fn path(&mut self, code: u8, path: Option<&[AsSegment]>, as4: bool) -> Result<(), EncodeError> {
        let field = if code == table::AS_PATH {
            "as_path"
        } else {
            "as4_path"
        };
        if let Some(path) = path {
            let value = path::write(path, as4, &format!("update.attributes.{field}"))?;
            self.put(code, &value);
        }
        Ok(())
    }

    fn aggregator(
        &mut self,
        code: u8,
        aggregator: Option<Aggregator>,
        as4: bool,
    ) -> Result<(), EncodeError> {
        if let Some(Aggregator { asn, router_id }) = aggregator {
            let mut value = Vec::new();
            path::number(asn, as4, &mut value)
                .map_err(|what| EncodeError::new("update.attributes.aggregator.asn", what))?;
            value.extend_from_slice(&router_id.0.octets());
            self.put(code, &value);
        }
        Ok(())
    }

    fn reach(&self, reach: &MpReach) -> Result<Vec<u8>, EncodeError> {
        let mut hop = Vec::new();
        for address in &reach.next_hops {
            match address {
                IpAddr::V4(address) => hop.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => hop.extend_from_slice(&address.octets()),
            }
        }
        if let Some(Hex(octets)) = &reach.next_hop_hex {
            hop.extend_from_slice(octets);
        }
        let len = u8::try_from(hop.len()).map_err(|_| {
            let field = "update.attributes.mp_reach.next_hops";
            EncodeError::new(field, "more than the 255 octets of a next hop")
        })?;
        let [high, low] = reach.family.afi.to_be_bytes();
        let mut value = vec![high, low, reach.family.safi, len];
        value.extend_from_slice(&hop);
        // Reserved (RFC 4760, 3).
        value.push(0);
        let unread = reach.nlri_unread.as_ref();
        self.nlri(reach.family, &reach.nlri, unread, "mp_reach", &mut value)?;
        Ok(value)
    }

    fn nlri(
        &self,
        family: FamilyCode,
        nlri: &[PathPrefix],
        unread: Option<&Hex>,
        field: &str,
        value: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let field = format!("update.attributes.{field}.nlri");
        match family.known() {
            Some(family) => prefixes::write(nlri, family, self.options, &field, value)?,
            None if nlri.is_empty() => {}
            None => {
                let what = format!("prefixes of {family} are given as `nlri_unread`");
                return Err(EncodeError::new(field, what));
            }
        }
        if let Some(Hex(unread)) = unread {
            value.extend_from_slice(unread);
        }
        if u16::try_from(value.len()).is_err() {
            return Err(EncodeError::new(field, "more octets than an attribute has"));
        }
        Ok(())
    }
}
