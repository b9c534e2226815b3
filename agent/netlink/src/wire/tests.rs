//! What is written by hand, against an independent codec and against itself.

use std::net::IpAddr;

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::route::RouteMessage;
use proptest::{collection::vec, option, prelude::*};

use super::{HEADER, Messages, Writer, nexthop, object, request, route};
use crate::{
    change::Change,
    nexthop::{Member, Nexthop, NexthopId, NexthopTarget},
    object::Object,
    prefix::{Family, Prefix},
    route::{NextHop, NextHops, Protocol, Route, RouteKind},
};

fn ip(v6: bool) -> BoxedStrategy<IpAddr> {
    match v6 {
        true => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
        false => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
    }
}

fn next_hop(route_v6: bool) -> impl Strategy<Value = NextHop> {
    let gateway = any::<bool>().prop_flat_map(move |v6| option::of(ip(route_v6 || v6)));
    (gateway, 1..=u32::MAX, 1..=256_u16, any::<bool>()).prop_map(
        |(gateway, ifindex, weight, onlink)| NextHop {
            gateway,
            ifindex,
            weight,
            onlink,
        },
    )
}

fn routes() -> impl Strategy<Value = Route> {
    let kinds = prop_oneof![
        4 => Just(RouteKind::Unicast),
        1 => Just(RouteKind::Blackhole),
        1 => Just(RouteKind::Unreachable),
        1 => Just(RouteKind::Prohibit),
        1 => Just(RouteKind::Throw),
    ];
    any::<bool>().prop_flat_map(move |v6| {
        let prefix = (ip(v6), 0..=if v6 { 128_u8 } else { 32 });
        let prefix = prefix.prop_map(|(addr, len)| Prefix::new(addr, len).expect("within bounds"));
        let nexthop = option::of((1..=u32::MAX).prop_map(NexthopId));
        (
            (
                prefix,
                1..=u32::MAX,
                any::<u32>(),
                any::<u8>(),
                kinds.clone(),
            ),
            (
                vec(next_hop(v6), 1..5),
                nexthop,
                option::of(ip(v6)),
                any::<u32>(),
            ),
        )
            .prop_map(
                |((prefix, table, metric, protocol, kind), (hops, nexthop, source, mtu))| {
                    let nexthop = nexthop.filter(|_| kind == RouteKind::Unicast);
                    let mut next_hops = NextHops::from(hops);
                    if kind != RouteKind::Unicast || nexthop.is_some() {
                        next_hops = NextHops::NONE;
                    }
                    if let [hop] = &*next_hops {
                        next_hops = NextHop { weight: 1, ..*hop }.into();
                    }
                    Route {
                        prefix,
                        table,
                        metric,
                        protocol: Protocol(protocol),
                        kind,
                        next_hops,
                        nexthop,
                        source,
                        mtu: mtu.try_into().ok(),
                    }
                },
            )
    })
}

fn nexthops() -> impl Strategy<Value = Nexthop> {
    let family = any::<bool>().prop_map(|v6| if v6 { Family::V6 } else { Family::V4 });
    let members = vec((1..=u32::MAX, 1..=65_536_u32), 1..20).prop_map(|members| {
        let member = |(id, weight)| Member {
            id: NexthopId(id),
            weight,
        };
        members.into_iter().map(member).collect::<Vec<_>>()
    });
    let to = prop_oneof![
        (any::<bool>().prop_flat_map(ip), 1..=u32::MAX, any::<bool>()).prop_map(
            |(gateway, ifindex, onlink)| NexthopTarget::Via {
                gateway,
                ifindex,
                onlink
            }
        ),
        (1..=u32::MAX, family.clone())
            .prop_map(|(ifindex, family)| NexthopTarget::Dev { ifindex, family }),
        family.prop_map(|family| NexthopTarget::Blackhole { family }),
        members.clone().prop_map(NexthopTarget::Group),
        (members, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
            |(members, buckets, idle, unbalanced)| NexthopTarget::Resilient {
                members,
                buckets,
                idle,
                unbalanced
            }
        ),
    ];
    (1..=u32::MAX, any::<u8>(), to).prop_map(|(id, protocol, to)| Nexthop {
        id: NexthopId(id),
        protocol: Protocol(protocol),
        to,
    })
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, 0, 0, 0);
    write(&mut writer);
    writer.finish();
    out.split_off(HEADER)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_route_reads_back_as_it_was_written(original in routes()) {
        route::check(&original).expect("can be expressed");
        let bytes = written(|w| route::write(w, &original));
        prop_assert_eq!(route::read(&bytes).expect("readable"), Some(original));
    }

    #[test]
    fn an_independent_codec_reads_the_same_route_and_writes_the_same_bytes(original in routes()) {
        let bytes = written(|w| route::write(w, &original));
        let message = RouteMessage::parse(&bytes).expect("readable");
        let mut again = vec![0; message.buffer_len()];
        message.emit(&mut again);
        // The codec marks the metrics as nested or not as it likes; the kernel does not care.
        let unmarked = |bytes: &[u8]| -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            for at in (12..bytes.len()).step_by(4) {
                if bytes[at + 2..at + 4] == (8_u16 | 0x8000).to_ne_bytes() {
                    bytes[at + 2..at + 4].copy_from_slice(&8_u16.to_ne_bytes());
                }
            }
            bytes
        };
        prop_assert_eq!(unmarked(&again), unmarked(&bytes));
    }

    #[test]
    fn a_nexthop_object_reads_back_as_it_was_written(original in nexthops()) {
        nexthop::check(&original).expect("can be expressed");
        let bytes = written(|w| nexthop::write(w, &original));
        prop_assert_eq!(nexthop::read(&bytes).expect("readable"), Some(original));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400), kind in 16_u16..110) {
        for message in Messages(&bytes) {
            let Ok(message) = message else { break };
            let _answer = super::answer(&message);
            let _object = object(&message);
        }
        let message = super::Message { kind, flags: 0, sequence: 0, port: 7, payload: &bytes };
        let _event = super::event(&message);
    }

    #[test]
    fn a_route_cut_anywhere_or_with_a_flipped_byte_is_read_without_a_panic(
        original in routes(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = written(|w| route::write(w, &original));
        let at = at.index(bytes.len());
        let _cut = route::read(&bytes[..at]);
        bytes[at] = byte;
        let _flipped = route::read(&bytes);
    }
}

#[test]
fn a_batch_of_changes_splits_into_its_messages_again() {
    let prefix: Prefix = "10.0.0.0/8".parse().expect("a prefix");
    let route = Route::blackhole(prefix, Protocol::WAYLEAVE);
    let changes = [
        Change::RouteReplace(route.clone()),
        Change::RouteDelete(route.key()),
        Change::RouteAdd(route.clone()),
    ];
    let mut bytes = Vec::new();
    for (sequence, change) in (1..).zip(&changes) {
        request::change(&mut bytes, change, sequence).expect("can be expressed");
    }
    let messages: Vec<_> = Messages(&bytes)
        .collect::<Result<_, _>>()
        .expect("well formed");
    let kinds: Vec<_> = messages
        .iter()
        .map(|m| (m.kind, m.flags, m.sequence))
        .collect();
    assert_eq!(kinds, [(24, 0x501, 1), (25, 1, 2), (24, 0x601, 3)]);
    assert_eq!(object(&messages[0]), Ok(Some(Object::Route(route))));
}
