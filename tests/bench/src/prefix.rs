//! Address families and prefixes, in the form NLRI gives them (RFC 4271 section 4.3).

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;

/// Which kind of prefix a table holds; one benchmark run uses one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// AFI 1, SAFI 1: in the UPDATE's own fields.
    #[value(name = "ipv4")]
    Ipv4,
    /// AFI 2, SAFI 1: in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760, RFC 2545).
    #[value(name = "ipv6")]
    Ipv6,
}

impl Family {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// Longest prefix length of the family, in bits.
    pub(crate) fn max_len(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    /// Address family identifier (RFC 4760 section 3).
    pub(crate) fn afi(self) -> u16 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A prefix: its bits left-aligned in 128, zero past `len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    family: Family,
    len: u8,
    bits: u128,
}

impl Prefix {
    /// The prefix of `len` bits around left-aligned `bits`; host bits are cleared.
    pub(crate) fn new(family: Family, bits: u128, len: u8) -> Self {
        let len = len.min(family.max_len());
        let mask = if len == 0 {
            0
        } else {
            u128::MAX << (128 - u32::from(len))
        };
        Self {
            family,
            len,
            bits: bits & mask,
        }
    }

    /// The IPv4 prefix `address/len`.
    pub(crate) fn v4(address: Ipv4Addr, len: u8) -> Self {
        Self::new(Family::Ipv4, u128::from(address.to_bits()) << 96, len)
    }

    /// The IPv6 prefix `address/len`.
    pub(crate) fn v6(address: Ipv6Addr, len: u8) -> Self {
        Self::new(Family::Ipv6, address.to_bits(), len)
    }

    pub(crate) fn family(self) -> Family {
        self.family
    }

    /// Prefix length in bits.
    pub(crate) fn len(self) -> u8 {
        self.len
    }

    /// The address, left-aligned: IPv4 in the first four bytes.
    pub(crate) fn octets(self) -> [u8; 16] {
        self.bits.to_be_bytes()
    }

    /// Whether an IPv4 prefix lies in a block that is not announced in public (RFC 6890): speakers
    /// may refuse these. 10/8 also is the bench's own network, and 192.0.2.0/24 what it measures
    /// latency with.
    pub(crate) fn is_special(self) -> bool {
        let address = (self.bits >> 96) as u32;
        let within =
            |&(block, len): &(u32, u8)| self.len >= len && (address ^ block) >> (32 - len) == 0;
        self.family == Family::Ipv4 && SPECIAL.iter().any(within)
    }

    /// How many bytes the prefix takes in NLRI.
    pub(crate) fn wire_len(self) -> usize {
        1 + usize::from(self.len.div_ceil(8))
    }

    /// Appends the `<length, prefix>` tuple.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.len);
        out.extend_from_slice(&self.bits.to_be_bytes()[..usize::from(self.len.div_ceil(8))]);
    }
}

/// RFC 6890 and the multicast and reserved ranges: address and length.
const SPECIAL: [(u32, u8); 14] = [
    (0x0000_0000, 8),
    (0x0a00_0000, 8),
    (0x6440_0000, 10),
    (0x7f00_0000, 8),
    (0xa9fe_0000, 16),
    (0xac10_0000, 12),
    (0xc000_0000, 24),
    (0xc000_0200, 24),
    (0xc058_6300, 24),
    (0xc0a8_0000, 16),
    (0xc612_0000, 15),
    (0xc633_6400, 24),
    (0xcb00_7100, 24),
    (0xe000_0000, 3),
];

impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Tables hold one family; the 64-bit halves and the length tell their prefixes apart.
        state.write_u64((self.bits >> 64) as u64 ^ (self.bits as u64).rotate_left(31));
        state.write_u8(self.len);
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::Ipv4 => write!(
                f,
                "{}/{}",
                Ipv4Addr::from_bits((self.bits >> 96) as u32),
                self.len
            ),
            Family::Ipv6 => write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.len),
        }
    }
}

/// Multiply-and-fold hashing: the keys are our own, nobody attacks this table.
#[derive(Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u8(byte);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// The hasher of every table keyed by [`Prefix`].
pub(crate) type ByPrefix = BuildHasherDefault<Fold>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_takes_only_the_bytes_its_length_needs() {
        for (prefix, wire) in [
            (
                Prefix::v4(Ipv4Addr::new(10, 1, 2, 3), 32),
                vec![32, 10, 1, 2, 3],
            ),
            (
                Prefix::v4(Ipv4Addr::new(10, 1, 2, 3), 24),
                vec![24, 10, 1, 2],
            ),
            (
                Prefix::v4(Ipv4Addr::new(10, 255, 2, 3), 9),
                vec![9, 10, 128],
            ),
            (Prefix::v4(Ipv4Addr::UNSPECIFIED, 0), vec![0]),
            (
                Prefix::v6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1), 48),
                vec![48, 0x20, 1, 0xd, 0xb8, 0, 0xff],
            ),
        ] {
            let mut out = Vec::new();
            prefix.encode(&mut out);
            assert_eq!(out, wire, "{prefix}");
            assert_eq!(prefix.wire_len(), wire.len());
        }
    }

    #[test]
    fn special_blocks_are_recognised_and_their_neighbours_are_not() {
        for (prefix, special) in [
            ([10, 0, 0, 0], true),
            ([11, 0, 0, 0], false),
            ([169, 254, 24, 0], true),
            ([169, 253, 24, 0], false),
            ([100, 64, 0, 0], true),
            ([100, 128, 0, 0], false),
            ([192, 0, 2, 0], true),
            ([192, 0, 3, 0], false),
            ([239, 1, 1, 0], true),
            ([255, 1, 1, 0], true),
        ] {
            let found = Prefix::v4(Ipv4Addr::from(prefix), 24);
            assert_eq!(found.is_special(), special, "{found}");
        }
    }
}
