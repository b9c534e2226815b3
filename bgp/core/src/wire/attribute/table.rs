//! The attributes, in one table: what each looks like and what is done when it does not.
//!
//! What is done belongs to the attribute's definition, never to the flags on the wire: a peer
//! cannot choose how its mistakes are handled by how it marks them.
//!
//! Of attributes that nothing here acts on, AIGP alone stands in the table, because its RFC says
//! what a session without it does, even where the sender marked it as transitive (RFC 7311, 3.3).
//! The others (see [`NAMED`]) are handled as any attribute that is not known: RFC 4271, 6.3 asks
//! only for recognized ones to be checked, and the errors that RFC 6514, 5 (PMSI_TUNNEL), RFC
//! 6368, 5 (ATTR_SET), RFC 9012, 13 (TUNNEL_ENCAPSULATION) and RFC 7606, 7.13 (TRAFFIC_ENGINEERING)
//! define are those of a speaker that acts on them.

use super::{
    parse::DecodeContext,
    path::{self, Width},
    verdict::{Approach, Problem},
};

/// The attribute need not be known by everybody (RFC 4271, 4.3).
pub(crate) const OPTIONAL: u8 = 0x80;
/// Passed on by those who do not know it (RFC 4271, 4.3).
pub(crate) const TRANSITIVE: u8 = 0x40;
/// Somebody on the way did not know it (RFC 4271, 4.3).
pub(crate) const PARTIAL: u8 = 0x20;
/// The length has two octets (RFC 4271, 4.3).
pub(crate) const EXTENDED_LENGTH: u8 = 0x10;

const WELL_KNOWN: u8 = TRANSITIVE;
const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

pub(crate) const ORIGIN: u8 = 1; // RFC 4271, 5.1.1
pub(crate) const AS_PATH: u8 = 2; // RFC 4271, 5.1.2
pub(crate) const NEXT_HOP: u8 = 3; // RFC 4271, 5.1.3
pub(crate) const MULTI_EXIT_DISC: u8 = 4; // RFC 4271, 5.1.4
pub(crate) const LOCAL_PREF: u8 = 5; // RFC 4271, 5.1.5
pub(crate) const ATOMIC_AGGREGATE: u8 = 6; // RFC 4271, 5.1.6
pub(crate) const AGGREGATOR: u8 = 7; // RFC 4271, 5.1.7
pub(crate) const COMMUNITIES: u8 = 8; // RFC 1997
pub(crate) const ORIGINATOR_ID: u8 = 9; // RFC 4456, 8
pub(crate) const CLUSTER_LIST: u8 = 10; // RFC 4456, 8
pub(crate) const MP_REACH_NLRI: u8 = 14; // RFC 4760, 3
pub(crate) const MP_UNREACH_NLRI: u8 = 15; // RFC 4760, 4
pub(crate) const EXTENDED_COMMUNITIES: u8 = 16; // RFC 4360, 2
pub(crate) const AS4_PATH: u8 = 17; // RFC 6793, 3
pub(crate) const AS4_AGGREGATOR: u8 = 18; // RFC 6793, 3
pub(crate) const AIGP: u8 = 26; // RFC 7311, 3
pub(crate) const IPV6_EXTENDED_COMMUNITIES: u8 = 25; // RFC 5701, 2
pub(crate) const LARGE_COMMUNITY: u8 = 32; // RFC 8092, 3
pub(crate) const ONLY_TO_CUSTOMER: u8 = 35; // RFC 9234, 5

/// From whom an attribute is taken. From others it is left out before anybody looks at it: its
/// flags and its value do not count then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenFrom {
    Anybody = 0,
    /// Peers of our AS; from others it is an attribute discard.
    Internal = 1,
    /// Peers with two-octet AS numbers; from others it is an attribute discard (RFC 6793, 6).
    OldSpeakers = 2,
    /// Quietly ignored and not passed along.
    Nobody = 4,
}

impl TakenFrom {
    /// What a session does not take, as bits: one test for every attribute of an UPDATE.
    #[inline]
    pub(super) fn refused(ctx: &DecodeContext) -> u8 {
        let bit = |refused, what: Self| if refused { what as u8 } else { 0 };
        bit(ctx.ebgp, Self::Internal) | bit(ctx.as4, Self::OldSpeakers) | Self::Nobody as u8
    }
}

/// One attribute.
pub(crate) struct Spec {
    pub(super) code: u8,
    pub(crate) name: &'static str,
    /// Optional and Transitive as they must be (RFC 7606, 3 c).
    pub(crate) flags: u8,
    pub(super) on_malformed: Approach,
    pub(super) taken_from: TakenFrom,
    /// The text that says so.
    pub(super) section: &'static str,
    pub(super) check: fn(&[u8], &DecodeContext) -> Result<(), Problem>,
}

use Approach::{Discard, Reset, TreatAsWithdraw};
use TakenFrom::{Anybody, Internal, Nobody, OldSpeakers};

macro_rules! table {
    ($($code:ident $flags:ident $on:ident $from:ident $section:literal $check:expr;)*) => {
        &[$(Spec {
            code: $code,
            name: stringify!($code),
            flags: $flags,
            on_malformed: $on,
            taken_from: $from,
            section: $section,
            check: $check,
        }),*]
    };
}

/// All attributes that are known, by code.
#[rustfmt::skip]
pub(super) static TABLE: &[Spec] = table! {
    ORIGIN                    WELL_KNOWN          TreatAsWithdraw Anybody     "RFC 7606, 7.1"  origin;
    AS_PATH                   WELL_KNOWN          TreatAsWithdraw Anybody     "RFC 7606, 7.2"  as_path;
    NEXT_HOP                  WELL_KNOWN          TreatAsWithdraw Anybody     "RFC 7606, 7.3"  next_hop;
    MULTI_EXIT_DISC           OPTIONAL            TreatAsWithdraw Anybody     "RFC 7606, 7.4"  octets::<4>;
    LOCAL_PREF                WELL_KNOWN          TreatAsWithdraw Internal    "RFC 7606, 7.5"  octets::<4>;
    ATOMIC_AGGREGATE          WELL_KNOWN          Discard         Anybody     "RFC 7606, 7.6"  octets::<0>;
    AGGREGATOR                OPTIONAL_TRANSITIVE Discard         Anybody     "RFC 7606, 7.7"  aggregator;
    COMMUNITIES               OPTIONAL_TRANSITIVE TreatAsWithdraw Anybody     "RFC 7606, 7.8"  items::<4>;
    ORIGINATOR_ID             OPTIONAL            TreatAsWithdraw Internal    "RFC 7606, 7.9"  octets::<4>;
    CLUSTER_LIST              OPTIONAL            TreatAsWithdraw Internal    "RFC 7606, 7.10" items::<4>;
    MP_REACH_NLRI             OPTIONAL            Reset           Anybody     "RFC 7606, 7.11" anything;
    MP_UNREACH_NLRI           OPTIONAL            Reset           Anybody     "RFC 7606, 7.12" anything;
    EXTENDED_COMMUNITIES      OPTIONAL_TRANSITIVE TreatAsWithdraw Anybody     "RFC 7606, 7.14" items::<8>;
    AS4_PATH                  OPTIONAL_TRANSITIVE Discard         OldSpeakers "RFC 6793, 6"    as4_path;
    AS4_AGGREGATOR            OPTIONAL_TRANSITIVE Discard         OldSpeakers "RFC 6793, 6"    as4_aggregator;
    IPV6_EXTENDED_COMMUNITIES OPTIONAL_TRANSITIVE TreatAsWithdraw Anybody     "RFC 7606, 7.15" items::<20>;
    AIGP                      OPTIONAL            Discard         Nobody      "RFC 7311, 3.3" anything;
    LARGE_COMMUNITY           OPTIONAL_TRANSITIVE TreatAsWithdraw Anybody     "RFC 8092, 6"    items::<12>;
    ONLY_TO_CUSTOMER          OPTIONAL_TRANSITIVE TreatAsWithdraw Anybody     "RFC 9234, 5"    octets::<4>;
};

/// Codes past the last known one.
const CODES: usize = 36;

/// [`TABLE`] by code.
#[expect(
    clippy::indexing_slicing,
    reason = "runs at compile time, where a wrong index does not compile"
)]
static BY_CODE: [Option<&Spec>; CODES] = {
    let mut by_code = [None; CODES];
    let mut place = 0;
    while place < TABLE.len() {
        let spec = &TABLE[place];
        by_code[spec.code as usize] = Some(spec);
        place += 1;
    }
    by_code
};

/// The definition of an attribute, if it is known.
#[inline]
pub(crate) fn spec(code: u8) -> Option<&'static Spec> {
    *BY_CODE.get(usize::from(code))?
}

/// Attributes that are handled as unknown ones, and whose names help an operator.
const NAMED: &[(u8, &str)] = &[
    (22, "PMSI_TUNNEL"),             // RFC 6514, 5
    (23, "TUNNEL_ENCAPSULATION"),    // RFC 9012, 2
    (24, "TRAFFIC_ENGINEERING"),     // RFC 5543, 3
    (27, "PE_DISTINGUISHER_LABELS"), // RFC 6514, 8
    (29, "BGP-LS"),                  // RFC 9552, 5.3
    (33, "BGPSEC_PATH"),             // RFC 8205, 3
    (36, "D-PATH"),                  // draft-ietf-bess-evpn-ipvpn-interworking
    (37, "SFP"),                     // RFC 9015, 3.2
    (40, "PREFIX-SID"),              // RFC 8669, 3
    (128, "ATTR_SET"),               // RFC 6368, 5
];

/// The name of an attribute as the RFCs spell it; `None` for those whose code says nothing here.
pub fn attribute_name(code: u8) -> Option<&'static str> {
    let named = || NAMED.iter().find(|(named, _)| *named == code);
    spec(code)
        .map(|spec| spec.name)
        .or_else(|| named().map(|(_, name)| *name))
}

fn anything(_: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    Ok(())
}

fn octets<const N: usize>(value: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    if value.len() == N {
        Ok(())
    } else {
        Err(Problem::Length)
    }
}

/// "a non-zero multiple of" (RFC 7606, 7.8 and others).
fn items<const N: usize>(value: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    if !value.is_empty() && value.len().is_multiple_of(N) {
        Ok(())
    } else {
        Err(Problem::Length)
    }
}

fn origin(value: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    match value {
        [0..=2] => Ok(()),
        [_] => Err(Problem::Value),
        _ => Err(Problem::Length),
    }
}

fn as_path(value: &[u8], ctx: &DecodeContext) -> Result<(), Problem> {
    let width = if ctx.as4 { Width::Four } else { Width::Two };
    path::check(value, width, ctx.ebgp)
}

/// "syntactically incorrect ... if the NEXT_HOP attribute field does not represent a valid IP
/// host address" (RFC 4271, 6.3).
fn next_hop(value: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    match value {
        [0 | 224..=255, _, _, _] => Err(Problem::NextHop),
        [_, _, _, _] => Ok(()),
        _ => Err(Problem::Length),
    }
}

fn aggregator(value: &[u8], ctx: &DecodeContext) -> Result<(), Problem> {
    match (value, ctx.as4) {
        // RFC 7607, 2
        ([0, 0, 0, 0, _, _, _, _], true) | ([0, 0, _, _, _, _], false) => Err(Problem::AsZero),
        ([_, _, _, _, _, _, _, _], true) | ([_, _, _, _, _, _], false) => Ok(()),
        _ => Err(Problem::Length),
    }
}

fn as4_aggregator(value: &[u8], ctx: &DecodeContext) -> Result<(), Problem> {
    aggregator(value, &DecodeContext { as4: true, ..*ctx })
}

fn as4_path(value: &[u8], _: &DecodeContext) -> Result<(), Problem> {
    if value.len() < 6 || !value.len().is_multiple_of(2) {
        return Err(Problem::Length);
    }
    // Confederation segments are not malformed here: they are left out (RFC 6793, 6).
    path::check(value, Width::Four, false)
}
