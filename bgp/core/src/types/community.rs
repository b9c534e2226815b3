//! Communities (RFC 1997) and large communities (RFC 8092).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A standard community: administrator in the high 16 bits, value in the low (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Not to be advertised outside the AS or confederation (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// Not to be advertised to any peer (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// Not to be advertised to external peers, not even inside a confederation (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xFFFF_FF03);
    /// The sender is about to go away (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// Traffic to this prefix is to be discarded (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_EXPORT => "no-export",
            Self::NO_ADVERTISE => "no-advertise",
            Self::NO_EXPORT_SUBCONFED => "no-export-subconfed",
            Self::GRACEFUL_SHUTDOWN => "graceful-shutdown",
            Self::BLACKHOLE => "blackhole",
            Self(_) => return None,
        })
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

/// A large community: `global:local1:local2`, twelve octets on the wire (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator.
    pub global: u32,
    /// Local data part 1.
    pub local1: u32,
    /// Local data part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// Why a text is not a community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected {expected}")]
pub struct CommunityError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = [
            Self::NO_EXPORT,
            Self::NO_ADVERTISE,
            Self::NO_EXPORT_SUBCONFED,
            Self::GRACEFUL_SHUTDOWN,
            Self::BLACKHOLE,
        ];
        if let Some(known) = named.into_iter().find(|known| known.name() == Some(text)) {
            return Ok(known);
        }
        let numbers = text.split_once(':').and_then(|(high, low)| {
            let (high, low) = (high.parse::<u16>().ok()?, low.parse::<u16>().ok()?);
            Some(u32::from(high) << 16 | u32::from(low))
        });
        numbers.map(Self).ok_or_else(|| CommunityError {
            text: text.to_owned(),
            kind: "community",
            expected: "`NUMBER:NUMBER`, each 0 to 65535, or a name such as `no-export`",
        })
    }
}

impl FromStr for LargeCommunity {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(global)), Some(Ok(local1)), Some(Ok(local2)), None) => Ok(Self {
                global,
                local1,
                local2,
            }),
            _ => Err(CommunityError {
                text: text.to_owned(),
                kind: "large community",
                expected: "`NUMBER:NUMBER:NUMBER`, each 0 to 4294967295",
            }),
        }
    }
}

macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use as_text;

as_text!(Community, LargeCommunity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_read_what_they_print() {
        for text in ["65000:1", "no-export", "graceful-shutdown", "0:0"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert!("65536:1".parse::<Community>().is_err());
        let large: LargeCommunity = "4200000000:1:2".parse().unwrap();
        assert_eq!(large.to_string(), "4200000000:1:2");
        assert!("1:2".parse::<LargeCommunity>().is_err());
        assert!("1:2:3:4".parse::<LargeCommunity>().is_err());
    }
}
