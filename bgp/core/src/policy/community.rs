//! Patterns of communities: one notation for all three kinds, told apart by its form.
//!
//! - `65001:100`, `65001:*`, `65001:100-200`, `no-export`: communities (RFC 1997);
//! - `65001:1:2`, `65001:*:*`: large communities (RFC 8092);
//! - `rt:65001:100`, `ro:192.0.2.1:*`, `0x0002fde900000064`, `0x4004*`, `non-transitive`: extended
//!   communities (RFC 4360), see [`super::extended`].

use std::{fmt, str::FromStr};

use super::{TextError, extended::ExtendedPattern, number::Numbers};
use crate::{
    types::{Community, LargeCommunity},
    wire::Parts,
};

/// A community of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyCommunity {
    /// RFC 1997.
    Standard(Community),
    /// RFC 4360, as on the wire.
    Extended([u8; 8]),
    /// RFC 8092.
    Large(LargeCommunity),
}

/// What communities a condition looks for, or an action strips.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommunityPattern {
    /// Administrator and value of a community (RFC 1997).
    Standard(Numbers, Numbers),
    /// The three parts of a large community (RFC 8092).
    Large([Numbers; 3]),
    /// An extended community (RFC 4360).
    Extended(ExtendedPattern),
}

impl CommunityPattern {
    /// Whether a community is meant.
    pub fn matches(&self, community: AnyCommunity) -> bool {
        match (self, community) {
            (Self::Standard(..), AnyCommunity::Standard(Community(number))) => {
                self.matches_standard(number.to_be_bytes())
            }
            (Self::Large(..), AnyCommunity::Large(large)) => {
                self.matches_large(&large_octets(large))
            }
            (Self::Extended(pattern), AnyCommunity::Extended(octets)) => pattern.matches(octets),
            (Self::Standard(..) | Self::Large(_) | Self::Extended(_), _) => false,
        }
    }

    /// Whether a set carries a community that is meant.
    pub(crate) fn is_in(&self, parts: &Parts<'_>) -> bool {
        match self {
            Self::Standard(..) => parts
                .communities
                .iter()
                .any(|octets| self.matches_standard(*octets)),
            Self::Large(_) => parts.large.iter().any(|octets| self.matches_large(octets)),
            Self::Extended(pattern) => parts.extended.iter().any(|octets| pattern.matches(*octets)),
        }
    }

    #[inline]
    pub(super) fn matches_standard(&self, [a, b, c, d]: [u8; 4]) -> bool {
        let Self::Standard(admin, value) = self else {
            return false;
        };
        admin.contains(u16::from_be_bytes([a, b]).into())
            && value.contains(u16::from_be_bytes([c, d]).into())
    }

    #[inline]
    pub(super) fn matches_large(&self, octets: &[u8; 12]) -> bool {
        let Self::Large(wanted) = self else {
            return false;
        };
        wanted
            .iter()
            .zip(octets.as_chunks().0)
            .all(|(range, part)| range.contains(u32::from_be_bytes(*part)))
    }

    pub(super) fn matches_extended(&self, octets: [u8; 8]) -> bool {
        matches!(self, Self::Extended(pattern) if pattern.matches(octets))
    }
}

pub(super) fn large_octets(large: LargeCommunity) -> [u8; 12] {
    let mut octets = [0; 12];
    let parts = [large.global, large.local1, large.local2].map(u32::to_be_bytes);
    octets.copy_from_slice(parts.as_flattened());
    octets
}

pub(super) fn large_of(octets: &[u8; 12]) -> LargeCommunity {
    let mut parts = octets
        .as_chunks()
        .0
        .iter()
        .map(|part| u32::from_be_bytes(*part));
    let mut next = || parts.next().unwrap_or_default();
    LargeCommunity {
        global: next(),
        local1: next(),
        local2: next(),
    }
}

const EXPECTED: &str =
    "a community such as `65001:100`, `65001:100:1`, `rt:65001:100` or `no-export`";
const EXPECTED_PATTERN: &str =
    "a community such as `65001:100`, `65001:*`, `65001:*:100-200`, `rt:65001:*` or `no-export`";

impl FromStr for CommunityPattern {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(Community(number)) = text.parse::<Community>() {
            let part = |shift: u32| Numbers::one(number >> shift & 0xFFFF);
            return Ok(Self::Standard(part(16), part(0)));
        }
        if let Some(extended) = ExtendedPattern::read(text) {
            return extended.map(Self::Extended);
        }
        let parts: Option<Vec<Numbers>> = text.split(':').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some(&[admin, value]) if admin.largest().max(value.largest()) <= 0xFFFF => {
                Ok(Self::Standard(admin, value))
            }
            Some(&[global, local1, local2]) => Ok(Self::Large([global, local1, local2])),
            Some([_, _]) => Err(TextError::new(
                text,
                "parts up to 65535; an AS number past that goes into a large community, \
                 such as `4200000000:1:*` (RFC 8092)",
            )),
            _ => Err(TextError::new(text, EXPECTED_PATTERN)),
        }
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(admin, value) => match (admin.single(), value.single()) {
                (Some(admin), Some(value)) => Community(admin << 16 | value).fmt(f),
                _ => write!(f, "{admin}:{value}"),
            },
            Self::Large([global, local1, local2]) => write!(f, "{global}:{local1}:{local2}"),
            Self::Extended(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for AnyCommunity {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(standard) = text.parse() {
            return Ok(Self::Standard(standard));
        }
        if let Ok(large) = text.parse() {
            return Ok(Self::Large(large));
        }
        match ExtendedPattern::read(text).map(|read| read.map(|pattern| pattern.single())) {
            Some(Ok(Some(octets))) => Ok(Self::Extended(octets)),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Err(TextError::new(text, EXPECTED)),
        }
    }
}

impl fmt::Display for AnyCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(standard) => standard.fmt(f),
            Self::Extended(octets) => super::extended::write(*octets, f),
            Self::Large(large) => large.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> CommunityPattern {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn community(text: &str) -> AnyCommunity {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_form_of_a_community_says_its_kind() {
        for text in [
            "65001:100",
            "no-export",
            "graceful-shutdown",
            "blackhole",
            "4200000000:1:2",
            "rt:65001:100",
            "rt:4200000000:1",
            "ro:192.0.2.1:7",
            "0x4004fde900000064",
        ] {
            assert_eq!(community(text).to_string(), text);
            assert_eq!(pattern(text).to_string(), text);
            assert!(pattern(text).matches(community(text)), "{text}");
        }
        for text in [
            "65536:1",
            "65001",
            "1:2:3:4",
            "65001:*",
            "rt:65001:*",
            "no-such",
            "",
        ] {
            assert!(text.parse::<AnyCommunity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn patterns_mean_ranges_of_their_own_kind_only() {
        let table = [
            ("65001:*", "65001:7", true),
            ("65001:*", "65002:7", false),
            ("65001:*", "65001:7:7", false),
            ("65001:100-200", "65001:200", true),
            ("65001:100-200", "65001:201", false),
            ("*:666", "3:666", true),
            // RFC 1997: the well-known ones are communities of 65535 (RFC 1997, "Well-known").
            ("65535:*", "no-export", true),
            ("*:*", "blackhole", true),
            ("no-export", "no-advertise", false),
            ("4200000000:*:*", "4200000000:1:2", true),
            ("4200000000:1-5:*", "4200000000:6:2", false),
            ("*:*:*", "65001:1", false),
            ("rt:65001:*", "rt:65001:9", true),
            ("rt:65001:*", "ro:65001:9", false),
            ("0x*", "rt:65001:9", true),
            ("0x4004*", "0x4004fde900000064", true),
            ("0x4004*", "rt:65001:9", false),
        ];
        for (wanted, found, expected) in table {
            let said = pattern(wanted).matches(community(found));
            assert_eq!(said, expected, "{wanted} and {found}");
        }
        let error = "4200000000:*".parse::<CommunityPattern>().unwrap_err();
        assert!(error.to_string().contains("large community"), "{error}");
    }
}
