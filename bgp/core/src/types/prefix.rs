//! Prefixes and address families.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::community::as_text;

/// An address family with its subsequent identifier (RFC 4760), as far as the RIB holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// AFI 1, SAFI 1.
    #[serde(rename = "ipv4-unicast", alias = "ipv4")]
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    #[serde(rename = "ipv6-unicast", alias = "ipv6")]
    Ipv6Unicast,
}

impl Family {
    /// Both families, in their order everywhere.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// AFI and SAFI on the wire.
    pub fn code(self) -> (u16, u8) {
        match self {
            Self::Ipv4Unicast => (1, 1),
            Self::Ipv6Unicast => (2, 1),
        }
    }

    /// The family with these codes, if it is one of ours.
    pub fn from_code(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// 0 for IPv4, 1 for IPv6: an index into tables by family.
    pub fn index(self) -> usize {
        match self {
            Self::Ipv4Unicast => 0,
            Self::Ipv6Unicast => 1,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// An IPv4 prefix; bits past the length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    addr: u32,
    len: u8,
}

impl Ipv4Prefix {
    /// The prefix of `addr` that is `len` bits long; the rest of `addr` is cleared.
    /// `len` over 32 counts as 32.
    pub fn new(addr: Ipv4Addr, len: u8) -> Self {
        Self::from_bits(u32::from(addr), len)
    }

    /// The same from the address as a number.
    pub fn from_bits(addr: u32, len: u8) -> Self {
        let len = len.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        Self {
            addr: addr & mask,
            len,
        }
    }

    /// The address as a number.
    pub fn bits(self) -> u32 {
        self.addr
    }

    /// The address.
    pub fn addr(self) -> Ipv4Addr {
        Ipv4Addr::from(self.addr)
    }

    /// The length in bits, 0 to 32.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not a collection's"
    )]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether `other` is this prefix or lies inside it.
    pub fn contains(self, other: Self) -> bool {
        self.len <= other.len && Self::from_bits(other.addr, self.len).addr == self.addr
    }
}

/// An IPv6 prefix; bits past the length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Prefix {
    addr: u128,
    len: u8,
}

impl Ipv6Prefix {
    /// The prefix of `addr` that is `len` bits long; the rest of `addr` is cleared.
    /// `len` over 128 counts as 128.
    pub fn new(addr: Ipv6Addr, len: u8) -> Self {
        Self::from_bits(u128::from(addr), len)
    }

    /// The same from the address as a number.
    pub fn from_bits(addr: u128, len: u8) -> Self {
        let len = len.min(128);
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Self {
            addr: addr & mask,
            len,
        }
    }

    /// The address as a number.
    pub fn bits(self) -> u128 {
        self.addr
    }

    /// The address.
    pub fn addr(self) -> Ipv6Addr {
        Ipv6Addr::from(self.addr)
    }

    /// The length in bits, 0 to 128.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not a collection's"
    )]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether `other` is this prefix or lies inside it.
    pub fn contains(self, other: Self) -> bool {
        self.len <= other.len && Self::from_bits(other.addr, self.len).addr == self.addr
    }
}

/// A prefix of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// IPv4 unicast.
    V4(Ipv4Prefix),
    /// IPv6 unicast.
    V6(Ipv6Prefix),
}

impl Prefix {
    /// The prefix of `addr` that is `len` bits long.
    pub fn new(addr: IpAddr, len: u8) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::V4(Ipv4Prefix::new(addr, len)),
            IpAddr::V6(addr) => Self::V6(Ipv6Prefix::new(addr, len)),
        }
    }

    /// The host route of `addr`: /32 or /128.
    pub fn host(addr: IpAddr) -> Self {
        Self::new(addr, if addr.is_ipv4() { 32 } else { 128 })
    }

    /// The address.
    pub fn addr(self) -> IpAddr {
        match self {
            Self::V4(prefix) => prefix.addr().into(),
            Self::V6(prefix) => prefix.addr().into(),
        }
    }

    /// The length in bits.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length in bits, not a collection's"
    )]
    pub fn len(self) -> u8 {
        match self {
            Self::V4(prefix) => prefix.len(),
            Self::V6(prefix) => prefix.len(),
        }
    }

    /// The family.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::Ipv4Unicast,
            Self::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// Whether `other` is this prefix or lies inside it; never across families.
    pub fn contains(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(outer), Self::V4(inner)) => outer.contains(inner),
            (Self::V6(outer), Self::V6(inner)) => outer.contains(inner),
            (Self::V4(_), Self::V6(_)) | (Self::V6(_), Self::V4(_)) => false,
        }
    }

    /// Whether the prefix is a single address.
    pub fn is_host(self) -> bool {
        match self {
            Self::V4(prefix) => prefix.len() == 32,
            Self::V6(prefix) => prefix.len() == 128,
        }
    }
}

impl From<Ipv4Prefix> for Prefix {
    fn from(prefix: Ipv4Prefix) -> Self {
        Self::V4(prefix)
    }
}

impl From<Ipv6Prefix> for Prefix {
    fn from(prefix: Ipv6Prefix) -> Self {
        Self::V6(prefix)
    }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

impl fmt::Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(prefix) => prefix.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No address, or no number after the slash.
    #[error("`{0}` is not a prefix: expected `ADDRESS/LENGTH`, for example 10.1.0.0/16")]
    Form(String),
    /// The length is past the family's.
    #[error("`{text}` is not a prefix: a length of {len} is past {max}")]
    Length {
        /// What was read.
        text: String,
        /// The length in it.
        len: u8,
        /// The family's longest.
        max: u8,
    },
    /// Bits set past the length.
    #[error("`{text}` has bits set past its length; did you mean {meant}?")]
    HostBits {
        /// What was read.
        text: String,
        /// The prefix with those bits cleared.
        meant: Prefix,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || PrefixError::Form(text.to_owned());
        let (addr, len) = text.split_once('/').ok_or_else(form)?;
        let addr: IpAddr = addr.parse().map_err(|_| form())?;
        let len: u8 = len.parse().map_err(|_| form())?;
        let max = if addr.is_ipv4() { 32 } else { 128 };
        if len > max {
            return Err(PrefixError::Length {
                text: text.to_owned(),
                len,
                max,
            });
        }
        let prefix = Self::new(addr, len);
        if prefix.addr() != addr {
            return Err(PrefixError::HostBits {
                text: text.to_owned(),
                meant: prefix,
            });
        }
        Ok(prefix)
    }
}

as_text!(Prefix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_what_they_print_and_name_what_is_wrong() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.0.2.1/32",
            "fd00::/8",
            "::/0",
            "fd00::1/128",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert!(matches!(
            "10.0.0.0".parse::<Prefix>(),
            Err(PrefixError::Form(_))
        ));
        assert!(matches!(
            "10.0.0.0/33".parse::<Prefix>(),
            Err(PrefixError::Length { .. })
        ));
        assert_eq!(
            "10.0.0.1/8".parse::<Prefix>().unwrap_err().to_string(),
            "`10.0.0.1/8` has bits set past its length; did you mean 10.0.0.0/8?"
        );
    }

    #[test]
    fn a_prefix_contains_itself_and_what_lies_inside_it() {
        let outer: Prefix = "10.0.0.0/8".parse().unwrap();
        assert!(outer.contains(outer));
        assert!(outer.contains("10.255.0.0/16".parse().unwrap()));
        assert!(!outer.contains("11.0.0.0/16".parse().unwrap()));
        assert!(!outer.contains("0.0.0.0/0".parse().unwrap()));
        assert!(!outer.contains("a00::/8".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().contains(outer));
    }
}
