//! Bodies of the fuzz targets as plain functions, so that stable tests run them too.

use std::{net::IpAddr, sync::Arc};

use crate::{
    answers::{QueryName, QueryType, Zone, answer},
    catalog::{Catalog, Statement},
    codec::{Codec, Decoded, NodeKey, slots},
    community::{DiscoveryNumber, LargeCommunity},
    judge::Facts,
};

/// Octets as a set of communities: decoded, put in a catalog, asked for, written again.
///
/// # Panics
/// When what was understood is written and understood differently: that is the finding.
pub fn communities(octets: &[u8]) {
    let Some(number) = number() else { return };
    let set: Vec<LargeCommunity> = octets
        .chunks_exact(8)
        .map(|chunk| {
            let word = |at: usize| {
                chunk
                    .iter()
                    .skip(at)
                    .take(4)
                    .fold(0, |word, octet| word << 8 | u32::from(*octet))
            };
            LargeCommunity::new(number.number(), word(0), word(4))
        })
        .collect();
    route(number, &set);
}

/// Octets as flags, and the record of a route whose checksum is right: no mutation finds that.
///
/// # Panics
/// As [`communities`].
pub fn record(octets: &[u8]) {
    let (Some(number), Some((&flags, octets))) = (number(), octets.split_first()) else {
        return;
    };
    let octets = octets.get(..255 * 6).unwrap_or(octets);
    let mark = LargeCommunity::new(number.number(), 1, 0x0100_0000 | u32::from(flags));
    let set: Vec<LargeCommunity> = NodeKey(7)
        .communities(number)
        .into_iter()
        .chain([mark])
        .chain(slots::split(number, octets))
        .collect();
    route(number, &set);
}

fn number() -> Option<DiscoveryNumber> {
    DiscoveryNumber::new(4_200_000_001).ok()
}

fn route(number: DiscoveryNumber, set: &[LargeCommunity]) {
    let codec = Codec::new(number);
    let mut catalog = Catalog::new();
    match codec.decode(set) {
        Ok(Decoded::Endpoint(announcement)) => {
            if let Some(endpoint) = announcement.endpoint()
                && let Ok(again) = codec.encode(&endpoint)
            {
                let Ok(Decoded::Endpoint(second)) = codec.decode(&again) else {
                    panic!("what was written is not understood: {endpoint:?}");
                };
                assert_eq!(second.endpoint(), Some(endpoint));
            }
            let address = IpAddr::from([10, 0, 0, 1]);
            catalog.upsert(
                address,
                Statement::Endpoint(Arc::new(announcement)),
                Facts::LOCAL,
            );
        }
        Ok(Decoded::Carrier { carrier, .. }) => {
            let again = codec.encode_carrier(&carrier);
            if let Ok(again) = again {
                let expected = Decoded::Carrier {
                    carrier: carrier.clone(),
                    broken: None,
                };
                assert_eq!(codec.decode(&again), Ok(expected));
            }
            let address = IpAddr::from([10, 0, 0, 2]);
            catalog.upsert(address, Statement::Carrier(Arc::new(carrier)), Facts::LOCAL);
        }
        Err(_) => return,
    }
    let services: Vec<String> = catalog.services().map(ToString::to_string).collect();
    for service in services {
        question(
            &catalog,
            format!("{service}.svc.{}", Zone::DEFAULT_ORIGIN).as_bytes(),
        );
    }
}

/// Octets as a name, asked for in all types of an empty catalog.
pub fn name(octets: &[u8]) {
    question(&Catalog::new(), octets);
}

fn question(catalog: &Catalog, octets: &[u8]) {
    let Ok(zone) = Zone::new(Zone::DEFAULT_ORIGIN) else {
        return;
    };
    let Some(name) = QueryName::from_labels(octets.split(|octet| *octet == b'.')) else {
        return;
    };
    for kind in [
        QueryType::A,
        QueryType::Aaaa,
        QueryType::Srv,
        QueryType::Ptr,
        QueryType::Any,
    ] {
        let reply = answer(&zone, catalog, &name, kind, octets.len() as u64);
        if let Some(reply) = reply {
            assert_eq!(
                reply.answers.is_empty(),
                reply.authority.is_some(),
                "{name:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fuzz_bodies_stand_arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            super::communities(&octets);
            super::record(&octets);
            super::name(&octets);
        }

        /// Entries with lengths that are right get further in than arbitrary octets.
        #[test]
        fn the_fuzz_bodies_stand_records(
            flags in 0u8..16,
            entries in proptest::collection::vec(
                (0u8..10, proptest::collection::vec(any::<u8>(), 0..20), "[a-z]{1,5}(=[a-z])?"), 0..12,
            ),
        ) {
            let mut all = vec![flags];
            for (kind, octets, name) in entries {
                let value = match kind {
                    0 => octets,
                    // A service: name, state and priority, weight, ports.
                    1 => {
                        let mut value = vec![u8::try_from(name.len()).expect("short")];
                        value.extend(name.as_bytes());
                        value.extend(octets);
                        value
                    }
                    _ => name.into_bytes(),
                };
                all.extend([kind, u8::try_from(value.len()).expect("short")]);
                all.extend(value);
            }
            super::record(&all);
        }

        /// Octets that look like a set of ours get further in than arbitrary ones.
        #[test]
        fn the_fuzz_bodies_stand_octets_with_a_mark(
            flags in 0u8..16, octets in proptest::collection::vec(any::<u8>(), 0..100),
            slots in proptest::collection::vec(any::<(u8, [u8; 6])>(), 0..20),
        ) {
            let mut all = vec![0, 0, 0, 1, 1, 0, 0, flags];
            for (index, slot) in slots {
                all.extend([0x81, index % 24]);
                all.extend(slot);
            }
            all.extend(octets);
            super::communities(&all);
        }
    }
}
