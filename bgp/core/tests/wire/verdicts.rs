//! RFC 7606 for UPDATEs as a whole: what is missing, cut off, unknown, or wrong in several ways.

use wayleave_bgp_core::wire::{Malformed, MpReach, Problem, Verdict, parse_attributes};

use crate::{
    build::{
        Decided, EXTENDED, INTERNAL, OPTIONAL, PARTIAL, TRANSITIVE, as_path, attr, judge,
        judge_with, mp_reach, next_hop, origin, sized, with_mandatory_but,
    },
    rfc7606::{Then, rows},
};

const BOTH: u8 = OPTIONAL | TRANSITIVE;

/// RFC 7606, 3 d.
#[test]
fn a_missing_mandatory_attribute_is_treated_as_withdraw_where_prefixes_are_announced() {
    for code in 1..=3 {
        let (decided, malformed, _) = judge(&with_mandatory_but(code, &[]), INTERNAL);
        assert_eq!(decided, Decided::Withdraw(Problem::Missing));
        let expected = Malformed {
            code,
            problem: Problem::Missing,
            section: "RFC 7606, 3 d",
        };
        assert_eq!(malformed, Some(expected));
        // Nothing is announced: nothing is mandatory.
        let (decided, ..) = judge_with(&with_mandatory_but(code, &[]), INTERNAL, false);
        assert_eq!(decided, Decided::Ok);
    }
    // MP_REACH_NLRI has its own next hop (RFC 4760, 3).
    let reach = attr(
        OPTIONAL,
        14,
        &mp_reach(2, 16, &[64, 32, 1, 0, 0, 0, 0, 0, 0]),
    );
    let raw = with_mandatory_but(3, &reach);
    assert_eq!(judge_with(&raw, INTERNAL, false).0, Decided::Ok);
    assert_eq!(judge(&raw, INTERNAL).0, Decided::Withdraw(Problem::Missing));
    let raw = [origin(), reach].concat();
    assert_eq!(
        judge_with(&raw, INTERNAL, false).0,
        Decided::Withdraw(Problem::Missing)
    );
}

/// RFC 7606, 4.
#[test]
fn attributes_that_overrun_their_total_length_are_treated_as_withdraw() {
    let cases: [&[u8]; 6] = [
        &[OPTIONAL],
        &[OPTIONAL, 4],
        &[OPTIONAL, 4, 5, 0, 0, 0, 1],
        &[OPTIONAL | EXTENDED, 4, 0],
        &[OPTIONAL | EXTENDED, 4, 0, 5, 0, 0, 0, 1],
        &[OPTIONAL | EXTENDED, 4, 255, 255],
    ];
    for cut in cases {
        let (decided, malformed, _) = judge(&with_mandatory_but(0, cut), INTERNAL);
        assert_eq!(decided, Decided::Withdraw(Problem::Overrun), "{cut:?}");
        assert_eq!(malformed.expect("a reason").section, "RFC 7606, 4");
    }
}

/// RFC 7606, 5.2.
#[test]
fn without_anything_announced_an_error_that_is_not_a_discard_resets() {
    for row in rows() {
        let Some(&len) = row.bad_lengths.last() else {
            continue;
        };
        let raw = attr(row.flags, row.code, &sized(&row.good, len));
        let (decided, malformed, _) = judge_with(&raw, row.context, false);
        match row.then {
            Then::Discard => assert!(matches!(decided, Decided::Discard(_))),
            Then::Withdraw => {
                assert!(
                    matches!(decided, Decided::Reset(3, _)),
                    "attribute {}",
                    row.code
                );
                assert_eq!(malformed.expect("a reason").section, "RFC 7606, 5.2");
            }
            Then::Reset => assert_eq!(decided, Decided::Reset(3, 9)),
        }
    }
    let subcode = |raw: &[u8]| judge_with(raw, INTERNAL, false).0;
    assert_eq!(subcode(&attr(TRANSITIVE, 1, &[3])), Decided::Reset(3, 6));
    assert_eq!(
        subcode(&attr(TRANSITIVE, 2, &[9, 9])),
        Decided::Reset(3, 11)
    );
    assert_eq!(subcode(&attr(TRANSITIVE, 3, &[0; 4])), Decided::Reset(3, 8));
    assert_eq!(subcode(&attr(OPTIONAL, 4, &[0; 3])), Decided::Reset(3, 5));
    assert_eq!(subcode(&attr(BOTH, 4, &[0; 4])), Decided::Reset(3, 4));
    assert_eq!(subcode(&[OPTIONAL, 4]), Decided::Reset(3, 1));
    // Prefixes withdrawn do not help: "doesn't encode any reachable NLRI".
    let unreach = attr(OPTIONAL, 15, &[0, 2, 1, 16, 32, 1]);
    let raw = [unreach, attr(OPTIONAL, 4, &[0; 3])].concat();
    assert_eq!(subcode(&raw), Decided::Reset(3, 5));
    // MP_REACH_NLRI without a prefix announces nothing either.
    let reach = attr(OPTIONAL, 14, &mp_reach(2, 16, &[]));
    let raw = with_mandatory_but(0, &[reach, attr(OPTIONAL, 4, &[0; 3])].concat());
    assert_eq!(subcode(&raw), Decided::Reset(3, 5));
}

/// RFC 7606, 3 h.
#[test]
fn of_several_errors_the_strongest_remedy_decides_whatever_their_order() {
    let discard = attr(TRANSITIVE, 6, &[1]);
    let withdraw = attr(OPTIONAL, 4, &[1]);
    let reset = attr(OPTIONAL, 15, &[1]);
    let orders = [
        [&discard, &withdraw, &reset],
        [&reset, &withdraw, &discard],
        [&withdraw, &reset, &discard],
    ];
    for order in orders {
        let errors: Vec<u8> = order.into_iter().flatten().copied().collect();
        assert_eq!(
            judge(&with_mandatory_but(0, &errors), INTERNAL).0,
            Decided::Reset(3, 9)
        );
    }
    for order in [[&discard, &withdraw], [&withdraw, &discard]] {
        let errors: Vec<u8> = order.into_iter().flatten().copied().collect();
        let (decided, ..) = judge(&with_mandatory_but(0, &errors), INTERNAL);
        assert_eq!(decided, Decided::Withdraw(Problem::Length));
    }
    // An attribute that a reset hides behind is found although one before it is malformed.
    let bad_origin = attr(TRANSITIVE, 1, &[9]);
    let raw = [bad_origin, as_path(), next_hop(), reset].concat();
    assert_eq!(judge(&raw, INTERNAL).0, Decided::Reset(3, 9));
}

/// RFC 4271, 6.3 and 5.
#[test]
fn unknown_attributes_reset_when_well_known_pass_when_transitive_and_vanish_otherwise() {
    for (flags, expected) in [
        (0, Decided::Reset(3, 2)),
        (TRANSITIVE, Decided::Reset(3, 2)),
        (OPTIONAL, Decided::Ok),
        (BOTH, Decided::Ok),
        (BOTH | PARTIAL, Decided::Ok),
    ] {
        let raw = with_mandatory_but(0, &attr(flags, 99, &[1, 2, 3]));
        let (decided, _, canonical) = judge(&raw, INTERNAL);
        assert_eq!(decided, expected, "flags {flags:#x}");
        let kept = canonical.ends_with(&[flags, 99, 3, 1, 2, 3]);
        assert_eq!(kept, flags & BOTH == BOTH, "flags {flags:#x}");
    }
    let mut canonical = Vec::new();
    let raw = with_mandatory_but(0, &attr(TRANSITIVE, 99, &[1]));
    let parsed = parse_attributes(&raw, &INTERNAL, true, &mut canonical);
    let Verdict::Reset(notification) = parsed.verdict else {
        panic!("{:?}", parsed.verdict);
    };
    // "The Data field MUST contain the unrecognized attribute (type, length, and value)."
    assert_eq!(notification.data, [TRANSITIVE, 99, 1, 1]);
}

/// RFC 7606, 7.11; RFC 2545, 3; RFC 8950, 3.
#[test]
fn a_multiprotocol_next_hop_has_a_length_of_its_family_or_resets() {
    for afi in [1, 2] {
        for len in 0..=48 {
            let raw = with_mandatory_but(0, &attr(OPTIONAL, 14, &mp_reach(afi, len, &[0])));
            let (decided, malformed, _) = judge(&raw, INTERNAL);
            if matches!((afi, len), (1, 4) | (_, 16 | 32)) {
                assert_eq!(decided, Decided::Ok, "AFI {afi}, {len} octets");
            } else {
                assert_eq!(decided, Decided::Reset(3, 9), "AFI {afi}, {len} octets");
                assert_eq!(malformed.expect("a reason").section, "RFC 7606, 7.11");
            }
        }
    }
    // Longer than the attribute, and no room for the reserved octet.
    for value in [
        vec![0, 2, 1, 200, 1, 2, 3],
        mp_reach(2, 16, &[])[..20].to_vec(),
    ] {
        let raw = with_mandatory_but(0, &attr(OPTIONAL, 14, &value));
        assert_eq!(judge(&raw, INTERNAL).0, Decided::Reset(3, 9));
    }
}

#[test]
fn a_multiprotocol_next_hop_that_cannot_be_one_is_treated_as_withdraw() {
    let reach = |hop: [u8; 16]| {
        let mut value = vec![0, 2, 1, 16];
        value.extend_from_slice(&hop);
        value.extend_from_slice(&[0, 16, 32, 1]);
        judge_with(
            &with_mandatory_but(3, &attr(OPTIONAL, 14, &value)),
            INTERNAL,
            false,
        )
        .0
    };
    assert_eq!(reach([0; 16]), Decided::Withdraw(Problem::NextHop));
    assert_eq!(reach([0xFF; 16]), Decided::Withdraw(Problem::NextHop));
    assert_eq!(reach([0x20; 16]), Decided::Ok);
}

#[test]
fn multiprotocol_attributes_are_found_wherever_they_stand() {
    let nlri = [64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1];
    let reach = attr(OPTIONAL, 14, &mp_reach(2, 16, &nlri));
    let unreach = attr(OPTIONAL, 15, &[0, 1, 1, 8, 10]);
    let mut canonical = Vec::new();
    let orders = [
        [reach.clone(), unreach.clone(), origin(), as_path()].concat(),
        [origin(), unreach.clone(), as_path(), reach.clone()].concat(),
        // An error behind them does not hide them.
        [unreach, reach, origin(), as_path(), vec![OPTIONAL, 4]].concat(),
    ];
    for raw in &orders {
        let parsed = parse_attributes(raw, &INTERNAL, false, &mut canonical);
        let Some(MpReach {
            afi: 2,
            safi: 1,
            nlri: found,
            ..
        }) = parsed.reach
        else {
            panic!("{:?}", parsed.reach);
        };
        assert_eq!(found, nlri);
        let unreach = parsed.unreach.expect("it is there");
        assert_eq!(
            (unreach.afi, unreach.safi, unreach.nlri),
            (1, 1, &[8, 10][..])
        );
        assert!(!matches!(parsed.verdict, Verdict::Reset(_)));
    }
}

#[test]
fn verdicts_are_told_in_words_with_their_section() {
    let (_, malformed, _) = judge(&with_mandatory_but(1, &attr(TRANSITIVE, 1, &[7])), INTERNAL);
    assert_eq!(
        malformed.expect("a reason").to_string(),
        "ORIGIN: a value that is not defined (RFC 7606, 7.1)"
    );
    let (_, malformed, _) = judge(&with_mandatory_but(0, &[1]), INTERNAL);
    assert_eq!(
        malformed.expect("a reason").to_string(),
        "path attributes: reaches past the end of the attributes (RFC 7606, 4)"
    );
    let (_, malformed, _) = judge(&with_mandatory_but(0, &attr(0, 99, &[])), INTERNAL);
    assert_eq!(
        malformed.expect("a reason").to_string(),
        "attribute 99: marked well-known and not known (RFC 4271, 6.3)"
    );
}
