//! Malformed records, and what has no place in one.

use wayleave_bgp_core::{
    Asn,
    mrt::{
        Content, Header, MAX_RECORD, Malformed, Message, Peer, PeerIndexTable, Record, Rib,
        RibEntry, Session, Unwritable, split,
    },
};

use crate::build::{THEN, entry, hex, read, record};

#[test]
fn a_record_that_is_cut_off_names_the_field_and_one_that_is_too_long_what_is_left() {
    let table = hex("01010101 0001 61 0001 02 02020202 c0000202 0000fde9");
    let rib = hex("00000000 08 0a 0001 0000 00000000 0004 40010100");
    let paths = hex("00000000 20 20010db8 0001 0000 00000000 00000001 0000");
    let change = hex("0000fbf0 0000fbf1 0000 0001 c0000255 c6336404 0003 0006");
    let message =
        hex("fbf0 fbf1 0000 0001 c0000255 c6336404 ffffffffffffffffffffffffffffffff 0013 04");
    for (kind, subtype, body) in [
        (13, 1, table),
        (13, 2, rib),
        (13, 10, paths),
        (16, 5, change),
        (16, 1, message),
    ] {
        assert!(
            read(&record(kind, subtype, &body)).is_ok(),
            "{kind} {subtype}"
        );
        for cut in 0..body.len() {
            let octets = record(kind, subtype, &body[..cut]);
            let why = read(&octets).unwrap_err();
            assert!(
                matches!(why, Malformed::Short(_)),
                "{kind} {subtype} at {cut}: {why}"
            );
        }
        let longer = [&body[..], &[0]].concat();
        let why = read(&record(kind, subtype, &longer)).unwrap_err();
        let expected = match (kind, subtype) {
            (16, 1) => Malformed::MessageLength {
                says: 19,
                there: 20,
            },
            _ => Malformed::LeftOver(1),
        };
        assert_eq!(why, expected);
    }
}

#[test]
fn each_fault_is_told_in_words() {
    let far = hex("0000fbf0 0000fbf1 0000 0003 c0000255 c6336404 0003 0006");
    for (octets, words) in [
        (
            record(13, 2, &hex("00000000 21 0a00000000 0000")),
            "a prefix of 33 bits",
        ),
        (
            record(13, 4, &hex("00000000 ff")),
            "it ends within its prefix",
        ),
        (
            record(16, 5, &far),
            "addresses of family 3: expected 1 (IPv4) or 2 (IPv6)",
        ),
        (record(17, 5, &[0, 0, 0]), "it ends within its microseconds"),
    ] {
        assert_eq!(read(&octets).unwrap_err().to_string(), words);
    }
}

/// A length that is a lie costs the record, not memory.
#[test]
fn a_record_longer_than_any_is_refused_by_its_header() {
    let header = Header {
        timestamp: 0,
        kind: 13,
        subtype: 2,
        length: MAX_RECORD + 1,
    };
    let why = Record::decode(&header, &[]).unwrap_err();
    assert_eq!(why, Malformed::TooLong(MAX_RECORD + 1));
    let claims = hex("00000000 08 0a ffff");
    assert_eq!(
        read(&record(13, 2, &claims)),
        Err(Malformed::Short("entries: a peer index"))
    );
}

/// A message whose header is none is for the reader of messages.
#[test]
fn a_message_without_a_marker_is_still_a_message() {
    let octets = record(
        16,
        4,
        &hex(
            "0000fbf0 0000fbf1 0000 0001 c0000255 c6336404 00000000000000000000000000000000 ffff 04",
        ),
    );
    assert!(matches!(
        read(&octets).unwrap().content,
        Content::Message(_)
    ));
}

#[test]
fn the_record_behind_a_malformed_one_is_read() {
    let octets = [
        record(13, 2, &[1]),
        record(13, 1, &hex("01010101 0000 0000")),
    ]
    .concat();
    let (header, body, rest) = split(&octets).unwrap();
    assert!(Record::decode(&header, body).is_err());
    assert!(matches!(
        read(rest).unwrap().content,
        Content::PeerIndexTable(_)
    ));
    assert_eq!(split(&octets[..12]), None, "cut off");
}

#[test]
fn what_has_no_place_in_a_record_is_refused_and_nothing_is_written() {
    let session = Session {
        peer_asn: Asn(65_536),
        local_asn: Asn(1),
        interface: 0,
        peer: "192.0.2.1".parse().unwrap(),
        local: "2001:db8::1".parse().unwrap(),
    };
    let message = |as4| Message {
        session,
        as4,
        add_path: false,
        local: false,
        octets: &[],
    };
    let long = vec![0; 65_536];
    let rib = |add_path, entries| Rib {
        sequence: 0,
        prefix: "10.0.0.0/8".parse().unwrap(),
        add_path,
        entries,
    };
    let peer = Peer {
        router_id: 1.into(),
        address: "192.0.2.1".parse().unwrap(),
        asn: Asn(1),
    };
    let too_much = |what, most| Unwritable::TooMuch {
        what,
        found: 65_536,
        most,
    };
    let table = |view: &str, peers| PeerIndexTable {
        collector: 1.into(),
        view: view.to_owned(),
        peers,
    };
    let identified = RibEntry {
        path_id: Some(1),
        ..entry(&[])
    };
    for (content, expected) in [
        (
            Content::Message(message(false)),
            Unwritable::FourOctetAs(65_536),
        ),
        (Content::Message(message(true)), Unwritable::MixedAddresses),
        (
            Content::Rib(rib(true, vec![identified, entry(&[])])),
            Unwritable::MixedPathIds,
        ),
        (
            Content::Rib(rib(false, vec![entry(&long)])),
            too_much("octets of attributes", 65_535),
        ),
        (
            Content::Rib(rib(false, vec![entry(&[]); 65_536])),
            too_much("paths to one prefix", 65_535),
        ),
        (
            Content::PeerIndexTable(table("", vec![peer; 65_536])),
            too_much("peers", 65_535),
        ),
        (
            Content::PeerIndexTable(table(&"v".repeat(65_536), Vec::new())),
            too_much("octets of a view's name", 65_535),
        ),
    ] {
        let record = Record {
            timestamp: THEN,
            micros: None,
            content,
        };
        let mut out = vec![7];
        assert_eq!(record.encode(&mut out), Err(expected));
        assert_eq!(out, [7]);
    }
    let many = vec![entry(&long[..65_000]); 300];
    let record = Record {
        timestamp: THEN,
        micros: None,
        content: Content::Rib(rib(false, many)),
    };
    let why = record.encode(&mut Vec::new()).unwrap_err();
    assert!(why.to_string().starts_with("octets of a record: "), "{why}");
}
