//! Messages as objects: what holds for all of them, and for all octets.

use std::net::IpAddr;

use proptest::{collection::vec, option, prelude::*};
use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, Prefix, RouterId,
    attributes::{Aggregator, AsSegment, Origin},
    message::{
        Capability, Decoded, FamilyCode, FamilyEntry, Hex, HexStream, Mode, MpReach, MpUnreach,
        Notification, Open, Options, Other, Outcome, PathAttributes, PathPrefix, RouteRefresh,
        Update, decode, encode,
    },
    types::{ExtendedCommunity, Ipv6ExtendedCommunity},
    wire::{MessageKind, fuzz},
};

use crate::build::attr;

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), any::<[bool; 2]>()).prop_map(|(as4, ebgp, add_path)| Options {
        as4,
        ebgp,
        add_path,
        // What is made below may be longer than 4096 octets.
        extended: true,
        extended_next_hop: false,
    })
}

fn asn(as4: bool) -> BoxedStrategy<Asn> {
    if as4 {
        prop_oneof![1_u32..65_536, any::<u32>()]
            .prop_map(Asn)
            .boxed()
    } else {
        (0_u32..65_536).prop_map(Asn).boxed()
    }
}

fn path(as4: bool) -> impl Strategy<Value = Vec<AsSegment>> {
    let segment = prop_oneof![
        4 => vec(asn(as4), 1..=6).prop_map(AsSegment::Sequence),
        1 => vec(asn(as4), 255).prop_map(AsSegment::Sequence),
        1 => vec(asn(as4), 1..=4).prop_map(AsSegment::Set),
        1 => vec(asn(as4), 1..=4).prop_map(AsSegment::ConfedSequence),
        1 => vec(asn(as4), 1..=4).prop_map(AsSegment::ConfedSet),
    ];
    vec(segment, 0..4)
}

fn prefixes(family: Family, options: Options) -> impl Strategy<Value = Vec<PathPrefix>> {
    let add_path = options.add_path[family.index()];
    let prefix = move |(addr, len, id): (u128, u8, u32)| {
        let addr = match family {
            Family::Ipv4Unicast => IpAddr::from(((addr >> 96) as u32).to_be_bytes()),
            Family::Ipv6Unicast => IpAddr::from(addr.to_be_bytes()),
        };
        let most = if addr.is_ipv4() { 33 } else { 129 };
        PathPrefix {
            prefix: Prefix::new(addr, len % most),
            path_id: add_path.then_some(id),
        }
    };
    vec(
        (any::<u128>(), any::<u8>(), any::<u32>()).prop_map(prefix),
        0..6,
    )
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)]
}

fn hex(most: usize) -> impl Strategy<Value = Hex> {
    vec(any::<u8>(), 0..most).prop_map(Hex)
}

fn reach(options: Options) -> impl Strategy<Value = MpReach> {
    let ours = family().prop_flat_map(move |family| {
        let v6 = vec(
            any::<u128>().prop_map(|addr| IpAddr::from(addr.to_be_bytes())),
            1..=2,
        );
        let hops = match family {
            Family::Ipv4Unicast => {
                let v4 = any::<[u8; 4]>().prop_map(|addr| vec![IpAddr::from(addr)]);
                prop_oneof![v4, v6].boxed()
            }
            Family::Ipv6Unicast => v6.boxed(),
        };
        (prefixes(family, options), hops).prop_map(move |(nlri, next_hops)| MpReach {
            family: family.into(),
            next_hops,
            next_hop_hex: None,
            nlri,
            nlri_unread: None,
        })
    });
    let other = (3_u16.., any::<u8>(), hex(30), vec(any::<u8>(), 1..30)).prop_map(
        |(afi, safi, hop, nlri)| MpReach {
            family: FamilyCode { afi, safi },
            next_hops: Vec::new(),
            next_hop_hex: Some(hop),
            nlri: Vec::new(),
            nlri_unread: Some(Hex(nlri)),
        },
    );
    prop_oneof![4 => ours, 1 => other]
}

fn attributes(options: Options) -> impl Strategy<Value = PathAttributes> {
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let aggregator = |as4: bool| {
        (asn(as4), any::<u32>()).prop_map(|(asn, id)| Aggregator {
            asn,
            router_id: RouterId::from(id),
        })
    };
    let base = (
        option::of(origin),
        option::of(path(options.as4)),
        option::of(any::<[u8; 4]>()),
        any::<[Option<u32>; 4]>(),
        any::<bool>(),
        option::of(aggregator(options.as4)),
        option::of(path(true)),
        option::of(aggregator(true)),
    );
    let large = any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
        global,
        local1,
        local2,
    });
    let lists = (
        vec(any::<u32>().prop_map(Community), 0..80),
        vec(any::<u32>().prop_map(RouterId::from), 0..4),
        vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..4),
        vec(any::<[u8; 20]>().prop_map(Ipv6ExtendedCommunity), 0..3),
        vec(large, 0..4),
    );
    let unreach = family().prop_flat_map(move |family| {
        prefixes(family, options).prop_map(move |nlri| MpUnreach {
            family: family.into(),
            nlri,
            nlri_unread: None,
        })
    });
    // Codes without a field; each of them once is enough here.
    let other = (
        prop_oneof![Just(99_u8), Just(22), Just(26), Just(128)],
        any::<u8>(),
        hex(300),
    )
        .prop_map(|(code, flags, hex)| Other {
            code,
            name: None,
            flags: flags & 0xEF,
            hex,
        });
    let rest = (
        option::of(reach(options)),
        option::of(unreach),
        option::of(other),
        any::<bool>(),
        option::of(Just(Hex(vec![0xC0, 99, 200, 1]))),
    );
    (base, lists, rest).prop_map(|(base, lists, rest)| {
        let (origin, as_path, next_hop, numbers, atomic, aggregator, as4_path, as4_aggregator) =
            base;
        let [med, local_pref, originator_id, customer] = numbers;
        let (communities, clusters, extended, ipv6_extended, large_communities) = lists;
        let (mp_reach, mp_unreach, other, partial, overrun) = rest;
        let mut marked = Vec::new();
        if partial {
            marked.extend((!communities.is_empty()).then_some("COMMUNITIES"));
            marked.extend(as4_path.is_some().then_some("AS4_PATH"));
            marked.extend((!large_communities.is_empty()).then_some("LARGE_COMMUNITY"));
        }
        PathAttributes {
            origin,
            as_path,
            next_hop: next_hop.map(Into::into),
            med,
            local_pref,
            atomic_aggregate: atomic,
            aggregator,
            communities,
            originator_id: originator_id.map(RouterId::from),
            cluster_list: clusters,
            mp_reach,
            mp_unreach,
            extended_communities: extended,
            as4_path,
            as4_aggregator,
            ipv6_extended_communities: ipv6_extended,
            large_communities,
            only_to_customer: customer.map(Asn),
            partial: marked.into_iter().map(str::to_owned).collect(),
            other: other.into_iter().collect(),
            overrun,
        }
    })
}

fn update() -> impl Strategy<Value = (Options, Update)> {
    options().prop_flat_map(|options| {
        let v4 = || prefixes(Family::Ipv4Unicast, options);
        // 200 bits are no prefix, with or without a path identifier before them.
        let unread = || option::of(Just(Hex(vec![200; 5])));
        (v4(), unread(), attributes(options), v4(), unread()).prop_map(
            move |(withdrawn, withdrawn_unread, attributes, nlri, nlri_unread)| {
                let update = Update {
                    withdrawn,
                    withdrawn_unread,
                    attributes,
                    nlri,
                    nlri_unread,
                    end_of_rib: None,
                };
                (options, update)
            },
        )
    })
}

fn capability() -> impl Strategy<Value = Capability> {
    let family = (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| FamilyCode { afi, safi });
    let entry = (
        family.clone(),
        any::<bool>(),
        0_u32..1 << 24,
        any::<u16>(),
        0..3_u8,
    );
    let entries = vec(entry, 0..4);
    let word = "[a-z0-9-]{0,20}";
    let plain = (prop_oneof![Just(2_u8), Just(6), Just(70)]).prop_map(|code| Capability {
        code,
        ..Capability::default()
    });
    let unknown = (
        prop_oneof![Just(0_u8), 100_u8..=127, 200_u8..=255],
        hex(256),
    );
    let unknown = unknown.prop_map(|(code, hex)| Capability {
        code,
        hex: Some(hex),
        ..Capability::default()
    });
    let listed = (
        prop_oneof![Just(5_u8), Just(64), Just(69), Just(71)],
        entries,
    );
    let listed = listed.prop_map(|(code, entries)| Capability {
        code,
        restarting: (code == 64).then_some(true),
        notification: (code == 64).then_some(false),
        time: (code == 64).then_some(4095),
        families: Some(
            entries
                .into_iter()
                .map(|(family, forwarding, stale_time, afi, mode)| FamilyEntry {
                    family,
                    mode: (code == 69).then_some(match mode {
                        0 => Mode::Receive,
                        1 => Mode::Send,
                        _ => Mode::SendReceive,
                    }),
                    next_hop_afi: (code == 5).then_some(afi),
                    forwarding: matches!(code, 64 | 71).then_some(forwarding),
                    stale_time: (code == 71).then_some(stale_time),
                })
                .collect(),
        ),
        ..Capability::default()
    });
    prop_oneof![
        plain,
        unknown,
        listed,
        family.prop_map(|family| Capability {
            code: 1,
            family: Some(family),
            ..Capability::default()
        }),
        any::<u32>().prop_map(|asn| Capability {
            code: 65,
            asn: Some(Asn(asn)),
            ..Capability::default()
        }),
        Just(Capability {
            code: 9,
            role: Some("customer".to_owned()),
            ..Capability::default()
        }),
        (word, word).prop_map(|(host, domain)| Capability {
            code: 73,
            host: Some(host),
            domain: Some(domain),
            ..Capability::default()
        }),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    let fixed = (any::<u8>(), any::<u16>(), any::<u16>(), any::<[u8; 4]>());
    (fixed, vec(capability(), 0..8)).prop_map(|(fixed, capabilities)| {
        let (version, my_as, hold_time, identifier) = fixed;
        Open {
            version,
            my_as,
            asn: None,
            hold_time,
            identifier: identifier.into(),
            capabilities,
            parameters: None,
        }
    })
}

/// Makes a message of an object, and reads it.
fn there_and_back(message: &Decoded, options: &Options) -> Decoded {
    let mut octets = Vec::new();
    if let Err(error) = encode(message, options, &mut octets) {
        panic!("{error}: {message:?}");
    }
    let read = decode(&octets, options).expect("a whole message");
    // And through JSON, as the commands pass it on.
    let json = serde_json::to_string(&read).expect("plain data");
    assert!(!json.contains('\n'));
    let again: Decoded = serde_json::from_str(&json).expect("what was written can be read");
    assert_eq!(again, read);
    let mut remade = Vec::new();
    encode(&again, options, &mut remade).expect("what was read can be made");
    assert_eq!(remade, octets, "an object stands for one message");
    read
}

fn of(kind: MessageKind) -> Decoded {
    Decoded {
        kind: Some(kind),
        ..Decoded::default()
    }
}

proptest! {
    #[test]
    fn what_is_made_of_an_update_reads_the_same((options, content) in update()) {
        let message = Decoded { update: Some(content.clone()), ..of(MessageKind::Update) };
        let mut read = there_and_back(&message, &options).update.expect("content");
        // These follow from the others, or are not there at all.
        read.end_of_rib = None;
        for other in &mut read.attributes.other {
            other.name = None;
        }
        prop_assert_eq!(read, content);
    }

    #[test]
    fn what_is_made_of_an_open_reads_the_same(content in open()) {
        let message = Decoded { open: Some(content.clone()), ..of(MessageKind::Open) };
        let mut read = there_and_back(&message, &Options::default()).open.expect("content");
        read.asn = None;
        for capability in &mut read.capabilities {
            capability.name = None;
        }
        prop_assert_eq!(read, content);
    }

    #[test]
    fn what_is_made_of_a_notification_reads_the_same(
        code in any::<u8>(),
        subcode in any::<u8>(),
        data in hex(300),
    ) {
        let content = Notification { code, subcode, data: Some(data), ..Notification::default() };
        let message = Decoded {
            notification: Some(content.clone()),
            ..of(MessageKind::Notification)
        };
        let read = there_and_back(&message, &Options::default());
        prop_assert_eq!(read.verdict, Outcome::Ok);
        let read = read.notification.expect("content");
        prop_assert_eq!(
            (read.code, read.subcode, read.data),
            (content.code, content.subcode, content.data)
        );
    }

    #[test]
    fn what_is_made_of_a_refresh_reads_the_same(
        afi in any::<u16>(),
        safi in any::<u8>(),
        subtype in any::<u8>(),
        more in vec(any::<u8>(), 0..20),
    ) {
        let content = RouteRefresh {
            family: FamilyCode { afi, safi },
            subtype,
            subtype_name: None,
            more: (!more.is_empty()).then_some(Hex(more)),
        };
        let message = Decoded {
            route_refresh: Some(content.clone()),
            ..of(MessageKind::RouteRefresh)
        };
        let mut read = there_and_back(&message, &Options::default()).route_refresh.expect("content");
        read.subtype_name = None;
        prop_assert_eq!(read, content);
    }

    #[test]
    fn any_octets_become_objects_or_a_rest(data in vec(any::<u8>(), 0..300)) {
        fuzz::decoded(&data);
    }

    /// Headers and lengths that fit, so that more than the header is reached.
    #[test]
    fn any_bodies_become_objects(
        mode in any::<u8>(),
        bodies in vec((1_u8..=5, vec(any::<u8>(), 0..120)), 1..4),
    ) {
        let mut data = vec![mode];
        for (kind, body) in bodies {
            data.extend(framed(kind, &body));
        }
        fuzz::decoded(&data);
    }

    /// Attributes that fit too.
    #[test]
    fn any_attributes_become_objects(
        mode in any::<u8>(),
        withdrawn in vec(any::<u8>(), 0..8),
        list in vec(
            (
                prop_oneof![Just(0x40_u8), Just(0x80), Just(0xC0), Just(0xD0), any::<u8>()],
                prop_oneof![1_u8..=40, any::<u8>()],
                vec(prop_oneof![0_u8..5, any::<u8>()], 0..50),
            ),
            0..12,
        ),
        nlri in vec(any::<u8>(), 0..8),
    ) {
        let attributes: Vec<u8> =
            list.iter().flat_map(|(flags, code, value)| attr(*flags, *code, value)).collect();
        let mut data = vec![mode];
        data.extend(framed(2, &body(&withdrawn, &attributes, &nlri)));
        fuzz::decoded(&data);
    }

    #[test]
    fn a_stream_of_text_gives_what_the_octets_give(
        mode in any::<u8>(),
        bodies in vec((1_u8..=6, vec(any::<u8>(), 0..40)), 1..4),
        width in 1_usize..100,
    ) {
        let octets: Vec<u8> = bodies.iter().flat_map(|(kind, body)| framed(*kind, body)).collect();
        let options = Options { as4: mode & 1 == 0, ..Options::default() };
        let mut whole = Vec::new();
        let mut rest = &octets[..];
        while let wayleave_bgp_core::message::Step::Message(decoded, taken) =
            wayleave_bgp_core::message::next(rest, &options, true)
        {
            whole.push(*decoded);
            rest = &rest[taken..];
        }
        let text = Hex(octets.clone()).to_string();
        let mut stream = HexStream::new(options);
        let mut read = Vec::new();
        for line in text.as_bytes().chunks(width) {
            prop_assert!(stream.push(line).is_ok());
            read.extend(stream.by_ref());
        }
        stream.end();
        read.extend(stream.by_ref());
        prop_assert_eq!(stream.rest().is_ok(), rest.is_empty());
        prop_assert_eq!(read, whole);
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    let len = u16::try_from(19 + body.len()).expect("a test's message fits");
    out.extend_from_slice(&len.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

fn body(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let field = |octets: &[u8]| {
        let len = u16::try_from(octets.len()).expect("a test's field fits");
        [&len.to_be_bytes(), octets].concat()
    };
    [&field(withdrawn)[..], &field(attributes), nlri].concat()
}
