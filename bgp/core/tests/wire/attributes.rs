//! The canonical form and the facts taken from it.

use wayleave_bgp_core::{
    Asn, RouterId,
    attributes::{Attributes, UnknownAttribute},
    wire::{
        AttrFacts, cluster_list_contains, decode_canonical, encode_canonical, facts_of,
        path_contains,
    },
};

use crate::build::{
    Decided, EXTENDED, INTERNAL, OPTIONAL, PARTIAL, TRANSITIVE, as_path, attr, judge, next_hop,
    origin, segment, with_mandatory_but,
};

const BOTH: u8 = OPTIONAL | TRANSITIVE;

#[test]
fn canonical_attributes_do_not_depend_on_the_senders_order_and_habits() {
    let parts = [
        origin(),
        as_path(),
        next_hop(),
        attr(OPTIONAL, 4, &[0, 0, 0, 7]),
        attr(TRANSITIVE, 5, &[0, 0, 0, 200]),
        attr(BOTH, 8, &[0, 1, 0, 2]),
        attr(BOTH, 32, &[7; 12]),
        attr(BOTH, 99, &[1]),
        attr(OPTIONAL, 120, &[1]),
    ];
    let tidy = parts.concat();
    let (decided, _, expected) = judge(&tidy, INTERNAL);
    assert_eq!(decided, Decided::Ok);
    let without: Vec<u8> = parts
        .iter()
        .filter(|part| !matches!(part[1], 3 | 120))
        .flatten()
        .copied()
        .collect();
    assert_eq!(expected, without);
    let reversed: Vec<u8> = parts.iter().rev().flatten().copied().collect();
    assert_eq!(judge(&reversed, INTERNAL).2, expected);
    for turn in 0..parts.len() {
        let mut turned = parts.to_vec();
        turned.rotate_left(turn);
        // Every length in two octets, and bits that mean nothing.
        let wordy: Vec<u8> = turned
            .iter()
            .flat_map(|part| attr(part[0] | EXTENDED | 0x0F, part[1], &part[3..]))
            .collect();
        assert_eq!(judge(&wordy, INTERNAL).2, expected, "turned by {turn}");
    }
}

/// RFC 4271, 4.3: the Partial bit of well-known and of non-transitive attributes is 0.
#[test]
fn the_partial_bit_survives_only_where_it_means_something() {
    let raw = with_mandatory_but(
        0,
        &[
            attr(OPTIONAL | PARTIAL, 4, &[0, 0, 0, 7]),
            attr(BOTH | PARTIAL, 8, &[0, 1, 0, 2]),
            attr(BOTH | PARTIAL, 99, &[]),
        ]
        .concat(),
    );
    let expected = [
        origin(),
        as_path(),
        attr(OPTIONAL, 4, &[0, 0, 0, 7]),
        attr(BOTH | PARTIAL, 8, &[0, 1, 0, 2]),
        attr(BOTH | PARTIAL, 99, &[]),
    ]
    .concat();
    assert_eq!(judge(&raw, INTERNAL).2, expected);
}

/// RFC 8092, 3: redundant values are removed silently; COMMUNITIES keep theirs (RFC 1997).
#[test]
fn redundant_large_communities_are_removed_and_the_order_is_kept() {
    let large = |value: u8| [value; 12];
    for repeats in [1, 40] {
        let mut value = Vec::new();
        for _ in 0..repeats {
            value.extend([large(9), large(1), large(5)].concat());
        }
        let raw = with_mandatory_but(0, &attr(BOTH, 32, &value));
        let (decided, _, canonical) = judge(&raw, INTERNAL);
        assert_eq!(decided, Decided::Ok);
        let list = decode_canonical(&canonical).large_communities;
        let firsts: Vec<u32> = list.iter().map(|large| large.global & 0xFF).collect();
        assert_eq!(firsts, [9, 1, 5], "{repeats} times");
    }
    let twice = attr(BOTH, 8, &[0, 9, 0, 1, 0, 3, 0, 1, 0, 9, 0, 1]);
    let (_, _, canonical) = judge(&with_mandatory_but(0, &twice), INTERNAL);
    assert_eq!(decode_canonical(&canonical).communities.len(), 3);
}

#[test]
fn facts_say_what_the_decision_compares() {
    let path = [
        segment(3, &[64_512, 64_513]),
        segment(2, &[10, 20]),
        segment(1, &[30, 40]),
        segment(2, &[50]),
    ]
    .concat();
    let canonical = [
        attr(TRANSITIVE, 1, &[2]),
        attr(TRANSITIVE, 2, &path),
        attr(OPTIONAL, 4, &[0, 0, 0, 7]),
        attr(TRANSITIVE, 5, &[0, 0, 0, 200]),
        attr(OPTIONAL, 9, &[192, 0, 2, 9]),
        attr(OPTIONAL, 10, &[1; 12]),
    ]
    .concat();
    let expected = AttrFacts {
        origin: 2,
        as_path_len: 4,
        neighbor_as: 10,
        origin_as: 50,
        med: Some(7),
        local_pref: Some(200),
        originator_id: Some(0xC000_0209),
        cluster_len: 3,
        flags: AttrFacts::HAS_SET,
    };
    assert_eq!(facts_of(&canonical), expected);
    for (path, neighbor_as, origin_as) in [
        (vec![], 0, 0),
        (segment(2, &[10]), 10, 10),
        (segment(1, &[10]), 0, 0),
        ([segment(1, &[10]), segment(2, &[20])].concat(), 0, 20),
        ([segment(2, &[10]), segment(1, &[20])].concat(), 10, 0),
        (segment(3, &[64_512]), 0, 0),
    ] {
        let facts = facts_of(&attr(TRANSITIVE, 2, &path));
        assert_eq!(
            (facts.neighbor_as, facts.origin_as),
            (neighbor_as, origin_as),
            "{path:?}"
        );
    }
}

#[test]
fn flags_show_the_well_known_communities_and_what_else_is_there() {
    for (community, flag) in [
        ([0xFF, 0xFF, 0xFF, 0x01], AttrFacts::NO_EXPORT),
        ([0xFF, 0xFF, 0xFF, 0x02], AttrFacts::NO_ADVERTISE),
        ([0xFF, 0xFF, 0xFF, 0x03], AttrFacts::NO_EXPORT_SUBCONFED),
        ([0xFF, 0xFF, 0x00, 0x00], AttrFacts::GRACEFUL_SHUTDOWN),
        ([0xFF, 0xFF, 0x00, 0x06], AttrFacts::LLGR_STALE),
        ([0xFF, 0xFF, 0x00, 0x07], AttrFacts::NO_LLGR),
        ([0xFF, 0xFF, 0x02, 0x9A], AttrFacts::BLACKHOLE),
        ([0xFF, 0xFF, 0x12, 0x34], 0),
        ([0xFD, 0xE9, 0x00, 0x01], 0),
    ] {
        let facts = facts_of(&attr(BOTH, 8, &[[0, 0, 0, 1], community].concat()));
        assert_eq!(
            facts.flags,
            flag | AttrFacts::HAS_COMMUNITIES,
            "{community:x?}"
        );
    }
    assert!(facts_of(&attr(BOTH, 32, &[0; 12])).has(AttrFacts::HAS_LARGE));
    assert!(facts_of(&attr(BOTH, 99, &[])).has(AttrFacts::HAS_UNKNOWN));
    assert!(facts_of(&attr(BOTH, 35, &[0; 4])).has(AttrFacts::ONLY_TO_CUSTOMER));
    assert_eq!(facts_of(&attr(BOTH, 25, &[0; 20])), AttrFacts::default());
}

#[test]
fn loops_are_found_in_paths_and_cluster_lists() {
    let path = [segment(3, &[10]), segment(2, &[10, 20]), segment(1, &[10])].concat();
    let canonical = [
        attr(TRANSITIVE, 2, &path),
        attr(OPTIONAL, 10, &[192, 0, 2, 1, 192, 0, 2, 2]),
    ]
    .concat();
    assert_eq!(path_contains(&canonical, Asn(10)), 3);
    assert_eq!(path_contains(&canonical, Asn(20)), 1);
    assert_eq!(path_contains(&canonical, Asn(30)), 0);
    assert!(cluster_list_contains(
        &canonical,
        RouterId::from(0xC000_0202)
    ));
    assert!(!cluster_list_contains(
        &canonical,
        RouterId::from(0x0002_C000)
    ));
    assert_eq!(path_contains(&[], Asn(10)), 0);
    assert!(!cluster_list_contains(&[], RouterId::from(1)));
}

#[test]
fn unknown_attributes_take_their_place_and_cannot_pose_as_known_ones() {
    let unknown = |code| UnknownAttribute {
        code,
        flags: BOTH | EXTENDED | 0x0F,
        value: vec![code],
    };
    let attributes = Attributes {
        unknown: [99, 21, 2, 14, 17, 11, 99].map(unknown).to_vec(),
        ..Attributes::default()
    };
    let mut out = Vec::new();
    encode_canonical(&attributes, &mut out);
    let expected = [
        origin(),
        attr(TRANSITIVE, 2, &[]),
        attr(BOTH, 11, &[11]),
        attr(BOTH, 21, &[21]),
        attr(BOTH, 99, &[99]),
    ]
    .concat();
    assert_eq!(out, expected);
}

#[test]
fn a_value_that_no_attribute_holds_is_cut_and_stays_readable() {
    let attributes = Attributes {
        extended_communities: vec![[7; 8]; 10_000],
        ..Attributes::default()
    };
    let mut out = Vec::new();
    encode_canonical(&attributes, &mut out);
    assert_eq!(
        decode_canonical(&out).extended_communities.len(),
        65_535 / 8
    );
}
