//! What holds of all records, and of all octets.

use std::net::IpAddr;

use proptest::{collection::vec, option, prelude::*};
use wayleave_bgp_core::{
    Asn, Ipv4Prefix, Ipv6Prefix, Prefix, RouterId,
    mrt::{
        Content, Message, Peer, PeerIndexTable, Record, Rib, RibEntry, Session, StateChange, fuzz,
    },
};

use crate::build::{read, written};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (any::<u32>(), 0..=32_u8).prop_map(|(bits, len)| Ipv4Prefix::from_bits(bits, len).into()),
        (any::<u128>(), 0..=128_u8).prop_map(|(bits, len)| Ipv6Prefix::from_bits(bits, len).into()),
    ]
}

fn session(as4: bool) -> impl Strategy<Value = Session> {
    let asn = move || {
        if as4 {
            any::<u32>().prop_map(Asn).boxed()
        } else {
            any::<u16>().prop_map(|number| Asn(number.into())).boxed()
        }
    };
    let pair = prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|pair| pair.map(IpAddr::from)),
        any::<[[u8; 16]; 2]>().prop_map(|pair| pair.map(IpAddr::from)),
    ];
    (asn(), asn(), any::<u16>(), pair).prop_map(
        |(peer_asn, local_asn, interface, [peer, local])| Session {
            peer_asn,
            local_asn,
            interface,
            peer,
            local,
        },
    )
}

/// The content of a record: `octets` are what its messages and attributes are made of.
fn content(octets: &[u8]) -> impl Strategy<Value = Content<'_>> {
    let peer = (any::<u32>(), address(), any::<u32>()).prop_map(|(id, address, asn)| Peer {
        router_id: RouterId::from(id),
        address,
        asn: Asn(asn),
    });
    let table = (any::<u32>(), "\\PC{0,12}", vec(peer, 0..6)).prop_map(|(id, view, peers)| {
        Content::PeerIndexTable(PeerIndexTable {
            collector: RouterId::from(id),
            view,
            peers,
        })
    });
    let entry = (any::<u16>(), any::<u32>(), any::<u32>(), 0..=octets.len());
    let rib = (any::<u32>(), prefix(), any::<bool>(), vec(entry, 0..5)).prop_map(
        |(sequence, prefix, add_path, entries)| {
            let entry = |(peer, originated, id, len): (u16, u32, u32, usize)| RibEntry {
                peer,
                originated,
                path_id: add_path.then_some(id),
                attributes: &octets[..len],
            };
            Content::Rib(Rib {
                sequence,
                prefix,
                add_path,
                entries: entries.into_iter().map(entry).collect(),
            })
        },
    );
    let message = any::<[bool; 3]>().prop_flat_map(move |[as4, add_path, local]| {
        session(as4).prop_map(move |session| {
            Content::Message(Message {
                session,
                as4,
                add_path,
                local,
                octets,
            })
        })
    });
    let change = any::<(bool, u16, u16)>().prop_flat_map(|(as4, old, new)| {
        session(as4).prop_map(move |session| {
            Content::StateChange(StateChange {
                session,
                as4,
                old,
                new,
            })
        })
    });
    prop_oneof![table, rib, message, change]
}

/// A KEEPALIVE; for attributes it is as good as any other octets.
const KEEPALIVE: [u8; 19] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0, 19, 4,
];

fn record() -> impl Strategy<Value = Record<'static>> {
    let parts = (
        any::<u32>(),
        option::of(0..1_000_000_u32),
        content(&KEEPALIVE),
    );
    parts.prop_map(|(timestamp, micros, content)| Record {
        timestamp,
        // Tables have none.
        micros: micros.filter(|_| matches!(content, Content::Message(_) | Content::StateChange(_))),
        content,
    })
}

proptest! {
    #[test]
    fn a_record_reads_as_it_was_written(record in record()) {
        let octets = written(&record);
        prop_assert_eq!(read(&octets), Ok(record));
    }

    #[test]
    fn any_octets_end_in_records_or_errors(data in vec(any::<u8>(), 0..600)) {
        fuzz::records(&data);
        fuzz::attributes(&data);
    }

    /// Random octets seldom get past the header; these begin as real records.
    #[test]
    fn damaged_records_end_in_records_or_errors(
        records in vec(record(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut octets: Vec<u8> = records.iter().flat_map(written).collect();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        fuzz::records(&octets);
    }
}
