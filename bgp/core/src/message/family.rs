//! Address families by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    types::{Family, as_text},
    wire::family_name,
};

/// AFI and SAFI (RFC 4760, 3), of a family of ours or not: `ipv4-unicast`, `ipv6-unicast` (read
/// also as `ipv4`, `ipv6`), `afi-25-safi-70`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyCode {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl FamilyCode {
    pub(super) fn new(afi: u16, safi: u8) -> Self {
        Self { afi, safi }
    }

    /// The family, if it is one of ours.
    pub fn known(self) -> Option<Family> {
        Family::from_code(self.afi, self.safi)
    }
}

impl From<Family> for FamilyCode {
    fn from(family: Family) -> Self {
        let (afi, safi) = family.code();
        Self { afi, safi }
    }
}

impl fmt::Display for FamilyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&family_name(self.afi, self.safi))
    }
}

/// Why a text is not an address family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address family: expected `ipv4-unicast`, `ipv6-unicast` or \
     `afi-NUMBER-safi-NUMBER`"
)]
pub struct FamilyError(String);

impl FromStr for FamilyCode {
    type Err = FamilyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = || {
            let (afi, safi) = text.strip_prefix("afi-")?.split_once("-safi-")?;
            Some(Self::new(afi.parse().ok()?, safi.parse().ok()?))
        };
        match text {
            "ipv4" | "ipv4-unicast" => Ok(Family::Ipv4Unicast.into()),
            "ipv6" | "ipv6-unicast" => Ok(Family::Ipv6Unicast.into()),
            _ => numbers().ok_or_else(|| FamilyError(text.to_owned())),
        }
    }
}

as_text!(FamilyCode);
