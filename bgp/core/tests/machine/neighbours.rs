//! What neighbours do to us, and what we know of the way to them.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, ConnId, ConnInfo, Family, LargeCommunity, Limits, Prefix, RouterId, Speaker, Time,
    config::{PeerConfig, Policy},
    feed::Origination,
    view::{RibKind, RouteQuery},
    wire::{Capabilities, Open, keepalive},
};

use crate::{
    net::{Net, address, config, peer},
    routing::own,
};

fn mark(local1: u32) -> LargeCommunity {
    format!("4200000000:{local1}:7").parse().unwrap()
}

/// A ring of four ASes in which the first hears its own route from the last: it lets its own AS
/// number in once, as hosts that share one must.
fn ring(own_marks: &[LargeCommunity]) -> Net {
    let asns = [65_001, 65_002, 65_003, 65_004];
    let mut configs: Vec<_> = (0..4).map(|n| config(n, asns[n])).collect();
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        configs[a].peers.push(peer(b, asns[b]));
        configs[b].peers.push(peer(a, asns[a]));
    }
    for peer in &mut configs[0].peers {
        peer.allow_own_as = 1;
        if peer.name == "s3" {
            peer.export = Policy::None;
        }
    }
    configs[0].own_marks = own_marks.to_vec();
    Net::new(7, configs)
}

#[test]
fn a_route_of_our_own_that_is_sent_back_is_refused_by_its_marks() {
    let marks = [mark(12), mark(13)];
    for (own_marks, refused) in [(&marks[..0], false), (&marks[..], true)] {
        let mut net = ring(own_marks);
        net.raise();
        let mut route = own("10.1.0.0/24");
        route.large_communities = vec![mark(1), mark(12), mark(13)];
        // Another host's, with one of the two marks: no route of ours.
        let mut other = own("10.1.1.0/24");
        other.large_communities = vec![mark(12)];
        let now = net.now;
        net.speakers[0].originate(now, vec![route]);
        net.speakers[1].originate(now, vec![other]);
        net.run(Duration::from_secs(1));
        let back = net.routes(0, RibKind::In, Some("s3"));
        let back = |prefix: &str| {
            let prefix: Prefix = prefix.parse().unwrap();
            let found = back.iter().find(|route| route.prefix == prefix).unwrap();
            found.refused.clone()
        };
        let why = refused.then(|| "it is a route of our own, sent back".to_owned());
        assert_eq!(back("10.1.0.0/24"), why);
        assert_eq!(back("10.1.1.0/24"), None);
        // Taken back, it does not live on by its echo.
        net.speakers[0].withdraw(net.now, 0, &["10.1.0.0/24".parse().unwrap()]);
        assert!(net.route(0, "10.1.0.0/24").is_none() == refused);
    }
}

#[test]
fn what_a_peer_was_told_is_shown_as_it_was_told() {
    let mut net = Net::graph(8, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2)]);
    net.raise();
    let now = net.now;
    let mut route = own("10.1.0.0/24");
    route.med = Some(50);
    net.speakers[0].originate(now, vec![route, own("2001:db8:1::/48")]);
    net.settle();
    for prefix in ["10.1.0.0/24", "2001:db8:1::/48"] {
        let wanted: Prefix = prefix.parse().unwrap();
        let told = net.routes(1, RibKind::Out, Some("s2"));
        let told = told.iter().find(|route| route.prefix == wanted).unwrap();
        let heard = net.routes(2, RibKind::In, Some("s1"));
        let heard = heard.iter().find(|route| route.prefix == wanted).unwrap();
        assert_eq!(told.as_path, "65002 65001");
        assert_eq!(told.attributes, heard.attributes);
        assert_eq!(told.next_hop, heard.next_hop);
        // Where it came from stays to be seen.
        assert_eq!(told.peer.as_deref(), Some("s0"));
    }
}

#[test]
fn routes_of_a_family_without_an_address_of_ours_are_told_when_there_is_one() {
    let mut net = Net::graph(9, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    let conn = net.conns_of(0, 1)[0];
    let info = |own_v6: Option<&str>| ConnInfo {
        remote: (address(1), 179).into(),
        local: (address(0), 179).into(),
        own_v4: None,
        own_v6: own_v6.map(|text| text.parse().unwrap()),
        link_local: None,
        interface: None,
        link: None,
    };
    assert_eq!(net.speakers[0].undescribed().count(), 0);
    net.speakers[0].described(conn, info(None));
    let now = net.now;
    net.speakers[0].originate(now, vec![own("10.1.0.0/24"), own("2001:db8:1::/48")]);
    net.settle();
    assert!(net.route(1, "10.1.0.0/24").is_some());
    assert!(net.route(1, "2001:db8:1::/48").is_none());
    assert_eq!(net.peer(0, "s1").warnings.len(), 1);
    assert_eq!(net.speakers[0].undescribed().collect::<Vec<_>>(), [conn]);

    net.speakers[0].described(conn, info(Some("2001:db8::1")));
    net.settle();
    let heard = net.route(1, "2001:db8:1::/48").unwrap();
    assert_eq!(heard.next_hop.unwrap().addr.to_string(), "2001:db8::1");
    assert!(net.peer(0, "s1").warnings.is_empty());
    assert_eq!(net.speakers[0].undescribed().count(), 0);
    assert_eq!(net.peer(0, "s1").established_count, 1);
}

#[test]
fn of_several_owners_of_a_prefix_the_highest_rank_speaks_and_the_next_takes_over() {
    let mut net = Net::graph(10, &[65_001, 65_002], &[(0, 1)]);
    let ranked = |rank: u8| {
        let mut route = own("10.1.0.5/32");
        route.rank = rank;
        route.large_communities = vec![mark(rank.into())];
        route
    };
    let prefix: Prefix = "10.1.0.5/32".parse().unwrap();
    net.raise();
    let heard = |net: &mut Net| {
        net.settle();
        let route = net.route(1, "10.1.0.5/32");
        route.map(|route| route.attributes.large_communities)
    };
    let now = net.now;
    net.speakers[0].originate(now, vec![ranked(2), ranked(0)]);
    assert_eq!(heard(&mut net), Some(vec![mark(2)]));
    // What waits may change and go without a word.
    net.speakers[0].originate(now, vec![ranked(1)]);
    net.speakers[0].withdraw(now, 0, &[prefix]);
    assert_eq!(heard(&mut net), Some(vec![mark(2)]));
    net.speakers[0].withdraw(now, 2, &[prefix]);
    assert_eq!(heard(&mut net), Some(vec![mark(1)]));
    net.speakers[0].withdraw(now, 2, &[prefix]);
    assert_eq!(heard(&mut net), Some(vec![mark(1)]));
    net.speakers[0].withdraw(now, 1, &[prefix]);
    assert_eq!(heard(&mut net), None);
}

#[test]
fn every_route_of_our_own_carries_the_marks_also_when_they_change() {
    let mut net = Net::graph(11, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    let now = net.now;
    let mut tagged = own("10.1.0.0/24");
    tagged.large_communities = vec![mark(13)];
    net.speakers[0].originate(now, vec![tagged, own("2001:db8:1::/48")]);
    let mut config = net.speakers[0].config().clone();
    config.own_marks = vec![mark(12), mark(13)];
    net.speakers[0].reconfigure(now, config);
    net.run(Duration::from_secs(30));
    for prefix in ["10.1.0.0/24", "2001:db8:1::/48"] {
        let heard = net.route(1, prefix).unwrap();
        assert_eq!(heard.attributes.large_communities, [mark(12), mark(13)]);
    }
}

/// An UPDATE (RFC 4271, 4.3) for 10.0.0.0/8 with this AS_PATH, as AS_SEQUENCE with four octets each.
fn update(path: &[u32]) -> Vec<u8> {
    let mut as_path = Vec::new();
    if !path.is_empty() {
        as_path.extend([2, u8::try_from(path.len()).unwrap()]);
        as_path.extend(path.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    let mut attributes = vec![0x40, 1, 1, 0];
    attributes.extend([0x40, 2, u8::try_from(as_path.len()).unwrap()]);
    attributes.extend(as_path);
    attributes.extend([0x40, 3, 4, 192, 0, 2, 2]);
    let mut body = vec![0, 0];
    body.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend(attributes);
    body.extend([8, 10]);
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(2);
    message.extend(body);
    message
}

/// A speaker with one passive neighbour in AS 65002, whose session has come up.
fn with_neighbour(
    change: impl FnOnce(&mut PeerConfig),
    limits: Limits,
    routes: Vec<Origination>,
) -> (Speaker, ConnId) {
    let mut config = config(0, 65_001);
    let mut neighbour = peer(1, 65_002);
    neighbour.passive = true;
    change(&mut neighbour);
    config.peers.push(neighbour);
    let mut speaker = Speaker::with_limits(Time(0), config, limits);
    speaker.originate(Time(0), routes);
    let info = crate::net::call(1, 0);
    let conn = speaker.accepted(Time(0), info).unwrap();
    let mut open = Vec::new();
    let capabilities = Capabilities {
        families: vec![(1, 1)],
        as4: Some(Asn(65_002)),
        ..Capabilities::default()
    };
    Open {
        asn: Asn(65_002),
        hold_time: 0,
        router_id: RouterId::from(2),
        capabilities,
    }
    .encode(&mut open);
    open.extend(keepalive());
    speaker.received(Time(0), conn, &open);
    (speaker, conn)
}

/// A transport that takes everything at once says nothing more: what the walk waited for has to lead
/// to the next turn.
#[test]
fn a_walk_goes_on_when_all_that_was_unwritten_has_been_taken() {
    let limits = Limits {
        walk: 1,
        unwritten: 1,
        ..Limits::default()
    };
    let routes = (0..10).map(|n| {
        let mut route = own(&format!("10.1.{n}.0/24"));
        route.large_communities = vec![mark(n)];
        route
    });
    let (mut speaker, conn) = with_neighbour(|_| {}, limits, routes.collect());
    loop {
        let mut more = speaker.turn(Time(0));
        loop {
            let mut slices = Vec::new();
            speaker.output(conn, 64, &mut slices);
            let count = slices.iter().map(|slice| slice.len()).sum();
            if count == 0 {
                break;
            }
            speaker.written(Time(0), conn, count);
        }
        more |= speaker.wants_turn();
        if !more {
            break;
        }
    }
    // One for each route, and the End-of-RIB.
    assert_eq!(speaker.peer_views(Time(0))[0].sent.update, 11);
}

/// RFC 4271, 6.3: "the local system MAY check whether the leftmost AS in the AS_PATH attribute is
/// equal to the autonomous system number of the peer that sent the message".
#[test]
fn a_path_that_does_not_begin_with_the_neighbours_as_is_refused_unless_told_otherwise() {
    for enforced in [true, false] {
        let enforce = |peer: &mut PeerConfig| peer.enforce_first_as = enforced;
        let (mut speaker, conn) = with_neighbour(enforce, Limits::default(), Vec::new());
        for (path, honest) in [
            (&[65_002, 65_009][..], true),
            (&[65_009, 65_002][..], false),
            (&[65_009][..], false),
            (&[][..], false),
        ] {
            speaker.received(Time(0), conn, &update(path));
            let query = RouteQuery::all(RibKind::In, Family::Ipv4Unicast);
            let routes = speaker.routes(Time(0), &query).unwrap().routes;
            assert_eq!(routes.len(), 1);
            let refused = routes[0].refused.is_some();
            assert_eq!(
                refused,
                enforced && !honest,
                "{path:?}: {:?}",
                routes[0].refused
            );
            assert_eq!(routes[0].best, !refused);
        }
    }
}
