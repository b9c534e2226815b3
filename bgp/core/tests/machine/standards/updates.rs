//! What an UPDATE means as a whole.

use wayleave_bgp_core::view::{RibKind, State};

use super::stage::{
    OPTIONAL, ROUTE_REFRESH, Stage, TRANSITIVE, UPDATE, announce, as_path, attr, mandatory, message,
};

const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;

/// An UPDATE with these withdrawn, attributes and announced prefixes.
fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [withdrawn, attributes] {
        body.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
        body.extend(field);
    }
    body.extend(nlri);
    message(UPDATE, &body)
}

/// The value of an MP_REACH_NLRI for 2001:db8::/32 by 2001:db8::2 (RFC 4760, 3).
fn reach(afi: u8, safi: u8) -> Vec<u8> {
    let mut value = vec![0, afi, safi, 16];
    value.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    value.extend([0, 32, 0x20, 1, 0xd, 0xb8]);
    value
}

fn held(stage: &Stage) -> Vec<String> {
    let routes = stage.routes(RibKind::In, 1);
    routes
        .iter()
        .map(|route| route.prefix.to_string())
        .collect()
}

/// RFC 4271, 4.3: "An UPDATE message SHOULD NOT include the same address prefix in the WITHDRAWN ROUTES
/// and Network Layer Reachability Information fields. However, a BGP speaker MUST be able to process
/// UPDATE messages in this form. A BGP speaker SHOULD treat an UPDATE message of this form as though
/// the WITHDRAWN ROUTES do not contain the address prefix."
#[test]
fn a_prefix_both_withdrawn_and_announced_is_announced() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.say(1, &announce(11, &mandatory(1, &[65_002])));
    stage.hear(2);
    let both = update(&[8, 10, 8, 11], &mandatory(1, &[65_002, 65_009]), &[8, 10]);
    stage.say(1, &both);
    assert_eq!(held(&stage), ["10.0.0.0/8"]);
    let told = stage.told(2);
    assert_eq!(told.withdrawn, ["11.0.0.0/8"]);
    assert_eq!(told.prefixes(), "10.0.0.0/8");
}

/// RFC 4271, 9.1.4 and 3.1: what is told again for a prefix replaces what was told before; 9.2: nothing
/// is said where nothing changed.
#[test]
fn a_route_told_again_replaces_the_one_before_and_an_equal_one_is_no_news() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    for (path, news) in [
        (&[65_002][..], true),
        (&[65_002], false),
        (&[65_002, 65_009], true),
        (&[65_002, 65_009], false),
        (&[65_002], true),
    ] {
        stage.say(1, &announce(10, &mandatory(1, path)));
        assert_eq!(held(&stage), ["10.0.0.0/8"]);
        assert_eq!(stage.hear(2).len(), usize::from(news), "{path:?}");
    }
    // What is withdrawn twice, or was never told, is no news either.
    stage.say(1, &update(&[8, 11], &[], &[]));
    assert!(stage.hear(2).is_empty());
    stage.say(1, &update(&[8, 10], &[], &[]));
    assert_eq!(stage.told(2).withdrawn, ["10.0.0.0/8"]);
    stage.say(1, &update(&[8, 10], &[], &[]));
    assert!(stage.hear(2).is_empty());
}

/// RFC 4760, 8: what is not agreed on is not exchanged; what comes all the same costs nobody anything.
#[test]
fn routes_of_a_family_that_was_not_agreed_on_are_passed_over() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    stage.hear(2);
    for (afi, safi) in [(2, 1), (1, 2), (1, 128), (25, 65), (200, 200)] {
        let mut attributes = mandatory(1, &[65_002]);
        attributes.extend(attr(OPTIONAL, MP_REACH_NLRI, &reach(afi, safi)));
        stage.say(1, &update(&[], &attributes, &[]));
        let unreach = [0, afi, safi, 32, 0x20, 1, 0xd, 0xb8];
        let unreach = attr(OPTIONAL, MP_UNREACH_NLRI, &unreach);
        stage.say(1, &update(&[], &unreach, &[]));
        let view = stage.view(1);
        assert_eq!(view.state, State::Established, "{:?}", view.last_error);
        assert_eq!(view.treated_as_withdraw + view.attributes_discarded, 0);
        assert_eq!(held(&stage), ["10.0.0.0/8"]);
        assert!(stage.hear(2).is_empty());
    }
}

/// RFC 4271, 6.3 a: NEXT_HOP "MUST NOT be the IP address of the receiving speaker", and "If the NEXT_HOP
/// attribute is semantically incorrect, the error SHOULD be logged, and the route SHOULD be ignored.
/// In this case, a NOTIFICATION message SHOULD NOT be sent".
#[test]
fn a_route_by_our_own_address_is_ignored_and_costs_no_session() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    let by = |hop: [u8; 4]| {
        let origin = attr(TRANSITIVE, 1, &[0]);
        let hop = attr(TRANSITIVE, 3, &hop);
        announce(10, &[origin, as_path(&[65_002]), hop].concat())
    };
    stage.say(1, &by([192, 0, 2, 9]));
    assert_eq!(stage.told(2).prefixes(), "10.0.0.0/8");
    stage.say(1, &by([192, 0, 2, 1]));
    assert_eq!(stage.told(2).withdrawn, ["10.0.0.0/8"]);
    let route = &stage.routes(RibKind::In, 1)[0];
    assert!(!route.best && route.refused.is_some());
    assert_eq!(stage.view(1).state, State::Established);
}

/// RFC 7606, 2: with "treat-as-withdraw" the route that was there before goes, and the session stays.
#[test]
fn a_malformed_update_takes_the_route_it_is_about_and_no_other() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    for first in [10, 11] {
        stage.say(1, &announce(first, &mandatory(1, &[65_002])));
    }
    stage.hear(2);
    // ORIGIN 7 is none (7.1).
    let origin = attr(TRANSITIVE, 1, &[7]);
    let attributes = [origin, mandatory(1, &[65_002])[4..].to_vec()].concat();
    stage.say(1, &announce(10, &attributes));
    assert_eq!(stage.told(2).withdrawn, ["10.0.0.0/8"]);
    assert_eq!(held(&stage), ["11.0.0.0/8"]);
    let view = stage.view(1);
    assert_eq!(view.state, State::Established);
    assert_eq!(view.treated_as_withdraw, 1);
    assert!(view.last_malformed.unwrap().contains("ORIGIN"));
}

/// RFC 4724, 2 and 3: End-of-RIB follows the first of each family, once, whether or not there was
/// anything before it.
#[test]
fn the_end_of_the_first_table_is_told_once() {
    let end = (UPDATE, vec![0, 0, 0, 0]);
    for count in [0, 3] {
        let mut stage = Stage::new(&[65_002, 65_003], |_, _| {});
        stage.establish(1);
        for first in 0..count {
            stage.say(1, &announce(10 + first, &mandatory(1, &[65_002])));
        }
        assert!(stage.call(2));
        let open = stage.open(2);
        stage.say(2, &open);
        stage.say(2, &wayleave_bgp_core::wire::keepalive());
        let heard = stage.hear(2);
        let updates: Vec<_> = heard.iter().filter(|(kind, _)| *kind == UPDATE).collect();
        assert_eq!(updates.last(), Some(&&end));
        assert_eq!(updates.iter().filter(|&&update| *update == end).count(), 1);
        // A table that is asked for again has no end of this kind.
        stage.say(2, &message(ROUTE_REFRESH, &[0, 1, 0, 1]));
        assert!(!stage.hear(2).contains(&end));
    }
}
