//! What becomes of path attributes between one neighbour and the next (RFC 4271, 5).

use wayleave_bgp_core::{feed::Origination, view::RibKind};

use super::stage::{
    OPTIONAL, OURS, PARTIAL, Stage, TRANSITIVE, announce, as_path, attr, mandatory,
};

const AS_PATH: u8 = 2;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;

/// Neighbours 1 and 2 are external, 3 and 4 internal; 3 is a reflection client.
fn stage() -> Stage {
    Stage::up(&[65_002, 65_003, OURS, OURS], |n, peer| {
        peer.reflector_client = n == 3;
    })
}

/// The value of an attribute of the one route that is told, if it has it.
fn told(stage: &mut Stage, n: usize, code: u8) -> Option<Vec<u8>> {
    let told = stage.told(n);
    let route = &told.routes["10.0.0.0/8"];
    route.get(&code).map(|(_, value)| value.clone())
}

fn number(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// RFC 4271, 5.1.4: "If received over EBGP, the MULTI_EXIT_DISC attribute MAY be propagated over IBGP
/// to other BGP speakers within the same AS ... The MULTI_EXIT_DISC attribute received from a
/// neighboring AS MUST NOT be propagated to other neighboring ASes."
#[test]
fn a_med_that_was_received_stays_in_the_as_and_one_of_our_own_is_told_outside() {
    let med = attr(OPTIONAL, MULTI_EXIT_DISC, &number(50));
    for (from, path) in [(1, 65_002), (3, 65_009)] {
        let mut stage = stage();
        let attributes = [mandatory(from, &[path]), med.clone()].concat();
        stage.say(from, &announce(10, &attributes));
        assert_eq!(told(&mut stage, 2, MULTI_EXIT_DISC), None);
        assert_eq!(told(&mut stage, 4, MULTI_EXIT_DISC), Some(number(50)));
    }
    let mut stage = stage();
    let mut own = Origination::new("10.0.0.0/8".parse().unwrap());
    own.med = Some(70);
    stage.originate(own);
    for n in 1..=4 {
        assert_eq!(told(&mut stage, n, MULTI_EXIT_DISC), Some(number(70)));
    }
}

/// RFC 4271, 5.1.5: LOCAL_PREF "SHALL be included in all UPDATE messages that a given BGP speaker sends
/// to other internal peers", a speaker "MUST NOT include this attribute in UPDATE messages it sends
/// to external peers", and "If it is contained in an UPDATE message that is received from an external
/// peer, then this attribute MUST be ignored by the receiving speaker".
#[test]
fn local_pref_is_told_to_every_internal_neighbour_and_never_to_or_by_an_external_one() {
    for (from, path, said, meant) in [
        (1, 65_002, None, 100),
        (1, 65_002, Some(500), 100),
        (3, 65_009, None, 100),
        (3, 65_009, Some(500), 500),
        (3, 65_009, Some(0), 0),
    ] {
        let mut stage = stage();
        let mut attributes = mandatory(from, &[path]);
        if let Some(said) = said {
            attributes.extend(attr(TRANSITIVE, LOCAL_PREF, &number(said)));
        }
        stage.say(from, &announce(10, &attributes));
        assert_eq!(told(&mut stage, 2, LOCAL_PREF), None, "{from} {said:?}");
        let internal = told(&mut stage, 4, LOCAL_PREF);
        assert_eq!(internal, Some(number(meant)), "{from} {said:?}");
    }
    let mut stage = stage();
    stage.originate(Origination::new("10.0.0.0/8".parse().unwrap()));
    assert_eq!(told(&mut stage, 2, LOCAL_PREF), None);
    assert_eq!(told(&mut stage, 4, LOCAL_PREF), Some(number(100)));
}

/// RFC 4271, 5: "If a path with an unrecognized transitive optional attribute is accepted and passed
/// to other BGP peers, then the unrecognized transitive optional attribute of that path MUST be
/// passed, along with the path, to other BGP peers with the Partial bit in the Attribute Flags octet
/// set to 1. ... Unrecognized non-transitive optional attributes MUST be quietly ignored and not
/// passed along to other BGP peers."
#[test]
fn unknown_attributes_pass_with_the_partial_bit_when_transitive_and_end_here_otherwise() {
    let mut stage = stage();
    let mut attributes = mandatory(1, &[65_002]);
    attributes.extend(attr(OPTIONAL | TRANSITIVE, 200, &[1, 2, 3]));
    attributes.extend(attr(OPTIONAL | TRANSITIVE | PARTIAL, 201, &[9; 300]));
    attributes.extend(attr(OPTIONAL, 202, &[4, 5, 6]));
    stage.say(1, &announce(10, &attributes));
    for n in [2, 4] {
        let told = stage.told(n);
        let route = &told.routes["10.0.0.0/8"];
        let partial = OPTIONAL | TRANSITIVE | PARTIAL;
        assert_eq!(route[&200], (partial, vec![1, 2, 3]));
        assert_eq!(route[&201], (partial, vec![9; 300]));
        assert!(!route.contains_key(&202));
    }
    assert_eq!(stage.view(1).treated_as_withdraw, 0);
}

/// RFC 4271, 5.1.2 b) 1: "If the act of prepending will cause an overflow in the AS_PATH segment (i.e.,
/// more than 255 ASes), it SHOULD prepend a new segment of type AS_SEQUENCE and prepend its own AS
/// number to this new segment."
#[test]
fn our_as_gets_a_segment_of_its_own_before_one_that_is_full() {
    let full: Vec<u32> = std::iter::once(65_002).chain(100_000..100_254).collect();
    for (path, fits) in [(&full[..], false), (&full[..254], true)] {
        let mut stage = stage();
        stage.say(1, &announce(10, &mandatory(1, path)));
        let octets: Vec<u8> = path.iter().flat_map(|asn| asn.to_be_bytes()).collect();
        let head = if fits {
            [&[2, 255][..], &OURS.to_be_bytes()].concat()
        } else {
            [&[2, 1][..], &OURS.to_be_bytes(), &[2, 255]].concat()
        };
        let outside = told(&mut stage, 2, AS_PATH).unwrap();
        assert_eq!(outside, [head, octets].concat());
        // Inside the AS the path is not touched (5.1.2).
        let attribute = as_path(path);
        let inside = told(&mut stage, 4, AS_PATH).unwrap();
        assert!(attribute.ends_with(&inside) && inside.len() == 2 + 4 * path.len());
    }
}

/// A route that no longer fits a message of 4,096 octets (RFC 4271, 4.1) once our AS is before its
/// path cannot be told. What the neighbour was told of it before is not true any more, so that it is
/// taken back.
#[test]
fn a_route_that_grew_past_a_message_is_withdrawn_and_not_left_as_it_was() {
    let mut stage = stage();
    let small = mandatory(1, &[65_002]);
    stage.say(1, &announce(10, &small));
    assert_eq!(stage.told(2).prefixes(), "10.0.0.0/8");
    assert_eq!(stage.told(4).prefixes(), "10.0.0.0/8");
    // As long as it can come in: 19 of header, 2 x 2 of lengths, 2 of prefix, 4 before the value.
    let room = 4_096 - 19 - 4 - 2 - small.len() - 4;
    let filled = |len: usize| {
        let filler = attr(OPTIONAL | TRANSITIVE, 200, &vec![7; len]);
        announce(10, &[small.clone(), filler].concat())
    };
    assert_eq!(filled(room).len(), 4_096);
    stage.say(1, &filled(room));
    assert_eq!(stage.routes(RibKind::In, 1).len(), 1, "it is used here");
    for n in [2, 4] {
        assert_eq!(stage.told(n).withdrawn, ["10.0.0.0/8"], "neighbour {n}");
    }
    // With room for what is added it comes back.
    stage.say(1, &filled(room - 20));
    for n in [2, 4] {
        assert_eq!(stage.told(n).prefixes(), "10.0.0.0/8", "neighbour {n}");
    }
}

/// RFC 4271, 5.1.3: the next hop is our own address towards external neighbours, and as it came
/// towards internal ones.
#[test]
fn the_next_hop_is_ours_outside_and_as_it_came_inside() {
    let ours = vec![192, 0, 2, 1];
    for (from, path) in [(1, 65_002), (3, 65_009)] {
        let mut stage = stage();
        stage.say(from, &announce(10, &mandatory(from, &[path])));
        let theirs = vec![192, 0, 2, u8::try_from(from + 1).unwrap()];
        assert_eq!(told(&mut stage, 2, 3), Some(ours.clone()));
        assert_eq!(told(&mut stage, 4, 3), Some(theirs));
    }
}
