//! A network prefix in canonical form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// The address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4: addresses of 32 bits.
    Ipv4,
    /// IPv6: addresses of 128 bits.
    Ipv6,
}

impl Family {
    /// Both families, in the order in which results list them.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    /// The length of an address in bits: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

/// A prefix whose host bits are all zero, so that equal networks compare equal.
///
/// Ordered by family, then network address, then length: a covering prefix sorts directly before what it covers.
/// Serialised as text (`"10.1.7.0/24"`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: IpAddr,
    len: u8,
}

/// Why a text or a pair is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not `address/length` at all.
    #[error("`{0}` is not a network: expected ADDRESS/LENGTH such as 10.1.7.0/24 or fd00:7::/64")]
    Syntax(String),
    /// The length exceeds the family's.
    #[error("/{len} is too long for {family}: the longest is /{}", family.bits())]
    Length {
        /// The length that was given.
        len: u8,
        /// The family of the address it was given with.
        family: Family,
    },
    /// Bits are set after the prefix.
    #[error("{address}/{len} has bits set after the prefix: did you mean {network}/{len}?")]
    HostBits {
        /// The address that was given.
        address: IpAddr,
        /// The length that was given.
        len: u8,
        /// The address with these bits cleared.
        network: IpAddr,
    },
}

impl Cidr {
    /// A prefix; refuses set host bits, because they are a typing error more often than not.
    ///
    /// # Errors
    /// When the length does not suit the family or host bits are set.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, CidrError> {
        let cidr = Self::containing(address, len)?;
        if cidr.network != address {
            return Err(CidrError::HostBits {
                address,
                len,
                network: cidr.network,
            });
        }
        Ok(cidr)
    }

    /// The prefix of this length that contains the address.
    ///
    /// # Errors
    /// When the length does not suit the family.
    pub fn containing(address: IpAddr, len: u8) -> Result<Self, CidrError> {
        let family = Family::of(address);
        if len > family.bits() {
            return Err(CidrError::Length { len, family });
        }
        let network = from_bits(family, to_bits(address) & mask(family, len));
        Ok(Self { network, len })
    }

    /// The host prefix (/32 or /128) of an address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self {
            network: address,
            len: Family::of(address).bits(),
        }
    }

    /// The first address.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let family = self.family();
        from_bits(family, to_bits(self.network) | !mask(family, self.len))
    }

    /// The length of the prefix in bits.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "a prefix always holds an address"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The address family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.network)
    }

    /// How many addresses it holds; `u128::MAX` stands for the 2^128 of `::/0`.
    #[must_use]
    pub fn size(&self) -> u128 {
        1u128
            .checked_shl(u32::from(self.family().bits() - self.len))
            .unwrap_or(u128::MAX)
    }

    /// Whether the address lies within.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.family() == Family::of(address)
            && to_bits(address) & mask(self.family(), self.len) == to_bits(self.network)
    }

    /// Whether all of `other` lies within.
    #[must_use]
    pub fn covers(&self, other: &Cidr) -> bool {
        self.len <= other.len && self.contains(other.network)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The distance of an address from the first one, when it lies within.
    #[must_use]
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address)
            .then(|| to_bits(address) - to_bits(self.network))
    }

    /// The address at a distance from the first one, when it lies within.
    #[must_use]
    pub fn at(&self, offset: u128) -> Option<IpAddr> {
        if offset >= self.size() {
            return None;
        }
        Some(from_bits(self.family(), to_bits(self.network) + offset))
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let syntax = || CidrError::Syntax(text.to_owned());
        let (address, len) = text.split_once('/').ok_or_else(syntax)?;
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        // Only digits: `u8::from_str` would take a leading plus.
        if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        let len: u8 = len.parse().map_err(|_| syntax())?;
        Self::new(address, len)
    }
}

impl TryFrom<IpNetwork> for Cidr {
    type Error = CidrError;

    fn try_from(network: IpNetwork) -> Result<Self, CidrError> {
        Self::new(network.ip(), network.prefix())
    }
}

impl From<Cidr> for IpNetwork {
    fn from(cidr: Cidr) -> Self {
        IpNetwork::new(cidr.network, cidr.len).expect("invariant: a Cidr's length suits its family")
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The address as a number; an IPv4 address takes the low 32 bits.
fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        // The callers keep the high bits zero: masks are cut to the family's width.
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

fn mask(family: Family, len: u8) -> u128 {
    let host_bits = u32::from(family.bits() - len);
    u128::MAX.checked_shl(host_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_canonical_prefix_is_refused_with_the_reason() {
        for (text, wanted) in [
            ("10.1.7.0", "expected ADDRESS/LENGTH"),
            ("10.1.7.0/", "expected ADDRESS/LENGTH"),
            ("10.1.7.0/+24", "expected ADDRESS/LENGTH"),
            ("10.1.7/24", "expected ADDRESS/LENGTH"),
            ("10.1.7.0/256", "expected ADDRESS/LENGTH"),
            ("10.1.7.0/33", "too long for IPv4: the longest is /32"),
            ("fd00::/129", "too long for IPv6: the longest is /128"),
            ("10.1.7.9/24", "did you mean 10.1.7.0/24?"),
            ("fd00::1/64", "did you mean fd00::/64?"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn the_whole_space_and_a_single_address_are_prefixes_too() {
        for (text, first, last, size) in [
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", 1u128 << 32),
            ("10.0.0.7/32", "10.0.0.7", "10.0.0.7", 1),
            (
                "::/0",
                "::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                u128::MAX,
            ),
            ("fd00::7/128", "fd00::7", "fd00::7", 1),
            ("10.1.7.0/26", "10.1.7.0", "10.1.7.63", 64),
        ] {
            let cidr: Cidr = text.parse().unwrap();
            assert_eq!(cidr.to_string(), text);
            assert_eq!(cidr.network().to_string(), first);
            assert_eq!(cidr.last().to_string(), last);
            assert_eq!(cidr.size(), size, "{text}");
            assert!(cidr.contains(cidr.network()) && cidr.contains(cidr.last()));
        }
    }

    #[test]
    fn families_never_mix() {
        let v4: Cidr = "0.0.0.0/0".parse().unwrap();
        let v6: Cidr = "::/0".parse().unwrap();
        assert!(!v4.contains("::1".parse().unwrap()));
        assert!(!v6.contains("10.0.0.1".parse().unwrap()));
        assert!(!v4.overlaps(&v6));
    }
}
