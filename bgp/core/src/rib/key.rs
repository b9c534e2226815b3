//! What makes one family's table differ from the other's.

use std::{fmt, hash::Hash};

use crate::types::{Family, Ipv4Prefix, Ipv6Prefix, Prefix};

/// A prefix as a table stores it: the address in an alignment of four, the length apart.
pub(crate) trait PrefixKey:
    Copy + Eq + Ord + fmt::Debug + fmt::Display + Into<Prefix>
{
    type Addr: Copy + Eq + Hash + fmt::Debug;

    const FAMILY: Family;

    fn split(self) -> (Self::Addr, u8);

    fn join(addr: Self::Addr, len: u8) -> Self;

    /// The prefix when it is of this family.
    fn from_prefix(prefix: Prefix) -> Option<Self>;

    /// The prefix of `len` bits that covers this one.
    fn truncate(self, len: u8) -> Self;

    fn covers(self, other: Self) -> bool;
}

impl PrefixKey for Ipv4Prefix {
    type Addr = u32;

    const FAMILY: Family = Family::Ipv4Unicast;

    fn split(self) -> (u32, u8) {
        (self.bits(), self.len())
    }

    fn join(addr: u32, len: u8) -> Self {
        Self::from_bits(addr, len)
    }

    fn from_prefix(prefix: Prefix) -> Option<Self> {
        match prefix {
            Prefix::V4(prefix) => Some(prefix),
            Prefix::V6(_) => None,
        }
    }

    fn truncate(self, len: u8) -> Self {
        Self::from_bits(self.bits(), len.min(self.len()))
    }

    fn covers(self, other: Self) -> bool {
        self.contains(other)
    }
}

impl PrefixKey for Ipv6Prefix {
    /// Most significant word first; `u128` would align a destination to 16.
    type Addr = [u32; 4];

    const FAMILY: Family = Family::Ipv6Unicast;

    fn split(self) -> ([u32; 4], u8) {
        let bits = self.bits();
        let word = |shift: u32| (bits >> shift & u128::from(u32::MAX)) as u32;
        ([word(96), word(64), word(32), word(0)], self.len())
    }

    fn join(addr: [u32; 4], len: u8) -> Self {
        let bits = addr
            .into_iter()
            .fold(0_u128, |bits, word| bits << 32 | u128::from(word));
        Self::from_bits(bits, len)
    }

    fn from_prefix(prefix: Prefix) -> Option<Self> {
        match prefix {
            Prefix::V4(_) => None,
            Prefix::V6(prefix) => Some(prefix),
        }
    }

    fn truncate(self, len: u8) -> Self {
        Self::from_bits(self.bits(), len.min(self.len()))
    }

    fn covers(self, other: Self) -> bool {
        self.contains(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_and_joining_loses_nothing() {
        for text in [
            "2001:db8:1:2:3:4:5:6/128",
            "fd00::/8",
            "::/0",
            "ffff:ffff::/32",
        ] {
            let prefix = Ipv6Prefix::from_prefix(text.parse().unwrap()).unwrap();
            let (addr, len) = prefix.split();
            assert_eq!(Ipv6Prefix::join(addr, len), prefix);
        }
    }
}
