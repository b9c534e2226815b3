//! Asking for a table again (RFC 2918), and the markers around it (RFC 7313): what matters beside
//! the order of things in `machine/refresh.rs`.

use wayleave_bgp_core::{
    feed::Origination,
    view::{RibKind, State},
    wire::keepalive,
};

use super::stage::{ROUTE_REFRESH, Stage, UPDATE, announce, mandatory, message};

const REQUEST: u8 = 0;
const BEGIN: u8 = 1;
const END: u8 = 2;

/// A ROUTE-REFRESH of IPv4 unicast.
fn refresh(subtype: u8) -> Vec<u8> {
    message(ROUTE_REFRESH, &[0, 1, subtype, 1])
}

/// `first.0.0.0/8` of neighbour 1.
fn route(first: u8) -> Vec<u8> {
    announce(first, &mandatory(1, &[65_002]))
}

/// Neighbour 1 knows markers.
fn enhanced() -> Stage {
    let mut stage = Stage::new(&[65_002, 65_003], |_, _| {});
    stage.establish(2);
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| {
        open.capabilities.enhanced_refresh = true;
    });
    stage.say(1, &open);
    stage.say(1, &keepalive());
    stage
}

fn held(stage: &Stage) -> Vec<String> {
    let routes = stage.routes(RibKind::In, 1);
    assert!(routes.iter().all(|route| route.best));
    assert_eq!(stage.view(1).ipv4.unwrap().received as usize, routes.len());
    routes
        .iter()
        .map(|route| route.prefix.to_string())
        .collect()
}

/// RFC 2918, 4: "If a BGP speaker receives from its peer a ROUTE-REFRESH message with the <AFI, SAFI>
/// that the speaker didn't advertise to the peer at the session establishment time via capability
/// advertisement, the speaker shall ignore such a message."
#[test]
fn a_refresh_of_a_family_that_was_not_agreed_on_is_ignored() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    stage.originate(Origination::new("10.0.0.0/8".parse().unwrap()));
    stage.hear(1);
    for (afi, safi) in [(2, 1), (1, 128), (25, 65)] {
        stage.say(1, &message(ROUTE_REFRESH, &[0, afi, 0, safi]));
        assert!(stage.hear(1).is_empty(), "{afi}/{safi}");
    }
    stage.say(1, &message(ROUTE_REFRESH, &[0, 1, 0, 1]));
    let heard = stage.hear(1);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].0, UPDATE);
    assert_eq!(stage.view(1).state, State::Established);
}

/// The same where the neighbour has much unread: ignoring costs no work and changes nothing of it.
#[test]
fn a_refresh_of_a_family_that_was_not_agreed_on_changes_nothing_of_what_is_on_its_way() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    for med in 0..10 {
        let mut route = Origination::new("10.0.0.0/8".parse().unwrap());
        route.med = Some(med);
        stage.originate(route);
    }
    let before = stage.pending(1);
    stage.say(1, &message(ROUTE_REFRESH, &[0, 2, 0, 1]));
    assert_eq!(stage.pending(1), before);
}

/// What changes while the answer is on its way ends as it should, whatever was read of it.
#[test]
fn what_is_withdrawn_during_an_answer_is_taken_back() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    for first in [10, 11] {
        stage.say(1, &route(first));
    }
    stage.hear(2);
    stage
        .speaker
        .received(stage.now, stage.conn(2), &refresh(REQUEST));
    stage.say(1, &message(UPDATE, &[0, 2, 8, 10, 0, 0]));
    let told = stage.told(2);
    assert_eq!(told.prefixes(), "11.0.0.0/8");
    assert_eq!(told.withdrawn, ["10.0.0.0/8"]);
}

/// Nothing of it is left for the next session.
#[test]
fn a_session_that_ends_between_markers_takes_its_routes_along() {
    let mut stage = enhanced();
    for first in [10, 11] {
        stage.say(1, &route(first));
    }
    stage.hear(2);
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &route(10));
    stage.hang_up(1);
    let mut gone = stage.told(2).withdrawn;
    gone.sort();
    assert_eq!(gone, ["10.0.0.0/8", "11.0.0.0/8"]);
    stage.establish(1);
    stage.say(1, &route(12));
    stage.say(1, &refresh(END));
    assert_eq!(held(&stage), ["12.0.0.0/8"]);
}

/// What a neighbour tells again is not counted twice against its maximum.
#[test]
fn a_table_told_again_between_markers_does_not_go_past_the_maximum_of_prefixes() {
    let mut stage = enhanced();
    let mut config = stage.speaker.config().clone();
    config.peers[0].max_prefixes = Some(3);
    stage.speaker.reconfigure(stage.now, config);
    for _ in 0..3 {
        stage.say(1, &refresh(BEGIN));
        for first in [10, 11, 12] {
            stage.say(1, &route(first));
        }
        stage.say(1, &refresh(END));
        assert_eq!(held(&stage).len(), 3);
    }
}

/// RFC 7313, 5: markers of a refresh that we have not asked for are passed over, unknown subtypes too;
/// one of a wrong length is answered with the whole message.
#[test]
fn markers_of_a_refresh_nobody_asked_for_are_passed_over_and_malformed_ones_answered() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    for subtype in [1, 2, 3, 255] {
        stage.say(1, &message(ROUTE_REFRESH, &[0, 1, subtype, 1]));
        assert!(stage.hear(1).is_empty());
        assert_eq!(held(&stage), ["10.0.0.0/8"], "it is still held");
    }
    let long = message(ROUTE_REFRESH, &[0, 1, 1, 1, 9]);
    stage.say(1, &long);
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode, said.data), (7, 1, long));
}
