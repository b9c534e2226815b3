//! Roles and routes for customers only (RFC 9234).

use wayleave_bgp_core::{
    config::BgpRole,
    view::{RibKind, State},
    wire::keepalive,
};

use super::stage::{OPEN, OPTIONAL, Stage, TRANSITIVE, announce, attr, mandatory};

const ONLY_TO_CUSTOMER: u8 = 35;
const ALL: [BgpRole; 5] = [
    BgpRole::Provider,
    BgpRole::RouteServer,
    BgpRole::RouteServerClient,
    BgpRole::Customer,
    BgpRole::Peer,
];

fn otc(asn: u32) -> Vec<u8> {
    attr(OPTIONAL | TRANSITIVE, ONLY_TO_CUSTOMER, &asn.to_be_bytes())
}

/// A speaker that is this to neighbours 1, 2, ... in AS 65002, 65003, ...
fn stage(roles: &[Option<BgpRole>]) -> Stage {
    let asns: Vec<u32> = (65_002..).take(roles.len()).collect();
    Stage::up(&asns, |n, peer| peer.bgp_role = roles[n - 1])
}

/// 4.2 and Table 2: which pairs there may be, and what becomes of the others.
#[test]
fn roles_fit_each_other_or_there_is_no_session() {
    for ours in ALL {
        for theirs in (0..=6).map(Some).chain([None]) {
            for strict in [false, true] {
                let mut stage = Stage::new(&[65_002], |_, peer| {
                    (peer.bgp_role, peer.bgp_role_strict) = (Some(ours), strict);
                });
                assert!(stage.call(1));
                let (kind, open) = &stage.hear(1)[0];
                assert_eq!(*kind, OPEN);
                let said = [9, 1, ours as u8];
                assert!(open.windows(3).any(|part| part == said), "{open:?}");
                let open = stage.open_with(1, |open| open.capabilities.role = theirs);
                stage.say(1, &open);
                let fits = match (ours as u8, theirs) {
                    (_, None) => !strict,
                    (ours, Some(theirs)) => {
                        [(0, 3), (3, 0), (1, 2), (2, 1), (4, 4)].contains(&(ours, theirs))
                    }
                };
                if fits {
                    stage.say(1, &keepalive());
                    assert_eq!(stage.view(1).state, State::Established);
                } else {
                    let said = stage.last_word(1);
                    assert_eq!((said.code, said.subcode), (2, 11), "{ours:?} {theirs:?}");
                }
            }
        }
    }
}

/// Inside of an AS there are no roles.
#[test]
fn an_internal_neighbour_is_told_no_role() {
    let mut stage = Stage::new(&[65_001], |_, peer| {
        peer.bgp_role = Some(BgpRole::Customer);
        peer.bgp_role_strict = true;
        peer.remote_as = wayleave_bgp_core::config::RemoteAs::Internal;
    });
    assert!(stage.call(1));
    let open = stage.hear(1).remove(0).1;
    assert!(!open.windows(3).any(|part| part == [9, 1, 3]), "{open:?}");
    let open = stage.open(1);
    stage.say(1, &open);
    stage.say(1, &keepalive());
    assert_eq!(stage.view(1).state, State::Established);
}

/// 5, ingress: what leaks is not eligible, and what has to be marked is.
#[test]
fn what_comes_in_is_marked_or_refused_by_whom_it_comes_from() {
    const THEIRS: u32 = 65_002;
    for (ours, marked, expected) in [
        // From a customer or a client nothing comes that is for customers only.
        (BgpRole::Provider, Some(65_009), None),
        (BgpRole::RouteServer, Some(THEIRS), None),
        (BgpRole::Provider, None, Some(None)),
        (BgpRole::RouteServer, None, Some(None)),
        // From a peer only what that has marked itself.
        (BgpRole::Peer, Some(65_009), None),
        (BgpRole::Peer, Some(THEIRS), Some(Some(THEIRS))),
        (BgpRole::Peer, None, Some(Some(THEIRS))),
        (BgpRole::Customer, None, Some(Some(THEIRS))),
        (BgpRole::Customer, Some(65_009), Some(Some(65_009))),
        (BgpRole::RouteServerClient, None, Some(Some(THEIRS))),
    ] {
        // Somebody without a role sees what has become of it.
        let mut stage = stage(&[Some(ours), None]);
        let mark = marked.map(otc).unwrap_or_default();
        stage.say(1, &announce(10, &[mandatory(1, &[THEIRS]), mark].concat()));
        let route = &stage.routes(RibKind::In, 1)[0];
        match (&route.refused, expected) {
            (Some(why), None) => assert!(why.contains("RFC 9234, 5"), "{why}"),
            (None, Some(mark)) => {
                let told = stage.told(2);
                let value = told.routes["10.0.0.0/8"].get(&ONLY_TO_CUSTOMER);
                let value = value.map(|(_, value)| value.clone());
                assert_eq!(
                    value,
                    mark.map(|asn: u32| asn.to_be_bytes().to_vec()),
                    "{ours:?} {marked:?}"
                );
            }
            other => panic!("{ours:?} {marked:?}: {other:?}"),
        }
    }
}

/// 5, egress: a mark is put on towards customers, peers and clients, and what has one goes to customers
/// and clients alone.
#[test]
fn what_leaves_is_marked_or_kept_back_by_whom_it_goes_to() {
    let roles: Vec<_> = ALL.into_iter().map(Some).collect();
    let mut stage = stage(&[&[None], &roles[..]].concat());
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.say(
        1,
        &announce(11, &[mandatory(1, &[65_002]), otc(65_077)].concat()),
    );
    for (n, role) in (2..).zip(ALL) {
        let told = stage.told(n);
        let mark = |prefix: &str| {
            let set = told.routes.get(prefix)?;
            Some(set.get(&ONLY_TO_CUSTOMER).map(|(_, value)| value.clone()))
        };
        let ours = Some(65_001_u32.to_be_bytes().to_vec());
        let theirs = Some(65_077_u32.to_be_bytes().to_vec());
        let expected = match role {
            BgpRole::Provider | BgpRole::RouteServer => (Some(ours), Some(theirs)),
            BgpRole::Peer => (Some(ours), None),
            BgpRole::Customer | BgpRole::RouteServerClient => (Some(None), None),
        };
        assert_eq!(
            (mark("10.0.0.0/8"), mark("11.0.0.0/8")),
            expected,
            "{role:?}"
        );
    }
}

/// What it is told of is 4 octets; anything else withdraws the route.
#[test]
fn a_mark_of_another_length_withdraws_the_route() {
    let mut stage = stage(&[None]);
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    let bad = attr(OPTIONAL | TRANSITIVE, ONLY_TO_CUSTOMER, &[0, 0, 1]);
    stage.say(1, &announce(10, &[mandatory(1, &[65_002]), bad].concat()));
    assert!(stage.routes(RibKind::In, 1).is_empty());
    assert_eq!(stage.view(1).state, State::Established);
}

/// 4.2: "in strict mode [...] the receipt" of a role is required, also of a neighbour that says that it
/// knows no capabilities.
#[test]
fn a_strict_speaker_does_without_no_role() {
    let mut stage = Stage::new(&[65_002], |_, peer| {
        (peer.bgp_role, peer.bgp_role_strict) = (Some(BgpRole::Customer), true);
    });
    assert!(stage.call(1));
    let mut refusal = Vec::new();
    wayleave_bgp_core::wire::Notification::new(2, 4).encode(&mut refusal);
    stage.say(1, &refusal);
    stage.pass(std::time::Duration::from_secs(300));
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| {
        open.capabilities = wayleave_bgp_core::wire::Capabilities::default();
    });
    stage.say(1, &open);
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (2, 11));
}
