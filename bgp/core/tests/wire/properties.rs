//! For all messages: what is written reads the same. For all octets: a value or an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, option, prelude::*};
use wayleave_bgp_core::{
    Asn, Community, Family, Ipv4Prefix, Ipv6Prefix, LargeCommunity, Prefix, RouterId,
    attributes::{Aggregator, AsSegment, Attributes, NextHop, Origin, UnknownAttribute},
    wire::{
        Capabilities, DecodeContext, Egress, Fqdn, GracefulRestart, MAX_EXTENDED, MAX_MESSAGE,
        Nlri4, Nlri6, Notification, Open, RawUpdate, Reflect, RouteRefresh, Verdict,
        decode_canonical, egress_attributes, encode_canonical, facts_of, frame, fuzz,
        pack_reach_mp, pack_reach4, parse_attributes, put_nlri4, put_nlri6,
    },
};

use crate::build::attr;

fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1_u32..65_536, 1..=u32::MAX].prop_map(Asn)
}

fn router_id() -> impl Strategy<Value = RouterId> {
    (1..=u32::MAX).prop_map(RouterId::from)
}

/// Paths without confederation segments, which not every session lets pass.
fn as_path() -> impl Strategy<Value = Vec<AsSegment>> {
    let segment = prop_oneof![
        4 => vec(asn(), 1..=6).prop_map(AsSegment::Sequence),
        1 => vec(asn(), 250..=255).prop_map(AsSegment::Sequence),
        1 => vec(asn(), 1..=4).prop_map(AsSegment::Set),
    ];
    vec(segment, 0..4)
}

fn confed_path() -> impl Strategy<Value = Vec<AsSegment>> {
    let segment = prop_oneof![
        vec(asn(), 1..=4).prop_map(AsSegment::Sequence),
        vec(asn(), 1..=4).prop_map(AsSegment::Set),
        vec(asn(), 1..=4).prop_map(AsSegment::ConfedSequence),
        vec(asn(), 1..=4).prop_map(AsSegment::ConfedSet),
    ];
    vec(segment, 0..5)
}

fn unknown() -> impl Strategy<Value = Vec<UnknownAttribute>> {
    let code = prop_oneof![
        Just(11_u8),
        Just(13),
        19_u8..=24,
        Just(36),
        Just(99),
        Just(255)
    ];
    let flags = prop_oneof![Just(0xC0_u8), Just(0xE0)];
    let attribute = (code, flags, vec(any::<u8>(), 0..300))
        .prop_map(|(code, flags, value)| UnknownAttribute { code, flags, value });
    vec(attribute, 0..4).prop_map(|mut list| {
        list.sort_by_key(|attribute| attribute.code);
        list.dedup_by_key(|attribute| attribute.code);
        list
    })
}

fn attributes(path: impl Strategy<Value = Vec<AsSegment>>) -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let large = any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
        global,
        local1,
        local2,
    });
    let aggregator =
        (asn(), router_id()).prop_map(|(asn, router_id)| Aggregator { asn, router_id });
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        any::<bool>(),
        option::of(aggregator),
    );
    let lists = (
        vec(any::<u32>().prop_map(Community), 0..70),
        vec(large, 0..30),
        vec(any::<[u8; 8]>(), 0..40),
    );
    let reflection = (option::of(router_id()), vec(router_id(), 0..70));
    (origin, path, numbers, lists, reflection, unknown()).prop_map(
        |(
            origin,
            as_path,
            (med, local_pref, atomic_aggregate, aggregator),
            (communities, mut large_communities, extended_communities),
            (originator_id, cluster_list),
            unknown,
        )| {
            large_communities.sort();
            large_communities.dedup();
            Attributes {
                origin,
                as_path,
                med,
                local_pref,
                atomic_aggregate,
                aggregator,
                communities,
                large_communities,
                extended_communities,
                originator_id,
                cluster_list,
                unknown,
            }
        },
    )
}

fn prefix4() -> impl Strategy<Value = Ipv4Prefix> {
    (any::<u32>(), 0_u8..=32).prop_map(|(bits, len)| Ipv4Prefix::from_bits(bits, len))
}

fn prefix6() -> impl Strategy<Value = Ipv6Prefix> {
    (any::<u128>(), 0_u8..=128).prop_map(|(bits, len)| Ipv6Prefix::from_bits(bits, len))
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let restart = (
        any::<bool>(),
        any::<bool>(),
        0_u16..4096,
        vec(any::<(u16, u8, bool)>(), 0..=63),
    )
        .prop_map(
            |(restarting, notification, time, families)| GracefulRestart {
                restarting,
                notification,
                time,
                families,
            },
        );
    let name =
        ("[a-z0-9.-]{0,120}", "[a-z0-9.-]{0,120}").prop_map(|(host, domain)| Fqdn { host, domain });
    let flags = any::<(bool, bool, bool)>();
    let lists = (
        vec(any::<(u16, u8)>(), 0..5).prop_map(|mut list| {
            list.sort_unstable();
            list.dedup();
            list
        }),
        vec((any::<u16>(), any::<u8>(), 1_u8..=3), 0..90),
        option::of(vec(
            (any::<u16>(), any::<u8>(), any::<bool>(), 0_u32..1 << 24),
            0..50,
        )),
        vec(any::<(u16, u8, u16)>(), 0..60),
        vec((100_u8..200, vec(any::<u8>(), 0..=255)), 0..3),
    );
    let singles = (
        option::of(asn()),
        option::of(restart),
        option::of(any::<u8>()),
        option::of(name),
    );
    (flags, lists, singles).prop_map(
        |(
            (route_refresh, enhanced_refresh, extended_message),
            (families, add_path, long_lived, extended_next_hop, unknown),
            (as4, graceful_restart, role, hostname),
        )| Capabilities {
            families,
            route_refresh,
            enhanced_refresh,
            extended_message,
            as4,
            add_path,
            graceful_restart,
            long_lived,
            extended_next_hop,
            role,
            hostname,
            unknown,
        },
    )
}

fn body(message: &[u8], max_len: usize) -> &[u8] {
    let framed = frame(message, max_len)
        .expect("well-formed")
        .expect("whole");
    assert_eq!(framed.len, message.len());
    framed.body
}

fn canonical_of(attributes: &Attributes) -> Vec<u8> {
    let mut out = Vec::new();
    encode_canonical(attributes, &mut out);
    out
}

const INTERNAL: Egress = Egress {
    as4: true,
    prepend: None,
    keep_local_pref: true,
    set_local_pref: None,
    keep_med: true,
    reflect: None,
    only_to_customer: None,
    foreign: true,
    strip_reflection: false,
};

/// Sends canonical attributes to a peer and reads what arrives.
fn pass(canonical: &[u8], egress: &Egress, ebgp: bool) -> Vec<u8> {
    let mut sent = Vec::new();
    egress_attributes(
        canonical,
        Some(Ipv4Addr::new(192, 0, 2, 1)),
        egress,
        &mut sent,
    );
    let mut there = Vec::new();
    let ctx = DecodeContext {
        as4: egress.as4,
        ebgp,
    };
    let parsed = parse_attributes(&sent, &ctx, true, &mut there);
    assert_eq!(parsed.verdict, Verdict::Ok);
    assert_eq!(parsed.facts, facts_of(&there));
    there
}

/// As a path arrives that was split into segments by habit: neighbouring sequences as one hop
/// list, so that only what it means is compared.
fn hops(path: &[AsSegment]) -> Vec<(u8, Vec<Asn>)> {
    let mut hops: Vec<(u8, Vec<Asn>)> = Vec::new();
    for segment in path {
        let (kind, asns) = match segment {
            AsSegment::Set(asns) => (1, asns),
            AsSegment::Sequence(asns) => (2, asns),
            AsSegment::ConfedSequence(asns) => (3, asns),
            AsSegment::ConfedSet(asns) => (4, asns),
        };
        match hops.last_mut() {
            Some((2, last)) if kind == 2 => last.extend(asns),
            _ => hops.push((kind, asns.clone())),
        }
    }
    hops
}

proptest! {
    #[test]
    fn an_open_reads_as_it_was_written(
        capabilities in capabilities(),
        asn in asn(),
        hold_time in prop_oneof![Just(0_u16), 3..=u16::MAX],
        router_id in router_id(),
    ) {
        // Without the capability an AS number has two octets.
        let asn = capabilities.as4.unwrap_or(Asn(asn.to_u16().into()));
        let open = Open { asn, hold_time, router_id, capabilities };
        let mut out = Vec::new();
        open.encode(&mut out);
        prop_assert_eq!(Open::decode(body(&out, MAX_MESSAGE)), Ok(open));
    }

    #[test]
    fn a_notification_reads_as_it_was_written(code: u8, subcode: u8, data in vec(any::<u8>(), 0..4075)) {
        let notification = Notification::new(code, subcode).with_data(data);
        let mut out = Vec::new();
        notification.encode(&mut out);
        prop_assert_eq!(Notification::decode(body(&out, MAX_MESSAGE)), notification);
    }

    #[test]
    fn a_route_refresh_reads_as_it_was_written(afi: u16, safi: u8, subtype: u8) {
        let refresh = RouteRefresh { afi, safi, subtype };
        let mut out = Vec::new();
        refresh.encode(&mut out);
        prop_assert_eq!(RouteRefresh::decode(body(&out, MAX_MESSAGE)), Ok(refresh));
    }

    #[test]
    fn attributes_read_as_they_were_written(attributes in attributes(confed_path())) {
        let canonical = canonical_of(&attributes);
        prop_assert_eq!(&decode_canonical(&canonical), &attributes);
        prop_assert_eq!(facts_of(&canonical).med, attributes.med);
        // Whatever is appended to is left alone.
        let mut out = vec![1, 2, 3];
        encode_canonical(&attributes, &mut out);
        prop_assert_eq!(out, [&[1, 2, 3], canonical.as_slice()].concat());
    }

    #[test]
    fn attributes_arrive_at_an_internal_peer_as_they_left(attributes in attributes(confed_path())) {
        let there = pass(&canonical_of(&attributes), &INTERNAL, false);
        let mut expected = attributes;
        expected.local_pref.get_or_insert(100);
        for unknown in &mut expected.unknown {
            unknown.flags |= 0x20;
        }
        prop_assert_eq!(decode_canonical(&there), expected);
    }

    #[test]
    fn a_path_survives_an_old_speaker(attributes in attributes(as_path())) {
        let canonical = canonical_of(&attributes);
        let there = pass(&canonical, &Egress { as4: false, ..INTERNAL }, false);
        let (there, expected) = (decode_canonical(&there), attributes);
        prop_assert_eq!(hops(&there.as_path), hops(&expected.as_path));
        prop_assert_eq!(there.aggregator, expected.aggregator);
        prop_assert_eq!(there.communities, expected.communities);
    }

    /// Through a chain of old speakers that each put a two-octet number before the path.
    #[test]
    fn a_path_survives_old_speakers_that_add_themselves(
        attributes in attributes(as_path()),
        added in vec(1_u16..=65_535, 0..4),
    ) {
        let mut sent = Vec::new();
        let old = Egress { prepend: Some(Asn(4_200_000_000)), strip_reflection: true, ..Egress::default() };
        egress_attributes(&canonical_of(&attributes), None, &old, &mut sent);
        // An old speaker changes AS_PATH and passes AS4_PATH on unread.
        let mut passed = Vec::new();
        let mut rest = sent.as_slice();
        while let [flags, code, tail @ ..] = rest {
            let (len, tail) = if flags & 0x10 != 0 {
                (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..])
            } else {
                (usize::from(tail[0]), &tail[1..])
            };
            let mut value = tail[..len].to_vec();
            if *code == 2 {
                for asn in &added {
                    let [high, low] = asn.to_be_bytes();
                    value = [&[2, 1, high, low], value.as_slice()].concat();
                }
            }
            passed.extend(attr(*flags, *code, &value));
            rest = &tail[len..];
        }
        let mut there = Vec::new();
        let ctx = DecodeContext { as4: false, ebgp: true };
        let parsed = parse_attributes(&passed, &ctx, false, &mut there);
        prop_assert_eq!(parsed.verdict, Verdict::Ok);
        let mut expected: Vec<AsSegment> = added
            .iter()
            .rev()
            .map(|asn| AsSegment::Sequence(vec![Asn((*asn).into())]))
            .collect();
        expected.push(AsSegment::Sequence(vec![Asn(4_200_000_000)]));
        expected.extend(attributes.as_path);
        prop_assert_eq!(hops(&decode_canonical(&there).as_path), hops(&expected));
    }

    #[test]
    fn what_arrives_leaves_again_unchanged(
        attributes in attributes(as_path()),
        as4: bool,
        reflect: bool,
    ) {
        let reflect = reflect.then(|| Reflect {
            originator: RouterId::from(0x0101_0101),
            cluster_id: RouterId::from(0x0202_0202),
        });
        let once = pass(&canonical_of(&attributes), &Egress { as4, reflect, ..INTERNAL }, false);
        let again = pass(&once, &Egress { as4, ..INTERNAL }, false);
        prop_assert_eq!(once, again);
    }

    #[test]
    fn an_external_peer_counts_one_hop_more_and_sees_us_first(
        attributes in attributes(as_path()),
        inside in vec(asn(), 0..4),
        own in asn(),
        as4: bool,
    ) {
        // The confederation segments that the path begins with are ours to take away.
        let mut attributes = attributes;
        if !inside.is_empty() {
            attributes.as_path.insert(0, AsSegment::ConfedSet(inside.clone()));
            attributes.as_path.insert(0, AsSegment::ConfedSequence(inside));
        }
        let canonical = canonical_of(&attributes);
        let egress = Egress { as4, prepend: Some(own), strip_reflection: true, ..Egress::default() };
        let there = pass(&canonical, &egress, true);
        let (before, after) = (facts_of(&canonical), facts_of(&there));
        prop_assert_eq!(after.as_path_len, before.as_path_len + 1);
        prop_assert_eq!(after.neighbor_as, own.0);
        prop_assert_eq!((after.med, after.local_pref, after.originator_id), (None, None, None));
    }

    #[test]
    fn ipv4_prefixes_read_as_they_were_written(
        prefixes in vec((prefix4(), any::<u32>()), 0..200),
        add_path: bool,
    ) {
        let mut out = Vec::new();
        for &(prefix, id) in &prefixes {
            put_nlri4(&mut out, prefix, add_path.then_some(id));
        }
        let read: Vec<_> = Nlri4::new(&out, add_path).map(|item| item.expect("well-formed")).collect();
        let expected: Vec<_> =
            prefixes.into_iter().map(|(prefix, id)| (prefix, if add_path { id } else { 0 })).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn ipv6_prefixes_read_as_they_were_written(
        prefixes in vec((prefix6(), any::<u32>()), 0..200),
        add_path: bool,
    ) {
        let mut out = Vec::new();
        for &(prefix, id) in &prefixes {
            put_nlri6(&mut out, prefix, add_path.then_some(id));
        }
        let read: Vec<_> = Nlri6::new(&out, add_path).map(|item| item.expect("well-formed")).collect();
        let expected: Vec<_> =
            prefixes.into_iter().map(|(prefix, id)| (prefix, if add_path { id } else { 0 })).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn updates_carry_all_prefixes_and_all_attributes(
        attributes in attributes(as_path()),
        v4 in vec(prefix4(), 1..900),
        v6 in vec(prefix6(), 1..300),
        hop6: u128,
        link_local: Option<u64>,
        extended: bool,
    ) {
        let max_len = if extended { MAX_EXTENDED } else { MAX_MESSAGE };
        let canonical = canonical_of(&attributes);
        let ctx = DecodeContext { as4: true, ebgp: false };
        let hop4 = Ipv4Addr::new(192, 0, 2, 1);
        let mut attrs = Vec::new();
        egress_attributes(&canonical, Some(hop4), &INTERNAL, &mut attrs);
        let there = pass(&canonical, &INTERNAL, false);
        let mut out = Vec::new();
        let packed = pack_reach4(&mut out, &attrs, v4.iter().map(|p| (*p, None)), max_len);
        let mut again = Vec::new();
        let mut found = Vec::new();
        let mut messages = 0;
        let mut rest = out.as_slice();
        while let Some(message) = frame(rest, max_len).expect("well-formed") {
            let update = RawUpdate::split(message.body).expect("well-formed");
            let parsed = parse_attributes(update.attributes, &ctx, true, &mut again);
            prop_assert_eq!(parsed.next_hop, Some(hop4));
            prop_assert_eq!(&again, &there);
            found.extend(Nlri4::new(update.nlri, false).map(|item| item.expect("well-formed").0));
            messages += 1;
            rest = &rest[message.len..];
        }
        match packed {
            Ok(count) => prop_assert_eq!((count, &found), (messages, &v4)),
            Err(error) => {
                prop_assert!(out.is_empty() && error.attributes + 32 > max_len);
            }
        }
        let next_hop = NextHop {
            addr: IpAddr::V6(Ipv6Addr::from(hop6 >> 3 | 1 << 125)),
            link_local: link_local.map(|id| Ipv6Addr::from(0xFE80 << 112 | u128::from(id))),
        };
        let family = Family::Ipv6Unicast;
        let mut attrs = Vec::new();
        egress_attributes(&canonical, None, &INTERNAL, &mut attrs);
        let mut out = Vec::new();
        let items = v6.iter().map(|p| (Prefix::V6(*p), None));
        let packed = pack_reach_mp(&mut out, &attrs, family, &next_hop, items, max_len);
        let mut found = Vec::new();
        let mut rest = out.as_slice();
        while let Some(message) = frame(rest, max_len).expect("well-formed") {
            let update = RawUpdate::split(message.body).expect("well-formed");
            let parsed = parse_attributes(update.attributes, &ctx, false, &mut again);
            let reach = parsed.reach.expect("packed with it");
            prop_assert_eq!(reach.next_hop, next_hop);
            prop_assert_eq!(&again, &there);
            found.extend(Nlri6::new(reach.nlri, false).map(|item| item.expect("well-formed").0));
            rest = &rest[message.len..];
        }
        match packed {
            Ok(_) => prop_assert_eq!(found, v6),
            Err(error) => {
                prop_assert!(out.is_empty() && error.attributes + 85 > max_len);
            }
        }
    }

    #[test]
    fn any_octets_end_in_a_value_or_an_error(data in vec(any::<u8>(), 0..600)) {
        fuzz::fuzz_one(&data);
    }

    /// Random octets seldom get past the first check; these begin as real attributes.
    #[test]
    fn damaged_attributes_end_in_a_value_or_an_error(
        attributes in attributes(confed_path()),
        nlri in vec(prefix4(), 0..5),
        mode: u8,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let egress = Egress { as4: mode & 1 != 0, ..INTERNAL };
        let mut attrs = Vec::new();
        egress_attributes(&canonical_of(&attributes), Some([192, 0, 2, 1].into()), &egress, &mut attrs);
        for (place, octet) in damage {
            let place = place.index(attrs.len());
            attrs[place] = octet;
        }
        if let Some(cut) = cut {
            attrs.truncate(cut.index(attrs.len()));
        }
        let mut data = vec![mode, 0, 0];
        data.extend_from_slice(&u16::try_from(attrs.len()).unwrap_or(u16::MAX).to_be_bytes());
        data.extend_from_slice(&attrs);
        for prefix in nlri {
            put_nlri4(&mut data, prefix, (mode & 4 != 0).then_some(7));
        }
        fuzz::update(&data);
    }

    #[test]
    fn damaged_opens_end_in_a_value_or_an_error(
        capabilities in capabilities(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let asn = capabilities.as4.unwrap_or(Asn(1));
        let open = Open { asn, hold_time: 90, router_id: RouterId::from(1), capabilities };
        let mut out = Vec::new();
        open.encode(&mut out);
        for (place, octet) in damage {
            let place = place.index(out.len());
            out[place] = octet;
        }
        fuzz::stream(&out);
        fuzz::open(&out[19..]);
    }

    #[test]
    fn octets_that_claim_to_be_canonical_are_read_without_harm(
        attributes in attributes(confed_path()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut canonical = canonical_of(&attributes);
        for (place, octet) in damage {
            let place = place.index(canonical.len());
            canonical[place] = octet;
        }
        fuzz::canonical(&canonical);
    }
}
