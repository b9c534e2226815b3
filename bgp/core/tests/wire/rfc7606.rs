//! RFC 7606 for every attribute, by tables: what is wrong, what is done, which section says so.

use wayleave_bgp_core::wire::{DecodeContext, Malformed, Problem};

use crate::build::{
    Decided, EXTENDED, EXTERNAL, INTERNAL, OLD_INTERNAL, OPTIONAL, PARTIAL, TRANSITIVE, attr,
    judge, judge_with, mp_reach, old_segment, segment, sized, with_mandatory_but,
};

const WELL_KNOWN: u8 = TRANSITIVE;
const BOTH: u8 = OPTIONAL | TRANSITIVE;

/// What a wrong length or value of an attribute leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Withdraw,
    Discard,
    Reset,
}

pub(crate) struct Row {
    pub(crate) code: u8,
    pub(crate) flags: u8,
    /// The session it may come over.
    pub(crate) context: DecodeContext,
    /// A value that is well-formed from an internal peer.
    pub(crate) good: Vec<u8>,
    /// Lengths that are wrong; the value is cut or padded to them.
    pub(crate) bad_lengths: &'static [usize],
    pub(crate) then: Then,
    pub(crate) section: &'static str,
    /// An external peer's is left out.
    pub(crate) internal_only: bool,
}

impl Row {
    /// The mandatory attributes of such a session, but this one, then `more`.
    pub(crate) fn with_mandatory(&self, more: &[u8]) -> Vec<u8> {
        if self.context.as4 {
            return with_mandatory_but(self.code, more);
        }
        let path = attr(WELL_KNOWN, 2, &old_segment(2, &[23_456, 65_001]));
        with_mandatory_but(2, &[path.as_slice(), more].concat())
    }

    fn judge(&self, more: &[u8]) -> (Decided, Option<Malformed>, Vec<u8>) {
        judge(&self.with_mandatory(more), self.context)
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |code, flags, good: &[u8], bad_lengths, then, section| Row {
        code,
        flags,
        context: if matches!(code, 17 | 18) {
            OLD_INTERNAL
        } else {
            INTERNAL
        },
        good: good.to_vec(),
        bad_lengths,
        then,
        section,
        internal_only: matches!(code, 5 | 9 | 10),
    };
    use Then::{Discard, Reset, Withdraw};
    vec![
        row(1, WELL_KNOWN, &[0], &[0, 2, 255], Withdraw, "RFC 7606, 7.1"),
        row(
            2,
            WELL_KNOWN,
            &segment(2, &[65_001]),
            &[1, 2, 5, 7],
            Withdraw,
            "RFC 7606, 7.2",
        ),
        row(
            3,
            WELL_KNOWN,
            &[192, 0, 2, 1],
            &[0, 3, 5, 16],
            Withdraw,
            "RFC 7606, 7.3",
        ),
        row(
            4,
            OPTIONAL,
            &[0, 0, 0, 9],
            &[0, 3, 5],
            Withdraw,
            "RFC 7606, 7.4",
        ),
        row(
            5,
            WELL_KNOWN,
            &[0, 0, 0, 100],
            &[0, 3, 5],
            Withdraw,
            "RFC 7606, 7.5",
        ),
        row(6, WELL_KNOWN, &[], &[1, 4], Discard, "RFC 7606, 7.6"),
        row(
            7,
            BOTH,
            &[0, 0, 253, 233, 192, 0, 2, 1],
            &[0, 6, 7, 9],
            Discard,
            "RFC 7606, 7.7",
        ),
        row(
            8,
            BOTH,
            &[0, 1, 0, 2, 0, 3, 0, 4],
            &[0, 3, 5, 7],
            Withdraw,
            "RFC 7606, 7.8",
        ),
        row(
            9,
            OPTIONAL,
            &[192, 0, 2, 9],
            &[0, 3, 5],
            Withdraw,
            "RFC 7606, 7.9",
        ),
        row(
            10,
            OPTIONAL,
            &[192, 0, 2, 9],
            &[0, 3, 5],
            Withdraw,
            "RFC 7606, 7.10",
        ),
        row(
            14,
            OPTIONAL,
            &mp_reach(2, 16, &[]),
            &[0, 1, 4],
            Reset,
            "RFC 7606, 5.3",
        ),
        row(15, OPTIONAL, &[0, 2, 1], &[0, 1, 2], Reset, "RFC 7606, 5.3"),
        row(
            16,
            BOTH,
            &[0, 2, 0, 1, 0, 0, 0, 1],
            &[0, 7, 9, 15],
            Withdraw,
            "RFC 7606, 7.14",
        ),
        row(
            17,
            BOTH,
            &segment(2, &[100_000]),
            &[0, 2, 4, 5, 7],
            Discard,
            "RFC 6793, 6",
        ),
        row(
            18,
            BOTH,
            &[0, 1, 0x86, 0xA0, 192, 0, 2, 1],
            &[0, 6, 7, 9],
            Discard,
            "RFC 6793, 6",
        ),
        row(
            25,
            BOTH,
            &[7; 20],
            &[0, 19, 21, 39],
            Withdraw,
            "RFC 7606, 7.15",
        ),
        row(
            32,
            BOTH,
            &[7; 12],
            &[0, 11, 13, 23],
            Withdraw,
            "RFC 8092, 6",
        ),
        row(
            35,
            BOTH,
            &[0, 0, 253, 233],
            &[0, 3, 5],
            Withdraw,
            "RFC 9234, 5",
        ),
    ]
}

#[test]
fn every_attribute_is_accepted_as_its_rfc_draws_it() {
    for row in rows() {
        assert_eq!(
            row.judge(&attr(row.flags, row.code, &row.good)).0,
            Decided::Ok,
            "attribute {}",
            row.code
        );
        // "The lower-order four bits of the Attribute Flags octet ... MUST be ignored when
        // received", a length of two octets is as good as one, and the Partial bit is not among
        // those that RFC 7606, 3 c judges (RFC 4271, 4.3).
        for flags in [row.flags | 0x0F, row.flags | EXTENDED, row.flags | PARTIAL] {
            assert_eq!(
                row.judge(&attr(flags, row.code, &row.good)).0,
                Decided::Ok,
                "attribute {}",
                row.code
            );
        }
    }
}

#[test]
fn every_wrong_length_leads_to_what_the_attributes_section_says() {
    for row in rows() {
        for &len in row.bad_lengths {
            let bad = attr(row.flags, row.code, &sized(&row.good, len));
            let (decided, malformed, canonical) = row.judge(&bad);
            let what = format!("attribute {} of {len} octets: {decided:?}", row.code);
            match (row.then, decided) {
                (Then::Withdraw, Decided::Withdraw(_)) => assert!(canonical.is_empty()),
                (Then::Discard, Decided::Discard(_)) => assert!(!canonical.is_empty()),
                (Then::Reset, Decided::Reset(3, 9)) => assert!(canonical.is_empty()),
                _ => panic!("{what}"),
            }
            let malformed = malformed.expect("anything but Ok has a reason");
            assert_eq!(
                (malformed.code, malformed.section),
                (row.code, row.section),
                "{what}"
            );
        }
    }
}

/// RFC 7606, 3 c; for MP_REACH_NLRI and MP_UNREACH_NLRI 5.3.
#[test]
fn every_wrong_optional_or_transitive_bit_is_treated_as_withdraw_or_resets() {
    for row in rows() {
        for flip in [OPTIONAL, TRANSITIVE, BOTH] {
            let bad = attr(row.flags ^ flip, row.code, &row.good);
            let (decided, malformed, _) = row.judge(&bad);
            let (expected, section) = match row.then {
                Then::Reset => (Decided::Reset(3, 4), "RFC 7606, 5.3"),
                Then::Withdraw | Then::Discard => {
                    (Decided::Withdraw(Problem::Flags), "RFC 7606, 3 c")
                }
            };
            assert_eq!(
                decided, expected,
                "attribute {} with {flip:#x} flipped",
                row.code
            );
            assert_eq!(malformed.expect("a reason").section, section);
        }
    }
}

/// RFC 7606, 3 g.
#[test]
fn the_first_of_two_counts_and_two_multiprotocol_attributes_reset() {
    for row in rows() {
        let good = attr(row.flags, row.code, &row.good);
        // The second one is even malformed: it is left out before anybody looks.
        let second = attr(row.flags ^ OPTIONAL, row.code, &[9; 31]);
        let (decided, malformed, canonical) = row.judge(&[good.clone(), second].concat());
        match row.then {
            Then::Reset => assert_eq!(decided, Decided::Reset(3, 1)),
            Then::Withdraw | Then::Discard => {
                assert_eq!(decided, Decided::Discard(Problem::Duplicate));
                assert_eq!(canonical, row.judge(&good).2);
            }
        }
        assert_eq!(malformed.expect("a reason").section, "RFC 7606, 3 g");
    }
    // "whether recognized or unrecognized"
    let twice = [attr(BOTH, 99, &[1]), attr(BOTH, 99, &[2])].concat();
    let (decided, _, canonical) = judge(&with_mandatory_but(0, &twice), INTERNAL);
    assert_eq!(decided, Decided::Discard(Problem::Duplicate));
    assert!(canonical.ends_with(&[BOTH, 99, 1, 1]));
}

/// RFC 7606, 7.5, 7.9 and 7.10.
#[test]
fn what_only_internal_peers_may_send_is_discarded_from_external_ones() {
    for row in rows() {
        let external = DecodeContext {
            ebgp: true,
            ..row.context
        };
        let raw = row.with_mandatory(&attr(row.flags, row.code, &row.good));
        let (decided, malformed, canonical) = judge(&raw, external);
        if row.internal_only {
            assert_eq!(decided, Decided::Discard(Problem::FromExternal));
            assert_eq!(malformed.expect("a reason").section, row.section);
            assert_eq!(canonical, judge(&with_mandatory_but(0, &[]), EXTERNAL).2);
            // Whatever it looks like: it is not looked at.
            let raw = with_mandatory_but(row.code, &attr(OPTIONAL, row.code, &[]));
            assert_eq!(
                judge(&raw, EXTERNAL).0,
                Decided::Discard(Problem::FromExternal)
            );
        } else {
            assert_eq!(decided, Decided::Ok, "attribute {}", row.code);
        }
    }
}

/// RFC 7606, 7.1.
#[test]
fn an_undefined_origin_is_treated_as_withdraw() {
    for value in 0..=255 {
        let raw = with_mandatory_but(1, &attr(WELL_KNOWN, 1, &[value]));
        let expected = if value <= 2 {
            Decided::Ok
        } else {
            Decided::Withdraw(Problem::Value)
        };
        assert_eq!(judge(&raw, INTERNAL).0, expected, "ORIGIN {value}");
    }
}

/// RFC 7606, 7.2; RFC 5065, 5; RFC 7607, 2.
#[test]
fn every_malformed_as_path_is_treated_as_withdraw() {
    let good = segment(2, &[65_001]);
    let after_good = |bad: &[u8]| [good.as_slice(), bad].concat();
    let cases: [(&str, Vec<u8>, Problem); 9] = [
        ("an unknown type", segment(5, &[1]), Problem::SegmentType),
        ("type 0", segment(0, &[1]), Problem::SegmentType),
        (
            "an overrun",
            after_good(&[2, 2, 0, 0, 0, 1]),
            Problem::SegmentLength,
        ),
        (
            "an overrun by one octet",
            after_good(&[2, 1, 0, 0, 0]),
            Problem::SegmentLength,
        ),
        ("an underrun", after_good(&[2]), Problem::SegmentLength),
        (
            "an empty segment",
            after_good(&[2, 0]),
            Problem::SegmentLength,
        ),
        (
            "an empty segment first",
            [&[1, 0], good.as_slice()].concat(),
            Problem::SegmentLength,
        ),
        ("AS 0", segment(2, &[65_001, 0]), Problem::AsZero),
        ("AS 0 in a set", segment(1, &[0]), Problem::AsZero),
    ];
    for (what, path, problem) in cases {
        let raw = with_mandatory_but(2, &attr(WELL_KNOWN, 2, &path));
        let (decided, malformed, _) = judge(&raw, INTERNAL);
        assert_eq!(decided, Decided::Withdraw(problem), "{what}");
        let section = if problem == Problem::AsZero {
            "RFC 7607, 2"
        } else {
            "RFC 7606, 7.2"
        };
        assert_eq!(malformed.expect("a reason").section, section, "{what}");
    }
    // "only AS_PATH and ATOMIC_AGGREGATE may validly have an attribute length of zero" (4)
    assert_eq!(
        judge(&with_mandatory_but(2, &attr(WELL_KNOWN, 2, &[])), INTERNAL).0,
        Decided::Ok
    );
    for kind in [3, 4] {
        let raw = with_mandatory_but(2, &attr(WELL_KNOWN, 2, &segment(kind, &[65_001])));
        assert_eq!(judge(&raw, INTERNAL).0, Decided::Ok);
        assert_eq!(
            judge(&raw, EXTERNAL).0,
            Decided::Withdraw(Problem::Confederation)
        );
    }
    // Two octets per number: the same path read with the wrong width does not add up.
    let raw = with_mandatory_but(2, &attr(WELL_KNOWN, 2, &old_segment(2, &[65_001, 0])));
    assert_eq!(
        judge(&raw, OLD_INTERNAL).0,
        Decided::Withdraw(Problem::AsZero)
    );
    let raw = with_mandatory_but(2, &attr(WELL_KNOWN, 2, &old_segment(2, &[1, 2, 3])));
    assert_eq!(judge(&raw, OLD_INTERNAL).0, Decided::Ok);
    assert_eq!(
        judge(&raw, INTERNAL).0,
        Decided::Withdraw(Problem::SegmentLength)
    );
}

/// RFC 4271, 6.3 ("a valid IP host address") with RFC 7606, 3 e.
#[test]
fn a_next_hop_that_cannot_be_a_host_is_treated_as_withdraw() {
    for (address, expected) in [
        ([192, 0, 2, 1], Decided::Ok),
        ([127, 0, 0, 1], Decided::Ok),
        ([0, 0, 0, 0], Decided::Withdraw(Problem::NextHop)),
        ([224, 0, 0, 5], Decided::Withdraw(Problem::NextHop)),
        ([255, 255, 255, 255], Decided::Withdraw(Problem::NextHop)),
    ] {
        let raw = with_mandatory_but(3, &attr(WELL_KNOWN, 3, &address));
        assert_eq!(judge(&raw, INTERNAL).0, expected, "{address:?}");
    }
}

/// RFC 7606, 7.7: the length depends on the session; RFC 7607, 2 for AS 0.
#[test]
fn an_aggregator_has_six_octets_from_an_old_speaker_and_eight_from_a_new_one() {
    let old = |value: &[u8]| {
        let path = attr(WELL_KNOWN, 2, &old_segment(2, &[65_001]));
        with_mandatory_but(2, &[path, attr(BOTH, 7, value)].concat())
    };
    assert_eq!(judge(&old(&[1; 6]), OLD_INTERNAL).0, Decided::Ok);
    assert_eq!(
        judge(&old(&[1; 8]), OLD_INTERNAL).0,
        Decided::Discard(Problem::Length)
    );
    let zero = [0, 0, 192, 0, 2, 1];
    assert_eq!(
        judge(&old(&zero), OLD_INTERNAL).0,
        Decided::Discard(Problem::AsZero)
    );
    let zero = attr(BOTH, 7, &[0, 0, 0, 0, 192, 0, 2, 1]);
    let (decided, malformed, canonical) = judge(&with_mandatory_but(0, &zero), INTERNAL);
    assert_eq!(decided, Decided::Discard(Problem::AsZero));
    assert_eq!(malformed.expect("a reason").section, "RFC 7607, 2");
    assert_eq!(canonical, judge(&with_mandatory_but(0, &[]), INTERNAL).2);
}

/// RFC 6793, 6.
#[test]
fn attributes_for_old_speakers_are_discarded_when_malformed_or_from_a_new_one() {
    let old = |more: &[u8]| {
        let path = attr(WELL_KNOWN, 2, &old_segment(2, &[23_456, 65_001]));
        judge(
            &with_mandatory_but(2, &[path.as_slice(), more].concat()),
            OLD_INTERNAL,
        )
        .0
    };
    for (value, problem) in [
        (vec![], Problem::Length),
        (vec![2, 0], Problem::Length),
        (vec![2, 1, 0, 0, 0], Problem::Length),
        (vec![2, 1, 0, 0, 0, 1, 2], Problem::Length),
        (vec![2, 2, 0, 0, 0, 1], Problem::SegmentLength),
        (vec![2, 0, 0, 0, 0, 1], Problem::SegmentLength),
        (segment(7, &[1]), Problem::SegmentType),
        (segment(2, &[1, 0]), Problem::AsZero),
    ] {
        assert_eq!(
            old(&attr(BOTH, 17, &value)),
            Decided::Discard(problem),
            "{value:?}"
        );
    }
    assert_eq!(old(&attr(BOTH, 17, &segment(2, &[100_000]))), Decided::Ok);
    assert_eq!(
        old(&attr(BOTH, 18, &[1; 6])),
        Decided::Discard(Problem::Length)
    );
    assert_eq!(old(&attr(BOTH, 18, &[1; 8])), Decided::Ok);
    assert_eq!(
        old(&attr(OPTIONAL, 18, &[1; 8])),
        Decided::Withdraw(Problem::Flags)
    );
    // From a new one whatever it looks like, flags too: "MUST discard the path attribute".
    for (flags, code, value) in [
        (BOTH, 17, segment(2, &[100_000])),
        (BOTH, 18, vec![1; 8]),
        (OPTIONAL, 17, vec![1]),
        (TRANSITIVE, 18, vec![]),
    ] {
        let raw = with_mandatory_but(0, &attr(flags, code, &value));
        let (decided, malformed, canonical) = judge(&raw, INTERNAL);
        assert_eq!(decided, Decided::Discard(Problem::FromNewSpeaker));
        assert_eq!(malformed.expect("a reason").section, "RFC 6793, 6");
        assert_eq!(canonical, judge(&with_mandatory_but(0, &[]), INTERNAL).2);
    }
}

/// RFC 7311, 3.3: where no session is configured to carry it, AIGP is "quietly ignored and not
/// passed along", and so not handed on either by one whose sender marked it as transitive.
#[test]
fn aigp_is_quietly_ignored_whatever_it_looks_like() {
    let without = judge(&with_mandatory_but(0, &[]), INTERNAL);
    let metric = [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    for flags in [OPTIONAL, BOTH, TRANSITIVE, 0] {
        for value in [&metric[..], &metric[..5], &[]] {
            let raw = with_mandatory_but(0, &attr(flags, 26, value));
            assert_eq!(judge(&raw, INTERNAL), without);
            assert_eq!(judge(&raw, EXTERNAL), without);
        }
    }
}

/// RFC 4760, 3: a NEXT_HOP beside prefixes of MP_REACH_NLRI alone SHOULD be ignored. Some daemons
/// fill it with zeros.
#[test]
fn a_malformed_next_hop_matters_only_where_an_ipv4_prefix_needs_it() {
    let reach = attr(OPTIONAL, 14, &mp_reach(2, 16, &[16, 0x20, 1]));
    let others = with_mandatory_but(3, &[]);
    for bad in [
        attr(WELL_KNOWN, 3, &[0, 0, 0, 0]),
        attr(WELL_KNOWN, 3, &[1; 16]),
        attr(OPTIONAL, 3, &[192, 0, 2, 1]),
    ] {
        for raw in [
            [&reach[..], &others, &bad].concat(),
            [&others[..], &bad, &reach].concat(),
        ] {
            let (decided, malformed, canonical) = judge_with(&raw, INTERNAL, false);
            assert!(matches!(decided, Decided::Discard(_)), "{decided:?}");
            let malformed = malformed.expect("a reason");
            assert_eq!((malformed.code, malformed.section), (3, "RFC 4760, 3"));
            let alone = [&others[..], &reach].concat();
            assert_eq!(canonical, judge_with(&alone, INTERNAL, false).2);
            assert!(matches!(judge(&raw, INTERNAL).0, Decided::Withdraw(_)));
        }
        // Nothing at all is announced: RFC 7606, 5.2 asks for more than to ignore it.
        let raw = [&others[..], &bad].concat();
        assert!(matches!(
            judge_with(&raw, INTERNAL, false).0,
            Decided::Reset(3, _)
        ));
    }
}

/// So that no attribute comes into the table without its row here.
#[test]
fn every_attribute_that_is_known_has_its_row() {
    let known: Vec<u8> = (0..=255)
        .filter(|&code| {
            // Marked as well-known, all but those that are known reset the session.
            judge(&with_mandatory_but(code, &attr(0, code, &[])), INTERNAL).0
                != Decided::Reset(3, 2)
        })
        .collect();
    let mut rows: Vec<u8> = rows().iter().map(|row| row.code).collect();
    rows.push(26);
    rows.sort_unstable();
    assert_eq!(known, rows);
}
