use std::time::Duration;

use wayleave_bgp_core::{
    Family, Prefix,
    attributes::AsSegment,
    config::Policy,
    feed::{FeedEvent, Origination},
    view::RibKind,
};

use crate::net::{Net, config, peer};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn own(prefix: &str) -> Origination {
    Origination::new(prefix.parse().unwrap())
}

fn originate(net: &mut Net, n: usize, prefixes: &[&str]) {
    let routes = prefixes.iter().map(|prefix| own(prefix)).collect();
    let now = net.now;
    net.speakers[n].originate(now, routes);
}

#[test]
fn a_route_crosses_two_as_borders_with_its_communities_and_a_longer_path() {
    let mut net = Net::graph(1, &[65_001, 65_002, 4_200_000_003], &[(0, 1), (1, 2)]);
    net.raise();
    let now = net.now;
    let mut route = own("10.1.0.0/24");
    route.communities = vec!["65001:7".parse().unwrap()];
    route.large_communities = vec!["4200000000:1:2".parse().unwrap()];
    route.med = Some(50);
    net.speakers[0].originate(now, vec![route, own("2001:db8:1::/48")]);
    net.settle();
    let seen = net.route(2, "10.1.0.0/24").unwrap();
    assert_eq!(seen.as_path, "65002 65001");
    assert_eq!(seen.attributes.communities, ["65001:7".parse().unwrap()]);
    assert_eq!(
        seen.attributes.large_communities,
        ["4200000000:1:2".parse().unwrap()]
    );
    assert_eq!(
        seen.attributes.med, None,
        "MED does not go past the neighbouring AS"
    );
    assert_eq!(
        net.route(1, "10.1.0.0/24").unwrap().attributes.med,
        Some(50)
    );
    assert_eq!(seen.next_hop.unwrap().addr.to_string(), "192.0.2.2");
    let v6 = net.route(2, "2001:db8:1::/48").unwrap();
    assert_eq!(v6.next_hop.unwrap().addr.to_string(), "2001:db8::2");
    let now = net.now;
    net.speakers[0].withdraw(net.now, 0, &["10.1.0.0/24".parse().unwrap()]);
    net.now = now;
    net.settle();
    assert!(net.route(2, "10.1.0.0/24").is_none());
    assert!(net.route(2, "2001:db8:1::/48").is_some());
}

#[test]
fn a_late_joiner_gets_everything_and_its_end_of_rib() {
    let mut net = Net::graph(2, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2)]);
    net.cut(1, 2);
    net.run(5 * SECOND);
    let prefixes: Vec<String> = (0..3_000)
        .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256))
        .collect();
    let texts: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    originate(&mut net, 0, &texts);
    net.settle();
    assert!(net.prefixes(2).is_empty());
    net.heal();
    net.raise();
    net.settle();
    assert_eq!(net.prefixes(2).len(), 3_000);
    let view = net.peer(2, "s1");
    assert!(view.ipv4.unwrap().end_of_rib && view.ipv6.unwrap().end_of_rib);
    assert_eq!(net.peer(1, "s2").ipv4.unwrap().advertised, 3_000);
    for (a, b) in [(0, 1), (1, 2)] {
        let sent = net.peer(a, &format!("s{b}")).sent.update;
        assert_eq!(sent, net.peer(b, &format!("s{a}")).received.update);
        assert!(sent > 2);
    }
}

#[test]
fn ibgp_routes_go_to_clients_of_a_reflector_and_to_nobody_else() {
    let asns = [65_000; 4];
    let mut net = Net::graph(3, &asns, &[(0, 1), (0, 2), (0, 3)]);
    let mut hub = net.speakers[0].config().clone();
    hub.peers[0].reflector_client = true; // s1 is a client, s2 and s3 are not
    net.raise();
    let now = net.now;
    net.speakers[0].reconfigure(now, hub);
    originate(&mut net, 1, &["10.1.0.0/24"]);
    originate(&mut net, 2, &["10.2.0.0/24"]);
    net.settle();
    let text = |net: &Net, n| {
        net.prefixes(n)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(text(&net, 1), "10.1.0.0/24 10.2.0.0/24");
    assert_eq!(text(&net, 2), "10.1.0.0/24 10.2.0.0/24");
    assert_eq!(
        text(&net, 3),
        "10.1.0.0/24",
        "a non-client's route stays off a non-client"
    );
    let seen = net.route(3, "10.1.0.0/24").unwrap();
    assert_eq!(
        seen.attributes.originator_id.unwrap().to_string(),
        "0.0.0.2"
    );
    assert_eq!(seen.attributes.cluster_list.len(), 1);
    assert_eq!(seen.attributes.local_pref, Some(100));
    assert_eq!(
        seen.next_hop.unwrap().addr.to_string(),
        "192.0.2.2",
        "unchanged when reflected"
    );
}

#[test]
fn a_loop_is_refused_and_says_why() {
    // A ring of three: every route comes back to its origin.
    let mut net = Net::graph(4, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2), (2, 0)]);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    net.settle();
    let at_origin = net.routes(0, RibKind::In, None);
    assert_eq!(
        at_origin.len(),
        0,
        "split horizon: nobody sends a route to where it came from"
    );
    assert_eq!(net.routes(2, RibKind::In, None).len(), 2);
    // Two hosts in one AS behind a router that is in another: the AS path loops.
    let mut net = Net::graph(5, &[65_001, 65_002, 65_001], &[(0, 1), (1, 2)]);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    net.settle();
    assert!(net.prefixes(2).is_empty());
    let refused = net.routes(2, RibKind::In, None);
    assert!(
        refused[0].refused.as_deref().unwrap().contains("our AS"),
        "{refused:?}"
    );
    let mut config = net.speakers[2].config().clone();
    config.peers[0].allow_own_as = 1;
    let now = net.now;
    net.speakers[2].reconfigure(now, config);
    net.raise();
    net.settle();
    assert_eq!(net.prefixes(2).len(), 1);
}

#[test]
fn the_best_path_moves_and_moves_back_and_everybody_hears_of_it() {
    // s3 hears 10.1.0.0/24 from s1 (short) and s2 (by a detour), and tells s4.
    let asns = [65_001, 65_002, 65_003, 65_004, 65_005];
    let mut net = Net::graph(6, &asns, &[(0, 1), (0, 2), (2, 4), (4, 3), (1, 3)]);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    net.settle();
    assert_eq!(net.route(3, "10.1.0.0/24").unwrap().as_path, "65002 65001");
    assert_eq!(net.routes(3, RibKind::In, None).len(), 2);
    // The private withdrawal: s1 held what s3 told it of the detour? It did not: s1 is closer.
    net.cut(0, 1);
    net.reset(0, 1);
    net.settle();
    assert_eq!(
        net.route(3, "10.1.0.0/24").unwrap().as_path,
        "65005 65003 65001"
    );
    assert_eq!(
        net.route(1, "10.1.0.0/24").unwrap().as_path,
        "65004 65005 65003 65001"
    );
    net.heal();
    net.run(30 * SECOND);
    assert_eq!(net.route(3, "10.1.0.0/24").unwrap().as_path, "65002 65001");
    assert_eq!(net.route(1, "10.1.0.0/24").unwrap().as_path, "65001");
    let held: Vec<_> = net.routes(1, RibKind::In, Some("s3"));
    assert!(
        held.is_empty(),
        "s3 took back what it learned from s1 now: {held:?}"
    );
}

#[test]
fn without_a_policy_nothing_passes_in_either_direction() {
    let mut net = Net::graph(7, &[65_001, 65_002], &[(0, 1)]);
    let mut config = net.speakers[1].config().clone();
    config.peers[0].import = Policy::None;
    config.peers[0].export = Policy::None;
    let now = net.now;
    net.speakers[1].reconfigure(now, config);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    originate(&mut net, 1, &["10.2.0.0/24"]);
    net.settle();
    assert_eq!(net.prefixes(0).len(), 1);
    assert_eq!(net.prefixes(1).len(), 1);
    assert_eq!(net.peer(1, "s0").ipv4.unwrap().received, 1);
    assert_eq!(net.peer(1, "s0").ipv4.unwrap().accepted, 0);
}

#[test]
fn only_what_lies_within_the_pools_is_accepted_and_only_own_routes_leave_a_host() {
    let mut configs = vec![config(0, 65_001), config(1, 65_002), config(2, 65_003)];
    configs[0].peers.push(peer(1, 65_002));
    configs[2].peers.push(peer(1, 65_002));
    let mut host = |n: usize, asn| {
        let mut peer = peer(n, asn);
        peer.import = Policy::Within(vec!["10.0.0.0/8".parse().unwrap()]);
        peer.export = Policy::Own;
        configs[1].peers.push(peer);
    };
    host(0, 65_001);
    host(2, 65_003);
    let mut net = Net::new(8, configs);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24", "172.16.0.0/12", "0.0.0.0/0"]);
    originate(&mut net, 1, &["10.2.0.0/24"]);
    net.settle();
    let texts = |n| {
        net.prefixes(n)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(1), ["10.1.0.0/24", "10.2.0.0/24"]);
    assert_eq!(texts(2), ["10.2.0.0/24"]);
}

#[test]
fn a_peer_past_its_maximum_prefix_is_closed_and_its_routes_go() {
    let mut net = Net::graph(9, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2)]);
    let mut config = net.speakers[1].config().clone();
    config.peers[0].max_prefixes = Some(10);
    let now = net.now;
    net.speakers[1].reconfigure(now, config);
    net.raise();
    let prefixes: Vec<String> = (0..11).map(|n| format!("10.0.{n}.0/24")).collect();
    let texts: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    originate(&mut net, 0, &texts);
    net.settle();
    let why = net.peer(0, "s1").last_error.unwrap();
    assert!(why.contains("6/1"), "{why}");
    assert!(net.prefixes(1).is_empty() && net.prefixes(2).is_empty());
}

#[test]
fn a_feed_gives_the_whole_picture_then_changes_and_says_when_it_is_in_sync() {
    let mut net = Net::graph(10, &[65_001, 65_002], &[(0, 1)]);
    originate(&mut net, 0, &["10.1.0.0/24"]);
    let feed = net.speakers[1].subscribe();
    let drain = |net: &mut Net| {
        let mut events = Vec::new();
        let now = net.now;
        while let Some(event) = net.speakers[1].poll_feed(now, feed, 2) {
            events.push(event);
        }
        events
    };
    assert!(
        drain(&mut net).is_empty(),
        "not in sync before the peer has spoken"
    );
    net.raise();
    net.settle();
    let events = drain(&mut net);
    assert!(
        matches!(&events[..], [FeedEvent::Changes(changes), FeedEvent::InSync(_), FeedEvent::InSync(_)]
            if changes.len() == 1 && changes[0].route.is_some()),
        "{events:?}"
    );
    let prefixes = ["10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"];
    originate(&mut net, 0, &prefixes);
    net.settle();
    let now = net.now;
    net.speakers[0].withdraw(
        net.now,
        0,
        &[
            "10.1.0.0/24".parse().unwrap(),
            "10.3.0.0/24".parse().unwrap(),
        ],
    );
    net.now = now;
    net.settle();
    // The reader was away: it hears of 10.3 only that it is not there.
    let mut last = std::collections::BTreeMap::<Prefix, bool>::new();
    for event in drain(&mut net) {
        if let FeedEvent::Changes(changes) = event {
            for change in changes {
                last.insert(change.prefix, change.route.is_some());
            }
        }
    }
    let there: Vec<String> = last
        .iter()
        .filter(|(_, there)| **there)
        .map(|(prefix, _)| prefix.to_string())
        .collect();
    assert_eq!(there, ["10.2.0.0/24", "10.4.0.0/24"]);
    assert_eq!(last.get(&"10.1.0.0/24".parse().unwrap()), Some(&false));
}

#[test]
fn a_feed_that_is_told_everything_again_still_hears_of_what_has_gone() {
    let mut net = Net::graph(14, &[65_001, 65_002], &[(0, 1)]);
    let feed = net.speakers[1].subscribe();
    net.raise();
    let prefixes = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"];
    originate(&mut net, 0, &prefixes);
    net.settle();
    let mut held = std::collections::BTreeSet::new();
    let mut drain = |net: &mut Net, most: usize, times: usize| {
        let now = net.now;
        for _ in 0..times {
            let event = net.speakers[1].poll_feed(now, feed, most);
            if let Some(FeedEvent::Changes(changes)) = event {
                for change in changes {
                    if change.route.is_some() {
                        held.insert(change.prefix);
                    } else {
                        held.remove(&change.prefix);
                    }
                }
            }
        }
        held.len()
    };
    assert_eq!(drain(&mut net, 10, 5), 3);
    // One goes before everything is to be told again, and is not heard of yet; one goes in between.
    let now = net.now;
    net.speakers[0].withdraw(now, 0, &[prefixes[0].parse().unwrap()]);
    net.settle();
    let mut config = net.speakers[1].config().clone();
    config.multipath = 8;
    let now = net.now;
    net.speakers[1].reconfigure(now, config);
    drain(&mut net, 1, 1);
    let now = net.now;
    net.speakers[0].withdraw(now, 0, &[prefixes[2].parse().unwrap()]);
    net.settle();
    assert_eq!(drain(&mut net, 1, 20), 1);
    assert_eq!(held.into_iter().next(), Some(prefixes[1].parse().unwrap()));
}

/// A speaker with two ways, equally good, to another one.
fn diamond(seed: u64) -> Net {
    let mut net = Net::graph(
        seed,
        &[65_001, 65_002, 65_002, 65_004],
        &[(0, 1), (0, 2), (1, 3), (2, 3)],
    );
    let mut config = net.speakers[3].config().clone();
    config.multipath = 8;
    let now = net.now;
    net.speakers[3].reconfigure(now, config);
    net
}

#[test]
fn whoever_only_forwards_hears_the_same_paths_and_those_that_go_one_way_share_them() {
    let mut net = diamond(13);
    let (whole, forwarding) = (net.speakers[3].subscribe(), net.speakers[3].subscribe());
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24", "10.2.0.0/24"]);
    originate(&mut net, 1, &["10.3.0.0/24"]);
    originate(&mut net, 3, &["10.4.0.0/24"]);
    net.settle();
    let now = net.now;
    let mut expected = std::collections::BTreeMap::new();
    let mut heard = std::collections::BTreeMap::new();
    while let Some(event) = net.speakers[3].poll_feed(now, whole, 100) {
        if let FeedEvent::Changes(changes) = event {
            expected.extend(changes.into_iter().map(|c| (c.prefix, c.route.unwrap())));
        }
    }
    while let Some(event) = net.speakers[3].poll_forwarding(now, forwarding, 100) {
        if let FeedEvent::Changes(changes) = event {
            heard.extend(changes.into_iter().map(|c| (c.prefix, c.route.unwrap())));
        }
    }
    assert_eq!(heard.len(), 4);
    for (prefix, route) in &expected {
        assert_eq!(*route.paths, *heard[prefix].paths, "{prefix}");
    }
    let [one, two, three] = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]
        .map(|prefix| &heard[&prefix.parse().unwrap()].paths);
    assert_eq!(one.len(), 2);
    assert!(std::sync::Arc::ptr_eq(one, two));
    assert!(!std::sync::Arc::ptr_eq(one, three));
}

#[test]
fn multipath_hands_over_equal_paths_and_drops_one_that_goes() {
    let mut net = diamond(11);
    let feed = net.speakers[3].subscribe();
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    net.settle();
    let last = |net: &mut Net| {
        let mut paths = 0;
        let now = net.now;
        while let Some(event) = net.speakers[3].poll_feed(now, feed, 100) {
            if let FeedEvent::Changes(changes) = event {
                paths = changes[0]
                    .route
                    .as_ref()
                    .map_or(0, |route| route.paths.len());
            }
        }
        paths
    };
    assert_eq!(last(&mut net), 2);
    net.cut(2, 3);
    net.reset(2, 3);
    net.settle();
    assert_eq!(last(&mut net), 1);
}

#[test]
fn a_slow_reader_ends_with_the_final_table_and_holds_nobody_up() {
    let mut net = Net::graph(
        12,
        &[65_001, 65_002, 65_003, 65_004],
        &[(0, 1), (1, 2), (1, 3)],
    );
    net.raise();
    net.deaf.push(2);
    net.write_limit = 10_000;
    let prefix = |n: u32| format!("10.{}.{}.0/24", n / 256 % 256, n % 256);
    for round in 0..40_u32 {
        let routes = (0..4_000_u32)
            .map(|n| {
                let mut route = own(&prefix(n));
                // A different set for every route and round: the log fills quickly.
                route.large_communities = (0..12)
                    .map(|k| format!("65000:{round}:{}", n * 16 + k).parse().unwrap())
                    .collect();
                route
            })
            .collect();
        let now = net.now;
        net.speakers[0].originate(now, routes);
        net.settle();
    }
    let gone: Vec<Prefix> = (0..2_000).map(|n| prefix(n).parse().unwrap()).collect();
    net.speakers[0].withdraw(net.now, 0, &gone);
    net.settle();
    assert_eq!(
        net.prefixes(3).len(),
        2_000,
        "the quick reader has the final table"
    );
    assert!(net.prefixes(2).len() < 4_000 || net.route(2, &prefix(3_999)).is_some());
    net.deaf.clear();
    net.write_limit = usize::MAX;
    net.settle();
    let compare = |n: usize| {
        let routes = net.routes(n, RibKind::Loc, None).into_iter();
        routes
            .map(|route| (route.prefix, route.attributes))
            .collect::<Vec<_>>()
    };
    assert_eq!(compare(2), compare(3));
    assert_eq!(net.peer(1, "s2").established_count, 1);
}

#[test]
fn the_path_that_won_and_the_one_that_lost_say_why() {
    let mut net = Net::graph(13, &[65_001, 65_002, 65_003], &[(0, 1), (1, 2), (0, 2)]);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    net.settle();
    let routes = net.routes(2, RibKind::In, None);
    let [direct, detour] = &routes[..] else {
        panic!("{routes:?}")
    };
    assert!(
        direct.best && direct.reason == "shorter AS_PATH",
        "{}",
        direct.reason
    );
    assert_eq!(detour.reason, "the best has: shorter AS_PATH");
    assert!(
        matches!(&direct.attributes.as_path[..], [AsSegment::Sequence(path)] if path.len() == 1)
    );
}

#[test]
fn policy_that_changes_is_applied_to_what_is_held_without_touching_the_session() {
    let mut net = Net::graph(
        14,
        &[65_001, 65_002, 65_003, 65_004],
        &[(0, 1), (1, 2), (1, 3)],
    );
    net.raise();
    originate(
        &mut net,
        0,
        &["10.1.0.0/24", "10.2.0.0/24", "2001:db8:1::/48"],
    );
    net.settle();
    let within = |prefix: &str| Policy::Within(vec![prefix.parse().unwrap()]);
    let change = |net: &mut Net, peer: usize, import: Policy, export: Policy| {
        let mut config = net.speakers[1].config().clone();
        config.peers[peer].import = import;
        config.peers[peer].export = export;
        let now = net.now;
        let done = net.speakers[1].reconfigure(now, config);
        net.settle();
        done
    };
    let texts = |net: &Net, n| {
        net.prefixes(n)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        change(&mut net, 1, Policy::All, within("10.1.0.0/16")),
        ["peer s2: policy changed, session kept"]
    );
    assert_eq!(texts(&net, 2), "10.1.0.0/24");
    assert_eq!(texts(&net, 3), "10.1.0.0/24 10.2.0.0/24 2001:db8:1::/48");
    change(&mut net, 1, Policy::All, within("10.2.0.0/16"));
    assert_eq!(texts(&net, 2), "10.2.0.0/24");
    change(&mut net, 0, within("10.1.0.0/16"), Policy::All);
    assert_eq!(texts(&net, 1), "10.1.0.0/24");
    assert_eq!(texts(&net, 2), "");
    assert_eq!(texts(&net, 3), "10.1.0.0/24");
    assert_eq!(net.peer(1, "s0").ipv4.unwrap().accepted, 1);
    change(&mut net, 0, Policy::All, Policy::All);
    change(&mut net, 1, Policy::All, Policy::All);
    assert_eq!(texts(&net, 2), "10.1.0.0/24 10.2.0.0/24 2001:db8:1::/48");
    for (n, peer) in [(1, "s0"), (1, "s2"), (1, "s3"), (2, "s1")] {
        assert_eq!(net.peer(n, peer).established_count, 1);
    }
}

#[test]
fn what_carries_services_passes_only_between_peers_that_may_carry_them() {
    let mut configs: Vec<_> = (0..4).map(|n| config(n, 65_001 + n as u32)).collect();
    for config in &mut configs {
        config.discovery = Some(4_200_000_000);
    }
    // 0 - 1 - 2 carry services; 3 is an outside peer of 1, and says what it likes.
    for (a, b, discovery) in [(0, 1, true), (1, 2, true), (1, 3, false)] {
        for (from, to) in [(a, b), (b, a)] {
            let mut peer = peer(to, 65_001 + to as u32);
            peer.discovery = discovery || from == 3;
            configs[from].peers.push(peer);
        }
    }
    let mut net = Net::new(15, configs);
    net.raise();
    let marked = |prefix: &str| {
        let mut route = own(prefix);
        route.large_communities = vec!["4200000000:1:0".parse().unwrap()];
        route
    };
    let now = net.now;
    net.speakers[0].originate(now, vec![marked("10.1.0.1/32"), own("10.1.0.0/26")]);
    net.speakers[3].originate(now, vec![marked("10.3.0.1/32"), own("10.3.0.0/26")]);
    net.settle();
    let texts = |n| {
        net.prefixes(n)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(2), ["10.1.0.0/26", "10.1.0.1/32", "10.3.0.0/26"]);
    assert_eq!(texts(3), ["10.1.0.0/26", "10.3.0.0/26", "10.3.0.1/32"]);
    let refused = net.routes(1, RibKind::In, Some("s3"));
    let why = refused
        .iter()
        .find_map(|route| route.refused.clone())
        .unwrap();
    assert!(why.contains("services"), "{why}");
}

#[test]
fn local_pref_travels_inside_the_as_and_stays_there() {
    let mut net = Net::graph(16, &[65_001, 65_001, 65_002], &[(0, 1), (1, 2)]);
    net.raise();
    let mut route = own("10.1.0.0/24");
    route.local_pref = Some(250);
    let now = net.now;
    net.speakers[0].originate(now, vec![route, own("10.2.0.0/24")]);
    net.settle();
    let seen = |n: usize, prefix| net.route(n, prefix).unwrap().attributes.local_pref;
    assert_eq!(seen(1, "10.1.0.0/24"), Some(250));
    assert_eq!(seen(1, "10.2.0.0/24"), Some(100));
    assert_eq!(seen(2, "10.1.0.0/24"), None);
}

/// A ROUTE-REFRESH for unicast routes of an address family (RFC 2918, 3).
fn refresh(afi: u8) -> Vec<u8> {
    [&[0xff; 16][..], &[0, 23, 5, 0, afi, 0, 1]].concat()
}

#[test]
fn a_refresh_on_a_session_of_one_family_is_answered_and_then_there_is_nothing_left_to_do() {
    let asns = [65_001, 65_002];
    let mut configs: Vec<_> = (0..2).map(|n| config(n, asns[n])).collect();
    for (n, other) in [(0, 1), (1, 0)] {
        let mut peer = peer(other, asns[other]);
        peer.families = vec![Family::Ipv4Unicast];
        configs[n].peers.push(peer);
    }
    let mut net = Net::new(1, configs);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24", "2001:db8:1::/48"]);
    net.settle();
    let (conn, now) = (net.conns_of(0, 1)[0], net.now);
    let before = net.speakers[1].peer_views(now)[0].received.update;
    net.speakers[0].received(now, conn, &refresh(1));
    net.settle();
    let after = net.speakers[1].peer_views(now)[0].received.update;
    assert_eq!(after, before + 1, "the route is sent again");
    assert_eq!(net.prefixes(1), ["10.1.0.0/24".parse().unwrap()]);
}

#[test]
fn a_route_that_appears_while_the_walk_is_busy_with_the_other_family_is_told() {
    let mut net = Net::graph(1, &[65_001, 65_002], &[(0, 1)]);
    net.raise();
    originate(&mut net, 0, &["10.1.0.0/24"]);
    let many = (0..20_000_u32).map(|n| own(&format!("2001:db8:{:x}:{n:x}::/64", n >> 16)));
    let now = net.now;
    net.speakers[0].originate(now, many.collect());
    net.settle();
    // More than socket and buffer hold is under way to a reader that does not read.
    net.deaf.push(1);
    let conn = net.conns_of(0, 1)[0];
    net.speakers[0].received(now, conn, &refresh(2));
    net.settle();
    originate(&mut net, 0, &["10.2.0.0/24"]);
    net.speakers[0].withdraw(net.now, 0, &["10.1.0.0/24".parse().unwrap()]);
    net.settle();
    net.deaf.clear();
    net.settle();
    assert!(net.route(1, "10.2.0.0/24").is_some(), "told of the new one");
    assert!(
        net.route(1, "10.1.0.0/24").is_none(),
        "and that the old one is gone"
    );
    assert_eq!(net.prefixes(1).len(), 20_001);
}
