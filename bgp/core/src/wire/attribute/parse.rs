//! The attributes of one UPDATE: judged by the table, written in canonical form in one pass.
//!
//! Deviations, with their reasons:
//! - an AS_PATH that does not begin with the peer's AS is not judged here (RFC 7606, 7.2 leaves
//!   it to configuration): [`AttrFacts::neighbor_as`] says what it begins with;
//! - a LOCAL_PREF that an internal peer leaves out is not missed: it is "well-known
//!   discretionary" (RFC 4271, 5), and the decision has a default;
//! - whether a family, or a next hop of another family (RFC 8950), was agreed upon is the
//!   session's to check: [`MpReach`] and [`MpUnreach`] say which they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    canonical::{Tlv, Tlvs, push, push_with, settle, value},
    facts::AttrFacts,
    path,
    table::{
        AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, LARGE_COMMUNITY, MP_REACH_NLRI,
        MP_UNREACH_NLRI, NEXT_HOP, OPTIONAL, ORIGIN, PARTIAL, Spec, TRANSITIVE, TakenFrom, spec,
    },
    verdict::{Approach, Malformed, Problem, Verdict},
};
use crate::{attributes::NextHop, types::Family, wire::notification::Notification};

/// What a session negotiated, as far as it changes how attributes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecodeContext {
    /// Both sides offered four-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// The peer is in another AS.
    pub ebgp: bool,
}

/// What reading the attributes of one UPDATE gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// What is to be done with the UPDATE.
    pub verdict: Verdict,
    /// Why, also where the verdict is a reset; `None` when all is well.
    pub malformed: Option<Malformed>,
    /// NEXT_HOP: where packets to the IPv4 prefixes go.
    pub next_hop: Option<Ipv4Addr>,
    /// MP_REACH_NLRI.
    pub reach: Option<MpReach<'a>>,
    /// MP_UNREACH_NLRI.
    pub unreach: Option<MpUnreach<'a>>,
    /// Facts of the canonical set; meaningless when the verdict is worse than a discard.
    pub facts: AttrFacts,
}

/// MP_REACH_NLRI (RFC 4760, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpReach<'a> {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// Where packets go: of either family for IPv4 unicast (RFC 8950), IPv6 for IPv6 unicast
    /// (RFC 2545); `::` for other families, whose next hops are not read.
    pub next_hop: NextHop,
    /// The prefixes.
    pub nlri: &'a [u8],
    /// The whole attribute as it came.
    pub attribute: &'a [u8],
}

impl<'a> MpReach<'a> {
    /// The next hop as it came, of any family.
    pub fn next_hop_octets(&self) -> &'a [u8] {
        let value = Tlvs {
            rest: self.attribute,
        }
        .next()
        .map_or(&[][..], |tlv| tlv.value);
        match *value {
            [_, _, _, len, ref rest @ ..] => rest.get(..len.into()).unwrap_or_default(),
            _ => &[],
        }
    }

    /// What is wrong when [`Self::nlri`] cannot be read: see [`MpUnreach::BAD_NLRI`].
    pub const BAD_NLRI: Malformed = bad_nlri(MP_REACH_NLRI);

    /// What the peer is told then.
    #[cold]
    pub fn bad_nlri(&self) -> Notification {
        Self::BAD_NLRI.notification(self.attribute)
    }

    /// What is wrong when the next hop is of another family than the prefixes, unless that was agreed
    /// upon. They are treated as withdrawn.
    pub(crate) fn foreign_next_hop(&self, agreed: bool) -> Option<Malformed> {
        let ipv4 = Family::from_code(self.afi, self.safi) == Some(Family::Ipv4Unicast);
        (ipv4 && !agreed && self.next_hop.addr.is_ipv6()).then_some(Malformed {
            code: MP_REACH_NLRI,
            problem: Problem::NextHop,
            section: "RFC 8950, 4",
        })
    }
}

/// MP_UNREACH_NLRI (RFC 4760, 4); without any prefix it is End-of-RIB (RFC 4724, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpUnreach<'a> {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// The prefixes.
    pub nlri: &'a [u8],
    /// The whole attribute as it came.
    pub attribute: &'a [u8],
}

impl MpUnreach<'_> {
    /// What is wrong when [`Self::nlri`] cannot be read: the attribute is "incorrect" (RFC 7606,
    /// 5.3), nothing in it can be withdrawn (3 j), and RFC 4760, 7 says with which code the
    /// session SHOULD end: 3/9, Optional Attribute Error. 3/10 is for the two fields of the UPDATE
    /// itself (RFC 4271, 6.3).
    pub const BAD_NLRI: Malformed = bad_nlri(MP_UNREACH_NLRI);

    /// What the peer is told then.
    #[cold]
    pub fn bad_nlri(&self) -> Notification {
        Self::BAD_NLRI.notification(self.attribute)
    }
}

const fn bad_nlri(code: u8) -> Malformed {
    Malformed {
        code,
        problem: Problem::Prefix,
        section: "RFC 7606, 5.3",
    }
}

/// Who wants to hear of every problem, and not of the strongest alone.
pub(crate) trait Witness {
    /// Read on after an error that resets the session anyway.
    const READS_ON: bool;

    /// One problem, and what it alone would lead to.
    fn saw(&mut self, approach: Approach, malformed: Malformed);
}

/// A session, to which the verdict is enough.
struct Nobody;

impl Witness for Nobody {
    const READS_ON: bool = false;

    #[inline]
    fn saw(&mut self, _: Approach, _: Malformed) {}
}

/// Reads the attributes of an UPDATE and writes them in canonical form (see the head of this
/// module) into `canonical`, which is cleared first and stays empty when the verdict is worse
/// than a discard. `has_ipv4_nlri`: the UPDATE announces prefixes behind its attributes.
///
/// The first of several occurrences of an attribute counts (RFC 7606, 3 g); of several errors
/// the one with the strongest remedy decides (3 h). Where nothing is announced that could be
/// withdrawn, that remedy is the session's reset (5.2).
pub fn parse_attributes<'a>(
    raw: &'a [u8],
    ctx: &DecodeContext,
    has_ipv4_nlri: bool,
    canonical: &mut Vec<u8>,
) -> Parsed<'a> {
    parse_before(&mut Nobody, raw, ctx, has_ipv4_nlri, canonical)
}

/// The same for one who wants to hear of every problem. The verdict is the same too; past an
/// error that resets the session, `reach` and `unreach` may be there beside it.
#[inline]
pub(crate) fn parse_before<'a, W: Witness>(
    witness: &mut W,
    raw: &'a [u8],
    ctx: &DecodeContext,
    has_ipv4_nlri: bool,
    canonical: &mut Vec<u8>,
) -> Parsed<'a> {
    canonical.clear();
    let mut reader = Reader {
        witness,
        ctx: *ctx,
        refused: TakenFrom::refused(ctx),
        has_ipv4_nlri,
        canonical,
        seen: [0; 4],
        last_code: 0,
        old_path: None,
        old_aggregator: None,
        as4_path: None,
        as4_aggregator: None,
        spare_next_hop: None,
        offender: &[],
        parsed: Parsed {
            verdict: Verdict::Ok,
            malformed: None,
            next_hop: None,
            reach: None,
            unreach: None,
            facts: AttrFacts::default(),
        },
    };
    let mut tlvs = Tlvs { rest: raw };
    let whole = loop {
        match tlvs.next() {
            Some(tlv) => {
                if let Err(Closed) = reader.take(&tlv) {
                    break false;
                }
            }
            None => break tlvs.rest.is_empty(),
        }
    };
    if !whole {
        reader.treat_as_withdraw(&[], 0, Problem::Overrun, "RFC 7606, 4");
    }
    reader.finish()
}

/// The verdict is a reset already: nothing can make it worse.
struct Closed;

struct Reader<'a, 'c, W> {
    witness: &'c mut W,
    ctx: DecodeContext,
    /// Bits of [`TakenFrom`] that this session does not take.
    refused: u8,
    has_ipv4_nlri: bool,
    canonical: &'c mut Vec<u8>,
    /// Codes that have stood there, as bits.
    seen: [u64; 4],
    /// The largest code in `canonical`.
    last_code: u8,
    /// AS_PATH and AGGREGATOR of an old speaker, and what makes them exact (RFC 6793, 4.2.3).
    old_path: Option<&'a [u8]>,
    old_aggregator: Option<&'a [u8]>,
    as4_path: Option<&'a [u8]>,
    as4_aggregator: Option<&'a [u8]>,
    /// A malformed NEXT_HOP that no IPv4 prefix needs, and what is wrong with it.
    spare_next_hop: Option<(&'a [u8], Problem, &'static str)>,
    /// The attribute that has to be withdrawn for, as it came.
    offender: &'a [u8],
    parsed: Parsed<'a>,
}

impl<'a, W: Witness> Reader<'a, '_, W> {
    #[inline]
    fn take(&mut self, tlv: &Tlv<'a>) -> Result<(), Closed> {
        if self.mark_seen(tlv.code) {
            return self.duplicate(tlv);
        }
        let Some(spec) = spec(tlv.code) else {
            return self.unknown(tlv);
        };
        if self.refused & spec.taken_from as u8 != 0 {
            self.refuse(spec);
            return Ok(());
        }
        if (tlv.flags ^ spec.flags) & (OPTIONAL | TRANSITIVE) != 0 {
            return self.bad_flags(tlv, spec);
        }
        if let Err(problem) = (spec.check)(tlv.value, &self.ctx) {
            return self.malformed(tlv, spec, problem);
        }
        match (tlv.code, tlv.value) {
            (NEXT_HOP, &[a, b, c, d]) => self.parsed.next_hop = Some(Ipv4Addr::new(a, b, c, d)),
            (MP_REACH_NLRI, value) => return self.reach(tlv, value),
            (MP_UNREACH_NLRI, value) => return self.unreach(tlv, value),
            (AS4_PATH, value) => self.as4_path = Some(value),
            (AS4_AGGREGATOR, value) => self.as4_aggregator = Some(value),
            (AS_PATH, value) if !self.ctx.as4 => self.old_path = Some(value),
            (AGGREGATOR, value) if !self.ctx.as4 => self.old_aggregator = Some(value),
            (LARGE_COMMUNITY, value) => match without_duplicates(value) {
                None => self.keep(spec.flags | partial(tlv, spec), tlv.code, value),
                Some(rest) => {
                    self.keep(
                        spec.flags | partial(tlv, spec),
                        tlv.code,
                        rest.as_flattened(),
                    );
                }
            },
            (code, value) => self.keep(spec.flags | partial(tlv, spec), code, value),
        }
        Ok(())
    }

    /// Whether the code has stood there before; it has from now on.
    #[inline]
    fn mark_seen(&mut self, code: u8) -> bool {
        let bit = 1 << (code % 64);
        match self.seen.get_mut(usize::from(code / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                false
            }
            _ => true,
        }
    }

    fn has_seen(&self, code: u8) -> bool {
        let word = self.seen.get(usize::from(code / 64)).copied();
        word.unwrap_or_default() & (1 << (code % 64)) != 0
    }

    /// Writes an attribute into the canonical set.
    #[inline]
    fn keep(&mut self, flags: u8, code: u8, value: &[u8]) {
        let appended = self.canonical.len();
        push(self.canonical, flags, code, value);
        self.place(code, appended);
        self.parsed.facts.absorb(code, value);
    }

    #[inline]
    fn place(&mut self, code: u8, appended: usize) {
        if code < self.last_code {
            settle(self.canonical, appended);
        } else {
            self.last_code = code;
        }
    }

    fn unknown(&mut self, tlv: &Tlv<'a>) -> Result<(), Closed> {
        if tlv.flags & OPTIONAL == 0 {
            let section = "RFC 4271, 6.3";
            return self.reset(tlv, Problem::Unrecognized, section);
        }
        // "Unrecognized non-transitive optional attributes MUST be quietly ignored and not
        // passed along to other BGP peers" (RFC 4271, 5).
        if tlv.flags & TRANSITIVE != 0 {
            let flags = tlv.flags & (OPTIONAL | TRANSITIVE | PARTIAL);
            self.keep(flags, tlv.code, tlv.value);
        }
        Ok(())
    }

    fn reach(&mut self, tlv: &Tlv<'a>, value: &'a [u8]) -> Result<(), Closed> {
        let &[a, b, safi, len, ref rest @ ..] = value else {
            return self.reset(tlv, Problem::Length, "RFC 7606, 5.3");
        };
        if rest.is_empty() {
            return self.reset(tlv, Problem::Length, "RFC 7606, 5.3");
        }
        let afi = u16::from_be_bytes([a, b]);
        // "Reserved ... MUST be set to 0, and SHOULD be ignored upon receipt" (RFC 4760, 3)
        let parts = rest
            .split_at_checked(len.into())
            .and_then(|(hop, rest)| Some((hop, rest.split_first()?.1)));
        let Some((hop, nlri)) = parts else {
            return self.reset(tlv, Problem::NextHopLength, "RFC 7606, 7.11");
        };
        let Some(next_hop) = decode_next_hop(afi, safi, hop) else {
            return self.reset(tlv, Problem::NextHopLength, "RFC 7606, 7.11");
        };
        self.parsed.reach = Some(MpReach {
            afi,
            safi,
            next_hop,
            nlri,
            attribute: tlv.whole,
        });
        let usable = match next_hop.addr {
            _ if !matches!((afi, safi), (1 | 2, 1)) => true,
            IpAddr::V4(addr) => !matches!(addr.octets(), [0 | 224..=255, ..]),
            IpAddr::V6(addr) => !addr.is_unspecified() && !addr.is_multicast(),
        };
        if !usable {
            // The prefixes can be found, so they can be withdrawn (RFC 7606, 3 j).
            self.treat_as_withdraw(tlv.whole, tlv.code, Problem::NextHop, "RFC 7606, 3 e");
        }
        Ok(())
    }

    fn unreach(&mut self, tlv: &Tlv<'a>, value: &'a [u8]) -> Result<(), Closed> {
        let &[a, b, safi, ref nlri @ ..] = value else {
            return self.reset(tlv, Problem::Length, "RFC 7606, 5.3");
        };
        self.parsed.unreach = Some(MpUnreach {
            afi: u16::from_be_bytes([a, b]),
            safi,
            nlri,
            attribute: tlv.whole,
        });
        Ok(())
    }

    /// Leaves out what this session does not take, without a look at it.
    #[cold]
    fn refuse(&mut self, spec: &Spec) {
        let problem = match spec.taken_from {
            TakenFrom::Internal => Problem::FromExternal,
            TakenFrom::OldSpeakers => Problem::FromNewSpeaker,
            TakenFrom::Nobody | TakenFrom::Anybody => return,
        };
        self.discard(spec.code, problem, spec.section);
    }

    #[cold]
    fn duplicate(&mut self, tlv: &Tlv<'a>) -> Result<(), Closed> {
        let section = "RFC 7606, 3 g";
        if matches!(tlv.code, MP_REACH_NLRI | MP_UNREACH_NLRI) {
            return self.reset(tlv, Problem::Duplicate, section);
        }
        self.discard(tlv.code, Problem::Duplicate, section);
        Ok(())
    }

    #[cold]
    fn bad_flags(&mut self, tlv: &Tlv<'a>, spec: &Spec) -> Result<(), Closed> {
        match spec.on_malformed {
            // "incorrect" (RFC 7606, 5.3), so the procedures of RFC 4271 and RFC 4760 stay (3 j).
            // Of their two subcodes this one says what is wrong.
            Approach::Reset => self.reset(tlv, Problem::Flags, "RFC 7606, 5.3"),
            // Also where a wrong length is only discarded: "the 'treat-as-withdraw' approach
            // used, unless the specification for the attribute mandates different handling for
            // incorrect Attribute Flags", and none does.
            Approach::Discard | Approach::TreatAsWithdraw => {
                self.withdraw_for(tlv, Problem::Flags, "RFC 7606, 3 c");
                Ok(())
            }
        }
    }

    #[cold]
    fn malformed(&mut self, tlv: &Tlv<'a>, spec: &Spec, problem: Problem) -> Result<(), Closed> {
        let section = if problem == Problem::AsZero {
            "RFC 7607, 2"
        } else if problem == Problem::Confederation {
            "RFC 5065, 5"
        } else {
            spec.section
        };
        match spec.on_malformed {
            Approach::Reset => return self.reset(tlv, problem, section),
            Approach::Discard => self.discard(tlv.code, problem, section),
            Approach::TreatAsWithdraw => self.withdraw_for(tlv, problem, section),
        }
        Ok(())
    }

    /// Treat-as-withdraw, unless it turns out that the attribute does not matter.
    #[cold]
    fn withdraw_for(&mut self, tlv: &Tlv<'a>, problem: Problem, section: &'static str) {
        if tlv.code == NEXT_HOP && !self.has_ipv4_nlri {
            self.spare_next_hop = Some((tlv.whole, problem, section));
        } else {
            self.treat_as_withdraw(tlv.whole, tlv.code, problem, section);
        }
    }

    #[cold]
    fn discard(&mut self, code: u8, problem: Problem, section: &'static str) {
        let malformed = Malformed {
            code,
            problem,
            section,
        };
        self.witness.saw(Approach::Discard, malformed);
        if self.parsed.verdict == Verdict::Ok {
            self.parsed.verdict = Verdict::Discard(malformed);
            self.parsed.malformed = Some(malformed);
        }
    }

    #[cold]
    fn treat_as_withdraw(
        &mut self,
        offender: &'a [u8],
        code: u8,
        problem: Problem,
        section: &'static str,
    ) {
        let malformed = Malformed {
            code,
            problem,
            section,
        };
        self.witness.saw(Approach::TreatAsWithdraw, malformed);
        if matches!(self.parsed.verdict, Verdict::Ok | Verdict::Discard(_)) {
            self.parsed.verdict = Verdict::TreatAsWithdraw(malformed);
            self.parsed.malformed = Some(malformed);
            self.offender = offender;
        }
    }

    #[cold]
    fn reset(
        &mut self,
        tlv: &Tlv<'a>,
        problem: Problem,
        section: &'static str,
    ) -> Result<(), Closed> {
        let malformed = Malformed {
            code: tlv.code,
            problem,
            section,
        };
        self.witness.saw(Approach::Reset, malformed);
        if !matches!(self.parsed.verdict, Verdict::Reset(_)) {
            self.parsed.verdict = Verdict::Reset(malformed.notification(tlv.whole));
            self.parsed.malformed = Some(malformed);
        }
        if W::READS_ON { Ok(()) } else { Err(Closed) }
    }

    fn finish(mut self) -> Parsed<'a> {
        let has_ipv4_nlri = self.has_ipv4_nlri;
        if !self.ctx.as4 {
            self.merge_old_speaker();
        }
        let reaches_mp = self
            .parsed
            .reach
            .is_some_and(|reach| !reach.nlri.is_empty());
        if let Some((whole, problem, section)) = self.spare_next_hop {
            // "If such a message contains the NEXT_HOP attribute, the BGP speaker that receives the
            // message SHOULD ignore this attribute" (RFC 4760, 3). Some fill it with zeros.
            if reaches_mp {
                self.discard(NEXT_HOP, problem, "RFC 4760, 3");
            } else {
                self.treat_as_withdraw(whole, NEXT_HOP, problem, section);
            }
        }
        if has_ipv4_nlri || reaches_mp {
            for code in [ORIGIN, AS_PATH, NEXT_HOP] {
                let due = code != NEXT_HOP || has_ipv4_nlri;
                if due && !self.has_seen(code) {
                    self.treat_as_withdraw(&[], code, Problem::Missing, "RFC 7606, 3 d");
                }
            }
        } else if let Verdict::TreatAsWithdraw(malformed) = self.parsed.verdict {
            // "if any path attribute errors are encountered in such an UPDATE message and if any
            // encountered error specifies an error-handling approach other than 'attribute
            // discard', then the 'session reset' approach MUST be used" (RFC 7606, 5.2)
            let hopeless = Malformed {
                section: "RFC 7606, 5.2",
                ..malformed
            };
            self.witness.saw(Approach::Reset, hopeless);
            self.parsed.verdict = Verdict::Reset(malformed.notification(self.offender));
            self.parsed.malformed = Some(hopeless);
        }
        if !matches!(self.parsed.verdict, Verdict::Ok | Verdict::Discard(_)) {
            self.canonical.clear();
        }
        self.parsed
    }

    /// RFC 6793, 4.2.3.
    fn merge_old_speaker(&mut self) {
        let mut as4_path = self.as4_path;
        if let Some(&[high, low, a, b, c, d]) = self.old_aggregator {
            let mut exact = [0, 0, high, low, a, b, c, d];
            if let Some(&[e, f, g, h, i, j, k, l]) = self.as4_aggregator {
                if path::two_octets_is_as_trans([high, low]) {
                    exact = [e, f, g, h, i, j, k, l];
                } else {
                    // "the AS4_AGGREGATOR attribute and the AS4_PATH attribute SHALL be ignored"
                    as4_path = None;
                }
            }
            self.keep(OPTIONAL | TRANSITIVE, AGGREGATOR, &exact);
        }
        if let Some(as_path) = self.old_path {
            let appended = self.canonical.len();
            push_with(self.canonical, TRANSITIVE, AS_PATH, |out| {
                path::merge(as_path, as4_path, out);
            });
            self.place(AS_PATH, appended);
            let merged = value(self.canonical, AS_PATH).unwrap_or_default();
            self.parsed.facts.absorb(AS_PATH, merged);
        }
    }
}

/// The Partial bit, which only optional transitive attributes have (RFC 4271, 4.3).
#[inline]
fn partial(tlv: &Tlv<'_>, spec: &Spec) -> u8 {
    if spec.flags == OPTIONAL | TRANSITIVE {
        tlv.flags & PARTIAL
    } else {
        0
    }
}

/// `None`: of a length this family does not have.
fn decode_next_hop(afi: u16, safi: u8, hop: &[u8]) -> Option<NextHop> {
    if !matches!((afi, safi), (1 | 2, 1)) {
        return Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED).into());
    }
    if let (1, Ok(v4)) = (afi, <[u8; 4]>::try_from(hop)) {
        return Some(IpAddr::V4(v4.into()).into());
    }
    if let Ok(v6) = <[u8; 16]>::try_from(hop) {
        return Some(IpAddr::V6(v6.into()).into());
    }
    let (global, link_local) = <&[u8; 32]>::try_from(hop).ok()?.split_first_chunk::<16>()?;
    let global = Ipv6Addr::from(*global);
    let link_local = Ipv6Addr::from(<[u8; 16]>::try_from(link_local).ok()?);
    let link_local = link_local.is_unicast_link_local().then_some(link_local);
    // Some speakers put `::`, or the link-local address again, where they have no global one.
    Some(match link_local {
        Some(only) if global.is_unspecified() => IpAddr::V6(only).into(),
        link_local => NextHop {
            addr: global.into(),
            link_local: link_local.filter(|_| !global.is_unicast_link_local()),
        },
    })
}

/// "A receiving speaker MUST silently remove redundant BGP Large Community values" (RFC 8092,
/// 3). `None`: there are none, and finding that out allocates nothing for lists of a usual
/// length. A hostile list of thousands costs no more than sorting it.
fn without_duplicates(value: &[u8]) -> Option<Vec<[u8; 12]>> {
    const FEW: usize = 24;
    let (items, _) = value.as_chunks::<12>();
    if items.is_sorted_by(|before, after| before < after) {
        return None;
    }
    let mut before = items.iter().enumerate();
    if items.len() <= FEW
        && !before.any(|(place, item)| items.iter().take(place).any(|other| other == item))
    {
        return None;
    }
    let mut sorted: Vec<(&[u8; 12], usize)> = items.iter().zip(0..).collect();
    sorted.sort_unstable();
    sorted.dedup_by_key(|(item, _)| *item);
    if sorted.len() == items.len() {
        return None;
    }
    sorted.sort_unstable_by_key(|(_, place)| *place);
    Some(sorted.into_iter().map(|(item, _)| *item).collect())
}
