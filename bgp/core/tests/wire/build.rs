//! Attributes and messages put together by hand, so that no test trusts the encoder it tests.

use wayleave_bgp_core::wire::{DecodeContext, Malformed, Problem, Verdict, parse_attributes};

pub(crate) const OPTIONAL: u8 = 0x80;
pub(crate) const TRANSITIVE: u8 = 0x40;
pub(crate) const PARTIAL: u8 = 0x20;
pub(crate) const EXTENDED: u8 = 0x10;

pub(crate) const INTERNAL: DecodeContext = DecodeContext {
    as4: true,
    ebgp: false,
};
pub(crate) const EXTERNAL: DecodeContext = DecodeContext {
    as4: true,
    ebgp: true,
};
pub(crate) const OLD_INTERNAL: DecodeContext = DecodeContext {
    as4: false,
    ebgp: false,
};

/// One attribute; its length takes two octets when the flags say so or it has to.
pub(crate) fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if flags & EXTENDED != 0 || value.len() > 255 {
        out.extend_from_slice(&[flags | EXTENDED, code]);
        out.extend_from_slice(&short(value.len()).to_be_bytes());
    } else {
        out.extend_from_slice(&[flags, code, octet(value.len())]);
    }
    out.extend_from_slice(value);
    out
}

/// A segment with four octets per AS number.
pub(crate) fn segment(kind: u8, asns: &[u32]) -> Vec<u8> {
    let mut out = vec![kind, octet(asns.len())];
    out.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    out
}

/// A segment with two octets per AS number.
pub(crate) fn old_segment(kind: u8, asns: &[u16]) -> Vec<u8> {
    let mut out = vec![kind, octet(asns.len())];
    out.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    out
}

pub(crate) fn origin() -> Vec<u8> {
    attr(TRANSITIVE, 1, &[0])
}

pub(crate) fn as_path() -> Vec<u8> {
    attr(TRANSITIVE, 2, &segment(2, &[65_001, 65_002]))
}

pub(crate) fn next_hop() -> Vec<u8> {
    attr(TRANSITIVE, 3, &[192, 0, 2, 1])
}

/// The mandatory attributes but the one with this code, then `more`.
pub(crate) fn with_mandatory_but(code: u8, more: &[u8]) -> Vec<u8> {
    let mandatory = [(1, origin()), (2, as_path()), (3, next_hop())];
    let mut out: Vec<u8> = mandatory
        .into_iter()
        .filter(|(mandatory, _)| *mandatory != code)
        .flat_map(|(_, attribute)| attribute)
        .collect();
    out.extend_from_slice(more);
    out
}

/// The value of an MP_REACH_NLRI with a next hop of `hop` octets (RFC 4760, 3).
pub(crate) fn mp_reach(afi: u8, hop: u8, nlri: &[u8]) -> Vec<u8> {
    let mut value = vec![0, afi, 1, hop];
    value.extend(std::iter::repeat_n(0x20, hop.into()));
    value.push(0);
    value.extend_from_slice(nlri);
    value
}

/// A value cut or padded to a length.
pub(crate) fn sized(value: &[u8], len: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(len, 1);
    value
}

/// What was decided, without what does not matter to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Ok,
    Discard(Problem),
    Withdraw(Problem),
    Reset(u8, u8),
}

/// The verdict on an UPDATE with an IPv4 prefix and these attributes.
pub(crate) fn judge(
    attributes: &[u8],
    ctx: DecodeContext,
) -> (Decided, Option<Malformed>, Vec<u8>) {
    judge_with(attributes, ctx, true)
}

/// The same, where the UPDATE need not announce anything.
pub(crate) fn judge_with(
    attributes: &[u8],
    ctx: DecodeContext,
    announces: bool,
) -> (Decided, Option<Malformed>, Vec<u8>) {
    let mut canonical = Vec::new();
    let parsed = parse_attributes(attributes, &ctx, announces, &mut canonical);
    let decided = match parsed.verdict {
        Verdict::Ok => Decided::Ok,
        Verdict::Discard(malformed) => Decided::Discard(malformed.problem),
        Verdict::TreatAsWithdraw(malformed) => Decided::Withdraw(malformed.problem),
        Verdict::Reset(notification) => Decided::Reset(notification.code, notification.subcode),
    };
    (decided, parsed.malformed, canonical)
}

/// Octets from hexadecimal, white space aside.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| u8::try_from(digit).expect("a hexadecimal digit is below 16"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn octet(len: usize) -> u8 {
    u8::try_from(len).expect("a test's list fits one octet of count")
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("a test's value fits two octets of length")
}
