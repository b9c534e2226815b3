//! Opening, holding and asking again.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, Family, RouterId,
    config::RemoteAs,
    feed::Origination,
    view::{RibKind, State},
    wire::keepalive,
};

use super::stage::{
    KEEPALIVE, OPEN, OPTIONAL, OURS, Stage, TRANSITIVE, UPDATE, announce, as_path, attr, mandatory,
    message,
};

const SECOND: Duration = Duration::from_secs(1);

/// OPEN by hand: AS, hold time, identifier 0.0.0.2, and the optional parameters.
fn raw_open(asn: u16, hold_time: u16, parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(hold_time.to_be_bytes());
    body.extend([0, 0, 0, 2]);
    body.push(u8::try_from(parameters.len()).unwrap());
    body.extend(parameters);
    message(OPEN, &body)
}

/// RFC 7607, 2: "If a BGP speaker receives zero as the peer AS in an OPEN message, it MUST abort the
/// connection and send a NOTIFICATION with Error Code 'OPEN Message Error' and subcode 'Bad Peer AS'",
/// also where it stands in the capability of RFC 6793, and for a neighbour of any AS.
#[test]
fn as_0_in_an_open_is_a_bad_peer_as() {
    let as4 = |asn: u32| [&[2, 6, 65, 4][..], &asn.to_be_bytes()].concat();
    for (field, parameters) in [
        (0, Vec::new()),
        (0, as4(0)),
        (0, as4(65_002)),
        (65_002, as4(0)),
    ] {
        let mut stage = Stage::new(&[65_002], |_, peer| peer.remote_as = RemoteAs::External);
        assert!(stage.call(1));
        stage.say(1, &raw_open(field, 90, &parameters));
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (2, 2), "{field} {parameters:?}");
    }
}

/// RFC 4271, 6.2: "If one of the Optional Parameters in the OPEN message is not recognized, then the
/// Error Subcode MUST be set to Unsupported Optional Parameters."
#[test]
fn an_unknown_optional_parameter_is_unsupported_and_an_unknown_capability_is_not() {
    // Type 1 was authentication in RFC 1771.
    for (parameters, taken) in [
        (&[1, 2, 0, 0][..], false),
        (&[2, 2, 2, 0, 99, 0], false),
        (&[2, 2, 2, 0, 2, 3, 99, 1, 7], true),
        (&[], true),
    ] {
        let mut stage = Stage::new(&[65_002], |_, _| {});
        assert!(stage.call(1));
        stage.say(1, &raw_open(65_002, 90, parameters));
        if taken {
            assert_eq!(stage.view(1).state, State::OpenConfirm);
            continue;
        }
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (2, 4), "{parameters:?}");
    }
}

/// RFC 6286, 2.3: "If the BGP Identifiers of the peers involved in the connection collision are
/// identical, then the connection initiated by the BGP speaker with the larger AS number is preserved."
#[test]
fn of_two_connections_between_equal_identifiers_that_of_the_larger_as_lives() {
    for (asn, theirs_lives) in [(65_002, true), (65_000, false)] {
        for speaks_on_ours in [true, false] {
            let mut stage = Stage::new(&[asn], |_, peer| peer.passive = false);
            stage.answer(1);
            let ours = stage.conn(1);
            assert!(stage.call(1));
            let theirs = stage.conn(1);
            let open = stage.open_with(1, |open| open.router_id = RouterId::from(1));
            stage.say_on(if speaks_on_ours { ours } else { theirs }, &open);
            let (lives, dies) = if theirs_lives {
                (theirs, ours)
            } else {
                (ours, theirs)
            };
            let said = stage.last_word_on(dies).expect("a Cease");
            assert_eq!((said.code, said.subcode), (6, 7));
            assert_eq!(stage.last_word_on(lives), None);
            if speaks_on_ours == theirs_lives {
                stage.say_on(lives, &open);
            }
            stage.say_on(lives, &keepalive());
            assert_eq!(stage.view(1).state, State::Established);
        }
    }
}

/// RFC 4271, 8.2.2: "If the negotiated hold time value is zero, then the HoldTimer and KeepaliveTimer
/// are not started"; 4.4: "periodic KEEPALIVE messages MUST NOT be sent".
#[test]
fn a_hold_time_of_0_needs_no_keepalives_and_holds_for_ever() {
    for (ours, theirs) in [(0, 90), (90, 0), (0, 0)] {
        let mut stage = Stage::new(&[65_002], |_, peer| peer.hold_time = ours);
        assert!(stage.call(1));
        let open = stage.open_with(1, |open| open.hold_time = theirs);
        stage.say(1, &open);
        stage.say(1, &keepalive());
        assert_eq!(stage.view(1).hold_time, Some(0));
        stage.hear(1);
        let keepalives = stage.view(1).sent.keepalive;
        assert_eq!(keepalives, 1, "the one that confirms the OPEN");
        for _ in 0..24 {
            stage.pass(3_600 * SECOND);
            assert!(stage.hear(1).is_empty());
        }
        assert_eq!(stage.view(1).state, State::Established);
        // In spite of the send hold timer too (RFC 9687): there is nothing it could go by.
        stage.originate(Origination::new("10.0.0.0/8".parse().unwrap()));
        stage.pass(3_600 * SECOND);
        assert_eq!(stage.view(1).state, State::Established);
    }
}

/// RFC 4271, 4.2: "The calculated value indicates the maximum number of seconds that may elapse between
/// the receipt of successive KEEPALIVE and/or UPDATE messages"; 4.4: a third of it is reasonable, and
/// they "MUST NOT be sent more frequently than one per second".
#[test]
fn a_hold_time_of_3_is_kept_with_a_keepalive_a_second() {
    let mut stage = Stage::new(&[65_002], |_, peer| peer.hold_time = 3);
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| open.hold_time = 180);
    stage.say(1, &open);
    stage.say(1, &keepalive());
    assert_eq!(stage.view(1).hold_time, Some(3));
    stage.hear(1);
    for _ in 0..600 {
        stage.pass(SECOND);
        let heard = stage.hear(1);
        assert_eq!(heard, [(KEEPALIVE, Vec::new())]);
        stage.say(1, &keepalive());
    }
    // An UPDATE will do as well.
    stage.pass(2 * SECOND);
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.pass(Duration::from_millis(2_999));
    assert_eq!(stage.view(1).state, State::Established);
    stage.pass(Duration::from_millis(1));
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (4, 0));
    assert!(stage.routes(RibKind::In, 1).is_empty());
}

/// RFC 4486, 4: "The message MAY optionally include the Address Family information [BGP-MP] and the
/// upper bound in the 'Data' field". What one session told counts for no other.
#[test]
fn the_maximum_of_prefixes_ends_each_session_that_goes_past_it_and_counts_from_zero_in_the_next() {
    let mut stage = Stage::up(&[65_002, 65_003], |n, peer| {
        if n == 1 {
            peer.max_prefixes = Some(2);
            peer.max_prefixes_restart = Some(20 * SECOND);
        }
    });
    let route = |first: u8| announce(first, &mandatory(1, &[65_002]));
    for round in 1..=3 {
        for first in [10, 11, 10, 11] {
            stage.say(1, &route(first));
        }
        assert_eq!(stage.view(1).ipv4.unwrap().received, 2, "round {round}");
        assert_eq!(stage.told(2).prefixes(), "10.0.0.0/8 11.0.0.0/8");
        stage.say(1, &route(12));
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (6, 1));
        assert_eq!(said.data, [0, 1, 1, 0, 0, 0, 2]);
        let mut withdrawn = stage.told(2).withdrawn;
        withdrawn.sort();
        assert_eq!(withdrawn, ["10.0.0.0/8", "11.0.0.0/8"]);
        stage.hang_up(1);
        // The time is shortened by up to a quarter (RFC 4271, 10).
        stage.pass(14 * SECOND);
        assert!(!stage.call(1), "it is kept out");
        stage.pass(6 * SECOND);
        stage.establish(1);
        assert_eq!(stage.view(1).established_count, round + 1);
    }
}

/// RFC 4486, 4: the data says of which family there were too many, and how many there may be.
#[test]
fn a_maximum_of_one_family_counts_that_family_alone() {
    let mut stage = Stage::up(&[65_002], |_, peer| {
        peer.families = Family::ALL.to_vec();
        peer.max_prefixes = Some(19);
        peer.max_prefixes_of = [Some(4), Some(2)];
    });
    stage.hang_up(1);
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| open.capabilities.families.push((2, 1)));
    stage.say(1, &open);
    stage.say(1, &keepalive());
    let route6 = |low: u8| {
        let mut reach = vec![0, 2, 1, 16, 0x20, 1, 0xd, 0xb8];
        reach.extend([0; 11]);
        reach.extend([2, 0, 16, 0xfd, low]);
        let attributes = [
            attr(TRANSITIVE, 1, &[0]),
            as_path(&[65_002]),
            attr(OPTIONAL, 14, &reach),
        ]
        .concat();
        let mut body = vec![0, 0];
        body.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        body.extend(attributes);
        message(UPDATE, &body)
    };
    for first in 10..14 {
        stage.say(1, &announce(first, &mandatory(1, &[65_002])));
    }
    stage.say(1, &route6(1));
    stage.say(1, &route6(2));
    let view = stage.view(1);
    assert_eq!(view.state, State::Established);
    let warned = |key: &str| view.warnings.iter().any(|text| text.contains(key));
    assert!(warned("4 of the 4 IPv4 prefixes") && warned("2 of the 2 IPv6 prefixes"));
    assert!(
        !warned("(max_prefixes)"),
        "six of nineteen: {:?}",
        view.warnings
    );
    stage.say(1, &route6(3));
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (6, 1));
    assert_eq!(said.data, [0, 2, 1, 0, 0, 0, 2]);
}

/// A session that ends with many routes and begins again before they have been swept.
#[test]
fn what_an_ended_session_told_does_not_count_against_the_next_while_it_is_swept() {
    let mut stage = Stage::up(&[65_002], |_, peer| peer.max_prefixes = Some(100));
    for first in 1..=100 {
        stage.say(1, &announce(first, &mandatory(1, &[65_002])));
    }
    assert_eq!(stage.view(1).ipv4.unwrap().received, 100);
    // Without a turn between the end and the new beginning.
    let conn = stage.conn(1);
    stage.speaker.closed(stage.now, conn, "the peer closed it");
    assert!(stage.call(1));
    let mut all = stage.open(1);
    all.extend(keepalive());
    for first in 1..=100 {
        all.extend(announce(first, &mandatory(1, &[65_002])));
    }
    stage.say(1, &all);
    let view = stage.view(1);
    assert_eq!(view.state, State::Established, "{:?}", view.last_error);
    assert_eq!(view.ipv4.unwrap().received, 100);
}

/// RFC 4486, 3: subcode 3 for a peer that is taken out, 6 for one whose configuration changed.
#[test]
fn a_neighbour_is_told_that_it_is_taken_out_or_that_its_settings_changed() {
    for (removed, subcode) in [(true, 3), (false, 6)] {
        let mut stage = Stage::up(&[65_002], |_, _| {});
        let mut config = stage.speaker.config().clone();
        if removed {
            config.peers.clear();
        } else {
            config.peers[0].remote_as = RemoteAs::Exact(Asn(65_003));
        }
        stage.speaker.reconfigure(stage.now, config);
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (6, subcode));
    }
}

/// RFC 4271, 6.2: "If the Autonomous System field of the OPEN message is unacceptable, then the Error
/// Subcode MUST be set to Bad Peer AS."
#[test]
fn our_own_as_where_an_external_neighbour_is_expected_is_a_bad_peer_as() {
    let mut stage = Stage::new(&[OURS], |_, peer| peer.remote_as = RemoteAs::External);
    assert!(stage.call(1));
    let open = stage.open(1);
    stage.say(1, &open);
    let said = stage.last_word(1);
    assert_eq!((said.code, said.subcode), (2, 2));
}
