//! Large communities (RFC 8092) and the number that marks ours.

use std::{fmt, str::FromStr};

/// One large community: an administrator and two values it gives a meaning (RFC 8092, section 3).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global Administrator.
    pub global: u32,
    /// Local Data Part 1: for us, what kind of statement this is.
    pub local1: u32,
    /// Local Data Part 2: the statement.
    pub local2: u32,
}

impl LargeCommunity {
    /// The octets one large community takes in the path attribute.
    pub const WIRE_LEN: usize = 12;

    /// A community from its three numbers, in the order in which they are written.
    #[must_use]
    pub const fn new(global: u32, local1: u32, local2: u32) -> Self {
        Self {
            global,
            local1,
            local2,
        }
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// Why a text is not a large community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a large community: write three decimal numbers below 2^32 with colons between them"
)]
pub struct ParseLargeCommunityError(String);

impl FromStr for LargeCommunity {
    type Err = ParseLargeCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseLargeCommunityError(text.to_owned());
        let mut parts = text.split(':').map(|part| {
            // `u32::from_str` takes a plus sign; the canonical representation of RFC 8092 has none.
            if part.starts_with('+') {
                None
            } else {
                part.parse::<u32>().ok()
            }
        });
        let mut next = || parts.next().flatten().ok_or_else(wrong);
        let community = Self {
            global: next()?,
            local1: next()?,
            local2: next()?,
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(community)
    }
}

/// The Global Administrator of all discovery communities of one fabric.
///
/// It is configured once for the whole fabric and is not the AS number of a node: a router's filter names it
/// exactly, and it stays when a host moves to another AS.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryNumber(u32);

/// A number that may not administer communities.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} cannot be the discovery number: it is a reserved AS number; take one of 4200000000 to 4294967294"
)]
pub struct ReservedNumber(pub u32);

impl DiscoveryNumber {
    /// Takes any number but 0, 65535 and 4294967295.
    ///
    /// RFC 8092, section 5: "The following special-use ASNs ... SHOULD NOT be used: 0, 65535 and 4294967295".
    pub fn new(number: u32) -> Result<Self, ReservedNumber> {
        match number {
            0 | 65_535 | u32::MAX => Err(ReservedNumber(number)),
            _ => Ok(Self(number)),
        }
    }

    /// The number itself.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DiscoveryNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_three_decimal_numbers_and_nothing_else() {
        let community = LargeCommunity::new(4_200_000_001, 1, 16_777_218);
        assert_eq!(community.to_string(), "4200000001:1:16777218");
        assert_eq!("4200000001:1:16777218".parse(), Ok(community));
        for wrong in [
            "",
            "1",
            "1:2",
            "1:2:3:4",
            "1:2:4294967296",
            "1:-2:3",
            "+1:2:3",
            "a:b:c",
            "1:2:3 ",
        ] {
            assert!(
                wrong.parse::<LargeCommunity>().is_err(),
                "{wrong:?} was taken"
            );
        }
    }

    #[test]
    fn reserved_as_numbers_are_no_discovery_numbers() {
        for reserved in [0, 65_535, u32::MAX] {
            assert_eq!(
                DiscoveryNumber::new(reserved),
                Err(ReservedNumber(reserved))
            );
        }
        assert_eq!(
            DiscoveryNumber::new(4_200_000_001).map(DiscoveryNumber::number),
            Ok(4_200_000_001)
        );
    }
}
