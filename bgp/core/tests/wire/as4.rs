//! Two- and four-octet AS numbers on one path (RFC 6793, 4.2).

use wayleave_bgp_core::{
    Asn,
    wire::{Egress, decode_canonical, egress_attributes, facts_of},
};

use crate::build::{
    Decided, OLD_INTERNAL, OPTIONAL, TRANSITIVE, attr, judge, old_segment, segment,
    with_mandatory_but,
};

const BOTH: u8 = OPTIONAL | TRANSITIVE;
const TRANS: u16 = 23_456;

fn merged(as_path: &[u8], more: &[u8]) -> String {
    let path = attr(TRANSITIVE, 2, as_path);
    let raw = with_mandatory_but(2, &[path.as_slice(), more].concat());
    let (decided, _, canonical) = judge(&raw, OLD_INTERNAL);
    assert_eq!(decided, Decided::Ok);
    decode_canonical(&canonical).as_path_text()
}

fn as4_path(value: &[u8]) -> Vec<u8> {
    attr(BOTH, 17, value)
}

/// RFC 6793, 4.2.3.
#[test]
fn as4_path_makes_the_end_of_the_path_exact_and_keeps_its_beginning() {
    let cases = [
        (
            "all of it is known exactly",
            old_segment(2, &[TRANS, TRANS]),
            as4_path(&segment(2, &[70_000, 80_000])),
            "70000 80000",
        ),
        (
            "an old speaker has put itself before",
            old_segment(2, &[10, TRANS, 20]),
            as4_path(&segment(2, &[70_000, 20])),
            "10 70000 20",
        ),
        (
            "a set counts one hop",
            [old_segment(2, &[10, TRANS]), old_segment(1, &[TRANS, 30])].concat(),
            as4_path(&[segment(2, &[70_000]), segment(1, &[80_000, 30])].concat()),
            "10 70000 {80000,30}",
        ),
        (
            "AS4_PATH is longer: it is ignored",
            old_segment(2, &[TRANS]),
            as4_path(&segment(2, &[70_000, 80_000])),
            "23456",
        ),
        (
            "a confederation before it is kept",
            [old_segment(3, &[64_512]), old_segment(2, &[TRANS])].concat(),
            as4_path(&segment(2, &[70_000])),
            "(64512) 70000",
        ),
        (
            "a confederation next to a whole segment that is kept is kept",
            [
                old_segment(2, &[10]),
                old_segment(4, &[64_512]),
                old_segment(2, &[TRANS]),
            ]
            .concat(),
            as4_path(&segment(2, &[70_000])),
            "10 [64512] 70000",
        ),
        (
            "a confederation behind what AS4_PATH replaces is not",
            [old_segment(2, &[10, TRANS]), old_segment(3, &[64_512])].concat(),
            as4_path(&segment(2, &[70_000])),
            "10 70000",
        ),
        (
            "confederation segments in AS4_PATH are left out (RFC 6793, 6)",
            old_segment(2, &[TRANS]),
            as4_path(&[segment(3, &[64_512]), segment(2, &[70_000])].concat()),
            "70000",
        ),
        ("no AS4_PATH", old_segment(2, &[10, 20]), vec![], "10 20"),
    ];
    for (what, path, more, expected) in cases {
        assert_eq!(merged(&path, &more), expected, "{what}");
    }
}

/// RFC 6793, 4.2.3: "if the AS number in the AGGREGATOR attribute is not AS_TRANS".
#[test]
fn an_aggregator_that_is_not_as_trans_makes_as4_attributes_void() {
    let exact = [
        as4_path(&segment(2, &[70_000])),
        attr(BOTH, 18, &[0, 1, 0x11, 0x70, 192, 0, 2, 9]),
    ]
    .concat();
    let aggregator = |asn: u16| {
        let [high, low] = asn.to_be_bytes();
        attr(BOTH, 7, &[high, low, 192, 0, 2, 8])
    };
    let path = attr(TRANSITIVE, 2, &old_segment(2, &[TRANS]));
    for (asn, expected_path, expected) in [(TRANS, "70000", (70_000, 9)), (10, "23456", (10, 8))] {
        let more = [path.clone(), aggregator(asn), exact.clone()].concat();
        let (_, _, canonical) = judge(&with_mandatory_but(2, &more), OLD_INTERNAL);
        let attributes = decode_canonical(&canonical);
        assert_eq!(attributes.as_path_text(), expected_path);
        let aggregator = attributes.aggregator.expect("it was sent");
        let last = aggregator.router_id.0.octets()[3];
        assert_eq!((aggregator.asn.0, last), expected);
    }
}

/// RFC 6793, 4.2.2.
#[test]
fn old_speakers_get_as_trans_and_the_exact_path_beside() {
    let canonical = [
        attr(TRANSITIVE, 1, &[0]),
        attr(
            TRANSITIVE,
            2,
            &[segment(3, &[70_001]), segment(2, &[70_000, 10])].concat(),
        ),
        attr(BOTH, 7, &[0, 1, 0x11, 0x70, 192, 0, 2, 9]),
    ]
    .concat();
    let mut out = Vec::new();
    egress_attributes(&canonical, None, &Egress::default(), &mut out);
    let expected = [
        attr(TRANSITIVE, 1, &[0]),
        attr(
            TRANSITIVE,
            2,
            &[old_segment(3, &[TRANS]), old_segment(2, &[TRANS, 10])].concat(),
        ),
        attr(BOTH, 7, &[0x5B, 0xA0, 192, 0, 2, 9]),
        as4_path(&segment(2, &[70_000, 10])),
        attr(BOTH, 18, &[0, 1, 0x11, 0x70, 192, 0, 2, 9]),
    ]
    .concat();
    assert_eq!(out, expected);
    // With our own AS before it the confederation is left, and the number counts too.
    out.clear();
    let egress = Egress {
        prepend: Some(Asn(90_000)),
        ..Egress::default()
    };
    egress_attributes(&canonical, None, &egress, &mut out);
    let has = |attribute: &[u8]| out.windows(attribute.len()).any(|there| there == attribute);
    assert!(has(&attr(
        TRANSITIVE,
        2,
        &old_segment(2, &[TRANS, TRANS, 10])
    )));
    assert!(has(&as4_path(&segment(2, &[90_000, 70_000, 10]))));
}

/// "AS4_PATH ... MUST NOT be sent" when two octets hold all (RFC 6793, 4.2.2).
#[test]
fn a_path_that_fits_two_octets_goes_without_as4_path() {
    let canonical = [
        attr(TRANSITIVE, 1, &[0]),
        attr(
            TRANSITIVE,
            2,
            &[segment(3, &[70_001]), segment(2, &[20, 10])].concat(),
        ),
        attr(BOTH, 7, &[0, 0, 0, 10, 192, 0, 2, 9]),
    ]
    .concat();
    let mut out = Vec::new();
    egress_attributes(&canonical, None, &Egress::default(), &mut out);
    let expected = [
        attr(TRANSITIVE, 1, &[0]),
        attr(
            TRANSITIVE,
            2,
            &[old_segment(3, &[TRANS]), old_segment(2, &[20, 10])].concat(),
        ),
        attr(BOTH, 7, &[0, 10, 192, 0, 2, 9]),
    ]
    .concat();
    assert_eq!(out, expected);
}

#[test]
fn a_path_past_what_one_length_octet_says_doubles_without_harm() {
    let long: Vec<u16> = (1..=255).collect();
    let path = [old_segment(2, &long), old_segment(2, &long)].concat();
    let raw = with_mandatory_but(2, &attr(TRANSITIVE, 2, &path));
    let (decided, _, canonical) = judge(&raw, OLD_INTERNAL);
    assert_eq!(decided, Decided::Ok);
    let facts = facts_of(&canonical);
    assert_eq!(
        (facts.as_path_len, facts.neighbor_as, facts.origin_as),
        (510, 1, 255)
    );
    let mut out = Vec::new();
    egress_attributes(
        &canonical,
        Some([192, 0, 2, 1].into()),
        &Egress::default(),
        &mut out,
    );
    let (_, _, again) = judge(&out, OLD_INTERNAL);
    assert_eq!(again, canonical);
}
