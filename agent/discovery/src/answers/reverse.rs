//! Names of addresses: `in-addr.arpa` (RFC 1035, section 3.5) and `ip6.arpa` (RFC 3596, section 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Data, Found, QueryName, QueryType, Zone, names_of};
use crate::catalog::Catalog;

/// Answers for a name that lies within one of the zone's networks, with the reverse zone it belongs to. None for all
/// others: they are somebody else's to answer.
pub(super) fn answer(
    zone: &Zone,
    catalog: &Catalog,
    name: &QueryName,
    kind: QueryType,
) -> Option<(String, Found)> {
    let (address, labels) = if let Some(rest) = name.within("in-addr.arpa") {
        parse_v4(rest)?
    } else {
        parse_v6(name.within("ip6.arpa")?)?
    };
    let (label_bits, all) = if address.is_ipv4() { (8, 4) } else { (4, 32) };
    let network = zone
        .networks
        .iter()
        .filter(|network| network.contains(address))
        .max_by_key(|network| network.length())?;
    // A network that ends within a label: its zone is the one of the whole label above.
    let zone_labels = usize::from(network.length() / label_bits);
    if labels < zone_labels {
        return None;
    }
    let owner = owner(name.as_str(), labels - zone_labels);
    if labels < all {
        // Not an address but something above addresses: there, and empty.
        return Some((owner, Found::empty()));
    }
    let names = names_of(zone, catalog, address);
    let found = match kind {
        _ if names.is_empty() => Found::Nothing,
        QueryType::Ptr | QueryType::Any => Found::only(
            names
                .into_iter()
                .take(zone.answer_limit)
                .map(Data::Ptr)
                .collect(),
        ),
        QueryType::A
        | QueryType::Aaaa
        | QueryType::Srv
        | QueryType::Txt
        | QueryType::Ns
        | QueryType::Soa
        | QueryType::Other => Found::empty(),
    };
    Some((owner, found))
}

/// The name without its first `labels` labels.
fn owner(name: &str, labels: usize) -> String {
    name.splitn(labels + 1, '.')
        .last()
        .unwrap_or(name)
        .to_owned()
}

/// The address of reversed labels, missing ones as zeros, and how many there were.
fn parse_v4(rest: &str) -> Option<(IpAddr, usize)> {
    let mut octets = [0; 4];
    let mut places = octets.iter_mut();
    let mut labels = 0;
    for label in rest.rsplit('.').filter(|_| !rest.is_empty()) {
        let octet: u8 = label.parse().ok()?;
        // One spelling only: neither +7 nor 007.
        if octet.to_string() != label {
            return None;
        }
        *places.next()? = octet;
        labels += 1;
    }
    Some((Ipv4Addr::from(octets).into(), labels))
}

fn parse_v6(rest: &str) -> Option<(IpAddr, usize)> {
    let mut bits: u128 = 0;
    let mut labels = 0;
    for label in rest.rsplit('.').filter(|_| !rest.is_empty()) {
        let mut characters = label.chars();
        let (Some(digit), None) = (characters.next(), characters.next()) else {
            return None;
        };
        let nibble = digit.to_digit(16)?;
        labels += 1;
        if labels > 32 {
            return None;
        }
        bits |= u128::from(nibble) << (128 - 4 * labels);
    }
    Some((Ipv6Addr::from(bits).into(), labels))
}
