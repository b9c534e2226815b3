//! Messages that other daemons made, and what is in them.
//!
//! `data/wire-goldens.json` was captured on loopback from BIRD, GoBGP and FRR, each between four
//! peers: one that feeds it three UPDATEs (see [`fed`]), an external one, one that knows only
//! two-octet AS numbers, and an internal reflection client with ADD-PATH. To add a message, give
//! it `"read": null`: the test that fails then prints what is read, for a person to check.

use serde::Deserialize;
use serde_json::{Value, json};
use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, RouterId,
    attributes::{Aggregator, AsSegment, Attributes, Origin, UnknownAttribute},
    wire::{
        DecodeContext, Egress, MAX_MESSAGE, MessageKind, Nlri4, Nlri6, Notification, Open,
        RawUpdate, RouteRefresh, Verdict, decode_canonical, egress_attributes, frame,
        parse_attributes,
    },
};

use crate::build::hex;

#[derive(Deserialize)]
struct Golden {
    /// Daemon and version.
    from: String,
    /// To whom, and which message of its kind.
    what: String,
    #[serde(default)]
    two_octet: bool,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    add_path: bool,
    hex: String,
    read: Value,
}

impl Golden {
    fn context(&self) -> DecodeContext {
        DecodeContext {
            as4: !self.two_octet,
            ebgp: !self.internal,
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut message = vec![0xFF; 16];
        message.extend_from_slice(&hex(&self.hex));
        message
    }
}

fn goldens() -> Vec<Golden> {
    serde_json::from_str(include_str!("../data/wire-goldens.json")).expect("well-formed JSON")
}

/// Everything in a message, as JSON.
fn read(golden: &Golden) -> Value {
    let message = golden.message();
    let framed = frame(&message, MAX_MESSAGE)
        .expect("well-formed")
        .expect("whole");
    assert_eq!(framed.len, message.len());
    match framed.kind {
        MessageKind::Open => {
            let open = Open::decode(framed.body).expect("well-formed");
            json!({ "open": open, "capabilities": open.capabilities.describe() })
        }
        MessageKind::Update => read_update(golden, framed.body),
        MessageKind::Notification => {
            json!({ "notification": Notification::decode(framed.body).to_string() })
        }
        MessageKind::Keepalive => json!("keepalive"),
        MessageKind::RouteRefresh => {
            json!({ "refresh": RouteRefresh::decode(framed.body).expect("well-formed") })
        }
    }
}

fn read_update(golden: &Golden, body: &[u8]) -> Value {
    let update = RawUpdate::split(body).expect("well-formed");
    let mut canonical = Vec::new();
    let parsed = parse_attributes(
        update.attributes,
        &golden.context(),
        !update.nlri.is_empty(),
        &mut canonical,
    );
    let mut out = json!({ "verdict": parsed.verdict.name() });
    let prefixes4 = |field| -> Vec<Value> {
        Nlri4::new(field, golden.add_path)
            .map(|item| item.expect("well-formed"))
            .map(|(prefix, id)| with_id(prefix.to_string(), id))
            .collect()
    };
    let prefixes = |afi, safi, field| match Family::from_code(afi, safi) {
        Some(Family::Ipv4Unicast) => prefixes4(field),
        Some(Family::Ipv6Unicast) => Nlri6::new(field, golden.add_path)
            .map(|item| item.expect("well-formed"))
            .map(|(prefix, id)| with_id(prefix.to_string(), id))
            .collect(),
        None => panic!("no daemon was asked for AFI {afi}, SAFI {safi}"),
    };
    for (name, field) in [("withdrawn", update.withdrawn), ("announced", update.nlri)] {
        if !field.is_empty() {
            out[name] = prefixes4(field).into();
        }
    }
    if let Some(next_hop) = parsed.next_hop {
        out["next_hop"] = json!(next_hop);
    }
    if let Some(reach) = parsed.reach {
        out["reach"] = json!({
            "next_hop": reach.next_hop,
            "announced": prefixes(reach.afi, reach.safi, reach.nlri),
        });
    }
    if let Some(unreach) = parsed.unreach {
        out["unreach"] = json!({
            "family": [unreach.afi, u16::from(unreach.safi)],
            "withdrawn": prefixes(unreach.afi, unreach.safi, unreach.nlri),
        });
    }
    if !canonical.is_empty() {
        out["attributes"] = json!(decode_canonical(&canonical));
    }
    out
}

fn with_id(prefix: String, id: u32) -> Value {
    match id {
        0 => json!(prefix),
        id => json!(format!("{prefix} path {id}")),
    }
}

#[test]
fn what_other_daemons_say_is_understood() {
    let goldens = goldens();
    assert!(goldens.len() > 80, "the captures of three daemons");
    for golden in &goldens {
        let found = read(golden);
        assert_eq!(
            found, golden.read,
            "{}, {}: found {found:#}",
            golden.from, golden.what
        );
    }
}

/// The route that was fed, with every attribute that a stock daemon passes on.
fn fed(daemon: Option<Asn>) -> Attributes {
    let path = [65_002, 4_200_000_001, 64_999].map(Asn);
    Attributes {
        origin: Origin::Egp,
        as_path: vec![
            AsSegment::Sequence(daemon.into_iter().chain(path).collect()),
            AsSegment::Set(vec![Asn(64_500), Asn(4_200_000_002)]),
        ],
        atomic_aggregate: true,
        aggregator: Some(Aggregator {
            asn: Asn(4_200_000_001),
            router_id: RouterId([192, 0, 2, 9].into()),
        }),
        communities: vec![Community(65_002 << 16 | 1), Community(65_002 << 16 | 2)],
        extended_communities: vec![[0, 2, 0xFD, 0xEA, 0, 0, 0, 100]],
        large_communities: vec![
            LargeCommunity {
                global: 65_002,
                local1: 1,
                local2: 2,
            },
            LargeCommunity {
                global: 4_200_000_001,
                local1: 3,
                local2: 4,
            },
        ],
        unknown: vec![UnknownAttribute {
            code: 99,
            flags: 0xE0,
            value: vec![0xDE, 0xAD, 0xBE, 0xEF],
        }],
        ..Attributes::default()
    }
}

/// Not compared with what was read before, but with what went in: whoever re-encoded the route,
/// and with AS numbers of whatever width.
#[test]
fn a_route_comes_through_every_daemon_as_it_was_fed() {
    let mut seen = Vec::new();
    for golden in goldens() {
        let message = golden.message();
        let framed = frame(&message, MAX_MESSAGE)
            .expect("well-formed")
            .expect("whole");
        if framed.kind != MessageKind::Update {
            continue;
        }
        let update = RawUpdate::split(framed.body).expect("well-formed");
        let mut canonical = Vec::new();
        let announces = !update.nlri.is_empty();
        let parsed = parse_attributes(
            update.attributes,
            &golden.context(),
            announces,
            &mut canonical,
        );
        let mut found = decode_canonical(&canonical);
        if found.communities.first() != Some(&Community(65_002 << 16 | 1)) {
            continue;
        }
        assert_eq!(parsed.verdict, Verdict::Ok);
        let own = if golden.from.starts_with("GoBGP") {
            // GoBGP 3 does not set the Partial bit on what it does not know (RFC 4271, 5).
            for unknown in &mut found.unknown {
                assert_eq!(unknown.flags, 0xC0);
                unknown.flags |= 0x20;
            }
            Asn(64_512)
        } else {
            Asn(4_200_000_100)
        };
        let mut expected = fed((!golden.internal).then_some(own));
        if golden.internal {
            expected.local_pref = Some(100);
            expected.med = Some(77);
            // Reflection is said by one of the daemons only: the others count the feeder as the
            // origin of an external route.
            expected.originator_id = found.originator_id;
            expected.cluster_list.clone_from(&found.cluster_list);
        }
        assert_eq!(found, expected, "{}, {}", golden.from, golden.what);
        seen.push((
            golden.from.clone(),
            golden.two_octet,
            golden.internal,
            announces,
        ));
        // And what we would send of it to a peer of the same kind reads the same.
        let egress = Egress {
            as4: !golden.two_octet,
            keep_local_pref: golden.internal,
            keep_med: true,
            ..Egress::default()
        };
        let mut sent = Vec::new();
        egress_attributes(&canonical, parsed.next_hop, &egress, &mut sent);
        let mut there = Vec::new();
        let again = parse_attributes(&sent, &golden.context(), announces, &mut there);
        assert_eq!(again.verdict, Verdict::Ok);
        let mut there = decode_canonical(&there);
        for unknown in &mut there.unknown {
            assert_eq!(unknown.flags, 0xE0, "we do set the Partial bit");
        }
        there.unknown.clone_from(&found.unknown);
        assert_eq!(there, found);
        // BIRD writes attributes as we do: sorted, with the shortest length.
        if golden.from.starts_with("BIRD") && announces {
            assert_eq!(sent, update.attributes, "{}", golden.what);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen.len(),
        3 * 3 * 2,
        "three daemons, three peers, two families: {seen:?}"
    );
}

#[test]
fn what_is_read_of_an_open_is_written_and_read_again() {
    let mut opens = 0;
    for golden in goldens() {
        let message = golden.message();
        let framed = frame(&message, MAX_MESSAGE)
            .expect("well-formed")
            .expect("whole");
        if framed.kind == MessageKind::Open {
            let open = Open::decode(framed.body).expect("well-formed");
            let mut out = Vec::new();
            open.encode(&mut out);
            let again = frame(&out, MAX_MESSAGE)
                .expect("well-formed")
                .expect("whole");
            assert_eq!(Open::decode(again.body), Ok(open), "{}", golden.from);
            opens += 1;
        }
    }
    assert!(opens >= 9, "each daemon says several: {opens}");
}
