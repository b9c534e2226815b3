//! The parts of a canonical set that policy looks at, where they lie.

use super::{
    canonical::{Tlv, Tlvs},
    facts::AttrFacts,
    path::{AS_CONFED_SEQUENCE, AS_SEQUENCE, Segments},
    table::{AS_PATH, COMMUNITIES, EXTENDED_COMMUNITIES, LARGE_COMMUNITY},
};

/// One canonical set, cut up in one pass; decodes nothing it is not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    /// The single values, and what follows from the path.
    pub(crate) facts: AttrFacts,
    /// COMMUNITIES (RFC 1997).
    pub(crate) communities: &'a [[u8; 4]],
    /// Extended communities (RFC 4360).
    pub(crate) extended: &'a [[u8; 8]],
    /// LARGE_COMMUNITY (RFC 8092).
    pub(crate) large: &'a [[u8; 12]],
    path: &'a [u8],
}

/// One place of an AS_PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop<'a> {
    /// A number of a sequence.
    As(u32),
    /// A set, which is one place whatever is in it (RFC 4271, 9.1.2.2 a).
    Set(&'a [[u8; 4]]),
}

impl<'a> Parts<'a> {
    pub(crate) fn of(canonical: &'a [u8]) -> Self {
        let mut parts = Self::default();
        for Tlv { code, value, .. } in (Tlvs { rest: canonical }) {
            parts.facts.absorb(code, value);
            match code {
                AS_PATH => parts.path = value,
                COMMUNITIES => parts.communities = value.as_chunks().0,
                EXTENDED_COMMUNITIES => parts.extended = value.as_chunks().0,
                LARGE_COMMUNITY => parts.large = value.as_chunks().0,
                _ => {}
            }
        }
        parts
    }

    /// The path as it counts: confederation segments, which stay inside of one, are left out
    /// (RFC 5065, 5.3).
    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop<'a>> {
        Segments(self.path)
            .filter(|segment| !segment.is_confed())
            .flat_map(|segment| {
                let (sequence, set) = if segment.kind == AS_SEQUENCE {
                    (segment.asns, None)
                } else {
                    (&[][..], Some(Hop::Set(segment.asns)))
                };
                let asns = sequence.iter().map(|asn| Hop::As(u32::from_be_bytes(*asn)));
                asns.chain(set)
            })
    }

    /// Every number in the path, in segments of any type.
    pub(crate) fn all_asns(&self) -> impl Iterator<Item = u32> {
        Segments(self.path)
            .flat_map(|segment| segment.asns)
            .map(|asn| u32::from_be_bytes(*asn))
    }

    /// The path as operators write it.
    pub(crate) fn path_text(&self) -> String {
        let segments = Segments(self.path).map(|segment| {
            let asns: Vec<_> = segment
                .asns
                .iter()
                .map(|asn| u32::from_be_bytes(*asn).to_string())
                .collect();
            match segment.kind {
                AS_SEQUENCE => asns.join(" "),
                AS_CONFED_SEQUENCE => format!("({})", asns.join(" ")),
                _ if segment.is_confed() => format!("[{}]", asns.join(",")),
                _ => format!("{{{}}}", asns.join(",")),
            }
        });
        segments.collect::<Vec<_>>().join(" ")
    }
}
