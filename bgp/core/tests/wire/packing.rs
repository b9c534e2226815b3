//! Prefixes in as few messages as hold them.

use std::net::{IpAddr, Ipv6Addr};

use wayleave_bgp_core::{
    Family, Ipv4Prefix, Ipv6Prefix, Prefix,
    attributes::NextHop,
    wire::{
        MAX_EXTENDED, MAX_MESSAGE, Nlri4, Nlri6, RawUpdate, TooLarge, Verdict, end_of_rib, frame,
        pack_reach_mp, pack_reach4, pack_withdraw_mp, pack_withdraw4, pack_withdraw6,
        parse_attributes,
    },
};

use crate::build::{EXTERNAL, OPTIONAL, TRANSITIVE, as_path, attr, hex, origin};

fn hosts(count: u32) -> impl Iterator<Item = (Ipv4Prefix, Option<u32>)> + Clone {
    (0..count).map(|n| (Ipv4Prefix::from_bits(0x0A00_0000 + n, 32), None))
}

fn hosts6(count: u32) -> impl Iterator<Item = (Prefix, Option<u32>)> {
    (0..count).map(|n| {
        (
            Prefix::V6(Ipv6Prefix::from_bits(0xFD << 120 | u128::from(n), 128)),
            None,
        )
    })
}

fn lengths(mut messages: &[u8], max_len: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !messages.is_empty() {
        let message = frame(messages, max_len)
            .expect("well-formed")
            .expect("whole messages");
        lengths.push(message.len);
        messages = &messages[message.len..];
    }
    lengths
}

#[test]
fn messages_are_filled_to_the_last_octet_that_holds_a_prefix() {
    let attrs = [origin(), as_path()].concat();
    let fixed = 23 + attrs.len();
    for max_len in [MAX_MESSAGE, MAX_EXTENDED, 200] {
        let per_message = (max_len - fixed) / 5;
        let count = per_message * 2 + 1;
        let mut out = Vec::new();
        let messages = pack_reach4(&mut out, &attrs, hosts(count as u32), max_len).unwrap();
        assert_eq!(messages, 3);
        let full = fixed + per_message * 5;
        assert_eq!(lengths(&out, max_len), [full, full, fixed + 5]);
        let mut out = Vec::new();
        assert_eq!(
            pack_withdraw4(&mut out, hosts((max_len as u32 - 23) / 5), max_len),
            1
        );
        let mut out = Vec::new();
        assert_eq!(
            pack_withdraw4(&mut out, hosts((max_len as u32 - 23) / 5 + 1), max_len),
            2
        );
    }
}

/// A short prefix fits where a long one would not: the space is used, and never overrun.
#[test]
fn the_last_octets_of_a_message_hold_what_is_short_enough() {
    // 23 + 4 + 4 x 5 = 47 octets, two left in a message of 49: a /8 fits, a /9 does not.
    let attrs = attr(OPTIONAL, 99, &[1]);
    let default = |len| std::iter::once((Ipv4Prefix::from_bits(0, len), None));
    for (len, messages) in [(0, 1), (8, 1), (9, 2), (32, 2)] {
        let mut out = Vec::new();
        let prefixes = hosts(4).chain(default(len));
        assert_eq!(
            pack_reach4(&mut out, &attrs, prefixes, 49),
            Ok(messages),
            "/{len}"
        );
        assert!(lengths(&out, 49).iter().all(|len| *len <= 49));
    }
}

#[test]
fn no_prefixes_make_no_message() {
    let mut out = Vec::new();
    let hop = NextHop::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let family = Family::Ipv6Unicast;
    assert_eq!(
        pack_reach4(&mut out, &origin(), hosts(0), MAX_MESSAGE),
        Ok(0)
    );
    assert_eq!(pack_withdraw4(&mut out, hosts(0), MAX_MESSAGE), 0);
    assert_eq!(
        pack_reach_mp(&mut out, &origin(), family, &hop, hosts6(0), MAX_MESSAGE),
        Ok(0)
    );
    assert_eq!(pack_withdraw6(&mut out, std::iter::empty(), MAX_MESSAGE), 0);
    assert!(out.is_empty());
}

#[test]
fn attributes_that_leave_no_room_are_refused_and_nothing_is_written() {
    let hop = NextHop::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let mut refused = [0; 2];
    for octets in 3_900..4_200 {
        let attrs = attr(OPTIONAL | TRANSITIVE, 99, &vec![0; octets - 4]);
        let too_large = TooLarge {
            attributes: octets,
            max_len: MAX_MESSAGE,
        };
        let mut out = vec![42];
        match pack_reach4(&mut out, &attrs, hosts(3), MAX_MESSAGE) {
            Ok(messages) => assert_eq!(lengths(&out[1..], MAX_MESSAGE).len(), messages),
            Err(error) => {
                assert_eq!((error, out.as_slice()), (too_large, &[42][..]));
                refused[0] += 1;
            }
        }
        let mut out = vec![42];
        match pack_reach_mp(
            &mut out,
            &attrs,
            Family::Ipv6Unicast,
            &hop,
            hosts6(3),
            MAX_MESSAGE,
        ) {
            Ok(messages) => assert_eq!(lengths(&out[1..], MAX_MESSAGE).len(), messages),
            Err(error) => {
                assert_eq!((error, out.as_slice()), (too_large, &[42][..]));
                refused[1] += 1;
            }
        }
        // An extended message has room for it.
        let mut out = Vec::new();
        assert_eq!(pack_reach4(&mut out, &attrs, hosts(3), MAX_EXTENDED), Ok(1));
    }
    // 4096 - 23 octets, less the longest prefix with its path identifier and what goes with it.
    assert_eq!(
        refused,
        [
            4_200 - (4_096 - 23 - 9) - 1,
            4_200 - (4_096 - 23 - 41 - 21) - 1
        ]
    );
}

/// RFC 7606, 5.1: first in the message; RFC 4271, 4.3: two octets of length only past 255.
#[test]
fn mp_reach_stands_first_with_the_shortest_length_that_holds_it() {
    let attrs = [origin(), as_path()].concat();
    let hop: IpAddr = "2001:db8::1".parse().unwrap();
    for count in [1, 13, 14, 15, 400] {
        let mut out = Vec::new();
        let family = Family::Ipv6Unicast;
        let messages = pack_reach_mp(
            &mut out,
            &attrs,
            family,
            &hop.into(),
            hosts6(count),
            MAX_MESSAGE,
        )
        .unwrap();
        assert_eq!(messages, if count == 400 { 2 } else { 1 });
        let mut rest = out.as_slice();
        let mut found = 0;
        while let Some(message) = frame(rest, MAX_MESSAGE).unwrap() {
            let update = RawUpdate::split(message.body).unwrap();
            let value = 21 + count as usize * 17;
            let flags = if value > 255 { 0x90 } else { 0x80 };
            assert_eq!(update.attributes[..2], [flags, 14], "{count} prefixes");
            let mut canonical = Vec::new();
            let parsed = parse_attributes(update.attributes, &EXTERNAL, false, &mut canonical);
            assert_eq!(parsed.verdict, Verdict::Ok);
            assert_eq!(canonical, attrs);
            let reach = parsed.reach.unwrap();
            assert_eq!(reach.next_hop, hop.into());
            found += Nlri6::new(reach.nlri, false).flatten().count();
            rest = &rest[message.len..];
        }
        assert_eq!(found, count as usize);
    }
}

/// RFC 8950, 3; RFC 2545, 3.
#[test]
fn ipv4_prefixes_go_over_ipv6_next_hops_and_link_local_ones_beside_global_ones() {
    let attrs = [origin(), as_path()].concat();
    let link_local = "fe80::1".parse().unwrap();
    for next_hop in [
        NextHop::from(IpAddr::V6(link_local)),
        NextHop {
            addr: "2001:db8::1".parse().unwrap(),
            link_local: Some(link_local),
        },
        NextHop::from(IpAddr::from([192, 0, 2, 7])),
    ] {
        let mut out = Vec::new();
        let prefixes = hosts(3).map(|(prefix, id)| (Prefix::V4(prefix), id));
        let family = Family::Ipv4Unicast;
        pack_reach_mp(
            &mut out,
            &attrs,
            family,
            &next_hop,
            prefixes.clone(),
            MAX_MESSAGE,
        )
        .unwrap();
        let message = frame(&out, MAX_MESSAGE).unwrap().unwrap();
        let update = RawUpdate::split(message.body).unwrap();
        assert!(update.nlri.is_empty());
        let mut canonical = Vec::new();
        let parsed = parse_attributes(update.attributes, &EXTERNAL, false, &mut canonical);
        let reach = parsed.reach.unwrap();
        assert_eq!((reach.afi, reach.safi, reach.next_hop), (1, 1, next_hop));
        let found: Vec<_> = Nlri4::new(reach.nlri, false)
            .map(|prefix| Prefix::V4(prefix.unwrap().0))
            .collect();
        assert_eq!(
            found,
            prefixes
                .clone()
                .map(|(prefix, _)| prefix)
                .collect::<Vec<_>>()
        );
        let mut out = Vec::new();
        assert_eq!(pack_withdraw_mp(&mut out, family, prefixes, MAX_MESSAGE), 1);
        let message = frame(&out, MAX_MESSAGE).unwrap().unwrap();
        let update = RawUpdate::split(message.body).unwrap();
        let parsed = parse_attributes(update.attributes, &EXTERNAL, false, &mut canonical);
        let unreach = parsed.unreach.unwrap();
        assert_eq!((unreach.afi, unreach.safi), (1, 1));
        assert_eq!(Nlri4::new(unreach.nlri, false).flatten().count(), 3);
    }
}

/// What some speakers send in place of a global next hop (RFC 2545, 3 allows neither).
#[test]
fn a_next_hop_without_a_global_address_is_the_link_local_one() {
    let hop = |text: &str| {
        let mut value = vec![0, 2, 1, 32];
        value.extend(
            text.split(' ')
                .flat_map(|address| address.parse::<Ipv6Addr>().unwrap().octets()),
        );
        value.extend_from_slice(&[0, 0]);
        let raw = [origin(), as_path(), attr(OPTIONAL, 14, &value)].concat();
        let mut canonical = Vec::new();
        let parsed = parse_attributes(&raw, &EXTERNAL, false, &mut canonical);
        assert_eq!(parsed.verdict, Verdict::Ok);
        let hop = parsed.reach.unwrap().next_hop;
        (
            hop.addr.to_string(),
            hop.link_local.map(|addr| addr.to_string()),
        )
    };
    let link_local = || Some("fe80::1".to_owned());
    assert_eq!(
        hop("2001:db8::1 fe80::1"),
        ("2001:db8::1".to_owned(), link_local())
    );
    assert_eq!(hop(":: fe80::1"), ("fe80::1".to_owned(), None));
    assert_eq!(hop("fe80::1 fe80::1"), ("fe80::1".to_owned(), None));
    assert_eq!(hop("2001:db8::1 ::"), ("2001:db8::1".to_owned(), None));
}

/// RFC 7911, 3.
#[test]
fn path_identifiers_go_before_each_prefix() {
    let prefixes = [(Ipv4Prefix::from_bits(0x0A00_0000, 8), Some(7))];
    let mut out = Vec::new();
    pack_reach4(&mut out, &[], prefixes.into_iter(), MAX_MESSAGE).unwrap();
    assert_eq!(out[23..], hex("00000007 08 0a"));
    let mut out = Vec::new();
    pack_withdraw4(&mut out, prefixes.into_iter(), MAX_MESSAGE);
    assert_eq!(out[19..], hex("0006 00000007 08 0a 0000"));
}

/// RFC 4724, 2.
#[test]
fn end_of_rib_is_empty_for_ipv4_and_an_empty_unreach_for_ipv6() {
    let mut out = Vec::new();
    end_of_rib(Family::Ipv4Unicast, &mut out);
    assert_eq!(out[16..], hex("0017 02 0000 0000"));
    let message = frame(&out, MAX_MESSAGE).unwrap().unwrap();
    assert!(RawUpdate::split(message.body).unwrap().is_end_of_rib_ipv4());
    let mut out = Vec::new();
    end_of_rib(Family::Ipv6Unicast, &mut out);
    assert_eq!(out[16..], hex("001d 02 0000 0006 80 0f 03 0002 01"));
    let message = frame(&out, MAX_MESSAGE).unwrap().unwrap();
    let update = RawUpdate::split(message.body).unwrap();
    assert!(!update.is_end_of_rib_ipv4());
    let parsed = parse_attributes(update.attributes, &EXTERNAL, false, &mut Vec::new());
    let unreach = parsed.unreach.unwrap();
    assert_eq!((unreach.afi, unreach.safi, unreach.nlri), (2, 1, &[][..]));
}

/// RFC 4271, 6.3; RFC 7606, 5.3.
#[test]
fn prefixes_too_long_or_cut_off_are_invalid_network_fields_and_host_bits_are_cleared() {
    let read4 = |octets: &[u8], add_path| {
        Nlri4::new(octets, add_path)
            .map(|item| {
                item.map(|(prefix, id)| (prefix.to_string(), id))
                    .map_err(|e| (e.code, e.subcode))
            })
            .collect::<Vec<_>>()
    };
    let good = |text: &str, id| Ok((text.to_owned(), id));
    let bad = || Err((3, 10));
    assert_eq!(read4(&hex("00"), false), [good("0.0.0.0/0", 0)]);
    assert_eq!(
        read4(&hex("0b 0aff 20 c0000201"), false),
        [good("10.224.0.0/11", 0), good("192.0.2.1/32", 0)]
    );
    assert_eq!(
        read4(&hex("08 0a 21 c000020100"), false),
        [good("10.0.0.0/8", 0), bad()]
    );
    assert_eq!(read4(&hex("20 c00002"), false), [bad()]);
    assert_eq!(read4(&hex("ff"), false), [bad()]);
    assert_eq!(read4(&hex("00000005 08 0a"), true), [good("10.0.0.0/8", 5)]);
    assert_eq!(read4(&hex("000000"), true), [bad()]);
    assert_eq!(read4(&hex("00000005"), true), [bad()]);
    let read6 = |octets: &[u8]| {
        Nlri6::new(octets, false)
            .map(|item| {
                item.map(|(prefix, id)| (prefix.to_string(), id))
                    .map_err(|e| (e.code, e.subcode))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        read6(&hex("21 20010db8ff 00")),
        [good("2001:db8:8000::/33", 0), good("::/0", 0)]
    );
    assert_eq!(
        read6(&hex("81 00000000000000000000000000000000 00")),
        [bad()]
    );
    assert_eq!(read6(&hex("80 000000000000000000000000000000")), [bad()]);
}

/// RFC 4271, 4.3; RFC 7606, 3 b.
#[test]
fn lengths_that_contradict_the_message_reset_with_malformed_attribute_list() {
    for body in [
        "",
        "00",
        "0000",
        "0000 00",
        "0001",
        "0001 00 00",
        "0000 0001",
        "ffff 0000",
        "0000 ffff 00",
    ] {
        let error = RawUpdate::split(&hex(body)).unwrap_err();
        assert_eq!((error.code, error.subcode), (3, 1), "{body}");
    }
    for (body, end) in [
        ("0000 0000", true),
        ("0002 08 0a 0000", false),
        ("0000 0003 400100", false),
        ("0000 0000 08 0a", false),
    ] {
        let body = hex(body);
        assert_eq!(
            RawUpdate::split(&body).unwrap().is_end_of_rib_ipv4(),
            end,
            "{body:?}"
        );
    }
    let body = hex("0002 08 0a 0003 400100 08 0b");
    let update = RawUpdate::split(&body).unwrap();
    assert_eq!(update.withdrawn, hex("08 0a"));
    assert_eq!(update.attributes, hex("400100"));
    assert_eq!(update.nlri, hex("08 0b"));
}
