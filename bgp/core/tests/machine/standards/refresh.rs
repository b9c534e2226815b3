//! Asking for a table again (RFC 2918), and the markers around it (RFC 7313).

use std::time::Duration;

use wayleave_bgp_core::{
    config::Policy,
    feed::Origination,
    view::{RibKind, State},
    wire::{GracefulRestart, keepalive},
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

/// Neighbour 1 knows markers, as neighbour 2 does not; `end_of_rib`: it tells where its table ends.
fn enhanced(end_of_rib: bool) -> Stage {
    let mut stage = Stage::new(&[65_002, 65_003], |_, _| {});
    stage.establish(2);
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| {
        open.capabilities.enhanced_refresh = true;
        open.capabilities.graceful_restart = end_of_rib.then(GracefulRestart::default);
    });
    stage.say(1, &open);
    stage.say(1, &keepalive());
    stage
}

/// What neighbour `n` hears in words: markers, ends of tables, and the first octet of prefixes.
fn words(stage: &mut Stage, n: usize) -> String {
    let heard = stage.hear(n);
    let words = heard
        .iter()
        .filter_map(|(kind, body)| match (*kind, &body[..]) {
            (ROUTE_REFRESH, [0, 1, BEGIN, 1]) => Some("begin".to_owned()),
            (ROUTE_REFRESH, [0, 1, END, 1]) => Some("end".to_owned()),
            (UPDATE, [0, 0, 0, 0]) => Some("eor".to_owned()),
            (UPDATE, [0, 0, .., 8, first]) => Some(format!("+{first}")),
            (UPDATE, [0, 2, 8, first, 0, 0]) => Some(format!("-{first}")),
            _ => None,
        });
    words.collect::<Vec<_>>().join(" ")
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

/// RFC 2918, 4: the answer is the Adj-RIB-Out. What is not in it was not told, or was taken back.
#[test]
fn a_refresh_withdraws_nothing_that_was_never_told() {
    let mut stage = Stage::up(&[65_002, 65_003], |n, peer| {
        if n == 2 {
            peer.export = Policy::Own;
        }
    });
    for first in 10..20 {
        stage.say(1, &route(first));
    }
    for n in [1, 2] {
        stage.hear(n);
        stage.say(n, &refresh(REQUEST));
        assert!(stage.hear(n).is_empty(), "neighbour {n}");
    }
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

/// However often it is asked for while the answer waits to be read.
#[test]
fn a_thousand_requests_are_answered_with_the_table_twice_at_most() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    for first in 10..20 {
        stage.say(1, &route(first));
    }
    stage.hear(2);
    let conn = stage.conn(2);
    for _ in 0..1_000 {
        stage.speaker.received(stage.now, conn, &refresh(REQUEST));
    }
    let told = stage.hear(2).len();
    assert!((1..=20).contains(&told), "{told} UPDATEs");
    assert_eq!(stage.view(2).received.route_refresh, 1_000);
}

/// RFC 7313, 4: "Before the speaker starts a route refresh ... the speaker MUST send a BoRR message.
/// After the speaker completes the re-advertisement of the entire Adj-RIB-Out to the peer, it MUST send
/// an EoRR message" (where both have offered that).
#[test]
fn an_answer_stands_between_markers_for_those_who_know_them() {
    let mut stage = enhanced(false);
    stage.originate(Origination::new("10.0.0.0/8".parse().unwrap()));
    assert_eq!(words(&mut stage, 1), "eor +10");
    assert_eq!(words(&mut stage, 2), "+10");
    for n in [1, 2] {
        stage.say(n, &refresh(REQUEST));
    }
    assert_eq!(words(&mut stage, 1), "begin +10 end");
    assert_eq!(words(&mut stage, 2), "+10");
    // Also where there is nothing to tell.
    stage
        .speaker
        .withdraw(stage.now, 0, &["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(words(&mut stage, 1), "-10");
    stage.say(1, &refresh(REQUEST));
    assert_eq!(words(&mut stage, 1), "begin end");
}

/// RFC 7313, 4: a speaker that supports graceful restart "MUST NOT send a BoRR for an <AFI, SAFI> to a
/// neighbor before it sends the EoR for the <AFI, SAFI> to the neighbor".
#[test]
fn no_marker_is_told_before_the_end_of_the_first_table() {
    let mut stage = Stage::new(&[65_002, 65_003], |_, _| {});
    stage.establish(2);
    // Of two attribute sets, so that each has a message of its own.
    for first in [10, 11] {
        let path = [65_003, 65_000 + u32::from(first)];
        stage.say(2, &announce(first, &mandatory(2, &path)));
    }
    assert!(stage.call(1));
    let mut all = stage.open_with(1, |open| open.capabilities.enhanced_refresh = true);
    all.extend(keepalive());
    all.extend(refresh(REQUEST));
    let conn = stage.conn(1);
    stage.speaker.received(stage.now, conn, &all);
    let heard = words(&mut stage, 1);
    let (first, again) = heard.split_once(" eor ").expect("it has an end");
    assert!(!first.contains("begin"), "{heard}");
    assert_eq!(again, "begin +10 +11 end");
}

/// RFC 7313, 4: at a BoRR a speaker "MUST mark all the routes ... from that peer as stale", at an EoRR it
/// "MUST immediately remove any routes from the peer that are still marked as stale". In between they
/// are as good as ever.
#[test]
fn what_is_not_told_again_between_markers_is_gone_at_the_end() {
    let mut stage = enhanced(false);
    for first in [10, 11, 12, 13] {
        stage.say(1, &route(first));
    }
    words(&mut stage, 2);
    stage.say(1, &refresh(BEGIN));
    assert_eq!(held(&stage).len(), 4);
    stage.say(1, &route(10));
    stage.say(1, &message(UPDATE, &[0, 2, 8, 13, 0, 0]));
    stage.say(1, &route(14));
    assert_eq!(words(&mut stage, 2), "-13 +14");
    assert_eq!(held(&stage).len(), 4);
    stage.say(1, &refresh(END));
    assert_eq!(held(&stage), ["10.0.0.0/8", "14.0.0.0/8"]);
    let mut gone = stage.told(2).withdrawn;
    gone.sort();
    assert_eq!(gone, ["11.0.0.0/8", "12.0.0.0/8"]);
    // One end too many, and life goes on.
    stage.say(1, &refresh(END));
    stage.say(1, &route(11));
    assert_eq!(held(&stage), ["10.0.0.0/8", "11.0.0.0/8", "14.0.0.0/8"]);
    assert_eq!(stage.view(1).state, State::Established);
}

/// A table that begins again before it has ended is the one that counts.
#[test]
fn a_second_beginning_makes_stale_what_came_after_the_first() {
    let mut stage = enhanced(false);
    for first in [10, 11, 12] {
        stage.say(1, &route(first));
    }
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &route(10));
    stage.say(1, &route(11));
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &route(11));
    assert_eq!(held(&stage).len(), 3);
    stage.say(1, &refresh(END));
    assert_eq!(held(&stage), ["11.0.0.0/8"]);
}

/// RFC 7313, 4: "An implementation MAY impose a locally configurable upper bound on how long it would
/// retain any stale routes." Ours is six minutes, and cannot be configured.
#[test]
fn stale_routes_do_not_outlive_an_end_that_never_comes() {
    let mut stage = enhanced(false);
    for first in [10, 11] {
        stage.say(1, &route(first));
    }
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &route(10));
    stage.pass(Duration::from_secs(60));
    assert_eq!(held(&stage).len(), 2);
    stage.pass(Duration::from_secs(3_600));
    assert_eq!(held(&stage), ["10.0.0.0/8"]);
    assert_eq!(stage.view(1).state, State::Established);
}

/// Nothing of it is left for the next session.
#[test]
fn a_session_that_ends_between_markers_takes_its_routes_along() {
    let mut stage = enhanced(false);
    for first in [10, 11] {
        stage.say(1, &route(first));
    }
    words(&mut stage, 2);
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

/// RFC 7313, 4: who has received the graceful restart capability "MUST ignore any BoRRs for an
/// <AFI, SAFI> from the neighbor before the speaker receives the EoR".
#[test]
fn markers_before_the_end_of_a_neighbours_first_table_mean_nothing() {
    let mut stage = enhanced(true);
    stage.say(1, &route(10));
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &refresh(END));
    assert_eq!(held(&stage), ["10.0.0.0/8"]);
    stage.say(1, &message(UPDATE, &[0, 0, 0, 0]));
    stage.say(1, &refresh(BEGIN));
    stage.say(1, &refresh(END));
    assert_eq!(held(&stage), [""; 0]);
}

/// What a neighbour tells again is not counted twice against its maximum.
#[test]
fn a_table_told_again_between_markers_does_not_go_past_the_maximum_of_prefixes() {
    let mut stage = enhanced(false);
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
