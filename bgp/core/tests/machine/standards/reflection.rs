//! Route reflection (RFC 4456).

use std::time::Duration;

use wayleave_bgp_core::{config::NextHopSelf, feed::Origination, view::RibKind};

use super::stage::{
    OPTIONAL, OURS, PARTIAL, Stage, TRANSITIVE, announce, as_path, attr, mandatory,
};

const LOCAL_PREF: u8 = 5;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;

/// Neighbours 1 and 2 are clients, 3 and 4 internal without being clients, 5 and 6 external.
fn stage() -> Stage {
    let asns = [OURS, OURS, OURS, OURS, 65_002, 65_003];
    Stage::up(&asns, |n, peer| peer.reflector_client = n <= 2)
}

/// RFC 4456, 6: "A route from a Non-Client IBGP peer: Reflect to all the Clients. A route from a
/// Client peer: Reflect to all the Non-Client peers and also to the Client peers." RFC 4271, 9.2:
/// a route from an internal peer goes to no other internal one, those of external peers go to all.
#[test]
fn clients_routes_go_to_all_and_those_of_others_to_clients_and_outside() {
    for (from, expected) in [
        (0, &[1, 2, 3, 4, 5, 6][..]),
        (1, &[2, 3, 4, 5, 6]),
        (3, &[1, 2, 5, 6]),
        (5, &[1, 2, 3, 4, 6]),
    ] {
        let mut stage = stage();
        match from {
            0 => stage.originate(Origination::new("10.0.0.0/8".parse().unwrap())),
            5 => stage.say(5, &announce(10, &mandatory(5, &[65_002]))),
            _ => stage.say(from, &announce(10, &mandatory(from, &[65_009]))),
        }
        let told: Vec<usize> = (1..=6)
            .filter(|&n| stage.told(n).prefixes() == "10.0.0.0/8")
            .collect();
        assert_eq!(told, expected, "from {from}");
    }
}

/// RFC 4456, 8: the reflector creates ORIGINATOR_ID, which "will carry the BGP Identifier of the
/// originator of the route in the local AS", and "MUST prepend the local CLUSTER_ID to the
/// CLUSTER_LIST. If the CLUSTER_LIST is empty, it MUST create a new one." 10: "when a RR reflects a
/// route, it SHOULD NOT modify the following path attributes: NEXT_HOP, AS_PATH, LOCAL_PREF, and MED."
#[test]
fn a_reflected_route_is_the_one_that_came_with_originator_and_cluster_added() {
    let optional = OPTIONAL | TRANSITIVE;
    let known = [
        attr(TRANSITIVE, 1, &[2]),
        as_path(&[65_009, 4_200_000_009]),
        attr(TRANSITIVE, 3, &[198, 51, 100, 7]),
        attr(OPTIONAL, 4, &[0, 0, 0, 50]),
        attr(TRANSITIVE, LOCAL_PREF, &[0, 0, 0, 222]),
        attr(TRANSITIVE, 6, &[]),
        attr(optional, 7, &[0, 0, 0xfd, 0xf1, 198, 51, 100, 8]),
        attr(optional, 8, &[0xfd, 0xe9, 0, 7]),
        attr(optional, 16, &[0, 2, 0xfd, 0xe9, 0, 0, 0, 9]),
        attr(optional, 32, &[0, 0, 0xfd, 0xe9, 0, 0, 0, 1, 0, 0, 0, 2]),
    ];
    for (originator, clusters) in [(None, &[][..]), (Some(9), &[0, 0, 0, 77, 0, 0, 0, 78])] {
        let mut stage = Stage::with(&[OURS, OURS], |config| {
            config.cluster_id = Some(99.into());
            config.peers[0].reflector_client = true;
        });
        stage.raise();
        let mut attributes = known.concat();
        if let Some(originator) = originator {
            attributes.extend(attr(OPTIONAL, ORIGINATOR_ID, &[0, 0, 0, originator]));
            attributes.extend(attr(OPTIONAL, CLUSTER_LIST, clusters));
        }
        stage.say(1, &announce(10, &attributes));
        let told = stage.told(2);
        let route = &told.routes["10.0.0.0/8"];
        // The identifier of neighbour 1 is 0.0.0.2.
        let originator = vec![0, 0, 0, originator.unwrap_or(2)];
        let clusters = [&[0, 0, 0, 99], clusters].concat();
        let mut expected: Vec<u8> = known[..8].concat();
        expected.extend(attr(OPTIONAL, ORIGINATOR_ID, &originator));
        expected.extend(attr(OPTIONAL, CLUSTER_LIST, &clusters));
        expected.extend(known[8..].concat());
        let told = route
            .iter()
            .flat_map(|(&code, (flags, value))| attr(*flags, code, value));
        assert_eq!(told.collect::<Vec<u8>>(), expected);
    }
}

/// Both attributes are optional and non-transitive: they have no meaning outside the AS (RFC 4456, 8).
#[test]
fn originator_and_cluster_list_do_not_leave_the_as() {
    let mut stage = stage();
    let mut attributes = mandatory(3, &[65_009]);
    attributes.extend(attr(OPTIONAL, ORIGINATOR_ID, &[0, 0, 0, 9]));
    attributes.extend(attr(OPTIONAL, CLUSTER_LIST, &[0, 0, 0, 77]));
    stage.say(3, &announce(10, &attributes));
    let told = stage.told(5);
    let codes: Vec<u8> = told.routes["10.0.0.0/8"].keys().copied().collect();
    assert_eq!(codes, [1, 2, 3]);
}

/// RFC 4456, 8: "A router that recognizes the ORIGINATOR_ID attribute SHOULD ignore a route received
/// with its BGP Identifier as the ORIGINATOR_ID", and "If the local CLUSTER_ID is found in the
/// CLUSTER_LIST, the advertisement received SHOULD be ignored."
#[test]
fn our_own_identifier_and_our_own_cluster_in_a_route_refuse_it() {
    let own_cluster = |stage: &mut Stage, list: &[u8]| {
        let mut attributes = mandatory(3, &[65_009]);
        attributes.extend(attr(OPTIONAL, CLUSTER_LIST, list));
        stage.say(3, &announce(10, &attributes));
    };
    let refused = |stage: &Stage| {
        let routes = stage.routes(RibKind::In, 3);
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].best, routes[0].refused.is_none());
        routes[0].refused.clone().unwrap_or_default()
    };
    let mut stage = stage();
    for (originator, ours) in [(9, false), (1, true), (2, false)] {
        let mut attributes = mandatory(3, &[65_009]);
        attributes.extend(attr(OPTIONAL, ORIGINATOR_ID, &[0, 0, 0, originator]));
        stage.say(3, &announce(10, &attributes));
        assert_eq!(refused(&stage).contains("ORIGINATOR_ID"), ours);
        assert_eq!(stage.told(1).prefixes().is_empty(), ours);
    }
    // Without a number of its own the cluster has the reflector's identifier.
    for (list, ours) in [
        (&[0, 0, 0, 77][..], false),
        (&[0, 0, 0, 77, 0, 0, 0, 1, 0, 0, 0, 78], true),
        (&[0, 0, 0, 77, 0, 0, 1, 0, 0, 0, 1, 0], false),
        (&[0, 0, 0, 1], true),
    ] {
        own_cluster(&mut stage, list);
        assert_eq!(refused(&stage).contains("CLUSTER_LIST"), ours, "{list:?}");
        assert_eq!(stage.told(1).prefixes().is_empty(), ours);
    }
    // With one, its identifier in the list means nothing.
    let mut config = stage.speaker.config().clone();
    config.cluster_id = Some(99.into());
    stage.speaker.reconfigure(stage.now, config);
    stage.pass(Duration::from_secs(5));
    stage.establish(3);
    for (list, ours) in [(&[0, 0, 0, 1][..], false), (&[0, 0, 0, 99], true)] {
        own_cluster(&mut stage, list);
        assert_eq!(refused(&stage).contains("CLUSTER_LIST"), ours, "{list:?}");
    }
}

/// RFC 4271, 5 knows no exception for reflectors: what is unknown, optional and transitive passes with
/// the Partial bit set.
#[test]
fn a_reflector_passes_on_what_it_does_not_know_as_anybody_does() {
    let mut stage = stage();
    let mut attributes = mandatory(1, &[65_009]);
    attributes.extend(attr(OPTIONAL | TRANSITIVE, 200, &[1, 2, 3]));
    stage.say(1, &announce(10, &attributes));
    let told = stage.told(2);
    let flags = OPTIONAL | TRANSITIVE | PARTIAL;
    assert_eq!(told.routes["10.0.0.0/8"][&200], (flags, vec![1, 2, 3]));
}

/// Our own address as next hop where the AS begins, and the one that was set there where it is passed
/// on within: RFC 4456, 10 would have reflection change nothing else.
#[test]
fn an_own_next_hop_is_for_external_routes_alone_or_for_reflected_ones_too() {
    let own = [192, 0, 2, 1];
    for (choice, of_external, of_internal) in [
        (NextHopSelf::Never, [192, 0, 2, 2], [192, 0, 2, 3]),
        (NextHopSelf::External, own, [192, 0, 2, 3]),
        (NextHopSelf::Always, own, own),
    ] {
        let mut stage = Stage::up(&[65_002, OURS, OURS], |n, peer| {
            peer.reflector_client = n > 1;
            peer.next_hop_self = choice;
        });
        stage.say(1, &announce(10, &mandatory(1, &[65_002])));
        stage.say(2, &announce(11, &mandatory(2, &[65_009])));
        let told = stage.told(3);
        assert_eq!(told.routes["10.0.0.0/8"][&3].1, of_external, "{choice:?}");
        assert_eq!(told.routes["11.0.0.0/8"][&3].1, of_internal, "{choice:?}");
    }
}
