//! Autonomous system numbers and BGP identifiers.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A four-octet autonomous system number (RFC 6793).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Asn(pub u32);

/// The number that stands for a four-octet one where only two octets fit (RFC 6793, 9).
pub const AS_TRANS: Asn = Asn(23456);

impl Asn {
    /// Whether an AS can have the number: not 0 (RFC 7607), not AS_TRANS (RFC 6793), not 65535 and
    /// not 4294967295 (RFC 7300).
    pub fn is_usable(self) -> bool {
        !matches!(self.0, 0 | 23_456 | 65_535 | u32::MAX)
    }

    /// Whether the number is for use within a network only (RFC 6996, 5).
    pub fn is_private(self) -> bool {
        matches!(self.0, 64_512..=65_534 | 4_200_000_000..=4_294_967_294)
    }

    /// What goes into a two-octet field: the number itself, or [`AS_TRANS`].
    pub fn to_u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23_456)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BGP identifier: any non-zero four octets, written like an address (RFC 6286).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouterId(pub Ipv4Addr);

impl RouterId {
    /// The identifier as the number that tie-breaks compare (RFC 4271, 9.1.2.2 f).
    pub fn to_u32(self) -> u32 {
        u32::from(self.0)
    }
}

impl From<u32> for RouterId {
    fn from(value: u32) -> Self {
        Self(Ipv4Addr::from(value))
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RouterId {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
