//! An IP prefix: an address with its host bits cleared and a length.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// An IPv4 or IPv6 prefix. Host bits are always zero, so equal prefixes compare equal.
///
/// Ordered by family, then address, then length, which is the order `ip route` lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

/// Text or a length that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The text has no address where one was expected.
    #[error("`{0}` is no IP prefix: expected an address and a length, such as 10.1.0.0/16")]
    Syntax(String),
    /// The length exceeds what the family has (32 or 128).
    #[error("/{len} is too long for {addr}: at most /{max}")]
    Length {
        /// The address.
        addr: IpAddr,
        /// The length that was asked for.
        len: u8,
        /// The longest length of the family.
        max: u8,
    },
}

impl Prefix {
    /// The prefix of `len` bits that `addr` lies in; host bits are cleared.
    ///
    /// # Errors
    /// [`PrefixError::Length`] when `len` exceeds the family's width.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = width(addr);
        if len > max {
            return Err(PrefixError::Length { addr, len, max });
        }
        Ok(Self {
            addr: mask(addr, len),
            len,
        })
    }

    /// The host route of one address: /32 or /128.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        let len = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { addr, len }
    }

    /// `0.0.0.0/0`.
    pub const DEFAULT_V4: Self = Self {
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        len: 0,
    };
    /// `::/0`.
    pub const DEFAULT_V6: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        len: 0,
    };

    /// The network address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The length in bits.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "a prefix length, not a container's"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether this is an IPv6 prefix.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.addr.is_ipv6()
    }

    /// The address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.addr)
    }

    /// Whether `addr` lies in the prefix.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.addr.is_ipv6() == addr.is_ipv6() && mask(addr, self.len) == self.addr
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        match text.split_once('/') {
            Some((addr, len)) => Self::new(
                addr.parse().map_err(|_| syntax())?,
                len.parse().map_err(|_| syntax())?,
            ),
            None => Ok(Self::host(text.parse().map_err(|_| syntax())?)),
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl From<IpAddr> for Prefix {
    fn from(addr: IpAddr) -> Self {
        Self::host(addr)
    }
}

impl From<IpNetwork> for Prefix {
    fn from(network: IpNetwork) -> Self {
        Self {
            addr: network.network(),
            len: network.prefix(),
        }
    }
}

/// An address family of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 (`AF_INET`, 2).
    V4,
    /// IPv6 (`AF_INET6`, 10).
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The `AF_*` number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// The family of an `AF_*` number, if it is one of IP.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V4),
            10 => Some(Self::V6),
            _ => None,
        }
    }

    /// The prefix of length zero.
    #[must_use]
    pub const fn default_route(self) -> Prefix {
        match self {
            Self::V4 => Prefix::DEFAULT_V4,
            Self::V6 => Prefix::DEFAULT_V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

const fn width(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_and_lengths_bounded() {
        let table = [
            ("10.1.2.3/8", Ok("10.0.0.0/8")),
            ("10.1.2.3", Ok("10.1.2.3/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:db8::1/64", Ok("2001:db8::/64")),
            ("::/0", Ok("::/0")),
            ("fe80::1", Ok("fe80::1/128")),
            (
                "10.0.0.0/33",
                Err("/33 is too long for 10.0.0.0: at most /32"),
            ),
            ("::/129", Err("/129 is too long for ::: at most /128")),
            (
                "ten/8",
                Err(
                    "`ten/8` is no IP prefix: expected an address and a length, such as 10.1.0.0/16",
                ),
            ),
        ];
        for (text, expected) in table {
            let got = text
                .parse::<Prefix>()
                .map(|p| p.to_string())
                .map_err(|e| e.to_string());
            assert_eq!(
                got,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn a_prefix_contains_only_its_own_family() {
        let all4 = Prefix::DEFAULT_V4;
        assert!(all4.contains("192.0.2.1".parse().expect("an address")));
        assert!(!all4.contains("2001:db8::1".parse().expect("an address")));
        let net: Prefix = "192.0.2.0/31".parse().expect("a prefix");
        assert!(net.contains("192.0.2.1".parse().expect("an address")));
        assert!(!net.contains("192.0.2.2".parse().expect("an address")));
    }
}
