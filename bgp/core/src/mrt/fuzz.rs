//! What must hold for any octets that are taken for MRT; see [`crate::wire::fuzz`].

use super::{Content, EntryAttributes, Record, Rib, RibEntry, encode_attributes, split};
use crate::{
    message,
    types::{Family, Prefix},
    wire::decode_canonical,
};

/// Octets as they come from a file: every record is read or refused by itself, and one that is read
/// says the same after it was written.
pub fn records(data: &[u8]) {
    let mut rest = data;
    while let Some((header, body, after)) = split(rest) {
        assert!(after.len() < rest.len());
        rest = after;
        match Record::decode(&header, body) {
            Err(why) => assert!(!why.to_string().is_empty()),
            Ok(record) => one(&record),
        }
    }
}

/// Octets as canonical attributes: what is written into a table is read back from it.
pub fn attributes(data: &[u8]) {
    let attributes = decode_canonical(data);
    let prefixes = [Prefix::from(crate::Ipv4Prefix::from_bits(1 << 31, 9)), {
        Prefix::from(crate::Ipv6Prefix::from_bits(1 << 127, 9))
    }];
    for prefix in prefixes {
        let next_hop = match prefix.family() {
            Family::Ipv4Unicast => std::net::IpAddr::from([192, 0, 2, 1]),
            Family::Ipv6Unicast => {
                std::net::IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
            }
        };
        let mut written = Vec::new();
        encode_attributes(
            &attributes,
            Some(next_hop.into()),
            prefix.family(),
            &mut written,
        );
        let entry = RibEntry {
            peer: 0,
            originated: 0,
            path_id: None,
            attributes: &written,
        };
        let EntryAttributes {
            next_hops,
            attributes: read,
            ..
        } = entry.read(&Rib {
            sequence: 0,
            prefix,
            add_path: false,
            entries: Vec::new(),
        });
        assert_eq!(next_hops, [next_hop]);
        assert_eq!(read.origin, Some(attributes.origin));
        assert_eq!(
            (read.med, read.local_pref),
            (attributes.med, attributes.local_pref)
        );
        assert_eq!(read.communities, attributes.communities);
    }
}

fn one(record: &Record<'_>) {
    match &record.content {
        Content::Rib(rib) => {
            for entry in &rib.entries {
                let _ = entry.read(rib);
            }
        }
        Content::Message(message) => {
            // Cut off only where its header is none that a session takes.
            let _ = message::decode(message.octets, &message.options());
        }
        Content::PeerIndexTable(_) | Content::StateChange(_) | Content::Other { .. } => {}
    }
    let mut written = Vec::new();
    match record.encode(&mut written) {
        Ok(()) => {
            let (header, body, rest) = split(&written).expect("what was written is one record");
            assert!(rest.is_empty());
            assert_eq!(Record::decode(&header, body).as_ref(), Ok(record));
        }
        // Two-octet AS numbers are written with four: no more than that can make one too long.
        Err(why) => assert!(written.is_empty(), "{why}"),
    }
}
