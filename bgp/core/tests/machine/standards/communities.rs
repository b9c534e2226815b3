//! Well-known communities (RFC 1997).

use wayleave_bgp_core::{Community, feed::Origination};

use super::stage::{OPTIONAL, OURS, Stage, TRANSITIVE, announce, attr, mandatory};

const COMMUNITIES: u8 = 8;
const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

/// Neighbour 1 is external and announces; 2 is external, 3 internal, 4 internal and a client.
fn stage() -> Stage {
    Stage::up(&[65_002, 65_003, OURS, OURS], |n, peer| {
        peer.reflector_client = n == 4;
    })
}

/// 10.0.0.0/8 of neighbour 1 with these communities.
fn with_communities(communities: &[u32]) -> Vec<u8> {
    let mut attributes = mandatory(1, &[65_002]);
    let value: Vec<u8> = communities.iter().flat_map(|c| c.to_be_bytes()).collect();
    attributes.extend(attr(OPTIONAL | TRANSITIVE, COMMUNITIES, &value));
    announce(10, &attributes)
}

/// RFC 1997, "Well-known Communities": what carries NO_EXPORT "MUST NOT be advertised outside a BGP
/// confederation boundary (a stand-alone autonomous system that is not part of a confederation should
/// be considered a confederation itself)", NO_ADVERTISE "MUST NOT be advertised to other BGP peers",
/// NO_EXPORT_SUBCONFED "MUST NOT be advertised to external BGP peers".
#[test]
fn well_known_communities_keep_a_route_in_the_as_or_here() {
    for (community, external, internal) in [
        (0xffff_0007, true, true),
        (NO_EXPORT, false, true),
        (NO_EXPORT_SUBCONFED, false, true),
        (NO_ADVERTISE, false, false),
    ] {
        let mut stage = stage();
        // Whatever else stands beside it.
        let communities = [0xfde9_0001, community, 0xfde9_0002];
        stage.say(1, &with_communities(&communities));
        for (n, expected) in [(2, external), (3, internal), (4, internal)] {
            let told = stage.told(n);
            let route = told.routes.get("10.0.0.0/8");
            assert_eq!(route.is_some(), expected, "{community:x} to {n}");
            // They stay on it: others are to heed them too.
            if let Some(route) = route {
                let value: Vec<u8> = communities.iter().flat_map(|c| c.to_be_bytes()).collect();
                assert_eq!(route[&COMMUNITIES], (OPTIONAL | TRANSITIVE, value));
            }
        }
        assert_eq!(stage.speaker.view().ipv4_routes, 1, "used here");
    }
}

/// The same for a route that gets or loses the community while others hold it.
#[test]
fn a_route_that_gets_no_export_is_taken_back_outside_and_comes_again_without_it() {
    let mut stage = stage();
    stage.say(1, &with_communities(&[7]));
    for n in [2, 3] {
        assert_eq!(stage.told(n).prefixes(), "10.0.0.0/8");
    }
    stage.say(1, &with_communities(&[7, NO_EXPORT]));
    assert_eq!(stage.told(2).withdrawn, ["10.0.0.0/8"]);
    assert_eq!(stage.told(3).prefixes(), "10.0.0.0/8");
    stage.say(1, &with_communities(&[NO_ADVERTISE]));
    assert!(stage.hear(2).is_empty(), "it holds nothing any more");
    assert_eq!(stage.told(3).withdrawn, ["10.0.0.0/8"]);
    stage.say(1, &with_communities(&[7]));
    for n in [2, 3, 4] {
        assert_eq!(stage.told(n).prefixes(), "10.0.0.0/8");
    }
}

/// RFC 1997 speaks of "routes received"; who gives one of ours the mark means the same.
#[test]
fn a_route_of_our_own_is_kept_in_as_any_other() {
    for (community, external, internal) in [
        (7, true, true),
        (NO_EXPORT, false, true),
        (NO_ADVERTISE, false, false),
    ] {
        let mut stage = stage();
        let mut route = Origination::new("10.0.0.0/8".parse().unwrap());
        route.communities = vec![Community(community)];
        stage.originate(route);
        for (n, expected) in [(1, external), (2, external), (3, internal), (4, internal)] {
            assert_eq!(stage.told(n).prefixes() == "10.0.0.0/8", expected);
        }
    }
}
