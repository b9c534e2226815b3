//! The attributes of paths in a table (RFC 6396, 4.3.4), both ways.

use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, Prefix,
    attributes::{AsSegment, Attributes, NextHop, Origin},
    message::Outcome,
    mrt::{EntryAttributes, Rib, encode_attributes},
};

use crate::build::{entry, hex};

fn read(prefix: &str, attributes: &[u8]) -> EntryAttributes {
    let rib = Rib {
        sequence: 0,
        prefix: prefix.parse::<Prefix>().unwrap(),
        add_path: false,
        entries: Vec::new(),
    };
    entry(attributes).read(&rib)
}

fn route() -> Attributes {
    Attributes {
        origin: Origin::Incomplete,
        as_path: vec![AsSegment::Sequence(vec![Asn(4_200_000_001)])],
        med: Some(5),
        communities: vec![Community(0xFBF0_000E)],
        large_communities: vec![LargeCommunity {
            global: 1,
            local1: 2,
            local2: 3,
        }],
        ..Attributes::default()
    }
}

/// Where the attributes of [`route`] lie, with a next hop between them.
fn octets(next_hop: &str, mp_reach: &str) -> Vec<u8> {
    hex(&format!(
        "40010102 400206 0201 fa56ea01 {next_hop} 800404 00000005 c00804 fbf0000e {mp_reach} \
         c0200c 000000010000000200000003"
    ))
}

#[test]
fn a_next_hop_of_an_ipv4_prefix_is_written_as_next_hop_and_in_its_place() {
    let mut written = Vec::new();
    let next_hop = NextHop::from(std::net::IpAddr::from([192, 0, 2, 1]));
    encode_attributes(&route(), Some(next_hop), Family::Ipv4Unicast, &mut written);
    assert_eq!(written, octets("400304 c0000201", ""));
    let again = read("10.0.0.0/8", &written);
    assert_eq!(again.next_hops, [next_hop.addr]);
    assert_eq!(again.problems, []);
    assert_eq!(again.attributes.communities, route().communities);
    assert_eq!(again.attributes.next_hop, None, "it is told once");
}

#[test]
fn a_next_hop_of_ipv6_is_all_that_is_left_of_mp_reach_nlri() {
    let global = "2001:db8::1".parse().unwrap();
    let both = NextHop {
        addr: global,
        link_local: Some("fe80::1".parse().unwrap()),
    };
    let table = [
        (
            "2001:db8::/32",
            NextHop::from(global),
            "800e11 10 20010db8000000000000000000000001",
        ),
        (
            "2001:db8::/32",
            both,
            "800e21 20 20010db8000000000000000000000001 fe800000000000000000000000000001",
        ),
        // RFC 8950.
        (
            "10.0.0.0/8",
            NextHop::from(global),
            "800e11 10 20010db8000000000000000000000001",
        ),
    ];
    for (prefix, next_hop, expected) in table {
        let mut written = Vec::new();
        let family = prefix.parse::<Prefix>().unwrap().family();
        encode_attributes(&route(), Some(next_hop), family, &mut written);
        assert_eq!(written, octets("", expected), "{prefix}");
        let again = read(prefix, &written);
        let hops: Vec<_> = [Some(next_hop.addr), next_hop.link_local.map(Into::into)]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(again.next_hops, hops);
        assert_eq!(again.problems, []);
        assert_eq!(again.attributes.mp_reach, None, "it is told once");
    }
}

#[test]
fn a_route_of_the_collector_itself_has_no_next_hop_and_no_fault() {
    for (prefix, family) in [
        ("10.0.0.0/8", Family::Ipv4Unicast),
        ("fd00::/8", Family::Ipv6Unicast),
    ] {
        let mut written = Vec::new();
        encode_attributes(&route(), None, family, &mut written);
        assert_eq!(written, octets("", ""));
        let again = read(prefix, &written);
        assert_eq!((again.next_hops, again.problems), (Vec::new(), Vec::new()));
    }
}

#[test]
fn mp_reach_nlri_is_read_short_and_whole() {
    let hop = "20010db8000000000000000000000001";
    for (what, value) in [
        ("short", format!("800e11 10 {hop}")),
        ("whole", format!("800e1a 0002 01 10 {hop} 00 20 20010db8")),
        (
            "whole, without the prefix",
            format!("800e15 0002 01 10 {hop} 00"),
        ),
        (
            "short, with a length of two octets",
            format!("900e0011 10 {hop}"),
        ),
    ] {
        let route = read("2001:db8::/32", &octets("", &value));
        let next_hops: Vec<_> = route.next_hops.iter().map(ToString::to_string).collect();
        assert_eq!(next_hops, ["2001:db8::1"], "{what}");
        assert_eq!(route.problems, [], "{what}");
    }
}

/// As BIRD 2 writes them.
#[test]
fn attributes_without_their_flags_are_read() {
    let route = read(
        "10.0.0.0/8",
        &hex("40010100 400200 000304 c0000201 000504 00000064"),
    );
    let next_hops: Vec<_> = route.next_hops.iter().map(ToString::to_string).collect();
    assert_eq!(next_hops, ["192.0.2.1"]);
    assert_eq!(route.attributes.local_pref, Some(100));
    assert_eq!(route.problems, []);
}

#[test]
fn what_is_wrong_with_attributes_is_said_and_the_rest_is_read() {
    let all = |attributes: &str| read("10.0.0.0/8", &hex(attributes));
    let no_path = all("40010100 400304 c0000201");
    let [found] = &no_path.problems[..] else {
        panic!("{:?}", no_path.problems)
    };
    assert_eq!(
        (found.attribute, found.verdict),
        (Some(2), Outcome::TreatAsWithdraw)
    );
    let bad_hop = all("40010100 400200 400304 e0000001");
    assert_eq!(bad_hop.problems[0].attribute, Some(3));
    // A next hop of a length that none has stays as it came.
    let odd = read(
        "2001:db8::/32",
        &hex("40010100 400200 800e06 05 0102030405"),
    );
    assert!(odd.next_hops.is_empty());
    assert_eq!(odd.attributes.other[0].hex.to_string(), "050102030405");
    assert!(!odd.problems.is_empty());
    let cut = all("40010100 4002");
    assert_eq!(cut.attributes.origin, Some(Origin::Igp));
    assert_eq!(cut.attributes.overrun.unwrap().to_string(), "4002");
}
