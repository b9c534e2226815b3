//! Records octet by octet: the examples of RFC 6396, Appendix A, and each form of RFC 8050.

use wayleave_bgp_core::{
    Asn, RouterId,
    message::{self, Outcome},
    mrt::{
        Content, Message, Peer, PeerIndexTable, Record, Rib, RibEntry, Session, StateChange,
        subtype_name, type_name,
    },
};

use crate::build::{THEN, hex, read, record, rib, written};

/// The UPDATE of figure 16, with the length that its attributes have: the figure says 001f, which
/// would leave the communities out.
const UPDATE: &str = "ffffffffffffffffffffffffffffffff 003e 02 0000 0023 40010102 \
    40020e0203 0000fbf0 0000fbff 0000fbf6 400304c6336455 c00804fbf0000e 18cb0071";

fn session() -> Session {
    Session {
        peer_asn: Asn(64_496),
        local_asn: Asn(64_497),
        interface: 0,
        peer: "192.0.2.85".parse().unwrap(),
        local: "198.51.100.4".parse().unwrap(),
    }
}

#[test]
fn a_message_is_as_in_the_first_example() {
    let body = hex(&format!(
        "0000fbf0 0000fbf1 0000 0001 c0000255 c6336404 {UPDATE}"
    ));
    assert_eq!(body.len(), 82);
    let octets = record(16, 4, &body);
    let update = hex(UPDATE);
    let message = Message {
        session: session(),
        as4: true,
        add_path: false,
        local: false,
        octets: &update,
    };
    let expected = Record {
        timestamp: THEN,
        micros: None,
        content: Content::Message(message),
    };
    assert_eq!(read(&octets), Ok(expected.clone()));
    assert_eq!(written(&expected), octets);
    let decoded = message::decode(message.octets, &message.options()).unwrap();
    assert_eq!(decoded.verdict, Outcome::Ok);
    let update = decoded.update.unwrap();
    assert_eq!(update.nlri[0].prefix.to_string(), "203.0.113.0/24");
    assert_eq!(update.attributes.communities[0].to_string(), "64496:14");
}

#[test]
fn a_peer_index_table_is_as_in_the_second_example() {
    let body =
        hex("c6336404 0000 0002 02 c6336405 c6336405 00010005 02 c0000221 c0000221 00010006");
    assert_eq!(body.len(), 34);
    let octets = record(13, 1, &body);
    let peer = |address: &str, asn| Peer {
        router_id: address.parse().unwrap(),
        address: address.parse().unwrap(),
        asn: Asn(asn),
    };
    let expected = Record {
        timestamp: THEN,
        micros: None,
        content: Content::PeerIndexTable(PeerIndexTable {
            collector: "198.51.100.4".parse().unwrap(),
            view: String::new(),
            peers: vec![peer("198.51.100.5", 65_541), peer("192.0.2.33", 65_542)],
        }),
    };
    assert_eq!(read(&octets), Ok(expected.clone()));
    assert_eq!(written(&expected), octets);
}

/// The example has MP_REACH_NLRI whole, and an octet too many in it, though 4.3.4 wants its next hop
/// only: so have some daemons.
#[test]
fn routes_are_as_in_the_third_example() {
    let body = hex(
        "0000002a 20 20010db8 0001 000f 4d83af34 0044 40010100 5002000e 0203 0000fbf0 0000fbff \
         0000fbf6 800e2b 0002 01 20 20010db8000d00ff0000000000000187 fe800000000000000212f2fffe9f1b00 \
         0000 20 20010db8",
    );
    assert_eq!(body.len(), 87);
    let octets = record(13, 4, &body);
    let rib = rib(&octets);
    assert_eq!((rib.sequence, rib.add_path), (42, false));
    assert_eq!(rib.prefix.to_string(), "2001:db8::/32");
    let [entry] = &rib.entries[..] else {
        panic!("{} entries", rib.entries.len())
    };
    assert_eq!(
        (entry.peer, entry.originated, entry.path_id),
        (15, THEN, None)
    );
    let route = entry.read(&rib);
    let next_hops: Vec<_> = route.next_hops.iter().map(ToString::to_string).collect();
    assert_eq!(
        next_hops,
        ["2001:db8:d:ff::187", "fe80::212:f2ff:fe9f:1b00"]
    );
    assert_eq!(route.problems, []);
    let path = route.attributes.as_path.unwrap();
    assert_eq!(path.len(), 1);
    let again = Record {
        timestamp: THEN,
        micros: None,
        content: Content::Rib(rib.clone()),
    };
    assert_eq!(written(&again), octets);
}

#[test]
fn peers_with_small_numbers_and_ipv6_addresses_are_told_apart_by_their_type() {
    let body = hex("01010101 0003 746162 0003 00 02020202 c0000202 fde9 \
         01 03030303 20010db8000000000000000000000003 fdea \
         03 04040404 20010db8000000000000000000000004 fa56ea00");
    let octets = record(13, 1, &body);
    let Content::PeerIndexTable(table) = read(&octets).unwrap().content else {
        panic!("no table")
    };
    assert_eq!(
        (table.view.as_str(), table.collector),
        ("tab", RouterId::from(0x0101_0101))
    );
    let peers: Vec<_> = table
        .peers
        .iter()
        .map(|peer| (peer.address.to_string(), peer.asn.0))
        .collect();
    let expected = [
        ("192.0.2.2", 65_001),
        ("2001:db8::3", 65_002),
        ("2001:db8::4", 4_200_000_000),
    ];
    assert_eq!(
        peers,
        expected.map(|(address, asn)| (address.to_owned(), asn))
    );
}

/// RFC 8050, 4.1: the identifier stands between the time and the length.
#[test]
fn paths_with_identifiers_have_them_before_the_length_of_their_attributes() {
    let body = hex(
        "00000007 10 0a01 0002 0001 00000005 0000002a 0004 40010100 0002 00000006 00000000 0000",
    );
    let octets = record(13, 8, &body);
    let first = hex("40010100");
    let expected = Rib {
        sequence: 7,
        prefix: "10.1.0.0/16".parse().unwrap(),
        add_path: true,
        entries: vec![
            RibEntry {
                peer: 1,
                originated: 5,
                path_id: Some(42),
                attributes: &first,
            },
            RibEntry {
                peer: 2,
                originated: 6,
                path_id: Some(0),
                attributes: &[],
            },
        ],
    };
    assert_eq!(rib(&octets), expected);
    let again = Record {
        timestamp: THEN,
        micros: None,
        content: Content::Rib(expected),
    };
    assert_eq!(written(&again), octets);
    let v6 = record(13, 10, &hex("00000000 00 0001 0000 00000000 00000001 0000"));
    assert_eq!(rib(&v6).prefix.to_string(), "::/0");
    assert_eq!(rib(&v6).entries[0].path_id, Some(1));
}

/// RFC 6396, 4.4 and RFC 8050, 3: eight subtypes for messages, and each is written as it was read.
#[test]
fn the_subtype_of_a_message_says_its_numbers_its_direction_and_its_identifiers() {
    let keepalive = "ffffffffffffffffffffffffffffffff 0013 04";
    let small = hex(&format!(
        "fbf0 fbf1 0003 0001 c0000255 c6336404 {keepalive}"
    ));
    let large = hex(&format!(
        "0000fbf0 0000fbf1 0003 0002 20010db8000000000000000000000001 \
         20010db8000000000000000000000002 {keepalive}"
    ));
    let forms = [
        (1, false, false, false),
        (4, true, false, false),
        (6, false, true, false),
        (7, true, true, false),
        (8, false, false, true),
        (9, true, false, true),
        (10, false, true, true),
        (11, true, true, true),
    ];
    for (subtype, as4, local, add_path) in forms {
        let octets = record(16, subtype, if as4 { &large } else { &small });
        let record = read(&octets).unwrap();
        let Content::Message(message) = record.content else {
            panic!("{subtype} is no message")
        };
        assert_eq!(
            (message.as4, message.local, message.add_path),
            (as4, local, add_path)
        );
        assert_eq!(message.session.interface, 3);
        let options = message.options();
        assert_eq!(
            (options.as4, options.add_path, options.ebgp),
            (as4, [add_path; 2], true)
        );
        assert_eq!(written(&record), octets, "{subtype}");
    }
}

/// RFC 6396, 3: microseconds are a part of what the length counts.
#[test]
fn a_state_change_has_two_numbers_and_the_extended_header_microseconds() {
    let change = "0000fbf0 0000fbf1 0000 0001 c0000255 c6336404 0003 0006";
    let octets = record(17, 5, &hex(&format!("0001e240 {change}")));
    let expected = StateChange {
        session: session(),
        as4: true,
        old: 3,
        new: 6,
    };
    let read_again = read(&octets).unwrap();
    assert_eq!(read_again.micros, Some(123_456));
    assert_eq!(read_again.content, Content::StateChange(expected));
    assert_eq!(written(&read_again), octets);
    let old = record(
        16,
        0,
        &hex("fbf0 fbf1 0000 0001 c0000255 c6336404 0006 0008"),
    );
    let Content::StateChange(change) = read(&old).unwrap().content else {
        panic!("no state change")
    };
    // A state of the daemon's own.
    assert_eq!((change.as4, change.new), (false, 8));
    assert_eq!(written(&read(&old).unwrap()), old);
}

#[test]
fn what_is_not_read_is_passed_through_under_its_name() {
    for (kind, subtype, names) in [
        (12, 1, (Some("TABLE_DUMP"), Some("AFI_IPv4"))),
        (13, 6, (Some("TABLE_DUMP_V2"), Some("RIB_GENERIC"))),
        (
            13,
            9,
            (Some("TABLE_DUMP_V2"), Some("RIB_IPV4_MULTICAST_ADDPATH")),
        ),
        (16, 3, (Some("BGP4MP"), Some("BGP4MP_SNAPSHOT"))),
        (48, 0, (Some("OSPFv3"), None)),
        (64_512, 1, (None, None)),
    ] {
        let octets = record(kind, subtype, &[1, 2, 3]);
        let record = read(&octets).unwrap();
        let expected = Content::Other {
            kind,
            subtype,
            octets: &[1, 2, 3],
        };
        assert_eq!(record.content, expected);
        assert_eq!((type_name(kind), subtype_name(kind, subtype)), names);
        assert_eq!(written(&record), octets);
    }
}
