//! What export changes on the octets.

use wayleave_bgp_core::{
    Asn, RouterId,
    wire::{Egress, Reflect, egress_attributes},
};

use crate::build::{OPTIONAL, PARTIAL, TRANSITIVE, as_path, attr, origin, segment};

const BOTH: u8 = OPTIONAL | TRANSITIVE;

fn leave(canonical: &[u8], egress: &Egress) -> Vec<u8> {
    let mut out = Vec::new();
    egress_attributes(canonical, Some([192, 0, 2, 1].into()), egress, &mut out);
    out
}

fn hop() -> Vec<u8> {
    attr(TRANSITIVE, 3, &[192, 0, 2, 1])
}

const INTERNAL: Egress = Egress {
    as4: true,
    prepend: None,
    keep_local_pref: true,
    set_local_pref: None,
    keep_med: true,
    reflect: None,
    only_to_customer: None,
    foreign: true,
    strip_reflection: false,
};

#[test]
fn next_hop_and_local_pref_stand_in_their_places() {
    let canonical = [origin(), as_path(), attr(OPTIONAL, 4, &[0, 0, 0, 7])].concat();
    let pref = |value: u8| attr(TRANSITIVE, 5, &[0, 0, 0, value]);
    let med = attr(OPTIONAL, 4, &[0, 0, 0, 7]);
    let expected = [origin(), as_path(), hop(), med.clone(), pref(100)].concat();
    assert_eq!(leave(&canonical, &INTERNAL), expected);
    // No NEXT_HOP beside MP_REACH_NLRI.
    let mut out = Vec::new();
    egress_attributes(&canonical, None, &INTERNAL, &mut out);
    assert_eq!(out, [origin(), as_path(), med.clone(), pref(100)].concat());
    // What the route says, unless it is set.
    let canonical = [canonical, pref(200)].concat();
    let expected = [origin(), as_path(), hop(), med.clone(), pref(200)].concat();
    assert_eq!(leave(&canonical, &INTERNAL), expected);
    let set = Egress {
        set_local_pref: Some(50),
        ..INTERNAL
    };
    let expected = [origin(), as_path(), hop(), med, pref(50)].concat();
    assert_eq!(leave(&canonical, &set), expected);
}

/// RFC 4271, 5.1.4 and 5.1.5; RFC 4456, 8: non-transitive.
#[test]
fn external_peers_get_neither_local_pref_nor_med_nor_reflection() {
    let canonical = [
        origin(),
        as_path(),
        attr(OPTIONAL, 4, &[0, 0, 0, 7]),
        attr(TRANSITIVE, 5, &[0, 0, 0, 200]),
        attr(BOTH, 8, &[0, 1, 0, 2]),
        attr(OPTIONAL, 9, &[192, 0, 2, 9]),
        attr(OPTIONAL, 10, &[192, 0, 2, 9]),
    ]
    .concat();
    let external = Egress {
        as4: true,
        prepend: Some(Asn(65_000)),
        set_local_pref: Some(300),
        strip_reflection: true,
        ..Egress::default()
    };
    let path = attr(TRANSITIVE, 2, &segment(2, &[65_000, 65_001, 65_002]));
    let expected = [origin(), path, hop(), attr(BOTH, 8, &[0, 1, 0, 2])].concat();
    assert_eq!(leave(&canonical, &external), expected);
}

/// RFC 4271, 5.1.2 b.
#[test]
fn our_as_joins_the_first_sequence_or_gets_one_of_its_own() {
    let full: Vec<u32> = (1..=255).collect();
    let room: Vec<u32> = (1..=254).collect();
    let joined: Vec<u32> = std::iter::once(65_000).chain(1..=254).collect();
    let own = segment(2, &[65_000]);
    let cases = [
        (vec![], own.clone()),
        (segment(2, &[10]), segment(2, &[65_000, 10])),
        (segment(1, &[10]), [own.clone(), segment(1, &[10])].concat()),
        (segment(2, &full), [own.clone(), segment(2, &full)].concat()),
        (segment(2, &room), segment(2, &joined)),
        // RFC 5065, 5.1: what a confederation added does not leave it.
        (
            [
                segment(3, &[64_512]),
                segment(4, &[64_513]),
                segment(2, &[10]),
            ]
            .concat(),
            segment(2, &[65_000, 10]),
        ),
        (segment(3, &[64_512]), own),
    ];
    for (path, expected) in cases {
        let egress = Egress {
            as4: true,
            prepend: Some(Asn(65_000)),
            ..Egress::default()
        };
        let out = leave(&[origin(), attr(TRANSITIVE, 2, &path)].concat(), &egress);
        let expected = [origin(), attr(TRANSITIVE, 2, &expected), hop()].concat();
        assert_eq!(out, expected, "before {path:?}");
    }
}

/// RFC 4456, 8.
#[test]
fn a_reflector_adds_the_originator_once_and_its_cluster_always() {
    let egress = Egress {
        reflect: Some(Reflect {
            originator: RouterId::from(0x0101_0101),
            cluster_id: RouterId::from(0x0202_0202),
        }),
        ..INTERNAL
    };
    let pref = attr(TRANSITIVE, 5, &[0, 0, 0, 100]);
    let base = [origin(), as_path()].concat();
    let head = [base.clone(), hop(), pref].concat();
    let first = [
        head.clone(),
        attr(OPTIONAL, 9, &[1, 1, 1, 1]),
        attr(OPTIONAL, 10, &[2, 2, 2, 2]),
    ]
    .concat();
    assert_eq!(leave(&base, &egress), first);
    let reflected = [
        base,
        attr(OPTIONAL, 9, &[9, 9, 9, 9]),
        attr(OPTIONAL, 10, &[8, 8, 8, 8]),
    ]
    .concat();
    let second = [
        head,
        attr(OPTIONAL, 9, &[9, 9, 9, 9]),
        attr(OPTIONAL, 10, &[2, 2, 2, 2, 8, 8, 8, 8]),
    ]
    .concat();
    assert_eq!(leave(&reflected, &egress), second);
}

/// A cluster list that grows past one octet of length.
#[test]
fn an_attribute_that_grows_past_255_octets_gets_the_longer_length() {
    let egress = Egress {
        reflect: Some(Reflect {
            originator: RouterId::from(0x0101_0101),
            cluster_id: RouterId::from(0x0202_0202),
        }),
        ..INTERNAL
    };
    let canonical = [origin(), as_path(), attr(OPTIONAL, 10, &[8; 252])].concat();
    let out = leave(&canonical, &egress);
    let grown = attr(OPTIONAL, 10, &[vec![2; 4], vec![8; 252]].concat());
    assert_eq!(grown[..4], [0x90, 10, 1, 0]);
    assert!(out.ends_with(&grown));
}

/// RFC 4271, 5.
#[test]
fn an_unknown_attribute_leaves_with_the_partial_bit_and_a_known_one_as_it_came() {
    let long = vec![3; 300];
    let canonical = [
        origin(),
        as_path(),
        attr(BOTH, 35, &[0, 0, 0, 9]),
        attr(BOTH, 99, &[1]),
        attr(BOTH | PARTIAL, 100, &long),
    ]
    .concat();
    let out = leave(&canonical, &INTERNAL);
    let expected = [
        attr(BOTH, 35, &[0, 0, 0, 9]),
        attr(BOTH | PARTIAL, 99, &[1]),
        attr(BOTH | PARTIAL, 100, &long),
    ]
    .concat();
    assert!(out.ends_with(&expected));
}
