//! What must not pass the border of an AS, and what is believed from beyond it.

use wayleave_bgp_core::{
    config::RemoteAs,
    view::{RibKind, State},
};

use super::stage::{
    OPTIONAL, OURS, Stage, TRANSITIVE, UPDATE, announce, as_path, attr, mandatory, message,
};

/// RFC 8950, 4: an IPv6 next hop of an IPv4 prefix has to be agreed upon.
#[test]
fn an_ipv6_next_hop_for_ipv4_that_was_not_agreed_on_is_refused() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    let mut attributes = [attr(TRANSITIVE, 1, &[0]), as_path(&[65_002])].concat();
    let mut reach = vec![0, 1, 1, 16];
    reach.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    reach.extend([0, 8, 10]);
    attributes.extend(attr(OPTIONAL, 14, &reach));
    let mut body = vec![0, 0];
    body.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend(attributes);
    stage.say(1, &message(UPDATE, &body));
    // Treated as a withdrawal of what was there, and counted.
    assert!(stage.routes(RibKind::In, 1).is_empty());
    let view = stage.view(1);
    assert_eq!(
        (view.state, view.treated_as_withdraw),
        (State::Established, 1)
    );
    let why = view.last_malformed.unwrap();
    assert!(why.contains("RFC 8950, 4"), "{why}");
}

/// RFC 6793, 9: AS_TRANS is reserved.
#[test]
fn as_trans_alone_is_a_bad_peer_as() {
    let external = |_, peer: &mut wayleave_bgp_core::config::PeerConfig| {
        peer.remote_as = RemoteAs::External;
    };
    let mut stage = Stage::new(&[65_002], external);
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| {
        open.asn = wayleave_bgp_core::Asn(23_456);
        open.capabilities.as4 = None;
    });
    stage.say(1, &open);
    assert_eq!(stage.view(1).state, State::Idle);
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (2, 2));
}

/// RFC 4360, 6: "before advertising the route across the Autonomous System boundary the community
/// SHOULD be removed".
#[test]
fn a_non_transitive_extended_community_stays_in_the_as() {
    let here = [0x40, 4, 0, 0, 0, 0, 0, 1];
    let everywhere = [0, 2, 0xfd, 0xe8, 0, 0, 0, 7];
    for (list, passed) in [
        (vec![here], None),
        (vec![here, everywhere], Some(vec![everywhere])),
        (vec![everywhere], Some(vec![everywhere])),
    ] {
        let mut stage = Stage::up(&[65_002, 65_003, OURS], |_, _| {});
        let communities = attr(OPTIONAL | TRANSITIVE, 16, list.as_flattened());
        let attributes = [mandatory(1, &[65_002]), communities].concat();
        stage.say(1, &announce(10, &attributes));
        let told = |stage: &mut Stage, n| {
            let told = stage.told(n);
            let value = told.routes["10.0.0.0/8"].get(&16).cloned();
            value.map(|(_, value)| value)
        };
        let octets = |list: &Vec<[u8; 8]>| list.as_flattened().to_vec();
        assert_eq!(told(&mut stage, 2), passed.as_ref().map(octets));
        assert_eq!(told(&mut stage, 3), Some(octets(&list)), "within the AS");
    }
}

/// RFC 8326, 4.2: "the RECOMMENDED value is 0", so that other ways are taken before this one goes.
#[test]
fn a_way_that_is_about_to_go_is_taken_only_when_there_is_no_other() {
    let mut stage = Stage::up(&[65_002, 65_003, OURS], |_, _| {});
    let leaving = attr(OPTIONAL | TRANSITIVE, 8, &[0xff, 0xff, 0, 0]);
    let through = |n: usize, asns: &[u32], more: &[u8]| {
        announce(10, &[&mandatory(n, asns)[..], more].concat())
    };
    stage.say(1, &through(1, &[65_002], &leaving));
    let best = |stage: &Stage, n| stage.routes(RibKind::In, n).iter().any(|route| route.best);
    assert!(best(&stage, 1), "the only one");
    // What it sent is shown as it came, and what passes in the AS says how it is meant.
    let held = &stage.routes(RibKind::In, 1)[0];
    assert_eq!(
        (held.attributes.local_pref, held.refused.clone()),
        (None, None)
    );
    let told = stage.told(3);
    let (_, local_pref) = &told.routes["10.0.0.0/8"][&5];
    assert_eq!(local_pref, &[0; 4]);
    stage.say(2, &through(2, &[65_003, 65_004, 65_005], &[]));
    assert!(
        best(&stage, 2) && !best(&stage, 1),
        "any other, however long"
    );
    // It stays after all.
    stage.say(1, &through(1, &[65_002], &[]));
    assert!(best(&stage, 1));
}

/// Within an AS the community says nothing: LOCAL_PREF has been set where the route came in.
#[test]
fn an_internal_neighbour_that_passes_the_community_on_is_not_lowered_again() {
    let mut stage = Stage::up(&[OURS], |_, _| {});
    let leaving = attr(OPTIONAL | TRANSITIVE, 8, &[0xff, 0xff, 0, 0]);
    let local_pref = attr(TRANSITIVE, 5, &[0, 0, 0, 200]);
    let attributes = [mandatory(1, &[65_009]), local_pref, leaving].concat();
    stage.say(1, &announce(10, &attributes));
    let route = &stage.routes(RibKind::Loc, 1)[0];
    assert_eq!(route.attributes.local_pref, Some(200));
}
